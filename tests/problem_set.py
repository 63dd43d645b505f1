"""A small problem set for the tests of making, grading and releasing sets."""

from __future__ import annotations

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

NAME = "ps9_small"
FULL = 8.0  # points that need no teacher
OPEN = 4.0


def marked(cell: NotebookNode, name: str, **info: object) -> NotebookNode:
    cell.metadata["nbgrader"] = {
        "schema_version": 3, "solution": False, "grade": False, "locked": False, "task": False,
        "grade_id": name, "cell_type": cell.cell_type, **info,
    }
    cell.id = name
    return cell


def text(name: str, source: str) -> NotebookNode:
    return marked(new_markdown_cell(source), name, locked=True)


def answer(name: str, source: str) -> NotebookNode:
    return marked(new_code_cell(source), name, solution=True)


def graded(name: str, call: str, seed: int, points: int) -> NotebookNode:
    source = f"""result = checks.{call}
display(result)
### BEGIN HIDDEN TESTS
hidden = checks.{call[:-1]}, seed={seed})
min(result.score, hidden.score) * {points}
### END HIDDEN TESTS"""
    return marked(new_code_cell(source), name, grade=True, locked=True, points=points)


def small_set() -> NotebookNode:
    """Three problems with 2, 3 and 3 points and an open question with 4."""
    cells = [
        text("title", "# Problem set 9\n\nWrite two functions, then think."),
        marked(
            new_code_cell("import numpy as np\nfrom minigpt_helpers import checks"),
            "imports", locked=True,
        ),
        answer(
            "decode-solution",
            "def decode(ids, chars):\n"
            "    ### BEGIN SOLUTION\n"
            '    return "".join(chars[number] for number in ids)\n'
            "    ### END SOLUTION",
        ),
        graded("decode-test", "decode_ids(decode)", 20817, 2),
        text("mask-text", "Now the mask: 0 where position t may look."),
        answer(
            "mask-solution",
            "def causal_mask(T):\n"
            "    ### BEGIN SOLUTION\n"
            "    return np.triu(np.full((T, T), -np.inf), k=1)\n"
            "    ### END SOLUTION",
        ),
        graded("mask-test", "causal_mask(causal_mask)", 31415, 3),
        answer(
            "bits-solution",
            "def bits(probs):\n"
            "    ### BEGIN SOLUTION\n"
            "    return float(np.mean(-np.log2(probs)))\n"
            "    ### END SOLUTION",
        ),
        graded("bits-test", "bits_per_character(bits)", 27182, 3),
        text("open-text", "Which of the two functions is hard to test, and why?"),
        marked(
            new_markdown_cell(
                "### BEGIN SOLUTION\n"
                "One point for naming the edge cases of the mask, three for a reason.\n"
                "### END SOLUTION"
            ),
            "think-open", grade=True, solution=True, points=4,
        ),
    ]
    return new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {
                "name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"
            },
            "language_info": {"name": "python"},
        },
    )
