"""The "tensorrt" backend: runs an engine on an NVIDIA GPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.backends.tensorrt.cuda import load_cuda
from streamparts.backends.tensorrt.library import Library, load_library, require_available, rtx_plan_problem
from streamparts.backends.tensorrt.one_pass import Interface, Slot
from streamparts.bundle.load import Bundle
from streamparts.bundle.spec import ModelSpec
from streamparts.data import NetworkOutputs
from streamparts.errors import ModelError

NUM_SLOTS = 2
"""Batches in flight: one is computed while the next is uploaded and the last downloaded."""


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
        self._shape = (*bundle.spec.input_hw, 3)
        self._waiting: deque[Slot] = deque()
        with ExitStack() as stack:
            # A stack unwinds in reverse: passes are dropped before the engine, and the engine before its runtime.
            engine = _deserialise(library, bundle.data, self._label, bundle.engine.version_compatible, stack)
            self.interface = _read_interface(library.module, engine, bundle.spec, self._label)
            new_context = _context_maker(library, engine, self._label, stack)
            self._slots = deque(
                Slot(cuda, self.interface, new_context, library.log.take, self._label, stack) for _ in range(NUM_SLOTS)
            )
            self._stack = stack.pop_all()

    @property
    def max_batch(self) -> int:
        """Largest batch of the network; `run` splits larger ones."""
        return self.interface.max_batch

    def run(self, images: ByteArray) -> NetworkOutputs:
        """See Backend.run; any number of images; the copies of one batch overlap with the computation of the next."""
        if self._waiting:
            raise ValueError("submitted images wait for collect()")
        self._require_pictures(images)
        try:
            return _joined(list(self._batches(images)))
        except BaseException:
            self._drop_waiting()
            raise

    def submit(self, images: ByteArray) -> None:
        """Start on (N, H, W, 3) images, N <= max_batch, and return at once; `images` may be reused.

        At most NUM_SLOTS batches may wait for collect(). Raises ModelError if the network fails.
        """
        self._require_pictures(images)
        if len(images) > self.max_batch:
            raise ValueError(f"submit takes at most {self.max_batch} images at once, got {len(images)}")
        if not self._slots:
            raise ValueError(f"{NUM_SLOTS} batches are waiting; collect() one first")
        slot = self._slots[0]
        slot.submit(images)
        self._waiting.append(self._slots.popleft())

    def collect(self) -> NetworkOutputs:
        """Wait for the oldest submitted batch that was not collected, and return its outputs. Raises ModelError on
        failure."""
        if not self._waiting:
            raise ValueError("nothing was submitted")
        slot = self._waiting.popleft()
        self._slots.appendleft(slot)  # the slot that already has graphs for this size
        return slot.collect()

    def close(self) -> None:
        """Free the GPU's memory; may be called again."""
        self._waiting.clear()
        self._slots = deque()
        self._stack.close()

    def __del__(self) -> None:
        with suppress(Exception):  # at interpreter exit, half of the modules may be gone
            self.close()

    def _batches(self, images: ByteArray) -> Iterator[NetworkOutputs]:
        for start in range(0, len(images), self.max_batch):
            if not self._slots:
                yield self.collect()
            self.submit(images[start : start + self.max_batch])
        while self._waiting:
            yield self.collect()

    def _drop_waiting(self) -> None:
        """After a failure, drop the results of earlier batches, so that they are not taken for later ones."""
        while self._waiting:
            with suppress(ModelError):
                self.collect()

    def _require_pictures(self, images: ByteArray) -> None:
        if images.dtype != np.uint8 or images.shape[1:] != self._shape or not len(images):
            height, width, channels = self._shape
            raise ModelError(
                f"{self._label} takes uint8 images of shape (N, {height}, {width}, {channels}), got {images.dtype} "
                f"{images.shape}"
            )


def _joined(batches: list[NetworkOutputs]) -> NetworkOutputs:
    if len(batches) == 1:
        return batches[0]
    columns = zip(*batches, strict=True)
    return NetworkOutputs(*(None if column[0] is None else np.concatenate(column) for column in columns))  # type: ignore[arg-type]


def _deserialise(library: Library, plan: bytes, label: str, host_code: bool, stack: ExitStack) -> Any:
    trt = library.module
    runtime = trt.Runtime(library.log)
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


def _context_maker(library: Library, engine: Any, label: str, stack: ExitStack) -> Any:
    """Return a function that creates execution contexts. `stack` owns the engine and the resources of its contexts."""
    holder = [engine]
    if library.is_rtx:
        holder.append(_rtx_runtime_config(library.module, engine))
    stack.callback(_drop_last_first, holder)

    def new_context() -> Any:
        engine, *means = holder
        context = engine.create_execution_context(*means)
        if context is None:
            raise ModelError(f"{label}: {library.title} returned no execution context ({library.log.take()})")
        return context

    return new_context


def _rtx_runtime_config(trt: Any, engine: Any) -> Any:
    """Kernels are compiled once for all contexts, for the current shape, before it runs: graphs would keep slow
    ones."""
    runtime_config = engine.create_runtime_config()
    runtime_config.set_runtime_cache(runtime_config.create_runtime_cache())
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
            raise ModelError(f"{label}: the engine's {name!r} is {got[0]} {got[1]}, its description says {shape}")
    largest = tuple(engine.get_tensor_profile_shape("image", 0)[2])
    return Interface(spec.input_hw, num_parts, int(largest[0]), "evidence" in names)
