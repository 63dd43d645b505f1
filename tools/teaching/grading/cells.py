"""The cells of a set, and what a student made of them. Nothing of a student runs here.

The teacher's cells are put back, whatever was done to them; the student's own cells stay. What a
student's text says in nbgrader's marks (`### BEGIN ...`) means nothing.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tools.teaching import problems
from tools.teaching.grading.report import Grade
from tools.teaching.grading.submissions import Submission

PACKAGE = "minigpt_helpers"


@dataclass
class ProblemSet:
    """A set as the teacher has it (`solution`) and as students got it (`released`)."""

    name: str
    solution: NotebookNode
    released: NotebookNode

    @classmethod
    def read(cls, path: Path) -> ProblemSet:
        solution = nbformat.read(path, as_version=4)
        return cls(path.stem, solution, problems.without_secrets(solution))

    @cached_property
    def cells(self) -> dict[str, NotebookNode]:
        """The teacher's cells, by name."""
        return named_cells(self.solution)

    @cached_property
    def given(self) -> dict[str, NotebookNode]:
        """The same cells as students got them."""
        return named_cells(self.released)

    @cached_property
    def given_texts(self) -> set[str]:
        return {problems.squeezed(cell.source) for cell in self.released.cells}

    def grades(self) -> list[Grade]:
        """All of its problems, with no points."""
        return [
            Grade(
                info.grade_id,
                bool(info.solution),
                0.0,
                float(info.points),
                self.title(info.grade_id),
            )
            for info in (cell.metadata.nbgrader for cell in self.cells.values())
            if info.grade
        ]

    @cached_property
    def titles(self) -> dict[str, str]:
        """What a student calls each problem: the heading above it."""
        found, heading, number = {}, "", 0
        for cell in self.released.cells:
            if cell.cell_type == "markdown":
                headings = re.findall(r"^##+\s+(.+)$", cell.source, re.MULTILINE)
                heading = headings[0] if headings else heading
            info = cell.metadata.get("nbgrader", {})
            if info.get("grade"):
                number += 1
                title = re.sub(r"\s*\([^()]*points?[^()]*\)|[*`]", "", heading).strip()
                found[info.grade_id] = title or f"Problem {number}"
        several = list(found.values())
        for name, title in found.items():
            if several.count(title) > 1:
                part = 1 + [n for n, t in found.items() if t == title].index(name)
                found[name] = f"{title}, part {part}"
        return found

    def title(self, problem: str) -> str:
        return self.titles[problem]

    def is_untouched(self, notebook: NotebookNode) -> bool:
        """Is there no text in a notebook that was not released?"""
        return {problems.squeezed(cell.source) for cell in notebook.cells} <= self.given_texts | {
            ""
        }

    # A student's notebook

    def restore(self, submission: Submission) -> NotebookNode:
        """The student's notebook with the teacher's cells in it; notes say what was changed."""
        notebook = copy.deepcopy(submission.notebook)
        self.name_cells(notebook)
        present = named_cells(notebook)
        if not present:
            raise ValueError(f"no cell of {self.name} is in it: another notebook?")
        for name, cell in self.given.items():
            info = cell.metadata.nbgrader
            if not info.grade or info.solution:
                continue
            if name not in present:
                submission.notes.append(f"{name} was missing and is put back")
            elif present[name].source not in (cell.source, self.cells[name].source):
                submission.notes.append(f"{name} was changed and is restored")
        self.drop_copies(notebook, submission)
        self.put_back(notebook)
        for cell in notebook.cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            if name and self.is_teachers(name):
                cell.update(cell_type=self.cells[name].cell_type, source=self.cells[name].source)
            elif name and self.cells[name].cell_type == "code" != cell.cell_type:
                submission.notes.append(f"{name} is no code cell any more, so it does not run")
            cell.metadata.pop("was", None)
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
            else:
                cell.pop("outputs", None)
                cell.pop("execution_count", None)
        submission.notes += ready_answers(notebook, self.solution)
        return notebook

    def is_teachers(self, name: str) -> bool:
        """Is this a cell that a student may not change?"""
        info = self.cells[name].metadata.nbgrader
        return not info.solution and bool(info.grade or info.locked)

    def name_cells(self, notebook: NotebookNode) -> None:
        """Give each cell the metadata of the set's cell that it is; what a file says is not trusted.

        A cell is known by its name; where an editor dropped that, by its id or its text.
        """
        by_id = {cell.get("id"): name for name, cell in self.cells.items()}
        by_text = {
            problems.squeezed(self.given[name].source): name
            for name in self.cells
            if self.is_teachers(name)
        }
        taken = {cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells}
        for cell in notebook.cells:
            name = cell.metadata.pop("nbgrader", {}).get("grade_id")
            if name not in self.cells:
                candidates = [
                    by_id.get(cell.metadata.get("was")),
                    by_text.get(problems.squeezed(cell.source)),
                ]
                name = next((one for one in candidates if one and one not in taken), None)
                taken.add(name)
            if name is not None:
                cell.metadata["nbgrader"] = copy.deepcopy(self.cells[name].metadata.nbgrader)

    def drop_copies(self, notebook: NotebookNode, submission: Submission) -> None:
        """Of several cells with one name: of the teacher's the last stays; of the student's all that
        were written in stay and run in their order, and a copy that is as it was given is dropped."""
        copies: dict[str, list[NotebookNode]] = {}
        for cell in notebook.cells:
            if name := cell.metadata.get("nbgrader", {}).get("grade_id"):
                copies.setdefault(name, []).append(cell)
        dropped: list[NotebookNode] = []
        for name, cells in copies.items():
            if len(cells) == 1:
                continue
            blank = problems.squeezed(self.given[name].source)
            written = [cell for cell in cells if problems.squeezed(cell.source) not in (blank, "")]
            kept = cells[-1:] if self.is_teachers(name) or not written else written
            for cell in cells:
                if not any(cell is one for one in kept):
                    dropped.append(cell)
            gone = len(cells) - len(kept)
            if gone:
                submission.notes.append(
                    f"{name} is there {len(cells)} times: {gone} unchanged or older left out"
                )
            if len(kept) > 1:
                text = "its parts are joined" if self.cells[name].cell_type != "code" else "all run"
                submission.notes.append(f"{name} was written in {len(kept)} times: {text}")
        notebook.cells = [
            cell for cell in notebook.cells if not any(cell is one for one in dropped)
        ]

    def put_back(self, notebook: NotebookNode) -> None:
        """Put missing graded cells before the next cell of the set that is there, or at the end."""
        following = None
        for cell in reversed(self.solution.cells):
            info = cell.metadata.get("nbgrader")
            if info is None:
                continue
            here = [
                one
                for one in notebook.cells
                if one.metadata.get("nbgrader", {}).get("grade_id") == info.grade_id
            ]
            if here:
                following = here[0]
            elif info.grade:
                number = (
                    len(notebook.cells)
                    if following is None
                    else next(n for n, one in enumerate(notebook.cells) if one is following)
                )
                following = copy.deepcopy(self.given[info.grade_id] if info.solution else cell)
                notebook.cells.insert(number, following)

    # Open questions

    def answers(self, notebook: NotebookNode) -> dict[str, str]:
        """What a student wrote to each open question, "" for nothing.

        All text counts from the answer's cell to the next cell of the set; parts are joined.
        """
        found: dict[str, list[str]] = {
            grade.problem: [] for grade in self.grades() if grade.is_open
        }
        current = None
        for cell in notebook.cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            if name in found:
                current = name
            elif name or problems.squeezed(cell.source) in self.given_texts:
                current = None
            if current is not None and (cell.cell_type != "code" or name == current):
                found[current].append(self.without_given(cell.source, current))
        return {name: "\n\n".join(filter(None, parts)) for name, parts in found.items()}

    def without_given(self, text: str, problem: str) -> str:
        """The lines of an answer that did not stand there before."""
        given = {line.strip() for line in self.given[problem].source.splitlines()}
        kept = [line for line in text.splitlines() if line.strip() not in given or not line.strip()]
        return "\n".join(kept).strip()


