"""Optimizers (lesson 5): SGD and AdamW, gradient clipping, and a learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from minigpt_helpers.autograd import Tensor
from minigpt_helpers.machine import keep_freed_memory
from minigpt_helpers.validation import check_int, check_list, check_not_negative, check_number


class DivergenceError(ValueError):
    """A loss, gradient or parameter became NaN or infinite. ``history`` has the steps before."""

    history: Any = None  # set by train

    def __init__(self, what: str, lr: float):
        super().__init__(
            f"training diverged: {what}. The usual cause is a learning rate that is too high (here "
            f"{lr:g}). Make a new model and try a third of it, add warm-up steps, or a smaller "
            "grad_clip."
        )


def _tensors(params: Iterable[Tensor]) -> list[Tensor]:
    """``params`` as a list that holds each tensor once, however often the model uses it."""
    expected = "a list of parameters, model.parameters()"
    found = [] if isinstance(params, Tensor) else check_list(expected, params)
    if not found or not all(isinstance(p, Tensor) for p in found):
        raise ValueError(f"expected {expected}, not {params!r:.80}")
    return list({id(p): p for p in found}.values())


BLOCK = 2**16  # parameters changed at a time: they stay in the processor's cache meanwhile


class Optimizer:
    """Keeps all parameters in one flat vector, so that a step is a few operations, not hundreds.

    The parameters' ``data`` become views into that vector. ``lr`` may be changed at any time;
    ``num_steps`` counts the steps done.
    """

    def __init__(self, params: Iterable[Tensor], lr: float):
        check_not_negative(lr=lr)
        self.params = _tensors(params)
        dtypes = {p.dtype for p in self.params}
        if len(dtypes) > 1 or np.dtype(np.float16) in dtypes:  # it overflows in a step or two
            names = " and ".join(sorted(str(dtype) for dtype in dtypes))
            raise ValueError(f"all parameters must be float32, or all float64, not {names}")
        keep_freed_memory()
        self.lr = lr
        self.num_steps = 0
        self.flat = np.empty(sum(p.size for p in self.params), dtypes.pop())
        self.flat_grad, self._before = np.empty_like(self.flat), np.empty_like(self.flat)
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

    @np.errstate(all="ignore")  # too small is 0; too large is found below
    def step(self) -> None:
        """Moves every parameter against its gradient. Were one no longer finite after that, all
        stay as they are, and it is a ``DivergenceError``.
        """
        for p, view in zip(self.params, self._views):
            if p._data is not view:  # new here, or replaced since: take its value, then share
                view[...] = p._data
                p._data = view  # not a copy, as p.data = view would be
        np.concatenate([p.read_grad().reshape(-1) for p in self.params], out=self.flat_grad)
        self.num_steps += 1
        finite = True
        for start in range(0, self.flat.size, BLOCK):
            part = slice(start, start + BLOCK)
            flat = self.flat[part]
            self._before[part] = flat
            self.update(part)
            finite = finite and (math.isfinite(flat @ flat) or bool(np.isfinite(flat).all()))
        if not finite:
            self.flat[...] = self._before
            raise DivergenceError(f"step {self.num_steps} moves a parameter to infinity", self.lr)

    def update(self, part: slice) -> None:
        """The optimiser's own rule: changes ``flat[part]``; may use ``flat_grad[part]`` up."""
        raise NotImplementedError("SGD and AdamW say how to update")


class SGD(Optimizer):
    """Plain gradient descent: ``p -= lr * grad``."""

    def __init__(self, params: Iterable[Tensor], lr: float = 0.1):
        super().__init__(params, lr)

    def update(self, part):
        self.flat_grad[part] *= self.lr
        self.flat[part] -= self.flat_grad[part]


class AdamW(Optimizer):
    """Steps of about equal length for every parameter, whatever the size of its gradient.

    ``m`` and ``v`` are running means of the gradient and of its square; the step is ``lr * m /
    (sqrt(v) + eps)``, after a correction for their start at 0. ``weight_decay`` pulls every
    parameter towards 0. Decoupled Weight Decay Regularization, Loshchilov and Hutter, 2019.
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
        super().__init__(params, lr)
        check_not_negative(eps=eps, weight_decay=weight_decay)
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(f"betas must be two numbers such as (0.9, 0.999), not {betas!r:.80}")
        for beta in betas:
            check_number("each of betas", beta, lambda x: 0 <= x < 1, "from 0 on and below 1")
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        self.m, self.v = np.zeros_like(self.flat), np.zeros_like(self.flat)

    def update(self, part):
        flat, grad, m, v = self.flat[part], self.flat_grad[part], self.m[part], self.v[part]
        beta1, beta2 = self.betas
        m *= beta1
        m += (1 - beta1) * grad
        grad *= grad
        grad *= 1 - beta2
        v *= beta2
        v += grad
        # m and v start at 0 and are too small at first: by these factors.
        short_m, short_v = 1 - beta1**self.num_steps, math.sqrt(1 - beta2**self.num_steps)
        step = np.sqrt(v, out=grad)  # the gradient is used up: its memory serves again
        step += self.eps * short_v
        np.divide(m, step, out=step)
        step *= self.lr * short_v / short_m
        flat *= 1 - self.lr * self.weight_decay
        flat -= step


@np.errstate(under="ignore")
def clip_grad_norm(params: Iterable[Tensor], max_norm: float) -> float:
    """Scales all gradients together so that their norm is at most ``max_norm``; returns the norm
    before. On the difficulty of training RNNs, Pascanu et al., 2013.
    """
    check_number("max_norm (grad_clip)", max_norm, lambda x: x > 0, "above 0, math.inf at most")
    params = _tensors(params)
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
    check_not_negative(lr=lr, min_lr=min_lr, warmup_steps=warmup_steps)
    if warmup_steps >= check_int("total_steps", total_steps):
        raise ValueError(f"warmup_steps={warmup_steps} must be below total_steps={total_steps}")

    def schedule(step: int) -> float:
        check_not_negative(step=step)
        if step < warmup_steps:
            return lr * step / warmup_steps
        progress = min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))
        return min_lr + (lr - min_lr) * 0.5 * (1 + math.cos(math.pi * progress))

    return schedule
