"""Checks of problem set 1: words and pairs as tokens, windows, languages, compression."""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter

import numpy as np

from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import (
    as_array,
    expect,
    expect_close,
    expect_equal,
    expect_same,
)
from minigpt_helpers.corpora import list_corpora, load_corpus

# ---- 1. words -----------------------------------------------------------------------------------


def _words(text: str) -> list[str]:
    tokens = []
    for i, char in enumerate(text):
        if i > 0 and char.isalnum() and text[i - 1].isalnum():
            tokens[-1] += char
        else:
            tokens.append(char)
    return tokens


def _found(pattern: str, flags: int = 0):
    return lambda text: re.findall(pattern, text, flags)


_WORD_MISTAKES = [
    (str.split, "The spaces are gone, so the text can't be put together again. Keep every one."),
    (_found(r"\w+"), "Only the words are left. Every other character is a token, too."),
    (lambda text: [t for t in _words(text) if not t.isspace()], "The spaces are gone."),
    (list, "These are single characters. A run of letters and digits is one token."),
    (_found(r"\w+|\W"), "An underscore is neither a letter nor a digit: `isalnum()` is False, but "
     r"`\w` takes it for one."),
    (_found(r"\w+|\W+"), "Other characters stay alone: two spaces are two tokens."),
    (_found(r"[^\W_]+|[\W_]+"), "Other characters stay alone: two spaces are two tokens."),
    (_found(r"[a-zA-Z0-9]+|[^a-zA-Z0-9]"), "Letters are not only a to z: `isalnum()` knows them "
     "all."),
    (_found(r"[a-zA-Z0-9]+|.", re.S), "Letters are not only a to z: `isalnum()` knows them all."),
    (_found(r"[^\W\d_]+|[\W\d_]"), "Digits belong to a word, too: `isalnum()`, not `isalpha()`."),
    (_found(r"[^\W_]+|."), "In a pattern `.` does not find a line break."),
    (_found(r"\w+|."), "In a pattern `.` does not find a line break."),
    (lambda text: re.split(r"([\W_])", text), "There are empty strings among your tokens."),
    (lambda text: _words(text.lower()), "Capitals stay capitals: nothing may be lost."),
    (lambda text: _words(text)[:-1], "The last token is missing. What happens after your loop?"),
    (lambda text: [t for t in _words(text) if t.isalnum()], "Only the words are left. Every other "
     "character is a token, too."),
]


@check(
    lesson="ps1",
    expects="a function `split_words(text)`: a string in, a list of strings out",
    not_tested="speed",
)
def ps1_split_words(case, split_words):
    rng = case.rng

    def word(letters: str = "abcdefgXYZ") -> str:
        return "".join(rng.choice(list(letters), size=rng.integers(2, 6)))

    def agree(text: str) -> None:
        expect_same(split_words, _words, text, mistakes=_WORD_MISTAKES, hint="A token goes on as "
                    "long as `char.isalnum()` holds. Any other character is a token of its own.")

    with case("words and single spaces"):
        agree(f"{word()} {word()} {word()}")
    with case("a text that ends with a mark, and one that begins with one"):
        agree(f"{word()}, {word()}!")
        agree(f"({word()} {word()})")
    with case("spaces and line breaks in a row"):
        agree(f"{word()}  {word()}\n\n   {word()}\n")
    with case("letters of any language"):
        agree(f"{word('éèabß')} {word('жщяab')}-{word('zñüöa')}")
    with case("digits belong to a word"):
        agree(f"{word()}{rng.integers(10, 99)} {rng.integers(100)}.{rng.integers(100)}{word()}")
        agree(f"{word()}² {rng.integers(1, 9)}½ {word()}")
    with case("an underscore does not"):
        agree(f"{word()}_{word()}__{word()}")
    with case("one word, nothing but marks, a single character, nothing at all"):
        for text in [word(), "?!", "--", " ", "Q", "\n", ""]:
            agree(text)
    with case("put together again, the tokens are the text"):
        for length in [20, 60]:
            text = "".join(rng.choice(list("aB7é _'\n.-\t"), size=length))
            agree(text)


# ---- 2. the mended merge ------------------------------------------------------------------------


