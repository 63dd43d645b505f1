"""Checks of problem set 6, to judge: the odd line out, guesses before a password, new names."""

from __future__ import annotations

import math

import numpy as np

from minigpt_helpers.autograd import no_grad
from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import expect, show
from minigpt_helpers.checks._exercise import exercise
from minigpt_helpers.checks._reference import log_softmax, softmax
from minigpt_helpers.nn import MiniGPT
from minigpt_helpers.text import CharTokenizer
from minigpt_helpers.training import evaluate

# ---- 5: the odd line out ------------------------------------------------------------------------


def _setting(rng, max_seq_len):
    """A model, untrained but with strong opinions, its tokenizer, and a writer of lines for them."""
    tokenizer = CharTokenizer("\nabcdef ")
    model = MiniGPT(tokenizer.vocab_size, 8, 2, 1, max_seq_len, rng=rng)
    model.head.weight.data *= 60
    return model, tokenizer, lambda length: "".join(rng.choice(tokenizer.chars[1:], size=length))


def _one_line(rng):
    T = 6
    model, tokenizer, line = _setting(rng, T)
    for length in (9, 4, 14, 1, T, T + 1):
        yield f"a line of {length}, max_seq_len {T}", model, tokenizer, line(length)


_IDS = 'tokenizer.encode("\\n" + line)'
_WINDOW = "ids[max(0, i - model.max_seq_len) : i]"
_LOOP = f"""    for i in range(1, len(ids)):
        with no_grad():
            row = model({_WINDOW}).data[-1]
        surprises.append(-math.log(softmax(row)[ids[i]]))
"""
_BLOCKS = """    T = model.max_seq_len
    for i in range(1, len(ids)):
        with no_grad():
            row = model(ids[(i - 1) // T * T : i]).data[-1]
        surprises.append(-math.log(softmax(row)[ids[i]]))
"""
_ALONE = "The first character counts, too. Put a line break before the line, so that the model has "
_ALONE += "something to foresee it from."


@exercise(
    lesson="ps6",
    expects="a function `line_loss(model, tokenizer, line)`: a MiniGPT, its tokenizer and a string "
    "in, a number out",
    not_tested="an empty line",
    seconds=10.0,
    in_words="a line break, then the line; for each of its characters - ln p, seen from at most "
    "max_seq_len characters just before it; the mean of those",
    cases=_one_line,
    slips=[
        ("np.mean(surprises)", "sum(surprises)", "That is the sum. A long line would always look "
         "odd: take the mean."),
        ("np.mean(surprises)", "np.mean(surprises) / math.log(2)", "That is in bits. Nats use the "
         "natural logarithm."),
        ("-math.log", "math.log", "The minus is missing: surprises are positive."),
        ("np.mean(surprises)", "math.exp(np.mean(surprises))", "That is the perplexity. Return the "
         "loss itself."),
        ("np.mean(surprises)", "max(surprises)", "That is the largest surprise. Take the mean."),
        ("np.mean(surprises)", "surprises", "These are the surprises of the single characters. Take "
         "their mean."),
        ("np.mean(surprises)", "sum(surprises) / len(ids)", "The line break in front is read, not "
         "foreseen. Divide by the number of characters of the line."),
        ("np.mean(surprises)", "np.median(surprises)", "That is the median. Take the mean."),
        ("-math.log(softmax(row)[ids[i]])", "softmax(row)[ids[i]]", "These are probabilities. The "
         "surprise is - ln p."),
        ("np.mean(surprises)", "-math.log(np.mean(np.exp(-np.array(surprises))))", "First the "
         "logarithm of each probability, then the mean."),
        (_IDS, "tokenizer.encode(line)", _ALONE),
        *((f'{_IDS}, []\n{_LOOP}    return np.mean(surprises)',
           f"tokenizer.encode(line), []\n{_LOOP}    return sum(surprises) / {count}", _ALONE)
          for count in ("len(line)", "max(1, len(surprises))", "len(surprises)")),
        (_IDS, 'tokenizer.encode("\\n" + line + "\\n")', "You counted a line break at the end. Only "
         "the characters of the line count."),
        (_IDS, f"{_IDS}[: model.max_seq_len + 1]", "The end of a long line is missing."),
        (_IDS, f"{_IDS}[: model.max_seq_len]", "The end of a long line is missing."),
        (_IDS, f"{_IDS}[-model.max_seq_len - 1 :]", "The beginning of a long line is missing."),
        (_LOOP, _BLOCKS, "You cut the line into blocks. Each character is to be foreseen from the "
         "last max_seq_len characters before it, so the window slides by one."),
        (_WINDOW, "ids[: min(i, model.max_seq_len)]", "For a long line the model reads its beginning "
         "again and again. It should read what is just before the character."),
        (_WINDOW, "ids[max(0, i - model.max_seq_len + 1) : i]", "The window is one too short: the "
         "model can read max_seq_len characters."),
        (_WINDOW, "ids[i - 1 : i]", "Each character is foreseen from one other alone. The model can "
         "read max_seq_len of them."),
        ("[ids[i]]", "[ids[i - 1]]", "Row t says what comes after character t."),
        ("data[-1]", "data[0]", "The last row is the one that foresees what comes next."),
    ],
)
def ps6_line_loss(model, tokenizer, line):
    ids, surprises = tokenizer.encode("\n" + line), []
    for i in range(1, len(ids)):
        with no_grad():
            row = model(ids[max(0, i - model.max_seq_len) : i]).data[-1]
        surprises.append(-math.log(softmax(row)[ids[i]]))
    return np.mean(surprises)


