"""Runs one batch through an engine: upload, network, download, on its own stream, replayed as a CUDA graph."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.backends.capture import CAPTURING, padded
from streamparts.backends.tensorrt.cuda import checked, copy_async, device_buffer, new_stream, pinned_buffer
from streamparts.data import NetworkOutputs
from streamparts.errors import ModelError

ALIGNMENT = 256
"""Alignment in bytes that TensorRT requires for the address of a tensor."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BlockField:
    """Position of an output in the downloaded block."""

    name: str
    dtype: type[np.generic]
    shape: tuple[int, ...]
    """Shape, including the batch."""
    offset: int
    """Offset in bytes."""

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def copy_from(self, block: ByteArray, batch: int) -> Any:
        """A copy of the first `batch` results."""
        data = block[self.offset : self.offset + self.num_bytes]
        return data.view(self.dtype).reshape(self.shape)[:batch].copy()


@dataclass(frozen=True, slots=True)
class Interface:
    """Inputs and outputs of an engine."""

    input_hw: tuple[int, int]
    num_parts: int
    max_batch: int
    """Largest batch of its optimisation profile."""
    has_evidence: bool

    def input_shape(self, batch: int) -> tuple[int, ...]:
        return (batch, *self.input_hw, 3)

    def fields(self, batch: int) -> list[BlockField]:
        """The outputs of a batch in sequence, each aligned, in the order of NetworkOutputs."""
        parts = self.num_parts
        shapes: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
            "labels": (np.uint8, self.input_hw),
            "affines": (np.float32, (parts, 2, 3)),
            "scores": (np.float32, (parts,)),
        }
        if self.has_evidence:
            shapes["evidence"] = (np.float32, (parts, 2))
        fields: list[BlockField] = []
        offset = 0
        for name, (dtype, shape) in shapes.items():
            fields.append(BlockField(name, dtype, (batch, *shape), offset))
            offset += -(-fields[-1].num_bytes // ALIGNMENT) * ALIGNMENT
        return fields


def block_bytes(fields: list[BlockField]) -> int:
    """Size of the block that holds the outputs."""
    return fields[-1].offset + fields[-1].num_bytes


@dataclass(frozen=True, slots=True)
class Buffers:
    """Memory of a slot, for the largest batch, and its stream."""

    stream: Any
    image_host: ByteArray
    """Page-locked input."""
    image: int
    """Device address."""
    block: int
    """Device address of the outputs."""
    block_host: ByteArray
    """Page-locked output."""
    scratch: int
    """Device address of the memory that all contexts of the slot compute in, one after the other."""
    scratch_bytes: int


@dataclass(frozen=True, slots=True)
class EngineMeans:
    """The functions and sizes of an engine that a slot uses."""

    new_context: Callable[[], Any]
    """Creates an execution context, which needs scratch memory before it runs."""
    scratch_bytes: int
    """Scratch memory of the largest batch."""
    last_error: Callable[[], str]
    """TensorRT's last error, in one line."""
    label: str
    """The model's name in messages."""


class Slot:
    """One of the paths through the GPU, with its own stream, contexts and buffers, so that two overlap."""

    def __init__(
        self,
        cuda: Any,
        interface: Interface,
        means: EngineMeans,
        stack: ExitStack,
    ) -> None:
        """`stack` frees everything. Raises ModelError, for example if the GPU's memory is full."""
        num_in = math.prod(interface.input_shape(interface.max_batch))
        num_out = block_bytes(interface.fields(interface.max_batch))
        scratch_bytes = max(means.scratch_bytes, ALIGNMENT)
        self._cuda, self._interface, self._means = cuda, interface, means
        self._buffers = Buffers(
            new_stream(cuda, stack),
            pinned_buffer(cuda, num_in, stack),
            device_buffer(cuda, num_in, stack),
            device_buffer(cuda, num_out, stack),
            pinned_buffer(cuda, num_out, stack),
            device_buffer(cuda, scratch_bytes, stack),
            scratch_bytes,
        )
        self._rows = self._buffers.image_host.reshape(interface.input_shape(interface.max_batch))
        self._passes: dict[int, Pass] = {}
        self._current: tuple[Pass, int] | None = None
        stack.callback(self._close)

    @property
    def graphs(self) -> dict[int, bool]:
        """For each batch size that was run: True if it is replayed as a graph."""
        return {size: each.has_graph for size, each in self._passes.items()}

    def rows(self, batch: int) -> ByteArray:
        """(batch, H, W, 3) page-locked memory that may be filled and then submitted, which saves a copy."""
        return self._rows[:batch]

    def warm(self, sizes: tuple[int, ...]) -> None:
        """Prepare these batch sizes. Raises ModelError."""
        for size in sizes:
            self._pass_for(size)

    def submit(self, images: ByteArray) -> None:
        """Start on (N, H, W, 3) images, which are copied at once unless they are `rows`."""
        batch = len(images)
        if not np.shares_memory(images, self._rows[:batch]):
            self._rows[:batch] = images
        size = padded(batch, self._interface.max_batch)
        self._current = self._pass_for(size), batch
        self._current[0].launch()

    def collect(self) -> NetworkOutputs:
        """Wait for the submitted batch; returns arrays with their own memory."""
        checked(self._cuda, self._cuda.cudaStreamSynchronize(self._buffers.stream))
        if self._current is None:
            raise ValueError("nothing was submitted")
        done, batch = self._current
        return NetworkOutputs(*(field.copy_from(self._buffers.block_host, batch) for field in done.fields))

    def _pass_for(self, size: int) -> Pass:
        if size not in self._passes:
            self._passes[size] = Pass(self._cuda, self._buffers, self._interface, size, self._means)
        return self._passes[size]

    def _close(self) -> None:
        self._cuda.cudaStreamSynchronize(self._buffers.stream)
        while self._passes:
            self._passes.popitem()[1].close()
        self._current = None


class Pass:
    """Resources of one batch size: a context with its shapes and addresses, and the graph that replays it.

    Each has its own context, because a graph keeps what it was captured from; their scratch memory is the slot's.
    """

    def __init__(self, cuda: Any, buffers: Buffers, interface: Interface, batch: int, means: EngineMeans) -> None:
        """The warm-up runs on the images that are in the buffers. Raises ModelError."""
        self.fields = interface.fields(batch)
        self._cuda, self._buffers, self._means = cuda, buffers, means
        self._num_in = math.prod(interface.input_shape(batch))
        self._graph: Any = None
        self._context = context = means.new_context()
        context.set_device_memory(buffers.scratch, buffers.scratch_bytes)
        self._require(context.set_input_shape("image", interface.input_shape(batch)))
        self._require(context.set_tensor_address("image", buffers.image))
        for field in self.fields:
            self._require(context.set_tensor_address(field.name, buffers.block + field.offset))
        with CAPTURING:
            # TensorRT's allocations and compilation in the first run of a shape must not be captured.
            self._enqueue()
            checked(cuda, cuda.cudaStreamSynchronize(buffers.stream))
            if not hasattr(context, "is_stream_capturable") or _rtx_capturable(context, buffers.stream):
                self._graph = self._capture()
            else:
                self._say("TensorRT for RTX cannot capture it")

    @property
    def has_graph(self) -> bool:
        return self._graph is not None

    def launch(self) -> None:
        """Run upload, network and download in stream order."""
        if self._graph is None:
            self._enqueue()
        else:
            checked(self._cuda, self._cuda.cudaGraphLaunch(self._graph, self._buffers.stream))

    def close(self) -> None:
        if self._graph is not None:
            self._cuda.cudaGraphExecDestroy(self._graph)
        self._graph = self._context = None

    def _enqueue(self) -> None:
        cuda, buffers, stream = self._cuda, self._buffers, self._buffers.stream
        copy_async(cuda, buffers.image, buffers.image_host.ctypes.data, self._num_in, up=True, stream=stream)
        self._require(self._context.execute_async_v3(int(stream)))
        num_out = block_bytes(self.fields)
        copy_async(cuda, buffers.block_host.ctypes.data, buffers.block, num_out, up=False, stream=stream)

    def _capture(self) -> Any:
        """Capture the graph of one pass; None, with a notice, for an engine that cannot be captured and runs without a
        graph."""
        cuda, stream = self._cuda, self._buffers.stream
        checked(cuda, cuda.cudaStreamBeginCapture(stream, cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal))
        failure: ModelError | None = None
        try:
            self._enqueue()
        except ModelError as error:
            failure = error
        with ExitStack() as stack:
            try:
                graph = checked(cuda, cuda.cudaStreamEndCapture(stream))
                stack.callback(cuda.cudaGraphDestroy, graph)
                if failure is None:
                    return checked(cuda, cuda.cudaGraphInstantiate(graph, 0))
            except ModelError as error:
                failure = failure or error
        cuda.cudaGetLastError()  # a failed capture leaves its error for the next call
        self._say(str(failure))
        return None

    def _say(self, reason: str) -> None:
        _log.warning("%s: runs without a CUDA graph, and slower (%s)", self._means.label, reason)

    def _require(self, done: bool) -> None:
        if not done:
            raise ModelError(f"{self._means.label}: TensorRT failed ({self._means.last_error()})")


def _rtx_capturable(context: Any, stream: Any) -> bool:
    return bool(context.is_stream_capturable(int(stream)))
