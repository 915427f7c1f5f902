"""The command line: one flag is one Python argument of streamparts.run."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from streamparts import __version__
from streamparts.errors import StreampartsError

if TYPE_CHECKING:
    from streamparts.job import Progress
    from streamparts.stats import Stats
    from streamparts.summary import Summary

RUN_EXAMPLES = """examples:
  streamparts run dance.mp4
      writes dance.overlay.mp4 and dance.tracks.jsonl into the current folder
  streamparts run dance.mp4 --model my.onnx --tracks out/dance.jsonl --masks
      writes only the tracks, with a mask for every part
  streamparts run left.mp4 right.mp4 --out-dir out --stats
      tracks both at once with one model, and says every second on stderr how that goes
"""
INFO_EXAMPLES = """examples:
  streamparts info puppet-human
  streamparts info my.onnx
  streamparts info dance.mp4
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
        for note in getattr(error, "__notes__", ()):
            print(f"streamparts: warning: {note}", file=sys.stderr)
        return 1


def command_line() -> NoReturn:
    """`main` as a process of its own. Where a thread had to be left behind, the process ends without the usual clearing
    up, which would touch what that thread hangs in."""
    code = main()
    if any(thread.name.startswith("streamparts") for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _one_line(error: BaseException) -> str:
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

    run = commands.add_parser("run", help="track videos", epilog=RUN_EXAMPLES, formatter_class=raw, allow_abbrev=False)
    run.add_argument("video", nargs="+", help="video file; several are tracked at the same time, with one model")
    run.add_argument("--model", metavar="NAME_OR_PATH", help="model name or .onnx file")
    run.add_argument("--overlay", metavar="FILE.mp4", type=_mp4, help="write the video with the parts drawn in")
    run.add_argument("--tracks", metavar="FILE.jsonl", type=Path, help="write the tracks, one JSON line a frame")
    run.add_argument("--masks", action="store_true", help="add a mask for every part to the tracks")
    run.add_argument("--force", action="store_true", help="replace outputs that exist")
    _add_runtime_flags(run)
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
    return parser


def _add_runtime_flags(run: argparse.ArgumentParser) -> None:
    run.add_argument("--out-dir", metavar="DIR", type=Path, help="folder for outputs that are not named (default: .)")
    run.add_argument(
        "--policy",
        choices=("all", "latest"),
        help="when frames come faster than they are tracked: all waits, latest leaves out all but the newest "
        "(default: all for files, latest for live sources)",
    )
    run.add_argument("--max-fps", metavar="N", type=_positive, help="track no more than N frames a second")
    run.add_argument(
        "--stats",
        metavar="FILE.jsonl",
        nargs="?",
        const="-",
        type=_jsonl,
        help="write a JSON line of ages, rates and drops every second, to stderr where no file is given",
    )


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def _jsonl(text: str) -> str:
    if text != "-" and Path(text).suffix.lower() != ".jsonl":
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .jsonl; a bare --stats goes after the videos")
    return text


def _mp4(text: str) -> Path:
    if Path(text).suffix.lower() != ".mp4":
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .mp4, the only kind of video written")
    return Path(text)


def _run(args: argparse.Namespace) -> int:
    if args.masks and args.overlay is not None and args.tracks is None:
        args.usage_error("--masks go into the tracks: give --tracks FILE.jsonl too")
    if len(args.video) == 1:
        return _run_one(args)
    if args.overlay is not None or args.tracks is not None:
        args.usage_error("--overlay and --tracks name the files of one video; for several, give --out-dir DIR")
    return _run_many(args)


def _run_one(args: argparse.Namespace) -> int:
    from streamparts.paths import output_stems
    from streamparts.stream import run

    (video,) = args.video
    if args.overlay is None and args.tracks is None:
        stem = (args.out_dir or Path()) / output_stems(args.video)[0]
        args.overlay, args.tracks = Path(f"{stem}.overlay.mp4"), Path(f"{stem}.tracks.jsonl")
    elif args.out_dir is not None:
        args.usage_error("--out-dir is for outputs that are not named: leave out --overlay and --tracks")
    with _stop_on_signals() as (stop, caught), _progress_bars(args) as progress:
        summary = run(
            video,
            args.model,
            overlay=args.overlay,
            tracks=args.tracks,
            masks=args.masks,
            force=args.force,
            policy=args.policy,
            max_fps=args.max_fps,
            stats=args.stats,
            stop=stop,
            progress=progress and (lambda now: progress(now.stats.source, now)),
        )
    _say(args, summary)
    return 128 + caught[0] if caught else 0


def _run_many(args: argparse.Namespace) -> int:
    from streamparts.stream import run_many

    with _stop_on_signals() as (stop, caught), _progress_bars(args) as progress:
        outcomes = run_many(
            args.video,
            args.model,
            out_dir=args.out_dir or Path(),
            masks=args.masks,
            force=args.force,
            policy=args.policy,
            max_fps=args.max_fps,
            stats=args.stats,
            stop=stop,
            progress=progress,
        )
    for outcome in outcomes:
        _say(args, outcome.summary, f"{outcome.source}: ")
        if outcome.error is not None:
            _complain(args, outcome.source, outcome.error)
    if caught:
        return 128 + caught[0]
    return int(any(outcome.error is not None for outcome in outcomes))


def _complain(args: argparse.Namespace, source: str, error: BaseException) -> None:
    if args.debug:
        traceback.print_exception(error)
    print(f"streamparts: error: {source}: {_one_line(error)}", file=sys.stderr)


def _say(args: argparse.Namespace, summary: Summary, prefix: str = "") -> None:
    if not args.quiet:
        print(prefix + _summary_text(summary))
    for warning in summary.warnings:
        print(f"streamparts: warning: {prefix}{warning}", file=sys.stderr)


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
        if caught:
            os._exit(128 + number)  # at once, whatever hangs: files are readable up to here
        caught.append(number)
        stop.set()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, note)
    try:
        yield stop, caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress_bars(args: argparse.Namespace) -> Iterator[Callable[[str, Progress], None] | None]:
    """A callback that has a bar for each source drawn on stderr, or None where nobody is watching. The bars are drawn
    by a thread of their own: a terminal that is held up holds up nothing else."""
    if args.quiet or args.stats == "-" or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    bars: dict[str, tqdm] = {}
    latest: dict[str, Progress] = {}
    ended = threading.Event()

    def draw(final: bool = False) -> None:
        for name, progress in latest.copy().items():
            if name not in bars:
                bars[name] = tqdm(desc=name, unit=" frames", dynamic_ncols=True, position=len(bars))
            bars[name].total = progress.total
            bars[name].set_postfix_str(_progress_text(progress.meter.stats() if final else progress.stats), False)
            bars[name].update(progress.num_frames - bars[name].n)
            bars[name].refresh()

    def draw_now_and_then() -> None:
        while not ended.wait(0.1):
            draw()

    thread = threading.Thread(target=draw_now_and_then, name="streamparts-bars", daemon=True)
    thread.start()
    try:
        yield latest.__setitem__
    finally:
        ended.set()
        thread.join(0.5)
        if not thread.is_alive():
            draw(final=True)
            for bar in bars.values():
                bar.close()