def answer_hash(answer: str) -> str:
    """What tells one answer from another; blanks do not count."""
    return hashlib.sha256(problems.squeezed(answer).encode()).hexdigest()[:16]


def named_cells(notebook: NotebookNode) -> dict[str, NotebookNode]:
    """The cells that carry a name, by it."""
    return {
        cell.metadata.nbgrader.grade_id: cell
        for cell in notebook.cells
        if "nbgrader" in cell.metadata
    }


# Answers that are taken from the package


def ready_answers(notebook: NotebookNode, solution: NotebookNode) -> Iterator[str]:
    """A note for each name that a student takes from the package and the set itself does not.

    The set says what may be imported. Whoever is asked to write a LayerNorm and imports one has
    done something else; whether that is so, the teacher sees in the line.
    """
    allowed = {
        name
        for cell in solution.cells
        if cell.cell_type == "code"
        for name, _ in taken_names(cell.source)
    }
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type != "code":
            continue
        for name, line in taken_names(cell.source):
            if name not in allowed:
                source = cell.source.splitlines()[line - 1].strip()[:100]
                yield (
                    f"cell {number}, line {line} takes {name} from the package, which the set does "
                    f"not: {source}"
                )


def taken_names(source: str) -> list[tuple[str, int]]:
    """What a cell takes from the package: names, and the lines."""
    try:
        tree = ast.parse(re.sub(r"^(\s*)[%!?].*$", r"\1pass", source, flags=re.MULTILINE))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found, modules = [], {PACKAGE}
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 1)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            inside = ".".join(node.module.split(".")[1:])
            for alias in node.names:
                own = f"{inside}.{alias.name}" if inside.startswith("checks") else alias.name
                found.append((own, line))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == PACKAGE:
                    modules.add(alias.asname or PACKAGE)
                    found.append((alias.name.split(".")[-1], line))
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.match(rf"{PACKAGE}(\.\w+)*$", node.value)
        ):
            found.append((f"{node.value} (by its name)", line))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            root = node.value
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name) and root.id in modules:
                found.append((node.attr, node.lineno))
    return list(dict.fromkeys(found))
