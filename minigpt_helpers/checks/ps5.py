"""Checks of problem set 5: padding, a mended loop, batches in parts, sums as text, compression."""

from __future__ import annotations

import bz2
import itertools
import lzma
import math
import zlib
from collections.abc import Iterator

import numpy as np

from minigpt_helpers.autograd import no_grad
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import as_array, expect, expect_close, expect_same
from minigpt_helpers.checks._reference import log_softmax
from minigpt_helpers.checks._student import NotDone
from minigpt_helpers.functional import cross_entropy_loss
from minigpt_helpers.nn import MiniGPT
from minigpt_helpers.text import CharTokenizer, bigram_loss, bigram_probs

CLOSE = 1e-5  # an answer computed in float32 is right, too


# ---- 1: a loss that skips the padding -----------------------------------------------------------


def _losses(logits, targets) -> np.ndarray:
    """The loss at each place, (B, T); a target of -1 takes the last column, as Python does."""
    return -np.take_along_axis(log_softmax(logits), targets[..., None], axis=-1)[..., 0]


def _padded_loss(logits, targets):
    return np.mean([
        -log_softmax(logits[b, t])[targets[b, t]] for b, t in np.argwhere(targets >= 0)
    ])


@check(
    lesson="ps5",
    expects="a function `padded_loss(logits, targets)`: arrays (B, T, V) and (B, T) in, where -1 "
    "stands for padding; a number out",
    not_tested="a batch of nothing but padding",
)
def ps5_padded_loss(case, padded_loss):
    def real(values, targets):
        return values[targets >= 0]

    def naive(z, t):
        with np.errstate(all="ignore"):
            p = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
            return -np.log(real(np.take_along_axis(p, t[..., None], -1)[..., 0], t)).mean()

    def row_means(z, t):
        return np.mean([real(each, row).mean() for each, row in zip(_losses(z, t), t)])

    mistakes = [
        (lambda z, t: _losses(z, t).mean(), "The padding counts as a target: in Python the index "
         "-1 is the last column, and nothing complains. Leave those places out."),
        (lambda z, t: real(_losses(z, t), t).sum() / t.size, "You divide by all places. Divide by "
         "the number of real ones."),
        (row_means, "You took the mean of each row, then the mean of the rows. So a character in a "
         "short row weighs more. All real characters count alike."),
        (lambda z, t: real(_losses(z, t), t).sum(), "That is the sum. Take the mean over the real "
         "places."),
        (lambda z, t: real(_losses(z, t), t).sum() / len(t), "You divide by the number of rows. "
         "Divide by the number of real places."),
        (lambda z, t: -real(_losses(z, t), t).mean(), "The minus is missing: a loss is positive."),
        (lambda z, t: real(_losses(z, t), t).mean() / math.log(2), "That is in bits. Use the "
         "natural logarithm."),
        (lambda z, t: real(_losses(z, t), t), "These are the losses of the single places. Take "
         "their mean."),
        (lambda z, t: _losses(z, t)[t > 0].mean(), "A target of 0 is a real character. Only -1 is "
         "padding."),
        (lambda z, t: _losses(z, np.maximum(t, 0)).mean(), "The padding counts as character 0. "
         "Leave those places out."),
        (naive, "exp overflows, or a chance becomes 0. Stay with logarithms, as in lesson 5."),
    ]
    hint = "Find the places with a target of 0 or more. The mean loss of those, and of no others."
    shapes = [("one row", 1, 4, 3), ("one place in a row", 3, 1, 2), ("a small batch", 4, 6, 5),
              ("a large batch", 9, 12, 30)]
    for name, B, T, V in shapes:
        logits = case.rng.normal(size=(B, T, V)) * 3
        targets = case.rng.integers(V, size=(B, T))
        if name != "one row":
            lengths = case.rng.integers(1, T + 1, size=B)
            lengths[:2] = T // 2, T  # never without padding; the first row is not the longest
            targets[np.arange(T) >= lengths[:, None]] = -1
            targets[1, 0] = 0
        padding = "" if name == "one row" else ", with padding"
        with case(f"{name}, B={B}, T={T}, V={V}{padding}"):
            expect_same(padded_loss, _padded_loss, logits, targets, tol=CLOSE,
                        mistakes=mistakes, hint=hint)
    with case("a row that is all padding"):
        logits = case.rng.normal(size=(3, 4, 3))
        targets = case.rng.integers(3, size=(3, 4))
        targets[1], targets[2, 2:] = -1, -1
        expect_same(padded_loss, _padded_loss, logits, targets, tol=CLOSE,
                        mistakes=mistakes, hint=hint)
    for name, logits in [
        ("logits of 1000", [[[1000.0, 0, 999], [0, 1, 2]], [[3, 1000, 0], [998, 0, 1000]]]),
        ("logits of -1000", [[[-1000.0, -999, -1001], [0, 1, 2]], [[0, -1000, 0], [1, 2, 0]]]),
        ("chances as small as exp(-800)", [[[0.0, 800, 0], [0, 1, 2]], [[0, 1, 0], [1, 2, 0]]]),
    ]:
        with case(name):
            targets = np.array([[2, 0], [1, -1]])
            expect_same(padded_loss, _padded_loss, np.array(logits), targets, tol=CLOSE,
                        mistakes=mistakes, hint="exp overflows, or a chance becomes 0. Stay with "
                        "logarithms, as in lesson 5.")


