"""All widgets on one page, two of a kind too: none disturbs another, in a narrow page as well; what is
run again, closed or fed with unusual text."""

from __future__ import annotations

import pytest

SETUP = """\
import numpy as np
from minigpt_helpers import CharTokenizer, MiniGPT
from minigpt_helpers.widgets import *
tokenizer = CharTokenizer.from_text("the cat sat on the mat\\nquick brown fox jumps over lazy dog")
model = MiniGPT(tokenizer.vocab_size, 8, 1, 1, 12, rng=np.random.default_rng(0), dtype=np.float32)"""
WIDGETS = {
    "tokens": 'TokenExplorer(tokenizer, "the cat")',
    "graph": 'GraphExplorer("(a*b + c).tanh()", a=2.0, b=-3.0, c=10.0)',
    "mask": 'AttentionMaskExplorer(model, tokenizer, "the cat")',
    "mask2": "AttentionMaskExplorer()",
    "bench": "BlockBench()",
    "dashboard": "TrainingDashboard(model, tokenizer.encode('the cat sat ' * 20), steps=50)",
    "temperature": 'TemperatureExplorer(model, tokenizer, "the ")',
    "viewer": 'AttentionViewer(model, tokenizer, "the cat")',
}
CELLS = [SETUP, *(f"{name} = {make}\n{name}" for name, make in WIDGETS.items())]


@pytest.fixture(scope="module")
def page(open_notebook):
    page = open_notebook("together.ipynb", CELLS)
    page.run_all()
    page.assert_all_ran()
    yield page
    page.assert_quiet()


def live_of(page, name):
    """The one widget in the cell that shows `name`."""
    return (
        page.page.locator(".jp-CodeCell")
        .nth(1 + list(WIDGETS).index(name))
        .locator(".minigpt-live")
    )


@pytest.fixture(params=[1280, 640], ids=["wide", "200-percent"])
def window(request, page):
    """The page as wide as usual, and as it is when 1280 pixels are enlarged to 200 %."""
    page.page.set_viewport_size({"width": request.param, "height": 720})
    page.page.evaluate("() => jupyterapp.shell.collapseLeft()")
    page.page.wait_for_timeout(300)
    yield request.param
    page.page.set_viewport_size({"width": 1280, "height": 720})


@pytest.mark.parametrize("name", WIDGETS)
def test_it_fits_and_every_word_can_be_read(page, window, name):
    live = live_of(page, name)
    live.scroll_into_view_if_needed()
    page.screenshot(f"{window}-{name}", of=live)
    spills, small, cut = live.evaluate(
        """(root) => {
            const edge = root.getBoundingClientRect().right + 1;
            const scrolls = (node) => node !== root &&
                (['auto', 'scroll', 'hidden'].includes(getComputedStyle(node).overflowX)
                 || scrolls(node.parentElement));
            const visible = [...root.querySelectorAll('*')].filter((node) =>
                node.getClientRects().length && getComputedStyle(node).visibility === 'visible');
            const words = visible.filter((node) => [...node.childNodes].some((child) =>
                child.nodeType === Node.TEXT_NODE && child.textContent.trim()));
            return [
                visible.filter((node) => node.getBoundingClientRect().right > edge && !scrolls(node))
                    .map((node) => node.outerHTML.slice(0, 80)),
                words.filter((node) => parseFloat(getComputedStyle(node).fontSize) < 14)
                    .map((node) => node.textContent),
                visible.filter((node) => node.matches('label, button, .minigpt-message, .minigpt-line')
                    && node.scrollWidth > node.clientWidth + 1).map((node) => node.textContent),
            ];
        }"""
    )
    assert spills == [], "nothing reaches beyond the widget"
    assert small == [], "no word is smaller than 14 pixels"
    assert cut == [], "no word is cut off"


