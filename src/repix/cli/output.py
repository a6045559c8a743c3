"""What commands say, one line at a time: on every encoding, without control characters, and without failing."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from typing import TextIO

_PLAIN = {"→": "->", "…": "...", "×": "x", "−": "-", "–": "-", "≥": ">=", "≤": "<="}
"""What stands in where an encoding lacks a character that messages use."""


def printable(text: str) -> str:
    """Text on one line and without what a terminal would obey: file names may hold line feeds and escape sequences, and
    bytes that are no text."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte of a name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(
        character, f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )


def command(*words: object) -> str:
    """A command as the user can type it: words that the shell would part or read otherwise are quoted."""
    parts = ["repix", *map(str, words)]
    return subprocess.list2cmdline(parts) if sys.platform == "win32" else shlex.join(parts)


def say(text: str = "", *, err: bool = False) -> None:
    """Write a line to standard output, or to standard error. What cannot be written there is no failure of the work:
    a reader that has gone is silence, a full disk a word on the other stream."""
    stream = sys.stderr if err else sys.stdout
    if stream is None:  # pythonw has none
        return
    line = _encodable(printable(text), stream) + "\n"
    try:
        stream.write(line)
        stream.flush()
    except BrokenPipeError:
        _abandon(stream)
    except (OSError, ValueError) as error:
        _abandon(stream)
        if not err and isinstance(error, OSError):
            say(f"repix: standard output cannot be written: {error.strerror or error}", err=True)


def flush() -> None:
    """Write what libraries left in both streams, so that Python's end has nothing to fail on."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except (OSError, ValueError):
                _abandon(stream)


def _encodable(text: str, stream: TextIO) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        for character, plain in _PLAIN.items():
            text = text.replace(character, plain)
        with contextlib.suppress(LookupError):
            text = text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def _abandon(stream: TextIO) -> None:
    """Send what a stream still holds nowhere, so that Python's end does not fail on it."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()