# ---- 2: a loop with four bugs -------------------------------------------------------------------


class _Watched(MiniGPT):
    """A tiny model that remembers the most rows it was given at once."""

    def __init__(self, seed: int):
        super().__init__(5, 4, 1, 1, 4, rng=np.random.default_rng(seed))
        self.most_rows = 0

    def forward(self, ids, *args, **options):
        self.most_rows = max(self.most_rows, len(ids) if np.ndim(ids) > 1 else 1)
        return super().forward(ids, *args, **options)


def _flat(model) -> np.ndarray:
    return np.concatenate([np.ravel(p.data) for p in model.parameters()])


def _zero(model) -> None:
    for p in model.parameters():
        p.grad = 0.0


def _train(model, windows, lr, *, shifted=True, summed=False, zero=True, sign=-1.0):
    losses = []
    for ids in windows:
        x, y = ids[:, :-1], ids[:, 1:] if shifted else ids[:, :-1]
        loss = cross_entropy_loss(model(x), y) * (y.size if summed else 1)
        if zero:
            _zero(model)
        loss.backward()
        for p in model.parameters():
            p.data = p.data + sign * lr * p.grad
        losses.append(loss.item())
    return losses


_BUGS = [
    ("shifted", False, "the targets are the inputs, so the model learns to repeat"),
    ("summed", True, "the loss is a sum, where the field's unit is the mean per character"),
    ("zero", False, "the gradients of earlier steps are still there, and add up"),
    ("sign", 1.0, "the parameters walk up the slope"),
]


def _left_bugs() -> list[tuple[dict, str]]:
    """Every choice of bugs that may still be there, with the sentence that names them."""
    found = []
    for count in range(1, len(_BUGS) + 1):
        for bugs in itertools.combinations(_BUGS, count):
            text = "Still there: " + "; ".join(bug[2] for bug in bugs) + "."
            found.append(({name: value for name, value, _ in bugs}, text))
    return found


@check(
    lesson="ps5",
    expects="a function `train_steps(model, windows, lr)`: makes one step of gradient descent for "
    "each array of ids (B, T + 1), and returns the list of the losses",
    not_tested="speed; how well the model writes",
    in_place=True,  # the model learns
    seconds=10.0,
)
def ps5_train_steps(case, train_steps):
    seed, lr = int(case.rng.integers(1000)), 0.4
    windows = [case.rng.integers(5, size=(B, T + 1)) for B, T in [(3, 4), (3, 4), (1, 1), (2, 3)]]

    def run(step, count, what, leftover=False):
        model = _Watched(seed)
        if leftover:
            for p in model.parameters():
                p.grad = np.ones(p.shape)
        losses = step(model, windows[:count], lr)
        losses = list(losses) if isinstance(losses, Iterator) else losses  # a generator works late
        return losses if what == "losses" else _flat(model)

    def hold(what, count, hint, leftover=False):
        mistakes = [
            (lambda bugs=bugs: run(lambda *a: _train(*a, **bugs), count, what, leftover), text)
            for bugs, text in _left_bugs()
        ]
        mistakes += [
            (lambda: run(_nothing_moves, count, what, leftover), "Nothing moves: at the moment of "
             "the step the gradients are 0. Zero them before backward."),
            (lambda: np.array(run(_train, count, what, leftover)[-1:]), "That is the last loss. "
             "Return one for each step."),
            (lambda: np.mean(run(_train, count, what, leftover)), "That is the mean of the losses. "
             "Return one for each step."),
        ]
        expect_close(run(train_steps, count, what, leftover), run(_train, count, what, leftover),
                     f"the {what}", mistakes=mistakes, hint=hint)

    order = "Targets one further on, mean loss, gradients to zero, backward, step down."
    with case("the loss of the first step"):
        hold("losses", 1, "Targets one further on; the mean per character, before the step.")
    with case("the parameters after 1 step"):
        hold("parameters", 1, order)
    with case("the losses of four steps"):
        hold("losses", 4, order)
    with case("the parameters after 4 steps"):
        hold("parameters", 4, order)
    with case("gradients left over from before"):
        hold("parameters", 1, "Somebody used these gradients before you. Zero them before "
             "backward, not after the step.", leftover=True)


