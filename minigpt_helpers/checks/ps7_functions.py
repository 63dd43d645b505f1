"""Checks of the capstone's two functions: the loss, and generation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minigpt_helpers.checks import _student
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import (
    Miss,
    NotDone,
    as_array,
    expect,
    expect_close,
    expect_equal,
    show,
)
from minigpt_helpers.checks._exercise import known, try_all
from minigpt_helpers.checks._own_parts import (
    Numbers,
    clear,
    flat,
    get_grad,
    is_ours,
    no_overflow,
    with_numbers,
)
from minigpt_helpers.checks._reference import log_softmax, softmax

_OWN = "Write it yourself: that is the exercise."


# ---- 4. the loss --------------------------------------------------------------------------------


def loss(z, y):
    chances = log_softmax(z)
    return -np.mean([row[t] for row, t in zip(chances, y)])


def _loss_cases(rng):
    for T, V in [(4, 6), (3, 3), (5, 2)]:
        yield "random logits", rng.normal(size=(T, V)) * 2, rng.integers(0, V, size=T).tolist()
    yield "equal logits", np.zeros((2, 5)), [1, 4]
    z = np.array([[30.0, 0.0, -1.0], [0.5, 1.0, -25.0]])
    yield "a sure mistake costs its whole price", z, [1, 2]


_SHIFTED = "The targets come shifted already. Row t of the logits belongs to targets[t]."
_ADDED = (
    "Nothing is added inside the logarithm, and nothing is cut off: where the largest logit is "
    "subtracted first, it is not needed."
)
_LARGE = (
    "exp of a large number overflows. Subtract the largest logit of the row first: the softmax "
    "stays the same."
)
_LOG = (
    "The probability is too small to be kept, and the logarithm of 0 is infinite. Do not take the "
    "logarithm of the softmax: the log probability is z - log(sum(exp(z))), after the largest "
    "logit was subtracted."
)
_PICK = "row[t] for row, t in zip(chances, y)"
LOSS = known(
    loss,
    cases=_loss_cases,
    in_words="for each row minus the logarithm of the softmax at the target, then the mean of them",
    tol=1e-5,
    slips=[
        ("-np.mean", "-np.sum", "That is the sum. Take the mean over the positions."),
        ("return -np", "return np", "The minus sign is missing: a loss is not negative."),
        ("-np.mean", "-1 / np.log(2) * np.mean", "That is in bits. Take the natural logarithm."),
        ("-np.mean", "-1 / np.log(10) * np.mean", "Take the natural logarithm, not that to base "
         "10."),
        ("-np.mean(", "-1 / z.shape[1] * np.sum(", "You divide by V. The mean runs over the T "
         "positions."),
        ("-np.mean(", "-1 / z.size * np.sum(", "You divide by T V. The mean runs over the T "
         "positions."),
        ("log_softmax(z)", "log_softmax(z.T).T", "The softmax runs down the columns. It runs along "
         "each row, over the V characters."),
        ("log_softmax(z)", "log_softmax(z.ravel()).reshape(z.shape)", "The softmax runs over all "
         "rows together. It runs along each row, over the V characters."),
        ("log_softmax(z)", "z", "The softmax is missing: logits are not probabilities."),
        ("log_softmax(z)", "softmax(z)", "The logarithm is missing."),
        ("log_softmax(z)", "log_softmax(softmax(z))", "The softmax is taken twice."),
        ("return -np.mean([row[t] for row, t in zip(chances, y)])",
         "return -np.log(np.mean([np.exp(row[t]) for row, t in zip(chances, y)]))",
         "First the logarithm, then the mean."),
        ("zip(chances, y)", "zip(chances, y[1:])", _SHIFTED),
        ("zip(chances, y)", "zip(chances[1:], y)", _SHIFTED),
        (_PICK, "row[t] for row, t in zip(chances[-1:], y[-1:])", "That is the loss at the last "
         "position. Take the mean over all."),
        (_PICK, "row[t] for row, t in zip(chances[:1], y[:1])", "That is the loss at the first "
         "position. Take the mean over all: is the `return` inside the loop?"),
        (_PICK, "row[t] for row, t in zip(chances[:-1], y[:-1])", "The last position is left out."),
        (f"[{_PICK}]", "chances", "The mean runs over all characters. Only that of the target "
         "counts."),
        (f"[{_PICK}]", "np.array([row[t] for row, t in zip(chances, y)]) ** 2", "That is a square. "
         "Take minus the logarithm."),
        ("np.mean([row[t] for row, t in zip(chances, y)])", "(softmax(z) * chances).sum(-1).mean()",
         "That is the entropy of the model. Only the logarithm at the target counts."),
        ("log_softmax(z)", "np.log(np.clip(softmax(z), 1e-12, 1))", _ADDED),
        ("log_softmax(z)", "np.log(np.clip(softmax(z), 1e-9, 1))", _ADDED),
        *(("log_softmax(z)", f"np.log(softmax(z) + {eps})", _ADDED)
          for eps in ("1e-15", "1e-12", "1e-10", "1e-9", "1e-8", "1e-7", "1e-6", "1e-5", "1e-4")),
    ],
)


@check(
    lesson="ps7",
    expects="a function `cross_entropy_loss(logits, targets)`: logits (T, V) and a list of T ids "
    "in, one number with backward() out",
    not_tested="a batch axis; bad inputs; speed",
    in_place=True, weighed=True,
)
def ps7_cross_entropy_loss(case, cross_entropy_loss, to_array, from_array):
    if is_ours(cross_entropy_loss):
        raise Miss("that is the package's own cross_entropy_loss", [_OWN])
    numbers = Numbers(case, to_array, from_array)
    if not numbers.fit():
        return

    def run(z, y):
        case.next_call()
        return cross_entropy_loss(z, list(y))

    def value(z, y):
        got = numbers.read(run(numbers.give(z), y), "your loss")
        expect(got.size == 1, f"expected one number, got shape {got.shape}", (
            "One loss for each position: take their mean."
        ))
        return float(got.reshape(-1)[0])

    with case("one number comes out", essential=True):
        value(np.zeros((2, 3)), [0, 2])
    if case.missed:
        return
    try_all(LOSS, case, value, essential=True)
    _at_the_edge(case, value)
    with case("the inputs stay as they are"):
        z, y = case.rng.normal(size=(3, 4)), [2, 0, 2]
        given, targets = numbers.give(z), list(y)
        cross_entropy_loss(given, targets)
        expect(targets == y and np.allclose(numbers.read(given), z, atol=1e-6), (
            "your function changes its inputs"), "Compute new numbers, work on a copy.")
    with case("gradients: softmax minus one-hot", essential=True):
        z, y = case.rng.normal(size=(3, 4)), [2, 0, 2]
        given = numbers.give(z)
        logits = list(flat(given))
        expect(len(with_numbers(logits)) == len(logits), "`from_array` gives numbers without gradients", (
            "What the model gives are numbers with a gradient: Tensors or Values."))
        clear(logits)
        result = run(given, y)
        expect(hasattr(result, "backward"), "the loss is a plain number, it has no backward()", (
            "Compute with the numbers themselves, not with their `.data`. Only the largest logit "
            "of a row may come from `.data`: subtracting it changes nothing."
        ))
        result.backward()
        expected = (softmax(z) - np.eye(4)[y]) / 3
        got = np.concatenate([grad.ravel() for grad in get_grad(logits)]).reshape(3, 4)
        expect_close(got, expected, "the gradient of the logits", hint=(
            "Every logit takes part: the target's in the numerator, all of them in the sum."
        ))


def _at_the_edge(case, value) -> None:
    near = np.array([[1000.0, 1001.0, 999.0], [-1000.0, -1001.0, -1000.5]])
    gap = np.array([[1000.0, 0.0, 1.0], [0.5, -0.5, 0.0]])
    with case("one position"):
        expect_close(value(near[:1] / 1000, [2]), loss(near[:1] / 1000, [2]))
    for name, z, y, hint in [("logits near 1000", near, [1, 2], _LARGE),
                             ("a gap of 1000", gap, [1, 0], _LOG)]:
        with case(name, essential=True):
            with no_overflow("", hint):
                got = value(z, y)
            expect(np.isfinite(got), f"the loss is {got}", hint)
            expect_close(got, loss(z, y), tol=1e-4, hint=_ADDED if hint is _LOG else hint)


# ---- 8. generation ------------------------------------------------------------------------------


class _Known:
    """A model whose logits are known: row t depends on the last three of the ids up to t.

    Where no row depends on the ids, the logits are made once for each length.
    """

    def __init__(
        self, table: np.ndarray, max_seq_len: int, numbers: Numbers, keep: bool = False
    ) -> None:
        self.table, self.max_seq_len, self._numbers = table, max_seq_len, numbers
        self._kept: dict[int, object] | None = {} if keep else None
        self.vocab_size = table.shape[-1]

    def logits(self, ids: list[int]) -> np.ndarray:
        window = [0, 0, 0, *ids]
        return np.array([self.table[tuple(window[t + 1 : t + 4])] for t in range(len(ids))])

    def __call__(self, ids: object) -> object:
        one_text = np.asarray(ids)
        if one_text.ndim != 1 or one_text.size == 0 or one_text.dtype.kind not in "iu":
            raise ValueError("the model takes one list of ids, and at least one id")
        if one_text.size > self.max_seq_len:
            raise _TooLong(f"{one_text.size} ids are more than max_seq_len={self.max_seq_len}")
        if self._kept is None:
            return self._numbers.give(self.logits(one_text.tolist()))
        if one_text.size not in self._kept:
            self._kept[one_text.size] = self._numbers.give(self.logits(one_text.tolist()))
        return self._kept[one_text.size]

    forward = __call__

    def were_changed(self) -> bool:
        """Has the student's code written into logits that were kept? They are let go: a grader looks
        at all that is held, with each call."""
        if self._kept is None:
            return False
        kept, self._kept = self._kept, {}
        return any(
            not np.allclose(self._numbers.read(logits), self.logits([0] * size), atol=1e-4)
            for size, logits in kept.items()
        )


class _TooLong(ValueError):
    """The model was asked with more ids than it takes."""


class Sampler:
    """The student's `generate`, called with what its head takes."""

    def __init__(self, numbers: Numbers, generate: Callable) -> None:
        self.numbers, self.generate = numbers, generate
        self.takes = {name: self._has(name, value) for name, value in [
            ("rng", np.random.default_rng(0)), ("top_k", 2)]}

    def _has(self, name: str, value: object) -> bool:
        model = _Known(np.zeros((5, 5, 5, 5)), 9, self.numbers)
        try:
            self.numbers.case.next_call()
            self.generate(model, [1], 1, **{name: value})
        except TypeError as error:
            return f"argument '{name}'" not in str(error)
        except Exception:
            return True
        return True

    def __call__(
        self, table: np.ndarray, size: int, start: list[int], n: int, *,
        seed: int = 0, global_seed: int = 0, **options: object,
    ) -> list[int]:
        """The ids. Generators are seeded: the one that is handed over, and the global ones."""
        same = (table == table[0, 0, 0]).all()
        for keep in [True, False] if same else [False]:
            given, model = list(start), _Known(table, size, self.numbers, keep)
            _student.seed_globals(global_seed)
            if self.takes["rng"]:
                options["rng"] = np.random.default_rng(seed)
            self.numbers.case.next_call()
            got = self.generate(model, given, n, **options)
            if not model.were_changed():
                break
        expect(given == list(start), "your function changes the list of start ids", (
            "Begin with a copy: ids = list(start_ids)."
        ))
        if got is None:
            raise NotDone("your function returns None: is a `return` missing?")
        ids = as_array(got)
        expect(ids.ndim == 1 and np.array_equal(ids, np.trunc(ids)), (
            f"expected one list of whole numbers, got {show(got)}"
        ), "Return the ids: the start and the new ones.")
        return ids.astype(int).tolist()


