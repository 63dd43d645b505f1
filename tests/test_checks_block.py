"""Lesson 4's checks accept right answers in any style and name what is wrong with the others."""

import math

import numpy as np
import pytest

from minigpt_helpers import MiniGPT, Tensor, checks
from minigpt_helpers.checks.block import _count


def norm_by_loop(x, weight, bias, eps):
    out = np.zeros_like(x)
    for place in np.ndindex(x.shape[:-1]):
        row = x[place]
        mean = sum(row) / len(row)
        variance = sum((value - mean) ** 2 for value in row) / len(row)
        out[place] = [(v - mean) / math.sqrt(variance + eps) for v in row] * weight + bias
    return out


def norm_with(axis=-1, ddof=0):
    def norm(x, weight, bias, eps):
        left = x - x.mean(axis=axis, keepdims=True)
        return left / np.sqrt(x.var(axis=axis, ddof=ddof, keepdims=True) + eps) * weight + bias

    return norm


def norm_eps_outside(x, weight, bias, eps):
    left = x - x.mean(-1, keepdims=True)
    return left / (x.std(-1, keepdims=True) + eps) * weight + bias


def norm_without_eps(x, weight, bias, eps):
    left = x - x.mean(-1, keepdims=True)
    size = np.maximum(x.std(-1, keepdims=True), 1e-300)
    return left / size * weight + bias


def norm_without_ends(x, weight, bias, eps):
    return norm_with()(x, 1, 0, eps)


def norm_by_variance(x, weight, bias, eps):
    return (x - x.mean(-1, keepdims=True)) / (x.var(-1, keepdims=True) + eps) * weight + bias


def norm_without_mean(x, weight, bias, eps):
    return x / np.sqrt(x.var(-1, keepdims=True) + eps) * weight + bias


def pair(a, left=1.0, right=1.0):
    return np.array([[a, -a]]), np.array([[left], [right]])


def block_in_two_lines(x, block):
    x = x + block.attention(block.norm1(x))
    return x + block.feed_forward(block.norm2(x))


def block_without_residual(x, block):
    return block.feed_forward(block.norm2(block.attention(block.norm1(x))))


def block_without_norms(x, block):
    x = x + block.attention(x)
    return x + block.feed_forward(x)


def block_post_norm(x, block):
    x = block.norm1(x + block.attention(x))
    return block.norm2(x + block.feed_forward(x))


def block_from_normed(x, block):
    x = block.norm1(x)
    x = x + block.attention(x)
    x = block.norm2(x)
    return x + block.feed_forward(x)


def block_parallel(x, block):
    return x + block.attention(block.norm1(x)) + block.feed_forward(block.norm2(x))


def block_swapped(x, block):
    x = x + block.feed_forward(block.norm2(x))
    return x + block.attention(block.norm1(x))


def block_open(x, block):
    x = x + block.attention(block.norm1(x), causal=False)
    return x + block.feed_forward(block.norm2(x))


def block_one_norm(x, block):
    x = x + block.attention(block.norm1(x))
    return x + block.feed_forward(block.norm1(x))


def gpt(model, ids):
    x = model.token_embedding(ids) + model.position_embedding(np.arange(np.shape(ids)[-1]))
    for block in model.blocks:
        x = block(x)
    return model.head(model.final_norm(x))


def gpt_by_embed(model, ids):
    x = model.embed(ids)
    for block in model.blocks:
        x = block_in_two_lines(x, block)
    return model.head(model.final_norm(x)).data


def gpt_positions_by_id(model, ids):
    x = model.token_embedding(ids) + model.position_embedding(ids)
    for block in model.blocks:
        x = block(x)
    return model.head(model.final_norm(x))


def gpt_last_block_only(model, ids):
    x = model.embed(ids)
    for block in model.blocks:
        out = block(x)
    return model.head(model.final_norm(out))


def gpt_without_final_norm(model, ids):
    x = model.embed(ids)
    for block in model.blocks:
        x = block(x)
    return model.head(x)


def gpt_without_positions(model, ids):
    x = model.token_embedding(ids)
    for block in model.blocks:
        x = block(x)
    return model.head(model.final_norm(x))


def gpt_without_blocks(model, ids):
    return model.head(model.final_norm(model.embed(ids)))


def gpt_with_all_three_bugs(model, ids):
    x = model.token_embedding(ids) + model.position_embedding(ids)
    for block in model.blocks:
        out = block(x)
    return model.head(out)


def count_by_parts(V, D, N, T):
    total = V * D + T * D + 2 * D + D * V
    for _ in range(N):
        total += 4 * D + (D + 1) * 3 * D + (D + 1) * D + (D + 1) * 4 * D + (4 * D + 1) * D
    return total


