"""Trails of the parts, the overlay's memory."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import FloatArray
from streamparts.data import Tracks

Trail = tuple[int, FloatArray]
"""A part number, and (n, 2) displayed pixels of its centre, n > 1, oldest first."""

MAX_POINTS = 128
"""Maximum points in a trail, whatever the frame rate: memory and drawing time stay bounded."""


class Trails:
    """The centres of the last seconds of one video, in its own time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._segment: int | None = None
        self._past: deque[tuple[float, FloatArray, NDArray[np.bool_]]] = deque(maxlen=MAX_POINTS + 2)

    def update(self, tracks: Tracks) -> list[Trail]:
        """Add one frame; return its trails, interrupted where a part was hidden."""
        if tracks.frame.segment != self._segment:
            self._past.clear()
            self._segment = tracks.frame.segment
        now = tracks.pts_seconds
        while self._past and self._past[0][0] < now - self._seconds:
            self._past.popleft()
        # The newest point moves until it is far enough in time from the previous one.
        if len(self._past) > 1 and now - self._past[-2][0] < self._seconds / MAX_POINTS:
            self._past.pop()
        self._past.append((now, tracks.centers, tracks.visible))
        return self._lines()

    def _lines(self) -> list[Trail]:
        centers = np.stack([centers for _, centers, _ in self._past])
        seen = np.stack([visible for _, _, visible in self._past])
        lines = list[Trail]()
        for part in range(seen.shape[1]):
            borders = np.flatnonzero(np.diff(seen[:, part], prepend=False, append=False)).tolist()
            runs = zip(borders[::2], borders[1::2], strict=True)
            lines += [(part, centers[first:end, part]) for first, end in runs if end - first > 1]
        return lines
