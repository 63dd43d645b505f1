"""Checks of problem set 2: gradients on paper, your own node, a fixed walk, learning."""

from __future__ import annotations

import math

import numpy as np

from minigpt_helpers.autograd import Tensor
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import (
    NotDone,
    as_array,
    expect,
    expect_close,
    expect_equal,
    show,
)
from minigpt_helpers.checks._exercise import exercise
from minigpt_helpers.text import bigram_loss

# ---- 1. gradients on paper ----------------------------------------------------------------------


def _one_gradient(fn, name, a, b):
    got = as_array(fn(a, b))
    expect(got.shape == (2,), f"expected two numbers, got the shape {got.shape}",
           "End with `return d_a, d_b`.")
    return float(got["ab".index(name)])


def _points(rng):
    points = [(2.0, 3.0), *np.round(rng.uniform(-3, 3, size=(4, 2)), 2).tolist()]
    for name in "ab":
        for a, b in points:
            yield f"the gradient of {name}", name, a, b
        for a, b in [(0.0, float(rng.integers(2, 9))), (float(rng.integers(2, 9)), -1.0)]:
            yield f"the gradient of {name} where s is 0", name, a, b


_TWICE = "a is used twice: in the product and in the sum. The shares add up."
_OTHER = "A product passes each side the gradient times the *other* side."


@exercise(
    lesson="ps2",
    expects="a function `paper_gradients(a, b)`: two numbers in, the gradients of a and of b out",
    not_tested="how you found your formulas",
    cases=_points,
    call=_one_gradient,
    slips=[
        ("return d_a, d_b", "return d_b, d_a", "The two are swapped: first the gradient of a, then "
         "that of b."),
        ("s = a * b + a", "s = a * b", "s is a * b + a."),
        ("2 * s * (b + 1)", "2 * s * b", _TWICE),
        ("2 * s * (b + 1)", "2 * s", _TWICE),
        ("2 * s * (b + 1)", "2 * s * b + 1", "What arrives at the sum s is 2s. It passes 2s to each "
         "side, not 1."),
        ("2 * s * (b + 1)", "s * (b + 1)", "The slope of s * s is 2s: s is used twice."),
        ("2 * s * (b + 1)", "b + 1", "For a those are the local slopes. What arrives from L at s?"),
        ("2 * s * (b + 1)", "2 * s * a", f"For a: {_OTHER}"),
        ("2 * s * a + 1", "2 * s * a", "b is used once more: in the last sum."),
        ("2 * s * a + 1", "s * a + 1", "For b: the slope of s * s is 2s, as s is used twice."),
        ("2 * s * a + 1", "2 * s * b + 1", f"For b: {_OTHER}"),
        ("2 * s * a + 1", "2 * s * (a + 1)", "In m + a there is no b. The second share of b comes "
         "from the end."),
        ("2 * s * a + 1", "1.0 + 0 * a", "That is the share of the last sum. Another one comes "
         "through the product."),
        ("2 * s * a + 1", "a + 1", "For b those are the local slopes. What arrives from L at m?"),
    ],
)
def ps2_paper_gradients(a, b):
    s = a * b + a
    d_a = 2 * s * (b + 1)
    d_b = 2 * s * a + 1
    return d_a, d_b


# ---- 2. your own node --------------------------------------------------------------------------


