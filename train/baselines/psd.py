"""PSD: Xu, Liu, Sun, Murphy, Freeman, Tenenbaum and Wu, "Unsupervised Discovery of Parts, Structure, and Dynamics",
ICLR 2019. The deployed networks are in streamparts/models/psd.py.

The optical flow between two frames, computed beforehand as in the paper, is encoded as one latent motion per part. From
the first image and the latents come local motions; a learned structure passes the motions of parts on to the parts that
hang on them; together they must be the flow. The flow moves the first image to the second.

As in the release, the image's loss teaches the image decoder alone. Left out: that the structure is trained in a second
stage, with the motion encoder fixed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.arrays import FloatArray
from streamparts.models.layers import ConvBlock
from streamparts.models.psd import Psd, PsdConfig

from ..frames.transforms import Draws
from ..inputs.augment import Pair
from ..subject.motion import flow_method
from .learner import BaselineLearner

BINARY = 4.0
"""Factor in the sigmoid of the structure, which makes its entries nearly 0 or 1."""


@dataclass(frozen=True)
class PsdWeights:
    """One weight per term."""

    image: float = 10.0
    flow: float = 1.0
    divergence: float = 0.001
    structure: float = 0.01


def image_loss(predicted: Tensor, image: Tensor) -> Tensor:
    """L_image: mean |I' - I|^2 of both (B, 3, h, w)."""
    return (predicted - image).square().mean()


def flow_loss(predicted: Tensor, flow: Tensor) -> Tensor:
    """L_flow: mean |M' - M|^2 of both (B, 2, h, w), in pixels."""
    return (predicted - flow).square().mean()


def divergence_loss(mean: Tensor, log_variance: Tensor) -> Tensor:
    """L_KL: KL(N(mean, variance) || N(0, 1)) = (mean^2 + variance - log variance - 1) / 2, summed over latents, mean
    over the batch. It keeps the number of parts low, because a latent stays unused if others explain the motion."""
    return ((mean.square() + log_variance.exp() - log_variance - 1) / 2).flatten(1).sum(1).mean()


def structure_loss(structure: Tensor) -> Tensor:
    """L_struct: mean of S_ki over i other than k, so that a part moves others only where that explains something."""
    # the diagonal is left out: a part has its own motion in any case
    parts = len(structure)
    return (structure * (1 - torch.eye(parts, device=structure.device))).sum() / max(parts * (parts - 1), 1)


def global_motions(local: Tensor, structure: Tensor) -> Tensor:
    """G_k = M_k + peak(M_k) sum over i other than k of S_ki |M_i| / max |M_i|, (B, K, 2, h, w) of local motions and
    S (K, K): part k also moves the places of the parts that hang on it, as far as its own furthest place. The furthest
    motion along x and that along y, and the largest length, get no gradient."""
    # (K, K) without the diagonal
    others = structure * (1 - torch.eye(len(structure), device=structure.device))
    # (B, K, h w) lengths, then places: 1 where a part moves furthest
    lengths = local.square().sum(dim=2).add(1e-12).sqrt()
    places = lengths / lengths.detach().amax(dim=(-2, -1), keepdim=True).clamp(min=1e-4)
    flat = local.detach().flatten(3)
    peak = flat.gather(3, flat.abs().argmax(dim=3, keepdim=True)).unsqueeze(-1)
    # (B, K, 2, 1, 1) motions on (B, K, 1, h, w) places of what hangs on each part
    return local + peak * torch.einsum("ki,bihw->bkhw", others, places).unsqueeze(2)


class MotionEncoder(nn.Module):
    """Flow (B, 2, h, w) in pixels -> mean and log variance of the latents, (B, K) each."""

    def __init__(self, num_parts: int, side: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvBlock(2, 24, stride=2), ConvBlock(24, 48, stride=2), ConvBlock(48, 64, stride=2), nn.Flatten(),
            nn.Linear(64 * (side // 8) ** 2, 128), nn.ReLU(),
        )  # fmt: skip
        self.last = nn.Linear(128, 2 * num_parts)

    def forward(self, flow: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.last(self.layers(flow)).chunk(2, dim=1)
        return mean, log_variance.clamp(-8, 8)


class ImageDecoder(nn.Module):
    """The first image (B, 3, h, w) and its flow (B, 2, h, w) in pixels -> the second image, as the first and a
    correction."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(ConvBlock(5, width), ConvBlock(width, width), nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, image: Tensor, flow: Tensor) -> Tensor:
        corrected: Tensor = image + self.layers(torch.cat([image, flow], dim=1))
        return corrected


class PsdLearner(BaselineLearner):
    """All networks and the objective, at half of the image's side."""

    def __init__(self, config: PsdConfig, weights: PsdWeights) -> None:
        super().__init__()
        self.network: Psd = Psd(config)
        self.encode = MotionEncoder(config.num_parts, config.image_size // 2)
        self.decode = ImageDecoder()
        # S begins nearly empty: sigmoid(BINARY * -0.5) = .12
        self.structure_logits = nn.Parameter(torch.full((config.num_parts, config.num_parts), -0.5))
        self.weights = weights

    def forward(self, pair: Pair, draws: Draws) -> dict[str, Tensor]:
        w = self.weights
        first, second = (F.avg_pool2d(image, 2) for image in (pair.source, pair.target))
        flow = flows(first, second)
        mean, log_variance = self.encode(flow)
        latent = mean + (log_variance / 2).exp() * draws.normal(*mean.shape[1:]).to(mean)
        local = self.network.local_motions(self.network.features(pair.source), latent)
        structure = torch.sigmoid(BINARY * self.structure_logits)
        predicted = global_motions(local, structure).sum(dim=1)
        return {
            "image": w.image * image_loss(self.decode(first, predicted.detach()), second),
            "flow": w.flow * flow_loss(predicted, flow),
            "divergence": w.divergence * divergence_loss(mean, log_variance),
            "structure": w.structure * structure_loss(structure),
        }


def flows(first: Tensor, second: Tensor) -> Tensor:
    """(B, 2, h, w) pixels from the first images (B, 3, h, w) to the second, by OpenCV's DIS flow."""
    method, out = flow_method(), []
    for pair in zip(first, second, strict=True):
        grey = [
            cv2.cvtColor((one * 255).byte().permute(1, 2, 0).contiguous().cpu().numpy(), cv2.COLOR_RGB2GRAY)
            for one in pair
        ]
        found: FloatArray = np.asarray(method.calc(*grey, None), np.float32)
        out.append(torch.from_numpy(found).permute(2, 0, 1))
    return torch.stack(out).to(first)
