"""Train parts on rendered images whose parts are known: of people, hands, dogs, rodents or robot arms.

PICTURES is a folder of `streamparts render-people`; images that appear in it during training are used too. The student
is that of the label-free trainers and is exported like it. Two more heads, used only in training, predict the position
of a pixel on the body and the direction of the chest, which distinguishes left from right.

examples:
  streamparts train-supervised pictures/people --out runs/person
  streamparts train-supervised pictures/people --out runs/person --resume
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import torch
import tyro
from torch import Tensor, nn
from torch.nn import functional as F

from streamparts.errors import ModelError
from streamparts.models.checkpoint import save_checkpoint
from streamparts.models.readout import read_out
from streamparts.models.run_files import NAMES, STUDENT
from streamparts.models.student import LiteUNet, Student, StudentConfig, StudentOutput, student_config

from .bodies.shards import read_shards
from .drawing.png import write_png
from .inputs.negatives import Negatives
from .inputs.rendered import Lessons
from .inputs.unlabelled import Unlabelled
from .judging.sheets import contact_sheet
from .presets.flags import parse_flags
from .pretrained.exported import norms_from, read_student
from .pretrained.lite0 import load_lite0
from .running.loop import anyone, channels_last, launch, ramp, trainer_exit_code
from .running.run_folder import RunLog, Stopped, StopRequest, open_run, require_finite, restore
from .terms.supervised_losses import Predicted, SupervisedLoss, supervised_loss

NORM_PICTURES = 128
"""Number of images whose statistics initialise the norms of an exported model that is trained further."""
LEARNER = "learner.safetensors"
NETWORK = replace(
    student_config(10, 128, "lite0", "small"), feature_channels=56, up_channels=(128, 96, 72), mask_channels=20
)
"""The label-free "small" with a wider upward path, since ten parts of all people need more than one subject's;
the number of parts becomes that of the images."""


@dataclass(frozen=True)
class SupervisedConfig:
    """Configuration of a run, saved as config.json in its folder."""

    images: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PICTURES")]
    """Folder of rendered images, made by `streamparts render-people`."""
    out: Path
    """Folder of the run: checkpoints, log.jsonl, parts.png, names.txt."""
    negatives: tuple[Path, ...] = ()
    """Folders of images without the subject: rendered ones of other kinds, or photos."""
    negative_share: float = 0.1
    """Share of the images taken from --negatives."""
    clips: tuple[Path, ...] = ()
    """Folders of real clips that show the subject, without labels: its masks, found as by `train-subject`, teach where
    a body is, though not which part."""
    clip_share: float = 0.1
    """Share of the images taken from --clips."""
    resume: bool = False
    """Continue the run in `out`; a larger --steps extends it."""
    start: str = ""
    """Initial weights: a bundled model, by name, or an exported .onnx file, instead of ImageNet's weights alone. From a
    network with the same encoder but another shape, only the encoder is taken."""
    steps: int = 4500
    """Optimiser steps."""
    pixels: int = 0
    """Side of the training images, a multiple of 32; 0 for the network's own. A run that starts with smaller images and
    is resumed with its own size learns more in the same time."""
    batch_size: int = 16
    """Images per step."""
    learning_rate: float = 2e-3
    """Learning rate of AdamW, constant until it falls to zero at the end."""
    falling: float = 0.3
    """Share of the steps in which the learning rate falls. To extend a run, resume it before that, with a larger
    --steps."""
    encoder_rate: float = 0.3
    """Learning rate of the pretrained encoder, relative to the rest."""
    average: float = 0.995
    """Decay of the moving average of the weights, which is exported."""
    frozen_stages: int = 6
    """Number of the encoder's first stages that stay frozen, by default all: they were pretrained on real photos, and
    features learned from renderings do not transfer to real video."""
    seed: int = 0
    """Seed of weights, images and augmentation; equal seeds on one machine give equal runs."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to train on."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Precision of the network."""
    threads: int = 0
    """CPU threads; 0 for torch's default."""
    checkpoint_every: int = 100
    """Steps between checkpoints, log lines and images."""
    network: tyro.conf.AvoidSubcommands[StudentConfig] = NETWORK
    """Shape of the student; the number of parts is that of the images."""
    loss: SupervisedLoss = field(default_factory=SupervisedLoss)


