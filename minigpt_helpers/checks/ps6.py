"""Checks of problem set 6: samplers, a fixed generator, the odd line out, guesses, new names."""

from __future__ import annotations

import itertools
import math

import numpy as np

from minigpt_helpers.autograd import no_grad
from minigpt_helpers.checks._base import Cases, check
from minigpt_helpers.checks._compare import as_array, expect, expect_close, expect_equal, show
from minigpt_helpers.checks._exercise import exercise
from minigpt_helpers.checks._reference import softmax
from minigpt_helpers.nn import MiniGPT
from minigpt_helpers.text import CharTokenizer
from minigpt_helpers.training import evaluate

CLOSE = 1e-5  # an answer computed in float32 is right, too


def _sure_model(case: Cases, vocab_size: int, max_seq_len: int) -> MiniGPT:
    """Untrained, but with strong opinions, so that its answers differ."""
    model = MiniGPT(vocab_size, 8, 2, 2, max_seq_len, rng=case.rng)
    model.head.weight.data *= 60
    return model


def _logits(model, ids) -> np.ndarray:
    with no_grad():
        return model(ids).data  # (T, V)


# ---- 1: the nucleus -----------------------------------------------------------------------------


def _nuclei(rng):
    for V, T, p in [(5, 1.0, 0.6), (8, 0.5, 0.9), (12, 2.0, 0.7), (32, 1.3, 0.95), (6, 3.0, 0.35)]:
        yield f"V={V}, temperature {T:g}, top_p {p:g}", rng.normal(size=V) * 2.5, T, p
    yield "a small top_p keeps the most likely", rng.normal(size=7), 1.0, 0.01
    for logits in (np.zeros(10), rng.normal(size=40)):
        yield "a top_p of 1 keeps all", logits, 1.0, 1.0
    for logits, T in [(np.array([0.0, 2, 1, 2, 2, 1]), 1.0), (np.zeros(4), 0.7)]:
        yield "tokens that are equally likely", logits, T, 0.5
    for logits, T in [
        (np.array([1000.0, 999, 0]), 0.5),
        (np.array([1000.0, 999, 0]), 1.0),
        (np.array([-3.0]), 0.5),
    ]:
        yield "logits near 1000, one token", logits, T, 0.9
    yield "temperature 0.001", np.array([1.0, 3.0, 2.9, 2.8, 2.0]), 0.001, 0.9


_SHARE = (
    "That keeps a share of the tokens. Their probabilities must reach top_p, however many tokens "
)
_SHARE += "that takes."
_CROSSES = "The token that crosses the line belongs to the nucleus: only with it is top_p reached."


