"""The student in half precision: the same parts as graph.low_precision halves in an exported graph, and the first
convolution of lite0's stage 3, which is still at stride 8. And in TF32, which has float16's 10 bits of mantissa."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from streamparts.models.layers import Affine
from streamparts.models.readout import ExportedStudent
from streamparts.models.student import LiteUNet

EXACT_STAGES = 3
"""Stages of EfficientNet-lite0, after its stem, that stay in float32, with the convolutions that lead from them to the
decoder: all layers down to stride 8, as graph.low_precision.EXACT_STRIDE has it. Their channels reach past 90 before
they are clipped at 6, their filters have 9 or 25 weights of up to 18, and what they lose, all later layers read."""
TF32_FROM_STAGE = 4
"""First stage in TF32, which is judged by float32's tolerance: one later, at stride 16."""
_EXACT_LEVELS = 2
"""Those of these stages that have such a convolution, at strides 4 and 8."""


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


class _Rounded(nn.Module):
    """A module in float32 whose results are rounded to float16."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        found = self.module(x)
        return found.half() if isinstance(found, Tensor) else tuple(each.half() for each in found)


class _WithoutTf32(nn.Module):
    """A module that cuDNN computes in float32 while TF32 is allowed."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *given: Tensor) -> Tensor | Affine:
        # benchmark and deterministic as in torch_cuda.py: flags() sets all of them
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=False):
            found: Tensor | Affine = self.module(*given)
        return found


def spared(network: nn.Module) -> nn.Module:
    """Let a student, which is changed, keep its last layers and EfficientNet's first ones out of TF32; other networks
    stay as they are."""
    if isinstance(network, ExportedStudent):
        student = network.student
        if isinstance(student.encoder, LiteUNet):
            lite0, across = student.encoder.lite0, student.encoder.across
            lite0.stem = _WithoutTf32(lite0.stem)  # type: ignore[assignment]
            for number in range(TF32_FROM_STAGE):
                lite0.stages[number] = _WithoutTf32(lite0.stages[number])
            for number in range(_EXACT_LEVELS):
                across[number] = _WithoutTf32(across[number])
        student.mask, student.pose = _WithoutTf32(student.mask), _WithoutTf32(student.pose)  # type: ignore[assignment]
    return network


def halved(network: nn.Module) -> nn.Module | None:
    """Let `network`, which is changed, compute in float16 up to the last layers before masks and poses: the readout
    compares small differences of large numbers, and 16 bits resolve a position to a quarter of a pixel. EfficientNet's
    first layers stay in float32, too. Returns None, and changes nothing, for anything but an ExportedStudent."""
    if not isinstance(network, ExportedStudent):
        return None
    if any(weight.abs().max() > torch.finfo(torch.float16).max for weight in network.parameters()):
        return None
    student = network.student
    if isinstance(student.encoder, LiteUNet):
        student.encoder = _Rounded(_halved_late(student.encoder))  # type: ignore[assignment]
    else:
        student.encoder = _Halved(student.encoder)  # type: ignore[assignment]
    student.lift, student.sharpen = _Halved(student.lift), _Halved(student.sharpen)  # type: ignore[assignment]
    student.mask, student.pose = _Exact(student.mask), _Exact(student.pose)  # type: ignore[assignment]
    return network


def _halved_late(encoder: LiteUNet) -> LiteUNet:
    """All layers beyond stride 8 in float16, in place: 78 % of `person`'s multiplications."""
    stages, across = encoder.lite0.stages, encoder.across
    for number in range(EXACT_STAGES, len(stages)):
        stages[number] = _Halved(stages[number])
    for number in range(len(across)):
        across[number] = (_Rounded if number < _EXACT_LEVELS else _Halved)(across[number])
    for layers in (encoder.context, encoder.narrow, encoder.up):
        layers.half()
    return encoder
