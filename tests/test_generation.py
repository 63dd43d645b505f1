"""Lesson 6: temperature, top-k, top-p, and the cache that must change nothing."""

import math
import re

import numpy as np
import pytest

import reference as ref
from minigpt_helpers import MiniGPT, Module, Tensor, generate, next_token_probs, train
from minigpt_helpers.generation import sample

pytestmark = pytest.mark.filterwarnings("error")

V, T_MAX = 9, 6


def model_of(heads=2, layers=2, dtype=np.float64, seed=0, max_seq_len=T_MAX, sure=True):
    """A model with opinions: an untrained one would find all tokens alike."""
    model = MiniGPT(V, 8, heads, layers, max_seq_len, rng=np.random.default_rng(seed), dtype=dtype)
    if sure:
        model.head.weight.data *= 50
    return model


def rng(seed=0):
    return np.random.default_rng(seed)


class Fixed(Module):
    """A model that gives the same logits whatever it is asked."""

    def __init__(self, logits, max_seq_len=T_MAX):
        self.logits = np.asarray(logits, dtype=np.float64)
        self.vocab_size, self.max_seq_len = len(self.logits), max_seq_len

    def forward(self, ids):
        return Tensor(np.tile(self.logits, (len(ids), 1)))


# The distribution


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 1, 2.0, 7.5, np.float32(0.5), np.int64(2)])
def test_probabilities_against_a_loop(temperature):
    logits = rng().normal(0, 3, size=V)
    probs = next_token_probs(logits, temperature)
    np.testing.assert_allclose(
        probs, ref.loop_softmax([z / float(temperature) for z in logits]), rtol=1e-12)
    assert probs.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("top_k", [1, 2, 5, V, V + 1, 10**9, np.int64(3), None])
def test_top_k_keeps_the_largest_and_their_proportions(top_k):
    logits = rng().normal(0, 3, size=V)
    probs, whole = next_token_probs(logits, 0.7, top_k), next_token_probs(logits, 0.7)
    kept = np.argsort(logits)[::-1][: V if top_k is None else min(top_k, V)]
    assert set(np.flatnonzero(probs)) == set(kept)
    np.testing.assert_allclose(probs[kept], whole[kept] / whole[kept].sum(), rtol=1e-12)


@pytest.mark.parametrize("logits, top_k, kept", [
    ([1.0, 2.0, 2.0, 2.0], 2, [1, 2]), ([0.0] * 5, 3, [0, 1, 2]), ([3.0, 1.0, 3.0, 0.0], 1, [0]),
    ([0.0, 1.0] * 100, 4, [1, 3, 5, 7]),
])
def test_top_k_ties_go_to_the_lowest_ids(logits, top_k, kept):
    assert np.flatnonzero(next_token_probs(logits, 1.0, top_k)).tolist() == kept


def loop_top_p(logits, temperature, top_k, top_p):
    """The nucleus one token at a time, most likely first; ties go to the lowest id."""
    probs = next_token_probs(logits, temperature, top_k)
    kept, reached = [], 0.0
    for token in sorted(range(len(probs)), key=lambda i: -probs[i]):
        if reached >= top_p:
            break
        kept.append(token)
        reached += probs[token]
    return np.array([p / reached if i in kept else 0.0 for i, p in enumerate(probs)])


@pytest.mark.parametrize("top_p", [1e-9, 0.1, 0.5, 0.9, 0.999, np.float32(0.7)])
@pytest.mark.parametrize("temperature, top_k", [(1.0, None), (0.5, None), (3.0, 6), (1.0, 2)])
def test_top_p_against_a_loop(temperature, top_k, top_p):
    for seed in range(20):
        logits = rng(seed).normal(0, 2, size=V)
        probs = next_token_probs(logits, temperature, top_k, top_p)
        np.testing.assert_allclose(
            probs, loop_top_p(logits, temperature, top_k, top_p), rtol=1e-12)


@pytest.mark.parametrize("probs, top_p, kept", [
    ([0.2, 0.5, 0.3], 0.5, [1]), ([0.2, 0.5, 0.3], 0.51, [1, 2]), ([0.2, 0.5, 0.3], 0.8, [1, 2]),
    ([0.2, 0.5, 0.3], 0.81, [0, 1, 2]), ([0.25] * 4, 0.5, [0, 1]), ([0.1] * 10, 0.8, list(range(8))),
    ([0.2, 0.5, 0.3], 1e-300, [1]),
])
def test_the_token_that_reaches_top_p_is_the_last_one_kept(probs, top_p, kept):
    cut = next_token_probs(np.log(probs), top_p=top_p)
    assert np.flatnonzero(cut).tolist() == kept
    np.testing.assert_allclose(cut[kept], np.array(probs)[kept] / np.sum(np.array(probs)[kept]))


