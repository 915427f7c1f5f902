"""What changes over a training run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("tyro")

from train.presets.assembly import TrainingConfig
from train.presets.schedules import fades_at
from train.presets.scops import ScopsTrainingConfig

TEACHER = TrainingConfig(Path("clips"), Path("run"), steps=1000, bootstrap_steps=200, gate_steps=100, gate=3.0)
SCOPS = ScopsTrainingConfig(Path("images"), Path("run"), steps=1000, settling=(0.4, 0.6))


@pytest.mark.parametrize(
    ("step", "bootstrap", "motion", "borders", "gate"),
    [
        (0, 1, 0, 0, 1),
        (50, 1, 0.25, 0, 2),
        (150, 0.5, 0.75, 0, 3),
        (200, 0, 1, 0, 3),
        (400, 0, 1, 0.5, 3),
        (999, 0, 1, 1, 3),
    ],
)
def test_motion_takes_over_from_the_ellipses_and_borders_come_last(
    step: int, bootstrap: float, motion: float, borders: float, gate: float
) -> None:
    assert fades_at(step, TEACHER) == pytest.approx((bootstrap, motion, borders, gate))


def test_a_gate_below_one_holds_from_the_first_step() -> None:
    assert fades_at(0, replace(TEACHER, gate=0.0)).gate == 0


@pytest.mark.parametrize(("step", "borders"), [(0, 0), (400, 0), (500, 0.5), (600, 1), (999, 1)])
def test_the_colours_of_scops_fade_in_between_the_shares_of_the_steps(step: int, borders: float) -> None:
    assert fades_at(step, SCOPS) == pytest.approx((1, 1, borders, 1))
