"""The debugging checklist (lesson 5): it tries, says what it saw, and what to do."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from minigpt_helpers.autograd import no_grad
from minigpt_helpers.functional import cross_entropy_loss
from minigpt_helpers.optim import AdamW
from minigpt_helpers.text import get_batch
from minigpt_helpers.validation import check_data, check_rng


@dataclass
class Finding:
    """One line of the checklist: what was tried, whether it is well, what was seen, what to do."""

    name: str
    passed: bool
    saw: str
    advice: str


def run_checklist(
    model, data: Sequence[int] | np.ndarray, rng: np.random.Generator | None = None
) -> list[Finding]:
    """Examines ``model`` with windows of ``data`` ``(N,)``, prints a report and returns it.

    Works on a copy: the model itself is not changed. A model that raises an error on the way
    gets a failed line with that error, and the other lines are still tried.
    """
    rng, data = check_rng(rng), check_data(data)
    if not hasattr(model, "max_seq_len") or not hasattr(model, "vocab_size"):
        raise ValueError(f"the model needs max_seq_len and vocab_size: {model!r:.80} has none")
    block_size = min(model.max_seq_len, max(2, len(data) - 1))  # of one token the mask hides none
    x, y = get_batch(data, block_size, 4, rng)  # (4, T) each
    findings = []
    for name, examine, advice in _CHECKS:
        try:
            with np.errstate(all="ignore"):  # what overflows is found, not warned of
                passed, saw = examine(copy.deepcopy(model), x, y)
        except Exception as error:
            passed, saw = False, f"{type(error).__name__}: {error}"
        findings.append(Finding(name, bool(passed), saw, advice))
        print(f"[{'ok' if passed else 'look'}] {name}: {saw}")
        if not passed:
            print(f"       -> {advice}")
    healthy = sum(finding.passed for finding in findings)
    print(f"{healthy} of {len(findings)} checks passed.")
    return findings


def _shapes(model, x, y) -> tuple[bool, str]:
    logits = model(x[0])  # (T, V)
    rows, columns = len(logits), len(logits[0])
    expected = (x.shape[1], model.vocab_size)
    return (rows, columns) == expected, f"{rows} rows of {columns} logits, expected {expected}"


def _first_loss(model, x, y) -> tuple[bool, str]:
    loss, uniform = cross_entropy_loss(model(x), y).item(), math.log(model.vocab_size)
    return loss < 2 * uniform, f"loss {loss:.4f}, a uniform guess has ln V = {uniform:.4f}"


def _causal(model, x, y) -> tuple[bool, str]:
    half = x.shape[1] // 2
    changed = x.copy()
    changed[:, half:] = (changed[:, half:] + 1) % model.vocab_size
    with no_grad():
        before, after = model(x).data[:, :half], model(changed).data[:, :half]
    largest = float(np.max(np.abs(before - after), initial=0.0))
    return largest == 0.0, f"other tokens from {half} on move earlier logits by {largest:.4f}"


def _gradients(model, x, y) -> tuple[bool, str]:
    cross_entropy_loss(model(x), y).backward()
    named = dict(model.named_parameters())
    bad = [name for name, p in named.items() if not np.isfinite(p.grad).all()]
    zero = [name for name, p in named.items() if not np.any(p.grad)]
    if bad or zero:
        ill = [("not finite", bad), ("all zero", zero)]
        return False, "; ".join(f"{what}: {_first(names)}" for what, names in ill if names)
    return True, f"all {len(named)} parameters have finite gradients that are not all zero"


def _first(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _overfits(model, x, y) -> tuple[bool, str]:
    x, y = x[:1, :16], y[:1, :16]
    optimizer = AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    losses = []
    for _ in range(60):
        loss = cross_entropy_loss(model(x), y)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward(free_graph=True)
        optimizer.step()
    return (
        losses[-1] < 0.25 * losses[0],
        f"60 steps on {x.size} tokens: loss {losses[0]:.4f} -> {losses[-1]:.4f}",
    )


_CHECKS: list[tuple[str, Callable, str]] = [
    (
        "shapes",
        _shapes,
        "forward must give one row of V logits for each token: check the last "
        "linear layer and any reshape.",
    ),
    (
        "first loss",
        _first_loss,
        "far above ln V the untrained model is sure of wrong answers: "
        "start with smaller weights, above all in the last layer.",
    ),
    (
        "causal mask",
        _causal,
        "a position saw its future: mask the scores before the softmax, with "
        "minus infinity, above the diagonal.",
    ),
    (
        "gradients",
        _gradients,
        "a parameter that gets no gradient is not used, or its graph was "
        "cut (did you use .data in forward?); NaN or infinity: look for log(0) and "
        "overflowing exp.",
    ),
    (
        "overfits a few tokens",
        _overfits,
        "a model that can't learn a few tokens by heart has a bug "
        "in its loss, its gradients or its update: are targets shifted by one, gradients zeroed?",
    ),
]
