"""Checks of problem set 4, the block: norms, and a stack to fix."""

from __future__ import annotations

import numpy as np

from minigpt_helpers.autograd import Tensor
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import as_array, expect
from minigpt_helpers.checks._exercise import exercise
from minigpt_helpers.checks.block import random_norms, with_gradients
from minigpt_helpers.nn import LayerNorm, TransformerBlock

TOLERANCE = 1e-4  # float32 is precise enough


def _layer_norm(x, eps=1e-5):
    left = x - x.mean(axis=-1, keepdims=True)
    return left / np.sqrt((left**2).mean(axis=-1, keepdims=True) + eps)


# ---- 1. RMSNorm ---------------------------------------------------------------------------------


def _rows(rng):
    for shape in [(3, 5), (1, 4), (4, 4), (2, 3, 6), (7,)]:
        x = rng.normal(size=shape) * 2 + 1
        yield f"x of shape {shape}", x, rng.normal(size=shape[-1]), 0.1
    weight = rng.normal(size=4)
    x = np.array([[0.0] * 4, [3.0] * 4, [-1.0] * 4])
    yield "a row of zeros, a row of equal numbers", x, weight, 1e-5
    x = rng.normal(size=(3, 4)) * np.array([[1e6], [1.0], [1e-6]])
    yield "very large and very small rows", x, weight, 1e-5


_DOWN = "You norm down the columns: a position then depends on all others, the future as well. The "
_DOWN += "mean runs along the last axis, a row: axis=-1."
_SQUARE = "(x**2).mean(axis=-1, keepdims=True)"


@exercise(
    lesson="ps4",
    expects="a function `rms_norm(x, weight, eps)`: an array (..., D), an array (D,) and a small "
    "number in, an array (..., D) out",
    not_tested="speed; gradients",
    in_words="for each row the mean of the squares, plus eps, its root; divide by that, times "
    "weight; keepdims=True keeps the shapes together",
    tol=TOLERANCE,
    cases=_rows,
    slips=[
        *(("axis=-1", axis, _DOWN) for axis in ("axis=-2", "axis=0", "axis=1")),
        ("axis=-1, keepdims=True", "", "You norm the whole array. Each row has its own size."),
        (", keepdims=True", "", "Without keepdims=True the sizes of the rows lie along the columns."),
        ("np.sqrt(mean_square + eps)", "(np.sqrt(mean_square) + eps)", "eps belongs under the root: "
         "sqrt(mean square + eps)."),
        ("np.sqrt(mean_square + eps)", "(mean_square + eps)", "You divide by the mean square. Take "
         "its root."),
        (".mean(", ".sum(", "You divide by the root of the sum. Take the mean of the squares."),
        (" * weight", "", "The learnt scale is missing: times weight."),
        (" + eps", "", "eps is missing: without it a row of zeros becomes 0 / 0."),
        *((" + eps", f" + {eps}", "Use the eps that you are given.")
          for eps in ("1e-5", "1e-6", "1e-8")),
        ("mean_square = ", "x = x - x.mean(axis=-1, keepdims=True)\n    mean_square = ", "That is "
         "layer norm. Here no mean is subtracted."),
        (_SQUARE, "x.var(axis=-1, keepdims=True)", "np.var and np.std subtract the mean. Here the "
         "squares of the numbers themselves count."),
        ("np.sqrt(mean_square + eps)", "(np.abs(x).mean(axis=-1, keepdims=True) + eps)", "That is "
         "the mean of the sizes. Take the root of the mean of the squares."),
        (f"mean_square = {_SQUARE}\n    return x / np.sqrt(mean_square + eps) * weight",
         f"x = x * weight\n    mean_square = {_SQUARE}\n    return x / np.sqrt(mean_square + eps)",
         "The scale comes last. Multiplied before, it changes the size that you divide by."),
        ("x / np.sqrt", "x * np.sqrt", "You multiply by the size. Divide."),
        ("* weight", "+ weight", "The scale is multiplied, not added."),
    ],
)
def ps4_rms_norm(x, weight, eps):
    mean_square = (x**2).mean(axis=-1, keepdims=True)
    return x / np.sqrt(mean_square + eps) * weight


# ---- 2. what layer norm forgets -----------------------------------------------------------------


@check(
    lesson="ps4",
    expects="a function `twin(row)`: an array (D,) in, another row (D,) out with the same layer "
    "norm, but another RMSNorm",
    not_tested="rows of equal numbers",
)
def ps4_twin(case, twin):
    def rms(row):
        return row / np.sqrt((row**2).mean() + 1e-5)

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


