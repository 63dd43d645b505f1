"""The widgets of the web site in a browser without a network: every control, every number of theirs."""

from __future__ import annotations

import inspect
import json
import re

import numpy as np
import pytest

from browser.jupyter_page import ROOT
from browser.operate import EACH_CONTROL
from browser.site_page import live_states, twin_of
from minigpt_helpers import checks, load_pretrained, no_grad
from minigpt_helpers.checks._base import REGISTRY
from minigpt_helpers.pretrained import PRETRAINED
from minigpt_helpers.training import History
from minigpt_helpers.widgets.graph_explorer import graph_state
from minigpt_helpers.widgets.training_dashboard import dashboard_state
from widget_grids import DRIVER, compare, grids

LESSONS = sorted(path.stem for path in (ROOT / "notebooks").glob("0*.ipynb"))


# ---- widgets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("lesson", LESSONS)
def test_every_control_of_every_widget_gives_pythons_numbers(lesson, folder, visit):
    states = live_states(folder / "lessons" / f"{lesson}.html")
    assert states, "every lesson has a widget"
    for id, state in states.items():
        if state["widget"] == "TrainingDashboard":
            continue  # a replay: below
        page = visit(f"lessons/{lesson}.html")
        page.twins[id] = twin_of(state)
        page.live(id).scroll_into_view_if_needed()
        EACH_CONTROL[state["widget"]](page, page.live(id), f"twin['{id}']")
        page.assert_quiet()
        page.close()


def test_the_dashboard_replays_a_recorded_run(folder, visit):
    page = visit("lessons/05_training.html")
    id, state = next(iter(live_states(folder / "lessons" / "05_training.html").items()))
    live, references = page.live(id), state["traits"]["references"]
    assert "recorded run" in live.get_by_test_id("message").inner_text()
    for button, status in [
        ("start", "running"),
        ("pause", "paused"),
        ("resume", "running"),
        ("stop", "stopped"),
    ]:
        live.get_by_test_id(button).click()
        page.until(lambda status=status: holds(page.traits(id)["status"] == status))
        page.until(lambda: holds(page.traits(id)["step"] > 0))
    now, run = page.traits(id), page.page.evaluate("(id) => minigpt.given[id]", id)["history"]
    seen = sum(step <= now["step"] for step in run["steps"])
    measured = sum(step <= now["step"] for step in run["val_steps"])
    history = History(
        steps=run["steps"][:seen],
        train_loss=run["train_loss"][:seen],
        val_steps=run["val_steps"][:measured],
        val_loss=run["val_loss"][:measured],
    )
    expected = dashboard_state(history, state["traits"]["last_step"], references)
    compare(json.loads(json.dumps(expected)), now["state"], "the state of the replay")
    assert len(run["steps"]) == state["traits"]["last_step"]
    page.assert_quiet()


def holds(condition: bool) -> None:
    assert condition


@pytest.fixture(scope="module")
def lab(visit):
    """A page with all the widgets' scripts."""
    page = visit("lessons/06_generation.html")
    for name in (
        "AttentionMaskExplorer",
        "BlockBench",
        "GraphExplorer",
        "TokenExplorer",
        "TrainingDashboard",
    ):
        page.page.add_script_tag(url=page.page.url.split("lessons/")[0] + f"_static/live/{name}.js")
    return page


@pytest.mark.parametrize("grid", grids(), ids=lambda grid: grid.id)
def test_the_grids_of_the_widgets_pass_as_in_jupyterlab(grid, lab):
    results = lab.page.evaluate(
        "([widget, name, calls]) => {"
        + DRIVER
        + "return run(minigpt.widgets[widget], name, calls); }",
        [grid.widget.__name__, grid.function, grid.arguments()],
    )
    grid.check(json.loads(results))


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_models_forward_pass_agrees_on_100_random_texts(name, lab):
    model, tokenizer = load_pretrained(name)
    rng, longest = np.random.default_rng(0), min(model.max_seq_len, 64)
    texts = [
        rng.integers(0, tokenizer.vocab_size, rng.integers(1, longest + 1)).tolist()
        for _ in range(100)
    ]
    found = lab.page.evaluate(
        """async ([name, texts]) => {
            const gpt = await minigpt.loadModel(name);
            return texts.map((ids) => Array.from(gpt.look(ids).logits));
        }""",
        [name, texts],
    )
    with no_grad():
        for ids, logits in zip(texts, found):
            expected = np.asarray(model(ids).data).ravel()
            np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 7, 123456])
def test_random_numbers_are_numpys(seed, lab):
    found = lab.page.evaluate(
        """(seed) => {
            const one = new minigpt.Random(seed), probs = [0.1, 0.2, 0.3, 0.4];
            return [Array.from(one.normals(2000)),
                    Array.from({ length: 300 }, () => one.choice(probs))];
        }""",
        seed,
    )
    rng = np.random.default_rng(seed)
    np.testing.assert_allclose(found[0], rng.standard_normal(2000), rtol=1e-12)
    assert found[1] == [int(rng.choice(4, p=[0.1, 0.2, 0.3, 0.4])) for _ in range(300)]


