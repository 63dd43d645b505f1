"""The source lesson's own lines, as written there, against the vectorised forms.

A ``Tensor`` of shape ``(T, V)`` is read like a list of lists of scalar values: same loss, same
gradients, same text.
"""

import math
import random

import numpy as np
import pytest

from minigpt_helpers import (
    CharTokenizer,
    MiniGPT,
    Tensor,
    cross_entropy_loss,
    get_batch,
    next_token_probs,
    no_grad,
    softmax,
    train_val_split,
)

pytestmark = pytest.mark.filterwarnings("error")


def source_loss(logits, targets):
    """Mean negative log-probability of the next token, written with single numbers only."""
    losses = []
    for logits_t, target_t in zip(logits, targets):
        m = max(logit.data for logit in logits_t)
        exp = [(z - m).exp() for z in logits_t]
        probs = [e / sum(exp) for e in exp]
        loss = -probs[target_t].log()
        losses.append(loss)
    return sum(losses) / len(losses)


def small_model(seed=0, dtype=np.float64):
    return MiniGPT(7, 8, 2, 2, 6, rng=np.random.default_rng(seed), dtype=dtype)


IDS, TARGETS = [1, 4, 0, 6, 6], [4, 0, 6, 6, 2]


def test_the_loss_and_every_gradient_agree_with_the_vectorised_form():
    model = small_model()
    vectorised = cross_entropy_loss(model(IDS), TARGETS)
    vectorised.backward()
    expected = {name: p.grad.copy() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = 0.0
    loss = source_loss(model(IDS), TARGETS)
    loss.backward()
    assert loss.shape == ()
    assert float(loss.data) == pytest.approx(float(vectorised.data), abs=1e-12)
    for name, p in model.named_parameters():
        np.testing.assert_allclose(p.grad, expected[name], rtol=0, atol=1e-12, err_msg=name)


def test_the_gradient_of_each_logit_agrees():
    array = np.random.default_rng(3).normal(0, 3, size=(4, 5))
    a, b = Tensor(array), Tensor(array)
    source_loss(a, [0, 4, 2, 2]).backward()
    cross_entropy_loss(b, [0, 4, 2, 2]).backward()
    np.testing.assert_allclose(a.grad, b.grad, rtol=0, atol=1e-12)


def test_in_a_batch_too():
    model = small_model(1)
    x, y = get_batch(np.arange(40) % 7, 5, 3, np.random.default_rng(0))
    loss = sum(source_loss(rows, targets) for rows, targets in zip(model(x), y)) / len(x)
    assert loss.item() == pytest.approx(cross_entropy_loss(model(x), y).item(), abs=1e-12)


def test_the_stable_form_stands_large_logits():
    loss = source_loss(Tensor([[1e4, -1e4, 0.0]]), [0])
    loss.backward()
    assert loss.item() == 0


def test_lengths_are_read_as_in_the_checklist():
    logits = small_model()(IDS)
    T, V = len(IDS), 7
    assert len(logits) == T and len(logits[0]) == V
    assert all(len(row) == V for row in logits)
    assert isinstance(logits[0][0], Tensor) and np.ndim(logits[0][0].data) == 0


def test_softmax_of_a_list_of_numbers():
    model = small_model()
    temperature = 0.7
    logits = model(IDS)
    probs = softmax([z / temperature for z in logits[-1]])
    np.testing.assert_allclose(
        [p.data for p in probs], next_token_probs(logits[-1].data, temperature), rtol=1e-12)
    assert sum(p.data for p in probs) == pytest.approx(1.0, abs=1e-12)
    (-probs[3].log()).backward()
    through_list = model.head.weight.grad.copy()
    for p in model.parameters():
        p.grad = 0.0
    (-softmax(model(IDS)[-1] / temperature)[3].log()).backward()
    np.testing.assert_allclose(model.head.weight.grad, through_list, rtol=0, atol=1e-12)


def source_generate(model, ids, max_new_tokens, temperature):
    """The source's generation: crop, last logits, temperature, softmax, sample, append."""
    V = model.vocab_size
    ids = list(ids)
    for _ in range(max_new_tokens):
        logits = model(ids[-model.max_seq_len :])
        probs = softmax([z / temperature for z in logits[-1]])
        next_id = random.choices(range(V), weights=[p.data for p in probs])[0]
        ids.append(next_id)
    return ids


def test_generation_with_random_choices():
    model = small_model()
    random.seed(5)
    ids = source_generate(model, [3], 40, temperature=0.9)
    assert len(ids) == 41 and set(ids) <= set(range(7)) and len(set(ids)) > 2
    random.seed(5)
    assert source_generate(model, [3], 40, temperature=0.9) == ids


def test_drawn_tokens_follow_the_probabilities():
    model = small_model()
    logits = model(IDS)
    probs = softmax([z / 0.5 for z in logits[-1]])
    random.seed(11)
    drawn = random.choices(range(7), weights=[p.data for p in probs], k=20_000)
    for token, p in enumerate(probs):
        expected = 20_000 * float(p.data)
        assert abs(drawn.count(token) - expected) < 5 * math.sqrt(expected) + 1


@pytest.mark.parametrize("loss_of", [source_loss, cross_entropy_loss])
def test_the_training_loop_of_the_source(loss_of):
    text = "abracadabra abracadabra "
    tokenizer = CharTokenizer.from_text(text)
    data = tokenizer.encode(text)
    model = MiniGPT(tokenizer.vocab_size, 8, 1, 1, 8, rng=np.random.default_rng(0))
    rng, lr, losses = np.random.default_rng(1), 0.3, []
    for _ in range(60):
        i = rng.integers(0, len(data) - 8)
        x, y = data[i : i + 8], data[i + 1 : i + 8 + 1]
        loss = loss_of(model(x), y)
        for p in model.parameters():
            p.grad = 0.0
        loss.backward()
        for p in model.parameters():
            p.data -= lr * p.grad
        losses.append(float(loss.data))
    assert losses[0] == pytest.approx(math.log(tokenizer.vocab_size), rel=0.05)
    assert np.mean(losses[-5:]) < 0.5 * losses[0]


def test_the_two_loops_take_the_same_path():
    models = small_model(4), small_model(4)
    for model, loss_of in zip(models, (source_loss, cross_entropy_loss)):
        for _ in range(10):
            loss = loss_of(model(IDS), TARGETS)
            for p in model.parameters():
                p.grad = 0.0
            loss.backward()
            for p in model.parameters():
                p.data -= 0.1 * p.grad
    for a, b in zip(*(model.parameters() for model in models)):
        np.testing.assert_allclose(a.data, b.data, rtol=0, atol=1e-12)


def test_a_model_of_single_numbers():
    """Every weight a scalar of its own, as in the scalar engine of the source."""
    V = 3
    table = [[Tensor(0.0) for _ in range(V)] for _ in range(V)]
    data = [0, 1, 2] * 6
    for _ in range(30):
        loss = source_loss([table[i] for i in data[:-1]], data[1:])
        for row in table:
            for p in row:
                p.grad = 0.0
        loss.backward()
        for row in table:
            for p in row:
                p.data -= 3.0 * p.grad
    assert loss.item() < 0.2
    assert softmax(table[0])[1].item() > 0.8


def test_without_gradients():
    model = small_model()
    with no_grad():
        loss = source_loss(model(IDS), TARGETS)
    assert loss.item() == pytest.approx(cross_entropy_loss(model(IDS), TARGETS).item(), abs=1e-12)


def test_the_data_of_the_source():
    text = "hello world, hello you"
    chars = sorted(set(text))
    tokenizer = CharTokenizer.from_text(text)
    assert tokenizer.chars == chars
    data, _ = train_val_split(tokenizer.encode(text), 0.2)
    block_size = 4
    x, y = get_batch(data, block_size, 5, np.random.default_rng(0))
    for row_x, row_y in zip(x.tolist(), y.tolist()):
        assert any(
            row_x == data[i : i + block_size].tolist()
            and row_y == data[i + 1 : i + block_size + 1].tolist()
            for i in range(len(data) - block_size)
        )
