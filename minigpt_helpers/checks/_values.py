"""A reader's values, as numbers to compare and as words to show."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np


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
        raise Miss(f"expected numbers, got {type(value).__name__} {show(value)}")
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
    return plain(value.data) if hasattr(value, "data") else value


def has_floats(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(has_floats, value))
    if isinstance(value, dict):
        return any(map(has_floats, value.values()))
    value = getattr(value, "data", value) if not isinstance(value, np.ndarray) else value
    return np.asarray(value).dtype.kind == "f"


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
