"""Images as a video: order, times, sizes and errors."""

from pathlib import Path

import numpy as np
import pytest

from streamparts.errors import VideoError
from streamparts.sources import open_source
from streamparts.sources.rescale import Rescaler
from tests.media import picture, picture_file, read_number, write_video


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with twelve images in shots/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shots").mkdir()
    for number in range(12):
        picture_file(tmp_path / "shots" / f"shot{number}.png", number)
    return tmp_path


def read(word: str | Path, **options: float) -> tuple[list[int], list[float]]:
    rescaler = Rescaler()
    with open_source(word, **options) as source:  # type: ignore[arg-type]
        pairs = [(read_number(rescaler.rgb(frame)), frame.pts_seconds) for frame in source]
    return [number for number, _ in pairs], [seconds for _, seconds in pairs]


@pytest.mark.parametrize("word", ["shots", "shots/*.png", "shots/shot%d.png"])
def test_pictures_come_in_the_order_of_their_numbers_at_exact_times(folder: Path, word: str) -> None:
    numbers, seconds = read(word, fps=10)
    assert numbers == list(range(12))
    assert seconds == [number / 10 for number in range(12)]
    assert read(word)[1] == [number / 25 for number in range(12)]


def test_a_missing_number_leaves_its_time_empty_and_a_damaged_picture_is_counted(tmp_path: Path) -> None:
    for number in (7, 8, 10, 11):
        picture_file(tmp_path / f"p{number:04d}.png", number)
    (tmp_path / "p0010.png").write_bytes(b"no picture")
    with open_source(str(tmp_path / "p%04d.png"), fps=25) as source:
        times = [frame.pts for frame in source]
        assert source.decode_errors == 1
    assert times == [0, 1, 4]


def test_pictures_of_another_size_begin_a_new_segment(tmp_path: Path) -> None:
    for number, size in enumerate([(96, 128), (96, 128), (64, 200), (96, 128)]):
        picture_file(tmp_path / f"{number}.png", number, *size)
    with open_source(tmp_path) as source:
        frames = list(source)
    assert [frame.segment for frame in frames] == [0, 0, 1, 2]
    assert [(frame.height, frame.width) for frame in frames] == [(96, 128), (96, 128), (64, 200), (96, 128)]


@pytest.mark.parametrize("name", ["a.jpg", "100%d.png", "a.webp"])
def test_a_single_picture_is_a_video_of_one_frame(tmp_path: Path, name: str) -> None:
    if name == "100%d.png":
        (tmp_path / name).write_bytes(picture_file(tmp_path / "x.png", 77).read_bytes())
    else:
        picture_file(tmp_path / name, 77)
    assert read(tmp_path / name) == ([77], [0.0])


def test_grey_alpha_and_deep_pictures_keep_their_brightness(tmp_path: Path) -> None:
    for index, pix_fmt in enumerate(["gray", "rgba", "gray16be", "rgb48be", "rgb24"]):
        write_video(tmp_path / f"{index}.png", [picture(index)], codec="png", pix_fmt=pix_fmt)
    rescaler = Rescaler()
    with open_source(tmp_path) as source:
        images = [rescaler.rgb(frame) for frame in source]
    assert [read_number(image) for image in images] == list(range(5))
    assert np.ptp([image[20:80, :20].mean() for image in images]) < 3


def test_a_folder_without_a_readable_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(VideoError, match=r"image.*could"):
        open_source(tmp_path)
    with pytest.raises(VideoError, match="no such images"):
        open_source(str(tmp_path / "none_%d.png"))
