"""``start.py grade FOLDER``: grades every submission in a folder, and writes the results."""

from __future__ import annotations

import argparse
import base64
import csv
import json
import logging
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from datetime import datetime
from pathlib import Path

import nbformat

from tools.teaching.grading import jail, report, submissions
from tools.teaching.grading.course import Course, marks_in_book
from tools.teaching.grading.report import Row
from tools.teaching.grading.runner import NOT_STARTED
from tools.teaching.grading.submissions import Submission, same_letters
from tools.launcher.project import here

ROOT = here().root
OURS = ".grading"  # a folder with a file of this name may be emptied
FULL = "own file system, own processes, no network, limits on time and memory"
PART = "limits on time and memory; this system cannot hide files and network from a notebook"


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="start.py grade", description="Grade the problem sets in a folder of submissions."
    )
    add = parser.add_argument
    add("folder", type=Path, help="with FOLDER/<student>/ps1_....ipynb, nbgrader's own order, or "
        "<student>_ps1_....ipynb")
    add("--out", type=Path, default=ROOT / "build" / "grading", metavar="FOLDER",
        help="where the results go (build/grading)")
    add("--set", action="append", default=[], metavar="NAME", help="only this set (ps3); repeat")
    add("--students", type=Path, metavar="FILE",
        help="the class list, a name a line: who handed in nothing gets a line too")
    add("--open", type=Path, metavar="FILE", help="marks for open questions, like open_marks.csv")
    add("--due", type=datetime.fromisoformat, metavar="TIME",
        help="mark as late what came after, such as 2026-11-23T18:00")
    add("--cell-seconds", type=float, default=60, metavar="N", help="time for one cell (60)")
    add("--seconds", type=float, default=300, metavar="N", help="time for a notebook (300)")
    add("--memory", type=int, default=3000, metavar="MB", help="for a notebook (3000)")
    add("--jobs", type=int, default=2, metavar="N", help="how many run at a time (2)")
    add("--sandbox", choices=["auto", "require", "off"], default="auto",
        help="require: stop where the system cannot hide files and network; off: do not try")
    add("--solutions", type=Path, default=ROOT / "notebooks" / "solutions", help=argparse.SUPPRESS)
    return parser.parse_args(words)


# Running


class NotStarted(RuntimeError):
    """Nothing of the notebook was run."""


class Sandbox:
    """Starts the process of its own in which a notebook runs."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.limits = {"seconds": options.seconds, "cell_seconds": options.cell_seconds,
                       "memory": options.memory}
        self.patience = options.seconds + 120  # it keeps its time itself; this is for the worst
        self.fonts = fonts(folder)
        secret = [ROOT / "notebooks", ROOT / "tests", ROOT / ".git", ROOT / "build",
                  options.folder.resolve(), options.out.resolve()]
        visible = [sys.prefix, sys.base_prefix, ROOT / "minigpt_helpers", ROOT / "tools"]
        self.jail = {"visible": list(map(str, visible)), "hidden": list(map(str, secret))}
        self.running: set[subprocess.Popen] = set()
        if options.sandbox == "off" or not jail.possible() or not self.works():
            self.jail = None

    def works(self) -> bool:
        """Whether a notebook of one cell runs in a jail."""
        cell = {"cell_type": "code", "source": "1", "metadata": {}}
        try:
            return not self.run({"cells": [cell]}, {})[1]
        except RuntimeError:
            return False

    def run(self, notebook: dict, beside: dict[str, bytes]) -> tuple[dict, list[str]]:
        """The notebook with what it showed, and what is to be said of the run."""
        for _ in range(3):  # a machine that is very busy may fail to start a kernel
            try:
                return self.run_once(notebook, beside)
            except NotStarted as error:
                reason = error
        raise reason

    def run_once(self, notebook: dict, beside: dict[str, bytes]) -> tuple[dict, list[str]]:
        files = self.fonts | beside
        files = {name: base64.b64encode(data).decode() for name, data in files.items()}
        task = {"notebook": notebook, "files": files, "limits": self.limits, "jail": self.jail}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tools.teaching.grading.runner"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment(), start_new_session=True,
        )
        self.running.add(process)
        try:
            out, err = process.communicate(json.dumps(task).encode(), timeout=self.patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise RuntimeError("its run did not end and was stopped from outside") from None
        finally:
            self.running.discard(process)
        if process.returncode != 0:
            last = (err.decode(errors="replace").strip().splitlines() or ["no word why"])[-1]
            kind = NotStarted if process.returncode == NOT_STARTED else RuntimeError
            raise kind(f"its run broke off: {last[:200]}")
        done = json.loads(out)
        return done["notebook"], done["notes"]


    def stop(self) -> None:
        """End all that runs; a kernel ends with the process that started it."""
        for process in list(self.running):
            process.kill()


def environment() -> dict[str, str]:
    """The few variables that a notebook may see."""
    kept = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "LD_LIBRARY_PATH")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    env |= {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1",
            "MPLBACKEND": "agg", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    return env | {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}


def fonts(folder: Path) -> dict[str, bytes]:
    """matplotlib's list of fonts: made once, not by each notebook anew."""
    folder.mkdir(parents=True)
    subprocess.run(
        [sys.executable, "-c", "import matplotlib.font_manager"], capture_output=True, check=False,
        env=environment() | {"MPLCONFIGDIR": str(folder), "HOME": str(folder)},
    )
    return {path.name: path.read_bytes() for path in folder.glob("fontlist*.json")}


