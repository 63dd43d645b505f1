"""How a check is written, and what turns it into a sentence for the reader.

A check is a function that takes `case` and the reader's object. Each `with case(name):` block is
one property; the score is the share of the blocks that hold. In a block, call the reader's object
and compare with `expect_same`, `expect_close`, `expect_equal`, `expect_raises` or `expect`. A
known mistake is one line: the wrong way to compute it, and the hint for whoever did just that.

    from minigpt_helpers.checks._base import check, expect_same

    @check(
        lesson=3,
        expects="a function `scores(q, k)`: arrays (T, d) in, an array (T, T) out",
        not_tested="speed; inputs with a batch axis",
    )
    def attention_scores(case, scores):
        for T, d in [(1, 3), (4, 2), (3, 5)]:
            q, k = case.rng.normal(size=(2, T, d))  # seeded: the same numbers in every run
            with case(f"T={T}, d={d}"):
                expect_same(scores, lambda q, k: q @ k.T / d**0.5, q, k, mistakes=[
                    (lambda q, k: q @ k.T, "The scale is missing."),
                    (lambda q, k: q @ k.T / d, "The scale is the root of d, not d."),
                ])

The reader calls `checks.attention_scores(scores)`; another `seed=` draws other numbers, so that
an answer learnt by heart does not hold. A stub, an exception, an endless loop, prints,
warnings and changed inputs are all dealt with here; a check never raises, hangs or prints.
"""

from __future__ import annotations

import html
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minigpt_helpers.checks._cases import Cases, Check
from minigpt_helpers.checks._expect import (
    Mistakes,
    expect,
    expect_close,
    expect_equal,
    expect_raises,
    expect_same,
)
from minigpt_helpers.checks._guard import quiet, run_with_limit
from minigpt_helpers.checks._values import Miss, as_array, is_blank, show

__all__ = [
    "CheckResult",
    "as_array",
    "catalogue",
    "check",
    "expect",
    "expect_close",
    "expect_equal",
    "expect_raises",
    "expect_same",
    "prediction",
]

REGISTRY: dict[str, Callable[..., CheckResult]] = {}  # each has its `Check` as `.entry`
RESERVED = {
    *("tokenization", "autograd", "attention", "block", "training", "generation"),
    *(f"ps{number}" for number in range(1, 8)),
    *("catalogue", "CheckResult"),
}
_COLOURS = {"passed": "#0072b2", "not yet": "#d55e00", "not done yet": "#8a8a8a"}


