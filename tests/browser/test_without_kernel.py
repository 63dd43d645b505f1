"""What a reader sees of a widget without a kernel: a picture with alt text, and only then."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from browser.jupyter_page import write_notebook

CELLS = [
    """\
import numpy as np
from minigpt_helpers import CharTokenizer, MiniGPT
from minigpt_helpers.widgets import AttentionMaskExplorer, AttentionViewer, TemperatureExplorer
tokenizer = CharTokenizer.from_text("the cat sat on the mat")
model = MiniGPT(tokenizer.vocab_size, 16, 2, 2, 12, rng=np.random.default_rng(0))""",
    "AttentionMaskExplorer()",
    'TemperatureExplorer(model, tokenizer, "the ")',
    'AttentionViewer(model, tokenizer, "the cat")',
]
WIDGETS = ["AttentionMaskExplorer", "TemperatureExplorer", "AttentionViewer"]


@pytest.fixture(scope="module")
def executed(work_folder):
    """A notebook that was executed and saved, as the lessons are in the repository."""
    path = work_folder / "saved.ipynb"
    write_notebook(path, CELLS)
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, store_widget_state=False).execute()
    nbformat.write(notebook, path)
    return path


def assert_pictures_stand_there(page):
    pictures = page.locator(".minigpt-still img")
    assert pictures.count() == len(WIDGETS)
    for i in range(len(WIDGETS)):
        picture = pictures.nth(i)
        picture.scroll_into_view_if_needed()
        assert picture.is_visible()
        assert picture.evaluate("(img) => img.complete && img.naturalWidth > 400")
        assert len(picture.get_attribute("alt")) > 80


def test_a_notebook_that_has_just_been_opened_shows_the_pictures(executed, open_notebook):
    notebook = open_notebook(executed.name)
    assert_pictures_stand_there(notebook.page)
    notebook.screenshot("just-opened")

    notebook.run_all()  # now the widgets live, and the pictures give way
    for name in WIDGETS:
        notebook.page.get_by_test_id(name).wait_for(state="visible")
    still = notebook.page.locator(".minigpt-still")
    assert [still.nth(i).is_visible() for i in range(still.count())] == [False] * len(WIDGETS)

    notebook.page.evaluate(  # the outputs of a widget that is taken out of the page
        "() => document.querySelectorAll('.minigpt-live').forEach((live) => live.remove())"
    )
    assert_pictures_stand_there(notebook.page)
    notebook.assert_quiet()


def test_an_html_export_shows_the_pictures(executed, context, tmp_path):
    html, _ = HTMLExporter().from_filename(str(executed))
    path = tmp_path / "saved.html"
    path.write_text(html, encoding="utf-8")
    page = context.new_page()
    page.goto(path.as_uri())
    assert_pictures_stand_there(page)
    page.close()
