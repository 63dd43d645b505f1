"""What every part shares: the options, the machine's description, tables and files."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from tools.benchmarks.turns import ROOT

NO_TORCH = (
    "PyTorch is not here, so its figures are left out. To get it: pip install torch into the\n"
    "environment, or pip install --target FOLDER torch and the option --torch FOLDER."
)


@dataclass(frozen=True)
class Options:
    """What the command line chose."""

    sizes: tuple[str, ...]
    threads: tuple[str, ...] = ("one", "default")
    rounds: int = 15
    seconds: float = 0.5
    steps: int | None = None
    text: str | None = None
    torch_folder: str | None = None
    cpu_time: bool = False
    folder: Path = ROOT / "build" / "bench"

    @property
    def for_workers(self) -> dict:
        """What each ``Worker`` is told."""
        return {"torch_folder": self.torch_folder, "cpu_time": self.cpu_time}

    @property
    def torch(self) -> str | None:
        """PyTorch's version, None where there is none."""
        places = [*sys.path, *([self.torch_folder] if self.torch_folder else [])]
        found = importlib.metadata.distributions(name="torch", path=places)
        return next((distribution.version for distribution in found), None)


def machine(options: Options) -> dict:
    """Where the figures were taken."""
    blas = [info for info in threadpool_info() if info["user_api"] == "blas"]
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": [f"{b['internal_api']} {b['version']} {b.get('architecture', '')}" for b in blas],
        "torch": options.torch,
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def cpu_name() -> str:
    if sys.platform == "linux":
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
        if found:
            return found[1]
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return platform.processor() or platform.machine()


def write(name: str, result: dict, options: Options) -> Path:
    """One JSON file a part: the machine and the figures."""
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / f"{name}.json"
    chosen = {"rounds": options.rounds, "clock": "processor" if options.cpu_time else "wall"}
    content = {"machine": machine(options), **chosen, name: result}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def progress(text: str) -> None:
    """A line for whoever waits; the tables come at the end."""
    print(f"  ... {text}", file=sys.stderr, flush=True)


def table(headings: list[str], rows: list[list[str]]) -> str:
    """A Markdown table with columns of even width; the first is set left, the others right."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *rows)]
    rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [headings, rules, *rows]
    return "\n".join(
        "| " + " | ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) + " |"
        for line in lines
    )


def ms(seconds: float) -> str:
    """Milliseconds with three figures, or whole ones."""
    return f"{1000 * seconds:.0f}" if seconds >= 0.1 else f"{1000 * seconds:#.3g}"


def mb(size: float | None) -> str:
    return "not measured" if size is None else f"{size / 1e6:.0f}"
