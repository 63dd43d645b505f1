"""The trusted side: starts the process of a notebook, keeps its time, and stands in for its objects.

A check gets stand-ins and uses them as it would use the student's own functions and classes. What
they give back is plain data, a tensor of the package, or another stand-in; `==` on a stand-in is
identity, so that no object of the student's has a say in what a check compares.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import json
import linecache
import os
import select
import signal
import socket
import subprocess
import sys
import time
import types
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path

import psutil

from minigpt_helpers.checks._own_parts import combine_all as combine_here
from minigpt_helpers.checks._own_parts import read_all as read_here
from minigpt_helpers.checks._own_parts import write_all as write_here
from minigpt_helpers.checks._student import TimeLimit
from tools.teaching.grading.wire import Endpoint, Lost, WireError, assign, is_public, public_base

POLL = 0.05  # seconds
GRACE = 3.0  # seconds in which code past its time may end when interrupted
MOST_FILES = 200  # MB that a notebook may write
MOST_PROCESSES = 100  # the system allows no more where it can be told so
A_FORK_BOMB = 60  # processes
FEW_TENSORS = 10  # that both sides keep equal before it is asked which are needed
MOST_NESTED = 8  # checks called from functions that checks call
RUNNING = {psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP, psutil.STATUS_WAKING}
CATCHABLE = {"KeyboardInterrupt": "TimeoutError", "GeneratorExit": "RuntimeError"}


class NotStarted(RuntimeError):
    """The process of the notebook did not come up, so nothing of it was run."""


class Guest(Endpoint):
    """The process of one notebook, and the stand-ins for what lives in it."""

    def __init__(
        self,
        stage: Path,
        folder: Path,
        limits: dict,
        jail: dict | None,
        run_check: Callable[[str, tuple], dict],
    ) -> None:
        self.limits, self.run_check = limits, run_check
        self.left = float(limits["seconds"])  # for the whole notebook
        self.budget = float("inf")  # for what runs now
        self.nested, self.depth, self.lost = 0, 0, ""
        ours, theirs, options = connection()
        config = {
            "socket": theirs,
            "folder": str(folder),
            "jail": jail,
            "memory": limits["memory"],
            "megabytes": MOST_FILES,
            "processes": MOST_PROCESSES,
            "not_on_the_path": limits["not_on_the_path"],
        }
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "minigpt_guest.guest", json.dumps(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=dict(os.environ) | {"PYTHONPATH": str(stage)},
            cwd=folder,
            **options,
        )
        if options:
            os.close(theirs)
        else:
            ours, waiting = ours.accept()[0], ours
            waiting.close()
        super().__init__(ours, "h")
        self.last_time, self.last_cpu, self.next_look = time.monotonic(), 0.0, 0.0
        self.main: psutil.Process | None = None
        self.start()

    def start(self) -> None:
        """Wait until it can be asked."""
        limit, self.left = self.left, float("inf")
        try:
            self.budget = 120.0
            self.receive()
        except (Lost, WireError):
            time.sleep(POLL)  # it may still have something to say
            self.process.kill()
            said = self.process.stderr.read().decode(errors="replace").strip().splitlines()
            self.end()
            raise NotStarted(f"it did not start: {(said or ['no word why'])[-1][:200]}") from None
        self.left = limit

    # Time and memory

    def spend(self, seconds: float) -> None:
        """What runs next may take so long; a new start of the clock."""
        if time.monotonic() > self.next_look:  # a look takes some milliseconds
            self.look()
        self.budget = seconds

    def look(self) -> None:
        """Count the time since the last look: the processor's, or the clock's while it sleeps.

        So a machine that is busy with other things takes no time away.
        """
        now = time.monotonic()
        passed, self.last_time, self.next_look = now - self.last_time, now, now + POLL
        try:
            processes = self.processes()
            cpu = sum(sum(one.cpu_times()[:2]) for one in processes)
            asleep = not any(one.status() in RUNNING for one in processes)
            used = max(passed if asleep else 0.0, cpu - self.last_cpu)
            self.last_cpu = cpu
            memory = sum(one.memory_info().rss for one in processes)
        except (psutil.Error, OSError):
            used, memory, processes = passed, 0, []
        self.budget -= used
        self.left -= used
        much = memory > self.limits["memory"] * 2**20
        if len(processes) > (A_FORK_BOMB // 3 if much else A_FORK_BOMB):
            self.kill("too many processes were started (a fork bomb)")
        if much:
            self.kill("too much memory was used")

    def processes(self) -> list[psutil.Process]:
        outer = psutil.Process(self.process.pid)
        inner = outer.children(recursive=True)
        self.main = inner[0] if inner and self.limits["jailed"] else outer
        return inner if self.limits["jailed"] else [outer, *inner]

    def wait(self) -> None:
        """Until something comes; stop what runs too long."""
        late_since = None
        while not select.select([self.socket], [], [], POLL)[0]:
            if self.lost:
                raise Lost(self.lost)
            if time.monotonic() < self.next_look:
                continue
            self.look()
            if self.budget > 0 and self.left > 0:
                continue
            if late_since is None:
                late_since, self.stopped = time.monotonic(), True
            if time.monotonic() - late_since > GRACE:
                self.kill("it ran too long and did not stop when interrupted")
            with contextlib.suppress(
                psutil.Error, OSError, ValueError
            ):  # Windows has no such signal
                self.main.send_signal(signal.SIGINT)

    def kill(self, why: str) -> None:
        self.lost = self.lost or why
        try:
            left = [] if self.limits["jailed"] else self.processes()
        except (psutil.Error, OSError):
            left = []
        self.process.kill()
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        raise Lost(self.lost)

    def end(self) -> None:
        with contextlib.suppress(Lost):
            self.kill("it has ended")
        self.process.wait()
        self.process.stderr.close()
        self.socket.close()

    def died(self) -> str:
        """Why the process is gone, in words."""
        if not self.lost:
            self.lost = "the kernel died (out of memory, or its code ended it)"
        return self.lost

    # Requests

    def ask(self, op: str, **parts: object) -> dict:
        if self.lost:
            raise Lost(self.lost)
        self.stopped = False
        self.last_time = time.monotonic()
        self.depth += 1
        try:
            if self.depth == 1:
                gone, self.gone = self.gone, {}
                tensors = self.unused() if len(self.told) > self.most_told else []
                parts["drop"] = [*gone, *tensors]
            answer = super().ask(op, **parts)
        except Lost:
            raise Lost(self.died()) from None
        except WireError as error:
            if self.socket and not self.stopped and self.sent_nothing(error):
                raise
            self.lost = self.lost or f"what it sent could not be read: {error}"
            with contextlib.suppress(Lost):
                self.kill(self.lost)
            raise Lost(self.lost) from None
        finally:
            self.depth -= 1
        if time.monotonic() - self.last_time > POLL:
            self.look()
        self.last_time = time.monotonic()  # what we compute now is not the student's time
        if self.stopped:
            raise TimeLimit
        return answer

    def unused(self) -> list[str]:
        """Drop the tensors that only we still hold; their names. Next time when there are twice as many."""
        names = []
        for name in list(self.told):
            thing = self.objects[name]
            if sys.getrefcount(thing) == 3:  # of the table, of this line, of the call
                names.append(name)
        self.drop(names)
        self.most_told = FEW_TENSORS + 2 * len(self.told)
        return names

    @staticmethod
    def sent_nothing(error: WireError) -> bool:
        return str(error).startswith(("this cannot be sent", "more than"))

    def serve(self, message: dict) -> dict:
        """What the notebook may ask for: a check, a function that a check handed over, a gradient."""
        try:
            op = message["op"]
            if op == "call":
                function = self.objects[message["name"]]
                if not message["name"].startswith("h") or not callable(function):
                    raise WireError("not a function of ours")
                args = self.decode(message["args"])
                return self.answered(lambda: self.encode_values(function(*args)))
            if op == "pull":
                return self.pull(message)
            if op == "check":
                args = self.decode(message["args"])
                return {
                    "result": self.checked(str(message["name"]), args),
                    "changes": self.changes(),
                }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return {"error": {"type": "ValueError", "text": str(error)[:300]}, "changes": []}
        raise WireError("an unknown request")

    def encode_values(self, value: object) -> object:
        self.only_values = True
        try:
            return self.encode(value)
        finally:
            self.only_values = False

    def answered(self, work: Callable[[], object]) -> dict:
        try:
            return {"value": work(), "changes": self.changes()}
        except Exception as error:  # a check's own function refuses what it was given
            self.refused = error
            return {"error": {"type": "ValueError", "text": str(error)}, "changes": self.changes()}

    def checked(self, name: str, objects: tuple) -> dict:
        if self.nested >= MOST_NESTED:
            raise ValueError("checks call each other without end")
        self.nested += 1
        before = self.budget
        try:
            return self.run_check(name, objects)
        finally:
            self.nested -= 1
            self.budget = before

    def value_of(self, answer: dict) -> object:
        for text in answer.get("warned", ()):
            warnings.warn(str(text), stacklevel=2)
        if "error" in answer:
            refused, self.refused = self.refused, None
            if refused is not None and str(refused) == answer["error"].get("text"):
                raise refused  # what the check's own function said, not a copy
            raise_as_there(answer["error"])
        return self.decode(answer.get("value"))

    refused: Exception | None = None

    # Objects

    def forget(self) -> None:
        super().forget()
        self.most_told = FEW_TENSORS
        self.standing: dict[str, weakref.ref] = {}  # stand-ins that somebody here still holds
        self.gone: dict[str, type | None] = {}  # the others, until the notebook's process is told

    def stand_in(self, name: str, kind: type | None) -> object:
        """What stands here for an object of this kind over there; for a function if kind is None."""
        if kind is None:
            made: object = functools.partial(self.call, name)
        else:
            made = object.__new__(kind)
            object.__setattr__(made, "_far", (self, name))
        number = id(made)
        self.names[number] = name

        def drop(ref: weakref.ref) -> None:
            if self.standing.get(name) is ref:  # else of an earlier notebook
                del self.standing[name], self.names[number]
                self.gone[name] = kind

        self.standing[name] = weakref.ref(made, drop)
        return made

    def decode_known(self, name, depth):
        if name in self.gone:  # not needed for a moment, and now again
            return self.stand_in(name, self.gone.pop(name))
        return self.standing[name]() if name in self.standing else super().decode_known(name, depth)

    def get(self, name: str) -> object:
        return self.value_of(self.ask("get", name=name))

    def call(self, name: str, *args: object, **kwargs: object) -> object:
        answer = self.ask("call", name=name, args=self.encode(args), kwargs=self.encode(kwargs))
        for number, new in answer.get("args", ()):
            if isinstance(number, int) and 0 <= number < len(args):
                assign(args[number], self.decode(new))
        return self.value_of(answer)

    def encode_other(self, value: object, depth: int) -> list:
        base = public_base(type(value))
        if base is not None:
            data = self.encode_model(value, base, depth)
            if type(value) is base:
                return data
            methods = [
                name
                for kind in type(value).__mro__
                if not is_public(kind) and kind is not object
                for name, part in vars(kind).items()
                if callable(part) and not name.startswith("__")
            ]
            own = [[name, self.encode(getattr(value, name), depth + 1)] for name in methods]
            return ["borrowed", *data[1:], own]
        if callable(value):
            return ["function", self.named(value), self.plain_attributes(value, depth)]
        raise WireError(f"this cannot be sent: {type(value).__name__}")

    def plain_attributes(self, value: object, depth: int) -> list:
        """What a check's own callable object shows besides: numbers, texts, functions."""
        if isinstance(value, (types.FunctionType, types.MethodType, functools.partial, type)):
            return []
        shown = [name for name in dir(value) if not name.startswith("_")]
        found = [[name, getattr(value, name)] for name in shown]
        return [
            [name, self.encode(part, depth + 1)]
            for name, part in found
            if isinstance(part, (bool, int, float, str, types.MethodType))
        ]

    def encode_model(self, thing: object, base: type, depth: int) -> list:
        name, known = self.named(thing), set(dir(base))
        attributes = [
            [key, self.encode(value, depth + 1)]
            for key, value in vars(thing).items()
            if key not in known
        ]
        return ["model", name, f"{base.__module__}:{base.__qualname__}", attributes]

    def encode(self, value: object, depth: int = 0) -> object:
        if (
            id(value) in self.names
            and public_base(type(value)) is not None
            and self.names[id(value)].startswith("h")
            and hasattr(value, "__dict__")
        ):
            return self.encode_other(value, depth)  # anew: what it holds may be another by now
        return super().encode(value, depth)

    def decode_far(self, name: str, what: str, kind: object, depth: int) -> object:
        if name in self.objects or name in self.standing or name in self.gone:
            return self.decode_known(name, depth)
        if not name.startswith("g"):
            raise WireError("not a name")
        if what == "class":
            made = self.far_class(name)
            self.named(made, name)
            return made
        kind = None if what == "function" else self.decode(kind, depth)
        return self.stand_in(
            name, kind if kind is None or isinstance(kind, FarClass) else FarObject
        )

    def far_class(self, name: str) -> type:
        answer = self.ask("class", name=name)
        bases = tuple(base for base in self.decode(answer["value"]) if isinstance(base, type))
        if not any(issubclass(base, FarObject) for base in bases):
            bases = (FarObject, *bases)
        space = {"__module__": str(answer["module"]), "_far_class": (self, name)}
        space |= {
            str(method): FarMethod(str(method))
            for method in answer["methods"]
            if not str(method).startswith("__") or method == "__call__"
        }
        space |= {word: far_operator(word) for word in answer["operators"] if word in OPERATORS}
        try:
            return FarClass(str(answer["title"]), bases, space)
        except TypeError:  # bases that do not go together
            return FarClass(str(answer["title"]), (FarObject,), space)


