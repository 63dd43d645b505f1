"""Checks of problem set 2: gradients on paper, nodes of one's own, a mended walk, learning."""

from __future__ import annotations

import math

import numpy as np

from minigpt_helpers.autograd import Tensor
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import as_array, expect, expect_close, expect_equal
from minigpt_helpers.checks._compare import NotDone
from minigpt_helpers.text import bigram_loss

# ---- 1. gradients on paper ----------------------------------------------------------------------


@check(
    lesson="ps2",
    expects="a function `paper_gradients(a, b)`: two numbers in, the gradients of a and of b out",
    not_tested="how you found your formulas",
)
def ps2_paper_gradients(case, paper_gradients):
    def agree(k: int, a: float, b: float) -> None:
        s = a * b + a
        da, db = 2 * s * (b + 1), 2 * s * a + 1
        got = as_array(paper_gradients(a, b))
        expect(got.shape == (2,), f"expected two numbers, got the shape {got.shape}",
               "End with `return d_a, d_b`.")
        swapped = "The two have changed places: first the gradient of a, then that of b."
        mistakes = [[
            (db, swapped),
            (2 * s * b, "a is used twice: in the product and in the sum. The shares add up."),
            (2 * s, "a is used twice: in the product and in the sum. The shares add up."),
            (2 * s * b + 1, "What arrives at the sum s is 2s. It hands 2s to each side, not 1."),
            (s * (b + 1), "The slope of s * s is 2s: s is used twice."),
            (b + 1, "Those are the local slopes. What arrives from L at s?"),
            (2 * s * a, "A product hands each side the gradient times the *other* side."),
        ], [
            (da, swapped),
            (2 * s * a, "b is used once more: in the last sum."),
            (s * a + 1, "The slope of s * s is 2s: s is used twice."),
            (2 * s * b + 1, "A product hands each side the gradient times the *other* side."),
            (2 * s * (a + 1), "In m + a there is no b. The second share of b comes from the end."),
            (1.0, "That is the share of the last sum. Another one comes through the product."),
            (a + 1, "Those are the local slopes. What arrives from L at m?"),
        ]][k]
        expect_close(got[k], [da, db][k], f"a={a:g}, b={b:g}: the gradient of {'ab'[k]}", tol=1e-6,
                     mistakes=mistakes)

    points = [(2.0, 3.0), *np.round(case.rng.uniform(-3, 3, size=(4, 2)), 2).tolist()]
    for k, name in enumerate("ab"):
        with case(f"the gradient of {name}"):
            for a, b in points:
                agree(k, a, b)
        with case(f"the gradient of {name} where s is 0"):
            agree(k, 0.0, float(case.rng.integers(2, 9)))
            agree(k, float(case.rng.integers(2, 9)), -1.0)


# ---- 2. a node of one's own ---------------------------------------------------------------------


def _summed(grad: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """`grad` summed over what was repeated, entry by entry."""
    total = np.zeros(shape)
    padded = (1,) * (grad.ndim - len(shape)) + shape
    for place in np.ndindex(grad.shape):
        home = tuple(0 if n == 1 else i for i, n in zip(place, padded))
        total[home[grad.ndim - len(shape) :]] += grad[place]
    return total


@check(
    lesson="ps2",
    expects="a function `maximum(x, y)`: two Tensors in, one Tensor out",
    not_tested="which of two equal numbers gets the gradient",
)
def ps2_maximum_node(case, maximum):
    def node(x: Tensor, y: Tensor) -> Tensor:
        out = maximum(x, y)
        expect(isinstance(out, Tensor), f"the result is no Tensor but {type(out).__name__}",
               "Without a node nothing can flow back: `return Tensor.from_op(...)`.")
        return out

    def values(*shapes: tuple) -> None:
        x, y = (case.rng.normal(size=shape) for shape in shapes)
        expect_close(node(Tensor(x), Tensor(y)).data, np.maximum(x, y), "the values", mistakes=[
            (np.minimum(x, y), "That is the smaller one."),
            (np.maximum(x, 0) + 0 * y, "Compare x with y, not with 0."),
            (np.max([x.max(), y.max()]), "One result for each place, not one for the whole array."),
        ])

    def gradients(*shapes: tuple) -> None:
        x, y = (case.rng.normal(size=shape) for shape in shapes)
        x_larger = x > y
        arriving = case.rng.normal(size=x_larger.shape)
        x_node, y_node = Tensor(x), Tensor(y)
        (node(x_node, y_node) * arriving).sum().backward()
        for name, leaf, wins, number in [("x", x_node, x_larger, x), ("y", y_node, ~x_larger, y)]:
            full = arriving * wins
            repeated = leaf.shape != full.shape
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
            ], hint="Sum over what was repeated: axes that were added in front, and axes of "
                "length 1 that were stretched." if repeated else "")

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
        expect_close(leaf.grad, 3 * (1 - np.tanh(largest) ** 2) * slope, "the gradient",
                     hint="Multiply the gradient that arrives by your local slope.")
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


