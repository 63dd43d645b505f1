"""From a key on a control to changed pixels on the screen, for every widget, in JupyterLab; where a
time is promised, in Notebook 7 too.

What is timed, for one move:

- It begins with the time stamp that the browser gives to the key's event.
- It ends at the start of the animation frame *after* the one in which the widget drew: then the
  frame with the new picture has been painted and handed over. So a wait of up to two frames of a
  60 Hz screen (17 ms each) is in every figure, even if the drawing itself took none.
- That the widget drew is seen by an observer of its elements and by a flag that every clearing of a
  canvas sets. Reading pixels back would change what is measured, so that is done when the clock has
  stopped: a screenshot before and one after each move must differ, or the run is refused.

The notebook is a real one, with a kernel that hears of every move, in headless Chromium.
"""

from __future__ import annotations

import importlib
import random
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tools.benchmarks.report import Options, progress, table
from tools.benchmarks.turns import ROOT
from tools.launcher.browser import find_browser

TESTS = ROOT / "tests"
MOVES = 40
NO_BROWSER = "No browser, no figures: "

SETUP = """\
import numpy as np
from minigpt_helpers import CharTokenizer, MiniGPT, load_pretrained
from minigpt_helpers.widgets import *
model, tokenizer = load_pretrained("verse")
text64 = ("the cat sat on the mat and looked at the moon " * 2)[:64]
small = MiniGPT(tokenizer.vocab_size, 16, 1, 1, 16, rng=np.random.default_rng(0))
data = tokenizer.encode(text64 * 20)"""


@dataclass(frozen=True)
class Case:
    """One control of one widget. `keys` are pressed in turn, after `first`, until there are enough
    moves; `at_most` is the median (and 95th percentile) in ms that the project promises."""

    name: str
    make: str
    control: str
    keys: tuple[str, ...]
    first: tuple[str, ...] = ()
    at_most: tuple[float, float | None] | None = None
    until: str = "drawn"  # JavaScript: what must be true in a frame


RIGHT_AND_LEFT = ("ArrowRight",) * 10 + ("ArrowLeft",) * 10
MASK = "AttentionMaskExplorer"
CASES = [
    Case(
        f"{MASK}: temperature",
        f"{MASK}(model, tokenizer)",
        "temperature",
        RIGHT_AND_LEFT,
        at_most=(40, 100),
    ),
    Case(
        f"{MASK}: length",
        f"{MASK}(model, tokenizer)",
        "length",
        ("ArrowLeft",) * 7 + ("ArrowRight",) * 7,
        ("End",),
        at_most=(40, 100),
    ),
    Case(
        f"{MASK}, 64x64: temperature",
        f"{MASK}(model, tokenizer, text64)",
        "temperature",
        RIGHT_AND_LEFT,
        at_most=(60, None),
    ),
    Case(
        "TemperatureExplorer: temperature",
        "TemperatureExplorer(model, tokenizer)",
        "temperature",
        RIGHT_AND_LEFT,
        at_most=(40, 100),
    ),
    Case(
        "TemperatureExplorer: top-k",
        "TemperatureExplorer(model, tokenizer)",
        "top_k",
        ("ArrowRight",) * 10 + ("ArrowLeft",) * 10,
        ("Home",),
        at_most=(40, 100),
    ),
    Case(
        "AttentionViewer, 64x64: row",
        "AttentionViewer(model, tokenizer, text64)",
        "text-arcs",
        ("ArrowLeft",) * 10 + ("ArrowRight",) * 10,
        at_most=(60, None),
    ),
    Case(
        "AttentionViewer: row",
        "AttentionViewer(model, tokenizer)",
        "text-arcs",
        ("ArrowLeft",) * 10 + ("ArrowRight",) * 10,
    ),
    Case(
        "GraphExplorer: step",
        'GraphExplorer("(a*b + c).tanh()", a=2.0, b=-3.0, c=10.0)',
        "step",
        ("ArrowRight",) * 7 + ("ArrowLeft",) * 7,
        ("Home",),
    ),
    Case("BlockBench: residual", "BlockBench()", "residual", ("Space",)),
    Case(
        "TokenExplorer: a letter typed",
        'TokenExplorer(tokenizer, "the cat")',
        "text",
        tuple("abcd"),
    ),
    Case(
        "TrainingDashboard: pause",
        "TrainingDashboard(small, data, steps=10**7)",
        "pause",
        ("Space",),
        until="words.startsWith('paused')",
    ),
]

