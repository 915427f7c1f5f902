"""The "tensorrt" backend: runs an engine on an NVIDIA GPU."""

from __future__ import annotations

import atexit
import weakref
from contextlib import ExitStack, suppress
from typing import Any

from streamparts.arrays import ByteArray
from streamparts.backends.capture import sizes_to_warm
from streamparts.backends.checks import require_images
from streamparts.backends.overlap import NUM_SLOTS, InFlight
from streamparts.backends.tensorrt.cache import EngineCache, cache_folder
from streamparts.backends.tensorrt.cuda import load_cuda
from streamparts.backends.tensorrt.library import (
    Library,
    load_library,
    new_runtime,
    require_available,
    rtx_plan_problem,
)
from streamparts.backends.tensorrt.one_pass import EngineMeans, Interface, Slot
from streamparts.bundle.load import Bundle
from streamparts.bundle.spec import ModelSpec
from streamparts.data import NetworkOutputs
from streamparts.errors import ModelError


class TensorRtBackend:
    """An engine on the first GPU. Images are uploaded as bytes, results downloaded in one copy, by replaying graphs."""

    name = "tensorrt"

    def __init__(self, bundle: Bundle) -> None:
        """`bundle` is an engine, see engines.engine_for.

        Raises ModelError if no engine or not this one can run here, MissingExtraError without TensorRT.
        """
        self._stack = ExitStack()
        self._label = bundle.path.name
        require_available(self._label)
        if bundle.engine is None:
            raise ValueError(f"{bundle.path} is not an engine")
        library, cuda = load_library(), load_cuda()
        self._bundle = bundle
        with ExitStack() as stack:
            # A stack unwinds in reverse: passes are dropped before the engine, and the engine before its runtime.
            engine = _deserialise(library, bundle.data, self._label, bundle.engine.version_compatible, stack)
            self.interface = _read_interface(library.module, engine, bundle.spec, self._label)
            kernels = RtxKernels(bundle.sha256, library.version)
            new_context = _context_maker(library, engine, self._label, kernels, stack)
            means = EngineMeans(new_context, int(engine.device_memory_size_v2), library.log.take, self._label)
            slots = [Slot(cuda, self.interface, means, stack) for _ in range(NUM_SLOTS)]
            for slot in slots:
                slot.warm(sizes_to_warm(self.max_batch))
            kernels.save()
            self._batches = InFlight(slots, self.max_batch)
            self._stack = stack.pop_all()
        _open.add(self)

    @property
    def max_batch(self) -> int:
        """Largest batch of the network; `run` splits larger ones."""
        return self.interface.max_batch

    @property
    def graphs(self) -> dict[int, bool]:
        """For each batch size that was run: True if it is replayed as a CUDA graph."""
        return self._batches.graphs

    def run(self, images: ByteArray) -> NetworkOutputs:
        """See Backend.run; any number of images; the copies of one batch overlap with the computation of the next."""
        return self._batches.run(require_images(images, self._bundle))

    def rows(self, batch: int) -> ByteArray:
        """(batch, H, W, 3) uint8 memory for the next submit(), batch <= max_batch: images that are written there are
        uploaded without another copy. Valid until that submit()."""
        return self._batches.rows(batch)

    def submit(self, images: ByteArray) -> None:
        """Start on (N, H, W, 3) images, N <= max_batch, and return at once; `images` may be reused.

        At most NUM_SLOTS batches may wait for collect(). Raises ModelError if the network fails.
        """
        self._batches.submit(require_images(images, self._bundle))

    def collect(self) -> NetworkOutputs:
        """Wait for the oldest submitted batch that was not collected, and return its outputs. Raises ModelError on
        failure."""
        return self._batches.collect()

    def close(self) -> None:
        """Free the GPU's memory; may be called again."""
        if hasattr(self, "_batches"):
            self._batches.clear()
        self._stack.close()

    def __del__(self) -> None:
        with suppress(Exception):  # at interpreter exit, half of the modules may be gone
            self.close()


_open: weakref.WeakSet[TensorRtBackend] = weakref.WeakSet()
"""Backends to close before the interpreter takes CUDA and the logger apart."""


@atexit.register
def _close_all() -> None:
    for backend in list(_open):
        backend.close()


