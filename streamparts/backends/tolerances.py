"""How far a backend may be from the model, by precision, and the comparison on generated patterns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.bundle.agreement import Agreement, Tolerance
from streamparts.bundle.spec import Precision
from streamparts.data import Backend
from streamparts.errors import BackendError
from streamparts.parity.agreement import compare, in_turn
from streamparts.parity.patterns import pattern_frames, plain_frames

if TYPE_CHECKING:
    from streamparts.bundle.load import Bundle

NUM_PATTERNS = 16
"""Number of generated frames for the comparison if no real ones are given."""
BATCHES = (1, 3, 8)
"""Batch sizes of the comparison, in turn: alone, padded, and as large as several sources make them."""
TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(labels=0.999, pose_px=0.05, score=1e-3, far=5),
    "fp16": Tolerance(labels=0.995, pose_px=0.3, score=1e-2, far=5),
    "bf16": Tolerance(labels=0.995, pose_px=0.3, score=1e-2, far=5),
    "int8": Tolerance(labels=0.98, pose_px=1.0, score=0.2, far=5),
}
"""Tolerances by precision, against ONNX Runtime in fp32, on real frames."""
MADE_UP_TOLERANCES: dict[Precision, Tolerance] = {
    **TOLERANCES,
    "bf16": Tolerance(labels=0.99, pose_px=0.3, score=1e-2, far=5),
    "int8": Tolerance(labels=0.85, pose_px=6.0, score=0.2, far=5),
}
"""The same on patterns, whose thin stripes have many pixels between two parts, and for which int8 was not calibrated:
they detect a broken engine, not a loss of accuracy."""


def comparison_frames(input_hw: tuple[int, int], real: ByteArray | None = None) -> tuple[ByteArray, bool]:
    """Return frames to compare on, the real ones if there are any, with a black and a white one, and whether they are
    generated."""
    chosen = pattern_frames(input_hw, NUM_PATTERNS) if real is None else real
    return np.concatenate([chosen, plain_frames(input_hw)]), real is None


def agreement(bundle: Bundle, backend: Backend, real: ByteArray | None = None) -> Agreement:
    """Compare a backend with the model in ONNX Runtime on the CPU, in several batch sizes."""
    frames, _ = comparison_frames(bundle.spec.input_hw, real)
    reference = OnnxRuntimeBackend(bundle)
    return compare(reference.run, backend.run, frames, bundle.spec, in_turn(len(frames), BATCHES)).agreement()


def disagreement(bundle: Bundle, backend: Backend, precision: Precision, real: ByteArray | None = None) -> str | None:
    """Return what exceeds the tolerance of `precision`, in words; None if nothing does."""
    allowed = (MADE_UP_TOLERANCES if real is None else TOLERANCES)[precision]
    return agreement(bundle, backend, real).problem(allowed)


def require_agreement(bundle: Bundle, backend: Backend, precision: Precision) -> None:
    """Raise BackendError if the backend differs from the model by more than `precision` allows, on patterns."""
    if (problem := disagreement(bundle, backend, precision)) is not None:
        raise BackendError(f"{backend.name} differs from the model: {problem}")
