"""The cases of one check: each block is one property, and whatever goes wrong becomes words."""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import linecache
import sysconfig
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from minigpt_helpers.checks._guard import Clock, TimeLimit
from minigpt_helpers.checks._values import Miss, NotDone, is_blank, show, steady

_LIBRARIES = tuple(
    str(path)
    for path in (
        Path(__file__).parents[1],
        Path(np.__file__).parent,
        *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
        "<frozen",
    )
)


@dataclass(frozen=True)
class Check:
    """One entry of the register: what the check is called and what it expects."""

    name: str
    lesson: int | str
    expects: str
    not_tested: str
    kind: str
    in_place: bool
    seconds: float
    body: Callable
    takes: tuple[str, ...]

    @property
    def call(self) -> str:
        """How the reader calls it."""
        return f"checks.{self.name}({', '.join(self.takes)})"


@dataclass
class Missed:
    name: str
    text: str
    hints: list[str] = field(default_factory=list)
    not_done: bool = False


class Cases:
    """The `case` of a check: `with case(name):` is one property, `case.rng` a seeded generator."""

    def __init__(self, entry: Check, warned: list, seed: int) -> None:
        self.rng = np.random.default_rng([zlib.crc32(entry.name.encode()), seed])
        self.clock = Clock(entry.seconds)
        self.held: list[str] = []
        self.missed: list[Missed] = []
        self._entry, self._warned = entry, warned
        self._changed: set[int] = set()

    @contextlib.contextmanager
    def __call__(self, name: str):
        before = len(self._warned)
        try:
            yield
        except BaseException as error:
            if self.clock.given_up:  # nobody waits for the rest of this check
                raise
            self.record(name, error, self._warned[before:])
        else:
            self.held.append(name)

    def record(self, name: str, error: BaseException, warned: list = ()) -> None:
        """Turn what went wrong in a case into words."""
        missed = Missed(name, *explain(error, self._entry))
        if warned and not missed.not_done:
            missed.text += f"\nWarning on the way: {steady(str(warned[0].message))}"
        self.missed.append(missed)
        if isinstance(error, TimeLimit):
            self.clock.start(0.5)  # enough for the other cases to show whether they hold

    def watched(self, fn: Callable) -> Callable:
        """The reader's function, on fresh copies of its inputs, its bare results noticed."""
        if self._entry.in_place or not (inspect.isroutine(fn) or isinstance(fn, functools.partial)):
            return fn

        def call(*args: object, **kwargs: object) -> object:
            copies = [_copy(arg) for arg in args]
            result = fn(*copies, **kwargs)
            for i, (arg, copy) in enumerate(zip(args, copies)):
                if not _unchanged(arg, copy) and i not in self._changed:
                    self._changed.add(i)
                    text = f"your function changes its input number {i + 1}"
                    hint = "Work on a copy: `x = x - m` makes a new array, `x -= m` does not."
                    self.missed.append(Missed("inputs stay as they are", text, [hint]))
            if is_blank(result):
                raise NotDone(f"your function returns {show(result)}: is a `return` missing?")
            return result

        return call


def _copy(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, (list, tuple)):
        return type(value)([_copy(item) for item in value])
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return value


def _unchanged(one: object, other: object) -> bool:
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_unchanged, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_unchanged(one[k], other[k]) for k in one)
    return one is other


def explain(error: BaseException, entry: Check) -> tuple[str, list[str], bool]:
    """(what went wrong, hints, is it only an unfinished stub)."""
    text = steady(str(error))
    if isinstance(error, Miss):
        return text, error.hints, False
    if isinstance(error, (NotDone, NotImplementedError)):
        return text or "it raises NotImplementedError", [], True
    if isinstance(error, TimeLimit):
        return f"it ran for more than {entry.seconds:g} s and was stopped", [
            "Is there a loop that never ends? If the notebook stays slow, restart the kernel."
        ], False
    place, line, blank = _place(error, entry)
    if blank or (isinstance(error, TypeError) and "ellipsis" in text):
        return f"there is still a blank `...`{place}", [], True
    if not line and isinstance(error, (TypeError, AttributeError)) and "NoneType" in text:
        return "it gives None where a result is needed", [], True
    last = text.strip().splitlines()[-1] if text.strip() else ""
    said = f"{type(error).__name__}: {last}" if last else type(error).__name__
    if isinstance(error, RecursionError):
        return f"your code calls itself without end: {said}{place}", [
            "A function that calls itself needs a case in which it does not."
        ], False
    if isinstance(error, SystemExit):
        return f"your code asks Python to exit{place}", [], False
    if line:
        return f"your code raised {said}{place}", [], False
    return f"your object could not be used as the exercise says: {said}", [], False


def _place(error: BaseException, entry: Check) -> tuple[str, int, bool]:
    """The last line of the reader's own code in the traceback: in words, its number, and
    whether a blank `...` stands in it or in one of its variables."""
    place, line, blank, trace = "", 0, False, error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        file = frame.f_code.co_filename
        if not file.startswith(_LIBRARIES) and frame.f_code is not entry.body.__code__:
            line = trace.tb_lineno
            source = linecache.getline(file, line, frame.f_globals).strip()
            blank = _has_blank(source) or any(v is ... for v in frame.f_locals.values())
            name = frame.f_code.co_name.replace("<lambda>", "your lambda")
            place = f", in line {line} ({name})" + (f": `{source}`" if source else "")
        trace = trace.tb_next
    return place, line, blank


def _has_blank(source: str) -> bool:
    """Does a `...` stand in this line, other than as an index (`x[..., 0]`)?"""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError:  # part of a longer statement
        return False
    indexed = {id(n) for s in nodes if isinstance(s, ast.Subscript) for n in ast.walk(s.slice)}
    blanks = [n for n in nodes if isinstance(n, ast.Constant) and n.value is ...]
    return any(id(n) not in indexed for n in blanks)
