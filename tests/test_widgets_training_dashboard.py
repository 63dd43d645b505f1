"""The training dashboard without a browser: the numbers it draws, and every way a run can end."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

from minigpt_helpers import (
    SGD,
    AdamW,
    CharTokenizer,
    DivergenceError,
    History,
    MiniGPT,
    cosine_schedule,
    train,
)
from minigpt_helpers.plots import to_png
from minigpt_helpers.widgets import training_dashboard
from minigpt_helpers.widgets.training_dashboard import (
    MOST_POINTS,
    TrainingDashboard,
    dashboard_state,
    running_cell,
)

pytestmark = pytest.mark.filterwarnings("error")

TOKENIZER = CharTokenizer.from_text("the cat sat on the mat\n")
DATA = np.array(TOKENIZER.encode("the cat sat on the mat\n" * 20))
V = TOKENIZER.vocab_size


def new_model():
    return MiniGPT(V, 8, 2, 1, 8, rng=np.random.default_rng(0))


def new_dashboard(model=None, **options):
    options = (
        dict(
            val_data=DATA[:60],
            tokenizer=TOKENIZER,
            steps=20,
            batch_size=2,
            eval_every=10,
            sample_every=10,
            sample_length=5,
            rng=np.random.default_rng(1),
        )
        | options
    )
    return TrainingDashboard(model or new_model(), DATA, **options)


# What is drawn


def test_before_the_first_step_there_are_axes_and_no_points():
    state = dashboard_state(History(), 500, {"bigram": 2.0, "ln V": 3.4657})
    assert (state["train"], state["smooth"], state["val"]) == ([], [], [])
    assert state["steps"] == [0, 500]
    low, high = state["losses"]
    assert low == 0.0 and 3.4657 < high < 4.0


def test_a_short_run_is_drawn_step_by_step():
    history = History([1, 2, 3], [3.0, 2.0, 4.0], [0, 3], [3.5, 2.5])
    state = dashboard_state(history, 10, {})
    assert state["train"] == [[1, 3.0], [2, 2.0], [3, 4.0]]
    assert (
        state["smooth"] == state["train"]
    )  # a twentieth of three steps: no mean over more than one
    assert state["val"] == [[0, 3.5], [3, 2.5]]
    assert state["steps"] == [0, 10] and state["losses"][1] > 3.5


def test_a_long_run_is_thinned_and_keeps_both_ends():
    losses = np.linspace(4, 1, 5000)
    state = dashboard_state(History(list(range(1, 5001)), losses.tolist()), 5000, {})
    assert len(state["train"]) == len(state["smooth"]) == MOST_POINTS
    assert state["train"][0] == [1, 4.0] and state["train"][-1] == [5000, 1.0]
    at, mean = state["smooth"][-1]
    assert at == 5000 and mean == pytest.approx(losses[-250:].mean())


def test_the_axis_is_set_by_the_first_losses_and_the_references_not_by_a_burst():
    history = History([1, 2], [3.0, 1e9])
    assert dashboard_state(history, 2, {})["losses"][1] < 4
    assert dashboard_state(history, 2, {"far": 7.0})["losses"][1] > 7


def test_a_run_that_goes_on_from_step_100_starts_its_axis_there():
    history = History([101, 102], [2.0, 2.0])
    assert dashboard_state(history, 150, {})["steps"] == [100, 150]


# Runs


def test_a_run_gives_the_very_numbers_of_train():
    model, plain = new_model(), new_model()
    history = new_dashboard(model, lr=0.01).run()
    expected = train(
        plain,
        DATA,
        val_data=DATA[:60],
        steps=20,
        batch_size=2,
        eval_every=10,
        lr=0.01,
        rng=np.random.default_rng(1),
    )
    assert history == expected
    for name, value in plain.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], value)


def test_after_a_run_everything_is_there():
    dashboard = new_dashboard()
    history = dashboard.run()
    assert dashboard.status == "done" and dashboard.step == dashboard.last_step == 20
    assert not dashboard.in_cell and dashboard.seconds_a_step > 0
    assert [step for step, _ in dashboard.samples] == [0, 10, 20]
    assert all(len(text) == 5 for _, text in dashboard.samples)
    assert dashboard.state == dashboard_state(history, 20, dashboard.references)
    assert dashboard.references == {"uniform guess": pytest.approx(math.log(V))}


def test_without_a_tokenizer_and_validation_there_are_none():
    dashboard = new_dashboard(tokenizer=None, val_data=None)
    assert dashboard.run().val_loss == [] and dashboard.samples == []


def test_interrupted_it_keeps_what_was_learnt_and_goes_on():
    def press_stop(state):
        if state.step == 10:
            raise KeyboardInterrupt

    schedule = cosine_schedule(0.01, 20, warmup_steps=5)
    model, plain = new_model(), new_model()
    dashboard = new_dashboard(model, callbacks=[press_stop], lr=schedule)
    with pytest.raises(KeyboardInterrupt, match="step 10 of 20"):
        dashboard.run()
    assert dashboard.history.steps[-1] == 10 and dashboard.status == "stopped"
    assert dashboard.run().steps == list(range(1, 21)) and dashboard.status == "done"
    assert dashboard.history.val_steps == [0, 10, 20]
    assert [step for step, _ in dashboard.samples] == [0, 10, 20]
    train(plain, DATA, steps=20, batch_size=2, lr=schedule, rng=np.random.default_rng(1))
    for name, value in plain.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], value)


def test_more_steps_on_demand():
    dashboard = new_dashboard()
    dashboard.run(5)
    assert dashboard.last_step == 5 and dashboard.status == "done"
    assert dashboard.run(3).steps == list(range(1, 9)) and dashboard.last_step == 8


def test_with_a_used_optimizer_it_counts_on():
    model = new_model()
    optimizer = AdamW(model.parameters())
    train(model, DATA, steps=7, batch_size=2, optimizer=optimizer)
    dashboard = new_dashboard(model, optimizer=optimizer)
    assert dashboard.first_step == 7 and dashboard.last_step == 27
    assert dashboard.run().steps == list(range(8, 28))


def test_a_run_that_diverges_says_so_and_can_be_tried_again():
    model = new_model()
    diverging = new_dashboard(model, optimizer=SGD(model.parameters(), 1e150), grad_clip=math.inf)
    with pytest.raises(DivergenceError, match="diverged"):
        diverging.run()
    assert diverging.status == "failed" and not diverging.in_cell
    with pytest.raises(DivergenceError):
        diverging.run()


# In the background


class Gate:
    """A callback that says when step `at` is done and then waits until it is let go."""

    def __init__(self, at):
        self.at, self.reached, self.go = at, threading.Event(), threading.Event()

    def __call__(self, state):
        if state.step == self.at:
            self.reached.set()
            assert self.go.wait(30)


def wait_for(condition):
    for _ in range(3000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never happened")


def test_paused_it_holds_and_resumed_it_ends_with_the_same_numbers():
    expected = new_dashboard().run()
    gate = Gate(5)
    dashboard = new_dashboard(callbacks=[gate])
    dashboard.start()
    assert gate.reached.wait(30)
    dashboard.pause()
    gate.go.set()
    wait_for(lambda: dashboard.status == "paused")
    assert dashboard.step == dashboard.history.steps[-1] == 6  # the step under way was finished
    assert not dashboard.wait(0.2)
    dashboard.resume()
    assert dashboard.wait(30) and dashboard.status == "done"
    assert dashboard.history == expected


@pytest.mark.parametrize("paused", [False, True])
def test_stopped_it_keeps_what_was_learnt_and_goes_on(paused):
    gate = Gate(5)
    dashboard = new_dashboard(callbacks=[gate])
    dashboard.start()
    assert gate.reached.wait(30)
    if paused:
        dashboard.pause()
        gate.go.set()
        wait_for(lambda: dashboard.status == "paused")
    dashboard.stop()
    gate.go.set()
    assert dashboard.wait(30) and dashboard.status == "stopped"
    assert dashboard.history.steps[-1] == 6
    assert dashboard.run().steps == list(range(1, 21)) and dashboard.status == "done"


def test_only_one_run_at_a_time():
    gate = Gate(1)
    dashboard = new_dashboard(callbacks=[gate])
    dashboard.start()
    assert gate.reached.wait(30)
    for again in (dashboard.run, dashboard.start):
        with pytest.raises(ValueError, match="training already"):
            again()
    gate.go.set()
    assert dashboard.wait(30) and dashboard.status == "done"


def test_an_error_in_the_background_is_shown_in_the_widget():
    dashboard = new_dashboard(block_size=9)  # longer than the model can take
    dashboard.start()
    assert dashboard.wait(30) and dashboard.status == "failed"
    assert dashboard.problem.startswith("ValueError") and "9" in dashboard.problem
    assert dashboard.wait(), "there is nothing to wait for any more"


# Clicks


def click(dashboard, command):
    dashboard._on_click(dashboard, {"command": command}, [])


def test_the_buttons_train_pause_resume_and_stop():
    gate = Gate(3)
    dashboard = new_dashboard(callbacks=[gate])
    click(dashboard, "start")
    assert gate.reached.wait(30)
    click(dashboard, "pause")
    gate.go.set()
    wait_for(lambda: dashboard.status == "paused")
    click(dashboard, "start")  # too late, or twice: nothing happens
    click(dashboard, "resume")
    wait_for(lambda: dashboard.status in ("running", "done"))
    click(dashboard, "stop")
    assert dashboard.wait(30) and dashboard.status in ("stopped", "done")


def test_a_cell_that_trains_hears_the_buttons_where_a_knock_came_through():
    heard = []

    def page(state):  # stands for the thread in which the kernel hears the page
        if state.step == 2:
            heard.append((dashboard.in_cell, dashboard.reachable))
            click(dashboard, "knock")
            heard.append((dashboard.in_cell, dashboard.reachable))
            click(dashboard, "stop")

    dashboard = new_dashboard(callbacks=[page])
    click(dashboard, "knock")  # no cell is training: this shows nothing
    assert not dashboard.reachable
    assert dashboard.run().steps[-1] == 3 and dashboard.status == "stopped"
    assert heard == [(True, False), (True, True)]
    assert not dashboard.in_cell


def test_a_cell_that_waits_goes_on_when_it_is_resumed():
    gate = Gate(4)
    dashboard = new_dashboard(callbacks=[gate])
    thread = threading.Thread(target=dashboard.run, daemon=True)
    thread.start()
    assert gate.reached.wait(30)
    click(dashboard, "pause")
    gate.go.set()
    wait_for(lambda: dashboard.status == "paused")
    click(dashboard, "resume")
    thread.join(30)
    assert not thread.is_alive() and dashboard.status == "done"


# A newer dashboard


class NoEnd:
    """A callback for a run that goes on until it is stopped."""

    def __init__(self):
        self.reached = threading.Event()

    def __call__(self, state):
        self.reached.set()
        threading.Event().wait(0.001)


@pytest.mark.parametrize(
    ("same_model", "cells", "stopped"),
    [
        (True, ("a", "b"), True),
        (False, ("a", "a"), True),
        (False, ("a", "b"), False),
        (False, (None, None), False),
    ],
)
def test_a_newer_dashboard_stops_the_run_that_it_replaces(monkeypatch, same_model, cells, stopped):
    cell, after = iter(cells), NoEnd()
    monkeypatch.setattr(training_dashboard, "running_cell", lambda: next(cell))
    older = new_dashboard(steps=10**6, callbacks=[after], val_data=None, tokenizer=None)
    older.start()
    assert after.reached.wait(30)
    newer = new_dashboard(older.model if same_model else None)
    assert (older.status == "stopped") == stopped == older.wait(0)
    older.stop()
    assert older.wait(30) and newer.status == "ready"


def test_outside_a_notebook_no_cell_is_running():
    assert running_cell() is None


@pytest.mark.parametrize(
    "message",
    [{"command": "pause"}, {"command": "stop"}, {}, "stop", {"command": "run"}, {"command": None}],
)
def test_clicks_that_do_not_fit_do_nothing(message):
    dashboard = new_dashboard()
    dashboard._on_click(dashboard, message, [])
    assert dashboard.status == "ready"
    assert dashboard.run().steps[-1] == 20  # neither paused nor stopped by the early click


def test_after_the_last_step_the_button_adds_as_many_again():
    dashboard = new_dashboard()
    dashboard.run()
    click(dashboard, "start")
    assert dashboard.wait(30) and dashboard.status == "done"
    assert dashboard.step == dashboard.last_step == 40 and dashboard.first_step == 0
    assert dashboard.history.steps == list(range(1, 41))


# Pictures and refusals


def test_the_picture_before_and_after():
    dashboard = new_dashboard(references={"bigram": 1.5})
    figure, alt = dashboard.still()
    assert "before its first step" in alt and "20 steps" in alt and "bigram 1.50" in alt
    assert figure.axes[0].get_xlim() == (0, 20) and len(figure.axes[0].lines) == 1
    history = dashboard.run()
    figure, alt = dashboard.still()
    assert "after 20 steps" in alt and f"{history.val_loss[-1]:.2f}" in alt
    assert to_png(figure).startswith(b"\x89PNG")
    assert repr(dashboard) == repr(new_dashboard())  # the same in every run


@pytest.mark.parametrize(
    "options, named",
    [
        (dict(steps=0), "steps"),
        (dict(steps=2.5), "2.5"),
        (dict(sample_every=0), "sample_every"),
        (dict(prompt="é"), "é"),
        (dict(rng=3), "rng"),
    ],
)
def test_options_that_cannot_be(options, named):
    with pytest.raises(ValueError, match=named):
        new_dashboard(**options)


@pytest.mark.parametrize("steps", [0, -1, 1.5, "all"])
def test_runs_that_cannot_be(steps):
    dashboard = new_dashboard()
    for run in (dashboard.run, dashboard.start):
        with pytest.raises(ValueError, match="steps"):
            run(steps)
    assert dashboard.run(1).steps == [1]  # and it is not blocked by the refusals
