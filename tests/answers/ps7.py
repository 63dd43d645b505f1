"""Answers to the capstone, in four styles: on the package's Tensor twice, on single numbers, and on
a class around arrays of float32. Wrong ones are edits of a style's source."""

import functools
import inspect
import math
import random
import textwrap
from types import SimpleNamespace

import numpy as np

import minigpt_helpers
from minigpt_helpers import Module, Tensor, no_grad, softmax, stack

# ---- style 1: arrays on the package's Tensor -----------------------------------------------------


def tensors():
    def normal(*shape, std=0.1):
        return Tensor(np.random.default_rng().normal(size=shape) * std)

    class Linear(Module):
        def __init__(self, d_in, d_out):
            self.w = normal(d_in, d_out)
            self.b = Tensor(np.zeros(d_out))

        def forward(self, x):
            return x @ self.w + self.b

    class Embedding(Module):
        def __init__(self, num_embeddings, embedding_dim):
            self.table = normal(num_embeddings, embedding_dim)

        def forward(self, ids):
            rows = np.array(ids)
            return self.table[rows]

    class LayerNorm(Module):
        def __init__(self, dim):
            self.scale = Tensor(np.ones(dim))
            self.shift = Tensor(np.zeros(dim))

        def forward(self, x):
            left = x - x.mean(axis=-1, keepdims=True)
            variance = (left * left).mean(axis=-1, keepdims=True)
            return left / (variance + 1e-5) ** 0.5 * self.scale + self.shift

    class FeedForward(Module):
        def __init__(self, embed_dim):
            self.up = Linear(embed_dim, 4 * embed_dim)
            self.down = Linear(4 * embed_dim, embed_dim)

        def forward(self, x):
            hidden = self.up(x)
            active = hidden.relu()
            return self.down(active)

    class SelfAttention(Module):
        def __init__(self, embed_dim, num_heads=1):
            self.num_heads = num_heads
            self.q, self.k, self.v = (Linear(embed_dim, embed_dim) for _ in range(3))
            self.out = Linear(embed_dim, embed_dim)

        def split(self, y):
            T, D = y.shape
            return y.reshape(T, self.num_heads, D // self.num_heads).transpose(1, 0, 2)

        def forward(self, x, causal=True):
            T, D = x.shape
            q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))
            scores = q @ k.transpose(0, 2, 1) / q.shape[-1] ** 0.5
            hide = np.triu(np.ones((T, T)), 1) > 0
            if causal:
                scores = scores + np.where(hide, -np.inf, 0.0)
            weights = softmax(scores)
            mixed = (weights @ v).transpose(1, 0, 2).reshape(T, D)
            return self.out(mixed)

    class TransformerBlock(Module):
        def __init__(self, embed_dim, num_heads=1):
            self.norm1, self.norm2 = LayerNorm(embed_dim), LayerNorm(embed_dim)
            self.attention = SelfAttention(embed_dim, num_heads)
            self.feed_forward = FeedForward(embed_dim)

        def forward(self, x):
            x = x + self.attention(self.norm1(x))
            return x + self.feed_forward(self.norm2(x))

    class MiniGPT(Module):
        def __init__(self, vocab_size, embed_dim, num_heads, num_layers, max_seq_len):
            self.max_seq_len = max_seq_len
            self.tokens = Embedding(vocab_size, embed_dim)
            self.positions = Embedding(max_seq_len, embed_dim)
            self.blocks = [TransformerBlock(embed_dim, num_heads) for _ in range(num_layers)]
            self.norm = LayerNorm(embed_dim)
            self.head = Linear(embed_dim, vocab_size)

        def forward(self, ids):
            places = np.arange(len(ids))
            x = self.tokens(ids) + self.positions(places)
            for block in self.blocks:
                x = block(x)
            x = self.norm(x)
            return self.head(x)

    def cross_entropy_loss(logits, targets):
        z = logits - logits.data.max(axis=-1, keepdims=True)
        log_probs = z - z.exp().sum(axis=-1, keepdims=True).log()
        picked = log_probs[np.arange(len(targets)), np.array(targets)]
        return -picked.mean()

    def generate(model, start_ids, max_new_tokens, temperature=1.0, top_k=None, rng=None):
        rng = np.random.default_rng() if rng is None else rng
        ids = list(start_ids)
        for _ in range(max_new_tokens):
            window = ids[-model.max_seq_len :]
            logits = to_array(model(window))[-1]
            if temperature == 0:
                ids.append(int(np.argmax(logits)))
                continue
            kept = np.argsort(-logits)[:top_k]
            z = logits[kept] / temperature
            p = np.exp(z - z.max())
            ids.append(int(rng.choice(kept, p=p / p.sum())))
        return ids

    def from_array(a):
        return Tensor(a)

    def to_array(x):
        return x.data

    return SimpleNamespace(**locals())


# ---- style 2: on Tensor as well, a module for each head, matrices (out, in), a tied head ---------


