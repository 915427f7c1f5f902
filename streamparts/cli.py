"""The command line: one flag is one Python argument of streamparts.run."""

from __future__ import annotations

import argparse
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from streamparts import __version__
from streamparts.backends.choice import BACKENDS, find_backends
from streamparts.cli_build import add_build, describe_engine
from streamparts.errors import StreampartsError

if TYPE_CHECKING:
    from streamparts.bundle import Bundle
    from streamparts.sources import OpenedSource
    from streamparts.stream import Progress, Summary

RUN_EXAMPLES = """examples:
  streamparts run dance.mp4
      writes dance.overlay.mp4 and dance.tracks.jsonl into the current folder
  streamparts run dance.mp4 --model my.onnx --tracks out/dance.jsonl --masks
      writes only the tracks, with a mask for every part
  streamparts run rtsp://user:password@camera/stream --max-fps 15
      follows a camera; if it is lost, until it is back; the password is shown nowhere
  streamparts run test:// --start 2 --end 0:05
      a moving test picture: needs no camera

docs/sources.md tells of every kind of source.
"""
INFO_EXAMPLES = """examples:
  streamparts info puppet-human
  streamparts info my.onnx
  streamparts info dance.mp4
  streamparts info webcam
"""
SOURCE_HELP = (
    "video file, folder or frame_%%04d.png of pictures, webcam, webcam:1, screen, rtsp:// and other addresses, "
    "- for standard input, or test://"
)


BENCH_EXAMPLES = """examples:
  streamparts bench puppet-human
  streamparts bench my.onnx --backend onnxruntime openvino --batch 1 --video dance.mp4 --json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 0, 1 for an error, 128 + n when ended by signal n."""
    args = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = args.command
    try:
        return command(args)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as error:
        if args.debug:
            raise
        print(f"streamparts: error: {_one_line(error)}", file=sys.stderr)
        return 1


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, StreampartsError):
        return text
    return f"unexpected {type(error).__name__}: {text}; run again with --debug and report what it shows"


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="streamparts", description="Track the parts of a moving object in video.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"streamparts {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="track a video", epilog=RUN_EXAMPLES, formatter_class=raw, allow_abbrev=False)
    run.add_argument("video", metavar="SOURCE", help=SOURCE_HELP)
    _add_source_flags(run)
    run.add_argument("--model", metavar="NAME_OR_PATH", help="model name, .onnx file or TensorRT .engine")
    run.add_argument("--trust-engine", action="store_true", help="run an engine that was not built here: it is code")
    run.add_argument("--overlay", metavar="FILE.mp4", type=_mp4, help="write the video with the parts drawn in")
    run.add_argument("--tracks", metavar="FILE.jsonl", type=Path, help="write the tracks, one JSON line a frame")
    _add_backend(run, "auto", choices=["auto", *BACKENDS])
    run.add_argument("--masks", action="store_true", help="add a mask for every part to the tracks")
    run.add_argument("--force", action="store_true", help="replace outputs that exist")
    run.add_argument("--quiet", action="store_true", help="no progress bar and no summary")
    run.add_argument("--debug", action="store_true", help="show a traceback on errors")
    run.set_defaults(command=_run, usage_error=run.error)

    bench = commands.add_parser(
        "bench",
        help="time a model on every backend that is here",
        epilog=BENCH_EXAMPLES,
        formatter_class=raw,
        allow_abbrev=False,
    )
    bench.add_argument("model", metavar="MODEL", help="model name or .onnx file")
    _add_backend(bench, None, choices=list(BACKENDS), nargs="+")
    bench.add_argument("--batch", metavar="N", type=_count, nargs="+", default=[1, 2, 4, 8], help="batch sizes")
    bench.add_argument("--seconds", type=_duration, default=2.0, help="of each measurement (default: 2)")
    bench.add_argument("--video", metavar="FILE", help="frames to use (default: a drawn one of 1280x720)")
    bench.add_argument("--json", action="store_true", help="print JSON instead of a table")
    bench.add_argument("--debug", action="store_true", help="show a traceback on errors")
    bench.set_defaults(command=_bench)
    add_build(commands)

    info = commands.add_parser(
        "info",
        help="describe a model or a video",
        epilog=INFO_EXAMPLES,
        formatter_class=raw,
        allow_abbrev=False,
    )
    info.add_argument("file", metavar="MODEL|SOURCE", help="model name, .onnx file, .engine or anything that run takes")
    info.add_argument("--debug", action="store_true", help="show a traceback on errors")
    info.set_defaults(command=_info)
    return parser


def _add_source_flags(parser: argparse.ArgumentParser) -> None:
    """What is read of a source; `_opened_source` does what they say."""
    flags = parser.add_argument_group("source")
    flags.add_argument("--start", metavar="TIME", type=_seconds, help="begin there: seconds or hh:mm:ss of the video")
    flags.add_argument("--end", metavar="TIME", type=_seconds, help="end before there; live: so long after its start")
    flags.add_argument("--every", metavar="N", type=_count, default=1, help="take only every N-th frame")
    flags.add_argument("--max-fps", metavar="FPS", type=_rate, help="take at most so many frames a second")
    flags.add_argument("--fps", metavar="FPS", type=_rate, help="of a sequence of pictures: how many a second (25)")
    flags.add_argument("--idle", metavar="SECONDS", type=_rate, help="live: lost after so long without a frame (5)")
    flags.add_argument("--max-retries", metavar="N", type=int, help="live: attempts to reconnect (without end)")


