"""The table of commands."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable
from typing import NamedTuple

from tools.launcher import (
    bench,
    coverage,
    hub,
    lab,
    locking,
    matrix,
    my_work,
    present,
    release,
    sets,
    slides,
    testing,
)
from tools.launcher.diagnosis import system_error
from tools.launcher.project import Project, UserError, here, python_name


class Command(NamedTuple):
    run: Callable[[Project, list[str]], int]
    usage: str
    about: str


def reset(project: Project, arguments: list[str]) -> int:
    if len(arguments) != 1:
        raise UserError(
            "reset takes the name of one notebook.", f"{python_name()} start.py reset 03"
        )
    my_work.reset(project, arguments[0])
    return 0


COMMANDS = {
    "": Command(
        lab.open_lab,
        "[--original] [--user-config] [JupyterLab options]",
        "open lesson 1 in JupyterLab; you work on copies in my_work/ (--original: on the\n"
        "project's own; --user-config: with your own Jupyter configuration). Options such as\n"
        "--no-browser, --port 8890, --ip are JupyterLab's",
    ),
    "reset": Command(
        reset,
        "NAME",
        "put a fresh copy of a notebook in my_work/ and keep yours beside it (NAME: 03,\n"
        "attention, 03_attention.ipynb)",
    ),
    "test": Command(
        testing.run_tests,
        "[quick|lint|types|unit|notebooks|browser|bridge|hub]... [pytest options]",
        "run all tests, or the parts named (quick: a choice of the unit tests, under a minute)",
    ),
    "coverage": Command(
        coverage.measure_coverage,
        "[unit|notebooks]",
        "for maintainers: count the lines and branches of the package that the unit tests reach, and\n"
        "those that the notebooks reach",
    ),
    "matrix": Command(
        matrix.run_matrix,
        "[--core] [--table FILE] [ROW]...",
        "for maintainers: the notebooks and unit tests on other Pythons, versions, processors and\n"
        "settings, each in an environment of its own; prints a table (--core: the lessons and the\n"
        "core's tests alone)",
    ),
    "present": Command(
        present.present,
        "[NAME] [JupyterLab options]",
        "for teachers: show a lesson slide by slide in JupyterLab, its widgets running",
    ),
    "slides": Command(
        slides.make_slides,
        "[NAME]... [--pdf]",
        "for teachers: make slides of the lessons (or those named) in build/slides/; they need no\n"
        "network (--pdf: also to hand out, one page a slide; needs a Chromium)",
    ),
    "site": Command(
        slides.make_site,
        "[--out FOLDER] [--no-lite] [--help]",
        "make a web site of the lessons in build/site/: every widget works in it without Python\n"
        "and without a network (--help: all options)",
    ),
    "bench": Command(
        bench.run_benchmarks,
        "[PART]... [--size NAME] [--rounds N] [--help] | hub [--students N]",
        "measure speed, memory and quality, beside PyTorch if it is there; the figures go to\n"
        "build/bench/ (--help: parts and options; hub: a class of simulated students)",
    ),
    "mutants": Command(
        bench.run_mutants,
        "[MODULE]... [--jobs N]",
        "for maintainers: change the core in 200 small ways, and show which test fails for each\n"
        "(takes half an hour; MODULE: autograd, nn, ...)",
    ),
    "grade": Command(
        sets.grade,
        "FOLDER [--out FOLDER] [--help]",
        "for teachers: grade the problem sets that students handed in; see docs/grading.md\n"
        "(--help: all options)",
    ),
    "hub": Command(
        hub.hub,
        "[--config FILE] [--ip ADDRESS] [--port N] [--help]",
        "for teachers: a JupyterHub for a class on this machine; see docs/hub.md",
    ),
    "quizzes": Command(
        sets.make_quizzes,
        "[FOLDER]",
        "for teachers: make the quizzes (docs/quizzes/, which Moodle imports) for Canvas, in\n"
        "build/quizzes/",
    ),
    "release": Command(
        release.release,
        "[--out FILE]",
        "for teachers: pack what students get, without solutions and hidden tests",
    ),
    "table": Command(
        slides.show_table,
        "[NAME]",
        "for maintainers: count each lesson's minutes, words, pictures, exercises and slides, and say\n"
        "what is beyond its limit (with a name: by section)",
    ),
    "problems": Command(
        sets.make_problems,
        "[--check] [NAME]...",
        "for maintainers: make notebooks/problems/ from notebooks/solutions/, without solutions\n"
        "and hidden tests (--check: only say where what is stored differs)",
    ),
    "execute": Command(
        lab.execute,
        "[NAME]...",
        "for maintainers: run the project's notebooks (or those named) from top to bottom\n"
        "and store what they show",
    ),
    "lock": Command(
        locking.write_locks,
        "[--upgrade]",
        "for maintainers: write the locks (tools/locks/) again (needs uv)",
    ),
}


def run(arguments: list[str]) -> int:
    """Do what the command line says. UserError is told in plain words; the exit code is then 1."""
    try:
        if arguments[:1] in (["-h"], ["--help"], ["help"]):
            print(help_text())
            return 0
        name = arguments[0] if arguments and not arguments[0].startswith("-") else ""
        if name not in COMMANDS:
            raise unknown(name)
        return COMMANDS[name].run(here(), arguments[1:] if name else arguments)
    except KeyboardInterrupt:
        print("\nStopped. The same command starts again.", file=sys.stderr)
        return 130
    except (UserError, OSError) as error:
        if os.environ.get("MINIGPT_DEBUG"):
            raise
        error = error if isinstance(error, UserError) else system_error(error)
        print("\n".join([error.what, *(f"  {line}" for line in error.advice)]), file=sys.stderr)
        return 1


def unknown(name: str) -> UserError:
    close = difflib.get_close_matches(name, [known for known in COMMANDS if known], n=1)
    return UserError(
        f"start.py has no command {name!r}.",
        *([f"Did you mean {close[0]}?"] if close else []),
        f"{python_name()} start.py --help shows what there is.",
    )


def help_text() -> str:
    lines = ["Mini-GPT: six lessons in which you write, train and question a small GPT.", ""]
    for name, command in COMMANDS.items():
        lines.append(" ".join(filter(None, [python_name(), "start.py", name, command.usage])))
        lines += [f"    {line}" for line in command.about.splitlines()]
    return "\n".join(lines)
