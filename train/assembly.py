"""Learn parts from raw clips: python -m train.assembly CLIPS_FOLDER --out runs/x

Two loops that read top to bottom: the teacher (Assembly) discovers the parts, then the student learns to give them
in one pass. What they minimise is in objective.py, losses.py and student.py, the networks in streamparts/models.
"""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, TypeVar

import torch
import tyro
from torch import Tensor
from tqdm import tqdm

from streamparts.errors import StreampartsError, VideoError
from streamparts.models.assembly import Assembly, AssemblyConfig
from streamparts.models.checkpoint import load_optimiser, load_weights, read_metadata, save_checkpoint
from streamparts.models.student import Student, StudentConfig
from train.augment import prepare_pair, random_similarity
from train.clips import ClipFolder, PairSampler
from train.merge import PartGroups, find_parts
from train.objective import Fades, LossWeights, forward_pair, objective
from train.report import write_contact_sheet
from train.student import StudentLoss, prepare_lesson, student_loss

Module = TypeVar("Module", bound=torch.nn.Module)

TEACHER, STUDENT, PARTS, CONFIG = "teacher.safetensors", "student.safetensors", "parts.json", "config.json"


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that a run depends on; saved as config.json in its folder."""

    clips: Annotated[Path, tyro.conf.Positional]
    """Folder of video clips of one kind of thing."""
    out: Path
    """Folder of the run: checkpoints, log.jsonl, parts.png."""
    resume: bool = False
    """Go on with the run in `out`."""
    steps: int = 5000
    """Optimiser steps of the teacher."""
    student_steps: int = 2500
    """Optimiser steps of the student."""
    batch_size: int = 6
    """Frame pairs a step."""
    learning_rate: float = 1e-3
    """Peak rate of Adam; half a cosine down to zero."""
    bootstrap_steps: int = 1000
    """Steps until the ellipses' likelihood of the moving pixels has faded out and motion has taken over."""
    gate_steps: int = 500
    """Steps over which the ellipse gate tightens from 1 to `gate`."""
    gate: float = 3.0
    """Final strength of the ellipse gate."""
    rotation_degrees: float = 10.0
    """A pair is turned by up to this much, both frames alike."""
    colour_jitter: float = 0.3
    """Strength of the colour jitter, both frames alike."""
    seed: int = 0
    """Draws weights, pairs and augmentation; equal seeds on one machine give equal runs."""
    device: str = "auto"
    """"cpu", "cuda" or "auto"."""
    threads: int = 0
    """CPU threads, 0 for torch's choice."""
    checkpoint_every: int = 250
    """Steps between checkpoints and log lines."""
    network: AssemblyConfig = field(default_factory=AssemblyConfig)
    student_size: int = 128
    """Side of the exported network's input in pixels."""
    loss: LossWeights = field(default_factory=LossWeights)
    student_loss: StudentLoss = field(default_factory=StudentLoss)


