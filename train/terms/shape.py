"""Distinguishes parts by their shape. This is not in Hung et al., CVPR 2019, who distinguish parts by appearance, with
a network pretrained for classification. It is for categories whose members share only their body plan, such as puppets,
robots or clothed people, where the same limb has different colours in every image.

Beside the masks, the pose head of Assembly learns an ellipse for each part. The ellipses of an image must explain its
salient pixels, as a mixture of Gaussians; masks follow ellipses and ellipses masks; when both have settled, pixels are
assigned to the part whose colours they have, within each image. One network predicts the ellipses of all images, so
equal shapes get equal parts. The ellipses are not deployed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import NamedTuple

from torch import Tensor

from streamparts.models.layers import Affine, invert

from ..inputs.warps import Warp
from . import losses
from .appearance import appearance_loss


@dataclass(frozen=True)
class ShapeWeights:
    """One weight per term; a term of weight 0 is not computed. If all are 0, no ellipses are learned."""

    likelihood: float = 0.0
    """Lets ellipses explain the salient pixels, losses.silhouette_likelihood."""
    masks: float = 0.0
    """Fits masks to the ellipses, losses.responsibility_loss."""
    translation: float = 0.0
    """Fits the ellipses' centres to the masks, Eq. 8 of Gao et al. 2021."""
    rotation_scale: float = 0.0
    """Fits the ellipses' lengths, widths and angles to the masks, Eq. 9 of Gao et al. 2021."""
    equivariance: float = 0.0
    """Makes ellipses follow the warp of an image, Eq. 12 of Gao et al. 2021."""
    appearance: float = 0.0
    """Assigns pixels to the part whose colours they have, appearance_loss; fades in, because it would kill
    weak parts."""

    @property
    def any(self) -> bool:
        return any(astuple(self))


SHAPE_WEIGHTS = ShapeWeights(
    likelihood=2.0, masks=5.0, translation=1.0, rotation_scale=0.5, equivariance=0.3, appearance=10.0
)
"""Weights of the shape preset. Chosen on puppets, see train/LOG.md."""


class Shapes(NamedTuple):
    """Inputs of the terms: 2B images, the warped ones last."""

    images: Tensor
    """(2B, 3, S, S) in [0, 1]"""
    masks: Tensor
    """(2B, 1 + K, S, S), background first, summing to 1"""
    ellipses: Affine
    """Canonical -> image, (2B, K) of them."""
    salient: Tensor
    """(2B, 1, S, S) in [0, 1]"""
    known: Tensor
    """(B, 1, S, S) 1 where an image shows content of its original, 0 beyond its border."""
    warp: Warp
    """T_s of the B images."""


def shape_terms(shapes: Shapes, weights: ShapeWeights, settled: float, offset: float) -> dict[str, Tensor]:
    """Return the weighted terms by name. `settled` in [0, 1] fades the colours in; `offset` in [0, 1) shifts the draw
    of the pixels whose colours are compared."""
    w, half = weights, len(shapes.images) // 2
    # (2B, K, S, S) responsibilities: the share of each ellipse in every salient pixel
    likelihood, responsibilities = losses.silhouette_likelihood(shapes.ellipses, shapes.salient * shapes.known)
    translation, rotation_scale = losses.transformation_loss(shapes.masks[:, 1:], shapes.ellipses)
    # the first B ellipses are those of the images, the last B those of the warped images
    plain, warped = (Affine(*(values[rows] for values in shapes.ellipses)) for rows in (slice(half), slice(half, None)))
    terms: dict[str, tuple[float, Callable[[], Tensor]]] = {
        "shape_likelihood": (w.likelihood, lambda: likelihood),
        "shape_masks": (
            w.masks,
            lambda: losses.responsibility_loss(shapes.masks, shapes.salient, responsibilities, shapes.known),
        ),
        "shape_translation": (w.translation, lambda: translation),
        "shape_rotation_scale": (w.rotation_scale, lambda: rotation_scale),
        "shape_equivariance": (
            w.equivariance,
            # sampling maps the warped image to the image; its inverse moves poses of the image
            lambda: losses.equivariance_loss(warped, plain, invert(shapes.warp.sampling)),
        ),
        "appearance": (
            settled * w.appearance,
            # colours are compared within each image alone: other members of the category have others
            lambda: appearance_loss(shapes.masks.flatten(2), shapes.images.flatten(2), offset, samples=(768, 240)),
        ),
    }
    return {name: weight * term() for name, (weight, term) in terms.items() if weight}
