"""Pictures for the lessons, in one style, and the one helper that shows them.

Each function takes arrays and returns a `matplotlib.figure.Figure`; `show(fig, alt)` puts it into
the notebook together with a text for those who cannot see it. Every picture is a white card with
dark text, so that it reads the same in the light theme, in the dark theme and on paper.
"""

from __future__ import annotations

import base64
import html
import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter, LogFormatterMathtext
from PIL import Image

from minigpt_helpers._drawn import drawn

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#6b6b6b"
COLOURS = [BLUE, ORANGE, "#009e73", "#cc79a7", "#7a5195", "#56b4e9"]  # after Okabe and Ito (2008)
DASHES = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2))]  # for prints without colour
CARD = {"bbox_inches": "tight", "pad_inches": 0.15}
ORANGE_BAR = {"facecolor": ORANGE, "hatch": "//", "edgecolor": "white"}
HEAT = "cividis"
DRAWN = "text/x-minigpt-drawn"  # a form that only tests read
WIDEST = 10.7  # inches: fills a slide, and 12-point text is still read from the back row
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 12.0,
    "axes.labelsize": 12.0,
    "axes.titlesize": 14.0,
    "axes.titleweight": "bold",
    **dict.fromkeys(["figure.facecolor", "axes.facecolor"], "white"),
    "axes.edgecolor": "#333333",
    **dict.fromkeys(["text.color", "axes.labelcolor", "xtick.color", "ytick.color"], "#1a1a1a"),
    **dict.fromkeys(["axes.spines.top", "axes.spines.right"], False),
    **dict.fromkeys(["text.parse_math", "text.usetex"], False),  # a text is never a formula
    "lines.linewidth": 2.2,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "white",  # readable on top of lines
}
_VISIBLE = {"\n": "↵", " ": "␣", "\t": "⇥"}
_NO_GLYPH = r"Glyph \d+ |Matplotlib currently does not support "


def visible(text: str) -> str:
    """The text as it can be seen in a label: newlines as ↵, spaces as ␣, tabs as ⇥, other signs
    without a picture as □, and an accent without a letter over a ring."""
    shown = [_VISIBLE.get(char, char if char.isprintable() else "□") for char in text]
    return ("◌" if "\u0300" <= text[:1] < "\u0370" else "") + "".join(shown)


@contextmanager
def style() -> Iterator[None]:
    """Draw in the house style: matplotlib's own defaults and ours, whatever a matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def new_figure(width: float = 7.0, height: float = 4.0, columns: int = 1) -> tuple[Figure, list]:
    """An empty figure in the house style, in inches, and its list of axes side by side.

    Draw under `with style():` if you add titles and labels of your own.
    """
    with style():
        fig = Figure(figsize=(width, height), layout="constrained")
        return fig, list(fig.subplots(1, columns, squeeze=False)[0])


def show(fig: Figure, alt: str, caption: str | None = None) -> None:
    """Display `fig` as the output of the cell, with its alt text and, below it, a caption.

    `alt` says in one or two sentences what the picture tells; shorter than 15 characters is a
    `ValueError`. The picture is stored inside the notebook: no file, no network.
    """
    if not isinstance(alt, str) or len(alt.strip()) < 15:
        raise ValueError(
            f"alt={alt!r} is too short. Write one or two sentences for a reader who cannot see the "
            'picture: what is drawn, and what one should notice, such as "Loss against training '
            'step: it falls from 3.3 to 2.1 and then stays level."'
        )
    alt = " ".join(alt.split())
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    display_picture(
        fig,
        alt,
        f'<figure style="margin: 0.5em 0">{{}}{below}</figure>',
        plain=f"[picture] {alt}" + (f"\n{caption}" if caption else ""),
    )


def display_picture(
    fig: Figure, alt: str, page: str, plain: str, metadata: dict | None = None
) -> None:
    """Display `fig` in each form that somebody reads: in the HTML `page`, where `{}` stands for
    the picture with its `alt` text, as `plain` text, and as the PNG that LaTeX and Markdown take.
    What was drawn stands beside them in numbers, for tests; `metadata` is stored with the output.
    """
    from IPython.display import display

    data = base64.b64encode(to_png(fig)).decode("ascii")
    picture = (
        f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}" '
        'style="max-width: 100%; height: auto">'
    )
    page = page.replace("{}", picture, 1)
    forms = {"text/html": page, "image/png": data, "text/plain": plain, DRAWN: drawn(fig)}
    display(forms, metadata=metadata, raw=True)


def to_png(fig: Figure, dpi: int = 110) -> bytes:
    """The figure as PNG; the same figure, drawn again, gives the same bytes.

    A letter that the font lacks is a box. 256 colours are enough: they are chosen for each picture,
    and a notebook stays a third as large.
    """
    image, buffer = io.BytesIO(), io.BytesIO()
    with style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", _NO_GLYPH, UserWarning)
        for text in fig.findobj(Text):  # also where the figure was made under other settings
            text.set(parse_math=False, usetex=False)
        for axis in fig.findobj(Axis):
            _plain_numbers(axis)
        fig.savefig(image, format="png", dpi=dpi, **CARD)
    colours = Image.open(image).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    colours.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


class _PlainLog(LogFormatter):
    """Numbers at a logarithmic axis without matplotlib's formulas: 0.01, 1000, 10⁻⁸."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        if not super().__call__(x, pos):  # this tick has no number
            return ""
        digits, e, power = f"{x:g}".partition("e")
        if not e:
            return digits
        raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"10{raised}" if digits == "1" else f"{digits}·10{raised}"


