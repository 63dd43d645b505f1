"""The process in which a student's notebook lives: it runs cells, and calls what they defined.

Nothing here decides about points, and nothing that does is here: no check, no reference, no
hidden test, no seed. `checks` is a stand-in that asks the trusted process.

    python guest.py CONFIG     CONFIG is JSON: a socket's number, folders, limits
"""

from __future__ import annotations

import base64
import builtins
import contextlib
import getpass
import io
import json
import linecache
import operator
import os
import random
import signal
import socket
import sys
import types
import warnings
from pathlib import Path

MEGABYTE = 2**20
MOST_TEXT = 100_000  # characters that one cell may print
MOST_OUTPUT = 2_000_000  # characters that one cell may show, pictures included


def enter(config: dict) -> None:
    """Give up what a notebook may not have: rights, files, the network, memory without end."""
    folder = Path(config["folder"])
    if config["jail"]:
        from minigpt_guest import jail

        shown, hidden = ([Path(p) for p in config["jail"][k]] for k in ("visible", "hidden"))
        jail.enter(shown, hidden, folder, config["megabytes"])
        folder = jail.WORK
    if os.name != "nt":
        import resource

        limits = {
            "AS": config["memory"] * MEGABYTE,
            "FSIZE": config["megabytes"] * MEGABYTE,
            "CORE": 0,
        }
        if config["jail"]:
            limits["NPROC"] = config["processes"]  # elsewhere it counts all of a user's programs
        for name, value in limits.items():
            with contextlib.suppress(ValueError, OSError):  # macOS knows fewer
                resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    if config["jail"]:
        jail.confine()
    for name in ("HOME", "TMPDIR", "TEMP", "TMP", "MPLCONFIGDIR", "IPYTHONDIR"):
        os.environ[name] = str(folder)
    os.chdir(folder)
    fonts = os.environ.pop("MINIGPT_FONTS", "")
    for path in Path(fonts).glob("fontlist*.json") if fonts else ():
        (folder / path.name).write_bytes(path.read_bytes())


def main(config: dict) -> None:
    number = config["socket"]  # a port, with a minus, where sockets cannot be handed over
    connection = (
        socket.socket(fileno=number)
        if number > 0
        else socket.create_connection(("127.0.0.1", -number))
    )
    enter(config)
    # The editable install of the project is on the path too; of the project only the copy is used.
    sys.path[:] = [path for path in sys.path if path not in config["not_on_the_path"]]
    guest = Guest(connection)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    guest.run()


from minigpt_guest.wire import Endpoint, Lost, WireError, is_public, snapshot, unchanged  # noqa: E402

from minigpt_helpers import checks  # noqa: E402  (the stand-in)

OPERATORS = [
    f"__{name}__"
    for name in (
        "add radd mul rmul sub rsub truediv rtruediv floordiv mod pow rpow neg pos abs matmul rmatmul "
        "getitem setitem len iter next contains call float int index lt le gt ge"
    ).split()
]


class Refused(RuntimeError):
    """input() and the like: there is nobody to answer."""


def refuse_input(*args: object, **options: object) -> str:
    raise Refused(
        "input() does not work here: nobody can type while a notebook is graded. "
        "Write the value into the cell."
    )


class NoInput(io.TextIOBase):
    def readable(self) -> bool:
        return True

    def readline(self, *args: object) -> str:
        return refuse_input()

    read = readlines = __next__ = readline


class Printed(io.TextIOBase):
    """stdout or stderr of a cell, cut where it grows too long."""

    def __init__(self, guest: Guest, name: str) -> None:
        self.guest, self.name = guest, name

    encoding = property(lambda self: "utf-8")

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.guest.quiet:
            return len(text)
        left, self.guest.left_text = self.guest.left_text, self.guest.left_text - len(text)
        if left > 0:
            shown = text if len(text) <= left else text[:left] + "\n... the rest is cut\n"
            outputs = self.guest.outputs
            if outputs and outputs[-1].get("name") == self.name:
                outputs[-1]["text"] += shown
            else:
                outputs.append({"output_type": "stream", "name": self.name, "text": shown})
        return len(text)


