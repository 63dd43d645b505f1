"""Checks of lesson 5: the loss and its gradient, the training step, rates, clipping, entropy."""

from __future__ import annotations

import math

import numpy as np

from minigpt_helpers.autograd import Tensor
from minigpt_helpers.checks._ask import prediction
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import as_array, expect, expect_close, expect_same
from minigpt_helpers.checks._reference import log_softmax
from minigpt_helpers.corpora import load_corpus
from minigpt_helpers.functional import cross_entropy_loss
from minigpt_helpers.nn import MiniGPT
from minigpt_helpers.optim import SGD
from minigpt_helpers.text import CharTokenizer, get_batch, train_val_split
from minigpt_helpers.training import DivergenceError, train

# ---- the slow, obvious references ---------------------------------------------------------------


def _mean_loss(logits, targets):
    return -np.mean([log_softmax(row)[target] for row, target in zip(logits, targets)])


def _loss_gradient(logits, targets):
    rows = [np.exp(log_softmax(row)) - np.eye(len(row))[t] for row, t in zip(logits, targets)]
    return np.array(rows) / len(targets)


def _learning_rate_at(step, lr, total_steps, warmup_steps, min_lr):
    if step <= warmup_steps:
        return lr * step / warmup_steps
    progress = min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))
    return min_lr + (lr - min_lr) * 0.5 * (1 + math.cos(math.pi * progress))


def _clip_gradients(grads, max_norm):
    norm = math.sqrt(sum(float((g * g).sum()) for g in grads))
    return [g * min(1.0, max_norm / norm) if norm else g for g in grads]


# ---- the loss -----------------------------------------------------------------------------------

prediction(
    "predict_mean_loss",
    lesson=5,
    answer=2 * math.log(2),
    tol=0.01,
    expects="one number: the mean loss in nats of a chance of 1/8 and a chance of 1/2",
    hint="-ln(1/8) is ln 8 = 3 ln 2. Take both losses, then their mean.",
    near=[
        (-math.log(5 / 16), "You took the mean of the two chances first. The loss is the mean of "
         "the two losses."),
        (4 * math.log(2), "That is the sum. The mean of two is half of it."),
        (2, "That is in bits, with the logarithm to base 2. In nats it is the natural one."),
        (-2 * math.log(2), "A loss is positive: it is minus the logarithm."),
        (math.log(8), "That is the loss at the first position. Take the mean of both."),
    ],
)


@check(
    lesson=5,
    kind="any",
    expects="logits (T, V) of two models and targets (T,): the first model is right at more "
    "positions, and its mean loss is higher",
)
def more_right_but_worse(case, logits_first, logits_second, targets):
    first, second = as_array(logits_first), as_array(logits_second)
    targets = as_array(targets).astype(int)
    with case("two tables of logits for these targets"):
        expect(first.ndim == 2 and first.shape == second.shape == (len(targets), first.shape[-1]), (
            f"your logits have shapes {first.shape} and {second.shape}, and there are "
            f"{len(targets)} targets"
        ), "One row of logits for each target, in both tables.")
        expect(np.isfinite(first).all() and np.isfinite(second).all(),
               "your logits hold an infinity or a NaN", "Ordinary numbers will do.")
    right = [int((table.argmax(axis=1) == targets).sum()) for table in (first, second)]
    losses = [_mean_loss(table, targets) for table in (first, second)]
    swapped = right[0] < right[1] and losses[0] < losses[1]
    swap = "You have it the other way round: swap the two models."
    with case("the first is right more often"):
        expect(right[0] > right[1], (
            f"the first model is right {right[0]} times, the second {right[1]} times"
        ), swap if swapped else (
            "A model is right where the logit of the target is the largest of its row. Of two equal "
            "logits the left one counts."
        ))
    with case("the first has the higher loss"):
        expect(losses[0] > losses[1] + 1e-6, (
            f"the mean loss of the first is {losses[0]:.4f}, of the second {losses[1]:.4f}"
        ), swap if swapped else (
            "Let the first model be very sure at the place where it is wrong."
        ))


