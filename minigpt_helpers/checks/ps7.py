"""Checks of the capstone: a GPT from an empty file, in whatever style it is written.

They use what the interface promises, not how it is kept. Where a property depends on parameters,
all of them are set: to random numbers, to zero, or to one constant, for which attention can be
computed by hand however its matrices are cut and named.
"""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Callable

import numpy as np

from minigpt_helpers.checks._adapters import (
    Leaf,
    Part,
    clear,
    first_that_fits,
    forms,
    left_out,
    read,
    require_own,
    value_classes,
    wants_gradient,
    weighted_sum,
)
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import Miss, NotDone, expect, expect_close, expect_equal
from minigpt_helpers.checks._reference import log_softmax

_ID_FORMS = [list, np.array, tuple]
_BATCH = "inputs with a batch axis; bad inputs; speed"
_OVERFLOW = (
    "exp overflows, or nothing is left to divide by. First the mask, then subtract the largest "
    "score of the row, then exp."
)
_NOTHING_LEFT = (
    "Does the mask hide a position from itself? Then its row has nothing left to look at. Only "
    "what lies above the diagonal is hidden."
)
_NOTHING_ADDED = (
    "Nothing is added inside the logarithm, and nothing is cut off: where the largest logit is "
    "subtracted first, it is not needed."
)
_TROUBLE = (OverflowError, ZeroDivisionError, ValueError)


# ---- helpers ------------------------------------------------------------------------------------


def _randomised(rng: np.random.Generator, part: Part, size: float = 0.5) -> Part:
    """Random numbers in every parameter: how it was initialised does not matter any more.

    None of them is near 0, where what a part does could not be seen.
    """
    def numbers(shape):
        return size * rng.choice([-1, 1], shape) * rng.uniform(0.5, 1.5, shape)

    return part.fill(numbers)


def _no_overflow(call: Callable[[], np.ndarray], what: str) -> np.ndarray:
    try:
        got = call()
    except _TROUBLE as error:
        raise Miss(f"{what}: {_said(error)}", [_OVERFLOW]) from None
    finite = np.isfinite(got).all()
    expect(finite, f"{what}: there is a NaN or an infinity in the result", _OVERFLOW)
    return got


def _said(error: Exception) -> str:
    return f"your code raised {type(error).__name__}: {error!s:.70}".splitlines()[0]


def _ids_like(ids: list[int]) -> np.ndarray:
    return np.array(ids, dtype=int)


def _with_ids(part: Part, ids: list[int]) -> np.ndarray:
    """The result for ids: given as a list if the student's code takes one."""
    part.given(_ids_like(ids), [lambda array: array.tolist(), np.array])
    return part(_ids_like(ids))


def _slopes(case, name: str, part: Part, array: np.ndarray, ids: bool = False) -> None:
    """The gradients agree with a finite difference in a random direction, if there are any."""
    given = part.given(array)
    if not ids:
        wants_gradient(Leaf(given))
    out = part.run(given)
    weights = case.rng.normal(size=read(out).shape)
    try:
        loss = weighted_sum(out, weights)
    except Exception:
        return
    if not hasattr(loss, "backward"):
        return  # arrays or numbers without gradients: the forward pass is all there is
    moved = list(part.params) + ([] if ids else [Leaf(given)])
    moved = [leaf for leaf in moved if leaf.values()]
    with case(name):
        expect(all(leaf.values() for leaf in part.params), (
            "the result has backward(), but the parameters are plain numbers"
        ), "A parameter is a Tensor or a Value, too. What has no gradient is not trained.")
        clear(moved, {})
        loss.backward()
        starts = [leaf.get() for leaf in moved]
        steps = [case.rng.normal(size=start.shape) for start in starts]
        slope = sum(float((leaf.grad() * step).sum()) for leaf, step in zip(moved, steps))
        coarse = any(leaf.coarse for leaf in moved)
        h = 1e-2 if coarse else 1e-5
        ends = []
        for sign in (1, -1):
            for leaf, start, step in zip(moved, starts, steps):
                leaf.set(start + sign * h * step)
            ends.append(float((weights * read(part.run(given))).sum()))
        for leaf, start in zip(moved, starts):
            leaf.set(start)
        expected = (ends[0] - ends[1]) / (2 * h)
        hint = (
            "Does a part of the result come from `.data`, outside the graph? Is a gradient added "
            "to what is there (`+=`), also where a value is used twice?"
        )
        if slope == 0.0:
            hint = "No gradient arrives. Is the result computed from `.data`, outside the graph?"
        expect(math.isfinite(slope), "a gradient is NaN or infinite", _OVERFLOW)
        tol = 5e-2 if coarse else 1e-3
        expect(abs(slope - expected) <= tol * (1 + abs(expected)), (
            f"along a random direction the result changes by {expected:.4f}, by your gradients it "
            f"should change by {slope:.4f}"
        ), hint)


def _all_listed(case, kind: Callable, *sizes: int) -> None:
    with case("parameters() names every parameter"):
        part = Part(kind, *sizes)
        part.need_parameters()
        missing = left_out(part.module, kind(*sizes))
        expect(missing == 0, f"{missing} numbers with a gradient are not in parameters()", (
            "What is not in the list is never trained. Collect those of all parts."
        ))


def _causal(case, part: Part, x: np.ndarray, keep: int, rows: Callable, tol: float = 1e-12) -> None:
    """Other inputs from `keep` on change nothing before."""
    changed = x.copy()
    changed[keep:] = rows(changed[keep:])
    one, other = part(x), part(changed)
    expect(np.isfinite(one).all(), "there is a NaN or an infinity in the result", _NOTHING_LEFT)
    largest = float(np.abs(one[:keep] - other[:keep]).max())
    scale = float(np.abs(one).max()) or 1.0
    expect(largest <= tol * scale, (
        f"other inputs from position {keep} on change the results before it, by up to "
        f"{largest:.1e}"
    ), (
        "A position sees its future. Before the softmax the scores above the diagonal become minus "
        "infinity, and the softmax runs along each query's row."
    ))


def _all_used(part: Part, x: np.ndarray, rng: np.random.Generator) -> None:
    """Every parameter changes the result. A bias of the keys need not: it has D = 4 numbers."""
    before, idle = part(x), 0
    for leaf in part.params:
        if leaf.size > 4:
            start = leaf.get()
            leaf.set(rng.normal(size=start.shape))
            idle += leaf.size * bool(np.abs(part(x) - before).max() < 1e-12)
            leaf.set(start)
    expect(idle == 0, f"{idle} numbers in the parameters change nothing in the result", (
        "Is a part made, but not used? Each part reads what the one before it has left."
    ))


# ---- 1. embedding -------------------------------------------------------------------------------


