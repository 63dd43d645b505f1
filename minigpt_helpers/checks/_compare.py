"""Compare what the student's code gave with what was expected, and say the difference in words.

Rounding is not a mistake: a float may be off by 1e-5 of the largest number that was expected, and
by 2e-7 of the largest number that was given, which is what computing in float32 costs.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

TOLERANCE = 1e-5
Mistakes = Sequence[tuple[object, str]]  # (wrong value or wrong function, hint)


class Miss(Exception):
    """A property does not hold: `str(miss)` says how, `hints` what the likely mistake is.

    `tried` are the hints of all known mistakes, `matched` of those that give the same result.
    """

    def __init__(
        self,
        text: str,
        hints: Sequence[str] = (),
        matched: Sequence[str] = (),
        tried: Sequence[str] = (),
    ) -> None:
        super().__init__(text)
        self.hints = [hint for hint in hints if hint]
        self.matched, self.tried = list(matched), set(tried)


class NotDone(Exception):
    """The exercise is still a stub."""


# ---- values as numbers --------------------------------------------------------------------------


def is_blank(value: object) -> bool:
    """Is this what an unfinished stub gives: `...`, None or NotImplemented?"""
    return value is ... or value is None or value is NotImplemented


def as_array(value: object) -> np.ndarray:
    """Numbers, arrays, Tensors (anything with `.data`) and nested lists of them, as float64."""
    return numbers(value).astype(np.float64)


def numbers(value: object) -> np.ndarray:
    if is_blank(value):
        raise NotDone(f"got {show(value)}")
    if isinstance(value, Iterator):
        value = list(value)
    if isinstance(value, (list, tuple)):
        parts = [numbers(part) for part in value]
        if len({part.shape for part in parts}) > 1:
            shapes = sorted({part.shape for part in parts})
            raise Miss(f"expected a regular array, got rows of different shapes: {shapes}")
        return np.array(parts)
    if not isinstance(value, (np.ndarray, np.generic)) and hasattr(value, "data"):
        return numbers(value.data)
    array = np.asarray(value)
    if array.dtype == object and any(is_blank(item) for item in array.flat):
        raise NotDone("there is still a blank in the result")
    if array.dtype.kind not in "biuf":
        raise Miss(f"expected numbers, got {kind(value)}: {show(value)}")
    return array


def plain(value: object) -> object:
    """Arrays, tuples, Tensors and iterators as (nested) lists, so that `==` compares them."""
    if value is ...:
        raise NotDone("there is still a blank in the result")
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, (list, tuple, range, Iterator)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, set, frozenset)):
        return value
    if hasattr(value, "data"):
        return plain(value.data)
    raise Miss(f"got {kind(value)}: {show(value)}")  # with an `__eq__` of its own, perhaps


def has_floats(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(has_floats, value))
    if isinstance(value, dict):
        return any(map(has_floats, value.values()))
    if not isinstance(value, (np.ndarray, np.generic)):
        value = getattr(value, "data", value)
    return isinstance(value, (float, np.ndarray, np.generic)) and np.asarray(value).dtype.kind == "f"


def size_of(values: object) -> float:
    """The largest finite float in the given inputs, which sets how far rounding may be off."""
    if isinstance(values, (list, tuple)):
        return max(map(size_of, values), default=0.0)
    if not has_floats(values) or isinstance(values, dict):
        return 0.0
    array = np.abs(as_array(values))
    return float(np.max(array, initial=0.0, where=np.isfinite(array)))


# ---- values as words ----------------------------------------------------------------------------


def number(x: float) -> str:
    """A number in at most four decimals; a very small one as `2e-07`, so that it is not 0."""
    x = float(x)
    if x == int(x) if np.isfinite(x) else True:
        return f"{x:.0f}" if abs(x) < 1e15 or not np.isfinite(x) else f"{x:.4g}"
    return f"{x:.4f}" if abs(x) >= 1e-3 else f"{x:.1e}"


def show(value: object) -> str:
    """A value in few words, the same on every run (no addresses, sets in order)."""
    if value is ...:
        return "`...`"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if inspect.isroutine(value):
        name = getattr(value, "__name__", "a function")
        return "a lambda" if name == "<lambda>" else f"the function {name}"
    if hasattr(value, "data") and not isinstance(value, (np.ndarray, np.generic, memoryview)):
        return show(value.data)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        if value.ndim == 0:
            return number(value)
        first = ", ".join(number(x) for x in value.flat[:6])
        if value.ndim == 1 and value.size <= 6:
            return f"[{first}]"
        return f"an array of shape {value.shape}: {first}{', ...' if value.size > 6 else ''}"
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (float, np.generic)) and not isinstance(value, np.str_):
        return number(value)
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(repr(item) for item in value)[:6]) + "}"
    if isinstance(value, (list, tuple)):
        items = ", ".join(show(item) for item in value[:6]) + (", ..." if len(value) > 6 else "")
        return f"[{items}]" if isinstance(value, list) else f"({items})"
    if isinstance(value, np.random.Generator):
        return "a generator"
    if type(value).__repr__ is object.__repr__:
        return f"an object of the class {type(value).__name__}"
    text = steady(repr(value))
    return text if len(text) <= 60 else text[:57] + "..."


def steady(text: str) -> str:
    """The text without memory addresses, which change from run to run."""
    return re.sub(r" at 0x[0-9A-Fa-f]+", "", text)


def kind(value: object) -> str:
    """What sort of thing a value is, with its article."""
    name = type(value).__name__
    known = {"str": "a string", "list": "a list", "dict": "a dict", "set": "a set",
             "ndarray": "an array", "NoneType": "None"}
    return known.get(name, "an " + name if name[:1] in "aeiou" else "a " + name)


# ---- differences --------------------------------------------------------------------------------


def _number_difference(got: object, expected: object, tol: float, size: float) -> str:
    got, expected = as_array(got), as_array(expected)
    if got.shape != expected.shape:
        text = f"expected shape {expected.shape}, got {got.shape}"
        if got.shape == expected.shape[::-1]:
            return text + ": the axes are in the opposite order"
        if got.size == expected.size:
            return text + ": as many numbers, arranged in another way"
        return text
    finite = np.isfinite(expected)
    largest = float(np.max(np.abs(expected), initial=0.0, where=finite))
    wrong = ~np.isclose(
        got, expected, rtol=tol, atol=tol * (largest + min(size, 1000) / 50) or tol, equal_nan=True
    )
    if not wrong.any():
        return ""
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    where = f" at {list(at)}" if at else ""
    text = f"expected {number(expected[at])}{where}, got {number(got[at])}"
    if number(expected[at]) == number(got[at]):
        text += f" (they differ by {abs(got[at] - expected[at]):.0e})"
    if wrong.size > 1:
        text += f"; {int(wrong.sum())} of {wrong.size} numbers differ"
    return text + (_clue(got, expected) if np.isfinite(got[at]) else "")


def _clue(got: np.ndarray, expected: np.ndarray) -> str:
    """What is plain to see when a wrong array is compared with the right one."""

    def same(a, b):
        return np.allclose(a, b, rtol=1e-5, atol=1e-6)

    if not np.isfinite(expected).all():
        return ""
    if not np.isfinite(got).all():
        return ". There is a NaN or an infinity in your result"
    if got.size < 2:
        return ""
    if not got.any():
        return ". Your numbers are all 0"
    largest = np.unravel_index(np.argmax(np.abs(expected)), expected.shape)
    factor = number(got[largest] / expected[largest]) if expected[largest] else "0"
    if factor not in ("0", "1", "1.0000") and same(got, float(factor) * expected):
        return f". Each of your numbers is {factor} times the expected one"
    shift = number(got.flat[0] - expected.flat[0])
    if same(got - got.flat[0], expected - expected.flat[0]) and float(shift):
        return f". All your numbers are off by {shift}"
    if got.ndim > 1 and got.shape == got.T.shape and same(got.T, expected):
        return ". Your array is the transpose of the expected one"
    if got.ndim > 1 and len(got) > 1 and same(got, got[:1]) and not same(expected, expected[:1]):
        return ". All your rows are the same"
    if same(got, np.trunc(expected)) or same(got, np.round(expected)):
        return ". Your numbers are whole"
    if same(np.sort(got, axis=None), np.sort(expected, axis=None)):
        return ". The numbers are right, but in another order"
    return ""


def _plain_difference(got: object, expected: object) -> str:
    expected = plain(expected)
    try:
        got = plain(got)
    except Miss:
        return f"expected {kind(expected)}, got {kind(got)}: {show(got)}"
    if got is None and expected is not None:
        raise NotDone("got None")
    if got == expected:
        return ""
    both = isinstance(got, (int, float)) and isinstance(expected, (int, float))
    if type(got) is not type(expected) and not both:
        return f"expected {kind(expected)}, got {kind(got)}: {show(got)}"
    if isinstance(expected, (list, str)) and len(expected) > 1:
        for i, (one, other) in enumerate(zip(got, expected)):
            if one != other:
                return (
                    f"expected {show(expected)}, got {show(got)}; "
                    f"at [{i}] expected {show(other)}, got {show(one)}"
                )
        return f"expected {len(expected)} items, got {len(got)}: {show(got)}"
    if isinstance(expected, (dict, set)):
        missing = sorted(map(repr, set(expected) - set(got)))[:4]
        extra = sorted(map(repr, set(got) - set(expected)))[:4]
        parts = [f"missing: {', '.join(missing)}"] * bool(missing)
        parts += [f"not expected: {', '.join(extra)}"] * bool(extra)
        if not parts:
            key = next(key for key in expected if got[key] != expected[key])
            parts = [f"for {key!r} expected {show(expected[key])}, got {show(got[key])}"]
        return "; ".join(parts)
    return f"expected {show(expected)}, got {show(got)}"


def difference(got: object, expected: object, tol: float | None, size: float = 0.0) -> str:
    """In words, or "" if there is none; `tol` None compares exactly."""
    if tol is None or isinstance(expected, (str, set)):
        return _plain_difference(got, expected)
    try:
        as_array(expected)
    except Miss:  # a collection of arrays of several shapes: part by part
        got = list(got) if isinstance(got, Iterator) else got
        if not isinstance(got, (list, tuple, dict)):
            return f"expected {len(expected)} items, got {kind(got)}: {show(got)}"
        keys = list(expected) if isinstance(expected, dict) else list(range(len(expected)))
        if (list(got) if isinstance(got, dict) else list(range(len(got)))) != keys:
            return f"expected {len(expected)} items, got {len(got)}: {show(got)}"
        parts = ((key, difference(got[key], expected[key], tol, size)) for key in keys)
        return next((f"[{key!r}]: {text}" for key, text in parts if text), "")
    return _number_difference(got, expected, tol, size)


def _matching_hints(got: object, expected: object, tol: float | None, mistakes: Mistakes) -> list:
    """Hints of the known mistakes that give just what the student's code gave."""
    hints = []
    for wrong, hint in mistakes:
        try:
            with np.errstate(all="ignore"):
                value = wrong() if callable(wrong) else wrong
            if difference(value, expected, tol) and not difference(got, value, tol):
                hints.append(hint)
        except (Exception, NotDone):  # a wrong way may well fail on this input
            continue
    return hints


