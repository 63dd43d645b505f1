"""Finds what was handed in, and reads it as text: nothing of it runs here.

    FOLDER/<student>/.../ps1_tokenization.ipynb          one folder a student, however deep
    FOLDER/<student>_ps1_tokenization.ipynb              all in one folder (also <student>-ps1...)
    FOLDER/Jürgen Müller_1234567_assignsubmission_file/  Moodle's export
    FOLDER/mullerjurgen_LATE_1234_5678_ps1.ipynb         Canvas's export

and zip archives of all of these, also in each other; and the inbox of a hub.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import unicodedata
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

from tools.launcher.student_copy import HAND_IN_CELLS, joined
from tools.teaching.grading import inbox
from tools.teaching.grading.times import read_time

MOST_BYTES = 20_000_000  # of a notebook
MOST_BESIDE = 5_000_000  # of all files that lie beside it
MOST_UNPACKED = 2_000_000_000  # of all archives
MOST_ENTRIES = 20_000  # of an archive
MOST_DEPTH = 10  # folders in folders
SKIPPED = {
    ".ipynb_checkpoints",
    "__MACOSX",
    ".DS_Store",
    "desktop.ini",
    "Thumbs.db",
    ".git",
    ".venv",
    "venv",
    "node_modules",
    "site-packages",
    "__pycache__",
}
NEW_CELL = {"code": new_code_cell, "markdown": new_markdown_cell, "raw": new_raw_cell}
NOTEBOOK = re.compile(r"(?P<stem>.*?)\.ipynb(\.(txt|json|html?|bin|download))*( ?\(\d+\))?$", re.I)
MOODLE = re.compile(
    r"(?P<name>.+?)_(?P<id>\d+)_assignsubmission_(file|onlinetext)_?(?P<rest>.*)", re.I
)
CANVAS = re.compile(
    r"(?P<name>[^_]+?)(?P<late>_LATE)?_(?P<id>\d+)_(?P<copy>\d+)_(?P<rest>.+)", re.I
)
OWN = re.compile(r"(?P<name>.+?)[\s_-]+(?P<rest>ps\d+(\b|_).*)", re.IGNORECASE)
OTHER_FILES = [  # how a file begins that is no notebook, and what it is
    (b"PK\x03\x04", "a zip archive (or a document of Word)"),
    (b"%PDF", "a PDF"),
    (b"{\\rtf", "a text of a word processor (RTF)"),
    (b"\x1f\x8b", "a compressed file"),
    (b"Rar!", "a rar archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8", "a picture"),
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
]
ARCHIVES = {".rar", ".7z", ".tar", ".gz", ".tgz"}


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
    id: str = ""  # the student's number, where the file's name says it
    shown_path: str = ""

    @property
    def safe_student(self) -> str:
        """The student's name as the name of a folder; another one for each student."""
        safe = re.sub(r"[^\w.@-]", "_", self.student).strip("._")[:60]
        if safe and safe == self.student:
            return safe
        name = self.student.encode("utf-8", "surrogatepass")
        return f"{safe or 'student'}-{hashlib.sha256(name).hexdigest()[:8]}"


def same_letters(name: str) -> str:
    """One way to write an umlaut: some systems store it as two characters. Nothing unreadable."""
    return unicodedata.normalize("NFC", printable(name)).strip()


