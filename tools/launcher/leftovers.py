"""What a part of the tests changes in the project, or leaves among the temporary files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Made by start.py and by programs that run: named in .gitignore, and no part of the project.
MADE = {
    ".git", ".venv", ".venv-site", ".jupyter", "build", "hub", "my_work", "__pycache__",
    ".pytest_cache", ".ruff_cache", ".hypothesis", ".ipynb_checkpoints", ".coverage",
}  # fmt: skip
CHROMIUM = ".org.chromium."  # its own lock, which stays where it is ended before it has tidied up


class Leftovers(list):
    """Sentences about what was left; empty if nothing was."""


@contextlib.contextmanager
def watched(root: Path) -> Iterator[tuple[dict[str, str], Leftovers]]:
    """The variables with which programs run, and, when they are done, what they left."""
    outside = Path(tempfile.gettempdir())
    found = Leftovers()
    before = contents(root)
    temporary = Path(tempfile.mkdtemp(prefix="mini-gpt-", dir=outside))
    variables = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    try:
        yield variables | {"PYTEST_DEBUG_TEMPROOT": str(outside)}, found
        after = contents(root)
        found += [f"new: {name}" for name in sorted(after.keys() - before.keys())]
        found += [f"gone: {name}" for name in sorted(before.keys() - after.keys())]
        both = sorted(after.keys() & before.keys())
        found += [f"changed: {name}" for name in both if before[name] != after[name]]
        left = [path.name for path in sorted(temporary.iterdir())]
        found += [f"temporary: {name}" for name in left if not name.startswith(CHROMIUM)]
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def contents(root: Path) -> dict[str, str]:
    """Each file of the project by its path, with a hash of what is in it."""
    found = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in MADE]
        for name in files:
            path = Path(folder, name)
            if name not in MADE and not name.endswith((".pyc", ".egg-info")):
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[path.relative_to(root).as_posix()] = digest
    return found
