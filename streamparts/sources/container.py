"""Metadata of an opened container: the video stream, its rate, its length and the aspect ratio of its pixels."""

from __future__ import annotations

from collections.abc import Generator
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from statistics import median

import av
from av import VideoFrame
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from streamparts.errors import VideoError
from streamparts.machine import decoder_threads
from streamparts.sources.base import (
    BROKEN,
    MAX_PIXELS,
    reason_of,
)
from streamparts.sources.rational import exact
from streamparts.sources.stamps import WINDOW

_SLACK_SECONDS = 2
"""The last frame of a sound file begins at most so long before its end."""
_MOST_LAST_PACKETS = 5000
FEW_EXAMINED = {"max_ts_probe": "0", "fpsprobesize": "5"}
"""FFmpeg's options to open a slow stream early: without them it waits for 50 images of a stream without timestamps, and
for 20 of one with, to estimate the rate."""


def video_stream(container: InputContainer, name: str, max_pixels: int = MAX_PIXELS) -> VideoStream:
    """The file's default video stream, else the first; cover images only if there is nothing else. Raises VideoError if
    none can be decoded."""
    videos = moving_streams(container)
    if not videos:
        raise VideoError(f"{name}: has no video stream")
    videos = [stream for stream in videos if stream.codec_context is not None]  # None without a decoder for it
    if not videos:
        raise VideoError(f"{name}: its video is of a kind that this FFmpeg cannot decode, or its header is damaged")
    stream = next((stream for stream in videos if stream.disposition & Disposition.default), videos[0])
    stream.thread_type = "SLICE"  # as fast as frame threads here, without their delay
    stream.codec_context.thread_count = decoder_threads()
    stream.codec_context.options = {"max_pixels": str(max_pixels)}
    return stream


def moving_streams(container: InputContainer) -> list[VideoStream]:
    """The video streams without cover images; only these if there is nothing else."""
    videos = list(container.streams.video)
    return [stream for stream in videos if not stream.disposition & Disposition.attached_pic] or videos


def displayed_aspect(stream: VideoStream, rotation: int) -> Fraction:
    """Displayed width of a pixel relative to its height, after rotation by `rotation` degrees; 1 without a valid
    value."""
    stored = exact(stream.sample_aspect_ratio) or exact(stream.codec_context.sample_aspect_ratio) or Fraction(1)
    stored = stored if Fraction(1, 10) < stored < 10 else Fraction(1)
    return stored if rotation % 180 == 0 else 1 / stored


def announced_rate(stream: VideoStream, counted: bool) -> Fraction | None:
    """Nominal frame rate; for video without timestamps (`counted`), the rate in the codec's header."""
    return (exact(stream.guessed_rate) if counted else None) or exact(stream.average_rate)


def ticks_at(seconds: float, time_base: Fraction) -> int:
    """The first tick at or after `seconds`; a number with up to six decimals is taken as exact."""
    return -(-Fraction(seconds).limit_denominator(1_000_000) // time_base)


def estimate_num_frames(
    stream: VideoStream, container: InputContainer, rate: Fraction | None, path: Path | None = None
) -> int | None:
    """Estimate for progress bars, from the container's metadata. With the file's `path`, the end of a Matroska file is
    checked: its length is that of the latest timestamp, right or wrong."""
    if stream.frames:
        return stream.frames
    if not rate:
        return None
    if stream.duration and (time_base := exact(stream.time_base)):
        return round(stream.duration * time_base * rate) or None
    if not container.duration:
        return None
    before = counted_before(container)
    seconds = Fraction(container.duration - before, av.time_base)
    if path is not None and "matroska" in container.format.name:
        end = last_seconds(path, stream.index)
        if end is not None and end + _SLACK_SECONDS < seconds + Fraction(before, av.time_base):
            seconds = end + 1 / rate - Fraction(container.start_time or 0, av.time_base)
    return round(seconds * rate) or None


def last_seconds(path: Path, stream_index: int) -> Fraction | None:
    """Time of the last packet, without those that are far behind all others; None if unknown."""
    times: list[int] = []
    try:
        with open_container(path) as container:
            stream = container.streams[stream_index]
            time_base = exact(stream.time_base)
            container.seek(container.duration or 0)
            for packet in islice(container.demux(stream), _MOST_LAST_PACKETS):
                times += [] if packet.pts is None else [packet.pts]
    except (*BROKEN, VideoError):
        return None
    if len(times) < 3 or time_base is None:
        return None
    times.sort()
    pause = max(_SLACK_SECONDS / time_base, 10 * Fraction(median(after - before for before, after in pairwise(times))))
    while times[-1] - times[-2] > pause and len(times) > 2:
        times.pop()
    return times[-1] * time_base


def counted_before(container: InputContainer) -> int:
    """Microseconds of the announced length before the first frame: Matroska counts from time 0, and its clock may be
    the time of day, or start in 1970."""
    start = container.start_time or 0
    measured_from_zero = "matroska" in container.format.name and 0 < start < (container.duration or 0)
    return start if measured_from_zero else 0


def open_container(path: Path, accelerator: HWAccel | None = None, max_pixels: int = MAX_PIXELS) -> InputContainer:
    if path.is_dir():
        raise VideoError(f"{path}: is a folder, not a video file")
    if not path.exists():
        raise VideoError(f"{path}: no such file")
    try:
        # The prefix prevents names such as "rtsp:x" or "concat:y" from being read as protocols.
        options = {"max_pixels": str(max_pixels)}  # of data decoded to probe the file
        return av.open(f"file:{path}", mode="r", hwaccel=accelerator, options=options)
    except PermissionError as error:
        raise VideoError(f"{path}: no permission to read this file") from error
    except BROKEN as error:
        raise VideoError(
            f"{path}: not a readable video file ({reason_of(error)}); it may be truncated or of another type"
        ) from error


def count_before(path: Path, stream_index: int, target: int, max_pixels: int) -> tuple[int, int | None]:
    """Number of frames before `target` according to the packets, and the time of the first one after them; None if
    the packets lack times, or are out of order."""
    before, wanted, latest, key, beyond = 0, None, None, None, 0
    with open_container(path, max_pixels=max_pixels) as container:
        stream = container.streams[stream_index]
        try:
            for packet in container.demux(stream):
                if packet.size == 0 or packet.is_discard:
                    continue
                pts = packet.pts
                if pts is None or packet.dts is None or (key is not None and pts < key[0]):
                    return 0, None
                if packet.is_keyframe:
                    if latest is not None and latest >= pts:
                        return 0, None
                    key = (key[1] if key else pts, pts)
                latest = pts if latest is None else max(latest, pts)
                before += pts < target
                if pts >= target and (wanted is None or pts < wanted):
                    wanted = pts
                beyond += packet.dts >= target
                if beyond == WINDOW:
                    break
        except BROKEN:
            return 0, None
    return before, wanted


def nothing() -> Generator[VideoFrame]:
    yield from ()
