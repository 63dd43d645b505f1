"""Checks of lesson 1: vocabulary, encode and decode, windows and batches, the bigram model."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from minigpt_helpers.checks._base import (
    as_array,
    check,
    expect,
    expect_close,
    expect_equal,
    expect_raises,
    expect_same,
    prediction,
)
from minigpt_helpers.corpora import load_corpus
from minigpt_helpers.text import CharTokenizer, bigram_loss, bigram_probs, train_val_split

ALPHABETS = [list("abc"), list("\n adent"), sorted("zébra ?")]

prediction(
    "predict_vocab_size",
    lesson=1,
    answer=len(set("anna\nhannah\n")),
    expects="a whole number, the size of the vocabulary of 'anna\\nhannah\\n'",
    hint="Write each character down once. How many are there?",
    near=[
        (3, "You have the letters. Is there a character that you cannot see?"),
        (len("anna\nhannah\n"), "That is the length of the text. Count each character once."),
        (len("annahannah"), "That is the number of letters. Count each character once."),
        (5, "`\\n` looks like two characters, but it stands for one: the line break."),
    ],
)

prediction(
    "predict_targets",
    lesson=1,
    answer=8,
    expects="a whole number, how many predictions one window with block_size=8 holds",
    hint="Each position of the input has a target of its own.",
    near=[
        (1, "Not only the last position has a target: look at the first one."),
        (7, "The last input has a target too: the window is cut one character longer."),
        (9, "The window has 9 characters, but the first of them is never a target."),
    ],
)

prediction(
    "predict_uniform_loss",
    lesson=1,
    answer=math.log(27),
    tol=0.01,
    expects="a number, the loss in nats of a model that gives each of 27 characters 1/27",
    hint="Each character costs -ln p, and here p is the same for all.",
    near=[
        (math.log2(27), "That is the loss in bits. For nats take the natural logarithm."),
        (math.log10(27), "That logarithm has base 10. For nats take the natural logarithm."),
        (-math.log(27), "A probability is below 1, so -ln p is positive."),
        (1 / 27, "That is the probability. The loss is -ln of it."),
        (27, "That is how many choices there are. The loss is a logarithm."),
    ],
)


@check(
    lesson=1,
    expects="a function `decode(ids, chars)`: a list of ids and the vocabulary in, a string out",
    not_tested="speed",
)
def decode_ids(case, decode):
    def right(ids, chars):
        return "".join(chars[i] for i in ids)

    def previous(ids, chars):
        return "".join(chars[i - 1] for i in ids)

    mistakes = [
        (lambda ids, chars: " ".join(chars[i] for i in ids), "Join with nothing in between: `''`."),
        (lambda ids, chars: [chars[i] for i in ids], "Join the characters to one string."),
        (lambda ids, chars: right(ids, chars)[::-1], "The text comes out backwards."),
        (lambda ids, chars: "".join(str(i) for i in ids), "Look each id up in `chars`."),
        (lambda ids, chars: chars[ids[0]], "Only the first id was decoded: `return` too early?"),
        (previous, "The ids count from 0, as Python does."),
    ]
    for chars in ALPHABETS:
        ids = case.rng.integers(0, len(chars), size=9).tolist()
        with case(f"nine ids, V={len(chars)}"):
            expect_same(decode, right, ids, chars, mistakes=mistakes)
    with case("every id of a vocabulary"):
        expect_same(decode, right, list(range(7)), ALPHABETS[1], mistakes=mistakes)
    with case("no ids give the empty string"):
        expect_same(decode, right, [], ALPHABETS[0], hint="Start from `''` and add to it.")


@check(
    lesson=1,
    expects=(
        "a function `encode(text, char_to_idx)`: a string and the dictionary in, a list of ids "
        "out; an unknown character raises a ValueError that shows it and its position"
    ),
    not_tested="whether the message tells the reader what to do",
)
def careful_encode(case, encode):
    def right(text, char_to_idx):
        return [char_to_idx[char] for char in text]

    def strict(text, char_to_idx):
        result = encode(text, char_to_idx)
        return result if isinstance(result, str) else list(result)

    for chars in ALPHABETS:
        table = {char: i for i, char in enumerate(chars)}
        text = "".join(case.rng.choice(chars, size=8))
        with case(f"known characters, V={len(chars)}"):
            expect_same(strict, right, text, table, mistakes=[
                (lambda text, table: right(text, table)[:1], "Does `return` stand in the loop?"),
                (lambda text, table: [ord(char) for char in text], "Ids come from the dictionary."),
            ])
    with case("the empty text gives no ids"):
        expect_same(strict, right, "", table, hint="Nothing to encode is no error.")
    hint = (
        "Skipping an unknown character, or giving it some id, changes the text in silence. "
        "Look at each character: `if char not in char_to_idx: raise ValueError(...)`."
    )
    table = {char: i for i, char in enumerate("\nabc")}
    for text, char in [("abXc", "X"), ("Q", "Q"), ("cab\nb?", "?")]:
        position = text.index(char)
        with case(f"{text!r} is refused, {char!r} is shown"):
            expect_raises(ValueError, encode, text, table, mentions=char, hint=hint)
        with case(f"{text!r}: the position {position} is told"):
            expect_raises(
                ValueError, encode, text, table, mentions=str(position),
                hint="`for position, char in enumerate(text)` gives you the position.",
            )


@check(
    lesson=1,
    expects=(
        "a function `batch(data, block_size, batch_size, rng)`: ids (N,) in, two arrays x and y "
        "of shape (batch_size, block_size) out"
    ),
    not_tested="whether all windows are equally likely; speed",
)
def mended_batch(case, batch):
    def draw(data, block_size, batch_size):
        result = batch(data, block_size, batch_size, np.random.default_rng(7))
        expect(
            isinstance(result, tuple) and len(result) == 2,
            "the function should return two arrays, x and y",
            "End with `return x, y`.",
        )
        return as_array(result[0]), as_array(result[1])

    # 11 different ids in no order: a window is known by its first id
    data = case.rng.permutation(np.arange(20, 31))  # (N,)
    place = {int(token): i for i, token in enumerate(data)}
    T, B = 4, 400
    last = len(data) - T - 1

    def rows(x, source, first=0):
        """For each row of x the piece of `source` that begins where it stands in `data`."""
        starts = [min(place.get(int(row[0]), 0), last + 1) + first for row in x]
        return np.stack([source[i : i + T] for i in starts])

    with case("x and y have the shape (B, T)"):
        x, y = draw(data, T, B)
        turned = [((T, B), "Each window is a row: B rows of T ids. Yours are columns.")]
        expect_equal(x.shape, (B, T), "the shape of x", mistakes=turned)
        expect_equal(y.shape, (B, T), "the shape of y", mistakes=turned)
    with case("each row of x is a piece of data"):
        x, _ = draw(data, T, B)
        expect_close(x, rows(x, data), hint="x is data[i : i + T].")
    with case("y is x, one step later"):
        x, y = draw(data, T, B)
        padded = np.append(data, [-1, -1])
        expect_close(
            y, rows(x, padded, first=1),
            hint="The target at each position is the next character: data[i + 1 : i + T + 1].",
            mistakes=[
                (x, "The targets are the inputs: nothing is left to predict. Shift y by one."),
                (rows(x, np.roll(data, 1)), "y is one step early: are x and y swapped?"),
                (rows(x, padded, first=2), "y is shifted by two."),
            ],
        )
    with case("every window is drawn, the first and the last too"):
        x, _ = draw(data, T, B)
        drawn = {place.get(int(row[0]), -1) for row in x}
        missing = sorted(set(range(last + 1)) - drawn)
        expect(
            not missing,
            f"with N={len(data)} and T={T} the windows start at 0 to {last}, but in {B} draws "
            f"none started at {missing}",
            "`rng.integers(0, high)` never gives `high` itself. What is the number of windows?",
        )
    with case("data of T + 1 ids has one window"):
        x, y = draw(data[: T + 1], T, 3)
        expect_close(x, np.stack([data[:T]] * 3), hint="How many windows are there: N - T.")
        expect_close(y, np.stack([data[1 : T + 1]] * 3), hint="Shift y by one.")


@check(
    lesson=1,
    expects=(
        "a function `row_probs(counts, smoothing)`: counts (V, V) and a number in, "
        "probabilities (V, V) out, each row with sum 1"
    ),
)
def row_probs(case, row_probs):
    def right(counts, smoothing):
        raised = counts + smoothing
        return raised / raised.sum(axis=1, keepdims=True)

    def over(axis, keepdims=False):
        return lambda c, s: (c + s) / (c + s).sum(axis=axis, keepdims=keepdims)

    mistakes = [
        (over(0), "The columns add up to 1. Each row belongs to one character: sum over axis=1."),
        (over(1), "The sums of the rows lie across the columns: keepdims=True keeps them (V, 1)."),
        (over(None), "The whole table adds up to 1. Each row should: sum over axis=1."),
        (lambda c, s: c / c.sum(axis=1, keepdims=True), "The smoothing is not used."),
        (lambda c, s: c / c.sum(axis=1, keepdims=True) + s, "Add the smoothing to the counts."),
        (
            lambda c, s: (c + s) / c.sum(axis=1, keepdims=True),
            "Divide by the sum of the raised counts: the smoothing adds to the sum too.",
        ),
        (
            lambda c, s: (c + s) / (c.sum(axis=1, keepdims=True) + s),
            "In a row of V counts the smoothing is added V times.",
        ),
    ]
    for V, smoothing in [(2, 1.0), (5, 0.5), (8, 3.0)]:
        counts = case.rng.integers(0, 20, size=(V, V)).astype(float)
        with case(f"V={V}, smoothing={smoothing}"):
            expect_same(row_probs, right, counts, smoothing, mistakes=mistakes)
    with case("a row without any count becomes uniform"):
        counts = np.array([[0.0, 0.0, 0.0], [4.0, 1.0, 0.0], [2.0, 2.0, 2.0]])
        expect_same(row_probs, right, counts, 1.0, mistakes=mistakes)


@check(
    lesson=1,
    expects=(
        "a function `mean_surprise(probs, ids)`: a bigram table (V, V) and ids (N,) in, the mean "
        "of -ln probs[a, b] over all neighbours out, one number"
    ),
)
def mean_surprise(case, mean_surprise):
    def right(probs, ids):
        return bigram_loss(probs, ids)

    def over(ids, f):
        return lambda probs, _: f(probs[ids[:-1], ids[1:]])

    for V, N in [(2, 5), (4, 12), (7, 40)]:
        probs = case.rng.dirichlet(np.ones(V), size=V) * 0.9 + 0.1 / V  # (V, V)
        ids = np.append(case.rng.integers(0, V, size=N - 2), [0, V - 1])
        mistakes = [
            (over(ids, lambda p: np.log(p).mean()), "The sign: a surprise is -ln p, positive."),
            (over(ids, lambda p: -np.log(p).sum()), "That is the sum, not the mean."),
            (over(ids, lambda p: -np.log(p).sum() / len(ids)), "N ids have N - 1 neighbours."),
            (over(ids, lambda p: -np.log2(p).mean()), "Those are bits. np.log gives nats."),
            (over(ids, lambda p: -np.log(p.mean())), "First the logarithm of each, then the mean."),
            (over(ids, lambda p: p.mean()), "Where is the logarithm?"),
            (over(ids, lambda p: np.exp(-np.log(p).mean())), "That is the perplexity."),
            (over(ids[::-1], lambda p: -np.log(p).mean()), "In probs[a, b] b follows a."),
            (lambda probs, ids: -np.log(probs[ids, ids]).mean(), "b is the id after a."),
            (lambda probs, ids: -np.log(probs).mean(), "Only the pairs that stand in ids count."),
        ]
        with case(f"V={V}, N={N}"):
            expect_same(mean_surprise, right, probs, ids, mistakes=mistakes)
    with case("a uniform table costs ln V"):
        expect_same(mean_surprise, right, np.full((3, 3), 1 / 3), np.array([0, 1, 2, 2, 0]))


@check(
    lesson=1,
    kind="any",
    expects="a text of at least 12 characters that refutes the claim",
)
def equal_counts(case, text):
    with case("a text of at least 12 characters, two or more of them different"):
        expect(isinstance(text, str), f"expected a string, got {type(text).__name__}")
        expect(len(text) >= 12, f"the text has {len(text)} characters", "Write a longer one.")
        expect(len(set(text)) >= 2, f"the text has {len(set(text))} different character")
    with case("all characters are equally frequent"):
        counts = Counter(text)
        most, least = counts.most_common()[0], counts.most_common()[-1]
        expect(
            most[1] == least[1],
            f"{most[0]!r} comes {most[1]} times, {least[0]!r} {least[1]} times",
            "Choose a few characters and use each of them as often as the others.",
        )
    with case("a table counted on its first half gets below half of ln V on the second"):
        tokenizer = CharTokenizer.from_text(text)
        V, ids = tokenizer.vocab_size, np.array(tokenizer.encode(text))
        first, second = train_val_split(ids, val_fraction=0.5)
        loss = bigram_loss(bigram_probs(first, V, smoothing=0.1), second)
        expect(
            loss < math.log(V) / 2,
            f"ln V is {math.log(V):.3f}, on the second half the bigram table pays {loss:.3f}",
            "The table sees one character back. In which order is the next one never a surprise?",
        )


@check(
    lesson=1,
    kind="any",
    expects="a number above 0, your smoothing for the bigram table of `names`",
    not_tested="other texts: each has a best smoothing of its own",
)
def better_smoothing(case, smoothing):
    text = load_corpus("names")
    tokenizer = CharTokenizer.from_text(text)
    train, val = train_val_split(np.array(tokenizer.encode(text)))

    def val_loss(smoothing: float) -> float:
        return bigram_loss(bigram_probs(train, tokenizer.vocab_size, smoothing), val)

    loss, before = math.inf, val_loss(1.0)
    with case("a number above 0"):
        value = as_array(smoothing)
        expect(value.shape == (), f"expected one number, got the shape {value.shape}")
        expect(value > 0 and np.isfinite(value), f"the smoothing is {value}; it must be above 0")
        loss = val_loss(float(value))
    with case(f"its validation loss, {loss:.4f}, is below {before:.4f}"):
        expect(
            loss < before - 5e-5,
            "smoothing 1 is as good or better",
            "Try a few values on both sides of 1: ten times more, ten times less.",
        )
    with case("it is within 0.0005 of the best there is"):
        best = min(val_loss(s) for s in np.geomspace(0.01, 10, 40))
        expect(
            loss < best + 5e-4,
            f"the validation loss of {loss:.4f} can still fall by {loss - best:.4f}",
            "Go on in the direction that helped; when it gets worse again, go back half a step.",
        )


@check(
    lesson=1,
    expects=(
        "a function `bpe_encode(word, learnt)`: a string and the list of learnt pairs in, the "
        "list of its tokens out"
    ),
    not_tested="speed",
)
def bpe_encode(case, encode):
    def merge(tokens, pair):
        merged, i = [], 0
        while i < len(tokens):
            step = 2 if tuple(tokens[i : i + 2]) == pair else 1
            merged.append("".join(tokens[i : i + step]))
            i += step
        return merged

    def right(word, learnt):
        tokens = list(word)
        for pair in learnt:
            tokens = merge(tokens, pair)
        return tokens

    def longest_first(word, learnt):
        known, tokens = {a + b for a, b in learnt}, []
        while word:
            length = next(n for n in range(len(word), 0, -1) if n == 1 or word[:n] in known)
            tokens.append(word[:length])
            word = word[length:]
        return tokens

    def twice(word, learnt):
        tokens = right(word, learnt)
        for pair in learnt:
            tokens = merge(tokens, pair)
        return tokens

    mistakes = [
        (lambda word, learnt: list(word), "No pair was merged."),
        (lambda word, learnt: right(word, learnt[:1]), "Only the first pair was merged."),
        (lambda word, learnt: merge(list(word), learnt[-1]), "Each merge begins from the word again."),
        (lambda word, learnt: right(word, learnt[::-1]), "Apply the pairs in the order learnt."),
        (longest_first, "The longest known piece is not the rule: apply the pairs in their order."),
        (twice, "Apply each pair once, in the order learnt."),
        (lambda word, learnt: "".join(right(word, learnt)), "Return the list of tokens."),
        (lambda word, learnt: " ".join(right(word, learnt)), "Return the list of tokens."),
    ]
    learnt = [("t", "h"), ("h", "e"), ("th", "e"), (" ", "the"), ("a", "t"), ("c", "at"), ("e", "r")]
    for word in [" the", "cather", "hehe", "other", "xyz", "a"]:
        with case(f"{word!r}"):
            expect_same(encode, right, word, learnt, mistakes=mistakes)
    with case("no pairs learnt: single characters"):
        expect_same(encode, right, "anna", [], hint="Start from `list(word)`.")
    letters = list("abc")
    pairs = []
    for _ in range(6):
        pieces = letters + [a + b for a, b in pairs]
        pairs.append(tuple(case.rng.choice(pieces, size=2).tolist()))
    word = "".join(case.rng.choice(letters, size=30))
    with case("a random word and random pairs"):
        expect_same(encode, right, word, pairs, mistakes=mistakes)
