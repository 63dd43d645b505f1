"""Fixtures for the tests in a real browser: Chromium, a JupyterLab server, notebook pages.

Where Chromium is missing the tests skip and say so; with MINIGPT_REQUIRE_BROWSER=1 they fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

for helper in (
    "agree",
    "jupyter_page",
    "operate",
    "site_page",
):  # their assertions show what they compared
    pytest.register_assert_rewrite(f"browser.{helper}")

from playwright.sync_api import Browser, BrowserContext, sync_playwright  # noqa: E402

from browser.jupyter_page import PATIENCE, ROOT, NotebookPage, Server, write_notebook  # noqa: E402
from browser.site_page import SitePage, SiteServer  # noqa: E402
from tools.launcher.environment import wait_lock  # noqa: E402

WINDOW = {"width": 1280, "height": 720}
# No name but that of this machine can be looked up: a request to another host fails, as offline.
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


@pytest.fixture(scope="session")
def launch(chromium: str) -> Iterator[Callable[..., Browser]]:
    """`launch(NAME=value)` starts Chromium, with variables of its own where some are given."""
    with sync_playwright() as playwright:
        yield lambda **variables: playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", OFFLINE], env=os.environ | variables
        )


@pytest.fixture(scope="session")
def browser(launch) -> Iterator[Browser]:
    browser = launch()
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def context(browser: Browser) -> BrowserContext:
    """One for all pages: what JupyterLab loads for the first is at hand for the others.

    For a reader who wants no motion: else each click waits for a page that glides, for a second.
    """
    context = browser.new_context(viewport=WINDOW, reduced_motion="reduce")
    context.set_default_timeout(1000 * PATIENCE)
    return context


@pytest.fixture(scope="session")
def work_folder(tmp_path_factory) -> Path:
    """A copy of the notebooks; the server's root."""
    folder = tmp_path_factory.mktemp("jupyter") / "notebooks"
    made_by_runs = shutil.ignore_patterns("*.safetensors", ".ipynb_checkpoints")
    shutil.copytree(ROOT / "notebooks", folder, ignore=made_by_runs)
    return folder


@pytest.fixture(scope="session")
def server(browser, work_folder, tmp_path_factory) -> Iterator[Callable[[str], Server]]:
    """`server(front_end)`: one for each front end, started when it is first asked for."""
    servers: dict[str, Server] = {}

    def of(front_end: str) -> Server:
        if front_end not in servers:
            servers[front_end] = Server(work_folder, tmp_path_factory.mktemp(front_end), front_end)
        return servers[front_end]

    yield of
    for one in servers.values():
        one.stop()


@pytest.fixture(scope="module")
def open_notebook(context, server) -> Iterator[Callable[..., NotebookPage]]:
    """`open_notebook(name)` opens a notebook of the work folder; `cells` writes it first."""
    pages: list[NotebookPage] = []

    def open_it(
        name: str, cells: list[str] | None = None, front_end: str = "jupyterlab"
    ) -> NotebookPage:
        if cells is not None:
            write_notebook(server(front_end).folder / name, cells)
        pages.append(NotebookPage(server(front_end), context, name))
        return pages[-1]

    yield open_it
    for page in pages:
        page.close()


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """The web site, built as a teacher would build it; once, where several processes share it."""
    common = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent
    out = common / "web" / "mini"
    out.parent.mkdir(exist_ok=True)
    with (common / "web.lock").open("a") as file:
        wait_lock(file)
        if not out.exists():
            build_site(out)
    return out


def build_site(out: Path, *options: str, **variables: str) -> None:
    command = [sys.executable, str(ROOT / "start.py"), "site", "--out", str(out), *options]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=os.environ | variables
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def address(folder) -> Iterator[str]:
    server = SiteServer(folder)
    yield server.url
    server.stop()


@pytest.fixture(scope="module")
def visit(context, address) -> Iterator[Callable[..., SitePage]]:
    """`visit("about.html")` opens a page of the site."""
    pages = []

    def open_it(name: str, base: str = address) -> SitePage:
        pages.append(SitePage(context, base + name))
        return pages[-1]

    yield open_it
    for page in pages:
        page.close()
