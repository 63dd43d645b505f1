"""Where the boxes and lines of a computation graph stand: in columns, with few crossings."""

from __future__ import annotations

from collections.abc import Iterable


def layout(parents: list[tuple[int, ...]]) -> tuple[list[tuple[int, float]], dict]:
    """A (column, row) for each node, and for each (parent, child) the places its line runs through.

    `parents` are in topological order. Every node stands right of what it was made from. A line
    that crosses several columns keeps a free place in each. Rows are at least 1 apart, around 0.
    """
    column = dict(enumerate(_columns(parents)))
    lines = {}  # (parent, child): the items on the line, nodes and bends, from left to right
    for child in reversed(range(len(parents))):
        for parent in parents[child]:
            bends = [(parent, c) for c in range(column[parent] + 1, column[child])]
            column |= {bend: bend[1] for bend in bends}
            lines[parent, child] = [parent, *bends, child]
    row = _rows(column, lines.values(), parents)
    middle = (min(row.values()) + max(row.values())) / 2
    place = {item: (column[item], round(row[item] - middle, 3)) for item in row}
    paths = {ends: [list(place[item]) for item in line] for ends, line in lines.items()}
    return [place[index] for index in range(len(parents))], paths


def _rows(column: dict, lines: Iterable[list], parents: list[tuple[int, ...]]) -> dict:
    """A row for each item: near the rows of its neighbours, with few lines that cross."""
    boxes: dict[int, list] = {c: [] for c in sorted(column.values())}  # top to bottom
    for item in [item for line in lines for item in reversed(line)] or column:
        if item not in boxes[column[item]]:
            boxes[column[item]].append(item)
    # Neighbours, each with how far above or below its middle; dicts, since sets have no order.
    left: dict = {item: {} for item in column}
    right: dict = {item: {} for item in column}
    for line in lines:
        for one, other in zip(line, line[1:]):
            sides = parents[other] if isinstance(other, int) else (one,)
            port = 0.1 * (sides.index(line[0]) if len(sides) > 1 else 0)
            left[other][one, 0.0] = right[one][other, port] = None
    row = {item: float(i) for items in boxes.values() for i, item in enumerate(items)}
    for sweep in range(9):  # right to left and back; at last only places, no change of order
        for c in sorted(boxes, reverse=sweep % 2 == 0):
            wanted = {}
            for item in boxes[c]:
                if sweep < 6:
                    beside = [row[n] + port for n, port in [right, left][sweep % 2][item]]
                else:
                    beside = [row[n] for n, _ in right[item] | left[item]]
                wanted[item] = _mean(beside or [row[item]])
            if sweep < 6:
                boxes[c].sort(key=lambda item: (wanted[item], row[item]))
            row |= _apart(boxes[c], wanted)
    return row


def _columns(parents: list[tuple[int, ...]]) -> list[int]:
    column: list[int] = []
    for each in parents:
        column.append(1 + max((column[parent] for parent in each), default=-1))
    for index, each in enumerate(parents):  # a leaf moves up to the first node that needs it
        needed = [column[child] for child, own in enumerate(parents) if index in own]
        if not each and needed:
            column[index] = min(needed) - 1
    return column


def _apart(items: list, wanted: dict) -> dict:
    """Rows near the wanted ones, in the order of `items` and at least 1 apart."""
    rows: list[float] = []
    for item in items:
        rows.append(max(wanted[item], rows[-1] + 1) if rows else wanted[item])
    shift = _mean([wanted[item] - row for item, row in zip(items, rows)])
    return {item: row + shift for item, row in zip(items, rows)}


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)
