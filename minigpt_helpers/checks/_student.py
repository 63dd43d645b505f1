"""Run the student's code so that it can neither hang nor print, and explain how it failed.

The code runs in its own thread. Past its deadline that thread is sent `TimeLimit` again and again,
which ends every loop written in Python, also one with a bare `except`. Code that cannot be stopped
(a long sleep, a call inside C) is abandoned in its daemon thread. Signals and alarms are not used,
so this is the same on Linux, macOS and Windows, and in any thread.
"""

from __future__ import annotations

import ast
import contextlib
import contextvars
import copy
import ctypes
import io
import linecache
import random
import sysconfig
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import CodeType

import numpy as np

from minigpt_helpers.checks._compare import Miss, NotDone, steady

GRACE = 1.0  # seconds in which code past its deadline may still be stopped
_RESEND = 0.05  # seconds


class TimeLimit(BaseException):
    """Sent into code that runs too long; not an `Exception`, so that few handlers catch it."""


class Stopped(BaseException):
    """Ends a check whose time is used up."""


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
    """Run `work()`, which must not raise; return False if it had to be abandoned.

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
            np.errstate(all="warn", under="ignore"),
        ):
            warnings.simplefilter("always")
            yield caught
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def seed_globals(number: int) -> None:
    """Seed the global generators that the student's code may draw from."""
    random.seed(number)
    np.random.seed(number)


# ---- its inputs ---------------------------------------------------------------------------------


def fresh(value: object) -> object:
    """A copy of an input made of plain data or of a generator; other objects are passed as is."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, (list, tuple)):
        return type(value)([fresh(item) for item in value])
    if isinstance(value, dict):
        return {key: fresh(item) for key, item in value.items()}
    return copy.deepcopy(value) if isinstance(value, np.random.Generator) else value


def snapshot(value: object) -> object:
    """What `unchanged` compares an input with: its numbers now."""
    if hasattr(value, "parameters") and not isinstance(value, type):
        return [snapshot(p) for p in value.parameters()]
    data = getattr(value, "data", None)
    if isinstance(data, np.ndarray) and not isinstance(value, np.ndarray):
        return data.copy()
    if isinstance(value, (list, tuple)):
        return [snapshot(item) for item in value]
    if isinstance(value, dict):
        return {key: snapshot(item) for key, item in value.items()}
    return fresh(value)


def unchanged(value: object, before: object) -> bool:
    if isinstance(value, np.ndarray):
        floats = value.dtype.kind == "f"
        return value.shape == before.shape and np.array_equal(value, before, equal_nan=floats)
    if isinstance(value, (list, tuple)):
        return len(value) == len(before) and all(map(unchanged, value, before))
    if isinstance(value, dict):
        return value.keys() == before.keys() and all(unchanged(value[k], before[k]) for k in value)
    if hasattr(value, "parameters") and not isinstance(value, type):
        return unchanged([p.data for p in value.parameters()], before)
    if isinstance(before, np.ndarray):
        return unchanged(value.data, before)
    return True  # a number, a string, a function


# ---- its failures -------------------------------------------------------------------------------

_LIBRARIES = tuple(
    str(path)
    for path in (
        Path(__file__).parents[1],
        Path(np.__file__).parent,
        *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
        "<frozen",
        "<slip",
    )
)


def explain(error: BaseException, body: CodeType, seconds: float) -> tuple[str, list[str], bool]:
    """(what went wrong, hints, is it only an unfinished stub)."""
    text = steady(str(error))
    if isinstance(error, Miss):
        return text, error.hints, False
    if isinstance(error, (NotDone, NotImplementedError)):
        return text or "it raises NotImplementedError", [], True
    if isinstance(error, TimeLimit):
        return f"it ran for more than {seconds:g} s and was stopped", [
            "Is there a loop that never ends? If the notebook stays slow, restart the kernel."
        ], False
    place, line, blank = _place(error, body)
    if blank or (isinstance(error, TypeError) and "ellipsis" in text):
        return f"there is still a blank `...`{place}", [], True
    if not line and isinstance(error, (TypeError, AttributeError)) and "NoneType" in text:
        return "it gives None where a result is needed", [], True
    first = text.strip().splitlines()[0] if text.strip() else ""
    said = f"{type(error).__name__}: {first}" if first else type(error).__name__
    if isinstance(error, RecursionError):
        return f"your code calls itself without end: {said}{place}", [
            "A function that calls itself needs a case in which it does not."
        ], False
    if isinstance(error, SystemExit):
        return f"your code asks Python to exit{place}", [], False
    if line:
        return f"your code raised {said}{place}", [], False
    return f"your object could not be used as the exercise says: {said}", [], False


def _place(error: BaseException, body: CodeType) -> tuple[str, int, bool]:
    """The last line of the student's own code in the traceback: in words, its number, and
    whether a blank `...` stands in it or in one of its variables."""
    place, line, blank, trace = "", 0, False, error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        file = frame.f_code.co_filename
        if not file.startswith(_LIBRARIES) and frame.f_code is not body:
            line = trace.tb_lineno
            source = linecache.getline(file, line, frame.f_globals).strip()
            blank = _has_blank(source) or any(v is ... for v in frame.f_locals.values())
            name = _function_name(frame.f_code)
            place = f", in line {line} ({name})" + (f": `{source}`" if source else "")
        trace = trace.tb_next
    return place, line, blank


def _function_name(code: CodeType) -> str:
    """The function that the code belongs to, also where Python runs a comprehension apart."""
    loops = {"<locals>", "<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}
    names = [name for name in code.co_qualname.split(".") if name not in loops]
    return (names or ["<module>"])[-1].replace("<lambda>", "your lambda")


def _has_blank(source: str) -> bool:
    """Does a `...` stand in this line, other than as an index (`x[..., 0]`)?"""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError:  # part of a longer statement
        return False
    indexed = {id(n) for s in nodes if isinstance(s, ast.Subscript) for n in ast.walk(s.slice)}
    blanks = [n for n in nodes if isinstance(n, ast.Constant) and n.value is ...]
    return any(id(n) not in indexed for n in blanks)
