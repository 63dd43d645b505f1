"""Lesson 2's checks accept right solutions of every style and refuse wrong ones with the hint."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from minigpt_helpers import Tensor, checks
from minigpt_helpers.checks.autograd import _fit

BIRTHS = itertools.count()


class Value:
    """The lesson's scalar node."""

    def __init__(self, data, parents=(), slopes=()):
        self.data, self.grad = data, 0.0
        self.parents, self.slopes = parents, slopes
        self.order = next(BIRTHS)

    def __add__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def backward(self):
        found, to_visit = {self}, [self]
        while to_visit:
            new = set(to_visit.pop().parents) - found
            found |= new
            to_visit += new
        self.grad = 1.0
        for node in sorted(found, key=lambda node: -node.order):
            for parent, slope in zip(node.parents, node.slopes):
                parent.grad += slope * node.grad


# ---- right solutions ----


def slope_with_small_h(f, x):
    h = 1e-6
    rise = f(x + h) - f(x - h)
    return rise / (2 * h)


def relu_if(v):
    if v.data > 0:
        return Value(v.data, (v,), (1.0,))
    return Value(0.0, (v,), (0.0,))


def late_use(a):
    d = a * 2
    return d + d * 5.0


def longer_path(a):
    e = a + 1.0
    return e + (e * e + a) * a


def step_zero_first(params, loss_of, lr):
    for p in params:
        p.grad = 0.0
    loss = loss_of()
    loss.backward()
    for p in params:
        p.data -= lr * p.grad


def step_zero_last(params, loss_of, lr):
    loss = loss_of()
    loss.backward()
    for p in params:
        p.data = p.data - lr * p.grad
        p.grad = 0.0
    return loss


def scale_loops(x, s, grad):
    d_x, d_s = np.zeros_like(x), np.zeros_like(s)
    for t, d in np.ndindex(x.shape):
        d_x[t, d] = grad[t, d] * s[d]
        d_s[d] += grad[t, d] * x[t, d]
    return d_x, d_s


def slopes_in_place(logits, target):
    p = np.exp(logits - np.max(logits))
    p /= p.sum()
    p[target] -= 1
    return p


def slopes_listed(logits, target):
    top = max(logits)
    exps = [math.exp(z - top) for z in logits]
    return [e / sum(exps) - (i == target) for i, e in enumerate(exps)]


RIGHT = [
    (checks.two_sided_slope, lambda f, x, h=1e-5: (f(x + h) - f(x - h)) / (2 * h)),
    (checks.two_sided_slope, slope_with_small_h),
    (checks.wrong_rule, "softplus"),
    (checks.wrong_rule, " Softplus "),
    (checks.predict_gradients, [16, 4]),
    (checks.predict_gradients, (16.0, 4.0)),
    (checks.predict_used_twice, 7),
    (checks.predict_used_twice, np.float64(7)),
    (checks.open_the_gate, 6),
    (checks.open_the_gate, 6.1),
    (checks.relu_node, relu_if),
    (checks.relu_node, lambda v: Value(max(v.data, 0), (v,), (int(v.data > 0),))),
    (checks.fools_one_visit, late_use),
    (checks.fools_one_visit, longer_path),
    (checks.train_step, step_zero_first),
    (checks.train_step, step_zero_last),
    (checks.fast_fit, 0.3),
    (checks.fast_fit, np.float64(0.4)),
    (checks.scale_backward, lambda x, s, grad: (grad * s, (grad * x).sum(axis=0))),
    (checks.scale_backward, scale_loops),
    (checks.loss_slopes, slopes_in_place),
    (checks.loss_slopes, slopes_listed),
]
WITH_VALUE = (checks.relu_node, checks.fools_one_visit)  # these take the class as well


def ask(check, solution):
    return check(Value, solution) if check in WITH_VALUE else check(solution)


@pytest.mark.parametrize(("check", "solution"), RIGHT)
def test_right_solutions_pass(check, solution):
    result = ask(check, solution)
    assert result.passed and result.score == 1, result.message


# ---- wrong ones, each with a word of the hint that fits ----


