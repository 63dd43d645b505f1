"""Lesson 3's checks accept right answers in any style and name what is wrong with the others."""

import numpy as np
import pytest

from minigpt_helpers import Tensor, checks, softmax
from minigpt_helpers.checks._reference import softmax as slow_softmax
from minigpt_helpers.checks.attention import _future, _gradients


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
    ("predict_past_average", [6, 6], "That is the sum"),
    ("predict_past_average", [2, 3], "does not see position 3"),
    ("predict_past_average", [3, 1], "leaves out position 2"),
    ("predict_past_average", [0, 4], "row 2 alone"),
    ("softmax_rows", lambda x: soft(x.T).T, "axis=-1"),
    ("softmax_rows", lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True), "Subtract"),
    ("softmax_rows", lambda x: np.exp(x) / np.exp(x).sum(), "Each row has its own sum"),
    ("softmax_rows", lambda x: np.exp(x - x.max()) / np.exp(x - x.max()).sum(axis=1, keepdims=True),
     "Each row needs its own maximum"),
    ("softmax_rows", lambda x: np.exp(x - x.max(axis=1)[:, None]), "Divide by the sum"),
    ("softmax_rows", lambda x: np.exp(x - x.max(axis=1)) / np.exp(x).sum(axis=1), "keepdims=True"),
    ("softmax_rows", changes_its_input, "Work on a copy"),
    ("predict_weights_of_s", [0, 2, 0, 0], "Those are the scores"),
    ("predict_weights_of_s", [0, 1, 0, 0], "Take exp first"),
    ("predict_weights_of_s", [0.11, 0.79, 0.11, 0], "the row of t"),
    ("predict_weights_of_s", [1, 7.389, 1, 1], "Divide each by their sum"),
    ("predict_score_spread", 64, "the variance"),
    ("predict_score_spread", 1, "64 of them"),
    ("predict_score_spread", 32, "root of the variance"),
    ("predict_score_spread", "eight", ""),
    ("attend_last", lambda q, k, v: soft(k @ q) @ v, "The scale is missing"),
    ("attend_last", lambda q, k, v: soft(k @ q / len(q)) @ v, "root of d"),
    ("attend_last", lambda q, k, v: soft(k @ q / len(k) ** 0.5) @ v, "number of keys"),
    ("attend_last", lambda q, k, v: (k @ q / len(q) ** 0.5) @ v, "softmax is missing"),
    ("attend_last", lambda q, k, v: soft(k @ q / len(q) ** 0.5), "These are the weights"),
    ("attend_last", lambda q, k, v: v.mean(axis=0), "plain average"),
    ("attend_last", lambda q, k, v: v[np.argmax(k @ q)], "best match alone"),
    ("causal_mask", lambda T: np.triu(np.full((T, T), -np.inf), k=0), "look at itself"),
    ("causal_mask", lambda T: np.tril(np.full((T, T), -np.inf), k=-1), "Rows and columns"),
    ("causal_mask", lambda T: np.triu(np.full((T, T), -np.inf), k=2), "one step into the future"),
    ("causal_mask", lambda T: np.triu(np.full((T, T), -1e9), k=1), "finite number leaks"),
    ("causal_mask", lambda T: np.tril(np.ones((T, T))), "ones and zeros"),
    ("causal_mask", lambda T: np.tril(np.ones((T, T), dtype=bool)), "ones and zeros"),
    ("causal_mask", lambda T: np.zeros((T, T)), "Nothing is masked"),
    ("leaky_scores", np.zeros((3, 3)), "When does -10 win?"),
    ("leaky_scores", np.full((1, 1), -20.0), "One row for each"),
    ("leaky_scores", np.full((2, 3), -20.0), "One row for each"),
    ("leaky_scores", np.full((2, 2), -np.inf), "ordinary numbers"),
    ("leaky_scores", np.array([[0.0, 0.0], [-50.0, -50.0]]), "not the last one"),
    ("is_causal", lambda layer, x: True, "Compare the outputs"),
    ("is_causal", lambda layer, x: False, "Compare only the outputs before"),
    ("is_causal", lambda layer, x: np.array_equal(layer(x * 2), layer(x)), "outputs before"),
    ("is_causal", lambda layer, x: layer(x), ""),
    ("merge_heads", lambda x: x.reshape(x.shape[1], -1), "Bring the axes into the order"),
    ("merge_heads", lambda x: x.transpose(1, 2, 0).reshape(x.shape[1], -1), "alternate"),
    ("merge_heads", lambda x: x.transpose(1, 0, 2), "The order (T, H, d) is right"),
    ("merge_heads", lambda x: x.reshape(-1, x.shape[2]), "lie side by side"),
    ("merge_heads", lambda x: x.mean(axis=0), "averaged"),
    ("two_back_queries", lambda T: 50 * np.eye(T, k=-1), "It looks one back"),
    ("two_back_queries", lambda T: 50 * np.eye(T, k=2), "two ahead"),
    ("two_back_queries", lambda T: np.eye(T, k=-2), "not sharp enough"),
    ("two_back_queries", lambda T: 50 * np.eye(T + 2, k=-2), "expected shape"),
    ("two_back_queries", lambda T: 50 * np.eye(T), "Where does each row"),
    ("attention_gradients", gradients_with(lambda w, g, root: slope(w, g)), "scale is missing"),
    ("attention_gradients", gradients_with(lambda w, g, root: slope(w, g) / root**2), "by d"),
    ("attention_gradients", gradients_with(lambda w, g, root: g / root), "slope of the softmax is"),
    ("attention_gradients", gradients_with(lambda w, g, root: w * g / root), "a second part"),
    ("attention_gradients", gradients_with(lambda w, g, root: slope(w, g, 0) / root), "a row"),
    ("attention_gradients", lambda *args: _gradients(*args[:3], args[4])[0], "three arrays"),
    ("attention_gradients", gradients_with(lambda w, g, root: slope(w, g) / root,
     lambda w, d_out: w @ d_out), "weights.T @ d_out"),
    ("predict_cost_factor", 8, "fill a square"),
    ("predict_cost_factor", 16, "square of the side"),
    ("predict_cost_factor", 1024**2, "By what factor"),
    ("predict_cost_factor", 7, "and the area"),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_a_right_answer_is_accepted(name, answer):
    result = getattr(checks, name)(answer)
    assert result.passed and result.score == 1.0, result.message


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_a_wrong_answer_is_refused_with_the_fitting_hint(name, answer, hint):
    result = getattr(checks, name)(answer)
    assert not result.passed and result.message.startswith("not yet"), result.message
    assert hint in result.message


