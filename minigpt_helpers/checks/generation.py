"""Checks of lesson 6: from logits to a text, what is forgotten, and what it costs."""

from __future__ import annotations

import numpy as np

from minigpt_helpers.autograd import no_grad
from minigpt_helpers.checks._ask import prediction
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import as_array, expect, expect_close, expect_same
from minigpt_helpers.checks._reference import softmax
from minigpt_helpers.generation import next_token_probs
from minigpt_helpers.nn import MiniGPT


def _entropy(probs: np.ndarray) -> float:
    possible = probs[probs > 0]
    return float(-(possible * np.log(possible)).sum())


# ---- temperature --------------------------------------------------------------------------------

prediction(
    "predict_temperature_two",
    lesson=6,
    answer=[1 / 7, 2 / 7, 4 / 7],
    tol=0.0055,
    expects="three numbers: the probabilities of the logits ln 1, ln 4 and ln 16 at T = 2",
    hint="exp of half a logarithm is a square root. Then divide each root by the sum of the three.",
    near=[
        ([1 / 21, 4 / 21, 16 / 21], "Those are the probabilities at T = 1."),
        ([1 / 273, 16 / 273, 256 / 273], "You multiplied the logits by 2. Divide them."),
        ([1, 2, 4], "Those are the three roots. Divide each by their sum."),
        ([1 / 42, 4 / 42, 16 / 42], "The logits are divided, not the probabilities: these do not "
         "sum to 1."),
    ],
)


@check(
    lesson=6,
    expects="a function `softmax_with_temperature(logits, temperature)`: an array (V,) and a "
    "number above 0 in, an array (V,) of probabilities out",
    not_tested="a temperature of 0",
)
def softmax_with_temperature(case, softmax_with_temperature):
    def overflows(z, T):
        with np.errstate(all="ignore"):
            return np.exp(z / T) / np.exp(z / T).sum()

    mistakes = [
        (lambda z, T: softmax(z * T), "You multiply by the temperature. Then a high one makes "
         "the favourite stronger. Divide."),
        (lambda z, T: softmax(z), "The temperature is missing."),
        (lambda z, T: softmax(z) / T, "You divide the probabilities. Divide the logits, before "
         "the softmax: the result has to sum to 1."),
        (lambda z, T: np.exp(z / T - (z / T).max()), "Divide by the sum."),
        (overflows, "exp overflows. Subtract the largest of the divided logits first."),
        (lambda z, T: np.exp(z / T - z.max()) / np.exp(z / T - z.max()).sum(), "You subtract the "
         "largest logit before it is divided: use the largest of the divided ones."),
    ]
    for V, T in [(3, 1.0), (5, 0.5), (8, 2.0), (32, 10.0)]:
        logits = case.rng.normal(size=V) * 3
        with case(f"V={V}, temperature {T:g}"):
            expect_same(softmax_with_temperature, lambda logits, temperature: softmax(
                logits / temperature
            ), logits, T, mistakes=mistakes, hint="First divide, then the softmax.")
    with case("temperature 0.001"):
        logits = np.array([1.0, 3.0, 2.0])
        expect_same(softmax_with_temperature, lambda logits, temperature: softmax(
            logits / temperature
        ), logits, 0.001, mistakes=mistakes, hint="Subtract the largest of the divided logits "
            "first.")


@check(
    lesson=6,
    kind="any",
    expects="a number, the temperature at which the logits give an entropy of 1 nat, within 0.05; "
    "and the logits (V,)",
)
def one_nat(case, temperature, logits):
    temperature, logits = as_array(temperature), as_array(logits)
    with case("an entropy of 1 nat"):
        expect(temperature.ndim == 0 and np.isfinite(temperature) and temperature > 0, (
            f"expected one number above 0, got {temperature.tolist()}"
        ), "A temperature is one number. At 0 the entropy is 0.")
        got = _entropy(next_token_probs(logits, float(temperature)))
        expect(abs(got - 1) <= 0.05, f"at temperature {float(temperature):g} it is {got:.2f} nats",
               "Too much: turn the temperature down." if got > 1 else
               "Too little: turn the temperature up.")


# ---- drawing ------------------------------------------------------------------------------------


