"""Lesson 5: optimisers, schedule, clipping, evaluation and the training loop."""

import copy
import gc
import math
import pickle
import weakref

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import reference as ref
from minigpt_helpers import (
    SGD,
    AdamW,
    DivergenceError,
    History,
    MiniGPT,
    Tensor,
    bigram_loss,
    bigram_probs,
    clip_grad_norm,
    cosine_schedule,
    cross_entropy_loss,
    evaluate,
    get_batch,
    train,
    train_val_split,
)

pytestmark = pytest.mark.filterwarnings("error")

V = 6
DATA = np.array([0, 1, 2, 3, 4, 5, 3, 2] * 12)


def model_of(seed=0, dtype=np.float64, heads=2, layers=1):
    return MiniGPT(V, 8, heads, layers, 6, rng=np.random.default_rng(seed), dtype=dtype)


def rng(seed=1):
    return np.random.default_rng(seed)


def same(a, b):
    return all(np.array_equal(p.data, q.data) for p, q in zip(a.parameters(), b.parameters()))


# Optimisers against plain independent rules

SHAPES = [(), (3,), (2, 3), (4, 1, 2)]


def start_and_gradients(steps=20):
    r = rng(0)
    start = [r.normal(size=shape) for shape in SHAPES]
    return start, [[r.normal(size=shape) for shape in SHAPES] for _ in range(steps)]


def test_sgd_against_the_plain_rule():
    start, gradients = start_and_gradients()
    params = [Tensor(a) for a in start]
    optimizer = SGD(params, lr=0.05)
    expected = [a.copy() for a in start]
    for step_gradients in gradients:
        for p, g in zip(params, step_gradients):
            p.grad = g
        optimizer.step()
        expected = [a - 0.05 * g for a, g in zip(expected, step_gradients)]
        for p, a in zip(params, expected):
            np.testing.assert_allclose(p.data, a, rtol=1e-13, atol=1e-15)
            assert p.shape == a.shape


