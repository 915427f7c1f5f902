"""Engines that run a model. Each takes pictures and gives labels, affines and scores; nothing else differs."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from streamparts.data import ByteArray, FloatArray


class Outputs(NamedTuple):
    """What a network says of N pictures."""

    labels: ByteArray
    """(N, H, W): 0 is background, k + 1 is part k."""
    affines: FloatArray
    """(N, K, 2, 3) canonical -> image, normalised."""
    scores: FloatArray
    """(N, K) in [0, 1]."""
    evidence: FloatArray | None = None
    """(N, K, 2) mass and peak of each part, from models that give them: see data.Parts."""


class Backend(Protocol):
    """Runs the network of one bundle. Called from one thread at a time."""

    name: str
    """As --backend takes it."""

    def run(self, images: ByteArray) -> Outputs:
        """(N, H, W, 3) uint8 RGB at the model's input size -> Outputs. Raises ModelError when the network fails."""
        ...