@check(
    lesson=5,
    expects="a function `mean_loss(logits, targets)`: arrays (T, V) and (T,) in, a number out",
    not_tested="speed; a batch axis",
)
def mean_loss(case, mean_loss):
    def at(table, targets):
        return table[np.arange(len(targets)), targets]

    def of_columns(z, targets):
        return -at(z - np.log(np.exp(z).sum(axis=0)), targets).mean()

    mistakes = [
        (lambda z, t: at(log_softmax(z), t).mean(), "The minus is missing: a loss is positive."),
        (lambda z, t: -at(log_softmax(z), t).sum(), "That is the sum over the positions. Take the "
         "mean."),
        (lambda z, t: -at(log_softmax(z), t), "These are the losses of the single positions. Take "
         "their mean."),
        (lambda z, t: -at(np.exp(log_softmax(z)), t).mean(), "The logarithm is missing."),
        (lambda z, t: -np.log(at(np.exp(log_softmax(z)), t).mean()), "You took the mean of the "
         "probabilities, then the logarithm. The loss is the mean of the logarithms."),
        (lambda z, t: -at(z, t).mean(), "The log of the sum is missing: that is only - z[target]."),
        (lambda z, t: np.log(np.exp(z).sum(axis=1)).mean(), "The logit of the target is missing."),
        (lambda z, t: -log_softmax(z).mean(), "You took the mean over all characters. Only the "
         "target of each row counts."),
        (lambda z, t: -at(log_softmax(z), t).mean() / math.log(2), "That is in bits. Use the "
         "natural logarithm, np.log."),
        (of_columns, "The sum runs along each row: axis=1, with keepdims=True."),
        (lambda z, t: -at(z - z.max() - np.log(np.exp(z - z.max()).sum()), t).mean(), "You summed "
         "over the whole array. Each row has its own sum: axis=1, keepdims=True."),
        (lambda z, t: (np.log(np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1)) - at(z, t))
         .mean(), "The maximum was subtracted in the sum, but not from the logit of the target."),
    ]
    for T, V in [(4, 2), (3, 5), (5, 5), (1, 3)]:
        logits, targets = case.rng.normal(size=(T, V)) * 2, case.rng.integers(V, size=T)
        with case(f"T={T}, V={V}"):
            expect_same(mean_loss, _mean_loss, logits, targets, mistakes=mistakes, hint=(
                "For each row: the log of the sum of the exponentials, minus the logit of the "
                "target. Then the mean over the rows."
            ))
    targets = np.array([2, 0, 1])
    with case("logits near 1000"):
        expect_same(mean_loss, _mean_loss, case.rng.normal(size=(3, 4)) + 1000, targets, hint=(
            "exp(1000) overflows. Subtract the largest logit of each row first."
        ))
    with case("one row near 1000, one near -1000"):
        apart = case.rng.normal(size=(3, 4)) + np.array([[1000.0], [-1000.0], [0.0]])
        expect_same(mean_loss, _mean_loss, apart, targets, hint=(
            "Each row needs its own maximum: axis=1, keepdims=True."
        ))
    with case("a target that the model all but excludes"):
        sure = np.zeros((3, 4))
        sure[[0, 1, 2], [0, 1, 2]] = 800.0
        expect_same(mean_loss, _mean_loss, sure, targets, hint=(
            "Here the target's probability is exp(-800), which a float cannot hold: it becomes 0, "
            "and its log minus infinity. Do not compute the probability: log of the sum, minus "
            "the logit."
        ))


