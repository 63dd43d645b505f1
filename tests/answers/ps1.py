"""Answers to problem set 1."""

from __future__ import annotations

import itertools
import math
import random
import re
import zlib
from collections import Counter, defaultdict

import numpy as np

from minigpt_helpers import CharTokenizer, bigram_loss, bigram_probs, load_corpus

# ---- right solutions: split_words and mended_merge ----


def split_groups(text):
    tokens = []
    for is_word, run in itertools.groupby(text, key=str.isalnum):
        tokens += ["".join(run)] if is_word else list(run)
    return tuple(tokens)


def split_generator(text, lower=False):
    word = ""
    for char in text:
        if char.isalpha() or char.isnumeric():
            word += char
            continue
        if word:
            yield word
        word = ""
        yield char
    if word:
        yield word


def merge_popping(ids, pair, new_id):
    left, merged = list(ids), []
    while left:
        first = left.pop(0)
        if left and (first, left[0]) == pair:
            left.pop(0)
            first = new_id
        merged.append(first)
    return merged


def merge_looking_back(ids, pair, new_id):
    merged, fresh = [], False  # fresh: the last id may still be the first half of a pair
    for i in ids:
        if merged and fresh and merged[-1] == pair[0] and i == pair[1]:
            merged[-1], fresh = new_id, False
        else:
            merged.append(i)
            fresh = True
    return np.array(merged, dtype=int)


def merge_in_text(ids, pair, new_id):
    text = "".join(chr(1000 + i) for i in ids)
    text = text.replace(chr(1000 + pair[0]) + chr(1000 + pair[1]), chr(1000 + new_id))
    return [ord(char) - 1000 for char in text]


# ---- window_numbers ----


def numbers_formula(N, T):
    windows = max(N - T, 0)
    return windows, windows * T, (N - 1) // T


def numbers_counted(N, T):
    data = list(range(N))
    every = [data[i : i + T + 1] for i in range(N) if len(data[i : i + T + 1]) == T + 1]
    apart = [i for i in range(0, N - T, T)]
    return [len(every), sum(len(window) - 1 for window in every), len(apart)]


# ---- which_language ----


def language_by_package(text, samples, smoothing=1.0):
    chars = sorted(set(text).union(*samples.values()))
    tokenizer = CharTokenizer(chars)
    losses = {}
    for name, sample in samples.items():
        probs = bigram_probs(np.array(tokenizer.encode(sample)), len(chars), smoothing)
        losses[name] = bigram_loss(probs, np.array(tokenizer.encode(text)))
    return min(losses, key=losses.get)


def language_by_dictionary(text, samples):
    best = (math.inf, "")
    for name, sample in samples.items():
        pairs, firsts = Counter(zip(sample, sample[1:])), Counter(sample[:-1])
        loss = 0.0
        for a, b in zip(text, text[1:]):
            loss -= math.log((pairs[a, b] + 0.1) / (firsts[a] + 0.1 * 256))
        best = min(best, (loss, name))
    return best[1]


def language_own_alphabet(text, samples):
    """Skips what a sample does not know, and pays a fixed price for it."""
    def loss(sample):
        known = sorted(set(sample))
        table = {a: dict.fromkeys(known, 1) for a in known}
        for a, b in zip(sample, sample[1:]):
            table[a][b] += 1
        total = 0
        for a, b in zip(text, text[1:]):
            total += 8 if a not in table or b not in table else (
                -np.log2(table[a][b] / sum(table[a].values())))
        return total

    return sorted(samples, key=lambda name: loss(samples[name]))[0]


# ---- adaptive_bits ----


def bits_by_table(ids, vocab_size):
    counts, bits, last = np.ones((vocab_size, vocab_size)), 0.0, None
    for i in ids:
        p = 1 / vocab_size if last is None else counts[last, i] / counts[last].sum()
        bits += -np.log2(p)
        if last is not None:
            counts[last, i] += 1
        last = i
    return bits


def bits_by_dictionary(ids, vocab_size, smoothing=1):
    if not ids:
        return 0
    seen, total = defaultdict(Counter), [math.log(vocab_size)]
    for a, b in zip(ids, ids[1:]):
        row = seen[a]
        total.append(-math.log((row[b] + smoothing) / (sum(row.values()) + vocab_size)))
        row[b] += 1
    return np.float32(sum(total) / math.log(2))


OWN = "".join(random.Random(3).choices("abcdefgh, é\n", k=700))


def own_numbers(level=9):
    V, N = len(set(OWN)), len(OWN)
    ids = CharTokenizer.from_text(OWN).encode(OWN)
    packed = zlib.compress(OWN.encode(), level)
    return [math.log2(V), bits_by_table(ids, V) / N, len(packed) * 8 / N]


RIGHT = [
    ("ps1_split_words", split_groups),
    ("ps1_split_words", split_generator),
    ("ps1_split_words", lambda text: re.findall(r"[^\W_]+|[\W_]", text)),
    ("ps1_split_words", lambda text: [t for t in re.split(r"([\W_])", text) if t]),
    ("ps1_mended_merge", merge_popping),
    ("ps1_mended_merge", merge_looking_back),
    ("ps1_mended_merge", merge_in_text),
    ("ps1_window_numbers", numbers_formula),
    ("ps1_window_numbers", numbers_counted),
    ("ps1_window_numbers", lambda N, T: np.array(numbers_counted(N, T), dtype=float)),
    ("ps1_pair_paradox", "aaaaa" + "bcbdbcbdbc"),
    ("ps1_pair_paradox", "aaaaaa bcd bce bcf bc"),
    ("ps1_pair_paradox", "hmmmmm, no, no, no"),
    ("ps1_which_language", language_by_package),
    ("ps1_which_language", lambda t, s: language_by_package(t, s, smoothing=0.01)),
    ("ps1_which_language", language_by_dictionary),
    ("ps1_which_language", language_own_alphabet),
    ("ps1_adaptive_bits", bits_by_table),
    ("ps1_adaptive_bits", bits_by_dictionary),
]


