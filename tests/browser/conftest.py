"""Fixtures for the tests in a real browser: Chromium, a JupyterLab server, notebook pages.

Where Chromium or Playwright is missing the tests skip and say so. With MINIGPT_REQUIRE_BROWSER=1
they fail instead. MINIGPT_CHROMIUM names the browser's program when it lies in an unusual place.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest

try:
    from jupyter_page import ROOT, NotebookPage, Server
    from playwright.sync_api import Browser, sync_playwright
except ModuleNotFoundError as missing:
    if missing.name != "playwright":
        raise
    sync_playwright = None

WINDOW = {"width": 1280, "height": 720}
PROGRAMS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]
PLACES = {
    "darwin": ["/Applications/Chromium.app/Contents/MacOS/Chromium",
               "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"],
    "win32": [r"C:\Program Files\Google\Chrome\Application\chrome.exe",
              r"C:\Program Files (x86)\Google\Chrome\Application\chrome.exe"],
}  # fmt: skip


def find_chromium() -> str | None:
    """The browser's program: what MINIGPT_CHROMIUM names, else the first in the usual places."""
    named = os.environ.get("MINIGPT_CHROMIUM")
    if named:
        return named
    on_path = (shutil.which(name) for name in PROGRAMS)
    in_place = (place for place in PLACES.get(sys.platform, []) if Path(place).exists())
    return next(filter(None, [*on_path, *in_place]), None)


def cannot_run(reason: str) -> None:
    """Skip with the reason, or fail where a browser is required."""
    if os.environ.get("MINIGPT_REQUIRE_BROWSER") == "1":
        pytest.fail(f"browser tests are required here, but {reason}", pytrace=False)
    pytest.skip(f"browser tests did not run: {reason}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if sync_playwright is None:
        cannot_run("the Python package playwright is not installed")
    program = find_chromium()
    if program is None:
        cannot_run("no Chromium was found; install it or set MINIGPT_CHROMIUM to its program")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def work_folder(tmp_path_factory) -> Path:
    """A folder with a copy of every lesson; the server's root."""
    folder = tmp_path_factory.mktemp("lessons")
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        shutil.copy(notebook, folder)
    return folder


@pytest.fixture(scope="session")
def lab(browser, work_folder, tmp_path_factory) -> Iterator[Server]:
    server = Server(work_folder, tmp_path_factory.mktemp("jupyter"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def open_notebook(browser, lab) -> Iterator[Callable[..., NotebookPage]]:
    """`open_notebook(name)` opens a notebook of the work folder; `cells` writes it first."""
    pages: list[NotebookPage] = []

    def open_it(name: str, cells: list[str] | None = None) -> NotebookPage:
        if cells is not None:
            write_notebook(lab.folder / name, cells)
        context = browser.new_context(viewport=WINDOW)
        context.set_default_timeout(30_000)
        pages.append(NotebookPage(lab, context, name))
        return pages[-1]

    yield open_it
    for page in pages:
        page.close()


def write_notebook(path: Path, cells: list[str]) -> None:
    """A notebook with these code cells and no outputs."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)
