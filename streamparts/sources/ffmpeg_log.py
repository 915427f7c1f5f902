"""Captures messages of FFmpeg's libraries, the only sign of many problems, such as lost packets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import av.logging

Message = tuple[int, str, str]
"""FFmpeg's level (smaller is worse), component, and message."""

_MOST_OTHERS = 1000


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

    def on(self) -> int:
        """Return a token for `others` at the end of the block."""
        with self._lock:
            self._num_blocks += 1
            if self._num_blocks == 1:
                self._level, self._skips = av.logging.get_level(), av.logging.get_skip_repeated()
                self._capture, self._forgotten = av.logging.Capture(False), 0
                self._capture.__enter__()
                av.logging.set_skip_repeated(False)
                av.logging.set_level(max(self._level or av.logging.WARNING, av.logging.WARNING))
            return self._forgotten + len(self._capture.logs)

    def off(self) -> None:
        with self._lock:
            self._num_blocks -= 1
            if self._num_blocks == 0:
                av.logging.set_level(self._level)
                av.logging.set_skip_repeated(self._skips)
                self._capture.__exit__(None, None, None)

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
def messages(of_workers: bool = False) -> Iterator[list[Message]]:
    """Collect the warnings and errors that FFmpeg logs in this thread during the block; available when it has ended or
    raised.

    `of_workers` adds those of threads without a block: a decoder's own but, if several decode at the same time, also
    those of others.
    """
    said = list[Message]()
    since = _switch.on()
    try:
        with av.logging.Capture() as own:
            try:
                yield said
            finally:
                said += own
                if of_workers:
                    said += _switch.others(since)
    finally:
        _switch.off()
