"""Answers to the exercises of lesson 5."""

from __future__ import annotations

import math

import numpy as np

from minigpt_helpers import (
    SGD,
    Tensor,
    clip_grad_norm,
    cosine_schedule,
    cross_entropy_loss,
)


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
def clip_as_pytorch(grads, max_norm):
    norm = np.linalg.norm(np.concatenate([g.ravel() for g in grads]))
    return [g * min(1.0, max_norm / (norm + 1e-6)) for g in grads]


def step_in_another_order(model, x, y, lr):
    for p in model.parameters():
        p.grad = 0.0
    loss = cross_entropy_loss(model(x), y)
    loss.backward()
    for p in model.parameters():
        p.data -= lr * p.grad
        p.grad = 0.0  # clean for the next step
    return float(loss.data)


RIGHT = [
    ("clip_gradients", clip_as_pytorch),
    ("model_step", step_in_another_order),
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

def softmax(z):
    exps = np.exp(stable(z))
    return exps / exps.sum(axis=1, keepdims=True)


def loss_from_probabilities(z, t):
    return -np.log(at(softmax(z), t)).mean()


def always_divides(step, lr, total_steps, warmup_steps, min_lr):
    warm = lr * step / warmup_steps
    return warm if step <= warmup_steps else rate_by_cases(
        step, lr, total_steps, warmup_steps, min_lr)


def step_without_return(model, x, y, lr):
    step_as_in_the_lesson(model, x, y, lr)


WRONG = [
    ("predict_mean_loss", 0.3, "ln 8"),
    ("more_right_but_worse", ([[1, 0], [0, 1], [0, 1]], [[1, 0], [1, 0], [0, 9]], TARGETS), "swap"),
    ("more_right_but_worse", ([[1, 0], [1, 0], [0, 1]], [[0, 9]] * 3, TARGETS), "very sure"),
    ("more_right_but_worse", ([[1, 0]], [[0, 1]], TARGETS), "One row of logits"),
    ("more_right_but_worse", ([[1, 0]] * 2 + [[0, np.inf]], [[0, 1]] * 3, TARGETS), "Ordinary"),
    ("more_right_but_worse", ([[0, 9]] * 3, [[0, 1]] * 3, TARGETS), "right more often"),
    ("mean_loss", loss_from_probabilities, r"exp\(-800\)"),
    ("model_step", step_without_return, "got None"),
    ("good_learning_rate", 0.01, "too small"),
    ("good_learning_rate", 30, "too large"),
    ("good_learning_rate", -0.1, "one number above 0"),
    ("good_learning_rate", [0.1, 0.3], "one number above 0"),
    ("good_learning_rate", math.nan, "one number above 0"),
    ("learning_rate_at", always_divides, "ZeroDivisionError"),
    ("predict_unshifted_loss", 1.0, "just been shown"),
]
