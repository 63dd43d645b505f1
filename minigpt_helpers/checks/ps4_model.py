"""Checks of problem set 4, the model: a better start, sizes, a budget, parts left out."""

from __future__ import annotations

import copy
import math

import numpy as np

from minigpt_helpers.autograd import no_grad
from minigpt_helpers.checks._ask import prediction
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import as_array, expect, show
from minigpt_helpers.checks._exercise import exercise
from minigpt_helpers.checks._reference import softmax
from minigpt_helpers.checks.block import random_norms
from minigpt_helpers.functional import cross_entropy_loss
from minigpt_helpers.nn import MiniGPT
from minigpt_helpers.pretrained import load_pretrained

TOLERANCE = 1e-4  # float32 is precise enough
PARTS = ("attention", "feed_forward")

# ---- 4. a start that knows the letters ----------------------------------------------------------

prediction(
    "ps4_predict_start_loss",
    lesson="ps4",
    answer=lambda: 1.75 * math.log(2),
    tol=0.0065,
    expects="one number, to two decimals: the mean loss in nats",
    hint="At every position the model gives the four letters the probabilities 1/2, 1/4, 1/8, 1/8. How "
    "large is the loss when the letter is an a? How often is it one? Add up over the letters.",
    near=[
        (1.75, "That is in bits. In nats, take the natural logarithm."),
        (math.log(4), "That is the loss of an even guess. This model knows the frequencies."),
        (2.0, "That is the loss of an even guess, in bits."),
        (math.log(2), "That is the loss at an a alone. The other letters come, too."),
        (-1.75 * math.log(2), "Minus the logarithm of a probability is not negative."),
        (-np.log([1 / 2, 1 / 4, 1 / 8, 1 / 8]).mean(), "You took the plain mean over the four "
         "letters. An a comes more often than a c."),
        (0.0, "A loss of 0 means that every guess is sure and right."),
    ],
)


def _shares_of(start_bias, ids, V):
    """What the softmax makes of a bias."""
    bias = as_array(start_bias(ids, V))
    expect(bias.shape == (V,), f"expected shape {(V,)}, got {bias.shape}", "One number for each "
           "character of the vocabulary.")
    expect(np.isfinite(bias).all(), "your bias holds an infinity or a NaN")
    return softmax(bias)


def _counted_texts(rng):
    for V, N in [(4, 50), (2, 30), (9, 400), (27, 3000), (3, 3)]:
        drawn = rng.choice(V, size=N - V, p=rng.dirichlet(np.full(V, 0.7)))
        yield f"V={V}, N={N}", rng.permutation(np.concatenate([np.arange(V), drawn])), V


_UNDO = "The softmax will take exp of them: undo that first."


@exercise(
    lesson="ps4",
    expects="a function `start_bias(ids, V)`: an array (N,) of ids in which each of 0 to V - 1 "
    "occurs, and V, in; an array (V,) out",
    not_tested="ids that never occur",
    in_words="the softmax takes exp of each number and divides by the sum; which numbers does that "
    "turn into the shares of the characters?",
    tol=1e-3,
    cases=_counted_texts,
    call=_shares_of,
    slips=[
        ("np.log(shares)", "shares", f"These are the shares themselves. {_UNDO}"),
        ("np.log(shares)", "shares * len(ids)", f"These are the counts. {_UNDO}"),
        ("np.log(shares)", "-np.log(shares)", "The sign: what is frequent needs the larger number."),
        ("np.log(", "np.log2(", "The softmax uses e: take the natural logarithm."),
        ("np.log(", "np.log10(", "The softmax uses e: take the natural logarithm."),
        *(("np.log(shares)", f"np.sort(np.log(shares)){step}", "The numbers are right, but not in "
           "the order of the ids.") for step in ("", "[::-1]")),
        *(("np.log(shares)", f"np.log(np.bincount(ids, minlength=V) {one})", "You add 1 to each count. "
           "Here every character occurs, so nothing has to be added.") for one in ("+ 1", "+ 1.0")),
        ("np.log(shares)", "np.zeros(V)", "All characters get the same probability: that is the plain "
         "start."),
        ("np.log(shares)", "np.log(shares / (1 - shares))", "These are log-odds, for one yes or no. A "
         "softmax over V characters needs the logarithm of the shares."),
        ("np.log(shares)", "np.exp(shares)", f"The softmax takes exp of them itself. {_UNDO}"),
    ],
)
def ps4_start_bias(ids, V):
    shares = np.bincount(ids, minlength=V) / len(ids)
    return np.log(shares)


