"""Comparison of followed subjects with labelled ones."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from train.judging.subjects import LOST, SubjectMatcher, middle_and_size

LIMIT = np.array([10.0, 10.0])


def at(*xs: float) -> np.ndarray:
    return np.array([[x, 0.0] for x in xs])


def found(**xs: float) -> dict[int, np.ndarray]:
    return {int(name[1:]): np.array([x, 0.0]) for name, x in xs.items()}


def test_subjects_that_keep_their_identity_never_switch() -> None:
    matcher = SubjectMatcher()
    for x in range(0, 50, 5):
        assert matcher.update(at(x, 100 - x), found(s0=x + 1, s1=99 - x), LIMIT) == [0, 1]
    assert matcher.section() == {"frames": 10, "found": 1.0, "switches": 0, "switches_per_10000_frames": 0.0}


def test_who_was_matched_stays_so_while_near_even_where_the_other_is_nearer() -> None:
    matcher = SubjectMatcher()
    matcher.update(at(0, 20), found(s0=0, s1=20), LIMIT)
    assert matcher.update(at(9, 11), found(s0=11.5, s1=8.5), LIMIT) == [0, 1]
    assert matcher.switches == 0


def test_an_exchange_is_one_switch_for_each_subject() -> None:
    matcher = SubjectMatcher()
    matcher.update(at(0, 100), found(s0=0, s1=100), LIMIT)
    assert matcher.update(at(0, 100), found(s0=100, s1=0), LIMIT) == [1, 0]
    matcher.update(at(0, 100), found(s0=100, s1=0), LIMIT, steps=8)
    assert matcher.switches == 2
    assert matcher.section()["switches_per_10000_frames"] == pytest.approx(2 / 10 * 10_000)


def test_a_subject_that_was_lost_comes_back_as_another_and_that_is_a_switch() -> None:
    matcher = SubjectMatcher()
    matcher.update(at(0, 100), found(s0=0, s1=100), LIMIT)
    assert matcher.update(at(0, 100), found(s0=0), LIMIT) == [0, LOST]
    assert matcher.update(at(0, 100), found(s0=0, s2=100), LIMIT) == [0, 2]
    assert matcher.switches == 1
    assert matcher.section()["found"] == pytest.approx(5 / 6)


def test_what_is_too_far_away_or_not_labelled_is_not_matched() -> None:
    matcher = SubjectMatcher()
    assert matcher.update(at(0, np.nan), found(s0=11, s1=0.5), LIMIT) == [1, LOST]
    assert matcher.update(at(50, 80), found(s0=61, s1=200), LIMIT) == [LOST, LOST]
    assert (matcher.labelled, matcher.found) == (3, 1)


def test_the_middle_of_the_labelled_points_and_their_longer_side() -> None:
    middle, size = middle_and_size(np.array([[0, 0], [4, 2], [np.nan, 9]], np.float64))
    assert (middle.tolist(), size) == ([2, 1], 4)
    middle, size = middle_and_size(np.full((2, 2), np.nan))
    assert np.isnan(middle).all() and size == 0
