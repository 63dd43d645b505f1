"""Makes ``.venv`` and installs into it, once: a second start sees that all is there.

The site has an environment of its own: JupyterLab would load the extensions that JupyterLite brings.
So has the hub: students run its Python, and cannot change it.

Two installs, because pip refuses an editable package beside hashes: first the lock, each file of
it held against its hash; then this project itself, without looking for anything more.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.launcher.diagnosis import install_error
from tools.launcher.installers import installer_env
from tools.launcher.needed import NEEDED
from tools.launcher.project import Project, UserError, python_name, say

# What can be installed, and from which lock.
LOCKS = {
    "lessons": "tools/locks/lessons.lock",
    "teaching": "tools/locks/teaching.lock",
    "site": "tools/locks/site.lock",
    "hub": "tools/locks/hub.lock",
    "tests": "tools/locks/tests.lock",
}
CONTAINS = {
    "lessons": ("lessons",),
    "teaching": ("teaching", "lessons"),
    "site": ("site",),
    "hub": ("hub",),
    "tests": ("tests", "teaching", "lessons"),
}
NEEDED_SPACE = {
    "lessons": 700,
    "teaching": 1100,
    "site": 1200,
    "hub": 1100,
    "tests": 1400,
}  # MB, with the download

# JupyterLab's own choices, changed for this environment alone: whole notebook in the page, no
# question about news, no look for updates.
LAB_SETTINGS = {
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
    },
}
SETTINGS = {
    "share/jupyter/lab/settings/overrides.json": LAB_SETTINGS,
}


def prepare(project: Project, wanted: str) -> None:
    """See to it that the project's environment holds what ``wanted`` (a key of LOCKS) needs."""
    if os.pathsep in str(project.root):
        raise UserError(
            f"The project is in {project.root}: a path with {os.pathsep!r} in it is read as two.",
            "Rename the folder, then type the same command again.",
        )
    if is_ready(project, wanted):
        return
    with only_one(project):
        if is_ready(project, wanted):  # another start.py has done it meanwhile
            return
        if project.venv.is_symlink() or project.venv.exists():
            reason = why_unusable(project)
            if reason is not None:
                say(f"The folder {project.venv.name} cannot be used ({reason}): it is made anew.")
                remove(project.venv)
        check_space(project, wanted)
        install(project, wanted)


def is_ready(project: Project, wanted: str) -> bool:
    """Whether what is wanted was installed from the files that lie here now."""
    stamp = read_stamp(project)
    installed = stamp.get("installed")
    return (
        wanted in CONTAINS.get(installed, ())
        and stamp.get("fingerprint") == fingerprint(project, installed)
        and why_unusable(project) is None
    )


def why_unusable(project: Project) -> str | None:
    """Why ``.venv`` must be made anew, or None if it can be used or added to."""
    if not project.venv.is_dir():
        return "it is not a folder"
    if not project.python.exists():
        return "its Python is missing"
    stamp = read_stamp(project)
    if stamp.get("installed") == "half":
        return "its making was interrupted"
    if stamp.get("root", str(project.root)) != str(project.root):
        return "the project was moved or copied"
    gone = sorted(set(stamp.get("packages", ())) - set(installed_packages(project)))
    if gone:
        return f"{gone[0]} is gone from it or was changed"
    version = python_version(project)
    if version is None:
        return "its Python does not run"
    if version < NEEDED:
        return f"its Python is {version[0]}.{version[1]}, which is too old"
    return None


def python_version(project: Project) -> tuple[int, int] | None:
    """The version that the Python in ``.venv`` answers, None if it does not run."""
    question = "import sys; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run(
            [str(project.python), "-c", question],
            env=project.child_env(),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        major, minor = answer.stdout.split()
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def installed_packages(project: Project) -> list[str]:
    """What lies in the folders of packages: names of modules, and names with versions."""
    folders = [*project.venv.glob("lib/python*/site-packages"), project.venv / "Lib/site-packages"]
    found = {entry.name for folder in folders if folder.is_dir() for entry in folder.iterdir()}
    return sorted(found - {"__pycache__"})


def fingerprint(project: Project, wanted: str) -> str:
    """One number for the lock and ``pyproject.toml``: it changes when one of them does."""
    digest = hashlib.sha256()
    for name in (LOCKS[wanted], "pyproject.toml"):
        digest.update(required_file(project, name).read_bytes())
    return digest.hexdigest()


def required_file(project: Project, name: str) -> Path:
    path = project.root / name
    if not path.is_file():
        raise UserError(
            f"The file {name} is missing from {project.root}.",
            "Get the project again as a whole (git clone, or unpack the whole archive).",
        )
    return path


