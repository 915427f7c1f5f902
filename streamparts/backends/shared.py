"""Shares one backend between callers: waiting images run through the network as one batch."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.backends.overlap import NUM_SLOTS
from streamparts.data import Backend, DeviceImage, NetworkOutputs, Overlapping
from streamparts.devices import OnDevice, OverlappingOnDevice
from streamparts.errors import ModelError
from streamparts.threads import DaemonThread

MAX_BATCH = 8


@dataclass(eq=False, slots=True)
class _Call:
    """A call that waits for the network."""

    images: ByteArray | list[DeviceImage]
    """A list if they are on the backend's device."""
    outputs: NetworkOutputs | None = None
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def result(self, outputs: NetworkOutputs | None, error: BaseException | None) -> None:
        self.outputs, self.error = outputs, error
        self.done.set()


class SharedBackend:
    """A Backend that many threads may call at once.

    One worker takes all waiting images, up to `max_batch`, and never waits for more, so a single image is as fast as
    without sharing. While a batch is under way, it starts on the next, if the backend can. The models of this library
    process the images of a batch independently.
    """

    def __init__(self, backend: Backend, max_batch: int | None = None) -> None:
        """`max_batch` None is the backend's own `max_batch`, or 8 if it has none. A single call with more images is
        passed on unchanged."""
        limit = getattr(backend, "max_batch", MAX_BATCH) if max_batch is None else max_batch
        if limit < 1:
            raise ValueError(f"max_batch must be at least 1, got {limit}")
        self.name = backend.name
        self._backend, self._max_batch = backend, int(limit)
        self._waiting: deque[_Call] = deque()
        self._starting: list[_Call] = []
        self._under_way: deque[list[_Call]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [DaemonThread("network", self._work)]
        if isinstance(backend, Overlapping):
            self._threads.append(DaemonThread("network-results", self._collect_all))

    def run(self, images: ByteArray) -> NetworkOutputs:
        """See Backend.run. Raises the backend's error for the batch that contains `images`, and ModelError after
        `close`."""
        return self._outputs_of(_Call(images))

    def _outputs_of(self, call: _Call) -> NetworkOutputs:
        with self._changed:
            if self._closed:
                raise _closed()
            self._waiting.append(call)
            self._changed.notify_all()
        call.done.wait()
        if call.outputs is None:
            raise call.error or _closed()
        return call.outputs

    def close(self, seconds: float = 0.2) -> bool:
        """Waiting callers get a ModelError, even if the network hangs. Returns False if it hangs and its thread is
        abandoned."""
        with self._changed:
            self._closed = True
            left = [*self._waiting, *self._starting, *(call for batch in self._under_way for call in batch)]
            self._waiting.clear()
            self._changed.notify_all()
        for call in left:
            call.done.set()
        deadline = time.monotonic() + seconds
        return all(thread.ends(max(0.0, deadline - time.monotonic())) for thread in self._threads)

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            if isinstance(self._backend, Overlapping) and _size(batch) <= self._backend.max_batch:
                self._submit(self._backend, batch)
            else:  # a backend that does one thing at a time, or a single call of more images
                self._run(batch)
            with self._changed:
                self._starting = []
                self._changed.notify_all()
            del batch  # otherwise this thread would keep the images alive while it waits

    def _next_batch(self) -> list[_Call] | None:
        """Wait for calls, and until they may start; None at the end."""
        with self._changed:
            while not self._closed:
                if self._waiting and (not self._under_way or self._may_start_beside()):
                    self._starting = self._take()
                    return self._starting
                self._changed.wait()
        return None

    def _may_start_beside(self) -> bool:
        """True if what waits can start while a batch is under way."""
        return len(self._under_way) < NUM_SLOTS and len(self._waiting[0].images) <= self._max_batch

    def _submit(self, backend: Overlapping, batch: list[_Call]) -> None:
        """Start on a batch, whose images are written where they are uploaded from, or are on the device."""
        try:
            if (there := _on_device(batch)) is not None:
                assert isinstance(backend, OverlappingOnDevice)
                backend.submit_on_device(there)
            else:
                rows = backend.rows(_size(batch))
                np.concatenate(_on_host(batch), out=rows)
                backend.submit(rows)
        except BaseException as error:
            _fail(batch, error)
        else:
            with self._changed:
                self._under_way.append(batch)

    def _collect_all(self) -> None:
        """Hand out the results of batches under way, oldest first, in a thread of its own."""
        while (batch := self._oldest_under_way()) is not None:
            assert isinstance(self._backend, Overlapping)
            try:
                outputs = self._backend.collect()
            except BaseException as error:
                _fail(batch, error)
            else:
                _hand_out(batch, outputs)
            with self._changed:
                self._under_way.popleft()
                self._changed.notify_all()
            del batch

    def _oldest_under_way(self) -> list[_Call] | None:
        with self._changed:
            while not (self._under_way or (self._closed and not self._starting)):
                self._changed.wait()
            return self._under_way[0] if self._under_way else None

    def _take(self) -> list[_Call]:
        """Return the waiting calls, in order, that fit into one batch; always at least the first. Their images are all
        on the device, or none."""
        batch = [self._waiting.popleft()]
        size, kind = len(batch[0].images), type(batch[0].images)
        while (
            self._waiting
            and type(self._waiting[0].images) is kind
            and size + len(self._waiting[0].images) <= self._max_batch
        ):
            batch.append(self._waiting.popleft())
            size += len(batch[-1].images)
        return batch

    def _run(self, batch: list[_Call]) -> None:
        try:
            if (there := _on_device(batch)) is not None:
                assert isinstance(self._backend, OnDevice)
                outputs = self._backend.run_on_device(there)
            else:
                images = _on_host(batch)
                outputs = self._backend.run(images[0] if len(images) == 1 else np.concatenate(images))
        except BaseException as error:
            _fail(batch, error)
        else:
            _hand_out(batch, outputs)


class SharedDeviceBackend(SharedBackend):
    """One whose backend also takes images from its device's memory."""

    def run_on_device(self, images: Sequence[DeviceImage]) -> NetworkOutputs:
        """See devices.OnDevice; errors as for `run`."""
        return self._outputs_of(_Call(list(images)))


def share(backend: Backend) -> SharedBackend:
    """A SharedBackend that takes what `backend` takes."""
    return SharedDeviceBackend(backend) if isinstance(backend, OnDevice) else SharedBackend(backend)


def _on_device(batch: list[_Call]) -> list[DeviceImage] | None:
    """The images of a batch on the device; None if they are in the host's memory."""
    lists = [call.images for call in batch if isinstance(call.images, list)]
    return [image for images in lists for image in images] if lists else None


def _on_host(batch: list[_Call]) -> list[ByteArray]:
    return [call.images for call in batch if not isinstance(call.images, list)]


def _size(batch: list[_Call]) -> int:
    return sum(len(call.images) for call in batch)


def _fail(batch: list[_Call], error: BaseException) -> None:
    for call in batch:
        call.result(None, error)


def _hand_out(batch: list[_Call], outputs: NetworkOutputs) -> None:
    start = 0
    for call in batch:
        call.result(_slice(outputs, start, start := start + len(call.images)), None)


def _slice(outputs: NetworkOutputs, start: int, end: int) -> NetworkOutputs:
    labels, affines, scores, evidence = outputs
    part = slice(start, end)
    return NetworkOutputs(labels[part], affines[part], scores[part], None if evidence is None else evidence[part])


def _closed() -> ModelError:
    return ModelError("the model was closed before it returned these results")
