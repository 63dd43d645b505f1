"""Answers to problem set 3."""

import math

import numpy as np

from minigpt_helpers import Tensor, load_pretrained, softmax
from minigpt_helpers.checks.ps3 import _distances, _entropies

# ---- 1. attention with a window -----------------------------------------------------------------


def window_by_loop(q, k, v, window):
    out = []
    for t in range(len(q)):
        seen = [s for s in range(len(q)) if t - window < s <= t]
        scores = [sum(a * b for a, b in zip(q[t], k[s])) / len(q[t]) ** 0.5 for s in seen]
        exps = [math.exp(score - max(scores)) for score in scores]
        out.append([sum(e * v[s][j] for e, s in zip(exps, seen)) / sum(exps)
                    for j in range(len(v[0]))])
    return out


def window_by_tensors(q, k, v, window):
    T, d = q.shape
    mask = np.triu(np.full((T, T), -np.inf), 1) + np.tril(np.full((T, T), -np.inf), -window)
    return softmax((Tensor(q) @ Tensor(k).transpose()) / d**0.5 + mask) @ Tensor(v)


def window_in_float32(q, k, v, window=None, **options):
    q, k, v = (np.asarray(a, dtype=np.float32) for a in (q, k, v))
    scores = np.einsum("td,sd->ts", q, k) * np.float32(q.shape[-1] ** -0.5)
    t, s = np.ogrid[: len(q), : len(q)]
    scores[(s > t) | (s <= t - window)] = np.finfo(np.float32).min
    exps = np.exp(scores - scores.max(1)[:, None])
    return np.einsum("ts,sv->tv", exps / exps.sum(1)[:, None], v)


def window_by_generator(q, k, v, window):
    for t in range(len(q)):
        keys, values = k[: t + 1][-window:], v[: t + 1][-window:]
        weights = softmax(Tensor(keys @ q[t] / np.sqrt(q.shape[1]))).data
        yield np.average(values, axis=0, weights=weights)


def window_with(change=0, scale=0.5, axis=1, fill=-np.inf, late="", ahead=False, stable=True,
                own=True, additive=False):
    def answer(q, k, v, window):
        T, d = q.shape
        mask = np.zeros((T, T))
        for t in range(T):
            for s in range(T):
                far = abs(t - s) if ahead else t - s
                if far >= window + change or far < 0 or (far == 0 and not own):
                    mask[t, s] = 1
        scores = q @ k.T / d**scale
        if not late:
            scores = scores + fill if additive and fill == 0 else scores
            if additive:
                scores = scores + np.where(mask == 1, fill, 0)
            else:
                scores = np.where(mask == 1, fill, scores)
        if stable:
            scores = scores - scores.max(axis=axis, keepdims=True)
        w = np.exp(scores)
        w = w / w.sum(axis=axis, keepdims=True)
        if late:
            w = w * (1 - mask)
        if late == "repaired":
            w = w / w.sum(axis=1, keepdims=True)
        return w @ v
    return answer


def window_by_product(q, k, v, window):
    T, d = q.shape
    hidden = np.triu(np.ones((T, T)), 1) + np.tril(np.ones((T, T)), -window)
    return softmax(Tensor(q @ k.T / d**0.5 + hidden * -np.inf)).data @ v


def window_in_masked_arrays(q, k, v, window):
    t, s = np.indices((len(q), len(q)))
    scores = np.ma.array(q @ k.T / np.sqrt(q.shape[1]), mask=(s > t) | (s <= t - window))
    exps = np.ma.exp(scores - scores.max(axis=1)[:, None])
    return np.ma.dot(exps / exps.sum(axis=1)[:, None], v)


def window_of_t(q, k, v, window):
    return window_with()(q * math.sqrt(q.shape[1] / len(q)), k, v, window)


# ---- 3. weights with a distance -----------------------------------------------------------------


