"""Lesson 2: the tensor and its gradients, each rule against finite differences."""

import copy
import gc
import pickle
import threading
import weakref

import numpy as np
import pytest

from minigpt_helpers import Tensor, no_grad, stack
from reference import assert_slopes_agree, slope

pytestmark = pytest.mark.filterwarnings("error")


def positive(*shape, seed=0):
    """Numbers from 0.3 to 3 in random order, each a good step from the next."""
    size = int(np.prod(shape))
    return np.random.default_rng(seed).permutation(np.linspace(0.3, 3, size)).reshape(shape)


def values(*shape, seed=0):
    """The same with random signs: no two alike, none near 0, so that no kink or pole is met."""
    return positive(*shape, seed=seed) * np.random.default_rng(seed).choice([-1, 1], size=shape)


# Every operation against finite differences

UNARY = {
    "exp": lambda x: x.exp(),
    "tanh": lambda x: x.tanh(),
    "relu": lambda x: x.relu(),
    "neg": lambda x: -x,
    "square": lambda x: x**2,
    "cube": lambda x: x**3,
    "to the 1": lambda x: x**1,
    "to the 0": lambda x: x**0,
    "1 / x": lambda x: 1 / x,
    "x / 3": lambda x: x / 3,
    "3 - x": lambda x: 3 - x,
    "x - 3": lambda x: x - 3,
    "array + x": lambda x: np.full(x.shape, 2.0) + x,
    "array - x": lambda x: np.full(x.shape, 2.0) - x,
    "array * x": lambda x: np.full(x.shape, 2.0) * x,
    "array / x": lambda x: np.full(x.shape, 2.0) / x,
    "numpy number * x": lambda x: np.float64(2.5) * x,
    "sum": lambda x: x.sum(),
    "mean": lambda x: x.mean(),
    "max": lambda x: x.max(),
    "x * x + x": lambda x: x * x + x,
    "flattened": lambda x: x.reshape(-1),
    "turned round": lambda x: x.transpose(),
    "a new axis": lambda x: x[None],
    "an ellipsis": lambda x: x[...],
}
SHAPES = [(), (1,), (4,), (2, 3), (1, 3), (2, 1, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_tensor(name, shape):
    assert_slopes_agree(UNARY[name], values(*shape))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name, function", [
    ("log", lambda x: x.log()), ("root", lambda x: x**0.5), ("to the -1.5", lambda x: x**-1.5),
])
def test_functions_of_positive_numbers(name, function, shape):
    assert_slopes_agree(function, positive(*shape))


AXES = [(shape, axis) for shape, axes in {
    (4,): (0, -1, (0,), None),
    (2, 3): (0, 1, -1, -2, (0, 1), (1,), (-1, 0), None),
    (2, 3, 4): (0, 1, 2, -1, -3, (0, 2), (1, -1), (0, 1, 2), None),
    (2, 1, 3): (1, (0, 1), None),
}.items() for axis in axes]


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("shape, axis", AXES, ids=str)
@pytest.mark.parametrize("name", ["sum", "mean", "max"])
def test_reductions_along_axes(name, shape, axis, keepdims):
    array = values(*shape)
    result = getattr(Tensor(array), name)(axis=axis, keepdims=keepdims)
    np.testing.assert_allclose(
        result.data, getattr(np, name)(array, axis=axis, keepdims=keepdims), rtol=1e-14, atol=1e-15
    )
    assert_slopes_agree(lambda x: getattr(x, name)(axis=axis, keepdims=keepdims), array)


def test_equal_largest_entries_share_the_gradient():
    x = Tensor([[1.0, 3.0, 3.0], [5.0, 5.0, 5.0]])
    x.max(axis=1).sum().backward()
    np.testing.assert_allclose(x.grad, [[0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]])


BROADCAST = [
    ((), ()), ((3,), ()), ((), (3,)), ((3,), (3,)), ((3,), (1,)), ((1,), (3,)), ((2, 3), (3,)),
    ((3,), (2, 3)), ((2, 3), (2, 1)), ((2, 1), (1, 3)), ((2, 3), ()), ((2, 3), (1, 1)),
    ((4, 2, 3), (3,)), ((4, 2, 3), (2, 1)), ((4, 1, 3), (2, 1)), ((1, 1, 1), (2, 3)),
    ((2, 3), (4, 1, 1)), ((1,), ()), ((1, 1), ()), ((5, 1, 1), (1, 3, 2)),
]


