"""``start.py`` in a small project made for each test; fakes play the slow things, venv and pip."""

from __future__ import annotations

import ast
import errno
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import start
from tools.launcher import bench, browser, cli, environment, installers, lab, my_work, testing
from tools.launcher.diagnosis import CAUSES, install_error, system_error
from tools.launcher.environment import LOCKS
from tools.launcher.project import Project, UserError, here

LESSONS = ["01_tokenization.ipynb", "02_autograd.ipynb", "problems/ps1_tokenization.ipynb"]

READ_BY_OLD_PYTHONS = ["__init__.py", "launcher/__init__.py", "launcher/needed.py"]


@pytest.fixture
def project(tmp_path):
    """A small project in a folder whose name has a space in it."""
    root = tmp_path / "my project"
    (root / "notebooks" / "problems").mkdir(parents=True)
    (root / "notebooks" / "solutions").mkdir()
    for name in [*LESSONS, "solutions/ps1_tokenization.ipynb"]:
        (root / "notebooks" / name).write_text(f"original of {name}")
    for name in ["pyproject.toml", LOCKS["lessons"], LOCKS["tests"]]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(here().root / name, root / name)
    return Project(root)


@pytest.fixture
def installer(project, monkeypatch):
    """Instead of venv, pip and uv: a program that makes the folders, and notes each call."""
    calls = []

    def fake(project, command):
        words = [str(word) for word in command]
        if "-c" in words:  # the list of fonts
            return True
        calls.append(words)
        output = installer.output if installer.fails(words) else ""
        with project.log.open("a", encoding="utf-8") as log:
            log.write(output)
        if output:
            return False
        packages = project.venv / "lib" / "python3.11" / "site-packages"
        if "venv" in words:
            packages.mkdir(parents=True)
            project.python.parent.mkdir(parents=True, exist_ok=True)
            project.python.symlink_to(sys.executable)
        if "install" in words:
            for name in ("numpy", "numpy-2.4.6.dist-info"):
                (packages / name).mkdir(exist_ok=True)
        return True

    class Installer:
        output = "failed"

        def fails(self, words):
            return False

        def take(self):
            """The calls since the last time, each as one word."""
            taken = [
                "venv"
                if "venv" in words
                else "ensurepip"
                if "ensurepip" in words
                else "project"
                if "-e" in words
                else Path(words[-1]).relative_to(project.root).as_posix()
                for words in calls
                if "--version" not in words  # only a question
            ]
            calls.clear()
            return taken

    installer = Installer()
    installer.calls = calls
    monkeypatch.setattr(environment, "logged", fake)
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)
    return installer


posix = pytest.mark.skipif(os.name == "nt", reason="the fake .venv is made of links")


# Old Pythons


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 8, 10), (3, 10, 13)])
def test_an_old_python_is_told_what_to_do(version):
    message = start.too_old(version, "python")
    assert f"This is Python {version[0]}.{version[1]}" in message
    assert "3.11 or newer" in message
    assert "What to do" in message


def test_a_new_python_is_welcome():
    assert start.too_old((3, 11, 0), "python") is None
    assert start.too_old((3, 15, 0), "python") is None


