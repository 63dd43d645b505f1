"""Lesson 5's checks accept right answers in any style and name what is wrong with the others."""

import functools
import math

import numpy as np
import pytest

from minigpt_helpers import (
    SGD,
    Tensor,
    checks,
    clip_grad_norm,
    cosine_schedule,
    cross_entropy_loss,
)
from minigpt_helpers.checks.training import _mean_loss


def at(table, targets):
    return table[np.arange(len(targets)), targets]


def stable(z):
    return z - z.max(axis=1, keepdims=True)


# ---- right answers ------------------------------------------------------------------------------


def loss_in_numpy(logits, targets):
    z = stable(logits)
    return (np.log(np.exp(z).sum(axis=1)) - at(z, targets)).mean()


def loss_by_loop(logits, targets):
    total = 0.0
    for row, target in zip(logits.tolist(), targets.tolist()):
        m = max(row)
        total += m + math.log(sum(math.exp(z - m) for z in row)) - row[target]
    return total / len(targets)


def gradient_in_numpy(logits, targets):
    p = np.exp(stable(logits))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(targets)), targets] -= 1
    return p / len(targets)


def gradient_by_loop(logits, targets):
    rows = []
    for row, target in zip(logits.tolist(), targets.tolist()):
        exps = [math.exp(z - max(row)) for z in row]
        rows.append([(e / sum(exps) - (i == target)) / len(targets) for i, e in enumerate(exps)])
    return rows


def gradient_by_autograd(logits, targets):
    leaf = Tensor(logits)
    cross_entropy_loss(leaf, targets).backward()
    return leaf.grad


def step_as_in_the_lesson(model, x, y, lr):
    loss = cross_entropy_loss(model(x), y)
    for p in model.parameters():
        p.grad = 0.0
    loss.backward()
    for p in model.parameters():
        p.data -= lr * p.grad
    return loss.item()


def step_with_an_optimizer(model, x, y, lr):
    optimizer = SGD(model.parameters(), lr)
    loss = cross_entropy_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss  # a Tensor will do


def rate_by_cases(step, lr, total_steps, warmup_steps, min_lr):
    if step <= warmup_steps:
        return lr * step / warmup_steps
    if step > total_steps:
        return min_lr
    part = (step - warmup_steps) / (total_steps - warmup_steps)
    return min_lr + (lr - min_lr) * (1 + np.cos(np.pi * part)) / 2


def rate_by_the_package(step, lr, total_steps, warmup_steps, min_lr):
    return cosine_schedule(lr, total_steps, warmup_steps, min_lr)(step)


def clip_in_numpy(grads, max_norm):
    norm = np.sqrt(sum((g**2).sum() for g in grads))
    factor = min(1, max_norm / norm)
    return [factor * g for g in grads]


def clip_by_one_long_vector(grads, max_norm):
    norm = np.linalg.norm(np.concatenate([g.ravel() for g in grads]))
    return grads if norm <= max_norm else [g * max_norm / norm for g in grads]


def clip_by_the_package(grads, max_norm):
    tensors = [Tensor(np.zeros(g.shape)) for g in grads]
    for tensor, g in zip(tensors, grads):
        tensor.grad = g
    clip_grad_norm(tensors, max_norm)
    return [tensor.grad for tensor in tensors]


TARGETS = [0, 0, 0]
RIGHT = [
    ("predict_mean_loss", 2 * math.log(2)),
    ("predict_mean_loss", 1.39),
    ("more_right_but_worse", ([[1, 0], [1, 0], [0, 9]], [[1, 0], [0, 1], [0, 1]], TARGETS)),
    ("more_right_but_worse", (np.array([[0.1, 0, 0], [-40, 0, 5]]), np.eye(3)[[1, 1]] / 9, [0, 0])),
    ("mean_loss", loss_in_numpy),
    ("mean_loss", loss_by_loop),
    ("mean_loss", lambda z, t: cross_entropy_loss(Tensor(z), t)),
    ("loss_gradient", gradient_in_numpy),
    ("loss_gradient", gradient_by_loop),
    ("loss_gradient", gradient_by_autograd),
    ("model_step", step_as_in_the_lesson),
    ("model_step", step_with_an_optimizer),
    ("good_learning_rate", 0.5),
    ("good_learning_rate", np.float64(1.0)),
    ("predict_first_step", 1),
    ("predict_first_step", 1.0),
    ("learning_rate_at", rate_by_cases),
    ("learning_rate_at", rate_by_the_package),
    ("clip_gradients", clip_in_numpy),
    ("clip_gradients", clip_by_one_long_vector),
    ("clip_gradients", clip_by_the_package),
    ("predict_diagnosis", "gradients"),
    ("predict_diagnosis", " Gradients "),
    ("predict_coin_diary", 0.1386),
    ("predict_coin_diary", math.log(2) / 5),
    ("predict_unshifted_loss", 0),
    ("predict_unshifted_loss", 0.01),
]

