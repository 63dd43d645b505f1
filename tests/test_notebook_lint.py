"""The lint finds each fault in a notebook made bad on purpose, and passes the project's own."""

from __future__ import annotations

import copy

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from notebook_lint import lint, lint_file, main
from problem_set import small_set
from tools.launcher.project import here

PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8/5+hHgAH"
SHOWN = f'<figure><img src="{PNG}" alt="The loss falls from 3.2 to 1.9."><figcaption>x</figcaption>'


def slide(cell, **metadata):
    cell.metadata.update({"slideshow": {"slide_type": "slide"}}, **metadata)
    return cell


def text(source):
    return slide(new_markdown_cell(source))


def code(source="x = 1", outputs=(), count=1, **metadata):
    return slide(
        new_code_cell(source, outputs=list(outputs), execution_count=count), **metadata
    )


def printed(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def shown(**data):
    kinds = {"plain": "text/plain", "html": "text/html", "png": "image/png"}
    kinds["svg"] = "image/svg+xml"
    return new_output("display_data", data={kinds[key]: value for key, value in data.items()})


def notebook(*cells):
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    return new_notebook(cells=list(cells), metadata=metadata)


def findings(*cells, folder=None):
    return lint(notebook(*cells), folder or here().notebooks)



@pytest.fixture
def good():
    return notebook(
        text("# Turn text into numbers\n\nSee [the paper](https://arxiv.org/abs/1706.03762)."),
        code("loss = 1.23456789\nprint(round(loss, 4))", [printed("1.2346\n")], 1),
        code("show(fig, 'The loss falls.')", [shown(html=SHOWN, plain="Figure: the loss")], 2),
        code("next_(1)\n____", [printed("not done yet\n")], 3),
    )


def test_a_good_notebook_passes(good, tmp_path):
    assert lint(good, tmp_path) == []
    nbformat.write(good, tmp_path / "good.ipynb")
    assert lint_file(tmp_path / "good.ipynb") == []


BAD_CODE = {
    "!ls": "shell command",
    "files = !ls": "shell command",
    "%pip install numpy": "shell command",
    "%conda install numpy": "shell command",
    "%%bash\nls": "shell command",
    "import os\nos.system('ls')": "shell command",
    "import subprocess": "imports subprocess",
    "from subprocess import run": "imports subprocess",
    "import matplotlib.pyplot as plt": "imports matplotlib.pyplot",
    "from matplotlib import pyplot as plt": "imports matplotlib.pyplot",
    "%matplotlib widget": "%matplotlib widget",
    "from ipywidgets import interact\ninteract(f, x=3)": "calls interact",
    "@interact(x=3)\ndef f(x): pass": "calls interact",
    "out = widgets.Output()": "calls Output",
    "clear_output(wait=True)": "calls clear_output",
    "display(x, display_id=True)": "display_id",
    "text = read_text('/home/someone/text.txt')": "absolute path",
    "text = read_text('/Users/someone/text.txt')": "absolute path",
    r"text = read_text('C:\\Users\\someone\\text.txt')": "absolute path",
    "text = read_text('/tmp/text.txt')": "absolute path",
    "address = 'https://example.org/names.txt'": "an address in code",
    "script = 'cdn.jsdelivr.net/npm/d3'": "address of a CDN",
    "\n".join(f"x{i} = {i}" for i in range(41)): "41 lines of code",
    "x = = 1": "not valid Python",
    "": "empty code cell",
}


@pytest.mark.parametrize("source", BAD_CODE)
def test_bad_code_is_found(source):
    found = findings(text("# Title"), code(source))
    assert [BAD_CODE[source] in finding.what for finding in found] == [True]
    assert found[0].cell == 2
    assert found[0].first_line == source.split("\n")[0]


def test_forty_lines_pass():
    assert findings(code("\n".join(f"x{i} = {i}" for i in range(40)))) == []


def test_words_in_strings_and_comments_pass():
    source = 'print("interact, !ls, subprocess")  # clear_output, plt.plot\nrate = "A:\\n"'
    assert findings(code(source)) == []


def test_invalid_python_passes_if_it_is_meant():
    assert findings(code("x = = 1", tags=["raises-exception"])) == []


BAD_OUTPUT = {
    "stderr": (printed("UserWarning: something\n", name="stderr"), "stderr"),
    "error": (new_output("error", ename="KeyError", evalue="'x'", traceback=[]), "KeyError"),
    "path": (printed("saved to /home/someone/model.safetensors\n"), "absolute path"),
    "windows path": (printed("saved to C:\\Users\\someone\\model\n"), "absolute path"),
    "repr": (shown(plain="<Model object at 0x7f3c5a1b2d30>"), "memory address"),
    "web": (printed("see https://example.org\n"), "an address in an output"),
    "local server": (printed("at localhost:8888\n"), "an address in an output"),
    "cdn": (shown(html='<script src="//unpkg.com/x.js"></script>'), "CDN"),
    "script": (shown(html='<script src="https://example.org/x.js"></script>'), "file from the"),
    "png alone": (shown(png="iVBORw0KGgo=", plain="<Figure>"), "picture without alt text"),
    "svg alone": (shown(svg="<svg></svg>", plain="<SVG>"), "picture without alt text"),
    "no alt": (shown(html=f'<img src="{PNG}">'), "picture without alt text"),
    "empty alt": (shown(html=f'<img src="{PNG}" alt=" ">'), "picture without alt text"),
    "alt of no use": (shown(html=f'<img src="{PNG}" alt="Figure">'), "picture without alt text"),
    "nameless svg": (shown(html="<svg><rect/></svg>"), "picture without alt text"),
    "svg, no role": (shown(html='<svg aria-label="The mask"></svg>'), "picture without alt text"),
    "decimals printed": (printed("loss 1.23457\n"), "more than four decimals"),
    "decimals shown": (shown(plain="array([0.12345678])"), "more than four decimals"),
    "decimals in a table": (shown(html="<td>0.123456</td>"), "more than four decimals"),
    "decimals, exponent": (shown(plain="1.23456e-05"), "more than four decimals"),
}


@pytest.mark.parametrize("name", BAD_OUTPUT)
def test_bad_outputs_are_found(name):
    output, what = BAD_OUTPUT[name]
    found = findings(code(outputs=[output]))
    assert any(what in finding.what for finding in found), found
    assert {finding.cell for finding in found} == {1}


GOOD_OUTPUT = {
    "a picture with alt text": shown(html=SHOWN, png="iVBORw0KGgo=", plain="Figure"),
    "an svg with a label": shown(html='<svg role="img" aria-label="The mask, 4 by 4"></svg>'),
    "an svg with a title": shown(html='<svg role="img"><title>The mask</title><rect/></svg>'),
    "an svg for the eye alone": shown(html='<svg aria-hidden="true"><rect/></svg>'),
    "coordinates": shown(
        html='<svg role="img" aria-label="A line" xmlns="http://www.w3.org/2000/svg">'
        '<path d="M 0.123456 1.234567"/></svg>'
    ),
    "four decimals": printed("loss 1.2346, version 3.11.7\n"),
    "a fraction of seconds": printed("1/3 is about 0.3333\n"),
}


@pytest.mark.parametrize("name", GOOD_OUTPUT)
def test_good_outputs_pass(name):
    assert findings(code(outputs=[GOOD_OUTPUT[name]])) == []


def test_an_error_passes_if_its_cell_is_tagged():
    output = new_output("error", ename="KeyError", evalue="'x'", traceback=[])
    assert findings(code(outputs=[output], tags=["raises-exception"])) == []


BAD_TEXT = {
    "![](../README.md)": "picture without alt text",
    "![ ](../README.md)": "picture without alt text",
    "![image][1]": "picture without alt text",
    '<img src="../README.md">': "picture without alt text",
    '<img src="../README.md" alt="">': "picture without alt text",
    "![The mask](mask.png)": "lies beside the notebook",
    "![The mask](../pictures/absent.png)": "does not exist",
    "![The mask](https://example.org/mask.png)": "picture from the internet",
    '<img alt="The mask" src="https://example.org/mask.png">': "picture from the internet",
    "Look into /home/someone/notes": "absolute path",
    "Take it from https://cdn.jsdelivr.net/npm/d3": "address of a CDN",
    '<iframe src="https://example.org"></iframe>': "file from the internet",
}


@pytest.mark.parametrize("source", BAD_TEXT)
def test_bad_text_is_found(source, tmp_path):
    (tmp_path / "README.md").write_text("x")
    folder = tmp_path / "notebooks"
    folder.mkdir()
    found = findings(text(source), folder=folder)
    assert [BAD_TEXT[source] in finding.what for finding in found] == [True]


def test_good_text_passes(tmp_path):
    (tmp_path / "mask.png").write_bytes(b"x")
    folder = tmp_path / "notebooks"
    folder.mkdir()
    source = "![The mask, 4 by 4](../mask.png)\n\n```\n![](x.png)\n```\n\nWrite `![](x.png)`."
    assert findings(text(source), text("![The mask](attachment:mask.png)"), folder=folder) == []


@pytest.mark.parametrize("counts", [(None, 1), (2, 3), (1, 3), (2, 1), (1, 1)])
def test_counts_must_be_1_to_n(counts):
    found = findings(*(code(count=count) for count in counts))
    assert found
    assert all("never executed" in f.what or "its count is" in f.what for f in found)


def test_counts_skip_text_cells():
    assert findings(text("# A"), code(count=1), text("B"), code(count=2)) == []


def test_widget_state_is_found(good, tmp_path):
    good.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {}}
    assert ["widget state" in finding.what for finding in lint(good, tmp_path)] == [True]


