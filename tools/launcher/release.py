"""Packs what students get: the project without solutions, hidden tests and the answers in tests.

The archive holds what git tracks, as it lies here. The same files give the same bytes: sorted
names, one time for all, no trace of the machine.
"""

from __future__ import annotations

import os
import re
import subprocess
import zipfile
from pathlib import Path

from tools.launcher.project import Project, UserError, python_name, say

# What stays with the teacher: solutions, and whatever holds right answers.
TEACHERS = re.compile(
    r"notebooks/solutions/|docs/(answers|teaching|grading)\.md"
    r"|tests/(problem_set|test_(checks_|problems|grading|release|teaching|notebook_lint|lesson_table|readme))"
)
TIME = (2000, 1, 1, 0, 0, 0)


def release(project: Project, arguments: list[str]) -> int:
    """``release [--out FILE]``: an archive for students."""
    target = project.root / "build" / "mini-gpt.zip"
    if arguments[:1] == ["--out"] and len(arguments) == 2:
        target = Path(arguments[1])
    elif arguments:
        raise UserError(
            f"release cannot do {' '.join(arguments)!r}.",
            f"{python_name()} start.py release --out mini-gpt.zip",
        )
    names = [name for name in tracked(project) if not TEACHERS.match(name)]
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(target.name + ".part")  # a full disk leaves this, not half an archive
    with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            add(archive, project.root / name, f"mini-gpt/{name}")
    os.replace(half, target)
    say(
        f"Written: {target} ({len(names)} files). Students unpack it and type "
        f"{python_name()} start.py in it."
    )
    return 0


def tracked(project: Project) -> list[str]:
    """The files that git tracks, sorted; an error if one of them is missing."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"],
            cwd=project.root,
            capture_output=True,
            check=True,
            encoding="utf-8",
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(
            "git does not say which files belong to the project.",
            "A release is made from the teacher's copy (git clone), not from an archive.",
        ) from error
    names = sorted(filter(None, listed.split("\0")))
    gone = [name for name in names if not (project.root / name).is_file()]
    if gone:
        raise UserError(
            f"{gone[0]} belongs to the project and is not there.", "git status says more."
        )
    return names


def add(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    info = zipfile.ZipInfo(name, TIME)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3  # Unix, also where it is made on Windows
    info.external_attr = 0o100644 << 16
    archive.writestr(info, path.read_bytes())
