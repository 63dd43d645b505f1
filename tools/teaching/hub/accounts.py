"""Gives each name of the class list a login, a first password and, as root, a system user.

``state/accounts.json`` keeps who has which login: a list in another order, or with new names, gives
nobody the files of another.
"""

from __future__ import annotations

import contextlib
import csv
import dbm
import json
import os
import pwd
import re
import secrets
import subprocess
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.launcher.project import UserError
from tools.teaching.grading.report import Student, class_list
from tools.teaching.hub.settings import Settings, from_text

PREFIX = "mg-"  # of system users: a student called Root becomes mg-root
LONGEST = 24
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none is taken for another
SPELLED = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "ø": "oe", "å": "aa", "ł": "l"}
)


@dataclass
class Account:
    """One student or teacher: the name in the class list, and what the hub made of it."""

    login: str
    name: str
    id: str = ""
    system: str = ""  # the system user, if the hub runs as root
    teacher: bool = False


def login_for(name: str, taken: Iterable[str] = ()) -> str:
    """`Jürgen Müller` logs in as juergen-mueller; a second one as juergen-mueller-2.

    A name in letters that have no likeness among a to z becomes student-1, student-2, ...
    """
    if name.count(",") == 1:
        name = " ".join(reversed(name.split(",")))  # Müller, Jürgen
    text = unicodedata.normalize("NFC", name).casefold().translate(SPELLED)
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    word = re.sub(r"[^a-z0-9]+", "-", text).strip("-")[:LONGEST].strip("-")
    start, number = (word, 1) if re.search("[a-z]", word) else ("student", 0)
    taken = set(taken)
    while number == 0 or word in taken:
        number += 1
        word = f"{start}-{number}"
    return word


def bring_up_to_date(settings: Settings) -> dict[str, Account]:
    """The accounts of all in the class list, with those of new ones made; by login."""
    listed = class_of(settings)
    before = read(settings)
    present: dict[str, Account] = {}
    for student, teacher in listed:
        account = next((one for one in before.values() if is_same(one, student, teacher)), None)
        if account is None:
            account = Account(login_for(student.name, before), student.name, teacher=teacher)
            before[account.login] = account
        account.name, account.id = student.name, student.id
        present[account.login] = account
    for account in present.values():
        make_folders(settings, account)
    write_private(settings.state / "accounts.json", as_json(before.values()))
    write_private(settings.inbox / "class.json", as_json(before.values()))
    first_passwords(settings, present.values())
    return present


def is_same(account: Account, student: Student, teacher: bool) -> bool:
    """Whether an account is this one's: by the number where both have one, else by the name."""
    if account.id and student.id:
        return account.id == student.id and account.teacher == teacher
    return account.name == student.name and account.teacher == teacher


def class_of(settings: Settings) -> list[tuple[Student, bool]]:
    """(who, is it a teacher?) for all who may log in."""
    path = settings.path(settings.students)
    if not path.is_file():
        raise UserError(f"There is no class list {path}.", "Write one: a name a line.")
    students = class_list(path)
    if not students:
        raise UserError(
            f"The class list {path} is empty.", "Write the names of your students in it."
        )
    twice = {one.name for one in students if [s.name for s in students].count(one.name) > 1}
    unclear = [one.name for one in students if one.name in twice and not one.id]
    if unclear:
        raise UserError(
            f"{unclear[0]} is in the class list more than once.",
            "Tell them apart by another name, or by a number: Jo Smith;4711",
        )
    teachers = [(Student(str(name)), True) for name in settings.teachers]
    return [(one, False) for one in students] + teachers


def read(settings: Settings) -> dict[str, Account]:
    """All accounts that were ever made, by login."""
    try:
        found = json.loads((settings.state / "accounts.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {one["login"]: Account(**one) for one in found}


def as_json(accounts: Iterable[Account]) -> str:
    return json.dumps([asdict(one) for one in accounts], indent=1, ensure_ascii=False) + "\n"


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody else can read, whole or not at all."""
    half = path.with_name(path.name + ".part")
    half.unlink(missing_ok=True)
    with open(
        os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(half, path)


# Folders and system users


def make_folders(settings: Settings, account: Account) -> None:
    """A home and an inbox that only their owner (and root) can enter."""
    home, inbox = settings.homes / account.login, settings.inbox / account.login
    if os.geteuid() != 0:
        home.mkdir(exist_ok=True, mode=0o700)
        inbox.mkdir(exist_ok=True, mode=0o700)
        return
    user = system_user(account, home)
    account.system = user.pw_name
    for folder in (home, inbox):
        # Made by root in a folder of root's: there is no link to follow.
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        os.chown(folder, user.pw_uid, user.pw_gid, follow_symlinks=False)


def system_user(account: Account, home: Path) -> pwd.struct_passwd:
    """The account's system user, made if it is absent; never one that was there for another use."""
    for name in filter(None, [account.system, *candidates(account.login)]):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            command = ["useradd", "--home-dir", str(home), "--no-create-home", "--user-group"]
            command += ["--no-log-init", "--shell", "/usr/sbin/nologin", name]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise UserError(f"useradd cannot make {name}: {done.stderr.strip()}") from None
            user = pwd.getpwnam(name)
        if user.pw_uid != 0 and Path(user.pw_dir) == home:
            return user
    raise UserError(f"There is no free name for a system user for {account.name}.")


def candidates(login: str) -> Iterator[str]:
    yield PREFIX + login
    for number in range(2, 100):
        yield f"{PREFIX}{login}.{number}"


# Passwords


def first_passwords(settings: Settings, accounts: Iterable[Account]) -> None:
    """Who has no password gets one; ``first-passwords.csv`` is for the teacher to hand out."""
    with passwords(settings) as known:
        new = [one for one in accounts if one.login.encode() not in known]
        for account in new:
            known[account.login] = new_password(settings, account)


def new_password(settings: Settings, account: Account) -> bytes:
    """The hash of a new password, which is added to the table for the teacher."""
    import bcrypt  # in the hub's environment alone

    word = "-".join("".join(secrets.choice(LETTERS) for _ in range(4)) for _ in range(3))
    path = settings.state / "first-passwords.csv"
    fresh = not path.exists()
    with open(
        os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", newline=""
    ) as file:
        table = csv.writer(file)
        if fresh:
            table.writerow(["name", "login", "first password"])
        table.writerow([account.name, account.login, word])
    return bcrypt.hashpw(word.encode(), bcrypt.gensalt(10))


def forget_password(settings: Settings, name: str) -> Account:
    """Give a new first password to who forgot theirs."""
    for account in read(settings).values():
        if name in (account.name, account.login):
            with passwords(settings) as known:
                known[account.login] = new_password(settings, account)
            return account
    raise UserError(f"Nobody in the class list is called {name!r}.")


def passwords(settings: Settings):
    """The table of JupyterHub's FirstUseAuthenticator."""
    return dbm.open(str(settings.state / "passwords.dbm"), "c", 0o600)


if __name__ == "__main__":  # start.py hub --new-password NAME
    hub = from_text(os.environ["MINIGPT_HUB"])
    forgot = forget_password(hub, sys.argv[1])
    print(f"A new first password for {forgot.login} is in {hub.state / 'first-passwords.csv'}")
