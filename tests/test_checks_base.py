"""The base of all checks: whatever the reader's object does, the answer is a sentence."""

import functools
import html
import random
import subprocess
import sys
import threading
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from minigpt_helpers import checks
from minigpt_helpers.checks import _base, _exercise, _student
from minigpt_helpers.checks._ask import prediction
from minigpt_helpers.checks._base import CheckResult, catalogue, check
from minigpt_helpers.checks._compare import (
    Miss,
    as_array,
    expect,
    expect_close,
    expect_equal,
    expect_same,
    show,
)
from minigpt_helpers.checks._exercise import exercise


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    monkeypatch.setattr(_base, "REGISTRY", {})


@pytest.fixture
def short_grace(monkeypatch):
    monkeypatch.setattr(_student, "GRACE", 0.3)


def make(seconds=5.0, **options):
    """A check of `scores(q, k)` with three cases and two known mistakes."""

    @check(
        lesson=3,
        expects="a function `scores(q, k)`: arrays (T, d) in, an array (T, T) out",
        not_tested="speed",
        seconds=seconds,
        **options,
    )
    def attention_scores(case, scores):
        for T, d in [(1, 3), (4, 2), (3, 5)]:
            q, k = case.rng.normal(size=(2, T, d))
            with case(f"T={T}, d={d}"):
                expect_same(scores, right, q, k, mistakes=[
                    (lambda q, k: q @ k.T, "The scale is missing."),
                    (lambda q, k: q @ k.T / q.shape[1], "The scale is the root of d, not d."),
                ])

    return attention_scores


def right(q, k):
    return q @ k.T / q.shape[1] ** 0.5


# ---- right, wrong, partly right -----------------------------------------------------------------


def test_a_right_answer_says_what_was_tested_and_what_was_not():
    result = make()(right)
    assert result.passed and result.score == 1.0 and bool(result)
    assert result.message.startswith("passed: 3 of 3 properties hold: T=1, d=3; T=4, d=2")
    assert "Not tested: speed." in result.message


def loops(q, k):
    return [[sum(a * b for a, b in zip(row, col)) / len(row) ** 0.5 for col in k] for row in q]


@pytest.mark.parametrize(
    "other",
    [
        loops,
        lambda q, k: (row for row in right(q, k)),
        lambda q, k: SimpleNamespace(data=right(q, k)),
        lambda q, k: [[SimpleNamespace(data=x) for x in row] for row in right(q, k)],
        functools.partial(lambda scale, q, k: right(q, k) * scale, 1.0),
    ],
    ids=["nested lists", "generator", "tensor", "lists of scalar tensors", "partial"],
)
def test_right_answers_of_any_form_pass(other):
    assert make()(other).passed


@pytest.mark.parametrize(
    "wrong, hint",
    [
        (lambda q, k: q @ k.T, "The scale is missing."),
        (lambda q, k: q @ k.T / q.shape[1], "The scale is the root of d, not d."),
    ],
)
def test_a_known_mistake_gets_its_own_hint(wrong, hint):
    result = make()(wrong)
    assert not result.passed and result.score == 0.0 and not result
    assert result.message.endswith(f"Hint: {hint}")
    assert "expected" in result.message and "got" in result.message
    assert "q = an array of shape (1, 3)" in result.message


def test_of_two_mistakes_that_agree_on_one_input_the_one_that_fits_all_is_named():
    @check(lesson=1, expects="a function `f(x)`")
    def fits(case, f):
        for x in (2.0, 3.0):
            with case(f"x={x}"):
                expect_same(f, lambda x: x + 1, x, mistakes=[
                    (lambda x: x * x, "You square."), (lambda x: x + x, "You double."),
                ])

    assert fits(lambda x: 2 * x).message.endswith("Hint: You double.")
    assert fits(lambda x: x * x).message.endswith("Hint: You square.")


