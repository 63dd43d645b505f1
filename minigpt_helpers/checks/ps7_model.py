"""Checks of the capstone's whole: the block, the model, the debugging checklist.

A block and a model are compared with the formula, computed with the very parts that they hold: so
what is tested is how the parts are put together, and a wrong part costs points once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import Miss, difference, expect, expect_equal
from minigpt_helpers.checks._exercise import known, try_all
from minigpt_helpers.checks._own_parts import (
    Numbers,
    Part,
    clear,
    everything_listed,
    finite,
    get_data,
    get_grad,
    gradients,
    inside,
    is_ours,
    largest,
    set_data,
    stays,
    total,
)
from minigpt_helpers.checks._reference import log_softmax
from minigpt_helpers.checks.ps7_parts import BATCH, begin, causal

TOL = 1e-5


def _found(part: Part, *kinds: type) -> list[list]:
    """The student's own parts in an object, sorted by their class."""
    things = list(inside(part.module, stop=kinds))
    return [[thing for thing in things if isinstance(thing, kind)] for kind in kinds]


def _expect_parts(found: list[list], kinds: tuple, wanted: tuple[int, ...], what: str) -> None:
    for things, kind, many in zip(found, kinds, wanted):
        expect(len(things) == many, (
            f"{what} holds {len(things)} {kind.__name__} in its attributes, and not {many}"
        ), f"Make {many} in __init__ and keep {'it as an attribute' if many == 1 else 'them'}, "
           "each an object of its own. What is made in forward() never learns.")


def _rest(part: Part, parts: list[Part]) -> list:
    """The parameters besides those of the parts, whose own have to be listed."""
    inner = {id(p): p for one in parts for p in one.params}
    listed = set(map(id, part.params))
    missing = total([p for i, p in inner.items() if i not in listed])
    expect(missing == 0, f"{missing} numbers with a gradient are not in parameters()", (
        "What is not in the list is never trained. Collect those of all parts."
    ))
    return [p for p in part.params if id(p) not in inner]


def _made_alike(part: Part, given: np.ndarray, *sizes: int) -> None:
    """A part inside does what one of its class does that is made with these sizes."""
    twin = Part(part.numbers, part.maker, *sizes)
    numbers, others = get_data(part.params), get_data(twin.params)
    same = [data.shape for data in numbers] == [data.shape for data in others]
    if same:
        set_data(twin.params, numbers)
    name = f"{part.maker.__name__}({', '.join(map(str, sizes))})"
    expect(same and not difference(part(given), twin(given), TOL), f"what is inside is no {name}", (
        "Are embed_dim and num_heads handed on as they came?"))


# ---- 6. the block -------------------------------------------------------------------------------


def transformer_block(x, norm1, attention, norm2, feed_forward):
    left = attention(norm1(x))
    middle = x + left
    added = feed_forward(norm2(middle))
    return middle + added


_RESIDUAL = "A residual is missing: x = x + layer(norm(x)), twice."
_NORM = "Both parts read a normalised copy: x + layer(norm(x)). A norm is missing."
_POST = "The norm comes before the part, and nothing is normalised after it: x + layer(norm(x))."
_FROM = "The residual starts from a normalised copy. It starts from x: x + layer(norm(x))."
_SWAPPED = "Attention comes first, then feed-forward."
_BOTH = ("    left = attention(norm1(x))\n    middle = x + left\n"
         "    added = feed_forward(norm2(middle))")