@exercise(
    lesson="ps6",
    expects="a function `top_p_probs(logits, temperature, top_p)`: an array (V,), a number above 0 "
    "and a number above 0, at most 1, in; an array (V,) of probabilities out",
    not_tested="a temperature below 0.001; a top_p of 0",
    in_words="divide, softmax, sort from the most likely on, keep the fewest that reach top_p "
    "together",
    cases=_nuclei,
    slips=[
        ("z - z.max()", "z", "exp overflows. Subtract the largest of the divided logits first."),
        (
            "z.max()",
            "logits.max()",
            "Subtract the largest of the divided logits, not of the logits themselves.",
        ),
        (
            "exps = np.exp(z - z.max())",
            "exps = np.exp(logits - logits.max())\n"
            "    exps = (exps / exps.sum()) ** (1 / temperature)",
            "A probability to the power of 1/T is 0 when T is small. Divide the logits instead.",
        ),
        ("order[:number]", "order[: number - 1]", _CROSSES),
        ("order[:number]", "order[: max(1, number - 1)]", _CROSSES),
        (
            "order[:number]",
            "order[: number + 1]",
            "One token too many: stop as soon as top_p is reached.",
        ),
        ("return new / new.sum()", "return probs", "Nothing was cut off."),
        (
            "logits / temperature",
            "logits * temperature",
            "You multiply by the temperature. Divide.",
        ),
        ("logits / temperature", "logits", "The temperature is missing."),
        (
            "return new / new.sum()",
            "return new",
            "What is left must sum to 1: divide by the sum of what was kept.",
        ),
        (
            "kept = order[:number]",
            "kept = probs >= top_p",
            "You keep each token with a probability "
            "of at least top_p. It is their *sum*, from the most likely on, that must reach top_p.",
        ),
        ("order[:number]", "order[: max(1, int(top_p * len(probs)))]", _SHARE),
        ("order[:number]", "order[: int(np.ceil(top_p * len(probs)))]", _SHARE),
        (
            "kept = order[:number]",
            "kept = probs >= top_p * probs.max()",
            "That is min-p: a share of "
            "the largest probability. For top-p add up the probabilities, from the most likely on.",
        ),
        (
            "return new / new.sum()",
            "return np.sort(new / new.sum())[::-1]",
            "The probabilities are right, but sorted. Put each back to the id of its token.",
        ),
        (
            "kept = order[:number]",
            "kept = probs >= probs[order[:number]].min()",
            "Of equally likely tokens only as many are kept as are needed, the lowest ids first.",
        ),
        (
            'np.argsort(-probs, kind="stable")',
            "np.argsort(probs)[::-1]",
            "Of equally likely tokens the lowest ids come first: argsort(-probs, kind='stable').",
        ),
        (
            'np.argsort(-probs, kind="stable")',
            "np.arange(len(probs))",
            "Add up from the most likely token on, not by id.",
        ),
        (
            'np.argsort(-probs, kind="stable")',
            "np.argsort(probs)",
            "You begin with the least likely token. Begin with the most likely.",
        ),
    ],
)
def ps6_top_p_probs(logits, temperature, top_p):
    z = logits / temperature
    exps = np.exp(z - z.max())
    probs = exps / exps.sum()
    order = np.argsort(-probs, kind="stable")
    number, reached = 0, 0.0
    while number < len(probs) and reached < top_p:
        reached += probs[order[number]]
        number += 1
    kept = order[:number]
    new = np.zeros(len(probs))
    new[kept] = probs[kept]
    return new / new.sum()


# ---- 2: a generator with four bugs --------------------------------------------------------------


NOTHING = 1e-30  # the chance of a token that is not kept; more is a leak


def _asked(model, ids, steps, temperature, top_k, chosen, *, end=True, divided=True, less=0):
    """What `choose` is given at each step, (steps, V), when its answers are `chosen`."""
    ids, given = list(ids), []
    for i in range(steps):
        window = ids[-model.max_seq_len :] if end else ids[: model.max_seq_len]
        logits = _logits(model, window)[-1]
        logits = logits / temperature if divided else logits * temperature
        kept = np.argsort(-logits, kind="stable")[: top_k - less]
        probs = np.zeros(len(logits))
        probs[kept] = softmax(logits[kept])
        given.append(probs)
        ids.append(chosen[i])
    return np.array(given)


