"""Problem set 4's checks accept right answers in any style and name what is wrong with others."""

import copy
import math

import numpy as np
import pytest

from minigpt_helpers import (
    LayerNorm,
    MiniGPT,
    Tensor,
    checks,
    cross_entropy_loss,
    load_pretrained,
    no_grad,
)
from minigpt_helpers.checks.ps4 import PARTS, _best_fit, _loss_without, _tied_count

# ---- 1. RMSNorm ---------------------------------------------------------------------------------


def rms_with(axis=-1, power=0.5, outside=False, scale=True, eps_on=True, mean=np.mean):
    def answer(x, weight, eps):
        square = mean(x * x, axis=axis, keepdims=True)
        eps = eps if eps_on else 0
        size = square**power + eps if outside else (square + eps) ** power
        return x / size * weight if scale else x / size
    return answer


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


def layer_norm(x, weight, eps):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * weight


# ---- 3. the stack -------------------------------------------------------------------------------


def classmate_norm(x, norm):
    left = x - x.mean(axis=-2, keepdims=True)
    variance = (left * left).mean(axis=-2, keepdims=True)
    return left / variance**0.5 * norm.weight + norm.bias


def classmate_stack(x, blocks, final_norm):
    for block in blocks:
        x = classmate_norm(x, block.norm1)
        x = x + block.attention(x)
        x = block.feed_forward(classmate_norm(x, block.norm2))
    return x


def norm_by_hand(axis=-1, eps=1e-5):
    def norm(x, layer):
        left = x - x.mean(axis=axis, keepdims=True)
        variance = (left * left).mean(axis=axis, keepdims=True)
        return left / (variance + eps) ** 0.5 * layer.weight + layer.bias
    return norm


def stack_with(norm=lambda x, layer: layer(x), first=True, second=True, final=True, normed=False):
    def answer(x, blocks, final_norm):
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
        return final_norm(x).data
    return stack_without_recursion_limit(blocks[0].forward(x), blocks[1:], final_norm)


def stack_in_arrays(x, blocks, final_norm):
    x = x.data
    for block in blocks:
        x = x + block.attention(block.norm1(Tensor(x))).data
        x = x + block.feed_forward(block.norm2(Tensor(x))).data
    return final_norm(Tensor(x)).data


def stack_post(x, blocks, final_norm):
    for block in blocks:
        x = block.norm1(x + block.attention(x))
        x = block.norm2(x + block.feed_forward(x))
    return final_norm(x)


def stack_parallel(x, blocks, final_norm):
    for block in blocks:
        x = x + block.attention(block.norm1(x)) + block.feed_forward(block.norm2(x))
    return final_norm(x)


def stack_norm_in_each(x, blocks, final_norm):
    for block in blocks:
        x = final_norm(block(x))
    return x


def stack_swapped(x, blocks, final_norm):
    for block in blocks:
        x = x + block.feed_forward(block.norm2(x))
        x = x + block.attention(block.norm1(x))
    return final_norm(x)


def stack_open(x, blocks, final_norm):
    for block in blocks:
        x = block(x, causal=False)
    return final_norm(x)


def stack_one_norm(x, blocks, final_norm):
    for block in blocks:
        x = x + block.attention(block.norm1(x))
        x = x + block.feed_forward(block.norm1(x))
    return final_norm(x)


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
            count = _tied_count(V, D, N, T)
            if best < count <= budget:
                best, found = count, [D, N]
    return found


def fit_with(**options):
    return lambda V, T, budget: _best_fit(V, T, budget, **options)


def fit_by_arrays(V, T, budget):
    D, N = np.meshgrid(np.arange(8, 257, 8), np.arange(1, 13), indexing="ij")
    counts = _tied_count(V, D, N, T)
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


def without_weights_only(model, ids, layer, part):
    model = copy.deepcopy(model)
    block = model.blocks[layer]
    last = block.attention.proj if part == "attention" else block.feed_forward.contract
    last.weight.data[:] = 0
    return cross_entropy_loss(model(ids[:-1]), ids[1:]).item()


def without_and_spoilt(model, ids, layer, part):
    block = model.blocks[layer]
    last = block.attention.proj if part == "attention" else block.feed_forward.contract
    last.weight.data[:] = 0
    last.bias.data[:] = 0
    return cross_entropy_loss(model(ids[:-1]), ids[1:]).item()


