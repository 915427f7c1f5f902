"""Landmark errors in units of the image: hand-computed cases, and both forms of the regression."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("sklearn")

from train.judging.landmarks import (
    Normaliser,
    constant,
    normalised_percent,
    regress,
    regress_standardised,
    score_landmarks,
)

EYES = Normaliser((0, 1))
FACE = np.array([[[0.0, 0.0], [10.0, 0.0], [5.0, 20.0]]])
ALL = np.array([True])


def test_distances_are_averaged_over_landmarks_in_percent_of_that_between_the_eyes() -> None:
    moved = FACE + np.array([[[3.0, 4.0], [0.0, 0.0], [0.0, 1.0]]])  # 5, 0 and 1 px of 10
    assert normalised_percent(moved, FACE, ALL, EYES) == pytest.approx(100 * (0.5 + 0 + 0.1) / 3)


def test_by_the_box_each_axis_has_its_own_unit() -> None:
    moved = FACE + np.array([[[3.0, 8.0], [0.0, 0.0], [0.0, 0.0]]])  # .3 of the width, .4 of the height
    assert normalised_percent(moved, FACE, ALL, Normaliser()) == pytest.approx(100 * 0.5 / 3)


def test_images_count_alike_whatever_their_landmarks_and_a_missing_one_does_not_count() -> None:
    truth = np.concatenate([FACE, FACE])
    truth[1, 2] = np.nan
    moved = np.concatenate([FACE, FACE]) + np.array([[[6.0, 0.0]], [[2.0, 0.0]]])
    assert normalised_percent(moved, truth, np.array([True, True]), EYES) == pytest.approx((60 + 20) / 2)


def test_an_image_without_its_unit_does_not_count() -> None:
    hidden, together = FACE.copy(), FACE.copy()
    hidden[0, 0], together[0, 1] = np.nan, together[0, 0]
    moved = np.concatenate([FACE, FACE, FACE]) + 1
    truth = np.concatenate([FACE, hidden, together])
    percent = normalised_percent(moved, truth, np.ones(3, np.bool_), EYES)
    assert percent == pytest.approx(10 * math.sqrt(2))
    assert math.isnan(normalised_percent(hidden, hidden, ALL, EYES))


def test_both_forms_of_the_regression_agree_where_there_is_one_solution() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(100, [1, 30, 5, 0.1], (40, 4))
    truth = features @ rng.normal(size=(4, 3)) + rng.normal(size=(40, 3))
    truth[rng.random(truth.shape) < 0.2] = np.nan
    fit = np.arange(40) < 25
    np.testing.assert_allclose(regress_standardised(features, truth, fit), regress(features, truth, fit), rtol=1e-8)


def test_a_feature_that_never_moves_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(size=(20, 2)), np.full((20, 1), 128.0)], axis=1)
    truth, fit = rng.normal(size=(20, 1)), np.arange(20) < 12
    np.testing.assert_allclose(
        regress_standardised(features, truth, fit), regress_standardised(features[:, :2], truth, fit)
    )
    np.testing.assert_allclose(regress_standardised(np.ones((20, 1)), truth, fit), constant(truth, fit))


def test_the_standardised_form_by_hand() -> None:
    features, truth = np.array([[1.0], [3.0], [5.0]]), np.array([[10.0], [20.0], [np.nan]])
    # standardised by rows 0 and 1: -1, 1, 3 on both sides; the slope is 1
    predicted = regress_standardised(features, truth, np.array([True, True, False]))
    assert predicted.ravel().tolist() == pytest.approx([10, 20, 30])


def test_the_score_is_measured_in_squeezed_pictures_and_zero_where_the_parts_tell_all() -> None:
    rng = np.random.default_rng(0)
    centers = rng.uniform(0, 100, (20, 2, 2))
    landmarks = np.concatenate([centers + 5, centers.mean(1, keepdims=True)], axis=1)
    fit, sizes = np.arange(20) < 10, np.tile([512.0, 128.0], (20, 1))
    exact = score_landmarks(centers, landmarks, sizes, fit, EYES).errors.normalised_percent
    assert exact == pytest.approx(0, abs=1e-6)
    assert score_landmarks(centers, landmarks, sizes, fit).errors.normalised_percent is None
    squeezed = landmarks * [0.5, 2]
    mean = np.broadcast_to(squeezed[fit].mean(0), squeezed.shape)
    guess = score_landmarks(None, landmarks, sizes, fit, EYES).errors.normalised_percent
    assert guess == pytest.approx(normalised_percent(mean, squeezed, ~fit, EYES))


def test_units_are_named_by_landmarks_or_their_numbers() -> None:
    names = ("left eye", "right eye", "nose")
    assert Normaliser.parse("left eye, right eye", names) == Normaliser.parse("0,1", names) == EYES
    assert Normaliser.parse("box", names) == Normaliser()
    for text in ("nose", "0,3", "0,0", "left eye,ear", "0,1,2"):
        with pytest.raises(ValueError, match="cannot normalise by"):
            Normaliser.parse(text, names)
