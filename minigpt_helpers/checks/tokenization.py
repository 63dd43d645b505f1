"""Checks of lesson 1: vocabulary, encode and decode, windows and batches, the bigram model."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from minigpt_helpers.checks._ask import prediction
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import as_array, expect, expect_close, expect_equal
from minigpt_helpers.checks._exercise import exercise
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
    hint="Each position of the input has its own target.",
    near=[
        (1, "Not only the last position has a target: look at the first one."),
        (7, "The last input has a target too: the window is cut one character longer."),
        (9, "The first character of the window is never a target."),
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


# ---- encode and decode --------------------------------------------------------------------------


@exercise(
    lesson=1,
    expects="a function `decode(ids, chars)`: a list of ids and the vocabulary in, a string out",
    not_tested="speed",
    cases=lambda rng: [
        *((f"nine ids, V={len(chars)}", rng.integers(0, len(chars), size=9).tolist(), chars)
          for chars in ALPHABETS),
        ("every id of a vocabulary", list(range(7)), ALPHABETS[1]),
        ("no ids give the empty string", [], ALPHABETS[0]),
    ],
    slips=[
        ('"".join', '" ".join', "Join with nothing in between: `''`."),
        ('"".join', "list", "Join the characters to one string."),
        ("in ids)", "in ids)[::-1]", "The text comes out backwards."),
        ("chars[i]", "str(i)", "Look each id up in `chars`."),
        ("chars[i]", "chars[i - 1]", "The ids count from 0, as Python does."),
        ("in ids)", "in ids[:1])", "Only the first id was decoded: is `return` in the loop?"),
        ('return "".join(chars[i] for i in ids)', "for i in ids:\n        return chars[i]",
         "Only the first id was decoded: is `return` in the loop?"),
        ("in ids)", "in ids[:-1])", "The last id was not decoded."),
    ],
)
def decode_ids(ids, chars):
    return "".join(chars[i] for i in ids)


def _texts(rng):
    table = {}
    for chars in ALPHABETS:
        table = {char: i for i, char in enumerate(chars)}
        yield f"known characters, V={len(chars)}", "".join(rng.choice(chars, size=8)), table
    yield "the empty text gives no ids", "", table
    table = {char: i for i, char in enumerate("\nabc")}
    for text in ["abXc", "Q", "cab\nb?"]:
        yield f"{text!r} is refused", text, table
    yield "of several unknown characters the first is shown", "abbaZYa", table


@exercise(
    lesson=1,
    expects="a function `encode(text, char_to_idx)`: a string and the dictionary in, a list of ids "
    "out; an unknown character raises a ValueError that shows the first one and its position, "
    "counted from 0",
    not_tested="whether the message says what to do",
    cases=_texts,
    slips=[
        ("ids.append(char_to_idx[char])", "ids.append(char_to_idx[char])\n        return ids",
         "Only the first character was encoded: is `return` in the loop?"),
        ("ids.append(char_to_idx[char])\n    return ids", "return [char_to_idx[char]]",
         "Only the first character was encoded: is `return` in the loop?"),
        ("char_to_idx[char]", "ord(char)", "Ids come from the dictionary."),
        ("ids = []", "ids = ''", "A list of ids, not a string."),
        ("raise ValueError(char, position)", "continue",
         "An unknown character is skipped, so the text changes in silence."),
        ("raise ValueError(char, position)", "ids.append(0)\n            continue",
         "An unknown character gets the id of another one, so the text changes in silence."),
        ("raise ValueError(char, position)", "ids.append(-1)\n            continue",
         "An unknown character gets an id that means nothing, in silence."),
        ("ValueError(", "KeyError(", "Look each character up before you use it: "
         "`if char not in char_to_idx: raise ValueError(...)`."),
        ("(char, position)", "(char)", "`for position, char in enumerate(text)` gives you the "
         "position."),
        ("(char, position)", "(position)", "The message does not show the character itself."),
        ("(char, position)", "('')", "The message shows neither the character nor its position."),
    ],
)
def careful_encode(text, char_to_idx):
    ids = []
    for position, char in enumerate(text):
        if char not in char_to_idx:
            raise ValueError(char, position)
        ids.append(char_to_idx[char])
    return ids


# ---- windows and batches ------------------------------------------------------------------------


@check(
    lesson=1,
    expects="a function `batch(data, block_size, batch_size, rng)`: ids (N,) in, two arrays x and "
    "y of shape (batch_size, block_size) out",
    not_tested="whether all windows are equally likely; speed",
)
def mended_batch(case, batch):
    def draw(data, block_size, batch_size, seed=7):
        result = batch(data, block_size, batch_size, np.random.default_rng(seed))
        expect(
            isinstance(result, (tuple, list)) and len(result) == 2,
            "the function should return two arrays, x and y",
            "End with `return x, y`.",
        )
        return as_array(result[0]), as_array(result[1])

    # 11 different ids in no order: a window is known by its first id
    data = case.rng.permutation(np.arange(20, 31))  # (N,)
    index = {int(token): i for i, token in enumerate(data)}
    T, B = 4, 400
    last = len(data) - T - 1

    def rows(x, source, first=0):
        """For each row of x the piece of `source` that begins where the row begins in `data`."""
        starts = [min(index.get(int(row[0]), 0), last + 1) + first for row in x]
        return np.stack([source[i : i + T] for i in starts])

    with case("x and y have the shape (B, T)"):
        x, y = draw(data, T, B)
        turned = [((T, B), "Each window is a row: B rows of T ids. Yours are columns.")]
        expect_equal(x.shape, (B, T), "the shape of x", mistakes=turned)
        expect_equal(y.shape, (B, T), "the shape of y", mistakes=turned)
    with case("each row of x is a piece of data"):
        x, _ = draw(data, T, B)
        expect_close(x, rows(x, data))
    with case("y is x, one step later"):
        x, y = draw(data, T, B)
        padded = np.append(data, [-1, -1])
        expect_close(y, rows(x, padded, first=1), mistakes=[
            (x, "The targets are the inputs: nothing is left to predict. Shift y by one."),
            (rows(x, np.roll(data, 1)), "y is one step early: are x and y swapped?"),
            (rows(x, padded, first=2), "y is shifted by two."),
        ])
    with case("every window is drawn, the first and the last too"):
        x, _ = draw(data, T, B)
        drawn = {index.get(int(row[0]), -1) for row in x}
        missing = sorted(set(range(last + 1)) - drawn)
        hint = ""
        if missing == [last]:
            hint = "`rng.integers(0, high)` never gives `high` itself. How many windows are there?"
        elif missing == [0]:
            hint = "The first id is never an input: the starts count from 0."
        elif len(drawn) == 1:
            hint = "All windows are the same. Draw a start for each row."
        expect(
            not missing,
            f"with N={len(data)} and T={T} the windows start at 0 to {last}, but in {B} draws "
            f"none started at {missing}",
            hint,
        )
    with case("data of T + 1 ids has one window"):
        x, y = draw(data[: T + 1], T, 3)
        expect_close(x, np.stack([data[:T]] * 3), "x")
        expect_close(y, np.stack([data[1 : T + 1]] * 3), "y")
    with case("the generator decides"):
        first, again, other = (draw(data, T, B, seed)[0] for seed in (1, 1, 2))
        expect(np.array_equal(first, again), "two generators with one seed give different windows",
               "Draw from the `rng` that you are given, and from nothing else.")
        expect(not np.array_equal(first, other), "two different seeds give the same windows",
               "Draw from the `rng` that you are given.")


# ---- the bigram model ---------------------------------------------------------------------------


@exercise(
    lesson=1,
    expects="a function `row_probs(counts, smoothing)`: counts (V, V) and a number in, "
    "probabilities (V, V) out, each row with sum 1",
    cases=lambda rng: [
        *((f"V={V}, smoothing={smoothing}", rng.integers(0, 20, size=(V, V)).astype(float),
           smoothing) for V, smoothing in [(2, 1.0), (5, 0.5), (8, 3.0)]),
        ("a row without any count becomes uniform",
         np.array([[0.0, 0.0, 0.0], [4.0, 1.0, 0.0], [2.0, 2.0, 2.0]]), 1.0),
    ],
    slips=[
        ("axis=1", "axis=0", "The columns add up to 1. Each row belongs to one character: sum over "
         "axis=1."),
        ("axis=1, keepdims=True", "axis=1", "The sums of the rows are divided along the columns: "
         "keepdims=True keeps them (V, 1)."),
        ("axis=1, keepdims=True", "", "The whole table adds up to 1. Each row should: sum over "
         "axis=1."),
        ("counts + smoothing", "counts", "The smoothing is not used."),
        ("raised / raised.sum(axis=1, keepdims=True)",
         "counts / counts.sum(axis=1, keepdims=True) + smoothing",
         "Add the smoothing to the counts, before the division."),
        ("/ raised.sum(", "/ counts.sum(", "Divide by the sum of the raised counts: the smoothing "
         "adds to the sum too."),
        ("/ raised.sum(axis=1, keepdims=True)",
         "/ (counts.sum(axis=1, keepdims=True) + smoothing)",
         "In a row of V counts the smoothing is added V times."),
        (" / raised.sum(axis=1, keepdims=True)", "", "These are raised counts. Divide each row by "
         "its sum."),
    ],
)
def row_probs(counts, smoothing):
    raised = counts + smoothing
    return raised / raised.sum(axis=1, keepdims=True)


def _tables(rng):
    for V, N in [(2, 5), (4, 12), (7, 40), (5, 2000)]:
        probs = rng.dirichlet(np.ones(V), size=V) * 0.9 + 0.1 / V  # (V, V)
        yield f"V={V}, N={N}", probs, np.append(rng.integers(0, V, size=N - 2), [0, V - 1])
    yield "a uniform table costs ln V", np.full((3, 3), 1 / 3), np.array([0, 1, 2, 2, 0])


@exercise(
    lesson=1,
    expects="a function `mean_surprise(probs, ids)`: a bigram table (V, V) and ids (N,) in, the "
    "mean of -ln probs[a, b] over all neighbours out, one number",
    cases=_tables,
    slips=[
        ("-np.log", "np.log", "The sign: a surprise is -ln p, positive."),
        (".mean()", ".sum()", "That is the sum, not the mean."),
        (".mean()", ".sum() / len(ids)", "N ids have N - 1 neighbours."),
        (".mean()", "", "That is one number for each pair. Take the mean."),
        ("np.log(", "np.log2(", "Those are bits. np.log gives nats."),
        ("np.log(", "np.log10(", "That logarithm has base 10. np.log gives nats."),
        ("np.log(p).mean()", "np.log(p.mean())", "First the logarithm of each, then the mean."),
        ("-np.log(p).mean()", "p.mean()", "Where is the logarithm?"),
        ("-np.log(p).mean()", "np.exp(-np.log(p).mean())", "That is the perplexity."),
        ("-np.log(p).mean()", "-np.log(np.prod(p)) / len(p)", "The product of so many "
         "probabilities is 0 to the computer. Add up their logarithms."),
        ("ids[:-1], ids[1:]", "ids[1:], ids[:-1]", "In probs[a, b] b follows a."),
        ("ids[:-1], ids[1:]", "ids, ids", "b is the id after a."),
        ("probs[ids[:-1], ids[1:]]", "probs", "Only the pairs that are in ids count."),
    ],
)
def mean_surprise(probs, ids):
    p = probs[ids[:-1], ids[1:]]
    return -np.log(p).mean()


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
            f"{most[0]!r} occurs {most[1]} times, {least[0]!r} {least[1]} times",
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
    not_tested="other texts: each has its own best smoothing",
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
        expect(value > 0 and np.isfinite(value), f"the smoothing is {value:g}; it must be above 0")
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


# ---- merges -------------------------------------------------------------------------------------


def _merges(rng):
    learnt = [("t", "h"), ("h", "e"), ("th", "e"), (" ", "the"), ("a", "t"), ("c", "at"), ("e", "r")]
    for word in [" the", "cather", "hehe", "her", "berber", "xyz", "a"]:
        yield f"{word!r}", word, learnt
    yield "no pairs learnt: single characters", "anna", []
    pairs = []
    for _ in range(6):
        pieces = [*"abc", *(a + b for a, b in pairs)]
        pairs.append(tuple(rng.choice(pieces, size=2).tolist()))
    yield "a random word and random pairs", "".join(rng.choice(list("abc"), size=30)), pairs


@exercise(
    lesson=1,
    expects="a function `bpe_encode(word, learnt)`: a string and the list of learnt pairs in, the "
    "list of its tokens out",
    not_tested="speed",
    cases=_merges,
    slips=[
        ("pair in learnt", "pair in []", "No pair was merged."),
        ("pair in learnt", "pair in learnt[:1]", "Only the first pair was merged."),
        ("pair in learnt", "pair in learnt[:-1]", "The last pair was not merged."),
        ("pair in learnt", "pair in learnt[::-1]", "Apply the pairs in the order learnt."),
        ("merged, i = [], 0", "merged, i, tokens = [], 0, list(word)",
         "Each merge begins from the word again."),
        ("return tokens", "return ''.join(tokens)", "Return the list of tokens."),
        ("return tokens", "return ' '.join(tokens)", "Return the list of tokens."),
    ],
)
def bpe_encode(word, learnt):
    tokens = list(word)
    for pair in learnt:
        merged, i = [], 0
        while i < len(tokens):
            step = 2 if tuple(tokens[i : i + 2]) == pair else 1
            merged.append("".join(tokens[i : i + step]))
            i += step
        tokens = merged
    return tokens
