"""Checks of lesson 2: slopes, the node, the order of the walk, arrays, fitting."""

from __future__ import annotations

import math

import numpy as np

from minigpt_helpers.autograd import Tensor
from minigpt_helpers.checks._base import (
    as_array,
    check,
    expect,
    expect_close,
    expect_same,
    prediction,
)
from minigpt_helpers.functional import cross_entropy_loss

# ---- slopes by nudging --------------------------------------------------------------------------


@check(
    lesson=2,
    expects="a function `two_sided_slope(f, x)`: a function of one number and a number in, the "
    "slope of f at x out",
    not_tested="your choice of h, as long as the slopes come out right",
)
def two_sided_slope(case, two_sided_slope):
    known = [
        ("5x + 2 at x = 4", lambda x: 5 * x + 2, 4.0, 5.0),
        ("x² at x = 3", lambda x: x * x, 3.0, 6.0),
        ("x³ at x = -2", lambda x: x * x * x, -2.0, 12.0),
        ("sin x at x = 1", math.sin, 1.0, math.cos(1.0)),
        ("1/x at x = -0.5", lambda x: 1 / x, -0.5, -4.0),
    ]
    for name, f, x, slope in known:
        with case(name):
            got = two_sided_slope(f, x)
            rise_only = abs(float(got)) < 1e-2 * abs(slope)
            expect_close(got, slope, f"the slope of {name}", tol=1e-4, mistakes=[
                (2 * slope, "The two points are 2h apart: divide by 2 * h."),
                (-slope, "The sign is turned: f(x + h) - f(x - h), in this order."),
                (slope / 2, "Twice too small: the two points are 2h apart, no more."),
            ], hint="That is a difference, not yet a slope: divide it by the distance 2 * h."
                if rise_only else "Divide the whole difference by the whole of 2 * h: are there "
                "brackets around both?")
    with case("error on a curve"):
        got = float(two_sided_slope(lambda x: x**4, 2.0))
        expect(
            abs(got - 32) < 1e-6,
            f"for x⁴ at x = 2 the slope is 32; yours is off by {abs(got - 32):.0e}",
            "One of your points is x itself. Step to both sides: x + h and x - h.",
        )


prediction(
    "wrong_rule",
    lesson=2,
    answer="softplus",
    expects='the name of one of the four functions, such as "cube"',
    hint="Compare each claimed slope with a nudged one at several places: -1, 0.5 and 2, say.",
)

# ---- gradients on paper -------------------------------------------------------------------------

prediction(
    "predict_gradients",
    lesson=2,
    answer=[16, 4],
    tol=0.01,
    expects="two numbers in a list, such as [1.0, 2.0]: the gradients of a and of b",
    hint="Start at the end: s = a*b + c is 2, and the slope of s² is 2s. The sum hands it on to "
    "m = a*b. What does a product hand to each side?",
    near=[
        ([4, 16], "These two have changed places: a gets the gradient times b."),
        ([4, 1], "These are the local slopes. Multiply each by the gradient that arrives at m."),
        ([4, 4], "That is what a sum would hand on. m = a * b is a product."),
        ([1, 4], "These are a and b themselves. Which number does each get from the other?"),
        ([8, 2], "The gradient that arrives at m is the slope of s², which is 2s, not s."),
        ([-24, 16], "That is the example above, with other numbers."),
    ],
)

prediction(
    "predict_used_twice",
    lesson=2,
    answer=7,
    tol=0.01,
    expects="a number: the gradient of a",
    hint="a is used three times. Each use hands back a share, and the shares add up.",
    near=[
        (1, "That is the share of the last use alone."),
        (3, "That is one share of the product."),
        (6, "That is the share of the product. The sum hands one back, too."),
        (4, "The product uses a twice: both of its sides hand a share back."),
        (12, "That is the value of a * a + a, not its slope."),
    ],
)

prediction(
    "open_the_gate",
    lesson=2,
    answer=6.0,
    tol=0.15,
    expects="a number: the value of c",
    hint="tanh is steepest where its input is 0. Which c makes a*b + c equal to 0?",
    near=[
        (-6.0, "With this c the input of tanh is -12, where tanh is flat."),
        (10.0, "That is where the widget starts: the gradient of a is almost 0 there."),
        (0.0, "With c = 0 the input of tanh is -6, where tanh is flat."),
    ],
)


# ---- the scalar node ----------------------------------------------------------------------------


def _gradient(Value, f, x: float) -> tuple[float, float]:
    """f(x) and its slope by the reader's own engine."""
    leaf = Value(x)
    out = f(leaf)
    out.backward()
    return out.data, leaf.grad


