"""Which of several candidates is the subject: the most prominent one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from streamparts.data import Frame
from streamparts.tracking.boxes import Box, area_of, shared_area
from streamparts.tracking.finder import Find
from streamparts.tracking.memory import Subject
from streamparts.tracking.own_motion import OwnMotion

AT_REST = 0.05
"""Prominence of something that does not move, relative to something that surely does."""
MOVES = 0.1
"""Own motion in a box, in [0, 1], from which what is in it moves."""
PAUSE_SECONDS = 0.8
"""Pause after a measurement of own motion while the subject is certain, so that there is one per second."""
MEMORY_SECONDS = 10.0
"""Time constant with which earlier motion of the followed subject is forgotten."""
FAR_MORE = 2.0
"""Factor of prominence by which a rival replaces the followed subject."""
RIVAL_SECONDS = (0.3, 4.0)
"""Pause after a look at a rival: the first, doubled with each further look, and the longest."""
JUST_LOST_SECONDS = 2.0
"""A subject that moved is not taken to be at rest for this long after it was lost."""
HALF, NEARLY_ALL = 0.5, 0.8
"""Shares of what moves, and of a box, that show that both are the same."""


class Prominence:
    """The memory of one segment of a video. With several subjects, all are followed: nothing is measured, and nothing
    is more or less prominent for its motion."""

    def __init__(self, num_subjects: int) -> None:
        self._chooses = num_subjects == 1
        self.motion = OwnMotion()
        self._is_new = False
        self._seconds = 0.0
        self._rival_seconds = -math.inf
        self.begin()

    def begin(self) -> None:
        """Another subject is followed from now on."""
        self._moved, self._pause = 0.0, RIVAL_SECONDS[0]

    def update(self, frame: Frame, subject: Subject) -> None:
        """Take the next frame, in which the subject is expected."""
        seconds = frame.pts_seconds
        # earlier motion fades: m <- m exp(-dt / T)
        self._moved *= math.exp(-max(0.0, seconds - self._seconds) / MEMORY_SECONDS)
        self._seconds = seconds
        self._is_new = self._chooses and self.motion.update(frame, PAUSE_SECONDS if subject.is_sure else 0.0)
        if self._is_new and subject.motion is not None:
            self._moved = max(self._moved, self._motion_of(subject.expected(seconds)))

    def moves(self, box: Box) -> bool:
        """True if what is in a box moves by itself."""
        return self.motion.share(box) > MOVES

    def rival(self, subject: Subject) -> Box | None:
        """The piece that moves most, if it was measured now, is not the followed subject, may be far more prominent,
        and is due for a look."""
        if not self._is_new or subject.motion is None or self._seconds < self._rival_seconds:
            return None
        moving = self._elsewhere(subject.expected(self._seconds))
        if moving is None or not self.is_far_more(moving, 1.0, subject):
            return None
        self._rival_seconds = self._seconds + self._pause
        self._pause = min(2 * self._pause, RIVAL_SECONDS[1])
        return moving

    def is_far_more(self, box: Box, score: float, subject: Subject) -> bool:
        """True if a candidate is far more prominent than the followed subject."""
        return self._of(box, score) > FAR_MORE * self._of_followed(subject)

    def is_less(self, box: Box, score: float, subject: Subject) -> bool:
        """True if a candidate is less prominent than the followed subject."""
        return self._chooses and self._of(box, score) < self._of_followed(subject)

    def refuses(self, box: Box, score: float, lost: Subject) -> bool:
        """True if a candidate is not what was just lost: that moved, and something far more prominent than the
        candidate still moves."""
        if lost.lost_box is None or self._seconds - lost.lost_seconds > JUST_LOST_SECONDS or self._moved < MOVES:
            return False
        moving = self._elsewhere(box)
        return moving is not None and self._of(moving, 1.0) > FAR_MORE * self._of(box, score)

    def sorted(self, finds: Sequence[Find]) -> list[Find]:
        """The most prominent candidates first."""
        return sorted(finds, key=lambda find: -find.weight * (AT_REST + self.motion.share(find.box)))

    def _of(self, box: Box, score: float) -> float:
        """Prominence: score times area times own motion."""
        return score * area_of(box) * (AT_REST + self.motion.share(box))

    def _of_followed(self, subject: Subject) -> float:
        """Prominence of the followed subject, with its earlier motion."""
        box = subject.expected(self._seconds)
        return subject.trust * area_of(box) * (AT_REST + max(self._moved, self._motion_of(box)))

    def _elsewhere(self, box: Box) -> Box | None:
        """The piece that moves most, if it is not what is in this box: neither is half of it there, nor moves nearly
        all of the box."""
        moving = self.motion.largest
        if moving is None:
            return None
        shared = shared_area(moving, box)
        return None if shared > HALF * area_of(moving) or shared > NEARLY_ALL * area_of(box) else moving

    def _motion_of(self, box: Box) -> float:
        """Own motion of the followed subject, without that of something else that moves in front of it."""
        return self.motion.share(box, self._elsewhere(box))
