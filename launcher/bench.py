"""Runs the benchmarks of the folder benchmarks/."""

from __future__ import annotations

import subprocess

from launcher.environment import prepare
from launcher.place import Place


def run_benchmarks(place: Place, arguments: list[str]) -> int:
    """``bench [PART]... [options]``; paths in them are seen from the folder you are in."""
    prepare(place, "tests" if "widgets" in arguments else "lessons")  # a browser's driver
    command = [str(place.python), "-P", "-m", "benchmarks", *arguments]
    return subprocess.call(command, env=place.child_env())
