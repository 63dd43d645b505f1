"""Checks of problem set 4: norms, a stack to mend, a better start, a budget, parts left out."""

from __future__ import annotations

import copy
import math
from itertools import product

import numpy as np

from minigpt_helpers.autograd import Tensor, no_grad
from minigpt_helpers.checks._ask import prediction
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import as_array, expect, expect_close, expect_same
from minigpt_helpers.checks.block import random_norms
from minigpt_helpers.functional import cross_entropy_loss
from minigpt_helpers.nn import LayerNorm, MiniGPT, TransformerBlock
from minigpt_helpers.pretrained import load_pretrained

TOLERANCE = 1e-4  # float32 is precise enough
PARTS = ("attention", "feed_forward")

# ---- the slow, obvious references ---------------------------------------------------------------


def _rms_norm(x, weight, eps):
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps) * weight


def _layer_norm(x, eps=1e-5, axis=-1):
    left = x - x.mean(axis=axis, keepdims=True)
    return left / np.sqrt((left**2).mean(axis=axis, keepdims=True) + eps)


def _stack(x, blocks, final_norm):
    for block in blocks:
        x = x + block.attention(block.norm1(x))
        x = x + block.feed_forward(block.norm2(x))
    return final_norm(x)


def _tied_count(V, D, N, T):
    return V * D + T * D + N * (12 * D * D + 13 * D) + 2 * D


def _loss_without(model, ids, layer, part, final_norm=True, shift=1, keep_stream=True):
    with no_grad():
        x = model.embed(ids[:-1] if shift else ids)
        for i, block in enumerate(model.blocks):
            for name, norm in zip(PARTS, (block.norm1, block.norm2)):
                if layer in (i, "all") and part in (name, "both"):
                    x = x if keep_stream else x * 0.0
                else:
                    x = x + getattr(block, name)(norm(x))
        logits = model.head(model.final_norm(x) if final_norm else x)
        return cross_entropy_loss(logits, ids[1:] if shift else ids).item()


# ---- 1. RMSNorm ---------------------------------------------------------------------------------


@check(
    lesson="ps4",
    expects="a function `rms_norm(x, weight, eps)`: an array (..., D), an array (D,) and a small "
    "number in, an array (..., D) out",
    not_tested="speed; gradients",
)
def ps4_rms_norm(case, rms_norm):
    def form(axis=-1, power=0.5, outside=False, scale=True, total=False, with_eps=True):
        def wrong(x, weight, eps):
            reduce = np.sum if total else np.mean
            square = reduce(x**2, axis=axis, keepdims=True)
            eps = eps if with_eps else 0.0
            size = square**power + eps if outside else (square + eps) ** power
            return x / size * (weight if scale else 1.0)
        return wrong

    down = "You norm down the columns: a position then depends on all others, the future as well. "
    mistakes = [
        *((form(axis=axis), down + "The mean runs along the last axis, a row: axis=-1.")
          for axis in (-2, 0)),
        (form(axis=None), "You norm the whole array. Each row has its own size."),
        (form(outside=True), "eps belongs under the root: sqrt(mean square + eps)."),
        (form(power=1), "You divide by the mean square. Take its root."),
        (form(total=True), "You divide by the root of the sum. Take the mean of the squares."),
        (form(scale=False), "The learnt scale is missing: times weight."),
        (form(with_eps=False), "eps is missing: without it a row of zeros becomes 0 / 0."),
        (lambda x, weight, eps: _layer_norm(x, eps) * weight, "That is layer norm. Here no mean "
         "is subtracted."),
        (lambda x, weight, eps: x / np.sqrt(x.var(axis=-1, keepdims=True) + eps) * weight,
         "np.var and np.std subtract the mean. Here the squares of the numbers themselves count."),
        (lambda x, weight, eps: x / (np.abs(x).mean(axis=-1, keepdims=True) + eps) * weight,
         "That is the mean of the sizes. Take the root of the mean of the squares."),
    ]
    for shape in [(3, 5), (1, 4), (4, 4), (2, 3, 6), (7,)]:
        x = case.rng.normal(size=shape) * 2 + 1
        weight = case.rng.normal(size=shape[-1])
        with case(f"x of shape {shape}"):
            expect_same(rms_norm, _rms_norm, x, weight, 0.1, tol=TOLERANCE, mistakes=mistakes,
                        hint="For each row: the mean of the squares, plus eps, its root. Divide by "
                             "that, times weight. keepdims=True keeps the shapes together.")
    weight = case.rng.normal(size=4)
    with case("a row of zeros, a row of equal numbers"):
        x = np.array([[0.0] * 4, [3.0] * 4, [-1.0] * 4])
        expect_same(rms_norm, _rms_norm, x, weight, 1e-5, tol=TOLERANCE, mistakes=mistakes, hint=(
            "A row of zeros has size 0. eps keeps it from becoming 0 / 0."
        ))
    with case("very large and very small rows"):
        x = case.rng.normal(size=(3, 4)) * np.array([[1e6], [1.0], [1e-6]])
        expect_same(rms_norm, _rms_norm, x, weight, 1e-5, tol=TOLERANCE, mistakes=mistakes, hint=(
            "A row a million times as large gives the same result. A row far smaller than eps does "
            "not: eps is added, whatever the size."
        ))


