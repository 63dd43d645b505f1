"""The parts of a hub that run without one: settings, names, limits, first copies, handing in."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import zipfile

import pytest

if sys.platform == "win32":
    pytest.skip("JupyterHub does not run on Windows", allow_module_level=True)

from minigpt_helpers.hand_in import NotHandedIn, hand_in
from tools.launcher import hub as launcher
from tools.launcher import my_work
from tools.launcher.project import Project, UserError, here
from tools.launcher.student_copy import HAND_IN_CELLS, student_copy
from tools.teaching.grading import inbox
from tools.teaching.grading.submissions import notebook_of
from tools.teaching.hub import accounts, limits, machines, settings
from tools.teaching.hub.bench import movable_number
from tools.teaching.hub.client import Student as Client

TEMPLATE = here().root / "tools" / "teaching" / "hub" / "hub.toml"


def hub_with(folder, text="", names="Ada Lovelace\n"):
    (folder / "hub.toml").write_text(text, encoding="utf-8")
    (folder / "students.txt").write_text(names, encoding="utf-8")
    made = settings.read(folder / "hub.toml")
    for one in (made.state, made.homes, made.inbox):
        one.mkdir(exist_ok=True)
    return made


# Settings


def test_the_template_says_what_the_defaults_are(tmp_path):
    given = settings.read(TEMPLATE)
    plain = hub_with(tmp_path)
    assert given.teachers == ["Teacher"]
    for name in ("ip", "port", "memory_mb", "processors", "processes", "idle_minutes", "students"):
        assert getattr(given, name) == getattr(plain, name), name
    assert given.ip == "127.0.0.1"


@pytest.mark.parametrize(
    "text, said",
    [
        ("prot = 8000", "Did you mean port"),
        ("port = 'x'", "a whole number"),
        ("port = true", "a whole number"),
        ("port = 70000", "1 to 65533"),
        ("memory_mb = 10", "a lesson needs 300"),
        ("ip = 'localhost!'", "no address"),
        ("ip = '0.0.0.0'", "plain text"),
        ("ip = '::'", "plain text"),
        ("key = 'key.pem'", "needs both"),
        ("key = 'k.pem'\ncertificate = 'c.pem'", "cannot be read"),
        ("port = ", "cannot be read"),
    ],
)
def test_settings_that_cannot_work_say_why(tmp_path, text, said):
    with pytest.raises(UserError) as error:
        hub_with(tmp_path, text)
    assert said in " ".join([error.value.what, *error.value.advice])


def test_another_address_needs_a_certificate_or_somebody_who_has_one(tmp_path):
    assert hub_with(tmp_path, "ip = '0.0.0.0'\nhttps_by_proxy = true").address == "http://0.0.0.0:8000"
    for name in ("c.pem", "k.pem"):
        (tmp_path / name).write_text("x")
    made = hub_with(tmp_path, "ip = '0.0.0.0'\ncertificate = 'c.pem'\nkey = 'k.pem'")
    assert made.address == "https://0.0.0.0:8000"


def test_the_command_line_wins(tmp_path):
    hub_with(tmp_path, "port = 8000")
    assert settings.read(tmp_path / "hub.toml", port=9000, ip=None).port == 9000


def test_a_first_start_writes_what_the_teacher_fills_in(tmp_path, capsys):
    assert launcher.write_first_files(here(), tmp_path / "new" / "hub.toml") == 0
    made = settings.read(tmp_path / "new" / "hub.toml")
    with pytest.raises(UserError, match="is empty"):
        accounts.class_of(made)


# Names


@pytest.mark.parametrize(
    "name, login",
    [
        ("Jürgen Müller", "juergen-mueller"),
        ("Müller, Jürgen", "juergen-mueller"),
        ("Ju\u0308rgen Mu\u0308ller", "juergen-mueller"),
        ("Zoë Ångström-Łuk", "zoe-aangstroem-luk"),
        ("root", "root"),
        ("../../etc", "etc"),
        ("王小明", "student-1"),
        ("123", "student-1"),
        ("Maximiliane Oberhuber-Schwarzenberger", "maximiliane-oberhuber-sc"),
    ],
)
def test_a_name_becomes_a_login(name, login):
    assert accounts.login_for(name) == login


def test_equal_logins_are_told_apart():
    taken = []
    for name in ("Jo Smith", "Jo Smith!", "Jö Smith", "王", "李"):
        taken.append(accounts.login_for(name, taken))
    assert taken == ["jo-smith", "jo-smith-2", "joe-smith", "student-1", "student-2"]


@pytest.fixture
def plain_accounts(monkeypatch):
    """Accounts without system users and without the hub's own packages."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(accounts, "first_passwords", lambda *_: None)


