"""Answers to the exercises of lesson 2."""

from __future__ import annotations

import itertools
import math

import numpy as np

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


def central(h):
    return lambda f, x: (f(x + h) - f(x - h)) / (2 * h)


def relu_if(v):
    if v.data > 0:
        return Value(v.data, (v,), (1.0,))
    return Value(0.0, (v,), (0.0,))


def lesson_diamond(a):
    d = a * 2
    return d + d * 5.0


def late_use(a):
    d = a * 3
    return d + d * 5.0


def longer_path(a):
    e = a + 1.0
    return e + (e * e + a) * a


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


def slopes_listed(logits, target):
    top = max(logits)
    exps = [math.exp(z - top) for z in logits]
    return [e / sum(exps) - (i == target) for i, e in enumerate(exps)]


RIGHT = [
    *(("two_sided_slope", central(h)) for h in (1e-3, 1e-5, 1e-6, 1e-8)),
    ("wrong_rule", "softplus"),
    ("wrong_rule", " Softplus "),
    ("predict_gradients", [16, 4]),
    ("predict_gradients", (16.0, 4.0)),
    ("predict_used_twice", np.float64(7)),
    ("open_the_gate", 6.1),
    ("relu_node", (Value, relu_if)),
    ("relu_node", (Value, lambda v: Value(max(v.data, 0), (v,), (int(v.data > 0),)))),
    ("fools_one_visit", (Value, late_use)),
    ("fools_one_visit", (Value, longer_path)),
    ("train_step", step_zero_last),
    *(("fast_fit", rate) for rate in (0.24, 0.25, 0.3, np.float64(0.4))),
    ("scale_backward", scale_loops),
    ("loss_slopes", slopes_listed),
]


def relu_with(number, slope, parents=True):
    def relu(v):
        return Value(number(v.data), (v,) if parents else (), (slope(v.data),) if parents else ())

    return (Value, relu)


def positive(x):
    return max(x, 0.0)


def step_first_only(params, loss_of, lr):
    step_zero_last(params[:1], loss_of, lr)


H = 1e-5
WRONG = [
    ("two_sided_slope", lambda f, x: (f(x + H) - f(x)) / H, "One of your points is x itself"),
    ("two_sided_slope", lambda f, x: (f(x + 1e-8) - f(x)) / 1e-8, "One of your points is x itself"),
    ("two_sided_slope", lambda f, x: (f(x + H) - f(x - H)) / H, r"divide by 2 \* h"),
    ("two_sided_slope", lambda f, x: (f(x - H) - f(x + H)) / (2 * H), "in this order"),
    ("two_sided_slope", lambda f, x: f(x + H) - f(x - H), "not yet a slope"),
    ("two_sided_slope", lambda f, x: f(x + H) - f(x - H) / 2 * H, "brackets around"),
    ("two_sided_slope", lambda f, x: (f(x + H) - f(x - H)) / 2 * H, r"write `/ \(2 \* h\)`"),
    ("two_sided_slope", lambda f, x: (f(x + H) - f(x - H)) / (4 * H), "Half of the slope"),
    ("two_sided_slope", lambda f, x: (f(x + 2 * H) - f(x - H)) / (3 * H), r"x -1e-05 and x \+2e-05"),
    ("two_sided_slope", central(0.1), "h = 0.1 is too large"),
    ("two_sided_slope", central(1e-12), "h = 1e-12 is too small"),
    ("two_sided_slope", lambda f, x: central(1e-6 * x)(f, x), "ZeroDivisionError"),
    ("wrong_rule", "cube", "several places"),
    ("predict_gradients", 16, "Start at the end"),
    ("predict_used_twice", 9, "three times"),
    ("open_the_gate", 3, "steepest"),
    ("relu_node", relu_with(positive, positive), "The slope is 1 or 0"),
    ("relu_node", relu_with(positive, lambda x: 1.0), "flat"),
    ("relu_node", relu_with(positive, None, parents=False), "know its parent"),
    ("relu_node", relu_with(abs, lambda x: float(x > 0)), "turn its sign"),
    ("relu_node", relu_with(lambda x: min(x, 0.0), lambda x: float(x < 0)), "larger of x"),
    ("relu_node", relu_with(positive, lambda x: float(x > 1)), "at x = 0.25|x = 0.25"),
    ("relu_node", (Value, lambda v: max(v.data, 0.0)), "backward"),
    ("fools_one_visit", (Value, lambda a: a * 2 + 1), "is right"),
    ("fools_one_visit", (Value, lambda a: a * a), "is right"),
    ("fools_one_visit", (Value, lesson_diamond), "the diamond of the lesson"),
    ("fools_one_visit", (Value, lambda a: (a * 2) * 5.0 + (a * 2)), "is right"),
    ("fools_one_visit", (Value, lambda a: Value(3.0) * 2), "Use a"),
    ("fools_one_visit", (Value, lambda a: a.data * 2), "give back a Value"),
    ("train_step", step_first_only, "Only the first parameter moves"),
    ("fast_fit", 0.1, "too slowly"),
    ("fast_fit", 0.2, "too slowly"),
    ("fast_fit", 2, "too long"),
    ("fast_fit", -0.1, "above 0"),
    ("fast_fit", "fast", "expected numbers"),
    ("scale_backward", lambda x, s, g: g * s, "expected 2 items|arranged|items"),
    ("loss_slopes", lambda z, t: np.zeros(len(z)), "all 0"),
]
