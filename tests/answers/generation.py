"""Answers to the exercises of lesson 6."""

from itertools import accumulate

import numpy as np

from minigpt_helpers import Tensor, next_token_probs, no_grad, softmax

LOGITS = np.random.default_rng(0).normal(size=32) * 2


def soft(x):
    return softmax(Tensor(x)).data


def plain_softmax(logits, temperature):
    scaled = [z / temperature for z in logits.tolist()]
    exps = [np.exp(z - max(scaled)) for z in scaled]
    return [e / sum(exps) for e in exps]



def changes_its_logits(logits, temperature):
    logits /= temperature
    return soft(logits)


def temperature_of_one_nat():
    low, high = 0.01, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        probs = next_token_probs(LOGITS, middle)
        entropy = -(probs[probs > 0] * np.log(probs[probs > 0])).sum()
        low, high = (middle, high) if entropy < 1 else (low, middle)
    return low


def draw_by_loop(probs, darts):
    ends = list(accumulate(probs.tolist()))
    return [next(i for i, end in enumerate(ends) if dart < end) for dart in darts]


def draw_by_counting(probs, darts):
    return (np.cumsum(probs)[None, :] <= darts[:, None]).sum(axis=1)


def next_logits(model, ids):
    return model(ids[-model.max_seq_len :]).data[-1]


def next_logits_of_a_batch(model, ids):
    start = max(0, len(ids) - model.max_seq_len)
    with no_grad():
        return model(np.array([ids[start:]])).data[0, -1]


def count_by_steps(T, D):
    total = 0
    for t in range(1, T + 1):
        total += 3 * D * D + D * D + 8 * D * D  # qkv, proj, feed-forward
        total += t * D + t * D  # scores, weighted values
    return total


def bits_by_loop(probs):
    return -sum(np.log(p) for p in probs) / len(probs) / np.log(2)


RIGHT = [
    ("predict_temperature_two", [0.14, 0.29, 0.57]),
    ("predict_temperature_two", np.array([1, 2, 4]) / 7),
    ("softmax_with_temperature", lambda logits, temperature: soft(logits / temperature)),
    ("softmax_with_temperature", plain_softmax),
    ("softmax_with_temperature", next_token_probs),
    ("one_nat", (temperature_of_one_nat(), LOGITS)),
    ("one_nat", (np.array(temperature_of_one_nat() + 0.005), LOGITS)),
    ("draw_many", lambda probs, darts: np.searchsorted(np.cumsum(probs), darts, side="right")),
    ("draw_many", draw_by_loop),
    ("draw_many", draw_by_counting),
    ("too_many_kept", [1, 2, 2, 2, 0]),
    ("too_many_kept", np.array([3.0, 1.0, 1.0, 0.0, -5.0])),
    ("too_many_kept", np.zeros(5)),
    ("next_logits", next_logits),
    ("next_logits", next_logits_of_a_batch),
    ("next_logits", lambda model, ids: model(ids[-model.max_seq_len :])[-1]),  # a Tensor
    ("predict_forgetful_steps", 45),
    ("predict_forgetful_steps", sum(10 + i > 64 for i in range(100))),
    ("cached_multiplications", lambda T, D: 12 * D * D * T + D * T * (T + 1)),
    ("cached_multiplications", count_by_steps),
    ("bits_per_character", lambda probs: -np.log2(probs).mean()),
    ("bits_per_character", bits_by_loop),
    ("predict_previous_head", [0, 3]),
    ("predict_previous_head", (0, 3)),
]

WRONG = [
    ("predict_temperature_two", [0.3, 0.3, 0.4], "square root"),
    ("softmax_with_temperature", changes_its_logits, "Work on a copy"),
    ("one_nat", (10, LOGITS), "turn the temperature down"),
    ("one_nat", (0.01, LOGITS), "turn the temperature up"),
    ("one_nat", (0, LOGITS), "above 0"),
    ("one_nat", ([1.0, 2.0], LOGITS), "one number above 0"),
    ("one_nat", (float("nan"), LOGITS), "one number above 0"),
    ("too_many_kept", [1, 2, 3, 4, 5], "have in common"),
    ("too_many_kept", [1, 1, 1, 4, 5], "where the threshold is"),
    ("too_many_kept", [1, 2, 2], "expected shape"),
    ("too_many_kept", [np.inf, np.inf, np.inf, 0, 1], "Ordinary numbers"),
    ("predict_forgetful_steps", 7, "does the text not fit"),
    ("predict_previous_head", [1, 2], "bright line"),
]