def without_and_patched(model, ids, layer, part):
    setattr(model.blocks[layer], part, lambda x, *rest: x * 0.0)
    return cross_entropy_loss(model(ids[:-1]), ids[1:]).item()


def without(**options):
    return lambda model, ids, layer, part: _loss_without(model, ids, layer, part, **options)


RIGHT = [
    ("ps4_rms_norm", rms_with()),
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
    ("ps4_stack_forward", stack_in_arrays),
    ("ps4_stack_forward", stack_with()),
    ("ps4_stack_forward", stack_with(norm=norm_by_hand())),
    ("ps4_predict_start_loss", 1.75 * math.log(2)),
    ("ps4_predict_start_loss", 1.21),
    ("ps4_predict_start_loss", np.float32(1.213)),
    ("ps4_start_bias", lambda ids, V: np.log(shares(ids, V))),
    ("ps4_start_bias", bias_by_loop),
    ("ps4_start_bias", lambda ids, V: Tensor(np.float32(np.log(shares(ids, V)) + 7))),
    ("ps4_start_bias", lambda ids, V: np.log(np.unique(ids, return_counts=True)[1])[:, ][:V]),
    ("ps4_part_size", lambda n, s, e: math.sqrt((e**2 - s**2) / 2 / n)),
    ("ps4_part_size", lambda n, s, e: np.float32(((e - s) * (e + s) / (2 * n)) ** 0.5)),
    ("ps4_tied_count", _tied_count),
    ("ps4_tied_count", lambda V, D, N, T: D * (V + T + 2 + N * (12 * D + 13))),
    ("ps4_tied_count", lambda V, D, N, T: float(sum(
        [V * D, T * D, *[12 * D * D + 13 * D] * N, D, D]))),
    ("ps4_best_fit", fit_by_loop),
    ("ps4_best_fit", fit_by_arrays),
    ("ps4_best_fit", fit_with()),
    ("ps4_loss_without", without_by_a_copy),
    ("ps4_loss_without", without_put_back),
    ("ps4_loss_without", without_by_hand),
    ("ps4_loss_without", without()),
]

