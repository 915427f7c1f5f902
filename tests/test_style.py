"""Elements of the overlay, option by option."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streamparts.bundle.colours import part_color
from streamparts.cli import main
from streamparts.cli.output_flags import with_show_kind
from streamparts.data import Joints, Tracks
from streamparts.sinks.overlay.canvas import doubled, rgb_canvas, yuv_canvas
from streamparts.sinks.overlay.drawing import Painter, draw_tracks
from streamparts.sinks.overlay.sink import OverlaySink
from streamparts.sinks.overlay.style import DRAWABLE, OverlayStyle
from streamparts.sinks.overlay.trails import MAX_POINTS, Trails
from streamparts.sources.rescale import Rescaler
from tests.media import decode
from tests.test_overlay import GREY, drawn, tracks_of_square

NOTHING = OverlayStyle.drawing([])


def painted(style: OverlayStyle, *frames: Tracks) -> np.ndarray:
    """The last of some frames, drawn after the others."""
    painter = Painter(style)
    for tracks in frames:
        image = np.full((tracks.frame.height, tracks.frame.width, 3), GREY, np.uint8)
        painter.paint(rgb_canvas(image), tracks)
    return image


def changed(image: np.ndarray) -> int:
    return int((image != GREY).any(axis=-1).sum())


def at(index: int, x: float, segment: int = 0, visible: bool = True, **changes: object) -> Tracks:
    """A small part at (x, 40) at a thirtieth of a second times `index`."""
    tracks = tracks_of_square((96, 128), index, visible=np.array([visible]), **changes)
    affine = np.array([[[4, 0, x], [0, 4, 40]]], np.float32)
    return replace(tracks, affines=affine, frame=replace(tracks.frame, segment=segment))


def test_a_style_without_anything_changes_nothing() -> None:
    assert changed(painted(NOTHING, tracks_of_square())) == 0


@pytest.mark.parametrize("word", [word for word in DRAWABLE if word not in ("trails", "joints")])
def test_each_word_draws_something_of_its_own(word: str) -> None:
    alone = painted(OverlayStyle.drawing([word]), tracks_of_square())
    without = painted(OverlayStyle.drawing([other for other in DRAWABLE if other != word]), tracks_of_square())
    everything = painted(OverlayStyle.drawing(DRAWABLE), tracks_of_square())
    assert changed(alone) > 20
    if word != "numbers":  # names take their place
        assert (everything != without).any()


def test_the_default_is_drawn_where_nothing_is_said() -> None:
    style = OverlayStyle.drawing(["masks", "ellipses", "axes", "numbers", "joints"])
    assert style == OverlayStyle()
    assert np.array_equal(drawn(tracks_of_square()), painted(style, tracks_of_square()))


@pytest.mark.parametrize("opacity", [0.0, 0.25, 0.5, 1.0])
def test_opacity_is_the_share_of_the_parts_colour(opacity: float) -> None:
    tracks = tracks_of_square((720, 1280))
    image = painted(OverlayStyle.drawing(["masks"], opacity=opacity), tracks)
    x, y = tracks.letterbox.model_to_frame(np.array([24.0, 24.0])).astype(int)
    assert np.abs(image[y, x] - (opacity * np.array(part_color(0)) + (1 - opacity) * GREY)).max() <= 1


def test_a_parts_colour_goes_by_its_number_whatever_it_is_called_and_whoever_else_is_seen() -> None:
    def two(names: tuple[str, ...], visible: list[bool]) -> np.ndarray:
        labels = np.zeros((64, 64), np.uint8)
        labels[12:28, 12:28], labels[36:52, 36:52] = 1, 2
        values = {"labels": labels, "names": names, "visible": np.array(visible)}
        values |= {"affines": np.zeros((2, 2, 3), np.float32), "scores": np.ones(2), "areas": np.ones(2)}
        return painted(OverlayStyle.drawing(["masks"], opacity=1), tracks_of_square((512, 512), **values))

    both, renamed, second = two(("a", "b"), [True, True]), two(("b", "a"), [True, True]), two(("a", "b"), [False, True])
    assert np.array_equal(both, renamed)
    assert tuple(both[352, 352]) == tuple(second[352, 352]) == part_color(1)
    assert (second[160, 160] == GREY).all()


def named(names: tuple[str, ...]) -> Tracks:
    return tracks_of_square((720, 1280), names=names)


def test_a_name_is_wider_than_a_number_and_what_the_font_lacks_becomes_the_number() -> None:
    style = OverlayStyle.drawing(["names"])
    assert changed(painted(style, named(("left_upper_arm",)))) > 3 * changed(painted(style, named(("arm",))))
    numbers = painted(OverlayStyle.drawing(["numbers"]), named(("x",)))
    assert np.array_equal(painted(style, named(("腕",))), numbers)


def test_a_bone_joins_two_centres_while_both_are_seen() -> None:
    affines = np.array([[[4, 0, 20], [0, 4, 40]], [[4, 0, 100], [0, 4, 40]]], np.float32)
    ones = np.ones(2, np.float32)
    tracks = tracks_of_square(names=("a", "b"), affines=affines, visible=ones > 0, scores=ones, areas=ones)
    style = OverlayStyle.drawing([], skeleton=((0, 1),))
    image = painted(style, tracks)
    assert (image[40, 25:95] != GREY).any(axis=-1).all()
    assert changed(painted(style, replace(tracks, visible=np.array([True, False])))) == 0


def hinged(visible: tuple[bool, bool], filled: tuple[bool, bool], joint: tuple[float, float] = (60, 20)) -> Tracks:
    """Parts at (20, 40) and (100, 40) with one joint."""
    affines, ones = np.array([[[4, 0, 20], [0, 4, 40]], [[4, 0, 100], [0, 4, 40]]], np.float32), np.ones(2, np.float32)
    joints = Joints(((0, 1),), np.array([joint], np.float32), np.ones(1, np.float32))
    given = {"affines": affines, "scores": ones, "areas": ones, "visible": np.array(visible)}
    return tracks_of_square(names=("a", "b"), filled=np.array(filled), joints=joints, **given)


def test_joints_are_drawn_with_lines_to_the_centres_of_their_parts() -> None:
    style = OverlayStyle.drawing(["joints"])
    image = painted(style, hinged((True, True), (False, False)))
    assert tuple(image[20, 60]) == (255, 255, 255)
    assert (image[30, [40, 80]] != GREY).any(axis=-1).all(), "both halves of the way"
    assert changed(painted(NOTHING, hinged((True, True), (False, False)))) == 0


def test_parts_that_the_skeleton_filled_in_have_grey_lines_and_hidden_ones_none() -> None:
    style = OverlayStyle.drawing(["joints"])
    seen, filled, hidden = (
        painted(style, hinged((True, both), (False, fill)))
        for both, fill in ((True, False), (False, True), (False, False))
    )
    assert seen[30, 80].min() > filled[30, 80].min() > 100
    assert tuple(hidden[30, 80]) == (GREY,) * 3
    nowhere = hinged((False, False), (False, False), joint=(float("nan"), 0))
    assert changed(painted(style, nowhere)) == 0


def test_a_trail_shows_where_a_part_was_in_the_last_seconds_by_the_videos_time() -> None:
    style = OverlayStyle.drawing(["trails"], trail_seconds=0.5)
    frames = [at(index, 20 + index) for index in range(61)]
    image = painted(style, *frames)
    colour = np.flatnonzero((image != GREY).any(axis=(0, 2)))
    assert 80 - 15 - 3 <= colour.min() <= 80 - 15 + 1
    assert 79 <= colour.max() <= 83
    slow = [replace(t, frame=replace(t.frame, time_base=Fraction(1, 5))) for t in frames]
    assert changed(painted(style, *slow)) < changed(image) / 3


def test_a_trail_is_broken_where_the_part_was_hidden_and_ends_with_a_segment() -> None:
    style = OverlayStyle.drawing(["trails"], trail_seconds=5)
    frames = [at(index, 20 + index, visible=not 20 <= index < 40) for index in range(60)]
    image = painted(style, *frames)
    assert (image[40, 45:55] == GREY).all()
    assert (image[40, 65:75] != GREY).any(axis=-1).all()
    assert changed(painted(style, *frames, at(60, 80, segment=1))) == 0


def test_a_trail_holds_a_bounded_number_of_points_whatever_the_rate() -> None:
    trails = Trails(10.0)
    for index in range(5000):
        tracks = at(index, 20 + index / 100)
        lines = trails.update(replace(tracks, frame=replace(tracks.frame, time_base=Fraction(1, 500))))
    ((part, line),) = lines
    assert part == 0
    assert MAX_POINTS / 2 < len(line) <= MAX_POINTS + 2
    assert line[-1, 0] == pytest.approx(69.99)
    assert line[0, 0] == pytest.approx(20, abs=1)


def test_side_by_side_has_the_source_on_the_left_bit_by_bit_and_the_overlay_on_the_right() -> None:
    tracks = tracks_of_square((96, 129))
    plain = Rescaler().yuv(tracks.frame)
    wide = doubled(plain)
    draw_tracks(yuv_canvas(wide, plain.width), tracks)
    alone = Rescaler().yuv(tracks.frame)
    draw_tracks(yuv_canvas(alone), tracks)
    pictures = [picture.to_ndarray() for picture in (wide, plain, alone)]
    height = plain.height
    assert np.array_equal(pictures[0][:height, : plain.width], pictures[1][:height])
    assert np.array_equal(pictures[0][:height, plain.width :], pictures[2][:height])
    assert (wide.colorspace, wide.color_range) == (plain.colorspace, plain.color_range)


def test_a_side_by_side_overlay_is_twice_as_wide(tmp_path: Path) -> None:
    sink = OverlaySink(tmp_path / "o.mp4", style=OverlayStyle(side_by_side=True))
    sink.write(tracks_of_square((97, 129)))
    sink.close()
    ((image, _),) = decode(tmp_path / "o.mp4")
    assert image.shape == (98, 2 * 130, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OverlayStyle(opacity=1.5), "opacity"),
        (lambda: OverlayStyle(trail_seconds=0), "trail_seconds"),
        (lambda: OverlayStyle(skeleton=((1, 1),)), "skeleton"),
        (lambda: OverlayStyle.drawing(["masks", "mask"]), "cannot draw mask; choose from masks"),
        (lambda: OverlayStyle(skeleton=((0, 2),)).check_parts(2), "part 2 is outside 0..1"),
    ],
)
def test_a_style_that_cannot_be_is_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def test_the_flags_make_the_style(tmp_path: Path, video: Path, model_path: Path) -> None:
    flags = "--draw masks,names --opacity 0.8 --trail-seconds 0.5 --skeleton 0-1 --side-by-side --encoder libx264"
    words = ["run", str(video), "--model", str(model_path), "--overlay", str(tmp_path / "o.mp4"), *flags.split()]
    assert main(words) == 0
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert container.streams.video[0].width == 256


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--draw", "mask"], "draw mask"),
        (["--opacity", "2"], "opacity"),
        (["--skeleton", "0:1"], "'0:1'"),
        (["--resume"], "--tracks"),
    ],
)
def test_flags_that_cannot_be_are_wrong_usage(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, flags: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", "video.mp4", "--overlay", str(tmp_path / "o.mp4"), *flags])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_skeleton_of_parts_that_the_model_lacks_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, video: Path, model_path: Path
) -> None:
    words = ["run", video, "--model", model_path, "--overlay", tmp_path / "o.mp4", "--skeleton", "0-7"]
    assert main([*map(str, words)]) == 1
    err = capsys.readouterr().err
    assert err.startswith("streamparts: error: the overlay cannot be drawn, because tiny has other parts")
    assert "part 7 is outside 0..1" in err
    assert not (tmp_path / "o.mp4").exists()


def test_the_word_after_show_is_the_video_unless_it_is_a_kind() -> None:
    assert with_show_kind(["run", "--show", "dance.mp4"]) == ["run", "--show=auto", "dance.mp4"]
    assert with_show_kind(["run", "dance.mp4", "--show"]) == ["run", "dance.mp4", "--show=auto"]
    assert with_show_kind(["run", "--show", "page", "dance.mp4"]) == ["run", "--show", "page", "dance.mp4"]
