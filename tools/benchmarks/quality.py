"""Training on a text of yours in both engines: nanoGPT's configuration for a CPU, the same start,
the same batches in the same order, in blocks of steps that take turns, one thread each.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict

import numpy as np

from minigpt_helpers import (
    AdamW,
    CharTokenizer,
    cosine_schedule,
    cross_entropy_loss,
    no_grad,
    read_text,
    train,
    train_val_split,
)
from tools.benchmarks.ours import make_model
from tools.benchmarks.report import NO_TORCH, Options, progress, table
from tools.benchmarks.sizes import SIZES, Size
from tools.benchmarks.turns import Worker

BLOCKS = 10  # the validation loss is measured after each
ADAMW = {"lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.1}
CLIP = 1.0
JOBS = {"Mini-GPT": "quality:OurRun", "PyTorch": "torch_gpt:TorchRun"}


class Run:
    """What both engines have in common: the data, the first weights, the schedule, the measure."""

    def __init__(self, text: str, steps_a_block: int, size: dict):
        text = read_text(text)
        tokenizer = CharTokenizer.from_text(text)
        self.data, self.val_data = train_val_split(np.array(tokenizer.encode(text)))
        self.size = Size(**size | {"vocab_size": tokenizer.vocab_size})
        self.first_model = make_model(self.size)
        self.steps_a_block, steps = steps_a_block, steps_a_block * BLOCKS
        self.schedule = cosine_schedule(1e-3, steps, warmup_steps=steps // 20, min_lr=1e-4)
        self.rng = np.random.default_rng(1)  # draws the batches

    def train_block(self) -> None:
        """The next ``steps_a_block`` steps."""
        raise NotImplementedError

    def loss(self, x: np.ndarray, y: np.ndarray) -> float:
        """The mean loss over a batch ``(B, T)``."""
        raise NotImplementedError

    def validation_loss(self) -> float:
        """The mean loss over all windows of the validation data, one after the other."""
        length = self.size.seq_len
        count = (len(self.val_data) - 1) // length
        x = self.val_data[: count * length].reshape(count, length)
        y = self.val_data[1 : count * length + 1].reshape(count, length)
        batches = [slice(i, i + 32) for i in range(0, count, 32)]
        return sum(self.loss(x[b], y[b]) * len(x[b]) for b in batches) / count


class OurRun(Run):
    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.model = self.first_model
        self.optimizer = AdamW(self.model.parameters(), **ADAMW)

    def train_block(self) -> None:
        train(
            self.model,
            self.data,
            steps=self.steps_a_block,
            batch_size=self.size.batch_size,
            optimizer=self.optimizer,
            lr=self.schedule,
            rng=self.rng,
            grad_clip=CLIP,
        )

    def loss(self, x, y) -> float:
        with no_grad():
            return cross_entropy_loss(self.model(x), y).item()


def run(options: Options, size: Size = SIZES["nanogpt"]) -> dict:
    steps_a_block = -(-(options.steps or 2000) // BLOCKS)  # rounded up
    result = {}
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(
                Worker(
                    job,
                    text=options.text,
                    steps_a_block=steps_a_block,
                    size=asdict(size),
                    **options.for_workers,
                )
            )
            for name, job in JOBS.items()
            if name != "PyTorch" or options.torch is not None
        }
        for name in workers:
            result[name] = {"seconds": 0.0, "val_loss": []}
        for block in range(BLOCKS):
            progress(f"block {block + 1} of {BLOCKS}")
            for name, worker in workers.items():
                result[name]["seconds"] += sum(worker.ask("train_block")[0])
                result[name]["val_loss"].append(worker.ask("validation_loss")[1])
    return {"size": str(size), "steps": steps_a_block * BLOCKS, "runs": result}


def tables(result: dict) -> str:
    steps, runs = result["steps"], result["runs"]
    rows = [
        [step * steps // BLOCKS, *(f"{run['val_loss'][step - 1]:.4f}" for run in runs.values())]
        for step in range(1, BLOCKS + 1)
    ]
    rows.append(["seconds of training", *(f"{run['seconds']:.1f}" for run in runs.values())])
    heading = f"Validation loss in nats per character ({result['size']}), one thread each."
    parts = [heading, table(["after step", *runs], rows)]
    return "\n\n".join(parts if "PyTorch" in runs else [*parts, NO_TORCH])
