"""Data parallelism: one batch, several workers, the same gradient (after lesson 5).

The mean loss of a batch is a weighted mean of the mean losses of its parts, and so is its gradient.
So the batch is cut into parts, and each worker, a thread, goes forward and backward for one part.
All read the same parameters, which lie in memory once; each has gradients of its own, which are
added up afterwards, always in the same order: what comes out does not depend on who is ready first.
Numpy lets other threads run while it computes, and so two workers keep two cores busy.

On many machines it is the same, with messages instead of shared memory: ``tools/scale``. Both are
shown in ``notebooks/extras/07_scale.ipynb``.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import numpy as np

from minigpt_helpers.functional import cross_entropy_loss
from minigpt_helpers.machine import one_blas_thread
from minigpt_helpers.validation import check_sizes

WORK_A_WORKER = 2.5e8  # parameters times tokens: with less to do, waiting for others costs more
MOST_BY_DEFAULT = 4  # more were not measured; ask for them by number


def default_workers(model, num_tokens: int) -> int:
    """How many workers share a step over ``num_tokens`` (``B * T``) if nobody says.

    The time of a step grows with parameters times tokens. Each worker gets ``WORK_A_WORKER`` of
    it or more; there are no more of them than cores. The models of the lessons get one.
    """
    has_affinity = hasattr(os, "sched_getaffinity")  # the cores that this process may use: Linux
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    parameters = model.parameters() if hasattr(model, "parameters") else []
    work = num_tokens * sum(parameter.size for parameter in parameters)
    return max(1, min(cores, MOST_BY_DEFAULT, int(work / WORK_A_WORKER)))


class Workers:
    """``num_workers`` threads, this one counted: ``with Workers(2) as workers:``.

    Meanwhile BLAS works with one thread for each: for small matrices its own only wait.
    """

    def __init__(self, num_workers: int):
        check_sizes(workers=num_workers)
        self.num_workers = int(num_workers)
        self._model, self._replicas = None, []

    def __enter__(self) -> Workers:
        self._blas = one_blas_thread()
        self._blas.__enter__()
        self._others = ThreadPoolExecutor(max(1, self.num_workers - 1))  # a thread when needed
        return self

    def __exit__(self, *_) -> None:
        self._others.shutdown()
        self._blas.__exit__(None, None, None)

    def map(self, function: Callable, items: Sequence) -> list:
        """``[function(item) for item in items]``, each round of ``num_workers`` at the same time.

        The results come in the order of ``items``, and so do errors: the first one is raised, when
        all of its round have ended.
        """
        results = []
        for start in range(0, len(items), self.num_workers):
            mine, *rest = items[start : start + self.num_workers]
            # Settings such as np.errstate belong to a thread: the others get a copy of ours.
            others = [self._others.submit(copy_context().run, function, item) for item in rest]
            try:
                results.append(function(mine))
            finally:  # after an error too, nobody works on
                [other.exception() for other in others]
            results += [other.result() for other in others]
        return results

    def backward(self, model, x: np.ndarray, y: np.ndarray) -> float:
        """The mean loss of inputs ``x`` and targets ``y``, ``(B, T)`` each, in nats per token.

        Adds its gradient to the parameters' ``grad``, as ``loss.backward()`` does.
        """
        parts = np.array_split(np.arange(len(x)), min(self.num_workers, len(x)))  # rows of each
        models = [model, *self._replicas_of(model, len(parts) - 1)]

        def work(k: int) -> float:
            share = len(parts[k]) / len(x)
            loss = cross_entropy_loss(models[k](x[parts[k]]), y[parts[k]])
            loss.backward(share, free_graph=True)  # the gradient of share * loss
            return share * loss.item()

        losses = self.map(work, range(len(parts)))
        for replica in models[1:]:  # always in this order: a sum of floats depends on it
            for parameter, its in zip(model.parameters(), replica.parameters()):
                parameter._add_grad(its.read_grad())
        return sum(losses)

    def _replicas_of(self, model, count: int) -> list:
        """Copies of ``model``: their parameters are its own arrays, their gradients their own."""
        if self._model is not model:
            self._model, self._replicas = model, []
        self._replicas += [copy.deepcopy(model) for _ in range(count - len(self._replicas))]
        for replica in self._replicas[:count]:
            for parameter, its in zip(model.parameters(), replica.parameters()):
                its._data, its.grad = parameter.data, 0.0  # shared, not a copy
        return self._replicas[:count]
