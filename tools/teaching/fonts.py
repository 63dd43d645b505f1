"""The fonts of all slides, decks and presenter: ``python -m tools.teaching.fonts FOLDER``

The folder gets the files, their licences and ``fonts.css``, which names the faces "Slide Text", "Slide Signs" (for
signs that the first lacks) and "Slide Code".
"""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

THEME = Path(__file__).parent / "deck_theme"
DEJAVU = ["DejaVuSans.ttf", "DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf", "LICENSE_DEJAVU"]


def copy_fonts(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    matplotlib = Path(find_spec("matplotlib").origin).parent / "mpl-data" / "fonts" / "ttf"
    files = [THEME / "fonts.css", *(THEME / "reveal").glob("*source-sans-pro*")]
    for file in [*files, *(matplotlib / name for name in DEJAVU)]:
        shutil.copyfile(file, folder / file.name)


if __name__ == "__main__":
    copy_fonts(Path(sys.argv[1]))
