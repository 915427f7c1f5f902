"""Selects the backend that runs a model: the requested one, or the fastest available one.

The command line reads the names in this table for every `--help`, so that this module loads numpy only for a choice.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from streamparts.backends.measuring import measure, noise, quickest
from streamparts.errors import ModelError, StreampartsError
from streamparts.machine import missing_gpu, missing_package

if TYPE_CHECKING:
    from streamparts.bundle.load import Bundle
    from streamparts.data import Backend

Role = Literal["gpu", "cpu", "never"]

AUTO = "auto"
ENGINE_RUNNER = "tensorrt"
"""Name of the backend that runs TensorRT engines."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of BACKENDS."""

    missing: Callable[[Bundle | None], str | None]
    """Returns None if the backend can run the model (None: any model) here, else the reason with the pip command if
    there is one."""
    open: Callable[[Bundle, int | None], Backend]
    """Opens the backend for a bundle and a number of threads. Raises StreampartsError."""
    auto: Role = "never"
    """"gpu": the first available one is taken; "cpu": measured against each other; "never": only on request."""
    exact: bool = True
    """False if it computes in a lower precision than the model's and does not check its results: "auto" then compares
    them first."""


@dataclass(frozen=True, slots=True)
class Availability:
    """Availability of a backend."""

    name: str
    """Name for --backend."""
    reason: str | None
    """Reason why it cannot be used; None if it can."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """An open backend."""

    backend: Backend
    why: str
    """Reason for the choice, in one line."""


def _onnxruntime(device: Literal["cpu", "cuda"]) -> Entry:
    def missing(bundle: Bundle | None) -> str | None:
        from streamparts.backends.onnx_runtime import missing_device

        return missing_device(device)

    def open(bundle: Bundle, threads: int | None) -> Backend:
        from streamparts.backends.onnx_runtime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(bundle, threads, device)

    return Entry(missing, open, "gpu" if device == "cuda" else "cpu")


def _torch(device: Literal["auto", "mps", "cpu"]) -> Entry:
    def missing(bundle: Bundle | None) -> str | None:
        no_metal = "no Metal device found" if device == "mps" and sys.platform != "darwin" else None
        return no_metal or _missing_torch(device, bundle)

    def open(bundle: Bundle, threads: int | None) -> Backend:
        from streamparts.backends.torch_backend import TorchBackend, best_device
        from streamparts.backends.torch_cuda import TorchCudaBackend

        on_gpu = device == "auto" and best_device() == "cuda"
        return TorchCudaBackend(bundle) if on_gpu else TorchBackend(bundle, threads, device)

    # On a CPU it is slower than the others and takes seconds to import.
    return Entry(missing, open)


def _torch_cuda(precision: Literal["fp32", "tf32", "fp16"], auto: Role = "never", compiled: bool = False) -> Entry:
    def missing(bundle: Bundle | None) -> str | None:
        # The hardware first: without it there is nothing to install, and importing torch takes seconds.
        reason = missing_gpu() or _missing_torch("cuda", bundle)
        if not reason and precision == "fp16" and bundle and bundle.spec.network.get("kind") != "student":
            return "fp16 is for students; use torch-cuda"
        return reason

    def open(bundle: Bundle, threads: int | None) -> Backend:
        from streamparts.backends.torch_cuda import TorchCudaBackend

        return TorchCudaBackend(bundle, precision, compiled)

    return Entry(missing, open, auto, exact=precision == "fp32")


def _missing_torch(device: str, bundle: Bundle | None) -> str | None:
    from streamparts.backends.checks import unbuildable

    def missing_device() -> str | None:
        if device in ("auto", "cpu"):
            return None
        from streamparts.backends import torch_backend

        return torch_backend.missing_device(device)

    return (
        missing_package("torch", "train")
        or missing_package("onnx", "train")
        or missing_device()
        or (unbuildable(bundle) if bundle else None)
    )


def _openvino() -> Entry:
    def open(bundle: Bundle, threads: int | None) -> Backend:
        from streamparts.backends.openvino import OpenVinoBackend

        return OpenVinoBackend(bundle, threads)

    return Entry(lambda bundle: missing_package("openvino", "openvino"), open, "cpu")


def _tensorrt(precision: Literal["fp16"] | None = None) -> Entry:
    """`precision` None is the model's own."""

    def missing(bundle: Bundle | None) -> str | None:
        if reason := missing_gpu():  # avoids two imports on machines without the hardware
            return reason
        if precision and bundle and bundle.spec.precision != "fp32":
            return f"the model is already {bundle.spec.precision}; use tensorrt"
        from streamparts.backends.tensorrt.library import available

        return available()

    def open(bundle: Bundle, threads: int | None) -> Backend:
        from streamparts.backends.tensorrt.backend import TensorRtBackend
        from streamparts.backends.tensorrt.engines import engine_for

        # An engine was compared with the model when it was built.
        return TensorRtBackend(engine_for(bundle, precision))

    return Entry(missing, open, "gpu")


