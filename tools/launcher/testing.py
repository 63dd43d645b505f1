"""Runs all tests: units, the notebooks against their stored outputs, the widgets in a browser, and
what needs PyTorch, where it is installed.
"""

from __future__ import annotations

import os
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from tools.launcher.browser import find_browser
from tools.launcher.environment import installed_packages, prepare
from tools.launcher.project import Project, UserError, python_name, say

NBVAL = [
    "--nbval",
    "--nbval-current-env",
    "--nbval-sanitize-with",
    "tests/nbval_sanitize.cfg",
    "--nbval-cell-timeout",
    "300",
]


def run_tests(project: Project, arguments: list[str]) -> int:
    """``test [unit|notebooks|browser|bridge]... [pytest options]``: run the parts named, or all."""
    options_from = next((i for i, a in enumerate(arguments) if a.startswith("-")), len(arguments))
    names, options = arguments[:options_from], arguments[options_from:]
    for name in names:
        if name not in PARTS:
            raise UserError(
                f"There is no part of the tests called {name!r}.",
                f"There are: {', '.join(PARTS)}. Options for pytest come after them: "
                f"{python_name()} start.py test unit -x",
            )
    prepare(project, "tests")
    results = {name: PARTS[name](project, options) for name in names or PARTS}
    say("\n== summary ==")
    for name, problem in results.items():
        say(f"{name + ':':11}{'passed' if problem is None else problem}")
    return 0 if all(problem in (None, NO_BROWSER, NO_TORCH) for problem in results.values()) else 1


def unit_tests(project: Project, options: list[str]) -> str | None:
    elsewhere = ["--ignore=tests/browser", "--ignore=tests/bridge"]
    return pytest(project, "unit", ["tests", *elsewhere, *options])


def notebook_tests(project: Project, options: list[str]) -> str | None:
    """Every notebook in one serial run, each output compared with the stored one."""
    notebooks = [str(path.relative_to(project.root)) for path in project.tracked_notebooks()]
    if not notebooks:
        return "FAILED: there are no notebooks"
    return pytest(project, "notebook", [*NBVAL, *notebooks, *options])


NO_BROWSER = "did not run: no Chromium found"


def browser_tests(project: Project, options: list[str]) -> str | None:
    """The widgets in a real browser, where there is one."""
    must_run = os.environ.get("MINIGPT_REQUIRE_BROWSER") == "1"
    browser = find_browser()
    if browser is None:
        say("\n== browser tests ==\nbrowser tests did not run: no Chromium found")
        return "FAILED: " + NO_BROWSER if must_run else NO_BROWSER
    report = project.root / "build" / "browser-tests.xml"
    report.unlink(missing_ok=True)
    problem = pytest(
        project,
        "browser",
        ["tests/browser", f"--junitxml={report}", *options],
        MINIGPT_CHROMIUM=browser,
    )
    if problem is None and must_run and (skipped := count_skipped(report)):
        return f"FAILED: {skipped} browser tests were skipped, all must run here"
    return problem


NO_TORCH = "did not run: PyTorch and transformers are not installed"


def bridge_tests(project: Project, options: list[str]) -> str | None:
    """What needs PyTorch and transformers, which are in no lock, where both are installed."""
    if not {"torch", "transformers"} <= set(installed_packages(project)):
        say(f"\n== bridge tests ==\nbridge tests {NO_TORCH}")
        return "FAILED: " + NO_TORCH if os.environ.get("MINIGPT_REQUIRE_TORCH") == "1" else NO_TORCH
    return pytest(project, "bridge", ["tests/bridge", *options])


PARTS = {
    "unit": unit_tests,
    "notebooks": notebook_tests,
    "browser": browser_tests,
    "bridge": bridge_tests,
}


def pytest(project: Project, heading: str, arguments: list[str], **variables: str) -> str | None:
    """Run pytest under a heading. None if all passed, else what to say of it."""
    say(f"\n== {heading} tests ==")
    code = subprocess.call(
        [str(project.python), "-m", "pytest", *arguments],
        cwd=project.root,
        env=project.child_env() | variables,
    )
    if code == 5:
        return "FAILED: there was no test to run"
    return None if code == 0 else f"FAILED (pytest ended with {code})"


def count_skipped(report: Path) -> int:
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    return sum(int(suite.get("skipped", 0)) for suite in suites)
