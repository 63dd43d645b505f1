"""The temperature explorer of lesson 6: the next character's distribution, live."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import traitlets

from minigpt_helpers.autograd import no_grad
from minigpt_helpers.generation import next_token_probs
from minigpt_helpers.plots import bars
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

COLUMNS = 16
MANY, WRITTEN = 1000, 20  # draws that are counted; characters that "write on" appends
TOPS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)  # where the axis of the bars may end


def temperature_state(
    logits: np.ndarray, temperature: float, top_k: int | None = None, top_p: float = 1.0
) -> dict[str, object]:
    """What sampling sees at one position, from its `logits` (V,).

    Returns `probs` (V,), the distribution of the next token as `generate` uses it; `entropy`, its
    entropy in nats; `greedy`, the id that a temperature of 0 would take; `order`, all ids from the
    largest logit to the smallest, equal ones by id.
    """
    logits = np.asarray(logits, dtype=np.float64)
    probs = next_token_probs(logits, temperature, top_k, top_p)
    possible = probs[probs > 0]
    order = np.argsort(-logits, kind="stable")
    return {
        "probs": probs,
        "entropy": float(-(possible * np.log(possible)).sum()) + 0.0,
        "greedy": int(order[0]),
        "order": order,
    }


def columns(order: np.ndarray, most: int = COLUMNS) -> tuple[list[int], list[int]]:
    """Split the ids in `order`: those with a bar of their own, and the others that share one."""
    order = [int(token) for token in order]
    return (order, []) if len(order) <= most else (order[: most - 1], order[most - 1 :])


def axis_top(tallest: float) -> float:
    """Where the axis of the bars ends: little above the tallest of them, at most 1."""
    return next(top for top in TOPS if tallest <= top + 1e-9)


class TemperatureExplorer(TeachingWidget):
    """The live distribution of the next character after a prompt.

    The bars stand in the order of the logits, which no temperature changes. Draws come from a
    `numpy.random.Generator` that starts at `seed`, so the same clicks give the same characters.
    The traits `prompt`, `temperature`, `top_k`, `top_p` and `bar` (the selected bar) can be read and
    set from Python; a value out of range is a `ValueError`. `draw_one()`, `write_on()`,
    `draw_many()` and `reset()` do what the buttons do.
    """

    _esm = bundle("temperature.js")
    _css = style_sheet("TemperatureExplorer", "temperature.css")

    prompt = traitlets.Unicode().tag(sync=True)
    temperature = Number(0.0, 3.0, 1.0).tag(sync=True)
    top_k = traitlets.Int(1).tag(sync=True)
    top_p = Number(0.01, 1.0, 1.0).tag(sync=True)
    bar = traitlets.Int(0).tag(sync=True)

    # what the kernel works out from them
    chars = traitlets.List(traitlets.Unicode()).tag(sync=True)
    max_seq_len = traitlets.Int(1).tag(sync=True, computed=True)
    logits = traitlets.Bytes().tag(sync=True, computed=True)  # (V,) float64
    counts = traitlets.List(traitlets.Int()).tag(
        sync=True, computed=True
    )  # (V,) of the draws, or empty

    def __init__(self, model, tokenizer, prompt: str = "the ", *, seed: int = 0):
        check_model(model, tokenizer)
        self._model, self._tokenizer, self._seed = model, tokenizer, check_seed(seed)
        self._start = prompt
        self._rng = np.random.default_rng(seed)
        super().__init__(
            chars=list(tokenizer.chars),
            max_seq_len=model.max_seq_len,
            top_k=tokenizer.vocab_size,
            prompt=prompt,
        )
        self.on_msg(lambda _widget, content, _buffers: self._clicked(content["button"]))

    @traitlets.observe("prompt")
    def _compute_logits(self, _change: dict) -> None:
        used, problem, note = check_text(
            self.prompt, known=self.chars, limit=self.max_seq_len, keep="last"
        )
        with self.hold_sync():
            self.problem, self.note = problem, note
            if problem:
                return
            with no_grad():
                logits = self._model(self._tokenizer.encode(used)).data[-1]  # (V,)
            self.logits = np.asarray(logits, dtype=np.float64).tobytes()

    @traitlets.observe("prompt", "temperature", "top_k", "top_p")
    def _forget_counts(self, _change: dict) -> None:
        self.counts = []

    @traitlets.validate("top_k")
    def _check_top_k(self, proposal: dict) -> int:
        return in_range("top_k", proposal.value, 1, len(self.chars))

    @traitlets.validate("bar")
    def _check_bar(self, proposal: dict) -> int:
        return in_range("bar", proposal.value, 0, min(COLUMNS, len(self.chars)) - 1)

    def _clicked(self, button: str) -> None:
        {
            "draw-one": self.draw_one,
            "write-on": self.write_on,
            "draw-many": self.draw_many,
            "reset": self.reset,
        }[button]()

    def draw_one(self) -> None:
        """Draw the next character from the present distribution and append it to the prompt."""
        if not self.problem:
            token = self._rng.choice(len(self.chars), p=self.state()["probs"])
            self.prompt += self._tokenizer.decode([int(token)])

    def write_on(self) -> None:
        """Draw 20 characters, one after the other, and append each to the prompt."""
        with self.hold_sync():
            for _ in range(WRITTEN):
                self.draw_one()

    def draw_many(self) -> None:
        """Draw 1,000 next characters, append none, and count how often each came."""
        if not self.problem:
            self.counts = self._rng.multinomial(MANY, self.state()["probs"]).tolist()

    def reset(self) -> None:
        """Back to the first prompt, temperature 1, all characters, and the generator's start."""
        self._rng = np.random.default_rng(self._seed)
        self.prompt, self.temperature, self.top_k = self._start, 1.0, len(self.chars)
        self.top_p, self.bar, self.counts = 1.0, 0, []

    def state(self) -> dict[str, object]:
        """What the widget shows now: `temperature_state` of the prompt's logits."""
        logits = np.frombuffer(self.logits)
        return temperature_state(logits, self.temperature, self.top_k, self.top_p)

    def still(self) -> tuple[Figure, str]:
        """The bars in their present state, and the same in words."""
        state = self.state()
        single, others = columns(state["order"])
        values = [float(state["probs"][token]) for token in single]
        labels = [self.chars[token] for token in single]
        if others:
            labels, values = [*labels, "rest"], [*values, float(state["probs"][others].sum())]
        prompt = repr(self.prompt)
        seen = prompt if len(prompt) <= 40 else f"…{prompt[-40:]}"  # what fits over the bars
        figure = bars(
            labels,
            values,
            highlight=0,
            title=f"next character after {seen}",
            xlabel="character, in the order of the logits",
            ylabel="probability",
        )
        figure.axes[0].set_ylim(0, axis_top(max(values)))
        first, *second = (f"{in_words(c)} {p:.2f}" for c, p in zip(labels[:2], values[:2]))
        most_likely = (
            f"two most likely are {first} and {second[0]}" if second else f"only one is {first}"
        )
        alt = (
            f"Bars: the probability of the next character after {prompt} at temperature "
            f"{self.temperature:g}. The {most_likely}; "
            f"the entropy is {state['entropy']:.2f} nats."
        )
        return figure, alt