def test_a_refused_answer_keeps_little_of_the_share_of_the_properties_and_less_than_a_quarter_nothing():
    result = make()(lambda q, k: right(q, k) if len(q) != 4 else right(q, k) + 1)
    assert not result.passed and result.score == pytest.approx(0.4 * 2 / 3)

    @check(lesson=1, expects="a number", kind="any")
    def large(case, x):
        for least in range(8):
            with case(f"more than {least}"):
                expect(x > least, "it is not")

    assert large(1).score == 0 and large(2).score == pytest.approx(0.4 * 2 / 8)
    assert result.message.startswith(
        "not yet: 2 of 3 properties hold.\nDoes not hold: T=4, d=2: expected")
    assert "All your numbers are off by 1" in result.message


def test_a_hard_coded_answer_is_refused():
    seen = []
    make()(lambda q, k: seen.append(right(q, k)) or seen[0])
    result = make()(lambda q, k: seen[0])
    assert 0 < result.score < 1


def test_the_same_wrong_answer_gets_the_same_words_and_leaves_the_generators_alone():
    def noisy(q, k):
        return random.random() + np.random.rand(len(q), len(q))

    random.seed(5), np.random.seed(5)
    before = random.getstate(), np.random.get_state()[1].tolist()
    first, second = make()(noisy), make()(noisy)
    assert first == second and repr(first) == repr(second)
    assert before == (random.getstate(), np.random.get_state()[1].tolist())


# ---- stubs --------------------------------------------------------------------------------------


def unfinished(q, k):
    raise NotImplementedError


def half(q, k):
    scale = ...
    return q @ k.T / scale


def half_numpy(q, k):
    return q @ ...


@pytest.mark.parametrize(
    "stub",
    [..., None, NotImplemented, lambda q, k: ..., lambda q, k: None, unfinished, half, half_numpy,
     lambda q, k: [[...]], lambda q, k: (q, None)],
)
def test_a_stub_is_not_done_yet(stub):
    result = make()(stub)
    assert not result.passed and result.score == 0.0
    assert result.message.startswith("not done yet: this exercise expects a function `scores(q, k)")


def test_a_class_whose_methods_are_stubs_is_not_done_yet():
    @check(lesson=4, expects="a class `Layer`", kind="any")
    def layer(case, Layer):
        with case("shape"):
            expect(Layer().forward(np.ones(3)).shape == (3,), "the shape changed")

    class Stub:
        def forward(self, x): ...

    class Done:
        def forward(self, x):
            return x

    assert layer(Stub).message.startswith("not done yet:")
    assert layer(Done).passed


def test_a_return_forgotten_on_one_path_is_a_mistake_not_a_stub():
    result = make()(lambda q, k: None if len(q) == 3 else right(q, k))
    assert result.message.startswith("not yet: 2 of 3")
    assert "is a `return` missing?" in result.message


def test_the_wrong_kind_or_number_of_objects_is_explained():
    result = make()(right(np.ones((2, 2)), np.ones((2, 2))))
    assert "Pass the function itself" in result.message and result.score == 0.0
    assert "it was given 0 objects" in make()().message


# ---- code that misbehaves -----------------------------------------------------------------------


def test_an_exception_is_told_with_its_type_its_text_and_the_line():
    def broken(q, k):
        rows = q @ k.T
        return rows[10_000]

    line = broken.__code__.co_firstlineno + 2
    message = make()(broken).message
    assert "your code raised IndexError: index 10000 is out of bounds" in message
    assert f"in line {line} (broken): `return rows[10_000]`" in message


@pytest.mark.parametrize("rows", [
    lambda q: [row[10_000] for row in q],
    lambda q: {row[10_000] for row in q},
    lambda q: {0: row[10_000] for row in q},
    lambda q: sum(row[10_000] for row in q),
])
def test_a_comprehension_is_told_by_the_function_it_stands_in(rows):
    """Python 3.11 runs it in a frame of its own, later ones do not: the message is the same."""
    def broken(q, k):
        return rows(q)

    message = make()(broken).message
    assert "(your lambda): " in message and "comp>" not in message and "genexpr" not in message


