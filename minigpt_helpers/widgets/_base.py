"""The common half of every widget. How to write one in this house:

1. A pure function from state to numbers in `my_widget.py`: plain numbers in, a `dict` of arrays
   out. It is the reference.
2. A class derived from `TeachingWidget`, with `_esm = bundle("my_widget.js")` and one synced trait
   for each piece of state (`temperature = Number(0, 3, 1.0).tag(sync=True)`). What the kernel works
   out from the others is `.tag(sync=True, computed=True)`; the web site, which has no kernel, does
   the same in `tools/teaching/site/static/kernels.js`.
3. `still()` returns `(figure, alt)`: the picture of the present state, drawn from the function's
   numbers. It stands in the notebook when no kernel runs.
4. `my_widget.js` imports what it shares from `./_base.js`, exports the same pure function, and ends
   with `export default widget("MyWidget", build)`. `build` makes the controls and returns `draw()`,
   which runs in an animation frame after every change of any trait.
5. What the reader got wrong goes into `problem`, what they should know into `note`; the base shows
   both inside the widget. `check_text` writes them for text.
6. Tests: the function and the kernel's part in `tests/test_widgets_my_widget.py`, JavaScript beside
   Python over a grid of states in `tests/widget_grids.py`, each control by mouse and by keyboard in
   `tests/browser/test_my_widget.py`.
"""

from __future__ import annotations

import hashlib
import math
import re
import textwrap
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING

import anywidget
import traitlets
from IPython.display import display

from minigpt_helpers.plots import display_picture, new_figure, style, visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
IMPORT = re.compile(r'^import \{[^}]*\}\s+from\s+"\./(\w+\.js)";\n', re.MULTILINE)


@cache
def bundle(name: str) -> str:
    """The script `name` with the files it imports from this folder put in front, as one text.

    A notebook page cannot resolve `import ... from "./_base.js"`, so the text that goes to the
    browser holds everything. All files share one scope: give each name once.
    """
    files: dict[str, str] = {}

    def add(file_name: str) -> None:
        source = (HERE / file_name).read_text(encoding="utf-8")
        for imported in IMPORT.findall(source):
            if imported not in files:
                add(imported)
        files[file_name] = IMPORT.sub("", source)

    add(name)
    return "\n".join(files.values())


def style_sheet(widget: str, *names: str) -> str:
    """The rules for every widget, and those of the files `names` for this widget alone.

    A style sheet counts in the whole page, so the files' rules are wrapped in the classes of the
    widget's root. Being more specific, they also win over the base's, in whatever order a page
    loads the sheets of several widgets.
    """
    base, *own = ((HERE / name).read_text(encoding="utf-8") for name in ("_base.css", *names))
    wrapped = [f".minigpt-live.minigpt-{widget} {{\n{rules}}}\n" for rules in own]
    return "\n".join([base, *wrapped])


class Number(traitlets.Float):
    """A trait for a finite number between `low` and `high`; anything else is a `ValueError`."""

    def __init__(self, low: float, high: float, default: float, **kwargs) -> None:
        super().__init__(default, **kwargs)
        self.low, self.high = low, high

    def validate(self, obj: object, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            raise ValueError(f"{self.name} is {value!r}; give a number")
        return float(in_range(self.name, value, self.low, self.high))


def in_range(name: str, value: float, low: float, high: float) -> float:
    """Return `value` if `low <= value <= high`, else raise a `ValueError` with all three."""
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}; choose a value from {low} to {high}")
    return value


SPOKEN = {" ": "space", "\n": "line break", "\t": "tab"}


def in_words(character: str) -> str:
    """A character as it stands in a sentence: `"t"`, or `space` for what cannot be seen."""
    return SPOKEN.get(character, f'"{character}"')


