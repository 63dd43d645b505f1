"""What every notebook of the project must keep to: ``python tests/notebook_lint.py FILE...``

A notebook with nbgrader's metadata is a problem set, or its solution: it needs no roles for slides,
and its marks must be sound. A lesson, or one of its extras, gives nothing away (``prompt_lint``).

A tag exempts a cell from nbval's comparison (``nbval-ignore-output``, ``nbval-skip``); its reason
stands in the cell's metadata: ``"nbval_reason": "how long it took differs from run to run"``.
"""

from __future__ import annotations

import ast
import re
import sys
import warnings
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

from prompt_lint import markdown_problems as rendering_problems
from prompt_lint import prompt_problems

# Lessons that still give answers away or are beyond a limit of tools/teaching/lesson_table.py.
NOT_YET_REWORKED: set[str] = set()

MAX_LINES = 40
ONE_IN = 20
SLIDE_TYPES = ("slide", "subslide", "fragment", "skip", "notes", "-")
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/svg+xml")
EXEMPT_TAGS = {"nbval-ignore-output", "nbval-skip", "pytest-validate-ignore-output"}
EXEMPT_COMMENT = re.compile(
    r"^\s*#+\s*(NBVAL_IGNORE_OUTPUT|NBVAL_SKIP|PYTEST_VALIDATE_IGNORE_OUTPUT)\s*$", re.MULTILINE
)
EMPTY_ALTS = {"", "figure", "image", "img", "picture", "plot", "graph", "chart", "png", "svg"}

INLINE_DATA = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,[A-Za-z0-9+/=\s]+")
NAMESPACE = re.compile(r"https?://www\.w3\.org/\S*")  # names of formats inside an SVG, not fetched
ABSOLUTE_PATH = re.compile(
    r"(?<![\w.~])/(?:home|Users|root|tmp|var|private|mnt|opt|usr|etc|workspace|work|content)/\w"
    r"|\b[A-Za-z]:[\\/]+(?:Users|Windows|Program|Temp|Documents)|\bfile://"
)
MEMORY_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
WEB_ADDRESS = re.compile(r"\b(?:https?|wss?|ftp)://|\blocalhost:\d|\b127\.0\.0\.1\b")
CDN = re.compile(
    r"\b(?:cdn\.|cdnjs\.|unpkg\.com|jsdelivr\.net|esm\.sh|skypack\.dev|bootstrapcdn\.com|"
    r"googleapis\.com|gstatic\.com)"
)
MANY_DECIMALS = re.compile(r"\d\.\d{5,}")
MARKDOWN_IMAGE = re.compile(r"!\[([^\]]*)\](?:\(\s*<?([^)\s>]+)[^)]*\)|\[[^\]]*\])")
SET_MARK = re.compile(r"### (BEGIN|END) (SOLUTION|HIDDEN TESTS)\s*$", re.MULTILINE)
MARKDOWN_CODE = re.compile(
    r"^ {0,3}(?P<fence>`{3,}|~{3,}).*?^ {0,3}(?P=fence)[`~]*\s*$|(?P<tick>`+).+?(?P=tick)",
    re.MULTILINE | re.DOTALL,
)

# Names that a lesson must not call, with what to do instead.
FORBIDDEN_CALLS = {
    "interact": "build the widget in minigpt_helpers.widgets",
    "interactive": "build the widget in minigpt_helpers.widgets",
    "interactive_output": "build the widget in minigpt_helpers.widgets",
    "interact_manual": "build the widget in minigpt_helpers.widgets",
    "Output": "build the widget in minigpt_helpers.widgets",
    "clear_output": "report through a widget or print a line now and then",
    "update_display": "report through a widget or print a line now and then",
}
SHELL_ADVICE = "leave it out: start.py installs everything before the notebook opens"


class Finding(NamedTuple):
    """One thing that is wrong, where it is, and what to do."""

    cell: int | None  # counted from 1; None: the whole notebook
    first_line: str
    what: str
    advice: str

    def __str__(self) -> str:
        where = "notebook" if self.cell is None else f"cell {self.cell} ({self.first_line!r})"
        return f"{where}: {self.what}. {self.advice[0].upper()}{self.advice[1:]}."


