"""Compare what a reader's code gave with what was expected, and say the difference in words."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

Mistakes = Sequence[tuple[object, str]]  # (wrong value or wrong function, hint)


class Miss(Exception):
    """A property does not hold: `str(miss)` says how, `hints` what the likely mistake is."""

    def __init__(self, text: str, hints: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.hints = [hint for hint in hints if hint]


class NotDone(Exception):
    """The exercise is still a stub."""


def is_blank(value: object) -> bool:
    """Is this what an unfinished stub gives: `...`, None or NotImplemented?"""
    return value is ... or value is None or value is NotImplemented


# ---- values as numbers and as words -------------------------------------------------------------


def as_array(value: object) -> np.ndarray:
    """Numbers, arrays, Tensors (anything with `.data`) and nested lists of them, as float64."""
    return _numbers(value).astype(np.float64)


def _numbers(value: object) -> np.ndarray:
    if is_blank(value):
        raise NotDone(f"got {show(value)}")
    if isinstance(value, Iterator):
        value = list(value)
    if isinstance(value, (list, tuple)):
        parts = [_numbers(part) for part in value]
        if len({part.shape for part in parts}) > 1:
            shapes = sorted({part.shape for part in parts})
            raise Miss(f"expected a regular array, got rows of different shapes: {shapes}")
        return np.array(parts)
    if not isinstance(value, (np.ndarray, np.generic)) and hasattr(value, "data"):
        return _numbers(value.data)
    array = np.asarray(value)
    if array.dtype == object and any(is_blank(item) for item in array.flat):
        raise NotDone("there is still a blank in the result")
    if array.dtype.kind not in "biuf":
        raise Miss(f"expected numbers, got {type(value).__name__} {show(value)}")
    return array


def _plain(value: object) -> object:
    """Arrays, tuples, Tensors and iterators as (nested) lists, so that `==` compares them."""
    if is_blank(value):
        raise NotDone(f"got {show(value)}")
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, (list, tuple, range, Iterator)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return _plain(value.data) if hasattr(value, "data") else value


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
    if hasattr(value, "data") and not isinstance(value, (np.ndarray, np.generic, memoryview)):
        return show(value.data)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        if value.ndim == 0:
            return number(value)
        first = ", ".join(number(x) for x in value.flat[:6])
        if value.ndim == 1 and value.size <= 6:
            return f"[{first}]"
        return f"an array of shape {value.shape}: {first}{', ...' if value.size > 6 else ''}"
    if isinstance(value, (float, np.generic)) and not isinstance(value, np.str_):
        return number(value)
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(repr(item) for item in value)[:6]) + "}"
    if isinstance(value, (list, tuple)):
        items = ", ".join(show(item) for item in value[:6]) + (", ..." if len(value) > 6 else "")
        return f"[{items}]" if isinstance(value, list) else f"({items})"
    text = steady(repr(value))
    return text if len(text) <= 60 else text[:57] + "..."


def steady(text: str) -> str:
    """The text without memory addresses, which change from run to run."""
    return re.sub(r" at 0x[0-9A-Fa-f]+", "", text)


# ---- differences --------------------------------------------------------------------------------


def _number_difference(got: object, expected: object, tol: float) -> str:
    got, expected = as_array(got), as_array(expected)
    if got.shape != expected.shape:
        text = f"expected shape {expected.shape}, got {got.shape}"
        if got.shape == expected.shape[::-1]:
            return text + ": did you forget (or add) a transpose?"
        if got.size == expected.size:
            return text + ": as many numbers, arranged in another way"
        return text
    wrong = ~np.isclose(got, expected, rtol=tol, atol=tol, equal_nan=True)
    if not wrong.any():
        return ""
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    where = f" at {list(at)}" if at else ""
    text = f"expected {number(expected[at])}{where}, got {number(got[at])}"
    if number(expected[at]) == number(got[at]):
        text += f" (they differ by {abs(got[at] - expected[at]):.0e})"
    if wrong.size > 1:
        text += f"; {int(wrong.sum())} of {wrong.size} numbers differ"
    return text + _clue(got, expected, max(tol, 1e-6))


def _clue(got: np.ndarray, expected: np.ndarray, tol: float) -> str:
    """What strikes the eye when a wrong array is laid beside the right one."""

    def same(a, b):
        return np.allclose(a, b, rtol=tol, atol=tol)

    if not np.isfinite(got).all():
        return ". There is a NaN or an infinity in your result"
    if got.size < 2 or not np.isfinite(expected).all():
        return ""
    if not got.any():
        return ". Your numbers are all 0"
    largest = np.unravel_index(np.argmax(np.abs(expected)), expected.shape)
    factor = got[largest] / expected[largest] if expected[largest] else 0.0
    if factor and same(got, factor * expected):
        return f". Each of your numbers is {number(factor)} times the expected one"
    if same(got - got.flat[0], expected - expected.flat[0]):
        return f". All your numbers are off by {number(got.flat[0] - expected.flat[0])}"
    if got.ndim > 1 and got.shape == got.T.shape and same(got.T, expected):
        return ". Your array is the transpose of the expected one"
    if got.ndim > 1 and len(got) > 1 and same(got, got[:1]) and not same(expected, expected[:1]):
        return ". All your rows are the same"
    if same(got, np.trunc(expected)) or same(got, np.round(expected)):
        return ". Your numbers are whole: were they rounded, or divided with `//`?"
    if same(np.sort(got, axis=None), np.sort(expected, axis=None)):
        return ". The numbers are right, but in another order"
    return ""


def _plain_difference(got: object, expected: object) -> str:
    got, expected = _plain(got), _plain(expected)
    if type(got) is type(expected) or isinstance(got, (int, float)):
        if got == expected:
            return ""
    else:
        return f"expected {_kind(expected)}, got {_kind(got)}: {show(got)}"
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


def _kind(value: object) -> str:
    name = type(value).__name__
    return {"str": "a string", "list": "a list", "dict": "a dict", "set": "a set"}.get(name, name)


def _difference(got: object, expected: object, tol: float | None) -> str:
    if tol is None:
        return _plain_difference(got, expected)
    return _number_difference(got, expected, tol)


def _matching_hints(got: object, expected: object, tol: float | None, mistakes: Mistakes) -> list:
    """Hints of the known mistakes that give just what the reader's code gave."""
    hints = []
    for wrong, hint in mistakes:
        try:
            value = wrong() if callable(wrong) else wrong
            if _difference(value, expected, tol) and not _difference(got, value, tol):
                hints.append(hint)
        except (Exception, NotDone):  # a wrong way may well fail on this input
            continue
    return hints


