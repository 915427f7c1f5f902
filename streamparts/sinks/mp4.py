"""H.264 in an mp4 file: exact timestamps, playable in browsers, and after a kill."""

from __future__ import annotations

import os
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
from av import VideoFrame

from streamparts.errors import VideoError

FRAGMENT_SECONDS = 0.5
"""Video time between the points up to which a killed process leaves a playable file."""

_ENCODER = {
    "preset": "ultrafast",  # half the processor time of the next one, for files a third larger
    "crf": "21",
    # Half of the cores: the network takes the others.
    "threads": str(max(1, (os.cpu_count() or 1) // 2)),
    "tune": "zerolatency",  # else up to a second of frames waits in the encoder and dies with it
}
_HYBRID_SINCE = (61, 7, 100)
"""libavformat of FFmpeg 7.1: from here on a fragmented file becomes an ordinary one when it is closed."""

_BROKEN = (av.FFmpegError, OSError, ValueError)


class Mp4Writer:
    """Encodes pictures of one size and colour space."""

    def __init__(self, path: Path, like: VideoFrame, time_base: Fraction, rate: Fraction, first_pts: int) -> None:
        """`like` has the size, even, the pixel format and the colour tags of all pictures. `rate` is announced to
        players and spaces key frames; it decides no time. Raises VideoError."""
        self.path = path
        self._time_base = time_base
        try:
            self._container = av.open(f"file:{path}", "w", format="mp4", options=_muxer_options(first_pts, time_base))
            self._stream = self._container.add_stream("libx264", rate=rate, options=_ENCODER)
        except _BROKEN as error:
            raise VideoError(f"{path}: the video cannot be written ({error})") from error
        self._stream.height, self._stream.width = like.height, like.width
        self._stream.pix_fmt = like.format.name
        self._stream.time_base = self._stream.codec_context.time_base = time_base
        self._stream.codec_context.gop_size = max(1, round(rate))
        _tag_colours(self._stream.codec_context, like)

    def write(self, picture: VideoFrame, pts: int) -> None:
        """Encode one picture; `pts` in ticks of the time base. Raises VideoError."""
        picture.pts, picture.time_base = pts, self._time_base
        try:
            self._container.mux(self._stream.encode(picture))
        except _BROKEN as error:
            raise VideoError(f"{self.path}: writing the video failed ({error})") from error

    def close(self) -> None:
        """Finish the file. Raises VideoError, after which the file is playable up to its last fragment."""
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except _BROKEN as error:
            with suppress(*_BROKEN):
                self._container.close()
            raise VideoError(f"{self.path}: finishing the video failed ({error})") from error


def _muxer_options(first_pts: int, time_base: Fraction) -> dict[str, str]:
    hybrid = av.library_versions["libavformat"] >= _HYBRID_SINCE
    ticks = time_base.denominator
    return {
        # With the index delayed to the first fragment, a file that was killed has its start time too.
        "movflags": "delay_moov+" + ("hybrid_fragmented" if hybrid else "default_base_moof"),
        "frag_duration": str(round(1e6 * FRAGMENT_SECONDS)),
        "flush_packets": "1",  # without it a killed process leaves an unreadable file
        "avoid_negative_ts": "disabled" if first_pts >= 0 else "make_non_negative",
        # The start time is kept in these units; the default of milliseconds would round it.
        "movie_timescale": str(ticks * -(-1000 // ticks)),
    }


def _tag_colours(codec: av.VideoCodecContext, like: VideoFrame) -> None:
    codec.colorspace = like.colorspace
    codec.color_range = like.color_range
    codec.color_primaries = like.color_primaries
    codec.color_trc = like.color_trc
