"""Checks of lesson 4: layer norm, feed-forward, the residual stream, the block and the model."""

from __future__ import annotations

import math

import numpy as np

from minigpt_helpers.autograd import Tensor
from minigpt_helpers.checks._ask import prediction
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import as_array, expect, show
from minigpt_helpers.checks._exercise import exercise
from minigpt_helpers.nn import Embedding, MiniGPT, SelfAttention, TransformerBlock


def _gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


# ---- embeddings and positions -------------------------------------------------------------------


@check(
    lesson=4,
    kind="any",
    expects="two different texts in a tuple, such as ('cat', 'dog'), for which one layer of masked "
    "attention without positions gives the same vector at the last position",
)
def blind_pair(case, pair):
    with case("two different texts"):
        expect(isinstance(pair, (tuple, list)) and len(pair) == 2, f"expected two texts, got {show(pair)}")
        one, other = pair
        for text in pair:
            expect(isinstance(text, str) and text, f"expected a text, got {show(text)}")
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
            hint = "The layer sees which characters are there. Use the same ones in both texts."
        elif sorted(one) != sorted(other):
            hint = "How often a character is there counts: more of it, more of its value."
        else:
            hint = ""
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
        ([1 / 16, 3 / 16, 3 / 16, 9 / 16], "That makes the sum 1. Layer norm makes the mean 0."),
    ],
)


def _rows(rng):
    for shape in [(1, 4), (3, 5), (4, 4), (2, 3, 6)]:
        x, D = rng.normal(size=shape) * 2 + 1, shape[-1]
        yield f"x of shape {shape}", x, *rng.normal(size=(2, D)), 0.1
    x = np.array([[3.0, 3.0, 3.0], [1.0, 2.0, 3.0]])
    yield "a row of equal numbers", x, np.ones(3), np.zeros(3), 1e-5


_WHOLE = "centered / np.sqrt(variance + eps) * weight + bias"


@exercise(
    lesson=4,
    expects="a function `layer_norm_rows(x, weight, bias, eps)`: arrays (..., D), (D,) and (D,) and "
    "a small number in, an array (..., D) out",
    not_tested="speed",
    in_words="for each row: subtract its mean, divide by the root of (variance + eps), times "
    "weight, plus bias",
    cases=_rows,
    slips=[
        ("x - x.mean(axis=-1, keepdims=True)", "x - x.mean(axis=-2, keepdims=True)", "You take the "
         "mean of each column: each position then sees all others. The mean of a row runs along "
         "axis=-1."),
        ("(centered**2).mean(axis=-1, keepdims=True)", "(centered**2).mean(axis=-2, keepdims=True)",
         "You take the variance of each column. The variance of a row runs along axis=-1."),
        ("x - x.mean(axis=-1, keepdims=True)", "x - x.mean()", "That is the mean of the whole array. "
         "Each row has its own."),
        ("(centered**2).mean(axis=-1, keepdims=True)", "(centered**2).mean()", "That is the "
         "variance of the whole array. Each row has its own."),
        ("(centered**2).mean(axis=-1, keepdims=True)",
         "(centered**2).sum(axis=-1, keepdims=True) / (x.shape[-1] - 1)",
         "The variance is the mean of the squares: divide by D, not by D - 1."),
        ("np.sqrt(variance + eps)", "(np.sqrt(variance) + eps)", "eps belongs under the root: "
         "sqrt(variance + eps)."),
        ("np.sqrt(variance + eps)", "(variance + eps)", "You divide by the variance. Take its "
         "root."),
        ("variance + eps", "variance", "eps is not used. The variance of equal numbers is 0, and "
         "without eps that is 0 / 0."),
        ("return centered", "return x", "Subtract the mean of the row first."),
        (_WHOLE, "centered / np.sqrt(variance + eps)", "The learnt scale and shift are missing: "
         "times weight, plus bias."),
        (" * weight", "", "The scale is missing: times weight."),
        (" + bias", "", "The shift is missing: plus bias."),
        (_WHOLE, "(centered / np.sqrt(variance + eps) + bias) * weight", "First the scale, then the "
         "shift: the bias is not scaled."),
        (_WHOLE, "centered * weight + bias", "Divide by the standard deviation."),
    ],
)
def layer_norm_rows(x, weight, bias, eps):
    centered = x - x.mean(axis=-1, keepdims=True)
    variance = (centered**2).mean(axis=-1, keepdims=True)
    return centered / np.sqrt(variance + eps) * weight + bias


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


