"""What is written down: points as CSV, and the open answers that wait for a teacher's mark."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

COLUMNS = ["student", "set", "score", "max_score", "open_score", "open_max_score", "open_waiting",
           "total", "total_max", "late", "problem", "notes", "feedback"]
MARKS = ["student", "set", "problem", "max_score", "score", "comment", "answer"]


@dataclass
class Grade:
    """The points of one problem. `score` is None as long as a teacher's mark is waited for."""

    problem: str
    is_open: bool
    score: float | None
    max_score: float
    comment: str = ""
    by_teacher: bool = False


@dataclass
class Row:
    """One student and one set."""

    student: str
    set_name: str
    grades: list[Grade]
    safe_student: str = ""
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
        values = [self.student, self.set_name, score, most, open_score, open_most, self.waiting,
                  score + open_score, most + open_most, self.late, self.problem,
                  "; ".join(self.notes), self.feedback]
        return {name: plain(value) for name, value in zip(COLUMNS, values)}


def plain(value: object) -> str:
    """A number without noise; a text that a spreadsheet does not take for a formula."""
    if isinstance(value, (int, float)):
        return f"{round(value, 4):g}"
    text = "" if value is None else str(value)
    return "'" + text if text.startswith(("=", "+", "-", "@")) else text


def write(folder: Path, rows: list[Row]) -> None:
    write_table(folder / "scores.csv", COLUMNS, (row.as_dict() for row in rows))
    write_table(
        folder / "problems.csv",
        ["student", "set", "problem", "kind", "score", "max_score"],
        (
            {"student": plain(row.student), "set": row.set_name, "problem": grade.problem,
             "kind": "open" if grade.is_open else "automatic", "score": plain(grade.score),
             "max_score": plain(grade.max_score)}
            for row in rows for grade in row.grades
        ),
    )
    write_table(folder / "open_marks.csv", MARKS, open_marks(rows))


def open_marks(rows: list[Row]) -> Iterator[dict[str, str]]:
    """One line an answer to an open question; those without a score wait for one.

    An answer that was not written has 0 points already and needs no line.
    """
    for row in rows:
        for grade in row.grades:
            if grade.is_open and (grade.by_teacher or grade.score is None):
                yield {
                    "student": plain(row.student), "set": row.set_name, "problem": grade.problem,
                    "max_score": plain(grade.max_score), "score": plain(grade.score),
                    "comment": plain(grade.comment), "answer": plain(row.answers[grade.problem]),
                }


def write_table(path: Path, columns: list[str], rows) -> None:
    # With a mark at its beginning, so that spreadsheets read umlauts.
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        table.writerows(rows)


def read_marks(path: Path) -> Iterator[tuple[tuple[str, str, str], tuple[float, str]]]:
    """The marks in a table like ``open_marks.csv``: (student, set, problem), (score, comment)."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        sample = file.readline()
        file.seek(0)
        table = csv.DictReader(file, delimiter=";" if ";" in sample else ",")
        missing = {"student", "set", "problem", "score"} - set(table.fieldnames or ())
        if missing:
            raise ValueError(f"{path.name} has no column {', '.join(sorted(missing))}")
        for line in table:
            word = (line["score"] or "").strip().replace(",", ".")
            if not word:
                continue
            try:
                score = float(word)
            except ValueError:
                score = math.nan
            if not math.isfinite(score):
                raise ValueError(f"{path.name}, line {table.line_num}: {word!r} is no score")
            key = tuple(unquoted(line[name]) for name in ("student", "set", "problem"))
            yield key, (score, unquoted(line.get("comment") or ""))


def unquoted(text: str) -> str:
    """The text before `plain`."""
    return text[1:] if text[:1] == "'" and text[1:2] in ("=", "+", "-", "@") else text
