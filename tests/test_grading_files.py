"""What is handed in is found and read, whatever it is called and however it is written."""

from __future__ import annotations

import json
import os
import random
import re
import zipfile
from datetime import UTC, datetime, timedelta

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from problem_set import NAME, small_set
from tools.teaching import problems
from tools.teaching.grading import report, submissions
from tools.teaching.grading.__main__ import Naming, absent, point_out_equal
from tools.teaching.grading.cells import ProblemSet, answer_hash
from tools.teaching.grading.report import Row, Student
from tools.teaching.grading.submissions import Submission
from tools.teaching.grading.times import read_time

# Finding submissions

SETS = {"ps1_tokenization": {"a", "b", "c"}, "ps2_autograd": {"d", "e", "f"}}


def named(*names):
    cells = [new_code_cell(name, metadata={"nbgrader": {"grade_id": name}}) for name in names]
    return new_notebook(cells=cells)


@pytest.mark.parametrize(
    ("path", "names", "student", "set_name"),
    [
        ("anna/ps1_tokenization.ipynb", "abc", "anna", "ps1_tokenization"),
        ("anna/ps1_tokenization/ps1_tokenization.ipynb", "abc", "anna", "ps1_tokenization"),
        ("anna/problems/PS 2.ipynb", "def", "anna", "ps2_autograd"),
        ("anna_ps1_tokenization.ipynb", "abc", "anna", "ps1_tokenization"),
        ("anna-ps2.ipynb", "def", "anna", "ps2_autograd"),
        ("von der Au, Eva_ps2_autograd (1).ipynb", "def", "von der Au, Eva", "ps2_autograd"),
        ("ps_fan-ps1.ipynb", "abc", "ps_fan", "ps1_tokenization"),
        ("anna/whatever.ipynb", "abc", "anna", "ps1_tokenization"),
        ("anna/ps1_tokenization.ipynb", "def", "anna", "ps2_autograd"),  # the cells know better
        ("anna/ps1_tokenization.ipynb", "xyz", "anna", "ps1_tokenization"),
        ("../in/Ju\u0308rgen/ps1.ipynb", "abc", "J\u00fcrgen", "ps1_tokenization"),
    ],
)
def test_submissions_are_found(path, names, student, set_name, tmp_path):
    target = tmp_path / "in" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(named(*names), target)
    [found], passed_over = submissions.find(tmp_path / "in", SETS)
    assert (found.student, found.set_name, found.problem) == (student, set_name, "")
    assert passed_over == []


def test_of_two_files_the_one_with_the_sets_name_is_taken(tmp_path):
    folder = tmp_path / "anna"
    (folder / ".ipynb_checkpoints").mkdir(parents=True)
    for name in ("ps1 copy.ipynb", "ps1_tokenization.ipynb", ".ipynb_checkpoints/ps1.ipynb"):
        nbformat.write(named("a", "b"), folder / name)
    (tmp_path / "readme.txt").write_text("x")
    [found], passed_over = submissions.find(tmp_path, SETS)
    assert found.path.name == "ps1_tokenization.ipynb"
    assert found.notes == [
        "graded: anna/ps1_tokenization.ipynb",
        "not graded, there is another for this set: anna/ps1 copy.ipynb",
    ]
    assert passed_over == ["readme.txt"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "in" / "anna").mkdir(parents=True)
    nbformat.write(named("a", "b"), tmp_path / "other.ipynb")
    (tmp_path / "in" / "anna" / "ps1.ipynb").symlink_to(tmp_path / "other.ipynb")
    [found], _ = submissions.find(tmp_path / "in", SETS)
    assert found.problem == "not a file of its own (a link, or something else)"


@pytest.mark.parametrize("student", ["..", "../x", "a b", "a_b", "Jürgen", "CON", "", "=1"])
def test_a_students_folder_stays_inside_and_is_the_students_own(student):
    safe = submissions.Submission(student, "").safe_student
    assert re.fullmatch(r"[\w.@-]+", safe) and not safe.startswith(".")
    others = ["..", "../x", "a b", "a_b", "a-b", "Jürgen", "Jurgen", "=1", "1"]
    assert safe not in {submissions.Submission(o, "").safe_student for o in others if o != student}


