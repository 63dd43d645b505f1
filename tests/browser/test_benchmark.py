"""The benchmark of the widgets with few moves: that it measures what it says. No time is judged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tools.benchmarks import site, widgets
from tools.benchmarks.__main__ import parse


@pytest.fixture
def options(chromium, monkeypatch):
    monkeypatch.setenv("MINIGPT_CHROMIUM", chromium)
    return parse(["widgets"])[1]


def test_a_few_moves(options, browser):
    names = ["TemperatureExplorer: temperature", "TrainingDashboard: pause"]
    cases = [case for case in widgets.CASES if case.name in names]
    result = widgets.run(options, cases, moves=3, playwright_browser=browser)
    assert list(result["milliseconds"]) == [*names, f"{names[0]}, in Notebook 7"]
    for found in result["milliseconds"].values():
        assert found["moves"] == len(found["all"]) == 3
        assert 0 < found["fastest"] <= found["median"] <= found["95th percentile"]
    printed = widgets.tables(result)
    assert "| TemperatureExplorer: temperature  " in printed and "40 / 100" in printed


def test_a_move_that_changes_nothing_is_refused(options, browser):
    still = replace(widgets.CASES[0], keys=("Home",), first=("Home",), until="true")
    with pytest.raises(RuntimeError, match="changed nothing that can be seen"):
        widgets.run(options, [still], moves=1, playwright_browser=browser)


def test_the_site_is_measured(browser, address):
    page = site.cold(browser, address + "index", loads=2)
    assert len(page["seconds"]) == 2 and all(0 < each < 60 for each in page["seconds"])
    assert 0.1 < page["megabytes"] < 2.5
    case = site.SLIDERS["index"]
    found = site.slide(browser, address + "index", case, moves=3)
    assert found["moves"] == 3 and found["fastest"] > 0
    printed = site.tables({
        "browser": "1", "pages": {"index": page}, "milliseconds": {case.name: found},
    })
    assert "| index " in printed and "| start page: temperature " in printed


def test_without_a_browser_it_says_so(options, monkeypatch):
    monkeypatch.setattr(widgets, "find_browser", lambda: None)
    result = widgets.run(options)
    assert "no Chromium, Chrome or Edge was found" in widgets.tables(result)