@check(
    lesson=6,
    expects="a function `draw_many(probs, darts)`: an array (V,) and an array (N,) of numbers in "
    "[0, 1) in, an array (N,) of ids out",
    not_tested="speed",
)
def draw_many(case, draw_many):
    def ids(probs, darts):
        return np.searchsorted(np.cumsum(probs), darts, side="right")

    mistakes = [
        (lambda p, u: np.searchsorted(np.cumsum(p), u, side="left"), "A dart exactly on a right "
         "end belongs to the next piece: side='right'. Else a piece of length 0 can be hit."),
        (lambda p, u: np.searchsorted(p, u, side="right"), "Search in the cumulative sums, not in "
         "the probabilities."),
        (lambda p, u: np.searchsorted(p, u, side="left"), "Search in the cumulative sums, not in "
         "the probabilities."),
        (lambda p, u: ids(p, u) - 1, "Each id is one too small. The first piece is number 0."),
        (lambda p, u: ids(p, u) + 1, "Each id is one too large. The first piece is number 0."),
        (lambda p, u: np.searchsorted(u, np.cumsum(p), side="right"), "The two are swapped: "
         "search in the right ends, for the darts."),
        (lambda p, u: np.full(len(u), np.argmax(p)), "That is greedy: always the likeliest."),
    ]
    hint = "The first piece whose right end lies beyond the dart."
    for V, N in [(3, 5), (2, 1), (8, 20), (32, 100)]:
        probs, darts = case.rng.dirichlet(np.ones(V)), case.rng.random(N)
        with case(f"V={V}, {N} darts"):
            expect_same(draw_many, ids, probs, darts, mistakes=mistakes, hint=hint)
    with case("darts exactly on the ends"):
        probs, darts = np.array([0.25, 0.0, 0.5, 0.25]), np.array([0.0, 0.25, 0.75])
        expect_same(draw_many, ids, probs, darts, mistakes=mistakes, hint=hint)
    with case("a first piece of length 0"):
        probs, darts = np.array([0.0, 1.0]), np.array([0.0, 0.5])
        expect_same(draw_many, ids, probs, darts, mistakes=mistakes, hint=hint)


@check(
    lesson=6,
    kind="any",
    expects="five finite logits of which the threshold keeps more than two for k = 2",
)
def too_many_kept(case, logits):
    logits = as_array(logits)
    with case("five finite numbers"):
        expect(logits.shape == (5,), f"expected shape (5,), got {logits.shape}")
        expect(np.isfinite(logits).all(), "your logits hold an infinity or a NaN", (
            "Ordinary numbers are enough."
        ))
    with case("more than two are kept"):
        threshold = np.sort(logits)[-2:][0]
        kept = int((logits >= threshold).sum())
        expect(kept > 2, f"the threshold is {threshold:g}, and {kept} logits reach it", (
            "What must two logits have in common so that a threshold cannot part them?"
            if len(set(logits.tolist())) == len(logits) else
            "Equal logits are the idea. They have to be equal where the threshold lies."
        ))


# ---- the loop and the window --------------------------------------------------------------------


@check(
    lesson=6,
    expects="a function `next_logits(model, ids)`: a MiniGPT and a list of ids in, an array (V,) "
    "out, the logits of the token that follows",
    not_tested="an empty list",
)
def next_logits(case, next_logits):
    model = MiniGPT(7, 8, 2, 2, 6, rng=case.rng)
    model.head.weight.data *= 50  # an untrained model is unsure: make its answers differ

    def logits(ids, row):
        with no_grad():
            return model(ids).data[row]

    for length in [1, 4, 6, 7, 15]:
        ids = case.rng.integers(0, 7, size=length).tolist()
        last, first = ids[-6:], ids[:6]
        with case(f"{length} ids, max_seq_len 6"):
            got = next_logits(model, ids)
            got = getattr(got, "data", got) if not isinstance(got, np.ndarray) else got
            expect_close(got, logits(last, -1), hint="The last max_seq_len ids; then the last row.",
                         mistakes=[
                (lambda: logits(first, 0), "Two mistakes: the window is the beginning of the text "
                 "and not its end, and the row is the first one."),
                (lambda: logits(last, 0), "That is the first position's row. It has seen one "
                 "character only."),
                (lambda: logits(first, -1), "The window is the beginning of the text. The model "
                 "should read its end."),
                (lambda: logits(last[:-1], -1), "The last character is cut off."),
                (lambda: logits(last, -2), "That is the last row but one: what it expects is in "
                 "the text already."),
                (lambda: logits(last[1:], -1), "The window is shorter than the model could read."),
                (lambda: logits(last, slice(None)), "These are the rows of all positions. Take "
                 "one."),
            ])


