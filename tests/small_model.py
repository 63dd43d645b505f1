"""A small model and a text for it, which the tests of habits and of refusals share."""

import numpy as np

from minigpt_helpers import MiniGPT

V = 6
DATA = np.array([0, 1, 2, 3, 4, 5, 3, 2] * 12)


def model_of(dtype=np.float64, seed=0):
    return MiniGPT(V, 8, 2, 1, 6, rng=np.random.default_rng(seed), dtype=dtype)
