"""The training dashboard in JupyterLab: a run in the background obeys the buttons, one in a cell
also the notebook's stop button; whatever ends it, the model keeps what it has learnt."""

from __future__ import annotations

import pytest

from browser import agree

CELLS = [
    """\
import time
import numpy as np
from minigpt_helpers import CharTokenizer, MiniGPT
from minigpt_helpers.widgets import TrainingDashboard
text = "the quick brown fox jumps over the lazy dog\\n" * 50
tokenizer = CharTokenizer.from_text(text)
data = tokenizer.encode(text)
model = MiniGPT(tokenizer.vocab_size, 8, 2, 1, 8, rng=np.random.default_rng(0))
dashboard = TrainingDashboard(
    model, data, val_data=data[:200], tokenizer=tokenizer, steps=100_000, batch_size=2,
    references={"uniform guess": 3.3, "by heart": 0.5}, rng=np.random.default_rng(1),
    callbacks=[lambda state: time.sleep(0.01)])""",
    "dashboard",
]


@pytest.fixture(scope="module")
def page(open_notebook):
    page = open_notebook("dashboard.ipynb", CELLS)
    page.run_all()
    page.assert_all_ran()
    yield page
    page.python("dashboard.stop()")
    page.assert_quiet()


@pytest.fixture
def live(page):
    """The widget with no run under way and many steps to go."""
    live = page.page.get_by_test_id("TrainingDashboard")
    live.scroll_into_view_if_needed()
    page.python(
        "dashboard.stop(); dashboard.wait(); dashboard.last_step = dashboard.step + 100_000"
    )
    page.until(lambda: shows(live, "ready", "stopped", "done"))
    return live


def shows(live, *statuses):
    """Assert that the progress line begins with one of `statuses`; returns the step it names."""
    words = live.get_by_test_id("progress-words").inner_text()
    assert words.split(":")[0] in statuses, words
    return int(words.split("step ")[1].split(" of")[0])


def press(live, name):
    live.get_by_test_id(name).click()


def enabled(live):
    names = ["start", "pause", "resume", "stop"]
    buttons = {name: live.get_by_test_id(name) for name in names}
    return [name for name in names if buttons[name].is_visible() and buttons[name].is_enabled()]


def test_the_buttons_train_pause_resume_and_stop(page, live):
    page.until(lambda: hears(live, "start"))
    press(live, "start")
    before = page.until(lambda: shows(live, "running"))
    page.until(lambda: moves(live, beyond=before))
    assert enabled(live) == ["pause", "stop"]

    press(live, "pause")
    held = page.until(lambda: shows(live, "paused"))
    page.page.wait_for_timeout(300)
    assert shows(live, "paused") == held == page.kernel("dashboard.history.steps[-1]")
    assert enabled(live) == ["resume", "stop"]
    page.screenshot("paused", of=live)

    press(live, "resume")
    page.until(lambda: moves(live, beyond=held))
    press(live, "stop")
    stopped = page.until(lambda: shows(live, "stopped"))
    assert stopped == page.kernel("dashboard.optimizer.num_steps") > held
    assert enabled(live) == ["start"]

    press(live, "start")  # the model has kept what it learnt: the run goes on
    page.until(lambda: moves(live, beyond=stopped))
    steps = page.kernel("dashboard.history.steps[:50]")
    assert steps == list(range(1, len(steps) + 1))


def moves(live, beyond):
    assert shows(live, "running") > beyond


def test_the_buttons_are_heard_while_a_cell_runs(page, live):
    press(live, "start")
    before = page.until(lambda: shows(live, "running"))
    page.page.evaluate(
        """() => {
            const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
            window.busy = true;
            kernel.requestExecute({ code: 'time.sleep(600)' }).done.then(() => { window.busy = false; });
        }"""
    )
    page.until(lambda: moves(live, beyond=before))
    press(live, "pause")
    page.until(lambda: shows(live, "paused"))
    press(live, "stop")
    page.until(lambda: shows(live, "stopped"))
    assert page.page.evaluate("window.busy"), "the cell had ended: this test has shown nothing"
    page.page.evaluate("() => jupyterapp.commands.execute('notebook:interrupt-kernel')")
    page.page.wait_for_function("() => !window.busy")


