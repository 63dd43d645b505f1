"""A real hub with students in it: they work, hand in, attack each other; hub and servers are killed.

The tests are a story, in this order; each begins where the one before ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from tools.launcher.project import here
from tools.teaching.grading import submissions
from tools.teaching.grading.cells import ProblemSet
from tools.teaching.hub.client import FORM, Refused, Student
from tools.teaching.hub.trial import Hub

ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not ROOT, reason="only root can keep students apart: run as root")
SET = "my_work/problems/ps1_tokenization.ipynb"
JUERGEN, ADA = "juergen-mueller", "ada-lovelace"


@pytest.fixture(scope="module")
def hub():
    made = Hub(["Jürgen Müller", "Lovelace, Ada"])
    try:
        made.start()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def students(hub, loop):
    """Both, logged in, with a kernel for problem set 1."""
    both = {login: hub.student(login) for login in (JUERGEN, ADA)}

    async def come(student):
        await student.log_in()
        await student.start_server()
        await student.open_kernel(SET)

    async def all_come():
        await asyncio.gather(*map(come, both.values()))

    loop.run_until_complete(all_come())
    yield both
    for student in both.values():
        student.close()


def ran(loop, student, code):
    answer = loop.run_until_complete(student.run(code))
    assert not answer.error, answer.error
    return answer.text.strip()


def failed(loop, student, code):
    return loop.run_until_complete(student.run(code)).error


def refused(loop, coroutine):
    with pytest.raises(Refused) as error:
        loop.run_until_complete(coroutine)
    return error.value.code


def programs(hub, name):
    """The processes of a hub's environment that run this module."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if name in words and words[0].startswith(str(hub.folder)):
            found.append(path)
    return found


def came_in(hub):
    """What the teacher finds, as `start.py grade` does."""
    solution = ProblemSet.read(here().notebooks / "solutions" / "ps1_tokenization.ipynb")
    scratch = hub.folder / "scratch"
    scratch.mkdir(exist_ok=True, mode=0o700)
    found, _ = submissions.find(
        hub.folder / "inbox",
        {solution.name: set(solution.cells)},
        lambda name, notebook: solution.is_untouched(notebook),
        scratch,
    )
    shutil.rmtree(scratch)
    return {one.student: one for one in found}


def save_and_hand_in(loop, student, text):
    async def act():
        file = await student.read(SET)
        file["content"]["cells"][1]["source"] = text
        await student.save(SET, file["content"])
        return await student.run(
            "from minigpt_helpers.hand_in import hand_in\nhand_in('ps1_tokenization')"
        )

    answer = loop.run_until_complete(act())
    assert not answer.error, answer.error
    return answer.text


def test_each_has_a_my_work_without_answers(students, loop):
    for student in students.values():
        lesson = loop.run_until_complete(student.read("my_work/03_attention.ipynb"))["content"]
        code = [cell for cell in lesson["cells"] if cell["cell_type"] == "code"]
        assert code and not any(cell["execution_count"] for cell in code)
        set_1 = loop.run_until_complete(student.read(SET))["content"]
        text = json.dumps(set_1)
        assert "BEGIN SOLUTION" not in text and "HIDDEN TESTS" not in text
        assert "hand_in" in set_1["cells"][-1]["source"]
        assert ran(loop, student, "import minigpt_helpers as m; print(m.__file__)").endswith(
            "course/mini-gpt/minigpt_helpers/__init__.py"
        )


def test_what_is_handed_in_the_teacher_finds(hub, students, loop):
    for login, student in students.items():
        receipt = save_and_hand_in(loop, student, f"answer of {login}")
        assert "Handed in: ps1_tokenization" in receipt and "Receipt: " in receipt
    found = came_in(hub)
    assert set(found) == {"Jürgen Müller", "Lovelace, Ada"}
    assert f"answer of {JUERGEN}" in found["Jürgen Müller"].notebook.cells[1].source


def test_the_last_one_counts(hub, students, loop):
    save_and_hand_in(loop, students[ADA], "a second answer")
    assert "a second answer" in came_in(hub)["Lovelace, Ada"].notebook.cells[1].source


@as_root
def test_a_student_cannot_hand_in_before_the_hour(hub, students, loop):
    before = came_in(hub)["Lovelace, Ada"].handed_in
    ran(
        loop,
        students[ADA],
        "import os, pathlib\n"
        "for path in pathlib.Path(os.environ['MINIGPT_INBOX']).glob('*/*.ipynb'):\n"
        "    os.utime(path, (1, 1)); (path.parent / 'timestamp.txt').write_text('2020-01-01T00:00')",
    )
    assert came_in(hub)["Lovelace, Ada"].handed_in >= before