@check(
    lesson="ps6",
    expects="a function `write(model, ids, steps, temperature, top_k, choose)` that returns the "
    "list `ids` followed by `steps` new ids, each one an answer of choose(probs)",
    not_tested="a temperature of 0; speed",
    seconds=10.0,
)
def ps6_write(case, write):
    V, window = 7, 5
    model = _sure_model(case, V, window)
    bugs = [
        (dict(end=False), "the model reads the beginning of the text and not its end"),
        (
            dict(divided=False),
            "the temperature multiplies, so a high one makes the favourite stronger",
        ),
        (dict(less=1), "one token too few is kept"),
    ]
    ways = []
    for count in (1, 2, 3):
        for some in itertools.combinations(bugs, count):
            how = {name: value for bug, _ in some for name, value in bug.items()}
            ways.append((how, "Still there: " + "; ".join(text for _, text in some) + "."))
    ways += [
        (dict(less=-1), "One token too many is kept."),
        (dict(less=1 - V), "top_k is not used: all tokens are kept."),
    ]

    def run(length, steps, temperature, top_k):
        ids = case.rng.integers(V, size=length).tolist()
        chosen, given = case.rng.integers(V, size=steps + 1).tolist(), []

        def choose(probs):
            given.append(as_array(probs))
            return chosen[min(len(given), steps + 1) - 1]

        got = write(model, ids, steps, temperature, top_k, choose)
        return got, given, ids, chosen[:steps]

    def probs(length, steps, temperature, top_k):
        got, given, ids, chosen = run(length, steps, temperature, top_k)
        what = (ids, steps, temperature, top_k, chosen)
        expect(
            len(given) == steps,
            f"choose was called {len(given)} times for {steps} new ids",
            "Once for each new id.",
        )
        expect(
            all(row.shape == (V,) for row in given),
            f"choose was given something else than one probability for each of the {V} tokens",
            "Probabilities of shape (V,), by id.",
        )
        mistakes = [(lambda how=how: _asked(model, *what, **how), text) for how, text in ways]
        mistakes += [
            (
                lambda: np.tile(_asked(model, ids, 1, temperature, top_k, chosen), (steps, 1)),
                "The new ids are not read: append each to what the model sees next.",
            ),
            (lambda: _asked(model, ids, steps, 1.0, top_k, chosen), "The temperature is missing."),
            (
                lambda: _asked(model, ids, steps, 1.0, top_k, chosen) / temperature,
                "The temperature divides the logits, before the softmax: probabilities sum to 1.",
            ),
        ]
        right = _asked(model, *what)
        expect_close(np.array(given), right, "what choose was given", tol=CLOSE, mistakes=mistakes)
        leak = float(np.array(given)[right == 0].max(initial=0.0))
        expect(
            leak < NOTHING,
            f"a token that is not kept was given the probability {leak:.1e}; expected 0",
            "Small is not 0: whoever draws often enough draws it, too.",
        )

    for name, setting in [
        ("all tokens, temperature 1", (2, 3, 1.0, V)),
        ("temperature 0.5", (3, 2, 0.5, V)),
        ("temperature 2", (1, 4, 2.0, V)),
        ("temperature 0.001: no exp may overflow", (3, 2, 0.001, V)),
        ("top_k 1", (2, 3, 1.0, 1)),
        ("top_k 3", (3, 2, 1.5, 3)),
        ("top_k above V", (2, 2, 0.8, V + 5)),
        ("a prompt longer than the window", (9, 3, 1.0, V)),
        ("a text that grows out of the window", (3, 6, 0.7, 4)),
    ]:
        with case(name):
            probs(*setting)
    for length, steps in [(3, 4), (8, 3), (2, 0)]:
        with case(f"the list it returns: {length} ids and {steps} new ones"):
            got, _, ids, chosen = run(length, steps, 1.0, V)
            expect_equal(
                got,
                ids + chosen,
                "the ids",
                mistakes=[
                    (chosen, "The prompt is lost: return it, followed by the new ids."),
                    (ids, "The new ids are missing."),
                    (
                        (ids + chosen)[-window:],
                        "The text is cropped for the model only. Return all.",
                    ),
                ],
            )


# ---- 3: a counterexample ------------------------------------------------------------------------

TIMES = 2.0


@check(
    lesson="ps6",
    kind="any",
    expects="the chances of the first character (V,), and a table (V, V) of those that follow: the "
    f"likeliest text of 3 characters is at least {TIMES:g} times as likely as the greedy one",
)
def ps6_greedy_misses(case, first, following):
    first, following = as_array(first), as_array(following)
    V = len(np.atleast_1d(first))
    with case(f"the likeliest text has at least {TIMES:g} times the chance of the greedy one"):
        expect(
            first.shape == (V,) and following.shape == (V, V) and 2 <= V <= 6,
            (f"your arrays have shapes {first.shape} and {following.shape}"),
            "V numbers, and V rows of V numbers, with V from 2 to 6.",
        )
        rows = np.vstack([first, following])
        expect(np.isfinite(rows).all() and (rows >= 0).all(), "a chance is negative or not finite")
        expect(
            np.allclose(rows.sum(axis=1), 1, atol=1e-6),
            (
                "the chances do not sum to 1: the first ones sum to "
                f"{first.sum():.3f}, the rows to {', '.join(f'{s:.3f}' for s in rows[1:].sum(axis=1))}"
            ),
            "Row a of the table holds the chances of all characters that may follow a.",
        )
        chances = {
            text: first[text[0]] * following[text[0], text[1]] * following[text[1], text[2]]
            for text in itertools.product(range(V), repeat=3)
        }
        a = int(first.argmax())
        b = int(following[a].argmax())
        for row in (first, following[a], following[b]):
            largest = np.sort(row)[::-1]
            expect(
                largest[0] - largest[1] > 1e-6,
                "on greedy's way two characters are equally likely",
                "Make one of them a little likelier.",
            )
        best, greedy = max(chances.values()), chances[a, b, int(following[b].argmax())]
        expect(
            best >= TIMES * greedy - 1e-12,
            (f"the greedy text has a chance of {greedy:.4f}, the likeliest one {best:.4f}"),
            "Greedy's text is the likeliest of all."
            if best <= greedy + 1e-12
            else (
                "A step in the right direction. Where does greedy's first choice lead? Spread the "
                "chances of what follows it more evenly."
            ),
        )


