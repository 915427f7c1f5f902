"""Runs a PyTorch network on CUDA as one graph per batch size: each frame costs one upload, one launch and one
download."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamparts.arrays import ByteArray

Network = Callable[[Tensor], Sequence[Tensor]]

MAX_GRAPHS = 8
"""Number of batch sizes that keep a graph and its memory; the least recently used one is dropped."""
WARM_UP_RUNS = 3
"""Runs before a graph is captured, in which libraries choose their algorithms and allocate memory."""


class GraphRunner:
    """Runs a network that takes uint8 images and returns a few small tensors."""

    def __init__(self, network: Network, device: torch.device) -> None:
        self._network = network
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graphs: dict[int, _Graph] = {}

    def run(self, images: ByteArray) -> list[NDArray[Any]]:
        """(N, H, W, 3) uint8 -> the network's outputs, in arrays owned by the caller."""
        graph = self._graphs.pop(len(images), None) or self._captured(images.shape)
        self._graphs[len(images)] = graph  # the last one is the most recently used
        return graph.run(images)

    def _captured(self, shape: tuple[int, ...]) -> _Graph:
        if len(self._graphs) >= MAX_GRAPHS:
            del self._graphs[next(iter(self._graphs))]
        return _Graph(self._network, shape, self._device, self._stream)


class _Graph:
    """One captured batch size, with buffers at fixed addresses on both sides.

    All work runs on `stream` in order: upload, graph, download. The host waits for the download at the end of each run,
    so no buffer is written while it is read.
    """

    def __init__(
        self, network: Network, shape: tuple[int, ...], device: torch.device, stream: torch.cuda.Stream
    ) -> None:
        self._stream = stream
        self._host_images = torch.zeros(shape, dtype=torch.uint8, pin_memory=True)
        self._images = torch.zeros(shape, dtype=torch.uint8, device=device)
        # The device's current stream fills the buffers; ours must wait for it.
        stream.wait_stream(torch.cuda.current_stream(device))
        # Convolutions in true float32, as in the file, with algorithms chosen for exactly these shapes.
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=False)
        with torch.inference_mode(), exact:
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP_RUNS):
                    outputs = network(self._images)
            stream.synchronize()
            self._slots = [_Slot(tuple(tensor.shape), numpy_type(tensor)) for tensor in outputs]
            self._graph = torch.cuda.CUDAGraph()
            # "thread_local": other threads, such as another model's runs, may use the GPU meanwhile.
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                self._packed = pack(network(self._images))
        self._host_packed = torch.empty(self._packed.shape, dtype=torch.uint8, pin_memory=True)

    def run(self, images: ByteArray) -> list[NDArray[Any]]:
        np.copyto(self._host_images.numpy(), images)
        with torch.cuda.stream(self._stream), torch.inference_mode():
            self._images.copy_(self._host_images, non_blocking=True)
            self._graph.replay()
            self._host_packed.copy_(self._packed, non_blocking=True)
        self._stream.synchronize()
        return unpack(self._host_packed.numpy().copy(), self._slots)


class _Slot:
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


def unpack(packed: ByteArray, slots: Sequence[_Slot]) -> list[NDArray[Any]]:
    """The outputs in their own order, views into `packed`; the inverse of `pack`."""
    views: dict[int, NDArray[Any]] = {}
    start = 0
    for number in sorted(range(len(slots)), key=lambda number: -slots[number].dtype.itemsize):
        slot = slots[number]
        views[number] = packed[start : start + slot.num_bytes].view(slot.dtype).reshape(slot.shape)
        start += slot.num_bytes
    return [views[number] for number in range(len(slots))]