@pytest.mark.parametrize("options", [
    {}, {"weight_decay": 0.0}, {"betas": (0.5, 0.6)}, {"betas": (0.0, 0.0)},
    {"eps": 0.1, "weight_decay": 0.5}, {"betas": (0.9, 0.99), "weight_decay": 0.1},
])
def test_adamw_against_the_plain_rule(options):
    """Algorithm 2 of Loshchilov and Hutter, 2019, parameter by parameter."""
    settings = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01} | options
    (beta1, beta2), eps, decay = settings["betas"], settings["eps"], settings["weight_decay"]
    start, gradients = start_and_gradients()
    params = [Tensor(a) for a in start]
    optimizer = AdamW(params, lr=0.02, **options)
    expected = [a.copy() for a in start]
    m, v = [0.0] * len(start), [0.0] * len(start)
    for t, step_gradients in enumerate(gradients, start=1):
        lr = optimizer.lr = 0.02 / t  # it may be changed at any time
        for p, g in zip(params, step_gradients):
            p.grad = g
        optimizer.step()
        for i, g in enumerate(step_gradients):
            m[i] = beta1 * m[i] + (1 - beta1) * g
            v[i] = beta2 * v[i] + (1 - beta2) * g * g
            m_hat, v_hat = m[i] / (1 - beta1**t), v[i] / (1 - beta2**t)
            expected[i] = expected[i] - lr * (m_hat / (np.sqrt(v_hat) + eps) + decay * expected[i])
        for p, a in zip(params, expected):
            np.testing.assert_allclose(p.data, a, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("make", [SGD, AdamW])
def test_float32_parameters_stay_float32(make):
    params = [Tensor(np.ones(3, np.float32)), Tensor(np.float32(2))]
    optimizer = make(params, lr=0.1)
    for lr in (0.1, np.float64(0.1)):
        optimizer.lr = lr
        for p in params:
            p.grad = 0.5
        optimizer.step()
    assert {p.dtype for p in params} == {np.dtype(np.float32)}
    assert not np.any(params[0].data == 1)


@pytest.mark.parametrize("make", [SGD, AdamW])
def test_zero_grad_and_counting(make):
    p = Tensor([1.0, 2.0])
    optimizer = make([p], lr=0.1)
    (p * p).sum().backward()
    optimizer.zero_grad()
    np.testing.assert_array_equal(p.grad, [0, 0])
    assert optimizer.num_steps == 0
    for n in (1, 2, 3):
        (p * p).sum().backward()
        optimizer.step()
        assert optimizer.num_steps == n


@pytest.mark.parametrize("make", [SGD, AdamW])
def test_a_step_leaves_the_gradients_as_they_are(make):
    params = [Tensor([1.0, 2.0]), Tensor(3.0)]
    sum((p * p).sum() for p in params).backward()
    held = [p.grad for p in params]
    before = [g.copy() for g in held]
    make(params, lr=0.1).step()
    for p, g, old in zip(params, held, before):
        np.testing.assert_array_equal(g, old)
        np.testing.assert_array_equal(p.grad, old)


def test_two_optimizers_over_the_same_parameters():
    start, gradients = start_and_gradients(12)
    params = [Tensor(a) for a in start]
    one, other = SGD(params, lr=0.1), SGD(params, lr=0.01)
    expected = [a.copy() for a in start]
    for i, step_gradients in enumerate(gradients):
        optimizer = (one, other, other, one)[i % 4]
        for p, g in zip(params, step_gradients):
            p.grad = g
        optimizer.step()
        expected = [a - optimizer.lr * g for a, g in zip(expected, step_gradients)]
    for p, a in zip(params, expected):
        np.testing.assert_allclose(p.data, a, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("change", [
    lambda p, a: setattr(p, "data", a.copy()), lambda p, a: p.data.__setitem__(..., a),
    lambda p, a: p.data.__isub__(p.data - a),
], ids=["replaced", "filled", "in place"])
@pytest.mark.parametrize("steps_before", [0, 1])
def test_parameters_changed_by_hand_are_taken_up(change, steps_before):
    """``p.data -= lr * p.grad`` beside an optimiser, or new values: both count."""
    p, q = Tensor([1.0, 2.0]), Tensor([5.0])
    optimizer = SGD([p, q], lr=0.5)
    for _ in range(steps_before):
        p.grad, q.grad = 1.0, 1.0
        optimizer.step()
    change(p, np.array([10.0, 20.0]))
    p.grad, q.grad = 2.0, 2.0
    optimizer.step()
    np.testing.assert_array_equal(p.data, [9, 19])
    np.testing.assert_array_equal(q.data, [4.0 - 0.5 * steps_before])


def test_load_state_dict_while_an_optimizer_exists():
    model = model_of()
    optimizer = SGD(model.parameters(), lr=0.1)
    state = model.state_dict()
    train(model, DATA, steps=3, optimizer=optimizer, rng=rng())
    after = model.state_dict()
    model.load_state_dict(state)
    fresh = model_of()
    assert same(model, fresh)
    train(model, DATA, steps=3, optimizer=optimizer, rng=rng())
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, after[name])


@pytest.mark.parametrize("make", [SGD, AdamW])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))],
                         ids=["deepcopy", "pickle"])
def test_a_copied_run_goes_on_like_the_original(make, copied):
    model = model_of()
    optimizer = make(model.parameters(), lr=0.01)
    train(model, DATA, steps=3, optimizer=optimizer, rng=rng())
    model2, optimizer2 = copied((model, optimizer))
    start = model.state_dict()
    train(model2, DATA, steps=5, optimizer=optimizer2, rng=rng(2))
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, start[name])  # the original stands still
    train(model, DATA, steps=5, optimizer=optimizer, rng=rng(2))
    assert same(model, model2) and optimizer2.num_steps == 8
    assert not np.array_equal(model.head.weight.data, start["head.weight"])


@pytest.mark.parametrize("params", [[], None, 3, model_of(), Tensor([1.0, 2.0]), [np.ones(3)],
    ["a"]],
                         ids=["empty", "None", "number", "model", "tensor", "array", "text"])
@pytest.mark.parametrize("make", [SGD, AdamW])
def test_an_optimizer_takes_a_list_of_tensors(make, params):
    with pytest.raises(ValueError, match="parameter"):
        make(params, lr=0.1)