def test_an_old_python_can_read_start_py_and_stops_there():
    file = here().root / "start.py"
    source = file.read_text(encoding="ascii")
    for each in [file, *(here().root / "tools" / name for name in READ_BY_OLD_PYTHONS)]:
        ast.parse(each.read_text(encoding="ascii"), feature_version=(3, 4))
    pretend = (
        "import sys; sys.version_info = (3, 8, 10); sys.argv = ['start.py'];"
        f"names = {{'__name__': '__main__', '__file__': {str(file)!r}}};"
        f"exec(compile({source!r}, 'start.py', 'exec'), names)"
    )
    result = subprocess.run([sys.executable, "-c", pretend], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("This is Python 3.8")
    assert "Traceback" not in result.stderr


# The command line


def command(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, str(here().root / "start.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        **kwargs,
    )


def test_help_from_another_folder(tmp_path):
    result = command("--help", cwd=tmp_path)
    assert result.returncode == 0
    for name in filter(None, cli.COMMANDS):
        assert f"start.py {name}" in result.stdout


def test_an_unknown_command_names_the_closest():
    result = command("tset")
    assert result.returncode == 1
    assert "no command 'tset'" in result.stderr
    assert "Did you mean test?" in result.stderr
    assert "Traceback" not in result.stderr


def test_reset_without_a_name_says_how(capsys):
    assert cli.run(["reset"]) == 1
    assert "start.py reset 03" in capsys.readouterr().err


def test_no_trouble_shows_a_traceback(monkeypatch, capsys):
    def full_disk(project, arguments):
        raise OSError(errno.ENOSPC, "No space left on device", "numpy.whl")

    monkeypatch.setitem(cli.COMMANDS, "test", cli.Command(full_disk, "", ""))
    monkeypatch.delenv("MINIGPT_DEBUG", raising=False)
    assert cli.run(["test"]) == 1
    assert capsys.readouterr().err.startswith("The disk is full (numpy.whl).")


def test_an_interrupt_is_no_error(monkeypatch, capsys):
    def interrupted(project, arguments):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "test", cli.Command(interrupted, "", ""))
    assert cli.run(["test"]) == 130
    assert "Stopped" in capsys.readouterr().err


def test_options_alone_belong_to_jupyterlab(monkeypatch):
    seen = []

    def note(project, arguments):
        seen.append(arguments)
        return 0

    monkeypatch.setitem(cli.COMMANDS, "", cli.Command(note, "", ""))
    assert cli.run(["--port", "8890", "--no-browser"]) == 0
    assert cli.run([]) == 0
    assert seen == [["--port", "8890", "--no-browser"], []]


# JupyterLab


def test_jupyterlab_opens_the_first_lesson_with_the_users_options(project):
    page = lab.first_page(project, original=False)
    assert page == "my_work/01_tokenization.ipynb"
    words = lab.lab_command(project, page, ["--no-browser", "--port", "8890"])
    assert words[:3] == [str(project.python), "-m", "jupyterlab"]
    assert f"--ServerApp.root_dir={project.root}" in words
    assert "--LabApp.default_url=lab/tree/my_work/01_tokenization.ipynb" in words
    assert words[-3:] == ["--no-browser", "--port", "8890"]


def test_original_opens_the_projects_own_notebook(project):
    assert lab.first_page(project, original=True) == "notebooks/01_tokenization.ipynb"


def test_an_option_of_the_user_replaces_ours(project):
    words = lab.lab_command(project, "x", ["--LabApp.default_url=/tree"])
    assert [word for word in words if "default_url" in word] == ["--LabApp.default_url=/tree"]


def test_root_is_allowed_once(project, monkeypatch):
    monkeypatch.setattr(lab.os, "geteuid", lambda: 0, raising=False)
    assert lab.lab_command(project, "x", ["--allow-root"]).count("--allow-root") == 1
    assert lab.lab_command(project, "x", []).count("--allow-root") == 1
    monkeypatch.setattr(lab.os, "geteuid", lambda: 1000, raising=False)
    assert "--allow-root" not in lab.lab_command(project, "x", [])


def test_a_project_without_notebooks_says_so(project):
    shutil.rmtree(project.notebooks)
    with pytest.raises(UserError, match="no notebooks"):
        lab.first_page(project, original=False)


def test_programs_see_only_our_packages_and_one_thread(project, monkeypatch):
    for name in ("PYTHONPATH", "PYTHONHOME", "JUPYTER_PATH", "JUPYTERLAB_DIR"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "4")
    env = project.child_env()
    assert "elsewhere" not in env.values()
    assert env["VIRTUAL_ENV"] == str(project.venv)
    assert env["PATH"].startswith(str(project.python.parent))
    assert (env["OMP_NUM_THREADS"], env["MKL_NUM_THREADS"]) == ("1", "4")


def test_jupyter_and_ipython_have_a_configuration_of_their_own(project, monkeypatch):
    for name in ("CONFIG_DIR", "CONFIG_PATH", "DATA_DIR", "NO_CONFIG", "RUNTIME_DIR"):
        monkeypatch.setenv(f"JUPYTER_{name}", "theirs")
    monkeypatch.setenv("IPYTHONDIR", "theirs")
    monkeypatch.setenv("JUPYTERLAB_SETTINGS_DIR", "theirs")
    monkeypatch.setenv("JUPYTER_TOKEN", "a password")
    env = project.child_env()
    assert "theirs" not in env.values()
    assert env["JUPYTER_TOKEN"] == "a password"
    env = project.child_env(users_config=True)
    assert (env["JUPYTER_CONFIG_DIR"], env["IPYTHONDIR"]) == ("theirs", "theirs")


def test_python_and_matplotlib_do_with_a_lesson_what_they_always_do(project, monkeypatch):
    for name in (
        "PYTHONDEVMODE",
        "PYTHONWARNINGS",
        "PYTHONIOENCODING",
        "PYTHON_GIL",
        "MPLBACKEND",
        "MATPLOTLIBRC",
        "MPLCONFIGDIR",
    ):
        monkeypatch.setenv(name, "theirs")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    env = project.child_env(users_config=True)
    assert "theirs" not in env.values()
    assert env["PYTHONHASHSEED"] == "7"


def test_the_settings_are_in_the_project_and_their_folders_are_made(project):
    env = project.child_env()
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR", "MPLCONFIGDIR"):
        assert Path(env[name]).is_dir()
        assert Path(env[name]).is_relative_to(project.root / ".jupyter")
    assert [path for path in (project.root / ".jupyter").iterdir() if path.is_file()] == []


@posix
@pytest.mark.parametrize("kind", ["read-only", "without permissions"])
def test_where_no_private_file_can_be_the_settings_are_elsewhere(
    project, monkeypatch, tmp_path, kind
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if kind == "read-only":

        def refused(**arguments):
            raise OSError(errno.EROFS, "Read-only file system")

        monkeypatch.setattr(tempfile, "NamedTemporaryFile", refused)
    else:
        everybodys = os.stat_result([stat.S_IFREG | 0o755, *[0] * 9])
        monkeypatch.setattr("tools.launcher.project.os.fstat", lambda number: everybodys)
    assert project.settings == project.settings == tmp_path / f"mini-gpt-{os.getuid()}"
    assert project.settings.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr("tools.launcher.project.os.getuid", lambda: 12345)
    (tmp_path / "mini-gpt-12345").mkdir()  # somebody else's
    assert project.settings.parent == tmp_path
    assert project.settings.name != "mini-gpt-12345"


def started(project, monkeypatch, *options, config_path=()):
    """The words and the environment with which ``start.py`` would start JupyterLab."""
    listed = "".join(f"{folder}\n" for folder in config_path)
    monkeypatch.setattr(
        lab.subprocess,
        "run",
        lambda words, **kwargs: subprocess.CompletedProcess(words, 0, listed),
    )
    calls = []
    monkeypatch.setattr(lab, "prepare", lambda project, wanted: None)
    monkeypatch.setattr(lab.os, "chdir", lambda folder: None)
    monkeypatch.setattr(lab.os, "execve", lambda *arguments: calls.append(arguments))
    lab.open_lab(project, list(options))
    [(_, words, env)] = calls
    return words, env


@posix
def test_the_users_configuration_is_an_option(project, monkeypatch):
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", "theirs")
    words, env = started(project, monkeypatch, "--no-browser")
    assert env["JUPYTER_CONFIG_DIR"] != "theirs"
    words, env = started(project, monkeypatch, "--user-config", "--no-browser")
    assert env["JUPYTER_CONFIG_DIR"] == "theirs"
    assert words[-1] == "--no-browser" and "--user-config" not in words


@posix
def test_a_configuration_that_jupyter_reads_in_any_case_is_named(project, monkeypatch, capsys):
    theirs, ours = project.root / "etc", Path(project.child_env()["JUPYTER_CONFIG_DIR"])
    for folder in (theirs, ours, project.venv / "etc"):
        (folder / "jupyter_server_config.d").mkdir(parents=True)
        (folder / "jupyter_server_config.py").write_text("")
    (theirs / "jupyter_server_config.d" / "hub.json").write_text("{}")
    (theirs / "jupyter_server_config.d" / "notes.txt").write_text("")
    listed = [ours, project.venv / "etc", theirs, project.root / "absent"]
    started(project, monkeypatch, config_path=listed)
    said = [line for line in capsys.readouterr().out.splitlines() if "is read too" in line]
    assert [Path(line.split(": ")[1]).relative_to(theirs).as_posix() for line in said] == [
        "jupyter_server_config.d/hub.json",
        "jupyter_server_config.py",
    ]


def test_jupyter_says_where_it_reads_its_configuration(monkeypatch, tmp_path):
    """The real question to the real Jupyter: the user's file is named with --user-config alone."""
    (tmp_path / "jupyter_server_config.py").write_text("")
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    here_in_tests = here()
    monkeypatch.setattr(Project, "python", Path(sys.executable))
    named = {
        users: tmp_path / "jupyter_server_config.py"
        in lab.others_config(here_in_tests, here_in_tests.child_env(users_config=users))
        for users in (False, True)
    }
    assert named == {False: False, True: True}


def page_at(address):
    """The text of a page; a server prints its address a moment before it listens."""
    end = time.monotonic() + 300
    while True:
        try:
            with urllib.request.urlopen(address) as answer:
                return answer.read().decode()
        except urllib.error.URLError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


@posix
def test_the_address_that_jupyterlab_prints_is_a_page_under_any_base_url(tmp_path, monkeypatch):
    """A real JupyterLab; ``/lab/`` is the base URL that can be mistaken for a part of the page."""
    (tmp_path / "my_work").mkdir()
    monkeypatch.setattr(Project, "python", Path(sys.executable))
    command = lab.lab_command(
        Project(tmp_path),
        "my_work",
        [
            "--ServerApp.base_url=/lab/",
            "--no-browser",
            "--IdentityProvider.token=",
            "--port=0",
        ],
    )
    env = here().child_env() | {"PYTHONPATH": ""}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, encoding="utf-8") as process:
        try:
            address = next(
                found[0]
                for line in process.stderr
                if (found := re.search(r"http://127.0.0.1:\S+", line))
            )
            assert address.endswith("/lab/lab/tree/my_work")
            assert "jupyter-config-data" in page_at(address)
        finally:
            process.terminate()


# Settings of pip and uv


@pytest.fixture
def settings(project, monkeypatch, tmp_path):
    """No variable and no file of the machine's: only what a test writes."""
    for name in os.environ:
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(installers, "uv_folders", lambda: [tmp_path / "config" / "uv"])
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    (tmp_path / "config" / "uv").mkdir(parents=True)
    return tmp_path / "config"


@pytest.mark.parametrize(
    "name",
    [
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_ROOT",
        "PIP_DRY_RUN",
        "PIP_CONSTRAINT",
        "PIP_REQUIRE_HASHES",
        "PIP_USER",
        "PIP_NO_DEPS",
        "PIP_PYTHON",
        "PIP_ONLY_BINARY",
        "PIP_REQUIREMENT",
        "PIP_PRE",
        "UV_TARGET",
        "UV_CONSTRAINT",
        "UV_REQUIRE_HASHES",
        "UV_PYTHON",
        "UV_SYSTEM_PYTHON",
        "UV_OVERRIDE",
        "UV_EXCLUDE_NEWER",
        "UV_NO_BINARY",
        "UV_PROJECT_ENVIRONMENT",
    ],
)
def test_settings_that_do_not_fit_are_left_out(project, settings, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    assert name not in installers.installer_env(project)


@pytest.mark.parametrize(
    "name",
    [
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "PIP_PROXY",
        "PIP_CERT",
        "PIP_CLIENT_CERT",
        "PIP_TRUSTED_HOST",
        "PIP_DEFAULT_TIMEOUT",
        "UV_INDEX_URL",
        "UV_DEFAULT_INDEX",
        "UV_INDEX",
        "UV_INDEX_OURS_PASSWORD",
        "UV_NATIVE_TLS",
        "UV_INSECURE_HOST",
        "HTTPS_PROXY",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
    ],
)
def test_where_packages_come_from_is_kept(project, settings, monkeypatch, name):
    monkeypatch.setenv(name, "given")
    assert installers.installer_env(project)[name] == "given"


def test_files_of_settings_are_read_in_the_same_way(project, settings, monkeypatch):
    listed = (
        "global.extra-index-url='\\nhttp://one\\nhttp://two'\nglobal.proxy='http://old'\n"
        "global.target='/elsewhere'\ninstall.proxy='http://new'\ninstall.constraint='c.txt'\n"
        "list.format='json'\n:env:.cert='/etc/cert'\n"
    )
    monkeypatch.setattr(
        installers.subprocess,
        "run",
        lambda *words, **kwargs: subprocess.CompletedProcess(words, 0, listed),
    )
    (settings / "uv" / "uv.toml").write_text(
        'native-tls = true\nallow-insecure-host = ["a", "b"]\n[pip]\ntarget = "/elsewhere"\n'
        '[[index]]\nurl = "http://default"\ndefault = true\n'
        '[[index]]\nname = "ours"\nurl = "http://ours"\n'
    )
    monkeypatch.setenv("PIP_CERT", "/my/cert")
    env = installers.installer_env(project)
    assert {name: env[name] for name in env if name.startswith(("PIP_", "UV_"))} == {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "UV_NO_CONFIG": "1",
        "PIP_EXTRA_INDEX_URL": "http://one http://two",
        "PIP_PROXY": "http://new",
        "PIP_CERT": "/my/cert",
        "UV_NATIVE_TLS": "true",
        "UV_INSECURE_HOST": "a b",
        "UV_DEFAULT_INDEX": "http://default",
        "UV_INDEX": "ours=http://ours",
    }


def test_bench_passes_its_options_on_and_stays_in_the_users_folder(project, monkeypatch):
    calls, prepared = [], []
    monkeypatch.setattr(bench, "prepare", lambda project, wanted: prepared.append(wanted))
    monkeypatch.setattr(
        bench.subprocess, "call", lambda words, **kwargs: calls.append((words, kwargs)) or 3
    )
    monkeypatch.setattr(cli, "here", lambda: project)
    assert cli.run(["bench", "quality", "--text", "my.txt"]) == 3
    [(words, kwargs)] = calls
    assert words == [
        str(project.python),
        "-P",
        "-m",
        "tools.benchmarks",
        "quality",
        "--text",
        "my.txt",
    ]
    assert "cwd" not in kwargs  # my.txt lies where the command was typed
    assert kwargs["env"]["VIRTUAL_ENV"] == str(project.venv)
    assert prepared == ["lessons"]
    cli.run(["bench", "widgets"])  # which are measured in a browser
    assert prepared == ["lessons", "tests"]


# The student's copies


def mine(project, name=LESSONS[0]):
    return project.work / name


def test_copies_are_made_when_absent_and_hold_no_solution(project):
    my_work.bring_up_to_date(project)
    made = sorted(
        path.relative_to(project.work).as_posix() for path in project.work.rglob("*.ipynb")
    )
    assert made == LESSONS
    assert mine(project).read_text() == "original of 01_tokenization.ipynb"


def test_an_update_never_overwrites_and_tells_of_the_newer_one(project, capsys):
    my_work.bring_up_to_date(project)
    mine(project).write_text("my own work")
    (project.notebooks / LESSONS[0]).write_text("better original")
    (project.notebooks / LESSONS[1]).write_text("better original, too")
    assert capsys.readouterr().out == ""
    my_work.bring_up_to_date(project)
    assert mine(project).read_text() == "my own work"
    assert mine(project, LESSONS[1]).read_text() == "original of 02_autograd.ipynb"
    news = capsys.readouterr().out
    assert "01_tokenization.ipynb, 02_autograd.ipynb" in news
    assert "reset NAME" in news


def test_work_alone_is_no_news(project, capsys):
    my_work.bring_up_to_date(project)
    mine(project).write_text("my own work")
    my_work.bring_up_to_date(project)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [None, "", "not json", "[1]"])
def test_a_lost_list_of_versions_costs_no_work(project, content, capsys):
    my_work.bring_up_to_date(project)
    mine(project).write_text("my own work")
    versions = project.work / ".versions.json"
    versions.unlink() if content is None else versions.write_text(content)
    my_work.bring_up_to_date(project)
    assert mine(project).read_text() == "my own work"
    assert json.loads(versions.read_text()).keys() == set(LESSONS)


def test_reset_keeps_the_old_one_each_time(project, capsys):
    my_work.bring_up_to_date(project)
    for number in (1, 2):
        mine(project).write_text(f"work {number}")
        my_work.reset(project, "01")
        assert mine(project).read_text() == "original of 01_tokenization.ipynb"
        assert f"01_tokenization.old-{number}.ipynb" in capsys.readouterr().out
    kept = [mine(project).with_name(f"01_tokenization.old-{n}.ipynb").read_text() for n in (1, 2)]
    assert kept == ["work 1", "work 2"]


def test_reset_gets_the_newer_one_and_ends_the_news(project, capsys):
    my_work.bring_up_to_date(project)
    (project.notebooks / LESSONS[0]).write_text("better original")
    my_work.reset(project, "01_tokenization")
    capsys.readouterr()
    my_work.bring_up_to_date(project)
    assert mine(project).read_text() == "better original"
    assert capsys.readouterr().out == ""


def test_reset_of_an_untouched_copy_leaves_nothing_behind(project):
    my_work.bring_up_to_date(project)
    my_work.reset(project, "1")
    assert len(list(project.work.glob("*.ipynb"))) == 2


@pytest.mark.parametrize(
    "word",
    [
        "2",
        "02",
        "autograd",
        "02_autograd",
        "02_autograd.ipynb",
        "my_work/02_autograd.ipynb",
        "my_work\\02_autograd.ipynb",
        "./my_work/02_autograd.ipynb",
        "02_AUTOGRAD",
    ],
)
def test_a_notebook_may_be_named_in_many_ways(project, word):
    assert my_work.find_name(project, word) == "02_autograd.ipynb"


def test_a_problem_set_can_be_named(project):
    assert my_work.find_name(project, "ps1") == "problems/ps1_tokenization.ipynb"
    assert my_work.find_name(project, "ps1_tokenization") == "problems/ps1_tokenization.ipynb"


def test_an_unknown_or_unclear_name_is_explained(project):
    with pytest.raises(UserError, match="no notebook called '02_autogard'") as error:
        my_work.find_name(project, "02_autogard")
    assert "Did you mean 02_autograd?" in error.value.advice
    with pytest.raises(UserError, match="may mean 01_tokenization.ipynb or problems/ps1"):
        my_work.find_name(project, "tokenization")
    with pytest.raises(UserError, match="no notebook called '7'"):
        my_work.find_name(project, "7")
    with pytest.raises(UserError, match="no notebook called ''"):
        my_work.find_name(project, "")


# The environment


@posix
def test_the_first_start_installs_and_the_second_does_nothing(project, installer):
    environment.prepare(project, "lessons")
    assert installer.take() == ["venv", LOCKS["lessons"], "project"]
    environment.prepare(project, "lessons")
    assert installer.take() == []


@posix
def test_the_lock_is_held_against_its_hashes_and_the_project_brings_nothing(project, installer):
    environment.prepare(project, "lessons")
    lock, this_project = installer.calls[-2:]
    assert lock[:4] == [str(project.python), "-m", "pip", "install"]
    assert lock[-3:] == ["--require-hashes", "-r", str(project.root / LOCKS["lessons"])]
    assert this_project[-4:] == ["--no-deps", "--no-build-isolation", "-e", "."]


@posix
def test_the_tests_add_to_the_lessons_and_serve_them(project, installer):
    environment.prepare(project, "lessons")
    installer.take()
    environment.prepare(project, "tests")
    assert installer.take() == [LOCKS["tests"], "project"]
    environment.prepare(project, "lessons")
    environment.prepare(project, "tests")
    assert installer.take() == []


@posix
@pytest.mark.parametrize("name", [LOCKS["lessons"], "pyproject.toml"])
def test_an_update_is_installed_into_the_same_environment(project, installer, name):
    environment.prepare(project, "lessons")
    installer.take()
    with (project.root / name).open("a") as file:
        file.write("# newer\n")
    environment.prepare(project, "lessons")
    assert installer.take() == [LOCKS["lessons"], "project"]


def without_python(project):
    project.python.unlink()


def python_that_does_not_run(project):
    project.python.unlink()
    project.python.write_text("not a program")
    project.python.chmod(stat.S_IRWXU)


def python_that_is_gone(project):
    project.python.unlink()
    project.python.symlink_to(project.root / "uninstalled" / "python3")


def old_python(project):
    project.python.unlink()
    project.python.write_text("#!/bin/sh\necho 3 9\n")
    project.python.chmod(stat.S_IRWXU)


def half_made(project):
    environment.write_stamp(project, installed="half", root=str(project.root))


def from_another_folder(project):
    stamp = environment.read_stamp(project)
    environment.write_stamp(project, **(stamp | {"root": "elsewhere"}))


def without_numpy(project):
    shutil.rmtree(project.venv / "lib" / "python3.11" / "site-packages" / "numpy")


def a_file(project):
    shutil.rmtree(project.venv)
    project.venv.write_text("")


def an_empty_folder(project):
    shutil.rmtree(project.venv)
    project.venv.mkdir()


DAMAGE = {
    without_python: "its Python is missing",
    python_that_is_gone: "its Python is missing",
    python_that_does_not_run: "its Python does not run",
    old_python: "its Python is 3.9, which is too old",
    half_made: "its making was interrupted",
    from_another_folder: "the project was moved or copied",
    without_numpy: "numpy is gone from it or was changed",
    a_file: "it is not a folder",
    an_empty_folder: "its Python is missing",
}


@posix
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_broken_environment_is_made_anew(project, installer, damage, capsys):
    environment.prepare(project, "lessons")
    installer.take()
    damage(project)
    environment.prepare(project, "lessons")
    assert f"({DAMAGE[damage]})" in capsys.readouterr().out
    assert installer.take() == ["venv", LOCKS["lessons"], "project"]
    environment.prepare(project, "lessons")
    assert installer.take() == []


@posix
def test_an_environment_of_the_users_own_is_kept(project, installer):
    environment.prepare(project, "lessons")
    installer.take()
    project.stamp.unlink()
    environment.prepare(project, "lessons")
    assert installer.take() == [LOCKS["lessons"], "project"]


@posix
def test_what_the_user_adds_is_kept(project, installer):
    environment.prepare(project, "lessons")
    installer.take()
    (project.venv / "lib" / "python3.11" / "site-packages" / "torch").mkdir()
    environment.prepare(project, "lessons")
    assert installer.take() == []


@posix
def test_a_failed_install_is_explained_and_made_anew_next_time(project, installer, capsys):
    installer.fails = lambda words: "--require-hashes" in words
    installer.output = "NewConnectionError: [Errno -3] Temporary failure in name resolution"
    with pytest.raises(UserError, match="server cannot be reached") as error:
        environment.prepare(project, "lessons")
    assert str(project.log) in error.value.advice[-1]
    installer.fails = lambda words: False
    installer.take()
    environment.prepare(project, "lessons")
    assert "its making was interrupted" in capsys.readouterr().out
    assert installer.take() == ["venv", LOCKS["lessons"], "project"]


@posix
def test_uv_is_used_if_it_is_there_and_pip_if_uv_fails(project, installer, monkeypatch, capsys):
    monkeypatch.setattr(environment.shutil, "which", lambda name: f"/bin/{name}")
    environment.prepare(project, "lessons")
    venv, lock, _ = installer.calls
    assert "--without-pip" in venv
    assert lock[:5] == ["/bin/uv", "pip", "install", "--python", str(project.python)]
    assert lock[5] == "--compile-bytecode"  # pip needs no word for it
    shutil.rmtree(project.venv)
    installer.calls.clear()
    installer.fails = lambda words: words[0] == "/bin/uv"
    environment.prepare(project, "lessons")
    assert installer.calls[-1][:4] == [str(project.python), "-m", "pip", "install"]
    assert "trying pip" in capsys.readouterr().out


@pytest.mark.parametrize("module", ["ssl", "ctypes", "sqlite3", "zlib"])
def test_a_python_built_without_a_library_is_named(project, installer, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)  # an import then fails
    with pytest.raises(UserError, match=f"built without the module {module}") as error:
        environment.prepare(project, "lessons")
    assert "another Python" in error.value.advice[0]
    assert installer.take() == []


def test_a_folder_whose_path_reads_as_two_is_refused(project, installer):
    moved = Project(project.root.with_name(f"mini{os.pathsep}gpt"))
    with pytest.raises(UserError, match="read as two") as error:
        environment.prepare(moved, "lessons")
    assert str(moved.root) in error.value.what
    assert installer.take() == []


@posix
def test_a_file_system_without_links_gets_copies(project, installer, monkeypatch):
    def refused(*arguments, **kwargs):
        raise OSError(errno.EPERM, "Operation not permitted")

    assert environment.can_link(project.root) and not list(project.root.glob("link"))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "symlink_to", refused)
        assert not environment.can_link(project.root)
    monkeypatch.setattr(environment, "can_link", lambda folder: False)
    environment.prepare(project, "lessons")
    assert "--copies" in installer.calls[0]
    assert (project.venv / "lib64").is_dir()


