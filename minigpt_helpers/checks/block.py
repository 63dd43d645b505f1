"""Checks of lesson 4: layer norm, feed-forward, the residual stream, the block and the model."""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from minigpt_helpers.autograd import Tensor
from minigpt_helpers.checks._ask import prediction
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import as_array, expect, expect_close, expect_same
from minigpt_helpers.nn import Embedding, MiniGPT, SelfAttention, TransformerBlock

# ---- the slow, obvious references ---------------------------------------------------------------


def _layer_norm(x, weight, bias, eps):
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * weight + bias


def _gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _count(V, D, N, T):
    block = 2 * 2 * D + (3 * D * D + 3 * D) + (D * D + D) + (4 * D * D + 4 * D) + (4 * D * D + D)
    return V * D + T * D + N * block + 2 * D + D * V


# ---- embeddings and positions -------------------------------------------------------------------


@check(
    lesson=4,
    kind="any",
    expects="two different texts in a tuple, such as ('cat', 'dog'), for which one layer of masked "
    "attention without positions gives the same vector at the last position",
)
def blind_pair(case, pair):
    with case("two different texts"):
        expect(isinstance(pair, (tuple, list)) and len(pair) == 2, f"expected two texts, got {pair!r}")
        one, other = pair
        for text in pair:
            expect(isinstance(text, str) and text, f"expected a text, got {text!r}")
        expect(one != other, f"both texts are {one!r}", "Find two texts that differ.")
    with case("the same vector at the last position"):
        expect(isinstance(pair, (tuple, list)) and len(pair) == 2, "there are no two texts")
        chars = sorted(set(one + other))
        embedding = Embedding(len(chars), 8, std=1.0, rng=case.rng)
        layer = SelfAttention(8, 2, rng=case.rng)
        last = [layer(embedding([chars.index(c) for c in text])).data[-1] for text in pair]
        distance = float(np.abs(last[0] - last[1]).max())
        if one[-1] != other[-1]:
            hint = "The last character asks the question. Let it be the same in both texts."
        elif set(one) != set(other):
            hint = "The layer sees which characters stand there. Use the same ones in both texts."
        elif sorted(one) != sorted(other):
            hint = "How often a character stands there counts: more of it, more of its value."
        else:
            hint = "These two should do."
        expect(distance < 1e-9, f"the two vectors differ, by up to {distance:.2f}", hint)


# ---- layer norm ---------------------------------------------------------------------------------

prediction(
    "predict_normed_row",
    lesson=4,
    answer=[-1, -1 / 3, -1 / 3, 5 / 3],
    tol=0.01,
    expects="four numbers in a list: the row 1, 3, 3, 9 with mean 0 and standard deviation 1",
    hint="Mean 4. Subtract it from each number. Square what is left, take the mean of the squares "
    "(the variance) and its root. Divide by that.",
    near=[
        ([-3, -1, -1, 5], "The mean is gone. Now divide by the standard deviation."),
        (np.array([-3, -1, -1, 5]) / 9, "9 is the variance. Divide by its root."),
        (np.array([-3, -1, -1, 5]) / math.sqrt(12), "You divided the sum of squares by 3. Here it "
         "is divided by how many numbers there are, 4."),
        ([1 / 3, 1, 1, 3], "Subtract the mean first, then divide."),
        ([1 / 16, 3 / 16, 3 / 16, 9 / 16], "That makes the sum 1. The norm makes the mean 0."),
    ],
)


