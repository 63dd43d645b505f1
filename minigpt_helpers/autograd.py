"""Reverse-mode automatic differentiation over numpy arrays (lesson 2).

A ``Tensor`` holds an array, and remembers which tensors it was made from and how to pass a
gradient back to them. ``loss.backward()`` walks from the loss to its inputs, newest tensor first,
adding up gradients. A scalar is a 0-d tensor: ``Tensor(2.0)``.

After micrograd (Andrej Karpathy, 2020), with arrays in place of single numbers.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from numbers import Real

import numpy as np

_creation_counter = itertools.count()


class _Recording(threading.local):
    on = True  # in every thread, until no_grad() switches it off in one


_recording = _Recording()


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside ``with no_grad():`` results keep no graph: faster, for when no gradient is wanted."""
    before, _recording.on = _recording.on, False
    try:
        yield
    finally:
        _recording.on = before


class Tensor:
    """An array with a gradient. ``data`` keeps its float type; whole numbers become float64.

    ``grad`` has the shape of ``data``, is zero at first, and is added to by each ``backward()``.
    No two tensors share memory, so that training one leaves all others as they are.
    """

    __slots__ = ("data", "_grad", "_shared", "_parents", "_backward", "_order", "__weakref__")
    __array_ufunc__ = None  # array + tensor is the tensor's affair: numpy calls __radd__

    def __init__(self, data: np.ndarray | float | Sequence):
        data = data.data if isinstance(data, Tensor) else data
        try:
            array = np.array(data)
            if array.dtype.kind != "f":
                array = array.astype(np.float64, casting="safe" if array.size else "unsafe")
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"a Tensor holds numbers in rows of equal length, not {data!r:.80}. "
                "To join tensors into one use stack([...])."
            ) from error
        self.data = array
        self._grad, self._parents, self._backward = None, (), None
        self._order = next(_creation_counter)

    @classmethod
    def from_op(
        cls, data: np.ndarray, parents: tuple[Tensor, ...], backward: Callable[[np.ndarray], tuple]
    ) -> Tensor:
        """A node of the graph. ``backward`` takes the gradient of the loss with respect to ``data``
        and returns a tuple, one gradient for each parent. It never changes the array it is given.
        """
        node = cls.__new__(cls)
        node.data = np.asarray(data)
        node._grad = None
        node._parents, node._backward = (parents, backward) if _recording.on else ((), None)
        node._order = next(_creation_counter)
        return node

    @property
    def grad(self) -> np.ndarray:
        """The gradient, of the shape of ``data``. It may be set: ``p.grad = 0.0``."""
        if self._grad is None:
            self._grad = np.zeros_like(self.data)
        elif self._shared:  # as backward() left it: from now on a copy of ours
            self._grad = self._grad.copy()
        self._shared = False
        return self._grad

    @grad.setter
    def grad(self, value: np.ndarray | float) -> None:
        if isinstance(value, (int, float)) and value == 0:
            self._grad = None  # zeros, when somebody asks
        elif np.array(value).dtype.kind in "fiu" and np.shape(value) in ((), self.shape):
            self._grad, self._shared = np.full_like(self.data, value), False
        else:
            raise ValueError(f"a gradient of {self.shape} can't be {value!r:.60}. To clear it: 0.0")

    def read_grad(self) -> np.ndarray:
        """``grad`` for reading only: no copy is made."""
        return np.zeros_like(self.data) if self._grad is None else self._grad

    def backward(self, grad: np.ndarray | float = None, free_graph: bool = False) -> None:
        """Adds d(self)/d(node) to the ``grad`` of every node that this one was made from.

        A second call adds the same gradients once more. With ``free_graph=True`` only the
        inputs (tensors that no operation made) get their gradient and the graph is taken apart
        on the way, so that its memory is used again at once; a second call is then refused.

        Raises ``ValueError`` when this tensor is not a single number and no ``grad`` is given.
        """
        if grad is None and self.data.size != 1:
            raise ValueError(
                f"backward() starts from a single number (a loss), but this tensor has shape "
                f"{self.shape}. Take .sum() or .mean() first, or pass a grad of that shape."
            )
        grad = np.broadcast_to(1.0 if grad is None else grad, self.shape)
        # The newest node's gradient is complete: all that was made from it has handed on its share.
        waiting = {self._order: (self, np.array(grad, dtype=self.dtype))}
        newest_first = [-self._order]  # a heap, which gives its smallest number first
        while newest_first:
            node, grad = waiting.pop(-heappop(newest_first))
            if node._backward is None or not free_graph:
                node._add_grad(grad)
            if node._backward is None:
                continue
            for parent, parent_grad in zip(node._parents, node._backward(grad)):
                order = parent._order
                if parent._backward is None:  # an input: it passes nothing on
                    parent._add_grad(parent_grad)
                elif order in waiting:
                    waiting[order] = parent, waiting[order][1] + parent_grad
                else:
                    waiting[order] = parent, parent_grad
                    heappush(newest_first, -order)
            if free_graph:
                node._parents, node._backward = (), _freed

    def _add_grad(self, grad: np.ndarray) -> None:
        self._grad = np.asarray(grad if self._grad is None else self._grad + grad)
        self._shared = True  # other nodes may hold the same array

    # Shape and access

    shape = property(lambda self: self.data.shape)
    ndim = property(lambda self: self.data.ndim)
    size = property(lambda self: self.data.size)
    dtype = property(lambda self: self.data.dtype)

    def item(self) -> float:
        """The number of a tensor that holds just one."""
        if self.size != 1:
            raise ValueError(f"item() needs a single number, but the shape is {self.shape}")
        return float(np.reshape(self.data, ()))

    __float__ = item

    def __len__(self) -> int:
        if not self.shape:
            raise ValueError("a single number (a 0-d tensor) has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key) -> Tensor:
        def backward(grad):
            full = np.zeros(self.data.shape, self.data.dtype)
            if isinstance(key, (int, slice)):
                full[key] = grad
            else:
                np.add.at(full, key, grad)  # add, not set: an entry may be taken more than once
            return (full,)

        return Tensor.from_op(np.array(self.data[key]), (self,), backward)

    def __reduce__(self):  # copied by copy or pickle, a tensor is a new one without a graph
        return Tensor, (self.data,)

    def __repr__(self) -> str:
        values = np.array2string(self.data, precision=4, suppress_small=True)
        return f"Tensor({values})" if self.ndim < 2 else f"Tensor(shape={self.shape},\n{values})"

    # Arithmetic, with broadcasting

    def __add__(self, other) -> Tensor:
        return _binary(self, other, np.add, "+", lambda grad, a, b: (grad, grad))

    def __mul__(self, other) -> Tensor:
        return _binary(self, other, np.multiply, "*", lambda grad, a, b: (grad * b, grad * a))

    def __sub__(self, other) -> Tensor:
        return _binary(self, other, np.subtract, "-", lambda grad, a, b: (grad, -grad))

    def __truediv__(self, other) -> Tensor:
        other = _as_tensor(other, like=self)
        if not np.all(other.data):
            raise ValueError(f"division by zero: {self!r:.60} / {other!r:.60}")
        return _binary(self, other, np.divide, "/", lambda g, a, b: (g / b, -g * a / b / b))

    def __pow__(self, exponent: float) -> Tensor:
        if not isinstance(exponent, Real):
            raise ValueError(f"a tensor's exponent is a plain number, not {exponent!r:.60}")
        exponent = float(exponent)
        if np.any(self.data < 0) and exponent % 1 or np.any(self.data == 0) and exponent < 0:
            raise ValueError(f"{np.min(self.data)} ** {exponent} is not a real number")
        less = exponent - 1 if exponent else 0  # x**0 has the slope 0 at x = 0 too
        return Tensor.from_op(
            self.data**exponent, (self,), lambda grad: (grad * exponent * self.data**less,)
        )

    def __neg__(self) -> Tensor:
        return Tensor.from_op(-self.data, (self,), lambda grad: (-grad,))

    def __matmul__(self, other) -> Tensor:
        other = _as_tensor(other, like=self)
        if other.ndim == 1:  # a vector on the right is one column, (K, 1) ...
            return (self @ other.reshape(-1, 1))[..., 0]
        if self.ndim == 1:  # ... and one on the left is one row, (1, K)
            return (self.reshape(1, -1) @ other)[..., 0, :]
        return _binary(
            self, other, np.matmul, "@",
            lambda grad, a, b: (grad @ b.swapaxes(-1, -2), a.swapaxes(-1, -2) @ grad),
        )

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other) -> Tensor:
        return -self + other

    def __rtruediv__(self, other) -> Tensor:
        return _as_tensor(other, self) / self

    def __rmatmul__(self, other) -> Tensor:
        return _as_tensor(other, self) @ self

    # Functions of one tensor

    def exp(self) -> Tensor:
        out = np.exp(self.data)
        return Tensor.from_op(out, (self,), lambda grad: (grad * out,))

    def log(self) -> Tensor:
        """The natural logarithm. Of 0 it is minus infinity; of a negative number an error."""
        if np.any(self.data < 0):
            raise ValueError(f"log needs numbers above 0, but got {np.min(self.data)}")
        with np.errstate(divide="ignore"):
            out = np.log(self.data)
        return Tensor.from_op(out, (self,), lambda grad: (grad / self.data,))

    def tanh(self) -> Tensor:
        out = np.tanh(self.data)
        return Tensor.from_op(out, (self,), lambda grad: (grad * (1 - out * out),))

    def relu(self) -> Tensor:
        positive = self.data > 0
        return Tensor.from_op(self.data * positive, (self,), lambda grad: (grad * positive,))

    def sum(self, axis: int | tuple | None = None, keepdims: bool = False) -> Tensor:
        axis = tuple(range(self.ndim)) if axis is None else axis

        def backward(grad):
            grad = grad if keepdims else np.expand_dims(grad, axis)
            return (np.broadcast_to(grad, self.shape),)

        return Tensor.from_op(self.data.sum(axis=axis, keepdims=keepdims), (self,), backward)

    def mean(self, axis: int | tuple | None = None, keepdims: bool = False) -> Tensor:
        if not self.size:
            raise ValueError(f"there is no mean of nothing: this tensor has shape {self.shape}")
        total = self.sum(axis, keepdims)
        return total * (total.size / self.size)

    def max(self, axis: int | tuple | None = None, keepdims: bool = False) -> Tensor:
        """The largest entry. Where several are equally large, they share the gradient."""
        axis = tuple(range(self.ndim)) if axis is None else axis
        largest = np.max(self.data, axis=axis, keepdims=True)
        winners = self.data == largest

        def backward(grad):
            grad = grad if keepdims else np.expand_dims(grad, axis)
            return (winners * (grad / winners.sum(axis=axis, keepdims=True, dtype=grad.dtype)),)

        out = largest if keepdims else np.squeeze(largest, axis)
        return Tensor.from_op(out, (self,), backward)

    def reshape(self, *shape: int) -> Tensor:
        shape = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        out = self.data.reshape(shape).copy()
        return Tensor.from_op(out, (self,), lambda grad: (grad.reshape(self.shape),))

    def transpose(self, *axes: int) -> Tensor:
        """Axes in the order given; without any, in reverse order."""
        axes = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
        axes = tuple(axes) or tuple(reversed(range(self.ndim)))
        out = self.data.transpose(axes).copy()
        back = np.argsort([axis % self.ndim for axis in axes])
        return Tensor.from_op(out, (self,), lambda grad: (grad.transpose(back),))


