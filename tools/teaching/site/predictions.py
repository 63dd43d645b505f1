"""What a page needs to check a prediction, without the answer in it: see ``static/predict.js``."""

from __future__ import annotations

import inspect
import math

import numpy as np

from minigpt_helpers import checks
from minigpt_helpers.checks._base import REGISTRY

EXACT = 1e-9  # half of a box's width where no tolerance is given


def form_data(name: str) -> dict | None:
    """The data of the form for ``checks.<name>``; None where the check is no prediction.

    Of the answer, and of the wrong guesses that have a hint, only fingerprints are given.
    """
    if name not in checks.__all__ or name not in REGISTRY:
        return None
    entry = REGISTRY[name].entry
    rule = inspect.getclosurevars(entry.body).nonlocals
    if "answer" not in rule:
        return None
    answer = rule["answer"]() if callable(rule["answer"]) else rule["answer"]
    return {
        "name": name,
        "expects": entry.expects,
        "words": isinstance(answer, str),
        "right": fingerprint(name, answer, rule["tol"]),
        "near": [
            fingerprint(name, guess, rule["tol"]) | {"hint": hint} for guess, hint in rule["near"]
        ],
        "hint": rule["hint"],
    }


def fingerprint(name: str, answer: object, tol: float) -> dict:
    """A number that tells whether a guess is this answer, and from which it cannot be read.

    Numbers fall into boxes of twice the tolerance, shifted so that the answer lies in the middle.
    """
    if isinstance(answer, str):
        return {"print": fnv1a(f"{name}:{answer.strip().lower()}")}
    values = np.ravel(np.asarray(answer, dtype=float)).tolist()
    width = 2 * max(tol, EXACT)
    shift = [value % width for value in values]
    boxes = [math.floor((value - s) / width + 0.5) for value, s in zip(values, shift)]
    return {"print": fnv1a(f"{name}:{','.join(map(str, boxes))}"), "shift": shift, "width": width}


def fnv1a(text: str) -> int:
    """The hash FNV-1a, 32 bits."""
    word = 0x811C9DC5
    for byte in text.encode():
        word = (word ^ byte) * 0x01000193 & 0xFFFFFFFF
    return word
