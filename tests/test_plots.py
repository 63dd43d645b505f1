"""Pictures: what is drawn, what is said about it, and what is refused."""

import os
import subprocess
import sys
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Rectangle

from minigpt_helpers import MiniGPT, plots
from minigpt_helpers._drawn import drawn

ALT = "A 3 by 3 matrix of weights, the largest in the lower left corner."
NAMES = {"title": "Weights", "xlabel": "key", "ylabel": "query"}
CONFIG = {"vocab_size": 32, "embed_dim": 64, "num_heads": 4, "num_layers": 2, "max_seq_len": 64}
HISTORY = SimpleNamespace(
    steps=[1, 2, 3, 4], train_loss=[3.0, 2.0, 2.5, 1.5], val_steps=[0, 2, 4], val_loss=[3, 2.2, 2]
)


def one_of_each() -> dict[str, Figure]:
    matrix = np.arange(9.0).reshape(3, 3)
    one = {"matrix": matrix, "title": "scores", "row_labels": "a b", "col_labels": "a\nb"}
    return {
        "heatmap": plots.heatmap(matrix, "a b", "a\nb", mask=matrix > 6, **NAMES),
        "panels": plots.panels([one, one], xlabel="key", ylabel="query", title="Two"),
        "bars": plots.bars(list("ab\n"), [1, 2, 3], highlight=1, **NAMES),
        "pairs": plots.bars(list("ab"), [1, 2], second=[2, 1], names=("old", "new"), **NAMES),
        "curves": plots.curves({"one": ([1, 2], [1, 10])}, logy=True, logx=True, **NAMES),
        "table": plots.pair_table(matrix, "a\nb", title="Pairs"),
        "plane": plots.plane(lambda x, y: x * y, [[1, 1], [-1, 1]], [1, -1], title="Signs"),
        "loss": plots.loss_curve(HISTORY, {"bigram": 2.45}),
        "model": plots.gpt_diagram(CONFIG),
        "heads": plots.attention_grid(np.full((2, 3, 4, 4), 0.25), "a\nb ", title="All heads"),
    }


@pytest.fixture
def shown(monkeypatch):
    calls = []
    monkeypatch.setattr(
        "IPython.display.display", lambda data, metadata, raw: calls.append((data, raw))
    )
    return calls


# ---- showing ------------------------------------------------------------------------------------


def test_show_gives_html_with_alt_text_and_caption_and_a_plain_form(shown):
    fig = plots.heatmap(np.eye(2), **NAMES)
    assert plots.show(fig, 'Loss < 2 & "falling"\n  to the end', "Figure <1>") is None
    ((data, raw),) = shown
    assert raw and set(data) == {"text/html", "image/png", "text/plain", plots.DRAWN}
    page = data["text/html"]
    assert f'src="data:image/png;base64,{data["image/png"]}"' in page
    assert 'alt="Loss &lt; 2 &amp; &quot;falling&quot; to the end"' in page
    assert data["image/png"].startswith("iVBOR") and "max-width: 100%" in page
    assert "<figcaption>Figure &lt;1&gt;</figcaption>" in page
    assert data["text/plain"] == '[picture] Loss < 2 & "falling" to the end\nFigure <1>'


def test_no_caption_no_figcaption(shown):
    plots.show(plots.heatmap(np.eye(2), **NAMES), ALT)
    assert "figcaption" not in shown[0][0]["text/html"]
    assert shown[0][0]["text/plain"] == f"[picture] {ALT}"


@pytest.mark.parametrize("alt", ["", "a plot", " " * 30, None])
def test_a_missing_or_empty_alt_text_is_refused_with_advice(alt, shown):
    with pytest.raises(ValueError, match="cannot see the picture"):
        plots.show(plots.heatmap(np.eye(2), **NAMES), alt)
    assert shown == []


def test_the_same_picture_gives_the_same_bytes():
    first, second = one_of_each(), one_of_each()
    for name in first:
        png = plots.to_png(first[name])
        assert png == plots.to_png(second[name]), name
        assert b"Software" not in png and b"matplotlib" not in png


