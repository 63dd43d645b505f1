"""The graph explorer of lesson 2: an expression as a graph, stepped forward and backward."""

from __future__ import annotations

from typing import TYPE_CHECKING

import traitlets

from minigpt_helpers.widgets._base import TeachingWidget, bundle, in_range, style_sheet
from minigpt_helpers.widgets._graph_expression import FUNCTIONS, Node, Reader, number
from minigpt_helpers.widgets._graph_layout import layout

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
        raise ValueError(
            f"the expression must be a string such as 'a*b + c', not {expression!r:.50}"
        )
    reader = Reader(dict(values or {}))
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
                "kind": node.kind,
                "title": node.title,
                "text": node.text,
                "value": node.value,
                "shown": number(node.value),
                "grad": grads[index],
                "parents": list(node.parents),
                "slopes": node.slopes(),
                "appears": appears[index],
                "column": places[index][0],
                "row": places[index][1],
            }
            for index, node in enumerate(nodes)
        ],
        "edges": edges,
        "steps": steps + backward_steps,
        "leaves": reader.leaves,
    }


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
            share, grad = slope * grads[index], number(grads[index])
            grads[edge["parent"]] = share if before is None else before + share
            shares.append([i, number(share)])
            told.append(f"{parent.text} gets {grad} · {_factor(slope)} = {number(share)}")
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


# ---- the widget ---------------------------------------------------------------------------------


class GraphExplorer(TeachingWidget):
    """The computation graph of an expression: step forward for values, backward for gradients.

    `GraphExplorer("(a*b + c).tanh()", a=2.0, b=-3.0, c=10.0)`; a name without a number is 1. What
    may stand in the expression: see `graph_state`. The traits `expression`, `values` (a dict) and
    `step` can be read and set from Python; `last_step` is the number of the last step. Raises
    `ValueError` for an expression that cannot be shown, or a value whose name is not in it.
    """

    _esm = bundle("graph_explorer.js")
    _css = style_sheet("GraphExplorer", "graph_explorer.css")

    expression = traitlets.Unicode().tag(sync=True)
    values = traitlets.Dict().tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)
    graph = traitlets.Dict().tag(sync=True, computed=True)  # what the kernel works out from them

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

    from minigpt_helpers.plots import BLUE, ORANGE, new_figure, style

    nodes, now = graph["nodes"], graph["steps"][step]
    columns = 1 + max(node["column"] for node in nodes)
    rows = [node["row"] for node in nodes]
    height = max(rows) - min(rows) + 1
    figure, (axes,) = new_figure(1.85 * columns + 0.4, 1.05 * height + 0.9)
    with style():
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
                *zip(*path),
                color=ORANGE if i in shares else "#888888",
                zorder=1,
                linewidth=2.6 if i in shares else 1.4,
            )
        for node, says in zip(nodes, shown_at(graph, step)):
            x, y = node["column"], node["row"]
            axes.add_patch(
                mpl.patches.FancyBboxPatch(
                    (x - 0.34, y - 0.38),
                    0.68,
                    0.76,
                    boxstyle="round,pad=0.02",
                    zorder=2,
                    facecolor="#eef4fa" if node["appears"] else "white",
                    edgecolor=ORANGE if says["active"] else "#555555",
                    linewidth=3 if says["active"] else 1.2,
                )
            )
            look = {"ha": "center", "va": "center", "zorder": 3, "fontsize": 12}
            axes.text(x, y - 0.24, node["title"], weight="bold", **look)
            axes.text(x, y + 0.01, says["value"], color=BLUE, **look)
            axes.text(x, y + 0.25, says["grad"] and f"grad {says['grad']}", color=ORANGE, **look)
    pairs = zip(nodes, shown_at(graph, step))
    inner = [(node["text"], says) for node, says in pairs if node["kind"] != "number"]
    known = ", ".join(f"{text} = {says['value']}" for text, says in inner if says["value"] != "?")
    slopes = ", ".join(f"{text}: {says['grad']}" for text, says in inner if says["grad"])
    alt = f"Computation graph with {len(nodes)} nodes, inputs at the left. Values: {known}."
    return figure, alt + (f" Gradients: {slopes}." if slopes else " No gradients yet.")