# Moodle, Canvas, archives, whole projects

MOODLE = "Jürgen Müller_1234567_assignsubmission_file"


def find(folder, scratch, **options):
    scratch.mkdir(exist_ok=True)
    return submissions.find(folder, SETS, scratch=scratch, **options)


def pack(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path.read_bytes()


PS1 = nbformat.writes(named("a", "b"))


@pytest.mark.parametrize(
    ("path", "student", "number"),
    [
        (f"{MOODLE}/ps1_tokenization.ipynb", "Jürgen Müller", "1234567"),
        (f"{MOODLE}_/ps1.ipynb", "Jürgen Müller", "1234567"),
        (f"{MOODLE}_ps1_tokenization.ipynb", "Jürgen Müller", "1234567"),
        ("mullerjurgen_LATE_1234_5678_ps1.ipynb", "mullerjurgen", "1234"),
        ("mullerjurgen_1234_5678_ps1-2.ipynb", "mullerjurgen", "1234"),
        ("anna/mini-gpt/my_work/problems/ps1_tokenization.ipynb", "anna", ""),
        ("anna/ps1_tokenization.ipynb.txt", "anna", ""),
        ("anna_ps1.ipynb.json", "anna", ""),
        ("anna/PS1.IPYNB", "anna", ""),
        ("anna/ps1.ipynb (1)", "anna", ""),
    ],
)
def test_names_of_moodle_and_canvas_are_understood(path, student, number, tmp_path):
    target = tmp_path / "in" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(PS1, encoding="utf-8")
    [found], _ = find(tmp_path / "in", tmp_path / "scratch")
    assert (found.student, found.id, found.problem) == (student, number, "")
    assert found.set_name == "ps1_tokenization"
    assert ("late, says Canvas" in found.notes) == ("LATE" in path)


def test_a_zip_of_zips_is_unpacked(tmp_path):
    (tmp_path / "in").mkdir()
    project = pack(
        tmp_path / "p.zip",
        {
            "mini-gpt/my_work/problems/ps1_tokenization.ipynb": PS1,
            "../../../../evil.txt": "x",
            "__MACOSX/x.ipynb": "x",
        },
    )
    whole = pack(
        tmp_path / "in" / "course.zip",
        {
            f"{MOODLE}/work.zip": project,
            "Bo Li_77_assignsubmission_file/ps1.ipynb": PS1,
            "Cy_78_assignsubmission_file/broken.zip": b"PK\x03\x04 no",
        },
    )
    (tmp_path / "in" / "mullerjurgen_1234_5678_work.zip").write_bytes(project)
    found, _ = find(tmp_path / "in", tmp_path / "scratch")
    assert {(one.student, one.set_name, one.problem) for one in found} == {
        ("Bo Li", "ps1_tokenization", ""),
        ("Jürgen Müller", "ps1_tokenization", ""),
        ("mullerjurgen", "ps1_tokenization", ""),
        ("Cy", "", "no notebook in the folder (there is broken.zip)"),
    }
    assert not list(tmp_path.glob("evil.txt"))
    (tmp_path / "alone.zip").write_bytes(whole)
    assert len(find(tmp_path / "alone.zip", tmp_path / "scratch2")[0]) == 3


def test_of_two_copies_the_one_that_was_worked_on_is_graded(tmp_path):
    small = ProblemSet(NAME, small_set(), problems.without_secrets(small_set()))
    solved = problems.without_secrets(small_set())
    solved.cells[2].source = "def decode(ids, chars):\n    return 1"
    for path, notebook in [
        ("notebooks/problems/ps9_small.ipynb", small.released),
        ("my_work/problems/ps9_small.ipynb", solved),
    ]:
        target = tmp_path / "in" / "anna" / "mini-gpt" / path
        target.parent.mkdir(parents=True)
        nbformat.write(notebook, target)
        os.utime(target, (10**9, 10**9))
    os.utime(
        tmp_path / "in/anna/mini-gpt/notebooks/problems/ps9_small.ipynb", (2 * 10**9, 2 * 10**9)
    )
    [found], _ = submissions.find(
        tmp_path / "in",
        {NAME: set(small.cells)},
        lambda name, notebook: small.is_untouched(notebook),
    )
    assert found.notebook.cells[2].source == solved.cells[2].source
    assert found.notes[0] == "graded: anna/mini-gpt/my_work/problems/ps9_small.ipynb"
    assert "not graded" in found.notes[1]


# Encodings


@pytest.mark.parametrize(
    ("encoding", "note"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("utf-32", "UTF-32"),
        ("cp1252", "cp1252"),
    ],
)
def test_encodings_are_read_or_named(encoding, note):
    notebook = new_notebook(cells=[new_code_cell("word = 'Größe'")])
    text = json.dumps(notebook, ensure_ascii=False)
    found, notes = submissions.notebook_of(text.encode(encoding))
    assert found.cells[0].source == "word = 'Größe'"
    assert (note in " ".join(notes)) and bool(notes) == bool(note)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"%PDF-1.7", "a PDF"),
        (b"PK\x03\x04....", "zip archive"),
        (b"<!DOCTYPE html>", "an HTML page"),
        (b"{\\rtf1", "RTF"),
        (b"\xff\xd8\xff", "a picture"),
        (b"hello", "no valid JSON"),
        (b"[]", "not a notebook"),
        (b'{"nbformat": 4}', "not a notebook"),
    ],
)
def test_what_is_no_notebook_is_named(data, said):
    with pytest.raises(submissions.Unreadable, match=said):
        submissions.notebook_of(data)


