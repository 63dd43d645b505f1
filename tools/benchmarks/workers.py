"""A whole training step with two cores: two workers that share the batch, beside PyTorch with two
threads and beside one worker; in float32.
"""

from __future__ import annotations

from tools.benchmarks.report import NO_TORCH, Options
from tools.benchmarks.step import OURS, TORCH, TORCH_FUSED, measure, side_by_side

ONE_WORKER = "one worker"
ENGINES = {
    OURS: ("ours:Shared", {"num_workers": 2}, 1),
    ONE_WORKER: ("ours:Shared", {"num_workers": 1}, 1),
    TORCH: ("torch_gpt:Training", {}, 2),
    TORCH_FUSED: ("torch_gpt:Training", {"fused": True}, 2),
}


def run(options: Options) -> dict:
    return {size: measure(size, ENGINES, options) for size in options.sizes}


def tables(result: dict) -> str:
    parts = [
        "A training step in milliseconds, medians; Mini-GPT with two workers, PyTorch with two threads.",
        side_by_side(
            result, [OURS, ONE_WORKER, TORCH, TORCH_FUSED], [ONE_WORKER, TORCH, TORCH_FUSED]
        ),
    ]
    if not any(TORCH in at["seconds"] for at in result.values()):
        parts.append(NO_TORCH)
    return "\n\n".join(parts)