def _plain_numbers(axis: Axis) -> None:
    for of, replace in [
        (axis.get_major_formatter(), axis.set_major_formatter),
        (axis.get_minor_formatter(), axis.set_minor_formatter),
    ]:
        if isinstance(of, LogFormatterMathtext):
            replace(_PlainLog(labelOnlyBase=of.labelOnlyBase))


# ---- heat maps ----------------------------------------------------------------------------------


def heatmap(
    matrix: np.ndarray,
    row_labels: Sequence[str] | None = None,
    col_labels: Sequence[str] | None = None,
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    numbers: bool | str | None = None,
    mask: np.ndarray | None = None,
    **scale: object,
) -> Figure:
    """A matrix `(rows, columns)` as coloured cells; `scale`: `colorbar_label`, `vmin`, `vmax`.

    `numbers`: True or a format such as ".1f" writes the value into each cell; None does so when
    there are at most 64 cells. `mask`: True where a cell is hidden (drawn hatched); cells that are
    NaN or infinite are hidden too.
    """
    one = dict(matrix=matrix, row_labels=row_labels, col_labels=col_labels)
    one |= dict(title=title, numbers=numbers, mask=mask)
    return panels([one], xlabel=xlabel, ylabel=ylabel, **scale)


def panels(
    maps: Sequence[Mapping[str, object]],
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    colorbar_label: str = "",
    vmin: float | None = None,
    vmax: float | None = None,
    shared_scale: bool = True,
    colorbars: bool = True,
) -> Figure:
    """Several heat maps side by side: scores -> masked -> weights.

    Each map is a dict with `matrix` and `title`, and, if wanted, `row_labels`, `col_labels`,
    `numbers`, `mask` as in `heatmap`. With `shared_scale` one colour bar holds for all. Without
    `colorbars` there is more room for the cells: fit where each has its number.
    """
    if not maps:
        raise ValueError("panels needs at least one map, got an empty list")
    cells = [_masked(each["matrix"], each.get("mask")) for each in maps]
    if shared_scale and vmin is None:
        vmin = min((c.min() for c in cells if c.count()), default=0.0)
    if shared_scale and vmax is None:
        vmax = max((c.max() for c in cells if c.count()), default=1.0)
    rows = max(c.shape[0] for c in cells)
    columns = max(c.shape[1] for c in cells)
    bars = (1 if shared_scale else len(cells)) if colorbars else 0
    room = WIDEST - 0.6 - 0.25 * len(cells) - 0.75 * bars  # labels, gaps, colour bars
    tallest = 9.0 if len(cells) == 1 else 3.3  # several share a slide with its words
    cell = min(0.62, tallest / max(rows, columns), room / (columns * len(cells)))
    width = len(cells) * max(2.2, columns * cell) + WIDEST - room
    fig, axes = new_figure(width, max(2.2, rows * cell) + 1.2, len(cells))
    with style():
        if title:
            fig.suptitle(title, weight="bold")
        for i, (ax, values, each) in enumerate(zip(axes, cells, maps)):
            image = _draw_heatmap(ax, values, each, vmin, vmax, min(12.0, 28 * cell))
            ax.set(xlabel=xlabel, ylabel=ylabel if i == 0 else "")
            if colorbars and (not shared_scale or i == len(cells) - 1):
                where = axes if shared_scale else ax
                fig.colorbar(image, ax=where, label=colorbar_label, shrink=0.9)
    return fig