# ---- 4: predictions, as formulas ----------------------------------------------------------------


def _ends(rng):
    cut = rng.normal(size=9)
    cut[rng.permutation(9)[:5]] = -np.inf
    tied = rng.integers(-9, 0, size=11).astype(float)
    tied[rng.permutation(11)[: rng.integers(2, 6)]] = 3.0
    yield "eight different logits", rng.normal(size=8)
    yield "several largest logits", tied
    yield "logits cut off by top-k", cut
    yield "both", rng.permutation(np.array([2.0, -np.inf, 2.0, 0.5, -np.inf, 2.0, -1.0]))
    yield "all equal", np.full(int(rng.integers(3, 30)), -4.0)
    yield "one token", np.array([0.7])
    yield "logits near 1000", np.array([1000.0, 999.0, 1000.0])
    yield "nearly equal is not equal", np.array([0.5, 1.5, 1.500002, -3.0, 1.5])


@exercise(
    lesson="ps6",
    expects="a function `entropy_ends(logits)`: an array (V,), in which minus infinity may be, in; "
    "two numbers out, the entropy near temperature 0 and that for a very high one, in nats",
    not_tested="logits that differ by less than a millionth",
    in_words="near 0 the largest logit takes all; for a very high temperature all that are left are "
    "equal",
    cases=_ends,
    slips=[
        (
            "math.log((logits == logits.max()).sum())",
            "0.0",
            "Is it always 0 at the cold end? What if two logits are both the largest?",
        ),
        (
            "np.isfinite(logits).sum()",
            "len(logits)",
            "A logit of minus infinity stays minus infinity at every temperature.",
        ),
        (
            "return [cold, hot]",
            "return [hot, cold]",
            "The two ends are swapped: first the cold one.",
        ),
        (
            "return [cold, hot]",
            "return [cold / math.log(2), hot / math.log(2)]",
            "That is in bits. In nats it is the natural logarithm.",
        ),
        (
            "return [cold, hot]",
            "return [math.exp(cold), math.exp(hot)]",
            "That is how many tokens share the probability. The entropy is its logarithm.",
        ),
        (
            "math.log((logits == logits.max()).sum())",
            "1.0",
            "One token with all of the probability: how undecided is that?",
        ),
        ("return [cold, hot]", "return [-cold, -hot]", "An entropy is not negative."),
        (
            "logits == logits.max()",
            "np.isclose(logits, logits.max())",
            "Nearly equal is not equal: "
            "at a temperature that is low enough the larger one takes all.",
        ),
    ],
)
def ps6_entropy_ends(logits):
    cold = math.log((logits == logits.max()).sum())
    hot = math.log(np.isfinite(logits).sum())
    return [cold, hot]