@check(
    lesson="ps7",
    expects="a class `Embedding(num_embeddings, embedding_dim)`: called with a list of T ids it "
    "gives T rows of embedding_dim numbers",
    not_tested="ids out of range; inputs with a batch axis; speed",
    seconds=30,
)
def ps7_embedding(case, Embedding):
    rng = case.rng
    require_own(Embedding, "Embedding", 4, 3)
    with case("one row for each id"):
        for n, d, T in [(6, 3, 4), (4, 5, 1), (9, 2, 7)]:
            ids = rng.integers(0, n, size=T).tolist()
            got = _with_ids(Part(Embedding, n, d), ids)
            expect_equal(list(got.shape), [T, d], f"the shape of {T} rows of {d} numbers", hint=(
                "One row for each id."
            ))
    with case("an id has its row, wherever it stands"):
        part = Part(Embedding, 7, 4)
        table = _with_ids(part, list(range(7)))
        expect(len(np.unique(table.round(12), axis=0)) == 7, "two ids have the same row", (
            "Start with random numbers, others in each row."
        ))
        for ids in [[3, 0, 3, 6], [6], [1, 1], list(rng.integers(0, 7, size=9).tolist())]:
            expect_close(_with_ids(part, ids), table[ids], f"for ids {ids}", hint=(
                "Row i of the result is row ids[i] of the table, and nothing else."
            ))
    with case("one number for each id and dimension"):
        part = Part(Embedding, 7, 4)
        part.need_parameters()
        expect_equal(part.count(), 28, "numbers in parameters() of Embedding(7, 4)", hint=(
            "A table with a row for each id."
        ))
    with case("the parameters are the table"):
        part = _randomised(rng, Part(Embedding, 7, 4))
        before = _with_ids(part, [2, 5])
        part.fill(lambda shape: np.zeros(shape))
        after = _with_ids(part, [2, 5])
        expect(before.any() and not after.any(), (
            "with all parameters set to 0 the rows should be 0, and with others not"
        ), "forward() has to read the table that parameters() names.")
        tables = [leaf for leaf in part.params if leaf.get().shape == (7, 4)]
        if len(tables) == 1:
            tables[0].set(np.arange(1.0, 29.0).reshape(7, 4))
            got, expected = _with_ids(part, [2, 5, 0]), tables[0].get()[[2, 5, 0]]
            expect_close(got / got[0, 0], expected / expected[0, 0], tol=1e-5, what=(
                "the rows, up to a common factor"
            ), hint="Id i takes row i: ids count from 0.")
    if not case.missed:
        _all_listed(case, Embedding, 7, 4)
        part = Part(Embedding, 5, 3)
        _with_ids(part, [0])
        _slopes(case, "gradients, an id twice", part, _ids_like([1, 4, 1]), ids=True)


# ---- 2. layer norm ------------------------------------------------------------------------------


@check(
    lesson="ps7",
    expects="a class `LayerNorm(dim)`: called with x (T, dim) it gives (T, dim), each row with "
    "mean 0 and variance 1, times a learnt scale (at first 1), plus a learnt shift (at first 0)",
    not_tested=_BATCH,
    seconds=30,
)
def ps7_layer_norm(case, LayerNorm):
    rng = case.rng

    def normed(x, axis=-1, ddof=0, centre=True):
        left = x - x.mean(axis=axis, keepdims=True)
        return (left if centre else x) / np.sqrt(x.var(axis=axis, keepdims=True, ddof=ddof) + 1e-5)

    mistakes = [
        (lambda x: normed(x, axis=0), "You norm down the columns. The mean and the variance of a "
         "position run along its own row."),
        (lambda x: normed(x, axis=None), "You norm all rows together. Each row has its own mean "
         "and variance."),
        (lambda x: normed(x, ddof=1), "The variance is the mean of the squares: divide by dim, not "
         "by dim - 1."),
        (lambda x: (x - x.mean(-1, keepdims=True)) / (x.var(-1, keepdims=True) + 1e-5),
         "You divide by the variance. Take its root."),
        (lambda x: normed(x, centre=False), "Subtract the mean of the row first."),
        (lambda x: x - x.mean(-1, keepdims=True), "Divide by the root of the variance."),
        (lambda x: x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5), "Subtract the mean first: "
         "the variance is measured from there."),
        (lambda x: np.zeros_like(x), "Everything is 0. The scale starts at 1."),
        (lambda x: normed(x) + 1, "The shift starts at 0."),
    ]
    hint = "(x - mean) / sqrt(variance + eps), for each row by itself. The scale starts at 1."
    require_own(LayerNorm, "LayerNorm", 4)
    for T, D in [(3, 4), (1, 5), (4, 3), (5, 5)]:
        x = rng.normal(size=(T, D)) * 20 + 10
        with case(f"x of shape ({T}, {D})"):
            # eps may be small or large: hence the tolerance
            expect_close(Part(LayerNorm, D)(x), normed(x), tol=1e-3, hint=hint, mistakes=[
                (lambda f=f: f(x), text) for f, text in mistakes
            ])
    with case("a row of equal numbers"):
        part = Part(LayerNorm, 3)
        text = "eps is missing under the root: the variance of equal numbers is 0, 0 / 0 is NaN."
        try:
            got = part(np.array([[2.0, 2.0, 2.0], [1.0, 2.0, 4.0]]))
        except ZeroDivisionError as error:
            raise Miss(f"ZeroDivisionError: {error}", [text]) from None
        expect(np.isfinite(got).all(), "there is a NaN or an infinity in the result", text)
        expect_close(got[0], np.zeros(3), "the row of equal numbers", tol=1e-6, hint=hint)
    with case("eps under the root"):
        part, pattern = Part(LayerNorm, 4), np.array([[1.0, -1.0, 1.0, -1.0]])
        found = []
        for variance in (1e-5, 1e-7):
            size = float(np.abs(part(pattern * math.sqrt(variance))).mean())
            found.append(variance * (size**-2 - 1) if size else math.inf)  # eps, if under the root
        expect(min(found) > 1e-13, "rows of tiny numbers come out as large as others", (
            "eps is missing under the root: sqrt(variance + eps) with eps = 1e-5."
        ))
        expect(max(found) < 2e-4, "rows of tiny numbers come out too small", "eps is 1e-5.")
        expect(max(found) < 3 * min(found), "eps does not stand under the root", (
            "sqrt(variance + eps), not sqrt(variance) + eps."
        ))
        expect(min(found) > 5e-7, "rows of tiny numbers come out too large", "eps is 1e-5.")
    with case("a learnt scale, and a shift if there is one"):
        part = _randomised(rng, Part(LayerNorm, 4))
        expect(part.count() in (4, 8), (
            f"LayerNorm(4) has {part.count()} numbers in its parameters"
        ), "A scale for each of the dim columns, and a shift for each.")
        kept = np.concatenate([leaf.get().ravel() for leaf in part.params])
        x = rng.normal(size=(6, 4))
        got, expected = part(x), normed(x)
        for column in range(4):
            line = np.polynomial.Polynomial.fit(expected[:, column], got[:, column], 1).convert()
            shift, scale = np.resize(line.coef, 2)
            expect(np.abs(line(expected[:, column]) - got[:, column]).max() < 1e-3, (
                f"column {column} is not a scale times the normed numbers plus a shift"
            ), "First norm, then scale, then shift: normed * weight + bias.")
            expect(abs(scale - 1) > 1e-3 or np.abs(kept - 1).min() < 1e-3, (
                "the scale in the parameters changes nothing"
            ), "normed * weight + bias, with weight and bias from the parameters.")
            known = np.abs(kept - scale).min() < 1e-2 and np.abs([*kept, 0.0] - shift).min() < 1e-2
            expect(known, (
                f"column {column} is scaled by {scale:.4f} and shifted by {shift:.4f}, and these "
                "numbers are not in the parameters"
            ), "normed * weight + bias: the shift is not scaled, and both are really used.")
        if part.count() == 8:
            still = _randomised(rng, part)(np.full((1, 4), 3.0))
            expect(np.abs(still).min() > 1e-6, "the shift changes nothing", "... plus bias.")
    if not case.missed:
        _all_listed(case, LayerNorm, 4)
        _slopes(case, "gradients", _randomised(rng, Part(LayerNorm, 4)), rng.normal(size=(3, 4)))


