"""Converts images to frames, looking ahead at as many images as their times require."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from av import VideoFrame
from av.container import InputContainer

from streamparts.data import Frame
from streamparts.errors import VideoError
from streamparts.sources.base import FrameTimes
from streamparts.sources.heavy import AHEAD_BYTES, image_bytes

_NO_TIMESTAMPS = 0x80  # AVFMT_NOTIMESTAMPS of FFmpeg


class TimedImage(NamedTuple):
    """An image with its timestamp."""

    image: VideoFrame
    pts: int | None
    """Ticks of the source's time base; None for a missing timestamp."""
    decoded_at: float | None = None
    """`time.perf_counter()` when it left the decoder; None for the time at which it is returned."""
    waited: float = 0.0
    """Seconds waited for its data."""
    damaged: bool = False
    """True if part of it was lost."""


def states_times(container: InputContainer) -> bool:
    """True if the container has timestamps. Elementary streams (raw H.264, MJPEG, concatenated images) do not; FFmpeg
    then counts frames at 25 per second."""
    name = container.format.name
    return not (container.format.flags & _NO_TIMESTAMPS or name == "image2pipe" or name.endswith("_pipe"))


def counted_note(rate: Fraction, asked: bool) -> str:
    """Line about the frame rate that replaces timestamps."""
    source = "as requested" if asked else "--fps sets another rate"
    return f"has no timestamps: its frames are counted at {float(rate):.4g} fps, {source}"


def timed_frames(pictures: Iterator[TimedImage], timeline: FrameTimes) -> Iterator[Frame]:
    """Yield frames in order. A VideoError of `pictures` is raised after the frames before it."""
    waiting: deque[TimedImage] = deque()
    has_ended, failure = False, None
    while True:
        while not has_ended and _has_room(waiting) and timeline.needs_more([picture.pts for picture in waiting]):
            try:
                waiting.append(next(pictures))
            except StopIteration:
                has_ended = True
            except VideoError as error:
                has_ended, failure = True, error.with_traceback(None)
        if not waiting:
            break
        image, pts, decoded_at, _, damaged = waiting.popleft()
        frame = timeline.frame(image, pts, decoded_at, _stated_after(image, waiting), damaged)
        del image
        yield frame
        del frame  # otherwise this generator would keep it alive while it waits
    if failure is not None:
        try:
            raise failure
        finally:
            del failure  # it refers to this frame, and with it to the decoder, until the garbage collector comes


def _has_room(waiting: Sequence[TimedImage]) -> bool:
    return not waiting or sum(image_bytes(picture.image) for picture in waiting) <= AHEAD_BYTES


def _stated_after(image: VideoFrame, others: Iterable[TimedImage]) -> list[int | None]:
    """Timestamps of the next images, up to the first of another size, which starts a segment."""
    stated: list[int | None] = []
    for other in others:
        if (other.image.width, other.image.height) != (image.width, image.height):
            break
        stated.append(other.pts)
    return stated
