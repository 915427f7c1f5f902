"""Inputs of the benchmarks: puppet clips of any size and length, and models, untrained if only time counts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from streamparts.backends.loading import load_model
from streamparts.bundle.load import Bundle, check_model
from streamparts.bundle.spec import ModelSpec
from train.drawing.puppet_clips import render_clip, write_clip, write_clips

if TYPE_CHECKING:
    from streamparts.models.student import StudentSize

SEED = 100_500
"""Seed of the timed clip, not used by any training."""
INPUT_SIDE = 128
PEOPLE = Path(__file__).parents[1] / "examples" / "people.mp4"


def puppet_clip(path: Path, num_frames: int, size_hw: tuple[int, int] = (720, 1280)) -> Path:
    write_clip(render_clip("human", SEED, num_frames, size_hw), path)
    return path


def scaled_clip(clip: Path, path: Path, size_hw: tuple[int, int], num_frames: int | None = None) -> Path:
    """`clip` in another size, repeated if `num_frames` exceeds it."""
    height, width = size_hw
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(30), options={"crf": "17", "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for number, frame in enumerate(_again_and_again(clip, num_frames)):
            picture = frame.reformat(width, height, "yuv420p", interpolation="BICUBIC")
            picture.pts, picture.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def people_clip(path: Path, num_frames: int, size_hw: tuple[int, int] = (720, 1280)) -> Path:
    """The example's person on a wide grey image, repeated if `num_frames` exceeds it."""
    height, width = size_hw
    left = (width - height) // 2
    canvas = np.full((height, width, 3), 96, np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(30), options={"crf": "17", "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for number, frame in enumerate(_again_and_again(PEOPLE, num_frames)):
            square = frame.reformat(height, height, "rgb24", interpolation="BICUBIC")
            canvas[:, left : left + height] = square.to_ndarray()
            picture = av.VideoFrame.from_ndarray(canvas, "rgb24")
            picture.pts, picture.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def _again_and_again(clip: Path, num_frames: int | None) -> Iterator[av.VideoFrame]:
    """The frames of the clip, repeated up to `num_frames`."""
    count = 0
    while True:
        with av.open(str(clip)) as container:
            for frame in container.decode(video=0):
                yield frame
                count += 1
                if count == num_frames:
                    return
        if num_frames is None:
            return


def random_student(size: StudentSize, num_parts: int, folder: Path) -> Bundle:
    """The untrained network of that size: it is as slow as a trained one, and returns noise."""
    import torch

    from streamparts.models.readout import ExportedStudent
    from streamparts.models.student import STUDENT_SIZES, Student, StudentConfig

    torch.manual_seed(0)
    config = StudentConfig(num_parts, INPUT_SIDE, **STUDENT_SIZES[size])
    return _exported(ExportedStudent(Student(config)), f"{size}-{num_parts}", "student", vars(config), folder)


def random_scops(num_parts: int, folder: Path) -> Bundle:
    """The form of SCOPS for CPUs, untrained."""
    import torch

    from streamparts.models.readout import ExportedScops
    from streamparts.models.scops import Scops, ScopsConfig

    torch.manual_seed(0)
    config = ScopsConfig(num_parts, INPUT_SIDE, "fast")
    return _exported(ExportedScops(Scops(config)), f"scops-fast-{num_parts}", "scops", vars(config), folder)


def _exported(network: Any, name: str, kind: str, config: dict[str, Any], folder: Path) -> Bundle:
    from export.graph import to_onnx
    from streamparts.models.fuse import fuse_batch_norms

    shape = {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()}
    spec = ModelSpec(
        name=name,
        method="scops" if kind == "scops" else "assembly",
        parts=tuple(f"part{part}" for part in range(config["num_parts"])),
        input_hw=(INPUT_SIDE, INPUT_SIDE),
        network={"kind": kind, **shape},
    )
    data = to_onnx(fuse_batch_norms(network.eval()), spec)
    path = folder / f"{name}.onnx"
    path.write_bytes(data)
    return Bundle(check_model(data), path, hashlib.sha256(data).hexdigest(), data)


def in_int8(model: str, folder: Path, num_clips: int = 8) -> Bundle:
    """The model converted by `export.precision`, calibrated on puppets. Raises RuntimeError if that fails."""
    from export.precision import main

    clips, path = folder / "calibration", folder / "int8.onnx"
    write_clips(clips, "human", num_clips, seed=0, num_frames=32)
    name = load_model(model).path
    if main([str(name), "-o", str(path), "--precision", "int8", "--frames", str(clips), "--force"]):
        raise RuntimeError("export.precision refused the int8 model")
    return load_model(path)