def shortened(text: str, longest: int) -> str:
    """The text, or its first `longest` characters and how many there are: for messages."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]} … ({len(text):,} characters)"


def check_model(model: object, tokenizer: object) -> None:
    """Refuse what is no model, no tokenizer, or not a pair, with a `ValueError` that says so."""
    for name, value, has in [("model", model, "max_seq_len"), ("tokenizer", tokenizer, "chars")]:
        if not hasattr(value, has):
            raise ValueError(
                f"the {name} is {value!r:.60}; give a model and its tokenizer, as in "
                "model, tokenizer = load_pretrained()"
            )
    if model.vocab_size != tokenizer.vocab_size:
        raise ValueError(
            f"the model was made for {model.vocab_size} characters, this tokenizer knows "
            f"{tokenizer.vocab_size}: they do not belong together"
        )


def fingerprint(model: object) -> str:
    """Which model this is: a short name for all its numbers, whatever their dtype."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        digest.update(name.encode() + parameter.data.astype("<f4").tobytes())
    return digest.hexdigest()[:16]


def check_seed(seed: object) -> int:
    """Return a whole number that random numbers can start from, else raise a `ValueError`."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise ValueError(f"seed is {seed!r}; give a whole number from 0 on")
    return int(seed)


def check_text(
    text: str, *, known: list[str] | None, limit: int, keep: str
) -> tuple[str, str, str]:
    """Decide which part of the reader's `text` is used.

    `known` is the vocabulary (`None`: every character is), `limit` the greatest length, `keep`
    which end survives: "first" or "last". Returns `(used, problem, note)`; with a problem, `used`
    is empty and the text cannot be used at all.
    """
    if not text:
        return "", "The text is empty. Type at least one character.", ""
    for position, character in enumerate(text):
        if known is not None and character not in known:
            return (
                "",
                (
                    f"The model has never seen {in_words(character)} (position {position}). "
                    f"It knows: {shortened(visible(''.join(known)), 100)}"
                ),
                "",
            )
    if len(text) <= limit:
        return text, "", ""
    used = text[:limit] if keep == "first" else text[-limit:]
    return used, "", f"The text has {len(text)} characters; only the {keep} {limit} are used."


class TeachingWidget(anywidget.AnyWidget):
    """A live widget that leaves a picture of its first state beside it.

    As the last line of a cell (or given to `display`) it shows two outputs: the picture, as HTML
    with alt text, and the live view. While the live view is in the page the style sheet hides the
    picture; without a kernel the picture stays.
    """

    _css = style_sheet("TeachingWidget")
    problem = traitlets.Unicode("").tag(sync=True)
    note = traitlets.Unicode("").tag(sync=True)

    def __setattr__(self, name: str, value: object) -> None:
        try:
            super().__setattr__(name, value)
        except traitlets.TraitError as error:  # a value of the wrong kind
            raise ValueError(str(error)) from None

    def still(self) -> tuple[Figure, str]:
        """The picture of the present state and its alt text."""
        raise NotImplementedError(f"{type(self).__name__} must define still()")

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}: run this cell to use the live widget; the picture shows its first state."

    def live_state(self) -> dict[str, object]:
        """What a page without a kernel needs to begin with: this widget's name, its `traits` without
        the computed ones, its seed, and the `fingerprint` of its model."""
        names = set(self.trait_names(sync=True, computed=None)) - set(
            TeachingWidget.class_trait_names()
        )
        own = {name: getattr(self, name) for name in sorted(names) if not name.startswith("_")}
        state = {"widget": type(self).__name__, "traits": own}
        if hasattr(self, "_seed"):
            state["seed"] = self._seed
        if getattr(self, "_model", None) is not None:
            state["model"] = fingerprint(self._model)
        return state

    def _ipython_display_(self) -> None:
        figure, alt = problem_picture(self.problem) if self.problem else self.still()
        display_picture(figure, alt, STILL, plain=alt, metadata={"minigpt": self.live_state()})
        data, metadata = self._repr_mimebundle_()
        display(data, metadata=metadata, raw=True)


def problem_picture(problem: str) -> tuple[Figure, str]:
    """What stands in the place of the picture when the constructor's own text cannot be used."""
    figure, (axes,) = new_figure(9, 1.2)
    figure.set_layout_engine("none")  # a long word may be wider than the axes
    with style():
        axes.axis("off")
        lines = textwrap.fill(problem, 70, break_on_hyphens=False)
        axes.text(0.5, 0.5, lines, ha="center", va="center", fontsize=14)
    return figure, problem


# In the class that the style sheet hides while the live view is in the page.
STILL = (
    '<div class="minigpt-still">{}'
    "<p>This picture is the widget's first state. Run the cell to operate it.</p></div>"
)
