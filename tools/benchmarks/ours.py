"""Mini-GPT's side: the package as its users call it, in float32."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np

from minigpt_helpers import AdamW, MiniGPT, cross_entropy_loss, generate
from minigpt_helpers.parallel import Workers
from tools.benchmarks.sizes import Size


def make_model(size: Size) -> MiniGPT:
    return MiniGPT(**size.model_sizes(), rng=np.random.default_rng(0), dtype=np.float32)


class Training:
    """Whole training steps. ``free_graph`` takes the graph apart on the way, as ``train`` does."""

    def __init__(self, size: dict, free_graph: bool = False):
        self.size, self.free_graph = Size(**size), free_graph
        self._make()

    def _make(self) -> None:
        self.model = make_model(self.size)
        self.optimizer = AdamW(self.model.parameters(), lr=1e-4)
        self.batches = itertools.cycle(self.size.batches())

    def step(self) -> float:
        x, y = next(self.batches)
        self.optimizer.zero_grad()
        loss = cross_entropy_loss(self.model(x), y)
        loss.backward(free_graph=self.free_graph)
        self.optimizer.step()
        return loss.item()

    def peak_memory(self) -> int:
        """Bytes held at once for a model, its optimiser and a step. Slow: each one is counted."""
        tracemalloc.start()
        self._make()
        self.step(), self.step()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak


class Shared(Training):
    """The same steps with ``num_workers`` that share each batch, as ``train`` does it."""

    def __init__(self, size: dict, num_workers: int):
        super().__init__(size)
        self.workers = Workers(num_workers).__enter__()  # until this process ends

    def step(self) -> float:
        x, y = next(self.batches)
        self.optimizer.zero_grad()
        loss = self.workers.backward(self.model, x, y)
        self.optimizer.step()
        return loss


class Generation:
    """Writing ``length`` characters from one start token."""

    def __init__(self, size: dict, length: int, use_cache: bool):
        self.model, self.length, self.use_cache = make_model(Size(**size)), length, use_cache

    def step(self) -> list[int]:
        rng = np.random.default_rng(0)
        return generate(self.model, [0], self.length, rng=rng, use_cache=self.use_cache)
