"""The temperature explorer in JupyterLab: every control by mouse and by keyboard."""

from __future__ import annotations

import pytest

from browser import agree as shows

CELLS = [
    """\
import numpy as np
from minigpt_helpers import CharTokenizer, MiniGPT
from minigpt_helpers.widgets import TemperatureExplorer
tokenizer = CharTokenizer.from_text("the quick brown fox jumps over the lazy dog")
model = MiniGPT(tokenizer.vocab_size, 16, 2, 1, 12, rng=np.random.default_rng(0))
for parameter in model.parameters():
    parameter.data *= 3  # an untrained model is nearly uniform: make the bars differ
explorer = TemperatureExplorer(model, tokenizer, "the ")""",
    "explorer",
]
SIZE = 27


@pytest.fixture(scope="module")
def page(open_notebook):
    page = open_notebook("temperature.ipynb", CELLS)
    page.run_all()
    page.assert_all_ran()
    yield page
    page.assert_quiet()


@pytest.fixture
def live(page):
    """The widget in its first state."""
    live = page.page.get_by_test_id("TemperatureExplorer")
    page.python("explorer.reset()")
    agree(page, live, prompt="the ", temperature=1.0, top_k=SIZE, bar=0, counts=[])
    return live


def agree(page, live, **traits):
    shows.temperature(page, live, "explorer", **traits)


def look(page, live):
    """The pixels of the bars."""
    return live.get_by_test_id("bars").screenshot()


def expect(condition):
    assert condition


def expect_text(locator, part):
    assert part in locator.text_content()


def test_temperature(page, live):
    slider = live.get_by_role("slider", name="temperature")
    before = look(page, live)
    page.drag(slider, 1.0)
    agree(page, live, temperature=3.0)
    assert look(page, live) != before
    slider.press("ArrowLeft")
    slider.press("ArrowDown")
    agree(page, live, temperature=pytest.approx(2.98))
    assert live.get_by_test_id("temperature-value").text_content() == "2.98"
    slider.press("Home")
    agree(page, live, temperature=0.0)
    assert live.get_by_test_id("entropy").text_content().startswith("0.000 nats")


def test_it_answers_while_the_knob_is_held(page, live):
    slider = live.get_by_role("slider", name="temperature")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    entropy = live.get_by_test_id("entropy")
    before = entropy.text_content()
    page.page.mouse.move(box["x"] + 45, box["y"] + box["height"] / 2)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + 80, box["y"] + box["height"] / 2, steps=3)
    page.until(lambda: expect(entropy.text_content() != before))
    page.page.mouse.up()
    agree(page, live, temperature=float(slider.input_value()))


def test_top_k(page, live):
    slider = live.get_by_role("slider", name="top-k")
    before = look(page, live)
    page.drag(slider, 0.0)
    agree(page, live, top_k=1)
    assert look(page, live) != before
    slider.press("ArrowRight")
    agree(page, live, top_k=2)
    assert live.get_by_test_id("top_k-value").text_content() == "2"
    slider.press("End")
    agree(page, live, top_k=SIZE)
    assert live.get_by_test_id("top_k-value").text_content() == "all"


def test_top_p(page, live):
    slider = live.get_by_role("slider", name="top-p")
    before = look(page, live)
    page.drag(slider, 0.0)
    agree(page, live, top_p=pytest.approx(0.01))
    assert look(page, live) != before
    slider.press("End")
    agree(page, live, top_p=1.0)
    assert live.get_by_test_id("top_p-value").text_content() == "all"


def test_write_on_appends_twenty_characters(page, live):
    live.get_by_role("button", name="write on").click()
    page.until(lambda: expect(len(page.kernel("explorer.prompt")) == 24))
    agree(page, live, counts=[])


def test_typing_a_prompt(page, live):
    before = look(page, live)
    live.get_by_role("textbox", name="prompt").click()
    page.page.keyboard.press("End")
    page.page.keyboard.type("quick fox")
    agree(page, live, prompt="the quick fox")
    assert look(page, live) != before
    read = live.get_by_test_id("read")
    assert read.locator("del").text_content() == "t"
    assert read.locator("mark").text_content() == "he␣quick␣fox"
    expect_text(live.get_by_test_id("message"), "13 characters; only the last 12")


