from fractions import Fraction

import numpy as np
import pytest

from streamparts.arrays import require_shape
from streamparts.data import Frame, Joints, Parts, Tracks
from streamparts.geometry import Letterbox


def make_frame(pts: int = 3) -> Frame:
    image = np.zeros((48, 64, 3), np.uint8)
    return Frame(0, pts, Fraction(1, 30), image, 0, 48, 64, decoded_at=0.0)


def make_tracks(num_parts: int = 2, **changes: object) -> Tracks:
    values = {
        "frame": make_frame(),
        "letterbox": Letterbox.fit((48, 64), (64, 64)),
        "names": tuple(f"part{part}" for part in range(num_parts)),
        "labels": np.zeros((64, 64), np.uint8),
        "affines": np.zeros((num_parts, 2, 3), np.float32),
        "scores": np.ones(num_parts, np.float32),
        "areas": np.ones(num_parts, np.float32),
        "visible": np.ones(num_parts, np.bool_),
    }
    return Tracks(**{**values, **changes})  # type: ignore[arg-type]


def test_the_message_of_a_wrong_shape_says_what_came_and_what_was_wanted() -> None:
    with pytest.raises(ValueError, match=r"points.*\(3, 4\).*\(any, 2\)"):
        require_shape("points", np.zeros((3, 4)), (None, 2))


def test_seconds_come_from_pts_and_time_base() -> None:
    assert make_frame(pts=45).pts_seconds == 1.5


def test_parts_whose_scores_do_not_match_their_affines_are_refused() -> None:
    with pytest.raises(ValueError, match="scores"):
        Parts(np.zeros((4, 4), np.uint8), np.zeros((2, 2, 3), np.float32), np.zeros(3, np.float32))


def test_parts_with_labels_of_several_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="labels"):
        Parts(np.zeros((1, 4, 4), np.uint8), np.zeros((2, 2, 3), np.float32), np.zeros(2, np.float32))


@pytest.mark.parametrize("name", ["scores", "areas", "visible"])
def test_tracks_with_a_wrong_number_of_values_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        make_tracks(2, **{name: np.ones(3, np.float32)})


def test_the_mask_of_a_part_is_where_its_label_is() -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[2, 3] = 2
    tracks = make_tracks(2, labels=labels)
    assert np.argwhere(tracks.mask(1)).tolist() == [[2, 3]]
    assert not tracks.mask(0).any()


@pytest.mark.parametrize("part", [-1, 2])
def test_the_mask_of_a_part_that_does_not_exist_is_refused(part: int) -> None:
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        make_tracks(2).mask(part)


def test_centers_are_the_last_column_of_the_affines() -> None:
    affines = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    assert make_tracks(2, affines=affines).centers.tolist() == [[2, 5], [8, 11]]


def test_values_print_the_shapes_of_their_arrays() -> None:
    tracks = make_tracks(num_parts=2)
    text = repr(tracks)
    assert text.startswith("Tracks(frame=Frame(index=0, pts=3, time_base=Fraction(1, 30), image=uint8[48, 64, 3],")
    assert "names=('part0', 'part1'), labels=uint8[64, 64], affines=float32[2, 2, 3]" in text
    assert "visible=bool[2], filled=None" in text
    parts = Parts(np.zeros((4, 5), np.uint8), np.zeros((2, 2, 3), np.float32), np.ones(2, np.float32))
    assert repr(parts) == "Parts(labels=uint8[4, 5], affines=float32[2, 2, 3], scores=float32[2], evidence=None)"
    joints = Joints(np.zeros((1, 2), np.int64), np.zeros((1, 2), np.float32), np.ones(1, np.float32))
    assert "points=float32[1, 2]" in repr(joints)