BLOCK = known(
    transformer_block,
    in_words="x = x + attention(norm(x)), then x = x + feed_forward(norm(x)), each with its own norm",
    call=lambda fn, x, block: block(x) if fn is None else fn(x, *block.parts),  # None: the student's
    tol=TOL,
    slips=[
        ("middle = x + left", "middle = left", _RESIDUAL),
        ("return middle + added", "return added", _RESIDUAL),
        ("return middle + added", "return x + added", "The second half adds to what attention has "
         "left, not to the first x."),
        ("norm2(middle)", "norm2(x)", "Feed-forward reads the same x as attention. It reads the sum: "
         "first x = x + attention(norm(x)), then x + feed_forward(norm(x))."),
        ("norm2(middle)", "norm2(left)", "Feed-forward reads only what attention gives. It reads the "
         "sum of x and that."),
        ("norm2(middle)", "middle", _NORM),
        ("attention(norm1(x))", "attention(x)", _NORM),
        ("norm2(middle)", "norm1(middle)", "One norm is used twice, and the other one never. Each half "
         "has its own."),
        ("norm1(x)", "norm2(x)", "One norm is used twice, and the other one never. Each half has its "
         "own."),
        ("attention(norm1(x))", "norm1(attention(x))", _POST),
        ("feed_forward(norm2(middle))", "norm2(feed_forward(middle))", _POST),
        (_BOTH + "\n    return middle + added", "    middle = norm1(x + attention(x))\n"
         "    return norm2(middle + feed_forward(middle))", _POST),
        ("middle = x + left", "middle = norm1(x + left)", _POST),
        ("return middle + added", "return norm2(middle + added)", _POST),
        ("middle = x + left", "middle = norm1(x) + left", _FROM),
        ("return middle + added", "return norm2(middle) + added", _FROM),
        ("feed_forward(norm2(middle))", "0", "Feed-forward is missing."),
        ("left = attention(norm1(x))", "left = 0 * x", "Attention is missing."),
        (_BOTH, "    middle = x + feed_forward(norm2(x))\n    added = attention(norm1(middle))",
         _SWAPPED),
        (_BOTH, "    middle = x + feed_forward(norm1(x))\n    added = attention(norm2(middle))",
         _SWAPPED),
        ("attention(norm1(x))", "attention(norm1(x), causal=False)", "Attention in the block hides the "
         "future: causal=True."),
        ("middle = x + left", "middle = x + x + left", "x is added twice. Does attention add it as "
         "well?"),
        ("return middle + added", "return middle + middle + added", "x is added twice. Does "
         "feed-forward add it as well?"),
    ],
)


@check(
    lesson="ps7",
    expects="a class `TransformerBlock(embed_dim, num_heads)`, made of your LayerNorm, "
    "SelfAttention and FeedForward: x (T, D) in, (T, D) out",
    not_tested=BATCH,
    in_place=True, weighed=True,
)
def ps7_transformer_block(
    case, TransformerBlock, LayerNorm, SelfAttention, FeedForward, to_array, from_array
):
    numbers = begin(case, to_array, from_array, TransformerBlock, 4, 1)
    if numbers is None:
        return
    rng, kinds, made = case.rng, (LayerNorm, SelfAttention, FeedForward), []
    with case("(T, D) in, (T, D) out", essential=True):
        for T, D, H in [(3, 4, 1), (1, 4, 2), (4, 6, 3)]:
            got = Part(numbers, TransformerBlock, D, H)(rng.normal(size=(T, D)))
            expect_equal(list(got.shape), [T, D], "the shape of the result")
    if case.missed:
        return
    with case("two norms, attention and feed-forward", essential=True):
        for D, H in [(4, 1), (6, 2)]:
            block = Part(numbers, TransformerBlock, D, H)
            found = _found(block, *kinds)
            _expect_parts(found, kinds, (2, 1, 1), "the block")
            (one, two), (attention,), (forward,) = (
                [Part(numbers, type(t), module=t) for t in things] for things in found)
            extra = total(_rest(block, [one, two, attention, forward]))
            expect(extra == 0, f"the block has {extra} numbers in parameters() besides those of "
                   "its parts", "The two norms, attention and feed-forward are all that it needs.")
            block.parts = [one, attention, two, forward]
            x = rng.normal(size=(3, D))
            block.randomise()
            _made_alike(attention, x, D, H)
            if difference(block(x), transformer_block(x, *block.parts), TOL):
                other = [two, attention, one, forward]
                if not difference(block(x), transformer_block(x, *other), TOL):
                    block.parts = other
            made.append((block, D))
    if case.missed:
        return
    halves = replace(BLOCK, cases=lambda rng: [
        ("two halves, each added to x", rng.normal(size=(T, D)), block)
        for (block, D), T in itertools.product(made, (1, 4))])
    try_all(halves, case, None, essential=True)
    block = made[0][0]
    with case("the future changes nothing", essential=True):
        x = rng.normal(size=(5, 4))
        for keep in (1, 3, 4):
            causal(block, x, keep, lambda rows: rows + rng.normal(size=rows.shape))
    if case.missed:
        return
    everything_listed(numbers, TransformerBlock, 4, 1)
    stays(numbers, block, rng.normal(size=(3, 4)))
    gradients(numbers, block, rng.normal(size=(3, 4)))


