"""From a notebook to a deck, and the two commands that teachers type."""

from __future__ import annotations

import re
import shutil
from xml.etree import ElementTree

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from deck_lint import count_problems, design_problems
from tools.launcher import lab, present, slides
from tools.launcher.project import Project, UserError, here
from tools.teaching.deck import THEME, WIDGET, copy_assets, for_slides, formula, make_deck

LESSONS = ["01_tokenization.ipynb", "03_attention.ipynb", "problems/ps1_tokenization.ipynb"]


def cell(slide_type, source, make=new_markdown_cell, **metadata):
    made = make(source)
    made.metadata.update(slideshow={"slide_type": slide_type}, **metadata)
    return made


def code(slide_type, source, *outputs, tags=()):
    made = cell(slide_type, source, new_code_cell, tags=list(tags))
    made.outputs = list(outputs)
    return made


def printed(text):
    return new_output("stream", name="stdout", text=text)


def prepared(*cells):
    return for_slides(new_notebook(cells=list(cells))).cells


def deck_of(folder, *cells):
    """The page of a deck made of these cells."""
    nbformat.write(new_notebook(cells=list(cells)), folder / "talk.ipynb")
    return make_deck(folder / "talk.ipynb", folder).read_text(encoding="utf-8")


# Cells


def test_a_slide_comment_stands_instead_of_the_lessons_words():
    source = "The lesson.\n\n<!-- slide\n## The slide\n\n```python\nx = 1\n```\n-->\n\nMore."
    (found,) = prepared(cell("slide", source))
    assert found.source == "## The slide\n\n```python\nx = 1\n```"


def test_a_notes_comment_becomes_notes_of_its_slide():
    first, notes, last = prepared(
        cell("slide", "Words.\n<!-- notes\nAsk this.\n\nExpect that.\n-->"), cell("slide", "Next.")
    )
    assert (first.source, last.source) == ("Words.", "Next.")
    assert notes.metadata.slideshow.slide_type == "notes"
    assert notes.source == "Ask this.\n\nExpect that."


def test_a_cell_with_both_comments_has_words_and_notes():
    source = "Lesson.\n<!-- notes\nAsk.\n-->\n<!-- slide\nSlide.\n-->"
    assert [found.source for found in prepared(cell("slide", source))] == ["Slide.", "Ask."]


@pytest.mark.parametrize("source", ["A <!-- slider --> on.", "<!-- a remark -->A", "a -> b"])
def test_other_comments_are_left_alone(source):
    assert prepared(cell("slide", source))[0].source == source


def test_a_skipped_cell_stays_as_it_is():
    source = "Words.\n<!-- slide\nOthers.\n-->\n<!-- notes\nNotes.\n-->"
    assert [found.source for found in prepared(cell("skip", source))] == [source]


def test_the_notebook_itself_is_not_changed():
    cells = [cell("slide", "<!-- slide\nx\n-->"), code("-", "1", printed("1"))]
    notebook = new_notebook(cells=cells)
    before = nbformat.writes(notebook)
    for_slides(notebook)
    assert nbformat.writes(notebook) == before


def test_a_widget_is_shown_by_its_picture_alone():
    picture = new_output("display_data", data={"text/html": "<img>", "text/plain": "alt"})
    live = new_output("display_data", data={WIDGET: {}, "text/plain": "Explorer()"})
    (found,) = prepared(code("-", "Explorer()", picture, live))
    assert found.outputs == [picture]


def test_tags_leave_out_code_or_what_it_prints(tmp_path):
    page = deck_of(
        tmp_path,
        code("slide", "first_code", printed("first_output"), tags=["slide-hide-input"]),
        code("slide", "second_code", printed("second_output"), tags=["slide-hide-output"]),
    )
    words = ["first_code", "first_output", "second_code", "second_output"]
    assert [word for word in words if word in page] == ["first_output", "second_code"]


# The page


def test_slide_types_become_slides_fragments_and_notes(tmp_path):
    page = deck_of(
        tmp_path,
        cell("skip", "not on the slides"),
        cell("slide", "# A <title> & more"),
        cell("-", "below"),
        cell("subslide", "second"),
        cell("fragment", "later"),
        cell("notes", "old notes"),
        cell("slide", "third"),
    )
    assert "not on the slides" not in page
    assert page.count("<section") == 2 + 3  # two columns, three slides
    assert page.count('<div class="fragment"') == 1
    assert page.count('<aside class="notes">') == 1
    assert "<title>A &lt;title&gt; &amp; more</title>" in page


def test_a_deck_without_a_heading_has_a_title(tmp_path):
    assert "<title>talk</title>" in deck_of(tmp_path, code("slide", "x = 1"))


def test_html_that_goes_on_in_the_next_block_stays_one(tmp_path):
    page = deck_of(tmp_path, cell("slide", "<details><summary>a</summary>\n\nText.\n\n</details>"))
    assert re.search(r"<details><summary>a</summary>\s*<p>Text.</p>\s*</details>", page)


