"""``start.py bench hub``: a class of simulated students on a hub of its own, on this machine alone.

First one student alone, then all at once: each logs in, starts the server, runs a lesson's cells one
after the other without a pause (a class that presses Run All at the same moment), moves a widget,
saves, and hands in a problem set. At the end it is counted whether anything was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import statistics
import time
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from tools.benchmarks.report import cpu_name
from tools.launcher.project import here
from tools.teaching.hub import machines
from tools.teaching.hub.client import Student
from tools.teaching.hub.trial import Hub

MOST_STUDENTS = 100
SET = "ps1_tokenization"


@dataclass
class Result:
    """What one student met."""

    login: float = 0.0
    spawn: float = 0.0
    cells: list[float] = field(default_factory=list)
    widget: float | None = None
    hand_in: float = 0.0
    receipt: str = ""
    failures: list[str] = field(default_factory=list)


async def work(student: Student, lesson: str) -> Result:
    """What a student does in a session; a failure ends it and is told of."""
    result, started = Result(), time.monotonic()
    try:
        await student.log_in()
        result.login = time.monotonic() - started
        result.spawn = await student.start_server()
        path = f"my_work/{lesson}.ipynb"
        notebook = (await student.read(path))["content"]
        await student.open_kernel(path)
        for cell in notebook["cells"]:
            if cell["cell_type"] != "code":
                continue
            ran = await student.run(cell["source"])
            result.cells.append(ran.seconds)
            # A student's copy has exercises that are not written yet: those say so, as they should.
            if ran.error and "____" not in cell["source"]:
                result.failures.append(f"cell {len(result.cells)}: {ran.error}")
            movable = movable_number(ran.opened)
            if movable and result.widget is None:
                comm, name, value = movable
                result.widget = (await student.move(comm, **{name: value})).seconds
        await student.save(path, notebook)
        path = f"my_work/problems/{SET}.ipynb"
        problem_set = (await student.read(path))["content"]
        await student.save(path, problem_set)
        ran = await student.run(
            "import os; os.chdir(os.path.expanduser('~/my_work/problems'))\n"
            f"from minigpt_helpers.hand_in import hand_in; hand_in({SET!r})"
        )
        result.hand_in, result.receipt = ran.seconds, ran.text
        if ran.error:
            result.failures.append(f"hand in: {ran.error}")
    except Exception as error:
        result.failures.append(f"{type(error).__name__}: {error}"[:200])
    return result


def movable_number(opened: dict[str, dict]) -> tuple[str, str, float] | None:
    """(comm, name, another value) of the first number that a page could change in a widget."""
    for comm, state in opened.items():
        for name in ("temperature", "row", "step", "value"):
            value = state.get(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return comm, name, value + 1
    return None


def memory_of(login: str) -> dict[str, float]:
    """MB that the processes of a student hold (shared pages counted in parts), and the kernel's."""
    mark, found = f"JUPYTERHUB_USER={login}".encode(), {"all": 0.0, "kernel": 0.0}
    for entry in Path("/proc").iterdir():
        try:
            if not entry.name.isdigit():
                continue
            if mark not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            held = re.search(
                r"^Pss:\s+(\d+) kB", (entry / "smaps_rollup").read_text(), re.MULTILINE
            )
            held = int(held[1]) / 1024
            found["all"] += held
            if b"ipykernel" in (entry / "cmdline").read_bytes():
                found["kernel"] += held
        except (OSError, TypeError):
            continue
    return found


def used_memory() -> float:
    """MB of the machine that are in use."""
    table = dict(re.findall(r"(\w+):\s+(\d+) kB", Path("/proc/meminfo").read_text()))
    return (int(table["MemTotal"]) - int(table["MemAvailable"])) / 1024


def measure(options: argparse.Namespace) -> dict:
    names = [f"Student {number}" for number in range(1, options.students + 1)]
    hub = Hub(["Alone", *names])
    try:
        print("Installing and starting a hub for the trial.", flush=True)
        hub.start()
        alone = asyncio.run(limited([hub.student("alone")], options))[0]
        print(f"Alone: {sum(alone.cells):.1f} s for {len(alone.cells)} cells.", flush=True)
        logins = [f"student-{number}" for number in range(1, options.students + 1)]
        before, started = used_memory(), time.monotonic()
        students = [hub.student(login) for login in logins]
        results = asyncio.run(limited(students, options))
        took = time.monotonic() - started
        used = used_memory() - before
        memory = [memory_of(login) for login in logins]
        came_in = [any((hub.folder / "inbox" / login).glob(f"*/{SET}.ipynb")) for login in logins]
        return summary(options, alone, results, memory, came_in, took, used)
    finally:
        hub.remove()


