"""Shows a lesson slide by slide in JupyterLab, its widgets running, from a scratch copy.

The folder tools/teaching/presenter/ holds an extension of JupyterLab in one readable script. A copy of it,
with the fonts of the decks, is loaded for this command alone.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tools.launcher import lab, my_work, slides
from tools.launcher.environment import prepare
from tools.launcher.project import Project, say

PRESENTER = Path(__file__).parents[1] / "teaching" / "presenter"


def present(project: Project, arguments: list[str]) -> int:
    """``present [NAME] [JupyterLab options]``: lesson 1, or the notebook named."""
    named = bool(arguments) and not arguments[0].startswith("-")
    name = my_work.find_name(project, arguments[0] if named else "1")
    prepare(project, "lessons")
    stage = project.root / "build" / "present"
    set_stage(project, stage, name)
    slides.run_module(project, "tools.teaching.fonts", fonts(stage))
    command = present_command(project, stage, name, arguments[1:] if named else arguments)
    say(f"Presenting {name}. Arrow keys change the slide, S shows the notes.")
    say("Esc leaves the slides, F8 comes back, Ctrl+C here ends it. Changes are not kept.")
    return lab.run(project, command, stage)


def set_stage(project: Project, stage: Path, name: str) -> None:
    """Copy the extension, the notebook and its pictures; a copy of another notebook, perhaps in use, stays."""
    shutil.copytree(PRESENTER, extensions(stage), dirs_exist_ok=True)
    shutil.copytree(
        project.notebooks / "images", stage / "notebooks" / "images", dirs_exist_ok=True
    )
    copy = stage / "notebooks" / name
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(project.notebooks / name, copy)
    shutil.rmtree(workspaces(stage, name), ignore_errors=True)  # what was open the last time


def extensions(stage: Path) -> Path:
    """Where JupyterLab finds the presenter."""
    return stage / "extensions"


def fonts(stage: Path) -> Path:
    """Where the presenter finds its fonts."""
    return extensions(stage) / "minigpt-presenter" / "static" / "fonts"


def workspaces(stage: Path, name: str) -> Path:
    """Where JupyterLab notes which tabs are open; fresh for each talk."""
    return stage / "workspaces" / name


def present_command(project: Project, stage: Path, name: str, options: list[str]) -> list[str]:
    ours = [
        f"--ServerApp.root_dir={stage}",
        f"--LabApp.extra_labextensions_path={extensions(stage)}",
        f"--LabApp.workspaces_dir={workspaces(stage, name)}",
    ]
    return lab.lab_command(project, f"notebooks/{name}", ours + options)
