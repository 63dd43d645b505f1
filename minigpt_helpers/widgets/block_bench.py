"""The ablation bench of lesson 4: a GPT with parts switched off, and what becomes of it.

The sixteen models were trained in advance. `python -m minigpt_helpers.widgets.block_bench` makes
their numbers anew, in about four minutes, and writes them to `block_bench.json`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import traitlets
from matplotlib.patheffects import withStroke

from minigpt_helpers.autograd import Tensor, no_grad
from minigpt_helpers.corpora import load_corpus
from minigpt_helpers.functional import cross_entropy_loss
from minigpt_helpers.generation import generate
from minigpt_helpers.nn import MiniGPT, Module
from minigpt_helpers.optim import AdamW, cosine_schedule
from minigpt_helpers.plots import BLUE, DASHES, GREY, WIDEST, new_figure, style
from minigpt_helpers.text import CharTokenizer, get_batch, train_val_split
from minigpt_helpers.training import train
from minigpt_helpers.widgets._base import HERE, TeachingWidget, bundle, style_sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = ("residual", "norm", "positions", "mask")
RESULTS = HERE / "block_bench.json"
SIZE = dict(embed_dim=32, num_heads=2, num_layers=6, max_seq_len=32)
STEPS, BATCH_SIZE, EVERY = 800, 8, 20  # a point of a curve is the mean over EVERY steps


# ---- the models and their training --------------------------------------------------------------


class AblatedGPT(MiniGPT):
    """A `MiniGPT` that can be built without some of its parts.

    Its start is plainer than `MiniGPT`'s, so that the parts have something to do: embeddings of
    standard deviation 1, and no smaller weights in the layers that add to the residual stream.
    """

    def __init__(
        self,
        vocab_size,
        embed_dim,
        num_heads,
        num_layers,
        max_seq_len,
        *,
        residual=True,
        norm=True,
        positions=True,
        mask=True,
        rng=None,
    ):
        super().__init__(vocab_size, embed_dim, num_heads, num_layers, max_seq_len, rng=rng)
        self.residual, self.norm, self.positions, self.mask = residual, norm, positions, mask
        self.token_embedding.weight.data *= 10  # from 0.1 to 1
        self.position_embedding.weight.data *= 10
        for block in self.blocks:
            block.attention.proj.weight.data *= math.sqrt(2 * num_layers)
            block.feed_forward.contract.weight.data *= math.sqrt(2 * num_layers)

    def forward(self, ids) -> Tensor:
        return self.logits(self.stream(ids)[-1])  # (..., V)

    def stream(self, ids) -> list[Tensor]:
        """The embedding and the output of each block, `num_layers + 1` tensors `(..., D)`."""
        x = self.embed(ids) if self.positions else self.token_embedding(ids)  # (..., D)
        stream = [x]
        for block in self.blocks:
            x = self._joined(x, block.attention(self._normed(block.norm1, x), causal=self.mask))
            x = self._joined(x, block.feed_forward(self._normed(block.norm2, x)))
            stream.append(x)
        return stream

    def logits(self, x: Tensor) -> Tensor:
        """From the end of the stream `(..., D)` to logits `(..., V)`."""
        return self.head(self._normed(self.final_norm, x))

    def _normed(self, norm: Module, x: Tensor) -> Tensor:
        return norm(x) if self.norm else x

    def _joined(self, x: Tensor, result: Tensor) -> Tensor:
        return x + result if self.residual else result


def key_of(residual: bool, norm: bool, positions: bool, mask: bool) -> str:
    """The name of a model in the results: "1101" has all its parts but the positions."""
    return "".join(str(int(part)) for part in (residual, norm, positions, mask))


@cache
def _data() -> tuple[CharTokenizer, np.ndarray, np.ndarray]:
    text = load_corpus("verse")
    tokenizer = CharTokenizer.from_text(text)
    return tokenizer, *train_val_split(tokenizer.encode(text))


def new_model(**parts: bool) -> tuple[AblatedGPT, np.random.Generator]:
    """An untrained model; all sixteen start with the same weights and see the same batches."""
    rng = np.random.default_rng(0)
    return AblatedGPT(_data()[0].vocab_size, **SIZE, **parts, rng=rng), rng


def measure_start(**parts: bool) -> dict[str, object]:
    """Before training, on one batch: `activations` (root mean square of the stream, embedding
    first), `own_share` (how much of its square differs from position to position), `gradients`
    (norm of the gradient of each block's parameters) and `start_loss`."""
    model, _ = new_model(**parts)
    x, y = get_batch(_data()[1], model.max_seq_len, 16, np.random.default_rng(1))  # (B, T)
    stream = model.stream(x)
    loss = cross_entropy_loss(model.logits(stream[-1]), y)
    loss.backward()
    squares = [sum(np.sum(p.grad**2) for p in block.parameters()) for block in model.blocks]
    return {
        "activations": [_rounded(np.sqrt(np.mean(h.data**2))) for h in stream],
        "own_share": [own_share(h.data) for h in stream],
        "gradients": [_rounded(np.sqrt(square)) for square in squares],
        "start_loss": _rounded(loss.item()),
    }


def own_share(x: np.ndarray) -> float:
    """How much of `x` `(B, T, D)` belongs to single positions: the mean square of what is left
    when the mean over all positions is taken away, by the mean square of all."""
    own = x - x.mean(axis=1, keepdims=True)
    return round(float(np.mean(own**2) / np.mean(x**2)), 4)


def train_variant(steps: int = STEPS, **parts: bool) -> dict[str, object]:
    """`measure_start`, then training: `curve` (the mean training loss of every `EVERY` steps),
    `train_loss` (the curve's end), `writing_loss` and a `sample` of what the model writes."""
    tokenizer, train_data, val_data = _data()
    model, rng = new_model(**parts)
    history = train(
        model,
        train_data,
        steps=steps,
        batch_size=BATCH_SIZE,
        rng=rng,
        optimizer=AdamW(model.parameters(), betas=(0.9, 0.99)),
        lr=cosine_schedule(1e-2, STEPS, warmup_steps=50, min_lr=1e-3),
    )
    curve = np.reshape(history.train_loss, (-1, EVERY)).mean(axis=1)
    ids = generate(
        model, tokenizer.encode("the "), 120, rng=np.random.default_rng(4), use_cache=False
    )
    return measure_start(**parts) | {
        "curve": [_rounded(loss) for loss in curve],
        "train_loss": _rounded(curve[-1]),
        "writing_loss": _rounded(writing_loss(model, val_data)),
        "sample": tokenizer.decode(ids),
    }


def writing_loss(model: AblatedGPT, data: np.ndarray, windows: int = 64) -> float:
    """The loss on new text as it is while writing: each character is asked for when only those
    before it are there. With the causal mask this is the ordinary loss."""
    size = model.max_seq_len
    starts = np.linspace(0, len(data) - size - 1, windows).astype(int)
    text = data[starts[:, None] + np.arange(size + 1)]  # (B, T + 1)
    losses = []
    with no_grad():
        for t in range(1, size + 1):
            last = model(text[:, :t])[:, -1]  # (B, V)
            losses.append(cross_entropy_loss(last, text[:, t]).item())
    return float(np.mean(losses))


def _rounded(x: float) -> float:
    return float(f"{x:.4g}")


def make_results() -> dict[str, object]:
    """All sixteen models, and two losses to compare with: of a uniform guess, and of a guess that
    knows how frequent each character is and nothing else."""
    tokenizer, train_data, _ = _data()
    shares = np.bincount(train_data) / len(train_data)
    variants = {}
    for values in product([True, False], repeat=len(PARTS)):
        variants[key_of(*values)] = train_variant(**dict(zip(PARTS, values)))
        print(key_of(*values), variants[key_of(*values)], flush=True)
    return {
        "every": EVERY,
        "uniform_loss": _rounded(math.log(tokenizer.vocab_size)),
        "frequency_loss": _rounded(-np.sum(shares * np.log(shares))),
        "variants": variants,
    }


# ---- the bench ----------------------------------------------------------------------------------


@cache
def load_results() -> dict[str, object]:
    """What `make_results` wrote: it is shipped, so that nobody has to wait for it."""
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def bench_state(
    results: Mapping,
    residual: bool = True,
    norm: bool = True,
    positions: bool = True,
    mask: bool = True,
) -> dict[str, object]:
    """What the bench shows of the model with these parts, from `results` as `make_results` gives.

    Returns the model's own numbers (see `measure_start` and `train_variant`), with `growth`, the
    stream's size after the last block by that of the embedding; `slope`, the gradient of the first
    block by that of the last; and `whole`, the numbers of the model that has all its parts.
    """
    variant = results["variants"][key_of(residual, norm, positions, mask)]
    return variant | {
        "growth": variant["activations"][-1] / variant["activations"][0],
        "slope": variant["gradients"][0] / variant["gradients"][-1],
        "whole": results["variants"]["1111"],
    }


def short(x: float) -> str:
    """A number in few characters: "0.41", "26.0", "4200", "3e-9"."""
    if x < 0.01:
        return f"{x:.0e}".replace("e-0", "e-")
    return f"{x:.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}"


def bench_in_words(state: Mapping, parts: Mapping[str, bool]) -> str:
    """The state in two sentences."""
    missing = [name for name in PARTS if not parts[name]]
    head = "Without " + ", ".join(missing) if missing else "The whole model"
    return (
        f"{head}: before training the stream ends {short(state['growth'])} times as large as it began, "
        f"and the first block's gradient is {short(state['slope'])} times the last's. After training the "
        f"loss is {state['train_loss']:.2f}, and {state['writing_loss']:.2f} while writing."
    )


def bench_axes(results: Mapping) -> dict[str, list[float]]:
    """The ends of the axes, the same for all models: whole powers of ten around all sizes and all
    gradients. Losses above the last are drawn on the edge."""
    axes = {}
    for name in ("activations", "gradients"):
        logs = [math.log10(x) for v in results["variants"].values() for x in v[name]]
        axes[name] = [10.0 ** math.floor(min(logs)), 10.0 ** math.ceil(max(logs))]
    return axes | {"curve": [0.0, 5.0]}


class BlockBench(TeachingWidget):
    """A GPT with its residual stream, layer norm, positions or mask switched off.

    Shows the size of the stream at each layer and the gradient of each block before training, the
    loss while training, and what the trained model writes, beside the model that has all its
    parts. The traits `residual`, `norm`, `positions` and `mask` can be read and set from Python.
    """

    _esm = bundle("block_bench.js")
    _css = style_sheet("BlockBench", "_chart.css", "block_bench.css")

    residual = traitlets.Bool(True).tag(sync=True)
    norm = traitlets.Bool(True).tag(sync=True)
    positions = traitlets.Bool(True).tag(sync=True)
    mask = traitlets.Bool(True).tag(sync=True)
    results = traitlets.Dict().tag(sync=True, computed=True)
    axes = traitlets.Dict().tag(sync=True, computed=True)

    def __init__(self, *, residual=True, norm=True, positions=True, mask=True):
        results = load_results()
        super().__init__(
            residual=residual,
            norm=norm,
            positions=positions,
            mask=mask,
            results=results,
            axes=bench_axes(results),
        )

    def parts(self) -> dict[str, bool]:
        """Which parts the model has now."""
        return {name: getattr(self, name) for name in PARTS}

    def state(self) -> dict[str, object]:
        """What the widget shows now: `bench_state` of its parts."""
        return bench_state(self.results, **self.parts())

    def still(self) -> tuple[Figure, str]:
        state = self.state()
        figure, axes = new_figure(WIDEST, 4.2, columns=3)
        with style():
            for ax, (name, title, xlabel, ylabel) in zip(axes, CHARTS):
                own, whole = state[name], state["whole"][name]
                steps = self.results["every"] if name == "curve" else 1
                first = 0 if name == "activations" else 1
                x = steps * np.arange(first, first + len(own))
                look = {"marker": None if name == "curve" else "o"}
                ax.plot(x, whole, color=GREY, linestyle=DASHES[1], label="whole model", **look)
                ax.plot(x, own, color=BLUE, label="these parts", **look)
                ax.set(title=title, xlabel=xlabel, ylabel=ylabel, ylim=self.axes[name])
                ax.set_yscale("linear" if name == "curve" else "log")
                ax.grid(axis="y", color="#e3e3e3")
            for name, words in LEVELS.items():
                ax.axhline(self.results[name], color=GREY, linestyle=DASHES[3], linewidth=1.6)
                ax.text(STEPS, self.results[name] + 0.06, words, ha="right", path_effects=HALO)
            axes[0].legend()
        return figure, (
            "Three charts: size of the stream at each layer, gradient of each block, loss during "
            f"training. {bench_in_words(state, self.parts())}"
        )


HALO = [withStroke(linewidth=4, foreground="white")]  # words stay readable where a line crosses
LEVELS = {"uniform_loss": "uniform guess", "frequency_loss": "letter frequencies"}
CHARTS = [  # what is drawn, its title, its axes
    ("activations", "size of the stream", "layer (0: embedding)", "root mean square"),
    ("gradients", "gradient of each block", "block", "norm of the gradient"),
    ("curve", "loss during training", "training step", "loss (nats per character)"),
]


if __name__ == "__main__":
    text = json.dumps(make_results(), indent=1)
    text = re.sub(
        r'\[[^]["]*\]', lambda numbers: " ".join(numbers[0].split()), text
    )  # a list a line
    RESULTS.write_text(text + "\n", encoding="utf-8")
