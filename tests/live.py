"""Sources that a test controls step by step, and waits that end."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from streamparts.arrays import ByteArray
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.bundle.load import Bundle
from streamparts.data import Frame, Gap, NetworkOutputs
from tests.media import ArraySource, picture

PATIENCE_SECONDS = 20.0


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.002)


def threads_of_the_library() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("streamparts")]


def wait_for_threads() -> None:
    """Wait for abandoned threads, after the test has released what blocked them."""
    wait_until(lambda: not threads_of_the_library(), "all threads had ended")


class HandSource(ArraySource):
    """A live source that yields a frame when the test allows it, and waits for the next one until it is closed."""

    name = "hand"
    live = True

    def __init__(self) -> None:
        super().__init__(num_frames=0)
        self.num_frames = None  # type: ignore[assignment]
        self._frames: queue.SimpleQueue[Frame | BaseException | None] = queue.SimpleQueue()
        self._num_asked = 0
        self.num_given = 0

    def give(self, count: int = 1, segment: int = 0, gap: Gap | None = None) -> None:
        """`count` frames, `gap` before the first of them."""
        for number in range(count):
            image = picture(self.num_given, self.height, self.width)
            frame = Frame(self.num_given, self.num_given, self.time_base, image, 0, self.height, self.width, 0.0)
            frame = replace(frame, segment=segment, gap=None if number else gap, decoded_at=time.perf_counter())
            self.num_given += 1
            self._frames.put(frame)

    def give_and_wait(self, count: int = 1, segment: int = 0, gap: Gap | None = None) -> None:
        """Until they are where they wait for the network, or have made room for newer ones."""
        self.give(count, segment, gap)
        wait_until(lambda: self._num_asked > self.num_given, "the source was asked for the next frame")

    def finish(self, error: BaseException | None = None) -> None:
        self._frames.put(error)

    def __iter__(self) -> Iterator[Frame]:
        while True:
            self._num_asked += 1
            frame = self._frames.get()
            if isinstance(frame, BaseException):
                raise frame
            if frame is None:
                return
            yield frame

    def close(self) -> None:
        super().close()
        self.finish()


class DeafSource(ArraySource):
    """Yields some frames and then blocks until `release` is set, whatever the runtime requests."""

    def __init__(self, num_frames: int) -> None:
        super().__init__(num_frames)
        self.release = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        yield from super().__iter__()
        self.release.wait()


class GatedBackend:
    """Hangs in the call number `stuck_at` and later ones until `release` is set."""

    name = "gated"

    def __init__(self, bundle: Bundle, stuck_at: int = 0) -> None:
        self._inner, self._left = OnnxRuntimeBackend(bundle, threads=1), stuck_at
        self.release = threading.Event()
        self.entered = threading.Event()
        self.batches: list[int] = []

    def run(self, images: ByteArray) -> NetworkOutputs:
        self.batches.append(len(images))
        if self._left == 0:
            self.entered.set()
            self.release.wait()
        else:
            self._left -= 1
        return self._inner.run(images)
