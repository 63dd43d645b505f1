"""The built web site, served below a path, and a page of it whose widgets have a twin in Python."""

from __future__ import annotations

import functools
import html
import http.server
import json
import re
import threading
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import traitlets
from playwright.sync_api import BrowserContext, Locator, Page

from browser.jupyter_page import NotebookPage
from minigpt_helpers import CharTokenizer, load_pretrained, widgets
from minigpt_helpers.widgets._base import TeachingWidget

LIVE = re.compile(r'id="(live-[^"]+)" data-live="([^"]+)"')
FIRST = ("text", "prompt", "expression", "weights", "values")  # the others depend on them


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class SiteServer:
    """`python -m http.server` with the site below a path, as on a public host."""

    def __init__(self, folder: Path) -> None:
        handler = functools.partial(Quiet, directory=str(folder.parent))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/{folder.name}/"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class SitePage(NotebookPage):
    """A page of the site. Where a notebook asks its kernel, this asks a widget made here that has
    the state of the page's."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.name = Path(urlsplit(url).path).stem
        self.errors, self.outside, self.failed = [], [], []
        self.twins: dict[str, TeachingWidget] = {}  # by the id of the page's widget
        self.page: Page = context.new_page()
        self.page.on("pageerror", self._note_exception)
        self.page.on("console", self._note)
        self.page.on("request", self._note_request)
        self.page.on("requestfailed", lambda request: self.failed.append(request.url))
        self.page.on(
            "response", lambda answer: answer.status > 399 and self.failed.append(answer.url)
        )
        self.page.goto(url)
        self.alive()

    def alive(self) -> None:
        """Wait until every widget of the page answers."""
        self.page.wait_for_function(
            "() => [...document.querySelectorAll('[data-live]')].every((e) => 'alive' in e.dataset)"
        )

    def _note_request(self, request) -> None:
        at = urlsplit(request.url)
        if at.scheme in ("http", "https") and at.hostname != "127.0.0.1":
            self.outside.append(request.url)

    def assert_quiet(self) -> None:
        super().assert_quiet()
        assert self.failed == [], f"{self.name} did not get {self.failed}"

    def live(self, id: str) -> Locator:
        return self.page.locator(f"[id='{id}'] .minigpt-live")

    def traits(self, id: str) -> dict[str, object]:
        """All that the page's widget holds; arrays of numbers as lists."""
        return json.loads(
            self.page.evaluate(
                """(id) => JSON.stringify(minigpt.live[id].traits,
                    (_, value) => ArrayBuffer.isView(value) ? Array.from(value) : value)""",
                id,
            )
        )

    def kernel(self, expression: str) -> object:
        """The value of an expression in the names of `twins`, brought up to date before."""
        for id, twin in self.twins.items():
            follow(twin, self.traits(id))
        names = {"twin": self.twins}
        return json.loads(json.dumps(eval(expression, names)))

    def close(self) -> None:
        self.page.close()


def live_states(path: Path) -> dict[str, dict]:
    """What the HTML file of a page says of its widgets, by id."""
    text = path.read_text(encoding="utf-8")
    return {id: json.loads(html.unescape(about)) for id, about in LIVE.findall(text)}


def twin_of(state: dict) -> TeachingWidget:
    """The widget in Python that a page's widget began as."""
    name, traits = state["widget"], state["traits"]
    given = load_pretrained() if "model" in state else ()
    seed = {"seed": state["seed"]} if "seed" in state else {}
    if name == "TokenExplorer":
        return widgets.TokenExplorer(
            CharTokenizer(traits["chars"]), traits["text"], traits.get("pairs", ())
        )
    if name == "GraphExplorer":
        return widgets.GraphExplorer(traits["expression"], **traits["values"])
    if name == "BlockBench":
        return widgets.BlockBench(**traits)
    typed = "prompt" if name == "TemperatureExplorer" else "text"
    return getattr(widgets, name)(*given, **{typed: traits[typed]}, **seed)


def follow(twin: TeachingWidget, traits: dict[str, object]) -> None:
    """Give the twin what a reader has set in the page; what was worked out from it must agree."""
    computed = twin.traits(sync=True, computed=True)
    own = [name for name in twin.trait_names(sync=True, computed=None) if name in traits]
    for name in sorted(own, key=lambda name: (name not in FIRST, name)):
        if name not in ("problem", "note"):
            setattr(twin, name, traits[name])
    assert twin.problem == traits["problem"]
    for name in computed:
        if name == "counts":  # drawn at random
            twin.counts = traits[name]
        elif isinstance(computed[name], traitlets.Bytes):
            here = np.frombuffer(getattr(twin, name))
            there = np.array(list(traits[name]), dtype=float)
            np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-5, err_msg=name)
            setattr(twin, name, there.tobytes())  # as a kernel would have sent them
        else:
            assert json.loads(json.dumps(getattr(twin, name))) == traits[name], name
