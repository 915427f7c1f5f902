"""benchmarks/smoothing.py: its tracks, its reference filters, its figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.plain_filters import one_euro, robust_kalman
from benchmarks.smoothing import Simulation, figures, simulate


def line(*x: float) -> np.ndarray:
    """(F, 1, 2)"""
    return np.stack([np.array(x, float), np.zeros(len(x))], -1)[:, None]


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(0, 30.0, 20.0)


def test_the_plain_one_euro_filter_takes_the_share_that_its_cutoff_says() -> None:
    # 2 pi 0.1 s 1 Hz = 0.6283 of 1 + 0.6283
    assert one_euro(line(0, 1), 0.1, 1.0, 0.0)[1, 0, 0] == pytest.approx(0.38587, abs=1e-5)


def test_the_plain_one_euro_filter_opens_with_speed() -> None:
    # The derivative of 1 px in 0.1 s, smoothed at 1 Hz, is 3.8587 px/s: 1 Hz + 0.5 * 3.8587 = 2.9294 Hz.
    assert one_euro(line(0, 1), 0.1, 1.0, 0.5)[1, 0, 0] == pytest.approx(0.64796, abs=1e-5)


def test_the_plain_kalman_filter_weighs_by_its_variances() -> None:
    # Before: 2.25 + 0.1^2 * 1e4 + 2.2e5 * 0.1^3 / 3 = 175.583; 175.583 / (175.583 + 2.25)
    sure = np.ones((2, 1))
    assert robust_kalman(line(0, 1), sure, 0.1)[1, 0, 0] == pytest.approx(0.98735, abs=1e-5)
    assert robust_kalman(line(0, 1), 0 * sure, 0.1)[1, 0, 0] == 0
    # 2.25 / 0.1^2 = 225
    assert robust_kalman(line(0, 1), 0.1 * sure, 0.1)[1, 0, 0] == pytest.approx(0.43832, abs=1e-5)


def test_the_plain_kalman_filter_withstands_an_outlier_and_follows_a_jump() -> None:
    centers = np.zeros((40, 1, 2))
    centers[20], centers[30:] = 60, 80
    out = robust_kalman(centers, np.ones((40, 1)), 1 / 60)
    assert np.abs(out[20]).max() < 2 and np.abs(out[33:] - 80).max() < 5


def test_the_measured_tracks_have_the_noise_that_is_said(simulation: Simulation) -> None:
    found = figures(simulation, simulation.measured)
    assert found["visible px"] == pytest.approx(1.5 * 2**0.5, rel=0.05)
    assert found["at outliers px"] == pytest.approx(25 * 2**0.5, rel=0.2)
    assert found["hidden px"] == pytest.approx(np.hypot(1.5, 12) * 2**0.5, rel=0.1)
    # A step has 1.5 px times the root of 2 in each axis: its mean length is that times the root of pi / 2.
    assert found["jitter at rest px/frame"] > 1.5 * 2**0.5 * (np.pi / 2) ** 0.5
    assert abs(found["lag ms"]) <= 1


def test_the_truth_has_no_error_no_jitter_and_no_lag(simulation: Simulation) -> None:
    found = figures(simulation, simulation.truth)
    assert found.pop("jitter at rest px/frame") < 0.05 and found.pop("all steps px/frame") < 0.05
    assert set(found.values()) == {0.0}


def test_tracks_that_come_later_have_that_lag(simulation: Simulation) -> None:
    late = np.concatenate([simulation.truth[:1], simulation.truth[:-1]])
    moving = replace(simulation, resting=np.ones_like(simulation.resting))
    assert figures(moving, late)["lag ms"] == pytest.approx(1000 / 30, abs=1)
