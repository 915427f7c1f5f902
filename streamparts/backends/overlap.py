"""Batches in flight: a backend with two slots uploads one batch and downloads another while the network runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Protocol

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.data import NetworkOutputs

NUM_SLOTS = 2
"""Batches in flight: one is computed while the next is uploaded and the last downloaded."""


class DeviceSlot(Protocol):
    """One of the paths through a device, with its own stream and buffers."""

    @property
    def graphs(self) -> dict[int, bool]:
        """For each batch size that was run: True if it is replayed as a CUDA graph."""
        ...

    def rows(self, batch: int) -> ByteArray:
        """(batch, H, W, 3) page-locked memory that may be filled and then submitted, which saves a copy."""
        ...

    def submit(self, images: ByteArray) -> None:
        """Start on (N, H, W, 3) images, which are copied at once unless they are `rows`."""
        ...

    def collect(self) -> NetworkOutputs:
        """Wait for the submitted batch; returns arrays with their own memory."""
        ...


class InFlight:
    """The slots of a backend, and the batches that wait in them, oldest first. One thread may submit while another
    collects."""

    def __init__(self, slots: Sequence[DeviceSlot], max_batch: int) -> None:
        self.max_batch = max_batch
        self._every, self._free = tuple(slots), deque(slots)
        self._waiting: deque[DeviceSlot] = deque()

    @property
    def graphs(self) -> dict[int, bool]:
        """For each batch size that was run: True if every slot replays it as a CUDA graph."""
        found: dict[int, bool] = {}
        for slot in self._every:
            for size, graph in slot.graphs.items():
                found[size] = graph and found.get(size, True)
        return found

    def rows(self, batch: int) -> ByteArray:
        """(batch, H, W, 3) memory of the next submit()."""
        return self._next().rows(batch)

    def submit(self, images: ByteArray) -> None:
        """Start on a batch. Raises ValueError if there is no slot for it, or it is larger than max_batch."""
        if len(images) > self.max_batch:
            raise ValueError(f"submit takes at most {self.max_batch} images at once, got {len(images)}")
        self.start(lambda slot: slot.submit(images))

    def start(self, begin: Callable[[Any], None]) -> None:
        """Start whatever `begin` does with the next slot. Raises ValueError if there is none."""
        begin(self._next())
        self._waiting.append(self._free.popleft())

    def collect(self) -> NetworkOutputs:
        """Return the outputs of the oldest batch."""
        if not self._waiting:
            raise ValueError("nothing was submitted")
        slot = self._waiting.popleft()
        try:
            return slot.collect()
        finally:  # not before: another thread may submit to it at once
            self._free.append(slot)

    def run(self, images: ByteArray) -> NetworkOutputs:
        """Any number of images, split into batches that overlap."""
        self.require_idle()
        try:
            return joined(list(self._batches(images)))
        except BaseException:
            # the results of earlier batches must not be taken for later ones
            while self._waiting:
                with suppress(Exception):
                    self.collect()
            raise

    def require_idle(self) -> None:
        """Raise ValueError while submitted batches wait."""
        if self._waiting:
            raise ValueError("submitted images wait for collect()")

    def clear(self) -> None:
        """Forget the slots, before they are freed."""
        self._every = ()
        self._free.clear()
        self._waiting.clear()

    def _next(self) -> DeviceSlot:
        if not self._free:
            raise ValueError(f"{len(self._every)} batches are waiting; collect() one first")
        return self._free[0]

    def _batches(self, images: ByteArray) -> Iterator[NetworkOutputs]:
        for start in range(0, len(images), self.max_batch):
            if not self._free:
                yield self.collect()
            self.submit(images[start : start + self.max_batch])
        while self._waiting:
            yield self.collect()


def joined(batches: list[NetworkOutputs]) -> NetworkOutputs:
    """The outputs of successive batches as those of one."""
    if len(batches) == 1:
        return batches[0]
    columns = zip(*batches, strict=True)
    return NetworkOutputs(*(None if column[0] is None else np.concatenate(column) for column in columns))  # type: ignore[arg-type]
