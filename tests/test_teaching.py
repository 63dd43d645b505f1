"""The answers for teachers: every exercise of the lessons is answered, and each answer is right."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from minigpt_helpers import checks

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "answers.md").read_text(encoding="utf-8")
LESSONS = sorted((ROOT / "notebooks").glob("0*.ipynb"))
BLOCKS = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
CALL = re.compile(r"checks\.(\w+)\(")


def checks_asked_in(notebook: Path) -> set[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return set(CALL.findall(code)) - {"catalogue"}


def section(number: int) -> str:
    """The part of the guide about one lesson."""
    found = re.search(rf"^## Lesson {number}: .*?(?=^## |\Z)", GUIDE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/answers.md has no section on lesson {number}"
    return found[0]


@pytest.mark.parametrize("notebook", LESSONS, ids=lambda path: path.stem)
def test_every_exercise_of_the_lesson_is_answered(notebook):
    answered = set(CALL.findall(section(int(notebook.stem[:2]))))
    assert not checks_asked_in(notebook) - answered


@pytest.mark.parametrize("notebook", LESSONS, ids=lambda path: path.stem)
def test_the_section_bears_the_title_of_its_lesson(notebook):
    first = "".join(json.loads(notebook.read_text(encoding="utf-8"))["cells"][0]["source"])
    title = first.splitlines()[0].removeprefix("# ")
    assert section(int(notebook.stem[:2])).splitlines()[0].endswith(f": {title}")


def test_the_guide_has_answers():
    assert len(BLOCKS) >= 30


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_the_answer_is_right(block):
    """Run a block; its first line is a comment with the call of the check that it must pass."""
    call = block.splitlines()[0].removeprefix("# ")
    assert CALL.match(call), f"the first line must name a check: {call!r}"
    names = {"__name__": "answer"}
    exec(compile(block, "docs/answers.md", "exec"), names)
    result = eval(call, names | {"checks": checks})
    assert result.passed, result.message
