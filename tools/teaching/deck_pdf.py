"""Print decks, one page a slide: ``python -m tools.teaching.deck_pdf BROWSER DECK...``

A browser without a window does it. It is spoken to in the DevTools protocol, because its option
``--print-to-pdf`` would not wait until the slides stand.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import websocket

SECONDS = 60  # the longest wait for one answer


class Chromium:
    """A browser without a window and one page in it; use it in a ``with`` statement."""

    def __init__(self, program: str) -> None:
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.process = subprocess.Popen(
            [
                program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--remote-debugging-port=0", f"--user-data-dir={self.profile.name}", "about:blank",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        self.sent, self.socket = 0, None
        self.socket = websocket.create_connection(
            self._address(), timeout=SECONDS, suppress_origin=True
        )

    def _address(self) -> str:
        """Where the page listens. The browser writes its port into its profile."""
        port_file = Path(self.profile.name, "DevToolsActivePort")
        until = time.monotonic() + SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            try:
                port = port_file.read_text().split()[0]
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
                    targets = json.load(answer)
                return next(t["webSocketDebuggerUrl"] for t in targets if t["type"] == "page")
            except (OSError, IndexError, StopIteration):
                time.sleep(0.1)
        self.__exit__()
        raise RuntimeError("the browser did not start")

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        if self.socket is not None:
            self.socket.shutdown()
        self.process.terminate()
        self.process.wait()
        self.profile.cleanup()

    def call(self, method: str, **parameters: object) -> dict:
        """Send one command and wait for its answer."""
        self.sent += 1
        self.socket.send(json.dumps({"id": self.sent, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.sent:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]

    def wait_until(self, expression: str) -> None:
        """Ask the page until the expression is true."""
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            if self.call("Runtime.evaluate", expression=expression)["result"].get("value") is True:
                return
            time.sleep(0.1)
        raise RuntimeError(f"waited {SECONDS} s for {expression}")

    def print_deck(self, deck: Path) -> Path:
        """Write the PDF of a deck beside it."""
        self.call("Page.navigate", url=f"{deck.resolve().as_uri()}?print-pdf")
        self.wait_until(f"location.pathname.endsWith('{deck.name}') && window.deckIsReady === true")
        answer = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        pdf = deck.with_suffix(".pdf")
        pdf.write_bytes(base64.b64decode(answer["data"]))
        return pdf


def main(browser: str, *decks: str) -> None:
    with Chromium(browser) as chromium:
        for deck in map(Path, decks):
            chromium.print_deck(deck)


if __name__ == "__main__":
    main(*sys.argv[1:])
