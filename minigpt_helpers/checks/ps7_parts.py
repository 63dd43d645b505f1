"""Checks of the capstone's parts: embedding, layer norm, feed-forward, attention.

How a part's parameters are named, cut and laid out is the student's choice, so a part is looked at
from outside: with all parameters 0, with all of them equal (where a formula can be computed by
hand), with random ones, and with one number moved at a time.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np

from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import expect, expect_close, expect_equal
from minigpt_helpers.checks._exercise import known, try_all
from minigpt_helpers.checks._own_parts import (
    Numbers,
    Part,
    everything_listed,
    finite,
    gradients,
    largest,
    no_overflow,
    own_class,
    own_parts,
    stays,
)

BATCH = "a batch axis; bad inputs; speed"
LEAK = (
    "A position sees its future. Before the softmax the scores above the diagonal become minus "
    "infinity, and the softmax runs along each query's row."
)
NOTHING_LEFT = (
    "Does the mask hide a position from itself? Then its row has nothing left to look at. Only "
    "what lies above the diagonal is hidden."
)


def begin(case, to_array, from_array, kind: type, *sizes: int) -> Numbers | None:
    """Look at the class and the two functions; None if it makes no sense to go on."""
    numbers = Numbers(case, to_array, from_array)
    own_class(kind, kind.__name__)
    own_parts(Part(numbers, kind, *sizes).module)
    return numbers if numbers.fit() else None


def causal(
    part: Part, x: np.ndarray | list, keep: int, rows, tol: float = 1e-11, **options
) -> None:
    """Other inputs from `keep` on change nothing before."""
    ids = isinstance(x, list)
    changed = np.array(x)
    changed[keep:] = rows(changed[keep:])
    one, other = (part.rows(a) if ids else part(np.array(a), **options) for a in (x, changed))
    finite(one, hint=NOTHING_LEFT)
    change = np.abs(one - other)[:keep].max()
    expect(change <= tol * largest(one), (
        f"other inputs from position {keep} on change the results before it, by up to {change:.1e}"
    ), LEAK)


# ---- 1. embedding -------------------------------------------------------------------------------


@check(
    lesson="ps7",
    expects="a class `Embedding(num_embeddings, embedding_dim)`: called with a list of T ids it "
    "gives T rows of embedding_dim numbers",
    not_tested="ids out of range; a batch axis; speed",
    in_place=True, weighed=True,
)
def ps7_embedding(case, Embedding, to_array, from_array):
    numbers = begin(case, to_array, from_array, Embedding, 4, 3)
    if numbers is None:
        return
    rng = case.rng
    with case("one row for each id", essential=True):
        for n, d, T in [(6, 3, 4), (4, 5, 1), (9, 2, 7)]:
            got = Part(numbers, Embedding, n, d).rows(rng.integers(0, n, size=T))
            expect_equal(list(got.shape), [T, d], f"the shape of {T} rows of {d} numbers", hint=(
                "One row for each id."
            ))
    with case("random rows at first", essential=True):
        start = Part(numbers, Embedding, 7, 4).rows(range(7))
        expect(len(np.unique(finite(start).round(12), axis=0)) == 7, "two ids have the same row", (
            "Start with small random numbers, others in each row."
        ))
    with case("an id has its row, wherever it stands", essential=True):
        part = Part(numbers, Embedding, 7, 4).randomise()
        table = part.rows(range(7))
        for ids in [[3, 0, 3, 6], [6], [1, 1], rng.integers(0, 7, size=9).tolist()]:
            expect_close(part.rows(ids), table[ids], f"for ids {ids}", tol=1e-9, hint=(
                "Row i of the result is row ids[i] of the table, and nothing else."
            ))
    with case("the parameters are the table", essential=True):
        part = Part(numbers, Embedding, 7, 4)
        expect_equal(part.count(), 28, "numbers in parameters() of Embedding(7, 4)", hint=(
            "A table with a row for each id, and nothing else."
        ))
        table = part.randomise().rows(range(7))
        expect(np.allclose(np.sort(table, axis=None), np.sort(part.values()), atol=1e-6), (
            "the rows of all ids are not the numbers in parameters()"
        ), "forward() reads the table that parameters() lists, as it is.")
        first = np.asarray(part.params[0].data)
        if first.shape == (7, 4):
            expect(np.allclose(table, first, atol=1e-6), "the rows of the table come in another "
                   "order", "Id i takes row i: ids count from 0.")
    if not case.missed:
        everything_listed(numbers, Embedding, 7, 4)
        gradients(numbers, Part(numbers, Embedding, 5, 3), [1, 4, 1])


# ---- 2. layer norm ------------------------------------------------------------------------------


def layer_norm(x, scale=1.0, shift=0.0):
    left = x - x.mean(axis=-1, keepdims=True)
    variance = (left * left).mean(axis=-1, keepdims=True)
    return left / np.sqrt(variance + 1e-5) * scale + shift


_EPS = "Under the root stands variance + eps, with eps = 1e-5."
LAYER_NORM = known(
    layer_norm,
    in_words="(x - mean) / sqrt(variance + eps), for each row by itself, times the scale, plus the "
    "shift",
    tol=1e-5,
    slips=[
        ("(left * left).mean(axis=-1, keepdims=True)", "x.var(axis=-1, keepdims=True, ddof=1)",
         "The variance is the mean of the squares: divide by dim, not by dim - 1."),
        ("np.sqrt(variance + 1e-5)", "(variance + 1e-5)", "You divide by the variance. Take its "
         "root."),
        ("np.sqrt(variance + 1e-5)", "(np.sqrt(variance) + 1e-5)", "eps does not stand under the "
         "root: sqrt(variance + eps), not sqrt(variance) + eps."),
        ("variance + 1e-5", "variance", f"eps is missing. {_EPS}"),
        *((" 1e-5", f" {eps}", _EPS) for eps in ("1e-3", "1e-4", "1e-6", "1e-7", "1e-8")),
        ("return left /", "return x /", "Subtract the mean of the row first."),
        ("x - x.mean(axis=-1, keepdims=True)", "x", "Subtract the mean first: the variance is "
         "measured from there."),
        (" / np.sqrt(variance + 1e-5)", "", "Divide by the root of the variance."),
        ("    left = x - x.mean(axis=-1, keepdims=True)\n    variance = (left * left)."
         "mean(axis=-1, keepdims=True)", "    left = x - x.mean(axis=0, keepdims=True)\n    "
         "variance = (left * left).mean(axis=0, keepdims=True)", "You normalise the columns. The "
         "mean and the variance of a position run along its own row."),
        ("    left = x - x.mean(axis=-1, keepdims=True)\n    variance = (left * left)."
         "mean(axis=-1, keepdims=True)", "    left = x - x.mean()\n    variance = (left * left)."
         "mean()", "You normalise all rows together. Each row has its own mean and variance."),
        (" * scale", " * 0", "Everything is 0. The scale starts at 1."),
        (" + shift", " + 1", "The shift starts at 0."),
    ],
)


def _ends(part: Part, D: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift of each column, measured: a row and its mirror image add up to the shift."""
    row = np.linspace(-1.0, 2.0, D)[None] * 1e3  # eps is too small to matter
    one, other = part(row)[0], part(-row)[0]
    shift = (one + other) / 2
    return (one - shift) / layer_norm(row)[0], shift