def test_no_style_sheet_changes_another_widget(page):
    width = "(node) => getComputedStyle(node).width"
    assert live_of(page, "graph").get_by_test_id("expression").evaluate(width) == "330px"
    assert live_of(page, "mask").get_by_test_id("text").evaluate(width) == "200px"
    sheets = page.page.evaluate(
        """() => [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules])
            .filter((rule) => rule.cssText.includes('minigpt'))
            .map((rule) => rule.selectorText ?? rule.conditionText)"""
    )
    assert len(sheets) > 20
    for selector in sheets:
        assert "minigpt-" in selector or selector == "(max-width: 900px)"


def test_two_of_a_kind_have_states_of_their_own(page):
    one, other = live_of(page, "mask"), live_of(page, "mask2")
    before = other.locator(".minigpt-picture").screenshot()
    one.get_by_role("slider", name="temperature").press("End")
    page.until(lambda: same(page.kernel("[mask.temperature, mask2.temperature]"), [4.0, 1.0]))
    assert other.get_by_test_id("temperature").input_value() == "1"
    assert other.locator(".minigpt-picture").screenshot() == before
    ids = page.page.evaluate(
        "() => [...document.querySelectorAll('.minigpt-live [id]')].map((n) => n.id)"
    )
    assert len(ids) == len(set(ids)) > 20


def same(one, other):
    assert one == other


def test_every_control_has_a_label(page):
    nameless = page.page.evaluate(
        """() => [...document.querySelectorAll(
            '.minigpt-live :is(input, select, textarea, button, [tabindex="0"])')]
            .filter((node) => !(node.getAttribute('aria-label') || node.labels?.[0]?.textContent
                                || node.textContent.trim()))
            .map((node) => node.outerHTML)"""
    )
    assert nameless == []


def test_one_head_and_one_layer_leave_nothing_to_choose(page):
    for name in ("mask", "viewer"):
        for trait in ("layer", "head"):
            assert live_of(page, name).get_by_test_id(trait).is_disabled()


@pytest.mark.parametrize(
    "text", ["🙂🙃 ok", "a\u200bb\u00a0c", "שלום", "e\u0301\u0301", "\t\t", "x" * 500]
)
def test_any_text_is_shown(page, text):
    live = live_of(page, "mask2")
    size = live.bounding_box()
    page.python(f"mask2.text = {text!r}; mask2.length = len(mask2.tokens)")
    page.until(
        lambda: same(
            [live.get_by_test_id("row-weights").locator("li").count(), page.kernel("mask2.length")],
            [min(len(text), 64)] * 2,
        )
    )
    shown = live.get_by_test_id("row-weights").locator("li b").all_text_contents()
    assert all(letter.strip("\u200b\u00a0 ") for letter in shown), "every character can be seen"
    assert live.bounding_box()["height"] == size["height"]
    page.python("mask2.text = 'the cat sat'; mask2.length = 8")


def test_a_widget_that_began_with_bad_text_comes_to_life(page):
    page.python("mask.text = ''")
    live = live_of(page, "mask")
    page.until(lambda: same("empty" in live.get_by_test_id("message").inner_text(), True))
    page.python("mask.text = 'the cat'; mask.temperature = 1.0")
    page.until(lambda: same(live.get_by_test_id("message").inner_text(), ""))


def test_run_again_there_is_still_one_picture_each(page):
    page.run_all()
    assert page.page.locator(".minigpt-live").count() == len(WIDGETS)
    stills = page.page.locator(".minigpt-still")
    assert [stills.nth(i).is_visible() for i in range(stills.count())] == [False] * len(WIDGETS)


def test_closed_it_leaves_its_picture_and_shown_again_it_lives(page):
    cell = page.page.locator(".jp-CodeCell").nth(1 + list(WIDGETS).index("viewer"))
    page.python("viewer.close()")
    page.until(lambda: same(cell.locator(".minigpt-live").count(), 0))
    page.until(lambda: same(cell.locator(".minigpt-still").is_visible(), True))
    page.run_all()
    live_of(page, "viewer").wait_for()
    assert not cell.locator(".minigpt-still").is_visible()
