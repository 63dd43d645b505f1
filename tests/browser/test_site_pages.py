"""Every page of the web site, in a browser without a network: that it loads, for whom, with what."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import axe_playwright_python
import pytest
from playwright.sync_api import TimeoutError

from browser.conftest import build_site
from browser.jupyter_page import PATIENCE, ROOT
from browser.site_page import live_states

# Colours are judged where MARK says: one run for all rules, which works out once what covers what.
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
AXE += ';axe.configure({ rules: [{ id: "color-contrast", selector: "[data-look]" }] });'
LESSONS = sorted(path.stem for path in (ROOT / "notebooks").glob("0*.ipynb"))
ALIVE_MB = 2.5
PAPER = {"width": 718, "height": 1000}  # A4 without its margins
PHONE = {"width": 360, "height": 720}
SMALL = {"width": 1280, "height": 720}
WIDE = {"width": 1600, "height": 900}


def pages_of(folder: Path) -> list[str]:
    found = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.html")))
    return [name for name in found if not name.startswith("lite/")]


# What axe finds, in one line each: nothing of any weight is allowed. A dark page differs in its colours
# only, a narrow one in what has to be scrolled, so they are asked for that. Not asked: whether all is in
# a landmark; the theme's two switches cannot be.
FINDINGS = """async (options) => {
    const { violations } = await axe.run("html", { resultTypes: ["violations"], ...options });
    return violations.flatMap(({ id, impact, nodes }) =>
        nodes.map((node) => `${impact} ${id}: ${node.html.slice(0, 200)}`));
}"""
ALL = {"rules": {"region": {"enabled": False}}}
COLORS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
NARROW = {"runOnly": {"type": "rule", "values": ["scrollable-region-focusable", "target-size"]}}

# Of all texts that look alike (colour, size, weight, and what is painted behind them) the first and the
# last: a lesson has thousands of texts, for axe 20 times the work, in a hundred looks. axe judges no text
# without two letters or digits in a row, so those are apart.
MARK = """() => {
    const numbers = new Map(), grounds = new Map(), looks = new Map();
    const number = (...parts) => {
        const text = parts.join("|");
        return numbers.get(text) ?? numbers.set(text, numbers.size + 1).get(text);
    };
    const ground = (e) => {
        if (!e) return 0;
        if (!grounds.has(e)) {
            const { backgroundColor, backgroundImage, opacity, position } = getComputedStyle(e);
            const own = [backgroundColor, backgroundImage, opacity, position].join("|");
            const behind = ground(e.parentElement);
            grounds.set(e, own === "rgba(0, 0, 0, 0)|none|1|static" ? behind : number(behind, own));
        }
        return grounds.get(e);
    };
    for (const e of document.body.querySelectorAll("*")) {
        const text = [...e.childNodes].map((n) => n.nodeType === Node.TEXT_NODE ? n.data : "").join("");
        if (!(text.trim() || e.matches("input, select, textarea"))
            || !e.checkVisibility({ visibilityProperty: true })) continue;
        const { color, fontSize, fontWeight, textShadow } = getComputedStyle(e);
        const words = /[\\p{L}\\p{N}]{2}/u.test(text), idle = !!e.closest(":disabled");
        const look = number(ground(e), color, fontSize, fontWeight, textShadow, words, idle);
        looks.set(look, [...(looks.get(look) ?? []), e]);
    }
    const first = [...looks.values()].flatMap((all) => [all[0], all.at(-1)]);
    const marked = new Set(first.flatMap((e) => [e, ...e.querySelectorAll("*")]));
    document.querySelectorAll("*").forEach((e) => e.toggleAttribute("data-look", marked.has(e)));
}"""

# Ends when nothing moves any more.
STILL = """() => Promise.all(document.getAnimations()
    .filter((each) => each.effect.getComputedTiming().endTime !== Infinity)
    .map((each) => each.finished.catch(() => null)))"""

# What sticks out to the right and cannot be scrolled inside a box of its own.
SIDEWAYS = """() => {
    const wide = document.documentElement.clientWidth;
    const inside = (e) => e && (getComputedStyle(e).overflowX !== "visible" || inside(e.parentElement));
    const out = [...document.querySelectorAll("article *")].filter((e) => {
        const box = e.getBoundingClientRect();
        return box.width && box.right > wide + 1 && !inside(e.parentElement);
    });
    return [...(document.documentElement.scrollWidth > wide ? ["the page"] : []),
        ...out.map((e) => e.outerHTML.slice(0, 100))];
}"""


def test_every_page_is_quiet_accessible_narrow_and_can_be_printed(folder, visit):
    pages, found = pages_of(folder), []
    assert len(pages) > 40
    for name in pages:
        page = visit(name)
        tab, window = page.page, page.page.viewport_size
        tab.evaluate("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
        tab.evaluate(STILL)  # what unfolds fades in
        tab.evaluate(AXE)

        def note(where, lines, name=name):
            found.extend(f"{name}, {where}: {line}" for line in lines)

        tab.evaluate(MARK)
        note("light", tab.evaluate(FINDINGS, ALL))
        tab.emulate_media(color_scheme="dark")
        tab.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
        tab.evaluate(MARK)
        note("dark", tab.evaluate(FINDINGS, COLORS))
        tab.emulate_media(color_scheme="light")
        tab.set_viewport_size(PHONE)
        note("360 pixels", tab.evaluate(SIDEWAYS))
        tab.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))"
        )
        note("360 pixels", tab.evaluate(FINDINGS, NARROW))
        tab.emulate_media(media="print")
        tab.set_viewport_size(PAPER)
        note("paper", tab.evaluate(SIDEWAYS))
        left = "button:visible, .sidebar-drawer:visible, .minigpt-ways:visible"
        note("paper", tab.locator(left).evaluate_all("(all) => all.map((e) => e.outerHTML)"))
        tab.set_viewport_size(window)
        page.assert_quiet()
        page.close()
    assert found == []


def test_one_pale_word_among_thousands_is_found(visit):
    page = visit("lessons/03_attention.html")
    page.page.evaluate(AXE)
    page.page.evaluate(MARK)
    assert page.page.evaluate(FINDINGS, ALL) == []
    page.page.get_by_text("look back").filter(visible=True).last.evaluate(
        "(e) => { e.style.color = '#999'; }"
    )
    page.page.evaluate(MARK)
    for options in (ALL, COLORS):
        (found,) = page.page.evaluate(FINDINGS, options)
        assert "color-contrast" in found
    page.close()


# Where the keys can stop: not what is hidden, nor the members of a group behind its first.
STOPS = """() => [...document.querySelectorAll(
        "a[href], button, input, select, textarea, summary, [tabindex='0']")].filter((e) =>
    !e.disabled && e.tabIndex >= 0 && e.checkVisibility({ visibilityProperty: true })
        && e.getBoundingClientRect().width > 0)"""

FOCUSED = """() => {
    const e = document.activeElement, box = e.getBoundingClientRect(), style = getComputedStyle(e);
    const shown = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
    const ring = style.outlineStyle !== "none" || style.boxShadow !== "none";
    return e === document.body || (shown && ring);
}"""

NOTED = """() => {
    const e = document.activeElement, again = (window.visited ??= new Set()).has(e);
    visited.add(e);
    return [e === document.body, again, e.outerHTML.slice(0, 120)];
}"""


@pytest.mark.parametrize(
    "name, window",
    [("index", PHONE), ("index", WIDE), ("lessons/03_attention", SMALL), ("search", WIDE)],
    ids=str,
)
def test_the_keys_reach_everything_and_are_seen(name, window, visit):
    page = visit(f"{name}.html")
    page.page.set_viewport_size(window)
    stops = page.page.evaluate(f"() => ({STOPS})().length")
    assert stops > 20
    for _ in range(stops + 1):
        page.page.keyboard.press("Tab")
        end, again, what = page.page.evaluate(NOTED)
        if end:
            break
        assert not again, f"Tab comes back to {what}"
        try:  # some slide in
            page.page.wait_for_function(FOCUSED, timeout=PATIENCE * 1000)
        except TimeoutError:
            pytest.fail(f"the focus is not seen on {what}")
    missed = page.page.evaluate(
        f"() => ({STOPS})().filter((e) => !visited.has(e)).map((e) => e.outerHTML.slice(0, 120))"
    )
    assert missed == []
    page.close()


@pytest.mark.parametrize(
    "window, toggle, drawer",
    [(PHONE, "__navigation", ".sidebar-drawer"), (SMALL, "__toc", ".toc-drawer")],
)
def test_the_keys_open_a_list_of_links_that_is_off_the_screen(window, toggle, drawer, visit):
    page = visit("lessons/03_attention.html")
    page.page.set_viewport_size(window)
    link = page.page.locator(f"{drawer} a").last
    link.wait_for(state="hidden")
    page.page.locator(f"#{toggle}").press("Space")
    link.wait_for(state="visible")
    page.page.wait_for_function(
        "(drawer) => { const { left, right } = document.querySelector(drawer).getBoundingClientRect();"
        " return left >= 0 && right <= innerWidth; }",
        arg=drawer,
    )
    page.page.locator(f"#{toggle}").press("Space")
    link.wait_for(state="hidden")
    page.close()


class Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets, self.anchors, self.alts = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found.get("id"), found.get("name")}
        if tag in ("a", "link", "script", "img"):
            self.targets.append(found.get("href") or found.get("src"))
        if tag == "img":
            self.alts.append(found.get("alt"))


def test_every_link_and_anchor_leads_somewhere_and_nothing_is_fetched_from_outside(folder):
    pages = {name: Links((folder / name).read_text(encoding="utf-8")) for name in pages_of(folder)}
    broken = []
    for name, links in pages.items():
        assert all(alt and len(alt) > 15 for alt in links.alts), name
        for target in filter(None, links.targets):
            at = urlsplit(target)
            if at.scheme or at.netloc:
                continue
            path = (
                (folder / name).parent.joinpath(unquote(at.path)).resolve()
                if at.path
                else folder / name
            )
            to = path.relative_to(folder).as_posix()
            if not path.is_file() or (
                at.fragment and to in pages and unquote(at.fragment) not in pages[to].anchors
            ):
                broken.append(f"{name}: {target}")
    assert broken == []
    for name in pages:
        text = (folder / name).read_text(encoding="utf-8")
        assert "Content-Security-Policy" in text and "default-src 'none'" in text
        assert not re.search(r'<(script|link|img|iframe)[^>]*(src|href)="(https?:)?//', text)


def test_every_page_works_from_a_folder_too(folder, visit):
    """Without a web server: widgets, pictures, links; the browser says no word of complaint."""
    for name in pages_of(folder):
        page = visit(name, folder.as_uri() + "/")
        for id in live_states(folder / name):
            assert page.live(id).is_visible()
        page.assert_quiet()
        page.close()


@pytest.mark.parametrize("base", ["from a server", "from a folder"])
def test_search_finds_what_is_there_and_nothing_else(base, folder, address, visit):
    base = address if base == "from a server" else folder.as_uri() + "/"
    page = visit("index.html", base)
    box = page.page.locator(".sidebar-search")
    box.fill("causal mask")
    box.press("Enter")
    results = page.page.locator("#search-results li a")
    results.first.wait_for()
    assert any("Let every character look back" in text for text in results.all_inner_texts())
    results.filter(has_text="Let every character look back").first.click()
    page.page.wait_for_url("**/lessons/03_attention.html*")
    page.alive()
    page.assert_quiet()
    nothing = visit("search.html?q=qwertzuiop", base)
    nothing.page.get_by_text("did not match any documents").wait_for()
    nothing.assert_quiet()


@pytest.mark.parametrize("name", ["index", *(f"lessons/{lesson}" for lesson in LESSONS)])
def test_little_is_sent_before_a_page_is_alive(name, browser, address):
    tab = browser.new_context().new_page()
    sent = []
    tab.on("response", lambda answer: sent.append(int(answer.headers.get("content-length", 0))))
    tab.goto(f"{address}{name}.html")
    tab.wait_for_function("() => document.querySelector('[data-live]').dataset.alive !== undefined")
    assert 0 < sum(sent) < ALIVE_MB * 1e6
    tab.context.close()


# ---- what is in it --------------------------------------------------------------------------------


def test_two_builds_are_the_same_bytes(folder, tmp_path):
    again = tmp_path / "again"
    build_site(again, PYTHONHASHSEED="7", TZ="Asia/Tokyo", LC_ALL="C")
    files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert files == {path.relative_to(again) for path in again.rglob("*") if path.is_file()}
    other = [str(f) for f in sorted(files) if (folder / f).read_bytes() != (again / f).read_bytes()]
    assert other == []


SIGNS = re.compile(r"[\s*_`$\\\"']+")  # what a text has as source, and not on a page
TAG = re.compile(r"<[^>]+>")
SOLUTION = re.compile(r"BEGIN (?:SOLUTION|HIDDEN TESTS)(.*?)(?:###|<!--) END", re.DOTALL)
COMMENT = re.compile(r"<!--\s*(?:slide|notes)\b(.*?)-->", re.DOTALL)
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
LONG = 40  # signs; what is shorter can stand in a page by chance


def bare(text: str) -> str:
    return SIGNS.sub("", html.unescape(TAG.sub("", text)))


def cells_of(path: Path) -> list[dict]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in cells]


def secrets() -> dict[str, str]:
    """What is for teachers: solutions, hidden tests, answers, notes; bare, and from which file."""
    found = []
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        for cell in cells_of(path):
            texts = COMMENT.findall(cell["source"])
            if "solutions" in path.parts:
                for text in SOLUTION.findall(cell["source"]):
                    texts += text.split("\n\n")
            found += [(text, path.name) for text in texts]
    guide = (ROOT / "docs" / "answers.md").read_text(encoding="utf-8")
    found += [(text, "answers.md") for text in CODE.findall(guide)]
    found += [(text, "answers.md") for text in CODE.sub("", guide).split("\n\n")]
    secret = {bare(text): name for text, name in found}
    return {text: name for text, name in secret.items() if len(text) >= LONG}


def test_no_page_no_download_and_no_index_holds_an_answer(folder):
    secret = secrets()
    assert {"answers.md", "01_tokenization.ipynb", "ps1_tokenization.ipynb"} <= set(secret.values())
    assert len(secret) > 500
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in pages_of(folder)}
    texts["searchindex.js"] = (folder / "searchindex.js").read_text(encoding="utf-8")
    notebooks = [*folder.rglob("*.ipynb")]
    assert len(notebooks) >= 26, "downloads, and the same in JupyterLite"
    for path in notebooks:
        texts[str(path.relative_to(folder))] = "\n".join(c["source"] for c in cells_of(path))
        assert "solutions" not in path.parts
        assert not any(cell.get("outputs") for cell in cells_of(path) if not is_picture(cell))
    told = []
    for name, text in texts.items():
        text = bare(text)
        told += [f"{name}: {origin}: {s}" for s, origin in secret.items() if s in text]
    assert told == []


def is_picture(cell: dict) -> bool:
    """Are the outputs of this cell the picture that stands where a widget is not running?"""
    return "minigpt-still" in json.dumps(cell.get("outputs"))
