"""The graph explorer of lesson 2: an expression as a graph, stepped forward and backward."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import traitlets

from minigpt_helpers.autograd import Tensor
from minigpt_helpers.widgets._base import HERE, TeachingWidget, bundle, in_range

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST, MOST_NODES, LONGEST_NAME = 120, 24, 8
BINARY = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
}
FUNCTIONS = ("tanh", "exp", "relu", "log")
ALLOWED = "names, numbers, + - * / **, brackets, .tanh() .exp() .relu() .log()"
RULES = {
    "+": "A sum hands its gradient on unchanged",
    "-": "A difference hands its gradient on, to the right side with its sign turned",
    "*": "A product hands each side its gradient times the other side",
    "/": "A quotient x / y hands x its gradient times 1/y, and y its gradient times -x/y²",
    "**": "A power x ** n hands on its gradient times n · x ** (n - 1)",
    "neg": "A minus sign turns the sign of the gradient",
    "tanh": "The slope of tanh is 1 - its value squared",
    "exp": "The slope of exp is its own value",
    "relu": "The slope of relu is 1 for an input above 0, else 0",
    "log": "The slope of log is 1 / its input",
}


# ---- from an expression to nodes ----------------------------------------------------------------


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


class _Reader:
    """Turns the allowed part of Python's syntax into nodes, innermost first; refuses the rest."""

    def __init__(self, values: dict[str, float]) -> None:
        self.values = values
        self.nodes: list[Node] = []
        self.names: dict[str, int] = {}  # leaves and named results: the index of their node
        self.leaves: dict[str, float] = {}

    def read(self, expression: str) -> list[Node]:
        *named, last = self._statements(expression)
        for statement in named:
            is_name = isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
            if not is_name or len(statement.targets) > 1:
                raise ValueError(f"{_said(statement)} stands before a ; and must be: name = expression")
            self._name(statement.targets[0].id, self._visit(statement.value))
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
            raise ValueError(f"This cannot be read{where}. Is a bracket or a sign missing?") from None

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
        raise ValueError(f"The name {name[:20]} is too long: {LONGEST_NAME} characters fit in a box.")


def _ancestors(parents: list[tuple[int, ...]], last: int) -> set[int]:
    found, to_visit = {last}, [last]
    while to_visit:
        new = set(parents[to_visit.pop()]) - found
        found |= new
        to_visit += new
    return found


# ---- the steps ----------------------------------------------------------------------------------


def graph_state(expression: str, values: dict[str, float] | None = None) -> dict[str, object]:
    """The computation graph of `expression`, all that can be seen of it, step by step.

    `expression` is one line of names, numbers, `+ - * / **`, brackets and `.tanh() .exp() .relu()
    .log()`; `name = expression;` in front gives a result a name. Nothing of it is run as Python.
    `values` gives the names their numbers; a name without one is 1.

    Returns `nodes` in the order in which they were made, each a dict with `kind`, `title`, `text`,
    `value`, `grad` (None for a number that stands in the expression), `parents`, `slopes` (one for
    each parent), `appears` (the step that shows its value), `column` and `row`; `edges`, each with
    `parent`, `child`, `side` (0: left) and `path`, a list of (column, row); `steps`, each with
    `phase`, `node`, `grads` (as text, "" where there is none yet), `shares` (edge number and text)
    and `words`; `leaves`, the numbers in use.

    Raises `ValueError` with an explanation for an expression that cannot be shown.
    """
    if not isinstance(expression, str):
        raise ValueError(f"the expression must be a string such as '(a*b)**2', not {expression!r:.60}")
    reader = _Reader(dict(values or {}))
    nodes = reader.read(expression)
    parents = [node.parents for node in nodes]
    places, paths = layout(parents)
    appears = _appearances(nodes)
    edges = [
        {"parent": parent, "child": child, "side": side, "path": paths[parent, child]}
        for child in range(len(nodes))
        for side, parent in enumerate(parents[child])
    ]
    steps = [_start(nodes)]
    steps += [_forward(nodes, index) for index, step in enumerate(appears) if step]
    grads, backward_steps = _backward(nodes, edges)
    return {
        "nodes": [
            {
                "kind": node.kind, "title": node.title, "text": node.text, "value": node.value,
                "shown": number(node.value), "grad": grads[index], "parents": list(node.parents),
                "slopes": node.slopes(), "appears": appears[index],
                "column": places[index][0], "row": places[index][1],
            }
            for index, node in enumerate(nodes)
        ],
        "edges": edges,
        "steps": steps + backward_steps,
        "leaves": reader.leaves,
    }  # fmt: skip