def _merge(ids: list, pair: tuple, new_id: object) -> list:
    merged, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == tuple(pair):
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def _merge_no_skip(ids, pair, new_id):
    """The problem's own function: the second half stays, the last id is lost."""
    pairs = zip(ids, ids[1:])
    return [new_id if both == pair else both[0] for both in pairs]


def _merge_from_the_right(ids, pair, new_id):
    return _merge(ids[::-1], pair[::-1], new_id)[::-1]


def _merge_first(ids, pair, new_id):
    places = [i for i in range(len(ids) - 1) if (ids[i], ids[i + 1]) == pair]
    return ids[: places[0]] + [new_id] + ids[places[0] + 2 :] if places else ids


def _merge_loses_last(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids) - 1:
        hit = (ids[i], ids[i + 1]) == pair
        merged.append(new_id if hit else ids[i])
        i += 2 if hit else 1
    return merged


def _merge_drops(ids, pair, new_id):
    """Skips the second half of every pair, also where it begins the next one."""
    seconds = {i + 1 for i in range(len(ids) - 1) if (ids[i], ids[i + 1]) == pair}
    starts = {i - 1 for i in seconds}
    kept = [i for i in range(len(ids)) if i not in seconds or i in starts]
    return [new_id if i in starts else ids[i] for i in kept]


def _merge_hard(ids, pair, new_id):
    merged = _merge_no_skip(ids, pair, new_id)
    return merged + ids[-1:]


