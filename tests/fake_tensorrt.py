"""A fake TensorRT for tests, with a fake GPU: its "plans" hold the ONNX file, which ONNX Runtime computes on the CPU.

It tests what is done with TensorRT, never TensorRT: which calls, in which order, with which addresses.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

from tests.fake_cuda import FakeCuda

MAGIC = b"fake plan\0"


class DataType(IntEnum):
    FLOAT = 0
    UINT8 = 1


class TensorIOMode(IntEnum):
    INPUT = 1
    OUTPUT = 2


class Severity(IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2


@dataclass
class FakeGpu:
    """The machine that the fakes make up, and what happened on it."""

    cuda: FakeCuda
    version: str = "10.99.0"
    num_builds: int = 0
    num_runtimes: int = 0
    fails: set[str] = field(default_factory=set)
    """Recorded calls: "start", "parse", "build", "deserialize", "context", "execute", "capture"."""
    spoil: Callable[[dict[str, np.ndarray]], None] | None = None
    """Changes the outputs of every engine: one that is silently wrong."""
    profile: tuple[tuple[int, ...], ...] = ()
    """Shapes of the last build."""
    flags: list[Any] = field(default_factory=list)
    timing_caches: list[bytes] = field(default_factory=list)
    live_engines: weakref.WeakSet[Any] = field(default_factory=weakref.WeakSet)
    live_contexts: weakref.WeakSet[Any] = field(default_factory=weakref.WeakSet)


def fake_tensorrt(gpu: FakeGpu) -> ModuleType:
    """A module with the parts of `tensorrt` that are used."""
    trt: Any = ModuleType("tensorrt")
    trt.__version__ = gpu.version
    trt.DataType, trt.TensorIOMode = DataType, TensorIOMode
    trt.ILogger = type("ILogger", (), dict(Severity.__members__))
    trt.NetworkDefinitionCreationFlag = IntEnum("NetworkDefinitionCreationFlag", {"STRONGLY_TYPED": 1})
    trt.BuilderFlag = SimpleNamespace(TF32="tf32", VERSION_COMPATIBLE="version compatible")
    trt.MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    trt.ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user managed")
    trt.HardwareCompatibilityLevel = SimpleNamespace(AMPERE_PLUS="ampere plus")
    trt.Builder = lambda log: Builder(gpu, _started(gpu, log))
    trt.OnnxParser = lambda network, log: Parser(gpu, network)
    trt.Runtime = lambda log: Runtime(gpu, _started(gpu, log))
    return trt  # type: ignore[no-any-return]


def _started(gpu: FakeGpu, log: Any) -> Any:
    if "start" in gpu.fails:
        log.log(Severity.ERROR, "CUDA initialization failure")
        raise TypeError("pybind11::init(): factory function returned nullptr")
    return log


class Builder:
    def __init__(self, gpu: FakeGpu, log: Any) -> None:
        self.gpu, self.log = gpu, log

    def create_network(self, flags: int) -> Any:
        assert flags == 1 << 1, "networks are strongly typed"
        return SimpleNamespace(onnx=b"")

    def create_builder_config(self) -> Any:
        return Config(self.gpu)

    def create_optimization_profile(self) -> Any:
        return Profile()

    def build_serialized_network(self, network: Any, config: Config) -> bytes | None:
        if "build" in self.gpu.fails:
            self.log.log(Severity.ERROR, "no kernel\nfits")
            return None
        self.gpu.num_builds += 1
        self.gpu.profile = config.profile.shapes
        config.cache.data += b"timed;"
        batches = bytes(shape[0] for shape in config.profile.shapes)
        # As with the real one, no two builds give the same bytes.
        return MAGIC + os.urandom(16) + batches + bytes(network.onnx)


class Profile:
    shapes: tuple[tuple[int, ...], ...] = ()

    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        assert name == "image"
        self.shapes = shapes


class Config:
    def __init__(self, gpu: FakeGpu) -> None:
        self.gpu, self.profile, self.cache = gpu, Profile(), SimpleNamespace(data=b"")
        self.hardware_compatibility_level = "none"

    def add_optimization_profile(self, profile: Profile) -> int:
        self.profile = profile
        return 0

    def set_flag(self, flag: str) -> None:
        self.gpu.flags.append(flag)

    def clear_flag(self, flag: str) -> None:
        self.gpu.flags.append(f"no {flag}")

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self.gpu.flags.append((pool, size))

    def create_timing_cache(self, saved: bytes) -> Any:
        self.gpu.timing_caches.append(saved)
        self.cache = SimpleNamespace(data=saved)
        self.cache.serialize = lambda cache=self.cache: cache.data
        return self.cache

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        return not cache.data.startswith(b"other GPU")


class Parser:
    def __init__(self, gpu: FakeGpu, network: Any) -> None:
        self.gpu, self.network, self.num_errors = gpu, network, 0

    def parse(self, onnx: bytes) -> bool:
        self.network.onnx = onnx
        self.num_errors = 2 if "parse" in self.gpu.fails else 0
        return not self.num_errors

    def get_error(self, index: int) -> Any:
        return SimpleNamespace(
            desc=lambda: f"problem\n{index}", node_name=lambda: f"node{index}", node_operator=lambda: "Unique"
        )


class Runtime:
    engine_host_code_allowed = False

    def __init__(self, gpu: FakeGpu, log: Any) -> None:
        assert gpu.cuda.num_gpus, "the real one may crash the process without a driver"
        gpu.num_runtimes += 1
        self.gpu, self.log = gpu, log

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        if "deserialize" in self.gpu.fails or not plan.startswith(MAGIC):
            self.log.log(Severity.ERROR, "magic tag does not match")
            return None
        try:
            return Engine(self.gpu, self.log, plan)
        except Exception as error:  # as the real one: no exception, None
            self.log.log(Severity.ERROR, str(error))
            return None


class Engine:
    def __init__(self, gpu: FakeGpu, log: Any, plan: bytes) -> None:
        start = len(MAGIC) + 16
        self.gpu, self.log = gpu, log
        self.batches = tuple(plan[start : start + 3])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(plan[start + 3 :], options)
        self.inputs, self.outputs = self.session.get_inputs(), self.session.get_outputs()
        self.tensors = {tensor.name: tensor for tensor in (*self.inputs, *self.outputs)}
        self.num_io_tensors = len(self.tensors)
        gpu.live_engines.add(self)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name == "image" else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return {"tensor(uint8)": DataType.UINT8, "tensor(float)": DataType.FLOAT}[self.tensors[name].type]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, *self.tensors[name].shape[1:])

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        return [(batch, *self.get_tensor_shape(name)[1:]) for batch in self.batches]

    device_memory_size_v2 = 5000

    def create_execution_context(self, strategy: str) -> Any:
        assert strategy == "user managed", "a context of its own memory takes that of the largest batch"
        return None if "context" in self.gpu.fails else Context(self)


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.gpu = engine, engine.gpu
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}
        self.is_warm = False
        self.scratch = 0
        self.gpu.live_contexts.add(self)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        return 1 <= shape[0] <= self.engine.batches[2]

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert name in self.engine.tensors and address % 256 == 0, "TensorRT wants aligned addresses"
        self.addresses[name] = address
        return True

    def set_device_memory(self, address: int, size: int) -> None:
        assert self.gpu.cuda._kind_of(address, size) == "cudaMalloc" and size >= self.engine.device_memory_size_v2
        self.scratch = address

    def execute_async_v3(self, stream: int) -> bool:
        assert self.scratch, "a user-managed context needs memory"
        assert type(stream) is int, "the bindings take a number"
        assert set(self.addresses) == set(self.engine.tensors), "every tensor needs an address"
        capturing = stream in self.gpu.cuda._captures
        assert self.is_warm or not capturing, "what is allocated at the first run must not be captured"
        if "execute" in self.gpu.fails or (capturing and "capture" in self.gpu.fails):
            self.engine.log.log(Severity.ERROR, "kernel failed")
            return False
        self.is_warm = True
        shape, addresses = self.shape, dict(self.addresses)
        self.gpu.cuda.enqueue(stream, ("network", shape[0]), lambda: self._compute(shape, addresses))
        return True

    def _compute(self, shape: tuple[int, ...], addresses: dict[str, int]) -> None:
        size = int(np.prod(shape))
        image = np.frombuffer(ctypes.string_at(addresses["image"], size), np.uint8).reshape(shape)
        names = [output.name for output in self.engine.outputs]
        results = dict(zip(names, self.engine.session.run(names, {"image": image}), strict=True))
        if self.gpu.spoil:
            self.gpu.spoil(results)
        for name, result in results.items():
            data = np.ascontiguousarray(result).tobytes()
            ctypes.memmove(addresses[name], data, len(data))


def plan_sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
