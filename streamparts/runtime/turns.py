"""Files with large frames are read one after another in a process: a run of several needs the memory of one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from streamparts.errors import VideoError
from streamparts.sources import Source
from streamparts.sources.container import open_container

LARGE_PIXELS = 16_000_000
"""Pixels of a large frame: twice those of 4K, half of those of 8K. A run of one file keeps all cores busy with it."""
OPENING_SECONDS = 5.0
"""Files are opened one after another, too, because the first frame is decoded then; if one takes longer than this, the
next is opened all the same."""

_reading, _opening = threading.Lock(), threading.Lock()


class Turn:
    """The turn of one job. Give it back once, whether it was taken or not."""

    def __init__(self) -> None:
        self._held = threading.Event()

    def take(self) -> bool:
        """Returns False if another job has it."""
        if not self._held.is_set() and _reading.acquire(blocking=False):
            self._held.set()
        return self._held.is_set()

    def opened(
        self, word: str | Path | Source, stack: ExitStack, open_it: Callable[[], Source], ended: Callable[[], bool]
    ) -> Source:
        """Return the source that `open_it` opens and `stack` closes. One with large frames is not opened before its
        turn comes, or `ended` becomes true: while another is read, or opens slowly, the file's header is asked first.
        If the header did not tell, the source is closed again."""
        with _one_at_a_time(word) as is_alone:
            is_crowded = not is_alone or _reading.locked()
            if not (is_crowded and _looks_large(word)):
                source = open_it()
                if not needs_turn(word, source) or self.take():
                    return source
                stack.close()
                del source  # with its first image
        while not self.take() and not ended():
            time.sleep(0.1)
        return open_it()

    def give_back(self) -> None:
        if self._held.is_set():
            self._held.clear()
            with suppress(RuntimeError):  # given back by two threads at once
                _reading.release()


def needs_turn(word: str | Path | Source, source: Source) -> bool:
    """True for a file with large frames that can be closed and opened again."""
    return isinstance(word, str | Path) and not source.live and source.height * source.width > LARGE_PIXELS


def _looks_large(word: str | Path | Source) -> bool:
    """By the header of a file; no image is decoded."""
    if not isinstance(word, str | Path) or not _is_file(word):
        return False
    with suppress(VideoError), open_container(Path(word)) as container:
        codecs = [stream.codec_context for stream in container.streams.video]
        return any(codec is not None and codec.width * codec.height > LARGE_PIXELS for codec in codecs)
    return False


@contextmanager
def _one_at_a_time(word: str | Path | Source) -> Iterator[bool]:
    """The value is False for a file that another is opened beside."""
    held = _is_file(word) and _opening.acquire(timeout=OPENING_SECONDS)
    try:
        yield held or not _is_file(word)
    finally:
        if held:
            _opening.release()


def _is_file(word: str | Path | Source) -> bool:
    try:
        return isinstance(word, str | Path) and Path(word).is_file()
    except OSError:  # such as a name that is too long
        return False
