"""``start.py grade FOLDER``: grades every submission in a folder, and writes the results."""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import itertools
import json
import shutil
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime
from pathlib import Path

import nbformat

from tools.launcher.project import here
from tools.teaching.grading import inbox, report, submissions
from tools.teaching.grading.cells import ProblemSet, answer_hash
from tools.teaching.grading.feedback import feedback
from tools.teaching.grading.report import Mark, Row, Student
from tools.teaching.grading.sandbox import FULL, PART, Sandbox
from tools.teaching.grading.submissions import Submission
from tools.teaching.grading.times import read_time

ROOT = here().root
OURS = ".grading"  # a folder with a file of this name may be emptied
RUNS = "runs"  # what ran already, so that marking does not run it again


def due_time(text: str) -> datetime:
    try:
        return read_time(text)[0]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="start.py grade", description="Grade the problem sets in a folder of submissions."
    )
    add = parser.add_argument
    add(
        "folder",
        type=Path,
        help="with FOLDER/<student>/ps1_....ipynb, <student>_ps1_....ipynb, or "
        "what Moodle or Canvas export; also a zip archive, or the inbox/ of a hub",
    )
    add(
        "--out",
        type=Path,
        default=ROOT / "build" / "grading",
        metavar="FOLDER",
        help="where the results go (build/grading)",
    )
    add("--set", action="append", default=[], metavar="NAME", help="only this set (ps3); repeat")
    add(
        "--students",
        type=Path,
        metavar="FILE",
        help="the class list, a name a line or a table: who handed in nothing gets a line too",
    )
    add("--open", type=Path, metavar="FILE", help="marks for open questions, like open_marks.csv")
    add(
        "--due",
        type=due_time,
        metavar="TIME",
        help="mark as late what came after, such as 2026-11-23T18:00 or 2026-11-23T18:00+01:00",
    )
    add(
        "--seed",
        metavar="TEXT",
        help="draws the numbers of the hidden tests: keep it to yourself, "
        "take another each year (the default follows from the sets)",
    )
    add("--cell-seconds", type=float, default=60, metavar="N", help="time for one cell (60)")
    add("--seconds", type=float, default=300, metavar="N", help="time for a notebook (300)")
    add("--memory", type=int, default=3000, metavar="MB", help="for a notebook (3000)")
    add("--jobs", type=int, default=2, metavar="N", help="how many run at a time (2)")
    add("--again", action="store_true", help="run all notebooks, also those that did not change")
    add(
        "--sandbox",
        choices=["auto", "require", "off"],
        default="auto",
        help="require: stop where the system cannot hide files and network; off: do not try",
    )
    add("--solutions", type=Path, default=ROOT / "notebooks" / "solutions", help=argparse.SUPPRESS)
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    options = arguments(words)
    if not options.folder.exists():
        return refuse(f"There is no folder {options.folder}.")
    csv.field_size_limit(2**27)
    try:
        names = (
            report.class_list(options.students)
            if options.students
            else [Student(one.name, one.id) for one in inbox.owners(options.folder)]
        )
        earlier = marks_in(options.out / "open_marks.csv")
        given = marks_in(options.open) if options.open else {}
        solutions = sorted(options.solutions.glob("*.ipynb"))
        chosen = chosen_sets(solutions, options.set)
        sets = {path.stem: ProblemSet.read(path) for path in solutions}
        make_empty(options.out, options.folder)
    except (ValueError, OSError) as error:
        return refuse(str(error))
    options.seed = options.seed or default_seed(solutions)
    with tempfile.TemporaryDirectory(prefix="minigpt-unpacked-") as scratch:
        found, passed_over = submissions.find(
            options.folder,
            {name: set(one.cells) for name, one in sets.items()},
            lambda name, notebook: name in sets and sets[name].is_untouched(notebook),
            Path(scratch),
            Naming(names),
        )
    found = [one for one in found if one.set_name in chosen or not one.set_name]
    for name in passed_over:
        print(f"passed over: {name}")
    grading = Grading(options, sets)
    try:
        rows = grading.grade_all([one for one in found if one.set_name])
    except NoSandbox as error:
        return refuse(str(error))
    rows += absent(names, found, sets, options.set and chosen)
    ids = {student.name: student.id for student in names}
    for row in rows:
        row.id = ids.get(row.student) or row.id
    rows.sort(key=lambda row: (row.student, row.set_name))
    grading.finish(rows, Marks(given, earlier))
    report.write(options.out, rows, answer_hash)
    return summary(rows, options.out)


