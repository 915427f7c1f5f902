"""No sink keeps frames: memory is constant over 20,000 of them."""

import gc
import mmap
import statistics
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from streamparts.bundle.load import Bundle
from streamparts.data import Frame, Tracks
from streamparts.sinks import Sink
from streamparts.sinks.background import BackgroundSink
from streamparts.sinks.group import Member, SinkGroup
from streamparts.sinks.overlay.sink import OverlaySink
from streamparts.sinks.overlay.style import DRAWABLE, OverlayStyle
from streamparts.sinks.preview.page import Page
from streamparts.sinks.preview.sink import PreviewSink
from streamparts.tracksfile.writing import JsonlSink
from tests.media import ArraySource
from tests.sound import sound_video
from tests.test_overlay import tracks_of_square

SPAN = 4_000
"""Frames between two measurements of the memory."""
NUM_FRAMES = 5 * SPAN
STYLE = OverlayStyle.drawing(DRAWABLE, trail_seconds=3)

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def endless_overlay(folder: Path, bundle: Bundle) -> Sink[Tracks]:
    return OverlaySink(folder / "o.mp4", Fraction(30), style=STYLE, endless=True)


def overlay_with_sound(folder: Path, bundle: Bundle) -> Sink[Tracks]:
    sound = sound_video(folder / "a.mp4", 300)
    return OverlaySink(folder / "o.mp4", Fraction(30), audio=sound)


def tracks_and_preview(folder: Path, bundle: Bundle) -> Sink[Tracks]:
    """What one of them kept, or the group itself, would be seen as if each were alone."""
    tracks_file = BackgroundSink(JsonlSink(folder / "t.jsonl", bundle, ArraySource(1), masks=True))
    return SinkGroup([Member("t", tracks_file), Member("p", PreviewSink(Page(), STYLE), is_file=False)])


@pytest.mark.slow
@pytest.mark.parametrize("make", [endless_overlay, overlay_with_sound, tracks_and_preview])
def test_memory_stays_flat(tmp_path: Path, bundle: Bundle, make: Callable[[Path, Bundle], Sink[Tracks]]) -> None:
    """A kept frame of 16x16 would be 800 bytes at least, 3.2 MB in every span; a kept result as much again.

    What is there once for all, such as an index whose room doubles or the noise of other tests, is in few spans."""
    resident: list[int] = []
    sink = make(tmp_path, bundle)
    try:
        for index in range(NUM_FRAMES):
            image = np.full((16, 16, 3), index % 200, np.uint8)
            frame = Frame(index, index, Fraction(1, 30), image, 0, 16, 16, 0.0)
            seen = np.array([index % 16 < 2])  # drawing takes longest
            sink.write(tracks_of_square((16, 16), frame=frame, visible=seen))
            if (index + 1) % SPAN == 0:
                resident.append(resident_bytes())
    finally:
        sink.close()
    grown = [after - before for before, after in pairwise(resident)]
    assert statistics.median(grown) < 1.6e6, f"grown by {grown} bytes in spans of {SPAN} frames"
