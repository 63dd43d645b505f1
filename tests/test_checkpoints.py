"""Saving and loading: whole or not at all, and never anything but numbers and text."""

import json
import os
import pickle
import stat
import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from minigpt_helpers import (
    CharTokenizer,
    MiniGPT,
    generate,
    load_checkpoint,
    save_checkpoint,
    train,
)

pytestmark = pytest.mark.filterwarnings("error")

CHARS = "\n abcd"


def model_of(seed=0, dtype=np.float64, vocab_size=len(CHARS), heads=2):
    return MiniGPT(vocab_size, 8, heads, 2, 6, rng=np.random.default_rng(seed), dtype=dtype)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def saved(path):
    save_checkpoint(path, model_of(), CharTokenizer(CHARS))
    return path


def assert_same(a, b):
    a, b = a.state_dict(), b.state_dict()
    assert list(a) == list(b)
    for name in a:
        assert a[name].dtype == b[name].dtype
        np.testing.assert_array_equal(a[name], b[name])


# Round trip


def test_a_file_in_float16_is_a_quarter_as_large_and_gives_float64(path):
    model, tokenizer = model_of(), CharTokenizer(CHARS)
    save_checkpoint(path, model, tokenizer)
    whole = path.stat().st_size
    save_checkpoint(path, model, tokenizer, dtype=np.float16)
    assert path.stat().st_size < whole / 2  # the header stays as long
    again = load_checkpoint(path)[0].state_dict()
    for name, array in model.state_dict().items():
        assert again[name].dtype == np.float64
        np.testing.assert_array_equal(again[name], array.astype(np.float16).astype(np.float64))


def test_a_file_holds_float_numbers(path):
    with pytest.raises(ValueError, match="dtype must be a float type.*int"):
        save_checkpoint(path, model_of(), CharTokenizer(CHARS), dtype=int)
    assert not path.exists()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("chars", [CHARS, "日本語😀é\u0301", "\0\t\"\\'\n", "\ud800\udfffab"])
def test_round_trip(path, dtype, chars):
    tokenizer = CharTokenizer(chars)
    model = model_of(dtype=dtype, vocab_size=tokenizer.vocab_size)
    save_checkpoint(path, model, tokenizer)
    loaded, loaded_tokenizer = load_checkpoint(path)
    assert_same(model, loaded)
    assert loaded.config == model.config
    assert loaded_tokenizer.chars == tokenizer.chars
    ids = tokenizer.encode(chars)[:6]
    np.testing.assert_array_equal(loaded(ids).data, model(ids).data)
    text = [generate(m, [0], 20, rng=np.random.default_rng(0)) for m in (model, loaded)]
    assert text[0] == text[1]


@pytest.mark.parametrize("as_path", [str, os.fspath, lambda p: p])
def test_a_path_may_be_text(path, as_path):
    save_checkpoint(as_path(path), model_of(), CharTokenizer(CHARS))
    assert_same(load_checkpoint(as_path(path))[0], model_of())


def test_a_name_without_a_folder(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    save_checkpoint("mine", model_of(), CharTokenizer(CHARS))
    assert_same(load_checkpoint("mine")[0], model_of())


def test_numpy_sizes_can_be_saved(path):
    model = MiniGPT(*(np.int64(n) for n in (len(CHARS), 8, 2, 2, 6)))
    save_checkpoint(path, model, CharTokenizer(CHARS))
    assert_same(load_checkpoint(path)[0], model)


def test_a_trained_model_is_saved_as_it_is_now(path):
    model, data = model_of(), np.arange(60) % len(CHARS)
    train(model, data, steps=3, rng=np.random.default_rng(0))  # its data are now views
    save_checkpoint(path, model, CharTokenizer(CHARS))
    loaded, _ = load_checkpoint(path)
    assert_same(loaded, model)
    train(loaded, data, steps=2, rng=np.random.default_rng(0))
    assert not np.array_equal(loaded.head.weight.data, model.head.weight.data)


def test_parameters_that_lie_askew_in_memory(path):
    model = model_of()
    weight = model.head.weight
    weight.data = np.asfortranarray(weight.data)
    model.final_norm.bias.data = np.arange(16.0)[::2]
    save_checkpoint(path, model, CharTokenizer(CHARS))
    assert_same(load_checkpoint(path)[0], model)


def test_loading_draws_on_no_randomness(saved):
    before = np.random.get_state()[1].tolist()
    load_checkpoint(saved)
    assert np.random.get_state()[1].tolist() == before


def test_the_file_is_a_plain_safetensors_file(saved):
    with safe_open(saved, framework="numpy") as file:
        assert set(file.keys()) == set(model_of().state_dict())
        header = file.metadata()
    assert json.loads(header["config"]) == model_of().config
    assert json.loads(header["vocabulary"]) == list(CHARS)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_file_may_be_read_by_whom_any_new_file_may(path, umask):
    before = os.umask(umask)
    try:
        (path.parent / "plain").write_bytes(b"")
        save_checkpoint(path, model_of(), CharTokenizer(CHARS))
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (path, path.parent / "plain")]
    assert modes[0] == modes[1]