WRONG = [
    ("ps4_twin", lambda row: row - row.mean(), "row itself"),
    ("ps4_twin", lambda row: row + row.mean(), "row itself"),
    ("ps4_predict_start_loss", 1.22, "not yet"),
    ("ps4_loss_without", lambda model, ids, layer, part: _loss_without(model, ids[:17], layer,
                                                                       part), "not yet"),
    ("ps4_rms_norm", rms_with(axis=0), "down the columns"),
    ("ps4_rms_norm", rms_with(axis=-2), "down the columns"),
    ("ps4_rms_norm", rms_with(axis=None), "whole array"),
    ("ps4_rms_norm", rms_with(axis=1), "the last axis"),
    ("ps4_rms_norm", rms_with(eps_on=False), "eps is missing"),
    ("ps4_rms_norm", rms_with(outside=True), "under the root"),
    ("ps4_rms_norm", rms_with(power=1), "Take its root"),
    ("ps4_rms_norm", rms_with(scale=False), "The learnt scale"),
    ("ps4_rms_norm", rms_with(mean=np.sum), "root of the sum"),
    ("ps4_rms_norm", layer_norm, "no mean is subtracted"),
    ("ps4_rms_norm", lambda x, w, eps: x / np.sqrt(x.var(-1, keepdims=True) + eps) * w, "np.var"),
    ("ps4_rms_norm", lambda x, w, eps: x / np.sqrt((x**2).mean(-1) + eps) * w, "keepdims"),
    ("ps4_rms_norm", lambda x, w, eps: rms_with()(x, w, 1e-8), "eps"),
    ("ps4_twin", lambda row: row, "row itself"),
    ("ps4_twin", lambda row: row * 2, "A factor is forgotten by both"),
    ("ps4_twin", lambda row: -row, "turns the signs round"),
    ("ps4_twin", lambda row: row[::-1], "another pattern"),
    ("ps4_twin", lambda row: row**3, "Which two things"),
    ("ps4_twin", lambda row: row + 0.005, "Make it larger"),
    ("ps4_twin", lambda row: row * 1e-4 + 3, "eps is no longer small"),
    ("ps4_twin", lambda row: np.append(row, 0), "shape"),
    ("ps4_stack_forward", classmate_stack, "Each row has its own mean"),
    ("ps4_stack_forward", stack_with(norm=norm_by_hand(axis=-2)), "Each row has its own mean"),
    ("ps4_stack_forward", stack_with(norm=norm_by_hand(axis=0)), "Each row has its own mean"),
    ("ps4_stack_forward", stack_with(norm=norm_by_hand(eps=0)), "divides by zero"),
    ("ps4_stack_forward", stack_with(second=False), "x = x + layer(norm(x)), twice"),
    ("ps4_stack_forward", stack_with(first=False), "x = x + layer(norm(x)), twice"),
    ("ps4_stack_forward", stack_with(normed=True), "never normed before the end"),
    ("ps4_stack_forward", stack_with(final=False), "final norm"),
    ("ps4_stack_forward", stack_post, "never normed before the end"),
    ("ps4_stack_forward", stack_swapped, "First attention"),
    ("ps4_stack_forward", stack_open, "unless you switch that off"),
    ("ps4_stack_forward", stack_one_norm, "norm2"),
    ("ps4_stack_forward", stack_parallel, "Two lines of the same form"),
    ("ps4_stack_forward", stack_norm_in_each, "after all blocks"),
    ("ps4_stack_forward", lambda x, blocks, norm: norm(x), "the blocks play no part"),
    ("ps4_stack_forward", lambda x, blocks, norm: norm(blocks[-1](x)), "only the last one counts"),
    ("ps4_predict_start_loss", 1.75, "in bits"),
    ("ps4_predict_start_loss", math.log(4), "even guess"),
    ("ps4_predict_start_loss", -1.213, "not negative"),
    ("ps4_predict_start_loss", 1.56, "plain mean"),
    ("ps4_predict_start_loss", 0.69, "at an a alone"),
    ("ps4_start_bias", shares, "undo that first"),
    ("ps4_start_bias", lambda ids, V: np.bincount(ids, minlength=V), "These are the counts"),
    ("ps4_start_bias", lambda ids, V: -np.log(shares(ids, V)), "The sign"),
    ("ps4_start_bias", lambda ids, V: np.log2(shares(ids, V)), "natural logarithm"),
    ("ps4_start_bias", lambda ids, V: np.log10(shares(ids, V)), "natural logarithm"),
    ("ps4_start_bias", lambda ids, V: np.zeros(V), "the plain start"),
    ("ps4_start_bias", lambda ids, V: np.sort(np.log(shares(ids, V))), "order of the ids"),
    ("ps4_start_bias", lambda ids, V: np.log(np.bincount(ids, minlength=V) + 1), "add 1"),
    ("ps4_start_bias", lambda ids, V: np.log(shares(ids, V))[:-1], "One number for each"),
    ("ps4_part_size", lambda n, s, e: math.sqrt((e**2 - s**2) / n), "adds twice"),
    ("ps4_part_size", lambda n, s, e: (e - s) / (2 * n), "Sizes do not add up"),
    ("ps4_part_size", lambda n, s, e: (e - s) / n, "Sizes do not add up"),
    ("ps4_part_size", lambda n, s, e: (e**2 - s**2) / (2 * n), "variance of a part"),
    ("ps4_part_size", lambda n, s, e: (e - s) / math.sqrt(2 * n), "difference of the squares"),
    ("ps4_part_size", lambda n, s, e: e / math.sqrt(2 * n), "does not start at 0"),
    ("ps4_part_size", lambda n, s, e: (e / s) ** (1 / (2 * n)), "do not multiply"),
    ("ps4_part_size", lambda n, s, e: 1 / math.sqrt(2 * n), "from 0 to 1"),
    ("ps4_tied_count", lambda V, D, N, T: _tied_count(V, D, N, T) + V, "no bias"),
    ("ps4_tied_count", lambda V, D, N, T: _tied_count(V, D, N, T) + V * D, "counted twice"),
    ("ps4_tied_count", lambda V, D, N, T: _tied_count(V, D, N, T) - 2 * D, "final norm"),
    ("ps4_tied_count", lambda V, D, N, T: _tied_count(V, D, N, T) - T * D, "position"),
    ("ps4_tied_count", lambda V, D, N, T: _tied_count(V, D, N, T) - 9 * N * D, "biases in the"),
    ("ps4_tied_count", lambda V, D, N, T: _tied_count(V, D, 1, T), "There are N"),
    ("ps4_tied_count", lambda V, D, N, T: V * D + T * D + 12 * N * D * D, "Only the matrices"),
    ("ps4_best_fit", fit_with(fits=lambda used: True), "More than the budget"),
    ("ps4_best_fit", lambda V, T, b: fit_with(fits=lambda used: used < b)(V, T, b), "<=, not <"),
    ("ps4_best_fit", lambda V, T, b: min(
        ((D, N) for D in range(8, 257, 8) for N in range(1, 13)),
        key=lambda pair: abs(_tied_count(V, *pair, T) - b)), "More than the budget"),
    ("ps4_best_fit", fit_with(depths=range(1, 12)), "range(1, 13)"),
    ("ps4_best_fit", fit_with(widths=range(8, 256, 8)), "range(8, 257, 8)"),
    ("ps4_best_fit", lambda V, T, b: fit_with(
        count=lambda V, D, N, T: _tied_count(V, D, N, T) + V * D)(V, T, b), "Is your count"),
    ("ps4_best_fit", lambda V, T, b: fit_by_loop(V, T, b)[::-1], "The width comes first"),
    ("ps4_best_fit", lambda V, T, b: fit_with(widths=[max(
        d for d in range(8, 257, 8) if _tied_count(V, d, 1, T) <= b)])(V, T, b), "Try all pairs"),
    ("ps4_best_fit", lambda V, T, b: (64, 2), "64, 2"),
    ("ps4_loss_without", lambda m, ids, layer, part: cross_entropy_loss(m(ids[:-1]), ids[1:]),
     "the whole model"),
    ("ps4_loss_without", lambda m, ids, layer, part: _loss_without(
        m, ids, layer, PARTS[1 - PARTS.index(part)]), "the other part"),
    ("ps4_loss_without", lambda m, ids, layer, part: _loss_without(m, ids, "all", part),
     "every block"),
    ("ps4_loss_without", lambda m, ids, layer, part: _loss_without(m, ids, layer, "both"),
     "whole block"),
    ("ps4_loss_without", lambda m, ids, layer, part: _loss_without(m, ids, layer - 1, part), "0"),
    ("ps4_loss_without", without(shift=0), "*next* id"),
    ("ps4_loss_without", without(final_norm=False), "final norm"),
    ("ps4_loss_without", without(keep_stream=False), "stream itself is gone"),
    ("ps4_loss_without", without_weights_only, "bias still adds"),
    ("ps4_loss_without", without_and_spoilt, "changes its input"),
    ("ps4_loss_without", without_and_patched, "changes its input"),
    ("ps4_loss_without", lambda *given: _loss_without(*given) / math.log(2), "in bits"),
    ("ps4_loss_without", lambda *given: _loss_without(*given) * (len(given[1]) - 1), "mean"),
]
SEEDS = [0, 1, 2, 3, 4, 20817]


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_a_right_answer_is_accepted_whatever_the_seed(name, answer):
    for seed in SEEDS:
        result = getattr(checks, name)(answer, seed=seed)
        assert result.passed and result.score == 1.0, result.message


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_a_wrong_answer_is_refused_with_the_fitting_hint(name, answer, hint):
    result = getattr(checks, name)(answer)
    assert result.message.startswith("not yet") and result.score < 1, result.message
    assert hint in result.message
    for seed in SEEDS[-2:]:
        assert not getattr(checks, name)(answer, seed=seed).passed