def _appearances(nodes: list[Node]) -> list[int]:
    """The step in which each node's value is worked out; 0 for leaves and numbers."""
    made = [index for index, node in enumerate(nodes) if not node.is_input]
    return [made.index(index) + 1 if index in made else 0 for index in range(len(nodes))]


def _start(nodes: list[Node]) -> dict:
    words = "Start: the leaves have their values. Forward, every other node works out its own."
    return _step("start", -1, [""] * len(nodes), [], words)


def _step(phase: str, node: int, grads: list[str], shares: list, words: str) -> dict:
    return {"phase": phase, "node": node, "grads": grads, "shares": shares, "words": words}


def _forward(nodes: list[Node], index: int) -> dict:
    node = nodes[index]
    first, *second = [nodes[parent].value for parent in node.parents]
    if second:
        done = f"{number(first)} {node.kind} {_factor(*second)}"
    elif node.kind in FUNCTIONS:
        done = f"{node.kind}({number(first)})"
    else:
        done = f"-{_factor(first)}" if node.kind == "neg" else f"{_factor(first)} {node.title}"
    words = f"Forward: {node.text} is {done} = {number(node.value)}."
    return _step("forward", index, [""] * len(nodes), [], words)


def _backward(nodes: list[Node], edges: list[dict]) -> tuple[list[float | None], list[dict]]:
    """The gradients, and the steps that find them: last node first, each hands on its shares."""
    grads: list[float | None] = [None] * len(nodes)
    grads[-1] = 1.0
    text = "Backward starts at the result: move it by 1, and it moves by 1. Its gradient is 1."
    steps = [_step("backward", len(nodes) - 1, _texts(grads), [], text)]
    for index in reversed(range(len(nodes))):
        node = nodes[index]
        if node.is_input:
            continue
        slopes, shares, told = node.slopes(), [], []
        for i, edge in enumerate(edges):
            parent = nodes[edge["parent"]]
            if edge["child"] != index or parent.kind == "number":
                continue  # nobody asks for the slope of a fixed number
            slope, before = slopes[edge["side"]], grads[edge["parent"]]
            share = slope * grads[index]
            grads[edge["parent"]] = share if before is None else before + share
            shares.append([i, number(share)])
            told.append(f"{parent.text} gets {number(grads[index])} · {_factor(slope)} = {number(share)}")
            if before is not None:
                told[-1] += f", added to its {number(before)}: {number(grads[edge['parent']])}"
        words = "; ".join(told) or "only fixed numbers stand there"
        words = f"Backward through {node.text}. {RULES[node.kind]}: {words}."
        steps.append(_step("backward", index, _texts(grads), shares, words))
    return grads, steps


def _factor(value: float) -> str:
    """A number behind an operation's sign: in brackets when it has a sign of its own."""
    return f"({number(value)})" if value < 0 else number(value)


def _texts(grads: list[float | None]) -> list[str]:
    return ["" if grad is None else number(grad) for grad in grads]


def shown_at(graph: dict, step: int) -> list[dict]:
    """What each box of `graph_state` says at one step: `value` ("?": not yet worked out), `grad`
    (empty: none yet) and `active`, whether this step works on it."""
    now = graph["steps"][step]
    return [
        {
            "value": node["shown"] if node["appears"] <= step else "?",
            "grad": "" if node["kind"] == "number" else grad,
            "active": index == now["node"],
        }
        for index, (node, grad) in enumerate(zip(graph["nodes"], now["grads"]))
    ]


# ---- where the boxes stand ----------------------------------------------------------------------


