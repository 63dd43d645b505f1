"""The shipped model is what its recipe makes, and is worth questioning."""

import numpy as np
import pytest

from minigpt_helpers import bigram_loss, bigram_probs, evaluate, load_corpus, load_pretrained
from minigpt_helpers.pretrained import train_rhymes
from minigpt_helpers.text import train_val_split


def test_the_shipped_model_is_far_better_than_a_bigram():
    model, tokenizer = load_pretrained("rhymes")
    train_data, val_data = train_val_split(tokenizer.encode(load_corpus("rhymes")))
    bigram = bigram_loss(bigram_probs(train_data, tokenizer.vocab_size), val_data)
    assert evaluate(model, val_data, model.max_seq_len) < bigram - 0.6
    assert model.parameters()[0].dtype == np.float64


def test_the_recipe_makes_a_model_of_the_same_form_and_it_learns():
    shipped, shipped_tokenizer = load_pretrained()
    model, tokenizer, history = train_rhymes(steps=20)
    assert model.config == shipped.config
    assert tokenizer.chars == shipped_tokenizer.chars
    assert history.val_loss[-1] < history.val_loss[0] - 0.3


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="'shakespeare'.*'rhymes'"):
        load_pretrained("shakespeare")
