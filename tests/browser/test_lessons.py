"""Every lesson in JupyterLab, and all widgets in Notebook 7: Run All reaches the last cell, every control
of each kind of widget answers with the right numbers, and nothing asks for a network."""

from __future__ import annotations

import ast

import nbformat
import pytest

from browser.jupyter_page import ROOT
from browser.operate import EACH_CONTROL
from browser.test_together import CELLS

LESSONS = sorted(path.name for path in (ROOT / "notebooks").glob("0*.ipynb"))
ALL_WIDGETS = "all_widgets.ipynb"  # in Notebook 7
VIEW = "application/vnd.jupyter.widget-view+json"


def names(source):
    """The names that a cell makes, and those that it reads."""
    made, read = set(), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            (made if isinstance(node.ctx, ast.Store) else read).add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.alias)):
            made.add(getattr(node, "asname", None) or node.name)
    return made, read


def without_mere_text(path):
    """The lesson without code cells that show no more than text and make nothing that others read.

    Strict nbval compares those; they are a quarter of the work of all lessons.
    """
    notebook, kept, needed = nbformat.read(path, as_version=4), [], set()
    for cell in reversed(notebook.cells):
        made, read = names(cell.source) if cell.cell_type == "code" else (set(), set())
        shown = set().union(*(output.get("data", {}) for output in cell.get("outputs", [])))
        if cell.cell_type != "code" or shown - {"text/plain"} or made & needed:
            kept.insert(0, cell)
            needed = (needed - made) | read
    notebook.cells = kept
    nbformat.write(notebook, path)


@pytest.fixture(
    scope="module",
    params=[("jupyterlab", name) for name in LESSONS] + [("notebook", ALL_WIDGETS)],
    ids=lambda param: f"{param[0]}-{param[1].removesuffix('.ipynb')}",
)
def lesson(request, open_notebook, work_folder):
    front_end, name = request.param
    if name in LESSONS:
        without_mere_text(work_folder / name)
    page = open_notebook(name, CELLS if name == ALL_WIDGETS else None, front_end=front_end)
    page.run_all()
    yield page
    page.close()


def views(cells):
    """For each widget that code cells show: its class and the model's id."""
    for cell in cells:
        for output in cell.get("outputs", []):
            if VIEW in output.get("data", {}):
                yield output.data["text/plain"].split(":")[0], output.data[VIEW]["model_id"]


def first_lessons():
    """The lesson in which each kind of widget comes first."""
    found: dict[str, str] = {}
    for name in LESSONS:
        for kind, _ in views(nbformat.read(ROOT / "notebooks" / name, as_version=4).cells):
            found.setdefault(kind, name)
    return found


def widgets_of(lesson):
    """For each view in the page: its class, the model's id, and the live widget."""
    seen: dict[str, int] = {}
    for kind, model_id in views(lesson.code_cells()):
        seen[kind] = seen.get(kind, -1) + 1
        yield kind, model_id, lesson.page.get_by_test_id(kind).nth(seen[kind])


def test_run_all_reaches_the_last_cell(lesson):
    lesson.assert_all_ran()
    lesson.screenshot()


def test_the_widgets_are_in_the_page(lesson):
    found = list(widgets_of(lesson))
    assert found, "every lesson has a widget"
    assert lesson.page.locator(".minigpt-live").count() == len(found)
    for i, (kind, _, live) in enumerate(found):
        live.scroll_into_view_if_needed()
        assert live.is_visible()
        lesson.screenshot(f"{kind}-{i}", of=live)


def test_pictures_are_not_shown_twice(lesson):
    """Where a widget is alive, the picture for readers without a kernel is hidden."""
    stills = lesson.page.locator(".minigpt-still")
    assert [stills.nth(i).is_visible() for i in range(stills.count())] == [False] * stills.count()


def test_every_kind_of_widget_is_operated():
    assert first_lessons().keys() == EACH_CONTROL.keys()


def test_every_control_by_mouse_and_by_keyboard(lesson):
    """Of the first widget of each kind: in the first lesson that has one, and in Notebook 7."""
    mine = [
        kind
        for kind, name in first_lessons().items()
        if lesson.name in (name.removesuffix(".ipynb"), ALL_WIDGETS.removesuffix(".ipynb"))
    ]
    lesson.python("from ipywidgets.widgets.widget import _instances")
    for i, (kind, model_id, live) in enumerate(widgets_of(lesson)):
        if kind not in mine:
            continue
        mine.remove(kind)
        try:
            EACH_CONTROL[kind](lesson, live, f"_instances['{model_id}']")
        except Exception as error:
            error.add_note(f"{kind}, widget {i} of {lesson.name}")
            lesson.screenshot("failed")
            raise
        lesson.screenshot(f"{kind}-{i}-operated", of=live)
    assert mine == [], "not in the page"


def test_nothing_was_asked_from_other_hosts_and_the_console_is_clean(lesson):
    lesson.assert_quiet()
