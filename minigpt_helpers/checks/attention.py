"""Checks of lesson 3: softmax, attention, the causal mask, heads."""

from __future__ import annotations

import numpy as np

from minigpt_helpers.checks._ask import prediction
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import as_array, expect, expect_close, expect_same
from minigpt_helpers.checks._reference import softmax

# ---- the slow, obvious references ---------------------------------------------------------------


def _future(T: int) -> np.ndarray:
    return np.triu(np.full((T, T), -np.inf), k=1)


def _attend_last(q, k, v):
    return softmax(k @ q / np.sqrt(len(q))) @ v


def _merge_heads(heads):
    return np.concatenate(list(heads), axis=-1)


def _gradients(q, k, v, d_out):
    weights = softmax(q @ k.T / np.sqrt(q.shape[1]) + _future(len(q)))
    d_weights = d_out @ v.T
    d_scores = weights * (d_weights - (weights * d_weights).sum(axis=1, keepdims=True))
    d_scores = d_scores / np.sqrt(q.shape[1])
    return d_scores @ k, d_scores.T @ q, weights.T @ d_out


# ---- averages and the softmax -------------------------------------------------------------------

prediction(
    "predict_past_average",
    lesson=3,
    answer=[2.0, 2.0],
    tol=0.01,
    expects="two numbers in a list, such as [1.5, 3.0]: the average of the first three rows of x",
    hint="Position 2 sees three rows: those of positions 0, 1 and 2. Add them up, divide by 3.",
    near=[
        ([6, 6], "That is the sum. Divide by how many rows there are."),
        ([2, 3], "That is the average of all four rows. Position 2 does not see position 3."),
        ([3, 1], "That leaves out position 2 itself. It sees itself, too."),
        ([0, 4], "That is row 2 alone. It is averaged with the rows before it."),
        ([1, 3], "That leaves out position 0. All positions before it count."),
    ],
)


@check(
    lesson=3,
    expects="a function `softmax_rows(x)`: an array (T, S) in, an array (T, S) out, rows sum to 1",
    not_tested="speed; arrays with three or more axes",
)
def softmax_rows(case, softmax_rows):
    mistakes = [
        (lambda x: softmax(x.T).T, "Each row has to sum to 1. You sum over the columns: axis=-1 "
         "runs along a row."),
        (lambda x: np.exp(x) / np.exp(x).sum(), "You divide by the sum of the whole array. Each "
         "row has its own sum."),
        (lambda x: np.exp(x - x.max(axis=-1, keepdims=True)), "Divide by the sum of the row."),
        (lambda x: np.exp(x - x.max()) / np.exp(x - x.max()).sum(), "You divide by the sum of the "
         "whole array. Each row has its own sum."),
        (lambda x: x / x.sum(axis=-1, keepdims=True), "The exponential is missing: np.exp."),
        (lambda x: np.exp(x) / np.exp(x).sum(axis=-1), "The sums have lost their axis, so they "
         "are laid along the columns. Keep it: .sum(axis=-1, keepdims=True)."),
        (lambda x: np.exp(x - x.max(axis=-1, keepdims=True))
         / np.exp(x - x.max(axis=-1, keepdims=True)).sum(axis=-1), "The sums have lost their axis, "
         "so they are laid along the columns. Keep it: .sum(axis=-1, keepdims=True)."),
    ]
    for T, S in [(1, 4), (3, 3), (2, 5), (4, 1)]:
        x = case.rng.normal(size=(T, S)) * 2
        with case(f"{T} rows of {S} scores"):
            expect_same(softmax_rows, softmax, x, mistakes=mistakes, hint=(
                "exp of every score, divided by the sum of its own row. If the shapes do not fit, "
                "sum with keepdims=True."
            ))
    large = case.rng.normal(size=(2, 4)) + 1000
    with case("scores near 1000"):
        expect_same(softmax_rows, softmax, large, hint=(
            "exp(1000) is too large for a float: infinity divided by infinity is NaN. Subtract "
            "the largest score of the row before you take exp."
        ))
    apart = case.rng.normal(size=(2, 3)) + np.array([[1000.0], [-1000.0]])
    with case("one row near 1000, one near -1000"):
        expect_same(softmax_rows, softmax, apart, hint=(
            "Each row needs its own maximum. With the maximum of the whole array, exp gives 0 for "
            "every score of the low row."
        ))
    with case("a score of minus infinity"):
        x = np.array([[0.0, -np.inf, 1.0], [-np.inf, 2.0, -np.inf]])
        expect_same(softmax_rows, softmax, x, hint=(
            "exp(-inf) is exactly 0. Nothing special is needed; do not clip or replace it."
        ))


