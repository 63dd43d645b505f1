"""Reverse-mode automatic differentiation over numpy arrays (lesson 2).

A ``Tensor`` holds an array, and remembers which tensors it was made from and how to pass a
gradient back to them. ``loss.backward()`` walks from the loss to its inputs, newest tensor first,
adding up gradients. A scalar is a 0-d tensor: ``Tensor(2.0)``.

After micrograd (Andrej Karpathy, 2020), with arrays in place of single numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partialmethod
from numbers import Real

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from minigpt_helpers.graph import Node, float_array, no_grad
from minigpt_helpers.validation import check_list, check_number

__all__ = ["Tensor", "no_grad", "stack"]


class Tensor(Node):
    """An array with a gradient. ``data`` keeps its float type; whole numbers become float64.

    ``grad`` has the shape of ``data``, is zero at first, and is added to by each ``backward()``.
    No two tensors share memory, so that training one leaves all others as they are.
    """

    __slots__ = ()
    __array_ufunc__ = None  # array + tensor: numpy leaves it to Tensor.__radd__

    def __init__(self, data: Tensor | np.ndarray | float | Sequence):
        super().__init__(float_array(data._data if isinstance(data, Tensor) else data))

    # Values and entries

    def item(self) -> float:
        """The number of a tensor that holds just one; so do float(), int(), bool() and format()."""
        if self.size != 1:
            raise ValueError(
                f"only a single number has a value or is true or false, not shape {self.shape}"
            )
        return float(np.reshape(self.data, ()))

    __float__ = item

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __round__(self, digits: int | None = None) -> float:
        return round(self.item(), digits)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def _compare(self, operation: Callable, other) -> np.ndarray:
        return operation(self.data, _as_tensor(other, like=self).data)

    __lt__, __le__ = partialmethod(_compare, np.less), partialmethod(_compare, np.less_equal)
    __gt__, __ge__ = partialmethod(_compare, np.greater), partialmethod(_compare, np.greater_equal)

    def __getattr__(self, name: str):
        raise AttributeError(f"a Tensor has no {name!r}. {_INSTEAD.get(name, '')}".rstrip())

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
        check_number("a tensor's exponent", exponent, np.isfinite, "that is finite")
        exponent = float(exponent)
        if np.any(self.data < 0) and exponent % 1 or np.any(self.data == 0) and exponent < 0:
            raise ValueError(f"{np.min(self.data)} ** {exponent} is not a real number")
        less = exponent - 1 if exponent else 0  # x**0 has the slope 0 at x = 0 too
        return Tensor.from_op(
            _compute(np.power, self.data, exponent),
            (self,),
            lambda grad: (grad * exponent * self.data**less,),
        )

    def __abs__(self) -> Tensor:
        return self * np.sign(self.data)

    def __neg__(self) -> Tensor:
        return Tensor.from_op(-self.data, (self,), lambda grad: (-grad,))

    def __matmul__(self, other) -> Tensor:
        other = _as_tensor(other, like=self)
        if other.ndim == 1:  # a vector on the right is one column, (K, 1) ...
            return (self @ other.reshape(-1, 1))[..., 0]
        if self.ndim == 1:  # ... and one on the left is one row, (1, K)
            return (self.reshape(1, -1) @ other)[..., 0, :]
        return _binary(
            self,
            other,
            np.matmul,
            "@",
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
        out = _compute(np.exp, self.data)
        return Tensor.from_op(out, (self,), lambda grad: (grad * out,))

    def log(self) -> Tensor:
        """The natural logarithm. Of 0 it is minus infinity; of a negative number an error."""
        if np.any(self.data < 0):
            raise ValueError(f"log needs numbers above 0, but got {np.min(self.data)}")
        with np.errstate(divide="ignore"):
            out = np.log(self.data)
        return Tensor.from_op(out, (self,), lambda grad: (grad / self.data,))

    def tanh(self) -> Tensor:
        out = _compute(np.tanh, self.data)
        return Tensor.from_op(out, (self,), lambda grad: (grad * (1 - out * out),))

    def relu(self) -> Tensor:
        positive = self.data > 0
        return Tensor.from_op(self.data * positive, (self,), lambda grad: (grad * positive,))

    def _axes(self, axis: int | tuple | None) -> tuple[int, ...]:
        try:
            return normalize_axis_tuple(range(self.ndim) if axis is None else axis, self.ndim)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"axis {axis!r:.60} does not fit the shape {self.shape}") from None

    def sum(self, axis: int | tuple | None = None, keepdims: bool = False) -> Tensor:
        axis = self._axes(axis)

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
        axis = self._axes(axis)
        largest = np.max(self.data, axis=axis, keepdims=True)
        winners = self.data == largest

        def backward(grad):
            grad = grad if keepdims else np.expand_dims(grad, axis)
            return (winners * (grad / winners.sum(axis=axis, keepdims=True, dtype=grad.dtype)),)

        out = largest if keepdims else np.squeeze(largest, axis)
        return Tensor.from_op(out, (self,), backward)

    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        try:
            out = self.data.reshape(*shape).copy()
        except (TypeError, ValueError):
            raise ValueError(f"shape {self.shape} can't become {shape!r:.60}") from None
        return Tensor.from_op(out, (self,), lambda grad: (grad.reshape(self.shape),))

    def transpose(self, *axes) -> Tensor:
        """Axes in the order given, all of them; without any, in reverse order."""
        axes = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
        axes = self._axes(tuple(axes) or tuple(reversed(range(self.ndim))))
        if len(axes) != self.ndim:
            raise ValueError(f"transpose takes all {self.ndim} axes, not {axes}: (0, 2, 1), say")
        back = np.argsort(axes)
        return Tensor.from_op(
            self.data.transpose(axes).copy(), (self,), lambda grad: (grad.transpose(back),)
        )


def stack(tensors: Sequence) -> Tensor:
    """Joins tensors of equal shape along a new first axis: N times ``(...)`` to ``(N, ...)``.

    Nested lists of tensors are stacked from the inside out.
    """
    parts = tuple(
        t if isinstance(t, Tensor) else stack(t) if isinstance(t, (list, tuple)) else Tensor(t)
        for t in check_list("a list of tensors to stack", tensors)
    )
    return Tensor.from_op(np.stack([part.data for part in parts]), parts, tuple)


def _as_tensor(value, like: Tensor) -> Tensor:
    """``value`` itself, or a constant: a plain number takes the float type of ``like``."""
    if isinstance(value, Tensor):
        return value
    try:
        if type(value) is float or isinstance(value, Real):
            array = np.array(value, like.dtype)
        elif isinstance(value, (np.ndarray, np.generic, list, tuple)):
            array = float_array(value)
            array = array if array.ndim else array.astype(like.dtype)
        else:
            raise ValueError("not a number")
    except (ValueError, OverflowError) as error:
        why = ": does a function lack its return?" if value is None else ""
        raise ValueError(f"a Tensor can't be combined with {value!r:.60}{why}") from error
    return Tensor.from_op(array, (), None)


def _compute(operation: Callable, *arrays) -> np.ndarray:
    """``operation(*arrays)``; what is too small becomes 0, also where numpy is set to raise."""
    try:
        return operation(*arrays)
    except FloatingPointError:
        with np.errstate(under="ignore"):
            return operation(*arrays)


def _binary(left: Tensor, right, operation: Callable, symbol: str, backward: Callable) -> Tensor:
    """``left`` and ``right`` combined; gradients are summed over what broadcasting repeated."""
    right = _as_tensor(right, like=left)
    a, b = left._data, right._data
    try:
        out = _compute(operation, a, b)
    except ValueError:
        raise ValueError(f"shapes {left.shape} and {right.shape} don't fit for {symbol}") from None

    def backward_both(grad):
        grad_a, grad_b = backward(grad, a, b)
        return _unbroadcast(grad_a, a.shape), _unbroadcast(grad_b, b.shape)

    return Tensor.from_op(out, (left, right), backward_both)


def _unbroadcast(grad: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sums ``grad`` over the axes that broadcasting added or stretched, back to ``shape``."""
    if grad.shape == shape:
        return grad
    grad = grad.sum(axis=tuple(range(grad.ndim - len(shape))))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and grad.shape[i] != 1)
    return grad.sum(axis=stretched, keepdims=True) if stretched else grad


_INSTEAD = {  # what PyTorch calls otherwise
    "T": "Use x.transpose().",
    "detach": "Use Tensor(x.data).",
    "numpy": "Use x.data.",
    "view": "Use x.reshape(...).",
    "numel": "Use x.size.",
    "zero_": "Use x.data[...] = 0.0.",
    "requires_grad": "Every tensor has a gradient; no_grad() switches that off.",
    "to": "Its type is that of the array it is made from.",
    "sqrt": "Use x ** 0.5.",
}
