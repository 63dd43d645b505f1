"""Several workers: the same numbers as one, whatever the timing; errors and settings come through.

Nothing here looks at how long something took.
"""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from minigpt_helpers import (
    SGD,
    AdamW,
    DivergenceError,
    MiniGPT,
    cross_entropy_loss,
    evaluate,
    parallel,
    train,
    training,
)
from minigpt_helpers.parallel import WORK_A_WORKER, Workers, default_workers

pytestmark = pytest.mark.filterwarnings("error")

DATA = np.tile([0, 1, 2, 3, 4, 5, 6, 3, 1], 45)


def model_of(dtype=np.float64, **sizes):
    sizes = dict(vocab_size=7, embed_dim=12, num_heads=3, num_layers=2, max_seq_len=8) | sizes
    return MiniGPT(**sizes, rng=np.random.default_rng(0), dtype=dtype)


def trained(workers, steps=20, model=None, **options):
    model, seen = model or model_of(), []

    def keep(state):
        seen.append(np.concatenate([p.data.reshape(-1) for p in model.parameters()]))

    options = dict(batch_size=10, lr=0.01, val_data=DATA[:100], eval_every=5) | options
    history = train(
        model,
        DATA,
        steps=steps,
        workers=workers,
        callbacks=[keep],
        rng=np.random.default_rng(1),
        **options,
    )
    return history, np.array(seen)


# The same as one


# AdamW divides by the size of a gradient. That of a key's bias is exactly 0 on paper, so what it
# divides is rounding: with a large rate its noise would grow above 1e-12, though no loss sees it.
@pytest.mark.parametrize("optimizer, lr", [(SGD, 0.3), (AdamW, 1e-3)])
@pytest.mark.parametrize("workers, batch_size", [(2, 10), (3, 10), (4, 5), (10, 10), (25, 7)])
def test_every_step_is_that_of_one_worker(workers, batch_size, optimizer, lr):
    runs = []
    for count in (1, workers):
        model = model_of()
        options = dict(optimizer=optimizer(model.parameters(), lr), lr=lr, batch_size=batch_size)
        runs.append(trained(count, model=model, **options))
    (one, steps), (several, other_steps) = runs
    np.testing.assert_allclose(other_steps, steps, rtol=0, atol=1e-12)
    np.testing.assert_allclose(several.train_loss, one.train_loss, rtol=0, atol=1e-12)
    np.testing.assert_allclose(several.val_loss, one.val_loss, rtol=0, atol=1e-12)
    assert one.val_loss[-1] < one.val_loss[0]  # something was learnt


def test_the_gradient_is_the_same_and_is_added_to_what_is_there():
    x, y = np.random.default_rng(2).integers(0, 7, (2, 5, 8))
    model, other = model_of(), model_of()
    for _ in range(2):  # twice, without zero_grad
        loss = cross_entropy_loss(model(x), y)
        loss.backward()
        with Workers(3) as workers:
            mean = workers.backward(other, x, y)
        assert mean == pytest.approx(loss.item(), abs=1e-14)
    for (name, a), (_, b) in zip(model.named_parameters(), other.named_parameters()):
        np.testing.assert_allclose(a.grad, b.grad, rtol=0, atol=1e-14, err_msg=name)


def test_timing_changes_nothing(monkeypatch):
    """The same to the last bit, whichever worker is late."""
    rng, calm = np.random.default_rng(0), trained(3, steps=6)
    loss_of = parallel.cross_entropy_loss

    def late(*arguments):
        time.sleep(rng.random() / 200)
        return loss_of(*arguments)

    monkeypatch.setattr(parallel, "cross_entropy_loss", late)
    for _ in range(2):
        history, steps = trained(3, steps=6)
        assert history.train_loss == calm[0].train_loss
        np.testing.assert_array_equal(steps, calm[1])


def test_a_model_may_change_its_parameters_between_steps():
    results = []
    for workers in (1, 2):
        model = model_of()

        def replace(state, model=model):
            model.head.weight.data = model.head.weight.data * 0.9  # another array

        train(
            model, DATA, steps=5, workers=workers, callbacks=[replace], rng=np.random.default_rng(1)
        )
        results.append(model.head.weight.data)
    np.testing.assert_allclose(*results, rtol=0, atol=1e-12)


def test_two_models_may_take_turns():
    x, y = np.random.default_rng(2).integers(0, 7, (2, 4, 8))
    with Workers(2) as workers:
        for model in (model_of(), model_of(embed_dim=6), model_of(num_layers=1)):
            loss = cross_entropy_loss(model(x), y).item()
            assert workers.backward(model, x, y) == pytest.approx(loss, abs=1e-14)


