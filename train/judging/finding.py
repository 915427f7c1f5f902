"""Opens a model to evaluate (an exported model, the student or teacher of a run folder, or a feature factorisation) as
one function from an image to parts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from streamparts.arrays import ByteArray
from streamparts.backends.loading import load_model
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.models.run_files import CONFIG, SCOPS, SEGMENTER, STUDENT

from .found import FACTORS, Finder, RawParts


def open_finder(model: str) -> Finder:
    """Open an .onnx file, a bundled model by name, the folder of a training run (of Assembly for its student), the
    teacher's checkpoint in that folder, or a folder of train.dff. Raises ModelError."""
    path = Path(model)
    if (path / FACTORS).is_file():
        from .factors import open_factors

        return open_factors(path)
    if (path / SCOPS).is_file():
        return open_scops(path)
    if (path / SEGMENTER).is_file():
        return open_segmenter(path)
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


def _with_numbers(
    description: dict[str, object], num_parts: int, size: int, run: Callable[[ByteArray], RawParts]
) -> Finder:
    """A network whose parts have numbers for names, and whose input is a square of this side."""
    return Finder(description, tuple(f"part{k}" for k in range(num_parts)), (size, size), run)


def open_student(folder: Path) -> Finder:
    """Load the student of the last checkpoint, finished or not."""
    import torch

    from streamparts.models.checkpoint import read_metadata
    from streamparts.models.readout import read_out
    from streamparts.models.trained import load_student

    checkpoint = folder / STUDENT
    step, _ = read_metadata(checkpoint)
    student = load_student(checkpoint)
    config = student.config

    @torch.inference_mode()
    def run(image: ByteArray) -> RawParts:
        output = student(torch.from_numpy(image[None]).float().permute(0, 3, 1, 2) / 255)
        read = read_out(*output)
        return RawParts(read.labels[0].numpy(), read.affines[0].numpy(), output.logits.softmax(1)[0].numpy())

    description: dict[str, object] = {"name": folder.name, "student_step": step, "student_steps": _wanted_steps(folder)}
    return _with_numbers(description, config.num_parts, config.image_size, run)


def open_scops(folder: Path) -> Finder:
    """Load the SCOPS network of the last checkpoint, finished or not."""
    import torch
    from torch.nn import functional as F

    from streamparts.models.checkpoint import read_metadata
    from streamparts.models.readout import read_masks
    from streamparts.models.scops import part_shares
    from streamparts.models.trained import load_scops

    from ..frames.transforms import to_images

    checkpoint = folder / SCOPS
    step, _ = read_metadata(checkpoint)
    network = load_scops(checkpoint)
    config = network.config

    @torch.inference_mode()
    def run(image: ByteArray) -> RawParts:
        masks = network.masks(to_images(torch.from_numpy(image[None])))
        read = read_masks(masks, config.background_level, config.peak_floor)
        shares = part_shares(masks, config.peak_floor)
        beside = F.pad(shares, (0, 0, 0, 0, 1, 0), value=max(config.background_level, 1e-3))
        judged = (beside / beside.sum(dim=1, keepdim=True))[0]  # soft masks of which the labels are the largest
        return RawParts(read.labels[0].numpy(), read.affines[0].numpy(), judged.numpy())

    description: dict[str, object] = {"name": folder.name, "scops_step": step}
    return _with_numbers(description, config.num_parts, config.image_size, run)


def open_segmenter(folder: Path) -> Finder:
    """Load the network of the last checkpoint of a method in train/baselines, finished or not."""
    import torch

    from streamparts.models.checkpoint import read_metadata
    from streamparts.models.readout import read_largest
    from streamparts.models.segmenters import load_segmenter

    from ..frames.transforms import to_images

    step, _ = read_metadata(folder / SEGMENTER)
    method, network = load_segmenter(folder / SEGMENTER)
    config = network.config

    @torch.inference_mode()
    def run(image: ByteArray) -> RawParts:
        masks = network.masks(to_images(torch.from_numpy(image[None])))
        read = read_largest(masks)
        return RawParts(read.labels[0].numpy(), read.affines[0].numpy(), masks[0].numpy())

    description: dict[str, object] = {"name": folder.name, "method": method, "step": step}
    return _with_numbers(description, config.num_parts, config.image_size, run)


def open_teacher(checkpoint: Path) -> Finder:
    """Load the teacher of a run folder, with its slots joined to the parts found there."""
    import torch

    from streamparts.models.checkpoint import read_metadata
    from streamparts.models.trained import load_teacher, read_groups

    from ..frames.transforms import to_images

    step, _ = read_metadata(checkpoint)
    teacher = load_teacher(checkpoint)
    groups, gate = read_groups(checkpoint)

    @torch.inference_mode()
    def run(image: ByteArray) -> RawParts:
        slot_masks, slots = teacher(to_images(torch.from_numpy(image[None])), gate)
        masks, affines = groups.join_masks(slot_masks)[0], groups.join_poses(slots).matrix()[0]
        return RawParts(masks.argmax(0).byte().numpy(), affines.numpy(), masks.numpy())

    description: dict[str, object] = {"name": f"{checkpoint.parent.name}/{checkpoint.name}", "teacher_step": step}
    return _with_numbers(description, groups.num_parts, teacher.config.image_size, run)


def _wanted_steps(folder: Path) -> object:
    try:
        return json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("student_steps")
    except (OSError, ValueError):
        return None