def test_another_order_gives_nobody_anothers_login(tmp_path, plain_accounts):
    made = hub_with(tmp_path, names="Jo Smith;1\nJo Smith;2\n")
    before = {one.id: one.login for one in accounts.bring_up_to_date(made).values()}
    hub_with(tmp_path, names="New Name;9\nJo Smith;2\nJo Smith;1\n")
    after = accounts.bring_up_to_date(made)
    assert {one.id: one.login for one in after.values() if one.id != "9"} == before
    hub_with(tmp_path, names="Jo Smith;2\n")
    assert list(accounts.bring_up_to_date(made)) == [before["2"]]
    hub_with(tmp_path, names="Jo Smith;3\nJo Smith;2\n")
    third = {one.id: one.login for one in accounts.bring_up_to_date(made).values()}["3"]
    assert third not in before.values()  # not that of who left


def test_a_student_is_no_teacher_by_name(tmp_path, plain_accounts):
    made = hub_with(tmp_path, "teachers = ['Ada Lovelace']", names="Ada Lovelace\n")
    found = accounts.bring_up_to_date(made)
    assert {login: one.teacher for login, one in found.items()} == {
        "ada-lovelace": False,
        "ada-lovelace-2": True,
    }


def test_who_is_in_the_list_twice_must_be_told_apart(tmp_path):
    with pytest.raises(UserError, match="more than once"):
        accounts.class_of(hub_with(tmp_path, names="Jo Smith\nJo Smith\n"))


def test_folders_and_tables_are_private(tmp_path, plain_accounts):
    made = hub_with(tmp_path)
    accounts.bring_up_to_date(made)
    for path in (made.homes / "ada-lovelace", made.inbox / "ada-lovelace"):
        assert path.stat().st_mode & 0o077 == 0
    for path in (made.state / "accounts.json", made.inbox / "class.json"):
        assert path.stat().st_mode & 0o177 == 0
    assert [(one.login, one.name) for one in inbox.owners(made.inbox)] == [
        ("ada-lovelace", "Ada Lovelace")
    ]


# What others may read


def test_the_projects_folder_is_closed_to_others(tmp_path, capsys):
    tmp_path.chmod(0o755)
    launcher.close(tmp_path)
    if all(one.stat().st_mode & 1 for one in tmp_path.parents):
        assert tmp_path.stat().st_mode & 0o007 == 0
    assert not launcher.is_open(tmp_path)


def test_a_hub_where_students_cannot_go_is_refused(tmp_path):
    closed = tmp_path / "closed"
    (closed / "hub").mkdir(parents=True)
    closed.chmod(0o700)
    with pytest.raises(UserError, match="Students cannot reach"):
        launcher.check_open(closed / "hub")


def test_without_root_it_says_what_is_not_protected():
    assert "NOT PROTECTED" in launcher.protection(False)
    assert "NOT" not in launcher.protection(True)


# Limits


