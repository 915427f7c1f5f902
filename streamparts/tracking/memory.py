"""The memory of one subject from frame to frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamparts.data import Parts
from streamparts.geometry import Letterbox, Region
from streamparts.tracking.appearance import Appearance, colours_of
from streamparts.tracking.boxes import Box, center_of, overlap, region_around, size_of, within
from streamparts.tracking.crossing import Shape
from streamparts.tracking.extent import Extent
from streamparts.tracking.looks import Look
from streamparts.tracking.motion import BoxMotion
from streamparts.tracking.presence import Presence

TRUST_PACE = 0.2
"""Update rate of the confidence in a subject."""
STEADY_SIZE = 1.1
"""A crop is kept while the size of the ideal one is within this factor."""
STEADY_PLACE = 0.05
"""A crop is kept while the distance of the ideal one is within this share of its size."""
DOUBTFUL = 0.8
"""A subject with at least this score is never replaced for another one's score."""
WAIT_SECONDS = 1.0
"""Something that moves is followed for this long without being recognised."""
SHAPE_PACE = 0.3
"""Update rate of the shape."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One subject in one frame."""

    letterbox: Letterbox
    """Maps model pixels to displayed pixels."""
    parts: Parts
    score: float
    """In [0, 1]: probability that this is the subject."""
    here: bool
    """True if it counts as present."""
    anew: bool
    """True if its position is unrelated to the last one, so that nothing can be continued."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """Result of a look at a place."""

    look: Look
    score: float
    extent: Extent | None
    """None if there is nothing."""


class Subject:
    """One of the subjects of a video."""

    def __init__(self) -> None:
        self.motion: BoxMotion | None = None
        """None while it is lost."""
        self.appearance = Appearance()
        self.trust = 0.0
        """Running mean of its scores."""
        self.lost_box: Box | None = None
        """Where it was last seen."""
        self.lost_seconds = 0.0
        """When it was lost."""
        self.seen_seconds = 0.0
        """When it was last recognised."""
        self.sighting: Sighting | None = None
        """State in the current frame."""
        self.anew = False
        """True if it restarted in the current frame."""
        self._presence = Presence()
        self._region: Region | None = None
        self._covariance = np.eye(2)
        self._off_center = np.zeros(2)

    @property
    def here(self) -> bool:
        """True if it is followed and recognised."""
        return self.motion is not None and self._presence.here

    @property
    def is_sure(self) -> bool:
        """True if it is followed with a high score."""
        return self.motion is not None and self.trust >= DOUBTFUL

    def region(self, seconds: float, margin: float, frame_hw: tuple[int, int], model_hw: tuple[int, int]) -> Region:
        """Crop to look at: the previous frame's while it still fits, so that a subject at rest is seen in the same
        way."""
        wanted = within(region_around(self.expected(seconds), margin, model_hw), frame_hw, model_hw)
        if self._region is None or not _still_fits(self._region, wanted):
            self._region = wanted
        return self._region

    def expected(self, seconds: float) -> Box:
        """Its box at that time. Raises ValueError while it is lost."""
        if self.motion is None:
            raise ValueError("a lost subject has no expected position")
        return self.motion.expected(seconds)

    def shape(self, seconds: float) -> Shape:
        """Expected mean and covariance of its pixels."""
        return Shape(center_of(self.expected(seconds)) + self._off_center, self._covariance)

    def begin(self, sighting: Sighting, extent: Extent, seconds: float) -> None:
        """It was found."""
        before, self.motion = self.lost_box, BoxMotion(extent.box, seconds)
        self.anew = before is None or overlap(before, extent.box) == 0
        self.trust, self.seen_seconds = sighting.score, seconds
        self.sighting, self._region = sighting, None
        self._presence.update(1.0)
        # the mean of its pixels is rarely the box's middle: a raised arm makes a box taller
        self._covariance, self._off_center = extent.covariance, extent.mean - center_of(extent.box)

    def go_on(self, sighting: Sighting, seconds: float, apart: float, waits: Callable[[], bool]) -> None:
        """It was looked at in its expected position; `apart` is 1 if no other subject covers it, 0 if one covers it
        entirely. If it is not recognised and `waits`, it is lost only after a second."""
        self.sighting, extent = sighting, sighting.extent
        is_recognised = self._presence.update(0.0 if extent is None else sighting.score)
        if not is_recognised and seconds - self.seen_seconds < WAIT_SECONDS and waits():
            return
        if self.motion is None or extent is None or not is_recognised:
            self.lose(seconds)
            return
        self.seen_seconds = seconds
        # running means: m += rate (x - m)
        self.trust += TRUST_PACE * (sighting.score - self.trust)
        self.motion.update(extent.box, seconds, apart)
        seen = extent.covariance
        if apart < 1:  # not all of its pixels are visible, but their direction is
            seen = Shape(extent.mean, self._covariance).turned_like(seen)
        # (2, 2), slower while another subject covers it
        self._covariance += SHAPE_PACE * apart * (seen - self._covariance)
        if apart == 1:
            self._off_center += SHAPE_PACE * (extent.mean - center_of(extent.box) - self._off_center)

    def lose(self, seconds: float) -> None:
        """It is not in its expected position."""
        if self.motion is not None:
            self.lost_box, self.lost_seconds = self.motion.box, seconds
        self.motion, self._region = None, None
        self._presence.update(0.0)

    def learn(self) -> None:
        """Update its appearance."""
        if self.sighting is not None and self.sighting.extent is not None:
            extent = self.sighting.extent
            self.appearance.learn(colours_of(self.sighting.look.image, extent.mask), extent.area)

    def unlike(self, sighting: Sighting) -> float:
        """Dissimilarity between a sighting and its appearance; see Appearance.distance."""
        if sighting.extent is None:
            return 1.0
        if not self.appearance.is_known:  # its image may be elsewhere
            return 0.0
        colours = colours_of(sighting.look.image, sighting.extent.mask)
        return self.appearance.distance(colours, sighting.extent.area)


def cost_of(subject: Subject, sighting: Sighting, seconds: float) -> float:
    """Cost of assigning a sighting to a lost subject: dissimilarity, plus distance, which counts less with time."""
    unlike = subject.unlike(sighting)
    if subject.lost_box is None or sighting.extent is None:
        return unlike
    # in units of its last longer side; four of them cost as much as entirely different colours
    way = center_of(sighting.extent.box) - center_of(subject.lost_box)
    lengths = float(np.linalg.norm(way)) / max(float(size_of(subject.lost_box).max()), 1.0)
    return unlike + min(1.0, lengths / 4) / (1 + max(0.0, seconds - subject.lost_seconds))


def _still_fits(region: Region, wanted: Region) -> bool:
    # widths suffice: both regions have the model's aspect ratio
    ratio = wanted[2] / region[2]
    off: NDArray[np.float64] = np.array(
        [wanted[0] + wanted[2] / 2 - region[0] - region[2] / 2, wanted[1] + wanted[3] / 2 - region[1] - region[3] / 2]
    )
    steady = bool((np.abs(off) <= STEADY_PLACE * np.array([region[2], region[3]])).all())
    return steady and 1 / STEADY_SIZE <= ratio <= STEADY_SIZE


def nothing(model_hw: tuple[int, int], num_parts: int) -> Parts:
    """State of a frame in which no subject was searched."""
    affines = np.zeros((num_parts, 2, 3), np.float32)
    return Parts(np.zeros(model_hw, np.uint8), affines, np.zeros(num_parts, np.float32))
