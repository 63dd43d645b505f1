"""Continue an exported Mini-GPT with PyTorch, on any number of processes and machines.

    torchrun --standalone --nproc-per-node 2 tools/scale/train_distributed.py MODEL TEXT OUT

``MODEL`` is a folder that ``minigpt_helpers.bridge.export_gpt2`` wrote, ``TEXT`` a text file, and
``OUT`` the folder for checkpoints, for the losses, and at the end for the trained model, which
``import_gpt2`` takes back. Each process computes the gradient of its part of the batch on a copy
of the model; ``DistributedDataParallel`` (DDP) averages the gradients while they are computed, so
that all copies take the same step. Started again with the same words it goes on from its last
checkpoint, with the same losses as if it had never stopped. docs/scale.md shows the launch on one
machine, on two, and under SLURM.

Accurate, Large Minibatch SGD, Goyal et al., 2017; PyTorch Distributed, Li et al., 2020.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import shutil
import sys
import traceback
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from transformers import GPT2LMHeadModel

from minigpt_helpers.bridge import TOKENIZER, read_tokenizer

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path, help="the folder that export_gpt2 wrote")
    parser.add_argument("text", type=Path, help="a text file of the model's characters")
    parser.add_argument("out", type=Path, help="a folder that all machines can write to")
    parser.add_argument("--steps", type=int, default=1000, help="in total (1000)")
    parser.add_argument("--batch-size", type=int, default=8, help="texts a process and step (8)")
    parser.add_argument("--block-size", type=int, help="tokens a text (all that the model takes)")
    parser.add_argument("--lr", type=float, default=1e-3, help="the highest learning rate (1e-3)")
    parser.add_argument("--warmup-steps", type=int, default=0, help="steps up to it (0)")
    parser.add_argument("--weight-decay", type=float, default=0.01, help="of AdamW (0.01)")
    parser.add_argument("--grad-clip", type=float, default=1.0, help="the largest norm (1)")
    parser.add_argument("--val-fraction", type=float, default=0.1, help="kept to validate (0.1)")
    parser.add_argument("--checkpoint-every", type=int, default=100, help="steps (100)")
    parser.add_argument(
        "--precision",
        choices=["auto", *PRECISIONS],
        default="auto",
        help="auto: bfloat16 or float16 on a GPU, whichever it has; float32 else",
    )
    parser.add_argument("--seed", type=int, default=0, help="which texts are drawn (0)")
    options = parser.parse_args(words)
    for name in ("steps", "batch_size", "checkpoint_every"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if not 0 < options.val_fraction < 1:
        parser.error("--val-fraction must lie between 0 and 1")
    return options


class Run:
    """One process's part of a training run. ``rank`` counts the processes from 0."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        text = options.text.read_text(encoding="utf-8")
        ids = np.array(read_tokenizer(options.model).encode(text))
        num_train = len(ids) - round(len(ids) * options.val_fraction)
        self.train_ids, self.val_ids = ids[:num_train], ids[num_train:]
        model = GPT2LMHeadModel.from_pretrained(options.model)
        self.block_size = options.block_size or model.config.n_positions
        for part, part_ids in (("to train on", self.train_ids), ("to validate", self.val_ids)):
            if len(part_ids) <= self.block_size:
                raise SystemExit(
                    f"{options.text} gives {len(part_ids)} tokens {part}, too few for a block "
                    f"of {self.block_size}: use a longer text or a smaller --block-size"
                )
        self.model = DistributedDataParallel(model.to(self.device))
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=options.lr, weight_decay=options.weight_decay
        )
        self.precision = PRECISIONS[self.choose_precision()]
        # float16 has so small a range that gradients vanish in it: they are scaled up meanwhile.
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=self.precision is torch.float16
        )
        self.done = 0
        self.losses: list[float] = []  # of each step, over all processes
        self.val_losses: dict[str, float] = {}  # by step
        # What must not change between two starts, or the curve would not be that of one run.
        self.settings = {
            "text": hashlib.sha256(text.encode()).hexdigest(),
            "block_size": self.block_size,
            "batch of all processes": self.world * options.batch_size,
            "precision": str(self.precision),
        } | {
            name: getattr(options, name)
            for name in (
                "steps",
                "lr",
                "warmup_steps",
                "weight_decay",
                "grad_clip",
                "val_fraction",
                "seed",
            )
        }

    def choose_precision(self) -> str:
        if self.options.precision != "auto":
            return self.options.precision
        if self.device.type != "cuda":
            return "float32"
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"

    # One step

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """This process's rows of the batch of all, ``(B, T)`` each: the step alone decides which."""
        rng = np.random.default_rng([self.options.seed, step])
        B, T = self.options.batch_size, self.block_size
        starts = rng.integers(0, len(self.train_ids) - T, size=self.world * B)
        return self.windows(self.train_ids, starts[self.rank * B : (self.rank + 1) * B])

    def windows(self, ids: np.ndarray, starts: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.from_numpy(ids[starts[:, None] + np.arange(self.block_size + 1)])  # (B, T + 1)
        rows = rows.to(self.device)
        return rows[:, :-1], rows[:, 1:]

    def loss(self, model, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """In nats per token. The products are done in ``precision``, the loss in float32."""
        mixed = torch.autocast(
            self.device.type, dtype=self.precision, enabled=self.precision is not None
        )
        with mixed:
            logits = model(input_ids=x).logits  # (B, T, V)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return F.cross_entropy(logits.flatten(0, 1), y.flatten())

    def lr(self, step: int) -> float:
        """Up in a straight line, then down along half a cosine to a tenth, as in lesson 5."""
        options = self.options
        if step <= options.warmup_steps:
            return options.lr * step / options.warmup_steps
        progress = (step - options.warmup_steps) / max(1, options.steps - options.warmup_steps)
        return options.lr * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * progress)))

    def step(self) -> None:
        step = self.done + 1
        torch.manual_seed(hash((self.options.seed, step, self.rank)))  # for a model with dropout
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr(step)
        self.model.train()
        loss = self.loss(self.model, *self.batch(step))
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # DDP averages the gradients of all processes here
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.options.grad_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.losses.append(self.mean(loss.detach()))
        if not math.isfinite(self.losses[-1]):
            raise SystemExit(
                f"the loss of step {step} is {self.losses[-1]}: start anew with a lower --lr"
            )
        self.done = step

    def mean(self, value: torch.Tensor) -> float:
        """The mean of a number over all processes."""
        total = value.double()
        dist.all_reduce(total)
        return (total / self.world).item()

    @torch.no_grad()
    def validate(self) -> float:
        """The mean loss of up to 256 windows; each process takes every ``world``-th of them."""
        self.model.eval()
        B = self.options.batch_size
        starts = np.arange(0, len(self.val_ids) - self.block_size, self.block_size)[:256]
        mine = starts[self.rank :: self.world]
        total = torch.zeros(2, dtype=torch.float64, device=self.device)  # losses, windows
        for some in (mine[i : i + B] for i in range(0, len(mine), B)):
            # Not by way of DDP, which would wait for processes that have fewer windows.
            loss = self.loss(self.model.module, *self.windows(self.val_ids, some))
            total += len(some) * torch.stack([loss.double(), torch.ones_like(total[0])])
        dist.all_reduce(total)
        return (total[0] / total[1]).item()

    # Checkpoints

    @property
    def checkpoint(self) -> Path:
        return self.options.out / "checkpoint.pt"

    def save(self) -> None:
        """One process writes, beside the old file; the new one takes its name in one step."""
        self.val_losses[str(self.done)] = self.validate()
        if self.rank == 0:
            part = self.checkpoint.with_suffix(f".{os.getpid()}.part")
            with open(part, "wb") as file:
                torch.save(
                    {
                        "settings": self.settings,
                        "done": self.done,
                        "losses": self.losses,
                        "val_losses": self.val_losses,
                        "model": self.model.module.state_dict(),
                        "optimizer": self.optimizer.state_dict(),
                        "scaler": self.scaler.state_dict(),
                    },
                    file,
                )
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self.checkpoint)
            print(
                f"step {self.done}: training loss {self.losses[-1]:.4f}, validation loss "
                f"{self.val_losses[str(self.done)]:.4f}",
                flush=True,
            )
        dist.barrier()  # nobody goes on before the file is there

    def resume(self) -> None:
        if self.rank == 0:
            for half_written in self.options.out.glob("checkpoint.*.part"):
                half_written.unlink()
        if not self.checkpoint.exists():
            return
        saved = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        for name, value in self.settings.items():
            if saved["settings"].get(name) != value:
                raise SystemExit(
                    f"{self.checkpoint} is of a run with {name} = {saved['settings'].get(name)}, "
                    f"this one has {value}: give the same, or another folder"
                )
        self.model.module.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        self.done, self.losses = saved["done"], saved["losses"]
        self.val_losses = saved["val_losses"]
        if self.rank == 0:
            print(f"going on after step {self.done}", flush=True)

    def finish(self) -> None:
        """The trained model in the format that it came in, and the losses."""
        if self.rank == 0:
            self.model.module.save_pretrained(self.options.out / "model")
            for name in (TOKENIZER, "tokenizer_config.json"):
                shutil.copy(self.options.model / name, self.options.out / "model" / name)
            content = {"train": self.losses, "validation": self.val_losses}
            (self.options.out / "losses.json").write_text(json.dumps(content) + "\n")
        dist.barrier()


def main(words: list[str]) -> None:
    options = parse(words)
    for path in (options.model, options.text):
        if not path.exists():
            raise SystemExit(f"there is no {path}")
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if backend == "nccl":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    if "RANK" in os.environ:  # torchrun tells each process who it is and where the others are
        dist.init_process_group(backend)
    else:  # alone
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    try:
        train(options)
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)  # they hold the model
        raise
    finally:
        # The model is gone by now. DDP holds the group too, and ends it when it is the last to do
        # so: with Python's lock, waiting for a thread of the group that may wait for that lock.
        dist.destroy_process_group()


def train(options: argparse.Namespace) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    run = Run(options)
    run.resume()
    while run.done < options.steps:
        run.step()
        if run.done % options.checkpoint_every == 0 or run.done == options.steps:
            run.save()
    run.finish()


if __name__ == "__main__":
    main(sys.argv[1:])