@pytest.mark.parametrize("kernelspec", [None, {"name": "my-env", "display_name": "My"}])
def test_another_kernel_is_found(good, kernelspec, tmp_path):
    good.metadata.pop("kernelspec")
    if kernelspec:
        good.metadata["kernelspec"] = kernelspec
    assert ["the kernel is" in finding.what for finding in lint(good, tmp_path)] == [True]


@pytest.mark.parametrize("slideshow", [None, {}, {"slide_type": "page"}])
@pytest.mark.parametrize("make", [text, code])
def test_a_cell_without_a_role_in_the_slides_is_found(make, slideshow):
    cell = make("x = 1")
    cell.metadata.pop("slideshow")
    if slideshow is not None:
        cell.metadata["slideshow"] = slideshow
    assert ["slide type" in finding.what for finding in findings(cell)] == [True]


def many(number, **first_metadata):
    cells = [code(count=count) for count in range(1, number + 1)]
    cells[0].metadata.update(first_metadata)
    return cells


@pytest.mark.parametrize("tag", ["nbval-ignore-output", "nbval-skip"])
def test_one_exempt_cell_in_twenty_passes_with_a_reason(tag):
    reason = "the time differs from run to run"
    assert findings(*many(20, tags=[tag], nbval_reason=reason)) == []
    found = findings(*many(19, tags=[tag], nbval_reason=reason))
    assert ["more than one in 20" in finding.what for finding in found] == [True]