def _sizes(rng):
    draw = rng.integers
    short = int(draw(3, 9)), int(draw(4, 12)), 40
    slides = int(draw(4, 9)), int(draw(20, 30)), int(draw(10, 14))
    longer = slides[2] + int(draw(1, 9)), 6, slides[2]
    for name, sizes in [
        ("the window never fills", short),
        ("the window slides", slides),
        ("a prompt that fills the window", (slides[2], 5, slides[2])),
        ("a prompt longer than the window", longer),
        ("one new character", (4, 1, 9)),
        ("none", (4, 0, 9)),
        ("up to the last position", (3, 6, 8)),
    ]:
        for use_cache in (False, True):
            yield f"{name}, {'with' if use_cache else 'without'} the cache", *sizes, use_cache


_PLAIN = "return sum(min(prompt + i, window) for i in range(new))"
_LAST = "The last new character is never sent through the model."


@exercise(
    lesson="ps6",
    expects="a function `positions_computed(prompt, new, window, use_cache)`: three whole numbers "
    "and True or False in, a whole number out",
    not_tested="an empty prompt",
    in_words="go through the new characters one by one: how long is the text before each, and what "
    "is computed?",
    cases=_sizes,
    slips=[
        (
            "        total += 1 if i and prompt + i <= window else min(prompt + i, window)",
            "        total += 1 if i else prompt",
            "That holds while the window is not full. What "
            "happens to the cache when the window slides?",
        ),
        (
            "return sum(min(prompt + i, window) for",
            "return sum(prompt + i for",
            "The model never reads more than `window` positions at once.",
        ),
        ("return total", "return prompt + new", _LAST),
        ("return total", "return new", "The prompt has to go through the model, too, once."),
        (_PLAIN, "return new * window", "At first the text is shorter than the window."),
        (
            "if not use_cache",
            "if True",
            "The cache changes nothing here: with it only the newest "
            "position is computed, while the window is not full.",
        ),
        ("if not use_cache", "if use_cache", "The two cases are swapped."),
        (
            _PLAIN,
            "return sum(min(prompt + 1 + i, window) for i in range(new))",
            "The first new character is drawn after the prompt alone has been read.",
        ),
        (_PLAIN, "return sum(min(prompt + i, window) for i in range(new + 1))", _LAST),
    ],
)
def ps6_positions_computed(prompt, new, window, use_cache):
    if not use_cache:
        return sum(min(prompt + i, window) for i in range(new))
    total = 0
    for i in range(new):
        total += 1 if i and prompt + i <= window else min(prompt + i, window)
    return total


# ---- 5: the odd line out ------------------------------------------------------------------------


def _surprises(model, tokenizer, line) -> list[float]:
    """Of each character: the first ones in one go, those beyond the window one by one."""
    ids, T = tokenizer.encode("\n" + line), model.max_seq_len
    rows = [*_logits(model, ids[:-1][:T])]
    rows += [_logits(model, ids[i - T : i])[-1] for i in range(T + 1, len(ids))]
    return [-math.log(softmax(row)[i]) for row, i in zip(rows, ids[1:], strict=True)]


def _line_loss(model, tokenizer, line):
    return float(np.mean(_surprises(model, tokenizer, line)))


def _some_line(case: Cases, tokenizer: CharTokenizer, length: int) -> str:
    return "".join(case.rng.choice(tokenizer.chars[1:], size=length))


