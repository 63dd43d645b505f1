"""Lessons 3 and 4: each fused node against its small-node form, a plain loop, and slopes."""

import gc
import math
import warnings
import weakref

import numpy as np
import pytest

import reference as ref
from minigpt_helpers import Tensor, cross_entropy_loss, no_grad, softmax
from minigpt_helpers.functional import (
    attention,
    attention_scores,
    attention_weights,
    embedding,
    gelu,
    layer_norm,
    linear,
)

pytestmark = pytest.mark.filterwarnings("error")

IDS_1D, IDS_2D = np.array([3, 0, 3, 6, 1]), np.array([[3, 0, 3], [6, 6, 1]])
TARGETS = {(5,): np.array([1, 0, 6, 6, 2]), (2, 3): np.array([[1, 0, 6], [2, 2, 5]]), (): 4}


def normal(*shape, seed=0, scale=1.0):
    return np.random.default_rng(seed).normal(0, scale, size=shape)


def _cases():
    """Name -> (fused form, small-node form, arrays)."""
    cases = {}
    for lead in ((5,), (2, 3)):
        def name(what, lead=lead):
            return f"{what} {(*lead, 'D')}"

        x = normal(*lead, 4, scale=1.5)
        cases[name("softmax")] = softmax, ref.small_softmax, [x]
        cases[name("softmax axis 0")] = (
            lambda x: softmax(x, axis=0), lambda x: ref.small_softmax(x, axis=0), [x])
        cases[name("linear")] = linear, ref.small_linear, [
            x, normal(4, 3, seed=1), normal(3, seed=2)]
        cases[name("linear without bias")] = linear, lambda x, w: x @ w, [
            x, normal(4, 3, seed=1)]
        cases[name("layer_norm")] = (
            layer_norm, ref.small_layer_norm, [x, normal(4, seed=1), normal(4, seed=2)])
        cases[name("layer_norm eps")] = (
            lambda x, w, b: layer_norm(x, w, b, 0.1),
            lambda x, w, b: ref.small_layer_norm(x, w, b, 0.1),
            [x, normal(4, seed=1), normal(4, seed=2)])
        cases[name("gelu")] = gelu, ref.small_gelu, [x]
        cases[name("cross_entropy")] = (
            lambda z, t=TARGETS[lead]: cross_entropy_loss(z, t),
            lambda z, t=TARGETS[lead]: ref.small_cross_entropy(z, t), [normal(*lead, 7, scale=2)])
        ids = IDS_1D if len(lead) == 1 else IDS_2D
        cases[name("embedding")] = (
            lambda w, ids=ids: embedding(w, ids), lambda w, ids=ids: ref.small_embedding(w, ids),
            [normal(7, 4)])
        for heads in (1, 2, 4):
            for causal in (True, False):
                cases[name(f"attention {heads} heads causal={causal}")] = (
                    lambda x, h=heads, c=causal: attention(x, h, c),
                    lambda x, h=heads, c=causal: ref.small_attention(x, h, c),
                    [normal(*lead, 24, seed=heads)])
    cases["one token"] = attention_of_one = (
        lambda x: attention(x, 2), lambda x: ref.small_attention(x, 2), [normal(1, 12)])
    cases["one token, batch"] = (*attention_of_one[:2], [normal(3, 1, 12)])
    cases["softmax of one row"] = softmax, ref.small_softmax, [normal(6)]
    cases["linear of one row"] = (
        linear, lambda x, w, b: (x.reshape(1, -1) @ w + b)[0], [normal(4), normal(4, 3), normal(3)])
    cases["layer_norm of one row"] = (
        layer_norm, ref.small_layer_norm, [normal(4), normal(4, seed=1), normal(4, seed=2)])
    cases["attention, two leading axes"] = (
        lambda x: attention(x, 2), lambda x: ref.small_attention(x, 2), [normal(2, 3, 4, 12)])
    for turned in ((1, 0, 2, 3), (0, 2, 1, 3), (2, 3, 1, 0)):  # an array whose rows lie apart
        shape = np.array([2, 3, 4, 12])[np.argsort(turned)]
        cases[f"attention, memory order {turned}"] = (
            lambda x: attention(x, 2), lambda x: ref.small_attention(x, 2),
            [normal(*shape).transpose(turned)])
    columns = normal(4, 5).T
    cases["softmax, columns in memory"] = softmax, ref.small_softmax, [columns]
    cases["linear, columns in memory"] = (
        linear, ref.small_linear, [columns, normal(3, 4).T, normal(3)])
    cases["layer_norm, columns in memory"] = (
        layer_norm, ref.small_layer_norm, [columns, normal(4), normal(4)])
    cases["gelu, columns in memory"] = gelu, ref.small_gelu, [columns]
    cases["gelu of a single number"] = gelu, ref.small_gelu, [normal()]
    cases["cross_entropy, columns in memory"] = (
        lambda z: cross_entropy_loss(z, [0, 3, 3, 1, 2]),
        lambda z: ref.small_cross_entropy(z, [0, 3, 3, 1, 2]), [columns])
    cases["cross_entropy of one position"] = (
        lambda z: cross_entropy_loss(z, 4), lambda z: ref.small_cross_entropy(z, 4), [normal(7)])
    return cases


