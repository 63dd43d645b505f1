"""Answers to the exercises of lesson 4."""

from __future__ import annotations

import math

import numpy as np


def norm_by_loop(x, weight, bias, eps):
    out = np.zeros_like(x)
    for at in np.ndindex(x.shape[:-1]):
        row = x[at]
        mean = sum(row) / len(row)
        variance = sum((value - mean) ** 2 for value in row) / len(row)
        out[at] = [(v - mean) / math.sqrt(variance + eps) for v in row] * weight + bias
    return out


def norm_with(axis=-1, ddof=0):
    def norm(x, weight, bias, eps):
        left = x - x.mean(axis=axis, keepdims=True)
        return left / np.sqrt(x.var(axis=axis, ddof=ddof, keepdims=True) + eps) * weight + bias

    return norm


def pair(a, left=1.0, right=1.0):
    return np.array([[a, -a]]), np.array([[left], [right]])


def block_in_two_lines(x, block):
    x = x + block.attention(block.norm1(x))
    return x + block.feed_forward(block.norm2(x))


def gpt(model, ids):
    x = model.token_embedding(ids) + model.position_embedding(np.arange(np.shape(ids)[-1]))
    for block in model.blocks:
        x = block(x)
    return model.head(model.final_norm(x))


def gpt_by_embed(model, ids):
    x = model.embed(ids)
    for block in model.blocks:
        x = block_in_two_lines(x, block)
    return model.head(model.final_norm(x))


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
    ("gpt_forward", gpt),
    ("gpt_forward", gpt_by_embed),
    ("count_parameters", count_by_parts),
    ("count_parameters", lambda V, D, N, T: 2 * V * D + T * D + N * (12 * D**2 + 13 * D) + 2 * D),
    ("predict_first_loss", 3.47),
    ("predict_first_loss", math.log(32)),
]

WRONG = [
    ("blind_pair", ("cat", "dog"), "Let it be the same in both"),
    ("blind_pair", ("cat", "act", "tac"), "expected two texts"),
    ("blind_pair", ("cat", "cat"), "that differ"),
    ("blind_pair", ("abc", "dbc"), "which characters are there"),
    ("blind_pair", ("aab", "bab"), "How often"),
    ("blind_pair", ("abc", "bca"), "The last character asks"),
    ("predict_normed_row", [1, 3, 3, 9], "Mean 4"),
    ("abs_weights", pair(1), "too round"),
    ("abs_weights", pair(10), "wrong slope"),
    ("abs_weights", pair(1, 1, -1), "Both halves"),
    ("abs_weights", (np.ones((2, 1)), np.ones((1, 2))), "One row of H"),
    ("abs_weights", np.ones((1, 2)), "tuple of two arrays"),
    ("abs_weights", (np.array([[5.0]]), np.array([[1.0]])), "Which two add up"),
    ("predict_residual_slope", 5, "One layer has the slope"),
    ("block_forward", lambda x, block: block(x).data, "expected a Tensor"),
    ("gpt_forward", lambda model, ids: model(ids).data, "expected a Tensor"),
    ("predict_first_loss", 32, "about the same probability"),
]
