"""The web site in a browser without a network: every page, every widget, every number of theirs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from browser.jupyter_page import ROOT
from browser.site_page import SitePage, SiteServer, live_states
from minigpt_helpers import load_pretrained, no_grad
from minigpt_helpers.widgets.graph_explorer import graph_state
from widget_grids import DRIVER, compare, grids

LESSONS = sorted(path.stem for path in (ROOT / "notebooks").glob("0*.ipynb"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The site, built as a teacher would build it."""
    out = tmp_path_factory.mktemp("web") / "mini"
    command = [sys.executable, str(ROOT / "start.py"), "site", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def address(folder):
    server = SiteServer(folder)
    yield server.url
    server.stop()


@pytest.fixture(scope="module")
def visit(context, address):
    """`visit("about.html")` opens a page of the site."""
    pages = []

    def open_it(name: str, base: str = address) -> SitePage:
        pages.append(SitePage(context, base + name))
        return pages[-1]

    yield open_it
    for page in pages:
        page.close()


def pages_of(folder: Path) -> list[str]:
    found = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.html")))
    return [name for name in found if not name.startswith("lite/")]


# ---- every page -----------------------------------------------------------------------------------


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


def test_pages_from_a_folder_are_alive_too(folder, visit):
    for name in ("index.html", "lessons/02_autograd.html", "lessons/06_generation.html"):
        page = visit(name, folder.as_uri() + "/")
        for id in live_states(folder / name):
            assert page.live(id).is_visible()
        page.assert_quiet()
        page.close()


def test_search_finds_a_word(visit):
    page = visit("search.html?q=softmax")
    page.page.locator("#search-results li a").first.wait_for()
    page.assert_quiet()


# ---- widgets --------------------------------------------------------------------------------------


def holds(condition: bool) -> None:
    assert condition


@pytest.fixture(scope="module")
def lab(visit):
    """A page with all the widgets' scripts."""
    page = visit("lessons/06_generation.html")
    for name in (
        "AttentionMaskExplorer",
        "BlockBench",
        "GraphExplorer",
        "TokenExplorer",
        "TrainingDashboard",
    ):
        page.page.add_script_tag(url=page.page.url.split("lessons/")[0] + f"_static/live/{name}.js")
    return page


@pytest.mark.parametrize("grid", grids(), ids=lambda grid: grid.id)
def test_the_grids_of_the_widgets_pass_as_in_jupyterlab(grid, lab):
    results = lab.page.evaluate(
        "([widget, name, calls]) => {"
        + DRIVER
        + "return run(minigpt.widgets[widget], name, calls); }",
        [grid.widget.__name__, grid.function, grid.arguments()],
    )
    grid.check(json.loads(results))


def test_the_models_forward_pass_agrees_on_200_random_texts(lab):
    model, tokenizer = load_pretrained()
    rng = np.random.default_rng(0)
    texts = [
        rng.integers(0, tokenizer.vocab_size, rng.integers(1, model.max_seq_len + 1)).tolist()
        for _ in range(200)
    ]
    found = lab.page.evaluate(
        """async (texts) => {
            const gpt = await minigpt.loadModel('rhymes');
            return texts.map((ids) => Array.from(gpt.look(ids).logits));
        }""",
        texts,
    )
    with no_grad():
        for ids, logits in zip(texts, found):
            expected = np.asarray(model(ids).data).ravel()
            np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 7, 123456])
def test_random_numbers_are_numpys(seed, lab):
    found = lab.page.evaluate(
        """(seed) => {
            const one = new minigpt.Random(seed), probs = [0.1, 0.2, 0.3, 0.4];
            return [Array.from(one.normals(2000)),
                    Array.from({ length: 300 }, () => one.choice(probs))];
        }""",
        seed,
    )
    rng = np.random.default_rng(seed)
    np.testing.assert_allclose(found[0], rng.standard_normal(2000), rtol=1e-12)
    assert found[1] == [int(rng.choice(4, p=[0.1, 0.2, 0.3, 0.4])) for _ in range(300)]


EXPRESSIONS = [
    "a",
    "-a",
    "a*a",
    "(a*b + c).tanh()",
    "d = a*2; d + d*c",
    "2 - 1/c + a*a*b.relu()",
    "(a - b)**3 / c",
    "a.exp() * b",
    "((a + b) * (a - b)).relu() + a",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_graphs_of_expressions_are_pythons(expression, lab):
    values = {"a": 0.5, "b": -1.25, "c": 2.0}
    try:
        expected = graph_state(expression, values)
    except ValueError as error:
        expected = str(error)
    found = lab.page.evaluate(
        """([expression, values]) => {
            try { return minigpt.graphState(expression, values); } catch (error) { return error.message; }
        }""",
        [expression, values],
    )
    compare(json.loads(json.dumps(expected)), found, expression)


# ---- the address, predictions, downloads ------------------------------------------------------------


def test_a_link_holds_the_state_and_refuses_what_cannot_be(visit, address):
    page = visit("index.html")
    page.live("live-TemperatureExplorer").get_by_test_id("prompt").fill("the cat ")
    slider = page.live("live-TemperatureExplorer").get_by_test_id("temperature")
    slider.focus()
    slider.press("ArrowLeft")
    page.until(lambda: holds("temperature=0.95" in page.page.url and "prompt=" in page.page.url))
    shared = visit(page.page.url.removeprefix(address))
    traits = shared.traits("live-TemperatureExplorer")
    assert (traits["prompt"], traits["temperature"]) == ("the cat ", 0.95)
    wrong = visit("index.html#live-TemperatureExplorer.temperature=99")
    assert wrong.traits("live-TemperatureExplorer")["temperature"] == 1
    assert "cannot show" in wrong.traits("live-TemperatureExplorer")["note"]
    for each in (page, shared, wrong):
        each.assert_quiet()


def test_what_follows_a_predict_is_folded_until_the_reader_asks(visit):
    page = visit("lessons/03_attention.html")
    folded = page.page.locator("details.hide.below-input")
    assert folded.count() >= 3
    assert folded.evaluate_all("(all) => all.every((each) => !each.open)")
    folded.first.locator("summary").click()
    assert folded.first.evaluate("(each) => each.open")


def test_downloads_have_no_outputs_and_solutions_are_not_there(folder):
    downloads = sorted((folder / "downloads").rglob("*.ipynb"))
    assert len(downloads) >= 13
    for path in downloads:
        assert "solution" not in path.as_posix().replace("-solution", "")
        text = path.read_text(encoding="utf-8")
        assert "BEGIN SOLUTION" not in text and "BEGIN HIDDEN TESTS" not in text
