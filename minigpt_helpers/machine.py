"""Settings of the machine that make training (lesson 5) faster: freed memory and BLAS threads."""

from __future__ import annotations

import ctypes
import sys

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def keep_freed_memory() -> None:
    """Asks the allocator of glibc (Linux) to keep freed memory for the next step.

    By default it gives large arrays back to the system at once, and every step would pay for
    getting, and zeroing, the same memory again: up to a third of the time.
    """
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(-3, 32 * 1024 * 1024)  # M_MMAP_THRESHOLD: the largest value it takes
        _libc.mallopt(-1, 1024 * 1024 * 1024)  # M_TRIM_THRESHOLD: up to 1 GB is kept


def give_freed_memory_back() -> None:
    """The reverse, when training is over."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