@posix
@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_python_without_venv_says_what_to_install(project, installer, monkeypatch, module):
    find_spec = environment.importlib.util.find_spec
    monkeypatch.setattr(
        environment.importlib.util,
        "find_spec",
        lambda name: None if name == module else find_spec(name),
    )
    with pytest.raises(UserError, match=f"no module {module}") as error:
        environment.prepare(project, "lessons")
    assert "sudo apt install python3." in error.value.advice[0]
    assert installer.take() == []


def test_a_full_disk_is_seen_before_the_install(project, installer, monkeypatch):
    usage = shutil.disk_usage(project.root)._replace(free=100 * 2**20)
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match="Only 100 MB are free"):
        environment.prepare(project, "lessons")
    assert installer.take() == []


def test_a_missing_lock_says_so(project, installer):
    (project.root / LOCKS["lessons"]).unlink()
    with pytest.raises(UserError, match="lessons.lock is missing"):
        environment.prepare(project, "lessons")


@posix
def test_jupyterlab_asks_nothing_and_shows_whole_notebooks(project, installer):
    environment.prepare(project, "lessons")
    path = project.venv / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
    assert json.loads(path.read_text()) == environment.LAB_SETTINGS


@posix
def test_what_an_installer_prints_goes_to_the_log(project):
    project.log.parent.mkdir()
    script = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(int(sys.argv[1]))"
    assert environment.logged(project, [sys.executable, "-c", script, "0"])
    assert not environment.logged(project, [sys.executable, "-c", script, "3"])
    lines = project.log.read_text().splitlines()
    assert (lines.count("out"), lines.count("err")) == (2, 2)