RIGHT = [
    ("blind_pair", ("tac", "atc")),
    ("blind_pair", ["abab", "baab"]),
    ("blind_pair", ("ab", "aabb")),  # the same shares
    ("predict_normed_row", [-1, -0.33, -0.33, 1.67]),
    ("predict_normed_row", np.array([-3, -1, -1, 5]) / 3),
    ("layer_norm_rows", norm_by_loop),
    ("layer_norm_rows", norm_with()),
    ("abs_weights", pair(10, 0.1, 0.1)),
    ("abs_weights", (np.array([[-40.0, 40.0]]), np.array([[1 / 40], [1 / 40]]))),
    ("abs_weights", (np.array([[20.0, 1e-9, -20.0]]), np.array([[0.05], [0.0], [0.05]]))),
    ("predict_residual_slope", 2.59),
    ("predict_residual_slope", 1.1**10),
    ("block_forward", block_in_two_lines),
    ("block_forward", lambda x, block: block(x)),
    ("block_forward", lambda x, block: block(x).data),
    ("gpt_forward", gpt),
    ("gpt_forward", gpt_by_embed),
    ("count_parameters", count_by_parts),
    ("count_parameters", lambda V, D, N, T: 2 * V * D + T * D + N * (12 * D**2 + 13 * D) + 2 * D),
    ("predict_first_loss", 3.47),
    ("predict_first_loss", math.log(32)),
]

