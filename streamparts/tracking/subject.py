"""Follows subjects through a video: where to look in each frame, and the search for lost ones.

The network sees a crop around each subject's expected position. Its result moves the next crop. The same network
searches for a lost subject: around its last position, in the whole frame, then in tiles; candidates are verified in
their own crops. Searching has a budget, so that a long video costs at most 1 + `SPARE` times as much as without.
Everything depends only on the frames and their times: the same frames give the same tracks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from streamparts.bundle.spec import ModelSpec, SubjectSpec
from streamparts.data import Frame
from streamparts.geometry import Letterbox, Region
from streamparts.meter import StageClock
from streamparts.tracking.assignment import assign
from streamparts.tracking.boxes import Box, overlap, region_around, whole_region, within
from streamparts.tracking.crossing import MET, Crossings, Shape, apart, of_others, painted_out
from streamparts.tracking.cuts import CutDetector
from streamparts.tracking.extent import Extent, foreground, own_extent, without_scatter
from streamparts.tracking.finder import Find, SearchPlan, finds_in, rounds
from streamparts.tracking.looks import Look, Looks, Retouch
from streamparts.tracking.memory import Seen, Sighting, Subject, cost_of, nothing
from streamparts.tracking.presence import APPEAR_SCORE, subject_score
from streamparts.tracking.segment import PartSegmenter, Prepared

SPARE = 0.25
"""Additional views per frame and subject, on average."""
MOST_CREDIT = 16.0
"""Maximum budget of views, and the budget at the start."""
CHECK_SECONDS = 1.0
"""Interval between two views of the whole frame while all subjects are followed."""
AROUND_SECONDS = 2.0
"""Period in which a lost subject is also searched around its last position."""
SAME_BOX = 0.5
"""A candidate with this overlap with a followed subject is that subject."""
BETTER = 0.15
"""Score advantage of a candidate that replaces the followed subject."""
DOUBTFUL = 0.8
"""A subject with at least this score is never replaced."""


class Follower:
    """The memory of one video."""

    def __init__(
        self, segmenter: PartSegmenter, spec: ModelSpec, num_subjects: int = 1, clock: StageClock | None = None
    ) -> None:
        """`clock` receives the seconds of "prepare" and "infer" of each frame. Raises ValueError for a model without
        `subject`."""
        if spec.subject is None:
            raise ValueError(f"{spec.name} has no subject, so it cannot follow it")
        self._spec: SubjectSpec = spec.subject
        self._model_hw, self._num_parts = spec.input_hw, spec.num_parts
        # the images distinguish subjects, and one subject is painted over in the crop of another
        self._looks = Looks(segmenter, clock, needs_images=num_subjects > 1)
        self._subjects = [Subject() for _ in range(num_subjects)]
        self._crossings = Crossings()
        self._cuts = CutDetector()
        self._segment: int | None = None
        self._credit = MOST_CREDIT
        self._checked_seconds = 0.0
        self._search = SearchPlan()
        self._glance: Sighting | None = None

    @property
    def num_looks(self) -> int:
        """Number of images run through the network so far."""
        return self._looks.count

    def look(self, frame: Frame) -> list[Seen]:
        """Return each subject in the next frame of the video. Raises ModelError."""
        is_cut = not frame.damaged and self._cuts.update(frame)
        if is_cut or frame.segment != self._segment:
            self._begin_anew(frame)
        self._glance = None
        for subject in self._subjects:
            subject.sighting, subject.anew = None, False
        if frame.damaged:
            self._look_only(frame)
        else:
            self._follow_and_search(frame)
        self._looks.end_frame()
        return [self._seen(subject, frame) for subject in self._subjects]

    def _look_only(self, frame: Frame) -> None:
        """Look at all subjects where they are expected, without learning from the damaged frame: its image may be grey,
        or show earlier content. Followed subjects stay followed; lost ones are not searched for."""
        seconds, hw = frame.pts_seconds, (frame.height, frame.width)
        followed = [subject for subject in self._subjects if subject.motion is not None]
        regions = [subject.region(seconds, self._spec.margin, hw, self._model_hw) for subject in followed]
        for subject, look in zip(followed, self._looks.at(frame, regions), strict=True):
            subject.sighting = self._sighting(look, subject.expected(seconds))

    def _follow_and_search(self, frame: Frame) -> None:
        spare = SPARE * len(self._subjects) + sum(subject.motion is None for subject in self._subjects)
        self._credit = min(MOST_CREDIT, self._credit + spare)
        self._follow(frame)
        self._search_lost(frame)

    def _begin_anew(self, frame: Frame) -> None:
        """Start over after a cut."""
        same = frame.segment == self._segment
        self._segment = frame.segment
        for subject in self._subjects:
            subject.lose(frame.pts_seconds)
            subject.lost_box = subject.lost_box if same else None
        self._crossings = Crossings()
        self._search.begin()
        self._checked_seconds = frame.pts_seconds

    def _follow(self, frame: Frame) -> None:
        """Look at all subjects in their expected positions, and periodically at the whole frame."""
        seconds, hw = frame.pts_seconds, (frame.height, frame.width)
        followed = [number for number, subject in enumerate(self._subjects) if subject.motion is not None]
        if not followed:
            return
        regions = [self._subjects[n].region(seconds, self._spec.margin, hw, self._model_hw) for n in followed]
        is_due = seconds - self._checked_seconds >= CHECK_SECONDS and self._credit >= 2
        views = [whole_region(hw, self._model_hw)] if is_due and not self._is_any_lost() else []
        near = [self._shapes_near(number, seconds) for number in followed]
        looks = self._looks.at(frame, [*regions, *views], [self._retouch(shapes) for shapes in near])
        boxes = [self._subjects[number].expected(seconds) for number in followed]
        for number, look, box, shapes in zip(followed, looks, boxes, near, strict=False):
            sighting = self._sighting(look, box, shapes)
            self._subjects[number].go_on(sighting, seconds, 1.0 if shapes is None else apart(*shapes))
            if self._subjects[number].motion is None:
                self._crossings.forget(number)
                self._search.begin()
        self._settle_identities(seconds)
        if views:
            self._checked_seconds = seconds
            self._credit -= 1
            self._check(frame, looks[-1])

    def _sighting(self, look: Look, expected: Box, near: tuple[Shape, list[Shape]] | None = None) -> Sighting:
        """Result of a look at a subject, with the shapes of others `near` it."""
        mask = foreground(look.parts, look.letterbox)
        theirs = None if near is None else of_others(*near, look.letterbox)
        if theirs is not None:
            mask &= ~theirs
        extent = own_extent(mask, look.parts, look.letterbox, expected)
        return Sighting(look, subject_score(look.parts, self._spec), extent)

    def _check(self, frame: Frame, whole: Look) -> None:
        """Check whether anything in the whole frame is more like the subject than the followed one."""
        doubted = min(self._subjects, key=lambda subject: subject.trust)
        if doubted.motion is None or doubted.trust >= DOUBTFUL:
            return
        for sighting, extent in self._confirmed(frame, self._others_than_followed([whole]), 1):
            if sighting.score > doubted.trust + BETTER:
                doubted.lose(frame.pts_seconds)
                doubted.begin(sighting, extent, frame.pts_seconds)

    def _search_lost(self, frame: Frame) -> None:
        """Search for lost subjects within the budget."""
        seconds, hw = frame.pts_seconds, (frame.height, frame.width)
        if not self._is_any_lost():
            return
        lost = [subject for subject in self._subjects if subject.motion is None]
        around = [
            subject.lost_box
            for subject in lost
            if subject.lost_box is not None and seconds - subject.lost_seconds < AROUND_SECONDS
        ]
        for views in self._search.views(rounds(hw, self._model_hw, around, self._spec.margin), self._room):
            looks = self._looks.at(frame, views)
            self._credit -= len(views)
            self._glance = self._glance or Sighting(looks[-1], 0.0, None)
            self._settle(frame, self._others_than_followed(looks))
            if not self._is_any_lost():
                break

    def _room(self) -> int:
        """Number of views left; one is kept for verification."""
        return max(0, int(self._credit) - 1)

    def _settle(self, frame: Frame, finds: Sequence[Find]) -> None:
        """Assign candidates to the lost subjects."""
        lost = [subject for subject in self._subjects if subject.motion is None]
        found = self._confirmed(frame, finds, len(lost))
        if not found:
            return
        seconds = frame.pts_seconds
        costs = np.array([[cost_of(subject, sighting, seconds) for sighting, _ in found] for subject in lost])
        for row, column in assign(costs):
            lost[row].begin(*found[column], seconds)

    def _confirmed(self, frame: Frame, finds: Sequence[Find], wanted: int) -> list[tuple[Sighting, Extent]]:
        """Candidates that are subjects in their own crops."""
        hw = (frame.height, frame.width)
        some = finds[: min(wanted + 1, int(self._credit))]
        crops = [
            within(region_around(find.box, self._spec.margin, self._model_hw), hw, self._model_hw) for find in some
        ]
        self._credit -= len(crops)
        out: list[tuple[Sighting, Extent]] = []
        for find, look in zip(some, self._looks.at(frame, crops), strict=True):
            sighting = self._sighting(look, find.box)
            extent = sighting.extent
            if self._glance is None or sighting.score > self._glance.score:
                self._glance = sighting
            taken = [*self._boxes(), *(other.box for _, other in out)]
            if extent is None or sighting.score < APPEAR_SCORE or _is_among(extent.box, taken):
                continue
            out.append((sighting, extent))
        return out[:wanted]

    def _others_than_followed(self, looks: Sequence[Look]) -> list[Find]:
        followed = self._boxes()
        finds = finds_in([(look.letterbox, look.parts) for look in looks])
        return [find for find in finds if not _is_among(find.box, followed)]

    def _boxes(self) -> list[Box]:
        return [subject.motion.box for subject in self._subjects if subject.motion is not None]

    def _is_any_lost(self) -> bool:
        return any(subject.motion is None for subject in self._subjects)

    def _shapes_near(self, number: int, seconds: float) -> tuple[Shape, list[Shape]] | None:
        """The shape of a subject and those of others that may be in its crop; None without others."""
        box = self._subjects[number].expected(seconds)
        reach = box + (box[2:] - box[:2]).max() * (self._spec.margin + 0.25) * np.array([-1, -1, 1, 1])
        others = [
            subject.shape(seconds)
            for other, subject in enumerate(self._subjects)
            if other != number and subject.motion is not None and overlap(subject.expected(seconds), reach) > 0
        ]
        return (self._subjects[number].shape(seconds), others) if others else None

    def _retouch(self, near: tuple[Shape, list[Shape]] | None) -> Retouch | None:
        """Paints the other subjects over."""
        if near is None:
            return None

        def paint(prepared: Prepared) -> Prepared:
            theirs = of_others(*near, prepared.letterbox)
            return prepared if theirs is None else painted_out(prepared, theirs)

        return paint

    def _settle_identities(self, seconds: float) -> None:
        """For subjects that met: check whether there are still two, and which is which. Appearances are updated only
        while identities are certain."""
        here = [number for number, subject in enumerate(self._subjects) if subject.motion is not None]
        for one, other in combinations(here, 2):
            pair = (self._subjects[one], self._subjects[other])
            if pair[0].motion is None or pair[1].motion is None:
                continue
            shared = overlap(pair[0].motion.box, pair[1].motion.box)
            if shared > MET:
                self._close_together((one, other), pair, seconds)
            elif shared == 0 and self._crossings.have_met((one, other)):
                self._apart((one, other), pair)
        if len(self._subjects) == 1:
            return
        for number in here:
            if self._subjects[number].motion is not None and not self._crossings.is_open(number):
                self._subjects[number].learn()

    def _close_together(self, numbers: tuple[int, int], pair: tuple[Subject, Subject], seconds: float) -> None:
        areas = [0.0 if (s := subject.sighting) is None or s.extent is None else s.extent.area for subject in pair]
        largest = max(subject.appearance.area for subject in pair)
        if self._crossings.overlapping(numbers, sum(areas), largest, seconds):
            weaker = int(areas[1] < areas[0])
            pair[weaker].lose(seconds)
            self._crossings.forget(numbers[weaker])

    def _apart(self, numbers: tuple[int, int], pair: tuple[Subject, Subject]) -> None:
        one, other = pair
        if one.sighting is None or other.sighting is None:
            return
        straight = one.unlike(one.sighting) + other.unlike(other.sighting)
        crossed = one.unlike(other.sighting) + other.unlike(one.sighting)
        if self._crossings.apart(numbers, straight, crossed):
            one.appearance, other.appearance = other.appearance, one.appearance
            one.anew = other.anew = True
            self._subjects[numbers[0]], self._subjects[numbers[1]] = other, one

    def _seen(self, subject: Subject, frame: Frame) -> Seen:
        here, sighting = subject.motion is not None, subject.sighting
        if sighting is None and len(self._subjects) == 1:
            sighting = self._glance
        if sighting is None:
            box = Letterbox.fit((frame.height, frame.width), self._model_hw, self._whole(frame))
            return Seen(box, nothing(self._model_hw, self._num_parts), 0.0, here, subject.anew)
        look, extent = sighting.look, sighting.extent
        parts = look.parts if extent is None else without_scatter(look.parts, extent.mask)
        return Seen(look.letterbox, parts, sighting.score, here, subject.anew)

    def _whole(self, frame: Frame) -> Region:
        return whole_region((frame.height, frame.width), self._model_hw)


def _is_among(box: Box, others: Sequence[Box]) -> bool:
    return any(overlap(box, other) > SAME_BOX for other in others)
