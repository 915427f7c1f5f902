"""Several subjects near each other: their shapes in each other's crops, and which is which after they met."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from streamparts.tracking.boxes import overlap
from streamparts.tracking.crossing import MET, Crossings, Shape, of_others, painted_out
from streamparts.tracking.looks import Retouch
from streamparts.tracking.memory import Subject
from streamparts.tracking.segment import Prepared

Near = tuple[Shape, list[Shape]]
"""The shape of a subject, and those of others that may be in its crop."""


def shapes_near(subjects: Sequence[Subject], number: int, seconds: float, margin: float) -> Near | None:
    """The shapes in the crop of the subject of that number, if there are others; `margin` as for region_around."""
    if len(subjects) == 1:
        return None
    box = subjects[number].expected(seconds)
    reach = box + (box[2:] - box[:2]).max() * (margin + 0.25) * np.array([-1, -1, 1, 1])
    others = [
        subject.shape(seconds)
        for other, subject in enumerate(subjects)
        if other != number and subject.motion is not None and overlap(subject.expected(seconds), reach) > 0
    ]
    return (subjects[number].shape(seconds), others) if others else None


def retouch(near: Near | None) -> Retouch | None:
    """Paints the other subjects over."""
    if near is None:
        return None

    def paint(prepared: Prepared) -> Prepared:
        theirs = of_others(*near, prepared.letterbox)
        return prepared if theirs is None else painted_out(prepared, theirs)

    return paint


def settle_identities(subjects: list[Subject], crossings: Crossings, seconds: float) -> None:
    """For subjects that met: check whether there are still two, and which is which. Exchanges them in the list.
    Appearances are updated only while identities are certain."""
    here = [number for number, subject in enumerate(subjects) if subject.motion is not None]
    for one, other in combinations(here, 2):
        pair = (subjects[one], subjects[other])
        if pair[0].motion is None or pair[1].motion is None:
            continue
        shared = overlap(pair[0].motion.box, pair[1].motion.box)
        if shared > MET:
            _close_together(crossings, (one, other), pair, seconds)
        elif shared == 0 and crossings.have_met((one, other)) and _are_exchanged(crossings, (one, other), pair):
            subjects[one], subjects[other] = pair[1], pair[0]
    if len(subjects) == 1:
        return
    for number in here:
        if subjects[number].motion is not None and not crossings.is_open(number):
            subjects[number].learn()


def _close_together(
    crossings: Crossings, numbers: tuple[int, int], pair: tuple[Subject, Subject], seconds: float
) -> None:
    areas = [0.0 if (s := subject.sighting) is None or s.extent is None else s.extent.area for subject in pair]
    largest = max(subject.appearance.area for subject in pair)
    if crossings.overlapping(numbers, sum(areas), largest, seconds):
        weaker = int(areas[1] < areas[0])
        pair[weaker].lose(seconds)
        crossings.forget(numbers[weaker])


def _are_exchanged(crossings: Crossings, numbers: tuple[int, int], pair: tuple[Subject, Subject]) -> bool:
    one, other = pair
    if one.sighting is None or other.sighting is None:
        return False
    straight = one.unlike(one.sighting) + other.unlike(other.sighting)
    crossed = one.unlike(other.sighting) + other.unlike(one.sighting)
    if not crossings.apart(numbers, straight, crossed):
        return False
    one.appearance, other.appearance = other.appearance, one.appearance
    one.anew = other.anew = True
    return True