def printable(text: str) -> str:
    """The text without characters that no file can hold, such as half of a pair."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cs") else "?"
        for char in text.replace("\r\n", "\n")
    )


class Unreadable(Exception):
    """A file that is no notebook, and why."""


Released = Callable[[str, NotebookNode], bool]


def find(
    folder: Path,
    sets: dict[str, set[str]],
    untouched: Released = lambda name, notebook: False,
    scratch: Path | None = None,
    naming: Callable[[str, str], str] = lambda name, number: name,
) -> tuple[list[Submission], list[str]]:
    """All submissions, and the names of files passed over.

    `sets`: the names of each set's cells. `untouched(set, notebook)`: is it as it was released?
    Archives are unpacked into `scratch`. `naming(name, id)`: the student as the class list has them.
    """
    finder = Finder(sets, untouched, scratch, naming)
    if scratch is not None and inbox.owners(folder):
        for copy, whose in inbox.copy(folder, scratch):
            if copy is None:
                problem = "the inbox cannot be read"
                finder.add(Submission(whose.name, "", problem=problem, id=whose.id))
            else:
                finder.students_folder(copy, whose.name, whose.id, False, "", "")
    elif folder.is_file():
        finder.archive(folder, folder.name)
    else:
        finder.level(folder, "")
    return finder.submissions(), finder.passed_over


class Finder:
    def __init__(
        self,
        sets: dict[str, set[str]],
        untouched: Released,
        scratch: Path | None,
        naming: Callable[[str, str], str],
    ) -> None:
        self.sets, self.untouched, self.scratch, self.naming = sets, untouched, scratch, naming
        self.found: dict[tuple[str, str], list[Submission]] = {}
        self.passed_over: list[str] = []
        self.unpacked = 0

    def submissions(self) -> list[Submission]:
        known = {student for student, set_name in self.found if set_name}
        chosen = []
        for (student, set_name), several in sorted(self.found.items()):
            if set_name or student not in known:  # lessons that lie beside a set are no submission
                chosen.append(self.best(several))
        return chosen

    def add(self, submission: Submission) -> None:
        submission.student = self.naming(submission.student, submission.id)
        self.found.setdefault((submission.student, submission.set_name), []).append(submission)

    # What lies in the folder

    def level(self, folder: Path, where: str) -> None:
        """A folder whose entries belong to students."""
        for entry in sorted(folder.iterdir(), key=lambda path: path.name):
            name = same_letters(entry.name)
            if entry.name.startswith("._") or entry.name in SKIPPED:
                continue
            if entry.is_dir() and not entry.is_symlink():
                self.students_folder(entry, *owner(name), f"{where}{name}/")
            elif entry.suffix.lower() == ".zip" and self.scratch is not None:
                self.archive(entry, f"{where}{name}")
            elif match := NOTEBOOK.fullmatch(name):
                student, number, late, _rest = owner(match["stem"])
                submission = self.read(entry, student, number, f"{where}{name}", beside=False)
                submission.notes += ["late, says Canvas"] * late
                self.add(submission)
            elif entry.suffix.lower() in ARCHIVES:
                self.passed_over.append(
                    f"{where}{name} (an archive of a kind that is not read: unpack it)"
                )
            else:
                self.passed_over.append(f"{where}{name}")

    def archive(self, path: Path, where: str) -> None:
        """A zip archive among the submissions: a student's, or one with a whole class in it."""
        try:
            folder = self.unpack(path)
        except (
            OSError,
            zipfile.BadZipFile,
            RuntimeError,
            ValueError,
            NotImplementedError,
        ) as error:
            student, number, _, _ = owner(Path(where).stem)
            self.add(
                Submission(
                    student,
                    "",
                    path,
                    problem=f"the archive cannot be read: {error}",
                    id=number,
                    shown_path=where,
                )
            )
            return
        entries = [one for one in folder.iterdir() if one.name not in SKIPPED]
        name = same_letters(Path(where).stem)
        is_students = any(pattern.fullmatch(name) for pattern in (MOODLE, CANVAS, OWN))
        if not is_students and holds_a_class(entries):
            self.level(folder, f"{where}/")
        else:
            self.students_folder(folder, *owner(name), f"{where}/")

    def students_folder(
        self, folder: Path, student: str, number: str, late: bool, rest: str, where: str
    ) -> None:
        """All that one student handed in."""
        mine, other = [], []
        for path, shown in self.walk(folder, where):
            if not NOTEBOOK.fullmatch(same_letters(path.name)):
                other.append(shown)
                continue
            submission = self.read(path, student, number, shown)
            submission.notes += ["late, says Canvas"] * late
            mine.append(submission)
        if not mine:
            problem = "no notebook in the folder"
            if other:
                problem += f" (there is {other[0].removeprefix(where)})"
            mine = [Submission(student, "", problem=problem, id=number)]
        for submission in mine:
            self.add(submission)

    def walk(self, folder: Path, where: str, depth: int = 0) -> Iterator[tuple[Path, str]]:
        """The files in a folder and in its folders and archives; links are not followed."""
        try:
            entries = sorted(folder.iterdir(), key=lambda path: path.name)
        except OSError:
            return
        for entry in entries:
            shown = where + same_letters(entry.name)
            if entry.name in SKIPPED or entry.name.startswith("._"):
                continue
            if entry.is_dir() and not entry.is_symlink():
                if depth < MOST_DEPTH:
                    yield from self.walk(entry, f"{shown}/", depth + 1)
            elif entry.suffix.lower() == ".zip" and self.scratch is not None and depth < MOST_DEPTH:
                try:
                    inside = self.unpack(entry)
                except (OSError, zipfile.BadZipFile, RuntimeError, ValueError, NotImplementedError):
                    yield entry, shown
                    continue
                yield from self.walk(inside, f"{shown}/", depth + 1)
            else:
                yield entry, shown

    def unpack(self, path: Path) -> Path:
        """The files of an archive in a new folder; names that lead out of it are made harmless."""
        if path.is_symlink():
            raise ValueError("it is a link")
        folder = self.scratch / f"{len(list(self.scratch.iterdir()))}"
        folder.mkdir(parents=True)
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > MOST_ENTRIES:
                raise ValueError(f"more than {MOST_ENTRIES} files")
            for entry in entries:
                parts = [
                    part
                    for part in PurePosixPath(entry_name(entry).replace("\\", "/")).parts
                    if part not in ("/", "..", ".")
                ]
                if entry.is_dir() or not parts or set(parts) & SKIPPED:
                    continue
                self.unpacked += entry.file_size
                if entry.file_size > MOST_BYTES * 5 or self.unpacked > MOST_UNPACKED:
                    raise ValueError("what is in it is too large")
                target = folder.joinpath(*(part[:150] for part in parts))
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as file:
                    target.write_bytes(file.read(entry.file_size + 1)[: entry.file_size])
                moment = datetime(*entry.date_time).timestamp() if entry.date_time[1] else 0
                os.utime(target, (moment, moment))
        return folder

    # One file

    def read(
        self, path: Path, student: str, number: str, shown: str, beside: bool = True
    ) -> Submission:
        """Read one file. Whatever is wrong with it becomes the submission's `problem`."""
        named = set_named(shown, self.sets)
        submission = Submission(student, named, path, id=number, shown_path=shown)
        try:
            submission.notebook, submission.notes = read_notebook(path)
            submission.handed_in, notes = time_of(path)
            submission.notes += notes
            if beside:
                submission.beside = dict(texts_beside(path))
        except (Unreadable, OSError) as error:
            submission.problem = str(error)
            return submission
        submission.set_name = set_held(submission.notebook, self.sets) or named
        if not submission.set_name:
            submission.problem = "neither its name nor its cells say which set it is"
        elif named and named != submission.set_name:
            submission.notes.append(f"the file is called {shown.rsplit('/', 1)[-1]}")
        return submission

    def best(self, several: list[Submission]) -> Submission:
        """Of several files for one set the one that was worked on, or the newest; it says so."""

        def order(one: Submission) -> tuple:
            worked_on = one.notebook is not None and not self.untouched(one.set_name, one.notebook)
            return (
                not one.problem,
                worked_on,
                "my_work/" in one.shown_path,
                one.shown_path.rsplit("/", 1)[-1] == f"{one.set_name}.ipynb",
                one.handed_in.timestamp() if one.handed_in else 0.0,
            )

        ordered = sorted(several, key=order)
        chosen = ordered.pop()
        if ordered:
            chosen.notes.insert(0, f"graded: {chosen.shown_path}")
        chosen.notes += [
            f"not graded, there is another for this set: {one.shown_path}"
            for one in ordered
            if one.path
        ]
        return chosen


