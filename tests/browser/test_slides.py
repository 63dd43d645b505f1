"""The decks in a browser: nothing from a network, every slide reached, nothing too large or small.

``python tests/browser/deck.py`` says the same of each slide, for whoever designs one.
"""

from __future__ import annotations

import base64
import re
import shutil
import sys
from pathlib import Path

import matplotlib
import nbformat
import pytest

from browser.deck import SIZES, Deck
from minigpt_helpers import plots
from tools.launcher.project import here
from tools.launcher.slides import lessons
from tools.teaching.deck import copy_assets, make_deck
from tools.teaching.deck_pdf import print_deck

LESSONS = [path.stem for path in lessons(here(), [])]


def cell(slide_type, source, outputs=(), tags=()):
    """A text cell, or a code cell if it has outputs."""
    if outputs:
        made = nbformat.v4.new_code_cell(source, outputs=list(outputs), execution_count=1)
    else:
        made = nbformat.v4.new_markdown_cell(source)
    made.metadata.update(slideshow={"slide_type": slide_type}, tags=list(tags))
    return made


def printed(text):
    return nbformat.v4.new_output("stream", name="stdout", text=text)


def picture():
    """A picture of the usual size, as it stands in an output."""
    figure, _ = plots.new_figure()
    data = base64.b64encode(plots.to_png(figure)).decode("ascii")
    return f'<img alt="an empty figure" src="data:image/png;base64,{data}">'


SAMPLE = [
    cell("slide", "# A deck\n\nThe question.\n\n<!-- notes\nAsk *why*. Expect $e^x$.\n-->"),
    cell("slide", "## One\n\n- a list, $x_t$\n- of two\n\n$$w = \\frac{e^z}{\\sum_r e^{z_r}}$$"),
    cell("fragment", "What comes later.\n\n<!-- notes\nThe second note.\n-->"),
    cell("fragment", "What comes last."),
    cell("subslide", "x = 1  # " + "a long remark " * 12 + "\nprint(x)", [printed("1 " * 120)]),
    cell("slide", "## Two\n\n| a | b |\n|---|---|\n| `1` | 2 |\n"),
    cell("-", "<details><summary>More</summary>\n\nIt is open.\n\n</details>"),
    cell("skip", "for the lesson alone"),
]
FAULTS = {
    "px too much": cell("slide", "## High\n\n" + "a line\n\n" * 14),
    "text of 1": cell("slide", '<span style="font-size: 15px">small</span>'),
    "picture at": cell("slide", picture() + "\n\n" + "a line\n\n" * 8),
    "13 lines of code": cell("slide", "x = 1\n" * 13, [printed("1")]),
    "pictures did not load": cell("slide", '<img src="assets/gone.png" alt="gone">'),
    "raw formulas": cell("slide", "a formula <span>\\$x_t\\$</span> as it was typed"),
}


def write(folder, name, cells):
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    """The folder of all decks, moved after it was made."""
    made = tmp_path_factory.mktemp("made")
    copy_assets(made / "assets")
    for notebook in lessons(here(), []):
        make_deck(notebook, made)
    make_deck(write(made, "sample", SAMPLE), made)
    moved = tmp_path_factory.mktemp("moved") / "to a folder"
    shutil.move(made, moved)
    return moved


@pytest.fixture
def deck(decks, browser, request):
    name, size = request.param
    deck = Deck(browser, decks / f"{name}.html", *size)
    yield deck
    deck.close()


def decks_at_all_sizes(names):
    return pytest.mark.parametrize(
        "deck",
        [(name, size) for name in names for size in SIZES],
        ids=lambda param: f"{param[0]}-{param[1][0]}x{param[1][1]}",
        indirect=True,
    )


@decks_at_all_sizes(["sample", *LESSONS])
def test_every_slide_is_reached_complete_and_readable_from_the_back_row(deck):
    width = deck.page.viewport_size["width"]
    seen = list(deck.slides())
    assert len(seen) == deck.total()
    found = {slide.number: list(slide.problems(width)) for slide in seen}
    assert {number: problems for number, problems in found.items() if problems} == {}
    assert deck.outside == []
    assert deck.errors == []