def test_the_classmates_stack_scores_nothing_and_each_mended_mistake_counts():
    assert checks.ps4_stack_forward(classmate_stack).score == 0
    assert checks.ps4_stack_forward(lambda x, blocks, final_norm: final_norm(x)).score < 0.2
    for one_left in [{"second": False}, {"final": False}, {"norm": norm_by_hand(axis=-2)},
                     {"norm": norm_by_hand(eps=0)}, {"normed": True}]:
        assert 0 < checks.ps4_stack_forward(stack_with(**one_left)).score < 1


def test_a_pair_learnt_by_heart_fails_with_another_seed():
    seen = {}

    def remember(V, T, budget):
        seen[V, T, budget] = fit_by_loop(V, T, budget)
        return seen[V, T, budget]

    assert checks.ps4_best_fit(remember)
    assert checks.ps4_best_fit(lambda *given: seen.get(given, (8, 1)))
    assert checks.ps4_best_fit(lambda *given: seen.get(given, (8, 1)), seed=1).score < 0.5


# ---- the reader's own text ----------------------------------------------------------------------

TEXT = "we leave out one part at a time and look"


def losses_of(text):
    model, tokenizer = load_pretrained()
    ids = np.array(tokenizer.encode(text))
    return {(layer, part): without_by_a_copy(model, ids, layer, part).item()
            for layer in range(2) for part in PARTS}


