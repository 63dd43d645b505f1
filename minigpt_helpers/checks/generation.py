"""Checks of lesson 6: from logits to a text, what is forgotten, and what it costs."""

from __future__ import annotations

import numpy as np

from minigpt_helpers.checks._ask import prediction
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import as_array, expect
from minigpt_helpers.checks._exercise import exercise
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


def _warm(rng):
    for V, T in [(3, 1.0), (5, 0.5), (8, 2.0), (32, 10.0)]:
        yield f"V={V}, temperature {T:g}", rng.normal(size=V) * 3, T
    yield "temperature 0.001", np.array([1.0, 3.0, 2.9, 2.8, 2.0]), 0.001
    yield "logits near 1000", rng.normal(size=4) + 1000, 1.0
    yield "logits near -1000", np.array([-1000.0, -1001.0, -999.5]), 0.5


@exercise(
    lesson=6,
    expects="a function `softmax_with_temperature(logits, temperature)`: an array (V,) and a "
    "number above 0 in, an array (V,) of probabilities out",
    not_tested="a temperature below 0.001",
    in_words="first divide, then the softmax",
    cases=_warm,
    slips=[
        ("logits / temperature", "logits * temperature", "You multiply by the temperature. Then a "
         "high one makes the favourite stronger. Divide."),
        ("logits / temperature", "logits", "The temperature is missing."),
        ("return exps / exps.sum()", "return exps / exps.sum() / temperature", "You divide the "
         "probabilities. Divide the logits, before the softmax: the result has to sum to 1."),
        ("return exps / exps.sum()", "return exps", "Divide by the sum."),
        ("z - z.max()", "z", "exp overflows. Subtract the largest of the divided logits first."),
        ("z.max()", "logits.max()", "You subtract the largest logit before it is divided: use the "
         "largest of the divided ones."),
        ("z.max()", "np.abs(z).max()", "Subtract the largest, not the largest size: of very low "
         "logits every exp becomes 0."),
        ("exps = np.exp(z - z.max())", "exps = np.exp(logits - logits.max())\n"
         "    exps = (exps / exps.sum()) ** (1 / temperature)", "A probability to the power of "
         "1/T is 0 when T is small. Divide the logits instead."),
        ("np.exp(z - z.max())", "z", "The exponential is missing."),
    ],
)
def softmax_with_temperature(logits, temperature):
    z = logits / temperature
    exps = np.exp(z - z.max())
    return exps / exps.sum()


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

_DRAW = 'np.searchsorted(np.cumsum(probs), darts, side="right")'


@exercise(
    lesson=6,
    expects="a function `draw_many(probs, darts)`: an array (V,) and an array (N,) of numbers in "
    "[0, 1) in, an array (N,) of ids out",
    not_tested="speed",
    in_words="for each dart, the first piece whose right end is larger than the dart",
    cases=lambda rng: [
        *((f"V={V}, {N} darts", rng.dirichlet(np.ones(V)), rng.random(N))
          for V, N in [(3, 12), (2, 9), (8, 20), (32, 100)]),
        ("darts exactly on the ends", np.array([0.25, 0.0, 0.5, 0.25]), np.array([0.0, 0.25, 0.75])),
        ("a first piece of length 0", np.array([0.0, 1.0]), np.array([0.0, 0.5])),
    ],
    slips=[
        ("right", "left", "A dart exactly on a right end belongs to the next piece: side='right'. "
         "Else a piece of length 0 can be hit."),
        ("np.cumsum(probs)", "probs", "Search in the cumulative sums, not in the probabilities."),
        ("np.cumsum(probs)", "np.cumsum(np.sort(probs))", "The pieces keep the order of their ids: "
         "do not sort."),
        ('side="right")', 'side="right") - 1', "Each id is one too small. The first piece is "
         "number 0."),
        ('side="right")', 'side="right") + 1', "Each id is one too large. The first piece is "
         "number 0."),
        ("np.cumsum(probs), darts", "darts, np.cumsum(probs)", "The two are swapped: search in the "
         "right ends, for the darts."),
        (_DRAW, "np.full(len(darts), np.argmax(probs))", "That is greedy: always the most likely."),
    ],
)
def draw_many(probs, darts):
    return np.searchsorted(np.cumsum(probs), darts, side="right")


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
            "What must two logits have in common so that a threshold cannot separate them?"
            if len(set(logits.tolist())) == len(logits) else
            "Equal logits are the idea. They have to be equal where the threshold is."
        ))


# ---- the loop and the window --------------------------------------------------------------------


def _windows(rng):
    model = MiniGPT(7, 8, 2, 2, 6, rng=rng)
    model.head.weight.data *= 50  # an untrained model is unsure: make its answers differ
    for length in [1, 4, 6, 7, 15]:
        yield f"{length} ids, max_seq_len 6", model, rng.integers(0, 7, size=length).tolist()


