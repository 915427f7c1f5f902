"""Runs a PyTorch network on CUDA as one graph per batch size: each batch costs one upload, one launch and one download.

A batch is padded to the next power of two, so that few graphs serve all sizes. Where a graph cannot be captured, the
network runs without one, with a notice. `Stream` is the only class that names CUDA: tests put the host in its place.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamparts.arrays import ByteArray
from streamparts.backends.capture import CAPTURING, padded
from streamparts.data import NetworkOutputs

Network = Callable[[Tensor], Sequence[Tensor]]
Replay = Callable[[], None]

WARM_UP_RUNS = 3
"""Runs before a graph is captured, in which libraries choose their algorithms and allocate memory."""
ATTEMPTS = 2
"""Captures that are tried before a batch size runs without a graph: another library in the process may have disturbed
the first."""

_log = logging.getLogger(__name__)


class Stream(Protocol):
    """A queue of work on a device."""

    device: torch.device
    pinned: bool
    """True if the host's buffers must be page-locked."""

    def on(self) -> AbstractContextManager[object]:
        """Work inside goes to this queue."""
        ...

    def follow(self) -> None:
        """Make all later work wait for what the caller's own queue holds now."""
        ...

    def wait(self) -> None:
        """Wait until all of its work is done."""
        ...

    def capture(self, work: Callable[[], Tensor]) -> tuple[Replay, Tensor]:
        """Return a function that does the same again, and the tensor that it then fills. Raises RuntimeError."""
        ...


