"""The graph of a computation (lesson 2): which nodes record it, and how a gradient walks back."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from operator import attrgetter
from typing import Self

import numpy as np

_creation_counter = itertools.count()


class _Thread(threading.local):
    """What each Python thread has for itself."""

    def __init__(self):
        self.recording = True  # until no_grad() switches it off
        self.walked = []  # the nodes that backward() last started from


_thread = _Thread()
GRAPHS_KEPT = 4  # of as many losses the graph is kept after backward(), for a second one


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside ``with no_grad():`` results keep no graph: faster, for when no gradient is wanted."""
    before, _thread.recording = _thread.recording, False
    try:
        yield
    finally:
        _thread.recording = before


def is_recording() -> bool:
    """Whether results keep a graph here: true outside of ``no_grad()``, as in training."""
    return _thread.recording


class Node:
    """An array, its gradient, and the nodes it was made from. ``Tensor`` adds the operations."""

    __slots__ = ("_data", "_grad", "_shared", "_parents", "_backward", "_order", "__weakref__")

    @classmethod
    def from_op(
        cls, data: np.ndarray, parents: tuple[Node, ...], backward: Callable | None
    ) -> Self:
        """A node of the graph. ``backward`` takes the gradient of the loss with respect to ``data``
        and returns a tuple, one gradient for each parent. It never changes the array it is given.
        """
        node = cls.__new__(cls)
        node._data, node._grad, node._order = np.asarray(data), None, next(_creation_counter)
        node._parents, node._backward = (parents, backward) if _thread.recording else ((), None)
        return node

    def __init__(self, data: np.ndarray):
        self._data, self._grad, self._order = data, None, next(_creation_counter)
        self._parents: tuple[Node, ...] = ()
        self._backward: Callable | None = None

    def _set_data(self, data: np.ndarray | float | Sequence) -> None:
        if data is self._data:  # p.data -= ... has changed it in place
            return
        data = float_array(data)
        if data.shape != self._data.shape:
            raise ValueError(
                f"data of shape {self.shape} can't become {data!r:.60} of shape {data.shape}. Fill "
                "it, p.data[...] = 0.0, or make a new Tensor."
            )
        self._data = data

    data = property(attrgetter("_data"), _set_data, doc="The numbers; a new array is copied.")
    shape = property(lambda self: self._data.shape)
    ndim = property(lambda self: self._data.ndim)
    size = property(lambda self: self._data.size)
    dtype = property(lambda self: self._data.dtype)

    @property
    def grad(self) -> np.ndarray:
        """The gradient, of the shape of ``data``. It may be set: ``p.grad = 0.0``."""
        if self._grad is None:
            self._grad = np.zeros_like(self._data)
        elif self._shared:  # other nodes may hold what backward() left: a copy is handed out
            self._grad = self._grad.copy()
        self._shared = False
        return self._grad

    @grad.setter
    def grad(self, value: np.ndarray | float) -> None:
        if isinstance(value, (int, float)) and value == 0:
            self._grad = None  # zeros are made when they are asked for
        elif np.array(value).dtype.kind in "fiu" and np.shape(value) in ((), self.shape):
            self._grad, self._shared = np.full_like(self.data, value), False
        else:
            raise ValueError(f"a gradient of {self.shape} can't be {value!r:.60}. To clear it: 0.0")

    def read_grad(self) -> np.ndarray:
        """``grad`` for reading only: no copy is made."""
        return np.zeros_like(self.data) if self._grad is None else self._grad

    def backward(self, grad: np.ndarray | float | None = None, free_graph: bool = False) -> None:
        """Adds d(self)/d(node) to the ``grad`` of every node that this one was made from.

        A second call adds the same gradients once more, as long as it is one of the last few
        losses: the graph of an older one is freed, also where the loss itself is kept in a list.
        With ``free_graph=True`` only the inputs (tensors that no operation made) get their
        gradient, and the graph is taken apart on the way, so that its memory is used again at
        once; a second call is then refused.

        Raises ``ValueError`` when this tensor is not a single number and no ``grad`` is given.
        """
        if grad is None and self.size != 1:
            raise ValueError(
                f"backward() starts from a single number (a loss), but this tensor has shape "
                f"{self.shape}. Take .sum() or .mean() first, or pass a grad of that shape."
            )
        start = np.ones(self.shape, self.dtype)
        if grad is not None:
            start *= float_array(grad)
        with np.errstate(under="ignore"):  # gradients that are too small become 0
            _walk_back(self, start, free_graph)

    def _add_grad(self, grad: np.ndarray) -> None:
        self._grad = np.asarray(grad if self._grad is None else self._grad + grad)
        self._shared = True  # other nodes may hold the same array


def _walk_back(start: Node, grad: np.ndarray, free_graph: bool) -> None:
    """Hands ``grad`` from ``start`` on to all it was made from, newest first (see ``backward``)."""
    # The newest node's gradient is complete: all that was made from it has handed on its share.
    waiting = {start._order: (start, grad)}
    newest_first = [-start._order]  # a heap, which gives its smallest number first
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
            _free(node)
    if not free_graph:
        _free_old_graphs(start)


def _free_old_graphs(newest: Node) -> None:
    """Losses kept in a list would each keep its graph, and memory would fill up step by step."""
    others = [node for node in _thread.walked if node() is not None and node() is not newest]
    _thread.walked = [*others, weakref.ref(newest)]
    for node in others[: 1 - GRAPHS_KEPT]:
        old = node()  # alone: its inputs stay as they are, since other results may need them
        if old is not None and old._backward is not None:
            _free(old)
    _thread.walked = _thread.walked[-GRAPHS_KEPT:]


def _free(node: Node) -> None:
    node._parents, node._backward = (), _freed


def _freed(grad: np.ndarray):
    raise ValueError(
        "this graph was freed, so it has no gradient to give: by backward(free_graph=True), or "
        f"since backward() was called on {GRAPHS_KEPT} other losses. Compute the loss again."
    )


def float_array(data: np.ndarray | np.generic | float | Sequence) -> np.ndarray:
    """A new array that keeps its float type, or of whole numbers made float64."""
    try:
        array = np.array(data)
        if array.dtype.kind != "f":
            array = array.astype(np.float64, casting="safe" if array.size else "unsafe")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"a Tensor holds numbers in rows of equal length, not {data!r:.80}. "
            "To join tensors into one use stack([...])."
        ) from error
    return array