def _masked(matrix: object, mask: object) -> np.ma.MaskedArray:
    matrix = np.asarray(matrix, dtype=float)
    if matrix.ndim != 2:
        raise ValueError(f"a heat map needs a matrix (rows, columns), got shape {matrix.shape}")
    hidden = ~np.isfinite(matrix)
    if mask is not None:
        mask = np.asarray(mask, dtype=bool)
        if mask.shape != matrix.shape:
            raise ValueError(f"mask has shape {mask.shape}, the matrix has shape {matrix.shape}")
        hidden |= mask
    return np.ma.array(matrix, mask=hidden)


def _draw_heatmap(ax: Axes, values: np.ma.MaskedArray, options: Mapping, vmin, vmax, number_size):
    image = ax.imshow(values, cmap=HEAT, vmin=vmin, vmax=vmax, aspect="equal")
    ax.set_title(options["title"])
    ax.spines[:].set_visible(False)
    for axis, size, key in zip((ax.yaxis, ax.xaxis), values.shape, ("row_labels", "col_labels")):
        labels = options.get(key)
        if labels is not None:
            if len(labels) != size:
                raise ValueError(f"{key} has {len(labels)} labels, the matrix has {size}")
            axis.set_ticks(range(size), [visible(str(label)) for label in labels])
    for row, column in np.argwhere(np.ma.getmaskarray(values)):
        corner = (column - 0.5, row - 0.5)
        ax.add_patch(Rectangle(corner, 1, 1, fc="#f2f2f2", ec="#bbbbbb", hatch="///", linewidth=0))
    numbers = options.get("numbers")
    if numbers or (numbers is None and values.size <= 64):
        form = numbers if isinstance(numbers, str) else ".2f"
        for row, column in np.argwhere(~np.ma.getmaskarray(values)):
            value = float(values[row, column])
            text = format(value, form).replace("-", "−")
            look = {"color": _ink(image, value), "size": number_size}
            ax.text(column, row, text, ha="center", va="center", **look)
    return image


def _ink(image, value: float) -> str:
    """White or black, whichever is read better on the colour of `value`."""
    brightness = np.dot(image.cmap(image.norm(value))[:3], [0.299, 0.587, 0.114])
    return "white" if brightness < 0.5 else "#1a1a1a"


