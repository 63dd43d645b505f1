"""A whole training step: zero gradients, forward, loss, backward, AdamW; in float32.

Beside PyTorch eager with the same model and the same numbers; beside the step's matrix products
alone; and, at microgpt's size, beside the form of lesson 2 that computes with single numbers.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict

from tools.benchmarks.report import NO_TORCH, Options, ms, progress, table
from tools.benchmarks.sizes import SIZES
from tools.benchmarks.turns import Worker, compare, summary, take_turns

OURS, OURS_FREE, OURS_ONE = "Mini-GPT", "with free_graph", "one BLAS thread"
TORCH, TORCH_FUSED = "PyTorch", "fused AdamW"
FLOOR, SCALAR = "matrix products", "single numbers"

# Name -> job, its arguments, threads (None: the library's default).
ONE_THREAD = {
    OURS: ("ours:Training", {}, 1),
    TORCH: ("torch_gpt:Training", {}, 1),
    OURS_FREE: ("ours:Training", {"free_graph": True}, 1),
    TORCH_FUSED: ("torch_gpt:Training", {"fused": True}, 1),
    FLOOR: ("floor:Training", {}, 1),
    SCALAR: ("scalar_gpt:Training", {}, 1),
}
AS_THEY_LIKE = {
    OURS: ("ours:Training", {}, None),
    TORCH: ("torch_gpt:Training", {}, None),
    OURS_ONE: ("ours:Training", {}, 1),
    TORCH_FUSED: ("torch_gpt:Training", {"fused": True}, None),
}


THREADS = {"one": ONE_THREAD, "default": AS_THEY_LIKE}


def run(options: Options) -> dict:
    return {
        threads: {size: measure(size, THREADS[threads], options) for size in options.sizes}
        for threads in options.threads
    }


def measure(size: str, engines: dict, options: Options) -> dict:
    """Each engine's times at one size, and our time over each other's."""
    progress(f"{size}: {', '.join(engines)} take turns")
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(
                Worker(
                    job,
                    threads=threads,
                    size=asdict(SIZES[size]),
                    **arguments,
                    **options.for_workers,
                )
            )
            for name, (job, arguments, threads) in engines.items()
            if not (job.startswith("torch") and options.torch is None)
            and not (name == SCALAR and size != "microgpt")  # elsewhere a step takes minutes
        }
        blocks = take_turns(workers, options.rounds, options.seconds)
    return {
        "size": str(SIZES[size]),
        "seconds": {name: summary(times) for name, times in blocks.items()},
        "ours over": {name: compare(blocks[OURS], blocks[name]) for name in blocks if name != OURS},
    }


def tables(result: dict) -> str:
    parts = []
    if one := result.get("one"):
        parts += [
            "A training step in milliseconds, medians; one thread each. Below 1 Mini-GPT is faster.",
            side_by_side(one, [OURS, OURS_FREE, TORCH, TORCH_FUSED], [TORCH, TORCH_FUSED]),
            "Against the matrix products alone (one thread): what the engine adds.",
            side_by_side(one, [OURS, FLOOR], [FLOOR]),
        ]
    if one and "microgpt" in one:
        parts += [
            "Against the form of lesson 2 that computes with single numbers (one thread).",
            scalar_table(one["microgpt"]),
        ]
    if default := result.get("default"):
        parts += [
            "With as many threads as each library takes by itself, and with BLAS kept to one.",
            side_by_side(default, [OURS, OURS_ONE, TORCH, TORCH_FUSED], [TORCH]),
        ]
    if not any(TORCH in at["seconds"] for sizes in result.values() for at in sizes.values()):
        parts.append(NO_TORCH)
    return "\n\n".join(parts)


def side_by_side(results: dict, names: list[str], over: list[str]) -> str:
    """A row for each size: times, then ratios with the middle half of the rounds' ratios."""
    present = next(iter(results.values()))["seconds"]
    names, over = ([n for n in some if n in present] for some in (names, over))
    rows = []
    for size, at_size in results.items():
        times = [ms(at_size["seconds"][name]["median"]) for name in names]
        ratios = [ratio(at_size["ours over"][name]) for name in over]
        rows.append([f"{size}: {at_size['size']}", *times, *ratios])
    return table(["size", *names, *(f"{OURS} / {name}" for name in over)], rows)


def ratio(compared: dict) -> str:
    return f"{compared['ratio']:.2f} ({compared['low']:.2f} to {compared['high']:.2f})"


def scalar_table(at_size: dict) -> str:
    tokens = SIZES["microgpt"].batch_size * SIZES["microgpt"].seq_len
    rows = []
    for name in (OURS, SCALAR):
        seconds = at_size["seconds"][name]["median"]
        times_ours = seconds / at_size["seconds"][OURS]["median"]
        rows.append([name, ms(seconds), ms(seconds / tokens), f"{times_ours:.0f}"])
    return table(["engine", "ms a step", "ms a token", "times Mini-GPT's"], rows)