def owner(name: str) -> tuple[str, str, bool, str]:
    """(the student, their number, late?, the rest) of the name of a file or folder."""
    for pattern in (MOODLE, CANVAS, OWN):
        if match := pattern.fullmatch(name):
            parts = match.groupdict()
            return (
                same_letters(parts["name"]),
                parts.get("id") or "",
                bool(parts.get("late")),
                parts["rest"],
            )
    return same_letters(name), "", False, ""


def holds_a_class(entries: list[Path]) -> bool:
    """Do these entries of an archive belong to several students?"""
    names = [same_letters(entry.name.removesuffix(".zip")) for entry in entries]
    if any(MOODLE.fullmatch(name) or CANVAS.fullmatch(name) for name in names):
        return True
    if len(entries) == 1 and entries[0].is_dir():
        inner = list(entries[0].iterdir())
        return any(MOODLE.fullmatch(entry.name) for entry in inner)
    owners = {
        owner(NOTEBOOK.fullmatch(name)["stem"])[0]
        for name in names
        if NOTEBOOK.fullmatch(name) and OWN.fullmatch(name)
    }
    folders = [
        entry
        for entry in entries
        if entry.is_dir() and any(NOTEBOOK.fullmatch(one.name) for one in entry.rglob("*"))
    ]
    same = [{set_number(one.name) for one in folder.rglob("*")} - {""} for folder in folders]
    return len(owners) > 1 or any(a & b for i, a in enumerate(same) for b in same[i + 1 :])


def entry_name(entry: zipfile.ZipInfo) -> str:
    """The name of a file in an archive: without its flag UTF-8 may have been meant all the same."""
    if entry.flag_bits & 0x800:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return entry.filename


def set_number(text: str) -> str:
    match = re.search(r"(?<![a-z])ps ?0*(\d+)", text, re.IGNORECASE)
    return match[1] if match else ""


