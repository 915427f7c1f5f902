"""The PyTorch backend on a CPU or on Apple's GPUs, one batch after the other; torch_cuda.py is the one for NVIDIA's.

The network is built from the model's description and loaded with the weights in the ONNX file. On the CPU, PyTorch has
one number of threads for the whole process, which changes only if `threads` is given.
"""

from __future__ import annotations

from typing import Literal

from streamparts.arrays import ByteArray
from streamparts.backends.checks import one_line, require_images
from streamparts.backends.torch_network import build_network, num_outputs
from streamparts.bundle.load import Bundle
from streamparts.data import NetworkOutputs
from streamparts.errors import BackendError, ModelError
from streamparts.machine import missing_gpu, num_threads

import torch  # isort: skip - after torch_network, which reports a missing package

Device = Literal["auto", "cuda", "mps", "cpu"]


class TorchBackend:
    """A bundle's network in PyTorch."""

    def __init__(self, bundle: Bundle, threads: int | None = None, device: Device = "auto") -> None:
        """`device` "auto" is the best available: cuda, mps, cpu. `threads` sets the threads of the whole process, on
        the CPU only; None keeps them.

        Raises BackendError without the device, ModelError if the network cannot be built from the bundle.
        """
        self._device = torch.device(best_device() if device == "auto" else device)
        self.name = f"torch-{self._device.type}"
        if reason := missing_device(self._device.type):
            raise BackendError(f"{self.name} cannot be used: {reason}")
        self._bundle = bundle
        network = build_network(bundle)
        if self._device.type == "cpu":
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        try:
            self._network = network.to(self._device)
        except RuntimeError as error:
            raise BackendError(f"{self.name} cannot be used: {one_line(error)}") from error
        self._num_outputs = num_outputs(bundle)
        if self._device.type == "cpu" and threads is not None:
            torch.set_num_threads(num_threads(threads))

    def run(self, images: ByteArray) -> NetworkOutputs:
        """See Backend.run."""
        images = require_images(images, self._bundle)
        if not images.flags.writeable:  # a tensor cannot share it
            images = images.copy()
        try:
            with torch.inference_mode():
                found = self._network(torch.from_numpy(images).to(self._device))
                outputs = [tensor for tensor in found if tensor is not None][: self._num_outputs]
            # numpy() shares memory with the tensor, which nothing else keeps alive.
            return NetworkOutputs(*(tensor.cpu().contiguous().numpy() for tensor in outputs))
        except RuntimeError as error:
            raise ModelError(f"{self._bundle.path.name} failed on {self.name}: {one_line(error)}") from error


def best_device() -> Literal["cuda", "mps", "cpu"]:
    """Return the fastest device available to PyTorch."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def missing_device(device: str) -> str | None:
    """Return None if PyTorch can use "cuda", "mps" or "cpu" here, else the reason."""
    if device == "cuda" and not torch.cuda.is_available():
        return missing_gpu() or "this torch was built without CUDA, or for a newer driver"
    if device == "mps" and not torch.backends.mps.is_available():
        return "no Metal device found"
    return None
