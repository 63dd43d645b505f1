"""`minigpt_helpers.checks` as a notebook has it while it is graded: the checks run elsewhere."""

from __future__ import annotations

import html
from dataclasses import dataclass

ask = None  # set by the process that runs the notebook: (name, objects) -> the result's fields


@dataclass(frozen=True)
class CheckResult:
    """What a check found: `passed`, `score` (0 to 1), `message`, `status`."""

    passed: bool
    score: float
    message: str
    status: str

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        return self.message

    def _repr_html_(self) -> str:
        return f'<div role="status">{html.escape(self.message)}</div>'


def catalogue(lesson: object = None) -> str:
    return "The list of checks is not shown while a notebook is graded."


def __getattr__(name: str):
    if name.startswith("_"):
        raise AttributeError(name)

    def check(*objects: object, **options: object) -> CheckResult:
        return CheckResult(**ask(name, objects))

    check.__name__ = name
    return check