@check(
    lesson="ps2",
    expects="a function `numerical_gradient(f, x)`: a function from an array to a number and an "
    "array in, an array of the same shape out",
    not_tested="how often you call f; your step, as long as the slopes come out right",
    seconds=10.0,
)
def ps2_numerical_gradient(case, numerical_gradient):
    rng = case.rng

    def agree(f, right, x: np.ndarray, hint: str = "") -> None:
        def shaped(array: np.ndarray) -> float:
            expect(np.shape(array) == x.shape, f"f was called with the shape {np.shape(array)}; "
                   f"x has the shape {x.shape}", "Give f the whole array, with one number moved.")
            return float(f(np.asarray(array)))

        slopes = right(x.astype(float))
        mistakes = [
            (2 * slopes, "The two points are 2h apart: divide by 2 * h."),
            (slopes / 2, "The two points are 2h apart, or h if one of them is x itself."),
            (-slopes, "The sign: f at the larger number minus f at the smaller one."),
            (np.full(x.shape, slopes.sum()), "You move all numbers at once. Move one at a time."),
            (np.full(x.shape, slopes.flat[0]), "The first slope stands everywhere. Which entry do "
             "you move, and which do you fill?"),
            (np.zeros(x.shape), "All slopes are 0: did f see the array that you moved?"),
        ]
        got = as_array(numerical_gradient(shaped, x))
        if got.shape == slopes.shape and np.allclose(got, slopes, rtol=0.3, atol=1e-3):
            hint = "Nearly. The step is too large (the curve bends) or too small (digits run out)."
        expect_close(got, slopes, tol=1e-5, hint=hint, mistakes=mistakes)

    with case("a vector, each number on its own"):
        agree(lambda x: (x**3).sum(), lambda x: 3 * x**2, rng.uniform(0.5, 2, size=4))
    with case("a vector whose numbers act together"):
        agree(lambda x: x.sum() ** 2, lambda x: np.full(x.shape, 2 * x.sum()),
              rng.uniform(0.5, 1, size=3), "Between two numbers put the first one back.")
    with case("a matrix"):
        v, x = rng.normal(size=3), rng.normal(size=(2, 3))
        agree(lambda x: np.tanh(x @ v).sum(),
              lambda x: (1 - np.tanh(x @ v) ** 2)[:, None] * v, x)
    with case("three axes"):
        w, x = rng.normal(size=(2, 2, 3)), rng.normal(size=(2, 2, 3))
        agree(lambda x: (w * np.sin(x)).sum(), lambda x: w * np.cos(x), x)
    with case("a single number, shape ()"):
        agree(lambda x: x * x * x, lambda x: 3 * x * x, np.array(rng.uniform(1, 2)),
              "`np.ndindex(x.shape)` gives all places of an array of any shape.")
    with case("an array of whole numbers"):
        agree(lambda x: (x * x).sum(), lambda x: 2 * x, rng.integers(1, 9, size=4),
              "In an array of whole numbers a small step is cut off. Make it floats first.")
    with case("slopes of 0 beside another"):
        agree(lambda x: 7.0 + 2 * x[1], lambda x: np.array([0.0, 2.0, 0.0]), rng.normal(size=3))
    with case("error below 1e-5"):
        agree(lambda x: np.exp(x).sum(), np.exp, rng.uniform(0, 2, size=3))
        agree(lambda x: 5 * (x * x).sum(), lambda x: 10 * x, rng.uniform(-0.1, 0.1, size=3))


