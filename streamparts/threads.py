"""Threads that can be ended with patience, a bounded queue between two of them, and prefetching built on both."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")

GRACE_SECONDS = 2.0
"""Seconds within which a thread asked to stop must end; otherwise it is abandoned."""

MOST_BYTES = 2**28
"""Maximum bytes queued in one channel whose items are weighed: without it, a few frames of 64 million pixels would fill
the memory of a small machine. One item always fits."""

HEAVY_BYTES = MOST_BYTES // 4
"""An item of more bytes does not wait in the channel: it is added once the consumer asks for it."""

_PATIENCE_SECONDS = 0.25  # time for a thread to end with its next item
_LOOK_SECONDS = 0.2
"""Longest wait at a time: some systems deliver Ctrl-C only between waits."""
_JOIN_SECONDS = 0.05
"""The same for the end of a thread."""


class DaemonThread(threading.Thread):
    """A thread of the library, running from its creation. If it hangs in a driver or a file system, it is abandoned; as
    a daemon, it does not keep the process from ending."""

    def __init__(self, name: str, work: Callable[[], object], keeps_error: bool = False) -> None:
        """With `keeps_error`, an exception of `work` is the creator's to look for; otherwise Python prints it."""
        super().__init__(name=f"streamparts-{name}", daemon=True)
        self._work, self._keeps_error = work, keeps_error
        self.error: BaseException | None = None
        """Exception that ended it."""
        self.start()

    def run(self) -> None:
        """Do the work."""
        try:
            self._work()
        except BaseException as error:
            self.error = error
            if not self._keeps_error:
                raise
        finally:
            del self._work  # its owner has this thread: they would stay in memory until the garbage collector comes

    def ends(self, patience: float | Callable[[], float | None] | None = None) -> bool:
        """Wait for a thread that was asked to end. `patience` is the number of seconds to wait, or a function that is
        called again and again for the seconds left; None is as long as it takes. Returns False if it has not ended:
        then the caller abandons it, with whatever it works on."""
        left = patience if callable(patience) else countdown(patience)
        while self.is_alive():
            seconds = left()
            if seconds is not None and seconds <= 0:
                break
            self.join(_JOIN_SECONDS if seconds is None else min(_JOIN_SECONDS, seconds))
        return not self.is_alive()

    def raise_error(self) -> None:
        """Raise the exception that ended it, once."""
        error, self.error = self.error, None
        if error is not None:
            raise error


@contextmanager
def beside(name: str, work: Callable[[threading.Event], object], patience: float) -> Iterator[None]:
    """Run `work` in a thread of its own during the block. At the end, the event that it takes is set, and it has
    `patience` seconds to end."""
    ended = threading.Event()
    thread = DaemonThread(name, lambda: work(ended))
    try:
        yield
    finally:
        ended.set()
        thread.ends(patience)


def countdown(seconds: float | None) -> Callable[[], float | None]:
    """Return a function that gives the seconds left of `seconds` from now on, down to 0; of None, None."""
    until = None if seconds is None else time.monotonic() + seconds
    return lambda: None if until is None else max(0.0, until - time.monotonic())


class Channel(Generic[T]):
    """A FIFO for one producer and one consumer thread. Items put before an error arrive before the error."""

    def __init__(
        self, depth: int, replace: Callable[[T, T], T] | None = None, weigh: Callable[[T], int] | None = None
    ) -> None:
        """With `replace`, put never waits: if there is no room, the last queued item and the new one become
        `replace(waiting, new)`. `weigh` returns an item's bytes; there is room for `depth` items of at most MOST_BYTES
        together, and without `replace` for one above HEAVY_BYTES only when the consumer asks."""
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        self._depth = depth
        self._replace = replace
        self._weigh = weigh or (lambda item: 0)
        self._items: deque[tuple[T, int]] = deque()
        self._num_bytes = 0
        self._is_asked = False
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
        if weight > HEAVY_BYTES and not self._replace:
            return bool(self._items) or not self._is_asked
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

    def is_ready(self) -> bool:
        """True if the consumer would not wait for an item or the end now."""
        with self._changed:
            return bool(self._items) or self._finished or self._cancelled

    def __iter__(self) -> Iterator[T]:
        """Yield items until the end; raises the error given to `finish`, unless the channel was cancelled."""
        while True:
            with self._changed:
                self._is_asked = True
                self._changed.notify_all()
                while not (self._items or self._finished or self._cancelled):
                    self._wait(None)
                if not self._items:
                    break
                self._is_asked = False
                item = self._taken(self._items.popleft())
                self._changed.notify_all()
            yield item
            del item  # otherwise this generator would keep one item alive while it waits
        error, self._error = self._error, None
        try:
            if error is not None and not self._cancelled:
                raise error
        finally:
            del error  # it refers to this frame, and with it to the items, until the garbage collector comes

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
        self._thread: DaemonThread | None = None

    def __iter__(self) -> Iterator[T]:
        self._thread = DaemonThread("prefetch", self._fill)
        yield from self._channel

    def is_ready(self) -> bool:
        """True if the next item is there, or the end."""
        return self._channel.is_ready()

    def end(self) -> None:
        """Ask the thread to stop, and end a waiting iteration. From any thread; returns at once."""
        self._channel.cancel()

    def close(self, seconds: float = GRACE_SECONDS) -> bool:
        """End the thread. Returns False if it did not end within `seconds`: then it is abandoned, with whatever it
        works on. An item in progress is finished if that is quick, else interrupted."""
        self.end()
        thread, left = self._thread, countdown(seconds)
        if thread is None or thread.ends(min(_PATIENCE_SECONDS, seconds) if self._interrupt else seconds):
            return True
        if self._interrupt is None:
            return False
        # the consumer is gone, so an error of the interruption does not matter
        breaker = DaemonThread("interrupt", self._interrupt, keeps_error=True)
        return thread.ends(left) and breaker.ends(left)

    def _fill(self) -> None:
        items, self._items = self._items, ()  # a generator whose frame may refer to the owner of this: let go of both
        try:
            for item in items:
                if not self._channel.put(item):
                    break
                del item  # otherwise one item more than `depth` would be alive
        except BaseException as error:
            self._channel.finish(error)
        else:
            self._channel.finish()