# ---- wrong answers, each with its hint ----------------------------------------------------------


def softmax(z):
    exps = np.exp(stable(z))
    return exps / exps.sum(axis=1, keepdims=True)


def naive_loss(z, t):
    with np.errstate(all="ignore"):
        return (np.log(np.exp(z).sum(axis=1)) - at(z, t)).mean()


def loss_from_probabilities(z, t):
    with np.errstate(all="ignore"):
        return -np.log(at(softmax(z), t)).mean()


def loss_with_one_maximum(z, t):
    z = z - z.max()
    with np.errstate(all="ignore"):
        return (np.log(np.exp(z).sum(axis=1)) - at(z, t)).mean()


def naive_gradient(z, t):
    with np.errstate(all="ignore"):
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return (p - np.eye(z.shape[1])[t]) / len(t)


def step(sign=-1, zero="before", rate=True, back=True, model=None, x=None, y=None, lr=None):
    loss = cross_entropy_loss(model(x), y)
    for now in ("before", "after"):
        if zero == now:
            for p in model.parameters():
                p.grad = 0.0
        if now == "before" and back:
            loss.backward()
    for p in model.parameters():
        p.data = p.data + sign * (lr if rate else 1.0) * p.grad
    return loss.item()


def step_with(**how):
    return lambda model, x, y, lr: step(**how, model=model, x=x, y=y, lr=lr)


def zero_at_the_end(model, x, y, lr):
    loss = step(zero="never", model=model, x=x, y=y, lr=lr)
    for p in model.parameters():
        p.grad = 0.0
    return loss


def returns_the_loss_afterwards(model, x, y, lr):
    step(model=model, x=x, y=y, lr=lr)
    return cross_entropy_loss(model(x), y).item()


def rate(progress=lambda s, n, w: (s - w) / (n - w), *, floor=True, half=0.5, inner=math.pi,
         sign=1, warm=lambda s, lr, w, low: lr * s / w):
    def learning_rate_at(step, lr, total_steps, warmup_steps, min_lr):
        if step <= warmup_steps:
            return warm(step, lr, warmup_steps, min_lr)
        low = min_lr if floor else 0.0
        part = min(1, progress(step, total_steps, warmup_steps))
        return low + (lr - low) * half * (1 + sign * math.cos(inner * part))

    return learning_rate_at


def comes_up_again(step, lr, total_steps, warmup_steps, min_lr):
    if step <= warmup_steps:
        return lr * step / warmup_steps
    part = (step - warmup_steps) / (total_steps - warmup_steps)
    return min_lr + (lr - min_lr) * (1 + math.cos(math.pi * part)) / 2


def always_divides(step, lr, total_steps, warmup_steps, min_lr):
    warm = lr * step / warmup_steps
    return warm if step <= warmup_steps else rate_by_cases(
        step, lr, total_steps, warmup_steps, min_lr)


def norm(grads):
    return np.sqrt(sum((g * g).sum() for g in grads))