# ---- 3. feed-forward ----------------------------------------------------------------------------


def _zeros_give_zero(case, kind: Callable, *sizes: int) -> None:
    with case("all parameters 0"):
        got = Part(kind, *sizes).fill(np.zeros)(case.rng.normal(size=(3, sizes[0])))
        expect(np.isfinite(got).all(), "there is a NaN or an infinity in the result", _NOTHING_LEFT)
        expect(not got.any(), "the result is not 0", (
            "No residual here: the block adds it. This part gives only what is to be added."
        ))


@check(
    lesson="ps7",
    expects="a class `FeedForward(embed_dim)`: called with x (T, D) it gives (T, D): linear to 4 D "
    "numbers, an activation, linear back to D",
    not_tested=_BATCH + "; which activation it is",
    seconds=30,
)
def ps7_feed_forward(case, FeedForward):
    rng = case.rng
    require_own(FeedForward, "FeedForward", 4)
    with case("(T, D) in, (T, D) out"):
        for T, D in [(3, 4), (1, 3), (4, 6)]:
            got = Part(FeedForward, D)(rng.normal(size=(T, D)))
            expect_equal(list(got.shape), [T, D], "the shape of the result", hint=(
                "The second linear layer leads back to D."
            ))
    if not case.missed:
        _all_listed(case, FeedForward, 4)
    with case("a hidden layer that is wider than D"):
        part = Part(FeedForward, 4)
        part.need_parameters()
        expect(part.count() >= 2 * 4 * 16, (
            f"FeedForward(4) has {part.count()} numbers in its parameters"
        ), "Two matrices, (D, 4 D) and (4 D, D).")
    _zeros_give_zero(case, FeedForward, 4)
    with case("other parameters, another result"):
        x = rng.normal(size=(3, 4))
        one, other = (_randomised(rng, Part(FeedForward, 4))(x) for _ in range(2))
        expect(not np.allclose(one, other), "two of them with different parameters agree", (
            "Use the parameters: x times the first matrix, the activation, times the second."
        ))
    with case("another input, another result"):
        part = _randomised(rng, Part(FeedForward, 4))
        one, other = part(rng.normal(size=(3, 4))), part(rng.normal(size=(3, 4)))
        expect(not np.allclose(one, other), "two different inputs give the same result", (
            "The result must depend on x."
        ))
    with case("every position by itself"):
        part = _randomised(rng, Part(FeedForward, 4))
        x = rng.normal(size=(4, 4))
        expected = np.concatenate([part(x[t : t + 1]) for t in range(4)])
        expect_close(part(x), expected, tol=1e-6, hint=(
            "Each row of the result comes from the same row of x alone. Positions meet only in "
            "attention."
        ))
    with case("it is not linear"):
        part = _randomised(rng, Part(FeedForward, 4))
        one, two = rng.normal(size=(2, 3, 4)) * 3
        both, none = part(one + two), part(0 * one)
        gap = np.abs(part(one) + part(two) - both - none).max()
        expect(gap > 1e-6 * np.abs(both).max(), "f(a) + f(b) is f(a + b) + f(0): it is linear", (
            "The activation between the two layers is missing. Without it two linear layers are "
            "no more than one."
        ))
    with case("no activation at the end"):
        part = _randomised(rng, Part(FeedForward, 4))
        x = rng.normal(size=(8, 4)) * 1e3
        got = part(np.concatenate([x, -x]))
        expect(min(-got.min(), got.max()) > 0.02 * np.abs(got).max(), (
            "the results of many inputs all lie on one side of 0"
        ), "The activation stands between the layers, not after the second one.")
    if case.missed:
        return
    _slopes(case, "gradients", _randomised(rng, Part(FeedForward, 4)), rng.normal(size=(2, 4)))


# ---- 4. the loss --------------------------------------------------------------------------------


@check(
    lesson="ps7",
    expects="a function `cross_entropy_loss(logits, targets)`: logits (T, V) and a list of T ids "
    "in, one number out",
    not_tested="a batch axis; bad inputs; speed",
    in_place=True,
    seconds=30,
)
def ps7_cross_entropy_loss(case, cross_entropy_loss):
    rng = case.rng
    require_own(cross_entropy_loss, "cross_entropy_loss")

    def loss(z, y):
        return -np.mean([row[t] for row, t in zip(log_softmax(z), y)] or math.nan)

    def probs(z):
        return np.exp(log_softmax(z))

    def at(table, y):
        return table[np.arange(len(y)), y]

    mistakes = [
        (lambda z, y: loss(z, y) * len(y), "That is the sum. Take the mean over the positions."),
        (lambda z, y: -loss(z, y), "The minus sign is missing: a loss is not negative."),
        (lambda z, y: loss(z, y) / np.log(2), "That is in bits. Take the natural logarithm."),
        (lambda z, y: at(log_softmax(z.T).T, y).mean() * -1, "The softmax runs down the columns. "
         "It runs along each row, over the V characters."),
        (lambda z, y: -at(z, y).mean(), "The softmax is missing: logits are not probabilities."),
        (lambda z, y: -at(probs(z), y).mean(), "The logarithm is missing."),
        (lambda z, y: -np.log(at(probs(z), y).mean()), "First the logarithm, then the mean."),
        (lambda z, y: loss(z[:-1], y[1:]), "The targets come shifted already. Row t of the logits "
         "belongs to targets[t]."),
        (lambda z, y: loss(z[1:], y[:-1]), "The targets come shifted already. Row t of the logits "
         "belongs to targets[t]."),
        (lambda z, y: loss(z[:-1], y[1:]) * (1 - 1 / len(y)), "The targets come shifted already. "
         "Row t of the logits belongs to targets[t]."),
        (lambda z, y: loss(z, y) * len(y) / z.shape[1], "You divide by V. The mean runs over the T "
         "positions."),
        (lambda z, y: loss(z[-1:], y[-1:]), "That is the loss at the last position. Take the mean "
         "over all."),
        (lambda z, y: loss(z[:1], y[:1]), "That is the loss at the first position. Take the mean "
         "over all: is the `return` inside the loop?"),
        (lambda z, y: loss(z[:-1], y[:-1]), "The last position is left out."),
        (lambda z, y: loss(z, y) * len(y) / z.size, "You divide by T V. The mean runs over the T "
         "positions."),
        (lambda z, y: loss(probs(z), y), "The softmax is taken twice."),
        *((lambda z, y, e=e: -np.log(at(probs(z), y) + e).mean(), _NOTHING_ADDED)
          for e in (1e-5, 1e-4, 1e-3, 1e-2)),
        (lambda z, y: -log_softmax(z).mean(), "The mean runs over all characters. Only that of "
         "the target counts."),
        (lambda z, y: loss(z, y) / np.log(10), "Take the natural logarithm, not that to base 10."),
        (lambda z, y: -(probs(z) * log_softmax(z)).sum(-1).mean(), "That is the entropy of the "
         "model. Only the logarithm at the target counts."),
    ]
    ways = forms([], value_classes(cross_entropy_loss))
    z, y = rng.normal(size=(3, 4)), [2, 0, 3]

    def call(way):
        return cross_entropy_loss(way(z), list(y))

    def fits(got):
        return got.size == 1 and abs(got.item() - loss(z, y)) < 1e-5

    try:
        way = first_that_fits(ways, call, fits)
    except (Exception, NotDone):
        way = ways[0]

    def value(z, y):
        given = list(y)
        got = read(cross_entropy_loss(way(z), given))
        expect(given == list(y), "your function changes the list of targets", "Work on a copy.")
        expect(got.size == 1, f"expected one number, got shape {got.shape}", (
            "One loss for each position: take their mean."
        ))
        return float(got.reshape(-1)[0])

    for T, V in [(4, 6), (3, 3), (1, 3), (5, 2)]:
        z, y = rng.normal(size=(T, V)) * 2, rng.integers(0, V, size=T).tolist()
        with case(f"T={T}, V={V}"):
            expect_close(value(z, y), loss(z, y), tol=1e-5, hint=(
                "For each row: softmax, minus the logarithm at the target. Then the mean."
            ), mistakes=[(lambda f=f: f(z, y), text) for f, text in mistakes])
    with case("equal logits"):
        expect_close(value(np.zeros((2, 5)), [1, 4]), math.log(5), tol=1e-5, hint=(
            "Five equally likely characters: each has the chance 1/5."
        ))
    with case("large logits"):
        z, y = np.array([[1000.0, 1001.0, 999.0], [-1000.0, -1001.0, -1000.5]]), [1, 2]
        text = (
            "exp of a large number overflows. Subtract the largest logit of the row first: the "
            "softmax stays the same."
        )
        try:
            got = value(z, y)
        except _TROUBLE as error:
            raise Miss(f"for logits near 1000 {_said(error)}", [text]) from None
        expect(math.isfinite(got), "for logits near 1000 the loss is NaN or infinite", text)
        expect_close(got, loss(z, y), "logits near 1000", tol=1e-4, hint=text)
    with case("a sure mistake costs its whole price"):
        for size in (12.0, 30.0):
            z = np.array([[size, 0.0, -1.0]])
            expect_close(value(z, [1]), loss(z, [1]), tol=1e-4, hint=_NOTHING_ADDED)
    _loss_slopes(case, cross_entropy_loss, way, ways)


