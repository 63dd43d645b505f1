"""How a training step's time and memory grow with each of the model's sizes, the others fixed.

A slope of 1 on two logarithmic axes means: twice the size, twice the time. Attention's scores
grow with the square of T, the linear layers' weights with the square of D.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, replace

import numpy as np

from minigpt_helpers.plots import COLOURS, DASHES, new_figure, style, to_png
from tools.benchmarks.report import Options, mb, ms, progress, table
from tools.benchmarks.sizes import SIZES, Size
from tools.benchmarks.turns import Worker, summary, take_turns

FIXED = SIZES["nanogpt"]
VALUES = {
    "seq_len": [16, 32, 64, 128, 256],
    "embed_dim": [32, 64, 128, 256],
    "num_layers": [1, 2, 4, 8],
    "batch_size": [3, 6, 12, 24, 48],
}
LABELS = {"seq_len": "T", "embed_dim": "D", "num_layers": "layers", "batch_size": "B"}


def run(options: Options, fixed: Size = FIXED, values: dict = VALUES) -> dict:
    growth = {name: grow(name, fixed, values[name], options) for name in values}
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / "growth.png").write_bytes(to_png(picture(growth)))
    return {"fixed": str(fixed), "growth": growth, "picture": "growth.png"}


def grow(name: str, fixed: Size, values: list[int], options: Options) -> dict:
    """Time and peak memory of a step for each value of one size, and their slopes."""
    progress(f"{name} = {', '.join(map(str, values))}")
    with ExitStack() as stack:
        workers = {
            value: stack.enter_context(
                Worker(
                    "ours:Training",
                    size=asdict(replace(fixed, **{name: value})),
                    **options.for_workers,
                )
            )
            for value in values
        }
        blocks = take_turns(workers, options.rounds, options.seconds)
        memory = [worker.ask("peak_memory")[1] for worker in workers.values()]
    seconds = [summary(blocks[value])["median"] for value in values]
    return {
        "values": values,
        "seconds": seconds,
        "peak_bytes": memory,
        "slope_seconds": slope(values, seconds),
        "slope_bytes": slope(values, memory),
    }


def slope(values: list[int], measured: list[float]) -> float:
    """The slope of a straight line through the last three points on two logarithmic axes."""
    return float(np.polyfit(np.log(values[-3:]), np.log(measured[-3:]), 1)[0])


def picture(growth: dict):
    with style():
        fig, axes = new_figure(11, 4.5, columns=2)
        panels = [("seconds", 1e3, "time of a step (ms)"), ("bytes", 1e-6, "peak memory (MB)")]
        for ax, (what, factor, label) in zip(axes, panels):
            for (name, grown), colour, dash in zip(growth.items(), COLOURS, DASHES):
                values = np.array(grown["values"])
                measured = np.array(grown["seconds" if what == "seconds" else "peak_bytes"])
                text = f"{LABELS[name]}: slope {grown[f'slope_{what}']:.2f}"
                ax.loglog(
                    values / values[0],
                    measured * factor,
                    marker="o",
                    color=colour,
                    linestyle=dash,
                    label=text,
                )
            ax.set(xlabel="size, as a multiple of its smallest", ylabel=label)
            ax.legend(fontsize=11)
        axes[0].set_title("A training step's time")
        axes[1].set_title("and its memory")
    return fig


def tables(result: dict) -> str:
    rows = [
        [
            f"{LABELS[name]} = {', '.join(map(str, grown['values']))}",
            ", ".join(map(ms, grown["seconds"])),
            f"{grown['slope_seconds']:.2f}",
            ", ".join(map(mb, grown["peak_bytes"])),
            f"{grown['slope_bytes']:.2f}",
        ]
        for name, grown in result["growth"].items()
    ]
    heading = f"Growth of a training step, one thread; the rest as in {result['fixed']}."
    return heading + "\n\n" + table(["what grows", "ms", "slope", "peak MB", "slope"], rows)
