"""Components of the subject search that need no network."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("decord")

from train.subject.boxes import components, count_subjects, follow
from train.subject.cutting import cut, paste
from train.subject.footage import find_cuts
from train.subject.masking import of_others, pieces
from train.subject.values import square_around


def blob(size: int, *places: tuple[int, int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """(size, size) with squares of the given left, top and side."""
    mask = np.zeros((size, size), np.uint8)
    for left, top, side in places:
        mask[top : top + side, left : left + side] = 255
    return mask


def test_a_region_of_the_pictures_own_size_is_the_picture() -> None:
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    assert (cut(image, (0, 0, 32, 32), 32) == image).all()


def test_a_region_reaches_outside_and_is_black_there() -> None:
    piece = cut(np.full((32, 32, 3), 200, np.uint8), (16, 0, 32, 32), 32)
    assert (piece[:, :15] == 200).all() and not piece[:, 17:].any()


def test_what_is_pasted_back_lies_where_it_was_cut() -> None:
    image = blob(64, (20, 30, 12))
    back = paste(cut(image, (10, 20, 40, 40), 80).astype(np.float32), (10, 20, 40, 40), (64, 64))
    assert np.abs(back - image).mean() < 3


def test_a_turned_region_turns_the_picture() -> None:
    image = blob(33, (0, 12, 9))
    turned = cut(image, (0, 0, 33, 33), 33, degrees=90)
    assert (turned == np.rot90(image)).mean() > 0.99 or (turned == np.rot90(image, -1)).mean() > 0.99


def test_a_square_region_has_a_margin_of_the_longer_side() -> None:
    assert square_around(np.array([10, 20, 40, 20], np.float32)).tolist() == [0, 0, 60, 60]


def test_pieces_that_lie_close_together_are_one_subject() -> None:
    assert len(components(blob(64, (10, 10, 20), (11, 32, 6)))) == 1
    assert len(components(blob(64, (5, 5, 20), (40, 40, 20)))) == 2


def test_two_subjects_keep_who_they_are() -> None:
    masks = np.stack([blob(128, (5 + 2 * i, 20, 14), (100 - 2 * i, 70, 14)) for i in range(20)])
    first, second = follow(masks)
    assert first.found.all() and second.found.all()
    lower = first if first.boxes[0, 1] > 50 else second
    upper = second if lower is first else first
    assert np.abs(np.diff(lower.boxes[:, 1])).max() < 1 and np.abs(np.diff(upper.boxes[:, 1])).max() < 1
    assert (np.diff(upper.boxes[2:-2, 0]) > 0).all() and (np.diff(lower.boxes[2:-2, 0]) < 0).all()


def test_a_subject_that_leaves_is_not_found_meanwhile() -> None:
    masks = np.stack([blob(64, (20, 20, 16)) if not 8 <= i < 14 else blob(64) for i in range(24)])
    (subject,) = follow(masks)
    assert not subject.found[8:14].any() and subject.found[:8].all() and subject.found[14:].all()
    assert np.isfinite(subject.boxes).all()


def test_a_second_thing_seen_now_and_then_is_no_subject() -> None:
    found = [components(blob(64, (5, 5, 16), *([(40, 40, 14)] if i == 3 else []))) for i in range(10)]
    assert count_subjects(found) == 1


def test_what_lies_away_from_the_box_is_not_the_subject() -> None:
    kept = pieces(blob(128, (40, 40, 40), (0, 0, 10)), np.array([40, 40, 40, 40], np.float32))
    assert kept[60, 60] == 255 and not kept[:12, :12].any()


def test_pixels_nearer_to_another_subject_are_its_own() -> None:
    masks = np.stack([blob(64, (5, 20, 16), (24, 20, 16))] * 6)
    subjects = follow(masks)
    others = of_others(subjects, 0, square_around(subjects[0].boxes))
    assert others.any() and not others.all()


def test_a_cut_is_found_and_a_flash_is_none() -> None:
    rng = np.random.default_rng(1)
    first, second = (np.kron(rng.integers(40, 200, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8) for _ in range(2))
    scene = [first] * 12 + [second] * 12
    assert find_cuts(np.stack(scene)) == [12]
    flash = [(first // 3) if i == 6 else first for i in range(12)]
    assert find_cuts(np.stack(flash)) == []