@pytest.mark.parametrize("reason", [{}, {"nbval_reason": ""}, {"nbval_reason": "because"}])
def test_an_exemption_without_a_reason_is_found(reason):
    found = findings(*many(20, tags=["nbval-ignore-output"], **reason))
    assert ["without a reason" in finding.what for finding in found] == [True]


@pytest.mark.parametrize("comment", ["# NBVAL_IGNORE_OUTPUT", "#NBVAL_SKIP"])
def test_an_exemption_by_comment_counts_too(comment):
    cells = many(20)
    cells[3].source = f"{comment}\nx = 1"
    assert ["without a reason" in finding.what for finding in findings(*cells)] == [True]


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"nbformat": 4, "cells": [1]}'])
def test_a_broken_file_is_a_finding(content, tmp_path):
    path = tmp_path / "broken.ipynb"
    path.write_text(content)
    assert ["not a valid notebook" in finding.what for finding in lint_file(path)] == [True]


def test_the_report_names_file_cell_line_and_remedy(good, tmp_path, capsys):
    bad = copy.deepcopy(good)
    bad.cells[1].execution_count = None
    nbformat.write(good, tmp_path / "good.ipynb")
    nbformat.write(bad, tmp_path / "bad.ipynb")
    assert main([str(tmp_path / "good.ipynb")]) == 0
    assert main([str(tmp_path / "good.ipynb"), str(tmp_path / "bad.ipynb")]) == 1
    report = capsys.readouterr().out.splitlines()
    assert report[0] == "0 findings in 1 notebooks"
    assert report[1].startswith(
        f"{tmp_path / 'bad.ipynb'}: cell 2 ('loss = 1.23456789'): never executed. Run the whole"
    )
    assert report[2] == "1 findings in 2 notebooks"


