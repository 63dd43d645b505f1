"""Runs one notebook in a process of its own: ``python -m tools.teaching.grading.runner``.

The task comes as JSON on standard input, the notebook goes back as JSON on standard output. The
kernel, in a jail where the system has one, gets one cell at a time. A cell that takes too long is
interrupted; a kernel that does not listen, takes too much memory or dies costs the rest of this
notebook, and nothing else.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import os
import queue
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from jupyter_client import BlockingKernelClient, KernelManager
from jupyter_client.kernelspec import KernelSpec

from tools.teaching.grading import MARK, jail

POLL = 0.1  # seconds
GRACE = 3.0  # seconds in which an interrupted cell may end, and late outputs may come
MOST_OUTPUT = 2_000_000  # characters that a cell may show, pictures included
MOST_FILES = 200  # MB that a notebook may write
MOST_PROCESSES = 100
NOT_STARTED = 75  # exit code: the kernel did not start, so nothing of the notebook was run


class KernelLost(Exception):
    """The kernel has died or had to be stopped: nothing more can be run."""


class Runner:
    """A kernel, and the cells that it runs."""

    def __init__(self, folder: Path, limits: dict, jailed: bool) -> None:
        self.limits, self.jailed, self.notes = limits, jailed, []
        self.deadline = time.monotonic() + limits["seconds"]
        self.next_watch = 0.0
        self.connection = folder / "kernel.json"
        self.km = KernelManager(connection_file=str(self.connection))
        if os.name != "nt":  # sockets in the file system work without a network
            self.km.transport, self.km.ip = "ipc", str(folder / "k")
        self.km._kernel_spec = KernelSpec(
            argv=[sys.executable, "-P", "-m", "tools.teaching.grading.kernel", "-f", "{connection_file}",
                  "--HistoryManager.hist_file=:memory:"],
            display_name="Python 3 (ipykernel)", language="python",
        )
        options = {} if os.name == "nt" else {"preexec_fn": self.confine}
        nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.km.start_kernel(cwd=str(folder), env=dict(os.environ), **nowhere, **options)
        self.client: BlockingKernelClient = self.km.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=120)

    def confine(self) -> None:
        """In the new process, just before it becomes the kernel."""
        import resource

        megabytes = 2**20
        limits = {
            "RLIMIT_AS": self.limits["memory"] * megabytes,
            "RLIMIT_FSIZE": MOST_FILES * megabytes,
            "RLIMIT_CORE": 0,
        }
        if self.jailed:
            limits["RLIMIT_NPROC"] = MOST_PROCESSES  # elsewhere it counts all of a user's programs
        for name, value in limits.items():
            with contextlib.suppress(ValueError, OSError):  # macOS knows fewer
                resource.setrlimit(getattr(resource, name), (value, value))
        if self.jailed:
            jail.confine([self.connection])

    def run(self, notebook: dict) -> None:
        lost = ""
        for number, cell in enumerate(notebook["cells"], start=1):
            if cell["cell_type"] != "code":
                continue
            info = cell["metadata"].get("nbgrader", {})
            points = info["points"] if info.get("grade") else None
            try:
                if lost:
                    raise KernelLost(f"not run: {lost}")
                self.run_cell(cell, points, number)
            except KernelLost as error:
                lost = lost or f"cell {number}: {error}"
                cell["outputs"] = [failed("NotRun", str(error))]
        if lost:
            self.notes.append(f"{lost}; the rest was not run")

    def run_cell(self, cell: dict, points: float | None, number: int) -> None:
        """Run one cell and keep what it shows; of a graded one, put the score first."""
        seconds = min(self.limits["cell_seconds"], self.deadline - time.monotonic())
        if seconds <= 0:
            raise KernelLost(f"the {self.limits['seconds']:g} s for a notebook were over")
        code = cell["source"] if points is None else MARK + cell["source"]
        outputs, reply, late = self.listen(self.client.execute(code, stop_on_error=False), seconds)
        if late:
            self.notes.append(f"cell {number}: stopped after {seconds:.0f} s")
            outputs.append(failed("TimeLimit", f"stopped after {seconds:.0f} s"))
        cell["execution_count"] = reply.get("execution_count")
        cell["outputs"] = outputs if points is None else [scored(reply, points), *outputs]

    def listen(self, request: str, seconds: float) -> tuple[list[dict], dict, bool]:
        """Gather what one request shows, until its end: (outputs, reply, was it too late)."""
        outputs, room, reply, idle, late = [], MOST_OUTPUT, None, False, False
        until = time.monotonic() + seconds
        while reply is None or not idle:
            self.watch()
            if time.monotonic() > until:
                if reply is not None:  # its last outputs were lost
                    break
                if late:
                    self.km.shutdown_kernel(now=True)
                    raise KernelLost("it ran too long and did not stop when interrupted")
                late, until = True, time.monotonic() + GRACE
                self.km.interrupt_kernel()
            for message in self.messages(request):
                content, kind = message["content"], message["header"]["msg_type"]
                if kind == "execute_reply":
                    reply, until = content, time.monotonic() + GRACE
                elif kind == "status":
                    idle = idle or content["execution_state"] == "idle"
                elif kind == "clear_output":
                    outputs.clear()
                elif kind in ("stream", "display_data", "execute_result", "error"):
                    room -= len(json.dumps(content))
                    if room > 0:
                        add(outputs, {"output_type": kind, **content})
        return outputs, reply, late

    def messages(self, request: str) -> Iterator[dict]:
        """What has come, of both channels; one that cannot be read is passed over."""
        wait = POLL
        for get in (self.client.get_iopub_msg, self.client.get_shell_msg):
            for _ in range(500):
                try:
                    message = get(timeout=wait)
                except queue.Empty:
                    break
                except (ValueError, KeyError, TypeError):
                    continue
                wait = 0
                if message.get("parent_header", {}).get("msg_id") == request:
                    yield message

    def watch(self) -> None:
        """See that the kernel lives and keeps to its limits."""
        if time.monotonic() < self.next_watch:
            return
        self.next_watch = time.monotonic() + 2 * POLL
        if not self.km.is_alive():
            raise KernelLost("the kernel died (out of memory, or its code ended it)")
        sizes = [process.memory_info().rss for process in self.processes()]
        for is_too_much, what in [
            (sum(sizes) > self.limits["memory"] * 2**20, "too much memory was used"),
            (len(sizes) > MOST_PROCESSES, "too many processes were started"),
        ]:
            if is_too_much:
                self.end()
                raise KernelLost(what)

    def processes(self) -> list[psutil.Process]:
        """The kernel and all that it started; in a jail, all that there is."""
        try:
            if self.jailed:
                return [psutil.Process(number) for number in psutil.pids()]
            kernel = psutil.Process(self.km.provisioner.pid)
            return [kernel, *kernel.children(recursive=True)]
        except (psutil.Error, OSError):  # one ended just now, or there is no /proc
            return []

    def end(self) -> None:
        """Stop the kernel and what it left behind. In a jail, all ends with the first process."""
        left = [] if self.jailed else self.processes()
        self.km.shutdown_kernel(now=True)
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.client.stop_channels()


def add(outputs: list[dict], output: dict) -> None:
    """Keep an output as notebooks do: no fields of the message's own, one text of each stream."""
    output.pop("transient", None)
    last = outputs[-1] if outputs else {}
    if output["output_type"] == "stream" and last.get("name") == output["name"]:
        last["text"] += output["text"]
    else:
        outputs.append(output)