@check(
    lesson=5,
    expects="a function `loss_gradient(logits, targets)`: arrays (T, V) and (T,) in, an array "
    "(T, V) out",
    not_tested="speed; a batch axis",
)
def loss_gradient(case, loss_gradient):
    def probs(z):
        return np.exp(log_softmax(z))

    def one_hot(z, t):
        return np.eye(z.shape[1])[t]

    mistakes = [
        (lambda z, t: probs(z) - one_hot(z, t), "The loss is a mean over T positions: divide by "
         "T."),
        (lambda z, t: (one_hot(z, t) - probs(z)) / len(t), "The sign is turned round: softmax minus "
         "one-hot."),
        (lambda z, t: one_hot(z, t) - probs(z), "The sign is turned round: softmax minus one-hot. "
         "And divide by T."),
        (lambda z, t: probs(z), "This is the softmax alone. Subtract 1 at the target of each row, "
         "and divide by T."),
        (lambda z, t: probs(z) / len(t), "Subtract 1 at the target of each row, before you divide."),
        (lambda z, t: probs(z) / len(t) - one_hot(z, t), "Divide the one-hot row by T, too."),
        (lambda z, t: (probs(z) - one_hot(z, t)) / z.size, "You divide by all T * V numbers. The "
         "mean is over the T positions only."),
        (lambda z, t: (probs(z) - one_hot(z, t)) / z.shape[1], "You divide by V. The mean is over "
         "the T positions."),
        (lambda z, t: (np.exp(log_softmax(z.T)).T - one_hot(z, t)) / len(t), "The softmax runs "
         "along each row: axis=1, keepdims=True."),
        (lambda z, t: (z - one_hot(z, t)) / len(t), "The softmax is missing: it is the "
         "probabilities minus one-hot, not the logits."),
        (lambda z, t: ((probs(z) - one_hot(z, t)) * one_hot(z, t)) / len(t), "The other characters "
         "have a gradient, too: their probability."),
    ]
    for T, V in [(4, 2), (3, 5), (6, 4), (1, 3)]:
        logits, targets = case.rng.normal(size=(T, V)) * 2, case.rng.integers(V, size=T)
        with case(f"T={T}, V={V}"):
            expect_same(loss_gradient, _loss_gradient, logits, targets, mistakes=mistakes, hint=(
                "softmax of each row, minus 1 at the row's target, all divided by T."
            ))
    with case("logits near 1000"):
        logits, targets = case.rng.normal(size=(3, 4)) + 1000, np.array([0, 3, 3])
        expect_same(loss_gradient, _loss_gradient, logits, targets, hint=(
            "exp(1000) overflows. Subtract the largest logit of each row first."
        ))


# ---- the step -----------------------------------------------------------------------------------


def _tiny_model() -> MiniGPT:
    return MiniGPT(5, 4, 1, 1, 4, rng=np.random.default_rng(0))


def _flat(model) -> np.ndarray:
    return np.concatenate([p.data.ravel() for p in model.parameters()])


def _after(step, batches, lr: float) -> tuple[np.ndarray, float]:
    """The parameters of a tiny model after `step` on each batch, and what the last one returned."""
    model, returned = _tiny_model(), None
    for x, y in batches:
        returned = step(model, x, y, lr)
    return _flat(model), returned


def _step(model, x, y, lr, *, sign=-1.0, zero="before"):
    parameters = model.parameters()
    loss = cross_entropy_loss(model(x), y)
    if zero == "before":
        for p in parameters:
            p.grad = 0.0
    loss.backward()
    if zero == "after":
        for p in parameters:
            p.grad = 0.0
    for p in parameters:
        p.data = p.data + sign * lr * p.grad
    return loss.item()


@check(
    lesson=5,
    expects="a function `model_step(model, x, y, lr)` that makes one step of gradient descent on "
    "ids x and y, (B, T) each, and returns the loss before the step",
    not_tested="speed",
)
def model_step(case, model_step):
    batches = [case.rng.integers(5, size=(2, 2, 4)) for _ in range(3)]  # x and y, (2, 4) each
    lr = 0.5
    mistakes = [
        (dict(sign=1.0), "The parameters go the wrong way. Where does a gradient point?"),
        (dict(sign=1.0, zero="never"), "The parameters go the wrong way, and the gradients of "
         "earlier steps add up. Where does a gradient point?"),
        (dict(zero="after"), "Nothing moves. Go through the lines one by one: what do the gradients "
         "hold at the moment of the step?"),
        (dict(zero="never"), "The gradients of earlier steps are still there, and add up. Set them "
         "to 0 before backward."),
        (dict(sign=-1 / lr), "The learning rate is not used."),
    ]
    for count in (1, 2, 3):
        with case(f"the parameters after {count} step{'s' if count > 1 else ''}"):
            got, _ = _after(model_step, batches[:count], lr)
            expect_close(got, _after(_step, batches[:count], lr)[0], "the parameters", mistakes=[
                (lambda how=how: _after(
                    lambda *args: _step(*args, **how), batches[:count], lr)[0], text)
                for how, text in mistakes
            ], hint="Forward, loss, gradients to zero, backward, step, in this order.")
    with case("gradients left over from before"):
        models = _tiny_model(), _tiny_model()
        for model in models:
            for p in model.parameters():
                p.grad = np.ones(p.shape)
        model_step(models[0], *batches[0], lr)
        _step(models[1], *batches[0], lr)
        expect_close(_flat(models[0]), _flat(models[1]), "the parameters", hint=(
            "Somebody used these gradients before you. Set them to 0 before backward, not after "
            "the step."
        ))
    with case("it returns the loss"):
        expected = _after(_step, batches, lr)[1]
        expect_close(_after(model_step, batches, lr)[1], expected, "the loss", hint=(
            "Return the loss that was computed before the step, as a number."
        ))


