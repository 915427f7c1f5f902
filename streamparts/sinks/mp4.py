"""H.264 in an mp4 file: exact timestamps, playable in browsers, and after a kill."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av import Packet, VideoFrame
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from streamparts.errors import VideoError
from streamparts.sinks.encoders import SOFTWARE_ENCODER, Encoder

FRAGMENT_SECONDS = 0.5
"""Video time between the points up to which a killed process leaves a playable file."""

_HYBRID_SINCE = (61, 7, 100)
"""libavformat of FFmpeg 7.1: from here on a fragmented file becomes an ordinary one when it is closed."""

_BROKEN = (av.FFmpegError, OSError, ValueError)


class Mp4Writer:
    """Encodes pictures of one size and colour space, and takes packets of sound as they are."""

    def __init__(
        self,
        path: Path,
        like: VideoFrame,
        time_base: Fraction,
        rate: Fraction,
        first_pts: int,
        encoder: Encoder = SOFTWARE_ENCODER,
        audio: AudioStream | None = None,
        endless: bool = False,
    ) -> None:
        """`like` has the size, even, the pixel format and the colour tags of all pictures. `rate` is announced to
        players and spaces key frames; it decides no time. `audio` is the stream that packets of sound come from.
        `endless`: keep no index of all frames (72 bytes each) to make an ordinary file of it at the end. Raises
        VideoError."""
        self.path = path
        self._time_base = time_base
        try:
            self._container = av.open(
                f"file:{path}", "w", format="mp4", options=_muxer_options(first_pts, time_base, endless)
            )
            stream = self._container.add_stream(encoder.name, rate=rate, options=dict(encoder.options))
            self._audio = self._container.add_stream_from_template(audio) if audio else None
        except _BROKEN as error:
            raise VideoError(f"{path}: the video cannot be written ({error})") from error
        self._stream = cast(VideoStream, stream)
        codec = self._stream.codec_context
        encoder.configure(codec, like.height, like.width, rate)
        self._stream.time_base = codec.time_base = time_base
        _tag_colours(codec, like)

    def write(self, picture: VideoFrame, pts: int) -> None:
        """Encode one picture; `pts` in ticks of the time base. Raises VideoError."""
        picture.pts, picture.time_base = pts, self._time_base
        try:
            self._container.mux(self._stream.encode(picture))
        except _BROKEN as error:
            raise VideoError(f"{self.path}: writing the video failed ({error})") from error

    def write_audio(self, packet: Packet[AudioStream], shift_seconds: Fraction) -> None:
        """Copy one packet of sound, moved in time. Raises VideoError; ValueError where no sound was announced."""
        if self._audio is None or packet.pts is None or packet.dts is None:
            raise ValueError(f"{self.path}: was opened without sound")
        ticks = round(shift_seconds / packet.time_base)
        packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
        packet.stream = self._audio
        try:
            self._container.mux_one(packet)
        except _BROKEN as error:
            raise VideoError(f"{self.path}: writing the sound failed ({error})") from error

    def close(self) -> None:
        """Finish the file. Raises VideoError, after which the file is playable up to its last fragment."""
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except _BROKEN as error:
            with suppress(*_BROKEN):
                self._container.close()
            raise VideoError(f"{self.path}: finishing the video failed ({error})") from error


def _muxer_options(first_pts: int, time_base: Fraction, endless: bool) -> dict[str, str]:
    hybrid = av.library_versions["libavformat"] >= _HYBRID_SINCE and not endless
    ticks = time_base.denominator
    return {
        # With the index delayed to the first fragment, a file that was killed has its start time too.
        "movflags": "delay_moov+" + ("hybrid_fragmented" if hybrid else "default_base_moof"),
        "frag_duration": str(round(1e6 * FRAGMENT_SECONDS)),
        "flush_packets": "1",  # without it a killed process leaves an unreadable file
        # Pictures wait for sound, and sound for pictures, to be stored in order; no longer than this, in microseconds.
        "max_interleave_delta": str(round(1e6 * FRAGMENT_SECONDS / 2)),
        "avoid_negative_ts": "disabled" if first_pts >= 0 else "make_non_negative",
        # The start time is kept in these units; the default of milliseconds would round it.
        "movie_timescale": str(ticks * -(-1000 // ticks)),
    }


def _tag_colours(codec: av.VideoCodecContext, like: VideoFrame) -> None:
    codec.colorspace = like.colorspace
    codec.color_range = like.color_range
    codec.color_primaries = like.color_primaries
    codec.color_trc = like.color_trc
