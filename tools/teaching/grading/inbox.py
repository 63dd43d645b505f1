"""What students handed in on a hub, a folder for each in its ``inbox/``.

A student can change the own folder while it is read. So each is read by a process that is this
student, and the rest of grading sees a copy. The time is when the file came, by the system's clock:
a student cannot set it back.
"""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

CLASS = "class.json"  # the hub writes it
MOST_FILE = 20_000_000
MOST = 500_000_000  # of one student


@dataclass(frozen=True)
class Owner:
    """Whose inbox a folder is."""

    login: str
    name: str
    id: str


def owners(folder: Path) -> list[Owner]:
    """The students of a hub's inbox; none if it is no such folder."""
    try:
        found = json.loads((folder / CLASS).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [Owner(one["login"], one["name"], one["id"]) for one in found if not one["teacher"]]


def copy(folder: Path, scratch: Path) -> list[tuple[Path | None, Owner]]:
    """Copies of the inboxes in which something is (None: one cannot be read), and whose they are."""
    copies: list[tuple[Path | None, Owner]] = []
    for owner in owners(folder):
        target = scratch / "inbox" / owner.login
        target.mkdir(parents=True)
        archive = scratch / f"{owner.login}.tar"
        try:
            with archive.open("xb") as file:
                as_owner(folder / owner.login, lambda: pack(file))
            unpack(archive, target)
        except OSError:
            copies.append((None, owner))
            continue
        finally:
            archive.unlink()
        if any(target.iterdir()):
            copies.append((target, owner))
    return copies


def as_owner(folder: Path, act: Callable[[], None]) -> None:
    """Do something inside a folder, in a process of the folder's owner. OSError if it fails."""
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode) or (os.geteuid() == 0 == info.st_uid):
        raise PermissionError(f"{folder} is not a student's own folder")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.chdir(folder)
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(info.st_gid)
                os.setuid(info.st_uid)
            act()
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1] != 0:
        raise PermissionError(f"{folder} cannot be read by its owner")


def pack(file: BinaryIO) -> None:
    """Write all hand-ins that are whole into an archive; each file's time is when it came."""
    left = MOST
    with tarfile.open(fileobj=file, mode="w") as archive:
        for path in sorted(arrived()):
            if path.name == "timestamp.txt":  # would say another time
                continue
            try:
                handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError:
                continue
            with open(handle, "rb") as source:
                info = os.fstat(handle)
                if not stat.S_ISREG(info.st_mode) or info.st_size > min(MOST_FILE, left):
                    continue
                left -= info.st_size
                data = source.read(info.st_size)
            entry = tarfile.TarInfo(path.as_posix())
            entry.size, entry.mtime, entry.mode = len(data), info.st_ctime, 0o600
            archive.addfile(entry, io.BytesIO(data))
    file.flush()


def arrived() -> Iterator[Path]:
    """What is in the hand-ins of the folder that we are in; `.part-...` never became one."""
    for folder in Path().iterdir():
        if not folder.is_symlink() and folder.is_dir() and not folder.name.startswith("."):
            yield from folder.iterdir()


def unpack(archive: Path, target: Path) -> None:
    """The files of the archive, each in the folder of its hand-in, with their times."""
    with tarfile.open(archive) as packed:
        for entry in packed:
            folder, name = entry.name.split("/")
            path = target / folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(packed.extractfile(entry).read())
            os.utime(path, (entry.mtime, entry.mtime))