# ---- 3. fix a stack -----------------------------------------------------------------------------


def _through_stack(stack_forward, x, _blocks, _final_norm, what):
    """What a stack gives, or what one property says of it."""

    def result(x):
        got = as_array(stack_forward(Tensor(x), _blocks, _final_norm))
        expect(got.shape == x.shape, f"expected shape {x.shape}, got {got.shape}")
        moved = np.abs(got - _final_norm(Tensor(x)).data).max()
        idle = what == "the result, normed, of parts that give 0"
        expect(idle or not moved <= TOLERANCE, "the blocks play no part", "Each block adds to x, "
               "twice.")
        return got

    if what == "the result and the gradient of x":
        x = Tensor(x)
        return with_gradients(stack_forward(x, _blocks, _final_norm), {"x": x})
    got = result(x)
    if what == "the positions before the last, whatever that one is":
        other = x.copy()
        other[-1] = 1 - other[-1, ::-1]
        off = np.abs(result(other) - got)[:-1].max()
        expect(off < 1e-6, "another vector at the last position changes results before it, by up to "
               f"{off:.2g}", "The parts are causal by themselves, unless you switch that off. Does a "
               "norm look at several positions? Each row has its own mean and variance: axis=-1.")
        return 0.0
    if what == "is it finite":
        expect(np.isfinite(got).all(), "the result holds a NaN or an infinity", "The variance of "
               "equal numbers is 0. eps, under the root, keeps it from being 0 / 0.")
        return 0.0
    if what == "the result, normed, of parts that give 0":
        return _layer_norm(got)
    if what == "the result without scale and shift, minus that of a plain final norm":
        weight, bias = _final_norm.weight, _final_norm.bias
        _final_norm = LayerNorm(len(weight.data))
        plain = result(x)
        return (got - bias.data) / weight.data - plain
    return got


def _stacks(rng):
    def parts(D, heads, num_blocks, final=True):
        blocks = [random_norms(TransformerBlock(D, heads, rng=rng), rng) for _ in range(num_blocks)]
        return blocks, random_norms(LayerNorm(D), rng) if final else LayerNorm(D)

    yield ("the future changes nothing before it", rng.normal(size=(6, 8)),
           *parts(8, 2, 2, final=False), "the positions before the last, whatever that one is")
    yield ("rows of equal numbers", np.full((4, 6), 3.0), *parts(6, 1, 1, final=False),
           "is it finite")
    blocks, final_norm = parts(8, 2, 3, final=False)
    for block in blocks:
        for layer in (block.attention.proj, block.feed_forward.contract):
            layer.weight.data, layer.bias.data = layer.weight.data * 0, layer.bias.data * 0
    yield ("parts that give 0 leave the stream as it is", rng.normal(size=(5, 8)), blocks, final_norm,
           "the result, normed, of parts that give 0")
    yield ("the final norm", rng.normal(size=(4, 6)), *parts(6, 2, 2),
           "the result without scale and shift, minus that of a plain final norm")
    for shape, heads, num_blocks in [((5, 8), 2, 3), ((2, 3, 6), 3, 2), ((1, 4), 1, 1)]:
        yield (f"x of shape {shape}, {num_blocks} block{'s' * (num_blocks > 1)}",
               rng.normal(size=shape) * 3, *parts(shape[-1], heads, num_blocks), "the result")
    yield ("gradients flow back", rng.normal(size=(4, 6)), *parts(6, 2, 2),
           "the result and the gradient of x")


_HALF1 = "        read = normed(x, block.norm1)\n        x = x + block.attention(read)\n"
_HALF2 = "        x = x + block.feed_forward(normed(x, block.norm2))\n"
_FINAL = "    return final_norm(x)"
_ROW = "Your norm runs over the positions. Each row has its own mean and variance: axis=-1."


