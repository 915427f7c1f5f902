"""Video files: every decoded frame, in display order, with its time in the file."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path

from av import VideoFrame
from av.container import InputContainer

from streamparts.data import Frame
from streamparts.errors import VideoError
from streamparts.sources.base import BROKEN, FALLBACK_RATE, MAX_PIXELS, Closing, FrameTimes, quarter_turns, reason_of
from streamparts.sources.container import (
    announced_rate,
    count_before,
    displayed_aspect,
    estimate_num_frames,
    moving_streams,
    nothing,
    open_container,
    ticks_at,
    video_stream,
)
from streamparts.sources.damage import DamageWatch
from streamparts.sources.held import MOST_TOGETHER
from streamparts.sources.hwdecode import HardwareDecoder, choose
from streamparts.sources.levels import levels_note
from streamparts.sources.rational import exact
from streamparts.sources.shares import Limit, TooLarge
from streamparts.sources.thinning import Thinning
from streamparts.sources.timed import TimedImage, counted_note, states_times, timed_frames
from streamparts.texts import readable


class FileSource(Closing):
    """A video file. Rotation metadata is applied, in quarter turns; mirroring and a non-square pixel aspect are not:
    sizes count stored pixels, and `pixel_aspect` is their displayed aspect. Interlaced frames are returned as decoded,
    with both fields interleaved."""

    live = False

    def __init__(
        self,
        path: str | Path,
        hwaccel: str = "none",
        rate: Fraction | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """`hwaccel` is one of hwdecode.CHOICES; if that hardware cannot decode the file, software does, and
        `description` gives the reason. `rate` replaces the header's rate for video without timestamps (raw H.264).
        Larger images than `max_pixels` are not decoded.

        Raises VideoError unless at least one frame can be decoded, and for a `rate` if there are timestamps.
        """
        self.path = Path(path)
        self.name = readable(self.path.name)
        self._max_pixels, self._limit = max_pixels, Limit(max_pixels)
        self.decode_errors = 0
        self._iterated = False
        self.thinning = Thinning(hwaccel == "none")
        self._waited = 0.0
        """Time waited for the last packet, in seconds."""
        self._num_given = 0
        """Images decoded since the beginning, or since `start_at`."""
        self._left: Iterator[Frame] | None = None
        self._watch = DamageWatch(max_pixels)
        self._images: Generator[VideoFrame] = nothing()
        self._first = list[VideoFrame]()
        """The first image, until it is given."""
        self._decoder = HardwareDecoder("none", None)
        self._container = self._open()
        try:
            self._stream = video_stream(self._container, str(self.path), self._limit.pixels)
            if hwaccel != "none":
                self._decoder = choose(hwaccel, self._stream.codec_context.name)
            self._begin()
            self._wait_for_references()
            self._set_clock(rate)
        except BaseException:
            self.close()
            raise
        self.rotation = quarter_turns(self._first[0])
        self.pixel_aspect = displayed_aspect(self._stream, self.rotation)
        stored = self._first[0]
        self.width, self.height = (stored.width, stored.height)[:: -1 if self.rotation % 180 else 1]
        self.num_frames = estimate_num_frames(self._stream, self._container, self.rate, self._seekable_path())
        self.description = self._describe()
        self._timeline = FrameTimes(self.time_base, self.rate)

    def _set_clock(self, rate: Fraction | None) -> None:
        """Use the file's clock or, without timestamps, `rate` frames per second; otherwise raise VideoError for a
        rate."""
        self._counted = not states_times(self._container)
        self.notes: tuple[str, ...] = ()
        self.rate = announced_rate(self._stream, self._counted)
        self.time_base = exact(self._stream.time_base) or 1 / FALLBACK_RATE
        if self._counted:
            self.rate = rate or self.rate or FALLBACK_RATE
            self.time_base, self.notes = 1 / self.rate, (counted_note(self.rate, rate is not None),)
        if note := levels_note(self._first[0]):
            self.notes = (*self.notes, note)
        if not self._counted and rate is not None:
            raise VideoError(f"{self.name}: has its own timestamps; leave --fps out")

    def _begin(self) -> None:
        """Decode the first frame, in hardware if that was chosen and works."""
        if self._decoder.kind == "none":
            self._images = self._decode()
            self._first = [self._next_image()]
            return
        try:
            self._reopen()
        except VideoError as error:
            self._decoder = HardwareDecoder("none", f"decoding in software: {self._decoder.kind}: {error}")
            self._reopen()

    def _wait_for_references(self) -> None:
        """Wait for a share for all images that the decoder keeps, if they are large."""
        pixels = -(-self._watch.held_pixels // MOST_TOGETHER)
        if self._limit.can_grow(pixels):
            self.close()
            self._limit.wait_for(pixels)
            self._reopen()

    @property
    def repaired_times(self) -> int:
        return self._timeline.repaired_times

    @property
    def packets_lost(self) -> int:
        """Packets known to be missing from the file so far."""
        return self._watch.packets_lost

    @property
    def stream_index(self) -> int:
        """Index of the video stream in the file."""
        return self._stream.index

    def close(self) -> None:
        self._first.clear()
        self._images.close()
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        """Raises ValueError the second time, VideoError if reading fails."""
        if self._iterated:
            raise ValueError(f"{self.name} was already read; open it again to read it again")
        self._iterated = True
        return self._frames(self._all_images()) if self._left is None else self._left

    def start_at(self, seconds: float) -> None:
        """Begin with the first frame at or after `seconds` of the file's time, decoding from the keyframe before it.
        `index` still counts from the file's first frame, and times equal those of a full reading: if the packets' times
        are out of order, reading starts at the beginning. Raises VideoError if there is no such frame.

        Call it before iterating.
        """
        target = ticks_at(seconds, self.time_base)
        path, stream, limit = self._seekable_path(), self._stream.index, self._limit.pixels
        before, wanted = (0, None) if self._counted or path is None else count_before(path, stream, target, limit)
        if wanted is not None:
            if self._first[0].pts is not None and target <= self._first[0].pts:
                return
            self._container.seek(target, stream=self._stream)
            self._watch.jump()
            self._images = self._decode(target)
            first = self._skip_to(target, self._images)
            if first is not None and first.pts == wanted and self._timeline.is_orderly:
                self._timeline.index = before + 1
                self._left = chain([replace(first, index=before)], self._left or ())
                return
            self._reopen()
        first = self._skip_to(target, self._all_images())
        if first is None:
            raise VideoError(f"{self.name}: has no frame at or after {seconds:g} s; start earlier")
        self._left = chain([first], self._left or ())

    def _skip_to(self, target: int, images: Iterator[VideoFrame]) -> Frame | None:
        """Return the first remaining frame that is not before `target`; those after it remain."""
        self._timeline = FrameTimes(self.time_base, self.rate)
        self._left = self._frames(images)
        return next((frame for frame in self._left if frame.pts >= target), None)

    def _frames(self, images: Iterator[VideoFrame]) -> Iterator[Frame]:
        return timed_frames(map(self._as_stated, images), self._timeline)

    def _all_images(self) -> Iterator[VideoFrame]:
        """Keeps none of them: they may be large."""
        while self._first:
            yield self._first.pop()
        yield from self._images

    def _as_stated(self, image: VideoFrame) -> TimedImage:
        return TimedImage(image, None if self._counted else image.pts, damaged=self._is_damaged(image))

    def _is_damaged(self, image: VideoFrame) -> bool:
        """Call it once per frame, in order."""
        return self._watch.stamp_of(image).damaged

    def _reopen(self) -> None:
        """Return to the first frame, for files in which seeking misses the target."""
        self.close()
        self._restart()
        self._images = self._decode()
        self._first = [self._next_image()]

    def _restart(self, target: int | None = None) -> None:
        """Open the file again, at its beginning or before `target`."""
        self._container.close()
        self.decode_errors, self._watch = 0, DamageWatch(self._max_pixels)
        self._container = self._open()
        self._stream = video_stream(self._container, str(self.path), self._limit.pixels)
        if target is not None:
            self._container.seek(target, stream=self._stream)

    def _next_image(self) -> VideoFrame:
        image = next(self._images, None)
        if image is None:
            raise VideoError(f"{self.path}: no video frame could be decoded; the file is empty or damaged")
        return image

    def _decode(self, target: int | None = None) -> Generator[VideoFrame]:
        """Decode from the container's place, which is that of `target`. If the images become larger than its share, the
        file is read again from there with a larger one, and the images given before are skipped."""
        self._num_given = 0
        while True:
            try:
                yield from self._decode_packets(num_skipped=self._num_given)
                return
            except TooLarge as error:
                if not self._limit.can_grow(error.pixels):
                    raise
                pixels = error.pixels
            self._container.close()
            self._limit.wait_for(pixels)
            self._restart(target)

    def _decode_packets(self, num_skipped: int) -> Generator[VideoFrame]:
        """Decode packet by packet, because the container's own decoder stops at the first bad packet."""
        packets, watch = self._container.demux(self._stream), self._watch
        self.thinning.restart()
        while True:
            asked = time.perf_counter()
            try:
                with watch.reading():
                    packet = next(packets, None)
            except BROKEN as error:
                raise VideoError(f"{self.path}: reading failed: {reason_of(error)}") from error
            self._waited = time.perf_counter() - asked
            if packet is None:
                return
            try:
                with watch.decoding(packet):
                    images = watch.images(packet, partial(self.thinning.images, packet))
            except BROKEN:
                if watch.too_large:
                    raise TooLarge(f"{self.path}: {watch.too_large}", watch.too_large_pixels) from None
                self.decode_errors += 1
                continue
            while images:
                if num_skipped:
                    num_skipped -= 1
                    watch.stamp_of(images.pop(0))
                else:
                    self._num_given += 1
                    yield images.pop(0)

    def _seekable_path(self) -> Path | None:
        """The file, which can be opened a second time; None for a pipe."""
        return self.path

    def _open(self) -> InputContainer:
        return open_container(self.path, self._decoder.accelerator(), self._limit.pixels)

    def _describe(self) -> str:
        notes = [
            f"{self.width}x{self.height} {self._stream.codec_context.name}",
            f"{float(self.rate):.4g} fps" if self.rate else "unknown rate",
            *self.notes,
            f"about {self.num_frames} frames" if self.num_frames else "unknown length",
        ]
        if self.pixel_aspect != 1:
            notes.append(f"pixels {self.pixel_aspect} as wide as high")
        if self.rotation:
            notes.append(f"rotated by {self.rotation} degrees")
        notes += self._decoder.notes()
        if self._first[0].interlaced_frame:
            notes.append("interlaced (used as decoded)")
        if len(videos := moving_streams(self._container)) > 1:
            notes.append(f"video stream {videos.index(self._stream) + 1} of {len(videos)}")
        return ", ".join(notes)