def distance_with(sign=-1, scale=0.5, axis=1, fill=-np.inf, late="", stable=True, inside=False):
    def answer(q, k, slope):
        T, d = q.shape
        back = np.subtract.outer(np.arange(T), np.arange(T))
        scores = q @ k.T / d**scale + sign * slope * back
        if inside:
            scores = (q @ k.T - slope * back) / d**scale
        if not late:
            scores = np.where(back < 0, fill, scores)
        if stable:
            scores = scores - scores.max(axis, keepdims=True)
        w = np.exp(scores)
        w = w / w.sum(axis, keepdims=True)
        w = np.tril(w) if late else w
        return w / w.sum(1, keepdims=True) if late == "repaired" else w
    return answer


def distance_by_loop(q, k, slope):
    rows = []
    for t, query in enumerate(q):
        scores = [query @ key / math.sqrt(len(query)) - slope * (t - s)
                  for s, key in enumerate(k[: t + 1])]
        rows.append([*softmax(Tensor(np.array(scores))).data, *[0.0] * (len(q) - t - 1)])
    return rows


def distance_by_prepared_queries(q, k, slope):
    """The slope as one more dimension of the keys: slope * s; - slope * t cancels in the row."""
    T, d = q.shape
    q1 = np.hstack([q / d**0.5, np.ones((T, 1))])
    k1 = np.hstack([k, slope * np.arange(T)[:, None]])
    return softmax(Tensor(q1 @ k1.T + np.triu(np.full((T, T), -np.inf), 1)))


# ---- 5. a head that copies ----------------------------------------------------------------------


def copy_with(match_on="before", recency=1.0, sharp=1.0, value="mine", negative=False, scale=1.0):
    def answer(V, T):
        D, d = 2 * V + T, V + 1
        W_q, W_k, W_v = np.zeros((D, d)), np.zeros((D, d)), np.zeros((D, V))
        first = 0 if match_on == "mine" else V
        for i in range(V):
            W_q[i, i] = sharp * 1000 * (T + 1)
            W_k[first + i, i] = 1
            W_v[(0 if value == "mine" else V) + i, i] = scale
        for t in range(T):
            W_q[2 * V + t, V] = sharp
            W_k[2 * V + t, V] = recency * 100 * t
        return W_q, W_k, W_v
    return answer


def copy_by_square_matrices(V, T):
    """d = 2V + T: queries are moved to where the keys have the character before."""
    D = 2 * V + T
    W_q, W_k = np.zeros((D, D)), np.eye(D)
    W_q[:V, V : 2 * V] = 1e6 * np.eye(V)
    W_q[:V, 2 * V :] = np.tile(np.arange(T) * 1e3, (V, 1))
    return [W_q.tolist(), W_k, np.vstack([np.eye(V), np.zeros((V + T, V))])]


def copy_in_float32(V, T):
    return tuple(np.float32(W) for W in copy_with()(V, T))


# ---- 6. measures --------------------------------------------------------------------------------


def entropy_by_loop(weights):
    L, H, T, _ = weights.shape
    out = [[0.0] * H for _ in range(L)]
    for layer in range(L):
        for head in range(H):
            for row in weights[layer, head]:
                out[layer][head] -= sum(w * math.log(w) for w in row if w > 0) / T
    return out


def entropy_with_floor(weights):
    return -np.mean(np.sum(weights * np.log(weights + 1e-12), axis=3), axis=2)


def entropy_by_nansum(weights):
    return np.nansum(-weights * np.log(weights), axis=-1).mean(axis=-1)


def distance_by_places(weights):
    T = weights.shape[-1]
    return np.arange(T).mean() - (weights @ np.arange(T)).mean(axis=-1)


def distance_loop(weights):
    return [[sum(w[t, s] * (t - s) for t in range(len(w)) for s in range(t)) / len(w)
             for w in layer] for layer in weights]


def back(w):
    return np.arange(w.shape[-1])[:, None] - np.arange(w.shape[-1])


