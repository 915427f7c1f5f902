"""Sends tracks in a separate thread: the run never waits for a receiver or the network."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace
from typing import Protocol

import numpy as np

from streamparts.data import Tracks, standing_for
from streamparts.sinks.group import SinkReport
from streamparts.sinks.messages.backlog import Backlog
from streamparts.threads import DaemonThread

DEPTH = 8
"""Maximum number of frames queued for sending, without their images."""
ANNOUNCE_SECONDS = 1.0
"""Interval at which the header is repeated for late receivers."""
_CLOSE_SECONDS = 1.3
_NO_PICTURE = np.zeros((0, 0, 3), np.uint8)


class Sender(Protocol):
    """The sending end of a protocol. Opened in one thread and then used only by another one. It never waits."""

    address: str
    """Address it sends to, or listens at."""
    listens: bool
    """True if receivers connect to it."""
    num_missed: int
    """Frames that slow receivers missed, as far as the protocol reports it."""

    def announce(self) -> None:
        """Send the header. Called before the first frame and then once per second."""

    def send(self, tracks: Tracks) -> str | None:
        """Send one frame. Returns None, or the reason for a failure, in a few words that are the same each time."""

    def close(self) -> None:
        """Allow queued data up to a second to be sent, and end."""


class MessageSink:
    """A Sink of tracks. `write` queues them for the sending thread; if that is too slow, the oldest is dropped."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._backlog: Backlog[Tracks] = Backlog(DEPTH, _standing_for)
        self._changed = threading.Condition()
        self._ending = False
        self.num_sent = 0
        """Frames sent so far."""
        self._unsent: Counter[str] = Counter()
        self._thread = DaemonThread("messages", self._work, keeps_error=True)

    @property
    def address(self) -> str:
        """Address it sends to, or listens at, with the actual port."""
        return self._sender.address

    @property
    def listens(self) -> bool:
        """True if receivers connect to it."""
        return self._sender.listens

    @property
    def num_lost(self) -> int:
        """Frames that were not sent, or that a slow receiver missed."""
        return self._backlog.num_lost + self._unsent.total() + self._sender.num_missed

    def write(self, tracks: Tracks) -> None:
        """Queue one frame. Raises an error of the thread, once."""
        waiting = replace(tracks, frame=replace(tracks.frame, image=_NO_PICTURE))
        with self._changed:
            if not self._ending:
                self._backlog.put(waiting)
                self._changed.notify_all()
        self._thread.raise_error()

    def close(self) -> None:
        """Send queued frames, and end; a thread that does not end is abandoned after 1.3 s."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._thread.ends(_CLOSE_SECONDS)
        self._thread.raise_error()

    def report(self) -> SinkReport:
        """Report sent and missed frames."""
        unsent = self._unsent + Counter({"replaced by newer ones": self._backlog.num_lost})
        words = [f"{self.num_sent} frames sent", *(f"{count} not sent: {why}" for why, count in unsent.items())]
        if self._sender.num_missed:
            words.append(f"{self._sender.num_missed} missed by slow receivers")
        return SinkReport(notes=(f"{self.address}: {'; '.join(words)}",))

    def _work(self) -> None:
        try:
            self._send_until_the_end()
        finally:
            with self._changed:
                self._ending = True
            self._sender.close()

    def _send_until_the_end(self) -> None:
        due = time.monotonic()
        while True:
            if time.monotonic() >= due:
                self._sender.announce()
                due = time.monotonic() + ANNOUNCE_SECONDS
            tracks, ending = self._take(due - time.monotonic())
            if tracks is not None:
                unsent = self._sender.send(tracks)
                self.num_sent += unsent is None
                self._unsent.update(() if unsent is None else (unsent,))
            elif ending:
                return

    def _take(self, seconds: float) -> tuple[Tracks | None, bool]:
        """Return the oldest queued frame, within this many seconds, and whether the queue is finished."""
        with self._changed:
            self._changed.wait_for(lambda: self._backlog or self._ending, max(0.0, seconds))
            return self._backlog.take(), self._ending


def _standing_for(left_out: Tracks, tracks: Tracks) -> Tracks:
    return replace(tracks, frame=standing_for(left_out.frame, tracks.frame, num_dropped=0))
