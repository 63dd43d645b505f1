"""Has the system keep a student's processes, all together, within limits: control groups of Linux.

Both kinds are spoken: version 2 (all newer systems) and version 1. Where there are none that this
process may make, a limit holds for each process alone.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OURS = "mini-gpt-hub"
PERIOD = 100_000  # microseconds
KINDS = ("memory", "cpu", "pids")


def version(root: Path = ROOT) -> int:
    """1 or 2: the control groups that this process may make; 0 for none."""
    try:
        if (root / "cgroup.controllers").is_file():
            for folder in (root, root / OURS):
                folder.mkdir(exist_ok=True)
                (folder / "cgroup.subtree_control").write_text("+memory +cpu +pids")
            return 2
        for kind in KINDS:
            if not (root / kind / "cgroup.procs").exists():
                return 0
            (root / kind / OURS).mkdir(exist_ok=True)
        return 1
    except OSError:
        return 0


def group(
    login: str, memory: int, processors: float, processes: int, root: Path = ROOT
) -> list[Path]:
    """Make the student's group (or set its limits again); the files that a process enters it by."""
    quota = int(processors * PERIOD)
    if version(root) == 2:
        folder = root / OURS / login
        wanted = {
            folder / "memory.max": memory,
            folder / "memory.swap.max": 0,
            folder / "cpu.max": f"{quota} {PERIOD}",
            folder / "pids.max": processes,
        }
        entries = [folder / "cgroup.procs"]
    elif version(root) == 1:
        folders = {kind: root / kind / OURS / login for kind in KINDS}
        wanted = {
            folders["memory"] / "memory.limit_in_bytes": memory,
            folders["cpu"] / "cpu.cfs_period_us": PERIOD,
            folders["cpu"] / "cpu.cfs_quota_us": quota,
            folders["pids"] / "pids.max": processes,
        }
        entries = [folder / "cgroup.procs" for folder in folders.values()]
    else:
        return []
    for file, value in wanted.items():
        file.parent.mkdir(exist_ok=True)
        try:
            file.write_text(str(value))
        except OSError:
            if file.name != "memory.swap.max":  # absent where there is no swap
                raise
    return entries


def before_start(
    entries: list[Path], memory: int, processes: int, own_user: bool
) -> Callable[[], None]:
    """What a new process does to be limited, before it becomes the student's."""

    def enter() -> None:
        os.umask(0o077)
        for file in entries:
            file.write_text(str(os.getpid()))
        limit(resource.RLIMIT_DATA, memory)  # Python then says MemoryError, and lives on
        limit(resource.RLIMIT_CORE, 0)
        if own_user:  # the system counts by user
            limit(resource.RLIMIT_NPROC, processes)

    return enter


def limit(kind: int, value: int) -> None:
    _, most = resource.getrlimit(kind)
    value = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(kind, (value, value))


def processes_of(user: int) -> list[int]:
    """All processes of a system user that have not ended."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if not entry.name.isdigit() or entry.stat().st_uid != user:
                continue
            if (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.append(int(entry.name))
        except OSError:
            continue
    return found
