"""The labels of a followed subject contain only the subject."""

from __future__ import annotations

import numpy as np

from streamparts.data import Parts
from streamparts.tracking.extent import without_scatter


def parts_of(labels: np.ndarray) -> Parts:
    affines, scores = np.zeros((2, 2, 3), np.float32), np.ones(2, np.float32)
    return Parts(labels.astype(np.uint8), affines, scores)


def test_spots_and_a_chair_are_taken_out_and_a_forearm_cut_off_is_kept() -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[10:50, 20:30] = 1  # the body
    labels[30:32, 45:47] = 1  # a spot on the floor
    labels[20:26, 34:40] = 2  # a forearm behind a rail
    labels[50:60, 55:63] = 2  # a chair
    own = np.zeros((64, 64), np.bool_)
    own[10:50, 20:30] = True
    clean = without_scatter(parts_of(np.where(labels == 2, 0, labels)), own).labels
    assert clean[30, 45] == 0 and (clean[own] == 1).all()
    forearm = labels.copy()
    forearm[50:60, 55:63] = 0
    assert without_scatter(parts_of(forearm), own).labels[22, 36] == 2
    chair = labels.copy()
    chair[20:26, 34:40] = 0
    assert (without_scatter(parts_of(chair), own).labels != 2).all()


def test_a_part_in_two_like_pieces_on_the_subject_keeps_both() -> None:
    labels = np.zeros((32, 32), np.uint8)
    labels[4:10, 4:10], labels[4:10, 14:20] = 1, 1
    assert (without_scatter(parts_of(labels), labels > 0).labels == labels).all()


def test_the_rest_of_what_the_network_says_stays() -> None:
    labels = np.ones((16, 16), np.uint8)
    parts = parts_of(labels)
    clean = without_scatter(parts, labels > 0)
    assert clean.scores is parts.scores and clean.affines is parts.affines