class Guest(Endpoint):
    """Runs cells in an IPython shell, and answers for the objects that live in it."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection, "g")
        self.outputs: list[dict] = []
        self.quiet, self.left_text, self.left_output = False, MOST_TEXT, MOST_OUTPUT
        self.busy = False  # does the student's code run now?
        signal.signal(signal.SIGINT, self.on_interrupt)
        builtins.input = getpass.getpass = refuse_input
        checks.ask = self.ask_check
        self.shell = make_shell(self)
        sys.stdin, sys.stdout, sys.stderr = (
            NoInput(),
            Printed(self, "stdout"),
            Printed(self, "stderr"),
        )

    def on_interrupt(self, number: int, frame: object) -> None:
        if self.busy:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def students(self, busy: bool = True):
        """The student's code runs inside: it may be interrupted."""
        before, self.busy = self.busy, busy
        try:
            yield
        finally:
            self.busy = before

    def send(self, message: dict) -> None:
        with self.students(False):
            super().send(message)

    def receive(self) -> dict:
        with self.students(False):
            return super().receive()

    def run(self) -> None:
        self.send({"ready": True})
        while True:
            message = self.receive()
            if message["op"] == "end":
                os._exit(0)
            try:
                answer = self.serve(message)
                self.send(answer)
            except Lost:
                os._exit(0)
            except BaseException as error:  # whatever it is, the next request gets its answer
                self.send(
                    {
                        "error": {"type": type(error).__name__, "text": str(error)[:500]},
                        "changes": [],
                    }
                )

    def serve(self, message: dict) -> dict:
        self.drop(message.get("drop", []))
        self.apply(message.get("changes", []))
        op = message["op"]
        if op == "cell":
            return self.cell(message["source"])
        if op == "forget":
            self.forget()
            return {"changes": []}
        if op == "files":
            for name, content in message["files"].items():
                Path(name).write_bytes(base64.b64decode(content))
            return {"changes": []}
        return self.answer(getattr(self, f"do_{op}"), message)

    def cell(self, source: str) -> dict:
        self.outputs, self.left_text, self.left_output = [], MOST_TEXT, MOST_OUTPUT
        interrupted = False
        try:
            with self.students():
                self.shell.run_cell(source, store_history=True)
        except BaseException as error:  # an interrupt in IPython's own code
            self.add(error_output(type(error).__name__, str(error)))
            interrupted = isinstance(error, KeyboardInterrupt)
        answer = {
            "outputs": self.outputs,
            "count": self.shell.execution_count - 1,
            "changes": [],
            "interrupted": interrupted,
        }
        try:
            json.dumps(answer)
        except (TypeError, ValueError, RecursionError):
            answer["outputs"] = []
        return answer

    def add(self, output: dict) -> None:
        if self.quiet:
            return
        try:
            self.left_output -= len(json.dumps(output))
        except (TypeError, ValueError, RecursionError):
            return
        if self.left_output > 0:
            self.outputs.append(output)

    # Requests of the trusted side

    def answer(self, work, message: dict) -> dict:
        """Do what is asked, say nothing meanwhile; the value, or what went wrong."""
        before, self.quiet = self.quiet, True
        answer: dict = {}
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                answer = work(message)
            except (Lost, WireError) as error:
                if isinstance(error, Lost):
                    raise
                answer = {"error": {"type": "ValueError", "text": str(error)}}
            except BaseException as error:
                answer = {"error": described(error)}
            finally:
                self.quiet = before
        try:
            answer["warned"] = [str(one.message)[:300] for one in warned[:3]]
        except Exception:
            answer["warned"] = []
        answer["changes"] = self.changes()
        return answer

    def do_get(self, message: dict) -> dict:
        name = message["name"]
        if name not in self.shell.user_ns:
            raise NameError(f"name {name!r} is not defined")
        return {"value": self.encode(self.shell.user_ns[name])}

    def do_set(self, message: dict) -> dict:
        self.shell.user_ns[message["name"]] = checks.CheckResult(**message["value"])
        return {}

    def do_seed(self, message: dict) -> dict:
        import numpy as np

        random.seed(message["number"])
        np.random.seed(message["number"])  # noqa: NPY002  (the one a student may use)
        return {}

    def do_call(self, message: dict) -> dict:
        args, kwargs = self.decode(message["args"]), self.decode(message["kwargs"])
        before = snapshot(args)
        answer: dict = {}
        try:
            with self.students():
                value = self.objects[message["name"]](*args, **kwargs)
                answer["value"] = self.encode(value)
        except Lost:
            raise
        except BaseException as error:
            answer["error"] = described(error)
        changed = [
            [i, self.encode(new)]
            for i, (old, new) in enumerate(zip(before, args))
            if not unchanged(old, new)
        ]
        return answer | ({"args": changed} if changed else {})

    def do_pull(self, message: dict) -> dict:
        with self.students():
            return self.pull(message)

    def do_getattr(self, message: dict) -> dict:
        with self.students():
            return {"value": self.encode(getattr(self.objects[message["name"]], message["attr"]))}

    def do_setattr(self, message: dict) -> dict:
        with self.students():
            setattr(self.objects[message["name"]], message["attr"], self.decode(message["value"]))
        return {}

    def do_vars(self, message: dict) -> dict:
        with self.students():
            return {"value": self.encode(dict(vars(self.objects[message["name"]])))}

    def do_read(self, message: dict) -> dict:
        """An attribute of many objects: in a tuple, which is empty where there is none."""
        with self.students():
            found = [getattr(self.objects[name], message["attr"], ...) for name in message["names"]]
            return {"value": self.encode([() if value is ... else (value,) for value in found])}

    def do_write(self, message: dict) -> dict:
        """Set an attribute of many objects."""
        pairs = zip(message["names"], self.decode(message["values"]))
        with self.students():
            done = [setattr(self.objects[name], message["attr"], value) for name, value in pairs]
        return {"value": self.encode(done)}

    def do_combine(self, message: dict) -> dict:
        """Multiply or add many objects, each with another one."""
        work = {"mul": operator.mul, "add": operator.add}[message["word"]]
        lefts = [self.objects[name] for name in message["names"]]
        with self.students():
            pairs = zip(lefts, self.decode(message["rights"]))
            return {"value": self.encode([work(left, right) for left, right in pairs])}

    def do_operator(self, message: dict) -> dict:
        thing, word = self.objects[message["name"]], message["word"]
        if word not in OPERATORS:
            raise AttributeError(word)
        with self.students():
            return {
                "value": self.encode(
                    getattr(type(thing), word)(thing, *self.decode(message["args"]))
                )
            }

    def do_class(self, message: dict) -> dict:
        kind = self.objects[message["name"]]
        bases = [
            base for base in kind.__bases__ if is_public(base) or base.__module__ == "__main__"
        ]
        methods = [
            name
            for name, part in vars(kind).items()
            if callable(part) or isinstance(part, (staticmethod, classmethod))
        ]
        return {
            "title": kind.__name__,
            "module": str(kind.__module__),
            "methods": methods,
            "value": self.encode(bases),
            "operators": [
                word
                for word in OPERATORS
                if hasattr(kind, word) and getattr(kind, word) is not getattr(object, word, None)
            ],
        }

    # What of ours the other side gets, and what we get of it

    def encode_other(self, value: object, depth: int) -> list:
        if is_public(type(value)):
            return self.encode_model(value, type(value), depth)
        what = (
            "function"
            if isinstance(
                value,
                (
                    types.FunctionType,
                    types.BuiltinFunctionType,
                    types.MethodType,
                    types.MethodWrapperType,
                    type(str.join),
                ),
            )
            else "class"
            if isinstance(value, type)
            else "object"
        )
        kind = self.encode(type(value), depth) if what == "object" else None
        return ["far", self.named(value), what, kind]

    def decode_function(self, name: str, attributes: list, depth: int) -> object:
        if name in self.objects:
            return self.objects[name]

        def function(*args: object) -> object:
            return self.value_of(self.ask("call", name=name, args=self.encode(args)))

        vars(function).update((key, self.decode(value, depth)) for key, value in attributes)
        self.named(function, name)
        return function

    def decode_borrowed(self, name: str, path: str, attributes: list, methods: list, depth: int):
        """A model whose own methods stay on the other side."""
        model = self.decode_model(name, path, attributes, depth)
        for method, function in methods:
            vars(model)[method] = self.decode(function, depth)
        return model

    def value_of(self, answer: dict) -> object:
        if "error" in answer:
            kind = getattr(builtins, answer["error"]["type"], RuntimeError)
            raise kind(answer["error"]["text"])
        return self.decode(answer["value"])

    def ask_check(self, name: str, objects: tuple) -> dict:
        """A student's own cell calls a check: the trusted side runs it."""
        answer = self.ask("check", name=name, args=self.encode(objects))
        if "error" in answer:
            raise ValueError(answer["error"]["text"])
        return answer["result"]


