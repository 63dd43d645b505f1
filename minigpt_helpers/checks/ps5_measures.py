"""Checks of problem set 5, to measure: two losses, sums as text, compression."""

from __future__ import annotations

import bz2
import lzma
import math
import zlib

import numpy as np

from minigpt_helpers.autograd import no_grad
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import as_array, expect, show
from minigpt_helpers.checks._exercise import exercise
from minigpt_helpers.checks._reference import log_softmax
from minigpt_helpers.nn import MiniGPT
from minigpt_helpers.text import CharTokenizer, bigram_loss, bigram_probs

# ---- 5: a counterexample ------------------------------------------------------------------------

MARGIN, LEAST = 0.1, 20


@check(
    lesson="ps5",
    kind="any",
    expects="two texts and two numbers: the first smoothing has the lower loss on train_text and "
    "the higher one on val_text",
)
def ps5_lower_is_worse(case, train_text, val_text, first, second):
    with case("the first table is better on train_text and worse on val_text"):
        texts = {"train_text": train_text, "val_text": val_text}
        for name, text in texts.items():
            expect(isinstance(text, str), f"{name} is {show(text)}, not a string")
            expect(len(text) >= LEAST, f"{name} has {len(text)} characters, too few")
        rates = [as_array(number) for number in (first, second)]
        for name, rate in zip(("first", "second"), rates):
            expect(rate.ndim == 0 and np.isfinite(rate) and rate > 0, (
                f"the {name} smoothing is not one number above 0"
            ), "A smoothing of 0 would give chances of 0, and a loss without end.")
        expect(sorted(train_text) == sorted(val_text), "the two texts have other characters, or "
               "the same ones in other numbers", "Otherwise it would be no wonder. Build the "
               "second text by putting the characters of the first in another order.")
        expect(train_text != val_text, "the two texts are the same",
               "Then both losses are the same, too.")
        tokenizer = CharTokenizer.from_text(train_text)
        ids = [tokenizer.encode(text) for text in texts.values()]
        tables = [bigram_probs(ids[0], tokenizer.vocab_size, float(rate)) for rate in rates]
        (one, other), (one_val, other_val) = (
            [bigram_loss(table, data) for table in tables] for data in ids
        )
        said = "on {} the first table has a loss of {:.2f}, the second {:.2f}"
        expect(other - one >= MARGIN, said.format("train_text", one, other), (
            "You have it the other way round: swap the two smoothings." if one > other + MARGIN
            else "Which smoothing keeps closest to what was counted?"
        ))
        expect(one_val - other_val >= MARGIN, said.format("val_text", one_val, other_val), (
            "A table that is nearly sure of what it has seen pays for each pair it has not seen. "
            "Which order of the characters brings new pairs?"
        ))


# ---- 6: sums as text ----------------------------------------------------------------------------


class _Writers:
    """Stand-ins for a model: each takes a prompt such as `07+35=` and writes on."""

    def __init__(self, rng):
        self.lucky = {(a, b): rng.random() < 0.5 for a in range(100) for b in range(100)}

    @staticmethod
    def read(prompt):
        a, plus, b, end = prompt[:2], prompt[2:3], prompt[3:5], prompt[5:]
        expect(plus == "+" and end == "=" and a.isdecimal() and b.isdecimal(), (
            f"the model was asked {prompt!r}; it knows questions such as '07+35=' only"
        ), "Two digits for each number, and the sign = at the end, with nothing after it.")
        return int(a), int(b)

    def sure(self, prompt):
        return f"{sum(self.read(prompt)):03d}\n"

    def goes_on(self, prompt):
        return f"{sum(self.read(prompt)):03d}\n11+11=0"

    def stops_short(self, prompt):
        return f"{sum(self.read(prompt)):03d}"

    def half(self, prompt):
        a, b = self.read(prompt)
        return f"{a + b + (0 if self.lucky[a, b] else 10):03d}\n"

    def short(self, prompt):
        a, b = self.read(prompt)
        return f"{a + b:03d}"[: 3 if self.lucky[a, b] else 2] + "\n"

    def long(self, prompt):
        a, b = self.read(prompt)
        return f"{a + b:03d}" + ("" if self.lucky[a, b] else "0") + "\n99+99"

    def no_zeros(self, prompt):
        a, b = self.read(prompt)
        return f"{a + b:03d}\n" if self.lucky[a, b] else f"{a + b}\n00"

    def late(self, prompt):
        a, b = self.read(prompt)
        return f"{a + b:03d}\n" if self.lucky[a, b] else f"00{(a + 1) % 10}\n{a + b:03d}\n"

    def spaced(self, prompt):
        a, b = self.read(prompt)
        form = "{}\n" if self.lucky[a, b] else ["\n{}\n", " {}\n", "{} \n"][(a + b) % 3]
        return form.format(f"{a + b:03d}")

    def nonsense(self, prompt):
        a, b = self.read(prompt)
        return f"{a + b:03d}\n" if self.lucky[a, b] else ["", "+=\n", "1=3\n", "\n"][(a + b) % 4]


