"""The numbers that JavaScript must agree on with Python, for every widget that computes in both.

A `Grid` names a function that a widget's script exports, and the calls: arguments for the script
and what the pure Python function gives for them. `tests/test_widgets_js.py` runs the grids in Node,
`tests/browser/test_js.py` in the browser. To add one, append to `grids()`.
"""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass

import numpy as np

from minigpt_helpers.plots import visible
from minigpt_helpers.widgets import (
    AttentionMaskExplorer,
    AttentionViewer,
    BlockBench,
    GraphExplorer,
    TemperatureExplorer,
    TokenExplorer,
    TrainingDashboard,
)
from minigpt_helpers.widgets.attention_mask import mask_state, pair_in_words
from minigpt_helpers.widgets.attention_viewer import viewer_state
from minigpt_helpers.widgets.block_bench import (
    PARTS,
    bench_in_words,
    bench_state,
    load_results,
    short,
)
from minigpt_helpers.widgets.graph_explorer import graph_state, shown_at
from minigpt_helpers.widgets.temperature import axis_top, columns, temperature_state
from minigpt_helpers.widgets.token_explorer import (
    counts_in_words,
    merged,
    round_trip_in_words,
    token_in_words,
    token_state,
    vocabulary,
)


@dataclass
class Grid:
    widget: type  # its `_esm` is the script under test
    function: str  # the name that the script exports
    calls: list[tuple[list, object]]  # arguments in JavaScript, what Python gives

    @property
    def id(self) -> str:
        return f"{self.widget.__name__}-{self.function}"

    def arguments(self) -> str:
        """The arguments of all calls as JSON for `DRIVER`."""
        return json.dumps([arguments for arguments, _ in self.calls], default=typed)

    def check(self, results: list) -> None:
        """Compare what the script gave with what Python gives."""
        assert len(results) == len(self.calls) > 0
        for (arguments, expected), result in zip(self.calls, results):
            compare(expected, result, f"{self.function}{arguments}"[:300])


# Calls `name` of the module with each list of arguments. Arrays of numbers travel as
# {"float64": [...]}, infinities as text.
DRIVER = """
function run(module, name, calls) {
  const revive = (_, value) => (value?.float64 ? Float64Array.from(value.float64) : value);
  const plain = (_, value) => ArrayBuffer.isView(value) ? Array.from(value)
    : typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
  return JSON.stringify(
    JSON.parse(calls, revive).map((call) => module[name](...call)), plain);
}
"""


def typed(array: np.ndarray) -> dict[str, list[float]]:
    return {"float64": [float(x) for x in array.ravel()]}


def compare(expected: object, result: object, where: str) -> None:
    """Same keys, lengths, text and integers; floating-point numbers within a relative 1e-12."""
    if isinstance(expected, dict):
        assert set(result) == set(expected), where
        for key in expected:
            compare(expected[key], result[key], f"{where}: {key}")
    elif isinstance(expected, list):
        assert len(result) == len(expected), where
        for i, pair in enumerate(zip(expected, result)):
            compare(*pair, f"{where}[{i}]")
    elif isinstance(expected, np.ndarray):
        values = [float(x.replace("Infinity", "inf")) if isinstance(x, str) else x for x in result]
        np.testing.assert_allclose(values, expected.ravel(), rtol=1e-12, atol=1e-300, err_msg=where)
    elif isinstance(expected, float):
        assert math.isclose(result, expected, rel_tol=1e-12, abs_tol=1e-13), where
    else:
        assert result == json.loads(json.dumps(expected)), where


def grids() -> list[Grid]:
    return [
        mask_grid(),
        sentence_grid(),
        corner_grid(),
        viewer_grid(),
        graph_grid(),
        *temperature_grids(),
        *map_grids(),
        *dashboard_grids(),
        *chart_grids(),
        *bench_grids(),
        *token_grids(),
    ]