@pytest.mark.parametrize("kind", [1, 2])
def test_control_groups_get_the_limits(tmp_path, kind):
    if kind == 2:
        (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    else:
        for name in limits.KINDS:
            (tmp_path / name).mkdir()
            (tmp_path / name / "cgroup.procs").touch()
    assert limits.version(tmp_path) == kind
    entries = limits.group("ada", 1000, 1.5, 77, tmp_path)
    written = {
        path.name: path.read_text() for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size
    }
    if kind == 2:
        assert written["memory.max"] == "1000" and written["cpu.max"] == "150000 100000"
        assert [path.parent.name for path in entries] == ["ada"]
    else:
        assert written["memory.limit_in_bytes"] == "1000" and written["cpu.cfs_quota_us"] == "150000"
        assert [path.parent.parent.parent.name for path in entries] == list(limits.KINDS)
    assert written["pids.max"] == "77"
    assert limits.group("ada", 1, 1, 1, tmp_path / "nothing") == []


def test_a_process_is_limited_before_it_starts(tmp_path):
    entry = tmp_path / "cgroup.procs"
    code = (
        "import resource, os; print(resource.getrlimit(resource.RLIMIT_DATA)[0], "
        "resource.getrlimit(resource.RLIMIT_CORE)[0], oct(os.umask(0)), os.getpid())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        preexec_fn=limits.before_start([entry], 10**9, 50, own_user=False),
        capture_output=True,
        text=True,
        check=True,
    )
    data, core, mask, pid = done.stdout.split()
    assert (data, core, mask) == (str(10**9), "0", "0o77")
    assert entry.read_text() == pid


# The first copy


def test_a_home_gets_copies_and_keeps_what_is_written(tmp_path):
    course, home = tmp_path / "course", tmp_path / "home"
    home.mkdir()

    def lesson(name, text):
        path = course / "notebooks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": text, "outputs": [1]}
        cell |= {"execution_count": 3, "outputs": []}
        path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))

    lesson("01_a.ipynb", "one")
    lesson("problems/ps1_a.ipynb", "two")
    lesson("solutions/ps1_a.ipynb", "secret")
    project = Project(course, home=home)
    my_work.bring_up_to_date(project)
    mine = home / "my_work"
    assert sorted(p.relative_to(mine).as_posix() for p in mine.rglob("*.ipynb")) == [
        "01_a.ipynb",
        "problems/ps1_a.ipynb",
    ]
    cells = json.loads((mine / "problems/ps1_a.ipynb").read_text())["cells"]
    assert [cell["id"] for cell in cells[-2:]] == list(HAND_IN_CELLS)
    assert '# hand_in("ps1_a")' in "".join(cells[-1]["source"])
    (mine / "01_a.ipynb").write_text("my work")
    lesson("01_a.ipynb", "changed")
    lesson("02_b.ipynb", "new")
    my_work.bring_up_to_date(project)
    assert (mine / "01_a.ipynb").read_text() == "my work"
    assert (mine / "02_b.ipynb").exists()
    assert not (course / "my_work").exists()


def test_the_cells_that_hand_in_are_not_graded(tmp_path):
    project = Project(here().root, home=tmp_path)
    copy = my_work.copy_of(project, "problems/ps1_tokenization.ipynb")
    assert json.loads(copy)["cells"][-1]["id"] == "hand-in"
    notebook, _ = notebook_of(copy)
    assert not any("hand_in" in cell.source for cell in notebook.cells)
    # Whoever writes an answer into that cell does not lose it.
    changed = json.loads(copy)
    changed["cells"][-1]["source"] = "answer = 1"
    notebook, _ = notebook_of(json.dumps(changed).encode())
    assert notebook.cells[-1].source == "answer = 1"


def test_what_is_no_notebook_is_copied_as_it_is():
    assert student_copy(b"not json", hand_in="ps1") == b"not json"
    assert student_copy(b"[1]", hand_in="ps1") == b"[1]"


# Handing in


@pytest.fixture
def sets(tmp_path, monkeypatch):
    """A folder with a problem set that was just saved; the kernel runs in it."""
    folder = tmp_path / "problems"
    folder.mkdir()
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": "1", "outputs": []}
    notebook = {"cells": [cell | {"execution_count": None}], "metadata": {}, "nbformat": 4}
    (folder / "ps1_tokenization.ipynb").write_text(json.dumps(notebook | {"nbformat_minor": 5}))
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MINIGPT_INBOX", raising=False)
    return folder


