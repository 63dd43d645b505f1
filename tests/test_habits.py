"""What people bring from elsewhere: PyTorch's habits, strict numpy, lists, their own files."""

import gc
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from minigpt_helpers import (
    AdamW,
    CharTokenizer,
    MiniGPT,
    Module,
    Tensor,
    clip_grad_norm,
    cross_entropy_loss,
    evaluate,
    generate,
    get_batch,
    load_checkpoint,
    next_token_probs,
    read_text,
    run_checklist,
    save_checkpoint,
    softmax,
    text,
    train,
    validation,
)
from minigpt_helpers.functional import gelu
from minigpt_helpers.graph import GRAPHS_KEPT
from small_model import DATA, model_of

# Losses kept in a list


def live_tensors():
    gc.collect()
    return sum(issubclass(type(o), Tensor) for o in gc.get_objects())


@pytest.mark.parametrize("keep", [
    lambda losses, loss: losses.append(loss),
    lambda losses, loss: losses.append(losses[-1] + loss if losses else loss),
], ids=["list", "running total"])
def test_kept_losses_do_not_keep_their_graphs(keep):
    """One graph a step would fill the memory: 1.8 GB after 150 steps of a small model."""
    model, losses, live, rng = model_of(), [], {}, np.random.default_rng(0)
    optimizer = AdamW(model.parameters())
    for step in range(1, 41):
        x, y = get_batch(DATA, 6, 4, rng)
        loss = cross_entropy_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        keep(losses, loss)
        if step in (20, 40):
            live[step] = live_tensors()
    assert live[40] - live[20] <= 2 * 20  # the losses themselves, and their sums
    assert all(math.isfinite(loss) for loss in losses)


def test_a_second_backward_is_possible_for_the_last_few_losses():
    x = Tensor([1.0, 2.0])
    losses = [(x * x).sum() for _ in range(GRAPHS_KEPT + 2)]
    for loss in losses:
        loss.backward()
    for loss in losses[-GRAPHS_KEPT:]:
        loss.backward()
    np.testing.assert_array_equal(x.grad, 2 * x.data * (len(losses) + GRAPHS_KEPT))
    with pytest.raises(ValueError, match=f"freed.*{GRAPHS_KEPT} other losses.*again"):
        losses[0].backward()


def test_what_an_old_loss_was_made_from_stays():
    """Only the loss is cut off: other results of the same graph still give their gradients."""
    x = Tensor([1.0, 2.0, 3.0])
    shared = x * x
    parts = [shared[i] for i in range(3)]
    for _ in range(3):
        for i, part in enumerate(parts):
            x.grad = 0.0
            part.backward()
            assert x.grad[i] == 2 * x.data[i] and np.count_nonzero(x.grad) == 1
    for i in range(10):
        (shared * i).sum().backward()
    x.grad = 0.0
    shared.sum().backward()
    np.testing.assert_array_equal(x.grad, 2 * x.data)


# Lists as training data


@pytest.fixture
def converted(monkeypatch):
    """The lengths of all lists that were made into arrays."""
    lengths, whole = [], validation.check_data

    def check(data):
        if isinstance(data, list):
            lengths.append(len(data))
        return whole(data)

    monkeypatch.setattr(text, "check_data", check)
    monkeypatch.setattr(validation, "check_data", check)
    return lengths


def test_a_list_gives_the_batches_of_an_array():
    for seed in range(5):
        both = [get_batch(data, 6, 4, np.random.default_rng(seed)) for data in (DATA, DATA.tolist())]
        np.testing.assert_array_equal(both[0], both[1])
        assert not np.shares_memory(*both[1])


def test_a_batch_from_a_list_converts_its_windows_alone(converted):
    get_batch(DATA.tolist() * 50, 6, 4, np.random.default_rng(0))
    assert converted == [4 * 7]


def test_train_converts_a_list_once(converted):
    model, same, data = model_of(), model_of(), DATA.tolist()
    options = dict(steps=4, eval_every=1)
    history = train(model, data, val_data=data, rng=np.random.default_rng(1), **options)
    assert converted == [len(data)] * 2
    assert history == train(same, DATA, val_data=DATA, rng=np.random.default_rng(1), **options)


# Strict numpy


