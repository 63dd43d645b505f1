"""The layers and the model (lessons 3 and 4): parameters, and how they are put together.

Layers take ``(T, D)`` and ``(B, T, D)``; ``...`` in a comment stands for ``(T,)`` or ``(B, T)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from minigpt_helpers.autograd import Tensor, no_grad
from minigpt_helpers.functional import (
    attention,
    attention_scores,
    attention_weights,
    embedding,
    gelu,
    layer_norm,
    linear,
)
from minigpt_helpers.validation import (
    check_dtype,
    check_ids,
    check_not_negative,
    check_rng,
    check_sizes,
)


class Module:
    """Base class of layers. Tensors and modules among its attributes are found by themselves, also
    in lists, tuples and dictionaries. Calling it calls ``forward``.
    """

    def __call__(self, *args, **kwargs) -> Tensor:
        return self.forward(*args, **kwargs)

    def forward(self, *args, **kwargs) -> Tensor:
        """What the layer computes."""
        raise NotImplementedError(f"{type(self).__name__} needs a method forward")

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Pairs of name and tensor, such as ``("blocks.0.attention.qkv.weight", ...)``.

        A tensor that is used in several layers comes once, under its first name.
        """
        yield from _named_tensors(prefix.removesuffix("."), self, seen=set())

    def parameters(self) -> list[Tensor]:
        """All parameters, in a fixed order."""
        return [parameter for _, parameter in self.named_parameters()]

    def num_parameters(self) -> int:
        """How many numbers the parameters hold."""
        return sum(parameter.size for parameter in self.parameters())

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of every parameter, by name."""
        return {name: parameter.data.copy() for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Sets every parameter. Where a name, shape or value does not fit: ``ValueError``, and
        nothing is changed.
        """
        own = dict(self.named_parameters())
        if not isinstance(state, Mapping):
            raise ValueError(f"a state is a dictionary as state_dict() makes it, not {state!r:.80}")
        missing = [name for name in own if name not in state]
        extra = [name for name in state if name not in own]
        if missing or extra:
            raise ValueError(f"the state does not fit: missing {missing}, unknown {extra}")
        new = {}
        for name, parameter in own.items():
            try:
                array = Tensor(state[name]).data
            except ValueError as error:
                raise ValueError(f"the state does not fit: {name}: {error}") from error
            if array.shape != parameter.shape:
                raise ValueError(
                    f"{name} has shape {parameter.shape}, but the state has {array.shape}"
                )
            new[name] = array.astype(parameter.dtype)
        for name, parameter in own.items():
            parameter.data = new[name]