def lint_file(path: Path) -> list[Finding]:
    """All that is wrong with one notebook file."""
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # whatever the parser or the validator makes of a broken file
        line = (str(error).splitlines() or [""])[0]
        return [Finding(None, "", f"not a valid notebook ({line})", "fix or restore the file")]
    return lint(notebook, path.parent, reworked=path.stem not in NOT_YET_REWORKED)


def lint(
    notebook: nbformat.NotebookNode, folder: Path, *, reworked: bool = True
) -> list[Finding]:
    """All that is wrong with a notebook; ``folder`` is where its pictures are looked for."""
    findings = [Finding(None, "", *problem) for problem in notebook_problems(notebook)]
    is_set = any("nbgrader" in cell.metadata for cell in notebook.cells)
    is_solution = any(SET_MARK.search(cell.source) for cell in notebook.cells)
    for number, cell in enumerate(notebook.cells, start=1):
        first_line = (cell.source.strip().splitlines() or [""])[0][:60]
        problems = [*cell_problems(cell, folder)]
        if is_set:
            problems += set_problems(cell, is_solution)
        elif folder.name != "extras":  # those have no slides
            problems += slide_problems(cell)
        if reworked and cell.cell_type == "markdown":
            problems += rendering_problems(cell.source)
        for problem in problems:
            findings.append(Finding(number, first_line, *problem))
    numbered = [*count_problems(notebook), *name_problems(notebook)]
    if reworked and not is_set:
        numbered += prompt_problems(notebook.cells)
    findings += [
        Finding(number, (notebook.cells[number - 1].source.splitlines() or [""])[0][:60], *problem)
        for number, *problem in numbered
    ]
    return sorted(findings, key=lambda finding: finding.cell or 0)


Problem = tuple[str, str]  # what is wrong, what to do


def notebook_problems(notebook) -> Iterator[Problem]:
    kernel = notebook.metadata.get("kernelspec", {}).get("name")
    if kernel != "python3":
        yield (
            f"the kernel is {kernel!r}, not 'python3'",
            'set metadata.kernelspec.name to "python3"',
        )
    if "widgets" in notebook.metadata:
        yield (
            "widget state is stored in it",
            "run it with start.py execute, which stores none, or delete metadata.widgets",
        )
    code_cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    exempt = sum(map(is_exempt, code_cells))
    if exempt * ONE_IN > len(code_cells):
        yield (
            f"{exempt} of {len(code_cells)} code cells are exempt from comparison, more than one "
            f"in {ONE_IN}",
            "make the output the same in every run: seed it, round it, print no times",
        )


def count_problems(notebook) -> Iterator[tuple[int, str, str]]:
    """Each code cell was run, once, in order."""
    expected = 0
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type != "code":
            continue
        expected += 1
        rerun = "run the whole notebook with start.py execute"
        if not cell.source.strip():
            yield number, "an empty code cell", "delete it"
        elif cell.execution_count is None:
            yield number, "never executed", rerun
        elif cell.execution_count != expected:
            yield number, f"its count is {cell.execution_count}, in order it is {expected}", rerun


def slide_problems(cell) -> Iterator[Problem]:
    slide_type = cell.metadata.get("slideshow", {}).get("slide_type")
    if slide_type not in SLIDE_TYPES:
        yield (
            f"its slide type is {slide_type!r}",
            f"set metadata.slideshow.slide_type to one of {', '.join(SLIDE_TYPES)}",
        )


def cell_problems(cell, folder: Path) -> Iterator[Problem]:
    yield from text_problems(cell.source)
    if cell.cell_type == "markdown":
        yield from markdown_problems(cell.source, folder)
    elif cell.cell_type == "code":
        yield from source_problems(cell)
        yield from exemption_problems(cell)
        for output in cell.outputs:
            yield from output_problems(cell, output)


def text_problems(text: str) -> Iterator[Problem]:
    """What may stand neither in a source nor in an output."""
    text = INLINE_DATA.sub("", text)
    if match := ABSOLUTE_PATH.search(text):
        yield (
            f"an absolute path, {excerpt(text, match)!r}",
            "write it relative to the notebook, or print only the file's name",
        )
    if match := CDN.search(text):
        yield (
            f"the address of a CDN, {excerpt(text, match)!r}",
            "ship the file with the package: lessons run without the internet",
        )


