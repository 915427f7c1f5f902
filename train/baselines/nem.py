"""N-EM and R-NEM: Greff et al., "Neural Expectation Maximization", NeurIPS 2017, and van Steenkiste et al., "Relational
Neural Expectation Maximization", ICLR 2018. The networks are in streamparts/models/nem.py.

The steps of expectation maximisation are unrolled over a sequence of two frames, each shown for half of the steps and
seen through noise. N-EM must draw the frame that it is shown, R-NEM the next one in the sequence. All steps count.

R-NEM's pixels are binary in its paper, with Bernoulli components. Here both have N-EM's Gaussian ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from streamparts.models.nem import Nem, NemConfig

from ..frames.transforms import Draws
from ..inputs.augment import Pair
from .learner import BaselineLearner

NOISE = 0.2
"""Share of values that noise replaces, as in both releases."""
PRIOR = 0.0
"""Mean of the prior of a pixel that a component does not own: black."""


def intra_cluster_loss(shares: Tensor, means: Tensor, image: Tensor) -> Tensor:
    """First term of N-EM's loss, -sum_k gamma_ik log P(x_i, z_ik | psi_ik) without constants: sum_k gamma_ik |x_i -
    psi_ik|^2 / 2, mean over pixels. Each component draws the pixels it owns. `shares` get no gradient."""
    # (B, K, S, S) of means (B, K, 3, S, S): one squared distance per component and pixel
    squares = (means - image.unsqueeze(1)).square().sum(dim=2) / 2
    return (shares.detach() * squares).sum(dim=1).mean()


def inter_cluster_loss(shares: Tensor, means: Tensor, prior: float = PRIOR) -> Tensor:
    """Second term, sum_k (1 - gamma_ik) KL(P(x_i) || P(x_i | psi_ik, z_ik)), which of two Gaussians of width 1 is
    |psi_ik - prior|^2 / 2, mean over pixels: elsewhere, a component must know nothing. Its weight is 1."""
    squares = (means - prior).square().sum(dim=2) / 2
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
        cells = self.network.cells
        state = self.network.begin(shown[0], draws.normal(config.num_parts, cells, cells).to(shown[0].device))
        intra, inter = [], []
        for image, future in zip(shown, wanted, strict=True):
            state = self.network.step(state, noisy(image, draws), future)
            intra.append(intra_cluster_loss(state.shares, state.means, future))
            inter.append(inter_cluster_loss(state.shares, state.means))
        return {"intra": torch.stack(intra).mean(), "inter": torch.stack(inter).mean()}


def noisy(images: Tensor, draws: Draws, share: float = NOISE) -> Tensor:
    """(B, 3, S, S) with uniform noise in place of this share of the values."""
    shape = images.shape[1:]
    kept = (draws.uniform(*shape) >= share).to(images)
    return images * kept + draws.uniform(*shape).to(images) * (1 - kept)
