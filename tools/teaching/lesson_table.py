"""Counts what each lesson asks of a reader: ``python3 start.py table [NAME]``

The minutes are those of a reader alone. They are a model, not a measurement of people: prose at
170 words a minute, 11 seconds for each line of code that is not blank, 3 minutes for an exercise,
5 for a widget. What is folded (``<details>``), collapsed (``source_hidden``) or in a comment is
not counted. With a name, the same by section. The *short plan* that a lesson names in its first cells,
"the opening and sections 1, 2 and 5", is held against its minutes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

WORDS_A_MINUTE = 170
SECONDS_A_LINE = 11
MINUTES_AN_EXERCISE = 3
MINUTES_A_WIDGET = 5

MOST_MINUTES, MOST_MINUTES_IN = 130, {"05": 160}
MOST_WORDS = 5000
MOST_SLIDES = 25

COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
FOLDED = re.compile(r"<details>.*?</details>", re.DOTALL)
PROMPT = re.compile(r"\*\*Predict\b")
CHECK = re.compile(r"\bchecks\.(\w+)\(")
ANNOUNCED = re.compile(r"\bAlone: (\d+) minutes\b")
SHORT = re.compile(r"\*Short plan\*, (\d+) minutes: the opening and sections? ([\d, and]+)\.")


class Count(NamedTuple):
    """What a lesson, or a part of it, holds."""

    words: int = 0
    lines: int = 0
    exercises: int = 0
    widgets: int = 0
    pictures: int = 0
    prompts: int = 0
    slides: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(*(one + another for one, another in zip(self, other)))

    @property
    def minutes(self) -> float:
        return (
            self.words / WORDS_A_MINUTE
            + self.lines * SECONDS_A_LINE / 60
            + self.exercises * MINUTES_AN_EXERCISE
            + self.widgets * MINUTES_A_WIDGET
        )


def joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def without_comments(markdown: str) -> str:
    return COMMENT.sub("", markdown)


def visible(markdown: str) -> str:
    """A text cell as a reader meets it: no comments, what is folded left folded."""
    return FOLDED.sub("", without_comments(markdown))


def is_collapsed(cell: dict) -> bool:
    return bool(cell["metadata"].get("jupyter", {}).get("source_hidden"))


def count_cell(cell: dict) -> Count:
    source = joined(cell["source"])
    role = cell["metadata"].get("slideshow", {}).get("slide_type")
    slides = int(role in ("slide", "subslide"))
    if cell["cell_type"] == "markdown":
        text = visible(source)
        prompts = len(PROMPT.findall(text))
        return Count(words=len(text.split()), prompts=prompts, slides=slides)
    if cell["cell_type"] != "code":
        return Count(slides=slides)
    shown = [joined(o.get("data", {}).get("text/html", "")) for o in cell["outputs"]]
    widgets = sum('class="minigpt-still"' in html for html in shown)
    return Count(
        lines=0 if is_collapsed(cell) else sum(bool(line.strip()) for line in source.splitlines()),
        exercises=len(set(CHECK.findall(source)) - {"catalogue"}),
        widgets=widgets,
        pictures=sum("<img" in html or "<svg" in html for html in shown) - widgets,
        slides=slides,
    )


def read_cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def count(path: Path) -> Count:
    return sum(map(count_cell, read_cells(path)), Count())


def by_section(path: Path) -> dict[str, Count]:
    """The same for each heading ``## ...``, in order."""
    sections, heading = {}, "(title)"
    for cell in read_cells(path):
        if cell["cell_type"] == "markdown":
            found = re.search(r"^## (.+)$", visible(joined(cell["source"])), re.MULTILINE)
            heading = found[1] if found else heading
        sections[heading] = sections.get(heading, Count()) + count_cell(cell)
    return sections


def announced(path: Path) -> int | None:
    """The minutes alone that the lesson promises in its first cells."""
    found = ANNOUNCED.search(first_words(path))
    return int(found[1]) if found else None


def first_words(path: Path) -> str:
    return "\n".join(visible(joined(cell["source"])) for cell in read_cells(path)[:2])


def short_plan(path: Path) -> tuple[int, float] | None:
    """The minutes of the lesson's short plan: as announced, as counted.

    The opening is what comes before section 1, without the title. Raises ValueError for a section that is absent.
    """
    found = SHORT.search(first_words(path))
    if not found:
        return None
    sections = by_section(path)
    headings = list(sections)
    first = next(place for place, heading in enumerate(headings) if heading.startswith("1."))
    chosen = headings[1:first]
    for number in re.findall(r"\d+", found[2]):
        named = [heading for heading in headings if heading.startswith(f"{number}.")]
        if len(named) != 1:
            raise ValueError(
                f"{path.name}: its short plan names section {number}; there is no such section"
            )
        chosen += named
    return int(found[1]), sum(sections[heading].minutes for heading in chosen)


def to_announce(minutes: float) -> int:
    return 5 * round(minutes / 5)


def limits(name: str) -> dict[str, int]:
    """What the lesson of this name may have at most."""
    minutes = MOST_MINUTES_IN.get(name[:2], MOST_MINUTES)
    return {"minutes": minutes, "words": MOST_WORDS, "slides": MOST_SLIDES}


def beyond_limits(name: str, found: Count) -> list[str]:
    return [
        f"{name}: {getattr(found, what):.0f} {what}, at most {most}"
        for what, most in limits(name).items()
        if getattr(found, what) > most
    ]


HEADINGS = ("minutes", *Count._fields)


def row(name: str, found: Count, *, promised: str, width: int) -> str:
    values = [f"{found.minutes:.0f}", *map(str, found)]
    cells = [f"{value:>{len(heading)}}" for heading, value in zip(HEADINGS, values)]
    return f"{name:<{width}}  {promised:>9}  {'  '.join(cells)}"


def table(counts: dict[str, Count], promised: dict[str, str]) -> str:
    width = max(map(len, counts))
    lines = [f"{'':<{width}}  {'announced':>9}  {'  '.join(HEADINGS)}"]
    lines += [
        row(name, found, promised=promised.get(name, ""), width=width)
        for name, found in counts.items()
    ]
    return "\n".join(lines)


def show_table(lessons: list[Path]) -> list[str]:
    """Print the table of the lessons; one lesson: by section. Returns what is beyond a limit."""
    if len(lessons) == 1:
        (path,) = lessons
        print(table({**by_section(path), "all": count(path)}, {"all": str(announced(path) or "-")}))
    else:
        print(
            table(
                {path.stem: count(path) for path in lessons},
                {path.stem: str(announced(path) or "-") for path in lessons},
            )
        )
    problems = [problem for path in lessons for problem in beyond_limits(path.stem, count(path))]
    print()
    for path, plan in ((path, short_plan(path)) for path in lessons):
        if plan:
            print(f"Short plan of {path.stem}: {plan[1]:.0f} minutes, announced {plan[0]}")
            if plan[1] > plan[0]:
                problems.append(
                    f"{path.stem}: its short plan takes {plan[1]:.0f} minutes, not {plan[0]}"
                )
    print("\n".join(["", *problems]) if problems else "\nEvery limit holds.")
    return problems