def with_gradients(out: object, inputs: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """A student's result, and the gradient of each input after `backward()`."""
    expect(isinstance(out, Tensor), f"expected a Tensor, got {show(out)}",
           "Give back what the layers give. `.data` leaves the graph.")
    for tensor in inputs.values():
        tensor.grad = 0.0
    (out * np.cos(np.arange(out.data.size)).reshape(out.shape)).sum().backward()
    return {"the result": out.data} | {
        f"the gradient of {name}": np.array(tensor.grad) for name, tensor in inputs.items()
    }


def _through_block(fn, x, block):
    x = Tensor(x)
    return with_gradients(fn(x, block), {"x": x, "norm1.weight": block.norm1.weight})


def _blocks(rng):
    for shape, heads in [((1, 4), 1), ((5, 8), 2), ((2, 3, 6), 3)]:
        block = random_norms(TransformerBlock(shape[-1], heads, rng=rng), rng)
        yield f"x of shape {shape}", rng.normal(size=shape), block


_HALF1 = "x = x + block.attention(block.norm1(x))"
_HALF2 = "return x + block.feed_forward(block.norm2(x))"


@exercise(
    lesson=4,
    expects="a function `block_forward(x, block)`: a Tensor (T, D) or (B, T, D) and a "
    "TransformerBlock in, a Tensor of the same shape out",
    not_tested="speed",
    in_words="two lines of the same form: x = x + layer(norm(x))",
    cases=_blocks,
    call=_through_block,
    slips=[
        ("x = x + block.attention", "x = block.attention", "The residual is missing: attention "
         "*adds* its result to x."),
        ("return x + block", "return block", "The residual is missing: feed-forward *adds* its "
         "result to x."),
        ("block.norm1(x)", "x", "A norm is missing: attention reads a normalized copy of x."),
        ("block.norm2(x)", "x", "A norm is missing: feed-forward reads a normalized copy of x."),
        (f"{_HALF1}\n    {_HALF2}", "x = block.norm1(x + block.attention(x))\n"
         "    return block.norm2(x + block.feed_forward(x))", "You normalize the sum (post-norm). "
         "Here each part reads a normalized copy, and the sum stays as it is."),
        (_HALF1, "x = block.norm1(x)\n    x = x + block.attention(x)", "You add the result of "
         "attention to the normalized copy. The stream itself is not normalized: x + ..."),
        (_HALF2, "x = block.norm2(x)\n    return x + block.feed_forward(x)", "You add the result of "
         "feed-forward to the normalized copy. The stream itself is not normalized: x + ..."),
        (f"{_HALF1}\n    {_HALF2}", "return x + block.attention(block.norm1(x)) + "
         "block.feed_forward(block.norm2(x))", "Both parts read the same x. The second reads what "
         "the first has left."),
        (f"{_HALF1}\n    {_HALF2}", "x = x + block.feed_forward(block.norm2(x))\n"
         "    return x + block.attention(block.norm1(x))", "First attention, then feed-forward."),
        ("block.norm1(x)", "block.norm1(x), causal=False", "The mask is off: causal=False lets "
         "every position see its future."),
        (_HALF2, "return x", "The second half is missing: feed-forward."),
        (f"{_HALF1}\n    ", "", "The first half is missing: attention."),
        (f"{_HALF1}\n    {_HALF2}", "return x + block.feed_forward(block.norm2("
         "x + block.attention(block.norm1(x))))", "What attention found is read, but not kept: "
         "x = x + ... before the second half."),
        ("block.norm2", "block.norm1", "The second half has its own norm, norm2."),
        ("block.norm1", "block.norm2", "The first half has its own norm, norm1."),
        ("return x +", "x = type(x)(x.data)\n    return x +", "A new Tensor made of `.data` is cut "
         "from the graph, so no gradient reaches what came before it."),
    ],
)
def block_forward(x, block):
    x = x + block.attention(block.norm1(x))
    return x + block.feed_forward(block.norm2(x))


def _through_model(fn, model, ids):
    return with_gradients(fn(model, ids), {
        "the token embedding": model.token_embedding.weight,
        "the position embedding": model.position_embedding.weight,
    })


def _models(rng):
    for num_layers, ids in [(1, [3, 1, 4]), (2, [2]), (3, [[1, 5, 3], [0, 0, 2]]), (2, [4, 4, 0, 5])]:
        model = random_norms(MiniGPT(6, 8, 2, num_layers, 7, rng=rng), rng)
        for part in (model.token_embedding, model.position_embedding, model.head):
            part.weight.data = rng.normal(size=part.weight.shape)
        blocks = "block" if num_layers == 1 else "blocks"
        yield f"ids of shape {np.shape(ids)}, {num_layers} {blocks}", model, np.array(ids)


_POSITIONS = "model.position_embedding(np.arange(T))"
_AGAIN = "The positions are added once, before the first block."


@exercise(
    lesson=4,
    expects="a function `gpt_forward(model, ids)`: a MiniGPT and ids (T,) or (B, T) in, its logits "
    "(T, V) or (B, T, V) out, a Tensor",
    not_tested="speed; bad ids",
    in_words="token plus position embedding, one block after the other, final norm, head",
    cases=_models,
    call=_through_model,
    given=("np.arange(T))\n    out = x\n    for block in model.blocks:\n        out = block(out)\n"
           "    return model.head(model.final_norm(out))",
           "ids)\n    for block in model.blocks:\n        out = block(x)\n"
           "    return model.head(out)"),
    slips=[
        ("np.arange(T)", "ids", "The positions are looked up by the ids. They are 0, 1, ..., T - 1, "
         "whatever the text says."),
        (f" + {_POSITIONS}", "", "The positions are missing."),
        (f"model.token_embedding(ids) + {_POSITIONS}", f"model.token_embedding(ids) * {_POSITIONS}",
         "The positions are added, not multiplied."),
        ("block(out)", "block(x)", "Every block reads the embedding, so only the last block counts. "
         "Each reads what the one before it has left."),
        ("out = block(out)", "block(out)", "The results of the blocks are not used."),
        ("block(out)", "out + block(out)", "The block itself adds its input to its result: out = "
         "block(out)."),
        ("block(out)", "block(model.final_norm(out))", "The blocks have their own norms. The final "
         "norm comes once, after all blocks."),
        ("out = x", "out = model.final_norm(x)", "The final norm comes after the blocks, not before "
         "them as well."),
        ("block(out)", f"block(out + {_POSITIONS})", _AGAIN),
        ("in model.blocks", "in model.blocks[::-1]", "The blocks come in their order, the first one "
         "first."),
        ("model.final_norm(out)", "out", "The final norm is missing: it is between the last block "
         "and the head."),
        ("model.head(model.final_norm(out))", "model.final_norm(out)", "The head is missing: it "
         "turns D numbers into V logits."),
        ("out = x", "out = type(x)(x.data)", "A new Tensor made of `.data` is cut from the graph, "
         "so no gradient reaches the embeddings."),
    ],
)
def gpt_forward(model, ids):
    T = np.shape(ids)[-1]
    x = model.token_embedding(ids) + model.position_embedding(np.arange(T))
    out = x
    for block in model.blocks:
        out = block(out)
    return model.head(model.final_norm(out))


# ---- counting and the first loss ----------------------------------------------------------------


@exercise(
    lesson=4,
    expects="a function `count_parameters(V, D, N, T)`: four whole numbers in (vocabulary, width, "
    "blocks, positions), one whole number out",
    not_tested="models with a head that shares its weights with the token embedding",
    in_words="token and position embedding, N blocks of 12 D D + 13 D, the final norm, the head",
    cases=lambda rng: [(f"V={V}, D={D}, N={N}, T={T}", V, D, N, T) for V, D, N, T in [
        (5, 4, 1, 3), (32, 64, 2, 64), (65, 48, 3, 16)]],
    slips=[
        ("+ D * V", "+ D * V + V", "The head has no bias."),
        (" + D * V", "", "The head, or the token embedding, is missing: both are there, V D each."),
        (" + 2 * D + D * V", " + D * V", "The final norm is missing."),
        (" + T * D", "", "The position embedding is missing."),
        ("norms = 4 * D", "norms = 0", "The two norms in each block are missing."),
        ("norms = 4 * D", "norms = 2 * D", "Each block has two norms, and each norm has a scale and "
         "a shift."),
        ("biases = 9 * D", "biases = 0", "The biases in the blocks are missing: 3D and D in "
         "attention, 4D and D in feed-forward."),
        ("12 * D * D", "4 * D * D", "The feed-forward net is missing: 8 D D in each block."),
        ("12 * D * D", "8 * D * D", "The four matrices of attention are missing: 4 D D in each "
         "block."),
        ("N * (", "(", "You counted one block. There are N."),
    ],
)
def count_parameters(V, D, N, T):
    norms = 4 * D
    biases = 9 * D
    return V * D + T * D + N * (12 * D * D + biases + norms) + 2 * D + D * V


prediction(
    "predict_first_loss",
    lesson=4,
    answer=math.log(32),
    tol=0.03,
    expects="one number, to two decimals: the mean loss, in nats, of an untrained model with 32 "
    "characters",
    hint="An untrained model gives every character about the same probability. What is minus "
    "the logarithm of that probability?",
    near=[
        (5.0, "That is in bits: the logarithm to the base 2. In nats, take the natural logarithm."),
        (1 / 32, "That is the probability of each character. The loss is minus its logarithm."),
        (-math.log(32), "Minus the logarithm of a probability is not negative."),
        (math.log10(32), "Take the natural logarithm, not the one to the base 10."),
        (0.0, "A loss of 0 means that every guess is sure and right."),
    ],
)
