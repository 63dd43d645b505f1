"""The teacher's side: a course folder of nbgrader's, with its gradebook.

Test cells that a student changed or deleted are put back, what ran is scored, and feedback is
written, all with nbgrader's own parts. Nothing of a student runs here.
"""

from __future__ import annotations

import contextlib
import copy
import html
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat
import nbgrader
from nbconvert.exporters import HTMLExporter
from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader import preprocessors as steps
from nbgrader.api import Gradebook, MissingEntry
from traitlets.config import Config

from tools.teaching import problems
from tools.teaching.grading.report import Grade, Row
from tools.teaching.grading.submissions import Submission

RESTORING = [
    steps.ClearOutput, steps.OverwriteKernelspec, steps.OverwriteCells, steps.CheckCellMetadata
]
SCORING = [steps.LimitOutput, steps.SaveAutoGrades, steps.CheckCellMetadata]
ONLY_WHAT_IS_HERE = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
)
STYLE = "<style>td, th { padding: 2px 8px } .anchor-link { display: none }</style>"
SETTINGS = """# Written by start.py grade. `nbgrader formgrader` can be used in this folder.
c = get_config()
c.CourseDirectory.course_id = "mini-gpt"
c.Execute.timeout = 60
c.OverwriteCells.add_missing_cells = True
"""


@dataclass
class ProblemSet:
    """A set as the teacher has it: the cells to put back, and what they look like to students."""

    name: str
    notebook: NotebookNode
    released: NotebookNode
    solution: NotebookNode

    @property
    def cells(self) -> dict[str, NotebookNode]:
        return named_cells(self.notebook)

    def grades(self) -> list[Grade]:
        """All of its problems, with no points."""
        infos = [cell.metadata.nbgrader for cell in self.notebook.cells
                 if cell.metadata.get("nbgrader", {}).get("grade")]
        return [Grade(info.grade_id, info.solution, 0.0, info.points) for info in infos]