# ---- 7. the model -------------------------------------------------------------------------------


def mini_gpt(ids, tokens, positions, blocks, norm):
    places = range(len(ids))
    x = tokens(ids) + positions(places)
    for block in blocks:
        x = block(x)
    return norm(x)


_ONCE = "Every block reads what the one before has left, each once: x = block(x)."
_PLACES = "Position t takes row t, counted from 0 at the beginning, whatever character is there."
MODEL = known(
    mini_gpt,
    in_words="x = token plus position embedding; x = block(x) for each block; head(norm(x))",
    call=lambda fn, ids, model: model.composed(fn, ids),
    tol=TOL,
    slips=[
        (" + positions(places)", "", "The position embedding is not used."),
        ("tokens(ids) + ", "", "The token embedding is not used."),
        ("tokens(ids) + positions", "tokens(ids) * positions", "The two embeddings are added."),
        ("range(len(ids))", "range(len(ids))[::-1]", _PLACES),
        ("range(len(ids))", "[0] * len(ids)", _PLACES),
        ("range(len(ids))", "ids", _PLACES),
        ("range(len(ids))", "[i + 1 for i in range(len(ids))]", _PLACES),
        ("range(len(ids))", "[i + 4 - len(ids) for i in range(len(ids))]", _PLACES),
        ("x = block(x)", "x = x + block(x)", "The block has added its results to x already: "
         "x = block(x)."),
        ("x = block(x)", "x = block(block(x))", _ONCE),
        ("x = block(x)", "x = block(x + positions(places))", "The positions are added once, before the "
         "first block."),
        ("x = block(x)", "x = block(x) + positions(places)", "The positions are added once, before the "
         "first block."),
        ("in blocks", "in blocks[::-1]", "The blocks come in the order of the list."),
        ("in blocks", "in blocks[:1]", "Only the first block is used: one after the other, "
         "x = block(x)."),
        ("in blocks", "in [blocks[0]] * len(blocks)", "The first block is used again and again. Each "
         "has its turn."),
        ("in blocks", "in blocks[-1:]", "Only the last block is used. Each reads what the one before "
         "has left: x = block(x)."),
        ("in blocks", "in blocks[:-1]", "The last block is not used."),
        ("in blocks", "in blocks[1:]", "The first block is not used."),
        ("x = block(x)", "block(x)", "The blocks do not count: x = block(x)."),
        ("x = block(x)", "x = block(norm(x))", "Each block normalises by itself. The final norm comes "
         "after all of them."),
        ("x = block(x)", "x = norm(block(x))", "Each block normalises by itself. The final norm comes "
         "once, after all of them."),
        ("return norm(x)", "return x", "The final norm is missing: it stands between the last block "
         "and the head."),
        ("return norm(x)", "return norm(norm(x))", "The final norm is used once."),
        ("return norm(x)", "return x + norm(x)", "The head reads norm(x), and nothing is added to it."),
        ("    for block", "    x = norm(x)\n    for block", "Nothing is normalised before the blocks: "
         "the final norm comes after them."),
    ],
)


