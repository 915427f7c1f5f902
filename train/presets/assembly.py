"""Configuration of the Assembly trainer, and its presets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import tyro

from streamparts.models.assembly import AssemblyConfig
from streamparts.models.assembly_paper import PaperAssemblyConfig
from streamparts.models.student import StudentEncoder, StudentSize

from ..running.quick import Compiling
from ..students.student import StudentLoss
from ..terms.weights import PAPER_WEIGHTS, LossWeights
from .flags import parse_flags

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")


@dataclass(frozen=True)
class TrainingConfig:
    """Configuration of a run, saved as config.json in its folder."""

    clips: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CLIPS")]
    """Folder of video clips of one kind of subject."""
    out: Path
    """Folder of the run: checkpoints, log.jsonl, parts.png, TensorBoard events."""
    resume: bool = False
    """Continue the run in `out`."""
    steps: int = 1500
    """Optimiser steps of the teacher."""
    student_steps: int = 1200
    """Optimiser steps of the student; 0 stops when the teacher's parts are found."""
    batch_size: int = 6
    """Frame pairs per step and process."""
    student_batch_size: int = 12
    """Frames per step and process."""
    neighbours: int = 0
    """Above 0, each target comes with the frames before and after it, up to this many away. Each pixel is then
    explained by the source or by the later frame, whichever shows it, and parts keep their velocity."""
    learning_rate: float = 1e-3
    """Peak learning rate of the teacher's Adam."""
    student_learning_rate: float = 2e-3
    """Peak learning rate of the student's Adam, which decays to zero along half a cosine."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate of the teacher: warm-up, then half a cosine to zero; or constant."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Betas of the teacher's Adam."""
    bootstrap_steps: int = 400
    """Steps until the ellipses' likelihood of the moving pixels has faded out and motion has taken over."""
    gate_steps: int = 200
    """Steps over which the ellipse gate tightens from 1 to `gate`."""
    gate: float = 3.0
    """Final strength of the ellipse gate."""
    warp: Literal["similarity", "paper"] = "similarity"
    """Warp of Eq. 12: a similarity of up to 45 degrees, or any angle and unequal scales as in the paper."""
    merge: bool = True
    """Join slots that move together into one part."""
    subject: str = "auto"
    """How the subject is found. "auto": as by train/subject, by motion and, if the extra "saliency" is installed, by
    saliency; "motion" or "saliency" alone; an .onnx file that masks it; a folder of masks. "background" trains on whole
    frames, and on all that differs from a still background."""
    follow_camera: bool = True
    """With "background": estimate the background also if the camera moves."""
    rotation_degrees: float = 10.0
    """Maximum rotation of a pair; both frames are rotated alike."""
    colour_jitter: float = 0.3
    """Strength of the colour jitter, equal for both frames."""
    hue_jitter: float = 0.0
    """Strength of the jitter of hue, in turns, and of saturation, equal for both frames."""
    seed: int = 0
    """Seed of weights, pairs and augmentation; equal seeds on one machine give equal runs."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to train on."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Precision of the networks; poses and losses are always in float32. The decoder, most of the work, computes in
    bfloat16 if the machine can. A CPU uses bf16-mixed for 16-mixed."""
    compile: Compiling = "off"
    """How the teacher's passes and losses are compiled for a GPU, whose steps are otherwise bound by the launches of a
    thousand kernels. "graphs" replays the same kernels as CUDA graphs; "fused" makes fewer of them first, for which the
    first step takes minutes. If that cannot be done, training prints a line and continues without."""
    threads: int = 0
    """CPU threads; 0 for torch's default."""
    cache: Path | None = None
    """Folder of the decoded clips: by default beside them, or in the run folder if that is not writable."""
    checkpoint_every: int = 250
    """Steps between checkpoints, log lines and images."""
    network: tyro.conf.AvoidSubcommands[AssemblyConfig | PaperAssemblyConfig] = field(
        default_factory=lambda: AssemblyConfig(num_parts=12)
    )
    student_size: StudentSize = "small"
    """Size of the exported network."""
    student_encoder: StudentEncoder = "lite0"
    """Encoder of the exported network: lite0, pretrained on ImageNet, or unet, which learns from scratch."""
    student_pixels: int = 128
    """Side of the exported network's input."""
    features: tuple[str, ...] = ("torchvision",)
    """Source of the perceptual term's features, if it has a weight: torchvision, random, or .npz files."""
    loss: LossWeights = field(default_factory=LossWeights)
    student_loss: StudentLoss = field(default_factory=StudentLoss)


PRESETS: dict[str, tuple[str, dict[str, object]]] = {
    "cpu": ("real clips, about half an hour on two CPU cores (the default)", {}),
    "quick": (
        "a first model in some five minutes",
        {
            "steps": 500,
            "student_steps": 400,
            "batch_size": 4,
            "bootstrap_steps": 150,
            "gate_steps": 75,
            "checkpoint_every": 50,
        },
    ),
    "puppets": (
        "drawn figures before a still background, from scratch; half an hour on two CPU cores",
        {
            "subject": "background",
            "network": AssemblyConfig(),
            "student_encoder": "unet",
            "steps": 4500,
            "student_steps": 2500,
            "bootstrap_steps": 1000,
            "gate_steps": 500,
            "student_loss": StudentLoss(translation=4.0, shape=2.0),
        },
    ),
    "gpu": (
        "twice the resolution and thirteen times the pairs, for one data-centre GPU",
        {
            "network": AssemblyConfig(num_parts=12, image_size=128),
            "compile": "graphs",
            "steps": 12000,
            "student_steps": 6000,
            "batch_size": 32,
            "student_batch_size": 64,
            "bootstrap_steps": 2000,
            "gate_steps": 1000,
        },
    ),
    "paper": (
        "the paper's network, losses and rates, 112 M parameters; for a GPU, days by the paper's own pace",
        {
            "network": PaperAssemblyConfig(),
            "subject": "background",
            "loss": PAPER_WEIGHTS,
            "steps": 200_000,
            "batch_size": 2,
            "learning_rate": 5e-5,
            "schedule": "constant",
            "betas": (0.9, 0.999),
            "gate": 0.0,
            "warp": "paper",
            "colour_jitter": 0.1,
            "hue_jitter": 0.1,
        },
    ),
}
"""Maps names to a description, and the changes of TrainingConfig's defaults."""


def parse_config(args: Sequence[str], doc: str | None = None) -> TrainingConfig:
    """Parse the flags of `streamparts train`; see `parse_flags`."""
    return parse_flags(args, TrainingConfig, doc, "train", PRESETS, "cpu")
