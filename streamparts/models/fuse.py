"""Folds BatchNorm into the convolutions before it, as in exported files, and ReLU for GPUs."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
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
                # gamma (W x + b - mean) / sigma + beta is one convolution with W gamma / sigma
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


class ConvReLU(nn.Module):
    """A convolution, its bias and ReLU: on a GPU one kernel of cuDNN, which writes the result once instead of three
    times. After ReLU6, a second one clips it."""

    def __init__(self, convolution: nn.Conv2d, largest: float | None = None) -> None:
        """`largest` is what ReLU clips at, None for no limit."""
        super().__init__()
        self.convolution, self.largest = convolution, largest
        self.can_fuse = True
        """False once cuDNN has refused this convolution."""

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda and self.can_fuse:
            try:
                # refused for some shapes and types, which cannot be predicted
                return self.by_cudnn(x)
            except RuntimeError:
                self.can_fuse = False
        return self._clipped(F.relu(self.convolution(x)))

    def by_cudnn(self, x: Tensor) -> Tensor:
        """The same by cuDNN's fused kernel. Raises RuntimeError if it has none for this."""
        conv, padding = self.convolution, self.convolution.padding
        if isinstance(padding, str):
            raise RuntimeError("cuDNN takes numbers for the padding, not words")
        return self._clipped(
            torch.cudnn_convolution_relu(x, conv.weight, conv.bias, conv.stride, padding, conv.dilation, conv.groups)
        )

    def _clipped(self, found: Tensor) -> Tensor:
        # min(max(x, 0), 6) is ReLU6
        return found if self.largest is None else found.clamp_(max=self.largest)


def fuse_relus(module: Module) -> Module:
    """Replace each Conv2d that is followed by ReLU or ReLU6 in an nn.Sequential, with nothing but folded norms between,
    by a ConvReLU, in place. The state_dict's keys change."""
    for parent in module.modules():
        if isinstance(parent, nn.Sequential):
            # folded norms are identities by now
            kept = [(name, child) for name, child in parent.named_children() if not isinstance(child, nn.Identity)]
            for (name, conv), (after, relu) in pairwise(kept):
                if type(conv) is nn.Conv2d and isinstance(relu, nn.ReLU | nn.ReLU6) and _fusable(conv):
                    setattr(parent, name, ConvReLU(conv, 6.0 if isinstance(relu, nn.ReLU6) else None))
                    setattr(parent, after, nn.Identity())
    return module


def _fusable(convolution: nn.Conv2d) -> bool:
    """Depthwise convolutions have kernels of their own, which cuDNN's fused one would replace by slower ones."""
    return convolution.bias is not None and convolution.padding_mode == "zeros" and convolution.groups == 1
