"""Configuration of a SCOPS run, and its presets."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from streamparts.models.scops import ScopsConfig

from ..inputs.images import Fit
from ..terms.scops_losses import FAST_WEIGHTS, SHAPE_LOSS, ScopsWeights
from ..terms.shape import SHAPE_WEIGHTS, ShapeWeights


@dataclass(frozen=True)
class ScopsTrainingConfig:
    """Configuration of a run, saved as config.json in its folder."""

    images: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")]
    """Folder of images, videos or both, of one category."""
    out: Path
    """Folder of the run: checkpoints, log.jsonl, parts.png, TensorBoard events."""
    resume: bool = False
    """Continue the run in `out`."""
    steps: int = 2000
    """Optimiser steps."""
    batch_size: int = 6
    """Images per step and process."""
    optimiser: Literal["adam", "sgd"] = "adam"
    """Adam, or SGD with momentum 0.9 and weight decay 5e-4."""
    learning_rate: float = 1e-3
    """Learning rate of the backbone at the start; falls by (1 - step / steps)^0.9."""
    head_factor: float = 1.0
    """Learning rate of the head, relative to the backbone's."""
    basis_learning_rate: float = 1e-2
    """Learning rate of the part basis, constant."""
    max_norm: float = 5.0
    """Norm to which gradients are clipped."""
    backbone_weights: str = "scratch"
    """Initial weights of the backbone: scratch, torchvision, a .npz or a .safetensors file."""
    features: str = "torchvision"
    """Source of the semantic features V: torchvision, squeezenet, random, or a .npz file."""
    basis: Literal["factorised", "random"] = "random"
    """Initialisation of the part features w_k of Eq. 4: factors of the salient features of the collection, or random as
    in the paper."""
    feature_pixels: int = 256
    """Side to which an image is scaled for V, a multiple of 16: V has one cell per 16 of these pixels."""
    fit: Fit = "letterbox"
    """How an image becomes square: letterboxed, or stretched as in the paper."""
    cache: Path | None = None
    """Folder of the prepared images and their maps: by default beside the images, or in the run folder if that is not
    writable."""
    boxes: Path | None = None
    """CSV or JSON file with a box for each image, to which it is cropped."""
    saliency: Path | None = None
    """Folder of saliency maps of another tool; by default they are computed once and cached."""
    subject: str = "auto"
    """How saliency is computed. "auto": for videos only, crops that follow the subject as found by train/subject; for
    images, U2-Net-p if the extra "saliency" is installed, else "contrast", robust background detection. Also "motion"
    or "saliency" alone, or an .onnx file that masks the subject."""
    frames_per_video: int = 50
    """Frames used from each video."""
    calibrate: bool = False
    """Choose the background level by the saliency of the collection; otherwise it is the network's, 0.1 as released."""
    everywhere: bool = False
    """Apply Eq. 3 also outside the content of a warped image, as in the release."""
    rotation_degrees: float = 60.0
    """Maximum rotation of an image by T_s in Eq. 3."""
    zoom: tuple[float, float] = (0.5, 1 / 0.7)
    """Range of the scale of T_s's sampling: 0.5 shows the image twice as large."""
    settling: tuple[float, float] = (0.5, 0.8)
    """Shares of the steps between which the colours of `shape.appearance` fade in."""
    seed: int = 0
    """Seed of weights, images and perturbations; equal seeds on one machine give equal runs."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to train on."""
    precision: Literal["32-true"] = "32-true"
    """Precision of the computation: splines and centres need float32."""
    threads: int = 0
    """CPU threads, 0 for torch's choice."""
    checkpoint_every: int = 250
    """Steps between checkpoints, log lines and images."""
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
        "distinguishes parts by shape, for categories with varying colours, at 64 px, from scratch",
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
        "the published network, 24 M parameters, at 256 px with the release's learning rates; for a GPU",
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
"""Maps names to a description, and the changes of ScopsTrainingConfig's defaults."""
