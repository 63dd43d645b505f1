"""GPT-2's format and back, without PyTorch: what is written, what is refused, nothing half done.

That the real libraries load it is tested in ``tests/bridge``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from minigpt_helpers import CharTokenizer, MiniGPT, Tensor, train
from minigpt_helpers.bridge import export_gpt2, import_gpt2, parameter_names, shapes

pytestmark = pytest.mark.filterwarnings("error")

CHARS = "\n abcd"
FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


def model_of(seed=0, dtype=np.float64, vocab_size=len(CHARS), dim=8, heads=2, layers=2, length=6):
    rng = np.random.default_rng(seed)
    model = MiniGPT(vocab_size, dim, heads, layers, length, rng=rng, dtype=dtype)
    for parameter in model.parameters():  # so that no scale is 1 and no bias 0
        parameter.data += rng.normal(0, 0.3, parameter.shape).astype(dtype)
    return model


def assert_same(a, b):
    a, b = a.state_dict(), b.state_dict()
    assert list(a) == list(b)
    for name in a:
        assert a[name].dtype == b[name].dtype
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path):
    export_gpt2(model_of(), CharTokenizer(CHARS), tmp_path / "gpt2")
    return tmp_path / "gpt2"


def change(path, **new):
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | new))


def change_weights(folder, change):
    path = folder / "model.safetensors"
    state = load_file(path)
    change(state)
    save_file({name: np.ascontiguousarray(v) for name, v in state.items()}, path)


# There and back


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    "sizes",
    [
        dict(dim=8, heads=2, layers=2, length=6),
        dict(dim=5, heads=1, layers=1, length=1),
        dict(dim=12, heads=12, layers=3, length=9),
    ],
)
def test_a_round_trip_is_the_same_to_the_last_bit(tmp_path, dtype, sizes):
    model, tokenizer = model_of(dtype=dtype, **sizes), CharTokenizer(CHARS)
    export_gpt2(model, tokenizer, tmp_path / "gpt2")
    loaded, loaded_tokenizer = import_gpt2(tmp_path / "gpt2")
    assert_same(loaded, model)
    assert loaded.config == model.config
    assert loaded_tokenizer.chars == tokenizer.chars


@pytest.mark.parametrize(
    "chars",
    [
        "\n\r\t \0\x7f\"\\'",
        "ĠĊ▁Ä Ċ",
        "e\u0301é日本語\u200d👍🏽",
        "\u2028\u2029\ufeff\u00a0",
    ],
)
def test_any_vocabulary_comes_back(tmp_path, chars):
    tokenizer = CharTokenizer(dict.fromkeys(reversed(chars)))  # not sorted: by id
    export_gpt2(model_of(vocab_size=tokenizer.vocab_size), tokenizer, str(tmp_path / "gpt2"))
    assert import_gpt2(str(tmp_path / "gpt2"))[1].chars == tokenizer.chars


def test_a_trained_model_goes_as_it_is_now(tmp_path):
    model, data = model_of(), np.arange(60) % len(CHARS)
    train(model, data, steps=2, rng=np.random.default_rng(0))  # its data are now views
    model.head.weight.data = np.asfortranarray(model.head.weight.data)
    export_gpt2(model, CharTokenizer(CHARS), tmp_path / "gpt2")
    assert_same(import_gpt2(tmp_path / "gpt2")[0], model)


def test_the_head_is_turned_round_and_nothing_else(folder):
    state, model = load_file(folder / "model.safetensors"), model_of()
    np.testing.assert_array_equal(state["lm_head.weight"], model.head.weight.data.T)
    np.testing.assert_array_equal(
        state["transformer.h.1.mlp.c_fc.weight"], model.blocks[1].feed_forward.expand.weight.data
    )
    assert {name: value.shape for name, value in state.items()} == shapes(model.config)


def test_the_names_are_those_of_the_model():
    ours = [name for name, _ in parameter_names(2)]
    assert sorted(ours) == sorted(name for name, _ in model_of().named_parameters())


def test_training_there_knows_no_dropout_and_the_head_is_not_tied(folder):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert [config[f"{part}_pdrop"] for part in ("attn", "embd", "resid")] == [0, 0, 0]
    assert config["tie_word_embeddings"] is False and config["eos_token_id"] is None


def test_bfloat16_becomes_float32(folder):
    path = folder / "model.safetensors"
    config = import_gpt2(folder)[0].config
    sizes, header, blob = shapes(config), {}, b""
    values = {n: np.random.default_rng(1).normal(size=s).astype("<f4") for n, s in sizes.items()}
    for name, value in values.items():
        data = (value.view("<u4") >> 16).astype("<u2").tobytes()
        offsets = [len(blob), len(blob) + len(data)]
        header[name] = {"dtype": "BF16", "shape": value.shape, "data_offsets": offsets}
        blob += data
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + blob)
    model = import_gpt2(folder)[0]
    assert model.head.weight.dtype == np.float32
    np.testing.assert_allclose(model.head.weight.data.T, values["lm_head.weight"], rtol=2**-7)


def test_importing_the_package_does_not_import_the_bridge():
    code = "import sys, minigpt_helpers; print('minigpt_helpers.bridge' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


# What export refuses, and that it then leaves everything as it was


def bad_bias(model):
    model.head.bias = type(model.head.weight)(np.zeros(len(CHARS)))


def bad_shape(model):
    model.blocks[0].feed_forward.expand.bias = Tensor(np.zeros(7))


def bad_dtype(model):
    model.final_norm.weight.data = model.final_norm.weight.data.astype(np.float32)


def bad_eps(model):
    model.blocks[1].norm2.eps = 1e-3


@pytest.mark.parametrize(
    "spoil, message",
    [
        (bad_bias, "head.bias"),
        (bad_shape, r"expand.bias has shape \(7,\)"),
        (bad_dtype, "final_norm.weight is of type float"),
        (bad_eps, "eps=0.001"),
        (lambda model: model.blocks.pop(), r"blocks\.1"),
    ],
)
def test_a_model_with_other_parts_is_refused(folder, spoil, message):
    before, model = content(folder), model_of(seed=1)
    spoil(model)
    with pytest.raises(ValueError, match=message):
        export_gpt2(model, CharTokenizer(CHARS), folder)
    assert content(folder) == before


@pytest.mark.parametrize(
    "tokenizer, message",
    [
        (CharTokenizer("abc"), "vocab_size=6.*3 characters"),
        (CharTokenizer("\ud800abcde"), r"\\ud800"),
        ("abcdef", "CharTokenizer, not MiniGPT and str"),
    ],
)
def test_a_tokenizer_that_does_not_fit_is_refused(tmp_path, tokenizer, message):
    with pytest.raises(ValueError, match=message):
        export_gpt2(model_of(), tokenizer, tmp_path / "gpt2")
    assert not list(tmp_path.iterdir())


def test_a_longdouble_model_is_refused(tmp_path):
    if np.dtype(np.longdouble).itemsize == 8:
        return  # there it is a float64
    with pytest.raises(ValueError, match="float16, float32 or float64"):
        export_gpt2(model_of(dtype=np.longdouble), CharTokenizer(CHARS), tmp_path / "gpt2")


def test_a_file_or_no_parent_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="is a file"):
        export_gpt2(model_of(), CharTokenizer(CHARS), tmp_path / "file")
    with pytest.raises(ValueError, match="no folder"):
        export_gpt2(model_of(), CharTokenizer(CHARS), tmp_path / "absent" / "gpt2")
    assert content(tmp_path) == {"file": b"mine"}


# Nothing half written


def test_an_export_replaces_an_earlier_one_and_leaves_other_files(folder):
    (folder / "README").write_text("mine")
    export_gpt2(model_of(seed=1), CharTokenizer("abcdef"), folder)
    assert sorted(content(folder)) == sorted([*FILES, "README"])
    assert_same(import_gpt2(folder)[0], model_of(seed=1))


def test_the_working_folder_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export_gpt2(model_of(), CharTokenizer(CHARS), ".")
    assert sorted(os.listdir(".")) == FILES
    assert_same(import_gpt2(".")[0], model_of())


@pytest.mark.parametrize("function", ["fsync", "replace", "rename"])
@pytest.mark.parametrize("calls", range(9))
@pytest.mark.parametrize("there", [True, False])
def test_an_error_at_any_moment_leaves_what_was_there(
    tmp_path, monkeypatch, function, calls, there
):
    folder, real, count = tmp_path / "gpt2", getattr(os, function), iter(range(100))
    if there:
        export_gpt2(model_of(), CharTokenizer(CHARS), folder)
    before = content(folder) if there else None

    def broken(*arguments):
        if next(count) == calls:
            raise OSError(28, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(os, function, broken)
    try:
        export_gpt2(model_of(seed=1), CharTokenizer("abcdef"), folder)
    except OSError:
        assert (content(folder) if folder.exists() else None) == before
    else:
        assert_same(import_gpt2(folder)[0], model_of(seed=1))
        assert next(count) <= calls
    assert [path.name for path in tmp_path.iterdir()] in (["gpt2"], [])


# What import refuses


def test_a_folder_or_a_file_that_is_missing(folder, tmp_path):
    with pytest.raises(ValueError, match="no folder"):
        import_gpt2(tmp_path / "absent")
    for name in FILES[:3]:
        kept = (folder / name).read_bytes()
        (folder / name).unlink()
        with pytest.raises(ValueError, match=f"no file .*{name}"):
            import_gpt2(folder)
        (folder / name).write_bytes(kept)


@pytest.mark.parametrize(
    "new, message",
    [
        ({"model_type": "llama"}, "model_type 'llama'"),
        ({"architectures": ["GPT2Model"]}, "GPT2Model"),
        ({"tie_word_embeddings": True}, "tied head"),
        ({"activation_function": "gelu"}, "activation_function='gelu'"),
        ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon=1e-06"),
        ({"scale_attn_weights": False}, "scale_attn_weights=False"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=True"),
        ({"n_inner": 8}, "n_inner=8"),
        ({"n_head": 3}, "n_head=3"),
        ({"n_embd": None}, "n_embd"),
        ({"n_embd": 0}, "n_embd"),
        ({"n_layer": 10**12}, "2 blocks, but n_layer=1000000000000"),
        ({"n_layer": 1}, "2 blocks"),
        ({"n_positions": 10**12}, r"wpe.weight has shape \(6, 8\)"),
        ({"n_embd": 16, "n_head": 1}, "has shape"),
        ({"vocab_size": 7}, r"wte.weight has shape"),
    ],
)
def test_another_architecture_is_refused(folder, new, message):
    change(folder / "config.json", **new)
    with pytest.raises(ValueError, match=message):
        import_gpt2(folder)


def test_a_config_that_says_nothing_of_the_head_is_tied(folder):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["tie_word_embeddings"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="tied head"):
        import_gpt2(folder)


@pytest.mark.parametrize("text", ["", "{", "[1]", "\xff"])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_what_is_no_json_object_is_refused(folder, name, text):
    (folder / name).write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=f"{name}.*JSON"):
        import_gpt2(folder)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda s: s.pop("lm_head.weight"), "no lm_head.weight"),
        (lambda s: s.pop("transformer.ln_f.bias"), r"missing \['transformer.ln_f.bias'\]"),
        (lambda s: s.update({"lm_head.bias": np.zeros(6)}), r"unknown \['lm_head.bias'\]"),
        (
            lambda s: s.update({"lm_head.weight": s["lm_head.weight"].T}),
            r"lm_head.weight has shape",
        ),
        (lambda s: s.update({"transformer.ln_f.bias": np.zeros(8, int)}), "is of type I64"),
    ],
)
def test_weights_that_do_not_fit_are_refused(folder, spoil, message):
    change_weights(folder, spoil)
    with pytest.raises(ValueError, match=message):
        import_gpt2(folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:-1],
        lambda b: b + b"\0",
        lambda b: b[:20],
        lambda b: b"",
        lambda b: b[:4],
        lambda b: b"\xff" * 8 + b[8:],
        lambda b: b"pickle" * 30,
    ],
)
def test_a_file_of_another_size_than_its_header_says_is_refused(folder, damage):
    path = folder / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        import_gpt2(folder)


def vocabulary(**vocab):
    return {"model": {"type": "WordLevel", "vocab": vocab}}


@pytest.mark.parametrize(
    "new, message",
    [
        ({"model": {"type": "BPE", "vocab": {}}}, "no tokenizer of single characters"),
        ({"model": None}, "no tokenizer of single characters"),
        (vocabulary(a=0, b=1), "vocab_size=6.*2 characters"),
        (vocabulary(the=0), "no tokenizer of single characters.*'the'"),
        (vocabulary(a=0, b=2), "ids are not 0 to 1"),
        (vocabulary(a=0, b=0), "ids are not 0 to 1"),
        (vocabulary(a="0"), "ids are not"),
        (vocabulary(), "at least one character"),
        ({"added_tokens": [{"id": 6, "content": "<pad>"}]}, "<pad>"),
    ],
)
def test_a_vocabulary_that_does_not_fit_is_refused(folder, new, message):
    change(folder / "tokenizer.json", **new)
    with pytest.raises(ValueError, match=message):
        import_gpt2(folder)
