"""Problem sets made from solutions: what is taken out, what stays, what must never be seen."""

from __future__ import annotations

import json
import shutil

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell, new_output

from problem_set import NAME, small_set
from tools.launcher.project import here
from tools.teaching import problems

SOLUTIONS = sorted((here().notebooks / "solutions").glob("*.ipynb"))


@pytest.fixture
def source(tmp_path):
    """The small set as a solution in a project of its own."""
    path = tmp_path / "notebooks" / "solutions" / f"{NAME}.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(small_set(), path)
    return path


def stored(source):
    return source.parents[1] / "problems" / source.name


def cell(notebook, name):
    return next(c for c in notebook.cells if c.metadata.nbgrader.grade_id == name)


def test_solutions_and_hidden_tests_are_taken_out():
    made = problems.without_secrets(small_set())
    assert cell(made, "decode-solution").source == (
        "def decode(ids, chars):\n    ...  # your code"
    )
    assert cell(made, "decode-test").source == (
        "result = checks.decode_ids(decode)\ndisplay(result)"
    )
    assert cell(made, "think-open").source == "*Write your answer here.*"
    assert cell(made, "title").source == small_set().cells[0].source
    assert not problems.MARKS.search(problems.all_text(made))


def test_what_students_may_change_is_marked():
    made = problems.without_secrets(small_set())
    for name, editable in [
        ("title", False), ("imports", False), ("decode-test", False), ("decode-solution", True),
        ("think-open", True),
    ]:
        metadata = cell(made, name).metadata
        assert metadata.get("editable", True) is editable
        assert metadata.deletable is False
        assert len(metadata.nbgrader.checksum) == 32
    assert cell(made, "mask-test").metadata.nbgrader.points == 3


def test_it_is_made_run_and_then_as_stored(source, capsys):
    assert problems.main([str(source)]) == 0
    made = nbformat.read(stored(source), as_version=4)
    code = [c for c in made.cells if c.cell_type == "code"]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    assert "not done yet" in problems.all_text(cell(made, "mask-test").outputs)
    assert "widgets" not in made.metadata
    assert problems.main(["--check", str(source)]) == 0
    name = f"problems/{NAME}.ipynb"
    assert capsys.readouterr().out == f"{name}: made\n{name}: as stored\n"

    other_python = json.loads(stored(source).read_text(encoding="utf-8"))
    other_python["metadata"]["language_info"]["version"] = "3.99.1"
    stored(source).write_text(json.dumps(other_python), encoding="utf-8")
    assert problems.main(["--check", str(source)]) == 0

    made.cells[0].source += " Changed by hand."
    made.cells[3].outputs = []
    nbformat.write(made, stored(source))
    shutil.copy(stored(source), stored(source).with_name("ps8_old.ipynb"))
    before = stored(source).read_bytes()
    assert problems.main(["--check", str(source)]) == 1
    assert stored(source).read_bytes() == before
    out = capsys.readouterr().out
    assert "cell 1 differs in source; start.py problems makes it again" in out
    assert "problems/ps8_old.ipynb: there is no such solution; remove it" in out


def test_a_missing_one_is_a_difference(source, capsys):
    assert problems.main(["--check", str(source)]) == 1
    assert "it is not there" in capsys.readouterr().out


def test_a_stub_that_raises_is_refused(source, capsys):
    solution = small_set()
    cell(solution, "imports").source += "\nraise ValueError('stop')"
    nbformat.write(solution, source)
    assert problems.main([str(source)]) == 1
    assert "cannot be made" in capsys.readouterr().out
    assert not stored(source).exists()


def leaky_text(notebook):
    notebook.cells[0].source += "\n\nHint: `return float( np.mean(-np.log2(probs)) )`."


def leaky_rubric(notebook):
    notebook.cells.append(new_markdown_cell("One point for naming the edge cases of the mask"
                                            ", three for a reason."))


def leaky_output(notebook):
    notebook.cells[1].outputs = [
        new_output("stream", name="stdout", text="np.triu(np.full((T, T), -np.inf), k=1)\n"
                   "    return np.triu(np.full((T, T), -np.inf), k=1)")
    ]


def leaky_metadata(notebook):
    notebook.metadata["note"] = {"x": ["hidden = checks.decode_ids(decode, seed=20817)"]}


def leaky_seed(notebook):
    notebook.cells[0].metadata["seed"] = 31415


def leaky_mark(notebook):
    notebook.cells[2].source += "\n### BEGIN SOLUTION"


LEAKS = {
    leaky_text: "np.log2(probs)",
    leaky_rubric: "naming the edge cases",
    leaky_output: "np.triu",
    leaky_metadata: "hidden = checks.decode_ids",
    leaky_seed: "hidden seed 31415",
    leaky_mark: "the mark BEGIN SOLUTION",
}


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
def test_a_leak_is_found(leak):
    made = problems.without_secrets(small_set())
    assert list(problems.leaks(small_set(), problems.all_text(made))) == []
    leak(made)
    found = list(problems.leaks(small_set(), problems.all_text(made)))
    assert any(LEAKS[leak] in word for word in found), found


def test_a_leak_is_not_written(source, capsys):
    solution = small_set()
    cell(solution, "imports").source += (
        '\nprint("return np.triu(np.full((T, T),", "-np.inf), k=1)")'
    )
    nbformat.write(solution, source)
    assert problems.main([str(source)]) == 1
    assert "it gives away the line 'return np.triu" in capsys.readouterr().out
    assert not stored(source).exists()


def test_a_line_in_the_open_is_no_secret():
    solution = small_set()
    cell(solution, "imports").source += "\nbits = float(np.mean(-np.log2([0.5])))"
    line = "return float(np.mean(-np.log2(probs)))"
    assert line in problems.secrets(solution)
    cell(solution, "imports").source += f"\ndef slow(probs):\n    {line}"
    assert line not in problems.secrets(solution)


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_the_stored_problem_set_is_what_the_solution_makes(path):
    """All but the outputs: those are compared where every notebook is run."""
    solution, kept = (nbformat.read(each, as_version=4) for each in (path, stored(path)))
    made = problems.without_secrets(solution)
    assert list(problems.leaks(solution, problems.all_text(kept))) == []
    code = [c for c in kept.cells if c.cell_type == "code"]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    for notebook in (made, kept):
        notebook.metadata.pop("language_info", None)  # told by the kernel
        for each in notebook.cells:
            each.pop("outputs", None)
            each.pop("execution_count", None)
    assert made == kept
