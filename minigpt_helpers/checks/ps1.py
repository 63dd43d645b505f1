"""Checks of problem set 1: words and pairs as tokens, windows, languages, compression."""

from __future__ import annotations

import math
import re  # noqa: F401  (the slips use it)
import zlib
from collections import Counter

import numpy as np

from minigpt_helpers.checks._base import check
from minigpt_helpers.checks._compare import as_array, expect, expect_equal
from minigpt_helpers.checks._exercise import exercise
from minigpt_helpers.corpora import list_corpora, load_corpus

# ---- 1. words -----------------------------------------------------------------------------------


def _texts(rng):
    def word(letters: str = "abcdefgXYZ") -> str:
        return "".join(rng.choice(list(letters), size=rng.integers(2, 6)))

    groups = {
        "words and single spaces": [f"{word()} {word()} {word()}"],
        "a text that ends with a mark, and one that begins with one":
            [f"{word()}, {word()}!", f"({word()} {word()})"],
        "spaces and line breaks in a row": [f"{word()}  {word()}\n\n   {word()}\n"],
        "letters of any language": [f"{word('éèabß')} {word('жщяab')}-{word('zñüöa')}"],
        "digits belong to a word": [
            f"{word()}{rng.integers(10, 99)} {rng.integers(100)}.{rng.integers(100)}{word()}",
            f"{word()}² {rng.integers(1, 9)}½ {word()}"],
        "an underscore does not": [f"{word()}_{word()}__{word()}"],
        "one word, nothing but marks, a single character, nothing at all":
            [word(), "?!", "--", " ", "Q", "\n", ""],
        "put together again, the tokens are the text":
            ["".join(rng.choice(list("aB7é _'\n.-\t"), size=length)) for length in (20, 60)],
    }
    return [(name, text) for name, texts in groups.items() for text in texts]


_UNDERSCORE = "An underscore is neither a letter nor a digit: `isalnum()` is False, but `\\w` takes it "
_UNDERSCORE += "for one."
_ALONE = "Other characters stay alone: two spaces are two tokens."
_ANY = "Letters are not only a to z: `isalnum()` knows them all."
_BREAK = "In a pattern `.` does not find a line break."


def _by_pattern(pattern: str, hint: str, flags: str = "") -> tuple[str, str, str]:
    return "return tokens", f"return re.findall(r'{pattern}', text{flags})", hint


@exercise(
    lesson="ps1",
    expects="a function `split_words(text)`: a string in, a list of strings out",
    not_tested="speed",
    in_words="a token goes on as long as `char.isalnum()` holds; any other character is a token by "
    "itself",
    cases=_texts,
    slips=[
        ("return tokens", "return text.split()", "The spaces are gone, so the text can't be put "
         "together again. Keep every one."),
        ("return tokens", "return list(text)", "These are single characters. A run of letters and "
         "digits is one token."),
        ("return tokens", "return [t for t in tokens if not t.isspace()]", "The spaces are gone."),
        ("return tokens", "return [t for t in tokens if t.isalnum()]", "Only the words are left. "
         "Every other character is a token, too."),
        ("return tokens", "return tokens[:-1]", "The last token is missing."),
        ("return tokens", "return tokens[:-1] if text and text[-1].isalnum() else tokens", "The "
         "last word is missing. What happens after your loop?"),
        ("in text", "in text.lower()", "Capitals stay capitals: nothing may be lost."),
        ("char.isalnum() and inside", "char.isalpha() and inside", "Digits belong to a word, too: "
         "`isalnum()`, not `isalpha()`."),
        ("inside = char.isalnum()", "inside = True", "A word that follows a mark is glued to it: "
         "was the character before a letter or a digit?"),
        ("char.isalnum() and inside", "not char.isspace() and inside", "Marks are tokens by "
         "themselves, also right after a word."),
        _by_pattern(r"\w+", "Only the words are left. Every other character is a token, too."),
        _by_pattern(r"\w+|\W", _UNDERSCORE),
        _by_pattern(r"\w+|\W+", _ALONE),
        _by_pattern(r"[^\W_]+|[\W_]+", _ALONE),
        _by_pattern(r"[a-zA-Z0-9]+|[^a-zA-Z0-9]", _ANY),
        _by_pattern(r"[a-zA-Z0-9]+|.", _ANY, ", re.S"),
        _by_pattern(r"[^\W\d_]+|[\W\d_]", "Digits belong to a word, too: `isalnum()`, not "
                    "`isalpha()`."),
        _by_pattern(r"[^\W_]+|.", _BREAK),
        _by_pattern(r"\w+|.", _BREAK),
        ("return tokens", "return re.split(r'([\\W_])', text)", "There are empty strings among your "
         "tokens."),
    ],
)
def ps1_split_words(text):
    tokens, inside = [], False
    for char in text:
        if char.isalnum() and inside:
            tokens[-1] += char
        else:
            tokens.append(char)
        inside = char.isalnum()
    return tokens