def test_who_may_not_log_in(hub, loop):
    for login, password in [(ADA, "wrong-password"), ("nobody", "whatever-it-is"), (ADA, "")]:
        assert refused(loop, Student(hub.address, login, password).log_in()) in (200, 403)


def test_the_full_name_is_a_login_too(hub, students, loop):
    student = Student(hub.address, "Jürgen Müller", students[JUERGEN].password)
    loop.run_until_complete(student.log_in())


def test_nobody_enters_anothers_server(hub, students, loop):
    ada = students[ADA]
    for path in ("api/contents/my_work", "lab", "api/kernels", "files/.bashrc"):
        answer = loop.run_until_complete(ada.ask("GET", f"/user/{JUERGEN}/{path}"))
        assert answer.code in (403, 404), (path, answer.code, answer.landed)
    for path in (f"/hub/spawn/{JUERGEN}", "/hub/admin", f"/hub/token/{JUERGEN}"):
        assert loop.run_until_complete(ada.ask("GET", path)).code in (403, 404), path
    token = ran(loop, ada, "import os; print(os.environ['JUPYTERHUB_API_TOKEN'])")
    for path in (f"/user/{JUERGEN}/api/contents", "/hub/api/users", f"/hub/api/users/{JUERGEN}/tokens"):
        answer = loop.run_until_complete(
            Student(hub.address, "", "").ask("GET", path, headers={"Authorization": f"token {token}"})
        )
        assert answer.code in (403, 404), (path, answer.code)


def test_the_login_sends_nobody_elsewhere(hub, students, loop):
    for other in ("//example.org/x", "https://example.org/", "/\\example.org", "@example.org"):
        student = Student(hub.address, ADA, students[ADA].password)
        async def log_in(student=student, other=other):
            await student.get("/hub/login")
            form = {"username": ADA, "password": student.password, "_xsrf": student.xsrf("/hub/login")}
            return await student.ask(
                "POST",
                f"/hub/login?next={quote(other, safe='')}",
                urlencode(form),
                FORM,
            )

        answer = loop.run_until_complete(log_in())
        assert answer.effective_url.startswith(hub.address), answer.effective_url


@as_root
def test_a_student_reads_nothing_that_is_anothers(hub, students, loop):
    root = here().root
    targets = [
        hub.folder / "homes" / JUERGEN / SET,
        hub.folder / "homes" / JUERGEN,
        hub.folder / "inbox" / JUERGEN,
        hub.folder / "inbox" / "class.json",
        hub.folder / "inbox",
        hub.folder / "state" / "jupyterhub.sqlite",
        hub.folder / "state" / "cookie_secret",
        hub.folder / "state" / "passwords.dbm.db",
        hub.folder / "state" / "first-passwords.csv",
        hub.folder / "students.txt",
        hub.folder / "hub.toml",
        root / "notebooks" / "solutions" / "ps1_tokenization.ipynb",
        root / "docs" / "answers.md",
        root / "build",
    ]
    code = (
        "import os\ndef read(path):\n"
        "    return os.listdir(path) if os.path.isdir(path) else open(path, 'rb').read(9)\n"
    )
    for path in targets:
        assert path.exists() or path.name in ("build", "passwords.dbm.db"), path
        assert "PermissionError" in failed(loop, students[ADA], f"{code}print(read({str(path)!r}))"), path
    # The course holds no answer.
    found = ran(
        loop,
        students[ADA],
        f"import pathlib; print([str(p) for p in pathlib.Path({str(hub.folder / 'course')!r}).rglob('*') "
        "if 'solutions' in p.parts or p.name in ('answers.md', 'grading.md')])",
    )
    assert found == "[]"


@as_root
def test_a_student_changes_nothing_that_is_anothers(hub, students, loop):
    for path in (
        hub.folder / "course" / "mini-gpt" / "minigpt_helpers" / "nn.py",
        hub.folder / ".venv-hub" / "pyvenv.cfg",
        hub.folder / "inbox" / JUERGEN / "x",
        hub.folder / "inbox" / "x",
        hub.folder / "homes" / "x",
        Path("/run/mini-gpt-hub/x"),
    ):
        assert "PermissionError" in failed(loop, students[ADA], f"open({str(path)!r}, 'a')"), path
    pids = ran(loop, students[JUERGEN], "import os; print(os.getpid(), os.getppid())").split()
    for pid in [*pids, str(hub.process.pid)]:
        assert "PermissionError" in failed(loop, students[ADA], f"import os; os.kill({pid}, 9)")
        assert "PermissionError" in failed(loop, students[ADA], f"open('/proc/{pid}/environ').read()")
    # The proxy's own controls want a secret that only the hub has.
    said = failed(
        loop,
        students[ADA],
        "import urllib.request; urllib.request.urlopen("
        f"'http://127.0.0.1:{hub.port + 2}/api/routes')",
    )
    assert "403" in said
    # Its kernel cannot be listened to: the channels are files of the student's own.
    connection = ran(
        loop,
        students[ADA],
        "import ipykernel, json; print(json.load(open(ipykernel.get_connection_file()))['transport'])",
    )
    assert connection == "ipc"


