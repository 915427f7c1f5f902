"""Runs one batch through an engine: upload, network, download, on its own stream, replayed as a CUDA graph."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.backends.tensorrt.cuda import checked, copy_async, device_buffer, new_stream, pinned_buffer
from streamparts.data import NetworkOutputs
from streamparts.errors import ModelError

ALIGNMENT = 256
"""Alignment in bytes that TensorRT requires for the address of a tensor."""
MAX_GRAPHS = 8
"""Batch sizes for which a slot keeps a context and a graph."""

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

    def copy_from(self, block: ByteArray) -> Any:
        data = block[self.offset : self.offset + self.num_bytes]
        return data.view(self.dtype).reshape(self.shape).copy()


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
        """The outputs of a batch in sequence, each aligned, in the order of Outputs."""
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


class Slot:
    """One of the paths through the GPU, with its own stream, contexts and buffers, so that two overlap."""

    def __init__(
        self,
        cuda: Any,
        interface: Interface,
        new_context: Callable[[], Any],
        last_error: Callable[[], str],
        label: str,
        stack: ExitStack,
    ) -> None:
        """`stack` frees everything. Raises ModelError, for example if the GPU's memory is full."""
        num_in = math.prod(interface.input_shape(interface.max_batch))
        num_out = block_bytes(interface.fields(interface.max_batch))
        self._cuda, self._interface, self._new_context = cuda, interface, new_context
        self._last_error, self._label = last_error, label
        self._buffers = Buffers(
            new_stream(cuda, stack),
            pinned_buffer(cuda, num_in, stack),
            device_buffer(cuda, num_in, stack),
            device_buffer(cuda, num_out, stack),
            pinned_buffer(cuda, num_out, stack),
        )
        self._passes: OrderedDict[int, Pass] = OrderedDict()
        self._current: Pass | None = None
        stack.callback(self._close)

    def submit(self, images: ByteArray) -> None:
        """Start on (N, H, W, 3) images, which are copied at once."""
        self._buffers.image_host[: images.nbytes] = images.reshape(-1)
        self._current = self._pass_for(len(images))
        self._current.launch()

    def collect(self) -> NetworkOutputs:
        """Wait for the submitted batch; returns arrays with their own memory."""
        checked(self._cuda, self._cuda.cudaStreamSynchronize(self._buffers.stream))
        if self._current is None:
            raise ValueError("nothing was submitted")
        return NetworkOutputs(*(field.copy_from(self._buffers.block_host) for field in self._current.fields))

    def _pass_for(self, batch: int) -> Pass:
        if batch not in self._passes:
            if len(self._passes) >= MAX_GRAPHS:
                self._passes.popitem(last=False)[1].close()
            self._passes[batch] = Pass(
                self._cuda, self._buffers, self._interface, batch, self._new_context(), self._last_error, self._label
            )
        self._passes.move_to_end(batch)
        return self._passes[batch]

    def _close(self) -> None:
        self._cuda.cudaStreamSynchronize(self._buffers.stream)
        while self._passes:
            self._passes.popitem()[1].close()
        self._current = None


class Pass:
    """Resources of one batch size: a context with its shapes and addresses, and the graph that replays it.

    Each has its own context, because a graph keeps using the memory of the context that it was captured from.
    """

    def __init__(
        self,
        cuda: Any,
        buffers: Buffers,
        interface: Interface,
        batch: int,
        context: Any,
        last_error: Callable[[], str],
        label: str,
    ) -> None:
        """The images must be in the buffers, because the warm-up runs on them. Raises ModelError."""
        self.fields = interface.fields(batch)
        self._cuda, self._buffers, self._context = cuda, buffers, context
        self._last_error, self._label = last_error, label
        self._num_in = math.prod(interface.input_shape(batch))
        self._graph: Any = None
        self._require(context.set_input_shape("image", interface.input_shape(batch)))
        self._require(context.set_tensor_address("image", buffers.image))
        for field in self.fields:
            self._require(context.set_tensor_address(field.name, buffers.block + field.offset))
        # TensorRT's allocations and compilation in the first run of a shape must not be captured.
        self._enqueue()
        checked(cuda, cuda.cudaStreamSynchronize(buffers.stream))
        if not hasattr(context, "is_stream_capturable") or _rtx_capturable(context, buffers.stream):
            self._graph = self._capture()

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
        _log.warning("%s: runs without a CUDA graph (%s)", self._label, failure)
        return None

    def _require(self, done: bool) -> None:
        if not done:
            raise ModelError(f"{self._label}: TensorRT failed ({self._last_error()})")


def _rtx_capturable(context: Any, stream: Any) -> bool:
    return bool(context.is_stream_capturable(int(stream)))
