"""Text as numbers (lesson 1): the tokenizer, training batches and the bigram table.

Everything here works on plain strings and integer arrays; nothing knows of a neural network yet.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from minigpt_helpers.validation import (
    check_data,
    check_ids,
    check_list,
    check_number,
    check_rng,
    check_sizes,
)


class CharTokenizer:
    """Maps each character to an integer id and back.

    ``chars`` lists the characters by id; ``char_to_idx`` and ``idx_to_char`` are dictionaries.
    """

    def __init__(self, chars: Iterable[str]):
        self.chars = check_list("the characters of a vocabulary", chars)
        if not self.chars:
            raise ValueError("a vocabulary needs at least one character, but the text is empty")
        self.char_to_idx: dict[str, int] = {}
        for idx, char in enumerate(self.chars):
            if not isinstance(char, str) or len(char) != 1 or char in self.char_to_idx:
                raise ValueError(
                    f"a vocabulary holds single characters, each once: not {char!r:.80}"
                )
            self.char_to_idx[char] = idx
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
                shown = ascii(char) if unicodedata.combining(char) else repr(char)
                raise ValueError(
                    f"the character {shown} (U+{ord(char):04X}) at position {position} is not in "
                    f"the vocabulary of {self.vocab_size} characters: {''.join(self.chars)!r:.200}."
                    f"{self._advice(text, position)}"
                )
        return [self.char_to_idx[char] for char in text]

    def _advice(self, text: str, position: int) -> str:
        """One letter may be written in several ways: ``é``, or ``e`` and a mark that combines."""
        end = position + 1
        while end < len(text) and unicodedata.combining(text[end]):
            end += 1
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            if set(unicodedata.normalize(form, text[:end])) <= set(self.chars):
                return (
                    " The vocabulary has the same letter written in another way: encode "
                    f'unicodedata.normalize("{form}", text), after import unicodedata.'
                )
        return " Remove it, or make the tokenizer from a text that has it."

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
    A text in order (names from A to Z) ends unlike it begins: shuffle its lines before encoding.
    """
    data = check_data(data)
    check_number("val_fraction", val_fraction, lambda x: 0 < x < 1, "above 0 and below 1")
    num_val = round(len(data) * val_fraction)
    if not 0 < num_val < len(data):
        raise ValueError(f"{len(data)} tokens with val_fraction={val_fraction}: a part is empty")
    return data[:-num_val], data[-num_val:]


def get_batch(
    data: Sequence[int] | np.ndarray, block_size: int, batch_size: int, rng=None
) -> tuple[np.ndarray, np.ndarray]:
    """Random windows of ``data`` ``(N,)``: inputs ``x`` and targets ``y``, both ``(B, T)``.

    Row by row ``x = data[i : i + T]`` and ``y = data[i + 1 : i + T + 1]``, with every start
    ``0 <= i <= N - T - 1`` equally likely: the target at each position is the next token.
    """
    block_size, batch_size = check_sizes(block_size=block_size, batch_size=batch_size)
    data = data if isinstance(data, list) else check_data(data)
    if len(data) < block_size + 1:
        raise ValueError(
            f"the data has {len(data)} tokens, but block_size={block_size} needs at least "
            f"{block_size + 1} (one more, for the last target). Use a longer text or a smaller "
            "block_size."
        )
    rng = check_rng(rng)
    starts = rng.integers(0, len(data) - block_size, size=batch_size)  # (B,)
    if isinstance(data, list):  # to make an array of all of it would take longer than a step
        picked = [token for start in starts for token in data[start : start + block_size + 1]]
        windows = check_data(picked).reshape(batch_size, -1)  # (B, T + 1)
    else:
        windows = data[starts[:, None] + np.arange(block_size + 1)]  # (B, T + 1)
    return windows[:, :-1].copy(), windows[:, 1:].copy()  # a change to x leaves y alone


def bigram_probs(
    data: Sequence[int] | np.ndarray, vocab_size: int, smoothing: float = 1.0
) -> np.ndarray:
    """The bigram model: ``probs[a, b]`` is the chance that token ``b`` follows ``a``, ``(V, V)``.

    Counts the pairs in ``data`` ``(N,)``, adds ``smoothing`` to every count, so that a pair never
    seen keeps a small chance, and divides each row by its sum.
    """
    check_sizes(vocab_size=vocab_size)
    data = check_ids(check_data(data), vocab_size)
    check_number("smoothing", smoothing, lambda x: 0 < x < np.inf, "above 0 (0 has no log)")
    counts = np.full((vocab_size, vocab_size), float(smoothing))  # (V, V)
    np.add.at(counts, (data[:-1], data[1:]), 1.0)
    return counts / counts.sum(axis=1, keepdims=True)


def bigram_loss(probs: np.ndarray, data: Sequence[int] | np.ndarray) -> float:
    """The mean of ``-log probs[a, b]`` over all neighbours of ``data``, in nats per token."""
    if np.ndim(probs) != 2 or np.shape(probs)[0] != np.shape(probs)[1]:
        raise ValueError(f"probs must be a table (V, V) as bigram_probs makes it: {probs!r:.80}")
    data = check_ids(check_data(data), len(probs))
    if len(data) < 2:
        raise ValueError(f"a bigram needs two tokens, but the data has {len(data)}")
    return float(-np.log(probs[data[:-1], data[1:]]).mean())
