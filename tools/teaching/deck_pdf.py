"""Print decks, one page a slide: ``python -m tools.teaching.deck_pdf BROWSER DECK...``"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright


def print_deck(page: Page, deck: Path) -> Path:
    """Write the PDF of a deck beside it."""
    page.goto(f"{deck.resolve().as_uri()}?print-pdf")
    page.wait_for_function("window.deckIsReady")
    pdf = deck.with_suffix(".pdf")
    page.pdf(path=pdf, prefer_css_page_size=True, print_background=True)
    return pdf


def main(browser: str, *decks: str) -> None:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for deck in decks:
            print_deck(chromium.new_page(), Path(deck))
        chromium.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
