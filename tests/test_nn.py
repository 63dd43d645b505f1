"""Lessons 3 and 4: the layers and the model."""

import copy
import math

import numpy as np
import pytest

import reference as ref
from minigpt_helpers import (
    Embedding,
    FeedForward,
    LayerNorm,
    Linear,
    MiniGPT,
    Module,
    SelfAttention,
    Tensor,
    TransformerBlock,
    cross_entropy_loss,
    no_grad,
)

pytestmark = pytest.mark.filterwarnings("error")

V, D, T_MAX = 11, 12, 8


def model_of(heads=2, layers=2, dtype=np.float64, seed=0, **sizes):
    sizes = {"vocab_size": V, "embed_dim": D, "max_seq_len": T_MAX} | sizes
    return MiniGPT(num_heads=heads, num_layers=layers, rng=np.random.default_rng(seed), dtype=dtype,
                   **sizes)


def ids_of(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, V, size=shape)


# The layers


def layers(dtype=np.float64):
    make = {"rng": np.random.default_rng(0), "dtype": dtype}
    return {
        "Linear": Linear(D, D, **make), "LayerNorm": LayerNorm(D, **make),
        "FeedForward": FeedForward(D, **make), "FeedForward 5": FeedForward(D, 5, **make),
        "SelfAttention": SelfAttention(D, **make), "SelfAttention 3": SelfAttention(D, 3, **make),
        "TransformerBlock": TransformerBlock(D, 2, **make),
    }


@pytest.mark.parametrize("name", layers())
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_layer_takes_one_text_and_a_batch(name, dtype):
    layer = layers(dtype)[name]
    x = np.random.default_rng(1).normal(size=(3, 5, D)).astype(dtype)
    batch = layer(Tensor(x))
    assert batch.shape == (3, 5, D) and batch.dtype == dtype
    for row, text in zip(batch, x):
        one = layer(Tensor(text))
        assert one.shape == (5, D)
        np.testing.assert_allclose(one.data, row.data, atol=1e-12 if dtype == np.float64 else 1e-5)
    (batch * batch).sum().backward()
    for parameter_name, p in layer.named_parameters():
        assert p.dtype == p.grad.dtype == dtype, parameter_name
        assert np.any(p.grad), parameter_name


def test_linear_without_bias():
    layer = Linear(4, 3, bias=False, rng=np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(5, 4))
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    np.testing.assert_array_equal(layer(Tensor(x)).data, x @ layer.weight.data)
    np.testing.assert_array_equal(
        layer.weight.data, Linear(4, 3, rng=np.random.default_rng(0)).weight.data
    )


def test_embedding_looks_up_rows():
    layer = Embedding(V, D, rng=np.random.default_rng(0))
    for ids in ([1, 5, 5], ids_of(2, 3), 4):
        out = layer(ids)
        np.testing.assert_array_equal(out.data, layer.weight.data[np.asarray(ids)])


def test_feed_forward_is_two_linear_layers_and_a_gelu():
    layer = FeedForward(D, rng=np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(4, D))
    assert layer.expand.weight.shape == (D, 4 * D)
    hidden = x @ layer.expand.weight.data + layer.expand.bias.data
    hidden = np.vectorize(ref.loop_gelu)(hidden)
    expected = hidden @ layer.contract.weight.data + layer.contract.bias.data
    np.testing.assert_allclose(layer(Tensor(x)).data, expected, atol=1e-12)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("heads", [1, 3])
def test_self_attention_against_a_loop(heads, causal):
    layer = SelfAttention(D, heads, rng=np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(5, D))
    out, weights = ref.loop_attention(x @ layer.qkv.weight.data + layer.qkv.bias.data, heads,
        causal)
    expected = out @ layer.proj.weight.data + layer.proj.bias.data
    np.testing.assert_allclose(layer(Tensor(x), causal=causal).data, expected, atol=1e-12)
    np.testing.assert_allclose(layer.weights(Tensor(x), causal=causal), weights, atol=1e-13)
    assert layer.scores(Tensor(x)).shape == (heads, 5, 5)


def test_a_block_adds_attention_and_feed_forward_of_normed_copies():
    block = TransformerBlock(D, 2, rng=np.random.default_rng(0))
    x = Tensor(np.random.default_rng(1).normal(size=(5, D)))
    middle = x + block.attention(block.norm1(x))
    expected = middle + block.feed_forward(block.norm2(middle))
    np.testing.assert_array_equal(block(x).data, expected.data)