# ---- query, key, value --------------------------------------------------------------------------

_OF_S = softmax(np.array([0.0, 2.0, 0.0, 0.0]))
prediction(
    "predict_weights_of_s",
    lesson=3,
    answer=_OF_S,
    tol=0.01,
    expects="four numbers in a list: the weights that s gives to c, a, t and s",
    hint="The query of s is (2, 0). Take its dot product with each of the four keys, then exp of "
    "each (exp(0) = 1, exp(2) = 7.39), then divide by their sum.",
    near=[
        ([0, 2, 0, 0], "Those are the scores. Send them through the softmax."),
        ([0, 1, 0, 0], "You divided the scores by their sum. Take exp first: exp(0) is 1, not 0."),
        ([1, np.exp(2), 1, 1], "Those are the exponentials. Divide each by their sum."),
        ([*softmax(np.array([0.0, 2.0, 0.0])), 0], "That is the row of t. The letter s sees one "
         "character more: itself."),
        (softmax(np.array([2.0, 0.0, 2.0, 2.0])), "You used the query of a vowel. The letter s "
         "is a consonant: its query is (2, 0)."),
    ],
)

prediction(
    "predict_score_spread",
    lesson=3,
    answer=8.0,
    tol=0.5,
    expects="one number: the standard deviation of a dot product of 64 numbers with 64 numbers",
    hint="The dot product is a sum of 64 products, each of variance 1. Variances of independent "
    "numbers add up; the standard deviation is the root of the variance.",
    near=[
        (64, "64 is the variance. The standard deviation is its root."),
        (1, "One product has standard deviation 1. Here 64 of them are added."),
    ],
)


@check(
    lesson=3,
    expects="a function `attend_last(q, k, v)`: arrays (d,), (T, d) and (T, d_v) in, an array "
    "(d_v,) out",
    not_tested="speed",
)
def attend_last(case, attend_last):
    def with_scores(scores):
        return lambda q, k, v: softmax(scores(q, k)) @ v

    mistakes = [
        (with_scores(lambda q, k: k @ q), "The scale is missing: divide the scores by the root of "
         "d, the length of q."),
        (with_scores(lambda q, k: k @ q / len(q)), "You divide by d. The scale is the root of d."),
        (with_scores(lambda q, k: k @ q / np.sqrt(len(k))), "You divide by the root of T, the "
         "number of keys. The scale is the root of d, the length of q."),
        (with_scores(lambda q, k: k @ q * np.sqrt(len(q))), "You multiply by the root of d. "
         "Divide."),
        (lambda q, k, v: (k @ q / np.sqrt(len(q))) @ v, "The softmax is missing: scores are not "
         "weights yet."),
        (lambda q, k, v: softmax(k @ q / np.sqrt(len(q))) @ k, "You add up the keys. What is "
         "handed over is the values."),
        (lambda q, k, v: softmax(k @ q / np.sqrt(len(q))), "These are the weights. The result is "
         "the values, added up with these weights."),
        (lambda q, k, v: v.mean(axis=0), "That is the plain average of the values: the weights "
         "play no part."),
        (lambda q, k, v: v[np.argmax(k @ q)], "That takes the best match alone. Attention takes "
         "a little of every value."),
    ]
    for T, d, d_v in [(1, 2, 2), (4, 2, 3), (5, 9, 1), (3, 16, 4)]:
        q, k = case.rng.normal(size=d), case.rng.normal(size=(T, d))
        v = case.rng.normal(size=(T, d_v))
        with case(f"T={T}, d={d}, d_v={d_v}"):
            expect_same(attend_last, _attend_last, q, k, v, mistakes=mistakes, hint=(
                "One score for each of the T keys, (T,); the softmax of them, (T,); then the rows "
                "of v added up with these weights, (d_v,)."
            ))
    with case("large scores"):
        q, k, v = np.full(4, 50.0), case.rng.normal(size=(3, 4)) * 50, case.rng.normal(size=(3, 2))
        expect_same(attend_last, _attend_last, q, k, v, mistakes=mistakes, hint=(
            "Use a softmax that subtracts the maximum: exp of a large score is infinite."
        ))


