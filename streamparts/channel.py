"""A bounded queue between two threads that either of them can end at once, and prefetching built on it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """First in, first out; one thread puts, one takes. What was put before an error arrives before the error."""

    def __init__(self, depth: int) -> None:
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        self._depth = depth
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._finished = False
        self._cancelled = False
        self._error: BaseException | None = None

    def put(self, item: T) -> bool:
        """Wait for room and add `item`. False, at once, when the taker is gone."""
        with self._changed:
            while len(self._items) >= self._depth and not self._cancelled:
                self._changed.wait()
            if not self._cancelled:
                self._items.append(item)
                self._changed.notify_all()
            return not self._cancelled

    def finish(self, error: BaseException | None = None) -> None:
        """The putting side is done: the taker gets what is left, then `error`, or the end."""
        with self._changed:
            self._finished, self._error = True, error
            self._changed.notify_all()

    def cancel(self) -> None:
        """The taking side is done: drop what is left and wake a waiting `put`."""
        with self._changed:
            self._cancelled = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Items until the end; raises the error given to `finish`."""
        while True:
            with self._changed:
                while not self._items and not self._finished:
                    self._changed.wait()
                if not self._items:
                    break
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
            del item  # else this generator would keep one item alive while it waits
        if self._error is not None:
            raise self._error


def prefetch(items: Iterable[T], depth: int) -> Generator[T]:
    """The same items, made in a thread that is at most `depth` ahead.

    An error in `items` is raised here, in order. Closing this generator (or leaving it to `contextlib.closing`)
    ends the thread and waits for it; at most the item in the making is finished first.
    """
    channel: Channel[T] = Channel(depth)
    thread = threading.Thread(target=_fill, args=(channel, items), name="streamparts-prefetch", daemon=True)
    thread.start()
    try:
        yield from channel
    finally:
        channel.cancel()
        thread.join()


def _fill(channel: Channel[T], items: Iterable[T]) -> None:
    try:
        for item in items:
            if not channel.put(item):
                break
    except BaseException as error:
        channel.finish(error)
    else:
        channel.finish()
