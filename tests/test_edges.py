"""Edges that random inputs rarely meet: exact zeros, ties, sizes of 1, starts other than 0."""

import numpy as np
import pytest

from minigpt_helpers import MiniGPT, Tensor, generate, get_batch, next_token_probs, train
from minigpt_helpers.functional import embedding, gelu, layer_norm
from minigpt_helpers.optim import SGD
from reference import assert_slopes_agree, loop_gelu


def test_the_slope_of_relu_at_exactly_0_is_0():
    x = Tensor([-1.0, 0.0, 2.0])
    x.relu().sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 0, 1])


@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (1, 1), (1, 2, 1)])
@pytest.mark.parametrize("name", ["max", "sum", "mean"])
def test_an_axis_of_size_1_that_is_not_reduced_stays(shape, name):
    array = np.arange(float(np.prod(shape))).reshape(shape)
    for axis in range(len(shape)):
        out = getattr(Tensor(array), name)(axis=axis)
        assert out.shape == getattr(array, name)(axis=axis).shape
        assert_slopes_agree(lambda x, axis=axis: getattr(x, name)(axis=axis), array)


@pytest.mark.parametrize("start", [0, 1, 3])
@pytest.mark.parametrize("ids", [[1, 0], [[1, 0], [2, 2]]])
def test_gradients_of_positions_that_start_later(start, ids):
    rng = np.random.default_rng(0)
    assert_slopes_agree(
        lambda w, p: embedding(w, ids, p, start), rng.normal(size=(3, 2)), rng.normal(size=(5, 2))
    )


@pytest.mark.parametrize("seed", range(20))
def test_ties_go_to_the_lowest_ids_also_among_many(seed):
    rng = np.random.default_rng(seed)
    logits = rng.integers(0, 3, 65).astype(float)
    for top_k in (1, 5, 20, 40):
        expected = sorted(range(65), key=lambda i: (-logits[i], i))[:top_k]
        probs = next_token_probs(logits, top_k=top_k)
        np.testing.assert_array_equal(np.flatnonzero(probs), np.sort(expected))
    assert np.argmax(next_token_probs(logits, temperature=0)) == np.argmax(logits)


def test_logits_may_be_whole_numbers():
    whole = np.array([1, 3, 2])
    np.testing.assert_array_equal(next_token_probs(whole), next_token_probs(whole * 1.0))
    np.testing.assert_array_equal(next_token_probs([1, 3, 2]), next_token_probs(whole * 1.0))
    assert next_token_probs(whole).dtype == np.float64


def test_the_constants_of_gelu():
    x = np.array([0.5, 2.0, -1.5])
    np.testing.assert_allclose(gelu(Tensor(x)).data, [loop_gelu(v) for v in x], rtol=1e-14)


def test_the_epsilon_of_a_layer_norm_counts():
    x, one, zero = Tensor([[0.0, 1e-3]]), Tensor([1.0, 1.0]), Tensor([0.0, 0.0])
    for eps in (0.0, 1e-7, 1.0):
        expected = 5e-4 / np.sqrt(2.5e-7 + eps)
        np.testing.assert_allclose(layer_norm(x, one, zero, eps).data, [[-expected, expected]])


def test_many_parameters_are_all_moved():
    p, q = Tensor(np.ones(70_000)), Tensor(np.ones(3))
    p.grad, q.grad = 1.0, 1.0
    SGD([p, q], lr=0.5).step()
    assert np.all(p.data == 0.5) and np.all(q.data == 0.5)


def test_a_model_of_ones():
    """One token, one position, one head, one number: every loop runs once."""
    model = MiniGPT(1, 1, 1, 1, 1, rng=np.random.default_rng(0))
    assert model([0]).shape == (1, 1) and generate(model, [0], 3) == [0, 0, 0, 0]
    assert train(model, [0, 0], steps=2).train_loss == [0.0, 0.0]
    x, y = get_batch([4, 5], 1, 1)
    assert (x.tolist(), y.tolist()) == ([[4]], [[5]])
