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
    generate,
    load_corpus,
    load_pretrained,
    no_grad,
    pretrained,
)
from minigpt_helpers.corpora.rhymes import rhyme_rate
from minigpt_helpers.graph import is_recording
from minigpt_helpers.pretrained import (
    PRETRAINED,
    SHAKESPEARE_LENGTH,
    SHAKESPEARE_SHA256,
    Dropout,
    check_shakespeare,
    line_ends,
    train_names,
    train_rhymes,
    train_shakespeare,
    train_verse,
)
from minigpt_helpers.text import train_val_split
from minigpt_helpers.training import History

FOLDER = Path(pretrained.__file__).parent


@pytest.mark.parametrize(("name", "gain"), [("names", 0.35), ("rhymes", 0.9), ("verse", 0.6)])
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


@pytest.mark.parametrize(("name", "recipe"), [("names", train_names), ("verse", train_verse)])
def test_a_recipe_makes_a_model_of_the_same_form_and_it_learns(name, recipe):
    shipped, shipped_tokenizer = load_pretrained(name)
    model, tokenizer, history = recipe(steps=20)
    assert model.config == shipped.config
    assert tokenizer.chars == shipped_tokenizer.chars
    assert history.val_loss[-1] < history.val_loss[0] - 0.3


def test_the_recipe_of_rhymes_goes_from_the_ends_of_lines_to_whole_lines(monkeypatch):
    read = []

    def train(model, data, **options):
        read.append((len(data), options["steps"], options["lr"](0)))
        return History()

    monkeypatch.setattr(pretrained, "train", train)
    model, tokenizer, _ = train_rhymes(steps=7500)
    shipped, shipped_tokenizer = load_pretrained("rhymes")
    assert model.config == shipped.config and tokenizer.chars == shipped_tokenizer.chars
    lengths, steps, rates = zip(*read)
    first = train_val_split(tokenizer.encode(load_corpus("rhymes")))[0]
    assert list(lengths) == sorted(lengths) and lengths[-1] == len(first)
    assert steps == (300, 600, 825, 825, 4950)
    assert rates[0] == 0 and rates[1] > rates[2] > rates[3] > rates[4] > 1e-3  # one schedule


def test_line_ends_are_the_last_words_of_each_line():
    assert line_ends("the cat sat,\non a mat.\n\noh\n", 2) == "cat sat,\na mat.\n\noh\n"


def test_the_model_of_rhymes_rhymes_at_half_the_rate_of_its_text():
    model, tokenizer = load_pretrained("rhymes")
    rng = np.random.default_rng(0)
    start = tokenizer.encode("\n\n")
    texts = [tokenizer.decode(generate(model, start, 126, 0.5, rng=rng)) for _ in range(25)]
    verse = "\n\n\n".join(text[: text.rindex("\n")] for text in texts)  # the last line is cut short
    lines = [line for line in verse.split("\n") if line]
    assert len(lines) > 70
    assert rhyme_rate(verse) > rhyme_rate(load_corpus("rhymes")) / 2
    known = set(load_corpus("rhymes").split("\n"))
    assert sum(line in known for line in lines) < len(lines) / 10  # it did not learn them by heart


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
    assert done.returncode == 1 and "names | rhymes | verse | shakespeare FILE" in done.stderr


def test_verse_is_the_model_one_gets_without_a_name():
    assert load_pretrained()[0].config == load_pretrained("verse")[0].config


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="'weather'.*'names', 'rhymes', 'shakespeare', 'verse'"):
        load_pretrained("weather")
