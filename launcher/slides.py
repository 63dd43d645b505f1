"""Makes slides of the lessons: one HTML file each, and a PDF to hand out."""

from __future__ import annotations

import subprocess
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
    run_module(place, "launcher.deck", place.slides, *chosen)
    decks = [place.slides / f"{notebook.stem}.html" for notebook in chosen]
    if browser:
        run_module(place, "launcher.deck_pdf", browser, *decks)
    for deck in decks:
        for made in [deck, deck.with_suffix(".pdf")] if browser else [deck]:
            say(f"Written: {made.relative_to(place.root).as_posix()}")
    return 0


def run_module(place: Place, module: str, *arguments: object) -> None:
    """Run a module of ours with the Python of ``.venv``."""
    command = [str(place.python), "-m", module, *map(str, arguments)]
    if subprocess.call(command, cwd=place.root, env=place.child_env()) != 0:
        raise Trouble("The slides could not be made: see above.")


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
