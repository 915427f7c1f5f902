"""Networks with random weights and non-trivial batch norm statistics."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from streamparts.models.scops import Scops, ScopsConfig
from streamparts.models.student import LITE0_SIZES, STUDENT_SIZES, Student, StudentConfig, student_config


def with_lived_norms(network: nn.Module) -> nn.Module:
    """Norms as after training: statistics and scales of their own, so that leaving one out is seen."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low in ((module.running_mean, -0.5), (module.running_var, 0.5), (module.weight, 0.5)):
                values.data.copy_(torch.rand(values.shape, generator=generator) + low)
            module.bias.data.copy_(torch.rand(module.bias.shape, generator=generator) - 0.5)
    return network.eval()


NETWORKS = {
    **{size: lambda size=size: Student(StudentConfig(3, 64, **STUDENT_SIZES[size])) for size in STUDENT_SIZES},
    **{f"lite0 {size}": lambda size=size: Student(student_config(3, 64, "lite0", size)) for size in LITE0_SIZES},
    "lite0 wide": lambda: Student(replace(student_config(3, 64, "lite0", "nano"), up_channels=(40, 36))),
    "scops fast": lambda: Scops(ScopsConfig(3, 64)),
    "scops squeezenet": lambda: Scops(ScopsConfig(3, 64, "squeezenet")),
    "scops resnet50": lambda: Scops(ScopsConfig(3, 64, "resnet50")),
}
