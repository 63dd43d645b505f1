"""Reads ``hub.toml``, the one file that a teacher edits, and holds it against what is known."""

from __future__ import annotations

import difflib
import ipaddress
import json
import os
import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from tools.launcher.project import UserError

KINDS = {"str": str, "int": int, "float": (int, float), "bool": bool, "list": list}


@dataclass
class Settings:
    """What ``hub.toml`` says. Files in it are seen from the folder in which it lies."""

    folder: Path
    students: str = "students.txt"
    teachers: list = field(default_factory=list)
    ip: str = "127.0.0.1"
    port: int = 8000
    certificate: str = ""
    key: str = ""
    https_by_proxy: bool = False
    memory_mb: int = 1000
    processors: float = 1.0
    processes: int = 200
    idle_minutes: float = 60.0
    more: str = ""

    def path(self, name: str) -> Path:
        """A file that the settings name."""
        return self.folder / name

    @property
    def state(self) -> Path:
        """What the hub must keep: its database, secrets, passwords. Nobody else may read it."""
        return self.folder / "state"

    @property
    def homes(self) -> Path:
        return self.folder / "homes"

    @property
    def inbox(self) -> Path:
        """Where hand-ins arrive, a folder for each student."""
        return self.folder / "inbox"

    @property
    def course(self) -> Path:
        """The project as students get it (``start.py release``)."""
        return self.folder / "course" / "mini-gpt"

    @property
    def environment(self) -> Path:
        return self.folder / ".venv-hub"

    def as_text(self) -> str:
        """All of it, for the programs that the hub starts (`from_text`)."""
        return json.dumps(asdict(self) | {"folder": str(self.folder)})

    @property
    def address(self) -> str:
        shown = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"{'https' if self.certificate else 'http'}://{shown}:{self.port}"


def from_text(text: str) -> Settings:
    found = json.loads(text)
    return Settings(**found | {"folder": Path(found["folder"])})


def read(file: Path, **changed: object) -> Settings:
    """The settings in a file; `changed` are those of the command line, which win."""
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}") from None
    known = {one.name: one.type for one in fields(Settings) if one.name != "folder"}
    for name, value in found.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise UserError(
                f"{file.name} sets {name!r}, which the hub does not know.",
                *([f"Did you mean {close[0]}?"] if close else ["It knows: " + ", ".join(known)]),
            )
        kind = KINDS[known[name]]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise UserError(f"{file.name}: {name} must be {WORDS[known[name]]}, not {value!r}.")
    settings = Settings(file.resolve().parent, **found)
    for name, value in changed.items():
        if value is not None:
            setattr(settings, name, value)
    check(settings, file.name)
    return settings


WORDS = {
    "str": "a text in quotes",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": 'a list such as ["Ada Lovelace"]',
}


def check(settings: Settings, name: str) -> None:
    """Refuse what cannot work, and passwords that would travel where everyone can read them."""
    for what, least in [("memory_mb", 300), ("processors", 0.1), ("processes", 20)]:
        if getattr(settings, what) < least:
            raise UserError(
                f"{name}: {what} is {getattr(settings, what)}; a lesson needs {least} or more."
            )
    if not 1 <= settings.port <= 65_533:
        raise UserError(f"{name}: port is {settings.port}; it must be from 1 to 65533.")
    try:
        outside = not ipaddress.ip_address(settings.ip).is_loopback
    except ValueError:
        raise UserError(
            f"{name}: ip is {settings.ip!r}, which is no address of a machine.",
            "Such as 127.0.0.1 (this machine alone) or 0.0.0.0 (all its networks).",
        ) from None
    if bool(settings.certificate) != bool(settings.key):
        raise UserError(f"{name}: HTTPS needs both, a certificate and its key.")
    for file in filter(None, (settings.certificate, settings.key, settings.more)):
        if not os.access(settings.path(file), os.R_OK):
            raise UserError(f"{name} names the file {file}, which cannot be read.")
    if outside and not settings.certificate and not settings.https_by_proxy:
        raise UserError(
            f"On {settings.ip} passwords would travel in plain text.",
            "Give a certificate and its key (--cert FILE --key FILE, or in hub.toml),",
            "or set https_by_proxy = true if a web server with HTTPS passes requests on.",
        )