# ---- 2. the fixed merge -------------------------------------------------------------------------


def _merge(ids: list, pair: tuple, new_id: object) -> list:
    merged, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == tuple(pair):
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def _merge_from_the_right(ids, pair, new_id):
    return _merge(ids[::-1], pair[::-1], new_id)[::-1]


def _merge_first(ids, pair, new_id):
    starts = [i for i in range(len(ids) - 1) if (ids[i], ids[i + 1]) == pair]
    return ids[: starts[0]] + [new_id] + ids[starts[0] + 2 :] if starts else ids


def _merge_drops(ids, pair, new_id):
    """Skips the second half of every pair, also where it begins the next one."""
    seconds = {i + 1 for i in range(len(ids) - 1) if (ids[i], ids[i + 1]) == pair}
    starts = {i - 1 for i in seconds}
    kept = [i for i in range(len(ids)) if i not in seconds or i in starts]
    return [new_id if i in starts else ids[i] for i in kept]


def _sequences(rng):
    a, b, new = rng.permutation(np.arange(1, 10))[:3].tolist()
    c = a + 10 * int(rng.integers(1, 9))  # ends in the digit a: "3 5" is in "13 5", too
    random = [rng.choice([a, b, c], size=length).tolist() for length in (12, 13, 40)]
    groups = {
        "one pair in the middle": [[c, a, b, c], [b, a, b, a]],
        "a pair at the end, a pair at the beginning": [[c, c, a, b], [a, b, c], [a, b]],
        "pair after pair": [[a, b, a, b, c], [c, a, b, a, b, a, b]],
        "the pair does not occur, or only turned round": [[b, a, c, b, a], [a, c, b], [c], [b, a, b]],
        "no ids, one, two": [[], [a], [b], [a, b]],
    }
    for name, sequences in groups.items():
        for ids in sequences:
            yield name, ids, (a, b), new
    for length in (2, 3, 4, 5):
        yield "runs of equal ids, merged from the left", [a] * length + [c], (a, a), new
    for length in (2, 3, 4, 5):
        yield "runs of equal ids, merged from the left", [b] + [a] * length, (a, a), new
    for ids in random:
        yield "random ids", ids, (a, b), new
        yield "random ids", ids, (b, b), new


_PAIR = "tuple(ids[i : i + 2]) == pair"


