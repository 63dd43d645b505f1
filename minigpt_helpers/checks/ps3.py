"""Checks of problem set 3: attention with a window, heads built by hand, heads measured."""

from __future__ import annotations

import math

import numpy as np

from minigpt_helpers.checks._ask import prediction
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import as_array, expect, expect_same, show
from minigpt_helpers.checks._exercise import exercise
from minigpt_helpers.checks._reference import softmax
from minigpt_helpers.pretrained import load_pretrained

TOLERANCE = 1e-4  # float32 is precise enough


def _future(T):
    return np.triu(np.full((T, T), -np.inf), k=1)


def _causal_weights(q, k):
    return softmax(q @ k.T / math.sqrt(q.shape[1]) + _future(len(q)))


def _entropies(weights):
    logs = np.log(np.where(weights > 0, weights, 1.0))
    return -(weights * logs).sum(axis=-1).mean(axis=-1)


def _distances(weights):
    t = np.arange(weights.shape[-1])
    return (weights * np.abs(t[:, None] - t)).sum(axis=-1).mean(axis=-1)


# ---- 1. attention with a window -----------------------------------------------------------------


def _windows(rng):
    for T, d, d_v, window in [(5, 2, 3, 3), (4, 4, 4, 2), (6, 9, 1, 4), (5, 4, 2, 5), (3, 3, 2, 9),
                              (4, 2, 3, 1), (1, 3, 2, 2)]:
        q, k = rng.normal(size=(2, T, d)) * 1.5
        yield (f"T={T}, d={d}, d_v={d_v}, window={window}", q, k, rng.normal(size=(T, d_v)),
               window)
    for level in (1000.0, -1000.0):
        k, v = level / 2 + rng.normal(size=(5, 4)), rng.normal(size=(5, 2))
        yield f"scores near {level:.0f}", np.ones((5, 4)), k, v, 3
    q = np.array([[1.0], [-1.0], [1.0], [-1.0], [1.0]]) * np.ones((5, 4))
    yield "rows near 1000 and near -1000", q, 500 + rng.normal(size=(5, 4)), v, 3
    for name, order in [("a future with very high scores", 1.0),
                        ("a far past with very high scores", -1.0)]:
        k = order * np.linspace(-1e6, 1e6, 5)[:, None]
        k[1:-1] += rng.normal(size=(3, 1))  # the ends stay: -10^12 is a score, too
        yield name, np.full((5, 1), 1e6), k, rng.normal(size=(5, 2)), 2


_FINITE = "A finite number in the mask is not low enough when the scores are as low. Use -np.inf."
_HIDE = "scores = np.where(seen, scores, -np.inf)"
_EXPS = "exps = np.exp(scores - scores.max(axis=-1, keepdims=True))"
_WEIGHTS = "weights = exps / exps.sum(axis=-1, keepdims=True)"
_SHARE = "The mask comes after the softmax, so the hidden positions have taken their share already. "
_SHARE += "Hide them before it."


