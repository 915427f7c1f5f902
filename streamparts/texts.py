"""Text from elsewhere, such as file names that are not UTF-8 or files from Windows, and progress lines for logs."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
PLAIN_SECONDS = 30.0
"""Interval of progress lines without a terminal."""


def readable(text: str) -> str:
    """A name that may contain bytes that are not UTF-8 (in Python, lone surrogates), with a replacement character for
    each, for display and files."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def decoded(data: bytes) -> str:
    """Decode text as saved by editors on any system: UTF-8, with or without byte order mark, UTF-16 with one, else
    Windows-1252. Line ends become LF. Raises ValueError, with the line, for anything else."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _as(data, encoding)
    try:
        return _as(data, "utf-8")
    except ValueError:
        return _as(data, "cp1252")


def encoding_of(path: Path) -> str:
    """Encoding for opening a text file, determined without loading it, because tables may be large. Raises OSError, or
    ValueError with the line that is not text."""
    with path.open("rb") as file:
        start = file.read(4)
        marked = [encoding for mark, encoding in _MARKS if start.startswith(mark)]
        for encoding in marked[:1] or ["utf-8", "cp1252"]:
            line = _undecodable_line(file, encoding)
            if line is None:
                return encoding
    raise ValueError(f"line {line} is not text (as {encoding})")


def _undecodable_line(file: BinaryIO, encoding: str) -> int | None:
    """Number of the first line that has another encoding; None if the whole file has this one."""
    decoder = codecs.getincrementaldecoder(encoding)()
    file.seek(0)
    line = 1
    while data := file.read(1 << 20):
        try:
            decoder.decode(data)
        except UnicodeDecodeError as error:
            return line + data.count(b"\n", 0, error.start)
        line += data.count(b"\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return line
    return None


def read_text(path: Path) -> str:
    """`decoded` content of a file. Raises OSError, or ValueError with the line that is not text."""
    return decoded(path.read_bytes())


def listed_lines(path: Path) -> list[str]:
    """Lines of a list of files or words, except blank ones and those that start with #. Quotation marks around a line
    (from "Copy as path" in Windows) are removed. A name whose bytes are an existing file is kept unchanged. Raises as
    `read_text` does."""
    data = path.read_bytes()
    words = []
    lines = decoded(data).split("\n")
    raw = data.replace(b"\r\n", b"\n").split(b"\n")
    for number, line in enumerate(lines):
        word = _unquoted(line.strip())
        if not word or word.startswith("#"):
            continue
        if len(raw) == len(lines):
            own = _unquoted(raw[number].decode("utf-8", "surrogateescape").strip().lstrip("\ufeff"))
            if own != word and (path.parent / own).exists():
                word = own
        words.append(word)
    return words


def _unquoted(word: str) -> str:
    quoted = len(word) > 1 and word[0] == word[-1] and word[0] in "\"'"
    return word[1:-1] if quoted else word


def _as(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not text ({error.reason}, as {encoding})") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"line {line} is not text (a zero byte)")
    return text.replace("\r\n", "\n").replace("\r", "\n")


class PlainLines:
    """Progress for logs: at most one line per PLAIN_SECONDS."""

    def __init__(self, print_line: Callable[[str], object], seconds: float = PLAIN_SECONDS) -> None:
        self._print, self._seconds = print_line, seconds
        self._said_at = time.monotonic()

    def is_due(self) -> bool:
        return time.monotonic() - self._said_at >= self._seconds

    def say(self, text: str) -> None:
        """Print the line, even if it is not due."""
        self._said_at = time.monotonic()
        self._print(text)
