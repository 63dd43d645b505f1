"""The base of all checks: their register, what one of them finds, and how it is shown.

A check is a function that takes `case` and the student's object. Each `with case(name):` block is
one property. In a block, call the student's object with plain data and compare with `expect`,
`expect_close`, `expect_equal`. The score of an answer that is refused is `LEFT` times the share of
the properties that hold, and 0 where less than `HOLDS` of them do. A check that is `weighed` takes
`LEFT` once for each `case(name, essential=True)` that does not hold; below `FLOOR` its score is 0.

    @check(lesson=3, expects="a square array of scores that ...", kind="any")
    def leaky_scores(case, scores):
        with case("a square array"):
            expect(np.ndim(scores) == 2, f"your scores have the shape {np.shape(scores)}")

An exercise that asks for a function with one right result needs none of this: see `_exercise`.
A guess needs only its answer: see `_ask`. `seed=` draws other numbers for `case.rng`, so that an
answer learnt by heart does not hold. A stub, an exception, an endless loop, prints, warnings and
changed inputs are all dealt with here: a check never raises, hangs or prints.
"""

from __future__ import annotations

import contextlib
import functools
import html
import inspect
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from minigpt_helpers.checks._compare import Miss, NotDone, is_blank, show, steady
from minigpt_helpers.checks._student import (
    Clock,
    Stopped,
    TimeLimit,
    explain,
    fresh,
    quiet,
    run_with_limit,
    snapshot,
    unchanged,
)

REGISTRY: dict[str, Callable[..., CheckResult]] = {}  # each has its `Check` as `.entry`
RESERVED = {
    *("tokenization", "autograd", "attention", "block", "training", "generation"),
    *(f"ps{number}" for number in range(1, 8)),
    *("catalogue", "CheckResult"),
}
KINDS = ("function", "any")
LEFT, HOLDS, FLOOR = 0.4, 0.25, 0.2
PASSED, NOT_YET, NOT_DONE = "passed", "not yet", "not done yet"
_COLORS = {PASSED: "#0072b2", NOT_YET: "#d55e00", NOT_DONE: "#8a8a8a"}


# ---- what a check found -------------------------------------------------------------------------


