"""Make what students open from the solutions: ``python -m tools.teaching.problems [--check] [FILE]...``

A solution in ``notebooks/solutions`` is the one source of a problem set. Its cells are marked as
nbgrader marks them (metadata `nbgrader`, version 3), so that a set can be used with nbgrader too.
Solutions and hidden tests are taken out, then the notebook is run from top to bottom. With
``--check`` all is made in a temporary folder and compared with what is stored.

A secret is a line of a solution or of a hidden test. Before a problem set is written, its text,
outputs and metadata are searched for them.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from tools.teaching.execute import execute

CODE_STUB, TEXT_STUB = "...  # your code", "*Write your answer here.*"  # an untouched cell must run

MARKS = re.compile(r"(BEGIN|END) (SOLUTION|HIDDEN TESTS|MARK SCHEME)")
PICTURE = re.compile(r'(data:image/png;base64,|"image/png": ")(?:[A-Za-z0-9+/=\s]|\\n)+')
LEAST = 12  # characters without blanks: a shorter line (`return x`) gives nothing away


def without_secrets(solution: NotebookNode) -> NotebookNode:
    """The student's version of a solution, not yet run. Raises ValueError where a mark is wrong."""
    made = copy.deepcopy(solution)
    for cell in made.cells:
        info = cell.metadata.get("nbgrader", {})
        cell.source = cleared(cell, info)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if info.get("solution") or info.get("grade") or info.get("locked"):
            cell.metadata.deletable = False
            if not info.get("solution"):
                cell.metadata.editable = False
            info.checksum, info.cell_type = checksum(cell), cell.cell_type
    return made


def cleared(cell: NotebookNode, info: dict) -> str:
    """A cell's text, a stub in the place of each solution, without hidden tests."""
    stub = CODE_STUB if cell.cell_type == "code" else TEXT_STUB
    kept, inside, solved = [], "", False
    for line in cell.source.split("\n"):
        mark = MARKS.search(line)
        begins, kind = (mark[1] == "BEGIN", mark[2]) if mark else (False, "")
        if mark and inside != ("" if begins else kind):
            raise ValueError(f"the mark {mark[0]} stands in the wrong order")
        if mark and not info.get("solution" if kind == "SOLUTION" else "grade"):
            raise ValueError(f"the mark {mark[0]} stands in a cell of another kind")
        if mark:
            inside = kind if begins else ""
            if begins and kind == "SOLUTION":
                kept.append(re.match(r"\s*", line)[0] + stub)
                solved = True
        elif not inside:
            kept.append(line)
    if inside:
        raise ValueError(f"there is no END {inside}")
    return stub if info.get("solution") and not solved else "\n".join(kept)


def checksum(cell: NotebookNode) -> str:
    """What tells a cell that was touched, as nbgrader computes it."""
    info = cell.metadata.nbgrader
    solution, grade = bool(info.get("solution")), bool(info.get("grade"))
    locked = not solution and (grade or bool(info.get("locked")))
    parts = [cell.source, cell.cell_type, str(grade), str(solution), str(locked), info.grade_id]
    if grade:
        parts.append(str(float(info.points)))
    return hashlib.md5("".join(parts).encode(), usedforsecurity=False).hexdigest()


def regions(source: str) -> list[list[str]]:
    """The lines between each pair of BEGIN and END marks."""
    found, inside = [], False
    for line in source.splitlines():
        if mark := MARKS.search(line):
            inside = mark.group(1) == "BEGIN"
            if inside:
                found.append([])
        elif inside:
            found[-1].append(line)
    return found


def squeezed(text: str) -> str:
    return "".join(text.split())


def secrets(solution: NotebookNode) -> list[str]:
    """Lines that no student may see. Lines that stand in the open in a code cell are none."""
    hidden, shown = {}, set()
    for cell in solution.cells:
        inside = [line for region in regions(cell.source) for line in region]
        info = cell.metadata.get("nbgrader", {})
        if info.get("solution") and not inside:
            inside = cell.source.splitlines()  # all of it is the solution
        hidden.update((squeezed(line), line.strip()) for line in inside)
        if cell.cell_type == "code":
            shown |= {squeezed(line) for line in cell.source.splitlines()} - {
                squeezed(line) for line in inside
            }
    in_the_open = "\n".join(shown)
    return [line for key, line in hidden.items() if len(key) >= LEAST and key not in in_the_open]