@exercise(
    lesson=6,
    expects="a function `next_logits(model, ids)`: a MiniGPT and a list of ids in, an array (V,) "
    "out, the logits of the token that follows",
    not_tested="an empty list",
    in_words="the last max_seq_len ids; then the last row",
    cases=_windows,
    given=("ids[-model.max_seq_len :]\n    return model(window).data[-1]",
           "ids[: model.max_seq_len]\n    return model(window).data[0]"),
    slips=[
        ("[-model.max_seq_len :]", "[: model.max_seq_len]", "The window is the beginning of the "
         "text. The model should read its end."),
        (".data[-1]", ".data[0]", "That is the first position's row. It has seen one character "
         "only."),
        (".data[-1]", ".data[-2]", "That is the last row but one: what it expects is in the text "
         "already."),
        (".data[-1]", ".data", "These are the rows of all positions. Take one."),
        ("[-model.max_seq_len :]", "[-model.max_seq_len : -1]", "The last character is cut off."),
        ("[-model.max_seq_len :]", "[-model.max_seq_len + 1 :]", "The window is shorter than the "
         "model could read."),
        ("[-model.max_seq_len :]", "", "The text is longer than the model can read: take its last "
         "max_seq_len ids."),
        (".data[-1]", ".data[-1].argmax()", "That is the most likely id. The logits are V "
         "numbers."),
    ],
)
def next_logits(model, ids):
    window = ids[-model.max_seq_len :]
    return model(window).data[-1]


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
        (36, "Do not forget the 10 characters at the start: they are in the window, too."),
        (55, "That is for how many it does not."),
        (100, "At first all fits into the window."),
    ],
)


# ---- cost and surprise --------------------------------------------------------------------------


@exercise(
    lesson=6,
    expects="a function `cached_multiplications(T, D)`: two whole numbers in, a whole number out",
    not_tested="the head, the embeddings, the norms",
    in_words="one position for each step: 12 D² in the matrices, and 2 t D for the pairs",
    cases=lambda rng: [(f"T={T}, D={D}", T, D) for T, D in [(1, 4), (2, 3), (10, 8), (64, 64)]],
    slips=[
        ("12 * D * D + 2 * t * D", "t * (12 * D * D + 2 * t * D)", "That is the work without a "
         "cache: every step computes all positions."),
        ("range(1, T + 1)", "[T]", "That is the last step alone. Add up all T steps."),
        ("range(1, T + 1)", "range(T)", "A position also looks at itself: in step t there are t "
         "keys, and t runs from 1 to T."),
        ("range(1, T + 1)", "range(1, T)", "The last step is missing: range stops before its end."),
        ("2 * t * D", "t * D", "The pairs cost twice: once for the scores, once for the weighted "
         "values."),
        ("12 * D * D", "4 * D * D", "The feed-forward net is missing: 8 D² for each position."),
        ("12 * D * D", "8 * D * D", "The four matrices of attention are missing: 4 D² for each "
         "position."),
        ("12 * D * D + ", "", "The matrices are missing: 12 D² for each position."),
        (" + 2 * t * D", "", "The pairs are missing: 2 t D in step t."),
        ("2 * t * D", "2 * T * D", "Not every step looks at T positions: step t looks at t."),
    ],
)
def cached_multiplications(T, D):
    total = 0
    for t in range(1, T + 1):
        total += 12 * D * D + 2 * t * D
    return total


@exercise(
    lesson=6,
    expects="a function `bits_per_character(probs)`: an array (N,) of probabilities above 0 in, "
    "one number out",
    not_tested="a probability of 0",
    cases=lambda rng: [
        *((f"{N} characters", rng.uniform(0.01, 1, size=N)) for N in [1, 2, 5, 50, 2000]),
        ("a certain model", np.ones(3)),
    ],
    slips=[
        ("np.log2(", "np.log(", "That is in nats. For bits take log2, or divide by ln 2."),
        ("-np.log2", "np.log2", "The minus sign is missing: a surprise is not negative."),
        (".mean()", ".sum()", "That is the sum over all characters. Per character is the mean."),
        ("(probs).mean()", "(probs.mean())", "First the logarithm of each probability, then the "
         "mean."),
        ("np.log2(", "np.log10(", "That is log10. Bits have base 2."),
        ("np.log2(probs).mean()", "np.log(probs).mean() * np.log(2)", "Nats become bits when you "
         "divide by ln 2."),
        ("-np.log2(probs).mean()", "-(probs * np.log2(probs)).sum()", "That is the formula of the "
         "entropy. Here each number is the probability of a character that came: all count "
         "alike."),
        (".mean()", "", "That is one number for each character. Take the mean."),
        ("-np.log2(probs).mean()", "-np.log2(np.prod(probs)) / len(probs)", "The product of so many "
         "probabilities is 0 to the computer. Add up their logarithms."),
        ("-np.log2(probs).mean()", "2 ** -np.log2(probs).mean()", "That is the perplexity."),
    ],
)
def bits_per_character(probs):
    return -np.log2(probs).mean()


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
