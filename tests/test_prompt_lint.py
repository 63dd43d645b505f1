"""The lint finds what gives an answer away in lessons made bad on purpose."""

from __future__ import annotations

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from prompt_lint import markdown_problems, prompt_problems

ANSWER = "<details><summary>Answer</summary>\n\n**27 characters**, with the line break.\n</details>"
ASK = f"## 2. Vocabulary\n\n**Predict.** How large is it?\n\n{ANSWER}"
STILL = '<figure class="minigpt-still"><svg role="img" aria-label="{}"></svg></figure>'
NOTES = "<!-- notes\nAsk.\n-->"

BAD_TEXT = {
    "<!-- slide\n```\nx --> y\n```\n-->\nText.": "cut short",
    "Text --> more": "half of a comment",
    "Text <!-- slide": "half of a comment",
    "Text.\n```python\nx = 1\n": "fence of code out of place",
    "Text ``` more": "fence of code out of place",
    "<details><summary>Answer</summary>\n\n4": "not whole",
    "<details>\n\n4\n</details>": "not whole",
    "<details><summary>Answer</summary>4</details>": "without an empty line",
    "**Predict.** How many are** `x` **and y?": "bold",
    "Text.\n\n<!-- slide\nSo ** this is bold**.\n-->": "bold",
}


@pytest.mark.parametrize("source", BAD_TEXT)
def test_text_that_is_not_rendered_as_meant_is_found(source):
    assert any(BAD_TEXT[source] in what for what, _ in markdown_problems(source))


@pytest.mark.parametrize("source", [
    ASK,
    "```\nx --> y <!-- z\n```",
    "A `-->` in a line, and ``` `` ```.",
    "**How many are** `x` **and** $y$**?** A power is `a**2`.",
    "<!-- slide\n```python\nx = 1\n```\n-->\n\n~~~text\n```\n~~~",
])
def test_sound_text_passes(source):
    assert list(markdown_problems(source)) == []


def text(source, role="slide"):
    return new_markdown_cell(source, metadata={"slideshow": {"slide_type": role}})


def code(source, output=None, role="fragment", **metadata):
    made = new_code_cell(source, metadata={"slideshow": {"slide_type": role}, **metadata})
    made.outputs = [] if output is None else [output]
    return made


def shown(plain, html=""):
    return new_output("display_data", data={"text/plain": plain, "text/html": html})


def found(*cells):
    return [what for _, what, _ in prompt_problems(list(cells))]


def test_a_question_answered_in_time_passes():
    assert found(text(ASK), code("print(V)", shown("27 characters"))) == []
    assert found(text("**Predict**: how many?"), code("print(V)"), text(ANSWER)) == []
    assert found(text("1. How many?\n2. Which?"), code("TokenExplorer()"), text(ANSWER)) == []


UNANSWERED = "a question without a folded answer"


@pytest.mark.parametrize("cells", [
    [text("**Predict.** How many?")],
    [text("1. Press next.\n2. How many?")],
    [text("- How many?")],
    [text("**Predict.** How many?"), text("## 3. Next"), text(ANSWER)],
    [text("**Predict.** How many?"), text(ANSWER.replace("Answer", "Hint"))],
    [text("**Predict.** How many?"), text("**Predict.** Which?"), text(ANSWER)][:2],
    [text(f"**Predict.** How many?\n<!-- notes\n{ANSWER}\n-->")],
])
def test_a_question_without_an_answer_is_found(cells):
    assert UNANSWERED in found(*cells)


def test_the_last_sections_may_ask_what_nobody_answers():
    assert found(text("## On your own"), text("- Which language is easier?")) == []


def test_an_answer_needs_a_key():
    assert found(text(ASK.replace("**27 characters**", "27 characters"))) == [
        "an answer without a key"
    ]


