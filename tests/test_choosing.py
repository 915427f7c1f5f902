"""Which of several figures is followed: the one that moves by itself, before a still and before a moving camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from av import VideoFrame

from streamparts.arrays import ByteArray
from streamparts.bundle.load import Bundle
from streamparts.data import Frame, Tracks
from streamparts.runtime.loop import track
from streamparts.runtime.options import Tracking
from streamparts.runtime.pipeline import Pipeline
from streamparts.tracking.boxes import overlap
from streamparts.tracking.own_motion import OwnMotion
from streamparts.tracking.subject import MOST_CREDIT, SPARE
from tests.scenes import PINK, SceneSource, Square, along, background, scene, square_bundle
from tests.test_following import _Counting

pytestmark = pytest.mark.usefixtures("no_threads_left")

Place = Callable[[int], tuple[float, float]]
GREY = (128, 128, 128)
RATE = 30


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return square_bundle(tmp_path_factory.mktemp("squares"))


def to_and_fro(number: int) -> tuple[float, float]:
    """Four pixels per frame."""
    return (360.0, 130 + abs((4 * number + 100) % 200 - 100))


def panned(pictures_of: Sequence[Square], numbers: range, pan: float = 0.0) -> list[ByteArray]:
    """Squares before a background that moves by `pan` pixels per frame to the left."""
    behind = background(3, 360, 480 + int(pan * max(numbers)) + 1)
    out = []
    for number in numbers:
        left = int(pan * number)
        out.append(scene(number, pictures_of, np.ascontiguousarray(behind[:, left : left + 480])))
    return out


def follows(tracks: Sequence[Tracks], place: Place, numbers: range) -> list[int]:
    """The frames in which what is followed is not there."""
    return [n for n in numbers if np.hypot(*(tracks[n].centers[0] - place(n))) > 6 or not tracks[n].visible[0]]


@pytest.mark.parametrize("pan", [0.0, 3.0])
def test_the_figure_that_moves_is_followed_though_the_other_is_larger_and_still_when_it_stops(
    squares: Bundle, pan: float
) -> None:
    bystander = Square(lambda number: (110 - pan * number + pan * 20, 120), 60, PINK)

    def dancer(number: int) -> tuple[float, float]:
        x, y = to_and_fro(min(number, 60))
        return (x - pan * max(0, number - 60), y)  # at rest, it moves with the background

    tracks = list(track(SceneSource(panned([bystander, Square(dancer, 44)], range(90), pan)), squares))
    assert np.hypot(*(tracks[0].centers[0] - bystander.center(0))) < 6, "nothing has moved yet"
    assert follows(tracks, dancer, range(20, 90)) == []


def test_the_one_that_was_chosen_is_kept_while_another_moves_as_much(squares: Bundle) -> None:
    def other(number: int) -> tuple[float, float]:
        return (110, 120 + 4 * min(max(0, number - 60), 30))

    def dancer(number: int) -> tuple[float, float]:
        return to_and_fro(min(number, 60))

    pictures = panned([Square(other, 40, PINK), Square(dancer, 44)], range(100))
    tracks = list(track(SceneSource(pictures), squares))
    assert follows(tracks, dancer, range(20, 100)) == []


def test_a_dancer_who_is_not_recognised_for_a_moment_is_not_given_up_for_a_bystander(squares: Bundle) -> None:
    bystander, dancer = Square(along((110, 120), (0, 0)), 60, PINK), Square(to_and_fro, 44)
    pictures = panned([bystander, dancer], range(80))
    hidden = range(40, 58)
    blurred = panned([bystander, Square(to_and_fro, 44, GREY)], range(80))
    for number in hidden:
        pictures[number] = blurred[number]
    tracks = list(track(SceneSource(pictures), squares))
    assert not any(tracks[number].visible.any() for number in range(42, 58))
    assert follows(tracks, to_and_fro, range(62, 80)) == []


def test_a_live_source_is_followed_alike(squares: Bundle) -> None:
    class Live(SceneSource):
        live = True

    bystander, dancer = Square(along((110, 120), (0, 0)), 60, PINK), Square(to_and_fro, 44)
    pictures = panned([bystander, dancer], range(60))
    file, live = (
        list(track(kind(pictures), squares, backend="onnxruntime", policy="all")) for kind in (SceneSource, Live)
    )
    assert [one.region for one in file] == [one.region for one in live]
    assert follows(live, to_and_fro, range(20, 60)) == []
    after_a_loss = list(track(Live(pictures, begins=[30]), squares, backend="onnxruntime", policy="all"))
    assert follows(after_a_loss, to_and_fro, range(45, 60)) == []


def test_choosing_has_the_budget_of_searching(squares: Bundle) -> None:
    """Also where what moves is never recognised."""
    bystander, thing = Square(along((110, 120), (0, 0)), 60, PINK), Square(to_and_fro, 60, GREY)
    source = SceneSource(panned([bystander, thing], range(120)))
    pipeline = Pipeline(source, squares, backend := _Counting(squares), Tracking(roi="auto"))
    tracks = list(pipeline)
    assert pipeline.close() and follows(tracks, bystander.center, range(120)) == []
    assert backend.num_pictures <= (1 + SPARE) * 120 + MOST_CREDIT


@pytest.mark.parametrize("num_frames", [40, 160])
def test_a_certain_subject_costs_one_look_a_frame(squares: Bundle, num_frames: int) -> None:
    pictures = panned([Square(to_and_fro, 44)], range(num_frames))
    pipeline = Pipeline(SceneSource(pictures), squares, backend := _Counting(squares), Tracking(roi="auto"))
    assert all(tracks.subject_score > 0.8 for tracks in pipeline if tracks.subject_score) and pipeline.close()
    assert backend.num_pictures - num_frames <= 2, "the whole frame, and the subject found in it"


def frames(pictures: Sequence[ByteArray]) -> list[Frame]:
    return list(SceneSource(pictures))


def box_around(center: tuple[float, float], side: float) -> np.ndarray:
    return np.array([*center, *center], np.float64) + side / 2 * np.array([-1, -1, 1, 1])


@pytest.mark.parametrize("pan", [0.0, 3.0])
def test_own_motion_is_what_moves_beside_the_camera(pan: float) -> None:
    def dancer(number: int) -> tuple[float, float]:
        return (360.0, 130.0 + 2 * number)

    rest = Square(lambda number: (110 - pan * number, 120), 60, PINK)
    motion = OwnMotion()
    measured = [motion.update(frame) for frame in frames(panned([rest, Square(dancer, 44)], range(14), pan))]
    assert [number for number, is_new in enumerate(measured) if is_new] == [6, 12], "every fifth of a second"
    assert motion.largest is not None and overlap(motion.largest, box_around(dancer(9), 60)) > 0.8
    moving, resting = (motion.share(box_around(each, 60)) for each in (dancer(12), rest.center(12)))
    assert moving > 0.2 and resting < moving / 4
    assert motion.share(box_around(dancer(12), 44), without=motion.largest) < 0.05
    assert motion.share(np.array([-50.0, -50, -40, -40])) <= 1


def test_measurements_have_a_pause_while_the_subject_is_certain() -> None:
    motion, pictures = OwnMotion(), panned([Square(to_and_fro, 60)], range(70))
    assert [number for number, frame in enumerate(frames(pictures)) if motion.update(frame, 0.8)] == [6, 36, 66]


def test_before_a_measurement_and_after_a_long_pause_nothing_has_moved() -> None:
    motion, pictures = OwnMotion(), panned([Square(to_and_fro, 60)], range(2))
    slow = list(SceneSource(pictures, rate=1))
    assert [motion.update(frame) for frame in slow[:1]] == [False]
    assert motion.largest is None and motion.share(box_around((360, 130), 60)) == 0
    assert motion.update(replace(slow[1], pts=2)) is False and motion.largest is None


def test_a_video_in_which_nothing_moves_has_no_own_motion() -> None:
    rng, still = np.random.default_rng(0), panned([Square(along((110, 120), (0, 0)), 60)], range(1))[0]
    noisy = [np.clip(still + rng.normal(0, 3, still.shape), 0, 255).astype(np.uint8) for _ in range(3)]
    motion = OwnMotion()
    assert [motion.update(frame) for frame in SceneSource(noisy, rate=5)] == [False, True, True]
    assert motion.largest is None and motion.share(box_around((110, 120), 60)) < 0.1


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le", "rgb24"])
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_own_motion_is_where_the_frame_is_displayed(pixels: str, turn: int) -> None:
    motion = OwnMotion()
    for number, picture in enumerate(panned([Square(to_and_fro, 60)], range(2))):
        stored = np.ascontiguousarray(np.rot90(picture, -turn // 90))
        image = VideoFrame.from_ndarray(stored, "rgb24").reformat(format=pixels)
        motion.update(Frame(number, number, Fraction(1, 5), image, turn, *picture.shape[:2], 0.0))
    assert motion.largest is not None and overlap(motion.largest, box_around(to_and_fro(1), 70)) > 0.8


def test_a_figure_alone_is_followed_whether_it_moves_or_not(squares: Bundle) -> None:
    """Also beside something else that moves and is not recognised."""
    rest, thing = Square(along((110, 120), (0, 0)), 44), Square(to_and_fro, 60, GREY)
    tracks = list(track(SceneSource(panned([rest, thing], range(60))), squares))
    assert follows(tracks, rest.center, range(60)) == []
    assert len({one.region for one in tracks[5:]}) == 1
