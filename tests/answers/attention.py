"""Answers to the exercises of lesson 3."""

from __future__ import annotations

import numpy as np

from minigpt_helpers import Tensor, softmax


def _future(T):
    return np.triu(np.full((T, T), -np.inf), k=1)


def soft(x):
    return softmax(Tensor(x)).data


def softmax_by_rows(x):
    out = []
    for row in x.tolist():
        exps = [np.exp(value - max(row)) for value in row]
        out.append([value / sum(exps) for value in exps])
    return out


def attend_last_by_loop(q, k, v):
    scores = [sum(a * b for a, b in zip(q, row)) / len(q) ** 0.5 for row in k]
    exps = [np.exp(score - max(scores)) for score in scores]
    return [sum(e * row[j] for e, row in zip(exps, v)) / sum(exps) for j in range(v.shape[1])]


def mask_by_loop(T):
    return [[0 if s <= t else -np.inf for s in range(T)] for t in range(T)]


def causal_by_changing_each(layer, x):
    before = layer(x)
    for s in range(len(x)):
        other = x.copy()
        other[s] += 1.0
        if not np.array_equal(layer(other)[:s], before[:s]):
            return False
    return True


def causal_by_random_futures(layer, x):
    rng = np.random.default_rng(0)
    same = []
    for t in range(len(x) - 1):
        for s in range(t + 1, len(x)):
            other = x.copy()
            other[s] = rng.normal(size=x.shape[1])
            same.append((layer(other)[t] == layer(x)[t]).all())
    return np.all(same)


def causal_by_all_later_ones(layer, x):
    for t in range(1, len(x)):
        other = x.copy()
        other[t:] = other[t:] * -3 + 1
        if np.any(layer(other)[:t] != layer(x)[:t]):
            return False
    return True


def gradients_by_loop(q, k, v, weights, d_out):
    d_q, d_k, d_v = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for t in range(len(q)):
        d_w = [d_out[t] @ v[s] for s in range(len(q))]
        mean = sum(w * g for w, g in zip(weights[t], d_w))
        for s in range(len(q)):
            d_v[s] += weights[t, s] * d_out[t]
            d_score = weights[t, s] * (d_w[s] - mean) / np.sqrt(q.shape[1])
            d_q[t] += d_score * k[s]
            d_k[s] += d_score * q[t]
    return d_q, d_k, d_v


def gradients_by_autograd(q, k, v, weights, d_out):
    q, k, v = Tensor(q), Tensor(k), Tensor(v)
    scores = q @ k.transpose() * (1 / q.shape[1] ** 0.5) + _future(len(q))
    (softmax(scores) @ v * d_out).sum().backward()
    return [q.grad, k.grad, v.grad]


def gradients_with(d_scores, d_v=None):
    def gradients(q, k, v, weights, d_out):
        s = d_scores(weights, d_out @ v.T, q.shape[1] ** 0.5)
        return s @ k, s.T @ q, (weights.T @ d_out if d_v is None else d_v(weights, d_out))

    return gradients


def slope(w, g, axis=1):
    return w * (g - (w * g).sum(axis=axis, keepdims=True))


def heads_by_loop(heads):
    H, T, d = heads.shape
    return [[heads[i // d, t, i % d] for i in range(H * d)] for t in range(T)]


def two_back_by_loop(T):
    q = np.zeros((T, T))
    for t in range(2, T):
        q[t, t - 2] = 100
    return q


def changes_its_input(x):
    x -= x.max(axis=-1, keepdims=True)
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


RIGHT = [
    ("predict_past_average", [2, 2]),
    ("predict_past_average", np.array([2.0, 2.0])),
    ("softmax_rows", lambda x: soft(x)),
    ("softmax_rows", softmax_by_rows),
    ("predict_weights_of_s", [0.1, 0.71, 0.1, 0.1]),
    ("predict_weights_of_s", soft(np.array([0.0, 2.0, 0.0, 0.0]))),
    ("predict_score_spread", 8),
    ("predict_score_spread", np.sqrt(64)),
    ("attend_last", lambda q, k, v: soft(k @ q / len(q) ** 0.5) @ v),
    ("attend_last", attend_last_by_loop),
    ("causal_mask", lambda T: np.triu(np.full((T, T), -np.inf), k=1)),
    ("causal_mask", lambda T: np.where(np.arange(T) > np.arange(T)[:, None], -np.inf, 0)),
    ("causal_mask", mask_by_loop),
    ("leaky_scores", np.full((2, 2), -20.0)),
    ("leaky_scores", [[-11, 0, 0], [1, 2, 3], [4, 5, 6]]),
    ("is_causal", causal_by_changing_each),
    ("is_causal", causal_by_random_futures),
    ("is_causal", causal_by_all_later_ones),
    ("merge_heads", lambda x: x.transpose(1, 0, 2).reshape(x.shape[1], -1)),
    ("merge_heads", lambda x: np.hstack(list(x))),
    ("merge_heads", heads_by_loop),
    ("two_back_queries", lambda T: 50 * np.eye(T, k=-2)),
    ("two_back_queries", two_back_by_loop),
    ("attention_gradients", gradients_by_loop),
    ("attention_gradients", gradients_by_autograd),
    ("attention_gradients", gradients_with(lambda w, g, root: slope(w, g) / root)),
    ("predict_cost_factor", 64),
    ("predict_cost_factor", (1024 / 128) ** 2),
]

WRONG = [
    ("softmax_rows", changes_its_input, "Work on a copy"),
    ("predict_score_spread", 32, "root of the variance"),
    ("predict_score_spread", "eight", "is not it|expected numbers"),
    ("leaky_scores", np.zeros((3, 3)), "When does -10 win"),
    ("leaky_scores", np.full((1, 1), -20.0), "One row for each"),
    ("leaky_scores", np.full((2, 3), -20.0), "One row for each"),
    ("leaky_scores", np.full((2, 2), -np.inf), "ordinary numbers"),
    ("leaky_scores", np.array([[0.0, 0.0], [-50.0, -50.0]]), "not the last one"),
    ("is_causal", lambda layer, x: np.array_equal(layer(x * 2), layer(x)), "expected True"),
    ("is_causal", lambda layer, x: layer(x), "expected a bool"),
    ("two_back_queries", lambda T: 50 * np.eye(T, k=-1), "It looks one back"),
    ("two_back_queries", lambda T: 50 * np.eye(T, k=2), "two ahead"),
    ("two_back_queries", lambda T: np.eye(T, k=-2), "not sharp enough"),
    ("two_back_queries", lambda T: 20 * np.eye(T, k=-2), "(?s)T=32.*not sharp enough"),
    ("two_back_queries", lambda T: 50 * np.eye(T + 2, k=-2), "expected shape"),
    ("two_back_queries", lambda T: 50 * np.eye(T), "gives 0.00"),
    ("predict_cost_factor", 7, "and the area"),
]
