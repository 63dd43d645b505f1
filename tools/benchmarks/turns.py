"""Worker processes that take turns: A B C, A B C, ... so that a busy moment hits all alike.

A job is a class; its worker makes one object of it and calls the methods it is asked for. Each
worker is a process of its own: no engine sees another's threads, memory or settings.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Worker:
    """A process that holds ``job`` (``"module:Class"`` of this folder), made with ``arguments``.

    ``threads`` is the number of threads of its linear algebra; ``None`` is the library's default.
    ``torch_folder`` is looked through for PyTorch after all other places. ``cpu_time`` counts the
    processor's time instead of the clock's: on a busy machine that leaves out the waiting.
    """

    def __init__(
        self,
        job: str,
        *,
        threads: int | None = 1,
        torch_folder: str | None = None,
        cpu_time: bool = False,
        **arguments,
    ):
        env = {name: v for name, v in os.environ.items() if name not in THREAD_VARIABLES}
        if threads is not None:
            env |= dict.fromkeys(THREAD_VARIABLES, str(threads))
        order = {"job": job, "torch_folder": torch_folder, "cpu_time": cpu_time}
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tools.benchmarks.turns",
                json.dumps(order | {"arguments": arguments}),
            ],
            cwd=ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def ask(self, method: str, times: int = 1) -> tuple[list[float], object]:
        """Calls a method several times; returns each call's seconds, and the last one's result."""
        try:
            self.process.stdin.write(json.dumps([method, times]) + "\n")
            self.process.stdin.flush()
            return tuple(json.loads(self.process.stdout.readline()))
        except (OSError, ValueError):
            raise RuntimeError("a worker process ended early; its message stands above") from None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, trouble, *_) -> None:
        if trouble:
            self.process.kill()
        self.process.communicate()  # closes its input, which ends it


def take_turns(
    workers: dict[str, Worker], rounds: int, block_seconds: float
) -> dict[str, list[list[float]]]:
    """The seconds of every ``step``, by name and round. A block lasts about ``block_seconds``."""
    calls = {}
    for name, worker in workers.items():
        worker.ask("step")  # the first one also fills caches
        calls[name] = max(1, round(block_seconds / min(worker.ask("step", 2)[0])))
    times = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            times[name].append(worker.ask("step", calls[name])[0])
    return times


def summary(blocks: list[list[float]]) -> dict[str, float]:
    """What is kept of the seconds of all calls."""
    seconds = [s for block in blocks for s in block]
    return {"median": median(seconds), "fastest": min(seconds), "calls": len(seconds)}


def compare(ours: list[list[float]], other: list[list[float]]) -> dict[str, float]:
    """Our time over the other's: the ratio of medians, and the middle half of the rounds' ratios."""
    rounds = [median(a) / median(b) for a, b in zip(ours, other)]
    low, high = np.quantile(rounds, [0.25, 0.75])
    ratio = summary(ours)["median"] / summary(other)["median"]
    return {"ratio": ratio, "low": float(low), "high": float(high)}


def work(order: str) -> None:
    """What a worker process does until its input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asked
    order = json.loads(order)
    if order["torch_folder"]:
        sys.path.append(order["torch_folder"])
    module, _, name = order["job"].partition(":")
    job = getattr(importlib.import_module(f"tools.benchmarks.{module}"), name)(**order["arguments"])
    clock = time.process_time if order["cpu_time"] else time.perf_counter
    for line in sys.stdin:
        method, times = json.loads(line)
        call, seconds, result = getattr(job, method), [], None
        for _ in range(times):
            begin = clock()
            result = call()
            seconds.append(clock() - begin)
        print(json.dumps([seconds, result]), flush=True)


if __name__ == "__main__":
    work(sys.argv[1])