def _nothing_moves(model, windows, lr):
    return [cross_entropy_loss(model(ids[:, :-1]), ids[:, 1:]).item() for ids in windows]


# ---- 3: a batch in parts ------------------------------------------------------------------------


def _parts_step(model, x, y, lr, rows, *, weigh="rows", zero="once", step="once", returns="mean"):
    losses, weights = [], []
    if zero == "once":
        _zero(model)
    starts = range(0, len(x), rows)
    for i in starts:
        part, targets = x[i : i + rows], y[i : i + rows]
        weight = {"rows": len(part) / len(x), "parts": 1 / len(starts), "none": 1.0}[weigh]
        loss = cross_entropy_loss(model(part), targets)
        if zero == "each":
            _zero(model)
        (loss * weight).backward()
        if step == "each":
            for p in model.parameters():
                p.data = p.data - lr * p.grad
        losses.append(loss.item())
        weights.append(len(part) / len(x) if weigh != "parts" else weight)
    if step == "once":
        for p in model.parameters():
            p.data = p.data - lr * p.grad
    return losses[-1] if returns == "last" else float(np.dot(losses, weights))


@check(
    lesson="ps5",
    expects="a function `step_in_parts(model, x, y, lr, rows_at_once)`: one step on ids x and y, "
    "(B, T) each, with at most rows_at_once rows in the model at once; returns the mean loss",
    not_tested="speed",
    in_place=True,  # the model learns
    seconds=10.0,
)
def ps5_step_in_parts(case, step_in_parts):
    seed, lr = int(case.rng.integers(1000)), 0.4

    def run(step, x, y, rows, leftover=False):
        model = _Watched(seed)
        if leftover:
            for p in model.parameters():
                p.grad = np.ones(p.shape)
        loss = step(model, x, y, lr, rows)
        if loss is None and not model.most_rows:
            raise NotDone("your function returns None and never calls the model")
        return model, loss

    ways = [
        (dict(zero="each"), "Only the last part's gradient is left: you set the gradients to 0 "
         "between the parts. They must add up."),
        (dict(step="each", zero="each", weigh="none"), "You make a step after each part. One step, "
         "at the end."),
        (dict(step="each", zero="each"), "You make a step after each part. One step, at the end."),
        (dict(step="each"), "You make a step after each part. One step, at the end."),
        (dict(step="each", weigh="none"), "You make a step after each part. One step, at the end."),
        (dict(weigh="none"), "The gradients of the parts add up to too much. The mean of the whole "
         "batch is not the sum of the parts' means."),
        (dict(zero="each", weigh="none"), "Only the last part's gradient is left: you set the "
         "gradients to 0 between the parts. They must add up."),
        (dict(weigh="parts"), "Each part counts alike, but the last one has fewer rows. Weigh each "
         "part by its number of rows."),
        (dict(zero="never"), "Somebody used these gradients before you. Zero them once, before the "
         "first part."),
    ]

    def few(model, rows):
        expect(model.most_rows, "the model was never called", "Call model(x) on each part.")
        expect(model.most_rows <= rows, (
            f"with rows_at_once={rows} the model was given {model.most_rows} rows at once"
        ), "Cut x and y along their first axis, and give the model one piece after the other.")

    def hold(name, B, T, rows, leftover=False):
        x, y = case.rng.integers(5, size=(2, B, T))
        with case(name):
            whole = run(_parts_step, x, y, B)[0]
            mine = run(step_in_parts, x, y, rows, leftover)[0]
            few(mine, rows)
            expect_close(_flat(mine), _flat(whole), "the parameters", mistakes=[
                (lambda how=how: _flat(run(
                    lambda *a: _parts_step(*a, **how), x, y, rows, leftover)[0]), text)
                for how, text in ways
            ], hint="They must be those of one step on the whole batch.")
        return x, y

    hold("4 rows, 2 at once", 4, 3, 2)
    x, y = hold("5 rows, 2 at once", 5, 3, 2)
    hold("7 rows of one character, 3 at once", 7, 1, 3)
    hold("3 rows, 8 at once", 3, 4, 8)
    hold("gradients left over from before", 5, 2, 3, leftover=True)
    with case("it returns the mean loss of the batch"):
        mistakes = [
            (lambda: run(lambda *a: _parts_step(*a, returns="last"), x, y, 2)[1], "That is the "
             "loss of the last part. Return that of the whole batch."),
            (lambda: run(lambda *a: _parts_step(*a, weigh="parts"), x, y, 2)[1], "The last part "
             "has fewer rows, so it weighs less in the mean."),
            (lambda: cross_entropy_loss(run(_parts_step, x, y, 5)[0](x), y).item(), "That is the "
             "loss after the step. Return the one before it."),
        ]
        model, loss = run(step_in_parts, x, y, 2)
        few(model, 2)
        expect_close(loss, run(_parts_step, x, y, 5)[1], "the loss",
                     mistakes=mistakes, hint="Each part's loss, weighed by its number of rows.")


