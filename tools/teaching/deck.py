"""Turn notebooks into slides: ``python -m tools.teaching.deck FOLDER FILE...``

Each cell's slide type (slide, subslide, fragment, skip, notes) decides where it stands. Two kinds
of comment in a text cell say more; no reader of the notebook sees them:

    <!-- slide                      <!-- notes
    What the slide shows            What the speaker view shows
    instead of this cell.           while this slide is on.
    -->                             -->

A cell that is nothing but such a comment is for the slides alone. The tags ``slide-hide-input`` and
``slide-hide-output`` leave out half of a code cell.

The folder gets one page per notebook and ``assets/`` with everything that the pages load; together
they can be moved anywhere and need no network. Formulas become MathML here, so that no script has
to run for them.
"""

from __future__ import annotations

import itertools
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import nbformat
from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert.exporters import SlidesExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

from tools.teaching.fonts import THEME, copy_fonts

MATHML = "{http://www.w3.org/1998/Math/MathML}"
ElementTree.register_namespace("", MATHML.strip("{}"))
WIDGET = "application/vnd.jupyter.widget-view+json"
COMMENT = re.compile(r"<!--\s*(slide|notes)\b[ \t]*\n?(.*?)-->", re.DOTALL)
PICTURE = re.compile(r'(?<=<img src=")[^":]+(?=")')
LINK = re.compile(r'(href="[\w-]+)\.ipynb(?=["#])')  # to another lesson: its deck lies beside


class DeckExporter(SlidesExporter):
    """nbconvert's slides with our template, and formulas as MathML."""

    export_from_notebook = None  # not a format that nbconvert should offer

    def __init__(self, **settings) -> None:
        super().__init__(
            template_name="deck",
            extra_template_basedirs=[str(THEME)],
            embed_images=True,
            exclude_anchor_links=True,
            **settings,
        )

    @pass_context
    def markdown2html(self, context, source):
        renderer = Renderer(
            escape=False,
            attachments=context["cell"].get("attachments", {}),
            embed_images=True,
            path=context["resources"]["metadata"]["path"],
            exclude_anchor_links=True,
        )
        return LINK.sub(r"\1.html", MarkdownWithMath(renderer=renderer).render(source))


class Renderer(IPythonRenderer):
    """nbconvert's, but for formulas; and it embeds pictures without closing every open tag."""

    def _html_embed_images(self, html: str) -> str:
        embedded = lambda match: self._src_to_base64(match[0]) or match[0]  # noqa: E731
        return PICTURE.sub(embedded, html)

    def inline_math(self, body: str) -> str:
        return formula(body, "inline")

    def block_math(self, body: str) -> str:
        return formula(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")


def formula(tex: str, display: str) -> str:
    """LaTeX as MathML, its spaces as TeX sets them."""
    math = ElementTree.fromstring(convert(tex.replace("{aligned}", "{align*}"), display=display))
    for node in math.iter(f"{MATHML}mo"):
        if node.text in ORDINARY:
            node.tag = f"{MATHML}mi"
    for row in [*math.iter(f"{MATHML}mrow"), *math.iter(f"{MATHML}mtd")]:
        row[:] = spaced(list(row))
    return ElementTree.tostring(math, encoding="unicode")


ORDINARY = {"\N{INFINITY}", "\N{DOWN TACK}", "\N{HORIZONTAL ELLIPSIS}", "."}  # not operators


def spaced(row: list[ElementTree.Element]) -> list[ElementTree.Element]:
    """A thin space between the name of a function and what is beside it, as in ln 2."""
    out = row[:1]
    for left, right in itertools.pairwise(row):
        if "mo" not in (kind(left), kind(right)) and "function" in (kind(left), kind(right)):
            out.append(ElementTree.Element(f"{MATHML}mspace", width="0.1667em"))
        out.append(right)
    return out


def kind(node: ElementTree.Element) -> str:
    """The node's name without its namespace, or "function" for such as ln and log_2."""
    base = node[0] if len(node) and node.tag.startswith(f"{MATHML}ms") else node
    word = base.text or ""
    if base.tag == f"{MATHML}mi" and len(word) > 1 and word.isalpha():
        return "function"
    return node.tag.removeprefix(MATHML)


def for_slides(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The cells as the slides need them; the notebook given stays as it is."""
    cells = []
    for original in notebook.cells:
        cell = nbformat.from_dict(original)
        kind = cell.metadata.setdefault("slideshow", {}).setdefault("slide_type", "-")
        cells.append(cell)
        if kind == "skip":
            continue
        if cell.cell_type == "code":
            prepare_code(cell)
        elif cell.cell_type == "markdown":
            words = dict(COMMENT.findall(cell.source))
            cell.source = words.get("slide", COMMENT.sub("", cell.source)).strip()
            if "notes" in words:
                notes = nbformat.v4.new_markdown_cell(words["notes"].strip())
                notes.metadata.slideshow = {"slide_type": "notes"}
                cells.append(notes)
    return nbformat.from_dict({**notebook, "cells": cells})


def prepare_code(cell: nbformat.NotebookNode) -> None:
    """Leave out what the tags say, and the live half of widgets: their picture stands there."""
    tags = cell.metadata.get("tags", [])
    cell.metadata.transient = {"remove_source": "slide-hide-input" in tags}
    hidden = "slide-hide-output" in tags
    cell.outputs = [o for o in cell.outputs if not hidden and WIDGET not in o.get("data", {})]


def title_of(notebook: nbformat.NotebookNode) -> str | None:
    """The first heading."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    heading = re.search(r"^#+ +(.+)$", "\n".join(texts), re.MULTILINE)
    return heading and heading[1]


def make_deck(notebook_path: Path, folder: Path) -> Path:
    """Write the deck of one notebook into ``folder`` and return its path."""
    notebook = for_slides(nbformat.read(notebook_path, as_version=4))
    notebook.metadata.title = title_of(notebook) or notebook_path.stem
    place = {"metadata": {"name": notebook_path.stem, "path": str(notebook_path.parent)}}
    page, _ = DeckExporter().from_notebook_node(notebook, place)
    deck = folder / f"{notebook_path.stem}.html"
    deck.write_text(page, encoding="utf-8")
    return deck


def copy_assets(folder: Path) -> None:
    """Put everything that the decks load into ``folder``."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    copy_fonts(folder)
    formulas = Path(find_spec("ziamath").origin).parent / "fonts" / "STIXTwoMath-Regular.ttf"
    for file in [formulas, THEME / "deck.js", *(THEME / "reveal").iterdir()]:
        shutil.copyfile(file, folder / file.name)
    colours = HtmlFormatter(style="tango").get_style_defs(".highlight")
    theme = (THEME / "deck.css").read_text(encoding="utf-8")
    (folder / "deck.css").write_text(f'@import "fonts.css";\n{colours}\n{theme}', encoding="utf-8")


def main(folder: str, *notebooks: str) -> None:
    copy_assets(Path(folder) / "assets")
    for notebook in notebooks:
        make_deck(Path(notebook), Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
