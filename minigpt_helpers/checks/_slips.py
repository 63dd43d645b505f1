"""Wrong functions made of the right one: each slip is an edit of its source, with a hint.

A slip is `(old, new, hint)`: `old` must stand in the source of the reference exactly once. Slips
are applied alone and two together, so that a combination of two mistakes is recognized as well.
Only a student's failure makes these functions: importing the checks compiles none.
"""

from __future__ import annotations

import itertools
import linecache
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple


class Slip(NamedTuple):
    """An edit of the reference that gives a known mistake, and what to say of it."""

    old: str
    new: str
    hint: str


def source_of(fn: Callable) -> str:
    """The source of a function, from its `def` on.

    Raises ValueError if its file cannot be read.
    """
    code = fn.__code__
    lines = linecache.getlines(code.co_filename, fn.__globals__)[code.co_firstlineno - 1 :]
    start = next((i for i, line in enumerate(lines) if line.lstrip().startswith("def ")), None)
    if start is None:
        raise ValueError(f"the source of {fn.__name__!r} is not in {code.co_filename!r}: slips are "
                         "edits of it, so the file must be there")
    indent = len(lines[start]) - len(lines[start].lstrip())
    end = start + 1
    while end < len(lines) and (
        not lines[end].strip()
        or len(lines[end]) - len(lines[end].lstrip()) > indent
        or lines[end].lstrip().startswith(")")
    ):
        end += 1
    return textwrap.dedent("".join(lines[start:end]))


def check_slips(name: str, source: str, slips: Sequence[Slip]) -> None:
    """Raise ValueError for a slip that does not fit the source exactly once."""
    for slip in slips:
        if (count := source.count(slip.old)) != 1:
            raise ValueError(
                f"exercise {name!r}: the slip {slip.old!r} -> {slip.new!r} fits {count} times in "
                "the reference, and must fit exactly once; make `old` longer, or write the "
                "reference so that the edit has one place"
            )


def _applied(source: str, slips: Sequence[Slip]) -> str | None:
    """The source with these edits, or None if two of them overlap."""
    edits = sorted((source.index(slip.old), slip) for slip in slips)
    for (at, slip), (next_at, _) in itertools.pairwise(edits):
        if at + len(slip.old) > next_at:
            return None
    for at, slip in reversed(edits):
        source = source[:at] + slip.new + source[at + len(slip.old) :]
    return source


def wrong_functions(
    reference: Callable, slips: Sequence[Slip], bugs: int = 0
) -> Iterator[tuple[tuple[Slip, ...], Callable]]:
    """Each slip alone, any number of the first `bugs`, every two, with the function they make.

    Slips that overlap are not put together. Raises SyntaxError if a single slip makes no valid source.
    """
    source = source_of(reference)
    left = (itertools.combinations(slips[:bugs], count) for count in range(3, bugs + 1))
    for some in itertools.chain(
        ((slip,) for slip in slips), *left, itertools.combinations(slips, 2)
    ):
        text = _applied(source, some)
        if text is None:
            continue
        names = dict(reference.__globals__)
        try:
            exec(compile(text, "<slip>", "exec"), names)
        except SyntaxError:
            if len(some) == 1:
                raise
            continue
        yield some, names[reference.__name__]