@check(
    lesson=2,
    expects="the class `Value` and a function `relu(v)`: a Value in, a new Value out",
    not_tested="the slope exactly at 0",
)
def relu_node(case, Value, relu):
    for x in [2.5, 0.25, -1.5, -4.0]:
        slope = float(x > 0)
        with case(f"relu({x:g})"):
            out = relu(Value(x))
            expect_close(out, max(x, 0.0), f"relu({x:g})", mistakes=[
                (min(x, 0.0), "relu keeps the larger of x and 0."),
                (abs(x), "relu makes a negative number 0, it does not turn its sign."),
            ])
            value, grad = _gradient(Value, relu, x)
            expect_close(grad, slope, f"the gradient of x = {x:g}", mistakes=[
                (max(x, 0.0), "You gave relu's value as its slope. The slope is 1 or 0."),
                (1.0, "Left of 0 relu is flat: its slope there is 0."),
                (0.0, "Does your node know its parent? Value(number, (v,), (slope,))."),
            ])
    with case("in the middle of a graph"):
        _, grad = _gradient(Value, lambda v: relu(v * 3.0) * v, 2.0)
        expect_close(
            grad, 12.0, "the gradient of x in relu(3x) * x at x = 2",
            hint="The new node needs its parent and one slope: Value(number, (v,), (slope,)).",
        )


@check(
    lesson=2,
    expects="the class `Value` and a function `f(a)` that builds a result from the Value a with "
    "+ and *",
    not_tested="how simple your example is: there is one with two operations more than a",
)
def fools_one_visit(case, Value, f):
    for x in [3.0, 0.7]:
        with case(f"a = {x:g}"):
            leaf = Value(x)
            result = f(leaf)
            expect(isinstance(result, Value), "f(a) does not give back a Value",
                   "Build the result from a with + and *, and return it.")
            walked, naive = _one_visit(result, leaf)
            expect(leaf in walked, "the result does not depend on a", "Use a in your expression.")
            result.backward()
            expect(
                abs(naive - leaf.grad) > 1e-6,
                f"the walk that visits each node once gives {naive:g} for a, and that is right",
                "Make a result of your own, d = a * 2 say. Use d in the last operation of all, as "
                "its left side, and also in an operation just before it.",
            )


def _one_visit(result, leaf) -> tuple[list, float]:
    """The lesson's naive walk: nearest first, each node once, whatever it has got by then."""
    grads, queue, seen = {id(result): 1.0}, [result], []
    while queue:
        node = queue.pop(0)
        if any(node is other for other in seen):
            continue
        seen.append(node)
        for parent, slope in zip(node.parents, node.slopes):
            grads[id(parent)] = grads.get(id(parent), 0.0) + slope * grads[id(node)]
            queue.append(parent)
    return seen, grads.get(id(leaf), 0.0)


# ---- fitting ------------------------------------------------------------------------------------


def _loss_of(params: list[Tensor]):
    def loss_of() -> Tensor:
        return sum((p * (i + 1) - 3) ** 2 for i, p in enumerate(params))

    return loss_of


def _descend(start: list[float], lr: float, steps: int, zero: bool = True, sign: float = -1.0):
    """Where plain gradient descent on `_loss_of` ends, in numbers."""
    w, grad, weight = np.array(start), np.zeros(len(start)), 1.0 + np.arange(len(start))
    for _ in range(steps):
        grad = 2 * weight * (w * weight - 3) + (0 if zero else grad)
        w = w + sign * lr * grad
    return w


@check(
    lesson=2,
    expects="a function `train_step(params, loss_of, lr)` that moves every parameter once",
    not_tested="what it returns",
    in_place=True,
)
def train_step(case, train_step):
    lr, start = 0.05, [0.5, 2.5]
    for steps in [1, 2, 5]:
        with case(f"{steps} step{'s' * (steps > 1)}"):
            params = [Tensor(number) for number in start]
            for _ in range(steps):
                train_step(params, _loss_of(params), lr)
            got = [p.data for p in params]
            right = _descend(start, lr, steps)
            expect_close(got, right, f"the parameters after {steps}", mistakes=[
                (start, "The parameters never move. When the update reads p.grad, is there still "
                 "a gradient in it?"),
                (_descend(start, lr, steps, sign=1.0), "You walk uphill: minus lr * grad."),
                (_descend(start, lr, steps, zero=False), "The gradients of earlier steps are still "
                 "in p.grad. Zero them before backward()."),
                ([-lr * g for g in _slopes(start, lr, steps)], "The update replaces the parameter. "
                 "Subtract from it: p.data -= ..."),
            ], hint="The order is: loss, zero the gradients, backward(), move.")


def _slopes(start: list[float], lr: float, steps: int) -> np.ndarray:
    """The gradients of the last step when every step replaces w by -lr * grad."""
    w, weight = np.array(start), 1.0 + np.arange(len(start))
    for _ in range(steps):
        grad = 2 * weight * (w * weight - 3)
        w = -lr * grad
    return grad


@check(
    lesson=2,
    expects="a learning rate, one number such as 0.05",
    not_tested="other starting weights than those of the lesson",
    kind="any",
)
def fast_fit(case, learning_rate):
    with case("a usable number"):
        lr = float(learning_rate)
        expect(math.isfinite(lr) and lr > 0, f"the learning rate is {lr:g}", "Take one above 0.")
    with case("loss below 0.001 after 40 steps"):
        losses = _fit(lr, steps=40)
        expect(
            max(losses[-5:]) < 1e-3,
            f"with {lr:g} the loss goes from {losses[0]:.4f} to {min(losses[-1], 1e9):.4f}",
            "It falls, but too slowly: longer steps would help."
            if losses == sorted(losses, reverse=True)
            else "The loss explodes or jumps about: the steps are too long.",
        )


