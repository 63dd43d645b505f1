"""Packs what students get: the project without solutions, hidden tests and the answers in tests.

The archive holds what git tracks, without what is for the teacher: solutions, guides, the tools for
grading, and in notebooks the speaker notes and comments for slides. A link to what is not there
becomes plain text. The same files give the same bytes: sorted
names, one time for all, no trace of the machine.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import subprocess
import zipfile
from pathlib import Path
from urllib.parse import unquote

from tools.launcher.project import Project, UserError, python_name, say
from tools.launcher.student_copy import joined, student_copy

# What stays with the teacher: solutions, and whatever holds right answers.
TEACHERS = re.compile(
    r"notebooks/solutions/|docs/(answers|teaching|grading|hub|quizzes)\b|tools/teaching/(grading/|hub/|problems\.py)"
    r"|tests/(answers/|hub/|problem_set|test_(answers|checks|problems|grading|hub|release|teaching|notebook_lint"
    r"|lesson_table|readme|quizzes))"
)
LINK = re.compile(r"(?<!!)\[([^\]\n]*)\]\(([^)\s]+)\)")
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
    count = pack(project, target)
    say(
        f"Written: {target} ({count} files). Students unpack it and type "
        f"{python_name()} start.py in it."
    )
    return 0


def pack(project: Project, target: Path) -> int:
    """Write the archive; the number of its files."""
    names = [name for name in tracked(project) if not TEACHERS.match(name)]
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(target.name + ".part")  # a full disk leaves this, not half an archive
    with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            add(archive, f"mini-gpt/{name}", for_students(project.root / name, name, names))
    os.replace(half, target)
    return len(names)


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


def for_students(path: Path, name: str, names: list[str]) -> bytes:
    """What a file holds in the archive."""
    data = path.read_bytes()
    if path.suffix == ".ipynb":
        notebook = json.loads(student_copy(data, outputs=True))
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                text = without_dead_links(joined(cell["source"]), name, names)
                cell["source"] = text.splitlines(keepends=True)
        text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        return text.encode("utf-8", "surrogatepass")
    if path.suffix == ".md":
        return without_dead_links(data.decode("utf-8"), name, names).encode("utf-8")
    return data


def without_dead_links(text: str, name: str, names: list[str]) -> str:
    """The text, with the words alone where a link leads to a file that is not in the archive."""

    def kept(match: re.Match) -> str:
        words, target = match[1], match[2].split("#")[0]
        if not target or re.match(r"\w+:", target):
            return match[0]
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(target)))
        there = wanted == "." or any(one == wanted or one.startswith(f"{wanted}/") for one in names)
        return match[0] if there else words

    return LINK.sub(kept, text)


def add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, TIME)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3  # Unix, also where it is made on Windows
    info.external_attr = 0o100644 << 16
    archive.writestr(info, data)