def _to_html(text: str) -> str:
    """The text escaped, with `code` as code and newlines as line breaks."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(text)).replace("\n", "<br>")


@dataclass(frozen=True)
class CheckResult:
    """What a check found: `passed`, `score` (0 to 1), `message` and `status`.

    The status is "passed", "not yet" or "not done yet"; the message begins with it.
    """

    passed: bool
    score: float
    message: str
    status: str = NOT_YET

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        return self.message

    def _repr_html_(self) -> str:
        style = f"border-left: 5px solid {_COLORS[self.status]}; padding: 0.3em 0.8em"
        rest = self.message.removeprefix(f"{self.status}:")
        text = f"<strong>{self.status}:</strong>{_to_html(rest)}"
        return f'<div role="status" style="{style}; margin: 0.3em 0">{text}</div>'


def _result(status: str, text: str, score: float = 0.0) -> CheckResult:
    return CheckResult(status == PASSED, score, f"{status}: {text}", status)


# ---- the register -------------------------------------------------------------------------------


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
    weighed: bool
    body: Callable
    takes: tuple[str, ...]
    exercise: object = None  # the `Exercise`, for those that are data

    @property
    def call(self) -> str:
        """How the reader calls it."""
        return f"checks.{self.name}({', '.join(self.takes)})"


def check(
    *,
    lesson: int | str,
    expects: str,
    not_tested: str = "",
    kind: str = "function",
    in_place: bool = False,
    seconds: float = 5.0,
    weighed: bool = False,
    takes: tuple[str, ...] = (),
    exercise: object = None,
) -> Callable[[Callable], Callable[..., CheckResult]]:
    """Register the decorated function as `checks.<its name>`.

    `kind`: "function" refuses what cannot be called, and what is no class where a name is written
    as a class is, `Embedding`; "any" takes every object. `in_place`: the function may change its
    inputs and return None. `seconds`: time for the whole check, or for what runs from one
    `next_call` to another. `weighed`: its cases say which of them are essential.
    """

    def register(body: Callable) -> Callable[..., CheckResult]:
        name = body.__name__
        old = REGISTRY.get(name)
        if name in RESERVED or (old and old.__module__ != body.__module__):
            raise ValueError(f"the name {name!r} is taken already; give the check another name")
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        names = takes or tuple(inspect.signature(body).parameters)[1:]
        entry = Check(name, lesson, expects, not_tested, kind, in_place, seconds, weighed,
                      body, names, exercise)

        def run(*objects: object, seed: int = 0) -> CheckResult:
            return _run(entry, objects, seed)

        run.__name__ = run.__qualname__ = name
        run.__module__ = body.__module__
        run.__doc__ = f"Lesson {lesson}: expects {expects}."
        run.entry = entry
        REGISTRY[name] = run
        return run

    return register


# ---- running one --------------------------------------------------------------------------------


@dataclass
class Missed:
    """A property that does not hold, and what is known of the cause."""

    name: str
    text: str
    hints: list[str] = field(default_factory=list)
    not_done: bool = False
    weight: float = 1.0
    essential: bool = False
    matched: list[str] = field(default_factory=list)
    tried: set[str] = field(default_factory=set)


class Cases:
    """The `case` of a check: `with case(name):` is one property, `case.rng` a seeded generator.

    `weight` says how much of the score the property is worth, `essential` that the object is of
    little use without it. A check that knows the cause of all
    that went wrong sets `diagnosis`; one that finds the given bug untouched sets `as_given`.
    """

    def __init__(self, entry: Check, warned: list, seed: int) -> None:
        self.rng = np.random.default_rng([zlib.crc32(entry.name.encode()), seed])
        self.clock = Clock(entry.seconds)
        self.held: list[tuple[str, float]] = []
        self.missed: list[Missed] = []
        self.diagnosis = ""
        self.as_given = False
        self._entry, self._warned = entry, warned
        self._said: list[str] = []  # warnings of the student's code in the present case
        self._changed: set[int] = set()
        self._late = False

    def next_call(self) -> None:
        """The next call of the student's code has its own time, unless one took too long."""
        if not self._late:
            self.clock.start(self._entry.seconds)

    @contextlib.contextmanager
    def __call__(self, name: str, weight: float = 1.0, essential: bool = False):
        self._said.clear()
        try:
            yield
        except BaseException as error:
            if self.clock.given_up or isinstance(error, Stopped):
                raise
            self.record(name, error, weight, essential)
        else:
            self.held.append((name, weight))

    def record(
        self, name: str, error: BaseException, weight: float = 1.0, essential: bool = False
    ) -> None:
        """Turn what went wrong in a case into words."""
        text, hints, not_done = explain(error, self._entry.body.__code__, self._entry.seconds)
        missed = Missed(name, text, hints, not_done, weight, essential)
        if isinstance(error, Miss):
            missed.matched, missed.tried = error.matched, error.tried
        if self._said and not not_done:
            missed.text += f"\nWarning on the way: {self._said[0]}"
        late = self._late = isinstance(error, TimeLimit)
        again = late and any("and was stopped" in other.text for other in self.missed)
        self.missed.append(missed)
        if again:  # most of its inputs take too long: the reader has waited long enough
            self.held.clear()
            raise Stopped
        if late:
            self.clock.start(0.5)  # enough for the other cases to show whether they hold

    def watched(self, fn: Callable) -> Callable:
        """The student's function: on copies of its inputs, with blank results noticed."""
        if isinstance(fn, type) or not callable(fn):
            return fn
        if self._entry.kind == "any" and not inspect.isroutine(fn):
            return fn

        in_place = self._entry.in_place

        @functools.wraps(fn, updated=())
        def call(*args: object, **kwargs: object) -> object:
            copies = args if in_place else [fresh(arg) for arg in args]
            before = [] if in_place else [snapshot(copy) for copy in copies]
            warned = len(self._warned)
            try:
                result = fn(*copies, **kwargs)
            finally:
                self._said += [steady(str(w.message)) for w in self._warned[warned:]]
            for i, (copy, old) in enumerate(zip(copies, before)):
                if not unchanged(copy, old) and i not in self._changed:
                    self._changed.add(i)
                    text = f"your function changes its input number {i + 1}"
                    hint = "Work on a copy: `x = x - m` makes a new array, `x -= m` does not."
                    self.missed.append(Missed("inputs stay as they are", text, [hint]))
            if is_blank(result) and not (in_place and result is None):
                raise NotDone(f"your function returns {show(result)}: is a `return` missing?")
            return result

        return call


