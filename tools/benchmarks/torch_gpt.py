"""PyTorch's side: the same model from PyTorch's own layers, written as nanoGPT writes it."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from minigpt_helpers import get_batch
from tools.benchmarks.ours import make_model
from tools.benchmarks.quality import ADAMW, CLIP, Run
from tools.benchmarks.sizes import Size


class SelfAttention(nn.Module):
    def __init__(self, embed_dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, x):
        B, T, D = x.shape
        q, k, v = (
            part.view(B, T, self.num_heads, D // self.num_heads).transpose(1, 2)  # (B, H, T, D/H)
            for part in self.qkv(x).split(D, dim=2)
        )
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, H, T, D/H)
        return self.proj(out.transpose(1, 2).contiguous().view(B, T, D))


class FeedForward(nn.Module):
    def __init__(self, embed_dim: int):
        super().__init__()
        self.expand = nn.Linear(embed_dim, 4 * embed_dim)
        self.contract = nn.Linear(4 * embed_dim, embed_dim)

    def forward(self, x):
        return self.contract(F.gelu(self.expand(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, embed_dim: int, num_heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dim)
        self.attention = SelfAttention(embed_dim, num_heads)
        self.norm2 = nn.LayerNorm(embed_dim)
        self.feed_forward = FeedForward(embed_dim)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))  # (B, T, D)
        return x + self.feed_forward(self.norm2(x))  # (B, T, D)


class TorchGPT(nn.Module):
    """Its parameters have the names of ``MiniGPT``'s, and start from the weights in ``state``."""

    def __init__(self, size: Size, state: dict[str, np.ndarray]):
        super().__init__()
        self.max_seq_len = size.seq_len
        self.token_embedding = nn.Embedding(size.vocab_size, size.embed_dim)
        self.position_embedding = nn.Embedding(size.seq_len, size.embed_dim)
        self.blocks = nn.ModuleList(
            Block(size.embed_dim, size.num_heads) for _ in range(size.num_layers)
        )
        self.final_norm = nn.LayerNorm(size.embed_dim)
        self.head = nn.Linear(size.embed_dim, size.vocab_size, bias=False)
        for name, parameter in self.named_parameters():
            is_linear = parameter.ndim == 2 and "embedding" not in name
            value = state[name].T if is_linear else state[name]  # PyTorch keeps (D_out, D_in)
            parameter.data = torch.from_numpy(np.array(value, order="C"))

    def forward(self, ids, targets=None):
        """The loss with targets ``(B, T)``; without them the last position's logits ``(B, 1, V)``."""
        positions = torch.arange(ids.shape[1])
        x = self.token_embedding(ids) + self.position_embedding(positions)  # (B, T, D)
        for block in self.blocks:
            x = block(x)
        x = self.final_norm(x)
        if targets is None:
            return self.head(x[:, [-1]])
        logits = self.head(x)  # (B, T, V)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))


class Training:
    """Whole training steps. ``fused`` asks for the faster of PyTorch's two forms of AdamW."""

    def __init__(self, size: dict, fused: bool = False):
        size = Size(**size)
        self.model = TorchGPT(size, make_model(size).state_dict())
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=fused or None)
        self.batches = itertools.cycle(
            [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in size.batches()]
        )

    def step(self) -> float:
        x, y = next(self.batches)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.model(x, y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Generation:
    """Writing ``length`` characters from one start token; everything is recomputed each time."""

    def __init__(self, size: dict, length: int):
        size = Size(**size)
        self.model, self.length = TorchGPT(size, make_model(size).state_dict()), length

    @torch.inference_mode()
    def step(self) -> list[int]:
        ids = torch.zeros((1, 1), dtype=torch.long)
        for _ in range(self.length):
            logits = self.model(ids[:, -self.model.max_seq_len :])[:, -1]  # (1, V)
            new = torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)
            ids = torch.cat([ids, new], dim=1)
        return ids[0].tolist()


class TorchRun(Run):
    """PyTorch's half of ``quality``."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.model = TorchGPT(self.size, self.first_model.state_dict())
        self.optimizer = torch.optim.AdamW(self.model.parameters(), **ADAMW)
        self.num_steps = 0

    def train_block(self) -> None:
        for _ in range(self.steps_a_block):
            self.num_steps += 1
            self.optimizer.param_groups[0]["lr"] = self.schedule(self.num_steps)
            x, y = get_batch(self.data, self.size.seq_len, self.size.batch_size, self.rng)
            self.optimizer.zero_grad(set_to_none=True)
            self.model(torch.from_numpy(x), torch.from_numpy(y)).backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
            self.optimizer.step()

    @torch.inference_mode()
    def loss(self, x, y) -> float:
        return self.model(torch.from_numpy(x), torch.from_numpy(y)).item()