def _surprises(model, tokenizer, line):
    """Those of a line that fits into the window: all characters in one go."""
    ids = tokenizer.encode("\n" + line)
    with no_grad():
        rows = log_softmax(model(ids[:-1]).data)
    return -rows[np.arange(len(line)), ids[1:]]


def _groups(rng):
    """Lines whose odd one is clear, at a new place, without the largest sum or single surprise."""
    model, tokenizer, line = _setting(rng, 20)
    found = []
    for lengths in [(18, 9, 7), (5, 14, 8, 19, 6), (11, 17, 6, 8, 10, 9), (16, 7, 8, 5, 12, 6, 9)]:
        while True:
            lines = [line(length) for length in lengths]
            surprises = [_surprises(model, tokenizer, one) for one in lines]
            losses = np.array([each.mean() for each in surprises])
            odd, clear = int(losses.argmax()), np.sort(losses)[-1] - np.sort(losses)[-2] > 0.15
            sums, peaks = losses * lengths, [each.max() for each in surprises]
            apart = {odd, int(sums.argmax()), int(np.argmax(peaks))}
            if (clear and 0 < odd < len(lines) - 1 and odd not in found and len(apart) == 3
                    and sums.argmin() != losses.argmin()):
                found.append(odd)
                break
        name = f"{len(lines)} lines of {', '.join(map(str, lengths))} characters"
        yield name, model, tokenizer, lines


@exercise(
    lesson="ps6",
    expects="a function `odd_one_out(model, tokenizer, lines)`: a MiniGPT, its tokenizer and a "
    "list of strings in, the number of a line out, counted from 0",
    not_tested="fewer than three lines; equal losses",
    seconds=20.0,
    in_words="the mean loss of each line; the number of the line with the largest",
    cases=_groups,
    slips=[
        (".mean()", ".sum()", "You took the sums: a long line has a large one. Compare "
         "the means."),
        ("np.argmax(losses)", "np.argmin(losses)", "That is the line with the lowest loss. The odd "
         "one has the highest."),
        (".mean()", ".max()", "You took the largest single surprise of each line. Compare the means."),
        (".mean() for line in lines]\n    return int(np.argmax",
         ".sum() for line in lines]\n    return int(np.argmin",
         "That is the line with the lowest sum. The odd one has the highest mean."),
        ("np.argmax(losses)", "np.argmax(losses) + 1", "Lines are counted from 0."),
        ("int(np.argmax(losses))", "lines[np.argmax(losses)]", "That is the line itself. Return its "
         "number."),
        ("int(np.argmax(losses))", "max(losses)", "Is that its loss? Return the number of the line."),
        ("int(np.argmax(losses))", "losses", "These are the losses of the lines. Which of them is the "
         "largest?"),
    ],
)
def ps6_odd_one_out(model, tokenizer, lines):
    losses = [_surprises(model, tokenizer, line).mean() for line in lines]
    return int(np.argmax(losses))


# ---- 6: how many guesses ------------------------------------------------------------------------


def _samples(rng):
    sample = -rng.gamma(6, 2.5, size=60)
    words = np.log(rng.dirichlet(np.ones(12)))  # twelve texts, drawn with their probabilities
    repeated = rng.choice(words, size=200, p=np.exp(words))
    yield "a text in the middle", float(np.median(sample)) - 0.01, sample
    yield "a rare text", float(sample.min()) - 3, sample
    yield "texts that were drawn several times", float(np.sort(words)[3]) - 1e-3, repeated
    yield "a text that is in the sample itself", float(np.sort(sample)[20]), sample
    yield "the most likely of all", -0.001, sample
    yield "a sample of one", -5.0, np.array([-3.5])
    yield "probabilities as small as 1e-26", -70.0, -rng.uniform(20, 60, size=30)


_GUESSES = "return np.exp(-more).sum() / len(sampled)"


