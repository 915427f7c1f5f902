"""Ridge regression of landmarks, with whole groups of frames held out."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.linear_model import Ridge

from train.judging.ridge import (
    STRENGTHS,
    Folds,
    Sums,
    constant_predictions,
    ridge_predictions,
    ridge_section,
    silhouette_features,
)


def test_clips_are_left_out_one_by_one_and_few_or_many_by_eighths() -> None:
    assert Folds.of(np.repeat([5, 7, 8, 9], 3)).numbers.tolist() == np.repeat([0, 1, 2, 3], 3).tolist()
    one = Folds.of(np.zeros(80, np.int64))
    assert one.kind == "8 blocks of consecutive frames"
    assert np.bincount(one.numbers).tolist() == [10] * 8
    stills = Folds.of(np.arange(58))
    assert stills.kind == "8 blocks of consecutive clips or stills"
    assert (np.diff(stills.numbers) >= 0).all()
    assert len(np.unique(stills.numbers)) == 8


def test_the_weights_are_those_of_scikit_learns_ridge_on_standardised_features() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 3)) * [1, 10, 100]
    truth = features @ [[1.0], [2.0], [0.1]] + rng.normal(size=(40, 1)) + 7
    scaled = (features - features.mean(0)) / features.std(0)
    expected = Ridge(alpha=0.1 * 40).fit(scaled, truth[:, 0]).predict(scaled)
    weights = Sums.of(features - features.mean(0), truth).solve(0.1)
    found = (features - features.mean(0)) @ weights[0, :-1] + weights[0, -1]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_each_clip_is_predicted_by_the_others_alone() -> None:
    """In three clips y = x; in the fourth y = x + 100, which cannot be predicted."""
    clips = np.repeat(np.arange(4), 10)
    x = np.tile(np.arange(10.0), 4)[:, None]
    truth = x + 100 * (clips == 3)[:, None]
    predicted, strengths = ridge_predictions(x, truth, clips)
    np.testing.assert_allclose(predicted[clips == 3], x[clips == 3], atol=0.01)
    assert strengths[3] == STRENGTHS[0]
    assert (predicted[clips == 0] > x[clips == 0] + 20).all()  # drawn up by the fourth


def test_useless_features_take_the_stiffest_ridge_and_come_near_the_constant() -> None:
    rng = np.random.default_rng(1)
    clips = np.repeat(np.arange(6), 5)
    features, truth = rng.normal(size=(30, 20)), rng.normal(size=(30, 4))
    predicted, strengths = ridge_predictions(features, truth, clips)
    assert float(np.median(strengths)) == STRENGTHS[-1]
    ridge, mean = (np.abs(p - truth).mean() for p in (predicted, constant_predictions(truth, clips)))
    assert ridge < 1.15 * mean


def test_the_strength_is_chosen_without_a_look_at_what_is_left_out() -> None:
    rng = np.random.default_rng(2)
    clips = np.repeat(np.arange(5), 8)
    features, truth = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    changed = truth.copy()
    changed[clips == 2] += 1000 * rng.normal(size=(8, 2))
    one, other = ridge_predictions(features, truth, clips), ridge_predictions(features, changed, clips)
    assert one[1][2] == other[1][2]
    np.testing.assert_allclose(one[0][clips == 2], other[0][clips == 2])


def test_missing_labels_are_left_out_coordinate_by_coordinate() -> None:
    clips = np.repeat(np.arange(4), 5)
    x = np.linspace(0, 1, 20)[:, None]
    truth = np.concatenate([2 * x, 3 * x, np.full_like(x, np.nan)], axis=1)
    truth[::3, 0] = np.nan
    predicted, _ = ridge_predictions(x, truth, clips)
    np.testing.assert_allclose(predicted[:, 0], 2 * x[:, 0], atol=0.01)
    np.testing.assert_allclose(predicted[:, 1], 3 * x[:, 0], atol=0.01)
    assert np.isnan(predicted[:, 2]).all()


def test_the_constant_is_the_mean_of_the_other_clips() -> None:
    truth = np.array([[1.0, np.nan], [3.0, np.nan], [8.0, 5.0]])
    found = constant_predictions(truth, np.array([0, 0, 1]))
    assert found[:, 0].tolist() == [8, 8, 2]
    assert found[:2, 1].tolist() == [5, 5]
    assert np.isnan(found[2, 1])


def test_errors_are_those_of_pictures_squeezed_to_256_and_of_the_video() -> None:
    clips = np.arange(4)
    landmarks = np.array([0.0, 0, 0, 40])[:, None, None] * np.ones((1, 1, 2))
    section = ridge_section({"none": None}, landmarks, np.tile([512.0, 128.0], (4, 1)), clips)
    assert section is not None
    # x at 256: 0, 0, 0, 20; left out one by one: 20/3 three times and 20
    assert section["constant"]["mean_px"] == pytest.approx(20)
    assert section["constant"]["mean_px256"] == pytest.approx((10 + 40) / 2)
    assert section["none"] is None
    assert section["left_out"] == "4 clips"


def test_one_frame_cannot_be_left_out() -> None:
    assert ridge_section({}, np.zeros((1, 1, 2)), np.ones((1, 2)), np.zeros(1, np.int64)) is None


def test_a_silhouette_is_its_centre_its_spread_and_its_slant() -> None:
    mask = np.zeros((128, 512), np.bool_)
    mask[32:64, 128:256] = True  # at 256: x 64 to 128, y 64 to 128
    x, y, spread_x, spread_y, slant = silhouette_features(mask).tolist()
    assert (x, y, slant) == (96, 96, 0)
    assert spread_x == pytest.approx(64 / np.sqrt(12), rel=1e-3)
    assert spread_y == pytest.approx(64 / np.sqrt(12), rel=1e-3)
    diagonal = silhouette_features(np.eye(256, dtype=np.bool_)).tolist()
    assert diagonal[4] == pytest.approx(diagonal[2])
    assert silhouette_features(np.fliplr(np.eye(256, dtype=np.bool_)))[4] < 0
    assert silhouette_features(np.zeros((4, 4), np.bool_)).tolist() == [128, 128, 0, 0, 0]
