"""What the tests hold the package against: slow, obvious forms that share no line with it.

Plain loops over numpy arrays, slopes by finite differences, and the small-node forms: the same
functions composed from the small operations of ``Tensor``.
"""

from __future__ import annotations

import math

import numpy as np

from minigpt_helpers import Tensor


def slope(function, array: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """The gradient of ``function(array) -> float`` by central differences, entry by entry."""
    array = np.array(array, dtype=np.float64)
    gradient = np.zeros_like(array)
    for where in np.ndindex(array.shape):
        there = array[where]
        array[where] = there + step
        above = function(array)
        array[where] = there - step
        below = function(array)
        array[where] = there
        gradient[where] = (above - below) / (2 * step)
    return gradient


def assert_slopes_agree(build, *arrays, rtol: float = 1e-6, atol: float = 1e-7) -> None:
    """Every gradient of ``build(*tensors)`` against finite differences.

    A result that is not a single number is first weighted with fixed random numbers and summed,
    so that a gradient that ends up at the wrong place is seen.
    """
    arrays = [np.array(array, dtype=np.float64) for array in arrays]

    def loss(*tensors):
        out = build(*tensors)
        weights = np.random.default_rng(99).normal(size=out.shape)
        return (out * Tensor(weights)).sum()

    tensors = [Tensor(array) for array in arrays]
    loss(*tensors).backward()
    for i, tensor in enumerate(tensors):
        def at(value, i=i):
            others = [Tensor(a) for a in arrays]
            others[i] = Tensor(value)
            return loss(*others).item()

        expected = slope(at, arrays[i])
        assert tensor.grad.shape == arrays[i].shape
        np.testing.assert_allclose(
            tensor.grad, expected, rtol=rtol, atol=atol, err_msg=f"gradient of input {i}"
        )


# Plain loops


def loop_softmax(row) -> list[float]:
    largest = max(row)
    exp = [math.exp(z - largest) for z in row]
    return [e / sum(exp) for e in exp]


def loop_cross_entropy(logits, targets) -> float:
    """``logits`` ``(N, V)``, ``targets`` ``(N,)``."""
    losses = []
    for row, target in zip(logits, targets):
        largest = max(row)
        log_total = largest + math.log(sum(math.exp(z - largest) for z in row))
        losses.append(log_total - row[target])
    return sum(losses) / len(losses)


def loop_layer_norm(x, weight, bias, eps) -> np.ndarray:
    """``x`` ``(N, D)``."""
    out = np.zeros_like(x)
    for n, row in enumerate(x):
        mean = sum(row) / len(row)
        variance = sum((value - mean) ** 2 for value in row) / len(row)
        for d, value in enumerate(row):
            out[n, d] = (value - mean) / math.sqrt(variance + eps) * weight[d] + bias[d]
    return out


def loop_gelu(x: float) -> float:
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def loop_attention(qkv, num_heads: int, causal: bool) -> tuple[np.ndarray, np.ndarray]:
    """``qkv`` ``(T, 3D)``: the result ``(T, D)`` and the weights ``(H, T, T)``."""
    seq_len, width = qkv.shape
    dim = width // 3
    head_dim = dim // num_heads
    out, weights = np.zeros((seq_len, dim)), np.zeros((num_heads, seq_len, seq_len))
    for h in range(num_heads):
        columns = range(h * head_dim, (h + 1) * head_dim)
        for t in range(seq_len):
            seen = range(t + 1) if causal else range(seq_len)
            scores = [
                sum(qkv[t, c] * qkv[s, dim + c] for c in columns) / math.sqrt(head_dim)
                for s in seen
            ]
            for s, weight in zip(seen, loop_softmax(scores)):
                weights[h, t, s] = weight
                for c in columns:
                    out[t, c] += weight * qkv[s, 2 * dim + c]
    return out, weights


# Small nodes: the same functions from the small operations of Tensor


def small_softmax(x: Tensor, axis: int = -1) -> Tensor:
    exp = (x - x.max(axis=axis, keepdims=True).data).exp()
    return exp / exp.sum(axis=axis, keepdims=True)


def small_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x @ weight + bias


def small_layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    return centred / (variance + eps) ** 0.5 * weight + bias


def small_gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)).tanh())


def small_attention(qkv: Tensor, num_heads: int, causal: bool = True) -> Tensor:
    seq_len, dim = qkv.shape[-2], qkv.shape[-1] // 3
    head_dim, lead = dim // num_heads, qkv.shape[:-2]
    heads = qkv.reshape(*lead, seq_len, 3, num_heads, head_dim)
    n = len(lead)
    order = (*range(n), n + 1, n + 2, n, n + 3)  # (..., 3, H, T, D/H)
    heads = heads.transpose(*order)
    q, k, v = (heads[(slice(None),) * n + (part,)] for part in range(3))
    swap = (*range(n + 1), n + 2, n + 1)
    scores = q @ k.transpose(*swap) * (1 / math.sqrt(head_dim))  # (..., H, T, T)
    if causal:
        scores = scores + np.triu(np.full((seq_len, seq_len), -1e9), k=1)
    out = small_softmax(scores) @ v  # (..., H, T, D/H)
    back = (*range(n), n + 1, n, n + 2)
    return out.transpose(*back).reshape(*lead, seq_len, dim)


def small_cross_entropy(logits: Tensor, targets) -> Tensor:
    targets = np.asarray(targets).reshape(-1)
    rows = logits.reshape(-1, logits.shape[-1])
    probs = small_softmax(rows)[np.arange(len(targets)), targets]  # (N,)
    return -probs.log().mean()


def small_embedding(weight: Tensor, ids) -> Tensor:
    return weight[np.asarray(ids)]
