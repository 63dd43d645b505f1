"""The steps of the cluster's image, run in a fresh folder as its Dockerfile has them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile

import pytest
import yaml

from tools.launcher import release
from tools.launcher.project import here

CLUSTER = here().root / "tools" / "teaching" / "hub" / "cluster"


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """What the image holds: the steps of the Dockerfile, with folders of our own."""
    folder = tmp_path_factory.mktemp("image")
    release.pack(here(), folder / "course.zip")
    with zipfile.ZipFile(folder / "course.zip") as file:
        file.extractall(folder)
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(sys.executable)
    names = {"APP": str(folder / "mini-gpt"), "VENV": str(folder / "venv"), "HOME": str(folder / "home")}
    steps = re.findall(r"^RUN (.+)$", (CLUSTER / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(steps) >= 6
    kept = {k: v for k, v in os.environ.items() if k.startswith("PIP_") or k in ("TMPDIR", "LANG")}
    for step in steps:
        if "chown" in step and os.geteuid() != 0:
            step = step.split("&&")[0]
        done = subprocess.run(
            ["sh", "-ec", step],
            cwd=names["APP"],
            env=kept | names | {"PATH": f"{folder / 'bin'}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{step}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return folder


def test_its_command_makes_my_work_and_starts_the_server(image):
    """Without a hub the server ends at once and says what it lacks."""
    values = yaml.safe_load((CLUSTER / "values.yaml").read_text(encoding="utf-8"))
    python, *rest = values["singleuser"]["cmd"]
    env = {"HOME": str(image / "home"), "PATH": f"{image / 'venv' / 'bin'}:/usr/bin:/bin"}
    subprocess.run([str(image / "venv" / "bin" / python), *rest], env=env, timeout=120, cwd=image / "home")
    assert (image / "home" / "my_work" / "problems" / "ps1_tokenization.ipynb").is_file()
    said = (image / "home" / ".server.log").read_text(encoding="utf-8")
    assert "JUPYTERHUB_" in said, said


def test_it_has_the_hubs_version_and_no_answers(image):
    wanted = re.search(r"jupyterhub==(\S+)", (CLUSTER / "Dockerfile").read_text())[1]
    there = subprocess.run(
        [str(image / "venv" / "bin" / "jupyterhub-singleuser"), "--version"],
        capture_output=True,
        text=True,
    ).stdout.strip()
    assert there == wanted
    names = {path.name for path in (image / "mini-gpt").rglob("*")}
    assert not names & {"solutions", "answers.md", "grading.md", "hub.md"}
