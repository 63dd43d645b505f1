"""A Jupyter server of our own and a notebook page in it, for the tests in a real browser."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
from playwright.sync_api import BrowserContext, Error, Locator, Page

ROOT = Path(__file__).parents[2]
PATIENCE = 120  # seconds for what comes at once on a calm machine
SCREENSHOTS = ROOT / "build" / "screenshots"
SETTINGS = {
    # every cell is in the page, also those outside the window
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


# Exceptions of other programs: the message, and the only script in their stack.
KNOWN = {
    # Notebook 7's shortcuts plugin hears that settings of other plugins are loaded and looks at its
    # own, which are not there yet. Seen with Notebook 7.6 in an empty notebook too, with no widget,
    # no kernel output, no settings and all other extensions switched off.
    "Cannot read properties of undefined (reading 'schema')": "/static/notebook/notebook_core.",
    # anywidget's clock of two seconds, on a busy machine. The widget starts all the same: the tests
    # wait for it and operate it.
    "[anywidget] Failed to initialize model.": "/extensions/anywidget/static/",
}


class Server:
    """JupyterLab (or another front end) over `folder`, with settings of its own and no token."""

    def __init__(self, folder: Path, private: Path, front_end: str = "jupyterlab") -> None:
        self.folder, self.front_end = folder, front_end
        for name, values in SETTINGS.items():
            path = private / "settings" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values), encoding="utf-8")
        env = {
            **os.environ,
            "JUPYTER_CONFIG_DIR": str(private / "config"),
            "JUPYTER_DATA_DIR": str(private / "data"),
            "JUPYTER_RUNTIME_DIR": str(private / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(private / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(private / "workspaces"),
            "IPYTHONDIR": str(private / "ipython"),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        }
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = private / "server.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    front_end,
                    "--no-browser",
                    "--allow-root",
                    "--expose-app-in-browser",
                    f"--ServerApp.port={port}",
                    "--ServerApp.port_retries=0",
                    "--ServerApp.ip=127.0.0.1",
                    f"--ServerApp.root_dir={folder}",
                    "--IdentityProvider.token=",
                ],
                env=env,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.wait()

    def wait(self, seconds: float = 300) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/api/status", timeout=2).close()
                return
            except OSError:
                time.sleep(0.2)
        self.stop()
        raise RuntimeError(f"the Jupyter server did not start:\n{self.log.read_text()}")

    def address(self, notebook: str) -> str:
        """Where `notebook` opens in this front end."""
        if self.front_end == "notebook":
            return f"{self.url}/notebooks/{notebook}"
        return f"{self.url}/lab/tree/{notebook}?reset"

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_notebook(path: Path, cells: list[str]) -> None:
    """A notebook with these code cells and no outputs."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nbformat.write(notebook, path)


