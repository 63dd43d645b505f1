"""The common base of the widgets: scripts, bad text, numbers out of range, what a cell shows."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings

import nbformat
import numpy as np
import pytest
from matplotlib.text import Text
from nbclient import NotebookClient

from minigpt_helpers import widgets
from minigpt_helpers.nn import MiniGPT
from minigpt_helpers.plots import DRAWN, new_figure, to_png
from minigpt_helpers.text import CharTokenizer
from minigpt_helpers.widgets import _base
from minigpt_helpers.widgets._base import Number, TeachingWidget, bundle, check_text, in_words

SETUP = """\
import numpy as np
from minigpt_helpers import CharTokenizer, MiniGPT
from minigpt_helpers.widgets import AttentionMaskExplorer, AttentionViewer, TemperatureExplorer
tokenizer = CharTokenizer.from_text("the cat sat on the mat")
model = MiniGPT(tokenizer.vocab_size, 16, 2, 2, 12, rng=np.random.default_rng(0))"""
CELLS = [
    "AttentionMaskExplorer()",
    'AttentionMaskExplorer(model, tokenizer, "the cat")',
    'TemperatureExplorer(model, tokenizer, "the ")',
    'AttentionViewer(model, tokenizer, "the cat sat")',
]


class Plain(TeachingWidget):
    """The least that a widget must define."""

    _esm = "export default { render() {} }"
    speed = Number(0.5, 2, 1.0).tag(sync=True)

    def still(self):
        return new_figure()[0], 'An empty picture, "quoted".'


def test_scripts_hold_what_they_import_once_and_import_nothing():
    script = bundle("attention_viewer.js")
    assert not re.search(r"^import", script, re.MULTILINE)
    for once in (
        "export function widget(",
        "export function heatMap(",
        "export function pairInWords(",
    ):
        assert script.count(once) == 1
    assert script.index("export function widget(") < script.index("export function heatMap(")
    assert script.count("export default") == 1


@pytest.mark.parametrize("path", sorted(_base.HERE.glob("*.[jc]s*")), ids=lambda path: path.name)
def test_nothing_is_loaded_from_a_network(path):
    source = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|import\(|fetch\(|@import|url\(|//cdn", source)


def test_a_number_out_of_range_is_refused_with_the_range():
    plain = Plain()
    plain.speed = 2
    assert plain.speed == 2.0
    for bad in (0.4, 3, float("nan"), float("inf"), "fast", None, True):
        with pytest.raises(ValueError, match="speed is") as refused:
            plain.speed = bad
        assert str(bad) in str(refused.value)
    assert plain.speed == 2.0


def small(vocab_size=3):
    return MiniGPT(vocab_size, 4, 1, 1, 4, rng=np.random.default_rng(0))


ABC = CharTokenizer.from_text("abc")
NEED_A_MODEL = [widgets.AttentionMaskExplorer, widgets.AttentionViewer, widgets.TemperatureExplorer]


@pytest.mark.parametrize("make", NEED_A_MODEL)
@pytest.mark.parametrize(
    ("model", "tokenizer", "said"),
    [
        (ABC, small(), "the model is .*CharTokenizer"),
        (small(), "abc", "the tokenizer is 'abc'"),
        (small(4), ABC, "made for 4 characters, this tokenizer knows 3"),
    ],
)
def test_what_is_no_model_with_its_tokenizer_is_refused(make, model, tokenizer, said):
    with pytest.raises(ValueError, match=said):
        make(model, tokenizer, "abc")


@pytest.mark.parametrize("make", NEED_A_MODEL)
def test_the_smallest_models_and_vocabularies_can_be_shown(make):
    for chars, size in [("a", 1), ("ab", 1), ("ab🙂\u200b", 2)]:
        tokenizer = CharTokenizer.from_text(chars)
        model = MiniGPT(len(chars), 4, 1, 1, size, rng=np.random.default_rng(0), dtype=np.float32)
        widget = make(model, tokenizer, chars)
        figure, alt = widget.still()
        assert widget.problem == "" and alt
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # matplotlib's, of letters that its font lacks
            assert to_png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: widgets.AttentionMaskExplorer(text=5), "not the int 5"),
        (lambda: widgets.AttentionMaskExplorer(seed="a"), "seed is 'a'"),
        (lambda: widgets.TemperatureExplorer(small(), ABC, "a", seed=-1), "seed is -1"),
        (lambda: widgets.TokenExplorer(ABC, None), "NoneType None"),
        (lambda: widgets.BlockBench(residual="no"), "not the str 'no'"),
        (lambda: setattr(widgets.AttentionMaskExplorer(), "length", 2.5), "not the float 2.5"),
        (lambda: widgets.TrainingDashboard(ABC, [0, 1]), "the model is"),
        (
            lambda: widgets.TrainingDashboard(small(), [0, 1], tokenizer="abc"),
            "the tokenizer is 'abc'",
        ),
        (
            lambda: widgets.TrainingDashboard(small(), [0, 1], references=[2.0]),
            r"references is \[2.0\]",
        ),
        (
            lambda: widgets.TrainingDashboard(small(), [0, 1], references={"x": "y"}),
            "give names and losses",
        ),
    ],
)
def test_a_value_of_the_wrong_kind_is_a_value_error(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_style_sheets_stay_inside_their_widget():
    for name in widgets.__all__:
        base, own = getattr(widgets, name)._css.split(f".minigpt-live.minigpt-{name} {{", 1)
        assert base.startswith(TeachingWidget._css.rstrip()) and "}" in own
        rules = re.sub(r"/\*.*?\*/", "", base, flags=re.DOTALL)
        for selectors in re.findall(r"^([^\s@{}][^{}]*)\{", rules, re.MULTILINE):
            assert all("minigpt-" in selector for selector in selectors.split(",")), selectors


def test_characters_in_words():
    assert [in_words(c) for c in "a \n\t"] == ['"a"', "space", "line break", "tab"]


@pytest.mark.parametrize(
    ("text", "used", "problem", "note"),
    [
        ("abc", "abc", "", ""),
        ("", "", "empty", ""),
        ("abcabc", "abca", "", "6 characters; only the first 4"),
        ("abéc", "", '"é" (position 2)', ""),
    ],
)
def test_text_is_checked_and_every_fault_explained(text, used, problem, note):
    got = check_text(text, known=list("abc"), limit=4, keep="first")
    assert got[0] == used
    assert problem in got[1] and bool(problem) == bool(got[1])
    assert note in got[2] and bool(note) == bool(got[2])


def test_the_end_of_a_text_is_kept_where_asked_and_any_character_without_a_vocabulary():
    assert check_text("abcdé", known=None, limit=2, keep="last")[0] == "dé"


@pytest.fixture
def shown(monkeypatch):
    """What a cell shows, one after the other."""
    shown = []
    for where in ("IPython.display.display", "minigpt_helpers.widgets._base.display"):
        monkeypatch.setattr(where, lambda data, **kwargs: shown.append(data))
    return shown


def test_a_cell_shows_a_picture_with_alt_text_and_the_live_view(shown):
    Plain()._ipython_display_()
    picture, live = shown
    assert picture["text/html"].startswith(
        '<div class="minigpt-still"><img alt="An empty picture, '
    )
    assert 'alt="An empty picture, &quot;quoted&quot;."' in picture["text/html"]
    assert f'src="data:image/png;base64,{picture["image/png"]}"' in picture["text/html"]
    assert picture["text/plain"] == 'An empty picture, "quoted".'
    assert "application/vnd.jupyter.widget-view+json" in live
    assert live["text/plain"] == repr(Plain()), "the same for every object"


def test_a_widget_that_starts_from_bad_text_shows_the_reason_as_its_picture(shown):
    plain = Plain()
    plain.problem = "The text is empty."
    plain._ipython_display_()
    assert shown[0]["text/plain"] == "The text is empty." and len(shown) == 2


CHINESE = "".join(map(chr, range(0x4E00, 0x4E00 + 3000)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("make", NEED_A_MODEL)
@pytest.mark.parametrize("text", [CHINESE[:8], "?"])
def test_a_large_alphabet_is_cut_in_messages_and_its_letters_are_boxes(make, text, shown):
    tokenizer = CharTokenizer(CHINESE)
    widget = make(MiniGPT(len(CHINESE), 4, 1, 1, 8, rng=np.random.default_rng(0)), tokenizer, text)
    assert bool(widget.problem) == (text == "?")
    widget._ipython_display_()
    alt = shown[0]["text/plain"]
    assert len(alt) < 400 and len(widget.problem) < 300
    if widget.problem:
        assert f'"?" (position 0). It knows: {CHINESE[:100]} … (3,000 characters)' in widget.problem


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("make", NEED_A_MODEL)
@pytest.mark.parametrize("text", ["$$", "$a $b", "cp $SRC_$2", r"\$x^{"])
def test_a_text_is_no_formula(make, text):
    tokenizer = CharTokenizer.from_text(text)
    model = MiniGPT(tokenizer.vocab_size, 4, 1, 1, 16, rng=np.random.default_rng(0))
    figure, alt = make(model, tokenizer, text).still()
    assert to_png(figure) and repr(text[:8])[:-1] in alt
    texts = [drawn.get_text() for drawn in figure.findobj(Text)]
    assert "$" in texts or any(repr(text) in title for title in texts)


def test_a_long_prompt_is_cut_in_the_title_and_whole_in_words():
    prompt = "abc" * 40
    model = MiniGPT(3, 4, 1, 1, 128, rng=np.random.default_rng(0))
    figure, alt = widgets.TemperatureExplorer(model, ABC, prompt).still()
    assert repr(prompt) in alt
    assert figure.axes[0].get_title() == f"next character after …{prompt[-39:]}'"


@pytest.mark.parametrize("name", widgets.__all__)
def test_every_widget_says_what_it_is(name):
    widget = getattr(widgets, name)
    assert issubclass(widget, TeachingWidget)
    assert widget.__doc__ and widget.__doc__ != TeachingWidget.__doc__
    assert 'export default widget("' + name + '"' in widget._esm


def test_the_package_alone_loads_no_widgets():
    code = (
        "import sys, minigpt_helpers; "
        "print([m for m in ('matplotlib', 'ipywidgets', 'IPython', 'anywidget') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_notebook_with_widgets_passes_strict_nbval(tmp_path, pytestconfig):
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in [SETUP, *CELLS]]
    )
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    NotebookClient(notebook, timeout=600, store_widget_state=False).execute()
    view = "application/vnd.jupyter.widget-view+json"
    shown = [[set(output.data) for output in cell.outputs] for cell in notebook.cells[1:]]
    picture = {"text/html", "image/png", "text/plain", DRAWN}
    assert shown == [[picture, {view, "text/plain"}]] * len(CELLS)
    nbformat.write(notebook, tmp_path / "widgets.ipynb")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--nbval",
            "--nbval-current-env",
            "-c",
            "pytest.ini",
            f"--nbval-sanitize-with={pytestconfig.rootpath / 'tests' / 'nbval_sanitize.cfg'}",
            "widgets.ipynb",
        ],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"{len(CELLS) + 1} passed" in done.stdout


@pytest.mark.parametrize(
    "name", ["AttentionMaskExplorer", "AttentionViewer", "TemperatureExplorer"]
)
def test_stills_are_the_same_each_time(name):
    tokenizer = CharTokenizer.from_text("the cat sat on the mat")
    model = MiniGPT(tokenizer.vocab_size, 16, 2, 2, 12, rng=np.random.default_rng(0))
    make = getattr(widgets, name)
    (first, alt), (second, same_alt) = (make(model, tokenizer).still() for _ in range(2))
    assert alt == same_alt and to_png(first) == to_png(second)
