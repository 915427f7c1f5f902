"""Neural expectation maximisation: an image as a spatial mixture of components, each drawn by a network from its state.

N-EM: Greff, van Steenkiste and Schmidhuber, "Neural Expectation Maximization", NeurIPS 2017, in its recurrent form
RNN-EM. R-NEM: van Steenkiste, Chang, Greff and Schmidhuber, "Relational Neural Expectation Maximization", ICLR 2018,
whose components also see each other. The losses are in train/baselines/nem.py.

Neither paper has a background. Our rule: the component with the largest share of the image's border is the background
of that image, all others are parts.

Equal components stay equal where (1/K) (1 - 1/K) |x - prior|^2 / sigma^2 < 1: one that comes to own a little more of a
pixel x then draws it only so much better that the E-step gives back less than that. The papers' pixels are black, which
is the prior, or bright, and K is 2 to 5. A mid-grey prior in colour video is near all pixels: K = 10 and sigma = .25
gave about .2, and ten grey components. So the prior is black, as in the papers, and sigma smaller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from streamparts.models.layers import enlarge
from streamparts.models.segmenter import Segmenter, require_multiple

SIGMA = 0.1
"""Standard deviation of a component's pixels in the E-step; images are in [0, 1]. The papers' is .25."""


TIE = 0.01
"""Share by which the last component is lowered in masks."""
CONTRAST = 3.0
"""Of the first shares: components then begin in different places, not only with different noise, which the network
would average away in the few steps that a CPU takes in minutes."""


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
    iterations: int = 4
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


def _layer(inputs: int, outputs: int, activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.LayerNorm(outputs), activation)


def _norm(channels: int) -> nn.GroupNorm:
    """Over all channels and places of an image, with a factor per channel."""
    return nn.GroupNorm(1, channels)


class Relations(nn.Module):
    """Upsilon of R-NEM: states (B, K, M) -> (B, K, M). With s_k an encoding of theta_k and x_ki one of the pair (s_k,
    s_i): E_k = sum over i other than k of attention(x_ki) effect(x_ki), and theta_k becomes f(s_k, E_k)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        half = hidden // 2
        self.encode = _layer(hidden, half, nn.ReLU())
        self.pair = _layer(2 * half, half, nn.ReLU())
        self.effect = _layer(half, half, nn.ReLU())
        self.attention = nn.Sequential(_layer(half, half, nn.Tanh()), nn.Linear(half, 1), nn.Sigmoid())
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
        # Norms everywhere, as in both releases: they enlarge what little tells the components apart at first.
        self.read = nn.Sequential(
            nn.Conv2d(3, w, 4, 2, 1), _norm(w), nn.ELU(), nn.Conv2d(w, 2 * w, 4, 2, 1), _norm(2 * w), nn.ELU(),
            nn.Conv2d(2 * w, 4 * w, 4, 2, 1), _norm(4 * w), nn.ELU(), nn.Flatten(),
            _layer(numbers, config.hidden, nn.ELU()),
        )  # fmt: skip
        self.relations = Relations(config.hidden) if config.relational else None
        self.from_input = nn.Linear(config.hidden, config.hidden)
        self.from_state = nn.Linear(config.hidden, config.hidden)
        self.norm = nn.LayerNorm(config.hidden)
        # Linear at the end, as for Gaussian pixels.
        self.draw = nn.Sequential(
            _layer(config.hidden, numbers, nn.ReLU()), nn.Unflatten(1, (4 * w, self.cells, self.cells)),
            nn.ConvTranspose2d(4 * w, 2 * w, 4, 2, 1), _norm(2 * w), nn.ReLU(),
            nn.ConvTranspose2d(2 * w, w, 4, 2, 1), _norm(w), nn.ReLU(), nn.ConvTranspose2d(w, 3, 4, 2, 1),
        )  # fmt: skip
        # The components start alike but for these first shares, which are drawn anew in every training step.
        self.first = nn.Buffer(torch.randn(config.num_parts, self.cells, self.cells))

    def begin(self, images: Tensor, noise: Tensor) -> NemState:
        """Equal states that draw nothing, and shares that are the softmax of CONTRAST times normal `noise`, (K, S/8,
        S/8) or (B, K, S/8, S/8), enlarged. The papers draw a number for every pixel."""
        parts = self.config.num_parts
        # From the images, not by zeros(): models may not create tensors of sizes that are not in the file.
        theta = (0 * images[:, :1, 0, :1]).expand(-1, parts, self.config.hidden)
        means = (0 * images).unsqueeze(1).expand(-1, parts, -1, -1, -1)
        logits = CONTRAST * enlarge(noise, 8)
        return NemState(theta, means, logits.softmax(dim=-3) + 0 * images[:, :1])

    def step(self, state: NemState, given: Tensor, image: Tensor) -> NemState:
        """M-step: theta_k = sigmoid(norm(W read(gamma_k (x - psi_k)) + R theta_k)), with Upsilon(theta_k) in R-NEM,
        then the E-step. `given` is x as the network sees it, with noise in training, and `image` what psi shall be:
        in R-NEM's training the next one. gamma_k gets no gradient."""
        count = self.config.num_parts
        seen = state.shares.detach().unsqueeze(2) * (given.unsqueeze(1) - state.means)
        inputs = self.read(seen.flatten(0, 1)).unflatten(0, (-1, count))
        before = state.theta if self.relations is None else self.relations(state.theta)
        theta = torch.sigmoid(self.norm(self.from_input(inputs) + self.from_state(before)))
        means = self.draw(theta.flatten(0, 1)).unflatten(0, (-1, count))
        return NemState(theta, means, responsibilities(means, image))

    def masks(self, images: Tensor) -> Tensor:
        state = self.begin(images, self.first)
        for _ in range(self.config.iterations):
            state = self.step(state, images, images)
        return with_background(earlier_first(state.shares))


def earlier_first(shares: Tensor) -> Tensor:
    """Shares (B, K, S, S) with those of component k lowered by TIE k / K: of components that draw the same, the first
    has the pixel, where rounding would decide otherwise."""
    count = shares.shape[1]
    lowered = shares * (1 - TIE * torch.arange(count, device=shares.device) / count)[:, None, None]
    return lowered / lowered.sum(dim=1, keepdim=True)


def with_background(shares: Tensor) -> Tensor:
    """Shares (B, K, S, S) -> masks (B, 1 + K, S, S): the component with the largest share of the border is the
    background, and is empty as a part."""
    top, bottom = shares[..., 0, :].sum(-1), shares[..., -1, :].sum(-1)
    border = top + bottom + shares[..., 0].sum(-1) + shares[..., -1].sum(-1)
    numbers = torch.arange(shares.shape[1], device=shares.device)
    chosen = (border.argmax(dim=1, keepdim=True) == numbers).to(shares.dtype)[..., None, None]
    return torch.cat([(shares * chosen).sum(dim=1, keepdim=True), shares * (1 - chosen)], dim=1)