def test_a_layer_keeps_the_size_of_what_goes_through():
    """Outputs are about as large as inputs: neither blown up nor faded."""
    rng = np.random.default_rng(0)
    x = Tensor(rng.normal(size=(500, 64)))
    out = Linear(64, 64, rng=rng)(x).data
    assert 0.8 < out.std() < 1.2


@pytest.mark.parametrize("make", [
    lambda rng: Linear(3, 4, rng=rng), lambda rng: Embedding(3, 4, rng=rng),
    lambda rng: FeedForward(4, rng=rng), lambda rng: SelfAttention(4, rng=rng),
    lambda rng: TransformerBlock(4, 1, rng=rng), lambda rng: MiniGPT(3, 4, 1, 1, 5, rng=rng),
], ids=["Linear", "Embedding", "FeedForward", "SelfAttention", "TransformerBlock", "MiniGPT"])
def test_a_seed_gives_the_same_layer_and_none_a_fresh_one(make):
    def same(a, b):
        return all(np.array_equal(a[name], b[name]) for name in a)

    first = make(np.random.default_rng(3)).state_dict()
    assert same(first, make(np.random.default_rng(3)).state_dict())
    assert not same(first, make(np.random.default_rng(4)).state_dict())
    assert not same(make(None).state_dict(), make(None).state_dict())
    with pytest.raises(ValueError, match="rng"):
        make(3)


@pytest.mark.parametrize("make", [
    lambda: Linear(0, 2), lambda: Linear(2, 0), lambda: Linear(-1, 2), lambda: Linear(2.5, 2),
    lambda: Embedding(0, 3), lambda: Embedding(3, -1), lambda: LayerNorm(0), lambda: LayerNorm("4"),
    lambda: FeedForward(0), lambda: FeedForward(4, 0), lambda: SelfAttention(0),
    lambda: SelfAttention(4, 1.0), lambda: SelfAttention(4, 0), lambda: SelfAttention(4, -2),
    lambda: TransformerBlock(0, 1),
])
def test_sizes_of_layers_are_whole_and_positive(make):
    with pytest.raises(ValueError, match="0|-1|-2|2.5|1.0|'4'"):
        make()


@pytest.mark.parametrize("name", layers())
def test_a_layer_names_an_input_of_the_wrong_width_or_kind(name):
    layer = layers()[name]
    with pytest.raises(ValueError, match=rf"{D}.*\(5, {D + 1}\)"):
        layer(Tensor(np.zeros((5, D + 1))))
    with pytest.raises(ValueError, match="Tensor"):
        layer(np.zeros((5, D)))


# Parameters


class Sum(Module):
    """One of each place where a parameter may live."""

    def __init__(self):
        self.own = Tensor([1.0, 2.0])
        self.inner = Linear(2, 1, rng=np.random.default_rng(0))
        self.many = [Linear(1, 2, rng=np.random.default_rng(i)) for i in range(2)]
        self.name, self.number, self.plain = "sum", 3, np.ones(4)

    def forward(self, x, twice=False):
        return (x + self.own) * (2 if twice else 1)


def test_parameters_are_found_by_themselves():
    names = [name for name, _ in Sum().named_parameters()]
    assert names == ["own", "inner.weight", "inner.bias", "many.0.weight", "many.0.bias",
                     "many.1.weight", "many.1.bias"]
    assert len(Sum().parameters()) == 7
    assert Sum().num_parameters() == 2 + 3 + 4 + 4


def test_calling_a_module_calls_forward():
    np.testing.assert_array_equal(Sum()(Tensor([1.0, 1.0]), twice=True).data, [4, 6])


@pytest.mark.parametrize("vocab_size, embed_dim, heads, num_layers, max_seq_len", [
    (11, 12, 1, 1, 8), (11, 12, 3, 2, 8), (65, 32, 1, 2, 32), (27, 16, 4, 1, 16), (2, 1, 1, 3, 1),
])
def test_the_number_of_parameters(vocab_size, embed_dim, heads, num_layers, max_seq_len):
    model = MiniGPT(vocab_size, embed_dim, heads, num_layers, max_seq_len)
    d = embed_dim
    block = 2 * 2 * d + (d * 3 * d + 3 * d) + (d * d + d) + (d * 4 * d + 4 * d) + (4 * d * d + d)
    around = (vocab_size + max_seq_len) * d + 2 * d + d * vocab_size
    expected = around + num_layers * block
    assert model.num_parameters() == expected
    assert sum(p.size for p in model.parameters()) == expected


