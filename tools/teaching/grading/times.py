"""Times as people and programs write them: each has a zone, the one given or the machine's own."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

HOURS = {  # before or after UTC; of letters that several zones use the commoner one
    "UTC": 0,
    "GMT": 0,
    "Z": 0,
    "WET": 0,
    "WEST": 1,
    "BST": 1,
    "CET": 1,
    "CEST": 2,
    "MEZ": 1,
    "MESZ": 2,
    "EET": 2,
    "EEST": 3,
    "MSK": 3,
    "EST": -5,
    "EDT": -4,
    "CST": -6,
    "CDT": -5,
    "MST": -7,
    "MDT": -6,
    "PST": -8,
    "PDT": -7,
    "AKST": -9,
    "AKDT": -8,
    "HST": -10,
    "JST": 9,
    "KST": 9,
    "AEST": 10,
    "AEDT": 11,
    "NZST": 12,
    "NZDT": 13,
    "SAST": 2,
    "IST": 5.5,
}


def read_time(text: str) -> tuple[datetime, list[str]]:
    """A moment, and what is to be noted about it. A date alone is the end of that day.

    Raises ValueError where the text is no time.
    """
    words = text.strip()
    match = re.fullmatch(
        r"(?P<day>\d{4}-\d{2}-\d{2})(?:[T ]\s*(?P<time>\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?)"
        r"\s*(?P<zone>\S.*)?)?",
        words,
    )
    if not match:
        raise ValueError(
            f"{text!r:.60} is no time; write it like 2026-11-23T18:00 or 2026-11-23T18:00+01:00"
        )
    day = datetime.fromisoformat(match["day"])
    if match["time"] is None:
        return datetime.combine(day, time(23, 59, 59)).astimezone(), []
    clock = match["time"].replace(",", ".").rjust(5, "0")
    hours, minutes, *rest = clock.split(":")
    seconds = float(rest[0]) if rest else 0.0
    moment = datetime.combine(day, time(int(hours), int(minutes))) + timedelta(seconds=seconds)
    if match["zone"] is None:
        return moment.astimezone(), []
    zone = zone_of(match["zone"].strip(" ()"))
    if zone is None:
        return moment.astimezone(), [
            f"the zone {match['zone']!r:.30} of its time is not known; taken as this machine's"
        ]
    return moment.replace(tzinfo=zone), []


def zone_of(word: str) -> timezone | ZoneInfo | None:
    """The zone that an offset (`-03`, `+0100`, `+01:00`) or a name means."""
    match = re.fullmatch(r"(?:UTC|GMT)?([+−-])(\d{1,2}):?(\d{2})?", word, re.IGNORECASE)
    if match:
        minutes = int(match[2]) * 60 + int(match[3] or 0)
        if minutes >= 24 * 60:
            return None
        return timezone(timedelta(minutes=minutes if match[1] == "+" else -minutes))
    if word.upper() in HOURS:
        return timezone(timedelta(hours=HOURS[word.upper()]))
    try:
        return ZoneInfo(word)
    except (ValueError, OSError, LookupError):
        return None
