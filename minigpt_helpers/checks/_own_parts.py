"""A part that a student wrote: made by its class, called with arrays, its parameters set and moved.

How the student keeps numbers is said by two functions of the notebook, `to_array` and
`from_array`; no other form is tried. A parameter keeps its numbers in `.data` and its gradient in
`.grad`; a result that is one number has `backward()`.
"""

from __future__ import annotations

import contextlib
import math
import operator
import types
from collections.abc import Callable, Iterator

import numpy as np

from minigpt_helpers.checks._base import Cases
from minigpt_helpers.checks._compare import (
    Miss,
    NotDone,
    as_array,
    expect,
    expect_close,
    is_blank,
    kind,
    show,
)
from minigpt_helpers.checks._student import TimeLimit

_NO_PARTS = (str, bytes, type, types.ModuleType, types.FunctionType, types.MethodType, np.ndarray,
             np.generic, np.random.Generator)
_CUT = (
    "Is a part of the result computed from `.data`, or put into a new tensor, outside the graph? "
    "Is a gradient added to what is there (`+=`), also where a value is used twice?"
)
_PLAIN = (
    "These are plain numbers, without a gradient: the result has left the graph. Compute with your "
    "numbers, not with their `.data`."
)
_EDIT = "Edit the cell of `to_array` and `from_array`, or what your part gives, so that they fit."


# ---- numbers ------------------------------------------------------------------------------------


class Numbers:
    """The student's numbers, read and made by the student's two functions."""

    def __init__(self, case: Cases, to_array: Callable, from_array: Callable) -> None:
        self.case, self.to_array, self.from_array = case, to_array, from_array

    def fit(self) -> bool:
        """Does an array come back from the two functions as it was? If not, no part is tried."""
        before = len(self.case.missed)
        for array in (np.array([[1.5, -2.0, 0.25], [3.0, 0.0, -1.0]]), np.array([[0.5]])):
            try:
                expect_close(self.read(self.give(array)), array, "to_array(from_array(a))",
                             hint="What `from_array` makes of an array, `to_array` turns back.")
            except (Exception, TimeLimit) as error:
                self.case.record("to_array and from_array fit together", error, essential=True)
                break
        return len(self.case.missed) == before

    def give(self, array: np.ndarray) -> object:
        self.case.next_call()
        return self.from_array(np.array(array, dtype=float))

    def read(self, value: object, what: str = "your part") -> np.ndarray:
        """The student's numbers as a new array."""
        if is_blank(value):
            raise NotDone(f"{what} gives {show(value)}: is a `return` missing?")
        hint = _PLAIN if isinstance(value, (float, np.ndarray, np.generic)) else _EDIT
        self.case.next_call()
        try:
            array = self.to_array(value)
        except TimeLimit:
            raise
        except Exception as error:
            raise Miss(f"`to_array` cannot read what {what} gives, {kind(value)}: it raised "
                       f"{said(error)}", [hint]) from None
        if not isinstance(array, (np.ndarray, np.generic, float, int)) or (
                np.asarray(array).dtype.kind not in "biuf"):
            raise Miss(f"`to_array` should give a numpy array of numbers; of what {what} gives, "
                       f"{kind(value)}, it makes {kind(array)}", [hint])
        return np.array(array, dtype=float)

    def weighted_sum(self, out: object, weights: np.ndarray) -> object:
        """The sum of an output times given numbers, in the student's own numbers."""
        pairs = list(_pairs(out, weights))
        parts, sizes = [part for part, _ in pairs], [np.shape(w) for _, w in pairs]
        factors = list(flat(self.give([w for _, w in pairs]))) if set(sizes) == {()} else []
        if len(factors) != len(parts):  # an array in each, or numbers that are made one by one
            factors = [self.give(w) for _, w in pairs]
        terms = [product.sum() if size else product
                 for product, size in zip(combine_all("mul", parts, factors), sizes)]
        while len(terms) > 1:  # in pairs: the graph stays shallow
            half = len(terms) // 2
            terms = combine_all("add", terms[:half], terms[half : 2 * half]) + terms[2 * half :]
        return terms[0]


