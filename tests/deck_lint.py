"""What the slides of a lesson must keep to, as far as the notebook alone can tell.

How much room everything takes is measured in a browser: tests/browser/deck.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import nbformat

from tools.teaching.deck import for_slides

FEWEST, MOST = 12, 25
MOST_CODE_LINES = 12
MOST_COLUMNS = 82  # a longer line of code wraps


def slides_of(notebook: nbformat.NotebookNode) -> list[list[nbformat.NotebookNode]]:
    """The cells of each slide, speaker notes among them."""
    slides: list[list] = []
    for cell in for_slides(notebook).cells:
        kind = cell.metadata.slideshow.slide_type
        if kind == "skip":
            continue
        if kind in ("slide", "subslide") or not slides:
            slides.append([])
        slides[-1].append(cell)
    return slides


def count_problems(notebook: nbformat.NotebookNode) -> Iterator[str]:
    count = len(slides_of(notebook))
    if not FEWEST <= count <= MOST:
        yield f"{count} slides; make it {FEWEST} to {MOST}"


def design_problems(notebook: nbformat.NotebookNode) -> Iterator[str]:
    """What does not fit on a slide, or is missing."""
    for number, cells in enumerate(slides_of(notebook), start=1):
        if not any(cell.metadata.slideshow.slide_type == "notes" for cell in cells):
            yield f"slide {number}: no speaker notes; say what to ask the class"
        for cell in cells:
            if cell.cell_type != "code" or cell.metadata.transient.remove_source:
                continue
            lines = cell.source.splitlines()
            if len(lines) > MOST_CODE_LINES:
                yield f"slide {number}: {len(lines)} lines of code, more than {MOST_CODE_LINES}"
            if (columns := max(map(len, lines), default=0)) > MOST_COLUMNS:
                yield f"slide {number}: a line of {columns} columns, more than {MOST_COLUMNS}"
