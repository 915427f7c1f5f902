"""Detection of the subject's presence, fitted on frames with and without it."""

from __future__ import annotations

import numpy as np
import pytest

from streamparts.bundle.spec import SubjectSpec
from streamparts.data import Parts
from streamparts.errors import StreampartsError
from streamparts.tracking.presence import presence_features, subject_score
from train.students.presence import calibrate, scores


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
    with pytest.raises(StreampartsError, match=r"both.*without"):
        calibrate(features[present > 0.5], present[present > 0.5])


def parts_of(*shares: float) -> Parts:
    """Ten parts of which the first ones have these shares of the picture, all of them quite sure."""
    evidence = np.zeros((10, 2), np.float32)
    for row, share in zip(evidence, shares, strict=False):
        row[:] = share, 0.9
    affines = np.zeros((10, 2, 3), np.float32)
    return Parts(np.zeros((8, 8), np.uint8), affines, np.full(10, 0.8, np.float32), evidence)


def test_features_are_area_certainty_and_how_many_parts_share_it() -> None:
    assert presence_features(parts_of(0.05, 0.05, 0.05, 0.05)) == pytest.approx([np.log10(0.2001), 0.8, 0.4])
    assert presence_features(parts_of(0.2)) == pytest.approx([np.log10(0.2001), 0.8, 0.1])
    assert presence_features(parts_of()) == pytest.approx([-4, 0, 0])


def test_a_model_with_three_slopes_doubts_a_subject_of_one_part_and_one_with_two_does_not() -> None:
    one, many = parts_of(0.2), parts_of(*[0.02] * 10)
    three = SubjectSpec(slope=(1.0, 1.0, 6.0), offset=-2.5, source="drawn")
    two = SubjectSpec(slope=(1.0, 1.0), offset=0.4, source="drawn")
    assert subject_score(one, three) < 0.2 and subject_score(many, three) > 0.9
    assert subject_score(one, two) == pytest.approx(subject_score(many, two), abs=1e-3)


@pytest.mark.parametrize("slope", [(1.0,), (1.0, 2.0, 3.0, 4.0), (1.0, 2.0, float("nan"))])
def test_a_slope_that_no_score_is_made_of_is_refused(slope: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="slope"):
        SubjectSpec(slope=slope, offset=0.0, source="drawn")
