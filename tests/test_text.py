"""Lesson 1: the tokenizer, batches, the split and the bigram table."""

import math

import numpy as np
import pytest

from minigpt_helpers import (
    CharTokenizer,
    bigram_loss,
    bigram_probs,
    get_batch,
    train_val_split,
)

pytestmark = pytest.mark.filterwarnings("error")


# The tokenizer


def test_the_vocabulary_is_the_sorted_set_of_characters():
    tokenizer = CharTokenizer.from_text("hello\nworld")
    assert tokenizer.chars == sorted(set("hello\nworld"))
    assert tokenizer.vocab_size == len(tokenizer.chars) == 8
    assert tokenizer.char_to_idx["\n"] == 0
    assert [tokenizer.idx_to_char[i] for i in range(8)] == tokenizer.chars
    assert {c: i for i, c in tokenizer.idx_to_char.items()} == tokenizer.char_to_idx


@pytest.mark.parametrize("text", ["", "a", "banana", "à la crème\t\r\n", "日本語と😀",
    "\0\ud800\U0010ffff"])
def test_decode_inverts_encode(text):
    tokenizer = CharTokenizer.from_text(text + "a")
    ids = tokenizer.encode(text)
    assert isinstance(ids, list) and all(type(i) is int for i in ids)
    assert len(ids) == len(text)
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("wrap", [list, tuple, np.array, iter, lambda ids: np.array(ids, np.uint8)])
def test_decode_takes_any_list_of_whole_numbers(wrap):
    assert CharTokenizer("abc").decode(wrap([2, 0, 1])) == "cab"


def test_the_order_of_given_characters_is_kept():
    assert CharTokenizer("cab").encode("abc") == [1, 2, 0]


def test_an_unknown_character_is_named_with_code_point_and_position():
    with pytest.raises(ValueError, match=r"'é' \(U\+00E9\) at position 3"):
        CharTokenizer("abc").encode("abcé")


def test_the_first_unknown_character_is_the_one_named():
    with pytest.raises(ValueError, match="'x'.*position 1"):
        CharTokenizer("abc").encode("axyx")


@pytest.mark.parametrize("ids, named", [
    ([0, 3], "3 at position 1"), ([0, 1, -1], "-1 at position 2"), ([0.5], "0.5"), (["a"], "'a'"),
    ([[0, 1]], r"\(1, 2\)"), (5, "5|shape"), (None, "None"),
    ([[0], [1, 2]], r"\[\[0\], \[1, 2\]\]"),
    ([2**70], "int|object|range"), ([True], "bool"), ("ab", "ab"),
])
def test_decode_refuses_what_is_no_id(ids, named):
    with pytest.raises(ValueError, match=named):
        CharTokenizer("abc").decode(ids)


@pytest.mark.parametrize("text", [None, 5, ["a"], b"abc"])
@pytest.mark.parametrize("method", ["encode", "from_text"])
def test_only_strings_are_encoded(text, method):
    with pytest.raises(ValueError, match="string"):
        getattr(CharTokenizer("abc"), method)(text)


@pytest.mark.parametrize("chars, named", [
    ("", "at least one"), (["ab"], "'ab'"), ("aba", "'a'"), ([1], "1"), ([""], "''"),
])
def test_a_bad_vocabulary_is_refused(chars, named):
    with pytest.raises(ValueError, match=named):
        CharTokenizer(chars)


def test_an_empty_text_has_no_vocabulary():
    with pytest.raises(ValueError, match="empty"):
        CharTokenizer.from_text("")


def test_the_callers_list_of_characters_is_not_kept():
    chars = ["a", "b"]
    tokenizer = CharTokenizer(chars)
    chars.append("c")
    assert tokenizer.vocab_size == 2


# The split


@pytest.mark.parametrize("n, fraction, num_val",
    [(100, 0.1, 10), (7, 0.5, 4), (10, 0.25, 2), (2, 0.5, 1)])
def test_the_split_keeps_the_order_and_every_token(n, fraction, num_val):
    data = np.arange(n) % 5
    first, last = train_val_split(data, fraction)
    assert len(last) == num_val
    np.testing.assert_array_equal(np.concatenate([first, last]), data)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, math.nan, "a", None])
def test_a_fraction_outside_0_to_1_is_refused(fraction):
    with pytest.raises(ValueError, match=f"val_fraction.*{fraction}"):
        train_val_split([0, 1, 2, 3], fraction)


@pytest.mark.parametrize("data", [[], [1], [0, 1, 2]])
def test_too_little_to_split(data):
    with pytest.raises(ValueError, match=str(len(data))):
        train_val_split(data, 0.1)


# Batches


@pytest.mark.parametrize("as_type", [list, np.array, lambda d: np.array(d, np.uint16)])
def test_targets_are_the_next_tokens(as_type):
    data = list(range(50, 90))
    x, y = get_batch(as_type(data), 6, 9, np.random.default_rng(0))
    assert x.shape == y.shape == (9, 6)
    assert x.dtype.kind in "iu" and y.dtype.kind in "iu"
    for row_x, row_y in zip(x, y):
        start = data.index(row_x[0])
        assert row_x.tolist() == data[start : start + 6]
        assert row_y.tolist() == data[start + 1 : start + 7]