# ---- 4. the mended walk -------------------------------------------------------------------------


def _slopes(result) -> dict:
    """id -> slope of the result, for each node: by Kahn's order, every use counted."""
    uses, to_visit, seen = {}, [result], {id(result)}
    while to_visit:
        for parent in to_visit.pop().parents:
            uses[id(parent)] = uses.get(id(parent), 0) + 1
            if id(parent) not in seen:
                seen.add(id(parent))
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
    """The naive walks: each hands on at once what it has."""
    slopes, to_visit, seen = {id(result): 1.0}, [result], set()
    while to_visit and len(seen) < 400:
        node = to_visit.pop(-1 if last else 0)
        if once and id(node) in seen:
            continue
        seen.add(id(node))
        for parent, slope in zip(node.parents, node.slopes):
            old = slopes.get(id(parent), 0.0) if add else 0.0
            slopes[id(parent)] = old + slope * slopes[id(node)]
            to_visit.append(parent)
    return slopes


_OVERWRITTEN = "A share overwrites the one before. Shares from several uses add up: `+=`."
_TOO_EARLY = (
    "The order is wrong: a node may hand on its gradient only when all nodes that use it have "
    "handed theirs to it."
)


@check(
    lesson="ps2",
    expects="the class `Value` and a function `mended_backward(result)`: a Value in; afterwards "
    "each Value behind it has its gradient in `grad`",
    not_tested="a second call on the same graph",
    in_place=True,
    seconds=6.0,
)
def ps2_mended_backward(case, Value, mended_backward):
    rng = case.rng

    def agree(result, named: dict, hint: str = _TOO_EARLY) -> None:
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
                   "Python allows only about 1,000 calls inside each other. Use a loop and a list "
                   "of your own.")
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
        agree(result := Value(3.0), {"result": result}, "The slope of a result with respect to "
              "itself is 1.")
    with case("a used twice in one product"):
        (a,) = numbers(1)
        agree(a * a, {"a": a}, _OVERWRITTEN)
    with case("a used three times"):
        a, b = numbers(2)
        agree(a * a * b + a, {"a": a, "b": b}, _OVERWRITTEN)
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
            behind = _slopes(result)
            agree(result, {f"node {i}": n for i, n in enumerate(nodes) if id(n) in behind})
    with case("40 layers, each using the one before twice"):
        (a,) = numbers(1)
        x = a
        for _ in range(40):
            x = x + x * Value(0.5)
        agree(x, {"a": a}, "Each node must be visited once: the paths double with every layer.")
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
        expect(callable(f), f"f should be a function, got {type(f).__name__}")
        place = as_array(x)
        expect(place.shape == (), f"x should be one number, got the shape {place.shape}")
        place = float(place)

        def value(number: float) -> float:
            out = f(Tensor(number))
            expect(isinstance(out, Tensor) and out.size == 1,
                   "f(v) should give back a Tensor of one number", "Build it from v: v * v, "
                   "v.tanh(), v.relu(), ...")
            return out.item()

        here = value(place)
        expect(here == value(place), "two calls of f at the same place give different values",
               "f must depend on v alone.")
        leaf = Tensor(place)
        f(leaf).backward()
        slope, h = float(leaf.grad), 1e-5
        measured = (value(place + h) - value(place - h)) / (2 * h)
        expect(math.isfinite(slope) and math.isfinite(measured),
               f"backward() gives {slope:.4g}, measured {measured:.4g}: not two numbers",
               "Choose f and x so that both are finite.")
        expect(
            abs(measured - slope) > max(0.1 * abs(measured), 0.1 * abs(slope), 1e-3),
            f"at x = {place:.6g} backward() gives {slope:.6g}, and measured is {measured:.6g}: "
            "they agree",
            "Off by more than a tenth, and by more than 0.001, please. Measuring believes that the "
            "curve is almost straight between x - h and x + h, and that the difference of two "
            "values still has digits. Break one of the two.",
        )
        steps = 10.0 ** np.arange(1, -14.5, -0.5)
        near = 0.01 * max(abs(slope), min(abs(measured), 0.1))

        def confirmed(up: float, down: float) -> bool:
            try:
                rise = value(place + up) - value(place - down)
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
    not_tested="whether you found them by gradient descent: that is between you and yourself",
    seconds=40.0,
)
def ps2_learn_bigram(case, learn_bigram):
    def agree(ids: np.ndarray, V: int) -> None:
        got = as_array(learn_bigram(ids.tolist(), V))
        expect_equal(got.shape, (V, V), "the shape of the logits")
        expect(np.isfinite(got).all(), "there is a NaN or an infinity among the logits",
               "Does the loss explode? Try a smaller learning rate.")
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
            return "The table lies on its side: row a holds the logits of what follows a."
        if np.diag(probs)[np.unique(ids)].min() > 0.95:
            return "Each id predicts itself. Are the targets shifted by one?"
        if loss > math.log(V) and (got * (counts - counts.mean(axis=1, keepdims=True))).sum() < 0:
            return "You walk uphill: minus lr * grad."
        if np.allclose(probs, probs[:1], atol=1e-3):
            return "All rows are the same. Each id needs logits of its own: W[ids]."
        return (
            "Print the loss now and then. Does it still fall? More or longer steps. Does it jump? "
            "Shorter ones, and look whether the gradients are zeroed."
        )

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


