"""What a student opens: the project's notebooks without outputs and without notes for the teacher."""

from __future__ import annotations

import json

import nbformat
import pytest

from tools.launcher.project import here
from tools.launcher.student_copy import COMMENT, student_copy

NOTEBOOKS = [path for path in here().tracked_notebooks() if path.parent.name != "solutions"]
COMMENTS = "<!-- slide", "<!-- notes", "<!--slide", "<!--notes", "Expect:"


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_copy_holds_no_output_but_the_pictures_of_widgets(path):
    original = nbformat.read(path, as_version=4)
    made = student_copy(path.read_bytes())
    copy = nbformat.reads(made.decode("utf-8"), as_version=4)
    nbformat.validate(copy)
    stills = [o for o in outputs(original) if "minigpt-still" in o.get("data", {}).get("text/html", "")]
    assert outputs(copy) == stills
    if path.parent.name != "extras":
        assert bool(stills) == (path.parent.name == "notebooks")  # a lesson has its widgets
    assert not any(cell.get("execution_count") for cell in copy.cells)
    assert not any(word in cell.source for word in COMMENTS for cell in copy.cells)
    code = [cell.source for cell in original.cells if cell.cell_type == "code"]
    assert [cell.source for cell in copy.cells if cell.cell_type == "code"] == code
    lesson = [cell for cell in original.cells if COMMENT.sub("", cell.source).strip()]
    assert [cell.id for cell in copy.cells] == [cell.id for cell in lesson]
    assert student_copy(made) == made


def notebook(source, kind="markdown", **more):
    cell = {"cell_type": kind, "id": "a", "metadata": {}, "source": source, **more}
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


@pytest.mark.parametrize(("source", "left"), [
    ("Text.", "Text."),
    ("Text.\n\n<!-- slide\nA\n-->\n<!-- notes\nExpect: 3\n-->", "Text."),
    (["Text <!-- a remark --> stays.\n", "<!--notes\n", "x -->\n", "More."],
     "Text <!-- a remark --> stays.\nMore."),
    ("<!-- slide\nonly this\n-->", None),
])
def test_notes_for_the_teacher_are_left_out(source, left):
    cells = json.loads(student_copy(notebook(source)))["cells"]
    assert ["".join(cell["source"]) for cell in cells] == ([] if left is None else [left])


@pytest.mark.parametrize("text", [b"", b"not json", b"[1]", b'{"cells": 3}', b'{"cells": [{}]}'])
def test_what_is_no_notebook_stays_as_it_is(text):
    assert student_copy(text) == text
