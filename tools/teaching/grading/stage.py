"""What the process of a notebook may import of the project: a copy, without checks and references."""

from __future__ import annotations

import compileall
import shutil
from pathlib import Path

from tools.launcher.project import here

OURS = Path(__file__).parent


def make_stage(folder: Path) -> Path:
    """A folder with the package, a stand-in for its checks, and the process's own code."""
    package = here().root / "minigpt_helpers"
    unwanted = shutil.ignore_patterns("checks", "__pycache__")
    shutil.copytree(package, folder / "minigpt_helpers", ignore=unwanted)
    (folder / "minigpt_helpers" / "checks").mkdir()
    shutil.copyfile(OURS / "standin.py", folder / "minigpt_helpers" / "checks" / "__init__.py")
    guest = folder / "minigpt_guest"
    guest.mkdir()
    (guest / "__init__.py").touch()
    for name in ("guest.py", "wire.py", "jail.py"):
        shutil.copyfile(OURS / name, guest / name)
    folder.chmod(0o755)
    compileall.compile_dir(folder, quiet=2)
    return folder
