"""The exported model and tokenizer in the real ``transformers``, and back after training there."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from minigpt_helpers import SGD, CharTokenizer, MiniGPT, cross_entropy_loss, no_grad  # noqa: E402
from minigpt_helpers.bridge import export_gpt2, import_gpt2  # noqa: E402

CHARS = "\n\t \r\0ab.,'ĠĊ▁éẹ\u0301日本😀👍🏽\u200d\u2028\ufeff\x7f#<|>"


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    transformers.utils.logging.disable_progress_bar()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def moved_model(rng, dtype, dim, heads, layers, length=12, vocab_size=len(CHARS)):
    """Every parameter moved away from its start."""
    model = MiniGPT(vocab_size, dim, heads, layers, length, rng=rng, dtype=dtype)
    for parameter in model.parameters():
        parameter.data += rng.normal(0, 0.2, parameter.shape).astype(dtype)
    return model


def load(folder):
    model, found = transformers.GPT2LMHeadModel.from_pretrained(folder, output_loading_info=True)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        assert not found[kind], kind
    return model


def assert_same(a, b):
    for (name, parameter), (other_name, other) in zip(a.named_parameters(), b.named_parameters()):
        assert name == other_name and parameter.dtype == other.dtype
        np.testing.assert_array_equal(parameter.data, other.data, err_msg=name)


@pytest.mark.parametrize("dtype, bound", [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize("dim, heads, layers", [(8, 1, 1), (24, 3, 2), (32, 8, 5)])
def test_the_logits_are_the_same_and_the_way_back_too(tmp_path, dtype, bound, dim, heads, layers):
    rng = np.random.default_rng(dim)
    model, tokenizer = moved_model(rng, dtype, dim, heads, layers), CharTokenizer(CHARS)
    export_gpt2(model, tokenizer, tmp_path / "there")
    theirs = load(tmp_path / "there")
    ids = rng.integers(0, len(CHARS), (3, 12))
    with torch.no_grad(), no_grad():
        a, b = theirs(torch.from_numpy(ids)).logits.numpy(), model(ids).data
    assert a.dtype == dtype
    assert np.abs(a - b).max() < bound * np.abs(b).max()
    theirs.save_pretrained(tmp_path / "back")
    transformers.AutoTokenizer.from_pretrained(tmp_path / "there").save_pretrained(
        tmp_path / "back"
    )
    back, back_tokenizer = import_gpt2(tmp_path / "back")
    assert_same(back, model)
    assert back_tokenizer.chars == tokenizer.chars


@pytest.mark.parametrize("heads, layers", [(2, 1), (4, 3)])
def test_gradient_descent_goes_the_same_way_on_both_sides(tmp_path, heads, layers):
    rng = np.random.default_rng(heads)
    model, tokenizer = moved_model(rng, np.float32, 16, heads, layers), CharTokenizer(CHARS)
    export_gpt2(model, tokenizer, tmp_path / "there")
    theirs = load(tmp_path / "there").train()
    ours, other = SGD(model.parameters(), lr=0.1), torch.optim.SGD(theirs.parameters(), lr=0.1)
    losses = []
    for _ in range(20):
        x, y = rng.integers(0, len(CHARS), (2, 4, 12))
        loss = cross_entropy_loss(model(x), y)
        ours.zero_grad(), loss.backward(), ours.step()
        logits = theirs(torch.from_numpy(x)).logits
        their_loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), torch.from_numpy(y).flatten()
        )
        other.zero_grad(), their_loss.backward(), other.step()
        losses.append((loss.item(), their_loss.item()))
    a, b = np.array(losses).T
    np.testing.assert_allclose(a, b, atol=1e-4)
    assert abs(a[0] - a[-1]) > 0.1  # something was learnt
    theirs.save_pretrained(tmp_path / "there")
    back, _ = import_gpt2(tmp_path / "there")
    for (name, mine), (_, trained) in zip(model.named_parameters(), back.named_parameters()):
        np.testing.assert_allclose(mine.data, trained.data, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    "chars",
    [
        CHARS,
        "ab",
        " ",
        "\n\r",
        "e\u0301",
        "Ġa b",
        "".join(map(chr, range(32, 1000))),
        "\u0600\u200e\u202eא",
        "🏴\U000e0067\U000e007f",
    ],
)
def test_the_tokenizer_gives_the_same_ids_and_the_same_text(tmp_path, chars):
    rng, tokenizer = np.random.default_rng(0), CharTokenizer(dict.fromkeys(reversed(chars)))
    model = MiniGPT(tokenizer.vocab_size, 4, 1, 1, 4, rng=rng)
    export_gpt2(model, tokenizer, tmp_path / "there")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "there")
    assert len(theirs) == tokenizer.vocab_size
    for text in ["", chars, "".join(rng.choice(tokenizer.chars, 500))]:
        ids = tokenizer.encode(text)
        assert theirs(text)["input_ids"] == ids
        assert theirs.decode(ids) == text
    with pytest.raises(Exception, match="vocabulary"):  # not left out in silence
        theirs("\u4e00")


def test_generation_there_writes_the_same_text(tmp_path):
    rng, tokenizer = np.random.default_rng(3), CharTokenizer(CHARS)
    model = moved_model(rng, np.float64, 16, 2, 2)
    export_gpt2(model, tokenizer, tmp_path / "there")
    from minigpt_helpers import generate

    start = tokenizer.encode("ab")
    with torch.no_grad():
        written = load(tmp_path / "there").generate(
            torch.tensor([start]),
            attention_mask=torch.ones(1, 2, dtype=torch.long),
            max_new_tokens=10,
            do_sample=False,
            pad_token_id=0,
        )
    assert written[0].tolist() == generate(model, start, 10, temperature=0)
