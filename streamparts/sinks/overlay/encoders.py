"""Selects the overlay's encoder: x264; on request H.264 in hardware, or SVT-AV1."""

from __future__ import annotations

import os
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
from streamparts.machine import encoder_threads, ordinary_threads

AUTO = "auto"
"""Means `SOFTWARE`: hardware is used only if named."""
SOFTWARE = "libx264"
HARDWARE = ("h264_nvenc", "h264_qsv", "h264_amf", "h264_videotoolbox", "h264_v4l2m2m", "h264_mf")
"""Names worth trying; their availability depends on the machine and FFmpeg."""

SMALL = "small"
"""x264 at a slower preset and a lower quality: less than half the file size, for twice the processor time. At equal
quality, slower presets are 1.4 to 1.9 times smaller: see benchmarks/encoders.py."""

AV1 = "av1"
"""SVT-AV1 with the default's SSIM or a higher one: 2.4 to 3.1 times smaller (benchmarks/encoders.py, four clips), for
about 33 times the processor time, and up to three seconds of frames are lost with a killed process. Recent browsers
and players show it."""
AV1_SLOW = "av1-slow"
"""SVT-AV1 with a slower preset: 2.8 to 3.2 times smaller than the default, with a higher SSIM and a PSNR that is 1 to 2
dB lower (benchmarks/encoders.py, three clips), for about 130 times the processor time."""
_AV1_CODEC = "libsvtav1"
_AV1_QUALITY = {AV1: {"preset": "5", "crf": "30"}, AV1_SLOW: {"preset": "2", "crf": "30"}}
"""With preset 5, the overlay of a dancer has the default's SSIM at crf 30, those of other clips at a higher crf. No
encoder here is 2.5 times smaller at the default's PSNR; preset 4 and the tools for screens gain a tenth for four times
the processor time."""
_AV1_KEY_SECONDS = 4
"""Seconds between keyframes, which cost more here than in H.264."""
_MOST_LEVELS = 6
"""Highest level of parallelism of SVT-AV1; each uses about one core more."""

