"""Checks of problem set 6, to write: a nucleus, a fixed generator, greedy's miss, predictions."""

from __future__ import annotations

import itertools
import math

import numpy as np

from minigpt_helpers.autograd import no_grad
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import as_array, expect
from minigpt_helpers.checks._exercise import exercise
from minigpt_helpers.nn import MiniGPT

# ---- 1: the nucleus -----------------------------------------------------------------------------


def _nuclei(rng):
    for V, T, p in [(5, 1.0, 0.6), (8, 0.5, 0.9), (12, 2.0, 0.7), (32, 1.3, 0.95), (6, 3.0, 0.35)]:
        yield f"V={V}, temperature {T:g}, top_p {p:g}", rng.normal(size=V) * 2.5, T, p
    yield "a small top_p keeps the most likely", rng.normal(size=7), 1.0, 0.01
    for logits in (np.zeros(10), rng.normal(size=40)):
        yield "a top_p of 1 keeps all", logits, 1.0, 1.0
    for logits, T in [(np.array([0.0, 2, 1, 2, 2, 1]), 1.0), (np.zeros(4), 0.7)]:
        yield "tokens that are equally likely", logits, T, 0.5
    for logits, T in [(np.array([1000.0, 999, 0]), 0.5), (np.array([1000.0, 999, 0]), 1.0),
                      (np.array([-3.0]), 0.5)]:
        yield "logits near 1000, one token", logits, T, 0.9
    yield "temperature 0.001", np.array([1.0, 3.0, 2.9, 2.8, 2.0]), 0.001, 0.9


_SHARE = "That keeps a share of the tokens. Their probabilities must reach top_p, however many tokens "
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
        ("z.max()", "logits.max()", "Subtract the largest of the divided logits, not of the logits "
         "themselves."),
        ("exps = np.exp(z - z.max())", "exps = np.exp(logits - logits.max())\n"
         "    exps = (exps / exps.sum()) ** (1 / temperature)", "A probability to the power of 1/T "
         "is 0 when T is small. Divide the logits instead."),
        ("order[:number]", "order[: number - 1]", _CROSSES),
        ("order[:number]", "order[: max(1, number - 1)]", _CROSSES),
        ("order[:number]", "order[: number + 1]", "One token too many: stop as soon as top_p is "
         "reached."),
        ("return new / new.sum()", "return probs", "Nothing was cut off."),
        ("logits / temperature", "logits * temperature", "You multiply by the temperature. Divide."),
        ("logits / temperature", "logits", "The temperature is missing."),
        ("return new / new.sum()", "return new", "What is left must sum to 1: divide by the sum of "
         "what was kept."),
        ("kept = order[:number]", "kept = probs >= top_p", "You keep each token with a probability "
         "of at least top_p. It is their *sum*, from the most likely on, that must reach top_p."),
        ("order[:number]", "order[: max(1, int(top_p * len(probs)))]", _SHARE),
        ("order[:number]", "order[: int(np.ceil(top_p * len(probs)))]", _SHARE),
        ("kept = order[:number]", "kept = probs >= top_p * probs.max()", "That is min-p: a share of "
         "the largest probability. For top-p add up the probabilities, from the most likely on."),
        ("return new / new.sum()", "return np.sort(new / new.sum())[::-1]", "The probabilities are "
         "right, but sorted. Put each back to the id of its token."),
        ("kept = order[:number]", "kept = probs >= probs[order[:number]].min()", "Of equally likely "
         "tokens only as many are kept as are needed, the lowest ids first."),
        ('np.argsort(-probs, kind="stable")', "np.argsort(probs)[::-1]", "Of equally likely tokens "
         "the lowest ids come first: argsort(-probs, kind='stable')."),
        ('np.argsort(-probs, kind="stable")', "np.arange(len(probs))", "Add up from the most likely "
         "token on, not by id."),
        ('np.argsort(-probs, kind="stable")', "np.argsort(probs)", "You begin with the least likely "
         "token. Begin with the most likely."),
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


