"""What is written down: points as CSV, and the open answers that wait for a teacher's mark."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tools.teaching.grading.submissions import decoded, same_letters

COLUMNS = [
    "student",
    "id",
    "set",
    "score",
    "max_score",
    "open_score",
    "open_max_score",
    "open_waiting",
    "total",
    "total_max",
    "late",
    "problem",
    "notes",
    "feedback",
]
MARKS = [
    "student",
    "set",
    "problem",
    "max_score",
    "score",
    "comment",
    "answer",
    "answer_hash",
    "earlier",
]


@dataclass
class Grade:
    """The points of one problem. `score` is None as long as a teacher's mark is waited for."""

    problem: str
    is_open: bool
    score: float | None
    max_score: float
    title: str = ""
    comment: str = ""
    by_teacher: bool = False
    earlier: str = ""  # a mark that was given for another answer


@dataclass
class Row:
    """One student and one set."""

    student: str
    set_name: str
    grades: list[Grade]
    safe_student: str = ""
    id: str = ""
    handed_in: datetime | None = None
    late: str = ""
    problem: str = ""  # why it could not be graded
    notes: list[str] = field(default_factory=list)
    feedback: str = ""
    answers: dict[str, str] = field(default_factory=dict)

    def points(self, is_open: bool) -> tuple[float, float]:
        mine = [grade for grade in self.grades if grade.is_open == is_open]
        return sum(g.score or 0 for g in mine), sum(g.max_score for g in mine)

    @property
    def waiting(self) -> float:
        """Points of open questions that no teacher has marked yet."""
        return sum(grade.max_score for grade in self.grades if grade.score is None)

    def as_dict(self) -> dict[str, object]:
        score, most = self.points(is_open=False)
        open_score, open_most = self.points(is_open=True)
        values = [
            self.student,
            self.id,
            self.set_name,
            score,
            most,
            open_score,
            open_most,
            self.waiting,
            score + open_score,
            most + open_most,
            self.late,
            self.problem,
            "; ".join(self.notes),
            self.feedback,
        ]
        return {name: plain(value) for name, value in zip(COLUMNS, values)}


def plain(value: object) -> str:
    """A number without noise; a text that a spreadsheet does not take for a formula."""
    if isinstance(value, (int, float)):
        return f"{round(value, 4):g}"
    text = "" if value is None else str(value)
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def write(folder: Path, rows: list[Row], hash_of) -> None:
    write_table(folder / "scores.csv", COLUMNS, (row.as_dict() for row in rows))
    write_table(
        folder / "problems.csv",
        ["student", "set", "problem", "title", "kind", "score", "max_score"],
        (
            {
                "student": plain(row.student),
                "set": row.set_name,
                "problem": grade.problem,
                "title": plain(grade.title),
                "kind": "open" if grade.is_open else "automatic",
                "score": plain(grade.score),
                "max_score": plain(grade.max_score),
            }
            for row in rows
            for grade in row.grades
        ),
    )
    write_table(folder / "open_marks.csv", MARKS, open_marks(rows, hash_of))


def open_marks(rows: list[Row], hash_of) -> Iterator[dict[str, str]]:
    """One line an answer to an open question; those without a score wait for one.

    An answer that was not written has 0 points already and needs no line.
    """
    for row in rows:
        for grade in row.grades:
            if grade.by_teacher or (grade.is_open and grade.score is None):
                answer = row.answers.get(grade.problem, "")
                yield {
                    "student": plain(row.student),
                    "set": row.set_name,
                    "problem": grade.problem,
                    "max_score": plain(grade.max_score),
                    "score": plain(grade.score),
                    "comment": plain(grade.comment),
                    "answer": plain(answer),
                    "answer_hash": hash_of(answer),
                    "earlier": plain(grade.earlier),
                }


