"""Checks of problem set 3: attention with a window, heads built by hand, heads measured."""

from __future__ import annotations

import math

import numpy as np

from minigpt_helpers.checks._ask import prediction
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import as_array, expect, expect_close, expect_same
from minigpt_helpers.checks._reference import softmax
from minigpt_helpers.pretrained import load_pretrained

TOLERANCE = 1e-4  # float32 is precise enough

# ---- the slow, obvious references ---------------------------------------------------------------


def _future(T):
    return np.triu(np.full((T, T), -np.inf), k=1)


def _windowed(q, k, v, window):
    out = []
    for t in range(len(q)):
        seen = slice(max(0, t - window + 1), t + 1)
        out.append(softmax(k[seen] @ q[t] / math.sqrt(len(q[t]))) @ v[seen])
    return np.array(out)


def _distance_weights(q, k, slope):
    weights = np.zeros((len(q), len(q)))
    for t in range(len(q)):
        distance = t - np.arange(t + 1)
        weights[t, : t + 1] = softmax(k[: t + 1] @ q[t] / math.sqrt(q.shape[1]) - slope * distance)
    return weights


def _causal_weights(q, k):
    return _distance_weights(q, k, 0.0)


def _entropies(weights):
    logs = np.log(np.where(weights > 0, weights, 1.0))
    return -(weights * logs).sum(axis=-1).mean(axis=-1)


def _distances(weights):
    t = np.arange(weights.shape[-1])
    return (weights * np.abs(t[:, None] - t)).sum(axis=-1).mean(axis=-1)


# ---- 1. attention with a window -----------------------------------------------------------------


def _wrong_window(change=0, scale="root d", axis=-1, stable=True, late="", ahead=False, own=True,
                  window_on=True):
    def wrong(q, k, v, window):
        T, d = q.shape
        back = np.arange(T)[:, None] - np.arange(T)
        seen = back < window + change if window_on else back < T
        seen &= np.abs(back) < window + change if ahead == "window" else True
        seen &= True if ahead else back >= 0
        seen &= True if own else back != 0
        scores = q @ k.T / {"root d": math.sqrt(d), "none": 1, "d": d, "root T": math.sqrt(T),
                            "times": 1 / math.sqrt(d)}[scale]
        masked = scores if late else np.where(seen, scores, -np.inf)
        exps = np.exp(masked - masked.max(axis=axis, keepdims=True)) if stable else np.exp(masked)
        weights = exps / exps.sum(axis=axis, keepdims=True) * seen
        if late == "repaired":
            weights = weights / weights.sum(axis=-1, keepdims=True)
        return weights @ v
    return wrong


def _weights_only(q, k, v, window):
    return np.array([_windowed(q, k, column, window) for column in np.eye(len(q))]).T


_WINDOW_MISTAKES = [
    (_wrong_window(window_on=False), "The window is missing: each position looks back all the "
     "way."),
    (_wrong_window(change=1), "The window is one too wide: `window` counts the position itself."),
    (_wrong_window(change=-1), "The window is one too narrow: `window` counts the position "
     "itself, and positions t - window + 1 to t are seen."),
    (_wrong_window(ahead="window"), "The window reaches to both sides. The future must stay "
     "hidden."),
    (_wrong_window(ahead="all"), "The future is not hidden."),
    (_wrong_window(own=False), "A position may look at itself, and here it may not."),
    (_wrong_window(scale="none"), "The scale is missing: divide the scores by the root of d."),
    (_wrong_window(scale="d"), "You divide by d. The scale is the root of d."),
    (_wrong_window(scale="root T"), "You divide by the root of T, the number of positions. The "
     "scale is the root of d, the length of a query."),
    (_wrong_window(scale="times"), "You multiply by the root of d. Divide."),
    (_wrong_window(axis=0), "The softmax runs down the columns. Each row, one position that looks, "
     "has to sum to 1: axis=-1."),
    (_wrong_window(late="late"), "The mask comes after the softmax, so the hidden positions have "
     "taken their share already. Hide them before it."),
    (_wrong_window(axis=0, late="late"), "The softmax runs down the columns, and the mask comes "
     "after it."),
    (lambda q, k, v, window: np.full_like(v, np.nan), "All is NaN. Is there 0 times infinity in "
     "your mask? np.where(seen, scores, -np.inf) needs no product."),
    (_weights_only, "These are the weights. The result is "
     "the values, added up with these weights."),
    (lambda q, k, v, window: _windowed(q, k, k, window), "You add up the keys. What is handed over "
     "is the values."),
]


