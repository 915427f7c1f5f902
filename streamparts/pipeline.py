"""One source through the network: decoding runs ahead in a thread, the network where the tracks are asked for.

What happens when frames come faster than they are taken is the policy. "all": the source waits; nothing is lost.
"latest": nothing waits; of the frames that nobody has taken only the newest is kept, and says how many it stands for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Literal

from streamparts.backends import Backend
from streamparts.bundle import Bundle, ModelSpec
from streamparts.channel import GRACE_SECONDS, Prefetch
from streamparts.data import Frame, Gap, Tracks, picture_bytes
from streamparts.errors import VideoError
from streamparts.filters import Smoothing
from streamparts.geometry import Region
from streamparts.segment import PartSegmenter, Prepared
from streamparts.skeleton import Skeleton
from streamparts.sources import Source
from streamparts.stats import RunMeter
from streamparts.tracker import PartTracker
from streamparts.tracking.looking import FixedTracks, FollowedTracks
from streamparts.tracking.roi import WHOLE_PICTURE, Following

Policy = Literal["all", "latest"]
POLICIES: tuple[Policy, ...] = ("all", "latest")

PREFETCH_DEPTH = 2
"""Frames that may wait, decoded, for the network, where none may be lost."""


def is_live(source: Source) -> bool:
    """Whether its frames come whether or not anybody takes them."""
    return bool(getattr(source, "live", False))


def default_policy(source: Source) -> Policy:
    """ "latest" for what is live, else "all"."""
    return "latest" if is_live(source) else "all"


def part_tracker(spec: ModelSpec, smoothing: Smoothing | None = None, skeleton: Skeleton | None = None) -> PartTracker:
    """The tracker of one video for the parts of a model; with `smoothing`, symmetric parts are told apart."""
    return PartTracker(
        spec.parts,
        undirected=spec.method == "scops",
        smoothing=smoothing,
        pairs=spec.symmetric_pairs if smoothing else (),
        skeleton=skeleton,
    )


class Pipeline:
    """The tracks of one source. Iterate it once, in one thread, and close it; the source stays the caller's."""

    def __init__(
        self,
        source: Source,
        bundle: Bundle,
        backend: Backend,
        *,
        policy: Policy | None = None,
        max_fps: float | None = None,
        first_index: int = 0,
        smoothing: Smoothing | None = None,
        skeleton: Skeleton | None = None,
        following: Following = WHOLE_PICTURE,
        meter: RunMeter | None = None,
    ) -> None:
        """`policy` None is the source's own. `max_fps` leaves out frames, by their times, so that no more than so many
        a second are processed. Frames before `first_index` are read and left out. `smoothing` filters the poses over
        time and keeps symmetric parts apart; a `skeleton` gives joints and places hidden parts; `following` is what the
        network is to see of each frame.

        Raises ValueError where an argument is out of range, SkeletonError for the skeleton of other parts, VideoError
        for a region outside the picture.
        """
        if policy not in (None, *POLICIES):
            raise ValueError(f"policy must be one of {', '.join(POLICIES)}, got {policy!r}")
        if first_index < 0:
            raise ValueError(f"first_index must not be negative, got {first_index}")
        self.policy: Policy = policy or default_policy(source)
        self._source = source
        self._meter = meter or RunMeter(source.name)
        self._first_index = first_index
        self._pace = None if max_fps is None else _Pace(max_fps)
        self._segmenter = PartSegmenter(bundle, backend)
        self._region = following.region
        if self._region is not None:
            require_region(source.name, (source.height, source.width), self._region)
        new_tracker = partial(part_tracker, bundle.spec, smoothing, skeleton)
        interrupt = source.close if is_live(source) else None
        depth, replaced = (1, self._replaced) if self.policy == "latest" else (PREFETCH_DEPTH, None)
        self._prefetch: Prefetch[Frame] | Prefetch[Prepared]
        if following.num_subjects:  # where to look depends on the frame before
            frames = Prefetch(self._wanted_frames(), depth, replaced, interrupt, picture_bytes)
            tracks = FollowedTracks(
                self._segmenter, bundle.spec, following.num_subjects, new_tracker, self._meter.clock
            )
            self._prefetch, self._results = frames, map(tracks.update, frames)
            return
        fixed = FixedTracks(self._segmenter, bundle.spec, self._region is not None, new_tracker(), self._meter.clock)
        if self.policy == "latest":  # what may yet be dropped is not worth preparing
            frames = Prefetch(self._wanted_frames(), depth, replaced, interrupt, picture_bytes)
            self._prefetch, self._results = frames, map(fixed.update, self._prepared(iter(frames)))
        else:
            prepared = Prefetch(
                self._prepared(self._wanted_frames()), depth, None, interrupt, lambda item: picture_bytes(item.frame)
            )
            self._prefetch, self._results = prepared, map(fixed.update, prepared)

    def __iter__(self) -> Iterator[Tracks]:
        """Raises what the source or the network raises, after the tracks before it."""
        return self._results

    def end(self) -> None:
        """End an iteration that waits for a frame, or else the next time it would. From any thread; returns at once."""
        self._prefetch.end()

    def close(self, seconds: float = GRACE_SECONDS) -> bool:
        """End the decoding thread. A live source that keeps it waiting is closed for that. False where it has not
        ended within `seconds`: then neither it nor the source can be touched any more."""
        return self._prefetch.close(seconds)

    def _wanted_frames(self) -> Iterator[Frame]:
        left_out: Frame | None = None
        for frame in self._meter.clock.time_each("decode", self._source):
            if frame.index < self._first_index:
                continue
            self._meter.saw(frame)
            if left_out is not None:
                frame = standing_for(left_out, frame, num_dropped=0)
            if self._pace and not self._pace.takes(frame):
                self._meter.skipped += 1
                left_out = frame
            else:
                left_out = None
                yield frame
            del frame  # else this generator would keep one frame alive while it waits

    def _replaced(self, waiting: Frame, newer: Frame) -> Frame:
        self._meter.dropped += 1
        return standing_for(waiting, newer, num_dropped=1)

    def _prepared(self, frames: Iterator[Frame]) -> Iterator[Prepared]:
        for frame in frames:
            if self._region is not None:
                require_region(self._source.name, (frame.height, frame.width), self._region)
            with self._meter.clock.time("prepare"):
                item = self._segmenter.prepare(frame, self._region)
            del frame
            yield item
            del item


