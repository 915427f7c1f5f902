"""A kernel with known results in the place of TensorRT, so that the rest of one_pass.py runs without TensorRT.

It copies: labels are the images' red, scores and affines the first greens and blues. A result that is mixed up, late,
or of another batch shows at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.backends.overlap import NUM_SLOTS, InFlight
from streamparts.backends.tensorrt.one_pass import EngineMeans, Interface, Slot
from streamparts.data import NetworkOutputs

NUM_PARTS = 4
Launch = Callable[[int, Callable[[], None]], None]


def known_results(images: ByteArray) -> NetworkOutputs:
    """(N, H, W, 3) -> the kernel's results."""
    batch = len(images)
    greens, blues = (images[:, 0, :, channel].astype(np.float32) for channel in (1, 2))
    affines = blues[:, : 6 * NUM_PARTS].reshape(batch, NUM_PARTS, 2, 3)
    return NetworkOutputs(images[..., 0].copy(), affines, greens[:, :NUM_PARTS].copy())


class KnownContext:
    """The methods of an execution context that one_pass.py uses."""

    def __init__(self, launch: Launch, copy: Callable[[tuple[int, ...], dict[str, int]], None]) -> None:
        """`launch` puts work on a stream, `copy` is the kernel: (N, H, W, 3) and the addresses of all tensors."""
        self._launch, self._copy = launch, copy
        self._shape: tuple[int, ...] = ()
        self._addresses: dict[str, int] = {}

    def set_device_memory(self, address: int, size: int) -> None:
        """Needs none."""

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shape = shape
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        self._launch(stream, lambda: self._copy(self._shape, self._addresses))
        return True


def known_slots(
    cuda: Any,
    stack: ExitStack,
    launch: Launch,
    copy: Callable[..., None],
    side: int,
    max_batch: int,
    num_slots: int = 2,
) -> InFlight:
    """Slots of one_pass.py around the kernel, for images of `side` x `side`, at least 6 NUM_PARTS."""
    interface = Interface((side, side), NUM_PARTS, max_batch, has_evidence=False)
    engine = EngineMeans(lambda: KnownContext(launch, copy), 0, lambda: "none", "known kernel")
    slots = [Slot(cuda, interface, engine, stack) for _ in range(NUM_SLOTS)]
    return InFlight(slots, max_batch)


def copy_on_gpu(shape: tuple[int, ...], addresses: dict[str, int]) -> None:
    """The kernel in torch, on the current stream; it allocates nothing, as a captured kernel must not."""
    import torch

    batch, height, width, _ = shape
    image = _tensor(addresses["image"], shape, "|u1", torch)
    _tensor(addresses["labels"], (batch, height, width), "|u1", torch).copy_(image[..., 0])
    _tensor(addresses["scores"], (batch, NUM_PARTS), "<f4", torch).copy_(image[:, 0, :NUM_PARTS, 1])
    affines = _tensor(addresses["affines"], (batch, 6 * NUM_PARTS), "<f4", torch)
    affines.copy_(image[:, 0, : 6 * NUM_PARTS, 2])


def launch_on_gpu(stream: int, work: Callable[[], None]) -> None:
    """Put work of torch on a stream of CUDA's runtime."""
    import torch

    with torch.cuda.stream(torch.cuda.ExternalStream(stream)):  # type: ignore[no-untyped-call]
        work()


def copy_on_host(shape: tuple[int, ...], addresses: dict[str, int]) -> None:
    """The kernel on the host's memory, as with tests/fake_cuda.py."""
    import ctypes

    def array(name: str, size: int) -> ByteArray:
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(addresses[name]))

    results = known_results(array("image", math.prod(shape)).reshape(shape))
    for name in ("labels", "affines", "scores"):
        values = np.ascontiguousarray(getattr(results, name)).view(np.uint8).reshape(-1)
        array(name, len(values))[:] = values


class _Memory:
    """Device memory that torch can read through the CUDA array interface."""

    def __init__(self, address: int, shape: tuple[int, ...], kind: str) -> None:
        self.__cuda_array_interface__ = {"data": (address, False), "shape": shape, "typestr": kind, "version": 3}


def _tensor(address: int, shape: tuple[int, ...], kind: str, torch: Any) -> Any:
    return torch.as_tensor(_Memory(address, shape, kind), device="cuda")
