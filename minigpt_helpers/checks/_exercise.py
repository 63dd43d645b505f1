"""An exercise is data: the right answer, the inputs to try it on, and its known slips.

    from minigpt_helpers.checks._exercise import exercise

    @exercise(
        lesson=3,
        expects="a function `scores(q, k)`: arrays (T, d) in, an array (T, T) out",
        not_tested="a batch axis",
        cases=lambda rng: [
            (f"T={T}, d={d}", *rng.normal(size=(2, T, d))) for T, d in [(1, 3), (4, 2), (3, 5)]
        ],
        slips=[
            (" / q.shape[1] ** 0.5", "", "The scale is missing."),
            (" ** 0.5", "", "The scale is the root of d, not d."),
        ],
    )
    def attention_scores(q, k):
        return q @ k.T / q.shape[1] ** 0.5

This registers `checks.attention_scores(scores)`. A case is its name and the inputs; cases of one
name are one property. What the student's function gives is compared with what the reference gives;
where the reference raises an exception, the student's must raise one of the same class, and its
message must hold every argument of the reference's. A hint is shown only if its slip, alone or with
one other, gives what the student's function gave, in every case.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from minigpt_helpers.checks._base import Cases, CheckResult, check
from minigpt_helpers.checks._compare import (
    TOLERANCE,
    Miss,
    NotDone,
    difference,
    has_floats,
    inputs_in_words,
    is_blank,
    mentions,
    show,
    size_of,
)
from minigpt_helpers.checks._slips import Slip, check_slips, source_of, wrong_functions
from minigpt_helpers.checks._student import Stopped, TimeLimit, fresh

PATIENCE = 4.0  # seconds at most to look for the cause of a wrong answer


@dataclass(frozen=True)
class Exercise:
    """What is known of an exercise. `call(fn, *inputs)` calls a function; see `exercise`."""

    reference: Callable
    call: Callable
    cases: Callable[[np.random.Generator], Iterable[tuple]]
    slips: tuple[Slip, ...]
    given: Slip | None
    in_words: str
    tol: float
    bugs: int


@dataclass
class Raised:
    """What came instead of a result."""

    error: BaseException


@dataclass
class Try:
    """One call: the inputs, what was expected, and what the student's function gave."""

    inputs: tuple
    expected: object
    got: object = None
    held: bool = False


def _plain_call(fn: Callable, *inputs: object) -> object:
    return fn(*inputs)


def known(
    reference: Callable,
    *,
    slips: Iterable[tuple[str, str, str]],
    cases: Callable[[np.random.Generator], Iterable[tuple]] = lambda rng: (),
    given: tuple[str, str] | None = None,
    in_words: str = "",
    call: Callable = _plain_call,
    tol: float = TOLERANCE,
    bugs: int = 0,
) -> Exercise:
    """What is known of an exercise, see `exercise`. Where a check makes its cases as it runs, it
    puts them in: `replace(KNOWN, cases=...)`.
    """
    slips, bug = tuple(Slip(*slip) for slip in slips), Slip(*given, "") if given else None
    check_slips(reference.__name__, source_of(reference), [*slips, *([bug] if bug else [])])
    return Exercise(reference, call, cases, slips, bug, in_words, tol, bugs)


def exercise(
    *,
    lesson: int | str,
    expects: str,
    cases: Callable[[np.random.Generator], Iterable[tuple]],
    slips: Sequence[tuple[str, str, str]] = (),
    given: tuple[str, str] | None = None,
    in_words: str = "",
    not_tested: str = "",
    call: Callable = _plain_call,
    in_place: bool = False,
    tol: float = TOLERANCE,
    seconds: float = 5.0,
    bugs: int = 0,
) -> Callable[[Callable], Callable[..., CheckResult]]:
    """Register the decorated function, the right answer, as `checks.<its name>`.

    `given`: the edit that makes the bug which the notebook shows; no hint is given away on it.
    `in_words`: the right answer in words, for a mistake that is none of the slips. `call(fn,
    *inputs)`: how to call the function, where that takes more than handing it the inputs; what it
    returns is compared. `bugs`: the first so many slips are the bugs of the code that the notebook
    shows; any number of them may be left.
    """

    def register(reference: Callable) -> Callable[..., CheckResult]:
        name = reference.__name__
        this = known(
            reference, cases=cases, slips=slips, given=given, in_words=in_words, call=call, tol=tol,
            bugs=bugs,
        )

        def body(case: Cases, student: Callable) -> None:
            try_all(this, case, student)

        body.__name__, body.__module__ = name, reference.__module__
        asked = re.search(r"`(\w+)\(", expects)
        return check(
            lesson=lesson, expects=expects, not_tested=not_tested, in_place=in_place,
            seconds=seconds, takes=(asked[1] if asked else name,), exercise=this,
        )(body)

    return register


# ---- trying -------------------------------------------------------------------------------------


