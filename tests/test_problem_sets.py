"""What the problem sets claim is so, and an answer that is partly right earns a part."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from answers.ps5 import buggy_steps, parts
from answers.ps6 import guesses_by_where, writer
from minigpt_helpers import checks


def test_the_estimated_guesses_are_those_of_a_language_whose_texts_can_all_be_listed():
    texts = itertools.chain.from_iterable(  # letters of two kinds, then the end
        itertools.product((0.5, 0.2), repeat=length) for length in range(1, 7))
    p = np.sort([math.prod(text) * 0.3 for text in texts])[::-1]
    drawn = np.random.default_rng(0).choice(p, size=20_000, p=p / p.sum())
    guesses = guesses_by_where(math.log(p[60]), np.log(drawn)) * p.sum()
    assert guesses == pytest.approx((p > p[60] * (1 + 1e-9)).sum(), rel=0.2)


@pytest.mark.parametrize(("check", "answer"), [
    (checks.ps5_train_steps, buggy_steps(zero=False, sign=1)),
    (checks.ps6_write, writer(temperature="multiply", less=1)),
])
def test_code_that_is_half_fixed_earns_a_part(check, answer):
    assert 0 < check(answer).score < 1


def test_the_whole_batch_at_once_earns_little():
    assert checks.ps5_step_in_parts(parts(size=9)).score < 0.3