def connection() -> tuple[socket.socket, int, dict]:
    """(our socket, what the other process needs to know of its own, options to start it with)."""
    if os.name == "nt":
        waiting = socket.create_server(("127.0.0.1", 0))
        waiting.settimeout(120)
        return waiting, -waiting.getsockname()[1], {}
    ours, theirs = socket.socketpair()
    return ours, theirs.fileno(), {"pass_fds": [theirs.detach()]}


OPERATORS = {
    f"__{name}__"
    for name in (
        "add radd mul rmul sub rsub truediv rtruediv floordiv mod pow rpow neg pos abs matmul rmatmul "
        "getitem setitem len iter next contains call float int index lt le gt ge"
    ).split()
}


def far_operator(word: str) -> Callable:
    def operator(self, *args: object, **kwargs: object) -> object:
        guest, name = object.__getattribute__(self, "_far")
        if word == "__call__":
            return guest.call(name, *args, **kwargs)
        return guest.value_of(guest.ask("operator", name=name, word=word, args=guest.encode(args)))

    return operator


class FarMethod:
    """A function in a class of the student's: found there, and called there."""

    def __init__(self, attr: str) -> None:
        self.attr = attr

    def __get__(self, thing: object, kind: type) -> object:
        if thing is not None:
            return getattr(thing, self.attr)
        guest, name = kind._far_class
        return guest.value_of(guest.ask("getattr", name=name, attr=self.attr))


