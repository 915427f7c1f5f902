from fractions import Fraction
from pathlib import Path

import msgspec
import numpy as np
import pytest

from streamparts.bundle.load import Bundle
from streamparts.bundle.spec import ModelSpec, pairs_by_name
from streamparts.data import Frame, Parts
from streamparts.geometry import Letterbox
from streamparts.runtime.loop import track
from streamparts.runtime.pipeline import part_tracker
from streamparts.tracking.smoothing import Smoothing
from streamparts.tracking.swaps import SwapResolver
from streamparts.tracking.tracker import PartTracker

SIDE = 64
LETTERBOX = Letterbox.fit((SIDE, SIDE), (SIDE, SIDE))


def crossing(num_frames: int) -> np.ndarray:
    """(F, 2, 2) two parts that swing past each other, like the legs of a walking person."""
    time = np.arange(num_frames) / 30
    x = 32 + 18 * np.stack([np.sin(3 * time), -np.sin(3 * time)], axis=1)
    return np.stack([x, np.tile([40.0, 40.0], (num_frames, 1))], axis=2)


def as_parts(centers: np.ndarray) -> Parts:
    """Two parts of 6 x 6 pixels."""
    labels = np.zeros((SIDE, SIDE), np.uint8)
    affines = np.zeros((2, 2, 3), np.float32)
    for part, (x, y) in enumerate(centers):
        labels[int(y) - 3 : int(y) + 3, int(x) - 3 : int(x) + 3] = part + 1
        affines[part, :, :2] = np.eye(2) / 10
        affines[part, :, 2] = (x / 32 - 1, y / 32 - 1)
    return Parts(labels, affines, np.ones(2, np.float32))


def tracked(centers: np.ndarray, pairs: tuple[tuple[int, int], ...]) -> list[np.ndarray]:
    tracker = PartTracker(("left", "right"), smoothing=Smoothing(), pairs=pairs)
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    out = []
    for index, found in enumerate(centers):
        frame = Frame(index, index, Fraction(1, 30), image, 0, SIDE, SIDE, 0.0)
        out.append(tracker.update(frame, LETTERBOX, as_parts(found)).centers)
    return out


def test_labels_swapped_for_a_while_are_put_right() -> None:
    true = crossing(150)
    wrong = true.copy()
    for start in (20, 60, 100):
        wrong[start : start + 8] = wrong[start : start + 8, ::-1]
    found = np.stack(tracked(wrong, ((0, 1),)))
    apart = np.abs(true[:, 0, 0] - true[:, 1, 0]) > 8
    assert np.abs(found - true)[10:][apart[10:]].max() < 6
    left_alone = np.stack(tracked(wrong, ()))
    assert np.abs(left_alone - true)[10:][apart[10:]].max() > 10


def test_parts_that_cross_are_not_swapped_when_the_labels_are_right() -> None:
    true = crossing(200)
    found = np.stack(tracked(true, ((0, 1),)))
    assert np.abs(found - true)[10:].max() < 6


def test_tracks_that_the_labels_contradict_for_long_are_exchanged() -> None:
    true = np.tile(np.array([[16.0, 32], [48.0, 32]]), (120, 1, 1))
    labelled = np.concatenate([true[:20], true[20:, ::-1]])
    found = np.stack(tracked(labelled, ((0, 1),)))
    assert np.abs(found[:40] - true[:40]).max() < 3  # a short swap, for all one can know
    assert np.abs(found[50:] - labelled[50:]).max() < 3
    jumps = np.abs(np.diff(found[:, 0, 0])) > 3
    assert jumps.sum() == 1  # at once, as the other part, with its state


def test_the_pixels_go_with_the_part() -> None:
    tracker = PartTracker(("left", "right"), smoothing=Smoothing(), pairs=((0, 1),))
    image, centers = np.zeros((SIDE, SIDE, 3), np.uint8), np.array([[16.0, 32], [48.0, 32]])
    for index in range(20):
        frame = Frame(index, index, Fraction(1, 30), image, 0, SIDE, SIDE, 0.0)
        tracks = tracker.update(frame, LETTERBOX, as_parts(centers if index < 19 else centers[::-1]))
    assert tracks.labels[32, 16] == 1
    assert tracks.labels[32, 48] == 2


def test_without_tracks_there_is_no_evidence_and_no_swap() -> None:
    nowhere = np.full((2, 2), np.nan)
    order = SwapResolver([(0, 1)]).resolve(np.zeros((2, 2), np.float32), nowhere, np.ones(2), np.ones(2, bool))
    assert order.tolist() == [0, 1]


def test_a_part_in_two_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match="one mirrored pair"):
        SwapResolver([(0, 1), (1, 2)])


def test_pairs_are_read_off_names() -> None:
    assert pairs_by_name(("torso", "right_arm", "left_arm", "left_leg", "leftover")) == ((2, 1),)


def test_a_run_smooths_where_it_is_asked_to(bundle: Bundle, video: Path) -> None:
    raw, smooth = (list(track(video, bundle, smoothing=smoothing)) for smoothing in (None, Smoothing()))
    moved = [np.abs(one.centers - other.centers)[one.visible].max() for one, other in zip(raw, smooth, strict=True)]
    assert max(moved) > 0
    assert np.median(moved) < 1


def test_pairs_that_are_stored_with_the_model_are_kept_apart_too() -> None:
    true = crossing(60)
    wrong = true.copy()
    wrong[40:46] = wrong[40:46, ::-1]
    spec = ModelSpec(name="m", method="assembly", parts=("near", "far"), pairs=(("near", "far"),), input_hw=(64, 64))
    image, last = np.zeros((SIDE, SIDE, 3), np.uint8), {}
    for chosen in (spec, msgspec.structs.replace(spec, pairs=())):
        tracker = part_tracker(chosen, Smoothing())
        for index, found in enumerate(wrong[:46]):
            frame = Frame(index, index, Fraction(1, 30), image, 0, SIDE, SIDE, 0.0)
            last[chosen.pairs] = tracker.update(frame, LETTERBOX, as_parts(found)).centers
    assert np.abs(last[spec.pairs] - true[45]).max() < 3
    assert np.abs(last[()] - true[45]).max() > 10


def test_capital_left_and_right_are_pairs_as_well() -> None:
    assert pairs_by_name(("Right ear", "Left ear", "left", "right", "nose")) == ((1, 0), (2, 3))