# Grading


def main(words: list[str]) -> int:
    options = arguments(words)
    if not options.folder.is_dir():
        return refuse(f"There is no folder {options.folder}.")
    try:
        names = class_list(options.students) if options.students else []
        marks = dict(earlier_marks(options.out))
        marks |= dict(report.read_marks(options.open)) if options.open else {}
        solutions = sorted(options.solutions.glob("*.ipynb"))
        chosen = chosen_sets(solutions, options.set)
        make_empty(options.out, options.folder)
    except (ValueError, OSError) as error:
        return refuse(str(error))
    course = Course(options.out / "course", solutions)
    cells = {name: set(one.cells) for name, one in course.sets.items()}
    found, passed_over = submissions.find(options.folder, cells)
    found = [one for one in found if one.set_name in chosen or not one.set_name]
    sandbox = Sandbox(options, options.out / "course" / "fonts")
    if sandbox.jail is None and options.sandbox == "require":
        return refuse("This system cannot hide files and network from a notebook (--sandbox).")
    print(f"Each notebook runs with: {FULL if sandbox.jail else PART}.", flush=True)
    for name in passed_over:
        print(f"passed over: {name}")
    rows = grade_all(course, sandbox, [one for one in found if one.set_name], options.jobs)
    rows += absent(names, found, course, options.set and chosen)
    rows.sort(key=lambda row: (row.student, row.set_name))
    finish(course, rows, marks, options)
    report.write(options.out, rows)
    return summary(rows, options.out)


def refuse(text: str) -> int:
    print(text, file=sys.stderr)
    return 2


def chosen_sets(solutions: list[Path], wanted: list[str]) -> set[str]:
    """The names of the sets asked for: ``ps3``, ``3`` or the whole name; without any, all."""
    known = {path.stem for path in solutions}
    if not known:
        raise ValueError("There are no solutions here; only the teacher's copy has them.")
    chosen = {name for name in known for word in wanted
              if word in (name, name.split("_")[0], name.split("_")[0].removeprefix("ps"))}
    if wanted and not chosen:
        there = ", ".join(sorted(known))
        raise ValueError(f"There is no set {', '.join(wanted)}; there are {there}.")
    return chosen or known