def tail(size: int) -> Callable[[list], list]:
    return lambda ids: ids[-size:]


def greedy(table, start, n, crop, row=-1, kept=list):
    ids = list(start)
    for _ in range(n):
        ids = kept(ids)
        logits = _Known(table, 99, None).logits(crop(ids))
        ids.append(int(logits[row].argmax()))
    return ids


@check(
    lesson="ps7",
    expects="a function `generate(model, start_ids, max_new_tokens, temperature=1.0, top_k=None, "
    "rng=None)` that gives the start ids and the new ones in one list",
    not_tested="bad inputs; speed; top_k, if your function has none",
    in_place=True, weighed=True,
)
def ps7_generate(case, generate, to_array, from_array):
    if is_ours(generate):
        raise Miss("that is the package's own generate", [_OWN])
    numbers = Numbers(case, to_array, from_array)
    if not numbers.fit():
        return
    sampler = Sampler(numbers, generate)
    table = case.rng.normal(size=(5, 5, 5, 5))
    with case("the start, then the new ids", essential=True):
        for start, n in [([3], 4), ([1, 4, 2], 1), ([2, 2], 0)]:
            got = sampler(table, 9, start, n)
            expect(got[: len(start)] == start and len(got) == len(start) + n, (
                f"from {len(start)} start ids and {n} new ones came {len(got)} ids: {got}"
            ), "The result is start + new, and the loop runs max_new_tokens times.")
            expect(set(got) <= set(range(5)), f"there are ids outside of 0 to 4: {got}")
    with case("temperature 0 takes the most likely", essential=True):
        for start, n in [([1, 4, 2], 6), ([3], 5)]:
            with no_overflow("at temperature 0 ", "Nothing can be divided by 0. At temperature 0 "
                             "take the id of the largest logit."):
                got = sampler(table, 9, start, n, temperature=0)
            expect_equal(got, greedy(table, start, n, tail(9)), f"from {start}", mistakes=[
                (lambda: greedy(table, start, n, tail(9), row=0), "You read the first row. The "
                 "last one says what follows."),
                (lambda: greedy(table, start, n, tail(1)), "You give the model only the last id. "
                 "It reads all of them."),
                (lambda: start + greedy(table, start, 1, tail(9))[-1:] * n, "The new id is not "
                 "appended before the model is asked again."),
                (lambda: greedy(-table, start, n, tail(9)), "That is the least likely one."),
            ], hint="The largest logit of the last row; append its id; ask again.")
    with case("equal logits: the lowest id"):
        got = sampler(np.zeros((5, 5, 5, 5)), 9, [3], 3, temperature=0)
        expect_equal(got, [3, 0, 0, 0], hint="Of equal logits the first one counts.")
    _window(case, sampler, table)
    z = case.rng.permutation([2.0, 1.2, 0.4, -0.6, -2.0])
    _draws(case, sampler, z)
    _low_temperature(case, sampler, z)
    if sampler.takes["top_k"]:
        _top_k(case, sampler, z)