# ---- the mask -----------------------------------------------------------------------------------


@check(
    lesson=3,
    expects="a function `causal_mask(T)`: a whole number in, an array (T, T) out, with 0 where "
    "position t may look and minus infinity in its future",
    not_tested="speed",
)
def causal_mask(case, causal_mask):
    def full(T, value, **where):
        return np.triu(np.full((T, T), value), **where)

    mistakes = [
        (lambda T: full(T, -np.inf, k=0), "A position may look at itself, and here it may not. "
         "The first row is all minus infinity, and its softmax is NaN."),
        (lambda T: full(T, -np.inf, k=1).T, "Rows and columns are swapped: here position t sees "
         "only what comes after it. The row is the one that looks: mask[t, s]."),
        (lambda T: full(T, -np.inf, k=0).T, "Rows and columns are swapped: here position t sees "
         "only what comes after it. The row is the one that looks: mask[t, s]."),
        (lambda T: full(T, -np.inf, k=2), "Each position sees one step into the future. The mask "
         "starts right after the diagonal."),
        (lambda T: np.zeros((T, T)), "Nothing is masked."),
        (lambda T: np.tril(np.ones((T, T))), "These are ones and zeros. This mask is added to the "
         "scores: 0 where one may look, minus infinity elsewhere."),
        (lambda T: np.where(np.tril(np.ones((T, T))) == 1, 1.0, -np.inf), "Where one may look the "
         "mask adds 1. It should add nothing: 0."),
        (lambda T: -full(T, -np.inf, k=1), "That is plus infinity. The future has to lose."),
    ]
    for T in [1, 2, 4, 7]:
        with case(f"T={T}"):
            got = as_array(causal_mask(T))
            future = got[_future(T) < 0] if got.shape == (T, T) else np.zeros(0)
            expect(not (np.isfinite(future).all() and (future < -1).any()), (
                f"in the future the mask is {future.max() if future.size else 0:g}: a finite number"
            ), "A finite number leaks as soon as the scores are as low. Use -np.inf.")
            expect_close(got, _future(T), hint="0 for s <= t, minus infinity for s > t.",
                         mistakes=[(wrong(T), text) for wrong, text in mistakes])


@check(
    lesson=3,
    kind="any",
    expects="a square array (T, T) of finite scores, with T at least 2, that makes a mask of -10 "
    "leak more than half of a row's weight into the future",
)
def leaky_scores(case, scores):
    scores = as_array(scores)
    with case("a square array of finite scores"):
        expect(scores.ndim == 2 and scores.shape[0] == scores.shape[1] and len(scores) > 1, (
            f"your scores have shape {scores.shape}"
        ), "One row for each position that looks, one column for each looked at.")
        expect(np.isfinite(scores).all(), "your scores hold an infinity or a NaN", (
            "With infinite scores everything breaks. Find ordinary numbers that do."
        ))
    with case("more than half of a row's weight leaks"):
        future = _future(len(scores)) < 0
        weights = softmax(np.where(future, -10.0, scores))
        leaks = (weights * future).sum(axis=1)
        row = int(leaks.argmax())
        expect(leaks[row] > 0.5, (
            f"the row that leaks most is row {row}: {leaks[row]:.2g} of its weight lies in the "
            "future"
        ), "The softmax compares the scores of a row with each other. When does -10 win? The row "
           "needs a future, so it is not the last one.")


