"""The list of changes that ``start.py mutants`` tries fits the code as it is."""

import pytest

from tools.mutants.__main__ import OWN_TESTS, PROJECT, TESTS, apply
from tools.mutants.edits import EDITS
from tools.mutants.survivors import EXPLAINED

CHANGES = [(module, old, new) for module, edits in EDITS.items() for old, new in edits]


@pytest.mark.parametrize("module", EDITS)
def test_every_change_applies_once_and_is_valid_python(module):
    source = (PROJECT / "minigpt_helpers" / f"{module}.py").read_text(encoding="utf-8")
    for old, new in EDITS[module]:
        compile(apply(source, old, new), module, "exec")


def test_a_text_that_is_not_there_just_once_is_refused():
    for source in ("a + b", "x + x"):
        with pytest.raises(ValueError, match="times: it must be once"):
            apply(source, "x", "y")


def test_there_are_many_changes_and_no_two_alike():
    assert len(CHANGES) == len(set(CHANGES)) >= 100


def test_only_changes_that_are_tried_are_explained():
    assert set(EXPLAINED) <= set(CHANGES)
    assert all(len(reason.split()) > 5 for reason in EXPLAINED.values())


def test_the_tests_that_are_run_are_there():
    for name in {*TESTS, *(name for names in OWN_TESTS.values() for name in names)}:
        assert (PROJECT / "tests" / f"test_{name}.py").is_file()
    assert {test for module in EDITS for test in OWN_TESTS.get(module, [module])} <= set(TESTS)
