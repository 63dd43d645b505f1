"""Training (lesson 5): optimisers, a learning-rate schedule, and the loop that uses them."""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from numbers import Real

import numpy as np
from threadpoolctl import threadpool_limits

from minigpt_helpers.autograd import Tensor, no_grad
from minigpt_helpers.functional import cross_entropy_loss
from minigpt_helpers.text import check_rng, check_sizes, get_batch


class Optimizer:
    """Keeps all parameters in one flat vector, so that a step is a few operations, not hundreds.

    The parameters' ``data`` become views into that vector. ``lr`` may be changed at any time;
    ``num_steps`` counts the steps done.
    """

    def __init__(self, params: Iterable[Tensor], lr: float):
        listed = isinstance(params, Iterable) and not isinstance(params, Tensor)
        self.params = list(params) if listed else []
        if not self.params or not all(isinstance(p, Tensor) for p in self.params):
            raise ValueError(
                f"an optimizer takes a list of tensors, model.parameters(), not {params!r:.80}"
            )
        _keep_freed_memory()
        self.lr = _check_lr(lr)
        self.num_steps = 0
        self.flat = np.empty(sum(p.size for p in self.params), dtype=self.params[0].dtype)
        self.flat_grad = np.empty_like(self.flat)
        self._cut()

    def _cut(self) -> None:
        ends = np.cumsum([p.size for p in self.params])
        self._views = [
            self.flat[end - p.size : end].reshape(p.shape) for p, end in zip(self.params, ends)
        ]

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self._cut()  # a copy, by copy.deepcopy or pickle, has views into its own vector

    def zero_grad(self) -> None:
        """Sets every gradient to zero; without it they would add up over the steps."""
        for p in self.params:
            p.grad = 0.0

    def step(self) -> None:
        """Moves every parameter against its gradient."""
        for p, view in zip(self.params, self._views):
            if p.data is not view:  # new here, or replaced since: take its value, then share
                view[...] = p.data
                p.data = view
        np.concatenate([p.read_grad().reshape(-1) for p in self.params], out=self.flat_grad)
        self.num_steps += 1
        self.update(self.flat, self.flat_grad)

    def update(self, flat: np.ndarray, grad: np.ndarray) -> None:
        """The optimiser's own rule: changes ``flat`` ``(P,)`` in place; may use ``grad`` up."""
        raise NotImplementedError("SGD and AdamW say how to update")


def _check_lr(lr: float) -> float:
    if not (isinstance(lr, Real) and 0 <= lr < math.inf):
        raise ValueError(f"lr must be a number of at least 0, not {lr!r}")
    return lr


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _keep_freed_memory() -> None:
    """Asks the allocator of glibc (Linux) to keep freed memory for the next step.

    By default it gives large arrays back to the system at once, and every step would pay for
    getting, and zeroing, the same memory again: up to a third of the time.
    """
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(-3, 32 * 1024 * 1024)  # M_MMAP_THRESHOLD: the largest value it takes
        _libc.mallopt(-1, 1024 * 1024 * 1024)  # M_TRIM_THRESHOLD: up to 1 GB is kept


def _give_freed_memory_back() -> None:
    """The reverse, when training is over."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)


class SGD(Optimizer):
    """Plain gradient descent: ``p -= lr * grad``."""

    def __init__(self, params: Iterable[Tensor], lr: float = 0.1):
        super().__init__(params, lr)

    def update(self, flat, grad):
        grad *= self.lr
        flat -= grad


class AdamW(Optimizer):
    """Steps of about equal length for every parameter, whatever the size of its gradient.

    ``m`` and ``v`` are running means of the gradient and of its square; the step is ``lr * m /
    (sqrt(v) + eps)``, after a correction for their start at 0. ``weight_decay`` pulls every
    parameter towards 0. Decoupled Weight Decay Regularization, Loshchilov and Hutter, 2019.
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
        super().__init__(params, lr)
        if not (0 <= betas[0] < 1 and 0 <= betas[1] < 1):
            raise ValueError(f"betas must lie between 0 and 1 (1 excluded), not {betas}")
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        self.m, self.v = np.zeros_like(self.flat), np.zeros_like(self.flat)

    def update(self, flat, grad):
        beta1, beta2 = self.betas
        self.m *= beta1
        self.m += (1 - beta1) * grad
        grad *= grad
        grad *= 1 - beta2
        self.v *= beta2
        self.v += grad
        # m and v start at 0 and are too small at first: by these factors.
        short_m, short_v = 1 - beta1**self.num_steps, math.sqrt(1 - beta2**self.num_steps)
        step = np.sqrt(self.v, out=grad)  # the gradient is used up: its memory serves again
        step += self.eps * short_v
        np.divide(self.m, step, out=step)
        step *= self.lr * short_v / short_m
        flat *= 1 - self.lr * self.weight_decay
        flat -= step