def test_every_start_occurs_about_equally_often_and_none_runs_over():
    n, block_size = 13, 4
    x, y = get_batch(np.arange(n), block_size, 20_000, np.random.default_rng(1))
    starts, counts = np.unique(x[:, 0], return_counts=True)
    np.testing.assert_array_equal(starts, np.arange(n - block_size))  # the last is N - T - 1
    assert y.max() == n - 1
    expected = 20_000 / len(starts)
    assert np.abs(counts - expected).max() < 5 * math.sqrt(expected)


def test_the_shortest_possible_data():
    x, y = get_batch([7, 8, 9], 2, 3, np.random.default_rng(0))
    assert x.tolist() == [[7, 8]] * 3 and y.tolist() == [[8, 9]] * 3


def test_the_same_seed_gives_the_same_batch_and_none_gives_fresh_ones():
    data = np.arange(10_000)
    first = get_batch(data, 8, 4, np.random.default_rng(5))[0]
    np.testing.assert_array_equal(first, get_batch(data, 8, 4, np.random.default_rng(5))[0])
    assert not np.array_equal(get_batch(data, 8, 4)[0], get_batch(data, 8, 4)[0])


def test_inputs_and_targets_share_no_memory():
    """Whoever changes a token of ``x`` to try the mask must not change a target with it."""
    data = np.arange(30)
    x, y = get_batch(data, 5, 3, np.random.default_rng(0))
    before = y.copy()
    x[:] = -1
    np.testing.assert_array_equal(y, before)
    np.testing.assert_array_equal(data, np.arange(30))


def test_data_too_short_is_refused_with_both_lengths():
    with pytest.raises(ValueError, match="8 tokens.*block_size=8.*9"):
        get_batch(np.arange(8), 8, 2)


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0), (-3, 1), (2.5, 1), (1, "4"), (1, None),
    (True + 0.0, 1)])
def test_sizes_must_be_whole_and_positive(sizes):
    with pytest.raises(ValueError, match="block_size|batch_size"):
        get_batch(np.arange(20), *sizes)


@pytest.mark.parametrize("data", [
    "text", [0.5, 1.5, 2.5], np.zeros((3, 4), int), None, 7, [[0], [1, 2]], ["a", "b"],
])
def test_data_must_be_one_list_of_ids(data):
    for use in (lambda: get_batch(data, 1, 1), lambda: train_val_split(data)):
        with pytest.raises(ValueError, match="data"):
            use()


def test_empty_data_is_said_to_be_too_short():
    with pytest.raises(ValueError, match="0 tokens"):
        get_batch([], 4, 2)


@pytest.mark.parametrize("rng", [0, 42, "seed", np.random.RandomState(0), np.random])
def test_rng_must_be_a_generator(rng):
    with pytest.raises(ValueError, match="rng must be a numpy Generator"):
        get_batch(np.arange(20), 4, 2, rng)


# The bigram table


def test_bigram_probabilities_are_smoothed_counts():
    data = [0, 1, 0, 1, 2, 0]
    probs = bigram_probs(data, 3, smoothing=0.5)
    expected = np.full((3, 3), 0.5)
    for a, b in zip(data, data[1:]):
        expected[a, b] += 1
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probs, expected, rtol=1e-14)
    np.testing.assert_allclose(probs.sum(axis=1), 1.0, rtol=1e-14)


def test_bigram_loss_is_the_mean_surprise():
    rng = np.random.default_rng(0)
    data = rng.integers(0, 4, size=40)
    probs = bigram_probs(data, 4)
    expected = -sum(math.log(probs[a, b]) for a, b in zip(data, data[1:])) / 39
    assert bigram_loss(probs, data) == pytest.approx(expected, rel=1e-12)


def test_the_bigram_of_a_cycle_is_almost_certain():
    data = np.tile([0, 1, 2], 500)
    assert bigram_loss(bigram_probs(data, 3, smoothing=1e-9), data) < 1e-6


@pytest.mark.parametrize("smoothing", [0, -1, math.nan, "a", None, math.inf])
def test_smoothing_must_be_above_zero(smoothing):
    with pytest.raises(ValueError, match=f"smoothing.*{smoothing}"):
        bigram_probs([0, 1], 2, smoothing)


@pytest.mark.parametrize("data, vocab_size, named", [
    ([0, 5], 3, "5"), ([-1, 0], 3, "-1"), ([0.5], 3, "float"),
])
def test_bigram_ids_must_fit_the_vocabulary(data, vocab_size, named):
    with pytest.raises(ValueError, match=named):
        bigram_probs(data, vocab_size)


@pytest.mark.parametrize("data", [[], [0]])
def test_a_bigram_loss_needs_two_tokens(data):
    with pytest.raises(ValueError, match=f"two tokens.*{len(data)}"):
        bigram_loss(np.full((2, 2), 0.5), data)
