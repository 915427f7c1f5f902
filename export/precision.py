"""Convert a model to lower precision.

The result is compared with the fp32 model, on frames that were not used for calibration if there are enough. If a
difference exceeds the tolerance, nothing is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.backends.loading import load_model
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.bundle.sidecar import write_model
from streamparts.graph.precision import convert
from streamparts.learning.trainers import exit_code, trainer_parser
from streamparts.parity.sample_frames import FrameSet, sample_frames, with_odd_frames

from .onnx_model import require_place
from .parity import bundle_of, compare_frames, tolerance_of
from .report import problems, require_parity, said

SHARES_KEPT = (0.0, 0.1, 0.5, 0.65)
"""Shares of the convolutions, the first ones, that stay in fp32 in int8: the next one is tried if the model differs."""


def convert_file(args: argparse.Namespace) -> str:
    """Convert, compare, then write. Returns a summary of the comparison. Raises StreampartsError, and writes no model,
    if they differ."""
    tolerance = tolerance_of(args.precision)
    source = load_model(args.model)
    frames = with_odd_frames(sample_frames(args.frames, source.spec.input_hw, 2 * args.num_frames))
    calibration, judged = halves(frames)
    for share_kept in SHARES_KEPT if args.precision == "int8" else SHARES_KEPT[:1]:
        data = convert(source.data, args.precision, calibration, args.target, share_kept)
        bundle = bundle_of(data, args.output)
        comparison = compare_frames(OnnxRuntimeBackend(source).run, OnnxRuntimeBackend(bundle).run, judged, source.spec)
        if not problems(comparison, tolerance, judged):
            break
    agreement = require_parity(comparison, tolerance, judged, args.output, args.report)
    write_model(args.output, bundle.spec, data)
    kept = f"\nthe first {100 * share_kept:.0f} % of the convolutions stay in fp32" if share_kept else ""
    return said(agreement, tolerance, judged) + kept


def halves(frames: FrameSet) -> tuple[ByteArray, FrameSet]:
    """Split the frames: every other real frame for calibration, the rest and the synthetic ones for comparison. A
    single frame serves for both."""
    rows = np.arange(len(frames.names))
    real = rows < frames.num_real
    judged = ~real | (rows % 2 == 1) | (frames.num_real == 1)
    kept = FrameSet(frames.images[judged], tuple(np.array(frames.names)[judged].tolist()), int((judged & real).sum()))
    return frames.images[real & (rows % 2 == 0)], kept


EXAMPLES = """examples:
  streamparts export-precision mouse.onnx -o mouse-int8.onnx --precision int8 --frames clips/mouse
  streamparts export-precision mouse.onnx -o mouse-fp16.onnx --precision fp16 --target tensorrt --frames clips/mouse
"""


def parser() -> argparse.ArgumentParser:
    out = trainer_parser("export-precision", __doc__ or "", EXAMPLES)
    out.add_argument("model", metavar="MODEL", type=Path, help="an .onnx model in fp32, or the name of a bundled one")
    out.add_argument("-o", "--output", type=Path, required=True, help=".onnx file to write")
    out.add_argument(
        "--precision", choices=("fp16", "bf16", "int8"), required=True, help="precision of the computation"
    )
    out.add_argument(
        "--target",
        choices=("cpu", "tensorrt"),
        default="cpu",
        help="target library; int8 has two forms (default: cpu)",
    )
    out.add_argument(
        "--frames",
        type=Path,
        required=True,
        help="video, or folder of videos or images, similar to those of the application",
    )
    out.add_argument(
        "--num-frames",
        type=int,
        default=128,
        help="frames for calibration, and as many others for the comparison (default: %(default)s)",
    )
    out.add_argument("--report", type=Path, help="write the comparison, frame by frame, to this JSON file")
    out.add_argument("--force", action="store_true", help="replace an existing file")
    return out


def run(args: argparse.Namespace) -> None:
    """Convert the model and print its size."""
    require_place(args.output, args.force)
    compared = convert_file(args)
    size = args.output.stat().st_size / 1e6
    print(f"{args.output}: {size:.1f} MB, {args.precision} compared with fp32 on {compared}")


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 with a one-line error, or 2 for wrong usage."""
    args = parser().parse_args(argv)
    if args.num_frames < 1:
        parser().error("--num-frames must be at least 1")
    return exit_code(lambda: run(args), args.debug)


if __name__ == "__main__":
    raise SystemExit(main())
