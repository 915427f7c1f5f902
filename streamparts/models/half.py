"""The student in half precision: the same parts as graph.low_precision halves in an exported graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from streamparts.models.layers import Affine
from streamparts.models.readout import ExportedStudent


class _Halved(nn.Module):
    """A module with weights in float16, which takes and gives float16."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module.half()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.module(x.half())
        return found


class _Exact(nn.Module):
    """A module in float32 that may be given float16."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *given: Tensor) -> Tensor | Affine:
        found: Tensor | Affine = self.module(*(x.float() for x in given))
        return found


def halved(network: nn.Module) -> nn.Module | None:
    """Let `network`, which is changed, compute in float16 up to the last layers before masks and poses: the readout
    compares small differences of large numbers, and 16 bits resolve a position to a quarter of a pixel. Returns None,
    and changes nothing, for anything but an ExportedStudent."""
    if not isinstance(network, ExportedStudent):
        return None
    if any(weight.abs().max() > torch.finfo(torch.float16).max for weight in network.parameters()):
        return None
    student = network.student
    student.encoder, student.lift, student.sharpen = (  # type: ignore[assignment]
        _Halved(part) for part in (student.encoder, student.lift, student.sharpen)
    )
    student.mask, student.pose = _Exact(student.mask), _Exact(student.pose)  # type: ignore[assignment]
    return network
