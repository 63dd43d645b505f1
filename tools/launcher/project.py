"""Project paths, and the two kinds of output: progress messages and user-facing errors."""

from __future__ import annotations

import getpass
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path


# Variables, by how they begin, that let in packages or start-up files from outside .venv, or change
# what Python does with the lessons' code.
FOREIGN = (
    "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONOPTIMIZE", "PYTHONWARNINGS",
    "PYTHONINSPECT", "PYTHONUSERBASE", "PYTHONEXECUTABLE", "PYTHONPLATLIBDIR",
    "JUPYTER_PATH", "JUPYTERLAB_DIR",
)
JUPYTERS = ("JUPYTER_", "JUPYTERLAB_", "IPYTHON")
TOKEN = "JUPYTER_TOKEN"  # a password is no configuration


class UserError(Exception):
    """An error that the user can fix: what is wrong, and what to do about it."""

    def __init__(self, what: str, *advice: str):
        super().__init__(what)
        self.what = what
        self.advice = advice


def say(text: str) -> None:
    print(text, flush=True)


@dataclass(frozen=True)
class Project:
    """The folders and files of one copy of the project."""

    root: Path
    environment: str = ".venv"

    @property
    def venv(self) -> Path:
        return self.root / self.environment

    @property
    def for_site(self) -> Project:
        """The same with the environment in which the web site is built."""
        return replace(self, environment=".venv-site")

    @property
    def python(self) -> Path:
        """The Python of ``.venv``."""
        if os.name == "nt":
            return self.venv / "Scripts" / "python.exe"
        return self.venv / "bin" / "python"

    @property
    def stamp(self) -> Path:
        """What was installed into ``.venv``; written last."""
        return self.venv / "mini-gpt.json"

    @property
    def log(self) -> Path:
        """Everything that the last install printed."""
        return self.root / "build" / "install.log"

    @property
    def notebooks(self) -> Path:
        return self.root / "notebooks"

    @property
    def work(self) -> Path:
        """The student's own copies."""
        return self.root / "my_work"

    @property
    def slides(self) -> Path:
        """Where the decks go."""
        return self.root / "build" / "slides"

    def tracked_notebooks(self) -> list[Path]:
        """All notebooks of the project, in the order of their names."""
        found = self.notebooks.rglob("*.ipynb")
        return sorted(path for path in found if ".ipynb_checkpoints" not in path.parts)

    @property
    def jupyter(self) -> Path:
        """Where Jupyter keeps its configuration, and what a student sets in JupyterLab."""
        if os.access(self.root, os.W_OK):
            return self.root / ".jupyter"
        return Path(tempfile.gettempdir()) / f"mini-gpt-{getpass.getuser()}"

    def child_env(self, *, users_config: bool = False) -> dict[str, str]:
        """The environment in which programs of ``.venv`` run.

        Only packages of ``.venv`` are seen, its kernel comes before any other called python3,
        Jupyter and IPython have a configuration of their own unless ``users_config``, and the
        linear algebra library keeps to one thread (several only wait for each other at the size
        of these lessons) unless the user has set a number.
        """
        dropped = FOREIGN if users_config else FOREIGN + JUPYTERS
        env = {k: v for k, v in os.environ.items() if k == TOKEN or not k.startswith(dropped)}
        if not users_config:
            env["JUPYTER_CONFIG_DIR"] = str(self.jupyter / "config")
            env["JUPYTER_DATA_DIR"] = str(self.jupyter / "data")
            env["IPYTHONDIR"] = str(self.jupyter / "ipython")
        env["VIRTUAL_ENV"] = str(self.venv)
        env["PATH"] = str(self.python.parent) + os.pathsep + env.get("PATH", "")
        env["JUPYTER_PREFER_ENV_PATH"] = "1"
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            env.setdefault(name, "1")
        env.setdefault("PYTHONUTF8", "1")
        return env


def here() -> Project:
    return Project(Path(__file__).resolve().parents[2])


def python_name() -> str:
    """How this system's users start Python."""
    return "py" if sys.platform == "win32" else "python3"
