"""The ablation bench: its models, the shipped numbers, what it says and draws."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from minigpt_helpers.nn import MiniGPT
from minigpt_helpers.training import evaluate
from minigpt_helpers.widgets import BlockBench
from minigpt_helpers.widgets.block_bench import (
    EVERY,
    PARTS,
    SIZE,
    STEPS,
    AblatedGPT,
    bench_axes,
    bench_in_words,
    bench_state,
    key_of,
    load_results,
    measure_start,
    new_model,
    own_share,
    short,
    train_variant,
    writing_loss,
)

COMBINATIONS = [dict(zip(PARTS, values)) for values in product([True, False], repeat=4)]
IDS = np.random.default_rng(3).integers(0, 9, size=(2, 8))


def small(**parts):
    return AblatedGPT(9, 8, 2, 3, 8, rng=np.random.default_rng(0), **parts)


# ---- the models ---------------------------------------------------------------------------------


def test_with_all_parts_it_is_the_packages_model():
    whole = small()
    package = MiniGPT(**whole.config)
    package.load_state_dict(whole.state_dict())
    np.testing.assert_allclose(whole(IDS).data, package(IDS).data, rtol=1e-12, atol=1e-14)


def test_without_the_mask_it_is_the_packages_model_without_the_mask():
    model = small(mask=False)
    package = MiniGPT(**model.config)
    package.load_state_dict(model.state_dict())
    expected = package(IDS, causal=False).data
    np.testing.assert_allclose(model(IDS).data, expected, rtol=1e-12, atol=1e-14)


def test_without_positions_and_mask_a_shuffle_goes_straight_through():
    order = np.random.default_rng(1).permutation(8)
    blind, seeing = small(positions=False, mask=False), small(mask=False)
    np.testing.assert_allclose(blind(IDS[:, order]).data, blind(IDS).data[:, order], atol=1e-12)
    assert not np.allclose(seeing(IDS[:, order]).data, seeing(IDS).data[:, order])


def test_without_residual_the_embedding_does_not_reach_the_end_by_itself():
    model = small(residual=False)
    for block in model.blocks:
        for layer in (block.attention.proj, block.feed_forward.contract):
            layer.weight.data[:] = 0
    assert not np.any(model.stream(IDS)[-1].data)
    whole = small()
    whole.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(whole.stream(IDS)[-1].data, whole.embed(IDS).data)


def test_without_norm_its_parameters_are_not_used():
    model = small(norm=False)
    model(IDS).sum().backward()
    used = {name for name, parameter in model.named_parameters() if parameter.grad.any()}
    assert used and not any("norm" in name for name in used)


def test_all_start_with_the_same_weights():
    states = [new_model(**parts)[0].state_dict() for parts in (COMBINATIONS[0], COMBINATIONS[-1])]
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])
    assert abs(np.std(states[0]["token_embedding.weight"]) - 1) < 0.1


def test_the_share_that_differs_between_positions():
    same = np.ones((2, 5, 3)) * np.arange(1, 4)
    assert own_share(same) == 0.0
    alternating = np.ones((1, 4, 1)) * np.array([1, -1, 1, -1])[:, None]
    assert own_share(alternating) == 1.0
    assert own_share(alternating + 1) == 0.5


def test_while_writing_the_loss_is_the_ordinary_one_if_the_future_is_hidden():
    data = np.random.default_rng(2).integers(0, 9, size=8 * 4 + 1)
    model = small()
    starts = np.linspace(0, len(data) - 9, 4).astype(int)
    assert list(starts) == [0, 8, 16, 24]
    assert math.isclose(
        writing_loss(model, data, windows=4), evaluate(model, data, 8), rel_tol=1e-10
    )
    cheat = small(mask=False)
    assert not math.isclose(
        writing_loss(cheat, data, windows=4), evaluate(cheat, data, 8), rel_tol=1e-3
    )


# ---- the shipped numbers ------------------------------------------------------------------------


@pytest.mark.parametrize("parts", COMBINATIONS, ids=lambda parts: key_of(**parts))
def test_the_shipped_start_is_what_the_recipe_measures(parts):
    shipped = load_results()["variants"][key_of(**parts)]
    for name, value in measure_start(**parts).items():
        np.testing.assert_allclose(value, shipped[name], rtol=1e-3, atol=2e-4, err_msg=name)


@pytest.mark.parametrize("key", ["1111", "1100"])
def test_the_shipped_curves_begin_as_the_recipe_trains(key):
    parts = dict(zip(PARTS, (letter == "1" for letter in key)))
    shipped = load_results()["variants"][key]["curve"]
    np.testing.assert_allclose(train_variant(steps=EVERY, **parts)["curve"], shipped[:1], rtol=1e-3)


def test_the_shipped_results_are_whole():
    results = load_results()
    assert set(results["variants"]) == {key_of(**parts) for parts in COMBINATIONS}
    assert math.isclose(results["uniform_loss"], math.log(32), rel_tol=1e-3)
    for variant in results["variants"].values():
        assert len(variant["activations"]) == len(variant["own_share"]) == SIZE["num_layers"] + 1
        assert len(variant["gradients"]) == SIZE["num_layers"]
        assert len(variant["curve"]) * results["every"] == STEPS
        assert variant["train_loss"] == variant["curve"][-1]
        assert variant["sample"].startswith("the ") and len(variant["sample"]) == 124
        assert np.isfinite(variant["curve"]).all()


def test_the_numbers_say_what_the_lesson_says():
    variants = load_results()["variants"]
    whole, frequencies = variants["1111"], load_results()["frequency_loss"]
    assert whole["train_loss"] < 1.9 and abs(whole["writing_loss"] - whole["train_loss"]) < 0.1
    assert variants["1110"]["train_loss"] < 0.1 and variants["1110"]["writing_loss"] > 5
    assert variants["1100"]["train_loss"] > 1.8, "without positions there is nothing to copy from"
    assert variants["1011"]["gradients"][0] > 10 * variants["1011"]["gradients"][-1]
    assert variants["1011"]["activations"][-1] > 10 * variants["1011"]["activations"][0]
    for key, variant in variants.items():
        if key.startswith("0"):
            assert abs(variant["train_loss"] - frequencies) < 0.02, key
            assert variant["own_share"][-1] < 0.02, key


# ---- the widget ---------------------------------------------------------------------------------


def test_the_state_of_each_combination():
    results = load_results()
    for parts in COMBINATIONS:
        state = bench_state(results, **parts)
        variant = results["variants"][key_of(**parts)]
        assert state["curve"] == variant["curve"]
        assert state["growth"] == variant["activations"][-1] / variant["activations"][0]
        assert state["slope"] == variant["gradients"][0] / variant["gradients"][-1]
        assert state["whole"] is results["variants"]["1111"]


def test_in_words():
    assert [short(x) for x in (0.00312, 0.012, 1.0, 26.04, 566.2)] == [
        "3e-3",
        "0.01",
        "1.00",
        "26.0",
        "566",
    ]
    state = {"growth": 20.0, "slope": 0.5, "train_loss": 2.0, "writing_loss": 3.456}
    parts = dict.fromkeys(PARTS, True)
    assert bench_in_words(state, parts).startswith(
        "The whole model: before training the stream ends 20.0"
    )
    words = bench_in_words(state, parts | {"norm": False, "mask": False})
    assert words.startswith("Without norm, mask: ") and words.endswith("3.46 while writing.")


def test_all_sizes_and_gradients_fit_their_axes():
    results = load_results()
    axes = bench_axes(results)
    for name in ("activations", "gradients"):
        low, high = axes[name]
        values = [x for variant in results["variants"].values() for x in variant[name]]
        assert low <= min(values) < 10 * low and high / 10 < max(values) <= high


def test_the_widget_starts_with_the_parts_it_is_given():
    assert BlockBench().parts() == dict.fromkeys(PARTS, True)
    bench = BlockBench(residual=False, mask=False)
    assert bench.parts() == {"residual": False, "norm": True, "positions": True, "mask": False}
    assert bench.state()["train_loss"] == load_results()["variants"]["0110"]["train_loss"]
    bench.residual = True
    assert bench.state()["train_loss"] == load_results()["variants"]["1110"]["train_loss"]


def test_the_picture_and_its_alt_text():
    figure, alt = BlockBench(norm=False).still()
    trained = load_results()["variants"]["1011"]
    assert "Without norm" in alt and f"the loss is {trained['train_loss']:.2f}" in alt
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["size of the stream", "gradient of each block", "loss during training"]
    own = figure.axes[0].lines[1].get_ydata()
    np.testing.assert_array_equal(own, trained["activations"])
    assert list(figure.axes[2].lines[1].get_xdata()[[0, -1]]) == [EVERY, STEPS]