def _nodes_of_a_layer(N: int, K: int, M: int) -> int:
    """Tells them off one by one."""
    made = N * K + K * M
    for result in range(N * M):
        for k in range(K):
            made += 1 if k == 0 else 2  # a product, and from the second on a sum
        made += 1  # tanh
        made += result > 0  # added to the results before it
    return made


@check(
    lesson="ps2",
    expects="a function `count_nodes(N, K, M)`: three whole numbers in, how many Values the layer "
    "makes out",
    not_tested="sizes of 0",
)
def ps2_count_nodes(case, count_nodes):
    sizes = [tuple(case.rng.integers(2, 7, size=3).tolist()) for _ in range(4)]

    def agree(N: int, K: int, M: int) -> None:
        right = _nodes_of_a_layer(N, K, M)
        expect_equal(as_array(count_nodes(N, K, M)).tolist(), right, f"N={N}, K={K}, M={M}",
                     mistakes=[
            (right - N * K - K * M, "The inputs and the weights are Values, too."),
            (right - N * K, "The inputs are Values, too."),
            (right - K * M, "The weights are Values, too."),
            (right + N * M, "To add up K numbers takes K - 1 sums."),
            (right + N * M + 1, "To add up K numbers takes K - 1 sums."),
            (right + 1, "To add up all the results takes one sum fewer than there are results."),
            (right - N * M, "Has each of the N * M results its tanh?"),
            (right - N * M + 1, "The results are added up in the end: that takes sums as well."),
            (right - N * M * (K - 1), "Each product is a Value, and each sum of two is one more."),
            (right - N * K * M, "Each product is a Value, and each sum of two is one more."),
            (N * K * M, "Those are the products. What else is made?"),
            (5, "That is the count for arrays. Here each number is a Value of its own."),
        ], hint="Take N = 1, K = 2, M = 1, draw the graph and count.")

    with case("one neuron, one input each"):
        agree(1, 1, 1)
    with case("one row, one column"):
        for K in (2, 3, sizes[0][1]):
            agree(1, K, 1)
    with case("several rows"):
        agree(sizes[0][0], 1, 1)
        agree(sizes[1][0], sizes[1][1], 1)
    with case("any sizes"):
        for size in sizes:
            agree(*size)
        agree(3, 8, 2)
