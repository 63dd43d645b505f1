"""A class of thirty, with everything that can be wrong, is graded in one command.

The set is the small one of `problem_set`: `decode` 2 points, `causal_mask` 3, `bits` 3, and an
open question.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from minigpt_helpers import checks
from problem_set import FULL, NAME, OPEN, small_set
from tools.launcher.project import here
from tools.teaching import problems
from tools.teaching.grading import jail
from tools.teaching.grading.__main__ import main

RIGHT = {
    "decode": 'def decode(ids, chars):\n    return "".join(chars[number] for number in ids)',
    "mask": "def causal_mask(T):\n    return np.triu(np.full((T, T), -np.inf), k=1)",
    "bits": "def bits(probs):\n    return float(np.mean(-np.log2(probs)))",
}
SHY = "def causal_mask(T):\n    return np.triu(np.full((T, T), -np.inf), k=2)"  # right for T=1


def shy_points():
    space = {"np": np}
    exec(SHY, space)
    return min(checks.causal_mask(space["causal_mask"]).score, 1.0) * 3


def handed_in(answers=RIGHT, think="The mask, because of T = 1.", first=""):
    """A student's notebook: the released one, with answers in it."""
    notebook = problems.without_secrets(small_set())
    for cell in notebook.cells:
        name = cell.metadata.nbgrader.grade_id
        problem = name.removesuffix("-solution")
        if problem in answers:
            cell.source = answers[problem]
        if name == "think-open" and think:
            cell.source = think
    if first:
        notebook.cells.insert(2, new_code_cell(first))
    return notebook


def changed(notebook, change):
    change(notebook)
    return notebook


def cell(notebook, name):
    return next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == name)


def without_tests(notebook):
    notebook.cells = [c for c in notebook.cells if not c.metadata.nbgrader.get("points")]


def with_easy_tests(notebook):
    for name in ("decode-test", "mask-test", "bits-test"):
        cell(notebook, name).source = "3.0"
        cell(notebook, name).metadata.nbgrader["points"] = 100


def with_double_tests(notebook):
    for name in ("decode-test", "mask-test"):
        notebook.cells.insert(2, nbformat.from_dict(cell(notebook, name)))


def with_a_stub_copy(notebook):
    stub = nbformat.from_dict(cell(problems.without_secrets(small_set()), "mask-solution"))
    notebook.cells.insert(notebook.cells.index(cell(notebook, "mask-test")), stub)


def without_metadata(notebook):
    notebook.metadata = {}
    for number, one in enumerate(notebook.cells):
        one.metadata, one.id = {}, f"x{number}"


def with_own_cells(notebook):
    notebook.cells = [
        c
        for c in notebook.cells
        if "solution" not in c.metadata.nbgrader.grade_id
        and c.metadata.nbgrader.grade_id != "mask-test"
    ]
    notebook.cells[2:2] = [new_code_cell(source) for source in RIGHT.values()]


def all_in_version_3(notebook):
    return nbformat.convert(notebook, 3)


ELSEWHERE = new_notebook(
    cells=[
        new_markdown_cell("# Biology 101"),
        new_code_cell("cells = 3\nprint(cells)"),
    ]
)

NOT_STOPPED = (
    "while True:\n    try:\n        while True:\n            pass\n"
    "    except BaseException:\n        pass"
)
WRONG = {
    "decode": "decode = lambda ids, chars: 1",
    "mask": "causal_mask = decode",
    "bits": "bits = lambda probs: -1.0",
}
SPY = f"""
import gc, os, socket, sys
SECRET_SEED = 20000 + 817
from pathlib import Path
def tell(what, look):
    try:
        print(what, "FOUND" if look() else "nothing")
    except Exception as error:
        print(what, "nothing")
def network():
    socket.create_connection(("192.0.2.1", 80), 2)
    return True
root = Path({str(here().root)!r})
tell("solutions", lambda: list(root.rglob("solutions/*.ipynb")))
tell("submissions", lambda: list(Path(CLASS_FOLDER).iterdir()))
tell("results", lambda: list(Path(OUT).rglob("*.json")))
tell("checks", lambda: list(Path(sys.path[0]).parent.rglob("checks/_[a-z]*.py")) + list(root.rglob("ps1.py")))
tell("references", lambda: [name for name in sys.modules if ".checks." in name])
tell("seed", lambda: [x for x in gc.get_objects() if isinstance(x, dict) and x is not globals() and any(
    v == SECRET_SEED for v in x.values() if type(v) is int)])
tell("outside", lambda: Path(OUT, "note.txt").write_text("x"))
tell("processes", lambda: [p for p in os.listdir("/proc") if p.isdigit() and p != str(os.getpid())])
tell("network", network)
tell("environment", lambda: os.environ.get("A_SECRET_OF_THE_TEACHER"))
os.write(1, b'{{"notebook": {{}}, "notes": []}}')
"""
LOST = "the rest was not run"