class FarClass(type):
    """The kind of a class that lives in the other process."""

    def __call__(cls, *args: object, **kwargs: object) -> object:
        guest, name = cls._far_class
        return guest.call(name, *args, **kwargs)

    def __getattr__(cls, attr: str) -> object:
        if attr.startswith("_"):
            raise AttributeError(attr)
        guest, name = cls._far_class
        return guest.value_of(guest.ask("getattr", name=name, attr=attr))


class FarObject(metaclass=FarClass):
    """An object that lives in the other process."""

    __array_ufunc__ = None

    def __getattribute__(self, attr: str) -> object:
        guest, name = object.__getattribute__(self, "_far")
        if attr == "__dict__":
            return guest.value_of(guest.ask("vars", name=name))
        if attr.startswith("__") and attr.endswith("__"):
            return object.__getattribute__(self, attr)
        return guest.value_of(guest.ask("getattr", name=name, attr=attr))

    def __setattr__(self, attr: str, value: object) -> None:
        guest, name = object.__getattribute__(self, "_far")
        guest.value_of(guest.ask("setattr", name=name, attr=attr, value=guest.encode(value)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


# Many objects, one message


def together(op: str, things: list, **parts: object) -> list | None:
    """Ask something of each of these objects at once; None if not all of them live there."""
    if not things or not all(isinstance(thing, FarObject) for thing in things):
        return None
    far = [object.__getattribute__(thing, "_far") for thing in things]
    guest, names = far[0][0], [name for _, name in far]
    parts = {key: guest.encode(value) for key, value in parts.items()}
    found = guest.value_of(guest.ask(op, names=names, **parts))
    if type(found) is not list or len(found) != len(things):
        raise ValueError("not one answer for each object")
    return found


def read_all(things: list, name: str, default: object = None) -> list:
    found = together("read", things, attr=name)
    if found is None:
        return read_here(things, name, default)
    return [value for (value,) in (one or (default,) for one in found)]


def write_all(things: list, name: str, values: list) -> None:
    if together("write", things, attr=name, values=list(values)) is None:
        write_here(things, name, values)


def combine_all(word: str, lefts: list, rights: list) -> list:
    found = together("combine", lefts, word=word, rights=list(rights))
    return combine_here(word, lefts, rights) if found is None else found


# Errors


def raise_as_there(error: dict) -> None:
    """Raise what was raised in the notebook, from a frame that looks like the notebook's line."""
    base = CATCHABLE.get(str(error.get("type")), str(error.get("type")))
    kind = getattr(builtins, base, None)
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        kind = Exception
    name = str(error.get("name") or kind.__name__)
    if name != kind.__name__ and name.isidentifier():
        kind = type(name, (kind,), {})
    try:
        raised = kind(str(error.get("text", "")))
    except Exception:  # some want more than a text
        raised = RuntimeError(str(error.get("text", "")))
    line = error.get("line")
    if not isinstance(line, int) or not 0 < line < 100_000:
        raise raised
    file, source = "<the notebook>", str(error.get("source", ""))
    linecache.cache[file] = (0, None, ["\n"] * (line - 1) + [source], file)
    code = compile("\n" * (line - 1) + "raise error", file, "exec")
    function = str(error.get("function", ""))
    if not all(part.strip("<>").isidentifier() for part in function.split(".")):
        function = "<cell>"
    code = code.replace(co_name=function.rpartition(".")[2], co_qualname=function)
    space = {"error": raised}
    exec(code, space, {"blank": ...} if error.get("blank") is True else space)