def step_broken(params, loss_of, lr):
    loss = loss_of()
    loss.backward()
    for p in params:
        p.grad = 0.0
    for p in params:
        p.data -= lr * p.grad


def step_never_zero(params, loss_of, lr):
    loss_of().backward()
    for p in params:
        p.data -= lr * p.grad


def step_with(update):
    def step(params, loss_of, lr):
        for p in params:
            p.grad = 0.0
        loss_of().backward()
        for p in params:
            p.data = update(p.data, lr * p.grad)

    return step


def step_first_only(params, loss_of, lr):
    step_zero_first(params[:1], loss_of, lr)


def softmax(z):
    return np.exp(z - z.max()) / np.exp(z - z.max()).sum()


def relu_with(number, slope, parents=True):
    def relu(v):
        return Value(number(v.data), (v,) if parents else (), (slope(v.data),) if parents else ())

    return relu


def positive(x):
    return max(x, 0.0)


WRONG = [
    (checks.two_sided_slope, lambda f, x, h=1e-5: (f(x + h) - f(x)) / h, "Step to both sides"),
    (checks.two_sided_slope, lambda f, x, h=1e-5: (f(x + h) - f(x - h)) / h, "divide by 2 * h"),
    (checks.two_sided_slope, lambda f, x, h=1e-5: (f(x - h) - f(x + h)) / (2 * h), "in this order"),
    (checks.two_sided_slope, lambda f, x, h=1e-5: f(x + h) - f(x - h), "not yet a slope"),
    (checks.two_sided_slope, lambda f, x, h=1e-5: f(x + h) - f(x - h) / 2 * h, "brackets"),
    (checks.two_sided_slope, lambda f, x, h=1e-5: (f(x + h) - f(x - h)) / (4 * h), "too small"),
    (checks.wrong_rule, "cube", "several places"),
    (checks.wrong_rule, "bell", "several places"),
    (checks.wrong_rule, "sigmoid", "several places"),
    (checks.wrong_rule, "tanh", "several places"),
    (checks.predict_gradients, [4, 16], "changed places"),
    (checks.predict_gradients, [4, 1], "local slopes"),
    (checks.predict_gradients, [4, 4], "a sum"),
    (checks.predict_gradients, [8, 2], "which is 2s"),
    (checks.predict_gradients, [-24, 16], "other numbers"),
    (checks.predict_gradients, 16, "Start at the end"),
    (checks.predict_used_twice, 6, "The sum hands"),
    (checks.predict_used_twice, 1, "last use"),
    (checks.predict_used_twice, 3, "one share"),
    (checks.predict_used_twice, 12, "value of"),
    (checks.predict_used_twice, 9, "three times"),
    (checks.open_the_gate, -6, "-12"),
    (checks.open_the_gate, 10, "where the widget starts"),
    (checks.open_the_gate, 0, "-6"),
    (checks.open_the_gate, 3, "steepest"),
    (checks.relu_node, relu_with(positive, positive), "The slope is 1 or 0"),
    (checks.relu_node, relu_with(positive, lambda x: 1.0), "flat"),
    (checks.relu_node, relu_with(positive, None, parents=False), "know its parent"),
    (checks.relu_node, relu_with(abs, lambda x: float(x > 0)), "turn its sign"),
    (checks.relu_node, relu_with(lambda x: min(x, 0.0), lambda x: float(x < 0)), "larger of x"),
    (checks.relu_node, lambda v: max(v.data, 0.0), "backward"),
    (checks.fools_one_visit, lambda a: a * 2 + 1, "is right"),
    (checks.fools_one_visit, lambda a: a * a, "is right"),
    (checks.fools_one_visit, lambda a: (a * 2) * 5.0 + (a * 2), "is right"),
    (checks.fools_one_visit, lambda a: Value(3.0) * 2, "Use a"),
    (checks.fools_one_visit, lambda a: a.data * 2, "give back a Value"),
    (checks.train_step, step_broken, "still a gradient in it"),
    (checks.train_step, step_never_zero, "Zero them before backward"),
    (checks.train_step, step_with(lambda p, d: p + d), "uphill"),
    (checks.train_step, step_with(lambda p, d: -d), "replaces"),
    (checks.train_step, step_with(lambda p, d: p - d / len(p.shape + (1, 1))), "The order is"),
    (checks.train_step, step_first_only, "The order is"),
    (checks.train_step, lambda params, loss_of, lr: None, "never move"),
    (checks.fast_fit, 0.1, "too slowly"),
    (checks.fast_fit, 0.2, "too slowly"),
    (checks.fast_fit, 0.5, "jumps"),
    (checks.fast_fit, 2, "too long"),
    (checks.fast_fit, -0.1, "above 0"),
    (checks.fast_fit, "fast", "could not convert"),
    (checks.scale_backward, lambda x, s, g: (g * s, g * x), "add up"),
    (checks.scale_backward, lambda x, s, g: (g * s, (g * x).sum(1)), "over axis 0"),
    (checks.scale_backward, lambda x, s, g: (g * s, (g * x).sum()), "Only the row axis"),
    (checks.scale_backward, lambda x, s, g: (g * s, (g * x).mean(0)), "average"),
    (checks.scale_backward, lambda x, s, g: (g, g.sum(0)), "product rule"),
    (checks.scale_backward, lambda x, s, g: (g * x, (g * s).sum(0)), "the other"),
    (checks.scale_backward, lambda x, s, g: g * s, "return d_x, d_s"),
    (checks.loss_slopes, lambda z, t: softmax(z), "Subtract 1"),
    (checks.loss_slopes, lambda z, t: np.eye(len(z))[t] - softmax(z), "sign"),
    (checks.loss_slopes, lambda z, t: z - np.eye(len(z))[t], "probabilities first"),
    (checks.loss_slopes, lambda z, t: softmax(z) - 1, "at the target only"),
    (checks.loss_slopes, lambda z, t: (softmax(z) - np.eye(len(z))[t]) / len(z), "divide by V"),
    (checks.loss_slopes, lambda z, t: np.exp(z) / np.exp(z).sum() - np.eye(len(z))[t], "largest"),
    (checks.loss_slopes, lambda z, t: -np.log(softmax(z)[t]), "shape"),
]


