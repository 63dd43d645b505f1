"""The model sizes that are compared."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Size:
    vocab_size: int
    embed_dim: int
    seq_len: int
    batch_size: int
    num_layers: int
    num_heads: int

    def model_sizes(self) -> dict[str, int]:
        """The arguments of ``MiniGPT``."""
        sizes = asdict(self)
        del sizes["batch_size"]
        return sizes | {"max_seq_len": sizes.pop("seq_len")}

    def batches(self, count: int = 32) -> list[tuple[np.ndarray, np.ndarray]]:
        """Random inputs and targets, ``(B, T)`` each, always the same ones."""
        shape = (count, 2, self.batch_size, self.seq_len)
        ids = np.random.default_rng(0).integers(0, self.vocab_size, shape)
        return [(x, y) for x, y in ids]

    def __str__(self) -> str:
        return (
            f"V={self.vocab_size} D={self.embed_dim} T={self.seq_len} B={self.batch_size} "
            f"layers={self.num_layers} heads={self.num_heads}"
        )


SIZES = {
    "lesson": Size(65, 32, 32, 16, 2, 1),
    "nanogpt": Size(65, 128, 64, 12, 4, 4),  # nanoGPT's configuration for a CPU
    "microgpt": Size(27, 16, 16, 1, 1, 4),
    "larger": Size(65, 256, 128, 16, 6, 8),
}