def pair_table(
    counts: np.ndarray,
    chars: Sequence[str],
    *,
    title: str,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> Figure:
    """A bigram table `counts` `(V, V)`: in each cell the pair and below it how often it came.

    A row is the first character of a pair, a column the next. `rows` and `columns` choose some of
    `chars`. The colour follows the root of the count, so that rare pairs are seen beside frequent ones.
    """
    counts = np.asarray(counts, dtype=float)
    if counts.shape != (len(chars), len(chars)):
        raise ValueError(
            f"counts has shape {counts.shape}, for {len(chars)} chars it must be square"
        )
    chars = list(chars)
    rows, columns = list(rows or chars), list(columns or chars)
    unknown = [char for char in rows + columns if char not in chars]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not one of chars: {''.join(chars)!r}")
    chosen = counts[np.ix_([chars.index(a) for a in rows], [chars.index(b) for b in columns])]
    cell = min(0.62, (WIDEST - 0.8) / len(columns))  # inches
    fig, (ax,) = new_figure(cell * len(columns) + 0.8, cell * len(rows) + 1.2)
    with style():
        options = dict(title=title, row_labels=rows, col_labels=columns, numbers=False)
        image = _draw_heatmap(ax, np.ma.array(np.sqrt(chosen)), options, 0.0, None, 0)
        ax.set(xlabel="next character", ylabel="character")
        for (i, j), count in np.ndenumerate(chosen):
            ink = {"color": _ink(image, np.sqrt(count)), "ha": "center", "va": "center"}
            ink["in_layout"] = False  # inside its cell: laying out 1,458 texts takes seconds
            pair = visible(rows[i] + columns[j])
            ax.text(j, i - 0.2, pair, size=24 * cell, **ink)
            ax.text(j, i + 0.22, f"{count:.0f}", size=20 * cell, **ink)
    return fig


# ---- drawings of shapes and of ways -------------------------------------------------------------

PALE = ["#cfe3f3", "#fbdcc4", "#cfeadf", "#f3dcea", "#ded8ea", "#d8eefa"]  # COLOURS, as a ground


def _canvas(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    """A figure without axes, its unit the inch, y downward."""
    fig, (ax,) = new_figure(width, height)
    with style():
        ax.set(xlim=(0, width), ylim=(height - 0.5, 0), title=title)
        ax.axis("off")
    return fig, ax


def _grid(ax: Axes, x: float, y: float, shape: tuple[int, int], cell: float, ground) -> None:
    """Rows and columns of boxes; `ground(row, column)` is the look of each."""
    for row, column in np.ndindex(*shape):
        look = {"ec": "#333333", "linewidth": 1.0} | ground(row, column)
        ax.add_patch(Rectangle((x + column * cell, y + row * cell), cell, cell, **look))


def broadcasting(one: tuple, other: tuple, *, title: str, sign: str = "+") -> Figure:
    """How numpy fits two shapes of at most two axes: what it repeats is hatched."""
    whole = np.broadcast_shapes(one, other)
    if not 1 <= len(whole) <= 2:
        raise ValueError(f"broadcasting draws one or two axes, the result has shape {whole}")
    rows, columns = (1,) * (2 - len(whole)) + whole
    cell = min(0.55, (WIDEST - 2.6) / (3 * columns))
    fig, ax = _canvas(3 * columns * cell + 2.6, rows * cell + 1.4, title)
    with style():
        x = 0.3
        for i, (shape, after) in enumerate([(one, sign), (other, "="), (whole, "")]):
            own = (1,) * (2 - len(shape)) + tuple(shape)

            def ground(row: int, column: int, own=own, i=i) -> dict:
                if row < own[0] and column < own[1]:
                    return {"fc": PALE[i]}
                return {"fc": "white", "ec": "#888888", "hatch": "///", "linestyle": ":"}

            _grid(ax, x, 0.15, (rows, columns), cell, ground)
            x += columns * cell
            ax.text(x - columns * cell / 2, rows * cell + 0.45, str(tuple(shape)), ha="center")
            ax.text(x + 0.5, 0.15 + rows * cell / 2, after, ha="center", va="center", size=18)
            x += 1.0
    return fig


def plane(
    answer: Callable[[np.ndarray, np.ndarray], np.ndarray],
    points: Sequence[Sequence[float]],
    wanted: Sequence[float],
    *,
    title: str,
    reach: float = 2.0,
) -> Figure:
    """What a model of two inputs answers everywhere, and where its answer changes sign.

    `answer(x, y)` takes two arrays of one shape. `points` `(N, 2)` are drawn as circles where
    `wanted` `(N,)` is positive, as squares elsewhere. `reach`: both axes from -reach to reach.
    """
    at = np.linspace(-reach, reach, 81)
    x, y = np.meshgrid(at, at)
    values = np.asarray(answer(x, y), dtype=float)  # (81, 81)
    fig, (ax,) = new_figure(5.6, 4.0)
    with style():
        ground = ax.contourf(x, y, values, levels=15, cmap=HEAT)
        if values.min() < 0 < values.max():
            ax.contour(x, y, values, levels=[0.0], colors="white", linewidths=3, linestyles="--")
        for (a, b), sign in zip(points, wanted, strict=True):
            mark = "o" if sign > 0 else "s"
            ax.plot(a, b, mark, color="white", markeredgecolor="black", markersize=15)
            ax.annotate(
                f"{sign:+g}",
                (a, b),
                (0, 13),
                textcoords="offset points",
                ha="center",
                bbox={"fc": "white", "ec": "none", "pad": 1.0, "alpha": 0.85},
            )
        ax.set(title=title, xlabel="input 1", ylabel="input 2", aspect="equal")
        fig.colorbar(ground, ax=ax, label="answer")
    return fig


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], **look) -> None:
    look = {"arrowstyle": "-|>", "color": "#333333", "linewidth": 1.4} | look
    ax.annotate("", end, start, arrowprops=look)