def stack(tensors: Sequence) -> Tensor:
    """Joins tensors of equal shape along a new first axis: N times ``(...)`` to ``(N, ...)``.

    Nested lists of tensors are stacked from the inside out.
    """
    parts = tuple(
        t if isinstance(t, Tensor) else stack(t) if isinstance(t, (list, tuple)) else Tensor(t)
        for t in tensors
    )
    return Tensor.from_op(np.stack([part.data for part in parts]), parts, tuple)


def _as_tensor(value, like: Tensor) -> Tensor:
    """``value`` itself, or a constant: a plain number takes the float type of ``like``."""
    if isinstance(value, Tensor):
        return value
    return Tensor(np.asarray(value, like.dtype) if np.ndim(value) == 0 else value)


def _binary(left: Tensor, right, operation: Callable, symbol: str, backward: Callable) -> Tensor:
    """``left`` and ``right`` combined; gradients are summed over what broadcasting repeated."""
    right = _as_tensor(right, like=left)
    a, b = left.data, right.data
    try:
        out = operation(a, b)
    except ValueError:
        raise ValueError(f"shapes {left.shape} and {right.shape} don't fit for {symbol}") from None

    def backward_both(grad):
        grad_a, grad_b = backward(grad, a, b)
        return _unbroadcast(grad_a, left.shape), _unbroadcast(grad_b, right.shape)

    return Tensor.from_op(out, (left, right), backward_both)


def _unbroadcast(grad: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sums ``grad`` over the axes that broadcasting added or stretched, back to ``shape``."""
    if grad.shape == shape:
        return grad
    grad = grad.sum(axis=tuple(range(grad.ndim - len(shape))))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and grad.shape[i] != 1)
    return grad.sum(axis=stretched, keepdims=True) if stretched else grad


def _freed(grad: np.ndarray):
    raise ValueError(
        "this graph was freed by backward(free_graph=True), so it has no gradient to give. "
        "Compute the loss anew, or leave free_graph out."
    )
