"""A lesson keeps its secrets: what the reader is asked stays unanswered until it is tried.

A question is a ``**Predict``, or an entry of a list with a question mark. Its answer is folded
below it, in the same text cell or in a later one before the next question:

    <details><summary>Answer</summary>

    **97.5 %**, because ...
    </details>

What is bold in it is its key. The key may not be read earlier: neither in the text of its section, nor
in the code and pictures shown, nor in the code that the question is about, nor on its slide. Nor may
that code say what comes out in an assertion or in the words for a picture: they are collapsed, but for
their first line, which JupyterLab shows.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from html.parser import HTMLParser

from tools.launcher.student_copy import is_still
from tools.teaching.lesson_table import CHECK, PROMPT, is_collapsed, visible, without_comments

Problem = tuple[str, str]  # what is wrong, what to do

FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)
FENCED = re.compile(
    r"^ {0,3}(?P<fence>`{3,}|~{3,}).*?^ {0,3}(?P=fence)[`~]*[ \t]*$", re.MULTILINE | re.DOTALL
)
CODE_SPAN = re.compile(r"(?<!`)(?P<tick>`+)(?!`).+?(?<!`)(?P=tick)(?!`)", re.DOTALL)
COMMENT_BODY = re.compile(r"<!--(.*?)-->", re.DOTALL)
SLIDE = re.compile(r"<!--\s*slide\b(.*?)-->", re.DOTALL)
DETAILS = re.compile(
    r"<details>\s*<summary>(?P<summary>.*?)</summary>(?P<body>.*?)</details>", re.DOTALL
)
BOLD = re.compile(r"\*\*(.+?)\*\*", re.DOTALL)
ASKED_IN_A_LIST = re.compile(r"^[ \t]*(?:\d+\.|[-*+]) .*\?", re.MULTILINE)
MATH = re.compile(r"\$\$.+?\$\$|\$[^$\n]+\$", re.DOTALL)
EXERCISE = re.compile(r"^### Exercise (\d+)", re.MULTILINE)
SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
CLOSING = (  # sections that ask nothing, or what has no one answer
    "What to take",
    "Take away",
    "Where to go",
    "New words",
    "Words",
    "On your own",
    "In practice",
    "Further reading",
)

UNDONE = "not done yet"
PLOTTING_LINES = 3


def markdown_problems(source: str) -> Iterator[Problem]:
    """What stands in a text cell as it should not be read: in any notebook."""
    bodies = COMMENT_BODY.findall(source)
    if any(len(FENCE.findall(body)) % 2 for body in bodies):
        yield (
            "a comment that is cut short: a block of code begins in it and does not end",
            'a comment ends at its first "-->": draw arrows in it as → or ->',
        )
    rest = without_comments(source)
    prose = CODE_SPAN.sub("", FENCED.sub("", rest))
    if "-->" in prose or "<!--" in prose:
        yield (
            "half of a comment in the text",
            'close each <!-- by one -->; a comment ends at its first "-->"',
        )
    if FENCE.search(prose) or "```" in prose:
        yield (
            "a fence of code out of place",
            "begin and end each block of code by ``` on lines of their own",
        )
    for part in [rest, *bodies]:
        if unbalanced(CODE_SPAN.sub("x", FENCED.sub("", part))):
            yield (
                "bold that does not begin or end",
                "write **bold** without a space inside its stars, and a pair of them in each paragraph",
            )
    folded = DETAILS.findall(prose)
    tags = re.findall(r"</?(?:details|summary)\b", prose)
    if len(tags) != 4 * len(folded):
        yield (
            "<details> that is not whole",
            "write <details><summary>Answer</summary>, an empty line, the text, </details>",
        )
    if any(not body.startswith("\n\n") for _, body in folded):
        yield (
            "a <details> without an empty line after its <summary>",
            "without one Markdown inside it is not rendered",
        )


def unbalanced(prose: str) -> bool:
    """Is there a ``**`` that begins no bold, or ends none?"""
    for paragraph in re.split(r"\n\s*\n", MATH.sub("x", prose)):
        for i, star in enumerate(found := list(re.finditer(r"\*\*", paragraph))):
            before, after = paragraph[star.start() - 1 : star.start()], paragraph[star.end() :][:1]
            if len(found) % 2 or not (before if i % 2 else after).strip():
                return True
    return False


def prompt_problems(cells: list) -> Iterator[tuple[int, str, str]]:
    """What a lesson gives away, or leaves unanswered; cells are counted from 1."""
    yield from exercise_problems(cells)
    for number, (begin, section) in enumerate(places(cells), start=1):
        cell = cells[number - 1]
        if cell.cell_type == "code":
            yield from ((number, *problem) for problem in code_problems(cell))
        elif cell.cell_type == "markdown":
            if not section.startswith(CLOSING) and is_question(cell):
                yield from question_problems(cells, number, begin)
                yield from telling_problems(cells, number)
            if only_slide_asks(cells, number):
                yield (
                    number,
                    "a question that stands on the slide alone",
                    "ask it in the lesson, too",
                )


def exercise_problems(cells: list) -> Iterator[tuple[int, str, str]]:
    last = 0
    for number, cell in enumerate(cells, start=1):
        if cell.cell_type == "markdown":
            for found in map(int, EXERCISE.findall(visible(cell.source))):
                if found != last + 1:
                    yield (
                        number,
                        f"exercise {found} comes after exercise {last}",
                        "number them in the order in which they come",
                    )
                last = found


def places(cells: list) -> Iterator[tuple[int, str]]:
    """For each cell the number of the cell that begins its section, and the section's title."""
    begin, title = 1, ""
    for number, cell in enumerate(cells, start=1):
        if cell.cell_type == "markdown" and (found := SECTION.search(visible(cell.source))):
            begin, title = number, found[1]
        yield begin, title