def _loss_slopes(case, loss_of: Callable, way: Callable, ways: list[Callable]) -> None:
    z, y = case.rng.normal(size=(3, 4)), [2, 0, 2]
    try:
        given = way(z)
        wants_gradient(Leaf(given))
        loss = loss_of(given, y)
    except Exception:
        return
    logits = Leaf(given)
    if not any(hasattr(value, "backward") for value in logits.values()):
        return
    if not hasattr(loss, "backward"):
        try:
            loss_of(np.array(z), y)
            return  # written for arrays without gradients
        except Exception:
            pass
    with case("gradients: softmax minus one-hot"):
        expect(hasattr(loss, "backward"), "the loss is a plain number, it has no backward()", (
            "Compute with the values themselves, not with their `.data`. Only the largest logit of "
            "a row may come from `.data`: subtracting it changes nothing."
        ))
        clear([logits], {})
        loss.backward()
        expected = (np.exp(log_softmax(z)) - np.eye(4)[y]) / 3
        expect_close(logits.grad(), expected, tol=1e-5, hint=(
            "Every logit takes part: the target's in the numerator, all of them in the sum."
        ))


# ---- 5. attention -------------------------------------------------------------------------------


def _scale(kind: Callable, D: int, H: int) -> float:
    """The factor before q . k, times the head's dimension, measured from outside.

    With every parameter equal to c a row x has q = k = v = c (sum(x) + bias) in each dimension.
    For the rows 0 and (s/D, ..., s/D) the log odds of their weights are K c^2 (s + bias) s with
    K = factor * dimension. Two values of s give K.
    """
    c, slopes = 0.4, []
    part = Part(kind, D, H).fill(lambda shape: np.full(shape, c))
    for s in (1.0, 2.0):
        x = np.array([[0.0] * D, [s / D] * D])
        low, high, mixed = (part(x[:1])[0, 0], part(x[1:])[0, 0], part(x)[1, 0])
        expect(abs(high - low) > 1e-9, "the result does not depend on the values", (
            "The weights are used to take a mean of the values: weights @ v."
        ))
        weight = (mixed - low) / (high - low)
        expect(1e-14 < weight < 1 - 1e-14, (
            "the result of two positions does not lie between those of each alone"
        ), "The weights of a row are positive and sum to 1: a softmax along the keys.")
        slopes.append(math.log(weight / (1 - weight)) / s)
    return (slopes[1] - slopes[0]) / c**2


