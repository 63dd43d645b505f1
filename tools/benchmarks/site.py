"""The web site from cold over loopback: until a page's first widget answers, and from a key on a slider
to changed pixels.

A page is opened in a new browser context, so nothing is in a cache. It counts as alive when its first
widget has been made, and two frames have passed: then its picture has been painted.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.benchmarks import widgets
from tools.benchmarks.report import Options, progress, table
from tools.benchmarks.turns import ROOT
from tools.benchmarks.widgets import RIGHT_AND_LEFT, Case, what_is_missing

LOADS = 5
SECONDS = {"index": 1.0}  # promised; each lesson's page: 1.5
SLIDERS = {
    "index": Case("start page: temperature", "", "temperature", RIGHT_AND_LEFT, at_most=(40, None)),
    "lessons/06_generation": Case(
        "lesson 6: temperature", "", "temperature", RIGHT_AND_LEFT, at_most=(40, None)
    ),
}

# Notes when the first widget of the page is alive and painted.
WATCH = """
new MutationObserver((_, observer) => {
    if (!("alive" in (document.querySelector("[data-live]")?.dataset ?? {}))) return;
    observer.disconnect();
    requestAnimationFrame(() => requestAnimationFrame(() => { window.alive = performance.now(); }));
}).observe(document, { subtree: true, childList: true, attributeFilter: ["data-alive"] });
"""


def run(options: Options, loads: int = LOADS, moves: int = widgets.MOVES) -> dict:
    """Builds the site anew and measures its pages."""
    missing = what_is_missing()
    if missing:
        return {"missing": missing}
    with tempfile.TemporaryDirectory() as folder, widgets.chromium() as browser:
        site = Path(folder) / "mini"
        build = [sys.executable, str(ROOT / "start.py"), "site", "--no-lite", "--out", str(site)]
        subprocess.run(build, check=True, capture_output=True)
        server = widgets.of_the_tests("site_page").SiteServer(site)
        try:
            lessons = sorted(path.stem for path in (site / "lessons").glob("0*.html"))
            pages = ["index", *(f"lessons/{name}" for name in lessons)]
            return {
                "browser": browser.version,
                "pages": {name: cold(browser, server.url + name, loads) for name in pages},
                "milliseconds": {
                    case.name: slide(browser, server.url + name, case, moves)
                    for name, case in SLIDERS.items()
                },
            }
        finally:
            server.stop()


def cold(browser, url: str, loads: int) -> dict:
    """Seconds until the page is alive, and the megabytes sent until then."""
    progress(url.rsplit("/", 1)[-1])
    seconds, sent = [], []
    for _ in range(loads):
        context = browser.new_context(viewport={"width": 1280, "height": 720})
        page, sizes = context.new_page(), []
        page.add_init_script(WATCH)
        page.on("response", lambda a, to=sizes: to.append(int(a.headers.get("content-length", 0))))
        page.goto(f"{url}.html", wait_until="commit")
        page.wait_for_function("() => window.alive")
        seconds.append(page.evaluate("() => window.alive") / 1000)
        sent.append(sum(sizes) / 1e6)
        context.close()
    return {"seconds": seconds, "megabytes": max(sent)}


def slide(browser, url: str, case: Case, moves: int) -> dict:
    progress(case.name)
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.goto(f"{url}.html")
    page.locator("[data-live][data-alive]").first.wait_for()
    live = page.locator(".minigpt-live").filter(has=page.get_by_test_id(case.control)).first
    found = widgets.summary(widgets.measure(page, live, case, moves), case)
    context.close()
    return found


def tables(result: dict) -> str:
    if "missing" in result:
        return result["missing"]
    rows = [
        [
            name,
            f"{statistics.median(page['seconds']):.2f}",
            f"{max(page['seconds']):.2f}",
            f"{SECONDS.get(name, 1.5)}",
            f"{page['megabytes']:.2f}",
        ]
        for name, page in result["pages"].items()
    ]
    heading = (
        f"Seconds from cold until a page's first widget answers, over loopback (headless Chromium "
        f"{result['browser']}), and the megabytes sent until then (at most 2.5)."
    )
    pages = table(["page", "median", "slowest", "at most", "megabytes"], rows)
    return f"{heading}\n\n{pages}\n\n{widgets.tables(result)}"