# name: (file name or None for the usual one, notebook or text, points, problem, note)
CLASS = {
    "reference": (None, small_set(), 8, "", ""),
    "right": (None, handed_in(), 8, "", ""),
    "untouched": (None, handed_in({}, think=""), 0, "", ""),
    "half": (None, handed_in({"decode": RIGHT["decode"]}), 2, "", ""),
    "partly": (None, handed_in({"mask": SHY}), shy_points(), "", ""),
    "syntax error": (None, handed_in(RIGHT | {"mask": "def causal_mask(T:"}), 5, "", ""),
    "exception": (None, handed_in(RIGHT | {"mask": "def causal_mask(T):\n    1 / 0"}), 5, "", ""),
    "exception early": (None, handed_in(first="raise SystemExit"), 8, "", ""),
    "stderr": (
        None,
        handed_in(first="import sys, warnings\nwarnings.warn('x')\nprint('x', file=sys.stderr)"),
        8,
        "",
        "",
    ),
    "loop": (None, handed_in(first="while True:\n    pass"), 8, "", "cell 3: stopped after"),
    "loop in function": (
        None,
        handed_in(RIGHT | {"mask": "def causal_mask(T):\n    while True:\n        pass"}),
        5,
        "",
        "",
    ),
    "loop that stays": (
        None,
        handed_in(RIGHT | {"mask": RIGHT["mask"] + "\n" + NOT_STOPPED}),
        2,
        "",
        "did not stop when interrupted; the rest",
    ),
    "memory": (None, handed_in(first="import numpy as np\nx = np.ones(5 * 2**30 // 8)"), 8, "", ""),
    "killed": (None, handed_in(RIGHT | {"bits": "import os\nos._exit(0)"}), 5, "", LOST),
    "takes": (
        None,
        handed_in(first="from minigpt_helpers import LayerNorm"),
        8,
        "",
        "cell 3, line 1 takes LayerNorm from the package",
    ),
    "forks": (
        None,
        handed_in(
            RIGHT
            | {
                "bits": "import os\nwhile True:\n    try:\n        os.fork()"
                "\n    except OSError:\n        pass"
            }
        ),
        5,
        "",
        "a fork bomb",
    ),
    "prints": (None, handed_in(first="for i in range(1000):\n    print('x' * 100_000)"), 8, "", ""),
    "disk": (
        None,
        handed_in(
            first="with open('f', 'wb') as f:\n    for i in range(300):\n"
            "        f.write(bytes(10**6))"
        ),
        8,
        "",
        "",
    ),
    "empty folder": ("", None, 0, "no notebook in the folder", ""),
    "empty file": (None, "", 0, "the file is empty", ""),
    "cut off": (None, nbformat.writes(small_set())[:2000], 0, "no valid JSON", ""),
    "no notebook": (None, '{"nbformat": 4, "cells": [3]}', 0, "not a notebook", ""),
    "version 3": (None, all_in_version_3(handed_in()), 8, "", ""),
    "other course": (None, ELSEWHERE, 0, f"no cell of {NAME} is in it", ""),
    "other name": ("my homework (2).ipynb", handed_in(), 8, "", ""),
    "no metadata": (None, changed(handed_in(), without_metadata), 8, "", ""),
    "tests deleted": (None, changed(handed_in(), without_tests), 8, "", "mask-test was missing"),
    "tests edited": (None, changed(handed_in({}), with_easy_tests), 0, "", "bits-test was changed"),
    "tests doubled": (
        None,
        changed(handed_in(), with_double_tests),
        8,
        "",
        "decode-test is there 2 times",
    ),
    "cells of my own": (None, changed(handed_in(), with_own_cells), 8, "", "mask-test was missing"),
    "wrong": (None, handed_in(WRONG), 0, "", ""),
    "asks": (
        None,
        handed_in(first="name = input('your name')"),
        8,
        "",
        "cell 3: input() was refused",
    ),
    "marks of nbgrader": (
        None,
        handed_in(first="### BEGIN HIDDEN TESTS\n### END SOLUTION"),
        8,
        "",
        "",
    ),
    "stub copy": (
        None,
        changed(handed_in(), with_a_stub_copy),
        8,
        "",
        "mask-solution is there 2 times",
    ),
    "shadows": (
        None,
        handed_in(first="min = max = display = result = hidden = checks = None"),
        8,
        "",
        "",
    ),
    "spy": (None, handed_in(first=SPY), 8, "", ""),
    "own text": (None, handed_in(first="print('read', open('my_text.txt').read())"), 8, "", ""),
    "Jürgen Müßig": ("nbgrader", handed_in(), 8, "", ""),
    "..": ("flat", handed_in(), 8, "", ""),
    "=1+1": ("flat", handed_in({"bits": RIGHT["bits"]}), 3, "", ""),
}


