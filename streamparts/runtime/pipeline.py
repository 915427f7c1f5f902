"""One source through the network: a thread decodes ahead; the network runs when tracks are requested.

The policy determines what happens if frames arrive too fast. "all": the source waits, and no frame is lost. "latest":
the source never waits; only the newest untracked frame is kept, with the number of frames dropped before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from streamparts.bundle.load import Bundle
from streamparts.bundle.spec import ModelSpec
from streamparts.data import Backend, Frame, Tracks, standing_for
from streamparts.errors import VideoError
from streamparts.geometry import Region
from streamparts.machine import usable_cores
from streamparts.meter import picture_bytes
from streamparts.runtime.options import TRACKING, Policy, Tracking, default_policy
from streamparts.runtime.stats import RunMeter
from streamparts.sources import Source
from streamparts.sources.sameness import MOST_BYTES
from streamparts.threads import GRACE_SECONDS, Prefetch, countdown
from streamparts.tracking.looking import FixedTracks, FollowedTracks, Looked
from streamparts.tracking.segment import PartSegmenter, Prepared
from streamparts.tracking.skeleton import Skeleton
from streamparts.tracking.skeleton_file import skeleton_for
from streamparts.tracking.smoothing import Smoothing
from streamparts.tracking.tracker import PartTracker

PREFETCH_DEPTH = 2
"""Maximum number of decoded frames waiting for the network, if none may be lost."""


def part_tracker(spec: ModelSpec, smoothing: Smoothing | None = None, skeleton: Skeleton | None = None) -> PartTracker:
    """Return the tracker of one video; with `smoothing`, mirrored parts are kept apart."""
    return PartTracker(
        spec.parts,
        undirected=spec.undirected,
        smoothing=smoothing,
        pairs=spec.symmetric_pairs if smoothing else (),
        skeleton=skeleton,
    )


class Pipeline:
    """The tracks of one source. Iterate it once, in one thread, and close it; the caller must close the source."""

    def __init__(
        self,
        source: Source,
        bundle: Bundle,
        backend: Backend,
        tracking: Tracking = TRACKING,
        meter: RunMeter | None = None,
    ) -> None:
        """Raises SkeletonError for a skeleton of other parts, VideoError for a region outside the frame."""
        following, skeleton = tracking.following(bundle.spec), skeleton_for(bundle.spec.parts, tracking.skeleton)
        self.policy: Policy = tracking.policy or default_policy(source)
        self._source = source
        self._meter = meter or RunMeter(source.name)
        self._first_index = tracking.first_index
        self._rate_limit = tracking.rate_limit()
        # large frames are kept few in memory, and the network is not what they wait for
        may_run_ahead = self.policy == "all" and not source.live and 3 * source.height * source.width <= MOST_BYTES
        self.stuck = ""
        """"the source" or "the network" if its thread did not end when this was closed; else empty."""
        self._looks: Prefetch[Looked] | None = None
        """The network on followed subjects, if it has a thread of its own."""
        self._segmenter = PartSegmenter(bundle, backend)
        self._region = following.region
        if self._region is not None:
            require_region(source.name, (source.height, source.width), self._region)
        new_tracker = partial(part_tracker, bundle.spec, tracking.smoothing, skeleton)
        interrupt = source.close if source.live else None
        depth, replaced = (1, self._replaced) if self.policy == "latest" else (PREFETCH_DEPTH, None)
        self._prefetch: Prefetch[Frame] | Prefetch[Prepared]
        self._results: Iterator[Tracks]
        if following.num_subjects:  # the region depends on the previous frame
            frames = Prefetch(self._wanted_frames(), depth, replaced, interrupt, picture_bytes)
            tracks = FollowedTracks(
                self._segmenter, bundle.spec, following.num_subjects, new_tracker, self._meter.clock
            )
            self._prefetch, self._results = frames, map(tracks.update, frames)
            if may_run_ahead and usable_cores() > 1:  # the network runs beside all else
                self._looks = Prefetch(map(tracks.look, frames), 1, weigh=lambda looked: picture_bytes(looked.frame))
                self._results = map(tracks.tracks, self._looks)
            return
        fixed = FixedTracks(self._segmenter, bundle.spec, self._region is not None, new_tracker(), self._meter.clock)
        if self.policy == "latest":  # a frame that may still be dropped is not worth preparing
            frames = Prefetch(self._wanted_frames(), depth, replaced, interrupt, picture_bytes)
            self._prefetch, self._results = frames, map(fixed.update, self._prepared(iter(frames)))
        else:
            prepared = Prefetch(
                self._prepared(self._wanted_frames()),
                depth,
                interrupt=interrupt,
                weigh=lambda item: picture_bytes(item.frame),
            )
            self._prefetch, self._results = prepared, self._fixed_results(fixed, prepared)

    def _fixed_results(self, fixed: FixedTracks, prepared: Prefetch[Prepared]) -> Iterator[Tracks]:
        """Tracks of all frames; if possible, the network runs beside all else."""
        if self._segmenter.overlaps and not self._source.live:
            return fixed.updates(prepared, prepared.is_ready)
        return map(fixed.update, prepared)

    def __iter__(self) -> Iterator[Tracks]:
        """Raises errors of the source or the network after the tracks before them."""
        return self._results

    def end(self) -> None:
        """End an iteration that waits for a frame now, or the next time it would wait. From any thread; returns at
        once."""
        self._prefetch.end()
        if self._looks is not None:
            self._looks.end()

    def close(self, seconds: float = GRACE_SECONDS) -> bool:
        """End all threads; a live source that blocks its own is closed for that. Returns False if one did not end
        within `seconds`, and sets `stuck`: then neither network nor source can be used any more."""
        left = countdown(seconds)
        self.end()
        network_ends = self._looks is None or self._looks.close(seconds)
        source_ends = self._prefetch.close(left() or 0.0)
        self.stuck = "the source" if network_ends else "the network"
        return network_ends and source_ends

    def _wanted_frames(self) -> Iterator[Frame]:
        left_out: Frame | None = None
        for frame in self._meter.clock.time_each("decode", self._source):
            if frame.index < self._first_index:
                continue
            self._meter.saw(frame)
            if left_out is not None:
                frame = standing_for(left_out, frame, num_dropped=0)
            if self._rate_limit and not self._rate_limit.takes(frame):
                self._meter.counts.skipped += 1
                left_out = frame
            else:
                left_out = None
                yield frame
            del frame  # otherwise this generator would keep one frame alive while it waits

    def _replaced(self, waiting: Frame, newer: Frame) -> Frame:
        self._meter.counts.dropped += 1
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
    """Raise VideoError unless the region intersects the frame."""
    left, top, width, height = region
    if min(left + width, top + height) < 2 or left > frame_hw[1] - 2 or top > frame_hw[0] - 2:
        numbers = ",".join(f"{value:g}" for value in region)
        raise VideoError(f"{name}: the region {numbers} lies outside its frames of {frame_hw[1]}x{frame_hw[0]}")
