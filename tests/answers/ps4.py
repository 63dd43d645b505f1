"""Answers to problem set 4."""

import copy
import math

import numpy as np

from minigpt_helpers import Tensor, cross_entropy_loss, load_pretrained
from minigpt_helpers.checks.ps4_model import _count

# ---- 1. RMSNorm ---------------------------------------------------------------------------------


def rms_by_loop(x, weight, eps):
    rows = [row / math.sqrt(sum(v * v for v in row) / len(row) + eps) * weight
            for row in x.reshape(-1, x.shape[-1])]
    return np.reshape(rows, x.shape)


def rms_by_tensors(x, weight, eps):
    x = Tensor(x)
    return x / ((x * x).mean(axis=-1, keepdims=True) + eps) ** 0.5 * weight


def rms_by_length(x, weight, eps):
    length = np.linalg.norm(x, axis=-1)[..., None]
    return (x * weight / np.sqrt(length**2 / x.shape[-1] + eps)).tolist()


def rms_in_float32(x, weight, eps=1e-5, axis=-1):
    x = x.astype(np.float32)
    return x * (1 / np.sqrt(np.mean(np.square(x), axis, keepdims=True) + eps)) * weight


# ---- 3. the stack -------------------------------------------------------------------------------


def norm_by_hand(axis=-1, eps=1e-5):
    def norm(x, layer):
        left = x - x.mean(axis=axis, keepdims=True)
        variance = (left * left).mean(axis=axis, keepdims=True)
        return left / (variance + eps) ** 0.5 * layer.weight + layer.bias
    return norm


def stack_with(first=True, second=True, final=True, normed=False, axis=-1, eps=1e-5):
    def answer(x, blocks, final_norm):
        norm = norm_by_hand(axis, eps)
        for block in blocks:
            read = norm(x, block.norm1)
            x = (read if normed else x) * float(first) + block.attention(read)
            x = x * float(second) + block.feed_forward(norm(x, block.norm2))
        return norm(x, final_norm) if final else x
    return answer


def stack_by_blocks(x, blocks, final_norm):
    for block in blocks:
        x = block(x)
    return final_norm(x)


def stack_without_recursion_limit(x, blocks, final_norm):
    if not blocks:
        return final_norm(x)
    return stack_without_recursion_limit(blocks[0].forward(x), blocks[1:], final_norm)


def stack_in_arrays(x, blocks, final_norm):
    for block in blocks:
        x = Tensor(block(x).data)
    return final_norm(x)


def stack_of_lists(x, blocks, final_norm):
    return stack_by_blocks(x, blocks, final_norm).data.tolist()


# ---- 4. the bias --------------------------------------------------------------------------------


def shares(ids, V):
    return np.bincount(ids, minlength=V) / len(ids)


def bias_by_loop(ids, V):
    ids = list(ids)
    return [math.log(ids.count(i)) for i in range(V)]


# ---- 6. the budget ------------------------------------------------------------------------------


def fit_by_loop(V, T, budget):
    best, found = 0, None
    for N in range(1, 13):
        for D in range(8, 257, 8):
            count = _count(V, D, N, T)
            if best < count <= budget:
                best, found = count, [D, N]
    return found


def fit_by_arrays(V, T, budget):
    D, N = np.meshgrid(np.arange(8, 257, 8), np.arange(1, 13), indexing="ij")
    counts = _count(V, D, N, T)
    counts[counts > budget] = -1
    i, j = np.unravel_index(counts.argmax(), counts.shape)
    return np.array([D[i, j], N[i, j]])


# ---- 7. without a part --------------------------------------------------------------------------


def without_by_a_copy(model, ids, layer, part):
    model = copy.deepcopy(model)
    block = model.blocks[layer]
    last = block.attention.proj if part == "attention" else block.feed_forward.contract
    last.weight.data[:] = 0
    last.bias.data[:] = 0
    return cross_entropy_loss(model(np.asarray(ids)[:-1]), np.asarray(ids)[1:])