READ_EARLY = {
    "the section's text": [text("## 2.\n\nIt has `27` characters."), text(ASK[18:])],
    "the question's own words": [text(ASK.replace("How large", "It has 27 characters; how large"))],
    "code above": [text("## 2. A"), code("# 27 characters"), text(ASK[18:])],
    "code below": [text(ASK), code("print('27 characters')")],
    "a collapsed cell's first line": [
        text(ASK), code("print('27 characters')", jupyter={"source_hidden": True})
    ],
    "the picture of a widget": [
        text("## 2. A"), code("Explorer()", shown("", STILL.format("27 characters"))), text(ASK[18:])
    ],
    "formatted otherwise": [text(ASK.replace("**27 characters**", "**$-3$ nats**")), code("# -3  nats")],
}


@pytest.mark.parametrize("where", READ_EARLY)
def test_an_answer_that_can_be_read_early_is_found(where):
    assert any("can be read before" in what for what in found(*READ_EARLY[where]))


ON_SLIDE = {
    "its words": [text(ASK + "\n<!-- slide\n27 characters. **Predict.**\n-->")],
    "an output": [text(ASK), code("print(V)", shown("27 characters"), role="-")],
}


@pytest.mark.parametrize("where", ON_SLIDE)
def test_an_answer_on_the_slide_that_asks_is_found(where):
    assert any("on the slide that asks" in what for what in found(*ON_SLIDE[where]))


def test_what_comes_later_may_hold_the_answer():
    later = [
        text(ASK), code("# A picture\nprint('27 characters')", jupyter={"source_hidden": True}),
        code("print(V)", shown("27 characters")), text("27 characters."), code("# 27 characters"),
    ]
    assert found(*later) == []


def test_a_question_that_only_the_slide_asks_is_found():
    slide = "<!-- slide\n## Names\n\n**Which letter comes most often?**\n-->"
    assert found(text(f"## Names\n\n{slide}")) == ["a question that stands on the slide alone"]
    assert found(text(f"Which letter comes most often, do you think?\n\n{slide}")) == []
    assert found(text("<!-- slide\n## **Names**\n-->")) == []


@pytest.mark.parametrize(("said", "early"), [
    ("not done yet: this exercise expects a number.", False),
    ("not yet: 0 of 3 properties hold.\nHint: is there a `return`?", True),
])
def test_a_check_that_speaks_at_once_is_found(said, early):
    cells = found(code("checks.train_step(train_step)", shown(said)))
    assert cells == ["a check that speaks before the student has done anything"] * early


def test_plotting_code_in_front_of_the_reader_is_found():
    source = "fig = curves(\n    {'a': y},\n    title='A')\nplots.show(fig, 'A falls.')"
    assert ["that draw a picture" in what for what in found(code(source))] == [True]
    assert found(code(source, jupyter={"source_hidden": True})) == []
    assert found(code("fig = curves({'a': y})\nshow(fig, 'A falls.')")) == []


TELLS = "an assertion that tells what comes out"


@pytest.mark.parametrize(("source", "tells"), [
    ("assert V < 30", True),
    ("for V in sizes:\n    assert 20 < V", True),
    ("assert V == 27", True),
    ("assert first == ('h', 'e')", True),
    ("assert found == by_hand", False),
    ("assert np.allclose(found, by_hand)", False),
    ("assert np.abs(found - by_hand).max() < 1e-12", False),
    ("V = 1 if V < 27 else 2", False),
])
def test_an_assertion_under_a_question_is_found(source, tells):
    under = [text(ASK), text("A word about the code."), code("V = size()"), code(source)]
    assert [TELLS in what for what in found(*under)] == [True] * tells


def test_the_words_for_a_picture_are_not_read_under_a_question():
    shows = code("plots.show(fig, 'There are 26 letters and a line break.')")
    assert ["words for a picture" in what for what in found(text(ASK), shows)] == [True]
    assert found(text(ASK), code("print(V)"), text("It has many."), shows) == []
    shows.metadata["jupyter"] = {"source_hidden": True}
    assert found(text(ASK), shows) == []


def test_exercises_are_counted():
    first, third = text("### Exercise 1: a"), text("### Exercise 3: b")
    assert found(first, third) == ["exercise 3 comes after exercise 1"]
    assert found(first) == found() == []
