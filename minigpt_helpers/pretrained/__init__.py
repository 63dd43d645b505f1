"""Models trained in advance, for lessons that question one before lesson 5 trains one.

They are nothing special: each recipe below is lesson 5 with more steps, and
``python -m minigpt_helpers.pretrained NAME [FILE]`` follows it and makes the shipped file anew:
``names`` in 15 seconds, ``verse`` in minutes, ``rhymes`` in about 25 and ``shakespeare``
in about 70 minutes of processor time.

The text of ``shakespeare`` is not shipped, it is read from ``FILE``: *tiny Shakespeare*, the excerpt
of the plays that A. Karpathy published with char-rnn in 2015
(``karpathy/char-rnn``, ``data/tinyshakespeare/input.txt``), by which small models are compared
since. The plays are in the public domain.

A second run gives another model where two threads share the batches, as for ``rhymes`` and
``shakespeare``: which of them draws its dropout first is up to the machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files

import numpy as np

from minigpt_helpers.checkpoints import load_checkpoint
from minigpt_helpers.corpora import load_corpus
from minigpt_helpers.graph import is_recording
from minigpt_helpers.nn import MiniGPT, Module
from minigpt_helpers.optim import AdamW, cosine_schedule
from minigpt_helpers.text import CharTokenizer, train_val_split
from minigpt_helpers.training import History, train

PRETRAINED = ("names", "rhymes", "shakespeare", "verse")
SHAKESPEARE_LENGTH = 1_115_394
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"

Trained = tuple[MiniGPT, CharTokenizer, History]


def load_pretrained(name: str = "verse") -> tuple[MiniGPT, CharTokenizer]:
    """The shipped model of that name and its tokenizer, in float64; else ``ValueError``."""
    if name not in PRETRAINED:
        known = ", ".join(map(repr, PRETRAINED))
        raise ValueError(f"there is no trained model {name!r}. Those shipped are {known}.")
    with as_file(files(__package__) / f"{name}.safetensors") as path:
        return load_checkpoint(path)


def train_names(steps: int = 1200) -> Trained:
    """How the shipped model ``names`` was made, seed and all."""
    return _train(
        load_corpus("names"), steps, warmup=100, rates=(5e-3, 5e-4), batch_size=32,
        embed_dim=48, num_heads=4, num_layers=2, max_seq_len=32, dtype=np.float32,
    )


def train_verse(steps: int = 2000) -> Trained:
    """How the shipped model ``verse`` was made, which the lessons question."""
    return _train(
        load_corpus("verse"), steps, warmup=100, rates=(3e-3, 3e-4), batch_size=16,
        embed_dim=64, num_heads=4, num_layers=2, max_seq_len=64, dtype=np.float64,
    )


def train_rhymes(steps: int = 7500) -> Trained:
    """How the shipped model ``rhymes`` was made: it reads the ends of lines before whole lines.

    Of the characters of a line those that rhyme are few and far from what they rhyme with: trained
    on whole lines alone, a model of this size rhymes at chance after 2,500 steps. In the last words
    alone they are about half. Some of what was learnt there fades while the lines grow, not all. The
    history is that of the whole lines.
    """
    return _train(
        load_corpus("rhymes"), steps, warmup=50, rates=(3e-3, 1e-4), batch_size=16, workers=2,
        eval_every=500, dropout=0.05, last_words={1: 0.04, 2: 0.12, 4: 0.23, 6: 0.34},
        embed_dim=128, num_heads=4, num_layers=4, max_seq_len=128, dtype=np.float32,
    )


def train_shakespeare(text: str, steps: int = 7000) -> Trained:
    """How the shipped model ``shakespeare`` was made, of the text with the SHA-256 above.

    With dropout, since without it the losses soon part: 1.42 in training and 1.63 in validation after
    1,500 steps of another run.
    """
    return _train(
        text, steps, warmup=200, rates=(2e-3, 1e-4), batch_size=16, workers=2, eval_every=500,
        dropout=0.1, embed_dim=120, num_heads=5, num_layers=5, max_seq_len=256, dtype=np.float32,
    )


def check_shakespeare(text: str) -> str:
    """``text``, if it is tiny Shakespeare to the letter; else ``ValueError``."""
    found = hashlib.sha256(text.encode()).hexdigest()
    if found != SHAKESPEARE_SHA256:
        raise ValueError(
            f"this is another text: {len(text):,} characters, SHA-256 {found}. Tiny Shakespeare "
            f"has {SHAKESPEARE_LENGTH:,} characters, SHA-256 {SHAKESPEARE_SHA256}."
        )
    return text


class Dropout(Module):
    """``part``, but in training a random ``rate`` of what it gives is 0, the rest scaled up."""

    def __init__(self, part: Module, rate: float, rng: np.random.Generator):
        self.part, self.rate, self.rng = part, rate, rng

    def forward(self, *args, **options):
        out = self.part(*args, **options)
        if not is_recording():
            return out
        kept = self.rng.random(out.shape, dtype=np.float32) >= self.rate
        return out * (kept / (1 - self.rate)).astype(out.dtype)


@contextmanager
def _dropout(model: MiniGPT, rate: float, rng: np.random.Generator) -> Iterator[None]:
    """Dropout on what attention and feed-forward add to the stream, while ``model`` is trained."""
    parts = [(block.attention, block.feed_forward) for block in model.blocks]
    for block, (attention, feed_forward) in zip(model.blocks, parts):
        if rate:
            block.attention = Dropout(attention, rate, rng)
            block.feed_forward = Dropout(feed_forward, rate, rng)
    try:
        yield
    finally:
        for block, (attention, feed_forward) in zip(model.blocks, parts):
            block.attention, block.feed_forward = attention, feed_forward


def _train(
    text: str, steps: int, *, warmup, rates, batch_size, dropout=0.0, workers=None, eval_every=100,
    last_words: dict[int, float] | None = None, **config,
) -> Trained:
    """``last_words``: until which share of the steps only so many words of each line are read."""
    tokenizer = CharTokenizer.from_text(text)
    train_data, val_data = train_val_split(tokenizer.encode(text))
    rng = np.random.default_rng(0)
    model = MiniGPT(tokenizer.vocab_size, rng=rng, **config)
    optimizer = AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0.1)
    rate = cosine_schedule(rates[0], steps, warmup_steps=min(warmup, steps // 2), min_lr=rates[1])
    done, train_text = 0, tokenizer.decode(train_data)
    with _dropout(model, dropout, rng):
        for words, until in [*(last_words or {}).items(), (None, 1.0)]:
            data = tokenizer.encode(line_ends(train_text, words)) if words else train_data
            history = train(
                model, data, val_data=val_data, steps=round(until * steps) - done,
                batch_size=batch_size, rng=rng, optimizer=optimizer, workers=workers,
                lr=lambda step, before=done: rate(before + step), eval_every=eval_every,
            )
            done = round(until * steps)
    return model, tokenizer, history


def line_ends(text: str, words: int) -> str:
    """Each line cut to its last ``words`` words."""
    return "\n".join(" ".join(line.split()[-words:]) for line in text.split("\n"))
