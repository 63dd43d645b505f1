"""Runs all tests: units, the notebooks against their stored outputs, the widgets in a browser."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from launcher.environment import prepare
from launcher.place import Place, Trouble, python_name, say

BROWSER_NAMES = [
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
    "microsoft-edge", "microsoft-edge-stable", "msedge",
]
BROWSER_FILES = [
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    "{PROGRAMFILES}/Google/Chrome/Application/chrome.exe",
    "{PROGRAMFILES(X86)}/Google/Chrome/Application/chrome.exe",
    "{LOCALAPPDATA}/Google/Chrome/Application/chrome.exe",
    "{LOCALAPPDATA}/Chromium/Application/chrome.exe",
    "{PROGRAMFILES(X86)}/Microsoft/Edge/Application/msedge.exe",
    "{PROGRAMFILES}/Microsoft/Edge/Application/msedge.exe",
]
NBVAL = [
    "--nbval", "--nbval-current-env", "--nbval-sanitize-with", "tests/nbval_sanitize.cfg",
    "--nbval-cell-timeout", "300",
]


def run_tests(place: Place, arguments: list[str]) -> int:
    """``test [unit|notebooks|browser]... [pytest options]``: run the parts named, or all."""
    options_from = next((i for i, a in enumerate(arguments) if a.startswith("-")), len(arguments))
    names, options = arguments[:options_from], arguments[options_from:]
    for name in names:
        if name not in PARTS:
            raise Trouble(
                f"There is no part of the tests called {name!r}.",
                f"There are: {', '.join(PARTS)}. Options for pytest come after them: "
                f"{python_name()} start.py test unit -x",
            )
    prepare(place, "tests")
    results = {name: PARTS[name](place, options) for name in names or PARTS}
    say("\n== summary ==")
    for name, problem in results.items():
        say(f"{name + ':':11}{'passed' if problem is None else problem}")
    return 0 if all(problem in (None, NO_BROWSER) for problem in results.values()) else 1


def unit_tests(place: Place, options: list[str]) -> str | None:
    return pytest(place, "unit", ["tests", "--ignore=tests/browser", *options])


def notebook_tests(place: Place, options: list[str]) -> str | None:
    """Every notebook in one serial run, each output compared with the stored one."""
    notebooks = [str(path.relative_to(place.root)) for path in place.tracked_notebooks()]
    if not notebooks:
        return "FAILED: there are no notebooks"
    return pytest(place, "notebook", [*NBVAL, *notebooks, *options])


NO_BROWSER = "did not run: no Chromium found"


def browser_tests(place: Place, options: list[str]) -> str | None:
    """The widgets in a real browser, where there is one."""
    must_run = os.environ.get("MINIGPT_REQUIRE_BROWSER") == "1"
    browser = find_browser()
    if browser is None:
        say("\n== browser tests ==\nbrowser tests did not run: no Chromium found")
        return "FAILED: " + NO_BROWSER if must_run else NO_BROWSER
    report = place.root / "build" / "browser-tests.xml"
    report.unlink(missing_ok=True)
    problem = pytest(
        place,
        "browser",
        ["tests/browser", f"--junitxml={report}", *options],
        MINIGPT_CHROMIUM=browser,
    )
    if problem is None and must_run and (skipped := count_skipped(report)):
        return f"FAILED: {skipped} browser tests were skipped, all must run here"
    return problem


PARTS = {"unit": unit_tests, "notebooks": notebook_tests, "browser": browser_tests}


def pytest(place: Place, heading: str, arguments: list[str], **variables: str) -> str | None:
    """Run pytest under a heading. None if all passed, else what to say of it."""
    say(f"\n== {heading} tests ==")
    code = subprocess.call(
        [str(place.python), "-m", "pytest", *arguments],
        cwd=place.root,
        env=place.child_env() | variables,
    )
    if code == 5:
        return "FAILED: there was no test to run"
    return None if code == 0 else f"FAILED (pytest ended with {code})"


def count_skipped(report: Path) -> int:
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    return sum(int(suite.get("skipped", 0)) for suite in suites)


def find_browser() -> str | None:
    """The program of a Chromium, Chrome or Edge, or None. MINIGPT_CHROMIUM names one outright."""
    named = os.environ.get("MINIGPT_CHROMIUM")
    if named:
        if shutil.which(named) is None:
            raise Trouble(
                f"MINIGPT_CHROMIUM is {named!r}, and there is no such program.",
                "Set it to the path of a Chromium or Chrome, or unset it.",
            )
        return shutil.which(named)
    for name in BROWSER_NAMES:
        if found := shutil.which(name):
            return found
    for pattern in BROWSER_FILES:
        path = Path(expand(pattern))
        if path.is_absolute() and path.is_file():
            return str(path)
    return None


def expand(pattern: str) -> str:
    """Fill {NAME} from the environment; with the name unset nothing is left to look for."""
    if not pattern.startswith("{"):
        return pattern if sys.platform == "darwin" else ""
    name, rest = pattern[1:].split("}", 1)
    return os.environ[name] + rest if name in os.environ else ""
