"""Runs the benchmarks of tools/benchmarks/ and the changed cores of tools/mutants/."""

from __future__ import annotations

import subprocess

from tools.launcher.environment import prepare
from tools.launcher.project import Project


def run_benchmarks(project: Project, arguments: list[str]) -> int:
    """``bench [PART]... [options]``; paths in them are seen from the folder you are in."""
    if arguments[:1] == ["hub"]:  # which starts a hub of its own
        prepare(project, "lessons")
        command = [str(project.python), "-P", "-m", "tools.teaching.hub.bench", *arguments[1:]]
        return subprocess.call(command, env=project.child_env())
    prepare(project, "tests" if "widgets" in arguments else "lessons")  # a browser's driver
    command = [str(project.python), "-P", "-m", "tools.benchmarks", *arguments]
    return subprocess.call(command, env=project.child_env())


def run_mutants(project: Project, arguments: list[str]) -> int:
    """``mutants [MODULE]... [options]``: which test fails for each wrong line of the core."""
    prepare(project, "tests")
    command = [str(project.python), "-P", "-m", "tools.mutants", *arguments]
    return subprocess.call(command, env=project.child_env())