def query_key_value(text: str, position: int) -> Figure:
    """What attention does for one position: its query meets the keys of all up to it, the weights
    add up their values. Later characters are hatched: the mask hides them."""
    if not 0 <= position < len(text):
        raise ValueError(f"position must be from 0 to {len(text) - 1}, got {position}")
    chars, left, step = [visible(char) for char in text], 2.6, 1.2
    rows = {"query": 0.3, "keys": 1.5, "weights": 2.5, "values": 3.5, "new vector": 4.7}
    words = [
        f"query of {chars[position]}",
        "keys",
        "weights:\nsoftmax of q · k",
        "values",
        f"new vector of {chars[position]}",
    ]
    fig, ax = _canvas(left + step * len(text) + 0.3, 6.1, "One position looks back")
    with style():
        for word, y in zip(words, rows.values()):
            ax.text(0.1, y + 0.25, word, va="center")

        def box(row: str, i: int, label: str, ground: str) -> None:
            hidden = i > position
            look = {"fc": "white", "ec": "#888888", "hatch": "///", "linestyle": ":"}
            look = look if hidden else {"fc": ground, "ec": "#333333"}
            ax.add_patch(Rectangle((left + step * i, rows[row]), 0.8, 0.5, **look))
            ink = {"color": GREY, "backgroundcolor": "white"} if hidden else {}
            ax.text(left + step * i + 0.4, rows[row] + 0.25, label, ha="center", va="center", **ink)

        def middle(i: int) -> float:
            return left + step * i + 0.4

        box("query", position, f"q {chars[position]}", PALE[1])
        box("new vector", position, "sum", PALE[1])
        for i, char in enumerate(chars):
            box("keys", i, f"k {char}", PALE[0])
            box("weights", i, f"w {char}", PALE[4])
            box("values", i, f"v {char}", PALE[2])
            if i <= position:
                _arrow(ax, (middle(position), 0.82), (middle(i), 1.48))
                _arrow(ax, (middle(i), 2.02), (middle(i), 2.48))
                _arrow(ax, (middle(i), 3.02), (middle(i), 3.48))
                _arrow(ax, (middle(i), 4.02), (middle(position), 4.68))
    return fig