WRONG = [
    ("blind_pair", ("cat", "dog"), "Let it be the same in both"),
    ("blind_pair", ("cat", "act")[::-1] + ("tac",), "expected two texts"),
    ("blind_pair", ("cat", "cat"), "that differ"),
    ("blind_pair", ("abc", "dbc"), "which characters stand there"),
    ("blind_pair", ("aab", "abb"), "How often"),
    ("blind_pair", ("abc", "bca"), "The last character asks"),
    ("predict_normed_row", [-3, -1, -1, 5], "divide by the standard deviation"),
    ("predict_normed_row", [-1 / 3, -1 / 9, -1 / 9, 5 / 9], "9 is the variance"),
    ("predict_normed_row", [-0.866, -0.2887, -0.2887, 1.4434], "divided the sum of squares by 3"),
    ("predict_normed_row", [1 / 3, 1, 1, 3], "Subtract the mean first"),
    ("predict_normed_row", [1, 3, 3, 9], "Mean 4"),
    ("layer_norm_rows", norm_with(axis=-2), "axis=-1"),
    ("layer_norm_rows", norm_with(axis=None), "whole array"),
    ("layer_norm_rows", norm_with(ddof=1), "not by D - 1"),
    ("layer_norm_rows", norm_eps_outside, "under the root"),
    ("layer_norm_rows", norm_by_variance, "Take its root"),
    ("layer_norm_rows", norm_without_mean, "Subtract the mean"),
    ("layer_norm_rows", norm_without_ends, "scale and shift are missing"),
    ("layer_norm_rows", lambda x, w, b, eps: norm_with()(x, w, 0, eps), "The shift is missing"),
    ("layer_norm_rows", lambda x, w, b, eps: norm_with()(x, 1, b, eps), "The scale is missing"),
    ("layer_norm_rows", lambda x, w, b, eps: (norm_with()(x, 1, 0, eps) + b) * w, "First the scale"),
    ("layer_norm_rows", norm_without_eps, "variance + eps"),
    ("abs_weights", pair(1), "too round"),
    ("abs_weights", pair(10), "wrong slope"),
    ("abs_weights", pair(1, 1, -1), "Both halves"),
    ("abs_weights", (np.ones((2, 1)), np.ones((1, 2))), "One row of H"),
    ("abs_weights", np.ones((1, 2)), "tuple of two arrays"),
    ("abs_weights", (np.array([[5.0]]), np.array([[1.0]])), "Which two add up"),
    ("predict_residual_slope", 1e-10, "without the residual"),
    ("predict_residual_slope", 2, "multiplied"),
    ("predict_residual_slope", 1.1, "one layer"),
    ("predict_residual_slope", 1, "residual path alone"),
    ("predict_residual_slope", 5, "One layer has the slope"),
    ("block_forward", block_without_residual, "residual is missing"),
    ("block_forward", block_without_norms, "norms are missing"),
    ("block_forward", block_post_norm, "post-norm"),
    ("block_forward", block_from_normed, "to the normed copy"),
    ("block_forward", block_parallel, "read the same x"),
    ("block_forward", block_swapped, "First attention"),
    ("block_forward", block_open, "mask is off"),
    ("block_forward", block_one_norm, "norm2"),
    ("block_forward", lambda x, block: x + block.attention(block.norm1(x)), "second half"),
    ("block_forward", lambda x, block: x + block.feed_forward(block.norm2(x)), "first half"),
    ("block_forward", lambda x, block: x + block.feed_forward(
        block.norm2(x + block.attention(block.norm1(x)))), "not kept"),
    ("block_forward", lambda x, block: x, "Two lines of the same form"),
    ("gpt_forward", gpt_with_all_three_bugs, "0, 1, ..., T - 1"),
    ("gpt_forward", gpt_positions_by_id, "0, 1, ..., T - 1"),
    ("gpt_forward", gpt_last_block_only, "only the last block counts"),
    ("gpt_forward", gpt_without_final_norm, "final norm is missing"),
    ("gpt_forward", gpt_without_positions, "positions are missing"),
    ("gpt_forward", gpt_without_blocks, "blocks are missing"),
    ("count_parameters", lambda *sizes: _count(*sizes) + sizes[0], "no bias"),
    ("count_parameters", lambda V, D, N, T: _count(V, D, N, T) - V * D, "V D each"),
    ("count_parameters", lambda V, D, N, T: _count(V, D, N, T) - 2 * D, "final norm"),
    ("count_parameters", lambda V, D, N, T: _count(V, D, N, T) - T * D, "position embedding"),
    ("count_parameters", lambda V, D, N, T: _count(V, D, N, T) - 2 * N * D, "two norms"),
    ("count_parameters", lambda V, D, N, T: _count(V, D, N, T) - 9 * N * D, "biases in the blocks"),
    ("count_parameters", lambda V, D, N, T: _count(V, D, 1, T), "There are N"),
    ("count_parameters", lambda V, D, N, T: 2 * V * D + T * D + 12 * N * D * D, "Only the matrices"),
    ("predict_first_loss", 5, "in bits"),
    ("predict_first_loss", 1 / 32, "minus its logarithm"),
    ("predict_first_loss", -3.47, "not negative"),
    ("predict_first_loss", 0, "sure and right"),
    ("predict_first_loss", 32, "about the same chance"),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_a_right_answer_is_accepted(name, answer):
    result = getattr(checks, name)(answer)
    assert result.passed and result.score == 1.0, result.message


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_a_wrong_answer_is_refused_with_the_fitting_hint(name, answer, hint):
    result = getattr(checks, name)(answer)
    assert not result.passed and result.message.startswith("not yet"), result.message
    assert hint in result.message


def blanks(x, block):
    x = ...
    return ...  # noqa: RET504


def half_blank(x, block):
    x = x + ...
    return x


STUBS = {
    "layer_norm_rows": [lambda x, weight, bias, eps: ...],
    "block_forward": [blanks, half_blank],
    "gpt_forward": [lambda model, ids: ...],
    "count_parameters": [lambda V, D, N, T: ...],
}


@pytest.mark.parametrize("name", [entry.name for entry in checks.catalogue(4)])
def test_a_stub_is_not_done_yet(name):
    for stub in (None, ..., *STUBS.get(name, [])):
        result = getattr(checks, name)(stub)
        assert not result.passed and result.message.startswith("not done yet"), result.message


def test_every_check_of_the_lesson_is_tested_here():
    names = {entry.name for entry in checks.catalogue(4)}
    assert names
    for name in names:
        assert sum(case[0] == name for case in RIGHT) >= 2, name
        assert sum(case[0] == name for case in WRONG) >= 4, name


@pytest.mark.parametrize("sizes", [(5, 4, 1, 3), (32, 64, 2, 64)])
def test_the_formula_counts_what_the_model_has(sizes):
    V, D, N, T = sizes
    assert _count(*sizes) == MiniGPT(V, D, 1, N, T).num_parameters()


def test_the_reference_norm_is_the_packages():
    from minigpt_helpers.checks.block import _gelu, _layer_norm
    from minigpt_helpers.functional import gelu, layer_norm

    rng = np.random.default_rng(0)
    x, (weight, bias) = rng.normal(size=(3, 5)), rng.normal(size=(2, 5))
    package = layer_norm(Tensor(x), Tensor(weight), Tensor(bias), 0.1).data
    np.testing.assert_allclose(_layer_norm(x, weight, bias, 0.1), package, rtol=1e-12)
    np.testing.assert_allclose(_gelu(x), gelu(Tensor(x)).data, rtol=1e-12)
