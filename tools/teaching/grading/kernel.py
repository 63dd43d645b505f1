"""The kernel in which a submission runs: ``python -m tools.teaching.grading.kernel -f FILE``.

It is IPython's own but for one thing. A graded cell, which starts with MARK, does not run among
the student's names. First, whatever was changed in the checks, the package, numpy or Python's
builtins is put back. Then it runs with the real `checks` and `display`, and of the student's names
has only those that it asks for. So `min = max`, `checks = MyChecks()` or a patched `CheckResult`
give no points. Its number goes back in the reply, not by way of anything that displays.
"""

from __future__ import annotations

import ast
import builtins
import sys
from types import FunctionType, ModuleType

import IPython.display
import numpy as np
from ipykernel.iostream import OutStream
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp

from tools.teaching.grading import MARK
from minigpt_helpers import checks

MOST_TEXT = 100_000  # characters that one cell may print
PACKAGE = "minigpt_helpers"


class Snapshot:
    """What modules hold now, down to the code of the package's functions; `put_back` undoes."""

    def __init__(self) -> None:
        ours = [module for name, module in sys.modules.items() if name.split(".")[0] == PACKAGE]
        others = [builtins, IPython.display, np, np.linalg, np.random]
        self.loaded = {module.__name__: module for module in ours + others}
        self.spaces = [(vars(module), dict(vars(module)), module in ours)
                       for module in ours + others]
        self.classes: dict[type, dict] = {}
        self.functions: dict[FunctionType, tuple] = {}
        self.records: list[tuple[object, dict]] = []
        for module in ours:
            for value in vars(module).values():
                self._note(value)

    def _note(self, value: object) -> None:
        if isinstance(value, (staticmethod, classmethod)):
            value = value.__func__
        if isinstance(value, property):
            value = value.fget
        inside = str(getattr(value, "__module__", "")).split(".")[0] == PACKAGE
        if isinstance(value, type) and inside and value not in self.classes:
            self.classes[value] = dict(vars(value))
            for part in vars(value).values():
                self._note(part)
        elif isinstance(value, FunctionType) and inside and value not in self.functions:
            self.functions[value] = (value.__code__, value.__defaults__, value.__kwdefaults__)
            self.records.append((value, dict(vars(value))))
            if hasattr(value, "entry"):  # a registered check
                self.records.append((value.entry, dict(vars(value.entry))))
                self._note(value.entry.body)

    def put_back(self) -> None:
        sys.modules.update(self.loaded)
        for function, (code, defaults, keyword_defaults) in self.functions.items():
            function.__code__ = code
            function.__defaults__, function.__kwdefaults__ = defaults, keyword_defaults
        for thing, names in self.records:
            vars(thing).clear()
            vars(thing).update(names)
        for kind, names in self.classes.items():
            for name in set(vars(kind)) - set(names):
                type.__delattr__(kind, name)
            for name, value in names.items():
                if vars(kind).get(name) is not value:
                    type.__setattr__(kind, name, value)
        for space, names, is_ours in self.spaces:
            new = set(space) - set(names) if is_ours else ()  # a new `min` would hide Python's
            for name in new:
                if not isinstance(space[name], ModuleType):
                    del space[name]
            space.update(names)


def score_of(source: str, students: dict[str, object]) -> float:
    """Run a graded cell; the value of its last line."""
    tree = ast.parse(source)
    last = ast.Expression(tree.body.pop().value)
    names = {"checks": checks, "display": IPython.display.display, "np": np}
    for node in [*ast.walk(tree), *ast.walk(last)]:
        if isinstance(node, ast.Name) and node.id in students and not hasattr(builtins, node.id):
            names.setdefault(node.id, students[node.id])
    names["__builtins__"] = builtins
    exec(compile(tree, "graded", "exec"), names)
    return float(eval(compile(last, "graded", "eval"), names))


class GradingKernel(IPythonKernel):
    """IPython's kernel, with graded cells kept apart."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.snapshot = Snapshot()

    async def do_execute(self, code: str, *args: object, **options: object) -> dict:
        if not code.startswith(MARK):
            return await super().do_execute(code, *args, **options)
        reply = {"execution_count": self.execution_count, "user_expressions": {}, "payload": []}
        try:
            self.snapshot.put_back()
            return reply | {"status": "ok", "score": score_of(code, self.shell.user_ns)}
        except BaseException as error:  # also an interrupt: whatever it is, it costs this cell
            name = type(error).__name__
            return reply | {"status": "error", "ename": name, "evalue": "", "traceback": [name]}


class ShortStream(OutStream):
    """Printed text, cut where it grows too long."""

    cell, left = None, MOST_TEXT

    def write(self, text: str) -> int:
        cell = self.parent_header.get("msg_id")
        if cell != self.cell:
            self.cell, self.left = cell, MOST_TEXT
        room, self.left = self.left, self.left - len(text)
        if room > 0:
            super().write(text if len(text) <= room else text[:room] + "\n... the rest is cut\n")
        return len(text)


if __name__ == "__main__":
    from tools.teaching.grading import kernel  # the classes under a name that can be imported

    IPKernelApp.launch_instance(
        kernel_class=kernel.GradingKernel, outstream_class="tools.teaching.grading.kernel.ShortStream"
    )
