"""Answers to problem set 2."""

from __future__ import annotations

import graphlib

import numpy as np

from minigpt_helpers import Tensor, cross_entropy_loss

# ---- right solutions: paper, maximum, measured gradients ----


def paper(a, b):
    s = a * b + a
    return 2 * s * (b + 1), 2 * s * a + 1


def paper_by_tensors(a, b):
    a, b = Tensor(a), Tensor(b)
    s = a * b + a
    (s * s + b).backward()
    return [a.grad, b.grad]


def fit(grad, shape):
    while grad.ndim > len(shape):
        grad = grad.sum(axis=0)
    for axis, size in enumerate(shape):
        if size == 1:
            grad = grad.sum(axis=axis, keepdims=True)
    return grad


def maximum_from_op(x, y):
    larger = x.data > y.data

    def rule(grad):
        return fit(grad * larger, x.shape), fit(grad * ~larger, y.shape)

    return Tensor.from_op(np.maximum(x.data, y.data), (x, y), rule)


def maximum_masked(x, y, name="maximum"):
    return x * (x.data >= y.data) + y * (x.data < y.data)


def gradient_by_index(f, x, h=1e-5):
    grad = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        up, down = x.astype(float), x.astype(float)
        up[place] += h
        down[place] -= h
        grad[place] = (f(up) - f(down)) / (2 * h)
    return grad


def gradient_by_unit_steps(f, x):
    steps = np.eye(x.size).reshape(x.size, *x.shape) * 1e-6
    slopes = [(f(x + step) - f(x - step)) / 2e-6 for step in steps]
    return np.reshape(slopes, x.shape)


def gradient_flat_copy(f, x):
    flat, result = [float(v) for v in np.ravel(x)], []
    for i, old in enumerate(flat):
        values = []
        for moved in (old + 1e-4, old - 1e-4):
            flat[i] = moved
            values.append(f(np.array(flat).reshape(np.shape(x))))
        flat[i] = old
        result.append((values[0] - values[1]) / 2e-4)
    return np.array(result).reshape(np.shape(x)).tolist()


# ---- walks ----


class Value:
    """The class of the problem set."""

    def __init__(self, data, parents=(), slopes=()):
        self.data, self.grad = data, 0.0
        self.parents, self.slopes = parents, slopes

    def __add__(self, other):
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        return Value(self.data * other.data, (self, other), (other.data, self.data))


