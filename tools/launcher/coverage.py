"""Measures which lines and branches of the package the tests reach."""

from __future__ import annotations

import shutil

from tools.launcher import testing
from tools.launcher.environment import prepare
from tools.launcher.project import Project, UserError, python_name

KINDS = ["unit", "notebooks"]


def measure_coverage(project: Project, arguments: list[str]) -> int:
    """``coverage [unit|notebooks]``: run them, then count both apart. 1 if less than promised."""
    if unknown := [word for word in arguments if word not in KINDS]:
        raise UserError(
            f"coverage has no {unknown[0]!r}.",
            f"There are: {', '.join(KINDS)}. {python_name()} start.py coverage unit",
        )
    prepare(project, "tests")
    folder = project.root / "build" / "coverage"
    problems = []
    for kind in arguments or KINDS:
        shutil.rmtree(folder / kind, ignore_errors=True)
        (folder / kind).mkdir(parents=True)
        variables = {
            "COVERAGE_PROCESS_START": str(project.root / "pyproject.toml"),
            "COVERAGE_FILE": str(folder / kind / "data"),
        }
        problems.append(testing.PARTS[kind](project, [], variables))
    counted = testing.run(project, ["-m", "tools.testing.coverage_report", str(folder)], {})
    return 1 if counted != 0 or any(problems) else 0