@check(
    lesson=4,
    expects="a function `layer_norm_rows(x, weight, bias, eps)`: arrays (..., D), (D,) and (D,) and "
    "a small number in, an array (..., D) out",
    not_tested="speed",
)
def layer_norm_rows(case, layer_norm_rows):
    def form(axis=-1, ddof=0, outside=False, power=0.5, centre=True, ends=True):
        def wrong(x, weight, bias, eps):
            mean = x.mean(axis=axis, keepdims=True)
            variance = x.var(axis=axis, ddof=ddof, keepdims=True)
            size = variance**0.5 + eps if outside else (variance + eps) ** power
            out = (x - mean if centre else x) / size
            return out * weight + bias if ends else out
        return wrong

    def without_scale(x, weight, bias, eps):
        return _layer_norm(x, np.ones_like(weight), bias, eps)

    def without_shift(x, weight, bias, eps):
        return _layer_norm(x, weight, 0, eps)

    mistakes = [
        (form(axis=-2), "You norm down the columns: each position then sees all others, the future "
         "as well. The mean and the variance of a row run along axis=-1."),
        (form(axis=None), "You norm the whole array. Each row has its own mean and variance."),
        (form(ddof=1), "The variance is the mean of the squares: divide by D, not by D - 1."),
        (form(outside=True), "eps belongs under the root: sqrt(variance + eps)."),
        (form(power=1), "You divide by the variance. Take its root."),
        (form(centre=False), "Subtract the mean of the row first."),
        (form(ends=False), "The learnt scale and shift are missing: times weight, plus bias."),
        (without_scale, "The scale is missing: times weight."),
        (without_shift, "The shift is missing: plus bias."),
        (lambda x, weight, bias, eps: (_layer_norm(x, 1, 0, eps) + bias) * weight,
         "First the scale, then the shift: the bias is not scaled."),
    ]
    for shape in [(1, 4), (3, 5), (4, 4), (2, 3, 6)]:
        x, D = case.rng.normal(size=shape) * 2 + 1, shape[-1]
        weight, bias = case.rng.normal(size=(2, D))
        with case(f"x of shape {shape}"):
            expect_same(layer_norm_rows, _layer_norm, x, weight, bias, 0.1, mistakes=mistakes, hint=(
                "For each row: subtract its mean, divide by the root of (variance + eps), times "
                "weight, plus bias. keepdims=True keeps the shapes together."
            ))
    with case("a row of equal numbers"):
        x = np.array([[3.0, 3.0, 3.0], [1.0, 2.0, 3.0]])
        expect_same(layer_norm_rows, _layer_norm, x, np.ones(3), np.zeros(3), 1e-5, hint=(
            "The variance of equal numbers is 0. Without eps that is 0 / 0."
        ))


# ---- feed-forward and the residual stream -------------------------------------------------------


@check(
    lesson=4,
    kind="any",
    expects="two arrays in a tuple, w1 of shape (1, H) and w2 of shape (H, 1), for which "
    "gelu(x @ w1) @ w2 is |x| up to 0.05, for all x from -3 to 3",
)
def abs_weights(case, weights):
    x = np.linspace(-3, 3, 241).reshape(-1, 1)  # (N, 1)
    with case("the shapes fit"):
        expect(isinstance(weights, (tuple, list)) and len(weights) == 2,
               "expected a tuple of two arrays: (w1, w2)")
        w1, w2 = map(as_array, weights)
        expect(w1.ndim == 2 and w1.shape[0] == 1 and w2.shape == w1.shape[::-1], (
            f"w1 has shape {w1.shape}, w2 has shape {w2.shape}"
        ), "One row of H numbers, and one column of H numbers.")
    with case("|x| up to 0.05"):
        expect(isinstance(weights, (tuple, list)) and len(weights) == 2, "there are no two arrays")
        got = _gelu(x @ w1) @ w2  # (N, 1)
        expect(np.isfinite(got).all(), "the result holds an infinity or a NaN")
        errors = np.abs(got - np.abs(x))[:, 0]
        worst = int(errors.argmax())
        hint = "gelu(a x) is nearly 0 on one side and nearly a x on the other. Which two add up to |x|?"
        if np.allclose(got, got[::-1]) and got[0] > 0 and not math.isclose(got[0, 0], 3, rel_tol=0.1):
            hint = "It is even, as |x| is, but its arms have the wrong slope: divide by what you "
            hint += "multiplied with."
        elif np.allclose(got, got[::-1]) and got[0] > 0:
            hint = "You are near. The bend at 0 is too round: make the bend of the GELU sharper."
        elif np.allclose(got, x, atol=0.1):
            hint = "That is x itself. Both halves have to go up."
        expect(errors[worst] <= 0.05, (
            f"at x = {x[worst, 0]:.2f} your result is {got[worst, 0]:.2f}, that is "
            f"{errors[worst]:.2f} off"
        ), hint)


