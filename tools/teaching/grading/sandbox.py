"""The trusted processes that run and score notebooks, and the limits that they keep."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from tools.launcher.project import here
from tools.teaching.grading import jail
from tools.teaching.grading.stage import make_stage

ROOT = here().root
FULL = "own file system, own processes, no network, limits on time and memory"
PART = "limits on time and memory; this system cannot hide files and network from a notebook"


class Sandbox:
    """Some trusted processes (`runner`), each of which runs one notebook after the other."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.folder = tempfile.TemporaryDirectory(
            prefix="minigpt-grading-", ignore_cleanup_errors=True
        )
        folder = Path(self.folder.name)
        folder.chmod(0o755)  # a notebook's process may be another user's
        self.stage = make_stage(folder / "stage")
        self.seed = options.seed
        self.limits = {
            "seconds": options.seconds,
            "cell_seconds": options.cell_seconds,
            "memory": options.memory,
            "not_on_the_path": [str(ROOT)],
        }
        self.patience = (
            10 * options.seconds + 600
        )  # it keeps its time itself; this is for the worst
        self.environment = environment(folder)
        self.idle: queue.Queue[Worker] = queue.Queue()
        self.workers = [Worker(self.environment) for _ in range(options.jobs)]
        for worker in self.workers:
            self.idle.put(worker)
        visible = [sys.prefix, sys.base_prefix, str(self.stage), str(folder / "fonts")]
        secret = [
            ROOT / "notebooks",
            ROOT / "tests",
            ROOT / ".git",
            ROOT / "build",
            options.folder.resolve(),
            options.out.resolve(),
        ]
        self.jail = {"visible": visible, "hidden": [str(path) for path in secret]}
        if options.sandbox == "off" or not jail.possible() or not self.works():
            self.jail = None

    def works(self) -> bool:
        """Whether a notebook of one cell runs in a jail."""
        cell = {"cell_type": "code", "source": "1", "metadata": {}}
        with contextlib.suppress(RuntimeError):
            return not self.run({"cells": [cell]}, {}, "")["notes"]
        return False

    def run(self, notebook: dict, files: dict[str, str], set_name: str) -> dict:
        """The notebook with what it showed, its scores, and what is to be said of the run."""
        task = {
            "notebook": notebook,
            "files": files,
            "set": set_name,
            "stage": str(self.stage),
            "jail": self.jail,
            "seed": self.seed,
            "limits": self.limits | {"jailed": self.jail is not None},
        }
        worker = self.idle.get()
        try:
            for _ in range(3):  # a machine that is very busy may fail to start a process
                answer = worker.do(task, self.patience)
                if "not_started" not in answer:
                    break
        finally:
            self.idle.put(worker)
        if problem := answer.get("not_started") or answer.get("error"):
            raise RuntimeError(f"its run broke off: {problem}")
        return answer

    def stop(self) -> None:
        """End all that runs; a notebook's process ends with the process that started it."""
        for worker in self.workers:
            worker.stop()
        self.folder.cleanup()


class Worker:
    """One trusted process; started when it is needed, and anew after it was stopped."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self.process: subprocess.Popen | None = None

    def do(self, task: dict, patience: float) -> dict:
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tools.teaching.grading.runner"],
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        timer = threading.Timer(patience, self.process.kill)
        timer.start()
        try:
            self.process.stdin.write(json.dumps(task).encode() + b"\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError:
            line = b""
        finally:
            timer.cancel()
        if not line:
            self.stop()
            return {"error": "it did not end, or it ended the process that scores it"}
        return json.loads(line)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()


def environment(folder: Path) -> dict[str, str]:
    """The few variables that a notebook may see; matplotlib's list of fonts is made once, here."""
    kept = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "LD_LIBRARY_PATH")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    env |= {
        "PYTHONPATH": str(ROOT),
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLBACKEND": "agg",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    env |= {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    fonts = folder / "fonts"
    fonts.mkdir()
    subprocess.run(
        [sys.executable, "-c", "import matplotlib.font_manager"],
        capture_output=True,
        check=False,
        env=env | {"MPLCONFIGDIR": str(fonts), "HOME": str(fonts)},
    )
    for path in fonts.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return env | {"MINIGPT_FONTS": str(fonts)}
