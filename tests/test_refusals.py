"""Wrong input to every public function: it works, or a ``ValueError`` says what was wrong."""

import copy
import math
import unicodedata

import numpy as np
import pytest

import minigpt_helpers as mg
from minigpt_helpers import (
    SGD,
    AdamW,
    CharTokenizer,
    DivergenceError,
    Embedding,
    LayerNorm,
    Linear,
    MiniGPT,
    Module,
    Tensor,
    clip_grad_norm,
    cosine_schedule,
    evaluate,
    load_checkpoint,
    read_text,
    save_checkpoint,
    stack,
    train,
)
from minigpt_helpers.optim import BLOCK
from small_model import DATA, V, model_of


def same(a, b):
    return all(np.array_equal(p.data, q.data) for p, q in zip(a.parameters(), b.parameters()))


# Anything for anything

ZOO = {
    "None": None, "True": True, "False": False, "-1": -1, "0": 0, "2": 2, "10**30": 10**30,
    "10**400": 10**400, "1.5": 1.5, "nan": math.nan, "inf": math.inf, "1j": 1j, "text": "text",
    "empty text": "", "bytes": b"bytes", "list": [], "words": ["a", "b"], "ragged": [[1], [1, 2]],
    "nested None": [None], "numbers": [0, 1, 2], "floats": np.array([0.5, 1.5]), "set": {1, 2},
    "dict": {"a": 1}, "object": object(), "function": len, "a class": int,
    "bool array": np.array([True, False]), "0-d": np.array(1.0), "words array": np.array(["a"]),
    "objects": np.array([None, "a"], dtype=object), "2-d": np.zeros((2, 2), int),
    "a long path": "a" * 5000, "a null": "a\0b", "a date": np.datetime64("2026-01-01"),
    "Tensor": Tensor([1.0, 2.0]), "ellipsis": ..., "a range": range(3), "int8": np.int8(3),
}