RIGHT = [
    ("ps3_windowed_attention", window_by_loop),
    ("ps3_windowed_attention", window_by_tensors),
    ("ps3_windowed_attention", window_in_float32),
    ("ps3_windowed_attention", window_by_generator),
    ("ps3_windowed_attention", window_in_masked_arrays),
    ("ps3_windowed_attention", window_with()),
    ("ps3_windowed_attention", window_with(additive=True)),
    ("ps3_windowed_attention", window_with(fill=-1e30)),
    ("ps3_predict_longer_text", math.log(999 / 99)),
    ("ps3_predict_longer_text", 2.31),
    ("ps3_predict_longer_text", np.float32(2.31)),
    ("ps3_needed_score", lambda n, w: math.log(w / ((1 - w) / (n - 1)))),
    ("ps3_needed_score", lambda n, w: np.array([np.log(n - 1) - np.log(1 / w - 1)])[0]),
    ("ps3_needed_score", lambda n, w: Tensor(w / (1 - w) * (n - 1)).log()),
    ("ps3_distance_weights", distance_with()),
    ("ps3_distance_weights", distance_with(fill=-1e30)),
    ("ps3_distance_weights", distance_by_loop),
    ("ps3_distance_weights", distance_by_prepared_queries),
    ("ps3_distance_weights", lambda q, k, slope: distance_with()(
        q.astype("float32"), k.astype("float32"), slope)),
    ("ps3_other_keys", lambda q, k: k + 1),
    ("ps3_other_keys", lambda q, k: [[x - 7 for x in row] for row in k]),
    ("ps3_other_keys", lambda q, k: k - k[-1] + 3),
    ("ps3_other_keys", lambda q, k: k + 0.1 / np.sqrt(k.shape[1])),
    ("ps3_other_keys", lambda q, k: Tensor(k + np.random.normal(size=k.shape[1]) * 9)),
    ("ps3_copy_head", copy_with()),
    ("ps3_copy_head", copy_by_square_matrices),
    ("ps3_copy_head", copy_in_float32),
    ("ps3_copy_head", lambda V, T: tuple(map(Tensor, copy_with(sharp=3.0)(V, T)))),
    ("ps3_head_measures", (entropy_by_loop, distance_loop)),
    ("ps3_head_measures", (entropy_with_floor, distance_by_places)),
    ("ps3_head_measures", (entropy_by_nansum, _distances)),
    ("ps3_head_measures", (lambda w: _entropies(w.swapaxes(-1, -2)), _distances)),
]