def _merge_any_order(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        hit = sorted(ids[i : i + 2]) == sorted(pair)
        merged.append(new_id if hit else ids[i])
        i += 2 if hit else 1
    return merged


_MERGE_MISTAKES = [
    (_merge_no_skip, "Two bugs are still there. Is the second half of a pair used again? Does the "
     "loop reach the last id?"),
    (_merge_hard, "The second half of a merged pair still stands there. After a merge go on two "
     "places further."),
    (_merge_loses_last, "The last id is lost when it belongs to no pair."),
    (_merge_from_the_right, "Merge from the left: of three equal ids the first two become one."),
    (_merge_first, "Only the first pair was merged."),
    (lambda ids, pair, new_id: ids, "Nothing was merged. A slice `ids[i : i + 2]` is a list, "
     "`pair` is a tuple, and the two are never equal: compare with `list(pair)`."),
    (_merge_drops, "In a run of equal ids the pairs must not overlap: each id belongs to one."),
    (_merge_any_order, "The order counts: (1, 2) is not (2, 1)."),
    (lambda ids, pair, new_id: [i for i in ids if i not in pair], "Both halves are gone. In their "
     "place stands the new id, once."),
]


@check(
    lesson="ps1",
    expects="a function `mended_merge(ids, pair, new_id)`: a list of ids, a pair of ids such as "
    "(3, 5) and a new id in, a new list out",
    not_tested="speed",
)
def ps1_mended_merge(case, mended_merge):
    a, b, new = case.rng.permutation(np.arange(1, 10))[:3].tolist()
    c = a + 10 * int(case.rng.integers(1, 9))  # ends in the digit a: "3 5" stands in "13 5", too

    def agree(*sequences: list[int], pair: tuple = (a, b)) -> None:
        for ids in sequences:
            expect_same(mended_merge, _merge, ids, pair, new, mistakes=_MERGE_MISTAKES)

    with case("one pair in the middle"):
        agree([c, a, b, c], [b, a, b, a])
    with case("a pair at the end, a pair at the beginning"):
        agree([c, c, a, b], [a, b, c], [a, b])
    with case("pair after pair"):
        agree([a, b, a, b, c], [c, a, b, a, b, a, b])
    with case("the pair does not occur, or only turned round"):
        agree([b, a, c, b, a], [a, c, b], [c], [b, a, b])
    with case("runs of equal ids, merged from the left"):
        for length in [2, 3, 4, 5]:
            agree([a] * length + [c], [b] + [a] * length, pair=(a, a))
    with case("no ids, one, two"):
        agree([], [a], [b], [a, b])
    with case("random ids"):
        for length in [12, 13, 40]:
            ids = case.rng.choice([a, b, c], size=length).tolist()
            agree(ids)
            agree(ids, pair=(b, b))


# ---- 3. how many windows ------------------------------------------------------------------------


def _count_windows(N: int, T: int, step: int) -> int:
    """Counted one by one: x is data[i : i + T], and its last target is data[i + T]."""
    return sum(1 for i in range(0, N, step) if i + T < N)


@check(
    lesson="ps1",
    expects="a function `window_numbers(N, T)`: two whole numbers in, three out: windows at every "
    "start, predictions in all of them, windows without overlap",
    not_tested="a text without any ids; speed",
)
def ps1_window_numbers(case, window_numbers):
    rng = case.rng
    T = int(rng.integers(3, 9))
    sizes = [(12, 4), (T * 5, T), (T * 5 + 1, T), (T * 5 + 2, T), (int(rng.integers(300, 900)), T)]
    short = [(T + 1, T), (T, T), (T - 2, T), (1, 1), (2, 1)]

    def numbers(N: int, T: int) -> list[int]:
        got = as_array(window_numbers(N, T))
        expect(got.shape == (3,), f"expected three numbers, got {got.size}",
               "End with `return windows, predictions, without_overlap`.")
        return got.tolist()

    def agree(k: int, what: str, pairs: list, mistakes) -> None:
        for N, T in pairs:
            windows = _count_windows(N, T, 1)
            right = [windows, windows * T, _count_windows(N, T, T)][k]
            expect_equal(numbers(N, T)[k], right, f"N={N}, T={T}: {what}", mistakes=mistakes(N, T))

    def starts(N, T):
        return [
            (N - T + 1, "The last window needs a target behind its last id: one id more."),
            (N - T - 1, "That is the last start. The starts count from 0."),
            (N // T, "These would be windows side by side. Here they may overlap."),
            (N - T if N < T else None, "There are no windows, and not fewer than none."),
            (N, "Not every place can be a start: T more ids must follow."),
        ]

    def predictions(N, T):
        windows = _count_windows(N, T, 1)
        return [
            (windows, "A window holds more than one prediction: each position has a target."),
            (N - 1, "That many different targets there are. But windows overlap, and each target "
             "is predicted once in each of them."),
            (windows * (T - 1), "The last position of a window has a target, too."),
            (windows * (T + 1), "A window is cut T + 1 ids long, but its first id is no target."),
            ((N - T + 1) * T, "The number of windows is off by one."),
            ((N - T) * T if N < T else None, "Too short a text holds no windows, not fewer."),
        ]

    def apart(N, T):
        return [
            (N // T, "When T divides N, the last of these windows lacks its last target."),
            (N // (T + 1), "The target of a window's last id may be the first input of the next: "
             "the starts are T apart, not T + 1."),
            ((N - T) // T, "One window is missing: with T + 1 ids there is one."),
            (-(-N // T), "A window that is not full does not count."),
            ((N - 1) / T, "Windows are whole: divide with `//`."),
            (N / T, "Windows are whole: divide with `//`. And think of the last target."),
            (N - T, "These windows overlap. The starts should be T apart."),
        ]

    for k, (what, mistakes) in enumerate([
        ("windows at every start", starts),
        ("predictions", predictions),
        ("windows without overlap", apart),
    ]):
        with case(what):
            agree(k, what, sizes, mistakes)
        with case(f"{what}, short texts"):
            agree(k, what, short, mistakes)


# ---- 4. a counterexample ------------------------------------------------------------------------


@check(
    lesson="ps1",
    kind="any",
    expects="a text, a string of 3 to 1,000 characters, that refutes the claim",
)
def ps1_pair_paradox(case, text):
    with case("another pair saves more than the most frequent one"):
        expect(isinstance(text, str), f"expected a string, got {type(text).__name__}")
        expect(3 <= len(text) <= 1000, f"the text has {len(text)} characters",
               "Between 3 and 1,000 will do.")
        counts = Counter(zip(text, text[1:]))
        saved = {pair: len(text) - len(_merge(list(text), pair, None)) for pair in counts}
        most, best = max(counts.values()), max(saved.values())
        frequent = max((pair for pair in counts if counts[pair] == most), key=saved.get)
        shown = repr("".join(frequent))
        always = all(saved[pair] == counts[pair] for pair in counts)
        expect(
            saved[frequent] < best,
            f"the pair {shown} stands {most} times and saves {saved[frequent]}; no pair saves more",
            "Here every pair saves as many tokens as it stands times. When does it save fewer? "
            "Look at what problem 2 says of three equal ids in a row." if always else
            "Some pair here saves fewer than it stands times. Now another one must stand less "
            "often than it and still save more.",
        )


# ---- 5. which language --------------------------------------------------------------------------


def _stepping(letters: list[str], step: int, length: int, rng: np.random.Generator) -> str:
    """Most letters are followed by the one `step` places on; all are equally frequent."""
    place, text = int(rng.integers(len(letters))), ""
    for _ in range(length):
        text += letters[place]
        jump = step if rng.random() < 0.85 else int(rng.integers(len(letters)))
        place = (place + jump) % len(letters)
    return text


@check(
    lesson="ps1",
    expects="a function `which_language(text, samples)`: a string and a dictionary from names to "
    "sample texts in, one of the names out",
    not_tested="texts of fewer than two characters; your choice of smoothing",
    seconds=20.0,
)
def ps1_which_language(case, which_language):
    rng = case.rng
    letters = rng.permutation(list("adeilnstuoé")).tolist()[:7]
    names = rng.permutation(["Anglic", "Borean", "Cymban"]).tolist()
    steps = dict(zip(names, [1, 2, 3]))

    every_pair = "".join(a + b for a in letters for b in letters)

    def piece(name: str, length: int = 60) -> str:
        return _stepping(letters, steps[name], length, rng)

    def sample(name: str, length: int) -> str:
        return piece(name, length) + every_pair

    def agree(samples: dict, texts: list[tuple[str, str]], hint: str) -> None:
        answers = [which_language(text, samples) for text, _ in texts]
        for got, (_, name) in zip(answers, texts):
            if not isinstance(got, str) or got not in samples:
                expect_equal(got, name, "the result", hint="Return the name, a key of `samples`.")
        wrong = [i for i, (_, name) in enumerate(texts) if answers[i] != name]
        if wrong:
            text, name = texts[wrong[0]]
            expect(
                False, f"{text[:30]!r}... is {name}, but your function says {answers[wrong[0]]}; "
                f"{len(wrong)} of {len(texts)} texts are wrong",
                "Not one is right: do you return the table that is *most* surprised?"
                if len(wrong) == len(texts) else hint,
            )

    with case("two languages with the same letters, as frequent in both"):
        pair = names[:2]
        agree({name: sample(name, 400) for name in pair},
              [(piece(name), name) for name in pair * 4],
              "Single letters can't tell these two: look at which letter follows which.")
    with case("three languages, named in another order"):
        agree({name: sample(name, 400) for name in names[::-1]},
              [(piece(name), name) for name in names * 3],
              "Try your function on two samples that you can count by hand.")
    with case("one sample is many times as long as the other"):
        for long, short in [names[:2], names[1::-1]]:
            agree({long: sample(long, 9000), short: sample(short, 150)},
                  [(piece(name), name) for name in [long, short]],
                  "A long sample has larger counts. Divide each row by its sum, and do not drown "
                  "the short sample in smoothing.")
    with case("a long text"):
        agree({name: sample(name, 400) for name in names},
              [(piece(name, 1500), name) for name in names],
              "A product of so many probabilities is 0 to the computer. Add up their logarithms.")
    with case("neighbours that no sample has"):
        samples = {name: "".join(letters[i * steps[name] % 7] for i in range(210))
                   for name in names}
        texts = [(samples[name][:20] + samples[name][22:50], name) for name in names]
        agree(samples, texts, "A pair never seen must cost much, but not infinitely much: add a "
              "little to each count.")
    with case("characters that no sample has"):
        samples = {name: sample(name, 400) for name in names}
        texts = [(piece(name, 30) + "?Ж" + piece(name, 30), name) for name in names]
        agree(samples, texts, "An unknown character must not decide. Give it a place in every "
              "table.")
    with case("the texts of this course"):
        corpora = {name: load_corpus(name) for name in list_corpora()}
        samples = {name: text[:3000] for name, text in corpora.items()}
        places = rng.integers(4000, 30_000, size=3).tolist()
        texts = [(text[i : i + 80], name) for name, text in corpora.items() for i in places]
        agree(samples, texts, "Count each table on its sample alone, measure it on the text.")


# ---- 6. compression -----------------------------------------------------------------------------


def _prices(ids: list[int], vocab_size: int, probability) -> float:
    """Bits for all ids; `probability(pairs, a, b)` of b after a, given the pairs before."""
    bits = math.log2(vocab_size) if ids else 0.0
    for i in range(1, len(ids)):
        before = list(zip(ids[: i - 1], ids[1:i]))
        bits -= math.log2(probability(before, ids[i - 1], ids[i]))
    return bits


def _adaptive(ids: list[int], V: int) -> float:
    def probability(pairs, a, b):
        return (pairs.count((a, b)) + 1) / (sum(first == a for first, _ in pairs) + V)

    return _prices(ids, V, probability)


def _adaptive_mistakes() -> list:
    def priced(probability):
        return lambda ids, V: _prices(ids, V, lambda pairs, a, b: probability(pairs, a, b, V, ids))

    def row(pairs, a):
        return sum(first == a for first, _ in pairs)

    def count_first(pairs, a, b, V, ids):
        pairs = [*pairs, (a, b)]
        return (pairs.count((a, b)) + 1) / (row(pairs, a) + V)

    def whole_text(pairs, a, b, V, ids):
        every = list(zip(ids, ids[1:]))
        return (every.count((a, b)) + 1) / (row(every, a) + V)

    def occurrences(pairs, a, b, V, ids):
        seen = [*[first for first, _ in pairs], a]
        return (pairs.count((a, b)) + 1) / (seen.count(a) + V)

    def no_rows(pairs, a, b, V, ids):
        return (pairs.count((a, b)) + 1) / (len(pairs) + V)

    def one_in_the_row(pairs, a, b, V, ids):
        return (pairs.count((a, b)) + 1) / (row(pairs, a) + 1)

    def unigram(pairs, a, b, V, ids):
        seen = [*[first for first, _ in pairs], a]
        return (seen.count(b) + 1) / (len(seen) + V)

    def turned(pairs, a, b, V, ids):
        return (pairs.count((b, a)) + 1) / (row(pairs, b) + V)

    first = [
        (lambda ids, V: _adaptive(ids, V) * math.log(2), "Those are nats. A bit is `log2`."),
        (lambda ids, V: _adaptive(ids, V) / len(ids), "That is the mean. Add up all bits."),
        (lambda ids, V: -_adaptive(ids, V), "The sign: a price is -log2 p, and p is below 1."),
        (lambda ids, V: _adaptive(ids, V) - math.log2(V), "The first id has a price as well: "
         "log2 of the size of the vocabulary."),
        (lambda ids, V: (_adaptive(ids, V) - math.log2(V)) * math.log(2), "Those are nats, and the "
         "first id is missing."),
        (lambda ids, V: _adaptive(ids, len(set(ids))), "`vocab_size` is given: an id that never "
         "comes in this text belongs to the vocabulary, too."),
        (lambda ids, V: len(ids) * math.log2(V), "That is the price without any counting."),
    ]
    return first + [(priced(rule), hint) for rule, hint in [
        (count_first, "First the price, then the count. You count the pair before you predict it: "
         "the reader of your code does not know it yet."),
        (whole_text, "The counts may hold only the pairs before this one: the reader of your code "
         "does not know the rest of the text."),
        (occurrences, "Divide by the pairs so far that began with a. The a at which you stand has "
         "no follower yet."),
        (no_rows, "Divide by the pairs that began with a, not by all pairs."),
        (one_in_the_row, "In a row of V counts the 1 is added V times."),
        (unigram, "What follows depends on the id before: count pairs."),
        (turned, "The pair is turned round: b follows a."),
    ]]


@check(
    lesson="ps1",
    expects="a function `adaptive_bits(ids, vocab_size)`: a list of ids and V in, the number of "
    "bits for all of them out",
    not_tested="speed",
)
def ps1_adaptive_bits(case, adaptive_bits):
    mistakes = _adaptive_mistakes()

    def agree(ids: list[int], V: int) -> None:
        expect_same(adaptive_bits, _adaptive, ids, V, tol=1e-5, mistakes=mistakes)

    for V, N in [(2, 8), (4, 15), (27, 40)]:
        with case(f"V={V}, N={N}"):
            agree(case.rng.integers(0, V, size=N).tolist(), V)
    with case("a text that repeats itself"):
        period = case.rng.permutation(5).tolist()
        agree(period * 12, 6)
    with case("one id again and again"):
        agree([2] * int(case.rng.integers(20, 30)), 3)
        expect_close(adaptive_bits([2] * 600, 3), _adaptive_fast([2] * 600, 3), tol=1e-5, hint="In "
                     "600 ids a pair comes 599 times. Can your table count that far?")
    with case("a few ids, one, none"):
        agree([0, 0, 0], 2)
        agree([1, 0], 5)
        agree([3], 8)
        expect_close(adaptive_bits([], 4), 0.0, tol=1e-5, hint="The first id costs log2 V, but "
                     "here there is none.")


@check(
    lesson="ps1",
    kind="any",
    expects="a text of your own (at least 500 characters) and a list of three numbers: bits per "
    "character at equal lengths, by the adaptive bigram, by zlib",
    seconds=20.0,
)
def ps1_own_text(case, own_text, my_numbers):
    def agree(k: int, right: float, mistakes: list) -> None:
        numbers = as_array(my_numbers)
        expect(numbers.shape == (3,), f"expected three numbers, got the shape {numbers.shape}")
        expect_close(float(numbers[k]), right, tol=5e-3, mistakes=mistakes)

    def usable(text: object) -> str:
        expect(isinstance(text, str), f"the text should be a string, got {type(text).__name__}")
        expect(500 <= len(text) <= 1_000_000, f"the text has {len(text)} characters",
               "Take at least 500 and at most a million.")
        expect(len(set(text)) >= 5, f"the text has only {len(set(text))} different characters",
               "Take a text that says more.")
        for name in list_corpora():
            expect(text.strip().lower() not in load_corpus(name).lower(),
                   f"this is a piece of `{name}`",
                   "Take a text of your own: a file, or one that you paste between triple quotes.")
        return text

    with case("bits per character at equal lengths"):
        N, V = len(usable(own_text)), len(set(own_text))
        agree(0, math.log2(V), [
            (math.log(V), "Those are nats. A bit is log2."),
            (8.0, "8 bits is what a byte takes. How many bits tell V characters apart?"),
            (math.ceil(math.log2(V)), "Not rounded: log2 of V."),
            (N * math.log2(V), "Per character, please: divide by the length of the text."),
            (float(V), "That is V. How many bits tell V characters apart?"),
        ])
    with case("bits per character by the adaptive bigram"):
        N, V = len(usable(own_text)), len(set(own_text))
        bits = _adaptive_fast(list(own_text), V)
        agree(1, bits / N, [
            (bits, "That is for the whole text. Divide by its length."),
            (bits / N * math.log(2), "Those are nats."),
        ])
    with case("bits per character by zlib"):
        N, raw = len(usable(own_text)), own_text.encode()
        sizes = [len(zlib.compress(raw, level)) for level in (9, 6)]
        packed = min(sizes, key=lambda size: abs(8 * size / N - as_array(my_numbers).flat[-1]))
        agree(2, 8 * packed / N, [
            (packed / N, "`len` counts bytes. A byte has 8 bits."),
            (8 * packed / len(raw), "That is per byte. Divide by the number of "
             "characters."),
            (8.0 * packed, "That is for the whole text. Divide by its length."),
            (8 * N / packed, "Turned round: bits by characters."),
            (N / packed, "That is how many times as small it gets."),
        ])


def _adaptive_fast(ids: list, V: int) -> float:
    pairs, firsts, bits = Counter(), Counter(), math.log2(V)
    for a, b in zip(ids, ids[1:]):
        bits -= math.log2((pairs[a, b] + 1) / (firsts[a] + V))
        pairs[a, b] += 1
        firsts[a] += 1
    return bits
