"""Follows subjects through a video: where to look in each frame, and the search for lost ones.

The network sees a crop around each subject's expected position. Its result moves the next crop. The same network
searches for a lost subject: around its last position, in the whole frame, then in tiles; candidates are verified in
their own crops. Searching has a budget, so that a long video costs at most 1 + `SPARE` times as much as without.
Everything depends only on the frames and their times: the same frames give the same tracks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from streamparts.bundle.spec import ModelSpec, SubjectSpec
from streamparts.data import Frame
from streamparts.geometry import Letterbox, Region
from streamparts.meter import StageClock
from streamparts.tracking.assignment import assign
from streamparts.tracking.boxes import Box, overlap, region_around, whole_region, within
from streamparts.tracking.choosing import Prominence
from streamparts.tracking.crossing import Crossings, apart, of_others
from streamparts.tracking.cuts import CutDetector
from streamparts.tracking.extent import Extent, foreground, own_extent, without_scatter
from streamparts.tracking.finder import Find, SearchPlan, finds_in, rounds
from streamparts.tracking.looks import Look, Looks
from streamparts.tracking.memory import Seen, Sighting, Subject, cost_of, nothing
from streamparts.tracking.presence import APPEAR_SCORE, VANISH_SCORE, subject_score
from streamparts.tracking.segment import PartSegmenter
from streamparts.tracking.several import Near, retouch, settle_identities, shapes_near

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
        self._prominence = Prominence(num_subjects)
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
        if self._subjects[0].anew:
            self._prominence.begin()
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
        self._prominence.update(frame, self._subjects[0])
        was_here = self._subjects[0].here
        self._follow(frame)
        if was_here and not self._subjects[0].here:
            self._look_around(frame)
        self._search_lost(frame)

    def _begin_anew(self, frame: Frame) -> None:
        """Start over after a cut."""
        same = frame.segment == self._segment
        self._segment = frame.segment
        for subject in self._subjects:
            subject.lose(frame.pts_seconds)
            subject.lost_box = subject.lost_box if same else None
        self._crossings = Crossings()
        self._prominence = Prominence(len(self._subjects))
        self._search.begin()
        self._checked_seconds = frame.pts_seconds

    def _follow(self, frame: Frame) -> None:
        """Look at all subjects in their expected positions, and now and then at a rival or the whole frame."""
        seconds, hw = frame.pts_seconds, (frame.height, frame.width)
        followed = [number for number, subject in enumerate(self._subjects) if subject.motion is not None]
        if not followed:
            return
        regions = [self._subjects[n].region(seconds, self._spec.margin, hw, self._model_hw) for n in followed]
        can_look = self._credit >= 2 and not self._is_any_lost()
        rival = self._prominence.rival(self._subjects[0]) if can_look else None
        views: list[Region] = []
        if rival is not None:
            views = [within(region_around(rival, self._spec.margin, self._model_hw), hw, self._model_hw)]
        elif can_look and self._doubted() is not None and seconds - self._checked_seconds >= CHECK_SECONDS:
            views = [whole_region(hw, self._model_hw)]
        near = [shapes_near(self._subjects, number, seconds, self._spec.margin) for number in followed]
        looks = self._looks.at(frame, [*regions, *views], [retouch(shapes) for shapes in near])
        boxes = [self._subjects[number].expected(seconds) for number in followed]
        for number, look, box, shapes in zip(followed, looks, boxes, near, strict=False):
            sighting = self._sighting(look, box, shapes)
            share = 1.0 if shapes is None else apart(*shapes)
            self._subjects[number].go_on(sighting, seconds, share, partial(self._prominence.moves, box))
            if self._subjects[number].motion is None:
                self._crossings.forget(number)
                self._search.begin()
        settle_identities(self._subjects, self._crossings, seconds)
        self._credit -= len(views)
        if rival is not None:
            self._choose(self._sighting(looks[-1], rival), seconds)
        elif views:
            self._checked_seconds = seconds
            self._check(frame, looks[-1])

    def _choose(self, rival: Sighting, seconds: float) -> None:
        """Follow what moves, if it is like the subject and far more prominent than the followed one."""
        subject, extent = self._subjects[0], rival.extent
        if extent is None or subject.motion is None or rival.score < VANISH_SCORE:
            return
        if not _is_among(extent.box, self._boxes()) and self._prominence.is_far_more(extent.box, rival.score, subject):
            subject.lose(seconds)
            subject.begin(rival, extent, seconds)

    def _sighting(self, look: Look, expected: Box, near: Near | None = None) -> Sighting:
        """Result of a look at a subject, with the shapes of others `near` it."""
        mask = foreground(look.parts, look.letterbox)
        theirs = None if near is None else of_others(*near, look.letterbox)
        if theirs is not None:
            mask &= ~theirs
        extent = own_extent(mask, look.parts, look.letterbox, expected)
        return Sighting(look, subject_score(look.parts, self._spec), extent)

    def _doubted(self) -> Subject | None:
        """The least certain subject, if it is followed and may be replaced."""
        doubted = min(self._subjects, key=lambda subject: subject.trust)
        return None if doubted.motion is None or doubted.is_sure else doubted

    def _check(self, frame: Frame, whole: Look) -> None:
        """Check whether anything in the whole frame is more like the subject than the followed one."""
        doubted = self._doubted()
        if doubted is None:
            return
        for sighting, extent in self._confirmed(frame, self._others_than_followed([whole]), 1):
            is_less = self._prominence.is_less(extent.box, sighting.score, doubted)
            if sighting.score > doubted.trust + BETTER and not is_less:
                doubted.lose(frame.pts_seconds)
                doubted.begin(sighting, extent, frame.pts_seconds)

    def _look_around(self, frame: Frame) -> None:
        """Look around a subject that is followed, but was not recognised for the first time. If it is not there, it is
        expected where it was before."""
        subject, motion = self._subjects[0], self._subjects[0].motion
        if motion is None or self._room() < 1:
            return
        self._credit -= 1
        hw, margin = (frame.height, frame.width), self._spec.margin
        looks = self._looks.at(frame, rounds(hw, self._model_hw, [motion.box], margin)[0][:1])
        subject.lose(frame.pts_seconds)
        self._settle(frame, self._others_than_followed(looks))
        subject.motion = subject.motion or motion

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
        if self._prominence.motion.largest is not None:
            around.append(self._prominence.motion.largest)
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
        refuses = self._prominence.refuses
        found = [(one, extent) for one, extent in found if not refuses(extent.box, one.score, lost[0])]
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
        return [find for find in self._prominence.sorted(finds) if not _is_among(find.box, followed)]

    def _boxes(self) -> list[Box]:
        return [subject.motion.box for subject in self._subjects if subject.motion is not None]

    def _is_any_lost(self) -> bool:
        return any(subject.motion is None for subject in self._subjects)

    def _seen(self, subject: Subject, frame: Frame) -> Seen:
        here, sighting = subject.here, subject.sighting
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
