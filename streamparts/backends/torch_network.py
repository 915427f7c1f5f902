"""Builds a bundle's network in PyTorch from the description in the file, with the weights in the file."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, NoReturn, TypeVar

from streamparts.backends.checks import one_line, unbuildable
from streamparts.bundle.load import Bundle
from streamparts.errors import MissingExtraError, ModelError
from streamparts.machine import missing_package

try:
    import onnx
    import torch
    from onnx import numpy_helper
    from torch import Tensor, nn
except ImportError as missing:
    reason = missing_package("torch", "train") or missing_package("onnx", "train") or str(missing)
    raise MissingExtraError(f"torch cannot be used: {reason}") from missing

from streamparts.models.assembly import AssemblyConfig
from streamparts.models.assembly_paper import PaperAssemblyConfig
from streamparts.models.fuse import fuse_batch_norms
from streamparts.models.groups import PartGroups
from streamparts.models.readout import ExportedScops, ExportedSegmenter, ExportedStudent, ExportedTeacher
from streamparts.models.scops import Scops, ScopsConfig
from streamparts.models.segmenters import SEGMENTERS
from streamparts.models.student import Student, StudentConfig
from streamparts.models.trained import build_teacher

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")

_NOT_SHAPE = {"kind", "form", "gate", "groups"}
"""Fields of a network's description: its kind, and those that a teacher has besides its shape."""
_LONGEST_LIST = 64
"""Upper bound of numbers in a network's description: a malicious file could ask for a million layers."""


def build_network(bundle: Bundle) -> nn.Module:
    """Build the network of a bundle, in eval mode on the CPU: (N, S, S, 3) uint8 -> labels, affines, scores[,
    evidence].

    BatchNorm is folded into the convolutions, as in the file. Raises ModelError if the bundle does not describe its
    network, is not fp32, or has weights that do not fit the description.
    """
    try:
        # On the meta device: nothing is allocated that the file does not contain.
        with torch.device("meta"):
            network = fuse_batch_norms(_described(bundle))
        tensors = _weights(bundle, set(network.state_dict()))
        network.load_state_dict(tensors, assign=True)
    except ModelError:
        raise
    except Exception as error:  # any error that an invalid description causes in torch
        _refuse(bundle, f"its description of the network does not fit ({one_line(error)})", error)
    return network.eval().requires_grad_(False)


def num_outputs(bundle: Bundle) -> int:
    """Number of outputs of the graph in the file."""
    return len(_graph(bundle).output)


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
        case kind if kind in SEGMENTERS:
            segmenter = SEGMENTERS[str(kind)]
            return ExportedSegmenter(segmenter.build(_config(bundle, segmenter.config)))
        case kind:
            _refuse(bundle, f"networks of kind {kind!r} are not supported; use another backend")


def _teacher(bundle: Bundle) -> ExportedTeacher:
    """Build an Assembly teacher, which joins its slots to fewer parts."""
    form, gate, groups = (bundle.spec.network.get(name) for name in ("form", "gate", "groups"))
    if form not in ("fast", "paper") or not isinstance(gate, (int, float)) or not isinstance(groups, str):
        _refuse(bundle, "its description of the teacher lacks form, gate or groups")
    joined = PartGroups.from_json(groups)
    config: AssemblyConfig | PaperAssemblyConfig
    config = _config(bundle, AssemblyConfig, joined) if form == "fast" else _config(bundle, PaperAssemblyConfig, joined)
    return ExportedTeacher(build_teacher(config), joined, gate)


def _config(bundle: Bundle, kind: type[Config], groups: PartGroups | None = None) -> Config:
    """Return the network's configuration, which must agree with the rest of the description, and with `groups` if slots
    are joined to parts."""
    given = {name: value for name, value in bundle.spec.network.items() if name not in _NOT_SHAPE}
    unknown = set(given) - {field.name for field in fields(kind)}
    if unknown:
        _refuse(bundle, f"its network has fields that this version does not support: {sorted(unknown)}")
    size, num_parts = given.get("image_size"), given.get("num_parts")
    if groups is not None and isinstance(num_parts, int):
        groups.require_slots(num_parts)
        num_parts = groups.num_parts
    if bundle.spec.input_hw != (size, size) or num_parts != bundle.spec.num_parts:
        _refuse(bundle, f"its network is for {num_parts} parts and {size} pixels, which contradicts its description")
    if any(isinstance(value, list) and len(value) > _LONGEST_LIST for value in given.values()):
        _refuse(bundle, f"its network has a list of more than {_LONGEST_LIST} numbers")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def _weights(bundle: Bundle, names: set[str]) -> dict[str, Tensor]:
    """Return the initialisers of the ONNX file with these names. Raises ModelError if any is missing."""
    found = {tensor.name: tensor for tensor in _graph(bundle).initializer if tensor.name in names}
    if missing := sorted(names - set(found)):
        _refuse(bundle, f"it lacks {len(missing)} weights of the described network, such as {missing[0]}")
    return {name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for name, tensor in found.items()}


def _graph(bundle: Bundle) -> onnx.GraphProto:
    return onnx.load_model_from_string(bundle.data).graph


def _refuse(bundle: Bundle, reason: str, cause: Exception | None = None) -> NoReturn:
    raise ModelError(f"{bundle.path}: torch cannot run it: {reason}") from cause
