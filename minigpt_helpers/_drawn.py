"""What a figure shows, as text. It is stored beside each picture, so that whoever runs a notebook
again can compare the numbers that are drawn: pixels depend on the fonts of a machine, these do not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.spines import Spine
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator

MOST = 40  # numbers in a row; of more the means of as many parts
SHIFT = 3.18e-5  # so that no fraction such as 1/32 lies where rounding turns


def drawn(fig: Figure) -> str:
    """The labels and data of each axes, one line of text for each thing in it."""
    return "\n".join(line for ax in fig.axes for line in _lines_of(ax))


def _lines_of(ax: Axes) -> Iterator[str]:
    if ax.get_label() == "<colorbar>":
        ends = " to ".join(f"{end * (1 + SHIFT):.4g}" for end in ax.get_ylim())
        yield f"colour bar: {ax.get_ylabel()!r} from {ends}"
        return
    yield f"axes: {ax.get_title()!r}, x {_of_axis(ax.xaxis)}, y {_of_axis(ax.yaxis)}"
    boxes, words = [], []
    for artist in ax.get_children():
        if isinstance(artist, Line2D):
            name = artist.get_label()
            name = f" {name!r}" * (not name.startswith("_"))
            yield f"line{name}: {_columns(artist.get_xydata(), 'x y')}"
        elif isinstance(artist, AxesImage):
            yield f"image: {_numbers(artist.get_array())}"
        elif isinstance(artist, Collection):
            for path in artist.get_paths():
                yield f"area: {_columns(path.vertices, 'x y')}"
        elif isinstance(artist, Patch) and not isinstance(artist, Spine) and artist is not ax.patch:
            boxes.append(
                artist.get_patch_transform().transform_path(artist.get_path()).get_extents()
            )
        elif isinstance(artist, Text) and artist.get_text() != ax.get_title():
            words.append(artist.get_text())
    if boxes:
        corners = np.array([box.extents for box in boxes])
        yield f"{len(boxes)} patches: {_columns(corners, 'x0 y0 x1 y1')}"
    if words := [word for word in words if any(map(str.isalpha, word))]:  # numbers: see the image
        yield f"text: {words}"
    if legend := ax.get_legend():
        yield f"legend: {[text.get_text() for text in legend.get_texts()]}"


def _of_axis(axis: Axis) -> str:
    """Label, scale, and the names at its ticks if somebody chose them."""
    places = axis.get_major_locator()
    fixed = isinstance(places, FixedLocator)
    names = f" {axis.get_major_formatter().format_ticks(places.locs)}" if fixed else ""
    return f"{axis.get_label_text()!r} {axis.get_scale()}{names}"


def _columns(table: np.ndarray, names: str) -> str:
    return ", ".join(
        f"{name} {_numbers(column)}" for name, column in zip(names.split(), np.transpose(table))
    )


def _numbers(values: object) -> str:
    """How many, the largest size, and the numbers as shares of it."""
    values = np.ma.masked_invalid(np.ma.asarray(values, dtype=float)).ravel()
    seen = values.compressed()
    count = f"({len(values)})" if len(seen) == len(values) else f"({len(values)}, {len(seen)} seen)"
    scale = np.abs(seen).max(initial=0.0)
    if scale < 1e-12:  # nothing, or the rounding error of nothing
        return f"{count} 0"
    parts = np.array_split(seen, MOST) if len(seen) > MOST else seen[:, None]
    shares = [f"{np.mean(part) / scale + SHIFT:.4f}".replace("-0.0000", "0.0000") for part in parts]
    return f"{count} {scale * (1 + SHIFT):.4g} times {' '.join(shares)}"
