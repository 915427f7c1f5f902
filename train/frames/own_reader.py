"""Reads a video by frame number through the runtime's own source, and checks whether another reader agrees with it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from av import VideoFrame

from streamparts.arrays import ByteArray, FloatArray
from streamparts.data import Frame
from streamparts.errors import VideoError
from streamparts.sources import open_source
from streamparts.sources.rescale import Rescaler
from streamparts.sources.trim import trimmed

PLACES = (0.0, 0.4, 0.8, 1.0)
"""Shares of a video at which its pictures are compared."""
MOST_DIFFERENT = {8: 1.0, 10: 4.0}
"""Mean difference up to which two decoders' pictures are the same, by bits of a sample: those of 8 bits are equal,
unless they are interlaced, and those of 10 bits are rounded to 8 in different ways."""
_ROUNDING = 1e-4
"""Seconds by which a frame's time may differ from the same time as a fraction."""
NOTE = "decoded by streamparts, because decord reads other frames"


class OwnReader:
    """A video file through the runtime's source. The frames of a run are read again for every jump back."""

    notes = (NOTE,)

    def __init__(self, path: Path) -> None:
        """Decodes the file once, to know its frames' times. Raises VideoError."""
        self._path, self._rescaler = path, Rescaler()
        with open_source(path) as source:
            self._seconds = [frame.pts_seconds for frame in source]
        self._frames: Iterator[Frame] = iter(())
        self._next = -1

    def __len__(self) -> int:
        return len(self._seconds)

    def __getitem__(self, index: int) -> ByteArray:
        if index != self._next:
            self._frames = frames_from(self._path, self._seconds[index])
        self._next = index + 1
        frame = next(self._frames)
        return self._rescaler.rgb(frame, (frame.height, frame.width))


def frames_from(path: Path, seconds: float) -> Generator[Frame]:
    """Yield the frames of a video from `seconds` of its own time on."""
    with open_source(path) as source:
        yield from trimmed(source, start=seconds - _ROUNDING) if seconds > _ROUNDING else source


def agrees(path: Path, seconds: FloatArray, read: Callable[[int], ByteArray]) -> bool:
    """True if `read` returns the runtime's pictures by frame number; `seconds` (F,) are the other reader's times.

    Pictures are compared in a few places, each with the frames before and after: a reader that is one frame off shows
    another picture, if anything moves. Raises VideoError if the runtime cannot read the video.
    """
    if not (np.diff(seconds) > 0).all():  # it finds frames by their times
        return False
    rescaler, times, begin = Rescaler(), seconds - seconds[0], 0.0
    for share in PLACES:
        try:
            with closing(frames_from(path, begin + float(times[int(share * (len(times) - 1))]))) as frames:
                frame = next(frames, None)
        except VideoError:
            if not share:
                raise
            return False  # the video ends before the reader's time
        if frame is None:
            return False
        begin = begin if share else frame.pts_seconds
        shown = rescaler.rgb(frame, (frame.height, frame.width)).astype(np.int16)
        at = frame.index
        near = {number: read(number) for number in (at, at - 1, at + 1) if 0 <= number < len(times)}
        if at not in near or any(picture.shape != shown.shape for picture in near.values()):
            return False
        different = {number: float(np.abs(picture - shown).mean()) for number, picture in near.items()}
        bits = frame.image.format.components[0].bits if isinstance(frame.image, VideoFrame) else 8
        if different[at] > MOST_DIFFERENT[8 if bits == 8 else 10] or different[at] > min(different.values()) + 0.25:
            return False
    return True
