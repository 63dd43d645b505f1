"""Points that were not earned: every known way to get them gives none, or is noted for the teacher.

Each attack is a cell that runs before wrong answers. The functions themselves may attack too: they
are called while a check waits for them.
"""

from __future__ import annotations

import csv

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from problem_set import NAME, small_set
from test_grading import WRONG, grade, handed_in

FRAMES = """
import sys
def decode(ids, chars):
    frame = sys._getframe()
    while frame is not None:
        for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
            for name in ("record", "missed", "held", "score", "scores", "entry"):
                if hasattr(value, name):
                    try:
                        getattr(value, name).clear()
                    except Exception:
                        pass
                    try:
                        setattr(value, name, lambda *args: None)
                    except Exception:
                        pass
        frame = frame.f_back
    return 1
causal_mask = bits = decode
"""
GARBAGE = """
import gc, types
class Yes:
    passed, score, message, status = True, 1.0, "passed: all", "passed"
    def __call__(self, *args, **kwargs): return self
for thing in gc.get_objects():
    try:
        name = getattr(thing, "__qualname__", "")
        if isinstance(thing, types.FunctionType) and any(word in name for word in
                ("check", "score", "expect", "verdict", "record", "do_execute", "run_cell", "cell")):
            thing.__code__ = (lambda *args, **kwargs: Yes()).__code__
        if isinstance(thing, type) and name in ("CheckResult", "Cases", "Runner", "Guest"):
            thing.score = thing.passed = 1.0
    except Exception:
        pass
"""
THREAD = """
import sys, threading, time
def always():
    while True:
        for name, module in list(sys.modules.items()):
            if "checks" in name or "minigpt" in name:
                for word in ("CheckResult", "_verdict", "ask", "score_of", "expect_same"):
                    try:
                        setattr(module, word, lambda *args, **kwargs: 3.0)
                    except Exception:
                        pass
        time.sleep(0.01)
threading.Thread(target=always, daemon=True).start()
"""
MODULES = """
import builtins, sys
from minigpt_helpers import checks
class Fake:
    passed, score, message = True, 1.0, "passed"
    def __call__(self, *args, **kwargs): return self
    def __getattr__(self, name): return self
    def __mul__(self, other): return 3.0
checks.decode_ids = checks.causal_mask = checks.bits_per_character = Fake()
checks.CheckResult.score = checks.CheckResult.passed = 1.0
builtins.min = min = lambda *args: 1.0
np.array_equal = np.allclose = np.isclose = lambda *args, **kwargs: True
sys.modules["minigpt_helpers.checks"] = checks = result = hidden = Fake()
"""
LIARS = """
class Equal:
    data = property(lambda self: self)
    shape, dtype, ndim, size, T = (), float, 0, 1, 0
    def __eq__(self, other): return True
    def __hash__(self): return 0
    def __float__(self): return 1.0
    def __getattr__(self, name): return self
    def __call__(self, *args, **kwargs): return self
    def __array__(self, *args, **kwargs): return np.zeros(())
    __lt__ = __le__ = __gt__ = __ge__ = __ne__ = __bool__ = __contains__ = lambda self, *other: True
    __sub__ = __rsub__ = __add__ = __mul__ = __abs__ = __getitem__ = __iter__ = lambda self, *other: self
class Text(str):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = str.__hash__
class Number(float):
    def __eq__(self, other): return True
    def __sub__(self, other): return 0.0
    __rsub__ = __sub__
    __hash__ = float.__hash__
class Array(np.ndarray):
    def __eq__(self, other): return np.ones(self.shape, bool)
    def __array_ufunc__(self, ufunc, method, *inputs, **options): return np.zeros(self.shape)
    def __array_function__(self, function, types, args, kwargs): return True
def decode(ids, chars): return Text("?!")
def causal_mask(T): return np.ones((T, T)).view(Array)
def bits(probs): return [Number(-1.0), Equal()][len(probs) % 2]
"""
REFERENCES = """
from minigpt_helpers.checks import _reference
from minigpt_helpers.checks.tokenization import *
"""
BY_NAME = """
import importlib, sys
for name in ("minigpt_helpers.checks.tokenization", "minigpt_helpers.checks._base"):
    try:
        module = importlib.import_module(name)
        decode = module.REGISTRY
        causal_mask = bits = decode
    except ImportError:
        pass
"""
SOCKET = """
import gc, json, os, socket, struct
def decode(ids, chars):
    for answer in ({"value": "", "changes": []}, {"result": {"passed": True, "score": 1.0}},
                   {"scores": {"decode-test": 2.0, "mask-test": 3.0, "bits-test": 3.0}},
                   {"value": ["model", "g1", "minigpt_helpers.nn:MiniGPT", []], "changes": []}):
        body = json.dumps(answer).encode()
        for number in range(3, 40):
            try:
                os.write(number, struct.pack("!I", len(body)) + body)
            except OSError:
                pass
    return 1
causal_mask = bits = decode
"""
SHELL = """
import gc
from minigpt_guest import guest
from minigpt_helpers import checks
def answer(self, work, message):
    return {"value": True, "score": 3.0, "scores": {"decode-test": 2.0}, "changes": [], "warned": []}
for thing in gc.get_objects():
    if type(thing).__name__ == "Guest":
        type(thing).answer = answer
"""
LATE = """
import atexit, sys
def decode(ids, chars): raise SystemExit("passed")
def causal_mask(T): raise type("Passed", (BaseException,), {"score": 1.0, "__str__": lambda s: "passed:"})()
class Miss(Exception):
    hints, matched, tried = [], [], set()
def bits(probs): raise Miss("passed: 3.0")
"""
NO_ANSWERS = {"frames": FRAMES, "liars": LIARS, "socket": SOCKET, "late": LATE}
WITH_WRONG = {
    "garbage": GARBAGE,
    "thread": THREAD,
    "modules": MODULES,
    "references": REFERENCES,
    "by name": BY_NAME,
    "shell": SHELL,
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forged")
    for name in ("in", "solutions"):
        (folder / name).mkdir()
    nbformat.write(small_set(), folder / "solutions" / f"{NAME}.ipynb")
    for name, source in {**NO_ANSWERS, **WITH_WRONG}.items():
        if name in NO_ANSWERS:
            notebook = handed_in({})
            for cell in notebook.cells:
                if cell.metadata.nbgrader.solution and cell.cell_type == "code":
                    cell.source = "pass"
            notebook.cells.insert(2, new_code_cell(source))
        else:
            notebook = handed_in(WRONG, first=source)
        nbformat.write(notebook, folder / "in" / f"{name}_ps9.ipynb")
    nbformat.write(handed_in(), folder / "in" / "honest_ps9.ipynb")
    done = grade(folder / "in", "--out", folder / "out", "--solutions", folder / "solutions")
    assert done.returncode in (0, 1), done.stderr
    with (folder / "out" / "scores.csv").open(encoding="utf-8-sig", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", [*NO_ANSWERS, *WITH_WRONG])
def test_a_forged_score_is_none(name, rows):
    assert float(rows[name]["score"]) == 0, rows[name]


def test_an_honest_student_beside_them_has_all_points(rows):
    assert (rows["honest"]["score"], rows["honest"]["problem"]) == ("8", "")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("references", "line 2 takes checks._reference from the package"),
        ("by name", "takes minigpt_helpers.checks.tokenization (by its name)"),
    ],
)
def test_the_teacher_gets_the_line(name, line, rows):
    assert line in rows[name]["notes"]
