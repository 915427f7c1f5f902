"""Export a training run: python -m export.onnx_model runs/x -o x.onnx

The graph takes uint8 RGB at the model's size and gives labels, affines and scores; it is compared with the network
on real frames first, and beyond tolerance nothing is written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import platform
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx
import torch
from torch import nn

import streamparts
from export.parity import Parity, collect_frames, compare
from streamparts.bundle import METADATA_KEY, Bundle, ModelSpec, check_model
from streamparts.errors import ModelError, StreampartsError
from streamparts.models.checkpoint import load_weights, read_config, read_metadata
from streamparts.models.readout import ExportedScops, ExportedStudent
from streamparts.models.scops import Scops, ScopsConfig
from streamparts.models.student import Student, StudentConfig
from streamparts.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES, find_videos

OPSET = 18


@dataclass(frozen=True)
class Trained:
    """What a run folder has to export."""

    network: nn.Module
    """(B, S, S, 3) uint8 RGB -> Readout."""
    method: Literal["assembly", "scops"]
    num_parts: int
    image_size: int
    """S in pixels."""


def load_trained(run: Path) -> Trained:
    """The finished network of a run folder: scops.safetensors, or else a student. Raises ModelError without one."""
    if (run / "scops.safetensors").exists():
        scops = load_scops(run)
        return Trained(ExportedScops(scops).eval(), "scops", scops.config.num_parts, scops.config.image_size)
    student = load_student(run)
    return Trained(ExportedStudent(student).eval(), "assembly", student.config.num_parts, student.config.image_size)


def load_student(run: Path) -> Student:
    """The trained student of a run folder. Raises ModelError without one."""
    checkpoint = run / "student.safetensors"
    require_finished(run, checkpoint, "student_steps")
    return load_weights(checkpoint, Student(read_config(checkpoint, StudentConfig))).eval()


def load_scops(run: Path) -> Scops:
    """The trained SCOPS network of a run folder. Raises ModelError without one."""
    checkpoint = run / "scops.safetensors"
    require_finished(run, checkpoint, "steps")
    return load_weights(checkpoint, Scops(read_config(checkpoint, ScopsConfig))).eval()


def require_finished(run: Path, checkpoint: Path, steps: str) -> None:
    """Raises ModelError unless the checkpoint has as many steps as the entry `steps` of the run's config.json, if it
    is there, asks for."""
    step, _ = read_metadata(checkpoint)
    wanted = json.loads((run / "config.json").read_text()).get(steps, step)
    if step < wanted:
        raise ModelError(f"{run} stopped at step {step} of {wanted}; finish it with --resume first")


def to_onnx(network: nn.Module, spec: ModelSpec) -> bytes:
    """A network from (B, S, S, 3) uint8 to a Readout as an ONNX file, weights and description inside."""
    batch = torch.export.Dim("batch", min=1, max=1024)
    example = torch.zeros(2, *spec.input_hw, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecations, nothing a user can act on
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # nor on a missing torchvision
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            verbose=False,
            dynamic_shapes={"image": {0: batch}},
            input_names=["image"],
            output_names=["labels", "affines", "scores"],
            opset_version=OPSET,
        )
    if program is None:
        raise ModelError("torch gave no ONNX program")
    model = program.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, spec.to_json()
    strip_traces(model)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def strip_traces(model: onnx.ModelProto) -> None:
    """Drop the exporter's stack traces: they name files of this machine and make up half of a small model."""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    del model.graph.metadata_props[:]


