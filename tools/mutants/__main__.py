"""``python -m tools.mutants [MODULE]... [--jobs N]``: each change of ``edits`` against the tests.

Every job works in its own copy of the package and its tests. For each change a process is forked
that already has the libraries in memory; it runs the tests of the changed module first, then all
others of the core, and stops at the first that fails. Prints that test, or that there was none.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

from tools.mutants.edits import EDITS
from tools.mutants.survivors import EXPLAINED

PROJECT = Path(__file__).resolve().parents[2]
OWN_TESTS = {  # by module: where a failure is likely and soon
    "validation": ["text", "refusals"],
    "machine": ["habits", "training"],
    "text": ["text", "refusals"],
    "graph": ["habits", "autograd"],
    "optim": ["training", "refusals"],
    "checkpoints": ["checkpoints"],
}
TESTS = [
    "text", "autograd", "edges", "functional", "nn", "generation", "checkpoints", "checklist",
    "training", "parallel", "habits", "refusals", "source_snippets", "properties", "package",
]  # fmt: skip
SECONDS = 1200  # a change that never ends is caught too; enough for all tests on a busy machine
GOAL = 0.97

Change = tuple[str, str, str]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="start.py mutants", description=__doc__.split("\n\n")[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(EDITS)}")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default 2)")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.modules if name not in EDITS]
    if unknown:
        parser.error(
            f"no changes are listed for {', '.join(unknown)}: choose of {', '.join(EDITS)}"
        )
    if not hasattr(os, "fork"):
        parser.error("this needs Linux or macOS: every change is tried in a forked process")
    changes = [
        (module, old, new) for module in options.modules or EDITS for old, new in EDITS[module]
    ]
    survivors = []
    with get_context("fork").Pool(options.jobs, initializer=_start) as pool:
        for change, failure in pool.imap(_try, changes):
            print(f"{'caught' if failure else 'SURVIVED':<8} {_shown(change)}", flush=True)
            print(f"         {failure or EXPLAINED.get(change, 'not explained')}", flush=True)
            survivors += [] if failure else [change]
    score = 1 - len(survivors) / len(changes)
    unexplained = [change for change in survivors if change not in EXPLAINED]
    print(
        f"\n{len(changes) - len(survivors)} of {len(changes)} caught: {score:.1%} (goal {GOAL:.0%})"
    )
    for change in unexplained:
        print(f"not explained in tools/mutants/survivors.py: {_shown(change)}")
    return int(bool(unexplained) or score < GOAL)


def _shown(change: Change) -> str:
    module, old, new = change
    return f"{module}: {old!r} -> {new!r}"


def apply(source: str, old: str, new: str) -> str:
    """``source`` with its one ``old`` replaced; ``ValueError`` where it is not there just once."""
    if source.count(old) != 1:
        raise ValueError(f"{old!r} occurs {source.count(old)} times: it must be once")
    return source.replace(old, new)


def _start() -> None:
    """A job begins: a copy of its own, and the libraries in memory before anything is forked."""
    folder = Path(tempfile.mkdtemp(prefix="mutants-"))
    unwanted = shutil.ignore_patterns("__pycache__", "*.js", "*.css")
    for name in ("minigpt_helpers", "tests", "tools"):
        shutil.copytree(PROJECT / name, folder / name, ignore=unwanted)
    shutil.copy(PROJECT / "pyproject.toml", folder)
    os.chdir(folder)
    sys.path[:0] = [str(folder), str(folder / "tests")]
    os.environ |= {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    os.environ["PYTHONPATH"] = str(folder)  # for Pythons that a test starts
    import hypothesis.extra.numpy  # noqa: F401
    import numpy  # noqa: F401
    import pytest  # noqa: F401
    import safetensors.numpy  # noqa: F401
    import threadpoolctl  # noqa: F401

    failure = _first_failure(TESTS, "--collect-only")  # leaves all compiled, so the rest is quick
    if failure:
        raise RuntimeError(f"the tests fail before anything is changed: {failure}")
    sys.dont_write_bytecode = True  # what a change leaves must not be found by the next


def _try(change: Change) -> tuple[Change, str]:
    """The change, and the first test that fails with it (empty: none)."""
    module, old, new = change
    path = Path("minigpt_helpers", f"{module}.py")
    whole = path.read_text(encoding="utf-8")
    path.write_text(apply(whole, old, new), encoding="utf-8")
    first = OWN_TESTS.get(module, [module])
    try:
        failures = map(_first_failure, (first, [name for name in TESTS if name not in first]))
        return change, next(filter(None, failures), "")
    finally:
        path.write_text(whole, encoding="utf-8")


def _first_failure(names: list[str], *options: str) -> str:
    """What the tests of these files say first, in a process of their own; empty: they pass."""
    said = Path("failure.txt")
    said.write_text("", encoding="utf-8")
    child = os.fork()
    if not child:
        os.setsid()  # so that processes of its own end with it
        _run_tests(names, options, said)
    for _ in _until(time.monotonic() + SECONDS):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            passed = os.waitstatus_to_exitcode(status) == 0
            return "" if passed else said.read_text(encoding="utf-8") or "the tests cannot start"
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return f"no end after {SECONDS} s"


def _until(end: float) -> Iterator[None]:
    while time.monotonic() < end:
        time.sleep(0.02)
        yield


class _Recorder:
    """A plugin of pytest: writes down the first test that fails."""

    def __init__(self, said: Path):
        self.said = said

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed and not self.said.stat().st_size:
            self.said.write_text(report.nodeid, encoding="utf-8")


def _run_tests(names: list[str], options: tuple[str, ...], said: Path) -> None:
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1), os.dup2(silence, 2)
    import pytest

    code = 1
    try:
        files = [f"tests/test_{name}.py" for name in names]
        quiet = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist"]
        quiet += ["-W", "ignore:Module already imported"]
        code = pytest.main([*quiet, *options, *files], plugins=[_Recorder(said.resolve())])
    finally:
        os._exit(int(code))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