@pytest.mark.parametrize("workers", [2, 5])
def test_evaluate_gives_the_same_to_the_last_bit(workers):
    model = model_of()
    for data in (DATA, DATA[:9], DATA[:50]):
        alone = evaluate(model, data, 8, batch_size=3, workers=1)
        assert evaluate(model, data, 8, batch_size=3, workers=workers) == alone
    assert evaluate(model, DATA, 8) == evaluate(model, DATA, 8, workers=1)


def test_evaluation_records_no_graph_in_any_thread(monkeypatch):
    kept = []
    monkeypatch.setattr(
        training, "cross_entropy_loss", lambda *a: kept.append(cross_entropy_loss(*a)) or kept[-1]
    )
    evaluate(model_of(), DATA, 8, batch_size=2, workers=3)
    assert len(kept) > 3 and all(loss._parents == () for loss in kept)


# Threads


def test_each_worker_is_a_thread_and_all_end():
    meet, before = threading.Barrier(3, timeout=300), threading.active_count()
    with Workers(3) as workers:
        names = workers.map(lambda i: (meet.wait(), threading.current_thread().name)[1], range(6))
    assert len(set(names)) == 3 and names[0] == threading.current_thread().name
    assert threading.active_count() == before


def test_results_come_in_order_and_settings_go_along():
    with Workers(3) as workers, np.errstate(over="ignore"):
        assert workers.map(lambda i: np.float32(10) ** (38 + i), range(4))[1] == np.inf
        assert workers.map(lambda i: i * i, range(8)) == [i * i for i in range(8)]
        assert workers.map(lambda i: i, []) == []


def test_blas_has_one_thread_meanwhile_and_then_as_before():
    def threads(*_):
        return [info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"]

    before = threads()
    with Workers(2) as workers:
        assert all(set(found) == {1} for found in workers.map(threads, range(2)))
    assert threads() == before


@pytest.mark.parametrize("at", [0, 1, 2])
def test_the_error_of_a_worker_is_raised_when_all_have_ended(at):
    ended = []

    def work(i):
        if i == at:
            raise ValueError(f"part {i} is bad")
        time.sleep(0.01)
        ended.append(i)

    with Workers(3) as workers:
        with pytest.raises(ValueError, match=f"part {at} is bad"):
            workers.map(work, range(3))
        assert sorted(ended) == [i for i in range(3) if i != at]
        assert workers.map(lambda i: i, range(3)) == [0, 1, 2]  # and it goes on


def test_an_error_in_a_worker_ends_the_training():
    model = model_of()
    with pytest.raises(ValueError, match="out of range"):
        train(
            model,
            np.where(np.arange(405) % 50, DATA, 7),
            steps=20,
            workers=2,
            rng=np.random.default_rng(0),
        )


def test_a_diverged_run_says_so_and_keeps_the_last_finite_parameters():
    model = model_of()
    with pytest.raises(DivergenceError) as caught:
        train(
            model,
            DATA,
            steps=300,
            workers=2,
            lr=1e200,
            grad_clip=np.inf,
            optimizer=SGD(model.parameters()),
            rng=np.random.default_rng(0),
        )
    assert all(np.isfinite(p.data).all() for p in model.parameters())
    assert len(caught.value.history.steps) < 300


def test_an_interrupted_run_keeps_what_was_learnt():
    def stop(state):
        if state.step == 3:
            raise KeyboardInterrupt

    history = train(
        model_of(), DATA, steps=9, workers=2, callbacks=[stop], return_on_interrupt=True
    )
    assert history.steps == [1, 2, 3]


# How many


@pytest.mark.parametrize("workers", [0, -1, 1.5, "2"])
def test_the_number_must_be_a_whole_one(workers):
    for call in (
        lambda: Workers(workers),
        lambda: evaluate(model_of(), DATA, 8, workers=workers),
        lambda: train(model_of(), DATA, steps=1, workers=workers),
    ):
        with pytest.raises(ValueError, match="workers must be a whole number"):
            call()


def test_small_steps_get_one_worker_and_large_ones_more(monkeypatch):
    monkeypatch.setattr(parallel.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(parallel.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    model = model_of()
    enough = WORK_A_WORKER / model.num_parameters()
    counts = [default_workers(model, int(n * enough) + 1) for n in (0.1, 0.9, 1, 2, 3, 4, 50)]
    assert counts == [1, 1, 1, 2, 3, 4, 4]
    monkeypatch.setattr(parallel.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(parallel.os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    assert default_workers(model, int(50 * enough)) == 2
    monkeypatch.delattr(parallel.os, "sched_getaffinity")
    assert default_workers(model, int(50 * enough)) == 2
    assert default_workers(lambda ids: ids, 10**9) == 1


def test_a_model_that_is_only_a_function_can_be_evaluated():
    model = model_of()
    assert evaluate(lambda ids: model(ids), DATA, 8) == evaluate(model, DATA, 8)


def test_the_module_is_short():
    with open(parallel.__file__, encoding="utf-8") as file:
        assert len(file.readlines()) <= 120