@pytest.mark.parametrize("left, right", BROADCAST, ids=str)
@pytest.mark.parametrize("operation", ["+", "-", "*", "/"])
def test_gradients_through_broadcasting(operation, left, right):
    def apply(a, b):
        return {"+": lambda: a + b, "-": lambda: a - b,
                "*": lambda: a * b, "/": lambda: a / b}[operation]()

    a, b = values(*left, seed=1), positive(*right, seed=2)
    np.testing.assert_array_equal(apply(Tensor(a), Tensor(b)).data, apply(a, b))
    assert_slopes_agree(apply, a, b)


@pytest.mark.parametrize("left, right", [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((1, 3), (3, 1)),
    ((5, 2, 3), (3, 4)), ((5, 2, 3), (5, 3, 4)), ((2, 3), (5, 3, 4)), ((5, 2, 3), (3,)),
    ((3,), (5, 3, 4)), ((4, 1, 2, 3), (5, 3, 2)), ((1, 2, 3), (5, 3, 2)),
], ids=str)
def test_matrix_products(left, right):
    a, b = values(*left, seed=1), values(*right, seed=2)
    out = Tensor(a) @ Tensor(b)
    np.testing.assert_allclose(out.data, a @ b, rtol=1e-13, atol=1e-13)
    assert out.shape == (a @ b).shape
    assert_slopes_agree(lambda x, y: x @ y, a, b)


def test_an_array_times_a_tensor():
    a = values(2, 3)
    assert_slopes_agree(lambda x: a @ x, values(3, 2))
    assert_slopes_agree(lambda x: x @ a, values(4, 2))


@pytest.mark.parametrize("axes", [(), (0, 1, 2), (2, 0, 1), (1, 0, 2), (-1, 0, 1), (0, -1, -2)])
def test_transposing(axes):
    array = values(2, 3, 4)
    np.testing.assert_array_equal(
        Tensor(array).transpose(*axes).data, array.transpose(*axes) if axes else array.T
    )
    assert_slopes_agree(lambda x: x.transpose(*axes), array)
    assert_slopes_agree(lambda x: x.transpose(axes) * 2, array)


@pytest.mark.parametrize("shape", [(6,), (3, 2), (-1,), (1, 2, 3), (2, -1)])
def test_reshaping(shape):
    array = values(2, 3)
    np.testing.assert_array_equal(Tensor(array).reshape(*shape).data, array.reshape(shape))
    assert_slopes_agree(lambda x: x.reshape(*shape), array)
    assert_slopes_agree(lambda x: x.reshape(shape), array)


# Access

