"""Makes slides of the lessons: one HTML file each, and a PDF to hand out."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from launcher import copies
from launcher.environment import prepare
from launcher.place import Place, Trouble, python_name, say
from launcher.testing import find_browser


def make_slides(place: Place, arguments: list[str]) -> int:
    """``slides [NAME]... [--pdf]``: make the decks named, or those of all lessons."""
    names = [word for word in arguments if word != "--pdf"]
    if unknown := [word for word in names if word.startswith("-")]:
        raise Trouble(
            f"slides has no option {unknown[0]!r}.", f"{python_name()} start.py slides 03 --pdf"
        )
    chosen = lessons(place, names)
    browser = browser_for_pdf() if "--pdf" in arguments else None
    prepare(place, "teaching")
    place.slides.mkdir(parents=True, exist_ok=True)
    code = subprocess.call(
        [str(place.python), "-m", "launcher.deck", str(place.slides), *map(str, chosen)],
        cwd=place.root,
        env=place.child_env(),
    )
    if code != 0:
        return code
    for notebook in chosen:
        deck = place.slides / f"{notebook.stem}.html"
        say(f"Written: {deck.relative_to(place.root).as_posix()}")
        if browser:
            print_deck(browser, deck)
            say(f"Written: {deck.with_suffix('.pdf').relative_to(place.root).as_posix()}")
    return 0


def lessons(place: Place, names: list[str]) -> list[Path]:
    """The notebooks named; without a name, the lessons (problem sets have no slides)."""
    if names:
        return [place.notebooks / copies.find_name(place, name) for name in names]
    return [path for path in copies.student_notebooks(place) if path.parent == place.notebooks]


def browser_for_pdf() -> str:
    browser = find_browser()
    if browser is None:
        raise Trouble(
            "A PDF is printed by Chromium, Chrome or Edge, and none was found.",
            "Install one, or set MINIGPT_CHROMIUM to its path. Without --pdf none is needed.",
        )
    return browser


def print_deck(browser: str, deck: Path) -> None:
    """Print one page a slide, with all its fragments, into a PDF beside the deck."""
    pdf = deck.with_suffix(".pdf")
    pdf.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        result = subprocess.run(
            [
                browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                f"--user-data-dir={profile}", "--virtual-time-budget=20000",
                "--no-pdf-header-footer", f"--print-to-pdf={pdf}", f"{deck.as_uri()}?print-pdf",
            ],
            capture_output=True, encoding="utf-8", errors="replace", timeout=300,
        )
    if not pdf.is_file():
        last = (result.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise Trouble(f"{Path(browser).name} did not print {deck.name}.", last)