NOTHING = 1e-30  # the probability of a token that is not kept; more is a leak


def _written(write, model, ids, steps, temperature, top_k, _chosen, what):
    """What a generator gives to `choose` at each step, (steps, V), or the list that it returns."""
    given = []

    def choose(probs):
        given.append(as_array(probs))
        return _chosen[min(len(given), len(_chosen)) - 1]

    returned = write(model, ids, steps, temperature, top_k, choose)
    if what == "the ids":
        return returned
    expect(len(given) == steps, f"choose was called {len(given)} times for {steps} new ids",
           "Once for each new id.")
    V = model.vocab_size
    expect(all(row.shape == (V,) for row in given), "choose was given something else than one "
           f"probability for each of the {V} tokens", "Probabilities of shape (V,), by id.")
    rows = np.array(given)
    most, small = int((rows > NOTHING).sum(axis=1).max()), np.sort(rows)[:, : max(V - top_k, 0)].max(
        initial=0.0)
    expect(most <= top_k, f"with top_k {top_k} choose was given {most} tokens with a probability "
           f"above 0; the largest that is not to be kept is {small:.1e}",
           "Small is not 0: whoever draws often enough draws it, too." if small < 1e-3 else "")
    return rows


def _prompts(rng):
    V, window = 7, 5
    sure = MiniGPT(V, 8, 2, 1, window, rng=rng)
    sure.head.weight.data *= 60  # an untrained model is unsure: make its answers differ
    unsure = MiniGPT(V, 8, 2, 1, window, rng=rng)

    def case(model, length, steps, temperature, top_k, what):
        ids, chosen = (rng.integers(V, size=n).tolist() for n in (length, steps + 1))
        return model, ids, steps, temperature, top_k, chosen, what

    for name, model, *setting in [
        ("all tokens, temperature 1", sure, 2, 3, 1.0, V),
        ("temperature 0.5", sure, 3, 2, 0.5, V),
        ("temperature 2", sure, 1, 4, 2.0, V),
        ("temperature 0.001: no exp may overflow", sure, 3, 2, 0.001, V),
        ("temperature 0.002, and nearly equal logits", unsure, 3, 2, 0.002, V),
        ("top_k 1", sure, 2, 3, 1.0, 1),
        ("top_k 3", sure, 3, 2, 1.5, 3),
        ("top_k above V", sure, 2, 2, 0.8, V + 5),
        ("a prompt longer than the window", sure, 9, 3, 1.0, V),
        ("a text that grows out of the window", sure, 3, 6, 0.7, 4),
    ]:
        yield name, *case(model, *setting, "what choose is given")
    for length, steps in [(3, 4), (8, 3), (2, 0)]:
        yield (f"the list it returns: {length} ids and {steps} new ones",
               *case(sure, length, steps, 1.0, V, "the ids"))


_WINDOW = "text[-model.max_seq_len :]"
_DIVIDED = "logits = logits / temperature\n"
_KEPT = '        kept = np.argsort(-logits, kind="stable")[:top_k]\n'
_EXPS = "        exps = np.exp(logits[kept] - logits[kept].max())\n"
_PROBS = "        probs = np.zeros(len(logits))\n        probs[kept] = exps / exps.sum()\n"
_OVERFLOW = "exp overflows, or all exps become 0, at a low temperature. Subtract the largest of the "
_OVERFLOW += "divided logits first."