class Model(Part):
    """A MiniGPT of the student's, its parts, and what its head reads."""

    def __init__(self, numbers: Numbers, kinds: tuple, maker: type, *sizes: int) -> None:
        super().__init__(numbers, maker, *sizes)
        self.V, self.D, heads, layers, self.S = sizes
        found = _found(self, *kinds)
        _expect_parts(found, kinds, (2, layers, 1), "the model")
        tables, blocks, (norm,) = (
            [Part(numbers, type(t), module=t) for t in things] for things in found)
        _expect_sizes(tables, norm, self.V, self.S, self.D)
        self.randomise()
        for block in blocks:
            _made_alike(block, numbers.case.rng.normal(size=(3, self.D)), self.D, heads)
        tokens, positions = sorted(tables, key=lambda part: part.count() != self.V * self.D)
        self.tokens = tokens
        self.parts = [tokens.rows, positions.rows, blocks, norm]
        expect(len({id(p) for block in blocks for p in block.params}) == sum(
            len(block.params) for block in blocks), "blocks share parameters", (
            "Make num_layers blocks in a loop, each with its own."))
        self.head = _rest(self, [*tables, *blocks, norm])
        self.tied = not self.head
        self.weights: list[tuple[int, int]] = []  # (parameter, entry) that make one logit
        self.column: int | None = None
        expect(total(self.head) in (0, self.V * self.D, self.V * self.D + self.V), (
            f"besides the embeddings, the blocks and the final norm the model has "
            f"{total(self.head)} numbers, and not V D = {self.V * self.D} or V D + V"
        ), "The head is one linear layer from D numbers to V logits, with a bias or without.")

    def read_by_head(self, ids: list[int]) -> np.ndarray:
        """What the head reads, (T, D): a logit, where the head's numbers are 0 but one, which is 1."""
        if self.tied:
            return self.rows(ids)
        starts = get_data(self.head)
        zeros = [np.zeros(start.shape) for start in starts]
        set_data(self.head, zeros)
        base = self.rows(ids)
        expect(not base.any(), "with a head of zeros the logits are not 0", (
            "The head comes last: a linear layer to V logits. The softmax is taken in the loss and "
            "in generation, and the final norm stands before the head."))
        if not self.weights:
            self._find_weights(ids, starts, zeros)
        read = [self._with_one(k, i, zeros[k], ids)[:, self.column] for k, i in self.weights]
        set_data(self.head, starts)
        return np.stack(read, axis=1)

    def _with_one(self, k: int, i: int, zeros: np.ndarray, ids: list[int]) -> np.ndarray:
        one = zeros.copy()
        one.flat[i] = 1.0
        set_data([self.head[k]], [one])
        got = self.rows(ids)
        set_data([self.head[k]], [zeros])
        return got

    def _find_weights(self, ids: list[int], starts: list, zeros: list) -> None:
        """The head's D weights of one logit, in their order, and that the head is linear."""
        sums = 0.0
        for k, i in ((k, i) for k, start in enumerate(starts) for i in range(start.size)):
            got = self._with_one(k, i, zeros[k], ids)
            sums = sums + starts[k].flat[i] * got
            column = int(np.abs(got).sum(axis=0).argmax())
            self.column = column if self.column is None else self.column
            if column == self.column and not np.allclose(got[:, column], 1.0, atol=1e-9):
                self.weights.append((k, i))
        set_data(self.head, starts)
        expect(np.allclose(sums, self.rows(ids), atol=1e-4 * largest(sums)), (
            "the logits are not what a linear layer makes"
        ), "The head comes last, without an activation or a norm after it.")
        expect(len(self.weights) == self.D, f"the head reads {len(self.weights)} numbers of a "
               f"position, and not D = {self.D}", "The head is a linear layer from D to V.")
        set_data(self.head, zeros)

    def composed(self, fn: Callable | None, ids: list[int]) -> np.ndarray:
        """What the head reads by the student's model (fn None), or by a formula."""
        if fn is None:
            return self.read_by_head(ids)
        features = fn(ids, *self.parts)
        return features @ self.tokens.rows(range(self.V)).T if self.tied else features


