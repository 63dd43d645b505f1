"""The graph explorer in JupyterLab: each control, by mouse and by keyboard, against Python."""

from __future__ import annotations

import pytest

from browser import agree as shows
from minigpt_helpers.widgets.graph_explorer import graph_state

EXPRESSION = "(a*b + c).tanh()"
VALUES = {"a": 2.0, "b": -3.0, "c": 10.0}
CELL = f"""\
from minigpt_helpers.widgets import GraphExplorer
explorer = GraphExplorer({EXPRESSION!r}, **{VALUES})
explorer"""


@pytest.fixture(scope="module")
def page(open_notebook):
    notebook = open_notebook("graph_explorer.ipynb", [CELL])
    notebook.run_all()
    yield notebook
    notebook.assert_quiet()


@pytest.fixture
def live(page):
    """The widget, brought back to its first state."""
    widget = page.page.get_by_test_id("GraphExplorer")
    reset = f"explorer.expression, explorer.values, explorer.step = {EXPRESSION!r}, {VALUES}, 0"
    page.page.wait_for_timeout(200)  # what the last test typed is in the kernel by now
    page.python(reset)
    wait_for(page, widget, EXPRESSION, VALUES, 0)
    return widget


def wait_for(page, widget, expression: str, values: dict, step: int) -> None:
    """Wait until kernel and page are at this step of this graph; names without a value are 1."""
    shows.graph(page, widget, "explorer", expression=expression, step=step)
    kept = page.kernel("explorer.graph['leaves']")
    assert kept == {name: values.get(name, 1.0) for name in kept}


def test_the_first_state(page, live):
    wait_for(page, live, EXPRESSION, VALUES, 0)
    page.screenshot("first", of=live)


def test_buttons_step_through_the_whole_graph(page, live):
    for step in range(1, 8):
        live.get_by_test_id("next").click()
        wait_for(page, live, EXPRESSION, VALUES, step)
    live.get_by_test_id("next").click()
    wait_for(page, live, EXPRESSION, VALUES, 7)
    page.screenshot("last", of=live)
    live.get_by_test_id("back").click()
    wait_for(page, live, EXPRESSION, VALUES, 6)
    live.get_by_test_id("start").click()
    wait_for(page, live, EXPRESSION, VALUES, 0)
    live.get_by_test_id("end").click()
    wait_for(page, live, EXPRESSION, VALUES, 7)


def test_keys_in_the_picture_step_too(page, live):
    graph = live.get_by_test_id("graph")
    graph.focus()
    for key, step in [
        ("ArrowRight", 1),
        ("ArrowRight", 2),
        ("ArrowLeft", 1),
        ("ArrowLeft", 0),
        ("ArrowLeft", 0),
        ("End", 7),
        ("ArrowRight", 7),
        ("Home", 0),
    ]:
        graph.press(key)
        wait_for(page, live, EXPRESSION, VALUES, step)


