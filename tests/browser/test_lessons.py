"""Every lesson in JupyterLab and in Notebook 7: Run All reaches the last cell, every control of every
widget answers with the right numbers, and nothing asks for a network."""

from __future__ import annotations

import pytest

from browser.jupyter_page import ROOT
from browser.operate import EACH_CONTROL

LESSONS = sorted(path.name for path in (ROOT / "notebooks").glob("0*.ipynb"))
FRONT_ENDS = ["jupyterlab", "notebook"]
VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(
    scope="module",
    params=[(front_end, name) for front_end in FRONT_ENDS for name in LESSONS],
    ids=lambda param: f"{param[0]}-{param[1].removesuffix('.ipynb')}",
)
def lesson(request, open_notebook):
    front_end, name = request.param
    page = open_notebook(name, front_end=front_end)
    page.name += "" if front_end == "jupyterlab" else f"-{front_end}"  # of its screenshots
    page.run_all()
    yield page
    page.close()


def widgets_of(lesson):
    """For each view in the notebook: its class, the model's id, and the widget in the page."""
    seen = {}
    for cell in lesson.code_cells():
        for output in cell.outputs:
            if VIEW in output.get("data", {}):
                name = output.data["text/plain"].split(":")[0]
                seen[name] = seen.get(name, -1) + 1
                live = lesson.page.get_by_test_id(name).nth(seen[name])
                yield name, output.data[VIEW]["model_id"], live


def test_run_all_reaches_the_last_cell(lesson):
    lesson.assert_all_ran()
    lesson.screenshot()


def test_the_widgets_stand_in_the_page(lesson):
    found = list(widgets_of(lesson))
    assert found, "every lesson has a widget"
    assert lesson.page.locator(".minigpt-live").count() == len(found)
    for i, (name, _, live) in enumerate(found):
        live.scroll_into_view_if_needed()
        assert live.is_visible()
        lesson.screenshot(f"{name}-{i}", of=live)


def test_pictures_are_not_shown_twice(lesson):
    """Where a widget is alive, the picture for readers without a kernel is hidden."""
    stills = lesson.page.locator(".minigpt-still")
    assert [stills.nth(i).is_visible() for i in range(stills.count())] == [False] * stills.count()


def test_every_control_of_every_widget_by_mouse_and_by_keyboard(lesson):
    lesson.python("from ipywidgets.widgets.widget import _instances")
    for i, (name, model_id, live) in enumerate(widgets_of(lesson)):
        try:
            EACH_CONTROL[name](lesson, live, f"_instances['{model_id}']")
        except Exception as error:
            error.add_note(f"{name}, widget {i} of {lesson.name}")
            lesson.screenshot("failed")
            raise
        lesson.screenshot(f"{name}-{i}-operated", of=live)


def test_nothing_was_asked_from_other_hosts_and_the_console_is_clean(lesson):
    lesson.assert_quiet()