@exercise(
    lesson="ps3",
    expects="a function `windowed_attention(q, k, v, window)`: arrays (T, d), (T, d) and (T, d_v) "
    "and a whole number in, an array (T, d_v) out",
    not_tested="speed; a batch axis; several heads",
    in_words="scores (T, T), divided by the root of d; minus infinity wherever a position may not "
    "look, ahead or too far back; softmax of each row; times v",
    tol=TOLERANCE,
    cases=_windows,
    slips=[
        ("back < window", "back < T", "The window is missing: each position looks back all the "
         "way."),
        ("back < window", "back <= window", "The window is one too wide: `window` counts the "
         "position itself."),
        ("back < window", "back < window - 1", "The window is one too narrow: `window` counts the "
         "position itself, and positions t - window + 1 to t are seen."),
        ("back >= 0", "back > -window", "The window reaches to both sides. The future must stay "
         "hidden."),
        ("(back >= 0)", "True", "The future is not hidden."),
        ("back >= 0", "back > 0", "A position may look at itself, and here it may not."),
        (" / np.sqrt(d)", "", "The scale is missing: divide the scores by the root of d."),
        ("np.sqrt(d)", "d", "You divide by d. The scale is the root of d."),
        ("np.sqrt(d)", "np.sqrt(T)", "You divide by the root of T, the number of positions. The "
         "scale is the root of d, the length of a query."),
        ("/ np.sqrt", "* np.sqrt", "You multiply by the root of d. Divide."),
        ("exps.sum(axis=-1, keepdims=True)", "exps.sum(axis=0)", "The softmax runs down the "
         "columns. Each row, one position that looks, has to sum to 1: axis=-1."),
        ("scores - scores.max(axis=-1, keepdims=True)", "scores", "exp of a large score is infinite, "
         "and of a very low one 0, so you divide infinities or zeros. Subtract each row's largest "
         "score before exp."),
        ("scores.max(axis=-1, keepdims=True)", "scores.max()", "Each row needs its own maximum."),
        (f"{_HIDE}\n    {_EXPS}\n    {_WEIGHTS}", f"{_EXPS}\n    {_WEIGHTS} * seen", _SHARE),
        (f"{_HIDE}\n    {_EXPS}\n    {_WEIGHTS}", f"{_EXPS}\n    {_WEIGHTS} * seen\n"
         "    weights = weights / weights.sum(axis=-1, keepdims=True)", "The hidden positions took "
         "part in the softmax, and the rest was too small to be seen beside them. Hide them before "
         "the softmax."),
        *(("-np.inf", fill, _FINITE) for fill in ("-1e12", "-1e9", "-1e4", "-100.0", "-10.0")),
        ("-np.inf", "0.0", "A score of 0 still gets a weight. Hide with minus infinity."),
        (_HIDE, "scores = scores + ~seen * -np.inf", "0 times infinity is NaN: "
         "np.where(seen, scores, -np.inf) needs no product."),
        ("weights @ v", "weights", "These are the weights. The result is the values, added up with "
         "these weights."),
        ("weights @ v", "weights @ k", "You add up the keys. What is passed on is the values."),
    ],
)
def ps3_windowed_attention(q, k, v, window):
    T, d = q.shape
    back = np.arange(T)[:, None] - np.arange(T)
    seen = (back >= 0) & (back < window)
    scores = q @ k.T / np.sqrt(d)
    scores = np.where(seen, scores, -np.inf)
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = exps / exps.sum(axis=-1, keepdims=True)
    return weights @ v


# ---- 2. how sharp must a head be? ---------------------------------------------------------------

prediction(
    "ps3_predict_longer_text",
    lesson="ps3",
    answer=lambda: math.log(999 / 99),
    tol=0.0065,
    expects="one number, to two decimals: how much larger the one score has to be with 1000 "
    "positions than with 100",
    hint="With the other scores at 0, the others have the exponential 1 each. What must exp(score) "
    "be, compared with their sum, for a weight of 0.9? Then take the logarithm.",
    near=[
        (math.log(10), "Nearly. Count the others: of 100 positions 99 have the score 0."),
        (10, "exp(score) has to grow by that factor. The score is its logarithm."),
        (9, "What grows in step with the text is exp(score). The score is its logarithm."),
        (1, "Take the natural logarithm, not the one to the base 10."),
        (math.log2(999 / 99), "Take the natural logarithm, not the one to the base 2."),
        (0, "900 more positions take a share each. A score that stays the same gives less weight."),
        (math.log(9 * 999), "That is the whole score with 1000 positions. By how much is it larger "
         "than with 100?"),
        (math.log(9 * 99), "That is the whole score with 100 positions. By how much does it grow?"),
    ],
)


def _sizes(rng):
    for _ in range(3):
        n, w = int(rng.integers(3, 3000)), float(rng.uniform(0.3, 0.99))
        yield f"n={n}, w={w:.2f}", n, w
    yield "n=2, w=0.75", 2, 0.75
    yield "a low weight", int(rng.integers(3, 9)), float(rng.uniform(0.02, 0.1))


