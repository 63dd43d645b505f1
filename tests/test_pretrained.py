"""The shipped models are what their recipes make, and are worth questioning."""

from pathlib import Path

import numpy as np
import pytest

from minigpt_helpers import (
    bigram_loss,
    bigram_probs,
    evaluate,
    load_corpus,
    load_pretrained,
    pretrained,
)
from minigpt_helpers.pretrained import (
    PRETRAINED,
    train_names,
    train_rhymes,
)
from minigpt_helpers.text import train_val_split

FOLDER = Path(pretrained.__file__).parent


@pytest.mark.parametrize(("name", "gain"), [("names", 0.35), ("rhymes", 0.6)])
def test_a_shipped_model_is_far_better_than_a_bigram(name, gain):
    model, tokenizer = load_pretrained(name)
    train_data, val_data = train_val_split(tokenizer.encode(load_corpus(name)))
    bigram = bigram_loss(bigram_probs(train_data, tokenizer.vocab_size), val_data)
    assert evaluate(model, val_data, model.max_seq_len) < bigram - gain


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_shipped_model_is_small_on_disk_and_exact_in_memory(name):
    model, _ = load_pretrained(name)
    assert {parameter.dtype for parameter in model.parameters()} == {np.dtype(np.float64)}
    assert (FOLDER / f"{name}.safetensors").stat().st_size <= 2_000_000


def test_the_shipped_files_are_those_named():
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == set(PRETRAINED)


@pytest.mark.parametrize(("name", "recipe"), [("names", train_names), ("rhymes", train_rhymes)])
def test_a_recipe_makes_a_model_of_the_same_form_and_it_learns(name, recipe):
    shipped, shipped_tokenizer = load_pretrained(name)
    model, tokenizer, history = recipe(steps=20)
    assert model.config == shipped.config
    assert tokenizer.chars == shipped_tokenizer.chars
    assert history.val_loss[-1] < history.val_loss[0] - 0.3


def test_rhymes_is_the_model_one_gets_without_a_name():
    assert load_pretrained()[1].chars == load_pretrained("rhymes")[1].chars


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="'weather'.*'names', 'rhymes'"):
        load_pretrained("weather")
