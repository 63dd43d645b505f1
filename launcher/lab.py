"""Opens JupyterLab on lesson 1, and runs the project's own notebooks anew."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from launcher import copies, sets
from launcher.environment import prepare
from launcher.place import Place, say


def open_lab(place: Place, options: list[str]) -> int:
    """Open the student's copies, or with --original the project's notebooks."""
    original = "--original" in options
    rest = [option for option in options if option != "--original"]
    page = first_page(place, original)
    prepare(place, "lessons")
    copies.bring_up_to_date(place)
    command = lab_command(place, page, rest)
    say(f"Opening JupyterLab on {page} (Ctrl+C here ends it).")
    return run(place, command, place.root)


def first_page(place: Place, original: bool) -> str:
    """The notebook to open, as a path from the project's folder."""
    folder = place.notebooks if original else place.work
    return f"{folder.name}/{copies.name_of(place, copies.student_notebooks(place)[0])}"


def lab_command(place: Place, page: str, options: list[str]) -> list[str]:
    """The JupyterLab command; an option of the user's replaces ours."""
    ours = {
        "--ServerApp.root_dir": str(place.root),
        "--LabApp.default_url": f"/lab/tree/{page}",
        "--LabApp.extension_manager": "readonly",  # the other kind asks a server on the internet
    }
    given = {option.split("=")[0] for option in options}
    command = [str(place.python), "-m", "jupyterlab"]
    command += [f"{name}={value}" for name, value in ours.items() if name not in given]
    if hasattr(os, "geteuid") and os.geteuid() == 0 and "--allow-root" not in given:
        command.append("--allow-root")  # containers; JupyterLab refuses otherwise
    return command + options


def run(place: Place, command: list[str], folder: Path) -> int:
    """Let JupyterLab take the place of this program; Windows cannot, there it is waited for."""
    if os.name == "nt":
        return wait_for(subprocess.Popen(command, cwd=folder, env=place.child_env()))
    os.chdir(folder)
    os.execve(command[0], command, place.child_env())


def wait_for(process: subprocess.Popen) -> int:
    """Ctrl+C is for JupyterLab, which asks back; stay until it has ended."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def execute(place: Place, names: list[str]) -> int:
    """Run notebooks of the project from top to bottom and store what they show."""
    prepare(place, "tests")
    if names:
        chosen = [path for name in names for path in notebooks_named(place, name)]
    else:
        chosen = place.tracked_notebooks()
    return subprocess.call(
        [str(place.python), "-m", "launcher.execute", *map(str, chosen)],
        cwd=place.root,
        env=place.child_env(),
    )


def notebooks_named(place: Place, name: str) -> list[Path]:
    """A lesson or a problem set by its name; a solution by a path such as ``solutions/ps1``."""
    if "solutions" in name.replace("\\", "/").split("/"):
        return sets.solutions(place, [name])
    return [place.notebooks / copies.find_name(place, name)]
