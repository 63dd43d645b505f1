"""A hub for a trial: started as a teacher starts it, ended and cleaned up by who tries it."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from tools.launcher.project import here
from tools.teaching.hub.client import Student

SETTINGS = """
students = "students.txt"
teachers = ["Frau Weber"]
port = {port}
memory_mb = {memory}
"""


class Hub:
    """One hub in a folder of its own that students can reach."""

    def __init__(self, names: list[str], memory: int = 1000) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mini-gpt-hub-", dir="/var/tmp"))
        self.port = free_port()
        self.process = None
        self.mode = here().root.stat().st_mode  # starting a hub closes it to others
        self.write(names)
        (self.folder / "hub.toml").write_text(SETTINGS.format(port=self.port, memory=memory))

    def write(self, names: list[str]) -> None:
        """Write the class list."""
        (self.folder / "students.txt").write_text("\n".join(names) + "\n", encoding="utf-8")

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, seconds: float = 400) -> None:
        """Start it, and wait until it answers."""
        log = (self.folder / "log.txt").open("ab")
        env = {k: v for k, v in os.environ.items() if not k.startswith(("TMP", "TEMP"))}
        command = [sys.executable, "start.py", "hub", "--config", str(self.folder / "hub.toml")]
        self.process = subprocess.Popen(
            command, cwd=here().root, env=env, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.address}/hub/health", timeout=5).close()
                return
            assert self.process.poll() is None, self.log()
            time.sleep(0.5)
        raise AssertionError(f"the hub did not start: {self.log()}")

    def log(self) -> str:
        return (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace")

    def student(self, login: str) -> Student:
        """A student who has not logged in yet."""
        with (self.folder / "state" / "first-passwords.csv").open(encoding="utf-8") as file:
            words = {row["login"]: row["first password"] for row in csv.DictReader(file)}
        return Student(self.address, login, words[login])

    def kill(self) -> None:
        """As a machine that runs out of memory does it."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ctrl+C, and whatever is left after a minute."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)

    def remove(self) -> None:
        """Leave nothing of it: no process, no system user, no file."""
        self.stop()
        accounts = self.folder / "state" / "accounts.json"
        if accounts.exists():
            for one in json.loads(accounts.read_text(encoding="utf-8")):
                if one["system"]:
                    subprocess.run(["userdel", one["system"]], check=True, capture_output=True)
        shutil.rmtree(self.folder)
        here().root.chmod(self.mode)


def free_port() -> int:
    """A port with two more after it that nobody uses."""
    for port in range(18_000, 19_000, 10):
        try:
            for one in range(port, port + 3):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", one))
            return port
        except OSError:
            continue
    raise AssertionError("no port is free")
