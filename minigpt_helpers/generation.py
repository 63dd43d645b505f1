"""Generation (lesson 6): from logits to the next token, again and again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from minigpt_helpers.autograd import no_grad
from minigpt_helpers.validation import (
    check_ids,
    check_int,
    check_not_negative,
    check_number,
    check_rng,
)


@np.errstate(under="ignore")  # a probability that is too small becomes 0
def next_token_probs(
    logits: np.ndarray,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> np.ndarray:
    """The distribution that the next token is drawn from, ``(V,)`` to ``(V,)``.

    ``softmax(logits / temperature)``, after all but the ``top_k`` largest logits are set to minus
    infinity. Of these, ``top_p`` keeps the fewest most likely tokens whose probabilities together
    reach ``top_p`` (nucleus sampling: The Curious Case of Neural Text Degeneration, Holtzman et
    al., 2020); what is cut off goes to the others in proportion. ``temperature=0`` is greedy: all
    probability on the largest logit. Ties go to the lowest id; ``top_k`` above ``V``, and
    ``top_p=1``, mean all. Raises ``ValueError`` for a temperature that is negative or not finite,
    for ``top_k`` below 1, and for ``top_p`` that is not above 0 and at most 1.
    """
    _check_sampling(temperature, top_k, top_p)
    try:
        logits = np.asarray(logits, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"the logits must be one row of numbers, not {logits!r:.80}") from error
    if logits.ndim != 1 or not logits.size or not np.isfinite(logits.max()):
        raise ValueError(f"the logits must be one row of finite numbers, not {logits!r:.80}")
    probs = np.zeros_like(logits)
    if temperature == 0:
        probs[np.argmax(logits)] = 1.0
        return probs
    kept = np.argsort(-logits, kind="stable")[:top_k]  # largest first, equal ones by id
    with np.errstate(over="ignore"):  # a tiny temperature may give minus infinity: exp makes it 0
        probs[kept] = np.exp((logits[kept] - logits.max()) / temperature)
    probs /= probs.sum()
    if top_p is not None and top_p < 1:
        reached = np.cumsum(probs[kept])  # by the most likely token, by the first two, ...
        too_many = 1 + np.searchsorted(reached, top_p - 1e-12)  # sums are off by some last bits
        probs[kept[too_many:]] = 0.0
        probs /= probs.sum()
    return probs


def generate(
    model,
    start_ids: Sequence[int] | np.ndarray,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    rng: np.random.Generator | None = None,
    *,
    top_p: float | None = None,
    use_cache: bool = True,
) -> list[int]:
    """``start_ids`` followed by ``max_new_tokens`` tokens drawn from ``model`` one by one.

    The model sees at most its last ``max_seq_len`` tokens. With ``use_cache`` it keeps the keys
    and values of the tokens it has seen instead of computing them again: the same tokens, sooner.
    Once the window is full and slides, every position changes and all is computed again.

    Raises ``ValueError`` for an empty start, ids out of range, and what ``next_token_probs``
    refuses.
    """
    if not callable(model) or not hasattr(model, "vocab_size"):
        raise ValueError(f"the model must be one like MiniGPT(...), not {model!r:.80}")
    ids = check_ids(start_ids, model.vocab_size)
    if ids.ndim != 1 or ids.size == 0:
        raise ValueError(
            f"generation needs at least one start id in one list, but got shape {ids.shape}. "
            "Start with a newline, for instance: tokenizer.encode('\\n')"
        )
    check_int("max_new_tokens", max_new_tokens, least=0)
    _check_sampling(temperature, top_k, top_p)
    rng = check_rng(rng)
    ids = ids.tolist()
    all_logits = _cached_logits(model, ids) if use_cache else _logits(model, ids)
    for _, logits in zip(range(max_new_tokens), all_logits):
        ids.append(sample(next_token_probs(logits, temperature, top_k, top_p), rng))
    return ids


def sample(probs: np.ndarray, rng: np.random.Generator) -> int:
    """One id, drawn with probabilities ``probs`` ``(V,)``: where a random point of [0, 1) falls."""
    cumulative = np.cumsum(probs)
    return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))


def _logits(model, ids: list[int]) -> Iterator[np.ndarray]:
    """The logits after the last of ``ids``, ``(V,)``, each time from scratch: ``ids`` grows."""
    while True:
        with no_grad():
            logits = model(ids[-model.max_seq_len :]).data[-1]
        yield logits


def _cached_logits(model, ids: list[int]) -> Iterator[np.ndarray]:
    """The same logits: while the window is not full, only the newest tokens are computed."""
    cache, seen = model.new_cache(), 0
    while len(ids) <= model.max_seq_len:
        with no_grad():
            logits = model(ids[seen:], cache=cache).data[-1]
        seen = len(ids)
        yield logits
    yield from _logits(model, ids)


def _check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    check_not_negative(temperature=temperature)  # 0: always the most likely; above 1: flatter
    if top_k is not None:
        check_int("top_k", top_k)
    if top_p is not None:
        check_number("top_p", top_p, lambda x: 0 < x <= 1, "above 0 and at most 1, or None")
