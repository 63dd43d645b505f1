"""Every check: its reference passes, each of its slips is refused with its own hint, stubs are "not
done yet", exceptions and endless loops are survived. Answers that no slip makes: tests/answers/."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import traceback
from pathlib import Path

import numpy as np
import pytest

import answers
from minigpt_helpers import Module, checks
from minigpt_helpers.checks._base import REGISTRY
from minigpt_helpers.checks._compare import Miss, difference, has_floats, show, size_of
from minigpt_helpers.checks._exercise import Raised, Try, outcome, reproduces
from minigpt_helpers.checks._slips import wrong_functions

FOLDER = Path(checks.__file__).parent
MODULES = [
    importlib.import_module(f"answers.{module.name}")
    for module in pkgutil.iter_modules(answers.__path__)
]
RIGHT = [pair for module in MODULES for pair in module.RIGHT]
WRONG = [triple for module in MODULES for triple in module.WRONG]
EXERCISES = [run.entry for run in REGISTRY.values() if run.entry.exercise]
SLIPS = [(entry, slip) for entry in EXERCISES for slip in entry.exercise.slips]
SEEDS = range(20)
FEW = range(int(os.environ.get("CHECK_SEEDS", "3")))  # for what takes long; 20 before a release


def fills(answer, entry):
    """Is this a tuple of all the objects that the check takes?"""
    return isinstance(answer, tuple) and len(answer) == len(entry.takes)


def ask(name, answer, seed=0):
    objects = answer if fills(answer, REGISTRY[name].entry) else (answer,)
    return REGISTRY[name](*objects, seed=seed)


def seeds_for(answer):
    """A number or a word gets one seed; functions and classes several, slow ones where asked for."""
    parts = answer if isinstance(answer, tuple) else (answer,)
    slow = any(hasattr(part, "one_number_at_a_time") for part in parts)
    several = any(map(callable, parts)) and (not slow or "CHECK_SEEDS" in os.environ)
    return FEW if several else (0,)


def named(value):
    return value.name if hasattr(value, "takes") else None


def slip_name(value):
    return re.sub(r"\W+", "-", value.new)[:30] if hasattr(value, "hint") else named(value)


# ---- exercises that are data --------------------------------------------------------------------


@pytest.mark.parametrize("entry", EXERCISES, ids=named)
def test_the_reference_passes_under_every_seed(entry):
    for seed in range(5):
        result = REGISTRY[entry.name](entry.exercise.reference, seed=seed)
        assert result.passed and result.score == 1 and result.status == "passed", result


@pytest.mark.parametrize("entry", EXERCISES, ids=named)
def test_a_reference_raises_only_on_purpose(entry):
    """Else the check would ask the student for an exception that is a fault of ours."""
    for _, *inputs in entry.exercise.cases(np.random.default_rng(0)):
        value = outcome(entry.exercise, entry.exercise.reference, tuple(inputs))
        if isinstance(value, Raised):
            *_, last = traceback.extract_tb(value.error.__traceback__)
            assert last.line.startswith("raise") and not isinstance(value.error, Miss), value


def in_float32(value):
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        return value.astype(np.float32)
    if isinstance(value, (list, tuple)):
        return type(value)(map(in_float32, value))
    return value


def gives_floats(exercise):
    _, *inputs = next(iter(exercise.cases(np.random.default_rng(0))))
    return has_floats(outcome(exercise, exercise.reference, tuple(inputs)))


@pytest.mark.parametrize("entry", [e for e in EXERCISES if gives_floats(e.exercise)], ids=named)
def test_rounding_is_no_mistake(entry):
    reference = entry.exercise.reference

    def rounds(*inputs):
        return in_float32(reference(*map(in_float32, inputs)))

    for seed in range(3):
        result = REGISTRY[entry.name](rounds, seed=seed)
        assert result.passed, result


def holds(exercise, fn, inputs, expected):
    """Does a function give what is expected, as the check compares it?"""
    got = outcome(exercise, fn, inputs)
    if isinstance(expected, Raised) or isinstance(got, Raised):
        return reproduces(exercise, exercise.reference, [Try(inputs, expected, got)])
    tol = exercise.tol if has_floats(expected) else None
    return got is not None and not difference(got, expected, tol, size_of(inputs))


@pytest.mark.parametrize("entry", EXERCISES, ids=named)
def test_no_slip_passes_under_any_seed(entry):
    exercise = entry.exercise
    singles = [one for one in wrong_functions(exercise.reference, exercise.slips) if len(one[0]) < 2]
    for seed in SEEDS:
        cases = [tuple(inputs) for _, *inputs in exercise.cases(np.random.default_rng(seed))]
        tries = [(inputs, outcome(exercise, exercise.reference, inputs)) for inputs in cases]
        for slips, wrong in singles:
            held = all(holds(exercise, wrong, inputs, expected) for inputs, expected in tries)
            assert not held, (slips, seed)


@pytest.mark.parametrize(("entry", "slip"), SLIPS, ids=slip_name)
def test_a_slip_is_refused_with_its_own_hint(entry, slip):
    (_, wrong), = wrong_functions(entry.exercise.reference, [slip])
    for seed in (0, 1):
        result = REGISTRY[entry.name](wrong, seed=seed)
        assert not result.passed and result.score < 1, result
        assert result.status == "not yet" or "So far" in result.message, result
        assert result.message.endswith(f"\nHint: {slip.hint}"), result


@pytest.mark.parametrize("entry", [e for e in EXERCISES if e.exercise.given], ids=named)
def test_the_given_bug_gets_no_hint(entry):
    (_, bug), = wrong_functions(entry.exercise.reference, [entry.exercise.given])
    result = REGISTRY[entry.name](bug)
    assert result.status == "not done yet" and "Hint" not in result.message, result


def test_a_right_answer_makes_no_wrong_functions(monkeypatch):
    from minigpt_helpers.checks import _exercise

    monkeypatch.setattr(_exercise, "wrong_functions", lambda *args: pytest.fail("made"))
    for entry in EXERCISES[:5]:
        assert REGISTRY[entry.name](entry.exercise.reference).passed


# ---- answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_right_answers_pass(name, answer):
    for seed in seeds_for(answer):
        result = ask(name, answer, seed)
        assert result.passed and result.score == 1, result


@pytest.mark.parametrize(("name", "answer", "words"), WRONG)
def test_wrong_answers_are_refused_in_words_that_fit(name, answer, words):
    results = [ask(name, answer, seed) for seed in seeds_for(answer)]
    for result in results:
        assert not result.passed and result.score < 1, result
        assert result.status == "not yet" or "So far" in result.message, result
    said = results[0].message
    assert words in said or re.search(words, said), said


def example(entry):
    """Some answer to a check, as a tuple of the objects that it takes."""
    answer = next((answer for name, answer in RIGHT if name == entry.name), None)
    if entry.exercise:
        return (entry.exercise.reference,)
    return answer if fills(answer, entry) else (answer,)


FORMS = ("to_array", "from_array")  # how the capstone's student keeps numbers


def with_functions(entry, fn):
    """Objects for a check, each function, and each class of the capstone, replaced by this one."""

    def replaced(name, part):
        if name in FORMS or not callable(part):
            return part
        if not isinstance(part, type):
            return fn
        forward = {"__init__": lambda self, *sizes: None,
                   "forward": lambda self, *args, **kwargs: fn(*args, **kwargs)}
        return type(part.__name__, (Module,), forward) if FORMS[0] in entry.takes else part

    return [replaced(name, part) for name, part in zip(entry.takes, example(entry))]


KNOWN = {name for name, _ in RIGHT} | {entry.name for entry in EXERCISES}
ENTRIES = [entry for entry in checks.catalogue() if entry.name in KNOWN]
FUNCTIONS = [entry for entry in ENTRIES if entry.kind == "function"]


@pytest.mark.parametrize("entry", ENTRIES, ids=named)
def test_a_blank_is_not_done_yet(entry):
    for blank in (..., None):
        result = REGISTRY[entry.name](*example(entry)[:-1], blank)
        assert result.status == "not done yet" and result.score == 0, result
        assert result.message.startswith("not done yet: this exercise expects")


@pytest.mark.parametrize("entry", FUNCTIONS, ids=named)
def test_a_stub_is_not_done_yet(entry):
    def raises(*args, **kwargs):
        raise NotImplementedError

    for stub in [lambda *args, **kwargs: ..., lambda *args, **kwargs: None, raises]:
        result = REGISTRY[entry.name](*with_functions(entry, stub))
        done_in_place = entry.in_place and stub is not raises  # doing nothing may be a mistake
        assert done_in_place or result.status == "not done yet", result
        assert result.score == 0, result


@pytest.mark.parametrize("entry", FUNCTIONS, ids=named)
def test_exceptions_are_survived_and_named(entry):
    def broken(*args, **kwargs):
        raise RuntimeError("first line\nsecond line")

    result = REGISTRY[entry.name](*with_functions(entry, broken))
    assert result.status == "not yet" and result.score == 0, result
    assert "RuntimeError: first line" in result.message and "Hint" not in result.message, result


@pytest.mark.parametrize("entry", FUNCTIONS[::6], ids=named)
def test_endless_loops_are_survived(entry, monkeypatch):
    def endless(*args, **kwargs):
        while True:
            pass

    seconds = entry.seconds
    object.__setattr__(entry, "seconds", 0.2)
    try:
        result = REGISTRY[entry.name](*with_functions(entry, endless))
    finally:
        object.__setattr__(entry, "seconds", seconds)
    assert result.score == 0 and "and was stopped" in result.message, result


PREDICTIONS = {
    entry: rule for entry in checks.catalogue()
    if "answer" in (rule := inspect.getclosurevars(entry.body).nonlocals)
}


@pytest.mark.parametrize("entry", PREDICTIONS, ids=named)
def test_no_message_holds_the_answer_to_a_prediction(entry):
    rule = PREDICTIONS[entry]
    truth = rule["answer"]() if callable(rule["answer"]) else rule["answer"]
    run = REGISTRY[entry.name]
    assert run(truth).passed
    forbidden = {show(truth), show(np.asarray(truth)) if not isinstance(truth, str) else truth}
    for guess in [*(wrong for wrong, _ in rule["near"]), "a word", 123456.0]:
        result = run(guess)
        assert not result.passed, (guess, result)
        said = result.message.split("is not it", 1)[-1]
        for answer in forbidden:
            assert not re.search(rf"(?<![\w.]){re.escape(answer)}(?![\w.]*\d)", said), result


def test_no_file_is_long():
    long = {path.name: count for path in FOLDER.glob("*.py")
            if (count := len(path.read_text().splitlines())) > 600}
    assert not long