async def limited(students: list[Student], options: argparse.Namespace) -> list[Result]:
    async def one(student: Student) -> Result:
        try:
            return await asyncio.wait_for(work(student, options.lesson), options.minutes * 60)
        except TimeoutError:
            return Result(failures=[f"not done after {options.minutes:g} minutes"])

    try:
        return await asyncio.gather(*map(one, students))
    finally:
        for student in students:
            student.close()


def summary(options, alone, results, memory, came_in, took, used) -> dict:
    whole = [one for one in results if len(one.cells) == len(alone.cells)]
    ratios = [
        statistics.median(one.cells[number] / seconds for one in whole)
        for number, seconds in enumerate(alone.cells)
        if whole
    ]
    slow = [ratio for ratio, seconds in zip(ratios, alone.cells) if seconds > 0.1]
    failures = [
        f"{number}: {text}" for number, one in enumerate(results, start=1) for text in one.failures
    ]
    return {
        "date": date.today().isoformat(),
        "machine": f"{cpu_name()}, {os.cpu_count()} cores, {memory_total():.0f} GB, "
        f"{platform.system()}, Python {platform.python_version()}",
        "students": options.students,
        "lesson": options.lesson,
        "seconds": took,
        "spawn_alone": alone.spawn,
        "spawn_median": middle(one.spawn for one in results),
        "spawn_most": max(one.spawn for one in results),
        "lesson_alone": sum(alone.cells),
        "lesson_median": middle(sum(one.cells) for one in whole),
        "cell_ratio_median": middle(ratios),
        "slow_cell_ratio_median": middle(slow),
        "widget_alone": alone.widget,
        "widget_median": middle(one.widget for one in whole if one.widget is not None),
        "hand_in_median": middle(one.hand_in for one in whole),
        "memory_median": middle(one["all"] for one in memory),
        "memory_most": max(one["all"] for one in memory),
        "kernel_median": middle(one["kernel"] for one in memory),
        "machine_memory": used,
        "handed_in": sum(came_in),
        "receipts": sum("Receipt" in one.receipt for one in results),
        "failures": failures,
    }


def middle(values) -> float:
    values = list(values)
    return statistics.median(values) if values else float("nan")


def memory_total() -> float:
    return int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) / 2**20


def table(found: dict) -> str:
    rows = [
        ("students at once", f"{found['students']}"),
        ("from the first login to the last hand-in", f"{found['seconds']:.0f} s"),
        ("server starts: alone, median, longest", "{spawn_alone:.1f}, {spawn_median:.1f}, "
         "{spawn_most:.1f} s".format(**found)),
        ("the lesson's cells: alone, median", "{lesson_alone:.1f}, {lesson_median:.1f} s".format(**found)),
        ("a cell against alone, median (of cells over 0.1 s)",
         "{cell_ratio_median:.1f} ({slow_cell_ratio_median:.1f}) times".format(**found)),
        ("a widget's move: alone, median", f"{shown(found['widget_alone'])}, {shown(found['widget_median'])}"),
        ("hand in, median", shown(found["hand_in_median"])),
        ("memory of a student: median, most (of it the kernel)",
         "{memory_median:.0f}, {memory_most:.0f} ({kernel_median:.0f}) MB".format(**found)),
        ("memory of the machine for all of them", f"{found['machine_memory']:.0f} MB"),
        ("handed in and found", f"{found['handed_in']} of {found['students']}"),
        ("failures", f"{len(found['failures'])}"),
    ]  # fmt: skip
    lines = ["| what | measured |", "|---|---:|", *(f"| {a} | {b} |" for a, b in rows)]
    return "\n".join([*lines, *(f"- {text}" for text in found["failures"][:20])])


def shown(seconds: float | None) -> str:
    return "none" if seconds is None else f"{seconds * 1000:.0f} ms"


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="start.py bench hub", description="Simulated students on a hub; only on this machine."
    )
    add = parser.add_argument
    add("--students", type=int, default=8, metavar="N", help=f"1 to {MOST_STUDENTS} (8)")
    add("--lesson", default="03_attention", metavar="NAME", help="which they run (03_attention)")
    add("--minutes", type=float, default=20, metavar="N", help="for each of the two parts (20)")
    add("--machines", action="store_true", help="print how many machines a class needs, and end")
    options = parser.parse_args(words)
    if options.machines:
        print(machines.table())
        return 0
    if not 1 <= options.students <= MOST_STUDENTS:
        parser.error(f"--students is {options.students}; it must be from 1 to {MOST_STUDENTS}")
    found = measure(options)
    folder = here().root / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"hub-{options.students}.json"
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{found['date']}, {found['machine']}\n\n{table(found)}\n\nWritten: {file}")
    return 1 if found["failures"] or found["handed_in"] < options.students else 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
