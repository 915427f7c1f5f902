"""The PyTorch backend on NVIDIA GPUs: graphs, two batches in flight, and a choice of precision; see torch_graph.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from streamparts.arrays import ByteArray
from streamparts.backends.capture import sizes_to_warm
from streamparts.backends.checks import one_line, require_images
from streamparts.backends.overlap import NUM_SLOTS, InFlight, joined
from streamparts.backends.torch_backend import missing_device
from streamparts.backends.torch_graph import CudaStream, Stream, TorchSlot
from streamparts.backends.torch_network import build_network, num_outputs
from streamparts.bundle.load import Bundle
from streamparts.data import DeviceImage, NetworkOutputs
from streamparts.devices.torch_images import TorchImage
from streamparts.errors import BackendError, ModelError
from streamparts.models.fuse import fuse_relus
from streamparts.models.half import halved, spared
from streamparts.models.readout_kernel import fuse_readout

import torch  # isort: skip - after torch_network, which reports a missing package
from torch import Tensor, nn  # isort: skip

TorchPrecision = Literal["fp32", "tf32", "fp16"]

MAX_BATCH = 256
"""Largest batch; larger ones are split: beyond it, the copies no longer fit into the processor's cache."""
NUM_SIZES = 9
"""Powers of two up to MAX_BATCH; the compiler gives up on a network of more sizes than its limit, which is 8."""


class TorchCudaBackend:
    """A bundle's network in PyTorch on a GPU; has the methods of overlap.Overlapping."""

    max_batch = MAX_BATCH

    def __init__(
        self,
        bundle: Bundle,
        precision: TorchPrecision = "fp32",
        compiled: bool = False,
        new_stream: Callable[[], Stream] | None = None,
    ) -> None:
        """`precision` is fp32 as in the file; "tf32", with 10 bits of mantissa in convolutions; or "fp16"; the latter
        two without the layers that models.half names. `compiled` fuses with Inductor, which takes a minute.
        `new_stream` replaces streams of the GPU.

        Raises BackendError without a GPU, ModelError if the network cannot be built from the bundle, not in this
        precision, or fails.
        """
        self.name = backend_name(precision, compiled)
        if new_stream is None and (reason := missing_device("cuda")):
            raise BackendError(f"{self.name} cannot be used: {reason}")
        streams = [(new_stream or _new_stream)() for _ in range(NUM_SLOTS)]
        self._bundle, self._tf32 = bundle, precision == "tf32"
        self._network = prepared(bundle, precision, compiled).to(streams[0].device)
        self._run: Callable[[Tensor], list[Tensor | None]] = self._network
        if compiled:
            self._run = _compiled(self._network)
        self._num_outputs = num_outputs(bundle)
        shape = (*bundle.spec.input_hw, 3)
        with self._named():
            for each in streams:
                each.follow()  # the caller's stream has loaded the weights
            slots = [TorchSlot(self._outputs, each, shape, MAX_BATCH, self.name, self._settings) for each in streams]
            for slot in slots:
                slot.warm(sizes_to_warm(MAX_BATCH))
        self._in_flight = InFlight(slots, MAX_BATCH)

    @property
    def graphs(self) -> dict[int, bool]:
        """For each batch size that was run: True if it is replayed as a CUDA graph."""
        return self._in_flight.graphs

    def run(self, images: ByteArray) -> NetworkOutputs:
        """See Backend.run; any number of images, the copies of one batch beside the computation of the next."""
        with self._named():
            return self._in_flight.run(require_images(images, self._bundle))

    def rows(self, batch: int) -> ByteArray:
        """(batch, H, W, 3) uint8 page-locked memory for the next submit(), which then copies nothing on the host."""
        return self._in_flight.rows(batch)

    def submit(self, images: ByteArray) -> None:
        """Start on (N, H, W, 3) images, N <= max_batch, and return at once. At most two batches may wait for collect().
        Raises ModelError."""
        with self._named():
            self._in_flight.submit(require_images(images, self._bundle))

    def collect(self) -> NetworkOutputs:
        """Wait for the oldest submitted batch, and return its outputs. Raises ModelError."""
        with self._named():
            return self._in_flight.collect()

    def run_on_device(self, images: Sequence[DeviceImage]) -> NetworkOutputs:
        """See devices.OnDevice."""
        self._in_flight.require_idle()
        outputs = []
        for start in range(0, len(images), self.max_batch):
            self.submit_on_device(images[start : start + self.max_batch])
            outputs.append(self.collect())
        return joined(outputs)

    def submit_on_device(self, images: Sequence[DeviceImage]) -> None:
        """See devices.OverlappingOnDevice."""
        tensors = [self._tensor_of(image) for image in images]
        if not 0 < len(tensors) <= self.max_batch:
            raise ValueError(f"submit_on_device takes 1 to {self.max_batch} images at once, got {len(tensors)}")
        with self._named():
            self._in_flight.start(lambda slot: slot.submit_tensors(tensors))

    def _tensor_of(self, image: DeviceImage) -> Tensor:
        if not isinstance(image, TorchImage) or image.shape[:2] != self._bundle.spec.input_hw:
            raise ModelError(
                f"{self._bundle.path.name} takes images of {self._bundle.spec.input_hw}, got {image.shape}"
            )
        return image.tensor

    def _outputs(self, images: Tensor) -> list[Tensor]:
        """Return as many outputs as the ONNX graph, which may omit the last one."""
        return [tensor for tensor in self._run(images) if tensor is not None][: self._num_outputs]

    @contextmanager
    def _settings(self) -> Iterator[None]:
        """fp32 means float32: TF32 is on by default in convolutions. Algorithms are chosen for exactly these shapes."""
        flags = torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=self._tf32)
        with torch.inference_mode(), flags:
            yield

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Turn torch's errors into one line with the model's name."""
        try:
            yield
        except RuntimeError as error:
            raise ModelError(f"{self._bundle.path.name} failed on {self.name}: {one_line(error)}") from error


def _compiled(network: nn.Module) -> Callable[[Tensor], list[Tensor | None]]:
    """The network, compiled anew for each batch size: of one that varies, Inductor makes slower kernels."""
    import torch._dynamo.config as config

    config.cache_size_limit = max(config.cache_size_limit, NUM_SIZES)
    return torch.compile(network, dynamic=False)


def backend_name(precision: TorchPrecision = "fp32", compiled: bool = False) -> str:
    """Name for --backend, such as "torch-cuda-fp16"."""
    words = ["torch-cuda", *([precision] if precision != "fp32" else []), *(["compiled"] if compiled else [])]
    return "-".join(words)


def _new_stream() -> Stream:
    return CudaStream(torch.device("cuda", torch.cuda.current_device()))


def prepared(bundle: Bundle, precision: TorchPrecision, compiled: bool) -> nn.Module:
    """The network in the form that is fastest on a GPU. Raises ModelError if it cannot be halved."""
    network = build_network(bundle)
    if precision == "fp16" and halved(network) is None:
        raise ModelError(f"{bundle.path}: torch-cuda-fp16 runs students only; use torch-cuda")
    if precision == "tf32":
        spared(network)
    if not compiled:  # Inductor fuses by itself
        fuse_readout(fuse_relus(network))
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