# ---- 2. what layer norm forgets -----------------------------------------------------------------


@check(
    lesson="ps4",
    expects="a function `twin(row)`: an array (D,) in, another row (D,) out with the same layer "
    "norm, but another RMSNorm",
    not_tested="rows of equal numbers",
)
def ps4_twin(case, twin):
    def rms(row):
        return _rms_norm(row, 1.0, 1e-5)

    for D in [3, 8, 5, 32]:
        row = case.rng.normal(size=D) * 2
        if D == 5:
            row -= row.mean()  # nothing is won by adding this mean, or by taking it away
        with case(f"D={D}"):
            got = as_array(twin(row))
            expect(got.shape == row.shape, f"expected a row of shape {row.shape}, got {got.shape}")
            expect(np.isfinite(got).all(), "your row holds an infinity or a NaN")
            expect(np.abs(got - row).max() > 1e-3, "your row is the row itself",
                   "It has to be another row.")
            normed, theirs = _layer_norm(row), _layer_norm(got)
            at = int(np.abs(normed - theirs).argmax())
            hint = "Which two things does layer norm take out of a row?"
            if np.allclose(normed, -theirs, atol=1e-3):
                hint = "A negative factor turns the signs round, and layer norm sees that."
            elif np.allclose(np.sort(normed), np.sort(theirs), atol=1e-3):
                hint = "The same numbers in another order are another pattern."
            elif np.ptp(got) < 1e-2 * np.ptp(row):
                hint = "So little of the pattern is left that eps is no longer small beside it."
            expect(np.abs(normed - theirs).max() < 1e-3, (
                f"the layer norms differ: {normed[at]:.4f} and {theirs[at]:.4f} at [{at}]"
            ), hint)
            gap = np.abs(rms(row) - rms(got)).max()
            factor = np.allclose(got / got[0], row / row[0])
            expect(gap > 0.0099, f"the RMSNorms differ by {gap:.4f} only; it takes 0.01", (
                "A factor is forgotten by both norms. What does layer norm forget besides?"
                if factor else "The right kind of change. Make it larger."
            ))


# ---- 3. mend a stack ----------------------------------------------------------------------------


def _mistaken_stack(first="x", second=True, norm=None, final=True, post=False, order=PARTS,
                    norms=True, shared=False, last_only=False):
    def wrong(x, blocks, final_norm):
        start = x
        for block in blocks:
            x = start if last_only else x
            for part in order:
                own = block.norm1 if part == "attention" or shared else block.norm2
                apply = own if norm is None else (lambda z, own=own: norm(z, own))
                apply = apply if norms else (lambda z: z)
                normed = x if post else apply(x)
                result = getattr(block, part)(normed)
                keep = first if part == "attention" else ("x" if second else "nothing")
                x = {"x": x, "normed": normed, "nothing": 0.0}[keep] + result
                x = apply(x) if post else x
        return final_norm(x) if final else x
    return wrong