def mask_grid() -> Grid:
    rng = np.random.default_rng(0)
    calls = []
    for size, causal, scale, temperature in itertools.product(
        (1, 2, 8, 33), (True, False), (True, False), (0.1, 0.7, 1.0, 4.0)
    ):
        scores = 4 * rng.standard_normal((size, size))
        state = {"causal": causal, "scale": scale, "temperature": temperature}
        calls.append(
            ([scores, size, {**state, "headDim": 8}], mask_state(scores, head_dim=8, **state))
        )
    huge = np.array([[1e4, -1e4], [-1e4, 1e4]])  # exp would overflow without the maximum
    state = {"causal": False, "scale": False, "temperature": 0.1}
    calls.append(([huge, 2, {**state, "headDim": 1}], mask_state(huge, head_dim=1, **state)))
    return Grid(AttentionMaskExplorer, "maskState", calls)


def sentence_grid() -> Grid:
    tokens = ["t", " ", "\n", '"']
    weights = np.random.default_rng(1).dirichlet(np.ones(4), size=4)
    calls = [
        ([tokens, weights, i, j, causal], pair_in_words(tokens, weights, i, j, causal))
        for i, j, causal in itertools.product(range(4), range(4), (True, False))
    ]
    return Grid(AttentionMaskExplorer, "pairInWords", calls)


def corner_grid() -> Grid:
    scores = np.random.default_rng(2).standard_normal((2, 3, 5, 5))
    calls = [
        ([scores, [2, 3], 5, layer, head, length], scores[layer, head, :length, :length])
        for layer, head, length in itertools.product(range(2), range(3), range(1, 6))
    ]
    return Grid(AttentionMaskExplorer, "corner", calls)


def viewer_grid() -> Grid:
    weights = np.random.default_rng(3).random((2, 3, 6, 6))
    weights[1, 2, 5, :] = 0.25  # equal weights: from left to right
    calls = [
        ([weights, [2, 3], 6, layer, head, row], viewer_state(weights, layer, head, row))
        for layer, head, row in itertools.product(range(2), range(3), range(6))
    ]
    return Grid(AttentionViewer, "viewerState", calls)


def graph_grid() -> Grid:
    graphs = [
        graph_state(expression, {"a": 2.0, "b": -3.0, "c": 10.0})
        for expression in ("a", "(a*b + c).tanh()", "d = a*2; d + d*c", "2 - 1/c + a*a*b.relu()")
    ]
    calls = [
        ([graph, step], shown_at(graph, step))
        for graph in graphs
        for step in range(len(graph["steps"]))
    ]
    return Grid(GraphExplorer, "shownAt", calls)


def temperature_grids() -> list[Grid]:
    rng = np.random.default_rng(4)
    many = {
        "two": np.array([0.5, -0.5]),
        "twenty-seven": 3 * rng.standard_normal(27),
        "equal ones": np.array([1.0, 2.0, 2.0, 1.0, 2.0, 0.0]),
        "huge": np.array([1e5, 1e5 - 3, -1e5, 0.0]),
    }
    calls = [
        ([logits, temperature, top_k], temperature_state(logits, temperature, top_k))
        for logits, temperature in itertools.product(many.values(), (0, 0.05, 0.5, 1.0, 3.0))
        for top_k in (1, 2, 4, 100)
    ]
    calls += [
        ([logits, temperature, top_k, top_p], temperature_state(logits, temperature, top_k, top_p))
        for logits, temperature in itertools.product(many.values(), (0, 0.05, 1.0, 3.0))
        for top_k, top_p in itertools.product((2, 100), (0.01, 0.5, 0.9, 1.0))
    ]
    tops = [([tallest], axis_top(tallest)) for tallest in (0.04, 0.1, 0.15, 0.7, 0.81, 1.0)]
    split = [([list(range(n))], list(columns(np.arange(n)))) for n in (1, 15, 16, 17, 90)]
    return [
        Grid(TemperatureExplorer, "temperatureState", calls),
        Grid(TemperatureExplorer, "columns", split),
        Grid(TemperatureExplorer, "axisTop", tops),
    ]


