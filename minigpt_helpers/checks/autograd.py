"""Checks of lesson 2: slopes, the node, the order of the walk, arrays, fitting."""

from __future__ import annotations

import itertools
import math

import numpy as np

from minigpt_helpers.autograd import Tensor
from minigpt_helpers.checks._ask import prediction
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import NotDone, as_array, expect, expect_close
from minigpt_helpers.checks._exercise import exercise

# ---- slopes by nudging --------------------------------------------------------------------------

_CURVES = [
    ("5x + 2 at x = 4", lambda x: 5 * x + 2, 4.0, 5.0),
    ("x² at x = 3", lambda x: x * x, 3.0, 6.0),
    ("x³ at x = -2", lambda x: x * x * x, -2.0, 12.0),
    ("sin x at x = 1", math.sin, 1.0, math.cos(1.0)),
    ("1/x at x = -0.5", lambda x: 1 / x, -0.5, -4.0),
    ("sin x at x = 0", math.sin, 0.0, 1.0),
]


@check(
    lesson=2,
    expects="a function `two_sided_slope(f, x)`: a function of one number and a number in, the "
    "slope of f at x out",
    not_tested="your choice of h, as long as the slopes are right to 1 part in 10,000",
)
def two_sided_slope(case, two_sided_slope):
    def measured(f, x):
        """The student's slope, and the points at which f was asked."""
        points = []

        def watched(at):
            points.append(float(at))
            return f(at)

        return float(as_array(two_sided_slope(watched, x))), sorted(set(points))

    for name, f, x, slope in _CURVES:
        with case(name):
            got, points = measured(f, x)
            expect_close(got, slope, "the slope", tol=1e-4, hint=_slope_hint(f, x, got, points))
    with case("one point on each side of x, equally far"):
        _, points = measured(lambda x: x**4, 2.0)
        left = [2.0 - p for p in points if p < 2.0]
        right = [p - 2.0 for p in points if p > 2.0]
        expect(left and right and np.allclose(sorted(left), right, rtol=1e-3),
               f"at x = 2 your function looks at {_listed(points)}",
               "One of your points is x itself. Step to both sides: x + h and x - h."
               if 2.0 in points else "Step to both sides: x + h and x - h.")


def _listed(points: list[float]) -> str:
    return " and ".join(f"x {p - 2.0:+.1g}" if p != 2.0 else "x" for p in points) or "no point"


def _slope_hint(f, x: float, got: float, points: list[float]) -> str:
    """The mistake that gives just this number from the two points that were asked."""
    if len(points) != 2 or x in points:
        return ""
    low, high = points
    h, rise = (high - low) / 2, f(high) - f(low)
    for wrong, hint in [
        (rise / h, "The two points are 2h apart: divide by 2 * h."),
        (-rise / (2 * h), "The sign: f(x + h) - f(x - h), in this order."),
        (rise / (4 * h), "Half of the slope: the two points are 2h apart, no more."),
        (rise, "That is a difference, not yet a slope: divide it by the distance 2 * h."),
        (rise / 2 * h, "`/ 2 * h` divides by 2 and then multiplies by h: write `/ (2 * h)`."),
        (f(high) - f(low) / 2 * h, "Only the second value is divided: are there brackets around "
         "the difference?"),
        (f(high) - f(low) / (2 * h), "Only the second value is divided: are there brackets around "
         "the difference?"),
        ((f(high) + f(low)) / (2 * h), "The values are added. A slope needs their difference."),
    ]:
        if math.isclose(got, wrong, rel_tol=1e-6, abs_tol=1e-12):
            return hint
    if math.isclose(got, rise / (2 * h), rel_tol=0.3 if h < 1e-8 else 1e-6):
        return f"The formula is right, but h = {h:.1g} is too " + (
            "small: the computer keeps about 16 digits." if h < 1e-8 else
            "large: the curve bends within the step."
        )
    return ""


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
    hint="Start at the end: s = a*b + c is 2, and the slope of s² is 2s. The sum passes it on to "
    "m = a*b. What does a product pass to each side?",
    near=[
        ([4, 16], "These two are swapped: a gets the gradient times b."),
        ([4, 1], "These are the local slopes. Multiply each by the gradient that arrives at m."),
        ([4, 4], "That is what a sum would pass on. m = a * b is a product."),
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
    hint="a is used three times. Each use passes back a share, and the shares add up.",
    near=[
        (1, "That is the share of the last use alone."),
        (3, "That is one share of the product."),
        (6, "That is the share of the product. The sum passes one back, too."),
        (4, "The product uses a twice: both of its sides pass a share back."),
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
        (-6.0, "With this c the input of tanh is far below 0, where tanh is flat."),
        (10.0, "That is where the widget starts: the gradient of a is almost 0 there."),
        (0.0, "With c = 0 the input of tanh is far below 0, where tanh is flat."),
    ],
)


