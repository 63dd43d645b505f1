"""The commands around problem sets: ``problems`` makes them, ``grade`` grades what comes back."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tools.launcher.environment import prepare
from tools.launcher.project import Project, UserError, python_name


def solutions(project: Project, names: list[str]) -> list[Path]:
    """The solutions of the sets named (``ps3``, ``3``, ``attention``), or all."""
    known = sorted((project.notebooks / "solutions").glob("*.ipynb"))
    if not known:
        raise UserError(
            f"There are no solutions in {project.notebooks / 'solutions'}.",
            "Only the teacher's copy of the project has them (git clone).",
        )
    chosen = []
    for name in names:
        word = Path(name).name.removesuffix(".ipynb").lower()
        fits = [path for path in known if path.stem.split("_")[0] in (word, f"ps{word}")]
        fits = fits or [path for path in known if word and word in path.stem]
        if len(fits) != 1:
            raise UserError(
                f"There is no problem set called {name!r}.",
                "There are: " + ", ".join(path.stem for path in known),
            )
        chosen += fits
    return chosen or known


def make_problems(project: Project, arguments: list[str]) -> int:
    """``problems [--check] [NAME]...``: what students open, made from the solutions."""
    options = [word for word in arguments if word.startswith("-")]
    if set(options) - {"--check"}:
        raise UserError(
            f"problems has no option {options[0]!r}.", f"{python_name()} start.py problems --check"
        )
    chosen = solutions(project, [word for word in arguments if not word.startswith("-")])
    prepare(project, "teaching")
    return subprocess.call(
        [str(project.python), "-m", "tools.teaching.problems", *options, *map(str, chosen)],
        cwd=project.root,
        env=project.child_env(),
    )


def grade(project: Project, arguments: list[str]) -> int:
    """``grade FOLDER [options]``; paths are seen from the folder you are in."""
    if not (project.root / "tools" / "teaching" / "grading").is_dir():
        raise UserError(
            "The tools for grading are not here.",
            "Only the teacher's copy of the project has them (git clone).",
        )
    prepare(project, "teaching")
    command = [str(project.python), "-P", "-m", "tools.teaching.grading", *arguments]
    return subprocess.call(command, env=project.child_env())


def make_quizzes(project: Project, arguments: list[str]) -> int:
    """``quizzes [FOLDER]``: the questions of docs/quizzes as archives that Canvas imports."""
    if not (project.root / "docs" / "quizzes").is_dir():
        raise UserError(
            "There are no quizzes here.",
            "Only the teacher's copy of the project has them (git clone).",
        )
    prepare(project, "lessons")
    return subprocess.call(
        [str(project.python), "-m", "tools.teaching.quizzes", *arguments[:1]],
        cwd=project.root,
        env=project.child_env(),
    )