# Sets window.took when `until` has been true at the start of a frame, for the next key.
WATCH = """([root, until]) => {
    let drawn = false, begun = null;
    const clear = CanvasRenderingContext2D.prototype.clearRect;
    CanvasRenderingContext2D.prototype.clearRect = function (...box) {
        if (root.contains(this.canvas)) drawn = true;
        return clear.apply(this, box);
    };
    const seen = new MutationObserver(() => { drawn = true; });
    for (const part of root.querySelectorAll('.minigpt-picture, .minigpt-line'))
        seen.observe(part, { subtree: true, childList: true, characterData: true, attributes: true });
    const ready = new Function('drawn', 'words', `return ${until}`);
    const frame = () => {
        const words = root.querySelector('.minigpt-progress-words')?.textContent ?? '';
        if (ready(drawn, words)) window.took = performance.now() - begun;
        else requestAnimationFrame(frame);
    };
    window.addEventListener('keydown', (event) => {
        drawn = false;
        window.took = null;
        begun = event.timeStamp;
        requestAnimationFrame(frame);
    }, { capture: true });
}"""


def run(
    options: Options, cases: list[Case] = CASES, moves: int = MOVES, playwright_browser=None
) -> dict:
    """Measures each case. `playwright_browser` is used if there is one already, and stays open."""
    missing = what_is_missing()
    if missing:
        return {"missing": missing}
    if playwright_browser is not None:
        return run_in(playwright_browser, cases, moves)
    with chromium() as browser:
        return run_in(browser, cases, moves)


@contextmanager
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def of_the_tests(name: str):
    """A module of ``tests/browser``: servers and pages are those of the tests."""
    if str(TESTS) not in sys.path:
        sys.path.insert(0, str(TESTS))
    return importlib.import_module(f"browser.{name}")


def run_in(browser, cases: list[Case], moves: int) -> dict:
    jupyter = of_the_tests("jupyter_page")
    promised = [replace(case, name=f"{case.name}, in Notebook 7") for case in cases if case.at_most]
    measured = {}
    for front_end, its_cases in [("jupyterlab", cases), ("notebook", promised)]:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            work = Path(folder) / "work"
            work.mkdir()
            context = browser.new_context(viewport={"width": 1280, "height": 720})
            server = jupyter.Server(work, Path(folder), front_end)
            try:
                for i, case in enumerate(its_cases):
                    progress(case.name)
                    jupyter.write_notebook(work / f"{i}.ipynb", [SETUP, f"w = {case.make}\nw"])
                    page = jupyter.NotebookPage(server, context, f"{i}.ipynb")
                    page.run_all()
                    page.assert_all_ran()
                    live = page.page.locator(".minigpt-live")
                    measured[case.name] = summary(measure(page.page, live, case, moves), case)
                    page.close()
            finally:
                context.close()
                server.stop()
    return {"browser": browser.version, "milliseconds": measured}


def what_is_missing() -> str | None:
    """What has to be there to measure anything; None if all is."""
    try:
        import playwright  # noqa: F401
    except ImportError:
        return NO_BROWSER + "Playwright is missing; start.py bench widgets brings it."
    if find_browser() is None:
        return NO_BROWSER + "no Chromium, Chrome or Edge was found."
    return None


def measure(page, live, case: Case, moves: int) -> list[float]:
    """The milliseconds of each move of the widget ``live`` on Playwright's ``page``."""
    live.scroll_into_view_if_needed()
    control = live.get_by_test_id(case.control)
    for key in case.first:
        control.press(key)
    page.wait_for_timeout(500)
    page.evaluate(WATCH, [live.element_handle(), case.until])
    draw = random.Random(0)
    times = []
    for i in range(moves):
        if case.control == "pause":  # a run must be under way to be paused
            live.locator("[data-testid=start]:enabled, [data-testid=resume]:visible").first.click()
            page.wait_for_timeout(300)
        control.focus()
        before = live.screenshot()
        page.wait_for_timeout(draw.uniform(30, 60))  # at no fixed place between two frames
        page.keyboard.press(case.keys[i % len(case.keys)])
        page.wait_for_function("() => window.took !== null")
        times.append(page.evaluate("() => window.took"))
        if live.screenshot() == before:
            raise RuntimeError(f"{case.name}: move {i} changed nothing that can be seen")
    return times


def summary(times: list[float], case: Case) -> dict:
    median, late = np.percentile(times, [50, 95])
    return {
        "moves": len(times),
        "median": float(median),
        "95th percentile": float(late),
        "fastest": min(times),
        "at most": case.at_most,
        "all": times,
    }


def tables(result: dict) -> str:
    if "missing" in result:
        return result["missing"]
    rows = []
    for name, found in result["milliseconds"].items():
        promised = found["at most"]
        said = "" if promised is None else " / ".join(f"{x:g}" for x in promised if x is not None)
        rows.append(
            [
                name,
                found["moves"],
                f"{found['median']:.1f}",
                f"{found['95th percentile']:.1f}",
                said,
            ]
        )
    heading = (
        f"Milliseconds from a key on a control to the frame after the new picture "
        f"(headless Chromium {result['browser']}). At 60 Hz a frame takes 16.7."
    )
    return heading + "\n\n" + table(["widget: control", "moves", "median", "95 %", "at most"], rows)