BACKENDS: dict[str, Entry] = {
    "tensorrt-fp16": _tensorrt("fp16"),
    "tensorrt": _tensorrt(),
    "torch-cuda-fp16": _torch_cuda("fp16", "gpu"),
    "torch-cuda": _torch_cuda("fp32", "gpu"),
    "onnxruntime-cuda": _onnxruntime("cuda"),
    "onnxruntime": _onnxruntime("cpu"),
    "openvino": _openvino(),
    "torch": _torch("auto"),
    "torch-cuda-tf32": _torch_cuda("tf32"),
    "torch-cuda-fp16-compiled": _torch_cuda("fp16", compiled=True),
    "torch-mps": _torch("mps"),
    "torch-cpu": _torch("cpu"),
}
"""Backends by name; among equals, "auto" prefers the earlier one."""

_names_chosen: dict[tuple[str, int | None], tuple[str, str]] = {}
"""Choices of "auto" in this process with reasons, by the model's hash and the number of threads."""


def find_backends(bundle: Bundle | None = None) -> list[Availability]:
    """Return every backend, with the reason why it cannot run here: any model, or the given one."""
    return [Availability(name, missing(name, bundle)) for name in BACKENDS]


def missing(name: str, bundle: Bundle | None = None) -> str | None:
    """Return None if the backend called `name` can run `bundle` here (None: any model), else the reason."""
    if bundle and bundle.engine and name != ENGINE_RUNNER:
        return f"an engine runs only on {ENGINE_RUNNER}"
    return BACKENDS[name].missing(bundle)


def open_backend(bundle: Bundle, name: str = AUTO, threads: int | None = None) -> Backend:
    """Open the backend called `name` for `bundle`; see choose_backend."""
    return choose_backend(bundle, name, threads).backend


def choose_backend(bundle: Bundle, name: str = AUTO, threads: int | None = None) -> Chosen:
    """Open the backend called `name`, or, for "auto", the best available one: the first of the GPU backends, else the
    fastest CPU backend in a short measurement, which is remembered for a week.

    Args:
        bundle: the model to run.
        name: a name from `find_backends`, or "auto".
        threads: threads of a CPU backend; None is half of the cores.

    Raises ValueError for an unknown name; MissingExtraError, BackendError or ModelError if the named backend, or with
    "auto" every backend, cannot run the model.
    """
    if bundle.engine and name == AUTO:
        return Chosen(BACKENDS[ENGINE_RUNNER].open(bundle, threads), "the backend for engines")
    if name == AUTO:
        return _choose(bundle, threads)
    if name not in BACKENDS:
        raise ValueError(f"no backend called {name!r}; there are {AUTO}, {', '.join(BACKENDS)}")
    if bundle.engine and name != ENGINE_RUNNER:
        raise ModelError(f"{bundle.path}: an engine runs only on {ENGINE_RUNNER}, not on {name}")
    return Chosen(BACKENDS[name].open(bundle, threads), "requested")


def _choose(bundle: Bundle, threads: int | None) -> Chosen:
    key = (bundle.sha256, threads)
    if key not in _names_chosen:
        name, chosen = _measured(bundle, threads)
        _names_chosen[key] = name, chosen.why
        return chosen
    name, why = _names_chosen[key]
    return Chosen(BACKENDS[name].open(bundle, threads), why)


def _measured(bundle: Bundle, threads: int | None) -> tuple[str, Chosen]:
    from streamparts.backends.remembered import Remembered, remember

    failures: dict[str, StreampartsError] = {}
    gpu = _opened("gpu", bundle, threads, failures, most=1)
    if not gpu and (known := _remembered(bundle, threads)):
        return known
    cpu = {} if gpu else _opened("cpu", bundle, threads, failures)
    if not gpu and not cpu:
        raise next(iter(failures.values()))
    if gpu:
        name, why = next(iter(gpu)), "the first available GPU backend"
    elif len(cpu) == 1:
        name, why = next(iter(cpu)), "the only available CPU backend"
    else:
        name, why = quickest(measure(cpu, noise(bundle)))
        if not failures:
            remember(bundle.sha256, threads, [*cpu], Remembered(name, why))
    why += "".join(f"; {failed} failed: {error}" for failed, error in failures.items())
    return name, Chosen((gpu or cpu)[name], why)


def _remembered(bundle: Bundle, threads: int | None) -> tuple[str, Chosen] | None:
    """The CPU backend that an earlier process preferred, if it can still be opened."""
    from streamparts.backends.remembered import recall

    names = [name for name, entry in BACKENDS.items() if entry.auto == "cpu" and not missing(name, bundle)]
    found = recall(bundle.sha256, threads, names) if len(names) > 1 else None
    if found is None:
        return None
    try:
        return found.name, Chosen(BACKENDS[found.name].open(bundle, threads), f"{found.why}, measured before")
    except StreampartsError:
        return None


def _opened(
    role: Role, bundle: Bundle, threads: int | None, failures: dict[str, StreampartsError], most: int | None = None
) -> dict[str, Backend]:
    """Open at most `most` available backends of a role that run an image; the others are added to `failures`."""
    opened: dict[str, Backend] = {}
    for name, entry in BACKENDS.items():
        if entry.auto != role or len(opened) == most or missing(name, bundle):
            continue
        try:
            backend = entry.open(bundle, threads)
            backend.run(noise(bundle))
            if not entry.exact:
                from streamparts.backends.tolerances import require_agreement

                require_agreement(bundle, backend, "fp16")
        except StreampartsError as error:
            failures[name] = error
        else:
            opened[name] = backend
    return opened
