"""The training dashboard of lesson 5: loss curves that grow while the model learns.

Two ways to train, with the same steps and the same numbers:

- ``run()`` trains inside the cell that calls it, and the cell ends when training ends. Not every
  page reaches a kernel whose cell is running; where it does (JupyterLab and Notebook 7 with
  ipykernel 7), *Pause*, *Resume* and *Stop* work, elsewhere the notebook's own stop button does.
- ``start()``, or the button in the page, trains in a thread of its own. The kernel stays free, so
  the buttons in the page work everywhere, and so do other cells.

A cell that is run again makes a new dashboard: it stops the run of the old one.
"""

from __future__ import annotations

import contextvars
import math
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import traitlets
from IPython import get_ipython

from minigpt_helpers.generation import generate
from minigpt_helpers.optim import AdamW
from minigpt_helpers.plots import curves, loss_curve, smooth
from minigpt_helpers.training import History, TrainingState, train
from minigpt_helpers.validation import check_rng
from minigpt_helpers.widgets._base import TeachingWidget, bundle, check_model, style_sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_POINTS = 300  # a curve has fewer pixels than a long run has steps
SECONDS_BETWEEN_PICTURES = 0.15
SECONDS_TO_STOP = 10  # how long to wait for the end of a step
SAMPLE_SEED = 5


def dashboard_state(
    history: History, last_step: int, references: Mapping[str, float]
) -> dict[str, object]:
    """What the dashboard draws, from what was measured: plain numbers.

    Returns three curves as lists of ``[step, loss]``: ``train`` (every step, or ``MOST_POINTS`` of
    them, evenly spread), ``smooth`` (at each of these steps the mean over it and those before it, a
    twentieth of the run) and ``val``; and the axes, ``steps`` and ``losses``, each ``[from, to]``.
    The loss axis starts at 0, which no loss goes below, and its end leaves room for the first
    losses and for all ``references``.
    """
    count = len(history.steps)
    chosen = np.linspace(0, count - 1, min(count, MOST_POINTS)).astype(int)
    smoothed = smooth(history.train_loss) if count else np.zeros(0)
    highest = [*references.values(), *history.train_loss[:1], *history.val_loss[:1]]
    first = history.steps[0] - 1 if count else 0
    return {
        "train": [[history.steps[i], history.train_loss[i]] for i in chosen],
        "smooth": [[history.steps[i], float(smoothed[i])] for i in chosen],
        "val": [list(pair) for pair in zip(history.val_steps, history.val_loss, strict=True)],
        "steps": [first, max(last_step, first + 1)],
        "losses": [0.0, math.ceil(10.5 * max(highest, default=1.0)) / 10],
    }


def running_cell() -> str | None:
    """The name that the front end gives to the cell that is running; None where it gives none."""
    message = getattr(get_ipython(), "parent_header", None) or {}
    return message.get("metadata", {}).get("cellId")


def _check_references(references: Mapping[str, float]) -> dict[str, float]:
    """A name and a loss for each line; anything else is a `ValueError`."""
    lines = references.items() if isinstance(references, Mapping) else []
    if not lines or not all(isinstance(x, Real) and math.isfinite(x) for _, x in lines):
        raise ValueError(
            f"references is {references!r:.80}; give names and losses, such as {{'bigram': 2.2}}"
        )
    return {str(name): float(loss) for name, loss in lines}