def seeds(solution: NotebookNode) -> set[str]:
    """The numbers of four digits or more that stand in hidden tests alone."""
    hidden, shown = set(), set()
    for cell in solution.cells:
        if not cell.metadata.get("nbgrader", {}).get("grade"):
            shown |= set(re.findall(r"\b\d{4,}\b", cell.source))
            continue
        inside = "\n".join(line for region in regions(cell.source) for line in region)
        hidden |= set(re.findall(r"\bseed\s*=\s*(\d{4,})\b", inside))
    return hidden - shown


def leaks(solution: NotebookNode, text: str) -> Iterator[str]:
    """What of a solution's secrets stands in a text."""
    text = PICTURE.sub("", text)
    if mark := MARKS.search(text):
        yield f"the mark {mark.group()}"
    flat = squeezed(text)
    yield from (f"the line {line!r}" for line in secrets(solution) if squeezed(line) in flat)
    yield from (
        f"the hidden seed {seed}"
        for seed in sorted(seeds(solution))
        if re.search(rf"\b{seed}\b", text)
    )


def all_text(value: object) -> str:
    """Every string in a notebook: sources, outputs, metadata."""
    if isinstance(value, dict):
        return "\n".join(f"{key}\n{all_text(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return "\n".join(map(all_text, value))
    return str(value)


def make(source: Path, target: Path) -> list[str]:
    """Write the student's version of a solution, executed; return what it gives away."""
    solution = nbformat.read(source, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / source.name
        nbformat.write(without_secrets(solution), made)
        execute(made)
        found = list(leaks(solution, all_text(nbformat.read(made, as_version=4))))
        if not found:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(made.read_bytes())
    return found


def comparable(path: Path) -> dict:
    """A notebook without what may differ: the Python's version, and the pixels of pictures.

    The pixels depend on the fonts and libraries of the system; nbval leaves them out as well.
    """
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["metadata"].get("language_info", {}).pop("version", None)
    text = json.dumps(notebook, sort_keys=True)
    return json.loads(PICTURE.sub(r"\1", text))


def difference(stored: Path, made: Path) -> str | None:
    """Where two notebooks differ, or None."""
    if not stored.is_file():
        return "it is not there"
    one, other = comparable(stored), comparable(made)
    if one == other:
        return None
    if len(one["cells"]) != len(other["cells"]):
        return f"it has {len(one['cells'])} cells instead of {len(other['cells'])}"
    for number, (mine, theirs) in enumerate(zip(one["cells"], other["cells"]), start=1):
        parts = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
        if parts:
            return f"cell {number} differs in {', '.join(sorted(parts))}"
    return "its metadata differ"


def main(arguments: list[str]) -> int:
    """Make the problem sets, or with ``--check`` say where they differ from what is stored."""
    check = "--check" in arguments
    sources = [Path(word) for word in arguments if word != "--check"]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for source in sources:
            stored = source.parents[1] / "problems" / source.name
            target = Path(folder) / source.name if check else stored
            try:
                problem = [f"it gives away {leak}" for leak in make(source, target)]
            except (CellExecutionError, RuntimeError, ValueError, OSError) as error:
                problem = [f"it cannot be made: {error}"]
            if check and not problem and (found := difference(stored, target)):
                problem = [f"{found}; start.py problems makes it again"]
            failed += bool(problem)
            good = "as stored" if check else "made"
            print(f"problems/{source.name}: {'; '.join(problem) or good}", flush=True)
    if sources:
        folder = sources[0].parents[1]
        known = {path.name for path in (folder / "solutions").glob("*.ipynb")}
        for path in sorted((folder / "problems").glob("*.ipynb")):
            if path.name not in known:
                failed += 1
                print(f"problems/{path.name}: there is no such solution; remove it", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
