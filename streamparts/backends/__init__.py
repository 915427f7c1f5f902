"""Engines that run a model. Each takes pictures and gives labels, affines and scores; nothing else differs."""

from __future__ import annotations

from typing import Protocol

from streamparts.data import ByteArray, FloatArray


class Backend(Protocol):
    """Runs the network of one bundle. Called from one thread at a time."""

    def run(self, images: ByteArray) -> tuple[ByteArray, FloatArray, FloatArray]:
        """(N, H, W, 3) uint8 RGB at the model's input size -> labels (N, H, W) uint8, affines (N, K, 2, 3)
        canonical -> normalised image coordinates, scores (N, K) in [0, 1]."""
        ...