def without_put_back(model, ids, layer, part):
    block, keep = model.blocks[layer], getattr(model.blocks[layer], part)
    setattr(block, part, lambda x, *rest: x * 0.0)
    loss = cross_entropy_loss(model(ids[:-1]), ids[1:]).item()
    setattr(block, part, keep)
    return loss


def without_by_hand(model, ids, layer, part):
    x = model.embed(ids[:-1])
    for i, block in enumerate(model.blocks):
        for name, norm in (("attention", block.norm1), ("feed_forward", block.norm2)):
            x = x + getattr(block, name)(norm(x)) * float((i, name) != (layer, part))
    logits = model.head(model.final_norm(x)).data
    logits = logits - logits.max(axis=-1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return np.array([-np.mean([row[i] for row, i in zip(logs, ids[1:])])])


def without_and_spoilt(model, ids, layer, part):
    block = model.blocks[layer]
    last = block.attention.proj if part == "attention" else block.feed_forward.contract
    last.weight.data[:] = 0
    last.bias.data[:] = 0
    return cross_entropy_loss(model(ids[:-1]), ids[1:]).item()


def without_and_patched(model, ids, layer, part):
    setattr(model.blocks[layer], part, lambda x, *rest: x * 0.0)
    return cross_entropy_loss(model(ids[:-1]), ids[1:]).item()


RIGHT = [
    ("ps4_rms_norm", rms_by_loop),
    ("ps4_rms_norm", rms_by_tensors),
    ("ps4_rms_norm", rms_by_length),
    ("ps4_rms_norm", rms_in_float32),
    ("ps4_twin", lambda row: row + 10),
    ("ps4_twin", lambda row: [3 * value - 5 for value in row]),
    ("ps4_twin", lambda row: np.float32(row - 4)),
    ("ps4_twin", lambda row: Tensor(row) + 1),
    ("ps4_twin", lambda row: (row - row.mean()) / row.std() + 3),
    ("ps4_stack_forward", stack_by_blocks),
    ("ps4_stack_forward", stack_without_recursion_limit),
    ("ps4_stack_forward", stack_with()),
    ("ps4_predict_start_loss", 1.75 * math.log(2)),
    ("ps4_predict_start_loss", 1.21),
    ("ps4_predict_start_loss", np.float32(1.213)),
    ("ps4_start_bias", lambda ids, V: np.log(shares(ids, V))),
    ("ps4_start_bias", bias_by_loop),
    ("ps4_start_bias", lambda ids, V: Tensor(np.float32(np.log(shares(ids, V)) + 7))),
    ("ps4_start_bias", lambda ids, V: np.log(np.unique(ids, return_counts=True)[1])[:, ][:V]),
    ("ps4_part_size", lambda n, s, e: math.sqrt((e**2 - s**2) / 2 / n)),
    ("ps4_part_size", lambda n, s, e: np.float32(((e - s) * (e + s) / (2 * n)) ** 0.5)),
    ("ps4_tied_count", lambda V, D, N, T: D * (V + T + 2 + N * (12 * D + 13))),
    ("ps4_tied_count", lambda V, D, N, T: float(sum(
        [V * D, T * D, *[12 * D * D + 13 * D] * N, D, D]))),
    ("ps4_best_fit", fit_by_loop),
    ("ps4_best_fit", fit_by_arrays),
    ("ps4_loss_without", without_by_a_copy),
    ("ps4_loss_without", without_put_back),
    ("ps4_loss_without", without_by_hand),
]

WRONG = [
    ("ps4_rms_norm", lambda x, w, eps: x / np.linalg.norm(x, axis=-1, keepdims=True) * w,
     "(?s)root of the sum.*eps is missing"),
    ("ps4_twin", lambda row: row - row.mean(), "row itself"),
    ("ps4_twin", lambda row: row + row.mean(), "row itself"),
    ("ps4_twin", lambda row: row, "row itself"),
    ("ps4_twin", lambda row: row * 2, "A factor is forgotten by both"),
    ("ps4_twin", lambda row: -row, "turns the signs round"),
    ("ps4_twin", lambda row: row[::-1], "another pattern"),
    ("ps4_twin", lambda row: row**3, "Which two things"),
    ("ps4_twin", lambda row: row + 0.005, "Make it larger"),
    ("ps4_twin", lambda row: row * 1e-4 + 3, "eps is no longer small"),
    ("ps4_twin", lambda row: np.append(row, 0), "shape"),
    ("ps4_stack_forward", stack_with(second=False, final=False), "(?s)second residual.*final norm"),
    ("ps4_stack_forward", stack_with(axis=-2, normed=True, final=False),
     "(?s)over the positions.*normed copy.*final norm"),
    ("ps4_stack_forward", lambda x, blocks, norm: norm(x), "the blocks play no part"),
    ("ps4_stack_forward", stack_in_arrays, "gradient"),
    ("ps4_stack_forward", stack_of_lists, "expected a Tensor"),
    ("ps4_predict_start_loss", 1.22, "Add up over the letters"),
    ("ps4_predict_start_loss", 1.75, "in bits"),
    ("ps4_predict_start_loss", math.log(4), "even guess"),
    ("ps4_predict_start_loss", -1.213, "not negative"),
    ("ps4_predict_start_loss", 1.56, "plain mean"),
    ("ps4_predict_start_loss", 0.69, "at an a alone"),
    ("ps4_start_bias", lambda ids, V: np.log(shares(ids, V))[:-1], "One number for each"),
    ("ps4_start_bias", lambda ids, V: np.log(shares(ids, V) - shares(ids, V).min()),
     "an infinity"),
    ("ps4_part_size", lambda n, s, e: 0.5, "end squared"),
    ("ps4_tied_count", lambda V, D, N, T: 56_256, "token and position embedding"),
    ("ps4_best_fit", lambda V, T, budget: (64, 2), "try all pairs|More than the budget"),
    ("ps4_best_fit", lambda V, T, budget: (8, 13), "N one of 1, 2"),
    ("ps4_best_fit", lambda V, T, budget: 64, "two whole numbers"),
    ("ps4_best_fit", lambda V, T, budget: (256, 12), "More than the budget is not allowed"),
    ("ps4_loss_without", without_and_spoilt, "changes its input"),
    ("ps4_loss_without", without_and_patched, "changes its input"),
    ("ps4_loss_without", lambda model, ids, *rest: without_by_hand(model, ids[:4], *rest), "expected"),
]


# ---- your own text ----------------------------------------------------------------------

TEXT = "we leave out one part at a time and look"


def losses_of(text):
    model, tokenizer = load_pretrained("verse")
    ids = np.array(tokenizer.encode(text))
    return {(layer, part): float(without_by_hand(model, ids, layer, part)[0])
            for layer in range(2) for part in ("attention", "feed_forward")}


LEAST, *BETWEEN, MOST = sorted(LOSSES := losses_of(TEXT), key=LOSSES.get)
RIGHT += [("ps4_own_text", (TEXT, answer)) for answer in [
    MOST, [np.int64(MOST[0]), MOST[1].replace("_", "-")], (MOST[0], MOST[1].upper())]]
WRONG += [
    ("ps4_own_text", (TEXT, LEAST), "costs least"),
    ("ps4_own_text", (TEXT, BETWEEN[0]), "Leave out one part"),
    ("ps4_own_text", (TEXT, (2, "attention")), "there is no part"),
    ("ps4_own_text", (TEXT, MOST[::-1]), "there is no part"),
    ("ps4_own_text", (TEXT, 3), r"expected \(block, part\)"),
    ("ps4_own_text", ("SHOUT! shout about it now", MOST), "leaves out"),
    ("ps4_own_text", ("short", MOST), "Take 20 to 64"),
    ("ps4_own_text", ("a" * 30, MOST), "means something"),
    ("ps4_own_text", (7, MOST), "expected a text"),
]
