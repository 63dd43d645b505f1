"""Regenerates the locks from ``pyproject.toml`` (maintainers; needs uv).

A lock names every package with its version and the hashes of its files, for every system and
every Python from 3.11 on; it names no project to get them from.
"""

from __future__ import annotations

import shutil
import subprocess
import tomllib

from tools.launcher.environment import LOCKS
from tools.launcher.needed import NEEDED
from tools.launcher.project import Project, UserError, say


def write_locks(project: Project, options: list[str]) -> int:
    """Keep the versions that still fit; ``--upgrade`` (passed on to uv) takes the newest."""
    uv = shutil.which("uv")
    if uv is None:
        raise UserError("Writing the locks needs uv, which is not on the PATH.", "pip install uv")
    # The largest lock first: the others then take its versions.
    tests = project.root / LOCKS["tests"]
    for wanted in reversed(LOCKS):
        constraint = [] if wanted == "tests" else ["--constraint", str(tests)]
        output = project.root / LOCKS[wanted]
        code = subprocess.run(
            [
                uv,
                "pip",
                "compile",
                "-",
                "--output-file",
                str(output),
                "--quiet",
                "--universal",
                "--python-version",
                "%d.%d" % NEEDED,
                "--generate-hashes",
                "--no-emit-index-url",
                "--no-annotate",
                "--custom-compile-command",
                "python3 start.py lock",
                *constraint,
                *options,
            ],
            input="\n".join(requirements(project, wanted)),
            encoding="utf-8",
            cwd=project.root,
            stdout=subprocess.DEVNULL,
        ).returncode
        if code != 0:
            return code
        say(f"Written: {output.name}")
    return 0


def requirements(project: Project, wanted: str) -> list[str]:
    """What ``pyproject.toml`` asks for, the build backend included."""
    with (project.root / "pyproject.toml").open("rb") as file:
        settings = tomllib.load(file)
    asked = settings["project"]["dependencies"] + settings["build-system"]["requires"]
    extras = {
        "lessons": [],
        "teaching": ["teach"],
        "site": ["site"],
        "hub": ["hub"],
        "tests": ["teach", "test"],
    }
    for extra in extras[wanted]:
        asked += settings["project"]["optional-dependencies"][extra]
    return asked
