"""Frames that look like the one before: what is not done again, and that the results are the same."""

import json
import threading
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.bundle.load import Bundle
from streamparts.data import Frame, NetworkOutputs, Tracks
from streamparts.runtime.stream import run
from streamparts.runtime.tracker import Tracker
from streamparts.sinks.overlay.drawing import Painter
from streamparts.sinks.overlay.sink import OverlaySink
from streamparts.sinks.overlay.style import OverlayStyle
from streamparts.sources import sameness
from streamparts.sources.sameness import same_pixels
from streamparts.tracking.segment import PartSegmenter
from tests.media import decode, frame_of, picture, write_video
from tests.test_overlay import tracks_of_square


def image_of(pixels: np.ndarray, pix_fmt: str = "yuv420p") -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=pix_fmt, threads=1)


class Counting(OnnxRuntimeBackend):
    """Counts the images."""

    num_images = 0
    _lock = threading.Lock()

    def run(self, images: np.ndarray) -> NetworkOutputs:
        with self._lock:
            self.num_images += len(images)
        return super().run(images)


@pytest.fixture
def backend(bundle: Bundle) -> Counting:
    return Counting(bundle, threads=1)


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """A clip in which every fourth frame is new."""
    images = [picture(number // 4) for number in range(24)]
    return write_video(tmp_path / "slides.mp4", images, options={"crf": "0", "preset": "ultrafast"})


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p", "yuv444p", "gbrp"])
def test_frames_are_the_same_if_every_pixel_is(pix_fmt: str) -> None:
    one, other = (frame_of(image_of(picture(3), pix_fmt)) for _ in range(2))
    assert same_pixels(one, other)
    plane = np.frombuffer(other.image.planes[-1], np.uint8)  # type: ignore[call-overload,union-attr]
    plane[-other.image.planes[-1].line_size + 5] ^= 1  # type: ignore[union-attr]
    assert not same_pixels(one, other)


def test_frames_of_another_size_rotation_or_colour_space_differ() -> None:
    one = frame_of(image_of(picture(3)))
    assert not same_pixels(one, frame_of(image_of(picture(3, 96, 96))))
    assert not same_pixels(one, frame_of(image_of(picture(3)), rotation=180))
    tagged = image_of(picture(3))
    tagged.colorspace = 1
    assert not same_pixels(one, frame_of(tagged))


def test_layouts_that_are_not_compared_differ() -> None:
    for pix_fmt in ("rgb24", "gray", "yuv420p10le"):
        frame = frame_of(image_of(picture(3), pix_fmt))
        assert not same_pixels(frame, frame)


def test_the_network_runs_once_on_equal_frames(bundle: Bundle, backend: Counting) -> None:
    segmenter = PartSegmenter(bundle, backend)
    found = [segmenter(frame_of(image_of(picture(number))))[1] for number in (1, 1, 1, 2, 1)]
    assert backend.num_images == 3
    for again in (*found[1:3], found[4]):
        assert np.array_equal(again.labels, found[0].labels)
        assert np.array_equal(again.affines, found[0].affines)
        assert not np.shares_memory(again.labels, found[0].labels)
    assert not np.array_equal(found[3].labels, found[0].labels)


def test_a_frame_is_scaled_again_until_two_equal_ones_came_before(bundle: Bundle, backend: Counting) -> None:
    segmenter = PartSegmenter(bundle, backend)
    images = [segmenter.prepare(frame_of(image_of(picture(number)))).image for number in (1, 1, 1, 1, 2, 2)]
    same = [np.shares_memory(one, other) for one, other in pairwise(images)]
    assert same == [False, True, True, False, False]


def test_a_frame_that_differs_outside_its_middle_row_is_scaled_again(bundle: Bundle, backend: Counting) -> None:
    segmenter = PartSegmenter(bundle, backend)
    pixels = picture(1)
    images = []
    for level in (0, 0, 200):
        pixels[:8] = level
        images.append(segmenter.prepare(frame_of(image_of(pixels))).image)
    assert np.array_equal(images[0], images[1])
    assert not np.array_equal(images[1], images[2])


def test_an_array_that_the_caller_writes_again_is_a_new_frame(bundle: Bundle, backend: Counting) -> None:
    height, width = bundle.spec.input_hw
    tracker, memory = Tracker(bundle, backend=backend), np.zeros((height, width, 3), np.uint8)
    centers = []
    for number in (1, 9, 9):
        memory[:] = picture(number, height, width)
        centers.append(tracker.update(memory, number + len(centers) / 10).centers)
    assert not np.array_equal(centers[0], centers[1])
    assert np.array_equal(centers[1], centers[2])
    assert backend.num_images == 2


@pytest.mark.parametrize("cores", [1, 2])
def test_a_run_gives_what_it_gives_without_comparing(
    slides: Path, bundle: Bundle, backend: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr("streamparts.backends.parallel.usable_cores", lambda: cores)

    def outputs(name: str) -> tuple[list[object], list[tuple[np.ndarray, Fraction]]]:
        files = tmp_path / f"{name}.jsonl", tmp_path / f"{name}.mp4"
        run(slides, bundle, backend=backend, tracks=files[0], overlay=files[1], masks=True)
        lines = [json.loads(line) for line in files[0].read_text().splitlines()]
        return lines[1:], list(decode(files[1]))

    lines, images = outputs("compared")
    compared, backend.num_images = backend.num_images, 0
    monkeypatch.setattr(sameness, "MOST_BYTES", 0)
    monkeypatch.setattr("streamparts.tracking.segment._MOST_KEPT", 0)
    wanted = outputs("not compared")
    assert lines == wanted[0]
    assert (compared, backend.num_images) == (6, 24)
    assert len(images) == 24
    for (image, time), (other, other_time) in zip(images, wanted[1], strict=True):
        assert time == other_time
        assert np.array_equal(image, other)


@pytest.fixture
def num_painted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    painted, paint = [], Painter.paint

    def counted(self: Painter, *args: object) -> None:
        painted.append(1)
        paint(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Painter, "paint", counted)
    return lambda: len(painted)


def drawn_on_a_still(path: Path, every: list[Tracks], style: OverlayStyle) -> int:
    sink = OverlaySink(path, Fraction(30), style=style)
    for tracks in every:
        sink.write(tracks)
    sink.close()
    return sum(1 for _ in decode(path))


def still(index: int, **changes: object) -> Tracks:
    image = image_of(np.full((96, 128, 3), 128, np.uint8))
    return tracks_of_square(frame=Frame(index, index, Fraction(1, 30), image, 0, 96, 128, 0.0), **changes)


def test_from_the_third_on_equal_tracks_on_equal_frames_are_not_drawn(
    tmp_path: Path, num_painted: Callable[[], int]
) -> None:
    hidden = np.zeros(1, np.bool_)
    every = [still(0), still(1), still(2), still(3, visible=hidden), still(4, visible=hidden), still(5)]
    assert drawn_on_a_still(tmp_path / "a.mp4", every, OverlayStyle()) == 6
    assert num_painted() == 4, "the first two, the one whose tracks differ, and the one after it"


def test_trails_are_drawn_on_every_frame(tmp_path: Path, num_painted: Callable[[], int]) -> None:
    assert drawn_on_a_still(tmp_path / "a.mp4", [still(0), still(1)], OverlayStyle(trails=True)) == 2
    assert num_painted() == 2
