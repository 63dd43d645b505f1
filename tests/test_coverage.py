"""What ``start.py coverage`` counts, and when it fails."""

from __future__ import annotations

import pytest

from tools.launcher import coverage
from tools.launcher.project import Project, UserError
from tools.testing import coverage_report


def file(ran, of):
    return {
        "covered_lines": ran, "num_statements": of, "covered_branches": 0, "num_branches": 0,
        "missing_lines": list(range(ran, of)), "missing_branches": [],
    }


MEASURED = {
    "unit": {"text.py": file(98, 100), "plots.py": file(1, 2), "checks/ps1.py": file(85, 98)},
    "notebooks": {"text.py": file(50, 100), "plots.py": file(2, 2), "checks/ps1.py": file(0, 98)},
}


@pytest.fixture
def measured(tmp_path, monkeypatch):
    for kind in MEASURED:
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "data").write_text("")
    monkeypatch.setattr(coverage_report, "count", lambda folder: MEASURED[folder.name])
    return tmp_path


def test_units_and_notebooks_are_counted_apart(measured, capsys):
    assert coverage_report.main(measured) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert lines[0][-2:] == ["notebooks", "unit"]
    assert ["core", "50.0%", "98.0%"] in lines
    assert ["package", "26.0%", "92.0%"] in lines
    assert ["not", "reached", "by", "unit", "tests:", "text.py", "[98,", "99]"] in lines


def test_less_than_promised_fails_whatever_the_notebooks_reach(measured, monkeypatch, capsys):
    monkeypatch.setitem(MEASURED["unit"], "text.py", file(97, 100))
    assert coverage_report.main(measured) == 1
    out = capsys.readouterr().out
    assert "FAILED: the unit tests reach 97.0 % of the core, promised are 98 %" in out
    assert "FAILED: the unit tests reach 91.5 % of the package, promised are 92 %" in out


def test_each_kind_runs_with_data_of_its_own(tmp_path, monkeypatch):
    runs = []
    project = Project(tmp_path)
    monkeypatch.setattr(coverage, "prepare", lambda project, wanted: None)
    monkeypatch.setattr(coverage.testing, "run", lambda project, words, variables: 0)
    for kind in coverage.KINDS:
        monkeypatch.setitem(
            coverage.testing.PARTS, kind,
            lambda project, options, variables: runs.append(variables["COVERAGE_FILE"]),
        )
    (tmp_path / "build" / "coverage" / "unit").mkdir(parents=True)
    (tmp_path / "build" / "coverage" / "unit" / "data.old").write_text("")
    assert coverage.measure_coverage(project, []) == 0
    folder = tmp_path / "build" / "coverage"
    assert runs == [str(folder / "unit" / "data"), str(folder / "notebooks" / "data")]
    assert list(folder.rglob("data*")) == []
    monkeypatch.setitem(
        coverage.testing.PARTS, "unit", lambda project, options, variables: "FAILED"
    )
    assert coverage.measure_coverage(project, ["unit"]) == 1
    with pytest.raises(UserError, match="no 'units'"):
        coverage.measure_coverage(project, ["units"])
