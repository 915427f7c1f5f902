"""H.264 in an mp4 file: exact timestamps, playable in browsers, and after a kill."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter

from streamparts.data import ByteArray
from streamparts.errors import VideoError

FRAGMENT_SECONDS = 0.5
"""Video time between the points up to which a killed process leaves a playable file."""

_ENCODER = {
    "preset": "superfast",
    "crf": "21",
    "tune": "zerolatency",  # else up to a second of frames waits in the encoder and dies with it
}
_HYBRID_SINCE = (61, 7, 100)
"""libavformat of FFmpeg 7.1: from here on a fragmented file becomes an ordinary one when it is closed."""

_BROKEN = (av.FFmpegError, OSError, ValueError)


class Mp4Writer:
    """Encodes RGB pictures of one size. Written as BT.709, limited range, and tagged so.

    Odd sizes grow by one pixel, a copy of the last column or row, because H.264 wants even ones.
    """

    def __init__(
        self, path: Path, size_hw: tuple[int, int], time_base: Fraction, rate: Fraction, first_pts: int
    ) -> None:
        """`rate` is announced to players and spaces key frames; it decides no time. Raises VideoError."""
        self.path = path
        self._time_base = time_base
        self._padding = tuple(n % 2 for n in size_hw)
        self._reformatter = VideoReformatter()
        try:
            self._container = av.open(f"file:{path}", "w", format="mp4", options=_muxer_options(first_pts, time_base))
            self._stream = self._container.add_stream("libx264", rate=rate, options=_ENCODER)
        except _BROKEN as error:
            raise VideoError(f"{path}: the video cannot be written ({error})") from error
        self._stream.height, self._stream.width = (n + n % 2 for n in size_hw)
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = self._stream.codec_context.time_base = time_base
        self._stream.codec_context.gop_size = max(1, round(rate))
        _tag_bt709(self._stream.codec_context)

    def write(self, image: ByteArray, pts: int) -> None:
        """Encode one (H, W, 3) uint8 RGB picture; `pts` in ticks of the time base. Raises VideoError."""
        bottom, right = self._padding
        if bottom or right:
            image = np.pad(image, ((0, bottom), (0, right), (0, 0)), mode="edge")
        picture = self._reformatter.reformat(
            VideoFrame.from_ndarray(image, "rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
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


def _tag_bt709(codec: av.VideoCodecContext) -> None:
    codec.colorspace = int(Colorspace.ITU709)
    codec.color_range = int(ColorRange.MPEG)
    codec.color_primaries = int(ColorPrimaries.BT709)
    codec.color_trc = int(ColorTrc.BT709)