def _deserialise(library: Library, plan: bytes, label: str, host_code: bool, stack: ExitStack) -> Any:
    runtime = new_runtime(library)
    # A version-compatible plan contains its own runtime as machine code; load_engine has already checked its trust.
    runtime.engine_host_code_allowed = host_code
    if library.is_rtx and (reason := rtx_plan_problem(library, runtime, plan)) is not None:
        raise ModelError(f"{label}: {library.title} rejects this engine: {reason}; build it again")
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise ModelError(f"{label}: {library.title} cannot load this engine ({library.log.take()}); build it again")
    holder = [runtime, engine]
    stack.callback(_drop_last_first, holder)
    return engine


def _drop_last_first(holder: list[Any]) -> None:
    while holder:
        holder.pop()


def _context_maker(library: Library, engine: Any, label: str, kernels: RtxKernels, stack: ExitStack) -> Any:
    """Return a function that creates execution contexts, whose scratch memory is given to them. `stack` owns the engine
    and the resources of its contexts."""
    trt = library.module
    strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
    holder = [engine]
    if library.is_rtx:
        holder.append(_rtx_runtime_config(trt, engine, kernels))
    stack.callback(_drop_last_first, holder)

    def new_context() -> Any:
        engine, *means = holder
        context = engine.create_execution_context(*means or [strategy])
        if context is None:
            raise ModelError(f"{label}: {library.title} returned no execution context ({library.log.take()})")
        return context

    return new_context


class RtxKernels:
    """The kernels that TensorRT for RTX compiles for an engine's shapes, kept for the next process in the engine
    cache. The library checks that they fit this GPU and driver."""

    def __init__(self, plan_sha256: str, version: str) -> None:
        self._files = EngineCache(cache_folder())
        self._path = self._files.kernels_path(plan_sha256, version)
        self._runtime_cache: Any = None
        self._saved = b""

    def attach(self, runtime_cache: Any) -> None:
        """Load what an earlier process saved, if the library takes it."""
        self._runtime_cache, self._saved = runtime_cache, self._files.read(self._path) or b""
        if self._saved and not runtime_cache.deserialize(self._saved):
            self._saved = b""

    def save(self) -> None:
        """Save kernels that were compiled since; a cache that cannot be written is only slower."""
        if self._runtime_cache is None:
            return
        kernels = bytes(self._runtime_cache.serialize())
        if kernels != self._saved:
            with suppress(ModelError):
                self._files.write(self._path, kernels)


def _rtx_runtime_config(trt: Any, engine: Any, kernels: RtxKernels) -> Any:
    """Kernels are compiled once for all contexts, for the current shape, before it runs: graphs would keep slow
    ones."""
    runtime_config = engine.create_runtime_config()
    runtime_cache = runtime_config.create_runtime_cache()
    kernels.attach(runtime_cache)
    runtime_config.set_runtime_cache(runtime_cache)
    runtime_config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
    runtime_config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
    return runtime_config


def _read_interface(trt: Any, engine: Any, spec: ModelSpec, label: str) -> Interface:
    """Check inputs and outputs of an engine against its description. Raises ModelError if they differ."""
    (height, width), num_parts = spec.input_hw, spec.num_parts
    byte, real = trt.DataType.UINT8, trt.DataType.FLOAT
    wanted = {
        "image": (byte, (height, width, 3)),
        "labels": (byte, (height, width)),
        "affines": (real, (num_parts, 2, 3)),
        "scores": (real, (num_parts,)),
        "evidence": (real, (num_parts, 2)),
    }
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    if set(names) not in (set(wanted), set(wanted) - {"evidence"}):
        raise ModelError(
            f"{label}: the engine's tensors are {sorted(names)}, expected {sorted(wanted)}; build it again"
        )
    for name in names:
        dtype, shape = wanted[name]
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        got = (engine.get_tensor_dtype(name), tuple(engine.get_tensor_shape(name))[1:], is_input)
        if got != (dtype, shape, name == "image"):
            raise ModelError(f"{label}: the engine's {name!r} is {got[0]} {got[1]}, not {shape} as in its description")
    largest = tuple(engine.get_tensor_profile_shape("image", 0)[2])
    return Interface(spec.input_hw, num_parts, int(largest[0]), "evidence" in names)