def failed(name: str, text: str) -> dict:
    return {"output_type": "error", "ename": name, "evalue": text, "traceback": [f"{name}: {text}"]}


def scored(reply: dict, points: float) -> dict:
    """The output of a graded cell that nbgrader reads.

    It comes before all others. For nbgrader a cell without a number has full marks, a line on
    stderr before the number takes all of them, and a number above the points stops everything.
    """
    score = reply.get("score")
    if not isinstance(score, (int, float)):
        return failed(str(reply.get("ename", "Error")), "this cell could not be graded")
    if not math.isfinite(score) or not 0 <= score <= points + 1e-9:
        return failed("Error", f"a score outside 0 to {points}")
    text = repr(round(min(float(score), float(points)), 6))
    return {"output_type": "execute_result", "data": {"text/plain": text}, "metadata": {},
            "execution_count": reply.get("execution_count")}


def settle(folder: Path, files: dict[str, str]) -> None:
    """Make `folder` the home of all that writes settings; put the student's files there."""
    for name in ("HOME", "TMPDIR", "TEMP", "TMP", "MPLCONFIGDIR", "IPYTHONDIR"):
        os.environ[name] = str(folder)
    for name in ("CONFIG", "DATA", "RUNTIME"):
        os.environ[f"JUPYTER_{name}_DIR"] = str(folder / ".jupyter")
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(content))


def main() -> int:
    task = json.loads(sys.stdin.buffer.read())
    notebook = task["notebook"]
    with tempfile.TemporaryDirectory(prefix="mg", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        if task["jail"]:
            jail.enter(
                [Path(path) for path in task["jail"]["visible"]],
                [Path(path) for path in task["jail"]["hidden"]],
                folder, MOST_FILES,
            )
            folder = jail.WORK
        settle(folder, task["files"])
        try:
            runner = Runner(folder, task["limits"], bool(task["jail"]))
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return NOT_STARTED
        try:
            runner.run(notebook)
        finally:
            runner.end()
        if task["jail"]:
            os.chdir("/")
    json.dump({"notebook": notebook, "notes": runner.notes}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
