"""Sends tracks in a thread of its own: the run never waits for a receiver, nor for the network."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace
from typing import Protocol

import numpy as np

from streamparts.data import Tracks, standing_for
from streamparts.sinks.group import Report
from streamparts.sinks.messages.backlog import Backlog

DEPTH = 8
"""Frames that may wait to be sent, without their pictures."""
ANNOUNCE_SECONDS = 1.0
"""How often receivers that came late are told how to read the rest."""
_CLOSE_SECONDS = 1.3
_NO_PICTURE = np.zeros((0, 0, 3), np.uint8)


class Sender(Protocol):
    """One protocol's end of the line. Opened in one thread and then used by another one alone. It waits for nobody."""

    address: str
    """Where it sends, or listens."""
    listens: bool
    """Whether receivers come to it."""
    num_missed: int
    """Frames that one receiver or another was too slow for, as far as the protocol tells."""

    def announce(self) -> None:
        """Say how to read the rest. Called before the first frame and then once a second."""

    def send(self, tracks: Tracks) -> str | None:
        """Send one frame. None, or what kept it from being sent, in a few words that are the same each time."""

    def close(self) -> None:
        """Give what is on its way a moment, no more than a second, and end."""


class MessageSink:
    """A Sink of tracks. `write` leaves them for the thread that sends; where that is too slow, the oldest is left
    out."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._backlog: Backlog[Tracks] = Backlog(DEPTH, _standing_for)
        self._changed = threading.Condition()
        self._ending = False
        self._error: BaseException | None = None
        self.num_sent = 0
        """Frames sent so far."""
        self._unsent: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._work, name="streamparts-messages", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Where it sends, or listens, with the port that was found."""
        return self._sender.address

    @property
    def listens(self) -> bool:
        """Whether receivers come to it."""
        return self._sender.listens

    @property
    def num_lost(self) -> int:
        """Frames that were not sent, or that a receiver was too slow for."""
        return self._backlog.num_lost + self._unsent.total() + self._sender.num_missed

    def write(self, tracks: Tracks) -> None:
        """Leave one frame to be sent. Raises what went wrong in the thread, once."""
        waiting = replace(tracks, frame=replace(tracks.frame, image=_NO_PICTURE))
        with self._changed:
            if not self._ending:
                self._backlog.put(waiting)
                self._changed.notify_all()
        self._raise_error()

    def close(self) -> None:
        """Send what waits, and end; a thread that does not is left behind after 1.3 s."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._thread.join(_CLOSE_SECONDS)
        self._raise_error()

    def report(self) -> Report:
        """What was sent and what was not."""
        unsent = self._unsent + Counter({"newer ones came first": self._backlog.num_lost})
        words = [f"{self.num_sent} frames sent", *(f"{count} not sent: {why}" for why, count in unsent.items())]
        if self._sender.num_missed:
            words.append(f"receivers were too slow for {self._sender.num_missed}")
        return Report(notes=(f"{self.address}: {'; '.join(words)}",))

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _work(self) -> None:
        try:
            try:
                self._send_until_the_end()
            finally:
                with self._changed:
                    self._ending = True
                self._sender.close()
        except BaseException as error:
            self._error = error

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
        """The oldest that waits, within so many seconds; and whether no more will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._backlog or self._ending, max(0.0, seconds))
            return self._backlog.take(), self._ending


def _standing_for(left_out: Tracks, tracks: Tracks) -> Tracks:
    return replace(tracks, frame=standing_for(left_out.frame, tracks.frame, num_dropped=0))