def _expect(got, expected, what, tol, hint, mistakes) -> None:
    got = list(got) if isinstance(got, Iterator) else got
    text = _difference(got, expected, tol)
    if text:
        hints = [] if is_blank(got) else _matching_hints(got, expected, tol, mistakes)
        raise Miss(f"{what}: {text}" if what else text, [*hints, hint])


# ---- what authors of checks call ----------------------------------------------------------------


def expect(condition: object, sentence: str, hint: str = "") -> None:
    """The property holds if `condition` is true; else `sentence` tells the reader what is wrong."""
    if not condition:
        raise Miss(sentence, [hint])


def expect_close(
    got: object,
    expected: object,
    what: str = "",
    *,
    tol: float = 1e-8,
    hint: str = "",
    mistakes: Mistakes = (),
) -> None:
    """Numbers of any form, equal in shape and within `tol` (relative and absolute)."""
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
    tol: float = 1e-8,
    hint: str = "",
    mistakes: Sequence[tuple[Callable, str]] = (),
) -> None:
    """`student(*args)` agrees with `reference(*args)`; `mistakes` are (wrong reference, hint)."""
    expected = reference(*args)
    try:
        exact = as_array(expected).dtype and _numbers(expected).dtype.kind != "f"
    except (Miss, NotDone):
        exact = True
    wrong = [(lambda f=f: f(*args), text) for f, text in mistakes]
    try:
        _expect(student(*args), expected, what, None if exact else tol, hint, wrong)
    except Miss as miss:
        names = inspect.signature(reference).parameters
        given = [f"{name} = {show(arg)}" for name, arg in zip(names, args)]
        raise Miss("\n".join([str(miss), *given]), miss.hints) from None


def expect_raises(
    kind: type[Exception], fn: Callable, *args: object, mentions: str = "", hint: str = ""
) -> None:
    """`fn(*args)` raises `kind`, with `mentions` in its message."""
    call = f"for input {', '.join(show(arg) for arg in args)}" if args else "here"
    try:
        got = fn(*args)
    except NotImplementedError:
        raise
    except NotDone:
        raise NotDone(f"{call} a {kind.__name__} should be raised, nothing was") from None
    except kind as error:
        if mentions not in str(error):
            raise Miss(
                f"{call} the {kind.__name__} should mention {mentions!r}; "
                f"it says: {steady(str(error))!r}", [hint]
            ) from None
    except Exception as error:
        raise Miss(
            f"{call} expected a {kind.__name__}, got {type(error).__name__}: {steady(str(error))}",
            [hint],
        ) from None
    else:
        raise Miss(f"{call} expected a {kind.__name__}, but got the result {show(got)}", [hint])