@pytest.mark.parametrize("top_p", [1, 1.0, None])
def test_top_p_of_one_keeps_even_the_least_likely(top_p):
    logits = [0.0, -40.0, -80.0]
    np.testing.assert_array_equal(next_token_probs(logits, top_p=top_p), next_token_probs(logits))


@pytest.mark.parametrize("temperature", [0, 0.0, -0.0])
@pytest.mark.parametrize("logits, best", [
    ([1.0, 3.0, 2.0], 1), ([2.0, 2.0, 2.0], 0), ([0.0, 5.0, 5.0], 1), ([-1e300, -1e308, -5.0], 2),
])
def test_temperature_zero_is_greedy(logits, best, temperature):
    expected = np.eye(3)[best]
    np.testing.assert_array_equal(next_token_probs(logits, temperature), expected)
    np.testing.assert_array_equal(next_token_probs(logits, temperature, top_k=2), expected)
    np.testing.assert_array_equal(next_token_probs(logits, temperature, top_p=0.9), expected)


@pytest.mark.parametrize("temperature", [1e-300, 5e-324, 1e-10])
def test_a_tiny_temperature_is_greedy_without_a_warning(temperature):
    np.testing.assert_array_equal(next_token_probs([1.0, 3.0, 2.0], temperature), [0, 1, 0])
    np.testing.assert_array_equal(next_token_probs([3.0, 3.0, 2.0], temperature), [0.5, 0.5, 0])
    assert generate(model_of(), [1], 12, temperature, rng=rng()) == generate(model_of(), [1], 12, 0)


@pytest.mark.parametrize("temperature", [1e6, 1e300])
def test_a_huge_temperature_is_nearly_uniform(temperature):
    np.testing.assert_allclose(next_token_probs([1.0, 300.0, -2.0], temperature), 1 / 3, rtol=1e-3)


def test_a_masked_token_has_no_chance():
    np.testing.assert_allclose(next_token_probs([0.0, -np.inf, 0.0], 0.5), [0.5, 0, 0.5])


def test_entropy_rises_with_temperature():
    logits = rng().normal(0, 3, size=V)
    entropies = []
    for temperature in (0.2, 0.5, 1.0, 2.0, 5.0):
        p = next_token_probs(logits, temperature)
        entropies.append(-(p * np.log(p)).sum())
    assert entropies == sorted(entropies) and entropies[-1] < math.log(V)


def test_the_logits_are_left_alone():
    logits = np.array([1.0, 2.0, 3.0], dtype=np.float32)
    next_token_probs(logits, 0.5, 2)
    np.testing.assert_array_equal(logits, [1, 2, 3])


@pytest.mark.parametrize("logits", [[], np.ones((2, 3)), 1.0, [np.nan, 1.0], [np.inf, 1.0],
                                    [-np.inf, -np.inf]], ids=str)
@pytest.mark.parametrize("temperature", [0, 1.0])
def test_logits_that_give_no_distribution(logits, temperature):
    with pytest.raises(ValueError, match="logits"):
        next_token_probs(logits, temperature)


BAD_TEMPERATURES = [-1, -1e-9, math.nan, math.inf, -math.inf, "a", "1", None, [1.0], 1j, 10**400]


@pytest.mark.parametrize("temperature", BAD_TEMPERATURES, ids=lambda t: repr(t)[:8])
def test_a_temperature_that_cannot_be(temperature):
    for use in (lambda: next_token_probs([1.0, 2.0], temperature),
                lambda: generate(model_of(), [0], 0, temperature)):
        with pytest.raises(ValueError, match="temperature must be"):
            use()


@pytest.mark.parametrize("top_k", [0, -1, 1.5, "a", math.nan, [1]])
def test_a_top_k_that_cannot_be(top_k):
    for use in (lambda: next_token_probs([1.0, 2.0], 1.0, top_k),
                lambda: generate(model_of(), [0], 0, 1.0, top_k)):
        with pytest.raises(ValueError, match="top_k must be"):
            use()


@pytest.mark.parametrize("top_p", [0, -0.1, 1.0001, 90, "a", "0.9", math.nan, math.inf, [1], 1j])
def test_a_top_p_that_cannot_be(top_p):
    for use in (lambda: next_token_probs([1.0, 2.0], top_p=top_p),
                lambda: generate(model_of(), [0], 0, top_p=top_p)):
        with pytest.raises(ValueError, match=f"top_p must be .* not {re.escape(repr(top_p))}"):
            use()


# Sampling


