"""The losses of Hung et al., CVPR 2019 (SCOPS), each a function named after its equation, and the objective.

Masks R are (B, 1 + K, H, W), background first; coordinates are normalised. As in losses.py, every loss is the mean
over the batch of each frame's own loss, and a mean over parts, coordinates, channels and cells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..inputs.warps import Warp
from .losses import concentration_loss, mask_moments


class PartBasis(nn.Module):
    """The part features w_k of Eq. 4, (K, C), learned and shared by all images: relu of a parameter, since V and the
    basis are non-negative."""

    def __init__(self, num_parts: int, channels: int, size: float = 1.0) -> None:
        """Starts at `size` |N(0, 1)|. The release uses 1, for VGG-19; a V with a mean square of 1 needs the same."""
        super().__init__()
        self.weight = nn.Parameter(size * torch.randn(num_parts, channels).abs())

    def forward(self) -> Tensor:
        # V of a ReLU network is not negative, so its parts' features are not either
        return F.relu(self.weight)


def geometric_concentration(masks: Tensor, floor: float = 1e-3) -> Tensor:
    """Eq. 2: the variance, over x and y, of each part's mask about its own centre, Eq. 1.

    The release first adds the `floor` to each pixel of R_k; the paper does not. With it, a small part counts as spread
    over the image, so that parts grow and none can reduce its loss by vanishing.
    """
    return concentration_loss(masks[:, 1:] + floor)


def mask_equivariance(target: Tensor, logits: Tensor, valid: Tensor | None = None) -> Tensor:
    """Eq. 3, masks: KL(T_s(R) || R'), summed over the slots of a pixel, averaged over the `valid` pixels (B, 1, H, W)
    of each frame, or over all of them.

    `target` is T_s(R), without gradient; the softmax of `logits` is R'. The paper writes the divergence the other way
    round; this is the release's. A frame without valid pixels counts 0.
    """
    target = target.detach()
    # kl_div(log R', T) is T (log T - log R'), so this is KL(T_s(R) || R'); (B, 1, H, W) after the sum
    divergence = F.kl_div(logits.log_softmax(dim=1), target, reduction="none").sum(dim=1, keepdim=True)
    if valid is None:
        return divergence.mean()
    return ((divergence * valid).sum((1, 2, 3)) / valid.sum((1, 2, 3)).clamp(min=1)).mean()


def centre_equivariance(warped: Tensor, moved: Tensor, seen: Tensor | None = None) -> Tensor:
    """Eq. 3, centres: the mean square of <c'_k> - T_s(<c_k>) over both coordinates and over the `seen` parts (B, K), or
    all. `warped` are the centres in the warped image, `moved` the image's after T_s, (B, K, 2). A frame without visible
    parts counts 0."""
    # (B, K): the mean over x and y
    squared = (warped - moved).square().mean(dim=-1)
    if seen is None:
        return squared.mean()
    return ((squared * seen).sum(-1) / seen.sum(-1).clamp(min=1)).mean()


def inside(points: Tensor) -> Tensor:
    """(B, K) 1 where points (B, K, 2) are inside the image, without gradient."""
    return (points.detach().abs() <= 1).all(dim=-1).to(points.dtype)


def salient_foreground(logits: Tensor, salient: Tensor, valid: Tensor | None = None) -> Tensor:
    """Not in the paper: the binary cross-entropy of the union of the parts, 1 - R_0, with the salient pixels, (B, 1, S,
    S) in [0, 1], averaged over the `valid` pixels (B, 1, S, S) or over all. Eq. 6 uses cells of 16 pixels; here the
    outline is learned per pixel and, over many images, better than in the single maps. The softmax of `logits` (B, 1 +
    K, S, S) is R."""
    # log (1 - R_0) / R_0, the logit of the union of the parts, without forming the softmax
    parts = torch.logsumexp(logits[:, 1:], dim=1, keepdim=True) - logits[:, :1]
    entropy = F.binary_cross_entropy_with_logits(parts, salient, reduction="none")
    if valid is None:
        return entropy.mean()
    return ((entropy * valid).sum((1, 2, 3)) / valid.sum((1, 2, 3)).clamp(min=1)).mean()


def salient_features(features: Tensor, saliency: Tensor) -> Tensor:
    """Eq. 6, the constraint in the form D * V: V (B, C, h, w) times the saliency (B, 1, S, S) in [0, 1], resized to the
    cells of V by area averaging. Where D is 0, sum_k R_k w_k must be 0: no parts on the background."""
    return features * to_cells(saliency, features)


def to_cells(maps: Tensor, features: Tensor) -> Tensor:
    """(B, N, S, S) -> (B, N, h, w) of `features`, by area averaging."""
    _, _, height, width = features.shape
    return F.adaptive_avg_pool2d(maps, (height, width))


def semantic_consistency(masks: Tensor, features: Tensor, basis: Tensor) -> Tensor:
    """Eq. 4 at the grid of V: |V - sum_k R_k w_k|^2, a mean over cells and channels, with the masks averaged over the
    area of each cell. `features` are V (B, C, h, w) or D * V; `basis` is w_k (K, C), none for the background.

    If V is constant within cells and the cells divide the image evenly, the full form exceeds this one by exactly the
    variance of sum_k R_k w_k within cells, averaged over cells and channels. Both agree if masks are constant within
    cells; otherwise, this form lets a cell mix its features from parts side by side in it. The same holds for D * V,
    with the variance of D V - sum_k R_k w_k.
    """
    # (B, C, h, w): the part features, mixed by the shares of the parts in each cell
    explained = torch.einsum("bkhw,kc->bchw", to_cells(masks[:, 1:], features), basis)
    return (features - explained).square().mean()


def semantic_consistency_full(masks: Tensor, features: Tensor, basis: Tensor) -> Tensor:
    """Eq. 4 at each pixel of the masks, as written, with `features` (B, C, S, S) at their size: the reference for
    `semantic_consistency`. Needs the memory of B * C * S * S numbers several times."""
    return (features - torch.einsum("bkhw,kc->bchw", masks[:, 1:], basis)).square().mean()


def orthonormal(basis: Tensor) -> Tensor:
    """Eq. 5: the mean square of the K x K entries of W^ W^T - I, with the rows of W^ the w_k over
    sqrt(|w_k|^2 + 1e-6)."""
    # unit rows, so that only the angles between parts count
    rows = basis / (basis.square().sum(-1, keepdim=True) + 1e-6).sqrt()
    return (rows @ rows.T - torch.eye(len(rows), device=rows.device)).square().mean()


def separation(centres: Tensor, sigma: float = 0.16) -> Tensor:
    """Term of the baseline, Zhang et al., CVPR 2018: exp(-|c_i - c_j|^2 / (2 sigma^2)) of centres (B, K, 2), a mean
    over the pairs i != j. Their deviation for ten landmarks is 0.08 of the image's side, which is 2 here."""
    num_parts = centres.shape[1]
    if num_parts < 2:
        raise ValueError(f"separation needs at least two parts, got {num_parts}")
    squared = (centres.unsqueeze(1) - centres.unsqueeze(2)).square().sum(-1)
    # 0 on the diagonal: a centre is not separated from itself
    others = 1 - torch.eye(num_parts, device=centres.device)
    nearness = (torch.exp(-squared / (2 * sigma**2)) * others).sum((1, 2))
    return nearness.mean() / (num_parts * (num_parts - 1))


@dataclass(frozen=True)
class ScopsWeights:
    """One weight per term of the objective; a term of weight 0 is not computed.

    The defaults are the release's for CelebA, K = 8 and batch 6, converted to terms that are means. Its concentration
    with weight 10 sums over parts and divides by the batch twice: 10 K / B = 10 * 8 / 6. Its divergence of masks, 1e3,
    is also a mean over the 1 + K slots, where ours is a sum: 1e3 / 9. Its centres, 1e2, and its semantic consistency,
    1e4, are means like ours. Its orthonormal constraint, 0.1, sums the K^2 entries: 0.1 * 64. For another K, keep
    concentration and divergence: means over parts account for it.
    """

    concentration: float = 10 * 8 / 6
    """Eq. 2."""
    equivariance: float = 1.0
    """Factor on both terms of Eq. 3."""
    masks: float = 1e3 / 9
    """lambda_eqv^s of Eq. 3."""
    centres: float = 1e2
    """lambda_eqv^c of Eq. 3."""
    semantic: float = 1e4
    """Eq. 4."""
    orthonormal: float = 0.1 * 8**2
    """Eq. 5."""
    saliency: bool = True
    """Eq. 6: whether V is multiplied by the saliency."""
    foreground: float = 0.0
    """Not in the paper: fits the union of the parts to the salient pixels, see `salient_foreground`."""
    separation: float = 0.0
    """Term of the baseline: separates centres."""
    reconstruction: float = 0.0
    """Term of the baseline: the mean squared error of the decoded image, uld.py."""


FAST_WEIGHTS = ScopsWeights(concentration=40.0, semantic=500.0, foreground=60.0)
"""Weights of the fast preset, for any V with a mean square of 1. With the release's 1e4, the semantics dominate, and
one part takes nearly everything. Chosen on the Weizmann horses, see train/LOG.md."""
SHAPE_LOSS = ScopsWeights(
    concentration=0.3, equivariance=0.3, semantic=0.0, orthonormal=0.0, saliency=False, foreground=20.0
)
"""Weights of the shape preset, used with shape.SHAPE_WEIGHTS. Chosen on puppets, see train/LOG.md."""
_FULL = ScopsWeights()
ABLATIONS: Mapping[str, ScopsWeights] = MappingProxyType(
    {
        "full": _FULL,
        "only_semantic": replace(_FULL, concentration=0.0, equivariance=0.0),
        "no_semantic": replace(_FULL, semantic=0.0, orthonormal=0.0),
        "no_concentration": replace(_FULL, concentration=0.0),
        "no_equivariance": replace(_FULL, equivariance=0.0),
        "no_saliency": replace(_FULL, saliency=False),
        "uld": replace(_FULL, masks=0.0, semantic=0.0, orthonormal=0.0, separation=20.0, reconstruction=100.0),
    }
)
"""The rows of Table 1, right, by name, and the baseline of Table 1, left, called ULD.

"Only L_sc" keeps the constraints on the basis, Eq. 5 and 6; without L_sc the basis is not trained, so Eq. 5 is dropped,
too. The paper gives no weights for its ULD: concentration and centres are those of SCOPS; the other two were set so
that initially each term is about as large as the concentration, and are not tuned.
"""


class ScopsResult(NamedTuple):
    """Inputs of all losses."""

    logits: Tensor
    """(B, 1 + K, S, S) logits of the image, at full size; their softmax is R."""
    warped_logits: Tensor
    """The same for the warped and recoloured image."""
    warp: Warp
    """T_s."""
    basis: Tensor | None = None
    """(K, C) from `PartBasis`; needed for Eq. 4 and 5."""
    features: Tensor | None = None
    """(B, C, h, w) V of the image; needed for Eq. 4."""
    saliency: Tensor | None = None
    """(B, 1, S, S) D in [0, 1]; needed for Eq. 6."""
    salient: Tensor | None = None
    """(B, 1, S, S) subject mask in [0, 1]; needed for `salient_foreground`."""
    image: Tensor | None = None
    """(B, 3, S, S) image; needed for the baseline's reconstruction."""
    decoded: Tensor | None = None
    """(B, 3, S, S) reconstruction by uld.UldDecoder."""


def scops_objective(result: ScopsResult, weights: ScopsWeights, everywhere: bool = False) -> dict[str, Tensor]:
    """Return the weighted terms by name; training minimises their sum. Raises ValueError if a term with a weight lacks
    its input.

    Eq. 3 uses only what is in view: pixels that the warp interpolates from the image, and parts whose moved centres are
    inside it. With `everywhere` it is the release's form: T_s warps the logits, padded with zeros, so that the target
    is uniform outside, and the centres compared are those of this target.
    """
    w = weights
    # (B, 1 + K, S, S): R of the image; R' of the warped image is formed only by the terms that need it
    masks = result.logits.softmax(dim=1)
    pull = w.equivariance
    # name -> (weight, term), computed below only if its weight is not 0
    terms: dict[str, tuple[float, Callable[[], Tensor]]] = {
        "concentration": (w.concentration, lambda: geometric_concentration(masks)),
        "mask_equivariance": (pull * w.masks, lambda: _mask_term(result, masks, everywhere)),
        "centre_equivariance": (pull * w.centres, lambda: _centre_term(result, masks, everywhere)),
        "semantic": (w.semantic, lambda: _semantic_term(result, masks, w.saliency)),
        "orthonormal": (w.orthonormal, lambda: orthonormal(_needed(result.basis, "a basis"))),
        "foreground": (w.foreground, lambda: _foreground_term(result)),
        "separation": (w.separation, lambda: separation(part_centres(masks))),
        "reconstruction": (w.reconstruction, lambda: _reconstruction_term(result)),
    }
    return {name: weight * term() for name, (weight, term) in terms.items() if weight}


def part_centres(masks: Tensor) -> Tensor:
    """Eq. 1: the centres (B, K, 2) of all slots but the first."""
    return mask_moments(masks[:, 1:])[0]


def _mask_term(result: ScopsResult, masks: Tensor, everywhere: bool) -> Tensor:
    if everywhere:
        # the release's form: logits of 0 outside, which are equal shares of all slots
        return mask_equivariance(result.warp.apply(result.logits.detach()).softmax(dim=1), result.warped_logits)
    # ours: masks are warped, and pixels that would need padding are left out
    valid = result.warp.valid(*masks.shape[-2:])
    return mask_equivariance(result.warp.apply(masks.detach()), result.warped_logits, valid)


def _centre_term(result: ScopsResult, masks: Tensor, everywhere: bool) -> Tensor:
    warped = part_centres(result.warped_logits.softmax(dim=1))
    if everywhere:
        # centres of the warped masks, as in the release: parts cut off by the border are biased inwards
        return centre_equivariance(warped, part_centres(result.warp.apply(result.logits).softmax(dim=1)))
    # centres moved by the warp itself; those that leave the image do not count
    moved = result.warp.points(part_centres(masks))
    return centre_equivariance(warped, moved, inside(moved))


def _semantic_term(result: ScopsResult, masks: Tensor, saliency: bool) -> Tensor:
    features = _needed(result.features, "semantic features")
    if saliency:
        # Eq. 6 in the form D * V, which makes the background's features 0
        features = salient_features(features, _needed(result.saliency, "a saliency map"))
    return semantic_consistency(masks, features, _needed(result.basis, "a basis"))


def _foreground_term(result: ScopsResult) -> Tensor:
    """Both images: the warped ones show the network more poses and colours than the collection has."""
    salient = _needed(result.salient, "a subject mask")
    valid = result.warp.valid(*salient.shape[-2:])
    # the salient pixels are warped like the image, and count where the warp shows its content
    moved = salient_foreground(result.warped_logits, result.warp.apply(salient), valid)
    return (salient_foreground(result.logits, salient) + moved) / 2


def _reconstruction_term(result: ScopsResult) -> Tensor:
    return F.mse_loss(_needed(result.decoded, "a decoded image"), _needed(result.image, "the image"))


def _needed(value: Tensor | None, what: str) -> Tensor:
    if value is None:
        raise ValueError(f"a term that has a weight needs {what}")
    return value
