"""Checks of lesson 3: softmax, attention, the causal mask, heads."""

from __future__ import annotations

import numpy as np

from minigpt_helpers.checks._ask import prediction
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import as_array, expect
from minigpt_helpers.checks._exercise import exercise
from minigpt_helpers.checks._reference import softmax


def _future(T: int) -> np.ndarray:
    return np.triu(np.full((T, T), -np.inf), k=1)


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


def _scores(rng):
    for T, S in [(1, 4), (3, 3), (2, 5), (4, 1)]:
        yield f"{T} rows of {S} scores", rng.normal(size=(T, S)) * 2
    yield "scores near 1000", rng.normal(size=(2, 4)) + 1000
    yield "one row near 1000, one near -1000", rng.normal(size=(2, 3)) + [[1000.0], [-1000.0]]
    yield "a score of minus infinity", np.array([[0.0, -np.inf, 1.0], [-np.inf, 2.0, -np.inf]])


@exercise(
    lesson=3,
    expects="a function `softmax_rows(x)`: an array (T, S) in, an array (T, S) out, rows sum to 1",
    not_tested="speed; arrays with three or more axes",
    in_words="exp of every score, divided by the sum of its own row",
    cases=_scores,
    slips=[
        ("x - x.max(axis=-1, keepdims=True)", "x", "exp(1000) is too large for a float: infinity "
         "divided by infinity is NaN. Subtract the largest score of the row before you take exp."),
        ("x.max(axis=-1, keepdims=True)", "x.max()", "Each row needs its own maximum. With the "
         "maximum of the whole array, exp gives 0 for every score of a low row."),
        ("x.max(axis=-1, keepdims=True)", "np.abs(x).max(axis=-1, keepdims=True)", "Subtract the "
         "largest score, not the largest size: with scores near -1000 every exp becomes 0."),
        ("x.max(axis=-1, keepdims=True)", "x.max(axis=0)", "That is the maximum of each column. "
         "Each row needs its own."),
        ("exps.sum(axis=-1, keepdims=True)", "exps.sum()", "You divide by the sum of the whole "
         "array. Each row has its own sum."),
        ("exps.sum(axis=-1, keepdims=True)", "exps.sum(axis=0)", "Each row has to sum to 1. You sum "
         "over the columns: axis=-1 runs along a row."),
        ("exps.sum(axis=-1, keepdims=True)", "exps.sum(axis=-1)", "The sums have lost their axis, "
         "so they are used along the columns. Keep it: .sum(axis=-1, keepdims=True)."),
        (" / exps.sum(axis=-1, keepdims=True)", "", "Divide by the sum of the row."),
        ("np.exp(shifted)", "x", "The exponential is missing: np.exp."),
        ("np.exp(shifted)", "np.exp(-shifted)", "The sign: exp of the score, not of minus it."),
        ("return exps / exps.sum(axis=-1, keepdims=True)",
         "return np.log(exps / exps.sum(axis=-1, keepdims=True))",
         "That is the logarithm of the softmax."),
    ],
)
def softmax_rows(x):
    shifted = x - x.max(axis=-1, keepdims=True)
    exps = np.exp(shifted)
    return exps / exps.sum(axis=-1, keepdims=True)


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


def _queries(rng):
    for T, d, d_v in [(1, 2, 2), (4, 2, 3), (5, 9, 1), (3, 16, 4)]:
        yield (f"T={T}, d={d}, d_v={d_v}", rng.normal(size=d), rng.normal(size=(T, d)),
               rng.normal(size=(T, d_v)))
    k = 50 + np.abs(rng.normal(size=(3, 4))) * 50
    yield "large scores", np.full(4, 50.0), k, rng.normal(size=(3, 2))