# ---- rates --------------------------------------------------------------------------------------

GOAL, STEPS = 2.40, 300


@check(
    lesson=5,
    kind="any",
    expects="a number: a learning rate with which SGD brings the small model below "
    f"{GOAL:.2f} in {STEPS} steps",
    seconds=60.0,
)
def good_learning_rate(case, lr):
    rate = as_array(lr)
    with case("a positive number"):
        expect(rate.ndim == 0 and np.isfinite(rate) and rate > 0, f"your rate is {lr!r:.40}",
               "Give one number above 0, for instance 0.05.")
    text = load_corpus("rhymes")
    tokenizer = CharTokenizer.from_text(text)
    data, _ = train_val_split(tokenizer.encode(text))
    model = MiniGPT(tokenizer.vocab_size, 16, 2, 1, 16, rng=np.random.default_rng(0))
    with case(f"the loss is below {GOAL:.2f} after {STEPS} steps"):
        try:
            losses = train(
                model, data, steps=STEPS, batch_size=8, optimizer=SGD(model.parameters(), float(rate)),
                rng=np.random.default_rng(1), grad_clip=math.inf,
            ).train_loss
        except DivergenceError:
            losses = [math.inf]
        end = float(np.mean(losses[-50:]))
        largest = max(losses)
        if largest > 2 * math.log(tokenizer.vocab_size):
            text = "it diverged: the loss grew beyond all bounds"
            expect(False, f"with a rate of {rate:g} {text}", "Your rate is too large. Try a tenth.")
        hint = "The loss falls, but slowly: your rate is too small."
        if rate > 0.5:
            hint = "Your rate is a little too large: the loss falls fast, then jumps about."
        expect(end < GOAL, f"with a rate of {rate:g} the loss ends at {end:.2f}", hint)


prediction(
    "predict_first_step",
    lesson=5,
    answer=1.0,
    tol=0.01,
    expects="one number: by what factor the second parameter's first step is longer",
    hint="At the first step the corrected means are just g and g squared. What is g divided by the "
    "root of g squared?",
    near=[
        (1000, "That holds for plain gradient descent. AdamW divides by the usual size of the "
         "gradient."),
        (math.sqrt(1000), "Put the first step into the formulas: m divided by the root of v is g "
         "divided by the root of g squared."),
        (0.001, "The larger gradient does not get the shorter step. Put the first step into the "
         "formulas."),
        (1e6, "v holds the square, but the step divides by its root."),
    ],
)


