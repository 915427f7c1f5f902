from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from streamparts.data import Frame
from streamparts.errors import VideoError
from streamparts.sources import FileSource, open_source
from streamparts.sources.rescale import Rescaler
from tests.media import decode, numbered_video, picture, read_number, write_video

REAL_FRAME_COUNTS = {
    "av1_video.mkv": 125,
    "avc.avi": 3,
    "big_buck_bunny_432_433.webm": 24,
    "bt709_full_range.mp4": 30,
    "h264_10bits.mp4": 30,
    "h265_video.mp4": 10,
    "newtonscradle.gif": 36,
    "transparent.webm": 150,
    "video_90.mov": 3,
    "video_with_failing_audio.mp4": 280,
    "vp9.mkv": 1,
    "derived/bikes_h264_bframes.ts": 120,
    "derived/bikes_hevc_main10_longgop.mkv": 80,
    "derived/bikes_interlaced_tff_h264.mp4": 45,
    "derived/bikes_mjpeg.avi": 40,
    "derived/bikes_oddsize_333x171_yuv444.mp4": 40,
    "derived/bikes_truncated.mkv": 89,
}


def read_all(path: Path) -> list[tuple[Frame, np.ndarray]]:
    rescaler = Rescaler()
    with open_source(path) as source:
        return [(frame, rescaler.rgb(frame)) for frame in source]


def test_every_frame_comes_once_and_in_order(video: Path) -> None:
    frames = read_all(video)
    assert [read_number(image) for _, image in frames] == list(range(40))
    assert [frame.index for frame, _ in frames] == list(range(40))


def test_the_source_says_what_it_is(video: Path) -> None:
    with open_source(video) as source:
        assert (source.height, source.width) == (96, 128)
        assert source.rate == 30
        assert source.num_frames == 40
        assert source.name == "numbered.mp4"
        assert source.description == "128x96 h264, 30 fps, about 40 frames"


def test_times_of_a_variable_rate_file_are_exact(tmp_path: Path) -> None:
    pts = [1000, 1040, 1100, 1500, 1501, 2777]
    images = (picture(number) for number in range(6))
    path = write_video(tmp_path / "vfr.mkv", images, pts=pts, time_base=Fraction(1, 1000))
    frames = [frame for frame, _ in read_all(path)]
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(p, 1000) for p in pts]
    assert frames[-1].pts_seconds == 2.777


def test_frames_that_are_stored_out_of_order_come_in_display_order(tmp_path: Path) -> None:
    path = numbered_video(tmp_path / "b.mp4", 50, options={"bf": "3", "x264-params": "b-adapt=0"})
    frames = read_all(path)
    assert [read_number(image) for _, image in frames] == list(range(50))
    times = [frame.pts for frame, _ in frames]
    assert times == sorted(set(times))


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_video_comes_out_as_displayed(tmp_path: Path, rotation: int) -> None:
    stored = np.rot90(picture(5), -rotation // 90)
    path = write_video(tmp_path / "turned.mp4", [stored] * 3, rotation=rotation)
    with open_source(path) as source:
        assert (source.height, source.width) == (96, 128)
    for frame, image in read_all(path):
        assert (frame.height, frame.width) == image.shape[:2] == (96, 128)
        assert np.abs(image.astype(int) - picture(5)).mean() < 6


@pytest.mark.parametrize("name", ["video_0.mov", "video_90.mov", "video_180.mov"])
def test_rotation_agrees_with_opencv_on_real_files(real_videos: Path, name: str) -> None:
    _, theirs = cv2.VideoCapture(str(real_videos / name)).read()
    ours = read_all(real_videos / name)[0][1]
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs[..., ::-1]).mean() < 6


@pytest.mark.parametrize(("name", "count"), REAL_FRAME_COUNTS.items())
def test_real_awkward_files_give_all_their_frames(real_videos: Path, name: str, count: int) -> None:
    with open_source(real_videos / name) as source:
        rescaler = Rescaler()
        sizes = {rescaler.rgb(frame).shape for frame in source if frame.index < 5}
        assert sizes == {(source.height, source.width, 3)}
    with open_source(real_videos / name) as source:
        assert sum(1 for _ in source) == count


def damaged(path: Path, video: Path) -> Path:
    """A copy with overwritten bytes in the middle of its image data."""
    data = bytearray(video.read_bytes())
    start = data.find(b"mdat")
    middle = start + (data.find(b"moov", start) - start) // 2
    data[middle : middle + 600] = bytes(600)
    path.write_bytes(data)
    return path


def test_a_bad_packet_costs_its_frame_and_is_counted(tmp_path: Path) -> None:
    options = {"g": "5", "bf": "0"}
    sound = numbered_video(tmp_path / "sound.mp4", 60, options=options)
    with open_source(damaged(tmp_path / "damaged.mp4", sound)) as source:
        numbers = [frame.index for frame in source]
        assert source.decode_errors > 0
        assert 50 <= len(numbers) < 60


