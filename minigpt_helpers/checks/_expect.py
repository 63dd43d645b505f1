"""Compare what a reader's code gave with what was expected, and say the difference in words."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from minigpt_helpers.checks._values import (
    Miss,
    NotDone,
    as_array,
    has_floats,
    is_blank,
    number,
    plain,
    show,
    steady,
)

Mistakes = Sequence[tuple[object, str]]  # (wrong value or wrong function, hint)


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
    got, expected = plain(got), plain(expected)
    if got is None and expected is not None:
        raise NotDone("got None")
    if got == expected:
        return ""
    both = isinstance(got, (int, float)) and isinstance(expected, (int, float))
    if type(got) is not type(expected) and not both:
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
    """In words, or "" if there is none; `tol` None compares exactly."""
    if tol is None or isinstance(expected, (str, set)):
        return _plain_difference(got, expected)
    try:
        as_array(expected)
    except Miss:  # a collection of arrays of several shapes: part by part
        got = list(got) if isinstance(got, Iterator) else got
        if not isinstance(got, (list, tuple, dict)):
            return f"expected {len(expected)} items, got {_kind(got)}: {show(got)}"
        keys = list(expected) if isinstance(expected, dict) else list(range(len(expected)))
        if (list(got) if isinstance(got, dict) else list(range(len(got)))) != keys:
            return f"expected {len(expected)} items, got {len(got)}: {show(got)}"
        parts = ((key, _difference(got[key], expected[key], tol)) for key in keys)
        return next((f"[{key!r}]: {text}" for key, text in parts if text), "")
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
    tolerance = tol if has_floats(expected) else None
    wrong = [(lambda f=f: f(*args), text) for f, text in mistakes]
    try:
        _expect(student(*args), expected, what, tolerance, hint, wrong)
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
