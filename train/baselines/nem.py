"""N-EM and R-NEM: Greff et al., "Neural Expectation Maximization", NeurIPS 2017, and van Steenkiste et al., "Relational
Neural Expectation Maximization", ICLR 2018. The networks are in streamparts/models/nem.py.

The steps of expectation maximisation are unrolled over a sequence of two frames, each shown for half of the steps.
N-EM must draw the frame that it is shown, through noise; R-NEM the next one in the sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor

from streamparts.models.nem import SIGMA, Nem, NemConfig

from ..frames.transforms import Draws
from ..inputs.augment import Pair
from .learner import BaselineLearner

NOISE = 0.2
"""Share of pixels that noise replaces, as in N-EM's static experiments."""
PRIOR = 0.5
"""Mean of the prior of a pixel that a component does not own. The papers' is the colour of their empty backgrounds, 0;
clips have none, so it is mid-grey."""


def intra_cluster_loss(shares: Tensor, means: Tensor, image: Tensor, sigma: float = SIGMA) -> Tensor:
    """First term of N-EM's loss, -sum_k gamma_ik log P(x_i, z_ik | psi_ik) without constants: sum_k gamma_ik |x_i -
    psi_ik|^2 / (2 sigma^2), mean over pixels. Each component draws the pixels it owns. `shares` get no gradient."""
    # (B, K, S, S) of means (B, K, 3, S, S): one squared distance per component and pixel
    squares = (means - image.unsqueeze(1)).square().sum(dim=2) / (2 * sigma**2)
    return (shares.detach() * squares).sum(dim=1).mean()


def inter_cluster_loss(shares: Tensor, means: Tensor, prior: float = PRIOR, sigma: float = SIGMA) -> Tensor:
    """Second term, sum_k (1 - gamma_ik) KL(P(x_i) || P(x_i | psi_ik, z_ik)), which of two Gaussians of equal width is
    |psi_ik - prior|^2 / (2 sigma^2), mean over pixels: elsewhere, a component must know nothing."""
    squares = (means - prior).square().sum(dim=2) / (2 * sigma**2)
    return ((1 - shares.detach()) * squares).sum(dim=1).mean()


class NemLearner(BaselineLearner):
    """The mixture network and its objective."""

    def __init__(self, config: NemConfig) -> None:
        super().__init__()
        self.network: Nem = Nem(config)

    def forward(self, pair: Pair, draws: Draws) -> dict[str, Tensor]:
        config = self.network.config
        half = (config.iterations + 1) // 2
        shown = [pair.source] * half + [pair.target] * half
        # N-EM reconstructs each frame, R-NEM predicts the next one
        wanted = shown if not config.relational else [*shown[1:], shown[-1]]
        size = config.image_size
        state = self.network.begin(shown[0], _normal(draws, config.num_parts, size, size).to(shown[0].device))
        intra, inter = [], []
        for image, future in zip(shown, wanted, strict=True):
            given = image if config.relational else noisy(image, draws)
            state = self.network.step(state, given, image)
            intra.append(intra_cluster_loss(state.shares, state.means, future))
            inter.append(inter_cluster_loss(state.shares, state.means))
        return {"intra": torch.stack(intra).mean(), "inter": torch.stack(inter).mean()}


def noisy(images: Tensor, draws: Draws, share: float = NOISE) -> Tensor:
    """(B, 3, S, S) with uniform noise in place of this share of the pixels."""
    _, channels, height, width = images.shape
    kept = (draws.uniform(1, height, width) >= share).to(images)
    return images * kept + draws.uniform(channels, height, width).to(images) * (1 - kept)


def _normal(draws: Draws, *shape: int) -> Tensor:
    """(B, *shape) of the standard normal distribution, from uniform draws."""
    return torch.erfinv(draws.uniform(*shape).clamp(1e-6, 1 - 1e-6) * 2 - 1) * 2**0.5
