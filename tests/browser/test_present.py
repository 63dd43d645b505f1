"""A lesson presented in JupyterLab: slides by the keys, a widget moved inside one."""

from __future__ import annotations

import json

import nbformat
import pytest

from browser.jupyter_page import NotebookPage, Server
from tools.launcher import present
from tools.launcher.project import here
from tools.teaching.fonts import copy_fonts

LESSON = "06_generation.ipynb"
WIDGET = "TemperatureExplorer"


def text_cell(slide_type, source):
    cell = nbformat.v4.new_markdown_cell(source)
    cell.metadata.slideshow = {"slide_type": slide_type}
    return cell


def code_cell(slide_type, source, *tags):
    cell = nbformat.v4.new_code_cell(source)
    cell.metadata.update(slideshow={"slide_type": slide_type}, tags=list(tags))
    return cell


CELLS = [
    text_cell("slide", "# Title\n\nThe first slide"),
    text_cell("skip", "for the lesson alone"),
    text_cell(
        "slide",
        "the lesson's words\n\n<!-- slide\n## Title\n\nThe slide's words\n\n$x_t$\n-->\n"
        "<!-- notes\nAsk why. Expect $y$.\n-->",
    ),
    text_cell("fragment", "later"),
    code_cell("subslide", "print(6 * 7)", "slide-hide-input"),
    code_cell("-", "print('hidden', 'output')", "slide-hide-output"),
]
LONG = "total = " + " + ".join(["12345"] * 11) + " + 123456"  # 99 characters
PICTURE = """\
from matplotlib.figure import Figure
from minigpt_helpers import plots
figure = Figure(figsize=(4, 3))
figure.add_subplot()
plots.show(figure, "Axes without a curve, to see where a picture stands.")"""


class Talk(NotebookPage):
    """A notebook in a JupyterLab that has the presenter; all its cells have run."""

    def __init__(self, server, context, notebook):
        super().__init__(server, context, notebook)
        self.page.wait_for_selector(".minigpt-on")
        running = self.page.get_by_text("the cells are running ...")
        running.wait_for(state="hidden", timeout=300_000)

    def slide(self):
        """What the corner says, such as "2 / 3"."""
        return self.page.locator(".minigpt-presenter-sign").first.text_content()

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def seen(self, text):
        """Whether this text is to be seen anywhere in the window."""
        return self.page.get_by_text(text, exact=True).filter(visible=True).count() > 0

    def assert_shows(self, *texts):
        assert [text for text in texts if not self.seen(text)] == []

    def assert_hides(self, *texts):
        assert [text for text in texts if self.seen(text)] == []


def cut_behind_the_widget(path):
    """Leave a lesson no code behind its first widget, but all its slides."""
    lesson = nbformat.read(path, as_version=4)
    is_code = [cell.cell_type == "code" for cell in lesson.cells]
    widget = next(i for i, cell in enumerate(lesson.cells) if is_code[i] and f"{WIDGET}(" in cell.source)
    lesson.cells = [c for i, c in enumerate(lesson.cells) if i <= widget or not is_code[i]]
    nbformat.write(lesson, path)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """What start.py present serves, with two more notebooks."""
    folder = tmp_path_factory.mktemp("present")
    present.set_stage(here(), folder, LESSON)
    cut_behind_the_widget(folder / "notebooks" / LESSON)
    copy_fonts(present.fonts(folder))
    fails = [code_cell("slide", "1 / 0"), code_cell("slide", "print('not reached')")]
    wide = [code_cell("slide", LONG), code_cell("slide", PICTURE, "slide-hide-input")]
    notebooks = {"talk": CELLS, "fails": fails, "wide": wide}
    for name, cells in notebooks.items():
        notebook = nbformat.v4.new_notebook(cells=cells)
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")
    return folder


@pytest.fixture(scope="module")
def server(browser, stage, tmp_path_factory):
    private = tmp_path_factory.mktemp("private")
    (private / "config").mkdir()
    settings = {"LabApp": {"extra_labextensions_path": [str(present.extensions(stage))]}}
    (private / "config" / "jupyter_lab_config.json").write_text(json.dumps(settings))
    server = Server(stage / "notebooks", private)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def talks(server, context):
    """The notebooks that are open, by name."""
    talks = {}
    yield talks
    for talk in talks.values():
        talk.close()


@pytest.fixture
def talk(server, context, request, talks):
    """On its first slide; open since the first test that asked for it."""
    name = getattr(request, "param", "talk.ipynb")
    if name not in talks:
        talks[name] = Talk(server, context, name)
    talk = talks[name]
    talk.page.bring_to_front()
    talk.press(*["PageUp"] * 10)
    yield talk
    talk.assert_quiet()


def test_the_keys_lead_through_slides_and_fragments_and_back(talk):
    talk.assert_shows("The first slide")
    talk.assert_hides("The slide's words", "later")
    assert talk.slide() == "1 / 3"
    talk.press("ArrowLeft")
    assert talk.slide() == "1 / 3"

    talk.press("ArrowRight")
    talk.assert_shows("The slide's words")
    talk.assert_hides("The first slide", "the lesson's words", "later", "for the lesson alone")
    talk.press("PageDown")
    talk.assert_shows("The slide's words", "later")
    assert talk.slide() == "2 / 3"

    talk.press("Space")
    talk.assert_shows("42")
    talk.assert_hides("print(6 * 7)", "hidden output", "later")
    talk.press("ArrowRight")
    assert talk.slide() == "3 / 3"
    talk.press("ArrowLeft")
    talk.assert_shows("The slide's words", "later")
    talk.press("PageUp", "PageUp")
    assert talk.slide() == "1 / 3"


