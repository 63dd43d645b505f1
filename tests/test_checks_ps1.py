"""Problem set 1: right solutions of every style pass, wrong ones are refused with a hint."""

from __future__ import annotations

import itertools
import math
import random
import re
import zlib
from collections import Counter, defaultdict

import numpy as np
import pytest

from minigpt_helpers import CharTokenizer, bigram_loss, bigram_probs, checks, load_corpus

SEEDS = [0, 1, 2, 3, 4, 20817]

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
        table = {a: {b: 1 for b in known} for a in known}
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
    (checks.ps1_split_words, split_groups),
    (checks.ps1_split_words, split_generator),
    (checks.ps1_split_words, lambda text: re.findall(r"[^\W_]+|[\W_]", text)),
    (checks.ps1_split_words, lambda text: [t for t in re.split(r"([\W_])", text) if t]),
    (checks.ps1_mended_merge, merge_popping),
    (checks.ps1_mended_merge, merge_looking_back),
    (checks.ps1_mended_merge, merge_in_text),
    (checks.ps1_window_numbers, numbers_formula),
    (checks.ps1_window_numbers, numbers_counted),
    (checks.ps1_window_numbers, lambda N, T: np.array(numbers_counted(N, T), dtype=float)),
    (checks.ps1_pair_paradox, "aaaaa" + "bcbdbcbdbc"),
    (checks.ps1_pair_paradox, "aaaaaa bcd bce bcf bc"),
    (checks.ps1_pair_paradox, "hmmmmm, no, no, no"),
    (checks.ps1_which_language, language_by_package),
    (checks.ps1_which_language, lambda t, s: language_by_package(t, s, smoothing=0.01)),
    (checks.ps1_which_language, language_by_dictionary),
    (checks.ps1_which_language, language_own_alphabet),
    (checks.ps1_adaptive_bits, bits_by_table),
    (checks.ps1_adaptive_bits, bits_by_dictionary),
]


@pytest.mark.parametrize(("check", "solution"), RIGHT)
def test_right_solutions_pass_with_every_seed(check, solution):
    for seed in SEEDS:
        result = check(solution, seed=seed)
        assert result.passed and result.score == 1, result.message


@pytest.mark.parametrize("level", [6, 9])
def test_right_numbers_of_an_own_text_pass(level):
    for numbers in [own_numbers(level), [round(x, 2) for x in own_numbers(level)],
                    np.array(own_numbers(level))]:
        result = checks.ps1_own_text(OWN, numbers)
        assert result.passed and result.score == 1, result.message


# ---- wrong ones, each with a word of the hint that fits ----


def split_loses_end(text):
    tokens, word = [], ""
    for char in text:
        if char.isalnum():
            word += char
        else:
            tokens += [word] * bool(word) + [char]
            word = ""
    return tokens


def split_empty_strings(text):
    tokens, word = [], ""
    for char in text:
        if char.isalnum():
            word += char
        else:
            tokens += [word, char]
            word = ""
    return tokens + [word]


def broken_merge(ids, pair, new_id):
    merged = []
    for i in range(len(ids) - 1):
        if (ids[i], ids[i + 1]) == pair:
            merged.append(new_id)
        else:
            merged.append(ids[i])
    return merged