@check(
    lesson="ps3",
    expects="a function `windowed_attention(q, k, v, window)`: arrays (T, d), (T, d) and (T, d_v) "
    "and a whole number in, an array (T, d_v) out",
    not_tested="speed; a batch axis; several heads",
)
def ps3_windowed_attention(case, windowed_attention):
    for T, d, d_v, window in [(5, 2, 3, 3), (4, 4, 4, 2), (6, 9, 1, 4), (5, 4, 2, 5), (3, 3, 2, 9),
                              (4, 2, 3, 1), (1, 3, 2, 2)]:
        q, k = case.rng.normal(size=(2, T, d)) * 1.5
        v = case.rng.normal(size=(T, d_v))
        with case(f"T={T}, d={d}, d_v={d_v}, window={window}"):
            expect_same(windowed_attention, _windowed, q, k, v, window, tol=TOLERANCE,
                        mistakes=_WINDOW_MISTAKES, hint=(
                "Scores (T, T), divided by the root of d; minus infinity wherever a position may "
                "not look, ahead or too far back; softmax of each row; times v."
            ))
    overflow = (_wrong_window(stable=False), "exp of a large score is infinite, and of a very low "
                "one 0, so you divide infinities or zeros. Subtract each row's largest score "
                "before exp.")
    late = (_wrong_window(late="repaired"), "The hidden positions took part in the softmax, and "
            "the rest was too small to be seen beside them. Hide them before the softmax.")
    for name, level in [("scores near 1000", 1000.0), ("scores near -1000", -1000.0)]:
        q = np.ones((5, 4))
        k = level / 2 + case.rng.normal(size=(5, 4))
        v = case.rng.normal(size=(5, 2))
        with case(name):
            expect_same(windowed_attention, _windowed, q, k, v, 3, tol=TOLERANCE, hint=(
                "With scores as low as these a finite number in the mask is not low enough. Use "
                "-np.inf." if level < 0 else "Subtract each row's largest score before exp."
            ), mistakes=[overflow, *_WINDOW_MISTAKES])
    for name, order in [("a future that screams", 1.0), ("a far past that screams", -1.0)]:
        q = np.full((5, 1), 1e6)
        k = order * np.linspace(-1e6, 1e6, 5)[:, None]
        k[1:-1] += case.rng.normal(size=(3, 1))  # the ends stay: -10^12 is a score, too
        v = case.rng.normal(size=(5, 2))
        with case(name):
            expect_same(windowed_attention, _windowed, q, k, v, 2, tol=TOLERANCE, hint=(
                "Scores from -10^12 to 10^12: some weight lies where nobody may look, since your "
                "mask uses a finite number. Use -np.inf."
            ), mistakes=[late, overflow, *_WINDOW_MISTAKES])


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