def clip_grad_norm(params: Iterable[Tensor], max_norm: float) -> float:
    """Scales all gradients together so that their norm is at most ``max_norm``; returns the norm
    before. On the difficulty of training RNNs, Pascanu et al., 2013.
    """
    if not (isinstance(max_norm, Real) and max_norm > 0):
        raise ValueError(f"max_norm (grad_clip) must be above 0, math.inf at most: {max_norm!r}")
    params = list(params)
    grads = [p.read_grad().reshape(-1) for p in params]
    norm = math.sqrt(sum(float(grad @ grad) for grad in grads))
    if norm > max_norm:
        for p in params:
            p.grad = p.grad * (max_norm / norm)
    return norm


def cosine_schedule(lr: float, total_steps: int, warmup_steps: int = 0, min_lr: float = 0.0):
    """A function from the step to its learning rate: it rises in a straight line for
    ``warmup_steps``, then falls along half a cosine to ``min_lr`` at ``total_steps``, and stays.
    SGDR, Loshchilov and Hutter, 2017.
    """
    _check_lr(lr), _check_lr(min_lr), check_sizes(total_steps=total_steps)
    if not (isinstance(warmup_steps, Real) and 0 <= warmup_steps < total_steps):
        raise ValueError(f"warmup_steps={warmup_steps} must be below total_steps={total_steps}")

    def schedule(step: int) -> float:
        if step <= warmup_steps:
            return lr * step / warmup_steps
        progress = min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))
        return min_lr + (lr - min_lr) * 0.5 * (1 + math.cos(math.pi * progress))

    return schedule


def evaluate(model, data, block_size: int, max_windows: int = 256, batch_size: int = 32) -> float:
    """The mean loss over windows of ``data`` ``(N,)``, in nats per token; nothing is random.

    The windows lie one after the other and cover all of the data; where there are more than
    ``max_windows``, that many of them, evenly spread.
    """
    check_sizes(block_size=block_size, max_windows=max_windows, batch_size=batch_size)
    data = np.asarray(data)
    if len(data) < block_size + 1:
        raise ValueError(f"{len(data)} tokens are too few for a block_size of {block_size}")
    starts = np.arange(0, len(data) - block_size, block_size)
    if len(starts) > max_windows:
        starts = starts[np.linspace(0, len(starts) - 1, max_windows).astype(int)]
    total = 0.0
    with no_grad():
        for i in range(0, len(starts), batch_size):
            batch = starts[i : i + batch_size]
            windows = data[batch[:, None] + np.arange(block_size + 1)]  # (B, T + 1)
            loss = cross_entropy_loss(model(windows[:, :-1]), windows[:, 1:])
            total += loss.item() * len(batch)
    return total / len(starts)


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

    BLAS works with one thread meanwhile: for matrices this small more threads only wait.
    """
    if not isinstance(steps, (int, np.integer)) or steps < 0:
        raise ValueError(f"steps must be a whole number of at least 0, not {steps!r}")
    check_sizes(eval_every=eval_every)
    rng = check_rng(rng)
    block_size = model.max_seq_len if block_size is None else block_size
    optimizer = AdamW(model.parameters()) if optimizer is None else optimizer
    if not {id(p) for p in optimizer.params} & {id(p) for p in model.parameters()}:
        raise ValueError("the optimizer holds no parameter of this model: make one for it")
    if not callable(lr):
        constant = optimizer.lr if lr is None else lr
        lr = lambda step: constant  # noqa: E731
    history = History()
    first, last = optimizer.num_steps + 1, optimizer.num_steps + steps

    def measure(step: int) -> float | None:
        if val_data is not None:
            history.val_loss.append(evaluate(model, val_data, block_size))
            history.val_steps.append(step)
            return history.val_loss[-1]

    # Numbers that overflow need no warning from numpy: a loss that is not finite ends the run.
    with threadpool_limits(limits=1, user_api="blas"), np.errstate(over="ignore", invalid="ignore"):
        try:
            measure(first - 1)
            for step in range(first, last + 1):
                optimizer.lr = _check_lr(lr(step))
                x, y = get_batch(data, block_size, batch_size, rng)  # (B, T) each
                loss = cross_entropy_loss(model(x), y)
                optimizer.zero_grad()
                loss.backward(free_graph=True)
                norm = clip_grad_norm(optimizer.params, grad_clip)
                if not (math.isfinite(loss.item()) and math.isfinite(norm)):
                    raise DivergenceError(step, loss.item(), norm, optimizer.lr, history)
                optimizer.step()
                history.steps.append(step)
                history.train_loss.append(loss.item())
                val_loss = measure(step) if step % eval_every == 0 or step == last else None
                state = TrainingState(
                    step, last, loss.item(), val_loss, optimizer.lr, model, history
                )
                for callback in callbacks:
                    callback(state)
                if state.stopped:
                    break
        except KeyboardInterrupt:
            pass
        finally:
            _give_freed_memory_back()
    return history
