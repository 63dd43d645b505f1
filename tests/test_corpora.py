"""The shipped texts are what their README says, and the diary's entropy rate is exact."""

from __future__ import annotations

import re
import string
from collections import defaultdict
from importlib import resources

import numpy as np
import pytest

from minigpt_helpers import corpora
from minigpt_helpers.corpora import weather
from minigpt_helpers.corpora.rhymes import rhyme_rate
from minigpt_helpers.corpora.weather_blocks import best_block_loss
from minigpt_helpers.text import train_val_split

README = resources.files(corpora.__name__).joinpath("README.md").read_text(encoding="utf-8")


def bigram_loss(text: str) -> float:
    """Add-one counts over the first 90 %, nats per character over the rest."""
    chars = sorted(set(text))
    train, val = train_val_split([chars.index(c) for c in text])
    counts = np.ones((len(chars), len(chars)))
    np.add.at(counts, (train[:-1], train[1:]), 1)
    probs = counts / counts.sum(axis=1, keepdims=True)
    return float(-np.log(probs[val[:-1], val[1:]]).mean())


# ---- the files ----


def test_the_corpora_are_listed():
    assert corpora.list_corpora() == ["names", "rhymes", "verse", "weather"]
    corpora.list_corpora().clear()
    assert corpora.list_corpora() == ["names", "rhymes", "verse", "weather"]


@pytest.mark.parametrize("name", corpora.list_corpora())
def test_files_are_plain(name):
    raw = resources.files(corpora.__name__).joinpath(f"{name}.txt").read_bytes()
    assert raw.isascii() and b"\r" not in raw
    assert raw.endswith(b"\n") and not raw.endswith(b"\n\n") and not raw.startswith(b"\n")
    assert corpora.load_corpus(name) == raw.decode("ascii")


@pytest.mark.parametrize("name", corpora.list_corpora())
def test_readme_numbers(name):
    text = corpora.load_corpus(name)
    row = next(line for line in README.splitlines() if line.startswith(f"| `{name}`"))
    size, lines, V, uniform, bigram = [cell.strip() for cell in row.split("|")[2:7]]
    assert size == f"{len(text):,}"
    assert lines == f"{text.count(chr(10)):,}"
    assert V == str(len(set(text)))
    assert uniform == f"{np.log(len(set(text))):.3f}"
    assert bigram == f"{bigram_loss(text):.3f}"
    first_lines = re.search(rf"^## `{name}`.*?```\n(.*?)```", README, flags=re.S | re.M)[1]
    assert first_lines.count("\n") == 4 and text.startswith(first_lines)


def test_names():
    text = corpora.load_corpus("names")
    names = text.splitlines()
    assert len(names) >= 5000
    assert len(set(names)) == len(names)
    assert set(text) == set(string.ascii_lowercase + "\n")
    assert all(2 <= len(name) <= 11 for name in names)


