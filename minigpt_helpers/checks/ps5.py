"""Checks of problem set 5, to train: padding, a fixed loop, a batch in parts, predictions."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from minigpt_helpers.checks._compare import NotDone, expect
from minigpt_helpers.checks._exercise import exercise
from minigpt_helpers.checks._student import fresh, unchanged
from minigpt_helpers.functional import cross_entropy_loss
from minigpt_helpers.nn import MiniGPT

# ---- 1: a loss that skips the padding -----------------------------------------------------------


def _padded(rng):
    shapes = [("one row, without padding", 1, 4, 3), ("one place in a row", 3, 1, 2),
              ("a small batch", 4, 6, 5), ("a large batch", 9, 12, 30)]
    for name, B, T, V in shapes:
        targets = rng.integers(V, size=(B, T))
        if B > 1:
            lengths = rng.integers(1, T + 1, size=B)
            lengths[:2] = T // 2, T  # never without padding; the first row is not the longest
            targets[np.arange(T) >= lengths[:, None]] = -1
            targets[1, 0] = 0
        yield f"{name}, B={B}, T={T}, V={V}", rng.normal(size=(B, T, V)) * 3, targets
    targets = rng.integers(3, size=(3, 4))
    targets[1], targets[2, 2:] = -1, -1
    yield "a row that is all padding", rng.normal(size=(3, 4, 3)), targets
    for name, logits in [
        ("logits of 1000", [[[1000.0, 0, 999], [0, 1, 2]], [[3, 1000, 0], [998, 0, 1000]]]),
        ("logits of -1000", [[[-1000.0, -999, -1001], [0, 1, 2]], [[0, -1000, 0], [1, 2, 0]]]),
        ("rows near 1000 and near -1000", [[[-1e3, -999.0, -998], [999, 1e3, 998]],
                                           [[-998, -1e3, -999], [1, 2, 0]]]),
        ("probabilities of exp(-800)", [[[0.0, 800, 0], [0, 1, 2]], [[0, 1, 0], [1, 2, 0]]]),
    ]:
        yield name, np.array(logits), np.array([[2, 0], [1, -1]])


_MAX = "logits.max(axis=-1, keepdims=True)"
_LOGS = "shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))"
_PROBS = "np.exp(shifted) / np.exp(shifted).sum(axis=-1, keepdims=True)"
_LEAVE = "Leave those places out."
_TINY = "A probability of exp(-800) is 0 to a float. Stay with logarithms, as in lesson 5: the logit, "
_TINY += "minus the log of the sum."
_ROWS = "You took the mean of each row, then the mean of the rows. So a character in a short row "
_ROWS += "weighs more. All real characters count alike."


@exercise(
    lesson="ps5",
    expects="a function `padded_loss(logits, targets)`: arrays (B, T, V) and (B, T) in, where -1 "
    "stands for padding; a number out",
    not_tested="a batch of nothing but padding",
    in_words="find the places with a target of 0 or more; the mean loss of those, and of no others",
    cases=_padded,
    slips=[
        ("losses[real]", "losses", "The padding counts as a target: in Python the index -1 is the "
         f"last column, and nothing complains. {_LEAVE}"),
        ("losses[real].mean()", "losses[real].sum() / targets.size", "You divide by all places. "
         "Divide by the number of real ones."),
        *(("losses[real].mean()", f"np.mean([row[r].mean() for row, r in zip(losses, real){only}])",
           _ROWS) for only in ("", " if r.any()")),
        (".mean()", ".sum()", "That is the sum. Take the mean over the real places."),
        (".mean()", ".sum() / len(targets)", "You divide by the number of rows. Divide by the "
         "number of real places."),
        ("losses = -", "losses = ", "The minus is missing: a loss is positive."),
        (".mean()", ".mean() / math.log(2)", "That is in bits. Use the natural logarithm."),
        (".mean()", "", "These are the losses of the single places. Take their mean."),
        ("targets >= 0", "targets > 0", "A target of 0 is a real character. Only -1 is padding."),
        ("targets[..., None], axis=-1)[..., 0]\n    return losses[real]",
         "np.maximum(targets, 0)[..., None], axis=-1)[..., 0]\n    return losses", "The padding "
         f"counts as character 0. {_LEAVE}"),
        (f"logits - {_MAX}", "logits", "exp(1000) overflows. Subtract the largest logit of each "
         "place first."),
        (_MAX, "logits.max()", "Each place needs its own maximum: axis=-1, keepdims=True."),
        (_MAX, "np.abs(logits).max(axis=-1, keepdims=True)", "Subtract the largest "
         "logit, not the largest size: near -1000 every exp becomes 0."),
        (_LOGS, f"np.log({_PROBS})", _TINY),
        *((_LOGS, f"np.log({probs})", f"A small number added to the probability, or put in place of "
           f"a smaller one, hides how wrong the model is. {_TINY}")
          for eps in ("1e-12", "1e-10", "1e-9", "1e-8", "1e-15", "1e-300")
          for probs in (f"{_PROBS} + {eps}", f"np.maximum({_PROBS}, {eps})")),
        (_LOGS, _PROBS, "The logarithm is missing: the loss is - ln p."),
        ("sum(axis=-1, keepdims=True)", "sum(axis=1, keepdims=True)", "The sum runs over the "
         "characters, the last axis: axis=-1."),
    ],
)
def ps5_padded_loss(logits, targets):
    real = targets >= 0
    shifted = logits - logits.max(axis=-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    losses = -np.take_along_axis(logs, targets[..., None], axis=-1)[..., 0]
    return losses[real].mean()


# ---- 2: a loop with four bugs -------------------------------------------------------------------


class _Watched(MiniGPT):
    """A tiny model that remembers the most rows it was given at once."""

    def __init__(self, seed: int, left_over: float):
        super().__init__(5, 4, 1, 1, 4, rng=np.random.default_rng(seed))
        self.most_rows = 0
        for p in self.parameters():
            p.grad = np.full(p.shape, left_over)

    def forward(self, ids, *args, **options):
        self.most_rows = max(self.most_rows, len(ids) if np.ndim(ids) > 1 else 1)
        return super().forward(ids, *args, **options)


def _taught(model, step, ids, *settings):
    """What a step returns that teaches the model with these arrays of ids."""
    before = fresh(ids)
    returned = step(model, *ids, *settings)
    returned = list(returned) if isinstance(returned, Iterator) else returned
    if returned is None:
        raise NotDone("your function returns None: is a `return` missing?")
    expect(unchanged(ids, before), "your function changes the ids that it is given",
           "Work on a copy: they may be needed again.")
    return returned


def _flat(model):
    return np.concatenate([np.ravel(p.data) for p in model.parameters()])


def _after_windows(step, windows, lr, _seed, _left_over, what):
    """The losses that a loop returns for a tiny model, or the parameters that it leaves."""
    model = _Watched(_seed, _left_over)
    losses = _taught(model, step, (windows,), lr)
    return losses if what == "the losses" else _flat(model)


def _windows(rng):
    seed, lr = int(rng.integers(1000)), 0.4
    windows = [rng.integers(5, size=(B, T + 1)) for B, T in [(3, 4), (3, 4), (1, 1), (2, 3)]]
    for name, count, left_over, what in [
        ("the loss of the first step", 1, 0.0, "the losses"),
        ("the parameters after 1 step", 1, 0.0, "the parameters"),
        ("the losses of four steps", 4, 0.0, "the losses"),
        ("the parameters after 4 steps", 4, 0.0, "the parameters"),
        ("gradients left over from before", 1, 1.0, "the parameters"),
    ]:
        yield name, windows[:count], lr, seed, left_over, what


_LOOP_ZERO = "        for p in model.parameters():\n            p.grad = 0.0\n"
_LOOP_MOVE = "        for p in model.parameters():\n            p.data = p.data - lr * p.grad\n"
_BACK = "        loss.backward()\n"


@exercise(
    lesson="ps5",
    expects="a function `train_steps(model, windows, lr)`: makes one step of gradient descent for "
    "each array of ids (B, T + 1), and returns the list of the losses",
    not_tested="speed; how well the model writes",
    in_place=True,  # the model learns
    seconds=10.0,
    bugs=4,
    in_words="targets one further on, mean loss, gradients to zero, backward, step down; the loss "
    "of each step, taken before it",
    cases=_windows,
    call=_after_windows,
    given=("ids[:, 1:]\n        loss = cross_entropy_loss(model(x), y)\n"
           f"{_LOOP_ZERO}{_BACK}{_LOOP_MOVE}",
           "ids[:, :-1]\n        loss = cross_entropy_loss(model(x), y) * y.size\n"
           f"{_BACK}{_LOOP_MOVE.replace('data - lr', 'data + lr')}"),
    slips=[
        ("ids[:, 1:]", "ids[:, :-1]", "The targets are the inputs, so the model learns "
         "to repeat."),
        ("(model(x), y)", "(model(x), y) * y.size", "The loss is a sum, and the field's "
         "unit is the mean per character."),
        (_LOOP_ZERO, "", "The gradients of earlier steps are still there, and add up."),
        ("p.data - lr", "p.data + lr", "The parameters walk up the slope."),
        (_LOOP_ZERO, _LOOP_ZERO.replace("():", "() * bool(losses):"), "You set the "
         "gradients to 0 after the step. Those that somebody left take part in the first step: set "
         "them to 0 before backward."),
        (f"{_LOOP_ZERO}{_BACK}", f"{_BACK}{_LOOP_ZERO}", "The parameters stay as they were. Is "
         "p.data changed at all, and are the gradients not 0 at that moment?"),
        (f"losses = []\n    for ids in windows:\n        x, y = ids[:, :-1], ids[:, 1:]\n"
         f"        loss = cross_entropy_loss(model(x), y)\n{_LOOP_ZERO}",
         f"losses = []\n{_LOOP_ZERO.replace(' ' * 8, ' ' * 4, 1)}    for ids in windows:\n"
         "        x, y = ids[:, :-1], ids[:, 1:]\n"
         "        loss = cross_entropy_loss(model(x), y)\n", "You set the gradients to 0 once, "
         "before the loop. Each step needs its own: inside the loop, before backward."),
        ("ids[:, :-1], ids[:, 1:]", "ids[:, 1:], ids[:, :-1]", "Inputs and targets are swapped: the "
         "model reads a character and has to say the one *after* it."),
        ("return losses", "return losses[-1:]", "That is the last loss. Return one for each step."),
        ("return losses", "return losses[-1]", "That is the last loss. Return one for each step."),
        ("return losses", "return np.mean(losses)", "That is the mean of the losses. Return one for "
         "each step."),
        ("        losses.append(loss.item())\n    return", "        losses.append(loss.item())\n"
         "        return", "Your `return` stands inside the loop, so only one step is made."),
        ("loss.item()", "cross_entropy_loss(model(x), y).item()", "That is the loss after the step. "
         "Keep the one that was computed before it."),
        ("loss.item()", "loss.item() * y.size", "That is the sum over the characters. Keep the "
         "mean."),
        ("lr * p.grad", "p.grad", "The learning rate is not used."),
        (f"{_BACK}{_LOOP_MOVE}", "        for p in model.parameters():\n"
         "            for q in model.parameters():\n                q.grad = 0.0\n"
         "            cross_entropy_loss(model(x), y).backward()\n"
         "            p.data = p.data - lr * p.grad\n", "The loss is computed again after each "
         "parameter. One forward and one backward give all gradients of a step."),
    ],
)
def ps5_train_steps(model, windows, lr):
    losses = []
    for ids in windows:
        x, y = ids[:, :-1], ids[:, 1:]
        loss = cross_entropy_loss(model(x), y)
        for p in model.parameters():
            p.grad = 0.0
        loss.backward()
        for p in model.parameters():
            p.data = p.data - lr * p.grad
        losses.append(loss.item())
    return losses


# ---- 3: a batch in parts ------------------------------------------------------------------------


def _after_parts(step, x, y, lr, rows, _seed, _left_over, what):
    """The loss that a step returns for a tiny model, or the parameters that it leaves."""
    model = _Watched(_seed, _left_over)
    loss = _taught(model, step, (x, y), lr, rows)
    expect(model.most_rows, "the model was never called", "Call model(x) on each part.")
    expect(model.most_rows <= rows, (
        f"with rows_at_once={rows} the model was given {model.most_rows} rows at once"
    ), "Cut x and y along their first axis, and give the model one piece after the other.")
    return loss if what == "the loss" else _flat(model)


def _parts(rng):
    seed, lr = int(rng.integers(1000)), 0.4
    for name, B, T, rows, left_over, what in [
        ("4 rows, 2 at once", 4, 3, 2, 0.0, "the parameters"),
        ("5 rows, 2 at once", 5, 3, 2, 0.0, "the parameters"),
        ("7 rows of one character, 3 at once", 7, 1, 3, 0.0, "the parameters"),
        ("3 rows, 8 at once", 3, 4, 8, 0.0, "the parameters"),
        ("gradients left over from before", 5, 2, 3, 1.0, "the parameters"),
        ("it returns the mean loss of the batch", 5, 3, 2, 0.0, "the loss"),
    ]:
        yield name, *rng.integers(5, size=(2, B, T)), lr, rows, seed, left_over, what


_ZERO = "    for p in model.parameters():\n        p.grad = 0.0\n"
_MOVE = "    for p in model.parameters():\n        p.data = p.data - lr * p.grad\n"
_ADD = "        (loss * share).backward()\n        total += loss.item() * share\n"
_ONE_STEP = "You make a step after each part. One step, at the end."
_LAST_ONLY = "Only the last part's gradient is left: you set the gradients to 0 between the parts. "
_LAST_ONLY += "They must add up."


@exercise(
    lesson="ps5",
    expects="a function `step_in_parts(model, x, y, lr, rows_at_once)`: one step on ids x and y, "
    "(B, T) each, with at most rows_at_once rows in the model at once; returns the mean loss",
    not_tested="speed",
    in_place=True,  # the model learns
    seconds=10.0,
    in_words="gradients to zero once; each part's mean loss, times its share of the rows, backward; "
    "then one step, as on the whole batch; returned is the sum of those weighted losses",
    cases=_parts,
    call=_after_parts,
    slips=[
        ("        (loss * share)", f"{_LOOP_ZERO}        (loss * share)", _LAST_ONLY),
        ("        (loss * share)", f"{_LOOP_ZERO}        loss", _LAST_ONLY),
        (_ZERO, "", "Somebody used these gradients before you. Set them to 0 once, before the first "
         "part."),
        (f"{_ADD}{_MOVE}", f"{_ADD}{_LOOP_MOVE}", _ONE_STEP),
        *((f"{_ADD}{_MOVE}", f"{_LOOP_ZERO}        ({loss}).backward()\n"
           f"        total += {part}\n{_LOOP_MOVE}", _ONE_STEP)
          for loss in ("loss", "loss * share") for part in ("loss.item()", "loss.item() * share")),
        ("(loss * share)", "loss", "The gradients of the parts add up to too much. The mean of the "
         "whole batch is not the sum of the parts' means."),
        ("len(part) / len(x)", "1 / -(-len(x) // rows_at_once)", "Each part counts alike, but the "
         "last one has fewer rows. Weigh each part by its number of rows."),
        ("len(part) / len(x)", "rows_at_once / len(x)", "The last part may have fewer rows than "
         "rows_at_once: weigh each part by the rows that it has."),
        ("len(part) / len(x)", "1 / len(x)", "A part's loss is a mean over its rows already. Weigh "
         "it by the number of its rows, divided by that of all."),
        ("len(part) / len(x)", "float(len(part))", "Weighed by their rows, the losses still have "
         "to be divided by the number of all rows."),
        ("len(part) / len(x)", "part.size", "Weighed by their characters, the losses still have to "
         "be divided by the number of all characters."),
        ("return total", "return loss.item()", "That is the loss of the last part. Return that of "
         "the whole batch."),
        ("loss.item() * share", "loss.item()", "You add up the means of the parts. Weigh each by "
         "its share of the rows."),
        ("loss.item() * share", "loss.item() / -(-len(x) // rows_at_once)", "The last part has fewer "
         "rows, so it weighs less in the mean."),
        ("return total", "return sum(cross_entropy_loss(model(x[i : i + 1]), y[i : i + 1]).item() "
         "for i in range(len(x))) / len(x)", "That is the loss after the step. Return the one "
         "before it."),
        ("range(0, len(x), rows_at_once)", "range(0, len(x) - rows_at_once + 1, rows_at_once)",
         "The last part may have fewer rows, but it must not be left out."),
        ("p.data - lr", "p.data + lr", "The parameters walk up the slope: subtract."),
        ("lr * p.grad", "p.grad", "The learning rate is not used."),
        (_MOVE, "", "No step is made: the parameters stay as they were."),
    ],
)
def ps5_step_in_parts(model, x, y, lr, rows_at_once):
    for p in model.parameters():
        p.grad = 0.0
    total = 0.0
    for i in range(0, len(x), rows_at_once):
        part, targets = x[i : i + rows_at_once], y[i : i + rows_at_once]
        loss = cross_entropy_loss(model(part), targets)
        share = len(part) / len(x)
        (loss * share).backward()
        total += loss.item() * share
    for p in model.parameters():
        p.data = p.data - lr * p.grad
    return total


# ---- 4: predictions, as formulas ----------------------------------------------------------------


def _texts(rng):
    T, B = (int(k) for k in rng.integers(3, 40, size=2))
    return [
        ("the rhymes", 59687, 48, 16),
        ("a text that comes out even", T * B * 7, T, B),
        ("one character more", T * B * 7 + 1, T, B),
        ("one character less", T * B * 7 - 1, T, B),
        ("less than one batch", 5, T, B),
        ("one character a step", 17, 1, 1),
    ]


@exercise(
    lesson="ps5",
    expects="a function `steps_to_read(num_tokens, block_size, batch_size)`: whole numbers in, a "
    "whole number out",
    not_tested="sizes of 0",
    in_words="how many characters does one step read? How many such steps does the text take, "
    "rounded up?",
    cases=_texts,
    slips=[
        ("-(-num_tokens // per_step)", "num_tokens // per_step", "Rounded down, some characters are "
         "still missing."),
        ("-(-num_tokens // per_step)", "num_tokens // per_step + 1", "One step too many where it "
         "comes out even."),
        ("-(-num_tokens // per_step)", "num_tokens / per_step", "A step is made or not made: round "
         "up to a whole number."),
        ("-(-num_tokens // per_step)", "round(num_tokens / per_step)", "Rounded to the nearest, some "
         "characters may still be missing."),
        ("block_size * batch_size", "block_size", "A step reads batch_size windows, not one."),
        ("block_size * batch_size", "batch_size", "Each window has block_size characters."),
        ("block_size * batch_size", "(block_size + 1) * batch_size", "Count the inputs: block_size "
         "characters a window."),
        ("block_size * batch_size\n    return -(-num_tokens", "batch_size\n"
         "    return -(-(num_tokens - block_size)", "That counts windows that start at every place. "
         "Here the characters of the batches are counted: block_size for each window."),
    ],
)
def ps5_steps_to_read(num_tokens, block_size, batch_size):
    per_step = block_size * batch_size
    return -(-num_tokens // per_step)


def _draws(rng):
    n, t = int(rng.integers(40, 90)), int(rng.integers(2, 20))
    return [
        ("no draw", 30, 4, 0),
        ("one draw", n, t, 1),
        ("a short text", n, t, int(rng.integers(20, 60))),
        ("three possible starts", 8, 5, 4),
        ("only one possible start", 7, 6, 3),
        ("the rhymes", 59687, 48, 1248),
    ]


_TWICE = "The same start may come twice, so the draws do not just add up. What is the probability "
_TWICE += "that one draw misses it, and the next, and the next?"


@exercise(
    lesson="ps5",
    expects="a function `share_never_drawn(num_tokens, block_size, windows)`: whole numbers in, a "
    "number from 0 to 1 out",
    not_tested="texts that are too short for one window",
    in_words="how many starts are there? What is the probability that a draw misses a given one, "
    "and that all draws do?",
    tol=1e-6,
    cases=_draws,
    slips=[
        ("num_tokens - block_size", "num_tokens", "Not every character can be a start: a window and "
         "its last target have to fit."),
        ("num_tokens - block_size", "num_tokens - block_size + 1", "A window needs one character "
         "more, for its last target: look at get_batch in lesson 1."),
        *(("num_tokens - block_size\n    return (1 - 1 / starts) ** windows",
           f"num_tokens - block_size - 1\n    return {value}", "One start is missing. Count them for "
           "a text of 3 characters and block_size 2.")
          for value in ("(1 - 1 / starts) ** windows", "(1 - np.float64(1) / starts) ** windows")),
        ("(1 - 1 / starts) ** windows", "1 - (1 - 1 / starts) ** windows", "That is the share that "
         "was drawn. Asked is the share that was not."),
        ("(1 - 1 / starts) ** windows", "1 - windows / starts", _TWICE),
        ("(1 - 1 / starts) ** windows", "max(0.0, 1 - windows / starts)", _TWICE),
        ("(1 - 1 / starts) ** windows", "math.exp(-windows / starts)", "Very close for a long text, "
         "but not exact. Each draw misses with probability 1 - 1/starts."),
        ("(1 - 1 / starts) ** windows", "(1 / starts) ** windows", "That is the probability that all "
         "draws hit one start."),
        ("(1 - 1 / starts) ** windows", "1 - (1 / starts) ** windows", "That is the probability that "
         "not all draws hit one start. Each of them has to miss it."),
        ("(1 - 1 / starts) ** windows", "1 - 1 / starts", "That holds for one draw. There are "
         "`windows` of them."),
        ("(1 - 1 / starts) ** windows", "(1 - 1 / starts) * windows", "All draws have to miss it: "
         "multiply the probability by itself, `windows` times."),
    ],
)
def ps5_share_never_drawn(num_tokens, block_size, windows):
    starts = num_tokens - block_size
    return (1 - 1 / starts) ** windows


def _betas(rng):
    one, other = (float(beta) for beta in rng.uniform(0.5, 0.99, size=2))
    return [
        ("the first step, 0.9 and 0.999", 1, 0.9, 0.999),
        ("the first step, other betas", 1, one, other),
        ("step 2", 2, 0.9, 0.999),
        ("step 10, other betas", 10, one, other),
        ("step 200", 200, 0.9, 0.999),
        ("betas the other way round", 3, 0.99, 0.6),
    ]


_FACTOR = "(1 - beta1**t) / math.sqrt(1 - beta2**t)"


@exercise(
    lesson="ps5",
    expects="a function `too_long_by(t, beta1, beta2)`: the number of the step and the two betas "
    "in, a number out",
    not_tested="eps; betas of 0; gradients that change",
    in_words="with a constant gradient g: what are m and v after t steps, and what is m divided by "
    "the root of v?",
    tol=1e-6,
    cases=_betas,
    slips=[
        (_FACTOR, "math.sqrt(1 - beta2**t) / (1 - beta1**t)", "The fraction is upside down: without "
         "the correction, divided by with it."),
        ("math.sqrt(1 - beta2**t)", "(1 - beta2**t)", "v holds squares, but the step divides by its "
         "root."),
        (_FACTOR, "(1 - beta2**t) / math.sqrt(1 - beta1**t)", "The two betas are swapped."),
        (_FACTOR, "(1 - beta1) / math.sqrt(1 - beta2)", "That is the first step. Let t take part."),
        *((_FACTOR, f"(1 - beta1**({step})) / math.sqrt(1 - beta2**({step}))", "Steps count from 1: "
           "after the first step m is (1 - beta1) g.") for step in ("t - 1", "t + 1")),
        (_FACTOR, "1 - beta1**t", "That is m alone. v, below the line, starts at 0 as well."),
        (_FACTOR, "1 / math.sqrt(1 - beta2**t)", "That is v alone. m starts at 0 as well."),
        (_FACTOR, "beta1**t / math.sqrt(beta2**t)", "After t steps m has reached a share of "
         "1 - beta1**t of the gradient."),
        (_FACTOR, "(1 - beta1) ** t / math.sqrt((1 - beta2) ** t)", "After t steps m has reached a "
         "share of 1 - beta1**t of the gradient: the power belongs to beta1 alone."),
        (_FACTOR, "1.0", "It is not 1: m and v are both too small at first, but not by the same "
         "factor."),
    ],
)
def ps5_too_long_by(t, beta1, beta2):
    return (1 - beta1**t) / math.sqrt(1 - beta2**t)
