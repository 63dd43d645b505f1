"""The temperature explorer: its pure function, its draws, and what it says about bad prompts."""

from __future__ import annotations

import numpy as np
import pytest

from minigpt_helpers.autograd import no_grad
from minigpt_helpers.generation import generate, next_token_probs
from minigpt_helpers.nn import MiniGPT
from minigpt_helpers.text import CharTokenizer
from minigpt_helpers.widgets import TemperatureExplorer
from minigpt_helpers.widgets.temperature import axis_top, columns, temperature_state

TEXT = "the cat sat on the mat"


@pytest.fixture(scope="module")
def tokenizer():
    return CharTokenizer.from_text(TEXT)


@pytest.fixture(scope="module")
def model(tokenizer):
    return MiniGPT(tokenizer.vocab_size, 16, 2, 1, 12, rng=np.random.default_rng(0))


@pytest.fixture
def explorer(model, tokenizer):
    return TemperatureExplorer(model, tokenizer, "the ")


def test_a_small_case_by_hand():
    state = temperature_state(np.log([0.5, 0.25, 0.25]), 1.0)
    np.testing.assert_allclose(state["probs"], [0.5, 0.25, 0.25])
    assert state["entropy"] == pytest.approx(1.5 * np.log(2))
    assert state["greedy"] == 0
    np.testing.assert_array_equal(state["order"], [0, 1, 2])


def test_zero_is_greedy_and_ties_go_to_the_lowest_id():
    state = temperature_state(np.array([1.0, 3.0, 3.0]), 0)
    np.testing.assert_array_equal(state["probs"], [0, 1, 0])
    assert state["entropy"] == 0 and state["greedy"] == 1
    cut = temperature_state(np.array([1.0, 1.0, 1.0]), 1.0, top_k=2)
    np.testing.assert_array_equal(cut["probs"], [0.5, 0.5, 0])


def test_entropy_grows_with_the_temperature_up_to_the_uniform_one():
    logits = np.random.default_rng(0).standard_normal(27)
    entropies = [temperature_state(logits, t)["entropy"] for t in (0, 0.3, 1, 3, 1e6)]
    assert entropies == sorted(entropies)
    assert entropies[-1] == pytest.approx(np.log(27))


def test_top_p_keeps_the_fewest_that_reach_it():
    state = temperature_state(np.log([0.5, 0.3, 0.2]), 1.0, top_p=0.7)
    np.testing.assert_allclose(state["probs"], [0.625, 0.375, 0])


def test_the_axis_ends_little_above_the_tallest_bar():
    assert [axis_top(p) for p in (0.01, 0.15, 0.3, 0.55, 0.9, 1.0)] == [0.1, 0.2, 0.3, 0.6, 1, 1]


def test_write_on_draws_what_single_draws_would(model, tokenizer):
    one, other = (TemperatureExplorer(model, tokenizer, "the ", seed=3) for _ in range(2))
    one.write_on()
    for _ in range(20):
        other.draw_one()
    assert one.prompt == other.prompt and len(one.prompt) == 24


def test_columns_hold_every_id_once():
    assert columns(np.array([2, 0, 1])) == ([2, 0, 1], [])
    single, others = columns(np.arange(40))
    assert len(single) == 15 and single + others == list(range(40))


def test_the_bars_are_what_generate_draws_from(explorer, model, tokenizer):
    explorer.temperature, explorer.top_k = 0.7, 4
    with no_grad():
        logits = model(tokenizer.encode("the ")).data[-1]
    np.testing.assert_array_equal(explorer.state()["probs"], next_token_probs(logits, 0.7, 4))
    explorer.temperature = 0
    ids = generate(model, tokenizer.encode("the "), 1, temperature=0)
    assert explorer.state()["greedy"] == ids[-1]


def test_the_same_clicks_draw_the_same_characters(model, tokenizer):
    def play():
        explorer = TemperatureExplorer(model, tokenizer, "the ", seed=3)
        for _ in range(20):
            explorer.draw_one()
        explorer.draw_many()
        return explorer

    first, second = play(), play()
    assert len(first.prompt) == 24 and set(first.prompt) <= set(TEXT)
    assert (first.prompt, first.counts) == (second.prompt, second.counts)
    drawn = first.prompt
    first.reset()
    assert (first.prompt, first.counts, first.temperature) == ("the ", [], 1.0)
    for _ in range(20):
        first.draw_one()
    assert first.prompt == drawn, "reset takes the generator back, too"


def test_a_thousand_draws_follow_the_bars(explorer):
    explorer.draw_many()
    probs = explorer.state()["probs"]
    assert sum(explorer.counts) == 1000
    spread = np.sqrt(1000 * probs * (1 - probs))
    assert (np.abs(np.array(explorer.counts) - 1000 * probs) < 5 * spread + 1).all()


@pytest.mark.parametrize(
    ("name", "value"), [("temperature", 0.5), ("top_k", 2), ("prompt", "the cat")]
)
def test_counts_are_forgotten_when_the_distribution_changes(explorer, name, value):
    explorer.draw_many()
    setattr(explorer, name, value)
    assert explorer.counts == []


def test_top_k_keeps_drawn_characters_among_the_first(explorer):
    explorer.top_k = 2
    explorer.draw_many()
    drawn = np.flatnonzero(explorer.counts)
    assert set(drawn) <= set(explorer.state()["order"][:2])


def test_a_long_prompt_is_cut_as_generate_cuts_it(explorer, model, tokenizer):
    explorer.prompt = TEXT
    assert f"has {len(TEXT)} characters; only the last 12" in explorer.note
    with no_grad():
        logits = model(tokenizer.encode(TEXT[-12:])).data[-1]
    np.testing.assert_array_equal(explorer.state()["probs"], next_token_probs(logits))


@pytest.mark.parametrize(("prompt", "said"), [("", "empty"), ("the dog", '"d" (position 4)')])
def test_bad_prompts_are_explained_and_nothing_is_drawn(explorer, prompt, said):
    before = explorer.logits
    explorer.prompt = prompt
    assert said in explorer.problem
    explorer.draw_one()
    explorer.draw_many()
    assert (explorer.prompt, explorer.counts, explorer.logits) == (prompt, [], before)


@pytest.mark.parametrize("prompt", ["", "dog"])
def test_it_can_start_from_a_bad_prompt(model, tokenizer, prompt):
    explorer = TemperatureExplorer(model, tokenizer, prompt)
    assert explorer.problem and explorer.logits == b""
    explorer.prompt = "the"
    assert explorer.problem == "" and explorer.state()["probs"].sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", 3.1),
        ("top_k", 0),
        ("top_k", 99),
        ("top_p", 0),
        ("top_p", 1.1),
        ("bar", -1),
        ("bar", 99),
    ],
)
def test_values_out_of_range_are_refused(explorer, name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        setattr(explorer, name, value)


def test_alt_text_tells_the_likeliest_characters_and_the_entropy(explorer):
    state = explorer.state()
    alt = explorer.still()[1]
    for token in state["order"][:2]:
        assert f"{state['probs'][token]:.2f}" in alt
    assert f"entropy is {state['entropy']:.2f} nats" in alt and "'the '" in alt
