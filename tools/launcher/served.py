"""What a student's server on a hub does first: brings ``my_work/`` in the student's home up to date.

It runs as the student, so nothing that a student puts into the home can lead it to other files.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tools.launcher import my_work
from tools.launcher.project import UserError, here


def main() -> None:
    home = Path.home()
    log = os.open(home / ".server.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    project = here()
    try:
        my_work.bring_up_to_date(type(project)(project.root, home=home))
    except (OSError, UserError) as error:  # a full disk: who wants to make room needs the server
        print(f"my_work/ is not up to date: {error}", flush=True)
    os.chdir(home)
    command = [sys.executable, "-m", "jupyterhub.singleuser", f"--ServerApp.root_dir={home}"]
    command += ["--LabApp.extension_manager=readonly", *sys.argv[1:]]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
