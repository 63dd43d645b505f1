"""Does the page show what the pure Python functions give for the kernel's state?

One function for each widget. `name` is the variable that holds the widget in the kernel; `traits`
are values that it must have. Each waits until kernel and page agree, or fails with the difference.
"""

from __future__ import annotations

import math

import pytest
from playwright.sync_api import Locator

from browser.jupyter_page import NotebookPage
from minigpt_helpers.widgets.block_bench import PARTS, bench_axes, bench_in_words, load_results
from minigpt_helpers.widgets.graph_explorer import graph_state, shown_at
from minigpt_helpers.widgets.temperature import axis_top
from minigpt_helpers.widgets.token_explorer import (
    LONGEST,
    counts_in_words,
    merged,
    token_in_words,
    token_state,
    vocabulary,
)

GLYPHS = {" ": "␣", "\n": "↵", "\t": "⇥"}
SPOKEN = {" ": "space", "\n": "line break", "\t": "tab"}


def glyph(character: str) -> str:
    return GLYPHS.get(character, character)


def in_words(character: str) -> str:
    return SPOKEN.get(character, f'"{character}"')


def traits_of(name: str, traits: dict) -> str:
    """The expression for the values of these traits in the kernel."""
    return f"[getattr({name}, trait) for trait in {list(traits)}]"


def attention_mask(page: NotebookPage, live: Locator, name: str, /, **traits) -> None:
    def check():
        values, tokens, length, weights = page.kernel(
            f"[{traits_of(name, traits)}, {name}.tokens, {name}.length, "
            f"{name}.state()['weights'][min({name}.row, {name}.length - 1)].tolist()]"
        )
        assert dict(zip(traits, values)) == traits
        items = (
            live.get_by_test_id("row-weights")
            .locator("li")
            .evaluate_all(
                "(items) => items.map((item) => "
                "[Number(item.dataset.weight), item.lastChild.textContent, item.firstChild.textContent])"
            )
        )
        assert [item[0] for item in items] == pytest.approx(weights, rel=1e-12, abs=1e-300)
        assert [float(item[1]) for item in items] == pytest.approx(weights, abs=0.00051)
        assert [item[2] for item in items] == [glyph(token) for token in tokens[:length]]

    page.until(check)


def attention_viewer(
    page: NotebookPage, live: Locator, name: str, shown_row: int | None = None, /, **traits
) -> None:
    """`shown_row` is the row under the mouse, if it is not the selected one."""

    def check():
        row = f"{name}.row" if shown_row is None else shown_row
        values, tokens, weights, at = page.kernel(
            f"[{traits_of(name, traits)}, {name}.tokens, "
            f"{name}.state()['map'][{row}].tolist(), {row}]"
        )
        assert dict(zip(traits, values)) == traits
        boxes = live.get_by_test_id("text-arcs").locator("rect")
        drawn = boxes.evaluate_all("(boxes) => boxes.map((box) => Number(box.dataset.weight))")
        assert drawn == pytest.approx(weights, rel=1e-12, abs=1e-15)
        items = (
            live.get_by_test_id("strongest")
            .locator("li:not([hidden])")
            .evaluate_all(
                "(items) => items.map((item) => [Number(item.dataset.place), item.innerText])"
            )
        )
        order = sorted(range(at + 1), key=lambda place: (-weights[place], place))[:8]
        assert [place for place, _ in items] == order
        for place, text in items:
            said = f"{weights[place]:.3f} {in_words(tokens[place])} (position {place})"
            assert text.split() == said.split()

    page.until(check)


