"""Runs a test pattern for a few seconds, writes an overlay and tracks, reads them back and checks them."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from streamparts.doctor.finding import Finding

if TYPE_CHECKING:
    from streamparts.runtime.stats import Progress
    from streamparts.runtime.summary import Summary
    from streamparts.tracksfile.records import FrameRecord

SECONDS = 3.0
"""Seconds of tracking. Loading and reading back included, it takes about five."""
RATE = 30
SOURCE = f"test://?size=1280x720&fps={RATE}&seconds=3600"
MODEL = "puppet-human"
"""The model of what the test pattern draws."""
_TICK = 1e-3
"""Tolerance of a frame's time, in seconds."""


def self_test() -> Iterator[Finding]:
    """A Probe: the run, then each output with its problem."""
    with tempfile.TemporaryDirectory() as folder:
        overlay, tracks = Path(folder) / "overlay.mp4", Path(folder) / "tracks.jsonl"
        summary = _run(overlay, tracks)
        yield Finding(
            "run",
            f"{summary.num_frames} synthetic frames of 1280x720 with {MODEL} on {summary.backend}: "
            f"{summary.fps:.0f} fps",
            data={"num_frames": summary.num_frames, "fps": round(summary.fps, 2), "backend": summary.backend},
        )
        yield from (Finding("run", warning, "warning") for warning in summary.warnings)
        yield _judged("tracks", tracks_problem(tracks, summary.num_frames), "frames, times and parts are correct")
        yield _judged(
            "overlay", overlay_problem(overlay, summary.num_frames), "plays: every frame, in order, at its time"
        )


def _run(overlay: Path, tracks: Path) -> Summary:
    from streamparts.runtime.stream import run

    stop, began = threading.Event(), list[float]()

    def watch(progress: Progress) -> None:
        began.append(time.monotonic())
        if began[-1] - began[0] >= SECONDS:
            stop.set()

    return run(SOURCE, MODEL, overlay=overlay, tracks=tracks, progress=watch, stop=stop)


def _judged(name: str, problem: str | None, right: str) -> Finding:
    return Finding(name, right) if problem is None else Finding(name, problem, "failed")


def tracks_problem(path: Path, num_frames: int) -> str | None:
    """Return what is wrong with the tracks of this many frames of SOURCE; None if nothing is."""
    from streamparts.tracksfile.reading import read_tracks

    file = read_tracks(path)
    frames = list(file.frames())
    if len(frames) != num_frames:
        return f"{len(frames)} frames, not {num_frames}"
    for number, frame in enumerate(frames):
        if frame.frame != number:
            return f"frame {number} is numbered {frame.frame}"
        if abs(frame.pts_seconds - number / RATE) > _TICK:
            return f"frame {number} is at {frame.pts_seconds} s, not at {number / RATE:.3f} s"
    lost = sum(not _shows_a_puppet(frame, file.header.source.width, file.header.source.height) for frame in frames)
    if 2 * lost > num_frames:
        return f"the puppet was not found in {lost} of {num_frames} frames"
    return None


def _shows_a_puppet(frame: FrameRecord, width: int, height: int) -> bool:
    """True if at least half of the parts are visible, all of them inside the frame."""
    seen = [part.center for part in frame.parts if part.visible and part.center is not None]
    inside = all(0 <= x <= width and 0 <= y <= height for x, y in seen)
    return inside and 2 * len(seen) >= len(frame.parts)


def overlay_problem(path: Path, num_frames: int) -> str | None:
    """Return what is wrong with the overlay of this many frames of SOURCE, which have their numbers burnt in."""
    import av
    import numpy as np

    from streamparts.sources.pattern import read_number

    number = 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for number, picture in enumerate(container.decode(stream), start=1):
            index = number - 1
            if picture.time is None or abs(picture.time - index / RATE) > _TICK:
                return f"frame {index} is at {picture.time} s, not at {index / RATE:.3f} s"
            image = np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)
            if (seen := read_number(image)) != index:
                return f"frame {index} shows frame {seen}"
    return None if number == num_frames else f"{number} frames, not {num_frames}"
