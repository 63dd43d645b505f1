"""The student's own notebooks: copies in ``my_work/``, made when absent, never overwritten.

A copy has no outputs (see ``student_copy``); one of a problem set ends with a cell that hands it in.
Beside the copies ``.versions.json`` keeps the hash that each original had when it was copied, so that
a newer original can be told of.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from pathlib import Path

from tools.launcher.project import Project, UserError, python_name, say
from tools.launcher.student_copy import student_copy


def bring_up_to_date(project: Project) -> None:
    """Copy what is absent; say which originals are newer than the student's copies."""
    copied_from = read_versions(project)
    newer = []
    for original in student_notebooks(project):
        name = name_of(project, original)
        if not (project.work / name).exists():
            fresh_copy(project, name, copied_from)
        elif copied_from.setdefault(name, hash_of(original)) != hash_of(original):
            newer.append(name)
    write_versions(project, copied_from)
    if newer:
        say(f"Newer than your copy (yours is kept as it is): {', '.join(newer)}")
        say(f"  {python_name()} start.py reset NAME gets the newer one and keeps yours beside it.")


def reset(project: Project, wanted: str) -> Path:
    """Put a fresh copy in ``my_work/``; the old one stays beside it under a numbered name."""
    name = find_name(project, wanted)
    mine = project.work / name
    copied_from = read_versions(project)
    if mine.exists() and mine.read_bytes() != copy_of(project, name):
        kept = free_name(mine)
        os.replace(mine, kept)
        say(f"Your notebook is kept as {kept.relative_to(project.root).as_posix()}")
    fresh_copy(project, name, copied_from)
    write_versions(project, copied_from)
    say(f"Fresh: {mine.relative_to(project.root).as_posix()}")
    return mine


def student_notebooks(project: Project) -> list[Path]:
    """The notebooks that students get: lessons and problem sets; never solutions."""
    found = [
        path
        for path in project.tracked_notebooks()
        if path.relative_to(project.notebooks).parts[0] != "solutions"
    ]
    if not found:
        raise UserError(
            f"There are no notebooks in {project.notebooks}.",
            "Get the project again as a whole (git clone, or unpack the whole archive).",
        )
    return found


def name_of(project: Project, original: Path) -> str:
    return original.relative_to(project.notebooks).as_posix()


def find_name(project: Project, wanted: str) -> str:
    """The one notebook that the user means by ``3``, ``03``, ``attention`` or a whole path."""
    names = [name_of(project, path) for path in student_notebooks(project)]
    word = wanted.replace("\\", "/").removeprefix("./")
    word = word.removeprefix(f"{project.work.name}/").removesuffix(".ipynb").lower()
    tests = [
        lambda name: name == word,
        lambda name: Path(name).name == word,
        lambda name: word.isdigit() and re.match(rf"0*{int(word)}_", name),
        lambda name: word and word in name,
    ]
    for test in tests:
        hits = [name for name in names if test(name.removesuffix(".ipynb").lower())]
        if len(hits) == 1:
            return hits[0]
        if hits:
            raise UserError(f"{wanted!r} may mean {' or '.join(hits)}.", "Write more of the name.")
    close = difflib.get_close_matches(word, [n.removesuffix(".ipynb") for n in names], n=1)
    raise UserError(
        f"There is no notebook called {wanted!r}.",
        *([f"Did you mean {close[0]}?"] if close else []),
        "There are: " + ", ".join(names),
    )


def free_name(path: Path) -> Path:
    """The first of name.old-1.ipynb, name.old-2.ipynb, ... that is not taken."""
    number = 1
    while (candidate := path.with_name(f"{path.stem}.old-{number}{path.suffix}")).exists():
        number += 1
    return candidate


def fresh_copy(project: Project, name: str, copied_from: dict[str, str]) -> None:
    original, mine = project.notebooks / name, project.work / name
    mine.parent.mkdir(parents=True, exist_ok=True)
    half = mine.with_name(mine.name + ".part")  # a full disk leaves this, not half a notebook
    half.write_bytes(copy_of(project, name))
    os.replace(half, mine)
    copied_from[name] = hash_of(original)


def copy_of(project: Project, name: str) -> bytes:
    """What a student gets of a notebook; a problem set can be handed in from its last cell."""
    problem_set = Path(name).stem if Path(name).parts[0] == "problems" else ""
    return student_copy((project.notebooks / name).read_bytes(), hand_in=problem_set)


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_versions(project: Project) -> dict[str, str]:
    try:
        found = json.loads((project.work / ".versions.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_versions(project: Project, copied_from: dict[str, str]) -> None:
    project.work.mkdir(exist_ok=True)
    text = json.dumps(copied_from, indent=1, sort_keys=True) + "\n"
    (project.work / ".versions.json").write_text(text, encoding="utf-8")
