"""How two processes that do not trust each other use each other's objects.

Plain data crosses as data: numbers, strings, lists, tuples, dicts, sets, arrays, in types that
are exactly these. The package's tensors and models cross as copies that both sides keep equal, and
a gradient crosses with them. All else stays where it is and crosses as a name, behind which the
other side puts a stand-in. Nothing is pickled: a message is JSON, and what it may hold stands in
`Endpoint.decode`.
"""

from __future__ import annotations

import base64
import collections.abc
import functools
import json
import random
import re
import struct
import sys

import numpy as np

from minigpt_helpers.autograd import Tensor

MOST_BYTES = 64_000_000  # of a message
MOST_ITEMS = 1_000_000  # of an iterator
MOST_DEPTH = 60  # lists in lists
PUBLIC = tuple(f"minigpt_helpers.{name}" for name in ("autograd", "nn", "text", "training"))
PLAIN = (bool, int, float, str)
CONTAINERS = {list: "list", tuple: "tuple", set: "set", frozenset: "frozenset"}
DTYPE = re.compile(r"[<>|=][biufcUS]\d{1,6}")


class WireError(Exception):
    """The other side sent something that is no message, or what should be sent cannot be."""


class Lost(Exception):
    """The other process is gone."""


def is_public(kind: type) -> bool:
    """Is this a class of the package that both sides have?"""
    home = sys.modules.get(kind.__module__) if kind.__module__ in PUBLIC else None
    return getattr(home, kind.__qualname__, None) is kind


def public_base(kind: type) -> type | None:
    """The class of the package that a class is, or is made from; None if there is none."""
    return next((base for base in kind.__mro__ if is_public(base)), None)