def described(error: BaseException) -> dict:
    """What went wrong, in words: the kind, the text, the line of the notebook."""
    base = next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins")
    try:
        text = str(error)[:2000]
    except BaseException:
        text = ""
    found = {"type": base, "name": type(error).__name__, "text": text}
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        file = frame.f_code.co_filename
        if frame.f_globals.get("__name__") == "__main__" and file != __file__:
            found |= {
                "line": trace.tb_lineno,
                "function": frame.f_code.co_qualname,
                "source": linecache.getline(file, trace.tb_lineno, frame.f_globals)[:500],
                "blank": any(value is ... for value in frame.f_locals.values()),
            }
        trace = trace.tb_next
    return found


def error_output(name: str, text: str, lines: list[str] = ()) -> dict:
    return {
        "output_type": "error",
        "ename": name,
        "evalue": text[:5000],
        "traceback": list(lines) or [f"{name}: {text[:5000]}"],
    }


def make_shell(guest: Guest):
    """An IPython shell whose outputs go to `guest`."""
    from IPython.core.displayhook import DisplayHook
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets import Type
    from traitlets.config import Config

    class Hook(DisplayHook):
        def write_output_prompt(self) -> None:
            pass

        def write_format_data(self, format_dict, md_dict=None) -> None:
            guest.add(
                {
                    "output_type": "execute_result",
                    "data": strings(format_dict),
                    "metadata": {},
                    "execution_count": self.prompt_count,
                }
            )

        def log_output(self, format_dict) -> None:
            pass

        def finish_displayhook(self) -> None:
            pass

    class Publisher(DisplayPublisher):
        def publish(self, data, *args, **options) -> None:
            guest.add({"output_type": "display_data", "data": strings(data), "metadata": {}})

        def clear_output(self, wait=False) -> None:
            guest.outputs.clear()

    class Shell(InteractiveShell):
        displayhook_class = Type(Hook)
        display_pub_class = Type(Publisher)

        def _showtraceback(self, etype, evalue, stb) -> None:
            guest.add(error_output(getattr(etype, "__name__", "Error"), str(evalue), stb))

        def enable_gui(self, gui=None) -> None:
            pass

        def ask_exit(self) -> None:
            pass

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    shell = Shell.instance(config=config)
    shell.user_ns["__name__"] = "__main__"
    return shell


def strings(data: dict) -> dict:
    """The texts of an output, by their kind."""
    return {
        str(kind): value if isinstance(value, str) else "".join(value)
        for kind, value in data.items()
        if isinstance(value, str)
        or (isinstance(value, list) and all(isinstance(part, str) for part in value))
    }


if __name__ == "__main__":
    from minigpt_guest import guest  # the classes under a name of their own: the shell is __main__

    guest.main(json.loads(sys.argv[1]))