def is_question(cell) -> bool:
    text = visible(cell.source)
    return bool(PROMPT.search(text) or ASKED_IN_A_LIST.search(text))


def question_problems(cells: list, number: int, begin: int) -> Iterator[tuple[int, str, str]]:
    answers = answers_to(cells, number)
    if not answers:
        yield (
            number,
            "a question without a folded answer",
            "fold it below: <details><summary>Answer</summary>",
        )
        return
    keys = [key for answer in answers for key in BOLD.findall(answer)]
    if not keys:
        yield (
            number,
            "an answer without a key",
            "make bold what may not be read before: the lint looks for it",
        )
    shown = plain(" ".join(shown_before(cells, number, begin)))
    on_slide = plain(" ".join(on_slide_at_once(cells, number)))
    for key in map(plain, keys):
        if has(shown, key):
            yield (
                number,
                f"its answer, {key!r}, can be read before it is earned",
                "take it out of the section's text, code and pictures above, or of the cell's code",
            )
        elif has(on_slide, key):
            yield (
                number,
                f"its answer, {key!r}, is on the slide that asks",
                "make the cell that shows it a fragment",
            )


def has(text: str, key: str) -> bool:
    return bool(re.search(rf"(?<!\w){re.escape(key)}(?!\w)", text))


def answers_to(cells: list, number: int) -> list[str]:
    """The folded answers from this cell to the next question or section."""
    answers = []
    for cell in cells[number - 1 :]:
        if cell.cell_type != "markdown":
            continue
        if cell is not cells[number - 1]:
            if is_question(cell) or SECTION.search(visible(cell.source)):
                break
        for found in DETAILS.finditer(without_comments(cell.source)):
            if found["summary"].strip().startswith("Answer"):
                answers.append(found["body"])
    return answers


def shown_before(cells: list, number: int, begin: int) -> Iterator[str]:
    """What a student can read when the question is asked, in the student's copy."""
    for cell in cells[begin - 1 : number]:
        if cell.cell_type == "markdown":
            yield visible(cell.source)
        else:
            yield from seen_of(cell)
    for cell in cells[number:]:
        if cell.cell_type != "code":
            break
        yield from seen_of(cell)


def telling_problems(cells: list, number: int) -> Iterator[tuple[int, str, str]]:
    """The code that this question is about, where it says what comes out."""
    begun = False
    for place, cell in enumerate(cells[number:], start=number + 1):
        if cell.cell_type != "code":
            if begun or is_question(cell) or SECTION.search(visible(cell.source)):
                break
            continue
        begun = True
        if is_collapsed(cell):
            continue
        if asserts_a_result(cell.source):
            yield (
                place,
                "an assertion that tells what comes out, under a question",
                "move it to a collapsed cell (metadata jupyter.source_hidden)",
            )
        if calls(cell.source, "show") or calls(cell.source, "show_maps"):
            yield (
                place,
                "words for a picture, under a question, that can be read before it is seen",
                "collapse the cell (metadata jupyter.source_hidden)",
            )