@check(
    lesson="ps7",
    expects="a class `SelfAttention(embed_dim, num_heads)` with `forward(x, causal=True)`: x "
    "(T, D) in, (T, D) out",
    not_tested=_BATCH + "; that more than one head works apart",
    seconds=40,
)
def ps7_self_attention(case, SelfAttention):
    rng = case.rng
    require_own(SelfAttention, "SelfAttention", 4, 1)
    with case("(T, D) in, (T, D) out"):
        for T, D, H in [(3, 4, 1), (1, 4, 2), (5, 6, 1), (4, 6, 3)]:
            got = Part(SelfAttention, D, H)(rng.normal(size=(T, D)))
            expect_equal(list(got.shape), [T, D], "the shape of the result", hint=(
                "As many rows as positions, as wide as the input."
            ))
    _zeros_give_zero(case, SelfAttention, 4, 2)
    for D, H in [(4, 1), (6, 2)]:
        with case(f"the future changes nothing, {H} {'head' if H == 1 else 'heads'}"):
            part = _randomised(rng, Part(SelfAttention, D, H))
            x = rng.normal(size=(5, D))
            for keep in (1, 3, 4):
                _causal(case, part, x, keep, lambda rows: rows + rng.normal(size=rows.shape))
    with case("large scores"):
        for keep in [1, 2, 1, 3, 1, 2, 1, 3]:  # a finite mask leaks where all scores are below it
            part = _randomised(rng, Part(SelfAttention, 4, 1))
            x = rng.normal(size=(4, 4)) * 150
            _no_overflow(lambda: part(x), "scores of some thousands")
            _causal(case, part, x, keep, lambda rows: -1.5 * rows, tol=1e-9)
    with case("the weights of a row sum to 1"):
        part = _randomised(rng, Part(SelfAttention, 4, 2))
        row = rng.normal(size=(1, 4))
        for causal in (True, False):
            expected = np.repeat(part(row, causal=causal), 4, axis=0)
            expect_close(part(np.repeat(row, 4, axis=0), causal=causal), expected, tol=1e-6, what=(
                "the mean of equal values is that value, at every position"
            ), hint="The softmax runs along the keys, after the mask, and nothing follows it.")
    with case("causal=False looks at all, in any order"):
        part = _randomised(rng, Part(SelfAttention, 4, 2))
        x, order = rng.normal(size=(5, 4)), [3, 0, 4, 1, 2]
        expect_close(part(x), part(x, causal=True), hint="The mask is on unless told otherwise.")
        free = part(x, causal=False)
        expect(np.abs(free[0] - part(x)[0]).max() > 1e-9, "the first position sees only itself", (
            "With causal=False nothing is masked."
        ))
        expect_close(part(x[order], causal=False), free[order], tol=1e-6, hint=(
            "Without a mask other places of the rows only move the rows of the result. Is "
            "something reshaped that should be transposed?"
        ))
        expect_close(part(x[[2, 0, 3, 1, 4]])[4], part(x)[4], tol=1e-6, hint=(
            "The last position looks at all before it, whatever their order."
        ))
    for D, H in [(4, 1), (9, 1), (8, 2)]:
        with case(f"the scale, D={D}, {H} {'head' if H == 1 else 'heads'}"):
            got, d = _scale(SelfAttention, D, H), D // H
            right = [math.sqrt(d), math.sqrt(D)]  # the second: one head, whatever num_heads says
            wrong = [
                (d, "The scale is missing: divide the scores by the root of the head's dimension."),
                (D, "The scale is missing: divide the scores by the root of the head's dimension."),
                (1.0, "You divide by the dimension. Divide by its root."),
                (d / D, "You divide by the dimension. Divide by its root."),
                (d / math.sqrt(D), "With several heads the dimension of a head counts, D / H."),
                (d * math.sqrt(d), "You multiply by the root. Divide."),
                (D * math.sqrt(D), "You multiply by the root. Divide."),
                (0.0, "The scores do not count: every position gets the same weight."),
            ]
            hints = [text for value, text in wrong if abs(got - value) < 1e-2 * (1 + value)]
            expect(any(abs(got - value) < 1e-2 * value for value in right), (
                f"the scores are {got / right[0]:.4f} times as large as they should be"
            ), [*hints, "Divide q . k by the root of the head's dimension, before the softmax."][0])
    with case("queries, keys and values"):
        part = _randomised(rng, Part(SelfAttention, 4, 1))
        expect(part.count() >= 3 * 16, (
            f"SelfAttention(4, 1) has {part.count()} numbers in its parameters"
        ), "Queries, keys and values have a matrix each.")
        _all_used(part, rng.normal(size=(4, 4)), rng)
    if case.missed:
        return
    _all_listed(case, SelfAttention, 4, 1)
    _slopes(case, "gradients", _randomised(rng, Part(SelfAttention, 4, 1)), rng.normal(size=(3, 4)))


# ---- 6. the block -------------------------------------------------------------------------------


@check(
    lesson="ps7",
    expects="a class `TransformerBlock(embed_dim, num_heads)`: x (T, D) in, (T, D) out: x plus "
    "attention of the normed x, then that plus feed-forward of it normed",
    not_tested=_BATCH + "; that both norms have parameters of their own, if "
    "no scale starts at 1",
    seconds=40,
)
def ps7_transformer_block(case, TransformerBlock):
    rng = case.rng
    require_own(TransformerBlock, "TransformerBlock", 4, 1)
    with case("(T, D) in, (T, D) out"):
        for T, D, H in [(3, 4, 1), (1, 4, 2), (4, 6, 3)]:
            got = Part(TransformerBlock, D, H)(rng.normal(size=(T, D)))
            expect_equal(list(got.shape), [T, D], "the shape of the result")
    with case("all parameters 0: x passes unchanged"):
        part = Part(TransformerBlock, 4, 1).fill(np.zeros)
        x = rng.normal(size=(3, 4))
        got = part(x)
        lost = not got.any()
        expect_close(got, x, tol=1e-9, hint=(
            "A residual is missing, or it starts from a normed copy, or the sum is normed: "
            "x = x + layer(norm(x)), twice." if lost else
            "With all parameters 0 the two parts add nothing: x = x + layer(norm(x)), twice."
        ))

    def made():
        return _randomised(rng, Part(TransformerBlock, 4, 1))

    with case("the future changes nothing"):
        part, x = made(), rng.normal(size=(5, 4))
        for keep in (1, 3, 4):
            _causal(case, part, x, keep, lambda rows: rows + rng.normal(size=rows.shape))
    with case("positions look at each other"):
        part, x = made(), rng.normal(size=(3, 4))
        other = np.concatenate([rng.normal(size=(1, 4)), x[1:]])
        expect(np.abs(part(x)[1:] - part(other)[1:]).max() > 1e-6, (
            "another first row changes nothing in the rows after it"
        ), "Attention is missing.")
    with case("a shift of a row passes through"):
        part, x = made(), rng.normal(size=(3, 4))
        expect_close(part(x + 7.0) - 7.0, part(x), tol=1e-5, hint=(
            "Both parts read a normed copy, for which a constant added to x makes no difference. "
            "Is a norm missing, or does it not subtract the mean?"
        ))
    with case("what is added does not grow with x"):
        part, x = made(), rng.normal(size=(3, 4))
        one, two = (part(x * size) - x * size for size in (300.0, 3000.0))
        expect_close(two, one, tol=0.2 * float(np.abs(one).max()) + 1e-9, hint=(
            "Both parts read a normed copy, which is as large for a small x as for a large one. A "
            "norm is missing."
        ))
    with case("what attention adds is kept"):
        part, x = made(), rng.normal(size=(3, 4))
        other = np.concatenate([rng.normal(size=(1, 4)), x[1:]])
        one, two = (part(rows * 3000.0) - rows * 3000.0 for rows in (x, other))
        expect(np.abs(one[1:] - two[1:]).max() > 0.01 * np.abs(one).max(), (
            "for long rows, another first row changes nothing in the rows after it"
        ), "x = x + attention(norm(x)): the second half adds to this x, not to the first one.")
    with case("attention comes first, and reads x normed"):
        part, x = made(), rng.normal(size=(3, 4))
        longer = x * np.array([[40.0], [1.0], [1.0]])
        scale = float(np.abs(part(x)).max())
        expect(np.abs(part(longer)[1:] - part(x)[1:]).max() < 0.02 * scale, (
            "with a longer first row, of the same direction, the rows after it change"
        ), "Attention reads norm(x), before feed-forward has added anything. Are the two swapped?")
    with case("feed-forward reads what attention has left"):
        part, x = made(), rng.normal(size=(6, 4))
        one, two = (part(x * size) - x * size for size in (1.0, 3000.0))
        expect(np.abs(one - two).max() > 0.01 * np.abs(one).max(), (
            "what is added is the same for x and for 3000 x"
        ), "Feed-forward is missing, or it reads the same x as attention. It reads the sum: "
           "x = x + attention(norm(x)), and then x = x + feed_forward(norm(x)).")
    with case("feed-forward is there"):
        part = made()
        x = rng.normal(size=(40, 4)) * 100
        added = np.concatenate([part(row[None]) for row in x]) - x  # one position each
        left = x - x.mean(axis=-1, keepdims=True)
        normed = left / np.sqrt(left.var(axis=-1, keepdims=True) + 1e-5)
        known = np.concatenate([normed, np.ones((40, 1))], axis=1)
        rest = added - known @ np.linalg.lstsq(known, added, rcond=None)[0]
        expect(np.abs(rest).max() > 0.01 * np.abs(added).max(), (
            "for one position what is added is linear in the normed x"
        ), "Feed-forward is missing, or it has no activation.")
    with case("each half has a norm of its own"):
        part, x = Part(TransformerBlock, 4, 1), rng.normal(size=(3, 4))
        fresh = [leaf.get() for leaf in part.params]
        ones = sum(int((start == 1.0).sum()) for start in fresh)  # the scales, as they begin
        expect(ones != 4, "there is one scale only", "Make two norms, one for each half.")
        _randomised(rng, part)
        before = part(x)
        for leaf, start in zip(part.params, fresh):
            if (start == 1.0).all():
                kept = leaf.get()
                leaf.set(kept * 3.0)
                expect(np.abs(part(x) - before).max() > 1e-9, "a scale changes nothing in the "
                       "result", "Is one norm made, but not used? Each half has its own.")
                leaf.set(kept)
    if case.missed:
        return
    _all_listed(case, TransformerBlock, 4, 1)
    _slopes(case, "gradients", made(), rng.normal(size=(3, 4)))