def test_names_are_shuffled_as_stated():
    names = corpora.load_corpus("names").splitlines()
    in_order = sorted(names)
    np.random.default_rng(1990).shuffle(in_order)
    assert names == in_order
    assert len({name[0] for name in names[-len(names) // 10 :]}) >= 20  # the validation part


@pytest.mark.parametrize(("name", "least"), [("rhymes", 300_000), ("verse", 62_000)])
def test_verse(name, least):
    text = corpora.load_corpus(name)
    assert len(text) >= least
    assert set(text) == set(string.ascii_lowercase + " \n,.'?")
    stanzas = text.removesuffix("\n").split("\n\n")
    assert all(stanza.count("\n") == 3 for stanza in stanzas)
    assert len(set(stanzas)) == len(stanzas)
    lines = [line for line in text.splitlines() if line]
    assert len(set(lines)) >= 0.95 * len(lines)
    assert max(len(line) for line in lines) < 60
    assert all(line == " ".join(line.split()) for line in lines)


@pytest.mark.parametrize(
    "verse, rate",
    [
        ("the cat,\nthe mat.", 1 / 2),
        ("the cat\nthe cat", 0),  # the same word is no rhyme
        ("a gate\na cat", 0),  # the silent e belongs to the ending
        ("a gate\nso late!", 1 / 2),
        ("little\nbrittle", 1 / 2),
        ("night\nstar\nlight\nfar", 2 / 4),  # crossed rhymes
        ("night\nstar\nmoon\nlight", 0),  # three lines back is too far
        ("the cat\n\n- 1 -\nthe mat", 1 / 2),  # lines without a word do not count
        ("i know\nit's so", 0),
        ("it can't\nan ant", 1 / 2),
        ("my Sky\nto TRY", 1 / 2),
        ("hm\npsst\nhm", 0),  # no vowel: the whole word is the ending
    ],
)
def test_rhyme_rate(verse, rate):
    assert rhyme_rate(verse) == pytest.approx(rate)


@pytest.mark.parametrize("text", ["", "\n\n", "1, 2\n3"])
def test_rhyme_rate_needs_words(text):
    with pytest.raises(ValueError, match="no line of the text ends in a word"):
        rhyme_rate(text)


def test_the_two_texts_of_verse_share_no_line():
    first, second = (set(corpora.load_corpus(name).split("\n")) for name in ("rhymes", "verse"))
    assert first & second == {""}


@pytest.mark.parametrize(
    ("name", "in_order", "shuffled"),
    [("rhymes", "{:.0f} % of its lines rhyme in spelling with", "order {:.0f} %: so"),
     ("verse", "{:.0f} % of its lines rhyme in spelling, ", "{:.0f} % in random order")],
)  # fmt: skip
def test_the_lines_rhyme_and_it_is_no_chance(name, in_order, shuffled):
    lines = corpora.load_corpus(name).splitlines()
    found = rhyme_rate("\n".join(lines))
    rng = np.random.default_rng(0)
    by_chance = np.mean([rhyme_rate("\n".join(rng.permutation(lines))) for _ in range(20)])
    assert in_order.format(100 * found) in README
    assert shuffled.format(100 * by_chance) in README


# ---- the weather diary and its entropy rate ----


def line_probs(yesterday: int | None) -> list[tuple[str, int, float]]:
    """Every line that may follow a day: text, its sky, probability. Written out on its own."""
    lines = []
    for s, sky in enumerate(weather.SKIES):
        p_sky = weather.NEXT_SKY[yesterday][s] if yesterday is not None else long_run_shares()[s]
        for warm, p_warm in weather.WARMTH[sky].items():
            for wind, p_wind in weather.WIND.items():
                if p_sky * p_warm * p_wind > 0:
                    lines.append((f"{sky}, {warm}, {wind}\n", s, p_sky * p_warm * p_wind))
    return lines


def long_run_shares() -> np.ndarray:
    return np.linalg.matrix_power(weather.NEXT_SKY, 1000)[0]


def all_diaries(num_lines: int) -> dict[str, float]:
    """Each diary of that many lines with its probability."""
    diaries = [("", None, 1.0)]
    for _ in range(num_lines):
        diaries = [
            (text + line, s, p * q)
            for text, yesterday, p in diaries
            for line, s, q in line_probs(yesterday)
        ]
    assert len({text for text, _, _ in diaries}) == len(diaries)  # one way to write each text
    return {text: p for text, _, p in diaries}


def nats(probs) -> float:
    return -sum(p * np.log(p) for p in probs)


def test_probabilities_sum_to_one():
    assert np.allclose(weather.NEXT_SKY.sum(axis=1), 1)
    assert set(weather.WARMTH) == set(weather.SKIES)
    for words in [weather.WIND, *weather.WARMTH.values()]:
        assert sum(words.values()) == pytest.approx(1)


def test_the_rules_that_the_readme_tells():
    days = corpora.load_corpus("weather").splitlines()
    pairs = {(a.split(",")[0], b.split(",")[0]) for a, b in zip(days, days[1:])}
    assert {a for a, b in pairs if b == "rain"} == {"cloud", "rain"}
    assert {a for a, b in pairs if b == "fog"} == {"sun", "fog"}
    assert {day.split(",")[0] for day in days if "hot" in day} == {"sun"}


def test_stationary_shares():
    pi = weather.stationary(weather.NEXT_SKY)
    assert pi == pytest.approx(long_run_shares(), abs=1e-12)
    # two states by hand: leave the first with 0.2, the second with 0.6
    assert weather.stationary(np.array([[0.8, 0.2], [0.6, 0.4]])) == pytest.approx([0.75, 0.25])


def test_entropy():
    assert weather.entropy([0.25] * 4) == pytest.approx(np.log(4))
    assert weather.entropy([1.0, 0.0]) == 0


def test_the_shipped_diary_is_what_the_generator_writes():
    rng = np.random.default_rng(weather.SEED)
    assert corpora.load_corpus("weather") == weather.generate_weather(weather.NUM_LINES, rng)


def test_entropy_rate_against_all_diaries():
    """One more line adds the same nats and characters, summed over every possible diary."""
    two, three = all_diaries(2), all_diaries(3)
    more_nats = nats(three.values()) - nats(two.values())
    more_chars = sum(len(t) * p for t, p in three.items()) - sum(len(t) * p for t, p in two.items())
    assert weather.entropy_rate() == pytest.approx(more_nats / more_chars, rel=1e-12)


def test_entropy_rate_against_the_shipped_text():
    """The true grammar's own loss on the text agrees, within four standard errors."""
    surprise, length = [], []
    yesterday = None
    for line in corpora.load_corpus("weather").splitlines(keepends=True):
        (s, p), = [(s, p) for text, s, p in line_probs(yesterday) if text == line]
        surprise.append(-np.log(p))
        length.append(len(line))
        yesterday = s
    rate = weather.entropy_rate()
    excess = np.array(surprise) - rate * np.array(length)
    batches = excess.reshape(-1, 50).sum(axis=1)  # neighbouring days depend on each other
    error = batches.std(ddof=1) * np.sqrt(len(batches)) / sum(length)
    assert error < 0.01 * rate
    assert abs(sum(surprise) / sum(length) - rate) < 4 * error


def test_a_bigram_is_far_from_the_best():
    assert bigram_loss(corpora.load_corpus("weather")) > 5 * weather.entropy_rate()


@pytest.mark.parametrize("block_size", [1, 2, 7, 14])
def test_best_block_loss_against_all_windows(block_size):
    """A window that starts in line one ends in line two: so list all windows of all diaries."""
    assert min(len(line) for line, _, _ in line_probs(None)) > block_size
    windows, firsts = defaultdict(float), defaultdict(float)
    for text, p in all_diaries(2).items():
        for i in range(text.index("\n") + 1):
            windows[text[i : i + block_size + 1]] += p
            firsts[text[i]] += p
    total = sum(windows.values())
    joint = nats(p / total for p in windows.values())
    first = nats(p / total for p in firsts.values())
    assert best_block_loss(block_size) == pytest.approx((joint - first) / block_size, rel=1e-10)


def test_best_block_loss_falls_to_the_entropy_rate():
    losses = [best_block_loss(T) for T in (1, 8, 32, 64, 65)]
    assert losses == sorted(losses, reverse=True)
    # two lines in, all that matters is known: each further character costs the rate
    assert 65 * losses[-1] - 64 * losses[-2] == pytest.approx(weather.entropy_rate(), rel=1e-9)


def test_readme_block_losses():
    rows = re.findall(r"^ *\| (\d+) \| (\d\.\d{4}) \|$", README, flags=re.M)
    assert len(rows) >= 4
    for block_size, loss in rows:
        assert loss == f"{best_block_loss(int(block_size)):.4f}"
    assert f"{weather.entropy_rate():.4f} nats per character" in README


def test_generator_and_block_refuse_nonsense():
    with pytest.raises(ValueError, match="num_lines is 0"):
        weather.generate_weather(0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="block_size is 0"):
        best_block_loss(0)


# ---- names that are not there ----


def test_corpus_entropy_rate():
    assert corpora.corpus_entropy_rate("weather") == weather.entropy_rate()
    for name in ("names", "rhymes", "verse"):
        with pytest.raises(ValueError, match=f"'{name}' is not known.*'weather'"):
            corpora.corpus_entropy_rate(name)


@pytest.mark.parametrize("call", [corpora.load_corpus, corpora.corpus_entropy_rate])
def test_unknown_corpus(call):
    message = "'Wether'. Did you mean 'weather'.*'names', 'rhymes', 'verse', 'weather'.*read_text"
    with pytest.raises(ValueError, match=message):
        call("Wether")
    for wrong in ("shakespeare", None, 3, ["names"]):
        with pytest.raises(ValueError, match=re.escape(f"no corpus {wrong!r}. The corpora are")):
            call(wrong)


# ---- the reader's own file ----


def write(tmp_path, raw: bytes):
    path = tmp_path / "mine.txt"
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    "raw, text",
    [
        (b"one\ntwo\n", "one\ntwo\n"),
        (b"\xef\xbb\xbfone", "one"),
        (b"a\r\nb\rc\n\r\nd", "a\nb\nc\n\nd"),
        ("gr\u00fcn \u4f60\u597d".encode(), "gr\u00fcn \u4f60\u597d"),
        (b"  kept as it is \n\n", "  kept as it is \n\n"),
    ],
)
def test_read_text(tmp_path, raw, text):
    path = write(tmp_path, raw)
    assert corpora.read_text(path) == text
    assert corpora.read_text(str(path)) == text


@pytest.mark.parametrize(
    "raw, found",
    [
        (b"", "holds no characters"),
        (b"\xef\xbb\xbf", "holds no characters"),
        (b" \r\n\t\n", "holds only 4 blanks and line ends"),
        (b"GIF\0\1", "the byte at offset 3 of 5 is zero"),
        ("hello".encode("utf-16"), "is UTF-16"),
        (b"ab\ncaf\xe9!", "the byte 0xe9 at offset 6 of 8, on line 2"),
        (b"\xef\xbb\xbfcaf\xe9!", "offset 6 of 8, on line 1"),
    ],
)
def test_read_text_refuses(tmp_path, raw, found):
    path = write(tmp_path, raw)
    with pytest.raises(ValueError, match=re.escape(found)) as refusal:
        corpora.read_text(path)
    assert str(path) in str(refusal.value)
    assert type(refusal.value) is ValueError  # not a raw UnicodeDecodeError


def test_read_text_missing_file(tmp_path):
    path = tmp_path / "nowhere.txt"
    with pytest.raises(corpora.MissingFileError, match="there is no file") as refusal:
        corpora.read_text(path)
    assert isinstance(refusal.value, ValueError) and isinstance(refusal.value, FileNotFoundError)
    assert str(path) in str(refusal.value)


def test_read_text_wrong_kind_of_path(tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        corpora.read_text(tmp_path)
    with pytest.raises(ValueError, match="path is None: expected text or a Path"):
        corpora.read_text(None)
    with pytest.raises(ValueError):
        corpora.read_text(write(tmp_path, b"a") / "b.txt")
