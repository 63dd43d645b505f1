"""Every lesson in JupyterLab: Run All reaches the last cell, without errors and without a network."""

from __future__ import annotations

import pytest
from browser.jupyter_page import ROOT

LESSONS = [path.name for path in sorted((ROOT / "notebooks").glob("0*.ipynb"))]

CARD_WIDGETS = {
    "03_attention.ipynb": "AttentionMaskExplorer",
    "06_generation.ipynb": "TemperatureExplorer",
}
CARD_SLIDERS = {
    "AttentionMaskExplorer": ["length", "temperature"],
    "TemperatureExplorer": ["temperature", "top-k"],
}


@pytest.fixture(scope="module", params=LESSONS)
def lesson(request, open_notebook):
    page = open_notebook(request.param)
    page.run_all()
    yield page
    page.close()


def test_run_all_reaches_the_last_cell(lesson):
    lesson.assert_all_ran()
    lesson.screenshot()


def test_the_widgets_stand_in_the_page(lesson):
    views = [
        output.data["text/plain"].split(":")[0]
        for cell in lesson.code_cells()
        for output in cell.outputs
        if "application/vnd.jupyter.widget-view+json" in output.get("data", {})
    ]
    assert views, "every lesson has a widget"
    for name in set(views):
        live = lesson.page.get_by_test_id(name)
        assert live.count() == views.count(name)
        for i in range(live.count()):
            live.nth(i).scroll_into_view_if_needed()
            assert live.nth(i).is_visible()
            lesson.screenshot(f"{name}-{i}", of=live.nth(i))


def test_pictures_are_not_shown_twice(lesson):
    """Where a widget is alive, the picture for readers without a kernel is hidden."""
    stills = lesson.page.locator(".minigpt-still")
    assert [stills.nth(i).is_visible() for i in range(stills.count())] == [False] * stills.count()


@pytest.mark.parametrize(
    "lesson", [name for name in LESSONS if name in CARD_WIDGETS], indirect=True, scope="module"
)
def test_dragging_the_sliders_of_the_card_widgets_changes_the_picture(lesson):
    name = CARD_WIDGETS[f"{lesson.name}.ipynb"]
    live = lesson.page.get_by_test_id(name).first
    picture = live.locator(".minigpt-picture")
    for slider in CARD_SLIDERS[name]:
        knob = live.get_by_role("slider", name=slider)
        looks = []
        for place in (0.0, 0.35, 0.8):
            lesson.drag(knob, place)
            lesson.page.evaluate("() => new Promise(requestAnimationFrame)")
            looks.append(picture.screenshot())
        assert len(set(looks)) == 3, f"{slider} leaves the picture as it is"
        lesson.screenshot(f"{name}-{slider}", of=live)


def test_nothing_was_asked_from_other_hosts_and_the_console_is_clean(lesson):
    lesson.assert_quiet()
