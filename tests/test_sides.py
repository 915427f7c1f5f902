"""Votes of the last frames on left and right, with values worked out by hand."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from streamparts.bundle.load import Bundle
from streamparts.cli import main
from streamparts.data import Frame, Parts, Tracks
from streamparts.geometry import Letterbox
from streamparts.runtime.loop import track
from streamparts.tracking.sides import MEMORY_SECONDS, Sided, Sides
from streamparts.tracking.smoothing import Smoothing
from streamparts.tracking.swaps import SwapResolver
from streamparts.tracking.tracker import PartTracker
from streamparts.tracksfile.reading import read_tracks
from streamparts.tracksfile.recording import _part_record
from streamparts.tracksfile.records import FrameRecord

SIDE = 64
WHOLE = Letterbox.fit((SIDE, SIDE), (SIDE, SIDE))
STEP = -math.log(0.8) * MEMORY_SECONDS
"""Seconds in which evidence falls to 0.8."""
LEFT, RIGHT = 1, 2
"""Labels of parts 0 and 1."""
HALVES = np.repeat(np.array([[LEFT, RIGHT]], np.uint8), SIDE // 2, axis=1).repeat(SIDE, axis=0)
"""(SIDE, SIDE) the left part in columns 0 to 31, the right one in columns 32 to 63."""
EXCHANGED = np.array([0, RIGHT, LEFT], np.uint8)[HALVES]


def voted(*frames: np.ndarray) -> list[Sided]:
    sides = Sides(2, [(0, 1)])
    return [sides.update(labels, WHOLE, index * STEP) for index, labels in enumerate(frames)]


def filled_with(label: int) -> np.ndarray:
    return np.full((SIDE, SIDE), label, np.uint8)


def test_a_contradiction_of_one_frame_is_put_right_and_a_second_one_is_believed() -> None:
    found = voted(*(filled_with(label) for label in (LEFT, LEFT, RIGHT, RIGHT)))
    assert [one.labels.max() for one in found] == [one.labels.min() for one in found] == [LEFT, LEFT, LEFT, RIGHT]
    # evidence for left and right: 1, 0; 1.8, 0; 1.44, 1; 1.152, 1.8; certainty is (1 + |l - r| / (l + r + 1)) / 2
    certain = [1 / 2, 1.8 / 2.8, 0.44 / 3.44, 0.648 / 3.952]
    for one, part, balance in zip(found, (0, 0, 0, 1), certain, strict=True):
        assert one.certainty[part] == pytest.approx((1 + balance) / 2, abs=1e-5)
        assert one.certainty[1 - part] == 0.5  # without pixels
    assert [one.source.tolist() for one in found] == [[0, 1], [0, 1], [1, 1], [0, 1]]


def test_parts_that_are_exchanged_take_pose_and_score_of_each_other_unmoved() -> None:
    found = voted(HALVES, HALVES, EXCHANGED)[-1]
    np.testing.assert_array_equal(found.labels, HALVES)
    assert found.source.tolist() == [1, 0]
    np.testing.assert_allclose(found.shift, 0, atol=1e-5)


def test_a_label_that_covers_both_parts_is_divided_and_its_pose_moved_to_each() -> None:
    found = voted(HALVES, HALVES, filled_with(LEFT))[-1]
    # in column 32, a third of the voters is in column 31: left 1 + 1.44 / 3, right 1.44 * 2 / 3
    assert (found.labels[:, :33] == LEFT).all() and (found.labels[:, 33:] == RIGHT).all()
    assert found.source.tolist() == [0, 0]
    # centres of columns 0 to 32 and 33 to 63, less that of all columns
    np.testing.assert_allclose(found.shift, [[16.5 - 32, 0], [48.5 - 32, 0]], atol=1e-4)


def test_the_memory_keeps_its_place_in_the_frame_when_the_network_sees_another_region() -> None:
    sides = Sides(2, [(0, 1)])
    for index in range(2):
        sides.update(HALVES, WHOLE, index * STEP)
    shifted = Letterbox.fit((SIDE, SIDE), (SIDE, SIDE), (16, 0, SIDE, SIDE))
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[:, :16], labels[:, 16:48] = RIGHT, LEFT  # columns 16 to 63 of the frame
    found = sides.update(labels, shifted, 2 * STEP)
    assert (found.labels[:, :15] == LEFT).all() and (found.labels[:, 17:47] == RIGHT).all()
    assert (found.labels[:, 48:] == 0).all()


def test_what_a_damaged_frame_shows_is_no_evidence() -> None:
    sides = Sides(2, [(0, 1)])
    sides.update(filled_with(LEFT), WHOLE, 0.0)
    for index in range(1, 4):
        damaged = sides.update(filled_with(RIGHT), WHOLE, index * STEP, learns=False)
        assert (damaged.labels == LEFT).all()
    after = sides.update(filled_with(LEFT), WHOLE, 4 * STEP)
    left = 0.8**4 + 1
    assert after.certainty[0] == pytest.approx((1 + left / (left + 1)) / 2, abs=1e-5)


def test_background_and_parts_without_a_partner_stay() -> None:
    sides = Sides(3, [(0, 2)])
    labels = np.zeros((48, 64), np.uint8)
    labels[:20], labels[20:30] = 1, 2
    box = Letterbox.fit((48, 64), (48, 64))
    sides.update(labels, box, 0.0)
    sides.update(labels, box, STEP)
    labels[:20] = 3
    found = sides.update(labels, box, 2 * STEP)
    assert (found.labels[:19] == 1).all() and (found.labels[20:30] == 2).all() and (found.labels[30:] == 0).all()
    assert found.certainty[1] == 1 and found.source[1] == 1


def test_a_part_in_two_pairs_and_a_memory_without_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="one mirrored pair"):
        Sides(3, [(0, 1), (1, 2)])
    with pytest.raises(ValueError, match="-1"):
        Smoothing(side_seconds=-1)


def tracked(frames: list[np.ndarray], smoothing: Smoothing) -> list[Tracks]:
    """Tracks of two parts whose poses are where their labels are."""
    tracker = PartTracker(("left_leg", "right_leg"), smoothing=smoothing, pairs=[(0, 1)])
    image, out = np.zeros((SIDE, SIDE, 3), np.uint8), []
    for index, labels in enumerate(frames):
        affines = np.zeros((2, 2, 3), np.float32)
        affines[:, :, :2] = np.eye(2) / 10
        for part in range(2):
            y, x = np.nonzero(labels == part + 1)
            affines[part, :, 2] = (x.mean() + 0.5) / 32 - 1, (y.mean() + 0.5) / 32 - 1
        frame = Frame(index, index, Fraction(1, 30), image, 0, SIDE, SIDE, 0.0)
        out.append(tracker.update(frame, WHOLE, Parts(labels, affines, np.array([0.9, 0.6], np.float32))))
    return out


def test_masks_poses_scores_and_areas_of_a_pair_are_exchanged_together() -> None:
    narrow = np.zeros((SIDE, SIDE), np.uint8)
    narrow[10:50, 5:15], narrow[10:50, 40:60] = LEFT, RIGHT
    wrong = np.array([0, RIGHT, LEFT], np.uint8)[narrow]
    tracks = tracked([*[narrow] * 10, wrong, wrong], Smoothing(side_seconds=MEMORY_SECONDS))
    for one in tracks:
        np.testing.assert_array_equal(one.labels, narrow)
        np.testing.assert_allclose(one.centers, [[10, 30], [50, 30]], atol=0.1)
        assert one.areas.tolist() == [400, 800]
    assert tracks[9].scores.tolist() == pytest.approx([0.9, 0.6])
    assert tracks[-1].scores.tolist() == pytest.approx([0.6, 0.9])
    sure, doubted = tracks[9].side_certainty, tracks[-1].side_certainty
    assert sure is not None and doubted is not None and (doubted < sure - 0.1).all() and (doubted >= 0.5).all()


def test_without_votes_there_is_no_certainty_and_whole_parts_are_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    resolve = SwapResolver.resolve

    def counted(self: SwapResolver, *args: np.ndarray) -> np.ndarray:
        asked.append(1)
        return resolve(self, *args)

    monkeypatch.setattr(SwapResolver, "resolve", counted)
    assert tracked([HALVES], Smoothing())[0].side_certainty is None and len(asked) == 1
    assert tracked([HALVES], Smoothing(side_seconds=0.3))[0].side_certainty is not None and len(asked) == 1


def test_a_record_says_how_certain_a_visible_part_is_of_its_side() -> None:
    (one,) = tracked([HALVES], Smoothing(side_seconds=MEMORY_SECONDS))
    assert one.side_certainty is not None and 0.5 < one.side_certainty[0] < 0.76
    assert _part_record(one, 0, masks=False).side_certainty == round(float(one.side_certainty[0]), 3)
    one.visible[1] = False
    assert _part_record(one, 1, masks=False).side_certainty is None
    (plain,) = tracked([HALVES], Smoothing())
    assert _part_record(plain, 0, masks=False).side_certainty is None


def test_a_model_without_pairs_runs_with_votes_as_without(bundle: Bundle, video: Path) -> None:
    plain, voted_on = (
        list(track(video, bundle, smoothing=each)) for each in (Smoothing(), Smoothing(side_seconds=0.3))
    )
    assert not bundle.spec.symmetric_pairs
    for one, other in zip(plain, voted_on, strict=True):
        np.testing.assert_array_equal(one.affines, other.affines)
        assert other.side_certainty is None


def test_the_command_writes_certainties_of_sides(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    words = ["run", "test://?size=128x96&seconds=0.2", "--model", "puppet-human", "--tracks", str(path)]
    assert main([*words, "--steady-sides"]) == 0
    file = read_tracks(path)
    parts = [part for record in file if isinstance(record, FrameRecord) for part in record.parts]
    with_side = [part for part in parts if part.visible and ("left" in part.name or "right" in part.name)]
    assert with_side and all(part.side_certainty is not None and 0.5 < part.side_certainty < 1 for part in with_side)
    assert all(part.side_certainty is None for part in parts if part not in with_side)
    assert main([*words, "--smooth", "--force"]) == 0
    assert b"side_certainty" not in path.read_bytes()