_SUM = "The position itself is in the sum below the fraction, too: w = e^s / (e^s + n - 1). Solve "
_SUM += "that for s."


@exercise(
    lesson="ps3",
    expects="a function `needed_score(n, w)`: a whole number n >= 2 and a weight 0 < w < 1 in, one "
    "number out",
    not_tested="w of 0 or 1; n of 1",
    in_words="put the score s into a softmax with n - 1 zeros: w = e^s / (e^s + n - 1), and solve "
    "for s",
    tol=1e-3,
    cases=_sizes,
    slips=[
        (" * (n - 1)", "", "That fits two positions. Here n - 1 others share the rest."),
        ("(n - 1)", "n", "There are n positions in all, so n - 1 others."),
        (" / (1 - w)", "", _SUM),
        ("w * (n - 1) / (1 - w)", "w * n", _SUM),
        ("math.log(w * (n - 1) / (1 - w))", "w * (n - 1) / (1 - w)", "That is exp of the score. Take "
         "its logarithm."),
        ("return math", "return -math", "The sign is wrong: a larger weight needs a larger score."),
        ("math.log(", "math.log2(", "The softmax uses e: take the natural logarithm."),
        ("math.log(", "math.log10(", "The softmax uses e: take the natural logarithm."),
        ("w * (n - 1) / (1 - w)", "w", "That is the logarithm of the weight. The softmax also "
         "divides by the sum over all n positions."),
    ],
)
def ps3_needed_score(n, w):
    return math.log(w * (n - 1) / (1 - w))


# ---- 3. fix a head that prefers what is near ----------------------------------------------------


def _seen_as(fn, what, q, k, slope):
    """The weights, or what one property says of them."""

    def weights_of(q, k):
        weights = as_array(fn(q, k, slope))
        T = len(q)
        expect(weights.shape == (T, T), f"expected the weights, an array of shape {(T, T)}, got "
               f"{weights.shape}")
        return weights

    w = weights_of(q, k)
    with np.errstate(all="ignore"):
        if what == "the sum of each row":
            return w.sum(axis=1)
        if what == "how far a new future moves the weights before it":
            moved = []
            for t in range(len(q) - 1):
                other_q, other_k = q.copy(), k.copy()
                other_q[t + 1 :], other_k[t + 1 :] = q[: t - len(q) : -1] + 1, 1 - k[t + 1 :]
                moved.append(np.abs(weights_of(other_q, other_k) - w)[: t + 1].max())
            return np.array(moved) + 1.0
        if what == "a difference of scores":  # whatever rows or columns were divided by cancels
            return np.log(w[4, 2] * w[3, 0] / (w[4, 0] * w[3, 2]))
        if what == "log of (weight / weight of the one before it)":
            return np.log(w[-1, 1:] / w[-1, :-1])
    return w


def _heads(rng):
    for T, d in [(5, 3), (8, 2)]:
        yield "each row sums to 1", "the sum of each row", *rng.normal(size=(2, T, d)), 0.5
    yield ("the future changes nothing before it",
           "how far a new future moves the weights before it", *rng.normal(size=(2, 6, 4)), 0.3)
    for d in (3, 16):
        yield "the scale", "a difference of scores", *rng.normal(size=(2, 5, d)), 0.0
    for T, slope in [(6, 0.5), (5, 1.25)]:
        same = np.tile(rng.normal(size=(2, 1, 3)), (1, T, 1))
        yield ("what is near counts more", "log of (weight / weight of the one before it)", *same,
               slope)
    yield "all together", "the weights", *rng.normal(size=(2, 6, 4)), 0.7
    yield "large scores", "the weights", *rng.normal(size=(2, 5, 2)) * 60.0, 0.7
    k = np.linspace(-1e6, 1e6, 4)[:, None]
    yield "a future with very high scores", "the weights", np.full((4, 1), 1e6), k, 0.7


_DISTANCE = "subtract slope times the distance t - s"
_PAST = "scores = np.where(back >= 0, scores, -np.inf)"


