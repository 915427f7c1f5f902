"""A bounded queue between two threads that either of them can end at once, and prefetching built on it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")

GRACE_SECONDS = 2.0
"""What is told to end has ended after this long, or its thread is left behind."""

MOST_BYTES = 2**28
"""That may wait in one channel, where its items are weighed: pictures of 64 million pixels would fill the memory of a
small machine with the few that may wait of others. One item may always."""

_PATIENCE_SECONDS = 0.25  # for a thread to end by itself, as it does with its next item
_LOOK_SECONDS = 0.2  # no wait is longer than this at a stretch: some systems deliver Ctrl-C only between waits


class Channel(Generic[T]):
    """First in, first out; one thread puts, one takes. What was put before an error arrives before the error."""

    def __init__(
        self, depth: int, replace: Callable[[T, T], T] | None = None, weigh: Callable[[T], int] | None = None
    ) -> None:
        """With `replace`, putting never waits: where there is no room, the last of the items that wait and the new one
        become the one that `replace(waiting, new)` gives. `weigh` gives an item's bytes: there is room for `depth`
        items, and for no more of them than have MOST_BYTES."""
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
        """Add `item`, waiting for room up to `timeout` seconds. False where it was not added: the taker is gone, which
        is said at once, or there was no room in time."""
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
        """The putting side is done: the taker gets what is left, then `error`, or the end."""
        with self._changed:
            self._finished, self._error = True, error
            self._changed.notify_all()

    def cancel(self) -> None:
        """Nothing more is wanted: drop what is left, wake a waiting `put`, and end the taker's iteration. From any
        thread."""
        with self._changed:
            self._cancelled = True
            self._items.clear()
            self._num_bytes = 0
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Items until the end; raises the error given to `finish`, unless the channel was cancelled."""
        while True:
            with self._changed:
                while not (self._items or self._finished or self._cancelled):
                    self._wait(None)
                if not self._items:
                    break
                item = self._taken(self._items.popleft())
                self._changed.notify_all()
            yield item
            del item  # else this generator would keep one item alive while it waits
        if self._error is not None and not self._cancelled:
            raise self._error

    def _wait(self, until: float | None) -> bool:
        """For a change, for a while. False once `until` has passed."""
        left = _LOOK_SECONDS if until is None else min(_LOOK_SECONDS, until - time.monotonic())
        if left > 0:
            self._changed.wait(left)
        return left > 0


class Prefetch(Generic[T]):
    """The same items, made in a thread that is at most `depth` ahead; see Channel for `replace` and `weigh`.

    An error in the items is raised where they are taken, in order. Iterate it once, and close it.
    """

    def __init__(
        self,
        items: Iterable[T],
        depth: int,
        replace: Callable[[T, T], T] | None = None,
        interrupt: Callable[[], None] | None = None,
        weigh: Callable[[T], int] | None = None,
    ) -> None:
        """`interrupt` ends the making of an item that takes for ever; called from another thread than the one that
        makes them. The thread starts with the iteration."""
        self._items = items
        self._channel: Channel[T] = Channel(depth, replace, weigh)
        self._interrupt = interrupt
        self._thread: threading.Thread | None = None

    def __iter__(self) -> Iterator[T]:
        self._thread = threading.Thread(target=self._fill, name="streamparts-prefetch", daemon=True)
        self._thread.start()
        yield from self._channel

    def end(self) -> None:
        """Nothing more is wanted; an iteration that waits for an item ends. From any thread, returns at once."""
        self._channel.cancel()

    def close(self, seconds: float = GRACE_SECONDS) -> bool:
        """End the thread. False where it did not end within `seconds`: it is left behind, and so must be what it
        works on. Items in the making are finished where that is quick, else interrupted."""
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
            with suppress(Exception):  # nobody wants the items any more, whatever is wrong with them
                self._interrupt()

    def _fill(self) -> None:
        try:
            for item in self._items:
                if not self._channel.put(item):
                    break
                del item  # else one item more than `depth` would be alive
        except BaseException as error:
            self._channel.finish(error)
        else:
            self._channel.finish()
