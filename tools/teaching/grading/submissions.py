"""Finds what was handed in, and reads it as text: nothing of it runs here.

    FOLDER/<student>/ps1_tokenization.ipynb             one folder a student
    FOLDER/<student>/<set>/ps1_tokenization.ipynb       nbgrader's own order
    FOLDER/<student>_ps1_tokenization.ipynb             all in one folder (also <student>-ps1...)
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

MOST_BYTES = 20_000_000  # of a notebook
MOST_BESIDE = 5_000_000  # of all files that lie beside it
SKIPPED = {".ipynb_checkpoints", "__MACOSX", ".DS_Store", "desktop.ini", "Thumbs.db"}
NEW_CELL = {"code": new_code_cell, "markdown": new_markdown_cell, "raw": new_raw_cell}


@dataclass
class Submission:
    """One student's notebook for one set, or the reason why there is none."""

    student: str
    set_name: str
    path: Path | None = None
    notebook: NotebookNode | None = None
    problem: str = ""  # why it cannot be graded
    notes: list[str] = field(default_factory=list)
    beside: dict[str, bytes] = field(default_factory=dict)  # the student's own texts
    handed_in: datetime | None = None

    @property
    def safe_student(self) -> str:
        """The student's name as the name of a folder; another one for each student."""
        safe = re.sub(r"[^\w.@-]", "_", self.student).strip("._")[:60]
        if safe and safe == self.student:
            return safe
        return f"{safe or 'student'}-{hashlib.sha256(self.student.encode()).hexdigest()[:8]}"


def same_letters(name: str) -> str:
    """One way to write an umlaut: some systems store it as two characters."""
    return unicodedata.normalize("NFC", name).strip()


class Unreadable(Exception):
    """A file that is no notebook, and why."""


def find(folder: Path, sets: dict[str, set[str]]) -> tuple[list[Submission], list[str]]:
    """All submissions, and the names of files passed over. `sets`: the cells' names of each."""
    found: dict[tuple[str, str], list[Submission]] = {}
    passed_over = []
    for entry in sorted(folder.iterdir(), key=lambda path: path.name):
        if entry.name.startswith("._") or entry.name in SKIPPED:
            continue
        if entry.is_dir() and not entry.is_symlink():
            student = same_letters(entry.name)
            mine = [read(path, student, sets) for path in notebooks_in(entry)]
            mine = mine or [Submission(student, "", problem="no notebook in the folder")]
        elif entry.suffix == ".ipynb":
            match = re.fullmatch(r"(.+?)[\s_-]+(ps\d+\b.*|ps\d+_.*)", entry.stem, re.IGNORECASE)
            student = same_letters(match.group(1) if match else entry.stem)
            mine = [read(entry, student, sets, beside=False)]
        else:
            passed_over.append(entry.name)
            continue
        for submission in mine:
            found.setdefault((submission.student, submission.set_name), []).append(submission)
    return [best(several) for _, several in sorted(found.items())], passed_over


def best(several: list[Submission]) -> Submission:
    """Of several files for one set the one with the set's name, or the newest; it says so."""
    order = sorted(several, key=lambda one: (
        not one.problem, one.path is not None and one.path.stem == one.set_name,
        one.handed_in or datetime.min,
    ))
    chosen = order.pop()
    chosen.notes += [f"not graded, there is another for this set: {one.path.name}"
                     for one in order if one.path]
    return chosen


def notebooks_in(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.ipynb")):
        inside = path.relative_to(folder).parts
        skip = any(part in SKIPPED or part.startswith("._") for part in inside)
        if len(inside) <= 3 and not skip:
            yield path


def read(path: Path, student: str, sets: dict[str, set[str]], beside: bool = True) -> Submission:
    """Read one file. Whatever is wrong with it becomes the submission's `problem`."""
    named = set_named(path, sets)
    submission = Submission(student, named, path)
    try:
        submission.notebook = read_notebook(path)
        submission.handed_in = time_of(path)
        if beside:
            submission.beside = dict(texts_beside(path))
    except (Unreadable, OSError) as error:
        submission.problem = str(error)
        return submission
    submission.set_name = set_held(submission.notebook, sets) or named
    if not submission.set_name:
        submission.problem = "neither its name nor its cells say which set it is"
    elif named and named != submission.set_name:
        submission.notes.append(f"the file is called {path.name}")
    return submission


def set_named(path: Path, sets: dict[str, set[str]]) -> str:
    """The set whose number (`ps3`) or name stands in a path."""
    for word in (path.stem, path.parent.name):
        for number in re.findall(r"ps(\d+)", word, re.IGNORECASE):
            for name in sets:
                if re.match(rf"ps0*{int(number)}(_|$)", name):
                    return name
    return ""


def set_held(notebook: NotebookNode, sets: dict[str, set[str]]) -> str:
    """The set that most named cells of a notebook belong to."""
    names = {cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells}
    counts = {name: len(names & known) for name, known in sets.items()}
    most = max(counts, key=counts.get, default="")
    return most if most and counts[most] >= 2 else ""


def read_notebook(path: Path) -> NotebookNode:
    """A file's cells in new cells: sources, types, names, ids; nothing else is taken over."""
    info = path.lstat()
    if not stat.S_ISREG(info.st_mode):
        raise Unreadable("not a file of its own (a link, or something else)")
    if info.st_size == 0:
        raise Unreadable("the file is empty")
    if info.st_size > MOST_BYTES:
        raise Unreadable(f"the file is larger than {MOST_BYTES // 10**6} MB")
    try:
        raw = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise Unreadable("not a notebook: no valid JSON (cut off?)") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old or careless writers
            if raw["nbformat"] < 4:
                raw = nbformat.convert(nbformat.from_dict(raw), 4)
            cells = [clean(cell) for cell in raw["cells"]]
    except Exception as error:  # whatever the conversion of a strange file stumbles over
        raise Unreadable(f"not a notebook ({type(error).__name__})") from None
    if not any(cell.cell_type == "code" for cell in cells):
        raise Unreadable("there is no code cell in it")
    return new_notebook(cells=cells)


def clean(cell: dict) -> NotebookNode:
    source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
    made = NEW_CELL[cell["cell_type"]](source)
    info = cell.get("metadata", {}).get("nbgrader", {})
    name = info.get("grade_id") if isinstance(info, dict) else None
    if isinstance(name, str) and name:
        made.metadata["nbgrader"] = {"grade_id": name}
    made.metadata["was"] = str(cell.get("id", ""))
    return made


def time_of(path: Path) -> datetime:
    """When it was handed in: nbgrader's `timestamp.txt`, or the time of the file."""
    try:
        text = (path.parent / "timestamp.txt").read_text(encoding="utf-8")[:40].strip()
        return datetime.fromisoformat(re.sub(r" \w{3,4}$", "", text))
    except (OSError, ValueError):
        return datetime.fromtimestamp(int(path.stat().st_mtime))


def texts_beside(path: Path) -> Iterator[tuple[str, bytes]]:
    """The small files beside a notebook: a student's own text must be there when it runs."""
    left = MOST_BESIDE
    for other in sorted(path.parent.iterdir()):
        if other.is_symlink() or not other.is_file() or other.suffix in (".ipynb", ".py"):
            continue
        left -= os.path.getsize(other)
        if left < 0:
            return
        yield other.name, other.read_bytes()