@check(
    lesson="ps3",
    expects="a function `needed_score(n, w)`: a whole number n >= 2 and a weight 0 < w < 1 in, one "
    "number out",
    not_tested="w of 0 or 1; n of 1",
)
def ps3_needed_score(case, needed_score):
    def right(n, w):
        return math.log(w * (n - 1) / (1 - w))

    mistakes = [
        (lambda n, w: math.log(w / (1 - w)), "That fits two positions. Here n - 1 others share the "
         "rest."),
        (lambda n, w: math.log(w * n / (1 - w)), "There are n positions in all, so n - 1 others."),
        (lambda n, w: math.log(w * (n - 1)), "The position itself stands in the sum below the "
         "fraction, too: w = e^s / (e^s + n - 1). Solve that for s."),
        (lambda n, w: math.log(w * n), "The position itself stands in the sum below the fraction: "
         "w = e^s / (e^s + n - 1). Solve that for s."),
        (lambda n, w: w * (n - 1) / (1 - w), "That is exp of the score. Take its logarithm."),
        (lambda n, w: -right(n, w), "The sign is wrong: a larger weight needs a larger score."),
        (lambda n, w: math.log2(w * (n - 1) / (1 - w)), "The softmax uses e: take the natural "
         "logarithm."),
        (lambda n, w: math.log10(w * (n - 1) / (1 - w)), "The softmax uses e: take the natural "
         "logarithm."),
        (lambda n, w: math.log(w), "That is the logarithm of the weight. The softmax also divides "
         "by the sum over all n positions."),
    ]
    random = [(int(case.rng.integers(3, 3000)), float(case.rng.uniform(0.3, 0.99)))
              for _ in range(3)]
    low = (int(case.rng.integers(3, 9)), float(case.rng.uniform(0.02, 0.1)))
    for n, w in [*random, (2, 0.75), low]:
        with case(f"n={n}, w={w:.2f}"):
            expect_same(needed_score, right, n, w, tol=1e-3, mistakes=mistakes, hint=(
                "Put the score s into a softmax with n - 1 zeros: w = e^s / (e^s + n - 1). Solve "
                "for s."
            ))


# ---- 3. mend a head that prefers what is near ---------------------------------------------------

_DISTANCE = "subtract slope times the distance t - s"


def _mistaken_distance(sign=-1.0, scale=0.5, axis=-1, late="", stable=True):
    def wrong(q, k, slope):
        T, d = q.shape
        back = np.arange(T)[:, None] - np.arange(T)
        scores = q @ k.T / d**scale + sign * slope * back
        scores = scores if late else np.where(back >= 0, scores, -np.inf)
        exps = np.exp(scores - scores.max(axis, keepdims=True) if stable else scores)
        weights = np.where(back >= 0, exps / exps.sum(axis, keepdims=True), 0.0)
        return weights / weights.sum(-1, keepdims=True) if late == "repaired" else weights
    return wrong


_DISTANCE_MISTAKES = [
    (_mistaken_distance(stable=False), "exp of a large score is infinite. Subtract each row's "
     "largest score before exp."),
    (_mistaken_distance(late="repaired"), "The future took part in the softmax, and the rest was "
     "too small to be seen beside it. Hide it before the softmax."),
    (_mistaken_distance(sign=1.0), f"Far positions are preferred: {_DISTANCE}."),
    (_mistaken_distance(sign=0.0), f"The distance plays no part: {_DISTANCE}."),
    (_mistaken_distance(scale=1), "You divide by d. The scale is the root of d."),
    (_mistaken_distance(scale=0), "The scale is missing: divide by the root of d."),
    (_mistaken_distance(axis=0), "The softmax runs down the columns. Each row has to sum to 1."),
    (_mistaken_distance(late="late"), "The mask comes after the softmax. Hide the future before "
     "it."),
]