@check(
    lesson=3,
    expects="a function `is_causal(layer, x)`: a function from arrays (T, D) to arrays (T, D) and "
    "an array (T, D) in, True or False out",
    not_tested="layers that see the future only for special inputs",
)
def is_causal(case, is_causal):
    def past_mean(x):
        return np.array([x[: t + 1].mean(axis=0) for t in range(len(x))])

    def leak(to, source, size=1.0):
        def layer(x):
            out = past_mean(x)
            out[to] += size * x[source]
            return out
        return layer

    causal = {
        "the average of the past": past_mean,
        "each position by itself": lambda x: x * 2 + 1,
        "the character before": lambda x: np.vstack([x[:1] * 0, x[:-1]]),
        "a result that is always the same": lambda x: np.ones_like(x),
    }
    leaky = {
        "the average of all positions": lambda x: np.ones_like(x) * x.mean(axis=0),
        "one position ahead": lambda x: np.vstack([x[1:], x[-1:]]),
        "only the first position sees the last": leak(0, -1),
        "only the position before the last sees the last": leak(-2, -1),
        "only position 1 sees position 2": leak(1, 2),
        "a leak of one part in a thousand million": leak(0, -1, 1e-9),
    }
    only_earlier = "Compare only the outputs before the place you changed. The output at that "
    only_earlier += "place and after it may change."
    for name, layer in causal.items():
        with case(f"causal: {name}"):
            got = is_causal(layer, case.rng.normal(size=(6, 3)))
            expect(isinstance(got, (bool, np.bool_)), f"expected True or False, got {got!r}")
            expect(got, "expected True, got False", only_earlier)
    hints = [
        "Compare the outputs before the place you changed.",
        "Compare all outputs before the changed place, also the one right before it.",
        "A leak may come from the last position. Change that one, too, and look at the first.",
        "Compare all outputs before the changed place, also the one right before it.",
        "Try every position as the changed one, not the last alone.",
        "np.allclose forgives small differences. np.array_equal does not.",
    ]
    for (name, layer), hint in zip(leaky.items(), hints):
        with case(f"not causal: {name}"):
            got = is_causal(layer, case.rng.normal(size=(6, 3)))
            expect(isinstance(got, (bool, np.bool_)), f"expected True or False, got {got!r}")
            expect(not got, "expected False, got True", hint)


# ---- heads --------------------------------------------------------------------------------------


@check(
    lesson=3,
    expects="a function `merge_heads(heads)`: an array (H, T, d) in, an array (T, H * d) out",
    not_tested="speed; a batch axis",
)
def merge_heads(case, merge_heads):
    mistakes = [
        (lambda x: x.reshape(x.shape[1], -1), "The numbers of different positions got mixed: "
         "reshape keeps the order in memory. Bring the axes into the order (T, H, d) first."),
        (lambda x: x.transpose(1, 2, 0).reshape(x.shape[1], -1), "The axes before the reshape are "
         "(T, d, H): features of the heads alternate. They should be (T, H, d)."),
        (lambda x: x.transpose(2, 1, 0).reshape(x.shape[1], -1), "The axes before the reshape are "
         "(d, T, H). They should be (T, H, d)."),
        (lambda x: x.reshape(-1, x.shape[2]), "The heads lie below each other. They should lie "
         "side by side: one row for each position."),
        (lambda x: x.transpose(1, 0, 2), "The order (T, H, d) is right. Now make one row of H * d "
         "numbers for each position."),
        (lambda x: x.sum(axis=0), "The heads were added up. They should lie side by side."),
        (lambda x: x.mean(axis=0), "The heads were averaged. They should lie side by side."),
        (lambda x: np.concatenate(list(x[::-1]), axis=-1), "The heads are in reverse order."),
    ]
    for H, T, d in [(2, 3, 2), (1, 4, 3), (4, 2, 1), (3, 3, 3)]:
        heads = case.rng.normal(size=(H, T, d))
        with case(f"H={H}, T={T}, d={d}"):
            expect_same(merge_heads, _merge_heads, heads, mistakes=mistakes, hint=(
                "Undo the two steps of the split in reverse order: first the transpose, then the "
                "reshape."
            ))


