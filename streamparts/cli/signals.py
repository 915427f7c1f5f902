"""Ends a run on signals."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_signals() -> Iterator[tuple[threading.Event, list[int]]]:
    """The first Ctrl-C or SIGTERM sets the event and is appended to the list; the second one ends the process."""
    stop, caught = threading.Event(), list[int]()

    def note(number: int, frame: FrameType | None) -> None:
        if caught:
            os._exit(128 + number)  # at once, whatever hangs; files are readable up to here
        caught.append(number)
        stop.set()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, note)
    try:
        yield stop, caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
