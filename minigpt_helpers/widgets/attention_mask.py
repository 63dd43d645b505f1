"""The attention-mask explorer of lesson 3: scores, masked scores and weights beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import traitlets

from minigpt_helpers.plots import panels
from minigpt_helpers.widgets._base import (
    Number,
    TeachingWidget,
    bundle,
    check_model,
    check_seed,
    check_text,
    in_range,
    in_words,
    style_sheet,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST = 64
RANDOM_HEAD_DIM = 8


def mask_state(
    scores: np.ndarray,
    *,
    head_dim: int,
    causal: bool = True,
    scale: bool = True,
    temperature: float = 1.0,
) -> dict[str, np.ndarray]:
    """The three maps of attention, from the raw dot products `scores` (T, T) of one head.

    Row `i` belongs to the query at position `i`, column `j` to the key at position `j`.
    Returns `scores`, divided by the root of `head_dim` when `scale` is on; `masked`, the same with
    `-inf` at every future key when `causal` is on; `weights`, the softmax of each row of
    `masked / temperature`. All (T, T). Source: Vaswani and others, Attention Is All You Need, 2017.
    """
    scores = np.asarray(scores, dtype=np.float64)  # (T, T)
    if scale:
        scores = scores / np.sqrt(head_dim)
    future = np.triu(np.ones(scores.shape, dtype=bool), k=1)
    masked = np.where(future, -np.inf, scores) if causal else scores
    exps = np.exp((masked - masked.max(axis=-1, keepdims=True)) / temperature)
    return {"scores": scores, "masked": masked, "weights": exps / exps.sum(axis=-1, keepdims=True)}


def pair_in_words(
    tokens: list[str], weights: np.ndarray, row: int, column: int, causal: bool
) -> str:
    """The pair of the query at `row` and the key at `column` as a sentence with its weight."""
    query, key = f"{in_words(tokens[row])} (position {row})", in_words(tokens[column])
    if causal and column > row:
        return f"{query} cannot look at {key} (position {column}): it lies in the future, weight 0"
    return f"{query} looks at {key} (position {column}) with weight {weights[row, column]:.3f}"


def random_scores(text: str, seed: int, head_dim: int = RANDOM_HEAD_DIM) -> np.ndarray:
    """Dot products (T, T) of the queries and keys that an untrained head gives for `text`.

    Every character and every position has its own random vector, whatever stands around it, so
    typing on changes nothing that was there before.
    """

    def vector(kind: int, number: int) -> np.ndarray:
        return np.random.default_rng([seed, kind, number]).standard_normal(head_dim)

    x = np.stack([vector(0, ord(c)) + vector(1, i) for i, c in enumerate(text)])  # (T, D)
    rng = np.random.default_rng([seed, 2, 0])
    to_query, to_key = rng.standard_normal((2, head_dim, head_dim)) / np.sqrt(2 * head_dim)
    return (x @ to_query) @ (x @ to_key).T  # (T, T)


class AttentionMaskExplorer(TeachingWidget):
    """Scores, masked scores and weights of one attention head, with the tokens on the axes.

    `AttentionMaskExplorer()` uses random weights; `AttentionMaskExplorer(model, tokenizer, text)`
    those of a trained model, layer by layer and head by head. `seed` fixes the random weights.
    The traits `text`, `length`, `causal`, `scale`, `temperature`, `weights`, `layer`, `head`, `row`
    and `column` can be read and set from Python; a value out of range is a `ValueError`.
    """

    _esm = bundle("attention_mask.js")
    _css = style_sheet("AttentionMaskExplorer", "_attention.css")

    text = traitlets.Unicode().tag(sync=True)
    length = traitlets.Int(1).tag(sync=True)
    causal = traitlets.Bool(True).tag(sync=True)
    scale = traitlets.Bool(True).tag(sync=True)
    temperature = Number(0.1, 4.0, 1.0).tag(sync=True)
    weights = traitlets.Unicode().tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    head = traitlets.Int(0).tag(sync=True)
    row = traitlets.Int(0).tag(sync=True)
    column = traitlets.Int(0).tag(sync=True)

    # what the kernel works out from them
    sources = traitlets.List(traitlets.Unicode()).tag(sync=True, computed=True)
    tokens = traitlets.List(traitlets.Unicode()).tag(sync=True, computed=True)
    shape = traitlets.List(traitlets.Int(), [1, 1]).tag(sync=True, computed=True)  # layers, heads
    head_dim = traitlets.Int(1).tag(sync=True, computed=True)
    scores = traitlets.Bytes().tag(
        sync=True, computed=True
    )  # (L, H, T, T) float64, raw dot products

    def __init__(self, model=None, tokenizer=None, text: str = "the cat sat", *, seed: int = 0):
        if (model is None) != (tokenizer is None):
            raise ValueError("model and tokenizer belong together: give both of them or neither")
        if model is not None:
            check_model(model, tokenizer)
        self._model, self._tokenizer, self._seed = model, tokenizer, check_seed(seed)
        sources = ["random"] if model is None else ["trained", "random"]
        super().__init__(sources=sources, weights=sources[0], text=text)
        self.length = min(8, len(self.tokens)) or 1
        self.row = self.length - 1

    @traitlets.observe("text", "weights")
    def _compute_scores(self, _change: dict) -> None:
        trained = self.weights == "trained"
        used, problem, note = check_text(
            self.text,
            known=self._tokenizer.chars if trained else None,
            limit=min(LONGEST, self._model.max_seq_len) if trained else LONGEST,
            keep="first",
        )
        with self.hold_sync():
            self.problem, self.note = problem, note
            if problem:
                return  # the picture of the last good text stays, pale
            if trained:
                scores = self._model.attention_scores(self._tokenizer.encode(used))
                head_dim = self._model.embed_dim // self._model.num_heads
            else:
                scores = random_scores(used, self._seed)[None, None]
                head_dim = RANDOM_HEAD_DIM
            was_whole = self.length == len(self.tokens) or not self.tokens
            self.tokens = list(used)
            self.length = len(used) if was_whole else min(self.length, len(used))
            self.row, self.column = min(self.row, len(used) - 1), min(self.column, len(used) - 1)
            self.shape = list(scores.shape[:2])
            self.layer = min(self.layer, self.shape[0] - 1)
            self.head = min(self.head, self.shape[1] - 1)
            self.head_dim = head_dim
            self.scores = np.asarray(scores, dtype=np.float64).tobytes()

    @traitlets.validate("length")
    def _check_length(self, proposal: dict) -> int:
        return in_range("length", proposal.value, 1, max(1, len(self.tokens)))

    @traitlets.validate("row", "column")
    def _check_place(self, proposal: dict) -> int:
        return in_range(proposal.trait.name, proposal.value, 0, max(0, len(self.tokens) - 1))

    @traitlets.validate("layer", "head")
    def _check_layer(self, proposal: dict) -> int:
        most = self.shape[0 if proposal.trait.name == "layer" else 1] - 1
        return in_range(proposal.trait.name, proposal.value, 0, most)

    @traitlets.validate("weights")
    def _check_weights(self, proposal: dict) -> str:
        if proposal.value not in self.sources:
            raise ValueError(f"weights is {proposal.value!r}; choose one of {self.sources}")
        return proposal.value

    def state(self) -> dict[str, np.ndarray]:
        """What the widget shows now: `mask_state` of the chosen layer and head, (T, T) each."""
        count, length = len(self.tokens), self.length
        scores = np.frombuffer(self.scores).reshape(*self.shape, count, count)
        return mask_state(
            scores[self.layer, self.head, :length, :length],
            head_dim=self.head_dim,
            causal=self.causal,
            scale=self.scale,
            temperature=self.temperature,
        )

    def still(self) -> tuple[Figure, str]:
        """The three maps in their present state, and the same in words."""
        return draw_maps(self.tokens[: self.length], self.state(), self.row, self.causal)


def draw_maps(
    tokens: list[str], state: dict[str, np.ndarray], row: int, causal: bool
) -> tuple[Figure, str]:
    """The three maps of `mask_state` side by side and the alt text that describes them."""
    future = np.isinf(state["masked"])
    labels = {"row_labels": tokens, "col_labels": tokens}
    few = len(tokens) <= 8
    score_look = {**labels, "numbers": few and ".1f"}
    scores, masked = (np.round(state[name], 1) + 0.0 for name in ("scores", "masked"))
    figure = panels(
        [
            {"matrix": scores, "title": "scores", **score_look},
            {"matrix": masked, "title": "masked scores", **score_look},
            {
                "matrix": state["weights"],
                "title": "weights after softmax",
                **labels,
                "numbers": few and ".2f",
                "mask": future,
            },
        ],
        xlabel="key: the character looked at",
        ylabel="query: the one that looks",
        shared_scale=False,
        colorbars=not few,
    )
    strongest = int(np.argmax(state["weights"][row]))
    alt = (
        f"Three square maps side by side for the text {''.join(tokens)!r}: scores, masked scores, "
        "weights after softmax; a row is a query, a column a key. "
        f"{'The cells above the diagonal are masked. ' if causal else 'Nothing is masked. '}"
        f"In the last map {pair_in_words(tokens, state['weights'], row, strongest, causal)}, "
        "the largest in its row."
    )
    return figure, alt