@exercise(
    lesson="ps6",
    expects="a function `write(model, ids, steps, temperature, top_k, choose)` that returns the "
    "list `ids` followed by `steps` new ids, each one an answer of choose(probs)",
    not_tested="a temperature below 0.001; speed",
    seconds=10.0,
    bugs=4,
    in_words="the last max_seq_len ids go in; the last row of logits, divided by the temperature; "
    "its top_k largest keep a probability, the others get 0; returned are the prompt and the new ids",
    cases=_prompts,
    call=_written,
    given=(f"{_WINDOW}\n        with no_grad():\n            logits = model(window).data[-1]\n"
           f"        {_DIVIDED}{_KEPT}{_EXPS}{_PROBS}        text.append(choose(probs))\n    return text",
           "text[: model.max_seq_len]\n        with no_grad():\n"
           "            logits = model(window).data[-1]\n"
           f"        {_DIVIDED.replace('/', '*')}{_KEPT.replace('top_k', ' top_k - 1')}{_EXPS}{_PROBS}"
           "        text.append(choose(probs))\n    return text[len(ids) :]"),
    slips=[
        (_WINDOW, "text[: model.max_seq_len]", "The model reads the beginning of the text and not "
         "its end."),
        ("logits / temperature", "logits * temperature", "The temperature multiplies, so a high one "
         "makes the favorite stronger."),
        ("[:top_k]", "[: top_k - 1]", "One token too few is kept."),
        ("return text", "return text[len(ids) :]", "The prompt is lost: return it, followed by the "
         "new ids."),
        ("[:top_k]", "[: top_k + 1]", "One token too many is kept."),
        ("[:top_k]", "", "top_k is not used: all tokens are kept."),
        ("-logits, kind", "logits, kind", "You keep the least likely tokens. Keep the most likely."),
        ("logits / temperature", "logits * 1.0", "The temperature is missing."),
        (f"{_DIVIDED}{_KEPT}{_EXPS}{_PROBS}        text.append(choose(probs))",
         f"logits = logits * 1.0\n{_KEPT}{_EXPS}{_PROBS}        text.append(choose(probs / "
         "temperature))", "The temperature divides the logits, before the softmax: probabilities sum "
         "to 1."),
        (f"{_DIVIDED}{_KEPT}{_EXPS}", f"logits = logits * 1.0\n{_KEPT}{_EXPS}"
         "        exps = (exps / exps.sum()) ** (1 / temperature)\n", "A probability to the power of "
         "1/T is 0 when T is small. Divide the logits instead."),
        ("exps = np.exp(logits[kept] - logits[kept].max())", "exps = np.exp(logits[kept])",
         _OVERFLOW),
        ("exps / exps.sum()", "exps", "The probabilities of the kept tokens must sum to 1: divide by "
         "their sum."),
        (f"{_KEPT}{_EXPS}{_PROBS}", f"{_KEPT}        exps = np.exp(logits - logits.max())\n"
         "        probs = np.zeros(len(logits))\n        probs[kept] = (exps / exps.sum())[kept]\n",
         "What is left must sum to 1: divide by the sum of what was kept."),
        (_WINDOW, "list(ids)[-model.max_seq_len :]", "The new ids are not read: append each to what "
         "the model sees next."),
        (_WINDOW, "text[-model.max_seq_len + 1 :]", "The model can read max_seq_len ids, and you give "
         "it one less."),
        (_WINDOW, "text[-1:]", "The model reads the last id alone. Give it all that fit."),
        ("data[-1]", "data[0]", "The first row says what comes after the first id. The last row is "
         "the one that looks ahead."),
        ("return text", "return list(ids)", "The new ids are missing."),
        ("return text", f"return {_WINDOW}", "The text is cropped for the model only. Return all."),
        ("choose(probs)", "int(probs.argmax())", "You take the likeliest yourself. Which id comes "
         "next is for `choose` to say."),
        ("append(choose(probs))\n    return", "append(choose(probs))\n        return", "Your `return` "
         "stands inside the loop, so only one id is written."),
    ],
)
def ps6_write(model, ids, steps, temperature, top_k, choose):
    text = list(ids)
    for _ in range(steps):
        window = text[-model.max_seq_len :]
        with no_grad():
            logits = model(window).data[-1]
        logits = logits / temperature
        kept = np.argsort(-logits, kind="stable")[:top_k]
        exps = np.exp(logits[kept] - logits[kept].max())
        probs = np.zeros(len(logits))
        probs[kept] = exps / exps.sum()
        text.append(choose(probs))
    return text