def _sums(rng):
    writers = _Writers(rng)
    for name, writer, count in [
        ("a model that is always right", writers.sure, 7),
        ("a model that writes on", writers.goes_on, 5),
        ("an answer without a line break", writers.stops_short, 4),
        ("some answers wrong in one digit", writers.half, 40),
        ("some answers with a digit too few", writers.short, 40),
        ("some answers with a digit too many", writers.long, 40),
        ("some answers without leading zeros", writers.no_zeros, 40),
        ("the right answer one line too late", writers.late, 40),
        ("a blank or a line break beside some answers", writers.spaced, 60),
        ("no numbers at all", writers.nonsense, 40),
    ]:
        sums = [(int(a), int(b)) for a, b in rng.integers(100, size=(count, 2))]
        yield name, writer, [*sums, sums[0], (3, 4)]


_RIGHT = 'text.split("\\n")[0] == want'
_FIRST = "A model writes as much as it is asked for. Only what stands before the first line break is "
_FIRST += "its answer."
_THREE = "Compare as text: 42 is not 042. Three digits were asked for."
_BLANK = "Three digits and nothing else: a blank before or after them counts, too."


@exercise(
    lesson="ps5",
    expects="a function `exact_match(complete, sums)`: a function that continues a text, and a "
    "list of pairs of numbers; a share from 0 to 1 out",
    not_tested="an empty list of sums; speed",
    in_words="the answer is what stands before the first line break; compare it with the sum, "
    "written with three digits",
    cases=_sums,
    slips=[
        (_RIGHT, 'text == want + "\\n"', _FIRST),
        (_RIGHT, "text == want", _FIRST),
        (_RIGHT, 'text.rstrip("\\n") == want', _FIRST),
        (_RIGHT, "text.strip() == want", _FIRST),
        (_RIGHT, "text[:3] == want", "What follows the third digit counts, too: 0420 is not 042. "
         "The answer ends at the line break."),
        (_RIGHT, 'text[:4] == want + "\\n"', "An answer may also end with the text, without a line "
         "break."),
        (_RIGHT, 'text.strip().split("\\n")[0] == want', "What begins with a line break is an empty "
         "answer, and a blank is more than three digits. Take away nothing but what follows the "
         "line break."),
        (_RIGHT, 'text.split("\\n")[0].strip() == want', _BLANK),
        (_RIGHT, "want in text", "The answer must be the right one. It is not enough that the right "
         "one stands somewhere in the text."),
        (_RIGHT, 'want in text.split("\\n")', "Only the first line is the answer. Here the right one "
         "may stand in a later line."),
        (_RIGHT, 'want in text.split("\\n")[0]', "The answer must be the three digits alone, not "
         "something that holds them."),
        (_RIGHT, 'text.split("\\n")[0].isdecimal() and int(text.split("\\n")[0]) == int(want)',
         _THREE),
        (_RIGHT, 'int(text.split("\\n")[0]) == int(want)', f"{_THREE} And a model may write no "
         "number at all."),
        ('want = f"{a + b:03d}"', "want = str(a + b)", "The right answer has three digits: 042, not "
         "42."),
        (_RIGHT, 'np.mean([x == y for x, y in zip(text.split("\\n")[0].ljust(3), want)])', "You count "
         "single digits. An answer is right as a whole or it is wrong."),
        (" / len(sums)", "", "That is how many are right. Divide by how many there are."),
        (" / len(sums)", " / len(sums) * 100", "That is in percent. Give the share, from 0 to 1."),
        ("right / len", "1 - right / len", "That is the share of wrong answers."),
        ("right = 0", "right, sums = 0, list(set(sums))", "A sum that is asked twice counts twice."),
        ("{a:02d}+{b:02d}=", "{a}+{b}=", "Ask with two digits for each number: 07+35=."),
        ('{b:02d}=', "{b:02d}", "The question ends with the sign =, as the lines do that the model "
         "was trained on."),
    ],
)
def ps5_exact_match(complete, sums):
    right = 0
    for a, b in sums:
        text = complete(f"{a:02d}+{b:02d}=")
        want = f"{a + b:03d}"
        right += text.split("\n")[0] == want
    return right / len(sums)