# Times


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("2026-11-23T18:00+01:00", 17),
        ("2026-11-23 14:00:00.000000 -03", 17),
        ("2026-11-23 19:00:00 UTC", 19),
        ("2026-11-23T19:00:00Z", 19),
        ("2026-11-23 19:00 CET", 18),
        ("2026-11-23 12:00:00,5 -0500", 17),
        ("2026-11-23 12:00 America/New_York", 17),
    ],
)
def test_a_zone_that_is_given_is_read(text, hours):
    moment, notes = read_time(text)
    assert moment.astimezone(UTC).replace(second=0, microsecond=0) == datetime(
        2026, 11, 23, hours, tzinfo=UTC
    )
    assert notes == []


def test_a_time_without_a_zone_is_the_machines():
    moment, notes = read_time("2026-11-23T18:00")
    assert moment == datetime(2026, 11, 23, 18).astimezone() and notes == []
    assert read_time("2026-11-23")[0] - moment > timedelta(hours=5)  # the end of the day
    assert "not known" in read_time("2026-11-23 18:00 XYZ")[1][0]
    for bad in ("tomorrow", "23.11.2026", "2026-13-01"):
        with pytest.raises(ValueError):
            read_time(bad)


def test_a_time_beside_a_notebook_never_stops_anything(tmp_path):
    for name, text in {
        "a": "2026-11-23 14:00:00.000000 -03",
        "b": "nonsense",
        "c": "",
        "d": "\xff",
    }.items():
        (tmp_path / name).mkdir()
        nbformat.write(named("a", "b"), tmp_path / name / "ps1.ipynb")
        (tmp_path / name / "timestamp.txt").write_text(text, encoding="latin-1")
    found, _ = submissions.find(tmp_path, SETS)
    assert all(one.handed_in.tzinfo is not None for one in found) and len(found) == 4


# Class lists


