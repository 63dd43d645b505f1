"""The training loop (lesson 5) and what it measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from minigpt_helpers.autograd import no_grad
from minigpt_helpers.functional import cross_entropy_loss
from minigpt_helpers.machine import give_freed_memory_back
from minigpt_helpers.optim import AdamW, Optimizer, clip_grad_norm
from minigpt_helpers.parallel import Workers, default_workers
from minigpt_helpers.text import get_batch
from minigpt_helpers.validation import check_lr, check_rng, check_sizes


def evaluate(
    model, data, block_size: int, max_windows: int = 256, batch_size: int = 32, *,
    workers: int | None = None,
) -> float:
    """The mean loss over windows of ``data`` ``(N,)``, in nats per token; nothing is random.

    The windows lie one after the other and cover all of the data; where there are more than
    ``max_windows``, that many of them, evenly spread. ``workers`` threads share the batches, with
    the same result; by default as many as ``train`` would use.
    """
    check_sizes(block_size=block_size, max_windows=max_windows, batch_size=batch_size)
    if workers is None:
        workers = default_workers(model, batch_size * block_size)
    with Workers(workers) as team:
        return _evaluate(model, data, block_size, max_windows, batch_size, team)


def _evaluate(model, data, block_size, max_windows, batch_size, team: Workers) -> float:
    data = np.asarray(data)
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
    """What a callback is told after a step. ``stop()`` ends the run after it."""

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


class DivergenceError(ValueError):
    """The loss or a gradient became NaN or infinite. ``history`` holds the steps before."""

    def __init__(self, step: int, loss: float, grad_norm: float, lr: float, history: History):
        super().__init__(
            f"training diverged: at step {step} the loss is {loss:.4g} and the gradient's norm "
            f"{grad_norm:.4g}. The usual cause is a learning rate that is too high (here {lr:g}). "
            "Make a new model and try a third of it, add warm-up steps, or a smaller grad_clip."
        )
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
) -> History:
    """Trains ``model`` on random windows of ``data`` ``(N,)`` and returns what it measured.

    ``block_size`` is the model's ``max_seq_len`` unless given; ``optimizer`` is ``AdamW`` unless
    given. ``lr`` is a number, or a schedule that gives the rate of each step (``cosine_schedule``),
    or ``None`` for the optimizer's own. Called again with the same optimizer it goes on: steps
    are counted from ``optimizer.num_steps``. ``val_data`` is evaluated before the first step,
    every ``eval_every`` steps, and after the last. Each callback gets a ``TrainingState`` after
    every step. Gradients are clipped to a norm of ``grad_clip`` (``math.inf``: never).

    Interrupted (``KeyboardInterrupt``: the stop button, Ctrl-C) it keeps what the model has learnt
    and returns the history so far. A loss that is not finite raises ``DivergenceError`` with
    advice; the model keeps its last finite parameters. Data too short: ``ValueError``.

    ``workers`` threads share each batch (``parallel.Workers``): the gradients are the same up to
    rounding. By default it is one thread where a step is small, more where that pays
    (``parallel.default_workers``). BLAS works with one thread for each meanwhile.
    """
    if not isinstance(steps, (int, np.integer)) or steps < 0:
        raise ValueError(f"steps must be a whole number of at least 0, not {steps!r}")
    block_size = model.max_seq_len if block_size is None else block_size
    check_sizes(eval_every=eval_every, batch_size=batch_size, block_size=block_size)
    rng = check_rng(rng)
    optimizer = AdamW(model.parameters()) if optimizer is None else optimizer
    if not {id(p) for p in optimizer.params} & {id(p) for p in model.parameters()}:
        raise ValueError("the optimizer holds no parameter of this model: make one for it")
    if not callable(lr):
        constant = optimizer.lr if lr is None else lr
        lr = lambda step: constant  # noqa: E731
    if workers is None:
        workers = default_workers(model, batch_size * block_size)
    history = History()
    first, last = optimizer.num_steps + 1, optimizer.num_steps + steps

    def measure(step: int) -> float | None:
        if val_data is not None:
            history.val_loss.append(_evaluate(model, val_data, block_size, 256, 32, team))
            history.val_steps.append(step)
            return history.val_loss[-1]

    # Numbers that overflow need no warning from numpy: a loss that is not finite ends the run.
    with Workers(workers) as team, np.errstate(over="ignore", invalid="ignore"):
        try:
            measure(first - 1)
            for step in range(first, last + 1):
                optimizer.lr = check_lr(lr(step))
                x, y = get_batch(data, block_size, batch_size, rng)  # (B, T) each
                optimizer.zero_grad()
                loss = team.backward(model, x, y)
                norm = clip_grad_norm(optimizer.params, grad_clip)
                if not (math.isfinite(loss) and math.isfinite(norm)):
                    raise DivergenceError(step, loss, norm, optimizer.lr, history)
                optimizer.step()
                history.steps.append(step)
                history.train_loss.append(loss)
                val_loss = measure(step) if step % eval_every == 0 or step == last else None
                state = TrainingState(step, last, loss, val_loss, optimizer.lr, model, history)
                for callback in callbacks:
                    callback(state)
                if state.stopped:
                    break
        except KeyboardInterrupt:
            pass
        finally:
            give_freed_memory_back()
    return history