# ---- 7: compression -----------------------------------------------------------------------------


def _programs(rng):
    letters = np.array(list("abcdefgh \n"))
    return [
        ("zlib", "".join(rng.choice(letters, size=300)), lambda raw: zlib.compress(raw, 9)),
        ("bz2", "the rain falls, " * 20, bz2.compress),
        ("letters of two bytes", "".join(rng.choice(list("äöüß"), size=80)), lzma.compress),
        ("one character", "x", zlib.compress),
        ("signs of four bytes", "🎲🂡" * int(rng.integers(5, 20)), bz2.compress),
        ("a program that keeps every third byte", "abcd" * 9 + "é", lambda raw: raw[::3]),
    ]


_BITS = "8 * len(compress(raw)) / len(text)"


@exercise(
    lesson="ps5",
    expects="a function `bits_by_program(text, compress)`: a string and a function from bytes to "
    "bytes in, a number out",
    not_tested="an empty text",
    in_words="the text as bytes, compressed; 8 bits a byte; for each character",
    cases=_programs,
    slips=[
        ("8 * ", "", "A byte has 8 bits."),
        ("len(text)", "len(raw)", "You divide by the bytes. A letter such as ä has two bytes, and "
         "is one character."),
        (_BITS, "len(compress(raw)) / len(raw)", "That is how small it gets, in bytes for a byte. "
         "Asked are bits for a character."),
        (_BITS, "len(text) / (8 * len(compress(raw)))", "The fraction is upside down: bits for each "
         "character."),
        (_BITS, "len(raw) / len(compress(raw))", "That is how many times smaller it gets. Asked are "
         "bits for a character."),
        (" / len(text)", "", "That is the whole text. Divide by its number of characters."),
        ("compress(raw)", "raw", "Nothing is compressed."),
        ("compress(raw)", "zlib.compress(raw)", "You call zlib itself. Use the `compress` that you "
         "are given."),
        ('"utf-8"', '"latin-1"', "The bytes of the text are those of UTF-8: text.encode(\"utf-8\")."),
        ('"utf-8"', '"utf-16"', "The bytes of the text are those of UTF-8: text.encode(\"utf-8\")."),
        ('text.encode("utf-8")', "text", "A program compresses bytes, not characters: "
         "text.encode(\"utf-8\") first."),
        ("8 * len(compress(raw))", "len(compress(raw)) / math.log(2)", "A byte is 8 bits; the "
         "logarithm has no place here."),
    ],
)
def ps5_bits_by_program(text, compress):
    raw = text.encode("utf-8")
    return 8 * len(compress(raw)) / len(text)


def _blocks(rng):
    model = MiniGPT(6, 8, 2, 1, 5, rng=rng)
    model.head.weight.data *= 60  # an untrained model is unsure: make its answers differ
    for N in [7, 11, 23, 6, 5, 2, 1]:
        name = f"{N} character{'s' * (N > 1)}, blocks of 5"
        yield name, model, rng.integers(model.vocab_size, size=N).tolist()


_EACH_BLOCK = """    for start in range(0, len(ids) - 1, T):
        targets = ids[start + 1 : start + T + 1]
        with no_grad():
            rows = log_softmax(model(ids[start : start + len(targets)]).data)
        nats -= rows[np.arange(len(targets)), targets].sum()
"""
_FULL = _EACH_BLOCK.replace("len(ids) - 1, T", "len(ids) - T, T")
_SELF = _EACH_BLOCK.replace("len(ids) - 1, T", "len(ids), T").replace(
    "start + 1 : start + T + 1", "start : start + T")
