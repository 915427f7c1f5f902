"""Detection of the subject's presence, fitted on frames with and without it."""

from __future__ import annotations

import numpy as np
import pytest

from streamparts.errors import StreampartsError
from train.presence import calibrate, scores


def frames(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of frames of which the second half shows the subject: more mass, surer parts."""
    rng = np.random.default_rng(seed)
    without = rng.normal((-3.5, 0.4), (0.6, 0.15), (count, 2))
    present = rng.normal((-1.2, 0.85), (0.4, 0.08), (count, 2))
    return np.concatenate([without, present]), np.repeat([0.0, 1.0], count)


def test_unseen_frames_are_told_apart() -> None:
    slope, offset = calibrate(*frames(200, seed=0))
    features, present = frames(200, seed=1)
    assert ((scores(features, slope, offset) > 0.5) == (present > 0.5)).mean() > 0.97
    assert slope[0] > 0 and slope[1] > 0


def test_a_score_is_the_chance_where_both_kinds_look_alike() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(0, 1, (4000, 2))
    present = (rng.random(4000) < 1 / (1 + np.exp(-3 * features[:, 0]))).astype(float)
    slope, offset = calibrate(features, present)
    guess = scores(features, slope, offset)
    for low in (0.1, 0.4, 0.7):
        some = (guess > low) & (guess < low + 0.2)
        assert present[some].mean() == pytest.approx(guess[some].mean(), abs=0.1)
    assert abs(slope[1]) < 0.3 * slope[0]


def test_a_hundred_frames_without_it_do_not_outvote_ten_with_it() -> None:
    features, present = frames(300, seed=3)
    few = np.concatenate([np.arange(300), np.arange(300, 310)])
    slope, offset = calibrate(features[few], present[few])
    assert (scores(features[present > 0.5], slope, offset) > 0.5).mean() > 0.9


def test_frames_of_one_kind_only_are_refused() -> None:
    features, present = frames(10, seed=4)
    with pytest.raises(StreampartsError, match="both with and without"):
        calibrate(features[present > 0.5], present[present > 0.5])
