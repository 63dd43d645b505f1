"""The widgets' JavaScript gives the numbers of the pure Python functions: the very files, in Node."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from widget_grids import DRIVER, grids

NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="node was not found; the browser tests compare the same")
@pytest.mark.parametrize("grid", grids(), ids=lambda grid: grid.id)
def test_javascript_agrees_with_python(grid, tmp_path):
    (tmp_path / "widget.mjs").write_text(grid.widget._esm, encoding="utf-8")
    (tmp_path / "calls.json").write_text(grid.arguments(), encoding="utf-8")
    (tmp_path / "main.mjs").write_text(
        'import { readFileSync } from "node:fs";\nimport * as widget from "./widget.mjs";\n'
        + DRIVER
        + f'console.log(run(widget, "{grid.function}", readFileSync("calls.json", "utf-8")));\n',
        encoding="utf-8",
    )
    done = subprocess.run(
        [NODE, "main.mjs"], cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=600
    )
    assert done.returncode == 0, done.stderr
    grid.check(json.loads(done.stdout))