class CudaStream:
    """A stream of a GPU, and the memory of its graphs."""

    pinned = True

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def on(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(self._stream)

    def follow(self) -> None:
        self._stream.wait_stream(torch.cuda.current_stream(self.device))

    def wait(self) -> None:
        self._stream.synchronize()

    def capture(self, work: Callable[[], Tensor]) -> tuple[Replay, Tensor]:
        graph = torch.cuda.CUDAGraph()
        # "thread_local": other threads, such as another model's runs, may use the GPU meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            result = work()
        return graph.replay, result


class TorchSlot:
    """One of the paths through a device, with its own stream, buffers and graphs; see overlap.DeviceSlot."""

    def __init__(
        self,
        network: Network,
        stream: Stream,
        image_shape: tuple[int, ...],
        max_batch: int,
        label: str = "torch",
        settings: Callable[[], AbstractContextManager[object]] = torch.inference_mode,
    ) -> None:
        """`network` takes (N, *image_shape) uint8 images and returns as many tensors as NetworkOutputs, or one less;
        `settings` is entered around each of its runs, but not replays."""
        self._network, self._stream, self._max_batch = network, stream, max_batch
        self._label, self._settings = label, settings
        shape = (max_batch, *image_shape)
        self._host_images = torch.zeros(shape, dtype=torch.uint8, pin_memory=stream.pinned)
        with stream.on():
            self._images = torch.zeros(shape, dtype=torch.uint8, device=stream.device)
        self._passes: dict[int, _Pass] = {}
        self._current: tuple[_Pass, int] | None = None
        self._sources: Sequence[Tensor] = ()
        """Sources of the copies of the batch under way, kept because torch reuses the memory of a dropped tensor at
        once."""

    @property
    def graphs(self) -> dict[int, bool]:
        """See DeviceSlot.graphs."""
        return {size: each.has_graph for size, each in self._passes.items()}

    def rows(self, batch: int) -> ByteArray:
        """See DeviceSlot.rows."""
        rows: ByteArray = self._host_images[:batch].numpy()
        return rows

    def warm(self, sizes: Sequence[int]) -> None:
        """Prepare these batch sizes."""
        for size in sizes:
            self._pass_for(size)

    def submit(self, images: ByteArray) -> None:
        """See DeviceSlot.submit."""
        rows = self.rows(len(images))
        if not np.shares_memory(rows, images):
            np.copyto(rows, images)
        self._start(len(images), [(self._images[: len(images)], self._host_images[: len(images)])])

    def submit_tensors(self, images: Sequence[Tensor]) -> None:
        """Start on images that are on the device: work that was queued there before is waited for by the device, not by
        the host."""
        self._sources = images
        self._stream.follow()
        self._start(len(images), list(zip(self._images, images, strict=False)))

    def collect(self) -> NetworkOutputs:
        """See DeviceSlot.collect."""
        if self._current is None:
            raise ValueError("nothing was submitted")
        self._stream.wait()
        self._sources = ()
        done, batch = self._current
        return NetworkOutputs(*done.results(batch))

    def _start(self, batch: int, copies: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Copy images to their places, and run the network; `copies` are pairs of target and source."""
        current = self._pass_for(padded(batch, self._max_batch))
        self._current = current, batch
        with self._stream.on(), torch.inference_mode():
            for target, source in copies:
                target.copy_(source, non_blocking=True)
            current.launch()

    def _pass_for(self, size: int) -> _Pass:
        if size not in self._passes:
            images = self._images[:size]
            self._passes[size] = _Pass(self._network, images, self._stream, self._label, self._settings)
        return self._passes[size]


class _Pass:
    """One batch size: its graph, which reads and fills buffers at fixed addresses, and the download."""

    def __init__(
        self,
        network: Network,
        images: Tensor,
        stream: Stream,
        label: str,
        settings: Callable[[], AbstractContextManager[object]],
    ) -> None:
        def work() -> Tensor:
            return pack(network(images))

        self._work, self._settings = work, settings
        self._replay: Replay | None = None
        with CAPTURING, settings():
            with stream.on():
                for _ in range(WARM_UP_RUNS):
                    outputs = network(images)
                self._packed = pack(outputs)
            stream.wait()
            self._parts = [_Part(tuple(tensor.shape), numpy_type(tensor)) for tensor in outputs]
            self._capture(stream, label, len(images))
        self._host_packed = torch.empty(self._packed.shape, dtype=torch.uint8, pin_memory=stream.pinned)

    @property
    def has_graph(self) -> bool:
        return self._replay is not None

    def launch(self) -> None:
        """Run the network and start the download, on the current stream."""
        if self._replay is not None:
            self._replay()
        else:
            with CAPTURING, self._settings():  # the settings are the whole process's
                self._packed = self._work()
        self._host_packed.copy_(self._packed, non_blocking=True)

    def results(self, batch: int) -> list[NDArray[Any]]:
        """The first `batch` results of the last run, in memory of their own."""
        return [array[:batch].copy() for array in unpack(self._host_packed.numpy(), self._parts)]

    def _capture(self, stream: Stream, label: str, size: int) -> None:
        for attempt in range(ATTEMPTS):
            try:
                self._replay, self._packed = stream.capture(self._work)
                return
            except RuntimeError as error:
                stream.wait()
                reason = " ".join(str(error).split())[:200]
                if attempt == ATTEMPTS - 1:
                    _log.warning("%s: batches of %d run without a CUDA graph, and slower (%s)", label, size, reason)


class _Part:
    """Position of one output in the packed bytes."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape = shape
        self.dtype = dtype
        self.num_bytes = math.prod(shape) * dtype.itemsize


def numpy_type(tensor: Tensor) -> np.dtype[Any]:
    """The numpy type of a tensor's elements."""
    return torch.empty(0, dtype=tensor.dtype).numpy().dtype


def pack(outputs: Sequence[Tensor]) -> Tensor:
    """Pack all outputs into one row of bytes, the widest types first, so that each starts at a multiple of its size."""
    widest_first = sorted(outputs, key=lambda tensor: -tensor.element_size())
    return torch.cat([tensor.contiguous().flatten().view(torch.uint8) for tensor in widest_first])


def unpack(packed: ByteArray, parts: Sequence[_Part]) -> list[NDArray[Any]]:
    """The outputs in their own order, views into `packed`; the inverse of `pack`."""
    views: dict[int, NDArray[Any]] = {}
    start = 0
    for number in sorted(range(len(parts)), key=lambda number: -parts[number].dtype.itemsize):
        part = parts[number]
        views[number] = packed[start : start + part.num_bytes].view(part.dtype).reshape(part.shape)
        start += part.num_bytes
    return [views[number] for number in range(len(parts))]
