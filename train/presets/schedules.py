"""Schedules of a training run: the factors of terms that fade in or out, and the ellipse gate."""

from __future__ import annotations

from ..running.loop import ramp
from ..terms.weights import Fades
from .assembly import TrainingConfig
from .scops import ScopsTrainingConfig


def fades_at(step: int, config: TrainingConfig | ScopsTrainingConfig) -> Fades:
    """Return the factors at a step of the teacher or of SCOPS."""
    if isinstance(config, ScopsTrainingConfig):
        return Fades(borders=ramp(step / config.steps, *config.settling))
    age = step / config.bootstrap_steps
    return Fades(
        # Ellipses explain the moving pixels until parts are distinguished by their motion.
        bootstrap=1 - ramp(age, 0.5, 1.0),
        motion=ramp(age, 0.0, 1.0),
        # Edges and colours would kill slots that are still weak.
        borders=ramp(age, 1.5, 2.5),
        # A gate below 1 is allowed, for networks without one.
        gate=min(config.gate, 1 + (config.gate - 1) * ramp(step, 0, config.gate_steps)),
    )