class TrainingDashboard(TeachingWidget):
    """Progress, time left, live losses and samples of a training run; pause, resume and stop.

    ``TrainingDashboard(model, data, val_data=..., tokenizer=..., steps=1000)`` shows it. Then
    ``run()``, ``start()`` or its button trains ``model`` for ``steps`` steps, with the optimizer
    and the ``train_options`` of ``train`` (``lr``, ``batch_size``, ``rng``, ``callbacks``, ...).
    Stopped or interrupted in whatever way, the model keeps what it has learnt, and the next run
    goes on from there; after the last step the button adds ``steps`` more. An interrupt also stops
    Run All, as with ``train``.

    ``history`` holds all steps so far, ``samples`` pairs of step and text:
    with a ``tokenizer`` one is written before the first step, every ``sample_every`` steps and
    after the last, always from the same ``prompt`` and the same seed. ``references`` are
    horizontal lines, ``{"bigram": 2.2}``; without any there is the uniform guess, ``ln V``.

    A background run of an older dashboard is stopped by a new one for the same model, or from the
    same notebook cell.
    """

    _made: ClassVar[weakref.WeakSet[TrainingDashboard]] = weakref.WeakSet()
    _way: contextvars.Context | None = None  # the context in which the page last spoke
    _esm = bundle("training_dashboard.js")
    _css = style_sheet("TrainingDashboard", "_chart.css", "training_dashboard.css")

    status = traitlets.Unicode("ready").tag(
        sync=True, computed=True
    )  # running, paused, stopped, done, failed
    in_cell = traitlets.Bool(False).tag(sync=True, computed=True)  # a cell is training
    reachable = traitlets.Bool(False).tag(
        sync=True, computed=True
    )  # and the page can reach us all the same
    step = traitlets.Int(0).tag(sync=True)
    first_step = traitlets.Int(0).tag(sync=True)
    last_step = traitlets.Int(0).tag(sync=True)
    seconds_a_step = traitlets.Float(0.0).tag(sync=True, computed=True)
    references = traitlets.Dict().tag(sync=True)
    samples = traitlets.List().tag(sync=True, computed=True)
    state = traitlets.Dict().tag(sync=True, computed=True)

    def __init__(
        self,
        model,
        data: Sequence[int] | np.ndarray,
        *,
        val_data=None,
        tokenizer=None,
        steps: int = 1000,
        references: Mapping[str, float] | None = None,
        optimizer=None,
        rng: np.random.Generator | None = None,
        callbacks: Sequence = (),
        sample_every: int = 100,
        sample_length: int = 120,
        prompt: str = "\n",
        **train_options,
    ):
        for name, value in [("steps", steps), ("sample_every", sample_every)]:
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
        if tokenizer is not None:
            check_model(model, tokenizer)
        if not hasattr(model, "parameters"):
            raise ValueError(f"the model is {model!r:.60}; give a MiniGPT, or a Module like it")
        self.model, self.history, self._more = model, History(), int(steps)
        self.optimizer = AdamW(model.parameters()) if optimizer is None else optimizer
        self._data, self._tokenizer = data, tokenizer
        self._prompt = None if tokenizer is None else tokenizer.encode(prompt)
        self._sample_every, self._sample_length = sample_every, sample_length
        self._options = dict(train_options, val_data=val_data, rng=check_rng(rng))
        self._callbacks = [self._after_step, *callbacks]
        self._thread: threading.Thread | None = None
        self._busy = threading.Lock()
        self._stop = threading.Event()
        self._go_on = threading.Event()
        self._cell = running_cell()
        self._stop_older_runs()
        done = self.optimizer.num_steps
        super().__init__(
            step=done,
            first_step=done,
            last_step=done + steps,
            references=_check_references(
                references or {"uniform guess": math.log(model.vocab_size)}
            ),
        )
        self.state = dashboard_state(self.history, self.last_step, self.references)
        self.on_msg(self._on_click)
        self._made.add(self)

    def _stop_older_runs(self) -> None:
        for older in list(self._made):
            same_cell = self._cell is not None and older._cell == self._cell
            if (same_cell or older.model is self.model) and not older.wait(0):
                older.stop()
                older.wait(SECONDS_TO_STOP)

    # ---- what the reader calls ------------------------------------------------------------------

    def run(self, steps: int | None = None) -> History:
        """Train in this cell: the steps that are left, or ``steps`` more; returns all so far.

        The notebook's stop button, or *Stop*, ends it early and loses nothing. A run that diverges raises
        ``DivergenceError``; a second run while one is under way is a ``ValueError``.
        """
        self._claim(steps)
        self.reachable, self.in_cell = False, True
        try:
            self._train()
        finally:
            self.in_cell = False
        return self.history

    def start(self, steps: int | None = None) -> None:
        """The same in a thread of its own; returns at once. ``pause()``, ``resume()``, ``stop()``.

        Where Python has no threads (in a browser) it returns when the run is over.
        """
        self._claim(steps)
        thread = threading.Thread(target=self._train_quietly, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._train_quietly()
        else:
            self._thread = thread

    def pause(self) -> None:
        """Hold a run after the present step."""
        self._go_on.clear()

    def resume(self) -> None:
        """Go on after ``pause()``."""
        self._go_on.set()

    def stop(self) -> None:
        """End a run after the present step; the model keeps what it has learnt."""
        self._stop.set()
        self._go_on.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until a run begun by ``start()`` has ended; False if ``seconds`` were not enough."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._thread is None or not self._thread.is_alive()

    def recording(self) -> dict[str, object]:
        """The whole run as plain numbers, from which a page without a kernel can replay it; what is
        left of it is done first."""
        while self.optimizer.num_steps < self.last_step:
            self.run()
        history = self.history
        return {
            "history": {
                "steps": history.steps,
                "train_loss": [round(x, 5) for x in history.train_loss],
                "val_steps": history.val_steps,
                "val_loss": [round(x, 5) for x in history.val_loss],
            },
            "samples": self.samples,
            "seconds_a_step": float(f"{self.seconds_a_step:.3g}"),
        }

    # ---- a run ----------------------------------------------------------------------------------

    def _claim(self, steps: int | None) -> None:
        """Only one run at a time: takes the lock that ``_train`` gives back."""
        if steps is not None and (not isinstance(steps, (int, np.integer)) or steps < 1):
            raise ValueError(f"steps must be a whole number of at least 1, not {steps!r}")
        if not self._busy.acquire(blocking=False):
            raise ValueError("this dashboard is training already: stop() that run, or wait for it")
        if steps is not None:
            self.last_step = self.optimizer.num_steps + int(steps)
        self.problem, self.note = "", ""
        self._stop.clear()
        self._go_on.set()

    def _train_quietly(self) -> None:
        try:
            self._train()
        except Exception as error:
            self.problem = f"{type(error).__name__}: {error}"

    def _train(self) -> None:
        try:
            self.status = "running"
            if not self.history.steps:
                self._write_sample(self.optimizer.num_steps)
            self._timed_from = self.optimizer.num_steps
            self._started = self._shown = time.monotonic()
            train(
                self.model,
                self._data,
                steps=self.last_step - self.optimizer.num_steps,
                optimizer=self.optimizer,
                callbacks=self._callbacks,
                **self._options,
            )
            self._ended("done" if self.optimizer.num_steps >= self.last_step else "stopped")
        except KeyboardInterrupt:
            self._ended("stopped")
            raise
        except BaseException:
            self._ended("failed")
            raise
        finally:
            self._busy.release()

    def _ended(self, status: str) -> None:
        if self.history.steps:
            self._show()
        self.status = status

    def _after_step(self, run: TrainingState) -> None:
        history = self.history
        history.steps.append(run.step)
        history.train_loss.append(run.train_loss)
        for step, loss in zip(run.history.val_steps, run.history.val_loss, strict=True):
            if not history.val_steps or step > history.val_steps[-1]:  # not measured before
                history.val_steps.append(step)
                history.val_loss.append(loss)
        if run.step % self._sample_every == 0 or run.step == run.last_step:
            self._write_sample(run.step)
        if time.monotonic() - self._shown > SECONDS_BETWEEN_PICTURES:
            self._show()
        if not self._go_on.is_set():
            self._hold()
        if self._stop.is_set():
            run.stop()

    def _hold(self) -> None:
        """Waits for ``resume()`` or ``stop()``; the time does not count."""
        paused = time.monotonic()
        self._show()
        self.status = "paused"
        while not self._go_on.wait(0.1):  # short, so that an interrupt is heard on every system
            pass
        self.status = "running"
        self._started += time.monotonic() - paused

    def _write_sample(self, step: int) -> None:
        if self._tokenizer is not None:
            rng = np.random.default_rng(
                SAMPLE_SEED
            )  # the same luck each time: only the model differs
            ids = generate(self.model, self._prompt, self._sample_length, rng=rng)
            text = self._tokenizer.decode(ids[len(self._prompt) :])
            self.samples = [*self.samples, [step, text]]

    def _show(self) -> None:
        self._shown = time.monotonic()
        step = self.history.steps[-1]
        with self.hold_sync():
            self.step = step
            self.seconds_a_step = (self._shown - self._started) / max(1, step - self._timed_from)
            self.state = dashboard_state(self.history, self.last_step, self.references)

    def _on_click(self, _widget, message: dict, _buffers) -> None:
        """What the page sends. Clicks that no longer fit (the run just ended) do nothing."""
        self._way = contextvars.copy_context()
        command = message.get("command") if isinstance(message, dict) else None
        if command == "knock" and self.in_cell:
            self.reachable = True  # heard while the cell is running
        elif command == "start" and not self._busy.locked():
            self.start(None if self.step < self.last_step else self._more)
        elif command in ("pause", "resume", "stop") and self._busy.locked():
            getattr(self, command)()

    def send_state(self, key=None) -> None:
        """Sends traits to the page, the way that its last message came.

        ipykernel handles what the page says next in the thread that spoke to it last. That must
        not be the one that is busy with a training cell, or nobody hears *Stop*.
        """
        send = super().send_state
        if self._way is None:
            send(key)
        else:
            self._way.copy().run(send, key)

    def still(self) -> tuple[Figure, str]:
        """The losses so far; before the first step the empty axes with the reference lines."""
        names = ", ".join(f"{name} {loss:.2f}" for name, loss in self.references.items())
        labels = {"title": "Loss during training"}
        history = self.history
        if history.steps:
            figure = loss_curve(history, self.references, **labels)
            val = f"; validation ends at {history.val_loss[-1]:.2f}" if history.val_loss else ""
            seen = (
                f"after {self.step} steps the training loss is {smooth(history.train_loss)[-1]:.2f}"
            )
            return (
                figure,
                f"Loss in nats per character against the training step: {seen}{val}. {names}.",
            )
        labels |= {"xlabel": "training step", "ylabel": "loss (nats per character)"}
        figure = curves({}, reference_lines=self.references, **labels)
        figure.axes[0].set(xlim=self.state["steps"], ylim=self.state["losses"])
        return figure, (
            f"A training dashboard before its first step: empty axes for the loss over "
            f"{self.last_step - self.first_step} steps, with horizontal lines: {names}."
        )
