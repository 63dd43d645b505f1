"""Runs the tests: lint, types, units, the notebooks against their stored outputs, the widgets in a
browser, and what needs PyTorch, where it is installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from tools.launcher.browser import find_browser
from tools.launcher.environment import installed_packages, prepare
from tools.launcher.leftovers import watched
from tools.launcher.project import Project, UserError, python_name, say

NBVAL = [
    "-p",
    "tools.testing.plugin",
    "-p",
    "tests.nbval_pictures",
    "--nbval",
    "--nbval-current-env",
    "--nbval-sanitize-with",
    "tests/nbval_sanitize.cfg",
    "--nbval-cell-timeout",
    "300",
]
# For the loop while working: what the lessons import, the launcher's words, the lint's own tests.
QUICK = """
    text autograd functional nn generation checkpoints source_snippets setup student_copy prompt_lint
""".split()


def run_tests(project: Project, arguments: list[str]) -> int:
    """``test [PART]... [pytest options]``: run the parts named, or all but BY_NAME."""
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
    results = {}
    for name in names or [name for name in PARTS if name not in BY_NAME]:
        with watched(project.root) as (variables, left):
            problem = PARTS[name](project, options, variables)
        if left:
            say("\n  ".join(["When these tests were over:", *left]))
        results[name] = problem or ("FAILED: files were changed or left" if left else None)
    say("\n== summary ==")
    for name, problem in results.items():
        say(f"{name + ':':11}{'passed' if problem is None else problem}")
    fine = {None, NO_BROWSER, NO_TORCH, NO_HUB}
    return int(not fine.issuperset(results.values()))


def lint(project: Project, options: list[str], variables: dict[str, str]) -> str | None:
    """Ruff (lint, order of imports, format), codespell, and the lint of the notebooks."""
    notebooks = [str(path.relative_to(project.root)) for path in project.tracked_notebooks()]
    return run_each(
        project,
        "lint",
        {
            "ruff check": ["-m", "ruff", "check", "--quiet", "--no-cache", "."],
            "ruff format": ["-m", "ruff", "format", "--check", "--quiet", "--no-cache", "."],
            "codespell": ["-m", "codespell_lib", "."],
            "notebook lint": ["tests/notebook_lint.py", *notebooks],
        },
        variables,
    )


def types(project: Project, options: list[str], variables: dict[str, str]) -> str | None:
    """Pyright's basic checks of the core."""
    return run_each(project, "types", {"pyright": ["-m", "basedpyright"]}, variables)


def run_each(
    project: Project, heading: str, commands: dict[str, list[str]], variables: dict[str, str]
) -> str | None:
    """Run all programs, whichever fails. None if all passed, else the names of those that did not."""
    say(f"\n== {heading} ==")
    failed = []
    for name, words in commands.items():
        if run(project, words, variables) != 0:
            failed.append(name)
    return f"FAILED: {', '.join(failed)}" if failed else None


def unit_tests(project: Project, options: list[str], variables: dict[str, str]) -> str | None:
    elsewhere = [f"--ignore=tests/{name}" for name in ("browser", "bridge", "hub")]
    words = ["tests", *elsewhere, *processes(options), *options]
    return pytest(project, "unit", words, variables)


def quick_tests(project: Project, options: list[str], variables: dict[str, str]) -> str | None:
    """The unit tests that are worth waiting for after each change; under a minute."""
    files = [f"tests/test_{name}.py" for name in QUICK]
    return pytest(project, "quick", [*files, *processes(options), *options], variables)


def processes(options: list[str]) -> list[str]:
    """Two processes of pytest where there are two cores, unless the options say otherwise."""
    alone = {"--pdb", "-s", "--trace", "--capture=no", "-n", "--numprocesses", "--co"}
    if (os.cpu_count() or 1) < 2 or any(word.split("=")[0] in alone for word in options):
        return []
    return ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]


