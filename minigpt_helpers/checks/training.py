"""Checks of lesson 5: the loss and its gradient, the training step, rates, clipping, entropy."""

from __future__ import annotations

import math

import numpy as np

from minigpt_helpers.checks._ask import prediction
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import as_array, expect, show
from minigpt_helpers.checks._exercise import exercise
from minigpt_helpers.checks._reference import log_softmax
from minigpt_helpers.corpora import load_corpus
from minigpt_helpers.functional import cross_entropy_loss
from minigpt_helpers.nn import MiniGPT
from minigpt_helpers.optim import SGD
from minigpt_helpers.text import CharTokenizer, train_val_split
from minigpt_helpers.training import DivergenceError, train


def _mean_loss(logits, targets):
    return -np.mean([log_softmax(row)[target] for row, target in zip(logits, targets)])


# ---- the loss -----------------------------------------------------------------------------------

prediction(
    "predict_mean_loss",
    lesson=5,
    answer=2 * math.log(2),
    tol=0.01,
    expects="one number: the mean loss in nats of a probability of 1/8 and a probability of 1/2",
    hint="-ln(1/8) is ln 8 = 3 ln 2. Take both losses, then their mean.",
    near=[
        (-math.log(5 / 16), "You took the mean of the two probabilities first. The loss is the mean of "
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
            "Let the first model be very sure at the position where it is wrong."
        ))


def _logits(rng):
    for T, V in [(4, 2), (3, 5), (5, 5), (1, 3), (6, 4)]:
        yield f"T={T}, V={V}", rng.normal(size=(T, V)) * 2, rng.integers(V, size=T)
    targets = np.array([2, 0, 1])
    for level in (1000, -1000):
        yield f"logits near {level}", rng.normal(size=(3, 4)) + level, targets
    apart = rng.normal(size=(3, 4)) + [[1000.0], [-1000.0], [0.0]]
    yield "one row near 1000, one near -1000", apart, targets
    sure = np.zeros((3, 4))
    sure[[0, 1, 2], [0, 1, 2]] = 800.0
    yield "a target that the model all but excludes", sure, targets


_EACH = "[np.arange(len(targets)), targets]"
_STABLE = [
    ("logits - logits.max(axis=1, keepdims=True)", "logits", "exp(1000) overflows. Subtract the "
     "largest logit of each row first."),
    ("logits.max(axis=1, keepdims=True)", "logits.max()", "Each row needs its own maximum: axis=1, "
     "keepdims=True."),
]


@exercise(
    lesson=5,
    expects="a function `mean_loss(logits, targets)`: arrays (T, V) and (T,) in, a number out",
    not_tested="speed; a batch axis",
    in_words="for each row the log of the sum of the exponentials, minus the logit of the target; "
    "then the mean over the rows",
    cases=_logits,
    slips=[
        *_STABLE,
        ("logits.max(axis=1, keepdims=True)", "np.abs(logits).max(axis=1, keepdims=True)",
         "Subtract the largest logit, not the largest size: near -1000 every exp becomes 0."),
        ("log_sums - picked", "picked - log_sums", "The minus is missing: a loss is positive."),
        (".mean()", ".sum()", "That is the sum over the positions. Take the mean."),
        (".mean()", "", "These are the losses of the single positions. Take their mean."),
        (".mean()", ".mean() / np.log(2)", "That is in bits. Use the natural logarithm, np.log."),
        ("(log_sums - picked)", "-np.exp(picked - log_sums)", "The logarithm is missing."),
        ("(log_sums - picked).mean()", "-np.log(np.exp(picked - log_sums).mean())", "You took the "
         "mean of the probabilities, then the logarithm. The loss is the mean of the logarithms."),
        ("(log_sums - picked)", f"-logits{_EACH}", "The log of the sum is missing: that is only "
         "- z[target]."),
        ("(log_sums - picked)", "np.log(np.exp(logits).sum(axis=1))", "The logit of the target is "
         "missing."),
        ("(log_sums - picked)", "(log_sums[:, None] - shifted)", "You took the mean over all "
         "characters. Only the target of each row counts."),
        ("sum(axis=1)", "sum(axis=0)", "The sum runs along each row: axis=1."),
        ("sum(axis=1)", "sum()", "You summed over the whole array. Each row has its own sum: "
         "axis=1."),
        ("picked = shifted", "picked = logits", "The maximum was subtracted in the sum, but not "
         "from the logit of the target."),
        ("(log_sums - picked)", "-np.log(np.exp(picked) / np.exp(log_sums))", "A probability of "
         "exp(-800) is 0 to a float, and its log minus infinity. Do not compute the probability: "
         "log of the sum, minus the logit."),
        ("(log_sums - picked)", "-np.log(np.exp(picked - log_sums) + 1e-12)", "A small number added "
         "to the probability hides how wrong the model is. Do not compute the probability: log of "
         "the sum, minus the logit."),
    ],
)
def mean_loss(logits, targets):
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))
    picked = shifted[np.arange(len(targets)), targets]
    return (log_sums - picked).mean()


