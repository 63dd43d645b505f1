"""The functions a GPT is made of, each as one node of the graph with its own backward rule.

Every one of them could be composed from the small operations of ``Tensor``; lessons 3 and 4 do so,
and the tests hold the two forms against each other. One node instead of many is what makes numpy
fast: fewer passes over memory and fewer Python calls.

Shapes: ``...`` stands for any leading axes, usually ``(T,)`` or ``(B, T)``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from minigpt_helpers.autograd import Tensor, stack
from minigpt_helpers.validation import check_ids


def _tiny_is_zero(function: Callable) -> Callable:
    """What is too small for its type becomes 0, as wanted, also where numpy is set to raise."""

    @functools.wraps(function)
    def again(*args, **options):
        try:
            return function(*args, **options)
        except FloatingPointError:
            with np.errstate(under="ignore"):
                return function(*args, **options)

    return again


@_tiny_is_zero
def softmax(x, axis: int = -1) -> Tensor:
    """``exp(x) / sum(exp(x))`` along ``axis``: positive numbers that add up to 1 (lesson 3).

    The maximum is subtracted first, which changes nothing but keeps ``exp`` from overflowing.
    Takes a tensor or a list of scalar tensors; gives a tensor of the same shape.
    """
    x = _stacked(x, axis, "softmax")
    probs = x.data.copy()
    _softmax_(np.moveaxis(probs, axis, -1))  # a view: what is written to it lands in probs

    def backward(grad):
        return (probs * (grad - (grad * probs).sum(axis=axis, keepdims=True)),)

    return Tensor.from_op(probs, (x,), backward)


def _softmax_(x: np.ndarray) -> np.ndarray:
    """The softmax along the last axis of ``x``, written over ``x``: no new memory."""
    x -= x.max(axis=-1, keepdims=True)
    np.exp(x, out=x)
    x /= _row_sums(x)
    return x


@_tiny_is_zero
def cross_entropy_loss(logits, targets) -> Tensor:
    """The mean of ``-log softmax(logits)[target]`` in nats per token, a scalar (lesson 5).

    ``logits`` ``(..., V)``: a tensor, or a list of lists of scalar tensors; ``targets`` ``(...)``:
    ids. Raises ``ValueError`` for shapes that don't belong together and for ids out of range.
    """
    logits = _stacked(logits, -1, "cross_entropy_loss")
    vocab_size = logits.shape[-1]
    targets = check_ids(targets, vocab_size)
    if targets.shape != logits.shape[:-1] or targets.size == 0:
        raise ValueError(
            f"logits of shape {logits.shape} need targets of shape {logits.shape[:-1]}, one id a "
            f"position, but the targets have shape {targets.shape}"
        )
    rows = np.arange(targets.size), targets.reshape(-1)
    z = logits.data.reshape(-1, vocab_size)  # (N, V)
    z = z - z.max(axis=1, keepdims=True)
    chosen = z[rows]  # (N,)
    exp = np.exp(z, out=z)  # (N, V): written over z, which is not needed any more
    total = _row_sums(exp)  # (N, 1)
    loss = (np.log(total).sum() - chosen.sum()) / targets.size

    def backward(grad):
        scale = grad / targets.size
        d_logits = exp * (scale / total)  # softmax minus one-hot, over N
        d_logits[rows] -= scale
        return (d_logits.reshape(logits.data.shape),)

    return Tensor.from_op(loss, (logits,), backward)


def embedding(weight: Tensor, ids, positions: Tensor | None = None, start: int = 0) -> Tensor:
    """Row ``weight[id]`` for each id: ``(V, D)`` and ids ``(...)`` give ``(..., D)`` (lesson 4).

    With ``positions`` ``(max_T, D)`` its rows from ``start`` on are added, one a position.
    """
    vocab_size, dim = weight.data.shape
    ids = check_ids(ids, vocab_size)

    def backward(grad):
        # One-hot rows (N, V) turn "add each gradient to its row" into one matrix product.
        one_hot = np.zeros((ids.size, vocab_size), dtype=grad.dtype)
        one_hot[np.arange(ids.size), ids.reshape(-1)] = 1
        d_weight = one_hot.T @ grad.reshape(-1, dim)
        if positions is None:
            return (d_weight,)
        d_positions = np.zeros(positions.shape, grad.dtype)
        d_positions[start:end] = grad if grad.ndim == 2 else grad.sum(axis=0)
        return d_weight, d_positions

    out = weight.data.take(ids, axis=0)  # (..., D)
    if positions is None:
        return Tensor.from_op(out, (weight,), backward)
    end = start + ids.shape[-1]
    out += positions.data[start:end]
    return Tensor.from_op(out, (weight, positions), backward)


@_tiny_is_zero
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight + bias``: ``(..., D_in)`` and ``(D_in, D_out)`` give ``(..., D_out)``.

    The ``bias`` ``(D_out,)`` may be left out.
    """
    d_in, d_out = weight.data.shape
    _check_input(x, "linear", d_in)
    shape = x.data.shape
    rows = x.data.reshape(-1, d_in)  # (N, D_in): one product for all positions of all texts
    out = rows @ weight.data
    if bias is not None:
        out += bias.data

    def backward(grad):
        grad = grad.reshape(-1, d_out)  # (N, D_out)
        grads = (grad @ weight.data.T).reshape(shape), rows.T @ grad
        return grads if bias is None else (*grads, _sum_rows(grad))

    parents = (x, weight) if bias is None else (x, weight, bias)
    return Tensor.from_op(out.reshape(*shape[:-1], d_out), parents, backward)