def merge_in_place(ids, pair, new_id):
    i = 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == pair:
            ids[i : i + 2] = [new_id]
        i += 1
    return ids


def merge_in_words(ids, pair, new_id):
    text = " ".join(map(str, ids)).replace(f"{pair[0]} {pair[1]}", str(new_id))
    return [int(word) for word in text.split()]


def language(loss, pick=min):
    def which(text, samples):
        return pick(samples, key=lambda name: loss(text, samples[name], samples))

    return which


def table_loss(text, sample, samples, smoothing=1.0, sums=True):
    chars = sorted(set(text).union(*samples.values()))
    counts = np.full((len(chars), len(chars)), float(smoothing))
    for a, b in zip(sample, sample[1:]):
        counts[chars.index(a), chars.index(b)] += 1
    if sums:
        with np.errstate(invalid="ignore", divide="ignore"):
            counts = counts / counts.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        logs = np.log(counts)
    return -sum(logs[chars.index(a), chars.index(b)] for a, b in zip(text, text[1:]))


def unigram_loss(text, sample, samples):
    counts = Counter(sample)
    return -sum(math.log((counts[c] + 1) / (len(sample) + 256)) for c in text)


def product(text, sample, samples):
    return -math.exp(-table_loss(text, sample, samples))


def narrow_vocabulary(text, sample, samples):
    tokenizer = CharTokenizer.from_text("".join(samples.values()))
    probs = bigram_probs(np.array(tokenizer.encode(sample)), tokenizer.vocab_size)
    return bigram_loss(probs, np.array(tokenizer.encode(text)))


def split_decimals(text):
    tokens = []
    for is_word, run in itertools.groupby(text, lambda c: c.isalpha() or c.isdecimal()):
        tokens += ["".join(run)] if is_word else list(run)
    return tokens


def bits_in_a_small_table(ids, vocab_size):
    counts = np.zeros((vocab_size, vocab_size), dtype=np.uint8)
    bits = math.log2(vocab_size) if ids else 0.0
    for a, b in zip(ids, ids[1:]):
        bits -= math.log2((int(counts[a, b]) + 1) / (int(counts[a].sum()) + vocab_size))
        counts[a, b] += 1
    return bits


PLAIN = math.log2(len(set(OWN)))
RIGHT += [("ps1_own_text", (OWN, own_numbers(level))) for level in (9, 6)]
WRONG = [
    ("ps1_split_words", split_decimals, "Does not hold"),
    ("ps1_mended_merge", merge_in_place, "changes its input"),
    ("ps1_mended_merge", merge_in_words, "Does not hold|changes"),
    ("ps1_window_numbers", lambda N, T: (1, 2), "expected three numbers"),
    ("ps1_pair_paradox", "abababab", "When does it save fewer"),
    ("ps1_pair_paradox", "aaaa", "occur less often"),
    ("ps1_pair_paradox", "aaaaaaaabcbc", "occur less often"),
    ("ps1_pair_paradox", "the cat sat on the mat", "saves"),
    ("ps1_pair_paradox", "ab", "3 and 1,000"),
    ("ps1_pair_paradox", 17, "expected a string"),
    ("ps1_pair_paradox", ["aaaa", "bcbc"], "expected a string"),
    ("ps1_which_language", language(table_loss, max), "more"),
    ("ps1_which_language", language(unigram_loss), "only the neighbors differ"),
    ("ps1_which_language", lambda text, samples: next(iter(samples)), "are wrong"),
    ("ps1_which_language", lambda text, samples: 1, "Return the name"),
    ("ps1_which_language", language(lambda *a: table_loss(*a, sums=False)), "samples have"),
    ("ps1_which_language", language(lambda *a: table_loss(*a, smoothing=0)), "never had"),
    ("ps1_which_language", language(product), "a product of so many"),
    ("ps1_which_language", language(narrow_vocabulary), "not in the vocabulary"),
    ("ps1_adaptive_bits", bits_in_a_small_table, "one id again and again"),
    ("ps1_adaptive_bits", lambda ids, V: 42.0, "expected"),
    ("ps1_own_text", (OWN, [math.log(len(set(OWN))), *own_numbers()[1:]]), "nats"),
    ("ps1_own_text", (OWN, [8, *own_numbers()[1:]]), "How many bits"),
    ("ps1_own_text", (OWN, [PLAIN, own_numbers()[1] * len(OWN), own_numbers()[2]]),
     "Divide by its length"),
    ("ps1_own_text", (OWN, [*own_numbers()[:2], own_numbers()[2] / 8]), "A byte has 8 bits"),
    ("ps1_own_text", (OWN, [*own_numbers()[:2], own_numbers()[2] * len(OWN)]), "whole text"),
    ("ps1_own_text", (OWN, own_numbers()[:2]), "expected three numbers"),
    ("ps1_own_text", (OWN, [3.5, 4.0, 4.5]), "4.5 is not it|is not it"),
    ("ps1_own_text", (OWN[:400], own_numbers()), "at least 500"),
    ("ps1_own_text", ("ab" * 400, own_numbers()), "different characters"),
    ("ps1_own_text", (load_corpus("verse")[:800], own_numbers()), "a piece of `verse`"),
    ("ps1_own_text", (load_corpus("verse")[:800].upper(), own_numbers()), "a piece of `verse`"),
    ("ps1_own_text", (len, own_numbers()), "should be a string"),
]