CASES = _cases()


def run(function, arrays, dtype=np.float64):
    """The result of ``function`` and the gradient of each input, for a weighted sum of it."""
    tensors = [Tensor(array.astype(dtype)) for array in arrays]
    out = function(*tensors)
    weights = np.random.default_rng(7).normal(size=out.shape).astype(dtype)
    (out * weights).sum().backward()
    return out, [t.grad for t in tensors]


@pytest.mark.parametrize("name", CASES)
def test_a_fused_node_agrees_with_the_small_nodes(name):
    fused, small, arrays = CASES[name]
    (out, grads), (expected, expected_grads) = run(fused, arrays), run(small, arrays)
    assert out.shape == expected.shape
    np.testing.assert_allclose(out.data, expected.data, rtol=1e-12, atol=1e-12)
    for grad, expected_grad in zip(grads, expected_grads, strict=True):
        np.testing.assert_allclose(grad, expected_grad, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_a_fused_node_agrees_with_finite_differences(name):
    fused, _, arrays = CASES[name]
    ref.assert_slopes_agree(fused, *arrays, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", CASES)
def test_a_fused_node_in_float32(name):
    fused, small, arrays = CASES[name]
    (out, grads), (expected, expected_grads) = run(fused, arrays, np.float32), run(small, arrays)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.data, expected.data, rtol=2e-5, atol=2e-5)
    for grad, expected_grad in zip(grads, expected_grads, strict=True):
        assert grad.dtype == np.float32
        np.testing.assert_allclose(grad, expected_grad, rtol=2e-4, atol=5e-5)


@pytest.mark.parametrize("name", CASES)
def test_a_fused_node_leaves_its_inputs_alone_and_can_be_walked_twice(name):
    fused, _, arrays = CASES[name]
    tensors = [Tensor(array) for array in arrays]
    out = fused(*tensors)
    loss = (out * out).sum()
    loss.backward()
    first, kept = [t.grad.copy() for t in tensors], out.data.copy()
    given = out.grad.copy()
    loss.backward()
    for tensor, array, once in zip(tensors, arrays, first):
        np.testing.assert_array_equal(tensor.data, array)
        np.testing.assert_allclose(tensor.grad, 2 * once, rtol=1e-13, atol=0)
    np.testing.assert_array_equal(out.data, kept)
    np.testing.assert_array_equal(out.grad, 2 * given)


@pytest.mark.parametrize("name", CASES)
def test_a_result_does_not_change_when_the_node_is_used_again(name):
    fused, _, arrays = CASES[name]
    tensors = [Tensor(array) for array in arrays]
    out = fused(*tensors)
    held = out.data.copy()
    for seed in range(3):
        other = [Tensor(normal(*a.shape, seed=seed + 50)) for a in arrays]
        again = fused(*other)
        (again * again).sum().backward(free_graph=True)
    np.testing.assert_array_equal(out.data, held)
    with no_grad():
        np.testing.assert_array_equal(fused(*tensors).data, held)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("free_graph", [False, True])
def test_a_fused_node_leaves_no_reference_cycle(name, free_graph):
    fused, _, arrays = CASES[name]
    tensors = [Tensor(array) for array in arrays]
    gc.disable()
    try:
        out = fused(*tensors)
        loss = (out * out).sum()
        loss.backward(free_graph=free_graph)
        references = [weakref.ref(out), weakref.ref(loss)]
        del out, loss
        assert [r() for r in references] == [None, None]
    finally:
        gc.enable()


# Against plain loops


def test_softmax_against_a_loop():
    x = normal(6, 5, scale=3)
    expected = [ref.loop_softmax(row) for row in x]
    np.testing.assert_allclose(softmax(Tensor(x)).data, expected, rtol=1e-13)


def test_linear_against_a_loop():
    x, w, b = normal(4, 3), normal(3, 2, seed=1), normal(2, seed=2)
    expected = [
        [sum(row[i] * w[i, o] for i in range(3)) + b[o] for o in range(2)] for row in x
    ]
    np.testing.assert_allclose(linear(*map(Tensor, (x, w, b))).data, expected, rtol=1e-13)


@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_layer_norm_against_a_loop(eps):
    x, w, b = normal(4, 6, scale=3) + 5, normal(6, seed=1), normal(6, seed=2)
    out = layer_norm(*map(Tensor, (x, w, b)), eps).data
    np.testing.assert_allclose(out, ref.loop_layer_norm(x, w, b, eps), rtol=1e-11, atol=1e-12)


def test_gelu_against_the_formula():
    x = np.concatenate([np.linspace(-6, 6, 101), [0.0]])
    expected = [ref.loop_gelu(v) for v in x]
    np.testing.assert_allclose(gelu(Tensor(x)).data, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("heads", [1, 2, 3])
def test_attention_against_a_loop(heads, causal):
    qkv = normal(5, 18, seed=heads)
    expected, weights = ref.loop_attention(qkv, heads, causal)
    np.testing.assert_allclose(attention(Tensor(qkv), heads, causal).data, expected, atol=1e-13)
    scores = attention_scores(qkv, heads)
    np.testing.assert_allclose(attention_weights(scores, 6 // heads, causal), weights, atol=1e-14)
    both = np.stack([qkv, qkv[::-1]])
    batch = attention(Tensor(both), heads, causal).data
    np.testing.assert_allclose(batch[0], expected, atol=1e-13)
    np.testing.assert_allclose(
        batch[1], ref.loop_attention(qkv[::-1], heads, causal)[0], atol=1e-13)
    assert attention_scores(both, heads).shape == (2, heads, 5, 5)


def test_cross_entropy_against_a_loop():
    logits, targets = normal(6, 5, scale=3), [0, 4, 4, 2, 1, 0]
    loss = cross_entropy_loss(Tensor(logits), targets)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(ref.loop_cross_entropy(logits, targets), rel=1e-13)


def test_lists_of_single_numbers_are_taken():
    z = [[Tensor(v) for v in row] for row in normal(3, 4)]
    whole = np.array([[n.item() for n in row] for row in z])
    np.testing.assert_array_equal(softmax(z[0]).data, softmax(Tensor(whole[0])).data)
    loss = cross_entropy_loss(z, [1, 0, 3])
    assert loss.item() == cross_entropy_loss(Tensor(whole), [1, 0, 3]).item()
    loss.backward()
    dense = Tensor(whole)
    cross_entropy_loss(dense, [1, 0, 3]).backward()
    np.testing.assert_allclose([[float(n.grad) for n in row] for row in z], dense.grad, rtol=1e-14)


def test_cross_entropy_of_one_position_takes_one_id():
    z = normal(5)
    for target in (3, np.int64(3), np.array(3)):
        assert cross_entropy_loss(Tensor(z), target).item() == pytest.approx(
            ref.loop_cross_entropy([z], [3]), rel=1e-13)
    assert cross_entropy_loss([Tensor(v) for v in z], 3).item() == pytest.approx(
        ref.loop_cross_entropy([z], [3]), rel=1e-13)


# Extremes: right, and without a warning


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("row, expected", [
    ([1e4, 0.0, -1e4], [1, 0, 0]), ([-1e4, -1e4, -1e4], [1 / 3] * 3),
    ([1e4, 1e4, 0], [0.5, 0.5, 0]),
    ([-np.inf, 0.0, 0.0], [0, 0.5, 0.5]), ([1e30, -1e30, 0.0], [1, 0, 0]),
])
def test_softmax_of_extremes(row, expected, dtype):
    x = Tensor(np.array(row, dtype=dtype))
    probs = softmax(x)
    np.testing.assert_allclose(probs.data, expected, rtol=1e-6)
    probs[0].backward()
    assert np.isfinite(x.grad).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("row, target, expected", [
    ([1e4, 0.0, 0.0], 0, 0.0), ([1e4, 0.0, 0.0], 1, 1e4), ([-1e4, 0.0, 0.0], 0, 1e4 + math.log(2)),
    ([-1e4, -1e4, -1e4], 2, math.log(3)), ([1e4, 1e4, -1e4], 1, math.log(2)),
])
def test_cross_entropy_of_extremes(row, target, expected, dtype):
    x = Tensor(np.array([row], dtype=dtype))
    loss = cross_entropy_loss(x, [target])
    assert loss.item() == pytest.approx(expected, rel=1e-6, abs=1e-12)
    loss.backward()
    one_hot = np.eye(3)[target]
    np.testing.assert_allclose(x.grad[0], ref.loop_softmax(row) - one_hot, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size", [30.0, 100.0, 1e4])
def test_gelu_of_extremes(size, dtype):
    x = Tensor(np.array([-size, size], dtype=dtype))
    out = gelu(x)
    np.testing.assert_array_equal(np.abs(out.data), [0, size])
    out.sum().backward()
    np.testing.assert_allclose(x.grad, [0, 1], atol=1e-30)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_layer_norm_of_equal_and_of_large_numbers(dtype):
    x = Tensor(np.array([[3.0] * 4, [1e4, -1e4, 1e4, -1e4], [0.0] * 4], dtype=dtype))
    weight, bias = Tensor(np.ones(4, dtype)), Tensor(np.full(4, 0.5, dtype))
    out = layer_norm(x, weight, bias)
    np.testing.assert_allclose(out.data[[0, 2]], 0.5, atol=1e-6)
    np.testing.assert_allclose(out.data[1], [1.5, -0.5, 1.5, -0.5], rtol=1e-5)
    (out * out).sum().backward()
    assert np.isfinite(x.grad).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_attention_with_extreme_scores(dtype):
    qkv = normal(4, 12).astype(dtype)
    qkv[:, :8] *= 1e3
    x = Tensor(qkv)
    out = attention(x, 2)
    np.testing.assert_allclose(
        out.data, ref.loop_attention(qkv.astype(np.float64), 2, True)[0], atol=2e-2)
    (out * out).sum().backward()
    assert np.isfinite(x.grad).all()


def test_numpys_error_state_is_left_as_it_was():
    before = np.geterr()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gelu(Tensor([1e3, -1e3]))
        softmax(Tensor([1e4, 0.0]))
        Tensor(0.0).log()
    assert np.geterr() == before


@pytest.mark.parametrize("function", [
    lambda: gelu(Tensor(np.array([-100.0, 100.0], np.float32))),
    lambda: softmax(Tensor([1e4, 0.0])),
    lambda: cross_entropy_loss(Tensor([1e4, 0.0]), 1),
])
def test_whoever_makes_numpy_strict_still_gets_an_answer(function):
    """Underflow to 0 is right here, overflow in gelu is handled: only real trouble may raise."""
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert np.isfinite(function().data).all()


# The mask


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_weights_are_a_distribution_over_what_is_seen(dtype, causal):
    scores = attention_scores(normal(2, 6, 24, scale=3).astype(dtype), 2)
    weights = attention_weights(scores, 4, causal)
    assert weights.shape == (2, 2, 6, 6) and weights.dtype == dtype
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-5)
    future = np.triu(np.ones((6, 6), bool), k=1)
    assert (weights[..., future] == 0).all() == causal
    assert (weights >= 0).all() and (weights[..., ~future] > 0).all()


def test_looking_at_weights_changes_no_scores():
    scores = attention_scores(normal(5, 12), 2)
    before = scores.copy()
    attention_weights(scores, 2)
    np.testing.assert_array_equal(scores, before)


# Refusals


@pytest.mark.parametrize("targets, named", [
    ([0, 1], r"\(3, 4\).*\(2,\)"), ([[0, 1, 2]], r"\(1, 3\)"), ([0, 1, 4], "4 at position 2"),
    ([0, -1, 2], "-1 at position 1"), ([0.0, 1.0, 2.0], "float"), ("abc", "abc"), (None, "None"),
    (2, r"\(\)"), ([[0], [1, 2]], "whole numbers"), ([], r"\(0,\)"),
])
def test_targets_that_do_not_fit(targets, named):
    with pytest.raises(ValueError, match=named):
        cross_entropy_loss(Tensor(np.zeros((3, 4))), targets)


@pytest.mark.parametrize("logits, targets", [
    (Tensor(1.0), 0), (Tensor(1.0), []), (Tensor(np.zeros((0, 4))), []), ([], []), ("text", [0]),
    (Tensor(np.zeros((2, 0))), [0, 0]),
])
def test_logits_that_are_none(logits, targets):
    with pytest.raises(ValueError):
        cross_entropy_loss(logits, targets)


@pytest.mark.parametrize("x, axis", [
    (Tensor(1.0), -1), (Tensor([]), -1), ([], -1), (Tensor(np.zeros((2, 0))), 1),
    (Tensor([1.0]), 1), (Tensor([1.0]), -2), (Tensor([1.0]), 5), ("text", -1),
])
def test_softmax_of_nothing_or_along_no_axis(x, axis):
    with pytest.raises(ValueError):
        softmax(x, axis)


@pytest.mark.parametrize("ids, named", [
    ([0, 7], "7 at position 1"), ([-1], "-1"), ([0.5], "float"), (["a"], "a"), ([[0, 9]], r"9 at"),
    (None, "None"), ([2**65], "2|object"), ([True], "bool"),
])
def test_embedding_refuses_what_is_no_id(ids, named):
    with pytest.raises(ValueError, match=named):
        embedding(Tensor(np.zeros((7, 2))), ids)


def test_a_wrong_width_is_shown():
    x = Tensor(np.zeros((2, 5)))
    with pytest.raises(ValueError, match=r"4.*\(2, 5\)"):
        linear(x, Tensor(np.zeros((4, 3))), Tensor(np.zeros(3)))
    with pytest.raises(ValueError, match=r"4.*\(2, 5\)"):
        layer_norm(x, Tensor(np.zeros(4)), Tensor(np.zeros(4)))


@pytest.mark.parametrize("function", [
    lambda x: linear(x, Tensor(np.zeros((3, 2))), Tensor(np.zeros(2))), gelu,
    lambda x: layer_norm(x, Tensor(np.ones(3)), Tensor(np.zeros(3))), lambda x: attention(x, 1),
], ids=["linear", "layer_norm", "gelu", "attention"])
@pytest.mark.parametrize("x", [np.zeros((4, 3)), [[0.0, 0.0, 0.0]], 1.0, None], ids=repr)
def test_an_input_that_is_no_tensor_is_named(function, x):
    with pytest.raises(ValueError, match="Tensor"):
        function(x)


@pytest.mark.parametrize("shape, heads", [((4, 10), 1), ((4, 12), 3), ((12,), 2), ((), 1),
    ((4, 12), 0)])
def test_attention_refuses_a_width_that_does_not_split(shape, heads):
    with pytest.raises(ValueError, match="heads|3D|shape"):
        attention(Tensor(np.zeros(shape)), heads)
