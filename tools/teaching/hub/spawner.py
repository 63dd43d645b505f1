"""Starts a student's server: as their own system user if the hub is root's, always within limits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import sys
import time
from pathlib import Path

from jupyterhub.spawner import LocalProcessSpawner, set_user_setuid
from traitlets import Any, Int

from tools.teaching.hub import limits

RUN = Path("/run/mini-gpt-hub")
TURNS = asyncio.Semaphore(2 * (os.cpu_count() or 2))  # on two cores: one in 7.4 s, four in 8.5


class StudentSpawner(LocalProcessSpawner):
    """JupyterHub's spawner of local processes, for the accounts of a class."""

    settings = Any().tag(config=True)
    accounts = Any().tag(config=True)  # by login
    processes = Int(200).tag(config=True)

    @property
    def login(self) -> str:
        return self.user.name

    @property
    def system(self) -> pwd.struct_passwd | None:
        """The student's system user, None where the hub is not root's."""
        name = self.accounts[self.login].system
        return pwd.getpwnam(name) if name and os.geteuid() == 0 else None

    def make_preexec_fn(self, name):
        entries = limits.group(self.login, self.mem_limit, self.cpu_limit, self.processes)
        system = self.system
        enter = limits.before_start(entries, self.mem_limit, self.processes, system is not None)
        home = self.settings.homes / self.login
        become = set_user_setuid(system.pw_name) if system else lambda: os.chdir(home)

        def prepare():
            enter()
            become()

        return prepare

    def user_env(self, env):
        env |= {
            "USER": self.login,
            "HOME": str(self.settings.homes / self.login),
            "SHELL": "/bin/bash",
            "MINIGPT_INBOX": str(self.settings.inbox / self.login),
        }
        if self.system:
            env["JUPYTER_RUNTIME_DIR"] = str(RUN / str(self.system.pw_uid))
        return env

    async def start(self):
        """Start a few servers at a time; the others wait for their turn, on JupyterHub's page.

        All at once, the first student would wait as long as the last.
        """
        async with TURNS:
            address = await self.start_now()
            await self.answers(*address)
        return address

    async def answers(self, ip, port):
        """Wait until the server listens, or has ended: JupyterHub then says so."""
        while await self.poll() is None:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(ip, port)
                writer.close()
                return
            await asyncio.sleep(0.2)

    async def start_now(self):
        if self.system:
            self.end_all()  # of an earlier server that was killed
            RUN.mkdir(mode=0o711, exist_ok=True)
            folder = RUN / str(self.system.pw_uid)
            folder.mkdir(mode=0o700)
            os.chown(folder, self.system.pw_uid, self.system.pw_gid, follow_symlinks=False)
        return await super().start()

    async def stop(self, now=False):
        await super().stop(now)
        if self.system:
            self.end_all()

    def end_all(self) -> None:
        """End whatever the student still runs: nobody but this hub starts their processes."""
        for _ in range(100):  # who starts new ones meanwhile is stopped soon
            left = limits.processes_of(self.system.pw_uid)
            if not left:
                break
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        shutil.rmtree(RUN / str(self.system.pw_uid), ignore_errors=True)

    async def _signal(self, sig):
        """Signal the server, unless its number now is another's (after a restart of the machine)."""
        return is_server_of(self.pid, self.login) and await super()._signal(sig)


def is_server_of(pid: int, login: str) -> bool:
    """Whether this process was started as the server of this student."""
    if sys.platform != "linux":
        return True
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"JUPYTERHUB_USER={login}".encode() in variables