def test_two_at_once_wait_for_each_other(project):
    with (
        environment.only_one(project),
        (project.root / "build" / "install.lock").open("a+") as file,
    ):
        assert not environment.try_lock(file)
    with (project.root / "build" / "install.lock").open("a+") as file:
        assert environment.try_lock(file)


# Reading the log of a failed install

LOGS = {
    "OSError: [Errno 28] No space left on device": "disk is full",
    "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE": "hash differs",
    "error: Hash mismatch for `numpy==2.4.6`": "hash differs",
    "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]": "certificate",
    "invalid peer certificate: UnknownIssuer": "certificate",
    "OSError('Tunnel connection failed: 403 Forbidden')": "proxy",
    "[Errno -3] Temporary failure in name resolution": "cannot be reached",
    "[Errno 11001] getaddrinfo failed": "cannot be reached",
    "nodename nor servname provided, or not known": "cannot be reached",
    "dns error: failed to lookup address information": "cannot be reached",
    "Support enabled. You can find information on how to enable Windows Long Path": "too long",
    "ERROR: Could not install packages due to an OSError: [WinError 5] Access is denied": "written",
    "/usr/lib/ssl/certs is a path": "the installer stopped",
    "pip is configured with locations that require TLS/SSL, however the ssl module in Python is "
    "not available.\nSSLError(\"Can't connect to HTTPS URL because the SSL module is not "
    'available.")': "without the module ssl",
    "ERROR: Ignored the following versions that require a different python version: 2.4.6 "
    "Requires-Python >=3.12\nERROR: No matching distribution found for numpy==2.4.6": "no ready-made file for this Python",
    "ERROR: Ignored the following versions that require a different python version: 2.5 "
    "Requires-Python >=3.12\nERROR: Could not find a version that satisfies the requirement "
    "numpy==2.4.6 (from versions: 1.26)\nERROR: No matching distribution found for numpy==2.4.6": "server has no file of numpy==2.4.6",
    "Looking in indexes: http://mirror/simple\nERROR: Could not find a version that satisfies the "
    "requirement numpy==2.4.6 (from versions: none)\n"
    "ERROR: No matching distribution found for numpy==2.4.6": "server has no file of numpy==2.4.6",
    "Because anywidget was not found in the package registry and you require anywidget==0.11.0": "server has no file of anywidget",
    "Because there is no version of numpy==2.4.6 and you require": "no file of numpy==2.4.6",
    "hint: Wheels are required for numpy, it has no wheels with a matching Python ABI tag": "no ready-made file for this Python",
    "ERROR: HTTP error 403 while getting numpy": "refused",
    "Error: [Errno 1] Operation not permitted: 'lib' -> '/media/stick/.venv/lib64'": "no links",
    "Error: [Errno 13] Permission denied: 'lib' -> '/mnt/share/.venv/lib64'": "no links",
    "Unable to symlink '/usr/bin/python3.11' to '/media/stick/.venv/bin/python3'": "no links",
    "Error: Refusing to create a venv in /tmp/a:b/.venv because it contains the PATH separator :.": "separates paths",
    "Segmentation fault": "the installer stopped",
}


