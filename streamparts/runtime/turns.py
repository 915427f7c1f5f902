"""Files with large frames are read one after another in a process: a run of several needs the memory of one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from streamparts.sources import Source

LARGE_PIXELS = 16_000_000
"""Pixels of a large frame: twice those of 4K, half of those of 8K. A run of one file keeps all cores busy with it."""

_one = threading.Lock()


class Turn:
    """The turn of one job. Give it back once, whether it was taken or not."""

    def __init__(self) -> None:
        self._held = threading.Event()

    def take(self) -> bool:
        """Returns False if another job has it."""
        if _one.acquire(blocking=False):
            self._held.set()
        return self._held.is_set()

    def wait(self, ended: Callable[[], bool]) -> bool:
        """Wait for it. Returns False if `ended` became true instead."""
        while not self.take():
            if ended():
                return False
            threading.Event().wait(0.1)
        return True

    def give_back(self) -> None:
        if self._held.is_set():
            self._held.clear()
            with suppress(RuntimeError):  # given back by two threads at once
                _one.release()


def needs_turn(word: str | Path | Source, source: Source) -> bool:
    """True for a file with large frames that can be closed and opened again."""
    return isinstance(word, str | Path) and not source.live and source.height * source.width > LARGE_PIXELS