def said(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextlib.contextmanager
def no_overflow(where: str, hint: str) -> Iterator[None]:
    """What the student's code raises where numbers are too large or too small is a miss."""
    try:
        yield
    except (OverflowError, ZeroDivisionError, ValueError) as error:
        raise Miss(f"{where}your code raised {said(error)}", [hint]) from None


def flat(values: object) -> Iterator[object]:
    """The single items in lists of lists."""
    if isinstance(values, (list, tuple, Iterator)):
        for value in values:
            yield from flat(value)
    else:
        yield values


def _pairs(out: object, weights: np.ndarray) -> Iterator[tuple[object, np.ndarray]]:
    """The single items of an output, with their share of an array of the same shape."""
    if isinstance(out, (list, tuple, np.ndarray)):
        for part, share in zip(out, weights):
            yield from _pairs(part, share)
    else:
        yield out, weights


# ---- many at once: in grading the three are one message each, however many objects there are ----


def read_all(things: list, name: str, default: object = None) -> list:
    """This attribute of each; `default` where there is none."""
    return [getattr(thing, name, default) for thing in things]


def write_all(things: list, name: str, values: list) -> None:
    """Set this attribute of each."""
    for thing, value in zip(things, values):
        setattr(thing, name, value)


def combine_all(word: str, lefts: list, rights: list) -> list:
    """`left * right` ("mul") or `left + right` ("add") of each pair."""
    return [getattr(operator, word)(left, right) for left, right in zip(lefts, rights)]


def get_data(holders: list) -> list[np.ndarray]:
    """The numbers of each, as a new array."""
    return [as_array(data).copy() for data in read_all(holders, "data")]


def set_data(holders: list, arrays: list) -> None:
    """Other numbers for each, in the form of those that it has."""
    write_all(holders, "data", [
        np.array(array, dtype=data.dtype) if isinstance(data, np.ndarray)
        else np.asarray(array).tolist() if isinstance(data, list) else float(array)
        for data, array in zip(read_all(holders, "data"), arrays)])


def get_grad(holders: list) -> list[np.ndarray]:
    """The gradient of each, in the shape of its numbers."""
    pairs = zip(read_all(holders, "grad"), get_data(holders))
    return [np.broadcast_to(0.0 if grad is None else as_array(grad), data.shape)
            for grad, data in pairs]


def clear(holders: list) -> None:
    """Gradients to zero, as a training loop does it."""
    some = [(holder, grad) for holder, grad in zip(holders, read_all(holders, "grad"))
            if grad is not None]
    write_all([holder for holder, _ in some], "grad", [
        np.zeros_like(grad) if isinstance(grad, np.ndarray) else 0.0 for _, grad in some])


# ---- what an object holds -----------------------------------------------------------------------


def is_ours(thing: object) -> bool:
    """Does this class or function come from the package?"""
    return (getattr(thing, "__module__", None) or "").split(".")[0] == "minigpt_helpers"


def with_numbers(things: list) -> list:
    """Those of them that have `.data` and `.grad`."""
    could = [thing for thing in things if not isinstance(thing, _NO_PARTS)]
    has = zip(could, read_all(could, "data", ...), read_all(could, "grad", ...))
    return [thing for thing, data, grad in has if data is not ... and grad is not ...]


def inside(root: object, stop: tuple = ()) -> Iterator[object]:
    """All objects in the attributes of an object, also in lists and dictionaries, each once.

    What is in an instance of a class in `stop` is left out, and what is in numbers.
    """
    seen = {id(root): root}  # kept, so that no other object gets the same identity

    def single(part: object) -> Iterator[object]:
        if part is None or isinstance(part, (*_NO_PARTS, int, float)) or id(part) in seen:
            return
        seen[id(part)] = part
        if isinstance(part, (list, tuple, dict)):
            for item in part.values() if isinstance(part, dict) else part:
                yield from single(item)
        else:
            yield part

    level = [root]
    while level:
        closed = set(map(id, with_numbers(level)))
        opened = [thing for thing in level if id(thing) not in closed and (
            thing is root or not isinstance(thing, stop))]
        level = [part for held in read_all(opened, "__dict__", {})
                 for value in list(held.values()) for part in single(value)]
        yield from level


# ---- a part -------------------------------------------------------------------------------------


class Part:
    """A module of the student's: made by its class, or found inside another one."""

    def __init__(
        self, numbers: Numbers, maker: type, *sizes: int, module: object = None
    ) -> None:
        self.numbers, self.maker = numbers, maker
        numbers.case.next_call()
        self.module = maker(*sizes) if module is None else module
        if is_blank(self.module):
            raise NotDone("calling your class gives nothing")
        self._params: list | None = None

    @property
    def params(self) -> list:
        """What `parameters()` lists: objects with numbers and a gradient."""
        if self._params is None:
            found = getattr(self.module, "parameters", None)
            if found is None:
                raise Miss("your class has no method parameters()", [
                    "It returns all parameters in one list; the package's `Module` has one."])
            self.numbers.case.next_call()
            found = found()
            if is_blank(found):
                raise NotDone(f"parameters() gives {show(found)}")
            self._params = list(flat(found))
            fine = set(map(id, with_numbers(self._params)))
            for bad in (p for p in self._params if id(p) not in fine):
                raise Miss(f"parameters() lists {kind(bad)}, which cannot be trained", [
                    "A parameter has its numbers in `.data` and its gradient in `.grad`: a Tensor "
                    "or a Value, for instance. A plain array or number has no gradient."])
            if len(set(map(id, self._params))) < len(self._params):
                raise Miss("parameters() lists a parameter twice", [
                    "A step of training would move it twice. List each once."])
            if not self._params:
                raise NotDone("parameters() is empty: keep them as attributes")
        return self._params

    def run(self, given: object, **options: object) -> object:
        """The student's result for an input in the student's form."""
        self.numbers.case.next_call()
        call = self.module if callable(self.module) else self.module.forward
        return call(given, **options)

    def __call__(self, array: np.ndarray, **options: object) -> np.ndarray:
        return self.numbers.read(self.run(self.numbers.give(array), **options))

    def rows(self, ids: object) -> np.ndarray:
        """The result for ids, given as a list."""
        return self.numbers.read(self.run([int(i) for i in ids]))

    def count(self) -> int:
        """How many numbers its parameters hold."""
        return total(self.params)

    def fill(self, make: Callable[[tuple[int, ...]], np.ndarray]) -> Part:
        """Set every parameter to `make(shape)`."""
        set_data(self.params, [make(data.shape) for data in get_data(self.params)])
        return self

    def randomise(self, size: float = 0.5) -> Part:
        """Random parameters, none near 0: how they were at first does not matter any more."""
        rng = self.numbers.case.rng
        return self.fill(lambda s: size * rng.choice([-1, 1], s) * rng.uniform(0.5, 1.5, s))

    def values(self) -> np.ndarray:
        """All numbers of its parameters in a row."""
        return np.concatenate([data.ravel() for data in get_data(self.params)])

    def moved(
        self, call: Callable[[], np.ndarray], step: float, most: int = 1000
    ) -> Iterator[np.ndarray]:
        """What `call()` gives with one number moved, for each number in the parameters, or for
        `most` of them at random."""
        starts = get_data(self.params)
        places = [(k, i) for k, start in enumerate(starts) for i in range(start.size)]
        if len(places) > most:
            order = self.numbers.case.rng.permutation(len(places))[:most]
            places = [places[k] for k in order]
        for k, i in places:
            changed = starts[k].copy()
            changed.flat[i] += step
            set_data([self.params[k]], [changed])
            yield call()
            set_data([self.params[k]], [starts[k]])


def total(holders: list) -> int:
    """How many numbers are in them."""
    return sum(data.size for data in get_data(holders))


def own_class(thing: type, name: str) -> None:
    """Not a stub, and not the package's class of this name, nor made from it."""
    does = [k for k in thing.__mro__ if {"forward", "__call__"} & set(vars(k))]
    if all(is_ours(k) and k.__name__ == "Module" for k in does):
        raise NotDone("your class has no `forward` yet")
    if any(is_ours(k) and k.__name__ != "Module" for k in thing.__mro__):
        raise Miss(f"that is the package's own {name}", ["Write it yourself: that is the exercise."])


def own_parts(module: object) -> None:
    """None of its parts is a layer of the package's."""
    for part in inside(module):
        home = type(part).__module__ or ""
        if home == "minigpt_helpers.nn":
            raise Miss(f"inside is the package's own {type(part).__name__}", [
                "Write it yourself: that is the exercise."])


# ---- properties that all parts share ------------------------------------------------------------


def everything_listed(numbers: Numbers, maker: type, *sizes: int) -> None:
    """Every parameter is in parameters(): those that are not differ in two objects of the class,
    or hold nothing but 0 or 1, as biases and scales do at first."""
    with numbers.case("parameters() lists every parameter", essential=True):
        one, twin = (Part(numbers, maker, *sizes) for _ in range(2))
        ids, missing = set(map(id, one.params)), 0
        values, others = (with_numbers(list(inside(part.module))) for part in (one, twin))
        for value, data, other in zip(values, get_data(values), get_data(others)):
            plain = data.ndim > 0 and len(set(data.flat)) == 1 and data.flat[0] in (0, 1)
            if id(value) not in ids and (plain or not np.array_equal(data, other)):
                missing += data.size
        expect(missing == 0, f"{missing} numbers with a gradient are not in parameters()", (
            "What is not in the list is never trained. Collect those of all parts."
        ))


def stays(numbers: Numbers, part: Part, array: np.ndarray) -> None:
    """The part does not change its input."""
    with numbers.case("the input stays as it is"):
        given = numbers.give(array)
        part.run(given)
        expect(np.array_equal(numbers.read(given), numbers.read(numbers.give(array))), (
            "your part changes its input"
        ), "Compute new numbers; `x -= mean` and `x.data[...] = ` write into the old ones.")


def gradients(
    numbers: Numbers, part: Part, x: np.ndarray | list, spare: int | None = None
) -> None:
    """backward() gives what small steps measure, for every parameter and for the input.

    `x` may be a list of ids. At most `spare` numbers may change nothing; None: not looked at.
    """
    with numbers.case("gradients", essential=True):
        for _ in range(3):  # a kink of ReLU may lie within a step, but hardly three times
            unlike, still = _slopes(numbers, part, x)
            if not unlike and (spare is None or still <= spare):
                break
            part.randomise()
        expect(not unlike, unlike, _CUT)
        expect(spare is None or still <= spare, f"{still} numbers in the parameters change nothing "
               "in the result", "Is something made, but not used?")


def _slopes(numbers: Numbers, part: Part, x: np.ndarray | list) -> tuple[str, int]:
    """How gradients and small steps differ, in words, and how many numbers change nothing."""
    given = x if isinstance(x, list) else numbers.give(x)
    out = part.run(given)
    weights = numbers.case.rng.normal(size=numbers.read(out).shape)
    try:
        loss = numbers.weighted_sum(out, weights)
    except TimeLimit:
        raise
    except Exception as error:
        raise Miss(f"the result could not be multiplied by numbers and added up: {said(error)}", [
            "Your numbers have `*` and `+`; what holds a whole array has `sum()`, too."
        ]) from None
    expect(hasattr(loss, "backward"), "the result has no backward()", (
        "It is a plain number or array: it has left the graph. Compute with your numbers."))
    found = [] if given is x else with_numbers(list(flat(given)))
    holders = [*part.params, *found]
    clear(holders)
    numbers.case.next_call()
    loss.backward()
    grads = get_grad(holders)
    expect(all(np.isfinite(grad).all() for grad in grads), "a gradient is NaN or infinite")
    still = sum(int((np.abs(grad) < 1e-13).sum()) for grad in grads[: len(part.params)])
    groups = np.array_split(np.arange(len(holders)), min(len(holders), 10))
    for group in groups:
        some = [holders[i] for i in group]

        def now():
            terms = weights * numbers.read(part.run(given))
            return float(terms.sum()), float(np.abs(terms).sum())

        where = "the input" if group[0] >= len(part.params) else "the parameters"
        if text := _slope(numbers.case.rng, some, [grads[i] for i in group], now, where):
            return text, still
    return "", still


def _slope(rng, holders: list, grads: list, now: Callable, where: str) -> str:
    """The change along a random direction, measured and by gradients; "" if they agree."""
    kept = read_all(holders, "data")
    coarse = any(np.asarray(data).dtype in (np.float32, np.float16) for data in kept)
    starts = get_data(holders)
    steps = [rng.choice([-1, 1], start.shape) * rng.uniform(0.5, 1, start.shape)
             for start in starts]
    slope = sum(float((grad * step).sum()) for grad, step in zip(grads, steps))
    for h in (1e-2, 2e-3, 3e-4) if coarse else (1e-5, 1e-7):
        ends = []
        for sign in (1, -1):
            set_data(holders, [start + sign * h * step for start, step in zip(starts, steps)])
            ends.append(now())
        set_data(holders, starts)
        measured, size = (ends[0][0] - ends[1][0]) / (2 * h), ends[0][1]
        near = (3e-2, 1e-3) if coarse else (1e-4, 1e-13 / h)
        if abs(slope - measured) <= near[0] * abs(measured) + near[1] * (1 + size):
            return ""
    if slope == 0:
        return f"no gradient arrives at {where}, and yet they change the result"
    return (f"a small step of {where} changes the result by {measured:.4f} for each unit, by your "
            f"gradients it should be {slope:.4f}")


def finite(array: np.ndarray, what: str = "the result", hint: str = "") -> np.ndarray:
    expect(np.isfinite(array).all(), f"there is a NaN or an infinity in {what}", hint)
    return array


def largest(array: np.ndarray) -> float:
    return float(np.abs(array).max(initial=0.0)) or math.ulp(0.0)
