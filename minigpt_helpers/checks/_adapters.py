"""A student's own model in whatever style: how to read it, feed it, and set its parameters.

The capstone's checks (`ps7.py`) know only the interface. What is behind it may be the package's
`Tensor`, a `Tensor` or a scalar `Value` of the student's own, arrays, or lists of numbers. So
here is: `read` (anything as an array), `Leaf` (one parameter, wherever it is kept), `forms` (the
ways to hand over an array), and `Part` (a module of the student's with all of that).
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from minigpt_helpers.autograd import Tensor
from minigpt_helpers.checks._compare import Miss, NotDone, as_array, is_blank

_OURS = "minigpt_helpers"
_NO_PARTS = (str, bytes, type, types.ModuleType, types.FunctionType, np.random.Generator)


# ---- reading ------------------------------------------------------------------------------------


def read(value: object) -> np.ndarray:
    """Numbers in any form as a float64 array: also an array that holds single values."""
    return as_array(_as_lists(value))


def _as_lists(value: object) -> object:
    if isinstance(value, np.ndarray) and value.dtype == object:
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_as_lists(part) for part in value]
    return value


def is_value(item: object) -> bool:
    """Is it a tensor or a scalar value: an object with numbers in `.data`?"""
    if isinstance(item, (np.ndarray, np.generic, memoryview, *_NO_PARTS)):
        return False
    return isinstance(getattr(item, "data", None), (int, float, list, np.ndarray, np.generic))


def is_ours(thing: object) -> bool:
    """Does this class, function or object come from the package?"""
    module = getattr(thing, "__module__", None) or ""
    return module == _OURS or module.startswith(_OURS + ".")


def _is_number(item: object) -> bool:
    return isinstance(item, (float, np.floating)) or (is_value(item) and np.ndim(item.data) == 0)


def _nest_shape(nest: object) -> tuple[int, ...] | None:
    """The shape of a regular nest of lists of single numbers, or None."""
    if not isinstance(nest, list) or not nest:
        return () if _is_number(nest) else None
    shapes = {_nest_shape(part) for part in nest}
    return None if len(shapes) > 1 or None in shapes else (len(nest), *shapes.pop())


# ---- parameters ---------------------------------------------------------------------------------


@dataclass
class Leaf:
    """One parameter: an array, a tensor, or a nest of lists of single values or numbers."""

    holder: object

    def get(self) -> np.ndarray:
        return read(self.holder).copy()

    def set(self, array: np.ndarray) -> None:
        _write(self.holder, array)

    def values(self) -> list:
        """The objects with `.data` in it."""
        return list(_values(self.holder))

    def parts(self) -> Iterator[int]:
        """The identities of all that it is made of."""
        yield id(self.holder)
        yield from map(id, self.values())

    def grad(self) -> np.ndarray:
        """The gradients; 0 where backward() has left none."""
        grads = [getattr(value, "grad", None) for value in self.values()]
        parts = [
            np.broadcast_to(0.0 if grad is None else read(grad), np.shape(read(value))).ravel()
            for grad, value in zip(grads, self.values())
        ]
        return np.concatenate(parts).reshape(read(self.holder).shape)

    @property
    def size(self) -> int:
        return read(self.holder).size

    @property
    def coarse(self) -> bool:
        """Is it kept in less than double precision?"""
        held = [self.holder, *(value.data for value in self.values())]
        return any(getattr(item, "dtype", None) in (np.float32, np.float16) for item in held)


def _values(holder: object) -> Iterator[object]:
    if is_value(holder):
        yield holder
    elif isinstance(holder, np.ndarray) and holder.dtype == object:
        yield from holder.flat
    elif isinstance(holder, (list, tuple)):
        for part in holder:
            yield from _values(part)


def _write(holder: object, array: np.ndarray) -> None:
    if isinstance(holder, np.ndarray):
        if holder.dtype != object:
            holder[...] = array
        else:
            for value, number in zip(holder.flat, array.flat):
                _write(value, number)
    elif isinstance(holder, (list, tuple)):
        for i, (part, number) in enumerate(zip(holder, array)):
            if isinstance(part, (float, np.floating)):
                holder[i] = float(number)
            else:
                _write(part, number)
    elif isinstance(holder.data, np.ndarray):
        holder.data = np.asarray(array, dtype=holder.data.dtype).copy()
    elif isinstance(holder.data, list):
        _write(holder.data, array)
    else:
        holder.data = float(array)


def leaves(thing: object, seen: set[int] | None = None) -> Iterator[Leaf]:
    """Every parameter-like thing in an object, its attributes and lists, in their order."""
    seen = set() if seen is None else seen
    if isinstance(thing, _NO_PARTS) or id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        if thing.size and (thing.dtype.kind == "f" or all(map(is_value, thing.flat))):
            yield Leaf(thing)
    elif is_value(thing) or (isinstance(thing, list) and _nest_shape(thing)):
        leaf = Leaf(thing)
        seen.update(leaf.parts())
        yield leaf
    elif isinstance(thing, (list, tuple, dict)):
        for part in thing.values() if isinstance(thing, dict) else thing:
            yield from leaves(part, seen)
    else:
        for part in _attributes(thing):
            yield from leaves(part, seen)


def _attributes(thing: object) -> Iterator[object]:
    yield from vars(thing).values() if hasattr(thing, "__dict__") else ()
    for name in (n for kind in type(thing).__mro__ for n in getattr(kind, "__slots__", ())):
        if name not in ("__dict__", "__weakref__") and hasattr(thing, name):
            yield getattr(thing, name)


def listed(module: object) -> list | None:
    """What `module.parameters()` gives, lists in it flattened; None without such a method."""
    found = getattr(module, "parameters", None)
    found = found() if callable(found) else found
    return None if found is None else list(_flat(found))


def _flat(found: object) -> Iterator[object]:
    if isinstance(found, (dict, Iterator)):
        found = list(found.values() if isinstance(found, dict) else found)
    if is_value(found) or isinstance(found, (np.ndarray, str, float)):
        yield found
    elif hasattr(found, "__iter__"):
        found = list(found) if not isinstance(found, list) else found
        yield from [found] * bool(found)
        for part in found:
            yield from _flat(part)


def parameters(module: object) -> list[Leaf]:
    """The parameters of a module: what its `parameters()` names, in the shapes it keeps them in.

    Without that method, or where it gives nothing: all that looks like one.
    """
    found, named = list(leaves(module)), listed(module)
    items = [item for item in named or () if is_value(item) or isinstance(item, np.ndarray)]
    if not named:
        return [leaf for leaf in found if leaf.get().ndim and not _looks_fixed(leaf.get())]
    ids = set(map(id, named))
    chosen = [
        leaf for leaf in found
        if id(leaf.holder) in ids or (leaf.values() and ids.issuperset(map(id, leaf.values())))
    ]
    covered = {part for leaf in chosen for part in leaf.parts()}
    rest = {id(item): item for item in items if id(item) not in covered}.values()
    singles = [item for item in rest if is_value(item) and np.ndim(item.data) == 0]
    others = [Leaf(item) for item in rest if not (is_value(item) and np.ndim(item.data) == 0)]
    return chosen + others + [Leaf(singles)] * bool(singles)


def _looks_fixed(array: np.ndarray) -> bool:
    """Does it look like a mask rather than like a parameter?"""
    kinds = set(np.unique(array).tolist())
    return not np.all(np.abs(array) < 1e4) or kinds == {0.0, 1.0}


def left_out(module: object, twin: object) -> int:
    """How many numbers with a gradient `module.parameters()` does not name.

    `twin` is made by the same call: what is equal in both, such as a mask, is no parameter. But
    rows of nothing but 0 or 1 are: so biases, scales and shifts begin.
    """
    named = listed(module)
    if named is None:
        return 0
    ids, count = set(map(id, named)), 0
    for leaf, other in zip(leaves(module), leaves(twin)):
        one, two = leaf.get(), other.get()
        plain = one.ndim > 0 and len(set(one.flat)) == 1 and one.flat[0] in (0, 1)
        if one.shape == two.shape and (plain or not np.array_equal(one, two)):
            missing = [value for value in leaf.values() if id(value) not in ids]
            count += sum(np.size(read(value)) for value in missing) * (id(leaf.holder) not in ids)
    return count


# ---- the student's own kinds of value, and the forms of an input --------------------------------


def namespaces(thing: object) -> Iterator[dict]:
    """The names that a function, or the methods of a class, can see."""
    if isinstance(thing, functools.partial):
        thing = thing.func
    if isinstance(thing, types.MethodType):
        thing = thing.__func__
    if isinstance(thing, types.FunctionType):
        yield thing.__globals__
        cells = zip(thing.__code__.co_freevars, thing.__closure__ or ())
        yield {name: cell.cell_contents for name, cell in cells if _is_filled(cell)}
        return
    for kind in (thing if isinstance(thing, type) else type(thing)).__mro__:
        for method in vars(kind).values():
            if isinstance(method, types.FunctionType) and not is_ours(kind):
                yield from namespaces(method)


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a name that is not bound yet
        return False


def value_classes(thing: object) -> list[type]:
    """The student's own classes of values, as far as the code of `thing` can see them."""
    found: dict[type, None] = {}
    for names in namespaces(thing):
        for item in list(names.values()):
            if isinstance(item, type) and item not in found and _makes_values(item):
                found[item] = None
    return list(found)