CALLS = {
    "CharTokenizer": (CharTokenizer, {"chars": "abc"}),
    "from_text": (CharTokenizer.from_text, {"text": "abc"}),
    "encode": (CharTokenizer("abc").encode, {"text": "abc"}),
    "decode": (CharTokenizer("abc").decode, {"ids": [0, 1]}),
    "train_val_split": (mg.train_val_split, {"data": DATA, "val_fraction": 0.1}),
    "get_batch": (mg.get_batch, {"data": DATA, "block_size": 4, "batch_size": 2, "rng": None}),
    "bigram_probs": (mg.bigram_probs, {"data": DATA, "vocab_size": V, "smoothing": 1.0}),
    "bigram_loss": (mg.bigram_loss, {"probs": np.full((V, V), 1 / V), "data": DATA}),
    "Tensor": (Tensor, {"data": [1.0]}),
    "stack": (stack, {"tensors": [Tensor(1.0)]}),
    "backward": (lambda grad: (Tensor([1.0, 2.0]) * 2).backward(grad), {"grad": [1.0, 1.0]}),
    "data": (lambda data: setattr(Tensor([1.0, 2.0]), "data", data), {"data": [1.0, 1.0]}),
    "grad": (lambda grad: setattr(Tensor([1.0, 2.0]), "grad", grad), {"grad": [1.0, 1.0]}),
    "+": (lambda other: Tensor([1.0, 2.0]) + other, {"other": 1.0}),
    "-": (lambda other: other - Tensor([1.0, 2.0]), {"other": 1.0}),
    "*": (lambda other: Tensor([1.0, 2.0]) * other, {"other": 1.0}),
    "/": (lambda other: Tensor([1.0, 2.0]) / other, {"other": 1.0}),
    "**": (lambda other: Tensor([1.0, 2.0]) ** other, {"other": 2}),
    "@": (lambda other: Tensor([1.0, 2.0]) @ other, {"other": [1.0, 2.0]}),
    "<": (lambda other: Tensor([1.0, 2.0]) < other, {"other": 1.0}),
    "sum": (Tensor([1.0, 2.0]).sum, {"axis": 0}),
    "max": (Tensor([1.0, 2.0]).max, {"axis": 0}),
    "mean": (Tensor([1.0, 2.0]).mean, {"axis": 0}),
    "reshape": (lambda shape: Tensor([1.0, 2.0]).reshape(shape), {"shape": (2, 1)}),
    "transpose": (lambda axes: Tensor([[1.0, 2.0]]).transpose(axes), {"axes": (1, 0)}),
    "softmax": (mg.softmax, {"x": Tensor([1.0, 2.0]), "axis": -1}),
    "cross_entropy_loss": (
        mg.cross_entropy_loss, {"logits": Tensor([[1.0, 2.0]]), "targets": [1]}
    ),
    "Linear": (Linear, {"in_features": 2, "out_features": 2, "std": 0.1, "rng": None,
                        "dtype": np.float64}),
    "Embedding": (Embedding, {"num_embeddings": 2, "embedding_dim": 2, "std": 0.1, "rng": None,
                              "dtype": np.float64}),
    "LayerNorm": (LayerNorm, {"dim": 2, "eps": 1e-5, "dtype": np.float64}),
    "FeedForward": (mg.FeedForward, {"embed_dim": 2, "hidden_dim": 2, "rng": None}),
    "SelfAttention": (mg.SelfAttention, {"embed_dim": 2, "num_heads": 1, "rng": None}),
    "TransformerBlock": (mg.TransformerBlock, {"embed_dim": 2, "num_heads": 1, "rng": None}),
    "MiniGPT": (MiniGPT, {"vocab_size": 2, "embed_dim": 2, "num_heads": 1, "num_layers": 1,
                          "max_seq_len": 2, "rng": None, "dtype": np.float64}),
    "forward": (lambda ids: model_of()(ids), {"ids": [0, 1]}),
    "layer": (lambda x: Linear(2, 2)(x), {"x": Tensor([[1.0, 2.0]])}),
    "load_state_dict": (lambda state: model_of().load_state_dict(state),
                        {"state": model_of().state_dict()}),
    "SGD": (SGD, {"params": [Tensor([1.0])], "lr": 0.1}),
    "AdamW": (AdamW, {"params": [Tensor([1.0])], "lr": 0.1, "betas": (0.9, 0.9), "eps": 1e-8,
                      "weight_decay": 0.1}),
    "clip_grad_norm": (clip_grad_norm, {"params": [Tensor([1.0])], "max_norm": 1.0}),
    "cosine_schedule": (cosine_schedule, {"lr": 0.1, "total_steps": 10, "warmup_steps": 2,
                                          "min_lr": 0.0}),
    "schedule": (cosine_schedule(0.1, 10), {"step": 3}),
    "evaluate": (evaluate, {"model": model_of(), "data": DATA, "block_size": 4, "max_windows": 2,
                            "batch_size": 2}),
    "train": (
        lambda model=None, **given: train(model_of() if model is None else model, **given),
        {"model": model_of(), "data": DATA, "val_data": DATA, "steps": 1, "batch_size": 2,
         "block_size": 4, "optimizer": None, "lr": 0.1, "rng": None, "callbacks": [],
         "grad_clip": 1.0, "eval_every": 1},
    ),
    "generate": (mg.generate, {"model": model_of(), "start_ids": [0], "max_new_tokens": 2,
                               "temperature": 1.0, "top_k": 2, "rng": None, "top_p": 0.9}),
    "next_token_probs": (mg.next_token_probs, {"logits": [0.1, 0.2], "temperature": 1.0,
                                               "top_k": 1, "top_p": 0.9}),
    "load_checkpoint": (load_checkpoint, {"path": "no such file"}),
    "save_checkpoint": (save_checkpoint, {"path": ".", "model": model_of(),
                                          "tokenizer": CharTokenizer("abcdef")}),
    "read_text": (read_text, {"path": "no such file"}),
    "load_corpus": (mg.load_corpus, {"name": "names"}),
    "load_pretrained": (mg.load_pretrained, {"name": "rhymes"}),
    "corpus_entropy_rate": (mg.corpus_entropy_rate, {"name": "weather"}),
    "run_checklist": (mg.run_checklist, {"model": model_of(), "data": DATA, "rng": None}),
}


