"""Starts a JupyterHub for a class: makes its folder and its environment, then lets it run."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

from tools.launcher import release
from tools.launcher.environment import logged, prepare, read_log
from tools.launcher.needed import NEEDED
from tools.launcher.project import Project, UserError, say

FOR_ROOT = Path("/srv/mini-gpt-hub")
CLASS_LIST = "# One name a line, such as:\n# Ada Lovelace\n# Müller, Jürgen\n"


def hub(project: Project, words: list[str]) -> int:
    """``hub [--config FILE] [--port N] [--ip A] [--cert FILE --key FILE] [--new-password NAME]``"""
    if not (project.root / "tools" / "teaching" / "hub").is_dir():
        raise UserError(
            "The hub is not here.", "Only the teacher's copy of the project has it (git clone)."
        )
    if sys.platform == "win32":
        raise UserError(
            "JupyterHub does not run on Windows.",
            "Use Linux, or the Windows Subsystem for Linux (wsl --install).",
        )
    from tools.teaching.hub import settings  # absent in a student's copy

    options = arguments(words)
    root = os.geteuid() == 0
    if root:
        use_open_python(project, words)
    folder = FOR_ROOT if root else project.root / "hub"
    file = options.config or folder / "hub.toml"
    if not file.exists():
        return write_first_files(project, file)
    changed = {"port": options.port, "ip": options.ip}
    for name, given in (("certificate", options.cert), ("key", options.key)):
        changed[name] = given and str(given.resolve())
    made = settings.read(file, **changed)
    os.umask(0o022)  # students must read what is installed
    for path, mode in [
        (made.folder, 0o711),
        (made.homes, 0o711),
        (made.inbox, 0o711),
        (made.state, 0o700),
    ]:
        path.mkdir(exist_ok=True)
        path.chmod(mode)
    for path in (file, made.path(made.students)):
        if path.exists():
            path.chmod(path.stat().st_mode & ~0o007)
    if root:
        check_open(made.folder)
        close(project.root)
    served = project.for_hub(made.folder)
    prepare(served, "hub")
    install_proxy(served)
    unpack_course(served, made)
    compile_all(served, made.course)
    env = served.child_env()
    env["MINIGPT_HUB"] = made.as_text()
    env["PYTHONPATH"] = str(project.root)
    if options.new_password:
        accounts = "tools.teaching.hub.accounts"  # beside the hub, which looks up at each login
        return subprocess.call([str(served.python), "-m", accounts, options.new_password], env=env)
    say(protection(root))
    say(f"The hub opens at {made.address} (Ctrl+C here ends it and all servers).")
    say(f"First passwords, to hand out: {made.state / 'first-passwords.csv'}")
    config = project.root / "tools" / "teaching" / "hub" / "jupyterhub_config.py"
    command = [str(served.python), "-m", "jupyterhub", "-f", str(config)]
    os.chdir(made.state)
    os.execve(command[0], command, env)


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="start.py hub", description="A JupyterHub for a class, on this machine."
    )
    add = parser.add_argument
    add(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"the hub's settings; all that it makes lies in the same folder ({FOR_ROOT} for root, "
        "else hub/ in the project)",
    )
    add("--port", type=int, metavar="N", help="where it listens (8000)")
    add("--ip", metavar="ADDRESS", help="on which address (127.0.0.1: this machine alone)")
    add("--cert", type=Path, metavar="FILE", help="HTTPS: the certificate ...")
    add("--key", type=Path, metavar="FILE", help="... and its key")
    add("--new-password", metavar="NAME", help="a new first password for who forgot theirs")
    return parser.parse_args(words)


def write_first_files(project: Project, file: Path) -> int:
    """Where there is no hub yet: its settings and a class list to fill in."""
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(project.root / "tools" / "teaching" / "hub" / "hub.toml", file)
    names = file.parent / "students.txt"
    if not names.exists():
        names.write_text(CLASS_LIST, encoding="utf-8")
    say(f"Written: {file} (settings) and {names} (the class list).")
    say("Write the names of your students into the list, then type the same command again.")
    return 0


def protection(root: bool) -> str:
    """What is kept from whom, in plain words."""
    if root:
        return (
            "Each student is a system user of its own: nobody reads another's files, the solutions, "
            "or what was handed in."
        )
    return (
        "NOT PROTECTED: without root all servers run as you. Students can read and change each "
        "other's files,\nwhat was handed in, the solutions, the hub's passwords, and whatever else "
        "you can. Only people whom you\nwould lend your own account should log in. As root (sudo) "
        "each student is a system user of its own."
    )


# As root: what others may read


def is_open(path: Path) -> bool:
    """Can every user reach this file or folder?"""
    folders = [path, *path.parents] if path.is_dir() else list(path.parents)
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in folders)


def check_open(folder: Path) -> None:
    """Refuse a hub's folder that lies where students cannot go."""
    for one in [*reversed(folder.parents), folder]:
        if not one.stat().st_mode & stat.S_IXOTH:
            raise UserError(
                f"Students cannot reach the hub's folder {folder}: {one} is closed to them.",
                f"Put it elsewhere, such as {FOR_ROOT} (that is where it goes without --config).",
            )


