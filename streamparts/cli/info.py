"""`streamparts info`, `bench` and `schema`: describe models, sources and this machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamparts.backends.choice import BACKENDS, find_backends
from streamparts.cli.build import describe_engine, pairs_text
from streamparts.cli.streams import is_watched
from streamparts.cli.types import add_backend, count, duration
from streamparts.errors import StreampartsError

if TYPE_CHECKING:
    from streamparts.bundle.load import Bundle

INFO_EXAMPLES = """examples:
  streamparts info puppet-human
  streamparts info my.onnx
  streamparts info dance.mp4
  streamparts info webcam
"""
MODELS_EXAMPLES = """examples:
  streamparts models
  streamparts models --json
"""
BENCH_EXAMPLES = """examples:
  streamparts bench puppet-human
  streamparts bench my.onnx --backend onnxruntime openvino --batch 1 --video dance.mp4 --json
"""
SCHEMA_EXAMPLES = """examples:
  streamparts schema tracks > tracks.schema.json
  streamparts schema stats
"""


def add_info(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the others."""
    info = commands.add_parser(
        "info",
        help="describe a model or a video",
        description="Describe a model and where it can run, or how a video, camera or stream is read.",
        epilog=INFO_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    info.add_argument("file", metavar="MODEL|SOURCE", help="model name, .onnx file, .engine or any source")
    info.add_argument("--debug", action="store_true", help="show a traceback on errors")
    info.set_defaults(command=_info)


def add_models(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the others."""
    models = commands.add_parser(
        "models",
        help="list the bundled models",
        description="List the bundled models with their parts, size and measured quality; use one with `--model NAME`.",
        epilog=MODELS_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    models.add_argument("--json", action="store_true", help="print JSON instead of text")
    models.add_argument("--debug", action="store_true", help="show a traceback on errors")
    models.set_defaults(command=_models)


def add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the others."""
    bench = commands.add_parser(
        "bench",
        help="time a model on every available backend",
        description="Time the network, alone and with scaling and readout, on every backend and in several batch "
        "sizes.",
        epilog=BENCH_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    bench.add_argument("model", metavar="MODEL", help="model name or .onnx file")
    add_backend(bench, None, choices=list(BACKENDS), nargs="+")
    bench.add_argument(
        "--batch", metavar="N", type=count, nargs="+", default=[1, 2, 4, 8], help="batch sizes (default: 1 2 4 8)"
    )
    bench.add_argument("--seconds", type=duration, default=2.0, help="seconds per measurement (default: 2)")
    bench.add_argument("--video", metavar="FILE", help="frames to use (default: a synthetic one of 1280x720)")
    bench.add_argument("--json", action="store_true", help="print JSON instead of a table")
    bench.add_argument("--debug", action="store_true", help="show a traceback on errors")
    bench.set_defaults(command=_bench)


def _bench(args: argparse.Namespace) -> int:
    from streamparts.runtime.bench import bench

    report = bench(
        args.model,
        backends=args.backend,
        batches=args.batch,
        seconds=args.seconds,
        threads=args.threads,
        video=args.video,
        progress=lambda line: print(line, file=sys.stderr) if is_watched() else None,
    )
    print(report.to_json() if args.json else report.to_text())
    return 0 if report.rows else 1


def _models(args: argparse.Namespace) -> int:
    import json

    from streamparts.backends.loading import load_model
    from streamparts.bundle.load import DEFAULT_MODEL
    from streamparts.bundle.shipped import beside, model_names

    rows = []
    for name in model_names():
        bundle = load_model(name)
        spec = bundle.spec
        rows.append(
            {
                "name": name,
                "default": name == DEFAULT_MODEL,
                "description": spec.description,
                "parts": list(spec.parts),
                "input": list(spec.input_hw),
                "megabytes": round(bundle.path.stat().st_size / 1e6, 1),
                "license": spec.license,
                "metrics": spec.metrics,
                "card": str(beside(name, ".md") or ""),
                "picture": str(beside(name, ".jpg") or ""),
            }
        )
    print(json.dumps(rows, indent=2) if args.json else "\n\n".join(_model_text(row) for row in rows))
    return 0


def _model_text(row: dict[str, Any]) -> str:
    lines = {
        row["name"]: row["description"] + (" (default)" if row["default"] else ""),
        "  parts": f"{len(row['parts'])}: {', '.join(row['parts'])}",
        "  input": f"{row['input'][1]}x{row['input'][0]} pixels, {row['megabytes']} MB, {row['license']}",
        "  metrics": ", ".join(f"{name} {value:.3g}" for name, value in row["metrics"].items()),
        "  card": row["card"],
        "  picture": row["picture"],
    }
    return "\n".join(f"{key:<16}{value}" for key, value in lines.items() if value)


def _info(args: argparse.Namespace) -> int:
    if args.file.endswith(".engine"):
        print(describe_engine(Path(args.file)))
    else:
        print(_describe_model(args.file) if _is_model(args.file) else _describe_source(args.file))
    return 0


def _is_model(word: str) -> bool:
    from streamparts.bundle.shipped import model_names
    from streamparts.sources.kinds import kind_of

    if word.endswith(".onnx") or word in model_names():
        return True
    try:
        kind_of(word)
    except StreampartsError:
        return not Path(word).suffix
    return False


def _describe_model(name_or_path: str) -> str:
    from streamparts.backends.loading import load_model

    bundle = load_model(name_or_path)
    spec = bundle.spec
    lines = {
        "model": f"{spec.name} ({spec.method})",
        "file": str(bundle.path),
        "sha256": bundle.sha256,
        "finds": spec.description,
        "parts": f"{spec.num_parts}: {', '.join(spec.parts)}",
        "pairs": pairs_text(spec),
        "input": f"{spec.input_hw[1]}x{spec.input_hw[0]} pixels",
        "subject": f"followed; found in training by {spec.subject.source}" if spec.subject else "",
        "training": spec.training,
        "license": spec.license,
        "metrics": ", ".join(f"{name} {value:.4g}" for name, value in spec.metrics.items()),
        "made with": ", ".join(f"{name} {version}" for name, version in spec.versions.items()),
        **_describe_backends(bundle),
    }
    return "\n".join(f"{key:<10}{value}" for key, value in lines.items() if value)


def _describe_backends(bundle: Bundle) -> dict[str, str]:
    found = find_backends(bundle)
    reasons: dict[str, list[str]] = {}
    for backend in found:
        if backend.reason:
            reasons.setdefault(backend.reason, []).append(backend.name)
    return {
        "runs on": ", ".join(backend.name for backend in found if backend.reason is None),
        "not on": f"\n{'':<10}".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items()),
    }


def _describe_source(word: str) -> str:
    from streamparts.sources import open_source

    with open_source(word) as source:
        return f"{'video':<10}{source.name}\n{'content':<10}{source.description}"


def add_schema(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the others."""
    schema = commands.add_parser(
        "schema",
        help="print the JSON Schema of a format",
        description="Print the JSON Schema of the lines that run writes, for validation or for writing readers.",
        epilog=SCHEMA_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    schema.add_argument(
        "format",
        choices=("tracks", "stats", "manifest"),
        help="schema of a line of a tracks file, of --stats, or of a corpus manifest",
    )
    schema.add_argument("--debug", action="store_true", help="show a traceback on errors")
    schema.set_defaults(command=_schema)


def _schema(args: argparse.Namespace) -> int:
    import json

    import msgspec

    from streamparts.corpus.records import manifest_schema
    from streamparts.runtime.stats import Stats
    from streamparts.tracksfile.records import tracks_schema

    made = {"tracks": tracks_schema, "stats": lambda: msgspec.json.schema(Stats), "manifest": manifest_schema}
    print(json.dumps(made[args.format](), indent=2))
    return 0