def _window(case, sampler, table) -> None:
    with case("the model sees its last max_seq_len ids", essential=True):
        for size, start, n in [
            (2, [1, 4, 2], 6), (3, [3], 8), (1, [2, 0], 5), (3, [4, 1, 0, 2], 4)
        ]:
            try:
                got = sampler(table, size, start, n, temperature=0)
            except ValueError as error:
                if "more than max_seq_len" not in str(error):
                    raise
                raise Miss(str(error), ["Crop before you ask: ids[-model.max_seq_len:]."]) from None
            expect_equal(got, greedy(table, start, n, tail(size)), (
                f"max_seq_len={size}, from {start}"), mistakes=[
                (lambda: greedy(table, start, n, lambda ids: ids[:size]), "The window is the "
                 "beginning of the text. The model should read its end: ids[-max_seq_len:]."),
                (lambda: greedy(table, start, n, tail(max(1, size - 1))), "The window is one id "
                 "too short."),
                *((lambda cut=cut: greedy(table, start[-size:], n, tail(size), kept=cut),
                   "Crop only what the model reads. The result holds all ids.")
                  for cut in (tail(99), tail(size))),
            ], hint="The last max_seq_len ids, and of the logits the last row.")


def _low_temperature(case, sampler, z) -> None:
    with case("a temperature of 0.001, and logits near 1000", essential=True):
        best = int(z.argmax())
        for level, T in [(0.0, 0.001), (1000.0, 1.0), (-1000.0, 0.001)]:
            table = np.broadcast_to(z * (1 if T < 1 else 50) + level, (5, 5, 5, 5))
            hint = ("exp overflows, or only zeros are left. Subtract the largest logit before exp: "
                    "the softmax stays the same.")
            with no_overflow(f"for logits near {level:.0f} and temperature {T:g} ", hint):
                got = sampler(table, 2, [0], 8, temperature=T)
            expect_equal(got[1:], [best] * 8, (
                f"logits near {level:.0f}, temperature {T:g}: here one id is as good as certain"
            ), hint=hint)
        n, expected = 1500, softmax(z)
        share = _drawn(sampler, z * 0.001, n, temperature=0.001)
        expect(_agree(share, expected, n), (
            f"for logits that lie close together, at temperature 0.001, the shares of {n} ids are "
            f"{share.round(2).tolist()}, expected about {expected.round(2).tolist()}"
        ), "softmax(logits / temperature): nothing is added to the temperature, and the logits are "
           "divided before the softmax.")