# ---- the scalar node ----------------------------------------------------------------------------


def _gradient(Value, f, x: float) -> tuple[float, float]:
    """f(x) and its slope by the reader's own engine."""
    leaf = Value(x)
    out = f(leaf)
    out.backward()
    return out.data, leaf.grad


class _Node:
    """The lesson's `Value`, as far as the walk backward needs it."""

    births = itertools.count()

    def __init__(self, data, parents=(), slopes=()):
        self.data, self.grad, self.parents, self.slopes = data, 0.0, parents, slopes
        self.order = next(self.births)

    def __add__(self, other):
        return _Node(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        return _Node(self.data * other.data, (self, other), (other.data, self.data))


def _diamond(a, c):
    d = a * _Node(2.0)
    return d + d * c


_GRAPHS = {
    "a*b + c": (lambda a, b, c: a * b + c, [2.0, -3.0, 10.0]),
    "d = 2a; d + d*c": (_diamond, [3.0, 5.0]),
    "a*a + a": (lambda a: a * a + a, [3.0]),
}


def _walked(backward, graph: str, calls: int) -> list[float]:
    """The gradients of the inputs of a graph, and that of its result, after some calls."""
    build, numbers = _GRAPHS[graph]
    leaves = [_Node(number) for number in numbers]
    result = build(*leaves)
    result.grad = left = 0.125  # by something else
    for _ in range(calls):
        backward(result)
    grads = [float(as_array(node.grad)) for node in (*leaves, result)]
    if grads == [0.0] * len(leaves) + [left]:
        raise NotDone("no gradient has moved")
    return grads


def _oldest_first(result: _Node) -> list[_Node]:
    found, to_visit = {result}, [result]
    while to_visit:
        new = set(to_visit.pop().parents) - found
        found |= new
        to_visit += new
    return sorted(found, key=lambda node: node.order)


@exercise(
    lesson=2,
    expects="a function `backward(result)` that adds the slope of the result to the `grad` of "
    "every node it was made from",
    not_tested="graphs of many thousand nodes",
    in_place=True,
    call=_walked,
    cases=lambda rng: [
        *((graph, graph, 1) for graph in _GRAPHS),
        ("a second call adds to the inputs", "a*b + c", 2),
        ("a second call adds to the inputs", "d = 2a; d + d*c", 2),
    ],
    slips=[
        ("result.grad = 1.0", "pass", "No gradient arrives. The result moves as fast as itself: "
         "its grad begins with 1."),
        ("+= slope", "= slope", "A number that is used twice gets two shares. They add up: += "
         "and not =."),
        ("reversed(nodes)", "nodes", "The walk goes the wrong way round: newest first."),
        ("slope * node.grad", "slope", "Those are the local slopes alone. Multiply each by the "
         "gradient of the result."),
        ("slope * node.grad", "slope * node.data", "The share is the slope times the node's grad, "
         "not its data."),
        ("if node.parents:", "if True:", "The inputs lost what they had. Clear only nodes that "
         "have parents."),
        ("node.grad = 0.0", "pass", "The nodes between kept what was left in them. Clear those "
         "that have parents first."),
    ],
)
def backward_walk(result):
    nodes = _oldest_first(result)
    for node in nodes:
        if node.parents:
            node.grad = 0.0
    result.grad = 1.0
    for node in reversed(nodes):
        for parent, slope in zip(node.parents, node.slopes):
            parent.grad += slope * node.grad


@check(
    lesson=2,
    expects="the class `Value` and a function `relu(v)`: a Value in, a new Value out",
    not_tested="the slope exactly at 0",
)
def relu_node(case, Value, relu):
    inputs = [2.5, 0.25, -1.5, -4.0]
    found = {}
    for x in inputs:
        with case(f"relu({x:g})"):
            found[x] = [float(as_array(number)) for number in _gradient(Value, relu, x)]
            hint = _relu_hint(found) if x == inputs[-1] else ""
            expect_close(found[x][0], max(x, 0.0), f"relu({x:g})", hint=hint)
            expect_close(found[x][1], float(x > 0), f"the gradient of x = {x:g}", hint=hint)
    with case("in the middle of a graph"):
        _, grad = _gradient(Value, lambda v: relu(v * 3.0) * v, 2.0)
        expect_close(grad, 12.0, "the gradient of x in relu(3x) * x at x = 2")
    case.diagnosis = f"Hint: {hint}" if len(found) == 4 and (hint := _relu_hint(found)) else ""


def _relu_hint(found: dict[float, list[float]]) -> str:
    """What fits the values and the gradients at all four inputs."""
    for value, hint in [
        (lambda x: min(x, 0.0), "relu keeps the larger of x and 0."),
        (abs, "relu makes a negative number 0, it does not turn its sign."),
        (lambda x: x, "A negative number becomes 0."),
    ]:
        if all(got[0] == value(x) for x, got in found.items()):
            return hint
    for slope, hint in [
        (lambda x: max(x, 0.0), "You gave relu's value as its slope. The slope is 1 or 0."),
        (lambda x: 1.0, "Left of 0 relu is flat: its slope there is 0."),
        (lambda x: 0.0, "No gradient reaches x. Right of 0 the slope is 1, and the node has to know "
         "its parent: Value(number, (v,), (slope,))."),
        (lambda x: float(x < 0), "The two slopes are swapped: right of 0 relu rises."),
        (lambda x: x, "The slope is 1 or 0: how fast the result moves, not how large it is."),
    ]:
        if all(got[1] == slope(x) for x, got in found.items()):
            return hint
    return ""


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
                "Make an intermediate result, d = a * 2 say. Use d in the last operation of all, as "
                "its left side, and also in an operation just before it.",
            )
            operations = sum(bool(node.parents) for node in walked)
            lessons_own = operations == 3 and math.isclose(result.data, 12 * x)
            expect(not lessons_own, "this is the diamond of the lesson", "Build another one.")


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


