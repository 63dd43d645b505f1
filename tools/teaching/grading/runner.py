"""Runs notebooks and scores them: ``python -m tools.teaching.grading.runner``, a process that is trusted.

It gets a task, a line of JSON, on standard input and answers with a line; then the next. Each
notebook gets a process of its own (`guest.py`), in a jail where the system has one. Cells run
there. A graded cell runs here: it is the teacher's, and calls the checks with stand-ins for what
the student defined (`far.py`).
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import json
import math
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from minigpt_helpers import checks
from minigpt_helpers.checks import _base, _own_parts, _student
from tools.teaching.grading import far
from tools.teaching.grading.far import Guest, NotStarted
from tools.teaching.grading.wire import Lost, WireError

OUR_SHARE = 3  # of a check's time: for references, wrong functions to compare with, messages

# In a traceback these files are not the student's own code.
_student._LIBRARIES = (*_student._LIBRARIES, str(Path(__file__).parent))


class GuestClock(_student.Clock):
    """The time of a check: that of the student's process, and the processor's time of this one.

    What other programs take of the machine does not count.
    """

    guest: Guest | None = None

    def start(self, seconds: float) -> None:
        self.seconds, self.began = OUR_SHARE * seconds, time.process_time()
        if self.guest is not None:
            self.guest.spend(seconds)

    @property
    def deadline(self) -> float:
        return time.monotonic() + self.seconds - (time.process_time() - self.began)


_base.Clock = GuestClock


def seed_globals(number: int) -> None:
    """The student's code draws in its own process: there the generators are seeded."""
    if GuestClock.guest is not None:
        GuestClock.guest.ask("seed", number=number)


_student.seed_globals = seed_globals
_own_parts.read_all, _own_parts.write_all = far.read_all, far.write_all
_own_parts.combine_all = far.combine_all


class Runner:
    """One notebook and its process."""

    def __init__(self, task: dict, folder: Path) -> None:
        self.limits, self.notes, self.scores = task["limits"], [], {}
        self.course_seed, self.set_name = task["seed"], task["set"]
        self.guest = Guest(Path(task["stage"]), folder, self.limits, task["jail"], self.run_check)
        GuestClock.guest = self.guest
        self.lost = ""
        if task["files"]:
            self.guest.send({"op": "files", "files": task["files"], "changes": []})
            self.guest.receive()

    def run(self, notebook: dict) -> None:
        for number, cell in enumerate(notebook["cells"], start=1):
            if cell["cell_type"] != "code":
                continue
            info = cell["metadata"].get("nbgrader", {})
            try:
                if self.lost:
                    raise Lost(self.lost)
                if info.get("grade"):
                    self.score_cell(cell, info)
                else:
                    self.run_cell(cell, number)
            except Lost as error:
                if not self.lost:
                    self.lost = f"cell {number}: {error}"
                    self.notes.append(f"{self.lost}; the rest was not run")
                cell["outputs"] = [failed("NotRun", str(error))]
            if info.get("grade"):
                self.scores.setdefault(info["grade_id"], 0.0)

    def run_cell(self, cell: dict, number: int) -> None:
        """Run a cell of the student's, or one of the set that has no points."""
        seconds = min(self.limits["cell_seconds"], self.guest.left)
        if seconds <= 0:
            raise Lost(f"the {self.limits['seconds']:g} s for a notebook were over")
        self.guest.spend(seconds)
        try:
            answer = self.guest.ask("cell", source=cell["source"])
        except _student.TimeLimit:
            self.notes.append(f"cell {number}: stopped after {seconds:.0f} s")
            cell["outputs"] = [failed("TimeLimit", f"stopped after {seconds:.0f} s")]
            return
        cell["outputs"] = [made for one in answer.get("outputs", []) if (made := output(one))]
        count = answer.get("count")
        cell["execution_count"] = count if isinstance(count, int) else None
        if any(one.get("ename") == "Refused" for one in cell["outputs"]):
            self.notes.append(f"cell {number}: input() was refused")

    # Graded cells

    def score_cell(self, cell: dict, info: dict) -> None:
        """Run the teacher's cell here; its last line is the score."""
        names = Names(self, info["grade_id"])
        self.guest.spend(self.guest.left)
        points = float(info["points"])
        try:
            if self.guest.left <= 0:
                raise Lost(f"the {self.limits['seconds']:g} s for a notebook were over")
            score = score_of(cell["source"], names)
            if not math.isfinite(score) or not 0 <= score <= points + 1e-9:
                raise ValueError(f"a score outside 0 to {points:g}")
            self.scores[info["grade_id"]] = round(min(score, points), 6)
            cell["outputs"] = names.outputs
        except Lost:
            raise
        except (Exception, _student.TimeLimit) as error:
            text = (
                "not defined, so there are no points for it"
                if isinstance(error, NameError)
                else "this cell could not be graded"
            )
            cell["outputs"] = [
                failed(type(error).__name__, f"{getattr(error, 'name', '') or ''} {text}".strip())
            ]
        finally:
            if names.first is not None and not self.guest.lost:
                self.guest.ask("set", name="result", value=names.first)
            if not self.guest.lost:
                self.guest.ask("forget")
                self.guest.forget()

    def run_check(self, name: str, objects: tuple) -> dict:
        """What a check says that a cell of the student's calls."""
        if name not in checks.REGISTRY or not isinstance(objects, tuple):
            raise ValueError(f"there is no check {name!r:.60}")
        found = checks.REGISTRY[name](*objects)
        return fields(found)

    def hidden_seed(self, problem: str, seed: int) -> int:
        """The seed of a hidden test: drawn from the course's, another for each problem."""
        text = f"{self.course_seed}/{self.set_name}/{problem}/{seed}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