prediction(
    "predict_forgetful_steps",
    lesson=6,
    answer=45,
    expects="one number: for how many of the 100 new characters the crop throws something away, "
    "with 10 characters at the start and max_seq_len 64",
    hint="Before the first new character there are 10, before the last one 109. For how many of "
    "these lengths does the text not fit into 64?",
    near=[
        (46, "Nearly: when the last character is appended, nothing is asked any more."),
        (44, "Nearly: before the last new character there are 109, not 108."),
        (36, "Do not forget the 10 characters at the start: they fill the window, too."),
        (55, "That is for how many it does not."),
        (100, "In the beginning all fits into the window."),
    ],
)


# ---- cost and surprise --------------------------------------------------------------------------


@check(
    lesson=6,
    expects="a function `cached_multiplications(T, D)`: two whole numbers in, a whole number out",
    not_tested="the head, the embeddings, the norms",
)
def cached_multiplications(case, cached_multiplications):
    def count(T, D):
        return sum(12 * D * D + 2 * t * D for t in range(1, T + 1))

    mistakes = [
        (lambda T, D: sum(12 * t * D * D + 2 * t * t * D for t in range(1, T + 1)), "That is the "
         "work without a cache: every step computes all positions."),
        (lambda T, D: 12 * D * D + 2 * T * D, "That is the last step alone. Add up all T steps."),
        (lambda T, D: sum(12 * D * D + 2 * t * D for t in range(T)), "A position also looks at "
         "itself: in step t there are t keys, and t runs from 1 to T."),
        (lambda T, D: sum(12 * D * D + 2 * t * D for t in range(1, T)), "The last step is "
         "missing: range stops before its end."),
        (lambda T, D: sum(12 * D * D + t * D for t in range(1, T + 1)), "The pairs cost twice: "
         "once for the scores, once for the weighted values."),
        (lambda T, D: sum(4 * D * D + 2 * t * D for t in range(1, T + 1)), "The feed-forward net "
         "is missing: 8 D² for each position."),
        (lambda T, D: T * 12 * D * D, "The pairs are missing: 2 t D in step t."),
        (lambda T, D: T * (12 * D * D + 2 * T * D), "Not every step looks at T positions: step t "
         "looks at t."),
    ]
    for T, D in [(1, 4), (2, 3), (10, 8), (64, 64)]:
        with case(f"T={T}, D={D}"):
            expect_same(cached_multiplications, count, T, D, mistakes=mistakes, hint=(
                "One position for each step: 12 D² in the matrices, and 2 t D for the pairs."
            ))


@check(
    lesson=6,
    expects="a function `bits_per_character(probs)`: an array (N,) of probabilities above 0 in, "
    "one number out",
    not_tested="a probability of 0",
)
def bits_per_character(case, bits_per_character):
    mistakes = [
        (lambda p: -np.log(p).mean(), "That is in nats. For bits take log2, or divide by ln 2."),
        (lambda p: np.log2(p).mean(), "The minus sign is missing: a surprise is not negative."),
        (lambda p: -np.log2(p).sum(), "That is the sum over all characters. Per character is the "
         "mean."),
        (lambda p: -np.log2(p.mean()), "First the logarithm of each probability, then the mean."),
        (lambda p: -np.log10(p).mean(), "That is log10. Bits have base 2."),
        (lambda p: -np.log(p).mean() * np.log(2), "Nats become bits when you divide by ln 2."),
        (lambda p: -(p * np.log2(p)).sum(), "That is the formula of the entropy. Here each number "
         "is the probability of a character that came: all count alike."),
        (lambda p: -np.log2(p), "That is one number for each character. Take the mean."),
    ]
    for N in [1, 2, 5, 50]:
        probs = case.rng.uniform(0.01, 1, size=N)
        with case(f"{N} characters"):
            expect_same(bits_per_character, lambda probs: -np.log2(probs).mean(), probs,
                        mistakes=mistakes, hint="The mean of minus log2 of p.")
    with case("a certain model"):
        expect_same(bits_per_character, lambda probs: 0.0, np.ones(3), hint="No surprise: 0 bits.")


# ---- attention ----------------------------------------------------------------------------------

prediction(
    "predict_previous_head",
    lesson=6,
    answer=[0, 3],
    expects="two numbers, [layer, head], both counted from 0, for the shipped model",
    hint="Go through all eight heads in the viewer. The map of this head has one bright line right "
    "below its diagonal.",
    near=[
        ([3, 0], "The layer comes first."),
        ([1, 4], "Layers and heads are counted from 0."),
        ([1, 3], "Its weights are spread out. Look for one bright line."),
        ([1, 0], "It does so for some characters. One head does it nearly everywhere."),
        ([0, 1], "That one looks two back: it is the head of question 2."),
    ],
)
