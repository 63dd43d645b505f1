"""The commands around problem sets: ``problems`` makes them, ``grade`` grades what comes back."""

from __future__ import annotations

import subprocess
from pathlib import Path

from launcher.environment import prepare
from launcher.place import Place, Trouble, python_name


def solutions(place: Place, names: list[str]) -> list[Path]:
    """The solutions of the sets named (``ps3``, ``3``, ``attention``), or all."""
    known = sorted((place.notebooks / "solutions").glob("*.ipynb"))
    if not known:
        raise Trouble(
            f"There are no solutions in {place.notebooks / 'solutions'}.",
            "Only the teacher's copy of the project has them (git clone).",
        )
    chosen = []
    for name in names:
        word = Path(name).name.removesuffix(".ipynb").lower()
        fits = [path for path in known if path.stem.split("_")[0] in (word, f"ps{word}")]
        fits = fits or [path for path in known if word and word in path.stem]
        if len(fits) != 1:
            raise Trouble(
                f"There is no problem set called {name!r}.",
                "There are: " + ", ".join(path.stem for path in known),
            )
        chosen += fits
    return chosen or known


def make_problems(place: Place, arguments: list[str]) -> int:
    """``problems [--check] [NAME]...``: what students open, made from the solutions."""
    options = [word for word in arguments if word.startswith("-")]
    if set(options) - {"--check"}:
        raise Trouble(
            f"problems has no option {options[0]!r}.", f"{python_name()} start.py problems --check"
        )
    chosen = solutions(place, [word for word in arguments if not word.startswith("-")])
    prepare(place, "teaching")
    return subprocess.call(
        [str(place.python), "-m", "launcher.problems", *options, *map(str, chosen)],
        cwd=place.root, env=place.child_env(),
    )


def grade(place: Place, arguments: list[str]) -> int:
    """``grade FOLDER [options]``; paths are seen from the folder you are in."""
    prepare(place, "teaching")
    command = [str(place.python), "-P", "-m", "launcher.grading", *arguments]
    return subprocess.call(command, env=place.child_env())
