"""Folds BatchNorm into the convolutions before it, as in exported files."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Module = TypeVar("Module", bound=nn.Module)


def fuse_batch_norms(module: Module) -> Module:
    """Return a copy of `module`, in eval mode, that computes the same with fewer layers.

    Each BatchNorm2d that directly follows a Conv2d in an nn.Sequential, or is called bnN beside a convN as in ResNet,
    is folded into it and becomes nn.Identity. The state_dict loses the norms' keys and gains the convolutions' biases;
    all other keys are unchanged.
    """
    fused = copy.deepcopy(module).eval()
    for parent in fused.modules():
        for convolution, norm in _pairs(parent):
            conv, bn = parent.get_submodule(convolution), parent.get_submodule(norm)
            if isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d):
                setattr(parent, convolution, fuse_conv_bn_eval(conv, bn))
                setattr(parent, norm, nn.Identity())
    return fused


def _pairs(parent: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of children that run in succession, the second of which may be the first one's norm."""
    names = [name for name, _ in parent.named_children()]
    if isinstance(parent, nn.Sequential):
        yield from pairwise(names)
    for name in names:
        if re.fullmatch(r"conv\d+", name) and name.replace("conv", "bn") in names:
            yield name, name.replace("conv", "bn")
