"""Settings of the machine that make training (lesson 5) faster: freed memory and BLAS threads."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import OpenBLASController, threadpool_limits

_libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None


def keep_freed_memory() -> None:
    """Asks the allocator of glibc (Linux) to keep freed memory for the next step.

    By default it gives large arrays back to the system at once, and every step would pay for
    getting, and zeroing, the same memory again: up to a third of the time. And each thread would
    have a heap of its own, which gives back more: workers take 6 % longer so.
    """
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(-3, 32 * 1024 * 1024)  # M_MMAP_THRESHOLD: the largest value it takes
        _libc.mallopt(-1, 1024 * 1024 * 1024)  # M_TRIM_THRESHOLD: up to 1 GB is kept
        _libc.mallopt(-8, 1)  # M_ARENA_MAX: one heap for all threads


def give_freed_memory_back() -> None:
    """The reverse, when training is over."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)


class _BlasLimit:
    """How many runs, in all Python threads, want one BLAS thread now, and what the limit was."""

    lock, runs = threading.Lock(), 0
    limits: threadpool_limits | None = None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS works with one thread meanwhile: the last of several runs at a time lifts the limit."""
    with _BlasLimit.lock:
        if not _BlasLimit.runs:
            _BlasLimit.limits = threadpool_limits(limits=1, user_api="blas")
        _BlasLimit.runs += 1
    try:
        yield
    finally:
        with _BlasLimit.lock:
            _BlasLimit.runs -= 1
            if _BlasLimit.limits and not _BlasLimit.runs:
                _let_any_thread_set_the_limit()  # the run that set it may have ended long ago
                _BlasLimit.limits.restore_original_limits()
                _let_any_thread_set_the_limit()


def _let_any_thread_set_the_limit() -> None:
    """From 3.8 on threadpoolctl heeds only the thread that set the first limit."""
    if hasattr(OpenBLASController, "clear_controlling_thread"):
        OpenBLASController.clear_controlling_thread(force=True)