WRONG = [
    ("predict_mean_loss", 1.163, "the two chances first"),
    ("predict_mean_loss", 2.77, "That is the sum"),
    ("predict_mean_loss", 2, "in bits"),
    ("predict_mean_loss", -1.386, "A loss is positive"),
    ("predict_mean_loss", 0.3, "ln 8"),
    ("more_right_but_worse", ([[1, 0], [0, 1], [0, 1]], [[1, 0], [1, 0], [0, 9]], TARGETS), "swap"),
    ("more_right_but_worse", ([[1, 0], [1, 0], [0, 1]], [[0, 9]] * 3, TARGETS), "very sure"),
    ("more_right_but_worse", ([[1, 0]], [[0, 1]], TARGETS), "One row of logits"),
    ("more_right_but_worse", ([[1, 0]] * 2 + [[0, np.inf]], [[0, 1]] * 3, TARGETS), "Ordinary"),
    ("more_right_but_worse", ([[0, 9]] * 3, [[0, 1]] * 3, TARGETS), "right more often"),
    ("mean_loss", lambda z, t: -loss_in_numpy(z, t), "The minus is missing"),
    ("mean_loss", lambda z, t: loss_in_numpy(z, t) * len(t), "That is the sum"),
    ("mean_loss", lambda z, t: np.log(np.exp(stable(z)).sum(axis=1)) - at(stable(z), t), "single"),
    ("mean_loss", lambda z, t: -at(softmax(z), t).mean(), "The logarithm is missing"),
    ("mean_loss", lambda z, t: -np.log(at(softmax(z), t).mean()), "mean of the probabilities"),
    ("mean_loss", lambda z, t: loss_in_numpy(z, t) / np.log(2), "in bits"),
    ("mean_loss", lambda z, t: np.log(np.exp(stable(z)).sum(axis=1)).mean() - at(z, t).mean(),
     "not from the logit of the target"),
    ("mean_loss", naive_loss, "overflows"),
    ("mean_loss", loss_from_probabilities, "exp(-800)"),
    ("mean_loss", loss_with_one_maximum, "its own maximum"),
    ("loss_gradient", lambda z, t: softmax(z) - np.eye(z.shape[1])[t], "divide by T"),
    ("loss_gradient", lambda z, t: -gradient_in_numpy(z, t), "turned round"),
    ("loss_gradient", lambda z, t: softmax(z), "the softmax alone"),
    ("loss_gradient", lambda z, t: softmax(z) / len(t), "before you divide"),
    ("loss_gradient", lambda z, t: gradient_in_numpy(z, t) / z.shape[1], "all T * V numbers"),
    ("loss_gradient", lambda z, t: (z - np.eye(z.shape[1])[t]) / len(t), "softmax is missing"),
    ("loss_gradient", naive_gradient, "overflows"),
    ("model_step", step_with(sign=1), "the wrong way"),
    ("model_step", step_with(zero="after"), "Nothing moves"),
    ("model_step", step_with(zero="after", sign=1), "Nothing moves"),
    ("model_step", step_with(back=False), "what do the gradients hold"),
    ("model_step", step_with(zero="never"), "add up"),
    ("model_step", step_with(rate=False), "learning rate is not used"),
    ("model_step", zero_at_the_end, "before you"),
    ("model_step", returns_the_loss_afterwards, "before the step"),
    ("good_learning_rate", 0.01, "too small"),
    ("good_learning_rate", 30, "too large"),
    ("good_learning_rate", -0.1, "one number above 0"),
    ("good_learning_rate", [0.1, 0.3], "one number above 0"),
    ("good_learning_rate", math.nan, "one number above 0"),
    ("predict_first_step", 1000, "plain gradient descent"),
    ("predict_first_step", 31.62, "the root of g squared"),
    ("predict_first_step", 0.001, "not get the shorter step"),
    ("predict_first_step", 1_000_000, "divides by its root"),
    ("learning_rate_at", rate(lambda s, n, w: s / n), "begins after the warm-up"),
    ("learning_rate_at", rate(lambda s, n, w: (s - w) / n), "N - W steps"),
    ("learning_rate_at", rate(floor=False), "end at min_lr"),
    ("learning_rate_at", rate(half=1.0), "factor 1/2"),
    ("learning_rate_at", rate(inner=1.0), "pi is missing"),
    ("learning_rate_at", rate(sign=-1), "It rises"),
    ("learning_rate_at", rate(warm=lambda s, lr, w, low: low + (lr - low) * s / w), "rises from 0"),
    ("learning_rate_at", rate(warm=lambda s, lr, w, low: lr * (s - 1) / w), "counted from 1"),
    ("learning_rate_at", comes_up_again, "comes up again"),
    ("learning_rate_at", always_divides, "ZeroDivisionError"),
    ("clip_gradients", lambda gs, m: [g * min(1, m / norm([g])) for g in gs], "by its own norm"),
    ("clip_gradients", lambda gs, m: [np.clip(g, -m, m) for g in gs], "Each number"),
    ("clip_gradients", lambda gs, m: [g * m / norm(gs) for g in gs], "at most 1"),
    ("clip_gradients", lambda gs, m: [g * min(1, m / norm(gs) ** 2) for g in gs], "root is missing"),
    ("clip_gradients", lambda gs, m: [g * max(1, m / norm(gs)) for g in gs], "min and max"),
    ("clip_gradients", lambda gs, m: [g * min(1, 1 / norm(gs)) for g in gs], "not always 1"),
    ("clip_gradients", lambda gs, m: gs, "Nothing was clipped"),
    ("clip_gradients", lambda gs, m: np.concatenate([g.ravel() for g in gs]), "list of as many"),
    ("predict_diagnosis", "shapes", "one row of V logits"),
    ("predict_diagnosis", "causal mask", "Follow one position"),
    ("predict_diagnosis", "first loss", "small weights"),
    ("predict_diagnosis", "overfits a few tokens", "without any block"),
    ("predict_coin_diary", 0.693, "what a line costs"),
    ("predict_coin_diary", 0.1733, "line break"),
    ("predict_coin_diary", 0.2, "in bits"),
    ("predict_coin_diary", 0, "foresee the coin"),
    ("predict_unshifted_loss", 3.4657, "far easier"),
    ("predict_unshifted_loss", 2.2, "bigram"),
    ("predict_unshifted_loss", 1.6, "the answer stands"),
    ("predict_unshifted_loss", 1.0, "just been shown"),
]