@check(
    lesson=5,
    expects="a function `learning_rate_at(step, lr, total_steps, warmup_steps, min_lr)` that "
    "returns the learning rate of a step, a number",
    not_tested="step 0; more warm-up than steps",
)
def learning_rate_at(case, learning_rate_at):
    def cosine(progress, lr, low):
        return low + (lr - low) * 0.5 * (1 + math.cos(math.pi * progress))

    def after(wrong):
        """A mistake in the second part only."""
        def rate(step, lr, total_steps, warmup_steps, min_lr):
            if step <= warmup_steps:
                return lr * step / warmup_steps
            return wrong(step, lr, total_steps, warmup_steps, min_lr)
        return rate

    part = [
        (lambda s, lr, n, w, low: cosine(s / n, lr, low), "The cosine begins after the warm-up: "
         "its progress is (s - W) / (N - W)."),
        (lambda s, lr, n, w, low: cosine((s - w) / n, lr, low), "The cosine has N - W steps: divide "
         "by that, not by N."),
        (lambda s, lr, n, w, low: cosine((s - w) / (n - w), lr, 0.0), "It should end at min_lr, "
         "not at 0."),
        (lambda s, lr, n, w, low: low + cosine((s - w) / (n - w), lr, 0.0), "At the top it is "
         "min_lr too high: the cosine spans lr - min_lr."),
        (lambda s, lr, n, w, low: low + (lr - low) * (1 + math.cos(math.pi * (s - w) / (n - w))),
         "The factor 1/2 is missing: 1 + cos goes from 2 to 0."),
        (lambda s, lr, n, w, low: low + (lr - low) * 0.5 * (1 + math.cos((s - w) / (n - w))),
         "The pi is missing inside the cosine."),
        (lambda s, lr, n, w, low: low + (lr - low) * math.cos(math.pi * (s - w) / (n - w)),
         "The cosine goes from 1 to -1. It is (1 + cos) / 2 that goes from 1 to 0."),
        (lambda s, lr, n, w, low: low + (lr - low) * 0.5 * (1 - math.cos(math.pi * (s - w) / (n - w))),
         "It rises. The sign before the cosine is plus."),
        (lambda s, lr, n, w, low: low + (lr - low) * (1 - (s - w) / (n - w)), "That is a straight "
         "line down. The lesson's is half a cosine."),
    ]
    mistakes = [(after(wrong), text) for wrong, text in part]
    mistakes += [
        (lambda s, lr, n, w, low: _learning_rate_at(s, lr, n, 0, low), "The warm-up is missing."),
        (lambda s, lr, n, w, low: low + (lr - low) * s / w, "The warm-up rises from 0, not from "
         "min_lr: lr * s / W."),
        (lambda s, lr, n, w, low: lr * (s - 1) / w, "Steps are counted from 1: in step W the rate "
         "is the full one."),
    ]
    settings = dict(lr=0.01, total_steps=200, warmup_steps=20, min_lr=0.001)
    no_min = dict(lr=2.0, total_steps=11, warmup_steps=3, min_lr=0.0)
    no_warmup = dict(lr=1.0, total_steps=10, warmup_steps=0, min_lr=0.5)
    for name, steps, how in [
        ("during warm-up", (1, 7, 20), settings),
        ("on the cosine", (21, 65, 110, 171), settings),
        ("at the last step", (200,), settings),
        ("with other numbers", (1, 3, 4, 9, 11), no_min),
        ("without warm-up", (1, 5, 10), no_warmup),
    ]:
        with case(name):
            for step in steps:
                expect_same(learning_rate_at, _learning_rate_at, step, *how.values(),
                            mistakes=mistakes, hint=(
                    "Three cases: s <= W, then up to N, then after it."
                ))
    with case("past the last step"):
        for step in (201, 250, 400):
            expect_same(learning_rate_at, _learning_rate_at, step, *settings.values(), hint=(
                "After the last step the rate stays at min_lr. Without a case of its own the "
                "cosine comes up again."
            ))


# ---- clipping -----------------------------------------------------------------------------------


