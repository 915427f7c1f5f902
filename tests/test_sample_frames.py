"""Frames for trying a model: spread over the input, at the model's size, plus generated ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from streamparts.bundle.load import Bundle
from streamparts.errors import VideoError
from streamparts.parity.sample_frames import media_in, odd_pictures, sample_frames, with_odd_frames

HW = (64, 64)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Nine images, each of one grey."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(9):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((40, 60, 3), 20 * number, np.uint8))
    return folder


def test_frames_are_real_ones_of_the_video_and_odd_ones_of_the_models_size(video: Path) -> None:
    frames = with_odd_frames(sample_frames(video, HW, 5))
    assert frames.num_real == 5 and frames.names[:2] == ("numbered.mp4 #0", "numbered.mp4 #8")
    assert frames.images.shape == (5 + 7, 64, 64, 3) and len(frames.names) == 12
    named = dict(zip(frames.names, frames.images, strict=True))
    assert named["black"].max() == 0 and len(np.unique(named["noise"])) > 200
    for flat, axis in (("one pixel high", 0), ("one pixel wide", 1)):
        content = named[flat].any(axis=(1 - axis, 2))
        assert content.sum() < 8 <= named[flat].any(axis=(axis, 2)).sum()


def test_frames_are_prepared_as_the_runtime_prepares_them(video: Path, bundle: Bundle) -> None:
    from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
    from streamparts.sources import open_source
    from streamparts.tracking.segment import PartSegmenter

    segmenter = PartSegmenter(bundle, OnnxRuntimeBackend(bundle))
    with open_source(str(video)) as source:
        wanted = [segmenter.prepare(frame).image for frame in source][::8]
    assert np.array_equal(sample_frames(video, bundle.spec.input_hw, 5).images, wanted)


def test_odd_pictures_of_a_single_pixel_are_pictures() -> None:
    assert all(min(picture.shape) >= 1 for picture in odd_pictures(np.zeros((1, 1, 3), np.uint8)).values())


def test_frames_are_spread_over_the_files_of_a_folder(pictures: Path) -> None:
    assert [path.name[0] for path in media_in(pictures, 3)] == list("036147258")
    frames = sample_frames(pictures, HW, 3)
    assert frames.names == ("0.png #0", "3.png #0", "6.png #0") and frames.num_real == 3
    assert [image[32, 32, 0] for image in frames.images] == [0, 60, 120]
    assert len(sample_frames(pictures, HW, 100).names) == 9


def test_no_more_frames_than_asked_for(video: Path, pictures: Path) -> None:
    (pictures / "video.mp4").write_bytes(video.read_bytes())
    for count in (1, 7, 12):
        assert len(sample_frames(pictures, HW, count).names) <= count
    assert len(sample_frames(video, HW, 12).names) == 12


def test_what_cannot_be_read_is_left_out_of_a_folder_and_refused_by_itself(pictures: Path) -> None:
    (pictures / "3.png").write_bytes(b"no picture")
    assert sample_frames(pictures, HW, 3).names == ("0.png #0", "6.png #0", "1.png #0"), "another one in its place"
    with pytest.raises(VideoError, match=r"3\.png"):
        sample_frames(pictures / "3.png", HW, 3)


def test_nothing_to_compare_on_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"video.*folder"):
        sample_frames(tmp_path, HW, 5)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(VideoError, match=r"none.*frames"):
        sample_frames(tmp_path, HW, 5)
    with pytest.raises(VideoError, match=r"broken\.mp4"):
        sample_frames(tmp_path / "broken.mp4", HW, 5)
    with pytest.raises(VideoError, match="no such file"):
        sample_frames(tmp_path / "none.mp4", HW, 5)