def _norm_over_positions(x, norm):
    left = x - x.mean(axis=-2, keepdims=True)
    variance = (left * left).mean(axis=-2, keepdims=True)
    return left / (variance + norm.eps) ** 0.5 * norm.weight + norm.bias


_STACK_MISTAKES = [
    (_mistaken_stack(final=False), "The final norm is missing."),
    (_mistaken_stack(second=False), "The second residual is missing: x + feed_forward(...)."),
    (_mistaken_stack(first="nothing"), "The first residual is missing: x + attention(...)."),
    (_mistaken_stack(first="nothing", second=False), "Both residuals are missing: each part *adds* "
     "its result to x."),
    (_mistaken_stack(first="normed"), "Attention's result is added to the normed copy. The stream "
     "itself is not normed."),
    (_mistaken_stack(norm=_norm_over_positions), "Your norm runs down the columns, over the "
     "positions. Each row has its own mean and variance: axis=-1."),
    (_mistaken_stack(post=True), "You norm the sum (post-norm). Here each part reads a normed "
     "copy, and the sum stays as it is."),
    (_mistaken_stack(norms=False), "The norms in the blocks are missing."),
    (_mistaken_stack(shared=True), "The second half has a norm of its own, norm2."),
    (_mistaken_stack(order=PARTS[::-1]), "First attention, then feed-forward."),
    (_mistaken_stack(order=PARTS[:1]), "The second half is missing: feed-forward."),
    (_mistaken_stack(last_only=True), "Every block reads the same x, so only the last one counts."),
]