@check(
    lesson=5,
    expects="a function `clip_gradients(grads, max_norm)`: a list of arrays and a number in, a "
    "list of arrays of the same shapes out",
    not_tested="gradients that are all 0",
)
def clip_gradients(case, clip_gradients):
    def total(grads):
        return math.sqrt(sum(float((g * g).sum()) for g in grads))

    mistakes = [
        (lambda gs, most: list(gs), "Nothing was clipped."),
        (lambda gs, most: [g * min(1.0, most / np.sqrt((g * g).sum())) for g in gs], "Each array "
         "was clipped by its own norm. That changes the direction: one norm for all of them."),
        (lambda gs, most: [np.clip(g, -most, most) for g in gs], "Each number was clipped on its "
         "own. That changes the direction. Multiply all by one factor."),
        (lambda gs, most: [g * (most / total(gs)) for g in gs], "A gradient that is short enough "
         "must stay as it is: the factor is at most 1."),
        (lambda gs, most: [g * min(1.0, most / total(gs) ** 2) for g in gs], "The root is missing: "
         "the norm is the root of the sum of squares."),
        (lambda gs, most: [g * min(1.0, most / sum(np.sqrt((g * g).sum()) for g in gs))
                           for g in gs], "You added up the norms of the arrays. Add up all the "
         "squares, then take one root."),
        (lambda gs, most: [g * min(1.0, most / sum(np.abs(g).sum() for g in gs)) for g in gs],
         "You added up the sizes. The norm is the root of the sum of the squares."),
        (lambda gs, most: [g * min(1.0, 1 / total(gs)) for g in gs], "The bound is max_norm, not "
         "always 1."),
        (lambda gs, most: [g * max(1.0, most / total(gs)) for g in gs], "min and max are swapped: "
         "the factor is at most 1."),
        (lambda gs, most: [g * (total(gs) / most) for g in gs], "The fraction is upside down: a "
         "long gradient needs a small factor, max_norm / norm."),
    ]
    shapes = [(3,), (2, 4), (1, 1, 2)]
    for name, size, bound in [
        ("a long gradient", 5.0, 1.0),
        ("a bound of 0.25", 1.0, 0.25),
        ("a bound of 3", 4.0, 3.0),
        ("a short gradient stays as it is", 0.01, 1.0),
    ]:
        grads = [case.rng.normal(size=shape) * size for shape in shapes]
        with case(name):
            got = clip_gradients(grads, bound)
            expect(isinstance(got, (list, tuple)) and len(got) == len(grads),
                   "expected a list of as many arrays", "Return the list of scaled arrays.")
            for i, (mine, want) in enumerate(zip(got, _clip_gradients(grads, bound), strict=True)):
                expect_close(mine, want, f"array {i}", mistakes=[
                    (lambda wrong=wrong: wrong(grads, bound)[i], text) for wrong, text in mistakes
                ], hint="norm: the root of the sum of all squares; factor: max_norm / norm, but at "
                        "most 1.")


# ---- diagnosis, symptoms, entropy ---------------------------------------------------------------

prediction(
    "predict_diagnosis",
    lesson=5,
    answer="gradients",
    expects='the name of one line of the checklist, such as "shapes"',
    hint="The blocks are computed. What happens to their result? And what follows for their "
    "parameters?",
    near=[
        ("overfits a few tokens", "Sixteen characters at sixteen positions: the two embeddings and "
         "the head can learn those by heart without any block."),
        ("causal mask", "Follow one position through forward: can it see any other at all?"),
        ("shapes", "The head still gives one row of V logits for each position."),
        ("first loss", "The head starts with small weights, as ever: the first loss is about ln V."),
    ],
)

prediction(
    "predict_coin_diary",
    lesson=5,
    answer=math.log(2) / 5,
    tol=0.001,
    expects="one number: the least loss on the small diary, in nats per character",
    hint="What do the draws of one line cost, and how many characters does the line have?",
    near=[
        (math.log(2), "That is what a line costs, in nats. A line has several characters."),
        (math.log(2) / 4, "Count the characters of a line again: the line break is one, too."),
        (0.2, "That is in bits. In nats a fair coin costs ln 2."),
        (0.0, "Nobody can foresee the coin, so the floor is above 0."),
        (math.log(2) / 10, "Each line holds one draw: one coin for 5 characters."),
    ],
)

prediction(
    "predict_unshifted_loss",
    lesson=5,
    answer=0.0,
    tol=0.05,
    expects="one number: where the training loss goes if the targets are the inputs",
    hint="How hard is it to say which character you have just been shown?",
    near=[
        (math.log(32), "That is a uniform guess. This task is far easier than guessing."),
        (2.2, "That is the bigram's loss at the real task. Here the answer stands in the input."),
        (1.6, "That is a good loss at the real task. Here the answer stands in the input."),
    ],
)