LAYOUT = """() => {
    document.documentElement.classList.add("laying-out");
    const boxes = slides.map((slide) => {
        const top = slide.getBoundingClientRect();
        const texts = document.createTreeWalker(slide, NodeFilter.SHOW_TEXT), found = [];
        while (texts.nextNode()) {
            const range = document.createRange();
            range.selectNodeContents(texts.currentNode);
            found.push(...range.getClientRects());
        }
        for (const node of slide.querySelectorAll("img, math")) found.push(node.getBoundingClientRect());
        return found.map((box) => [box.x - top.x, box.y - top.y, box.width, box.height].map(Math.round));
    });
    document.documentElement.classList.remove("laying-out");
    return boxes;
}"""
FONTS = (
    "() => [...document.fonts].map((face) => [face.family, face.weight, face.style, face.status])"
)


def test_a_deck_looks_the_same_with_other_system_fonts_and_when_fitted_again(
    decks, launch, tmp_path
):
    layouts, plain = [], []
    for name in ["DejaVuSerif.ttf", "cmtt10.ttf"]:
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(Path(matplotlib.get_data_path(), "fonts", "ttf", name), folder)
        settings = tmp_path / f"{name}.conf"
        settings.write_text(f"<fontconfig><dir>{folder}</dir></fontconfig>")
        browser = launch(FONTCONFIG_FILE=str(settings))
        for lesson in ["sample", *LESSONS]:
            deck = Deck(browser, decks / f"{lesson}.html", *SIZES[0])
            assert {status for *_, status in deck.page.evaluate(FONTS)} == {"loaded"}
            layouts.append(deck.page.evaluate(LAYOUT))
            deck.page.evaluate("fitDeck()")
            assert deck.page.evaluate(LAYOUT) == layouts[-1], lesson
            deck.close()
        page = browser.new_page()
        page.set_content("<span>what the system has</span>")
        plain.append(page.locator("span").bounding_box())
        browser.close()
    one, other = layouts[: len(layouts) // 2], layouts[len(layouts) // 2 :]
    assert one == other
    assert all(len(boxes) > 1 for layout in one for boxes in layout)
    if sys.platform == "linux":  # elsewhere the system's fonts cannot be chosen by a variable
        assert plain[0] != plain[1]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_slide_is_found(fault, decks, browser):
    path = make_deck(write(decks, "bad", [FAULTS[fault]]), decks)
    deck = Deck(browser, path, *SIZES[0])
    (slide,) = deck.slides()
    deck.close()
    assert any(fault in problem for problem in slide.problems(SIZES[0][0])), slide


def test_a_request_and_an_error_are_noted(decks, browser):
    source = '<img src="https://example.org/a.png" alt="from elsewhere"><script>nothing()</script>'
    deck = Deck(browser, make_deck(write(decks, "bad", [cell("slide", source)]), decks), *SIZES[0])
    deck.close()
    assert deck.outside == ["https://example.org/a.png"]
    assert any("nothing is not defined" in error for error in deck.errors)


def test_formulas_are_set_and_fragments_come_one_by_one(decks, browser):
    deck = Deck(browser, decks / "sample.html", *SIZES[0])
    stage = deck.page.locator(".slides")
    later, last = stage.get_by_text("What comes later."), stage.get_by_text("What comes last.")
    shown = lambda: [float(each.evaluate(OPACITY)) for each in (later, last)]  # noqa: E731
    deck.page.keyboard.press("ArrowRight")
    fraction = deck.page.locator("section.present mfrac").last.bounding_box()
    assert fraction["height"] > 60
    assert shown() == [0, 0]
    deck.page.keyboard.press("ArrowRight")
    assert shown() == [1, 0]
    deck.page.keyboard.press("ArrowRight")
    assert shown() == [1, 1]
    deck.close()


OPACITY = "(node) => getComputedStyle(node.closest('.fragment')).opacity"


def test_speaker_notes_open_without_a_network(decks, browser):
    deck = Deck(browser, decks / "sample.html", *SIZES[0])
    with deck.page.expect_popup() as opened:
        deck.page.keyboard.press("s")
    notes = opened.value.locator(".speaker-controls-notes")
    notes.get_by_text("Expect").wait_for()
    deck.page.keyboard.press("ArrowRight")
    deck.page.keyboard.press("ArrowRight")
    notes.get_by_text("The second note.").wait_for()
    assert deck.outside == []
    deck.close()


def test_the_pdf_has_a_page_for_each_slide(decks, browser):
    page = browser.new_page()
    for name in ["sample", *LESSONS]:
        pdf = print_deck(page, decks / f"{name}.html").read_bytes()
        total = page.evaluate("() => Reveal.getTotalSlides()")
        assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == total, name
        assert set(re.findall(rb"/MediaBox\s*\[([^\]]*)\]", pdf)) == {b"0 0 960 540"}, name
    page.close()