def test_pictures_are_inside_the_page(tmp_path):
    shutil.copyfile(here().notebooks / "images" / "widget.png", tmp_path / "a.png")
    html = '<img src="a.png" alt="a picture of a widget">'
    page = deck_of(tmp_path, cell("slide", f"![alt](a.png)\n\n{html}\n\nin a line {html}"))
    assert page.count('src="data:image/png;base64,') == 3


def test_links_to_other_lessons_lead_to_their_decks(tmp_path):
    page = deck_of(tmp_path, cell("slide", "[one](01_a.ipynb) [two](02_b.ipynb#part)"))
    assert re.findall(r'href="(\d[^"]*)"', page) == ["01_a.html", "02_b.html#part"]


@pytest.mark.parametrize(
    ("tex", "spaced"),
    [
        (r"\ln 32", "ln|32"),
        (r"2 \ln V", "2|ln|V"),
        (r"\log_2 V", "log2|V"),
        (r"\tanh^2 x", "tanh2|x"),
        (r"-\ln p", "\u2212ln|p"),
        (r"\exp(x)", "exp(x)"),
        (r"a b", "ab"),
        (r"\text{loss} = \ln 2", "loss=ln|2"),
        (r"\frac{\ln 2}{\ln V}", "ln|2ln|V"),
        (r"\begin{aligned} a &= \ln 2 \end{aligned}", "a=ln|2"),
    ],
)
def test_the_name_of_a_function_keeps_its_distance(tex, spaced):
    nodes = ElementTree.fromstring(formula(tex, "inline")).iter()
    assert "".join("|" if n.tag.endswith("space") else n.text or "" for n in nodes) == spaced


@pytest.mark.parametrize("sign", [r"\infty", r"a^\top", r"\dots", "."])
def test_a_sign_that_is_no_operator_takes_no_space(sign):
    assert "<mo" not in formula(sign, "inline")


def test_formulas_become_mathml(tmp_path):
    source = "so $x_t$ and\n\n$$\\frac{1}{2}$$\n\nat 5 dollars: \\$5"
    page = deck_of(tmp_path, cell("slide", source))
    assert page.count("<math") == 2
    assert "<mfrac>" in page and 'display="block"' in page
    assert "x_t" not in page