def test_state_dict_round_trip():
    a, b = model_of(seed=0), model_of(seed=1)
    ids = ids_of(2, 5)
    assert not np.array_equal(a(ids).data, b(ids).data)
    b.load_state_dict(a.state_dict())
    np.testing.assert_array_equal(a(ids).data, b(ids).data)


def test_a_state_is_a_copy_both_ways():
    model = model_of()
    state = model.state_dict()
    before = {name: value.copy() for name, value in state.items()}
    for p in model.parameters():
        p.data += 1
    for name in state:
        np.testing.assert_array_equal(state[name], before[name])
    model.load_state_dict(state)
    for p in model.parameters():
        p.data += 1
    for name in state:
        np.testing.assert_array_equal(state[name], before[name])


def test_a_state_takes_the_models_float_type():
    model = model_of(dtype=np.float32)
    model.load_state_dict(model_of(seed=1).state_dict())
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("spoil, named", [
    (lambda s: s.pop("head.weight"), "head.weight"),
    (lambda s: s.update(stranger=np.ones(3)), "stranger"),
    (lambda s: s.update({"head.bias": np.ones(V)}), "unknown.*head.bias"),
    (lambda s: s.update({"final_norm.bias": np.ones(D + 1)}), rf"_norm.bias.*\({D},\).*\({D + 1},\)"),
    (lambda s: s.update({"final_norm.bias": np.ones((1, D))}), "final_norm.bias"),
])
def test_a_state_that_does_not_fit_changes_nothing(spoil, named):
    model = model_of()
    before = model.state_dict()
    state = model_of(seed=1).state_dict()
    spoil(state)
    with pytest.raises(ValueError, match=named):
        model.load_state_dict(state)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_deep_copy_is_a_model_of_its_own():
    model = model_of()
    copied = copy.deepcopy(model)
    ids, targets = ids_of(5), ids_of(5, seed=1)
    np.testing.assert_array_equal(model(ids).data, copied(ids).data)
    gap = model(ids) - copied(ids) * 3
    (gap * gap).sum().backward()
    for p, q in zip(model.parameters(), copied.parameters()):
        assert p is not q and not np.shares_memory(p.data, q.data)
        np.testing.assert_allclose(q.grad, -3 * p.grad, rtol=1e-10, atol=1e-12)
    cross_entropy_loss(copied(ids), targets).backward()
    copied.head.weight.data += 1
    assert not np.array_equal(model.head.weight.data, copied.head.weight.data)


# The model


@pytest.mark.parametrize("kind", [list, tuple, np.array, lambda i: np.array(i, np.uint8), iter,
    range])
def test_ids_may_come_as_any_list(kind):
    model = model_of()
    ids = range(5) if kind is range else kind([0, 1, 2, 3, 4])
    np.testing.assert_array_equal(model(ids).data, model([0, 1, 2, 3, 4]).data)


@pytest.mark.parametrize("seq_len", [1, 3, T_MAX])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_shapes_and_types(seq_len, dtype):
    model = model_of(dtype=dtype)
    assert model(ids_of(seq_len)).shape == (seq_len, V)
    out = model(ids_of(3, seq_len))
    assert out.shape == (3, seq_len, V) and out.dtype == dtype
    loss = cross_entropy_loss(out, ids_of(3, seq_len))
    loss.backward()
    assert loss.dtype == dtype
    assert {p.grad.dtype for p in model.parameters()} == {np.dtype(dtype)}
    assert model.max_seq_len == T_MAX and model.vocab_size == V


def test_a_batch_is_its_texts_one_by_one():
    model, ids = model_of(), ids_of(4, 6)
    for row, text in zip(model(ids), ids):
        np.testing.assert_allclose(row.data, model(text).data, atol=1e-12)


def test_the_model_against_its_parts():
    model, ids = model_of(), ids_of(6)
    x = model.token_embedding.weight.data[ids] + model.position_embedding.weight.data[:6]
    x = Tensor(x)
    for block in model.blocks:
        x = block(x)
    np.testing.assert_allclose(model(ids).data, model.head(model.final_norm(x)).data, atol=1e-13)


