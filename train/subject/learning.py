"""Trains the mask network on the sure pixels of the key frames of all clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from streamparts.arrays import ByteArray

from ..frames.transforms import to_images
from ..running.loop import cosine_rate
from .cutting import cut
from .evidence import BACKGROUND, SUBJECT, UNKNOWN
from .network import SubjectNetwork

RATE, BACKBONE_RATE = 2e-3, 4e-4
"""Peak learning rates of the new layers and of the backbone."""
WHOLE = 0.35
"""Share of the training images that show the whole frame; the rest are crops around the known subject."""


@dataclass(frozen=True)
class Example:
    """One frame to train on."""

    image: ByteArray
    """(H, W, 3) RGB."""
    trimap: ByteArray
    """(H, W) BACKGROUND, UNKNOWN or SUBJECT."""
    clip: int

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """Left, top, width and height of the known subject."""
        x, y, width, height = cv2.boundingRect((self.trimap == SUBJECT).astype(np.uint8))
        return (x, y, width, height) if width else None


def lesson(example: Example, side: int, rng: np.random.Generator) -> tuple[ByteArray, ByteArray]:
    """Return (side, side, 3) of the example or a part of it, rotated and mirrored, and its trimap; outside is
    background."""
    height, width = example.image.shape[:2]
    box = example.box
    if box is None or rng.random() < WHOLE:
        box, scale = (0.0, 0.0, float(width), float(height)), rng.uniform(0.75, 1.15)
    else:
        scale = float(np.exp(rng.uniform(np.log(0.9), np.log(3.0))))
    span = scale * max(box[2:])
    shift = 0.2 * span * rng.uniform(-1, 1, 2)
    region = (box[0] + box[2] / 2 - span / 2 + shift[0], box[1] + box[3] / 2 - span / 2 + shift[1], span, span)
    degrees = float(rng.uniform(-15, 15))
    image = cut(example.image, region, side, degrees)
    trimap = cut(example.trimap, region, side, degrees, outside=BACKGROUND)
    trimap = np.where(trimap > 200, SUBJECT, np.where(trimap < 55, BACKGROUND, UNKNOWN)).astype(np.uint8)
    if rng.random() < 0.5:
        image, trimap = image[:, ::-1], trimap[:, ::-1]
    return image, trimap


def recoloured(images: Tensor, generator: torch.Generator) -> Tensor:
    """Vary the channel gains, contrast and brightness of each of (B, 3, S, S) images."""
    draw = torch.rand(len(images), 5, generator=generator) * 2 - 1
    gain = (1 + 0.15 * draw[:, :3]) * (1 + 0.3 * draw[:, 3:4])
    return (images * gain[..., None, None] + 0.15 * draw[:, 4, None, None, None]).clamp(0, 1)


def mask_loss(logits: Tensor, trimaps: Tensor) -> Tensor:
    """Cross-entropy plus half the soft Dice loss over the known pixels; logits and trimaps are (B, 1, S, S)."""
    known = (trimaps != UNKNOWN).float()
    truth = (trimaps == SUBJECT).float()
    entropy = (F.binary_cross_entropy_with_logits(logits, truth, reduction="none") * known).sum() / known.sum().clamp(1)
    chance = logits.sigmoid() * known
    overlap, total = (chance * truth).sum((1, 2, 3)), (chance + truth * known).sum((1, 2, 3))
    shown = (truth.sum((1, 2, 3)) > 0).float()
    dice = ((1 - (2 * overlap + 1) / (total + 1)) * shown).sum() / shown.sum().clamp(1)
    return entropy + 0.5 * dice


def train_network(
    network: SubjectNetwork, examples: Sequence[Example], steps: int, batch_size: int, side: int, seed: int, what: str
) -> None:
    """Train the network; each example of a batch is drawn from a random clip."""
    by_clip: dict[int, list[Example]] = {}
    for example in examples:
        by_clip.setdefault(example.clip, []).append(example)
    clips = list(by_clip.values())
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    backbone = [p for p in network.encoder.parameters() if p.requires_grad] if network.pretrained else []
    own = {id(p) for p in backbone}
    rest = [p for p in network.parameters() if p.requires_grad and id(p) not in own]
    optimiser = torch.optim.AdamW(
        [{"params": rest, "peak": RATE}, *([{"params": backbone, "peak": BACKBONE_RATE}] if backbone else [])],
        lr=RATE, weight_decay=1e-4, fused=True,
    )  # fmt: skip
    network.train()
    for step in tqdm(range(steps), desc=what, unit="step", disable=None):
        drawn = [clips[i][rng.integers(len(clips[i]))] for i in rng.integers(len(clips), size=batch_size)]
        lessons = [lesson(example, side, rng) for example in drawn]
        images = to_images(torch.from_numpy(np.stack([image for image, _ in lessons])))
        trimaps = torch.from_numpy(np.stack([trimap for _, trimap in lessons]))[:, None]
        images = recoloured(images, generator).contiguous(memory_format=torch.channels_last)
        loss = mask_loss(network(images), trimaps)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = cosine_rate(step, steps, group["peak"], warmup=max(1, min(50, steps // 5)))
        optimiser.step()
    network.eval()


@torch.no_grad()
def answers(network: SubjectNetwork, pictures: ByteArray, decrease: float = 0.0, batch_size: int = 16) -> ByteArray:
    """Return (N, S, S) probabilities of the subject, 255 for 1, for (N, S, S, 3) images; the logits are lowered by
    `decrease`."""
    out = []
    for start in range(0, len(pictures), batch_size):
        images = to_images(torch.from_numpy(pictures[start : start + batch_size]))
        logits = network(images.contiguous(memory_format=torch.channels_last))
        out.append(((logits - decrease).sigmoid()[:, 0] * 255).round().byte().numpy())
    return np.concatenate(out)
