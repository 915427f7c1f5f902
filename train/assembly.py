"""Train parts on raw clips, without labels.

The teacher (Assembly) discovers the parts; then the student learns to predict them in one pass. Only the student is
exported. With several processes, each takes --batch-size pairs per step: torchrun --nproc-per-node N -m streamparts
train CLIPS ...

examples:
  streamparts train clips/mouse --out runs/mouse
  streamparts train clips/mouse --out runs/mouse --resume
  streamparts train clips/mouse --out runs/mouse-large --preset gpu --network.num-parts 8
"""

# The losses are in terms/losses.py and weighed in terms/objective.py, the student's in students/student.py; the
# networks are in streamparts/models.

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from lightning_fabric import Fabric
from tqdm import tqdm

from streamparts.errors import StreampartsError
from streamparts.models.assembly import PartNetwork
from streamparts.models.checkpoint import save_checkpoint
from streamparts.models.groups import PartGroups
from streamparts.models.run_files import NAMES, PARTS, STUDENT, TEACHER
from streamparts.models.student import LiteUNet, Student, student_config
from streamparts.models.trained import build_teacher

from .frames.cache import cache_place
from .frames.clips import ClipFolder
from .frames.transforms import Draws, random_similarity
from .inputs.anchors import Anchors, anchored
from .inputs.augment import prepare_pair, subject_share
from .inputs.close_folder import BACKGROUND, open_close_ups
from .inputs.pairs import PairSampler
from .inputs.resident import resident
from .judging.sheets import reconstruction_sheet, write_contact_sheet, write_names
from .presets.assembly import TrainingConfig, parse_config
from .presets.schedules import fades_at
from .pretrained.lite0 import load_lite0
from .pretrained.perceptual import load_perceptual
from .running.loop import (
    adam,
    channels_last,
    cosine_rate,
    keep,
    launch,
    optimiser_step,
    set_rate,
    tell_next,
    tell_unusual,
    trainer_exit_code,
)
from .running.quick import checks_at, compiled, drawn_ahead
from .running.run_folder import RunLog, StopRequest, open_run, require_finite, restore
from .students.close_presence import SUBJECT, write_subject
from .students.level import calibrate_masks
from .students.merge import find_parts
from .students.student import (
    ENCODER_SHARE,
    STUDENT_NORM,
    Answers,
    prepare_lesson,
    prepare_view_lesson,
    student_loss,
)
from .terms import losses
from .terms.pair_forward import paper_transform
from .terms.pair_losses import PairLosses, on_device


def train_teacher(
    config: TrainingConfig, folder: ClipFolder, fabric: Fabric, stop: StopRequest, anchors: Anchors | None = None
) -> PartNetwork:
    """Discover the parts: reconstruct one frame of a pair from the parts of the other."""
    torch.manual_seed(config.seed)
    network, emphasis = channels_last(build_teacher(config.network)), losses.emphasis(*subject_share(folder))
    features = load_perceptual(*config.features).to(fabric.device) if config.loss.perceptual else None
    optimiser = adam(network, config.learning_rate, config.betas, fabric)
    start = restore(config.out / TEACHER, network, optimiser)
    losses_of = PairLosses(network, config.loss, features, emphasis)
    forward, stepper = fabric.setup(compiled(losses_of, config.compile), optimiser)
    log = RunLog(config.out, "teacher", start, config.steps, config.checkpoint_every, fabric)
    sampler = PairSampler(
        folder, config.batch_size, config.seed, fabric.global_rank, fabric.world_size, config.neighbours,
        resident(folder, fabric.device),
    )  # fmt: skip
    for step, batch in drawn_ahead(sampler.batch, start, config.steps, fabric.device):
        draws = Draws(config.seed, step, config.batch_size, fabric.global_rank, fabric.world_size)
        pair = prepare_pair(
            batch, fabric.device, draws, config.rotation_degrees, config.colour_jitter, config.hue_jitter
        )
        pair = anchored(pair, batch, anchors)
        transform = (
            paper_transform(draws) if config.warp == "paper" else random_similarity(draws, 45, (0.8, 1.1), 0.1)
        ).to(fabric.device)
        numbers = fades_at(step, config), draws.offset()
        result, terms = forward(
            pair, transform, *(numbers if config.compile == "off" else on_device(*numbers, fabric.device))
        )
        if config.schedule == "cosine":
            set_rate(optimiser, cosine_rate(step, config.steps, config.learning_rate))
        check = checks_at(step, log.due(step), fabric.device)
        optimiser_step(fabric, forward, stepper, require_finite("teacher", step, terms, check))
        log.add(step, terms)
        if log.due(step):
            log.picture("reconstruction", reconstruction_sheet(pair, result), step + 1)
        keep(fabric, log, stop, step, ("source", "target"), config.out / TEACHER, network, optimiser, config.network)
    log.close()
    network.eval()
    return network