def test_a_class_list_in_every_form(tmp_path):
    path = tmp_path / "list.csv"
    for text in [
        "Müller, Jürgen\nBo Li\n",
        "student\nMüller, Jürgen\nBo Li\n",
        '"Müller, Jürgen",77\n"Bo Li",78\n',
        "Müller, Jürgen;77\nBo Li;78\n",
    ]:
        for encoding in ("utf-8", "utf-16", "cp1252"):
            path.write_bytes(text.encode(encoding))
            found = report.class_list(path)
            assert [student.name for student in found] == ["Müller, Jürgen", "Bo Li"]
            assert [student.id for student in found] == (["77", "78"] if "77" in text else ["", ""])
    path.write_text("First name,Surname,ID number\nJürgen,Müller,77\n", encoding="utf-8")
    assert report.class_list(path) == [Student("Jürgen Müller", "77")]
    path.write_text('Student,ID,SIS User ID\n"Müller, Jürgen",77,x\n', encoding="utf-8")
    assert report.class_list(path) == [Student("Müller, Jürgen", "77")]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("Jürgen Müller", ""),
        ("mullerjurgen", ""),
        ("muellerjuergen", ""),
        ("jurgenmuller", ""),
        ("MÜLLER, Jürgen", ""),
        ("who knows", "77"),
    ],
)
def test_a_student_is_found_under_other_names(name, number):
    naming = Naming([Student("Müller, Jürgen", "77"), Student("Bo Li"), Student("Li Bo")])
    assert naming(name, number) == "Müller, Jürgen"
    assert naming("Bo Li", "") == "Bo Li"  # two that cannot be told apart: as it is written
    assert naming("Someone Else", "") == "Someone Else"


SMALL = {
    name: ProblemSet(name, small_set(), problems.without_secrets(small_set()))
    for name in ("ps1", "ps2")
}


def missing(found, names=(), chosen=()):
    students = [Student(name) for name in names]
    return {(row.student, row.set_name) for row in absent(students, found, SMALL, set(chosen))}


def test_one_wrong_set_costs_nobody_else_anything():
    found = [Submission(name, "ps1") for name in "abcdef"] + [Submission("g", "ps2")]
    assert missing(found) == {("g", "ps1")}
    assert missing(found, ["a", "h"]) == {("g", "ps1"), ("h", "ps1")}
    assert missing(found, chosen=["ps2"]) == {(name, "ps2") for name in "abcdef"}
    assert missing([Submission("a", "ps1")], ["a", "b"]) == {("b", "ps1")}


def test_equal_answers_are_pointed_out(capsys):
    rows = [
        Row(name, "ps1", [], answers={"open": text})
        for name, text in [("Li, A", "The mask."), ("b", "The  mask."), ("c", "Other."), ("d", "")]
    ]
    point_out_equal(rows)
    assert "2 equal answers to open (ps1): Li, A; b" in capsys.readouterr().out
    assert [row.notes for row in rows] == [
        ["open: the same answer as b"],
        ["open: the same answer as Li, A"],
        [],
        [],
    ]


# The cells of a set

SET = ProblemSet(NAME, small_set(), problems.without_secrets(small_set()))


def released():
    notebook = problems.without_secrets(small_set())
    return notebook


def restored(notebook):
    found, notes = submissions.notebook_of(json.dumps(notebook).encode("utf-8", "surrogatepass"))
    submission = Submission("anna", NAME, notebook=found, notes=notes)
    return SET.restore(submission), submission


def test_all_text_up_to_the_next_cell_is_the_answer():
    notebook = released()
    notebook.cells += [
        new_markdown_cell("It stands below."),
        new_code_cell("1 + 1"),
        new_markdown_cell("And goes on."),
    ]
    made, submission = restored(notebook)
    assert SET.answers(made) == {"think-open": "It stands below.\n\nAnd goes on."}
    split = released()
    split.cells[-1].source = "First half."
    split.cells.append(nbformat.from_dict(split.cells[-1] | {"source": "Second half."}))
    made, submission = restored(split)
    assert SET.answers(made) == {"think-open": "First half.\n\nSecond half."}
    assert "think-open was written in 2 times: its parts are joined" in submission.notes
    assert SET.answers(restored(released())[0]) == {"think-open": ""}
    assert answer_hash("a b") == answer_hash(" a\nb ") != answer_hash("ab c")


def test_the_teachers_cells_come_back_whatever_was_done_to_them():
    notebook = released()
    for cell in notebook.cells:
        if cell.metadata.nbgrader.get("points") and cell.cell_type == "code":
            cell.source = "3.0"
    del notebook.cells[4]
    made, submission = restored(notebook)
    tests = {name: cell.source for name, cell in SET.cells.items() if name.endswith("-test")}
    found = {
        cell.metadata.nbgrader.grade_id: cell.source
        for cell in made.cells
        if cell.metadata.get("nbgrader", {}).get("grade_id") in tests
    }
    assert found == tests
    assert any("changed and is restored" in note for note in submission.notes)