def test_pyplot_is_never_loaded_and_no_setting_changes():
    code = """
import sys
import matplotlib as mpl
before = mpl.rcParams.copy()  # (`dict(...)` would load pyplot)
import numpy as np
from minigpt_helpers import plots
plots.to_png(plots.heatmap(np.eye(2), title="t", xlabel="x", ylabel="y"))
assert "matplotlib.pyplot" not in sys.modules
assert mpl.rcParams.copy() == before
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


# ---- what was drawn, in numbers -----------------------------------------------------------------


def changed_figures() -> list[tuple[Figure, Figure]]:
    """Pairs of figures that differ in one thing."""
    x = np.arange(300.0)
    y = np.exp(-x / 100)
    bump = y + 0.05 * (x == 150)
    curves = lambda **more: plots.curves(**{"lines": {"a": (x, y)}, **NAMES, **more})  # noqa: E731
    cell = np.eye(5)
    cell[3, 1] = 0.1
    return [
        (curves(), curves(lines={"a": (x, bump)})),
        (curves(), curves(lines={"b": (x, y)})),
        (curves(), curves(logy=True)),
        (curves(), curves(title="Scores")),
        (curves(), curves(reference_lines={"best": 0.5})),
        (plots.heatmap(np.eye(5), **NAMES), plots.heatmap(cell, **NAMES)),
        (plots.heatmap(np.eye(5), **NAMES), plots.heatmap(np.eye(5), mask=np.eye(5), **NAMES)),
        (plots.heatmap(np.eye(2), "ab", **NAMES), plots.heatmap(np.eye(2), "ac", **NAMES)),
        (plots.heatmap(np.eye(2), **NAMES), plots.heatmap(np.eye(2), vmax=2.0, **NAMES)),
        (plots.bars("abc", [1, 2, 3], **NAMES), plots.bars("abc", [1, 2, 3.01], **NAMES)),
    ]


@pytest.mark.parametrize("pair", changed_figures())
def test_a_change_in_a_figure_changes_its_numbers(pair):
    one, other = pair
    assert drawn(one) != drawn(other)


def test_what_a_machine_does_to_the_last_digits_changes_no_number():
    rng = np.random.default_rng(0)
    wobble = lambda values: values * (1 + 1e-9 * rng.standard_normal(np.shape(values)))  # noqa: E731
    ties = np.arange(1, 65).reshape(8, 8) / 64  # each lies where some rounding turns
    loss = np.exp(-np.arange(1000) / 300)
    for values in (ties, np.full((8, 8), 1 / 3), np.zeros((8, 8))):
        one, other = (plots.heatmap(v, vmin=0, vmax=1, **NAMES) for v in (values, wobble(values)))
        assert drawn(one) == drawn(other)
    assert drawn(plots.curves({"a": (range(1000), wobble(loss))}, **NAMES)) == drawn(
        plots.curves({"a": (range(1000), loss)}, **NAMES)
    )


def test_the_numbers_of_a_picture_are_written_out():
    matrix = np.array([[0.0, 2.0], [np.nan, 1.0]])
    fig = plots.heatmap(matrix, "ab", "c ", colorbar_label="size", **NAMES)
    assert drawn(fig).splitlines() == [
        "axes: 'Weights', x 'key' linear ['c', '␣'], y 'query' linear ['a', 'b']",
        "image: (4, 3 seen) 2 times 0.0000 1.0000 0.5000",
        "1 patches: x0 (1) 0.5 times -1.0000, y0 (1) 0.5 times 1.0000, "
        "x1 (1) 0.5 times 1.0000, y1 (1) 1.5 times 1.0000",
        "colour bar: 'size' from 0 to 2",
    ]


# ---- the house style ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", one_of_each())
def test_every_picture_has_title_labels_large_type_and_a_white_card(name):
    fig = one_of_each()[name]
    ax = fig.axes[0]
    assert ax.get_title()
    if ax.axison:
        assert ax.get_xlabel() or fig.get_supxlabel()
        assert ax.get_ylabel() or fig.get_supylabel()
    assert to_hex(fig.get_facecolor()) == "#ffffff" == to_hex(ax.get_facecolor())
    plots.to_png(fig)
    texts = [text for text in fig.findobj(mpl.text.Text) if text.get_text().strip()]
    assert min(text.get_fontsize() for text in texts) >= 12
    dark = [text for text in texts if text.get_color() != "white"]
    assert {to_hex(text.get_color()) for text in dark} == {"#1a1a1a"}


def test_newline_space_and_tab_become_visible_in_glyphs_that_the_font_has():
    assert plots.visible("a\n b\t") == "a↵␣b⇥"
    font = FT2Font(f"{mpl.get_data_path()}/fonts/ttf/DejaVuSans.ttf")
    assert all(ord(char) in font.get_charmap() for char in plots.visible("\n \t") + "−")


def test_lines_differ_in_more_than_colour():
    lines = {str(i): ([0, 1], [0, i]) for i in range(6)}
    drawn = plots.curves(lines, **NAMES).axes[0].get_lines()
    assert len({line.get_color() for line in drawn}) == 6
    assert len({str(line._dash_pattern) for line in drawn}) == 6


# ---- whatever the text, whatever the settings ---------------------------------------------------

TEXTS = ["$", "$$", "$a $b", r"cp $SRC_$2", r"\$5 or \frac{1}", "_x", "50 %", "{}", "猫は", "שלום",
         "a\0b", "e\u0301", "🙂"]  # fmt: skip


def pictures_of(text: str) -> dict[str, Figure]:
    """A picture of each kind with the text wherever a reader's text may be."""
    one = {"matrix": np.eye(2), "title": text, "row_labels": [text] * 2, "col_labels": [text] * 2}
    words = {"title": text, "xlabel": text, "ylabel": text}
    return {
        "panels": plots.panels([one], xlabel=text, ylabel=text, title=text, colorbar_label=text),
        "bars": plots.bars([text, "b"], [1, 2], second=[2, 1], names=(text, "b"), **words),
        "curves": plots.curves({text: ([1, 2], [3, 4])}, reference_lines={text: 2.0}, **words),
        "loss": plots.loss_curve(HISTORY, {text: 2.0}, title=text, ylabel=text),
    }


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_drawn_as_it_is_and_never_as_a_formula(text):
    for name, fig in pictures_of(text).items():
        assert plots.to_png(fig), name
        for each in fig.findobj(mpl.text.Text):
            shown, math = each._preprocess_math(each.get_text())
            assert (shown, math) == (each.get_text(), False), name
        titles = [ax.get_title() for ax in fig.axes] + [fig.get_suptitle()]
        assert text in titles
    legend = pictures_of(text)["curves"].axes[0].get_legend().get_texts()
    assert [each.get_text().strip() for each in legend] == [text, f"{text}: 2.00"]


