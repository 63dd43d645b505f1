"""The graph explorer: numbers against the engine, steps, layout, refusals."""

from __future__ import annotations

import itertools
import json
import math
import warnings

import numpy as np
import pytest

from minigpt_helpers import Tensor
from minigpt_helpers.plots import to_png
from minigpt_helpers.widgets._graph_expression import LONGEST, MOST_NODES, number
from minigpt_helpers.widgets._graph_layout import layout
from minigpt_helpers.widgets.graph_explorer import (
    GraphExplorer,
    draw_graph,
    graph_state,
    shown_at,
)

VALUES = {"a": 2.0, "b": -3.0, "c": 10.0}
EXPRESSIONS = {  # as the widget reads it: as Python writes it
    "(a*b + c).tanh()": lambda a, b, c: (a * b + c).tanh(),
    "(a*b + c)**2": lambda a, b, c: (a * b + c) ** 2,
    "a*a + a - b/c": lambda a, b, c: a * a + a - b / c,
    "-(a - b)**3 / c": lambda a, b, c: -((a - b) ** 3) / c,
    "d = a*2; d + d*c - b*0": lambda a, b, c: a * 2 + (a * 2) * c - b * 0,
    "m = a*b; s = m + c; s*m + m**-1": lambda a, b, c: (a * b + c) * (a * b) + (a * b) ** -1,
    "exp(a*0.5) * b.relu() + c.log()": lambda a, b, c: (a * 0.5).exp() * b.relu() + c.log(),
    "2 - 1/c + 0*(a+b)": lambda a, b, c: 2 - 1 / c + 0 * (a + b),
    "(((a + b) + c) + a) + b": lambda a, b, c: (((a + b) + c) + a) + b,
}


def node_of(graph, text):
    return next(node for node in graph["nodes"] if node["text"] == text)


# ---- the numbers ----


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_values_and_gradients_are_the_engines(expression):
    leaves = {name: Tensor(value) for name, value in VALUES.items()}
    result = EXPRESSIONS[expression](**leaves)
    result.backward()
    graph = graph_state(expression, VALUES)
    assert math.isclose(graph["nodes"][-1]["value"], result.item(), rel_tol=1e-12)
    assert graph["nodes"][-1]["grad"] == 1
    assert graph["leaves"] == {name: VALUES[name] for name in graph["leaves"]}
    for name in VALUES:
        assert math.isclose(node_of(graph, name)["grad"], leaves[name].grad, abs_tol=1e-12), name


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_gradient_is_the_sum_of_its_shares(expression):
    nodes = graph_state(expression, VALUES)["nodes"]
    for index, node in enumerate(nodes[:-1]):
        if node["kind"] == "number":
            assert node["grad"] is None
            continue
        shares = [
            slope * child["grad"]
            for child in nodes
            for parent, slope in zip(child["parents"], child["slopes"])
            if parent == index
        ]
        assert math.isclose(node["grad"], sum(shares), abs_tol=1e-12)


def test_a_name_without_a_number_is_one():
    assert graph_state("a*b", {"a": 4})["leaves"] == {"a": 4.0, "b": 1.0}


def test_numbers_are_short():
    pairs = {
        0.0: "0",
        2.0: "2",
        -24.0: "-24",
        0.99932: "0.9993",
        0.99999: "1",
        -0.0040228: "-0.004",
        1.5e-5: "1.5e-05",
        12.3456: "12.35",
        123456.0: "1.2e+05",
    }
    assert {value: number(value) for value in pairs} == pairs and number(-0.0) == "0"


# ---- the steps ----


def test_the_steps_go_forward_and_then_backward():
    steps = graph_state("(a*b + c)**2", VALUES)["steps"]
    assert [step["phase"] for step in steps] == ["start"] + ["forward"] * 3 + ["backward"] * 4
    assert steps[1]["words"] == "Forward: a * b is 2 * (-3) = -6."
    assert steps[3]["words"] == "Forward: (a * b + c) ** 2 is 4 ** 2 = 16."
    assert steps[5]["words"].endswith("a * b + c gets 1 · 8 = 8.")
    assert "a gets 8 · (-3) = -24; b gets 8 · 2 = 16." in steps[7]["words"]
    assert steps[7]["grads"] == ["-24", "16", "8", "8", "8", "1"]


