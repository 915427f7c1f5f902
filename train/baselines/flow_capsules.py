"""Flow Capsules: Sabour, Tagliasacchi, Yazdani, Hinton and Fleet, "Unsupervised Part Representation by Flow Capsules",
ICML 2021. The networks are in streamparts/models/flow_capsules.py.

Both frames of a pair are encoded as capsules. Each visible pixel moves with its part, from the part's pose in one frame
to that in the other; the background stands still. The flow must map one frame to the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from streamparts.models.flow_capsules import Capsules, CapsulesConfig, FlowCapsules, visible_masks
from streamparts.models.layers import Affine, compose, image_grid, transform_points

from ..frames.transforms import Draws
from ..inputs.augment import Pair
from .learner import BaselineLearner

SHARPNESS = 0.001
"""Charbonnier's epsilon: below this difference of colour, the photometric loss is quadratic."""
EDGE = 10.0
"""Contrast with which an edge of the image ends the flow's smoothness."""


@dataclass(frozen=True)
class CapsulesWeights:
    """One weight per term."""

    photometric: float = 10.0
    smoothness: float = 0.5
    centred: float = 0.1
    static: float = 0.1


def part_flow(first: Affine, second: Affine, visible: Tensor) -> Tensor:
    """Phi(u) = sum_k v_k(u) (T'_k T_k^-1 u - u), (B, h, w, 2) in normalised units, of the poses in both frames and the
    first one's visible masks (B, 1 + K, h, w)."""
    height, width = visible.shape[-2:]
    points = image_grid(height, width, visible.device)
    # (B, K, h w, 2): where each pixel goes if it belongs to part k
    moved = transform_points(compose(second.matrix(), first.inverse_matrix()), points) - points
    return (visible[:, 1:].flatten(2).unsqueeze(-1) * moved).sum(1).reshape(-1, height, width, 2)


def photometric_loss(first: Tensor, second: Tensor, flow: Tensor) -> Tensor:
    """L_photo: mean of sqrt((I(u) - I'(u + Phi(u)))^2 + eps^2), Charbonnier's penalty, of images (B, 3, h, w)."""
    height, width = first.shape[-2:]
    # u + Phi(u), in the units of grid_sample
    grid = image_grid(height, width, flow.device).reshape(height, width, 2) + flow
    warped = F.grid_sample(second, grid, padding_mode="border", align_corners=False)
    return ((first - warped).square() + SHARPNESS**2).sqrt().mean()


def smoothness_loss(flow: Tensor, image: Tensor) -> Tensor:
    """L_smooth: mean of exp(-EDGE |dI|) |dPhi|, forward differences along x and y, of a flow (B, h, w, 2) and the image
    (B, 3, h, w)."""
    field = flow.permute(0, 3, 1, 2)
    total = flow.new_zeros(())
    for axis in (2, 3):
        # (B, 1, h, w) one shorter along the axis, as is the flow's difference
        edge = image.diff(dim=axis).abs().mean(dim=1, keepdim=True)
        total = total + (torch.exp(-EDGE * edge) * field.diff(dim=axis).abs()).mean()
    return total


def centred_loss(shapes: Tensor, pose: Affine) -> Tensor:
    """L_center: mean over parts of |sum_u s_k(u) T_k^-1 u / sum_u s_k(u)|^2: a shape (B, K, h, w) has its middle at the
    origin of its own frame."""
    height, width = shapes.shape[-2:]
    points = image_grid(height, width, shapes.device)
    weights = shapes.flatten(2)
    # (B, K, h w) @ (h w, 2): the shape's mean position in the image
    middle = (weights @ points) / weights.sum(-1, keepdim=True).clamp(min=1e-6)
    inverse = pose.inverse_matrix()
    # the same in the part's own frame, where a centred shape has its mean at 0
    canonical = (inverse[..., :2] @ middle.unsqueeze(-1)).squeeze(-1) + inverse[..., 2]
    return canonical.square().sum(-1).mean()


def static_loss(first: Capsules, second: Capsules) -> Tensor:
    """L_static: mean of (shape - shape')^2 plus that of (depth - depth')^2: only poses change from frame to frame."""
    return (first.shape - second.shape).square().mean() + (first.depth - second.depth).square().mean()


class CapsulesLearner(BaselineLearner):
    """The capsules and their objective."""

    def __init__(self, config: CapsulesConfig, weights: CapsulesWeights) -> None:
        super().__init__()
        self.network: FlowCapsules = FlowCapsules(config)
        self.weights = weights

    def forward(self, pair: Pair, draws: Draws) -> dict[str, Tensor]:
        w, batch = self.weights, len(pair.source)
        every: Capsules = self.network(torch.cat([pair.source, pair.target]))
        first, second = every.select(slice(0, batch)), every.select(slice(batch, 2 * batch))
        shapes = self.network.shapes(every, pair.source.shape[-1])
        masks = visible_masks(shapes, every.depth)
        forth = part_flow(first.pose, second.pose, masks[:batch])
        back = part_flow(second.pose, first.pose, masks[batch:])
        photometric = photometric_loss(pair.source, pair.target, forth)
        photometric = photometric + photometric_loss(pair.target, pair.source, back)
        return {
            "photometric": w.photometric * photometric,
            "smoothness": w.smoothness * (smoothness_loss(forth, pair.source) + smoothness_loss(back, pair.target)),
            "centred": w.centred * centred_loss(shapes, every.pose),
            "static": w.static * static_loss(first, second),
        }