@exercise(
    lesson="ps6",
    expects="a function `guesses_before(log_p, sampled)`: a number and an array (n,) of numbers "
    "in, all of them logarithms of probabilities; a number out",
    not_tested="an empty sample",
    in_words="for each sampled text that is strictly more likely: 1 / (n p), all added up",
    tol=1e-4,
    cases=_samples,
    slips=[
        (" / len(sampled)", "", "Divide by the size of the sample: it is a mean."),
        ("sampled > log_p", "sampled < log_p", "You count those that are less likely. They are "
         "guessed later."),
        ("np.exp(-more).sum()", "len(more)", "That is the share of the sample that is more likely. "
         "Each of them stands for 1 / p texts: a rare one for many."),
        (_GUESSES, "return len(more)", "That is how many of the sample are more likely. Each of "
         "them stands for 1 / (n p) texts."),
        ("np.exp(-more)", "np.exp(more)", "Weigh each by 1 / p, not by p: a rare text stands for "
         "many others that were not drawn."),
        ("/ len(sampled)", "/ max(len(more), 1)", "Divide by the size of the whole sample, also "
         "those that are less likely."),
        ("sampled > log_p", "sampled >= log_p", "Only texts that are strictly more likely come "
         "before it."),
        ("/ len(sampled)", "/ len(sampled) + 1", "Asked are the guesses *before* the right one."),
        ("sampled[sampled > log_p]", "np.unique(sampled[sampled > log_p])", "The same text may be "
         "in the sample twice. Each counts."),
        ("sampled > log_p", "np.exp(sampled) > log_p", "log_p is a logarithm already: compare it "
         "with logarithms."),
        (_GUESSES, "return math.exp(-log_p)", "That is 1 / p. The text may still be far from the "
         "end of the attacker's list: use the sample."),
        ("np.exp(-more)", "(2.0 ** -more)", "The logarithms are natural ones: 1 / p is exp(-log "
         "p)."),
        ("np.exp(-more)", "(-1 / more)", "p is exp(log p)."),
    ],
)
def ps6_guesses_before(log_p, sampled):
    more = sampled[sampled > log_p]
    return np.exp(-more).sum() / len(sampled)


# ---- 7: new names -------------------------------------------------------------------------------

KNOWN, HELD_OUT, NEW = 60, 15, 12


def _letter_loss(known: str, text: str) -> float:
    """Nats per character of a model that knows only how often each character is."""
    chars = sorted(set(known + text))
    chances = {c: (known.count(c) + 1) / (len(known) + len(chars)) for c in chars}
    return -sum(math.log(chances[c]) for c in text) / len(text)


@check(
    lesson="ps6",
    kind="any",
    expects="two lists of names (those the model was trained on, those held out), the model, its "
    "tokenizer, and a list of new names",
    not_tested="whether the held-out names were really held out; how the new names sound",
    seconds=20.0,
)
def ps6_name_generator(case, names, held_out, model, tokenizer, new_names):
    lists = []
    with case(f"at least {KNOWN} names, {HELD_OUT} held out and {NEW} new ones"):
        for what, given, least in [("names", names, KNOWN), ("held_out", held_out, HELD_OUT),
                                   ("new_names", new_names, NEW)]:
            expect(not isinstance(given, str), f"{what} is one string, not a list",
                   "Cut it into names: text.split().")
            lists.append(list(given))
            bad = [name for name in lists[-1] if not (isinstance(name, str) and name.strip())
                   or "\n" in name or len(name) > 40]
            expect(not bad, f"{what} holds {show(bad[:1])}", "Strings only, none of them empty, no "
                   "line breaks, nothing longer than 40 characters.")
            expect(len(set(lists[-1])) >= least, f"{what} has {len(set(lists[-1]))} different "
                   f"names, and should have {least}")
    if case.missed:
        return
    names, held_out, new_names = lists
    with case("the held-out names and the new ones are in no other list, and each new one once"):
        both = sorted(set(names) & set(held_out))
        expect(not both, f"{len(both)} names are trained on and held out, for instance {both[:1]}",
               "A name that was trained on measures nothing: it must not be in both lists.")
        old = sorted(set(new_names) & (set(names) | set(held_out)))
        expect(not old, f"{len(old)} of new_names are not new, for instance {old[:1]}",
               "The model may write a name that it knows. Drop those.")
        twice = sorted({name for name in new_names if new_names.count(name) > 1})
        expect(not twice, f"{twice[:1]} is there twice", "Keep each new name once.")
    with case("the new names have no characters that are not in the vocabulary"):
        alien = sorted(set("".join(new_names)) - set(tokenizer.chars))
        expect(not alien, f"the tokenizer does not know {alien[:3]}", "The model cannot have "
               "written them.")

    def loss(texts):
        ids = tokenizer.encode("\n" + "\n".join(texts) + "\n")
        return evaluate(model, ids, min(model.max_seq_len, len(ids) - 1))

    joined = ["\n".join(texts) + "\n" for texts in (names, held_out)]
    chance = _letter_loss(*joined)
    with case("on the held-out names the model is better than the letters alone"):
        got = loss(held_out)
        expect(got < chance, f"its loss is {got:.2f} nats per character, and knowing only how "
               f"often each letter is gives {chance:.2f}", (
                   "It has hardly been trained." if loss(names) > chance else
                   "On the names that it was trained on it is far better: it has learnt them by "
                   "heart. Fewer steps, a smaller model, or more names."
               ))
    with case("the new names look likely to the model"):
        got = loss(new_names)
        expect(got < chance, f"their loss is {got:.2f} nats per character; the letters alone give "
               f"{chance:.2f} on real names", "Did the model write them? Between two line breaks, "
               "at a temperature that is not too high?")
