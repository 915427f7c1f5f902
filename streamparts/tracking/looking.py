"""From frames to tracks, for followed subjects or a fixed region."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from streamparts.bundle.spec import ModelSpec
from streamparts.data import Frame, Tracks
from streamparts.meter import StageClock
from streamparts.tracking.presence import Presence, subject_score
from streamparts.tracking.segment import PartSegmenter, Prepared
from streamparts.tracking.subject import Follower
from streamparts.tracking.tracker import PartTracker


class FollowedTracks:
    """The memory of one video: its follower, and one tracker for each subject."""

    def __init__(
        self,
        segmenter: PartSegmenter,
        spec: ModelSpec,
        num_subjects: int,
        new_tracker: Callable[[], PartTracker],
        clock: StageClock | None = None,
    ) -> None:
        self._follower = Follower(segmenter, spec, num_subjects, clock)
        self._trackers = [new_tracker() for _ in range(num_subjects)]
        self._clock = clock or StageClock()

    def update(self, frame: Frame) -> Tracks:
        """Return the tracks of the next frame, with those of other subjects in `others`. Raises ModelError."""
        seen = self._follower.look(frame)
        with self._clock.time("track"):
            subjects = []
            for number, (tracker, each) in enumerate(zip(self._trackers, seen, strict=True)):
                if each.anew:
                    tracker.forget()
                tracks = tracker.update(frame, each.letterbox, each.parts, each.here)
                subjects.append(replace(tracks, subject=number, subject_score=each.score))
            return replace(subjects[0], others=tuple(subjects[1:])) if len(subjects) > 1 else subjects[0]


class FixedTracks:
    """The memory of one video with a fixed region."""

    def __init__(
        self, segmenter: PartSegmenter, spec: ModelSpec, scored: bool, tracker: PartTracker, clock: StageClock
    ) -> None:
        """`scored` estimates for each frame whether the subject is present, if the model can."""
        self._segmenter, self._tracker, self._clock = segmenter, tracker, clock
        self._subject = spec.subject if scored else None
        self._presence = Presence()

    def update(self, item: Prepared) -> Tracks:
        """Return the tracks of the next frame. Raises ModelError."""
        with self._clock.time("infer"):
            parts = self._segmenter.infer(item)
        with self._clock.time("track"):
            if self._subject is None:
                return self._tracker.update(item.frame, item.letterbox, parts)
            score = subject_score(parts, self._subject)
            here = self._presence.here if item.frame.damaged else self._presence.update(score)
            tracks = self._tracker.update(item.frame, item.letterbox, parts, here)
            return replace(tracks, subject_score=score)
