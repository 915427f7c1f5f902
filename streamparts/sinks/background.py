"""A sink behind a short queue, so that drawing and encoding overlap with the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from streamparts.sinks import Sink
from streamparts.threads import Channel, DaemonThread

Item = TypeVar("Item")


class BackgroundSink(Generic[Item]):
    """Passes each frame's item to `sink` in a thread. If the queue is full, `write` waits: nothing is dropped.

    An error of the sink is raised by the next `write`, or by `close`.
    """

    def __init__(
        self,
        sink: Sink[Item],
        depth: int = 2,
        written: Callable[[Item], None] | None = None,
        weigh: Callable[[Item], int] | None = None,
    ) -> None:
        """`written` is called in the thread after each frame. At most `depth` items wait, fewer of heavy ones: `weigh`
        gives their bytes."""
        self._sink = sink
        self._written = written
        self._channel: Channel[Item] = Channel(depth, weigh=weigh)
        self._error: BaseException | None = None
        self._thread = DaemonThread("sink", self._work)

    def write(self, item: Item) -> None:
        """Queue one frame; raises the sink's error if it has failed."""
        if not self._channel.put(item):
            self.close()

    def close(self) -> None:
        """Write queued frames, close the sink and wait for it. Raises the sink's error, once."""
        self._channel.finish()
        self._thread.ends()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _work(self) -> None:
        try:
            for item in self._channel:
                self._sink.write(item)
                if self._written:
                    self._written(item)
                del item  # otherwise this thread would keep one frame alive while it waits
        except BaseException as error:
            self._error = error
        finally:
            self._channel.cancel()
            self._close_sink()

    def _close_sink(self) -> None:
        try:
            self._sink.close()
        except BaseException as error:
            self._error = self._error or error