def _named_tensors(name: str, value, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """The tensors in ``value``, each once: ``seen`` has the ids of all that were visited."""
    if id(value) in seen:
        return
    if isinstance(value, Tensor):
        seen.add(id(value))
        yield name, value
    elif isinstance(value, (Module, dict, list, tuple)):
        seen.add(id(value))
        within = vars(value) if isinstance(value, Module) else value
        pairs = within.items() if isinstance(within, dict) else enumerate(within)
        for key, item in pairs:
            yield from _named_tensors(f"{name}.{key}" if name else str(key), item, seen)


def _normal(rng, shape: tuple[int, ...], std: float, dtype) -> Tensor:
    check_not_negative(std=std)
    try:
        return Tensor(rng.normal(0.0, std, size=shape).astype(check_dtype(dtype)))
    except MemoryError as error:
        raise ValueError(f"a parameter of shape {shape} is too large for the memory") from error


class Linear(Module):
    """``x @ weight + bias``, ``(..., in_features)`` to ``(..., out_features)``.

    The weights start as normal numbers of standard deviation ``std``, by default
    ``1 / sqrt(in_features)``: outputs are then about as large as inputs. The bias starts at 0;
    with ``bias=False`` there is none, and ``self.bias`` is ``None``.
    """

    def __init__(
        self, in_features, out_features, *, bias=True, std=None, rng=None, dtype=np.float64
    ):
        check_sizes(in_features=in_features, out_features=out_features)
        std = 1 / math.sqrt(in_features) if std is None else std
        self.weight = _normal(check_rng(rng), (in_features, out_features), std, dtype)
        self.bias = Tensor(np.zeros(out_features, dtype=dtype)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class Embedding(Module):
    """A table with one row of numbers for each id: ids ``(...)`` to ``(..., embedding_dim)``."""

    def __init__(self, num_embeddings, embedding_dim, *, std=0.1, rng=None, dtype=np.float64):
        check_sizes(num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.weight = _normal(check_rng(rng), (num_embeddings, embedding_dim), std, dtype)

    def forward(self, ids) -> Tensor:
        return embedding(self.weight, ids)


class LayerNorm(Module):
    """Mean 0 and variance 1 in each row of ``(..., dim)``, then a learnt scale and shift."""

    def __init__(self, dim, eps=1e-5, *, rng=None, dtype=np.float64):
        check_sizes(dim=dim)
        check_not_negative(eps=eps)
        self.eps, dtype = eps, check_dtype(dtype)
        self.weight = Tensor(np.ones(dim, dtype=dtype))
        self.bias = Tensor(np.zeros(dim, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.weight, self.bias, self.eps)


class FeedForward(Module):
    """Two linear layers with a GELU between: every position by itself, ``(..., D)`` to same."""

    def __init__(self, embed_dim, hidden_dim=None, *, rng=None, dtype=np.float64):
        rng = check_rng(rng)
        hidden_dim = 4 * embed_dim if hidden_dim is None else hidden_dim
        self.expand = Linear(embed_dim, hidden_dim, rng=rng, dtype=dtype)
        self.contract = Linear(hidden_dim, embed_dim, rng=rng, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.contract(gelu(self.expand(x)))


class SelfAttention(Module):
    """Positions look at each other: ``(T, D)`` or ``(B, T, D)`` to the same shape (lesson 3).

    ``qkv`` makes queries, keys and values in one product (its weight is the three weights side
    by side); ``proj`` mixes the heads' results. ``embed_dim`` must be a multiple of ``num_heads``.
    """

    def __init__(self, embed_dim, num_heads=1, *, rng=None, dtype=np.float64):
        check_sizes(embed_dim=embed_dim, num_heads=num_heads)
        if embed_dim % num_heads:
            raise ValueError(
                f"embed_dim={embed_dim} can't be split into num_heads={num_heads} equal heads: "
                "num_heads must divide embed_dim"
            )
        rng = check_rng(rng)
        self.num_heads = num_heads
        self.qkv = Linear(embed_dim, 3 * embed_dim, rng=rng, dtype=dtype)
        self.proj = Linear(embed_dim, embed_dim, rng=rng, dtype=dtype)

    def forward(self, x: Tensor, causal: bool = True, cache: KVCache | None = None) -> Tensor:
        return self.proj(attention(self.qkv(x), self.num_heads, causal, cache))

    def scores(self, x: Tensor) -> np.ndarray:
        """The raw dot products of queries and keys, ``(..., num_heads, T, T)``."""
        with no_grad():
            return attention_scores(self.qkv(x).data, self.num_heads)

    def weights(self, x: Tensor, causal: bool = True) -> np.ndarray:
        """How much each position looks at each other, ``(..., num_heads, T, T)``: rows sum to 1."""
        return attention_weights(self.scores(x), x.shape[-1] // self.num_heads, causal)


class TransformerBlock(Module):
    """Attention, then feed-forward; each reads a normalized copy and adds its result (pre-norm)."""

    def __init__(self, embed_dim, num_heads=1, *, rng=None, dtype=np.float64):
        rng = check_rng(rng)
        self.norm1 = LayerNorm(embed_dim, dtype=dtype)
        self.attention = SelfAttention(embed_dim, num_heads, rng=rng, dtype=dtype)
        self.norm2 = LayerNorm(embed_dim, dtype=dtype)
        self.feed_forward = FeedForward(embed_dim, rng=rng, dtype=dtype)

    def forward(self, x: Tensor, causal: bool = True, cache: KVCache | None = None) -> Tensor:
        x = x + self.attention(self.norm1(x), causal, cache)  # (..., D)
        return x + self.feed_forward(self.norm2(x))  # (..., D)


class MiniGPT(Module):
    """A GPT: ids ``(T,)`` or ``(B, T)`` to logits ``(T, V)`` or ``(B, T, V)`` (lesson 4).

    After Language Models are Unsupervised Multitask Learners, Radford et al., 2019: pre-norm
    blocks, learnt positions, a final norm, a head without bias. Ids out of range, more than
    ``max_seq_len`` of them, or none: ``ValueError``.
    """

    vocab_size: int
    embed_dim: int
    num_heads: int
    num_layers: int
    max_seq_len: int

    def __init__(
        self,
        vocab_size,
        embed_dim,
        num_heads,
        num_layers,
        max_seq_len,
        *,
        rng=None,
        dtype=np.float64,
    ):
        sizes = dict(
            vocab_size=vocab_size,
            embed_dim=embed_dim,
            num_heads=num_heads,
            num_layers=num_layers,
            max_seq_len=max_seq_len,
        )
        check_sizes(**sizes)
        check_dtype(dtype)
        self.config = {name: int(size) for name, size in sizes.items()}
        vars(self).update(self.config)
        rng = check_rng(rng)
        self.token_embedding = Embedding(vocab_size, embed_dim, rng=rng, dtype=dtype)
        self.position_embedding = Embedding(max_seq_len, embed_dim, rng=rng, dtype=dtype)
        self.blocks = [
            TransformerBlock(embed_dim, num_heads, rng=rng, dtype=dtype) for _ in range(num_layers)
        ]
        self.final_norm = LayerNorm(embed_dim, dtype=dtype)
        # Small weights in the head: an untrained model is unsure, and its loss is about ln V.
        self.head = Linear(embed_dim, vocab_size, bias=False, std=0.02, rng=rng, dtype=dtype)
        # 2N results are added to the residual stream: smaller ones keep their sum as large as one.
        for block in self.blocks:
            block.attention.proj.weight.data /= math.sqrt(2 * num_layers)
            block.feed_forward.contract.weight.data /= math.sqrt(2 * num_layers)

    def forward(self, ids, causal: bool = True, cache: list[KVCache] | None = None) -> Tensor:
        x = self.embed(ids, start=cache[0].length if cache else 0)  # (..., D)
        for i, block in enumerate(self.blocks):
            x = block(x, causal, cache[i] if cache else None)  # (..., D)
        return self.head(self.final_norm(x))  # (..., V)

    def embed(self, ids, start: int = 0) -> Tensor:
        """Token plus position embedding, ``(..., D)``; the first position is ``start``."""
        ids = ids if isinstance(ids, np.ndarray) else check_ids(ids, self.vocab_size)
        if ids.ndim not in (1, 2) or ids.size == 0:
            raise ValueError(f"the model takes ids of shape (T,) or (B, T), not {ids.shape}")
        seq_len = start + ids.shape[-1]
        if seq_len > self.max_seq_len:
            raise ValueError(
                f"{seq_len} tokens are more than max_seq_len={self.max_seq_len}. Give the model "
                f"only the last {self.max_seq_len}: ids[-{self.max_seq_len}:]"
            )
        tokens, positions = self.token_embedding.weight, self.position_embedding.weight
        return embedding(tokens, ids, positions, start)  # (..., D): a row a token, a row a position

    def new_cache(self) -> list[KVCache]:
        """Empty key-value caches, one a layer, for ``forward(new_ids, cache=cache)`` (lesson 6)."""
        return [KVCache(self.max_seq_len) for _ in self.blocks]

    def attention_scores(self, ids) -> np.ndarray:
        """The raw dot products in every layer and head, ``(num_layers, ..., num_heads, T, T)``."""
        return self._look(ids, lambda block, x: block.attention.scores(x))

    def attention_weights(self, ids) -> np.ndarray:
        """The attention weights, ``(num_layers, num_heads, T, T)`` for ids ``(T,)``.

        Row ``t`` holds the weights with which position ``t`` looks at each position.
        """
        return self._look(ids, lambda block, x: block.attention.weights(x))

    def _look(self, ids, look) -> np.ndarray:
        seen = []
        with no_grad():
            x = self.embed(ids)  # (..., D)
            for block in self.blocks:
                seen.append(look(block, block.norm1(x)))
                x = block(x)
        return np.stack(seen)


class KVCache:
    """The keys and values of the positions seen so far, for one layer and one text (lesson 6)."""

    def __init__(self, max_seq_len: int):
        self.max_seq_len, self.length = max_seq_len, 0

    def append(self, k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Adds ``k`` and ``v`` ``(H, T_new, D/H)``; returns all so far, ``(H, T, D/H)`` each."""
        if self.length == 0:
            shape = (2, *k.shape[:-2], self.max_seq_len, k.shape[-1])
            self.keys, self.values = np.empty(shape, dtype=k.dtype)
        new = self.length + k.shape[-2]
        self.keys[..., self.length : new, :] = k
        self.values[..., self.length : new, :] = v
        self.length = new
        return self.keys[..., :new, :], self.values[..., :new, :]