@exercise(
    lesson="ps3",
    expects="a function `distance_weights(q, k, slope)`: two arrays (T, d) and a number >= 0 in, "
    "the weights (T, T) out",
    not_tested="speed; slopes below 0",
    tol=TOLERANCE,
    cases=_heads,
    call=_seen_as,
    given=(f"np.sqrt(d) - slope * back\n    {_PAST}\n    {_EXPS}\n    {_WEIGHTS}\n    return weights",
           "d + slope * back\n    exps = np.exp(scores - scores.max(axis=0, keepdims=True))\n"
           "    return np.tril(exps / exps.sum(axis=0, keepdims=True))"),
    slips=[
        ("- slope * back", "+ slope * back", f"Far positions are preferred: {_DISTANCE}."),
        (" - slope * back", "", f"The distance plays no part: {_DISTANCE}."),
        ("q @ k.T / np.sqrt(d) - slope * back", "(q @ k.T - slope * back) / np.sqrt(d)", "The "
         "distance is not divided by the root of d: scale the products first, then subtract."),
        ("np.sqrt(d)", "d", "You divide by d. The scale is the root of d."),
        ("np.sqrt(d)", "np.sqrt(T)", "You divide by the root of T. The scale is the root of d."),
        (" / np.sqrt(d)", "", "The scale is missing: divide by the root of d."),
        ("/ np.sqrt", "* np.sqrt", "You multiply by the root of d. Divide."),
        ("exps.sum(axis=-1, keepdims=True)", "exps.sum(axis=0)", "The softmax runs down the columns. "
         "Each row has to sum to 1."),
        ("scores - scores.max(axis=-1, keepdims=True)", "scores", "exp of a large score is "
         "infinite. Subtract each row's largest score before exp."),
        (f"{_PAST}\n    {_EXPS}\n    {_WEIGHTS}", f"{_EXPS}\n    {_WEIGHTS} * (back >= 0)", "The "
         "mask comes after the softmax: the future is still in the sum that the others were divided "
         "by. Hide it before the softmax."),
        (f"{_PAST}\n    {_EXPS}\n    {_WEIGHTS}", f"{_EXPS}\n    {_WEIGHTS} * (back >= 0)\n"
         "    weights = weights / weights.sum(axis=-1, keepdims=True)", "The future took part in the "
         "softmax, and the rest was too small to be seen beside it. Hide it before the softmax."),
        *(("-np.inf", fill, f"The future leaks. {_FINITE}") for fill in ("-1e9", "-1e4", "-100.0")),
        ("back >= 0", "back > 0", "A position may look at itself, and here it may not."),
        ("back >= 0", "back <= 0", "The past is hidden, and the future is seen."),
    ],
)
def ps3_distance_weights(q, k, slope):
    T, d = q.shape
    back = np.arange(T)[:, None] - np.arange(T)
    scores = q @ k.T / np.sqrt(d) - slope * back
    scores = np.where(back >= 0, scores, -np.inf)
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = exps / exps.sum(axis=-1, keepdims=True)
    return weights


# ---- 4. the weights do not know the keys --------------------------------------------------------