@_tiny_is_zero
def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """Each row of ``x`` ``(..., D)`` brought to mean 0 and variance 1, then scaled and shifted.

    Layer Normalization, Ba, Kiros and Hinton, 2016 (lesson 4).
    """
    dim = weight.data.size
    _check_input(x, "layer_norm", dim)
    rows = x.data.reshape(-1, dim)  # (N, D)
    average = _constant((dim, 1), 1 / dim, rows.dtype)  # rows @ average: the mean of each row
    normed = rows - rows @ average
    inv_std = (normed * normed) @ average  # (N, 1), so far the variance
    inv_std += eps
    np.sqrt(inv_std, out=inv_std)
    np.divide(1, inv_std, out=inv_std)
    normed *= inv_std
    out = normed * weight.data
    out += bias.data

    def backward(grad):
        grad = grad.reshape(-1, dim)
        d_weight = _sum_rows(grad * normed)
        d_rows = grad * weight.data  # (N, D), so far d_normed
        along = (d_rows * normed) @ average  # (N, 1)
        d_rows -= d_rows @ average
        d_rows -= normed * along
        d_rows *= inv_std
        return d_rows.reshape(x.data.shape), d_weight, _sum_rows(grad)

    return Tensor.from_op(out.reshape(x.data.shape), (x, weight, bias), backward)


_GELU_SCALE, _GELU_CUBIC = math.sqrt(2 / math.pi), 0.044715


@np.errstate(under="ignore", over="ignore")  # exp may become inf: the gate is then 0, as wanted
def gelu(x: Tensor) -> Tensor:
    """``0.5 x (1 + tanh(u))`` with ``u = sqrt(2/pi) (x + 0.044715 x^3)``, entry by entry.

    Gaussian Error Linear Units, Hendrycks and Gimpel, 2016, tanh form. Computed as
    ``x * sigmoid(2u)``, which is the same and faster (lesson 4).
    """
    _check_input(x, "gelu")
    a = x.data.reshape(-1)  # a single number, too, becomes an array
    gate = a * a  # a product: a power, a**3, would take longer than all the rest
    gate *= -2 * _GELU_SCALE * _GELU_CUBIC
    gate -= 2 * _GELU_SCALE
    gate *= a  # -2u
    np.exp(gate, out=gate)
    gate += 1
    np.divide(1, gate, out=gate)  # sigmoid(2u)
    out = a * gate

    def backward(grad):
        # d(a gate)/da = gate + a gate (1 - gate) d(2u)/da = gate + out (1 - gate) d(2u)/da
        slope = a * a
        slope *= 6 * _GELU_SCALE * _GELU_CUBIC
        slope += 2 * _GELU_SCALE  # d(2u)/da
        slope *= out
        slope *= 1 - gate
        slope += gate
        slope *= grad.reshape(-1)
        return (slope.reshape(x.data.shape),)

    return Tensor.from_op(out.reshape(x.data.shape), (x,), backward)