def _seconds(text: str) -> float:
    from streamparts.sources import parse_seconds

    try:
        return parse_seconds(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; write seconds, mm:ss or hh:mm:ss") from None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return int(text)


def _rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return rate


def _opened_source(args: argparse.Namespace, word: str) -> OpenedSource:
    """What `word` stands for, as the flags of `_add_source_flags` want it."""
    from streamparts.sources import max_fps, open_source, trimmed

    if args.end is not None and args.end <= (args.start or 0):
        args.usage_error("--end must be after --start")
    idle = None if args.idle is None else float(args.idle)
    source = open_source(word, fps=args.fps, idle_seconds=idle, max_retries=args.max_retries)
    try:
        if args.start is not None or args.end is not None or args.every > 1:
            source = trimmed(source, args.start, args.end, args.every)
        return source if args.max_fps is None else max_fps(source, float(args.max_fps))
    except BaseException:
        source.close()
        raise


def _add_backend(parser: argparse.ArgumentParser, default: str | None, **options: Any) -> None:
    what = "who runs the network" + (" (default: auto, the quickest here)" if default else " (default: all that can)")
    choices = options["choices"]
    parser.add_argument("--backend", metavar="NAME", default=default, help=f"{what}: {', '.join(choices)}", **options)
    parser.add_argument(
        "--threads", metavar="N", type=_count, help="processor threads of the network (default: half of the cores)"
    )


def _duration(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _mp4(text: str) -> Path:
    if Path(text).suffix.lower() != ".mp4":
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .mp4, the only kind of video written")
    return Path(text)


def _run(args: argparse.Namespace) -> int:
    from streamparts.sources import output_stem
    from streamparts.stream import run

    if args.overlay is None and args.tracks is None:
        stem = output_stem(args.video)
        args.overlay, args.tracks = Path(f"{stem}.overlay.mp4"), Path(f"{stem}.tracks.jsonl")
    if args.masks and args.tracks is None:
        args.usage_error("--masks go into the tracks: give --tracks FILE.jsonl too")
    with (
        _opened_source(args, args.video) as source,
        _stop_on_signals() as (stop, caught),
        _progress_bar(source.name, args.quiet) as progress,
    ):
        summary = run(
            source,
            args.model,
            overlay=args.overlay,
            tracks=args.tracks,
            masks=args.masks,
            force=args.force,
            backend=args.backend,
            threads=args.threads,
            trust_engine=args.trust_engine,
            stop=stop,
            progress=progress,
        )
    if not args.quiet:
        print(_summary_text(summary))
    return 128 + caught[0] if caught else 0


def _bench(args: argparse.Namespace) -> int:
    from streamparts.bench import bench

    report = bench(
        args.model,
        backends=args.backend,
        batches=args.batch,
        seconds=args.seconds,
        threads=args.threads,
        video=args.video,
        progress=lambda line: print(line, file=sys.stderr) if sys.stderr.isatty() else None,
    )
    print(report.to_json() if args.json else report.to_text())
    return 0 if report.rows else 1


def _info(args: argparse.Namespace) -> int:

    if args.file.endswith(".engine"):
        print(describe_engine(Path(args.file)))
    else:
        print(_describe_model(args.file) if _is_model(args.file) else _describe_source(args.file))
    return 0


def _is_model(word: str) -> bool:
    from streamparts.bundle import model_names
    from streamparts.sources.words import kind_of

    if word.endswith(".onnx") or word in model_names():
        return True
    try:
        kind_of(word)
    except StreampartsError:
        return not Path(word).suffix
    return False


def _describe_model(name_or_path: str) -> str:
    from streamparts.bundle import load_model

    bundle = load_model(name_or_path)
    spec = bundle.spec
    lines = {
        "model": f"{spec.name} ({spec.method})",
        "file": str(bundle.path),
        "sha256": bundle.sha256,
        "finds": spec.description,
        "parts": f"{spec.num_parts}: {', '.join(spec.parts)}",
        "input": f"{spec.input_hw[1]}x{spec.input_hw[0]} pixels",
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


@contextmanager
def _stop_on_signals() -> Iterator[tuple[threading.Event, list[int]]]:
    """The first Ctrl-C or SIGTERM sets the event and is noted in the list; the second one ends the process."""
    stop, caught = threading.Event(), list[int]()

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        stop.set()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, note)
    try:
        yield stop, caught
    finally:
        restore()


@contextmanager
def _progress_bar(name: str, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A callback that draws a bar on stderr, or None where nobody is watching."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc=name, unit=" frames", dynamic_ncols=True) as bar:

        def show(progress: Progress) -> None:
            bar.total = progress.total
            bar.set_postfix_str(f"age {progress.age_p50_ms:.0f} ms", refresh=False)
            bar.update()

        yield show


def _summary_text(summary: Summary) -> str:
    lines = [
        f"{summary.num_frames} frames in {summary.seconds:.1f} s: {summary.fps:.1f} fps, "
        f"age of result p50 {summary.age_p50_ms:.0f} ms, p95 {summary.age_p95_ms:.0f} ms",
        "ms per frame: " + ", ".join(f"{stage} {ms:.1f}" for stage, ms in summary.stage_ms.items()),
        f"backend {summary.backend}: {summary.why_backend}",
    ]
    if summary.decode_errors:
        lines.append(f"{summary.decode_errors} damaged packets of the video were skipped")
    if summary.repaired_times:
        lines.append(f"{summary.repaired_times} frames had no usable time; theirs continue the frame before")
    if summary.interrupted:
        lines.append("interrupted: the outputs are complete up to the last frame done")
    return "\n".join([*lines, *(f"wrote {path}" for path in summary.outputs)])