class StudentWithHeads(nn.Module):
    """The student with two additional heads, which are not exported."""

    def __init__(self, config: StudentConfig, frozen_stages: int) -> None:
        super().__init__()
        self.student = Student(config)
        self.canonical = nn.Conv2d(config.feature_channels, 3, 1)
        self.frozen_stages = frozen_stages
        self.facing = nn.Linear(self.student.pose.hidden.weight.shape[1] - config.feature_channels, 3)
        if isinstance(self.student.encoder, LiteUNet):
            load_lite0(self.student.encoder.lite0)
            for module in self._frozen():
                module.requires_grad_(False)

    def _frozen(self) -> list[nn.Module]:
        if not isinstance(self.student.encoder, LiteUNet) or not self.frozen_stages:
            return []
        lite0 = self.student.encoder.lite0
        return [lite0.stem, *lite0.stages[: self.frozen_stages]]

    def forward(self, images: Tensor) -> Predicted:
        student = self.student
        features, stem, summary = student.encoder(images)
        fine = student.sharpen(torch.cat([student.lift(features), stem], dim=1))
        logits = F.pixel_shuffle(student.mask(fine), 2)
        return Predicted(
            StudentOutput(logits, student.pose(features, summary)), self.canonical(features), self.facing(summary)
        )

    def groups(self, encoder_rate: float) -> list[dict[str, object]]:
        """Return parameter groups with their learning rates' factors."""
        lite0 = getattr(self.student.encoder, "lite0", nn.Module())
        pretrained = {id(p) for p in lite0.parameters()}
        own = [p for p in self.parameters() if p.requires_grad and id(p) not in pretrained]
        encoder = [p for p in lite0.parameters() if p.requires_grad]
        return [{"params": own, "share": 1.0}, *([{"params": encoder, "share": encoder_rate}] if encoder else [])]


class Average:
    """A moving average of a network's weights, which is exported."""

    def __init__(self, network: Student, config: StudentConfig, keep: float) -> None:
        self.network, self.keep, self.count = Student(config), keep, 0
        self.network.load_state_dict(network.state_dict())
        self.network.eval()

    @torch.no_grad()
    def follow(self, network: Student, step: int) -> None:
        """Update the average after a step; in the first steps, it follows faster."""
        keep = min(self.keep, (step + 1) / (step + 10))
        for own, new in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if own.is_floating_point():
                own.lerp_(new.to(own.device), 1 - keep)
            else:
                own.copy_(new)