@check(
    lesson="ps7",
    expects="a class `LayerNorm(dim)`: called with x (T, dim) it gives (T, dim), each row with "
    "mean 0 and variance 1, times a learnt scale (at first 1), plus a learnt shift (at first 0)",
    not_tested=BATCH,
    in_place=True, weighed=True,
)
def ps7_layer_norm(case, LayerNorm, to_array, from_array):
    numbers = begin(case, to_array, from_array, LayerNorm, 4)
    if numbers is None:
        return
    rng = case.rng

    def cases(rng):
        for T, D in [(3, 4), (1, 5), (4, 3), (5, 5)]:
            yield "as it is at first", rng.normal(size=(T, D)) * 20 + 10
        yield "a row of equal numbers", np.array([[2.0] * 3, [1.0, 2.0, 4.0]])
        for size in (3e-3, 1e-2):
            yield "rows of tiny numbers", rng.normal(size=(3, 4)) * size

    norm = lambda x: Part(numbers, LayerNorm, x.shape[1])(x)  # noqa: E731
    try_all(replace(LAYER_NORM, cases=cases), case, norm, essential=True)
    with case("a learnt scale, and a shift if there is one", essential=True):
        part = Part(numbers, LayerNorm, 4)
        expect(part.count() in (4, 8), (
            f"LayerNorm(4) has {part.count()} numbers in its parameters"
        ), "A scale for each of the dim columns, and a shift for each.")
        scale, shift = _ends(part.randomise(), 4)
        kept, used = part.values(), scale if part.count() == 4 else np.r_[scale, shift]
        hint = "First normalise, then scale, then shift: the shift is not scaled."
        if np.allclose(scale, 1, atol=1e-4) or np.allclose(shift, 0) and part.count() == 8:
            hint = "A scale or a shift changes nothing in the result."
        expect(np.allclose(np.sort(kept), np.sort(used), atol=1e-4), (
            "with other parameters the columns are not multiplied by a scale, and moved by a "
            "shift, that are in the parameters"
        ), hint)
        x = rng.normal(size=(6, 4))
        expect_close(part(x), layer_norm(x, scale, shift), "with other parameters", hint=(
            "First normalise, then scale, then shift."))
    if not case.missed:
        everything_listed(numbers, LayerNorm, 4)
        part = Part(numbers, LayerNorm, 4).randomise()
        stays(numbers, part, rng.normal(size=(3, 4)))
        gradients(numbers, part, rng.normal(size=(3, 4)), spare=0)


