"""Motion Co-part: Siarohin, Roy, Lathuiliere, Tulyakov, Ricci and Sebe, "Motion-supervised Co-Part Segmentation", 2020.

Both frames of a pair are divided into segments, each with one affine frame. A segment moves from the target to the
source by the map between its two frames, the background stands still, and together these maps are the dense motion by
which the source's features are warped. The reconstruction network fills in places that the source does not show. The
segments that make the reconstruction good are those that move as one piece.

From the release come the weights, the temperature, the sizes of the random warp, and that the target's background gets
no gradient from the visibility. Left out: it starts from a pretrained motion model, and mirrors half of the pairs.
`subject` is ours: with the subject's masks, the background segment must lie outside of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.models.co_part import CoPart, CoPartConfig, Segments
from streamparts.models.layers import ConvBlock, compose, image_grid, invert, product, transform_points

from ..frames.transforms import Draws
from ..inputs.augment import Pair
from ..pretrained.perceptual import Perceptual
from ..terms.losses import silhouette_loss
from .learner import BaselineLearner

PYRAMID = (1, 2, 4, 8)
"""Factors by which both images shrink for the reconstruction loss; smaller images than 32 pixels are left out."""
LEAST_SIDE = 32
AFFINE_STEP, BENDING_STEP = 0.05, 0.005
"""Standard deviations of the entries of the equivariance's random affine map and of its thin-plate spline's weights."""
KNOTS = 5
"""Control points of the spline along each side."""
SINGULAR = 1e-2
"""Least determinant with which a frame is inverted."""


@dataclass(frozen=True)
class CoPartWeights:
    """One weight per term."""

    reconstruction: float = 10.0
    position: float = 10.0
    affine: float = 10.0
    subject: float = 1.0


def segment_motions(source: Tensor, target: Tensor) -> Tensor:
    """F_k(z) = p_S + A_S A_T^-1 (z - p_T), from the target to the source, as (B, K, 2, 3), of frames [A | p], both
    (B, K, 2, 3)."""
    return compose(source, invert(regular(target)))


def regular(frames: Tensor) -> Tensor:
    """Frames with a determinant of at least SINGULAR in size, so that they can be inverted: a part of the identity is
    added to the others."""
    linear = frames[..., :2]
    determinant = linear[..., 0, 0] * linear[..., 1, 1] - linear[..., 0, 1] * linear[..., 1, 0]
    # (B, K, 1, 1): the parts whose frame has almost collapsed to a line
    flat = (determinant.abs() < SINGULAR)[..., None, None]
    return torch.cat([linear + flat * torch.eye(2, device=frames.device), frames[..., 2:]], dim=-1)


def dense_motion(motions: Tensor, masks: Tensor) -> Tensor:
    """F(z) = Y_0(z) z + sum_k Y_k(z) F_k(z), as a sampling grid (B, h, w, 2), of motions (B, K, 2, 3) and the target's
    masks (B, 1 + K, h, w)."""
    height, width = masks.shape[-2:]
    points = image_grid(height, width, masks.device)
    # (B, 1, h w, 2) background, then (B, K, h w, 2) parts, which are summed with the masks (B, 1 + K, h w, 1)
    still = points.expand(len(masks), 1, -1, 2)
    moved = torch.cat([still, transform_points(motions, points)], dim=1)
    return (masks.flatten(2).unsqueeze(-1) * moved).sum(1).reshape(-1, height, width, 2)


def visibility(source: Tensor, target: Tensor) -> Tensor:
    """V(z) = 1 - Y_0^T(z) (1 - Y_0^S(z)), (B, 1, h, w) of both frames' masks (B, 1 + K, h, w): background of the target
    is hidden in the source where the source shows the subject. Y_0^T gets no gradient, or the reconstruction would
    shrink the background only to see more."""
    return 1 - target[:, :1].detach() * (1 - source[:, :1])


def reconstruction_loss(features: Perceptual, predicted: Tensor, image: Tensor) -> Tensor:
    """L_rec = sum_s sum_i mean |phi_i(D_s X') - phi_i(D_s X)| over the scales s of a pyramid D and layers i, with equal
    weights. Only X' gets a gradient."""
    side = image.shape[-1]
    total = predicted.new_zeros(())
    for scale in (scale for scale in PYRAMID if side // scale >= LEAST_SIDE):
        # avg_pool2d is the D of the formula: an image pyramid without aliasing
        with torch.no_grad():
            wanted = features.features(F.avg_pool2d(image, scale))
        given = features.features(F.avg_pool2d(predicted, scale))
        total = total + torch.stack([(given[i] - wanted[i]).abs().mean() for i in wanted]).sum()
    return total


class Deformation(NamedTuple):
    """T(z) = A z + sum_i w_i U(|z - c_i|) with U(r) = r^2 log r, from a warped image to the original, as a sampling
    grid is; the knots c_i are spread over the image."""

    affine: Tensor
    """(B, 2, 3)"""
    weights: Tensor
    """(B, N, 2) w_i of N knots, KNOTS along each side."""

    def knots(self) -> Tensor:
        """(N, 2)"""
        axis = torch.linspace(-1, 1, round(math.sqrt(self.weights.shape[1])), device=self.weights.device)
        return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).reshape(-1, 2)

    def move(self, points: Tensor) -> Tensor:
        """T(z), (B, P, 2) of points (B, P, 2) or (P, 2)."""
        # (B, P, 1, 2) - (N, 2): squares of the distances, (B, P, N)
        squares = (points.unsqueeze(-2) - self.knots()).square().sum(-1)
        # r^2 log r = r^2 log(r^2) / 2
        bend = squares * squares.clamp(min=1e-12).log() / 2
        straight = product(points, self.affine[..., :2].transpose(1, 2)) + self.affine[..., 2].unsqueeze(1)
        return straight + product(bend, self.weights)

    def jacobian(self, points: Tensor) -> Tensor:
        """dT/dz at points (B, P, 2), (B, P, 2, 2)."""
        offsets = points.unsqueeze(-2) - self.knots()
        squares = offsets.square().sum(-1, keepdim=True)
        # dU/dz = (2 log r + 1) (z - c), (B, P, N, 2)
        slopes = (squares.clamp(min=1e-12).log() + 1) * offsets
        return self.affine[:, None, :, :2] + torch.einsum("bni,bpnj->bpij", self.weights, slopes)

    def warp(self, images: Tensor) -> Tensor:
        """(B, C, h, w)"""
        height, width = images.shape[-2:]
        grid = self.move(image_grid(height, width, images.device)).reshape(-1, height, width, 2)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def random_deformation(draws: Draws, device: torch.device) -> Deformation:
    """The identity with normal numbers added: to the affine part's entries and as the spline's weights."""
    affine = torch.eye(2, 3) + AFFINE_STEP * draws.normal(2, 3)
    return Deformation(affine.to(device), (BENDING_STEP * draws.normal(KNOTS**2, 2)).to(device))


def position_equivariance_loss(frames: Tensor, warped: Tensor, deformation: Deformation) -> Tensor:
    """L_eq^sh = |p - T(p')|, mean over parts and coordinates: p' in the warped image is where T fetches p from.
    `frames` [A | p] of the image and `warped` [A' | p'] of the warped one are (B, K, 2, 3)."""
    return (frames[..., 2] - deformation.move(warped[..., 2])).abs().mean()


def affine_equivariance_loss(frames: Tensor, warped: Tensor, deformation: Deformation) -> Tensor:
    """L_eq^aff = |1 - A^-1 J(p') A'|, mean over parts and entries, with the Jacobian J of T: the warped frame, carried
    back, is the frame."""
    carried = product(deformation.jacobian(warped[..., 2]), warped[..., :2])
    ratio = product(invert(regular(frames))[..., :2], carried)
    return (ratio - torch.eye(2, device=ratio.device)).abs().mean()


class Reconstruction(nn.Module):
    """Source (B, 3, S, S), motion (B, h, w, 2), visibility (B, 1, h, w) -> target (B, 3, S, S): the source's features
    at S/4 are warped, hidden places set to zero, and decoded."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.encode = nn.Sequential(
            nn.Conv2d(3, width, 5, padding=2),
            nn.ReLU(),
            ConvBlock(width, 2 * width, stride=2),
            ConvBlock(2 * width, 4 * width, stride=2),
        )
        self.middle = nn.Sequential(ConvBlock(4 * width, 4 * width), ConvBlock(4 * width, 4 * width))
        self.up = nn.ModuleList([ConvBlock(4 * width, 2 * width), ConvBlock(2 * width, width)])
        self.last = nn.Conv2d(width, 3, 5, padding=2)

    def forward(self, source: Tensor, motion: Tensor, visible: Tensor) -> Tensor:
        features = self.encode(source)
        hw = features.shape[-2:]
        grid = F.interpolate(motion.permute(0, 3, 1, 2), hw, mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
        shown = F.interpolate(visible, hw, mode="bilinear", align_corners=False)
        x = F.grid_sample(features, grid, padding_mode="border", align_corners=False) * shown
        x = x + self.middle(x)
        for up in self.up:
            x = up(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        image: Tensor = torch.sigmoid(self.last(x))
        return image


class CoPartLearner(BaselineLearner):
    """Segmentation and reconstruction networks, and the objective."""

    def __init__(
        self, config: CoPartConfig, features: Perceptual, weights: CoPartWeights, subject_masks: bool = False
    ) -> None:
        super().__init__()
        self.network: CoPart = CoPart(config)
        self.reconstruction = Reconstruction()
        self.weights, self.subject_masks = weights, subject_masks
        self._features = [features]  # in a list: its weights are neither trained nor saved

    def forward(self, pair: Pair, draws: Draws) -> dict[str, Tensor]:
        w, batch = self.weights, len(pair.source)
        deformation = random_deformation(draws, pair.source.device)
        # (3B, 3, S, S): one pass for source, target and warped target
        images = torch.cat([pair.source, pair.target, deformation.warp(pair.target)])
        every = self.network(images)
        source, target, warped = (every.select(slice(i * batch, (i + 1) * batch)) for i in range(3))
        predicted = self.predict(pair.source, source, target)
        features = self._features[0].to(pair.target.device)
        terms = {
            "reconstruction": w.reconstruction * reconstruction_loss(features, predicted, pair.target),
            "position": w.position * position_equivariance_loss(target.frames, warped.frames, deformation),
            "affine": w.affine * affine_equivariance_loss(target.frames, warped.frames, deformation),
        }
        if self.subject_masks:
            terms["subject"] = w.subject * self._subject(every.masks[: 2 * batch], pair)
        return terms

    def predict(self, image: Tensor, source: Segments, target: Segments) -> Tensor:
        """(B, 3, S, S) the target from the source's image and both frames' segments."""
        motion = dense_motion(segment_motions(source.frames, target.frames), target.masks)
        predicted: Tensor = self.reconstruction(image, motion, visibility(source.masks, target.masks))
        return predicted

    def _subject(self, masks: Tensor, pair: Pair) -> Tensor:
        """terms.losses.silhouette_loss of both frames, at the masks' size."""
        silhouettes, known = (
            F.interpolate(torch.cat(maps), masks.shape[-2:], mode="area")
            for maps in (
                (pair.source_silhouette, pair.target_silhouette),
                (pair.source_known.float(), pair.target_known.float()),
            )
        )
        return silhouette_loss(masks, silhouettes, (known > 0.99).float())