def _expect_sizes(tables: list[Part], norm: Part, V: int, S: int, D: int) -> None:
    rows = sorted(part.count() / D for part in tables)
    expect(rows == sorted([V, S]), (
        f"for vocab_size={V} and max_seq_len={S} the two tables have {rows[0]:g} and {rows[1]:g} "
        "rows"
    ), "One Embedding has a row for each character, the other one for each position.")
    expect(norm.count() in (D, 2 * D), f"the norm has {norm.count()} numbers, for rows of D={D}", (
        "The final norm stands before the head, where rows have D numbers."))


@check(
    lesson="ps7",
    expects="a class `MiniGPT(vocab_size, embed_dim, num_heads, num_layers, max_seq_len)`, made of "
    "two of your Embedding, num_layers TransformerBlock, one LayerNorm and a linear layer: called "
    "with a list of T ids it gives logits (T, V); `.max_seq_len` is kept",
    not_tested=BATCH + "; more ids than max_seq_len",
    in_place=True, weighed=True,
)
def ps7_mini_gpt(case, MiniGPT, Embedding, TransformerBlock, LayerNorm, to_array, from_array):
    sizes, kinds = (3, 4, 1, 2, 4), (Embedding, TransformerBlock, LayerNorm)
    numbers = begin(case, to_array, from_array, MiniGPT, *sizes)
    if numbers is None:
        return
    rng = case.rng
    with case("T ids in, logits (T, V) out", essential=True):
        for V, D, H, N, S, T in [(7, 4, 1, 1, 5, 5), (5, 4, 2, 2, 3, 1), (3, 6, 1, 1, 6, 4)]:
            got = Part(numbers, MiniGPT, V, D, H, N, S).rows(rng.integers(0, V, size=T))
            expect_equal(list(got.shape), [T, V], "the shape of the logits", hint=(
                "One row for each position, in it one logit for each character."
            ))
    if case.missed:
        return
    with case("max_seq_len is kept"):
        kept = getattr(Part(numbers, MiniGPT, *sizes).module, "max_seq_len", "not there")
        expect(kept == 4, f"model.max_seq_len is {kept}", (
            "Keep it: self.max_seq_len = max_seq_len. generate() needs it."))
    made = []
    with case("embeddings, blocks, a norm, a head", essential=True):
        made = [Model(numbers, kinds, MiniGPT, *s) for s in (sizes, (3, 4, 2, 3, 4))]
    if not made:
        return
    order = replace(MODEL, cases=lambda rng: [
        ("embeddings, blocks, norm, head in this order",
         rng.integers(0, min(model.S, model.V), size=T).tolist(), model)
        for model, T in [(made[0], 4), (made[0], 3), (made[1], 2), (made[0], 1)]])
    try_all(order, case, None, essential=True)
    with case("the future changes nothing", essential=True):
        ids = rng.integers(0, 3, size=4).tolist()
        for keep in (1, 2, 3):
            causal(made[0], ids, keep, lambda rows: (rows + rng.integers(1, 3)) % 3)
    with case("an untrained model is unsure", weight=2):
        losses = [-log_softmax(Part(numbers, MiniGPT, 7, 16, 1, 1, 2).rows([0, 6])).mean()
                  for _ in range(2)]  # over all targets
        first = float(np.mean(losses))
        expect(first < math.log(7) + 1, (
            f"its loss is {first:.2f}, and that of a uniform guess {math.log(7):.2f}"
        ), "Start with smaller random weights, above all in the head.")
    if not case.missed:
        everything_listed(numbers, MiniGPT, *sizes)
        gradients(numbers, made[0], [1, 2, 0, 1])


# ---- 9. the checklist ---------------------------------------------------------------------------


