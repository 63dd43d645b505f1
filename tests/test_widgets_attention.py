"""The two attention widgets: their pure functions and what the kernel does behind them."""

from __future__ import annotations

import numpy as np
import pytest

from minigpt_helpers.nn import MiniGPT
from minigpt_helpers.text import CharTokenizer
from minigpt_helpers.widgets import AttentionMaskExplorer, AttentionViewer
from minigpt_helpers.widgets.attention_mask import mask_state, pair_in_words, random_scores
from minigpt_helpers.widgets.attention_viewer import viewer_state

TEXT = "the cat sat on the mat"


@pytest.fixture(scope="module")
def tokenizer():
    return CharTokenizer.from_text(TEXT)


@pytest.fixture(scope="module")
def model(tokenizer):
    return MiniGPT(tokenizer.vocab_size, 16, 2, 3, 12, rng=np.random.default_rng(0))


def test_a_small_case_by_hand():
    state = mask_state(np.array([[4.0, 9.0], [0.0, 2 * np.log(3)]]), head_dim=4)
    np.testing.assert_array_equal(state["scores"], [[2.0, 4.5], [0.0, np.log(3)]])
    np.testing.assert_array_equal(state["masked"], [[2.0, -np.inf], [0.0, np.log(3)]])
    np.testing.assert_allclose(state["weights"], [[1, 0], [0.25, 0.75]], rtol=1e-15)


def test_weights_are_distributions_and_the_future_weighs_exactly_nothing():
    scores = np.random.default_rng(0).standard_normal((6, 6))
    for causal in (True, False):
        weights = mask_state(scores, head_dim=8, causal=causal, temperature=0.3)["weights"]
        np.testing.assert_allclose(weights.sum(axis=1), 1)
        future = weights[np.triu_indices(6, k=1)]
        assert (future == 0).all() if causal else (future > 0).all()


def test_temperature_sharpens_and_flattens():
    scores = np.random.default_rng(0).standard_normal((5, 5))
    top = [mask_state(scores, head_dim=8, temperature=t)["weights"].max() for t in (0.1, 1, 4)]
    last = [mask_state(scores, head_dim=8, temperature=t)["weights"][-1].max() for t in (0.1, 1, 4)]
    assert top == [1, 1, 1] and last[0] > last[1] > last[2]


def test_the_models_own_weights_come_out(model, tokenizer):
    """Raw scores, scaled and masked here, give what the model computes inside."""
    explorer = AttentionMaskExplorer(model, tokenizer, TEXT[:10])
    explorer.length = 10
    own = model.attention_weights(tokenizer.encode(TEXT[:10]))
    for explorer.layer in range(3):
        for explorer.head in range(2):
            np.testing.assert_allclose(
                explorer.state()["weights"], own[explorer.layer, explorer.head], atol=1e-12
            )


def test_a_shorter_length_is_what_the_model_gives_for_the_shorter_text(model, tokenizer):
    explorer = AttentionMaskExplorer(model, tokenizer, TEXT[:10])
    explorer.length, explorer.layer, explorer.head = 4, 2, 1
    own = model.attention_weights(tokenizer.encode(TEXT[:4]))[2, 1]
    np.testing.assert_allclose(explorer.state()["weights"], own, atol=1e-12)


def test_random_scores_depend_on_the_seed_and_not_on_what_is_typed_later():
    scores = random_scores("the cat", seed=0)
    np.testing.assert_allclose(random_scores("the cat sat", seed=0)[:7, :7], scores)
    assert not np.allclose(random_scores("the cat", seed=1), scores)
    many = random_scores("".join(map(chr, range(32, 96))), seed=3)
    assert 0.6 < many.std() / np.sqrt(8) < 1.5, "scores spread by the root of the dimension"


def test_pairs_in_words():
    weights = np.array([[1, 0, 0], [0.5, 0.5, 0], [0.125, 0.5, 0.375]])
    say = lambda i, j, causal=True: pair_in_words(list("t h"), weights, i, j, causal)  # noqa: E731
    assert say(2, 0) == '"h" (position 2) looks at "t" (position 0) with weight 0.125'
    assert (
        say(1, 2) == 'space (position 1) cannot look at "h" (position 2): it lies in the '
        "future, weight 0"
    )
    assert say(1, 2, False).endswith("with weight 0.000")