def test_the_line_is_the_readers_also_when_the_package_raises():
    from minigpt_helpers.text import CharTokenizer

    def calls_package(q, k):
        return CharTokenizer.from_text("ab").encode("z")

    message = make()(calls_package).message
    assert "(calls_package)" in message and "from_text" in message


def test_a_result_that_cannot_be_used_is_explained():
    @check(lesson=1, expects="a function", kind="any")
    def uses_result(case, f):
        with case("length"):
            expect(len(f()) == 2, "length")

    message = uses_result(lambda: 5).message
    assert "your object could not be used as the exercise says: TypeError" in message


def endless(q, k):
    while True:
        pass


def endless_printing(q, k):
    while True:
        print("page after page")


def endless_except_exception(q, k):
    while True:
        try:
            sum(range(10))
        except Exception:
            pass


@pytest.mark.parametrize("fn", [endless, endless_printing, endless_except_exception])
def test_an_endless_loop_is_stopped(fn, capfd):
    threads = threading.active_count()
    result = make(seconds=0.2)(fn)
    assert "it ran for more than 0.2 s and was stopped" in result.message
    assert "loop that never ends" in result.message
    assert threading.active_count() == threads
    assert capfd.readouterr() == ("", "")


def test_an_endless_loop_on_one_input_costs_that_property_only():
    result = make(seconds=0.3)(lambda q, k: endless(q, k) if len(q) == 1 else right(q, k))
    assert result.score == pytest.approx(0.4 * 2 / 3)


def test_what_cannot_be_stopped_is_left_behind(short_grace):
    release = threading.Event()

    def stubborn(q, k):
        while not release.is_set():
            try:
                time.sleep(0.001)
            except:  # noqa: E722  (what a reader may well write)
                pass

    def asleep(q, k):
        time.sleep(2)

    for fn in (stubborn, asleep):
        result = make(seconds=0.2)(fn)
        assert not result.passed and result.score == 0.0
        assert "more than 0.2 s" in result.message and "estart the kernel" in result.message
    release.set()


def test_checks_work_in_a_thread_too():
    results = []
    thread = threading.Thread(target=lambda: results.append(make(seconds=0.2)(endless)))
    thread.start()
    thread.join()
    assert "was stopped" in results[0].message


def test_deep_recursion_is_explained():
    def again(q, k):
        return again(q, k)

    message = make()(again).message
    assert "your code calls itself without end: RecursionError" in message and "(again)" in message


@pytest.mark.parametrize("stop", [sys.exit, lambda: exec("raise SystemExit(3)")])
def test_exit_is_not_an_exit(stop):
    assert "your code asks Python to exit" in make()(lambda q, k: stop()).message


def test_an_interrupt_raised_by_the_readers_code_is_its_own_fault():
    def interrupts(q, k):
        raise KeyboardInterrupt

    assert "KeyboardInterrupt" in make()(interrupts).message