def train_student(
    config: TrainingConfig,
    folder: ClipFolder,
    taught: ClipFolder,
    teacher: PartNetwork,
    groups: PartGroups,
    fabric: Fabric,
    stop: StopRequest,
) -> Student:
    """Distil: the student predicts in one pass what the teacher predicts in K + 1. `taught` has the frames of `folder`
    at the teacher's size."""
    torch.manual_seed(config.seed)
    shape = student_config(groups.num_parts, config.student_pixels, config.student_encoder, config.student_size)
    student = Student(shape)
    pretrained = student.encoder.lite0 if isinstance(student.encoder, LiteUNet) else None
    if pretrained:
        load_lite0(pretrained)
    network, emphasis = channels_last(student), losses.emphasis(*subject_share(folder))
    optimiser = adam(network, config.student_learning_rate, (0.9, 0.99), fabric, pretrained, ENCODER_SHARE)
    start = restore(config.out / STUDENT, network, optimiser)
    forward, stepper = fabric.setup(network, optimiser)
    steps = config.student_steps
    log = RunLog(config.out, "student", start, steps, config.checkpoint_every, fabric)
    batch_size, seed = config.student_batch_size, config.seed + 1
    sampler = PairSampler(folder, batch_size, seed, fabric.global_rank, fabric.world_size)
    close = folder.clips[0].close_up is not None
    answers = Answers(teacher, groups, config.gate, taught if close else folder, steps * batch_size * fabric.world_size)
    prepare = prepare_view_lesson if close else prepare_lesson
    for step, frames in drawn_ahead(sampler.frames, start, steps, fabric.device):
        draws = Draws(seed, step, batch_size, fabric.global_rank, fabric.world_size)
        lesson = prepare(frames, answers, draws)
        terms = student_loss(forward(lesson.images), lesson, config.student_loss, emphasis)
        set_rate(optimiser, cosine_rate(step, steps, config.student_learning_rate))
        loss = require_finite("student", step, terms, checks_at(step, log.due(step), fabric.device))
        optimiser_step(fabric, forward, stepper, loss, max_norm=STUDENT_NORM if close else 1.0)
        log.add(step, terms)
        keep(fabric, log, stop, step, tuple(terms), config.out / STUDENT, network, optimiser, shape)
    log.close()
    network.eval()
    if close and start < steps:
        calibrate_masks(network, folder, answers)
        if fabric.is_global_zero:
            save_checkpoint(config.out / STUDENT, network, optimiser, steps, asdict(shape))
    return network


def train(config: TrainingConfig) -> None:
    """Clips in, run folder out: teacher, parts, student, contact sheet."""
    fabric = launch(config.device, config.precision, config.threads)
    if fabric.is_global_zero:
        open_run(config.out, config, config.resume)
    cache = cache_place(config.clips, config.cache, config.out)
    with fabric.rank_zero_first():
        small, large = open_clips(config, cache)
    if fabric.is_global_zero:
        tell_unusual(small.failures, small.notes)
        tqdm.write(f"{len(small.clips)} clips, {small.num_frames} frames, on {fabric.device}", file=sys.stderr)
    with StopRequest().listening() as stop:
        anchors = open_anchors(config, large, fabric.device)
        teacher = train_teacher(config, small, fabric, stop, anchors)
        with fabric.rank_zero_first():
            groups = load_or_find_parts(config, teacher, small)
        if not config.student_steps:
            return
        student = train_student(config, large, small, teacher, groups, fabric, stop)
    if fabric.is_global_zero:
        if large.clips[0].close_up:
            write_subject(config.out / SUBJECT, student, large, large.subject, config.seed)
        write_contact_sheet(config.out / "parts.png", student, large)
        tell_next(config.out, groups.num_parts)


def open_clips(config: TrainingConfig, cache: Path) -> tuple[ClipFolder, ClipFolder]:
    """The clips as the teacher and as the student take them."""
    sides = (config.network.image_size, config.student_pixels)
    if config.subject == BACKGROUND:
        small, large = (
            ClipFolder.open(config.clips, side, cache, follow_camera=config.follow_camera) for side in sides
        )
        return small, large
    return open_close_ups(config.clips, config.subject, *sides, cache=cache)


def open_anchors(config: TrainingConfig, large: ClipFolder, device: torch.device) -> Anchors | None:
    """Open the anchors, to which the slots are drawn; None for whole images, and if they have no weight."""
    if not large.clips[0].close_up or not config.loss.anchors:
        return None
    anchors = Anchors(large, config.network.num_parts, config.seed, device)
    tqdm.write(f"anchors: {anchors.words}", file=sys.stderr)
    return anchors


def load_or_find_parts(config: TrainingConfig, teacher: PartNetwork, folder: ClipFolder) -> PartGroups:
    """The grouping of slots into parts, kept beside the checkpoints."""
    path = config.out / PARTS
    if path.exists():
        return PartGroups.from_json(path.read_text(encoding="utf-8"))
    groups = find_parts(teacher, folder, config.gate, merge=config.merge)
    if not groups.num_parts:
        raise StreampartsError("no part found: nothing moves in these clips, or training was too short")
    path.write_text(groups.to_json(indent=2) + "\n", encoding="utf-8")
    write_names(config.out / NAMES, groups.num_parts, groups.near)
    return groups


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 with a one-line error, 2 for wrong usage, or 128 + signal if stopped."""
    words = sys.argv[1:] if argv is None else argv
    config = parse_config(words, __doc__)
    return trainer_exit_code(lambda: train(config), "--debug" in words)


if __name__ == "__main__":
    raise SystemExit(main())
