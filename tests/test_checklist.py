"""The debugging checklist: it must pass the healthy and find each classic illness."""

import numpy as np
import pytest

from minigpt_helpers import MiniGPT, Module, Tensor, run_checklist, train

pytestmark = pytest.mark.filterwarnings("error")

V = 7
DATA = np.random.default_rng(3).integers(0, V, size=200)


def model_of(cls=MiniGPT, dtype=np.float64, max_seq_len=8, embed_dim=16, layers=2, seed=0):
    return cls(V, embed_dim, 2, layers, max_seq_len, rng=np.random.default_rng(seed), dtype=dtype)


def examine(model, data=DATA):
    """Name of each line -> the line."""
    return {f.name: f for f in run_checklist(model, data, rng=np.random.default_rng(1))}


def ill(findings):
    return {name for name, finding in findings.items() if not finding.passed}


NAMES = {"shapes", "first loss", "causal mask", "gradients", "overfits a few tokens"}


# The healthy


@pytest.mark.parametrize("options", [
    {}, {"dtype": np.float32}, {"max_seq_len": 32}, {"embed_dim": 4, "layers": 1},
    {"embed_dim": 64},
    {"layers": 4}, {"max_seq_len": 2}, {"max_seq_len": 3},
])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_healthy_model_passes(options, seed):
    findings = examine(model_of(seed=seed, **options))
    assert ill(findings) == set() and set(findings) == NAMES


@pytest.mark.parametrize("length", [3, 4, 9])
def test_a_few_tokens_are_enough(length):
    assert ill(examine(model_of(), DATA[:length])) == set()


def test_data_may_be_a_list():
    assert ill(examine(model_of(), DATA.tolist())) == set()


def test_a_model_that_already_knows_the_text_is_healthy():
    model, data = model_of(max_seq_len=V), np.arange(100) % V
    history = train(model, data, steps=300, lr=1e-2, batch_size=4, rng=np.random.default_rng(0))
    assert history.train_loss[-1] < 0.01
    assert ill(examine(model, data)) == set()


def test_the_report_is_printed(capsys):
    findings = run_checklist(model_of(), DATA, rng=np.random.default_rng(1))
    printed = capsys.readouterr()
    assert "5 of 5 checks passed" in printed.out and printed.err == ""
    for finding in findings:
        assert finding.name in printed.out and finding.saw in printed.out


def test_the_same_seed_gives_the_same_report(capsys):
    reports = []
    for _ in range(2):
        run_checklist(model_of(), DATA, rng=np.random.default_rng(1))
        reports.append(capsys.readouterr().out)
    assert reports[0] == reports[1]


def test_the_model_is_unchanged_afterwards():
    model = model_of()
    train(model, DATA, steps=2, rng=np.random.default_rng(0))
    grads = [p.grad.copy() for p in model.parameters()]
    state, arrays = model.state_dict(), [p.data for p in model.parameters()]
    run_checklist(model, DATA)
    for p, grad, array in zip(model.parameters(), grads, arrays):
        np.testing.assert_array_equal(p.grad, grad)
        assert p.data is array
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, state[name])


# The ill


class NoMask(MiniGPT):
    def forward(self, ids, causal=True, cache=None):
        return super().forward(ids, causal=False, cache=cache)


class MaskOffByOne(MiniGPT):
    """Each position also sees the next one."""

    def forward(self, ids, causal=True, cache=None):
        logits = super().forward(ids)
        return logits + 1e-9 * Tensor(np.roll(logits.data, -1, axis=-2))


class LastLogitsOnly(MiniGPT):
    def forward(self, ids, causal=True, cache=None):
        return super().forward(ids)[..., -1, :]


class WrongWidth(MiniGPT):
    def forward(self, ids, causal=True, cache=None):
        return super().forward(ids)[..., :-1]


class CutGraph(MiniGPT):
    def forward(self, ids, causal=True, cache=None):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(Tensor(x.data))
        return self.head(self.final_norm(x))


class CutAtTheEnd(MiniGPT):
    def forward(self, ids, causal=True, cache=None):
        return Tensor(super().forward(ids).data)


class DeadParameter(MiniGPT):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.unused = Tensor(np.ones(3))


class HugeStart(MiniGPT):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.head.weight.data *= 2000