@check(
    lesson="ps4",
    expects="a function `stack_forward(x, blocks, final_norm)`: a Tensor (T, D) or (B, T, D), a "
    "list of TransformerBlocks and a LayerNorm in, a Tensor of the same shape out",
    not_tested="speed; gradients",
)
def ps4_stack_forward(case, stack_forward):
    rng = case.rng

    def parts(D, heads, num_blocks):
        blocks = [random_norms(TransformerBlock(D, heads, rng=rng), rng) for _ in range(num_blocks)]
        return blocks, LayerNorm(D)

    def result(x, blocks, final_norm, idle=False):
        got = as_array(stack_forward(Tensor(x), blocks, final_norm))
        expect(got.shape == x.shape, f"expected shape {x.shape}, got {got.shape}")
        expect(idle or np.abs(got - final_norm(Tensor(x)).data).max() > TOLERANCE,
               "the blocks play no part", "Each block adds to x, twice.")
        return got

    with case("the future changes nothing before it"):
        blocks, final_norm = parts(8, 2, 2)
        x = rng.normal(size=(6, 8))
        other = x.copy()
        other[-1] = rng.normal(size=8)
        before, after = (result(z, blocks, final_norm)[:-1] for z in (x, other))
        expect(np.abs(after - before).max() < 1e-6, (
            "another vector at the last position changes results before it, by up to "
            f"{np.abs(after - before).max():.2g}"
        ), "The parts are causal by themselves, unless you switch that off. Does a norm look at "
           "several positions? Each row has its own mean and variance: axis=-1.")
    with case("rows of equal numbers"):
        blocks, final_norm = parts(6, 1, 1)
        eps = "The variance of equal numbers is 0. eps, under the root, keeps it from being 0 / 0."
        try:
            got = result(np.full((4, 6), 3.0), blocks, final_norm)
        except (ValueError, ZeroDivisionError) as error:
            expect("division by zero" not in str(error), "your function divides by zero", eps)
            raise
        expect(np.isfinite(got).all(), "the result holds a NaN or an infinity", eps)
    with case("parts that add nothing"):
        blocks, final_norm = parts(8, 2, 3)
        for block in blocks:
            for layer in (block.attention.proj, block.feed_forward.contract):
                layer.weight.data, layer.bias.data = layer.weight.data * 0, layer.bias.data * 0
        x = rng.normal(size=(5, 8))
        got = _layer_norm(result(x, blocks, final_norm, idle=True))
        expect_close(got, _layer_norm(x), "all parts give 0, so the stream (normed here) should "
                     "be as it was", tol=1e-3, hint=(
            "Each part adds its result to the stream, and the stream itself is never normed before "
            "the end: x = x + layer(norm(x)), twice."
        ))
    with case("the final norm"):
        blocks, final_norm = parts(6, 2, 2)
        x = rng.normal(size=(4, 6))
        plain = result(x, blocks, final_norm)
        random_norms(final_norm, rng)
        expected = plain * final_norm.weight.data + final_norm.bias.data
        expect_close(result(x, blocks, final_norm), expected, "its scale and shift should show in "
                     "the result", tol=TOLERANCE, hint="The last thing that happens to x, after "
                     "all blocks, is the final norm.")
    for shape, heads, num_blocks in [((5, 8), 2, 3), ((2, 3, 6), 3, 2), ((1, 4), 1, 1)]:
        with case(f"x of shape {shape}, {num_blocks} block{'s' * (num_blocks > 1)}"):
            blocks, final_norm = parts(shape[-1], heads, num_blocks)
            random_norms(final_norm, rng)
            x = rng.normal(size=shape) * 3
            got = result(x, blocks, final_norm)
            x = Tensor(x)
            expect_close(got, _stack(x, blocks, final_norm), tol=TOLERANCE, hint=(
                "Two lines of the same form for each block, x = x + layer(norm(x)), and the final "
                "norm after the last one."
            ), mistakes=[(lambda f=f: f(x, blocks, final_norm), text)
                         for f, text in _STACK_MISTAKES])


# ---- 4. a start that knows the letters ----------------------------------------------------------

prediction(
    "ps4_predict_start_loss",
    lesson="ps4",
    answer=lambda: 1.75 * math.log(2),
    tol=0.0065,
    expects="one number, to two decimals: the mean loss in nats",
    hint="At every position the model gives the four letters the chances 1/2, 1/4, 1/8, 1/8. How "
    "large is the loss when the letter is an a? How often is it one? Add up over the letters.",
    near=[
        (1.75, "That is in bits. In nats, take the natural logarithm."),
        (math.log(4), "That is the loss of an even guess. This model knows the frequencies."),
        (2.0, "That is the loss of an even guess, in bits."),
        (math.log(2), "That is the loss at an a alone. The other letters come, too."),
        (-1.75 * math.log(2), "Minus the logarithm of a chance is not negative."),
        (-np.log([1 / 2, 1 / 4, 1 / 8, 1 / 8]).mean(), "You took the plain mean over the four "
         "letters. An a comes more often than a c."),
        (0.0, "A loss of 0 means that every guess is sure and right."),
    ],
)


