"""The command line: one flag is one Python argument of streamparts.run."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from streamparts import __version__
from streamparts.errors import StreampartsError
from streamparts.sinks.flags import add_output_flags, style_of, with_show_kind

if TYPE_CHECKING:
    from streamparts.stream import Progress, Summary

RUN_EXAMPLES = """examples:
  streamparts run dance.mp4
      writes dance.overlay.mp4 and dance.tracks.jsonl into the current folder
  streamparts run dance.mp4 --model my.onnx --tracks out/dance.jsonl --masks
      writes only the tracks, with a mask for every part
"""
INFO_EXAMPLES = """examples:
  streamparts info puppet-human
  streamparts info my.onnx
  streamparts info dance.mp4
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 0, 1 for an error, 128 + n when ended by signal n."""
    args = _parser().parse_args(with_show_kind(sys.argv[1:] if argv is None else argv))
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
    run.add_argument("video", help="video file")
    run.add_argument("--model", metavar="NAME_OR_PATH", help="model name or .onnx file")
    run.add_argument("--overlay", metavar="FILE.mp4", type=_mp4, help="write the video with the parts drawn in")
    run.add_argument("--tracks", metavar="FILE.jsonl", type=Path, help="write the tracks, one JSON line a frame")
    run.add_argument("--masks", action="store_true", help="add a mask for every part to the tracks")
    run.add_argument("--force", action="store_true", help="replace outputs that exist")
    add_output_flags(run)
    run.add_argument("--quiet", action="store_true", help="no progress bar and no summary")
    run.add_argument("--debug", action="store_true", help="show a traceback on errors")
    run.set_defaults(command=_run, usage_error=run.error)

    info = commands.add_parser(
        "info",
        help="describe a model or a video",
        epilog=INFO_EXAMPLES,
        formatter_class=raw,
        allow_abbrev=False,
    )
    info.add_argument("file", metavar="MODEL|VIDEO", help="model name, .onnx file or video file")
    info.add_argument("--debug", action="store_true", help="show a traceback on errors")
    info.set_defaults(command=_info)

    schema = commands.add_parser("schema", help="print the JSON Schema of a format", allow_abbrev=False)
    schema.add_argument("format", choices=("tracks",), help="tracks: one line of a tracks file")
    schema.set_defaults(command=_schema, debug=False)
    return parser


def _mp4(text: str) -> Path:
    if Path(text).suffix.lower() != ".mp4":
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .mp4, the only kind of video written")
    return Path(text)


def _run(args: argparse.Namespace) -> int:
    from streamparts.stream import run

    if args.overlay is None and args.tracks is None:
        stem = Path(args.video).stem
        args.overlay, args.tracks = Path(f"{stem}.overlay.mp4"), Path(f"{stem}.tracks.jsonl")
    if args.masks and args.tracks is None:
        args.usage_error("--masks go into the tracks: give --tracks FILE.jsonl too")
    if args.resume and args.tracks is None:
        args.usage_error("--resume goes on after the tracks: give --tracks FILE.jsonl too")
    try:
        style = style_of(args)
    except ValueError as error:
        args.usage_error(str(error))
    with _stop_on_signals() as (stop, caught), _progress_bar(Path(args.video).name, args.quiet) as progress:
        summary = run(
            args.video,
            args.model,
            overlay=args.overlay,
            tracks=args.tracks,
            masks=args.masks,
            force=args.force,
            style=style,
            encoder=args.encoder,
            audio=not args.no_audio,
            resume=args.resume,
            show=args.show,
            show_port=args.show_port,
            say=_say,
            stop=stop,
            progress=progress,
        )
    if not args.quiet:
        print(_summary_text(summary))
    return 128 + caught[0] if caught else 0


def _say(line: str) -> None:
    print(f"streamparts: {line}", file=sys.stderr, flush=True)


def _schema(args: argparse.Namespace) -> int:
    import json

    from streamparts.sinks.records import tracks_schema

    print(json.dumps(tracks_schema(), indent=2))
    return 0


def _info(args: argparse.Namespace) -> int:
    from streamparts.bundle import model_names

    path = Path(args.file)
    is_model = path.suffix == ".onnx" or args.file in model_names() or not (path.suffix or path.exists())
    print(_describe_model(args.file) if is_model else _describe_video(args.file))
    return 0


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
    }
    return "\n".join(f"{key:<10}{value}" for key, value in lines.items() if value)


def _describe_video(path: str) -> str:
    from streamparts.source import open_source

    with open_source(path) as source:
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
    ]
    if summary.decode_errors:
        lines.append(f"{summary.decode_errors} damaged packets of the video were skipped")
    if summary.repaired_times:
        lines.append(f"{summary.repaired_times} frames had no usable time; theirs continue the frame before")
    if summary.interrupted:
        lines.append("interrupted: the outputs are complete up to the last frame done")
    lines += summary.notes
    return "\n".join([*lines, *(f"wrote {path}" for path in summary.outputs)])
