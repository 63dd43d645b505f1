"""The archive for students: everything they need, nothing they may not see."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile

import nbformat
import pytest

from tools.launcher import cli, my_work, release, sets
from tools.launcher.project import Project, UserError, here
from tools.teaching import problems

SOLUTIONS = sorted((here().notebooks / "solutions").glob("*.ipynb"))
NOT_TRACKED = {".git", ".venv", ".venv-site", "build", "my_work", "__pycache__", ".pytest_cache"}
TEXT = {".py", ".md", ".ipynb", ".toml", ".yml", ".cfg", ".txt", ".js", ".css", ".json", ".j2"}


def all_files(project):
    """What git tracks, for a copy without git: everything that is not made by a run."""
    found = [path.relative_to(project.root) for path in project.root.rglob("*") if path.is_file()]
    return sorted(path.as_posix() for path in found if not NOT_TRACKED & set(path.parts))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The project's own archive."""
    folder = tmp_path_factory.mktemp("release")
    with pytest.MonkeyPatch.context() as patch:
        try:
            release.tracked(here())
        except UserError:
            patch.setattr(release, "tracked", all_files)
        assert release.release(here(), ["--out", str(folder / "one.zip")]) == 0
        assert release.release(here(), ["--out", str(folder / "two.zip")]) == 0
    return folder / "one.zip"


@pytest.fixture(scope="module")
def unpacked(archive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("student")
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return Project(folder / "mini-gpt")


def texts(project):
    for path in project.root.rglob("*"):
        if path.suffix in TEXT:
            yield path.relative_to(project.root).as_posix(), path.read_text(encoding="utf-8")


def test_the_same_files_give_the_same_bytes(archive):
    assert archive.read_bytes() == archive.with_name("two.zip").read_bytes()
    with zipfile.ZipFile(archive) as file:
        infos = file.infolist()
    assert [info.filename for info in infos] == sorted(info.filename for info in infos)
    assert {info.date_time for info in infos} == {release.TIME}


def test_students_can_start_with_it(unpacked):
    done = subprocess.run(
        [sys.executable, str(unpacked.root / "start.py"), "--help"],
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0 and "start.py reset" in done.stdout
    my_work.bring_up_to_date(unpacked)
    mine = {path.relative_to(unpacked.work).as_posix() for path in unpacked.work.rglob("*.ipynb")}
    problem_sets = {f"problems/{path.name}" for path in SOLUTIONS}
    assert problem_sets < mine
    assert {name for name in mine if name.split("/")[0] not in ("extras", name)} == problem_sets
    for name in ["README.md", "LICENSE", "tools/locks/lessons.lock", "pyproject.toml"]:
        assert (unpacked.root / name).is_file()


def test_no_answers_by_name(unpacked):
    assert not (unpacked.notebooks / "solutions").exists()
    for name in ("answers", "teaching", "grading"):
        assert not (unpacked.root / f"docs/{name}.md").exists()
    assert not (unpacked.root / "tests" / "answers").exists()
    assert not list((unpacked.root / "tests").glob("test_checks*"))
    for name in ("grading", "hub", "problems.py"):
        assert not (unpacked.root / "tools" / "teaching" / name).exists()
    assert (unpacked.root / "tests" / "test_nn.py").is_file()


def test_speaker_notes_and_comments_for_slides_are_left_out(unpacked):
    here_now = "".join(path.read_text(encoding="utf-8") for path in here().notebooks.rglob("*.ipynb"))
    assert len(re.findall("<!-- (notes|slide)", here_now)) > 100
    for path in unpacked.notebooks.rglob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<!--\s*(notes|slide)\b", text), path.name
        assert "Expect:" not in text, path.name
        assert any(cell.get("outputs") for cell in nbformat.read(path, as_version=4).cells), path.name


def test_every_link_leads_somewhere(unpacked):
    count = 0
    for name, text in texts(unpacked):
        if not name.endswith((".md", ".ipynb")):
            continue
        if name.endswith(".ipynb"):
            cells = json.loads(text)["cells"]
            text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        for target in re.findall(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)", text):
            if target.startswith("#") or re.match(r"\w+:", target):
                continue
            count += 1
            assert ((unpacked.root / name).parent / target.split("#")[0]).exists(), (name, target)
    assert count > 5
    text = "[a](docs/grading.md), [b](README.md#x), [c](https://x.org/y)"
    assert release.without_dead_links(text, "x.md", ["README.md"]) == (
        "a, [b](README.md#x), [c](https://x.org/y)"
    )


def test_grading_says_where_its_tools_are(unpacked):
    with pytest.raises(UserError, match="tools for grading are not here"):
        sets.grade(unpacked, ["x"])


def secrets(path):
    """A solution's whole regions, without blanks: (those of solutions, those of hidden tests)."""
    solutions, hidden = set(), set()
    for cell in nbformat.read(path, as_version=4).cells:
        graded_code = cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("grade")
        for region in problems.regions(cell.source):
            (hidden if graded_code else solutions).add(problems.squeezed("".join(region)))
    return {region for region in solutions if len(region) > 60}, hidden


def without_blanks(name, text):
    """All that a file says; of a notebook what its strings say."""
    return problems.squeezed(problems.all_text(json.loads(text)) if name.endswith("nb") else text)


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_no_solution_and_no_hidden_test_is_in_it(path, unpacked):
    """Solutions are nowhere but in the package, which the capstone builds again, and in lessons
    that explain it; hidden tests and their seeds are nowhere at all."""
    solutions, hidden = secrets(path)
    seeds = problems.seeds(nbformat.read(path, as_version=4))
    assert solutions and hidden
    for name, text in texts(unpacked):
        plain = without_blanks(name, text)
        assert not any(secret in plain for secret in hidden), name
        if not name.startswith(("minigpt_helpers/", "notebooks/0")):
            assert not any(secret in plain for secret in solutions), name
        if name.startswith("notebooks/problems/"):
            assert not problems.MARKS.search(text), name
        if name.startswith(("notebooks/problems/ps", "minigpt_helpers/checks")):
            assert not any(re.search(rf"\bseed\s*=\s*{seed}\b", text) for seed in seeds), name


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_a_leak_would_be_found(path):
    plain = without_blanks(path.name, path.read_text(encoding="utf-8"))
    assert all(secret in plain for group in secrets(path) for secret in group)


def test_without_git_it_says_so(tmp_path):
    with pytest.raises(UserError, match="git does not say"):
        release.release(Project(tmp_path / "absent"), ["--out", str(tmp_path / "x.zip")])
    assert not (tmp_path / "x.zip").exists()


def test_an_option_it_does_not_know(capsys):
    assert cli.run(["release", "--to", "x"]) == 1
    assert "start.py release --out" in capsys.readouterr().err