@pytest.fixture
def strict():
    with np.errstate(all="raise"):
        yield


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_whole_run_under_strict_numpy(strict, dtype, tmp_path):
    model, rng = model_of(dtype), np.random.default_rng(0)
    optimizer = AdamW(model.parameters(), lr=0.05)
    train(model, DATA, val_data=DATA, steps=60, optimizer=optimizer, rng=rng, eval_every=20)
    for scale in (1.0, 1e3, 1e-30):  # logits far apart and weights close to nothing
        model.head.weight.data *= scale
        x, y = get_batch(DATA, 6, 4, rng)
        loss = cross_entropy_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        evaluate(model, DATA, 6)
        generate(model, [0], 10, temperature=1e-3, rng=rng)
        model.attention_weights(x[0])
        run_checklist(model, DATA, rng)


@pytest.mark.parametrize("function", [
    lambda x: softmax(x), lambda x: cross_entropy_loss(x, np.array([0, 1])), lambda x: gelu(x),
    lambda x: x.exp(), lambda x: x * 1e-200, lambda x: x * x, lambda x: (x * 1e-3) ** 3,
    lambda x: x.tanh(), lambda x: x / 1e300, lambda x: (x * 1e-3) @ (x * 1e-3).transpose(),
    lambda x: x.mean(axis=1),
], ids="softmax loss gelu exp tiny square cube tanh / @ mean".split())
def test_what_is_too_small_becomes_0_under_strict_numpy(strict, function):
    x = Tensor([[-800.0, 1e-160, 1e-300], [0.0, -760.0, 1e-308]])
    (function(x) * 1e-10).sum().backward()
    assert np.isfinite(x.grad).all()


def test_a_small_temperature_under_strict_numpy(strict):
    probs = next_token_probs(np.array([0.0, 5.0, 2.0]), temperature=1e-3)
    np.testing.assert_array_equal(probs, [0, 1, 0])


# Numbers


def test_a_loss_is_printed_and_compared_like_a_number():
    loss = Tensor(2.345678)
    assert f"{loss:.4f}" == "2.3457" and f"{loss:8.2f}" == "    2.35" and f"{loss:.2f}" == "2.35"
    assert f"{loss}" == repr(loss) == "Tensor(2.3457)"
    assert f"{Tensor([[2.5]]):.1f}" == "2.5"
    assert int(loss) == 2 and round(loss, 1) == 2.3 and round(loss) == 2
    assert loss < 3 and loss <= 3.0 and loss > Tensor(1.0) and loss >= 2
    assert not loss < 2 and not loss > 2.345678 and loss <= 2.345678 and loss >= 2.345678
    assert max([Tensor(1.0), loss, Tensor(0.0)]) is loss
    np.testing.assert_array_equal(Tensor([1.0, 3.0]) > 2, [False, True])
    np.testing.assert_array_equal(2 > Tensor([1.0, 3.0]), [True, False])


def test_a_single_number_is_true_unless_it_is_0():
    assert Tensor(2.0) and Tensor([[0.5]]) and not Tensor(0.0)
    for several in (Tensor([1.0, 2.0]), Tensor([])):
        with pytest.raises(ValueError, match=r"single number.*shape \(\d,\)"):
            bool(several)
    with pytest.raises(ValueError, match="single number"):
        f"{Tensor([1.0, 2.0]):.4f}"


def test_the_size_of_a_tensor_has_a_gradient():
    x = Tensor([-2.0, 0.0, 3.0])
    out = abs(x)
    out.sum().backward()
    np.testing.assert_array_equal(out.data, [2, 0, 3])
    np.testing.assert_array_equal(x.grad, [-1, 0, 1])


@pytest.mark.parametrize("name, instead", [
    ("T", "transpose"), ("detach", "Tensor"), ("numpy", "x.data"), ("view", "reshape"),
    ("requires_grad", "no_grad"), ("nonsense", "nonsense"),
])
def test_names_that_pytorch_has(name, instead):
    with pytest.raises(AttributeError, match=f"{name}.*{instead}" if name != instead else name):
        getattr(Tensor(1.0), name)
    assert not hasattr(Tensor(1.0), name)