class NotebookPage:
    """One notebook open in the browser; notes console errors and requests to other hosts."""

    def __init__(self, server: Server, context: BrowserContext, notebook: str) -> None:
        self.name = Path(notebook).stem
        self.errors: list[str] = []
        self.outside: list[str] = []
        host = urlsplit(server.url).netloc

        def check_host(url: str) -> None:
            if (
                urlsplit(url).scheme in ("http", "https", "ws", "wss")
                and urlsplit(url).netloc != host
            ):
                self.outside.append(url)

        self.page: Page = context.new_page()
        self.page.on("request", lambda request: check_host(request.url))
        self.page.on("websocket", lambda socket: check_host(socket.url))
        self.page.on("pageerror", self._note_exception)
        self.page.on("console", self._note)
        self.page.goto(server.address(notebook))
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until the notebook is there and its kernel has nothing to do."""
        self.page.wait_for_function("() => window.jupyterapp !== undefined")
        self.page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell")
        self.page.wait_for_function(
            "() => jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        )

    def reload(self) -> None:
        """Load the page anew; the kernel runs on."""
        self.page.reload()
        self.wait_until_ready()

    def _note_exception(self, error: Error) -> None:
        """Notes an exception that nobody caught, but for those that others throw (`KNOWN`)."""
        places = [line for line in error.stack.splitlines() if line.lstrip().startswith("at ")]
        of_others = any(
            error.message == message and all(script in p or "Promise.all" in p for p in places)
            for message, script in KNOWN.items()
        )
        if not (of_others and places):
            self.errors.append(error.stack or str(error))

    def _note(self, message) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def run_all(self, seconds: float = 600) -> None:
        """Run every cell and wait for the last one; then wait for the widgets to stand there."""
        finished = self.page.evaluate(
            """async (milliseconds) => {
                const ran = jupyterapp.commands.execute('notebook:run-all-cells');
                const late = new Promise((done) => setTimeout(() => done('late'), milliseconds));
                return await Promise.race([ran.then(() => 'ran'), late]);
            }""",
            seconds * 1000,
        )
        assert finished == "ran", f"{self.name} was not through after {seconds} s"
        self.page.wait_for_function(
            """() => [...document.querySelectorAll(
                "[data-mime-type='application/vnd.jupyter.widget-view+json']")].every(
                (view) => view.childElementCount && !view.textContent.includes('Loading widget'))"""
        )

    def code_cells(self) -> list[nbformat.NotebookNode]:
        """The code cells as they are now, with their outputs."""
        saved = self.page.evaluate(
            "() => JSON.stringify(jupyterapp.shell.currentWidget.content.model.toJSON())"
        )
        return [c for c in nbformat.reads(saved, as_version=4).cells if c.cell_type == "code"]

    def assert_all_ran(self) -> None:
        """Every code cell has run, in order, and none ended in an error it does not announce."""
        cells = [cell for cell in self.code_cells() if cell.source.strip()]
        assert cells, f"{self.name} has no code"
        for number, cell in enumerate(cells, start=1):
            assert cell.execution_count, (
                f"{self.name}: code cell {number} did not run:\n{cell.source}"
            )
            if "raises-exception" in cell.metadata.get("tags", []):
                continue
            for output in cell.outputs:
                assert output.output_type != "error", (
                    f"{self.name}: code cell {number} failed: {output.ename}: {output.evalue}"
                )

    def assert_quiet(self) -> None:
        """No console error and no request to another host since the page was opened."""
        assert self.outside == [], f"{self.name} asked other hosts: {self.outside}"
        assert self.errors == [], f"{self.name} wrote errors to the console: {self.errors}"

    def screenshot(self, name: str = "", of: Locator | None = None) -> Path:
        """A picture for people in build/screenshots/ of the window or of one element."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{self.name}{name and '-' + name}.png"
        (of or self.page).screenshot(path=path)
        return path

    def dark(self, on: bool = True) -> None:
        """Change the theme and wait until it is in force.

        JupyterLab stumbles over its own splash screen if the next change comes before it is gone.
        """
        theme = "JupyterLab Dark" if on else "JupyterLab Light"
        self.page.evaluate(
            "(theme) => jupyterapp.commands.execute('apputils:change-theme', { theme })", theme
        )
        self.page.wait_for_selector(f"body[data-jp-theme-name='{theme}']", state="attached")
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")

    def python(self, code: str) -> str:
        """Run `code` in the notebook's kernel and return what it prints."""
        return self.page.evaluate(
            """async (code) => {
                const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const future = kernel.requestExecute({ code, store_history: false });
                let printed = '';
                future.onIOPub = ({ header, content }) => {
                    if (header.msg_type === 'stream') printed += content.text;
                    if (header.msg_type === 'error') printed += content.traceback.join('\\n');
                };
                await future.done;
                return printed;
            }""",
            code,
        )

    def drag(self, slider: Locator, to: float) -> None:
        """Drag the knob of a slider with the mouse in small steps; 0 is its left end, 1 its right."""
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        low, high, value = (
            float(slider.evaluate(f"(input) => input.{name}")) for name in ("min", "max", "value")
        )
        knob = 16
        at = lambda part: box["x"] + knob / 2 + part * (box["width"] - knob)  # noqa: E731
        middle = box["y"] + box["height"] / 2
        self.page.mouse.move(at((value - low) / (high - low)), middle)
        self.page.mouse.down()
        self.page.mouse.move(at(to), middle, steps=8)
        self.page.mouse.up()

    def kernel(self, expression: str) -> object:
        """The value of a Python expression in the kernel, by way of JSON.

        JupyterLab lets widgets work in a thread of their own, so the expression may see them half
        way through a change: call this inside `until`.
        """
        printed = self.python(f"import json; print(json.dumps({expression}))")
        try:
            return json.loads(printed)
        except ValueError as error:
            raise AssertionError(printed) from error

    def until(self, check: Callable[[], object], seconds: float = PATIENCE) -> object:
        """Call `check` until it passes its assertions; what it returns is returned."""
        until = time.monotonic() + seconds
        while True:
            try:
                return check()
            except AssertionError:
                if time.monotonic() > until:
                    raise
                self.page.wait_for_timeout(50)

    def focus_by_tab(self, root: Locator) -> list[str]:
        """Walk through `root` with the tab key: the names (data-testid) of what took the focus.

        Every stop must show a focus mark and have a name that a screen reader can say.
        """
        stops = []
        first = root.locator("input, select, button, [tabindex='0']").first
        first.focus()
        while root.evaluate("(root) => root.contains(document.activeElement)"):
            stop = self.page.evaluate(
                """() => {
                    const node = document.activeElement, look = getComputedStyle(node);
                    return { id: node.dataset.testid, mark: look.outlineStyle + look.outlineWidth,
                             name: node.getAttribute('aria-label') || node.labels?.[0]?.textContent
                                   || node.textContent };
                }"""
            )
            assert stop["name"], f"{stop['id']} has no name"
            assert stop["mark"] == "solid3px", f"{stop['id']} shows no focus mark"
            stops.append(stop["id"])
            self.page.keyboard.press("Tab")
        return stops

    def close(self) -> None:
        """End the kernel and close the page, unless that was done before."""
        if not self.page.is_closed():
            self.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.shutdown()")
            self.page.close()
