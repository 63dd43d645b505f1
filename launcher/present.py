"""Shows a lesson slide by slide in JupyterLab, its widgets running, from a copy that may be spoilt.

The folder presenter/ holds an extension of JupyterLab in one readable script. It is loaded for this
command alone.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from launcher import copies, lab
from launcher.environment import prepare
from launcher.place import Place, say

PRESENTER = Path(__file__).parent / "presenter"


def present(place: Place, arguments: list[str]) -> int:
    """``present [NAME] [JupyterLab options]``: lesson 1, or the notebook named."""
    named = bool(arguments) and not arguments[0].startswith("-")
    name = copies.find_name(place, arguments[0] if named else "1")
    prepare(place, "lessons")
    stage = place.root / "build" / "present"
    set_stage(place, stage, name)
    command = present_command(place, stage, name, arguments[1:] if named else arguments)
    say(f"Presenting {name}. Arrow keys change the slide, S shows the notes.")
    say("Esc leaves the slides, F8 comes back, Ctrl+C here ends it. Changes are not kept.")
    return lab.run(place, command, stage)


def set_stage(place: Place, stage: Path, name: str) -> None:
    """Copy the notebook and its pictures; a copy of another notebook, perhaps in use, stays."""
    shutil.copytree(place.notebooks / "images", stage / "notebooks" / "images", dirs_exist_ok=True)
    copy = stage / "notebooks" / name
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(place.notebooks / name, copy)


def present_command(place: Place, stage: Path, name: str, options: list[str]) -> list[str]:
    ours = [
        f"--ServerApp.root_dir={stage}",
        f"--LabApp.default_url=/lab/tree/notebooks/{name}?reset",
        f"--LabApp.extra_labextensions_path={PRESENTER}",
    ]
    return lab.lab_command(place, f"notebooks/{name}", ours + options)
