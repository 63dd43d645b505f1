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


def student_copy(original: bytes, outputs: bool = False, hand_in: str = "") -> bytes:
    """The bytes of a notebook's copy for students. What is no notebook is copied as it is.

    With `outputs` the outputs of code cells stay. `hand_in` names a problem set: its copy has two
    more cells at its end, by which it is handed in.
    """
    change = without_comments if outputs else for_students
    try:
        notebook = json.loads(original)
        notebook["cells"] = [cell for cell in map(change, notebook["cells"]) if cell]
    except (ValueError, TypeError, LookupError, AttributeError):
        return original
    if hand_in:
        notebook["cells"] += hand_in_cells(hand_in)
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True)
    return (text + "\n").encode("utf-8", "surrogatepass")


def hand_in_cells(name: str) -> list[dict]:
    text_id, code_id = HAND_IN_CELLS
    text = HAND_IN_TEXT.splitlines(keepends=True)
    code = HAND_IN_CODE.format(name=name).splitlines(keepends=True)
    ran = {"execution_count": None, "outputs": []}
    return [
        {"cell_type": "markdown", "id": text_id, "metadata": {}, "source": text},
        {"cell_type": "code", "id": code_id, "metadata": {}, "source": code} | ran,
    ]


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