def class_list(path: Path) -> list[str]:
    """The first column of a file, without a heading `student`."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        names = [line[0].strip() for line in csv.reader(file) if line and line[0].strip()]
    return [same_letters(name) for name in names if name.lower() != "student"]


def make_empty(out: Path, submitted: Path) -> None:
    """Clear the results of the last time; never a folder that holds anything else."""
    inside, outside = out.resolve(), submitted.resolve()
    if inside == outside or inside in outside.parents or outside in inside.parents:
        raise ValueError("The results cannot go into the folder of submissions: another --out?")
    if out.exists() and any(out.iterdir()) and not (out / OURS).is_file():
        raise ValueError(f"{out} holds other files: give an empty or a new folder.")
    out.mkdir(parents=True, exist_ok=True)
    (out / OURS).write_text("start.py grade empties this folder.\n", encoding="utf-8")
    for name in ("course", "feedback"):
        shutil.rmtree(out / name, ignore_errors=True)


def grade_all(course: Course, sandbox: Sandbox, found: list[Submission], jobs: int) -> list[Row]:
    """Restore, run and score; a bad submission is a row with a problem."""
    rows: list[Row] = []
    begin = time.perf_counter()

    def done(submission: Submission) -> None:
        rows.append(row_of(course, submission))
        progress(rows[-1], len(rows), len(found), time.perf_counter() - begin)

    with ThreadPoolExecutor(max(1, jobs)) as pool:
        running: dict[Future, Submission] = {}
        try:
            for submission in found:
                if not submission.problem:
                    try:
                        restored = course.restore(submission)
                        task = json.loads(nbformat.writes(restored, split_lines=False))
                    except Exception as error:  # whatever a strange file makes nbgrader say
                        submission.problem = said(error)
                if submission.problem:
                    done(submission)
                else:
                    running[pool.submit(sandbox.run, task, submission.beside)] = submission
            for future in as_completed(running):
                submission = running[future]
                try:
                    notebook, notes = future.result()
                    submission.notes += notes
                    course.score(submission, nbformat.from_dict(notebook))
                except Exception as error:
                    submission.problem = said(error)
                done(submission)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            sandbox.stop()
            raise
    return rows


def said(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [""])[0][:200]
    plain = isinstance(error, (RuntimeError, ValueError)) and line
    return line if plain else f"{type(error).__name__}: {line}"


def row_of(course: Course, submission: Submission) -> Row:
    problem_set = course.sets[submission.set_name]
    row = Row(submission.student, submission.set_name, problem_set.grades(),
              submission.safe_student, problem=submission.problem, notes=submission.notes,
              handed_in=submission.handed_in)
    if not row.problem:
        row.grades = course.grades(row.safe_student, row.set_name)
    return row


def progress(row: Row, number: int, total: int, seconds: float) -> None:
    score, most = row.points(is_open=False)
    result = "NOT GRADED" if row.problem else f"{score:g} of {most:g}"
    more = "; ".join(filter(None, [row.problem, *row.notes]))
    print(f"[{number}/{total}, {seconds:.0f} s] {row.student}, {row.set_name}: {result}"
          f"{' (' + more + ')' if more else ''}", flush=True)


def absent(
    names: list[str], found: list[Submission], course: Course, chosen: set[str]
) -> Iterator[Row]:
    """A row with no points for each student and set without a notebook."""
    here_now = {(one.student, one.set_name) for one in found}
    unclear = {one.student: one for one in found if not one.set_name}
    chosen = chosen or {name for _, name in here_now if name} or set(course.sets)
    for student in sorted({*names, *(student for student, _ in here_now)}):
        for name in sorted(chosen):
            if (student, name) not in here_now:
                problem = "nothing handed in"
                if one := unclear.get(student):
                    problem = f"{one.path.name}: {one.problem}" if one.path else one.problem
                safe = Submission(student, name).safe_student
                yield Row(student, name, course.sets[name].grades(), safe, problem=problem)


# Marks and results

Marks = dict[tuple[str, str, str], tuple[float, str]]


def earlier_marks(out: Path) -> Marks:
    """The teacher's marks of the last time: from its gradebook and its open_marks.csv.

    Where both have one, that of the file that was changed later holds.
    """
    table, book = out / "open_marks.csv", out / "course" / "gradebook.db"
    sources = {path: read for path, read in [(table, report.read_marks), (book, marks_in_book)]
               if path.is_file()}
    marks: Marks = {}
    for path in sorted(sources, key=lambda path: path.stat().st_mtime):
        marks |= sources[path](path)
    return marks


def finish(course: Course, rows: list[Row], marks: Marks, options: argparse.Namespace) -> None:
    """Enter the marks, and write the feedback."""
    unused = dict(marks)
    for row in rows:
        if options.due and row.handed_in and row.handed_in > options.due:
            row.late = "late"
        if not row.problem:
            for grade in row.grades:
                mark = unused.pop((row.student, row.set_name, grade.problem), None)
                if mark is None:
                    continue
                if 0 <= mark[0] <= grade.max_score:
                    course.mark(row.safe_student, row.set_name, grade.problem, *mark)
                else:
                    row.notes.append(f"{grade.problem}: a mark of {mark[0]:g} is not between "
                                     f"0 and {grade.max_score:g}")
            row.grades = course.grades(row.safe_student, row.set_name)
            row.answers = {grade.problem: course.answer(row, grade.problem)
                           for grade in row.grades if grade.is_open}
        page = options.out / "feedback" / row.safe_student / f"{row.set_name}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(course.feedback(row), encoding="utf-8")
        row.feedback = page.relative_to(options.out).as_posix()
    for student, set_name, problem in unused:
        print(f"a mark without an answer: {student}, {set_name}, {problem}")


def summary(rows: list[Row], out: Path) -> int:
    bad = [row for row in rows if row.problem]
    waiting = sum(row.waiting > 0 for row in rows)
    print(f"\n{len(rows) - len(bad)} of {len(rows)} graded; the points stand in "
          f"{out / 'scores.csv'}, the feedback in {out / 'feedback'}.")
    if waiting:
        print(f"{waiting} wait for marks of open questions: fill the column score of "
              f"{out / 'open_marks.csv'}, then give the same command again.")
    for row in bad:
        print(f"not graded: {row.student}, {row.set_name}: {row.problem}")
    return 1 if bad else 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of nbgrader's database
    logging.disable(logging.CRITICAL)  # what nbgrader has to say stands in the table
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
