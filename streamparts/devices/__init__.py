"""Images in a GPU's memory, and backends that take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from streamparts.data import Backend, DeviceImage, NetworkOutputs, Overlapping


@runtime_checkable
class OnDevice(Backend, Protocol):
    """A backend that also takes images from the memory of its own device."""

    def run_on_device(self, images: Sequence[DeviceImage]) -> NetworkOutputs:
        """run() for images at the model's input size that are on the device. Raises ModelError."""


@runtime_checkable
class OverlappingOnDevice(OnDevice, Overlapping, Protocol):
    """A backend on a device that can start on a batch there before the previous one is done."""

    def submit_on_device(self, images: Sequence[DeviceImage]) -> None:
        """submit() for images at the model's input size, at most max_batch, that are on the device; they may be dropped
        at once. Raises ModelError."""