@pytest.mark.parametrize("log", LOGS)
def test_the_log_is_read(log):
    trouble = install_error(f"Collecting numpy\n{log}\n", "build/install.log")
    assert LOGS[log] in trouble.what
    assert "build/install.log" in trouble.advice[-1]


def test_the_cause_comes_before_what_follows_from_it():
    log = "Failed to establish a new connection\nNo matching distribution found for numpy==2.4.6"
    assert "cannot be reached" in install_error(log, "log").what
    assert all(what[0].islower() and advice for _, what, advice in CAUSES)


def test_a_file_that_cannot_be_written_is_named():
    trouble = system_error(OSError(errno.EACCES, "Permission denied", "my_work"))
    assert "cannot be written" in trouble.what
    assert "my_work" in trouble.what


# The tests' own command


@pytest.fixture
def parts(monkeypatch, project):
    """Pretend that all is installed; note what each program of the tests is called with."""
    calls = []

    def call(words, **kwargs):
        calls.append((words[1:], kwargs["env"]))
        parts.effect(Path(kwargs["env"]["TMPDIR"]))
        return parts.code

    class Parts:
        code = 0

        def effect(self, temporary):
            """What a program does to the project."""

    parts = Parts()
    parts.calls = calls
    monkeypatch.setattr(testing, "prepare", lambda project, wanted: None)
    monkeypatch.setattr(testing.subprocess, "call", call)
    monkeypatch.setattr(testing, "find_browser", lambda: None)
    monkeypatch.delenv("MINIGPT_REQUIRE_BROWSER", raising=False)
    monkeypatch.setattr(testing.os, "cpu_count", lambda: 2)
    return parts


