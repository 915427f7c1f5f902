"""The tracks of a source in an event loop: `async for tracks in streamparts.atrack("rtsp://...")`."""

from __future__ import annotations

import asyncio
import queue
import warnings
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from streamparts.backends.choice import AUTO
from streamparts.bundle.load import Bundle
from streamparts.data import Backend, Tracks
from streamparts.meter import StageClock
from streamparts.runtime.loop import open_pipeline
from streamparts.runtime.options import Network, Policy, Tracking
from streamparts.runtime.pipeline import Pipeline
from streamparts.sources import Source
from streamparts.threads import GRACE_SECONDS, DaemonThread
from streamparts.tracking.roi import Roi
from streamparts.tracking.skeleton import Skeleton
from streamparts.tracking.smoothing import Smoothing


async def atrack(
    source: str | Path | Source,
    model: str | Path | Bundle | None = None,
    *,
    backend: Backend | str = AUTO,
    threads: int | None = None,
    clock: StageClock | None = None,
    policy: Policy | None = None,
    max_fps: float | None = None,
    smoothing: Smoothing | None = None,
    skeleton: Skeleton | str | Path | None = None,
    roi: Roi | None = None,
    subjects: int = 1,
) -> AsyncGenerator[Tracks]:
    """`streamparts.track` for `async for`: the same arguments, tracks and errors, in the same order.

    All work runs in threads; the event loop only waits. Cancelling the task, or closing this generator
    (`contextlib.aclosing` does so if the loop is left early), ends the threads within two seconds, even if the source
    supplies no frame. A hanging network cannot be ended: then its thread is abandoned, with a RuntimeWarning.
    """

    tracking = Tracking(
        policy=policy, max_fps=max_fps, smoothing=smoothing, skeleton=skeleton, roi=roi, subjects=subjects
    )
    session = _Session(partial(open_pipeline, source, Network(model, backend, threads), tracking, clock))
    worker = _Worker(asyncio.get_running_loop())
    try:
        while (tracks := await worker.call(session.next)) is not None:
            yield tracks
    finally:
        session.end()
        closed = worker.call(session.close)
        worker.finish()
        await asyncio.wait([closed], timeout=GRACE_SECONDS)
        if not (closed.done() and closed.result()):
            warnings.warn("tracking did not stop in time; its threads are abandoned", RuntimeWarning, 2)


class _Session:
    """A pipeline that one thread opens, iterates and closes, and any thread may end."""

    def __init__(self, open_it: Callable[[], tuple[Pipeline, ExitStack]]) -> None:
        self._open = open_it
        self._pipeline: Pipeline | None = None
        self._results: Iterator[Tracks] = iter(())
        self._stack = ExitStack()
        self._ended = False

    def next(self) -> Tracks | None:
        """None at the end."""
        if self._pipeline is None and not self._ended:
            self._pipeline, self._stack = self._open()
            self._results = iter(self._pipeline)
        return None if self._ended else next(self._results, None)

    def end(self) -> None:
        """Wake `next` if it waits for a frame."""
        self._ended = True
        if self._pipeline:
            self._pipeline.end()

    def close(self) -> bool:
        """Returns False if a thread was abandoned, with the objects it uses."""
        if self._pipeline and not self._pipeline.close():
            self._stack.pop_all()
            return False
        self._stack.close()
        return True


class _Worker:
    """A thread that makes calls for an event loop, one after the other. Unlike an executor's, it is a daemon thread: if
    it hangs, the process can still end."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = queue.SimpleQueue()
        DaemonThread("async", self._work)

    def call(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        self._calls.put((function, future))
        return future

    def finish(self) -> None:
        """End the thread after the calls made so far."""
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            function, future = call
            try:
                result, error = function(), None
            except BaseException as raised:
                result, error = None, raised
            try:
                self._loop.call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:  # the event loop is closed, so nothing waits
                return
            del call, future, result, error  # otherwise this thread would keep one frame alive while it waits


def _settle(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