def modules():
    def matrix(n_out, n_in):
        return Tensor(np.random.default_rng().uniform(-0.2, 0.2, size=(n_out, n_in)))

    class Embedding(Module):
        def __init__(self, num_embeddings, embedding_dim):
            self.rows = [Tensor(np.random.default_rng().normal(size=embedding_dim) * 0.05)
                         for _ in range(num_embeddings)]

        def forward(self, ids):
            return stack([self.rows[i] for i in ids])

    class LayerNorm(Module):
        def __init__(self, dim):
            self.gain = Tensor(np.ones(dim))

        def forward(self, x):
            mean = x.sum(axis=1, keepdims=True) / x.shape[1]
            variance = ((x - mean) ** 2).sum(axis=1, keepdims=True) / x.shape[1]
            return self.gain * (x - mean) * (variance + 1e-5) ** -0.5

    class FeedForward(Module):
        def __init__(self, embed_dim):
            self.w = {"a": matrix(4 * embed_dim, embed_dim), "b": matrix(embed_dim, 4 * embed_dim)}

        def forward(self, x):
            h = x @ self.w["a"].transpose()
            h = 0.5 * h * (1 + (math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)).tanh())
            return h @ self.w["b"].transpose()

    class Head(Module):
        def __init__(self, embed_dim, size):
            self.q, self.k, self.v = (matrix(size, embed_dim) for _ in range(3))

        def forward(self, x, causal):
            q, k, v = (x @ w.transpose() for w in (self.q, self.k, self.v))
            rows = []
            for t in range(len(x)):
                end = t + 1 if causal else len(x)
                weights = softmax(q[t : t + 1] @ k[:end].transpose() * q.shape[1] ** -0.5)
                rows.append((weights @ v[:end])[0])
            return stack(rows)

    class SelfAttention(Module):
        def __init__(self, embed_dim, num_heads):
            self.heads = [Head(embed_dim, embed_dim // num_heads) for _ in range(num_heads)]

        def forward(self, x, causal=True):
            parts = stack([head(x, causal) for head in self.heads])  # (H, T, d)
            return parts.transpose(1, 0, 2).reshape(len(x), -1)

    class TransformerBlock(Module):
        def __init__(self, embed_dim, num_heads):
            self.halves = [(LayerNorm(embed_dim), SelfAttention(embed_dim, num_heads)),
                           (LayerNorm(embed_dim), FeedForward(embed_dim))]

        def forward(self, x, causal=True):
            for norm, layer in self.halves:
                x = layer(norm(x)) + x
            return x

    class MiniGPT(Module):
        def __init__(self, vocab_size, embed_dim, num_heads, num_layers, max_seq_len):
            self.max_seq_len = max_seq_len
            self.wte, self.wpe = (Embedding(n, embed_dim) for n in (vocab_size, max_seq_len))
            self.layers = {str(i): TransformerBlock(embed_dim, num_heads)
                           for i in range(num_layers)}
            self.final = LayerNorm(embed_dim)

        def forward(self, ids):
            x = self.wte(ids) + self.wpe(range(len(ids)))
            for layer in self.layers.values():
                x = layer(x)
            return self.final(x) @ stack(self.wte.rows).transpose()

    def cross_entropy_loss(logits, targets):
        one_hot = np.eye(logits.shape[1])[targets]
        z = logits - logits.max(axis=1, keepdims=True)
        return (z.exp().sum(axis=1).log() - (z * one_hot).sum(axis=1)).mean()

    def generate(model, start_ids, max_new_tokens, *, temperature=1.0, top_k=None, rng=None):
        if max_new_tokens <= 0:
            return tuple(start_ids)
        with no_grad():
            z = model(list(start_ids)[-model.max_seq_len :])[-1].data
        order = np.argsort(-z, kind="stable")[: top_k or len(z)]
        noise = rng.gumbel(size=len(order)) * temperature if temperature else 0.0
        best = int(order[np.argmax(z[order] + noise)])  # a fair draw, after Gumbel
        return generate(model, (*start_ids, best), max_new_tokens - 1, temperature=temperature,
                        top_k=top_k, rng=rng) if max_new_tokens < 90 else by_loop(
                            model, (*start_ids, best), max_new_tokens - 1, temperature, top_k, rng)

    def by_loop(model, ids, n, temperature, top_k, rng):
        for start in range(0, n, 50):
            ids = generate(model, ids, min(50, n - start), temperature=temperature, top_k=top_k,
                           rng=rng)
        return ids

    def from_array(a):
        return Tensor(a)

    def to_array(x):
        return x.data

    return SimpleNamespace(**locals())


# ---- style 3: lists of single numbers, on a Value of the reader's own ----------------------------


def scalars():
    class Value:
        def __init__(self, data, children=()):
            self.data, self.grad = float(data), 0.0
            self.children, self.push = children, lambda: None

        def result(self, data, *pairs):
            out = Value(data, tuple(child for child, _ in pairs))

            def push():
                for child, slope in pairs:
                    child.grad += slope * out.grad

            out.push = push
            return out

        def __add__(self, other):
            other = other if isinstance(other, Value) else Value(other)
            return self.result(self.data + other.data, (self, 1.0), (other, 1.0))

        def __mul__(self, other):
            other = other if isinstance(other, Value) else Value(other)
            return self.result(self.data * other.data, (self, other.data), (other, self.data))

        def __pow__(self, power):
            return self.result(self.data**power, (self, power * self.data ** (power - 1)))

        def exp(self):
            out = math.exp(self.data)
            return self.result(out, (self, out))

        def log(self):
            return self.result(math.log(self.data), (self, 1 / self.data))

        def tanh(self):
            out = math.tanh(self.data)
            return self.result(out, (self, 1 - out * out))

        def __neg__(self):
            return self * -1.0

        def __sub__(self, other):
            return self + (-other)

        def __truediv__(self, other):
            other = other if isinstance(other, Value) else Value(other)
            return self * other**-1

        __radd__, __rmul__ = __add__, __mul__

        def backward(self):
            order, seen = [], set()

            def visit(node):
                if id(node) not in seen:
                    seen.add(id(node))
                    for child in node.children:
                        visit(child)
                    order.append(node)

            visit(self)
            self.grad = 1.0
            for node in reversed(order):
                node.push()

    class Part:
        one_number_at_a_time = True

        def __call__(self, *args, **kwargs):
            return self.forward(*args, **kwargs)

        def parameters(self):
            found = []

            def collect(item):
                if isinstance(item, Value):
                    found.append(item)
                elif isinstance(item, list):
                    for part in item:
                        collect(part)
                elif isinstance(item, Part):
                    for part in vars(item).values():
                        collect(part)

            collect(self)
            return found

    class Neuron(Part):
        def __init__(self, n):
            self.b = Value(0.0)
            self.w = [Value(random.gauss(0, 0.2)) for _ in range(n)]

        def forward(self, x):
            return sum((w * v for w, v in zip(self.w, x)), self.b)

    class Layer(Part):
        def __init__(self, n_in, n_out):
            self.neurons = [Neuron(n_in) for _ in range(n_out)]

        def forward(self, row):
            return [neuron(row) for neuron in self.neurons]

    def stable(row):
        m = max(z.data for z in row)
        exp = [(z - m).exp() for z in row]
        total = sum(exp)
        return [e / total for e in exp]

    class Embedding(Part):
        def __init__(self, num_embeddings, embedding_dim):
            self.rows = [[Value(random.gauss(0, 0.2)) for _ in range(embedding_dim)]
                         for _ in range(num_embeddings)]

        def forward(self, ids):
            return [list(self.rows[i]) for i in ids]

    class LayerNorm(Part):
        def __init__(self, dim):
            self.ends = [[Value(1.0), Value(0.0)] for _ in range(dim)]

        def forward(self, x):
            out = []
            for row in x:
                mean = sum(row) / len(row)
                variance = sum((v - mean) ** 2 for v in row) / len(row)
                scale = (variance + 1e-5) ** -0.5
                out.append([(v - mean) * scale * g + b for v, (g, b) in zip(row, self.ends)])
            return out

    class FeedForward(Part):
        def __init__(self, embed_dim):
            self.a, self.b = Layer(embed_dim, 4 * embed_dim), Layer(4 * embed_dim, embed_dim)

        def forward(self, x):
            return [self.b([h.tanh() for h in self.a(row)]) for row in x]

    class SelfAttention(Part):
        def __init__(self, embed_dim, num_heads):
            self.size = embed_dim // num_heads
            self.q, self.k, self.v = (Layer(embed_dim, embed_dim) for _ in range(3))

        def forward(self, x, causal=True):
            q, k, v = ([layer(row) for row in x] for layer in (self.q, self.k, self.v))
            out = []
            for t, query in enumerate(q):
                seen = range(t + 1) if causal else range(len(x))
                row = []
                for start in range(0, len(query), self.size):
                    dims = range(start, start + self.size)
                    scores = [sum(query[d] * k[j][d] for d in dims) / self.size**0.5 for j in seen]
                    weights = stable(scores)
                    row += [sum(w * v[j][d] for w, j in zip(weights, seen)) for d in dims]
                out.append(row)
            return out

    class TransformerBlock(Part):
        def __init__(self, embed_dim, num_heads):
            self.ln1, self.attn = LayerNorm(embed_dim), SelfAttention(embed_dim, num_heads)
            self.ln2, self.ff = LayerNorm(embed_dim), FeedForward(embed_dim)

        def forward(self, x):
            for norm, layer in ((self.ln1, self.attn), (self.ln2, self.ff)):
                added = layer(norm(x))
                x = [[a + b for a, b in zip(r, s)] for r, s in zip(x, added)]
            return x

    class MiniGPT(Part):
        def __init__(self, vocab_size, embed_dim, num_heads, num_layers, max_seq_len):
            self.max_seq_len = max_seq_len
            self.wte = Embedding(vocab_size, embed_dim)
            self.wpe = Embedding(max_seq_len, embed_dim)
            self.blocks = [TransformerBlock(embed_dim, num_heads) for _ in range(num_layers)]
            self.ln = LayerNorm(embed_dim)
            self.head = Layer(embed_dim, vocab_size)

        def forward(self, ids):
            tokens, places = self.wte(ids), self.wpe(range(len(ids)))
            x = [[a + b for a, b in zip(r, s)] for r, s in zip(tokens, places)]
            for block in self.blocks:
                x = block(x)
            return [self.head(row) for row in self.ln(x)]

    def cross_entropy_loss(logits, targets):
        losses = []
        for row, target in zip(logits, targets):
            m = max(z.data for z in row)
            losses.append(sum((z - m).exp() for z in row).log() - (row[target] - m))
        return sum(losses) / len(losses)

    def generate(model, start_ids, max_new_tokens, temperature=1.0):
        ids = list(start_ids)
        for _ in range(max_new_tokens):
            last = model(ids[-model.max_seq_len :])[-1]
            if temperature == 0:
                ids.append(max(range(len(last)), key=lambda i: last[i].data))
                continue
            probs = stable([z / temperature for z in last])
            ids += random.choices(range(len(last)), weights=[p.data for p in probs])
        return ids

    def from_array(a):
        return Value(float(a)) if np.ndim(a) == 0 else [from_array(row) for row in a]

    def to_array(x):
        return np.array([to_array(v) for v in x] if isinstance(x, list) else x.data)

    return SimpleNamespace(**locals())


# ---- style 4: style 1 on a class of the reader's own, in float32, without gradients at first -----


class Own:
    """An array with a gradient, which is None at first."""

    def __init__(self, data, parents=()):
        self.data, self.grad, self.parents = np.asarray(data, dtype=np.float32), None, parents

    shape = property(lambda self: self.data.shape)

    def __add__(self, other):
        other = other if isinstance(other, Own) else Own(other)
        return Own(self.data + other.data, ((self, lambda g: g), (other, lambda g: g)))

    def __mul__(self, other):
        other = other if isinstance(other, Own) else Own(other)
        return Own(self.data * other.data, (
            (self, lambda g: g * other.data), (other, lambda g: self.data * g)))

    def __matmul__(self, other):
        return Own(self.data @ other.data, (
            (self, lambda g: g @ other.data.swapaxes(-1, -2)),
            (other, lambda g: self.data.swapaxes(-1, -2) @ g)))

    def __pow__(self, n):
        return Own(self.data**n, ((self, lambda g: g * n * self.data ** (n - 1)),))

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + (other * -1.0)

    def __truediv__(self, other):
        return self * other**-1.0

    def __getitem__(self, key):
        def spread(g):
            full = np.zeros_like(self.data)
            np.add.at(full, key, g)
            return full

        return Own(self.data[key], ((self, spread),))

    def relu(self):
        return Own(np.maximum(self.data, 0), ((self, lambda g: g * (self.data > 0)),))

    def exp(self):
        out = np.exp(self.data)
        return Own(out, ((self, lambda g: g * out),))

    def log(self):
        return Own(np.log(self.data), ((self, lambda g: g / self.data),))

    def sum(self, axis=None, keepdims=False):
        def spread(g):
            wide = g if keepdims or axis is None else np.expand_dims(g, axis)
            return np.broadcast_to(wide, self.shape)

        return Own(self.data.sum(axis=axis, keepdims=keepdims), ((self, spread),))

    def mean(self, axis=None, keepdims=False):
        total = self.sum(axis, keepdims)
        return total * (total.data.size / self.data.size)

    def reshape(self, *shape):
        return Own(self.data.reshape(*shape), ((self, lambda g: g.reshape(self.shape)),))

    def transpose(self, *axes):
        back = np.argsort(axes)
        return Own(self.data.transpose(axes), ((self, lambda g: g.transpose(back)),))

    def backward(self):
        order, seen = [], set()

        def visit(node):
            if id(node) not in seen:
                seen.add(id(node))
                for parent, _ in node.parents:
                    visit(parent)
                order.append(node)

        visit(self)
        self.grad = np.ones_like(self.data)
        for node in reversed(order):
            for parent, rule in node.parents:
                step = rule(node.grad)
                while np.ndim(step) > parent.data.ndim:
                    step = step.sum(axis=0)
                for axis, n in enumerate(parent.shape):
                    if n == 1 and step.shape[axis] > 1:
                        step = step.sum(axis=axis, keepdims=True)
                parent.grad = step if parent.grad is None else parent.grad + step


class OwnModule:
    def __call__(self, *args, **kwargs):
        return self.forward(*args, **kwargs)

    def parameters(self):
        for value in vars(self).values():
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, Own):
                    yield part
                elif isinstance(part, OwnModule):
                    yield from part.parameters()


def own_softmax(x):
    exp = (x - x.data.max(axis=-1, keepdims=True)).exp()
    return exp / exp.sum(axis=-1, keepdims=True)


# ---- putting them together -----------------------------------------------------------------------

TAKES = {
    "ps7_embedding": ["Embedding"],
    "ps7_layer_norm": ["LayerNorm"],
    "ps7_feed_forward": ["FeedForward"],
    "ps7_cross_entropy_loss": ["cross_entropy_loss"],
    "ps7_self_attention": ["SelfAttention"],
    "ps7_transformer_block": ["TransformerBlock", "LayerNorm", "SelfAttention", "FeedForward"],
    "ps7_mini_gpt": ["MiniGPT", "Embedding", "TransformerBlock", "LayerNorm"],
    "ps7_generate": ["generate"],
    "ps7_checklist": ["MiniGPT", "cross_entropy_loss"],
}


@functools.cache
def edited(style, *edits, **names):
    """The parts of a style whose source was edited; `names` stand for others of this file."""
    source = textwrap.dedent(inspect.getsource(style))
    for old, new in zip(edits[::2], edits[1::2]):
        assert source.count(old) == 1, (old, source.count(old))
        source = source.replace(old, new)
    space = globals() | names
    exec(compile(source, f"<{style.__name__}>", "exec"), space)
    return space[style.__name__]()


def objects(name, parts, **others):
    names = [*TAKES[name], "to_array", "from_array"]
    return tuple(others.get(each) or getattr(parts, each) for each in names)


OWN = edited(tensors, Tensor=Own, Module=OwnModule, softmax=own_softmax)
STYLES = [tensors(), modules(), scalars(), OWN]
RIGHT = [(name, objects(name, parts)) for parts in STYLES for name in TAKES]


_HEAD = "self.head = Linear(embed_dim, vocab_size)"
_QKV = "q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))"
RIGHT += [
    (name, objects(name, edited(tensors, *edits))) for name, *edits in [
        ("ps7_checklist", _HEAD, _HEAD + "\n            self.head.w.data *= 0"),
        ("ps7_mini_gpt", _HEAD, _HEAD + "\n            self.head.w.data *= 0"),
        ("ps7_feed_forward", "hidden.relu()", "hidden.relu() ** 2"),
        ("ps7_feed_forward", "hidden.relu()", "1 / (1 + (-hidden).exp())"),
        ("ps7_self_attention", _QKV, _QKV + "\n            q, k = k, q"),
        ("ps7_layer_norm", "variance = (left * left).mean(axis=-1, keepdims=True)",
         "variance = (x * x).mean(axis=-1, keepdims=True) - x.mean(axis=-1, keepdims=True) ** 2"),
    ]
]


def wrong(name, words, *edits, style=tensors):
    return name, objects(name, edited(style, *edits)), words


# ---- wrong ones: edits of a style, and words of the message --------------------------------------

_T = "ps7_embedding", "ps7_layer_norm", "ps7_feed_forward", "ps7_cross_entropy_loss"
EMBEDDING, NORM, FORWARD, LOSS = _T
ATTENTION, BLOCK, MODEL, GENERATE = (
    "ps7_self_attention", "ps7_transformer_block", "ps7_mini_gpt", "ps7_generate")
CHECKLIST = "ps7_checklist"

_ROWS, _TABLE = "rows = np.array(ids)", "return self.table[rows]"
_NORM = "return left / (variance + 1e-5) ** 0.5 * self.scale + self.shift"
_LEFT = "left = x - x.mean(axis=-1, keepdims=True)"
_VARIANCE = "variance = (left * left).mean(axis=-1, keepdims=True)"
_DOWN = "return self.down(active)"
_SCALE = "/ q.shape[-1] ** 0.5"
_MASK = "np.where(hide, -np.inf, 0.0)"
_SOFTMAX = "weights = softmax(scores)"
_HALF1 = "x = x + self.attention(self.norm1(x))"
_HALF2 = "return x + self.feed_forward(self.norm2(x))"
_STEP = "x = block(x)"
_EMBED = "x = self.tokens(ids) + self.positions(places)"
_BLOCKS = "[TransformerBlock(embed_dim, num_heads) for _ in range(num_layers)]"
_LOGP = "log_probs = z - z.exp().sum(axis=-1, keepdims=True).log()"
_Z = "z = logits - logits.data.max(axis=-1, keepdims=True)"
_MEAN = "return -picked.mean()"
_SAMPLE = "p = np.exp(z - z.max())"
_CUT = "outside the graph"

WRONG = [
    # embedding
    wrong(EMBEDDING, "two ids have the same row", "normal(num_embeddings, embedding_dim)",
          "Tensor(np.zeros((num_embeddings, embedding_dim)))"),
    wrong(EMBEDDING, "two ids have the same row", "normal(num_embeddings, embedding_dim)",
          "Tensor(np.tile(np.linspace(0, 1, embedding_dim), (num_embeddings, 1)))"),
    wrong(EMBEDDING, "ids count from 0", _ROWS, "rows = (np.array(ids) + 1) % len(self.table)"),
    wrong(EMBEDDING, "in another order", _ROWS, "rows = -1 - np.array(ids)"),
    wrong(EMBEDDING, "row ids\\[i\\]", _ROWS, "rows = np.arange(len(ids))"),
    wrong(EMBEDDING, "row ids\\[i\\]", _ROWS, "rows = np.sort(ids)"),
    wrong(EMBEDDING, "One row for each id", _ROWS, "rows = np.unique(ids)"),
    wrong(EMBEDDING, _CUT, _TABLE, "return Tensor(self.table.data[rows])"),
    wrong(EMBEDDING, _CUT, _TABLE, "return stack([Tensor(self.table.data[i]) for i in rows])"),
    wrong(EMBEDDING, "nothing else", _TABLE, "return self.table[rows] + 0.1 * np.arange(len(rows))"
          "[:, None]"),
    wrong(EMBEDDING, "as it is", _TABLE, "return self.table[rows] * 2.0"),
    wrong(EMBEDDING, "nothing else", "self.table = normal(num_embeddings, embedding_dim)",
          "self.table, self.b = normal(num_embeddings, embedding_dim), normal(embedding_dim)"),
    wrong(EMBEDDING, "One row for each id", _TABLE, "return self.table[rows].transpose()"),
    wrong(EMBEDDING, "cannot be trained", "    def forward(self, ids):\n            rows",
          "    def parameters(self):\n            return [self.table.data]\n\n"
          "        def forward(self, ids):\n            rows"),
    wrong(EMBEDDING, "twice", "    def forward(self, ids):\n            rows",
          "    def parameters(self):\n            return [self.table, self.table]\n\n"
          "        def forward(self, ids):\n            rows"),
    wrong(EMBEDDING, "`to_array` cannot read what your part gives, a list", _TABLE,
          "return [self.table[int(i)] for i in rows]"),
    # layer norm
    wrong(NORM, "rows of tiny numbers", _VARIANCE, _VARIANCE + "\n            variance = variance + "
          "(variance.data == 0)", " + 1e-5", ""),
    wrong(NORM, "division by zero", " + 1e-5", ""),
    wrong(NORM, "eps = 1e-5", "1e-5", "1e-8"),
    wrong(NORM, "eps = 1e-5", "1e-5", "1e-3"),
    wrong(NORM, "not sqrt\\(variance\\) \\+ eps", "(variance + 1e-5) ** 0.5",
          "(variance ** 0.5 + 1e-5)"),
    wrong(NORM, "The scale starts at 1", "Tensor(np.ones(dim))", "Tensor(np.zeros(dim))"),
    wrong(NORM, "The shift starts at 0", "self.shift = Tensor(np.zeros(dim))",
          "self.shift = Tensor(np.ones(dim))"),
    wrong(NORM, "You normalise the columns", _LEFT, _LEFT.replace("-1", "0"), _VARIANCE,
          _VARIANCE.replace("-1", "0")),
    wrong(NORM, "Each row has its own mean", _LEFT, "left = x - x.mean()", _VARIANCE,
          "variance = (left * left).mean()"),
    wrong(NORM, "not by dim - 1", _VARIANCE, "variance = (left * left).sum(axis=-1, keepdims=True)"
          " / (x.shape[-1] - 1)"),
    wrong(NORM, "Subtract the mean", _LEFT, "left = x"),
    wrong(NORM, "Subtract the mean", "return left /", "return x /"),
    wrong(NORM, "Take its root", "(variance + 1e-5) ** 0.5", "(variance + 1e-5)"),
    wrong(NORM, "the shift is not scaled", _NORM,
          "return (left / (variance + 1e-5) ** 0.5 + self.shift) * self.scale"),
    wrong(NORM, "changes nothing", " + self.shift", ""),
    wrong(NORM, "changes nothing", " * self.scale", ""),
    wrong(NORM, "changes nothing", " * self.scale", " * 1.0", " + self.shift", ""),
    wrong(NORM, "gradient arrives|small step", _LEFT, "left = x - x.data.mean(-1, keepdims=True)"),
    wrong(NORM, "gradient arrives|small step", "(variance + 1e-5)", "(variance.data + 1e-5)"),
    wrong(NORM, "np.sqrt|loop of ufunc|TypeError", "(variance + 1e-5) ** 0.5",
          "np.sqrt(variance + 1e-5)"),
    wrong(NORM, "TypeError|AttributeError", _VARIANCE, "variance = np.var(x, axis=-1, "
          "keepdims=True)"),
    wrong(NORM, "AttributeError", _VARIANCE, "variance = x.var(axis=-1, keepdims=True)"),
    wrong(NORM, _CUT, _NORM, "return Tensor((left / (variance + 1e-5) ** 0.5 * self.scale + "
          "self.shift).data)"),
    wrong(NORM, "has left the graph", _NORM, "return (left / (variance + 1e-5) ** 0.5).data * "
          "self.scale.data + self.shift.data"),
    wrong(NORM, "changes its input", _LEFT, _LEFT + "\n            x.data[...] = left.data"),
    wrong(NORM, "numbers in its parameters", "self.shift = Tensor(np.zeros(dim))",
          "self.shift = Tensor(np.zeros(1))"),
    wrong(NORM, "not in parameters", "    def forward(self, x):\n            left",
          "    def parameters(self):\n            return [self.scale]\n\n"
          "        def forward(self, x):\n            left"),
    wrong(NORM, "rows of tiny numbers", "(variance + 1e-5)",
          "(variance + 1e-5 * (variance.data < 1e-5))"),
    # feed-forward
    wrong(FORWARD, "linear in x", "hidden.relu()",
          "stack([*hidden.transpose()[::2].relu(), *hidden.transpose()[1::2]]).transpose()"),
    wrong(FORWARD, "two linear|Two matrices", "Linear(embed_dim, 4 * embed_dim)",
          "Linear(embed_dim, embed_dim)", "Linear(4 * embed_dim, embed_dim)",
          "Linear(embed_dim, embed_dim)"),
    wrong(FORWARD, "activation between the two layers is missing", "hidden.relu()", "hidden"),
    wrong(FORWARD, "not after the second", "hidden.relu()", "hidden", _DOWN,
          "return self.down(active).relu()"),
    wrong(FORWARD, "not after the second", _DOWN, "return self.down(active).relu()"),
    wrong(FORWARD, "first thing that happens", "self.up(x)", "self.up(x.relu())",
          "hidden.relu()", "hidden"),
    wrong(FORWARD, "first thing that happens|linear", "self.up(x)", "self.up(x.tanh())"),
    wrong(FORWARD, "No residual here", _DOWN, "return x + self.down(active)"),
    wrong(FORWARD, "same row of x alone", "self.up(x)", "self.up(x - x.mean(axis=0, "
          "keepdims=True))"),
    wrong(FORWARD, "same row of x alone", "hidden.relu()", "softmax(hidden, axis=0)"),
    wrong(FORWARD, "each number by itself", "hidden.relu()", "softmax(hidden)"),
    wrong(FORWARD, "back to D", _DOWN, "return active"),
    wrong(FORWARD, "Two matrices", "self.up = Linear(embed_dim, 4 * embed_dim)",
          "self.up = Linear(embed_dim, 4 * embed_dim)\n            self.mid = Linear(4 * embed_dim,"
          " 4 * embed_dim)", "hidden = self.up(x)", "hidden = self.mid(self.up(x).relu())"),
    wrong(FORWARD, "Two matrices", "self.up = Linear(embed_dim, 4 * embed_dim)",
          "self.up = Linear(embed_dim, 4 * embed_dim)\n            self.idle = Linear(embed_dim, "
          "embed_dim)"),
    wrong(FORWARD, "Nothing follows", _DOWN, "return softmax(self.down(active))"),
    wrong(FORWARD, "as it is", "self.up(x)", "self.up(x - x.mean(axis=-1, keepdims=True))"),
    wrong(FORWARD, "Two matrices", _DOWN, "return self.up(active[:, : x.shape[-1]])[:, : x.shape"
          "[-1]]", "self.down = Linear(4 * embed_dim, embed_dim)", "self.down = None"),
    wrong(FORWARD, _CUT, "hidden.relu()", "Tensor(np.maximum(hidden.data, 0))"),
    wrong(FORWARD, _CUT, _DOWN, "return Tensor(self.down(active).data)"),
    wrong(FORWARD, "linear, activation, linear", _DOWN, "return self.down(active) * "
          "self.down(active)"),
    wrong(FORWARD, "not in parameters|Two matrices", "    def forward(self, x):\n            hidden",
          "    def parameters(self):\n            return self.up.parameters()\n\n"
          "        def forward(self, x):\n            hidden"),
    # the loss
    wrong(LOSS, "Take the mean", _MEAN, "return -picked.sum()"),
    wrong(LOSS, "minus sign", _MEAN, "return picked.mean()"),
    wrong(LOSS, "natural logarithm", _MEAN, "return -picked.mean() / math.log(2)"),
    wrong(LOSS, "You divide by V", _MEAN, "return -picked.sum() / logits.shape[1]"),
    wrong(LOSS, "take their mean", _MEAN, "return -picked"),
    wrong(LOSS, "last position", _MEAN, "return -picked[-1]"),
    wrong(LOSS, "last position is left out", _MEAN, "return -picked[: max(1, len(targets) - 1)]"
          ".mean()"),
    wrong(LOSS, "Only that of the target", _MEAN, "return -log_probs.mean()"),
    wrong(LOSS, "logarithm is missing", _MEAN, "return -picked.exp().mean()"),
    wrong(LOSS, "First the logarithm", _MEAN, "return -picked.exp().mean().log()"),
    wrong(LOSS, "down the columns", _LOGP, _LOGP.replace("-1", "0"), _Z, _Z.replace("-1", "0")),
    wrong(LOSS, "softmax is missing", _LOGP, "log_probs = logits"),
    wrong(LOSS, "logarithm is missing", _LOGP, "log_probs = softmax(logits)"),
    wrong(LOSS, "taken twice", _Z, "z = softmax(logits)"),
    wrong(LOSS, "shifted already", "picked = log_probs[np.arange(len(targets)), np.array(targets)]",
          "picked = log_probs[np.arange(len(targets) - 1), np.array(targets[1:])]"),
    wrong(LOSS, "Subtract the largest", _Z, "z = logits"),
    wrong(LOSS, "logarithm of the softmax", _LOGP, "log_probs = softmax(logits).log()"),
    wrong(LOSS, "inside the logarithm", _LOGP, "log_probs = (softmax(logits) + 1e-9).log()"),
    wrong(LOSS, "inside the logarithm", _LOGP, "log_probs = (softmax(logits) + 1e-30).log()"),
    wrong(LOSS, "left the graph", _MEAN, "return float(-picked.data.mean())"),
    wrong(LOSS, "Every logit takes part", _Z, "z = Tensor(logits.data - logits.data.max(-1, "
          "keepdims=True))"),
    wrong(LOSS, "Every logit takes part", _LOGP, "log_probs = z - np.log(z.exp().data.sum(-1, "
          "keepdims=True))"),
    wrong(LOSS, "changes its inputs", _MEAN, "logits.data -= 1.0\n        return -picked.mean()"),
    wrong(LOSS, "changes its inputs", _MEAN, "targets.pop()\n        return -picked.mean()"),
    wrong(LOSS, "Subtract the largest", "m = max(z.data for z in row)\n            losses",
          "m = max(abs(z.data) for z in row)\n            losses", style=scalars),
    wrong(LOSS, "Every logit takes part", "- (row[target] - m)", "- (row[target].data - m)",
          style=scalars),
    # attention
    wrong(ATTENTION, "scale is missing", _SCALE, ""),
    wrong(ATTENTION, "Divide by its root", _SCALE, "/ q.shape[-1]"),
    wrong(ATTENTION, "multiply by the root", _SCALE, "* q.shape[-1] ** 0.5"),
    wrong(ATTENTION, "dimension of a head counts", _SCALE, "/ D ** 0.5"),
    wrong(ATTENTION, "on a third one", _SCALE, "/ T ** 0.5"),
    wrong(ATTENTION, "root of the head", _SCALE, "/ 2"),
    wrong(ATTENTION, "sees its future", "if causal:", "if False:"),
    wrong(ATTENTION, "sees its future", "np.ones((T, T)), 1)", "np.ones((T, T)), 2)"),
    wrong(ATTENTION, "hide a position from itself", "np.ones((T, T)), 1)", "np.ones((T, T)), 0)"),
    wrong(ATTENTION, "sees its future", "np.triu(", "np.tril(", ", 1) > 0", ", -1) > 0"),
    wrong(ATTENTION, "sees its future", _MASK, "np.where(hide, -10.0, 0.0)"),
    wrong(ATTENTION, "sees its future", _MASK, "np.where(hide, -1e4, 0.0)"),
    wrong(ATTENTION, "sees its future", _SOFTMAX, "weights = softmax(scores, axis=-2)"),
    wrong(ATTENTION, "sees its future", "scores + np.where(hide, -np.inf, 0.0)",
          "scores * np.where(hide, 0.0, 1.0)"),
    wrong(ATTENTION, "sees its future", "scores + np.where(hide, -np.inf, 0.0)", "scores", _SOFTMAX,
          "weights = softmax(scores) * np.where(hide, 0.0, 1.0)"),
    wrong(ATTENTION, "large scores", _SOFTMAX, "weights = scores.exp() if not causal else "
          "(scores.exp() / T)"),
    wrong(ATTENTION, "subtract the largest", _SOFTMAX, "weights = scores.exp() / scores.exp().sum("
          "axis=-1, keepdims=True)"),
    wrong(ATTENTION, "do not count", _SCALE, "* 0.0"),
    wrong(ATTENTION, "causal=False nothing is masked", "if causal:", "if True:"),
    wrong(ATTENTION, "mask is on", "causal=True", "causal=False"),
    wrong(ATTENTION, "No residual here", "return self.out(mixed)", "return x + self.out(mixed)"),
    wrong(ATTENTION, "not linear|No activation|no activation", "self.split(self.v(x))",
          "self.split(self.v(x).relu())"),
    wrong(ATTENTION, "not products", "self.split(self.q(x))", "self.split(self.q(x).relu())"),
    wrong(ATTENTION, "not products", "self.split(self.k(x))", "self.split(self.k(x).tanh())"),
    wrong(ATTENTION, "no mean|not linear|no activation", "return self.out(mixed)",
          "return self.out(mixed).tanh()"),
    wrong(ATTENTION, "changes? nothing|not products", "q, k, v = self.split(self.q(x))",
          "q, k, v = self.split(self.k(x))"),
    wrong(ATTENTION, "changes? nothing", "weights @ v", "weights @ k"),
    wrong(ATTENTION, "its own D / num_heads", "self.num_heads = num_heads", "self.num_heads = 1"),
    wrong(ATTENTION, "should be transposed|sees its future", ".reshape(T, self.num_heads, D // "
          "self.num_heads).transpose(1, 0, 2)", ".reshape(self.num_heads, T, D // self.num_heads)"),
    wrong(ATTENTION, "have a matrix each", "self.out = Linear(embed_dim, embed_dim)",
          "self.out = Linear(embed_dim, embed_dim)\n            self.idle = Linear(embed_dim, 2 * "
          "embed_dim)"),
    wrong(ATTENTION, "have a matrix each", "self.q, self.k, self.v = (Linear(embed_dim, embed_dim) "
          "for _ in range(3))", "self.q = self.k = self.v = Linear(embed_dim, embed_dim)"),
    wrong(ATTENTION, "have a matrix each|its own D", "self.heads = [Head(embed_dim, embed_dim // "
          "num_heads) for _ in range(num_heads)]", "self.heads = [Head(embed_dim, embed_dim // "
          "num_heads)] * num_heads", style=modules),
    wrong(ATTENTION, "side by side", "for head in self.heads]",
          "for head in [self.heads[0] for _ in self.heads]]", style=modules),
    wrong(ATTENTION, _CUT, "return self.out(mixed)", "return self.out(Tensor(mixed.data))"),
    wrong(ATTENTION, _CUT, _SOFTMAX, "weights = Tensor(softmax(scores).data)"),
    wrong(ATTENTION, "shapes", "np.ones((T, T)), 1)", "np.ones((32, 32)), 1)[:T, :T]"),
    wrong(ATTENTION, "does not see the first", "np.ones((T, T)), 1) > 0",
          "np.ones((T, T)), 1) + np.tril(np.ones((T, T)), -8) > 0"),
    wrong(ATTENTION, "values of a position|change nothing", _QKV, _QKV + """
            q, k, v = (stack([y[0]] * self.num_heads) for y in (q, k, v))"""),
    wrong(ATTENTION, "change nothing", "self.split(self.v(x))", "self.split(x)"),
    wrong(ATTENTION, "change nothing", "self.split(self.k(x))", "self.split(self.q(x))"),
    wrong(ATTENTION, "put side by side", "mixed = (weights @ v)",
          "mixed = stack([(weights @ v).mean(axis=0)] * self.num_heads)"),
    # the block
    wrong(BLOCK, "no SelfAttention", "SelfAttention(embed_dim, num_heads)",
          "SelfAttention(embed_dim, 1)"),
    wrong(BLOCK, "A residual is missing", _HALF1, "x = self.attention(self.norm1(x))"),
    wrong(BLOCK, "A residual is missing", _HALF2, "return self.feed_forward(self.norm2(x))"),
    wrong(BLOCK, "A norm is missing", _HALF1, "x = x + self.attention(x)"),
    wrong(BLOCK, "A norm is missing", _HALF2, "return x + self.feed_forward(x)"),
    wrong(BLOCK, "A norm is missing", _HALF1, "x = x + self.attention(x)", _HALF2,
          "return x + self.feed_forward(x)"),
    wrong(BLOCK, "nothing is normalised after", _HALF1, "x = self.norm1(x + self.attention(x))",
          _HALF2, "return self.norm2(x + self.feed_forward(x))"),
    wrong(BLOCK, "nothing is normalised after", _HALF1, "x = x + self.norm1(self.attention(x))",
          _HALF2, "return x + self.norm2(self.feed_forward(x))"),
    wrong(BLOCK, "starts from a normalised copy", _HALF1, "x = self.norm1(x)\n            x = x + "
          "self.attention(x)", _HALF2, "x = self.norm2(x)\n            return x + "
          "self.feed_forward(x)"),
    wrong(BLOCK, "reads the same x", _HALF1, "y = self.attention(self.norm1(x))", _HALF2,
          "return x + y + self.feed_forward(self.norm2(x))"),
    wrong(BLOCK, "Attention comes first", _HALF1, "x = x + self.feed_forward(self.norm2(x))",
          _HALF2, "return x + self.attention(self.norm1(x))"),
    wrong(BLOCK, "not to the first x", _HALF1, "y = x + self.attention(self.norm1(x))", _HALF2,
          "return x + self.feed_forward(self.norm2(y))"),
    wrong(BLOCK, "Feed-forward is missing", _HALF2, "return x"),
    wrong(BLOCK, "Attention is missing", _HALF1, ""),
    wrong(BLOCK, "hides the future", "self.attention(self.norm1(x))",
          "self.attention(self.norm1(x), causal=False)"),
    wrong(BLOCK, "used twice", "self.norm2(x)", "self.norm1(x)"),
    wrong(BLOCK, "holds 1 LayerNorm", "self.norm1, self.norm2 = LayerNorm(embed_dim), LayerNorm("
          "embed_dim)", "self.norm1 = self.norm2 = LayerNorm(embed_dim)"),
    wrong(BLOCK, "holds 3 LayerNorm", "self.norm1, self.norm2 = LayerNorm(embed_dim)",
          "self.norm0 = LayerNorm(embed_dim)\n            self.norm1, self.norm2 = "
          "LayerNorm(embed_dim)"),
    wrong(BLOCK, "besides those of its parts", "self.feed_forward = FeedForward(embed_dim)",
          "self.feed_forward = FeedForward(embed_dim)\n            self.idle = Linear(embed_dim, "
          "embed_dim)"),
    wrong(BLOCK, "each with its own norm", _HALF2, _HALF2 + " * 1.01"),
    wrong(BLOCK, "x is added twice", _HALF1, "x = x + x + self.attention(self.norm1(x))"),
    wrong(BLOCK, _CUT, _HALF1, "x = Tensor((x + self.attention(self.norm1(x))).data)"),
    wrong(BLOCK, _CUT, _HALF2, "return x + Tensor(self.feed_forward(self.norm2(x)).data)"),
    wrong(BLOCK, _CUT, "self.norm1(x)", "self.norm1(Tensor(x.data))"),
    wrong(BLOCK, "holds 0 FeedForward", "            self.feed_forward = FeedForward(embed_dim)\n",
          "", "self.feed_forward(", "FeedForward(x.shape[-1])("),
    # the model
    wrong(MODEL, "no TransformerBlock", _BLOCKS, _BLOCKS.replace("num_heads", "1")),
    wrong(MODEL, "position embedding is not used", _EMBED, "x = self.tokens(ids)"),
    wrong(MODEL, "token embedding is not used", _EMBED, "x = self.positions(places)"),
    wrong(MODEL, "are added", _EMBED, "x = self.tokens(ids) * self.positions(places)"),
    wrong(MODEL, "Position t takes row t", "places = np.arange(len(ids))",
          "places = np.arange(len(ids))[::-1]"),
    wrong(MODEL, "Position t takes row t|out of bounds", "places = np.arange(len(ids))",
          "places = np.array(ids)"),
    wrong(MODEL, "Position t takes row t", "places = np.arange(len(ids))",
          "places = np.zeros(len(ids), int)"),
    wrong(MODEL, "counted from 0", "places = np.arange(len(ids))",
          "places = np.arange(self.max_seq_len)[-len(ids):]"),
    wrong(MODEL, "has added its results", _STEP, "x = x + block(x)"),
    wrong(MODEL, "each once", _STEP, "x = block(block(x))"),
    wrong(MODEL, "positions are added once", _STEP, "x = block(x + self.positions(places))"),
    wrong(MODEL, "positions are added once", _EMBED, "x = self.tokens(ids)", _STEP,
          "x = block(x + self.positions(places))"),
    wrong(MODEL, "blocks do not count|do not count", _STEP, "block(x)"),
    wrong(MODEL, "Only the last block", _STEP, "y = block(x)", "x = self.norm(x)",
          "x = self.norm(y)"),
    wrong(MODEL, "order of the list", "in self.blocks:", "in self.blocks[::-1]:"),
    wrong(MODEL, "first block is not used", "in self.blocks:", "in self.blocks[1:]:"),
    wrong(MODEL, "first block is used again", "in self.blocks:", "in [self.blocks[0]] * "
          "len(self.blocks):"),
    wrong(MODEL, "final norm is missing", "x = self.norm(x)\n", "\n"),
    wrong(MODEL, "final norm comes after|final norm is missing", "x = self.norm(x)\n", "\n", _EMBED,
          "x = self.norm(self.tokens(ids) + self.positions(places))"),
    wrong(MODEL, "before the blocks", _EMBED, "x = self.norm(self.tokens(ids) + "
          "self.positions(places))"),
    wrong(MODEL, "normalises by itself", _STEP, "x = self.norm(block(x))"),
    wrong(MODEL, "norm has \\d+ numbers", "self.norm = LayerNorm(embed_dim)",
          "self.norm = LayerNorm(vocab_size)", "x = self.norm(x)\n            return self.head(x)",
          "return self.norm(self.head(x))"),
    wrong(MODEL, "holds 2 LayerNorm", "self.norm = LayerNorm(embed_dim)",
          "self.norm, self.first = LayerNorm(embed_dim), LayerNorm(embed_dim)", _EMBED,
          "x = self.first(self.tokens(ids) + self.positions(places))"),
    wrong(MODEL, "holds 1 TransformerBlock", _BLOCKS,
          "[TransformerBlock(embed_dim, num_heads)] * num_layers"),
    wrong(MODEL, "holds 1 TransformerBlock", _BLOCKS, "[TransformerBlock(embed_dim, num_heads)]"),
    wrong(MODEL, "blocks share parameters", _BLOCKS, _BLOCKS + "\n            for block in "
          "self.blocks[1:]:\n                block.feed_forward = self.blocks[0].feed_forward"),
    wrong(MODEL, "holds 1 Embedding", "self.positions = Embedding(max_seq_len, embed_dim)",
          "self.waves = np.sin(np.arange(max_seq_len)[:, None] / 3.0 ** np.arange(embed_dim))",
          "self.positions(places)", "self.waves[places]"),
    wrong(MODEL, "not in parameters", "    def forward(self, ids):\n            places",
          "    def parameters(self):\n            return [p for p in Module.parameters(self) if p is "
          "not self.positions.table]\n\n        def forward(self, ids):\n            places"),
    wrong(MODEL, "softmax is taken in the loss", "return self.head(x)",
          "return softmax(self.head(x))"),
    wrong(MODEL, "linear layer makes|linear layer", "return self.head(x)",
          "return self.head(x).tanh()"),
    wrong(MODEL, "shape of the logits", "return self.head(x)", "return self.head(x)[-1]"),
    wrong(MODEL, "shape of the logits", "return self.head(x)", "return self.head(x).transpose()"),
    wrong(MODEL, "besides the embeddings", "self.head = Linear(embed_dim, vocab_size)",
          "self.head = Linear(embed_dim, vocab_size)\n            self.idle = Linear(embed_dim, "
          "embed_dim)"),
    wrong(MODEL, "Keep it", "            self.max_seq_len = max_seq_len\n", ""),
    wrong(MODEL, "smaller random weights", "self.head = Linear(embed_dim, vocab_size)",
          "self.head = Linear(embed_dim, vocab_size)\n            self.head.w.data *= 90"),
    wrong(MODEL, _CUT, _STEP, "x = Tensor(block(x).data)"),
    wrong(MODEL, _CUT, "x = self.norm(x)\n", "x = self.norm(Tensor(x.data))\n"),
    wrong(MODEL, _CUT, "self.positions(places)", "self.positions(places).data"),
    # generation
    wrong(GENERATE, "start \\+ new", "return ids\n\n    def from", "return ids[len(start_ids):]\n\n"
          "    def from"),
    wrong(GENERATE, "max_new_tokens times", "range(max_new_tokens)", "range(max_new_tokens + 1)"),
    wrong(GENERATE, "Begin with a copy", "ids = list(start_ids)", "ids = start_ids"),
    wrong(GENERATE, "read the first row", "to_array(model(window))[-1]",
          "to_array(model(window))[0]"),
    wrong(GENERATE, "only the last id", "window = ids[-model.max_seq_len :]", "window = ids[-1:]"),
    wrong(GENERATE, "should read its end", "ids[-model.max_seq_len :]", "ids[: model.max_seq_len]"),
    wrong(GENERATE, "Crop before you ask", "ids[-model.max_seq_len :]", "ids"),
    wrong(GENERATE, "too short", "ids[-model.max_seq_len :]",
          "ids[-max(1, model.max_seq_len - 1) :]"),
    wrong(GENERATE, "holds all ids", "logits = to_array(model(window))[-1]",
          "ids, logits = list(window), to_array(model(window))[-1]"),
    wrong(GENERATE, "temperature 0", "if temperature == 0:", "if False:"),
    wrong(GENERATE, "least likely", "np.argmax(logits)", "np.argmin(logits)"),
    wrong(GENERATE, "first one counts", "int(np.argmax(logits))",
          "int(len(logits) - 1 - np.argmax(logits[::-1]))"),
    wrong(GENERATE, "Divide the logits", "/ temperature", "* temperature"),
    wrong(GENERATE, "not used", "/ temperature", "* 1.0"),
    wrong(GENERATE, "divided by twice", "/ temperature", "/ temperature**2"),
    wrong(GENERATE, "taken twice", _SAMPLE, _SAMPLE + "\n            p = np.exp(p / p.sum())"),
    wrong(GENERATE, "drawn equally often", _SAMPLE, "p = np.ones(len(z))"),
    wrong(GENERATE, "Draw by chance", _SAMPLE, "p = 1.0 * (z == z.max())"),
    wrong(GENERATE, "Subtract the largest", _SAMPLE, "p = np.exp(z)"),
    wrong(GENERATE, "Subtract the largest", _SAMPLE, "p = np.exp(z - z.mean())"),
    wrong(GENERATE, "at temperature 0.001", "z = logits[kept] / temperature",
          "z = logits[kept] / (temperature + 1e-3)"),
    wrong(GENERATE, "a temperature of 0.001", "stable([z / temperature for z in last])",
          "[p ** (1 / temperature) for p in stable(last)]", style=scalars),
    wrong(GENERATE, "a draw with these weights", "rng.gumbel(size=len(order))",
          "rng.normal(size=len(order))", style=modules),
    wrong(GENERATE, "fixed seed", "np.random.default_rng() if rng is None else rng",
          "np.random.default_rng(0)"),
    wrong(GENERATE, "generator that was given", "np.random.default_rng() if rng is None else rng",
          "np.random"),
    wrong(GENERATE, "generator that was given", "np.random.default_rng() if rng is None else rng",
          "np.random.default_rng()"),
    wrong(GENERATE, "temperature", "temperature=1.0", "temperature=0.5"),
    wrong(GENERATE, "top_k is not used", "[:top_k]", ""),
    wrong(GENERATE, "too many", "[:top_k]", "[: None if top_k is None else top_k + 1]"),
    wrong(GENERATE, "too few", "[:top_k]", "[: None if top_k is None else top_k - 1 or None]"),
    wrong(GENERATE, "Keep the largest", "np.argsort(-logits)", "np.argsort(logits)"),
    # the checklist
    wrong(CHECKLIST, "sees its future", "if causal:", "if False:"),
    wrong(CHECKLIST, "shape of the logits", "return self.head(x)", "return self.head(x)[-1]"),
    wrong(CHECKLIST, "smaller random weights", "self.head = Linear(embed_dim, vocab_size)",
          "self.head = Linear(embed_dim, vocab_size)\n            self.head.w.data *= 90"),
    wrong(CHECKLIST, "check of cross_entropy_loss", _MEAN, "return -picked.sum()"),
    wrong(CHECKLIST, "no backward|left the graph", _MEAN, "return float(-picked.data.mean())"),
    wrong(CHECKLIST, "get no gradient", _TABLE, "return Tensor(self.table.data[rows])"),
    wrong(CHECKLIST, "get no gradient", _STEP, "x = Tensor(block(x).data)"),
    wrong(CHECKLIST, "bug in its loss", _MEAN, "return picked.mean() - 2 * picked.data.mean()"),
]


# ---- the two functions of the notebook, stubs, and the package's own -----------------------------

_PARTS = edited(tensors)


def own_parts(name):
    """The package's parts in the place of one's own, bare and wrapped."""
    first = TAKES[name][0]
    ours = getattr(minigpt_helpers, first)

    class Around(Module):
        def __init__(self, *sizes):
            self.inside = ours(*sizes)

        def forward(self, x):
            return self.inside(x)

    found = [ours]
    if isinstance(ours, type):
        found += [type("Below", (ours,), {}), Around]
    return [objects(name, _PARTS, **{first: each}) for each in found]


WRONG += [(name, answer, "the package's own") for name in TAKES if name != CHECKLIST
          for answer in own_parts(name)]
WRONG += [
    (NORM, objects(NORM, _PARTS, **{which: function}), words)
    for which, function, words in [
        ("to_array", lambda x: x, "`to_array` should give a numpy array"),
        ("to_array", lambda x: x.numbers, "`to_array` cannot read .*AttributeError"),
        ("to_array", lambda x: None, "to_array"),
        ("to_array", lambda x: x.data + 1, "`from_array` makes of an array"),
        ("from_array", lambda a: Tensor(a.ravel()), "to_array\\(from_array\\(a\\)\\)"),
        ("from_array", lambda a: a.no_such(), "no_such"),
        ("from_array", lambda a: a, "a memoryview|`to_array` should give"),
    ]
]
WRONG += [
    (NORM, objects(NORM, _PARTS, from_array=lambda a: a, to_array=np.asarray), "array|Tensor"),
    (EMBEDDING, objects(EMBEDDING, _PARTS, Embedding=_PARTS.Embedding(4, 3)),
     "an instance of `Embedding`. Pass the class"),
    (EMBEDDING, objects(EMBEDDING, _PARTS, Embedding=lambda n, d: _PARTS.Embedding(n, d)),
     "Pass the class"),
]