_AT = f"probs{_EACH} -= 1"


@exercise(
    lesson=5,
    expects="a function `loss_gradient(logits, targets)`: arrays (T, V) and (T,) in, an array "
    "(T, V) out",
    not_tested="speed; a batch axis",
    in_words="softmax of each row, minus 1 at the row's target, all divided by T",
    cases=_logits,
    slips=[
        *_STABLE,
        (" / len(targets)", "", "The loss is a mean over T positions: divide by T."),
        ("return probs", "return -probs", "The sign: softmax minus one-hot."),
        (_AT, "pass", "Subtract 1 at the target of each row, before you divide."),
        (_AT, f"probs{_EACH} -= len(targets)", "Divide the one-hot row by T, too."),
        ("probs / len(targets)", "probs / probs.size", "You divide by all T * V numbers. The mean "
         "is over the T positions only."),
        ("probs / len(targets)", "probs / probs.shape[1]", "You divide by V. The mean is over the T "
         "positions."),
        ("exps.sum(axis=1, keepdims=True)", "exps.sum(axis=0)", "The softmax runs along each row: "
         "axis=1, keepdims=True."),
        ("exps.sum(axis=1, keepdims=True)", "exps.sum()", "Each row has its own sum: axis=1, "
         "keepdims=True."),
        ("exps / exps.sum(axis=1, keepdims=True)", "logits.copy()", "The softmax is missing: it is "
         "the probabilities minus one-hot, not the logits."),
        ("return probs", "return probs * np.eye(probs.shape[1])[targets]", "The other characters "
         "have a gradient, too: their probability."),
        (_AT, f"probs{_EACH} = 0", "At the target it is p - 1, not 0."),
        (_AT, "probs[:, targets] -= 1", "Row t has its target at [t, targets[t]] only: use "
         "np.arange(T) for the rows."),
    ],
)
def loss_gradient(logits, targets):
    exps = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs = exps / exps.sum(axis=1, keepdims=True)
    probs[np.arange(len(targets)), targets] -= 1
    return probs / len(targets)


# ---- the step -----------------------------------------------------------------------------------


def _after(step, batches, lr, _left_over, what):
    """The parameters of a tiny model after a step on each batch, or what the last one returned."""
    model = MiniGPT(5, 4, 1, 1, 4, rng=np.random.default_rng(0))
    for p in model.parameters():
        p.grad = np.full(p.shape, _left_over)
    for x, y in batches:
        returned = step(model, x, y, lr)
    if what == "the loss":
        return returned
    return np.concatenate([p.data.ravel() for p in model.parameters()])


def _batches(rng):
    batches = [tuple(rng.integers(5, size=(2, 2, 4))) for _ in range(3)]  # x and y, (2, 4) each
    for count, steps in [(1, "1 step"), (2, "2 steps"), (3, "3 steps")]:
        yield f"the parameters after {steps}", batches[:count], 0.5, 0.0, "the parameters"
    yield "gradients left over from before", batches[:1], 0.5, 1.0, "the parameters"
    yield "it returns the loss", batches, 0.5, 0.0, "the loss"


_ZERO = "    for p in model.parameters():\n        p.grad = 0.0\n"
_MOVE = "    for p in model.parameters():\n        p.data = p.data - lr * p.grad\n"


