"""Python in a browser (Pyodide) has no threads, no mallopt, no BLAS to limit, and few files."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import os, sys, threading
import numpy, matplotlib, ctypes, threadpoolctl, ipywidgets, anywidget   # as Pyodide brings them
def no_thread(self):
    raise RuntimeError("can't start new thread")
threading.Thread.start = no_thread
def no_library(*args, **kwargs):
    raise OSError("dynamic linking not enabled")
ctypes.CDLL = no_library
os.cpu_count = lambda: None
import numpy as np
system, sys.platform = sys.platform, "emscripten"
from minigpt_helpers import *
sys.platform = system
from minigpt_helpers import plots
from minigpt_helpers.widgets import TrainingDashboard, TemperatureExplorer
tokenizer = CharTokenizer.from_text("the cat sat on the mat.\\n" * 40)
data = tokenizer.encode("the cat sat on the mat.\\n" * 40)
model = MiniGPT(tokenizer.vocab_size, embed_dim=16, num_heads=2, num_layers=1, max_seq_len=8,
                rng=np.random.default_rng(0))
history = train(model, data, steps=30, batch_size=4, lr=1e-2, rng=np.random.default_rng(0))
assert history.train_loss[-1] < history.train_loss[0]
board = TrainingDashboard(model, data, tokenizer=tokenizer, steps=10)
board.start()
assert board.wait(1) and board.status == "done" and not board.problem, (board.status, board.problem)
assert len(board.history.steps) == 10
assert len(generate(model, tokenizer.encode("the "), 5, rng=np.random.default_rng(0))) == 9
load_pretrained()
assert plots.to_png(TemperatureExplorer(*load_pretrained(), "the ").still()[0])
"""


def test_the_package_imports_trains_and_draws_without_them(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"HOME": "/nowhere", "MPLCONFIGDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