# ---- 7. the model -------------------------------------------------------------------------------

_SIZES = (7, 4, 1, 1, 5)  # V, D, heads, layers, max_seq_len: a position table has 5 x 4 numbers


@check(
    lesson="ps7",
    expects="a class `MiniGPT(vocab_size, embed_dim, num_heads, num_layers, max_seq_len)`: called "
    "with a list of T ids it gives logits (T, V); `.max_seq_len` is kept",
    not_tested=_BATCH + "; more ids than max_seq_len",
    seconds=60,
)
def ps7_mini_gpt(case, MiniGPT):
    rng = case.rng
    require_own(MiniGPT, "MiniGPT", *_SIZES)
    with case("T ids in, logits (T, V) out"):
        for V, D, H, N, S, T in [(7, 4, 1, 1, 5, 5), (5, 4, 2, 2, 3, 1), (3, 6, 1, 1, 6, 4)]:
            part = Part(MiniGPT, V, D, H, N, S)
            got = _with_ids(part, rng.integers(0, V, size=T).tolist())
            expect_equal(list(got.shape), [T, V], "the shape of the logits", hint=(
                "One row for each position, in it one logit for each character."
            ))
            expect(getattr(part.module, "max_seq_len", None) == S, (
                f"model.max_seq_len is {getattr(part.module, 'max_seq_len', 'not there')}"
            ), "Keep it: self.max_seq_len = max_seq_len. generate() needs it.")

    def made(*sizes):
        part = _randomised(rng, Part(MiniGPT, *(sizes or _SIZES)))
        _with_ids(part, [0])
        return part

    with case("logits, not probabilities"):
        got = made()(_ids_like([1, 2, 6, 0]))
        sums = np.abs(got.sum(axis=-1) - 1).max()
        expect(sums > 1e-6 or got.min() < 0, "each row is positive and sums to 1", (
            "The model ends in logits. The softmax is taken in the loss and in generation."
        ))
    with case("the future changes nothing"):
        part, ids = made(7, 4, 1, 2, 5), rng.integers(0, 7, size=5)
        for keep in (1, 3, 4):
            _causal(case, part, ids, keep, lambda rows: (rows + 1 + rng.integers(0, 6)) % 7)
    with case("every character counts"):
        part = made()
        one, other = part(_ids_like([1, 2, 3])), part(_ids_like([4, 2, 3]))
        expect(np.abs(one - other).max(axis=1).min() > 1e-9, (
            "another first character does not change all rows"
        ), "Each position sees itself and all before it, through the attention in the blocks: "
           "x = block(x).")
    with case("every position is another one"):
        part = made()
        rows = part(_ids_like([2, 2, 2, 2, 2]))
        gaps = [np.abs(rows[i] - rows[j]).max() for i in range(5) for j in range(i)]
        expect(min(gaps) > 1e-9, "for five equal ids two rows are the same", (
            "The position embedding is missing, or it is looked up by the ids. Position t takes "
            "row t, whatever character stands there."
        ))
        one, other = part(_ids_like([1, 3, 2])), part(_ids_like([3, 1, 2]))
        expect(np.abs(one[2] - other[2]).max() > 1e-9, "the order of the characters before does "
               "not count", "Token plus position embedding, at the entry of the first block.")
        expect_close(part(_ids_like([1, 3])), one[:2], tol=1e-6, what="the first rows of a longer "
                     "text", hint="Positions count from 0, at the beginning of the text.")
        tables = [leaf for leaf in part.params if leaf.size == 20]  # 5 positions, 4 numbers each
        if len(tables) == 1:
            tables[0].set(np.zeros_like(tables[0].get()))
            expect(np.abs(part(_ids_like([1])) - part(_ids_like([3]))).max() > 1e-9, (
                "with a position table of zeros all characters are the same"
            ), "The two embeddings are added: token plus position.")
    with case("every parameter counts"):
        _all_used(made(3, 4, 1, 2, 4), _ids_like([0, 1, 2, 0]), rng)
    _all_listed(case, MiniGPT, *_SIZES)
    with case("num_layers blocks, each with its own parameters"):
        counts = [made(7, 4, 1, N, 5).count() for N in (1, 2, 3)]
        expect(counts[0] < counts[1] and counts[2] - counts[1] == counts[1] - counts[0], (
            f"for 1, 2, 3 layers there are {counts} numbers in the parameters"
        ), "Make num_layers blocks in a loop. `[block] * n` is n times the same block.")
    with case("a final norm"):
        part = made()
        sizes = [leaf.size for leaf in part.params]
        if sizes.count(20) == 1:  # the table of the positions
            leaf = part.params[sizes.index(20)]
            start, tops = leaf.get(), []
            for size in (1e3, 1e5):
                leaf.set(start * size)
                tops.append(float(np.abs(part(_ids_like([1, 2, 3]))).max()))
            expect(tops[1] < 20 * tops[0] + 1e-9, (
                "a hundred times longer embeddings make the logits larger, too"
            ), "The final norm is missing: it stands between the last block and the head.")
    with case("an untrained model is unsure"):
        losses = []
        for _ in range(2):
            part = Part(MiniGPT, 7, 16, 1, 1, 2)
            losses.append(-log_softmax(_with_ids(part, [0, 6])).mean())  # over all targets
        first = float(np.mean(losses))
        expect(first < math.log(7) + 1, (
            f"its loss is {first:.2f}, and that of a uniform guess {math.log(7):.2f}"
        ), "Start with smaller random weights, above all in the head.")
    if not case.missed:
        _slopes(case, "gradients", made(5, 4, 1, 1, 4), _ids_like([1, 4, 0]), ids=True)


# ---- 8. generation ------------------------------------------------------------------------------