def layout(parents: list[tuple[int, ...]]) -> tuple[list[tuple[int, float]], dict]:
    """A (column, row) for each node, and for each (parent, child) the places its line runs through.

    `parents` are in topological order. Every node stands right of what it was made from. A line
    that crosses several columns keeps a free place in each. Rows are at least 1 apart, around 0.
    """
    column = dict(enumerate(_columns(parents)))
    lines = {}  # (parent, child): the items on the line, nodes and bends, from left to right
    for child in reversed(range(len(parents))):
        for parent in parents[child]:
            bends = [(parent, c) for c in range(column[parent] + 1, column[child])]
            column |= {bend: bend[1] for bend in bends}
            lines[parent, child] = [parent, *bends, child]
    row = _rows(column, lines.values(), parents)
    middle = (min(row.values()) + max(row.values())) / 2
    place = {item: (column[item], round(row[item] - middle, 3)) for item in row}
    paths = {ends: [list(place[item]) for item in line] for ends, line in lines.items()}
    return [place[index] for index in range(len(parents))], paths


def _rows(column: dict, lines: Iterable[list], parents: list[tuple[int, ...]]) -> dict:
    """A row for each item: near the rows of its neighbours, with few lines that cross."""
    boxes: dict[int, list] = {c: [] for c in sorted(column.values())}  # top to bottom
    for item in [item for line in lines for item in reversed(line)] or column:
        if item not in boxes[column[item]]:
            boxes[column[item]].append(item)
    left: dict = {item: set() for item in column}  # (neighbour, how far above or below its middle)
    right: dict = {item: set() for item in column}
    for line in lines:
        for one, other in zip(line, line[1:]):
            sides = parents[other] if isinstance(other, int) else (one,)
            port = 0.1 * (sides.index(line[0]) if len(sides) > 1 else 0)
            left[other].add((one, 0.0))
            right[one].add((other, port))
    row = {item: float(i) for items in boxes.values() for i, item in enumerate(items)}
    for sweep in range(9):  # right to left and back; at last only places, no change of order
        for c in sorted(boxes, reverse=sweep % 2 == 0):
            wanted = {}
            for item in boxes[c]:
                if sweep < 6:
                    beside = [row[n] + port for n, port in [right, left][sweep % 2][item]]
                else:
                    beside = [row[n] for n, _ in right[item] | left[item]]
                wanted[item] = _mean(beside or [row[item]])
            if sweep < 6:
                boxes[c].sort(key=lambda item: (wanted[item], row[item]))
            row |= _apart(boxes[c], wanted)
    return row


def _columns(parents: list[tuple[int, ...]]) -> list[int]:
    column: list[int] = []
    for each in parents:
        column.append(1 + max((column[parent] for parent in each), default=-1))
    for index, each in enumerate(parents):  # a leaf moves up to the first node that needs it
        needed = [column[child] for child, own in enumerate(parents) if index in own]
        if not each and needed:
            column[index] = min(needed) - 1
    return column


def _apart(items: list, wanted: dict) -> dict:
    """Rows near the wanted ones, in the order of `items` and at least 1 apart."""
    rows: list[float] = []
    for item in items:
        rows.append(max(wanted[item], rows[-1] + 1) if rows else wanted[item])
    shift = _mean([wanted[item] - row for item, row in zip(items, rows)])
    return {item: row + shift for item, row in zip(items, rows)}


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


# ---- the widget ---------------------------------------------------------------------------------


