"""The token explorer in JupyterLab: typing, clicking and keys show what the pure function gives."""

from __future__ import annotations

import pytest

from browser import agree as shows
from minigpt_helpers.widgets.token_explorer import LONGEST

TEXT = "the cat sat on\nthe mat"
CELL = f"""\
from minigpt_helpers import CharTokenizer
from minigpt_helpers.widgets import TokenExplorer
explorer = TokenExplorer(CharTokenizer.from_text({TEXT!r}), "the cat")
explorer"""


@pytest.fixture(scope="module")
def page(open_notebook):
    notebook = open_notebook("token_explorer.ipynb", [CELL])
    notebook.run_all()
    yield notebook
    notebook.assert_quiet()


@pytest.fixture
def live(page):
    """The widget, brought back to its first state once the kernel knows all that was typed."""
    widget = page.page.get_by_test_id("TokenExplorer")
    typed = repr(widget.get_by_test_id("text").input_value())
    for _ in range(100):
        if page.python("print(repr(explorer.text))").strip() == typed:
            break
        page.page.wait_for_timeout(50)
    page.python("explorer.text, explorer.selected = 'the cat', 0")
    wait_for(page, widget, "the cat")
    return widget


def wait_for(page, widget, text: str, selected: int | None = None) -> None:
    shows.tokens(
        page, widget, "explorer", text=text, **({} if selected is None else {"selected": selected})
    )


def test_the_first_state(page, live):
    wait_for(page, live, "the cat", 0)
    assert live.get_by_test_id("ids").inner_text() == "[10, 5, 4, 1, 3, 2, 10]"
    assert '"the cat"' in live.get_by_test_id("round-trip").inner_text()
    page.screenshot("first", of=live)


@pytest.mark.parametrize("text", ["sat", "The hat\n\nzoë 🙂", "\t", "at " * 60])
def test_typed_text_becomes_tokens(page, live, text):
    live.get_by_test_id("text").fill(text)
    wait_for(page, live, text)


def test_every_key_is_typed_also_those_that_are_commands_outside(page, live):
    box = live.get_by_test_id("text")
    box.fill("")
    box.press_sequentially("abdxm")
    box.press("Enter")
    box.press_sequentially("t")
    wait_for(page, live, "abdxm\nt")


def test_unknown_characters_are_marked_with_their_code_point(page, live):
    live.get_by_test_id("text").fill("tXé")
    wait_for(page, live, "tXé")
    marked = live.locator(".minigpt-unknown")
    assert [text.split("\n") for text in marked.all_inner_texts()] == [
        ["X", "? 0058"],
        ["é", "? 00E9"],
    ]
    assert live.get_by_test_id("ids").inner_text() == "[10, ?, ?]"
    assert "encode refuses" in live.get_by_test_id("round-trip").inner_text()
    page.screenshot("unknown", of=live)


def test_a_click_selects(page, live):
    live.get_by_role("option").nth(4).click()
    wait_for(page, live, "the cat", 4)


def test_the_kernel_hears_what_was_typed_and_selected(page, live):
    live.get_by_test_id("text").fill("at\né")
    live.get_by_role("option").nth(2).click()
    for _ in range(100):
        if page.python("print(explorer.selected)").strip() == "2":
            break
        page.page.wait_for_timeout(50)
    assert page.python("print(repr(explorer.text), explorer.selected)").strip() == r"'at\né' 2"


def test_arrow_keys_select_and_stay_inside(page, live):
    tokens = live.get_by_test_id("tokens")
    tokens.focus()
    for key, selected in [
        ("ArrowRight", 1),
        ("ArrowRight", 2),
        ("ArrowLeft", 1),
        ("End", 6),
        ("ArrowRight", 6),
        ("Home", 0),
        ("ArrowLeft", 0),
        ("ArrowUp", 0),
        ("ArrowDown", 0),
    ]:
        page.page.keyboard.press(key)
        wait_for(page, live, "the cat", selected)
    chosen = live.locator("[aria-selected=true]").get_attribute("id")
    assert tokens.get_attribute("aria-activedescendant") == chosen


def test_arrow_keys_go_from_line_to_line(page, live):
    text = "the cat\nsat\non"
    live.get_by_test_id("text").fill(text)
    wait_for(page, live, text)
    live.get_by_test_id("tokens").focus()
    for key, selected in [
        ("Home", 0),
        ("ArrowRight", 1),
        ("ArrowDown", 9),
        ("ArrowDown", 13),
        ("ArrowUp", 9),
        ("ArrowUp", 1),
    ]:
        page.page.keyboard.press(key)
        wait_for(page, live, text, selected)


def test_the_selection_is_scrolled_into_view(page, live):
    text = "at " * 100
    live.get_by_test_id("text").fill(text)
    wait_for(page, live, text)
    live.get_by_test_id("tokens").focus()
    page.page.keyboard.press("End")
    wait_for(page, live, text, 299)
    outer = live.get_by_test_id("tokens").bounding_box()
    inner = live.locator("[aria-selected=true]").bounding_box()
    assert outer["y"] <= inner["y"]
    assert inner["y"] + inner["height"] <= outer["y"] + outer["height"]


def test_an_empty_and_a_long_text_are_explained(page, live):
    size = live.bounding_box()
    live.get_by_test_id("text").fill("")
    live.get_by_text("The text is empty").wait_for()
    assert live.get_by_role("option").count() == 0
    live.get_by_test_id("text").fill("a" * (LONGEST + 1))
    live.get_by_text(f"only the first {LONGEST} are used").wait_for()
    assert live.get_by_role("option").count() == LONGEST
    assert live.bounding_box()["height"] == size["height"], "the widget keeps its size"


def test_python_and_the_page_stay_together(page, live):
    page.python("explorer.text = 'on the mat'")
    wait_for(page, live, "on the mat")
    assert live.get_by_test_id("text").input_value() == "on the mat"
    page.python("explorer.selected = 3")
    wait_for(page, live, "on the mat", 3)


def test_dark_theme(page, live):
    page.dark()
    wait_for(page, live, "the cat", 0)
    page.screenshot("dark", of=live)
    page.dark(False)