def test_all_parts_run_and_a_missing_browser_is_said(project, parts, capsys):
    assert testing.run_tests(project, []) == 0
    programs = [words[:3] for words, _ in parts.calls]
    assert programs[:5] == [
        ["-m", "ruff", "check"],
        ["-m", "ruff", "format"],
        ["-m", "codespell_lib", "."],
        ["tests/notebook_lint.py", *[f"notebooks/{name}" for name in LESSONS[:2]]],
        ["-m", "basedpyright"],
    ]
    unit, notebooks = [words[2:] for words, _ in parts.calls[5:]]
    assert unit == [
        "tests",
        "--ignore=tests/browser",
        "--ignore=tests/bridge",
        "--ignore=tests/hub",
        "-n",
        "2",
        "--dist",
        "loadfile",
        "--no-loadscope-reorder",
    ]
    assert notebooks[-5:] == unit[-5:]
    assert notebooks[:8] == [
        "-p",
        "tools.testing.plugin",
        "-p",
        "tests.nbval_pictures",
        "--nbval",
        "--nbval-current-env",
        "--nbval-sanitize-with",
        "tests/nbval_sanitize.cfg",
    ]
    lessons = [str(Path("notebooks") / name) for name in LESSONS]
    assert set(lessons) <= set(notebooks)
    out = capsys.readouterr().out
    assert "browser tests did not run: no Chromium found" in out
    for part in ("lint", "types", "unit", "notebooks"):
        assert f"\n{part + ':':11}passed\n" in out, part
    assert "\nbrowser:   did not run: no Chromium found\n" in out
    assert out.endswith("\nbridge:    did not run: PyTorch and transformers are not installed\n")