class Names(dict):
    """What a graded cell sees: the checks, its own names, and behind them the student's."""

    def __init__(self, runner: Runner, problem: str) -> None:
        super().__init__(checks=self, np=np, display=self.display)
        self.runner, self.problem = runner, problem
        self.outputs: list[dict] = []
        self.first: dict | None = None  # what the visible check said

    def __missing__(self, name: str) -> object:
        if hasattr(builtins, name):
            raise KeyError(name)
        return self.runner.guest.get(name)

    def __getattr__(self, name: str):
        if name not in checks.REGISTRY:
            raise AttributeError(f"there is no check {name!r}")

        def check(*objects: object, seed: int | None = None) -> checks.CheckResult:
            self.runner.guest.ask("seed", number=0)
            if seed is None:
                result = checks.REGISTRY[name](*objects)
                self.first = self.first or fields(result)
            else:
                drawn = self.runner.hidden_seed(self.problem, seed)
                result = checks.REGISTRY[name](*objects, seed=drawn)
            if self.runner.guest.lost:
                raise Lost(self.runner.guest.lost)
            return result

        return check

    def display(self, *things: object) -> None:
        for thing in things:
            data = {"text/plain": repr(thing)}
            if hasattr(thing, "_repr_html_"):
                data["text/html"] = thing._repr_html_()
            self.outputs.append({"output_type": "display_data", "data": data, "metadata": {}})


def fields(result: checks.CheckResult) -> dict:
    return {name: getattr(result, name) for name in ("passed", "score", "message", "status")}


def score_of(source: str, names: Names) -> float:
    """Run a graded cell; the value of its last line."""
    tree = ast.parse(source)
    last = ast.Expression(tree.body.pop().value)
    space = {"__builtins__": builtins}
    exec(compile(tree, "graded", "exec"), space, names)
    return float(eval(compile(last, "graded", "eval"), space, names))


def failed(name: str, text: str) -> dict:
    return {"output_type": "error", "ename": name, "evalue": text, "traceback": [f"{name}: {text}"]}


def output(sent: object) -> dict | None:
    """An output as notebooks have it, made of what the student's process sent; None if it is none."""
    if not isinstance(sent, dict):
        return None
    kind = sent.get("output_type")
    if kind == "stream":
        return {
            "output_type": kind,
            "name": "stderr" if sent.get("name") == "stderr" else "stdout",
            "text": str(sent.get("text", "")),
        }
    if kind == "error":
        lines = sent.get("traceback")
        return {
            "output_type": kind,
            "ename": str(sent.get("ename")),
            "evalue": str(sent.get("evalue")),
            "traceback": [str(line) for line in lines] if isinstance(lines, list) else [],
        }
    if kind in ("display_data", "execute_result") and isinstance(sent.get("data"), dict):
        data = {str(name): str(value) for name, value in sent["data"].items()}
        made = {"output_type": kind, "data": data, "metadata": {}}
        return made | ({"execution_count": None} if kind == "execute_result" else {})
    return None


def do(task: dict) -> dict:
    notebook = task["notebook"]
    with tempfile.TemporaryDirectory(prefix="mg", ignore_cleanup_errors=True) as scratch:
        try:
            runner = Runner(task, Path(scratch))
        except NotStarted as error:
            return {"not_started": str(error)}
        try:
            runner.run(notebook)
        finally:
            GuestClock.guest = None
            runner.guest.end()
    return {"notebook": notebook, "notes": runner.notes, "scores": runner.scores}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever prints, it is no answer
    for line in sys.stdin:
        try:
            answer = do(json.loads(line))
        except (WireError, Lost) as error:
            answer = {"error": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
