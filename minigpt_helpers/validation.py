"""Checks of arguments, for all lessons: a wrong one raises a ``ValueError`` that names it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral, Real
from pathlib import Path

import numpy as np


class FileError(OSError, ValueError):
    """A path that can't be used, with the reason."""


class MissingFileError(FileNotFoundError, FileError):
    """There is no file or folder at a path that was given."""


def check_ids(ids: Iterable[int] | np.ndarray, vocab_size: int) -> np.ndarray:
    """``ids`` as an integer array, or a ``ValueError`` that names the first id out of range."""
    try:
        known = isinstance(ids, (np.ndarray, list, int, np.integer))  # one id is a 0-d array
        array = np.asarray(ids if known else list(ids))
    except (TypeError, ValueError) as error:
        raise ValueError(f"token ids must be a list of whole numbers, not {ids!r:.80}") from error
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise ValueError(
            f"token ids must be whole numbers, but these are of type {array.dtype}: {ids!r:.80}. "
            "Turn text into ids with tokenizer.encode(text)."
        )
    if array.min() < 0 or array.max() >= vocab_size:
        where = tuple(int(i) for i in np.argwhere((array < 0) | (array >= vocab_size))[0])
        raise ValueError(
            f"the id {array[where]} at position {where[0] if len(where) == 1 else where} is out of "
            f"range: with {vocab_size} tokens the ids are 0 to {vocab_size - 1}."
        )
    return array


def check_data(data: Sequence[int] | np.ndarray) -> np.ndarray:
    """``data`` as an integer array ``(N,)``; anything but one list of whole numbers is refused."""
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ValueError(f"data must be one list of token ids, not {data!r:.80}") from error
    if array.shape == (0,):
        return array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"data must be one list of whole numbers, not {data!r:.80} of shape {array.shape} and "
            f"type {array.dtype}. Turn text into ids with tokenizer.encode(text)."
        )
    return array


def check_model_and_data(model, data: Sequence[int] | np.ndarray) -> np.ndarray:
    """``data`` as an integer array of ids that ``model`` knows."""
    if not callable(model) or isinstance(model, type):
        raise ValueError(f"the model must be one like MiniGPT(...), not {model!r:.80}")
    data = check_data(data)
    return check_ids(data, model.vocab_size) if hasattr(model, "vocab_size") else data


def check_int(name: str, value: int, least: int = 1) -> int:
    """``value`` itself, a whole number from ``least`` on that an array can have; not ``True``."""
    if not isinstance(value, Integral) or isinstance(value, bool) or not least <= value < 2**63:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r:.80}")
    return int(value)


def check_sizes(**sizes: int) -> list[int]:
    """``sizes``, or a ``ValueError`` that names the first that is no whole number above 0."""
    return [check_int(name, size) for name, size in sizes.items()]


def check_list(expected: str, value: Iterable) -> list:
    """The entries of ``value``; where it has none, a ``ValueError`` that says what is expected."""
    try:
        return list(value)
    except TypeError:
        raise ValueError(f"expected {expected}, not {value!r:.80}") from None


def check_number(name: str, value: float, fits: Callable[[float], bool], expected: str) -> float:
    """``value`` itself, a real number that ``fits``; NaN never does, since it compares as false."""
    try:
        if isinstance(value, Real) and not isinstance(value, bool) and fits(float(value)):
            return value
    except OverflowError:
        pass
    raise ValueError(f"{name} must be a number {expected}, not {value!r:.80}")


def check_not_negative(**values: float) -> None:
    """A ``ValueError`` that names the first of ``values`` that is no finite number from 0 on."""
    for name, value in values.items():
        check_number(name, value, lambda x: 0 <= x < np.inf, "of at least 0")


def check_rng(rng: np.random.Generator | None) -> np.random.Generator:
    """``rng`` itself, or a fresh generator for ``None``; anything else: ``ValueError``."""
    if rng is None:
        return np.random.default_rng()
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng must be a numpy Generator, not {rng!r:.60}: default_rng(0)")
    return rng


def check_dtype(dtype) -> np.dtype:
    """``dtype`` as numpy's, if it is a float type."""
    try:
        if dtype is not None and np.dtype(dtype).kind == "f":
            return np.dtype(dtype)
    except TypeError:
        pass
    raise ValueError(f"dtype must be a float type, np.float32 or np.float64, not {dtype!r:.80}")


def check_path(path: str | os.PathLike) -> Path:
    """``path`` as a ``Path`` that may be asked for; ``~`` is the home folder."""
    if not isinstance(path, (str, os.PathLike)) or isinstance(os.fspath(path), bytes):
        raise FileError(f"path is {path!r:.80}: expected text or a Path, like 'my.txt'")
    try:
        found = Path(path).expanduser()
        os.stat(found)
    except (FileNotFoundError, NotADirectoryError):
        pass  # what it is asked for is checked where it is used
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"{str(path)!r:.200} can't be used as a path: {reason}") from error
    return found
