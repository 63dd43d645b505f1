"""A square map of numbers for still pictures: the twin of `_heatmap.js`, with the same colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minigpt_helpers.widgets._base import glyph

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Orange for negative, pale for zero, blue for positive; the same list stands in `_base.js`.
ORANGE_BLUE = ["#a84900", "#cf6d12", "#ec9a4e", "#f7cb9f", "#f5f5f5", "#b8d3ea", "#77aad7",
               "#3b7fbe", "#0f529b"]  # fmt: skip


def draw_map(
    axes: Axes, title: str, tokens: list[str], values: np.ndarray, *, weights: bool, most: float = 1
) -> None:
    """Draw `values` (T, T) with characters on both axes; cells that are `-inf` or masked stay grey.

    `weights` chooses the colours for weights 0 to 1, else those for scores from `-most` to `most`.
    Up to eight characters the cells carry their numbers.
    """
    from matplotlib.colors import LinearSegmentedColormap, Normalize, PowerNorm

    if weights:
        look = {"cmap": "viridis", "norm": PowerNorm(0.5, 0, 1)}
    else:
        cmap = LinearSegmentedColormap.from_list("orange_blue", ORANGE_BLUE)
        look = {"cmap": cmap, "norm": Normalize(-most, most)}
    cells = np.ma.masked_invalid(values)
    image = axes.imshow(cells, **look)
    axes.set_facecolor("0.85")
    axes.set_title(title, fontsize=16)
    axes.set_xlabel("key: the character looked at", fontsize=13)
    axes.set_ylabel("query: the one that looks", fontsize=13)
    step = -(-len(tokens) // 32)
    places = range(0, len(tokens), step)
    axes.set_xticks(places, [glyph(tokens[i]) for i in places], fontsize=14)
    axes.set_yticks(places, [glyph(tokens[i]) for i in places], fontsize=14)
    axes.figure.colorbar(image, ax=axes, shrink=0.8).ax.tick_params(labelsize=12)
    if len(tokens) <= 8:
        for (i, j), value in np.ndenumerate(cells):
            if value is not np.ma.masked:
                red, green, blue, _ = image.cmap(image.norm(value))
                ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.41 else "white"
                text = f"{value:.2f}" if weights else f"{round(value, 1) + 0.0:.1f}"
                axes.text(j, i, text, ha="center", va="center", fontsize=12, color=ink)