def _makes_values(kind: type) -> bool:
    module = kind.__module__.split(".")[0]
    if is_ours(kind) or module in ("builtins", "numpy") or not hasattr(kind, "__add__"):
        return False
    try:
        return is_value(kind(1.5)) and float(read(kind(1.5)).sum()) == 1.5
    except Exception:
        return False


Form = Callable[[np.ndarray], object]


def nested(kind: Callable) -> Form:
    """Lists of lists of single values."""
    def make(array):
        return kind(float(array)) if np.ndim(array) == 0 else [make(part) for part in array]
    return make


def whole(kind: type) -> Form:
    """One object with the whole array in it."""
    def make(array):
        made = kind(np.array(array))
        if read(made).shape != np.shape(array):
            raise TypeError(f"{kind.__name__} does not take an array")
        return made
    return make


def whole_of_lists(kind: type) -> Form:
    return lambda array: kind(np.asarray(array).tolist())


def of_objects(kind: type) -> Form:
    """An array whose entries are single values."""
    def make(array):
        out = np.empty(np.shape(array), dtype=object)
        out.flat = [kind(float(number)) for number in np.ravel(array)]
        return out
    return make


def forms(seen: list[object], classes: list[type]) -> list[Form]:
    """Ways to hand over an array: first those that fit to `seen`, what the student keeps."""
    first: list[Form] = []
    last: list[Form] = []
    kinds = list(dict.fromkeys(type(value) for value in seen if is_value(value)))
    own = [kind for kind in dict.fromkeys([*kinds, *classes]) if kind is not Tensor]
    for kind in own:
        ways = [nested(kind), whole(kind), whole_of_lists(kind), of_objects(kind)]
        if any(type(value) is kind and np.ndim(value.data) for value in seen):
            ways = [whole(kind), whole_of_lists(kind), nested(kind)]
        (first if kind in kinds else last).extend(ways)
    ours = [Tensor, nested(Tensor), of_objects(Tensor)]
    plain = [np.array, nested(float)]
    if Tensor in kinds:
        return [*ours, *first, *last, *plain]
    if any(isinstance(item, (np.ndarray, list)) for item in seen):
        plain = plain if any(isinstance(item, np.ndarray) for item in seen) else plain[::-1]
        return [*plain, *first, *last, *ours]
    return [*first, *last, *ours, *plain]


