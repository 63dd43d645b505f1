"""The attention-mask explorer in JupyterLab: every control by mouse and by keyboard."""

from __future__ import annotations

import pytest

from browser import agree as shows

CELLS = [
    """\
import numpy as np
from minigpt_helpers import CharTokenizer, MiniGPT
from minigpt_helpers.widgets import AttentionMaskExplorer
tokenizer = CharTokenizer.from_text("the cat sat on the mat")
model = MiniGPT(tokenizer.vocab_size, 16, 2, 2, 64, rng=np.random.default_rng(0))
explorer = AttentionMaskExplorer(model, tokenizer, "the cat sat")""",
    "explorer",
]
FIRST = """\
explorer.text, explorer.weights = "the cat sat", "trained"
explorer.length, explorer.causal, explorer.scale, explorer.temperature = 8, True, True, 1.0
explorer.layer, explorer.head, explorer.row, explorer.column = 0, 0, 7, 0"""


@pytest.fixture(scope="module")
def page(open_notebook):
    page = open_notebook("attention_mask.ipynb", CELLS)
    page.run_all()
    page.assert_all_ran()
    yield page
    page.assert_quiet()


@pytest.fixture
def live(page):
    """The widget in its first state."""
    live = page.page.get_by_test_id("AttentionMaskExplorer")
    page.python(FIRST)
    agree(
        page,
        live,
        text="the cat sat",
        length=8,
        causal=True,
        scale=True,
        temperature=1.0,
        layer=0,
        head=0,
        row=7,
        column=0,
        weights="trained",
    )
    return live


def agree(page, live, **traits):
    shows.attention_mask(page, live, "explorer", **traits)


def pictures(page, live):
    """The pixels of the three maps."""
    page.page.evaluate("() => new Promise(requestAnimationFrame)")
    return {
        name: live.get_by_test_id(f"map-{name}").evaluate("(canvas) => canvas.toDataURL()")
        for name in ("scores", "masked", "weights")
    }


def changed(page, live, before):
    after = pictures(page, live)
    return {name for name in after if after[name] != before[name]}


def cell(live, row, column, count):
    """Where a cell lies inside the canvas of a map."""
    edge = 24
    side = live.get_by_test_id("map-weights").bounding_box()["width"] - edge - 4
    return {"x": edge + (column + 0.5) * side / count, "y": edge + (row + 0.5) * side / count}


def test_temperature(page, live):
    slider = live.get_by_role("slider", name="temperature")
    before = pictures(page, live)
    page.drag(slider, 0.0)
    agree(page, live, temperature=0.1)
    assert changed(page, live, before) == {"weights"}
    slider.press("ArrowRight")
    slider.press("ArrowUp")
    agree(page, live, temperature=pytest.approx(0.3))
    assert live.get_by_test_id("temperature-value").text_content() == "0.3"
    slider.press("End")
    agree(page, live, temperature=4.0)


def test_it_answers_while_the_knob_is_held(page, live):
    slider = live.get_by_role("slider", name="temperature")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    before = pictures(page, live)
    page.page.mouse.move(box["x"] + 40, box["y"] + box["height"] / 2)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + 90, box["y"] + box["height"] / 2, steps=3)
    assert changed(page, live, before) == {"weights"}, "drawn before the mouse is let go"
    page.page.mouse.up()
    agree(page, live, temperature=float(slider.input_value()))


def test_length(page, live):
    slider = live.get_by_role("slider", name="length")
    before = pictures(page, live)
    page.drag(slider, 1.0)
    agree(page, live, length=11)
    assert changed(page, live, before) == {"scores", "masked", "weights"}
    slider.press("ArrowLeft")
    agree(page, live, length=10)
    slider.press("Home")
    agree(page, live, length=1)


@pytest.mark.parametrize(
    ("name", "label", "maps"),
    [
        ("causal", "causal mask", {"masked", "weights"}),
        ("scale", "divide by √d", {"scores", "masked", "weights"}),
    ],
)
def test_switches(page, live, name, label, maps):
    box = live.get_by_role("checkbox", name=label)
    before = pictures(page, live)
    box.click()
    agree(page, live, **{name: False})
    assert changed(page, live, before) == maps
    box.press("Space")
    agree(page, live, **{name: True})
    assert changed(page, live, before) == set()


@pytest.mark.parametrize("name", ["layer", "head"])
def test_layer_and_head(page, live, name):
    select = live.get_by_role("combobox", name=name)
    before = pictures(page, live)
    select.select_option("1")
    agree(page, live, **{name: 1})
    assert changed(page, live, before) == {"scores", "masked", "weights"}
    select.focus()
    page.page.keyboard.press("ArrowUp")
    agree(page, live, **{name: 0})
    assert changed(page, live, before) == set()


