"""Records part of a live source as a clip for training."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.video.stream import VideoStream

from streamparts.errors import VideoError
from streamparts.sources import Source
from streamparts.sources.rescale import Rescaler

TIME_BASE = Fraction(1, 90_000)
CODEC, QUALITY = "libx264", {"crf": "16", "preset": "veryfast"}
"""High quality: the trainers use edges."""
ADVICE = "move every limb, turn around, step closer and back; keep the camera still and stay in view"
EVERY_SECONDS = 15.0
"""Seconds between two progress lines."""


def record(source: Source, clip: Path, seconds: float, say: Callable[[str], None]) -> int:
    """Write the first `seconds` of a source, or its first segment if that is shorter, to `clip`, an .mp4 file. Returns
    the number of frames. Raises VideoError if it cannot be written or has fewer than two frames."""
    say(f"recording {seconds:g} s: {ADVICE}")
    rescaler, count, began, last_said, last_pts = Rescaler(), 0, 0.0, 0.0, -1
    try:
        with av.open(str(clip), "w") as container:
            stream = cast(VideoStream, container.add_stream(CODEC, options=QUALITY))
            stream.time_base = stream.codec_context.time_base = TIME_BASE
            for frame in source:
                began = frame.pts_seconds if not count else began
                passed = frame.pts_seconds - began
                pts = round(passed / TIME_BASE)
                if passed >= seconds or frame.segment:
                    break
                if pts <= last_pts:
                    continue
                picture = rescaler.yuv(frame)
                if not count:
                    stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "yuv420p"
                picture.pts, picture.time_base, last_pts = pts, TIME_BASE, pts
                container.mux(stream.encode(picture))
                count += 1
                if passed - last_said >= EVERY_SECONDS:
                    last_said = passed
                    say(f"{seconds - passed:.0f} s left")
            container.mux(stream.encode(None))
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{clip}: cannot be recorded ({error})") from error
    if count < 2:
        raise VideoError(f"{source.name}: {count} frame(s) recorded; a model needs at least two")
    return count
