"""The benchmarks at tiny sizes: that they compare the same thing, and say what they promise.

Nothing here looks at how long something took.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from minigpt_helpers import MiniGPT, cross_entropy_loss
from tools.benchmarks import (
    floor,
    footprint,
    generation,
    growth,
    ours,
    quality,
    scalar_gpt,
    step,
    workers,
)
from tools.benchmarks.__main__ import PARTS, main, parse
from tools.benchmarks.report import NO_TORCH, Options, table
from tools.benchmarks.sizes import SIZES, Size
from tools.benchmarks.turns import Worker, compare

TINY = Size(vocab_size=5, embed_dim=4, seq_len=3, batch_size=2, num_layers=2, num_heads=2)


@pytest.fixture
def options(tmp_path, monkeypatch):
    monkeypatch.setattr(Options, "torch", None)
    monkeypatch.setitem(SIZES, "microgpt", TINY)
    return Options(sizes=("microgpt",), rounds=1, seconds=0.001, folder=tmp_path)


# The engines compute the same


def test_single_numbers_give_the_loss_and_the_gradients_of_the_package():
    rng = np.random.default_rng(3)
    model = MiniGPT(**TINY.model_sizes(), rng=rng)
    for parameter in model.parameters():  # so that no scale is 1 and no shift is 0
        parameter.data += 0.3 * rng.normal(size=parameter.shape)
    x, y = rng.integers(0, TINY.vocab_size, (2, TINY.seq_len))
    loss = cross_entropy_loss(model(x), y)
    loss.backward()
    scalar = scalar_gpt.ScalarGPT(model.state_dict(), TINY.num_layers, TINY.num_heads)
    scalar_loss = scalar.loss(x.tolist(), y.tolist())
    scalar_loss.backward()
    assert scalar_loss.data == pytest.approx(loss.item(), abs=1e-12)
    for name, parameter in model.named_parameters():
        grads = [value.grad for value in scalar_gpt.flatten(scalar.p[name])]
        np.testing.assert_allclose(grads, parameter.grad.reshape(-1), atol=1e-12, err_msg=name)


def test_single_numbers_train_as_the_package_does():
    size = asdict(TINY)
    jobs = [ours.Training(size), ours.Training(size, free_graph=True), scalar_gpt.Training(size)]
    losses = [[job.step() for _ in range(4)] for job in jobs]
    np.testing.assert_allclose(losses[1:], losses[:1] * 2, atol=1e-5)
    assert len(set(losses[0])) == 4


def test_pytorch_trains_as_the_package_does():
    pytest.importorskip("torch")
    from tools.benchmarks import torch_gpt

    one = ours.Training(asdict(TINY))
    for fused in (False, True):
        other = torch_gpt.Training(asdict(TINY), fused)
        np.testing.assert_allclose(
            [one.step() for _ in range(4)], [other.step() for _ in range(4)], atol=1e-5
        )
        one = ours.Training(asdict(TINY))


def test_the_floor_holds_every_matrix_product_once_forward_and_twice_backward():
    done = sum(a.size * b.shape[-1] for a, b, _ in floor.matrix_products(TINY))
    tokens, dim = TINY.batch_size * TINY.seq_len, TINY.embed_dim
    weights = 12 * dim * dim * TINY.num_layers + dim * TINY.vocab_size
    pairs = 2 * TINY.seq_len * dim * TINY.num_layers  # of queries with keys, of weights with values
    assert done == 3 * tokens * (weights + pairs)
    for a, b, out in floor.matrix_products(TINY):
        assert (a @ b).shape == out.shape
        assert out.dtype == np.float32


def test_the_peak_counts_at_least_the_parameters_and_what_adamw_keeps_of_them():
    training = ours.Training(asdict(TINY))
    held = 4 * training.model.num_parameters()  # bytes of float32
    assert training.peak_memory() > 5 * held  # twice the gradient, m, v and the parameters


# The parts


def test_a_step_is_compared_with_its_floor_and_with_single_numbers(options):
    result = step.run(options)
    one = result["one"]["microgpt"]
    assert set(one["seconds"]) == {step.OURS, step.OURS_FREE, step.FLOOR, step.SCALAR}
    assert set(result["default"]["microgpt"]["seconds"]) == {step.OURS, step.OURS_ONE}
    for measured in one["seconds"].values():
        assert 0 < measured["fastest"] <= measured["median"]
    over_floor = one["ours over"][step.FLOOR]
    assert over_floor["ratio"] == pytest.approx(
        one["seconds"][step.OURS]["median"] / one["seconds"][step.FLOOR]["median"]
    )
    printed = step.tables(result)
    assert NO_TORCH in printed
    assert "Mini-GPT / matrix products" in printed and "Mini-GPT / PyTorch" not in printed
    assert "computes with single numbers" in printed
    del one["seconds"][step.SCALAR], one["ours over"][step.SCALAR]
    assert "single numbers" not in step.tables({"one": {"lesson": one}})


def test_two_workers_are_compared_with_one(options):
    result = workers.run(options)
    assert set(result["microgpt"]["seconds"]) == {workers.OURS, workers.ONE_WORKER}
    printed = workers.tables(result)
    assert NO_TORCH in printed and "Mini-GPT / one worker" in printed
    shared = [ours.Shared(asdict(TINY), count) for count in (1, 2)]
    alone = ours.Training(asdict(TINY))
    for _ in range(3):
        expected = alone.step()
        for job in shared:
            assert job.step() == pytest.approx(expected, abs=1e-5)
    for job in shared:
        job.workers.__exit__()


def test_writing_is_the_same_with_and_without_the_cache(options):
    result = generation.run(options, size=TINY, length=9)  # longer than the window
    assert result["same characters with and without the cache"] is True
    assert set(result["characters a second"]) == {generation.CACHED, generation.RECOMPUTED}
    assert NO_TORCH in generation.tables(result)


def test_growth_gives_slopes_and_a_picture(options):
    result = growth.run(options, TINY, {"seq_len": [2, 8]})
    [grown] = result["growth"].values()
    assert grown["peak_bytes"][0] < grown["peak_bytes"][1]
    assert np.isfinite([grown["slope_seconds"], grown["slope_bytes"]]).all()
    picture = options.folder / result["picture"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "T = 2, 8" in growth.tables(result)


def test_a_slope_is_the_power():
    assert growth.slope([1, 2, 4, 8], [100, 8, 32, 128]) == pytest.approx(2)


def test_memory_is_measured_as_the_steps_go_on(options):
    result = footprint.memory(Options(**vars(options) | {"steps": 15}))
    assert result["steps"] == 20 and len(result["bytes_after_each_tenth"]) == 10
    assert "MB; after 20: " in footprint.memory_table(result)
    now = footprint.memory_of(os.getpid())
    assert now["now"] > 10e6 and (now["peak"] is None or now["peak"] >= now["now"])


def test_a_kernels_memory_is_measured_at_its_end(tmp_path):
    path = tmp_path / "one.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("held = b'x' * 200_000_000")]), path)
    held = footprint.kernel_memory(path, str(tmp_path))["now"]
    assert 200e6 < held < 300e6
    assert " 85 " in footprint.kernels_table({"one": {"now": 200_000_000, "peak": None}})


def test_quality_shows_the_loss_after_each_block(options, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat. " * 20, encoding="utf-8")
    result = quality.run(Options(**vars(options) | {"text": str(text), "steps": 95}), TINY)
    losses = result["runs"]["Mini-GPT"]["val_loss"]
    assert result["steps"] == 100 and len(losses) == quality.BLOCKS
    assert losses[-1] < losses[0]
    assert NO_TORCH in quality.tables(result)


# The processes and the command line


def test_a_worker_answers_with_times_and_the_result():
    with Worker("ours:Generation", size=asdict(TINY), length=3, use_cache=True) as worker:
        seconds, ids = worker.ask("step", 2)
    assert len(seconds) == 2 and min(seconds) > 0
    assert len(ids) == 4


def test_a_worker_that_breaks_is_told_of(capfd):
    with pytest.raises(RuntimeError, match="ended early"), Worker("ours:Training", size={}) as worker:
        worker.ask("step")
    assert "TypeError" in capfd.readouterr().err


def test_the_ratio_is_that_of_all_medians_and_its_spread_that_of_the_rounds():
    compared = compare([[1, 1], [3, 3], [1, 1]], [[2, 2], [2, 2], [2, 2]])
    assert compared == {"ratio": 0.5, "low": 0.5, "high": 1.0}


def test_the_command_prints_and_writes(tmp_path, capsys):
    assert main(["import", "--rounds", "1", "--folder", str(tmp_path)]) == 0
    assert "beyond numpy" in capsys.readouterr().out
    written = json.loads((tmp_path / "import.json").read_text(encoding="utf-8"))
    assert set(written) == {"machine", "rounds", "clock", "import"}
    assert {"cpu", "cores", "system", "python", "numpy", "blas", "torch"} <= set(written["machine"])
    assert set(written["import"]) == {"numpy", "minigpt_helpers"}
    assert min(written["import"].values()) > 0


def test_every_part_runs_unless_some_are_named(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("a")
    assert parse([])[0] == [name for name in PARTS if name != "quality"]
    assert parse(["--text", str(text)])[0] == list(PARTS)
    names, options = parse(["step", "--size", "lesson", "--size", "larger", "--threads", "one"])
    assert (names, options.sizes, options.threads) == (["step"], ("lesson", "larger"), ("one",))


@pytest.mark.parametrize(
    "words, message",
    [
        (["stepp"], "no part called 'stepp'"),
        (["quality"], "--text PATH"),
        (["--text", "absent.txt"], "no absent.txt"),
        (["--rounds", "0"], "--rounds"),
    ],
)
def test_a_wrong_command_line_is_explained(words, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_table_is_markdown():
    assert table(["a", "b"], [["one", 2]]).splitlines() == [
        "| a   | b |",
        "| --- | -: |".replace("-:", ":"),
        "| one | 2 |",
    ]