def test_the_bridge_is_tested_where_pytorch_is(project, parts, monkeypatch, capsys):
    monkeypatch.setenv("MINIGPT_REQUIRE_TORCH", "1")
    assert testing.run_tests(project, ["bridge"]) == 1
    assert "FAILED: did not run: PyTorch" in capsys.readouterr().out
    monkeypatch.setattr(testing, "installed_packages", lambda project: ["torch", "transformers"])
    assert testing.run_tests(project, ["bridge", "-x"]) == 0
    first, second = [words[2:] for words, _ in parts.calls]
    assert first == ["tests/bridge", "-x"]
    assert second[-2:] == ["notebooks/extras/07_scale.ipynb", "-x"] and "--nbval" in second


@pytest.mark.parametrize("options", [["-n", "4"], ["--pdb"], ["-s"], ["--numprocesses=0"]])
def test_the_unit_tests_take_two_processes_unless_told_otherwise(
    project, parts, monkeypatch, options
):
    assert testing.processes(["-x"])[:4] == ["-n", "2", "--dist", "loadfile"]
    assert testing.processes(options) == []
    monkeypatch.setattr(testing.os, "cpu_count", lambda: 1)
    assert testing.processes([]) == []


def test_the_quick_tests_are_some_of_the_unit_tests(project, parts):
    assert testing.run_tests(project, ["quick", "-x"]) == 0
    [(words, _)] = parts.calls
    files = [word for word in words if word.startswith("tests/")]
    assert files and all((here().root / file).is_file() for file in files)
    assert words[-1] == "-x"


def test_each_program_that_fails_is_named(project, parts, capsys):
    parts.code = 1
    assert testing.run_tests(project, ["lint", "types"]) == 1
    out = capsys.readouterr().out
    assert "FAILED: ruff check, ruff format, codespell, notebook lint" in out
    assert "FAILED: pyright" in out


def leave_a_file(project, temporary):
    (project.root / "notebooks" / "result.txt").write_text("")


def change_a_notebook(project, temporary):
    (project.root / "notebooks" / LESSONS[0]).write_text("its outputs are others now")


def remove_a_file(project, temporary):
    (project.root / LOCKS["tests"]).unlink()


def leave_a_temporary_file(project, temporary):
    (temporary / "model.safetensors").write_text("")


def end_chromium_in_the_middle(project, temporary):
    (temporary / ".org.chromium.Chromium.7wPGDY").write_text("")


def change_nothing_of_the_project(project, temporary):
    (project.root / "notebooks" / LESSONS[0]).touch()
    for name in ("build", "my_work", "notebooks/.ipynb_checkpoints"):
        (project.root / name).mkdir()
        (project.root / name / "made.txt").write_text("")


