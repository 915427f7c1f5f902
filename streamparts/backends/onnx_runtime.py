"""The ONNX Runtime backend: on the CPU, where it runs everywhere, and with its CUDA provider. Its TensorRT provider is
not offered: the backend "tensorrt" runs the same library, of any version."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from typing import Literal

from streamparts.arrays import ByteArray
from streamparts.backends.checks import one_line, require_images
from streamparts.bundle.load import Bundle
from streamparts.bundle.ort import onnxruntime
from streamparts.data import NetworkOutputs
from streamparts.errors import BackendError, MissingExtraError, ModelError
from streamparts.machine import missing_gpu, num_threads

Device = Literal["cpu", "cuda"]

_CUDA = ("CUDAExecutionProvider", {"use_tf32": "0"})  # float32 as in the model, not TF32 with 10 bits of mantissa
_PROVIDERS: dict[Device, list[tuple[str, dict[str, str]]]] = {
    "cpu": [("CPUExecutionProvider", {})],
    "cuda": [_CUDA],
}
"""Providers in order; the first one must run; unsupported nodes fall to the next, and last to the CPU."""
_GPU_PACKAGE = "pip uninstall onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'"


class OnnxRuntimeBackend:
    """An optimised session of a bundle's network."""

    def __init__(self, bundle: Bundle, threads: int | None = None, device: Device = "cpu") -> None:
        """`threads` compute one frame together; None takes half of the cores, because decoding and encoding need the
        rest.

        Raises MissingExtraError if this ONNX Runtime does not support `device`, BackendError if the device is not
        usable, ModelError if the model cannot run.
        """
        self.name = "onnxruntime" if device == "cpu" else f"onnxruntime-{device}"
        self.is_reentrant = device == "cpu"
        """Sessions on the CPU compute in the threads that call them."""
        self._bundle = bundle
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads(threads)
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # Idle threads would otherwise spin on the cores that decode and encode.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = self._open(options, device)
        given = {tensor.name for tensor in self._session.get_outputs()}
        self._outputs = [output for output in NetworkOutputs._fields if output in given]

    def _open(self, options: onnxruntime.SessionOptions, device: Device) -> onnxruntime.InferenceSession:
        provider, _ = _PROVIDERS[device][0]
        missing = _require_provider(self.name, provider) if device != "cpu" else ""
        try:
            # Otherwise a provider that fails prints to stdout, and its session is made, or run, on the CPU.
            session = onnxruntime.InferenceSession(
                self._bundle.data, options, providers=_PROVIDERS[device], enable_fallback=0
            )
        except Exception as error:  # the only common base of onnxruntime's errors
            raise ModelError(f"{self._bundle.path}: {self.name}: {one_line(error)}") from error
        session.disable_fallback()
        # onnxruntime drops a provider without a device with a line in its log, and runs everything on the CPU.
        if session.get_providers()[0] != provider:
            reason = missing_gpu() or missing or "its CUDA and cuDNN libraries are missing or of other versions"
            raise BackendError(f"{self.name} cannot be used: {provider} does not start ({reason})")
        return session

    def run(self, images: ByteArray) -> NetworkOutputs:
        """See Backend.run."""
        images = require_images(images, self._bundle)
        try:
            return NetworkOutputs(*self._session.run(self._outputs, {"image": images}))
        except Exception as error:
            raise ModelError(f"{self._bundle.path.name} failed on {self.name}: {one_line(error)}") from error


def missing_device(device: Device) -> str | None:
    """Return None if ONNX Runtime has a provider for `device` and there is a GPU for it, else the reason."""
    if device != "cpu" and (reason := missing_gpu()):  # checked first: without the hardware there is nothing to install
        return reason
    provider, _ = _PROVIDERS[device][0]
    if provider not in onnxruntime.get_available_providers():
        return f"this onnxruntime has no {provider}; {_GPU_PACKAGE}"
    return None


def _require_provider(name: str, provider: str) -> str:
    """Raise MissingExtraError unless this build of ONNX Runtime has the provider; also load its CUDA libraries, and
    return what ONNX Runtime says about those that cannot be, in one line."""
    if provider not in onnxruntime.get_available_providers():
        raise MissingExtraError(f"{name} cannot be used: this onnxruntime has no {provider}; {_GPU_PACKAGE}")
    if hasattr(onnxruntime, "preload_dlls"):  # since 1.21: CUDA from pip is not on the loader's path
        # it prints what it cannot load, and stdout may be the results'
        with redirect_stdout(StringIO()) as printed:
            onnxruntime.preload_dlls()
        return " ".join(printed.getvalue().split())[:200]
    return ""