# ---- 5. as large as you want it to be -----------------------------------------------------------


def _sizes(rng):
    for num_blocks in [1, 2, 12, 48]:
        start = float(rng.uniform(0.1, 1.0))
        end = start + float(rng.uniform(0.5, 4.0))
        yield (f"{num_blocks} block{'s' * (num_blocks > 1)}, from {start:.2f} to {end:.2f}",
               num_blocks, start, end)
    yield "nothing to add", 3, 1.5, 1.5


_VARIANCE = "(end**2 - start**2) / (2 * num_blocks)"
_SQUARES = "Sizes do not add up. Their squares do (the variances)."


@exercise(
    lesson="ps4",
    expects="a function `part_size(num_blocks, start, end)`: a whole number and two sizes with "
    "start <= end in, one number out",
    not_tested="an end smaller than the start",
    in_words="end squared = start squared + 2 N times (size of a part) squared; solve that for the "
    "size of a part",
    tol=TOLERANCE,
    cases=_sizes,
    slips=[
        ("2 * num_blocks", "num_blocks", "Each block adds twice: attention and feed-forward."),
        (f"math.sqrt({_VARIANCE})", "(end - start) / (2 * num_blocks)", _SQUARES),
        (f"math.sqrt({_VARIANCE})", "(end - start) / num_blocks", _SQUARES),
        (_VARIANCE, "(end - start) ** 2 / (2 * num_blocks)", "Take the difference of the squares, "
         "not the square of the difference."),
        ("math.sqrt", "", "That is the variance of a part. Its size is the root."),
        (f"math.sqrt({_VARIANCE})", "math.sqrt(end**2 - start**2) / (2 * num_blocks)", "Divide the "
         "variance by the number of parts, then take the root."),
        ("end**2 - start**2", "end - start", "Variances add up, and a variance is the square of a "
         "size."),
        ("end**2 - start**2", "end**2", "The stream does not start at 0: its first size counts, "
         "too."),
        ("end**2 - start**2", "end**2 + start**2", "The sign: the parts add what is missing from "
         "start to end."),
        (f"math.sqrt({_VARIANCE})", "(end / start) ** (1 / (2 * num_blocks))", "The parts are added "
         "to the stream, they do not multiply it."),
        ("end**2 - start**2", "1", "That leads from 0 to 1. Start and end play a part."),
    ],
)
def ps4_part_size(num_blocks, start, end):
    return math.sqrt((end**2 - start**2) / (2 * num_blocks))


# ---- 6. a model for a budget --------------------------------------------------------------------


def _models(rng):
    sizes = [[int(rng.integers(low, high)) for low, high in
              [(2, 200), (1, 100), (1, 20), (1, 300)]] for _ in range(3)]
    for V, D, N, T in [*sizes, (1000, 128, 3, 256)]:  # small enough to be built and counted
        yield f"V={V}, D={D}, N={N}, T={T}", V, D, N, T


