"""From the stored notebooks and guides to the pages that Sphinx reads; nothing is executed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import struct
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import nbformat
from nbformat import NotebookNode

from tools.launcher.my_work import name_of, student_notebooks
from tools.launcher.project import Project, UserError
from tools.launcher.student_copy import COMMENT, student_copy
from tools.teaching.site.live import model_name
from tools.teaching.site.predictions import form_data

PICTURE = re.compile(r'src="data:image/png;base64,([A-Za-z0-9+/=\s]+)"')
PREDICT = re.compile(r"\*\*predict\b|^#.*\bpredict\b", re.IGNORECASE | re.MULTILINE)
CHECK = re.compile(r"\bchecks\.(\w+)\(")
VERDICT = ("passed:", "not yet:", "not done yet:")  # how a check's answer begins
LIVE = re.compile(r"<!-- live (\w+) -->")  # in a guide: the first such widget of the lessons
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:|mailto:)([^)\s]+)\)")


@dataclass
class Site:
    """One build: where from, where to, and which widgets were met on the way."""

    project: Project
    source: Path  # what Sphinx reads
    out: Path  # the site
    repository: str = ""  # https://github.com/OWNER/NAME
    with_lite: bool = False
    pyodide: str = ""  # folder or address of Python for JupyterLite
    widgets: dict[str, dict[str, dict]] = field(default_factory=dict)  # page: {id: live_state}
    runs: dict[str, dict] = field(default_factory=dict)  # recorded runs of the dashboards, by id
    stills: dict[str, tuple[dict, str]] = field(default_factory=dict)  # the first of each kind

    @cached_property
    def pages(self) -> dict[Path, str]:
        """The files of the project that become pages, and what they are called in the site."""
        root, notebooks = self.project.root, student_notebooks(self.project)
        guides = [root / "docs" / "teaching.md", *sorted((root / "docs" / "site").glob("*.md"))]
        return {path: f"lessons/{name_of(self.project, path)}" for path in notebooks} | {
            path: path.name for path in guides
        }

    def picture(self, data: str) -> tuple[str, int, int]:
        """Store a base64 PNG as a file of its own; its name in the site, its width and height."""
        png = base64.b64decode(data)
        name = f"_static/pictures/{hashlib.sha256(png).hexdigest()[:16]}.png"
        path = self.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png)
        return name, *struct.unpack(">II", png[16:24])

    def live(self, page: str, id: str, state: dict, still: str) -> str:
        """A widget: its picture, and what the page needs to bring it to life."""
        if "model" in state and len(state["model"]) == 16:
            state["model"] = model_name(state["model"])
        if "run" in state:
            self.runs[id] = json.loads(state.pop("run"))
        self.widgets.setdefault(page, {})[id] = state
        self.stills.setdefault(state["widget"], (state, still))
        about = escape(json.dumps(state, ensure_ascii=False, sort_keys=True))
        return f'<div class="minigpt-widget" id="{id}" data-live="{about}">{still}</div>'

    def again(self, page: str, widget: str) -> str:
        """The first such widget of the lessons, on another page."""
        state, still = self.stills[widget]
        return PICTURE.sub(
            Page(self, page).outside, self.live(page, f"live-{widget}", dict(state), still)
        )


def write_pages(site: Site) -> None:
    """Write what Sphinx reads; of each notebook also a copy to download."""
    for origin, name in site.pages.items():
        target = site.source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if origin.suffix == ".md":
            text = settled_links(site, origin, origin.read_text(encoding="utf-8"))
            if not (site.project.notebooks / "extras").is_dir():
                text = text.replace("lessons/extras/*\n", "")
            text = LIVE.sub(lambda match, page=origin.stem: site.again(page, match[1]), text)
            target.write_text(text, encoding="utf-8")
            continue
        copy = site.out / "downloads" / name.removeprefix("lessons/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(student_copy(origin.read_bytes()))
        nbformat.write(page_of(site, origin, nbformat.read(origin, as_version=4)), target)


def settled_links(site: Site, origin: Path, text: str) -> str:
    """Links from page to page stay right; what is no page of the site is no link any more."""
    here = PurePosixPath(site.pages[origin]).parent

    def settle(match: re.Match) -> str:
        words, target = match.groups()
        file, mark, anchor = target.partition("#")
        anchor = re.sub(
            r"[^\w-]", "", unquote(anchor).lower()
        )  # JupyterLab keeps the heading's signs
        if not file:
            return f"[{words}](#{anchor})"
        page = site.pages.get((origin.parent / file).resolve())
        return f"[{words}]({os.path.relpath(page, here)}{mark}{anchor})" if page else words

    return LINK.sub(settle, text)


def page_of(site: Site, origin: Path, notebook: NotebookNode) -> NotebookNode:
    """The notebook as Sphinx shall show it."""
    page = Page(site, site.pages[origin].removesuffix(".ipynb"))
    predicting, cells = False, []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = settled_links(site, origin, COMMENT.sub("", cell.source).strip("\n"))
            if not cell.source:
                continue
            if not cells:  # the ways to run it, below the title
                title, _, rest = cell.source.partition("\n")
                cell.source = f'{title}\n\n<p class="minigpt-ways">{page.ways}</p>\n\n{rest}'
            predicting = bool(PREDICT.search(cell.source))
        else:
            page.prepare(cell, predicting)
        cells.append(cell)
    notebook.cells = cells
    return notebook


@dataclass
class Page:
    """The page of a notebook, such as ``lessons/03_attention``."""

    site: Site
    name: str

    @property
    def up(self) -> str:
        """The way to the site's first page."""
        return "../" * self.name.count("/")

    @property
    def ways(self) -> str:
        """Three ways to run the notebook, as links."""
        site, file = self.site, self.name.removeprefix("lessons/") + ".ipynb"
        about = f"{self.up}about.html"
        binder, lite = f"{about}#open-in-binder", f"{about}#run-here"
        if site.repository:
            where = site.repository.removeprefix("https://github.com/")
            binder = f"https://mybinder.org/v2/gh/{where}/HEAD?urlpath=lab/tree/notebooks/{file}"
        if site.with_lite:
            lite = f"{self.up}lite/lab/index.html?path={file}"
        return (
            f'<a href="{self.up}downloads/{file}" download>download the notebook</a> '
            f'<a href="{binder}">open in Binder</a> <a href="{lite}">run here</a>'
        )

    def prepare(self, cell: NotebookNode, predicting: bool) -> None:
        """A code cell: its widget alive, its exercise answerable, an answer to a question folded."""
        tags = set(cell.metadata.get("tags", ()))
        if cell.metadata.get("jupyter", {}).get("source_hidden"):
            tags.add("hide-input")
        exercise = CHECK.search(cell.source)
        shown = []
        for output in cell.outputs:
            data = output.get("data", {})
            html = data.get("text/html", "")
            if "application/vnd.jupyter.widget-view+json" in data:
                continue  # the picture before it becomes the live widget
            if exercise and data.get("text/plain", "").startswith(VERDICT):
                continue  # on what stands in the notebook, not on what the reader answers
            if "minigpt" in output.get("metadata", {}):
                html = self.site.live(
                    self.name, f"live-{cell.id}", output.metadata.pop("minigpt"), html
                )
            elif "minigpt-still" in html:
                raise UserError(
                    f"{self.name}: cell {cell.id} shows a widget and does not hold its state.",
                    f"start.py execute {Path(self.name).name} stores it.",
                )
            if html:
                data["text/html"] = PICTURE.sub(self.outside, html)
            shown.append(output)
        if exercise:
            box = {"text/html": self.exercise(cell.id, exercise[1])}
            shown.append(nbformat.v4.new_output("display_data", box))
        elif predicting and shown:
            tags.add("hide-output")
        cell.outputs, cell.metadata.tags = shown, sorted(tags)

    def outside(self, match: re.Match) -> str:
        """A picture in a file of its own, which a browser loads when it comes into view."""
        name, width, height = self.site.picture(match[1])
        return f'loading="lazy" width="{width}" height="{height}" src="{self.up}{name}"'

    def exercise(self, cell_id: str, check: str) -> str:
        """What stands below an exercise: a form for a prediction, else where to do it."""
        data = form_data(check)
        if data is None:
            words = "This exercise is code: open the lesson to write it."
            return f'<p class="minigpt-exercise">{words} {self.ways}</p>'
        name = f"guess-{cell_id}"
        return (
            f'<form class="minigpt-guess" data-check="{escape(json.dumps(data, sort_keys=True))}">'
            f'<label for="{name}">Your prediction: {escape(data["expects"])}</label>'
            f'<input id="{name}" name="guess" autocomplete="off"> <button>check</button>'
            "<output></output></form>"
        )