prediction(
    "predict_residual_slope",
    lesson=4,
    answer=1.1**10,
    tol=0.02,
    expects="one number: the slope through ten layers of the kind y = x + 0.1 x",
    hint="One layer has the slope 1 + 0.1. The slopes of layers in a row are multiplied.",
    near=[
        (1e-10, "That is 0.1 to the power of ten: the layers without the residual."),
        (2.0, "You added up. The slopes of layers in a row are multiplied."),
        (11.0, "You added up. The slopes of layers in a row are multiplied."),
        (1.1, "That is the slope of one layer."),
        (1.0, "That is the residual path alone."),
    ],
)


# ---- the block and the model --------------------------------------------------------------------


def random_norms(module, rng):
    """Every parameter that starts at 0 or 1 gets random numbers, so that leaving it out shows."""
    for _, parameter in module.named_parameters():
        if parameter.ndim == 1:
            parameter.data = parameter.data + rng.normal(size=parameter.shape)
    return module


@check(
    lesson=4,
    expects="a function `block_forward(x, block)`: a Tensor (T, D) or (B, T, D) and a "
    "TransformerBlock in, a Tensor of the same shape out",
    not_tested="speed",
)
def block_forward(case, block_forward):
    def form(residual=True, from_normed=False, norms=True, post=False, parallel=False):
        def wrong(x, block):
            start = x
            for norm, layer in [(block.norm1, block.attention), (block.norm2, block.feed_forward)]:
                read = start if parallel else x
                normed = norm(read) if norms and not post else read
                result = layer(normed)
                x = (normed if from_normed else x) + result if residual else result
                x = norm(x) if post else x
            return x
        return wrong

    def swapped(x, block):
        x = x + block.feed_forward(block.norm2(x))
        return x + block.attention(block.norm1(x))

    def open_future(x, block):
        x = x + block.attention(block.norm1(x), causal=False)
        return x + block.feed_forward(block.norm2(x))

    mistakes = [
        (form(residual=False), "The residual is missing: each part *adds* its result to x."),
        (form(norms=False), "The norms are missing: each part reads a normed copy of x."),
        (form(post=True), "You norm the sum (post-norm). Here each part reads a normed copy, and "
         "the sum stays as it is."),
        (form(from_normed=True), "You add the result to the normed copy. The stream itself is not "
         "normed: x + ..."),
        (form(parallel=True), "Both parts read the same x. The second reads what the first has "
         "left."),
        (swapped, "First attention, then feed-forward."),
        (open_future, "The mask is off: causal=False lets every position see its future."),
        (lambda x, block: x + block.attention(block.norm1(x)), "The second half is missing: "
         "feed-forward."),
        (lambda x, block: x + block.feed_forward(block.norm2(x)), "The first half is missing: "
         "attention."),
        (lambda x, block: x + block.feed_forward(block.norm2(x + block.attention(block.norm1(x)))),
         "What attention found is read, but not kept: x = x + ... before the second half."),
        (lambda x, block: form()(x, _with(block, norm2=block.norm1)), "The second half has a norm "
         "of its own, norm2."),
    ]
    for shape, heads in [((1, 4), 1), ((5, 8), 2), ((2, 3, 6), 3)]:
        block = random_norms(TransformerBlock(shape[-1], heads, rng=case.rng), case.rng)
        x = Tensor(case.rng.normal(size=shape))
        with case(f"x of shape {shape}"):
            expected = block(x)
            expect_close(block_forward(x, block), expected, hint=(
                "Two lines of the same form: x = x + layer(norm(x))."
            ), mistakes=[(lambda f=f: f(x, block), text) for f, text in mistakes])


def _with(block, **parts):
    """A copy of the block with other parts."""
    other = object.__new__(type(block))
    vars(other).update(vars(block) | parts)
    return other