@exercise(
    lesson="ps4",
    expects="a function `tied_count(V, D, N, T)`: four whole numbers in (vocabulary, width, "
    "blocks, positions), one whole number out",
    not_tested="a feed-forward layer of another width than 4 D",
    in_words="token and position embedding, N blocks of 12 D D + 13 D, the final norm; the head costs "
    "nothing",
    cases=_models,
    slips=[
        ("V * D + T", "2 * V * D + T", "The token embedding is counted twice. The head uses it "
         "again."),
        ("V * D + T", "V * D + V + T", "This head has no bias."),
        (" + 2 * D", "", "The final norm is missing."),
        (" + 2 * D", " + D", "A norm has a scale and a shift: 2 D."),
        (" + T * D", "", "The position embedding is missing."),
        ("V * D + ", "", "The token embedding is missing. It is there once."),
        ("norms = 4 * D", "norms = 0", "4 D numbers are missing in each block: its two norms have 2 D "
         "each, and the biases of attention are 3 D and D."),
        ("norms = 4 * D", "norms = 2 * D", "Each block has two norms, and each has a scale and a "
         "shift: 2 D each."),
        ("biases = 9 * D", "biases = 0", "The biases in the blocks are missing: 3 D and D in "
         "attention, 4 D and D in feed-forward."),
        ("biases = 9 * D", "biases = 4 * D", "The biases of feed-forward are missing: 4 D and D."),
        ("biases = 9 * D", "biases = 8 * D", "One bias of D numbers is missing: attention has 3 D and "
         "D, feed-forward 4 D and D."),
        ("biases = 9 * D\n    norms = 4 * D", "biases = norms = 0", "Only the matrices are counted. "
         "Biases and norms have parameters, too."),
        *(("12 * D * D", f"{12 - gone} * D * D", f"{gone} D D are missing in each block: attention has "
           "four matrices of D D, feed-forward two of 4 D D.") for gone in (1, 2, 3, 4, 8)),
        ("N * (", "(", "You counted one block. There are N."),
    ],
)
def ps4_tied_count(V, D, N, T):
    biases = 9 * D
    norms = 4 * D
    return V * D + T * D + N * (12 * D * D + biases + norms) + 2 * D


_count = ps4_tied_count.entry.exercise.reference
_UNTIED = "Is your count that of a model whose head uses the token embedding again?"


def _used(best_fit, V, T, budget):
    """The parameters of the model that is found: of two pairs with equally many either will do."""
    pair = as_array(best_fit(V, T, budget))
    expect(pair.shape == (2,) and np.all(pair == np.round(pair)), "expected (D, N), two whole "
           f"numbers, got {show(pair)}")
    D, N = (int(i) for i in pair)
    widths, depths = range(8, 257, 8), range(1, 13)
    expect(D in widths and N in depths, f"your answer is ({D}, {N})", (
        "The width comes first, then the blocks: (D, N)." if N in widths and D in depths
        else "D is one of 8, 16, 24, ..., 256, N one of 1, 2, ..., 12."))
    used = _count(V, D, N, T)
    expect(used <= budget, f"for V={V}, T={T} and a budget of {budget:,} you answer ({D}, {N}): that "
           f"has {used:,} parameters", "More than the budget is not allowed. Does your count "
           "agree with tied_count?")
    return used


def _budgets(rng):
    def pick(values):
        return int(rng.choice(values))

    for name, pair, extra in [
        ("a budget of about 100,000", None, 0),
        ("a budget of about a million", None, 1),
        ("a budget that one model meets exactly", (pick(range(40, 120, 16)), pick([3, 4, 5])), 0),
        ("one parameter short of a model", (pick(range(40, 120, 8)), pick([6, 7, 8])), -1),
        ("a wide model", (256, pick([1, 2, 5])), 3),
        ("a deep model", (pick(range(16, 64, 8)), 12), 3),
        ("a small budget", (8, 1), pick([0, 3])),
    ]:
        V, T = int(rng.integers(20, 100)), int(rng.integers(16, 129))
        about = int(rng.integers(900_000, 1_100_000) if extra else rng.integers(9e4, 1.1e5))
        if name == "a small budget":
            extra += V * 8  # so that one model fits, however the head is counted
        yield name, V, T, _count(V, *pair, T) + extra if pair else about