EXPRESSIONS = [
    "a",
    "-a",
    "a*a",
    "(a*b + c).tanh()",
    "d = a*2; d + d*c",
    "2 - 1/c + a*a*b.relu()",
    "(a - b)**3 / c",
    "a.exp() * b",
    "((a + b) * (a - b)).relu() + a",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_graphs_of_expressions_are_pythons(expression, lab):
    values = {"a": 0.5, "b": -1.25, "c": 2.0}
    try:
        expected = graph_state(expression, values)
    except ValueError as error:
        expected = str(error)
    found = lab.page.evaluate(
        """([expression, values]) => {
            try { return minigpt.graphState(expression, values); } catch (error) { return error.message; }
        }""",
        [expression, values],
    )
    compare(json.loads(json.dumps(expected)), found, expression)


# ---- the address, predictions, downloads ------------------------------------------------------------


def test_a_link_holds_the_state_and_refuses_what_cannot_be(visit, address):
    page = visit("index.html")
    page.live("live-TemperatureExplorer").get_by_test_id("prompt").fill("the cat ")
    slider = page.live("live-TemperatureExplorer").get_by_test_id("temperature")
    slider.focus()
    slider.press("ArrowLeft")
    page.until(lambda: holds("temperature=0.99" in page.page.url and "prompt=" in page.page.url))
    shared = visit(page.page.url.removeprefix(address))
    traits = shared.traits("live-TemperatureExplorer")
    assert (traits["prompt"], traits["temperature"]) == ("the cat ", 0.99)
    wrong = visit("index.html#live-TemperatureExplorer.temperature=99")
    assert wrong.traits("live-TemperatureExplorer")["temperature"] == 1
    assert "cannot show" in wrong.traits("live-TemperatureExplorer")["note"]
    for each in (page, shared, wrong):
        each.assert_quiet()


# Gives a widget another value of each trait that a link may hold, as a reader would leave it.
ANOTHER = """(id) => {
    const model = minigpt.live[id], named = Object.keys(model.kernel.address());
    for (const name of named) {
        const now = model.get(name), can = model.kernel.address()[name];
        model.set(name, can === "boolean" ? !now : name === "expression" ? "(a - b)*a"
            : can === "string" ? "the moon" : can === "object" ? { a: 1.5, b: -2 }
            : typeof now === "string" ? can.find((each) => each !== now) ?? now
            : now === can[0] ? can[1] : can[0]);
        model.save_changes();
    }
    return named;
}"""


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_link_brings_back_the_state_of_every_widget(lesson, folder, visit, address):
    name = f"lessons/{lesson}.html"
    for id, state in live_states(folder / name).items():
        page = visit(name)
        start, named = page.traits(id), page.page.evaluate(ANOTHER, id)
        left = page.traits(id)
        assert named and set(named) <= set(left)
        assert [each for each in named if left[each] != start[each]], "something has changed"
        link = page.page.locator(f"[id='{id}'] .minigpt-link")
        page.until(lambda page=page, id=id: holds(f"#{id}." in page.page.url))
        assert link.is_visible()
        other = visit(page.page.url.removeprefix(address))
        found = other.traits(id)
        assert {each: found[each] for each in named} == {each: left[each] for each in named}, state
        assert found["note"] == left["note"]
        for each in (page, other):
            each.assert_quiet()
            each.close()


def test_what_follows_a_predict_is_folded_until_the_reader_asks(visit):
    page = visit("lessons/03_attention.html")
    folded = page.page.locator("details.hide.below-input")
    assert folded.count() >= 3
    assert folded.evaluate_all("(all) => all.every((each) => !each.open)")
    folded.first.locator("summary").click()
    assert folded.first.evaluate("(each) => each.open")


def right_answer(name: str) -> str:
    """As a reader would type it."""
    answer = inspect.getclosurevars(REGISTRY[name].entry.body).nonlocals["answer"]
    answer = answer() if callable(answer) else answer
    return answer if isinstance(answer, str) else str(np.ravel(answer).tolist())


GUESSES = ["", "?", "0", "1", "[1, 2]", "2.0, 3.0", "[3, 2]", "1e9", "yes", "a b"]


def test_predictions_are_checked_as_in_the_notebook(folder, visit):
    """Whatever is typed, the page's verdict is that of `checks`."""
    forms = 0
    for lesson in LESSONS:
        page = visit(f"lessons/{lesson}.html")
        for form in page.page.locator("form.minigpt-guess").all():
            about = json.loads(form.get_attribute("data-check"))
            check = getattr(checks, about["name"])
            forms += 1
            for text in GUESSES:
                said = page.page.evaluate("([a, t]) => minigpt.checkGuess(a, t)", [about, text])
                numbers = re.findall(r"-?\d+(?:\.\d+)?(?:e\d+)?", text)
                guess = text if about["words"] else [float(number) for number in numbers]
                if not about["words"] and len(numbers) == 1:
                    guess = float(numbers[0])
                if not text.strip() or (not about["words"] and not numbers):
                    assert not said.startswith("passed"), (about["name"], text, said)
                else:
                    assert said.startswith("passed") == bool(check(guess)), (about["name"], text)
            for typed, verdict in [("?", "not yet:"), (right_answer(about["name"]), "passed:")]:
                form.locator("input").fill(typed)
                form.locator("button").click()
                assert form.locator("output").inner_text().startswith(verdict)
        page.assert_quiet()
        page.close()
    assert forms >= 10


def test_run_here_opens_the_lesson_in_jupyterlab_without_a_server(folder, context, address):
    """As far as it goes without Pyodide, which comes from another address: the notebook is there."""
    tab = context.new_page()
    tab.goto(f"{address}lite/lab/index.html?path=03_attention.ipynb")
    tab.locator(".cm-content", has_text="piplite").first.wait_for(timeout=120_000)
    lesson = (folder / "lite/files/05_training.ipynb").read_text(encoding="utf-8")
    assert "# in the browser; elsewhere" in lesson
    wheels = json.loads((folder / "lite/pypi/all.json").read_text(encoding="utf-8"))
    assert {"minigpt-helpers", "ipywidgets", "anywidget", "psygnal", "comm"} <= set(wheels)
    tab.close()
