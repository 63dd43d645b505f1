"""The comparison of pictures while nbval runs a notebook: what it lets pass and what it finds."""

from __future__ import annotations

import subprocess
import sys

import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure

from minigpt_helpers import plots
from tests.nbval_pictures import picture_difference
from tools.launcher.project import here
from tools.launcher.testing import NBVAL
from tools.teaching.execute import execute

NAMES = {"title": "Loss during training", "xlabel": "step", "ylabel": "loss (nats)"}
STEPS = np.arange(200)
LOSS = 3.3 * np.exp(-STEPS / 60) + 1


def figures(shift: float = 0.0) -> list[Figure]:
    return [
        plots.curves({"training": (STEPS, LOSS + shift)}, reference_lines={"bigram": 2.4}, **NAMES),
        plots.bars("abcdef", np.arange(6) + 4 * shift, **NAMES),
        plots.heatmap(np.eye(6) * (1 - 2 * shift), "abcdef", "abcdef", vmin=0, vmax=1, **NAMES),
    ]


@pytest.mark.parametrize(
    "look", [{}, {"text.hinting": "none"}, {"text.hinting": "force_autohint"}, {"font.size": 12.15}]
)
def test_another_font_renderer_passes(look, monkeypatch):
    stored = [plots.to_png(figure) for figure in figures()]
    monkeypatch.setattr(plots, "STYLE", plots.STYLE | look)
    made = [plots.to_png(figure) for figure in figures()]
    assert (stored == made) == (look == {})
    assert [picture_difference(*pair) for pair in zip(stored, made)] == [None] * 3


def test_what_a_reader_sees_to_differ_is_found():
    one, other = ([plots.to_png(figure) for figure in figures(shift)] for shift in (0.0, 0.3))
    for pair in zip(one, other):
        assert "of it differ" in picture_difference(*pair)
    assert "pixels large" in picture_difference(one[0], one[1])


CELL = """\
import numpy as np
from minigpt_helpers import plots
steps = np.arange(100)
figure = plots.curves({"a": (steps, np.exp(-steps / 30))}, title="t", xlabel="x", ylabel="y")
plots.show(figure, "A curve that falls from 1 to 0 and bends.")"""


def test_a_changed_curve_fails_in_the_notebook(tmp_path):
    """By its numbers and by its pixels, each alone; the notebook as it was stored passes."""
    stored = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    path = tmp_path / "stored.ipynb"
    nbformat.write(stored, path)
    execute(path)
    good = nbformat.read(path, as_version=4)

    numbers = nbformat.from_dict(good)
    numbers.cells[0].source = CELL.replace("/ 30)", "/ 30) + 0.001 * (steps == 50)")  # half a pixel
    nbformat.write(numbers, tmp_path / "numbers.ipynb")
    pixels = nbformat.from_dict(nbformat.read(path, as_version=4))
    pixels.cells[0].source = CELL.replace(
        "plots.show", "figure.axes[0].lines[0].set_linewidth(12)\nplots.show"
    )
    nbformat.write(pixels, tmp_path / "pixels.ipynb")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *NBVAL, str(tmp_path)],
        cwd=here().root,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert "2 failed, 1 passed" in done.stdout, done.stdout
    assert "mismatch 'text/x-minigpt-drawn'" in done.stdout
    assert "a picture is not the stored one" in done.stdout