class Overflowing(MiniGPT):
    def forward(self, ids, causal=True, cache=None):
        return (super().forward(ids) * 1e4).exp()


class NotANumber(MiniGPT):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.final_norm.bias.data[0] = np.nan


class ArrayInsteadOfTensor(MiniGPT):
    def forward(self, ids, causal=True, cache=None):
        return super().forward(ids).data


class Raises(MiniGPT):
    def forward(self, ids, causal=True, cache=None):
        raise RuntimeError("out of order")


class LearnsNothing(MiniGPT):
    """Gradients of the wrong sign, in full size."""

    def forward(self, ids, causal=True, cache=None):
        logits = super().forward(ids)
        return Tensor.from_op(logits.data, (logits,), lambda grad: (-grad,))


@pytest.mark.parametrize("cls, found, advice", [
    (NoMask, {"causal mask"}, "above the diagonal"),
    (MaskOffByOne, {"causal mask"}, "minus infinity"),
    (LastLogitsOnly, {"shapes"}, "one row of V logits"),
    (WrongWidth, {"shapes"}, "last linear layer"),
    (CutGraph, {"gradients"}, ".data in forward"),
    (CutAtTheEnd, {"gradients", "overfits a few tokens"}, "graph was cut"),
    (DeadParameter, {"gradients"}, "not used"),
    (HugeStart, {"first loss"}, "smaller weights"),
    (NotANumber, {"first loss", "causal mask", "gradients"}, "NaN or infinity"),
    (Raises, NAMES, "linear layer"),
    (LearnsNothing, {"overfits a few tokens"}, "gradients"),
    (ArrayInsteadOfTensor, {"gradients", "overfits a few tokens"}, "graph was cut"),
])
def test_each_classic_bug_fails_its_line_with_advice(cls, found, advice, capsys):
    findings = examine(model_of(cls))
    printed = capsys.readouterr().out
    assert found <= ill(findings)
    if len(found) == 1 and cls is not LastLogitsOnly and cls is not WrongWidth:
        assert ill(findings) <= found | {"overfits a few tokens"}
    assert any(advice in findings[name].advice for name in found)
    for name in ill(findings):
        assert f"[look] {name}: {findings[name].saw}" in printed
        assert f"-> {findings[name].advice}" in printed
    assert f"{5 - len(ill(findings))} of 5 checks passed" in printed


def test_the_dead_parameter_and_the_cut_are_named():
    assert "unused" in examine(model_of(DeadParameter))["gradients"].saw
    assert "token_embedding.weight" in examine(model_of(CutGraph))["gradients"].saw


def test_an_error_of_the_model_is_shown():
    assert "RuntimeError: out of order" in examine(model_of(Raises))["shapes"].saw


def test_overflow_is_found_without_a_warning():
    findings = examine(model_of(Overflowing))
    assert "first loss" in ill(findings)
    assert not any("RuntimeWarning" in f.saw for f in findings.values())


class BigramTable(Module):
    """Not our model at all: a bigram table with the same interface."""

    def __init__(self, *_, rng=None, dtype=None):
        self.table = Tensor(np.zeros((V, V)))
        self.vocab_size, self.max_seq_len = V, 8

    def forward(self, ids):
        return self.table[np.asarray(ids)]


def test_any_model_with_the_same_interface_is_examined():
    findings = examine(model_of(BigramTable), np.arange(50) % V)
    assert not ill(findings) - {"overfits a few tokens"}


# Refusals


@pytest.mark.parametrize("data, named", [
    ([], "0 tokens"), ([1], "1 tokens"), ([1, 2], "2 tokens"), ([0.5, 1.0, 2.0], "float"),
    ("some text", "data"), (np.zeros((3, 4), int), r"\(3, 4\)"),
])
def test_data_that_cannot_be(data, named):
    with pytest.raises(ValueError, match=named):
        run_checklist(model_of(), data)


def test_ids_out_of_range_are_shown_in_the_report():
    findings = examine(model_of(), DATA + 5)
    assert ill(findings) == NAMES and "out of range" in findings["shapes"].saw


def test_rng_must_be_a_generator():
    with pytest.raises(ValueError, match="rng"):
        run_checklist(model_of(), DATA, rng=0)