# A fuzzed class


def mutated(rng, notebook):
    """A notebook with some things wrong in it, as text or bytes."""
    notebook = json.loads(json.dumps(notebook))
    cells = notebook["cells"]
    words = [
        "### BEGIN HIDDEN TESTS",
        "### END HIDDEN TESTS",
        "### BEGIN SOLUTION",
        "",
        "\ud800",
        "\0",
        "%%bash\nls",
        "def f(:",
        "x" * 5000,
        "=1+1",
        None,
        3,
        ["a", 3],
        {"a": 1},
        "é\r\nb",
        "(" * 300,
    ]
    for _ in range(rng.randint(1, 6)):
        cell = rng.choice(cells) if cells else {}
        what = rng.randrange(12)
        if what == 0:
            cell["source"] = rng.choice(words)
        elif what == 1:
            cells.insert(
                rng.randint(0, len(cells)),
                {
                    "cell_type": rng.choice(["code", "raw", "heading", 5]),
                    "source": rng.choice(words),
                    "metadata": rng.choice([{}, [], None, "x"]),
                },
            )
        elif what == 2:
            cell["metadata"] = rng.choice(
                [
                    {},
                    None,
                    [],
                    {"nbgrader": None},
                    {"nbgrader": {"grade_id": 3}},
                    {"nbgrader": {"grade_id": "mask-test", "points": 1e9}},
                    "x",
                ]
            )
        elif what == 3:
            rng.shuffle(cells)
        elif what == 4 and cells:
            cells.append(dict(rng.choice(cells)))
        elif what == 5 and cells:
            del cells[rng.randrange(len(cells))]
        elif what == 6:
            cell["cell_type"] = rng.choice(["code", "markdown", "raw", "x", None])
        elif what == 7:
            notebook["nbformat"] = rng.choice([3, 4, 5, 99, "4", None, -1])
        elif what == 8:
            notebook["metadata"] = rng.choice([{}, None, [], {"kernelspec": 3}])
        elif what == 9 and isinstance(cell.get("source"), str):
            cell["source"] = rng.choice(words[:4]) + "\n" + cell["source"]
        elif what == 10:
            cell["id"] = rng.choice(["", "a" * 100, None, 7, "mask-test"])
        else:
            cell["outputs"] = rng.choice([None, 5, [{}], [{"output_type": "x"}]])
    data = json.dumps(notebook).encode()
    if rng.random() < 0.3:
        data = data.decode().encode(rng.choice(["utf-16", "utf-8-sig", "utf-32"]))
    if rng.random() < 0.15:
        cut = rng.randrange(len(data))
        data = (
            data[:cut]
            + bytes(rng.randrange(256) for _ in range(3))
            + data[cut + rng.randint(0, 9) :]
        )
    return data


def test_a_fuzzed_class_of_a_thousand_is_read_to_its_end(tmp_path):
    rng, notebook = random.Random(5), released()
    notebook.cells[2].source = "def decode(ids, chars):\n    return 1"
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(1000):
        (folder / f"s{number:04}-ps9.ipynb").write_bytes(mutated(rng, notebook))
    found, passed_over = submissions.find(
        folder, {NAME: set(SET.cells)}, lambda name, notebook: SET.is_untouched(notebook)
    )
    assert len(found) == 1000 and passed_over == []
    restorable = 0
    for submission in found:
        assert submission.set_name == NAME
        if submission.problem:
            continue
        try:
            made = SET.restore(submission)
        except ValueError as error:  # what the row will say
            assert "no cell of" in str(error)
            continue
        restorable += 1
        tests = [cell for cell in made.cells if cell.metadata.get("nbgrader", {}).get("grade")]
        assert sorted(cell.metadata.nbgrader.grade_id for cell in tests) == [
            "bits-test",
            "decode-test",
            "mask-test",
            "think-open",
        ]
        assert all(
            cell.source == SET.cells[cell.metadata.nbgrader.grade_id].source
            for cell in tests
            if cell.metadata.nbgrader.grade_id != "think-open"
        )
        json.dumps(made).encode("utf-8")
        SET.answers(made)
    assert restorable > 500
