"""Pictures into frames, with as many of the pictures to come as it takes to tell a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

from av import VideoFrame
from av.container import InputContainer

from streamparts.data import Frame
from streamparts.errors import VideoError
from streamparts.sources.base import Timeline

_NO_TIMESTAMPS = 0x80  # AVFMT_NOTIMESTAMPS of FFmpeg


class Timed(NamedTuple):
    """A picture with the time that the source states."""

    image: VideoFrame
    pts: int | None
    """In ticks of the source's time base; None where none is stated."""
    decoded_at: float | None = None
    """`time.perf_counter()` when it left the decoder; None for when it is handed out."""
    waited: float = 0.0
    """Seconds that its data was waited for."""
    damaged: bool = False
    """Whether something of it was lost."""


def states_times(container: InputContainer) -> bool:
    """Whether the container carries times. Elementary streams (raw H.264, MJPEG, pictures one after another) do not;
    FFmpeg then counts frames at 25 a second."""
    name = container.format.name
    return not (container.format.flags & _NO_TIMESTAMPS or name == "image2pipe" or name.endswith("_pipe"))


def counted_note(rate: Fraction, asked: bool) -> str:
    """Says which rate stands in for times."""
    source = "as asked for" if asked else "--fps sets another rate"
    return f"states no times: its frames are counted at {float(rate):.4g} fps, {source}"


def timed_frames(pictures: Iterator[Timed], timeline: Timeline) -> Iterator[Frame]:
    """Frames in order. A VideoError of `pictures` is raised after the frames before it."""
    waiting: deque[Timed] = deque()
    ended: VideoError | StopIteration | None = None
    while True:
        while ended is None and timeline.needs_more([picture.pts for picture in waiting]):
            try:
                waiting.append(next(pictures))
            except (VideoError, StopIteration) as error:
                ended = error
        if not waiting:
            break
        image, pts, decoded_at, _, damaged = waiting.popleft()
        frame = timeline.frame(image, pts, decoded_at, _stated_after(image, waiting), damaged)
        del image
        yield frame
        del frame  # else this generator would keep it alive while it waits
    if isinstance(ended, VideoError):
        raise ended


def _stated_after(image: VideoFrame, others: Iterable[Timed]) -> list[int | None]:
    """What the next pictures state, up to the first of another size: that begins a segment."""
    stated: list[int | None] = []
    for other in others:
        if (other.image.width, other.image.height) != (image.width, image.height):
            break
        stated.append(other.pts)
    return stated