class GraphExplorer(TeachingWidget):
    """The computation graph of an expression: step forward for values, backward for gradients.

    `GraphExplorer("(a*b + c).tanh()", a=2.0, b=-3.0, c=10.0)`; a name without a number is 1. What
    may stand in the expression: see `graph_state`. The traits `expression`, `values` (a dict) and
    `step` can be read and set from Python; `last_step` is the number of the last step. Raises
    `ValueError` for an expression that cannot be shown, or a value whose name is not in it.
    """

    _esm = bundle("graph_explorer.js")
    _css = TeachingWidget._css + (HERE / "graph_explorer.css").read_text(encoding="utf-8")

    expression = traitlets.Unicode().tag(sync=True)
    values = traitlets.Dict().tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)
    graph = traitlets.Dict().tag(sync=True)  # what the kernel works out from them

    def __init__(self, expression: str = "(a*b + c).tanh()", **values: float) -> None:
        graph = graph_state(expression, values)
        for name in values:
            if name not in graph["leaves"]:
                raise ValueError(
                    f"{name}={values[name]!r}: there is no {name} in {expression!r}; its names are "
                    f"{', '.join(graph['leaves'])}"
                )
        super().__init__(expression=expression, values=values)

    @property
    def last_step(self) -> int:
        return len(self.graph["steps"]) - 1

    @traitlets.observe("expression", "values")
    def _compute_graph(self, _change: dict) -> None:
        try:
            graph = graph_state(self.expression, self.values)
        except ValueError as problem:
            self.problem = str(problem)
            return  # the graph of the last good expression stays, pale
        with self.hold_sync():
            self.problem = ""
            self.graph = graph
            self.step = min(self.step, self.last_step)

    @traitlets.validate("step")
    def _check_step(self, proposal: dict) -> int:
        return in_range("step", proposal.value, 0, self.last_step if self.graph else 0)

    def still(self) -> tuple[Figure, str]:
        """The graph at its present step, and the same in words."""
        return draw_graph(self.graph, self.step)


def draw_graph(graph: dict, step: int) -> tuple[Figure, str]:
    """The graph of `graph_state` at one step as a figure, and the alt text that describes it."""
    import matplotlib as mpl

    from minigpt_helpers.plots import BLUE, ORANGE, STYLE, new_figure

    nodes, now = graph["nodes"], graph["steps"][step]
    columns = 1 + max(node["column"] for node in nodes)
    rows = [node["row"] for node in nodes]
    height = max(rows) - min(rows) + 1
    figure, (axes,) = new_figure(1.85 * columns + 0.4, 1.05 * height + 0.9)
    with mpl.rc_context(STYLE):
        axes.set_axis_off()
        axes.set_xlim(-0.5, columns - 0.5)
        axes.set_ylim(max(rows) + 0.5, min(rows) - 0.5)
        axes.set_title(f"Step {step} of {len(graph['steps']) - 1}: {now['phase']}")
        shares = dict(now["shares"])
        for i, edge in enumerate(graph["edges"]):
            path = [list(place) for place in edge["path"]]
            path[0][0] += 0.36
            path[-1][0] -= 0.36
            path[-1][1] += (edge["side"] - 0.5) * 0.16 * (len(nodes[edge["child"]]["parents"]) - 1)
            axes.plot(
                *zip(*path), color=ORANGE if i in shares else "#888888", zorder=1,
                linewidth=2.6 if i in shares else 1.4,
            )
        for node, says in zip(nodes, shown_at(graph, step)):
            x, y = node["column"], node["row"]
            axes.add_patch(mpl.patches.FancyBboxPatch(
                (x - 0.34, y - 0.38), 0.68, 0.76, boxstyle="round,pad=0.02", zorder=2,
                facecolor="#eef4fa" if node["appears"] else "white",
                edgecolor=ORANGE if says["active"] else "#555555",
                linewidth=3 if says["active"] else 1.2,
            ))  # fmt: skip
            look = {"ha": "center", "va": "center", "zorder": 3, "fontsize": 12}
            axes.text(x, y - 0.24, node["title"], weight="bold", **look)
            axes.text(x, y + 0.01, says["value"], color=BLUE, **look)
            axes.text(x, y + 0.25, says["grad"] and f"grad {says['grad']}", color=ORANGE, **look)
    inner = [(n["text"], says) for n, says in zip(nodes, shown_at(graph, step)) if n["grad"] is not None]
    known = ", ".join(f"{text} = {says['value']}" for text, says in inner if says["value"] != "?")
    slopes = ", ".join(f"{text}: {says['grad']}" for text, says in inner if says["grad"])
    alt = f"Computation graph with {len(nodes)} nodes, inputs at the left. Values: {known}."
    return figure, alt + (f" Gradients: {slopes}." if slopes else " No gradients yet.")
