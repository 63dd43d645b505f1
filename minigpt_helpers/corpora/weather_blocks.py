"""The best loss on blocks cut out of the weather diary: a little above its entropy rate.

The entropy rate supposes that a reader knows all the past. A block of training data starts in
the middle of some line, on a day after an unseen one, so its first characters are harder. The
perfect reader keeps a **belief**: how likely each state of the grammar is, given the characters
read so far. It starts at the stationary distribution; each character rules out the states that
would have written another one (Bayes' rule, as in the forward pass of a hidden Markov model,
Rabiner, "A Tutorial on Hidden Markov Models", 1989). Beliefs soon agree, so all can be followed.
"""

from __future__ import annotations

import math
from collections import defaultdict

from minigpt_helpers.corpora.weather import NEXT_SKY, SKIES, WARMTH, WIND, stationary


def best_block_loss(block_size: int) -> float:
    """The least mean loss over the ``block_size`` positions of a block, in nats per character.

    Exact. The inputs are the block's characters, the targets those one later, as in ``get_batch``.
    Tends to ``entropy_rate()`` from above as ``block_size`` grows.
    """
    if block_size < 1:
        raise ValueError(f"block_size is {block_size}: a block has at least 1 character")
    nats = 0.0
    beliefs = {_key(_anywhere()): 1.0}  # belief -> how likely a block leads to it
    for position in range(block_size + 1):
        reached = defaultdict(float)
        for belief, prob in beliefs.items():
            for char_prob, next_belief in _read(belief):
                reached[next_belief] += prob * char_prob
                if position > 0:  # the first character is given, never predicted
                    nats -= prob * char_prob * math.log(char_prob)
        beliefs = reached
    return nats / block_size


def _choices(slot: str, s: int) -> list[tuple[float, tuple[str, str, int]]]:
    """What is written in ``slot`` if the last sky is ``s``: probability and state, for each word.

    A state is (letters still to write before the next choice, slot of that choice, last sky).
    """
    if slot == "sky":
        return [(p, (f"{SKIES[t]}, ", "warmth", t)) for t, p in enumerate(NEXT_SKY[s]) if p > 0]
    if slot == "warmth":
        return [(p, (f"{word}, ", "wind", s)) for word, p in WARMTH[SKIES[s]].items()]
    return [(p, (f"{word}\n", "sky", s)) for word, p in WIND.items()]


def _anywhere() -> dict:
    """The belief before anything is read: each state by how often the diary is in it."""
    visits = defaultdict(float)
    for s, share in enumerate(stationary(NEXT_SKY)):
        for slot in ("sky", "warmth", "wind"):
            for p, (letters, next_slot, t) in _choices(slot, s):
                for i in range(len(letters)):
                    visits[letters[i:], next_slot, t] += share * p
    total = sum(visits.values())
    return {state: v / total for state, v in visits.items()}


def _read(belief) -> list:
    """(probability, belief after it) for each character that may come next."""
    after = defaultdict(lambda: defaultdict(float))  # character -> state -> probability
    for (letters, slot, s), p in belief:
        rest = letters[1:]
        for q, state in [(1.0, (rest, slot, s))] if rest else _choices(slot, s):
            after[letters[0]][state] += p * q
    return [(sum(b.values()), _key(b)) for b in after.values()]


def _key(belief: dict) -> tuple:
    """A belief scaled to sum 1, as a dictionary key; rounded, so that equal beliefs meet."""
    total = sum(belief.values())
    return tuple(sorted((state, round(p / total, 14)) for state, p in belief.items()))