@check(
    lesson="ps7",
    expects="your MiniGPT and your cross_entropy_loss, with numbers that have gradients",
    not_tested="a text that the model has not seen",
    in_place=True, weighed=True,
)
def ps7_checklist(case, MiniGPT, cross_entropy_loss, to_array, from_array):
    V, T = 4, 4
    sizes = (V, 4, 1, 1, T)
    numbers = begin(case, to_array, from_array, MiniGPT, *sizes)
    if is_ours(cross_entropy_loss):
        raise Miss("that is the package's own cross_entropy_loss", ["Write it yourself."])
    if numbers is None:
        return
    ids = case.rng.permutation([0, 1, 2, 3, case.rng.integers(0, 4)]).tolist()
    x, y = ids[:-1], ids[1:]
    part = Part(numbers, MiniGPT, *sizes)

    def loss_now():
        out = part.run(list(x))
        case.next_call()
        return cross_entropy_loss(out, list(y))

    def number(loss):
        got = numbers.read(loss, "your loss")
        expect(got.size == 1, f"the loss is not one number, its shape is {got.shape}")
        return float(got.reshape(-1)[0])

    with case("len(logits) == T and len(logits[0]) == V", essential=True):
        expect_equal(list(finite(part.rows(x)).shape), [T, V], "the shape of the logits")
    if case.missed:
        return
    everything_listed(numbers, MiniGPT, *sizes)
    with case("the mask blocks the future", essential=True):
        moved = Part(numbers, MiniGPT, *sizes).randomise()  # a head may begin at 0
        causal(moved, x, 2, lambda rows: (rows + 1) % V)
    with case("the first loss is about ln V", essential=True):
        chances = log_softmax(part.rows(x))
        got, expected = number(loss_now()), -chances[np.arange(T), y].mean()
        expect(abs(got - expected) < 1e-3, f"your loss says {got:.3f}; by the logits and the "
               f"targets it is {expected:.3f}", "Run the check of cross_entropy_loss.")
        first = -chances.mean()  # the mean over all targets
        expect(first < math.log(V) + 1.5, f"it is {first:.2f}, ln V is {math.log(V):.2f}", (
            "Start with smaller random weights, above all in the head."
        ))
    with case("gradients are finite, and none is zero everywhere", essential=True):
        starts, seen = get_data(part.params), [False] * len(part.params)
        for _ in range(3):  # where first weights are 0, others wait for their gradient
            clear(part.params)
            loss = loss_now()
            expect(hasattr(loss, "backward"), "the loss has no backward()", (
                "Do not leave the graph on the way from the parameters to the loss: no `.data`."
            ))
            case.next_call()
            loss.backward()
            grads = get_grad(part.params)
            expect(all(np.isfinite(grad).all() for grad in grads), "a gradient is NaN or infinite")
            seen = [was or grad.any() for was, grad in zip(seen, grads)]
            set_data(part.params, [data - 0.1 * grad for data, grad in zip(
                get_data(part.params), grads)])
        set_data(part.params, starts)
        idle = sum(data.size for data, had in zip(starts, seen) if data.size > 4 and not had)
        lone = [had for data, had in zip(starts, seen) if data.size == 1]
        idle += len(lone) * (bool(lone) and not any(lone))
        expect(idle == 0, f"{idle} numbers in the parameters get no gradient", (
            "A part that is not used, or a graph that was cut by `.data`?"
        ))
    with case("the loss falls on a few characters", essential=True):
        before, after = number(loss_now()), _after_training(case, part, loss_now, number)
        expect(after < 0.5 * before, (
            f"after up to 150 steps on {T} characters: {before:.2f} to {after:.2f}"
        ), "A model that cannot learn four characters by heart has a bug in its loss, its "
           "gradients or its list of parameters.")


def _after_training(case, part: Part, loss_now: Callable, number: Callable) -> float:
    """The loss after up to 150 steps of Adam, which does not mind how large the weights are."""
    means, squares = ([np.zeros(data.shape) for data in get_data(part.params)] for _ in range(2))
    first = None
    for step in range(1, 151):
        clear(part.params)
        loss = loss_now()
        first = number(loss) if first is None else first
        if number(loss) < 0.4 * first:
            break
        case.next_call()
        loss.backward()
        rate = 0.05 * math.sqrt(1 - 0.99**step) / (1 - 0.9**step)
        after = []
        for data, grad, mean, square in zip(
                get_data(part.params), get_grad(part.params), means, squares):
            mean += 0.1 * (grad - mean)
            square += 0.01 * (grad * grad - square)
            after.append(data - rate * mean / (np.sqrt(square) + 1e-8))
        set_data(part.params, after)
    return number(loss_now())