def read_stamp(project: Project) -> dict:
    try:
        stamp = json.loads(project.stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(project: Project, **content: object) -> None:
    project.stamp.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def install(project: Project, wanted: str) -> None:
    """Make ``.venv`` if it is absent, fill it, and write the stamp last."""
    uv = shutil.which("uv")
    lock = required_file(project, LOCKS[wanted])
    project.log.parent.mkdir(exist_ok=True)
    project.log.write_text("", encoding="utf-8")
    check_python(with_pip=uv is None)
    make_venv(project, with_pip=uv is None)
    say(f"Installing what is needed for the {wanted}. This takes a minute or two, once.")
    write_stamp(project, installed="half", root=str(project.root))
    # Compiled now, as pip does: else each program does it anew where Python may write no bytecode.
    with_uv = [uv, "pip", "install", "--python", project.python, "--compile-bytecode"]
    if not (uv and fill(project, with_uv, lock)):
        if uv:
            say("uv could not do it; trying pip.")
        add_pip(project)
        if not fill(project, [project.python, "-m", "pip", "install", "--no-input"], lock):
            raise install_error(read_log(project), str(project.log))
    write_lab_settings(project)
    # Now, because the first picture of a lesson would print that it takes a moment.
    logged(project, [project.python, "-c", "import matplotlib.font_manager"])
    write_stamp(
        project,
        installed=wanted,
        root=str(project.root),
        fingerprint=fingerprint(project, wanted),
        packages=installed_packages(project),
    )
    say("Installed.")


def fill(project: Project, installer: list, lock: Path) -> bool:
    """Both installs, by pip or by uv, which take the same options. False if one fails."""
    this_project = ["--no-deps", "--no-build-isolation", "-e", "."]
    return logged(project, [*installer, "--require-hashes", "-r", lock]) and logged(
        project, [*installer, *this_project]
    )


def make_venv(project: Project, with_pip: bool) -> None:
    """Make ``.venv`` with the Python that runs this, if there is none."""
    if project.python.exists():
        return
    say(f"Making the folder {project.venv.name}, in which everything is installed.")
    project.venv.mkdir(exist_ok=True)
    write_stamp(project, installed="half", root=str(project.root))
    # Inside .venv itself sys.executable would be removed while it runs.
    python = getattr(sys, "_base_executable", None) or sys.executable
    options = [] if with_pip else ["--without-pip"]
    if not can_link(project.venv):
        (project.venv / "lib64").mkdir(exist_ok=True)  # which venv else makes as a link
        options.append("--copies")
    if not logged(project, [python, "-m", "venv", *options, project.venv]):
        if "ensurepip is not available" in read_log(project):
            raise no_venv_error("ensurepip")
        raise install_error(read_log(project), str(project.log))


def can_link(folder: Path) -> bool:
    """Whether the file system has symbolic links (a memory stick's has none)."""
    if os.name == "nt":
        return True  # not asked for there
    probe = folder / "link"
    try:
        probe.symlink_to("elsewhere")
    except OSError:
        return False
    probe.unlink()
    return True


def check_python(with_pip: bool) -> None:
    """Refuse a Python that was built or packed without what the install or JupyterLab needs."""
    for module in ["venv", "ensurepip"] if with_pip else ["venv"]:
        if not has_module(module):
            raise no_venv_error(module)
    for module in ("ssl", "ctypes", "sqlite3", "zlib"):
        try:
            importlib.import_module(module)
        except ImportError:
            raise UserError(
                f"This Python ({sys.executable}) was built without the module {module}, which the "
                "install and JupyterLab need.",
                "Use another Python: from python.org, from your system, or with conda. If you "
                f"built it yourself: install the headers for {module}, then build it again.",
            ) from None


def has_module(name: str) -> bool:
    """Whether this Python has it; Debian packs venv apart, and may leave an empty folder."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def no_venv_error(module: str) -> UserError:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return UserError(
        f"This Python {version} has no module {module}, so it cannot make a virtual environment.",
        f"On Debian and Ubuntu: sudo apt install python{version}-venv",
        "Elsewhere: install Python from python.org, or with conda; both bring it.",
        "Then type the same command again.",
    )


def add_pip(project: Project) -> None:
    """Give pip to an environment that was made for uv and so has none."""
    if logged(project, [project.python, "-m", "pip", "--version"]):
        return
    if not has_module("ensurepip"):
        raise no_venv_error("ensurepip")
    if not logged(project, [project.python, "-m", "ensurepip"]):
        raise install_error(read_log(project), str(project.log))


def read_log(project: Project) -> str:
    return project.log.read_text(encoding="utf-8", errors="replace")


def logged(project: Project, command: list) -> bool:
    """Run a command, keep all it prints in the log, show its last line on a terminal."""
    env = installer_env(project)
    on_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns - 1
    with project.log.open("a", encoding="utf-8", errors="replace") as log:
        log.write("\n$ " + " ".join(str(part) for part in command) + "\n")
        log.flush()
        with subprocess.Popen(
            [str(part) for part in command],
            cwd=project.root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        ) as process:
            for line in process.stdout:
                log.write(line)
                if on_terminal:
                    print("\r" + ("  " + line.strip())[:width].ljust(width), end="", flush=True)
        if on_terminal:
            print("\r" + " " * width + "\r", end="", flush=True)
        return process.returncode == 0


def write_lab_settings(project: Project) -> None:
    for name, content in SETTINGS.items():
        path = project.venv / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def check_space(project: Project, wanted: str) -> None:
    free = shutil.disk_usage(project.root).free // 2**20
    if free < NEEDED_SPACE[wanted]:
        raise UserError(
            f"Only {free} MB are free on the disk of {project.root}.",
            f"The install takes about {NEEDED_SPACE[wanted]} MB. Free some space, then type the "
            "same command again.",
        )


def remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    try:
        shutil.rmtree(path)
    except OSError as error:
        raise UserError(
            f"The folder {path} cannot be removed ({error.strerror}).",
            "Close every program that uses it (JupyterLab, a terminal, an editor), remove the "
            f"folder by hand, then type {python_name()} start.py again.",
        ) from error


@contextlib.contextmanager
def only_one(project: Project) -> Iterator[None]:
    """Let one start.py at a time install. The system frees the lock when its holder ends."""
    path = project.root / "build" / "install.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        if not try_lock(file):
            say("Another start.py is installing; waiting for it.")
            wait_lock(file)
        yield


if os.name == "nt":
    import msvcrt
    import time

    def try_lock(file) -> bool:
        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def wait_lock(file) -> None:
        while not try_lock(file):
            time.sleep(0.5)

else:
    import fcntl

    def try_lock(file) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def wait_lock(file) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)
