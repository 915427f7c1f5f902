"""The losses of Gao et al. 2021, each a function named after its equation, and the label-free additions. Eq. 1 to 4 are
in streamparts/models/layers.py.

Masks are (B, K, H, W) without the background unless stated otherwise; coordinates are normalised. Every loss is the
mean over the batch of each frame's own loss, so that several processes have the loss of one with the whole batch; and a
mean over parts, so that its weight depends on neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from streamparts.geometry import CANONICAL_SIGMAS
from streamparts.models.layers import Affine, image_grid, squared_norms
from streamparts.models.moments import mask_moments as moments_of

FeatureDifference = Callable[[Tensor, Tensor], Tensor]
"""(predicted, image), each (B, 3, H, W) in [0, 1] -> the scalar |phi(I) - phi(I')| of Eq. 5."""


FLOOR = 1e-8
"""Lower bound of masks in the cross-entropies with the silhouette. Below it they have no gradient, so it is far below
the values in the first steps: before a small subject is separated from its surroundings, everything becomes background,
and a floor of 1e-4 would keep it there."""


def image_gradient(images: Tensor) -> tuple[Tensor, Tensor]:
    """Forward differences along x and y of (B, C, H, W)."""
    return images[..., :, 1:] - images[..., :, :-1], images[..., 1:, :] - images[..., :-1, :]


def image_difference(
    predicted: Tensor,
    image: Tensor,
    l1: float,
    gradient: float,
    perceptual: float = 0.0,
    features: FeatureDifference | None = None,
) -> Tensor:
    """Eq. 5: l1 |I - I'| + gradient |dI - dI'| + perceptual |phi(I) - phi(I')|, each a mean. `features` computes the
    last term from (predicted, image), see perceptual.Perceptual, and is not called if its weight is 0."""
    dx, dy = image_gradient(predicted - image)
    difference = l1 * (predicted - image).abs().mean() + gradient * (dx.abs().mean() + dy.abs().mean())
    if perceptual == 0:
        return difference
    if features is None:
        raise ValueError(f"the perceptual term has the weight {perceptual} but no features to compare")
    return difference + perceptual * features(predicted, image)


def least_difference(predictions: Sequence[Tensor], image: Tensor, l1: float, gradient: float) -> Tensor:
    """Eq. 5 without features; each pixel counts with the best of several predictions of one image, because a pixel
    hidden in one source is visible in another (the minimum reprojection of Godard et al., ICCV 2019)."""
    differences = []
    for predicted in predictions:
        dx, dy = image_gradient(predicted - image)
        # (B, 3, H, W): forward differences, 0 in the last column and row
        errors = F.pad(dx.abs(), (0, 1)) + F.pad(dy.abs(), (0, 0, 0, 1))
        differences.append((l1 * (predicted - image).abs() + gradient * errors).mean(dim=1))
    return torch.stack(differences).amin(dim=0).mean()


def background_loss(masks: Tensor, background: float = 1.0, parts: float = 1.0) -> Tensor:
    """Eq. 7: pushes the background to one and the parts to zero, with one weight each. `masks` is (B, 1 + K, H, W),
    background first."""
    # (1 + K,) mean of each slot over the batch and all pixels
    share = masks.mean((0, 2, 3))
    return background * (1 - share[0]) + parts * share[1:].mean()


def mask_moments(masks: Tensor, threshold: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Eq. 10, 11 and 14: mean (B, K, 2), covariance (B, K, 2, 2) and mass (B, K) over the pixels above `threshold`."""
    moments = moments_of(torch.where(masks > threshold, masks, 0) if threshold else masks)
    # (B, K, 2) variances along x and y, and (B, K) covariances
    (xx, yy), xy = moments.variance.unbind(-1), moments.covariance_xy
    covariance = torch.stack([torch.stack([xx, xy], -1), torch.stack([xy, yy], -1)], dim=-2)
    return moments.mean, covariance, moments.mass


def translation_loss(translation: Tensor, mean: Tensor) -> Tensor:
    """Eq. 8 of each part, (B, K): |t_k - u_k|_1 of (B, K, 2) translations and mask means."""
    return (translation - mean).abs().sum(-1)


def rotation_scale_loss(affine: Affine, covariance: Tensor, sigmas: float = CANONICAL_SIGMAS) -> Tensor:
    """Eq. 9 of each part, (B, K): |A_k A_k^T - sigmas^2 Sigma_k|_F of mask covariances (B, K, 2, 2). The paper's
    `sigmas` is 1: its canonical frames hold a part up to one deviation."""
    # A A^T is the covariance of the ellipse, whose axes are sigmas deviations long
    difference = affine.covariance() - sigmas**2 * covariance
    return difference.square().sum((-1, -2)).add(1e-12).sqrt()  # the gradient of sqrt is finite at 0


def transformation_loss(
    masks: Tensor, affine: Affine, threshold: float = 0.02, sigmas: float = CANONICAL_SIGMAS
) -> tuple[Tensor, Tensor]:
    """L_tran and L_rots, Eq. 8 and 9, with the moments of the masks above the paper's zeta = 0.02.

    Parts with less than one pixel are left out, because their moments are meaningless.
    """
    mean, covariance, mass = mask_moments(masks, threshold)
    seen = (mass > 1.0).float()  # (B, K), mass in pixels
    translation = translation_loss(affine.translation, mean)
    shape = rotation_scale_loss(affine, covariance, sigmas)
    share = seen / seen.sum(-1, keepdim=True).clamp(min=1)
    return (translation * share).sum(-1).mean(), (shape * share).sum(-1).mean()


def rigidity_loss(source: Affine, target: Affine) -> Tensor:
    """|log s^s_k - log s^t_k|: a rigid part keeps its size over a clip. A slot that extends across a joint is longer
    when the limb is stretched than when it is bent, so this term pulls part borders to the joints."""
    return (source.scale.log() - target.scale.log()).abs().mean()


def motion_loss(masks: Tensor, moved: Sequence[Tensor], background: Tensor, image: Tensor, known: Tensor) -> Tensor:
    """Assigns each pixel to the part whose motion explains it: sum_k M_k(u) |I_k(u) - I_t(u)|, mean over u.

    Each of `moved` is (B, K, 3, H, W): one source image warped by each part's motion. It is as sharp as the image from
    the first step, while the decoder's output is still blurred. Of several, the one that explains a pixel best counts.
    `background` (B, 3, H, W) stands for slot 0. Only pixels that are `known` (B, 1, H, W) count.
    """
    # (B, 1, H, W) and (B, K, H, W): colour errors of slot 0 and of each part, the best of all sources
    behind = (background - image).abs().mean(dim=1, keepdim=True)
    errors = torch.stack([(one - image.unsqueeze(1)).abs().mean(dim=2) for one in moved]).amin(dim=0)
    return known_mean((masks * torch.cat([behind, errors], dim=1)).sum(dim=1, keepdim=True), known)


def velocity_loss(before: Affine, at: Affine, after: Affine, owned: Tensor, softness: float = 0.02) -> Tensor:
    """Parts keep their velocity over three equally spaced frames: Charbonnier loss of the second difference of (log s,
    (cos, sin), t). A part that jumps to another limb, or flips, is penalised twice; gentle bending hardly.

    Mean over parts, weighted by `owned` (B, K), the pixels of each in the middle frame, without gradient.
    """
    poses = [torch.cat([pose.scale.log(), pose.rotation, pose.translation], dim=-1) for pose in (before, at, after)]
    # (B, K): the second difference of (log s, cos, sin, t), 0 at constant velocity
    bend = (poses[0] - 2 * poses[1] + poses[2]).square().sum(-1)
    # a part counts fully from ten pixels on
    weight = owned.detach().clamp(max=10.0)
    jump = (bend + softness**2).sqrt() - softness
    return ((jump * weight).sum(-1) / weight.sum(-1).clamp(min=1.0)).mean()


def known_mean(loss: Tensor, known: Tensor) -> Tensor:
    """Mean of a loss (B, 1, H, W) that is 0 where a pixel is not `known`, an array of 0 and 1 of the same shape.
    `emphasis` compensates for the excluded pixels."""
    return (loss * known).mean()


def edge_loss(masks: Tensor, image: Tensor, reach: tuple[int, ...] = (1, 2, 4), contrast: float = 15.0) -> Tensor:
    """Pixels of similar colour belong to the same slot: draws borders between parts to image edges.

    Mean over pixel pairs, `reach` pixels apart along x or y, of exp(-contrast |I(u) - I(v)|) sum_k |M_k(u) - M_k(v)|.
    `masks` is (B, 1 + K, H, W), `image` (B, 3, H, W) in [0, 1]. A sum of absolute values is its argument times its own
    slope, which is computed in place here: autograd would allocate an array as large as the masks for every slice.
    """
    slope = torch.zeros_like(masks)
    with torch.no_grad():
        for distance in reach:
            for axis in (2, 3):
                length = masks.shape[axis] - distance
                near_m, far_m = masks.narrow(axis, 0, length), masks.narrow(axis, distance, length)
                near_i, far_i = image.narrow(axis, 0, length), image.narrow(axis, distance, length)
                likeness = torch.exp(-contrast * (near_i - far_i).abs().mean(dim=1, keepdim=True))
                # d|a - b| / da = sign(a - b) and d/db = -sign(a - b); the mean over pairs divides by their number
                lean, share = (near_m - far_m).sign_(), likeness / likeness.numel()
                slope.narrow(axis, 0, length).addcmul_(lean, share)
                slope.narrow(axis, distance, length).addcmul_(lean, share, value=-1)
    return (masks * slope).sum() / (2 * len(reach))


def concentration_loss(masks: Tensor) -> Tensor:
    """Eq. 13: the variance of each part's mask about its own centre."""
    _, covariance, _ = mask_moments(masks)
    return covariance.diagonal(dim1=-2, dim2=-1).sum(-1).mean()


def canonical_concentration_loss(masks: Tensor) -> Tensor:
    """Eq. 13 of canonical masks, about (0, 0) instead of their own centres: moves parts to the middle of their
    canonical frames."""
    mean, covariance, _ = mask_moments(masks)
    return (covariance.diagonal(dim1=-2, dim2=-1).sum(-1) + mean.square().sum(-1)).mean()


def equivariance_loss(warped: Affine, affine: Affine, transform: Tensor) -> Tensor:
    """Eq. 12: |T^w T_k - T_k^w|_1, poses of the warped image minus the warped poses.

    `transform` is (B, 2, 3), image -> warped image: a similarity, so that T^w T_k has the form R diag(s), too.
    """
    matrix = affine.matrix()
    # (B, K, 2, 3): T^w T_k, whose linear parts multiply and whose translation is moved, too
    moved = transform[:, None, :, :2] @ matrix
    moved = torch.cat([moved[..., :2], moved[..., 2:] + transform[:, None, :, 2:]], dim=-1)
    return (moved - warped.matrix()).abs().sum((-1, -2)).mean()


def silhouette_likelihood(affine: Affine, silhouette: Tensor) -> tuple[Tensor, Tensor]:
    """The K ellipses, as a Gaussian mixture with equal weights, must explain the moving pixels (B, 1, H, W):
    initialises the poses. Also returns the responsibilities (B, K, H, W): each ellipse's share of each pixel, summing
    to 1 over K."""
    _, _, height, width = silhouette.shape
    # (B, K, H W) squared radius in units of the ellipse, whose axes are CANONICAL_SIGMAS deviations long
    offsets = squared_norms(affine.inverse_matrix(), image_grid(height, width, silhouette.device))
    # log N(u) = -|A^-1 (u - t)|^2 c^2 / 2 - log(2 pi sx sy / c^2)
    log_area = (affine.scale / CANONICAL_SIGMAS).log().sum(-1, keepdim=True) + math.log(2 * math.pi)
    log_density = -0.5 * CANONICAL_SIGMAS**2 * offsets - log_area
    mixture = torch.logsumexp(log_density, dim=1) - math.log(log_density.shape[1])
    weight = silhouette.flatten(1)
    likelihood = ((weight * mixture).sum(-1) / weight.sum(-1).clamp(min=1.0)).mean()
    responsibilities = log_density.softmax(dim=1).reshape(*log_density.shape[:2], height, width)
    return -likelihood, responsibilities


def thinness(silhouette: Tensor) -> Tensor:
    """(B, 1, S, S) weights of a silhouette's pixels: 1 where it fills its surroundings, a seventh of the image's side
    wide, and up to 4 where it is thin. An arm then weighs as much as a strip of trunk of the same length, not of the
    same area."""
    side = silhouette.shape[-1] // 14 * 2 + 1  # odd, a seventh of the image's side
    filled = F.avg_pool2d(silhouette, side, stride=1, padding=side // 2, count_include_pad=False)
    return filled.clamp(min=0.25).reciprocal()


def responsibility_loss(masks: Tensor, silhouette: Tensor, responsibilities: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy of the masks (B, 1 + K, H, W) with the moving pixels as divided by the mixture: initialises the
    masks, so that no slot dies before it has a visible mask. Only pixels that are `known` (B, 1, H, W) count. Only the
    masks get gradients."""
    # (B, 1 + K, H, W): the background where nothing moves, else each ellipse in its share
    target = torch.cat([1 - silhouette, silhouette * responsibilities.detach()], dim=1)
    return known_mean(-(target * masks.clamp(min=FLOOR).log()).sum(1, keepdim=True), known)


def emphasis(subject: float, known: float) -> float:
    """Factor on the terms that are means over all pixels but concern the subject: 1 if it fills a fifth of the image or
    more, up to 10 if it is smaller, so that a small subject does not become background; and larger if only part of the
    background is known. `subject` is its share of the `known` pixels, which are a share of all; 1 if none is known."""
    return min(10.0, max(1.0, 0.2 / max(subject, 1e-6))) / max(known, 0.1) if known else 1.0


def silhouette_loss(masks: Tensor, silhouette: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy of 1 - background with the moving pixels, where they are `known` (B, 1, H, W)."""
    background, parts = torch.split(masks, [1, masks.shape[1] - 1], dim=1)
    # log probabilities of any part, and of the background
    logs = [x.clamp(min=FLOOR).log() for x in (parts.sum(1, keepdim=True), background)]
    return known_mean(-(silhouette * logs[0] + (1 - silhouette) * logs[1]), known)