KEYS = [
    0, -1, slice(1, 3), slice(None, None, -1), slice(None, None, 2), (1, 2), (slice(None), 1),
    (slice(1, None), slice(None, 2)), [0, 0, 2], [2, 1, 1, 1], ([0, 0, 1], [1, 1, 2]),
    (slice(None), [1, 1, 0]), None, Ellipsis, (Ellipsis, 0), (0, None), np.array([[0, 1], [1, 1]]),
    np.array([True, False, True]), np.int64(1), slice(3, 3), (np.arange(3), [1, 1, 1]), True,
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_indexing(key):
    array = values(3, 4)
    np.testing.assert_array_equal(Tensor(array)[key].data, array[key])
    assert_slopes_agree(lambda x: x[key], array)


def test_a_place_taken_twice_gets_both_gradients():
    x = Tensor([1.0, 2.0, 3.0])
    x[[0, 0, 0, 2]].sum().backward()
    np.testing.assert_array_equal(x.grad, [3, 0, 1])


def test_length_and_iteration_go_down_to_single_numbers():
    x = Tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert len(x) == 3 and len(x[0]) == 2
    seen = [[number for number in row] for row in x]
    assert [[n.item() for n in row] for row in seen] == [[1, 2], [3, 4], [5, 6]]
    assert all(n.shape == () and isinstance(n, Tensor) for row in seen for n in row)
    (seen[1][0] * 10 + seen[2][1]).backward()
    np.testing.assert_array_equal(x.grad, [[0, 0], [10, 0], [0, 1]])


def test_a_single_number_has_no_length_and_no_entries():
    for use in (len, list):
        with pytest.raises(ValueError, match="0-d|single number"):
            use(Tensor(2.0))
    with pytest.raises((ValueError, IndexError), match="0-d|0-dim|single number|too many"):
        Tensor(2.0)[0]


def test_stacking_and_nested_stacking():
    assert_slopes_agree(lambda a, b: stack([a, b, a]), values(2, 3), values(2, 3, seed=1))
    assert_slopes_agree(lambda x: stack([[n * n for n in row] for row in x]), values(2, 3))
    assert_slopes_agree(lambda x: stack([x, 1.5, 2]), values())
    assert_slopes_agree(lambda x: stack(x), values(3))
    assert stack([[Tensor(1), Tensor(2)], [Tensor(3), 4.0]]).shape == (2, 2)


def test_stacked_numbers_used_again():
    numbers = [Tensor(float(i)) for i in range(3)]
    both = stack(numbers).sum() * 2 + numbers[1] * 5
    both.backward()
    assert [float(n.grad) for n in numbers] == [2, 7, 2]
    both.backward()
    assert [float(n.grad) for n in numbers] == [4, 14, 4]


def test_builtin_sum_and_max():
    x = Tensor([1.0, 4.0, 2.0])
    total = sum([n * n for n in x])
    assert total.item() == 21
    total.backward()
    np.testing.assert_array_equal(x.grad, [2, 8, 4])
    assert max(n.data for n in x) == 4


def test_numbers_in_and_out():
    assert Tensor(2.5).item() == float(Tensor([[2.5]])) == 2.5
    assert type(Tensor(2).item()) is float
    assert Tensor([1, 2]).dtype == np.float64 and Tensor(True).dtype == np.float64
    assert Tensor(np.float32(1)).dtype == np.float32
    x = Tensor(np.zeros((2, 3)))
    assert (x.shape, x.ndim, x.size, Tensor([]).shape) == ((2, 3), 2, 6, (0,))


# The graph


def test_a_node_used_twice_gets_both_gradients():
    x = Tensor(3.0)
    y = x * x
    (y * y + y + x).backward()  # x^4 + x^2 + x
    assert x.grad == pytest.approx(4 * 27 + 2 * 3 + 1)
    assert y.grad == pytest.approx(2 * 9 + 1)


def test_paths_of_different_length_meet():
    """A walk that visits a node before all of its gradient has arrived gets this wrong."""
    x = Tensor(1.3)

    def build(x):
        a = x * 2
        b = a * a
        c = b + a
        d = c * b
        return d * a + c

    build(x).backward()
    assert x.grad == pytest.approx(slope(lambda v: build(Tensor(v)).item(), 1.3), rel=1e-7)


@pytest.mark.parametrize("seed", range(8))
def test_random_graphs(seed):
    operations = [
        lambda a, b: a + b, lambda a, b: a * b, lambda a, b: a - b, lambda a, b: a * b.tanh(),
        lambda a, b: a @ b.transpose() @ b, lambda a, b: a / (b * b + 1),
        lambda a, b: (a * 0.3).exp() + b.sum(axis=0),
        lambda a, b: a.mean(axis=1, keepdims=True) * b,
        lambda a, b: a[[1, 1]] + b[0], lambda a, b: stack([a[0], b[1]]),
    ]

    def build(*tensors):
        rng, nodes = np.random.default_rng(seed), list(tensors)
        for _ in range(8):
            i, j = rng.integers(len(nodes), size=2)
            nodes.append(operations[rng.integers(len(operations))](nodes[i], nodes[j]).tanh())
        return sum(nodes)

    rng = np.random.default_rng(100 + seed)
    assert_slopes_agree(build, *(rng.normal(size=(2, 3)) for _ in range(3)), rtol=1e-5)


@pytest.mark.parametrize("length, step", [
    (100_000, lambda x: x + 1e-9), (20_000, lambda x: -x), (20_000, lambda x: x.reshape(1)),
    (20_000, lambda x: stack([x[0]])),
], ids=["+", "-", "reshape", "stack"])
@pytest.mark.parametrize("walk", [
    lambda y: y.backward(), lambda y: y.backward(free_graph=True),
], ids=["backward", "free_graph"])
def test_a_long_chain_does_not_overflow(length, step, walk):
    """Neither backward() nor letting the graph go may recurse once a node."""
    x = Tensor([2.0])
    y = x
    for _ in range(length):
        y = step(y)
    walk(y)
    assert abs(abs(y.item()) - 2.0) < 1e-3 and abs(x.grad[0]) == 1.0
    del y


def test_a_long_chain_can_be_dropped_without_a_walk():
    y = Tensor(2.0)
    for _ in range(50_000):
        y = y * 1.0
    reference = weakref.ref(y)
    del y
    assert reference() is None


def test_a_second_backward_adds_the_same_gradients_once_more():
    x, w = Tensor(values(3)), Tensor(values(3, seed=1))
    middle = x * w
    loss = (middle * middle).sum()
    loss.backward()
    first = [t.grad.copy() for t in (x, w, middle, loss)]
    loss.backward()
    for tensor, once in zip((x, w, middle, loss), first):
        np.testing.assert_array_equal(tensor.grad, 2 * once)


def test_two_losses_over_one_graph():
    x = Tensor(values(3))
    y = x * x
    (y.sum() * 2).backward()
    y[0].backward()
    np.testing.assert_allclose(x.grad, 4 * x.data + np.array([2 * x.data[0], 0, 0]))


def test_a_freed_graph_refuses_a_second_backward():
    x = Tensor([1.0, 2.0])
    y = x * x
    loss = y.sum()
    loss.backward(free_graph=True)
    np.testing.assert_array_equal(x.grad, [2, 4])
    with pytest.raises(ValueError, match="freed"):
        loss.backward()
    with pytest.raises(ValueError, match="freed"):
        (y * 2).sum().backward()
    np.testing.assert_array_equal(loss.data, 5.0)  # the values stay


def test_backward_wants_a_single_number_or_a_gradient():
    x = Tensor([1.0, 2.0])
    with pytest.raises(ValueError, match=r"\(2,\)"):
        (x * 2).backward()
    (x * 2).backward([1.0, 10.0])
    np.testing.assert_array_equal(x.grad, [2, 20])
    with pytest.raises(ValueError, match=r"\(3,\)"):
        (x * 2).backward(np.ones(3))


def test_backward_from_one_entry_of_any_shape():
    x = Tensor([[3.0]])
    (x * x).backward()
    np.testing.assert_array_equal(x.grad, [[6.0]])


def test_an_input_is_its_own_gradient():
    x = Tensor(2.0)
    x.backward()
    assert x.grad == 1.0


# Gradients as the source's loop uses them


def test_gradients_start_at_zero_and_can_be_reset():
    p = Tensor(values(2, 3))
    np.testing.assert_array_equal(p.grad, np.zeros((2, 3)))
    (p * p).sum().backward()
    p.grad = 0.0
    np.testing.assert_array_equal(p.grad, np.zeros((2, 3)))
    (p * p).sum().backward()
    np.testing.assert_allclose(p.grad, 2 * p.data)
    p.data -= 0.1 * p.grad
    assert p.shape == (2, 3)


@pytest.mark.parametrize("value", [0, 0.0, np.float64(0), np.float32(2), 1.5, np.array([1.0, 2.0]),
    [3, 4]])
def test_a_gradient_may_be_set(value):
    p = Tensor([5.0, 6.0])
    p.grad = value
    np.testing.assert_array_equal(p.grad, np.broadcast_to(value, 2))
    assert p.grad.dtype == np.float64
    p.sum().backward()
    np.testing.assert_array_equal(p.grad, np.broadcast_to(value, 2) + 1)


@pytest.mark.parametrize("value", [None, "a", [1.0], np.ones((2, 2))])
def test_a_gradient_that_cannot_be_is_refused(value):
    p = Tensor([5.0, 6.0])
    with pytest.raises(ValueError, match="gradient"):
        p.grad = value
    np.testing.assert_array_equal(p.grad, [0, 0])


def test_a_gradient_can_be_changed_in_place():
    p, q = Tensor([1.0, 2.0]), Tensor([3.0, 4.0])
    (p + q).sum().backward()
    p.grad += 1
    p.grad[0] = 10
    p.grad *= 2
    np.testing.assert_array_equal(p.grad, [20, 4])
    np.testing.assert_array_equal(q.grad, [1, 1])


def test_plain_gradient_descent_finds_the_least():
    p, target = Tensor(np.zeros(3)), np.array([1.0, -2.0, 0.5])
    for _ in range(100):
        loss = ((p - target) ** 2).sum()
        p.grad = 0.0
        loss.backward()
        p.data -= 0.1 * p.grad
    np.testing.assert_allclose(p.data, target, atol=1e-6)


def test_a_single_numbers_data_may_be_replaced():
    p = Tensor(3.0)
    for _ in range(50):
        loss = (p - 1) * (p - 1)
        p.grad = 0.0
        loss.backward()
        p.data = p.data - 0.2 * p.grad  # numpy gives a scalar here, not an array
    assert p.item() == pytest.approx(1.0, abs=1e-6)
    assert p.shape == () and p.sum().item() == p.mean().item() == p.max().item() == p.item()


# What a user holds does not change under them


def test_held_gradients_do_not_change():
    p, q = Tensor(values(3)), Tensor(values(3, seed=1))
    loss = (p + q).sum() + (p - q).sum()
    loss.backward()
    held = [p.grad, q.grad, loss.grad]
    before = [g.copy() for g in held]
    loss.backward()
    p.grad += 5
    p.grad = 0.0
    (p * q).sum().backward()
    np.testing.assert_array_equal(held[1], before[1])
    np.testing.assert_array_equal(held[2], before[2])


def test_gradients_of_different_tensors_share_no_memory():
    p, q, r = (Tensor(values(4, seed=i)) for i in range(3))
    total = (p + q + r).reshape(2, 2).transpose()
    total.backward(np.ones((2, 2)))
    grads = [t.grad for t in (p, q, r, total)]
    for i, a in enumerate(grads):
        for b in grads[:i]:
            assert not np.shares_memory(a, b)
    p.grad[0] = 9
    np.testing.assert_array_equal(q.grad, np.ones(4))


def test_the_gradient_given_to_backward_stays_the_callers():
    x = Tensor([1.0, 2.0])
    given = np.ones(2)
    (x + 0.0).backward(given)
    given[:] = 5  # theirs: still writable, and no longer ours
    np.testing.assert_array_equal(x.grad, [1, 1])


def test_a_gradient_that_is_set_is_copied():
    p, given = Tensor([1.0, 2.0]), np.ones(2)
    p.grad = given
    given[:] = 7
    np.testing.assert_array_equal(p.grad, [1, 1])


def test_tensors_made_from_one_array_are_independent():
    """Two optimisers compared from one start: the first must not move the other's start."""
    start = np.zeros(3)
    p, q = Tensor(start), Tensor(start)
    r = Tensor(p)
    p.data -= 1.0
    for untouched in (start, q.data, r.data):
        np.testing.assert_array_equal(untouched, np.zeros(3))


@pytest.mark.parametrize("view", [
    lambda p: p[0], lambda p: p[1:], lambda p: p.reshape(-1), lambda p: p.transpose(),
    lambda p: list(p)[1], lambda p: p.transpose()[0], lambda p: p[...], lambda p: p.sum(axis=()),
], ids=["row", "slice", "reshape", "transpose", "iteration", "column", "ellipsis", "sum"])
def test_a_result_keeps_its_values_when_its_input_is_trained(view):
    p = Tensor(values(2, 3))
    held = view(p)
    before = held.data.copy()
    p.data -= 0.5
    np.testing.assert_array_equal(held.data, before)


def test_a_copied_tensor_is_one_of_its_own():
    a = Tensor(2.0)
    for copied in (copy.deepcopy(a), copy.copy(a), pickle.loads(pickle.dumps(a))):
        a.grad = 0.0
        (a * 3 + copied * 5).backward()
        assert (a.grad, copied.grad) == (3, 5)


def test_a_deep_copy_does_not_follow_the_graph():
    x = Tensor([1.0, 2.0])
    y = x
    for _ in range(5_000):
        y = y + 1.0
    copied = copy.deepcopy(y)
    np.testing.assert_array_equal(copied.data, y.data)
    copied.data[0] = 0
    assert y.data[0] == 5001


# Memory


def _gone_without_the_collector(build):
    """Are all tensors that ``build(x)`` returns gone once nobody holds them?"""
    x = Tensor(positive(3, 3))
    gc.disable()
    try:
        nodes = build(x)
        references = [weakref.ref(node) for node in nodes]
        del nodes
        return all(reference() is None for reference in references)
    finally:
        gc.enable()


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("backward", [None, False, True], ids=["no backward", "backward", "freed"])
def test_no_operation_leaves_a_reference_cycle(name, backward):
    def build(x):
        middle = x + 1.0
        out = UNARY[name](middle)
        loss = out.sum()
        if backward is not None:
            loss.backward(free_graph=backward)
        return middle, out, loss

    assert _gone_without_the_collector(build)


@pytest.mark.parametrize("function", [
    lambda x: x.log(), lambda x: x @ x, lambda x: x[0] @ x, lambda x: stack([x, x]),
    lambda x: x[[0, 1]], lambda x: x.max(axis=0), lambda x: stack(list(x[0])), lambda x: x / x,
], ids=["log", "@", "vector @", "stack", "[...]", "max", "iteration", "/"])
def test_nor_do_operations_of_several(function):
    def build(x):
        out = function(x)
        loss = out.sum()
        loss.backward()
        return out, loss

    assert _gone_without_the_collector(build)


def test_free_graph_lets_the_middle_go_while_the_loss_is_held():
    x = Tensor(values(3))
    middle = x * x
    loss = (middle + 1.0).sum()
    reference = weakref.ref(middle)
    del middle
    loss.backward(free_graph=True)
    assert reference() is None


# no_grad


def test_no_grad_keeps_no_graph():
    x = Tensor(values(3))
    with no_grad():
        y = x * x
        reference = weakref.ref(y)
        z = y + 1.0
        del y
    assert reference() is None
    (z * x).sum().backward()  # z is a constant now
    np.testing.assert_allclose(x.grad, z.data)


def test_no_grad_ends_with_its_block_also_after_an_error():
    x = Tensor(2.0)
    with no_grad():
        with no_grad():
            pass
        inner = x * 3
    with pytest.raises(RuntimeError), no_grad():
        raise RuntimeError
    (x * x + inner).backward()
    assert x.grad == 4.0


def test_no_grad_is_of_one_thread():
    x = Tensor(2.0)
    inside, done = threading.Event(), threading.Event()
    seen = {}

    def other():
        with no_grad():
            inside.set()
            done.wait(10)
            seen["other"] = x * 5

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    here = x * x
    done.set()
    thread.join()
    (here + seen["other"]).backward()
    assert x.grad == 4.0


def test_threads_build_and_walk_their_own_graphs():
    results = {}

    def work(seed):
        x = Tensor(np.array([float(seed), 1.0]))
        for _ in range(200):
            x.grad = 0.0
            y = x
            for _ in range(10):
                y = y * 1.0 + x
            y.sum().backward()
        results[seed] = x.grad

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        np.testing.assert_array_equal(results[seed], [11.0, 11.0])


# float32

FLOAT32 = UNARY | {
    "log": lambda x: (x * x + 1).log(), "root": lambda x: (x * x + 1) ** 0.5,
    "numpy exponent": lambda x: x ** np.float64(2), "numpy number": lambda x: x + np.float64(1),
    "0-d array": lambda x: x * np.array(2.0), "max rows": lambda x: x.max(axis=0),
    "max kept": lambda x: x.max(axis=-1, keepdims=True), "mean": lambda x: x.mean(axis=1),
    "matmul": lambda x: x @ x.transpose(), "row": lambda x: x[0], "rows": lambda x: x[[0, 0]],
    "column": lambda x: x[:, 1], "stack": lambda x: stack([x, x]), "dot": lambda x: x[0] @ x[1],
    "stack numbers": lambda x: stack(list(x[0])), "sum of list": lambda x: sum(list(x)),
    "broadcast": lambda x: x * x[0],
}
FLOAT32 = {name: f for name, f in FLOAT32.items() if "array" not in name or name == "0-d array"}


@pytest.mark.parametrize("name", FLOAT32)
def test_float32_stays_float32(name):
    x = Tensor(values(2, 3).astype(np.float32))
    out = FLOAT32[name](x)
    loss = (out * 0.5).mean()
    loss.backward()
    assert {t.dtype for t in (out, loss)} == {np.dtype(np.float32)}
    assert {t.grad.dtype for t in (x, out, loss)} == {np.dtype(np.float32)}
    loss.backward()
    assert x.grad.dtype == np.float32


def test_a_single_float32_number_stays_one():
    x = Tensor(np.float32(2))
    out = ((x * 3 - 1) / 2 + 1) ** 2
    out.backward()
    assert out.dtype == x.grad.dtype == np.float32


# Refusals


@pytest.mark.parametrize("data", ["text", ["a", "b"], [[1], [1, 2]], None, {}, [None], 1j,
    object()])
def test_a_tensor_holds_numbers_only(data):
    with pytest.raises(ValueError, match="Tensor holds numbers"):
        Tensor(data)


def test_a_list_of_tensors_is_for_stack():
    with pytest.raises(ValueError, match="stack"):
        Tensor([Tensor(1.0), Tensor(2.0)])


@pytest.mark.parametrize("left, right", [((2, 3), (4,)), ((2,), (3,)), ((2, 3), (3, 2))])
@pytest.mark.parametrize("symbol", ["+", "-", "*", "/"])
def test_shapes_that_do_not_fit_are_shown(symbol, left, right):
    a, b = Tensor(np.ones(left)), Tensor(np.ones(right))
    with pytest.raises(ValueError) as error:
        {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: a / b}[symbol]()
    assert str(left) in str(error.value) and str(right) in str(error.value)


@pytest.mark.parametrize("left, right", [((2, 3), (2, 3)), ((2, 3), (4,)), ((4,), (3, 2)),
    ((3,), (2,))])
def test_products_that_do_not_fit(left, right):
    with pytest.raises(ValueError, match="@"):
        Tensor(np.ones(left)) @ Tensor(np.ones(right))


@pytest.mark.parametrize("bad", [0, 0.0, Tensor(0.0), np.array([1.0, 0.0])])
def test_division_by_zero(bad):
    with pytest.raises(ValueError, match="division by zero"):
        Tensor([1.0, 2.0]) / bad
    with pytest.raises(ValueError, match="division by zero"):
        1 / Tensor([1.0, 0.0])


@pytest.mark.parametrize("base, exponent, named", [
    (-1.0, 0.5, "-1"), (0.0, -1, "0"), ([4.0, -2.0], 1.5, "-2"), (2.0, Tensor(2.0), "exponent"),
    (2.0, [1, 2], "exponent"), (2.0, "a", "exponent"), (2.0, None, "exponent"),
])
def test_powers_that_are_no_real_number(base, exponent, named):
    with pytest.raises(ValueError, match=named):
        Tensor(base) ** exponent


def test_whole_powers_of_zero():
    for exponent, slopes in ((0, 0), (1, 1), (2, 0), (3, 0)):
        x = Tensor([0.0, 1.0])
        (x**exponent).sum().backward()
        np.testing.assert_array_equal(x.grad, [slopes, exponent])


def test_the_logarithm():
    with pytest.raises(ValueError, match="-0.5"):
        Tensor([1.0, -0.5]).log()
    assert Tensor(0.0).log().item() == -np.inf


def test_item_is_for_single_numbers():
    with pytest.raises(ValueError, match=r"\(2,\)"):
        Tensor([1.0, 2.0]).item()


@pytest.mark.parametrize("use", [
    lambda x: x.mean(), lambda x: x.max(), lambda x: x.reshape(2, 3), lambda x: stack([]),
    lambda x: stack([Tensor([1.0]), Tensor([1.0, 2.0])]), lambda x: x.sum(axis=3),
])
def test_other_refusals(use):
    with pytest.raises(ValueError):
        use(Tensor([]))


def test_a_tensor_shows_its_values():
    assert repr(Tensor([1.0, 2.5])) == "Tensor([1.  2.5])"
    assert "0.3333" in repr(Tensor(1 / 3)) and "(2, 1)" in repr(Tensor([[1], [2]]))
