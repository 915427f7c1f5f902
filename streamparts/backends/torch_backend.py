"""PyTorch, on any of its devices; on CUDA one graph per batch size, see torch_graph.py.

The network is built from the description of the model and filled with the weights of the ONNX file. On the CPU PyTorch
has one number of threads for the whole process: it stays as it is unless `threads` is given.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Literal, NoReturn, TypeVar

from streamparts.arrays import ByteArray
from streamparts.backends.checks import one_line, require_images, unbuildable
from streamparts.bundle.load import Bundle
from streamparts.data import Outputs
from streamparts.errors import BackendError, MissingExtraError, ModelError
from streamparts.machine import missing_gpu, missing_package, num_threads

try:
    import onnx
    import torch
    from onnx import numpy_helper
    from torch import Tensor, nn
except ImportError as missing:
    reason = missing_package("torch", "train") or missing_package("onnx", "train") or str(missing)
    raise MissingExtraError(f"torch cannot be used: {reason}") from missing

from streamparts.backends.torch_graph import GraphRunner
from streamparts.models.assembly import AssemblyConfig
from streamparts.models.assembly_paper import PaperAssemblyConfig
from streamparts.models.fuse import fuse_batch_norms
from streamparts.models.groups import PartGroups
from streamparts.models.readout import ExportedScops, ExportedStudent, ExportedTeacher
from streamparts.models.scops import Scops, ScopsConfig
from streamparts.models.student import Student, StudentConfig
from streamparts.models.trained import build_teacher

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Device = Literal["auto", "cuda", "mps", "cpu"]
Config = TypeVar("Config", bound="DataclassInstance")

_NOT_SHAPE = {"kind", "form", "gate", "groups"}
"""Of a network's description: which network it is, and what a teacher has beside its shape."""
_LONGEST_LIST = 64
"""Of numbers in a network's description: a file made to harm could ask for a million layers."""


class TorchBackend:
    """A bundle's network in PyTorch."""

    def __init__(self, bundle: Bundle, threads: int | None = None, device: Device = "auto") -> None:
        """`device` "auto" is the best there is: cuda, mps, cpu. `threads` sets the threads of the whole process, on the
        CPU only; None leaves them alone.

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
        self._num_outputs = len(_graph(bundle).output)
        if self._device.type == "cpu" and threads is not None:
            torch.set_num_threads(num_threads(threads))
        self._graphs = GraphRunner(self._outputs, self._device) if self._device.type == "cuda" else None

    def run(self, images: ByteArray) -> Outputs:
        """See Backend.run. The first call with a batch size takes longer on CUDA: its graph is made."""
        images = require_images(images, self._bundle)
        try:
            if self._graphs is not None:
                return Outputs(*self._graphs.run(images))
            if not images.flags.writeable:  # a tensor cannot share it
                images = images.copy()
            with torch.inference_mode():
                outputs = self._outputs(torch.from_numpy(images).to(self._device))
            # numpy() shares memory with the tensor, which nothing else keeps.
            return Outputs(*(tensor.cpu().contiguous().numpy() for tensor in outputs))
        except RuntimeError as error:
            raise ModelError(f"{self._bundle.path.name} failed on {self.name}: {one_line(error)}") from error

    def _outputs(self, images: Tensor) -> list[Tensor]:
        """As many as the ONNX graph has, which may leave out the last one."""
        return [tensor for tensor in self._network(images) if tensor is not None][: self._num_outputs]


def best_device() -> Literal["cuda", "mps", "cpu"]:
    """The quickest device that PyTorch finds here."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def missing_device(device: str) -> str | None:
    """None where PyTorch can use "cuda", "mps" or "cpu" here, else why not."""
    if device == "cuda" and not torch.cuda.is_available():
        return missing_gpu() or "this torch is made without CUDA, or for a newer driver"
    if device == "mps" and not torch.backends.mps.is_available():
        return "no Metal device here"
    return None


