"""Make what students open from the solutions: ``python -m tools.teaching.problems [--check] [FILE]...``

A solution in ``notebooks/solutions`` is the one source of a problem set. nbgrader's own steps
take its solutions and hidden tests out, then the notebook is run from top to bottom. With
``--check`` all is made in a temporary folder and compared with what is stored.

A secret is a line of a solution or of a hidden test. Before a problem set is written, its text,
outputs and metadata are searched for them.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearMarkScheme,
    ClearOutput,
    ClearSolutions,
    ComputeChecksums,
    LockCells,
)
from traitlets.config import Config

from tools.teaching.execute import execute

# An untouched cell must run: nbgrader's own stub raises an error.
STUBS = Config(
    ClearSolutions={
        "code_stub": {"python": "...  # your code"},
        "text_stub": "*Write your answer here.*",
    }
)
BEFORE_HIDING = [LockCells, ClearSolutions, ClearOutput, CheckCellMetadata, ComputeChecksums]
HIDING = [ClearHiddenTests, ClearMarkScheme, ComputeChecksums, CheckCellMetadata]

MARKS = re.compile(r"(BEGIN|END) (SOLUTION|HIDDEN TESTS|MARK SCHEME)")
PICTURE = re.compile(r'(data:image/png;base64,|"image/png": ")(?:[A-Za-z0-9+/=\s]|\\n)+')
LEAST = 12  # characters without blanks: a shorter line (`return x`) gives nothing away


def apply(steps: list[type], notebook: NotebookNode, resources: dict | None = None) -> NotebookNode:
    """Send a notebook through steps of nbgrader."""
    resources = {} if resources is None else resources
    for step in steps:
        notebook, resources = step(config=STUBS)(notebook, resources)
    return notebook


def without_secrets(solution: NotebookNode) -> NotebookNode:
    """The student's version of a solution, not yet run."""
    return apply(BEFORE_HIDING + HIDING, nbformat.from_dict(solution))


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
                trouble = [f"it gives away {leak}" for leak in make(source, target)]
            except (CellExecutionError, RuntimeError, ValueError, OSError) as error:
                trouble = [f"it cannot be made: {error}"]
            if check and not trouble and (found := difference(stored, target)):
                trouble = [f"{found}; start.py problems makes it again"]
            failed += bool(trouble)
            good = "as stored" if check else "made"
            print(f"problems/{source.name}: {'; '.join(trouble) or good}", flush=True)
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