@check(
    lesson="ps4",
    expects="a function `start_bias(ids, V)`: an array (N,) of ids in which each of 0 to V - 1 "
    "occurs, and V, in; an array (V,) out",
    not_tested="ids that never occur",
)
def ps4_start_bias(case, start_bias):
    def chances(bias):
        exps = np.exp(bias - bias.max())
        return exps / exps.sum()

    for V, N in [(4, 50), (2, 30), (9, 400), (27, 3000), (3, 3)]:
        shares = case.rng.dirichlet(np.full(V, 0.7))
        ids = np.concatenate([np.arange(V), case.rng.choice(V, size=N - V, p=shares)])
        ids = case.rng.permutation(ids)
        expected = np.bincount(ids, minlength=V) / N
        with case(f"V={V}, N={N}"):
            bias = as_array(start_bias(ids, V))
            expect(bias.shape == (V,), f"expected shape {(V,)}, got {bias.shape}",
                   "One number for each character of the vocabulary.")
            expect(np.isfinite(bias).all(), "your bias holds an infinity or a NaN")
            expect_close(chances(bias), expected, "the softmax of your bias", tol=1e-3, hint=(
                "The softmax takes exp of each number and divides by the sum. Which numbers does "
                "that turn into the shares of the characters?"
            ), mistakes=[
                (chances(expected), "These are the shares themselves. The softmax will take exp of "
                 "them: undo that first."),
                (chances(np.bincount(ids, minlength=V).astype(float)), "These are the counts. The "
                 "softmax will take exp of them: undo that first."),
                (chances(-np.log(expected)), "The sign: what is frequent needs the larger number."),
                (chances(np.log2(expected)), "The softmax uses e: take the natural logarithm."),
                (chances(np.log10(expected)), "The softmax uses e: take the natural logarithm."),
                *((np.sort(expected)[::step], "The numbers are right, but not in the order of the "
                   "ids.") for step in (1, -1)),
                (chances(np.log(np.bincount(ids, minlength=V) + 1.0)), "You add 1 to each count. "
                 "Here every character occurs, so nothing has to be added."),
                (np.full(V, 1 / V), "All characters get the same chance: that is the plain start."),
            ])


# ---- 5. as large as you want it to be -----------------------------------------------------------


@check(
    lesson="ps4",
    expects="a function `part_size(num_blocks, start, end)`: a whole number and two sizes with "
    "start <= end in, one number out",
    not_tested="an end smaller than the start",
)
def ps4_part_size(case, part_size):
    def right(num_blocks, start, end):
        return math.sqrt((end**2 - start**2) / (2 * num_blocks))

    mistakes = [
        (lambda n, s, e: right(n, s, e) * math.sqrt(2), "Each block adds twice: attention and "
         "feed-forward."),
        (lambda n, s, e: (e - s) / (2 * n), "Sizes do not add up. Their squares do (the "
         "variances)."),
        (lambda n, s, e: (e - s) / n, "Sizes do not add up. Their squares do (the variances)."),
        (lambda n, s, e: (e - s) / math.sqrt(2 * n), "Take the difference of the squares, not the "
         "square of the difference."),
        (lambda n, s, e: right(n, s, e) ** 2, "That is the variance of a part. Its size is the "
         "root."),
        (lambda n, s, e: math.sqrt(e**2 - s**2) / (2 * n), "Divide the variance by the number of "
         "parts, then take the root."),
        (lambda n, s, e: math.sqrt(e - s) / math.sqrt(2 * n), "Variances add up, and a variance is "
         "the square of a size."),
        (lambda n, s, e: e / math.sqrt(2 * n), "The stream does not start at 0: its first size "
         "counts, too."),
        (lambda n, s, e: (e / s) ** (1 / (2 * n)), "The parts are added to the stream, they do not "
         "multiply it."),
        (lambda n, s, e: 1 / math.sqrt(2 * n), "That leads from 0 to 1. Start and end play a "
         "part."),
    ]
    for num_blocks in [1, 2, 12, 48]:
        start = float(case.rng.uniform(0.1, 1.0))
        end = start + float(case.rng.uniform(0.5, 4.0))
        with case(f"{num_blocks} block{'s' * (num_blocks > 1)}, from {start:.2f} to {end:.2f}"):
            expect_same(part_size, right, num_blocks, start, end, tol=TOLERANCE, mistakes=mistakes,
                        hint="end squared = start squared + 2 N times (size of a part) squared. "
                             "Solve that for the size of a part.")
    with case("nothing to add"):
        expect_same(part_size, right, 3, 1.5, 1.5, tol=TOLERANCE, hint=(
            "If the end is as large as the start, the parts add nothing: 0."
        ))


