"""Operates each control of a widget by mouse and by keyboard, whatever state it starts from.

After every action the kernel must have the expected state, the page must show what the pure Python
function gives for it (`agree`), and the picture must look different from before. Menus of a
`<select>` belong to the system, not to the page: their choice by mouse is made without the menu.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Locator

from browser import agree
from browser.jupyter_page import NotebookPage


@dataclass
class Hand:
    """Acts on one widget: `live` in the page, the variable `name` in the kernel."""

    page: NotebookPage
    live: Locator
    name: str
    agrees: Callable

    def __post_init__(self) -> None:
        self.live.scroll_into_view_if_needed()
        self.agrees(self.page, self.live, self.name)
        self.look = self.picture()

    def picture(self) -> bytes:
        return self.live.locator(".minigpt-picture").screenshot()

    def get(self, trait: str) -> object:
        return self.page.kernel(f"{self.name}.{trait}")

    def at(self, testid: str) -> Locator:
        return self.live.get_by_test_id(testid)

    def sees(self, what: str, /, **traits) -> None:
        """After an action: these traits, what belongs to them in the page, and a new picture."""
        try:
            self.agrees(self.page, self.live, self.name, **traits)
            before, self.look = self.look, self.picture()
            assert before != self.look, "the picture is the same as before"
        except AssertionError as error:
            error.add_note(f"after: {what}")
            raise

    def clicks(self, testid: str, position: dict | None = None, /, **traits) -> None:
        self.at(testid).click(position=position)
        self.sees(f"{testid} was clicked", **traits)

    def presses(self, testid: str, key: str, /, **traits) -> None:
        self.at(testid).press(key)
        self.sees(f"{key} was pressed on {testid}", **traits)

    def types(self, testid: str, typed: str, /, **traits) -> None:
        """Replaces what stands in a box: a click, and then keys only."""
        self.at(testid).click()
        self.page.page.keyboard.press("Control+A")
        self.page.page.keyboard.type(typed)
        self.sees(f"{typed!r} was typed into {testid}", **traits)

    def slides(self, testid: str, low: float, high: float, step: float, **more) -> None:
        """A slider to both its ends by mouse, and a step back by keyboard."""
        for place, value in [(1.0, high), (0.0, low)]:
            if self.get(testid) != value:
                self.page.drag(self.at(testid), place)
                self.sees(f"{testid} was dragged to {place}", **{testid: value}, **more)
        if high > low:
            self.presses(testid, "ArrowRight", **{testid: low + step}, **more)

    def switches(self, testid: str) -> None:
        on = self.get(testid)
        self.clicks(testid, **{testid: not on})
        self.presses(testid, "Space", **{testid: on})

    def chooses(self, testid: str, values: list) -> None:
        """Another one of the `values` of a menu, and with the keys the first of them."""
        if len(values) < 2:
            assert self.at(testid).is_disabled()
            return
        now = values.index(self.get(testid))
        other = now + 1 if now + 1 < len(values) else now - 1
        self.at(testid).select_option(index=other)
        self.sees(f"{testid} was chosen", **{testid: values[other]})
        self.presses(
            testid,
            "ArrowUp" if other else "ArrowDown",
            **{testid: values[other - 1 if other else 1]},
        )

    def cell(self, testid: str, row: int, column: int, count: int) -> dict:
        """Where a cell lies inside the canvas of a map."""
        side = self.at(testid).bounding_box()["width"] - 28
        return {"x": 24 + (column + 0.5) * side / count, "y": 24 + (row + 0.5) * side / count}

    def map(self, testid: str, count: int) -> None:
        """A cell of a map by mouse, and its neighbour by keys."""
        row = (self.get("row") + 1) % count
        column = (self.get("column") + 1) % count
        self.clicks(testid, self.cell(testid, row, column, count), row=row, column=column)
        down = row + 1 < count
        self.presses(
            testid, "ArrowDown" if down else "ArrowUp", row=row + (1 if down else -1), column=column
        )


def tokens(page: NotebookPage, live: Locator, name: str) -> None:
    hand = Hand(page, live, name, agree.tokens)
    if pairs := hand.get("pairs"):
        hand.slides("merges", 0, len(pairs), 1)
        hand.presses("merges", "Home", merges=0)
    hand.types("text", "two Words\n", text="two Words\n")
    live.get_by_role("option").nth(3).click()
    hand.sees("a token was clicked", selected=3)
    hand.presses("tokens", "ArrowRight", selected=4)


def graph(page: NotebookPage, live: Locator, name: str) -> None:
    hand = Hand(page, live, name, agree.graph)
    last = hand.get("last_step")
    hand.clicks("next", step=1)
    hand.presses("next", "Enter", step=2)
    hand.clicks("back", step=1)
    hand.presses("back", "Space", step=0)
    hand.clicks("end", step=last)
    hand.presses("start", "Enter", step=0)
    hand.presses("end", "Space", step=last)
    hand.clicks("start", step=0)
    hand.slides("step", 0, last, 1)
    hand.presses("graph", "ArrowRight", step=2)
    hand.at("graph").click()  # gives it the focus
    page.page.keyboard.press("ArrowLeft")
    hand.sees("the graph was clicked, then the arrow key", step=1)
    leaves = hand.get("graph['leaves']")
    for leaf, value in list(leaves.items()):
        leaves[leaf] = value + 0.5
        hand.types(f"leaf-{leaf}", str(value + 0.5), values=leaves)
        leaves[leaf] += 1
        hand.presses(f"leaf-{leaf}", "ArrowUp", values=leaves)
    hand.types("expression", "2*x + x*y", expression="2*x + x*y")


def attention_mask(page: NotebookPage, live: Locator, name: str) -> None:
    hand = Hand(page, live, name, agree.attention_mask)
    hand.types("text", "the moon", text="the moon", length=8)
    sources = hand.get("sources")
    if len(sources) > 1:
        layers, heads = hand.get("shape")
        hand.chooses("layer", list(range(layers)))
        hand.chooses("head", list(range(heads)))
        hand.chooses("weights", sources)
    hand.slides("length", 1, 8, 1)
    page.drag(hand.at("length"), 1.0)
    hand.sees("length was dragged to its end", length=8)
    hand.switches("causal")
    hand.switches("scale")
    hand.slides("temperature", 0.1, 4.0, 0.1)
    for part in ("scores", "masked", "weights"):
        hand.map(f"map-{part}", 8)


def attention_viewer(page: NotebookPage, live: Locator, name: str) -> None:
    hand = Hand(page, live, name, agree.attention_viewer)
    hand.types("text", "the moon", text="the moon")
    layers, heads = hand.get("shape")
    hand.chooses("layer", list(range(layers)))
    hand.chooses("head", list(range(heads)))
    hand.map("map", 8)
    live.get_by_role("textbox", name="text").hover()  # the mouse selects nothing any more
    hand.agrees(page, live, name)
    hand.look = hand.picture()
    row = 3 if hand.get("row") != 3 else 4
    hand.clicks("text-arcs", {"x": 34 * row + 17, "y": 100}, row=row)
    hand.presses("text-arcs", "ArrowLeft", row=row - 1)


def block_bench(page: NotebookPage, live: Locator, name: str) -> None:
    hand = Hand(page, live, name, agree.block_bench)
    for part in ("residual", "norm", "positions", "mask"):
        hand.switches(part)


def temperature(page: NotebookPage, live: Locator, name: str) -> None:
    hand = Hand(page, live, name, agree.temperature)
    hand.types("prompt", "the moo", prompt="the moo")
    size = len(hand.get("chars"))
    hand.slides("temperature", 0, 3, 0.01)
    hand.presses("temperature", "End", temperature=3)
    hand.slides("top_k", 1, size, 1)
    hand.presses("top_k", "End", top_k=size)
    page.drag(hand.at("top_p"), 0.0)  # a step of 0.01 need not change which characters are kept
    hand.sees("top_p was dragged to its start", top_p=0.01)
    hand.presses("top_p", "End", top_p=1)
    hand.clicks("draw-many")
    assert sum(hand.get("counts")) == 1000
    hand.clicks("draw-one", counts=[])
    hand.presses("draw-many", "Space")
    hand.presses("draw-one", "Enter", counts=[])
    prompt = hand.get("prompt")
    assert prompt.startswith("the moo") and len(prompt) == 9
    hand.clicks("write-on", counts=[])
    assert hand.get("prompt").startswith(prompt) and len(hand.get("prompt")) == 29
    hand.at("bars").locator("li").nth(2).click()
    hand.sees("a bar was clicked", bar=2)
    hand.presses("bars", "ArrowRight", bar=3)
    hand.clicks("reset", temperature=1, top_k=size, bar=0, counts=[])
    hand.presses("temperature", "Home", temperature=0)
    hand.presses("reset", "Enter", temperature=1)


def dashboard(page: NotebookPage, live: Locator, name: str) -> None:
    """Each button by mouse and by keyboard, in a run that is long enough."""
    page.python(f"{name}.last_step = {name}.step + 100_000; {name}.first_step = {name}.step")
    hand = Hand(page, live, name, agree.dashboard)

    def use(button: str, key: str | None, status: str) -> None:
        node = hand.at(button)
        page.page.wait_for_function(
            "(button) => !button.disabled && !button.hidden", arg=node.element_handle()
        )
        steps = len(hand.get("history.steps"))
        node.press(key) if key else node.click()

        def check():
            assert hand.get("status") == status
            assert hand.at("progress-words").inner_text().startswith(f"{status}: ")
            assert status != "running" or len(hand.get("history.steps")) > steps

        page.until(check)
        if status != "running":
            hand.sees(f"{button} was used", status=status, step=hand.get("history.steps[-1]"))

    use("start", None, "running")
    use("pause", None, "paused")
    use("resume", None, "running")
    use("stop", None, "stopped")
    use("start", "Enter", "running")
    use("pause", "Space", "paused")
    use("resume", "Enter", "running")
    use("stop", "Space", "stopped")
    assert page.kernel(f"{name}.wait(100)")


EACH_CONTROL = {
    "AttentionMaskExplorer": attention_mask,
    "AttentionViewer": attention_viewer,
    "BlockBench": block_bench,
    "GraphExplorer": graph,
    "TemperatureExplorer": temperature,
    "TokenExplorer": tokens,
    "TrainingDashboard": dashboard,
}
