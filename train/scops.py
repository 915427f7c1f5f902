"""Train the parts of a category on images, without labels.

The folder contains images, videos or both, of different horses, faces or birds. With several processes, each takes
--batch-size images per step: torchrun --nproc-per-node N -m streamparts train-scops IMAGES ...

examples:
  streamparts train-scops pictures/horses --out runs/horse --network.num-parts 4
  streamparts train-scops pictures/horses --out runs/horse --resume
"""

# The losses are in terms/scops_losses.py, the perturbations of images in inputs/warps.py, the network in
# streamparts/models/scops.py.

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from streamparts.models.checkpoint import save_checkpoint
from streamparts.models.layers import Affine
from streamparts.models.pose_head import PoseHead
from streamparts.models.readout import read_masks
from streamparts.models.run_files import NAMES, SCOPS
from streamparts.models.scops import Scops

from .drawing.png import write_png
from .frames.cache import cache_place
from .frames.spread import spread
from .frames.transforms import Draws, to_images
from .inputs.images import ImageBatch, ImageFolder, ImageSampler
from .inputs.warps import Warp, perturb_colours, random_warp
from .judging.sheets import contact_sheet, write_names
from .presets.flags import parse_flags
from .presets.schedules import fades_at
from .presets.scops import PRESETS, ScopsTrainingConfig
from .pretrained.backbone import load_backbone
from .running.loop import channels_last, keep, launch, optimiser_step, tell_next, tell_unusual, trainer_exit_code
from .running.run_folder import RunLog, StopRequest, open_run, require_finite, restore
from .students.scops_learner import Learner, StepOutput, calibrated_level
from .terms.scops_losses import PartBasis, ScopsResult, scops_objective, to_cells
from .terms.semantic import CollectionFeatures, factorised_basis, load_semantic
from .terms.shape import Shapes, shape_terms
from .terms.uld import UldDecoder

LEARNER = "learner.safetensors"
NUM_FACTORISED = 200
"""Maximum number of images whose features initialise the part basis."""


class PerturbedBatch(NamedTuple):
    """A perturbed batch on the device."""

    images: Tensor
    """(B, 3, S, S) in [0, 1]"""
    warped: Tensor
    """(B, 3, S, S) recoloured, then warped."""
    warp: Warp
    saliency: Tensor
    """(B, 1, S, S) in [0, 1]"""
    salient: Tensor
    """(B, 1, S, S) 0 or 1"""


def prepare_lesson(
    batch: ImageBatch, draws: Draws, config: ScopsTrainingConfig, device: torch.device
) -> PerturbedBatch:
    """T_a, then T_s of Eq. 3."""
    images = to_images(torch.from_numpy(batch.images).to(device))
    warp = random_warp(draws, config.rotation_degrees, config.zoom, device=device)
    warped = warp.apply(perturb_colours(images, draws), padding="border")
    saliency, salient = (torch.from_numpy(maps).to(device)[:, None] for maps in (batch.saliency, batch.salient))
    return PerturbedBatch(images, warped, warp, saliency, salient.float())


def start_basis(basis: PartBasis, features: CollectionFeatures, folder: ImageFolder, seed: int) -> None:
    """Initialise the part basis with the variation within the subjects, see `factorised_basis`."""
    numbers = spread(len(folder), NUM_FACTORISED)
    values = torch.cat([features.of([number]) for number in numbers])
    saliency = torch.from_numpy(folder.saliency[numbers] / 255).to(values)[:, None]
    with torch.no_grad():
        basis.weight.copy_(factorised_basis(values, to_cells(saliency, values), len(basis.weight), seed))


def open_features(config: ScopsTrainingConfig, folder: ImageFolder, device: torch.device) -> CollectionFeatures | None:
    """Open V of the images, if a term needs it."""
    if not (config.loss.semantic or config.loss.orthonormal or config.loss.reconstruction):
        return None
    return CollectionFeatures(load_semantic(config.features), folder, config.feature_pixels, device)


def build_learner(config: ScopsTrainingConfig, channels: int) -> Learner:
    """Create the networks, with the backbone's weights from the source in the config. `channels` of V, 0 without."""
    network = Scops(config.network)
    missing = load_backbone(network, config.backbone_weights)
    if missing:
        tqdm.write(f"{len(missing)} layers of the backbone start from scratch", file=sys.stderr)
    network.freeze_norms(statistics=config.backbone_weights.endswith(".npz"))
    size, parts = config.network.image_size, config.network.num_parts
    basis = PartBasis(parts, channels) if channels else None
    decoder = UldDecoder(parts, channels, size) if config.loss.reconstruction else None
    pose = PoseHead(parts, network.feature_channels, network.feature_channels) if config.shape.any else None
    return channels_last(Learner(network, basis, decoder, pose))


def build_optimiser(config: ScopsTrainingConfig, learner: Learner) -> torch.optim.Optimizer:
    """Create the optimiser, with groups for backbone, head, and modules that are not deployed. Each parameter occurs
    once; frozen ones are left out."""
    groups = learner.network.parameter_groups
    heads = [*groups.head, *(learner.pose.parameters() if learner.pose else [])]
    others = [p for module in (learner.basis, learner.decoder) if module for p in module.parameters()]
    rates = (config.learning_rate, config.learning_rate * config.head_factor, config.basis_learning_rate)
    params = [
        {"params": [p for p in group if p.requires_grad], "lr": rate}
        for group, rate in zip((groups.backbone, heads, others), rates, strict=True)
    ]
    if config.optimiser == "adam":
        return torch.optim.Adam(params, betas=(0.9, 0.99))
    return torch.optim.SGD(params, momentum=0.9, weight_decay=5e-4)