def excerpt(text: str, match: re.Match) -> str:
    return text[match.start() : match.start() + 40].split("\n")[0]


# Sources


def markdown_problems(source: str, folder: Path) -> Iterator[Problem]:
    prose = MARKDOWN_CODE.sub("", source)
    yield from html_problems(prose)
    for match in MARKDOWN_IMAGE.finditer(prose):
        alt, address = match.groups()
        if says_nothing(alt):
            yield f"a picture without alt text, {match.group()[:40]!r}", ALT_ADVICE
        yield from picture_address_problems(address or "", folder)
    for address in tags_in(prose).pictures:
        yield from picture_address_problems(address, folder)


def picture_address_problems(address: str, folder: Path) -> Iterator[Problem]:
    if WEB_ADDRESS.match(address) or address.startswith("//"):
        yield (
            f"a picture from the internet, {address[:40]!r}",
            "ship it with the project: lessons run without the internet",
        )
    elif address and not address.startswith(("data:", "attachment:", "#")):
        if not address.startswith("../"):
            yield (
                f"the picture {address!r} lies beside the notebook",
                "students work on copies in my_work/: put it elsewhere and write ../folder/name",
            )
        elif not (folder / address).is_file():
            yield f"the picture {address!r} does not exist", "add it or correct the path"


def source_problems(cell) -> Iterator[Problem]:
    lines = len(cell.source.splitlines())
    if lines > MAX_LINES:
        yield (
            f"{lines} lines of code, more than {MAX_LINES}",
            "make two cells of it, one thought each",
        )
    if match := WEB_ADDRESS.search(cell.source):
        yield (
            f"an address in code, {excerpt(cell.source, match)!r}",
            "ship the data with the package; a reference belongs into a text cell",
        )
    tree = parse(cell.source)
    if tree is None:
        if "raises-exception" not in cell.metadata.get("tags", []):
            yield "not valid Python", "correct it, or tag the cell raises-exception if it is meant"
        return
    for node in ast.walk(tree):
        yield from node_problems(node)


