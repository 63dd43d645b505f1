"""Trains the shipped model anew and saves it: ``python -m minigpt_helpers.pretrained``."""

from pathlib import Path

from minigpt_helpers.checkpoints import save_checkpoint
from minigpt_helpers.pretrained import train_rhymes

model, tokenizer, history = train_rhymes()
save_checkpoint(Path(__file__).with_name("rhymes.safetensors"), model, tokenizer)
print(f"{model.num_parameters()} parameters, {history}")
