"""The floor: the matrix products of one training step and nothing else.

No graph, no softmax, no optimiser, no memory to ask for: operands and results lie ready. What
a step takes beyond this is what an engine in numpy could still save.
"""

from __future__ import annotations

import numpy as np

from tools.benchmarks.sizes import Size


class Training:
    """``step()`` does every matrix product of a forward and a backward pass, in float32."""

    def __init__(self, size: dict):
        self.products = matrix_products(Size(**size))

    def step(self) -> None:
        for a, b, out in self.products:
            np.matmul(a, b, out=out)


def matrix_products(size: Size) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Operands and result of each product, in no order that matters."""
    dim, rows = size.embed_dim, size.batch_size * size.seq_len
    products = []
    for _ in range(size.num_layers):
        for d_in, d_out in ((dim, 3 * dim), (dim, dim), (dim, 4 * dim), (4 * dim, dim)):
            products += linear_products(rows, d_in, d_out)
        products += attention_products(size)
    return products + linear_products(rows, dim, size.vocab_size)


def linear_products(rows: int, d_in: int, d_out: int) -> list[tuple]:
    x, weight, out = ones(rows, d_in), ones(d_in, d_out), ones(rows, d_out)
    return [
        (x, weight, out),  # the result
        (out, weight.T, np.empty_like(x)),  # the gradient of x
        (x.T, out, np.empty_like(weight)),  # the gradient of weight
    ]


def attention_products(size: Size) -> list[tuple]:
    heads = size.batch_size, size.num_heads, size.seq_len
    q, scores = ones(*heads, size.embed_dim // size.num_heads), ones(*heads, size.seq_len)
    narrow, wide = np.empty_like(q), np.empty_like(scores)
    return [
        (q, q.swapaxes(-1, -2), wide),  # the scores
        (scores, q, narrow),  # the result
        (q, q.swapaxes(-1, -2), wide),  # the gradient of the weights
        (scores, q, narrow),  # ... of the queries
        (scores.swapaxes(-1, -2), q, narrow),  # ... of the keys
        (scores.swapaxes(-1, -2), q, narrow),  # ... of the values
    ]


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, dtype=np.float32)