def run_device(name: str) -> torch.device:
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def generator_for(seed: int, step: int) -> torch.Generator:
    """Random numbers of one step, the same after a resume."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


class RunLog:
    """Means of the loss terms, shown in the progress bar and appended to log.jsonl."""

    def __init__(self, path: Path, stage: str, start: int, steps: int, every: int) -> None:
        self.path, self.stage, self.every = path, stage, every
        self.bar = tqdm(desc=stage, initial=start, total=steps, unit="step", mininterval=1.0, disable=None)
        self.sums: dict[str, float] = {}
        self.count, self.began = 0, time.monotonic()

    def add(self, step: int, terms: dict[str, Tensor]) -> None:
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())
        self.count += 1
        self.bar.update()
        if (step + 1) % self.every == 0 or step + 1 == self.bar.total:
            self._write(step + 1)

    def _write(self, step: int) -> None:
        means = {name: round(value / self.count, 5) for name, value in self.sums.items()}
        self.bar.set_postfix(loss=round(sum(means.values()), 3))
        seconds = round(time.monotonic() - self.began, 1)
        with self.path.open("a") as file:
            file.write(json.dumps({"stage": self.stage, "step": step, "seconds": seconds, **means}) + "\n")
        self.sums, self.count = {}, 0

    def close(self) -> None:
        self.bar.close()


def train_teacher(config: TrainingConfig, folder: ClipFolder, device: torch.device) -> Assembly:
    """Discover the parts: reconstruct one frame of a pair from the parts of the other."""
    torch.manual_seed(config.seed)
    network = channels_last(Assembly(config.network).to(device))
    optimiser = torch.optim.Adam(network.parameters(), config.learning_rate, betas=(0.9, 0.99))
    checkpoint = config.out / TEACHER
    start = restore(checkpoint, network, optimiser)
    log = RunLog(config.out / "log.jsonl", "teacher", start, config.steps, config.checkpoint_every)
    sampler = PairSampler(folder, config.batch_size, config.seed)
    for step in range(start, config.steps):
        generator = generator_for(config.seed, step)
        pair = prepare_pair(sampler.batch(step), device, generator, config.rotation_degrees, config.colour_jitter)
        transform = random_similarity(config.batch_size, 45, (0.8, 1.1), 0.1, generator).to(device)
        gate = 1 + (config.gate - 1) * min(1.0, step / config.gate_steps)
        age = step / config.bootstrap_steps
        fades = Fades(bootstrap=1 - ramp(age, 0.5, 1.0), motion=ramp(age, 0.0, 1.0), borders=ramp(age, 1.5, 2.5))
        offset = float(torch.rand((), generator=generator))
        terms = objective(forward_pair(network, pair, gate, transform), pair, config.loss, fades, offset)
        descend(network, optimiser, terms, cosine_rate(step, config.steps, config.learning_rate))
        log.add(step, terms)
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            save_checkpoint(checkpoint, network, optimiser, step + 1, asdict(config.network))
    log.close()
    network.eval()
    return network


def ramp(value: float, start: float, end: float) -> float:
    """0 up to `start`, 1 from `end` on, straight between."""
    return min(1.0, max(0.0, (value - start) / (end - start)))


def cosine_rate(step: int, steps: int, peak: float, warmup: int = 100) -> float:
    """Learning rate: linear warm-up, then a half cosine down to zero."""
    return peak * min(1.0, (step + 1) / warmup) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, step / steps)))


def train_student(
    config: TrainingConfig, folder: ClipFolder, teacher: Assembly, groups: PartGroups, device: torch.device
) -> Student:
    """Distil: one pass gives what the teacher gives in K + 1."""
    torch.manual_seed(config.seed)
    network = Student(StudentConfig(groups.num_parts, config.student_size))
    network = channels_last(network.to(device))
    optimiser = torch.optim.Adam(network.parameters(), 2 * config.learning_rate, betas=(0.9, 0.99))
    checkpoint = config.out / STUDENT
    start = restore(checkpoint, network, optimiser)
    log = RunLog(config.out / "log.jsonl", "student", start, config.student_steps, config.checkpoint_every)
    sampler = PairSampler(folder, 2 * config.batch_size, config.seed + 1)
    for step in range(start, config.student_steps):
        generator = generator_for(config.seed + 1, step)
        lesson = prepare_lesson(sampler.batch(step), teacher, groups, config.gate, generator)
        terms = student_loss(network(lesson.images), lesson, config.student_loss)
        descend(network, optimiser, terms, cosine_rate(step, config.student_steps, 2 * config.learning_rate))
        log.add(step, terms)
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.student_steps:
            save_checkpoint(checkpoint, network, optimiser, step + 1, asdict(network.config))
    log.close()
    network.eval()
    return network


def channels_last(network: Module) -> Module:
    """The memory layout in which convolutions on a CPU take half the time."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def restore(checkpoint: Path, network: torch.nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Fill both from `checkpoint` if it exists; the step to go on with."""
    if not checkpoint.exists():
        return 0
    load_weights(checkpoint, network)
    load_optimiser(checkpoint, optimiser)
    return read_metadata(checkpoint)[0]


def descend(network: torch.nn.Module, optimiser: torch.optim.Optimizer, terms: dict[str, Tensor], rate: float) -> None:
    """One optimiser step down the sum of the terms, gradients clipped to norm 1."""
    loss = torch.stack(list(terms.values())).sum()
    if not torch.isfinite(loss):
        raise StreampartsError(f"the loss is {loss.item()}; try a lower --learning-rate")
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()


def open_run(config: TrainingConfig) -> None:
    """Make the run's folder; refuse to mix two runs."""
    saved = config.out / CONFIG
    wanted = json.dumps(asdict(config), indent=2, default=str)
    if saved.exists() and not config.resume:
        raise StreampartsError(f"{config.out} holds a run; go on with --resume or choose another --out")
    config.out.mkdir(parents=True, exist_ok=True)
    saved.write_text(wanted + "\n")


def train(config: TrainingConfig) -> None:
    """Clips in, run folder out: teacher, parts, student, contact sheet."""
    if config.threads:
        torch.set_num_threads(config.threads)
    device = run_device(config.device)
    open_run(config)
    small = ClipFolder.open(config.clips, config.network.image_size)
    large = ClipFolder.open(config.clips, config.student_size)
    for failure in small.failures:
        tqdm.write(f"skipped: {failure}", file=sys.stderr)
    tqdm.write(f"{len(small.clips)} clips, {small.num_frames} frames, on {device}", file=sys.stderr)
    teacher = train_teacher(config, small, device)
    groups = load_or_find_parts(config, teacher, small)
    student = train_student(config, large, teacher, groups, device)
    write_contact_sheet(config.out / "parts.png", student, large)
    tqdm.write(
        f"{groups.num_parts} parts; look at {config.out / 'parts.png'}, then: "
        f"python -m export.onnx_model {config.out} -o {config.out.name}.onnx",
        file=sys.stderr,
    )


def load_or_find_parts(config: TrainingConfig, teacher: Assembly, folder: ClipFolder) -> PartGroups:
    """The grouping of slots into parts, kept beside the checkpoints."""
    path = config.out / PARTS
    if path.exists():
        return PartGroups(**json.loads(path.read_text()))
    groups = find_parts(teacher, folder, config.gate)
    if not groups.num_parts:
        raise StreampartsError("no part found: nothing moves in these clips, or training was too short")
    path.write_text(json.dumps(asdict(groups), indent=2) + "\n")
    return groups


def main() -> int:
    config = tyro.cli(TrainingConfig, description=__doc__, prog="python -m train.assembly")
    try:
        train(config)
    except (StreampartsError, VideoError) as error:
        print(f"train.assembly: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nstopped; go on with --resume --out {config.out}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
