"""The token explorer of lesson 1: type text, see its tokens, their ids and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import traitlets

from minigpt_helpers.plots import ORANGE, PALE, WIDEST, new_figure, style, visible
from minigpt_helpers.widgets._base import (
    TeachingWidget,
    bundle,
    check_text,
    in_range,
    in_words,
    style_sheet,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST = 400  # tokens that are drawn
UNKNOWN = -1  # stands in `ids` where the vocabulary has no such character
UNKNOWN_BOX = {"facecolor": "white", "edgecolor": ORANGE, "linestyle": "--", "linewidth": 3}


def merged(text: str, pairs: list[list[str]], merges: int) -> list[str]:
    """The characters of `text` after the first `merges` of `pairs`, each merged from the left."""
    tokens = list(text)
    for pair in pairs[:merges]:
        joined, i = [], 0
        while i < len(tokens):
            step = 2 if tokens[i : i + 2] == list(pair) else 1
            joined.append("".join(tokens[i : i + step]))
            i += step
        tokens = joined
    return tokens


def vocabulary(chars: list[str], pairs: list[list[str]], merges: int) -> list[str]:
    """The tokens that have an id: the characters, then one for each merge; none is there twice."""
    return list(dict.fromkeys([*chars, *("".join(pair) for pair in pairs[:merges])]))


def token_state(text: str | list[str], chars: list[str]) -> dict[str, object]:
    """The N tokens of `text` (its characters, or a list) under the vocabulary `chars` (V tokens).

    Returns `ids` (N,), with -1 for a token that `chars` does not have; `codes` (N,), the code points
    (of the first character); `distinct`, the number of different tokens; `unknown`, how many of the
    N have no id; and `decoded`, the text that the ids give back, with � for an unknown one.
    """
    to_id = {char: i for i, char in enumerate(chars)}
    ids = [to_id.get(char, UNKNOWN) for char in text]
    return {
        "ids": np.array(ids, dtype=np.int64),
        "codes": np.array([ord(char[0]) for char in text], dtype=np.int64),
        "distinct": len(set(text)),
        "unknown": ids.count(UNKNOWN),
        "decoded": "".join("\ufffd" if i == UNKNOWN else chars[i] for i in ids),
    }


def token_in_words(text: str | list[str], ids: np.ndarray, position: int) -> str:
    """The token at `position` as a sentence: its character, id and code point."""
    char = text[position]
    if len(char) > 1:
        return f'token {position}: "{visible(char)}", id {ids[position]}, {len(char)} characters'
    code = f"code point U+{ord(char):04X} = {ord(char)}"
    if ids[position] == UNKNOWN:
        return f"position {position}: {in_words(char)}, {code}, is not in the vocabulary: no id"
    return f"position {position}: {in_words(char)}, id {ids[position]}, {code}"


def counts_in_words(state: dict[str, object], vocab_size: int) -> str:
    """Length, number of different characters and of unknown ones, as a sentence."""
    length, distinct, unknown = len(state["ids"]), state["distinct"], state["unknown"]
    return (
        f"{length} token{'s' * (length != 1)}, {distinct} different, {unknown} unknown; "
        f"the vocabulary has {vocab_size}"
    )


def round_trip_in_words(state: dict[str, object]) -> str:
    """Does `decode(encode(text))` give the text back?"""
    if state["unknown"] == 0:
        return "decode(ids) gives back the same text"
    return "none: the tokens marked ? have no id, so encode refuses the text"


class TokenExplorer(TeachingWidget):
    """`TokenExplorer(tokenizer, "the cat")`: each character as a coloured token with its id.

    With `pairs`, a list of pairs of tokens in the order in which they were learnt, a slider applies
    the first 0, 1, ... of them: byte-pair encoding, merge by merge.

    The reader types or pastes text. A character that the tokenizer does not know is marked, with
    its code point. Select a token by click or with the arrow keys to read all about it. The traits
    `text` and `selected` can be read and set from Python; a value out of range is a `ValueError`.
    """

    _esm = bundle("token_explorer.js")
    _css = style_sheet("TokenExplorer", "token_explorer.css")

    chars = traitlets.List(traitlets.Unicode()).tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)
    selected = traitlets.Int(0).tag(sync=True)
    pairs = traitlets.List(traitlets.List(traitlets.Unicode())).tag(sync=True)
    merges = traitlets.Int(0).tag(sync=True)  # how many of the pairs are merged

    def __init__(self, tokenizer, text: str = "the cat", pairs: Sequence[Sequence[str]] = ()):
        if not hasattr(tokenizer, "chars"):
            raise ValueError(
                f"TokenExplorer takes a tokenizer first, not {tokenizer!r:.60}: "
                "TokenExplorer(CharTokenizer.from_text(text), text)"
            )
        pairs = [list(pair) for pair in pairs]
        for pair in pairs:
            if len(pair) != 2 or not all(isinstance(token, str) and token for token in pair):
                raise ValueError(
                    f"pairs has {pair!r:.60}; each must be two tokens, such as ('t', 'h')"
                )
        super().__init__(chars=list(tokenizer.chars), text=text, pairs=pairs)

    @traitlets.observe("text")
    def _look_at_text(self, _change: dict) -> None:
        _, self.problem, self.note = check_text(self.text, known=None, limit=LONGEST, keep="first")
        self.selected = min(self.selected, max(0, len(self.text) - 1))

    @traitlets.validate("selected")
    def _check_selected(self, proposal: dict) -> int:
        return in_range("selected", proposal.value, 0, max(0, min(len(self.text), LONGEST) - 1))

    @traitlets.validate("merges")
    def _check_merges(self, proposal: dict) -> int:
        return in_range("merges", proposal.value, 0, len(self.pairs))

    def tokens(self) -> list[str]:
        """The tokens of the text: its characters, after the merges."""
        return merged(self.text, self.pairs, self.merges)

    def state(self) -> dict[str, object]:
        """What the widget shows now: `token_state` of its tokens."""
        return token_state(self.tokens(), vocabulary(self.chars, self.pairs, self.merges))

    def still(self) -> tuple[Figure, str]:
        """The tokens as coloured boxes, and the same in words."""
        known = vocabulary(self.chars, self.pairs, self.merges)
        return draw_tokens(self.text[:40], known, self.state(), self.tokens()[:40])


def draw_tokens(
    text: str, chars: list[str], state: dict[str, object], tokens: list[str], per_row: int = 20
) -> tuple[Figure, str]:
    """The `tokens` of `text` as boxes with their ids, and the alt text."""
    import matplotlib as mpl

    ids = state["ids"][: len(tokens)]
    rows = max(1, -(-len(tokens) // per_row))
    columns = min(per_row, max(10, len(tokens)))  # a short text in large boxes
    scale = per_row / columns
    with style():
        figure, (axes,) = new_figure(WIDEST, 0.6 + 0.75 * scale * rows)
        for i, (char, token_id) in enumerate(zip(tokens, ids, strict=True)):
            x, y = i % per_row, i // per_row
            known = token_id != UNKNOWN
            look = {"facecolor": PALE[token_id % len(PALE)], "edgecolor": "#333333"}
            look = look if known else UNKNOWN_BOX
            axes.add_patch(mpl.patches.Rectangle((x, y), 0.92, 0.9, **look))
            ink = {"color": "#1a1a1a", "ha": "center", "va": "center"}
            number = str(token_id) if known else "?"
            size = 17 * scale / max(1.0, len(char) / 2)
            axes.text(x + 0.46, y + 0.3, visible(char), fontsize=size, **ink)
            axes.text(x + 0.46, y + 0.68, number, fontsize=13 * scale, **ink)
        axes.set(xlim=(-0.1, columns), ylim=(rows + 0.02, -0.1))
        axes.axis("off")
        axes.set_title("One box, one token: the character and below it its id", loc="left")
    pairs = ", ".join(
        f"{in_words(char)} {'unknown' if token_id == UNKNOWN else token_id}"
        for char, token_id in zip(tokens, ids, strict=True)
    )
    alt = (
        f"The text {text!r} as a row of coloured boxes, one for each character, with its id: "
        f"{pairs}. In all {counts_in_words(state, len(chars))}. "
        f"Round trip: {round_trip_in_words(state)}."
    )
    return figure, alt
