"""Opens a model to evaluate (an exported model, the student or teacher of a run folder, or a feature factorisation) as
one function from an image to parts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from streamparts.arrays import ByteArray, FloatArray, require_shape
from streamparts.backends.loading import load_model
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.data import Frame, Tracks
from streamparts.errors import ModelError
from streamparts.geometry import Letterbox, normalised_grid
from streamparts.sources.rescale import Rescaler
from train.metrics import mask_centers

CERTAIN_BACKGROUND = 0.8
"""Probability above which Gao et al. count a pixel as background, in evaluation only."""
FACTORS = "factors.json"
SCOPS = "scops.safetensors"
"""Files that identify a folder of train.dff and of train.scops."""


class RawParts(NamedTuple):
    """Output of a network, at the size of its input."""

    labels: ByteArray
    """(h, w)"""
    affines: FloatArray
    """(K, 2, 3) canonical -> normalised coordinates."""
    masks: FloatArray | None
    """(1 + K, h, w) probabilities, background first, if the network gives them; exported graphs have only hard labels.
    """


@dataclass(frozen=True)
class Found:
    """The parts of one frame."""

    frame_hw: tuple[int, int]
    labels: ByteArray
    """(h, w) labels of the frame, without letterbox borders, at the model's resolution."""
    affines: FloatArray
    """(K, 2, 3) canonical -> pixels of the frame."""
    masks: FloatArray | None = None
    """(1 + K, h, w) probabilities, background first."""

    def __post_init__(self) -> None:
        if self.masks is not None:
            require_shape("masks", self.masks, (1 + len(self.affines), *self.labels.shape))

    @classmethod
    def of_tracks(cls, tracks: Tracks) -> Found:
        """Convert tracks of the runtime, whether the network saw the whole frame or a crop."""
        hw = (tracks.frame.height, tracks.frame.width)
        return cls(hw, labels_over_frame(tracks.labels, tracks.letterbox, hw), tracks.affines)

    def labels_at_frame(self) -> ByteArray:
        """(H, W) labels at the frame's size."""
        return np.asarray(cv2.resize(self.labels, self.frame_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)

    def hard_centers(self) -> FloatArray:
        """(K, 2) pixels of the frame, from the masks; a missing part is at the frame's centre."""
        centers, _ = mask_centers(self.labels, len(self.affines))
        return np.asarray((centers + 1) * np.array(self.frame_hw[::-1]) / 2, np.float32)

    def soft_centers(self) -> FloatArray | None:
        """(K, 2) pixels of the frame: each soft mask's centre of mass, Eq. 1 of Hung et al. 2019; None without them."""
        if self.masks is None:
            return None
        parts = self.masks[1:].reshape(len(self.affines), -1)
        grid = normalised_grid(*self.labels.shape).reshape(-1, 2)
        centers = parts @ grid / np.maximum(parts.sum(axis=1), np.float32(1e-6))[:, None]
        return np.asarray((centers + 1) * np.array(self.frame_hw[::-1]) / 2, np.float32)

    def foreground(self) -> FloatArray:
        """(H, W) in [0, 1]: the union of all parts, upscaled bilinearly."""
        return self._scaled(self.labels > 0)

    def uncertain_foreground(self) -> FloatArray | None:
        """(H, W) in [0, 1]: all pixels except those with a background probability above CERTAIN_BACKGROUND; None
        without soft masks."""
        if self.masks is None:
            return None
        return self._scaled((self.labels > 0) | (self.masks[0] <= CERTAIN_BACKGROUND))

    def _scaled(self, subject: NDArray[np.bool_]) -> FloatArray:
        scaled = cv2.resize(subject.astype(np.float32), self.frame_hw[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(scaled, np.float32)


def labels_over_frame(labels: ByteArray, box: Letterbox, frame_hw: tuple[int, int]) -> ByteArray:
    """Crop labels at the network's input to the frame: without borders if the network saw the whole frame, otherwise at
    the frame's size, with background outside the region."""
    rows, columns = box.inner_slices
    corners = box.frame_to_model(np.array([[0, 0], frame_hw[::-1]], np.float64))
    if np.allclose(corners, [[columns.start, rows.start], [columns.stop, rows.stop]], atol=1e-3):
        return labels[rows, columns]
    down, across = (np.repeat((np.arange(n) + 0.5)[:, None], 2, axis=1) for n in frame_hw)
    y, x = box.frame_to_model(down)[:, 1], box.frame_to_model(across)[:, 0]
    seen_y, seen_x = (y >= rows.start) & (y < rows.stop), (x >= columns.start) & (x < columns.stop)
    out = np.zeros(frame_hw, np.uint8)
    taken = labels[np.floor(y[seen_y]).astype(int)][:, np.floor(x[seen_x]).astype(int)]
    out[np.ix_(seen_y, seen_x)] = taken
    return out


@dataclass(frozen=True)
class Finder:
    """A network ready to run."""

    description: dict[str, object]
    """Description for the report."""
    part_names: tuple[str, ...]
    input_hw: tuple[int, int]
    run: Callable[[ByteArray], RawParts]
    """Runs an image of the input's size."""

    def __call__(self, image: ByteArray) -> Found:
        """Find the parts of an (H, W, 3) RGB image of any size, letterboxed as in the runtime."""
        hw = height, width = image.shape[:2]
        box = Letterbox.fit(hw, self.input_hw)
        frame = Frame(0, 0, Fraction(1), image, 0, height, width, decoded_at=0.0)
        raw = self.run(box.pad(Rescaler().rgb(frame, box.inner_hw)))
        masks = None if raw.masks is None else raw.masks[:, *box.inner_slices]
        return Found(hw, raw.labels[box.inner_slices], box.affines_to_frame(raw.affines), masks)


def open_finder(model: str) -> Finder:
    """Open an .onnx file, a bundled model by name, the folder of a training run (of Assembly for its student), the
    teacher's checkpoint in that folder, or a folder of train.dff. Raises ModelError."""
    path = Path(model)
    if (path / FACTORS).is_file():
        from train.dff import open_factors

        return open_factors(path)
    if (path / SCOPS).is_file():
        return open_scops(path)
    if path.is_dir():
        return open_student(path)
    return open_teacher(path) if path.suffix == ".safetensors" else open_onnx(model)


def open_onnx(model: str) -> Finder:
    bundle = load_model(model)
    backend = OnnxRuntimeBackend(bundle)

    def run(image: ByteArray) -> RawParts:
        labels, affines, *_ = backend.run(image[None])
        return RawParts(labels[0], affines[0], None)

    description: dict[str, object] = {"name": bundle.spec.name, "sha256": bundle.sha256}
    return Finder(description, bundle.spec.parts, bundle.spec.input_hw, run)


def open_student(folder: Path) -> Finder:
    """Load the student of the last checkpoint, finished or not."""
    import torch

    from streamparts.models.checkpoint import load_weights, read_config, read_metadata
    from streamparts.models.readout import read_out
    from streamparts.models.student import Student, StudentConfig

    checkpoint = folder / "student.safetensors"
    step, _ = read_metadata(checkpoint)
    config = read_config(checkpoint, StudentConfig)
    student = load_weights(checkpoint, Student(config)).eval()

    @torch.inference_mode()
    def run(image: ByteArray) -> RawParts:
        output = student(torch.from_numpy(image[None]).float().permute(0, 3, 1, 2) / 255)
        read = read_out(*output)
        return RawParts(read.labels[0].numpy(), read.affines[0].numpy(), output.logits.softmax(1)[0].numpy())

    description: dict[str, object] = {"name": folder.name, "student_step": step, "student_steps": _wanted_steps(folder)}
    names = tuple(f"part{k}" for k in range(config.num_parts))
    return Finder(description, names, (config.image_size, config.image_size), run)


def open_scops(folder: Path) -> Finder:
    """Load the SCOPS network of the last checkpoint, finished or not."""
    import torch
    from torch.nn import functional as F

    from streamparts.models.checkpoint import load_weights, read_config, read_metadata
    from streamparts.models.readout import read_masks
    from streamparts.models.scops import Scops, ScopsConfig, part_shares
    from train.augment import to_images

    checkpoint = folder / SCOPS
    step, _ = read_metadata(checkpoint)
    config = read_config(checkpoint, ScopsConfig)
    network = load_weights(checkpoint, Scops(config)).eval()

    @torch.inference_mode()
    def run(image: ByteArray) -> RawParts:
        masks = network.masks(to_images(torch.from_numpy(image[None])))
        read = read_masks(masks, config.background_level, config.peak_floor)
        shares = part_shares(masks, config.peak_floor)
        beside = F.pad(shares, (0, 0, 0, 0, 1, 0), value=max(config.background_level, 1e-3))
        judged = (beside / beside.sum(dim=1, keepdim=True))[0]  # soft masks of which the labels are the largest
        return RawParts(read.labels[0].numpy(), read.affines[0].numpy(), judged.numpy())

    description: dict[str, object] = {"name": folder.name, "scops_step": step}
    names = tuple(f"part{k}" for k in range(config.num_parts))
    return Finder(description, names, (config.image_size, config.image_size), run)


def open_teacher(checkpoint: Path) -> Finder:
    """Load the teacher of a run folder, with its slots joined to the parts found there."""
    import torch

    from streamparts.models.checkpoint import read_metadata
    from streamparts.models.groups import PartGroups
    from streamparts.models.teacher import load_teacher
    from train.assembly import PARTS
    from train.augment import to_images

    step, _ = read_metadata(checkpoint)
    teacher = load_teacher(checkpoint)
    try:
        groups = PartGroups.from_json((checkpoint.parent / PARTS).read_text(encoding="utf-8"))
        gate = float(json.loads((checkpoint.parent / "config.json").read_text(encoding="utf-8"))["gate"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{checkpoint}: {PARTS} and config.json of its run are missing beside it ({error})") from error

    @torch.inference_mode()
    def run(image: ByteArray) -> RawParts:
        slot_masks, slots = teacher(to_images(torch.from_numpy(image[None])), gate)
        masks, affines = groups.join_masks(slot_masks)[0], groups.join_poses(slots).matrix()[0]
        return RawParts(masks.argmax(0).byte().numpy(), affines.numpy(), masks.numpy())

    description: dict[str, object] = {"name": f"{checkpoint.parent.name}/{checkpoint.name}", "teacher_step": step}
    names, side = tuple(f"part{k}" for k in range(groups.num_parts)), teacher.config.image_size
    return Finder(description, names, (side, side), run)


def _wanted_steps(folder: Path) -> object:
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8")).get("student_steps")
    except (OSError, ValueError):
        return None
