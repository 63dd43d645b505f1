"""What is counted of each lesson, the limits, and the times that are announced."""

from __future__ import annotations

import json
import re

import nbformat
import pytest

from deck_lint import slides_of
from notebook_lint import NOT_YET_REWORKED
from tools.launcher import cli
from tools.launcher.project import here
from tools.teaching.lesson_table import (
    SHORT,
    Count,
    announced,
    beyond_limits,
    by_section,
    count,
    first_words,
    limits,
    short_plan,
    to_announce,
)

ROOT = here().root
LESSONS = sorted(here().notebooks.glob("0*.ipynb"))
REWORKED = [path for path in LESSONS if path.stem not in NOT_YET_REWORKED]


def stem(path):
    return path.stem


def markdown(*lines):
    return {"cell_type": "markdown", "metadata": {}, "source": [line + "\n" for line in lines]}


def code(source, html="", **metadata):
    outputs = [{"output_type": "display_data", "data": {"text/html": html}}] if html else []
    return {"cell_type": "code", "metadata": metadata, "source": source, "outputs": outputs}


@pytest.fixture
def lesson(tmp_path):
    cells = [
        markdown("# Title", "**Time.** Class: 90 minutes. Alone: 125 minutes."),
        {**markdown("## 1. Look", "one two <!-- slide", "not counted", "-->", "**Predict.** Why?",
                    "<details><summary>Answer</summary>", "", "folded", "</details>"),
         "metadata": {"slideshow": {"slide_type": "slide"}}},
        code("x = 1\n\n# a remark\ny = 2"),
        code("many = 1\nlines = 2", '<figure><img src="data:"></figure>', jupyter={"source_hidden": True}),
        code("Explorer()", '<figure class="minigpt-still"><svg></svg></figure>'),
        markdown("## 2. Try"),
        code("checks.one(a)\nchecks.one(b)\nchecks.two(c)\nchecks.catalogue()"),
    ]
    path = tmp_path / "05_lesson.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}))
    return path


def test_what_a_reader_meets_is_counted(lesson):
    found = count(lesson)
    assert found == Count(words=9 + 7 + 3, lines=3 + 0 + 1 + 4, exercises=2, widgets=1, pictures=1,
                          prompts=1, slides=1)
    assert found.minutes == pytest.approx(19 / 170 + 8 * 11 / 60 + 2 * 3 + 5)
    sections = by_section(lesson)
    assert list(sections) == ["(title)", "1. Look", "2. Try"]
    assert sum(sections.values(), Count()) == found
    assert announced(lesson) == 125


def test_limits_are_those_of_the_lesson():
    long = Count(words=5001, lines=600, slides=26)
    assert [re.search(r"\d+ (\w+), at most (\d+)", line).groups() for line in
            beyond_limits("04_block", long)] == [("minutes", "130"), ("words", "5000"), ("slides", "25")]
    assert limits("05_training")["minutes"] == 160
    assert beyond_limits("05_training", Count(words=5000, lines=600, slides=25)) == []


@pytest.mark.parametrize("path", LESSONS, ids=stem)
def test_the_short_plan_fits_a_session_of_45_minutes(path):
    """In the lesson, and with the same sections and minutes in the guide for teachers."""
    promised, counted = short_plan(path)
    assert counted <= promised == 45
    sections = SHORT.search(first_words(path))[2].replace(" and", ",")
    row = rf"^\| {int(path.stem[:2])} \| {sections}: .* \| (\d+) \|$"
    guide = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    assert abs(int(re.search(row, guide, re.MULTILINE)[1]) - counted) < 1.5


def test_a_short_plan_is_counted_by_its_sections(lesson):
    assert short_plan(lesson) is None
    text = lesson.read_text()
    plan = "*Short plan*, 9 minutes: the opening and sections {}."
    lesson.write_text(text.replace("Alone", plan.format("1 and 2") + " Alone"))
    assert short_plan(lesson) == (9, count(lesson).minutes - by_section(lesson)["(title)"].minutes)
    lesson.write_text(text.replace("Alone", plan.format("1 and 3") + " Alone"))
    with pytest.raises(ValueError, match="names section 3"):
        short_plan(lesson)


def test_the_command_prints_the_table(capsys):
    code = cli.run(["table"])
    printed = capsys.readouterr().out
    for path in LESSONS:
        found = count(path)
        numbers = re.findall(r"\d+", re.search(rf"^{path.stem}(.*)$", printed, re.MULTILINE)[1])
        assert [f"{found.minutes:.0f}", *map(str, found)] == numbers[-8:]
    beyond = [problem for path in LESSONS for problem in beyond_limits(path.stem, count(path))]
    assert code == bool(beyond)
    assert all(problem in printed for problem in beyond)


def test_the_command_shows_one_lesson_by_section(capsys):
    cli.run(["table", "01"])
    printed = capsys.readouterr().out
    assert all(title in printed for title in by_section(LESSONS[0]))
    assert cli.run(["table", "--all"]) == 1
    assert "table has no option '--all'" in capsys.readouterr().err


def test_lessons_not_yet_reworked_exist():
    assert NOT_YET_REWORKED <= set(map(stem, LESSONS))


@pytest.mark.parametrize("path", LESSONS, ids=stem)
def test_slides_are_counted_as_the_deck_makes_them(path):
    assert count(path).slides == len(slides_of(nbformat.read(path, as_version=4)))


@pytest.mark.parametrize("path", REWORKED, ids=stem)
def test_the_limits_hold(path):
    assert beyond_limits(path.stem, count(path)) == []


@pytest.mark.parametrize("path", REWORKED, ids=stem)
def test_announced_times_follow_the_count(path):
    """In the lesson, in the README's table and in the guide for teachers."""
    minutes = count(path).minutes
    promised = announced(path)
    assert promised is not None and promised % 5 == 0 and abs(promised - minutes) <= 5, (
        f"write Alone: {to_announce(minutes)} minutes"
    )
    row = rf"^\| *{int(path.stem[:2])} *\|.*\b{promised} min\b"
    for name in ("README.md", "docs/teaching.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert re.search(row, text, re.MULTILINE), f"{name}: {path.stem} takes {promised} min"
