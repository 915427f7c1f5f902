"""The head that reads part transforms from feature maps, shared by the networks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.models.layers import Affine, centres, in_float32


class PartLinear(nn.Module):
    """A linear layer with its own weights for every part: (B, K, in) -> (B, K, out)."""

    def __init__(self, num_parts: int, in_features: int, out_features: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(in_features)
        self.weight = nn.Parameter(torch.empty(num_parts, in_features, out_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(num_parts, 1, out_features))

    def forward(self, x: Tensor) -> Tensor:
        return (x.transpose(0, 1) @ self.weight + self.bias).transpose(0, 1)  # one product per part: (K, B, in)


class PoseHead(nn.Module):
    """Part transforms from feature maps, built from two points per part: the part's centre t and the end of its first
    axis, t + A (1, 0). They determine translation, rotation and sx; sy comes from the features around the part. The
    points are soft-argmaxes, which move with the image; without `soft_argmax` they are regressed from the `summary`, as
    in the paper."""

    def __init__(
        self,
        num_parts: int,
        channels: int,
        context: int,
        scale_range: tuple[float, float] = (0.03, 0.8),
        soft_argmax: bool = True,
    ) -> None:
        super().__init__()
        self.scale_range = scale_range
        if soft_argmax:
            self.heat = nn.Conv2d(channels, 2 * num_parts, 1)
            nn.init.normal_(self.heat.weight, std=0.3)
        else:
            self.points = nn.Linear(context, 4 * num_parts)
        self.hidden = PartLinear(num_parts, channels + context, 64)
        self.breadth = PartLinear(num_parts, 64, 1)

    @in_float32
    def forward(self, features: Tensor, summary: Tensor) -> Affine:
        (translation, tip), pooled = self._located(features, summary)
        around = torch.cat([pooled, summary.unsqueeze(1).expand(-1, pooled.shape[1], -1)], dim=-1)
        raw = self.breadth(F.relu(self.hidden(around)))
        low, high = self.scale_range
        breadth = low * (high / low) ** torch.sigmoid(raw)  # (B, K, 1) in scale_range, uniform in its logarithm
        axis = tip - translation
        # at least `low`, with finite gradients where centre and tip coincide
        length = axis.square().sum(-1, keepdim=True).add(low**2).sqrt()
        rotation = axis / axis.square().sum(-1, keepdim=True).add(1e-8).sqrt()
        return Affine(rotation, torch.cat([length, breadth], dim=-1), translation)

    def _located(self, features: Tensor, summary: Tensor) -> tuple[Sequence[Tensor], Tensor]:
        """Centres and tips (B, K, 2), and the features (B, K, C) around the centres."""
        batch, _, height, width = features.shape
        if hasattr(self, "points"):
            points = torch.tanh(self.points(summary)).reshape(batch, -1, 2).chunk(2, dim=1)
            return points, features.mean((2, 3)).unsqueeze(1).expand(-1, points[0].shape[1], -1)
        heat = self.heat(features).flatten(2).softmax(dim=-1)  # (B, 2 K, h w): centres, then tips
        # Rows and columns first: a sum of h w products differs by 2e-6 between libraries, and by 1e-3 in TF32.
        columns, rows = (heat.unflatten(2, (height, width)).sum(axis) for axis in (2, 3))
        x, y = (columns * centres(width, heat.device)).sum(-1), (rows * centres(height, heat.device)).sum(-1)
        return torch.stack([x, y], -1).chunk(2, dim=1), heat.chunk(2, dim=1)[0] @ features.flatten(2).transpose(1, 2)