def _expect(got, expected, what, tol, hint, mistakes, size=0.0) -> None:
    got = list(got) if isinstance(got, Iterator) else got
    text = difference(got, expected, tol, size)
    if text:
        matched = [] if is_blank(got) else _matching_hints(got, expected, tol, mistakes)
        tried = [text for _, text in mistakes]
        raise Miss(f"{what}: {text}" if what else text, [hint], matched, tried)


# ---- what authors of checks call ----------------------------------------------------------------


def expect(condition: object, sentence: str, hint: str = "") -> None:
    """The property holds if `condition` is true; else `sentence` tells the student what is wrong."""
    if not condition:
        raise Miss(sentence, [hint])


def expect_close(
    got: object,
    expected: object,
    what: str = "",
    *,
    tol: float = TOLERANCE,
    hint: str = "",
    mistakes: Mistakes = (),
) -> None:
    """Numbers of any form, equal in shape and up to rounding."""
    _expect(got, expected, what, tol, hint, mistakes)


def expect_equal(
    got: object, expected: object, what: str = "", *, hint: str = "", mistakes: Mistakes = ()
) -> None:
    """Strings, whole numbers, lists, dicts, sets: exactly equal (tuple, list, array are one)."""
    _expect(got, expected, what, None, hint, mistakes)