# ---- 4: predictions, as formulas ----------------------------------------------------------------


@check(
    lesson="ps5",
    expects="a function `steps_to_read(num_tokens, block_size, batch_size)`: whole numbers in, a "
    "whole number out",
    not_tested="sizes of 0",
)
def ps5_steps_to_read(case, steps_to_read):
    def count(num_tokens, block_size, batch_size):
        steps = 0
        while steps * block_size * batch_size < num_tokens:
            steps += 1
        return steps

    mistakes = [
        (lambda n, t, b: n // (t * b), "Rounded down, some characters are still missing."),
        (lambda n, t, b: n // (t * b) + 1, "One step too many where it comes out even."),
        (lambda n, t, b: n / (t * b), "A step is made or not made: round up to a whole number."),
        (lambda n, t, b: round(n / (t * b)), "Rounded to the nearest, some characters may still be "
         "missing."),
        (lambda n, t, b: -(-n // t), "A step reads batch_size windows, not one."),
        (lambda n, t, b: -(-n // b), "Each window has block_size characters."),
        (lambda n, t, b: -(-n // ((t + 1) * b)), "Count the inputs: block_size characters a "
         "window."),
        (lambda n, t, b: -(-(n - t) // b), "That counts windows that start at every place. Here "
         "the characters of the batches are counted: block_size for each window."),
    ]
    T, B = (int(k) for k in case.rng.integers(3, 40, size=2))
    for name, sizes in [
        ("the rhymes", (59687, 48, 16)),
        ("a text that comes out even", (T * B * 7, T, B)),
        ("one character more", (T * B * 7 + 1, T, B)),
        ("one character less", (T * B * 7 - 1, T, B)),
        ("less than one batch", (5, T, B)),
        ("one character a step", (17, 1, 1)),
    ]:
        with case(name):
            expect_same(steps_to_read, count, *sizes, tol=1e-9, mistakes=mistakes, hint=(
                "How many characters does one step read?"
            ))


@check(
    lesson="ps5",
    expects="a function `share_never_drawn(num_tokens, block_size, windows)`: whole numbers in, a "
    "number from 0 to 1 out",
    not_tested="texts that are too short for one window",
)
def ps5_share_never_drawn(case, share_never_drawn):
    def share(num_tokens, block_size, windows):
        starts = num_tokens - block_size
        missed = 1.0
        for _ in range(windows):
            missed *= 1 - 1 / starts
        return missed

    mistakes = [
        (lambda n, t, w: (1 - 1 / n) ** w, "Not every character can be a start: a window and its "
         "last target have to fit."),
        (lambda n, t, w: (1 - 1 / (n - t + 1)) ** w, "A window needs one character more, for its "
         "last target: look at get_batch in lesson 1."),
        (lambda n, t, w: (1 - 1 / (n - t - 1)) ** w, "One start is missing. Count them for a text "
         "of 3 characters and block_size 2."),
        (lambda n, t, w: 1 - (1 - 1 / (n - t)) ** w, "That is the share that was drawn. Asked is "
         "the share that was not."),
        (lambda n, t, w: 1 - w / (n - t), "The same start may come twice, so the draws do not just "
         "add up. What is the chance that one draw misses it, and the next, and the next?"),
        (lambda n, t, w: max(0.0, 1 - w / (n - t)), "The same start may come twice, so the draws "
         "do not just add up. What is the chance that one draw misses it, and the next?"),
        (lambda n, t, w: math.exp(-w / (n - t)), "Very close for a long text, but not exact. Each "
         "draw misses with chance 1 - 1/starts."),
        (lambda n, t, w: (1 / (n - t)) ** w, "That is the chance that all draws hit one start."),
        (lambda n, t, w: 1 - 1 / (n - t), "That holds for one draw. There are `windows` of them."),
    ]
    n, t = int(case.rng.integers(40, 90)), int(case.rng.integers(2, 20))
    for name, sizes in [
        ("no draw", (30, 4, 0)),
        ("one draw", (n, t, 1)),
        ("a short text", (n, t, int(case.rng.integers(20, 60)))),
        ("three possible starts", (8, 5, 4)),
        ("only one possible start", (7, 6, 3)),
        ("the rhymes", (59687, 48, 1248)),
    ]:
        with case(name):
            expect_same(share_never_drawn, share, *sizes, tol=1e-6, mistakes=mistakes, hint=(
                "How many starts are there? What is the chance that a draw misses a given one?"
            ))


@check(
    lesson="ps5",
    expects="a function `too_long_by(t, beta1, beta2)`: the number of the step and the two betas "
    "in, a number out",
    not_tested="eps; betas of 0; gradients that change",
)
def ps5_too_long_by(case, too_long_by):
    def factor(t, beta1, beta2):
        g, m, v = 1.0, 0.0, 0.0
        for _ in range(t):
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g**2
        corrected = (m / (1 - beta1**t)) / math.sqrt(v / (1 - beta2**t))
        return (m / math.sqrt(v)) / corrected

    mistakes = [
        (lambda t, a, b: math.sqrt(1 - b**t) / (1 - a**t), "The fraction is upside down: without "
         "the correction, divided by with it."),
        (lambda t, a, b: (1 - a**t) / (1 - b**t), "v holds squares, but the step divides by its "
         "root."),
        (lambda t, a, b: (1 - b**t) / math.sqrt(1 - a**t), "The two betas are swapped."),
        (lambda t, a, b: (1 - a) / math.sqrt(1 - b), "That is the first step. Let t take part."),
        (lambda t, a, b: (1 - a**(t - 1)) / math.sqrt(1 - b**(t - 1)), "Steps count from 1: after "
         "the first step m is (1 - beta1) g."),
        (lambda t, a, b: (1 - a**(t + 1)) / math.sqrt(1 - b**(t + 1)), "Steps count from 1: after "
         "the first step m is (1 - beta1) g."),
        (lambda t, a, b: 1 - a**t, "That is m alone. v, below the line, starts at 0 as well."),
        (lambda t, a, b: 1 / math.sqrt(1 - b**t), "That is v alone. m starts at 0 as well."),
        (lambda t, a, b: a**t / math.sqrt(b**t), "After t steps m has reached a share of "
         "1 - beta1**t of the gradient."),
        (lambda t, a, b: 1.0, "It is not 1: m and v are both too small at first, but not by the "
         "same factor."),
    ]
    betas = case.rng.uniform(0.5, 0.99, size=2)
    for name, given in [
        ("the first step, 0.9 and 0.999", (1, 0.9, 0.999)),
        ("the first step, other betas", (1, *betas)),
        ("step 2", (2, 0.9, 0.999)),
        ("step 10, other betas", (10, *betas)),
        ("step 200", (200, 0.9, 0.999)),
        ("betas the other way round", (3, 0.99, 0.6)),
    ]:
        with case(name):
            expect_same(too_long_by, factor, *given, tol=1e-6, mistakes=mistakes, hint=(
                "With a constant gradient g: what are m and v after t steps?"
            ))


# ---- 5: a counterexample ------------------------------------------------------------------------

MARGIN, LEAST = 0.1, 20


@check(
    lesson="ps5",
    kind="any",
    expects="two texts and two numbers: the first smoothing has the lower loss on train_text and "
    "the higher one on val_text",
)
def ps5_lower_is_worse(case, train_text, val_text, first, second):
    with case("the first table is better on train_text and worse on val_text"):
        texts = {"train_text": train_text, "val_text": val_text}
        for name, text in texts.items():
            expect(isinstance(text, str), f"{name} is {text!r:.40}, not a string")
            expect(len(text) >= LEAST, f"{name} has {len(text)} characters, too few")
        rates = [as_array(number) for number in (first, second)]
        for name, rate in zip(("first", "second"), rates):
            expect(rate.ndim == 0 and np.isfinite(rate) and rate > 0, (
                f"the {name} smoothing is not one number above 0"
            ), "A smoothing of 0 would give chances of 0, and a loss without end.")
        expect(sorted(train_text) == sorted(val_text), "the two texts have other characters, or "
               "the same ones in other numbers", "Otherwise it would be no wonder. Build the "
               "second text by putting the characters of the first in another order.")
        expect(train_text != val_text, "the two texts are the same",
               "Then both losses are the same, too.")
        tokenizer = CharTokenizer.from_text(train_text)
        ids = [tokenizer.encode(text) for text in texts.values()]
        tables = [bigram_probs(ids[0], tokenizer.vocab_size, float(rate)) for rate in rates]
        (one, other), (one_val, other_val) = (
            [bigram_loss(table, data) for table in tables] for data in ids
        )
        said = "on {} the first table has a loss of {:.2f}, the second {:.2f}"
        expect(other - one >= MARGIN, said.format("train_text", one, other), (
            "You have it the other way round: swap the two smoothings." if one > other + MARGIN
            else "Which smoothing keeps closest to what was counted?"
        ))
        expect(one_val - other_val >= MARGIN, said.format("val_text", one_val, other_val), (
            "A table that is nearly sure of what it has seen pays for each pair it has not seen. "
            "Which order of the characters brings new pairs?"
        ))


# ---- 6: sums as text ----------------------------------------------------------------------------


def _exact_match(complete, sums):
    right = 0
    for a, b in sums:
        answer = complete(f"{a:02d}+{b:02d}=").split("\n")[0]
        right += answer == f"{a + b:03d}"
    return right / len(sums)


class _Writers:
    """Stand-ins for a model: each takes a prompt such as `07+35=` and writes on."""

    def __init__(self, rng):
        self.lucky = {(a, b): rng.random() < 0.5 for a in range(100) for b in range(100)}

    @staticmethod
    def read(prompt):
        a, plus, b, end = prompt[:2], prompt[2:3], prompt[3:5], prompt[5:]
        expect(plus == "+" and end == "=" and a.isdecimal() and b.isdecimal(), (
            f"the model was asked {prompt!r}; it knows questions such as '07+35=' only"
        ), "Two digits for each number, and the sign = at the end, with nothing after it.")
        return int(a), int(b)

    def sure(self, prompt):
        return f"{sum(self.read(prompt)):03d}\n"

    def goes_on(self, prompt):
        return f"{sum(self.read(prompt)):03d}\n11+11=0"

    def stops_short(self, prompt):
        return f"{sum(self.read(prompt)):03d}"

    def half(self, prompt):
        a, b = self.read(prompt)
        return f"{a + b + (0 if self.lucky[a, b] else 10):03d}\n"

    def short(self, prompt):
        a, b = self.read(prompt)
        return f"{a + b:03d}"[: 3 if self.lucky[a, b] else 2] + "\n"

    def long(self, prompt):
        a, b = self.read(prompt)
        return f"{a + b:03d}" + ("" if self.lucky[a, b] else "0") + "\n99+99"

    def no_zeros(self, prompt):
        a, b = self.read(prompt)
        return f"{a + b:03d}\n" if self.lucky[a, b] else f"{a + b}\n00"

    def late(self, prompt):
        a, b = self.read(prompt)
        return f"{a + b:03d}\n" if self.lucky[a, b] else f"00{(a + 1) % 10}\n{a + b:03d}\n"

    def spaced(self, prompt):
        a, b = self.read(prompt)
        form = "{}\n" if self.lucky[a, b] else ["\n{}\n", " {}\n", "{} \n"][(a + b) % 3]
        return form.format(f"{a + b:03d}")

    def nonsense(self, prompt):
        a, b = self.read(prompt)
        return f"{a + b:03d}\n" if self.lucky[a, b] else ["", "+=\n", "1=3\n", "\n"][(a + b) % 4]


@check(
    lesson="ps5",
    expects="a function `exact_match(complete, sums)`: a function that continues a text, and a "
    "list of pairs of numbers; a share from 0 to 1 out",
    not_tested="an empty list of sums; speed",
)
def ps5_exact_match(case, exact_match):
    writers = _Writers(case.rng)

    def whole(text):
        return text.split("\n")[0]

    def judged(right):
        return lambda complete, sums: float(np.mean([
            right(complete(f"{a:02d}+{b:02d}="), f"{a + b:03d}") for a, b in sums
        ]))

    mistakes = [
        (judged(lambda text, want: text == want + "\n"), "A model writes as much as it is asked "
         "for. Only what stands before the first line break is its answer."),
        (judged(lambda text, want: text == want), "A model writes as much as it is asked for. Only "
         "what stands before the first line break is its answer."),
        (judged(lambda text, want: text[:3] == want), "What follows the third digit counts, too: "
         "0420 is not 042. The answer ends at the line break."),
        (judged(lambda text, want: text[:4] == want + "\n"), "An answer may also end with the "
         "text, without a line break."),
        (judged(lambda text, want: whole(text.strip()) == want), "What begins with a line break "
         "is an empty answer, and a blank is more than three digits. Take away nothing but what "
         "follows the line break."),
        (judged(lambda text, want: whole(text).strip() == want), "Three digits and nothing else: "
         "a blank before or after them counts, too."),
        (judged(lambda text, want: want in text), "The answer must be the right one. It is not "
         "enough that the right one stands somewhere in the text."),
        (judged(lambda text, want: whole(text).isdecimal() and int(whole(text)) == int(want)),
         "Compare as text: 42 is not 042. Three digits were asked for."),
        (judged(lambda text, want: np.mean([x == y for x, y in zip(whole(text).ljust(3), want)])),
         "You count single digits. An answer is right as a whole or it is wrong."),
        (lambda complete, sums: _exact_match(complete, sums) * len(sums), "That is how many are "
         "right. Divide by how many there are."),
        (lambda complete, sums: _exact_match(complete, sums) * 100, "That is in percent. Give the "
         "share, from 0 to 1."),
        (lambda complete, sums: 1 - _exact_match(complete, sums), "That is the share of wrong "
         "answers."),
        (lambda complete, sums: _exact_match(complete, list(set(sums))), "A sum that is asked "
         "twice counts twice."),
    ]
    for name, writer, count in [
        ("a model that is always right", writers.sure, 7),
        ("a model that writes on", writers.goes_on, 5),
        ("an answer without a line break", writers.stops_short, 4),
        ("some answers wrong in one digit", writers.half, 40),
        ("some answers with a digit too few", writers.short, 40),
        ("some answers with a digit too many", writers.long, 40),
        ("some answers without leading zeros", writers.no_zeros, 40),
        ("the right answer one line too late", writers.late, 40),
        ("a blank or a line break beside some answers", writers.spaced, 60),
        ("no numbers at all", writers.nonsense, 40),
    ]:
        sums = [(int(a), int(b)) for a, b in case.rng.integers(100, size=(count, 2))]
        sums += [sums[0], (3, 4)]
        with case(name):
            expect_close(exact_match(writer, sums), _exact_match(writer, sums), "the share",
                         tol=CLOSE, mistakes=[(lambda wrong=wrong: wrong(writer, sums), text)
                                   for wrong, text in mistakes],
                         hint="The answer is what stands before the first line break. Compare it "
                         "with the sum, written with three digits.")


# ---- 7: compression -----------------------------------------------------------------------------


def _bits_by_program(text, compress):
    return 8 * len(compress(text.encode("utf-8"))) / len(text)


@check(
    lesson="ps5",
    expects="a function `bits_by_program(text, compress)`: a string and a function from bytes to "
    "bytes in, a number out",
    not_tested="an empty text",
)
def ps5_bits_by_program(case, bits_by_program):
    def of(measure):
        return lambda text, compress: measure(len(text), text.encode("utf-8"), compress)

    mistakes = [
        (of(lambda n, raw, compress: len(compress(raw)) / n), "A byte has 8 bits."),
        (of(lambda n, raw, compress: 8 * len(compress(raw)) / len(raw)), "You divide by the bytes. "
         "A letter such as ä has two bytes, and is one character."),
        (of(lambda n, raw, compress: len(compress(raw)) / len(raw)), "That is how small it gets, "
         "in bytes for a byte. Asked are bits for a character."),
        (of(lambda n, raw, compress: n / (8 * len(compress(raw)))), "The fraction is upside down: "
         "bits for each character."),
        (of(lambda n, raw, compress: 8 * len(compress(raw))), "That is the whole text. Divide by "
         "its number of characters."),
        (of(lambda n, raw, compress: 8 * len(raw) / n), "Nothing is compressed."),
        (of(lambda n, raw, compress: 8 * len(zlib.compress(raw)) / n), "You call zlib itself. Use "
         "the `compress` that you are given."),
        (lambda text, compress: 8 * len(compress(text.encode("latin-1"))) / len(text), "The bytes "
         "of the text are those of UTF-8: text.encode(\"utf-8\")."),
        (of(lambda n, raw, compress: len(compress(raw)) / n / math.log(2)), "A byte is 8 bits; the "
         "logarithm has no place here."),
    ]
    letters = np.array(list("abcdefgh \n"))
    for name, text, compress in [
        ("zlib", "".join(case.rng.choice(letters, size=300)), lambda raw: zlib.compress(raw, 9)),
        ("bz2", "the rain falls, " * 20, bz2.compress),
        ("letters of two bytes", "".join(case.rng.choice(list("äöüß"), size=80)), lzma.compress),
        ("one character", "x", zlib.compress),
        ("signs of four bytes", "🎲🂡" * int(case.rng.integers(5, 20)), bz2.compress),
        ("a program that keeps every third byte", "abcd" * 9 + "é", lambda raw: raw[::3]),
    ]:
        with case(name):
            expect_same(bits_by_program, _bits_by_program, text, compress, tol=CLOSE,
                        mistakes=mistakes, hint="The text as bytes, compressed; 8 bits a byte; for "
                        "each character.")


def _bits_by_model(model, ids, *, first=True, tail=True, base=2.0):
    """All bits of ids, (N,): the first by a uniform guess, the others by the model, block-wise."""
    T, bits = model.max_seq_len, [math.log(model.vocab_size) / math.log(base)] * first
    for start in range(0, len(ids) - 1, T):
        inputs, targets = ids[start : start + T], ids[start + 1 : start + T + 1]
        if len(targets) < T and not tail:
            break
        with no_grad():
            rows = log_softmax(model(inputs[: len(targets)]).data)  # (T, V)
        bits += [-rows[t, target] / math.log(base) for t, target in enumerate(targets)]
    return bits


@check(
    lesson="ps5",
    expects="a function `bits_by_model(model, ids)`: a MiniGPT and a list of ids in, a number out",
    not_tested="an empty list; speed",
    seconds=10.0,
)
def ps5_bits_by_model(case, bits_by_model):
    model = MiniGPT(6, 8, 2, 1, 5, rng=case.rng)
    model.head.weight.data *= 60  # an untrained model is unsure: make its answers differ
    V = model.vocab_size

    def mean(ids, **how):
        return float(np.mean(_bits_by_model(model, ids, **how)))

    def one_window(ids):
        with no_grad():
            logits = [model(ids[max(0, i - 5) : i]).data[-1] for i in range(1, len(ids))]
        rows = [log_softmax(row) for row in logits]
        return (math.log2(V) - sum(r[i] for r, i in zip(rows, ids[1:])) / math.log(2)) / len(ids)

    def unshifted(ids):
        with no_grad():
            blocks = [log_softmax(model(ids[i : i + 5]).data) for i in range(0, len(ids), 5)]
        rows = np.concatenate(blocks)
        return -float(np.mean(rows[np.arange(len(ids)), ids])) / math.log(2)

    def mean_of_blocks(ids):
        blocks = [ids[i : i + 6] for i in range(0, len(ids) - 1, 5)]
        return float(np.mean([mean(block, first=False) for block in blocks]))

    mistakes = [
        (lambda ids: mean(ids, base=math.e), "That is in nats. For bits divide by ln 2."),
        (lambda ids: mean(ids) * math.log(2) ** 2, "Nats become bits when you divide by ln 2."),
        (lambda ids: mean(ids, first=False), "The first character is missing. Nobody foresees it: "
         "it costs log2 V bits."),
        (lambda ids: mean(ids, first=False, base=math.e), "The first character is missing, and "
         "that is in nats."),
        (lambda ids: sum(_bits_by_model(model, ids, first=False)) / len(ids), "The first character "
         "costs nothing here. Nobody foresees it: it costs log2 V bits."),
        (lambda ids: sum(_bits_by_model(model, ids)) / (len(ids) - 1), "With the first one there "
         "are N characters, not N - 1."),
        (lambda ids: sum(_bits_by_model(model, ids)), "That is the whole text. Divide by its "
         "number of characters."),
        (lambda ids: mean(ids, tail=False), "The end of the text is missing: the last block may be "
         "shorter."),
        (lambda ids: mean(ids, tail=False, first=False), "The first character and the end of the "
         "text are missing."),
        (mean_of_blocks, "The mean of the blocks' means: a short block must weigh less."),
        (unshifted, "The targets are the inputs. Row t says what comes after character t."),
        (one_window, "Each character is seen from a window of its own. Here the blocks lie one "
         "after the other, as the exercise says."),
        (lambda ids: -mean(ids), "The minus is missing: bits are not negative."),
        (lambda ids: math.log2(V), "That is a uniform guess. Ask the model."),
    ]
    for N in [7, 11, 23, 6, 5, 2, 1]:
        ids = case.rng.integers(V, size=N).tolist()
        with case(f"{N} character{'s' * (N > 1)}, blocks of 5"):
            hint = ("log2 V for the first character. For the others minus log2 of the chance that "
                    "the model gave them. All added up, divided by their number.")
            expect_close(bits_by_model(model, ids), mean(ids), tol=CLOSE, hint=hint, mistakes=[
                (lambda wrong=wrong: wrong(ids), text) for wrong, text in mistakes
            ])