def _run(entry: Check, objects: tuple, seed: int) -> CheckResult:
    needs = f"`{entry.call}` expects {entry.expects}"
    if len(objects) != len(entry.takes):
        return _result(NOT_YET, f"{needs}; it was given {len(objects)} objects.")
    if any(is_blank(item) for item in objects):
        return _result(NOT_DONE, f"this exercise expects {entry.expects}.")
    for name, item in zip(entry.takes, objects):
        if entry.kind == "function" and name[0].isupper() and not isinstance(item, type):
            advice = "Pass the class itself, without calling it." if not callable(item) or not (
                inspect.isroutine(item)) else "Pass the class."
            return _result(NOT_YET, f"{needs}; it was given {_instance(item)}. {advice}")
        if entry.kind == "function" and not callable(item):
            text = f"{needs}; it was given {show(item)}."
            return _result(NOT_YET, text + " Pass the function itself, without calling it.")
    with quiet() as warned:
        case = Cases(entry, warned, seed)

        def work() -> None:
            try:
                entry.body(case, *(case.watched(item) for item in objects))
            except Stopped:
                pass
            except BaseException as error:
                if not case.clock.given_up:
                    with contextlib.suppress(Stopped):
                        case.record("before the first case", error)

        ended = run_with_limit(work, case.clock)
    if not ended:
        text = f"it ran for more than {entry.seconds:g} s and could not be stopped"
        return _result(NOT_YET, f"{text}. Restart the kernel before you go on.")
    return _verdict(entry, case)


def _instance(item: object) -> str:
    if inspect.isroutine(item):
        return show(item)
    return f"an instance of `{type(item).__name__}`" if not isinstance(
        item, (str, int, float, list, tuple, dict, np.ndarray)) else show(item)


def _verdict(entry: Check, case: Cases) -> CheckResult:
    held, missed = len(case.held), case.missed
    total = held + len(missed)
    if total == 0:
        raise RuntimeError(f"the check {entry.name!r} has no `with case(...)` block")
    if not missed:
        names = "; ".join(name for name, _ in case.held[:6]) + ("; and more" if held > 6 else "")
        count = f"{held} of {total} properties hold: " if total > 1 else ""
        left_out = f"\nNot tested: {entry.not_tested}." if entry.not_tested else ""
        return _result(PASSED, f"{count}{names}.{left_out}", 1.0)
    first = missed[0]
    if held == 0 and all(miss.not_done for miss in missed):
        return _result(NOT_DONE, f"this exercise expects {entry.expects}.\nSo far: {first.text}")
    if case.as_given:
        return _result(NOT_DONE, f"this exercise expects {entry.expects}.\nSo far it does what it "
                       "did when you got it.")
    does_not = "Does not hold: " if total > 1 else ""
    count = f"{held} of {total} properties hold.\n" if total > 1 else ""
    text = f"{count}{does_not}{first.name}: {first.text}"
    if hint := case.diagnosis or _hint(missed):
        text += f"\n{hint}"
    kept = sum(weight for _, weight in case.held)
    share = kept / (kept + sum(miss.weight for miss in missed))
    score = share * LEFT ** (sum(miss.essential for miss in missed) if entry.weighed else 1)
    enough = score >= FLOOR if entry.weighed else share >= HOLDS
    return _result(NOT_YET, text, score if enough else 0.0)


def _hint(missed: list[Missed]) -> str:
    """The hint of a mistake that explains every miss; else what the first miss says of itself."""
    first = missed[0]
    fits = [
        hint for hint in first.matched
        if all(hint in other.matched for other in missed if hint in other.tried)
    ]
    return next((f"Hint: {hint}" for hint in [*fits, *first.hints]), "")


# ---- the list of all checks ---------------------------------------------------------------------


class Catalogue(tuple):
    """The registered checks; displays as a table."""

    def __repr__(self) -> str:
        rows = [(str(c.lesson), c.call, c.expects) for c in self]
        width = max((len(row[1]) for row in rows), default=0)
        return "\n".join(f"{lesson:>6}  {call:<{width}}  {what}" for lesson, call, what in
                         [("lesson", "check", "expects"), *rows])

    def _repr_html_(self) -> str:
        left = 'style="text-align: left"'
        names = ("Lesson", "Check", "Expects")
        head = "".join(f'<th scope="col" {left}>{name}</th>' for name in names)
        cells = [(str(c.lesson), f"`{c.call}`", c.expects) for c in self]
        rows = "".join(
            "<tr>" + "".join(f"<td {left}>{_to_html(cell)}</td>" for cell in row) + "</tr>"
            for row in cells
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def catalogue(lesson: int | str | None = None) -> Catalogue:
    """All checks (or those of one lesson), by lesson, with what each expects."""
    entries = (run.entry for run in REGISTRY.values())
    chosen = [c for c in entries if lesson is None or c.lesson == lesson]
    return Catalogue(sorted(chosen, key=lambda c: (isinstance(c.lesson, str), c.lesson)))
