"""On Linux: a world of its own for code that nobody trusts, made of namespaces.

Inside there is no network, no process but its own, and a file system that holds only what is
needed to run Python, read-only, and a small folder in memory. Solutions, other submissions and
the gradebook are not hidden there: they do not exist. Works for root and, where the system allows
user namespaces, for everyone. `man 7 namespaces` explains the parts.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from pathlib import Path

# From linux/sched.h and sys/mount.h.
NEW_MOUNTS, NEW_UTS, NEW_IPC, NEW_USER = 0x00020000, 0x04000000, 0x08000000, 0x10000000
NEW_PROCESSES, NEW_NETWORK = 0x20000000, 0x40000000
READ_ONLY, NO_SUID, NO_DEVICES, NO_EXEC = 1, 2, 4, 8
REMOUNT, BIND, RECURSIVE, PRIVATE = 32, 4096, 16384, 1 << 18
DETACH = 2
PARENT_DEATH_SIGNAL, NO_NEW_PRIVILEGES = 1, 38  # prctl
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}  # the system call's number

SYSTEM = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/fonts",
    "/etc/localtime",
    "/etc/alternatives",
    "/etc/passwd",
    "/etc/group",
]
DEVICES = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"]
WORK = Path("/tmp/work")  # inside


def possible() -> bool:
    return sys.platform == "linux" and platform.machine() in PIVOT_ROOT


def enter(visible: list[Path], hidden: list[Path], new_root: Path, megabytes: int) -> None:
    """Put this process, and those that it starts, into a world where only `visible` exists.

    `new_root` is an empty folder. `hidden` is covered where it lies inside something visible.
    Raises OSError where the system does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    kinds = NEW_MOUNTS | NEW_UTS | NEW_IPC | NEW_NETWORK
    _call("unshare", kinds if user == 0 else kinds | NEW_USER)
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _mount(None, "/", None, RECURSIVE | PRIVATE)
    _mount("none", new_root, "tmpfs", NO_SUID | NO_DEVICES, f"size={megabytes}m,mode=755")
    for path in [*map(Path, SYSTEM), *visible]:
        _show(path, new_root)
    for path in hidden:
        if (new_root / path.relative_to("/")).is_dir():
            _mount("none", new_root / path.relative_to("/"), "tmpfs", READ_ONLY)
    for device in DEVICES:
        _bind(Path(device), new_root)
    _bind(Path("/proc"), new_root)  # the system's own, which `confine` covers with a new one
    for folder in ("tmp", "dev/shm", "old"):
        (new_root / folder).mkdir(parents=True, exist_ok=True)
    for folder in ("tmp", "dev/shm"):
        (new_root / folder).chmod(0o1777)
    os.chdir(new_root)
    _check(_libc().syscall(PIVOT_ROOT[platform.machine()], b".", b"old"), "pivot_root")
    os.chdir("/")
    _call("umount2", b"/old", DETACH)
    os.rmdir("/old")
    WORK.mkdir()
    WORK.chmod(0o777)


def confine() -> None:
    """Be the first process of a world of processes, with no rights.

    Root becomes a user that is nobody else's (the system counts processes by user). The first
    process of such a world is a child; whoever called this stays outside and waits for it.
    """
    nobody = 20_000 + os.getppid() % 40_000
    _call("unshare", NEW_PROCESSES)
    child = os.fork()
    if child:
        _end_with_parent()
        _stand_by(child)
    try:
        _mount("proc", "/proc", "proc", NO_SUID | NO_DEVICES | NO_EXEC)
    except OSError:  # not in every container; Python runs without
        _call("umount2", b"/proc", DETACH)
    _call("prctl", NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(nobody)
        os.setuid(nobody)
    _end_with_parent()


def _end_with_parent() -> None:
    _call("prctl", PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def _stand_by(child: int) -> None:
    """Hold nothing open, pass over an interrupt (it is for the child), end as the child ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.closerange(0, 4096)
    _, status = os.waitpid(child, 0)
    os._exit(1 if status else 0)


def _show(path: Path, new_root: Path) -> None:
    """Let a file, folder or link exist inside, and nothing around it."""
    inside = new_root / path.relative_to("/")
    if os.path.lexists(inside) or not path.exists():
        return
    if path.is_symlink():
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.symlink_to(os.readlink(path))
        _show(Path(os.path.realpath(path)), new_root)
        return
    _bind(path, new_root)
    flags = READ_ONLY | NO_SUID | NO_DEVICES
    if os.statvfs(inside).f_flag & os.ST_NOEXEC:
        flags |= NO_EXEC
    _mount(None, inside, None, REMOUNT | BIND | flags)


def _bind(path: Path, new_root: Path) -> None:
    inside = new_root / path.relative_to("/")
    if path.is_dir():
        inside.mkdir(parents=True, exist_ok=True)
    else:
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.touch()
    _mount(path, inside, None, BIND | RECURSIVE)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _call(name: str, *arguments: object) -> None:
    _check(getattr(_libc(), name)(*arguments), name)


def _mount(source, target, kind, flags: int, options: str = "") -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    result = _libc().mount(*words, ctypes.c_ulong(flags), options.encode())
    _check(result, f"mount {target}")