def write_table(path: Path, columns: list[str], rows: Iterable[dict]) -> None:
    # With a mark at its beginning, so that spreadsheets read umlauts.
    half = path.with_name(path.name + ".part")  # a full disk leaves this, not half a table
    with half.open("w", encoding="utf-8-sig", errors="replace", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        table.writerows(rows)
    half.replace(path)


@dataclass
class Mark:
    """A teacher's mark, and for which answer it was given ("" if that is not known)."""

    score: float
    comment: str
    answer_hash: str = ""


def read_marks(path: Path) -> Iterator[tuple[tuple[str, str, str], Mark]]:
    """The marks in a table like ``open_marks.csv``: (student, set, problem), mark."""
    for number, line in read_table(path, {"student", "set", "problem", "score"}):
        word = (line["score"] or "").strip().replace(",", ".")
        if not word:
            continue
        try:
            score = float(word)
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise ValueError(f"{path.name}, line {number}: {word!r} is no score")
        key = tuple(unquoted((line[name] or "").strip()) for name in ("student", "set", "problem"))
        yield key, Mark(score, unquoted(line.get("comment") or ""), line.get("answer_hash") or "")


def read_table(path: Path, needed: set[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The lines of a CSV file as any spreadsheet writes it: commas, semicolons, tabs, UTF-16."""
    text, _ = decoded(path.read_bytes())
    first = text.splitlines()[0] if text.strip() else ""
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator(first))
    table.fieldnames = [name.strip().lower() for name in table.fieldnames or ()]
    missing = needed - set(table.fieldnames)
    if missing:
        raise ValueError(f"{path.name} has no column {', '.join(sorted(missing))}")
    for line in table:
        yield table.line_num, {key: value for key, value in line.items() if isinstance(key, str)}


def separator(line: str) -> str:
    return max(";\t,", key=line.count) if any(sign in line for sign in ";\t") else ","


def unquoted(text: str) -> str:
    """The text before `plain`."""
    return text[1:] if text[:1] == "'" and text[1:2] in ("=", "+", "-", "@", "\t", "\r") else text


# The class list


@dataclass(frozen=True)
class Student:
    """One line of a class list."""

    name: str
    id: str = ""


HEADINGS = {
    "name": ("student", "name", "full name", "student name", "vollständiger name"),
    "first": ("first name", "firstname", "given name", "vorname"),
    "last": ("last name", "lastname", "surname", "family name", "nachname"),
    "id": (
        "id",
        "id number",
        "student id",
        "sis user id",
        "identifier",
        "username",
        "email",
        "email address",
        "matrikelnummer",
    ),
}


def class_list(path: Path) -> list[Student]:
    """The students in a file: a name a line, or a table with a heading as Moodle and Canvas write it.
    Lines that begin with # are for the reader.

    Without a heading a line is one name, also `Müller, Jürgen`; after a semicolon or tab, or after a
    name between quotes, comes the id.
    """
    text, _ = decoded(path.read_bytes())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        return []
    table = list(csv.reader(lines, delimiter=separator(lines[0])))
    heading = [word.strip().lower() for word in table[0]]
    columns = {
        kind: next((heading.index(word) for word in words if word in heading), None)
        for kind, words in HEADINGS.items()
    }
    found = []
    if columns["name"] is not None or (
        columns["first"] is not None and columns["last"] is not None
    ):
        for fields in table[1:]:

            def field_of(kind: str, fields: list[str] = fields) -> str:
                number = columns[kind]
                return fields[number].strip() if number is not None and number < len(fields) else ""

            name = field_of("name") or f"{field_of('first')} {field_of('last')}".strip()
            if columns["name"] is not None and len(heading) == 1:
                name = ", ".join(part.strip() for part in fields)  # `Müller, Jürgen` without quotes
            found.append(Student(same_letters(name), same_letters(field_of("id"))))
    else:
        for line, fields in zip(lines, table):
            if separator(line) == "," and not line.lstrip().startswith('"'):
                fields = [line]
            found.append(
                Student(same_letters(fields[0]), same_letters(fields[1]) if fields[1:] else "")
            )
    return [student for student in found if student.name]
