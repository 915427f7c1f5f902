from fractions import Fraction

import numpy as np
import pytest

from streamparts.data import Frame, Parts, Tracks
from streamparts.geometry import Letterbox
from streamparts.tracking.tracker import PartTracker, Visibility

HEIGHT, WIDTH = 50, 100
LETTERBOX = Letterbox.fit((HEIGHT, WIDTH), (64, 64))


def as_parts(score: float = 1.0, num_pixels: int = 40) -> Parts:
    labels = np.zeros((64, 64), np.uint8)
    labels[30, :num_pixels] = 1
    affines = np.zeros((1, 2, 3), np.float32)
    affines[0, :, :2] = np.eye(2) / 4
    return Parts(labels, affines, np.array([score], np.float32))


def update(tracker: PartTracker, parts: Parts, index: int = 0) -> Tracks:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    return tracker.update(Frame(index, index, Fraction(1, 30), image, 0, HEIGHT, WIDTH, 0.0), LETTERBOX, parts)


def seen(scores: list[float], num_pixels: int = 40) -> list[bool]:
    tracker = PartTracker(("part",))
    return [bool(update(tracker, as_parts(score, num_pixels)).visible[0]) for score in scores]


def test_affines_come_out_in_displayed_pixels() -> None:
    tracks = update(PartTracker(("part",)), as_parts())
    assert np.allclose(tracks.centers, [[WIDTH / 2, HEIGHT / 2]])
    assert np.allclose(tracks.affines[0, :, :2], np.eye(2) * 8 * 100 / 64)


def test_areas_come_out_in_square_displayed_pixels() -> None:
    tracks = update(PartTracker(("part",)), as_parts(num_pixels=32))
    assert np.allclose(tracks.areas, 32 * (100 / 64) ** 2)


def test_what_lies_in_the_padding_is_background() -> None:
    parts = as_parts()
    parts.labels[:16] = 1
    tracks = update(PartTracker(("part",)), parts)
    assert not tracks.labels[:16].any()
    assert np.allclose(tracks.areas, 40 * (100 / 64) ** 2)
    assert parts.labels[:16].all(), "the tracker must not write into its input"


def test_a_part_appears_at_one_score_and_vanishes_at_a_lower_one() -> None:
    assert seen([0.4, 0.49, 0.5, 0.4, 0.3, 0.29, 0.4, 0.6]) == [0, 0, 1, 1, 1, 0, 0, 1]


def test_a_part_without_pixels_is_hidden_whatever_its_score() -> None:
    assert seen([1.0, 1.0], num_pixels=0) == [False, False]


def test_a_seen_part_that_loses_its_pixels_is_hidden() -> None:
    tracker = PartTracker(("part",))
    assert update(tracker, as_parts()).visible[0]
    assert not update(tracker, as_parts(num_pixels=0)).visible[0]


def test_the_same_frames_give_the_same_tracks() -> None:
    scores = np.random.default_rng(0).uniform(0.2, 0.7, 60).tolist()
    assert seen(scores) == seen(scores)


def test_earlier_tracks_are_not_changed_by_later_frames() -> None:
    tracker = PartTracker(("part",))
    first = update(tracker, as_parts(1.0))
    update(tracker, as_parts(0.0))
    assert first.visible[0]


def test_levels_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ValueError, match="levels"):
        Visibility(appear_score=0.2, vanish_score=0.4)


def test_parts_of_another_model_are_refused() -> None:
    with pytest.raises(ValueError):
        update(PartTracker(("one", "two")), as_parts())


def angles(given: list[float], undirected: bool = True, scores: list[float] | None = None) -> list[float]:
    """Degrees of the first axis that come out where these go in."""
    tracker = PartTracker(("part",), undirected=undirected)
    out = []
    for angle, score in zip(np.radians(given), scores or [1.0] * len(given), strict=True):
        parts = as_parts(score)
        parts.affines[0, :, :2] = 0.2 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        x, y = update(tracker, parts).affines[0, :, 0]
        out.append(round(float(np.degrees(np.arctan2(y, x)))))
    return out


def test_an_axis_without_a_direction_keeps_the_one_it_had() -> None:
    assert angles([70, 85, -80, -65, -20]) == [70, 85, 100, 115, 160]


def test_an_axis_that_really_turns_is_followed_all_the_way_round() -> None:
    turning = list(range(0, 361, 40))
    folded = [(angle + 90) % 180 - 90 for angle in turning]
    assert [angle % 360 for angle in angles(folded)] == [angle % 360 for angle in turning]


def test_a_hidden_part_does_not_set_the_direction() -> None:
    assert angles([80, 10, -70, -80], scores=[1.0, 0.0, 0.0, 1.0]) == [80, 10, 110, 100]


def test_axes_with_a_direction_are_left_alone() -> None:
    assert angles([85, -80, 100], undirected=False) == [85, -80, 100]
