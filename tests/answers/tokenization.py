"""Answers to the exercises of lesson 1."""

from __future__ import annotations

import math

import numpy as np

from minigpt_helpers import get_batch
from minigpt_helpers.text import bigram_probs


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


def bpe_lowest_rank(word, learnt):
    """As the tokenizers of GPT do it: the pair learnt first, as long as one is there."""
    tokens = list(word)
    while known := set(zip(tokens, tokens[1:])) & set(learnt):
        a, b = min(known, key=learnt.index)
        at = next(i for i in range(len(tokens)) if tokens[i : i + 2] == [a, b])
        tokens[at : at + 2] = [a + b]
    return tokens


RIGHT = [
    ("bpe_encode", bpe_lowest_rank),
    ("decode_ids", decode_loop),
    ("decode_ids", lambda ids, chars: "".join(map(chars.__getitem__, ids))),
    ("careful_encode", encode_loop),
    ("careful_encode", encode_catching),
    ("mended_batch", batch_rows),
    ("mended_batch", get_batch),
    ("row_probs", row_probs_loop),
    ("row_probs", lambda c, s: (c + s) / (c + s).sum(1)[:, None]),
    ("mean_surprise", surprise_loop),
    ("mean_surprise", lambda p, ids: np.mean(-np.log(p[ids[:-1], ids[1:]]))),
    ("equal_counts", "ab" * 8),
    ("equal_counts", "the quick\n" * 3),
    ("better_smoothing", 0.2),
    ("better_smoothing", np.float64(0.4)),
    ("predict_vocab_size", 4),
    ("predict_vocab_size", np.int64(4)),
    ("predict_targets", 8.0),
    ("predict_uniform_loss", 3.3),
    ("predict_uniform_loss", np.log(27)),
]


def batch_with(low=0, high=0, shift=1, targets=None, same=False):
    def batch(data, block_size, batch_size, rng):
        starts = rng.integers(low, len(data) - block_size + high, size=batch_size)
        starts = starts * 0 + starts[0] if same else starts
        x = np.stack([data[i : i + block_size] for i in starts])
        y = np.stack([data[i + shift : i + shift + block_size] for i in starts])
        return (x, y) if targets is None else targets(x, y)

    return batch


def batch_own_rng(data, block_size, batch_size, rng):
    return get_batch(data, block_size, batch_size, np.random.default_rng(0))


def batch_fresh_rng(data, block_size, batch_size, rng):
    return get_batch(data, block_size, batch_size, np.random.default_rng())


def add_to_input(counts, smoothing):
    counts += smoothing
    return counts / counts.sum(axis=1, keepdims=True)


def bpe_longest(word, learnt):
    known, tokens = {a + b for a, b in learnt}, []
    while word:
        length = next(n for n in range(len(word), 0, -1) if n == 1 or word[:n] in known)
        tokens.append(word[:length])
        word = word[length:]
    return tokens


WRONG = [
    ("bpe_encode", bpe_longest, "Does not hold"),
    ("decode_ids", lambda ids, chars: chars[ids[0] + 99], "list index out of range"),
    ("careful_encode", lambda t, c: [c[x] for x in t], "before you use it"),
    ("careful_encode", lambda t, c: [c.get(x, 7) for x in t], "expected a ValueError, but got"),
    ("mended_batch", batch_with(shift=0), "nothing is left to predict"),
    ("mended_batch", batch_with(shift=2), "short|same shape|shifted by two"),
    ("mended_batch", batch_with(high=-1), "never gives `high` itself"),
    ("mended_batch", batch_with(low=1), "never an input|low >= high"),
    ("mended_batch", batch_with(same=True), "All windows are the same"),
    ("mended_batch", batch_with(targets=lambda x, y: (y, x)), "swapped"),
    ("mended_batch", batch_with(targets=lambda x, y: (x, y[:, -1])), "the shape of y"),
    ("mended_batch", batch_with(targets=lambda x, y: (x.T, y.T)), "B rows of T ids"),
    ("mended_batch", batch_with(targets=lambda x, y: x), "return x, y"),
    ("mended_batch", batch_own_rng, "The generator|two different seeds"),
    ("mended_batch", batch_fresh_rng, "one seed give different windows"),
    ("row_probs", add_to_input, "changes its input"),
    ("row_probs", lambda c, s: bigram_probs(np.array([0, 1]), len(c), s), "differ"),
    ("equal_counts", "ababab", "Write a longer one"),
    ("equal_counts", "aaab" * 5, "as often as the others"),
    ("equal_counts", "abcdefghijkl", "In which order"),
    ("equal_counts", "aabb" * 6, "In which order"),
    ("equal_counts", "a" * 20, "different character"),
    ("equal_counts", ["ab"] * 12, "expected a string"),
    ("better_smoothing", 1.0, "both sides of 1"),
    ("better_smoothing", 10, "both sides of 1"),
    ("better_smoothing", 0.06, "half a step"),
    ("better_smoothing", 0, "must be above 0"),
    ("better_smoothing", -0.3, "must be above 0"),
    ("better_smoothing", "small", "expected numbers"),
    ("better_smoothing", [0.1, 0.2], "expected one number"),
    ("predict_vocab_size", 26, "once"),
    ("predict_targets", 64, "its own target"),
    ("predict_uniform_loss", 4.755, "bits"),
]
