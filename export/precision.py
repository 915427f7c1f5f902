"""Convert a model to lower precision: python -m export.precision x.onnx -o y.onnx --precision int8 --frames CLIPS

The result is compared with the fp32 model, on frames that were not used for calibration if there are enough. If a
difference exceeds the tolerance (export/parity.py), nothing is written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from streamparts.arrays import ByteArray
from streamparts.backends.loading import load_model
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.bundle.sidecar import write_model
from streamparts.errors import StreampartsError
from streamparts.graph.precision import convert
from streamparts.parity.sample_frames import FrameSet, sample_frames, with_odd_frames

from .onnx_model import require_place
from .parity import bundle_of, compare_frames, tolerance_of
from .report import require_parity, said


def convert_file(args: argparse.Namespace) -> str:
    """Convert, compare, then write. Returns a summary of the comparison. Raises StreampartsError, and writes no model,
    if they differ."""
    tolerance = tolerance_of(args.precision)
    source = load_model(args.model)
    frames = with_odd_frames(sample_frames(args.frames, source.spec.input_hw, 2 * args.num_frames))
    calibration, judged = halves(frames)
    data = convert(source.data, args.precision, calibration, args.target)
    bundle = bundle_of(data, args.output)
    comparison = compare_frames(OnnxRuntimeBackend(source).run, OnnxRuntimeBackend(bundle).run, judged, source.spec)
    agreement = require_parity(comparison, tolerance, judged, args.output, args.report)
    write_model(args.output, bundle.spec, data)
    return said(agreement, tolerance, judged)


def halves(frames: FrameSet) -> tuple[ByteArray, FrameSet]:
    """Split the frames: every other real frame for calibration, the rest and the synthetic ones for comparison. A
    single frame serves for both."""
    rows = np.arange(len(frames.names))
    real = rows < frames.num_real
    judged = ~real | (rows % 2 == 1) | (frames.num_real == 1)
    kept = FrameSet(frames.images[judged], tuple(np.array(frames.names)[judged].tolist()), int((judged & real).sum()))
    return frames.images[real & (rows % 2 == 0)], kept


EXAMPLES = """examples:
  python -m export.precision mouse.onnx -o mouse-int8.onnx --precision int8 --frames clips/mouse
  python -m export.precision mouse.onnx -o mouse-fp16.onnx --precision fp16 --target tensorrt --frames clips/mouse
"""


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(
        prog="python -m export.precision",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    out.add_argument("model", type=Path, help="an .onnx model in fp32, or the name of a bundled one")
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


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 with a one-line error, or 2 for wrong usage."""
    args = parser().parse_args(argv)
    if args.num_frames < 1:
        parser().error("--num-frames must be at least 1")
    try:
        require_place(args.output, args.force)
        compared = convert_file(args)
    except (StreampartsError, OSError, ValueError) as error:
        print(f"export: error: {error}", file=sys.stderr)
        return 1
    size = args.output.stat().st_size / 1e6
    print(f"{args.output}: {size:.1f} MB, {args.precision} compared with fp32 on {compared}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