def temperature(page: NotebookPage, live: Locator, name: str, /, **traits) -> None:
    def check():
        values, chars, state, counts = page.kernel(
            f"[{traits_of(name, traits)}, {name}.chars, "
            "{key: getattr(value, 'tolist', lambda: value)() "
            f"for key, value in {name}.state().items()}}, {name}.counts]"
        )
        assert dict(zip(traits, values)) == traits
        probs, order = state["probs"], state["order"]
        groups = [[token] for token in order]
        if len(order) > 16:
            groups = [*groups[:15], order[15:]]
        expected = [sum(probs[token] for token in group) for group in groups]
        bars = (
            live.get_by_test_id("bars")
            .locator("li")
            .evaluate_all(
                """(bars) => bars.map((bar) => ({ prob: Number(bar.dataset.prob),
                count: bar.dataset.count, text: bar.children[0].textContent,
                token: bar.children[2].textContent,
                height: bar.querySelector('i').getBoundingClientRect().height }))"""
            )
        )
        shares = [sum(counts[token] for token in group) / 1000 if counts else 0 for group in groups]
        top = axis_top(max(*expected, *shares))
        assert float(live.get_by_test_id("bars").get_attribute("data-top")) == top
        assert [bar["prob"] for bar in bars] == pytest.approx(expected, rel=1e-12, abs=1e-15)
        assert [float(bar["text"]) for bar in bars] == pytest.approx(expected, abs=0.00051)
        assert [bar["height"] for bar in bars] == pytest.approx(
            [230 * p / top for p in expected], abs=1.5
        )
        names = [glyph(chars[group[0]]) if len(group) == 1 else "rest" for group in groups]
        assert [bar["token"] for bar in bars] == names
        drawn = [str(sum(counts[token] for token in group)) if counts else "" for group in groups]
        assert [bar["count"] for bar in bars] == drawn
        entropy = live.get_by_test_id("entropy").text_content()
        nats, bits = float(entropy.split()[0]), float(entropy.split()[3])
        assert nats == pytest.approx(state["entropy"], abs=0.00051)
        assert bits == pytest.approx(state["entropy"] / math.log(2), abs=0.00051)
        greedy = live.get_by_test_id("greedy").text_content()
        assert greedy == in_words(chars[state["greedy"]])

    page.until(check)


def block_bench(page: NotebookPage, live: Locator, name: str, /, **traits) -> None:
    def check():
        values, parts, state = page.kernel(
            f"[{traits_of(name, traits)}, {name}.parts(), {name}.state()]"
        )
        assert dict(zip(traits, values)) == traits
        assert list(parts) == list(PARTS)
        for part, on in parts.items():
            assert live.get_by_test_id(part).is_checked() == on
        for test_id, expected in [
            ("start-loss", f"{state['start_loss']:.2f}"),
            ("train-loss", f"{state['train_loss']:.2f}"),
            ("writing-loss", f"{state['writing_loss']:.2f}"),
            ("own-share", f"{100 * state['own_share'][-1]:.1f} %"),
            ("sample", state["sample"]),
            ("line", bench_in_words(state, parts)),
        ]:
            assert live.get_by_test_id(test_id).text_content() == expected
        for chart in ("activations", "gradients", "curve"):
            whole, own = live.get_by_test_id(f"chart-{chart}").locator("polyline").all()
            assert heights(whole) == pytest.approx(
                bench_places(state["whole"][chart], chart), abs=0.02
            )
            assert heights(own) == pytest.approx(bench_places(state[chart], chart), abs=0.02)

    page.until(check)


def heights(line: Locator) -> list[float]:
    """Where the points of a line lie, from 0 at the bottom of the bench's chart to 1 at its top."""
    points = line.get_attribute("points").split()
    return [(198 - float(point.split(",")[1])) / 190 for point in points]


def bench_places(values: list[float], chart: str) -> list[float]:
    low, high = bench_axes(load_results())[chart]
    if chart == "curve":
        return [min(max((value - low) / (high - low), 0), 1) for value in values]
    return [math.log(value / low) / math.log(high / low) for value in values]