def _agree(share: np.ndarray, expected: np.ndarray, n: int) -> bool:
    spread = 5 * np.sqrt(expected * (1 - expected) / n) + 1e-3
    return bool((np.abs(share - expected) < spread).all())


def _closest(share: np.ndarray, others: list, n: int) -> list[str]:
    """The hint of the known mistake that fits these shares best, if one does."""
    fits = [(float(((share - wrong) ** 2 / (wrong + 1e-9)).sum()), text)
            for wrong, text in others if _agree(share, wrong, n)]
    return [min(fits)[1]] if fits else []


def _drawn(sampler, z, n, seed=1, **options) -> np.ndarray:
    table = np.broadcast_to(z, (5, 5, 5, 5))
    got = sampler(table, 2, [0], n, seed=seed, global_seed=seed, **options)
    return np.bincount(got[1:], minlength=5)[:5] / n


def _draws(case, sampler, z) -> None:
    n = 1500
    for T in (1.0, 0.5, 2.0):
        with case(f"drawn by chance, temperature {T:g}", essential=True):
            share, expected = _drawn(sampler, z, n, temperature=T), softmax(z / T)
            others = [
                (softmax(z * T), "You multiply by the temperature. Divide the logits by it."),
                *[(softmax(z), "The temperature is not used.")] * (T != 1),
                (np.full(5, 0.2), "All ids are drawn equally often. Draw with the probabilities."),
                (np.eye(5)[z.argmax()], "It is always the most likely. Draw by chance."),
                (softmax(softmax(z) / T), "The softmax is taken twice."),
                (softmax(softmax(z / T)), "The softmax is taken twice."),
                (softmax(z / T**2), "The temperature is divided by twice."),
                (softmax(-z / T), "The signs are turned: the least likely comes most often."),
            ]
            if not _agree(share, expected, n):
                raise Miss((
                    f"of {n} ids the shares are {share.round(2).tolist()}, expected about "
                    f"{expected.round(2).tolist()}"
                ), [*_closest(share, others, n),
                    "softmax(logits / temperature), and a draw with these weights."])
    with case("the default temperature is 1"):
        share = _drawn(sampler, z, n)
        expect(_agree(share, softmax(z), n), "without a temperature the shares are others")
    with case("the same generator, the same text", essential=True):
        own, table = sampler.takes["rng"], np.broadcast_to(z, (5, 5, 5, 5))
        one, same, other = (
            sampler(table, 2, [0], 30, seed=seed, global_seed=place if own else seed)
            for place, seed in enumerate([5, 5, 6])
        )
        expect_equal(same, one, "two runs with the same seed", hint=(
            "Draw with the generator that was given, `rng`. A function without `rng` draws with a "
            "global one."
        ))
        expect(other != one, "another seed gives the same text", (
            "Do not make a generator with a fixed seed inside."
        ))


def _top_k(case, sampler, z) -> None:
    def top(k):
        return np.where(z >= np.sort(z)[-k], z, -1e9) if 0 < k <= 5 else z

    n = 300
    with case("top_k keeps the k most likely", weight=3):
        for k in (1, 2, 3, 9):
            share = _drawn(sampler, z, n, top_k=k)
            everything = "top_k is not used."
            if k == 1:  # `[-0:]` is everything, too
                everything = "With 1 all are kept: top_k is not used, or one too few are kept."
            others = [
                (softmax(z), everything),
                (softmax(top(k - 1)), everything if k == 1 else "One too few are kept."),
                (softmax(top(k + 1)), "One too many are kept."),
                (softmax(np.where(z <= np.sort(z)[min(k, 5) - 1], z, -1e9)), "The smallest are "
                 "kept. Keep the largest."),
            ]
            if not _agree(share, softmax(top(k)), n):
                raise Miss(f"with top_k={k}, of {n} ids the shares are {share.round(2).tolist()}", [
                    *_closest(share, others, n), "All but the k largest logits become minus infinity; then the "
                    "softmax. More than V means all."
                ])