@pytest.mark.parametrize("temperature, top_k", [(1.0, None), (0.5, None), (2.0, 3), (1.0, 2)])
def test_tokens_are_drawn_as_often_as_they_should(temperature, top_k):
    logits, n = [1.0, -1.0, 0.3, 2.0, 0.3], 5_000
    probs = next_token_probs(logits, temperature, top_k)
    drawn = generate(Fixed(logits), [0], n, temperature, top_k, rng(3), use_cache=False)[1:]
    counts = np.bincount(drawn, minlength=5)
    likely = probs > 0
    assert (counts[~likely] == 0).all()
    chi_square = ((counts[likely] - n * probs[likely]) ** 2 / (n * probs[likely])).sum()
    assert chi_square < 25  # at 4 degrees of freedom, chance exceeds 25 once in 20,000
    pairs = np.bincount(5 * np.array(drawn[:-1]) + drawn[1:], minlength=25).reshape(5, 5) / n
    np.testing.assert_allclose(pairs, np.outer(probs, probs), atol=0.03)  # draws are independent


class Rolls(np.random.Generator):
    """A generator whose ``random`` gives one chosen number."""

    def __init__(self, roll):
        super().__init__(np.random.PCG64(0))
        self.roll = roll

    def random(self):
        return self.roll


@pytest.mark.parametrize("roll, expected", [
    (0.0, 1), (0.2499999, 1), (0.25, 3), (0.7499999, 3), (0.75, 4), (1 - 2**-53, 4),
])
def test_a_draw_never_lands_on_a_token_without_a_chance(roll, expected):
    assert sample(np.array([0.0, 0.25, 0.0, 0.5, 0.25, 0.0]), Rolls(roll)) == expected


def test_rounding_cannot_push_a_draw_over_the_edge():
    probs = np.full(10, 0.1)  # sums to 0.9999999999999999
    assert sample(probs, Rolls(1 - 2**-53)) == 9
    assert sample(np.array([0.3, 0.3, 0.4 + 1e-16, 0.0]), Rolls(1 - 2**-53)) == 2


# generate


def test_the_result_is_a_plain_list_that_begins_with_the_start():
    for start in ([3, 1], (3, 1), np.array([3, 1]), np.array([3, 1], np.uint8)):
        ids = generate(model_of(), start, 5, rng=rng())
        assert type(ids) is list and all(type(i) is int for i in ids)
        assert ids[:2] == [3, 1] and len(ids) == 7 and set(ids) <= set(range(V))


def test_the_start_is_not_changed():
    start = [3, 1]
    generate(model_of(), start, 5, rng=rng())
    assert start == [3, 1]


@pytest.mark.parametrize("use_cache", [True, False])
def test_no_new_tokens(use_cache):
    assert generate(model_of(), [3, 1], 0, use_cache=use_cache) == [3, 1]


def test_a_seed_gives_the_same_text_and_none_a_fresh_one():
    model = model_of(sure=False)
    assert generate(model, [0], 30, rng=rng(1)) == generate(model, [0], 30, rng=rng(1))
    assert generate(model, [0], 30, rng=rng(1)) != generate(model, [0], 30, rng=rng(2))
    assert generate(model, [0], 30) != generate(model, [0], 30)


@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy_takes_the_likeliest_each_time(use_cache):
    model = model_of()
    ids = generate(model, [2], 20, temperature=0, rng=rng(1), use_cache=use_cache)
    assert ids == generate(model, [2], 20, temperature=0, rng=rng(2), use_cache=use_cache)
    for n in range(1, 21):
        assert ids[n] == int(np.argmax(model(ids[:n][-T_MAX:]).data[-1]))


def test_greedy_ties_go_to_the_lowest_id():
    assert generate(Fixed([1.0, 4.0, 4.0]), [2], 3, 0, use_cache=False) == [2, 1, 1, 1]
    model = model_of()
    model.final_norm.weight.data[:], model.final_norm.bias.data[:] = 0, 1  # the same x everywhere
    model.head.weight.data[:] = [0, 0, 7, 1, 7, 0, 7, 0, 0]
    for use_cache in (True, False):
        assert generate(model, [0], 8, 0, use_cache=use_cache) == [0] + [2] * 8


def test_top_1_is_greedy():
    for temperature in (0.3, 1.0, 5.0):
        assert generate(model_of(), [2], 15, temperature, top_k=1, rng=rng()) == generate(
            model_of(), [2], 15, 0)


def test_top_k_above_the_vocabulary_is_all():
    for k in (V, V + 1, 10**6):
        assert generate(model_of(), [2], 15, top_k=k, rng=rng(4)) == generate(
            model_of(), [2], 15, rng=rng(4))


def test_generate_draws_from_the_nucleus_only():
    logits = np.log([0.05, 0.4, 0.15, 0.3, 0.1])
    drawn = generate(Fixed(logits), [0], 500, top_p=0.7, rng=rng(), use_cache=False)[1:]
    assert set(drawn) == {1, 3}
    assert generate(model_of(), [2], 15, top_p=1e-6, rng=rng()) == generate(model_of(), [2], 15, 0)


