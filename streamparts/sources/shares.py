"""Files with large images share the memory of a process: a run of several needs little more than a run of one.

A file whose images need more than FREE_PIXELS waits for a share of TOTAL_PIXELS before the first of them is decoded.
The limit is the decoder's own (its option max_pixels), so headers need not be trusted, and no waiting time is assumed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from streamparts.errors import VideoError

FREE_PIXELS = 2_500_000
"""Images up to this size need no share: 1920x1080 is smaller."""
TOTAL_PIXELS = 64_000_000
"""Sum of all shares: one image of the default limit, or seven of 4K, if no decoder keeps more than five. A larger image
takes all of it."""
_LOOK_SECONDS = 0.1
"""Time between two looks at whether the owner has ended."""

_changed = threading.Condition()
_taken = 0  # pixels, under the lock of _changed


class TooLarge(VideoError):
    """An image exceeds the limit at which it would be decoded."""

    def __init__(self, line: str, pixels: int) -> None:
        super().__init__(line)
        self.pixels = pixels
        """The image's; 0 if only many together are too large."""


class ShareRefused(Exception):
    """The owner ended before its share was free."""


class Share:
    """The share of one owner, such as a job. Close it once the owner holds no images any more."""

    def __init__(self, has_ended: Callable[[], bool] = lambda: False) -> None:
        self._has_ended = has_ended
        self._pixels = 0
        self._is_closed = False

    def wait_for(self, pixels: int) -> None:
        """Wait until images of `pixels` pixels may be held instead of those before. The owner must hold none meanwhile:
        an owner that waits keeps no share, so every wait ends. Raises ShareRefused once the owner has ended."""
        wanted = min(pixels, TOTAL_PIXELS)
        with _changed:
            self._set(0)
            while not self._is_closed and not self._has_ended():
                if _taken + wanted <= TOTAL_PIXELS:
                    self._set(wanted)
                    return
                _changed.wait(_LOOK_SECONDS)
        raise ShareRefused

    def reach(self, pixels: int) -> None:
        """Wait for a share for images of `pixels` pixels, unless it suffices for them."""
        if min(pixels, TOTAL_PIXELS) > max(self._pixels, FREE_PIXELS):
            self.wait_for(pixels)

    def close(self) -> None:
        """Give it back, for good. Any number of times, from any thread."""
        with _changed:
            self._is_closed = True
            self._has_ended = lambda: True  # releases the owner
            self._set(0)

    def _set(self, pixels: int) -> None:
        global _taken
        _taken += pixels - self._pixels
        self._pixels = pixels
        _changed.notify_all()


_share: ContextVar[Share | None] = ContextVar("share", default=None)


@contextmanager
def sharing(share: Share) -> Iterator[None]:
    """Sources that this thread opens in the block use `share`."""
    token = _share.set(share)
    try:
        yield
    finally:
        _share.reset(token)


class Limit:
    """The largest image that a source may decode. It begins at FREE_PIXELS if the source is opened with a share."""

    def __init__(self, most: int) -> None:
        """`most` is the user's limit, in pixels."""
        self._most, self._share = most, _share.get()
        self.pixels = most if self._share is None else min(most, FREE_PIXELS)

    def can_grow(self, pixels: int) -> bool:
        """True if `wait_for(pixels)` would raise the limit to so many."""
        return self._share is not None and self.pixels < pixels <= self._most

    def wait_for(self, pixels: int) -> None:
        """Raise the limit to `pixels` once there is a share for them, see Share.wait_for."""
        if self._share is not None:
            self._share.wait_for(pixels)
        self.pixels = pixels
