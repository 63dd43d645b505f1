"""``.ci/run`` on a bare machine, played by programs that only note how they were called."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess

import pytest

from tools.launcher.project import here

pytestmark = pytest.mark.skipif(
    os.name == "nt" or shutil.which("bash") is None, reason="a script for Debian"
)
SYSTEM = ["bash", "env", "dirname", "mktemp", "mkdir", "rm", "id"]
NOTE = '#!/bin/sh\necho "$(basename "$0") $* HOME=$HOME" >> "$CALLS"\n'


def ci_run(tmp_path, *there, home):
    """The calls of ``.ci/run`` where only these programs are installed."""
    root, programs, calls = tmp_path / "project", tmp_path / "bin", tmp_path / "calls"
    for folder in (root / ".ci", root / ".venv" / "bin", programs):
        folder.mkdir(parents=True)
    shutil.copy(here().root / ".ci" / "run", root / ".ci" / "run")
    for name in SYSTEM:
        (programs / name).symlink_to(shutil.which(name))
    for path in [*(programs / name for name in (*there, "apt-get", "sudo")),
                 root / ".venv" / "bin" / "python"]:
        path.write_text(NOTE.replace("basename", shutil.which("basename")))
        path.chmod(stat.S_IRWXU)
    env = {"PATH": str(programs), "CALLS": str(calls)} | ({} if home is None else {"HOME": home})
    subprocess.run(["bash", str(root / ".ci" / "run")], env=env, check=True)
    return calls.read_text().splitlines()


@pytest.mark.parametrize("home", ["empty", "missing", "unset", "no folder"])
def test_the_home_folder_may_be_empty_missing_or_no_folder(tmp_path, home):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    path = {"empty": tmp_path / "empty", "missing": tmp_path / "missing", "unset": None,
            "no folder": tmp_path / "file" / "home"}[home]
    calls = ci_run(tmp_path, "chromium", "git", "python3", home=path and str(path))
    homes = {line.partition("HOME=")[2] for line in calls if "start.py" in line}
    assert len(homes) == 1 and "" not in homes
    assert (homes == {str(path)}) == (home in ("empty", "missing"))
    assert [line.split(" HOME=")[0] for line in calls if "start.py" in line] == [
        "python3 start.py test", "python3 start.py test bridge",
        "python3 start.py matrix --core lowest newest",
    ]
    assert not any("apt-get" in line for line in calls)


def test_what_is_missing_is_installed(tmp_path):
    calls = ci_run(tmp_path, "python3", home=str(tmp_path))
    install = next(line for line in calls if "apt-get install" in line)
    assert " chromium git" in install and "chromedriver" not in install