def require_region(name: str, frame_hw: tuple[int, int], region: Region) -> None:
    """Raises VideoError unless some of the region lies on the picture."""
    left, top, width, height = region
    if min(left + width, top + height) < 2 or left > frame_hw[1] - 2 or top > frame_hw[0] - 2:
        numbers = ",".join(f"{value:g}" for value in region)
        raise VideoError(f"{name}: the region {numbers} lies outside its picture of {frame_hw[1]}x{frame_hw[0]}")


def standing_for(left_out: Frame, frame: Frame, num_dropped: int) -> Frame:
    """`frame` with what `left_out`, before it, would have told: the frames dropped and the time lost."""
    if not (left_out.dropped or left_out.gap or num_dropped):
        return frame
    return replace(frame, dropped=frame.dropped + left_out.dropped + num_dropped, gap=_joined(left_out.gap, frame.gap))


def _joined(first: Gap | None, second: Gap | None) -> Gap | None:
    if first is None or second is None:
        return first or second
    same = first.reason == second.reason
    return Gap(first.reason if same else f"{first.reason}; {second.reason}", first.seconds + second.seconds)


class _Pace:
    """Chooses frames by their times, evenly, no more than so many a second."""

    def __init__(self, max_fps: float) -> None:
        if not 0 < max_fps < float("inf"):
            raise ValueError(f"max_fps must be a positive number, got {max_fps}")
        self._period = 1 / Fraction(max_fps)
        self._due: Fraction | None = None
        self._segment = 0

    def takes(self, frame: Frame) -> bool:
        seconds = frame.pts * frame.time_base
        if self._due is None or frame.segment != self._segment:
            self._due, self._segment = seconds, frame.segment
        if seconds + min(frame.time_base, self._period / 20) < self._due:  # times are rounded to ticks
            return False
        self._due = max(self._due, seconds - self._period) + self._period
        return True