class Course:
    """A fresh course folder for the sets of some solutions."""

    def __init__(self, folder: Path, solutions: list[Path]) -> None:
        self.folder = folder
        self.database = folder / "gradebook.db"
        folder.mkdir(parents=True)
        beside = str(Path(sys.executable).parent)  # nbgrader calls the program alembic
        if beside not in os.environ.get("PATH", "").split(os.pathsep):
            os.environ["PATH"] = os.pathsep.join([beside, os.environ.get("PATH", "")])
        (folder / "nbgrader_config.py").write_text(SETTINGS, encoding="utf-8")
        self.sets = {path.stem: self.add_set(path) for path in solutions}

    @property
    def url(self) -> str:
        return f"sqlite:///{self.database}"

    def resources(self, set_name: str, student: str = "") -> dict:
        """What nbgrader's steps want to know."""
        return {"nbgrader": {
            "assignment": set_name, "notebook": set_name, "student": student, "db_url": self.url,
        }}

    def path(self, stage: str, student: str, set_name: str, ending: str = ".ipynb") -> Path:
        """Where nbgrader keeps a file; the folders on the way are made."""
        path = self.folder / stage / student / set_name / (set_name + ending)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def add_set(self, source: Path) -> ProblemSet:
        """Put a set into the gradebook: what each graded cell holds and is worth."""
        solution = nbformat.read(source, as_version=4)
        made = problems.apply(problems.BEFORE_HIDING, copy.deepcopy(solution))
        with Gradebook(self.url) as book:
            book.update_or_create_assignment(source.stem)
        problems.apply([steps.SaveCells], made, self.resources(source.stem))
        released = problems.without_secrets(solution)
        shutil.copy(source, self.path("source", "", source.stem))
        nbformat.write(released, self.path("release", "", source.stem))
        return ProblemSet(source.stem, made, released, solution)

    # Before it runs

    def restore(self, submission: Submission) -> NotebookNode:
        """The student's notebook with the teacher's test cells in it."""
        problem_set = self.sets[submission.set_name]
        notebook = copy.deepcopy(submission.notebook)
        name_cells(notebook, problem_set)
        present = named_cells(notebook)
        if not present:
            raise ValueError(f"no cell of {problem_set.name} is in it: another notebook?")
        for name, cell in named_cells(problem_set.released).items():
            if not cell.metadata.nbgrader.grade:
                continue
            if name not in present:
                submission.notes.append(f"{name} was missing and is put back")
            elif cell.metadata.nbgrader.locked and present[name].source != cell.source:
                if present[name].source != problem_set.cells[name].source:
                    submission.notes.append(f"{name} was changed and is restored")
        put_back(notebook, problem_set)
        student = submission.safe_student
        nbformat.write(notebook, self.path("submitted", student, problem_set.name))
        with Gradebook(self.url) as book:
            book.update_or_create_student(student, last_name=submission.student)
            book.update_or_create_submission(problem_set.name, student)
        return problems.apply(RESTORING, notebook, self.resources(problem_set.name, student))

    # After it ran

    def score(self, submission: Submission, notebook: NotebookNode) -> None:
        """Enter the points of a notebook that was run."""
        student, set_name = submission.safe_student, submission.set_name
        notebook = problems.apply(SCORING, notebook, self.resources(set_name, student))
        nbformat.write(notebook, self.path("autograded", student, set_name))

    def grades(self, student: str, set_name: str) -> list[Grade]:
        """The points as the gradebook has them, in the order of the set."""
        with Gradebook(self.url) as book:
            submitted = book.find_submission_notebook(set_name, set_name, student)
            comments = {one.name: one.comment or "" for one in submitted.comments}
            found = {one.name: one for one in submitted.grades}
            grades = self.sets[set_name].grades()
            for grade in grades:
                stored = found[grade.problem]
                grade.by_teacher = stored.manual_score is not None
                waits = not grade.by_teacher and stored.auto_score is None
                grade.score = None if waits else float(stored.score)
                grade.comment = comments.get(grade.problem, "")
        return grades

    def answer(self, row: Row, problem: str) -> str:
        """What a student wrote to an open question."""
        path = self.path("autograded", row.safe_student, row.set_name)
        return named_cells(nbformat.read(path, as_version=4))[problem].source

    def mark(self, student: str, set_name: str, problem: str, score: float, comment: str) -> None:
        """Enter a teacher's mark."""
        with Gradebook(self.url) as book:
            grade = book.find_grade(problem, set_name, set_name, student)
            grade.manual_score, grade.needs_manual_grade = score, False
            with contextlib.suppress(MissingEntry):  # only what a student writes has a comment
                remark = book.find_comment(problem, set_name, set_name, student)
                remark.manual_comment = comment or None
            book.db.commit()

    # Feedback

    def feedback(self, row: Row) -> str:
        """The page that a student gets back: points, comments, no hidden tests, no network."""
        if row.problem:
            text = f"{row.set_name}: not graded, 0 points. {row.problem}"
            return offline(f"<html><head></head><body><p>{html.escape(text)}</p></body></html>")
        notebook = nbformat.read(
            self.path("autograded", row.safe_student, row.set_name), as_version=4
        )
        solution = self.sets[row.set_name].solution
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = [shown(output, solution) for output in cell.outputs
                                if not is_score(cell, output)]
        notebook = problems.apply([steps.ClearHiddenTests], notebook)
        page, _ = self.exporter.from_notebook_node(
            notebook, self.resources(row.set_name, row.safe_student)
        )
        page = re.sub(r'<a href="#([\w-]+)">Test cell</a>', r'<a href="#\1">\1</a>', page)
        for grade in row.grades:
            if grade.score is None:
                page = re.sub(rf'(<a href="#{re.escape(grade.problem)}">Written response</a>) '
                              r"\(Score: [\d./ ]+\)", r"\1 (waits for your teacher)", page)
        return offline(page)

    @cached_property
    def exporter(self) -> HTMLExporter:
        exporter = HTMLExporter(config=feedback_settings())
        exporter.register_preprocessor(steps.GetGrades, enabled=True)
        exporter.register_preprocessor(CSSHTMLHeaderPreprocessor, enabled=True)
        return exporter


