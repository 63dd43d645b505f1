"""The training loop (lesson 5) and what it measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from minigpt_helpers.autograd import no_grad
from minigpt_helpers.functional import cross_entropy_loss
from minigpt_helpers.machine import give_freed_memory_back
from minigpt_helpers.optim import AdamW, DivergenceError, Optimizer, clip_grad_norm
from minigpt_helpers.parallel import Workers, default_workers
from minigpt_helpers.text import get_batch
from minigpt_helpers.validation import (
    check_int,
    check_model_and_data,
    check_not_negative,
    check_rng,
    check_sizes,
)


def evaluate(
    model,
    data,
    block_size: int,
    max_windows: int = 256,
    batch_size: int = 32,
    *,
    workers: int | None = None,
) -> float:
    """The mean loss over windows of ``data`` ``(N,)``, in nats per token; nothing is random.

    The windows follow one another and cover all of the data; where there are more than
    ``max_windows``, that many of them, evenly spread. ``workers`` threads share the batches, with
    the same result; by default as many as ``train`` would use.
    """
    block_size, max_windows, batch_size = check_sizes(
        block_size=block_size, max_windows=max_windows, batch_size=batch_size
    )
    data = check_model_and_data(model, data)
    workers = default_workers(model, batch_size * block_size) if workers is None else workers
    with Workers(workers) as team:
        return _evaluate(model, data, block_size, max_windows, batch_size, team)


def _evaluate(model, data, block_size, max_windows, batch_size, team: Workers) -> float:
    if len(data) < block_size + 1:
        raise ValueError(f"{len(data)} tokens are too few for a block_size of {block_size}")
    starts = np.arange(0, len(data) - block_size, block_size)
    if len(starts) > max_windows:
        starts = starts[np.linspace(0, len(starts) - 1, max_windows).astype(int)]

    def total(i: int) -> float:
        batch = starts[i : i + batch_size]
        windows = data[batch[:, None] + np.arange(block_size + 1)]  # (B, T + 1)
        with no_grad():
            loss = cross_entropy_loss(model(windows[:, :-1]), windows[:, 1:])
        return loss.item() * len(batch)

    return sum(team.map(total, range(0, len(starts), batch_size))) / len(starts)


@dataclass
class History:
    """What a training run measured: ``train_loss`` of each of ``steps``, and ``val_loss`` at each
    of ``val_steps`` (the first before the first step). Losses are in nats per token.
    """

    steps: list[int] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    val_steps: list[int] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)

    def __repr__(self) -> str:
        if not self.steps:
            return "History(no steps yet)"
        val = f", validation loss {self.val_loss[-1]:.4f}" if self.val_loss else ""
        return f"History({self.steps[-1]} steps, training loss {self.train_loss[-1]:.4f}{val})"


@dataclass
class TrainingState:
    """The argument of a callback, after each step. ``stop()`` ends the run after it."""

    step: int
    last_step: int
    train_loss: float
    val_loss: float | None
    lr: float
    model: object
    history: History
    stopped: bool = False

    def stop(self) -> None:
        self.stopped = True


class TrainingInterrupted(KeyboardInterrupt):
    """The stop button or Ctrl-C ended ``train``. ``history`` has the steps that were done."""

    def __init__(self, message: str, history: History):
        super().__init__(message)
        self.history = history


def train(
    model,
    data: Sequence[int] | np.ndarray,
    *,
    val_data: Sequence[int] | np.ndarray | None = None,
    steps: int = 1000,
    batch_size: int = 16,
    block_size: int | None = None,
    optimizer: Optimizer | None = None,
    lr: float | Callable[[int], float] | None = None,
    rng: np.random.Generator | None = None,
    callbacks: Sequence[Callable[[TrainingState], object]] = (),
    grad_clip: float = 1.0,
    eval_every: int = 100,
    workers: int | None = None,
    return_on_interrupt: bool = False,
) -> History:
    """Trains ``model`` on random windows of ``data`` ``(N,)`` and returns what it measured.

    ``block_size`` is the model's ``max_seq_len`` unless given; ``optimizer`` is ``AdamW`` unless
    given. ``lr`` is a number, or a schedule that gives the rate of each step (``cosine_schedule``),
    or ``None`` for the optimizer's own. Called again with the same optimizer it goes on: steps
    are counted from ``optimizer.num_steps``. ``val_data`` is evaluated before the first step,
    every ``eval_every`` steps, and after the last. Each callback gets a ``TrainingState`` after
    every step. Gradients are clipped to a norm of ``grad_clip`` (``math.inf``: never).

    Interrupted (the stop button, Ctrl-C) it keeps what the model has learnt, and raises
    ``TrainingInterrupted``, a ``KeyboardInterrupt``: cells after it are not run with a model that
    is not ready. With ``return_on_interrupt`` it says so, and returns the history so far. A loss
    that is not finite raises ``DivergenceError`` with advice; the model keeps its last finite
    parameters. Data too short: ``ValueError``.

    ``workers`` threads share each batch (``parallel.Workers``): the gradients are the same up to
    rounding. By default it is one thread where a step is small, more where that pays
    (``parallel.default_workers``). BLAS works with one thread for each meanwhile.
    """
    data = check_model_and_data(model, data)
    val_data = None if val_data is None else check_model_and_data(model, val_data)
    if not hasattr(model, "parameters"):
        raise ValueError(f"a model to train has parameters(): {model!r:.80} has none")
    steps = check_int("steps", steps, least=0)
    if not isinstance(callbacks, (list, tuple)) or not all(map(callable, callbacks)):
        raise ValueError(f"callbacks must be a list of functions, [show], not {callbacks!r:.80}")
    block_size = model.max_seq_len if block_size is None else block_size
    block_size, batch_size, eval_every = check_sizes(
        block_size=block_size, batch_size=batch_size, eval_every=eval_every
    )
    rng = check_rng(rng)
    optimizer = AdamW(model.parameters()) if optimizer is None else optimizer
    if not {id(p) for p in getattr(optimizer, "params", ())} & {id(p) for p in model.parameters()}:
        raise ValueError("the optimizer holds no parameter of this model: make one for it")
    schedule = lr if callable(lr) else lambda step, own=optimizer.lr: own if lr is None else lr
    workers = default_workers(model, batch_size * block_size) if workers is None else workers
    history = History()
    first, last = optimizer.num_steps + 1, optimizer.num_steps + steps

    def measure(step: int) -> float | None:
        if val_data is None:
            return None
        loss = _evaluate(model, val_data, block_size, 256, 32, team)
        if not math.isfinite(loss):
            raise DivergenceError(f"at step {step} the validation loss is {loss:.4g}", optimizer.lr)
        history.val_steps.append(step)
        history.val_loss.append(loss)
        return loss

    # Numbers that overflow need no warning from numpy: a loss that is not finite ends the run.
    with Workers(workers) as team, np.errstate(all="ignore"):
        try:
            measure(first - 1)
            for step in range(first, last + 1):
                optimizer.lr = schedule(step)
                check_not_negative(lr=optimizer.lr)
                x, y = get_batch(data, block_size, batch_size, rng)  # (B, T) each
                optimizer.zero_grad()
                loss = team.backward(model, x, y)
                norm = clip_grad_norm(optimizer.params, grad_clip)
                if not (math.isfinite(loss) and math.isfinite(norm)):
                    seen = f"the loss is {loss:.4g} and the gradient's norm {norm:.4g}"
                    raise DivergenceError(f"at step {step} {seen}", optimizer.lr)
                optimizer.step()
                history.steps.append(step)
                history.train_loss.append(loss)
                val_loss = measure(step) if step % eval_every == 0 or step == last else None
                state = TrainingState(step, last, loss, val_loss, optimizer.lr, model, history)
                for callback in callbacks:
                    callback(state)
                if state.stopped:
                    break
        except DivergenceError as error:
            error.history = history
            raise
        except KeyboardInterrupt:
            message = (
                f"training was interrupted after step {optimizer.num_steps} of {last}. The model "
                "keeps what it has learnt."
            )
            if not return_on_interrupt:
                message += " To run later cells all the same: train(..., return_on_interrupt=True)."
                raise TrainingInterrupted(message, history) from None
            print(message)
        finally:
            give_freed_memory_back()
    return history