def _fit(lr: float, steps: int) -> list[float]:
    """The lesson's XOR network with the lesson's starting weights."""
    rng = np.random.default_rng(1)
    x = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])  # (4, 2)
    y = np.array([[-1.0], [1.0], [1.0], [-1.0]])  # (4, 1)
    params = [Tensor(rng.normal(size=(2, 4))), Tensor(np.zeros(4)),
              Tensor(rng.normal(size=(4, 1))), Tensor(np.zeros(1))]
    W1, b1, W2, b2 = params
    losses = []
    for _ in range(steps + 1):
        loss = ((((Tensor(x) @ W1 + b1).tanh() @ W2 + b2) - y) ** 2).mean()
        losses.append(loss.item())
        if not losses[-1] < 1e6:
            break
        for p in params:
            p.grad = 0.0
        loss.backward()
        for p in params:
            p.data -= lr * p.grad
    return losses


# ---- arrays -------------------------------------------------------------------------------------


@check(
    lesson=2,
    expects="a function `scale_backward(x, s, grad)` for y = x * s: arrays (T, D), (D,), (T, D) "
    "in; the pair (d_x, d_s) of shapes (T, D) and (D,) out",
    not_tested="arrays with more axes",
)
def scale_backward(case, scale_backward):
    for T, D in [(2, 3), (4, 2), (3, 3)]:
        x, grad = case.rng.normal(size=(2, T, D))
        s = case.rng.normal(size=D)
        with case(f"T={T}, D={D}: d_x"):
            d_x, _ = _pair(scale_backward(x, s, grad))
            expect_close(d_x, grad * s, "d_x", mistakes=[
                (grad * x, "That is the share of s. Each side gets the gradient times the other."),
                (grad, "The product rule is missing: the gradient times s."),
            ])
        with case(f"T={T}, D={D}: d_s"):
            _, d_s = _pair(scale_backward(x, s, grad))
            expect_close(d_s, (grad * x).sum(axis=0), "d_s", mistakes=[
                (grad * x, "d_s must have the shape of s, (D,). Every row used s once: add up "
                 "the rows."),
                ((grad * x).sum(axis=1), "You summed along the rows. s was repeated down the "
                 "columns: sum over axis 0."),
                ((grad * x).sum(), "You summed over everything. Only the row axis was repeated."),
                ((grad * x).mean(axis=0), "The shares add up; an average is too small."),
                (grad.sum(axis=0), "The product rule is missing: the gradient times x, then the "
                 "sum."),
                ((grad * s).sum(axis=0), "Each side gets the gradient times the other side."),
            ])


def _pair(got: object) -> tuple[np.ndarray, np.ndarray]:
    is_pair = isinstance(got, (tuple, list)) and len(got) == 2
    expect(is_pair, "the result is not a pair", "End with: return d_x, d_s")
    return as_array(got[0]), as_array(got[1])


@check(
    lesson=2,
    expects="a function `loss_slopes(logits, target)`: an array (V,) and an id in, an array (V,) "
    "out",
    not_tested="several positions at once",
)
def loss_slopes(case, loss_slopes):
    def reference(logits, target):
        tensor = Tensor(logits)
        cross_entropy_loss(tensor.reshape(1, -1), [target]).backward()
        return tensor.grad

    def probs(logits):
        exps = np.exp(logits - logits.max())
        return exps / exps.sum()

    def one_hot(logits, target):
        return np.eye(len(logits))[target]

    mistakes = [
        (lambda logits, target: probs(logits), "Subtract 1 at the target."),
        (lambda logits, target: one_hot(logits, target) - probs(logits), "The sign is turned."),
        (lambda logits, target: logits - one_hot(logits, target), "Turn the logits into "
         "probabilities first."),
        (lambda logits, target: probs(logits) - one_hot(logits, target)[::-1], "The 1 is "
         "subtracted at the wrong place."),
        (lambda logits, target: probs(logits) - 1, "Subtract 1 at the target only."),
        (lambda logits, target: probs(logits) * (1 - one_hot(logits, target)), "At the target it "
         "is p - 1, not 0."),
        (lambda logits, target: (probs(logits) - one_hot(logits, target)) / len(logits), "There is "
         "one position, so nothing is averaged: do not divide by V."),
    ]
    for V, target in [(2, 0), (3, 1), (5, 4), (27, 7)]:
        with case(f"V={V}"):
            expect_same(loss_slopes, reference, case.rng.normal(size=V) * 2, target,
                        mistakes=mistakes)
    with case("large logits"):
        expect_same(
            loss_slopes, reference, np.array([1000.0, 999.0, 0.0]), 1, mistakes=mistakes,
            hint="exp(1000) is too large a number. Subtract the largest logit first.",
        )
