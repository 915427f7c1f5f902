"""Search order for a lost or unknown subject: the whole frame, then tiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from streamparts.data import Parts
from streamparts.geometry import Letterbox, Region
from streamparts.tracking.boxes import Box, overlap, region_around, union, whole_region, within
from streamparts.tracking.extent import Extent, all_extents

TILE_SIDES = (0.6, 0.3)
"""Heights of the tiles, as shares of the frame's shorter side, one round after the other."""
TILE_STEP = 0.67
"""Step between tiles, as a share of their side: anything smaller than the overlap is entirely inside one tile."""
WIDER = 2.5
"""Enlargement of the crop around the place where a subject was lost."""
WHOLE_TURN = 4
"""In a long search, the first round is repeated at this interval of frames, with tiles in between."""
SAME = 0.3
"""Two detections with this overlap are one."""


@dataclass(frozen=True, slots=True)
class Find:
    """A candidate for a subject."""

    box: Box
    weight: float
    """Its area in square displayed pixels times its score."""


def rounds(
    frame_hw: tuple[int, int], model_hw: tuple[int, int], lost: Sequence[Box], margin: float
) -> list[list[Region]]:
    """Regions to search, round by round, from coarse to fine: around the boxes of lost subjects and the whole frame,
    then tiles."""
    around = [within(region_around(box, margin, model_hw, WIDER), frame_hw, model_hw) for box in lost]
    whole = whole_region(frame_hw, model_hw)
    out = [[*dict.fromkeys(region for region in around if region != whole), whole]]
    for share in TILE_SIDES:
        side = share * min(frame_hw)
        if share == TILE_SIDES[0] or side >= max(model_hw):  # an upscaled tile shows no more detail
            out.append(tiles(frame_hw, model_hw, side))
    return out


def tiles(frame_hw: tuple[int, int], model_hw: tuple[int, int], height: float) -> list[Region]:
    """Regions of that height, with the model input's aspect ratio, that cover the frame with overlap."""
    # of displayed pixels, at the model input's aspect ratio
    width = height * model_hw[1] / model_hw[0]
    return [(x, y, width, height) for y in _places(frame_hw[0], height) for x in _places(frame_hw[1], width)]


def finds_in(looks: Sequence[tuple[Letterbox, Parts]]) -> list[Find]:
    """Candidates from several regions of a frame, heaviest first; overlapping ones are merged."""
    found = [_find(extent) for letterbox, parts in looks for extent in all_extents(parts, letterbox)]
    kept: list[Find] = []
    for find in sorted(found, key=lambda find: -find.weight):
        same = next((i for i, other in enumerate(kept) if overlap(find.box, other.box) > SAME), None)
        if same is None:
            kept.append(find)
        else:
            kept[same] = replace(kept[same], box=union(kept[same].box, find.box))
    return kept


class SearchPlan:
    """Progress of a search. It starts with as many views as the budget allows, coarsest first, and continues with a few
    views per frame."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Restart after a loss."""
        self._turn = self._next = 0

    def views(self, plan: Sequence[Sequence[Region]], room: Callable[[], int]) -> Iterator[Sequence[Region]]:
        """Views to search in this frame, at most `room`; `plan` is from `rounds`."""
        first, *finer = plan
        turn, self._turn = self._turn, self._turn + 1
        if turn % WHOLE_TURN == 0 and room():
            yield first[: room()]
        if turn == 0:
            for tiles_of_a_size in finer:
                if some := tiles_of_a_size[: room()]:
                    self._next += len(some)
                    yield some
        elif turn % WHOLE_TURN:
            every = [region for tiles_of_a_size in finer for region in tiles_of_a_size]
            start = self._next % len(every)
            if some := every[start : start + room()]:
                self._next = start + len(some)
                yield some


def _find(extent: Extent) -> Find:
    return Find(extent.box, extent.area * extent.score)


def _places(length: int, side: float) -> list[float]:
    if side >= length:
        return [(length - side) / 2]
    # as few evenly spaced tiles as overlap by 1 - TILE_STEP of their side at least
    number = 1 + math.ceil((length - side) / (TILE_STEP * side))
    return [(length - side) * i / (number - 1) for i in range(number)]
