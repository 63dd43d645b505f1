"""Writes the locks anew from ``pyproject.toml`` (maintainers; needs uv).

A lock names every package with its version and the hashes of its files, for every system and
every Python from 3.11 on; it names no place to get them from.
"""

from __future__ import annotations

import shutil
import subprocess
import tomllib

from launcher.environment import LOCKS
from launcher.place import Place, Trouble, say
from start import NEEDED


def write_locks(place: Place, options: list[str]) -> int:
    """Keep the versions that still fit; ``--upgrade`` (passed on to uv) takes the newest."""
    uv = shutil.which("uv")
    if uv is None:
        raise Trouble("Writing the locks needs uv, which is not on the PATH.", "pip install uv")
    # The largest lock first: the smaller ones then take its versions.
    tests = place.root / LOCKS["tests"]
    for wanted in reversed(LOCKS):
        constraint = [] if wanted == "tests" else ["--constraint", str(tests)]
        output = place.root / LOCKS[wanted]
        code = subprocess.run(
            [
                uv, "pip", "compile", "-", "--output-file", str(output), "--quiet",
                "--universal", "--python-version", "%d.%d" % NEEDED, "--generate-hashes",
                "--no-emit-index-url", "--no-annotate",
                "--custom-compile-command", "python3 start.py lock",
                *constraint, *options,
            ],
            input="\n".join(requirements(place, wanted)),
            encoding="utf-8", cwd=place.root, stdout=subprocess.DEVNULL,
        ).returncode
        if code != 0:
            return code
        say(f"Written: {output.name}")
    return 0


def requirements(place: Place, wanted: str) -> list[str]:
    """What ``pyproject.toml`` asks for, the build backend included."""
    with (place.root / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    asked = project["project"]["dependencies"] + project["build-system"]["requires"]
    extras = {"lessons": [], "teaching": ["teach"], "tests": ["teach", "test"]}
    for extra in extras[wanted]:
        asked += project["project"]["optional-dependencies"][extra]
    return asked