def map_grids() -> list[Grid]:
    """What stands at the axes of a map: all characters, or every so manieth position; never a part
    of the characters, which would look like another text."""
    axes = [((22, 15.4), "all"), ((31, 11.0), "all"), ((32, 10.6), 5), ((64, 5.3), 5),
            ((100, 2.9), 10), ((256, 1.3), 20), ((700, 0.3), 700)]
    return [Grid(AttentionViewer, "axisLabels", [(list(how), label) for how, label in axes])]


def dashboard_grids() -> list[Grid]:
    """The dashboard's numbers come from the kernel; its script words them."""
    progress = {"status": "running", "step": 250, "first": 0, "last": 1000, "secondsAStep": 0.02}
    words = [
        (progress, "running: step 250 of 1000 · 25 % · 15 s left · 20.0 ms a step"),
        (progress | {"status": "paused"}, "paused: step 250 of 1000 · 25 % · 20.0 ms a step"),
        (progress | {"step": 0, "status": "ready"}, "ready: step 0 of 1000 · 0 %"),
        (
            progress | {"first": 200, "last": 300},
            "running: step 250 of 300 · 50 % · 1 s left · 20.0 ms a step",
        ),
    ]
    spoken = {0.2: "1 s", 59: "59 s", 60: "1 min 0 s", 75: "1 min 15 s", 3600: "60 min 0 s"}
    rounds = [
        ((0, 1000, 5), [0, 200, 400, 600, 800, 1000]),
        ((0, 3.7, 6), [0, 1, 2, 3]),
        ((0, 1, 6), [0, 0.2, 0.4, 0.6, 0.8, 1]),
        ((400, 1000, 3), [400, 600, 800, 1000]),
    ]
    idle = {"start": True, "pause": False, "resume": False, "stop": False}
    runs = {"start": False, "pause": True, "resume": False, "stop": True}
    holds = {"start": False, "pause": False, "resume": True, "stop": True}
    none = dict.fromkeys(idle, False)
    buttons = [
        (("ready", False, False), idle),
        (("stopped", False, False), idle),
        (("failed", False, False), idle),
        (("done", False, False), idle),  # it can train on: no button is grey for good
        (("running", False, False), runs),
        (("paused", False, False), holds),
        (("running", True, False), none),
        (("paused", True, False), none),
        (("running", True, True), runs),
        (("paused", True, True), holds),
    ]
    starts = [
        ((0, 0, 9, False), "Train"),
        ((4, 0, 9, False), "Train on"),
        ((9, 0, 9, False), "Train on"),
        ((4, 0, 9, True), "Train on"),
        ((9, 0, 9, True), "Play again"),
    ]
    names = ("status", "inCell", "reachable")
    return [
        Grid(
            TrainingDashboard,
            "usable",
            [([dict(zip(names, state))], free) for state, free in buttons],
        ),
        Grid(TrainingDashboard, "startInWords", [(list(how), text) for how, text in starts]),
        Grid(TrainingDashboard, "progressInWords", [([state], text) for state, text in words]),
        Grid(
            TrainingDashboard, "duration", [([seconds], text) for seconds, text in spoken.items()]
        ),
        Grid(TrainingDashboard, "ticks", [(list(how), marks) for how, marks in rounds]),
    ]


def chart_grids() -> list[Grid]:
    """Where the charts of two widgets put a value between the ends of an axis."""
    places = [
        (([1.0, [0.0, 4.0]]), 0.25),
        (([9.0, [0.0, 4.0]]), 1),
        (([-1.0, [0.0, 4.0]]), 0),
        (([300, [100, 500], False]), 0.5),
        (([10.0, [0.1, 1000.0], True]), 0.5),
        (([0.0, [1e-9, 1.0], True]), 0),
    ]
    marks = [((1e0, 1e5), 7, 1), ((1e0, 1e9), 5, 2)]
    decades = [
        (
            [[low, high], most],
            [
                [10.0**p] * 2
                for p in range(round(math.log10(low)), round(math.log10(high)) + 1, step)
            ],
        )
        for (low, high), most, step in marks
    ]
    words = {1e-9: "10⁻⁹", 0.01: "0.01", 1.0: "1", 100.0: "100", 1000.0: "10³"}
    return [
        Grid(BlockBench, "placeOf", places),
        Grid(BlockBench, "decades", decades),
        Grid(BlockBench, "powerOfTen", [([value], text) for value, text in words.items()]),
    ]


