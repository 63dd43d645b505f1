"""How many machines a class needs, from what was measured (see the table in docs/hub.md).

A machine is full when the memory or the processor time that each student is guaranteed is given out.
"""

from __future__ import annotations

import math

MEMORY = 0.4  # GB for each: measured 0.25 with one lesson open, and room for a second notebook
PROCESSOR = 0.05  # of a core for each: 20 students a core, as in the trial with 40 on two
SYSTEM = 1.0  # GB that a machine needs for itself, and a tenth of its memory
KINDS = [(4, 16), (8, 32), (16, 64)]  # cores, GB
CLASSES = [30, 100, 300, 1_000, 3_000, 10_000]


def students_on(cores: int, gigabytes: float) -> int:
    """How many students one machine serves at once."""
    by_memory = (gigabytes * 0.9 - SYSTEM) / MEMORY
    by_processor = cores / PROCESSOR
    return int(min(by_memory, by_processor))


def table() -> str:
    heads = [f"{cores} cores, {gb} GB" for cores, gb in KINDS]
    rows = [
        ["students at once", *heads],
        ["---:", *["---:"] * len(KINDS)],
        ["on one machine", *(f"{students_on(*kind)}" for kind in KINDS)],
    ]
    for number in CLASSES:
        counts = [math.ceil(number / students_on(*kind)) for kind in KINDS]
        rows.append([f"{number:,}", *map(str, counts)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
