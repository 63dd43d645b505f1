"""Instant feedback: one function per exercise, which takes your object and answers in a sentence.

`checks.catalogue()` lists them all. Each returns a `CheckResult(passed, score, message)`.
"""

from minigpt_helpers.checks import (
    attention,
    autograd,
    block,
    generation,
    ps1,
    ps2,
    ps3,
    ps4,
    ps4_model,
    ps5,
    ps5_measures,
    ps6,
    ps6_judge,
    ps7_functions,
    ps7_model,
    ps7_parts,
    tokenization,
    training,
)
from minigpt_helpers.checks._base import REGISTRY, CheckResult, catalogue

globals().update(REGISTRY)
__all__ = ["CheckResult", "catalogue", *REGISTRY]