@exercise(
    lesson=3,
    expects="a function `attend_last(q, k, v)`: arrays (d,), (T, d) and (T, d_v) in, an array "
    "(d_v,) out",
    not_tested="speed",
    in_words="one score for each of the T keys, (T,); the softmax of them, (T,); then the rows of "
    "v added up with these weights, (d_v,)",
    cases=_queries,
    slips=[
        (" / np.sqrt(len(q))", "", "The scale is missing: divide the scores by the root of d, the "
         "length of q."),
        ("np.sqrt(len(q))", "len(q)", "You divide by d. The scale is the root of d."),
        ("len(q)", "len(k)", "You divide by the root of T, the number of keys. The scale is the "
         "root of d, the length of q."),
        ("/ np.sqrt", "* np.sqrt", "You multiply by the root of d. Divide."),
        ("softmax(scores)", "scores", "The softmax is missing: scores are not weights yet."),
        ("softmax(scores)", "(scores / scores.sum())", "The exponential is missing: that is no "
         "softmax."),
        ("softmax(scores)", "(np.exp(scores) / np.exp(scores).sum())", "exp of a large score is "
         "infinite. Use a softmax that subtracts the maximum."),
        ("@ v", "@ k", "You add up the keys. What is passed on is the values."),
        ("softmax(scores) @ v", "softmax(scores)", "These are the weights. The result is the "
         "values, added up with these weights."),
        ("softmax(scores) @ v", "v.mean(axis=0)", "That is the plain average of the values: the "
         "weights play no part."),
        ("softmax(scores) @ v", "v[np.argmax(scores)]", "That takes the best match alone. "
         "Attention takes a little of every value."),
        ("return softmax(scores) @ v", "return softmax(scores)[:, None] * v", "These are the "
         "weighted values. Add them up over the T positions."),
    ],
)
def attend_last(q, k, v):
    scores = k @ q / np.sqrt(len(q))
    return softmax(scores) @ v


# ---- the mask -----------------------------------------------------------------------------------

_LEAKS = "A finite number leaks as soon as the scores are as low. Use -np.inf."


@exercise(
    lesson=3,
    expects="a function `causal_mask(T)`: a whole number in, an array (T, T) out, with 0 where "
    "position t may look and minus infinity in its future",
    not_tested="speed",
    in_words="0 for s <= t, minus infinity for s > t",
    cases=lambda rng: [(f"T={T}", T) for T in (1, 2, 4, 7)],
    given=("s > t:\n                mask[t, s]", "s >= t:\n                mask[s, t]"),
    slips=[
        ("s > t", "s >= t", "A position may look at itself, and here it may not. The first row is "
         "all minus infinity, and its softmax is NaN."),
        ("mask[t, s]", "mask[s, t]", "Rows and columns are swapped: here position t sees only what "
         "comes after it. The row is the one that looks: mask[t, s]."),
        ("s > t", "s > t + 1", "Each position sees one step into the future. The mask starts right "
         "after the diagonal."),
        ("s > t", "False", "Nothing is masked."),
        ("-np.inf", "np.inf", "That is plus infinity. The future has to lose."),
        *(("-np.inf", number, _LEAKS) for number in ("-1e9", "-1e4", "-100.0", "-10.0", "-1.0")),
        ("return mask", "return (mask == 0) * 1.0", "These are ones and zeros. This mask is added "
         "to the scores: 0 where one may look, minus infinity elsewhere."),
        ("return mask", "return (mask != 0) * 1.0", "These are zeros and ones. This mask is added "
         "to the scores: 0 where one may look, minus infinity elsewhere."),
        ("return mask", "return mask + 1", "Where one may look the mask adds 1. It should add "
         "nothing: 0."),
    ],
)
def causal_mask(T):
    mask = np.zeros((T, T))
    for t in range(T):
        for s in range(T):
            if s > t:
                mask[t, s] = -np.inf
    return mask


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
            f"the row that leaks most is row {row}: {leaks[row]:.2g} of its weight is in the "
            "future"
        ), "The softmax compares the scores of a row with each other. When does -10 win? The row "
           "needs a future, so it is not the last one.")


def _past_mean(x):
    return np.array([x[: t + 1].mean(axis=0) for t in range(len(x))])


def _leak(to, source, size=1.0, columns=slice(None)):
    def layer(x):
        out = _past_mean(x)
        out[to, columns] += size * x[source, columns]
        return out

    return layer


def _layers(rng):
    causal = {
        "the average of the past": _past_mean,
        "each position by itself": lambda x: x * 2 + 1,
        "the character before": lambda x: np.vstack([x[:1] * 0, x[:-1]]),
        "a result that is always the same": lambda x: np.ones_like(x),
        "a product with weights of 0": lambda x: np.tril(np.ones((len(x), len(x)))) @ x,
    }
    leaky = {
        "the average of all positions": lambda x: np.ones_like(x) * x.mean(axis=0),
        "one position ahead": lambda x: np.vstack([x[1:], x[-1:]]),
        "only the first position sees the last": _leak(0, -1),
        "only the position before the last sees the last": _leak(-2, -1),
        "only position 1 sees position 2": _leak(1, 2),
        "only the last column leaks": _leak(0, -1, columns=2),
        "a leak of one part in a billion": _leak(0, -1, 1e-9),
    }
    for kind, layers in [("causal", causal), ("not causal", leaky)]:
        for name, layer in layers.items():
            x = rng.normal(size=(6, 3))
            x[[2, -1]] = 0.0
            yield f"{kind}: {name}", layer, x


