import gc
import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streamparts.bundle.colours import PALETTE, part_color
from streamparts.bundle.load import Bundle
from streamparts.data import Frame, Tracks
from streamparts.errors import VideoError
from streamparts.geometry import Letterbox
from streamparts.runtime.loop import track
from streamparts.runtime.stream import run
from streamparts.sinks.overlay.canvas import rgb_canvas, yuv_canvas
from streamparts.sinks.overlay.drawing import draw_tracks
from streamparts.sinks.overlay.mp4 import Mp4Writer, whole_fragments_end
from streamparts.sinks.overlay.sink import OverlaySink
from streamparts.sinks.overlay.strokes import part_outline
from streamparts.sources import open_source
from streamparts.sources.rescale import Rescaler, plane_arrays
from tests.conftest import environment
from tests.media import decode, frame_of, numbered_video, picture, read_number, write_video

GREY = 128


def tracks_of_square(hw: tuple[int, int] = (96, 128), index: int = 0, **changes: object) -> Tracks:
    """One part in the middle of a grey image: a square of 28 of 64 model pixels."""
    image = np.full((*hw, 3), GREY, np.uint8)
    labels = np.zeros((64, 64), np.uint8)
    labels[18:46, 18:46] = 1
    affine = np.array([[[hw[1] / 6, 0, hw[1] / 2], [0, hw[0] / 6, hw[0] / 2]]], np.float32)
    values = {
        "frame": Frame(index, index, Fraction(1, 30), image, 0, *hw, decoded_at=0.0),
        "letterbox": Letterbox.fit(hw, (64, 64)),
        "names": ("square",),
        "labels": labels,
        "affines": affine,
        "scores": np.ones(1, np.float32),
        "areas": np.ones(1, np.float32),
        "visible": np.ones(1, np.bool_),
    }
    return Tracks(**{**values, **changes})  # type: ignore[arg-type]


def drawn(tracks: Tracks) -> np.ndarray:
    image = tracks.frame.image
    assert isinstance(image, np.ndarray)
    canvas = image.copy()
    draw_tracks(rgb_canvas(canvas), tracks)
    return canvas


@pytest.mark.parametrize("hw", [(96, 128), (720, 1280), (256, 256), (1280, 720)])
def test_a_part_is_coloured_where_it_is(hw: tuple[int, int]) -> None:
    tracks = tracks_of_square(hw)
    image = drawn(tracks)
    inside = tracks.letterbox.model_to_frame(np.array([21.0, 21.0])).astype(int)
    mixture = (np.array(part_color(0)) + GREY) / 2
    assert np.abs(image[inside[1], inside[0]] - mixture).max() <= 1
    assert (image[0, 0] == GREY).all()
    changed = np.argwhere((image != GREY).any(axis=-1)) + 0.5
    middle = (changed.min(axis=0) + changed.max(axis=0)) / 2
    assert np.abs(middle - np.array(hw) / 2).max() <= 1.5


def test_drawing_on_a_decoded_picture_looks_like_drawing_on_rgb() -> None:
    tracks = tracks_of_square((720, 1280))
    picture = Rescaler().yuv(tracks.frame)
    draw_tracks(yuv_canvas(picture), tracks)
    # At a quarter of the size, because colour has half the resolution there.
    got, wanted = (image.reshape(180, 4, 320, 4, 3).mean((1, 3)) for image in (rgb_of(picture), drawn(tracks)))
    difference = np.abs(got - wanted).max(axis=-1)
    assert difference.mean() < 2.0
    assert np.quantile(difference, 0.95) < 4  # the rest are thin lines
    inside = tracks.letterbox.model_to_frame(np.array([21.0, 21.0])).astype(int) // 4
    assert difference[inside[1], inside[0]] < 3


def rgb_of(picture: av.VideoFrame) -> np.ndarray:
    return picture.to_ndarray(format="rgb24", src_colorspace=picture.colorspace, src_color_range=1)