def test_random_weights(page, live):
    select = live.get_by_role("combobox", name="weights")
    before = pictures(page, live)
    select.select_option("random")
    agree(page, live, weights="random")
    assert changed(page, live, before) == {"scores", "masked", "weights"}
    assert live.get_by_role("combobox", name="layer").is_disabled()
    select.focus()
    page.page.keyboard.press("ArrowUp")
    agree(page, live, weights="trained")
    assert live.get_by_role("combobox", name="layer").is_enabled()


def test_typing_a_text(page, live):
    box = live.get_by_role("textbox", name="text")
    before = pictures(page, live)
    box.click()
    page.page.keyboard.press("Control+A")
    page.page.keyboard.type("mat on")
    agree(page, live, text="mat on", length=6)
    assert changed(page, live, before) == {"scores", "masked", "weights"}


def test_bad_text_is_explained_and_nothing_moves(page, live):
    box, message = live.get_by_role("textbox", name="text"), live.get_by_test_id("message")
    size = live.bounding_box()
    box.fill("the dog")
    page.until(lambda: expect_text(message, 'never seen "d" (position 4)'))
    assert "minigpt-stale" in live.locator(".minigpt-picture").get_attribute("class")
    box.fill("")
    page.until(lambda: expect_text(message, "empty"))
    box.fill("the cat " * 10)
    page.until(lambda: expect_text(message, "80 characters; only the first 64"))
    assert "minigpt-stale" not in live.locator(".minigpt-picture").get_attribute("class")
    page.drag(live.get_by_role("slider", name="length"), 1.0)
    agree(page, live, length=64)
    page.screenshot("64", of=live)
    after = live.bounding_box()
    assert (after["width"], after["height"]) == (size["width"], size["height"])


def expect_text(locator, part):
    assert part in locator.text_content()


def test_a_cell_is_chosen_by_mouse_and_by_keys(page, live):
    line, map_ = live.get_by_test_id("line"), live.get_by_test_id("map-scores")
    map_.click(position=cell(live, 4, 2, 8))
    agree(page, live, row=4, column=2)
    weight = page.kernel("float(explorer.state()['weights'][4, 2])")
    said = f'"c" (position 4) looks at "e" (position 2) with weight {weight:.3f}'
    page.until(lambda: expect_text(line, said))
    map_.focus()
    for key, row, column in [
        ("ArrowDown", 5, 2),
        ("ArrowRight", 5, 3),
        ("ArrowUp", 4, 3),
        ("ArrowLeft", 4, 2),
        ("End", 4, 7),
        ("Home", 4, 0),
    ]:
        page.page.keyboard.press(key)
        agree(page, live, row=row, column=column)
    page.page.keyboard.press("End")
    page.until(lambda: expect_text(line, "lies in the future"))


def test_hovering_names_the_pair_and_leaves_the_choice(page, live):
    line, map_ = live.get_by_test_id("line"), live.get_by_test_id("map-weights")
    live.get_by_role("textbox", name="text").hover()
    chosen = 'space (position 7) looks at "t" (position 0)'
    page.until(lambda: expect_text(line, chosen))
    map_.hover(position=cell(live, 2, 1, 8))
    weight = page.kernel("float(explorer.state()['weights'][2, 1])")
    said = f'"e" (position 2) looks at "h" (position 1) with weight {weight:.3f}'
    page.until(lambda: expect_text(line, said))
    live.get_by_role("textbox", name="text").hover()
    page.until(lambda: expect_text(line, chosen))
    agree(page, live, row=7, column=0)


def test_python_moves_the_controls(page, live):
    page.python("explorer.temperature, explorer.causal, explorer.length = 2.5, False, 5")
    agree(page, live, temperature=2.5, causal=False, length=5)
    assert live.get_by_test_id("temperature").input_value() == "2.5"
    assert not live.get_by_test_id("causal").is_checked()
    assert live.get_by_test_id("length").input_value() == "5"


def test_the_keyboard_reaches_everything_and_jupyterlab_takes_no_key(page, live):
    active = "() => jupyterapp.shell.currentWidget.content.activeCellIndex"
    before = page.page.evaluate(active)
    assert page.focus_by_tab(live) == [
        "text",
        "length",
        "weights",
        "layer",
        "head",
        "causal",
        "scale",
        "temperature",
        "map-scores",
        "map-masked",
        "map-weights",
        "row-weights",
    ]
    slider = live.get_by_role("slider", name="length")
    for key in ("ArrowDown", "ArrowUp", "j", "a", "b", "x"):  # commands of a notebook
        slider.press(key)
    assert page.page.evaluate(active) == before
    assert len(page.code_cells()) == len(CELLS)


def test_both_themes(page, live):
    light = pictures(page, live)
    page.screenshot("light", of=live)
    page.dark()
    try:
        page.until(lambda: expect(changed(page, live, light) == {"scores", "masked", "weights"}))
        page.screenshot("dark", of=live)
    finally:
        page.dark(False)
    page.until(lambda: expect(changed(page, live, light) == set()))


def expect(condition):
    assert condition
