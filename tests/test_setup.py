"""``pyproject.toml``, ``environment.yml`` and the two locks say the same."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tools.launcher.environment import LOCKS
from tools.launcher.locking import requirements
from tools.launcher.needed import NEEDED
from tools.launcher.project import here

ROOT = here().root
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))

# What a student may have: systems, and Pythons from the oldest allowed to one of next year.
SYSTEMS = [
    {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
    {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
]
PYTHONS = ["3.11.0", "3.11.9", "3.12.4", "3.13.0", "3.14.0", "3.15.0"]


def lock_text(wanted):
    return (ROOT / LOCKS[wanted]).read_text(encoding="utf-8")


def locked(wanted):
    """The requirements of a lock, one for each line that is not a hash or a comment."""
    lines = re.findall(r"^([a-z0-9].*?)\s*\\?$", lock_text(wanted), re.MULTILINE)
    return [Requirement(line) for line in lines]


def versions(wanted, system, python):
    """What a lock installs on one system, as pip would read it."""
    environment = system | {
        "python_version": python.rpartition(".")[0], "python_full_version": python,
        "implementation_name": "cpython", "platform_python_implementation": "CPython",
    }
    found = {}
    for requirement in locked(wanted):
        if requirement.marker is None or requirement.marker.evaluate(environment):
            assert requirement.name not in found, f"{requirement.name} is pinned twice"
            found[canonicalize_name(requirement.name)] = Version(
                str(requirement.specifier).removeprefix("==")
            )
    return found


def by_name(lines):
    return {canonicalize_name(r.name): str(r.specifier) for r in map(Requirement, lines)}


def test_conda_gets_what_pip_gets():
    conda = by_name(line for line in CONDA["dependencies"] if isinstance(line, str))
    assert conda.pop("pip") == ""
    assert conda.pop("python") == PROJECT["project"]["requires-python"]
    assert conda == by_name(PROJECT["project"]["dependencies"])


def test_conda_installs_the_project_from_conda_forge():
    assert {"pip": ["-e ."]} in CONDA["dependencies"]
    assert CONDA["channels"] == ["conda-forge", "nodefaults"]


def test_every_dependency_has_a_lowest_version():
    for wanted in LOCKS:
        for line in requirements(here(), wanted):
            assert re.fullmatch(r"[a-z0-9_-]+>=[0-9.]+", line), line


def test_all_name_the_same_oldest_python():
    assert PROJECT["project"]["requires-python"] == ">=%d.%d" % NEEDED


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system["platform_system"])
@pytest.mark.parametrize("wanted", LOCKS)
def test_the_lock_satisfies_the_project_everywhere(wanted, system, python):
    installed = versions(wanted, system, python)
    for requirement in map(Requirement, requirements(here(), wanted)):
        assert installed[canonicalize_name(requirement.name)] in requirement.specifier


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system["platform_system"])
def test_the_tests_run_with_the_versions_of_the_lessons(system, python):
    assert versions("lessons", system, python).items() <= versions("tests", system, python).items()


@pytest.mark.parametrize("wanted", LOCKS)
def test_every_line_of_a_lock_is_a_pin_with_hashes_a_hash_or_a_comment(wanted):
    lines = lock_text(wanted).splitlines()
    pin = re.compile(r"[a-z0-9][a-z0-9.-]*==[0-9][0-9a-z.+!]*( ; [^\\]+)? \\")
    digest = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("#"):
            continue
        assert pin.fullmatch(line) or digest.fullmatch(line), line
        assert line.endswith("\\") == bool(digest.fullmatch(following)), line


@pytest.mark.parametrize("wanted", LOCKS)
def test_a_lock_holds_no_address_and_no_path(wanted):
    text = lock_text(wanted)
    assert not re.search(r"://|@|/|index-url|find-links|\bwww\.|\.(org|com|net|io)\b", text)


@pytest.mark.parametrize("wanted", LOCKS)
def test_pytorch_is_in_no_lock(wanted):
    assert "torch" not in {requirement.name for requirement in locked(wanted)}


def test_jupyterlite_stays_away_from_jupyterlab():
    """JupyterLab loads each extension that lies in its environment, JupyterLite's kernel too."""
    for wanted in LOCKS:
        names = {requirement.name for requirement in locked(wanted)}
        assert any(name.startswith("jupyterlite") for name in names) == (wanted == "site")
    assert here().for_site.venv != here().venv


def test_the_build_backend_is_locked():
    names = {requirement.name for requirement in locked("lessons")}
    assert {Requirement(line).name for line in PROJECT["build-system"]["requires"]} <= names


def test_the_licences_that_the_package_names_are_there():
    for name in PROJECT["project"]["license-files"]:
        assert (ROOT / name).is_file()


def workflow():
    path = ROOT / ".github" / "workflows" / "tests.yml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_workflow_calls_the_one_command_on_three_systems():
    job = workflow()["jobs"]["test"]
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == ["python start.py test"]
    systems = {name.partition("-")[0] for name in job["strategy"]["matrix"]["os"]}
    assert systems == {"ubuntu", "macos", "windows"}
    assert job["strategy"]["matrix"]["python"][0] == "%d.%d" % NEEDED
    assert workflow()["permissions"] == {"contents": "read"}


def test_a_scheduled_workflow_runs_the_whole_matrix():
    path = ROOT / ".github" / "workflows" / "matrix.yml"
    scheduled = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert scheduled[True]["schedule"]  # YAML reads the key `on` as true
    commands = [step["run"] for step in scheduled["jobs"]["matrix"]["steps"] if "run" in step]
    assert "python3 start.py matrix" in commands