@pytest.mark.parametrize("heads", [1, 2])
def test_every_gradient_of_a_model_against_finite_differences(heads):
    model = MiniGPT(5, 4, heads, 2, 4, rng=np.random.default_rng(0))
    rng = np.random.default_rng(1)
    for p in model.parameters():  # away from the start, where norms are 1 and biases 0
        p.data += rng.normal(0, 0.3, size=p.shape)
    ids, targets = rng.integers(0, 5, size=(2, 3, 4))
    cross_entropy_loss(model(ids), targets).backward()
    for name, p in model.named_parameters():
        def loss_at(value, p=p):
            before, p.data = p.data, value
            with no_grad():
                loss = cross_entropy_loss(model(ids), targets).item()
            p.data = before
            return loss

        np.testing.assert_allclose(
            p.grad, ref.slope(loss_at, p.data), rtol=1e-5, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("size", [(65, 32, 1, 2, 32), (27, 16, 4, 1, 16), (11, 64, 4, 4, 16)])
def test_an_untrained_model_is_as_unsure_as_a_uniform_guess(size):
    rng = np.random.default_rng(0)
    losses = []
    for seed in range(3):
        model = MiniGPT(*size, rng=np.random.default_rng(seed))
        ids, targets = rng.integers(0, size[0], size=(2, 8, size[4]))
        losses.append(cross_entropy_loss(model(ids), targets).item())
    np.testing.assert_allclose(losses, math.log(size[0]), rtol=0.05)


# Causality, to the bit


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("heads, num_layers", [(1, 1), (2, 2), (4, 3), (12, 1)])
def test_a_future_token_changes_nothing_before_it(heads, num_layers, dtype):
    model = model_of(heads, num_layers, dtype)
    for seq_len in (2, 5, T_MAX):
        ids = ids_of(seq_len)
        before = model(ids).data
        for split in range(1, seq_len):
            for seed in range(2):
                changed = ids.copy()
                shift = 1 + ids_of(seq_len - split, seed=seed) % (V - 1)
                changed[split:] = (changed[split:] + shift) % V
                after = model(changed).data
                np.testing.assert_array_equal(after[:split], before[:split])
                assert not np.array_equal(after[split], before[split])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("heads, num_layers", [(1, 1), (2, 2), (4, 3)])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_nor_in_a_batch_nor_another_text(heads, num_layers, batch, dtype):
    model, ids = model_of(heads, num_layers, dtype), ids_of(batch, T_MAX)
    before = model(ids).data
    for split in range(1, T_MAX):
        for text in range(batch):
            changed = ids.copy()
            changed[text, split:] = (changed[text, split:] + 3) % V
            after = model(changed).data
            others = np.arange(batch) != text
            np.testing.assert_array_equal(after[others], before[others])
            np.testing.assert_array_equal(after[text, :split], before[text, :split])
            assert not np.array_equal(after[text, split:], before[text, split:])


def test_at_a_size_where_products_are_done_in_blocks():
    model = MiniGPT(V, 128, 4, 2, 64, rng=np.random.default_rng(0), dtype=np.float32)
    ids = ids_of(12, 64)
    before = model(ids).data
    for split in (1, 17, 32, 63):
        changed = ids.copy()
        changed[:, split:] = (changed[:, split:] + 5) % V
        np.testing.assert_array_equal(model(changed).data[:, :split], before[:, :split])


def test_a_gradient_reaches_no_future_token():
    model, ids = model_of(), np.arange(T_MAX) % V
    for t in range(T_MAX):
        for p in model.parameters():
            p.grad = 0.0
        (model(ids)[t] * Tensor(np.arange(V))).sum().backward()
        touched = np.any(model.position_embedding.weight.grad, axis=1)
        np.testing.assert_array_equal(touched, np.arange(T_MAX) <= t)


@pytest.mark.parametrize("layer", [
    lambda: SelfAttention(D, 3, rng=np.random.default_rng(0)),
    lambda: TransformerBlock(D, 2, rng=np.random.default_rng(0)),
], ids=["SelfAttention", "TransformerBlock"])
def test_the_layers_mask_too_unless_told(layer):
    layer = layer()
    x = np.random.default_rng(1).normal(size=(5, D))
    changed = x.copy()
    changed[3:] += np.arange(D)  # not the same everywhere: a layer norm would take that away
    before, after = layer(Tensor(x)).data, layer(Tensor(changed)).data
    np.testing.assert_array_equal(before[:3], after[:3])
    before, after = (layer(Tensor(a), causal=False).data for a in (x, changed))
    assert (np.abs(before[:3] - after[:3]).max(axis=1) > 1e-6).all()


# Heads and weights


@pytest.mark.parametrize("heads", [1, 2, 3, 4, 6, 12])
def test_attention_weights_of_the_model(heads):
    model = model_of(heads, 3)
    ids = ids_of(6)
    weights = model.attention_weights(ids)
    assert weights.shape == (3, heads, 6, 6)
    assert isinstance(weights, np.ndarray)
    future = np.triu(np.ones((6, 6), bool), k=1)
    assert (weights[..., future] == 0).all()
    assert (weights[..., ~future] > 0).all()
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-12)
    assert (weights[..., 0, 0] == 1).all()
    scores = model.attention_scores(ids)
    assert scores.shape == weights.shape
    scaled = scores / math.sqrt(D // heads)
    for layer, head, t in np.ndindex(3, heads, 6):
        np.testing.assert_allclose(
            weights[layer, head, t, : t + 1], ref.loop_softmax(scaled[layer, head, t, : t + 1]),
            rtol=1e-11)


def test_attention_weights_are_those_that_forward_uses():
    model, ids = model_of(2, 2), ids_of(5)
    weights = model.attention_weights(ids)
    x = model.token_embedding.weight.data[ids] + model.position_embedding.weight.data[:5]
    for block, layer_weights in zip(model.blocks, weights):
        normed = block.norm1(Tensor(x)).data
        v = (normed @ block.attention.qkv.weight.data + block.attention.qkv.bias.data)[:, 2 * D :]
        heads = [w @ v[:, h * D // 2 : (h + 1) * D // 2] for h, w in enumerate(layer_weights)]
        out = np.concatenate(heads, axis=1) @ block.attention.proj.weight.data
        x = x + out + block.attention.proj.bias.data
        x = x + block.feed_forward(block.norm2(Tensor(x))).data
    np.testing.assert_allclose(model(ids).data, model.head(model.final_norm(Tensor(x))).data,
        atol=1e-12)


def test_attention_weights_of_a_batch():
    model, ids = model_of(2, 3), ids_of(4, 5)
    weights = model.attention_weights(ids)
    assert weights.shape == (3, 4, 2, 5, 5)
    np.testing.assert_allclose(weights[:, 1], model.attention_weights(ids[1]), atol=1e-13)


def test_the_number_of_heads_matters():
    one, three = model_of(heads=1), model_of(heads=3)
    assert one.num_parameters() == three.num_parameters()
    three.load_state_dict(one.state_dict())
    assert np.abs(one(ids_of(5)).data - three(ids_of(5)).data)[1:].max() > 1e-4
    # The first position sees itself alone: its weight is 1 in any number of heads.
    np.testing.assert_allclose(one(ids_of(5)).data[0], three(ids_of(5)).data[0], atol=1e-12)


# Positions and permutations


def test_without_positions_and_mask_the_outputs_permute_with_the_inputs():
    model, ids = model_of(2, 2), ids_of(7)
    order = np.random.default_rng(5).permutation(7)
    model.position_embedding.weight.data[:] = 0
    out, permuted = model(ids, causal=False).data, model(ids[order], causal=False).data
    np.testing.assert_allclose(permuted, out[order], atol=1e-12)


def test_with_positions_they_do_not():
    model, ids = model_of(2, 2), np.arange(7)
    order = np.array([3, 0, 6, 1, 2, 5, 4])
    out, permuted = model(ids, causal=False).data, model(ids[order], causal=False).data
    assert np.abs(permuted - out[order]).max() > 1e-4


def test_with_the_mask_only_one_layers_last_position_stays():
    ids = np.arange(7)
    order = np.array([3, 0, 1, 2, 5, 4, 6])  # the last stays where it is
    for num_layers, stays in ((1, True), (2, False)):
        model = model_of(2, num_layers)
        model.position_embedding.weight.data[:] = 0
        out, permuted = model(ids).data, model(ids[order]).data
        assert np.allclose(permuted[-1], out[-1], atol=1e-12) == stays
        assert not np.allclose(permuted[1], out[order][1], atol=1e-6)


# Refusals


@pytest.mark.parametrize("ids, named", [
    (np.zeros(T_MAX + 1, int), rf"{T_MAX + 1} tokens.*max_seq_len={T_MAX}"),
    (np.zeros((2, 20), int), rf"20 tokens.*{T_MAX}"),
    ([0, V], rf"{V} at position 1.*0 to {V - 1}"), ([0, 1, -1], "-1 at position 2"),
    (np.array([[0, 1], [2, 99]]), r"99 at position \(1, 1\)"),
    ([0.5], "float"), ([1.0, 2.0], "float"), ([], r"\(0,\)"), (np.zeros((0, 3), int), r"\(0, 3\)"),
    (np.zeros((2, 0), int), r"\(2, 0\)"), (3, r"\(\)"), (np.zeros((1, 2, 3), int), r"\(1, 2, 3\)"),
    ("abc", "abc|type"), (None, "None"), ([[1], [1, 2]], "whole numbers"), ([True], "bool"),
    (Tensor([1.0]), "whole numbers"),
])
@pytest.mark.parametrize("look", ["__call__", "attention_weights", "attention_scores"])
def test_ids_that_cannot_be(ids, named, look):
    with pytest.raises(ValueError, match=named):
        getattr(model_of(), look)(ids)


@pytest.mark.parametrize("embed_dim, heads", [(8, 3), (6, 4), (5, 2), (4, 8)])
def test_heads_must_divide_the_width(embed_dim, heads):
    for make in (lambda: MiniGPT(5, embed_dim, heads, 1, 4),
                 lambda: SelfAttention(embed_dim, heads),
                 lambda: TransformerBlock(embed_dim, heads)):
        with pytest.raises(ValueError, match=f"embed_dim={embed_dim}.*num_heads={heads}"):
            make()


@pytest.mark.parametrize("name", ["vocab_size", "embed_dim", "num_heads", "num_layers",
    "max_seq_len"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "3", None])
def test_sizes_of_the_model_are_whole_and_positive(name, value):
    sizes = dict(vocab_size=5, embed_dim=4, num_heads=2, num_layers=1, max_seq_len=6)
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        MiniGPT(**(sizes | {name: value}))


def test_sizes_may_be_numpy_integers():
    model = MiniGPT(*(np.int64(n) for n in (5, 4, 2, 1, 6)))
    assert model.config == dict(vocab_size=5, embed_dim=4, num_heads=2, num_layers=1, max_seq_len=6)
    assert {type(value) for value in model.config.values()} == {int}


@pytest.mark.parametrize("dtype", [int, np.int32, bool, complex])
def test_a_model_is_made_of_floats(dtype):
    with pytest.raises(ValueError, match="dtype"):
        MiniGPT(5, 4, 2, 1, 6, dtype=dtype)


# Held results


def test_what_a_user_holds_does_not_change_under_further_work():
    model, ids, targets = model_of(), ids_of(3, 6), ids_of(3, 6, seed=1)
    logits = model(ids)
    loss = cross_entropy_loss(logits, targets)
    loss.backward()
    held = [logits.data, loss.data, logits.grad, model.attention_weights(ids[0])]
    held += [p.grad for p in model.parameters()]
    held += [model.head.weight[0].data, model.head.weight.transpose().data]
    before = [array.copy() for array in held]
    for seed in range(3):
        for p in model.parameters():
            p.grad = 0.0
        cross_entropy_loss(model(ids_of(3, 6, seed=seed)), targets).backward(free_graph=True)
        for p in model.parameters():
            p.data -= 0.1 * p.grad
    for array, old in zip(held, before):
        np.testing.assert_array_equal(array, old)


# The key-value cache


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 1e-5)])
@pytest.mark.parametrize("pieces", [[1] * 8, [3, 1, 4], [8], [5, 3]])
def test_a_cache_gives_the_same_logits_piece_by_piece(pieces, dtype, tolerance):
    model, ids = model_of(3, 2, dtype), ids_of(T_MAX)
    for batch in (ids, ids_of(2, T_MAX)):
        whole, cache, start, seen = model(batch).data, model.new_cache(), 0, []
        with no_grad():
            for length in pieces:
                seen.append(model(batch[..., start : start + length], cache=cache).data)
                start += length
        np.testing.assert_allclose(np.concatenate(seen, axis=-2), whole, atol=tolerance)


def test_a_full_cache_takes_no_more():
    model = model_of()
    cache = model.new_cache()
    with no_grad():
        model(ids_of(T_MAX), cache=cache)
        with pytest.raises(ValueError, match=f"{T_MAX + 1} tokens.*{T_MAX}"):
            model([1], cache=cache)
