"""Runs regions of a frame through the network, with timing and counting."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamparts.arrays import ByteArray
from streamparts.data import Frame, Parts
from streamparts.geometry import Letterbox, Region
from streamparts.meter import StageClock
from streamparts.tracking.segment import PartSegmenter, Prepared


@dataclass(frozen=True, slots=True)
class Look:
    """A region of a frame, and the network's output for it."""

    letterbox: Letterbox
    image: ByteArray
    """(H, W, 3) uint8 RGB as the network saw it."""
    parts: Parts


Retouch = Callable[[Prepared], Prepared]
"""Edits the network's input."""


class Looks:
    """The segmenter of one video, with the cost of its use."""

    def __init__(self, segmenter: PartSegmenter, clock: StageClock | None = None, needs_images: bool = True) -> None:
        """`clock` receives the seconds of "prepare" and "infer", in total per frame. Without `needs_images`, the image
        of a look is empty where the frame is on the backend's device."""
        self._segmenter, self._clock, self._needs_images = segmenter, clock, needs_images
        self._seconds = [0.0, 0.0]
        self.count = 0
        """Number of images run through the network."""

    def at(self, frame: Frame, regions: Sequence[Region], retouch: Sequence[Retouch | None] = ()) -> list[Look]:
        """Run all regions in one batch. Raises ModelError."""
        if not regions:
            return []
        start = time.perf_counter()
        prepared = [self._segmenter.prepare(frame, region, self._needs_images) for region in regions]
        for number, change in enumerate(retouch):
            if change is not None:
                prepared[number] = change(prepared[number])
        middle = time.perf_counter()
        found = self._segmenter.infer_batch(prepared)
        self._seconds[0] += middle - start
        self._seconds[1] += time.perf_counter() - middle
        self.count += len(regions)
        return [Look(item.letterbox, item.image, parts) for item, parts in zip(prepared, found, strict=True)]

    def end_frame(self) -> None:
        """Record the time spent since the last frame."""
        if self._clock is not None:
            self._clock.add("prepare", self._seconds[0])
            self._clock.add("infer", self._seconds[1])
        self._seconds = [0.0, 0.0]