# ---- 3. feed-forward ----------------------------------------------------------------------------


def zeros_give_zero(case, part: Part, x: np.ndarray) -> None:
    with case("all parameters 0: nothing is added", essential=True):
        got = finite(part.fill(np.zeros)(x), hint=NOTHING_LEFT)
        equal = np.ptp(got, axis=0).max() < 1e-9
        expect(not got.any(), "the result is not 0", (
            "Nothing follows the last linear layer." if equal else
            "No residual here: the block adds it. This part gives only what is to be added."
        ))


def _equal_parameters(part: Part, D: int, biases: tuple[bool, bool]) -> None:
    """With every parameter equal to c, each hidden number is a(c (sum(x) + 1)): one curve a."""
    first, last = biases

    def at(c: float, total: float) -> float:
        part.fill(lambda shape: np.full(shape, c))
        rows = np.array([[total / D] * D, [total, *[0.0] * (D - 1)], [total + 2, -2, *[0.0] * (D - 2)]])
        got = finite(part(rows))
        expect(np.ptp(got) <= 1e-5 * (1 + largest(got)), (
            "with all parameters equal, the result depends on more than the sum of a row"
        ), "The first thing that happens to x is the linear layer.")
        return (float(got[0, 0]) - c * last) / (4 * D * c)

    points = np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
    curve = np.array([at(1.0, u - first) for u in points])
    expect(np.ptp(curve) > 1e-9, "with all parameters equal, the result does not depend on x", (
        "x goes into the linear layer as it is, and the activation works on each number by itself."))
    line = np.polynomial.Polynomial.fit(points, curve, 1)(points)
    expect(largest(line - curve) > 1e-4 * largest(curve), "it is linear", (
        "The activation between the two layers is missing. Without it two linear layers are no "
        "more than one."
    ))
    for c in (0.5, -0.5, -2.0):
        again = np.array([at(c, u / c - first) for u in points])
        expect(np.allclose(again, curve, rtol=1e-4, atol=1e-5 * largest(curve)), (
            "with all parameters equal, the result is not that of a linear layer, an activation and "
            "a linear layer"
        ), "One activation, between the two layers: not after the second one, and not twice.")


@check(
    lesson="ps7",
    expects="a class `FeedForward(embed_dim)`: called with x (T, D) it gives (T, D): linear to 4 D "
    "numbers, an activation, linear back to D",
    not_tested=BATCH + "; which activation it is",
    in_place=True, weighed=True,
)
def ps7_feed_forward(case, FeedForward, to_array, from_array):
    numbers = begin(case, to_array, from_array, FeedForward, 4)
    if numbers is None:
        return
    rng, x = case.rng, case.rng.normal(size=(4, 3))
    with case("(T, D) in, (T, D) out", essential=True):
        for T, D in [(3, 4), (1, 3), (4, 6)]:
            got = Part(numbers, FeedForward, D)(rng.normal(size=(T, D)))
            expect_equal(list(got.shape), [T, D], "the shape of the result", hint=(
                "The second linear layer leads back to D."
            ))
    biases = {72 + 12 * first + 3 * last: (first, last) for first in (0, 1) for last in (0, 1)}
    with case("two linear layers, through 4 D numbers", essential=True):
        count = Part(numbers, FeedForward, 3).count()
        expect(count in biases, f"FeedForward(3) has {count} numbers in its parameters", (
            "Two matrices, (D, 4 D) and (4 D, D), and after each a bias or none: 72 to 87 numbers."
        ))
    zeros_give_zero(case, Part(numbers, FeedForward, 3), x)
    with case("every position by itself", essential=True):
        part = Part(numbers, FeedForward, 3).randomise()
        expected = np.concatenate([part(x[t : t + 1]) for t in range(4)])
        expect_close(part(x), expected, tol=1e-6, hint=(
            "Each row of the result comes from the same row of x alone. Positions meet only in "
            "attention."
        ))
    with case("linear, activation, linear", essential=True):
        part = Part(numbers, FeedForward, 3)
        _equal_parameters(part, 3, biases.get(part.count(), (0, 0)))
        _hidden_numbers(part.randomise(), 20 * rng.normal(size=(3, 3)))
    if case.missed:
        return
    everything_listed(numbers, FeedForward, 3)
    part = Part(numbers, FeedForward, 3).randomise()
    stays(numbers, part, x)
    gradients(numbers, part, np.concatenate([x, 5 * x, -5 * x]), spare=0)


