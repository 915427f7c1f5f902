"""Parts told by their shape: not in Hung et al., CVPR 2019, whose parts are told by what they look like to a network
that was trained to classify. For a category whose members share their build and nothing else, such as puppets, robots
or clothed people, where the same limb has other colours in every picture.

Beside the masks an ellipse is learned for each part, by the pose head of Assembly. The ellipses of a picture must
explain what is salient in it, as a mixture of Gaussians; masks follow ellipses and ellipses masks; and when both have
settled, what has a part's colours becomes that part, within each picture by itself. One network draws the ellipses of
all pictures, so that equal shapes get equal parts. The ellipses are not deployed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import NamedTuple

from torch import Tensor

from streamparts.models.layers import Affine, invert
from train import losses
from train.warps import Warp


@dataclass(frozen=True)
class ShapeWeights:
    """One weight per term; a term of weight 0 is not computed. All 0: no ellipses are learned."""

    likelihood: float = 0.0
    """Ellipses explain the salient pixels, train.losses.silhouette_likelihood."""
    masks: float = 0.0
    """Masks follow the ellipses, train.losses.responsibility_loss."""
    translation: float = 0.0
    """Ellipses lie where the masks do, Eq. 8 of Gao et al. 2021."""
    rotation_scale: float = 0.0
    """Ellipses are as long, as wide and turned as the masks, Eq. 9 of Gao et al. 2021."""
    equivariance: float = 0.0
    """Ellipses follow the warp of a picture, Eq. 12 of Gao et al. 2021."""
    appearance: float = 0.0
    """Pixels with a part's colours belong to that part, train.losses.appearance_loss; fades in, or weak parts die."""

    @property
    def any(self) -> bool:
        return any(astuple(self))


SHAPE_WEIGHTS = ShapeWeights(
    likelihood=2.0, masks=5.0, translation=1.0, rotation_scale=0.5, equivariance=0.3, appearance=10.0
)
"""Of the shape preset. Chosen on puppets, see train/LOG.md."""


class Shapes(NamedTuple):
    """What the terms look at: 2B pictures, the warped ones behind the others."""

    images: Tensor
    """(2B, 3, S, S) in [0, 1]"""
    masks: Tensor
    """(2B, 1 + K, S, S), background first, summing to 1"""
    ellipses: Affine
    """Canonical -> image, (2B, K) of them."""
    salient: Tensor
    """(2B, 1, S, S) in [0, 1]"""
    known: Tensor
    """(2B, 1, S, S) 1 where a picture shows what its original has, 0 beyond its border."""
    warp: Warp
    """T_s of the B pictures."""


def shape_terms(shapes: Shapes, weights: ShapeWeights, settled: float, offset: float) -> dict[str, Tensor]:
    """The weighted terms by name. `settled` in [0, 1] fades the colours in, `offset` in [0, 1) moves the draw of the
    pixels whose colours are compared."""
    w, half = weights, len(shapes.images) // 2
    likelihood, responsibilities = losses.silhouette_likelihood(shapes.ellipses, shapes.salient * shapes.known)
    translation, rotation_scale = losses.transformation_loss(shapes.masks[:, 1:], shapes.ellipses)
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
            lambda: losses.equivariance_loss(warped, plain, invert(shapes.warp.sampling)),
        ),
        "appearance": (
            settled * w.appearance,
            lambda: losses.appearance_loss(
                shapes.masks.flatten(2), shapes.images.flatten(2), offset, samples=(768, 240)
            ),
        ),
    }
    return {name: weight * term() for name, (weight, term) in terms.items() if weight}
