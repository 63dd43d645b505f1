"""The command line of ``python3 start.py bench``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tools.benchmarks import footprint, generation, growth, quality, site, step, widgets, workers
from tools.benchmarks.report import Options, machine, write
from tools.benchmarks.sizes import SIZES


class Part(NamedTuple):
    run: Callable[[Options], dict]
    tables: Callable[[dict], str]
    about: str


PARTS = {
    "step": Part(step.run, step.tables, "a training step beside PyTorch and beside its floor"),
    "workers": Part(workers.run, workers.tables, "a training step with two cores, beside PyTorch"),
    "generation": Part(generation.run, generation.tables, "writing with and without the cache"),
    "growth": Part(growth.run, growth.tables, "a step's time and memory as the model grows"),
    "import": Part(footprint.import_time, footprint.import_table, "the time of the import"),
    "kernels": Part(footprint.kernels, footprint.kernels_table, "each lesson's kernel: memory"),
    "memory": Part(footprint.memory, footprint.memory_table, "memory over 10,000 small steps"),
    "widgets": Part(widgets.run, widgets.tables, "from a key to changed pixels in the browser"),
    "site": Part(site.run, site.tables, "the web site: until a page is alive, and its sliders"),
    "quality": Part(quality.run, quality.tables, "training on the file --text in both engines"),
}


def parse(arguments: list[str]) -> tuple[list[str], Options]:
    parts = "\n".join(f"  {name:11}{part.about}" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="start.py bench",
        description=f"Parts (all are run if none is named; quality only with --text):\n{parts}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument(
        "--size",
        action="append",
        choices=list(SIZES),
        dest="sizes",
        help="of part step; may be given more than once (default: all)",
    )
    parser.add_argument(
        "--threads",
        action="append",
        choices=["one", "default"],
        help="of part step (default: first one, then the libraries' default)",
    )
    parser.add_argument("--rounds", type=positive, default=15, help="turns of each worker (15)")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a turn (0.5)")
    parser.add_argument("--steps", type=positive, help="of memory (10000) and quality (2000)")
    parser.add_argument("--text", help="a text file for quality, such as tiny Shakespeare")
    parser.add_argument(
        "--torch",
        metavar="FOLDER",
        dest="torch_folder",
        help="where pip install --target FOLDER torch put PyTorch",
    )
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count the processor's time, not the clock's: for a busy machine",
    )
    parser.add_argument(
        "--folder", type=Path, default=Options.folder, help="where the JSON files go (build/bench)"
    )
    chosen = vars(parser.parse_args(arguments))
    names = chosen.pop("parts") or [n for n in PARTS if n != "quality" or chosen["text"]]
    for name in names:
        if name not in PARTS:
            parser.error(f"there is no part called {name!r}. There are: {', '.join(PARTS)}")
    for what in ("text", "torch_folder"):
        if chosen[what]:
            if not Path(chosen[what]).exists():
                parser.error(f"there is no {chosen[what]}")
            chosen[what] = str(Path(chosen[what]).resolve())  # workers run in another folder
    if "quality" in names and not chosen["text"]:
        parser.error("quality needs a text to train on: --text PATH")
    chosen["sizes"] = tuple(chosen["sizes"] or SIZES)
    chosen["threads"] = tuple(chosen["threads"] or Options.threads)
    return names, Options(**chosen)


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def main(arguments: list[str]) -> int:
    names, options = parse(arguments)
    try:
        measure(names, options)
    except KeyboardInterrupt:
        print("Stopped. What was finished is in", options.folder, file=sys.stderr)
        return 130
    return 0


def measure(names: list[str], options: Options) -> None:
    for name, value in machine(options).items():
        print(f"{name}: {value}")
    for name in names:
        print(f"\n== {name} ==", flush=True)
        result = PARTS[name].run(options)
        path = write(name, result, options)
        print(f"{PARTS[name].tables(result)}\n\n(figures: {path})", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
