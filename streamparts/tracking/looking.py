"""From frames to tracks, for followed subjects or a fixed region."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from streamparts.bundle.spec import ModelSpec
from streamparts.data import Frame, Parts, Tracks
from streamparts.errors import ModelError
from streamparts.meter import StageClock
from streamparts.tracking.memory import Seen
from streamparts.tracking.presence import Presence, subject_score
from streamparts.tracking.segment import PartSegmenter, Prepared
from streamparts.tracking.subject import Follower
from streamparts.tracking.tracker import PartTracker


@dataclass(frozen=True, slots=True)
class Looked:
    """A frame, and what was seen of each subject in it."""

    frame: Frame
    seen: list[Seen]


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

    def look(self, frame: Frame) -> Looked:
        """Find the subjects in the next frame. It does not depend on `tracks`, which may run in another thread behind
        it. Raises ModelError."""
        return Looked(frame, self._follower.look(frame))

    def tracks(self, looked: Looked) -> Tracks:
        """Return the tracks of the next frame, with those of other subjects in `others`."""
        with self._clock.time("track"):
            subjects = []
            for number, (tracker, each) in enumerate(zip(self._trackers, looked.seen, strict=True)):
                if each.anew:
                    tracker.forget()
                tracks = tracker.update(looked.frame, each.letterbox, each.parts, each.here)
                subjects.append(replace(tracks, subject=number, subject_score=each.score))
            return replace(subjects[0], others=tuple(subjects[1:])) if len(subjects) > 1 else subjects[0]

    def update(self, frame: Frame) -> Tracks:
        """`look`, then `tracks`. Raises ModelError."""
        return self.tracks(self.look(frame))


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
        return self._tracked(item, parts)

    def updates(self, items: Iterable[Prepared], is_ready: Callable[[], bool] = lambda: True) -> Iterator[Tracks]:
        """Return the tracks of every frame: the network runs on the next frame while the caller uses this one's tracks.
        Needs a segmenter that `overlaps`. Raises the errors of `items`, and ModelError, after the tracks before them.

        Args:
            is_ready: False while the next item would have to be waited for: tracks are then given before it.
        """
        source, waiting = iter(items), deque[Prepared]()
        failure: Exception | None = None
        ended = False
        try:
            while waiting or not ended:
                if ended or len(waiting) == 2 or (waiting and not is_ready()):
                    item = waiting.popleft()
                    with self._clock.time("infer"):
                        parts = self._segmenter.finish(item)
                    yield self._tracked(item, parts)
                    del item  # otherwise this generator would keep one frame alive while it waits
                    continue
                try:
                    item = next(source)
                    self._segmenter.start(item)
                except StopIteration:
                    ended = True
                except Exception as error:
                    failure, ended = error, True
                else:
                    waiting.append(item)
                    del item
            if failure is not None:
                raise failure
        finally:
            del failure  # it refers to this frame, and with it to the source, until the garbage collector comes
            for item in waiting:  # so that the backend's next caller does not get these results
                with suppress(ModelError):
                    self._segmenter.finish(item)

    def _tracked(self, item: Prepared, parts: Parts) -> Tracks:
        with self._clock.time("track"):
            if self._subject is None:
                return self._tracker.update(item.frame, item.letterbox, parts)
            score = subject_score(parts, self._subject)
            here = self._presence.here if item.frame.damaged else self._presence.update(score)
            tracks = self._tracker.update(item.frame, item.letterbox, parts, here)
            return replace(tracks, subject_score=score)