def test_a_new_text_keeps_every_number_in_range(model, tokenizer):
    explorer = AttentionMaskExplorer(model, tokenizer, TEXT[:10])
    assert (explorer.length, explorer.row) == (8, 7)
    explorer.column = 6
    explorer.text = "the"
    assert (explorer.length, explorer.row, explorer.column) == (3, 2, 2)
    explorer.text = "the cat"
    assert explorer.length == 7, "the whole text was shown, so the whole new text is"
    explorer.length = 5
    explorer.text = "the cat sat"
    assert explorer.length == 5, "a chosen length stays"


def test_random_weights_beside_trained_ones(model, tokenizer):
    explorer = AttentionMaskExplorer(model, tokenizer, "the")
    explorer.layer, explorer.head = 2, 1
    trained = explorer.state()["weights"]
    explorer.weights = "random"
    assert (explorer.shape, explorer.layer, explorer.head) == ([1, 1], 0, 0)
    assert not np.allclose(explorer.state()["weights"], trained)
    explorer.text = "ünknown"
    assert explorer.problem == "", "random weights know every character"
    explorer.weights = "trained"
    assert '"ü" (position 0)' in explorer.problem


@pytest.mark.parametrize("make", [AttentionMaskExplorer, AttentionViewer])
def test_bad_text_is_explained_and_the_last_good_one_stays(make, model, tokenizer):
    widget = make(model, tokenizer, "the cat")
    before = widget.state()
    for text, said in [("", "empty"), ("the dog", '"d" (position 4)')]:
        widget.text = text
        assert said in widget.problem
        assert widget.tokens == list("the cat")
        np.testing.assert_array_equal(
            next(iter(widget.state().values())), next(iter(before.values()))
        )
    widget.text = TEXT
    assert widget.problem == "" and f"has {len(TEXT)} characters" in widget.note
    assert len(widget.tokens) == model.max_seq_len


def test_which_end_of_a_long_text_is_read(model, tokenizer):
    assert AttentionMaskExplorer(model, tokenizer, TEXT).tokens == list(TEXT[:12])
    assert AttentionViewer(model, tokenizer, TEXT).tokens == list(TEXT[-12:])
    assert len(AttentionMaskExplorer(text="a" * 100).tokens) == 64


@pytest.mark.parametrize("make", [AttentionMaskExplorer, AttentionViewer])
@pytest.mark.parametrize("text", ["", "dog"])
def test_a_widget_can_start_from_bad_text(make, text, model, tokenizer):
    """It says so; nothing is drawn yet, and a good text brings it to life."""
    widget = make(model, tokenizer, text)
    assert widget.problem and widget.tokens == []
    widget.text = "the"
    assert widget.problem == "" and widget.tokens == list("the")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("length", 0),
        ("length", 12),
        ("row", -1),
        ("row", 11),
        ("column", 11),
        ("layer", 3),
        ("head", -1),
        ("temperature", 0),
        ("weights", "learned"),
    ],
)
def test_values_out_of_range_are_refused(name, value, model, tokenizer):
    explorer = AttentionMaskExplorer(model, tokenizer, "the cat sat")
    before = getattr(explorer, name)
    with pytest.raises(ValueError, match=f"{name} is {value!r}"):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before


def test_a_model_needs_its_tokenizer(model, tokenizer):
    for half in ({"model": model}, {"tokenizer": tokenizer}):
        with pytest.raises(ValueError, match="give both"):
            AttentionMaskExplorer(**half)


def test_one_row_of_a_head():
    weights = np.arange(8, dtype=float).reshape(1, 2, 2, 2)
    state = viewer_state(weights, 0, 1, 1)
    np.testing.assert_array_equal(state["map"], [[4, 5], [6, 7]])
    np.testing.assert_array_equal(state["looks"], [6, 7])
    np.testing.assert_array_equal(state["strongest"], [1, 0])


def test_the_viewer_shows_the_models_weights(model, tokenizer):
    viewer = AttentionViewer(model, tokenizer, "the cat")
    own = model.attention_weights(tokenizer.encode("the cat"))
    assert viewer.row == 6 and viewer.column == own[0, 0, 6].argmax()
    viewer.layer, viewer.head, viewer.row = 2, 1, 3
    np.testing.assert_array_equal(viewer.state()["map"], own[2, 1])
    np.testing.assert_array_equal(viewer.state()["looks"], own[2, 1, 3, :4])


def test_alt_texts_name_the_largest_weight(model, tokenizer):
    for widget in (
        AttentionMaskExplorer(model, tokenizer, "the cat"),
        AttentionViewer(model, tokenizer, "the cat"),
    ):
        own = model.attention_weights(tokenizer.encode("the cat"))[0, 0]
        largest = int(own[6].argmax())
        assert pair_in_words(list("the cat"), own, 6, largest, True) in widget.still()[1]
