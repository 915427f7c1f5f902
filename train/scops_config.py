"""Everything that a SCOPS run depends on, and its presets."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from streamparts.models.scops import ScopsConfig
from train.images import Fit
from train.scops_losses import FAST_WEIGHTS, SHAPE_LOSS, ScopsWeights
from train.shape import SHAPE_WEIGHTS, ShapeWeights


@dataclass(frozen=True)
class ScopsTrainingConfig:
    """Everything that a run depends on; saved as config.json in its folder."""

    images: Annotated[Path, tyro.conf.Positional]
    """Folder of pictures, videos or both, of one category of things."""
    out: Path
    """Folder of the run: checkpoints, log.jsonl, parts.png, TensorBoard events."""
    resume: bool = False
    """Go on with the run in `out`."""
    steps: int = 2000
    """Optimiser steps."""
    batch_size: int = 6
    """Pictures a step and process."""
    optimiser: Literal["adam", "sgd"] = "adam"
    """Adam, or SGD with momentum 0.9 and weight decay 5e-4."""
    learning_rate: float = 1e-3
    """Of the backbone at the start; falls by (1 - step / steps)^0.9."""
    head_factor: float = 1.0
    """The head's rate over the backbone's."""
    basis_learning_rate: float = 1e-2
    """Of the part basis, always the same."""
    max_norm: float = 5.0
    """Gradients are clipped to this norm."""
    backbone_weights: str = "scratch"
    """Where the backbone starts: scratch, torchvision, a .npz or a .safetensors file."""
    features: str = "torchvision"
    """Where the semantic features V come from: torchvision, squeezenet, random, or a .npz file."""
    basis: Literal["factorised", "random"] = "random"
    """How the part features w_k of Eq. 4 start: factors of the salient features of the collection, or random as in the
    paper."""
    feature_pixels: int = 256
    """Side to which a picture is scaled for V, a multiple of 16: V has a cell for each 16 of these pixels."""
    fit: Fit = "letterbox"
    """How a picture becomes a square: with black at two sides, or stretched as in the paper."""
    cache: Path | None = None
    """Folder of the prepared pictures and their maps: by default beside the pictures, or in the run folder where they
    cannot be written to."""
    boxes: Path | None = None
    """CSV or JSON file of a box for each picture, which is cut to it."""
    saliency: Path | None = None
    """Folder of saliency maps of another tool; without it they are computed once and kept."""
    subject: str = "auto"
    """How they are computed. "auto": of videos alone, crops that follow the subject as train/subject finds it; of
    pictures, U2-Net-p where the extra "saliency" is installed, else "contrast", robust background detection. Also
    "motion" or "saliency" alone, or an .onnx file that masks the subject."""
    frames_per_video: int = 50
    """Frames taken of each video."""
    calibrate: bool = False
    """Choose the background level by the saliency of the collection; else it is the network's, 0.1 as released."""
    everywhere: bool = False
    """Eq. 3 outside of what a warped picture shows too, as the release has it."""
    rotation_degrees: float = 60.0
    """T_s of Eq. 3 turns a picture by up to this much."""
    zoom: tuple[float, float] = (0.5, 1 / 0.7)
    """T_s scales what is sampled by a factor in this range: 0.5 shows the picture twice as large."""
    settling: tuple[float, float] = (0.5, 0.8)
    """Shares of the steps between which the colours of `shape.appearance` fade in."""
    seed: int = 0
    """Draws weights, pictures and perturbations; equal seeds on one machine give equal runs."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute."""
    precision: Literal["32-true"] = "32-true"
    """Of the arithmetic: splines and centres need float32."""
    threads: int = 0
    """CPU threads, 0 for torch's choice."""
    checkpoint_every: int = 250
    """Steps between checkpoints, log lines and pictures."""
    network: ScopsConfig = field(default_factory=lambda: ScopsConfig(image_size=128))
    loss: ScopsWeights = field(default_factory=ScopsWeights)
    shape: ShapeWeights = field(default_factory=ShapeWeights)


PRESETS: dict[str, tuple[str, dict[str, object]]] = {
    "fast": (
        "SqueezeNet, which streams on a CPU, at 128 px; minutes on two CPU cores (the default)",
        {
            "network": ScopsConfig(image_size=128, backbone="squeezenet"),
            "loss": FAST_WEIGHTS,
            "steps": 1000,
            "learning_rate": 2e-4,
            "head_factor": 5.0,
            "backbone_weights": "torchvision",
            "features": "squeezenet",
            "basis": "factorised",
            "calibrate": True,
        },
    ),
    "shape": (
        "parts told by their shape, where their colours are others in every picture, at 64 px, from scratch",
        {
            "network": ScopsConfig(num_parts=12, image_size=64, peak_floor=0.5),
            "loss": SHAPE_LOSS,
            "shape": SHAPE_WEIGHTS,
            "steps": 3000,
            "rotation_degrees": 30.0,
            "zoom": (0.8, 1.25),
            "settling": (0.4, 0.65),
            "calibrate": True,
        },
    ),
    "paper": (
        "the published network, 24 M parameters, at 256 px with the release's rates; for a GPU",
        {
            "network": ScopsConfig(backbone="resnet50-half"),
            "steps": 100_000,
            "optimiser": "sgd",
            "learning_rate": 1e-5,
            "head_factor": 10.0,
            "backbone_weights": "torchvision",
            "fit": "stretch",
            "everywhere": True,
        },
    ),
}
"""Name -> what it is, and what it changes of ScopsTrainingConfig's defaults."""