def _hidden_numbers(part: Part, x: np.ndarray) -> None:
    """Moving a number of the last layer by 1 moves one column by a hidden number, by 2 twice as
    far. None of the hidden numbers is linear in x."""
    rows = np.concatenate([x, -x, 2 * x, 0 * x])
    start, columns, straight = part(rows), 0, 0
    ones, twos = (list(part.moved(lambda: part(rows), step)) for step in (1.0, 2.0))
    for one, two in zip(ones, twos):
        change = np.abs(one - start).max(axis=0) > 1e-9 * largest(start)
        if change.sum() == 1 and np.allclose(
                two - start, 2 * (one - start), atol=1e-5 * largest(start)):
            columns += 1
            there, back, far, still = np.split((one - start)[:, change][:, 0], 4)
            bend = max(largest(there + back - 2 * still), largest(far - 2 * there + still))
            moves = largest(there - back)
            straight += bend < 1e-2 * moves and moves > 1e-2 * largest(there)
    expect(columns >= 8 * 3, "the result is not linear in the numbers of the second layer", (
        "The second linear layer comes last, and reads 4 D numbers."))
    expect(straight == 0, f"{straight} of the numbers that the second layer reads are linear in x", (
        "The activation works on each of the 4 D numbers."))


# ---- 5. attention -------------------------------------------------------------------------------


def _scale(part: Part, D: int) -> float:
    """The factor before q . k, times the head's dimension, measured from outside.

    With every parameter equal to c a row x has q = k = v = c (sum(x) + bias) in each dimension.
    For the rows 0 and (s/D, ..., s/D) the log odds of their weights are K c^2 (s + bias) s with
    K = factor * dimension. Two values of s give K.
    """
    c, slopes = 0.4, []
    part.fill(lambda shape: np.full(shape, c))
    for s in (1.0, 2.0):
        x = np.array([[0.0] * D, [s / D] * D])
        low, high, mixed = part(x[:1])[0, 0], part(x[1:])[0, 0], part(x)[1, 0]
        expect(abs(high - low) > 1e-9, "the result does not depend on the values", (
            "The weights are used to take a mean of the values: weights @ v."
        ))
        weight = (mixed - low) / (high - low)
        expect(1e-14 < weight < 1 - 1e-14, (
            "the result of two positions does not lie between those of each alone"
        ), "The weights of a row are positive and sum to 1: a softmax along the keys.")
        slopes.append(math.log(weight / (1 - weight)) / s)
    return (slopes[1] - slopes[0]) / c**2


def _weights(part: Part, x: np.ndarray, alone: np.ndarray) -> np.ndarray:
    """With one head: how the last row mixes what each row gives alone; the weights sum to 1."""
    got = finite(part(x))[-1]
    table = np.vstack([alone.T, np.ones(len(x))])
    weights, *_ = np.linalg.lstsq(table, np.r_[got, 1.0], rcond=None)
    scale = largest(alone)
    expect(np.abs(table @ weights - np.r_[got, 1.0]).max() < 1e-4 * (1 + scale), (
        "a row of the result is no mean of what the rows that it sees give alone"
    ), "Weights from the softmax, times the values, then perhaps a linear layer; nothing else.")
    expect(weights.min() > 0, "a weight is not positive", "The weights come from a softmax.")
    return weights