def train_in_a_cell(page, live):
    page.page.evaluate(
        """() => {
            const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
            window.ended = kernel.requestExecute({ code: 'history = dashboard.run()' }).done;
        }"""
    )
    before = page.until(lambda: shows(live, "running"))
    page.until(lambda: moves(live, beyond=before))


def cell_ended(page, status="ok"):
    assert page.page.evaluate("async () => (await window.ended).content.status") == status


def test_a_run_in_a_cell_is_ended_by_the_notebooks_stop_button(page, live):
    train_in_a_cell(page, live)
    assert "stop button" in live.get_by_test_id("line").inner_text()
    page.page.evaluate("() => jupyterapp.commands.execute('notebook:interrupt-kernel')")
    cell_ended(page, status="error")  # so that Run All stops too
    stopped = page.until(lambda: shows(live, "stopped"))
    assert page.kernel("dashboard.history.steps[-1]") == stopped


def test_a_run_in_a_cell_hears_the_buttons_too(page, live):
    train_in_a_cell(page, live)
    page.until(lambda: hears(live, "pause", "stop"))
    press(live, "pause")
    page.until(lambda: shows(live, "paused"))
    assert page.page.evaluate("Promise.race([window.ended, 'still running'])") == "still running"
    press(live, "resume")
    page.until(lambda: shows(live, "running"))
    press(live, "stop")
    cell_ended(page)
    stopped = page.until(lambda: shows(live, "stopped"))
    assert page.kernel("history.steps[-1]") == stopped


def hears(live, *names):
    assert enabled(live) == list(names)


def test_the_buttons_by_keyboard(page, live):
    live.get_by_test_id("start").focus()
    page.page.keyboard.press("Enter")
    page.until(lambda: shows(live, "running"))
    live.get_by_test_id("pause").focus()
    page.page.keyboard.press("Space")
    page.until(lambda: shows(live, "paused"))
    live.get_by_test_id("resume").focus()
    for name in ("stop", "samples"):
        page.page.keyboard.press("Tab")
        assert page.page.evaluate("document.activeElement.dataset.testid") == name
    live.get_by_test_id("resume").focus()
    page.page.keyboard.press("Space")
    page.until(lambda: shows(live, "running"))
    live.get_by_test_id("stop").focus()
    page.page.keyboard.press("Enter")
    page.until(lambda: shows(live, "stopped"))


def test_the_curves_are_what_was_measured(page, live):
    page.python("dashboard.run(3)")
    page.python("dashboard.run(2)")  # a short run, so that every step of it is in the picture
    agree.dashboard(page, live, "dashboard", status="done")


def test_in_the_dark_theme(page, live):
    page.dark()
    page.screenshot("dark", of=live)
    colours = live.evaluate(
        "(live) => [getComputedStyle(live).color, getComputedStyle(document.body).backgroundColor]"
    )
    page.dark(False)
    assert colours[0] != colours[1]


def test_a_page_that_is_loaded_anew_shows_the_run_again(page, live):
    press(live, "start")
    before = page.until(lambda: shows(live, "running"))
    page.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    page.reload()
    live = page.page.get_by_test_id("TrainingDashboard")
    live.wait_for()
    page.until(lambda: moves(live, beyond=before))
    press(live, "pause")
    page.until(lambda: shows(live, "paused"))
    press(live, "stop")
    page.until(lambda: shows(live, "stopped"))


def test_its_cells_run_again_stop_the_run_and_leave_one_picture(page, live):
    press(live, "start")
    page.until(lambda: shows(live, "running"))
    page.python("older = dashboard")
    page.run_all()
    page.until(lambda: shows(live, "ready"))
    assert page.page.get_by_test_id("TrainingDashboard").count() == 1
    assert page.kernel("[older.status, older.wait(0), dashboard is older]") == [
        "stopped",
        True,
        False,
    ]