class _Fake:
    """A model whose logits are known: row t depends on the last three of the ids up to t."""

    def __init__(self, table: np.ndarray, max_seq_len: int, form: Callable) -> None:
        self.table, self.max_seq_len, self.form = table, max_seq_len, form
        self.vocab_size = table.shape[-1]
        self.lengths: list[int] = []

    def logits(self, ids: list[int]) -> np.ndarray:
        window = [0, 0, 0, *ids]
        return np.array([self.table[tuple(window[t + 1 : t + 4])] for t in range(len(ids))])

    def __call__(self, ids: object) -> object:
        ids = read(ids).astype(int)
        one_text = ids.reshape(-1)
        if ids.ndim > 2 or (ids.ndim == 2 and len(ids) != 1) or one_text.size == 0:
            raise ValueError(f"the model takes one list of ids, not shape {ids.shape}")
        if one_text.size > self.max_seq_len:
            raise _TooLong(f"{one_text.size} ids are more than max_seq_len={self.max_seq_len}")
        self.lengths.append(one_text.size)
        logits = self.logits(one_text.tolist())
        return self.form(logits if ids.ndim == 1 else logits[None])

    forward = __call__

    def parameters(self) -> list:
        return []


class _TooLong(ValueError):
    """The model was asked with more ids than it takes."""


def _takes(generate: Callable, name: str) -> bool:
    try:
        names = inspect.signature(generate).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.name == name or p.kind is p.VAR_KEYWORD for p in names)


def _generate(
    generate: Callable, model: _Fake, start: list[int], n: int, *,
    seed: int = 0, global_seed: int | None = None, strict: bool = True, **options: object,
) -> list[int]:
    """The student's ids. Generators are seeded: theirs if they take one, and the global ones."""
    given = list(start)
    random.seed(seed if global_seed is None else global_seed)
    np.random.seed(seed if global_seed is None else global_seed)
    generators = [np.random.default_rng, random.Random] if _takes(generate, "rng") else [None]
    for generator in generators:
        more = {"rng": generator(seed)} if generator else {}
        try:
            got = generate(model, given, n, **options, **more)
            break
        except (AttributeError, TypeError):
            if generator is generators[-1]:
                raise
    expect(given == list(start) or not strict, "your function changes the list of start ids", (
        "Begin with a copy: ids = list(start_ids)."
    ))
    ids = read(got)
    ids = ids[0] if ids.ndim == 2 and len(ids) == 1 else ids
    expect(ids.ndim == 1 and np.array_equal(ids, np.trunc(ids)), (
        f"expected one list of whole numbers, got {got!r:.60}"
    ), "Return the ids: the start and the new ones.")
    return ids.astype(int).tolist()


@check(
    lesson="ps7",
    expects="a function `generate(model, start_ids, max_new_tokens, temperature=1.0, top_k=None, "
    "rng=None)` that gives the start ids and the new ones in one list",
    not_tested="bad inputs; speed; top_k, if your function has none",
    in_place=True,
    seconds=40,
)
def ps7_generate(case, generate):
    rng = case.rng
    require_own(generate, "generate")
    table = rng.normal(size=(5, 5, 5, 5))

    def greedy(start, n, crop, row=-1, table=table):
        ids = list(start)
        for _ in range(n):
            logits = _Fake(table, 99, np.array).logits(crop(ids))
            ids.append(int(logits[row].argmax()))
        return ids

    def tail(size):
        return lambda ids: ids[-size:]

    ways = forms([], value_classes(generate))
    probe = greedy([1, 2], 3, tail(9))

    def tried(way):
        _generate(generate, _Fake(table, 9, way), [1, 2], 3, strict=False)
        return _generate(generate, _Fake(table, 9, way), [1, 2], 3, strict=False, temperature=0)

    try:
        form = first_that_fits(ways, tried, lambda got: got.tolist() == probe)
    except (Exception, NotDone):
        try:
            form = first_that_fits(
                ways,
                lambda way: _generate(generate, _Fake(table, 9, way), [1, 2], 3, strict=False),
                lambda got: got.tolist()[:2] == [1, 2],
            )
        except (Exception, NotDone):
            form = ways[0]

    def model(size=9, table=table):
        return _Fake(table, size, form)

    with case("the start, then the new ids"):
        for start, n in [([3], 4), ([1, 4, 2], 1), ([2, 2], 0)]:
            got = _generate(generate, model(), start, n)
            expect(got[: len(start)] == start and len(got) == len(start) + n, (
                f"from {len(start)} start ids and {n} new ones came {len(got)} ids: {got}"
            ), "The result is start + new, and the loop runs max_new_tokens times.")
            expect(set(got) <= set(range(5)), f"there are ids outside of 0 to 4: {got}")
    with case("temperature 0 takes the likeliest"):
        for start, n in [([3], 5), ([1, 4, 2], 6)]:
            try:
                got = _generate(generate, model(), start, n, temperature=0)
            except _TROUBLE as error:
                raise Miss(f"at temperature 0 {_said(error)}", [
                    "Nothing can be divided by 0. At temperature 0 take the id of the largest "
                    "logit."
                ]) from None
            expect_equal(got, greedy(start, n, tail(9)), f"from {start}", mistakes=[
                (lambda: greedy(start, n, tail(9), row=0), "You read the first row. The last one "
                 "says what follows."),
                (lambda: greedy(start, n, tail(1)), "You give the model only the last id. It reads "
                 "all of them."),
                (lambda: start + greedy(start, 1, tail(9))[-1:] * n, "The new id is not appended "
                 "before the model is asked again."),
                (lambda: greedy(start, n, tail(9), table=-table), "That is the least likely one."),
            ], hint="The largest logit of the last row; append its id; ask again.")
    with case("equal logits: the lowest id"):
        got = _generate(generate, model(table=np.zeros((5, 5, 5, 5))), [3], 3, temperature=0)
        expect_equal(got, [3, 0, 0, 0], hint="Of equal logits the first one counts.")
    _generate_window(case, generate, model, greedy, tail)
    _generate_draws(case, generate, form)


def _generate_window(case, generate, model, greedy, tail) -> None:
    with case("the model sees its last max_seq_len ids"):
        for size, start, n in [
            (2, [1, 4, 2], 6), (3, [3], 8), (1, [2, 0], 5), (3, [4, 1, 0, 2], 4)
        ]:
            asked = model(size)
            try:
                got = _generate(generate, asked, start, n, temperature=0)
            except _TooLong as error:
                raise Miss(str(error), ["Crop before you ask: ids[-model.max_seq_len:]."]) from None
            expect_equal(got, greedy(start, n, tail(size)), f"max_seq_len={size}, from {start}",
                         mistakes=[
                (lambda: greedy(start, n, lambda ids: ids[:size]), "The window is the beginning of "
                 "the text. The model should read its end: ids[-max_seq_len:]."),
                (lambda: greedy(start, n, tail(max(1, size - 1))), "The window is one id too "
                 "short."),
                (lambda: greedy(start[-size:], n, tail(size)), "Crop only what the model reads. "
                 "The result holds all ids."),
            ], hint="The last max_seq_len ids, and of the logits the last row.")