def parse(source: str) -> ast.AST | None:
    """The cell as Python: IPython turns ``!ls`` and ``%pip`` into calls first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the cell's code
        try:
            return ast.parse(TransformerManager().transform_cell(source))
        except SyntaxError:
            return None


def node_problems(node: ast.AST) -> Iterator[Problem]:
    if isinstance(node, ast.Call):
        name = dotted(node.func)
        last = name.rpartition(".")[2]
        if name in ("get_ipython.system", "get_ipython.getoutput", "os.system", "os.popen"):
            yield "a shell command", SHELL_ADVICE
        elif name in ("get_ipython.run_line_magic", "get_ipython.run_cell_magic"):
            yield from magic_problems(*(ast.literal_eval(argument) for argument in node.args[:2]))
        elif last in FORBIDDEN_CALLS:
            yield f"it calls {last}, which nbval cannot compare", FORBIDDEN_CALLS[last]
        if any(keyword.arg == "display_id" for keyword in node.keywords):
            yield "it uses display_id, which nbval cannot compare", FORBIDDEN_CALLS["clear_output"]
    modules = imported(node)
    if any(module.split(".")[0] in ("subprocess", "pip", "pexpect") for module in modules):
        yield f"it imports {modules[0]}", SHELL_ADVICE
    if {"matplotlib.pyplot", "matplotlib.pylab", "pylab"} & set(modules):
        yield (
            "it imports matplotlib.pyplot, which keeps hidden state and loses the alt text",
            "make a Figure in minigpt_helpers.plots and show it with plots.show(fig, alt)",
        )


def magic_problems(name: str, line: str) -> Iterator[Problem]:
    first = line.split()[:1]
    if name in ("bash", "sh", "script", "cmd", "system", "sx", "pip", "conda", "uv", "mamba", "!"):
        yield f"a shell command, %{name}", SHELL_ADVICE
    elif name in ("matplotlib", "pylab"):
        yield (
            f"%{' '.join([name, *first])}",
            "leave it out: plots.show(fig, alt) shows a figure without it",
        )


def dotted(node: ast.AST) -> str:
    """``a.b.c`` for such an expression, calls in between left out."""
    if isinstance(node, ast.Call):
        return dotted(node.func)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


# Problem sets


def name_problems(notebook) -> Iterator[tuple[int, str, str]]:
    """nbgrader finds a cell by its grade_id: no two may have the same."""
    seen = set()
    for number, cell in enumerate(notebook.cells, start=1):
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if name is not None and name in seen:
            yield number, f"a second cell with the grade_id {name!r}", "give it another"
        seen.add(name)


def set_problems(cell, is_solution: bool) -> Iterator[Problem]:
    """What is wrong with nbgrader's marks in one cell of a problem set or of its solution."""
    marks = [mark.groups() for mark in SET_MARK.finditer(cell.source)]
    kinds = [kind for order, kind in marks if order == "BEGIN"]
    if marks != [(order, kind) for kind in kinds for order in ("BEGIN", "END")]:
        yield (
            "marks that do not close each other",
            "write ### BEGIN SOLUTION, ### END SOLUTION, and the same for HIDDEN TESTS",
        )
    info = cell.metadata.get("nbgrader")
    if info is None:
        if marks:
            yield "a mark in a cell without nbgrader metadata", "nothing takes it out: add them"
        return
    missing = {"schema_version", "grade_id", "grade", "solution", "locked"} - set(info)
    missing |= {"points"} - set(info) if info.get("grade") else set()
    if missing or info["schema_version"] != 3 or not info["grade_id"]:
        yield (
            f"nbgrader metadata that are not complete, {dict(info)}",
            "give it schema_version 3, grade_id, grade, solution, locked; points if graded",
        )
        return
    if is_solution and cell.cell_type == "code":
        yield from solution_problems(cell, info, kinds)


def solution_problems(cell, info, kinds: list[str]) -> Iterator[Problem]:
    """A code cell of a solution: what is marked, and what its last line gives."""
    if info["solution"] and "SOLUTION" not in kinds:
        yield (
            "a solution without marks",
            "write ### BEGIN SOLUTION and ### END SOLUTION, or all of the cell is taken out",
        )
    if info["grade"]:
        last = cell.source.rsplit("### END HIDDEN TESTS", 1)[0].rstrip().rpartition("\n")[2]
        if "HIDDEN TESTS" not in kinds or not cell.source.endswith("### END HIDDEN TESTS"):
            yield "a graded cell that does not end in hidden tests", "they give the points"
        elif not last.endswith(f"* {info['points']}"):
            yield (
                f"a graded cell worth {info['points']} points whose last line is {last!r}",
                f"end it in: min(result.score, hidden.score) * {info['points']}",
            )
        if not info["locked"]:
            yield "a graded cell that is not locked", "set locked in its nbgrader metadata"


# Exemptions from nbval


def is_exempt(cell) -> bool:
    tags = set(cell.metadata.get("tags", []))
    return bool(tags & EXEMPT_TAGS or EXEMPT_COMMENT.search(cell.source))


def exemption_problems(cell) -> Iterator[Problem]:
    if is_exempt(cell) and len(str(cell.metadata.get("nbval_reason", "")).split()) < 3:
        yield (
            "exempt from comparison without a reason",
            'write the reason into the cell\'s metadata: "nbval_reason": "..."',
        )


# Outputs


def output_problems(cell, output) -> Iterator[Problem]:
    if output.output_type == "error":
        if "raises-exception" not in cell.metadata.get("tags", []):
            yield (
                f"it ended in {output.ename}",
                "correct it, or tag the cell raises-exception if it is meant",
            )
        texts = [output.evalue]
    elif output.output_type == "stream":
        if output.name == "stderr":
            line = (output.text.strip().splitlines() or [""])[0][:60]
            yield f"it printed on stderr, {line!r}", "remove the cause of the warning"
        texts = [output.text]
    else:
        data = output.data
        html = data.get("text/html", "")
        yield from html_problems(html)
        if any(kind in data for kind in PICTURES) and not tags_in(html).described_pictures:
            yield "a picture without alt text", ALT_ADVICE
        texts = [data.get("text/plain", ""), html, data.get("text/markdown", "")]
        texts += [data.get("image/svg+xml", "")]
    for text in texts:
        yield from text_problems(text)
        yield from printed_problems(text)