@pytest.mark.parametrize("colorspace", [1, 2, 6])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_what_is_not_drawn_on_stays_as_it_was_bit_by_bit(colorspace: int, rotation: int) -> None:
    image = av.VideoFrame.from_ndarray(np.random.default_rng(0).integers(16, 235, (48, 32), np.uint8), "yuv420p")
    image.colorspace, image.color_range = colorspace, 1
    picture = Rescaler().yuv(frame_of(image, rotation))
    assert (picture.colorspace, picture.color_range) == (colorspace, 1)
    for old, new in zip(plane_arrays(image), plane_arrays(picture), strict=True):
        assert np.array_equal(new, np.rot90(old, rotation // 90))
        assert not np.shares_memory(old, new)


@pytest.mark.parametrize("pix_fmt", ["yuvj420p", "yuv444p", "gray", "yuv420p10le", "rgb24", "yuva420p"])
def test_any_pixel_format_is_drawn_in_its_colours(pix_fmt: str) -> None:
    color = (120, 120, 120) if pix_fmt == "gray" else (200, 60, 30)
    image = av.VideoFrame.from_ndarray(np.full((50, 71, 3), color, np.uint8), "rgb24").reformat(
        format=pix_fmt, threads=1
    )
    if pix_fmt == "yuvj420p":
        image.color_range = 2
    picture = Rescaler().yuv(frame_of(image))
    assert (picture.height, picture.width, picture.format.name) == (50, 72, "yuv420p")
    assert np.abs(rgb_of(picture).astype(int) - color).max() <= 4


def test_a_hidden_part_is_not_drawn() -> None:
    assert (drawn(tracks_of_square(visible=np.zeros(1, np.bool_))) == GREY).all()


def test_a_part_far_outside_the_picture_does_no_harm() -> None:
    far = np.array([[[1e9, 0, -5e8], [0, 1e9, 1e12]]], np.float32)
    drawn(tracks_of_square(affines=far))
    drawn(tracks_of_square(affines=far, labels=np.zeros((64, 64), np.uint8)))


def test_the_outline_runs_along_the_edge_of_the_mask() -> None:
    mask = np.zeros((64, 64), bool)
    mask[20:40, 10:50] = True
    (line,) = part_outline(mask)
    assert np.abs(line.min(axis=0) - [10, 20]).max() <= 0.5
    assert np.abs(line.max(axis=0) - [50, 40]).max() <= 0.5


def test_a_hole_in_a_part_stays_open() -> None:
    tracks = tracks_of_square((640, 640))
    tracks.labels[24:30, 24:30] = 0
    image = drawn(tracks)
    assert (image[262, 262] == GREY).all()


def test_colours_are_stable_and_different() -> None:
    assert len(set(PALETTE)) == len(PALETTE) >= 10
    assert part_color(3) == part_color(3 + len(PALETTE))


def encoded(path: Path, count: int = 5, hw: tuple[int, int] = (96, 128)) -> Path:
    sink = OverlaySink(path, Fraction(30))
    for index in range(count):
        sink.write(tracks_of_square(hw, index))
    sink.close()
    sink.close()
    return path


def test_the_video_is_what_browsers_play(tmp_path: Path) -> None:
    with av.open(str(encoded(tmp_path / "o.mp4"))) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        frame = next(container.decode(stream))
        assert (frame.colorspace, frame.color_range) == (1, 1), "tagged BT.709, limited range"
    assert b"ftyp" in (tmp_path / "o.mp4").read_bytes()[:12]


def test_colours_survive_the_way_through_the_file(tmp_path: Path) -> None:
    image = np.full((96, 128, 3), (200, 60, 30), np.uint8)
    picture = Rescaler().yuv(frame_of(image))
    writer = Mp4Writer(tmp_path / "c.mp4", picture, Fraction(1, 30), Fraction(30), 0)
    writer.write(picture, 0)
    writer.close()
    ((got, _),) = decode(tmp_path / "c.mp4")
    assert np.abs(got.astype(int) - image).max() <= 4


@pytest.mark.parametrize("hw", [(97, 128), (96, 129), (33, 51), (2, 2), (1, 1)])
def test_odd_sizes_grow_by_one_pixel(tmp_path: Path, hw: tuple[int, int]) -> None:
    image, _ = next(decode(encoded(tmp_path / "odd.mp4", hw=hw)))
    assert image.shape[:2] == (hw[0] + hw[0] % 2, hw[1] + hw[1] % 2)


@pytest.mark.parametrize("first", [0, 7, 1234])
def test_times_are_exactly_those_of_the_source(tmp_path: Path, bundle: Bundle, first: int) -> None:
    pts = [first + step for step in (0, 17, 90, 91, 400, 401, 1700)]
    images = (picture(number) for number in range(len(pts)))
    path = write_video(tmp_path / "vfr.mkv", images, pts=pts, time_base=Fraction(1, 1000))
    run(path, bundle, overlay=tmp_path / "o.mp4")
    frames = list(decode(tmp_path / "o.mp4"))
    assert [seconds for _, seconds in frames] == [Fraction(p, 1000) for p in pts]
    assert [read_number(image) for image, _ in frames] == list(range(len(pts)))


def test_a_source_that_starts_late_starts_at_zero(tmp_path: Path, bundle: Bundle) -> None:
    pts = [90000 * 3600 + step for step in (0, 3003, 9000)]
    path = write_video(tmp_path / "late.mkv", map(picture, range(3)), pts=pts, time_base=Fraction(1, 90000))
    run(path, bundle, overlay=tmp_path / "o.mp4")
    times = [seconds for _, seconds in decode(tmp_path / "o.mp4")]
    assert times == [0, Fraction(33, 1000), Fraction(1, 10)], "matroska keeps milliseconds"


def test_a_rotated_video_is_drawn_upright(tmp_path: Path, bundle: Bundle) -> None:
    stored = (np.rot90(picture(number), -1) for number in range(4))
    path = write_video(tmp_path / "turned.mp4", stored, rotation=90)
    run(path, bundle, overlay=tmp_path / "o.mp4")
    frames = [image for image, _ in decode(tmp_path / "o.mp4")]
    assert [image.shape for image in frames] == [(96, 128, 3)] * 4
    assert [read_number(image) for image in frames] == list(range(4))


def test_every_frame_of_a_long_video_is_in_the_overlay(tmp_path: Path, bundle: Bundle) -> None:
    path = numbered_video(tmp_path / "long.mp4", 200)
    run(path, bundle, overlay=tmp_path / "o.mp4")
    assert [read_number(image) for image, _ in decode(tmp_path / "o.mp4")] == list(range(200))


ENDLESS = """
import sys
from fractions import Fraction
from pathlib import Path
from streamparts.sinks.overlay.mp4 import Mp4Writer
from streamparts.sources.rescale import Rescaler
from tests.media import frame_of, picture

pictures = [Rescaler().yuv(frame_of(picture(number))) for number in range(100)]
writer = Mp4Writer(Path(sys.argv[1]), pictures[0], Fraction(1, 30), Fraction(30), 5)
for number, image in enumerate(pictures):
    writer.write(image, 5 + number)
print("written", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
def test_a_killed_process_leaves_all_but_the_last_second(tmp_path: Path) -> None:
    path = tmp_path / "killed.mp4"
    words = [sys.executable, "-c", ENDLESS, str(path)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    frames = list(decode(path))
    assert len(frames) >= 100 - 30
    assert [read_number(image) for image, _ in frames] == list(range(len(frames)))
    assert [seconds * 30 for _, seconds in frames] == list(range(5, 5 + len(frames)))


@pytest.mark.parametrize("endless", [False, True])
def test_a_finished_file_is_an_ordinary_one_unless_the_source_is_endless(tmp_path: Path, endless: bool) -> None:
    path = tmp_path / "o.mp4"
    sink = OverlaySink(path, Fraction(30), endless=endless)
    for index in range(50):
        image = picture(index)
        sink.write(tracks_of_square(image.shape[:2], frame=frame_of(image, index=index)))
    sink.close()
    assert [read_number(image) for image, _ in decode(path)] == list(range(50))
    if av.library_versions["libavformat"] >= (61, 7, 100):
        assert (b"moof" in boxes(path)) is endless


def boxes(path: Path) -> list[bytes]:
    """Kinds of the outermost boxes of an mp4 file."""
    data, kinds, offset = path.read_bytes(), [], 0
    while offset < len(data):
        kinds.append(data[offset + 4 : offset + 8])
        offset += int.from_bytes(data[offset : offset + 4], "big")
    return kinds


def test_what_is_whole_in_a_file_that_was_cut_off_is_found(tmp_path: Path) -> None:
    path = tmp_path / "o.mp4"
    sink = OverlaySink(path, Fraction(30), endless=True)
    for index in range(60):
        image = picture(index)
        sink.write(tracks_of_square(image.shape[:2], frame=frame_of(image, index=index)))
    sink.close()
    data = path.read_bytes()
    ends = set()
    for size in range(0, len(data), 97):
        path.write_bytes(data[:size])
        end = whole_fragments_end(path)
        assert end <= size
        path.write_bytes(data[:end])
        if end not in ends and b"mdat" in boxes(path):
            numbers = [read_number(image) for image, _ in decode(path)]
            assert numbers == list(range(len(numbers)))
            assert numbers
        ends.add(end)
    assert len(ends) > 4, "at least as many fragments"


def test_a_finished_overlay_keeps_no_image(tmp_path: Path, video: Path, model_path: Path) -> None:
    """A run of many files keeps the sinks of those that are done."""

    def num_frames() -> int:
        return sum(type(each) is Frame for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before, sink = num_frames(), OverlaySink(tmp_path / "o.mp4")
        for tracks in track(video, model_path):
            sink.write(tracks)
        del tracks
        sink.close()
        assert num_frames() == before
    finally:
        gc.enable()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="cannot be written"):
        OverlaySink(tmp_path / "none" / "o.mp4")


def test_a_run_without_frames_leaves_no_broken_container(tmp_path: Path) -> None:
    OverlaySink(tmp_path / "o.mp4").close()
    assert (tmp_path / "o.mp4").stat().st_size == 0


@pytest.mark.parametrize(
    "name",
    [
        "avc.avi",
        "h264_10bits.mp4",
        "newtonscradle.gif",
        "transparent.webm",
        "video_90.mov",
        "vp9.mkv",
        "derived/bikes_h264_bframes.ts",
        "derived/bikes_mjpeg.avi",
        "derived/bikes_oddsize_333x171_yuv444.mp4",
        "derived/bikes_truncated.mkv",
    ],
)
def test_real_awkward_files_keep_their_frames_and_times(
    real_videos: Path, tmp_path: Path, bundle: Bundle, name: str
) -> None:
    with open_source(real_videos / name) as source:
        times = [frame.pts * frame.time_base for frame in source]
        even = tuple(n + n % 2 for n in (source.height, source.width))
    summary = run(real_videos / name, bundle, overlay=tmp_path / "o.mp4")
    assert summary.num_frames == len(times)
    frames = list(decode(tmp_path / "o.mp4"))
    assert [seconds for _, seconds in frames] == times
    assert {image.shape[:2] for image, _ in frames} == {even}
