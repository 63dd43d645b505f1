"""The shipped texts and the reader's own (lesson 1); README.md tells where each comes from."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import resources
from os import PathLike
from pathlib import Path

from minigpt_helpers.corpora.weather import entropy_rate
from minigpt_helpers.validation import MissingFileError

CORPORA = ("names", "rhymes", "weather")


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

    A byte order mark at the start is dropped. ``ValueError`` with the path and what to do for a
    folder, an empty or blank file, one that is not text and one that is not UTF-8;
    ``MissingFileError`` (a ``ValueError`` too) if nothing is there.
    """
    raw = _read_bytes(path)
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"'{path}' is UTF-16, as its first two bytes say. {_SAVE_AS_UTF8}")
    if b"\0" in raw:
        raise ValueError(
            f"'{path}' is not a text file: the byte at offset {raw.index(0)} of {len(raw)} is "
            "zero, which no UTF-8 text holds. Export it as plain text, or choose another file."
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
    return text


_SAVE_AS_UTF8 = "Open it in your editor and save it with the encoding UTF-8, then read it again."


def _read_bytes(path: str | PathLike) -> bytes:
    try:
        file = Path(path)
        if file.is_dir():  # asked first: Windows would only say "permission denied"
            raise ValueError(f"'{path}' is a folder. Give the path of one file inside it.")
        return file.read_bytes()
    except FileNotFoundError:
        raise MissingFileError(
            f"there is no file '{path}'. Relative paths start at '{Path.cwd()}': "
            "check the folder and the spelling, the ending included."
        ) from None
    except OSError as error:
        raise ValueError(
            f"'{path}' cannot be read: {error.strerror}. Check the path and that you may open it."
        ) from None
    except TypeError:
        raise ValueError(f"path is {path!r}: expected text or a Path, like 'my.txt'") from None


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