@check(
    lesson="ps3",
    expects="a function `other_keys(q, k)`: two arrays (T, d) in, other keys (T, d) out that give "
    "the same weights for these queries",
    not_tested="attention without a mask",
)
def ps3_other_keys(case, other_keys):
    for T, d in [(5, 3), (2, 4), (6, 6), (9, 2), (4, 1)]:
        q, k = case.rng.normal(size=(2, T, d))
        if T == d:
            k -= k.mean(axis=0)  # adding or subtracting the mean moves nothing
        with case(f"T={T}, d={d}"):
            got = as_array(other_keys(q, k))
            expect(got.shape == k.shape, f"expected keys of shape {k.shape}, got {got.shape}")
            expect(np.isfinite(got).all(), "your keys hold an infinity or a NaN")
            moved = np.linalg.norm(got - k, axis=1)
            least = int(moved.argmin())
            expect(moved[least] > 0.0999, (
                f"the key of position {least} moved by {moved[least]:.2g} only; each has to move "
                "by at least 0.1"
            ), "Which change of all keys adds the same number to every score of a row?")
            expected, weights = _causal_weights(q, k), _causal_weights(q, got)
            off = np.abs(weights - expected)
            t, s = np.unravel_index(off.argmax(), off.shape)
            differences = np.linalg.norm((got - k) - (got - k)[0], axis=1)
            hint = "A softmax looks at the differences of the scores in a row. Which change of the "
            hint += "keys leaves q[t] @ k[a] - q[t] @ k[b] as it is, for all a and b?"
            if np.allclose(got @ k[0], (k @ k[0]) * (got @ k[0])[0] / (k @ k[0])[0]):
                hint = "A factor stretches the differences of the scores, and they are what counts."
            elif np.allclose(np.sort(got, axis=0), np.sort(k, axis=0)):
                hint = "The same keys at other positions give other weights. Move every key instead."
            elif differences.max() > 1e-6:
                hint = "You move each key by another amount. What if all moved by the same?"
            expect(off.max() < TOLERANCE, (
                f"position {t} gave {expected[t, s]:.4f} to position {s}, and gives "
                f"{weights[t, s]:.4f} now"
            ), hint)


# ---- 5. a head that copies what came after ------------------------------------------------------


def _features(ids, V, T):
    x = np.zeros((len(ids), 2 * V + T))
    for t, i in enumerate(ids):
        x[t, i] = x[t, 2 * V + t] = 1.0
        if t:
            x[t, V + ids[t - 1]] = 1.0
    return x


def _last_seen(ids):
    """{t: the last s < t with the same character}, for those that have one."""
    found = {}
    for t in range(len(ids)):
        earlier = [s for s in range(t) if ids[s] == ids[t]]
        if earlier:
            found[t] = earlier
    return found


def _copy_hint(weights, seen, ids):
    looks = {t: int(weights[t].argmax()) for t in seen}
    if all(looks[t] == seen[t][-1] + 1 for t in seen):
        return "It looks at the right position, but not sharply enough. Make the queries larger."
    if all(looks[t] in seen[t] or looks[t] == t for t in seen) and any(
        looks[t] in seen[t] and looks[t] - 1 not in seen[t] for t in seen
    ):
        return ("It finds the equal character itself, not the one after it. The key of a position "
                "should say which character is before it.")
    if all(looks[t] - 1 in seen[t] for t in seen):
        first = [weights[t, places[0] + 1] for t, places in seen.items()]
        if all(looks[t] == seen[t][0] + 1 for t in seen) and min(first) >= 0.9:
            return "It copies what came after the first occurrence. The last one should win."
        return ("It finds positions after an equal character, but not only the last of them. Let a "
                "later key score a little more.")
    if all(looks[t] == t for t in seen):
        return ("Every position looks at itself. Does a key say which character is there, "
                "rather than which is before it? Or does the position count for more than a "
                "match?")
    if all(looks[t] == 0 for t in seen):
        return "Every position looks at the start: is every score the same?"
    return ""