def marks_in_book(path: Path) -> Iterator[tuple[tuple[str, str, str], tuple[float, str]]]:
    """The teacher's marks in a gradebook, as `report.read_marks` gives those of a table."""
    with Gradebook(f"sqlite:///{path}") as book:
        for submission in (one for student in book.students for one in student.submissions):
            for notebook in submission.notebooks:
                comments = {one.name: one.manual_comment or "" for one in notebook.comments}
                for grade in notebook.grades:
                    if grade.manual_score is not None:
                        key = (submission.student.last_name, notebook.name, grade.name)
                        yield key, (grade.manual_score, comments.get(grade.name, ""))


def named_cells(notebook: NotebookNode) -> dict[str, NotebookNode]:
    """The cells that carry nbgrader's name, by it."""
    named = [cell for cell in notebook.cells if "nbgrader" in cell.metadata]
    return {cell.metadata.nbgrader.grade_id: cell for cell in named}


def name_cells(notebook: NotebookNode, problem_set: ProblemSet) -> None:
    """Give each cell the metadata of the set's cell that it is; what a file says is not trusted.

    A cell is known by its name; where an editor dropped that, by its id or its text.
    """
    cells = problem_set.cells
    by_id = {cell.id: name for name, cell in cells.items()}
    by_text = {problems.squeezed(cell.source): name
               for name, cell in named_cells(problem_set.released).items()
               if cell.metadata.nbgrader.locked}
    taken = {cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells}
    for cell in notebook.cells:
        was = cell.metadata.pop("was", "")
        name = cell.metadata.pop("nbgrader", {}).get("grade_id")
        if name not in cells:
            candidates = [by_id.get(was), by_text.get(problems.squeezed(cell.source))]
            name = next((one for one in candidates if one and one not in taken), None)
            taken.add(name)
        if name is not None:
            cell.metadata["nbgrader"] = copy.deepcopy(cells[name].metadata.nbgrader)
    seen = set()
    for cell in reversed(notebook.cells):  # of copies the last one counts
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if name in seen:
            del cell.metadata["nbgrader"]
        elif name is not None:
            seen.add(name)


def put_back(notebook: NotebookNode, problem_set: ProblemSet) -> None:
    """Put missing graded cells before the next cell of the set that is there, or at the end.

    nbgrader puts one after the cell before it, and fails where that one is missing too.
    """
    following = None
    for cell in reversed(problem_set.notebook.cells):
        info = cell.metadata.get("nbgrader")
        if info is None:
            continue
        here = [number for number, one in enumerate(notebook.cells)
                if one.metadata.get("nbgrader", {}).get("grade_id") == info.grade_id]
        if here:
            following = notebook.cells[here[0]]
        elif info.grade:
            number = len(notebook.cells) if following is None else next(
                n for n, one in enumerate(notebook.cells) if one is following
            )
            following = copy.deepcopy(cell)
            notebook.cells.insert(number, following)


def is_score(cell: NotebookNode, output: NotebookNode) -> bool:
    graded = cell.metadata.get("nbgrader", {}).get("grade")
    return bool(graded) and output.output_type == "execute_result"


def shown(output: NotebookNode, solution: NotebookNode) -> NotebookNode:
    """An output, unless it shows hidden tests."""
    if any(problems.leaks(solution, problems.all_text(output))):
        return new_output("stream", text="(left out: it shows parts of the hidden tests)")
    return output


def feedback_settings() -> Config:
    """nbgrader's own page; its parts lie in its package."""
    parts = Path(nbgrader.__file__).parent / "server_extensions" / "formgrader"
    bootstrap = parts / "static" / "node_modules" / "bootstrap" / "dist" / "css"
    return Config(HTMLExporter={
        "template_name": "feedback",
        "extra_template_basedirs": [str(parts / "templates")],
        "extra_template_paths": [str(bootstrap)],
    })


def offline(page: str) -> str:
    """A page that loads nothing and runs nothing, whatever a student's output put into it."""
    page = re.sub(r"<script\b.*?</script\s*>", "", page, flags=re.DOTALL | re.IGNORECASE)
    page = re.sub(r"/\*!.*?\*/", "", page, flags=re.DOTALL)  # addresses in comments of styles
    return page.replace("<head>", f"<head>\n{ONLY_WHAT_IS_HERE}\n{STYLE}", 1)