def test_a_figure_of_the_readers_own_is_shown_under_any_settings():
    with mpl.rc_context({"text.usetex": True}):
        fig = Figure()
        ax = fig.subplots()
        ax.plot([1e-4, 1], [1, 2])
        ax.text(0.5, 1.5, "$a $b")
        ax.set(title="$", xscale="log")
    assert plots.to_png(fig)


def test_a_dollar_sign_leaves_ink_where_it_stands():
    def width(name):
        fig = plots.curves({"a": ([0], [0])}, title=name, xlabel="x", ylabel="y")
        plots.to_png(fig)
        return fig.axes[0].title.get_window_extent().width

    assert width("$a $b") > width("a b") > width("ab")


def test_numbers_at_logarithmic_axes_are_no_formulas():
    fig = plots.curves({"a": ([1e-9, 1e7], [0.01, 1000])}, logx=True, logy=True, **NAMES)
    plots.to_png(fig)
    ax = fig.axes[0]
    labels = {t.get_text() for axis in (ax.xaxis, ax.yaxis) for t in axis.get_ticklabels()}
    assert {"10⁻⁹", "1", "0.1", "1000"} <= labels and not any("$" in text for text in labels)
    short = plots.curves({"a": ([1, 2], [2, 3])}, logy=True, **NAMES)  # less than a decade
    plots.to_png(short)
    assert "3" in {t.get_text() for t in short.axes[0].yaxis.get_ticklabels(minor=True)}


SETTINGS = """
text.usetex: True
text.parse_math: True
axes.formatter.use_mathtext: True
savefig.dpi: 20
savefig.transparent: True
savefig.bbox: standard
savefig.facecolor: red
figure.facecolor: black
axes.facecolor: black
axes.grid: True
axes.labelsize: 40
axes.titlelocation: left
font.family: monospace
image.cmap: jet
image.origin: lower
image.interpolation: bicubic
lines.marker: x
xtick.labelsize: 3
xtick.direction: in
axes.prop_cycle: cycler('color', ['ff0000'])
hatch.color: red
"""