@pytest.mark.parametrize("talk", ["wide.ipynb"], indirect=True)
def test_a_long_line_of_code_fits_in_one_line(talk):
    code = talk.page.locator(".minigpt-on .cm-content")
    lines = code.locator(".cm-line").evaluate_all("(all) => all.map((e) => e.offsetHeight)")
    assert len(lines) == 1 and lines[0] < 40
    wide = code.evaluate("(e) => [e.scrollWidth, e.closest('.cm-scroller').clientWidth]")
    assert wide[0] <= wide[1]


@pytest.mark.parametrize("talk", ["wide.ipynb"], indirect=True)
def test_a_picture_stands_in_the_middle(talk):
    talk.press("ArrowRight")
    left, right = talk.page.locator(".minigpt-on .jp-OutputArea-output img").evaluate(
        "(e) => { const box = e.getBoundingClientRect(); return [box.left, innerWidth - box.right]; }"
    )
    assert left > 100 and abs(left - right) < 40


def fonts_drawn(page, selector):
    """The fonts from files of a page with which Chromium draws the first element found."""
    devtools = page.context.new_cdp_session(page)
    for domain in ("DOM", "CSS"):
        devtools.send(f"{domain}.enable")
    root = devtools.send("DOM.getDocument")["root"]["nodeId"]
    node = devtools.send("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
    drawn = devtools.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
    return {font["postScriptName"] for font in drawn if font["isCustomFont"]}


def test_fonts_are_those_of_the_decks(talk):
    page = talk.page
    page.evaluate("document.fonts.ready.then(() => true)")
    assert fonts_drawn(page, ".minigpt-on h1") == {"SourceSansPro-Semibold"}
    assert fonts_drawn(page, ".minigpt-on p") == {"SourceSansPro-Regular"}
    talk.press("ArrowRight", "ArrowRight", "ArrowRight")
    talk.assert_shows("42")
    page.evaluate("document.fonts.ready.then(() => true)")
    assert fonts_drawn(page, ".minigpt-on .jp-OutputArea-output pre") == {"DejaVuSansMono"}
    code = ".minigpt-on:not(.minigpt-no-input) .cm-line"
    assert fonts_drawn(page, code) == {"DejaVuSansMono"}
    faces = page.evaluate("[...document.fonts].map((face) => [face.family.replaceAll('\"', ''), face.status])")
    loaded = {family for family, status in faces if status == "loaded"}
    assert {"Slide Text", "Slide Code"} <= loaded
    talk.assert_quiet()


def test_formulas_are_set_in_what_is_for_the_slide_alone(talk):
    talk.press("ArrowRight")
    formula = talk.page.locator(".minigpt-on .minigpt-slide-words mjx-container")
    formula.wait_for(state="visible")


def test_no_key_harms_the_notebook(talk):
    """In JupyterLab d d deletes a cell, x cuts one, m turns code to text."""
    before = len(talk.page.query_selector_all(".jp-Cell"))
    talk.press("d", "d", "x", "m", "a", "b", "ArrowRight")
    assert talk.slide() == "2 / 3"
    assert len(talk.page.query_selector_all(".jp-Cell")) == before
    assert len(talk.code_cells()) == 2


def test_escape_leads_back_to_the_notebook_and_f8_to_the_slide(talk):
    talk.press("ArrowRight", "Escape")
    talk.assert_shows("the lesson's words", "for the lesson alone")
    assert talk.page.get_by_role("button", name="Restart the kernel").first.is_visible()
    talk.press("F8")
    talk.assert_shows("The slide's words")
    talk.assert_hides("for the lesson alone")


def test_speaker_notes_stand_in_a_window_of_their_own(talk):
    with talk.page.expect_popup() as opened:
        talk.press("s")
    notes = opened.value
    notes.get_by_text("no notes").wait_for()
    notes.get_by_text("The slide's words").wait_for()  # of the next one
    assert notes.locator("time").text_content().count(":") == 1
    notes.wait_for_function("(then) => document.querySelector('time').textContent !== then",
                            arg=notes.locator("time").text_content())
    notes.keyboard.press("ArrowRight")  # the keys work there too
    notes.get_by_text("Ask why. Expect").wait_for()
    notes.locator("mjx-container").wait_for()
    assert talk.slide() == "2 / 3"
    notes.close()


@pytest.mark.parametrize("talk", ["fails.ipynb"], indirect=True)
def test_a_failing_cell_is_told_of(talk):
    talk.assert_shows("a cell failed: Esc shows the notebook")


@pytest.mark.parametrize("talk", [LESSON], indirect=True)
def test_a_widget_is_moved_inside_a_slide(talk):
    widget = talk.page.get_by_test_id(WIDGET).first
    for _ in range(200):  # slides and fragments
        if widget.is_visible():
            break
        talk.press("ArrowRight")
    assert widget.is_visible(), "no slide shows the widget"
    here = talk.slide()
    slider = widget.get_by_role("slider", name="top-k")
    picture = widget.locator(".minigpt-picture")
    looks = [picture.screenshot()]

    talk.drag(slider, 0.2)
    dragged = float(slider.input_value())
    looks.append(picture.screenshot())
    talk.screenshot("widget")
    talk.press("ArrowRight", "ArrowRight")  # the slider has the focus: the keys are its own
    assert float(slider.input_value()) == dragged + 2
    assert talk.slide() == here
    looks.append(picture.screenshot())
    assert len(set(looks)) == 3, "the picture did not follow the slider"

    talk.press("Escape", "ArrowRight")  # Esc leaves the slider, not the slide
    assert talk.slide() != here
    assert not widget.is_visible()
    talk.press("PageUp")
    assert widget.is_visible()
    assert float(slider.input_value()) == dragged + 2