def graph(page: NotebookPage, live: Locator, name: str, /, **traits) -> None:
    """Boxes, words and slider; the graph is computed here anew, from expression and values."""

    def check():
        values, expression, numbers, step = page.kernel(
            f"[{traits_of(name, traits)}, {name}.expression, {name}.values, {name}.step]"
        )
        assert dict(zip(traits, values)) == traits
        assert None not in numbers.values(), "a number is still being typed"
        graph = graph_state(expression, numbers)
        says = shown_at(graph, step)
        shown = live.evaluate(
            """(root) => {
                const at = (name) => root.querySelector(`[data-testid="${name}"]`).textContent;
                const nodes = [...root.querySelectorAll('g[data-node]')];
                return {
                    boxes: nodes.map((g) => [g.dataset.node,
                        ...[...g.querySelectorAll('text')].map((t) => t.textContent)]),
                    active: nodes.filter((g) => g.classList.contains('minigpt-active'))
                        .map((g) => g.dataset.node),
                    shares: [...root.querySelectorAll('.minigpt-share')].map((t) => t.textContent),
                    line: at('line'),
                    step: at('step-value'),
                };
            }"""
        )
        assert shown == {
            "boxes": [
                [node["text"], node["title"], s["value"], s["grad"] and f"grad {s['grad']}"]
                for node, s in zip(graph["nodes"], says)
            ],
            "active": [node["text"] for node, s in zip(graph["nodes"], says) if s["active"]],
            "shares": [text for _, text in graph["steps"][step]["shares"]],
            "line": graph["steps"][step]["words"],
            "step": f"{step} of {len(graph['steps']) - 1}",
        }

    page.until(check)


def tokens(page: NotebookPage, live: Locator, name: str, /, **traits) -> None:
    """Ids, counts, boxes and the sentence."""

    def check():
        values, text, chars, selected, pairs, merges = page.kernel(
            f"[{traits_of(name, traits)}, {name}.text, {name}.chars, {name}.selected, "
            f"{name}.pairs, {name}.merges]"
        )
        assert dict(zip(traits, values)) == traits
        tokens, chars = merged(text, pairs, merges), vocabulary(chars, pairs, merges)
        state, selected = token_state(tokens, chars), min(selected, len(tokens) - 1)
        boxes = live.get_by_role("option").evaluate_all(
            "(boxes) => boxes.map((box) => "
            "[Number(box.dataset.id), box.getAttribute('aria-selected') === 'true'])"
        )
        assert [box[0] for box in boxes] == state["ids"][:LONGEST].tolist()
        assert [i for i, box in enumerate(boxes) if box[1]] == ([selected] if text else [])
        ids = ", ".join("?" if i == -1 else str(i) for i in state["ids"])
        assert live.get_by_test_id("ids").text_content() == f"[{ids}]"
        assert live.get_by_test_id("counts").text_content() == counts_in_words(state, len(chars))
        said = token_in_words(tokens, state["ids"], selected) if text else ""
        assert live.get_by_test_id("line").text_content() == said

    page.until(check)


def dashboard(page: NotebookPage, live: Locator, name: str, /, **traits) -> None:
    """Curves, samples and progress; the run must not be under way."""

    def check():
        values, state, samples, references = page.kernel(
            f"[{traits_of(name, traits)}, {name}.state, {name}.samples, {name}.references]"
        )
        assert dict(zip(traits, values)) == traits
        places = live.get_by_test_id("chart").evaluate(
            """(chart) => ({
                width: Number(chart.getAttribute('width')),
                height: Number(chart.getAttribute('height')),
                curves: Object.fromEntries([...chart.querySelectorAll('polyline')].map((line) =>
                    [line.dataset.testid, line.getAttribute('points')])),
                levels: [...chart.querySelectorAll('.minigpt-level')].map((line) =>
                    Number(line.getAttribute('y1'))),
            })"""
        )
        left, right, above, below = CHART_MARGINS
        across, down = places["width"] - left - right, places["height"] - above - below
        (first, last), (low, high) = state["steps"], state["losses"]

        def height(loss):
            return above + down * (1 - (min(max(loss, low), high) - low) / (high - low))

        for curve in ("train", "smooth", "val"):
            points = [
                tuple(map(float, point.split(",")))
                for point in places["curves"][f"curve-{curve}"].split()
            ]
            assert len(points) == len(state[curve])
            for (x, y), (step, loss) in zip(points, state[curve]):
                assert x == pytest.approx(left + across * (step - first) / (last - first), abs=0.02)
                assert y == pytest.approx(height(loss), abs=0.02)
        assert places["levels"] == pytest.approx([height(r) for r in references.values()], abs=0.02)
        texts = live.get_by_test_id("samples").locator("pre").all_text_contents()
        assert texts == [text for _, text in reversed(samples)]

    page.until(check)


CHART_MARGINS = (58, 14, 8, 42)  # left, right, above, below: as in _chart.js
