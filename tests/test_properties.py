"""Properties that hold for any input, tried with Hypothesis: the same inputs in every run."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays, basic_indices, broadcastable_shapes

from minigpt_helpers import (
    CharTokenizer,
    MiniGPT,
    Tensor,
    generate,
    get_batch,
    load_checkpoint,
    read_text,
    save_checkpoint,
    stack,
)
from reference import assert_slopes_agree

settings.register_profile("minigpt", derandomize=True, deadline=None, database=None,
                          max_examples=60, print_blob=False)
settings.load_profile("minigpt")


def values(shape, seed):
    """Numbers from 0.4 to 2.4 in random order and with random signs: no two alike, none near 0."""
    rng = np.random.default_rng(seed)
    size = math.prod(shape)
    return (rng.permutation(np.linspace(0.4, 2.4, size)) * rng.choice([-1, 1], size)).reshape(shape)


seeds = st.integers(0, 10_000)
shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple)


# Gradients against finite differences


@st.composite
def pairs_of_shapes(draw):
    left = draw(shapes)
    return left, draw(broadcastable_shapes(left, max_dims=3, max_side=3))


@given(pairs_of_shapes(), seeds, st.sampled_from("+-*/"))
def test_gradients_of_two_shapes_that_broadcast(pair, seed, symbol):
    a, b = values(pair[0], seed), values(pair[1], seed + 1)
    assert_slopes_agree({
        "+": lambda x, y: x + y, "-": lambda x, y: x - y,
        "*": lambda x, y: x * y, "/": lambda x, y: x / y,
    }[symbol], a, b, rtol=1e-5)


@st.composite
def expressions(draw):
    """A function of two tensors of one shape ``(2, 3)``, a few operations deep."""
    steps = draw(st.lists(st.tuples(
        st.sampled_from(["+", "*", "-", "/", "tanh", "exp", "power", "mean", "max", "turn", "take",
                         "stack", "abs", "relu"]), st.integers(0, 9), st.integers(0, 9),
    ), min_size=1, max_size=6))

    def build(*tensors):
        nodes = list(tensors)
        for name, i, j in steps:
            a, b = nodes[i % len(nodes)], nodes[j % len(nodes)]
            nodes.append({
                "+": lambda a=a, b=b: a + b, "*": lambda a=a, b=b: a * b,
                "-": lambda a=a, b=b: a - 0.5 * b, "/": lambda a=a, b=b: a / (b * b + 1),
                "tanh": lambda a=a: a.tanh(), "exp": lambda a=a: (a * 0.1).exp(),
                "power": lambda a=a: (a * a + 1) ** 1.5 * 0.1,
                "mean": lambda a=a, b=b: a.mean(axis=1, keepdims=True) * b,
                "max": lambda a=a, b=b: a.max(axis=0) + b,
                "turn": lambda a=a, b=b: a @ b.transpose() @ a * 0.1,
                "take": lambda a=a: a[[1, 1]] * 0.5, "stack": lambda a=a, b=b: stack([a[0], b[1]]),
                "abs": lambda a=a: abs(a), "relu": lambda a=a: a.relu(),
            }[name]())
        return sum(node.sum() for node in nodes)

    return build


@given(expressions(), seeds)
def test_gradients_of_random_expressions(build, seed):
    assert_slopes_agree(build, values((2, 3), seed), values((2, 3), seed + 1), rtol=1e-4, atol=1e-6)


@given(shapes.filter(bool).flatmap(lambda s: st.tuples(
    st.just(s), basic_indices(s, allow_newaxis=True, allow_ellipsis=True))), seeds)
def test_gradients_of_slices_and_entries(taken, seed):
    shape, key = taken
    array = values(shape, seed)
    np.testing.assert_array_equal(Tensor(array)[key].data, array[key])
    assert_slopes_agree(lambda x: x[key], array)


@given(st.integers(1, 4).flatmap(lambda n: arrays(
    int, st.lists(st.integers(1, 3), min_size=1, max_size=2).map(tuple),
    elements=st.integers(-n, n - 1)).map(lambda key: (n, key))), seeds)
def test_gradients_of_entries_taken_by_number(taken, seed):
    n, key = taken
    assert_slopes_agree(lambda x: x[key], values((n, 2), seed))


@st.composite
def matrices(draw):
    """Shapes of 1 to 4 axes that fit for ``@``."""
    n, k, m = (draw(st.integers(1, 3)) for _ in range(3))
    lead = draw(st.lists(st.integers(1, 2), max_size=2).map(tuple))
    other = draw(broadcastable_shapes(lead, max_dims=2, max_side=2)) if lead else ()
    left = draw(st.sampled_from([(k,), (*lead, n, k)]))
    right = draw(st.sampled_from([(k,), (*other, k, m)]))
    return left, right


@given(matrices(), seeds)
def test_gradients_of_products(pair, seed):
    a, b = values(pair[0], seed), values(pair[1], seed + 1)
    np.testing.assert_allclose((Tensor(a) @ Tensor(b)).data, a @ b, atol=1e-12)
    assert_slopes_agree(lambda x, y: x @ y, a, b)


@st.composite
def reductions(draw):
    shape = draw(shapes)
    axes = draw(st.lists(st.integers(-len(shape), len(shape) - 1), max_size=3,
                         unique_by=lambda a: a % len(shape))) if shape else []
    axis = draw(st.sampled_from([None, tuple(axes), *axes]))
    return shape, axis, draw(st.booleans()), draw(st.sampled_from(["sum", "mean", "max"]))


@given(reductions(), seeds)
def test_gradients_along_any_axes(reduction, seed):
    shape, axis, keepdims, name = reduction
    array = values(shape, seed)
    out = getattr(Tensor(array), name)(axis=axis, keepdims=keepdims)
    expected = getattr(np, name)(array, axis=axis, keepdims=keepdims)
    assert out.shape == expected.shape
    np.testing.assert_allclose(out.data, expected, atol=1e-12)
    assert_slopes_agree(lambda x: getattr(x, name)(axis=axis, keepdims=keepdims), array)


# Text

any_text = st.text(st.characters(), max_size=60)  # lone surrogates too


@given(any_text)
def test_any_text_comes_back(text):
    tokenizer = CharTokenizer.from_text(text + "a")
    ids = tokenizer.encode(text)
    assert len(ids) == len(text) and tokenizer.decode(ids) == text
    assert all(0 <= i < tokenizer.vocab_size for i in ids)


@given(any_text, any_text)
def test_any_text_against_any_vocabulary(known, text):
    tokenizer = CharTokenizer.from_text(known + "a")
    unknown = [char for char in text if char not in known + "a"]
    if unknown:
        with pytest.raises(ValueError, match=f"U.{ord(unknown[0]):04X}"):
            tokenizer.encode(text)
    else:
        assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.integers(1, 6), st.integers(0, 8), st.sampled_from([list, np.array]), seeds)
def test_batches_cover_every_window(block_size, more, kind, seed):
    data = list(range(block_size + 1 + more))
    x, y = get_batch(kind(data), block_size, 40 * (more + 1), np.random.default_rng(seed))
    assert sorted({row[0] for row in x.tolist()}) == list(range(more + 1))
    np.testing.assert_array_equal(x - x[:, :1], np.tile(np.arange(block_size), (len(x), 1)))
    np.testing.assert_array_equal(y, x + 1)


# Generation

MODEL = MiniGPT(7, 8, 2, 2, 6, rng=np.random.default_rng(0))


@given(st.lists(st.integers(0, 6), min_size=1, max_size=9), st.integers(0, 9),
       st.floats(0, 3), st.none() | st.integers(1, 9), st.none() | st.floats(0.05, 1), seeds)
def test_the_cache_changes_no_token(start, count, temperature, top_k, top_p, seed):
    texts = [
        generate(MODEL, start, count, temperature, top_k, np.random.default_rng(seed), top_p=top_p,
                 use_cache=use_cache)
        for use_cache in (True, False)
    ]
    assert texts[0] == texts[1] and len(texts[0]) == len(start) + count
    assert texts[0][: len(start)] == start


# 10,000 broken files


def broken(whole: bytes, rng: random.Random) -> bytes:
    """``whole`` with some of its bytes changed, left out, doubled or made up."""
    content = bytearray(whole)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(len(content) + 1)
        if rng.random() < 0.7:  # rather in the header, where more can go wrong
            at = min(at, rng.randrange(1, 1200))
        to = min(len(content), at + rng.choice([1, 1, 2, 8, 50]))
        kind = rng.randrange(5)
        if kind == 0:
            content[at:to] = rng.randbytes(to - at)
        elif kind == 1:
            del content[at:to]
        elif kind == 2:
            content[at:at] = content[at:to]
        elif kind == 3:
            content[at:to] = rng.choice([b"\0", b"{", b"[", b'"', b"-1", b"9" * 30, b"null", b"true",
                                         b"\xff\xfe", b"1e400", b"NaN", b"F16", b"BOOL", b"I64"])
        else:
            del content[at:]
    return bytes(content)


def test_broken_checkpoints_load_or_are_refused(tmp_path):
    path, rng = tmp_path / "model.safetensors", random.Random(0)
    save_checkpoint(path, MiniGPT(3, 2, 1, 1, 2), CharTokenizer("abc"))
    whole, outcomes = path.read_bytes(), {True: 0, False: 0}
    for i in range(5_000):
        path.write_bytes(broken(whole, rng))
        try:
            model, tokenizer = load_checkpoint(path)
            with np.errstate(all="ignore"):
                assert model([0, 1]).shape == (2, tokenizer.vocab_size)
            outcomes[True] += 1
        except ValueError as error:
            assert "model.safetensors" in str(error), i
            outcomes[False] += 1
    assert min(outcomes.values()) > 20, "the files are all whole, or all broken"


def test_broken_texts_are_read_or_refused(tmp_path):
    path, rng, outcomes = tmp_path / "mine.txt", random.Random(1), {True: 0, False: 0}
    text = "Es war einmal: ein Müller, \u201cder\u201d hatte 日本語 und 😀.\r\nUnd dann?\n" * 3
    for i in range(5_000):
        encoding = rng.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
        whole = text.encode(encoding)
        path.write_bytes(broken(whole, rng) if rng.random() < 0.9 else rng.randbytes(i % 40))
        try:
            result = read_text(path)
            assert result.strip() and "\r" not in result and result.encode("utf-8")
            outcomes[True] += 1
        except ValueError as error:
            assert "mine.txt" in str(error), i
            outcomes[False] += 1
    assert min(outcomes.values()) > 20, "the files are all whole, or all broken"