@exercise(
    lesson="ps4",
    expects="a function `best_fit(V, T, budget)`: three whole numbers in, (D, N) out: the width "
    "and the blocks of the model with the most parameters that are not more than the budget",
    not_tested="budgets too small for any model",
    in_words="there are only 32 widths and 12 depths: try all pairs, and keep the one that uses most "
    "of the budget",
    cases=_budgets,
    call=_used,
    slips=[
        ("<= budget", "< budget", "The budget itself is allowed: <=, not <."),
        ("range(1, 13)", "range(1, 12)", "N = 12 is allowed: range(1, 13)."),
        ("range(8, 257, 8)", "range(8, 256, 8)", "D = 256 is allowed: range(8, 257, 8)."),
        ("_count(V, D, N, T)", "_count(V, D, N, T) + V * D", _UNTIED),
        *(("max(fitting, key=count.get)", f"max(fitting{key})", "Neither the largest width that fits nor "
           "the largest depth is always part of the best pair. Compare the counts of all pairs.")
          for key in ("", ", key=lambda pair: pair[::-1]", ", key=math.prod")),
        ("max(fitting, key=count.get)", "min(count, key=lambda pair: abs(count[pair] - budget))",
         "The nearest may be above the budget, and that is not allowed."),
        ("max(fitting, key=count.get)", "min(fitting, key=count.get)", "That is the smallest model. "
         "The one with the most parameters is wanted."),
        ("max(fitting, key=count.get)", "max(fitting, key=count.get)[::-1]", "The width comes first, "
         "then the blocks: (D, N)."),
    ],
)
def ps4_best_fit(V, T, budget):
    count = {(D, N): _count(V, D, N, T) for D in range(8, 257, 8) for N in range(1, 13)}
    fitting = [pair for pair in count if count[pair] <= budget]
    return max(fitting, key=count.get)


# ---- 7. what does the model miss? ---------------------------------------------------------------


def _left_out(rng):
    for num_layers, T, layer, part in [(1, 5, 0, "attention"), (2, 24, 0, "feed_forward"),
                                       (3, 6, 1, "attention"), (3, 1, 2, "feed_forward")]:
        model = random_norms(MiniGPT(7, 12, 3, num_layers, 32, rng=rng), rng)
        model.head.weight.data = rng.normal(size=model.head.weight.shape) / 2
        model.token_embedding.weight.data *= 10
        name = f"without {part.replace('_', '-')} {layer} of {num_layers}, T={T}"
        yield name, model, rng.integers(0, 7, size=T + 1), layer, part


def _number(loss_without, *inputs):
    loss = as_array(loss_without(*inputs))
    return loss.reshape(()) if loss.size == 1 else loss


def _weights_off(model, layer, part):
    half = copy.deepcopy(model)
    block = half.blocks[layer]
    last = block.attention.proj if part == "attention" else block.feed_forward.contract
    last.weight.data = last.weight.data * 0
    return half


_LOOP = "        for i, block in enumerate(model.blocks):\n"
_NEXT = "The target of position t is the *next* id: ids[:-1] go in, ids[1:] are the targets."
_OTHER = "You left the part out of another block: blocks are counted from 0."
_ATTEND = "                x = x + block.attention(block.norm1(x))\n"
_THINK = "                x = x + block.feed_forward(block.norm2(x))\n"
_END = "return cross_entropy_loss(model.head(model.final_norm(x)), ids[1:]).item()"
_MISSING = f'''"attention"):
{_ATTEND}            if (i, part) != (layer, "feed_forward"):
{_THINK}'''