def judge(name, answer):
    return getattr(checks, name)(*(answer if isinstance(answer, tuple) else (answer,)))


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_a_right_answer_is_accepted(name, answer):
    result = judge(name, answer)
    assert result.passed and result.score == 1.0, result.message


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_a_wrong_answer_is_refused_with_the_fitting_hint(name, answer, hint):
    result = judge(name, answer)
    assert not result.passed and result.message.startswith("not yet"), result.message
    assert hint in result.message, result.message


STUBS = {
    "mean_loss": lambda logits, targets: ...,
    "loss_gradient": lambda logits, targets: ...,
    "learning_rate_at": lambda step, lr, total_steps, warmup_steps, min_lr: ...,
    "clip_gradients": lambda grads, max_norm: [... * g for g in grads],
    "model_step": lambda model, x, y, lr: ...,
}


@pytest.mark.parametrize("name", [entry.name for entry in checks.catalogue(5)])
def test_a_stub_is_not_done_yet(name):
    count = len(getattr(checks, name).entry.takes)
    for stub in (None, ..., STUBS.get(name, ...)):
        result = getattr(checks, name)(*[stub] * count)
        assert not result.passed and result.message.startswith("not done yet"), result.message


def test_every_check_of_the_lesson_is_tested_here():
    names = {entry.name for entry in checks.catalogue(5)}
    assert len(names) == 12
    for name in names:
        assert sum(case[0] == name for case in RIGHT) >= 2, name
        assert sum(case[0] == name for case in WRONG) >= 4, name


def test_the_reference_loss_is_the_packages():
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(4, 3)), rng.integers(3, size=4)
    expected = cross_entropy_loss(Tensor(logits), targets).item()
    assert _mean_loss(logits, targets) == pytest.approx(expected, rel=1e-12)


def test_what_the_reader_hands_in_stays_as_it_is():
    logits = np.arange(6.0).reshape(3, 2)
    before = logits.copy()
    checks.more_right_but_worse(logits, logits[::-1], TARGETS)
    np.testing.assert_array_equal(logits, before)
    partial = functools.partial(clip_in_numpy)
    assert checks.clip_gradients(partial).passed