def test_the_part_that_is_missed_most():
    losses = losses_of(TEXT)
    layer, part = max(losses, key=losses.get)
    for answer in [(layer, part), [np.int64(layer), part.replace("_", "-")], (layer, part.upper())]:
        result = checks.ps4_own_text(TEXT, answer)
        assert result.passed and result.score == 1, result.message


def test_another_part_is_refused():
    losses = losses_of(TEXT)
    least, *between, most = sorted(losses, key=losses.get)
    assert "costs least" in checks.ps4_own_text(TEXT, least).message
    assert "Leave out one part" in checks.ps4_own_text(TEXT, between[0]).message
    assert "there is no part" in checks.ps4_own_text(TEXT, (2, "attention")).message
    assert "there is no part" in checks.ps4_own_text(TEXT, most[::-1]).message
    assert "expected (block, part)" in checks.ps4_own_text(TEXT, 3).message
    for text, hint in [("SHOUT! shout about it now", "leaves out"), ("short", "Take 20 to 64"),
                       ("a" * 30, "means something"), (7, "expected a text")]:
        result = checks.ps4_own_text(text, most)
        assert not result.passed and hint in result.message, result.message


# ---- stubs, the references, and the set as a whole ----------------------------------------------


@pytest.mark.parametrize("entry", checks.catalogue("ps4"), ids=lambda entry: entry.name)
def test_a_stub_is_not_done_yet(entry):
    blanks = [None, ...] + [lambda *inputs: ..., lambda *inputs: None] * (entry.kind == "function")
    for blank in blanks:
        result = getattr(checks, entry.name)(*[blank] * len(entry.takes))
        assert result.message.startswith("not done yet") and result.score == 0, result.message


def test_every_check_of_the_set_is_tested_here():
    names = {entry.name for entry in checks.catalogue("ps4")} - {"ps4_own_text"}
    assert len(names) == 9
    for name in names:
        assert sum(case[0] == name for case in RIGHT) >= 2, name
        assert sum(case[0] == name for case in WRONG) >= 4, name


def test_the_count_is_that_of_the_model_without_its_head():
    for V, D, N, T in [(5, 4, 1, 3), (32, 64, 2, 64)]:
        assert _tied_count(V, D, N, T) == MiniGPT(V, D, 1, N, T).num_parameters() - V * D


def test_leaving_nothing_out_is_the_model_itself():
    model, ids = MiniGPT(7, 8, 2, 2, 9, rng=np.random.default_rng(0)), np.array([1, 4, 2, 6, 0])
    with no_grad():
        loss = cross_entropy_loss(model(ids[:-1]), ids[1:]).item()
    assert _loss_without(model, ids, None, None) == pytest.approx(loss, abs=1e-12)


def test_the_sizes_named_in_the_rubric():
    counts = {(64, 1): 56_256, (48, 2): 61_248, (24, 8): 60_144, (16, 17): 57_328}
    for (D, N), count in counts.items():
        assert MiniGPT(32, D, 1, N, 32).num_parameters() == count
        assert 0.9 * 62_000 <= count <= 62_000


def test_a_final_norm_of_its_own_is_not_taken_for_the_given_one():
    def forgets_the_given(x, blocks, final_norm):
        for block in blocks:
            x = block(x)
        return LayerNorm(x.shape[-1])(x)

    assert not checks.ps4_stack_forward(forgets_the_given).passed