@pytest.mark.parametrize("function, parameter", [
    (name, parameter) for name, (_, good) in CALLS.items() for parameter in good
])
def test_every_argument_works_or_is_refused(function, parameter, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    call, good = CALLS[function]
    wrong = []
    for name, value in ZOO.items():
        if parameter == "lr" and callable(value):
            continue  # a schedule: its errors are its own
        arguments = good | {parameter: copy.copy(value)}
        try:
            with np.errstate(all="ignore"):
                call(**arguments)
        except ValueError as error:
            assert str(error).strip(), f"{name}: an error without a word"
        except Exception as error:
            wrong.append(f"{name}: {type(error).__name__}: {error}"[:200])
    assert wrong == []


# Parameters that are used twice


class Twice(Module):
    def __init__(self):
        self.a = Linear(2, 2, rng=np.random.default_rng(0))
        self.b = self.a
        self.more = {"c": [self.a, (LayerNorm(2),)], "scale": Tensor([3.0])}
        self.parent = self  # a circle

    def forward(self, x):
        return self.b(self.a(x)) * self.more["scale"]


def test_a_module_assigned_twice_counts_once():
    model = Twice()
    names = [name for name, _ in model.named_parameters()]
    assert names == ["a.weight", "a.bias", "more.c.1.0.weight", "more.c.1.0.bias", "more.scale"]
    assert model.num_parameters() == 6 + 4 + 1 and list(model.state_dict()) == names
    model.load_state_dict(model.state_dict())
    assert next(name for name, _ in model.named_parameters("here.")) == "here.a.weight"
    copied = copy.deepcopy(model)
    assert copied.b is copied.a and len(copied.parameters()) == len(names)


@pytest.mark.parametrize("listed", [lambda p, q: [p, q, p], lambda p, q: iter([p, p, q])])
def test_a_parameter_listed_twice_is_clipped_and_moved_once(listed):
    p, q = Tensor([3.0]), Tensor([4.0])
    p.grad, q.grad = 3.0, 4.0
    assert clip_grad_norm(listed(p, q), 1.0) == pytest.approx(5.0)
    np.testing.assert_allclose([p.grad[0], q.grad[0]], [0.6, 0.8])
    optimizer = SGD(listed(p, q), lr=1.0)
    optimizer.step()
    assert optimizer.flat.size == 2
    np.testing.assert_allclose([p.data[0], q.data[0]], [2.4, 3.2])


# Numbers


def test_a_schedule_starts_at_step_0():
    assert cosine_schedule(0.1, 10)(0) == pytest.approx(0.1)
    assert cosine_schedule(0.1, 10, warmup_steps=2)(0) == 0.0
    assert cosine_schedule(0.1, 10, warmup_steps=2)(2) == pytest.approx(0.1)


@pytest.mark.parametrize("value", [None, "3", b"3", 1j, [None], object(), len, [[1.0], [1.0, 2.0]]])
@pytest.mark.parametrize("operation", [
    lambda x, y: x + y, lambda x, y: y - x, lambda x, y: x * y, lambda x, y: x / y,
    lambda x, y: x @ y, lambda x, y: x < y,
])
def test_what_is_no_number_is_not_combined(operation, value):
    with pytest.raises(ValueError, match="can't be combined with"):
        operation(Tensor([1.0, 2.0]), value)


def test_data_is_set_by_arrays_of_its_shape_alone():
    p, array = Tensor([1.0, 2.0]), np.array([3.0, 4.0])
    p.data = array
    array[0] = 9.0  # the caller's own
    p.data = p.data * 2
    p.data -= 1
    np.testing.assert_array_equal(p.data, [5, 7])
    p.data = [1, 2]
    assert p.dtype == np.float64 and (p * 2).sum().item() == 6
    for wrong in (3.0, [1.0, 2.0, 3.0], [[1.0, 2.0]], None, "ab", Tensor(1.0)):
        with pytest.raises(ValueError):
            p.data = wrong
    np.testing.assert_array_equal(p.data, [1, 2])


def test_parameters_of_two_types_are_refused():
    with pytest.raises(ValueError, match="float32 and float64"):
        AdamW([Tensor(np.ones(2, np.float32)), Tensor(np.ones(2))])


def test_float16_is_not_trained_in():
    """It overflows after a step or two, and the learning rate would get the blame."""
    for make in (SGD, AdamW):
        with pytest.raises(ValueError, match="float32.*float64.*not float16"):
            make(model_of(np.float16).parameters())


@pytest.mark.parametrize("make", [
    lambda: Embedding(2, 2, dtype=int), lambda: LayerNorm(2, dtype="no type"),
    lambda: MiniGPT(2, 2, 1, 1, 2, dtype=None),
])
def test_a_type_that_is_no_float_type(make):
    with pytest.raises(ValueError, match="dtype.*float32 or np.float64"):
        make()


@pytest.mark.parametrize("options", [
    {"eps": math.nan}, {"eps": -1e-8}, {"weight_decay": math.nan}, {"weight_decay": -0.1},
    {"weight_decay": math.inf}, {"betas": 0.9}, {"betas": (0.9,)}, {"betas": (0.9, "a")},
    {"betas": (True, 0.9)}, {"lr": True},
])
def test_settings_of_adamw(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        AdamW([Tensor([1.0])], **options)


# Divergence


@pytest.mark.parametrize("make", [SGD, AdamW])
def test_after_divergence_the_last_finite_parameters_are_kept(make):
    """The loss of a step may be finite, and the parameters after it no longer."""
    model, start = model_of(np.float32), model_of(np.float32)
    optimizer = make(model.parameters(), lr=1e40)  # more than any float32
    with pytest.raises(DivergenceError, match="step 1 moves a parameter to infinity") as error:
        train(model, DATA * 0 + 1, steps=9, optimizer=optimizer, grad_clip=1e9, batch_size=64)
    assert same(model, start)
    assert error.value.history.steps == []


def test_an_own_loop_is_stopped_too():
    p = Tensor([1.0, 2.0])
    optimizer = SGD([p], lr=1.0)
    p.grad = np.array([math.nan, 1.0])
    with pytest.raises(DivergenceError, match="infinity"):
        optimizer.step()
    np.testing.assert_array_equal(p.data, [1, 2])
    p.grad = 1e300  # large, but finite: its square alone is not
    optimizer.step()
    np.testing.assert_array_equal(p.data, [-1e300, -1e300])


@pytest.mark.parametrize("where", [0, BLOCK, -1])
def test_one_number_of_many_stops_a_step(where):
    """A step goes block by block: what was moved before or after the bad one goes back too."""
    p = Tensor(np.arange(2.0 * BLOCK + 3))
    start, optimizer = p.data.copy(), SGD([p], lr=1.0)
    p.grad = 1.0
    p.grad[where] = math.inf
    with pytest.raises(DivergenceError, match="infinity"):
        optimizer.step()
    np.testing.assert_array_equal(p.data, start)
    p.grad = 1.0
    optimizer.step()
    np.testing.assert_array_equal(p.data, start - 1)


def test_a_validation_loss_that_is_not_finite():
    model = model_of()
    model.token_embedding.weight.data[5] = math.inf  # the training data have no 5
    data = DATA[DATA != 5]
    with pytest.raises(DivergenceError, match="step 0 the validation loss is nan"):
        train(model, data, val_data=DATA, steps=3)


# Before the first step


@pytest.mark.parametrize("options, named", [
    ({"val_data": "text"}, "data.*text"), ({"val_data": DATA + 1}, "6.*out of range"),
    ({"callbacks": print}, "callbacks.*list.*print"), ({"callbacks": [None]}, "callbacks"),
    ({"steps": True}, "steps.*True"), ({"batch_size": True}, "batch_size.*True"),
    ({"optimizer": "adam"}, "optimizer"), ({"optimizer": AdamW}, "optimizer"),
])
def test_train_refuses_before_it_takes_a_step(options, named):
    model = model_of()
    with pytest.raises(ValueError, match=named):
        train(model, DATA, **({"steps": 3} | options))
    assert same(model, model_of())


# States


@pytest.mark.parametrize("wrong", ["text", [["a"] * 8] * 6, None, np.ones((6, 9)), 1j,
                                   np.array(["a", 1.0], dtype=object)])
@pytest.mark.parametrize("last", ["head.weight", "blocks.0.norm2.bias"])
def test_a_state_is_loaded_whole_or_not_at_all(wrong, last):
    model = model_of()
    state = {name: array + 1 for name, array in model.state_dict().items()} | {last: wrong}
    with pytest.raises(ValueError, match=last):
        model.load_state_dict(state)
    assert same(model, model_of())
    for no_state in (None, [], "state", 3):
        with pytest.raises(ValueError, match="dictionary"):
            model.load_state_dict(no_state)


# One letter written in two ways


@pytest.mark.parametrize("known, text, form", [
    ("caf\u00e9", "cafe\u0301", "NFC"), ("cafe\u0301", "caf\u00e9", "NFD"),
    ("a \u1ec7", "e\u0323\u0302 a", "NFC"), ("fi", "\ufb01", "NFKC"),
])
def test_a_text_in_another_unicode_form(known, text, form):
    tokenizer = CharTokenizer.from_text(known + " ")
    with pytest.raises(ValueError, match=rf'unicodedata.normalize\("{form}", text\)') as error:
        tokenizer.encode(text)
    assert "\u0301" not in str(error.value).split("is not in")[0]  # a mark alone is invisible
    tokenizer.encode(unicodedata.normalize(form, text))


def test_another_unicode_form_is_no_advice_where_it_does_not_help():
    with pytest.raises(ValueError, match="Remove it") as error:
        CharTokenizer("abc").encode("abe\u0301")
    assert "normalize" not in str(error.value)
