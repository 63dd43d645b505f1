"""Checks of problem set 6: samplers, a mended generator, the odd line out, guesses, new names."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

from minigpt_helpers.autograd import no_grad
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import (
    as_array,
    expect,
    expect_close,
    expect_equal,
    expect_same,
)
from minigpt_helpers.checks._reference import softmax
from minigpt_helpers.checks._base import Cases
from minigpt_helpers.generation import generate
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


def _top_p(logits, temperature, top_p, *, order=None, count=None, cut=None):
    """The nucleus, with a place for each mistake: another order, another count, cut before."""
    probs = softmax(logits / temperature)
    first = probs if cut is None else cut  # the chances by which is cut
    likeliest = np.argsort(-first, kind="stable") if order is None else order
    number, reached = 0, 0.0
    while number < len(probs) and reached < top_p:
        reached += first[likeliest[number]]
        number += 1
    kept = likeliest[: number if count is None else count(number)]
    new = np.zeros(len(probs))
    new[kept] = probs[kept]
    with np.errstate(all="ignore"):  # with a mistake none may be left
        return new / new.sum()


@check(
    lesson="ps6",
    expects="a function `top_p_probs(logits, temperature, top_p)`: an array (V,), a number above 0 "
    "and a number above 0, at most 1, in; an array (V,) of probabilities out",
    not_tested="a temperature of 0; a top_p of 0",
)
def ps6_top_p_probs(case, top_p_probs):
    def unscaled(z, T, p):
        return _top_p(z, T, p, cut=softmax(z))

    def not_divided(z, T, p):
        return softmax(z / T) * (_top_p(z, T, p) > 0)

    def chances_above(z, T, p):
        probs = softmax(z / T)
        kept = probs * (probs >= p)
        with np.errstate(all="ignore"):  # there may be none
            return kept / kept.sum()

    def relative(z, T, p):
        probs = softmax(z / T)
        kept = probs * (probs >= p * probs.max())
        return kept / kept.sum()

    def in_order(z, T, p):
        return np.sort(_top_p(z, T, p))[::-1]

    def with_ties(z, T, p):
        probs = softmax(z / T)
        kept = probs * (probs >= probs[_top_p(z, T, p) > 0].min())
        return kept / kept.sum()

    def of_last(z, T, p):
        return _top_p(z[::-1], T, p)[::-1]

    def as_found(z, T, p):
        return _top_p(z, T, p, order=np.arange(len(z)))

    def overflows(z, T, p):
        with np.errstate(all="ignore"):
            return _top_p(np.log(np.exp(z / T) / np.exp(z / T).sum()), 1.0, p)

    mistakes = [
        (overflows, "exp overflows. Subtract the largest of the divided logits first."),
        (lambda z, T, p: _top_p(z, T, p, count=lambda n: n - 1), "The token that crosses the line "
         "belongs to the nucleus: only with it is top_p reached."),
        (lambda z, T, p: _top_p(z, T, p, count=lambda n: max(1, n - 1)), "The token that crosses "
         "the line belongs to the nucleus: only with it is top_p reached."),
        (lambda z, T, p: _top_p(z, T, p, count=lambda n: n + 1), "One token too many: stop as soon "
         "as top_p is reached."),
        (lambda z, T, p: softmax(z / T), "Nothing was cut off."),
        (lambda z, T, p: _top_p(z * T * T, T, p), "You multiply by the temperature. Divide."),
        (lambda z, T, p: _top_p(z, 1.0, p), "The temperature is missing."),
        (unscaled, "The temperature comes first. The nucleus is found among the probabilities that "
         "it gives."),
        (not_divided, "What is left must sum to 1: divide by the sum of what was kept."),
        (chances_above, "You keep each token with a chance of at least top_p. It is their *sum*, "
         "from the likeliest on, that must reach top_p."),
        (lambda z, T, p: _top_p(z, T, p, count=lambda n: max(1, int(p * len(z)))), "That keeps a "
         "share of the tokens. Their chances must reach top_p, however many tokens that takes."),
        (lambda z, T, p: _top_p(z, T, p, count=lambda n: math.ceil(p * len(z))), "That keeps a "
         "share of the tokens. Their chances must reach top_p, however many tokens that takes."),
        (relative, "That is min-p: a share of the largest chance. For top-p add up the chances, "
         "from the likeliest on."),
        (in_order, "The probabilities are right, but sorted. Put each back to the id of its "
         "token."),
        (with_ties, "Of equally likely tokens only as many are kept as are needed, the lowest ids "
         "first."),
        (of_last, "Of equally likely tokens the lowest ids come first: argsort(-probs, "
         "kind='stable')."),
        (as_found, "Add up from the likeliest token on, not by id."),
        (lambda z, T, p: _top_p(z, T, p, order=np.argsort(z)), "You begin with the least likely "
         "token. Begin with the likeliest."),
    ]
    hint = "Divide, softmax, sort from the likeliest on, keep the fewest that reach top_p together."
    for V, T, p in [(5, 1.0, 0.6), (8, 0.5, 0.9), (12, 2.0, 0.7), (32, 1.3, 0.95), (6, 3.0, 0.35)]:
        logits = case.rng.normal(size=V) * 2.5
        with case(f"V={V}, temperature {T:g}, top_p {p:g}"):
            expect_same(top_p_probs, _top_p, logits, T, p, tol=CLOSE, mistakes=mistakes,
                        hint=hint)
    with case("a small top_p keeps the likeliest"):
        expect_same(top_p_probs, _top_p, case.rng.normal(size=7), 1.0, 0.01, tol=CLOSE,
                    mistakes=mistakes, hint="Even the likeliest alone may be more than top_p. At "
                    "least one is kept.")
    with case("a top_p of 1 keeps all"):
        for logits in (np.zeros(10), case.rng.normal(size=40)):
            expect_same(top_p_probs, lambda logits, temperature, top_p: softmax(logits), logits,
                        1.0, 1.0, tol=CLOSE, mistakes=mistakes, hint="All together are 1. But the "
                        "computer's sum may be a hair below 1, and then none reaches top_p.")
    with case("tokens that are equally likely"):
        for logits, T in [(np.array([0.0, 2, 1, 2, 2, 1]), 1.0), (np.zeros(4), 0.7)]:
            expect_same(top_p_probs, _top_p, logits, T, 0.5, tol=CLOSE, mistakes=mistakes,
                        hint=hint)
    with case("logits near 1000, one token"):
        for logits in (np.array([1000.0, 999, 0]), np.array([-3.0])):
            expect_same(top_p_probs, _top_p, logits, 0.5, 0.9, tol=CLOSE, mistakes=mistakes,
                        hint=hint)


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
        (dict(divided=False), "the temperature multiplies, so a high one makes the favourite "
         "stronger"),
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
        expect(len(given) == steps, f"choose was called {len(given)} times for {steps} new ids",
               "Once for each new id.")
        expect(all(row.shape == (V,) for row in given), "choose was given something else than one "
               f"probability for each of the {V} tokens", "Probabilities of shape (V,), by id.")
        mistakes = [(lambda how=how: _asked(model, *what, **how), text) for how, text in ways]
        mistakes += [
            (lambda: np.tile(_asked(model, ids, 1, temperature, top_k, chosen), (steps, 1)),
             "The new ids are not read: append each to what the model sees next."),
            (lambda: _asked(model, ids, steps, 1.0, top_k, chosen), "The temperature is missing."),
            (lambda: _asked(model, ids, steps, 1.0, top_k, chosen) / temperature, "The temperature "
             "divides the logits, before the softmax: probabilities sum to 1."),
        ]
        right = _asked(model, *what)
        expect_close(np.array(given), right, "what choose was given", tol=CLOSE,
                     mistakes=mistakes, hint="Crop to the last max_seq_len ids, take the last row, "
                     "divide, keep the top_k largest, softmax.")
        leak = float(np.array(given)[right == 0].max(initial=0.0))
        expect(leak < NOTHING, f"a token that is not kept was given the probability {leak:.1e}; "
               "expected 0", "Small is not 0: whoever draws often enough draws it, too.")

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
            expect_equal(got, ids + chosen, "the ids", mistakes=[
                (chosen, "The prompt is lost: return it, followed by the new ids."),
                (ids, "The new ids are missing."),
                ((ids + chosen)[-window:], "The text is cropped for the model only. Return all."),
            ], hint="First ids, then each answer of choose, in order.")


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
        expect(first.shape == (V,) and following.shape == (V, V) and 2 <= V <= 6, (
            f"your arrays have shapes {first.shape} and {following.shape}"
        ), "V numbers, and V rows of V numbers, with V from 2 to 6.")
        rows = np.vstack([first, following])
        expect(np.isfinite(rows).all() and (rows >= 0).all(), "a chance is negative or not finite")
        expect(np.allclose(rows.sum(axis=1), 1, atol=1e-6), (
            "the chances do not sum to 1: the first ones sum to "
            f"{first.sum():.3f}, the rows to {', '.join(f'{s:.3f}' for s in rows[1:].sum(axis=1))}"
        ), "Row a of the table holds the chances of all characters that may follow a.")
        chances = {
            text: first[text[0]] * following[text[0], text[1]] * following[text[1], text[2]]
            for text in itertools.product(range(V), repeat=3)
        }
        a = int(first.argmax())
        b = int(following[a].argmax())
        for row in (first, following[a], following[b]):
            largest = np.sort(row)[::-1]
            expect(largest[0] - largest[1] > 1e-6, "on greedy's way two characters are equally "
                   "likely", "Make one of them a little likelier.")
        best, greedy = max(chances.values()), chances[a, b, int(following[b].argmax())]
        expect(best >= TIMES * greedy - 1e-12, (
            f"the greedy text has a chance of {greedy:.4f}, the likeliest one {best:.4f}"
        ), "Greedy's text is the likeliest of all." if best <= greedy + 1e-12 else (
            "A step in the right direction. Where does greedy's first choice lead? Spread the "
            "chances of what follows it more evenly."
        ))


# ---- 4: predictions, as formulas ----------------------------------------------------------------


@check(
    lesson="ps6",
    expects="a function `entropy_ends(logits)`: an array (V,), in which minus infinity may stand, "
    "in; two numbers out, the entropy near temperature 0 and that for a very high one, in nats",
    not_tested="logits that differ by less than a millionth",
)
def ps6_entropy_ends(case, entropy_ends):
    def ends(logits):
        return [math.log((logits == logits.max()).sum()), math.log(np.isfinite(logits).sum())]

    mistakes = [
        (lambda z: [0.0, ends(z)[1]], "Is it always 0 at the cold end? What if two logits are both "
         "the largest?"),
        (lambda z: [ends(z)[0], math.log(len(z))], "A logit of minus infinity stays minus infinity "
         "at every temperature."),
        (lambda z: [0.0, math.log(len(z))], "What if two logits are both the largest? And what "
         "becomes of a logit of minus infinity?"),
        (lambda z: ends(z)[::-1], "The two ends are swapped: first the cold one."),
        (lambda z: np.array(ends(z)) / math.log(2), "That is in bits. In nats it is the natural "
         "logarithm."),
        (lambda z: np.exp(ends(z)), "That is how many tokens share the chances. The entropy is its "
         "logarithm."),
        (lambda z: [1.0, ends(z)[1]], "One token with all of the probability: how undecided is "
         "that?"),
        (lambda z: -np.array(ends(z)), "An entropy is not negative."),
        (lambda z: [math.log(np.isclose(z, z.max()).sum()), ends(z)[1]], "Nearly equal is not "
         "equal: at a temperature that is low enough the larger one takes all."),
    ]
    cut = case.rng.normal(size=9)
    cut[case.rng.permutation(9)[:5]] = -np.inf
    tied = case.rng.integers(-9, 0, size=11).astype(float)
    tied[case.rng.permutation(11)[: case.rng.integers(2, 6)]] = 3.0
    both = np.array([2.0, -np.inf, 2.0, 0.5, -np.inf, 2.0, -1.0])
    for name, logits in [
        ("eight different logits", case.rng.normal(size=8)),
        ("several largest logits", tied),
        ("logits cut off by top-k", cut),
        ("both", case.rng.permutation(both)),
        ("all equal", np.full(int(case.rng.integers(3, 30)), -4.0)),
        ("one token", np.array([0.7])),
        ("logits near 1000", np.array([1000.0, 999.0, 1000.0])),
        ("nearly equal is not equal", np.array([0.5, 1.5, 1.500002, -3.0, 1.5])),
    ]:
        with case(name):
            expect_same(entropy_ends, ends, logits, tol=1e-6, mistakes=mistakes, hint=(
                "Near 0 the largest logit takes all. For a very high temperature all that are "
                "left are equal."
            ))


class _Counting(MiniGPT):
    """Counts the positions that go through it."""

    def __init__(self, max_seq_len: int):
        super().__init__(3, 2, 1, 1, max_seq_len, rng=np.random.default_rng(0))
        self.positions = 0

    def forward(self, ids, *args, **options):
        self.positions += len(ids)
        return super().forward(ids, *args, **options)


@functools.cache
def _positions(prompt: int, new: int, window: int, use_cache: bool) -> int:
    model = _Counting(window)
    generate(model, [0] * prompt, new, rng=np.random.default_rng(0), use_cache=use_cache)
    return model.positions


@check(
    lesson="ps6",
    expects="a function `positions_computed(prompt, new, window, use_cache)`: three whole numbers "
    "and True or False in, a whole number out",
    not_tested="an empty prompt",
    seconds=10.0,
)
def ps6_positions_computed(case, positions_computed):
    def anew(prompt, new, window):
        return sum(min(prompt + i, window) for i in range(new))

    mistakes = [
        (lambda p, n, w, c: 0 if not n else p + n - 1 if c else _positions(p, n, w, c), "That "
         "holds while the window is not full. What happens to the cache when the window slides?"),
        (lambda p, n, w, c: sum(p + i for i in range(n)) if not c else _positions(p, n, w, c),
         "The model never reads more than `window` positions at once."),
        (lambda p, n, w, c: p + n if c else _positions(p, n, w, c), "The last new character is "
         "never sent through the model."),
        (lambda p, n, w, c: n if c else _positions(p, n, w, c), "The prompt has to go through the "
         "model, too, once."),
        (lambda p, n, w, c: n * w if not c else _positions(p, n, w, c), "In the beginning the text "
         "is shorter than the window."),
        (lambda p, n, w, c: anew(p, n, w) if c else _positions(p, n, w, c), "With the cache only "
         "the newest position is computed, while the window is not full."),
        (lambda p, n, w, c: anew(p + 1, n, w) if not c else _positions(p, n, w, c), "The first new "
         "character is drawn after the prompt alone has been read."),
        (lambda p, n, w, c: anew(p, n + 1, w) if not c else _positions(p, n, w, c), "The last new "
         "character is never sent through the model."),
        (lambda p, n, w, c: _positions(p, n, w, not c), "The two cases are swapped."),
        (lambda p, n, w, c: anew(p, n, w), "The cache changes nothing here."),
    ]
    draw = case.rng.integers
    short = int(draw(3, 9)), int(draw(4, 12)), 40
    slides = int(draw(4, 9)), int(draw(20, 30)), int(draw(10, 14))
    full = (slides[2], 5, slides[2])
    longer = slides[2] + int(draw(1, 9)), 6, slides[2]
    for name, sizes in [("the window never fills", short), ("the window slides", slides),
                        ("a prompt that fills the window", full),
                        ("a prompt longer than the window", longer),
                        ("one new character", (4, 1, 9)), ("none", (4, 0, 9)),
                        ("up to the last place", (3, 6, 8))]:
        for use_cache in (False, True):
            with case(f"{name}, {'with' if use_cache else 'without'} the cache"):
                expect_same(positions_computed, _positions, *sizes, use_cache, tol=1e-9,
                            mistakes=mistakes, hint="Go through the new characters one by one: "
                            "how long is the text before each, and what is computed?")


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
        return float(np.mean([-math.log(rows(ids[max(0, i - T) : i])[-1][ids[i]])
                              for i in range(1, len(ids))]))

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
        return float(np.mean([-math.log(rows(ids[: min(i, T)])[-1][ids[i]])
                              for i in range(1, len(ids))]))

    def unshifted(line):
        ids = tokenizer.encode(line)
        return float(np.mean([-math.log(p[i]) for p, i in zip(rows(ids), ids)]))

    def mean_chance(line):
        return -math.log(np.mean(np.exp(-np.array(_surprises(model, tokenizer, line)))))

    mistakes = [
        (lambda line: sum(_surprises(model, tokenizer, line)), "That is the sum. A long line would "
         "always look odd: take the mean."),
        (lambda line: _line_loss(model, tokenizer, line) / math.log(2), "That is in bits. Nats use "
         "the natural logarithm."),
        (lambda line: -_line_loss(model, tokenizer, line), "The minus is missing: surprises are "
         "positive."),
        (lambda line: math.exp(_line_loss(model, tokenizer, line)), "That is the perplexity. "
         "Return the loss itself."),
        (lambda line: max(_surprises(model, tokenizer, line)), "That is the largest surprise. Take "
         "the mean."),
        (lambda line: _surprises(model, tokenizer, line), "These are the surprises of the single "
         "characters. Take their mean."),
        (without_start, "The first character counts, too. Put a line break before the line, so "
         "that the model has something to foresee it from."),
        (with_end, "You counted a line break at the end. Only the characters of the line count."),
        (lambda line: sum(_surprises(model, tokenizer, line)) / (len(line) + 1), "The line break "
         "in front is read, not foreseen. Divide by the number of characters of the line."),
        (cropped, "The end of a long line is missing."),
        (last_window, "The beginning of a long line is missing."),
        (in_blocks, "You cut the line into blocks. Each character is to be foreseen from the last "
         "max_seq_len characters before it, so the window slides by one."),
        (beginning, "For a long line the model reads its beginning again and again. It should read "
         "what stands just before the character."),
        (unshifted, "Row t says what comes after character t."),
        (mean_chance, "First the logarithm of each chance, then the mean."),
    ]
    for length in (9, 4, 14, 1, T, T + 1):
        line = _some_line(case, tokenizer, length)
        with case(f"a line of {length}, max_seq_len {T}"):
            expect_close(line_loss(model, tokenizer, line), _line_loss(model, tokenizer, line),
                         "the loss", tol=CLOSE, mistakes=[
                             (lambda wrong=wrong: wrong(line), text) for wrong, text in mistakes
                         ], hint="The mean of -ln p over the characters of the line. Each p from "
                                 "the row of the character before it; a line break stands first.")


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
            expect(not isinstance(got, float) or got.is_integer(), f"it returned {got!r:.8}",
                   "Is that its loss? Return the number of the line.")
            expect_equal(got, odd, "the number of the line", mistakes=[
                (int(np.argmax(totals)), "You took the sums: a long line has a large one. Compare "
                 "the means."),
                (int(np.argmin(losses)), "That is the line with the lowest loss. The odd one has "
                 "the highest."),
                (int(np.argmin(totals)), "That is the line with the lowest sum. The odd one has "
                 "the highest mean."),
                (odd + 1, "Lines are counted from 0."),
                (lines[odd], "That is the line itself. Return its number."),
            ], hint="The line with the highest mean loss.")


# ---- 6: how many guesses ------------------------------------------------------------------------


def _guesses_before(log_p, sampled):
    count = 0.0
    for other in sampled:
        if other > log_p:
            count += 1 / (len(sampled) * math.exp(other))
    return count


@check(
    lesson="ps6",
    expects="a function `guesses_before(log_p, sampled)`: a number and an array (n,) of numbers "
    "in, all of them logarithms of chances; a number out",
    not_tested="an empty sample",
)
def ps6_guesses_before(case, guesses_before):
    def weighed(log_p, sampled, above=True, weight=lambda s: np.exp(-s), divide=True):
        chosen = sampled[sampled > log_p if above else sampled < log_p]
        return weight(chosen).sum() / (len(sampled) if divide else 1)

    mistakes = [
        (lambda p, s: weighed(p, s, divide=False), "Divide by the size of the sample: it is a "
         "mean."),
        (lambda p, s: weighed(p, s, above=False), "You count those that are less likely. They are "
         "guessed later."),
        (lambda p, s: weighed(p, s, weight=np.ones_like), "That is the share of the sample that is "
         "likelier. Each of them stands for 1 / p texts: a rare one for many."),
        (lambda p, s: weighed(p, s, weight=np.ones_like, divide=False), "That is how many of the "
         "sample are likelier. Each of them stands for 1 / (n p) texts."),
        (lambda p, s: weighed(p, s, weight=np.exp), "Weigh each by 1 / p, not by p: a rare text "
         "stands for many others that were not drawn."),
        (lambda p, s: weighed(p, s, divide=False) / (s > p).sum(), "Divide by the size of the "
         "whole sample, also those that are less likely."),
        (lambda p, s: np.exp(-s[s >= p]).sum() / len(s), "Only texts that are strictly likelier "
         "come before it."),
        (lambda p, s: weighed(p, s) + 1, "Asked are the guesses *before* the right one."),
        (lambda p, s: weighed(p, np.unique(s)), "The same text may be in the sample twice. Each "
         "counts."),
        (lambda p, s: np.exp(-s[np.exp(s) > p]).sum() / len(s), "log_p is a logarithm already: "
         "compare it with logarithms."),
        (lambda p, s: math.exp(-p), "That is 1 / p. The text may still be far from the end of the "
         "attacker's list: use the sample."),
        (lambda p, s: weighed(p, s, weight=lambda x: 2.0**-x), "The logarithms are natural ones: "
         "1 / p is exp(-log p)."),
        (lambda p, s: weighed(p, s, weight=lambda x: -1 / x), "p is exp(log p)."),
        (lambda p, s: math.log(weighed(p, s)), "That is the logarithm. Return the number of "
         "guesses."),
    ]
    hint = "For each sampled text that is strictly likelier: 1 / (n p). Add them up."
    sample = -case.rng.gamma(6, 2.5, size=60)
    words = np.log(case.rng.dirichlet(np.ones(12)))  # twelve texts; drawn with their chances
    repeated = case.rng.choice(words, size=200, p=np.exp(words))
    for name, log_p, sampled in [
        ("a text in the middle", float(np.median(sample)) - 0.01, sample),
        ("a rare text", float(sample.min()) - 3, sample),
        ("texts that were drawn several times", float(np.sort(words)[3]) - 1e-3, repeated),
        ("a text that is in the sample itself", float(np.sort(sample)[20]), sample),
        ("the likeliest of all", -0.001, sample),
        ("a sample of one", -5.0, np.array([-3.5])),
        ("chances as small as 1e-26", -70.0, -case.rng.uniform(20, 60, size=30)),
    ]:
        with case(name):
            expect_same(guesses_before, _guesses_before, log_p, sampled, tol=1e-4,
                        mistakes=mistakes, hint=hint)


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
        for what, given, least in [("names", names, KNOWN), ("held_out", held_out, HELD_OUT),
                                   ("new_names", new_names, NEW)]:
            expect(not isinstance(given, str), f"{what} is one string, not a list",
                   "Cut it into names: text.split().")
            lists.append(list(given))
            bad = [name for name in lists[-1] if not (isinstance(name, str) and name.strip())
                   or "\n" in name or len(name) > 40]
            expect(not bad, f"{what} holds {bad[:1]!r:.60}", "Strings only, none of them empty, no "
                   "line breaks, nothing longer than 40 characters.")
            expect(len(set(lists[-1])) >= least, f"{what} has {len(set(lists[-1]))} different "
                   f"names, and should have {least}")
    if case.missed:
        return
    names, held_out, new_names = lists
    with case("the held-out names and the new ones are in no other list, and each new one once"):
        both = sorted(set(names) & set(held_out))
        expect(not both, f"{len(both)} names are trained on and held out, for instance {both[:1]}",
               "A name that was trained on measures nothing: it must not be in both lists.")
        old = sorted(set(new_names) & (set(names) | set(held_out)))
        expect(not old, f"{len(old)} of new_names are not new, for instance {old[:1]}",
               "The model may write a name that it knows. Drop those.")
        twice = sorted({name for name in new_names if new_names.count(name) > 1})
        expect(not twice, f"{twice[:1]} is there twice", "Keep each new name once.")
    with case("the new names have no characters that are not in the vocabulary"):
        alien = sorted(set("".join(new_names)) - set(tokenizer.chars))
        expect(not alien, f"the tokenizer does not know {alien[:3]}", "The model cannot have "
               "written them.")

    def loss(texts):
        ids = tokenizer.encode("\n" + "\n".join(texts) + "\n")
        return evaluate(model, ids, min(model.max_seq_len, len(ids) - 1))

    joined = ["\n".join(texts) + "\n" for texts in (names, held_out)]
    chance = _letter_loss(*joined)
    with case("on the held-out names the model is better than the letters alone"):
        got = loss(held_out)
        expect(got < chance, f"its loss is {got:.2f} nats per character, and knowing only how "
               f"often each letter is gives {chance:.2f}", (
                   "It has hardly been trained." if loss(names) > chance else
                   "On the names that it was trained on it is far better: it has learnt them by "
                   "heart. Fewer steps, a smaller model, or more names."
               ))
    with case("the new names look likely to the model"):
        got = loss(new_names)
        expect(got < chance, f"their loss is {got:.2f} nats per character; the letters alone give "
               f"{chance:.2f} on real names", "Did the model write them? Between two line breaks, "
               "at a temperature that is not too high?")
