"""Frames to compare on: real ones, and what no one films."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.bundle import Bundle
from streamparts.data import ByteArray, Frame
from streamparts.errors import VideoError
from streamparts.rescale import Rescaler
from streamparts.segment import PartSegmenter
from streamparts.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES, find_videos, open_source


@dataclass(frozen=True)
class FrameSet:
    """Pictures as the runtime prepares them, the real ones first."""

    images: ByteArray
    """(F, H, W, 3) RGB at the model's size."""
    names: tuple[str, ...]
    """(F,) where each comes from."""
    num_real: int


def collect_frames(media: Sequence[Path], bundle: Bundle, num_frames: int, odd: bool = True) -> FrameSet:
    """Frames from the beginnings, middles and ends of videos or pictures, unreadable ones left out; with `odd` also
    narrow and flat ones, black, white and noise. Raises VideoError when nothing can be read."""
    images: list[ByteArray] = []
    names: list[str] = []
    whole: list[ByteArray] = []
    share = -(-num_frames // max(1, len(media)))
    segmenter, rescaler = PartSegmenter(bundle, OnnxRuntimeBackend(bundle)), Rescaler()
    for path in media:
        if len(images) >= num_frames:
            break
        with suppress(VideoError), open_source(str(path)) as source:
            every = max(1, (source.num_frames or share) // share)
            taken = 0
            for frame in source:
                if frame.index % every or taken == share:
                    continue
                images.append(segmenter.prepare(frame).image)
                names.append(f"{path.name} #{frame.index}")
                whole = whole or [rescaler.rgb(frame).copy()]
                taken += 1
    if not images:
        raise VideoError("no frames to compare on; name a video or a folder of videos with --frames")
    images, names = images[:num_frames], names[:num_frames]
    num_real = len(images)
    for name, picture in odd_pictures(whole[0]).items() if odd else ():
        images.append(segmenter.prepare(frame_of(picture)).image)
        names.append(name)
    return FrameSet(np.stack(images), tuple(names), num_real)


def odd_pictures(picture: ByteArray) -> dict[str, ByteArray]:
    """What no one films, made of an (H, W, 3) picture: its slices, and plain ones of the same size."""
    height, width = picture.shape[:2]
    noise = np.random.default_rng(0).integers(0, 256, picture.shape, dtype=np.uint8)
    return {
        "tall": picture[:, : max(1, width // 8)],
        "wide": picture[: max(1, height // 8)],
        "one pixel high": picture[height // 2 : height // 2 + 1],
        "one pixel wide": picture[:, width // 2 : width // 2 + 1],
        "black": np.zeros_like(picture),
        "white": np.full_like(picture, 255),
        "noise": noise,
    }


def frame_of(picture: ByteArray) -> Frame:
    """An (H, W, 3) picture as the only frame of a video."""
    height, width = picture.shape[:2]
    return Frame(0, 0, Fraction(1, 30), np.ascontiguousarray(picture), 0, height, width, time.perf_counter())


def media_of(chosen: Path, num_frames: int) -> list[Path]:
    """A video or picture, or those below a folder; see media_in."""
    return media_in(chosen, num_frames) if chosen.is_dir() else [chosen]


def media_in(folder: Path, num_frames: int) -> list[Path]:
    """The videos below `folder`, or, where it holds pictures alone, that many of them, evenly spread."""
    pictures = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not pictures or any(p.suffix.lower() in VIDEO_SUFFIXES for p in folder.rglob("*")):
        return find_videos(folder)
    return pictures[:: max(1, len(pictures) // num_frames)]
