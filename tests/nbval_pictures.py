"""Compares pictures while nbval runs a notebook: `pytest -p tests.nbval_pictures --nbval ...`

nbval leaves PNG out. Here the picture that a cell has just drawn is held beside the stored one: it
has the same size, and each of its pixels a shade that the other has within a few pixels, both ways
round. Another Freetype moves letters and axes by a pixel or two, which passes; a curve, a bar or a
word that is elsewhere does not. Numbers too small to see are in the form `text/x-minigpt-drawn`,
which nbval compares by itself.
"""

from __future__ import annotations

import base64
import io
import os

import numpy as np
from nbval.plugin import IPyNbCell
from PIL import Image, ImageFilter

from minigpt_helpers.plots import DRAWN

SIZE = 0.03  # largest difference of width or height, as a share
REACH = 4  # pixels to each side in which a shade is looked for
SHADE = 40  # of 255: as much may it differ
SHARE = 0.004  # of all pixels may find nothing like them


def pytest_configure() -> None:
    IPyNbCell.compare_outputs = with_pictures(IPyNbCell.compare_outputs)


def with_pictures(compare_outputs):
    def compare(cell, test, ref, skip_compare=None) -> bool:
        if not any(DRAWN in output.get("data", {}) for output in ref):
            for output in test:  # stored before pictures had this form
                output.get("data", {}).pop(DRAWN, None)
        if not compare_outputs(cell, test, ref, skip_compare):
            return False
        if os.environ.get("MINIGPT_OTHER_VERSIONS"):  # matplotlib itself draws in another way
            return True
        for made, stored in zip(pictures(test), pictures(ref)):
            if difference := picture_difference(stored, made):
                cell.comparison_traceback.append(f"a picture is not the stored one: {difference}")
                return False
        return True

    return compare


def pictures(outputs: list) -> list[bytes]:
    forms = (output.get("data", {}).get("image/png") for output in outputs)
    return [base64.b64decode(png) for png in forms if png]


def picture_difference(stored: bytes, made: bytes) -> str | None:
    """What a reader would see to differ between two PNGs, or None."""
    one, other = (Image.open(io.BytesIO(png)).convert("L") for png in (stored, made))
    if any(abs(a - b) > SIZE * a for a, b in zip(one.size, other.size)):
        return (
            f"it is {other.width} by {other.height} pixels large, not {one.width} by {one.height}"
        )
    other = other.resize(one.size, Image.Resampling.BOX)
    lost = np.maximum(unlike(one, other), unlike(other, one))
    if lost.mean() <= SHARE:
        return None
    rows, columns = np.nonzero(lost)
    return f"{lost.mean():.1%} of it differ, about pixel ({np.median(columns):.0f}, {np.median(rows):.0f})"


def unlike(one: Image.Image, other: Image.Image) -> np.ndarray:
    """Which pixels of one picture have a shade that is not near that place in the other."""
    near = 2 * REACH + 1
    shade = np.asarray(one, dtype=int)
    darkest, brightest = (
        np.asarray(other.filter(of(near)), dtype=int)
        for of in (ImageFilter.MinFilter, ImageFilter.MaxFilter)
    )
    return (shade < darkest - SHADE) | (shade > brightest + SHADE)
