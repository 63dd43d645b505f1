"""How much of a text rhymes: a number for what a model of ``rhymes`` has learnt of verse.

A line's **ending** is what its last word has from the last vowel letters on, a silent ``e``
included: ``ight`` in *night*, ``ate`` in *gate*. A line **rhymes** if one of the two lines before
it has the same ending in another word: so pairs ``aabb`` count, and crossed rhymes ``abab`` too.

The measure goes by spelling. It misses *said* and *bed*, and takes *said* and *afraid* for a
rhyme. So compare a text with its own lines in random order: what is left is chance.
"""

from __future__ import annotations

import re

_ENDING = re.compile(r"[aeiouy]+[^aeiouy]*e?$")


def rhyme_rate(text: str) -> float:
    """The share of the lines that rhyme. Lines without a letter of a to z do not count."""
    last_words = [words[-1] for line in text.lower().split("\n") if (words := _words(line))]
    if not last_words:
        raise ValueError(f"no line of the text ends in a word of the letters a to z: {text!r:.60}")
    rhymed = 0
    for i, word in enumerate(last_words):
        before = last_words[max(0, i - 2) : i]
        rhymed += any(other != word and _ending(other) == _ending(word) for other in before)
    return rhymed / len(last_words)


def _words(line: str) -> list[str]:
    return re.findall("[a-z]+", line.replace("'", ""))


def _ending(word: str) -> str:
    found = _ENDING.search(word)
    return found[0] if found else word