def _summed(grad: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """`grad` summed over what was repeated, entry by entry."""
    total = np.zeros(shape)
    padded = (1,) * (grad.ndim - len(shape)) + shape
    for index in np.ndindex(grad.shape):
        kept = tuple(0 if n == 1 else i for i, n in zip(index, padded))
        total[kept[grad.ndim - len(shape) :]] += grad[index]
    return total


@check(
    lesson="ps2",
    expects="a function `maximum(x, y)`: two Tensors in, one Tensor out",
    not_tested="which of two equal numbers gets the gradient",
)
def ps2_maximum_node(case, maximum):
    def node(x: Tensor, y: Tensor) -> Tensor:
        out = maximum(x, y)
        expect(isinstance(out, Tensor), f"expected a Tensor, got {show(out)}",
               "Without a node nothing can flow back: `return Tensor.from_op(...)`.")
        return out

    def values(*shapes: tuple) -> None:
        x, y = (case.rng.normal(size=shape) for shape in shapes)
        expect_close(node(Tensor(x), Tensor(y)).data, np.maximum(x, y), "the values", mistakes=[
            (np.minimum(x, y), "That is the smaller one."),
            (np.maximum(x, 0) + 0 * y, "Compare x with y, not with 0."),
            (np.max([x.max(), y.max()]), "One result for each entry, not one for the whole array."),
        ])

    def gradients(*shapes: tuple) -> None:
        x, y = (case.rng.normal(size=shape) for shape in shapes)
        x_larger = x > y
        arriving = case.rng.normal(size=x_larger.shape)
        x_node, y_node = Tensor(x), Tensor(y)
        (node(x_node, y_node) * arriving).sum().backward()
        for name, leaf, wins, number in [("x", x_node, x_larger, x), ("y", y_node, ~x_larger, y)]:
            full = arriving * wins
            expect_close(leaf.grad, _summed(full, leaf.shape), f"the gradient of {name}", mistakes=[
                (full, "The gradient must have the shape of its parent. Sum over what was "
                 "repeated."),
                (_summed(arriving, leaf.shape), "Both sides get the whole gradient. Only the "
                 "larger number moves the result."),
                (_summed(arriving * ~wins, leaf.shape), "The gradient goes to the smaller number."),
                (_summed(arriving / 2, leaf.shape), "Half to each? Only the larger number moves "
                 "the result."),
                (_summed(wins * 1.0, leaf.shape), "That is the local slope. Multiply it by the "
                 "gradient that arrives."),
                (_summed(full * number, leaf.shape), "The local slope of the larger number is 1."),
                (np.zeros(leaf.shape), f"Nothing arrives at {name}: is it among the parents?"),
                (_summed(full, leaf.shape) * leaf.size / full.size, "The shares add up; a mean is "
                 "too small."),
            ])

    for shapes in [((2, 3), (2, 3)), ((4,), (4,))]:
        with case(f"shapes {shapes[0]} and {shapes[1]}"):
            values(*shapes)
            gradients(*shapes)
    for first, second in [((3, 4), (4,)), ((3,), (2, 3)), ((2, 1), (1, 3)), ((), (2, 3)),
                          ((2, 3, 4), (3, 1)), ((1,), (5,))]:
        with case(f"shapes {first} and {second}: values"):
            values(first, second)
        with case(f"shapes {first} and {second}: gradients"):
            gradients(first, second)
    with case("in the middle of a graph, one tensor on both sides"):
        x = case.rng.normal(size=(2, 3))
        leaf = Tensor(x)
        (node(leaf * 2.0, leaf * leaf).tanh() * 3.0).sum().backward()
        largest = np.maximum(2 * x, x * x)
        slope = np.where(2 * x > x * x, 2.0, 2 * x)
        expect_close(leaf.grad, 3 * (1 - np.tanh(largest) ** 2) * slope, "the gradient")
        expect_close(node(Tensor(x), Tensor(x)).data, x, "the values where both are equal")
    with case("the gradient that arrives is left as it is"):
        x, y, z = (Tensor(case.rng.normal(size=(2, 3))) for _ in range(3))
        arriving = case.rng.normal(size=(2, 3))
        total = node(x, y) + z
        total.backward(arriving)
        for name, tensor in [("z", z), ("the sum", total)]:
            expect_close(tensor.grad, arriving, f"in maximum(x, y) + z, the gradient of {name}",
                         hint="Your rule changes the array that it is given, but others hold it, "
                         "too. Make a new one: `grad * mask`, not `grad *= mask`.")


# ---- 3. measured gradients ----------------------------------------------------------------------


def _measured(fn, f, x):
    def shaped(array):
        expect(np.shape(array) == x.shape, f"f was called with the shape {np.shape(array)}; x has "
               f"the shape {x.shape}", "Give f the whole array, with one number moved.")
        return float(f(np.asarray(array)))

    return as_array(fn(shaped, x))


def _functions(rng):
    v, w = rng.normal(size=3), rng.normal(size=(2, 2, 3))
    yield "a vector, each number on its own", lambda x: (x**3).sum(), rng.uniform(0.5, 2, size=4)
    yield ("a vector whose numbers act together", lambda x: x.sum() ** 2,
           rng.uniform(0.5, 1, size=3))
    yield "a matrix", lambda x: np.tanh(x @ v).sum(), rng.normal(size=(2, 3))
    yield "three axes", lambda x: (w * np.sin(x)).sum(), rng.normal(size=(2, 2, 3))
    yield "a single number, shape ()", lambda x: x * x * x, np.array(rng.uniform(1, 2))
    yield "an array of whole numbers", lambda x: (x * x).sum(), rng.integers(1, 9, size=4)
    yield "slopes of 0 beside another", lambda x: 7.0 + 2 * x[1], rng.normal(size=3)
    yield "at 0", lambda x: np.sin(x).sum(), np.array([0.0, 1.0, 0.0])
    yield "error below 1 part in 10,000", lambda x: np.exp(x).sum(), rng.uniform(0, 2, size=3)
    yield ("error below 1 part in 10,000", lambda x: 5 * (x * x).sum(),
           rng.uniform(-0.01, 0.01, size=3))


_SLOPE = "(f(up) - f(down)) / (2 * h)"


@exercise(
    lesson="ps2",
    expects="a function `numerical_gradient(f, x)`: a function from an array to a number and an "
    "array in, an array of the same shape out",
    not_tested="how often you call f; your step, as long as the slopes are right to 1 part in "
    "10,000",
    seconds=10.0,
    cases=_functions,
    call=_measured,
    tol=1e-4,
    slips=[
        ("/ (2 * h)", "/ h", "The two points are 2h apart: divide by 2 * h."),
        ("/ (2 * h)", "/ (4 * h)", "Half of the slope: the two points are 2h apart, no more."),
        (_SLOPE, "(f(down) - f(up)) / (2 * h)", "The sign: f at the larger number minus f at the "
         "smaller one."),
        (" / (2 * h)", "", "That is a difference, not yet a slope: divide it by the distance."),
        ("up[at], down[at] = up[at] + h, down[at] - h", "up, down = up + h, down - h", "You move all "
         "numbers at once. Move one at a time."),
        ("h = 1e-5", "h = 0.1", "The step is too large: the curve bends within it."),
        ("h = 1e-5", "h = 1e-13", "The step is too small: the computer keeps about 16 digits."),
        (".astype(float)", "", "In an array of whole numbers a small step is cut off. Make it floats "
         "first."),
        ("for at in np.ndindex(x.shape):", "for at in range(len(x)):", "A single index is not enough "
         "for every shape: `np.ndindex(x.shape)` gives all places of an array."),
    ],
)
def ps2_numerical_gradient(f, x):
    h = 1e-5
    x = x.astype(float)
    slopes = np.zeros(x.shape)
    for at in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[at], down[at] = up[at] + h, down[at] - h
        slopes[at] = (f(up) - f(down)) / (2 * h)
    return slopes


# ---- 4. the fixed walk --------------------------------------------------------------------------


def _slopes(result) -> dict:
    """id -> slope of the result, for each node: by Kahn's order, every use counted."""
    uses, to_visit, seen = {}, [result], {id(result): result}  # kept, so that each keeps its id
    while to_visit:
        for parent in to_visit.pop().parents:
            uses[id(parent)] = uses.get(id(parent), 0) + 1
            if id(parent) not in seen:
                seen[id(parent)] = parent
                to_visit.append(parent)
    slopes, ready = {id(result): 1.0}, [result]
    while ready:
        node = ready.pop()
        for parent, slope in zip(node.parents, node.slopes):
            slopes[id(parent)] = slopes.get(id(parent), 0.0) + slope * slopes[id(node)]
            uses[id(parent)] -= 1
            if not uses[id(parent)]:
                ready.append(parent)
    return slopes


def _walk(result, add: bool, once: bool, last: bool) -> dict:
    """The naive walks: each passes on at once what it has."""
    slopes, to_visit, seen = {id(result): 1.0}, [result], {}
    while to_visit and len(seen) < 400:
        node = to_visit.pop(-1 if last else 0)
        if once and id(node) in seen:
            continue
        seen[id(node)] = node
        for parent, slope in zip(node.parents, node.slopes):
            old = slopes.get(id(parent), 0.0) if add else 0.0
            slopes[id(parent)] = old + slope * slopes[id(node)]
            to_visit.append(parent)
    return slopes


_OVERWRITTEN = "A share overwrites the one before. Shares from several uses add up: `+=`."
_TOO_EARLY = (
    "The order is wrong: a node may pass on its gradient only when all nodes that use it have "
    "passed theirs to it."
)


@check(
    lesson="ps2",
    expects="the class `Value` and a function `mended_backward(result)`: a Value in; afterwards "
    "each Value that it was made from has its gradient in `grad`",
    not_tested="a second call on the same graph",
    in_place=True,
    seconds=6.0,
)
def ps2_mended_backward(case, Value, mended_backward):
    rng = case.rng

    def agree(result, named: dict, hint: str = "") -> None:
        right = _slopes(result)
        wrong = [] if len(right) > 60 else [
            (_walk(result, add, once, last), text)
            for add, text in [(True, _TOO_EARLY), (False, _OVERWRITTEN)]
            for once in (False, True) for last in (False, True)
        ]
        try:
            mended_backward(result)
        except RecursionError:
            expect(False, "your function calls itself, once for each of the nodes in a row",
                   "Python allows only about 1,000 calls inside each other. Use a loop and "
                   "your own list.")
        if result.grad == 0 and not any(node.grad for node in named.values()):
            raise NotDone("every grad is still 0. The walk starts with result.grad = 1.0.")
        for name, node in named.items():
            expect_close(node.grad, right[id(node)], f"the gradient of {name}", tol=1e-9, mistakes=[
                *((slopes.get(id(node), 0.0), text) for slopes, text in wrong)
            ], hint=hint)

    def numbers(count: int) -> list:
        return [Value(round(float(x), 2)) for x in rng.uniform(0.5, 3, size=count)]

    with case("a chain: no node is used twice"):
        a, b, c = numbers(3)
        m = a * b
        agree((m + c) * Value(2.0), {"a": a, "b": b, "c": c, "m": m})
        agree(result := Value(3.0), {"result": result})
    with case("a used twice in one product"):
        (a,) = numbers(1)
        agree(a * a, {"a": a})
    with case("a used three times"):
        a, b = numbers(2)
        agree(a * a * b + a, {"a": a, "b": b})
    for first in ("short", "long"):
        with case(f"a diamond, the {first} path first"):
            a, c = numbers(2)
            d = a * Value(2.0)
            agree(d + d * c if first == "short" else d * c + d, {"a": a, "c": c, "d": d})
    with case("random graphs, every node"):
        for _ in range(6):
            nodes = numbers(3)
            for _ in range(10):
                one, other = (nodes[i] for i in rng.integers(len(nodes), size=2))
                nodes.append(one + other if rng.random() < 0.5 else one * other * Value(0.3))
            result = nodes[-1] + nodes[-2] * nodes[-3]
            used = _slopes(result)
            agree(result, {f"node {i}": n for i, n in enumerate(nodes) if id(n) in used})
    with case("40 layers, each using the one before twice"):
        (a,) = numbers(1)
        x = a
        for _ in range(40):
            x = x + x * Value(0.5)
        agree(x, {"a": a})
    with case("5,000 operations in a row"):
        a, x = Value(1.5), Value(0.0)
        for _ in range(5000):
            x = x + a
        agree(x, {"a": a})


# ---- 5. a counterexample ------------------------------------------------------------------------


@check(
    lesson="ps2",
    kind="any",
    expects="a function `f(v)` from a Tensor to a Tensor, built from its operations, and a number "
    "x, at which a slope measured with h = 1e-5 is wrong",
)
def ps2_fools_nudging(case, f, x):
    with case("the measured slope is off by more than a tenth, and backward() is right"):
        expect(callable(f), f"f should be a function, got {show(f)}")
        at = as_array(x)
        expect(at.shape == (), f"x should be one number, got the shape {at.shape}")
        at = float(at)

        def value(number: float) -> float:
            out = f(Tensor(number))
            expect(isinstance(out, Tensor) and out.size == 1,
                   "f(v) should give back a Tensor of one number", "Build it from v: v * v, "
                   "v.tanh(), v.relu(), ...")
            return out.item()

        here = value(at)
        expect(here == value(at), "two calls of f at the same number give different values",
               "f must depend on v alone.")
        leaf = Tensor(at)
        f(leaf).backward()
        slope, h = float(leaf.grad), 1e-5
        measured = (value(at + h) - value(at - h)) / (2 * h)
        expect(math.isfinite(slope) and math.isfinite(measured),
               f"backward() gives {slope:.4g}, measured {measured:.4g}: not two numbers",
               "Choose f and x so that both are finite.")
        expect(
            abs(measured - slope) > max(0.1 * abs(measured), 0.1 * abs(slope), 1e-3),
            f"at x = {at:.6g} backward() gives {slope:.6g}, and measured is {measured:.6g}: "
            "they agree",
            "Off by more than a tenth, and by more than 0.001, please. Measuring believes that the "
            "curve is almost straight between x - h and x + h, and that the difference of two "
            "values still has digits. Break one of the two.",
        )
        steps = 10.0 ** np.arange(1, -14.5, -0.5)
        near = 0.01 * max(abs(slope), min(abs(measured), 0.1))

        def confirmed(up: float, down: float) -> bool:
            try:
                rise = value(at + up) - value(at - down)
            except ValueError:  # outside of where f is defined
                return False
            return abs(rise / (up + down) - slope) <= near

        expect(
            any(sum(confirmed(up * s, down * s) for s in steps) > 1  # once may be by chance
                for up, down in [(1, 1), (1, 0), (0, 1)]),
            f"backward() gives {slope:.6g}, and no step measures that, on either side",
            "Here it is backward() that is wrong: does all of f go through operations of v?",
        )


# ---- 6. a table learnt downhill -----------------------------------------------------------------


def _probs(logits: np.ndarray) -> np.ndarray:
    exps = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exps / exps.sum(axis=1, keepdims=True)


def _surprise(probs: np.ndarray, ids: np.ndarray) -> float:
    return bigram_loss(np.maximum(probs, 1e-300), ids)


@check(
    lesson="ps2",
    expects="a function `learn_bigram(ids, vocab_size)`: a list of ids and V in, logits of shape "
    "(V, V) out",
    not_tested="whether you found them by gradient descent",
    seconds=40.0,
)
def ps2_learn_bigram(case, learn_bigram):
    def agree(ids: np.ndarray, V: int) -> None:
        got = as_array(learn_bigram(ids.tolist(), V))
        expect_equal(got.shape, (V, V), "the shape of the logits")
        expect(np.isfinite(got).all(), "there is a NaN or an infinity among the logits",
               "The loss exploded on the way.")
        counts = np.zeros((V, V))
        np.add.at(counts, (ids[:-1], ids[1:]), 1.0)
        seen = counts.sum(axis=1, keepdims=True)
        best = _surprise(counts / np.maximum(seen, 1), ids)
        loss = _surprise(_probs(got), ids)
        expect(
            loss < best + 0.02,
            f"V={V}: the loss with your logits is {loss:.4f}; by counting it is {best:.4f}",
            hint(got, ids, counts, best, loss),
        )

    def hint(got, ids, counts, best: float, loss: float) -> str:
        V = len(got)
        rows = np.allclose(got.sum(axis=1), 1) and (got >= 0).all()
        if rows and _surprise(got, ids) < best + 0.05:
            return "These are probabilities. Return the logits, as they are before the softmax."
        probs = _probs(got)
        if np.allclose(probs, 1 / V, atol=1e-4):
            return "The logits hardly moved. Is W.grad still there when the update reads it?"
        if _surprise(_probs(got.T), ids) < best + 0.05:
            return "The table is transposed: row a holds the logits of what follows a."
        if np.diag(probs)[np.unique(ids)].min() > 0.95:
            return "Each id predicts itself. Are the targets shifted by one?"
        if loss > math.log(V) and (got * (counts - counts.mean(axis=1, keepdims=True))).sum() < 0:
            return "You walk uphill: minus lr * grad."
        if np.allclose(probs, probs[:1], atol=1e-3):
            return "All rows are the same. Each id needs its own logits: W[ids]."
        return ""

    def chain(V: int, N: int) -> np.ndarray:
        table = case.rng.dirichlet(np.full(V, 0.5), size=V) * 0.9 + 0.1 / V  # (V, V)
        ids = [0]
        for _ in range(N - 1):
            ids.append(int(case.rng.choice(V, p=table[ids[-1]])))
        return np.array(ids)

    for V, N in [(3, 90), (4, 150), (6, 240)]:
        with case(f"V={V}, N={N}"):
            agree(chain(V, N), V)
    with case("a text without any surprise"):
        agree(np.tile(case.rng.permutation(3), 20), 3)
    with case("an id that never comes"):
        agree(chain(3, 90), 4)


# ---- 7. how many nodes --------------------------------------------------------------------------


def _layers(rng):
    sizes = [tuple(rng.integers(2, 7, size=3).tolist()) for _ in range(4)]
    yield "one neuron, one input each", 1, 1, 1
    for K in (2, 3, sizes[0][1]):
        yield "one row, one column", 1, K, 1
    yield "several rows", sizes[0][0], 1, 1
    yield "several rows", sizes[1][0], sizes[1][1], 1
    for size in [*sizes, (3, 8, 2)]:
        yield "any sizes", *size


_EACH = "Each product is a Value, and each sum of two is one more."


@exercise(
    lesson="ps2",
    expects="a function `count_nodes(N, K, M)`: three whole numbers in, how many Values the layer "
    "makes out (309.0 is a whole number)",
    not_tested="sizes of 0",
    in_words="take N = 1, K = 2, M = 1, draw the graph and count",
    cases=_layers,
    slips=[
        ("leaves = N * K + K * M", "leaves = 0", "The inputs and the weights are Values, too."),
        ("N * K + K * M", "K * M", "The inputs are Values, too."),
        ("N * K + K * M", "N * K", "The weights are Values, too."),
        ("(K - 1)", "K", "To add up K numbers takes K - 1 sums."),
        ("(K - 1)", "0", _EACH),
        ("products = N * M * K", "products = 0", _EACH),
        ("N * M - 1", "N * M", "To add up all the results takes one sum fewer than there are "
         "results."),
        ("N * M - 1", "0", "The results are added up in the end: that takes sums as well."),
        ("tanhs = N * M", "tanhs = 0", "Has each of the N * M results its tanh?"),
        ("tanhs = N * M", "tanhs = N", "Has each of the N * M results its tanh?"),
        ("return leaves + products + sums + tanhs + ends", "return products", "Those are the "
         "products. What else is made?"),
        ("return leaves + products + sums + tanhs + ends", "return 5", "That is the count for "
         "arrays. Here each number is a Value."),
    ],
)
def ps2_count_nodes(N, K, M):
    leaves = N * K + K * M
    products = N * M * K
    sums = N * M * (K - 1)
    tanhs = N * M
    ends = N * M - 1
    return leaves + products + sums + tanhs + ends
