"""Finds a browser of the Chromium family."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tools.launcher.project import UserError

BROWSER_NAMES = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "microsoft-edge-stable",
    "msedge",
]
BROWSER_FILES = [
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    "{PROGRAMFILES}/Google/Chrome/Application/chrome.exe",
    "{PROGRAMFILES(X86)}/Google/Chrome/Application/chrome.exe",
    "{LOCALAPPDATA}/Google/Chrome/Application/chrome.exe",
    "{LOCALAPPDATA}/Chromium/Application/chrome.exe",
    "{PROGRAMFILES(X86)}/Microsoft/Edge/Application/msedge.exe",
    "{PROGRAMFILES}/Microsoft/Edge/Application/msedge.exe",
]


def find_browser() -> str | None:
    """The program of a Chromium, Chrome or Edge, or None. MINIGPT_CHROMIUM names one outright."""
    named = os.environ.get("MINIGPT_CHROMIUM")
    if named:
        if shutil.which(named) is None:
            raise UserError(
                f"MINIGPT_CHROMIUM is {named!r}, and there is no such program.",
                "Set it to the path of a Chromium or Chrome, or unset it.",
            )
        return shutil.which(named)
    for name in BROWSER_NAMES:
        if found := shutil.which(name):
            return found
    for pattern in BROWSER_FILES:
        path = Path(expand(pattern))
        if path.is_absolute() and path.is_file():
            return str(path)
    return None


def expand(pattern: str) -> str:
    """Fill {NAME} from the environment; with the name unset nothing is left to look for."""
    if not pattern.startswith("{"):
        return pattern if sys.platform == "darwin" else ""
    name, rest = pattern[1:].split("}", 1)
    return os.environ[name] + rest if name in os.environ else ""
