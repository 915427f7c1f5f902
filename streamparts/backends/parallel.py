"""Runs two batches of the network at once, each in a thread of its own: for several sources, if there are cores."""

from __future__ import annotations

import queue
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.backends.overlap import NUM_SLOTS
from streamparts.data import Backend, NetworkOutputs
from streamparts.errors import ModelError
from streamparts.machine import usable_cores
from streamparts.meter import StageClock
from streamparts.threads import GRACE_SECONDS, DaemonThread, countdown

_MAX_BATCH = 8
"""Largest batch of `submit`."""
_LOOK_SECONDS = 0.2
"""Longest wait at a time: some systems deliver Ctrl-C only between waits."""


@runtime_checkable
class Reentrant(Backend, Protocol):
    """A backend that states whether several threads may call `run` at once."""

    @property
    def is_reentrant(self) -> bool:
        """True if they may, and the results are those of calls one after another."""


def can_run_in_parallel(backend: Backend) -> bool:
    """True if two frames can run at once, and there are cores for them."""
    return isinstance(backend, Reentrant) and backend.is_reentrant and usable_cores() > 1


@dataclass(eq=False, slots=True)
class _Submitted:
    """A batch, and later its result."""

    images: ByteArray
    outputs: NetworkOutputs | None = None
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)


class ParallelRuns:
    """A backend as data.Overlapping: two batches run at once, and are collected in the order of their submission."""

    def __init__(self, backend: Backend, input_hw: tuple[int, int], clock: StageClock | None = None) -> None:
        """The threads start with the first batch; end them with `close`. `backend`, which must allow calls from several
        threads, remains the caller's. `clock` receives the seconds of each batch as "infer"."""
        self.name, self.max_batch = backend.name, _MAX_BATCH
        self._backend, self._input_hw, self._clock = backend, input_hw, clock or StageClock()
        self._given: ByteArray | None = None
        """The memory that `rows` returned last."""
        self._calls: queue.SimpleQueue[_Submitted | None] = queue.SimpleQueue()
        self._under_way: deque[_Submitted] = deque()
        self._closed = threading.Event()
        self._threads: list[DaemonThread] = []

    def run(self, images: ByteArray) -> NetworkOutputs:
        """See Backend.run."""
        with self._clock.time("infer"):
            return self._backend.run(images)

    def rows(self, batch: int) -> ByteArray:
        """(batch, H, W, 3) memory for the next `submit`, new each time."""
        self._given = np.empty((batch, *self._input_hw, 3), np.uint8)
        return self._given

    def submit(self, images: ByteArray) -> None:
        """Start on (N, H, W, 3) images. Raises ValueError if two batches wait for `collect`."""
        if len(self._under_way) == NUM_SLOTS:
            raise ValueError(f"{NUM_SLOTS} batches are waiting; collect() one first")
        call = _Submitted(images if images is self._given else images.copy())
        self._given = None
        if not self._threads:
            self._threads = [DaemonThread(f"network-{number}", self._work) for number in range(NUM_SLOTS)]
        self._under_way.append(call)
        self._calls.put(call)

    def collect(self) -> NetworkOutputs:
        """Wait for the oldest batch. Raises its error, and ModelError after `close`."""
        if not self._under_way:
            raise ValueError("nothing was submitted")
        call = self._under_way.popleft()
        while not call.done.wait(_LOOK_SECONDS) and not self._closed.is_set():
            pass
        if call.outputs is None:
            raise call.error or ModelError("the run was closed before the network returned these results")
        return call.outputs

    def close(self, seconds: float = GRACE_SECONDS) -> bool:
        """End the threads after the batches that they work on. Returns False if one did not end within `seconds`: then
        it is abandoned."""
        self._closed.set()
        for _ in self._threads:
            self._calls.put(None)
        left = countdown(seconds)
        have_ended = [thread.ends(left) for thread in self._threads]
        return all(have_ended)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            if self._closed.is_set():
                break
            try:
                with self._clock.time("infer"):
                    call.outputs = self._backend.run(call.images)
            except BaseException as error:
                call.error = error
            call.done.set()
            del call  # otherwise this thread would keep the images alive while it waits