def test_no_gradient_is_kept():
    model = model_of()
    generate(model, [1], 3 * T_MAX, rng=rng())
    assert not any(np.any(p.grad) for p in model.parameters())


class Recorder(MiniGPT):
    """Remembers what logits came last and how many tokens were given."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.last, self.lengths = [], []

    def forward(self, ids, *args, **kwargs):
        out = super().forward(ids, *args, **kwargs)
        self.last.append(out.data[-1])
        self.lengths.append(len(ids))
        return out


@pytest.mark.parametrize("start_len", [1, 3, T_MAX - 1, T_MAX, T_MAX + 1, 3 * T_MAX])
@pytest.mark.parametrize("heads, layers", [(1, 1), (2, 3), (4, 2)])
def test_the_cache_changes_nothing(start_len, heads, layers):
    model = Recorder(V, 8, heads, layers, T_MAX, rng=rng())
    model.head.weight.data *= 20
    start = rng(7).integers(0, V, size=start_len).tolist()
    for seed, options in enumerate([{}, {"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.6}, {"temperature": 0}]):
        texts, logits = [], []
        for use_cache in (True, False):
            model.last.clear()
            texts.append(generate(model, start, 3 * T_MAX, rng=rng(seed), use_cache=use_cache,
                **options))
            logits.append(np.array(model.last))
        assert texts[0] == texts[1]
        np.testing.assert_allclose(logits[0], logits[1], rtol=0, atol=1e-10)


@pytest.mark.parametrize("seed", range(6))
def test_the_cache_in_float32_draws_the_same_tokens(seed):
    model = model_of(2, 3, np.float32, seed, max_seq_len=16)
    texts = [generate(model, [seed], 40, 0.8, rng=rng(seed), use_cache=c) for c in (True, False)]
    assert texts[0] == texts[1]


def test_the_cache_saves_work_and_the_window_is_cropped():
    model = Recorder(V, 8, 2, 2, T_MAX, rng=rng())
    generate(model, [1, 2], 8, rng=rng())
    assert model.lengths == [2, 1, 1, 1, 1, 6, 6, 6]
    model.lengths.clear()
    generate(model, [1, 2], 8, rng=rng(), use_cache=False)
    assert model.lengths == [2, 3, 4, 5, 6, 6, 6, 6]


def test_only_the_last_tokens_count():
    model, tail = model_of(), [4, 2, 8, 0, 1, 1]
    texts = [
        generate(model, head + tail, 10, rng=rng())[len(head):] for head in ([], [5], [3] * 20)
    ]
    assert texts[0] == texts[1] == texts[2]


def test_a_window_of_one_token():
    model = model_of(max_seq_len=1)
    texts = [generate(model, [3], 12, rng=rng(), use_cache=c) for c in (True, False)]
    assert texts[0] == texts[1] and len(texts[0]) == 13


def test_a_trained_model_goes_on_with_what_it_learnt():
    data = np.arange(200) % 4
    model = MiniGPT(4, 16, 1, 1, 8, rng=rng())
    train(model, data, steps=150, lr=1e-2, batch_size=8, rng=rng())
    assert generate(model, [1], 20, temperature=0) == [(1 + i) % 4 for i in range(21)]


@pytest.mark.parametrize("start, named", [
    ([], r"at least one start id.*\(0,\)"), ([0, V], f"{V} at position 1.*0 to {V - 1}"),
    ([-1], "-1 at position 0"), ([0.0], "float"), ("abc", "type"), ([[0, 1]], r"\(1, 2\)"),
    (3, r"\(\)"), (None, "None"), ([0, None], "object|None"), (np.zeros(0, int), r"\(0,\)"),
    ([99] + [0] * 20, "99 at position 0"),  # also where the window would crop it away
])
@pytest.mark.parametrize("use_cache", [True, False])
def test_starts_that_cannot_be(start, named, use_cache):
    with pytest.raises(ValueError, match=named):
        generate(model_of(), start, 3, use_cache=use_cache)


@pytest.mark.parametrize("count", [-1, 1.5, "3", None, math.inf])
def test_a_number_of_tokens_that_cannot_be(count):
    with pytest.raises(ValueError, match=f"max_new_tokens.*{count}"):
        generate(model_of(), [0], count)


@pytest.mark.parametrize("bad", [0, "seed", np.random.RandomState(0), np.random])
def test_rng_must_be_a_generator(bad):
    with pytest.raises(ValueError, match="rng must be a numpy Generator"):
        generate(model_of(), [0], 1, rng=bad)


@pytest.mark.parametrize("use_cache", [True, False])
def test_a_model_that_diverged_is_named(use_cache):
    model = model_of()
    model.head.weight.data[0, 2] = np.nan
    with pytest.raises(ValueError, match="nan"):
        generate(model, [0], 3, rng=rng(), use_cache=use_cache)