def expect_same(
    student: Callable,
    reference: Callable,
    *args: object,
    what: str = "",
    tol: float = TOLERANCE,
    hint: str = "",
    mistakes: Sequence[tuple[Callable, str]] = (),
) -> None:
    """`student(*args)` agrees with `reference(*args)`; `mistakes` are (wrong reference, hint)."""
    expected = reference(*args)
    tolerance = tol if has_floats(expected) else None
    wrong = [(lambda f=f: f(*args), text) for f, text in mistakes]
    try:
        _expect(student(*args), expected, what, tolerance, hint, wrong, size_of(args))
    except Miss as miss:
        text = "\n".join([str(miss), *inputs_in_words(reference, args)])
        raise Miss(text, miss.hints, miss.matched, miss.tried) from None


def inputs_in_words(fn: Callable, args: tuple, skipped: int = 0) -> list[str]:
    """The inputs by their names; functions, and what begins with _, say nothing to the reader."""
    names = list(inspect.signature(fn).parameters)[skipped:]
    return [f"{name} = {show(arg)}" for name, arg in zip(names, args)
            if not callable(arg) and not name.startswith("_")]


def mentions(error: BaseException, word: object) -> bool:
    """Does the message hold this word? A number counts only as a whole number, not as a digit."""
    return re.search(rf"(?<!\w){word}(?!\w)" if isinstance(word, int) else re.escape(str(word)),
                     str(error)) is not None
