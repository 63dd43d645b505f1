"""What a deck looks like in a browser, slide by slide: ``python tests/browser/deck.py [NAME]...``

Makes the decks of the lessons named (03, attention; none named: all), opens them in Chromium
without a network at both window sizes, goes through them with the arrow key, and says of each slide
what a reader in the back row would. ``--pictures`` keeps a picture of each.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat
from playwright.sync_api import Browser, Page, sync_playwright

if __name__ == "__main__":  # pytest knows where to look
    sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from deck_lint import MOST_CODE_LINES, count_problems, design_problems
from tools.launcher.browser import find_browser
from tools.launcher.project import here
from tools.launcher.slides import lessons
from tools.teaching.deck import copy_assets, make_deck

SIZES = [(1280, 720), (1024, 768)]
SMALLEST_TEXT = 18  # pixels on the screen, at either size
LARGER = 1.04  # slides are measured with larger text: fonts and browsers differ a little
# Figures are drawn at 110 dots an inch with 12-point text, which is 18 pixels at this scale.
SMALLEST_PICTURE = 0.98  # of a picture's own size, in a window of 1280 x 720
# outside code: a formula that nobody has set
RAW_FORMULA = r"\$[^$\s][^$]*\$|\\\(|\\\[|\\(?:frac|text|sum|sqrt|cdot|ln|exp|log|mid|begin)\b"

MEASURE = """() => {
    const slide = Reveal.getCurrentSlide();
    slide.querySelectorAll("details").forEach((details) => { details.open = true; });
    const box = slide.getBoundingClientRect();
    const scale = box.width / slide.offsetWidth;
    const shown = (node) => node.checkVisibility({ visibilityProperty: false })
        && !node.closest("aside.notes");

    // text: its project, its size on the screen
    const rects = [], sizes = [], words = [];
    let raw = [];
    const padding = scale * parseFloat(getComputedStyle(slide).paddingBottom);
    for (const root of [slide, document.querySelector(".slide-number")]) {
        const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            const text = walker.currentNode, parent = text.parentElement;
            if (!text.data.trim() || !shown(parent)) continue;
            const range = document.createRange();
            range.selectNodeContents(text);
            if (root === slide) rects.push(...range.getClientRects());
            const sized = parent.closest("math") || parent;  // an exponent may be smaller
            const svg = parent.closest("svg text");
            const factor = svg ? svg.getScreenCTM().d : scale;
            const size = factor * parseFloat(getComputedStyle(sized).fontSize);
            sizes.push([size / (svg ? 1 : LARGER), text.data.trim()]);
            if (root !== slide || parent.closest("math, svg")) continue;
            if (!parent.closest("pre")) words.push(...text.data.trim().split(/\\s+/));
            if (!parent.closest("pre, code")) raw.push(...(text.data.match(/RAW_FORMULA/g) || []));
        }
    }
    sizes.sort((a, b) => a[0] - b[0]);

    const pictures = [...slide.querySelectorAll("img")].filter(shown);
    const formulas = [...slide.querySelectorAll("math")].filter(shown);
    const blocks = [...slide.querySelectorAll("img, svg, canvas, math, pre, table")].filter(shown);
    rects.push(...blocks.map((node) => node.getBoundingClientRect()));
    const clipped = [slide, ...slide.querySelectorAll("*")].filter(
        (node) => shown(node) && getComputedStyle(node).overflow !== "visible"
            && node.scrollWidth > node.clientWidth + 1);
    const beyond = Math.max(0, scale * (slide.scrollHeight - slide.clientHeight - 1),
        ...clipped.map((node) => scale * (node.scrollWidth - node.clientWidth)),
        ...rects.filter((rect) => rect.width && rect.height).flatMap((rect) => [
            box.left - rect.left, rect.right - box.right, box.top - rect.top,
            rect.bottom - (box.bottom - padding)].map((pixels) => pixels - 0.5)));

    const code = [...slide.querySelectorAll(".jp-InputArea pre, .highlight pre")].filter(shown);
    return {
        number: Reveal.getSlidePastCount() + 1,
        title: (slide.querySelector("h1, h2, h3, h4, pre, p")?.textContent || "")
            .trim().split("\\n")[0].slice(0, 44),
        beyond: Math.round(beyond),
        text: sizes.length ? sizes[0][0] : 99,
        smallest: sizes.length ? sizes[0][1].slice(0, 40) : "",
        code: new Set(code).size
            ? Math.max(...code.map((pre) => pre.textContent.trimEnd().split("\\n").length)) : 0,
        words: words.length,
        picture: Math.min(99, ...pictures.map(
            (image) => image.getBoundingClientRect().width / image.naturalWidth)),
        unloaded: pictures.filter((image) => !image.naturalWidth).length,
        raw: raw.concat([...slide.querySelectorAll("merror")].map((node) => node.textContent)),
        empty_formulas: formulas.filter((math) => !math.getBoundingClientRect().width).length,
        notes: slide.querySelector("aside.notes") !== null,
    };
}""".replace("RAW_FORMULA", RAW_FORMULA).replace("LARGER", str(LARGER))


FRAGMENTS = "() => Reveal.getCurrentSlide().querySelectorAll('.fragment').length"


class Slide(NamedTuple):
    """What was measured on one slide; lengths are pixels on the screen."""

    number: int  # counted from 1
    title: str
    beyond: int  # how far something stands out of the slide, or is cut off
    text: float  # size of the smallest text
    smallest: str  # that text
    code: int  # lines of the longest code cell
    words: int  # outside of code
    picture: float  # shown size of the smallest picture over its own size; 99: there is none
    unloaded: int
    raw: list[str]  # formulas that stand there as they were typed
    empty_formulas: int
    notes: bool

    def problems(self, width: int) -> Iterator[str]:
        """What is wrong with it in a window of this width."""
        if self.beyond:
            yield f"{self.beyond} px too much"
        if self.text < SMALLEST_TEXT - 0.1:
            yield f"text of {self.text:.1f} px ({self.smallest!r})"
        if width >= SIZES[0][0] and self.picture < SMALLEST_PICTURE:
            yield f"a picture at {self.picture:.0%} of its size"
        if self.code > MOST_CODE_LINES:
            yield f"{self.code} lines of code"
        if self.unloaded:
            yield f"{self.unloaded} pictures did not load"
        if self.raw:
            yield f"raw formulas {self.raw}"
        if self.empty_formulas:
            yield f"{self.empty_formulas} formulas are empty"


class Deck:
    """A deck open in a page of its own, off the network."""

    def __init__(self, browser: Browser, path: Path, width: int, height: int) -> None:
        self.errors: list[str] = []
        self.outside: list[str] = []
        self.context = browser.new_context(viewport={"width": width, "height": height})
        self.context.set_offline(True)
        self.page: Page = self.context.new_page()
        folder = path.parent.as_uri() + "/"
        self.page.on("request", lambda request: self._note_request(request.url, folder))
        self.page.on("requestfailed", lambda request: self.errors.append(f"failed: {request.url}"))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda m: m.type == "error" and self.errors.append(m.text))
        self.page.goto(path.as_uri())
        self.page.wait_for_function("() => window.deckIsReady")
        self.set_text(LARGER)

    def _note_request(self, url: str, folder: str) -> None:
        if not url.startswith((folder, "data:", "blob:")):
            self.outside.append(url)

    def set_text(self, factor: float) -> None:
        """Show all text ``factor`` times as large as the theme says."""
        self.page.evaluate("(f) => document.documentElement.style.setProperty('--text', f)", factor)

    def total(self) -> int:
        return self.page.evaluate("() => Reveal.getTotalSlides()")

    def slides(self) -> Iterator[Slide]:
        """Go through the deck with the arrow key, every fragment a step, and measure each slide."""
        for number in range(1, self.total() + 1):
            slide = Slide(**self.page.evaluate(MEASURE))
            assert slide.number == number, f"the arrow key led to {slide.number}, not {number}"
            yield slide
            for _ in range(self.page.evaluate(FRAGMENTS) + 1):
                self.page.keyboard.press("ArrowRight")

    def screenshot(self, folder: Path, number: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.set_text(1)
        self.page.screenshot(path=folder / f"{number:02}.png")
        self.set_text(LARGER)

    def close(self) -> None:
        self.context.close()


def report(browser: Browser, path: Path, pictures: Path | None, general: list[str]) -> int:
    """Print a line for each slide of a deck and return how many have something wrong.

    ``general``: what is already known to be wrong with the deck.
    """
    found: dict[int, list[str]] = {0: general} if general else {}
    lines: dict[int, str] = {}
    for width, height in SIZES:
        deck = Deck(browser, path, width, height)
        for slide in deck.slides():
            for problem in slide.problems(width):
                found.setdefault(slide.number, []).append(f"{problem} [{width}]")
            if width == SIZES[0][0]:
                scale = f"{slide.picture:4.2f}" if slide.picture < 99 else "   -"
                lines[slide.number] = (
                    f"{slide.number:>3} {slide.code:>5} {slide.words:>6} {scale:>8} "
                    f"{'yes' if slide.notes else ' no':>6}  {slide.title}"
                )
                if pictures:
                    deck.screenshot(pictures / path.stem, slide.number)
        for trouble in deck.errors + [f"request to {url}" for url in deck.outside]:
            found.setdefault(0, []).append(f"{trouble} [{width}]")
        deck.close()
    wrong = len(found.keys() - {0})
    print(f"\n{path.stem}: {len(lines)} slides; {wrong} are too full or too small")
    print("  #  code  words  picture  notes  title")
    for number, line in lines.items():
        print(line)
        for problem in found.get(number, []):
            print(f"      !! {problem}")
    for problem in found.get(0, []):
        print(f"   !! {problem}")
    return len(found)


def main(names: list[str]) -> int:
    project = here()
    pictures = project.root / "build" / "screenshots" / "slides" if "--pictures" in names else None
    copy_assets(project.slides / "assets")
    wrong = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        for notebook in lessons(project, [name for name in names if name != "--pictures"]):
            source = nbformat.read(notebook, as_version=4)
            general = [*count_problems(source), *design_problems(source)]
            wrong += report(browser, make_deck(notebook, project.slides), pictures, general)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