def flipped(path: Path, video: Path, seed: int, among: slice = slice(None)) -> Path:
    """A copy with 60 bytes changed."""
    data = np.frombuffer(video.read_bytes(), np.uint8).copy()
    rng = np.random.default_rng(seed)
    places = rng.choice(np.arange(len(data))[among], 60, replace=False)
    data[places] ^= rng.integers(1, 256, 60, dtype=np.uint8)
    path.write_bytes(data.tobytes())
    return path


@pytest.mark.parametrize("seed", range(5))
def test_sixty_flipped_bytes_of_picture_data_invent_no_frame_and_every_changed_time_is_counted(
    tmp_path: Path, seed: int
) -> None:
    sound = numbered_video(tmp_path / "sound.mp4", 60, options={"g": "5"})
    start = sound.read_bytes().find(b"mdat") + 4
    pictures = slice(start, sound.read_bytes().find(b"moov", start) - 4)
    true_times = [frame.pts for frame, _ in read_all(sound)]
    with open_source(flipped(tmp_path / "flipped.mp4", sound, seed, pictures)) as source:
        times = [frame.pts for frame in source]
        assert len(set(times) - set(true_times)) <= source.repaired_times
    assert times == sorted(set(times))
    assert 30 <= len(times) <= 60


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
@pytest.mark.parametrize("seed", range(4))
def test_sixty_flipped_bytes_anywhere_end_in_frames_or_in_one_line(tmp_path: Path, suffix: str, seed: int) -> None:
    sound = numbered_video(tmp_path / f"sound{suffix}", 40)
    try:
        with open_source(flipped(tmp_path / f"flipped{suffix}", sound, seed)) as source:
            frames = list(source)
    except VideoError as error:
        assert "\n" not in str(error)
    else:
        assert len(frames) <= 42
        assert [frame.index for frame in frames] == list(range(len(frames)))


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".avi"])
def test_a_truncated_file_gives_the_frames_before_the_cut(tmp_path: Path, suffix: str) -> None:
    whole = numbered_video(tmp_path / f"whole{suffix}", 60, options={"tune": "zerolatency"})
    data = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[: 2 * len(data) // 3])
    numbers = [read_number(image) for _, image in read_all(cut)]
    assert 20 < len(numbers) < 60
    assert numbers[:-1] == list(range(len(numbers) - 1)), "the last one may be cut in half"


def test_missing_times_continue_at_the_average_rate_and_are_counted(tmp_path: Path) -> None:
    path = numbered_video(tmp_path / "raw.h264", 20)
    with open_source(path) as source:
        seconds = [frame.pts_seconds for frame in source]
        assert source.repaired_times > 0
    assert np.all(np.diff(seconds) > 0)


def test_times_that_go_backwards_are_continued_and_counted(real_videos: Path) -> None:
    with open_source(real_videos / "avc.avi") as source:
        assert [frame.pts for frame in source] == [1, 3, 4]
        assert source.repaired_times == 1


def test_a_size_that_changes_on_the_way_begins_a_new_segment(tmp_path: Path) -> None:
    path = tmp_path / "changing.ts"
    pieces = [numbered_video(tmp_path / f"{h}.ts", 6, h, 128) for h in (96, 64)]
    path.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    frames = read_all(path)
    assert [read_number(image) for _, image in frames] == 2 * list(range(6))
    assert [frame.index for frame, _ in frames] == list(range(12))
    assert [(frame.segment, frame.height, image.shape[0]) for frame, image in frames] == [(0, 96, 96)] * 6 + [
        (1, 64, 64)
    ] * 6
    assert all(frame.gap is None for frame, _ in frames)


def test_a_time_that_begins_anew_begins_a_new_segment_and_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "glued.ts"
    piece = numbered_video(tmp_path / "piece.ts", 45).read_bytes()
    path.write_bytes(2 * piece)
    frames = [frame for frame, _ in read_all(path)]
    assert [frame.segment for frame in frames] == [0] * 45 + [1] * 45
    assert [frame.pts for frame in frames[:45]] == [frame.pts for frame in frames[45:]]


def test_a_source_can_be_read_once(video: Path) -> None:
    with open_source(video) as source:
        assert sum(1 for _ in source) == 40
        with pytest.raises(ValueError, match="open it again"):
            iter(source)


def bad_inputs(folder: Path, video: Path) -> dict[str, tuple[Path, str]]:
    text, empty = folder / "text.mp4", folder / "empty.mp4"
    text.write_text("this is no video\n" * 50)
    empty.touch()
    cut, sound = folder / "cut.mp4", folder / "sound.mp4"
    cut.write_bytes(video.read_bytes()[:2000])
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate = 44100
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return {
        "missing": (folder / "none.mp4", "no such file"),
        "folder": (folder, "is a folder"),
        "text": (text, "not a readable video"),
        "empty": (empty, "not a readable video"),
        "truncated": (cut, "not a readable video"),
        "audio": (sound, "no video stream"),
        "misspelt": (Path("webcm"), "no such file"),
    }


@pytest.mark.parametrize("kind", ["missing", "folder", "text", "empty", "truncated", "audio", "misspelt"])
def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, video: Path, kind: str) -> None:
    path, reason = bad_inputs(tmp_path, video)[kind]
    with pytest.raises(VideoError, match=reason) as caught:
        open_source(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["derived/bikes_truncated60.mp4", "flac.mp4", "dash_video_init.mp4"])