@check(
    lesson=4,
    expects="a function `gpt_forward(model, ids)`: a MiniGPT and ids (T,) or (B, T) in, its logits "
    "(T, V) or (B, T, V) out",
    not_tested="speed; bad ids",
)
def gpt_forward(case, gpt_forward):
    def form(positions, blocks, final_norm):
        def wrong(model, ids):
            ids = np.asarray(ids)
            x = model.token_embedding(ids)
            if positions == "by id":
                x = x + model.position_embedding(ids)
            elif positions == "by place":
                x = x + model.position_embedding(np.arange(ids.shape[-1]))
            outputs = [x]
            for block in model.blocks:
                outputs.append(block(x if blocks == "last" else outputs[-1]))
            x = outputs[0] if blocks == "none" else outputs[-1]
            return model.head(model.final_norm(x) if final_norm else x)
        return wrong

    position_hints = {
        "by id": "The positions are looked up by the ids. They are 0, 1, ..., T - 1, whatever the "
        "text says.",
        "none": "The positions are missing.",
        "by place": "",
    }
    block_hints = {
        "last": "Every block reads the embedding, so only the last block counts. Each reads what "
        "the one before it has left.",
        "none": "The blocks are missing.",
        "all": "",
    }
    mistakes = [
        (form(positions, blocks, final_norm), position_hints[positions] or block_hints[blocks]
         or "The final norm is missing: it stands between the last block and the head.")
        for positions, blocks, final_norm in product(position_hints, block_hints, [True, False])
        if (positions, blocks, final_norm) != ("by place", "all", True)
    ]
    rng = case.rng
    for num_layers, ids in [(1, [3, 1, 4]), (2, [2]), (3, [[1, 5, 3], [0, 0, 2]]), (2, [4, 4, 0, 5])]:
        model = random_norms(MiniGPT(6, 8, 2, num_layers, 7, rng=rng), rng)
        for part in (model.token_embedding, model.position_embedding, model.head):
            part.weight.data = rng.normal(size=part.weight.shape)
        ids = np.array(ids)
        with case(f"ids of shape {ids.shape}, {num_layers} {'block' if num_layers == 1 else 'blocks'}"):
            expect_close(gpt_forward(model, ids), model(ids), hint=(
                "Token plus position embedding, one block after the other, final norm, head."
            ), mistakes=[(lambda f=f: f(model, ids), text) for f, text in mistakes])


# ---- counting and the first loss ----------------------------------------------------------------


@check(
    lesson=4,
    expects="a function `count_parameters(V, D, N, T)`: four whole numbers in (vocabulary, width, "
    "blocks, positions), one whole number out",
    not_tested="models with a head that shares its weights with the token embedding",
)
def count_parameters(case, count_parameters):
    mistakes = [
        (lambda V, D, N, T: _count(V, D, N, T) + V, "The head has no bias."),
        (lambda V, D, N, T: _count(V, D, N, T) - V * D, "The head, or the token embedding, is "
         "missing: both are there, V D each."),
        (lambda V, D, N, T: _count(V, D, N, T) - 2 * D, "The final norm is missing."),
        (lambda V, D, N, T: _count(V, D, N, T) - T * D, "The position embedding is missing."),
        (lambda V, D, N, T: _count(V, D, N, T) - N * 4 * D, "The two norms in each block are "
         "missing."),
        (lambda V, D, N, T: _count(V, D, N, T) - N * 2 * D, "Each block has two norms, and each "
         "norm has a scale and a shift."),
        (lambda V, D, N, T: _count(V, D, N, T) - N * 9 * D, "The biases in the blocks are missing: "
         "3D and D in attention, 4D and D in feed-forward."),
        (lambda V, D, N, T: _count(V, D, 1, T), "You counted one block. There are N."),
        (lambda V, D, N, T: _count(V, D, N, T) - N * 13 * D - 2 * D, "Only the matrices are "
         "counted. Biases and norms have parameters, too."),
    ]
    for V, D, N, T in [(5, 4, 1, 3), (32, 64, 2, 64), (65, 48, 3, 16)]:
        with case(f"V={V}, D={D}, N={N}, T={T}"):
            expect_same(count_parameters, _count, V, D, N, T, mistakes=mistakes, hint=(
                "Token and position embedding, N blocks of 12 D D + 13 D, the final norm, the head."
            ))


prediction(
    "predict_first_loss",
    lesson=4,
    answer=math.log(32),
    tol=0.03,
    expects="one number, to two decimals: the mean loss, in nats, of an untrained model with 32 "
    "characters",
    hint="An untrained model gives every character about the same chance. What is minus the "
    "logarithm of that chance?",
    near=[
        (5.0, "That is in bits: the logarithm to the base 2. In nats, take the natural logarithm."),
        (1 / 32, "That is the chance of each character. The loss is minus its logarithm."),
        (-math.log(32), "Minus the logarithm of a chance is not negative."),
        (math.log10(32), "Take the natural logarithm, not the one to the base 10."),
        (0.0, "A loss of 0 means that every guess is sure and right."),
    ],
)
