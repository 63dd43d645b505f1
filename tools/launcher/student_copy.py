"""The notebook that a student opens: the project's own, without what gives an answer away.

Left out are the outputs of code cells (but for the still picture of a widget), and from text cells
what is for the teacher alone: the comments `<!-- slide ... -->` and `<!-- notes ... -->`.
"""

from __future__ import annotations

import json
import re

COMMENT = re.compile(r"\s*<!--\s*(?:slide|notes)\b.*?-->", re.DOTALL)
STILL = 'class="minigpt-still"'
HAND_IN_CELLS = ("hand-in-text", "hand-in")  # their ids
HAND_IN_TEXT = """## Hand in

Take away the `#` in the next cell, save this notebook (Ctrl+S), and run the cell. The answer is your
receipt. You may do so as often as you like: the last one counts."""
HAND_IN_CODE = """from minigpt_helpers.hand_in import hand_in

# hand_in("{name}")"""


def student_copy(original: bytes, outputs: bool = False) -> bytes:
    """The bytes of a notebook's copy for students. What is no notebook is copied as it is.

    With `outputs` the outputs of code cells stay.
    """
    change = without_comments if outputs else for_students
    try:
        notebook = json.loads(original)
        notebook["cells"] = [cell for cell in map(change, notebook["cells"]) if cell]
    except (ValueError, TypeError, LookupError, AttributeError):
        return original
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True)
    return (text + "\n").encode("utf-8", "surrogatepass")


def with_hand_in(copy: bytes, name: str) -> bytes:
    """The copy of a problem set with two more cells at its end, by which it is handed in."""
    text, code = HAND_IN_CELLS
    more = [
        {"cell_type": "markdown", "id": text, "metadata": {}, "source": HAND_IN_TEXT},
        {
            "cell_type": "code",
            "execution_count": None,
            "id": code,
            "metadata": {},
            "outputs": [],
            "source": HAND_IN_CODE.format(name=name),
        },
    ]
    for cell in more:
        cell["source"] = cell["source"].splitlines(keepends=True)
    try:
        notebook = json.loads(copy)
        notebook["cells"] += more
    except (ValueError, TypeError, LookupError):  # no notebook
        return copy
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True)
    return (text + "\n").encode("utf-8", "surrogatepass")


def for_students(cell: dict) -> dict | None:
    """A cell as students get it; None if it was for the slides alone."""
    if cell["cell_type"] == "code":
        cell["execution_count"] = None
        cell["outputs"] = [output for output in cell["outputs"] if is_still(output)]
    return without_comments(cell)


def without_comments(cell: dict) -> dict | None:
    """A cell without what is for the teacher; None if nothing is left."""
    if cell["cell_type"] == "markdown":
        text = joined(cell["source"])
        if COMMENT.search(text):
            rest = COMMENT.sub("", text).strip("\n")
            cell["source"] = rest.splitlines(keepends=True)
            return cell if rest.strip() else None
    return cell


def is_still(output: dict) -> bool:
    """Is this the picture that stands where a widget is not running?"""
    return STILL in joined(output.get("data", {}).get("text/html", ""))


def joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)