def _after(train_step, steps: int, lr: float) -> list[float]:
    """Two parameters after some steps, from a loss in which each depends on the other."""
    params = [Tensor(0.5), Tensor(2.5)]
    a, b = params
    for _ in range(steps):
        train_step(params, lambda: (a * b - 3) ** 2 + (a - 1) ** 2, lr)
    return [float(as_array(p)) for p in params]


@exercise(
    lesson=2,
    expects="a function `train_step(params, loss_of, lr)` that moves every parameter once",
    not_tested="what it returns; whether the gradients are zeroed before backward() or after the "
    "move",
    in_place=True,
    call=_after,
    cases=lambda rng: [
        (f"{steps} step{'s' * (steps > 1)}", steps, lr) for steps, lr in [(1, 0.05), (2, 0.02),
                                                                        (5, 0.02)]
    ],
    given=("for p in params:\n        p.grad = 0.0\n    loss_of().backward()",
           "loss_of().backward()\n    for p in params:\n        p.grad = 0.0"),
    slips=[
        ("p.data -=", "p.data +=", "You walk uphill: minus lr * grad."),
        ("lr * p.grad", "p.grad", "The learning rate is not used."),
        ("p.data -= lr", "p.data = -lr", "The update replaces the parameter. Subtract from it: "
         "p.data -= ..."),
        ("    for p in params:\n        p.grad = 0.0\n", "", "The gradients of earlier steps are "
         "still in p.grad. Zero them before backward()."),
        ("p.grad = 0.0\n    loss_of().backward()", "p.grad = 0.0\n        loss_of().backward()",
         "backward() runs once for every parameter, so gradients add up. Run it once, after the "
         "loop that zeroes."),
        ("loss_of().backward()\n    for p in params:\n        p.data -= lr * p.grad",
         "for p in params:\n        p.grad = 0.0\n        loss_of().backward()\n"
         "        p.data -= lr * p.grad",
         "The loss is computed again after a parameter has moved. All gradients of one step belong "
         "to the same parameters."),
        ("for p in params:\n        p.data", "for p in params[:1]:\n        p.data",
         "Only the first parameter moves."),
    ],
)
def train_step(params, loss_of, lr):
    for p in params:
        p.grad = 0.0
    loss_of().backward()
    for p in params:
        p.data -= lr * p.grad


