"""Checks of arguments, for all lessons: a wrong one raises a ``ValueError`` that names it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Real

import numpy as np


class MissingFileError(FileNotFoundError, ValueError):
    """There is no file at a path that was given."""


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
            f"data must be one list of whole numbers, not an array of shape {array.shape} and type "
            f"{array.dtype}. Turn text into ids with tokenizer.encode(text)."
        )
    return array


def check_sizes(**sizes: int) -> None:
    """A ``ValueError`` that names the first of ``sizes`` that is no whole number above 0."""
    for name, size in sizes.items():
        if not isinstance(size, (int, np.integer)) or size < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, not {size!r}")


def check_rng(rng: np.random.Generator | None) -> np.random.Generator:
    """``rng`` itself, or a fresh generator for ``None``; anything else: ``ValueError``."""
    if rng is None:
        return np.random.default_rng()
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng must be a numpy Generator, not {rng!r}: np.random.default_rng(0)")
    return rng


def check_lr(lr: float) -> float:
    """``lr`` itself, if it is a number of at least 0."""
    if not (isinstance(lr, Real) and 0 <= lr < np.inf):
        raise ValueError(f"lr must be a number of at least 0, not {lr!r}")
    return lr