def write_class(folder, out):
    for student, (name, content, *_) in CLASS.items():
        if name == "flat":
            path = folder / f"{student}_{NAME}.ipynb"
        elif name == "nbgrader":
            path = folder / student / NAME / f"{NAME}.ipynb"
        else:
            path = folder / student / (f"{NAME}.ipynb" if name is None else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == "":
            path.mkdir(exist_ok=True)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            text = json.dumps(content)  # as it is: no validation mends it
            for word, value in [("CLASS_FOLDER", folder), ("OUT", out)]:
                text = text.replace(f"Path({word}", f"Path('{value.as_posix()}'")
            path.write_text(text, encoding="utf-8")

    (folder / "own text" / "my_text.txt").write_text("my own text", encoding="utf-8")


def grade(*arguments):
    return subprocess.run(
        [sys.executable, "-P", "-m", "tools.teaching.grading", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(here().root), "A_SECRET_OF_THE_TEACHER": "x"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=900,
    )


def table(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def solutions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("course") / "solutions"
    folder.mkdir()
    nbformat.write(small_set(), folder / f"{NAME}.ipynb")
    return folder


@pytest.fixture(scope="module")
def graded(solutions, tmp_path_factory):
    """The class, graded: (what the command said, the folder of its results)."""
    folder = tmp_path_factory.mktemp("all handed in")
    out = tmp_path_factory.mktemp("results")
    write_class(folder, out)
    done = grade(folder, "--out", out, "--solutions", solutions, "--cell-seconds", 3)
    assert (out / "scores.csv").is_file(), done.stderr
    return done, out


@pytest.fixture(scope="module")
def rows(graded):
    return {row["student"].lstrip("'"): row for row in table(graded[1] / "scores.csv")}


def test_an_exception_is_told_with_the_function_that_its_line_stands_in(solutions, tmp_path):
    """Also from a comprehension, which Python 3.11 runs in a frame of its own."""
    broken = 'def decode(ids, chars):\n    return "".join([chars[number + 99] for number in ids])'
    (tmp_path / "in").mkdir()
    nbformat.write(handed_in(RIGHT | {"decode": broken}), tmp_path / "in" / f"ada_{NAME}.ipynb")
    done = grade(tmp_path / "in", "--out", tmp_path / "out", "--solutions", solutions)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = table(tmp_path / "out" / "scores.csv")
    told = (tmp_path / "out" / row["feedback"]).read_text(encoding="utf-8")
    assert "in line 2 (decode)" in told


def test_one_command_grades_a_class_of_thirty(graded, rows):
    done, _ = graded
    assert len(CLASS) >= 30
    assert rows.keys() == CLASS.keys()
    assert done.returncode == 1  # some could not be graded
    assert done.stderr == ""
    for name, (_, _, _, problem, _) in CLASS.items():
        assert (f"not graded: {name}, {NAME}: " in done.stdout) == bool(problem)


@pytest.mark.parametrize("student", CLASS)
def test_the_score_is_right(student, rows):
    _, _, points, problem, note = CLASS[student]
    row = rows[student]
    assert float(row["score"]) == pytest.approx(points, abs=1e-3), row
    assert float(row["max_score"]) == FULL
    assert float(row["open_max_score"]) == OPEN
    assert problem in row["problem"] and bool(problem) == bool(row["problem"]), row
    assert note in row["notes"], row


def test_a_half_right_answer_has_some_of_the_points():
    assert 0 < shy_points() < 3


def test_open_questions_wait_for_a_teacher(rows):
    assert float(rows["right"]["open_waiting"]) == OPEN
    assert float(rows["untouched"]["open_waiting"]) == 0
    assert float(rows["cut off"]["open_waiting"]) == 0


def test_each_problem_has_a_line(graded):
    lines = table(graded[1] / "problems.csv")
    assert len(lines) == 4 * len(CLASS)
    assert [(line["problem"], line["score"]) for line in lines if line["student"] == "half"] == [
        ("decode-test", "2"),
        ("mask-test", "0"),
        ("bits-test", "0"),
        ("think-open", ""),
    ]


def page(graded, rows, student):
    return (graded[1] / rows[student]["feedback"]).read_text(encoding="utf-8")


@pytest.mark.parametrize("student", CLASS)
def test_feedback_shows_no_hidden_test_and_loads_nothing(student, graded, rows):
    html = page(graded, rows, student)
    assert "default-src 'none'" in html
    assert not re.search(r"<script|<link|<iframe|src=\"http|url\(\s*['\"]?http", html)
    for secret in (
        "20817",
        "31415",
        "27182",
        "hidden.score",
        "HIDDEN",
        "-test",
        "-solution",
        "-open",
    ):
        if not (student == "marks of nbgrader" and secret == "HIDDEN"):
            assert secret not in html
    path = Path(graded[1] / rows[student]["feedback"])
    assert path.resolve().is_relative_to(graded[1].resolve() / "feedback")


def test_feedback_says_what_was_found(graded, rows):
    html = page(graded, rows, "partly")
    assert "properties hold" in html and "Hint:" in html
    right = page(graded, rows, "right")
    assert "Points: 8 of 12, some are not marked yet." in right
    assert '<td>Problem 2</td><td class="points">3 of 3</td>' in right
    assert "waits for your teacher" in right
    assert "waits for your teacher" not in page(graded, rows, "untouched")
    assert "no valid JSON" in page(graded, rows, "cut off")


def test_a_spy_finds_nothing(graded, rows):
    """Where the system can hide things; elsewhere the command says that it cannot."""
    text = re.sub(r"<[^>]+>", "", page(graded, rows, "spy"))
    said = dict(re.findall(r"^(\w+) (FOUND|nothing)$", text, re.MULTILINE))
    assert said.keys() == {
        "solutions",
        "submissions",
        "results",
        "checks",
        "references",
        "seed",
        "outside",
        "processes",
        "network",
        "environment",
    }
    assert said["environment"] == said["references"] == said["seed"] == "nothing"
    if "no network" in graded[0].stdout:
        assert set(said.values()) == {"nothing"}
        assert not (graded[1] / "note.txt").exists()
    else:
        assert "this system cannot hide files and network" in graded[0].stdout


def test_this_system_has_a_jail_where_namespaces_are_allowed(graded):
    allowed = (
        jail.possible()
        and subprocess.run(
            ["unshare", "--net", "--mount", *(["--user"] if os.getuid() else []), "true"],
            capture_output=True,
            check=False,
        ).returncode
        == 0
    )
    assert ("no network" in graded[0].stdout) == allowed


# Marks, lists, refusals: a class of one or two


@pytest.fixture
def small_class(tmp_path):
    folder = tmp_path / "in"
    (folder / "anna").mkdir(parents=True)
    nbformat.write(handed_in(), folder / "anna" / f"{NAME}.ipynb")
    return folder


def test_marks_are_entered_kept_and_checked(small_class, solutions, tmp_path):
    out = tmp_path / "out"
    command = [small_class, "--out", out, "--solutions", solutions, "--sandbox", "off"]
    names = tmp_path / "class.csv"
    names.write_text("student\nanna\nbo\n", encoding="utf-8")
    done = grade(*command, "--students", names, "--due", "2000-01-01")
    assert done.returncode == 1
    anna, bo = table(out / "scores.csv")
    assert (anna["score"], anna["late"], bo["problem"]) == ("8", "late", "nothing handed in")

    [line] = table(out / "open_marks.csv")
    assert (line["student"], line["score"], line["max_score"]) == ("anna", "", "4")
    assert line["answer"] == "The mask, because of T = 1."
    filled = (out / "open_marks.csv").read_text(encoding="utf-8-sig")
    (out / "open_marks.csv").write_text(
        filled.replace("think-open,4,,,", "think-open,4,2.5,Why?,"), encoding="utf-8"
    )
    started = [path.stat().st_mtime_ns for path in (out / "runs").iterdir()]
    assert grade(*command).returncode == 0
    assert started == [
        path.stat().st_mtime_ns for path in (out / "runs").iterdir()
    ]  # not run again
    [anna] = table(out / "scores.csv")
    assert (anna["open_score"], anna["open_waiting"], anna["total"]) == ("2.5", "0", "10.5")
    assert "<br>Why?</td>" in (out / anna["feedback"]).read_text(encoding="utf-8")

    marks = tmp_path / "marks.csv"  # of another program; one for someone unknown, one too high
    marks.write_text(
        f"student;set;problem;score\nanna;{NAME};bits-test;2,5\n"
        f"carl;{NAME};think-open;1\nanna;{NAME};mask-test;9\n",
        encoding="utf-8",
    )
    done = grade(*command, "--open", marks)
    assert f"a mark without an answer: carl, {NAME}, think-open" in done.stdout
    [anna] = table(out / "scores.csv")
    assert (anna["score"], anna["open_score"]) == ("7.5", "2.5")
    assert "a mark of 9 is not between 0 and 3" in anna["notes"]

    nbformat.write(handed_in(think="Another answer."), small_class / "anna" / f"{NAME}.ipynb")
    assert grade(*command).returncode == 0  # the mark was for another answer: asked for again
    [anna] = table(out / "scores.csv")
    assert (anna["open_score"], anna["open_waiting"]) == ("0", "4")
    assert "the answer has changed since it was marked (2.5)" in anna["notes"]
    [line] = [one for one in table(out / "open_marks.csv") if one["problem"] == "think-open"]
    assert (line["score"], line["earlier"], line["answer"]) == ("", "2.5", "Another answer.")


def test_a_text_of_the_students_own_is_there(graded, rows):
    assert "read my own text" in page(graded, rows, "own text")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["absent"], "There is no folder"),
        (["in", "--out", "full"], "holds other files"),
        (["in", "--out", "in/out"], "cannot go into the folder of submissions"),
        (["in", "--set", "ps4"], "There is no set ps4"),
        (["in", "--open", "bad.csv"], "bad.csv, line 2: 'two' is no score"),
        (["in", "--open", "worse.csv"], "worse.csv has no column problem, set"),
    ],
)
def test_what_cannot_be_done_is_said(words, said, small_class, solutions, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    (tmp_path / "bad.csv").write_text("student,set,problem,score\na,b,c,two\n")
    (tmp_path / "worse.csv").write_text("student,score\na,1\n")
    words = [word if word.startswith(("--", "ps")) else str(tmp_path / word) for word in words]
    code = main(["--out", str(tmp_path / "out"), "--solutions", str(solutions), *words])
    assert code == 2
    assert said in capsys.readouterr().err
    assert (tmp_path / "full" / "thesis.txt").exists()