@check(
    lesson=3,
    expects="a function `two_back_queries(T)`: a whole number in, an array (T, T) out, the queries "
    "with which every position t >= 2 gives at least 0.9 of its weight to position t - 2",
    not_tested="what positions 0 and 1 do: they have no character two back",
)
def two_back_queries(case, two_back_queries):
    for T in [3, 5, 8, 12]:
        with case(f"T={T}"):
            q = as_array(two_back_queries(T))
            expect(q.shape == (T, T), f"expected shape {(T, T)}, got {q.shape}")
            expect(np.isfinite(q).all(), "your queries hold an infinity or a NaN")
            weights = softmax(q / np.sqrt(T) + _future(T))  # the keys are np.eye(T)
            t = np.arange(2, T)
            target = weights[t, t - 2]
            looks = weights[t].argmax(axis=1)
            hint = "Where does each row of the queries have its large number? np.eye(T, k=...)"
            if (q.argmax(axis=1)[:-2] == t).all():
                hint = "These queries point two ahead, and the mask hides that. Try the other sign."
            elif (looks == t - 1).all():
                hint = "It looks one back. You need two."
            elif (looks == t - 2).all():
                hint = "The place is right, but it is not sharp enough: make the queries larger."
            worst = int(target.argmin())
            expect(target.min() >= 0.9, (
                f"position {t[worst]} gives {target[worst]:.2f} of its weight to position "
                f"{t[worst] - 2}"
            ), hint)


# ---- gradients and cost -------------------------------------------------------------------------


@check(
    lesson=3,
    expects="a function `attention_gradients(q, k, v, weights, d_out)`: arrays (T, d), (T, d), "
    "(T, d_v), (T, T) and (T, d_v) in, three arrays d_q, d_k, d_v out, shaped like q, k and v",
    not_tested="speed; several heads",
)
def attention_gradients(case, attention_gradients):
    for T, d, d_v in [(1, 2, 2), (3, 4, 2), (4, 4, 4), (5, 9, 3)]:
        q, k = case.rng.normal(size=(2, T, d))
        v, d_out = case.rng.normal(size=(2, T, d_v))
        weights = softmax(q @ k.T / np.sqrt(d) + _future(T))
        expected = _gradients(q, k, v, d_out)
        d_weights = d_out @ v.T
        d_scores = weights * (d_weights - (weights * d_weights).sum(axis=1, keepdims=True))
        columns = weights * (d_weights - (weights * d_weights).sum(axis=0, keepdims=True))
        raw = weights * d_weights
        root = np.sqrt(d)

        def both(s, q=q, k=k):
            return s @ k, s.T @ q

        wrong = [
            (both(d_scores), "The scale is missing in d_scores: divide by the root of d."),
            (both(d_scores / d), "You divide by d. The scale is the root of d."),
            (both(d_weights / root), "The slope of the softmax is missing between d_weights and "
             "d_scores."),
            (both(raw / root), "The slope of the softmax has a second part: subtract, in each "
             "row, the sum of weights times d_weights."),
            (both(columns / root), "The sum in the softmax's slope runs along a row: axis=1, "
             "keepdims=True."),
        ]
        with case(f"T={T}, d={d}, d_v={d_v}"):
            got = attention_gradients(q, k, v, weights, d_out)
            expect(isinstance(got, (tuple, list)) and len(got) == 3,
                   "expected three arrays: return d_q, d_k, d_v")
            expect_close(got[2], expected[2], "d_v", mistakes=[
                (weights @ d_out, "In d_v the weights are transposed: weights.T @ d_out. What "
                 "position s handed over comes back from everyone who looked at it."),
            ], hint="Each value was multiplied by its weight on the way out: d_v = weights.T @ "
                    "d_out.")
            expect_close(got[0], expected[0], "d_q", mistakes=[(w[0], text) for w, text in wrong],
                         hint="d_q = d_scores @ k.")
            scores_t = d_scores / root
            expect_close(got[1], expected[1], "d_k", mistakes=[
                (scores_t @ q, "In d_k the d_scores are transposed: a key is looked at by the rows "
                 "of its column."),
                *[(w[1], text) for w, text in wrong],
            ], hint="d_k = d_scores.T @ q.")


prediction(
    "predict_cost_factor",
    lesson=3,
    answer=64.0,
    expects="one number: how many times as many scores there are for 1024 characters as for 128",
    hint="The scores are a square of side T. By what factor does the side grow, and the area?",
    near=[
        (8, "The side grows by 8. The scores fill a square."),
        (16, "The text is 8 times as long; an area grows with the square of the side."),
        (1048576, "That is how many scores there are. By what factor did they grow?"),
    ],
)
