"""Run a reader's code so that it can neither hang nor print.

The code runs in a thread of its own. Past its deadline that thread is sent `TimeLimit` again and
again, which ends every loop written in Python, also one with a bare `except`. Code that cannot be
stopped (a long sleep, a call inside C) is left behind in its daemon thread. Signals and alarms
are not used, so this is the same on Linux, macOS and Windows, and in any thread.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import io
import random
import threading
import time
import warnings
from collections.abc import Callable

import numpy as np

GRACE = 1.0  # seconds in which code past its deadline may still be stopped
_RESEND = 0.05  # seconds


class TimeLimit(BaseException):
    """Sent into code that runs too long; not an `Exception`, so that few handlers catch it."""


class Clock:
    """The deadline of what runs now: `start(seconds)` moves it, `given_up` says nobody waits."""

    def __init__(self, seconds: float) -> None:
        self.given_up = False
        self.start(seconds)

    def start(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds


class _Nowhere(io.TextIOBase):
    def write(self, text: str) -> int:
        return len(text)


def _send_time_limit(thread: threading.Thread) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident), ctypes.py_object(TimeLimit)
    )


def run_with_limit(work: Callable[[], None], clock: Clock) -> bool:
    """Run `work()`, which must not raise; return False if it had to be left behind.

    A `KeyboardInterrupt` from the user ends the wait, stops the work and passes through.
    """
    done = threading.Event()  # `join` itself loses count when an interrupt comes in Python 3.11

    def run() -> None:
        with contextlib.suppress(TimeLimit):  # one that comes just after the work was done
            try:
                work()
            finally:
                done.set()

    context = contextvars.copy_context()
    worker = threading.Thread(target=context.run, args=(run,), daemon=True)
    worker.start()
    try:
        while not done.wait(_RESEND):  # short, so that Windows too hears the user's interrupt
            late = time.monotonic() - clock.deadline
            if late > GRACE:
                return False
            if late > 0:
                _send_time_limit(worker)
        return True
    finally:
        if not done.is_set():
            clock.given_up = True
            _send_time_limit(worker)


@contextlib.contextmanager
def quiet():
    """Swallow what is printed, collect warnings, seed the global generators; undo all after."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    random.seed(0)
    np.random.seed(0)
    try:
        with (
            contextlib.redirect_stdout(_Nowhere()),
            contextlib.redirect_stderr(_Nowhere()),
            warnings.catch_warnings(record=True) as caught,
        ):
            warnings.simplefilter("always")
            yield caught
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