@check(
    lesson="ps6",
    expects="a function `line_loss(model, tokenizer, line)`: a MiniGPT, its tokenizer and a string "
    "in, a number out",
    not_tested="an empty line",
    seconds=10.0,
)
def ps6_line_loss(case, line_loss):
    tokenizer = CharTokenizer("\nabcdef ")
    model = _sure_model(case, tokenizer.vocab_size, 6)
    T = model.max_seq_len

    def rows(ids):
        return [softmax(row) for row in _logits(model, ids)]

    def without_start(line):
        ids = tokenizer.encode(line)
        return float(
            np.mean(
                [-math.log(rows(ids[max(0, i - T) : i])[-1][ids[i]]) for i in range(1, len(ids))]
            )
        )

    def with_end(line):
        return _line_loss(model, tokenizer, line + "\n")

    def cropped(line):
        return _line_loss(model, tokenizer, line[:T])

    def last_window(line):
        ids = tokenizer.encode("\n" + line)[-T - 1 :]
        return float(np.mean([-math.log(p[i]) for p, i in zip(rows(ids[:-1]), ids[1:])]))

    def in_blocks(line):
        ids, found = tokenizer.encode("\n" + line), []
        for start in range(0, len(ids) - 1, T):
            piece = ids[start : start + T + 1]
            found += [-math.log(p[i]) for p, i in zip(rows(piece[:-1]), piece[1:])]
        return float(np.mean(found))

    def beginning(line):
        ids = tokenizer.encode("\n" + line)
        return float(
            np.mean([-math.log(rows(ids[: min(i, T)])[-1][ids[i]]) for i in range(1, len(ids))])
        )

    def unshifted(line):
        ids = tokenizer.encode(line)
        return float(np.mean([-math.log(p[i]) for p, i in zip(rows(ids), ids)]))

    def mean_chance(line):
        return -math.log(np.mean(np.exp(-np.array(_surprises(model, tokenizer, line)))))

    mistakes = [
        (
            lambda line: sum(_surprises(model, tokenizer, line)),
            "That is the sum. A long line would always look odd: take the mean.",
        ),
        (
            lambda line: _line_loss(model, tokenizer, line) / math.log(2),
            "That is in bits. Nats use the natural logarithm.",
        ),
        (
            lambda line: -_line_loss(model, tokenizer, line),
            "The minus is missing: surprises are positive.",
        ),
        (
            lambda line: math.exp(_line_loss(model, tokenizer, line)),
            "That is the perplexity. Return the loss itself.",
        ),
        (
            lambda line: max(_surprises(model, tokenizer, line)),
            "That is the largest surprise. Take the mean.",
        ),
        (
            lambda line: _surprises(model, tokenizer, line),
            "These are the surprises of the single characters. Take their mean.",
        ),
        (
            without_start,
            "The first character counts, too. Put a line break before the line, so "
            "that the model has something to foresee it from.",
        ),
        (with_end, "You counted a line break at the end. Only the characters of the line count."),
        (
            lambda line: sum(_surprises(model, tokenizer, line)) / (len(line) + 1),
            "The line break "
            "in front is read, not foreseen. Divide by the number of characters of the line.",
        ),
        (cropped, "The end of a long line is missing."),
        (last_window, "The beginning of a long line is missing."),
        (
            in_blocks,
            "You cut the line into blocks. Each character is to be foreseen from the last "
            "max_seq_len characters before it, so the window slides by one.",
        ),
        (
            beginning,
            "For a long line the model reads its beginning again and again. It should read "
            "what is just before the character.",
        ),
        (unshifted, "Row t says what comes after character t."),
        (mean_chance, "First the logarithm of each chance, then the mean."),
    ]
    for length in (9, 4, 14, 1, T, T + 1):
        line = _some_line(case, tokenizer, length)
        with case(f"a line of {length}, max_seq_len {T}"):
            expect_close(
                line_loss(model, tokenizer, line),
                _line_loss(model, tokenizer, line),
                "the loss",
                tol=CLOSE,
                mistakes=[(lambda wrong=wrong: wrong(line), text) for wrong, text in mistakes],
            )