def test_a_share_is_added_to_what_is_there():
    steps = graph_state("d = a*2; d + d*c", {"a": 3, "c": 5})["steps"]
    assert "d gets 1 · 1 = 1;" in steps[5]["words"]
    assert "d gets 1 · 5 = 5, added to its 1: 6;" in steps[6]["words"]
    assert "a gets 6 · 2 = 12." in steps[7]["words"]
    square = graph_state("a*a", {"a": 3})["steps"][-1]
    assert "a gets 1 · 3 = 3; a gets 1 · 3 = 3, added to its 3: 6." in square["words"]
    assert square["shares"] == [[0, "3"], [1, "3"]]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_the_boxes_say_grows_step_by_step(expression):
    graph = graph_state(expression, VALUES)
    views = [shown_at(graph, step) for step in range(len(graph["steps"]))]
    for node, says in zip(graph["nodes"], views[0]):
        assert (says["value"] == "?") == (node["appears"] > 0) and says["grad"] == ""
    for before, after in itertools.pairwise(views):
        assert sum(says["active"] for says in after) == 1
        assert all(b["value"] in ("?", a["value"]) for b, a in zip(before, after))
        assert all(a["grad"] or not b["grad"] for b, a in zip(before, after))
    for node, says in zip(graph["nodes"], views[-1]):
        assert says["value"] == number(node["value"])
        assert says["grad"] == ("" if node["grad"] is None else number(node["grad"]))


def test_a_leaf_alone_has_two_steps():
    assert [step["phase"] for step in graph_state("a")["steps"]] == ["start", "backward"]


# ---- where the boxes stand ----


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_no_two_boxes_overlap_and_lines_run_to_the_right(expression):
    graph = graph_state(expression, VALUES)
    places = [(node["column"], node["row"]) for node in graph["nodes"]]
    for (c1, r1), (c2, r2) in itertools.combinations(places, 2):
        assert c1 != c2 or abs(r1 - r2) > 0.99
    for edge in graph["edges"]:
        columns = [column for column, _ in edge["path"]]
        assert columns == list(range(places[edge["parent"]][0], places[edge["child"]][0] + 1))
        bends = {tuple(place) for place in edge["path"][1:-1]}
        assert not bends & set(places), "a line runs through a box"


def test_the_left_input_stands_above_the_right_one():
    graph = graph_state("(a*b + c) * (d - e)")
    rows = {node["text"]: node["row"] for node in graph["nodes"]}
    assert rows["a"] < rows["b"] < rows["d"] < rows["e"]
    assert rows["a * b"] < rows["c"] and rows["a * b + c"] < rows["d - e"]


def test_layout_of_one_node_and_of_a_chain():
    assert layout([()]) == ([(0, 0.0)], {})
    places, _ = layout([(), (0,), (1,), (0, 2)])
    assert [column for column, _ in places] == [0, 1, 2, 3]


# ---- refusals ----

BAD = {
    "": "empty",
    "   ": "empty",
    "a +": "cannot be read",
    "(a": "cannot be read",
    "a b": "cannot be read",
    "a\0b": "cannot be read",
    "(" * 60 + "a" + ")" * 60: "fit|cannot be read",
    "foo(a)": "not something that the graph can show",
    "a.tanh": "not something",
    "a.tanh(1)": "not something",
    "a.sin()": "not something",
    "a[0]": "not something",
    "a @ b": "not something",
    "a < b": "not something",
    "a if b else c": "not something",
    "lambda: a": "not something",
    "[a, b]": "not something",
    "'text'": "not something",
    "True + a": "not something",
    "2j * a": "not something",
    "f'{a}'": "not something",
    "(a := 3)": "not something",
    "__import__('os').system('ls')": "not something",
    "().__class__": "not something",
    "import os": "no result",
    "del a": "no result",
    "a = 3": "no result",
    "a; b": "name = expression",
    "a.x = 3; a": "name = expression",
    "a = b = 3; a": "name = expression",
    "a += 1; a": "name = expression",
    "d = a*2; a": "d is never used",
    "d = a; d = b; d": "d has a meaning",
    "d + 1; d": "name = expression",
    "x = d*2; d = 3; x + d": "d has a meaning",
    "a ** b": "plain number",
    "a ** (1 + 1)": "plain number",
    "a ** 'x'": "plain number",
    "a / 0": "division by zero",
    "1 / (a - a)": "division by zero",
    "(0 - a).log()": "above 0",
    "(a - a).log()": "infinite",
    "(a - a) ** 0.5": "infinite",
    "(0 - a) ** 0.5": "not a real number",
    "exp(exp(exp(a * 9)))": "infinite",
    "1e999 * a": "too large",
    "9" * 110 + "** 99999": "infinite",
    "a ** 1e999": "too large",
    "longer_than_a_box": "too long",
    "+".join("a" * 40): f"more than {MOST_NODES} nodes",
    "a" + " " * LONGEST + "+ 1": f"{LONGEST} fit",
}