@np.errstate(under="ignore")  # not tried twice: a cache would grow twice
def attention(qkv: Tensor, num_heads: int, causal: bool = True, cache=None) -> Tensor:
    """Scaled dot-product attention in ``num_heads`` heads (lesson 3).

    ``qkv`` ``(..., T, 3D)`` holds queries, keys and values side by side; the result is
    ``(..., T, D)``. With ``causal`` position ``t`` sees positions up to ``t``: the others get a
    score of minus infinity and so a weight of exactly 0.

    A ``cache`` (lesson 6, see ``nn.KVCache``) adds earlier keys and values in front of the new
    ones; it serves generation, where no gradient is asked for.

    Attention Is All You Need, Vaswani et al., 2017.
    """
    _check_input(qkv, "attention")
    if qkv.ndim < 2 or num_heads < 1 or qkv.shape[-1] % (3 * num_heads):
        raise ValueError(f"{qkv.shape} is not (..., T, 3D) with D in num_heads={num_heads} parts")
    q, k, v = _split_heads(qkv.data, num_heads)  # each (B, H, T, D/H)
    q = q * (1 / math.sqrt(q.shape[-1]))
    if cache is not None:
        k, v = cache.append(k, v)
    weights = q @ k.swapaxes(-1, -2)  # (B, H, T, T), so far the scores
    if causal:
        weights += _causal_mask(*weights.shape[-2:], weights.dtype)
    _softmax_(weights)
    out = (weights @ v).swapaxes(1, 2)  # (B, T, H, D/H): the heads side by side again
    out = out.reshape(*qkv.shape[:-1], -1)  # (..., T, D)

    def backward(grad):
        d_out, head_out = (_split_heads(a, num_heads, parts=1)[0] for a in (grad, out))
        d_scores = d_out @ v.swapaxes(-1, -2)  # (B, H, T, T), so far d_weights
        d_scores -= _row_sums(d_out * head_out)  # the rows of weights * d_weights have this sum
        d_scores *= weights
        d_qkv = np.empty(qkv.shape, qkv.dtype)
        d_q, d_k, d_v = _split_heads(d_qkv, num_heads)  # views: writing to them fills d_qkv
        np.multiply(d_scores @ k, 1 / math.sqrt(q.shape[-1]), out=d_q)
        np.matmul(d_scores.swapaxes(-1, -2), q, out=d_k)
        np.matmul(weights.swapaxes(-1, -2), d_out, out=d_v)
        return (d_qkv,)

    return Tensor.from_op(out, (qkv,), backward)


@_tiny_is_zero
def attention_scores(qkv: np.ndarray, num_heads: int) -> np.ndarray:
    """The raw dot products of queries and keys, ``(..., T, 3D)`` to ``(..., H, T, T)``."""
    q, k, _ = _split_heads(qkv, num_heads)
    scores = q @ k.swapaxes(-1, -2)  # (B, H, T, T)
    return scores.reshape(*qkv.shape[:-2], *scores.shape[1:])


@_tiny_is_zero
def attention_weights(scores: np.ndarray, head_dim: int, causal: bool = True) -> np.ndarray:
    """Scores ``(..., T, T)`` scaled by ``1 / sqrt(head_dim)``, masked, and through the softmax."""
    scores = scores / math.sqrt(head_dim)
    if causal:
        scores += _causal_mask(*scores.shape[-2:], scores.dtype)
    return _softmax_(scores)


@functools.lru_cache(maxsize=16)
def _causal_mask(num_queries: int, num_keys: int, dtype: np.dtype) -> np.ndarray:
    """0 where a query may look, minus infinity where a key lies in its future, ``(T_q, T_k)``.

    The queries are the last ``num_queries`` of the ``num_keys`` positions.
    """
    mask = np.full((num_queries, num_keys), -np.inf, dtype=dtype)
    mask = np.triu(mask, k=1 + num_keys - num_queries)
    mask.flags.writeable = False  # it is shared by all calls
    return mask


def _split_heads(packed: np.ndarray, num_heads: int, parts: int = 3) -> np.ndarray:
    """``(..., T, parts * D)`` to ``(parts, B, H, T, D/H)``, a view; without a batch ``B`` is 1."""
    seq_len, width = packed.shape[-2:]
    split = packed.reshape(-1, seq_len, parts, num_heads, width // (parts * num_heads))
    return split.transpose(2, 0, 3, 1, 4)


def _sum_rows(x: np.ndarray) -> np.ndarray:
    """All rows of ``(N, D)`` added up, ``(D,)``. A product with ones is faster than ``sum``."""
    return _constant((len(x),), 1.0, x.dtype) @ x


def _row_sums(x: np.ndarray) -> np.ndarray:
    """The sum of each row, ``(..., N)`` to ``(..., 1)``."""
    return x @ _constant((x.shape[-1], 1), 1.0, x.dtype)


@functools.lru_cache(maxsize=64)
def _constant(shape: tuple[int, ...], value: float, dtype: np.dtype) -> np.ndarray:
    constant = np.full(shape, value, dtype=dtype)
    constant.flags.writeable = False  # it is shared by all calls
    return constant


def _stacked(x, axis: int, name: str) -> Tensor:
    """``x`` as a tensor, from lists of scalar tensors too, with something along ``axis``."""
    x = x if isinstance(x, Tensor) else stack(x)
    if not isinstance(axis, int) or not -x.ndim <= axis < x.ndim or not x.shape[axis]:
        raise ValueError(f"{name} needs at least one number along axis {axis}: shape {x.shape}")
    return x


def _check_input(x: Tensor, name: str, width: int | None = None) -> None:
    if not isinstance(x, Tensor):
        raise ValueError(f"{name} takes a Tensor, not {type(x).__name__}: Tensor({x!r:.60})")
    if width is not None and x.data.shape[-1:] != (width,):
        raise ValueError(f"{name} takes (..., {width}), but the input has shape {x.shape}")