@check(
    lesson="ps6",
    expects="a function `odd_one_out(model, tokenizer, lines)`: a MiniGPT, its tokenizer and a "
    "list of strings in, the number of a line out, counted from 0",
    not_tested="fewer than three lines; equal losses",
    seconds=20.0,
)
def ps6_odd_one_out(case, odd_one_out):
    tokenizer = CharTokenizer("\nabcdef ")
    model = _sure_model(case, tokenizer.vocab_size, 20)

    found = []

    def lines_and_losses(lengths):
        """Lines whose odd one is clear, at a new place, and not the one with the largest sum."""
        while True:
            lines = [_some_line(case, tokenizer, length) for length in lengths]
            losses = [_line_loss(model, tokenizer, line) for line in lines]
            totals = [loss * len(line) for loss, line in zip(losses, lines)]
            odd = int(np.argmax(losses))
            clear = np.sort(losses)[-1] - np.sort(losses)[-2] > 0.15
            if clear and 0 < odd < len(lines) - 1 and odd not in (int(np.argmax(totals)), *found):
                found.append(odd)
                return lines, losses, totals, odd

    for lengths in [(18, 9, 7), (5, 14, 8, 19, 6), (11, 17, 6, 8, 10, 9), (16, 7, 8, 5, 12, 6, 9)]:
        lines, losses, totals, odd = lines_and_losses(lengths)
        with case(f"{len(lines)} lines of {', '.join(map(str, lengths))} characters"):
            got = odd_one_out(model, tokenizer, lines)
            expect(
                not isinstance(got, float) or got.is_integer(),
                f"it returned {show(got)}",
                "Is that its loss? Return the number of the line.",
            )
            expect_equal(
                got,
                odd,
                "the number of the line",
                mistakes=[
                    (
                        int(np.argmax(totals)),
                        "You took the sums: a long line has a large one. Compare the means.",
                    ),
                    (
                        int(np.argmin(losses)),
                        "That is the line with the lowest loss. The odd one has the highest.",
                    ),
                    (
                        int(np.argmin(totals)),
                        "That is the line with the lowest sum. The odd one has the highest mean.",
                    ),
                    (odd + 1, "Lines are counted from 0."),
                    (lines[odd], "That is the line itself. Return its number."),
                ],
            )


# ---- 6: how many guesses ------------------------------------------------------------------------


def _samples(rng):
    sample = -rng.gamma(6, 2.5, size=60)
    words = np.log(rng.dirichlet(np.ones(12)))  # twelve texts, drawn with their probabilities
    repeated = rng.choice(words, size=200, p=np.exp(words))
    yield "a text in the middle", float(np.median(sample)) - 0.01, sample
    yield "a rare text", float(sample.min()) - 3, sample
    yield "texts that were drawn several times", float(np.sort(words)[3]) - 1e-3, repeated
    yield "a text that is in the sample itself", float(np.sort(sample)[20]), sample
    yield "the most likely of all", -0.001, sample
    yield "a sample of one", -5.0, np.array([-3.5])
    yield "probabilities as small as 1e-26", -70.0, -rng.uniform(20, 60, size=30)


_GUESSES = "return np.exp(-more).sum() / len(sampled)"


@exercise(
    lesson="ps6",
    expects="a function `guesses_before(log_p, sampled)`: a number and an array (n,) of numbers "
    "in, all of them logarithms of probabilities; a number out",
    not_tested="an empty sample",
    in_words="for each sampled text that is strictly more likely: 1 / (n p), all added up",
    tol=1e-4,
    cases=_samples,
    slips=[
        (" / len(sampled)", "", "Divide by the size of the sample: it is a mean."),
        (
            "sampled > log_p",
            "sampled < log_p",
            "You count those that are less likely. They are guessed later.",
        ),
        (
            "np.exp(-more).sum()",
            "len(more)",
            "That is the share of the sample that is more likely. "
            "Each of them stands for 1 / p texts: a rare one for many.",
        ),
        (
            _GUESSES,
            "return len(more)",
            "That is how many of the sample are more likely. Each of "
            "them stands for 1 / (n p) texts.",
        ),
        (
            "np.exp(-more)",
            "np.exp(more)",
            "Weigh each by 1 / p, not by p: a rare text stands for "
            "many others that were not drawn.",
        ),
        (
            "/ len(sampled)",
            "/ max(len(more), 1)",
            "Divide by the size of the whole sample, also those that are less likely.",
        ),
        (
            "sampled > log_p",
            "sampled >= log_p",
            "Only texts that are strictly more likely come before it.",
        ),
        ("/ len(sampled)", "/ len(sampled) + 1", "Asked are the guesses *before* the right one."),
        (
            "sampled[sampled > log_p]",
            "np.unique(sampled[sampled > log_p])",
            "The same text may be in the sample twice. Each counts.",
        ),
        (
            "sampled > log_p",
            "np.exp(sampled) > log_p",
            "log_p is a logarithm already: compare it with logarithms.",
        ),
        (
            _GUESSES,
            "return math.exp(-log_p)",
            "That is 1 / p. The text may still be far from the "
            "end of the attacker's list: use the sample.",
        ),
        (
            "np.exp(-more)",
            "(2.0 ** -more)",
            "The logarithms are natural ones: 1 / p is exp(-log p).",
        ),
        ("np.exp(-more)", "(-1 / more)", "p is exp(log p)."),
    ],
)
def ps6_guesses_before(log_p, sampled):
    more = sampled[sampled > log_p]
    return np.exp(-more).sum() / len(sampled)


