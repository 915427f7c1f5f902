"""H.264 in an mp4 file: exact timestamps, playable in browsers, and after a kill."""

from __future__ import annotations

import math
import os
from contextlib import nullcontext, suppress
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av import Packet, VideoFrame
from av.audio.stream import AudioStream
from av.video.frame import PictureType
from av.video.stream import VideoStream

from streamparts.errors import VideoError
from streamparts.files import make_new
from streamparts.machine import ordinary_threads
from streamparts.sinks.overlay.encoders import SOFTWARE_ENCODER, Encoder
from streamparts.sources.folders import OWN_MARK

FRAGMENT_SECONDS = 0.5
"""Duration of a fragment: a killed process leaves a file that is playable up to the last complete one."""

MOST_PIXELS = 139_264 * 256
"""Pixels of an image at the highest level of H.264, 6.2: players need not support more, and the encoder keeps ten
images in memory."""

_HYBRID_SINCE = (61, 7, 100)
"""libavformat of FFmpeg 7.1: from this version, a fragmented file becomes an ordinary one when it is closed."""

_MAX_TIMESCALE = 2**31 - 1
_EARLY_KEY_FRAME = 2
"""A keyframe here ends the first fragment, so that an early killed process also leaves a playable file; by then there
is some audio, without which the index of some codecs cannot be written."""

_BROKEN = (av.FFmpegError, OSError, ValueError)


class Mp4Writer:
    """Encodes images of one size and colour space, and copies audio packets."""

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
        pixel_aspect: Fraction = Fraction(1),
    ) -> None:
        """`like` has the even size, the pixel format and the colour tags of all images. `rate` is the nominal frame
        rate and keyframe spacing; it determines no time. `audio` is the stream of the audio packets. `endless`: keep no
        index of all frames (72 bytes each), which is needed to make an ordinary file at the end. `pixel_aspect` is the
        displayed width of a pixel relative to its height. Raises VideoError."""
        self.path = path
        self._time_base = time_base
        self._num_pictures = 0
        self._gave_up = False
        try:
            make_new(path)
            self._container = av.open(
                f"file:{path}",
                "w",
                format="mp4",
                options=_muxer_options(first_pts, time_base, audio.rate if audio else 1, endless),
            )
            self._container.metadata["comment"] = OWN_MARK
            stream = self._container.add_stream(encoder.name, rate=rate, options=dict(encoder.options))
            self._audio = self._container.add_stream_from_template(audio) if audio else None
        except _BROKEN as error:
            raise VideoError(f"{path}: the video cannot be written ({error})") from error
        self._stream = cast(VideoStream, stream)
        codec = self._stream.codec_context
        encoder.configure(codec, like.height, like.width, rate)
        self._stream.time_base = codec.time_base = time_base
        codec.sample_aspect_ratio = pixel_aspect
        _tag_colours(codec, like)

    def write(self, picture: VideoFrame, pts: int) -> None:
        """Encode one image; `pts` in ticks of the time base. Raises VideoError."""
        picture.pts, picture.time_base = pts, self._time_base
        picture.pict_type = PictureType.I if self._num_pictures == _EARLY_KEY_FRAME else PictureType.NONE
        self._num_pictures += 1
        opens_encoder = ordinary_threads() if self._num_pictures == 1 else nullcontext()
        try:
            with opens_encoder:
                packets = self._stream.encode(picture)
            self._container.mux(packets)
        except _BROKEN as error:
            self._abandon()
            raise VideoError(f"{self.path}: writing the video failed ({_reason(error)})") from error

    def write_audio(self, packet: Packet[AudioStream], shift_seconds: Fraction) -> None:
        """Copy one audio packet, shifted in time. Raises VideoError; ValueError if no audio was announced."""
        if self._audio is None or packet.pts is None or packet.dts is None:
            raise ValueError(f"{self.path}: was opened without audio")
        ticks = round(shift_seconds / packet.time_base)
        packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
        packet.stream = self._audio
        try:
            self._container.mux_one(packet)
        except _BROKEN as error:
            self._abandon()
            raise VideoError(f"{self.path}: writing the audio failed ({_reason(error)})") from error

    def close(self) -> None:
        """Finish the file. Raises VideoError. After an error, it is playable up to its last complete fragment."""
        if self._gave_up:
            return
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except _BROKEN as error:
            self._abandon()
            raise VideoError(f"{self.path}: finishing the video failed ({_reason(error)})") from error

    def _abandon(self) -> None:
        self._gave_up = True
        with suppress(*_BROKEN):
            self._container.close()
        with suppress(OSError):
            if self.path.is_file():
                os.truncate(self.path, whole_fragments_end(self.path))


def check_size(path: Path, width: int, height: int) -> None:
    """Raise VideoError for an image that is larger than H.264 allows."""
    if width * height > MOST_PIXELS:
        raise VideoError(f"{path}: {width}x{height} exceeds the largest image of H.264, {MOST_PIXELS} pixels")


def whole_fragments_end(path: Path) -> int:
    """Length in bytes of a fragmented mp4 file up to the end of its last complete fragment."""
    end, offset, size = 0, 0, path.stat().st_size
    with path.open("rb") as file:
        while len(head := file.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            offset += length
            if length < 8 or offset > size:
                break
            if kind != b"moof":
                end = offset
            file.seek(offset)
    return end


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)


def _muxer_options(first_pts: int, time_base: Fraction, sample_rate: int, endless: bool) -> dict[str, str]:
    hybrid = av.library_versions["libavformat"] >= _HYBRID_SINCE and not endless
    ticks = math.lcm(time_base.denominator, sample_rate)
    ticks = ticks if ticks <= _MAX_TIMESCALE else time_base.denominator
    return {
        # With the index delayed to the first fragment, a killed file also has its start time.
        "movflags": "delay_moov+frag_keyframe+" + ("hybrid_fragmented" if hybrid else "default_base_moof"),
        "frag_duration": str(round(1e6 * FRAGMENT_SECONDS)),
        "flush_packets": "1",  # without it, a killed process leaves an unreadable file
        # Interleaving: frames wait for audio, and audio for frames, at most this long, in microseconds.
        "max_interleave_delta": str(round(1e6 * FRAGMENT_SECONDS / 2)),
        "avoid_negative_ts": "disabled" if first_pts >= 0 else "make_non_negative",
        # Start times are stored in these units; the default of milliseconds would round them.
        "movie_timescale": str(ticks * -(-1000 // ticks)),
    }


def _tag_colours(codec: av.VideoCodecContext, like: VideoFrame) -> None:
    codec.colorspace = like.colorspace
    codec.color_range = like.color_range
    codec.color_primaries = like.color_primaries
    codec.color_trc = like.color_trc