# ---- 6. a model for a budget --------------------------------------------------------------------

WIDTHS, DEPTHS = range(8, 257, 8), range(1, 13)


def _best_fit(V, T, budget, widths=WIDTHS, depths=DEPTHS, fits=None, count=_tied_count):
    fits = fits or (lambda used: used <= budget)
    pairs = [(D, N) for D, N in product(widths, depths) if fits(count(V, D, N, T))]
    return max(pairs, key=lambda pair: count(V, pair[0], pair[1], T), default=(0, 0))


@check(
    lesson="ps4",
    expects="a function `tied_count(V, D, N, T)`: four whole numbers in (vocabulary, width, "
    "blocks, positions), one whole number out",
    not_tested="a feed-forward layer of another width than 4 D",
)
def ps4_tied_count(case, tied_count):
    def without(change):
        return lambda V, D, N, T: _tied_count(V, D, N, T) + change(V, D, N, T)

    mistakes = [
        (without(lambda V, D, N, T: V * D), "The token embedding is counted twice. The head uses "
         "it again."),
        (without(lambda V, D, N, T: V), "This head has no bias."),
        (without(lambda V, D, N, T: -2 * D), "The final norm is missing."),
        (without(lambda V, D, N, T: -D), "A norm has a scale and a shift: 2 D."),
        (without(lambda V, D, N, T: -T * D), "The position embedding is missing."),
        (without(lambda V, D, N, T: -V * D), "The token embedding is missing. It is there once."),
        (without(lambda V, D, N, T: -N * 4 * D), "The two norms in each block are missing."),
        (without(lambda V, D, N, T: -N * 2 * D), "Each block has two norms, 2 D each."),
        (without(lambda V, D, N, T: -N * 9 * D), "The biases in the blocks are missing: 3 D and D "
         "in attention, 4 D and D in feed-forward."),
        (without(lambda V, D, N, T: -N * 13 * D - 2 * D), "Only the matrices are counted. Biases "
         "and norms have parameters, too."),
        (lambda V, D, N, T: _tied_count(V, D, 1, T), "You counted one block. There are N."),
    ]
    sizes = [[int(case.rng.integers(low, high)) for low, high in
              [(2, 200), (1, 100), (1, 20), (1, 300)]] for _ in range(3)]
    for V, D, N, T in [*sizes, (1000, 128, 3, 256)]:  # small enough to be built and counted
        with case(f"V={V}, D={D}, N={N}, T={T}"):
            expect_same(tied_count, _tied_count, V, D, N, T, mistakes=mistakes, hint=(
                "Token and position embedding, N blocks of 12 D D + 13 D, the final norm. The head "
                "costs nothing."
            ))