# ---- 7: new names -------------------------------------------------------------------------------

KNOWN, HELD_OUT, NEW = 60, 15, 12


def _letter_loss(known: str, text: str) -> float:
    """Nats per character of a model that knows only how often each character is."""
    chars = sorted(set(known + text))
    chances = {c: (known.count(c) + 1) / (len(known) + len(chars)) for c in chars}
    return -sum(math.log(chances[c]) for c in text) / len(text)


@check(
    lesson="ps6",
    kind="any",
    expects="two lists of names (those the model was trained on, those held out), the model, its "
    "tokenizer, and a list of new names",
    not_tested="whether the held-out names were really held out; how the new names sound",
    seconds=20.0,
)
def ps6_name_generator(case, names, held_out, model, tokenizer, new_names):
    lists = []
    with case(f"at least {KNOWN} names, {HELD_OUT} held out and {NEW} new ones"):
        for what, given, least in [
            ("names", names, KNOWN),
            ("held_out", held_out, HELD_OUT),
            ("new_names", new_names, NEW),
        ]:
            expect(
                not isinstance(given, str),
                f"{what} is one string, not a list",
                "Cut it into names: text.split().",
            )
            lists.append(list(given))
            bad = [
                name
                for name in lists[-1]
                if not (isinstance(name, str) and name.strip()) or "\n" in name or len(name) > 40
            ]
            expect(
                not bad,
                f"{what} holds {show(bad[:1])}",
                "Strings only, none of them empty, no "
                "line breaks, nothing longer than 40 characters.",
            )
            expect(
                len(set(lists[-1])) >= least,
                f"{what} has {len(set(lists[-1]))} different names, and should have {least}",
            )
    if case.missed:
        return
    names, held_out, new_names = lists
    with case("the held-out names and the new ones are in no other list, and each new one once"):
        both = sorted(set(names) & set(held_out))
        expect(
            not both,
            f"{len(both)} names are trained on and held out, for instance {both[:1]}",
            "A name that was trained on measures nothing: it must not be in both lists.",
        )
        old = sorted(set(new_names) & (set(names) | set(held_out)))
        expect(
            not old,
            f"{len(old)} of new_names are not new, for instance {old[:1]}",
            "The model may write a name that it knows. Drop those.",
        )
        twice = sorted({name for name in new_names if new_names.count(name) > 1})
        expect(not twice, f"{twice[:1]} is there twice", "Keep each new name once.")
    with case("the new names have no characters that are not in the vocabulary"):
        alien = sorted(set("".join(new_names)) - set(tokenizer.chars))
        expect(
            not alien,
            f"the tokenizer does not know {alien[:3]}",
            "The model cannot have written them.",
        )

    def loss(texts):
        ids = tokenizer.encode("\n" + "\n".join(texts) + "\n")
        return evaluate(model, ids, min(model.max_seq_len, len(ids) - 1))

    joined = ["\n".join(texts) + "\n" for texts in (names, held_out)]
    chance = _letter_loss(*joined)
    with case("on the held-out names the model is better than the letters alone"):
        got = loss(held_out)
        expect(
            got < chance,
            f"its loss is {got:.2f} nats per character, and knowing only how "
            f"often each letter is gives {chance:.2f}",
            (
                "It has hardly been trained."
                if loss(names) > chance
                else "On the names that it was trained on it is far better: it has learnt them by "
                "heart. Fewer steps, a smaller model, or more names."
            ),
        )
    with case("the new names look likely to the model"):
        got = loss(new_names)
        expect(
            got < chance,
            f"their loss is {got:.2f} nats per character; the letters alone give "
            f"{chance:.2f} on real names",
            "Did the model write them? Between two line breaks, "
            "at a temperature that is not too high?",
        )