@exercise(
    lesson="ps4",
    expects="a function `stack_forward(x, blocks, final_norm)`: a Tensor (T, D) or (B, T, D), a "
    "list of TransformerBlocks and a LayerNorm in, a Tensor of the same shape out",
    not_tested="speed",
    bugs=5,
    in_words="two lines of the same form for each block, x = x + layer(norm(x)), and the final norm "
    "after the last one",
    tol=TOLERANCE,
    cases=_stacks,
    call=_through_stack,
    given=("axis=-1):\n        left = x - x.mean(axis=axis, keepdims=True)\n"
           "        variance = (left * left).mean(axis=axis, keepdims=True)\n"
           "        return left / (variance + norm.eps) ** 0.5 * norm.weight + norm.bias\n\n"
           f"    for block in blocks:\n{_HALF1}{_HALF2}{_FINAL}",
           "axis=-2):\n        left = x - x.mean(axis=axis, keepdims=True)\n"
           "        variance = (left * left).mean(axis=axis, keepdims=True)\n"
           "        return left / variance**0.5 * norm.weight + norm.bias\n\n"
           "    for block in blocks:\n        x = normed(x, block.norm1)\n"
           "        x = x + block.attention(x)\n"
           "        x = block.feed_forward(normed(x, block.norm2))\n    return x"),
    slips=[
        ("axis=-1", "axis=-2", _ROW),
        ("(variance + norm.eps)", "variance", "The variance of equal numbers is 0. eps, under the "
         "root, keeps it from being 0 / 0."),
        ("x = x + block.attention(read)", "x = read + block.attention(read)", "Attention's result is "
         "added to the normed copy. The stream itself is not normed."),
        ("x = x + block.feed_forward", "x = block.feed_forward", "The second residual is missing: "
         "x + feed_forward(...)."),
        (_FINAL, "    return x", "The final norm is missing."),
        ("axis=-1", "axis=0", _ROW),
        ("x = x + block.attention", "x = block.attention", "The first residual is missing: x + "
         "attention(...)."),
        (_HALF2, "        read = normed(x, block.norm2)\n        x = read + block.feed_forward(read)\n",
         "The result of feed-forward is added to the normed copy. The stream itself is not normed."),
        ("normed(x, block.norm1)", "x", "The first norm in the block is missing."),
        ("normed(x, block.norm2)", "x", "The second norm in the block is missing."),
        (f"{_HALF1}{_HALF2}", "        x = normed(x + block.attention(x), block.norm1)\n"
         "        x = normed(x + block.feed_forward(x), block.norm2)\n", "You norm the sum "
         "(post-norm). Here each part reads a normed copy, and the sum stays as it is."),
        ("block.norm2", "block.norm1", "The second half has a norm of its own, norm2."),
        ("normed(x, block.norm1)", "normed(x, block.norm2)", "The first half has a norm of its own, "
         "norm1."),
        (f"{_HALF1}{_HALF2}", f"{_HALF2}{_HALF1}", "First attention, then feed-forward."),
        (_HALF2, "", "The second half is missing: feed-forward."),
        (_HALF1, "", "The first half is missing: attention."),
        ("    for block in blocks:\n", "    start = x\n    for block in blocks:\n        x = start\n",
         "Every block reads the same x, so only the last one counts."),
        ("in blocks:", "in blocks[::-1]:", "The blocks come in their order, the first one first."),
        (f"{_HALF1}{_HALF2}", "        x = x + block(x)\n", "A block adds to its input by itself: "
         "x = block(x)."),
        (f"{_HALF1}{_HALF2}", "        x = (x + block.attention(normed(x, block.norm1))\n"
         "             + block.feed_forward(normed(x, block.norm2)))\n", "Both parts read the same x. "
         "The second reads what the first has left."),
        ("attention(read)", "attention(read, causal=False)", "The mask is off: causal=False lets "
         "every position see its future."),
        (_FINAL, "        x = final_norm(x)\n    return x", "The final norm comes once, after all "
         "blocks, and not in each."),
        (_FINAL, "    return LayerNorm(x.shape[-1])(x)", "Use the final_norm that you are given: its "
         "scale and shift are learnt."),
        (_FINAL, "    return final_norm(Tensor(x.data))", "A new Tensor made of `.data` is cut from "
         "the graph, so no gradient reaches the blocks."),
        ("    for block in blocks:\n", "    x = final_norm(x)\n    for block in blocks:\n", "The final "
         "norm comes once, after all blocks, and not before them as well."),
    ],
)
def ps4_stack_forward(x, blocks, final_norm):
    def normed(x, norm, axis=-1):
        left = x - x.mean(axis=axis, keepdims=True)
        variance = (left * left).mean(axis=axis, keepdims=True)
        return left / (variance + norm.eps) ** 0.5 * norm.weight + norm.bias

    for block in blocks:
        read = normed(x, block.norm1)
        x = x + block.attention(read)
        x = x + block.feed_forward(normed(x, block.norm2))
    return final_norm(x)
