"""The matrix: its rows, what a row changes, and what the table says of rows that did not run."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tools.launcher import matrix
from tools.launcher.matrix import NotHere, Result, Row
from tools.launcher.project import Project, UserError, here


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A small project whose environments are there, and whose pytest is a note of the call."""
    root = tmp_path / "project"
    for name in ("notebooks/01_a.ipynb", "notebooks/problems/ps1.ipynb", "tests/test_a.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    (root / "build" / "matrix").mkdir(parents=True)
    project = Project(root)
    monkeypatch.setattr(matrix, "prepare", lambda project, wanted: None)
    monkeypatch.setattr(matrix, "environment", lambda *arguments: Path(sys.executable))
    return project


@pytest.fixture
def runs(monkeypatch):
    calls = []

    def run_pytest(project, folder, words, settings, files, log):
        calls.append((folder, words, settings, files))
        return runs.says.pop(0) if runs.says else "5 passed"

    class Runs(list):
        says: list[str] = []  # noqa: RUF012

    runs = Runs()
    runs.says = []
    runs.calls = calls
    monkeypatch.setattr(matrix, "run_pytest", run_pytest)
    return runs


def test_the_rows_are_those_that_were_promised():
    names = [row.name for row in matrix.all_rows()]
    assert len(set(names)) == len(names)
    assert {
        "lowest", "newest", "python-3.11", "python-3.12", "python-3.13", "openblas-haswell",
        "no-avx512", "no-avx2", "threads-1", "threads-2", "hash-seed", "time-zone", "locale-c",
        "locale-de", "cp1252", "odd-path", "read-only", "conda", "pythonpath",
    } <= set(names)


def test_a_row_runs_the_notebooks_and_the_unit_tests_with_its_settings(project, runs):
    result = matrix.run_row(project, Row("one", settings={"TZ": "UTC"}), core=False)
    assert result.passed and result.python == sys.version.split()[0]
    (folder, _, settings, notebooks), (_, _, _, units) = runs.calls
    assert (folder, settings) == (project.root, {"TZ": "UTC"})
    assert notebooks[-2:] == ["notebooks/01_a.ipynb", "notebooks/problems/ps1.ipynb"]
    assert "tests" in units and "--ignore=tests/browser" in units
    matrix.run_row(project, Row("one"), core=True)
    (_, _, _, notebooks), (_, _, _, units) = runs.calls[2:]
    assert "notebooks/01_a.ipynb" in notebooks and "notebooks/problems/ps1.ipynb" not in notebooks
    assert "tests/test_autograd.py" in units and "tests" not in units


def test_pixels_are_compared_where_matplotlib_is_that_of_the_lock(project, runs):
    for versions, told in (("lock", None), ("lowest", "1"), ("newest", "1")):
        matrix.run_row(project, Row("one", versions=versions), core=True)
        assert runs.calls[-1][2].get("MINIGPT_OTHER_VERSIONS") == told


def test_a_row_that_cannot_run_here_says_why_and_does_not_fail(project, runs, monkeypatch, capsys):
    def needs(project):
        raise NotHere("no such processor")

    monkeypatch.setattr(matrix, "all_rows", lambda: [Row("odd", needs=needs), Row("plain")])
    assert matrix.run_matrix(project, []) == 0
    out = capsys.readouterr().out
    assert "| odd |" in out and out.count("not run: no such processor") == 2
    assert out.count("5 passed") == 2
    assert matrix.run_matrix(project, ["odd"]) == 1  # named, so it has to
    runs.says = ["5 passed", "1 failed, 4 passed"]
    assert matrix.run_matrix(project, ["plain"]) == 1


def test_the_page_holds_every_row_with_its_last_result(project, runs, monkeypatch):
    monkeypatch.setattr(matrix, "all_rows", lambda: [Row("first"), Row("second")])
    matrix.run_matrix(project, ["second"])
    page = project.root / "matrix.md"
    assert matrix.run_matrix(project, ["--table", str(page)]) == 0
    first, second = [line for line in page.read_text().splitlines() if line.startswith(("| f", "| s"))]
    assert "| not run | not run |" in first and "| 5 passed | 5 passed |" in second
    assert "| everything |" in second
    runs.says = ["1 failed", "1 failed"]
    assert matrix.run_matrix(project, ["--core", "second"]) == 1  # replaces no longer run
    matrix.run_matrix(project, ["--core", "first"])
    matrix.run_matrix(project, ["--table", str(page)])
    assert second in page.read_text()
    assert "| lessons, core | 5 passed | 5 passed |" in page.read_text()


def test_an_unknown_row_names_those_that_are_there(project):
    with pytest.raises(UserError, match="no row 'python-2'") as error:
        matrix.run_matrix(project, ["python-2"])
    assert "lowest" in error.value.advice[0]


@pytest.mark.parametrize(
    ("said", "passed"),
    [("5 passed", True), ("5 passed, 1 skipped", True), ("1 failed, 5 passed", False),
     ("1 passed, 2 errors", False), ("stopped after 9 s", False), ("not run", False)],
)
def test_passed_means_that_all_passed(said, passed):
    assert Result("a", "", notebooks=said, units="1 passed").passed == passed


def test_settings_come_before_what_start_py_drops_and_are_taken_back(project, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    seen = []
    monkeypatch.setattr(matrix.subprocess, "run", lambda words, **kwargs: seen.append(kwargs["env"]))
    settings = {"TZ": "Asia/Tokyo", "PYTHONPATH": "/elsewhere", "OPENBLAS_CORETYPE": "Haswell"}
    log = project.root / "log"
    matrix.run_pytest(project, project.root, [], settings, [], log)
    [env] = seen
    assert (env["TZ"], env["OPENBLAS_CORETYPE"]) == ("Asia/Tokyo", "Haswell")
    assert "PYTHONPATH" not in env
    assert os.environ["TZ"] == "UTC"


def test_a_kernel_of_openblas_and_features_are_asked_of_the_machine(monkeypatch):
    monkeypatch.setattr(Project, "python", Path(sys.executable))
    with pytest.raises(NotHere, match="does not run it"):
        matrix.blas_kernel("NoSuchKernel")(here())
    if platform.machine() == "x86_64":  # each of them runs the oldest kernel
        assert matrix.blas_kernel("Prescott")(here()) == {"OPENBLAS_CORETYPE": "Prescott"}
    with pytest.raises(NotHere, match="no such feature"):
        matrix.without_features("NO_SUCH")(here())
    with contextlib.suppress(NotHere):  # a processor without them
        named = matrix.without_features("AVX512", "X86_V4")(here())["NPY_DISABLE_CPU_FEATURES"]
        assert matrix.ask(Path(sys.executable), "import numpy", NPY_DISABLE_CPU_FEATURES=named) == ""


def test_a_copy_holds_the_project_without_what_was_made(project):
    (project.root / ".venv").mkdir()
    with matrix.odd_path(project) as (folder, words):
        assert words == [] and " " in folder.name and not folder.name.isascii()
        assert (folder / "tests" / "test_a.py").is_file()
        assert not (folder / ".venv").exists() and not (folder / "build").exists()
    assert not folder.exists()


@pytest.mark.skipif(os.name == "nt", reason="modes of Unix")
def test_the_read_only_copy_cannot_be_written(project):
    try:
        with matrix.read_only(project) as (folder, words):
            touched = subprocess.run([*words, "touch", str(folder / "x")], capture_output=True)
            assert touched.returncode != 0
    except NotHere as reason:
        assert "root can write" in str(reason)
    assert not (project.root / "build" / "matrix" / "read-only").exists()


def test_this_python_is_one_of_those_found():
    found = matrix.pythons()
    assert found and all(path.is_file() for path in found.values())
    assert f"3.{sys.version_info.minor}" in found