def first_that_fits(ways: list, call: Callable, fits: Callable[[np.ndarray], bool]) -> object:
    """The way whose result fits; else one that gives any numbers; else the first one's error."""
    usable, trouble = [], []
    for way in ways:
        try:
            result = call(way)
            if fits(read(result)):
                return way
            usable.append(way)
        except (Exception, NotDone) as error:
            trouble.append(error)
    if not usable:
        raise trouble[0]
    return usable[0]


# ---- slopes -------------------------------------------------------------------------------------


def weighted_sum(out: object, weights: np.ndarray) -> object | None:
    """The sum of an output times given numbers, in the student's own values; None: no way to."""
    if isinstance(out, (list, tuple, np.ndarray)):
        terms = [_scaled(value, float(w)) for value, w in zip(_values(out), np.ravel(weights))]
        if len(terms) != np.size(weights):  # rows that are tensors of their own
            terms = [weighted_sum(row, w) for row, w in zip(out, weights)]
        if not terms or any(term is None for term in terms):
            return None
        while len(terms) > 1:  # in pairs: the graph stays shallow
            terms = [sum(terms[i + 1 : i + 2], terms[i]) for i in range(0, len(terms), 2)]
        return terms[0]
    for factor in (weights, whole(type(out)), whole_of_lists(type(out))):
        try:
            total = (out * (factor(weights) if callable(factor) else factor)).sum()
            if read(total).size == 1:
                return total
        except Exception:
            continue
    return None