def merge_reaching_out(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        if ids[i] == pair[0] and ids[i + 1] == pair[1]:
            merged.append(new_id)
            i += 1
        else:
            merged.append(ids[i])
        i += 1
    return merged


def merge_in_place(ids, pair, new_id):
    i = 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == pair:
            ids[i : i + 2] = [new_id]
        i += 1
    return ids


def merge_slices(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        if ids[i : i + 2] == pair:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


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


def bits(price=lambda pairs, row, V: (pairs + 1) / (row + V), first=True, log=math.log2,
         count_first=False, finish=lambda bits, ids: bits):
    def adaptive(ids, vocab_size):
        counts = np.zeros((vocab_size, vocab_size))
        total = log(vocab_size) if first and len(ids) else 0.0
        for a, b in zip(ids, ids[1:]):
            counts[a, b] += count_first
            total -= log(price(counts[a, b], counts[a].sum(), vocab_size))
            counts[a, b] += not count_first
        return finish(total, ids)

    return adaptive


def bits_of_the_whole_text(ids, vocab_size):
    if len(ids) < 2:
        return len(ids) * math.log2(vocab_size)
    probs = bigram_probs(np.array(ids), vocab_size)
    return math.log2(vocab_size) + bigram_loss(probs, ids) * (len(ids) - 1) / math.log(2)


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


def bits_counting_the_last(ids, vocab_size):
    total = math.log2(vocab_size) if ids else 0
    for i in range(1, len(ids)):
        pairs = list(zip(ids[: i - 1], ids[1:i]))
        total -= math.log2((pairs.count((ids[i - 1], ids[i])) + 1)
                           / (ids[:i].count(ids[i - 1]) + vocab_size))
    return total


WRONG = [
    (checks.ps1_split_words, split_decimals, "isalnum()"),
    (checks.ps1_adaptive_bits, bits_in_a_small_table, "count that far"),
    (checks.ps1_split_words, lambda text: text.split(), "The spaces are gone"),
    (checks.ps1_split_words, lambda text: text.split(" "), "not yet"),
    (checks.ps1_split_words, list, "single characters"),
    (checks.ps1_split_words, lambda text: re.findall(r"\w+", text), "Only the words"),
    (checks.ps1_split_words, lambda text: re.findall(r"\w+|\W", text), "underscore"),
    (checks.ps1_split_words, lambda text: re.findall(r"\w+|\W+", text), "two spaces are two"),
    (checks.ps1_split_words, lambda text: re.findall(r"[A-Za-z0-9]+|[^A-Za-z0-9]", text), "a to z"),
    (checks.ps1_split_words, lambda text: re.findall(r"[^\W_]+|.", text), "line break"),
    (checks.ps1_split_words, lambda text: re.split(r"([\W_])", text), "empty strings"),
    (checks.ps1_split_words, lambda text: split_groups(text.lower()), "Capitals stay"),
    (checks.ps1_split_words, split_loses_end, "after your loop"),
    (checks.ps1_split_words, split_empty_strings, "not yet"),
    (checks.ps1_split_words, lambda text: re.findall(r"[^\W\d_]+|[\W\d_]", text), "Digits belong"),
    (checks.ps1_split_words, lambda text: " ".join(split_groups(text)), "expected a list"),
    (checks.ps1_split_words, lambda text: ["Don", "'", "t", " ", "stop"], "A token goes on"),
    (checks.ps1_mended_merge, broken_merge, "Two bugs are still there"),
    (checks.ps1_mended_merge, lambda i, p, n: broken_merge(i, p, n) + i[-1:], "second half"),
    (checks.ps1_mended_merge, merge_reaching_out, "IndexError"),
    (checks.ps1_mended_merge, merge_in_place, "changes its input"),
    (checks.ps1_mended_merge, merge_in_words, "expected"),
    (checks.ps1_mended_merge, merge_slices, "are never equal"),
    (checks.ps1_mended_merge, lambda i, p, n: merge_popping(i[::-1], p[::-1], n)[::-1], "left"),
    (checks.ps1_mended_merge, lambda i, p, n: merge_popping(i, p, n)[:-1], "expected"),
    (checks.ps1_mended_merge, lambda i, p, n: [x for x in i if x not in p], "new id, once"),
    (checks.ps1_mended_merge, lambda i, p, n: merge_popping(i, p, 99), "expected"),
    (checks.ps1_window_numbers, lambda N, T: (N - T + 1, (N - T + 1) * T, N // T), "one id more"),
    (checks.ps1_window_numbers, lambda N, T: (N - T - 1, N, N), "start"),
    (checks.ps1_window_numbers, lambda N, T: (N - T, (N - T) * T, (N - 1) // T), "not fewer"),
    (checks.ps1_window_numbers, lambda N, T: (max(N - T, 0), max(N - T, 0), (N - 1) // T),
     "more than one prediction"),
    (checks.ps1_window_numbers, lambda N, T: (max(N - T, 0), N - 1, (N - 1) // T), "each target"),
    (checks.ps1_window_numbers, lambda N, T: (max(N - T, 0), T * max(N - T, 0), N // T), "lacks"),
    (checks.ps1_window_numbers, lambda N, T: (max(N - T, 0), T * max(N - T, 0), N // (T + 1)),
     "T apart, not"),
    (checks.ps1_window_numbers, lambda N, T: (max(N - T, 0), T * max(N - T, 0), (N - 1) / T),
     "divide with `//`"),
    (checks.ps1_window_numbers, lambda N, T: (8, 32, 2), "expected"),
    (checks.ps1_window_numbers, lambda N, T: N - T, "three numbers"),
    (checks.ps1_pair_paradox, "abababab", "When does it save fewer"),
    (checks.ps1_pair_paradox, "aaaa", "stand less often"),
    (checks.ps1_pair_paradox, "aaaaaaaabcbc", "stand less often"),
    (checks.ps1_pair_paradox, "the cat sat on the mat", "saves"),
    (checks.ps1_pair_paradox, "ab", "3 and 1,000"),
    (checks.ps1_pair_paradox, 17, "expected a string"),
    (checks.ps1_pair_paradox, ["aaaa", "bcbc"], "expected a string"),
    (checks.ps1_which_language, language(table_loss, max), "most"),
    (checks.ps1_which_language, language(unigram_loss), "which letter follows"),
    (checks.ps1_which_language, lambda text, samples: list(samples)[0], "not yet"),
    (checks.ps1_which_language, lambda text, samples: 1, "Return the name"),
    (checks.ps1_which_language, lambda text, samples: min(
        table_loss(text, sample, samples) for sample in samples.values()), "Return the name"),
    (checks.ps1_which_language, language(lambda *a: table_loss(*a, sums=False)), "larger counts"),
    (checks.ps1_which_language, language(lambda *a: table_loss(*a, smoothing=0)), "never seen"),
    (checks.ps1_which_language, language(product), "Add up their logarithms"),
    (checks.ps1_which_language, language(narrow_vocabulary), "not in the vocabulary"),
    (checks.ps1_which_language, language(lambda t, s, _: -len(set(t) & set(s))), "which letter"),
    (checks.ps1_adaptive_bits, bits(log=math.log), "nats"),
    (checks.ps1_adaptive_bits, bits(first=False), "first id has a price"),
    (checks.ps1_adaptive_bits, bits(count_first=True), "First the price"),
    (checks.ps1_adaptive_bits, bits(finish=lambda b, ids: b / max(len(ids), 1)), "the mean"),
    (checks.ps1_adaptive_bits, bits(finish=lambda b, ids: -b), "sign"),
    (checks.ps1_adaptive_bits, bits(lambda n, row, V: (n + 1) / (row + 1)), "V times"),
    (checks.ps1_adaptive_bits, bits_of_the_whole_text, "only the pairs before"),
    (checks.ps1_adaptive_bits, bits_counting_the_last, "no follower yet"),
    (checks.ps1_adaptive_bits, lambda ids, V: len(ids) * math.log2(V), "without any counting"),
    (checks.ps1_adaptive_bits, lambda ids, V: bits_by_table(ids, max(ids, default=0) + 1), "given"),
    (checks.ps1_adaptive_bits, lambda ids, V: 42.0, "expected"),
]


@pytest.mark.parametrize(("check", "solution", "hint"), WRONG)
def test_wrong_solutions_are_refused_with_a_hint(check, solution, hint):
    for seed in SEEDS[:2]:
        result = check(solution, seed=seed)
        assert not result.passed and result.score < 1
        assert result.message.startswith("not yet"), result.message
        assert hint in result.message, result.message


PLAIN = math.log2(len(set(OWN)))
WRONG_NUMBERS = [
    (OWN, [math.log(len(set(OWN))), *own_numbers()[1:]], "nats"),
    (OWN, [8, *own_numbers()[1:]], "how many bits", ),
    (OWN, [PLAIN, own_numbers()[1] * len(OWN), own_numbers()[2]], "Divide by its length"),
    (OWN, [*own_numbers()[:2], own_numbers()[2] / 8], "A byte has 8 bits"),
    (OWN, [*own_numbers()[:2], own_numbers()[2] * len(OWN)], "whole text"),
    (OWN, own_numbers()[:2], "expected three numbers"),
    (OWN, [3.5, 4.0, 4.5], "expected"),
    (OWN[:400], own_numbers(), "at least 500"),
    ("ab" * 400, own_numbers(), "different characters"),
    (load_corpus("rhymes")[:800], own_numbers(), "a piece of `rhymes`"),
    (load_corpus("rhymes")[:800].upper(), own_numbers(), "a piece of `rhymes`"),
    (len, own_numbers(), "should be a string"),
]


@pytest.mark.parametrize(("text", "numbers", "hint"), WRONG_NUMBERS)
def test_wrong_numbers_of_an_own_text_are_refused(text, numbers, hint):
    result = checks.ps1_own_text(text, numbers)
    assert not result.passed and result.message.startswith("not yet")
    assert hint.lower() in result.message.lower(), result.message


@pytest.mark.parametrize("entry", checks.catalogue("ps1"), ids=lambda entry: entry.name)
def test_a_stub_is_not_done_yet(entry):
    def stub(*args):
        ...  # your code

    for unfinished in [..., None, *([stub] if entry.kind == "function" else [])]:
        result = getattr(checks, entry.name)(*[unfinished] * len(entry.takes))
        assert result.score == 0
        assert result.message.startswith("not done yet"), result.message


def test_a_text_alone_is_not_done_yet():
    assert checks.ps1_own_text(OWN, None).message.startswith("not done yet")
