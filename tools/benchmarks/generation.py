"""Writing 200 characters: with the key-value cache, without it, and in PyTorch without one."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, replace

from tools.benchmarks.report import NO_TORCH, Options, table
from tools.benchmarks.sizes import SIZES, Size
from tools.benchmarks.turns import Worker, summary, take_turns

LENGTH = 200
SIZE = replace(SIZES["nanogpt"], seq_len=256)
CACHED, RECOMPUTED, TORCH = "Mini-GPT, cache", "Mini-GPT, recomputing", "PyTorch, recomputing"
JOBS = {
    CACHED: ("ours:Generation", {"use_cache": True}),
    RECOMPUTED: ("ours:Generation", {"use_cache": False}),
    TORCH: ("torch_gpt:Generation", {}),
}


def run(options: Options, size: Size = SIZE, length: int = LENGTH) -> dict:
    """Characters per second, one thread each, and whether the cache changed a character."""
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(
                Worker(job, size=asdict(size), length=length, **arguments, **options.for_workers)
            )
            for name, (job, arguments) in JOBS.items()
            if name != TORCH or options.torch is not None
        }
        blocks = take_turns(workers, options.rounds, options.seconds)
        written = {name: worker.ask("step")[1] for name, worker in workers.items()}
    seconds = {name: summary(times) for name, times in blocks.items()}
    return {
        "size": str(size),
        "characters": length,
        "seconds": seconds,
        "characters a second": {name: length / s["median"] for name, s in seconds.items()},
        "same characters with and without the cache": written[CACHED] == written[RECOMPUTED],
    }


def tables(result: dict) -> str:
    speeds = result["characters a second"]
    slowest = speeds.get(TORCH, speeds[RECOMPUTED])
    rows = [[name, f"{s:.0f}", f"{s / slowest:.1f}"] for name, s in speeds.items()]
    same = result["same characters with and without the cache"]
    parts = [
        f"Writing {result['characters']} characters from one start token, one thread "
        f"({result['size']}).",
        table(["engine", "characters a second", "times as fast"], rows),
        "With and without the cache: " + ("the same characters." if same else "NOT THE SAME."),
    ]
    return "\n\n".join(parts if TORCH in speeds else [*parts, NO_TORCH])