def build_network(bundle: Bundle) -> nn.Module:
    """The network of a bundle, in eval mode on the CPU: (N, S, S, 3) uint8 -> labels, affines, scores[, evidence].

    BatchNorm is folded into the convolutions, as in the file. Raises ModelError when the bundle does not describe its
    network, is not fp32, or has other weights than it describes.
    """
    try:
        # Without memory of its own: nothing is allocated that the file does not hold.
        with torch.device("meta"):
            network = fuse_batch_norms(_described(bundle))
        tensors = _weights(bundle, set(network.state_dict()))
        network.load_state_dict(tensors, assign=True)
    except ModelError:
        raise
    except Exception as error:  # whatever nonsense of a description makes of torch
        _refuse(bundle, f"its description of the network does not fit ({one_line(error)})", error)
    return network.eval().requires_grad_(False)


def _described(bundle: Bundle) -> nn.Module:
    if reason := unbuildable(bundle):
        _refuse(bundle, reason)
    match bundle.spec.network.get("kind"):
        case "student":
            return ExportedStudent(Student(_config(bundle, StudentConfig)))
        case "scops":
            return ExportedScops(Scops(_config(bundle, ScopsConfig)))
        case "teacher":
            return _teacher(bundle)
        case kind:
            _refuse(bundle, f"networks of kind {kind!r} are not known; use another backend")


def _teacher(bundle: Bundle) -> ExportedTeacher:
    """An Assembly teacher: its slots are more than the parts that it joins them to."""
    form, gate, groups = (bundle.spec.network.get(name) for name in ("form", "gate", "groups"))
    if form not in ("fast", "paper") or not isinstance(gate, (int, float)) or not isinstance(groups, str):
        _refuse(bundle, "its description of the teacher lacks form, gate or groups")
    joined = PartGroups.from_json(groups)
    config: AssemblyConfig | PaperAssemblyConfig
    config = _config(bundle, AssemblyConfig, joined) if form == "fast" else _config(bundle, PaperAssemblyConfig, joined)
    return ExportedTeacher(build_teacher(config), joined, gate)


def _config(bundle: Bundle, kind: type[Config], groups: PartGroups | None = None) -> Config:
    """The network's shape, which must agree with the rest of the description, and with `groups` where slots are joined
    to parts."""
    given = {name: value for name, value in bundle.spec.network.items() if name not in _NOT_SHAPE}
    unknown = set(given) - {field.name for field in fields(kind)}
    if unknown:
        _refuse(bundle, f"its network has fields this version does not know: {sorted(unknown)}")
    size, num_parts = given.get("image_size"), given.get("num_parts")
    if groups is not None and isinstance(num_parts, int):
        groups.require_slots(num_parts)
        num_parts = groups.num_parts
    if bundle.spec.input_hw != (size, size) or num_parts != bundle.spec.num_parts:
        _refuse(bundle, f"its network is for {num_parts} parts and {size} pixels, its description says otherwise")
    if any(isinstance(value, list) and len(value) > _LONGEST_LIST for value in given.values()):
        _refuse(bundle, f"its network has a list of more than {_LONGEST_LIST} numbers")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def _weights(bundle: Bundle, names: set[str]) -> dict[str, Tensor]:
    """The initialisers of the ONNX file that carry these names. Raises ModelError if any is not there."""
    found = {tensor.name: tensor for tensor in _graph(bundle).initializer if tensor.name in names}
    if missing := sorted(names - set(found)):
        _refuse(bundle, f"it lacks {len(missing)} weights of the network it describes, {missing[0]} among them")
    return {name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for name, tensor in found.items()}


def _graph(bundle: Bundle) -> onnx.GraphProto:
    return onnx.load_model_from_string(bundle.data).graph


def _refuse(bundle: Bundle, reason: str, cause: Exception | None = None) -> NoReturn:
    raise ModelError(f"{bundle.path}: torch cannot run it: {reason}") from cause