@check(
    lesson="ps4",
    expects="a function `best_fit(V, T, budget)`: three whole numbers in, (D, N) out: the width "
    "and the blocks of the model with the most parameters that are not more than the budget",
    not_tested="budgets too small for any model",
)
def ps4_best_fit(case, best_fit):
    def untied(V, D, N, T):
        return _tied_count(V, D, N, T) + V * D

    rng = case.rng

    def pick(values):
        return int(rng.choice(values))

    made = [
        ("a budget of about 100,000", None, 0),
        ("a budget of about a million", None, 1),
        ("a budget that one model meets exactly", (pick(range(40, 120, 8)), pick([3, 4, 5])), 0),
        ("one parameter short of a model", (pick(range(40, 120, 8)), pick([6, 7, 8])), -1),
        ("a wide model", (256, pick([1, 2, 5])), 3),
        ("a deep model", (pick(range(16, 64, 8)), 12), 3),
        ("a small budget", (8, 1), pick([0, 3])),
    ]
    for name, pair, extra in made:
        V, T = int(rng.integers(20, 100)), int(rng.integers(16, 129))
        if pair:
            budget = _tied_count(V, *pair, T) + extra
        else:
            budget = int(rng.integers(900_000, 1_100_000) if extra else rng.integers(9e4, 1.1e5))
        with case(name):
            got = best_fit(V, T, budget)
            asked = f"for V={V}, T={T} and a budget of {budget:,} you answer {_shown(got)}"
            fit = as_array(got)
            expect(fit.shape == (2,) and np.all(fit == np.round(fit)),
                   f"expected (D, N), two whole numbers; {asked}")
            D, N = (int(i) for i in fit)
            expect(D in WIDTHS and N in DEPTHS, asked, (
                "The width comes first, then the blocks: (D, N)." if N in WIDTHS and D in DEPTHS
                else "D is one of 8, 16, 24, ..., 256, N one of 1, 2, ..., 12."))
            used, best = _tied_count(V, D, N, T), _tied_count(V, *_best_fit(V, T, budget), T)
            over = "Is your count that of a model whose head uses the token embedding again?"
            expect(used <= budget, f"{asked}: that has {used:,} parameters", (
                f"More than the budget is not allowed. {over}"))
            wrong = {
                "The budget itself is allowed: <=, not <.": dict(fits=lambda n: n < budget),
                "N = 12 is allowed: range(1, 13).": dict(depths=range(1, 12)),
                "D = 256 is allowed: range(8, 257, 8).": dict(widths=range(8, 256, 8)),
                over: dict(count=untied),
                "The largest fitting width is not always part of the best pair. Try all pairs.":
                    dict(widths=[max(d for d in WIDTHS if _tied_count(V, d, 1, T) <= budget)]),
                "The largest fitting depth is not always part of the best pair. Try all pairs.":
                    dict(depths=[max(n for n in DEPTHS if _tied_count(V, 8, n, T) <= budget)]),
            }
            hints = [text for text, how in wrong.items()
                     if _best_fit(V, T, budget, **how) == (D, N)]
            expect(used == best, f"{asked}: that has {used:,} parameters, and more is possible", (
                hints[0] if hints else "There are only 32 widths and 12 depths: try all pairs, and "
                "keep the one that uses most of the budget."))


def _shown(value):
    if isinstance(value, (tuple, list, np.ndarray)):
        return f"({', '.join(str(item) for item in value)})"
    return f"{value!r:.40}"


# ---- 7. what does the model miss? ---------------------------------------------------------------


@check(
    lesson="ps4",
    expects="a function `loss_without(model, ids, layer, part)`: a MiniGPT, ids (T + 1,), the "
    "number of a block and 'attention' or 'feed_forward' in, the mean loss out",
    not_tested="batches; speed",
    seconds=10.0,
)
def ps4_loss_without(case, loss_without):
    def mistaken(model, ids, layer, part):
        other = PARTS[1 - PARTS.index(part)]
        full = _loss_without(model, ids, None, None)
        return [
            (full, "That is the loss of the whole model. One part should add nothing."),
            (_loss_without(model, ids, layer, other), "You left out the other part of this block."),
            (_loss_without(model, ids, "all", part), "You left the part out of every block. Only "
             "one block loses it."),
            (_loss_without(model, ids, layer, "both"), "You left out the whole block. Only one of "
             "its two parts is missing."),
            (_loss_without(model, ids, layer - 1, part), "You left the part out of another block: "
             "blocks are counted from 0."),
            (_loss_without(model, ids, layer + 1, part), "You left the part out of another block: "
             "blocks are counted from 0."),
            (_loss_without(model, ids, layer, part, keep_stream=False), "The stream itself is "
             "gone. Without the part it goes on as it is: x = x."),
            (_loss_without(model, ids, layer, part, final_norm=False), "The final norm is "
             "missing."),
            (_loss_without(model, ids, layer, part, shift=0), "The target of position t is the "
             "*next* id: ids[:-1] go in, ids[1:] are the targets."),
            (_weights_off(model, ids, layer, part), "You set the weights of the part to 0, but its "
             "bias still adds something."),
            (_loss_without(model, ids, layer, part) / math.log(2), "That is in bits. The loss here "
             "is in nats."),
            (_loss_without(model, ids, layer, part) * (len(ids) - 1), "You added the losses up. "
             "Take their mean."),
            (_loss_without(model, ids, layer, part) - full, "That is by how much the loss grows. "
             "Return the loss itself."),
        ]

    for num_layers, T, layer, part in [(1, 5, 0, "attention"), (2, 24, 0, "feed_forward"),
                                       (3, 6, 1, "attention"), (3, 1, 2, "feed_forward")]:
        model = random_norms(MiniGPT(7, 12, 3, num_layers, 32, rng=case.rng), case.rng)
        model.head.weight.data = case.rng.normal(size=model.head.weight.shape) / 2
        model.token_embedding.weight.data *= 10
        ids = case.rng.integers(0, 7, size=T + 1)
        whole = _loss_without(model, ids, None, None)
        with case(f"without {part.replace('_', '-')} {layer} of {num_layers}, T={T}"):
            expected = _loss_without(model, ids, layer, part)
            mistakes = mistaken(model, ids, layer, part)
            got = as_array(loss_without(model, ids, layer, part))
            expect(_loss_without(model, ids, None, None) == whole, "your function changes the "
                   "model", "Leave it as it was: the next one who asks needs it whole.")
            expect_close(got.reshape(()) if got.size == 1 else got, expected, tol=TOLERANCE,
                         mistakes=mistakes, hint=(
                "Embed ids[:-1], go through the blocks in two steps each, x + attention(norm1(x)), "
                "then x + feed_forward(norm2(x)), and leave one step out; final norm, head, loss."
            ))


