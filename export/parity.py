"""What may differ between a network, its graph and that in cheaper arithmetic; how is in streamparts.parity."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import nn

from streamparts.arrays import ByteArray
from streamparts.bundle.agreement import Tolerance
from streamparts.bundle.load import Bundle, check_model
from streamparts.bundle.spec import ModelSpec, Precision
from streamparts.data import Outputs
from streamparts.errors import ModelError
from streamparts.parity.agreement import Comparison, Runner, compare, in_turn
from streamparts.parity.sample_frames import FrameSet

BATCHES = (8, 1, 3, 2)
"""Sizes that take turns."""
TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(labels=0.999, pose_px=0.05, score=1e-3, odd=20),
    "fp16": Tolerance(labels=0.995, pose_px=0.3, score=0.05),
    "int8": Tolerance(labels=0.99, pose_px=0.5, score=0.1, mean=True),
}


def tolerance_of(precision: Precision) -> Tolerance:
    """What a model of this precision may differ from fp32, and a graph in fp32 from the network. Raises ModelError for
    what cannot be run here, so not be compared."""
    if precision not in TOLERANCES:
        raise ModelError(f"{precision} does not run on a CPU, so it cannot be compared here; use streamparts build")
    return TOLERANCES[precision]


def compare_frames(reference: Runner, candidate: Runner, frames: FrameSet, spec: ModelSpec) -> Comparison:
    """See agreement.compare."""
    return compare(reference, candidate, frames.images, spec, in_turn(len(frames.names), BATCHES))


def bundle_of(data: bytes, path: Path) -> Bundle:
    """A model that is not written yet. Raises ModelError unless it is sound."""
    return Bundle(check_model(data), path, hashlib.sha256(data).hexdigest(), data)


def network_runner(network: nn.Module) -> Runner:
    """A network that gives a Readout, as a runner."""

    @torch.no_grad()
    def run(images: ByteArray) -> Outputs:
        labels, affines, scores, evidence = network(torch.from_numpy(images))
        return Outputs(labels.numpy(), affines.numpy(), scores.numpy(), None if evidence is None else evidence.numpy())

    return run
