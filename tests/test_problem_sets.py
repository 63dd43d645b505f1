"""What the problem sets claim is so, and an answer that is partly right earns a part."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from answers.ps4 import stack_with
from answers.ps5 import buggy_steps, parts
from answers.ps6 import guesses_by_where, writer
from minigpt_helpers import MiniGPT, checks, cross_entropy_loss, no_grad


def test_the_estimated_guesses_are_those_of_a_language_whose_texts_can_all_be_listed():
    texts = itertools.chain.from_iterable(  # letters of two kinds, then the end
        itertools.product((0.5, 0.2), repeat=length) for length in range(1, 7))
    p = np.sort([math.prod(text) * 0.3 for text in texts])[::-1]
    drawn = np.random.default_rng(0).choice(p, size=20_000, p=p / p.sum())
    guesses = guesses_by_where(math.log(p[60]), np.log(drawn)) * p.sum()
    assert guesses == pytest.approx((p > p[60] * (1 + 1e-9)).sum(), rel=0.2)


@pytest.mark.parametrize(("check", "answer"), [
    (checks.ps5_train_steps, buggy_steps(zero=False)),
    (checks.ps6_write, writer(less=1)),
])
def test_code_with_one_bug_left_earns_a_part(check, answer):
    assert 0 < check(answer).score < 1


def test_the_whole_batch_at_once_earns_little():
    assert checks.ps5_step_in_parts(parts(size=9)).score < 0.3


def test_each_bug_that_is_fixed_in_the_stack_counts():
    for one_left in [{"second": False}, {"final": False}, {"eps": 0}, {"normed": True}]:
        assert 0 < checks.ps4_stack_forward(stack_with(**one_left)).score < 1
    assert checks.ps4_stack_forward(lambda x, blocks, final_norm: final_norm(x)).score < 0.2


def test_the_tied_count_is_that_of_the_model_without_its_head():
    count = checks.ps4_tied_count.entry.exercise.reference
    for V, D, N, T in [(5, 4, 1, 3), (32, 64, 2, 64)]:
        assert count(V, D, N, T) == MiniGPT(V, D, 1, N, T).num_parameters() - V * D


def test_leaving_out_a_part_that_does_not_exist_gives_the_model_itself():
    model, ids = MiniGPT(7, 8, 2, 2, 9, rng=np.random.default_rng(0)), np.array([1, 4, 2, 6, 0])
    with no_grad():
        loss = cross_entropy_loss(model(ids[:-1]), ids[1:]).item()
    without = checks.ps4_loss_without.entry.exercise.reference
    assert without(model, ids, 9, "attention") == pytest.approx(loss, abs=1e-12)


def test_the_sizes_named_for_the_teacher_fit_the_budget():
    for (D, N), count in {(64, 1): 56_256, (48, 2): 61_248, (24, 8): 60_144, (16, 17): 57_328}.items():
        assert MiniGPT(32, D, 1, N, 32).num_parameters() == count
        assert 0.9 * 62_000 <= count <= 62_000


def test_a_pair_learnt_by_heart_fails_with_another_seed():
    seen, best_fit = {}, checks.ps4_best_fit.entry.exercise.reference

    def remember(*given):
        return seen.setdefault(given, best_fit(*given))

    assert checks.ps4_best_fit(remember)
    assert checks.ps4_best_fit(lambda *given: seen.get(given, (8, 1)), seed=1).score < 0.5