def _one_head(part: Part, rng: np.random.Generator) -> None:
    D = 4
    part.randomise(0.4)
    query, one, two = rng.normal(size=(3, D))

    def odds(query, *rows):
        """The logarithms of the rows' weights, by that of the last one, the query."""
        x = np.array([*rows, query])
        alone = finite(np.concatenate([part(row[None]) for row in x]), hint=NOTHING_LEFT)
        weights = _weights(part, x, alone)
        return np.log(weights[:-1] / weights[-1])

    apart = np.r_[odds(query, one), odds(query, two)]
    expect(np.allclose(odds(query, one, two), apart, atol=1e-3), "how two positions share the "
           "weight depends on a third one", "The weights are a softmax of the scores, and nothing "
           "more.")
    # What is linear changes as much for a row as for its mirror image, the other way.
    keys = odds(query, one) + odds(query, -one) - 2 * odds(query, 0 * one)
    queries = [np.diff(odds(row, one, two))[0] for row in (query, -query, 0 * query)]
    expect(abs(keys[0]) < 1e-3 and abs(queries[0] + queries[1] - 2 * queries[2]) < 1e-3, (
        "the scores are not products of queries and keys"
    ), "A score is q . k, and q and k come from x by one linear layer each.")
    still = part(np.zeros((1, D)))
    for row in rng.normal(size=(6, 1, D)) * 3:
        bend = part(row) + part(-row) - 2 * still
        expect(largest(bend) < 1e-5 * largest(part(row)), "for one position the result is not "
               "linear in x", "The values come from x by one linear layer; there is no activation "
               "here.")


def _heads(part: Part, H: int, d: int, rng: np.random.Generator) -> None:
    """A number of the queries or keys acts through one head: its effect has the rank of a head."""
    x = rng.normal(size=(6, H * d))
    part.randomise(0.4)
    alone = np.concatenate([part(row[None]) for row in [*x, 0 * x[0]]])
    rank = int((np.linalg.svd(alone - alone[-1], compute_uv=False) > 1e-5 * largest(alone)).sum())
    expect(rank == H * d, f"with {H} heads the values of a position give {rank} numbers, and not D = "
           f"{H * d}", "Each head has values of its own, and the results are put side by side.")
    start, ranks = finite(part(x), hint=NOTHING_LEFT), []
    for got in part.moved(lambda: finite(part(x)), 0.5, most=50):
        sizes = np.linalg.svd(got - start, compute_uv=False)
        ranks.append(int((sizes > 1e-5 * largest(start)).sum()))
    many = ranks.count(d)
    expect(max(ranks) > 1, "no number in the parameters changes how the positions are mixed", (
        "The scores do not count: every position gets the same weight."))
    expect(max(ranks) <= d, f"with {H} heads a number of the queries or keys changes {max(ranks)} "
           f"columns of the mixed values, and not D / num_heads = {d}", (
        "Each head has its own D / num_heads columns of q, k and v, and its own weights."))
    expect(many >= 4, "the heads do not work apart from each other", (
        "Each head has its own D / num_heads columns of q, k and v, and its own weights."))


def _attention_counts(D: int) -> set[int]:
    """Three matrices or four, each with a bias or without."""
    return {n * D * D + b * D for n in (3, 4) for b in range(n + 1)}