@exercise(
    lesson=5,
    expects="a function `model_step(model, x, y, lr)` that makes one step of gradient descent on "
    "ids x and y, (B, T) each, and returns the loss before the step",
    not_tested="speed",
    in_place=True,
    call=_after,
    in_words="forward, loss, gradients to zero, backward, step, in this order",
    cases=_batches,
    given=(f"{_ZERO}    loss.backward()\n    for p in model.parameters():\n        p.data = p.data -",
           f"    loss.backward()\n{_ZERO}    for p in model.parameters():\n        p.data = p.data +"),
    slips=[
        ("p.data - lr", "p.data + lr", "The parameters go the wrong way. Where does a gradient "
         "point?"),
        (_ZERO, "", "The gradients of earlier steps are still there, and add up. Set them to 0 "
         "before backward."),
        (f"{_ZERO}    loss.backward()\n{_MOVE}", f"    loss.backward()\n{_MOVE}{_ZERO}", "You set "
         "the gradients to 0 after the step. Those left over from before take part in the first "
         "step: set them to 0 before backward."),
        ("lr * p.grad", "p.grad", "The learning rate is not used."),
        (f"    loss.backward()\n{_MOVE}", "    for p in model.parameters():\n"
         "        p.grad = 0.0\n        cross_entropy_loss(model(x), y).backward()\n"
         "        p.data = p.data - lr * p.grad\n", "The loss is computed again after each "
         "parameter. One forward and one backward give all gradients of a step."),
        ("loss.item()", "cross_entropy_loss(model(x), y).item()", "That is the loss after the "
         "step. Return the one that was computed before it."),
        ("p.data - lr * p.grad", "-lr * p.grad", "The step replaces the parameter. Subtract from "
         "it."),
    ],
)
def model_step(model, x, y, lr):
    loss = cross_entropy_loss(model(x), y)
    for p in model.parameters():
        p.grad = 0.0
    loss.backward()
    for p in model.parameters():
        p.data = p.data - lr * p.grad
    return loss.item()


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
        expect(rate.ndim == 0 and np.isfinite(rate) and rate > 0, f"your rate is {show(lr)}",
               "Give one number above 0, for instance 0.05.")
    text = load_corpus("verse")
    tokenizer = CharTokenizer.from_text(text)
    data, _ = train_val_split(tokenizer.encode(text))
    model = MiniGPT(tokenizer.vocab_size, 16, 2, 1, 16, rng=np.random.default_rng(0))
    with case(f"the loss is below {GOAL:.2f} after {STEPS} steps"):
        expect(rate.ndim == 0 and rate > 0, "there is no rate to try")
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


def _steps(rng):
    usual, no_min, no_warmup = (0.01, 200, 20, 0.001), (2.0, 11, 3, 0.0), (1.0, 10, 0, 0.5)
    for name, steps, settings in [
        ("during warm-up", (1, 7, 20), usual),
        ("on the cosine", (21, 65, 110, 171), usual),
        ("at the last step", (200,), usual),
        ("with other numbers", (1, 3, 4, 9, 11), no_min),
        ("without warm-up", (1, 5, 10), no_warmup),
        ("past the last step", (201, 250, 400), usual),
    ]:
        for step in steps:
            yield name, step, *settings


_DOWN = "(step - warmup_steps) / (total_steps - warmup_steps)"
_BELL = "0.5 * (1 + math.cos(math.pi * progress))"


