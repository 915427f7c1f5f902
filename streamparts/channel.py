"""A bounded queue between two threads that either can end at once, and prefetching built on it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")

GRACE_SECONDS = 2.0
"""Seconds within which a thread asked to stop must end; otherwise it is abandoned."""

MOST_BYTES = 2**28
"""Maximum bytes queued in one channel whose items are weighed: without it, a few frames of 64 million pixels would fill
the memory of a small machine. One item always fits."""

_PATIENCE_SECONDS = 0.25  # time for a thread to end with its next item
_LOOK_SECONDS = 0.2  # no longer wait at a time: some systems deliver Ctrl-C only between waits


class Channel(Generic[T]):
    """A FIFO for one producer and one consumer thread. Items put before an error arrive before the error."""

    def __init__(
        self, depth: int, replace: Callable[[T, T], T] | None = None, weigh: Callable[[T], int] | None = None
    ) -> None:
        """With `replace`, put never waits: if there is no room, the last queued item and the new one become
        `replace(waiting, new)`. `weigh` returns an item's bytes; there is room for `depth` items of at most MOST_BYTES
        together."""
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        self._depth = depth
        self._replace = replace
        self._weigh = weigh or (lambda item: 0)
        self._items: deque[tuple[T, int]] = deque()
        self._num_bytes = 0
        self._changed = threading.Condition()
        self._finished = False
        self._cancelled = False
        self._error: BaseException | None = None

    def put(self, item: T, timeout: float | None = None) -> bool:
        """Add `item`, waiting for room up to `timeout` seconds. Returns False if it was not added: at once if the
        consumer is gone, or if there was no room in time."""
        until = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            weight = self._weigh(item)
            while self._is_full(weight) and not self._cancelled:
                if self._replace:
                    item = self._replace(self._taken(self._items.pop()), item)
                    weight = self._weigh(item)
                elif not self._wait(until):
                    return False
            if not self._cancelled:
                self._items.append((item, weight))
                self._num_bytes += weight
                self._changed.notify_all()
            return not self._cancelled

    def _is_full(self, weight: int) -> bool:
        return len(self._items) >= self._depth or (bool(self._items) and self._num_bytes + weight > MOST_BYTES)

    def _taken(self, entry: tuple[T, int]) -> T:
        item, weight = entry
        self._num_bytes -= weight
        return item

    def finish(self, error: BaseException | None = None) -> None:
        """The producer is done: the consumer gets the rest, then `error`, or the end."""
        with self._changed:
            self._finished, self._error = True, error
            self._changed.notify_all()

    def cancel(self) -> None:
        """The consumer is done, from any thread: drop the rest, wake a waiting `put`, and end the iteration."""
        with self._changed:
            self._cancelled = True
            self._items.clear()
            self._num_bytes = 0
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Yield items until the end; raises the error given to `finish`, unless the channel was cancelled."""
        while True:
            with self._changed:
                while not (self._items or self._finished or self._cancelled):
                    self._wait(None)
                if not self._items:
                    break
                item = self._taken(self._items.popleft())
                self._changed.notify_all()
            yield item
            del item  # otherwise this generator would keep one item alive while it waits
        if self._error is not None and not self._cancelled:
            raise self._error

    def _wait(self, until: float | None) -> bool:
        """Wait briefly for a change. Returns False once `until` has passed."""
        left = _LOOK_SECONDS if until is None else min(_LOOK_SECONDS, until - time.monotonic())
        if left > 0:
            self._changed.wait(left)
        return left > 0


class Prefetch(Generic[T]):
    """Produces items in a thread that is at most `depth` ahead; see Channel for `replace` and `weigh`.

    An error in the iterable is raised in the consumer, in order. Iterate it once, and close it.
    """

    def __init__(
        self,
        items: Iterable[T],
        depth: int,
        replace: Callable[[T, T], T] | None = None,
        interrupt: Callable[[], None] | None = None,
        weigh: Callable[[T], int] | None = None,
    ) -> None:
        """`interrupt` aborts an item that takes for ever; it is called from another thread than the producer's. The
        thread starts with the iteration."""
        self._items = items
        self._channel: Channel[T] = Channel(depth, replace, weigh)
        self._interrupt = interrupt
        self._thread: threading.Thread | None = None

    def __iter__(self) -> Iterator[T]:
        self._thread = threading.Thread(target=self._fill, name="streamparts-prefetch", daemon=True)
        self._thread.start()
        yield from self._channel

    def end(self) -> None:
        """Ask the thread to stop, and end a waiting iteration. From any thread; returns at once."""
        self._channel.cancel()

    def close(self, seconds: float = GRACE_SECONDS) -> bool:
        """End the thread. Returns False if it did not end within `seconds`: then it is abandoned, with whatever it
        works on. An item in progress is finished if that is quick, else interrupted."""
        self.end()
        thread, until = self._thread, time.monotonic() + seconds
        if thread is None:
            return True
        thread.join(min(_PATIENCE_SECONDS, seconds) if self._interrupt else seconds)
        if thread.is_alive() and self._interrupt:
            breaker = threading.Thread(target=self._break_off, name="streamparts-interrupt", daemon=True)
            breaker.start()
            for one in (thread, breaker):
                one.join(max(0.0, until - time.monotonic()))
            return not (thread.is_alive() or breaker.is_alive())
        return not thread.is_alive()

    def _break_off(self) -> None:
        if self._interrupt:
            with suppress(Exception):  # the consumer is gone, so errors do not matter
                self._interrupt()

    def _fill(self) -> None:
        try:
            for item in self._items:
                if not self._channel.put(item):
                    break
                del item  # otherwise one item more than `depth` would be alive
        except BaseException as error:
            self._channel.finish(error)
        else:
            self._channel.finish()