@as_root
def test_links_in_an_inbox_lead_nowhere(hub, students, loop):
    """The teacher's command runs as root: it must not fetch for a student what is not theirs."""
    secret = hub.folder / "state" / "first-passwords.csv"
    other = hub.folder / "homes" / JUERGEN
    ran(
        loop,
        students[ADA],
        "import os, pathlib\nbox = pathlib.Path(os.environ['MINIGPT_INBOX'])\n"
        "(box / 'trap').mkdir()\n"
        f"(box / 'trap' / 'words.txt').symlink_to({str(secret)!r})\n"
        f"(box / 'trap' / 'ps1_tokenization.ipynb').symlink_to({str(other / SET)!r})\n"
        f"(box / 'zzz').symlink_to({str(other / 'my_work' / 'problems')!r})\n"
        "os.mkfifo(box / 'trap' / 'pipe')",
    )
    mine = came_in(hub)["Lovelace, Ada"]
    assert "a second answer" in mine.notebook.cells[1].source
    assert "words.txt" not in mine.beside


@as_root
def test_limits_hold(students, loop):
    ada = students[ADA]
    assert "MemoryError" in failed(loop, ada, "import numpy; numpy.ones(2 * 10**8)")
    said = failed(
        loop,
        ada,
        "import subprocess\nmany = []\ntry:\n"
        "    for _ in range(400): many.append(subprocess.Popen(['sleep', '60']))\n"
        "finally:\n    [one.kill() for one in many]; [one.wait() for one in many]",
    )
    assert "BlockingIOError" in said
    assert ran(loop, ada, "print(1 + 1)") == "2"


def test_a_killed_hub_goes_on(hub, students, loop):
    ran(loop, students[ADA], "kept = 42")
    hub.kill()
    answer = save_and_hand_in(loop, students[ADA], "handed in while there is no hub")
    assert "Receipt" in answer
    hub.start()
    assert len(programs(hub, "jupyterhub_idle_culler")) == 1  # the old hub's ended with it
    loop.run_until_complete(students[ADA].open_kernel(SET))  # as JupyterLab does by itself
    assert ran(loop, students[ADA], "print(kept)") == "42"
    fresh = hub.student(ADA)
    loop.run_until_complete(fresh.log_in())
    loop.run_until_complete(fresh.start_server())
    assert loop.run_until_complete(fresh.api("GET", "kernels"))[0]["id"] == students[ADA].kernel
    assert "while there is no hub" in came_in(hub)["Lovelace, Ada"].notebook.cells[1].source


def test_a_killed_server_comes_back(hub, students, loop):
    ada = students[ADA]
    ran(loop, ada, "open('../mine.txt', 'w').write('still here')")
    server = int(ran(loop, ada, "import os; print(os.getppid())"))
    os.kill(server, signal.SIGKILL)

    async def come_back():
        await asyncio.sleep(1)
        again = hub.student(ADA)
        await again.log_in()
        await again.start_server()
        await again.open_kernel(SET)
        return again

    students[ADA].close()
    students[ADA] = loop.run_until_complete(come_back())
    assert ran(loop, students[ADA], "print(open('../mine.txt').read())") == "still here"
    assert "while there is no hub" in json.dumps(loop.run_until_complete(students[ADA].read(SET)))


def test_who_leaves_the_class_list_cannot_log_in(hub, students, loop):
    hub.stop()
    hub.write(["Lovelace, Ada", "Grace Hopper"])
    hub.start()
    assert refused(loop, hub.student(JUERGEN).log_in()) in (200, 403)
    for login in (ADA, "grace-hopper", "frau-weber"):
        loop.run_until_complete(hub.student(login).log_in())
    assert loop.run_until_complete(teacher_page(hub)) == 200


async def teacher_page(hub):
    teacher = hub.student("frau-weber")
    await teacher.log_in()
    return (await teacher.ask("GET", "/hub/admin")).code