@pytest.mark.parametrize("name", ["aligned", "align*", "pmatrix", "cases"])
def test_formulas_of_several_lines_are_tables(name):
    tex = rf"\begin{{{name}}} a &= b \\ c &= d \end{{{name}}}"
    assert formula(tex, "block").count("<mtr>") == 2
    assert "&</mi>" not in formula(tex, "block")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The decks of all lessons."""
    folder = tmp_path_factory.mktemp("decks")
    copy_assets(folder / "assets")
    for notebook in slides.lessons(here(), []):
        make_deck(notebook, folder)
    return folder


def test_decks_load_nothing_but_their_own_files(made):
    pages = sorted(made.glob("*.html"))
    assert len(pages) == 6
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|link|img|iframe)\b[^>]*?(?:src|href)="([^"]*)"', text)
        files = {name for name in loaded if not name.startswith("data:")}
        assert all((made / name).is_file() for name in files), files
        assert {"assets/reveal.js", "assets/notes.js", "assets/deck.css"} <= files


def test_the_style_loads_nothing_but_its_own_files(made):
    assets = made / "assets"
    styles = "".join((assets / name).read_text() for name in ("deck.css", "fonts.css"))
    addresses = re.findall(r"(?:url\(|@import )\"?([^)\"]*)", styles)
    assert len(addresses) == 8
    assert all((assets / name).is_file() for name in addresses), addresses
    assert {"LICENSE_DEJAVU", "LICENSE-source-sans-pro"} <= {path.name for path in assets.iterdir()}


@pytest.mark.parametrize("folder", [THEME, present.PRESENTER], ids=lambda folder: folder.name)
def test_nothing_of_ours_names_an_address(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and "reveal" not in path.parts]
    assert files
    assert [path.name for path in files if "://" in path.read_text(encoding="utf-8")] == []


# Rules for lessons


@pytest.mark.parametrize("path", slides.lessons(here(), []), ids=lambda path: path.stem)
def test_the_lesson_has_as_many_slides_as_a_class_can_take(path):
    assert list(count_problems(nbformat.read(path, as_version=4))) == []


@pytest.mark.parametrize("count", [0, 11, 12, 25, 26])
def test_too_few_and_too_many_slides_are_found(count):
    kinds = ["subslide", "-", "fragment", "skip"] * count
    found = list(count_problems(new_notebook(cells=[cell(kind, "x") for kind in kinds])))
    assert len(found) == (count not in (12, 25))


@pytest.mark.parametrize("path", slides.lessons(here(), []), ids=lambda path: path.stem)
def test_the_slides_of_the_lesson_keep_the_rules(path):
    assert list(design_problems(nbformat.read(path, as_version=4))) == []


NOTES = cell("-", "<!-- notes\nAsk.\n-->")
GOOD = [cell("slide", "# Title"), NOTES, code("-", "x = 1\n" * 12), code("-", "y" * 82)]
BAD = {
    "slide 2: no speaker notes": [*GOOD, cell("subslide", "x")],
    "slide 1: 13 lines of code": [*GOOD, code("fragment", "x = 1\n" * 13)],
    "slide 1: a line of 83 columns": [*GOOD, code("-", "x" * 83)],
}


def test_good_slides_pass():
    hidden = code("-", "x" * 200 + "\n" * 20, tags=["slide-hide-input"])
    skipped = code("skip", "x" * 200 + "\n" * 20)
    assert list(design_problems(new_notebook(cells=[*GOOD, hidden, skipped]))) == []


@pytest.mark.parametrize("problem", BAD)
def test_a_bad_slide_is_found(problem):
    (found,) = design_problems(new_notebook(cells=BAD[problem]))
    assert found.startswith(problem)


# Commands


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "my project"
    for name in [*LESSONS, "solutions/ps1_tokenization.ipynb", "images/a.png"]:
        path = root / "notebooks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"this is {name}")
    return Project(root)


@pytest.fixture
def calls(monkeypatch):
    """The commands that would be run, and what they were prepared for."""
    calls = []
    monkeypatch.setattr(slides, "prepare", lambda project, wanted: calls.append(wanted))
    monkeypatch.setattr(present, "prepare", lambda project, wanted: calls.append(wanted))
    run = lambda command, **_: calls.append(command[2:]) or 0  # noqa: E731
    monkeypatch.setattr(slides.subprocess, "call", run)
    monkeypatch.setattr(lab, "run", lambda project, command, _: calls.append(command) or 0)
    return calls


def test_slides_are_made_of_all_lessons_and_of_no_problem_set(project, calls):
    assert slides.make_slides(project, []) == 0
    lessons = [str(project.notebooks / name) for name in LESSONS[:2]]
    assert calls == ["teaching", ["tools.teaching.deck", str(project.slides), *lessons]]


def test_slides_of_one_lesson_are_printed(project, calls, monkeypatch, capsys):
    monkeypatch.setattr(slides, "find_browser", lambda: "a-browser")
    slides.make_slides(project, ["3", "--pdf"])
    deck = project.slides / "03_attention.html"
    assert calls[1:] == [
        ["tools.teaching.deck", str(project.slides), str(project.notebooks / LESSONS[1])],
        ["tools.teaching.deck_pdf", "a-browser", str(deck)],
    ]
    assert "build/slides/03_attention.pdf" in capsys.readouterr().out


def test_a_pdf_needs_a_browser_and_that_is_said_first(project, calls, monkeypatch):
    monkeypatch.setattr(slides, "find_browser", lambda: None)
    with pytest.raises(UserError, match="none was found"):
        slides.make_slides(project, ["--pdf"])
    assert calls == []


def test_an_unknown_option_is_named(project, calls):
    with pytest.raises(UserError, match="no option '--pfd'"):
        slides.make_slides(project, ["--pfd"])


def test_a_failure_is_not_called_written(project, calls, monkeypatch, capsys):
    monkeypatch.setattr(slides.subprocess, "call", lambda command, **_: 1)
    with pytest.raises(UserError, match="could not be made"):
        slides.make_slides(project, [])
    assert "Written" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "name", "rest"),
    [
        ([], LESSONS[0], []),
        (["3"], LESSONS[1], []),
        (["--no-browser"], LESSONS[0], ["--no-browser"]),
        (["attention", "--port", "8890"], LESSONS[1], ["--port", "8890"]),
    ],
)
def test_a_lesson_is_presented_from_a_copy(project, calls, arguments, name, rest):
    assert present.present(project, arguments) == 0
    stage = project.root / "build" / "present"
    extensions = stage / "extensions"
    static = extensions / "minigpt-presenter" / "static"
    prepared_for, fonts, command = calls
    assert prepared_for == "lessons"
    assert fonts == ["tools.teaching.fonts", str(static / "fonts")]
    assert f"--ServerApp.root_dir={stage}" in command
    assert f"--LabApp.default_url=lab/tree/notebooks/{name}" in command  # a token is put after it
    assert f"--LabApp.workspaces_dir={stage / 'workspaces' / name}" in command
    assert f"--LabApp.extra_labextensions_path={extensions}" in command
    assert (static / "presenter.js").is_file()
    assert command[len(command) - len(rest) :] == rest
    assert (stage / "notebooks" / name).read_text() == f"this is {name}"
    assert (stage / "notebooks" / "images" / "a.png").is_file()


def test_each_talk_begins_with_a_fresh_copy_of_its_lesson_alone(project, calls):
    present.present(project, ["1"])
    stage = project.root / "build" / "present" / "notebooks"
    (stage / LESSONS[0]).write_text("changed in class")
    open_tabs = present.workspaces(stage.parent, LESSONS[0]) / "default.jupyterlab-workspace"
    open_tabs.parent.mkdir(parents=True)
    open_tabs.write_text("{}")
    present.present(project, ["3"])
    assert open_tabs.is_file()
    assert (stage / LESSONS[0]).read_text() == "changed in class"
    present.present(project, ["1"])
    assert (stage / LESSONS[0]).read_text() == f"this is {LESSONS[0]}"
    assert not open_tabs.exists()