@pytest.fixture
def box(tmp_path, monkeypatch):
    folder = tmp_path / "inbox" / "ada"
    folder.mkdir(parents=True)
    one = {"login": "ada", "name": "Ada Lovelace", "id": "7", "system": "", "teacher": False}
    (folder.parent / "class.json").write_text(json.dumps([one]))
    monkeypatch.setenv("MINIGPT_INBOX", str(folder))
    return folder


def test_on_a_hub_it_goes_to_the_inbox(sets, box):
    (sets / "own.txt").write_text("a corpus")
    (sets / "other.py").write_text("not taken")
    for _ in range(2):
        receipt = hand_in("ps1")
        assert "Handed in: ps1_tokenization with own.txt" in receipt
    arrived = sorted(box.iterdir())
    assert len(arrived) == 2
    for folder in arrived:
        assert sorted(p.name for p in folder.iterdir()) == ["own.txt", "ps1_tokenization.ipynb"]
        assert folder.name[-12:] in receipt


def test_elsewhere_it_becomes_an_archive(sets):
    assert "Packed as ps1_tokenization_" in hand_in("ps1_tokenization")
    (archive,) = sets.glob("*.zip")
    with zipfile.ZipFile(archive) as file:
        assert file.read("ps1_tokenization.ipynb") == (sets / "ps1_tokenization.ipynb").read_bytes()


def test_what_was_not_saved_is_not_handed_in(sets, box):
    notebook = sets / "ps1_tokenization.ipynb"
    old = time.time() - 600
    os.utime(notebook, (old, old))
    with pytest.raises(NotHandedIn, match="10 minutes ago"):
        hand_in("ps1")
    notebook.write_text('{"cells": [')
    with pytest.raises(NotHandedIn, match="not a whole notebook"):
        hand_in("ps1")
    with pytest.raises(NotHandedIn, match="no notebook called 'ps2'"):
        hand_in("ps2")
    assert list(box.iterdir()) == []


def test_what_breaks_in_the_middle_leaves_nothing_by_half(sets, box, monkeypatch):
    """A full disk: the student is told, and the teacher finds what came before."""
    hand_in("ps1")
    (sets / "own.txt").write_text("a corpus")
    from minigpt_helpers import hand_in as module

    real = module.write

    def write(path, data):
        if path.name == "own.txt":
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr(module, "write", write)
    with pytest.raises(NotHandedIn, match="No space left"):
        hand_in("ps1")
    assert len(list(box.iterdir())) == 1


def test_a_kill_in_the_middle_leaves_nothing_that_counts(sets, box, tmp_path):
    if os.geteuid() == 0:
        os.chown(box, 65_534, 65_534)
    (box / ".part-1").mkdir()
    (box / ".part-1" / "ps1_tokenization.ipynb").write_text("half")
    assert inbox.copy(box.parent, tmp_path / "scratch") == []


def test_the_copy_holds_files_of_the_student_alone(sets, box, tmp_path):
    hand_in("ps1")
    (folder,) = box.iterdir()
    (folder / "timestamp.txt").write_text("2000-01-01")
    (folder / "link.txt").symlink_to(tmp_path / "inbox" / "class.json")
    os.mkfifo(folder / "pipe")
    (box / "elsewhere").symlink_to(tmp_path)
    before = time.time()
    if os.geteuid() == 0:
        for path in [box, *box.rglob("*")]:
            os.chown(path, 65_534, 65_534, follow_symlinks=False)
    os.utime(folder / "ps1_tokenization.ipynb", (1, 1))
    ((copy, owner),) = inbox.copy(box.parent, tmp_path / "scratch")
    assert (owner.name, owner.id) == ("Ada Lovelace", "7")
    files = [path for path in copy.rglob("*") if path.is_file()]
    assert [path.name for path in files] == ["ps1_tokenization.ipynb"]
    assert files[0].stat().st_mtime >= before - 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can try it")
