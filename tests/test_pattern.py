"""The test pattern: its counter is readable, it moves, it is paced and can be closed."""

import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from streamparts.errors import VideoError
from streamparts.sources import open_source
from streamparts.sources.pattern import NUM_BITS, burn_number, read_number
from tests.media import decode, write_video


@pytest.mark.parametrize("number", [0, 1, 9_999, 43_690, 2**NUM_BITS - 1])
@pytest.mark.parametrize(("height", "width"), [(720, 1280), (96, 128), (171, 333)])
def test_a_number_is_read_back_at_any_size(number: int, height: int, width: int) -> None:
    import cv2

    image = np.full((height, width, 3), 120, np.uint8)
    burn_number(image, number)
    assert read_number(image) == number
    half = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    assert read_number(np.asarray(half, np.uint8)) == number


def test_the_counter_survives_strong_compression_at_720p(tmp_path: Path) -> None:
    with open_source("test://?size=1280x720&seconds=1.5&seed=3") as source:
        images = [np.asarray(frame.image) for frame in source]
    path = write_video(tmp_path / "a.mp4", images, options={"crf": "45", "preset": "ultrafast"})
    assert [read_number(np.asarray(image, np.uint8)) for image, _ in decode(path)] == list(range(45))


def test_times_and_sizes_are_those_asked_for() -> None:
    with open_source("test://?size=321x97&fps=30000/1001&seconds=2") as source:
        frames = list(source)
        assert source.num_frames == len(frames) == 60
        assert source.description == "321x97 test pattern, 29.97 fps, 60 frames"
    assert {(frame.height, frame.width) for frame in frames} == {(97, 321)}
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(1001 * n, 30000) for n in range(60)]
    assert [frame.index for frame in frames] == list(range(60))


def test_the_puppet_moves_and_each_seed_has_its_own() -> None:
    pictures = {}
    for seed in (0, 1):
        with open_source(f"test://?size=320x240&seconds=1&seed={seed}") as source:
            pictures[seed] = [np.asarray(frame.image)[40:].astype(int) for frame in source]
    first, last = pictures[0][0], pictures[0][-1]
    moved = np.abs(first - last).max(axis=2) > 20
    assert 0.02 < moved.mean() < 0.5, "a part of the picture moves, the wall does not"
    assert np.abs(first - pictures[1][0]).mean() > 10
    with open_source("test://?size=320x240&seconds=1") as again:
        assert np.array_equal(np.asarray(next(iter(again)).image)[40:], first)


def test_a_live_pattern_keeps_the_clocks_pace_and_ends_when_closed() -> None:
    seen, ended = [], threading.Event()
    source = open_source("test://?size=64x64&fps=20&live=1")
    assert source.live
    assert source.num_frames is None

    def work() -> None:
        for frame in source:
            seen.append(frame)
        ended.set()

    threading.Thread(target=work, daemon=True).start()
    assert not ended.wait(1.0)
    source.close()
    assert ended.wait(30), "closing must end it"
    assert len(seen) >= 2
    early = [f.decoded_at - seen[0].decoded_at - float(f.pts_seconds - seen[0].pts_seconds) for f in seen]
    assert min(early) > -0.05 - 1 / 20, "no frame comes before it is due"


@pytest.mark.parametrize(
    "word", ["test://?size=640", "test://?fps=0", "test://?sise=3x3", "test://host", "test://?live=2"]
)
def test_options_that_make_no_sense_are_refused_with_how_to_write_them(word: str) -> None:
    with pytest.raises(VideoError, match=r"size=640x360"):
        open_source(word)
