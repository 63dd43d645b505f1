"""Training on several processes: the same as on one, and exact after a stop. All on loopback.

The processes come from a server that has PyTorch imported already: a start is then cheap.
"""

from __future__ import annotations

import gc
import json
import math
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import nullcontext

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch.nn.parallel import DistributedDataParallel  # noqa: E402

from minigpt_helpers import CharTokenizer, MiniGPT, evaluate, load_corpus  # noqa: E402
from minigpt_helpers.bridge import export_gpt2, import_gpt2  # noqa: E402
from tools.launcher.project import here  # noqa: E402

SCRIPT = "tools.scale.train_distributed"
LOOPBACK = {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"} | {
    "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
}
SECONDS = 400  # the most that a run may take, on a very busy machine

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload([SCRIPT, "transformers.models.gpt2.modeling_gpt2"])


def work(rank: int, world: int, port: int, words: list[str]) -> None:
    os.environ.update(LOOPBACK, RANK=str(rank), WORLD_SIZE=str(world), MASTER_PORT=str(port))
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    from tools.scale.train_distributed import main

    main(words)


@pytest.fixture
def start():
    """Starts a run; whatever happens, none of its processes outlives the test."""
    processes = []

    def launch(world: int, *words) -> list:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        words = [str(word) for word in words]
        ours = [forks.Process(target=work, args=(r, world, port, words)) for r in range(world)]
        processes.extend(ours)
        for process in ours:
            process.start()
        return ours

    yield launch
    for process in processes:
        process.kill()
        process.join()


def wait(processes: list) -> list[int]:
    for process in processes:
        process.join(SECONDS)
    return [process.exitcode for process in processes]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A model in float64, a text, and what every run is told."""
    folder = tmp_path_factory.mktemp("given")
    text = load_corpus("rhymes")[:6000]
    (folder / "text.txt").write_text(text, encoding="utf-8")
    tokenizer = CharTokenizer.from_text(text)
    model = MiniGPT(tokenizer.vocab_size, 16, 2, 1, 12, rng=np.random.default_rng(0))
    export_gpt2(model, tokenizer, folder / "model")
    return folder, ["--lr", "0.01", "--checkpoint-every", "5", "--warmup-steps", "3"]


def result(out) -> dict:
    return json.loads((out / "losses.json").read_text(encoding="utf-8"))


def test_processes_share_a_batch_as_one_would_have_it(given, start, tmp_path):
    folder, options = given
    what = [folder / "model", folder / "text.txt"]
    for name, world, batch in (("one", 1, 24), ("two", 2, 12), ("three", 3, 8)):
        words = [*what, tmp_path / name, "--steps", 20, "--batch-size", batch, *options]
        assert wait(start(world, *words)) == [0] * world
    one, two, three = (result(tmp_path / name) for name in ("one", "two", "three"))
    assert len(one["train"]) == 20 and one["train"][-1] < one["train"][0] - 0.3
    assert list(one["validation"]) == ["5", "10", "15", "20"]
    for other in (two, three):
        np.testing.assert_allclose(other["train"], one["train"], atol=1e-10)
        np.testing.assert_allclose(
            list(other["validation"].values()), list(one["validation"].values()), atol=1e-10
        )
    models = [import_gpt2(tmp_path / name / "model")[0] for name in ("one", "three")]
    for a, b in zip(*(model.parameters() for model in models)):
        np.testing.assert_allclose(a.data, b.data, atol=1e-8)
    text = (folder / "text.txt").read_text(encoding="utf-8")
    ids = np.array(CharTokenizer.from_text(text).encode(text))
    ours = evaluate(models[0], ids[-600:], 12)  # the numpy model agrees on what was reached
    assert ours == pytest.approx(one["validation"]["20"], abs=1e-8)


def test_a_killed_process_loses_nothing_that_was_checkpointed(given, start, tmp_path):
    folder, options = given
    words = [folder / "model", folder / "text.txt", "OUT", "--steps", 60, *options]
    whole, broken = (
        [tmp_path / name if w == "OUT" else w for w in words] for name in ("whole", "broken")
    )
    assert wait(start(2, *whole)) == [0, 0]
    processes, checkpoint = start(2, *broken), tmp_path / "broken" / "checkpoint.pt"
    end = time.monotonic() + SECONDS
    while not checkpoint.exists() and time.monotonic() < end:
        time.sleep(0.001)
    os.kill(processes[1].pid, signal.SIGKILL)
    codes = wait(processes)  # the other one notices, and ends too
    assert codes[1] == -signal.SIGKILL and codes[0] != 0
    done = torch.load(checkpoint, weights_only=True)["done"]
    assert 5 <= done < 60
    assert not (tmp_path / "broken" / "losses.json").exists()
    assert wait(start(2, *broken)) == [0, 0]
    assert result(tmp_path / "broken") == result(tmp_path / "whole")  # to the last bit
    for name in ("whole", "broken"):
        assert not list((tmp_path / name).glob("*.part"))


def test_other_settings_do_not_go_on_in_the_same_folder(given, start, tmp_path):
    folder, options = given
    words = [folder / "model", folder / "text.txt", tmp_path / "out", "--steps", 5, *options]
    assert wait(start(1, *words)) == [0]
    assert wait(start(1, *words)) == [0]  # the same once more: nothing is left to do
    assert wait(start(1, *words, "--seed", 1)) == [1]
    assert wait(start(1, *words, "--block-size", 1000)) == [1]


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_gone_when_its_group_ends(given, tmp_path, monkeypatch, fails):
    # A model that outlived the group ended it while a thread of the group was at work: one run in
    # a hundred never ended.
    from tools.scale import train_distributed

    folder, options = given
    end, held = train_distributed.dist.destroy_process_group, []

    def destroy_process_group():
        held.append([o for o in gc.get_objects() if type(o) is DistributedDataParallel])
        end()

    monkeypatch.setattr(train_distributed.dist, "destroy_process_group", destroy_process_group)
    if fails:
        monkeypatch.setattr(train_distributed.Run, "mean", lambda self, value: math.nan)
    words = [folder / "model", folder / "text.txt", tmp_path / "out", "--steps", 5, *options]
    with pytest.raises(SystemExit, match="the loss of step 1 is nan") if fails else nullcontext():
        train_distributed.main([str(word) for word in words])
    assert held == [[]]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_learns_too(given, start, tmp_path, precision):
    folder, options = given
    model, tokenizer = import_gpt2(folder / "model")
    small = MiniGPT(**model.config, rng=np.random.default_rng(0), dtype=np.float32)
    export_gpt2(small, tokenizer, tmp_path / "model")
    words = [tmp_path / "model", folder / "text.txt", tmp_path / "out", "--steps", 20, *options]
    assert wait(start(1, *words, "--precision", precision)) == [0]
    losses = result(tmp_path / "out")["train"]
    assert losses[-1] < losses[0] - 0.3
    trained = import_gpt2(tmp_path / "out" / "model")[0]
    assert trained.head.weight.dtype == np.float32  # the parameters themselves stay as they were


def test_torchrun_starts_it(given, tmp_path):
    folder, options = given
    words = [folder / "model", folder / "text.txt", tmp_path / "out", "--steps", 6, *options]
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    script = here().root / "tools" / "scale" / "train_distributed.py"
    done = subprocess.run(
        [*launch, script, *map(str, words)],
        env=os.environ | LOOPBACK | {"TMPDIR": str(tmp_path)},
        timeout=SECONDS,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "step 5: training loss" in done.stdout and "step 6: training loss" in done.stdout
    assert import_gpt2(tmp_path / "out" / "model")[1].vocab_size > 20