def bench_grids() -> list[Grid]:
    results = load_results()
    combinations = [
        dict(zip(PARTS, values)) for values in itertools.product((True, False), repeat=len(PARTS))
    ]
    states = [bench_state(results, **parts) for parts in combinations]
    return [
        Grid(
            BlockBench,
            "benchState",
            [([results, parts], state) for parts, state in zip(combinations, states)],
        ),
        Grid(
            BlockBench,
            "benchInWords",
            [
                ([state, parts], bench_in_words(state, parts))
                for parts, state in zip(combinations, states)
            ],
        ),
        Grid(
            BlockBench,
            "short",
            [
                ([x], short(x))
                for x in (3.2e-9, 1e-4, 0.0099, 0.01, 0.126, 1.0, 9.994, 10.04, 99.94, 5662.1)
            ],
        ),
    ]


PAIRS = [["t", "h"], ["th", "e"], ["a", "t"], [" ", "the"], ["a", "a"], ["e\u0301", "\n"]]
TOKEN_TEXTS = [
    "",
    "t",
    "the cat",
    "The Cat!",
    "\n\n",
    "a\tb",
    "zoë",
    "zoe\u0308",
    "🙂 x 🙂",
    "\u00a0\u200b\ufeff",
    'it\'s "q" \\ $x$ <b>',
    "猫a猫",
    "e\u0301\n" * 30,
    "at" * 300,
]


def token_grids() -> list[Grid]:
    """Merging, ids and all that is said; `chars` is the vocabulary of a short text."""
    chars = sorted(set("the cat sat on\nthe mat"))
    states = [token_state(text, chars) for text in TOKEN_TEXTS]
    sentences = [
        ([text, state["ids"].tolist(), i], token_in_words(text, state["ids"], i))
        for text, state in zip(TOKEN_TEXTS, states)
        for i in range(min(len(text), 12))
    ]
    plain = [
        {"ids": state["ids"].tolist(), "distinct": state["distinct"], "unknown": state["unknown"]}
        for state in states
    ]
    letters = sorted(set("".join(TOKEN_TEXTS)) | {chr(code) for code in range(0x180)})
    merging = [
        ([text, PAIRS, n], merged(text, PAIRS, n))
        for text in [*TOKEN_TEXTS, "aaa the that"]
        for n in range(len(PAIRS) + 1)
    ]
    known = [([chars, PAIRS, n], vocabulary(chars, PAIRS, n)) for n in range(len(PAIRS) + 1)]
    pieces = ["th", " the", "the", "x"]
    ids = token_state(pieces, vocabulary(chars, PAIRS, 4))["ids"]
    sentences += [([pieces, ids.tolist(), i], token_in_words(pieces, ids, i)) for i in range(4)]
    return [
        Grid(TokenExplorer, "merged", merging),
        Grid(TokenExplorer, "vocabulary", known),
        Grid(TokenExplorer, "tokenState", [([t, chars], s) for t, s in zip(TOKEN_TEXTS, states)]),
        Grid(TokenExplorer, "tokenInWords", sentences),
        Grid(
            TokenExplorer,
            "countsInWords",
            [([p, 11], counts_in_words(s, 11)) for p, s in zip(plain, states)],
        ),
        Grid(
            TokenExplorer,
            "roundTripInWords",
            [([p], round_trip_in_words(s)) for p, s in zip(plain, states)],
        ),
        Grid(TokenExplorer, "glyph", [([char], visible(char)) for char in letters]),
    ]