def _generate_draws(case, generate, form) -> None:
    z = case.rng.permutation([2.0, 1.2, 0.4, -0.6, -2.0])
    known = np.broadcast_to(z, (5, 5, 5, 5))

    def probs(z):
        return np.exp(log_softmax(z))

    def top(k):
        return np.where(z >= np.sort(z)[-k], z, -1e9) if 0 < k <= 5 else z

    def drawn(n, seed=1, **options):
        got = _generate(generate, _Fake(known, 2, form), [0], n, seed=seed, **options)[1:]
        return np.bincount(got, minlength=5) / n

    def agrees(share, expected, n):
        return bool((np.abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / n) + 1e-3
                     ).all())

    n = 600
    for T in (1.0, 0.5, 2.0):
        with case(f"drawn by chance, temperature {T:g}"):
            share, expected = drawn(n, temperature=T), probs(z / T)
            others = [
                (probs(z * T), "You multiply by the temperature. Divide the logits by it."),
                (probs(z), "The temperature is not used."),
                (np.full(5, 0.2), "All ids are drawn equally often. Draw with the probabilities."),
                (np.eye(5)[z.argmax()], "It is always the likeliest. Draw by chance."),
                (probs(probs(z) / T), "The softmax is taken twice."),
                (probs(probs(z / T)), "The softmax is taken twice."),
                (probs(z / T**2), "The temperature is divided by twice."),
                (probs(-z / T), "The signs are turned: the least likely comes most often."),
            ]
            if not agrees(share, expected, n):
                hints = [text for wrong, text in others if agrees(share, wrong, n)]
                raise Miss((
                    f"of {n} ids the shares are {share.round(2).tolist()}, expected about "
                    f"{expected.round(2).tolist()}"
                ), [*hints, "softmax(logits / temperature), and a draw with these weights."])
    with case("the default temperature is 1"):
        expect(agrees(drawn(n), probs(z), n), "without a temperature the shares are others")
    with case("the same seed, the same text"):
        own = _takes(generate, "rng")  # else the global generators are all there is
        one, same, other = (
            _generate(generate, _Fake(known, 2, form), [0], 30, seed=seed,
                      global_seed=place if own else seed)
            for place, seed in enumerate([5, 5, 6])
        )
        expect_equal(same, one, "two runs with the same seed", hint=(
            "Draw with the generator that was given, `rng`. A function without `rng` draws with a "
            "global one."
        ))
        expect(other != one, "another seed gives the same text", (
            "Do not make a generator with a fixed seed inside."
        ))
    if _takes(generate, "top_k"):
        for k in (1, 2, 3, 9):
            with case(f"top_k={k}"):
                share = drawn(n // 2, top_k=k)
                everything = "top_k is not used."
                if k == 1:  # `[-0:]` is everything, too
                    everything = "With 1 all are kept: top_k is not used, or one too few are kept."
                others = [
                    (probs(z), everything),
                    (probs(top(k - 1)), "One too few are kept."),
                    (probs(top(k + 1)), "One too many are kept."),
                    (probs(np.where(z <= np.sort(z)[min(k, 5) - 1], z, -1e9)), "The smallest are "
                     "kept. Keep the largest."),
                ]
                if not agrees(share, probs(top(k)), n // 2):
                    hints = [text for wrong, text in others if agrees(share, wrong, n // 2)]
                    raise Miss(f"of {n // 2} ids the shares are {share.round(2).tolist()}", [
                        *hints, "All but the k largest logits become minus infinity; then the "
                        "softmax. More than V means all."
                    ])


# ---- the checklist ------------------------------------------------------------------------------


@check(
    lesson="ps7",
    expects="your MiniGPT and your cross_entropy_loss, on a Tensor or on values with backward()",
    not_tested="a text that the model has not seen",
    in_place=True,
    seconds=60,
)
def ps7_checklist(case, MiniGPT, cross_entropy_loss):
    require_own(cross_entropy_loss, "cross_entropy_loss")
    V, D, T = 4, 4, 4
    require_own(MiniGPT, "MiniGPT", V, D, 1, 1, T)
    ids = case.rng.permutation([0, 1, 2, 3, case.rng.integers(0, 4)]).tolist()
    x, y = ids[:-1], ids[1:]
    part = None
    with case("len(logits) == T and len(logits[0]) == V"):
        part = Part(MiniGPT, V, D, 1, 1, T)
        expect_equal(list(_with_ids(part, x).shape), [T, V], "the shape of the logits")
    if part is None:
        return
    _all_listed(case, MiniGPT, V, D, 1, 1, T)

    def loss_now():
        return cross_entropy_loss(part.run(part.given(_ids_like(x))), list(y))

    def number(loss):
        got = read(loss)
        expect(got.size == 1, f"the loss is not one number, its shape is {got.shape}")
        return float(got.reshape(-1)[0])

    with case("the mask blocks the future"):
        changed = _ids_like(x)
        _causal(case, part, changed, 2, lambda rows: (rows + 1) % V)
    with case("the first loss is about ln V"):
        chances = log_softmax(part(_ids_like(x)))
        got, expected = number(loss_now()), -chances[np.arange(T), y].mean()
        expect(abs(got - expected) < 1e-3, f"your loss says {got:.3f}; by the logits and the "
               f"targets it is {expected:.3f}", "Run the check of cross_entropy_loss.")
        first = -chances.mean()  # the mean over all targets
        expect(first < math.log(V) + 1.5, f"it is {first:.2f}, ln V is {math.log(V):.2f}", (
            "Start with smaller random weights, above all in the head."
        ))
    start: dict[int, object] = {}
    with case("gradients are finite, and none is zero everywhere"):
        clear(part.params, start)
        loss = loss_now()
        expect(hasattr(loss, "backward"), "the loss has no backward()", (
            "Build on a Tensor or a Value with gradients, and do not leave it on the way: no "
            "`.data` in forward()."
        ))
        loss.backward()
        grads = [(leaf.size, leaf.grad()) for leaf in part.params]
        expect(all(np.isfinite(grad).all() for _, grad in grads), "a gradient is NaN or infinite")
        idle = sum(size for size, grad in grads if size > D and not grad.any())
        listed = {id(value) for leaf in part.params for value in leaf.values()}
        expect(listed, "the parameters have no gradients", "They are Tensors or Values.")
        expect(idle == 0, f"{idle} numbers in the parameters get no gradient", (
            "A part that is not used, or a graph that was cut by `.data`?"
        ))
    with case("the loss falls on a few characters"):
        expect(hasattr(loss_now(), "backward"), "the loss has no backward()")
        before, after = number(loss_now()), _after_training(part, loss_now, start, number)
        expect(after < 0.5 * before, f"after up to 150 steps on {T} characters: {before:.2f} to {after:.2f}", (
            "A model that cannot learn four characters by heart has a bug in its loss, its "
            "gradients or its list of parameters."
        ))


def _after_training(part: Part, loss_now: Callable, start: dict, number: Callable) -> float:
    """The loss after up to 150 steps of Adam, which does not mind how large the weights are."""
    means = [np.zeros(leaf.get().shape) for leaf in part.params]
    squares = [np.zeros(leaf.get().shape) for leaf in part.params]
    first = None
    for step in range(1, 151):
        clear(part.params, start)
        loss = loss_now()
        first = number(loss) if first is None else first
        if number(loss) < 0.4 * first:
            break
        loss.backward()
        for leaf, mean, square in zip(part.params, means, squares):
            grad = leaf.grad()
            mean += 0.1 * (grad - mean)
            square += 0.01 * (grad * grad - square)
            rate = 0.05 * math.sqrt(1 - 0.99**step) / (1 - 0.9**step)
            leaf.set(leaf.get() - rate * mean / (np.sqrt(square) + 1e-8))
    return number(loss_now())