def _scaled(value: object, factor: float) -> object:
    try:
        return value * factor
    except Exception:
        return value * type(value)(factor)


def wants_gradient(leaf: Leaf) -> None:
    """An own class with a switch for it: on."""
    for value in leaf.values():
        if hasattr(value, "requires_grad"):
            value.requires_grad = True


def clear(params: list[Leaf], fresh: dict[int, object]) -> None:
    """Set each gradient to what it was at first, in `fresh` (0.0, zeros or None)."""
    for leaf in params:
        for value in leaf.values():
            start = fresh.setdefault(id(value), _blank_grad(value))
            value.grad = np.zeros_like(value.data) if isinstance(start, np.ndarray) else start


def _blank_grad(value: object) -> object:
    grad = getattr(value, "grad", None)
    if isinstance(grad, np.ndarray):
        return np.zeros_like(grad)
    return None if grad is None else 0.0 if np.ndim(grad) == 0 else _zeros(grad)


def _zeros(nest: object) -> object:
    return [_zeros(part) for part in nest] if isinstance(nest, list) else 0.0


# ---- one module ---------------------------------------------------------------------------------


class Part:
    """A module of the student's: made by its class, called with arrays, read as arrays."""

    def __init__(self, kind: Callable, *sizes: int) -> None:
        self.kind, self.sizes = kind, sizes
        self.module = kind(*sizes)
        if is_blank(self.module):
            raise NotDone("calling your class gives nothing")
        self.params = parameters(self.module)
        self._form: Form | None = None

    def run(self, given: object, **options: object) -> object:
        """The student's result for an input in the student's form."""
        call = self.module if callable(self.module) else self.module.forward
        try:
            return call(given, **options)
        except TypeError as error:
            if "unexpected keyword" not in str(error) or not hasattr(self.module, "forward"):
                raise
            return self.module.forward(given, **options)

    def given(self, array: np.ndarray, ways: list[Form] | None = None) -> object:
        """The array in the form that this module takes."""
        if self._form is None:
            seen = [v for leaf in self.params for v in (leaf.values() or [leaf.holder])]
            ways = ways or forms(seen, value_classes(self.kind))
            size = np.shape(array)[0]
            self._form = first_that_fits(
                ways, lambda way: self.run(way(array)), lambda got: got.shape[:1] == (size,)
            )
        return self._form(array)

    def __call__(self, array: np.ndarray, **options: object) -> np.ndarray:
        return read(self.run(self.given(array), **options))

    def count(self) -> int:
        """How many numbers its parameters hold."""
        return sum(leaf.size for leaf in self.params)

    def need_parameters(self) -> None:
        if not self.params:
            raise NotDone(
                "it has no parameters: keep them as attributes, and let parameters() return them "
                "in a list"
            )

    def fill(self, make: Callable[[tuple[int, ...]], np.ndarray]) -> Part:
        """Set every parameter to `make(shape)`."""
        self.need_parameters()
        for leaf in self.params:
            leaf.set(np.asarray(make(leaf.get().shape)))
        return self


def require_own(thing: object, name: str, *sizes: int) -> None:
    """Not a stub, not the package's part of this name, and not that part in an attribute."""
    kinds = thing.__mro__ if isinstance(thing, type) else ()
    does = [kind for kind in kinds if {"forward", "__call__"} & set(vars(kind))]
    if isinstance(thing, type) and all(is_ours(k) and k.__name__ == "Module" for k in does):
        raise NotDone("your class has no `forward` yet")
    hint = "Write it yourself: that is the exercise."
    if any(map(is_ours, [thing, *does[:1]])):
        raise Miss(f"that is the package's own {name}", [hint])
    try:
        inside = _parts(thing(*sizes) if sizes else None, set())
    except Exception:
        return
    if any(is_ours(type(part)) and type(part).__name__ == name for part in inside):
        raise Miss(f"inside is the package's own {name}", [hint])


def _parts(thing: object, seen: set[int]) -> list[object]:
    """An object, and all objects in its attributes and lists."""
    if isinstance(thing, (*_NO_PARTS, np.ndarray)) or is_value(thing) or id(thing) in seen:
        return []
    seen.add(id(thing))
    inner = thing if isinstance(thing, (list, tuple)) else _attributes(thing)
    return [thing, *(part for item in inner for part in _parts(item, seen))]