_OPTIONS = {
    "libx264": {
        "preset": "ultrafast",  # half the processor time of the next preset, for files a third larger
        # A constant quantiser, because a rate factor (crf) first estimates what each image costs on a smaller copy: a
        # sixth of the time. 21 has the size and quality of crf 21 on average; single clips were 21 % larger and 2 dB
        # better, or 13 % smaller and 1 dB worse.
        "qp": "21",
        "tune": "zerolatency",  # otherwise up to a second of frames waits in the encoder and is lost with it
        "forced-idr": "1",  # makes a requested keyframe an IDR frame
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
    _AV1_CODEC: _AV1_QUALITY[AV1],
    "h264_amf": {"usage": "lowlatency", "quality": "speed", "bf": "0", "forced_idr": "1"},
    "h264_videotoolbox": {"realtime": "1", "bf": "0"},
}
_OWN_QUALITY = ("libx264", "h264_nvenc", "h264_qsv", _AV1_CODEC)
"""Encoders with a quality setting; the others get a bit rate."""
_BITS_PER_PIXEL = 0.12
_PROBE_SIDE = 256  # hardware rejects very small frames


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder that was tested here."""

    name: str
    """FFmpeg's name."""
    pix_fmt: str
    """Its input format, yuv420p or nv12; players read both as yuv420p."""
    options: dict[str, str] = field(default_factory=dict)
    """FFmpeg options, for low delay except with AV1: frames inside an encoder are lost with the process."""

    def configure(self, codec: VideoCodecContext, height: int, width: int, rate: Fraction) -> None:
        """Set size and pixel format, a bit rate if the encoder has no quality setting, and the distance of keyframes:
        a second, with AV1 four."""
        codec.height, codec.width, codec.pix_fmt = height, width, self.pix_fmt
        if self.name == SOFTWARE:
            codec.thread_count = encoder_threads()
        codec.gop_size = max(1, round(rate * (_AV1_KEY_SECONDS if self.name == _AV1_CODEC else 1)))
        if self.name not in _OWN_QUALITY:
            codec.bit_rate = round(_BITS_PER_PIXEL * height * width * rate)


SOFTWARE_ENCODER = Encoder(SOFTWARE, "yuv420p", _OPTIONS[SOFTWARE])
_SMALL_OPTIONS = {key: value for key, value in _OPTIONS[SOFTWARE].items() if key != "qp"}
SMALL_ENCODER = Encoder(SOFTWARE, "yuv420p", _SMALL_OPTIONS | {"preset": "veryfast", "crf": "23"})


def choose_encoder(name: str = AUTO) -> Encoder:
    """Return the encoder of that name; a hardware encoder has been tested with one frame.

    Raises VideoError with a one-line message and FFmpeg's reason if the name is no H.264 encoder of this FFmpeg, or if
    the hardware or its driver is missing. It is never replaced by another.
    """
    if name == SMALL:
        return SMALL_ENCODER
    if name in _AV1_QUALITY:
        return _svt_av1(name)
    codec = _find(SOFTWARE if name == AUTO else name)
    name = codec.name  # "h264" is a format, for which FFmpeg would choose an encoder
    encoder = Encoder(name, _pixel_format(codec), _OPTIONS.get(name, {}))
    if name != SOFTWARE and (reason := _refusal(encoder)):
        raise VideoError(f"the encoder {name} does not work here ({reason}); leave --encoder out for {SOFTWARE}")
    return encoder


def _svt_av1(name: str) -> Encoder:
    """`name` is AV1 or AV1_SLOW. Raises VideoError where it is missing."""
    os.environ.setdefault("SVT_LOG", "1")  # otherwise it prints its settings on standard error
    levels = min(_MOST_LEVELS, encoder_threads())
    encoder = Encoder(_AV1_CODEC, "yuv420p", _AV1_QUALITY[name] | {"svtav1-params": f"lp={levels}"})
    if _AV1_CODEC not in av.codecs_available:
        raise VideoError(f"this FFmpeg has no {_AV1_CODEC}, which writes AV1; leave --encoder out for {SOFTWARE}")
    if reason := _refusal(encoder):
        raise VideoError(f"{_AV1_CODEC} does not work here ({reason}); leave --encoder out for {SOFTWARE}")
    return encoder


def encoder_problem(name: str) -> str | None:
    """Return why the encoder cannot encode a frame here, in one line; None if it can."""
    if name not in av.codecs_available:
        return "not in PyAV's FFmpeg"
    try:
        codec = _find(name)
        return _refusal(Encoder(name, _pixel_format(codec), _OPTIONS.get(name, {})))
    except VideoError as error:
        return str(error)


def _refusal(encoder: Encoder) -> str | None:
    """Return FFmpeg's reason for failing to encode a frame; None if it succeeds."""
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
    except ValueError as error:  # includes PyAV's UnknownCodecError
        known = ", ".join([AUTO, SOFTWARE, SMALL, AV1, AV1_SLOW, *_hardware_names()])
        raise VideoError(f"this FFmpeg has no encoder called {name!r}; it has {known}") from error
    if codec.canonical_name != "h264":
        raise VideoError(f"the encoder {name} writes {codec.canonical_name}; overlays are H.264, which browsers play")
    return codec


def _pixel_format(codec: av.Codec) -> str:
    formats = [item.name for item in codec.video_formats or ()] or ["yuv420p"]
    for pix_fmt in ("yuv420p", "nv12"):
        if pix_fmt in formats:
            return pix_fmt
    raise VideoError(f"the encoder {codec.name} only takes {', '.join(formats)}, which is not supported here")


def _hardware_names() -> list[str]:
    """Hardware encoders in this FFmpeg build; whether the hardware exists shows only when one is tried."""
    return [name for name in HARDWARE if name in av.codecs_available]


def _encode_one(encoder: Encoder) -> None:
    codec = av.CodecContext.create(encoder.name, "w")
    assert isinstance(codec, VideoCodecContext)
    codec.options = dict(encoder.options)
    codec.time_base = Fraction(1, 30)
    encoder.configure(codec, _PROBE_SIDE, _PROBE_SIDE, Fraction(30))
    picture = VideoFrame.from_ndarray(np.full((_PROBE_SIDE * 3 // 2, _PROBE_SIDE), 128, np.uint8), "yuv420p")
    picture.pts = 0
    with ordinary_threads():
        codec.encode(picture)
    codec.encode(None)


@contextmanager
def _ffmpeg_log() -> Iterator[list[str]]:
    """Errors that FFmpeg's libraries print during the block, available when it ends or raises."""
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
