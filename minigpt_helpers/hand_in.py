"""Hands in a problem set: on a hub to the teacher's inbox, elsewhere as an archive to upload.

Nothing is handed in by half: what arrives has its name only when all of it is on the disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path

MOST_SECONDS = 60  # since the notebook was saved
MOST_BESIDE = 5_000_000  # bytes, of the texts beside the notebook
NOT_TAKEN = {".ipynb", ".py", ".zip"}


class NotHandedIn(Exception):
    """What is missing before a notebook can be handed in."""


class Receipt(str):
    """What was handed in, and when; a notebook shows it as it is."""

    __repr__ = str.__str__


def hand_in(name: str) -> Receipt:
    """Hand in the notebook of a problem set as it was saved last; as often as you like.

    `name` is the set's (`ps1` or `ps1_tokenization`). Texts in the same folder, such as your own
    corpus, are handed in with it.
    """
    notebook = find(name)
    data = notebook.read_bytes()
    try:
        json.loads(data)["cells"]
    except (ValueError, TypeError, LookupError):
        raise NotHandedIn(f"{notebook.name} is not a whole notebook. Save it (Ctrl+S).") from None
    age = time.time() - notebook.stat().st_mtime
    if age > MOST_SECONDS:
        raise NotHandedIn(
            f"{notebook.name} was saved {said(age)} ago: what you wrote since is not in it. "
            "Save it (Ctrl+S), then run this cell again."
        )
    files = {notebook.name: data, **texts_beside(notebook)}
    now = datetime.now(UTC)
    code = hashlib.sha256(data).hexdigest()[:12]
    moment = now.strftime("%Y%m%dT%H%M%S.%fZ")
    inbox = os.environ.get("MINIGPT_INBOX")
    if inbox:
        deliver(Path(inbox), f"{moment}_{notebook.stem}_{code}", files)
        where = "Handed in"
    else:
        archive = notebook.with_name(f"{notebook.stem}_{moment[:15]}_{code}.zip")
        pack(archive, files)
        where = f"Packed as {archive.name}, which you upload for your teacher"
    also = f" with {', '.join(list(files)[1:])}" if len(files) > 1 else ""
    local = now.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return Receipt(
        f"{where}: {notebook.stem}{also}, {local}. Receipt: {code}.\n"
        "You may hand in again; the last one counts."
    )


def find(name: str) -> Path:
    """The notebook of a set, in the folder in which this notebook runs."""
    here = Path.cwd()
    found = [path for path in (here / f"{name}.ipynb",) if path.is_file()]
    found = found or sorted(
        path for path in here.glob("*.ipynb") if path.stem.startswith(f"{name}_")
    )
    if len(found) != 1:
        there = ", ".join(sorted(path.stem for path in here.glob("*.ipynb"))) or "none"
        raise NotHandedIn(
            f"There is {'more than one' if found else 'no'} notebook called {name!r} in this folder "
            f"(there are: {there}). Give the whole name, and run this in the notebook itself."
        )
    return found[0]


def said(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.0f} hours"


def texts_beside(notebook: Path) -> dict[str, bytes]:
    """The files beside a notebook that it may read."""
    found, left = {}, MOST_BESIDE
    for path in sorted(notebook.parent.iterdir()):
        taken = path.suffix not in NOT_TAKEN and not path.name.startswith(".")
        if not taken or path.is_symlink() or not path.is_file():
            continue
        left -= path.stat().st_size
        if left < 0:
            raise NotHandedIn(
                f"The files beside {notebook.name} are larger than {MOST_BESIDE // 10**6} MB "
                f"together ({path.name}, ...). Move those that it does not need elsewhere."
            )
        found[path.name] = path.read_bytes()
    return found


def deliver(inbox: Path, name: str, files: dict[str, bytes]) -> None:
    """Write the files into a new folder of the inbox, which has its name only when all are there."""
    half = inbox / f".part-{secrets.token_hex(8)}"
    try:
        half.mkdir(mode=0o700)
        for file, data in files.items():
            write(half / file, data)
        sync(half)
        half.rename(inbox / name)
        sync(inbox)
    except OSError as error:
        shutil.rmtree(half, ignore_errors=True)
        raise NotHandedIn(
            f"It was not handed in ({error}). Try again, or tell your teacher."
        ) from None


def write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """See to it that the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def pack(archive: Path, files: dict[str, bytes]) -> None:
    half = archive.with_name(archive.name + ".part")
    with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            file.writestr(name, data)
    half.replace(archive)