@check(
    lesson="ps3",
    expects="a function `copy_head(V, T)`: two whole numbers in, three arrays out, W_q and W_k of "
    "shape (2 V + T, d) and W_v of shape (2 V + T, V)",
    not_tested="positions whose character did not occur before: they may do as they like",
)
def ps3_copy_head(case, copy_head):
    rng = case.rng
    texts = [
        ("each character twice", 6, 12, [*rng.permutation(6), *rng.permutation(6)]),
        ("a random text", 5, 14, rng.integers(0, 5, size=14)),
        ("two characters", 2, 12, rng.integers(0, 2, size=12)),
        ("a text shorter than T", 7, 30, rng.integers(0, 7, size=22)),
        ("a long text", 27, 64, rng.integers(0, 27, size=64)),
        ("always the same character", 3, 10, np.full(10, rng.integers(0, 3))),
    ]
    for name, V, T, ids in texts:
        ids = [int(i) for i in ids]
        with case(f"{name} (V={V}, T={T})"):
            got = copy_head(V, T)
            expect(isinstance(got, (tuple, list)) and len(got) == 3,
                   "expected three arrays: return W_q, W_k, W_v")
            W_q, W_k, W_v = map(as_array, got)
            D = 2 * V + T
            for label, W in [("W_q", W_q), ("W_k", W_k), ("W_v", W_v)]:
                expect(W.ndim == 2 and len(W) == D, (
                    f"{label} has shape {W.shape}; for V={V}, T={T} it needs {D} rows"
                ), "x has 2 V + T columns, and x @ W needs as many rows in W.")
                expect(np.isfinite(W).all(), f"{label} holds an infinity or a NaN",
                       "Large is enough.")
            expect(W_q.shape == W_k.shape, f"W_q has shape {W_q.shape}, W_k {W_k.shape}",
                   "A query and a key are multiplied: they need the same length.")
            expect(W_v.shape == (D, V), f"W_v has shape {W_v.shape}, expected {(D, V)}")
            x = _features(ids, V, T)
            weights = _causal_weights(x @ W_q, x @ W_k)
            expect(np.isfinite(weights).all(), "the weights hold a NaN: the scores are too large")
            seen = _last_seen(ids)
            for t, places in seen.items():
                expect(weights[t, places[-1] + 1] >= 0.9, (
                    f"in {ids} position {t} holds {ids[t]}, seen last at {places[-1]}: it gives "
                    f"{weights[t, places[-1] + 1]:.2f} of its weight to position {places[-1] + 1}"
                ), _copy_hint(weights, seen, ids))
            out = weights @ x @ W_v
            for t, places in seen.items():
                target = ids[places[-1] + 1]
                others = np.delete(out[t], target)
                expect(out[t, target] > others.max() and abs(out[t, target] - 1) <= 0.15, (
                    f"in {ids} position {t} looks at the right position, but the result says "
                    f"{int(out[t].argmax())} with {out[t].max():.2f}; expected: {target}, about 1"
                ), "A value should say which character is at its own position: a 1 at its id.")


# ---- 6. measure the heads of a trained model ----------------------------------------------------


@check(
    lesson="ps3",
    expects="two functions, `head_entropy(weights)` and `head_distance(weights)`: an array "
    "(L, H, T, T) in, an array (L, H) out",
    not_tested="speed",
)
def ps3_head_measures(case, head_entropy, head_distance):
    def safe_log(w):
        return np.log(np.where(w > 0, w, 1.0))

    def back(w):
        t = np.arange(w.shape[-1])
        return t[:, None] - t

    no_floor = (lambda w: -(w * np.log(w)).sum(-1).mean(-1), "log(0) is minus infinity, and 0 times "
                "that is NaN. 0 log 0 has to count as 0: take the log of np.where(weights > 0, "
                "weights, 1).")
    entropy_mistakes = [
        no_floor,
        (lambda w: (w * safe_log(w)).sum(-1).mean(-1), "The sign: the entropy is minus "
         "the sum of w log w, and not negative."),
        (lambda w: _entropies(w) / math.log(2), "That is in bits. Take the natural "
         "logarithm, for nats."),
        (lambda w: _entropies(w) * w.shape[-1], "You add the rows up. Take the mean over "
         "the T rows."),
        (lambda w: _entropies(w) / w.shape[-1], "You take the mean over both axes. A row "
         "is summed up; then take the mean over the rows."),
        (lambda w: _entropies(w.mean(axis=-2, keepdims=True)), "You averaged the rows "
         "first. Take the entropy of each row, then the mean."),
    ]
    distance_mistakes = [
        (lambda w: -_distances(w), "The sign: looking back 3 places is a distance of 3."),
        (lambda w: _distances(w) * w.shape[-1], "You add the rows up. Take the mean over "
         "the T rows."),
        (lambda w: _distances(w) / w.shape[-1], "You take the mean over both axes. A row "
         "is summed up; then take the mean over the rows."),
        (lambda w: (np.arange(w.shape[-1]) * w).sum(-1).mean(-1), "That is where it looks, "
         "counted from the start of the text. The distance is counted from the one that looks: "
         "t - s."),
        (lambda w: np.take_along_axis(
            np.broadcast_to(back(w), w.shape), w.argmax(-1)[..., None], -1)[..., 0].mean(-1),
         "That is the distance to the largest weight alone. All positions count, each by its "
         "weight."),
        (lambda w: np.broadcast_to(back(w), w.shape).clip(0).sum(-1).mean(-1), "The "
         "weights play no part. Each distance counts by its weight."),
    ]
    for L, H, T in [(2, 3, 5), (1, 1, 4), (3, 2, 9), (2, 2, 2), (1, 2, 1)]:
        scores = case.rng.normal(size=(L, H, T, T)) * 2
        weights = softmax(scores + _future(T))
        with case(f"entropy, L={L}, H={H}, T={T}"):
            expect_same(head_entropy, _entropies, weights, tol=TOLERANCE, mistakes=entropy_mistakes)
        with case(f"distance, L={L}, H={H}, T={T}"):
            expect_same(head_distance, _distances, weights, tol=TOLERANCE, mistakes=distance_mistakes)
    sharp = np.stack([np.eye(6), np.eye(6, k=-1)])[None]  # (1, 2, T, T): itself, and the one before
    sharp[0, 1, 0, 0] = 1.0
    with case("heads that give all to one position"):
        expect_same(head_entropy, _entropies, sharp, tol=TOLERANCE, mistakes=entropy_mistakes)
        expect_same(head_distance, _distances, sharp, tol=TOLERANCE, mistakes=distance_mistakes)


