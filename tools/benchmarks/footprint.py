"""What Mini-GPT costs before it computes: its import, a kernel's memory, memory over many steps."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median

import psutil

from tools.benchmarks.report import Options, mb, progress, table
from tools.benchmarks.sizes import SIZES
from tools.benchmarks.turns import ROOT, Worker

CLASSROOM = 16 * 2**30  # bytes of a server
TIME_IMPORT = """
import time
begin = time.perf_counter()
import numpy
middle = time.perf_counter()
import minigpt_helpers
print(middle - begin, time.perf_counter() - middle)
"""


def import_time(options: Options) -> dict:
    """Seconds of ``import minigpt_helpers`` after numpy's own, each time in a new process."""
    runs = []
    for _ in range(options.rounds + 1):
        command = [sys.executable, "-c", TIME_IMPORT]
        answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        runs.append([float(seconds) for seconds in answer.stdout.split()])
    numpy, ours = zip(*runs[1:])  # the first one may have to compile
    return {"numpy": median(numpy), "minigpt_helpers": median(ours)}


def import_table(result: dict) -> str:
    return (
        f"import minigpt_helpers takes {result['minigpt_helpers']:.3f} s beyond numpy's own "
        f"{result['numpy']:.3f} s (medians of new processes)."
    )


def memory_of(pid: int) -> dict[str, int | None]:
    """Bytes that a process holds now, and the most it ever held (None where nobody counts)."""
    info = psutil.Process(pid).memory_info()
    peak = getattr(info, "peak_wset", None)  # Windows
    if sys.platform == "linux":
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    return {"now": info.rss, "peak": peak}


def kernels(options: Options) -> dict:
    """The memory of each lesson's kernel after its last cell."""
    with tempfile.TemporaryDirectory() as folder:  # lesson 5 saves a model, lesson 6 loads it
        return {
            path.stem: kernel_memory(path, folder)
            for path in sorted((ROOT / "notebooks").glob("0*.ipynb"))
        }


def kernel_memory(path: Path, folder: str) -> dict[str, int | None]:
    progress(path.name)
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}}
    )
    with client.setup_kernel(stderr=subprocess.DEVNULL):  # remarks on its own set-up
        for i, cell in enumerate(notebook.cells):
            client.execute_cell(cell, i)
        return memory_of(client.km.provisioner.pid)


def kernels_table(result: dict) -> str:
    rows = [
        [lesson, mb(memory["now"]), mb(memory["peak"]), CLASSROOM // memory["now"]]
        for lesson, memory in result.items()
    ]
    headings = ["lesson", "MB at its end", "MB at most", "kernels in 16 GB"]
    return "Memory of a lesson's kernel.\n\n" + table(headings, rows)


class ManySteps:
    """A worker's job: small training steps, and what its process holds after them."""

    def __init__(self, size: dict):
        from tools.benchmarks.ours import Training

        self.step = Training(size).step

    def memory(self) -> int:
        return psutil.Process().memory_info().rss


def memory(options: Options) -> dict:
    """The memory of a process after each tenth of many small training steps."""
    steps_a_tenth = -(-(options.steps or 10_000) // 10)  # rounded up
    tenths = []
    with Worker("footprint:ManySteps", size=asdict(SIZES["microgpt"])) as worker:
        for _ in range(10):
            worker.ask("step", steps_a_tenth)
            tenths.append(worker.ask("memory")[1])
    return {"steps": 10 * steps_a_tenth, "bytes_after_each_tenth": tenths}


def memory_table(result: dict) -> str:
    first, last = (result["bytes_after_each_tenth"][i] for i in (0, -1))
    return (
        f"Memory of a process after {result['steps'] // 10} small training steps: "
        f"{first / 1e6:.1f} MB; after {result['steps']}: {last / 1e6:.1f} MB."
    )