def _to_html(text: str) -> str:
    """The text escaped, with `code` as code and newlines as line breaks."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(text)).replace("\n", "<br>")


@dataclass(frozen=True)
class CheckResult:
    """What a check found: `passed`, `score` (0 to 1, the share of properties), `message`."""

    passed: bool
    score: float
    message: str

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        return self.message

    def _repr_html_(self) -> str:
        status, _, rest = self.message.partition(":")
        style = f"border-left: 5px solid {_COLOURS[status]}; padding: 0.3em 0.8em; margin: 0.3em 0"
        text = f"<strong>{status}:</strong>{_to_html(rest)}"
        return f'<div role="status" style="{style}">{text}</div>'


def check(
    *,
    lesson: int | str,
    expects: str,
    not_tested: str = "",
    kind: str = "function",
    in_place: bool = False,
    seconds: float = 5.0,
) -> Callable[[Callable], Callable[..., CheckResult]]:
    """Register the decorated function as `checks.<its name>`.

    `kind`: "function" refuses what cannot be called, "any" takes every object. `in_place`: the
    function may change its inputs and return None. `seconds`: time for the whole check.
    """

    def register(body: Callable) -> Callable[..., CheckResult]:
        name = body.__name__
        old = REGISTRY.get(name)
        if name in RESERVED or (old and old.__module__ != body.__module__):
            raise ValueError(f"the name {name!r} is taken already; give the check another name")
        if kind not in ("function", "any"):
            raise ValueError(f"kind must be 'function' or 'any', got {kind!r}")
        takes = tuple(inspect.signature(body).parameters)[1:]
        entry = Check(name, lesson, expects, not_tested, kind, in_place, seconds, body, takes)

        def run(*objects: object, seed: int = 0) -> CheckResult:
            return _run(entry, objects, seed)

        run.__name__ = run.__qualname__ = name
        run.__module__ = body.__module__
        run.__doc__ = f"Lesson {lesson}: expects {expects}."
        run.entry = entry
        REGISTRY[name] = run
        return run

    return register


def _run(entry: Check, objects: tuple, seed: int) -> CheckResult:
    needs = f"`{entry.call}` expects {entry.expects}"
    if len(objects) != len(entry.takes):
        return CheckResult(False, 0.0, f"not yet: {needs}; it was given {len(objects)} objects.")
    if any(is_blank(item) for item in objects):
        return CheckResult(False, 0.0, f"not done yet: this exercise expects {entry.expects}.")
    for item in objects:
        if entry.kind == "function" and not callable(item):
            text = f"not yet: {needs}; it was given {show(item)}."
            return CheckResult(False, 0.0, text + " Pass the function itself, without calling it.")
    with quiet() as warned:
        case = Cases(entry, warned, seed)

        def work() -> None:
            try:
                entry.body(case, *(case.watched(item) for item in objects))
            except BaseException as error:
                if not case.clock.given_up:
                    case.record("before the first case", error)

        ended = run_with_limit(work, case.clock)
    if not ended:
        text = f"it ran for more than {entry.seconds:g} s and could not be stopped"
        return CheckResult(False, 0.0, f"not yet: {text}. Restart the kernel before you go on.")
    return _verdict(entry, case)


def _verdict(entry: Check, case: Cases) -> CheckResult:
    held, missed = len(case.held), case.missed
    total = held + len(missed)
    if total == 0:
        raise RuntimeError(f"the check {entry.name!r} has no `with case(...)` block")
    if not missed:
        names = "; ".join(case.held[:6]) + ("; and more" if held > 6 else "")
        count = f"{held} of {total} properties hold: " if total > 1 else ""
        text = f"passed: {count}{names}."
        left_out = f"\nNot tested: {entry.not_tested}." if entry.not_tested else ""
        return CheckResult(True, 1.0, text + left_out)
    if held == 0 and all(miss.not_done for miss in missed):
        text = f"not done yet: this exercise expects {entry.expects}.\nSo far: {missed[0].text}"
        return CheckResult(False, 0.0, text)
    first = missed[0]
    count = f"{held} of {total} properties hold.\n" if total > 1 else ""
    text = f"not yet: {count}{first.name}: {first.text}"
    others = [set(miss.hints) for miss in missed if miss.hints]
    hints = [hint for hint in first.hints if all(hint in other for other in others)] or first.hints
    if hints:
        text += f"\nHint: {hints[0]}"
    return CheckResult(False, held / total, text)


# ---- predictions and the list of all checks -----------------------------------------------------


def prediction(
    name: str,
    *,
    lesson: int | str,
    answer: object,
    expects: str,
    tol: float = 0.0,
    hint: str = "",
    near: Mistakes = (),
) -> Callable[..., CheckResult]:
    """Register `checks.<name>(guess)`: right or not, without giving the answer away.

    `answer`: a number, numbers, or a word; or a function without arguments that computes it.
    `tol`: how far a number may be off. `near`: (wrong guess, hint) for the guesses people make.
    """

    def body(case: Cases, guess: object) -> None:
        def right(value: object) -> bool:
            if isinstance(truth, str):
                return str(guess).strip().lower() == str(value).strip().lower()
            mine, theirs = as_array(guess), as_array(value)
            return mine.shape == theirs.shape and bool(np.all(np.abs(mine - theirs) <= tol))

        with case("your prediction"):
            truth = answer() if callable(answer) else answer
            if not right(truth):
                hints = [text for value, text in near if right(value)]
                raise Miss(f"{show(guess)} is not it", [*hints, hint])

    body.__name__ = name
    body.__module__ = inspect.currentframe().f_back.f_globals["__name__"]
    return check(lesson=lesson, expects=expects, kind="any")(body)


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