STUBS = {
    "softmax_rows": lambda x: ...,
    "attend_last": lambda q, k, v: ...,
    "is_causal": lambda layer, x: ...,
    "merge_heads": lambda heads: ...,
    "two_back_queries": lambda T: ...,
    "attention_gradients": lambda q, k, v, weights, d_out: ...,
}


@pytest.mark.parametrize("name", [entry.name for entry in checks.catalogue(3)])
def test_a_stub_is_not_done_yet(name):
    for stub in (None, ..., STUBS.get(name, ...)):
        result = getattr(checks, name)(stub)
        assert not result.passed and result.message.startswith("not done yet"), result.message


def test_every_check_of_the_lesson_is_tested_here():
    names = {entry.name for entry in checks.catalogue(3)}
    for name in names:
        assert sum(case[0] == name for case in RIGHT) >= 2, name
        assert sum(case[0] == name for case in WRONG) >= 4, name


def test_each_sly_leak_is_found_by_the_test_of_the_test():
    def only_the_last(layer, x):  # changes the last position alone
        other = x.copy()
        other[-1] += 1.0
        return np.array_equal(layer(other)[:-1], layer(x)[:-1])

    def with_tolerance(layer, x):
        return all(
            np.allclose(layer(np.vstack([x[:s], x[s:] + 1.0]))[:s], layer(x)[:s])
            for s in range(1, len(x))
        )

    def first_output_alone(layer, x):
        other = x.copy()
        other[1:] += 1.0
        return np.array_equal(layer(other)[0], layer(x)[0])

    def skips_the_place_before(layer, x):
        return all(
            np.array_equal(layer(np.vstack([x[:s], x[s:] + 1.0]))[: s - 1], layer(x)[: s - 1])
            for s in range(1, len(x))
        )

    for wrong, hint in [
        (only_the_last, "Try every position"),
        (with_tolerance, "np.allclose forgives"),
        (first_output_alone, "right before it"),
        (skips_the_place_before, "right before it"),
    ]:
        result = checks.is_causal(wrong)
        assert not result.passed and 0 < result.score < 1
        assert hint in result.message, result.message


def test_the_reference_softmax_is_the_packages():
    x = np.random.default_rng(0).normal(size=(3, 5))
    np.testing.assert_allclose(slow_softmax(x), soft(x), rtol=1e-12)