def train(config: SupervisedConfig) -> None:
    """Train, or resume a run; write the averaged student and sheets of images."""
    torch.manual_seed(config.seed)
    cv2.setNumThreads(1)
    fabric = launch(config.device, config.precision, config.threads)
    pixels = config.pixels or config.network.image_size
    negatives = Negatives.load(config.negatives)
    clips = Unlabelled.load(config.clips)

    def open_lessons() -> Lessons:
        shards = read_shards(config.images)
        return Lessons(shards, pixels, config.seed, negatives, config.negative_share, clips, config.clip_share)

    lessons = open_lessons()
    config = replace(config, network=replace(config.network, num_parts=len(lessons.parts)))
    learner = channels_last(StudentWithHeads(config.network, config.frozen_stages))
    optimiser = torch.optim.AdamW(learner.groups(config.encoder_rate), lr=1e-3, weight_decay=0.01, fused=True)
    if config.start:
        begin_with(config.start, learner.student, lessons)
    open_run(config.out, config, config.resume)
    start = restore(config.out / LEARNER, learner, optimiser)
    average = Average(learner.student, config.network, config.average)
    restore_average(config.out / STUDENT, average)
    module, optimiser_ = fabric.setup(learner, optimiser)
    log = RunLog(config.out, "supervised", start, config.steps, config.checkpoint_every, fabric)
    write_part_names(config.out / NAMES, lessons.parts)
    with StopRequest().listening() as stop:
        for step in range(start, config.steps):
            truth = lessons.batch(step, config.batch_size)
            rate = config.learning_rate * rate_share(step, config.steps, config.falling)
            for group in optimiser.param_groups:
                group["lr"] = rate * group["share"]
            learner.train()
            terms = supervised_loss(module(truth.images), truth, config.loss)
            loss = require_finite("supervised", step, terms)
            fabric.backward(loss)
            fabric.clip_gradients(module, optimiser_, max_norm=8.0)
            optimiser_.step()
            optimiser_.zero_grad()
            average.follow(learner.student, step)
            log.add(step, terms)
            stopped = anyone(fabric, stop)
            if log.due(step) or stopped:
                save_checkpoint(config.out / LEARNER, learner, optimiser, step + 1, asdict(config.network))
                save_checkpoint(config.out / STUDENT, average.network, None, step + 1, asdict(config.network))
                show(config.out / "parts.png", average.network, lessons)
                lessons = open_lessons()
            if stopped:
                raise Stopped(stopped, step + 1)
    log.close()


def begin_with(model: str, student: Student, lessons: Lessons) -> None:
    """Load the weights of an exported model, or those of its encoder if the rest has another shape. Raises ModelError
    if the encoders differ, too."""
    exported, _ = read_student(model)
    if exported.config == student.config:
        norms_from(exported, lessons.batch(0, NORM_PICTURES).images)
        student.load_state_dict(exported.state_dict())
        return
    theirs, ours = exported.encoder, student.encoder
    if isinstance(theirs, LiteUNet) and isinstance(ours, LiteUNet) and theirs.lite0.blocks == ours.lite0.blocks:
        ours.lite0.load_state_dict(theirs.lite0.state_dict())
        print(f"{model}: only the encoder's weights are used, the rest has another shape", flush=True)
    else:
        raise ModelError(f"{model} has another encoder than the network that is trained: {exported.config}")


def rate_share(step: int, steps: int, falling: float, warmup: int = 100) -> float:
    """Factor of the learning rate: a linear warm-up, constant, then a linear decay over the last `falling` of the
    steps."""
    return min(1.0, (step + 1) / warmup) * (1 - ramp(step / steps, 1 - falling, 1.0))


def restore_average(checkpoint: Path, average: Average) -> None:
    from streamparts.models.checkpoint import load_weights

    if checkpoint.exists():
        load_weights(checkpoint, average.network)


def write_part_names(path: Path, parts: Sequence[str]) -> None:
    """Write the names of the parts, which are known here."""
    if not path.exists():
        path.write_text("\n".join(parts) + "\n", encoding="utf-8")


def show(path: Path, student: Student, lessons: Lessons, columns: int = 12) -> None:
    """Write a contact sheet of degraded images."""
    truth = lessons.batch(-1 % 2**31, columns)
    frames = (truth.images.permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy()
    device = next(student.parameters()).device
    write_png(path, contact_sheet(lambda images: read_out(*student(images)), np.ascontiguousarray(frames), device))


def parse_config(args: Sequence[str]) -> SupervisedConfig:
    """Parse the command's flags; see `parse_flags`."""
    return parse_flags(args, SupervisedConfig, __doc__, "train-supervised")


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 with a one-line error, 2 for wrong usage, or 128 + signal if stopped."""
    words = sys.argv[1:] if argv is None else argv
    config = parse_config(words)
    return trainer_exit_code(lambda: train(config), "--debug" in words)


if __name__ == "__main__":
    sys.exit(main())
