"""The user's settings of pip and uv, as far as they fit: where packages come from, and how.

A setting that sends packages elsewhere, asks for other versions or installs nothing at all
(``target``, ``constraint``, ``dry-run``, ``require-hashes`` ...) is right for other work and breaks
this install. So a list says what is kept; all else, in variables and in files, is left out.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from pathlib import Path

from tools.launcher.project import Project

# Indexes, proxy, certificates, cache and patience.
PIP_KEPT = {
    "index-url",
    "extra-index-url",
    "no-index",
    "find-links",
    "trusted-host",
    "cert",
    "client-cert",
    "proxy",
    "keyring-provider",
    "timeout",
    "default-timeout",
    "retries",
    "cache-dir",
    "no-cache-dir",
}
UV_KEPT = {
    "index-url",
    "extra-index-url",
    "no-index",
    "find-links",
    "insecure-host",
    "default-index",
    "index",
    "index-strategy",
    "keyring-provider",
    "native-tls",
    "system-certs",
    "http-timeout",
    "http-retries",
    "cache-dir",
    "no-cache",
    "offline",
    "link-mode",
}
UV_NAMES = {"allow-insecure-host": "insecure-host"}  # in files: as variable


def installer_env(project: Project) -> dict[str, str]:
    """The environment for pip and uv: with their settings that fit, and no file of theirs."""
    env = project.child_env()
    kept = {name: value for name, value in env.items() if fits(name)}
    env = {name: value for name, value in env.items() if not name.startswith(("PIP_", "UV_"))}
    from_files = pip_settings(project) | uv_settings()
    env |= {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "UV_NO_CONFIG": "1",
    }
    return env | from_files | kept


def fits(variable: str) -> bool:
    tool, _, name = variable.partition("_")
    name = name.lower().replace("_", "-")
    passwords = tool == "UV" and re.fullmatch("index-.+-(username|password)", name)
    return bool(passwords) or name in {"PIP": PIP_KEPT, "UV": UV_KEPT}.get(tool, ())


def pip_settings(project: Project) -> dict[str, str]:
    """What pip's files say, as variables: ``pip config`` knows where they are on each system."""
    try:
        listed = subprocess.run(
            [str(project.python), "-m", "pip", "config", "list"],
            env=project.child_env(),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=60,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    found = re.findall(r"^(global|install)\.([a-z-]+)=(.*)$", listed, re.MULTILINE)
    found.sort()  # of two sections pip prefers install
    return {
        "PIP_" + name.upper().replace("-", "_"): ast.literal_eval(value).strip().replace("\n", " ")
        for _, name, value in found
        if name in PIP_KEPT
    }


def uv_settings() -> dict[str, str]:
    """What the user's or the computer's uv.toml says, as variables."""
    found = {}
    named = os.environ.get("UV_CONFIG_FILE")
    files = [Path(named)] if named else [folder / "uv.toml" for folder in uv_folders()]
    for file in files:
        try:
            settings = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        for name, value in (settings | settings.get("pip", {})).items():
            name = UV_NAMES.get(name, name)
            if name == "index":
                found |= uv_indexes(value)
            elif name in UV_KEPT:
                words = value if isinstance(value, list) else [value]
                found["UV_" + name.upper().replace("-", "_")] = " ".join(
                    str(word).lower() if isinstance(word, bool) else str(word) for word in words
                )
    return found


def uv_folders() -> list[Path]:
    """From the computer's settings to the user's, which come last and win."""
    if os.name == "nt":
        bases = [os.environ.get("PROGRAMDATA"), os.environ.get("APPDATA")]
    else:
        home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        bases = ["/etc", *os.environ.get("XDG_CONFIG_DIRS", "").split(os.pathsep)[::-1], home]
    return [Path(base) / "uv" for base in bases if base]


def uv_indexes(tables: list[dict]) -> dict[str, str]:
    def named(table):
        return f"{table['name']}={table['url']}" if "name" in table else table["url"]

    default = [named(table) for table in tables if table.get("default")]
    others = [named(table) for table in tables if not table.get("default")]
    found = {"UV_DEFAULT_INDEX": default[0]} if default else {}
    return found | ({"UV_INDEX": " ".join(others)} if others else {})
