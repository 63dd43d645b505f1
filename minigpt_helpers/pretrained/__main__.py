"""Trains a shipped model anew and saves it: ``python -m minigpt_helpers.pretrained NAME [FILE]``."""

import sys
from pathlib import Path

import numpy as np

from minigpt_helpers.checkpoints import save_checkpoint
from minigpt_helpers.corpora import read_text
from minigpt_helpers.pretrained import (
    check_shakespeare,
    train_names,
    train_rhymes,
    train_shakespeare,
    train_verse,
)

RECIPES = {"names": train_names, "rhymes": train_rhymes, "verse": train_verse}

match sys.argv[1:]:
    case [name] if name in RECIPES:
        model, tokenizer, history = RECIPES[name]()
    case ["shakespeare", file]:
        model, tokenizer, history = train_shakespeare(check_shakespeare(read_text(file)))
    case _:
        names = " | ".join(RECIPES)
        sys.exit(f"usage: python -m minigpt_helpers.pretrained {names} | shakespeare FILE")
path = Path(__file__).with_name(f"{sys.argv[1]}.safetensors")
save_checkpoint(path, model, tokenizer, dtype=np.float16)
print(f"{model.num_parameters():,} parameters, {path.stat().st_size:,} bytes, {history}")