def printed_problems(text: str) -> Iterator[Problem]:
    """What may not stand in an output."""
    text = NAMESPACE.sub("", INLINE_DATA.sub("", text))
    if match := MEMORY_ADDRESS.search(text):
        yield (
            f"a memory address, {excerpt(text, match)!r}",
            "it differs in every run: print the value, or give the class a __repr__",
        )
    if match := WEB_ADDRESS.search(text):
        yield (
            f"an address in an output, {excerpt(text, match)!r}",
            "leave it out: lessons run without the internet",
        )
    visible = tags_in(text).text if "<" in text else text
    if match := MANY_DECIMALS.search(visible):
        yield (
            f"more than four decimals, {excerpt(visible, match)!r}",
            "round it: the last digits differ from machine to machine",
        )


# HTML, in outputs and in text cells

ALT_ADVICE = "say in its alt text what the picture shows: plots.show(fig, alt), or ![alt](file)"


class _Tags(HTMLParser):
    """Collects a page's visible text and how its pictures are described."""

    def __init__(self):
        super().__init__()
        self.text = ""
        self.pictures: list[str] = []
        self.nameless: list[str] = []
        self.described_pictures = 0
        self.fetched: list[str] = []
        self._svg: dict[str, str] | None = None
        self._svg_depth = 0
        self._inside: list[str] = []

    def handle_starttag(self, tag, attrs):
        found = {name: value or "" for name, value in attrs}
        self._inside.append(tag)
        if tag == "img":
            self.pictures.append(found.get("src", ""))
            self._judge(found.get("alt", ""), "<img>")
        elif tag == "svg":
            self._svg_depth += 1
            if self._svg_depth == 1:
                self._svg = found | {"name": found.get("aria-label", "")}
        if tag in ("img", "br", "hr", "meta", "link", "input", "source", "wbr"):
            self._inside.pop()
        if tag in ("script", "link", "iframe", "source", "video", "audio"):
            self.fetched.append(found.get("src") or found.get("href", ""))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag in self._inside:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag not in self._inside:
            return
        while self._inside.pop() != tag:
            pass
        if tag == "svg":
            self._svg_depth -= 1
            if self._svg_depth == 0 and self._svg.get("aria-hidden") != "true":
                role = self._svg.get("role")
                self._judge(self._svg["name"] if role == "img" else "", "<svg>")

    def handle_data(self, data):
        if self._svg_depth == 1 and self._inside[-1] == "title" and not self._svg["name"]:
            self._svg["name"] = data
        if not {"style", "script"} & set(self._inside):
            self.text += data + " "

    def _judge(self, name: str, tag: str) -> None:
        if says_nothing(name):
            self.nameless.append(tag)
        else:
            self.described_pictures += 1


def tags_in(html: str) -> _Tags:
    tags = _Tags()
    tags.feed(html)
    tags.close()
    return tags


def says_nothing(alt: str) -> bool:
    return alt.strip(" .").lower() in EMPTY_ALTS


def html_problems(html: str) -> Iterator[Problem]:
    tags = tags_in(html)
    for tag in tags.nameless:
        svg_advice = 'give it role="img" and aria-label="what it shows"'
        advice = ALT_ADVICE if tag == "<img>" else svg_advice
        yield f"a picture without alt text, {tag}", advice
    for address in tags.fetched:
        if WEB_ADDRESS.match(address) or address.startswith("//"):
            yield (
                f"a file from the internet, {address[:40]!r}",
                "ship it with the package: lessons run without the internet",
            )


def main(paths: list[str]) -> int:
    found = 0
    for path in map(Path, paths):
        for finding in lint_file(path):
            found += 1
            print(f"{path}: {finding}")
    print(f"{found} findings in {len(paths)} notebooks")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