@pytest.mark.parametrize("expression", BAD)
def test_bad_expressions_are_explained(expression):
    with pytest.raises(ValueError, match=BAD[expression]) as refused:
        graph_state(expression, VALUES)
    assert len(str(refused.value)) < 200, "the message must fit into the widget"
    widget = GraphExplorer("a*b", a=2.0, b=3.0)
    before = widget.graph
    widget.expression = expression
    assert widget.problem == str(refused.value)
    assert widget.graph == before, "the last good graph stays"
    widget.expression = "a + b"
    assert widget.problem == "" and widget.graph["nodes"][-1]["value"] == 5


@pytest.mark.parametrize("bad", [None, "x", True, float("nan"), float("inf"), 10**400])
def test_a_leaf_without_a_usable_number_is_explained(bad):
    with pytest.raises(ValueError, match="a has no value|too large"):
        graph_state("a*b", {"a": bad})
    widget = GraphExplorer("a*b", a=2.0)
    widget.values = {"a": None}
    assert widget.problem == "a has no value. Type a number."


def test_the_constructor_refuses_with_the_reason():
    with pytest.raises(ValueError, match="cannot be read"):
        GraphExplorer("a +")
    with pytest.raises(ValueError, match="there is no z in 'a\\*b'; its names are a, b"):
        GraphExplorer("a*b", z=3.0)
    with pytest.raises(ValueError, match="must be a string"):
        GraphExplorer(3)


# ---- the widget ----


def test_the_step_stays_inside_when_the_graph_changes():
    widget = GraphExplorer("(a*b + c).tanh()", **VALUES)
    assert widget.step == 0 and widget.last_step == 7
    widget.step = 7
    widget.expression = "a*b"
    assert widget.step == widget.last_step == 3
    for bad in (-1, 4):
        with pytest.raises(ValueError, match=f"step is {bad}; choose a value from 0 to 3"):
            widget.step = bad


def test_values_survive_a_change_of_the_expression():
    widget = GraphExplorer("a*b", a=4.0, b=5.0)
    widget.expression = "b"
    widget.expression = "b*a"
    assert widget.graph["nodes"][-1]["value"] == 20


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_picture_shows_every_step_without_a_warning(expression):
    graph = graph_state(expression, VALUES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in (0, len(graph["steps"]) - 1):
            figure, alt = draw_graph(graph, step)
            assert to_png(figure).startswith(b"\x89PNG")
            assert ("No gradients yet" in alt) == (step == 0)
            assert f"{len(graph['nodes'])} nodes" in alt and "a = 2" in alt
            drawn = [text.get_text() for text in figure.axes[0].texts]
            for says in shown_at(graph, step):
                assert says["value"] in drawn
                assert not says["grad"] or f"grad {says['grad']}" in drawn


def test_the_graph_travels_as_json():
    widget = GraphExplorer("d = a*2; d + d*c", a=3.0, c=5.0)
    assert json.loads(json.dumps(widget.graph, allow_nan=False)) == widget.graph
    assert not any(isinstance(node["value"], np.generic) for node in widget.graph["nodes"])