class Endpoint:
    """One end of the connection. `objects` are those that both sides know, by their name."""

    def __init__(self, socket, side: str) -> None:
        self.socket, self.side = socket, side
        self.count = 0
        self.forget()

    def forget(self) -> None:
        """Drop all names."""
        self.objects: dict[str, object] = {}
        self.names: dict[int, str] = {}  # id of an object, its name
        self.only_values = False  # a tensor without a graph needs no name now
        self.told: dict[str, object] = {}  # of a tensor or generator: what the other side knows

    def named(self, thing: object, name: str = "") -> str:
        """The name of an object; `name` if the other side gave it one."""
        if id(thing) not in self.names:
            if not name:
                self.count += 1
                name = f"{self.side}{self.count}"
            self.names[id(thing)] = name
            self.objects[name] = thing
        return self.names[id(thing)]

    # Messages

    def send(self, message: dict) -> None:
        try:
            body = json.dumps(message).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise WireError(f"this cannot be sent: {error}") from None
        if len(body) > MOST_BYTES:
            raise WireError(f"more than {MOST_BYTES // 10**6} MB at once")
        try:
            self.socket.sendall(struct.pack("!I", len(body)) + body)
        except OSError:
            raise Lost("the process has ended") from None

    def receive(self) -> dict:
        size = struct.unpack("!I", self.read(4))[0]
        if size > MOST_BYTES:
            raise WireError("a message that is too long")
        try:
            message = json.loads(self.read(size))
        except (ValueError, RecursionError):
            raise WireError("not a message") from None
        if not isinstance(message, dict):
            raise WireError("not a message")
        return message

    def read(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            self.wait()
            try:
                part = self.socket.recv(min(size - len(parts), 1 << 20))
            except OSError:
                part = b""
            if not part:
                raise Lost("the process has ended")
            parts += part
        return bytes(parts)

    def wait(self) -> None:
        """Called before each read; the trusted side keeps the time here."""

    def ask(self, op: str, **parts: object) -> dict:
        """Send a request, do what the other side wants meanwhile, return its answer."""
        self.send({"op": op, **parts, "changes": self.changes()})
        while True:
            message = self.receive()
            self.apply(message.get("changes", []))
            if "op" not in message:
                return message
            self.send(self.serve(message))

    def serve(self, message: dict) -> dict:
        raise NotImplementedError

    # Values

    def encode(self, value: object, depth: int = 0) -> object:
        kind = type(value)
        if value is None or kind in PLAIN:
            return value
        if depth > MOST_DEPTH:
            raise WireError(f"lists inside lists, more than {MOST_DEPTH} deep")

        def each(items):
            return [self.encode(item, depth + 1) for item in items]

        if kind in CONTAINERS:
            return [CONTAINERS[kind], each(value)]
        if isinstance(value, np.generic):
            return ["scalar", self.encode_array(np.asarray(value), depth)]
        if isinstance(value, np.ndarray):
            return self.encode_array(np.asarray(value).view(np.ndarray), depth)
        if value is ... or value is NotImplemented:
            return ["constant", "..." if value is ... else "NotImplemented"]
        if kind is complex:
            return ["complex", value.real, value.imag]
        if kind in (bytes, bytearray):
            return ["bytes", base64.b64encode(value).decode()]
        if kind in (range, slice):
            return [kind.__name__, each((value.start, value.stop, value.step))]
        for base in (str, int, float, list, tuple, set, frozenset, dict):
            if isinstance(value, base):  # what it really holds, whatever its own methods say
                return self.encode_base(value, base, depth)
        if isinstance(value, Tensor) and kind is Tensor:
            return self.encode_tensor(value)
        if kind is random.Random or (
            kind is np.random.Generator and type(value.bit_generator) is np.random.PCG64
        ):
            return self.encode_generator(value)
        if id(value) in self.names:
            return ["known", self.names[id(value)]]
        if isinstance(value, type) and is_public(value):
            return ["class", f"{value.__module__}:{value.__qualname__}"]
        if isinstance(value, (type({}.keys()), type({}.values()), type({}.items()))):
            return ["list", each(value)]
        if isinstance(value, collections.abc.Iterator) and kind.__module__ == "builtins":
            items = [item for item, _ in zip(value, range(MOST_ITEMS))]
            return ["iterator", each(items)]
        return self.encode_other(value, depth)

    def encode_base(self, value: object, base: type, depth: int) -> object:
        if base is str:
            return str.__add__("", value)
        if base in (int, float):
            return base.__add__(value, base(0))
        if base is dict:
            pairs = [
                [self.encode(k, depth + 1), self.encode(v, depth + 1)] for k, v in dict.items(value)
            ]
            return ["dict", pairs]
        return [CONTAINERS[base], [self.encode(item, depth + 1) for item in base.__iter__(value)]]

    def encode_array(self, array: np.ndarray, depth: int = 0) -> list:
        if array.dtype.kind == "O":
            items = [self.encode(item, depth + 1) for item in array.ravel().tolist()]
            return ["objects", list(array.shape), items]
        if not DTYPE.fullmatch(array.dtype.str):
            raise WireError(f"an array of {array.dtype} cannot be sent")
        data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
        return ["array", array.dtype.str, list(array.shape), data]

    def encode_tensor(self, tensor: Tensor) -> list:
        if id(tensor) in self.names:
            return ["known", self.names[id(tensor)]]
        if self.only_values and tensor._backward is None:
            return ["tensor", "", self.encode_state(state(tensor)), False, []]
        needs = self.shared_parents(tensor)
        name = self.named(tensor)
        self.told[name] = state(tensor)
        has_graph = tensor._backward is not None
        return ["tensor", name, self.encode_state(self.told[name]), has_graph, needs]

    def drop(self, names: list[str]) -> None:
        """Forget some objects."""
        for name in names:
            self.told.pop(name, None)
            if name in self.objects:
                self.names.pop(id(self.objects.pop(name)), None)

    def shared_parents(self, tensor: Tensor) -> list[str]:
        """The tensors that both sides know and from which this one was made."""
        found, to_visit, seen = [], list(tensor._parents), set()
        while to_visit:
            node = to_visit.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if id(node) in self.names:
                found.append(self.names[id(node)])
            else:
                to_visit.extend(node._parents)
        return found

    def encode_generator(self, rng: np.random.Generator) -> list:
        if id(rng) in self.names:
            return ["known", self.names[id(rng)]]
        name = self.named(rng)
        self.told[name] = state(rng)
        return ["generator", name, type(rng).__name__, self.encode_state(self.told[name])]

    def encode_model(self, thing: object, base: type, depth: int) -> list:
        """An object of the package: its class, and what it holds."""
        name = self.named(thing)
        attributes = [[key, self.encode(value, depth + 1)] for key, value in vars(thing).items()]
        return ["model", name, f"{base.__module__}:{base.__qualname__}", attributes]

    def encode_other(self, value: object, depth: int) -> list:
        raise NotImplementedError

    def decode(self, data: object, depth: int = 0) -> object:
        """The value of what came. Whatever the other side sends, it is one of these or an error."""
        if data is None or type(data) in PLAIN:
            return data
        if type(data) is not list or not data or depth > 2 * MOST_DEPTH:
            raise WireError("not a value")
        tag, *parts = data
        read = getattr(self, f"decode_{tag}", None) if isinstance(tag, str) else None
        if read is None:
            raise WireError(f"not a kind of value: {tag!r:.40}")
        try:
            return read(*parts, depth=depth + 1)
        except (
            TypeError,
            ValueError,
            KeyError,
            AttributeError,
            IndexError,
            OverflowError,
        ) as error:
            raise WireError(f"not a {tag}: {error}") from None

    def many(self, items: list, depth: int) -> list:
        return [self.decode(item, depth) for item in items]

    def decode_list(self, items, depth):
        return self.many(items, depth)

    def decode_tuple(self, items, depth):
        return tuple(self.many(items, depth))

    def decode_set(self, items, depth):
        return set(self.many(items, depth))

    def decode_frozenset(self, items, depth):
        return frozenset(self.many(items, depth))

    def decode_iterator(self, items, depth):
        return iter(self.many(items, depth))

    def decode_dict(self, pairs, depth):
        return {self.decode(key, depth): self.decode(value, depth) for key, value in pairs}

    def decode_range(self, ends, depth):
        return range(*self.many(ends, depth))

    def decode_slice(self, ends, depth):
        return slice(*self.many(ends, depth))

    def decode_complex(self, real, imag, depth):
        return complex(real, imag)

    def decode_constant(self, word, depth):
        return {"...": ..., "NotImplemented": NotImplemented}[word]

    def decode_bytes(self, text, depth):
        return base64.b64decode(text, validate=True)

    def decode_array(self, dtype, shape, text, depth):
        if not DTYPE.fullmatch(dtype):
            raise WireError("not an array")
        raw = base64.b64decode(text, validate=True)
        return np.frombuffer(raw, np.dtype(dtype)).reshape(shape).copy()

    def decode_objects(self, shape, items, depth):
        array = np.empty(len(items), dtype=object)
        for i, item in enumerate(self.many(items, depth)):
            array[i] = item
        return array.reshape(shape)

    def decode_scalar(self, array, depth):
        return self.decode(array, depth)[()]

    def decode_known(self, name, depth):
        return self.objects[name]

    def decode_class(self, path, depth):
        module, _, name = path.partition(":")
        kind = getattr(sys.modules.get(module), name, None)
        if not isinstance(kind, type) or not is_public(kind):
            raise WireError(f"not a class of the package: {path:.60}")
        return kind

    def decode_tensor(self, name, told, has_graph, needs, depth):
        told = self.decode_state(told)
        tensor = Tensor(told[0])
        if has_graph:
            parents = tuple(self.objects[need] for need in needs)
            if not all(type(parent) is Tensor for parent in parents):
                raise WireError("not a graph")
            tensor._parents = parents  # also under no_grad: the graph is on the other side
            tensor._backward = functools.partial(self.pulled, name, needs)
        set_state(tensor, told)
        if name:
            self.named(tensor, name)
            self.told[name] = state(tensor)
        return tensor

    def decode_generator(self, name, kind, told, depth):
        rng = random.Random(0) if kind == "Random" else np.random.default_rng(0)
        set_state(rng, self.decode_state(told))
        self.named(rng, name)
        self.told[name] = state(rng)
        return rng

    def decode_model(self, name, path, attributes, depth):
        kind = self.decode_class(path, depth)
        if name in self.objects:
            model = self.objects[name]
            if type(model) is not kind:
                raise WireError("not the same model")
        else:
            model = kind.__new__(kind)
            self.named(model, name)
        values = {}
        for key, value in attributes:
            if not key.isidentifier() or key.startswith("__") or hasattr(kind, key):
                raise WireError(f"not a model: it holds {key!r:.40}")
            values[key] = self.decode(value, depth)
        vars(model).clear()
        vars(model).update(values)
        return model

    # Tensors and generators are kept equal on both sides

    def encode_state(self, told: object) -> list:
        if isinstance(told, dict):
            return ["rng", json.dumps(told, default=int)]
        data, grad = told
        return [self.encode_array(data), None if grad is None else self.encode_array(grad)]

    def decode_state(self, data: list) -> object:
        if data[0] == "rng":
            return json.loads(data[1])
        values = [None if part is None else self.decode(part) for part in data]
        if not all(part is None or isinstance(part, np.ndarray) for part in values):
            raise WireError("not a tensor")
        return tuple(values)

    def changes(self) -> list:
        """What has changed here since the other side was last told."""
        found = []
        for name, told in self.told.items():
            thing = self.objects[name]
            if not is_still(told, thing):
                self.told[name] = state(thing)
                found.append([name, self.encode_state(self.told[name])])
        return found

    def apply(self, changes: list) -> None:
        try:
            for name, told in changes:
                if name not in self.told:
                    raise WireError("an unknown change")
                set_state(self.objects[name], self.decode_state(told))
                self.told[name] = state(self.objects[name])
        except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            raise WireError(f"not a change: {error}") from None

    def pulled(self, name: str, needs: list[str], grad: np.ndarray) -> tuple:
        """The backward rule of a tensor that the other side made."""
        answer = self.ask("pull", name=name, needs=needs, grad=self.encode_array(np.asarray(grad)))
        return tuple(self.value_of(answer))

    def pull(self, message: dict) -> dict:
        """Hand a gradient back from a tensor of ours to those that both sides know."""
        needed = [self.objects[need] for need in message["needs"]]
        kept = [(node, node._grad, node._backward) for node in needed]
        try:
            for node in needed:
                node.grad, node._backward = 0.0, None
            self.objects[message["name"]].backward(self.decode(message["grad"]))
            shares = [node.read_grad().copy() for node in needed]
        finally:
            for node, grad, rule in kept:
                node.grad, node._backward = 0.0 if grad is None else grad, rule
        return {"value": self.encode(shares), "changes": self.changes()}

    def value_of(self, answer: dict) -> object:
        raise NotImplementedError


def state(thing: object) -> object:
    if isinstance(thing, Tensor):
        grad = thing._grad
        return thing.data.copy(), None if grad is None else np.array(grad)
    if isinstance(thing, random.Random):
        version, numbers, last = thing.getstate()
        return {"version": version, "numbers": list(numbers), "last": last}
    return thing.bit_generator.state


def set_state(thing: object, told: object) -> None:
    if isinstance(thing, Tensor):
        data, grad = told
        if data.dtype.kind != "f":
            raise WireError("not a tensor")
        thing.data, thing.grad = data, 0.0 if grad is None else grad
    elif isinstance(thing, random.Random):
        thing.setstate((told["version"], tuple(told["numbers"]), told["last"]))
    else:
        thing.bit_generator.state = told


def is_still(told: object, thing: object) -> bool:
    """Whether this is the state of a thing: asked of all, for each message, so none is made of a tensor."""
    if isinstance(told, dict):
        return told == state(thing)
    data, grad = thing.data, thing._grad
    grad = None if grad is None else np.asarray(grad)
    return same_array(told[0], data) and same_array(told[1], grad)


def same_array(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    if one is None or other is None:
        return one is other
    return (
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )


# Inputs that a function changes


def snapshot(value: object) -> object:
    """A copy of arrays, lists and dicts, as deep as they go."""
    if type(value) is np.ndarray:
        return value.copy()
    if type(value) in (list, tuple):
        return type(value)(snapshot(item) for item in value)
    if type(value) is dict:
        return {key: snapshot(item) for key, item in value.items()}
    return value


def unchanged(one: object, other: object) -> bool:
    if type(one) is not type(other):
        return False
    if type(one) is np.ndarray:
        if one.dtype.kind == "O":
            return one.shape == other.shape and all(map(unchanged, one.flat, other.flat))
        return same_array(one, other)
    if type(one) in (list, tuple):
        return len(one) == len(other) and all(map(unchanged, one, other))
    if type(one) is dict:
        return list(one) == list(other) and all(unchanged(one[key], other[key]) for key in one)
    return one is other or (type(one) in PLAIN and (one == other or one != one))


def assign(old: object, new: object) -> None:
    """Let an array, list or dict hold what another holds."""
    if type(old) is np.ndarray and type(new) is np.ndarray and old.shape == new.shape:
        old[...] = new
    elif type(old) in (list, tuple) and type(new) is type(old):
        if len(old) == len(new):
            for one, other in zip(old, new):
                assign(one, other)
        if type(old) is list:
            old[:] = [
                one if type(one) in (np.ndarray, list, dict) and unchanged(one, other) else other
                for one, other in zip(old, new)
            ] + new[len(old) :]
    elif type(old) is dict and type(new) is dict:
        old.clear()
        old.update(new)
