"""Everything that a training run depends on, its presets, and the flags made from both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import tyro

from streamparts.models.assembly import AssemblyConfig
from streamparts.models.assembly_paper import PaperAssemblyConfig
from streamparts.models.student import StudentEncoder, StudentSize

from ..students.student import StudentLoss
from ..terms.objective import PAPER_WEIGHTS, LossWeights
from .flags import parse_flags

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that a run depends on; saved as config.json in its folder."""

    clips: Annotated[Path, tyro.conf.Positional]
    """Folder of video clips of one kind of thing."""
    out: Path
    """Folder of the run: checkpoints, log.jsonl, parts.png, TensorBoard events."""
    resume: bool = False
    """Go on with the run in `out`."""
    steps: int = 1500
    """Optimiser steps of the teacher."""
    student_steps: int = 1200
    """Optimiser steps of the student; 0 stops when the teacher's parts are found."""
    batch_size: int = 6
    """Frame pairs a step and process."""
    student_batch_size: int = 12
    """Frames a step and process."""
    neighbours: int = 0
    """Above 0, frames around the target, up to this many away, make a triplet: each pixel is explained by the source or
    by the frame after, whichever shows it, and parts keep their velocity."""
    learning_rate: float = 1e-3
    """Peak rate of the teacher's Adam."""
    student_learning_rate: float = 2e-3
    """Peak rate of the student's Adam, which falls to zero along half a cosine."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """The teacher's rate: warm-up, then half a cosine down to zero; or always the same."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Of the teacher's Adam."""
    bootstrap_steps: int = 400
    """Steps until the ellipses' likelihood of the moving pixels has faded out and motion has taken over."""
    gate_steps: int = 200
    """Steps over which the ellipse gate tightens from 1 to `gate`."""
    gate: float = 3.0
    """Final strength of the ellipse gate."""
    warp: Literal["similarity", "paper"] = "similarity"
    """How a picture is moved for Eq. 12: by up to 45 degrees, or by any angle and stretched as in the paper."""
    merge: bool = True
    """Slots that move as one become one part."""
    subject: str = "auto"
    """What the parts are looked for on. "auto": the subject that train/subject finds by motion and, where the extra
    "saliency" is installed, by what stands out; "motion" or "saliency" alone; an .onnx file that masks it; a folder of
    masks. "background" takes whole pictures and all that differs from a still background."""
    follow_camera: bool = True
    """With "background": find what lies behind the subject where the camera moves too."""
    rotation_degrees: float = 10.0
    """A pair is turned by up to this much, both frames alike."""
    colour_jitter: float = 0.3
    """Strength of the colour jitter, both frames alike."""
    hue_jitter: float = 0.0
    """Strength of the jitter of hue, in turns, and of saturation, both frames alike."""
    seed: int = 0
    """Draws weights, pairs and augmentation; equal seeds on one machine give equal runs."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Of the networks' arithmetic; poses and losses are in float32 in any case. The decoder, most of the work, computes
    in bfloat16 wherever the machine can. A CPU takes 16-mixed for bf16-mixed."""
    threads: int = 0
    """CPU threads, 0 for torch's choice."""
    cache: Path | None = None
    """Folder of the decoded clips: by default beside them, or in the run folder where they cannot be written to."""
    checkpoint_every: int = 250
    """Steps between checkpoints, log lines and pictures."""
    network: tyro.conf.AvoidSubcommands[AssemblyConfig | PaperAssemblyConfig] = field(
        default_factory=lambda: AssemblyConfig(num_parts=12)
    )
    student_size: StudentSize = "small"
    """The exported network: nano, small or base."""
    student_encoder: StudentEncoder = "lite0"
    """What it begins with: lite0, an encoder that has learned from ImageNet, or unet, which learns from scratch."""
    student_pixels: int = 128
    """Side of the exported network's input."""
    features: tuple[str, ...] = ("torchvision",)
    """Where the perceptual term's features come from, if it has a weight: torchvision, random, or .npz files."""
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
"""Name -> what it costs, and what it changes of TrainingConfig's defaults."""


def parse_config(args: Sequence[str], doc: str | None = None) -> TrainingConfig:
    """Parse the flags of `streamparts train`; see `parse_flags`."""
    return parse_flags(args, TrainingConfig, doc, "train", PRESETS, "cpu")