WRONG = [
    ("ps3_predict_longer_text", 2.3, "Nearly"),
    ("ps3_predict_longer_text", math.log(10), "Nearly"),
    ("ps3_other_keys", lambda q, k: k - k.mean(axis=0), "moved by"),
    ("ps3_predict_longer_text", 10, "its logarithm"),
    ("ps3_predict_longer_text", 1, "not the one to the base 10"),
    ("ps3_predict_longer_text", math.log(9 * 999), "the whole score with 1000"),
    ("ps3_predict_longer_text", 0, "take a share each"),
    ("ps3_predict_longer_text", 5, "exponential 1 each"),
    ("ps3_other_keys", lambda q, k: k, "moved by 0"),
    ("ps3_other_keys", lambda q, k: k * 2, "A factor"),
    ("ps3_other_keys", lambda q, k: np.roll(k, 1, axis=0), "at other positions"),
    ("ps3_other_keys", lambda q, k: k + 1e-7, "has to move"),
    ("ps3_other_keys", lambda q, k: k + np.arange(len(k))[:, None] + 1, "by another amount"),
    ("ps3_other_keys", lambda q, k: np.zeros_like(k), "differences of the scores"),
    ("ps3_other_keys", lambda q, k: q, "by another amount"),
    ("ps3_copy_head", copy_with(match_on="mine"), "rather than which is before"),
    ("ps3_copy_head", copy_with(recency=0.0), "not only the last"),
    ("ps3_copy_head", copy_with(recency=-1.0), "The last one should win"),
    ("ps3_copy_head", copy_with(recency=1000.0), "looks at itself"),
    ("ps3_copy_head", copy_with(sharp=1e-4), "not sharply enough"),
    ("ps3_copy_head", copy_with(value="before"), "at its own position"),
    ("ps3_copy_head", copy_with(scale=5.0), "a 1 at its id"),
    ("ps3_copy_head", lambda V, T: [W.T for W in copy_with()(V, T)], "as many rows in W"),
    ("ps3_copy_head", lambda V, T: copy_with()(V, T)[:2], "three arrays"),
    ("ps3_copy_head", lambda V, T: [W * 0 for W in copy_with()(V, T)], "every score the same"),
    ("ps3_copy_head", lambda V, T: [W * np.inf for W in copy_with()(V, T)], "NaN"),
    ("ps3_copy_head", lambda V, T: copy_with()(6, 12), "shape"),
    ("ps3_head_measures", (lambda w: -(w * np.log(w)).sum(-1).mean(-1), _distances), "0 log 0"),
    ("ps3_head_measures", (lambda w: _entropies(w) / np.log(2), _distances), "in bits"),
    ("ps3_head_measures", (lambda w: -_entropies(w), _distances), "minus the sum"),
    ("ps3_head_measures", (lambda w: _entropies(w) * w.shape[-1], _distances), "add the rows up"),
    ("ps3_head_measures", (lambda w: _entropies(w) / w.shape[-1], _distances), "both axes"),
    ("ps3_head_measures", (lambda w: _entropies(w.mean(-2, keepdims=True)), _distances),
     "averaged the rows"),
    ("ps3_head_measures", (_entropies, lambda w: -_distances(w)), "looking back 3 places"),
    ("ps3_head_measures", (_entropies, lambda w: (w * np.arange(w.shape[-1])).sum(-1).mean(-1)),
     "counted from the start"),
    ("ps3_head_measures", (_entropies, lambda w: (np.arange(w.shape[-1]) - w.argmax(-1)).mean(-1)),
     "largest weight alone"),
    ("ps3_head_measures", (_entropies, lambda w: (w * back(w)).mean((-1, -2))), "both axes"),
    ("ps3_head_measures", (_entropies, lambda w: (w * back(w)).sum((-1, -2))), "add the rows up"),
]


# ---- your own text ----------------------------------------------------------------------

TEXT = "we look for heads in a line of our own"


def answers_for(text):
    model, tokenizer = load_pretrained()
    weights = model.attention_weights(tokenizer.encode(text))
    entropies, distances = _entropies(weights), _distances(weights)
    return {name: np.unravel_index(i, entropies.shape) for name, i in [
        ("sharpest", entropies.argmin()), ("widest", entropies.argmax()),
        ("furthest", distances.argmax()), ("nearest", distances.argmin())]}


HEADS = answers_for(TEXT)
RIGHT += [
    ("ps3_own_text", (TEXT, form(HEADS["sharpest"]), form(HEADS["furthest"])))
    for form in (tuple, list, np.array)
]
WRONG += [
    ("ps3_own_text", (TEXT, HEADS["widest"], HEADS["furthest"]), "highest entropy"),
    ("ps3_own_text", (TEXT, HEADS["sharpest"], HEADS["nearest"]), "looks back least"),
    ("ps3_own_text", (TEXT, (0, 0), HEADS["furthest"]), "np.unravel_index"),
    ("ps3_own_text", (TEXT, HEADS["sharpest"], (7, 0)), "Layers are numbered"),
    ("ps3_own_text", (TEXT, 3, HEADS["furthest"]), "expected (layer, head)"),
    ("ps3_own_text", ("short", (0, 0), (0, 0)), "20 to 64"),
    ("ps3_own_text", (17, (0, 0), (0, 0)), "expected a text"),
]