def test_two_axes_that_are_to_be_exchanged():
    with pytest.raises(ValueError, match=r"all 3 axes.*\(1, 2\).*\(0, 2, 1\)"):
        Tensor(np.ones((2, 3, 4))).transpose(-2, -1)


def test_a_layer_that_forgets_its_return():
    class Forgets(Module):
        def forward(self, x):
            x * 2

    with pytest.raises(ValueError, match="None.*return"):
        Tensor(1.0) + Forgets()(Tensor(1.0))


# Two runs at a time


TWO_RUNS = """
import threading
import numpy as np
from threadpoolctl import threadpool_info
from minigpt_helpers import MiniGPT, train

def threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

def wait(state):
    started.set()
    assert first_ended.wait(60)
    seen.append(threads())

def run(**options):
    train(MiniGPT(6, 8, 2, 1, 6), np.arange(60) % 6, steps=1, **options)

before = threads()
for first_in_thread in (True, False):
    seen, started, first_ended = [], threading.Event(), threading.Event()
    long = threading.Thread(target=run, kwargs={"callbacks": [wait]})
    if first_in_thread:
        long.start()
        assert started.wait(60)
        run()
    else:
        def start(state):
            long.start()
            assert started.wait(60)
        run(callbacks=[start])
    first_ended.set()
    long.join()
    assert seen == [{1}], seen
    assert threads() == before, threads()
"""


def test_the_thread_limit_lasts_as_long_as_a_run_does():
    """The first of two runs to end must not lift the limit, the last must: in any thread."""
    environment = os.environ | {f"{n}_NUM_THREADS": "2" for n in ("OPENBLAS", "OMP", "MKL")}
    result = subprocess.run([sys.executable, "-c", TWO_RUNS], env=environment, check=False,
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


# Files


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path, monkeypatch):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    (tmp_path / "mine.txt").write_text("hello", encoding="utf-8")
    assert read_text("~/mine.txt") == "hello"
    model = MiniGPT(3, 4, 1, 1, 4)
    save_checkpoint("~/model.safetensors", model, CharTokenizer("abc"))
    assert (tmp_path / "model.safetensors").is_file()
    load_checkpoint("~/model.safetensors")
    with pytest.raises(ValueError, match="~nobody-of-this-name"):
        read_text("~nobody-of-this-name/mine.txt")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("text", ["It was a fine day, and then it rained.\n" * 5, "ab\nc"])
def test_utf_16_with_and_without_a_mark(tmp_path, encoding, text):
    path = tmp_path / "mine.txt"
    path.write_bytes(text.encode(encoding))
    named = "zero|UTF-16" if encoding == "utf-32" else "UTF-16.*UTF-8"
    with pytest.raises(ValueError, match=named):
        read_text(path)


@pytest.mark.parametrize("start, kind", [
    (rb"{\rtf1\ansi\deff0 Hello}", "RTF"), (b"%PDF-1.7\nsome text", "PDF"),
    (b"PK\x03\x04docx", "zip"), (b"\xd0\xcf\x11\xe0word", "Word"), (b"\x1f\x8btar", "gzip"),
    (b"<!DOCTYPE html>\n<html><p>Hello</html>", "web page"), (b"<html><p>Hello</html>", "web page"),
])
def test_files_of_programs_are_no_text(tmp_path, start, kind):
    path = tmp_path / "mine.txt"
    path.write_bytes(start)
    with pytest.raises(ValueError, match=f"mine.txt.*{kind}.*plain text"):
        read_text(path)


def test_a_list_in_order_gets_a_warning(tmp_path):
    path = tmp_path / "names.txt"
    names = sorted({f"{a}{b}{c}" for a in "BDKLMR" for b in "aeiou" for c in ("n", "ra", "ly")})
    shuffled = list(np.random.default_rng(0).permutation(names))
    for lines, warned in ((names, True), (names[::-1], True), (["Zoe", *names], True),
                          (shuffled, False), (names[:10], False), (["same"] * 50, False)):
        path.write_text("\n".join(lines), encoding="utf-8")
        with pytest.warns(UserWarning, match="names.txt.*order.*huffle") if warned else no_warning():
            read_text(path)


class no_warning:
    """The suite makes every warning an error, so there is nothing to look for."""

    __enter__ = __exit__ = lambda self, *args: None