@check(
    lesson="ps3",
    expects="a function `distance_weights(q, k, slope)`: two arrays (T, d) and a number >= 0 in, "
    "the weights (T, T) out",
    not_tested="speed; slopes below 0",
)
def ps3_distance_weights(case, distance_weights):
    rng = case.rng

    def weights_of(q, k, slope):
        weights = as_array(distance_weights(q, k, slope))
        expect(weights.shape == (len(q), len(q)), (
            f"expected the weights, an array of shape {(len(q), len(q))}, got {weights.shape}"
        ))
        return weights

    with case("each row sums to 1"):
        for T, d in [(5, 3), (8, 2)]:
            sums = weights_of(*rng.normal(size=(2, T, d)), 0.5).sum(axis=1)
            worst = int(np.abs(sums - 1).argmax())
            expect(np.allclose(sums, 1, atol=TOLERANCE), (
                f"T={T}, d={d}: row {worst} sums to {sums[worst]:.4f}"
            ), "Along which axis does the softmax run? And does anything become 0 after it?")
    with case("the future changes nothing before it"):
        q, k = rng.normal(size=(2, 6, 4))
        before = weights_of(q, k, 0.3)
        for t in range(5):
            other_q, other_k = q.copy(), k.copy()
            other_q[t + 1 :], other_k[t + 1 :] = rng.normal(size=(2, 5 - t, 4))
            after = weights_of(other_q, other_k, 0.3)
            moved = np.abs(after[: t + 1] - before[: t + 1]).max()
            expect(moved < 1e-6, (
                f"new queries and keys after position {t} move the weights of positions up to {t}, "
                f"by up to {moved:.4f}"
            ), "A 0 written over the weight hides it from the eye only: the future still stands in "
               "the sum that the others were divided by. Hide it before the softmax, and let the "
               "softmax run along the row.")
    with case("the scale"):
        for d in [3, 16]:
            q, k = rng.normal(size=(2, 5, d))
            w = weights_of(q, k, 0.0)
            expect(np.all(w[3:, :3] > 0), "a weight in the past is 0 or less")
            # Twice the quotient of two weights: whatever rows or columns were divided by cancels.
            got = np.log(w[4, 2] * w[3, 0] / (w[4, 0] * w[3, 2]))
            scores = (q[4] - q[3]) @ (k[2] - k[0])
            expect_close(got, scores / math.sqrt(d), f"d={d}: a difference of scores",
                         tol=1e-3, mistakes=[
                (scores / d, "You divide by d. The scale is the root of d."),
                (scores, "The scale is missing: divide by the root of d."),
                (scores * math.sqrt(d), "You multiply by the root of d. Divide."),
                (scores / math.sqrt(5), "You divide by the root of T. The scale is the root of d."),
            ])
    with case("what is near counts more"):
        for T, slope in [(6, 0.5), (5, 1.25)]:
            same = np.tile(rng.normal(size=(2, 1, 3)), (1, T, 1))
            w = weights_of(*same, slope)
            past = w[T - 1]
            expect(np.all(past > 0), "a weight in the past is 0 or less")
            expect_close(np.log(past[1:] / past[:-1]), np.full(T - 1, slope), (
                f"equal keys, slope {slope}: log of (weight / weight of the one before it)"
            ), tol=1e-3, hint=f"Equal keys: the distance alone decides, {_DISTANCE}.", mistakes=[
                (np.full(T - 1, -slope), f"Far positions are preferred: {_DISTANCE}."),
                (np.zeros(T - 1), f"The distance plays no part: {_DISTANCE}."),
                (np.full(T - 1, slope / math.sqrt(3)), "The distance is not divided by the root of "
                 "d: scale the products first, then subtract."),
            ])
    for name, shape, size in [("all together", (6, 4), 1.0), ("large scores", (5, 2), 60.0)]:
        with case(name):
            q, k = rng.normal(size=(2, *shape)) * size
            expect_same(distance_weights, _distance_weights, q, k, 0.7, tol=TOLERANCE,
                        mistakes=_DISTANCE_MISTAKES, hint="Compare row by row with a small example "
                        "on paper: T=2 is enough.")
    with case("a future that screams"):
        q, k = np.full((4, 1), 1e6), np.linspace(-1e6, 1e6, 4)[:, None]
        expect_same(distance_weights, _distance_weights, q, k, 0.7, tol=TOLERANCE,
                    mistakes=_DISTANCE_MISTAKES, hint=(
            "Scores from -10^12 to 10^12: hide the future with -np.inf, before the softmax. A "
            "finite number leaks, and a 0 after the softmax comes too late."
        ))


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
                hint = "Other places are other weights. Move every key instead."
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
        return "It looks at the right place, but not sharply enough. Make the queries larger."
    if all(looks[t] in seen[t] or looks[t] == t for t in seen) and any(
        looks[t] in seen[t] and looks[t] - 1 not in seen[t] for t in seen
    ):
        return ("It finds the equal character itself, not the one after it. The key of a position "
                "should say which character stands before it.")
    if all(looks[t] - 1 in seen[t] for t in seen):
        first = [weights[t, places[0] + 1] for t, places in seen.items()]
        if all(looks[t] == seen[t][0] + 1 for t in seen) and min(first) >= 0.9:
            return "It copies what came after the first occurrence. The last one should win."
        return ("It finds places after an equal character, but not only the last of them. Let a "
                "key that stands later score a little more.")
    if all(looks[t] == t for t in seen):
        return ("Every position looks at itself. Does a key say which character stands there, "
                "rather than which stands before it? Or does the place count for more than a "
                "match?")
    if all(looks[t] == 0 for t in seen):
        return "Every position looks at the start: is every score the same?"
    return ("A query says which character I am, a key says which character stands before me: they "
            "should meet in the same dimension.")


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
                    f"in {ids} position {t} looks at the right place, but the result says "
                    f"{int(out[t].argmax())} with {out[t].max():.2f}; expected: {target}, about 1"
                ), "A value should say which character stands at its own place: a 1 at its id.")


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

    entropy_mistakes = [
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
            expect_same(head_entropy, _entropies, weights, tol=TOLERANCE, hint=(
                "For each row: minus the sum of w log w, where 0 log 0 counts as 0. Then the mean "
                "over the rows."
            ), mistakes=entropy_mistakes)
        with case(f"distance, L={L}, H={H}, T={T}"):
            expect_same(head_distance, _distances, weights, tol=TOLERANCE, hint=(
                "For each row t: the sum over s of weights[t, s] * (t - s). Then the mean over the "
                "rows."
            ), mistakes=distance_mistakes)
    sharp = np.stack([np.eye(6), np.eye(6, k=-1)])[None]  # (1, 2, T, T): itself, and the one before
    sharp[0, 1, 0, 0] = 1.0
    with case("heads that give all to one position"):
        expect_same(head_entropy, _entropies, sharp, tol=TOLERANCE, hint=(
            "log(0) is minus infinity, and 0 times that is NaN. 0 log 0 has to count as 0: take "
            "the log of np.where(weights > 0, weights, 1)."
        ))
        expect_same(head_distance, _distances, sharp, tol=TOLERANCE, hint=(
            "The first head looks at itself: distance 0. The second looks one back, but for "
            "position 0."
        ))


@check(
    lesson="ps3",
    kind="any",
    expects="your text (20 to 64 characters that the model knows), and two heads, each as "
    "(layer, head): the one with the lowest mean entropy, and the one that looks back furthest",
)
def ps3_own_text(case, text, sharpest, furthest):
    model, tokenizer = load_pretrained()
    with case("a text for the model"):
        expect(isinstance(text, str), f"expected a text, got {text!r:.40}")
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
                f"expected (layer, head), two whole numbers, got {got!r:.40}"
            ))
            pair = tuple(int(i) for i in pair)
            fits = all(0 <= i < n for i, n in zip(pair, values.shape))
            expect(fits, f"there is no layer {pair[0]} with head {pair[1]}", (
                f"Layers are numbered 0 to {len(values) - 1}, heads 0 to {len(values[0]) - 1}, and "
                "the layer comes first."))
            opposite = values[pair] == (np.max if best is np.min else np.min)(values)
            expect(abs(values[pair] - best(values)) < 1e-4, f"{pair} is not it", (
                turned_round if opposite else "Find the place in your table of numbers, (L, H): "
                "np.unravel_index(index, table.shape) turns an index into (layer, head)."
            ))
