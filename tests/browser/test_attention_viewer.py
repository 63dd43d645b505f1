"""The attention viewer in JupyterLab: every control by mouse and by keyboard."""

from __future__ import annotations

import pytest

from browser import agree as shows

CELLS = [
    """\
import numpy as np
from minigpt_helpers import CharTokenizer, MiniGPT
from minigpt_helpers.widgets import AttentionViewer
tokenizer = CharTokenizer.from_text("the cat sat on the mat")
model = MiniGPT(tokenizer.vocab_size, 16, 2, 2, 64, rng=np.random.default_rng(0))
viewer = AttentionViewer(model, tokenizer, "the cat sat")""",
    "viewer",
]


@pytest.fixture(scope="module")
def page(open_notebook):
    page = open_notebook("attention_viewer.ipynb", CELLS)
    page.run_all()
    page.assert_all_ran()
    yield page
    page.assert_quiet()


@pytest.fixture
def live(page):
    """The widget in its first state, with the mouse elsewhere."""
    live = page.page.get_by_test_id("AttentionViewer")
    live.scroll_into_view_if_needed()
    live.get_by_role("textbox", name="text").hover()
    page.python("viewer.text = 'the cat sat'")
    page.python("viewer.layer, viewer.head, viewer.row, viewer.column = 0, 0, 10, 3")
    agree(page, live, text="the cat sat", layer=0, head=0, row=10, column=3)
    return live


def agree(page, live, shown_row=None, **traits):
    shows.attention_viewer(page, live, "viewer", shown_row, **traits)


def pixels(page, live):
    page.page.evaluate("() => new Promise(requestAnimationFrame)")
    return live.get_by_test_id("map").evaluate("(canvas) => canvas.toDataURL()")


def expect_text(locator, part):
    assert part in locator.text_content()


def box_of(live, place):
    return {"x": 34 * place + 17, "y": 100}  # 34 pixels a character, below the arcs


@pytest.mark.parametrize("name", ["layer", "head"])
def test_layer_and_head(page, live, name):
    select = live.get_by_role("combobox", name=name)
    before = pixels(page, live)
    select.select_option("1")
    agree(page, live, **{name: 1})
    assert pixels(page, live) != before
    select.focus()
    page.page.keyboard.press("ArrowUp")
    agree(page, live, **{name: 0})
    assert pixels(page, live) == before


def test_typing_a_text(page, live):
    before = pixels(page, live)
    live.get_by_role("textbox", name="text").click()
    page.page.keyboard.press("End")
    page.page.keyboard.type(" on the mat")
    agree(page, live, text="the cat sat on the mat", row=21)
    assert pixels(page, live) != before


def test_bad_text_is_explained_and_nothing_moves(page, live):
    size, box = live.bounding_box(), live.get_by_role("textbox", name="text")
    message = live.get_by_test_id("message")
    box.fill("the dog")
    page.until(lambda: expect_text(message, 'never seen "d" (position 4)'))
    box.fill("")
    page.until(lambda: expect_text(message, "empty"))
    box.fill("the cat " * 10)
    page.until(lambda: expect_text(message, "80 characters; only the last 64"))
    agree(page, live, row=63)
    page.screenshot("64", of=live)
    assert live.bounding_box() == size


def test_a_character_is_chosen_in_the_text(page, live):
    text, before = live.get_by_test_id("text-arcs"), pixels(page, live)
    text.click(position=box_of(live, 5))
    agree(page, live, row=5)
    assert pixels(page, live) != before
    text.focus()
    for key, row in [("ArrowLeft", 4), ("ArrowRight", 5), ("Home", 0), ("End", 10)]:
        page.page.keyboard.press(key)
        agree(page, live, row=row)


def test_hovering_shows_a_character_and_leaves_the_choice(page, live):
    live.get_by_test_id("text-arcs").hover(position=box_of(live, 6))
    agree(page, live, shown_row=6, row=10)
    strongest = page.kernel("int(viewer.state()['map'][6].argmax())")
    expect_text(
        live.get_by_test_id("line"),
        f'"t" (position 6) looks at "{"the cat sat"[strongest]}"'
        if strongest != 3
        else '"t" (position 6) looks at space',
    )
    live.get_by_role("textbox", name="text").hover()
    agree(page, live, row=10)


def test_a_cell_is_chosen_in_the_map(page, live):
    map_, line = live.get_by_test_id("map"), live.get_by_test_id("line")
    side = map_.bounding_box()["width"] - 28
    map_.click(position={"x": 24 + 2.5 * side / 11, "y": 24 + 8.5 * side / 11})
    agree(page, live, row=8, column=2)
    map_.focus()
    for key, row, column in [
        ("ArrowDown", 9, 2),
        ("ArrowLeft", 9, 1),
        ("ArrowUp", 8, 1),
        ("End", 8, 10),
        ("Home", 8, 0),
    ]:
        page.page.keyboard.press(key)
        agree(page, live, row=row, column=column)
    weight = page.kernel("float(viewer.state()['map'][8, 0])")
    expect_text(line, f'"s" (position 8) looks at "t" (position 0) with weight {weight:.3f}')
    page.page.keyboard.press("End")
    page.until(lambda: expect_text(line, "lies in the future"))


def test_the_keyboard_reaches_everything(page, live):
    assert page.focus_by_tab(live) == ["text", "layer", "head", "text-arcs", "map"]


def test_both_themes(page, live):
    light = pixels(page, live)
    page.screenshot("light", of=live)
    page.dark()
    try:
        page.until(lambda: expect_change(page, live, light))
        page.screenshot("dark", of=live)
    finally:
        page.dark(False)


def expect_change(page, live, before):
    assert pixels(page, live) != before
