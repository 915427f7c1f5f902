"""`streamparts build`, and the engine part of `streamparts info`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from streamparts.cli.types import count

if TYPE_CHECKING:
    from streamparts.backends.tensorrt.build import Built
    from streamparts.bundle.spec import ModelSpec

BUILD_EXAMPLES = """examples:
  streamparts build taichi.onnx -o taichi.engine --frames dance.mp4
      for this GPU, in the model's own precision, compared with the model on frames of dance.mp4
  streamparts build taichi.onnx -o taichi.engine --precision int8 --calibrate my_clips/ --report taichi.json
  streamparts build taichi.onnx -o taichi.engine --target sm80 sm120
      without a GPU, with TensorRT for RTX: built, not executed
"""


def add_build(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the others."""
    build = commands.add_parser(
        "build",
        help="build a TensorRT engine of a model",
        description="Build a TensorRT engine for this GPU or, with TensorRT for RTX, for others, and compare it "
        "with the model. docs/engines.md lists what was run where.",
        epilog=BUILD_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    build.add_argument("model", metavar="MODEL", help="model name or .onnx file")
    build.add_argument("-o", "--output", metavar="FILE.engine", type=Path, required=True, help="engine to write")
    precisions = ("fp32", "fp16", "bf16", "int8")
    build.add_argument(
        "--precision", choices=precisions, help="precision of the computation (default: the model's own)"
    )
    build.add_argument("--calibrate", metavar="VIDEO|FOLDER", type=Path, help="frames for calibrating int8")
    build.add_argument(
        "--frames", metavar="VIDEO|FOLDER", type=Path, help="frames for the comparison (default: --calibrate)"
    )
    build.add_argument(
        "--num-frames", metavar="N", type=count, default=64, help="frames to read from each (default: 64)"
    )
    build.add_argument("--max-batch", metavar="N", type=count, default=8, help="largest batch (default: 8)")
    build.add_argument(
        "--opt-batch", metavar="N", type=count, default=1, help="batch size to optimise for (default: 1)"
    )
    build.add_argument(
        "--workspace", metavar="MIB", type=count, help="limit of a layer's scratch memory (default: none)"
    )
    build.add_argument(
        "--target",
        metavar="sm80",
        nargs="+",
        default=[],
        help="GPUs to build for, with TensorRT for RTX (default: this one)",
    )
    build.add_argument("--version-compatible", action="store_true", help="allow later versions of TensorRT to load it")
    build.add_argument(
        "--hardware-compatible", action="store_true", help="allow all GPUs from Ampere on to run it, more slowly"
    )
    build.add_argument("--report", metavar="FILE.json", type=Path, help="write the result of the comparison")
    build.add_argument("--force", action="store_true", help="replace existing files")
    build.add_argument("--debug", action="store_true", help="show a traceback on errors")
    build.set_defaults(command=_build, usage_error=build.error)


def _build(args: argparse.Namespace) -> int:
    from streamparts.backends.tensorrt.build import build
    from streamparts.bundle.engine import BuildOptions

    if args.opt_batch > args.max_batch:
        args.usage_error(f"--opt-batch {args.opt_batch} is more than --max-batch {args.max_batch}")
    options = BuildOptions(
        max_batch=args.max_batch,
        opt_batch=args.opt_batch,
        workspace_mib=args.workspace,
        targets=tuple(dict.fromkeys(name.lower() for name in args.target)),
        version_compatible=args.version_compatible,
        hardware_compatible=args.hardware_compatible,
    )
    built = build(
        args.model,
        args.output,
        precision=args.precision,
        calibrate=args.calibrate,
        frames=args.frames,
        num_frames=args.num_frames,
        options=options,
        report=args.report,
        force=args.force,
    )
    print(_built_text(built))
    return 0


def _built_text(built: Built) -> str:
    info = built.bundle.engine
    made_with = f" with {info.built_with}, {info.precision}" if info else ""
    return f"{built.path}: {len(built.bundle.data) / 1e6:.1f} MB in {built.seconds:.1f} s{made_with}\n{built.outcome}"


def describe_engine(path: Path) -> str:
    """Describe an engine from its sidecar; the engine itself, which is code, is not loaded."""
    from streamparts.backends.tensorrt.info import read_info

    info = read_info(path)
    options = info.options
    lines = {
        "engine": f"{info.model.name} ({info.model.method}), {info.precision}",
        "built": f"{info.created} with {info.built_with}, CUDA {info.cuda_version}",
        "sha256": info.plan_sha256,
        "from": f"an .onnx file of sha256 {info.onnx_sha256}",
        "batches": f"1 to {options.max_batch}, optimised for {options.opt_batch}",
        "verified": "yes, on a GPU" if info.verified else "no: built, not executed",
        "agrees": info.agreement.describe() if info.agreement else "",
        "parts": f"{info.model.num_parts}: {', '.join(info.model.parts)}",
        "pairs": pairs_text(info.model),
        "license": info.model.license,
    }
    return "\n".join(f"{key:<10}{value}" for key, value in lines.items() if value)


def pairs_text(spec: ModelSpec) -> str:
    """Mirrored parts as text; empty without any."""
    return ", ".join(f"{spec.parts[one]} - {spec.parts[other]}" for one, other in spec.symmetric_pairs)
