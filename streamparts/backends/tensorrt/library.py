"""The installed TensorRT: `tensorrt` or, without it, `tensorrt_rtx`.

Their Python APIs are nearly the same; functions with names in `rtx` or `_rtx` are only for the second. `trt` is always
the imported module: tests look up its names in the real bindings of several versions.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from streamparts.backends.tensorrt.cuda import gpu_problem, load_cuda
from streamparts.errors import MissingExtraError, ModelError

LIBRARIES = ("tensorrt", "tensorrt_rtx")
"""Packages in the order in which they are tried."""
_RTX_DIAGNOSTICS = {
    1: "made by another version of the library",
    2: "made for other compute capabilities",
    4: "the CUDA driver is too old",
    8: "the CUDA runtime is too old",
    16: "not enough GPU memory",
    32: "damaged, or not an engine",
    64: "CUDA failed",
}


@dataclass(frozen=True, slots=True)
class Library:
    """The installed TensorRT."""

    module: Any
    """The imported package, called `trt` where it is used."""
    name: str
    """"tensorrt" or "tensorrt_rtx"."""
    log: Any
    """Its logger, one per process as TensorRT requires; `take()` returns the errors so far in one line."""

    @property
    def is_rtx(self) -> bool:
        return self.name == "tensorrt_rtx"

    @property
    def version(self) -> str:
        return str(self.module.__version__)

    @property
    def title(self) -> str:
        return f"{'TensorRT for RTX' if self.is_rtx else 'TensorRT'} {self.version}"


@cache
def load_library() -> Library:
    """Load `tensorrt`, or else `tensorrt_rtx`. Raises MissingExtraError if neither can be imported."""
    reasons = []
    for name in LIBRARIES:
        try:
            module = import_module(name)
        except (ImportError, OSError) as error:
            if not (isinstance(error, ModuleNotFoundError) and error.name == name):
                reasons.append(f"{name} cannot be imported: {error}")
            continue
        return Library(module, name, new_log(module))
    why = "; ".join(reasons) or "TensorRT is not installed"
    raise MissingExtraError(f"{why}; pip install 'streamparts[trt]', or 'streamparts[trt-rtx]' for RTX cards")


def new_log(trt: Any) -> Any:
    """A logger that keeps TensorRT's last errors and prints nothing."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._errors: deque[str] = deque(maxlen=8)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self._errors.append(" ".join(message.split()))

        def take(self) -> str:
            """Return the errors since the last call, without repetition, in at most 400 characters."""
            text = "; ".join(dict.fromkeys(self._errors))
            self._errors.clear()
            return text[:400] or "no reason given"

    return Log()


def new_builder(library: Library) -> Any:
    """A builder. Raises ModelError if the library rejects the driver or the GPU."""
    trt = library.module
    try:
        return trt.Builder(library.log)
    except TypeError as error:  # "factory function returned nullptr"
        raise _does_not_start(library) from error


def new_runtime(library: Library) -> Any:
    """A runtime. Raises ModelError if the library rejects the driver or the GPU."""
    trt = library.module
    try:
        return trt.Runtime(library.log)
    except TypeError as error:
        raise _does_not_start(library) from error


def _does_not_start(library: Library) -> ModelError:
    return ModelError(f"{library.title} does not start on this GPU and driver ({library.log.take()})")


def available() -> str | None:
    """Return why no engine can run here, in a few words; None if one can. Creates no TensorRT objects."""
    try:
        load_library()
        return gpu_problem(load_cuda())
    except MissingExtraError as error:
        return str(error)


def require_available(name: str) -> None:
    """Raise ModelError (MissingExtraError for packages) unless an engine can run here."""
    load_library()
    if (reason := gpu_problem(load_cuda())) is not None:
        raise ModelError(f"{name}: engines run on an NVIDIA GPU, but there is {reason}; give --model the .onnx file")


def rtx_plan_problem(library: Library, runtime: Any, plan: bytes) -> str | None:
    """Return TensorRT for RTX's objection to a plan, in words; None if the plan can run on this GPU."""
    trt = library.module
    validity, bits = runtime.get_engine_validity(plan)
    if validity in (trt.EngineValidity.VALID, trt.EngineValidity.SUBOPTIMAL):
        return None
    words = [text for bit, text in _RTX_DIAGNOSTICS.items() if bits & bit]
    return ", ".join(words) or library.log.take()
