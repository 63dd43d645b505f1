"""Lesson 6's checks accept right answers in any style and name what is wrong with the others."""

from itertools import accumulate

import numpy as np
import pytest

from minigpt_helpers import Tensor, checks, load_pretrained, next_token_probs, no_grad, softmax

LOGITS = np.random.default_rng(0).normal(size=32) * 2


def soft(x):
    return softmax(Tensor(x)).data


def plain_softmax(logits, temperature):
    scaled = [z / temperature for z in logits.tolist()]
    exps = [np.exp(z - max(scaled)) for z in scaled]
    return [e / sum(exps) for e in exps]


def overflowing_softmax(logits, temperature):
    exps = np.exp(logits / temperature)
    return exps / exps.sum()


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
    ("one_nat", temperature_of_one_nat()),
    ("one_nat", np.array(temperature_of_one_nat() + 0.005)),
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
    ("predict_temperature_two", [0.0476, 0.1905, 0.7619], "at T = 1"),
    ("predict_temperature_two", [0.0037, 0.0586, 0.9377], "Divide them"),
    ("predict_temperature_two", [1, 2, 4], "Divide each by their sum"),
    ("predict_temperature_two", [0.0238, 0.0952, 0.381], "not the probabilities"),
    ("predict_temperature_two", [0.3, 0.3, 0.4], "square root"),
    ("softmax_with_temperature", lambda z, T: soft(z * T), "You multiply"),
    ("softmax_with_temperature", lambda z, T: soft(z), "The temperature is missing"),
    ("softmax_with_temperature", lambda z, T: soft(z) / T, "Divide the logits"),
    ("softmax_with_temperature", lambda z, T: np.exp(z / T - (z / T).max()), "Divide by the sum"),
    ("softmax_with_temperature", overflowing_softmax, "largest of the divided"),
    ("softmax_with_temperature", changes_its_logits, "Work on a copy"),
    ("one_nat", 10, "turn the temperature down"),
    ("one_nat", 0.01, "turn the temperature up"),
    ("one_nat", 0, "above 0"),
    ("one_nat", [1.0, 2.0], "one number above 0"),
    ("one_nat", float("nan"), "one number above 0"),
    ("draw_many", lambda p, u: np.searchsorted(np.cumsum(p), u), "side='right'"),
    ("draw_many", lambda p, u: np.searchsorted(p, u, side="right"), "cumulative sums"),
    ("draw_many", lambda p, u: draw_by_counting(p, u) + 1, "one too large"),
    ("draw_many", lambda p, u: draw_by_counting(p, u) - 1, "one too small"),
    ("draw_many", lambda p, u: np.full(len(u), p.argmax()), "That is greedy"),
    ("draw_many", lambda p, u: np.searchsorted(u, np.cumsum(p), side="right"), "two are swapped"),
    ("too_many_kept", [1, 2, 3, 4, 5], "have in common"),
    ("too_many_kept", [1, 1, 1, 4, 5], "where the threshold lies"),
    ("too_many_kept", [1, 2, 2], "expected shape (5,)"),
    ("too_many_kept", [np.inf, np.inf, np.inf, 0, 1], "Ordinary numbers"),
    ("next_logits", lambda m, ids: m(ids[: m.max_seq_len]).data[0], "Two mistakes"),
    ("next_logits", lambda m, ids: m(ids[-m.max_seq_len :]).data[0], "first position's row"),
    ("next_logits", lambda m, ids: m(ids[: m.max_seq_len]).data[-1], "read its end"),
    ("next_logits", lambda m, ids: m(ids[-m.max_seq_len :]).data, "Take one"),
    ("next_logits", lambda m, ids: m(ids[-m.max_seq_len + 1 :]).data[-1], "shorter"),
    ("next_logits", lambda m, ids: m(ids).data[-1], "max_seq_len=6"),
    ("predict_forgetful_steps", 46, "nothing is asked any more"),
    ("predict_forgetful_steps", 44, "109, not 108"),
    ("predict_forgetful_steps", 36, "10 characters at the start"),
    ("predict_forgetful_steps", 55, "it does not"),
    ("predict_forgetful_steps", 7, "does the text not fit"),
    ("cached_multiplications", lambda T, D: 12 * D * D + 2 * T * D, "last step alone"),
    ("cached_multiplications", lambda T, D: 12 * D * D * T, "pairs are missing"),
    ("cached_multiplications", lambda T, D: T * (12 * D * D + 2 * T * D), "step t looks at t"),
    ("cached_multiplications", lambda T, D: 12 * D * D * T + D * T * (T - 1), "at itself"),
    ("cached_multiplications", lambda T, D: 4 * D * D * T + D * T * (T + 1), "feed-forward"),
    ("cached_multiplications", lambda T, D: sum(12 * t * D * D + 2 * t * t * D
                                                for t in range(1, T + 1)), "without a cache"),
    ("bits_per_character", lambda p: -np.log(p).mean(), "in nats"),
    ("bits_per_character", lambda p: np.log2(p).mean(), "minus sign"),
    ("bits_per_character", lambda p: -np.log2(p).sum(), "Per character is the mean"),
    ("bits_per_character", lambda p: -np.log2(p.mean()), "First the logarithm"),
    ("bits_per_character", lambda p: -(p * np.log2(p)).sum(), "formula of the entropy"),
    ("bits_per_character", lambda p: -np.log2(p), "Take the mean"),
    ("predict_previous_head", [3, 0], "The layer comes first"),
    ("predict_previous_head", [1, 4], "counted from 0"),
    ("predict_previous_head", [0, 1], "two back"),
    ("predict_previous_head", [1, 0], "nearly everywhere"),
    ("predict_previous_head", [1, 2], "bright line"),
]


def ask(name, answer):
    given = (answer, LOGITS) if name == "one_nat" else (answer,)
    return getattr(checks, name)(*given)


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_a_right_answer_is_accepted(name, answer):
    result = ask(name, answer)
    assert result.passed and result.score == 1.0, result.message


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_a_wrong_answer_is_refused_with_the_fitting_hint(name, answer, hint):
    result = ask(name, answer)
    assert not result.passed and result.message.startswith("not yet"), result.message
    assert hint in result.message


STUBS = {
    "softmax_with_temperature": lambda logits, temperature: ...,
    "draw_many": lambda probs, darts: ...,
    "next_logits": lambda model, ids: ...,
    "cached_multiplications": lambda T, D: ...,
    "bits_per_character": lambda probs: ...,
}


@pytest.mark.parametrize("name", [entry.name for entry in checks.catalogue(6)])
def test_a_stub_is_not_done_yet(name):
    for stub in (None, ..., STUBS.get(name, ...)):
        result = ask(name, stub)
        assert not result.passed and result.message.startswith("not done yet"), result.message


def test_every_check_of_the_lesson_is_tested_here():
    for name in {entry.name for entry in checks.catalogue(6)}:
        assert sum(case[0] == name for case in RIGHT) >= 2, name
        assert sum(case[0] == name for case in WRONG) >= 4, name


def test_the_predicted_head_is_the_one_that_looks_back_in_the_shipped_model():
    model, tokenizer = load_pretrained("rhymes")
    weights = model.attention_weights(tokenizer.encode("the wind came down the chimney pot"))
    back = np.diagonal(weights, offset=-1, axis1=2, axis2=3).mean(axis=-1)  # (L, H)
    layer, head = np.unravel_index(back.argmax(), back.shape)
    assert checks.predict_previous_head([layer, head]).passed