@check(
    lesson="ps3",
    kind="any",
    expects="your text (20 to 64 characters that the model knows), and two heads, each as "
    "(layer, head): the one with the lowest mean entropy, and the one that looks back furthest",
)
def ps3_own_text(case, text, sharpest, furthest):
    model, tokenizer = load_pretrained()
    with case("a text for the model"):
        expect(isinstance(text, str), f"expected a text, got {show(text)}")
        unknown = sorted(set(text) - set(tokenizer.chars))
        expect(not unknown, f"the model does not know these characters: {unknown[:8]}",
               "Use `readable(...)`, which leaves out what it does not know.")
        expect(20 <= len(text) <= model.max_seq_len, f"your text has {len(text)} characters",
               f"Take 20 to {model.max_seq_len} characters.")
        expect(len(set(text)) >= 5, "your text is nearly always the same character",
               "Take a text that means something to you.")
    usable = isinstance(text, str) and 0 < len(text) <= model.max_seq_len
    usable = usable and set(text) <= set(tokenizer.chars)
    for name, got, measure, best, turned_round in [
        ("the sharpest head", sharpest, _entropies, np.min, (
            "That is the head with the highest entropy: the most spread out. The sharpest has the "
            "lowest.")),
        ("the head that looks furthest", furthest, _distances, np.max, (
            "That is the head that looks back least.")),
    ]:
        with case(name):
            expect(usable, "this needs a text that the model can read")
            values = measure(model.attention_weights(tokenizer.encode(text)))  # (L, H)
            pair = as_array(got)
            expect(pair.shape == (2,) and np.all(pair == np.round(pair)), (
                f"expected (layer, head), two whole numbers, got {show(got)}"
            ))
            pair = tuple(int(i) for i in pair)
            fits = all(0 <= i < n for i, n in zip(pair, values.shape))
            expect(fits, f"there is no layer {pair[0]} with head {pair[1]}", (
                f"Layers are numbered 0 to {len(values) - 1}, heads 0 to {len(values[0]) - 1}, and "
                "the layer comes first."))
            opposite = values[pair] == (np.max if best is np.min else np.min)(values)
            expect(abs(values[pair] - best(values)) < 1e-4, f"{pair} is not it", (
                turned_round if opposite else "In your table of numbers, (L, H), "
                "np.unravel_index(index, table.shape) turns an index into (layer, head)."
            ))
