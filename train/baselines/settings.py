"""Configuration of the baselines' trainer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class BaselineConfig:
    """Configuration of a run, saved as config.json in its folder."""

    clips: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CLIPS")]
    """Folder of video clips of one kind of subject."""
    out: Path
    """Folder of the run: checkpoints, log.jsonl, parts.png, TensorBoard events."""
    method: tyro.conf.Suppress[str] = "co-part"
    """The method; --method sets it with its own defaults."""
    resume: bool = False
    """Continue the run in `out`."""
    steps: int = 3000
    """Optimiser steps."""
    batch_size: int = 4
    """Frame pairs per step and process."""
    learning_rate: float = 2e-4
    """Learning rate of Adam, constant."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Betas of Adam."""
    num_parts: int = 10
    """Number of parts, without the background."""
    image_size: int = 64
    """Side of the network's input in pixels."""
    reach: int = 0
    """0: the two frames of a pair are any two of a clip. Above 0: at most this many frames apart, for methods that
    explain small motions; clips of two frames are such pairs already."""
    subject: str = "auto"
    """How the subject is found, as in train: the clips become crops that follow it. "background" trains on whole
    frames."""
    subject_masks: bool = False
    """Also use the subject's masks, which the method does not have: its background must lie outside of them. Only
    co-part."""
    follow_camera: bool = True
    """With "background": estimate the background also if the camera moves."""
    rotation_degrees: float = 10.0
    """Maximum rotation of a pair; both frames are rotated alike."""
    colour_jitter: float = 0.1
    """Strength of the colour jitter, equal for both frames."""
    features: tuple[str, ...] = ("torchvision",)
    """Source of the perceptual term's features, if the method has one: torchvision, squeezenet, random, or .npz
    files."""
    seed: int = 0
    """Seed of weights, pairs and augmentation; equal seeds on one machine give equal runs."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to train on."""
    precision: Literal["32-true"] = "32-true"
    """Precision of the computation."""
    threads: int = 0
    """CPU threads; 0 for torch's default."""
    cache: Path | None = None
    """Folder of the decoded clips: by default beside them, or in the run folder if that is not writable."""
    checkpoint_every: int = 250
    """Steps between checkpoints, log lines and images."""