def test_real_files_without_a_readable_frame_are_refused(real_videos: Path, name: str) -> None:
    with pytest.raises(VideoError):
        open_source(real_videos / name)


def test_scaling_keeps_the_picture_and_handles_padded_rows(tmp_path: Path) -> None:
    path = numbered_video(tmp_path / "odd.mp4", 3, 90, 202)
    with open_source(path) as source:
        frame = next(iter(source))
        small = Rescaler().rgb(frame, (45, 101))
        full = Rescaler().rgb(frame)
    assert small.shape == (45, 101, 3)
    assert full.shape == (90, 202, 3)
    expected = cv2.resize(full, (101, 45), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - expected).mean() < 3


def test_arrays_are_scaled_as_decoded_frames_are() -> None:
    image = picture(3)
    frame = Frame(0, 0, Fraction(1, 30), image, 0, 96, 128, 0.0)
    assert Rescaler().rgb(frame) is image
    assert np.array_equal(Rescaler().rgb(frame, (48, 64)), cv2.resize(image, (64, 48), interpolation=cv2.INTER_AREA))


def yuv_to_rgb(planes: np.ndarray, height: int, matrix: str, full_range: bool) -> np.ndarray:
    """Textbook conversion of a uniform 4:2:0 image's mean colour."""
    luma = planes[:height].mean()
    chroma = planes[height:].reshape(2, -1).mean(axis=1) - 128
    if not full_range:
        luma, chroma = (luma - 16) * 255 / 219, chroma * 255 / 224
    red_share, blue_share = {"601": (0.299, 0.114), "709": (0.2126, 0.0722)}[matrix]
    red = luma + 2 * (1 - red_share) * chroma[1]
    blue = luma + 2 * (1 - blue_share) * chroma[0]
    green = (luma - red_share * red - blue_share * blue) / (1 - red_share - blue_share)
    return np.array([red, green, blue])


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize(("matrix", "tag"), [("601", 5), ("709", 1)])
def test_colours_follow_the_matrix_and_range_a_frame_is_tagged_with(matrix: str, tag: int, full_range: bool) -> None:
    planes = np.concatenate([np.full((32, 32), 120), np.full((8, 32), 100), np.full((8, 32), 170)])
    image = av.VideoFrame.from_ndarray(planes.astype(np.uint8), "yuv420p")
    image.colorspace, image.color_range = tag, 2 if full_range else 1
    frame = Frame(0, 0, Fraction(1, 30), image, 0, 32, 32, 0.0)
    got = Rescaler().rgb(frame).reshape(-1, 3).mean(axis=0)
    assert np.allclose(got, yuv_to_rgb(planes, 32, matrix, full_range), atol=2.5)


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", b"avc1"), (".mkv", b"V_MPEG4/ISO/AVC")])
def test_a_video_of_a_kind_that_nobody_knows_is_one_line(tmp_path: Path, suffix: str, codec: bytes) -> None:
    data = numbered_video(tmp_path / f"sound{suffix}", 3).read_bytes()
    assert codec in data
    (tmp_path / f"a{suffix}").write_bytes(data.replace(codec, b"Z" * len(codec)))
    with pytest.raises(VideoError, match=r"FFmpeg cannot decode|no video stream"):
        open_source(tmp_path / f"a{suffix}")


def test_a_file_name_that_looks_like_a_protocol_is_a_file(tmp_path: Path, video: Path) -> None:
    path = tmp_path / "rtsp:camera.mp4"
    path.write_bytes(video.read_bytes())
    assert len(read_all(path)) == 40


def test_our_reader_agrees_with_the_tests_own(video: Path) -> None:
    times = [seconds for _, seconds in decode(video)]
    assert [frame.pts * frame.time_base for frame, _ in read_all(video)] == times


def test_closing_twice_is_harmless(video: Path) -> None:
    source = FileSource(video)
    source.close()
    source.close()
