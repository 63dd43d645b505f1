"""Opens JupyterLab on lesson 1, and runs the project's own notebooks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tools.launcher import my_work, sets
from tools.launcher.environment import prepare
from tools.launcher.project import Project, say

USER_CONFIG = "--user-config"
CONFIG_FILES = ["jupyter*_config.*", "jupyter*_config.d/*"]
CONFIG_PATH = "from jupyter_core import paths; print(*paths.jupyter_config_path(), sep='\\n')"


def open_lab(project: Project, options: list[str]) -> int:
    """Open the student's copies, or with --original the project's notebooks."""
    original = "--original" in options
    rest = [option for option in options if option != "--original"]
    page = first_page(project, original)
    prepare(project, "lessons")
    my_work.bring_up_to_date(project)
    command = lab_command(project, page, rest)
    say(f"Opening JupyterLab on {page} (Ctrl+C here ends it).")
    return run(project, command, project.root)


def first_page(project: Project, original: bool) -> str:
    """The notebook to open, as a path from the project's folder."""
    folder = project.notebooks if original else project.work
    return f"{folder.name}/{my_work.name_of(project, my_work.student_notebooks(project)[0])}"


def lab_command(project: Project, page: str, options: list[str]) -> list[str]:
    """The JupyterLab command; an option of the user's replaces ours."""
    ours = {
        "--ServerApp.root_dir": str(project.root),
        "--LabApp.default_url": f"lab/tree/{page}",  # without a slash first: it is put under any base_url
        "--LabApp.extension_manager": "readonly",  # the other kind asks a server on the internet
    }
    given = {option.split("=")[0] for option in options}
    command = [str(project.python), "-m", "jupyterlab"]
    command += [f"{name}={value}" for name, value in ours.items() if name not in given]
    if hasattr(os, "geteuid") and os.geteuid() == 0 and "--allow-root" not in given:
        command.append("--allow-root")  # containers; JupyterLab refuses otherwise
    return command + options


def run(project: Project, command: list[str], folder: Path) -> int:
    """Let JupyterLab take the place of this program; Windows cannot, there it is waited for."""
    env = project.child_env(users_config=USER_CONFIG in command)
    command = [word for word in command if word != USER_CONFIG]
    for file in others_config(project, env):
        say(f"This configuration is read too: {file}")
    if os.name == "nt":
        return wait_for(subprocess.Popen(command, cwd=folder, env=env))
    os.chdir(folder)
    os.execve(command[0], command, env)


def others_config(project: Project, env: dict[str, str]) -> list[Path]:
    """Jupyter's configuration files that are not the project's: an administrator's, the user's."""
    listed = subprocess.run(
        [str(project.python), "-c", CONFIG_PATH], env=env, capture_output=True, encoding="utf-8"
    ).stdout
    others = [
        folder
        for folder in map(Path, listed.splitlines())
        if not folder.is_relative_to(project.venv) and not folder.is_relative_to(project.settings)
    ]
    found = [file for folder in others for pattern in CONFIG_FILES for file in folder.glob(pattern)]
    return sorted(file for file in found if file.suffix in (".py", ".json"))


def wait_for(process: subprocess.Popen) -> int:
    """Ctrl+C is for JupyterLab, which asks back; stay until it has ended."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def execute(project: Project, names: list[str]) -> int:
    """Run notebooks of the project from top to bottom and store what they show."""
    prepare(project, "tests")
    if names:
        chosen = [path for name in names for path in notebooks_named(project, name)]
    else:
        chosen = project.tracked_notebooks()
    return subprocess.call(
        [str(project.python), "-m", "tools.teaching.execute", *map(str, chosen)],
        cwd=project.root,
        env=project.child_env(),
    )


def notebooks_named(project: Project, name: str) -> list[Path]:
    """A lesson or a problem set by its name; a solution by a path such as ``solutions/ps1``."""
    if "solutions" in name.replace("\\", "/").split("/"):
        return sets.solutions(project, [name])
    return [project.notebooks / my_work.find_name(project, name)]
