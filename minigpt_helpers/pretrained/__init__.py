"""A model trained in advance, for lessons that question one before lesson 5 trains one.

It is nothing special: ``train_rhymes`` is lesson 5 with more steps, and
``python -m minigpt_helpers.pretrained`` makes the shipped file anew (about two minutes).
"""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np

from minigpt_helpers.checkpoints import load_checkpoint
from minigpt_helpers.corpora import load_corpus
from minigpt_helpers.nn import MiniGPT
from minigpt_helpers.optim import AdamW, cosine_schedule
from minigpt_helpers.text import CharTokenizer, train_val_split
from minigpt_helpers.training import History, train


def load_pretrained(name: str = "rhymes") -> tuple[MiniGPT, CharTokenizer]:
    """The shipped model and its tokenizer. Only ``"rhymes"`` is shipped: else ``ValueError``."""
    if name != "rhymes":
        raise ValueError(f"there is no trained model {name!r}: only 'rhymes' is shipped")
    with as_file(files(__package__) / f"{name}.safetensors") as path:
        return load_checkpoint(path)


def train_rhymes(steps: int = 2000) -> tuple[MiniGPT, CharTokenizer, History]:
    """How the shipped model was made, seed and all."""
    text = load_corpus("rhymes")
    tokenizer = CharTokenizer.from_text(text)
    train_data, val_data = train_val_split(tokenizer.encode(text))
    rng = np.random.default_rng(0)
    model = MiniGPT(
        tokenizer.vocab_size, embed_dim=64, num_heads=4, num_layers=2, max_seq_len=64, rng=rng
    )
    history = train(
        model, train_data, val_data=val_data, steps=steps, batch_size=16, rng=rng,
        optimizer=AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0.1),
        lr=cosine_schedule(3e-3, steps, warmup_steps=min(100, steps // 2), min_lr=3e-4),
    )
    return model, tokenizer, history