def _weights_off(model, ids, layer, part):
    half = copy.deepcopy(model)
    block = half.blocks[layer]
    last = block.attention.proj if part == "attention" else block.feed_forward.contract
    last.weight.data = last.weight.data * 0
    return _loss_without(half, ids, None, None)


@check(
    lesson="ps4",
    kind="any",
    expects="your text (20 to 64 characters that the model knows), and the part that the model "
    "misses most on it, such as (0, 'attention')",
)
def ps4_own_text(case, text, most_missed):
    model, tokenizer = load_pretrained()
    with case("a text for the model"):
        expect(isinstance(text, str), f"expected a text, got {text!r:.40}")
        unknown = sorted(set(text) - set(tokenizer.chars))
        expect(not unknown, f"the model does not know these characters: {unknown[:8]}",
               "Use `readable(...)`, which leaves out what it does not know.")
        expect(20 <= len(text) <= model.max_seq_len, f"your text has {len(text)} characters",
               f"Take 20 to {model.max_seq_len} characters.")
        expect(len(set(text)) >= 5, "your text is nearly always the same character",
               "Take a text that means something to you.")
    with case("the part it misses most"):
        usable = isinstance(text, str) and 2 <= len(text) <= model.max_seq_len
        expect(usable and set(text) <= set(tokenizer.chars),
               "this needs a text that the model can read")
        expect(isinstance(most_missed, (tuple, list)) and len(most_missed) == 2,
               f"expected (block, part), got {most_missed!r:.40}")
        layer, part = most_missed
        part = str(part).strip().lower().replace("-", "_").replace(" ", "_")
        known = [(i, name) for i in range(len(model.blocks)) for name in PARTS]
        expect((layer, part) in known, f"there is no part {_shown(most_missed)}",
               f"Blocks are counted from 0, and the parts are called {' and '.join(PARTS)}.")
        ids = np.array(tokenizer.encode(text))
        losses = {pair: _loss_without(model, ids, *pair) for pair in known}
        mine, best = losses[layer, part], max(losses.values())
        expect(best - mine < TOLERANCE, f"{_shown(most_missed)} is not it", (
            "That is the part whose absence costs least. Which costs most?"
            if mine == min(losses.values()) else "Leave out one part at a time. Without which is "
            "the loss largest?"))
