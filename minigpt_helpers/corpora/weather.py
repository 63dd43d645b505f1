"""A weather diary from a random grammar whose entropy rate is known exactly (lesson 5).

Each line is one day: its sky, how warm it is and the wind, as in ``rain, cool, gale``.

1. The **sky** depends on the sky of the day before: a Markov chain, the rows of ``NEXT_SKY``.
2. The **warmth** depends on the sky of the same day, the **wind** on nothing.

No two days of different choices write the same line, and the first word of a line is its sky.
So a line tells exactly what was chosen: the text is as uncertain as the choices, no more, no less.

**The entropy rate** is the least mean loss, in nats per character, that any model can reach.
Let pi be the stationary distribution: over a long diary a share pi[s] of the days has sky s, and
pi = pi @ NEXT_SKY, as each sky is drawn from the one before. With H(p) = -sum of p * ln(p),

- nats per line, H = sum over s of pi[s] * (H(NEXT_SKY[s]) + H(WARMTH[s])) + H(WIND):
  on a day with sky s the warmth must be chosen, and after it the next day's sky;
- characters per line, L = sum over s of pi[s] * E[length of a line with sky s], newline included.

In n lines, n large, the choices cost about n * H nats and fill about n * L characters: both are
sums along the chain, so by the law of large numbers their ratio tends to **H / L**. (The mean of
each line's own ratio is something else: a long line has more characters to share its cost.)
The argument is Shannon's (A Mathematical Theory of Communication, 1948, sections 6 and 7).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

SKIES = ["sun", "cloud", "rain", "fog"]
NEXT_SKY = np.array([
    # sun cloud rain fog   <- tomorrow
    [0.5, 0.3, 0.0, 0.2],  # after sun: never rain at once
    [0.2, 0.3, 0.5, 0.0],  # after cloud
    [0.1, 0.3, 0.6, 0.0],  # after rain
    [0.6, 0.1, 0.0, 0.3],  # after fog
])
WARMTH = {
    "sun": {"hot": 0.5, "warm": 0.5},
    "cloud": {"warm": 0.3, "cool": 0.7},
    "rain": {"cool": 0.6, "cold": 0.4},
    "fog": {"cool": 0.2, "cold": 0.8},
}
WIND = {"calm": 0.5, "breeze": 0.3, "gale": 0.2}

# weather.txt is generate_weather(NUM_LINES, np.random.default_rng(SEED)).
NUM_LINES = 5800
SEED = 5


def generate_weather(num_lines: int, rng: np.random.Generator) -> str:
    """Write a diary of ``num_lines`` days; the first sky is drawn from the stationary shares."""
    if num_lines < 1:
        raise ValueError(f"num_lines is {num_lines}: a diary needs at least 1 line")
    lines = []
    sky_probs = stationary(NEXT_SKY)  # (S,)
    for _ in range(num_lines):
        s = rng.choice(len(SKIES), p=sky_probs)
        sky = SKIES[s]
        warmth = rng.choice(list(WARMTH[sky]), p=list(WARMTH[sky].values()))
        wind = rng.choice(list(WIND), p=list(WIND.values()))
        lines.append(f"{sky}, {warmth}, {wind}\n")
        sky_probs = NEXT_SKY[s]
    return "".join(lines)


def stationary(P: np.ndarray) -> np.ndarray:
    """The shares ``pi`` with ``pi = pi @ P`` and sum 1: P (S, S), rows sum to 1 -> (S,)."""
    S = len(P)
    equations = np.vstack([P.T - np.eye(S), np.ones(S)])  # (S + 1, S)
    return np.linalg.lstsq(equations, np.append(np.zeros(S), 1.0), rcond=None)[0]


def entropy(probs: Iterable[float]) -> float:
    """H(p) in nats; an outcome that never comes adds nothing."""
    p = np.array([q for q in probs if q > 0])
    return float(-(p * np.log(p)).sum())


def mean_length(words: dict[str, float]) -> float:
    """Expected number of characters of a word drawn from ``words`` (word -> probability)."""
    return sum(prob * len(word) for word, prob in words.items())


def entropy_rate() -> float:
    """Nats per character of the diary, exactly: nats per line / characters per line."""
    pi = stationary(NEXT_SKY)  # (S,)
    nats = entropy(WIND.values())
    chars = len(", ") + len(", ") + mean_length(WIND) + len("\n")
    for s, sky in enumerate(SKIES):
        nats += pi[s] * (entropy(NEXT_SKY[s]) + entropy(WARMTH[sky].values()))
        chars += pi[s] * (len(sky) + mean_length(WARMTH[sky]))
    return float(nats / chars)
