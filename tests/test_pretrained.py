"""The shipped models are what their recipes make, and are worth questioning."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minigpt_helpers import (
    Tensor,
    bigram_loss,
    bigram_probs,
    evaluate,
    load_corpus,
    load_pretrained,
    no_grad,
    pretrained,
)
from minigpt_helpers.graph import is_recording
from minigpt_helpers.pretrained import (
    PRETRAINED,
    SHAKESPEARE_LENGTH,
    SHAKESPEARE_SHA256,
    Dropout,
    check_shakespeare,
    train_names,
    train_rhymes,
    train_shakespeare,
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


def test_shakespeare_predicts_a_scene_that_it_was_not_trained_on():
    """The Tempest, act 2, scene 1: near the end of the text, so in the validation part."""
    model, tokenizer = load_pretrained("shakespeare")
    scene = (Path(__file__).parent / "tempest.txt").read_text(encoding="utf-8")
    ids = np.array(tokenizer.encode(scene))
    assert evaluate(model, ids, 256) < 1.95  # a table of pairs pays 2.48 on the validation part


def test_the_recipe_of_shakespeare_makes_a_model_of_the_same_form_and_it_learns():
    shipped, tokenizer = load_pretrained("shakespeare")
    text = "".join(tokenizer.chars) * 100
    model, found, history = train_shakespeare(text, steps=2)
    assert model.config == shipped.config and found.chars == tokenizer.chars
    assert list(model.state_dict()) == list(shipped.state_dict())  # the dropout is taken off again
    assert history.val_loss[-1] < history.val_loss[0]


def test_another_text_is_not_taken_for_shakespeares():
    with pytest.raises(ValueError, match=f"7 characters.*{SHAKESPEARE_LENGTH:,}.*{SHAKESPEARE_SHA256}"):
        check_shakespeare("To be, ")


def test_dropout_drops_a_tenth_in_training_and_nothing_after_it():
    ones = Tensor(np.ones((200, 100), dtype=np.float32))
    dropout = Dropout(lambda x: x, 0.1, np.random.default_rng(0))
    dropped = dropout(ones).data
    assert set(np.unique(dropped)) == {np.float32(0), np.float32(1 / 0.9)}
    assert abs(dropped.mean() - 1) < 0.01 and dropped.dtype == np.float32
    with no_grad():
        assert dropout(ones) is ones


def test_results_are_recorded_outside_of_no_grad_alone():
    assert is_recording()
    with no_grad():
        assert not is_recording()
    assert is_recording()


@pytest.mark.parametrize("arguments", [[], ["weather"], ["shakespeare"], ["names", "more"]])
def test_the_command_says_how_it_is_used(arguments):
    command = [sys.executable, "-m", "minigpt_helpers.pretrained", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "names | rhymes | shakespeare FILE" in done.stderr


def test_rhymes_is_the_model_one_gets_without_a_name():
    assert load_pretrained()[1].chars == load_pretrained("rhymes")[1].chars


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="'weather'.*'names', 'rhymes', 'shakespeare'"):
        load_pretrained("weather")