@pytest.mark.parametrize(("check", "solution", "hint"), WRONG)
def test_wrong_solutions_are_refused_with_a_hint(check, solution, hint):
    result = ask(check, solution)
    assert not result.passed and result.score < 1
    assert result.message.startswith("not yet"), result.message
    assert hint in result.message


@pytest.mark.parametrize("entry", checks.catalogue(2), ids=lambda entry: entry.name)
def test_a_stub_is_not_done_yet(entry):
    def stub(*args):
        ...

    run = getattr(checks, entry.name)
    for unfinished in [..., None, *([stub] if entry.kind == "function" else [])]:
        if run is checks.train_step and unfinished is stub:
            continue  # this one starts from a wrong loop, not from an empty one
        result = ask(run, unfinished)
        assert result.score == 0
        assert result.message.startswith("not done yet"), result.message


def test_half_a_stub_is_not_done_yet():
    assert checks.scale_backward(lambda x, s, grad: (..., ...)).message.startswith("not done yet")
    unfinished = relu_with(lambda x: ..., lambda x: ...)
    assert checks.relu_node(Value, unfinished).message.startswith("not done yet")


def test_no_hint_holds_the_answer():
    assert "softplus" not in checks.wrong_rule("cube").message
    assert "7" not in checks.predict_used_twice(6).message
    assert "16" not in checks.predict_gradients([4, 1]).message
    assert "0.3" not in checks.fast_fit(0.2).message


def test_the_trained_network_is_the_lessons():
    """`_fit` starts where lesson 2 starts: its first losses stand in the notebook."""
    losses = _fit(0.2, steps=20)
    assert [round(losses[i], 4) for i in (0, 10, 20)] == [1.1927, 0.7669, 0.2486]


def test_the_checks_take_tensors_where_the_reader_uses_them():
    def step(params, loss_of, lr):
        assert all(isinstance(p, Tensor) for p in params)
        step_zero_first(params, loss_of, lr)

    assert checks.train_step(step).passed