# Problem sets


@pytest.fixture
def solution():
    made = small_set()
    for count, cell in enumerate((c for c in made.cells if c.cell_type == "code"), start=1):
        cell.execution_count = count
    return made


def test_a_sound_solution_passes_without_roles_for_slides(solution, tmp_path):
    assert lint(solution, tmp_path) == []


SOLUTION, TEST = 2, 3  # cells of the small set


def no_schema(cells):
    cells[SOLUTION].metadata.nbgrader.pop("schema_version")


def old_schema(cells):
    cells[SOLUTION].metadata.nbgrader["schema_version"] = 2


def no_points(cells):
    cells[TEST].metadata.nbgrader.pop("points")


def other_points(cells):
    cells[TEST].metadata.nbgrader["points"] = 3


def not_locked(cells):
    cells[TEST].metadata.nbgrader["locked"] = False


def no_hidden_tests(cells):
    cells[TEST].source = "result = checks.decode_ids(decode)\nresult.score * 2"


def something_after_hidden_tests(cells):
    cells[TEST].source += "\nresult.score * 2"


def no_marks(cells):
    cells[SOLUTION].source = "def decode(ids, chars):\n    return 1"


def not_closed(cells):
    cells[SOLUTION].source += "\n    ### BEGIN SOLUTION"


def no_metadata(cells):
    cells[SOLUTION].metadata.pop("nbgrader")


def same_name(cells):
    cells[TEST].metadata.nbgrader["grade_id"] = "mask-test"


BAD_SETS = {
    no_schema: "metadata that are not complete",
    old_schema: "metadata that are not complete",
    no_points: "metadata that are not complete",
    other_points: "worth 3 points whose last line is 'min(result.score, hidden.score) * 2'",
    not_locked: "not locked",
    no_hidden_tests: "does not end in hidden tests",
    something_after_hidden_tests: "does not end in hidden tests",
    no_marks: "a solution without marks",
    not_closed: "do not close each other",
    no_metadata: "without nbgrader metadata",
    same_name: "a second cell with the grade_id 'mask-test'",
}


@pytest.mark.parametrize("spoil", BAD_SETS, ids=lambda spoil: spoil.__name__)
def test_a_bad_mark_is_found(spoil, solution, tmp_path):
    spoil(solution.cells)
    found = [finding.what for finding in lint(solution, tmp_path)]
    assert len(found) == 1 and BAD_SETS[spoil] in found[0], found


@pytest.mark.parametrize(
    "path", here().tracked_notebooks(), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_the_notebook_keeps_the_rules(path):
    assert "\n".join(map(str, lint_file(path))) == ""