def set_named(shown: str, sets: dict[str, set[str]]) -> str:
    """The set whose number (`ps3`) stands in the last part of a path, or in the one before it."""
    for word in reversed(shown.split("/")[-2:]):
        for number in re.findall(r"ps ?(\d+)", word, re.IGNORECASE):
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


def read_notebook(path: Path) -> tuple[NotebookNode, list[str]]:
    """A file's cells in new cells (sources, types, names, ids; nothing else), and what to note."""
    info = path.lstat()
    if not stat.S_ISREG(info.st_mode):
        raise Unreadable("not a file of its own (a link, or something else)")
    if info.st_size == 0:
        raise Unreadable("the file is empty")
    if info.st_size > MOST_BYTES:
        raise Unreadable(f"the file is larger than {MOST_BYTES // 10**6} MB")
    return notebook_of(path.read_bytes())


def notebook_of(data: bytes) -> tuple[NotebookNode, list[str]]:
    """The notebook that some bytes hold. Raises Unreadable, whatever they are."""
    text, encoding = decoded(data)
    notes = [f"the file is written as {encoding}, not as UTF-8"] if encoding else []
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        start = data[:40].lstrip().lower()
        for begin, what in OTHER_FILES:
            if start.startswith(begin.lower()):
                raise Unreadable(f"not a notebook but {what}") from None
        raise Unreadable("not a notebook: no valid JSON (cut off?)") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old or careless writers
            if int(raw["nbformat"]) < 4:
                raw = nbformat.convert(nbformat.from_dict(raw), 4)
            cells = [clean(cell) for cell in raw["cells"] if not hands_in(cell)]
    except Exception as error:  # whatever the conversion of a strange file stumbles over
        raise Unreadable(f"not a notebook ({type(error).__name__})") from None
    strange = cells.count(None)
    if strange:
        notes.append(f"{strange} of its cells cannot be read")
    cells = [cell for cell in cells if cell is not None]
    if not any(cell.cell_type == "code" for cell in cells):
        raise Unreadable(
            "not a notebook: no cell of it can be read"
            if strange
            else "there is no code cell in it"
        )
    return new_notebook(cells=cells), notes


def decoded(data: bytes) -> tuple[str, str]:
    """The text of a file, and its encoding if that is not UTF-8."""
    for mark, encoding in [
        (b"\xff\xfe\x00\x00", "utf-32"),
        (b"\x00\x00\xfe\xff", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ]:
        if data.startswith(mark):
            try:
                return data.decode(encoding), encoding.upper()
            except UnicodeDecodeError:
                break
    if data[:2] in (b"{\x00", b"\x00{"):
        encoding = "utf-16-le" if data[:1] == b"{" else "utf-16-be"
        return data.decode(encoding, "replace"), "UTF-16"
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace"), "cp1252 (Windows)"


def hands_in(cell: object) -> bool:
    """Is this one of the two cells that a student's copy has more than its original?"""
    if not isinstance(cell, dict) or cell.get("id") not in HAND_IN_CELLS:
        return False
    return cell.get("cell_type") == "markdown" or "hand_in(" in joined(cell.get("source", ""))


def clean(cell: object) -> NotebookNode | None:
    """A new cell with what counts of an old one; None if that is no cell."""
    if not isinstance(cell, dict) or cell.get("cell_type") not in NEW_CELL:
        return None
    source = cell.get("source")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        return None
    made = NEW_CELL[cell["cell_type"]](printable(source))
    metadata = cell.get("metadata")
    info = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    name = info.get("grade_id") if isinstance(info, dict) else None
    if isinstance(name, str) and name:
        made.metadata["nbgrader"] = {"grade_id": printable(name)[:200]}
    made.metadata["was"] = printable(str(cell.get("id", "")))[:200]
    return made


def time_of(path: Path) -> tuple[datetime, list[str]]:
    """When it was handed in, with its zone: `timestamp.txt` beside it, or the time of the file."""
    try:
        text = (path.parent / "timestamp.txt").read_text(encoding="utf-8")[:80].strip()
        return read_time(text)
    except (OSError, ValueError):
        return datetime.fromtimestamp(int(path.stat().st_mtime)).astimezone(), []


def texts_beside(path: Path) -> Iterator[tuple[str, bytes]]:
    """The small files beside a notebook: a student's own text must be there when it runs."""
    left = MOST_BESIDE
    for other in sorted(path.parent.iterdir()):
        if other.is_symlink() or not other.is_file() or other.suffix in (".ipynb", ".py", ".zip"):
            continue
        left -= os.path.getsize(other)
        if left < 0:
            return
        yield other.name, other.read_bytes()