@exercise(
    lesson="ps1",
    expects="a function `mended_merge(ids, pair, new_id)`: a list of ids, a pair of ids such as "
    "(3, 5) and a new id in, a new list out",
    not_tested="speed",
    cases=_sequences,
    slips=[
        ("return merged", "return [new_id if two == pair else two[0] for two in zip(ids, ids[1:])]",
         "Two bugs are still there. Is the second half of a pair used again? Does the loop reach "
         "the last id?"),
        ("i += 2", "i += 1", "The second half of a merged pair is still there. After a merge go on "
         "two ids further."),
        ("while i < len(ids)", "while i < len(ids) - 1", "The last id is lost when it belongs to no "
         "pair."),
        ("return merged", "return _merge_from_the_right(ids, pair, new_id)", "Merge from the left: "
         "of three equal ids the first two become one."),
        ("return merged", "return _merge_first(ids, pair, new_id)", "Only the first pair was "
         "merged."),
        (_PAIR, "ids[i : i + 2] == pair", "Nothing was merged. A slice `ids[i : i + 2]` is a list, "
         "`pair` is a tuple, and the two are never equal: compare with `list(pair)`."),
        ("return merged", "return _merge_drops(ids, pair, new_id)", "In a run of equal ids the pairs "
         "must not overlap: each id belongs to one."),
        (_PAIR, "sorted(ids[i : i + 2]) == sorted(pair)", "The order counts: (1, 2) is not (2, 1)."),
        (_PAIR, "ids[i] == pair[0]", "Both ids must fit, not the first alone."),
        (_PAIR, "ids[i] == pair[0] and ids[i + 1] == pair[1]", "At the last id there is no "
         "ids[i + 1]: is there a next one?"),
        ("merged.append(new_id)", "pass", "Both halves are gone, and the new id is missing."),
    ],
)
def ps1_mended_merge(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


# ---- 3. how many windows ------------------------------------------------------------------------

_NUMBERS = ["windows at every start", "predictions", "windows without overlap"]


def _number(fn, which, N, T):
    """One of the three numbers."""
    numbers = as_array(fn(N, T))
    expect(numbers.shape == (3,), f"expected three numbers, got {numbers.size}",
           "End with `return windows, predictions, without_overlap`.")
    return float(numbers[_NUMBERS.index(which)])


def _sizes(rng):
    T = int(rng.integers(3, 9))
    sizes = [(12, 4), (T * 5, T), (T * 5 + 1, T), (T * 5 + 2, T), (int(rng.integers(300, 900)), T)]
    short = [(T + 1, T), (T, T), (T - 2, T), (1, 1), (2, 1)]
    for which in _NUMBERS:
        for N, T in sizes:
            yield which, which, N, T
        for N, T in short:
            yield f"{which}, short texts", which, N, T


@exercise(
    lesson="ps1",
    expects="a function `window_numbers(N, T)`: two whole numbers in, three out (309.0 is one): "
    "windows at every start, predictions in all of them, windows without overlap",
    not_tested="a text without any ids; speed",
    cases=_sizes,
    call=_number,
    slips=[
        ("max(N - T, 0)", "max(N - T + 1, 0)", "The last window needs a target after its last id: "
         "one id more."),
        ("max(N - T, 0)", "max(N - T - 1, 0)", "N - T - 1 is the last start. The starts count from "
         "0."),
        ("max(N - T, 0)", "N // T", "The first number: these would be windows side by side. Here "
         "they may overlap."),
        ("max(N - T, 0)", "N - T", "With a short text there are no windows, and not fewer than "
         "none."),
        ("max(N - T, 0)", "N", "Not every position can be a start: T more ids must follow."),
        ("windows * T", "windows", "A window holds more than one prediction: each position has a "
         "target."),
        ("windows * T", "N - 1", "There are that many different targets. But windows overlap, and "
         "each target is predicted once in each of them."),
        ("windows * T", "windows * (T - 1)", "The last position of a window has a target, too."),
        ("windows * T", "windows * (T + 1)", "A window is cut T + 1 ids long, but its first id is no "
         "target."),
        ("(N - 1) // T", "N // T", "When T divides N, the last of the windows without overlap lacks "
         "its last target."),
        ("(N - 1) // T", "N // (T + 1)", "The target of a window's last id may be the first input "
         "of the next: the starts are T apart, not T + 1."),
        ("(N - 1) // T", "max(N - T, 0) // T", "One window without overlap is missing: with T + 1 "
         "ids there is one."),
        ("(N - 1) // T", "-(-N // T)", "A window that is not full does not count."),
        ("(N - 1) // T", "(N - 1) / T", "Windows are whole: divide with `//`."),
        ("(N - 1) // T", "N / T", "Windows are whole: divide with `//`. And think of the last "
         "target."),
        ("(N - 1) // T", "windows", "The third number: these windows overlap. The starts should be T "
         "apart."),
    ],
)
def ps1_window_numbers(N, T):
    windows = max(N - T, 0)
    return windows, windows * T, (N - 1) // T


# ---- 4. a counterexample ------------------------------------------------------------------------


@check(
    lesson="ps1",
    kind="any",
    expects="a text, a string of 3 to 1,000 characters, that refutes the claim",
)
def ps1_pair_paradox(case, text):
    with case("another pair saves more than the most frequent one"):
        expect(isinstance(text, str), f"expected a string, got {type(text).__name__}")
        expect(3 <= len(text) <= 1000, f"the text has {len(text)} characters",
               "Between 3 and 1,000 will do.")
        counts = Counter(zip(text, text[1:]))
        saved = {pair: len(text) - len(_merge(list(text), pair, None)) for pair in counts}
        most, best = max(counts.values()), max(saved.values())
        frequent = max((pair for pair in counts if counts[pair] == most), key=saved.get)
        shown = repr("".join(frequent))
        always = all(saved[pair] == counts[pair] for pair in counts)
        expect(
            saved[frequent] < best,
            f"the pair {shown} occurs {most} times and saves {saved[frequent]}; no pair saves more",
            "Here every pair saves as many tokens as it occurs times. When does it save fewer? "
            "Look at what problem 2 says of three equal ids in a row." if always else
            "Some pair here saves fewer than it occurs times. Now another one must occur less "
            "often than it and still save more.",
        )


# ---- 5. which language --------------------------------------------------------------------------


_DECLARATION = {  # Article 1 and the beginning of Article 2 of the Declaration of Human Rights
    "English": "All human beings are born free and equal in dignity and rights. They are endowed with "
    "reason and conscience and should act towards one another in a spirit of brotherhood. "
    "Everyone is entitled to all the rights and freedoms set forth in this Declaration, "
    "without distinction of any kind, such as race, colour, sex, language, religion, "
    "political or other opinion, national or social origin, property, birth or other status.",
    "German": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft "
    "und Gewissen begabt und sollen einander im Geist der Brüderlichkeit begegnen. Jeder hat "
    "Anspruch auf alle in dieser Erklärung verkündeten Rechte und Freiheiten, ohne "
    "irgendeinen Unterschied, etwa nach Rasse, Hautfarbe, Geschlecht, Sprache, Religion, "
    "politischer oder sonstiger Anschauung, nationaler oder sozialer Herkunft, Vermögen, "
    "Geburt oder sonstigem Stand.",
    "French": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués "
    "de raison et de conscience et doivent agir les uns envers les autres dans un esprit de "
    "fraternité. Chacun peut se prévaloir de tous les droits et de toutes les libertés "
    "proclamés dans la présente Déclaration, sans distinction aucune, notamment de race, de "
    "couleur, de sexe, de langue, de religion, d'opinion politique ou de toute autre opinion,"
    " d'origine nationale ou sociale, de fortune, de naissance ou de toute autre situation.",
    "Spanish": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como "
    "están de razón y conciencia, deben comportarse fraternalmente los unos con los otros. "
    "Toda persona tiene todos los derechos y libertades proclamados en esta Declaración, sin "
    "distinción alguna de raza, color, sexo, idioma, religión, opinión política o de "
    "cualquier otra índole, origen nacional o social, posición económica, nacimiento o "
    "cualquier otra condición.",
}
_SENTENCES = [
    ("Everyone has the right to life, liberty and security of person.", "English"),
    ("Jeder hat das Recht auf Leben, Freiheit und Sicherheit der Person.", "German"),
    ("Tout individu a droit à la vie, à la liberté et à la sûreté de sa personne.", "French"),
    ("Todo individuo tiene derecho a la vida, a la libertad y a la seguridad.", "Spanish"),
    ("Everyone has the right to recognition everywhere as a person before the law.", "English"),
    ("Jeder hat das Recht, überall als rechtsfähig anerkannt zu werden.", "German"),
]


def _stepping(letters: list[str], step: int, length: int, rng: np.random.Generator) -> str:
    """Most letters are followed by the one `step` further on; all are equally frequent."""
    at, text = int(rng.integers(len(letters))), ""
    for _ in range(length):
        text += letters[at]
        jump = step if rng.random() < 0.85 else int(rng.integers(len(letters)))
        at = (at + jump) % len(letters)
    return text


@check(
    lesson="ps1",
    expects="a function `which_language(text, samples)`: a string and a dictionary from names to "
    "sample texts in, one of the names out",
    not_tested="texts of fewer than two characters; your choice of smoothing",
    seconds=20.0,
)
def ps1_which_language(case, which_language):
    rng = case.rng
    letters = rng.permutation(list("adeilnstuoé")).tolist()[:7]
    names = rng.permutation(["Anglic", "Borean", "Cymban"]).tolist()
    steps = dict(zip(names, [1, 2, 3]))

    every_pair = "".join(a + b for a in letters for b in letters)

    def piece(name: str, length: int = 60) -> str:
        return _stepping(letters, steps[name], length, rng)

    def sample(name: str, length: int) -> str:
        return piece(name, length) + every_pair

    def agree(samples: dict, texts: list[tuple[str, str]], fact: str = "") -> None:
        answers = [which_language(text, samples) for text, _ in texts]
        for got, (_, name) in zip(answers, texts):
            if not isinstance(got, str) or got not in samples:
                expect_equal(got, name, "the result", hint="Return the name, a key of `samples`.")
        wrong = [i for i, (_, name) in enumerate(texts) if answers[i] != name]
        if wrong:
            text, name = texts[wrong[0]]
            expect(
                False, f"{text[:30]!r}... is {name}, but your function says {answers[wrong[0]]}; "
                f"{len(wrong)} of {len(texts)} texts are wrong. {fact}".strip(),
                "Not one is right: of two tables you take the one that is *more* surprised."
                if len(wrong) == len(texts) > 2 and len(samples) == 2 else "",
            )

    with case("two languages with the same letters, as frequent in both"):
        pair = names[:2]
        agree({name: sample(name, 400) for name in pair},
              [(piece(name), name) for name in pair * 4],
              "Both use the same letters equally often: only the neighbors differ.")
    with case("three languages, named in another order"):
        agree({name: sample(name, 400) for name in names[::-1]},
              [(piece(name), name) for name in names * 3])
    with case("one sample is many times as long as the other"):
        for long, short in [names[:2], names[1::-1]]:
            agree({long: sample(long, 9000), short: sample(short, 150)},
                  [(piece(name), name) for name in [long, short]],
                  f"The samples have {len(sample(long, 9000)):,} and {len(sample(short, 150)):,} "
                  "characters.")
    with case("a long text"):
        agree({name: sample(name, 400) for name in names},
              [(piece(name, 1500), name) for name in names],
              "Each text has 1,500 characters: a product of so many probabilities is 0 to the "
              "computer.")
    with case("neighbours that no sample has"):
        samples = {name: "".join(letters[i * steps[name] % 7] for i in range(210))
                   for name in names}
        texts = [(samples[name][:20] + samples[name][22:50], name) for name in names]
        agree(samples, texts, "Each text has one pair that its sample never had.")
    with case("characters that no sample has"):
        samples = {name: sample(name, 400) for name in names}
        texts = [(piece(name, 30) + "?Ж" + piece(name, 30), name) for name in names]
        agree(samples, texts, "Each text has two characters that no sample has.")
    with case("the texts of this course"):
        corpora = {name: load_corpus(name) for name in ("names", "verse", "weather")}
        samples = {name: text[:3000] for name, text in corpora.items()}
        places = rng.integers(4000, 30_000, size=3).tolist()
        texts = [(text[i : i + 80], name) for name, text in corpora.items() for i in places]
        agree(samples, texts)
    with case("sentences in four languages"):
        agree(_DECLARATION, _SENTENCES)


# ---- 6. compression -----------------------------------------------------------------------------


def _ids(rng):
    for V, N in [(2, 8), (4, 15), (27, 40)]:
        yield f"V={V}, N={N}", rng.integers(0, V, size=N).tolist(), V
    yield "a text that repeats itself", rng.permutation(5).tolist() * 12, 6
    yield "one id again and again", [2] * int(rng.integers(20, 30)), 3
    yield "one id again and again", [2] * 600, 3
    for ids, V in [([0, 0, 0], 2), ([1, 0], 5), ([3], 8), ([], 4)]:
        yield "a few ids, one, none", ids, V


_PRICE = "(pairs[a, b] + 1) / (firsts[a] + vocab_size)"


@exercise(
    lesson="ps1",
    expects="a function `adaptive_bits(ids, vocab_size)`: a list of ids and V in, the number of "
    "bits for all of them out",
    not_tested="speed",
    cases=_ids,
    slips=[
        ("return bits", "return bits * math.log(2)", "Those are nats. A bit is `log2`."),
        ("return bits", "return bits / max(len(ids), 1)", "That is the mean. Add up all bits."),
        ("return bits", "return -bits", "The sign: a price is -log2 p, and p is below 1."),
        ("math.log2(vocab_size) if len(ids) else 0.0", "0.0", "The first id has a price as well: "
         "log2 of the size of the vocabulary."),
        (" if len(ids) else 0.0", "", "No ids cost nothing."),
        ("pairs, firsts = Counter(), Counter()",
         "pairs, firsts, vocab_size = Counter(), Counter(), max(len(set(ids)), 1)", "`vocab_size` is "
         "given: an id that never comes in this text belongs to the vocabulary, too."),
        ("bits -= math.log2(p)", "bits += math.log2(vocab_size)", "That is the price without any "
         "counting."),
        (_PRICE, "(pairs[a, b] + 2) / (firsts[a] + 1 + vocab_size)", "First the price, then the "
         "count. You count the pair before you predict it: the reader of your code does not know "
         "it yet."),
        (_PRICE, "(list(zip(ids, ids[1:])).count((a, b)) + 1) / (ids[:-1].count(a) + vocab_size)",
         "The counts may hold only the pairs before this one: the reader of your code does not know "
         "the rest of the text."),
        ("(firsts[a] +", "(firsts[a] + 1 +", "Divide by the pairs so far that began with a. The a "
         "at which you are has no follower yet."),
        ("(firsts[a] +", "(sum(firsts.values()) +", "Divide by the pairs that began with a, not by "
         "all pairs."),
        ("firsts[a] + vocab_size", "firsts[a] + 1", "In a row of V counts the 1 is added V times."),
        (_PRICE, "(firsts[b] + (a == b) + 1) / (sum(firsts.values()) + 1 + vocab_size)", "What "
         "follows depends on the id before: count pairs."),
        (_PRICE, "(pairs[b, a] + 1) / (firsts[b] + vocab_size)", "The pair is turned round: b "
         "follows a."),
    ],
)
def ps1_adaptive_bits(ids, vocab_size):
    pairs, firsts = Counter(), Counter()
    bits = math.log2(vocab_size) if len(ids) else 0.0
    for a, b in zip(ids, ids[1:]):
        p = (pairs[a, b] + 1) / (firsts[a] + vocab_size)
        bits -= math.log2(p)
        pairs[a, b] += 1
        firsts[a] += 1
    return bits


@check(
    lesson="ps1",
    kind="any",
    expects="your own text (at least 500 characters) and a list of three numbers: bits per "
    "character at equal lengths, by the adaptive bigram, by zlib",
    seconds=20.0,
)
def ps1_own_text(case, own_text, my_numbers):
    def agree(k: int, right: float, mistakes: list) -> None:
        numbers = as_array(my_numbers)
        expect(numbers.shape == (3,), f"expected three numbers, got the shape {numbers.shape}")
        mine = float(numbers[k])
        close = [hint for value, hint in mistakes if math.isclose(mine, value, rel_tol=5e-3)]
        expect(math.isclose(mine, right, rel_tol=5e-3), f"{mine:.4g} is not it",
               close[0] if close else "")

    def usable(text: object) -> str:
        expect(isinstance(text, str), f"the text should be a string, got {type(text).__name__}")
        expect(500 <= len(text) <= 1_000_000, f"the text has {len(text)} characters",
               "Take at least 500 and at most a million.")
        expect(len(set(text)) >= 5, f"the text has only {len(set(text))} different characters",
               "Take a text that says more.")
        for name in list_corpora():
            expect(text.strip().lower() not in load_corpus(name).lower(),
                   f"this is a piece of `{name}`",
                   "Take your own text: a file, or one that you paste between triple quotes.")
        return text

    with case("bits per character at equal lengths"):
        N, V = len(usable(own_text)), len(set(own_text))
        agree(0, math.log2(V), [
            (math.log(V), "Those are nats. A bit is log2."),
            (8.0, "8 bits is what a byte takes. How many bits tell V characters apart?"),
            (math.ceil(math.log2(V)), "Not rounded: log2 of V."),
            (N * math.log2(V), "Per character, please: divide by the length of the text."),
            (float(V), "That is V. How many bits tell V characters apart?"),
        ])
    with case("bits per character by the adaptive bigram"):
        N, V = len(usable(own_text)), len(set(own_text))
        bits = ps1_adaptive_bits.entry.exercise.reference(own_text, V)
        agree(1, bits / N, [
            (bits, "That is for the whole text. Divide by its length."),
            (bits / N * math.log(2), "Those are nats."),
        ])
    with case("bits per character by zlib"):
        N, raw = len(usable(own_text)), own_text.encode()
        sizes = [len(zlib.compress(raw, level)) for level in (9, 6)]
        packed = min(sizes, key=lambda size: abs(8 * size / N - as_array(my_numbers).flat[-1]))
        agree(2, 8 * packed / N, [
            (packed / N, "`len` counts bytes. A byte has 8 bits."),
            (8 * packed / len(raw), "That is per byte. Divide by the number of "
             "characters."),
            (8.0 * packed, "That is for the whole text. Divide by its length."),
            (8 * N / packed, "Turned round: bits by characters."),
            (N / packed, "That is how many times as small it gets."),
        ])
