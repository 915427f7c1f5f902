"""The images of the tracked frames as H.264, for formats that store a video beside the tracks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from streamparts.errors import TracksError
from streamparts.formats.shots import Shot
from streamparts.machine import encoder_threads
from streamparts.sources import OpenedSource, open_source
from streamparts.sources.rescale import Rescaler

ENCODER = "libx264"
OPTIONS = {"preset": "veryfast", "crf": "23", "tune": "zerolatency"}
"""The last option disables B-frames, which viewers of such files do not support, and delay."""
KEY_EVERY = 30
"""Keyframe interval in frames, for seeking."""
TICK = Fraction(1, 30)
"""Ticks per second of the encoder's clock, which counts images; their times are stored separately."""
NEAR_SECONDS = 1e-6
"""Tolerance for rounded times, in seconds."""


class Film:
    """Returns the images in the order of the tracks."""

    def __init__(self, tracks: Path, source: OpenedSource) -> None:
        self._tracks, self._name = tracks, source.name
        self._frames = iter(source)
        self._rescaler = Rescaler()
        self._codec: VideoCodecContext | None = None
        self._num_pictures = 0

    def picture(self, shot: Shot) -> bytes:
        """Return the image of a shot, as displayed: one access unit in Annex B, without B-frames, with parameter sets
        before each keyframe. Raises TracksError if the video is not the tracked one."""
        number = shot.frame.frame
        frame = next((frame for frame in self._frames if frame.index >= number), None)
        if frame is None or frame.index != number:
            raise self._other(f"it has no frame {number}")
        if (frame.height, frame.width) != (shot.setting.height, shot.setting.width):
            raise self._other(f"its frame {number} is {frame.width}x{frame.height}")
        if abs(frame.pts * frame.time_base - shot.seconds) > NEAR_SECONDS:
            seconds = float(shot.seconds)
            raise self._other(f"its frame {number} is at {frame.pts_seconds:g} s, that of the tracks at {seconds:g} s")
        return self._encoded(self._rescaler.yuv(frame))

    def _encoded(self, picture: VideoFrame) -> bytes:
        if self._codec is None or (self._codec.height, self._codec.width) != (picture.height, picture.width):
            self._codec = _encoder(picture)
        picture.pts, picture.time_base = self._num_pictures, TICK
        self._num_pictures += 1
        return b"".join(bytes(packet) for packet in self._codec.encode(picture))

    def _other(self, why: str) -> TracksError:
        return TracksError(f"{self._tracks}: {self._name} is not the tracked video: {why}")


@contextmanager
def film_of(tracks: Path, video: Path | None) -> Iterator[Film | None]:
    """Open the video; None without one."""
    if video is None:
        yield None
        return
    with open_source(video) as source:
        yield Film(tracks, source)


def _encoder(like: VideoFrame) -> VideoCodecContext:
    codec = av.CodecContext.create(ENCODER, "w")
    assert isinstance(codec, VideoCodecContext)
    codec.height, codec.width, codec.pix_fmt = like.height, like.width, like.format.name
    codec.options, codec.time_base, codec.gop_size = dict(OPTIONS), TICK, KEY_EVERY
    codec.thread_count = encoder_threads()
    codec.colorspace, codec.color_range = like.colorspace, like.color_range
    codec.color_primaries, codec.color_trc = like.color_primaries, like.color_trc
    return codec
