"""Detects cuts by comparing a few pixels with the previous frame."""

from __future__ import annotations

import numpy as np
from av import VideoFrame
from numpy.typing import NDArray

from streamparts.data import Frame

GRID = 24
"""Pixels looked at along each side."""
JUMP = 25.0
"""Mean difference from the previous frame, of 255 levels, that a cut exceeds."""
TIMES_USUAL = 4.0
"""Multiple of the usual difference that a cut also exceeds."""
USUAL_PACE = 0.1
"""Update rate of the usual difference."""


class CutDetector:
    """The memory of one video."""

    def __init__(self) -> None:
        self._before: NDArray[np.int16] | None = None
        self._usual = 0.0

    def update(self, frame: Frame) -> bool:
        """True if `frame` shows another scene than the previous one; False for the first."""
        now, before = _sample(frame), self._before
        self._before = now
        if before is None or before.shape != now.shape:
            return False
        difference = float(np.abs(now - before).mean())
        is_cut = difference > max(JUMP, TIMES_USUAL * self._usual)
        self._usual += USUAL_PACE * (difference - self._usual)
        return is_cut


def _sample(frame: Frame) -> NDArray[np.int16]:
    """Some bytes of the first plane, evenly spread: luma, or one colour channel."""
    if isinstance(frame.image, np.ndarray):
        rows = frame.image[:, :, 1]
    elif isinstance(frame.image, VideoFrame):
        plane = frame.image.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)  # type: ignore[call-overload]
        rows = rows[: frame.image.height]
    else:  # last, because the check for a protocol would take as long as all the rest
        return frame.image.scaled((min(GRID, frame.height), min(GRID, frame.width)))[:, :, 1].astype(np.int16)
    steps = (max(1, rows.shape[0] // GRID), max(1, rows.shape[1] // GRID))
    return rows[steps[0] // 2 :: steps[0], steps[1] // 2 :: steps[1]].astype(np.int16)
