"""Neural expectation maximisation: an image as a spatial mixture of components, each drawn by a network from its state.

N-EM: Greff, van Steenkiste and Schmidhuber, "Neural Expectation Maximization", NeurIPS 2017, in its recurrent form
RNN-EM. R-NEM: van Steenkiste, Chang, Greff and Schmidhuber, "Relational Neural Expectation Maximization", ICLR 2018,
whose components also see each other. The losses are in train/baselines/nem.py.

Neither paper has a background. Our rule: the component with the largest share of the image's border is the background
of that image, all others are parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from streamparts.models.segmenter import Segmenter, require_multiple

SIGMA = 0.25
"""Standard deviation of a component's pixels; images are in [0, 1]."""


@dataclass(frozen=True)
class NemConfig:
    """The shape of the network, saved with its weights."""

    num_parts: int = 10
    """K, the number of components; in each image, one of them is the background."""
    image_size: int = 32
    """Side of the square input in pixels, a multiple of 8; the papers' images have 24 to 64."""
    hidden: int = 96
    """Numbers in a component's state theta_k."""
    width: int = 16
    """Channels of the finest layer; each coarser one has twice as many."""
    iterations: int = 6
    """Steps of expectation maximisation on one image."""
    relational: bool = False
    """R-NEM: components also see each other."""


class NemState(NamedTuple):
    """The mixture after a step."""

    theta: Tensor
    """(B, K, M)"""
    means: Tensor
    """(B, K, 3, S, S) psi_k, what each component would draw."""
    shares: Tensor
    """(B, K, S, S) gamma_k, summing to 1."""


def responsibilities(means: Tensor, image: Tensor, sigma: float = SIGMA) -> Tensor:
    """E-step: gamma_ik = N(x_i; psi_ik, sigma^2) / sum_l N(x_i; psi_il, sigma^2), with equal weights of the components.
    `means` (B, K, 3, S, S) and `image` (B, 3, S, S) -> (B, K, S, S)."""
    squares = (means - image.unsqueeze(1)).square().sum(dim=2)
    return (-squares / (2 * sigma**2)).softmax(dim=1)


class Relations(nn.Module):
    """Upsilon of R-NEM: states (B, K, M) -> (B, K, M). With s_k an encoding of theta_k and x_ki one of the pair (s_k,
    s_i): E_k = sum over i other than k of attention(x_ki) effect(x_ki), and theta_k becomes f(s_k, E_k)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        half = hidden // 2
        self.encode = nn.Sequential(nn.Linear(hidden, half), nn.ReLU())
        self.pair = nn.Sequential(nn.Linear(2 * half, half), nn.ReLU())
        self.effect = nn.Sequential(nn.Linear(half, half), nn.ReLU())
        self.attention = nn.Sequential(nn.Linear(half, half), nn.Tanh(), nn.Linear(half, 1), nn.Sigmoid())
        self.out = nn.Linear(2 * half, hidden)

    def forward(self, theta: Tensor) -> Tensor:
        states = self.encode(theta)
        count = states.shape[1]
        focus = states.unsqueeze(2).expand(-1, -1, count, -1)
        pairs = self.pair(torch.cat([focus, focus.transpose(1, 2)], dim=-1))
        others = 1 - torch.eye(count, device=theta.device).unsqueeze(-1)
        effects = (others * self.attention(pairs) * self.effect(pairs)).sum(dim=2)
        moved: Tensor = self.out(torch.cat([states, effects], dim=-1))
        return moved


class Nem(Segmenter):
    """Images (B, 3, S, S) RGB in [0, 1] -> mixtures, by RNN-EM."""

    config: NemConfig

    def __init__(self, config: NemConfig) -> None:
        super().__init__()
        require_multiple(config.image_size, 8)
        self.config = config
        w, self.cells = config.width, config.image_size // 8
        numbers = 4 * w * self.cells**2
        # The norms, which R-NEM has too, enlarge what little tells the components apart at first.
        self.read = nn.Sequential(
            nn.Conv2d(3, w, 4, 2, 1), nn.ELU(), nn.Conv2d(w, 2 * w, 4, 2, 1), nn.ELU(),
            nn.Conv2d(2 * w, 4 * w, 4, 2, 1), nn.ELU(), nn.Flatten(), nn.Linear(numbers, config.hidden),
            nn.LayerNorm(config.hidden), nn.ELU(),
        )  # fmt: skip
        self.relations = Relations(config.hidden) if config.relational else None
        self.from_input = nn.Linear(config.hidden, config.hidden)
        self.from_state = nn.Linear(config.hidden, config.hidden)
        self.start = nn.Linear(config.hidden, numbers)
        self.draw = nn.Sequential(
            nn.LayerNorm(numbers), nn.ELU(), nn.Unflatten(1, (4 * w, self.cells, self.cells)),
            nn.ConvTranspose2d(4 * w, 2 * w, 4, 2, 1), nn.ELU(),
            nn.ConvTranspose2d(2 * w, w, 4, 2, 1), nn.ELU(), nn.ConvTranspose2d(w, 3, 4, 2, 1), nn.Sigmoid(),
        )  # fmt: skip
        # The components start alike but for these first shares, which are drawn anew in every training step.
        self.first = nn.Buffer(torch.randn(config.num_parts, config.image_size, config.image_size))

    def begin(self, images: Tensor, noise: Tensor) -> NemState:
        """Equal states, and shares that are the softmax of `noise`, (K, S, S) or (B, K, S, S)."""
        parts = self.config.num_parts
        # From the images, not by zeros(): models may not create tensors of sizes that are not in the file.
        theta = (0 * images[:, :1, 0, :1]).expand(-1, parts, self.config.hidden)
        means = (0 * images + 0.5).unsqueeze(1).expand(-1, parts, -1, -1, -1)
        return NemState(theta, means, noise.softmax(dim=-3) + 0 * images[:, :1])

    def step(self, state: NemState, given: Tensor, image: Tensor) -> NemState:
        """M-step: theta_k = sigmoid(W read(gamma_k (psi_k - x)) + R theta_k), with Upsilon(theta_k) in R-NEM, then the
        E-step. `given` is the image as the network sees it, with noise in training."""
        count = self.config.num_parts
        seen = state.shares.unsqueeze(2) * (state.means - given.unsqueeze(1))
        inputs = self.read(seen.flatten(0, 1)).unflatten(0, (-1, count))
        before = state.theta if self.relations is None else self.relations(state.theta)
        theta = torch.sigmoid(self.from_input(inputs) + self.from_state(before))
        means = self.draw(self.start(theta.flatten(0, 1))).unflatten(0, (-1, count))
        return NemState(theta, means, responsibilities(means, image))

    def masks(self, images: Tensor) -> Tensor:
        state = self.begin(images, self.first)
        for _ in range(self.config.iterations):
            state = self.step(state, images, images)
        return with_background(state.shares)


def with_background(shares: Tensor) -> Tensor:
    """Shares (B, K, S, S) -> masks (B, 1 + K, S, S): the component with the largest share of the border is the
    background, and is empty as a part."""
    top, bottom = shares[..., 0, :].sum(-1), shares[..., -1, :].sum(-1)
    border = top + bottom + shares[..., 0].sum(-1) + shares[..., -1].sum(-1)
    numbers = torch.arange(shares.shape[1], device=shares.device)
    chosen = (border.argmax(dim=1, keepdim=True) == numbers).to(shares.dtype)[..., None, None]
    return torch.cat([(shares * chosen).sum(dim=1, keepdim=True), shares * (1 - chosen)], dim=1)
