"""Sample frames to test a model, prepared as in the runtime: from videos and images, and synthetic ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.data import Frame
from streamparts.errors import VideoError
from streamparts.geometry import Letterbox
from streamparts.sources import open_source
from streamparts.sources.folders import IMAGE_SUFFIXES, VIDEO_SUFFIXES, files_below, is_own
from streamparts.sources.rescale import Rescaler


@dataclass(frozen=True)
class FrameSet:
    """Frames at the model's size, the real ones first."""

    images: ByteArray
    """(F, H, W, 3) RGB."""
    names: tuple[str, ...]
    """(F,) origin of each frame."""
    num_real: int


def sample_frames(path: Path, input_hw: tuple[int, int], num_frames: int) -> FrameSet:
    """Return at most `num_frames` frames, see `frames_spread_over`. Raises VideoError without any."""
    rescaler = Rescaler()
    found = [(name, _prepared(frame, input_hw, rescaler)) for name, frame in frames_spread_over(path, num_frames)]
    return FrameSet(np.stack([image for _, image in found]), tuple(name for name, _ in found), len(found))


def frames_spread_over(path: Path, num_frames: int) -> Iterator[tuple[str, Frame]]:
    """Yield at most `num_frames` frames with their names, evenly spread over a video or over the videos and images
    below a folder; unreadable files are skipped. Raises VideoError without any."""
    files = media_in(path, num_frames) if path.is_dir() else [path]
    share, left = -(-num_frames // len(files)), num_frames
    for file in files:
        try:
            for frame in islice(_frames_of(file, share), left):
                left -= 1
                yield f"{file.name} #{frame.index}", frame
        except VideoError:
            if not path.is_dir():
                raise
        if not left:
            return
    if left == num_frames:
        raise VideoError(f"{path}: none of its frames can be read")


def with_odd_frames(frames: FrameSet) -> FrameSet:
    """The same, followed by narrow, flat and uniform ones derived from the first."""
    odd = odd_pictures(frames.images[0])
    input_hw = (frames.images.shape[1], frames.images.shape[2])
    made = np.stack([_fitted(picture, input_hw) for picture in odd.values()])
    return FrameSet(np.concatenate([frames.images, made]), (*frames.names, *odd), frames.num_real)


def odd_pictures(picture: ByteArray) -> dict[str, ByteArray]:
    """Synthetic images derived from an (H, W, 3) image: its slices, and uniform ones of the same size."""
    height, width = picture.shape[:2]
    return {
        "tall": picture[:, : max(1, width // 8)],
        "wide": picture[: max(1, height // 8)],
        "one pixel high": picture[height // 2 : height // 2 + 1],
        "one pixel wide": picture[:, width // 2 : width // 2 + 1],
        "black": np.zeros_like(picture),
        "white": np.full_like(picture, 255),
        "noise": np.random.default_rng(0).integers(0, 256, picture.shape, dtype=np.uint8),
    }


def media_in(folder: Path, num_files: int) -> list[Path]:
    """Videos and images below `folder`: first `num_files` that are evenly spread, then the others, as replacements for
    unreadable ones. Raises VideoError without any."""
    suffixes = VIDEO_SUFFIXES | IMAGE_SUFFIXES
    files = sorted(file for file in files_below(folder) if file.suffix.lower() in suffixes and not is_own(file))
    if not files:
        raise VideoError(f"{folder}: no video and no image in this folder")
    step = max(1, len(files) // num_files)
    return [file for start in range(step) for file in files[start::step]]


def _frames_of(path: Path, count: int) -> Iterator[Frame]:
    """`count` frames at most."""
    with open_source(path) as source:
        every = max(1, (source.num_frames or count) // count)
        yield from islice((frame for frame in source if frame.index % every == 0), count)


def _prepared(frame: Frame, input_hw: tuple[int, int], rescaler: Rescaler) -> ByteArray:
    letterbox = Letterbox.fit((frame.height, frame.width), input_hw)
    return letterbox.pad(rescaler.rgb(frame, letterbox.inner_hw))


def _fitted(picture: ByteArray, input_hw: tuple[int, int]) -> ByteArray:
    height, width = picture.shape[:2]
    frame = Frame(0, 0, Fraction(1), np.ascontiguousarray(picture), 0, height, width, decoded_at=0.0)
    return _prepared(frame, input_hw, Rescaler())