def test_the_teachers_reading_is_done_by_the_student(tmp_path):
    """What its student cannot read is not read for them by root."""
    (tmp_path / "secret").write_text("s")
    (tmp_path / "secret").chmod(0o600)
    box = tmp_path / "box"
    box.mkdir()
    with pytest.raises(PermissionError, match="not a student's own"):
        inbox.as_owner(box, lambda: None)
    os.chown(box, 65_534, 65_534)
    inbox.as_owner(box, lambda: None)
    with pytest.raises(PermissionError, match="by its owner"):
        inbox.as_owner(box, lambda: (tmp_path / "secret").read_text())


# The simulated student


def test_it_stays_on_this_machine():
    with pytest.raises(ValueError, match="not on this machine"):
        Client("http://192.0.2.1:8000", "ada", "x")


def test_it_moves_a_number_of_a_widget():
    assert movable_number({"a": {"text": "x"}, "b": {"temperature": 1.0}}) == ("b", "temperature", 2.0)
    assert movable_number({"a": {"value": True}}) is None


# A cluster


def test_the_values_have_the_charts_keys():
    yaml = pytest.importorskip("yaml")
    folder = TEMPLATE.parent / "cluster"
    values = yaml.safe_load((folder / "values.yaml").read_text(encoding="utf-8"))
    chart = json.loads((folder / "chart_keys.json").read_text(encoding="utf-8"))
    assert f"chart {chart['chart']}" in (folder / "values.yaml").read_text(encoding="utf-8")
    assert list(unknown_keys(values, chart["keys"])) == []
    values["singleuser"]["memory_"] = values["singleuser"].pop("memory")
    values["cull"]["enabled"] = "yes"
    assert list(unknown_keys(values, chart["keys"])) == ["cull.enabled is a str", "singleuser.memory_"]


KINDS = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}


def unknown_keys(values, keys, path=""):
    """What the chart would refuse, with the path to it."""
    allowed = keys.get(path)
    for name, value in sorted(values.items()):
        where = f"{path}.{name}".strip(".")
        if allowed is not None:
            kinds = allowed.get(name) or (re.match(allowed.get("*", "$^"), name) and "object")
            if not kinds:
                yield where
                continue
            kinds = [kinds] if isinstance(kinds, str) else kinds
            if "any" not in kinds and not isinstance(value, tuple(KINDS[k] for k in kinds if k in KINDS)):
                yield f"{where} is a {type(value).__name__}"
                continue
        if isinstance(value, dict):
            yield from unknown_keys(value, keys, where)


def test_the_servers_have_the_hubs_limits_and_hand_in():
    yaml = pytest.importorskip("yaml")
    values = yaml.safe_load((TEMPLATE.parent / "cluster" / "values.yaml").read_text(encoding="utf-8"))
    user = values["singleuser"]
    mounts = {one["mountPath"]: one for one in user["storage"]["extraVolumeMounts"]}
    assert "{username}" in mounts[user["extraEnv"]["MINIGPT_INBOX"]]["subPath"]
    claim = yaml.safe_load((TEMPLATE.parent / "cluster" / "inbox.yaml").read_text(encoding="utf-8"))
    (volume,) = user["storage"]["extraVolumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert user["uid"] == 1000 and "USER 1000" in (TEMPLATE.parent / "cluster" / "Dockerfile").read_text()


def test_the_guide_has_the_table_of_machines_and_the_values_its_figures():
    yaml = pytest.importorskip("yaml")
    guide = (here().root / "docs" / "hub.md").read_text(encoding="utf-8")
    assert machines.table() in guide
    values = yaml.safe_load((TEMPLATE.parent / "cluster" / "values.yaml").read_text(encoding="utf-8"))
    user = values["singleuser"]
    assert user["memory"]["guarantee"] == f"{machines.MEMORY * 1000:.0f}M"
    assert user["cpu"]["guarantee"] == machines.PROCESSOR
    assert machines.students_on(4, 16) == 33 and machines.students_on(2, 64) == 40
