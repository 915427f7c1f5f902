"""Video files to Frames: every frame the decoder gives, in display order, with the time the file states."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import av
from av import VideoFrame
from av.container import InputContainer
from av.video.stream import VideoStream

from streamparts.data import Frame
from streamparts.errors import VideoError

VIDEO_SUFFIXES = {".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".gif"}
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
"""What a folder of videos is searched for."""

FALLBACK_RATE = Fraction(25)
"""Frames per second that stand in where a file states neither times nor a rate (raw streams)."""

_BROKEN = (av.FFmpegError, OSError, ValueError, MemoryError)
"""What PyAV raises on damaged files; ValueError covers undecodable metadata text."""


class Source(Protocol):
    """Where frames come from. Iterate it once, in one thread; close it in the thread that opened it."""

    @property
    def name(self) -> str:
        """Short name for outputs and messages."""

    @property
    def description(self) -> str:
        """One line for people: codec, size, rate, length."""

    @property
    def height(self) -> int:
        """Displayed height in pixels of the first frame; the others have it too, until the segment changes."""

    @property
    def width(self) -> int:
        """Displayed width in pixels, likewise."""

    @property
    def rate(self) -> Fraction | None:
        """Average frames per second as announced; None if unknown. Never used to compute a time."""

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick of every frame's pts."""

    @property
    def num_frames(self) -> int | None:
        """Estimate for progress bars; None if unknown."""

    @property
    def decode_errors(self) -> int:
        """Packets that could not be decoded so far."""

    @property
    def repaired_times(self) -> int:
        """Frames so far whose time was missing or not after the frame before, and was continued."""

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None: ...


class FileSource:
    """A video file. Rotation in its metadata is applied, in quarter turns; mirroring and a non-square pixel aspect
    are not: sizes count stored pixels."""

    def __init__(self, path: str | Path) -> None:
        """Raises VideoError unless at least one frame of the file can be decoded."""
        self.path = Path(path)
        self.name = self.path.name
        self.decode_errors = 0
        self.repaired_times = 0
        self._iterated = False
        self._container = _open_container(self.path)
        try:
            self._stream = _first_video_stream(self._container, self.path)
            self._images = self._decode()
            self._first = self._next_image()
        except BaseException:
            self._container.close()
            raise
        self.rotation = _quarter_turns(self._first)
        self._stored_wh = (self._first.width, self._first.height)
        self.width, self.height = self._stored_wh[:: -1 if self.rotation % 180 else 1]
        self.time_base = self._stream.time_base or 1 / FALLBACK_RATE
        self.rate = self._stream.average_rate or None
        self.num_frames = _estimate_num_frames(self._stream, self._container, self.rate)

    @property
    def description(self) -> str:
        rate = f"{float(self.rate):.4g} fps" if self.rate else "unknown rate"
        length = f"about {self.num_frames} frames" if self.num_frames else "unknown length"
        turned = f", turned by {self.rotation} degrees" if self.rotation else ""
        return f"{self.width}x{self.height} {self._stream.codec_context.name}, {rate}, {length}{turned}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._images.close()
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        """Raises ValueError the second time, VideoError where the picture size changes on the way."""
        if self._iterated:
            raise ValueError(f"{self.name} was read already; open it again to read it again")
        self._iterated = True
        return self._frames()

    def _frames(self) -> Iterator[Frame]:
        step = max(1, round(1 / (self.rate or FALLBACK_RATE) / self.time_base))
        previous: int | None = None
        image: VideoFrame | None = self._first
        del self._first
        index = 0
        while image is not None:
            self._check_size(image, index)
            pts = self._continued(image.pts, previous, step)
            yield Frame(
                index=index,
                pts=pts,
                time_base=self.time_base,
                image=image,
                rotation=self.rotation,
                height=self.height,
                width=self.width,
                decoded_at=time.perf_counter(),
            )
            previous, index = pts, index + 1
            image = next(self._images, None)

    def _continued(self, pts: int | None, previous: int | None, step: int) -> int:
        """`pts`, or where it is missing or does not increase, the time one average frame after the last."""
        if pts is not None and (previous is None or pts > previous):
            return pts
        self.repaired_times += 1
        return 0 if previous is None else previous + step

    def _check_size(self, image: VideoFrame, index: int) -> None:
        if (image.width, image.height) != self._stored_wh:
            was, now = "{}x{}".format(*self._stored_wh), f"{image.width}x{image.height}"
            raise VideoError(
                f"{self.name}: the picture size changes from {was} to {now} at frame {index}; split the file there"
            )

    def _next_image(self) -> VideoFrame:
        image = next(self._images, None)
        if image is None:
            raise VideoError(f"{self.path}: not one video frame could be decoded; the file is empty or damaged")
        return image

    def _decode(self) -> Generator[VideoFrame]:
        """Packet by packet, because the container's own decoder ends at the first bad packet."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except _BROKEN as error:
                raise VideoError(f"{self.path}: reading failed: {_reason(error)}") from error
            if packet is None:
                return
            try:
                images = packet.decode()
            except _BROKEN:
                self.decode_errors += 1
                continue
            yield from images


def find_videos(folder: Path) -> list[Path]:
    """All videos below `folder`, sorted. Raises VideoError when there is none."""
    if not folder.is_dir():
        raise VideoError(f"{folder} is not a folder of video clips")
    videos = sorted(p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file())
    if not videos:
        raise VideoError(f"no video in {folder} (looked for {', '.join(sorted(VIDEO_SUFFIXES))})")
    return videos


def open_source(source: str | Path) -> FileSource:
    """Open a video file for reading; close it, or use it in a `with` block.

    Raises VideoError when the file is missing, is no video, or not one of its frames can be decoded.
    """
    return FileSource(source)


def _open_container(path: Path) -> InputContainer:
    if path.is_dir():
        raise VideoError(f"{path}: is a folder, not a video file")
    if not path.exists():
        raise VideoError(f"{path}: no such file")
    try:
        # The prefix keeps names like "rtsp:x" or "concat:y" from being taken for protocols.
        return av.open(f"file:{path}", mode="r")
    except PermissionError as error:
        raise VideoError(f"{path}: no permission to read this file") from error
    except _BROKEN as error:
        raise VideoError(
            f"{path}: not a readable video file ({_reason(error)}); it may be truncated or of another type"
        ) from error


def _first_video_stream(container: InputContainer, path: Path) -> VideoStream:
    if not container.streams.video:
        raise VideoError(f"{path}: has no video stream")
    stream = container.streams.video[0]
    stream.thread_type = "SLICE"  # as fast as frame threads here, and gives each frame without delay
    return stream


def _quarter_turns(image: VideoFrame) -> int:
    """Degrees counter-clockwise, to the nearest quarter turn, by which to turn the stored picture for display."""
    return round(image.rotation / 90) * 90 % 360


def _estimate_num_frames(stream: VideoStream, container: InputContainer, rate: Fraction | None) -> int | None:
    if stream.frames:
        return stream.frames
    if not rate:
        return None
    if stream.duration and stream.time_base:
        return round(stream.duration * stream.time_base * rate) or None
    return round(Fraction(container.duration, av.time_base) * rate) or None if container.duration else None


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
