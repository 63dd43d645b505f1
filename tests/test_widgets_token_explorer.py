"""The token explorer: its pure function, what it says and draws, and JavaScript beside Python."""

from __future__ import annotations

import warnings

import pytest

from minigpt_helpers import CharTokenizer
from minigpt_helpers.plots import to_png, visible
from minigpt_helpers.widgets.token_explorer import (
    LONGEST,
    TokenExplorer,
    counts_in_words,
    merged,
    round_trip_in_words,
    token_in_words,
    token_state,
    vocabulary,
)
from widget_grids import PAIRS, TOKEN_TEXTS

TOKENIZER = CharTokenizer.from_text("the cat sat on\nthe mat")


def test_ids_are_the_tokenizers_and_the_round_trip_is_exact():
    text = "the mat\nsat on the cat"
    state = token_state(text, TOKENIZER.chars)
    assert state["ids"].tolist() == TOKENIZER.encode(text)
    assert state["decoded"] == TOKENIZER.decode(state["ids"]) == text
    assert state["unknown"] == 0 and state["distinct"] == len(set(text))
    assert state["codes"].tolist() == [ord(char) for char in text]


def test_unknown_characters_have_no_id_and_are_counted():
    state = token_state("Tat é🙂", TOKENIZER.chars)
    assert [i for i, token in enumerate(state["ids"]) if token == -1] == [0, 4, 5]
    assert state["unknown"] == 3
    assert state["decoded"] == "\ufffdat \ufffd\ufffd"
    assert state["codes"][-1] == 0x1F642
    with pytest.raises(ValueError, match="'T'"):
        TOKENIZER.encode("Tat")


def test_sentences():
    ids = token_state("a \né", TOKENIZER.chars)["ids"]
    assert token_in_words("a \né", ids, 0) == 'position 0: "a", id 2, code point U+0061 = 97'
    assert token_in_words("a \né", ids, 1) == "position 1: space, id 1, code point U+0020 = 32"
    assert token_in_words("a \né", ids, 2) == "position 2: line break, id 0, code point U+000A = 10"
    assert token_in_words("a \né", ids, 3) == (
        'position 3: "é", code point U+00E9 = 233, is not in the vocabulary: no id'
    )
    one, three = token_state("t", TOKENIZER.chars), token_state("tXt", TOKENIZER.chars)
    assert counts_in_words(one, 11) == "1 token, 1 different, 0 unknown; the vocabulary has 11"
    assert counts_in_words(three, 11) == "3 tokens, 2 different, 1 unknown; the vocabulary has 11"
    assert "same text" in round_trip_in_words(one)
    assert "encode refuses" in round_trip_in_words(three)


def test_every_character_can_be_seen():
    assert [visible(char) for char in " \n\t"] == ["␣", "↵", "⇥"]
    assert visible("a") == "a" and visible("🙂") == "🙂"
    assert visible("\u00a0") == visible("\u200b") == visible("\0") == "□"
    assert visible("\u0301") == "\u25cc\u0301"


def test_the_widget_starts_with_the_text_and_follows_it():
    widget = TokenExplorer(TOKENIZER, "the cat")
    assert widget.state()["ids"].tolist() == TOKENIZER.encode("the cat")
    widget.selected = 6
    widget.text = "at"
    assert widget.selected == 1, "the selection stays inside the text"
    widget.text = "x" * (LONGEST + 5)
    assert f"{LONGEST + 5} characters; only the first {LONGEST}" in widget.note
    widget.text = ""
    assert "empty" in widget.problem and widget.selected == 0
    widget.text = "cat"
    assert widget.problem == widget.note == ""


def test_merges_make_tokens_of_pairs_and_nothing_is_lost():
    widget = TokenExplorer(TOKENIZER, "that the theme", pairs=PAIRS)
    assert widget.tokens() == list("that the theme")
    widget.merges = 3
    assert widget.tokens() == ["th", "at", " ", "the", " ", "the", "m", "e"]
    state = widget.state()
    known = vocabulary(TOKENIZER.chars, PAIRS, 3)
    assert known == [*TOKENIZER.chars, "th", "the", "at"] and state["unknown"] == 0
    assert [known[i] for i in state["ids"]] == widget.tokens()
    assert state["decoded"] == "that the theme"
    assert token_in_words(widget.tokens(), state["ids"], 3) == (
        f'token 3: "the", id {len(TOKENIZER.chars) + 1}, 3 characters'
    )
    assert merged("aaa", PAIRS, 6) == ["aa", "a"]
    assert '"the"' in widget.still()[1]


def test_merges_and_pairs_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="merges is 7; choose a value from 0 to 6"):
        TokenExplorer(TOKENIZER, "the", pairs=PAIRS).merges = 7
    with pytest.raises(ValueError, match="each must be two tokens"):
        TokenExplorer(TOKENIZER, "the", pairs=["the"])


@pytest.mark.parametrize("bad", [-1, 7, LONGEST])
def test_a_selection_out_of_range_is_refused(bad):
    widget = TokenExplorer(TOKENIZER, "the cat")
    with pytest.raises(ValueError, match=f"selected is {bad}; choose a value from 0 to 6"):
        widget.selected = bad


def test_something_without_a_vocabulary_is_refused():
    with pytest.raises(ValueError, match="takes a tokenizer first"):
        TokenExplorer("the cat")


@pytest.mark.parametrize("text", TOKEN_TEXTS)
def test_any_text_can_be_drawn_without_a_warning(text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure, alt = TokenExplorer(TOKENIZER, text).still()
        first = to_png(figure)
        assert to_png(TokenExplorer(TOKENIZER, text).still()[0]) == first
    assert repr(text[:40]) in alt
    assert counts_in_words(token_state(text, TOKENIZER.chars), TOKENIZER.vocab_size) in alt


def test_the_picture_tells_each_token():
    alt = TokenExplorer(TOKENIZER, "at X").still()[1]
    assert '"a" 2, "t" 10, space 1, "X" unknown' in alt


def test_a_text_of_many_tokens_keeps_all_its_ids():
    assert len(token_state("at" * 5000, TOKENIZER.chars)["ids"]) == 10_000
    assert token_state("at", TOKENIZER.chars)["ids"].tolist() == [2, 10]
