"""The widgets' JavaScript gives the numbers of the pure Python functions, in the browser itself."""

from __future__ import annotations

import base64
import json

import pytest

from widget_grids import DRIVER, grids


@pytest.fixture(scope="module")
def empty_page(context):
    page = context.new_page()
    yield page
    page.close()


@pytest.mark.parametrize("grid", grids(), ids=lambda grid: grid.id)
def test_javascript_agrees_with_python(grid, empty_page):
    script = base64.b64encode(grid.widget._esm.encode()).decode()
    results = empty_page.evaluate(
        "async ([script, name, calls]) => {"
        + DRIVER
        + "return run(await import(`data:text/javascript;base64,${script}`), name, calls); }",
        [script, grid.function, grid.arguments()],
    )
    grid.check(json.loads(results))