@check(
    lesson="ps7",
    expects="a class `SelfAttention(embed_dim, num_heads)` with `forward(x, causal=True)`: x "
    "(T, D) in, (T, D) out",
    not_tested=BATCH,
    in_place=True, weighed=True,
)
def ps7_self_attention(case, SelfAttention, to_array, from_array):
    numbers = begin(case, to_array, from_array, SelfAttention, 4, 1)
    if numbers is None:
        return
    rng = case.rng

    def made(D=4, H=1):
        return Part(numbers, SelfAttention, D, H).randomise()

    with case("(T, D) in, (T, D) out", essential=True):
        for T, D, H in [(3, 4, 1), (1, 4, 2), (5, 6, 1), (4, 6, 3)]:
            got = Part(numbers, SelfAttention, D, H)(rng.normal(size=(T, D)))
            expect_equal(list(got.shape), [T, D], "the shape of the result", hint=(
                "As many rows as positions, as wide as the input."
            ))
    with case("queries, keys and values", essential=True):
        for H in (1, 2):
            count = Part(numbers, SelfAttention, 8, H).count()
            expect(count in _attention_counts(8), (
                f"SelfAttention(8, {H}) has {count} numbers in its parameters"
            ), "Queries, keys and values have a matrix each, (D, D) for all heads together; one more "
               "if a linear layer follows. Each has a bias or none.")
    zeros_give_zero(case, Part(numbers, SelfAttention, 4, 2), rng.normal(size=(3, 4)))
    with case("the future changes nothing", essential=True):
        for D, H in [(4, 1), (6, 2)]:
            part, x = made(D, H), rng.normal(size=(5, D))
            for keep in (1, 3, 4):
                causal(part, x, keep, lambda rows: rows + rng.normal(size=rows.shape),
                       causal=True)
    _large_scores(case, made, rng)
    _order(case, made, rng)
    with case("a softmax of scores, times the values", essential=True):
        for _ in range(2):
            _one_head(Part(numbers, SelfAttention, 4, 1), rng)
    apart = False
    with case("num_heads heads", essential=True):
        for D, H in [(4, 2), (6, 3)]:
            _heads(Part(numbers, SelfAttention, D, H), H, D // H, rng)
        apart = True
    with case("the scale", essential=True):
        for D, H in [(4, 1), (9, 1), *[(8, 2)] * apart]:
            _check_scale(_scale(Part(numbers, SelfAttention, D, H), D), D, H)
    if case.missed:
        return
    everything_listed(numbers, SelfAttention, 4, 1)
    part = made(4, 2)
    stays(numbers, part, rng.normal(size=(3, 4)))
    gradients(numbers, part, rng.normal(size=(4, 4)), spare=4)  # a bias of the keys does nothing


def _check_scale(got: float, D: int, H: int) -> None:
    d = D // H
    wrong = [
        (d, "The scale is missing: divide the scores by the root of the head's dimension."),
        (1.0, "You divide by the dimension. Divide by its root."),
        (d / math.sqrt(D), "With several heads the dimension of a head counts, D / H."),
        (d * math.sqrt(d), "You multiply by the root. Divide."),
        (0.0, "The scores do not count: every position gets the same weight."),
    ]
    right = math.sqrt(d)
    hints = [text for value, text in wrong if abs(got - value) < 1e-2 * (1 + value)]
    expect(abs(got - right) < 1e-2 * right, (
        f"with D={D} and num_heads={H} the scores are {got / right:.4f} times as large as they "
        "should be"
    ), [*hints, "Divide q . k by the root of the head's dimension, before the softmax."][0])


def _large_scores(case, made, rng) -> None:
    with case("large scores", essential=True):
        overflow = ("exp overflows, or nothing is left to divide by. First the mask, then subtract "
                    "the largest score of the row, then exp.")
        for keep in [1, 2, 1, 3, 1, 2, 1, 3]:  # a finite mask leaks where all scores are below it
            part, x = made(), rng.normal(size=(4, 4)) * 150
            with no_overflow("for scores of some thousands ", overflow):
                finite(part(x), "the result for scores of some thousands", overflow)
            causal(part, x, keep, lambda rows: -1.5 * rows, tol=1e-9, causal=True)
        q = np.array([[1.0], [-1.0], [1.0], [-1.0]]) * 3000.0
        part = made()  # rows of the same direction: scores of plus and minus millions
        for sign in (1, -1):
            x = q * rng.normal(size=(1, 4)) * sign
            finite(part(x), "the result for scores of millions", overflow)
            causal(part, x, 2, lambda rows: 2.0 * rows, tol=1e-9, causal=True)


def _order(case, made, rng) -> None:
    with case("causal=False looks at all, in any order", essential=True):
        part, x, order = made(4, 2), rng.normal(size=(5, 4)), [3, 0, 4, 1, 2]
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
        expect_close(free[-1], part(x)[-1], tol=1e-6, hint=(
            "The last position sees all positions, with the mask and without it."))
        small, rows = made(2), 0.3 * rng.normal(size=(33, 2))
        change = largest(small(rows)[-1] - small(np.concatenate([rows[1:2], rows[1:]]))[-1])
        expect(change > 1e-9, "the last of 33 positions does not see the first", (
            "Every position before it counts, however far away."))
        for causal_, T in itertools.product((True, False), (2, 4)):
            one = part(x[:1], causal=causal_)
            got = part(np.repeat(x[:1], T, axis=0), causal=causal_)
            expect_close(got, np.repeat(one, T, axis=0), "the mean of equal values", tol=1e-6, hint=(
                "The weights of a row sum to 1: the softmax runs along the keys, after the mask, "
                "and nothing follows it."))