def refuse(text: str) -> int:
    print(text, file=sys.stderr)
    return 2


def chosen_sets(solutions: list[Path], wanted: list[str]) -> set[str]:
    """The names of the sets asked for: ``ps3``, ``3`` or the whole name; without any, all."""
    known = {path.stem for path in solutions}
    if not known:
        raise ValueError("There are no solutions here; only the teacher's copy has them.")
    chosen = {
        name
        for name in known
        for word in wanted
        if word in (name, name.split("_")[0], name.split("_")[0].removeprefix("ps"))
    }
    if wanted and not chosen:
        there = ", ".join(sorted(known))
        raise ValueError(f"There is no set {', '.join(wanted)}; there are {there}.")
    return chosen or known


def default_seed(solutions: list[Path]) -> str:
    """A seed for this course: it changes with its solutions."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in solutions)).hexdigest()[:12]


def make_empty(out: Path, submitted: Path) -> None:
    """Clear the results of the last time; never a folder that holds anything else."""
    inside, outside = out.resolve(), submitted.resolve()
    if inside == outside or inside in outside.parents or outside in inside.parents:
        raise ValueError("The results cannot go into the folder of submissions: another --out?")
    if out.exists() and any(out.iterdir()) and not (out / OURS).is_file():
        raise ValueError(f"{out} holds other files: give an empty or a new folder.")
    out.mkdir(parents=True, exist_ok=True)
    (out / OURS).write_text("start.py grade empties this folder.\n", encoding="utf-8")
    shutil.rmtree(out / "feedback", ignore_errors=True)
    (out / RUNS).mkdir(exist_ok=True)


# Names


class Naming:
    """Finds a student of the class list under the names that Moodle, Canvas and students use."""

    def __init__(self, students: list[Student]) -> None:
        self.by_id = {student.id: student.name for student in students if student.id}
        forms: dict[str, set[str]] = {}
        for student in students:
            for form in self.forms(student.name):
                forms.setdefault(form, set()).add(student.name)
        self.by_form = {form: names.pop() for form, names in forms.items() if len(names) == 1}

    @staticmethod
    def forms(name: str) -> set[str]:
        """`Müller, Jürgen` is also Jürgen Müller, mullerjurgen, muellerjuergen."""
        found = set()
        for old_style in (False, True):
            text = name.casefold()
            for umlaut, letters in {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"}.items():
                text = text.replace(umlaut, letters) if old_style else text
            text = "".join(
                c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)
            )
            words = "".join(c if c.isalnum() else " " for c in text).split()
            found |= {"".join(order) for order in itertools.permutations(words[:5])}
        return found - {""}

    def __call__(self, name: str, number: str) -> str:
        if number in self.by_id:
            return self.by_id[number]
        names = {self.by_form[form] for form in self.forms(name) if form in self.by_form}
        return names.pop() if len(names) == 1 else name


def absent(
    names: list[Student], found: list[Submission], sets: dict[str, ProblemSet], chosen: set[str]
) -> Iterator[Row]:
    """A row with no points for each student and set without a notebook.

    A set that one student alone handed in, where others handed in another, was a mistake of theirs.
    """
    here_now = {(one.student, one.set_name) for one in found}
    unclear = {one.student: one for one in found if not one.set_name}
    counts = Counter(name for _, name in here_now if name)
    most = max(counts.values(), default=0)
    usual = {name for name, count in counts.items() if count >= max(min(2, most), most / 4)}
    expected = chosen or usual or set(sets)
    ids = {one.student: one.id for one in found}
    for student in sorted({*(one.name for one in names), *(student for student, _ in here_now)}):
        for name in sorted(expected):
            if (student, name) not in here_now:
                problem = "nothing handed in"
                if one := unclear.get(student):
                    file = one.shown_path.rsplit("/", 1)[-1]
                    problem = f"{file}: {one.problem}" if file else one.problem
                yield Row(
                    student,
                    name,
                    sets[name].grades(),
                    Submission(student, name).safe_student,
                    ids.get(student, ""),
                    problem=problem,
                )


# Marks


def marks_in(path: Path) -> dict[tuple[str, str, str], Mark]:
    return dict(report.read_marks(path)) if path.is_file() or path.suffix != ".csv" else {}


class Marks:
    """The teacher's marks: those of --open, then those of the last run's open_marks.csv."""

    def __init__(self, given: dict, earlier: dict) -> None:
        self.given, self.earlier = given, earlier
        self.unused = {**earlier, **given}

    def take(self, key: tuple[str, str, str], answer: str) -> tuple[Mark | None, str]:
        """(the mark that holds for this answer, the mark that was given for another one)."""
        self.unused.pop(key, None)
        now = answer_hash(answer)
        given, earlier = self.given.get(key), self.earlier.get(key)
        for mark in filter(None, (given, earlier)):
            known = mark.answer_hash
            if mark is given and not known and earlier and earlier.score == given.score:
                known = earlier.answer_hash  # the same mark again: it was given for that answer
            if known in ("", now):
                return mark, ""
        old = given or earlier
        return None, "" if old is None else f"{old.score:g}"


# Grading


class NoSandbox(Exception):
    """A sandbox was required, and the system has none."""


class Grading:
    """Runs, scores and writes down the submissions of a class."""

    def __init__(self, options: argparse.Namespace, sets: dict[str, ProblemSet]):
        self.options, self.sets = options, sets
        self.notebooks: dict[tuple[str, str], nbformat.NotebookNode] = {}
        self.project = project_hash()
        self.used: set[str] = set()

    def grade_all(self, found: list[Submission]) -> list[Row]:
        """Restore, run and score; a bad submission is a row with a problem."""
        rows: list[Row] = []
        started = time.monotonic()

        def done(submission: Submission, result: dict | None) -> None:
            rows.append(self.row_of(submission, result))
            progress(rows[-1], len(rows), len(found), time.monotonic() - started)

        to_run: list[tuple[Submission, Path, tuple]] = []
        for submission in found:
            result = None
            try:
                if not submission.problem:
                    task = self.task(submission)
                    path = self.stored_at(*task)
                    result = self.stored(path)
                    if result is None:
                        to_run.append((submission, path, task))
                        continue
            except Exception as error:  # whatever a strange file leads to
                submission.problem = said(error)
            done(submission, result)
        if to_run:
            self.run_all(to_run, done)
        for path in (self.options.out / RUNS).glob("*.json"):
            if path.stem not in self.used:
                path.unlink()
        return rows

    def task(self, submission: Submission) -> tuple[dict, dict, str]:
        restored = self.sets[submission.set_name].restore(submission)
        files = {name: base64.b64encode(data).decode() for name, data in submission.beside.items()}
        return json.loads(json.dumps(restored)), files, submission.set_name

    def run_all(self, to_run: list, done: Callable) -> None:
        """Run what did not run before, some at a time."""
        sandbox = Sandbox(self.options)
        try:
            if sandbox.jail is None and self.options.sandbox == "require":
                raise NoSandbox(
                    "This system cannot hide files and network from a notebook (--sandbox)."
                )
            print(f"Each notebook runs with: {FULL if sandbox.jail else PART}.", flush=True)
            with ThreadPoolExecutor(self.options.jobs) as pool:
                running = {
                    pool.submit(sandbox.run, *task): (submission, path)
                    for submission, path, task in to_run
                }
                try:
                    for future in as_completed(running):
                        (submission, path), result = running[future], None
                        try:
                            result = future.result()
                            path.write_text(json.dumps(result), encoding="utf-8")
                        except Exception as error:
                            submission.problem = said(error)
                        done(submission, result)
                except KeyboardInterrupt:
                    pool.shutdown(wait=False, cancel_futures=True)
                    sandbox.stop()
                    raise
        finally:
            sandbox.stop()

    def stored_at(self, notebook: dict, files: dict, set_name: str) -> Path:
        """Where the result of a notebook is kept: another place if anything is different."""
        options = self.options
        limits = [
            options.seconds,
            options.cell_seconds,
            options.memory,
            options.sandbox,
            options.seed,
        ]
        for number, cell in enumerate(notebook["cells"]):
            cell["id"] = f"cell-{number}"  # not by chance: the same notebook is known again
        text = json.dumps([notebook, files, limits, self.project], sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:24]
        self.used.add(key)
        return options.out / RUNS / f"{key}.json"

    def stored(self, path: Path) -> dict | None:
        """The result of an earlier run."""
        if self.options.again or not path.is_file():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError:  # half a file of a run that was stopped
            return None

    def row_of(self, submission: Submission, result: dict | None) -> Row:
        problem_set = self.sets[submission.set_name]
        row = Row(
            submission.student,
            submission.set_name,
            problem_set.grades(),
            submission.safe_student,
            submission.id,
            submission.handed_in,
            problem=submission.problem,
            notes=submission.notes,
        )
        if row.problem or result is None:
            return row
        notebook = nbformat.from_dict(result["notebook"])
        self.notebooks[row.student, row.set_name] = notebook
        row.notes += result["notes"]
        row.answers = problem_set.answers(notebook)
        for grade in row.grades:
            if grade.is_open:
                grade.score = None if row.answers[grade.problem] else 0.0
            else:
                grade.score = float(result["scores"].get(grade.problem, 0.0))
        return row

    def finish(self, rows: list[Row], marks: Marks) -> None:
        """Enter the marks, say what is late and what is equal, write the feedback."""
        for row in rows:
            if self.options.due and row.handed_in and row.handed_in > self.options.due:
                row.late = "late"
            for grade in row.grades if not row.problem else ():
                answer = row.answers.get(grade.problem, "")
                mark, grade.earlier = marks.take((row.student, row.set_name, grade.problem), answer)
                if mark is not None and 0 <= mark.score <= grade.max_score:
                    grade.score, grade.comment, grade.by_teacher = mark.score, mark.comment, True
                elif mark is not None:
                    row.notes.append(
                        f"{grade.problem}: a mark of {mark.score:g} is not between "
                        f"0 and {grade.max_score:g}"
                    )
                if grade.earlier and grade.is_open:
                    row.notes.append(
                        f"{grade.problem}: the answer has changed since it was marked "
                        f"({grade.earlier})"
                    )
        point_out_equal(rows)
        for row in rows:
            page = self.options.out / "feedback" / row.safe_student / f"{row.set_name}.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            text = feedback(
                row, self.sets[row.set_name], self.notebooks.get((row.student, row.set_name))
            )
            page.write_text(text, encoding="utf-8", errors="replace")
            row.feedback = page.relative_to(self.options.out).as_posix()
        for student, set_name, problem in marks.unused:
            print(f"a mark without an answer: {student}, {set_name}, {problem}")


def project_hash() -> str:
    """What a run depends on besides the notebook: the package, its checks, and this grader."""
    digest = hashlib.sha256()
    for folder in (ROOT / "minigpt_helpers", Path(__file__).parent):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def point_out_equal(rows: list[Row]) -> None:
    """A note where several students gave the same answer to an open question."""
    same: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        for problem, answer in row.answers.items():
            if answer:
                same.setdefault((row.set_name, problem, answer_hash(answer)), []).append(row)
    for (set_name, problem, _), group in same.items():
        if len(group) < 2:
            continue
        print(
            f"{len(group)} equal answers to {problem} ({set_name}): "
            f"{'; '.join(row.student for row in group)}"
        )
        for row in group:
            others = [other.student for other in group if other is not row]
            shown = " and ".join(others[:5]) + (
                f" and {len(others) - 5} more" if others[5:] else ""
            )
            row.notes.append(f"{problem}: the same answer as {shown}")


def said(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [""])[0][:200]
    plain = isinstance(error, (RuntimeError, ValueError)) and line
    return line if plain else f"{type(error).__name__}: {line}"


def progress(row: Row, number: int, total: int, seconds: float) -> None:
    score, most = row.points(is_open=False)
    result = "NOT GRADED" if row.problem else f"{score:g} of {most:g}"
    more = "; ".join(filter(None, [row.problem, *row.notes]))
    print(
        f"[{number}/{total}, {seconds:.0f} s] {row.student}, {row.set_name}: {result}"
        f"{' (' + more + ')' if more else ''}",
        flush=True,
    )


def summary(rows: list[Row], out: Path) -> int:
    bad = [row for row in rows if row.problem]
    waiting = sum(row.waiting > 0 for row in rows)
    print(
        f"\n{len(rows) - len(bad)} of {len(rows)} graded; the points stand in "
        f"{out / 'scores.csv'}, the feedback in {out / 'feedback'}."
    )
    if waiting:
        print(
            f"{waiting} wait for marks of open questions: fill the column score of "
            f"{out / 'open_marks.csv'}, then give the same command again."
        )
    for row in bad:
        print(f"not graded: {row.student}, {row.set_name}: {row.problem}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