def split_heads(T: int, D: int, H: int) -> Figure:
    """How one array `(T, D)` becomes H arrays `(T, d)`, d = D / H: each head has its colour."""
    if min(T, D, H) < 1 or D % H:
        raise ValueError(f"H must divide D, and all must be at least 1: got T={T}, D={D}, H={H}")
    d, cell = D // H, 0.45
    wide = D * cell
    high = H * (T * cell + 0.35)
    fig, ax = _canvas(
        3.4 + 2 * wide + (H - 1) * 0.2 + d * cell + 1.2, high + 1.3, "Split into heads"
    )
    with style():
        x, y = 0.2, (high - T * cell) / 2
        whole = f"({T}, {D})\n(T, D)"
        _grid(ax, x, y, (T, D), cell, lambda row, column: {"fc": PALE[column // d % len(PALE)]})
        ax.text(x + wide / 2, y + T * cell + 0.15, whole, ha="center", va="top")
        _arrow(ax, (x + wide + 0.15, high / 2), (x + wide + 1.35, high / 2))
        ax.text(x + wide + 0.75, high / 2 - 0.15, "reshape", ha="center")
        x += wide + 1.5
        for head in range(H):
            look = {"fc": PALE[head % len(PALE)]}
            _grid(ax, x + head * (d * cell + 0.2), y, (T, d), cell, lambda *_, look=look: look)
        between = wide + (H - 1) * 0.2
        ax.text(
            x + between / 2,
            y + T * cell + 0.15,
            f"({T}, {H}, {d})\n(T, H, d)",
            ha="center",
            va="top",
        )
        _arrow(ax, (x + between + 0.15, high / 2), (x + between + 1.35, high / 2))
        ax.text(x + between + 0.75, high / 2 - 0.15, "transpose", ha="center")
        x += between + 1.5
        for head in range(H):
            look, top = {"fc": PALE[head % len(PALE)]}, head * (T * cell + 0.35)
            _grid(ax, x, top, (T, d), cell, lambda *_, look=look: look)
            ax.text(x + d * cell + 0.1, top + T * cell / 2, f"head {head}", va="center")
        ax.text(x + d * cell / 2, high - 0.2, f"({H}, {T}, {d})\n(H, T, d)", ha="center", va="top")
    return fig


def token_and_position(text: str) -> Figure:
    """Where a model knows positions from: the vector of the character plus that of the position."""
    chars, left, step = [visible(char) for char in text], 2.9, 0.95
    fig, ax = _canvas(left + step * len(text) + 0.2, 3.6, "What a position is made of")
    kinds = sorted(set(chars))
    rows = [
        ("vector of the character", 0.2, lambda i: (chars[i], PALE[kinds.index(chars[i]) % 6])),
        ("+ vector of the position", 1.1, lambda i: (str(i), "white")),
        ("= x, what is read", 2.0, lambda i: (f"{chars[i]}, {i}", PALE[kinds.index(chars[i]) % 6])),
    ]
    with style():
        for word, y, label in rows:
            ax.text(0.05, y + 0.28, word, va="center")
            for i in range(len(chars)):
                inside, ground = label(i)
                ax.add_patch(Rectangle((left + step * i, y), 0.8, 0.55, fc=ground, ec="#333333"))
                ax.text(left + step * i + 0.4, y + 0.28, inside, ha="center", va="center")
        ax.text(
            left, 2.85, "Equal characters at different positions are now different.", va="center"
        )
    return fig


# ---- bars and curves ----------------------------------------------------------------------------


def bars(
    labels: Sequence[str],
    values: Sequence[float],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    highlight: int | Sequence[int] | None = None,
    second: Sequence[float] | None = None,
    names: tuple[str, str] = ("first", "second"),
) -> Figure:
    """One bar per label; `highlight` gives the indices of bars to be drawn in orange and hatched.

    `second` draws a second bar beside each; `names` are then the legend.
    """
    for name, row in [("values", values), ("second", second)]:
        if row is not None and len(row) != len(labels):
            raise ValueError(f"{name} has {len(row)} numbers, labels has {len(labels)}")
    fig, (ax,) = new_figure(min(12.0, max(5.0, 1.5 + 0.34 * len(labels))), 3.8)
    place, width = np.arange(len(labels)), 0.8 if second is None else 0.4
    shift = 0.0 if second is None else 0.2
    with style():
        drawn = ax.bar(place - shift, values, width, color=BLUE, label=_legible(names[0]))
        if second is not None:
            ax.bar(place + shift, second, width, label=_legible(names[1]), **ORANGE_BAR)
            ax.legend()
        for i in np.atleast_1d([] if highlight is None else highlight).astype(int):
            drawn[i].set(**ORANGE_BAR)
        ax.set_xticks(place, [visible(str(label)) for label in labels])
        ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return fig


def curves(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    reference_lines: Mapping[str, float] | None = None,
    logx: bool = False,
    logy: bool = False,
    markers: bool = False,
) -> Figure:
    """`{name: (x, y)}` as lines that differ in colour and in dashes; horizontal lines for
    `reference_lines`, `{name: y}`."""
    fig, (ax,) = new_figure()
    with style():
        for i, (name, (x, y)) in enumerate(lines.items()):
            _line(ax, name, x, y, i, marker="o" if markers else None)
        _finish_curves(ax, title, xlabel, ylabel, reference_lines or {})
        if logx:
            ax.set_xscale("log")
        if logy:
            ax.set_yscale("log")
    return fig


def loss_curve(
    history,
    references: Mapping[str, float] | None = None,
    *,
    title: str = "Loss during training",
    ylabel: str = "loss (nats per character)",
) -> Figure:
    """A `History`: training loss per step (faint) and smoothed, validation loss, and horizontal
    lines for `references`, for instance `{"bigram": 2.5, "entropy": 1.1}`."""
    fig, (ax,) = new_figure()
    with style():
        steps, loss = _pair("training loss", history.steps, history.train_loss)
        ax.plot(steps, loss, color=BLUE, alpha=0.25, linewidth=1.0)
        _line(ax, "training (smoothed)", smooth(steps), smooth(loss), 0)  # the middle of each mean
        if len(history.val_loss):
            _line(ax, "validation", history.val_steps, history.val_loss, 1, marker="o")
        _finish_curves(ax, title, "training step", ylabel, references or {})
    return fig


def smooth(values: Sequence[float], window: int | None = None) -> np.ndarray:
    """The mean of each value and the `window - 1` before it; by default a twentieth of them."""
    values = np.asarray(values, dtype=float)
    window = max(1, len(values) // 20) if window is None else window
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window}")
    total = np.concatenate([[0.0], np.cumsum(values)])
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - window, 0)
    return (total[last] - total[first]) / (last - first)


def _pair(name: str, x: Sequence[float], y: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"{name!r}: x has shape {x.shape}, y has shape {y.shape}; one axis each")
    return x, y


def _line(ax: Axes, name: str, x, y, i: int, marker: str | None = None) -> None:
    x, y = _pair(name, x, y)
    colour, dashes = COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)]
    ax.plot(x, y, color=colour, linestyle=dashes, marker=marker, label=_legible(name))