def test_the_slider_by_keys_and_by_mouse(page, live):
    slider = live.get_by_test_id("step")
    slider.focus()
    slider.press("ArrowRight")
    slider.press("ArrowRight")
    wait_for(page, live, EXPRESSION, VALUES, 2)
    box = slider.bounding_box()
    page.page.mouse.click(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
    wait_for(page, live, EXPRESSION, VALUES, 7)
    assert page.python("print(explorer.step)").strip() == "7"


def test_a_number_changes_all_that_depends_on_it(page, live):
    live.get_by_test_id("end").click()
    live.get_by_test_id("leaf-c").fill("6")
    wait_for(page, live, EXPRESSION, {**VALUES, "c": 6.0}, 7)
    live.get_by_test_id("leaf-c").press("ArrowUp")
    wait_for(page, live, EXPRESSION, {**VALUES, "c": 7.0}, 7)
    live.get_by_test_id("leaf-a").press("Control+a")
    live.get_by_test_id("leaf-a").press_sequentially("-0.5")
    wait_for(page, live, EXPRESSION, {"a": -0.5, "b": -3.0, "c": 7.0}, 7)


def test_a_missing_number_is_explained_and_can_be_mended(page, live):
    live.get_by_test_id("leaf-b").fill("")
    message = live.get_by_test_id("message")
    page.page.wait_for_function(
        "(m) => m.textContent === 'b has no value. Type a number.'", arg=message.element_handle()
    )
    assert live.get_by_test_id("leaf-b").input_value() == ""
    live.get_by_test_id("leaf-b").fill("4")
    wait_for(page, live, EXPRESSION, {**VALUES, "b": 4.0}, 0)
    assert message.inner_text() == ""


def test_another_expression_brings_its_own_leaves(page, live):
    live.get_by_test_id("end").click()
    live.get_by_test_id("expression").fill("d = a*2; d + d*x")
    wait_for(page, live, "d = a*2; d + d*x", {"a": 2.0}, 7)
    leaves = live.locator("[data-testid^='leaf-']")
    assert [leaves.nth(i).get_attribute("data-testid") for i in range(leaves.count())] == [
        "leaf-a",
        "leaf-x",
    ]
    live.get_by_test_id("leaf-x").fill("5")
    wait_for(page, live, "d = a*2; d + d*x", {"a": 2.0, "x": 5.0}, 7)


def test_typing_letter_by_letter_explains_until_it_can_be_read(page, live):
    box = live.get_by_test_id("expression")
    box.fill("")
    message = live.get_by_test_id("message")
    page.page.wait_for_function(
        "(m) => m.textContent.includes('empty')", arg=message.element_handle()
    )
    box.press_sequentially("a*a + foo(")
    page.page.wait_for_function(
        "(m) => m.textContent.includes('cannot be read')", arg=message.element_handle()
    )
    page.screenshot("problem", of=live)
    for _ in range(7):
        box.press("Backspace")
    wait_for(page, live, "a*a", VALUES, 0)
    assert message.inner_text() == ""


def test_a_wide_graph_keeps_its_words_below_and_shows_the_node_in_turn(page, live):
    wide = "a+b+c+a+b+c+a+b+c+a"
    live.get_by_test_id("expression").fill(wide)
    wait_for(page, live, wide, VALUES, 0)
    live.get_by_test_id("end").click()
    wait_for(page, live, wide, VALUES, 19)
    for button in ("start", "end", "back"):
        live.get_by_test_id(button).click()
    wait_for(page, live, wide, VALUES, 18)
    active = live.locator("g.minigpt-active").bounding_box()
    frame = live.get_by_test_id("graph").bounding_box()
    assert frame["x"] <= active["x"]
    assert active["x"] + active["width"] <= frame["x"] + frame["width"]


def test_no_box_is_too_small_for_its_text(page, live):
    cases = {
        EXPRESSION: VALUES,
        "longname = a**2; longname*b.relu()": {},
        "a*b*c": {"a": -1234.5, "b": -0.00012345, "c": 98765432.1},
    }
    for expression, values in cases.items():
        page.python(f"explorer.expression, explorer.values = {expression!r}, {values}")
        live.get_by_test_id("end").click()
        last = len(graph_state(expression, values)["steps"]) - 1
        wait_for(page, live, expression, values, last)
        spill = page.page.evaluate(
            """(root) => [...root.querySelectorAll('g[data-node]')].flatMap((g) => {
                const box = g.querySelector('rect').getBoundingClientRect();
                return [...g.querySelectorAll('text')].filter((t) => t.textContent &&
                    t.getBoundingClientRect().width > box.width - 2).map((t) => t.textContent);
            })""",
            live.element_handle(),
        )
        assert spill == []


def test_it_reads_in_the_dark_theme(page, live):
    live.get_by_test_id("end").click()
    wait_for(page, live, EXPRESSION, VALUES, 7)
    page.dark()
    page.screenshot("dark", of=live)
    ink = live.locator("g[data-node] text").first.evaluate("(t) => getComputedStyle(t).fill")
    ground = page.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.dark(False)
    assert ink != ground