@exercise(
    lesson=3,
    expects="a function `is_causal(layer, x)`: a function from arrays (T, D) to arrays (T, D) and "
    "an array (T, D) in, True or False out",
    not_tested="layers that see the future only for special inputs; whether you start from this x "
    "or from another one of its shape",
    cases=_layers,
    slips=[
        ("range(len(x))", "[len(x) - 1]", "Try every position as the changed one, not the last "
         "alone."),
        ("range(len(x))", "range(len(x) - 1)", "A leak may come from the last position. Change that "
         "one, too."),
        ("np.array_equal(", "np.allclose(", "np.allclose forgives small differences. "
         "np.array_equal does not."),
        ("[:s], before[:s]", "[: max(s - 1, 0)], before[: max(s - 1, 0)]", "Compare all outputs "
         "before the changed position, also the one right before it."),
        ("[:s], before[:s]", "[: min(s, 1)], before[: min(s, 1)]", "Compare all outputs before the "
         "changed position, not the first alone."),
        ("[:s], before[:s]", ", before", "Compare only the outputs before the position that you "
         "changed. The output there and after it may change."),
        ("[:s], before[:s]", "[: s + 1], before[: s + 1]", "Compare only the outputs before the "
         "position that you changed. The output there may change."),
        ("[:s], before[:s]", "[s + 1 :], before[s + 1 :]", "You compare the outputs after the "
         "changed position. They may change; those before it may not."),
        ("other[s] +=", "other[s, 0] +=", "Only one number of the position is changed. A leak may "
         "come from the others."),
        ("other[s] += 1.0", "other[s] *= 2", "A row of zeros does not change when you "
         "double it or set it to 0. Add a number instead."),
        ("other[s] += 1.0", "other[s] = 0.0", "A row of zeros does not change when you "
         "double it or set it to 0. Add a number instead."),
        ("other[s] += 1.0", "other[s] = np.nan", "0 times NaN is NaN, so a layer that gives the "
         "future a weight of 0 looks leaky. Change the position to an ordinary number."),
        ("return False", "pass", "No layer is ever called leaky."),
        ("return True", "return False", "No layer is ever called causal."),
    ],
)
def is_causal(layer, x):
    before = layer(x)
    for s in range(len(x)):
        other = x.copy()
        other[s] += 1.0
        if not np.array_equal(layer(other)[:s], before[:s]):
            return False
    return True


# ---- heads --------------------------------------------------------------------------------------

_MERGED = "heads.transpose(1, 0, 2).reshape(heads.shape[1], -1)"


@exercise(
    lesson=3,
    expects="a function `merge_heads(heads)`: an array (H, T, d) in, an array (T, H * d) out",
    not_tested="speed; a batch axis",
    in_words="undo the two steps of the split in reverse order: first the transpose, then the "
    "reshape",
    cases=lambda rng: [
        (f"H={H}, T={T}, d={d}", rng.normal(size=(H, T, d)))
        for H, T, d in [(2, 3, 2), (1, 4, 3), (4, 2, 1), (3, 3, 3)]
    ],
    slips=[
        (".transpose(1, 0, 2)", "", "The numbers of different positions got mixed: reshape keeps "
         "the order in memory. Bring the axes into the order (T, H, d) first."),
        ("(1, 0, 2)", "(1, 2, 0)", "The axes before the reshape are (T, d, H): features of the "
         "heads alternate. They should be (T, H, d)."),
        ("(1, 0, 2)", "(2, 1, 0)", "The axes before the reshape are (d, T, H). They should be "
         "(T, H, d)."),
        (_MERGED, "heads.reshape(-1, heads.shape[2])", "The heads are below each other. They "
         "should be side by side: one row for each position."),
        (".reshape(heads.shape[1], -1)", "", "The order (T, H, d) is right. Now make one row of "
         "H * d numbers for each position."),
        (_MERGED, "heads.sum(axis=0)", "The heads were added up. They should be side by side."),
        (_MERGED, "heads.mean(axis=0)", "The heads were averaged. They should be side by side."),
        ("heads.transpose", "heads[::-1].transpose", "The heads are in reverse order."),
    ],
)
def merge_heads(heads):
    return heads.transpose(1, 0, 2).reshape(heads.shape[1], -1)