def _legible(name: object) -> str:
    """A name for the legend, which leaves out those that begin with an underscore."""
    return f" {name}" if str(name).startswith("_") else str(name)


def _finish_curves(ax: Axes, title: str, xlabel: str, ylabel: str, references: Mapping) -> None:
    for i, (name, value) in enumerate(references.items()):
        dashes = DASHES[(i + 2) % len(DASHES)]
        label = _legible(f"{name}: {value:.2f}")
        ax.axhline(value, color=GREY, linestyle=dashes, linewidth=1.6, label=label)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    ax.grid(axis="y", color="#e3e3e3")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="best")


# ---- a whole model ------------------------------------------------------------------------------


def gpt_diagram(config: Mapping[str, int], *, counts: bool = True) -> Figure:
    """A whole `MiniGPT` from its `config`: the residual stream, what reads it and adds to it.

    Each arrow has the shape of what flows, and with `counts` each part its number of parameters.
    A size that is missing from `config` is a `ValueError`.
    """
    names = ("vocab_size", "embed_dim", "num_heads", "num_layers", "max_seq_len")
    if missing := [name for name in names if name not in config]:
        raise ValueError(f"config has no {missing[0]!r}: give the model's own, model.config")
    V, D, H, N, T = (int(config[name]) for name in names)
    norm, attention, feed_forward = 2 * D, 4 * D * D + 4 * D, 8 * D * D + 5 * D
    total = 2 * V * D + T * D + N * (2 * norm + attention + feed_forward) + norm
    heads = "1 head" if H == 1 else f"{H} heads"
    fig, (ax,) = new_figure(WIDEST, 4.7)
    with style():
        ax.set(xlim=(-0.1, 20.4), ylim=(0, 9.3))
        ax.axis("off")
        ax.set_title(
            f"V = {V:,},  D = {D:,},  T up to {T:,},  {heads},  {N} x block"
            + (f":  {total:,} parameters" if counts else "")
        )
        dark, stream = "#333333", 7.2

        def box(x, y, text, count, colour="#e8f1f8"):
            ax.add_patch(Rectangle((x, y), 2.9, 1.9, fc=colour, ec=BLUE, linewidth=1.3, zorder=3))
            words = f"{text}\n{count:,}" if counts else text
            ax.text(x + 1.45, y + 0.95, words, ha="center", va="center", linespacing=1.05, zorder=4)

        def line(*points, arrow=True):
            ax.plot(*zip(*points), color=dark, linewidth=1.5, zorder=2, solid_capstyle="butt")
            if arrow:
                form = {"arrowstyle": "-|>", "color": dark, "shrinkA": 0, "shrinkB": 0}
                ax.annotate("", points[-1], points[-2], arrowprops=form, zorder=2)

        def words(x, y, text, **how):
            ax.text(x, y, text, **{"ha": "center", "va": "center", "zorder": 4, **how})

        words(1.45, stream + 0.5, "ids (T,)", weight="bold")
        line((1.45, stream), (1.45, 5.1))
        box(0, 3.2, "token\nembedding", V * D)
        box(0, 0.6, "position\nembedding", T * D)
        line((2.9, 1.55), (3.5, 1.55), (3.5, 4.15), arrow=False)
        line((2.9, 4.15), (3.5, 4.15), (3.5, stream))
        ax.plot([3.45, 15.3], [stream, stream], color=BLUE, linewidth=6, zorder=1)
        words(4.4, stream + 0.7, "(T, D)")
        frame = {"fc": "none", "ec": ORANGE, "linestyle": "--", "linewidth": 1.8}
        ax.add_patch(Rectangle((5.3, 0.1), 9.4, 9.0, **frame))
        words(10.0, 8.55, "block", weight="bold")
        for x, text, count in [
            (5.6, f"attention\n{heads}", attention),
            (10.2, "feed-\nforward", feed_forward),
        ]:
            line((x + 1.45, stream), (x + 1.45, 5.6))
            box(x, 3.7, "layer\nnorm", norm, "#f4f4f4")
            line((x + 1.45, 3.7), (x + 1.45, 2.5))
            box(x, 0.6, text, count)
            line((x + 2.9, 1.55), (x + 3.7, 1.55), (x + 3.7, stream - 0.4))
            circle = {"boxstyle": "circle,pad=0.1", "fc": "white", "ec": BLUE, "linewidth": 1.6}
            words(x + 3.7, stream, "+", weight="bold", bbox=circle)
        line((15.3, stream), (17.0, stream))
        words(15.9, stream + 0.7, "(T, D)")
        box(17.0, stream - 0.95, "layer\nnorm", norm, "#f4f4f4")
        line((18.45, stream - 0.95), (18.45, 4.8))
        words(19.5, 5.5, "(T, D)")
        box(17.0, 2.9, "head", V * D)
        line((18.45, 2.9), (18.45, 1.7))
        words(18.45, 1.2, "logits (T, V)", weight="bold")
    return fig


