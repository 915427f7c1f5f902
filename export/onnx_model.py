"""Export a training run as a model.

The graph takes uint8 RGB at the model's size and returns labels, affines, scores and evidence. It is first compared
with the network on real frames; if a difference exceeds the tolerance, nothing is written. The sidecar x.onnx.json
describes the model for other tools. A skeleton.json in the run folder becomes x.skeleton.json.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch

import streamparts
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.bundle.sidecar import write_model
from streamparts.bundle.spec import ModelSpec, SubjectSpec, error_line
from streamparts.errors import ModelError
from streamparts.files import write_whole
from streamparts.learning.trainers import exit_code, trainer_parser
from streamparts.models.fuse import fuse_batch_norms
from streamparts.parity.sample_frames import sample_frames, with_odd_frames
from streamparts.tracking.skeleton import Skeleton
from streamparts.tracking.skeleton_file import SUFFIX, load_skeleton

from .graph import to_onnx
from .parity import bundle_of, compare_frames, network_runner, tolerance_of
from .report import require_parity, said
from .trained import Trained, given_names, load_trained, part_names, training_clips


def export_run(run: Path, output: Path, media: Path, args: argparse.Namespace) -> str:
    """Export, compare on real frames, then write. Returns a summary of the comparison. Raises StreampartsError, and
    writes no model, if they differ."""
    trained = load_trained(run, args.teacher, args.evidence)
    spec = describe(trained, run, output, args)
    skeleton = read_skeleton(run, spec.parts)
    data = to_onnx(fuse_batch_norms(trained.network), spec)
    bundle = bundle_of(data, output)
    frames = with_odd_frames(sample_frames(media, spec.input_hw, args.num_frames))
    comparison = compare_frames(network_runner(trained.network), OnnxRuntimeBackend(bundle).run, frames, spec)
    agreement = require_parity(comparison, tolerance_of("fp32"), frames, output, args.report)
    write_model(output, spec, data)
    if skeleton:
        write_whole(output.with_suffix(SUFFIX), skeleton.to_json())
    return said(agreement, tolerance_of("fp32"), frames)


def describe(trained: Trained, run: Path, output: Path, args: argparse.Namespace) -> ModelSpec:
    """Build the description stored in the file. Raises ValueError or ModelError for invalid values."""
    return ModelSpec(
        name=args.name or output.stem,
        method=trained.method,
        parts=part_names(given_names(args.parts, run), trained.num_parts),
        input_hw=(trained.image_size, trained.image_size),
        description=args.description,
        training=args.training,
        license=args.license,
        metrics=read_metrics(args.metrics),
        network=dict(trained.shape),
        versions={
            "streamparts": streamparts.__version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
        subject=read_subject(run),
    )


def read_subject(run: Path) -> SubjectSpec | None:
    """Read the trainer's `subject.json`; None if the run has none. Raises ModelError for an invalid file."""
    path = run / "subject.json"
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=SubjectSpec)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: is not a description of a subject ({error_line(error)}); train again") from error


def read_skeleton(run: Path, parts: tuple[str, ...]) -> Skeleton | None:
    """Read the skeleton that `evaluate-rendered` found in the truth, with the model's names; None if the run has none.
    Raises SkeletonError for an invalid file."""
    path = run / "skeleton.json"
    return msgspec.structs.replace(load_skeleton(path), parts=parts) if path.exists() else None


def read_metrics(path: Path | None) -> dict[str, float]:
    """Read the top-level numbers of a JSON file, as written by benchmarks.accuracy --out."""
    if path is None:
        return {}
    values = json.loads(path.read_text(encoding="utf-8"))
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}


def require_place(output: Path, force: bool) -> None:
    """Raise ModelError unless a model may be written there."""
    if output.exists() and not force:
        raise ModelError(f"{output} exists; give --force to replace it")
    if not output.absolute().parent.is_dir():
        raise ModelError(f"{output.parent} is not a folder")


EXAMPLES = """examples:
  streamparts export runs/mouse -o mouse.onnx
  streamparts export runs/mouse -o mouse.onnx --parts nose,body,tail --license CC-BY-4.0 --report mouse.json
"""


def parser() -> argparse.ArgumentParser:
    out = trainer_parser("export", __doc__ or "", EXAMPLES)
    out.add_argument("run", metavar="RUN", type=Path, help="folder of a finished training run")
    out.add_argument("-o", "--output", type=Path, required=True, help=".onnx file to write")
    out.add_argument("--teacher", action="store_true", help="export the run's Assembly teacher instead of its student")
    out.add_argument(
        "--no-evidence",
        dest="evidence",
        action="store_false",
        help="omit the output `evidence`, mass and peak of each part, which tracking uses",
    )
    out.add_argument(
        "--frames",
        type=Path,
        help="video or folder for the comparison (default: the training clips)",
    )
    out.add_argument("--num-frames", type=int, default=32, help="number of frames to compare (default: %(default)s)")
    out.add_argument("--report", type=Path, help="write the comparison, frame by frame, to this JSON file")
    out.add_argument("--name", default="", help="name of the model (default: the file's)")
    out.add_argument(
        "--parts",
        default="",
        help="names of the parts in order, separated by commas (default: the run's names.txt)",
    )
    out.add_argument("--description", default="", help="what the model finds, in a sentence")
    out.add_argument("--training", default="", help="what it was trained on, and how")
    out.add_argument("--license", default="", help="licence of the weights")
    out.add_argument("--metrics", type=Path, help="JSON file with accuracy figures, to be stored with the model")
    out.add_argument("--force", action="store_true", help="replace an existing file")
    return out


def run(args: argparse.Namespace) -> None:
    """Export the run and print the model's size."""
    require_place(args.output, args.force)
    compared = export_run(args.run, args.output, args.frames or training_clips(args.run), args)
    size = args.output.stat().st_size / 1e6
    print(f"{args.output}: {size:.1f} MB, agrees with the network on {compared}")


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 with a one-line error, or 2 for wrong usage."""
    args = parser().parse_args(argv)
    return exit_code(lambda: run(args), args.debug)


if __name__ == "__main__":
    raise SystemExit(main())