def test_a_users_matplotlibrc_changes_nothing(tmp_path):
    code = """
import hashlib, sys
import numpy as np
from minigpt_helpers import load_pretrained, plots
from minigpt_helpers.widgets import BlockBench, GraphExplorer, TemperatureExplorer
words = {"title": "t", "xlabel": "x", "ylabel": "y"}
model, tokenizer = load_pretrained()
figures = [
    plots.heatmap(np.eye(2), "ab", "ab", **words),
    plots.bars("ab", [1, 2], highlight=1, **words),
    plots.curves({"a": ([1, 2], [1, 100])}, logy=True, reference_lines={"b": 3}, **words),
    GraphExplorer("a*b", a=1.0, b=2.0).still()[0],
    BlockBench().still()[0],
    TemperatureExplorer(model, tokenizer, "the ").still()[0],
]
print([hashlib.sha256(plots.to_png(figure)).hexdigest() for figure in figures])
"""
    printed = []
    for settings in ("", SETTINGS):
        (tmp_path / "matplotlibrc").write_text(settings)
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ
            | {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc"), "MPLCONFIGDIR": str(tmp_path)},
            check=True,
            timeout=600,
            capture_output=True,
            text=True,
        )
        printed.append(done.stdout)
    assert printed[0] == printed[1]


# ---- heat maps ----------------------------------------------------------------------------------


def texts_in(ax):
    return [text.get_text() for text in ax.texts]


