"""Questions whose answer is a number, some numbers or a word: the guess is right or it is not."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np

from minigpt_helpers.checks._base import Cases, CheckResult, check
from minigpt_helpers.checks._compare import Miss, Mistakes, as_array, show


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
    `tol`: how far a number may be off. `near`: (wrong guess, hint) for the guesses people make;
    `hint` is shown for any other and so says only how to find the answer.
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
    return check(lesson=lesson, expects=expects, kind="any", takes=("guess",))(body)
