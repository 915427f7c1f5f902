"""Shares one backend between callers: waiting images run through the network as one batch."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.data import Backend, NetworkOutputs
from streamparts.errors import ModelError
from streamparts.threads import DaemonThread

MAX_BATCH = 8


@dataclass(eq=False, slots=True)
class _Call:
    """A call that waits for the network."""

    images: ByteArray
    outputs: NetworkOutputs | None = None
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def result(self, outputs: NetworkOutputs | None, error: BaseException | None) -> None:
        self.outputs, self.error = outputs, error
        self.done.set()


class SharedBackend:
    """A Backend that many threads may call at once.

    One worker takes all waiting images, up to `max_batch`, and never waits for more, so a single image is as fast as
    without sharing. The models of this library process the images of a batch independently.
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
        self._running: list[_Call] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = DaemonThread("network", self._work)

    def run(self, images: ByteArray) -> NetworkOutputs:
        """See Backend.run. Raises the backend's error for the batch that contains `images`, and ModelError after
        `close`."""
        call = _Call(images)
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
            left = [*self._waiting, *self._running]
            self._waiting.clear()
            self._changed.notify_all()
        for call in left:
            call.done.set()
        return self._thread.ends(seconds)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._running = []
                while not (self._waiting or self._closed):
                    self._changed.wait()
                if self._closed:
                    return
                self._running = batch = self._take()
            self._run(batch)
            del batch  # otherwise this thread would keep the images alive while it waits

    def _take(self) -> list[_Call]:
        """Return the waiting calls, in order, that fit into one batch; always at least the first."""
        batch = [self._waiting.popleft()]
        size = len(batch[0].images)
        while self._waiting and size + len(self._waiting[0].images) <= self._max_batch:
            batch.append(self._waiting.popleft())
            size += len(batch[-1].images)
        return batch

    def _run(self, batch: list[_Call]) -> None:
        try:
            joined = batch[0].images if len(batch) == 1 else np.concatenate([call.images for call in batch])
            outputs = self._backend.run(joined)
        except BaseException as error:
            for call in batch:
                call.result(None, error)
            return
        start = 0
        for call in batch:
            call.result(_slice(outputs, start, start := start + len(call.images)), None)


def _slice(outputs: NetworkOutputs, start: int, end: int) -> NetworkOutputs:
    labels, affines, scores, evidence = outputs
    part = slice(start, end)
    return NetworkOutputs(labels[part], affines[part], scores[part], None if evidence is None else evidence[part])


def _closed() -> ModelError:
    return ModelError("the model was closed before it returned these results")
