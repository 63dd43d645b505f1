"""Text as numbers (lesson 1): the tokenizer, training batches and the bigram table.

Everything here works on plain strings and integer arrays; nothing knows of a neural network yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Real

import numpy as np

from minigpt_helpers.validation import check_data, check_ids, check_rng, check_sizes


class CharTokenizer:
    """Maps each character to an integer id and back.

    ``chars`` lists the characters by id; ``char_to_idx`` and ``idx_to_char`` are dictionaries.
    """

    def __init__(self, chars: Iterable[str]):
        self.chars = list(chars)
        if not self.chars:
            raise ValueError("a vocabulary needs at least one character, but the text is empty")
        for i, char in enumerate(self.chars):
            if not isinstance(char, str) or len(char) != 1 or char in self.chars[:i]:
                raise ValueError(f"a vocabulary holds single characters, each once: not {char!r}")
        self.char_to_idx = {char: idx for idx, char in enumerate(self.chars)}
        self.idx_to_char = dict(enumerate(self.chars))

    @classmethod
    def from_text(cls, text: str) -> CharTokenizer:
        """The tokenizer whose vocabulary is ``sorted(set(text))``."""
        return cls(sorted(set(_check_str(text))))

    @property
    def vocab_size(self) -> int:
        """The number of characters, ``V``."""
        return len(self.chars)

    def encode(self, text: str) -> list[int]:
        """The ids of ``text``, one for each character. An unknown character: ``ValueError``."""
        for position, char in enumerate(_check_str(text)):
            if char not in self.char_to_idx:
                raise ValueError(
                    f"the character {char!r} (U+{ord(char):04X}) at position {position} is not in "
                    f"the vocabulary of {self.vocab_size} characters: {''.join(self.chars)!r:.200}."
                    " Remove it, or make the tokenizer from a text that has it."
                )
        return [self.char_to_idx[char] for char in text]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``, the inverse of ``encode``. An id out of range: ``ValueError``."""
        ids = check_ids(ids, self.vocab_size)
        if ids.ndim != 1:
            raise ValueError(f"decode takes one list of ids, not an array of shape {ids.shape}")
        return "".join(self.idx_to_char[idx] for idx in ids.tolist())

    def __repr__(self) -> str:
        return f"CharTokenizer({self.vocab_size} characters: {''.join(self.chars)!r:.60})"


def _check_str(text: str) -> str:
    if not isinstance(text, str):
        raise ValueError(f"text must be a string, not {type(text).__name__}: {text!r:.60}")
    return text


def train_val_split(
    data: Sequence[int] | np.ndarray, val_fraction: float = 0.1
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts ``data`` ``(N,)`` in two: the first part to train on, the last to validate on.

    The cut is not shuffled: windows of neighbouring text overlap, so a random split would leak.
    """
    data = check_data(data)
    if not (isinstance(val_fraction, Real) and 0 < val_fraction < 1):
        raise ValueError(f"val_fraction must lie between 0 and 1, not {val_fraction!r}")
    num_val = round(len(data) * val_fraction)
    if not 0 < num_val < len(data):
        raise ValueError(f"{len(data)} tokens with val_fraction={val_fraction}: a part is empty")
    return data[:-num_val], data[-num_val:]


def get_batch(
    data: Sequence[int] | np.ndarray,
    block_size: int,
    batch_size: int,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Random windows of ``data`` ``(N,)``: inputs ``x`` and targets ``y``, both ``(B, T)``.

    Row by row ``x = data[i : i + T]`` and ``y = data[i + 1 : i + T + 1]``, with every start
    ``0 <= i <= N - T - 1`` equally likely: the target at each position is the next token.
    """
    data = check_data(data)
    check_sizes(block_size=block_size, batch_size=batch_size)
    if len(data) < block_size + 1:
        raise ValueError(
            f"the data has {len(data)} tokens, but block_size={block_size} needs at least "
            f"{block_size + 1} (one more, for the last target). Use a longer text or a smaller "
            "block_size."
        )
    rng = check_rng(rng)
    starts = rng.integers(0, len(data) - block_size, size=batch_size)  # (B,)
    windows = data[starts[:, None] + np.arange(block_size + 1)]  # (B, T + 1)
    return windows[:, :-1].copy(), windows[:, 1:].copy()  # a change to x leaves y alone


def bigram_probs(
    data: Sequence[int] | np.ndarray, vocab_size: int, smoothing: float = 1.0
) -> np.ndarray:
    """The bigram model: ``probs[a, b]`` is the chance that token ``b`` follows ``a``, ``(V, V)``.

    Counts the pairs in ``data`` ``(N,)``, adds ``smoothing`` to every count, so that a pair never
    seen keeps a small chance, and divides each row by its sum.
    """
    data = check_ids(check_data(data), vocab_size)
    if not (isinstance(smoothing, Real) and 0 < smoothing < np.inf):
        raise ValueError(f"smoothing must be above 0, not {smoothing!r}: a zero count has no log")
    counts = np.full((vocab_size, vocab_size), float(smoothing))  # (V, V)
    np.add.at(counts, (data[:-1], data[1:]), 1.0)
    return counts / counts.sum(axis=1, keepdims=True)


def bigram_loss(probs: np.ndarray, data: Sequence[int] | np.ndarray) -> float:
    """The mean of ``-log probs[a, b]`` over all neighbours of ``data``, in nats per token."""
    data = check_ids(check_data(data), len(probs))
    if len(data) < 2:
        raise ValueError(f"a bigram needs two tokens, but the data has {len(data)}")
    return float(-np.log(probs[data[:-1], data[1:]]).mean())
