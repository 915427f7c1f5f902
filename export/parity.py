"""Tolerances between a network, its graph and lower-precision graphs; the room streamparts.parity compares."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import nn

from streamparts.arrays import ByteArray
from streamparts.bundle.agreement import Tolerance
from streamparts.bundle.load import Bundle, check_model
from streamparts.bundle.spec import ModelSpec, Precision
from streamparts.data import NetworkOutputs
from streamparts.errors import ModelError
from streamparts.parity.agreement import Comparison, Runner, compare, in_turn
from streamparts.parity.sample_frames import FrameSet

BATCHES = (8, 1, 3, 2)
"""Batch sizes used in turn."""
TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(labels=0.999, pose_px=0.05, score=1e-3, odd=20),
    "fp16": Tolerance(labels=0.995, pose_px=0.3, score=0.05),
    "int8": Tolerance(labels=0.99, pose_px=0.5, score=0.1, mean=True),
}


def tolerance_of(precision: Precision) -> Tolerance:
    """Return the tolerance of a model of this precision against fp32, and of an fp32 graph against the network. Raises
    ModelError for a precision that cannot be run, and so not compared, here."""
    if precision not in TOLERANCES:
        raise ModelError(f"{precision} does not run on a CPU, so it cannot be compared here; use streamparts build")
    return TOLERANCES[precision]


def compare_frames(reference: Runner, candidate: Runner, frames: FrameSet, spec: ModelSpec) -> Comparison:
    """See agreement.compare."""
    return compare(reference, candidate, frames.images, spec, in_turn(len(frames.names), BATCHES))


def bundle_of(data: bytes, path: Path) -> Bundle:
    """Return a model that is not written yet as a bundle. Raises ModelError if it is invalid."""
    return Bundle(check_model(data), path, hashlib.sha256(data).hexdigest(), data)


def network_runner(network: nn.Module) -> Runner:
    """Return a network that gives a Readout as a runner."""

    @torch.no_grad()
    def run(images: ByteArray) -> NetworkOutputs:
        labels, affines, scores, evidence = network(torch.from_numpy(images))
        return NetworkOutputs(
            labels.numpy(), affines.numpy(), scores.numpy(), None if evidence is None else evidence.numpy()
        )

    return run
