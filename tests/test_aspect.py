"""Pixels that are not square, and images that use only some of their bits."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from streamparts.data import Tracks
from streamparts.geometry import Letterbox
from streamparts.sinks.overlay.sink import OverlaySink
from streamparts.sinks.overlay.style import OverlayStyle
from streamparts.sinks.preview.sink import shrunk
from streamparts.sources import open_source, trimmed
from streamparts.sources.rescale import Rescaler
from tests.media import picture

ASPECT = Fraction(16, 11)


def wide_film(path: Path, rotation: int = 0) -> Path:
    """Five images with pixels that are wider than high, as in DV."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        stream.codec_context.sample_aspect_ratio = ASPECT
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), "rgb24")))
        container.mux(stream.encode(None))
    return path


def tracks_of(frame: object, height: int, width: int) -> Tracks:
    return Tracks(
        frame,  # type: ignore[arg-type]
        Letterbox.fit((height, width), (64, 64)),
        ("a",),
        np.zeros((64, 64), np.uint8),
        np.array([[[9, 0, 40], [0, 9, 30]]], np.float32),
        np.ones(1, np.float32),
        np.ones(1, np.float32),
        np.ones(1, np.bool_),
    )


@pytest.mark.parametrize(("rotation", "aspect"), [(0, ASPECT), (90, 1 / ASPECT), (180, ASPECT)])
def test_the_aspect_of_a_pixel_is_told_as_it_is_displayed(tmp_path: Path, rotation: int, aspect: Fraction) -> None:
    with trimmed(open_source(wide_film(tmp_path / "a.mp4", rotation)), every=2) as source:
        assert source.pixel_aspect == aspect  # type: ignore[attr-defined]
        assert f"pixels {aspect} as wide as high" in source.description


@pytest.mark.parametrize("side_by_side", [False, True])
def test_the_overlay_keeps_the_aspect_of_a_pixel(tmp_path: Path, side_by_side: bool) -> None:
    with open_source(wide_film(tmp_path / "a.mp4")) as source:
        style = OverlayStyle(side_by_side=side_by_side)
        sink = OverlaySink(tmp_path / "o.mp4", source.rate, style=style, pixel_aspect=source.pixel_aspect)  # type: ignore[attr-defined]
        for frame in source:
            sink.write(tracks_of(frame, 96, 128))
        sink.close()
    with av.open(str(tmp_path / "o.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.sample_aspect_ratio == ASPECT
        assert stream.width == (256 if side_by_side else 128)


def test_the_preview_shows_square_pixels(tmp_path: Path) -> None:
    with open_source(wide_film(tmp_path / "a.mp4")) as source:
        tracks = tracks_of(next(iter(source)), 96, 128)
        small = shrunk(tracks, Rescaler(), pixel_aspect=ASPECT)
    assert (small.frame.height, small.frame.width) == (96, round(128 * ASPECT))
    assert small.centers[0] == pytest.approx([40 * small.frame.width / 128, 30])


@pytest.mark.parametrize(("bits", "channels"), [(12, 1), (10, 1), (12, 3), (14, 1), (14, 3)])
def test_few_bits_in_a_picture_of_sixteen_are_said(tmp_path: Path, bits: int, channels: int) -> None:
    shape = (48, 64) if channels == 1 else (48, 64, 3)
    pixels = np.random.default_rng(0).integers(1 << (bits - 1), 1 << bits, shape, np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    with open_source(str(tmp_path)) as source:
        assert source.notes == (  # type: ignore[attr-defined]
            f"its 16-bit pixels use only the lowest {bits} bits, so it is {'dark' if bits == 14 else 'nearly black'}: "
            f"multiply them by {1 << (16 - bits)} first",
        )


@pytest.mark.parametrize("dark", [False, True])
def test_a_picture_that_uses_its_sixteen_bits_gets_no_note(tmp_path: Path, dark: bool) -> None:
    """A dark one as from a camera that puts its 12 bits into the upper ones."""
    pixels = np.random.default_rng(0).integers(0, 1 << (8 if dark else 16), (48, 64), np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), pixels << (4 if dark else 0))
    with open_source(str(tmp_path)) as source:
        assert source.notes == ()  # type: ignore[attr-defined]
