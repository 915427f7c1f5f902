"""Captures messages of FFmpeg's libraries, the only sign of many problems, such as lost packets."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import av.logging

Message = tuple[int, str, str]
"""FFmpeg's level (smaller is worse), component, and message."""

_MOST_OTHERS = 1000
_TOO_LARGE = re.compile(r"picture size (\d+)x(\d+) (?:exceeds|is invalid)", re.IGNORECASE)
"""Sizes of more bytes than fit into 31 bits are invalid, whatever the limit."""


class _Switch:
    """Enables FFmpeg's log while a block of `messages` runs in any thread, and restores its state.

    The log is shared by the whole process. Messages from threads without such a block, such as a decoder's workers, are
    stored here; otherwise PyAV would pass them to Python's logging, which prints them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_blocks = 0
        self._capture = av.logging.Capture(False)
        self._level: int | None = None
        self._skips = True
        self._forgotten = 0
        self._num_wordy = 0

    def on(self, wordy: bool) -> int:
        """Return a token for `others` at the end of the block; `wordy` lets debug messages in."""
        with self._lock:
            self._num_blocks += 1
            self._num_wordy += wordy
            if self._num_blocks == 1:
                self._level, self._skips = av.logging.get_level(), av.logging.get_skip_repeated()
                self._capture, self._forgotten = av.logging.Capture(False), 0
                self._capture.__enter__()
                av.logging.set_skip_repeated(False)
            self._set_level()
            return self._forgotten + len(self._capture.logs)

    def off(self, wordy: bool) -> None:
        with self._lock:
            self._num_blocks -= 1
            self._num_wordy -= wordy
            if self._num_blocks:
                self._set_level()
            else:
                av.logging.set_level(self._level)
                av.logging.set_skip_repeated(self._skips)
                self._capture.__exit__(None, None, None)

    def _set_level(self) -> None:
        least = av.logging.DEBUG if self._num_wordy else av.logging.WARNING
        av.logging.set_level(max(self._level or least, least))

    def others(self, since: int) -> list[Message]:
        """Messages of threads without a block since `on` returned `since`."""
        with self._lock:
            logs: list[Message] = self._capture.logs
            said = logs[max(0, since - self._forgotten) :]
            if len(logs) > _MOST_OTHERS:
                self._forgotten += len(logs)
                logs.clear()
            return said


_switch = _Switch()


@contextmanager
def messages(of_workers: bool = False, wordy: bool = False) -> Iterator[list[Message]]:
    """Collect the warnings and errors that FFmpeg logs in this thread during the block; available when it has ended or
    raised. With `wordy`, debug messages too.

    `of_workers` adds those of threads without a block: a decoder's own but, if several decode at the same time, also
    those of others.
    """
    said = list[Message]()
    since = _switch.on(wordy)
    try:
        with av.logging.Capture() as own:
            try:
                yield said
            finally:
                every = [*own, *(_switch.others(since) if of_workers else ())]
                said += [message for message in every if wordy or message[0] <= av.logging.WARNING]
    finally:
        _switch.off(wordy)


def size_refused(said: Iterable[Message]) -> tuple[int, int] | None:
    """Return width and height of the image that a decoder refused by its option max_pixels, if it did."""
    found = next((match for _, _, text in said if (match := _TOO_LARGE.search(text))), None)
    return (int(found[1]), int(found[2])) if found and int(found[1]) * int(found[2]) else None