def notebook_tests(project: Project, options: list[str], variables: dict[str, str]) -> str | None:
    """Every notebook, each output compared with the stored one."""
    notebooks = [str(path.relative_to(project.root)) for path in project.tracked_notebooks()]
    if not notebooks:
        return "FAILED: there are no notebooks"
    return pytest(
        project, "notebook", [*NBVAL, *notebooks, *processes(options), *options], variables
    )


NO_BROWSER = "did not run: no Chromium found"


def browser_tests(project: Project, options: list[str], variables: dict[str, str]) -> str | None:
    """The widgets in a real browser, where there is one."""
    must_run = os.environ.get("MINIGPT_REQUIRE_BROWSER") == "1"
    browser = find_browser()
    if browser is None:
        say("\n== browser tests ==\nbrowser tests did not run: no Chromium found")
        return "FAILED: " + NO_BROWSER if must_run else NO_BROWSER
    prepare(project.for_site, "site")  # which a test builds
    report = project.root / "build" / "browser-tests.xml"
    report.unlink(missing_ok=True)
    words = ["tests/browser", f"--junitxml={report}", *processes(options), *options]
    problem = pytest(project, "browser", words, variables | {"MINIGPT_CHROMIUM": browser})
    if problem is None and must_run and (skipped := count_skipped(report)):
        return f"FAILED: {skipped} browser tests were skipped, all must run here"
    return problem


SCALE = "notebooks/extras/07_scale.ipynb"  # with PyTorch it computes more, and prints the same
NO_HUB = "did not run: only Linux has what they test"
NO_TORCH = "did not run: PyTorch and transformers are not installed"


def bridge_tests(project: Project, options: list[str], variables: dict[str, str]) -> str | None:
    """What needs PyTorch and transformers, which are in no lock, where both are installed."""
    if not {"torch", "transformers"} <= set(installed_packages(project)):
        say(f"\n== bridge tests ==\nbridge tests {NO_TORCH}")
        return "FAILED: " + NO_TORCH if os.environ.get("MINIGPT_REQUIRE_TORCH") == "1" else NO_TORCH
    problem = pytest(project, "bridge", ["tests/bridge", *options], variables)
    return problem or pytest(project, "bridge notebook", [*NBVAL, SCALE, *options], variables)


def hub_tests(project: Project, options: list[str], variables: dict[str, str]) -> str | None:
    """A hub with students in it; installs it anew. What needs root says so where it is skipped."""
    if sys.platform != "linux":
        say(f"\n== hub tests ==\nhub tests {NO_HUB}")
        return NO_HUB
    return pytest(project, "hub", ["tests/hub", "-rs", *options], variables)


PARTS = {
    "quick": quick_tests,
    "lint": lint,
    "types": types,
    "unit": unit_tests,
    "notebooks": notebook_tests,
    "browser": browser_tests,
    "bridge": bridge_tests,
    "hub": hub_tests,
}


BY_NAME = {"quick", "hub"}


def pytest(
    project: Project, heading: str, arguments: list[str], variables: dict[str, str]
) -> str | None:
    """Run pytest under a heading. None if all passed, else what to say of it."""
    say(f"\n== {heading} tests ==")
    # PyTorch makes this folder when it is imported, among the temporary files unless told where.
    cache = {"TORCHINDUCTOR_CACHE_DIR": str(project.root / "build" / "torchinductor")}
    code = run(project, ["-m", "pytest", *arguments], variables | cache)
    if code == 5:
        return "FAILED: there was no test to run"
    return None if code == 0 else f"FAILED (pytest ended with {code})"


def run(project: Project, words: list[str], variables: dict[str, str]) -> int:
    """Run the Python of ``.venv`` in the project's folder."""
    return subprocess.call(
        [str(project.python), *words], cwd=project.root, env=project.child_env() | variables
    )


def count_skipped(report: Path) -> int:
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    return sum(int(suite.get("skipped", 0)) for suite in suites)
