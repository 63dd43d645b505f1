"""The page that a student gets back: points, comments, what the checks said; no network, no script."""

from __future__ import annotations

import copy
import html
import re

from nbconvert.exporters import HTMLExporter
from nbformat import NotebookNode

from tools.teaching.grading.cells import ProblemSet
from tools.teaching.grading.report import Row

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60em; margin: 1em auto; padding: 0 1em;
 color: #111; background: #fff }}
table {{ border-collapse: collapse }} th, td {{ padding: 2px 10px; text-align: left; vertical-align: top }}
tbody tr:nth-child(odd) {{ background: #f3f3f3 }} td.points {{ text-align: right; white-space: nowrap }}
pre {{ background: #f6f6f6; padding: 0.5em; overflow-x: auto; white-space: pre-wrap }}
img, svg {{ max-width: 100% }} .anchor-link, .jp-InputPrompt, .jp-OutputPrompt, .prompt {{ display: none }}
</style></head><body>
{body}
</body></html>
"""


def feedback(row: Row, problem_set: ProblemSet, notebook: NotebookNode | None) -> str:
    """The page of one student and one set."""
    title = html.escape(f"{row.student}: {row.set_name}")
    if row.problem or notebook is None:
        text = html.escape(f"Not graded, 0 points: {row.problem or 'nothing handed in'}.")
        return PAGE.format(title=title, body=f"<h1>{title}</h1><p>{text}</p>")
    cells = points_table(row) + shown(notebook, problem_set)
    return PAGE.format(title=title, body=f"<h1>{title}</h1>\n{cells}")


def points_table(row: Row) -> str:
    score, most = (a + b for a, b in zip(row.points(False), row.points(True)))
    lines = []
    for grade in row.grades:
        points = "waits for your teacher" if grade.score is None else f"{grade.score:g}"
        comment = f"<br>{html.escape(grade.comment)}" if grade.comment.strip() else ""
        lines.append(
            f'<tr><td>{html.escape(grade.title)}{comment}</td><td class="points">{points} of '
            f"{grade.max_score:g}</td></tr>"
        )
    late = "<p>It came late.</p>" if row.late else ""
    return (
        f"<p>Points: {score:g} of {most:g}"
        f"{', some are not marked yet' if row.waiting else ''}.</p>{late}\n<table><thead><tr><th>Problem"
        f"</th><th>Points</th></tr></thead><tbody>{''.join(lines)}</tbody></table>\n"
    )


def shown(notebook: NotebookNode, problem_set: ProblemSet) -> str:
    """The notebook as HTML that loads nothing; the teacher's cells as students know them."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if name and problem_set.is_teachers(name):
            cell.source = problem_set.given[name].source
        cell.metadata = {}
    page, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    page = re.sub(r"<script\b.*?(</script\s*>|$)", "", page, flags=re.DOTALL | re.IGNORECASE)
    return re.sub(
        r"<(link|iframe|object|embed|meta|base|form)\b[^>]*>", "", page, flags=re.IGNORECASE
    )