@exercise(
    lesson="ps4",
    expects="a function `loss_without(model, ids, layer, part)`: a MiniGPT, ids (T + 1,), the "
    "number of a block and 'attention' or 'feed_forward' in, the mean loss out",
    not_tested="batches; speed",
    seconds=10.0,
    in_words="embed ids[:-1], go through the blocks in two steps each, x + attention(norm1(x)), then "
    "x + feed_forward(norm2(x)), and leave one step out; final norm, head, loss",
    tol=TOLERANCE,
    cases=_left_out,
    call=_number,
    slips=[
        (_LOOP, _LOOP.replace("model.blocks", "model.blocks, 99"), "That is the loss of the whole "
         "model. One part should add nothing."),
        (_MISSING, _MISSING.replace("\"attention", "\"-").replace("feed_forward\"", "attention\"")
         .replace("\"-", "\"feed_forward"), "You left out the other part of this block."),
        (_LOOP, "        for i, block in zip([layer] * 99, model.blocks):\n", "You left the part out "
         "of every block. Only one block loses it."),
        (_LOOP, f"{_LOOP}            if i == layer:\n                continue\n", "You left out the "
         "whole block. Only one of its two parts is missing."),
        (_LOOP, f"{_LOOP}            if i == layer:\n                break\n", "You stop at this "
         "block. Only one part is missing; the rest goes on."),
        (_LOOP, _LOOP.replace("model.blocks", "model.blocks, 1"), _OTHER),
        (_LOOP, _LOOP.replace("model.blocks", "model.blocks, -1"), _OTHER),
        (_MISSING, _MISSING.replace(_ATTEND, f"{_ATTEND}            else:\n                x = x * 0.0\n")
         + "            else:\n                x = x * 0.0\n", "The stream itself is gone. Without the "
         "part it goes on as it is: x = x."),
        (_MISSING, _MISSING.replace(_ATTEND, f"{_ATTEND}            else:\n                x = x + "
                                    "block.norm1(x)\n")
         + "            else:\n                x = x + block.norm2(x)\n", "The normed copy is still "
         "added. The part reads it, and without the part nothing is added."),
        ("model.final_norm(x)", "x", "The final norm is missing."),
        ("ids[1:]", "ids[:-1]", _NEXT),
        ("embed(ids[:-1])", "embed(ids)", _NEXT),
        ("ids[1:]", "ids", _NEXT),
        ("    with no_grad():", "    model, layer = _weights_off(model, layer, part), -1\n"
         "    with no_grad():", "You set the weights of the part to 0, but its bias still adds "
         "something."),
        (".item()", ".item() / math.log(2)", "That is in bits. The loss here is in nats."),
        (".item()", ".item() * (len(ids) - 1)", "You added the losses up. Take their mean."),
        (_END, f"{_END} - cross_entropy_loss(model(ids[:-1]), ids[1:]).item()", "That is by how much "
         "the loss grows. Return the loss itself."),
        (_END, f"return math.exp({_END.removeprefix('return ')})", "That is the perplexity. Return "
         "the loss itself."),
    ],
)
def ps4_loss_without(model, ids, layer, part):
    with no_grad():
        x = model.embed(ids[:-1])
        for i, block in enumerate(model.blocks):
            if (i, part) != (layer, "attention"):
                x = x + block.attention(block.norm1(x))
            if (i, part) != (layer, "feed_forward"):
                x = x + block.feed_forward(block.norm2(x))
        return cross_entropy_loss(model.head(model.final_norm(x)), ids[1:]).item()


_loss_of = ps4_loss_without.entry.exercise.reference


@check(
    lesson="ps4",
    kind="any",
    expects="your text (20 to 64 characters that the model knows), and the part that the model "
    "misses most on it, such as (0, 'attention')",
)
def ps4_own_text(case, text, most_missed):
    model, tokenizer = load_pretrained()
    with case("a text for the model"):
        expect(isinstance(text, str), f"expected a text, got {show(text)}")
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
               f"expected (block, part), got {show(most_missed)}")
        layer, part = most_missed
        part = str(part).strip().lower().replace("-", "_").replace(" ", "_")
        known = [(i, name) for i in range(len(model.blocks)) for name in PARTS]
        expect((layer, part) in known, f"there is no part {show(most_missed)}",
               f"Blocks are counted from 0, and the parts are called {' and '.join(PARTS)}.")
        ids = np.array(tokenizer.encode(text))
        losses = {pair: _loss_of(model, ids, *pair) for pair in known}
        mine, best = losses[layer, part], max(losses.values())
        expect(best - mine < TOLERANCE, f"{show(most_missed)} is not it", (
            "That is the part whose absence costs least. Which costs most?"
            if mine == min(losses.values()) else "Leave out one part at a time. Without which is "
            "the loss largest?"))