def asserts_a_result(source: str) -> bool:
    """Does it assert which of two is larger, or that something equals what stands there?

    That a distance is small, `abs(...) < 1e-9`, says nothing of a result.
    """
    asserted = (node.test for node in parts(source) if isinstance(node, ast.Assert))
    compared = (part for test in asserted for part in ast.walk(test) if isinstance(part, ast.Compare))
    return any(
        isinstance(sign, (ast.Lt, ast.LtE, ast.Gt, ast.GtE)) or is_literal(right)
        for part in compared
        if "abs" not in names_called(ast.walk(part.left))
        for sign, right in zip(part.ops, part.comparators)
    )


def is_literal(node: ast.AST) -> bool:
    return all(
        isinstance(part, (ast.Constant, ast.Tuple, ast.List, ast.expr_context, ast.UnaryOp, ast.USub))
        for part in ast.walk(node)
    )


def on_slide_at_once(cells: list, number: int) -> Iterator[str]:
    """What the class can read while the question is on the screen: no fragment has come yet."""
    if not any("slideshow" in cell.metadata for cell in cells):
        return  # an extra has no slides
    yield from SLIDE.findall(cells[number - 1].source)
    for cell in cells[number:]:
        role = cell.metadata.get("slideshow", {}).get("slide_type")
        if role in ("slide", "subslide", "fragment"):
            break
        if role == "skip":
            continue
        if cell.cell_type == "markdown":
            yield " ".join(SLIDE.findall(cell.source)) or visible(cell.source)
        elif cell.cell_type == "code":
            yield "" if "slide-hide-input" in cell.metadata.get("tags", []) else cell.source
            for output in cell.outputs:
                yield output.get("text") or output.get("data", {}).get("text/plain", "")


def seen_of(cell) -> Iterator[str]:
    """A code cell before it is run."""
    yield cell.source.partition("\n")[0] if is_collapsed(cell) else cell.source
    for output in filter(is_still, cell.get("outputs", [])):
        yield words_of(output["data"]["text/html"])


def words_of(html: str) -> str:
    """What a picture of a widget says, to the eye or to a screen reader."""
    words: list[str] = []

    class Words(HTMLParser):
        def handle_starttag(self, tag, attrs):
            words.extend(value or "" for name, value in attrs if name in ("aria-label", "alt"))

        def handle_data(self, data):
            words.append(data)

    Words().feed(html)
    return " ".join(words)


def plain(text: str) -> str:
    """Words without marks of Markdown, one space between them."""
    text = re.sub(r"[`*$_{}\\]", "", text).replace("\N{MINUS SIGN}", "-")
    return re.sub(r"\s+", " ", text).strip(" .,:;").lower()


def only_slide_asks(cells: list, number: int) -> bool:
    """Does a slide ask in bold what nobody asks in the lesson's cells on that slide?"""
    asked = [
        key for slide in SLIDE.findall(cells[number - 1].source) for key in BOLD.findall(slide)
    ]
    if not any("?" in key or key.startswith("Predict") for key in asked):
        return False
    around = [number - 2, number - 1, number]
    texts = [cells[i] for i in around if 0 <= i < len(cells) and cells[i].cell_type == "markdown"]
    return not any("?" in visible(cell.source) or is_question(cell) for cell in texts)


def code_problems(cell) -> Iterator[Problem]:
    if CHECK.search(cell.source):
        said = [output.get("data", {}).get("text/plain", "") for output in cell.outputs]
        if any("not yet" in text or "Hint:" in text for text in said):
            yield (
                "a check that speaks before the student has done anything",
                f"as it stands the exercise must be {UNDONE!r}",
            )
    lines = sum(bool(line.strip()) for line in cell.source.splitlines())
    if lines > PLOTTING_LINES and not is_collapsed(cell) and calls(cell.source, "show"):
        yield (
            f"{lines} lines in front of the reader that draw a picture",
            "collapse them (metadata jupyter.source_hidden) or move them to minigpt_helpers.plots",
        )


def calls(source: str, name: str) -> bool:
    return name in names_called(parts(source))


def parts(source: str) -> Iterator[ast.AST]:
    """All parts of this code; none where it is no Python."""
    with suppress(SyntaxError):
        yield from ast.walk(ast.parse(source))


def names_called(nodes: Iterable[ast.AST]) -> set[str]:
    found = (node.func for node in nodes if isinstance(node, ast.Call))
    return {getattr(f, "id", getattr(f, "attr", "")) for f in found}