@pytest.mark.skipif(sys.platform == "win32", reason="signals to oneself differ on Windows")
def test_the_users_interrupt_passes_through():
    code = """
import _thread, signal, threading, time
from minigpt_helpers.checks._base import check
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
@check(lesson=1, expects="a function", seconds=60)
def waits(case, f):
    with case("one"):
        f()
def endless():
    while True: pass
threading.Timer(0.3, _thread.interrupt_main).start()
try:
    waits(endless)
except KeyboardInterrupt:
    time.sleep(0.2)
    print("interrupted", threading.active_count())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.stdout == "interrupted 1\n", done.stderr


def test_prints_and_warnings_are_swallowed_and_a_warning_becomes_part_of_the_answer(capfd):
    def overflows(q, k):
        print("q is", q)
        print("and k", k, file=sys.stderr)
        return np.exp(1e5 * abs(q)) @ k.T

    with warnings.catch_warnings(record=True) as outside:
        message = make()(overflows).message
    assert capfd.readouterr() == ("", "") and outside == []
    assert "got inf" in message or "got nan" in message
    assert "Warning on the way: overflow encountered in exp" in message


def test_changed_inputs_are_a_property_of_their_own():
    def changes(q, k):
        q /= q.shape[1] ** 0.5
        return q @ k.T

    result = make()(changes)
    assert result.score == pytest.approx(0.4 * 0.75)
    assert "your function changes its input number 1" in result.message
    assert make(in_place=True)(right).passed

    @check(lesson=1, expects="a function that sorts", in_place=True)
    def sorts(case, f):
        numbers = [3, 1, 2]
        with case("three numbers"):
            f(numbers)
            expect_equal(numbers, [1, 2, 3])

    assert sorts(lambda x: x.sort()).passed
    assert not sorts(lambda x: sorted(x)).passed


def test_changed_lists_are_noticed_too():
    @check(lesson=1, expects="a function")
    def total(case, f):
        with case("sum"):
            expect_same(f, lambda rows: sum(map(sum, rows)), [[1, 2], [3]])

    def greedy(rows):
        return sum(row.pop() for row in rows for _ in range(len(row)))

    assert total(greedy).score == 0.2


# ---- comparing ----------------------------------------------------------------------------------


def miss(fn, *args, **options):
    with pytest.raises(Miss) as caught:
        fn(*args, **options)
    return str(caught.value)


A = np.arange(12.0).reshape(3, 4) ** 2


@pytest.mark.parametrize(
    "got, words",
    [
        (A.T, "expected shape (3, 4), got (4, 3): the axes are in the opposite order"),
        (A.ravel(), "expected shape (3, 4), got (12,): as many numbers, arranged in another way"),
        (A[:2], "expected shape (3, 4), got (2, 4)"),
        (np.where(A == 4, np.nan, A), "expected 4 at [0, 2], got nan; 1 of 12 numbers differ"),
        (2.5 * A, "Each of your numbers is 2.5000 times the expected one"),
        (-A, "Each of your numbers is -1 times the expected one"),
        (A - 2, "All your numbers are off by -2"),
        (0 * A, "Your numbers are all 0"),
        (np.tile(A[1], (3, 1)), "All your rows are the same"),
        (A[::-1], "The numbers are right, but in another order"),
        ([[1, 2], [3]], "rows of different shapes: [(1,), (2,)]"),
        ("abc", "expected numbers, got a string: 'abc'"),
    ],
)
def test_differences_of_arrays_in_words(got, words):
    assert words in miss(expect_close, got, A, "A")


def test_more_differences_of_arrays():
    square = A[:, :3]
    assert "is the transpose" in miss(expect_close, square.T, square)
    assert "Your numbers are whole" in miss(expect_close, [0, 1], [0.3, 1.4])
    assert "(they differ by 2e-05)" in miss(expect_close, 0.5 + 2e-5, 0.5)
    expect_close(0.5 + 2e-6, 0.5)
    expect_close(np.float32(1 / 3), 1 / 3)
    expect_close([-np.inf, 1.0], np.array([-np.inf, 1.0]))


def test_exact_comparison():
    expect_equal((1, 2), np.array([1, 2]))
    expect_equal("abc", "abc")
    expect_equal({"a": (1,)}, {"a": [1]})
    assert "at [1] expected 'b', got 'x'" in miss(expect_equal, "axc", "abc")
    assert "expected 3 items, got 2" in miss(expect_equal, [1, 2], [1, 2, 3])
    assert "expected a string, got a list: ['a']" in miss(expect_equal, ["a"], "a")
    words = miss(expect_equal, {"a": 1, "c": 2}, {"a": 1, "b": 2})
    assert words == "missing: 'b'; not expected: 'c'"
    assert "for 'a' expected 2, got 1" in miss(expect_equal, {"a": 1}, {"a": 2})
    assert "expected 3, got 4" in miss(expect_equal, 4, 3)


def test_whole_numbers_and_strings_are_compared_exactly_by_expect_same():
    expect_same(lambda s: [ord(c) for c in s], lambda s: [ord(c) for c in s], "hi")
    assert "at [1]" in miss(expect_same, lambda s: s, str.upper, "Hi")
    assert "text = 'Hi'" in miss(expect_same, lambda s: s, lambda text: text.upper(), "Hi")


def test_collections_of_arrays_of_several_shapes_are_compared_part_by_part():
    parts = (np.ones((2, 3)) / 3, np.ones(2), {"bias": 0.1 + 0.2})

    def other(change=0.0, bias=0.3):
        return [np.full((2, 3), 1 / 3), [1, 1 + change], {"bias": bias}]

    expect_same(lambda x: other(), lambda x: parts, 0)
    assert miss(expect_same, lambda x: other(1), lambda x: parts, 0).startswith("[1]: expected 1")
    assert "[2]: ['bias']: expected 0.3" in miss(expect_close, other(0, 0.5), parts)
    assert "expected 3 items, got 2" in miss(expect_close, other()[:2], parts)
    assert "expected 3 items, got an int: 5" in miss(expect_close, 5, parts)
    assert "expected a list, got an int" in miss(expect_same, lambda x: 5, lambda x: ["ab"], 0)
    assert "[0]: expected 'a', got 'b'" in miss(expect_close, ["b", 1.0], ["a", 1.0])


def test_an_index_of_three_dots_is_not_a_blank():
    def indexes(q, k):
        return q[..., 7]

    def calls(q, k):
        return np.exp(..., q)

    assert make()(indexes).message.startswith("not yet: 0 of 3")
    assert make()(calls).message.startswith("not done yet")


def test_numbers_are_shown_short_and_without_addresses():
    assert show(np.array([1 / 3, 1e-7, 2.0])) == "[0.3333, 1.0e-07, 2]"
    assert show({"b", "a"}) == "{'a', 'b'}"
    assert " at 0x" not in show(object()) and show([1] * 9) == "[1, 1, 1, 1, 1, 1, ...]"
    assert show(np.ones((3, 4))).startswith("an array of shape (3, 4): 1, 1, 1, 1, 1, 1, ...")
    assert as_array([[1, SimpleNamespace(data=np.float64(2))]]).tolist() == [[1.0, 2.0]]


# ---- predictions, display, the register ---------------------------------------------------------


def test_predictions_do_not_give_the_answer_away():
    guess = prediction(
        "loss_guess", lesson=4, answer=lambda: np.log(65), tol=0.05,
        expects="the loss of an untrained model, in nats", hint="How many characters are there?",
        near=[(65, "65 is V itself."), (1 / 65, "That is the probability.")],
    )
    assert guess(4.17).passed and guess(4.2).passed
    assert guess(65).message == "not yet: your prediction: 65 is not it\nHint: 65 is V itself."
    assert guess(4.17).message == "passed: your prediction."
    assert guess(3).message.endswith("Hint: How many characters are there?")
    assert "4.17" not in guess(3).message + guess("word").message
    assert guess(...).message.startswith("not done yet") and guess("word").score == 0.0

    word = prediction("word_guess", lesson=4, answer="rows", expects="'rows' or 'columns'")
    assert word(" Rows ").passed and not word("columns").passed and not word(3).passed
    shape = prediction("shape_guess", lesson=4, answer=(4, 8), expects="a shape")
    assert shape((4, 8)).passed and not shape((8, 4)).passed and not shape(4).passed
    assert _base.REGISTRY["shape_guess"].__module__ == __name__


def test_results_are_readable_without_colour_and_safe_in_html():
    for status, text in [("passed", "all"), ("not yet", "a <b>\nHint: c"), ("not done yet", "d")]:
        message = f"{status}: {text}"
        result = CheckResult(status == "passed", 0.0, message, status)
        assert repr(result) == message
        page = result._repr_html_()
        assert f"<strong>{status}:</strong>" in page
        assert html.escape("<b>") in page or "<b>" not in message
    page = CheckResult(False, 0.0, "not yet: `x < y`\nHint: c")._repr_html_()
    assert "<code>x &lt; y</code><br>Hint: c" in page


def test_the_catalogue_lists_all_checks_by_lesson():
    make()
    prediction("first_guess", lesson=1, answer=3, expects="a number & more")
    table = catalogue()
    assert [entry.name for entry in table] == ["first_guess", "attention_scores"]
    assert "checks.attention_scores(scores)" in str(table) and "arrays (T, d) in" in str(table)
    assert "a number &amp; more" in table._repr_html_() and "<th" in table._repr_html_()
    assert [entry.name for entry in catalogue(lesson=3)] == ["attention_scores"]


def test_names_that_are_taken_are_refused():
    def attention(case, f): ...

    with pytest.raises(ValueError, match="'attention' is taken"):
        check(lesson=3, expects="f")(attention)

    def elsewhere(case, f): ...

    check(lesson=3, expects="f")(elsewhere)
    elsewhere.__module__ = "another"
    with pytest.raises(ValueError, match="'elsewhere' is taken"):
        check(lesson=3, expects="f")(elsewhere)
    with pytest.raises(ValueError, match="kind must be"):
        check(lesson=3, expects="f", kind="thing")(lambda case, f: None)


def test_a_check_without_a_property_is_an_error_of_its_author():
    @check(lesson=1, expects="f")
    def empty(case, f):
        f()

    with pytest.raises(RuntimeError, match="has no `with case"):
        empty(lambda: 1)


def test_the_package_offers_every_registered_check():
    from minigpt_helpers.checks import catalogue as package_catalogue

    assert package_catalogue is catalogue and checks.CheckResult is CheckResult
    for name in checks.__all__:
        assert callable(getattr(checks, name))


# ---- exercises that are data --------------------------------------------------------------------


def softly(**options):
    settings = dict(
        lesson=3,
        expects="a function `soft(x)`: an array (T,) in, an array (T,) out",
        cases=lambda rng: [(f"T={T}", rng.normal(size=T)) for T in (2, 3, 5)],
        slips=[
            ("np.exp(x)", "x", "The exponential is missing."),
            (" / e.sum()", "", "Divide by the sum."),
            ("e.sum()", "e.max()", "The sum, not the largest."),
        ],
    )

    @exercise(**settings | options)
    def soft(x):
        e = np.exp(x)
        return e / e.sum()

    return soft


@pytest.mark.parametrize("wrong, hint", [
    (lambda x: np.exp(x), "Hint: Divide by the sum."),
    (lambda x: x / x.sum(), "Hint: The exponential is missing."),
    (lambda x: x.copy(), "Hint: The exponential is missing.\nAnd: Divide by the sum."),
])
def test_slips_are_recognised_alone_and_two_together(wrong, hint):
    assert softly()(wrong).message.endswith("\n" + hint)


def test_nothing_is_guessed_of_a_mistake_that_no_slip_makes():
    assert "Hint" not in softly()(lambda x: np.exp(x) / np.exp(x).sum() + 0.1).message
    only_once = softly()(lambda x: np.exp(x) if len(x) == 3 else np.exp(x) / 7)
    assert "Hint" not in only_once.message
    message = softly(in_words="exp, then divide.")(lambda x: x + 3).message
    assert message.endswith("\nIn words: exp, then divide.")


def test_the_given_bug_is_not_done_yet_and_gets_no_hint():
    result = softly(given=(" / e.sum()", " / e.mean()"))(lambda x: np.exp(x) / np.exp(x).mean())
    assert result.status == "not done yet" and result.message.endswith("did when you got it.")


def test_a_slip_that_does_not_fit_exactly_once_is_refused_at_once():
    with pytest.raises(ValueError, match="'np.log' -> '' fits 0 times"):
        softly(slips=[("np.log", "", "never")])
    with pytest.raises(ValueError, match="'soft'.*'e' -> 'f' fits 6 times"):
        softly(slips=[("e", "f", "never")])


def test_an_expected_error_must_show_what_the_reference_shows():
    @exercise(
        lesson=1, expects="a function `first(x)`", cases=lambda rng: [("one", [4]), ("none", [])],
        slips=[("IndexError(", "KeyError(", "The wrong class.")],
    )
    def first(x):
        if not x:
            raise IndexError("empty", 0)
        return x[0]

    def with_text(text):
        def f(x):
            if len(x) == 0:
                raise IndexError(text)
            return x[0]
        return f

    assert first(with_text("an empty list has no item 0")).passed
    assert "should hold 0; it is 'empty'" in first(with_text("empty")).message
    assert "but got the result 5" in first(lambda x: [*x, 5][0]).message
    assert "should hold 0" in first(with_text("empty, 10 items")).message


def test_a_wrong_function_that_never_ends_names_no_cause(monkeypatch):
    monkeypatch.setattr(_exercise, "PATIENCE", -0.8)
    endless = ("e = np.exp(x)", "e = np.exp(x)\n    while True: pass", "never")
    assert "never" not in softly(slips=[endless])(lambda x: x).message


def test_a_class_is_asked_for():
    @check(lesson=4, expects="a class `Layer`")
    def layer_class(case, Layer):
        with case("it can be made"):
            Layer()

    class Layer:
        pass

    assert layer_class(Layer).passed
    assert "an instance of `Layer`. Pass the class itself" in layer_class(Layer()).message


def test_what_is_essential_costs_most_and_a_detail_its_share():
    @check(lesson=4, expects="a number", kind="any", weighed=True)
    def size(case, x):
        for name, least, essential in [("a", 0, True), ("b", 1, True), ("c", 2, False)]:
            with case(name, weight=1 + essential, essential=essential):
                expect(x > least, "it is not")

    assert size(1.5).score == pytest.approx(0.8)
    assert size(0.5).score == 0  # 0.4 of 2 fifths is too little


def test_an_endless_loop_in_every_case_is_waited_for_once():
    @check(lesson=1, expects="a function", seconds=0.2)
    def many(case, f):
        for i in range(100):
            with case(str(i)):
                f()

    calls = []

    def endless():
        calls.append(len(calls))
        while True:
            pass

    result = many(endless)
    assert result.score == 0 and "was stopped" in result.message
    assert len(calls) < 10  # of 100 cases


def test_the_checks_own_arithmetic_warns_nobody():
    @check(lesson=1, expects="a function")
    def grows(case, f):
        with case("one"):
            np.exp(np.array([1e5]))
            expect_close(f(), 2.0)

    assert "Warning" not in grows(lambda: 1.0).message
    assert "Warning on the way: over" in grows(lambda: np.exp(np.array([1e5]))[0]).message


def test_an_object_that_equals_everything_equals_nothing():
    class Liar:
        def __eq__(self, other):
            return True

    assert "expected a list, got a Liar" in miss(expect_equal, Liar(), [1, 2])


def test_messages_name_functions_and_the_first_line_of_an_error():
    assert show(lambda: 1) == "a lambda" and show(right) == "the function right"

    def broken(q, k):
        raise ValueError("first\n\nlast")

    assert "ValueError: first, in line" in make()(broken).message
    assert show(np.float64(0.5)) == "0.5000" and show([True, np.True_]) == "[True, True]"


def test_changed_tensors_and_models_are_noticed():
    from minigpt_helpers import MiniGPT, Tensor

    @check(lesson=1, expects="a function of a tensor and a model")
    def reads(case, f):
        with case("one"):
            f(Tensor(np.ones(3)), MiniGPT(5, 4, 1, 1, 4, rng=np.random.default_rng(0)))

    def spoils(x, model):
        x.data += 1
        model.head.weight.data = model.head.weight.data * 2
        return 1

    assert reads(lambda x, model: 1).passed
    assert reads(spoils).message.count("changes its input number") == 1
