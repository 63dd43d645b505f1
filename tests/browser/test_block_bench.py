"""The ablation bench in JupyterLab: each switch by mouse and by keyboard, what is drawn and said."""

from __future__ import annotations

from itertools import product

import pytest

from browser import agree as shows
from minigpt_helpers.widgets.block_bench import PARTS

CELLS = ["from minigpt_helpers.widgets import BlockBench\nbench = BlockBench()", "bench"]
LABELS = ["residual", "layer norm", "positions", "causal mask"]


@pytest.fixture(scope="module")
def page(open_notebook):
    page = open_notebook("block_bench.ipynb", CELLS)
    page.run_all()
    page.assert_all_ran()
    yield page
    page.assert_quiet()


@pytest.fixture
def live(page):
    """The widget with all parts on."""
    live = page.page.get_by_test_id("BlockBench")
    page.python("for name in bench.parts(): setattr(bench, name, True)")
    agree(page, live, dict.fromkeys(PARTS, True))
    return live


def agree(page, live, parts):
    shows.block_bench(page, live, "bench", **parts)


def look(page, live):
    return live.locator(".minigpt-charts").screenshot()


@pytest.mark.parametrize(("name", "label"), list(zip(PARTS, LABELS)), ids=PARTS)
def test_each_switch_by_mouse(page, live, name, label):
    before = look(page, live)
    live.get_by_role("checkbox", name=label).click()
    agree(page, live, dict.fromkeys(PARTS, True) | {name: False})
    assert look(page, live) != before
    page.screenshot(f"without-{name}", of=live)
    live.get_by_text(label, exact=True).click()  # its label is a switch, too
    agree(page, live, dict.fromkeys(PARTS, True))
    assert look(page, live) == before


@pytest.mark.parametrize(("name", "label"), list(zip(PARTS, LABELS)), ids=PARTS)
def test_each_switch_by_keyboard(page, live, name, label):
    switch = live.get_by_role("checkbox", name=label)
    switch.press("Space")
    agree(page, live, dict.fromkeys(PARTS, True) | {name: False})
    switch.press("Space")
    agree(page, live, dict.fromkeys(PARTS, True))


def test_all_sixteen_combinations_from_python(page, live):
    size = live.bounding_box()
    for values in product([False, True], repeat=len(PARTS)):
        parts = dict(zip(PARTS, values))
        page.python(f"for name, on in {parts}.items(): setattr(bench, name, on)")
        agree(page, live, parts)
        assert live.bounding_box() == size, "the widget keeps its size"


def test_the_keyboard_reaches_everything_and_jupyterlab_takes_no_key(page, live):
    active = "() => jupyterapp.shell.currentWidget.content.activeCellIndex"
    before = page.page.evaluate(active)
    assert page.focus_by_tab(live) == [*PARTS, "sample"]
    for key in ("ArrowDown", "ArrowUp", "j", "k", "b", "x"):  # commands of a notebook
        live.get_by_role("checkbox", name="positions").press(key)
    assert page.page.evaluate(active) == before
    assert len(page.code_cells()) == len(CELLS)


def test_the_charts_have_names_that_hold_their_numbers(page, live):
    label = live.get_by_test_id("chart-gradients").get_attribute("aria-label")
    assert label == "gradients: 0.08 first, 0.06 last; whole model: 0.08 first, 0.06 last"
    assert live.get_by_role("img").count() == 3


def test_a_narrow_page_puts_the_charts_below_each_other(page, live):
    page.page.set_viewport_size({"width": 760, "height": 720})
    try:
        first, second = (
            live.get_by_test_id(f"chart-{name}") for name in ("activations", "gradients")
        )

        def below():
            assert second.bounding_box()["y"] > first.bounding_box()["y"] + 200

        page.until(below)
    finally:
        page.page.set_viewport_size({"width": 1280, "height": 720})
    agree(page, live, dict.fromkeys(PARTS, True))


def test_both_themes(page, live):
    live.get_by_role("checkbox", name="layer norm").click()
    light = look(page, live)
    page.screenshot("light", of=live)
    page.dark()
    try:
        page.until(lambda: _differs(look(page, live), light))
        page.screenshot("dark", of=live)
    finally:
        page.dark(False)


def _differs(one, other):
    assert one != other
