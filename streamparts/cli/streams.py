"""Handles closed standard streams, as in daemons and programs without a console."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TextIO


def provide_streams() -> None:
    """Open the null device where standard input, output or error is closed. Otherwise Python's prints would fail, and
    the next opened file would get the stream's number, and FFmpeg's messages. Also allows printing of file names that
    are not UTF-8."""
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            with suppress(OSError):
                opened = os.open(os.devnull, mode)
                if opened != descriptor:
                    os.dup2(opened, descriptor)
                    os.close(opened)
    if sys.stdout is None:
        sys.stdout = _nowhere()
    if sys.stderr is None:
        sys.stderr = _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def has_output() -> bool:
    """True unless standard output is closed."""
    return sys.stdout is not None and not isinstance(sys.stdout, _Nowhere)


def is_watched() -> bool:
    """True if standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


class _Nowhere(io.TextIOWrapper):
    """Takes the place of a closed stream."""


def _nowhere() -> TextIO:
    return _Nowhere(open(os.devnull, "wb"), encoding="utf-8")  # noqa: PTH123 - for as long as the process lives
