"""A short queue of items to send, which drops the oldest."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Backlog(Generic[T]):
    """A FIFO; if it is full, the oldest item is dropped and counted. Not thread-safe."""

    def __init__(self, depth: int, merge: Callable[[T, T], T]) -> None:
        """`merge(left_out, following)` adds to the item after a dropped one what must not be lost."""
        self._items: deque[T] = deque()
        self._depth, self._merge = depth, merge
        self.num_lost = 0

    def put(self, item: T) -> None:
        self._items.append(item)
        if len(self._items) > self._depth:
            oldest = self._items.popleft()
            self._items[0] = self._merge(oldest, self._items[0])
            self.num_lost += 1

    def take(self) -> T | None:
        """Take the oldest item; None if it is empty."""
        return self._items.popleft() if self._items else None

    def __len__(self) -> int:
        return len(self._items)