def close(folder: Path) -> None:
    """Keep students out of the teacher's copy of the project, which holds the solutions."""
    if is_open(folder):
        folder.chmod(folder.stat().st_mode & ~0o007)
        say(f"Closed to other users, because the solutions are in it: {folder}")


def use_open_python(project: Project, words: list[str]) -> None:
    """Students run the Python of this environment: if it is in a closed folder, take the system's."""
    python = Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()
    if is_open(python):
        return
    others = Path("/usr/bin/python3")
    question = f"import sys, venv, ensurepip; sys.exit(sys.version_info < {NEEDED})"
    if others.exists() and subprocess.call([str(others), "-c", question]) == 0:
        say(f"{python} is in a closed folder; using {others}, which students can run too.")
        os.execv(others, [str(others), str(project.root / "start.py"), "hub", *words])
    raise UserError(
        f"Students cannot run this Python: {python} is in a folder that is closed to them.",
        "Install Python %d.%d or newer for all users " % NEEDED
        + "(Debian, Ubuntu: apt install python3 python3-venv), then start the hub with it.",
    )


# What is installed


def install_proxy(project: Project) -> None:
    """JupyterHub's proxy, which is a program of node; node itself came with the lock."""
    ours = project.root / "tools" / "teaching" / "hub" / "proxy"
    folder = project.venv / "proxy"
    lock = (ours / "package-lock.json").read_bytes()
    stamp = folder / "installed.json"
    if stamp.exists() and stamp.read_bytes() == lock:
        return
    folder.mkdir(exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(ours / name, folder / name)
    npm = [project.python.parent / "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    if not logged(project, [*npm, "--prefix", folder]):
        last = [line for line in read_log(project).splitlines() if "npm error" in line][:3]
        raise UserError(
            "The proxy (configurable-http-proxy) could not be installed by npm.",
            *last,
            f"Only the first start needs the internet. Details: {project.log}",
        )
    stamp.write_bytes(lock)


def unpack_course(project: Project, made) -> None:
    """The project as students get it, in the hub's folder; as it is now."""
    folder = made.course.parent
    folder.mkdir(exist_ok=True)
    archive = made.state / "course.zip"
    release.pack(project, archive)
    content = hashlib.sha256(archive.read_bytes()).hexdigest()
    stamp = folder / "release.txt"
    if made.course.exists() and stamp.exists() and stamp.read_text() == content:
        return
    fresh = folder / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    with zipfile.ZipFile(archive) as file:
        file.extractall(fresh)
    shutil.rmtree(made.course, ignore_errors=True)
    os.replace(fresh / "mini-gpt", made.course)
    fresh.rmdir()
    stamp.write_text(content)


def compile_all(project: Project, course: Path) -> None:
    """Once for all: students cannot write beside the modules, and would compile at each start."""
    stamp = project.venv / "compiled.txt"
    packages = next(project.venv.glob("lib/python*/site-packages"))
    if not stamp.exists() or stamp.stat().st_mtime < project.stamp.stat().st_mtime:
        say("Compiling what was installed, so that servers start quickly.")
        logged(project, [project.python, "-m", "compileall", "-q", "-j", "0", packages])
        stamp.touch()
    logged(project, [project.python, "-m", "compileall", "-q", course])
