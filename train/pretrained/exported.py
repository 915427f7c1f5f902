"""Loads exported students for further training; their norms, which the export folded into convolutions, are
restored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn

from streamparts.backends.loading import load_model
from streamparts.bundle.load import find_model
from streamparts.bundle.spec import ModelSpec
from streamparts.errors import ModelError
from streamparts.models.student import Student, StudentConfig

PREFIX = "student."
"""Prefix of the student's weights in the graph."""


def read_student(model: str) -> tuple[Student, ModelSpec]:
    """Load the student of a bundled model, by name, or of an .onnx file written by `streamparts export`; its outputs
    equal the model's. Before training, `norms_from` must set the statistics of its norms. Raises ModelError for any
    other file."""
    path = find_model(model)
    spec = load_model(path).spec
    try:
        config = msgspec.convert(spec.network, StudentConfig)
        student = Student(config)
        student.load_state_dict(unfolded(graph_weights(path), student))
    except (msgspec.ValidationError, RuntimeError, ValueError, KeyError) as error:
        raise ModelError(f"{model} is not an exported fp32 student, so it cannot be trained") from error
    return student.eval(), spec


def graph_weights(path: Path) -> dict[str, Tensor]:
    """Return the graph's tensors under their names in the student. Raises ModelError."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except (OSError, DecodeError) as error:
        raise ModelError(f"{path}: cannot be read ({error})") from error
    return {
        each.name.removeprefix(PREFIX): torch.from_numpy(onnx.numpy_helper.to_array(each).copy())
        for each in graph.initializer
        if each.name.startswith(PREFIX)
    }


def unfolded(weights: dict[str, Tensor], student: Student) -> dict[str, Tensor]:
    """Return every tensor of the student: convolutions unchanged, norms that only add the folded bias. Raises KeyError
    if a tensor is missing."""
    out = dict(student.state_dict())
    norms = dict(norms_of(student))
    for name in out:
        layer, _, tensor = name.rpartition(".")
        if layer not in norms:
            out[name] = weights[name]
        elif tensor == "bias":
            before, _, number = layer.rpartition(".")
            out[name] = weights[f"{before}.{int(number) - 1}.bias"]
        elif tensor == "weight":
            out[name] = torch.full_like(out[name], (1 + norms[layer].eps) ** 0.5)
        else:
            out[name] = torch.full_like(out[name], float(tensor == "running_var"))
    return out


def norms_of(network: nn.Module) -> Iterator[tuple[str, nn.BatchNorm2d]]:
    """Return the norms by name."""
    return ((name, module) for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d))


@torch.no_grad()
def norms_from(student: Student, images: Tensor) -> None:
    """Set the statistics of the norms to those of `images` (B, 3, S, S), without changing the student's outputs in
    evaluation."""
    student.train()
    learning = [norm for _, norm in norms_of(student) if norm.training]
    student.eval()
    seen = _inputs(student, learning, images)
    for norm, x in zip(learning, seen, strict=True):
        assert norm.running_mean is not None and norm.running_var is not None
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3)).clamp(min=1e-6)
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        norm.bias.add_(gain * (mean - norm.running_mean))
        norm.weight.copy_(gain * (var + norm.eps).sqrt())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)


def _inputs(student: Student, modules: list[nn.BatchNorm2d], images: Tensor) -> list[Tensor]:
    """Return the inputs of `modules` when the student processes `images`."""
    seen: dict[nn.Module, Tensor] = {}

    def note(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        seen[module] = args[0].clone()

    hooks = [module.register_forward_pre_hook(note) for module in modules]
    student(images)
    for hook in hooks:
        hook.remove()
    return [seen[module] for module in modules]