def _progress_text(stats: Stats) -> str:
    ages = stats.age_ms
    text = f"age {ages.p50:.0f}/{ages.p95:.0f}/{ages.p99:.0f} ms" if ages else "no result yet"
    text += f", in {stats.fps_in:.0f} out {stats.fps_out:.0f} fps"
    for count, what in ((stats.dropped, "dropped"), (stats.skipped, "skipped"), (stats.gaps, "gaps")):
        text += f", {count} {what}" if count else ""
    return text


def _summary_text(summary: Summary) -> str:
    lines = [
        f"{summary.num_frames} frames in {summary.seconds:.1f} s: {summary.fps:.1f} fps, age of result "
        f"p50 {summary.age_p50_ms:.0f} ms, p95 {summary.age_p95_ms:.0f} ms, p99 {summary.age_p99_ms:.0f} ms",
        "ms per frame: " + ", ".join(f"{stage} {ms:.1f}" for stage, ms in summary.stage_ms.items()),
        "95 % within: " + ", ".join(f"{stage} {ms:.1f}" for stage, ms in summary.stage_p95_ms.items()),
    ]
    if summary.num_dropped:
        lines.append(f"{summary.num_dropped} frames were dropped: newer ones came before they could be tracked")
    if summary.num_skipped:
        lines.append(f"{summary.num_skipped} frames were left out to keep to --max-fps")
    if summary.num_segments > 1:
        lines.append(f"the stream has {summary.num_segments} segments and {summary.num_gaps} gaps")
    if summary.decode_errors:
        lines.append(f"{summary.decode_errors} damaged packets of the video were skipped")
    if summary.repaired_times:
        lines.append(f"{summary.repaired_times} frames had no usable time; theirs continue the frame before")
    if summary.interrupted:
        lines.append("interrupted: the outputs are complete up to the last frame done")
    return "\n".join([*lines, *(f"wrote {path}" for path in summary.outputs)])