# ---- 3: a counterexample ------------------------------------------------------------------------

TIMES = 2.0


@check(
    lesson="ps6",
    kind="any",
    expects="the probabilities of the first character (V,), and a table (V, V) of those that follow: "
    f"likeliest text of 3 characters is at least {TIMES:g} times as likely as the greedy one",
)
def ps6_greedy_misses(case, first, following):
    first, following = as_array(first), as_array(following)
    V = len(np.atleast_1d(first))
    with case(f"the likeliest text has at least {TIMES:g} times the probability of the greedy one"):
        expect(first.shape == (V,) and following.shape == (V, V) and 2 <= V <= 6, (
            f"your arrays have shapes {first.shape} and {following.shape}"
        ), "V numbers, and V rows of V numbers, with V from 2 to 6.")
        rows = np.vstack([first, following])
        expect(np.isfinite(rows).all() and (rows >= 0).all(), "a probability is negative or not finite")
        expect(np.allclose(rows.sum(axis=1), 1, atol=1e-6), (
            "the probabilities do not sum to 1: the first ones sum to "
            f"{first.sum():.3f}, the rows to {', '.join(f'{s:.3f}' for s in rows[1:].sum(axis=1))}"
        ), "Row a of the table holds the probabilities of all characters that may follow a.")
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
            f"the greedy text has a probability of {greedy:.4f}, the likeliest one {best:.4f}"
        ), "Greedy's text is the likeliest of all." if best <= greedy + 1e-12 else (
            "A step in the right direction. Where does greedy's first choice lead? Spread the "
            "probabilities of what follows it more evenly."
        ))


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
        ("math.log((logits == logits.max()).sum())", "0.0", "Is it always 0 at the cold end? What "
         "if two logits are both the largest?"),
        ("np.isfinite(logits).sum()", "len(logits)", "A logit of minus infinity stays minus "
         "infinity at every temperature."),
        ("return [cold, hot]", "return [hot, cold]", "The two ends are swapped: first the cold "
         "one."),
        ("return [cold, hot]", "return [cold / math.log(2), hot / math.log(2)]", "That is in bits. "
         "In nats it is the natural logarithm."),
        ("return [cold, hot]", "return [math.exp(cold), math.exp(hot)]", "That is how many tokens "
         "share the probability. The entropy is its logarithm."),
        ("math.log((logits == logits.max()).sum())", "1.0", "One token with all of the probability: "
         "how undecided is that?"),
        ("return [cold, hot]", "return [-cold, -hot]", "An entropy is not negative."),
        ("logits == logits.max()", "np.isclose(logits, logits.max())", "Nearly equal is not equal: "
         "at a temperature that is low enough the larger one takes all."),
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
    for name, sizes in [("the window never fills", short), ("the window slides", slides),
                        ("a prompt that fills the window", (slides[2], 5, slides[2])),
                        ("a prompt longer than the window", longer),
                        ("one new character", (4, 1, 9)), ("none", (4, 0, 9)),
                        ("up to the last position", (3, 6, 8))]:
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
        ("        total += 1 if i and prompt + i <= window else min(prompt + i, window)",
         "        total += 1 if i else prompt", "That holds while the window is not full. What "
         "happens to the cache when the window slides?"),
        ("return sum(min(prompt + i, window) for", "return sum(prompt + i for", "The model never "
         "reads more than `window` positions at once."),
        ("return total", "return prompt + new", _LAST),
        ("return total", "return new", "The prompt has to go through the model, too, once."),
        (_PLAIN, "return new * window", "At first the text is shorter than the window."),
        ("if not use_cache", "if True", "The cache changes nothing here: with it only the newest "
         "position is computed, while the window is not full."),
        ("if not use_cache", "if use_cache", "The two cases are swapped."),
        (_PLAIN, "return sum(min(prompt + 1 + i, window) for i in range(new))", "The first new "
         "character is drawn after the prompt alone has been read."),
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