# Files that are not a checkpoint


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 100, 0.25, 0.5, 0.9, -100, -8, -1])
def test_a_file_that_was_cut_short(saved, keep):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(ValueError, match="model.safetensors.*cut short"):
        load_checkpoint(saved)


def test_a_file_with_something_behind_its_end(saved):
    saved.write_bytes(saved.read_bytes() + b"more")
    with pytest.raises(ValueError, match="model.safetensors"):
        load_checkpoint(saved)


class Evil:
    """Unpickling this would run code of the file's author."""

    def __reduce__(self):
        return os.mkdir, ("unpickled",)


@pytest.mark.parametrize("content", [
    np.random.default_rng(0).bytes(5000), pickle.dumps(Evil()), pickle.dumps({"head": [1, 2]}),
    b"hello world, this is text\n" * 50, b"\x80" * 64, b"\xff" * 64, b"\0" * 64,
    b"PK\x03\x04" + b"\0" * 99,
    (10**6).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"[]",
    (2).to_bytes(8, "little") + b"{}",
], ids=["random", "pickle", "harmless pickle", "text", "80", "ff", "zeros", "zip",
        "header too long",
        "list header", "empty header"])
def test_a_file_from_elsewhere(path, content, monkeypatch):
    monkeypatch.chdir(path.parent)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="model.safetensors"):
        load_checkpoint(path)
    assert not (path.parent / "unpickled").exists()


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"},
    {"format": "minigpt-checkpoint-999"}])
def test_a_safetensors_file_of_another_kind(path, metadata):
    save_file(model_of().state_dict(), path, metadata=metadata)
    with pytest.raises(ValueError, match="not a Mini-GPT checkpoint"):
        load_checkpoint(path)


def tampered(path, change_state=lambda state: None, **header):
    """A valid safetensors file of the right format with something changed in it."""
    state = model_of().state_dict()
    change_state(state)
    metadata = {"format": "minigpt-checkpoint-1", "config": json.dumps(model_of().config),
                "vocabulary": json.dumps(list(CHARS))}
    metadata |= {k: v if isinstance(v, str) else json.dumps(v) for k, v in header.items()}
    metadata = {k: v for k, v in metadata.items() if v != "null"}
    save_file(state, path, metadata=metadata)


def config(**changes):
    return model_of().config | changes


def test_the_tampering_helper_makes_good_files_when_it_changes_nothing(path):
    tampered(path)
    assert_same(load_checkpoint(path)[0], model_of())


@pytest.mark.parametrize("header", [
    {"vocabulary": list("abc")}, {"vocabulary": list("aabcde")}, {"vocabulary": ["ab", *"cdefg"]},
    {"vocabulary": [1, 2, 3, 4, 5, 6]}, {"vocabulary": 6}, {"vocabulary": "no json ["},
    {"vocabulary": []}, {"vocabulary": None}, {"config": None}, {"config": "no json {"},
    {"config": "[" * 5000 + "]" * 5000}, {"vocabulary": '{"a":' * 5000 + "1" + "}" * 5000},
    {"config": config(num_heads=True)}, {"config": config(embed_dim=8.0)},
    {"config": config(num_heads=2.0)}, {"config": "1" * 5000}, {"vocabulary": {"a": 1}},
    {"config": []}, {"config": 5}, {"config": {}}, {"config": config(vocab_size=7)},
    {"config": config(num_heads=3)}, {"config": config(num_heads=0)},
    {"config": config(num_heads="a")},
    {"config": config(num_layers=1)}, {"config": config(num_layers=3)},
    {"config": config(embed_dim=16)},
    {"config": config(max_seq_len=7)}, {"config": config(max_seq_len=None)},
    {"config": config(stranger=1)}, {"config": config(rng=3)}, {"config": config(dtype="float32")},
    {"config": config(embed_dim=10**7)}, {"config": config(num_layers=10**12)},
    {"config": config(max_seq_len=10**13)}, {"config": config(embed_dim=-8)},
    {"config": config(vocab_size=10**12), "vocabulary": list("abcdef")},
], ids=str)
def test_a_tampered_header(path, header):
    """Sizes that no memory holds must be refused before anything of that size is made."""
    tampered(path, **header)
    with pytest.raises(ValueError, match="model.safetensors.*don't fit together"):
        load_checkpoint(path)


