"""Generated videos. Each frame contains its number, see streamparts/sources/pattern.py."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from streamparts.data import Frame
from streamparts.sources.pattern import burn_number
from streamparts.sources.pattern import read_number as read_number

RED, GREEN, GREY = (220, 40, 40), (40, 200, 40), (110, 110, 110)


def picture(number: int, height: int = 96, width: int = 128) -> np.ndarray:
    """(height, width, 3) RGB: a red disc that moves with `number`, a green square, and `number` along the top."""
    image = np.full((height, width, 3), GREY, np.uint8)
    y, x = np.mgrid[:height, :width] + 0.5
    center, radius = red_center(number, height, width), height / 6
    image[(x - center[0]) ** 2 + (y - center[1]) ** 2 < radius**2] = RED
    side = height // 4
    image[-side - 4 : -4, -side - 4 : -4] = GREEN
    burn_number(image, number)
    return image


def red_center(number: int, height: int = 96, width: int = 128) -> tuple[float, float]:
    """x, y of the red disc's centre in `picture(number)`, in continuous pixels."""
    return width * (0.25 + 0.02 * (number % 10)), height * 0.55


def write_video(
    path: Path,
    images: Iterable[np.ndarray],
    *,
    codec: str = "libx264",
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 30),
    rotation: int = 0,
    options: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
) -> Path:
    """Encode RGB images; `pts` in ticks of `time_base`, by default 0, 1, 2..."""
    with av.open(str(path), "w") as container:
        stream = None
        for index, image in enumerate(images):
            if stream is None:
                stream = container.add_stream(codec, rate=30, options=options or {})
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = pix_fmt
                stream.time_base = stream.codec_context.time_base = time_base
                if rotation:
                    stream.set_display_rotation(rotation)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            frame.pts, frame.time_base = (pts[index] if pts else index), time_base
            container.mux(stream.encode(frame))
        assert stream is not None
        container.mux(stream.encode(None))
    return path


def numbered_video(path: Path, num_frames: int, height: int = 96, width: int = 128, **options: object) -> Path:
    """A video of `picture(0)`, `picture(1)` and so on."""
    images = (picture(number, height, width) for number in range(num_frames))
    return write_video(path, images, **options)  # type: ignore[arg-type]


def picture_file(path: Path, number: int, height: int = 96, width: int = 128) -> Path:
    """`picture(number)` as a file of the type given by its suffix."""
    codec = {".png": "png", ".jpg": "mjpeg", ".webp": "libwebp"}[path.suffix]
    pix_fmt = {"png": "rgb24", "mjpeg": "yuvj420p", "libwebp": "yuv420p"}[codec]
    return write_video(path, [picture(number, height, width)], codec=codec, pix_fmt=pix_fmt)


def frame_of(image: np.ndarray | av.VideoFrame, rotation: int = 0, index: int = 0) -> Frame:
    """A Frame of an RGB array, or of a PyAV frame that is to be turned by `rotation`."""
    hw = image.shape[:2] if isinstance(image, np.ndarray) else (image.height, image.width)
    height, width = hw if rotation % 180 == 0 else hw[::-1]
    return Frame(index, index, Fraction(1, 30), image, rotation, height, width, decoded_at=0.0)


def decode(path: Path) -> Iterator[tuple[np.ndarray, Fraction]]:
    """RGB image and time in seconds of every frame that PyAV itself returns."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24"), frame.pts * frame.time_base


class ArraySource:
    """A Source whose frames are made on demand; raises `error` instead of frame `fail_at`."""

    name = "arrays"
    live = False
    description = "arrays"
    rate = Fraction(30)
    time_base = Fraction(1, 30)
    decode_errors = 0
    repaired_times = 0

    def __init__(
        self,
        num_frames: int,
        height: int = 48,
        width: int = 64,
        fail_at: int | None = None,
        error: Exception | None = None,
    ) -> None:
        self.num_frames = num_frames
        self.height, self.width = height, width
        self._fail_at, self._error = fail_at, error
        self.num_made = 0
        self.closed = False

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.num_frames):
            if index == self._fail_at and self._error:
                raise self._error
            self.num_made += 1
            image = picture(index, self.height, self.width)
            yield Frame(index, index, self.time_base, image, 0, self.height, self.width, time.perf_counter())

    def close(self) -> None:
        self.closed = True


def first_frames(video: Path, path: Path, num_frames: int) -> Path:
    """The beginning of a video, its packets as they are."""
    with av.open(str(video)) as whole, av.open(str(path), "w") as part:
        stream = part.add_stream_from_template(whole.streams.video[0])
        for packet in itertools.islice(whole.demux(video=0), num_frames):
            if packet.dts is not None:
                packet.stream = stream
                part.mux(packet)
    return path