def set_poly_rate(config: ScopsTrainingConfig, optimiser: torch.optim.Optimizer, step: int) -> None:
    """Let the network's learning rates fall by (1 - step / steps)^0.9; the basis keeps its rate."""
    fall = (1 - step / config.steps) ** 0.9
    for group, factor in zip(optimiser.param_groups, (1.0, config.head_factor), strict=False):
        group["lr"] = config.learning_rate * factor * fall


def train_scops(config: ScopsTrainingConfig, folder: ImageFolder, fabric: Fabric, stop: StopRequest) -> Scops:
    """The loop."""
    torch.manual_seed(config.seed)
    semantic = open_features(config, folder, fabric.device)
    learner = build_learner(config, semantic.channels if semantic else 0)
    if semantic and learner.basis and config.basis == "factorised" and not (config.out / LEARNER).exists():
        start_basis(learner.basis, semantic, folder, config.seed)
    optimiser = build_optimiser(config, learner)
    start = restore(config.out / LEARNER, learner, optimiser)
    forward, stepper = fabric.setup(learner, optimiser)
    log = RunLog(config.out, "scops", start, config.steps, config.checkpoint_every, fabric)
    sampler = ImageSampler(folder, config.batch_size, config.seed, fabric.global_rank, fabric.world_size)
    for step in range(start, config.steps):
        draws = Draws(config.seed, step, config.batch_size, fabric.global_rank, fabric.world_size)
        batch = sampler.batch(step)
        lesson = prepare_lesson(batch, draws, config, fabric.device)
        features = semantic.of(batch.numbers) if semantic else None
        learned: StepOutput = forward(lesson.images, lesson.warped, features)
        result = ScopsResult(
            learned.logits, learned.warped_logits, lesson.warp, learned.basis, features, lesson.saliency,
            lesson.salient, lesson.images, learned.decoded,
        )  # fmt: skip
        terms = scops_objective(result, config.loss, config.everywhere)
        if learned.ellipses is not None:
            shapes, settled = shapes_of(lesson, learned, learned.ellipses), float(fades_at(step, config).borders)
            terms |= shape_terms(shapes, config.shape, settled, draws.offset())
        set_poly_rate(config, optimiser, step)
        optimiser_step(fabric, forward, stepper, require_finite("scops", step, terms), max_norm=config.max_norm)
        log.add(step, terms)
        if log.due(step) and fabric.is_global_zero:
            if config.calibrate:
                level = calibrated_level(learner.network, sampler)
                learner.network.config = replace(config.network, background_level=level)
            save_checkpoint(config.out / SCOPS, learner.network, None, step + 1, asdict(learner.network.config))
            log.picture("parts", sheet(learner.network, folder, 6), step + 1)
        keep(fabric, log, stop, step, tuple(terms), config.out / LEARNER, learner, optimiser, config.network)
    log.close()
    return learner.network.eval()


def shapes_of(lesson: PerturbedBatch, learned: StepOutput, ellipses: Affine) -> Shapes:
    """Build the input of the shape terms, from both images of every pair."""
    valid = lesson.warp.valid(*lesson.images.shape[-2:])
    return Shapes(
        images=torch.cat([lesson.images, lesson.warped]),
        masks=torch.cat([learned.logits, learned.warped_logits]).softmax(dim=1),
        ellipses=ellipses,
        salient=torch.cat([lesson.salient, lesson.warp.apply(lesson.salient)]),
        known=torch.cat([torch.ones_like(valid), valid]),
        warp=lesson.warp,
    )


def sheet(network: Scops, folder: ImageFolder, columns: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Draw parts on images spread over the collection."""
    training = network.training
    network.eval()
    device, chosen = next(network.parameters()).device, folder.images[spread(len(folder), columns)]
    rule = (network.config.background_level, network.config.peak_floor)
    drawn = contact_sheet(lambda images: read_masks(network.masks(images), *rule), chosen, device)
    network.train(training)
    return drawn


def train(config: ScopsTrainingConfig) -> None:
    """Train on images and write the run folder: network, contact sheet, names to edit."""
    fabric = launch(config.device, config.precision, config.threads)
    if fabric.is_global_zero:
        open_run(config.out, config, config.resume)
    cache = cache_place(config.images, config.cache, config.out)
    with fabric.rank_zero_first():
        folder = ImageFolder.open(
            config.images, config.network.image_size, cache, fit=config.fit, boxes=config.boxes,
            saliency=config.saliency, frames_per_video=config.frames_per_video, subject=config.subject,
        )  # fmt: skip
    if fabric.is_global_zero:
        tell_unusual(folder.failures, folder.notes)
        tqdm.write(f"{len(folder)} images, on {fabric.device}", file=sys.stderr)
    with StopRequest().listening() as stop:
        network = train_scops(config, folder, fabric, stop)
    if fabric.is_global_zero:
        write_png(config.out / "parts.png", sheet(network, folder, 10))
        write_names(config.out / NAMES, config.network.num_parts)
        tell_next(config.out, config.network.num_parts)


def parse_config(args: Sequence[str]) -> ScopsTrainingConfig:
    """Parse the command's flags; see `parse_flags`."""
    return parse_flags(args, ScopsTrainingConfig, __doc__, "train-scops", PRESETS, "fast")


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 with a one-line error, 2 for wrong usage, or 128 + signal if stopped."""
    words = sys.argv[1:] if argv is None else argv
    config = parse_config(words)
    return trainer_exit_code(lambda: train(config), "--debug" in words)


if __name__ == "__main__":
    raise SystemExit(main())
