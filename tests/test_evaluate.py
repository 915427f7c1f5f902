"""The metrics on cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from train.evaluate import Confusion, center_errors

TRUTH = np.array([[0, 1, 1, 2], [0, 1, 1, 2]], np.uint8)


def test_perfect_labels_under_any_numbering_score_one() -> None:
    swapped = np.array([0, 2, 1], np.uint8)[TRUTH]
    confusion = Confusion.of(TRUTH, swapped, 2, 2)
    assert confusion.foreground_iou() == 1
    assert confusion.match().tolist() == [1, 0]
    assert confusion.part_ious().tolist() == [1, 1]


def test_iou_counts_what_is_missed_and_what_is_too_much() -> None:
    found = np.array([[1, 1, 1, 0], [0, 1, 0, 2]], np.uint8)
    confusion = Confusion.of(TRUTH, found, 2, 2)
    assert confusion.foreground_iou() == pytest.approx(4 / 7)
    assert confusion.part_ious().tolist() == pytest.approx([3 / 5, 1 / 2])


def test_a_true_part_without_a_found_one_scores_zero() -> None:
    confusion = Confusion.of(TRUTH, (TRUTH == 1).astype(np.uint8), 2, 1)
    assert confusion.match().tolist() == [0, -1]
    assert confusion.part_ious().tolist() == [1, 0]


def test_counts_of_frames_add_up() -> None:
    one = Confusion.of(TRUTH, TRUTH, 2, 2)
    assert (one + one).counts.sum() == 16


def test_center_errors_are_fractions_of_the_image_side_of_the_seen_parts() -> None:
    truth = np.zeros((1, 2, 2), np.float32)
    found = np.array([[[0.2, 0.0], [9.0, 9.0]]], np.float32)
    errors = center_errors(truth, found, np.array([0, 1]), np.array([[True, False]]))
    assert errors.tolist() == pytest.approx([0.1])