_SLIDING = """    for i in range(1, len(ids)):
        with no_grad():
            rows = log_softmax(model(ids[max(0, i - T) : i]).data)
        nats -= rows[-1, ids[i]]
"""
_MEANS = """    means = []
    for start in range(0, len(ids) - 1, T):
        targets = ids[start + 1 : start + T + 1]
        with no_grad():
            rows = log_softmax(model(ids[start : start + len(targets)]).data)
        means.append(-rows[np.arange(len(targets)), targets].mean())
"""
_END = "    return nats / len(ids) / math.log(2)"
_NOBODY = "Nobody foresees it: it costs log2 V bits."


@exercise(
    lesson="ps5",
    expects="a function `bits_by_model(model, ids)`: a MiniGPT and a list of ids in, a number out",
    not_tested="an empty list; speed",
    seconds=10.0,
    in_words="log2 V for the first character; for the others minus log2 of the probability that the "
    "model gave them; all added up, divided by their number",
    cases=_blocks,
    slips=[
        (" / math.log(2)", "", "That is in nats. For bits divide by ln 2."),
        ("/ math.log(2)", "* math.log(2)", "Nats become bits when you divide by ln 2."),
        ("math.log(model.vocab_size)", "0.0", f"The first character costs nothing here. {_NOBODY}"),
        ("math.log(model.vocab_size)", "1.0", f"The first character costs 1 here. {_NOBODY}"),
        ("math.log(model.vocab_size)", "math.log2(model.vocab_size)", "The first character is in "
         "bits, and the others are in nats, when you add them up."),
        *(("nats / len(ids)", f"(nats - math.log(model.vocab_size)) / {rest}", "The first character "
           f"is missing. {_NOBODY}")
          for rest in ("(len(ids) - 1)", "np.float64(len(ids) - 1)", "max(1, len(ids) - 1)")),
        *(("/ len(ids)", f"/ {rest}", "With the first one there are N characters, not N - 1.")
          for rest in ("(len(ids) - 1)", "np.float64(len(ids) - 1)", "max(1, len(ids) - 1)")),
        (" / len(ids)", "", "That is the whole text. Divide by its number of characters."),
        ("for start in range(0, len(ids) - 1, T)", "for start in range(0, len(ids) - T, T)",
         "The end of the text is missing: the last block may be shorter."),
        (f"{_EACH_BLOCK}{_END}", f"{_FULL}    return nats / (1 + (len(ids) - 1) // T * T) / math.log(2)",
         "The end of the text is missing: the last block may be shorter."),
        (_END, "    return evaluate(model, np.array(ids), T) / math.log(2)", "The first character "
         "and the end of the text are missing: evaluate() leaves them out."),
        (f"{_EACH_BLOCK}{_END}", f"{_MEANS}    return np.mean(means) / math.log(2)", "The mean of "
         "the blocks' means: a short block must weigh less. And the first character is missing."),
        ("start + 1 : start + T + 1", "start : start + T", "The targets are the inputs. Row t says "
         "what comes after character t."),
        (f"math.log(model.vocab_size)\n{_EACH_BLOCK}", f"0.0\n{_SELF}", "The targets are the inputs. "
         "Row t says what comes after character t."),
        (_EACH_BLOCK, _SLIDING, "Each character is seen from a window of its own. Here the blocks "
         "lie one after the other, as the exercise says."),
        ("return nats", "return -nats", "The minus is missing: bits are not negative."),
        (_END, "    return math.log2(model.vocab_size)", "That is a uniform guess. Ask the model."),
        (_END, "    return 2 ** (nats / len(ids) / math.log(2))", "That is the perplexity. Asked are "
         "the bits themselves."),
    ],
)
def ps5_bits_by_model(model, ids):
    T, nats = model.max_seq_len, math.log(model.vocab_size)
    for start in range(0, len(ids) - 1, T):
        targets = ids[start + 1 : start + T + 1]
        with no_grad():
            rows = log_softmax(model(ids[start : start + len(targets)]).data)
        nats -= rows[np.arange(len(targets)), targets].sum()
    return nats / len(ids) / math.log(2)
