"""The same GPT from single numbers, as in the first half of lesson 2: pure Python, one ``Value``
for every sum and every product. After microgpt (Andrej Karpathy, 2026).

It has the parameters of ``MiniGPT`` and gives the same loss and the same gradients.
"""

from __future__ import annotations

import itertools
import math

from tools.benchmarks.ours import make_model
from tools.benchmarks.sizes import Size

births = itertools.count()


class Value:
    """One number that remembers what it was made from, and its slope with respect to each."""

    __slots__ = ("data", "grad", "parents", "slopes", "order")

    def __init__(self, data, parents=(), slopes=()):
        self.data, self.grad = data, 0.0
        self.parents, self.slopes = parents, slopes
        self.order = next(births)

    def __add__(self, other):
        if isinstance(other, Value):
            return Value(self.data + other.data, (self, other), (1.0, 1.0))
        return Value(self.data + other, (self,), (1.0,))

    def __mul__(self, other):
        if isinstance(other, Value):
            return Value(self.data * other.data, (self, other), (other.data, self.data))
        return Value(self.data * other, (self,), (other,))

    def __pow__(self, power):
        return Value(self.data**power, (self,), (power * self.data ** (power - 1),))

    def __sub__(self, other):
        return self + other * -1.0

    __radd__, __rmul__ = __add__, __mul__

    def exp(self):
        out = math.exp(self.data)
        return Value(out, (self,), (out,))

    def log(self):
        return Value(math.log(self.data), (self,), (1 / self.data,))

    def tanh(self):
        out = math.tanh(self.data)
        return Value(out, (self,), (1 - out * out,))

    def backward(self):
        found, to_visit = {self}, [self]
        while to_visit:
            for parent in to_visit.pop().parents:
                if parent not in found:
                    found.add(parent)
                    to_visit.append(parent)
        self.grad = 1.0
        for value in sorted(found, key=lambda value: -value.order):  # newest first
            for parent, slope in zip(value.parents, value.slopes):
                parent.grad += slope * value.grad


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def linear(x, weight, bias=None):
    out = [dot(x, column) for column in zip(*weight)]
    return out if bias is None else add(out, bias)


def softmax(scores):
    largest = max(score.data for score in scores)
    exps = [(score - largest).exp() for score in scores]
    one_over_total = sum(exps) ** -1
    return [exp * one_over_total for exp in exps]


def layer_norm(x, weight, bias, eps=1e-5):
    mean = sum(x) * (1 / len(x))
    centred = [a - mean for a in x]
    inv_std = (dot(centred, centred) * (1 / len(x)) + eps) ** -0.5
    return [a * inv_std * w + b for a, w, b in zip(centred, weight, bias)]


def gelu(x):
    return x * ((((x * x * x) * 0.044715 + x) * math.sqrt(2 / math.pi)).tanh() + 1.0) * 0.5


def add(a, b):
    return [x + y for x, y in zip(a, b)]


class ScalarGPT:
    """``state`` is a ``MiniGPT``'s ``state_dict()``: its arrays become nested lists of Values."""

    def __init__(self, state, num_layers: int, num_heads: int):
        self.p = {name: as_values(array.tolist()) for name, array in state.items()}
        self.num_layers, self.num_heads = num_layers, num_heads

    def parameters(self):
        return [value for values in self.p.values() for value in flatten(values)]

    def layer(self, name: str):
        return self.p[f"{name}.weight"], self.p[f"{name}.bias"]

    def loss(self, ids, targets):
        """The mean loss over one text: ids and targets are lists of T numbers."""
        keys, values = ([[] for _ in range(self.num_layers)] for _ in range(2))
        losses = []
        for position, (token, target) in enumerate(zip(ids, targets)):
            probs = softmax(self.logits(token, position, keys, values))
            losses.append(probs[target].log() * -1.0)
        return sum(losses) * (1 / len(losses))

    def logits(self, token, position, keys, values):
        """One position after the other: keys and values of the earlier ones are kept in lists."""
        x = add(
            self.p["token_embedding.weight"][token], self.p["position_embedding.weight"][position]
        )
        for i in range(self.num_layers):
            block = f"blocks.{i}"
            normed = layer_norm(x, *self.layer(f"{block}.norm1"))
            qkv = linear(normed, *self.layer(f"{block}.attention.qkv"))
            q, k, v = (qkv[part * len(x) : (part + 1) * len(x)] for part in range(3))
            keys[i].append(k), values[i].append(v)
            mixed = self.attend(q, keys[i], values[i])
            x = add(x, linear(mixed, *self.layer(f"{block}.attention.proj")))
            normed = layer_norm(x, *self.layer(f"{block}.norm2"))
            hidden = linear(normed, *self.layer(f"{block}.feed_forward.expand"))
            hidden = [gelu(h) for h in hidden]
            x = add(x, linear(hidden, *self.layer(f"{block}.feed_forward.contract")))
        return linear(layer_norm(x, *self.layer("final_norm")), self.p["head.weight"])

    def attend(self, q, keys, values):
        """What the newest position takes from all so far, head by head."""
        width, out = len(q) // self.num_heads, []
        for start in range(0, len(q), width):
            head = slice(start, start + width)
            weights = softmax([dot(q[head], key[head]) * width**-0.5 for key in keys])
            out += [dot(weights, column) for column in zip(*(value[head] for value in values))]
        return out


def as_values(numbers):
    return [as_values(n) for n in numbers] if isinstance(numbers, list) else Value(numbers)


def flatten(values):
    if isinstance(values, Value):
        return [values]
    return [value for part in values for value in flatten(part)]


class Training:
    """Whole training steps, with AdamW in a loop over all parameters."""

    def __init__(self, size: dict):
        self.size = Size(**size)
        state = make_model(self.size).state_dict()
        self.model = ScalarGPT(state, self.size.num_layers, self.size.num_heads)
        self.params = self.model.parameters()
        self.m, self.v = [0.0] * len(self.params), [0.0] * len(self.params)
        self.num_steps = 0
        self.batches = itertools.cycle(self.size.batches())

    def step(self) -> float:
        x, y = next(self.batches)
        for p in self.params:
            p.grad = 0.0
        losses = [self.model.loss(ids, targets) for ids, targets in zip(x.tolist(), y.tolist())]
        loss = sum(losses) * (1 / len(losses))
        loss.backward()
        self.update()
        return loss.data

    def update(self, lr=1e-4, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01) -> None:
        self.num_steps += 1
        correct1, correct2 = 1 - beta1**self.num_steps, 1 - beta2**self.num_steps
        for i, p in enumerate(self.params):
            self.m[i] = beta1 * self.m[i] + (1 - beta1) * p.grad
            self.v[i] = beta2 * self.v[i] + (1 - beta2) * p.grad**2
            step = self.m[i] / correct1 / (math.sqrt(self.v[i] / correct2) + eps)
            p.data -= lr * (weight_decay * p.data + step)
