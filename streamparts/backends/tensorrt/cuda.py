"""The CUDA runtime functions that engines need: every call is checked, every resource freed once."""

from __future__ import annotations

import ctypes
from contextlib import ExitStack
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.errors import MissingExtraError, ModelError


@dataclass(frozen=True, slots=True)
class Gpu:
    """The GPU of this machine."""

    name: str
    """Name reported by the driver."""
    compute_capability: str
    """Compute capability, such as "9.0"."""
    driver_cuda: str
    """Newest CUDA version that the driver supports, such as "13.0"."""


def load_cuda() -> ModuleType:
    """`cuda.bindings.runtime`. Raises MissingExtraError without it."""
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise MissingExtraError(
            f"cuda-bindings cannot be imported ({error}); pip install cuda-bindings, or 'streamparts[trt]'"
        ) from error
    return runtime  # type: ignore[no-any-return]


def checked(cuda: Any, result: tuple[Any, ...]) -> Any:
    """Return the results of a CUDA runtime call without its error code. Raises ModelError with the error's name."""
    code, *values = result
    if code != cuda.cudaError_t.cudaSuccess:
        raise ModelError(f"CUDA failed: {error_name(code)}")
    return values[0] if len(values) == 1 else tuple(values)


def error_name(code: Any) -> str:
    return str(getattr(code, "name", None) or f"error {code}")


OLDEST_DRIVERS = {12: 525, 13: 580}
"""Oldest NVIDIA driver for each major version of CUDA: NVIDIA's table of CUDA's minor version compatibility."""


def gpu_problem(cuda: Any) -> str | None:
    """Return why no GPU can be used here, or None."""
    code, count = cuda.cudaGetDeviceCount()
    if code == cuda.cudaError_t.cudaSuccess:
        return None if count else "no CUDA GPU here"
    return _old_driver(cuda) or f"no CUDA driver or GPU here ({error_name(code)})"


def _old_driver(cuda: Any) -> str | None:
    """Return that the driver is too old for these bindings, if it is: CUDA gives the same error for no driver at
    all."""
    (_, driver), (_, runtime) = cuda.cudaDriverGetVersion(), cuda.cudaRuntimeGetVersion()
    wanted = runtime // 1000
    if not driver or driver // 1000 >= wanted:
        return None
    return (
        f"no driver for CUDA {wanted} here: it supports CUDA {cuda_version(driver)}, and cuda-bindings is for "
        f"{cuda_version(runtime)}; update it to {OLDEST_DRIVERS.get(wanted, 'a newer one')}, or pip install "
        f"'cuda-bindings<{wanted}'"
    )


def describe_gpu(cuda: Any) -> Gpu:
    """Describe the first GPU. Raises ModelError without one."""
    if (problem := gpu_problem(cuda)) is not None:
        raise ModelError(problem)
    properties = checked(cuda, cuda.cudaGetDeviceProperties(0))
    driver = int(checked(cuda, cuda.cudaDriverGetVersion()))
    name = properties.name.decode() if isinstance(properties.name, bytes) else str(properties.name)
    return Gpu(name.strip("\0 "), f"{properties.major}.{properties.minor}", cuda_version(driver))


def cuda_version(number: int) -> str:
    """13000 -> "13.0"."""
    return f"{number // 1000}.{number % 1000 // 10}"


def device_buffer(cuda: Any, num_bytes: int, stack: ExitStack) -> int:
    """Address of new device memory, 256-byte aligned; `stack` frees it."""
    address = int(checked(cuda, cuda.cudaMalloc(num_bytes)))
    stack.callback(cuda.cudaFree, address)
    return address


def pinned_buffer(cuda: Any, num_bytes: int, stack: ExitStack) -> ByteArray:
    """(num_bytes,) page-locked host memory, valid until `stack` frees it: only hand out copies."""
    address = int(checked(cuda, cuda.cudaMallocHost(num_bytes)))
    stack.callback(cuda.cudaFreeHost, address)
    return np.ctypeslib.as_array((ctypes.c_uint8 * num_bytes).from_address(address))


def new_stream(cuda: Any, stack: ExitStack) -> Any:
    """A stream that waits for no other; `stack` destroys it."""
    stream = checked(cuda, cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking))
    stack.callback(cuda.cudaStreamDestroy, stream)
    return stream


def copy_async(cuda: Any, target: int, source: int, num_bytes: int, *, up: bool, stream: Any) -> None:
    """Copy from page-locked host memory to the device (`up`), or back, in stream order."""
    kinds = cuda.cudaMemcpyKind
    kind = kinds.cudaMemcpyHostToDevice if up else kinds.cudaMemcpyDeviceToHost
    checked(cuda, cuda.cudaMemcpyAsync(target, source, num_bytes, kind, stream))