def parents_first(result):
    """A depth-first order without calls inside calls."""
    order, seen, stack = [], set(), [(result, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((parent, False) for parent in node.parents)
    return order


def backward_depth_first(result):
    result.grad = 1.0
    for node in reversed(parents_first(result)):
        for parent, slope in zip(node.parents, node.slopes):
            parent.grad += slope * node.grad


def backward_counting_uses(result):
    uses, found, todo = {}, {result}, [result]
    while todo:
        for parent in todo.pop().parents:
            uses[parent] = uses.get(parent, 0) + 1
            if parent not in found:
                found.add(parent)
                todo.append(parent)
    for node in found:
        node.grad = 0.0
    result.grad = 1.0
    ready = [result]
    while ready:
        node = ready.pop()
        for parent, slope in zip(node.parents, node.slopes):
            parent.grad = parent.grad + node.grad * slope
            uses[parent] -= 1
            if uses[parent] == 0:
                ready.append(parent)


def backward_by_depth(result):
    """Each node as deep as its longest path from the result."""
    depth = {}
    for node in parents_first(result):
        depth[node] = 1 + max((depth[parent] for parent in node.parents), default=0)
    result.grad = 1
    for node in sorted(depth, key=depth.get, reverse=True):
        for i, parent in enumerate(node.parents):
            parent.grad += node.slopes[i] * node.grad


def backward_by_library(result):
    users = {}
    todo = [result]
    while todo:
        node = todo.pop()
        if id(node) not in users:
            users[id(node)] = node
            todo.extend(node.parents)
    graph = {key: {id(parent) for parent in node.parents} for key, node in users.items()}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    grads = dict.fromkeys(order, 0.0) | {id(result): 1.0}
    for key in order[::-1]:
        users[key].grad = np.float64(grads[key])
        for parent, slope in zip(users[key].parents, users[key].slopes):
            grads[id(parent)] += slope * grads[key]


def backward_in_lists(result):
    """Slow: asks a list whether a node is in it."""
    order, stack = [], [result]
    while stack:
        node = stack[-1]
        todo = [parent for parent in node.parents if parent not in order]
        if todo:
            stack += todo
        else:
            stack.pop()
            if node not in order:
                order.append(node)
    result.grad = 1.0
    while order:
        node = order.pop()
        for i in range(len(node.parents)):
            node.parents[i].grad += node.grad * node.slopes[i]


# ---- learning, counting nodes ----


def learn(ids, vocab_size, lr=5.0, steps=400, zero=True, sign=-1.0, shift=1, start=0.0):
    W = Tensor(np.full((vocab_size, vocab_size), start))
    x, y = np.array(ids[: len(ids) - shift]), np.array(ids[shift:])
    for _ in range(steps):
        loss = cross_entropy_loss(W[x], y)
        if zero:
            W.grad = 0.0
        loss.backward()
        W.data = W.data + sign * lr * W.grad
    return W


def learn_by_hand(ids, vocab_size):
    """The fused rule of the lesson, p - onehot, on the counts of the pairs."""
    counts = np.zeros((vocab_size, vocab_size))
    for a, b in zip(ids, ids[1:]):
        counts[a][b] += 1
    logits = np.random.default_rng(0).normal(size=counts.shape)
    for _ in range(1000):
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        logits = logits - 4 * (p * counts.sum(1, keepdims=True) - counts) / (len(ids) - 1)
    return logits.tolist()


def learn_one_hot(ids, vocab_size):
    eye = np.eye(vocab_size)
    W = Tensor(np.zeros((vocab_size, vocab_size)))
    for _ in range(300):
        scores = (Tensor(eye[ids[:-1]]) @ W).exp()
        probs = scores / scores.sum(axis=1, keepdims=True)
        loss = -(probs * eye[ids[1:]]).sum(axis=1).log().mean()
        W.grad = 0.0
        loss.backward()
        W.data -= 6.0 * W.grad
    return W.data


def nodes(N, K, M):
    return N * K + K * M + N * M * (2 * K + 1) - 1


def nodes_in_words(N, K, M):
    products, sums, tanhs = N * M * K, N * M * (K - 1), N * M
    return np.int64(N * K + K * M + products + sums + tanhs + N * M - 1)


RIGHT = [
    ("ps2_paper_gradients", (paper,)),
    ("ps2_paper_gradients", (paper_by_tensors,)),
    ("ps2_paper_gradients", (lambda a, b: np.array([2 * a * (b + 1) ** 2,
                                                         2 * a * a * (b + 1) + 1]),)),
    ("ps2_maximum_node", (maximum_from_op,)),
    ("ps2_maximum_node", (maximum_masked,)),
    ("ps2_maximum_node", (lambda x, y: (x + y + ((x - y) ** 2) ** 0.5) * 0.5,)),
    ("ps2_maximum_node", (lambda x, y: x + (y - x).relu(),)),
    ("ps2_numerical_gradient", (gradient_by_index,)),
    ("ps2_numerical_gradient", (gradient_by_unit_steps,)),
    ("ps2_numerical_gradient", (gradient_flat_copy,)),
    ("ps2_mended_backward", (Value, backward_depth_first,)),
    ("ps2_mended_backward", (Value, backward_counting_uses,)),
    ("ps2_mended_backward", (Value, backward_by_depth,)),
    ("ps2_mended_backward", (Value, backward_by_library,)),
    ("ps2_fools_nudging", (lambda v: v.relu(), 0.0)),
    ("ps2_fools_nudging", (lambda v: (v * v) ** 0.5 + v * 0.1, 3e-6)),
    ("ps2_fools_nudging", (lambda v: v * v + 1e12, 1)),
    ("ps2_fools_nudging", (lambda v: v * v * v + 1e14, 3)),
    ("ps2_fools_nudging", (lambda v: (v * 1e6).tanh(), np.float64(0))),
    ("ps2_fools_nudging", (lambda v: (v - 2).relu() * 3, 2.000001)),
    ("ps2_fools_nudging", (lambda v: v * 0.01 + 1e10, 0.5)),
    ("ps2_fools_nudging", (lambda v: v**0.5, 1.01e-5)),
    ("ps2_fools_nudging", (lambda v: v.reshape(1).max() - v.relu() * 2, -0.0)),
    ("ps2_learn_bigram", (learn,)),
    ("ps2_learn_bigram", (learn_by_hand,)),
    ("ps2_learn_bigram", (learn_one_hot,)),
    ("ps2_count_nodes", (nodes,)),
    ("ps2_count_nodes", (nodes_in_words,)),
    ("ps2_count_nodes", (lambda N, K, M: float(nodes(N, K, M)),)),
]


# ---- wrong ones, each with a word of the hint that fits ----


def maximum_with(rule, value=np.maximum):
    def maximum(x, y):
        larger = x.data > y.data
        return Tensor.from_op(value(x.data, y.data), (x, y), lambda grad: rule(grad, larger, x, y))

    return maximum


def maximum_of_one_parent(x, y):
    larger = x.data > y.data
    return Tensor.from_op(np.maximum(x.data, y.data), (x,), lambda g: (fit(g * larger, x.shape),))


def changing_rule(grad, larger, x, y):
    for_y = fit(grad * ~larger, y.shape)
    grad *= larger
    return fit(grad, x.shape), for_y


def smooth_maximum(x, y):
    return ((x * 50.0).exp() + (y * 50.0).exp()).log() / 50.0


def whole_rule(grad, larger, x, y):
    return fit(grad, x.shape), fit(grad, y.shape)


def gradient_to_one_side(f, x, h=1e-5):
    grad = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        moved = x.astype(float)
        moved[place] += h
        grad[place] = (f(moved) - f(x.astype(float))) / h
    return grad


def gradient_all_at_once(f, x):
    slope = (f(x + 1e-5) - f(x - 1e-5)) / 2e-5
    return np.full(x.shape, slope)


def gradient_whole_numbers(f, x):
    grad, x = np.zeros(x.shape), x.copy()
    for place in np.ndindex(x.shape):
        old = x[place]
        x[place] = old + 1e-5
        up = f(x)
        x[place] = old - 1e-5
        grad[place] = (up - f(x)) / 2e-5
        x[place] = old
    return grad


def gradient_in_place(f, x):
    grad = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        x[place] += 1e-5
        up = f(x)
        x[place] -= 2e-5
        grad[place] = (up - f(x)) / 2e-5
    return grad


def gradient_flattened(f, x):
    flat = x.astype(float).ravel()
    return np.array([(f(flat + step) - f(flat - step)) / 2e-5 for step in np.eye(x.size) * 1e-5])


def gradient_rows_only(f, x):
    return np.array([(f(x + s) - f(x - s)) / 2e-5 for s in np.eye(len(x)) * 1e-5])


def walk(add, once, last, start=True):
    def backward(result):
        result.grad = 1.0 if start else 0.0
        todo, seen = [result], set()
        while todo:
            node = todo.pop(-1 if last else 0)
            if once and node in seen:
                continue
            seen.add(node)
            for parent, slope in zip(node.parents, node.slopes):
                parent.grad = slope * node.grad + (parent.grad if add else 0.0)
                todo.append(parent)

    return backward


def backward_recursive(result):
    order, seen = [], set()

    def visit(node):
        if node not in seen:
            seen.add(node)
            for parent in node.parents:
                visit(parent)
            order.append(node)

    visit(result)
    result.grad = 1.0
    for node in reversed(order):
        for parent, slope in zip(node.parents, node.slopes):
            parent.grad += slope * node.grad


def backward_overwriting(result):
    result.grad = 1.0
    for node in reversed(parents_first(result)):
        for parent, slope in zip(node.parents, node.slopes):
            parent.grad = slope * node.grad


def backward_of_paths(result, share=1.0):
    """Right, but along every path: their number doubles with each layer."""
    result.grad += share
    for parent, slope in zip(result.parents, result.slopes):
        backward_of_paths(parent, share * slope)


def learn_probs(ids, vocab_size):
    counts = np.ones((vocab_size, vocab_size)) * 0.01
    np.add.at(counts, (ids[:-1], ids[1:]), 1)
    return counts / counts.sum(axis=1, keepdims=True)


def learn_unigram(ids, vocab_size):
    return np.tile(np.log(np.bincount(ids, minlength=vocab_size) + 0.01), (vocab_size, 1))


def learn_zero_too_late(ids, vocab_size):
    W = Tensor(np.zeros((vocab_size, vocab_size)))
    for _ in range(50):
        cross_entropy_loss(W[np.array(ids[:-1])], ids[1:]).backward()
        W.grad = 0.0
        W.data -= 5 * W.grad
    return W


WRONG = [
    ("ps2_numerical_gradient", (gradient_to_one_side,), "error below 1 part"),
    ("ps2_fools_nudging", (lambda v: Tensor(np.sin(v.data * 1e6)) + v * 0.0, 1.0),
     "operations of v"),
    ("ps2_maximum_node", (maximum_with(whole_rule),), "Both sides get"),
    ("ps2_maximum_node", (maximum_with(lambda g, m, x, y: (
        fit(g * ~m, x.shape), fit(g * m, y.shape))),), "smaller number"),
    ("ps2_maximum_node", (maximum_with(lambda g, m, x, y: (g * m, g * ~m)),),
     "shape of its parent"),
    ("ps2_maximum_node", (maximum_with(lambda g, m, x, y: (
        fit(m * 1.0, x.shape), fit(~m * 1.0, y.shape))),), "gradient that arrives"),
    ("ps2_maximum_node", (maximum_with(lambda g, m, x, y: (
        fit(g * m * x.data, x.shape), fit(g * ~m * y.data, y.shape))),), "larger number is 1"),
    ("ps2_maximum_node", (maximum_with(lambda g, m, x, y: (
        fit(g / 2, x.shape), fit(g / 2, y.shape))),), "Half to each"),
    ("ps2_maximum_node", (maximum_with(whole_rule, np.minimum),), "the smaller one"),
    ("ps2_maximum_node", (maximum_of_one_parent,), "among the parents"),
    ("ps2_maximum_node", (maximum_with(changing_rule),), "grad *= mask"),
    ("ps2_maximum_node", (smooth_maximum,), "expected"),
    ("ps2_maximum_node", (lambda x, y: x if x.data.sum() > y.data.sum() else y,), "expected"),
    ("ps2_maximum_node", (lambda x, y: x.relu() + y.relu(),), "expected"),
    ("ps2_maximum_node", (lambda x, y: np.maximum(x.data, y.data),), "expected a Tensor"),
    ("ps2_maximum_node", (lambda x, y: Tensor(np.maximum(x.data, y.data)),), "among the par"),
    ("ps2_numerical_gradient", (lambda f, x: gradient_by_index(f, x) * 2,), "divide by 2"),
    ("ps2_numerical_gradient", (lambda f, x: -gradient_by_index(f, x),), "sign"),
    ("ps2_numerical_gradient", (gradient_all_at_once,), "at once"),
    ("ps2_numerical_gradient", (gradient_whole_numbers,), "whole numbers a small step"),
    ("ps2_numerical_gradient", (gradient_in_place,), "changes its input"),
    ("ps2_numerical_gradient", (gradient_flattened,), "whole array"),
    ("ps2_numerical_gradient", (gradient_rows_only,), "not yet"),
    ("ps2_numerical_gradient", (lambda f, x: gradient_by_index(f, x, h=0.1),), "too large"),
    ("ps2_numerical_gradient", (lambda f, x: gradient_by_index(f, x, h=1e-13),), "expected"),
    ("ps2_numerical_gradient", (lambda f, x: gradient_by_index(f, x).ravel(),), "shape"),
    ("ps2_mended_backward", (Value, walk(False, True, True),), "overwrites"),
    ("ps2_mended_backward", (Value, walk(True, True, False),), "order is wrong"),
    ("ps2_mended_backward", (Value, walk(True, True, True),), "order is wrong"),
    ("ps2_mended_backward", (Value, backward_overwriting,), "overwrites"),
    ("ps2_mended_backward", (Value, backward_recursive,), "your own list"),
    ("ps2_fools_nudging", (lambda v: v * v, 3.0), "agree"),
    ("ps2_fools_nudging", (lambda v: v.relu(), 1.0), "agree"),
    ("ps2_fools_nudging", (lambda v: v**3, 0.0), "by more than 0.001"),
    ("ps2_fools_nudging", (lambda v: v * 0 + 1, 1.0), "agree"),
    ("ps2_fools_nudging", (lambda v: Tensor(v.data ** 2) + v * 0, 0.3), "backward() that is"),
    ("ps2_fools_nudging", (lambda v: Tensor(abs(v.data)), 0.5), "backward() that is"),
    ("ps2_fools_nudging", (lambda v: v.data, 0.3), "a Tensor of one number"),
    ("ps2_fools_nudging", (abs, 0.0), "not yet"),
    ("ps2_fools_nudging", (3.0, lambda v: v), "should be a function"),
    ("ps2_fools_nudging", (lambda v: v + np.random.random(), 1.0), "depend on v alone"),
    ("ps2_learn_bigram", (lambda i, V: learn(i, V, sign=1.0, lr=0.5, steps=60),), "uphill"),
    ("ps2_learn_bigram", (lambda i, V: learn(i, V, steps=5, lr=0.5),), "by counting it is"),
    ("ps2_learn_bigram", (lambda i, V: learn(i, V, shift=0, lr=9.0, steps=120),), "shifted"),
    ("ps2_learn_bigram", (learn_probs,), "Return the logits"),
    ("ps2_learn_bigram", (learn_unigram,), "rows are the same"),
    ("ps2_learn_bigram", (learn_zero_too_late,), "hardly moved"),
    ("ps2_learn_bigram", (lambda i, V: learn(i, V).data.T,), "transposed"),
    ("ps2_learn_bigram", (lambda i, V: learn(i, V, steps=1).data.ravel(),), "the shape of"),
]