def test_bad_prompts_are_explained_and_nothing_moves(page, live):
    size, box = live.bounding_box(), live.get_by_role("textbox", name="prompt")
    message = live.get_by_test_id("message")
    box.fill("thé")
    page.until(lambda: expect_text(message, 'never seen "é" (position 2)'))
    live.get_by_role("button", name="draw 1000").click()
    box.fill("")
    page.until(lambda: expect_text(message, "empty"))
    live.get_by_role("button", name="draw one and append").click()
    assert page.kernel("[explorer.prompt, explorer.counts]") == ["", []]
    assert live.bounding_box() == size
    box.fill("o")
    agree(page, live, prompt="o")
    assert message.text_content() == ""


@pytest.mark.parametrize("how", ["mouse", "keyboard"])
def test_drawing(page, live, how):
    def press(name):
        button = live.get_by_role("button", name=name)
        if how == "mouse":
            button.click()
        else:
            button.press("Enter" if name == "reset" else "Space")

    before = look(page, live)
    press("draw 1000")
    page.until(lambda: expect(page.kernel("sum(explorer.counts)") == 1000))
    counts = page.kernel("explorer.counts")
    agree(page, live, counts=counts)
    assert look(page, live) != before
    press("draw one and append")
    page.until(lambda: expect(len(page.kernel("explorer.prompt")) == 5))
    agree(page, live, counts=[])
    press("reset")
    agree(page, live, prompt="the ", counts=[])
    press("draw 1000")
    agree(page, live, counts=counts)  # the generator starts anew, too


def test_counts_vanish_with_their_distribution(page, live):
    live.get_by_role("button", name="draw 1000").click()
    page.until(lambda: expect(page.kernel("sum(explorer.counts)") == 1000))
    live.get_by_role("slider", name="temperature").press("ArrowRight")
    agree(page, live, temperature=pytest.approx(1.01), counts=[])


def test_a_bar_is_chosen_by_mouse_and_by_keys(page, live):
    line, chart = live.get_by_test_id("line"), live.get_by_test_id("bars")
    chart.locator("li").nth(3).click()
    agree(page, live, bar=3)
    state = page.kernel(
        "[[explorer.chars[i], explorer.state()['probs'][i]] for i in explorer.state()['order']]"
    )

    def said(i):
        char, p = state[i]
        return f"{'space' if char == ' ' else chr(34) + char + chr(34)}: probability {p:.4f}"

    page.until(lambda: expect_text(line, said(3)))
    chart.focus()
    for key, bar in [("ArrowLeft", 2), ("ArrowRight", 3), ("Home", 0), ("ArrowLeft", 0)]:
        page.page.keyboard.press(key)
        agree(page, live, bar=bar)
        expect_text(line, said(bar))
    page.page.keyboard.press("End")
    agree(page, live, bar=15)
    rest = sum(p for _, p in state[15:])
    expect_text(line, f"the other 12 together: probability {rest:.4f}")
    live.get_by_role("button", name="draw 1000").click()
    page.until(lambda: expect_text(line, f"expected {1000 * rest:.1f}"))


def test_python_moves_the_controls(page, live):
    page.python("explorer.temperature, explorer.top_k, explorer.prompt = 0.5, 3, 'fox'")
    agree(page, live, temperature=0.5, top_k=3, prompt="fox")
    assert live.get_by_test_id("temperature").input_value() == "0.5"
    assert live.get_by_test_id("top_k").input_value() == "3"
    assert live.get_by_test_id("prompt").input_value() == "fox"


def test_the_keyboard_reaches_everything_and_jupyterlab_takes_no_key(page, live):
    active = "() => jupyterapp.shell.currentWidget.content.activeCellIndex"
    before = page.page.evaluate(active)
    assert page.focus_by_tab(live) == [
        "prompt",
        "temperature",
        "top_k",
        "top_p",
        "draw-one",
        "write-on",
        "draw-many",
        "reset",
        "bars",
    ]
    for key in ("ArrowDown", "ArrowUp", "j", "k", "b", "x"):  # commands of a notebook
        live.get_by_role("slider", name="top-k").press(key)
    assert page.page.evaluate(active) == before
    assert len(page.code_cells()) == len(CELLS)


def test_both_themes(page, live):
    live.get_by_role("button", name="draw 1000").click()
    page.until(lambda: expect(page.kernel("sum(explorer.counts)") == 1000))
    light = look(page, live)
    page.screenshot("light", of=live)
    page.dark()
    try:
        page.until(lambda: expect(look(page, live) != light))
        page.screenshot("dark", of=live)
    finally:
        page.dark(False)
