"""Runs the benchmarks of the folder tools/benchmarks/."""

from __future__ import annotations

import subprocess

from tools.launcher.environment import prepare
from tools.launcher.project import Project


def run_benchmarks(project: Project, arguments: list[str]) -> int:
    """``bench [PART]... [options]``; paths in them are seen from the folder you are in."""
    prepare(project, "tests" if "widgets" in arguments else "lessons")  # a browser's driver
    command = [str(project.python), "-P", "-m", "tools.benchmarks", *arguments]
    return subprocess.call(command, env=project.child_env())
