"""A fake CUDA runtime for tests: memory is the host's, and work on a stream is executed when it is waited for.

Thus a result that is read too early is the old one, and memory freed twice or never is detected. It does not test real
GPUs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

Work = Callable[[], None]


class Error(IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorIllegalAddress = 700
    cudaErrorStreamCaptureUnsupported = 900


class FakeCuda:
    """Stands in for cuda.bindings.runtime."""

    cudaError_t = Error
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice="up", cudaMemcpyDeviceToHost="down")
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal="thread")
    cudaStreamNonBlocking = 1

    def __init__(self, name: str = "Fake GPU", capability: tuple[int, int] = (9, 0), num_gpus: int = 1) -> None:
        self.name, self.capability, self.num_gpus = name, capability, num_gpus
        self.driver = 13000
        self.calls: list[tuple[Any, ...]] = []
        self.failing: dict[str, Error] = {}
        """Name of a function -> what it returns from now on."""
        self.live: dict[int, str] = {}
        """Allocations that were not freed: handle -> kind."""
        self._memory: dict[int, Any] = {}
        self._pending: dict[int, list[Work]] = {}
        self._captures: dict[int, list[Work]] = {}
        self._graphs: dict[int, list[Work]] = {}
        self._next = 1000

    def cudaGetDeviceCount(self) -> tuple[Any, ...]:
        return (Error.cudaSuccess, self.num_gpus) if self.num_gpus else (Error.cudaErrorInsufficientDriver, None)

    def cudaGetDeviceProperties(self, device: int) -> tuple[Any, ...]:
        major, minor = self.capability
        return Error.cudaSuccess, SimpleNamespace(name=self.name.encode() + b"\0\0", major=major, minor=minor)

    def cudaDriverGetVersion(self) -> tuple[Any, ...]:
        return Error.cudaSuccess, self.driver

    def cudaRuntimeGetVersion(self) -> tuple[Any, ...]:
        return Error.cudaSuccess, 13020

    def cudaGetLastError(self) -> tuple[Any, ...]:
        return (Error.cudaSuccess,)

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:
        return self._allocate("cudaMalloc", size)

    def cudaMallocHost(self, size: int) -> tuple[Any, ...]:
        return self._allocate("cudaMallocHost", size)

    def cudaFree(self, address: int) -> tuple[Any, ...]:
        return self._give_back(address, "cudaMalloc")

    def cudaFreeHost(self, address: int) -> tuple[Any, ...]:
        return self._give_back(address, "cudaMallocHost")

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        if "cudaStreamCreateWithFlags" in self.failing:
            return self.failing["cudaStreamCreateWithFlags"], None
        stream = self._take("stream")
        self._pending[stream] = []
        return Error.cudaSuccess, stream

    def cudaStreamDestroy(self, stream: int) -> tuple[Any, ...]:
        return self._give_back(stream, "stream")

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:
        assert stream not in self._captures, "waiting is not allowed while a stream is captured"
        if "cudaStreamSynchronize" in self.failing:
            return (self.failing["cudaStreamSynchronize"],)
        self.calls.append(("synchronize", stream))
        work, self._pending[stream] = self._pending[stream], []
        for step in work:
            step()
        return (Error.cudaSuccess,)

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: str, stream: int) -> tuple[Any, ...]:
        if "cudaMemcpyAsync" in self.failing:
            return (self.failing["cudaMemcpyAsync"],)
        host, device = (source, target) if kind == "up" else (target, source)
        assert self._kind_of(host, size) == "cudaMallocHost", "only page-locked memory is copied asynchronously"
        assert self._kind_of(device, size) == "cudaMalloc"
        self.enqueue(stream, (kind, size), lambda: ctypes.memmove(target, source, size) and None)
        return (Error.cudaSuccess,)

    def cudaStreamBeginCapture(self, stream: int, mode: str) -> tuple[Any, ...]:
        assert not self._pending[stream], "the warm-up must have ended"
        self._captures[stream] = []
        self.calls.append(("begin capture", stream))
        return (Error.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:
        work = self._captures.pop(stream)
        if "cudaStreamEndCapture" in self.failing:
            return self.failing["cudaStreamEndCapture"], None
        graph = self._take("graph")
        self._graphs[graph] = work
        return Error.cudaSuccess, graph

    def cudaGraphInstantiate(self, graph: int, flags: int) -> tuple[Any, ...]:
        if "cudaGraphInstantiate" in self.failing:
            return self.failing["cudaGraphInstantiate"], None
        executable = self._take("graph executable")
        self._graphs[executable] = self._graphs[graph]
        return Error.cudaSuccess, executable

    def cudaGraphDestroy(self, graph: int) -> tuple[Any, ...]:
        return self._give_back(graph, "graph")

    def cudaGraphExecDestroy(self, executable: int) -> tuple[Any, ...]:
        return self._give_back(executable, "graph executable")

    def cudaGraphLaunch(self, executable: int, stream: int) -> tuple[Any, ...]:
        if "cudaGraphLaunch" in self.failing:
            return (self.failing["cudaGraphLaunch"],)
        assert self.live[executable] == "graph executable"
        self.calls.append(("launch graph", stream))
        self._pending[stream] += self._graphs[executable]
        return (Error.cudaSuccess,)

    def enqueue(self, stream: int, call: tuple[Any, ...], work: Work) -> None:
        """Put work on a stream, or into the graph that is captured from it."""
        assert self.live[stream] == "stream"
        captured = self._captures.get(stream)
        self.calls.append((*call, stream, "direct" if captured is None else "captured"))
        (self._pending[stream] if captured is None else captured).append(work)

    def _allocate(self, function: str, size: int) -> tuple[Any, ...]:
        if function in self.failing:
            return self.failing[function], None
        buffer = (ctypes.c_uint8 * (size + 256))()
        address = -(-ctypes.addressof(buffer) // 256) * 256
        self._memory[address] = (buffer, size, function)
        self.live[address] = function
        return Error.cudaSuccess, address

    def _kind_of(self, address: int, size: int) -> str:
        for start, (_, length, kind) in self._memory.items():
            if start <= address and address + size <= start + length:
                return str(kind)
        raise AssertionError("this memory was never allocated, or is too small")

    def _take(self, kind: str) -> int:
        self._next += 1
        self.live[self._next] = kind
        return self._next

    def _give_back(self, handle: int, kind: str) -> tuple[Any, ...]:
        assert self.live.pop(handle, None) == kind, f"{kind} {handle} was given back twice, or is none"
        for kept in (self._memory, self._graphs, self._pending):
            kept.pop(handle, None)
        return (Error.cudaSuccess,)
