"""Makes slides of the lessons, one HTML file each and a PDF to hand out; the web site; the table."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tools.launcher import my_work
from tools.launcher.browser import find_browser
from tools.launcher.environment import prepare
from tools.launcher.project import Project, UserError, python_name, say
from tools.teaching import lesson_table  # standard library only


def make_slides(project: Project, arguments: list[str]) -> int:
    """``slides [NAME]... [--pdf]``: make the decks named, or those of all lessons."""
    names = [word for word in arguments if word != "--pdf"]
    if unknown := [word for word in names if word.startswith("-")]:
        raise UserError(
            f"slides has no option {unknown[0]!r}.", f"{python_name()} start.py slides 03 --pdf"
        )
    chosen = lessons(project, names)
    browser = browser_for_pdf() if "--pdf" in arguments else None
    prepare(project, "teaching")
    run_module(project, "tools.teaching.deck", project.slides, *chosen)
    decks = [project.slides / f"{notebook.stem}.html" for notebook in chosen]
    if browser:
        run_module(project, "tools.teaching.deck_pdf", browser, *decks)
    for deck in decks:
        for made in [deck, deck.with_suffix(".pdf")] if browser else [deck]:
            say(f"Written: {made.relative_to(project.root).as_posix()}")
    return 0


def make_site(project: Project, arguments: list[str]) -> int:
    """``site [options]``: the lessons as a web site; paths are seen from the folder you are in."""
    project = project.for_site
    prepare(project, "site")
    command = [str(project.python), "-P", "-m", "tools.teaching.site", *arguments]
    return subprocess.call(command, env=project.child_env())


def run_module(project: Project, module: str, *arguments: object) -> None:
    """Run a module of ours with the Python of ``.venv``."""
    command = [str(project.python), "-m", module, *map(str, arguments)]
    if subprocess.call(command, cwd=project.root, env=project.child_env()) != 0:
        raise UserError("The slides could not be made: see above.")


def lessons(project: Project, names: list[str]) -> list[Path]:
    """The notebooks named; without a name, the lessons (problem sets have no slides)."""
    if names:
        return [project.notebooks / my_work.find_name(project, name) for name in names]
    return [path for path in my_work.student_notebooks(project) if path.parent == project.notebooks]


def show_table(project: Project, arguments: list[str]) -> int:
    """``table [NAME]``: what each lesson asks of a reader; 1 if one is beyond a limit."""
    if unknown := [word for word in arguments if word.startswith("-")]:
        raise UserError(
            f"table has no option {unknown[0]!r}.", f"{python_name()} start.py table 03"
        )
    return 1 if lesson_table.show_table(lessons(project, arguments)) else 0


def browser_for_pdf() -> str:
    browser = find_browser()
    if browser is None:
        raise UserError(
            "A PDF is printed by Chromium, Chrome or Edge, and none was found.",
            "Install one, or set MINIGPT_CHROMIUM to its path. Without --pdf none is needed.",
        )
    return browser