@pytest.mark.parametrize("lr", [-0.1, math.nan, math.inf, "a", None])
def test_a_learning_rate_that_cannot_be(lr):
    for make in (SGD, AdamW):
        with pytest.raises(ValueError, match=f"lr.*{lr}"):
            make([Tensor(1.0)], lr=lr)
    if lr is not None:  # None: the optimizer's own
        model = model_of()
        for given in (lr, lambda step: lr):
            with pytest.raises(ValueError, match=f"lr.*{lr}"):
                train(model, DATA, steps=1, lr=given, rng=rng())
        assert same(model, model_of())


@pytest.mark.parametrize("betas", [(1.0, 0.9), (0.9, 1.0), (-0.1, 0.9), (0.9, math.nan)])
def test_betas_that_cannot_be(betas):
    with pytest.raises(ValueError, match="betas"):
        AdamW([Tensor(1.0)], betas=betas)


# Schedule and clipping


def test_the_schedule_rises_then_falls_along_a_cosine():
    schedule = cosine_schedule(0.4, total_steps=110, warmup_steps=10, min_lr=0.1)
    assert [schedule(s) for s in (1, 5, 10)] == pytest.approx([0.04, 0.2, 0.4])
    assert schedule(60) == pytest.approx(0.25)  # half way: the mean of both ends
    assert schedule(35) == pytest.approx(0.1 + 0.3 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert schedule(110) == schedule(111) == schedule(10_000) == pytest.approx(0.1)
    falling = [schedule(s) for s in range(10, 111)]
    assert all(a > b for a, b in zip(falling, falling[1:]))


def test_a_schedule_without_warm_up():
    schedule = cosine_schedule(1.0, total_steps=4)
    assert [schedule(s) for s in (2, 4)] == pytest.approx([0.5, 0.0])


@pytest.mark.parametrize("sizes", [(10, 10), (10, 11), (10, -1), (0, 0), (-5, 0), (10, "a"),
    ("a", 0)])
def test_a_schedule_that_cannot_be(sizes):
    with pytest.raises(ValueError, match="total_steps|warmup_steps"):
        cosine_schedule(0.1, *sizes)


def test_train_follows_the_schedule():
    seen = []
    schedule = cosine_schedule(0.01, total_steps=12, warmup_steps=4)
    model = model_of()
    optimizer = AdamW(model.parameters())
    for steps in (5, 7):
        train(model, DATA, steps=steps, lr=schedule, optimizer=optimizer, rng=rng(),
              callbacks=[lambda state: seen.append((state.step, state.lr))])
    assert seen == [(s, pytest.approx(schedule(s))) for s in range(1, 13)]


@pytest.mark.parametrize("max_norm", [0.1, 1.0, 4.999, 5.0, 100.0, math.inf])
def test_clipping_scales_all_gradients_together(max_norm):
    p, q = Tensor([0.0, 0.0]), Tensor([[0.0]])
    p.grad, q.grad = np.array([0.0, 3.0]), np.array([[4.0]])
    held = p.grad
    assert clip_grad_norm([p, q], max_norm) == pytest.approx(5.0)
    scale = min(1.0, max_norm / 5)
    np.testing.assert_allclose(p.grad, [0, 3 * scale], rtol=1e-12)
    np.testing.assert_allclose(q.grad, [[4 * scale]], rtol=1e-12)
    np.testing.assert_array_equal(held, [0, 3])


def test_clipping_gradients_that_came_from_one_array():
    p, q, r = (Tensor([1.0, 2.0]) for _ in range(3))
    (p + q + r).sum().backward()
    assert clip_grad_norm(iter([p, q]), 1.0) == pytest.approx(2.0)
    for clipped in (p, q):
        np.testing.assert_allclose(clipped.grad, [0.5, 0.5])
    np.testing.assert_array_equal(r.grad, [1, 1])


def test_clipping_zero_gradients():
    p = Tensor([1.0, 2.0])
    assert clip_grad_norm([p], 1.0) == 0.0
    np.testing.assert_array_equal(p.grad, [0, 0])


@pytest.mark.parametrize("max_norm", [0, -1.0, math.nan, "a", None])
def test_a_norm_that_cannot_be(max_norm):
    with pytest.raises(ValueError, match=f"{max_norm}"):
        clip_grad_norm([Tensor(1.0)], max_norm)
    with pytest.raises(ValueError, match=f"grad_clip.*{max_norm}"):
        train(model_of(), DATA, steps=1, grad_clip=max_norm)


def test_train_clips():
    def moved(grad_clip):
        model = model_of()
        train(model, DATA, steps=1, optimizer=SGD(model.parameters(), lr=1.0), rng=rng(),
              grad_clip=grad_clip)
        return math.sqrt(sum(np.sum((p.data - q.data) ** 2)
                             for p, q in zip(model.parameters(), model_of().parameters())))

    assert moved(0.01) == pytest.approx(0.01, rel=1e-6)
    assert moved(math.inf) == pytest.approx(moved(1e9)) and moved(math.inf) > 0.02


# Evaluation


@pytest.mark.parametrize("n", [7, 13, 50, 96])
@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_evaluate_against_a_loop(n, batch_size):
    model, data = model_of(), DATA[:n]
    losses = []
    for i in range(0, n - 6, 6):
        x, y = data[i : i + 6], data[i + 1 : i + 7]
        losses.append(ref.loop_cross_entropy(model(x).data, y))
    assert evaluate(model, data, 6, batch_size=batch_size) == pytest.approx(np.mean(losses),
        rel=1e-12)


def test_evaluate_is_deterministic_and_leaves_no_trace():
    model = model_of()
    first = evaluate(model, DATA, 4)
    assert [evaluate(model, list(DATA), 4) for _ in range(3)] == [first] * 3
    assert same(model, model_of())
    assert not any(np.any(p.grad) for p in model.parameters())


def test_evaluate_spreads_its_windows():
    class Recorder:
        def __init__(self):
            self.rows = []

        def __call__(self, ids):
            self.rows += ids.tolist()
            return Tensor(np.zeros((*ids.shape, 1000)))

    recorder = Recorder()
    loss = evaluate(recorder, np.arange(1000), 10, max_windows=5)
    starts = [row[0] for row in recorder.rows]
    assert loss == pytest.approx(math.log(1000))
    assert len(starts) == 5 and starts[0] == 0 and starts[-1] == 980
    assert all(start % 10 == 0 for start in starts)
    assert np.ptp(np.diff(starts)) <= 10


@pytest.mark.parametrize("n", [0, 1, 6])
def test_evaluate_names_data_that_are_too_short(n):
    with pytest.raises(ValueError, match=f"{n} tokens.*6"):
        evaluate(model_of(), DATA[:n], 6)


@pytest.mark.parametrize("sizes", [{"block_size": 0}, {"max_windows": 0}, {"batch_size": -1}])
def test_evaluate_with_sizes_that_cannot_be(sizes):
    with pytest.raises(ValueError, match="must be a whole number"):
        evaluate(model_of(), DATA, **({"block_size": 6} | sizes))


# The loop


def plain_loop(model, steps, lr, clip):
    """What ``train`` must do, written out."""
    optimizer, r, losses = AdamW(model.parameters(), lr=lr), rng(), []
    for _ in range(steps):
        x, y = get_batch(DATA, 6, 4, r)
        loss = cross_entropy_loss(model(x), y)
        for p in model.parameters():
            p.grad = 0.0
        loss.backward()
        clip_grad_norm(model.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_train_is_the_plain_loop():
    a, b = model_of(), model_of()
    history = train(a, DATA, steps=15, batch_size=4, lr=0.01, rng=rng())
    assert history.steps == list(range(1, 16))
    assert history.train_loss == pytest.approx(plain_loop(b, 15, 0.01, 1.0), rel=1e-12)
    for p, q in zip(a.parameters(), b.parameters()):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-12, atol=1e-14)


def test_the_same_seed_gives_the_same_run():
    runs = []
    for _ in range(2):
        model = model_of()
        runs.append((train(model, DATA, steps=10, rng=rng()).train_loss, model))
    assert runs[0][0] == runs[1][0] and same(runs[0][1], runs[1][1])


@pytest.mark.parametrize("make", [SGD, AdamW])
@pytest.mark.parametrize("schedule", [None, cosine_schedule(0.01, 40, 5)],
    ids=["constant", "cosine"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_two_halves_are_the_whole_to_the_bit(make, schedule, dtype):
    whole, halves = model_of(dtype=dtype), model_of(dtype=dtype)
    options = {"batch_size": 3, "lr": schedule, "val_data": DATA[:20]}
    expected = train(whole, DATA, steps=40, rng=rng(), optimizer=make(whole.parameters()),
        **options)
    optimizer, r, parts = make(halves.parameters()), rng(), []
    for _ in range(2):
        parts.append(train(halves, DATA, steps=20, rng=r, optimizer=optimizer, **options))
    assert same(whole, halves)
    assert parts[0].train_loss + parts[1].train_loss == expected.train_loss
    assert parts[0].steps + parts[1].steps == expected.steps
    assert parts[1].val_loss[-1] == expected.val_loss[-1]


def test_a_lesson_sized_100_and_100_is_200():
    whole, halves = model_of(), model_of()
    expected = train(whole, DATA, steps=200, batch_size=2, rng=rng())
    optimizer, r = AdamW(halves.parameters()), rng()
    first = train(halves, DATA, steps=100, batch_size=2, rng=r, optimizer=optimizer)
    second = train(halves, DATA, steps=100, batch_size=2, rng=r, optimizer=optimizer)
    assert same(whole, halves)
    assert first.train_loss + second.train_loss == expected.train_loss


def test_validation_losses():
    model, seen = model_of(), []
    history = train(model, DATA, val_data=DATA[:30], steps=25, eval_every=10, rng=rng(),
                    callbacks=[lambda s: seen.append((s.step, s.val_loss))])
    assert history.val_steps == [0, 10, 20, 25]
    assert history.val_loss[0] == evaluate(model_of(), DATA[:30], 6)
    assert history.val_loss[-1] == evaluate(model, DATA[:30], 6)
    assert [v for _, v in seen if v is not None] == history.val_loss[1:]
    assert [s for s, v in seen if v is not None] == [10, 20, 25]


def test_without_validation_data_there_are_no_validation_losses():
    history = train(model_of(), DATA, steps=2, rng=rng())
    assert history.val_steps == history.val_loss == []


def test_validation_does_not_change_the_run():
    a, b = model_of(), model_of()
    with_val = train(a, DATA, val_data=DATA[:30], steps=10, eval_every=2, rng=rng())
    assert with_val.train_loss == train(b, DATA, steps=10, rng=rng()).train_loss
    assert same(a, b)


def test_no_steps():
    model = model_of()
    history = train(model, DATA, steps=0, val_data=DATA[:20])
    assert history.steps == [] and history.val_steps == [0] and same(model, model_of())
    assert "no steps" in repr(history)


def test_callbacks_see_every_step():
    seen, model = [], model_of()

    def watch(state):
        seen.append((state.step, state.last_step, state.train_loss))
        assert state.model is model and state.history.train_loss[-1] == state.train_loss
        assert len(state.history.steps) == state.step and state.val_loss is None
        assert state.lr == 0.002

    history = train(model, DATA, steps=7, lr=0.002, rng=rng(), callbacks=[watch, watch])
    assert [s for s, _, _ in seen] == [s for s in range(1, 8) for _ in range(2)]
    assert {last for _, last, _ in seen} == {7}
    assert [loss for _, _, loss in seen[::2]] == history.train_loss


def test_a_callback_can_stop_the_run():
    model = model_of()
    optimizer = AdamW(model.parameters())
    others = []
    history = train(model, DATA, steps=50, rng=rng(), optimizer=optimizer, callbacks=[
        lambda s: s.stop() if s.step == 4 else None, lambda s: others.append(s.step)])
    assert history.steps == [1, 2, 3, 4] and others == [1, 2, 3, 4]
    assert optimizer.num_steps == 4
    again = train(model, DATA, steps=2, rng=rng(), optimizer=optimizer)
    assert again.steps == [5, 6]


def test_an_error_in_a_callback_is_not_swallowed():
    def fail(state):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        train(model_of(), DATA, steps=3, callbacks=[fail])


def test_history_shows_its_last_losses():
    history = History([1, 2], [3.0, 2.5], [0, 2], [3.1, 2.61239])
    assert repr(history) == "History(2 steps, training loss 2.5000, validation loss 2.6124)"
    assert "validation" not in repr(History([1], [3.0]))


# Interrupts


def test_an_interrupt_in_a_callback_keeps_history_and_parameters():
    def interrupt(state):
        if state.step == 5:
            raise KeyboardInterrupt

    model, reference = model_of(), model_of()
    optimizer = AdamW(model.parameters())
    with pytest.raises(KeyboardInterrupt, match="after step 5 of 50.*keeps") as stop:
        train(model, DATA, steps=50, rng=rng(), optimizer=optimizer, callbacks=[interrupt])
    history = stop.value.history
    train(reference, DATA, steps=5, rng=rng())
    assert history.steps == [1, 2, 3, 4, 5] and len(history.train_loss) == 5
    assert same(model, reference)
    assert train(model, DATA, steps=1, rng=rng(), optimizer=optimizer).steps == [6]


class Interrupted(MiniGPT):
    """Raises KeyboardInterrupt inside its n-th forward pass."""

    def __init__(self, *args, at, **kwargs):
        super().__init__(*args, **kwargs)
        self.at, self.calls = at, 0

    def forward(self, *args, **kwargs):
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return super().forward(*args, **kwargs)


def test_an_interrupted_run_that_goes_on_says_so(capsys):
    def interrupt(state):
        if state.step == 5:
            raise KeyboardInterrupt

    model = model_of()
    history = train(model, DATA, steps=50, rng=rng(), callbacks=[interrupt],
                    return_on_interrupt=True)
    assert history.steps == [1, 2, 3, 4, 5]
    assert "interrupted after step 5 of 50" in capsys.readouterr().out


@pytest.mark.parametrize("at", range(1, 9))
def test_an_interrupt_inside_forward_keeps_history_and_parameters(at):
    """Calls: validation, steps 1-3, validation, steps 4-6; the interrupt may fall on any."""
    model = Interrupted(V, 8, 2, 1, 6, at=at, rng=np.random.default_rng(0))
    history = train(model, DATA, val_data=DATA[:20], eval_every=3, steps=20, rng=rng(),
                    return_on_interrupt=True)
    steps = [0, 0, 1, 2, 3, 3, 4, 5][at - 1]
    assert len(history.steps) == len(history.train_loss) == steps
    assert len(history.val_steps) == len(history.val_loss) == (0 if at == 1 else 1 if at < 6 else 2)
    reference = model_of()
    train(reference, DATA, steps=steps, rng=rng())
    assert same(model, reference)
    repr(history)


def test_blas_threads_and_error_state_are_given_back():
    def threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    def interrupt(state):
        inside.append((threads(), np.geterr()))
        raise KeyboardInterrupt

    before, state, inside = threads(), np.geterr(), []
    train(model_of(), DATA, steps=2, callbacks=[interrupt], return_on_interrupt=True)
    assert (threads(), np.geterr()) == (before, state)
    assert set(inside[0][0]) <= {1}


# Divergence


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("make, lr", [
    (SGD, 1e30), (AdamW, 1e3), (AdamW, 1e10), (AdamW, 1e30),
])
def test_a_run_that_diverges_stops_with_advice(make, lr, dtype):
    model = model_of(dtype=dtype)
    with pytest.raises(DivergenceError, match="learning rate") as error:
        train(model, DATA, steps=200, lr=lr, optimizer=make(model.parameters()), rng=rng(),
              grad_clip=math.inf)
    history = error.value.history
    assert isinstance(error.value, ValueError)
    assert 0 < len(history.steps) == len(history.train_loss) < 200
    assert np.isfinite(history.train_loss).all()
    assert all(np.isfinite(p.data).all() for p in model.parameters())
    assert f"step {len(history.steps) + 1}" in str(error.value) and f"{lr:g}" in str(error.value)


def test_a_model_that_is_not_finite_from_the_start():
    model = model_of()
    model.head.weight.data[0, 0] = np.nan
    with pytest.raises(DivergenceError, match="step 1.*nan"):
        train(model, DATA, steps=3, rng=rng())


# Memory


def test_memory_does_not_grow_while_training():
    """Without the cycle collector: what a step leaves behind would be left for good."""
    model, live, logits = model_of(), [], []
    whole = model.forward

    def forward(ids):
        out = whole(ids)
        logits.append(weakref.ref(out))
        return out

    def count(state):
        if state.step in (4, 12):
            live.append(sum(issubclass(type(o), Tensor) for o in gc.get_objects()))

    model.forward = forward
    gc.collect()
    gc.disable()
    try:
        train(model, DATA, val_data=DATA[:20], eval_every=5, steps=12, callbacks=[count], rng=rng())
    finally:
        gc.enable()
    assert live[0] == live[1]
    assert all(reference() is None for reference in logits)


# Refusals


@pytest.mark.parametrize("data, options, named", [
    (DATA[:6], {}, "6 tokens.*block_size=6"), ([], {}, "0 tokens"), (DATA * 1.0, {}, "float"),
    (DATA + 3, {}, r"out of range"), ("text", {}, "data"),
    (DATA, {"val_data": DATA[:5]}, "5 tokens"), (DATA, {"val_data": []}, "0 tokens"),
    (DATA, {"steps": -1}, "steps.*-1"), (DATA, {"steps": 1.5}, "steps.*1.5"),
    (DATA, {"steps": "3"}, "steps.*3"), (DATA, {"batch_size": 0}, "batch_size.*0"),
    (DATA, {"block_size": 0}, "block_size.*0"),
    (DATA, {"block_size": 7}, "7 tokens.*max_seq_len=6"),
    (DATA, {"eval_every": 0}, "eval_every.*0"), (DATA, {"rng": 3}, "rng.*3"),
])
def test_what_train_refuses(data, options, named):
    model = model_of()
    with pytest.raises(ValueError, match=named):
        train(model, data, **({"steps": 2} | options))
    assert same(model, model_of())


def test_an_optimizer_of_another_model_is_refused():
    """The classic of notebooks: a new model, and the old optimizer still around."""
    old, new = model_of(), model_of()
    with pytest.raises(ValueError, match="optimizer"):
        train(new, DATA, steps=2, optimizer=AdamW(old.parameters()))


# Does it learn?


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_loss_falls_below_the_bigrams(dtype):
    """A text whose next token depends on the last two: a bigram can't know it, a GPT can."""
    r, data = np.random.default_rng(0), [0, 1]
    while len(data) < 1500:
        data.append((data[-1] + data[-2] + (r.random() < 0.1)) % 4)
    first, last = train_val_split(data, 0.2)
    model = MiniGPT(4, 16, 2, 2, 8, rng=np.random.default_rng(0), dtype=dtype)
    history = train(model, first, val_data=last, steps=250, lr=cosine_schedule(1e-2, 250, 20),
        rng=rng())
    bigram = bigram_loss(bigram_probs(first, 4), last)
    assert history.val_loss[0] == pytest.approx(math.log(4), rel=0.1)
    assert history.val_loss[-1] < 0.6 * bigram


def test_plain_gradient_descent_learns_too():
    model = model_of()
    history = train(model, DATA, steps=150, lr=0.3, optimizer=SGD(model.parameters()), rng=rng())
    assert np.mean(history.train_loss[-10:]) < 0.6 * history.train_loss[0]


def test_a_model_learns_a_few_tokens_by_heart():
    model = model_of(layers=2)
    history = train(model, [0, 3, 1, 4, 2, 5, 5], steps=120, lr=0.02, batch_size=1, rng=rng())
    assert history.train_loss[-1] < 0.05


# What a user holds


def test_what_is_held_does_not_change_while_training_goes_on():
    model = model_of()
    optimizer = AdamW(model.parameters())
    train(model, DATA, steps=2, optimizer=optimizer, rng=rng())
    x, y = get_batch(DATA, 6, 3, rng())
    logits = model(x)
    loss = cross_entropy_loss(logits, y)
    loss.backward()
    held = {"logits": logits.data, "loss": loss.data, "logits.grad": logits.grad,
            "row": model.head.weight[0].data, "turned": model.head.weight.transpose().data,
            "state": model.state_dict()["head.weight"], "x": x, "y": y,
            "weights": model.attention_weights(x[0])}
    held |= {name: p.grad for name, p in model.named_parameters()}
    before = {name: array.copy() for name, array in held.items()}
    train(model, DATA, steps=5, optimizer=optimizer, rng=rng(), val_data=DATA[:20])
    for name, array in held.items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