@check(
    lesson=3,
    expects="a function `two_back_queries(T)`: a whole number in, an array (T, T) out, the queries "
    "with which every position t >= 2 gives at least 0.9 of its weight to position t - 2, for "
    "every T up to 32",
    not_tested="what positions 0 and 1 do: they have no character two back",
)
def two_back_queries(case, two_back_queries):
    for T in [3, 5, 8, 12, 32]:
        with case(f"T={T}"):
            q = as_array(two_back_queries(T))
            expect(q.shape == (T, T), f"expected shape {(T, T)}, got {q.shape}")
            expect(np.isfinite(q).all(), "your queries hold an infinity or a NaN")
            weights = softmax(q / np.sqrt(T) + _future(T))  # the keys are np.eye(T)
            t = np.arange(2, T)
            target = weights[t, t - 2]
            looks = weights[t].argmax(axis=1)
            hint = ""
            if (q.argmax(axis=1)[:-2] == t).all():
                hint = "These queries point two ahead, and the mask hides that. Try the other sign."
            elif (looks == t - 1).all():
                hint = "It looks one back. You need two."
            elif (looks == t - 2).all():
                hint = "The position is right, but it is not sharp enough: make the queries larger."
            worst = int(target.argmin())
            expect(target.min() >= 0.9, (
                f"position {t[worst]} gives {target[worst]:.4f} of its weight to position "
                f"{t[worst] - 2}"
            ), hint)


# ---- gradients and cost -------------------------------------------------------------------------


def _flows(rng):
    for T, d, d_v in [(1, 2, 2), (3, 4, 2), (4, 4, 4), (5, 9, 3)]:
        q, k = rng.normal(size=(2, T, d))
        v, d_out = rng.normal(size=(2, T, d_v))
        weights = softmax(q @ k.T / np.sqrt(d) + _future(T))
        yield f"T={T}, d={d}, d_v={d_v}", q, k, v, weights, d_out


@exercise(
    lesson=3,
    expects="a function `attention_gradients(q, k, v, weights, d_out)`: arrays (T, d), (T, d), "
    "(T, d_v), (T, T) and (T, d_v) in, three arrays d_q, d_k, d_v out, shaped like q, k and v",
    not_tested="speed; several heads",
    cases=_flows,
    slips=[
        ("weights.T @ d_out", "weights @ d_out", "In d_v the weights are transposed: weights.T @ "
         "d_out. What position s passed on comes back from everyone who looked at it."),
        (" / np.sqrt(q.shape[1])", "", "The scale is missing in d_scores: divide by the root of "
         "d."),
        ("np.sqrt(q.shape[1])", "q.shape[1]", "You divide by d. The scale is the root of d."),
        ("/ np.sqrt", "* np.sqrt", "You multiply by the root of d. Divide."),
        ("weights * (d_weights - inner)", "d_weights", "The slope of the softmax is missing between "
         "d_weights and d_scores."),
        ("(d_weights - inner)", "d_weights", "The slope of the softmax has a second part: subtract, "
         "in each row, the sum of weights times d_weights."),
        ("weights * (d_weights - inner)", "(d_weights - inner)", "The slope of the softmax: times "
         "the weights, after the sum has been subtracted."),
        ("axis=1", "axis=0", "The sum in the softmax's slope runs along a row: axis=1, "
         "keepdims=True."),
        ("(weights * d_weights).sum", "d_weights.sum", "In the softmax's slope, d_weights is added "
         "up with the weights."),
        ("d_scores.T @ q", "d_scores @ q", "In d_k the d_scores are transposed: a key is looked at "
         "by the rows of its column."),
        ("d_scores @ k, d_scores.T @ q", "d_scores.T @ q, d_scores @ k", "d_q and d_k are "
         "swapped."),
        ("return d_scores @ k, d_scores.T @ q, d_v", "return d_scores @ k, d_scores.T @ q",
         "Three arrays: return d_q, d_k, d_v."),
    ],
)
def attention_gradients(q, k, v, weights, d_out):
    d_v = weights.T @ d_out
    d_weights = d_out @ v.T
    inner = (weights * d_weights).sum(axis=1, keepdims=True)
    d_scores = weights * (d_weights - inner) / np.sqrt(q.shape[1])
    return d_scores @ k, d_scores.T @ q, d_v


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
