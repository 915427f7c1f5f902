"""Who encodes the overlay: H.264 by x264, or by hardware where that is asked for and there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction

import av
import av.logging
import numpy as np
from av import VideoFrame
from av.video.codeccontext import VideoCodecContext

from streamparts.errors import VideoError
from streamparts.machine import encoder_threads

AUTO = "auto"
"""Stands for `SOFTWARE`: hardware comes only when it is named."""
SOFTWARE = "libx264"
HARDWARE = ("h264_nvenc", "h264_qsv", "h264_amf", "h264_videotoolbox", "h264_v4l2m2m", "h264_mf")
"""Names worth trying; which of them are there depends on the machine and on the FFmpeg in use."""

SMALL = "small"
"""Stands for x264 at a slower preset and a lower quality: files less than half the size, for twice the processor time.
At one quality slower presets are 1.6 to 1.8 times smaller: see benchmarks/encoders.py."""

_OPTIONS = {
    "libx264": {
        "preset": "ultrafast",  # half the processor time of the next one, for files a third larger
        "crf": "21",
        "tune": "zerolatency",  # else up to a second of frames waits in the encoder and dies with it
        "forced-idr": "1",  # a key frame asked for is one to seek to
    },
    "h264_nvenc": {
        "preset": "p4",
        "tune": "ll",
        "rc": "vbr",
        "cq": "21",
        "b": "0",
        "bf": "0",
        "delay": "0",
        "forced-idr": "1",
    },
    "h264_qsv": {"preset": "veryfast", "global_quality": "21", "bf": "0", "async_depth": "1", "forced_idr": "1"},
    "h264_amf": {"usage": "lowlatency", "quality": "speed", "bf": "0", "forced_idr": "1"},
    "h264_videotoolbox": {"realtime": "1", "bf": "0"},
}
_OWN_QUALITY = ("libx264", "h264_nvenc", "h264_qsv")
"""Those told a quality; the others get a bit rate instead."""
_BITS_PER_PIXEL = 0.12
_PROBE_SIDE = 256  # hardware refuses very small pictures


@dataclass(frozen=True, slots=True)
class Encoder:
    """One that was tried and works here."""

    name: str
    """FFmpeg's name."""
    pix_fmt: str
    """What it takes: yuv420p or nv12, both of which players see as yuv420p."""
    options: dict[str, str] = field(default_factory=dict)
    """FFmpeg's, all for short delay: what waits in an encoder dies with the process."""

    def configure(self, codec: VideoCodecContext, height: int, width: int, rate: Fraction) -> None:
        """Set size and pixel format, a bit rate where the encoder has no quality of its own, a key frame a second."""
        codec.height, codec.width, codec.pix_fmt = height, width, self.pix_fmt
        if self.name == SOFTWARE:
            codec.thread_count = encoder_threads()
        codec.gop_size = max(1, round(rate))
        if self.name not in _OWN_QUALITY:
            codec.bit_rate = round(_BITS_PER_PIXEL * height * width * rate)


SOFTWARE_ENCODER = Encoder(SOFTWARE, "yuv420p", _OPTIONS[SOFTWARE])
SMALL_ENCODER = Encoder(SOFTWARE, "yuv420p", _OPTIONS[SOFTWARE] | {"preset": "veryfast", "crf": "23"})


def choose_encoder(name: str = AUTO) -> Encoder:
    """The encoder of that name; one in hardware has encoded a picture by then.

    Raises VideoError in one line, with FFmpeg's reason: where the name is no H.264 encoder of this FFmpeg, or where
    the hardware or its driver is missing. Nothing else is taken in its place.
    """
    if name == SMALL:
        return SMALL_ENCODER
    codec = _find(SOFTWARE if name == AUTO else name)
    name = codec.name  # "h264" is the name of a format, for which FFmpeg has an encoder of its choice
    encoder = Encoder(name, _pixel_format(codec), _OPTIONS.get(name, {}))
    if name != SOFTWARE and (reason := _refusal(encoder)):
        raise VideoError(f"the encoder {name} does not work here ({reason}); leave --encoder out for {SOFTWARE}")
    return encoder


def encoder_problem(name: str) -> str | None:
    """Why the encoder cannot encode a picture here, in one line; None where it can."""
    if name not in av.codecs_available:
        return "not in the FFmpeg that PyAV brings"
    try:
        codec = _find(name)
        return _refusal(Encoder(name, _pixel_format(codec), _OPTIONS.get(name, {})))
    except VideoError as error:
        return str(error)


def _refusal(encoder: Encoder) -> str | None:
    """FFmpeg's reason for not encoding a picture; None where it does."""
    with _ffmpeg_log() as log:
        try:
            _encode_one(encoder)
        except (av.FFmpegError, OSError, ValueError) as error:
            failure = error
        else:
            return None
    return "; ".join(dict.fromkeys(log)) or str(failure) or type(failure).__name__


def _find(name: str) -> av.Codec:
    try:
        codec = av.Codec(name, "w")
    except ValueError as error:  # PyAV's UnknownCodecError is one
        known = ", ".join([AUTO, SOFTWARE, SMALL, *_hardware_names()])
        raise VideoError(f"this FFmpeg has no encoder called {name!r}; it has {known}") from error
    if codec.canonical_name != "h264":
        raise VideoError(f"the encoder {name} makes {codec.canonical_name}; overlays are H.264, which browsers play")
    return codec


def _pixel_format(codec: av.Codec) -> str:
    formats = [item.name for item in codec.video_formats or ()] or ["yuv420p"]
    for pix_fmt in ("yuv420p", "nv12"):
        if pix_fmt in formats:
            return pix_fmt
    raise VideoError(f"the encoder {codec.name} takes only {', '.join(formats)}, none of which is made here")


def _hardware_names() -> list[str]:
    """Those that this FFmpeg was built with; whether the hardware is there shows when one is tried."""
    return [name for name in HARDWARE if name in av.codecs_available]


def _encode_one(encoder: Encoder) -> None:
    codec = av.CodecContext.create(encoder.name, "w")
    assert isinstance(codec, VideoCodecContext)
    codec.options = dict(encoder.options)
    codec.time_base = Fraction(1, 30)
    encoder.configure(codec, _PROBE_SIDE, _PROBE_SIDE, Fraction(30))
    picture = VideoFrame.from_ndarray(np.full((_PROBE_SIDE * 3 // 2, _PROBE_SIDE), 128, np.uint8), "yuv420p")
    picture.pts = 0
    codec.encode(picture)
    codec.encode(None)


@contextmanager
def _ffmpeg_log() -> Iterator[list[str]]:
    """The errors that FFmpeg's libraries print meanwhile, filled in at the end of the block or when it raises."""
    before = av.logging.get_level()
    lines = list[str]()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture(False) as records:
            try:
                yield lines
            finally:
                lines += [" ".join(text.split()) for _, _, text in records]
    finally:
        av.logging.set_level(before)
