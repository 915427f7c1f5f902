"""Calls a user's function with every result in a separate thread, so that it delays nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable

from streamparts.data import Tracks
from streamparts.meter import picture_bytes
from streamparts.runtime.options import Policy
from streamparts.threads import Channel, DaemonThread

STUCK_SECONDS = 5.0
"""A callback that takes no result for this long counts as stuck, until it takes one again."""

_DEPTH_ALL = 8


class CallbackThread:
    """Passes results to `call`. With policy "latest" the queue holds one result, which a newer one replaces. With "all"
    it holds eight, fewer if images are huge; if it is full, the run waits, but only until the callback counts as
    stuck."""

    def __init__(self, call: Callable[[Tracks], None], policy: Policy, failed: Callable[[BaseException], None]) -> None:
        """`failed` gets an exception of the callback, in its thread; the callback is not called again."""
        self._call, self._failed = call, failed
        self.num_lost = 0
        self._latest = policy == "latest"
        depth, replaced = (1, self._replaced) if self._latest else (_DEPTH_ALL, None)
        self._channel: Channel[Tracks] = Channel(depth, replaced, lambda tracks: picture_bytes(tracks.frame))
        self._num_put = self._num_taken = self._num_returned = 0
        self._moved_at = time.monotonic()
        self._thread = DaemonThread("callback", self._work)

    def put(self, tracks: Tracks) -> None:
        """Queue one result, or count it as lost."""
        if self._channel.put(tracks, timeout=None if self._latest else self._patience()):
            self._num_put += 1
        else:
            self.num_lost += 1

    def close(self, seconds: Callable[[], float | None]) -> bool:
        """Wait until all queued results were taken, unless the callback is stuck or `seconds`, queried repeatedly, have
        passed (None: no limit). Returns False if its thread was abandoned; then the remaining results are lost."""

        def left() -> float:
            given = seconds()
            return self._patience() if given is None else min(given, self._patience())

        self._channel.finish()
        self._thread.ends(left)
        self._channel.cancel()
        has_ended = self._thread.ends(0.05)
        self.num_lost += self._num_put - self._num_taken
        return has_ended

    def _patience(self) -> float:
        idle = self._num_returned >= self._num_put
        return STUCK_SECONDS if idle else max(0.0, self._moved_at + STUCK_SECONDS - time.monotonic())

    def _replaced(self, waiting: Tracks, newer: Tracks) -> Tracks:
        self.num_lost += 1
        self._num_put -= 1
        return newer

    def _work(self) -> None:
        try:
            for tracks in self._channel:
                self._moved_at = time.monotonic()
                self._num_taken += 1
                self._call(tracks)
                self._num_returned += 1
                self._moved_at = time.monotonic()
                del tracks  # otherwise this thread would keep one frame alive while it waits
        except BaseException as error:
            self._channel.cancel()
            self._failed(error)