@pytest.mark.parametrize("change", [
    lambda s: s.pop("head.weight"), lambda s: s.pop("final_norm.bias"),
    lambda s: s.pop("token_embedding.weight"),
    lambda s: s.pop("position_embedding.weight"), lambda s: s.clear(),
    lambda s: s.update(stranger=np.ones(2)), lambda s: s.update({"final_norm.bias": np.ones(99)}),
    lambda s: s.update({"head.weight": np.ones((8, 7))}),
    lambda s: s.update({"token_embedding.weight": np.ones(3)}),
    lambda s: s.update({"head.weight": s["head.weight"].astype(np.int32)}),
    lambda s: s.update({"blocks.x.norm1.bias": np.ones(8)}),
])
def test_tampered_parameters(path, change):
    tampered(path, change_state=change)
    with pytest.raises(ValueError, match="model.safetensors.*don't fit together"):
        load_checkpoint(path)


def test_a_file_from_the_time_when_the_head_had_a_bias(path):
    tampered(path, change_state=lambda s: s.update({"head.bias": np.zeros(len(CHARS))}))
    with pytest.raises(ValueError, match="model.safetensors.*head had a bias.*Train the model again"):
        load_checkpoint(path)


@pytest.mark.parametrize("nested", ["[", '{"a":'])
def test_a_file_whose_own_header_is_nested_deeply(path, nested):
    header = (nested * 5000).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ValueError, match="model.safetensors"):
        load_checkpoint(path)


@pytest.mark.parametrize("path", [None, 3, True, b"model", [], "a" * 300, "a" * 5000, "a\0b",
    "no/" * 2000])
def test_paths_that_cannot_be(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for use in (load_checkpoint, lambda p: save_checkpoint(p, model_of(), CharTokenizer(CHARS))):
        with pytest.raises(ValueError, match="path|no file|no folder"):
            use(path)
    assert list(tmp_path.iterdir()) == []


def test_a_name_as_long_as_the_system_takes(tmp_path):
    path = tmp_path / ("a" * 250)  # the file it is first written to must not be longer
    save_checkpoint(path, model_of(), CharTokenizer(CHARS))
    assert_same(load_checkpoint(path)[0], model_of())
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("model, tokenizer", [(None, CharTokenizer(CHARS)), (model_of(), "abc")])
def test_only_a_model_with_its_tokenizer_is_saved(path, model, tokenizer):
    with pytest.raises(ValueError, match="MiniGPT and CharTokenizer"):
        save_checkpoint(path, model, tokenizer)
    assert list(path.parent.iterdir()) == []


def test_what_does_not_exist(tmp_path):
    for missing in (tmp_path / "nothing.safetensors", tmp_path / "no" / "folder", tmp_path):
        with pytest.raises(ValueError, match="there is no file.*" + missing.name):
            load_checkpoint(missing)
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "nothing.safetensors")
    with pytest.raises(ValueError, match="there is no folder.*deeper"):
        save_checkpoint(tmp_path / "deeper" / "model", model_of(), CharTokenizer(CHARS))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_overwritten(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    with pytest.raises(ValueError, match="models.*folder"):
        save_checkpoint(folder, model_of(), CharTokenizer(CHARS))
    assert list(tmp_path.iterdir()) == [folder]


def test_a_tokenizer_of_another_size_is_not_saved(path):
    with pytest.raises(ValueError, match="vocab_size=6.*3 characters"):
        save_checkpoint(path, model_of(), CharTokenizer("abc"))
    assert list(path.parent.iterdir()) == []


# Saving over an older file


def test_a_new_file_replaces_the_old_one(saved):
    save_checkpoint(saved, model_of(seed=1, dtype=np.float32), CharTokenizer("uvwxyz"))
    model, tokenizer = load_checkpoint(saved)
    assert_same(model, model_of(seed=1, dtype=np.float32))
    assert tokenizer.chars == list("uvwxyz")
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()],
    ids=["disk", "interrupt"])
@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_whole(saved, monkeypatch, where, error):
    before = saved.read_bytes()

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(os, where, fail)
    with pytest.raises(type(error)):
        save_checkpoint(saved, model_of(seed=1), CharTokenizer(CHARS))
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
    assert_same(load_checkpoint(saved)[0], model_of())


CRASH = """
import os, sys
import minigpt_helpers as mg
os.replace = lambda *args: os._exit(3)
mg.save_checkpoint(sys.argv[1], mg.MiniGPT(6, 8, 2, 2, 6), mg.CharTokenizer("uvwxyz"))
"""


def test_a_crash_in_the_middle_leaves_the_old_file_whole(saved):
    """Not an exception this time: the process is gone before the new file took its name."""
    before = saved.read_bytes()
    assert subprocess.run([sys.executable, "-c", CRASH, str(saved)]).returncode == 3
    assert saved.read_bytes() == before
    assert_same(load_checkpoint(saved)[0], model_of())
