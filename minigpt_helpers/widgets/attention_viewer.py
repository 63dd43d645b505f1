"""The attention viewer of lesson 6: which earlier characters a trained model looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import traitlets

from minigpt_helpers.plots import heatmap
from minigpt_helpers.widgets._base import (
    TeachingWidget,
    bundle,
    check_model,
    check_text,
    in_range,
    style_sheet,
)
from minigpt_helpers.widgets.attention_mask import LONGEST, pair_in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def viewer_state(weights: np.ndarray, layer: int, head: int, row: int) -> dict[str, np.ndarray]:
    """One head's map and one of its rows, from all `weights` (L, H, T, T).

    Returns `map` (T, T); `looks` (row + 1,), the weights with which position `row` looks at itself
    and at each position before it; `strongest`, those positions from the largest weight to the
    smallest, equal ones from left to right.
    """
    head_map = np.asarray(weights, dtype=np.float64)[layer, head]  # (T, T)
    looks = head_map[row, : row + 1]
    return {"map": head_map, "looks": looks, "strongest": np.argsort(-looks, kind="stable")}


class AttentionViewer(TeachingWidget):
    """The attention weights of a trained model on the reader's own text, layer by layer, head by
    head: arcs from the selected character to those it looks at, and the whole map below.

    The traits `text`, `layer`, `head`, `row` (the character that looks) and `column` can be read
    and set from Python; a value out of range is a `ValueError`. A text longer than the model reads
    is cut to its last characters, as in `generate`.
    """

    _esm = bundle("attention_viewer.js")
    _css = style_sheet("AttentionViewer", "_attention.css")

    text = traitlets.Unicode().tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    head = traitlets.Int(0).tag(sync=True)
    row = traitlets.Int(0).tag(sync=True)
    column = traitlets.Int(0).tag(sync=True)

    # what the kernel works out from them
    tokens = traitlets.List(traitlets.Unicode()).tag(sync=True, computed=True)
    shape = traitlets.List(traitlets.Int(), [1, 1]).tag(sync=True, computed=True)  # layers, heads
    weights = traitlets.Bytes().tag(sync=True, computed=True)  # (L, H, T, T) float64

    def __init__(self, model, tokenizer, text: str = "the cat sat"):
        check_model(model, tokenizer)
        self._model, self._tokenizer = model, tokenizer
        super().__init__(shape=[model.num_layers, model.num_heads], text=text)
        if self.tokens:
            self.row = len(self.tokens) - 1
            self.column = int(self.state()["strongest"][0])

    @traitlets.observe("text")
    def _compute_weights(self, _change: dict) -> None:
        used, problem, note = check_text(
            self.text,
            known=self._tokenizer.chars,
            limit=min(LONGEST, self._model.max_seq_len),
            keep="last",
        )
        with self.hold_sync():
            self.problem, self.note = problem, note
            if problem:
                return  # the picture of the last good text stays, pale
            was_last = self.row == len(self.tokens) - 1
            last = len(used) - 1
            self.tokens = list(used)
            self.row = last if was_last else min(self.row, last)
            self.column = min(self.column, last)
            weights = self._model.attention_weights(self._tokenizer.encode(used))
            self.weights = np.asarray(weights, dtype=np.float64).tobytes()

    @traitlets.validate("row", "column")
    def _check_place(self, proposal: dict) -> int:
        return in_range(proposal.trait.name, proposal.value, 0, max(0, len(self.tokens) - 1))

    @traitlets.validate("layer", "head")
    def _check_layer(self, proposal: dict) -> int:
        most = self.shape[0 if proposal.trait.name == "layer" else 1] - 1
        return in_range(proposal.trait.name, proposal.value, 0, most)

    def state(self) -> dict[str, np.ndarray]:
        """What the widget shows now: `viewer_state` of the chosen layer, head and row."""
        weights = np.frombuffer(self.weights).reshape(*self.shape, len(self.tokens), -1)
        return viewer_state(weights, self.layer, self.head, self.row)

    def still(self) -> tuple[Figure, str]:
        """The map in its present state, and the same in words."""
        state, place = self.state(), f"layer {self.layer}, head {self.head}"
        figure = heatmap(
            state["map"],
            self.tokens,
            self.tokens,
            title=f"attention, {place}",
            xlabel="key: the character looked at",
            ylabel="query: the one that looks",
            mask=np.triu(np.ones_like(state["map"], dtype=bool), k=1),
            vmin=0,
            vmax=1,
            colorbar_label="weight",
        )
        height = min(10.2, max(4.6, 0.17 * len(self.tokens) + 1.2))  # inches: fits a slide
        figure.set_size_inches(height + 0.4, height)
        strongest = int(state["strongest"][0])
        said = pair_in_words(self.tokens, state["map"], self.row, strongest, causal=True)
        alt = (
            f"A square map of the attention weights in {place} for the text "
            f"{''.join(self.tokens)!r}; a row is a query, a column a key. {said}, the largest in "
            "its row."
        )
        return figure, alt
