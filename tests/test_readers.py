"""Clips accepted by the sampler: videos and folders of images, including awkward ones."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("decord")

from streamparts.errors import VideoError
from tests.media import decode, numbered_video, picture, read_number
from train.frames.clips import ClipFolder, load_clip
from train.frames.own_reader import OwnReader, agrees
from train.frames.readers import VideoReader, find_clips, open_reader

DAVIS = Path(__file__).parents[2] / "shared" / "data" / "quadruped" / "davis" / "dog" / "frames"


def write_pictures(folder: Path, numbers: list[int], suffix: str = "png") -> Path:
    folder.mkdir(parents=True)
    for number in numbers:
        cv2.imwrite(str(folder / f"frame_{number}.{suffix}"), picture(number)[..., ::-1])
    return folder


def test_a_folder_of_pictures_is_one_clip_in_natural_order(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a", [0, 1, 2, 9, 10, 11, 100])
    folder = ClipFolder.open(tmp_path, 128)
    assert [clip.name for clip in folder.clips] == ["a"]
    numbers = [read_number(folder.clips[0].frames[i][16:112]) for i in range(7)]
    assert numbers == [0, 1, 2, 9, 10, 11, 100]


def test_videos_and_folders_of_pictures_at_any_depth_are_found(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    numbered_video(tmp_path / "x" / "v.mp4", 4)
    write_pictures(tmp_path / "davis" / "dog" / "frames", [0, 1])
    write_pictures(tmp_path / "davis" / "cat" / "frames", [0, 1], "jpg")
    write_pictures(tmp_path / ".hidden", [0, 1])
    cv2.imwrite(str(tmp_path / "x" / "poster.png"), picture(0))  # beside a video: no clip
    found = [str(clip.relative_to(tmp_path)) for clip in find_clips(tmp_path)]
    assert found == ["davis/cat/frames", "davis/dog/frames", "x/v.mp4"]
    names = [clip.name for clip in ClipFolder.open(tmp_path, 32).clips]
    assert names == found


def test_the_folder_itself_may_be_the_clip_of_pictures(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "frames", [3, 4, 5])
    assert [clip.name for clip in ClipFolder.open(folder, 32).clips] == ["frames"]


def test_a_folder_without_clips_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"no video in .*\.mp4.*folders of images"):
        find_clips(tmp_path)


def test_what_cannot_be_used_is_reported_by_name_and_the_rest_is_used(tmp_path: Path) -> None:
    numbered_video(tmp_path / "good.mp4", 5)
    numbered_video(tmp_path / "one.mp4", 1)
    (tmp_path / "empty.mp4").write_bytes(b"")
    whole = (tmp_path / "good.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    write_pictures(tmp_path / "single", [1])
    broken = write_pictures(tmp_path / "broken", [1, 2])
    (broken / "frame_2.png").write_bytes(b"no picture")
    sizes = write_pictures(tmp_path / "sizes", [1])
    cv2.imwrite(str(sizes / "frame_2.png"), picture(2, 48, 64))
    folder = ClipFolder.open(tmp_path, 32)
    assert [clip.name for clip in folder.clips] == ["good.mp4"]
    told = "\n".join(folder.failures)
    for words in (
        "one.mp4: 1 frame(s)", "empty.mp4: cannot be decoded", "cut.mp4: cannot be decoded", "single: 1 frame(s)",
        "broken: cannot be decoded (frame_2.png", "sizes: cannot be decoded (the size changes from 128x96 to 64x48",
    ):  # fmt: skip
        assert words in told
    assert not list((tmp_path / ".streamparts-cache").glob("*.tmp"))


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (180, 2), (270, 3)])
def test_a_rotated_video_is_read_as_displayed(rotation: int, turns: int, tmp_path: Path) -> None:
    path = numbered_video(tmp_path / "turned.mp4", 3, rotation=rotation)
    shown = open_reader(path)[2].astype(int)
    assert np.abs(shown - np.rot90(picture(2), turns)).mean() < 12


def test_a_variable_rate_video_gives_every_frame_once_and_is_reported(tmp_path: Path) -> None:
    pts = [0, 1, 2, 10, 11, 30, 31, 32]
    path = numbered_video(tmp_path / "vfr.mkv", 8, pts=pts, time_base=Fraction(1, 30))
    clip = load_clip(path, 128, tmp_path)
    assert [read_number(clip.frames[i][16:112]) for i in range(8)] == list(range(8))
    assert clip.notes == ("variable frame rate",)


OPEN = {"g": "12", "bf": "3", "x264-params": "open-gop=1"}
"""Frames before a keyframe that need it, and the group of pictures before."""


@pytest.mark.parametrize("options", [{"g": "10", "bf": "2"}, OPEN], ids=["closed", "open"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "ts", "avi", "mpg"])
def test_frames_of_a_video_come_in_any_order(suffix: str, options: dict[str, str], tmp_path: Path) -> None:
    reader = open_reader(numbered_video(tmp_path / f"a.{suffix}", 30, options=options))
    assert [read_number(reader[i]) for i in (29, 3, 17, 0, 16, 17, 28)] == [29, 3, 17, 0, 16, 17, 28]


def test_a_file_that_decord_misreads_is_read_by_the_runtimes_source_and_reported(tmp_path: Path) -> None:
    right, wrong = (
        numbered_video(tmp_path / f"a.{suffix}", 30, options={"g": "10", "bf": "2"}) for suffix in ("mp4", "ts")
    )
    assert [type(open_reader(path)) for path in (right, wrong)] == [VideoReader, OwnReader]
    misread = VideoReader(wrong)
    assert [read_number(misread[i]) for i in (0, 5)] != [0, 5], "otherwise this test needs another file"
    assert load_clip(wrong, 128, tmp_path).notes == OwnReader.notes
    assert load_clip(right, 128, tmp_path).notes == ()


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_reader_that_is_one_frame_off_does_not_agree(shift: int, tmp_path: Path) -> None:
    reader = VideoReader(numbered_video(tmp_path / "a.mp4", 30))
    assert agrees(tmp_path / "a.mp4", reader.seconds, reader.__getitem__)
    assert not agrees(tmp_path / "a.mp4", reader.seconds, lambda index: reader[(index + shift) % 30])


def test_the_wild_videos_that_decord_misreads_are_known(real_videos: Path) -> None:
    paths = [
        real_videos / "nasa_13013.mp4",
        real_videos / "bikes.mp4",
        real_videos / "derived" / "bikes_h264_bframes.ts",
    ]
    assert [type(open_reader(path)) for path in paths] == [OwnReader, VideoReader, OwnReader]
    for path in (paths[0], paths[2]):
        reader = OwnReader(path)
        frames = {index: reader[index] for index in (len(reader) - 1, 40, 41, 7)}
        for index, (image, _) in enumerate(decode(path)):
            if index in frames:
                assert np.abs(frames[index].astype(int) - image).mean() < 3


def test_awkward_videos_from_the_wild_are_used_or_reported(real_videos: Path, tmp_path: Path) -> None:
    names = (
        "video_90.mov",
        "vp8.mkv",
        "avc.avi",
        "dash_video_init.mp4",
        "flac.mp4",
        "h264_10bits.mp4",
        "unordered.mov",
    )
    for name in names:
        shutil.copy(real_videos / name, tmp_path / name)
    shutil.copy(real_videos / "derived" / "bikes_oddsize_333x171_yuv444.mp4", tmp_path / "odd.mp4")
    folder = ClipFolder.open(tmp_path, 32)
    assert {clip.name for clip in folder.clips} >= {"video_90.mov", "avc.avi", "h264_10bits.mp4", "odd.mp4"}
    assert len(folder.clips) + len(folder.failures) == len(names) + 1
    assert any(line.startswith("vp8.mkv: 1 frame") for line in folder.failures)


def test_a_folder_of_real_frames_is_a_clip_whose_camera_moves(tmp_path: Path) -> None:
    if not DAVIS.is_dir():
        pytest.skip("the real frames are not here: ../shared/data/quadruped/davis is missing")
    folder = ClipFolder.open(DAVIS, 64, tmp_path)
    assert len(folder.clips[0].frames) == len(list(DAVIS.iterdir()))
    assert folder.clips[0].scenery.moves and "the camera moves" in folder.notes[0]