def test_heatmap_writes_numbers_and_labels_and_hides_masked_and_infinite_cells():
    matrix = np.array([[0.25, -np.inf], [-0.5, 0.75]])
    fig = plots.heatmap(matrix, "a ", "\nb", mask=[[False, False], [False, True]], **NAMES)
    ax = fig.axes[0]
    assert texts_in(ax) == ["0.25", "−0.50"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "␣"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["↵", "b"]
    hatched = [patch.get_xy() for patch in ax.patches if patch.get_hatch()]
    assert hatched == [(0.5, -0.5), (0.5, 0.5)]


def test_a_table_of_pairs_writes_pair_and_count_into_each_cell():
    fig = plots.pair_table(
        np.arange(9).reshape(3, 3), "\nan", title="Pairs", rows="an", columns="\na"
    )
    assert [text.get_text() for text in fig.axes[0].texts] == [
        "a↵",
        "3",
        "aa",
        "4",
        "n↵",
        "6",
        "na",
        "7",
    ]


def test_broadcasting_hatches_what_numpy_repeats():
    def drawn(one, other):
        (ax,) = plots.broadcasting(one, other, title="Sum").axes
        return [bool(box.get_hatch()) for box in ax.patches], {text.get_text() for text in ax.texts}

    assert drawn((2, 3), (3,)) == (
        [False] * 6 + [False] * 3 + [True] * 3 + [False] * 6, {"(2, 3)", "(3,)", "+", "=", ""}
    )
    assert sum(drawn((2, 1), (1, 3))[0]) == 4 + 3
    with pytest.raises(ValueError, match=r"\(2, 2, 2\)"):
        plots.broadcasting((2, 2, 2), (2,), title="Sum")


def test_drawings_of_attention_name_each_box():
    def words(fig):
        return [text.get_text() for text in fig.axes[0].texts]

    fig = plots.query_key_value("cats", 2)
    assert {"q t", "k c", "w a", "v t", "sum"} <= set(words(fig))
    assert sum(bool(box.get_hatch()) for box in fig.axes[0].patches) == 3  # key, weight, value of s
    fig = plots.split_heads(3, 4, 2)
    assert len([box for box in fig.axes[0].patches if isinstance(box, Rectangle)]) == 3 * 12
    assert {"head 0", "head 1", "(2, 3, 2)\n(H, T, d)"} <= set(words(fig))
    assert {"a, 1", "a, 5", "␣, 3"} <= set(words(plots.token_and_position("cat sat")))


def test_a_plane_marks_the_signs_and_where_they_change():
    fig = plots.plane(lambda x, y: x - y, [[1, 0], [0, 1]], [1, -1], title="Signs")
    assert [text.get_text() for text in fig.axes[0].texts] == ["+1", "-1"]
    assert [line.get_marker() for line in fig.axes[0].lines] == ["o", "s"]
    boundary = fig.axes[0].collections[-1].get_paths()[0].vertices
    assert np.allclose(boundary[:, 0], boundary[:, 1])


def test_numbers_are_left_out_of_large_maps_unless_asked_for():
    large = np.ones((9, 9))
    assert texts_in(plots.heatmap(large, **NAMES).axes[0]) == []
    assert texts_in(plots.heatmap(large, numbers=".0f", **NAMES).axes[0]) == ["1"] * 81
    assert texts_in(plots.heatmap(np.eye(2), numbers=False, **NAMES).axes[0]) == []


def test_numbers_can_be_read_on_dark_and_on_bright_cells():
    dark, bright = plots.heatmap(np.array([[0.0, 1.0]]), **NAMES).axes[0].texts
    assert dark.get_color() == "white" and bright.get_color() == "#1a1a1a"


def test_panels_share_one_scale_or_not():
    maps = [{"matrix": np.eye(2), "title": "a"}, {"matrix": 5 * np.eye(2), "title": "b"}]
    shared = plots.panels(maps, xlabel="x", ylabel="y", colorbar_label="value")
    assert [ax.images[0].get_clim() for ax in shared.axes[:2]] == [(0, 5), (0, 5)]
    assert len(shared.axes) == 3 and shared.axes[2].get_ylabel() == "value"
    own = plots.panels(maps, xlabel="x", ylabel="y", shared_scale=False)
    clims = [ax.images[0].get_clim() for ax in own.axes if ax.images and ax.get_title()]
    assert clims == [(0, 1), (0, 5)]
    bare = plots.panels(maps, xlabel="x", ylabel="y", colorbars=False)
    assert len(bare.axes) == 2


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("side", [4, 8, 24])
@pytest.mark.parametrize("options", [{}, {"shared_scale": False}, {"colorbars": False}])
def test_several_panels_fit_a_slide(count, side, options):
    maps = [{"matrix": np.eye(side), "title": "a"}] * count
    figure = plots.panels(maps, xlabel="x", ylabel="y", **options)
    assert figure.get_figwidth() <= plots.WIDEST + 1e-9 and figure.get_figheight() <= 4.6


def test_a_map_without_a_single_visible_cell_can_be_drawn():
    fig = plots.heatmap(np.full((2, 2), -np.inf), **NAMES)
    assert texts_in(fig.axes[0]) == [] and plots.to_png(fig)


# ---- bars and curves ----------------------------------------------------------------------------


def test_bars_highlight_and_pairs():
    ax = plots.bars(list("abc"), [1, 2, 3], highlight=[0, 2], **NAMES).axes[0]
    assert [bool(bar.get_hatch()) for bar in ax.patches] == [True, False, True]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b", "c"]
    pair = plots.bars("ab", [1, 2], second=[3, 4], names=("old", "new"), **NAMES).axes[0]
    assert [bar.get_height() for bar in pair.patches] == [1, 2, 3, 4]
    assert [t.get_text() for t in pair.get_legend().get_texts()] == ["old", "new"]


def test_curves_draw_reference_lines_and_log_axes():
    lines = {"one": ([1, 2], [1, 10])}
    fig = plots.curves(lines, reference_lines={"best": 2}, logx=True, logy=True, **NAMES)
    ax = fig.axes[0]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["one", "best: 2.00"]


def test_loss_curve_shows_raw_smoothed_validation_and_references():
    ax = plots.loss_curve(HISTORY, {"bigram": 2.45, "entropy": 1.2}).axes[0]
    raw, smoothed, validation = ax.get_lines()[:3]
    assert raw.get_ydata().tolist() == HISTORY.train_loss and raw.get_alpha() < 0.5
    assert smoothed.get_ydata().tolist() == HISTORY.train_loss  # four steps: nothing to smooth
    assert validation.get_xdata().tolist() == HISTORY.val_steps
    names = [t.get_text() for t in ax.get_legend().get_texts()]
    assert names == ["training (smoothed)", "validation", "bigram: 2.45", "entropy: 1.20"]


def test_loss_curve_without_validation_or_without_steps():
    empty = SimpleNamespace(steps=[], train_loss=[], val_steps=[], val_loss=[])
    assert plots.to_png(plots.loss_curve(empty))


def test_smooth_is_the_mean_of_the_last_values():
    values = np.random.default_rng(0).normal(size=50)
    slow = [values[max(0, i - 6) : i + 1].mean() for i in range(50)]
    np.testing.assert_allclose(plots.smooth(values, 7), slow)
    np.testing.assert_allclose(plots.smooth(values), plots.smooth(values, 2))


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: plots.heatmap(np.ones(3), **NAMES), r"shape \(3,\)"),
        (lambda: plots.heatmap(np.eye(2), mask=np.ones((3, 2)), **NAMES), r"\(3, 2\).*\(2, 2\)"),
        (lambda: plots.heatmap(np.ones((2, 3)), "abc", **NAMES), "row_labels has 3.*matrix has 2"),
        (lambda: plots.heatmap(np.ones((2, 3)), None, "ab", **NAMES), "col_labels has 2.*has 3"),
        (lambda: plots.panels([], xlabel="x", ylabel="y"), "at least one map"),
        (lambda: plots.pair_table(np.eye(2), "abc", title="P"), r"\(2, 2\).*3 chars"),
        (lambda: plots.pair_table(np.eye(2), "ab", title="P", rows="c"), "'c' is not one"),
        (lambda: plots.bars("ab", [1, 2, 3], **NAMES), "values has 3.*labels has 2"),
        (lambda: plots.bars("ab", [1, 2], second=[1], **NAMES), "second has 1.*labels has 2"),
        (lambda: plots.curves({"a": ([1], [1, 2])}, **NAMES), r"'a'.*\(1,\).*\(2,\)"),
        (lambda: plots.smooth([1.0], 0), "at least 1, got 0"),
        (lambda: plots.query_key_value("cats", 4), "from 0 to 3, got 4"),
        (lambda: plots.split_heads(3, 5, 2), "D=5, H=2"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_sizes(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# ---- a whole model ------------------------------------------------------------------------------


def words_in(fig: Figure) -> str:
    return " ".join(text.get_text() for ax in fig.axes for text in [ax.title, *ax.texts])


@pytest.mark.parametrize(
    "sizes", [{}, {"num_layers": 1, "num_heads": 1}, {"embed_dim": 768, "num_layers": 12}]
)
def test_the_diagram_counts_what_the_model_counts(sizes):
    model = MiniGPT(**CONFIG | sizes, dtype=np.float32)
    words = words_in(plots.gpt_diagram(model.config))
    block = model.blocks[0]
    counted = [model, block.attention, block.feed_forward, block.norm1, model.head]
    for part in counted:
        assert f"{part.num_parameters():,}" in words
    assert "(T, V)" in words and "(T, D)" in words


def test_the_diagram_without_counts_gives_no_number_away():
    words = words_in(plots.gpt_diagram(CONFIG, counts=False))
    assert "attention" in words and not {"108,288", "2,048", "16,640"} & set(words.split())


def test_the_diagram_names_the_size_that_is_missing():
    with pytest.raises(ValueError, match="num_layers"):
        plots.gpt_diagram({"vocab_size": 3, "embed_dim": 4, "num_heads": 1})


def test_the_grid_has_a_map_for_each_head_in_one_scale():
    weights = np.zeros((2, 3, 4, 4))
    weights[1, 2, 3, 0] = 1
    fig = plots.attention_grid(weights, "a\nb ")
    maps = [ax for ax in fig.axes if ax.images]
    assert len(maps) == 6 and maps[5].get_title() == "layer 1, head 2"
    assert all(ax.images[0].get_clim() == (0, 1) for ax in maps)
    assert maps[5].images[0].get_array()[3, 0] == 1
    assert [label.get_text() for label in maps[3].get_xticklabels()] == ["a", "↵", "b", "␣"]


def test_the_grid_refuses_weights_of_another_text():
    with pytest.raises(ValueError, match=r"5 tokens.*\(2, 3, 4, 4\)"):
        plots.attention_grid(np.zeros((2, 3, 4, 4)), "abcde")
