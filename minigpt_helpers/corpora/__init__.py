"""The shipped texts and the reader's own (lesson 1); README.md tells where each comes from."""

from __future__ import annotations

import warnings
from difflib import get_close_matches
from importlib import resources
from itertools import pairwise
from os import PathLike
from pathlib import Path

from minigpt_helpers.corpora.weather import entropy_rate
from minigpt_helpers.validation import FileError, MissingFileError, check_path

CORPORA = ("names", "rhymes", "verse", "weather")


def list_corpora() -> list[str]:
    """The names that ``load_corpus`` knows."""
    return list(CORPORA)


def load_corpus(name: str) -> str:
    """The shipped text called ``name``; ``ValueError`` if there is none."""
    _check_name(name)
    return resources.files(__package__).joinpath(f"{name}.txt").read_bytes().decode("utf-8")


def corpus_entropy_rate(name: str) -> float:
    """The least mean loss any model can reach on a corpus, in nats per character.

    Known for ``"weather"`` alone (see ``weather.py``), a ``ValueError`` for the others.
    """
    _check_name(name)
    if name != "weather":
        raise ValueError(
            f"the entropy rate of {name!r} is not known: people chose its words, and nobody can "
            "write down the probabilities they chose by. It is known for 'weather', which a "
            "random grammar wrote."
        )
    return entropy_rate()


def read_text(path: str | PathLike) -> str:
    """Read the reader's own text file, UTF-8, with every line end made a plain ``\\n``.

    ``~`` is the home folder; a byte order mark at the start is dropped. ``ValueError`` with the
    path and what to do for a folder, an empty or blank file, one that is not text and one that is
    not UTF-8; ``MissingFileError`` (a ``ValueError`` too) if nothing is there. A list in
    alphabetical order gets a warning: its last part is unlike the rest.
    """
    raw = _read_bytes(path)
    for start, kind in _NO_TEXT.items():
        if raw[: len(start)].lower() == start:
            raise ValueError(f"'{path}' is {kind}, not plain text. {_SAVE_AS_TEXT}")
    even, odd = raw[::2].count(0), raw[1::2].count(0)
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or max(even, odd) > len(raw) / 5 > min(even, odd):
        raise ValueError(f"'{path}' is UTF-16: two bytes a letter. {_SAVE_AS_UTF8}")
    if b"\0" in raw:
        raise ValueError(
            f"'{path}' is not a text file: the byte at offset {raw.index(0)} of {len(raw)} is "
            f"zero, which no UTF-8 text holds. {_SAVE_AS_TEXT}"
        )
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"'{path}' is not UTF-8: the byte 0x{raw[error.start]:02x} at offset {error.start} of "
            f"{len(raw)}, on line {line}, fits no character. {_SAVE_AS_UTF8}"
        ) from None
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        what = f"only {len(text)} blanks and line ends" if text else "no characters"
        raise ValueError(f"'{path}' holds {what}. Put text into it, or choose another file.")
    if _in_order(text):
        warnings.warn(
            f"the lines of '{path}' are in alphabetical order, so its last part, which a split "
            "keeps for validation, is unlike the rest. Shuffle them first: lines = "
            "text.splitlines(); np.random.default_rng(0).shuffle(lines); text = '\\n'.join(lines)",
            stacklevel=2,
        )
    return text


def _in_order(text: str) -> bool:
    """Whether nearly all lines come in the order of the alphabet, forwards or backwards."""
    lines = [line.casefold() for line in text.split("\n") if line.strip()]
    pairs = [a < b for a, b in pairwise(lines) if a != b]
    return len(pairs) >= 20 and max(sum(pairs), len(pairs) - sum(pairs)) >= 0.95 * len(pairs)


_SAVE_AS_UTF8 = "Open it in your editor and save it with the encoding UTF-8, then read it again."
_SAVE_AS_TEXT = "Save or export it as plain text (.txt, UTF-8), or choose another file."
_NO_TEXT = {  # how files of programs start, in small letters
    rb"{\rtf": "RTF, a word processor's file", b"%pdf-": "a PDF", b"%!ps": "PostScript",
    b"pk\x03\x04": "a zip archive, as Word and LibreOffice write them",
    b"\xd0\xcf\x11\xe0": "an old Word file", b"<!doctype html": "a web page",
    b"<html": "a web page", b"\x1f\x8b": "compressed by gzip",
}


def _read_bytes(path: str | PathLike) -> bytes:
    file = check_path(path)
    try:
        if file.is_dir():  # asked first: Windows would only say "permission denied"
            raise FileError(f"'{path}' is a folder. Give the path of one file inside it.")
        return file.read_bytes()
    except FileNotFoundError:
        raise MissingFileError(
            f"there is no file '{path}'. Relative paths start at '{Path.cwd()}': "
            "check the folder and the spelling, the ending included."
        ) from None
    except FileError:
        raise
    except OSError as error:
        raise FileError(
            f"'{path}' cannot be read: {error.strerror}. Check the path and that you may open it."
        ) from None


def _check_name(name: str) -> None:
    if name not in CORPORA:
        known = ", ".join(repr(c) for c in CORPORA)
        asked = name.lower() if isinstance(name, str) else ""
        close = get_close_matches(asked, CORPORA, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"there is no corpus {name!r}.{hint} The corpora are {known}; "
            "for a file of your own call read_text(path)."
        )
