"""Prepares clips once, in a cache folder outside the repository."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
from av import VideoFrame
from numpy.typing import NDArray

ENCODER = {"crf": "6", "preset": "ultrafast"}
"""Fast encoding with almost no loss."""


def crop_top_half(video: Path, out: Path) -> Path:
    """Write the upper half of each frame of `video` to a video with the same times, unless it exists."""
    if out.exists():
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.part.mp4")
    with av.open(str(video)) as source, av.open(str(partial), "w", format="mp4") as sink:
        stream = source.streams.video[0]
        encoder = sink.add_stream("libx264", rate=stream.average_rate or 25, options=ENCODER)
        encoder.width, encoder.height, encoder.pix_fmt = stream.width, stream.height // 2, "yuv420p"
        if stream.time_base:
            encoder.time_base = encoder.codec_context.time_base = stream.time_base
        for frame in source.decode(stream):
            sink.mux(encoder.encode(_top_half(frame)))
        sink.mux(encoder.encode(None))
    partial.replace(out)
    return out


def _top_half(frame: VideoFrame) -> VideoFrame:
    """Copies the planes, so that colours stay unchanged."""
    planar = frame if frame.format.name == "yuv420p" else frame.reformat(format="yuv420p")
    top = VideoFrame(frame.width, frame.height // 2, "yuv420p")
    for whole, half in zip(planar.planes, top.planes, strict=True):
        rows, upper = _rows(whole), _rows(half)
        upper[:, : half.width] = rows[: half.height, : half.width]
        half.update(upper.tobytes())
    top.pts, top.time_base = frame.pts, frame.time_base
    top.colorspace, top.color_range = frame.colorspace, frame.color_range
    return top


def _rows(plane: av.video.plane.VideoPlane) -> NDArray[np.uint8]:
    """(H, bytes per line) copy."""
    data = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)
    return data[: plane.height].copy()


def gather(folder: Path, clips: Iterable[Path]) -> Path:
    """A folder that holds links to these clips, videos or folders of pictures, and nothing else but what was cached
    beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {f"{clip.parent.name}-{clip.name}" if clip.is_dir() else clip.name: clip.resolve() for clip in clips}
    for old in folder.iterdir():
        if not old.name.startswith(".") and old.is_symlink() and old.name not in wanted:
            old.unlink()
    for name, clip in wanted.items():
        if not (folder / name).exists():
            (folder / name).symlink_to(clip)
    return folder


def copy_beside(labels: Iterable[Path], folder: Path) -> None:
    """Write labels that a reader expects beside its clips."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in labels:
        if not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
