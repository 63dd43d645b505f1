"""Lesson 1's checks accept right solutions of every style and refuse wrong ones with the hint."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minigpt_helpers import checks, get_batch
from minigpt_helpers.text import bigram_loss, bigram_probs


# ---- right solutions ----


def decode_loop(ids, chars):
    text = ""
    for i in ids:
        text += chars[i]
    return text


def encode_loop(text, char_to_idx):
    ids = []
    for position, char in enumerate(text):
        if char not in char_to_idx:
            raise ValueError(f"unknown {char!r} at position {position}")
        ids.append(char_to_idx[char])
    return ids


def encode_catching(text, char_to_idx):
    try:
        return [char_to_idx[char] for char in text]
    except KeyError as error:
        char = error.args[0]
        raise ValueError(f"{char} at {text.index(char)} has no id") from None


def batch_rows(data, block_size, batch_size, rng):
    x, y = [], []
    for _ in range(batch_size):
        i = rng.integers(len(data) - block_size)
        x.append(data[i : i + block_size].tolist())
        y.append(data[i + 1 : i + block_size + 1].tolist())
    return x, y


def row_probs_loop(counts, smoothing):
    probs = np.zeros(counts.shape)
    for a, row in enumerate(counts):
        total = sum(row) + smoothing * len(row)
        for b, count in enumerate(row):
            probs[a, b] = (count + smoothing) / total
    return probs


def surprise_loop(probs, ids):
    total = 0.0
    for a, b in zip(ids, ids[1:]):
        total -= math.log(probs[a, b])
    return total / (len(ids) - 1)


def merge_while(tokens, pair):
    merged, i = [], 0
    while i < len(tokens):
        step = 2 if tuple(tokens[i : i + 2]) == pair else 1
        merged.append("".join(tokens[i : i + step]))
        i += step
    return merged


def bpe(word, learnt):
    tokens = list(word)
    for pair in learnt:
        tokens = merge_while(tokens, pair)
    return tokens


def bpe_lowest_rank(word, learnt):
    """As the tokenizers of GPT do it: the pair learnt first, as long as one is there."""
    tokens = list(word)
    while known := set(zip(tokens, tokens[1:])) & set(learnt):
        tokens = merge_while(tokens, min(known, key=learnt.index))
    return tokens


def bpe_longest(word, learnt):
    known, tokens = {a + b for a, b in learnt}, []
    while word:
        length = next(n for n in range(len(word), 0, -1) if n == 1 or word[:n] in known)
        tokens.append(word[:length])
        word = word[length:]
    return tokens


RIGHT = [
    (checks.bpe_encode, bpe),
    (checks.decode_ids, decode_loop),
    (checks.decode_ids, lambda ids, chars: "".join(map(chars.__getitem__, ids))),
    (checks.careful_encode, encode_loop),
    (checks.careful_encode, encode_catching),
    (checks.mended_batch, batch_rows),
    (checks.mended_batch, get_batch),
    (checks.row_probs, row_probs_loop),
    (checks.row_probs, lambda c, s: (c + s) / (c + s).sum(1)[:, None]),
    (checks.mean_surprise, surprise_loop),
    (checks.mean_surprise, lambda p, ids: np.mean(-np.log(p[ids[:-1], ids[1:]]))),
    (checks.equal_counts, "ab" * 8),
    (checks.equal_counts, "the quick\n" * 3),
    (checks.better_smoothing, 0.2),
    (checks.better_smoothing, np.float64(0.4)),
    (checks.predict_vocab_size, 4),
    (checks.predict_vocab_size, np.int64(4)),
    (checks.predict_targets, 8),
    (checks.predict_targets, 8.0),
    (checks.predict_uniform_loss, 3.3),
    (checks.predict_uniform_loss, np.log(27)),
]


@pytest.mark.parametrize(("check", "solution"), RIGHT)
def test_right_solutions_pass(check, solution):
    result = check(solution)
    assert result.passed and result.score == 1, result.message


# ---- wrong ones, each with a word of the hint that fits ----


def batch_with(high=0, shift=1, targets=None):
    def batch(data, block_size, batch_size, rng):
        starts = rng.integers(0, len(data) - block_size + high, size=batch_size)
        x = np.stack([data[i : i + block_size] for i in starts])
        y = np.stack([data[i + shift : i + shift + block_size] for i in starts])
        return (x, y) if targets is None else targets(x, y)

    return batch


def only_first(data, block_size, batch_size, rng):
    starts = np.zeros(batch_size, int)
    windows = data[starts[:, None] + np.arange(block_size + 1)]
    return windows[:, :-1], windows[:, 1:]


def encode_zero(text, char_to_idx):
    return [char_to_idx.get(char, 0) for char in text]


def encode_no_place(text, char_to_idx):
    for char in text:
        if char not in char_to_idx:
            raise ValueError(f"unknown character {char!r}")
    return [char_to_idx[char] for char in text]


def encode_returns_early(text, char_to_idx):
    for position, char in enumerate(text):
        if char not in char_to_idx:
            raise ValueError(f"{char} at {position}")
        return [char_to_idx[char]]
    return []


def add_to_input(counts, smoothing):
    counts += smoothing
    return counts / counts.sum(axis=1, keepdims=True)


WRONG = [
    (checks.bpe_encode, lambda word, learnt: list(word), "No pair was merged"),
    (checks.bpe_encode, lambda word, learnt: bpe(word, learnt[:1]), "Only the first pair"),
    (checks.bpe_encode, lambda word, learnt: bpe(word, learnt[::-1]), "in the order learnt"),
    (checks.bpe_encode, lambda word, learnt: " ".join(bpe(word, learnt)), "list of tokens"),
    (checks.bpe_encode, lambda word, learnt: bpe(word, learnt[-1:]), "from the word again"),
    (checks.bpe_encode, bpe_longest, "longest known piece"),
    (checks.decode_ids, lambda ids, chars: " ".join(chars[i] for i in ids), "in between"),
    (checks.decode_ids, lambda ids, chars: [chars[i] for i in ids], "one string"),
    (checks.decode_ids, lambda ids, chars: "".join(chars[i - 1] for i in ids), "count from 0"),
    (checks.decode_ids, lambda ids, chars: "".join(chars[i] for i in ids[::-1]), "backwards"),
    (checks.decode_ids, lambda ids, chars: "".join(str(i) for i in ids), "Look each id up"),
    (checks.careful_encode, lambda t, c: [c[x] for x in t if x in c], "in silence"),
    (checks.careful_encode, lambda t, c: [c[x] for x in t], "KeyError"),
    (checks.careful_encode, encode_zero, "in silence"),
    (checks.careful_encode, encode_no_place, "enumerate"),
    (checks.careful_encode, encode_returns_early, "in the loop"),
    (checks.careful_encode, lambda t, c: [ord(x) for x in t], "from the dictionary"),
    (checks.mended_batch, batch_with(shift=0), "nothing is left to predict"),
    (checks.mended_batch, batch_with(high=-1), "never gives `high` itself"),
    (checks.mended_batch, batch_with(targets=lambda x, y: (y, x)), "swapped"),
    (checks.mended_batch, batch_with(targets=lambda x, y: (x, y[:, -1])), "the shape of y"),
    (checks.mended_batch, batch_with(targets=lambda x, y: (x.T, y.T)), "B rows of T ids"),
    (checks.mended_batch, batch_with(targets=lambda x, y: x), "return x, y"),
    (checks.mended_batch, only_first, "number of windows"),
    (checks.row_probs, lambda c, s: (c + s) / (c + s).sum(0), "columns"),
    (checks.row_probs, lambda c, s: (c + s) / (c + s).sum(), "whole table"),
    (checks.row_probs, lambda c, s: (c + s) / (c + s).sum(1), "keepdims"),
    (checks.row_probs, lambda c, s: (c + s) / c.sum(1, keepdims=True), "raised counts"),
    (checks.row_probs, lambda c, s: (c + s) / (c.sum(1, keepdims=True) + s), "V times"),
    (checks.row_probs, add_to_input, "changes its input"),
    (checks.row_probs, lambda c, s: bigram_probs(np.array([0, 1]), len(c), s), "differ"),
    (checks.mean_surprise, lambda p, i: np.log(p[i[:-1], i[1:]]).mean(), "sign"),
    (checks.mean_surprise, lambda p, i: -np.log(p[i[:-1], i[1:]]).sum(), "not the mean"),
    (checks.mean_surprise, lambda p, i: -np.log(p[i[1:], i[:-1]]).mean(), "b follows a"),
    (checks.mean_surprise, lambda p, i: -np.log(p[i, i]).mean(), "b is the id after a"),
    (checks.mean_surprise, lambda p, i: -np.log2(p[i[:-1], i[1:]]).mean(), "bits"),
    (checks.mean_surprise, lambda p, i: -np.log(p[i[:-1], i[1:]].mean()), "First the logarithm"),
    (checks.mean_surprise, lambda p, i: np.exp(bigram_loss(p, i)), "perplexity"),
    (checks.equal_counts, "ababab", "Write a longer one"),
    (checks.equal_counts, "aaab" * 5, "as often as the others"),
    (checks.equal_counts, "abcdefghijkl", "In which order"),
    (checks.equal_counts, "aabb" * 6, "In which order"),
    (checks.equal_counts, "a" * 20, "different character"),
    (checks.equal_counts, ["ab"] * 12, "expected a string"),
    (checks.better_smoothing, 1.0, "both sides of 1"),
    (checks.better_smoothing, 10, "both sides of 1"),
    (checks.better_smoothing, 0.06, "half a step"),
    (checks.better_smoothing, 0, "must be above 0"),
    (checks.better_smoothing, -0.3, "must be above 0"),
    (checks.better_smoothing, "small", "expected numbers"),
    (checks.better_smoothing, [0.1, 0.2], "expected one number"),
    (checks.predict_vocab_size, 3, "cannot see"),
    (checks.predict_vocab_size, 12, "length"),
    (checks.predict_vocab_size, 5, "line break"),
    (checks.predict_vocab_size, 26, "once"),
    (checks.predict_targets, 1, "first one"),
    (checks.predict_targets, 7, "last input"),
    (checks.predict_targets, 9, "never a target"),
    (checks.predict_targets, 64, "target of its own"),
    (checks.predict_uniform_loss, 4.755, "bits"),
    (checks.predict_uniform_loss, -3.296, "positive"),
    (checks.predict_uniform_loss, 0.037, "-ln of it"),
    (checks.predict_uniform_loss, 27, "logarithm"),
]


@pytest.mark.parametrize(("check", "solution", "hint"), WRONG)
def test_wrong_solutions_are_refused_with_a_hint(check, solution, hint):
    result = check(solution)
    assert not result.passed and result.score < 1
    assert result.message.startswith("not yet"), result.message
    assert hint in result.message


@pytest.mark.parametrize("entry", checks.catalogue(1), ids=lambda entry: entry.name)
def test_a_stub_is_not_done_yet(entry):
    def stub(*args):
        ...

    for unfinished in [..., None, *([stub] if entry.kind == "function" else [])]:
        result = getattr(checks, entry.name)(unfinished)
        assert result.score == 0
        assert result.message.startswith("not done yet"), result.message


def test_no_hint_holds_the_answer():
    """The best smoothing, the counterexample and the predictions stay the reader's to find."""
    assert "0.2" not in checks.better_smoothing(1.0).message
    assert "abab" not in checks.equal_counts("abcdefghijkl").message
    assert "3.29" not in checks.predict_uniform_loss(27).message