@exercise(
    lesson=5,
    expects="a function `learning_rate_at(step, lr, total_steps, warmup_steps, min_lr)` that "
    "returns the learning rate of a step, a number",
    not_tested="step 0; more warm-up than steps",
    in_words="three cases: s <= W, then up to N, then after it",
    cases=_steps,
    slips=[
        (_DOWN, "step / total_steps", "The cosine begins after the warm-up: its progress is "
         "(s - W) / (N - W)."),
        ("/ (total_steps - warmup_steps)", "/ total_steps", "The cosine has N - W steps: divide by "
         "that, not by N."),
        ("return min_lr + (lr - min_lr)", "return lr", "It should end at min_lr, not at 0."),
        ("(lr - min_lr)", "lr", "At the top it is min_lr too high: the cosine spans lr - min_lr."),
        ("0.5 * ", "", "The factor 1/2 is missing: 1 + cos goes from 2 to 0."),
        ("math.pi * ", "", "The pi is missing inside the cosine."),
        ("math.pi * ", "2 * math.pi * ", "That is a whole cosine, down and up again. Take half of "
         "one."),
        (_BELL, "math.cos(math.pi * progress)", "The cosine goes from 1 to -1. It is (1 + cos) / 2 "
         "that goes from 1 to 0."),
        ("1 + math.cos", "1 - math.cos", "It rises. The sign before the cosine is plus."),
        (_BELL, "(1 - progress)", "That is a straight line down. The lesson's is half a cosine."),
        ("step <= warmup_steps", "False", "The warm-up is missing."),
        ("lr * step / warmup_steps", "min_lr + (lr - min_lr) * step / warmup_steps", "The warm-up "
         "rises from 0, not from min_lr: lr * s / W."),
        ("lr * step / warmup_steps", "lr * (step - 1) / warmup_steps", "Steps are counted from 1: "
         "in step W the rate is the full one."),
        ("step > total_steps", "False", "After the last step the rate stays at min_lr; in yours the "
         "cosine comes up again."),
        ("return min_lr\n", "return 0.0\n", "After the last step the rate stays at min_lr; yours is "
         "0."),
        ("return min_lr\n", "return lr\n", "After the last step the rate stays at min_lr; yours is "
         "the full rate."),
    ],
)
def learning_rate_at(step, lr, total_steps, warmup_steps, min_lr):
    if step <= warmup_steps:
        return lr * step / warmup_steps
    if step > total_steps:
        return min_lr
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return min_lr + (lr - min_lr) * 0.5 * (1 + math.cos(math.pi * progress))


# ---- clipping -----------------------------------------------------------------------------------


def _grads(rng):
    for name, size, bound in [
        ("a long gradient", 5.0, 1.0),
        ("a bound of 0.25", 1.0, 0.25),
        ("a bound of 3", 4.0, 3.0),
        ("a short gradient stays as it is", 0.01, 1.0),
    ]:
        yield name, [rng.normal(size=shape) * size for shape in [(3,), (2, 4), (1, 1, 2)]], bound


_NORM = "math.sqrt(sum(float((g * g).sum()) for g in grads))"
_SCALED = "[g * factor for g in grads]"


@exercise(
    lesson=5,
    expects="a function `clip_gradients(grads, max_norm)`: a list of arrays and a number in, a "
    "list of arrays of the same shapes out",
    not_tested="gradients that are all 0",
    in_words="norm: the root of the sum of all squares; factor: max_norm / norm, but at most 1",
    cases=_grads,
    slips=[
        (_SCALED, "list(grads)", "Nothing was clipped."),
        (_SCALED, "[g * min(1.0, max_norm / np.sqrt((g * g).sum())) for g in grads]", "Each array "
         "was clipped by its own norm. That changes the direction: one norm for all of them."),
        (_SCALED, "[np.clip(g, -max_norm, max_norm) for g in grads]", "Each number was clipped on "
         "its own. That changes the direction. Multiply all by one factor."),
        ("min(1.0, max_norm / norm)", "max_norm / norm", "A gradient that is short enough must stay "
         "as it is: the factor is at most 1."),
        (_NORM, "sum(float((g * g).sum()) for g in grads)", "The root is missing: the norm is the "
         "root of the sum of squares."),
        (_NORM, "sum(math.sqrt((g * g).sum()) for g in grads)", "You added up the norms of the "
         "arrays. Add up all the squares, then take one root."),
        (_NORM, "sum(float(np.abs(g).sum()) for g in grads)", "You added up the sizes. The norm is "
         "the root of the sum of the squares."),
        (_NORM, "max(float(np.abs(g).max()) for g in grads)", "That is the largest number. The norm "
         "is the root of the sum of the squares."),
        (_NORM, "math.sqrt(np.mean(np.concatenate([g.ravel() for g in grads]) ** 2))", "That is the "
         "root of the mean. The norm is the root of the sum of the squares."),
        ("max_norm / norm", "1 / norm", "The bound is max_norm, not always 1."),
        ("min(1.0", "max(1.0", "min and max are swapped: the factor is at most 1."),
        ("max_norm / norm", "norm / max_norm", "The fraction is upside down: a long gradient needs "
         "a small factor, max_norm / norm."),
    ],
)
def clip_gradients(grads, max_norm):
    norm = math.sqrt(sum(float((g * g).sum()) for g in grads))
    factor = min(1.0, max_norm / norm)
    return [g * factor for g in grads]


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
        (2.2, "That is the bigram's loss at the real task. Here the answer is in the input."),
        (1.6, "That is a good loss at the real task. Here the answer is in the input."),
    ],
)