def outcome(this: Exercise, fn: Callable, inputs: tuple) -> object:
    """What a function of ours gives: a value, or `Raised`."""
    try:
        with np.errstate(all="ignore"):
            return _listed(this.call(fn, *map(fresh, inputs)))
    except Exception as error:
        return Raised(error)


def _listed(value: object) -> object:
    return list(value) if isinstance(value, Iterator) else value


def try_all(
    this: Exercise, case: Cases, student: Callable, essential: bool = False
) -> None:
    """Try the student's function on every case; explain what it does wrong."""
    tries: list[Try] = []
    named = [(name, inputs) for name, *inputs in this.cases(case.rng)]
    for name, calls in itertools.groupby(named, key=lambda pair: pair[0]):
        with case(name, essential=essential):
            failures = []
            for _, inputs in list(calls):
                inputs = tuple(inputs)
                tries.append(one := Try(inputs, outcome(this, this.reference, inputs)))
                try:
                    _try(this, one, student)
                except Exception as error:
                    failures.append(error)  # the others say more of the cause
            if failures:
                raise failures[0]
    if any(not one.held for one in tries) and not all(miss.not_done for miss in case.missed):
        case.clock.start(PATIENCE + 1)
        try:
            _explain(this, case, tries)
        except TimeLimit:  # a wrong function that never ends: no cause is named
            with contextlib.suppress(TimeLimit):
                case.clock.start(PATIENCE)
                time.sleep(0.1)  # one more may be on its way


def _try(this: Exercise, one: Try, student: Callable) -> None:
    expected = one.expected
    try:
        one.got = _listed(this.call(student, *map(fresh, one.inputs)))
    except (TimeLimit, Stopped):
        raise
    except Exception as error:
        one.got = Raised(error)
        if not isinstance(expected, Raised) or isinstance(
            error, (NotDone, NotImplementedError)
        ):
            raise
    text = _missing(one) if isinstance(expected, Raised) else difference(
        one.got, expected, this.tol if has_floats(expected) else None, size_of(one.inputs)
    )
    if text:
        plain = this.call is _plain_call
        words = inputs_in_words(this.reference if plain else this.call, one.inputs, not plain)
        raise Miss("\n".join([text, *words]))
    one.held = True


def _missing(one: Try) -> str:
    """What is wrong where an exception was expected."""
    wanted, got = one.expected.error, one.got
    kind = type(wanted).__name__
    if not isinstance(got, Raised):
        return f"expected a {kind}, but got the result {show(got)}"
    if not isinstance(got.error, type(wanted)):
        return f"expected a {kind}, got {type(got.error).__name__}: {got.error}"
    absent = [word for word in wanted.args if not mentions(got.error, word)]
    if absent:
        return f"the message of the {kind} should hold {absent[0]!r}; it is {str(got.error)!r}"
    return ""


# ---- explaining ---------------------------------------------------------------------------------


def _explain(this: Exercise, case: Cases, tries: list[Try]) -> None:
    """Name the slip, or the two, that give what the student's function gave; else guess nothing."""
    tries = sorted(tries, key=lambda one: one.held)
    end = time.monotonic() + PATIENCE
    bug = (this.given,) if this.given else ()
    for slips, wrong in itertools.chain(
        wrong_functions(this.reference, bug),
        wrong_functions(this.reference, this.slips, this.bugs),
    ):
        if time.monotonic() > end:
            break
        if reproduces(this, wrong, tries):
            case.as_given = bool(bug) and slips == bug
            case.diagnosis = "Hint: " + "\nAnd: ".join(dict.fromkeys(s.hint for s in slips))
            return
    if this.in_words and not case.missed[0].hints:
        case.diagnosis = f"In words: {this.in_words}"


def reproduces(this: Exercise, wrong: Callable, tries: list[Try]) -> bool:
    """Does this wrong function give what the student's gave, in every case?"""
    seen = False  # the same exception everywhere says little: its message must agree as well
    for one in tries:
        value = outcome(this, wrong, one.inputs)
        if not _same(one, value):
            return False
        if not one.held and not seen:
            seen = not isinstance(value, Raised) or str(value.error) == str(one.got.error) or (
                isinstance(one.expected, Raised))
    return seen


def _same(one: Try, value: object) -> bool:
    if is_blank(value) or is_blank(one.got) or (
        isinstance(one.got, Raised) and isinstance(one.got.error, NotDone)
    ):
        return is_blank(value) and isinstance(one.got, Raised)
    if isinstance(value, Raised) or isinstance(one.got, Raised):
        if not (isinstance(value, Raised) and isinstance(one.got, Raised)):
            return False
        wanted = ()
        if isinstance(one.expected, Raised) and isinstance(value.error, type(one.expected.error)):
            wanted = one.expected.error.args
        return type(value.error) is type(one.got.error) and all(
            mentions(value.error, word) == mentions(one.got.error, word) for word in wanted
        )
    try:
        tol = TOLERANCE if has_floats(value) else None
        return not difference(one.got, value, tol, size_of(one.inputs))
    except (Exception, Miss):
        return False
