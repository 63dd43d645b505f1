"""From an expression, as a reader types it, to the nodes of its computation graph.

Nothing of the text is run: Python only parses it, and what is not on the list is refused.
"""

from __future__ import annotations

import ast
import math
import operator
from dataclasses import dataclass

import numpy as np

from minigpt_helpers.autograd import Tensor

LONGEST, MOST_NODES, LONGEST_NAME = 120, 24, 8
BINARY = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
}
FUNCTIONS = ("tanh", "exp", "relu", "log")
ALLOWED = "names, numbers, + - * / **, brackets, .tanh() .exp() .relu() .log()"


@dataclass
class Node:
    """One box of the graph. `parents` are the indices of the nodes that it was made from."""

    kind: str  # "leaf", "number", or the operation: a key of RULES
    title: str  # what its box says, such as `a`, `*` or `m = *`
    text: str  # what a sentence calls it, such as `a * b`
    tensor: Tensor
    parents: tuple[int, ...] = ()

    @property
    def value(self) -> float:
        return self.tensor.item()

    @property
    def is_input(self) -> bool:
        return self.kind in ("leaf", "number")

    def slopes(self) -> list[float]:
        """d node / d parent for each parent: what the engine hands back for a gradient of 1."""
        if self.is_input:
            return []
        with np.errstate(all="ignore"):
            return [float(slope) for slope in self.tensor._backward(np.ones(()))]


def number(value: float) -> str:
    """A number in at most four digits or decimals, as the boxes show it."""
    if value == 0 or 1 <= abs(value) < 1e4:
        return format(value + 0.0, ".4g")
    return f"{value:.4f}".rstrip("0").rstrip(".") if 1e-3 <= abs(value) < 1 else f"{value:.1e}"


class Reader:
    """Turns the allowed part of Python's syntax into nodes, innermost first; refuses the rest."""

    def __init__(self, values: dict[str, float]) -> None:
        self.values = values
        self.nodes: list[Node] = []
        self.names: dict[str, int] = {}  # leaves and named results: the index of their node
        self.leaves: dict[str, float] = {}

    def read(self, expression: str) -> list[Node]:
        *named, last = self._statements(expression)
        for statement in named:
            match statement:
                case ast.Assign([ast.Name(name)], value):
                    self._name(name, self._visit(value))
                case _:
                    said = _said(statement)
                    raise ValueError(f"{said} stands before a ; and must be: name = expression")
        if not isinstance(last, ast.Expr):
            raise ValueError(f"{_said(last)} has no result. End with the expression to explore.")
        result = self._visit(last.value)
        used = _ancestors([node.parents for node in self.nodes], result)
        for name, index in self.names.items():
            if index not in used:
                raise ValueError(f"{name} is never used. Use it in the last expression.")
        return self.nodes

    def _statements(self, expression: str) -> list[ast.stmt]:
        if not expression.strip():
            raise ValueError("The expression is empty. Try (a*b + c).tanh()")
        if len(expression) > LONGEST:
            raise ValueError(f"The expression has {len(expression)} characters; {LONGEST} fit.")
        try:
            return ast.parse(expression.strip()).body or [ast.Pass()]
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            where = f" near character {error.offset}" if getattr(error, "offset", None) else ""
            text = f"This cannot be read{where}. Is a bracket or a sign missing?"
            raise ValueError(text) from None

    def _name(self, name: str, index: int) -> None:
        if name in self.names:
            raise ValueError(f"{name} has a meaning already. Choose another name before the =.")
        _check_name(name)
        self.names[name] = index
        node = self.nodes[index]
        if not node.is_input:
            both = f"{name} = {node.title}"
            node.title, node.text = both if len(both) <= 11 else name, name

    def _visit(self, tree: ast.expr) -> int:
        match tree:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return self._number(value)
            case ast.UnaryOp(ast.USub(), ast.Constant(value=int() | float() as value)):
                return self._number(-value)
            case ast.Name(name):
                return self.names[name] if name in self.names else self._leaf(name)
            case ast.UnaryOp(ast.UAdd(), inner):
                return self._visit(inner)
            case ast.UnaryOp(ast.USub(), inner):
                return self._apply("neg", "-x", tree, operator.neg, inner)
            case ast.BinOp(left, ast.Pow(), right):
                power = self._exponent(right)
                title = f"** {number(power)}"
                return self._apply("**", title, tree, lambda base: base**power, left)
            case ast.BinOp(left, op, right) if type(op) in BINARY:
                sign, function = BINARY[type(op)]
                return self._apply(sign, sign, tree, function, left, right)
            case ast.Call(ast.Attribute(inner, name), [], []) if name in FUNCTIONS:
                return self._apply(name, name, tree, operator.methodcaller(name), inner)
            case ast.Call(ast.Name(name), [inner], []) if name in FUNCTIONS:
                return self._apply(name, name, tree, operator.methodcaller(name), inner)
        raise ValueError(f"{_said(tree)} is not something that the graph can show. Use {ALLOWED}")

    def _exponent(self, tree: ast.expr) -> float:
        match tree:
            case ast.Constant(value=int() | float() as value):
                return _finite(value)
            case ast.UnaryOp(ast.USub(), ast.Constant(value=int() | float() as value)):
                return _finite(-value)
        raise ValueError(f"The exponent {_said(tree)} must be a plain number, as in a**2")

    def _number(self, value: float) -> int:
        value = _finite(value)
        return self._add(Node("number", "", number(value), Tensor(value)))

    def _leaf(self, name: str) -> int:
        _check_name(name)
        value = self.values.get(name, 1.0)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{name} has no value. Type a number.")
        self.leaves[name] = _finite(value)
        self.names[name] = self._add(Node("leaf", name, name, Tensor(self.leaves[name])))
        return self.names[name]

    def _apply(self, kind: str, title: str, tree: ast.expr, function, *inputs: ast.expr) -> int:
        parents = tuple(self._visit(each) for each in inputs)
        text = ast.unparse(tree)
        try:
            with np.errstate(all="ignore"):
                tensor = function(*(self.nodes[parent].tensor for parent in parents))
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{text}: {error}") from None
        node = Node(kind, title, text, tensor, parents)
        if not all(map(math.isfinite, [node.value, *node.slopes()])):
            raise ValueError(f"{text} or its slope is infinite here. Choose other values.")
        return self._add(node)

    def _add(self, node: Node) -> int:
        if len(self.nodes) == MOST_NODES:
            raise ValueError(f"The expression has more than {MOST_NODES} nodes. Try a shorter one.")
        self.nodes.append(node)
        return len(self.nodes) - 1


def _said(tree: ast.AST) -> str:
    text = ast.unparse(tree)
    return text if len(text) <= 30 else text[:27] + "..."


def _finite(value: float) -> float:
    try:
        value = float(value)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise ValueError("A number in the expression is too large.")
    return value


def _check_name(name: str) -> None:
    if len(name) > LONGEST_NAME:
        raise ValueError(f"The name {name[:20]} is too long: {LONGEST_NAME} characters fit.")


def _ancestors(parents: list[tuple[int, ...]], last: int) -> set[int]:
    found, to_visit = {last}, [last]
    while to_visit:
        new = set(parents[to_visit.pop()]) - found
        found |= new
        to_visit += new
    return found