@check(
    lesson=2,
    expects="a learning rate, one number such as 0.05",
    not_tested="other starting weights than those of the lesson",
    kind="any",
)
def fast_fit(case, learning_rate):
    lr = as_array(learning_rate)
    with case("a usable number"):
        expect(lr.shape == () and np.isfinite(lr) and lr > 0, "expected one number above 0")
    with case("loss below 0.001 after 40 steps"):
        expect(lr.shape == () and np.isfinite(lr) and lr > 0, "there is no rate to try")
        losses = _fit(float(lr), steps=40)
        falls = all(later < earlier for earlier, later in zip(losses, losses[1:]))
        hint = "It falls all the time, but too slowly: longer steps would help."
        if losses[-1] > losses[0]:
            hint = "The loss explodes: the steps are too long."
        elif not falls:
            hint = "On the way the loss goes up and down: the steps are too long."
        expect(
            len(losses) == 41 and losses[-1] < 1e-3,
            f"with {lr:g} the loss goes from {losses[0]:.4f} to {min(losses[-1], 1e9):.4f}",
            hint,
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


@exercise(
    lesson=2,
    expects="a function `scale_backward(x, s, grad)` for y = x * s: arrays (T, D), (D,), (T, D) "
    "in; the pair (d_x, d_s) of shapes (T, D) and (D,) out",
    not_tested="arrays with more axes",
    cases=lambda rng: [
        (f"T={T}, D={D}", rng.normal(size=(T, D)), rng.normal(size=D), rng.normal(size=(T, D)))
        for T, D in [(2, 3), (4, 2), (3, 3)]
    ],
    slips=[
        ("d_x = grad * s", "d_x = grad * x", "d_x: that is the share of s. Each side gets the "
         "gradient times the other."),
        ("d_x = grad * s", "d_x = grad", "d_x: the product rule is missing: the gradient times s."),
        ("d_x = grad * s", "d_x = s", "d_x: times the gradient that arrives."),
        ("(grad * x).sum(axis=0)", "grad * x", "d_s must have the shape of s, (D,). Every row used "
         "s once: add up the rows."),
        ("axis=0", "axis=1", "d_s: you summed along the rows. s was repeated down the columns: sum "
         "over axis 0."),
        ("axis=0", "", "d_s: you summed over everything. Only the row axis was repeated."),
        (".sum(axis=0)", ".mean(axis=0)", "d_s: the shares add up; an average is too small."),
        ("(grad * x)", "grad", "d_s: the product rule is missing: the gradient times x, then the "
         "sum."),
        ("(grad * x)", "(grad * s)", "d_s: each side gets the gradient times the other side."),
        ("(grad * x)", "x", "d_s: times the gradient that arrives, then the sum."),
        ("return d_x, d_s", "return d_s, d_x", "The two are swapped: return d_x, d_s."),
        ("return d_x, d_s", "return d_x", "The result is not a pair. End with: return d_x, d_s."),
    ],
)
def scale_backward(x, s, grad):
    d_x = grad * s
    d_s = (grad * x).sum(axis=0)
    return d_x, d_s


@exercise(
    lesson=2,
    expects="a function `loss_slopes(logits, target)`: an array (V,) and an id in, an array (V,) "
    "out",
    not_tested="several positions at once",
    cases=lambda rng: [
        *((f"V={V}", rng.normal(size=V) * 2, target)
          for V, target in [(2, 0), (3, 1), (5, 4), (27, 7)]),
        ("large logits", np.array([1000.0, 999.0, 0.0]), 1),
        ("logits near -1000", np.array([-1000.0, -1001.0]), 0),
    ],
    slips=[
        ("slopes[target] -= 1", "pass", "Subtract 1 at the target."),
        ("return slopes", "return -slopes", "The sign: probabilities minus 1 at the target."),
        ("= exps / exps.sum()", "= logits.copy()", "Turn the logits into probabilities first."),
        ("exps / exps.sum()", "exps", "Divide by the sum of the exponentials."),
        ("slopes[target]", "slopes[-1 - target]", "The 1 is subtracted at another id."),
        ("slopes[target] -= 1", "slopes -= 1", "Subtract 1 at the target only."),
        ("slopes[target] -= 1", "slopes[target] = 0", "At the target it is p - 1, not 0."),
        ("slopes[target] -= 1", "slopes[target] += 1", "Subtract 1 at the target; you add it."),
        ("return slopes", "return slopes / len(slopes)", "There is one position, so nothing is "
         "averaged: do not divide by V."),
        ("return slopes", "return slopes[target]", "That is the slope at the target alone. Return "
         "all V of them."),
        ("return slopes", "return -np.log(slopes[target] + 1)", "That is the loss. The slopes are V "
         "numbers."),
        ("logits - logits.max()", "logits", "exp(1000) is too large a number. Subtract the largest "
         "logit first."),
        ("logits.max()", "np.abs(logits).max()", "For logits near -1000 every exp becomes 0. "
         "Subtract the largest logit, not the largest size."),
    ],
)
def loss_slopes(logits, target):
    exps = np.exp(logits - logits.max())
    slopes = exps / exps.sum()
    slopes[target] -= 1
    return slopes
