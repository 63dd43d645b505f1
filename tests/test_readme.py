"""README, CONTRIBUTING and the files beside them: short, true, and of one version."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import tomllib

import pytest
import yaml

import minigpt_helpers
from tools.launcher import cli, testing
from tools.launcher.project import here

ROOT = here().root
PAGES = ["README.md", "CONTRIBUTING.md", "docs/benchmarks.md", "docs/CHANGELOG.md"]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def tracked():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, encoding="utf-8")
    if listed.returncode != 0:
        pytest.skip("this is no checkout of git")
    return listed.stdout.splitlines()


def test_the_readme_is_short_and_starts_with_a_picture_and_the_two_commands():
    lines = read("README.md").splitlines()
    assert len(lines) <= 160
    top = "\n".join(lines[:30])
    assert "![" in top and "python3 start.py  " in top and "python3 start.py test" in top
    assert [line for line in lines if line.startswith("## You are a")] == [
        "## You are a student", "## You are a teacher", "## You are a maintainer"
    ]


def seven_lines():
    return re.search(r"```python\n(.*?)```", read("README.md"), re.DOTALL)[1]


def test_seven_lines_write_a_rhyme():
    """As they are in the README, with fewer steps."""
    code = seven_lines()
    assert len(code.splitlines()) == 7
    code, changed = re.subn(r"steps=\d+", "steps=40", code)
    assert changed == 1
    printed, names = io.StringIO(), {}
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    written = printed.getvalue()
    assert written.startswith("the cat ") and len(written) == len("the cat ") + 150 + 1
    assert set(written) <= set(names["text"])


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_file_finds_it(page):
    folder = (ROOT / page).parent
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", read(page))
    assert links or page.startswith("docs/")
    assert [link for link in links if not (folder / link).exists()] == []


@pytest.mark.parametrize("page", [*PAGES, "docs/teaching.md", "docs/grading.md"])
def test_every_command_and_part_of_the_tests_that_is_named_exists(page):
    for name, part in re.findall(r"start\.py(?: ([a-z]+))?(?: ([a-z]+))?", read(page)):
        assert name in cli.COMMANDS, f"{page}: start.py {name}"
        if name == "test":
            assert part in ("", *testing.PARTS), f"{page}: start.py test {part}"


def test_all_name_one_version():
    version = minigpt_helpers.__version__
    assert tomllib.loads(read("pyproject.toml"))["project"]["version"] == version
    newest, date = re.search(r"^## (\S+), (\S+)$", read("docs/CHANGELOG.md"), re.M).groups()
    cited = yaml.safe_load(read("CITATION.cff"))
    assert (newest, date) == (version, str(cited["date-released"]))
    assert cited["version"] == version and cited["authors"] and cited["cff-version"] == "1.2.0"


def test_changing_a_notebook_takes_five_steps():
    part = read("CONTRIBUTING.md").split("## Change a notebook in five steps")[1].split("\n## ")[0]
    assert re.findall(r"^(\d)\. ", part, re.MULTILINE) == list("12345")


def test_the_root_shows_at_most_twelve_entries():
    entries = {name.split("/")[0] for name in tracked()}
    assert len([name for name in entries if not name.startswith(".")]) <= 12


def test_the_hooks_run_from_the_projects_own_environment():
    hooks = yaml.safe_load(read(".pre-commit-config.yaml"))
    [repository] = hooks["repos"]
    assert repository["repo"] == "local"
    programs = {hook["id"]: hook["entry"].split() for hook in repository["hooks"]}
    assert programs.keys() == {"ruff-check", "ruff-format", "codespell", "notebook-lint"}
    for words in programs.values():
        assert words[0] == ".venv/bin/python"
