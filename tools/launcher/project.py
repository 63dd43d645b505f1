"""Project paths, and the two kinds of output: progress messages and user-facing errors."""

from __future__ import annotations

import getpass
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

# Variables, by how they begin, that let in packages or start-up files from outside .venv, or change
# what Python and matplotlib do with the lessons' code.
FOREIGN = ("PYTHON", "JUPYTER_PATH", "JUPYTERLAB_DIR", "MPLBACKEND", "MATPLOTLIBRC")
JUPYTERS = ("JUPYTER_", "JUPYTERLAB_", "IPYTHON")
# These change nothing (a password is no configuration).
KEPT = (
    "JUPYTER_TOKEN",
    "PYTHONUTF8",
    "PYTHONHASHSEED",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPYCACHEPREFIX",
    "PYTHONUNBUFFERED",
)
# Folders that programs look for in the home folder, which may be missing or read-only.
JUPYTER_FOLDERS = {
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_DATA_DIR": "data",
    "IPYTHONDIR": "ipython",
}
MATPLOTLIB_FOLDER = {"MPLCONFIGDIR": "matplotlib"}  # its list of fonts


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
    home: Path | None = None  # where my_work/ is, if not in the project

    @property
    def venv(self) -> Path:
        return self.root / self.environment

    @property
    def for_site(self) -> Project:
        """The same with the environment in which the web site is built."""
        return replace(self, environment=".venv-site")

    def for_hub(self, folder: Path) -> Project:
        """The same with the environment that a hub has in its folder, for all students."""
        return replace(self, environment=str(folder / ".venv-hub"))

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
        return (self.home or self.root) / "my_work"

    @property
    def slides(self) -> Path:
        """Where the decks go."""
        return self.root / "build" / "slides"

    def tracked_notebooks(self) -> list[Path]:
        """All notebooks of the project, in the order of their names."""
        found = self.notebooks.rglob("*.ipynb")
        return sorted(path for path in found if ".ipynb_checkpoints" not in path.parts)

    @property
    def settings(self) -> Path:
        """Where Jupyter, IPython and matplotlib keep their files.

        Outside the project where it cannot be written, or where a file cannot be private (a memory
        stick, some shared folders): Jupyter stops there.
        """
        inside = self.root / ".jupyter"
        return inside if keeps_private(inside) else settings_outside()

    def child_env(self, *, users_config: bool = False) -> dict[str, str]:
        """The environment in which programs of ``.venv`` run.

        Only packages of ``.venv`` are seen, its kernel comes before any other called python3,
        Jupyter and IPython have a configuration of their own unless ``users_config``, and the
        linear algebra library keeps to one thread (several only wait for each other at the size
        of these lessons) unless the user has set a number.
        """
        dropped = FOREIGN if users_config else FOREIGN + JUPYTERS
        env = {k: v for k, v in os.environ.items() if k in KEPT or not k.startswith(dropped)}
        folders = MATPLOTLIB_FOLDER if users_config else MATPLOTLIB_FOLDER | JUPYTER_FOLDERS
        settings = self.settings
        for name, folder in folders.items():
            path = settings / folder
            path.mkdir(parents=True, exist_ok=True)  # IPython warns where one is missing
            env[name] = str(path)
        env["VIRTUAL_ENV"] = str(self.venv)
        env["PATH"] = str(self.python.parent) + os.pathsep + env.get("PATH", "")
        env["JUPYTER_PREFER_ENV_PATH"] = "1"
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            env.setdefault(name, "1")
        env.setdefault("PYTHONUTF8", "1")
        return env


def keeps_private(folder: Path) -> bool:
    """Whether a file in this folder can be written, and read by its owner alone."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder) as probe:
            return os.name == "nt" or os.fstat(probe.fileno()).st_mode & 0o777 == 0o600
    except OSError:
        return False


def settings_outside() -> Path:
    """A folder of this user's among the temporary files, the same at each start."""
    user = getpass.getuser() if os.name == "nt" else os.getuid()
    folder = Path(tempfile.gettempdir()) / f"mini-gpt-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.name != "nt" and folder.stat().st_uid != user:
        return Path(tempfile.mkdtemp(prefix="mini-gpt-"))  # somebody else was there first
    return folder


def here() -> Project:
    return Project(Path(__file__).resolve().parents[2])


def python_name() -> str:
    """How this system's users start Python."""
    return "py" if sys.platform == "win32" else "python3"