def attention_grid(weights: np.ndarray, tokens: Sequence[str], *, title: str = "") -> Figure:
    """All heads of a model at once: `weights` `(num_layers, num_heads, T, T)`, one row a layer.

    `tokens` are the `T` characters, written at the outer axes; layers and heads count from 0.
    Another shape is a `ValueError`.
    """
    weights = np.asarray(weights, dtype=float)
    if weights.ndim != 4 or weights.shape[2:] != (len(tokens), len(tokens)):
        raise ValueError(
            f"expected weights (num_layers, num_heads, {len(tokens)}, {len(tokens)}) for "
            f"{len(tokens)} tokens, got shape {weights.shape}"
        )
    layers, heads = weights.shape[:2]
    side = min(2.6, (WIDEST - 0.8) / heads)
    with style():
        fig = Figure(
            figsize=(max(4.0, heads * side + 0.8), layers * side + 0.9), layout="constrained"
        )
        axes = fig.subplots(layers, heads, squeeze=False, sharex=True, sharey=True)
        labels = [visible(token) for token in tokens]
        size = min(12.0, 0.8 * 72 * side / max(1, len(tokens)))
        for (layer, head), ax in np.ndenumerate(axes):
            image = ax.imshow(weights[layer, head], cmap=HEAT, vmin=0, vmax=1)
            ax.set_title(f"layer {layer}, head {head}", size=12, weight="normal")
            ax.spines[:].set_visible(False)
            ax.set_xticks(range(len(tokens)), labels, size=size)
            ax.set_yticks(range(len(tokens)), labels, size=size)
            ax.tick_params(length=0, pad=1)
        fig.supxlabel("key: looked at", size=12)
        fig.supylabel("query: looking", size=12)
        fig.colorbar(image, ax=axes, label="weight", shrink=0.9)
        if title:
            fig.suptitle(title, weight="bold")
    return fig