@pytest.mark.parametrize(
    ("effect", "said"),
    [
        (leave_a_file, "new: notebooks/result.txt"),
        (change_a_notebook, "changed: notebooks/01_tokenization.ipynb"),
        (remove_a_file, "gone: tools/locks/tests.lock"),
        (leave_a_temporary_file, "temporary: model.safetensors"),
        (end_chromium_in_the_middle, None),
        (change_nothing_of_the_project, None),
    ],
)
def test_tests_that_leave_or_change_files_fail(project, parts, capsys, effect, said):
    parts.effect = lambda temporary: effect(project, temporary)
    assert testing.run_tests(project, ["unit"]) == (0 if said is None else 1)
    out = capsys.readouterr().out
    assert said is None or said in out
    assert out.endswith("unit:      passed\n" if said is None else "files were changed or left\n")
    [(_, env)] = parts.calls
    assert not Path(env["TMPDIR"]).exists()


def test_a_failing_part_does_not_stop_the_others(project, parts, capsys):
    parts.code = 1
    assert testing.run_tests(project, ["unit", "notebooks"]) == 1
    assert len(parts.calls) == 2
    assert capsys.readouterr().out.count("FAILED (pytest ended with 1)") == 2


def test_no_test_is_a_failure(project, parts, capsys):
    parts.code = 5
    assert testing.run_tests(project, ["unit"]) == 1
    assert "FAILED: there was no test to run" in capsys.readouterr().out


def test_no_notebook_is_a_failure(project, parts, capsys):
    shutil.rmtree(project.notebooks)
    assert testing.run_tests(project, ["notebooks"]) == 1
    assert "there are no notebooks" in capsys.readouterr().out


def test_parts_and_options_can_be_chosen(project, parts):
    assert testing.run_tests(project, ["unit", "-k", "mask"]) == 0
    assert [words[-2:] for words, _ in parts.calls] == [["-k", "mask"]]
    with pytest.raises(UserError, match="no part of the tests called 'units'"):
        testing.run_tests(project, ["units"])


@pytest.mark.parametrize(("skipped", "expected"), [(0, 0), (2, 1)])
def test_browser_tests_may_not_be_skipped_where_they_must_run(
    project, parts, monkeypatch, skipped, expected
):
    def call(words, **kwargs):
        assert kwargs["env"]["MINIGPT_CHROMIUM"] == "/bin/chromium"
        named = next(word for word in words if word.startswith("--junitxml="))
        report = Path(named.removeprefix("--junitxml="))
        report.parent.mkdir(exist_ok=True)
        report.write_text(f'<testsuites><testsuite tests="3" skipped="{skipped}"/></testsuites>')
        return 0

    monkeypatch.setattr(testing.subprocess, "call", call)
    monkeypatch.setattr(testing, "find_browser", lambda: "/bin/chromium")
    assert testing.run_tests(project, ["browser"]) == 0
    monkeypatch.setenv("MINIGPT_REQUIRE_BROWSER", "1")
    assert testing.run_tests(project, ["browser"]) == expected


def test_a_browser_can_be_named(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIGPT_CHROMIUM", sys.executable)
    assert browser.find_browser() == sys.executable
    monkeypatch.setenv("MINIGPT_CHROMIUM", str(tmp_path / "absent"))
    with pytest.raises(UserError, match="no such program"):
        browser.find_browser()


def test_a_browser_is_found_in_the_usual_places(monkeypatch, tmp_path):
    monkeypatch.delenv("MINIGPT_CHROMIUM", raising=False)
    monkeypatch.setattr(browser.shutil, "which", lambda name: None)
    for name in ("PROGRAMFILES", "PROGRAMFILES(X86)"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.setattr(browser.sys, "platform", "win32")
    assert browser.find_browser() is None
    chrome = tmp_path / "Google" / "Chrome" / "Application" / "chrome.exe"
    chrome.parent.mkdir(parents=True)
    chrome.write_text("")
    assert Path(browser.find_browser()) == chrome


# Running the project's notebooks anew, and comparing them


def run_in(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=here().child_env() | {"PYTHONPATH": str(here().root)},
        capture_output=True,
        text=True,
        timeout=600,
    )


def write_lesson(path, source, alt):
    picture = (
        "import os, base64\nfrom IPython.display import HTML\n"
        "data = base64.b64encode(os.urandom(30)).decode()\n"
        f"HTML('<img src=\"data:image/png;base64,' + data + '\" alt=\"{alt}\">')"
    )
    cells = [new_code_cell(source), new_code_cell(picture)]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "widgets": {}}
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)


def test_execute_stores_what_nbval_compares_but_for_the_pixels(tmp_path):
    lesson, broken, other = (tmp_path / f"{name}.ipynb" for name in ("lesson", "broken", "other"))
    write_lesson(lesson, "print(1)\nprint(2)", "A mask")
    write_lesson(broken, "1 / 0", "A mask")
    before = broken.read_bytes()
    executed = run_in(tmp_path, "tools.teaching.execute", lesson.name, broken.name)
    assert executed.returncode == 1
    assert "broken.ipynb: FAILED, left as it was" in executed.stdout
    assert broken.read_bytes() == before

    notebook = nbformat.read(lesson, as_version=4)
    assert "widgets" not in notebook.metadata
    assert [cell.execution_count for cell in notebook.cells] == [1, 2]
    assert [output.text for output in notebook.cells[0].outputs] == ["1\n2\n"]
    notebook.cells[1].source = notebook.cells[1].source.replace("A mask", "Another")
    nbformat.write(notebook, other)
    rules = str(here().root / "tests" / "nbval_sanitize.cfg")
    nbval = [rules if word.endswith(".cfg") else word for word in testing.NBVAL]
    result = run_in(tmp_path, "pytest", "-v", *nbval, lesson.name, other.name)
    verdicts = [line for line in result.stdout.splitlines() if "::Cell" in line and "%]" in line]
    assert ["PASSED" in line for line in verdicts] == [True, True, True, False], result.stdout


def test_a_tool_that_reads_notebooks_builds_no_grammar():
    code = "import tools, nbformat, sys; sys.exit('lark' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=here().root, check=True)