def export_run(run: Path, output: Path, frames_from: Sequence[Path], args: argparse.Namespace) -> Parity:
    """Export, compare on real frames, then write. Raises StreampartsError and writes nothing when they differ."""
    trained = load_trained(run)
    spec = ModelSpec(
        name=args.name or output.stem,
        method=trained.method,
        parts=part_names(given_names(args.parts, run), trained.num_parts),
        input_hw=(trained.image_size, trained.image_size),
        description=args.description,
        training=args.training,
        license=args.license,
        metrics=read_metrics(args.metrics),
        versions={
            "streamparts": streamparts.__version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    )
    data = to_onnx(trained.network, spec)
    bundle = Bundle(check_model(data), output, hashlib.sha256(data).hexdigest(), data)
    parity = compare(trained.network, bundle, collect_frames(frames_from, bundle, args.num_frames))
    parity.require()
    partial = output.with_suffix(".tmp")
    partial.write_bytes(data)
    partial.replace(output)
    return parity


def given_names(flag: str, run: Path) -> tuple[str, ...]:
    """The names of --parts, separated by commas, or else those in the run's names.txt, if any."""
    if flag:
        return tuple(name.strip() for name in flag.split(","))
    path = run / "names.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def part_names(given: tuple[str, ...], num_parts: int) -> tuple[str, ...]:
    """The names given, or part0, part1, ... Raises ModelError when their number is wrong."""
    names = given or tuple(f"part{k}" for k in range(num_parts))
    if len(names) != num_parts:
        raise ModelError(f"--parts or names.txt gives {len(names)} names, but the network has {num_parts} parts")
    return names


def read_metrics(path: Path | None) -> dict[str, float]:
    """The numbers at the top level of a JSON file, as benchmarks.accuracy --out leaves them."""
    if path is None:
        return {}
    values = json.loads(path.read_text())
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}


def training_clips(run: Path) -> Path:
    """The folder of clips that a run was trained on."""
    try:
        config = json.loads((run / "config.json").read_text())
        return Path(config["images"] if "images" in config else config["clips"])
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{run} is not the folder of a training run (no readable config.json)") from error


def media_in(folder: Path, num_frames: int) -> list[Path]:
    """The videos below `folder`, or, where it holds pictures alone, that many of them, evenly spread."""
    pictures = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not pictures or any(p.suffix.lower() in VIDEO_SUFFIXES for p in folder.rglob("*")):
        return find_videos(folder)
    return pictures[:: max(1, len(pictures) // num_frames)]


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(prog="python -m export.onnx_model", description=__doc__.split("\n")[0])
    out.add_argument("run", type=Path, help="folder of a finished training run")
    out.add_argument("-o", "--output", type=Path, required=True, help="the .onnx file to write")
    out.add_argument(
        "--frames",
        type=Path,
        help="video or folder to compare on (default: what the run learned from)",
    )
    out.add_argument("--num-frames", type=int, default=32, help="frames to compare on")
    out.add_argument("--name", default="", help="name of the model (default: the file's)")
    out.add_argument(
        "--parts",
        default="",
        help="names of the parts in their order, separated by commas (default: the run's names.txt)",
    )
    out.add_argument("--description", default="", help="what it finds, in a sentence")
    out.add_argument("--training", default="", help="what it was trained on, and how")
    out.add_argument("--license", default="", help="licence of the weights")
    out.add_argument("--metrics", type=Path, help="JSON of measured quality, to be stored with the model")
    out.add_argument("--force", action="store_true", help="replace an existing file")
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, 1 with one line on what is wrong, 2 for wrong usage."""
    args = parser().parse_args(argv)
    try:
        if args.output.exists() and not args.force:
            raise ModelError(f"{args.output} exists; give --force to replace it")
        if not args.output.absolute().parent.is_dir():
            raise ModelError(f"{args.output.parent} is not a folder")
        chosen = args.frames or training_clips(args.run)
        videos = media_in(chosen, args.num_frames) if chosen.is_dir() else [chosen]
        parity = export_run(args.run, args.output, videos, args)
    except (StreampartsError, OSError, ValueError) as error:
        print(f"export: error: {error}", file=sys.stderr)
        return 1
    print(
        f"{args.output}: {args.output.stat().st_size / 1e6:.1f} MB, agrees with the network on "
        f"{parity.num_frames} frames (labels differ on {parity.label_mismatch:.1e} of pixels at worst, "
        f"poses by {parity.pose_error_px:.1e} px, scores by {parity.score_error:.1e})"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
