"""`streamparts run`: each flag is an argument of streamparts.run."""

from __future__ import annotations

import argparse
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamparts.backends.choice import BACKENDS
from streamparts.cli.corpus import add_corpus_flags, is_corpus, run_as_corpus
from streamparts.cli.fitting import require_fitting
from streamparts.cli.output_flags import add_output_flags, style_of
from streamparts.cli.signals import stop_on_signals
from streamparts.cli.streams import is_watched
from streamparts.cli.types import add_backend, count, jsonl, moment, mp4, one_line, place, rate, region

if TYPE_CHECKING:
    from streamparts.runtime.job import Progress
    from streamparts.runtime.stats import Stats
    from streamparts.runtime.summary import Summary
    from streamparts.sources.reading import Reading

RUN_EXAMPLES = """examples:
  streamparts run dance.mp4
      writes dance.overlay.mp4 and dance.tracks.jsonl into the current folder
  streamparts run dance.mp4 --model my.onnx --tracks out/dance.jsonl --masks
      writes only the tracks, with a mask for every part
  streamparts run rtsp://user:password@camera/stream --max-fps 15
      tracks a camera, and reconnects if it is lost; the password is never displayed
  streamparts run test:// --start 2 --end 0:05
      a moving test pattern: needs no camera
  streamparts run left.mp4 right.mp4 --out-dir out --stats
      tracks both in parallel with one model, and prints statistics on stderr every second
  streamparts run 'corpus/**/*.mp4' --out-dir out --workers 8 --no-overlay
      a corpus: several processes, a manifest; run again, it continues and adds new videos (docs/corpus.md)
  streamparts run webcam --send udp://127.0.0.1:9000 --send ws://127.0.0.1:8765
      sends every frame's tracks to other programs, and writes no files

docs/sources.md describes every kind of source, docs/messages.md the messages.
"""
SOURCE_HELP = (
    "video file, folder of images or frame_%%04d.png, webcam, webcam:1, screen, rtsp:// or other address, - for "
    "standard input, or test://"
)


def add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the others."""
    run = commands.add_parser(
        "run",
        help="track videos",
        description="Track the parts of a subject in a video, a camera or a stream, and write an overlay video and "
        "tracks.",
        epilog=RUN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    run.add_argument("sources", metavar="SOURCE", nargs="+", help=SOURCE_HELP + "; several are tracked at once")
    run.add_argument(
        "--model",
        metavar="NAME_OR_PATH",
        help="model name, .onnx file or TensorRT .engine (default: the bundled model)",
    )
    run.add_argument(
        "--trust-engine", action="store_true", help="run an engine that was not built here: engines are executable code"
    )
    run.add_argument("--overlay", metavar="FILE.mp4", type=mp4, help="write the video with the parts drawn on it")
    run.add_argument(
        "--tracks",
        metavar="FILE.jsonl",
        type=Path,
        help="write the tracks, one JSON line per frame; - is standard output",
    )
    run.add_argument("--no-overlay", action="store_true", help="write only the tracks, if no outputs are named")
    run.add_argument("--masks", action="store_true", help="add a mask for every part to the tracks")
    run.add_argument("--smooth", action="store_true", help="filter the poses over time, and keep left and right apart")
    run.add_argument(
        "--roi",
        metavar="REGION",
        type=region,
        help="what the network sees: auto follows the subject, off is the whole frame, X,Y,W,H is a fixed region in"
        " pixels (default: auto if the model has a subject; docs/following.md)",
    )
    run.add_argument("--subjects", metavar="N", type=count, default=1, help="number of subjects to follow (default: 1)")
    run.add_argument("--force", action="store_true", help="replace existing outputs")
    add_backend(run, "auto", choices=["auto", *BACKENDS])
    _add_source_flags(run)
    _add_runtime_flags(run)
    add_output_flags(run)
    add_corpus_flags(run)
    run.add_argument("--quiet", action="store_true", help="no progress bar and no summary")
    run.add_argument("--debug", action="store_true", help="show a traceback on errors")
    run.set_defaults(command=_run, usage_error=run.error)


def _add_source_flags(parser: argparse.ArgumentParser) -> None:
    """Flags for reading a source; see `_reading`."""
    flags = parser.add_argument_group("source")
    flags.add_argument("--start", metavar="TIME", type=moment, help="start time: seconds or hh:mm:ss of the video")
    flags.add_argument(
        "--end", metavar="TIME", type=moment, help="end time, exclusive; for live sources, time since the start"
    )
    flags.add_argument("--every", metavar="N", type=count, default=1, help="track only every N-th frame (default: 1)")
    flags.add_argument(
        "--fps",
        metavar="FPS",
        type=rate,
        help="frame rate of images and of raw video, which have no timestamps (default: 25, or the header's)",
    )
    flags.add_argument(
        "--idle",
        metavar="SECONDS",
        type=rate,
        help="live only: lost after this many seconds without a frame (default: 5)",
    )
    flags.add_argument(
        "--damaged",
        choices=("keep", "drop"),
        default="keep",
        help="damaged frames: keep marks them and hides their parts, drop leaves them out (default: keep)",
    )
    flags.add_argument(
        "--hwaccel",
        metavar="NAME",
        choices=("none", "auto", "cuda", "vaapi", "qsv", "videotoolbox"),
        default="none",
        help="hardware decoder for files: auto, cuda, vaapi, qsv, videotoolbox; software if it fails (default: none)",
    )
    flags.add_argument(
        "--login",
        metavar="VARIABLE|@FILE",
        help="user:password for addresses without, from an environment variable or a file, because other users can "
        "see a program's arguments",
    )
    flags.add_argument(
        "--insecure",
        action="store_true",
        help="do not verify certificates of https, rtsps and the like: for self-signed cameras",
    )
    flags.add_argument(
        "--max-pixels", metavar="N", type=count, help="refuse images with more pixels (default: 64000000)"
    )
    flags.add_argument(
        "--max-retries", metavar="N", type=int, help="live only: reconnection attempts in a row (default: unlimited)"
    )


def _add_runtime_flags(run: argparse.ArgumentParser) -> None:
    """Flags for the runtime."""
    run.add_argument("--out-dir", metavar="DIR", type=place, help="folder for outputs without a name (default: .)")
    run.add_argument(
        "--policy",
        choices=("all", "latest"),
        help="if frames arrive faster than they are tracked: all waits, latest drops all but the newest (default: "
        "all for files, latest for live sources)",
    )
    run.add_argument("--max-fps", metavar="FPS", type=rate, help="track at most this many frames per second")
    run.add_argument(
        "--stats",
        metavar="FILE.jsonl",
        nargs="?",
        const="-",
        type=jsonl,
        help="write a JSON line of latencies, rates and drops every second, by default to stderr",
    )


def _run(args: argparse.Namespace) -> int:
    from streamparts.sinks.messages import parse_addresses
    from streamparts.sources import expand_sources

    if args.masks and args.tracks is None and not _names_files(args):
        args.usage_error("--masks go into the tracks: also give --tracks FILE.jsonl; for messages, use ?masks=1")
    if args.end is not None and args.end <= (args.start or 0):
        args.usage_error("--end must be after --start")
    if args.resume and args.tracks is None and not is_corpus(args):
        args.usage_error("--resume continues the tracks: also give --tracks FILE.jsonl")
    if args.no_overlay and args.overlay is not None:
        args.usage_error("--overlay and --no-overlay exclude each other")
    if args.subjects > 1 and args.roi not in (None, "auto"):
        args.usage_error("--subjects needs following: leave out --roi, or give --roi auto")
    try:
        args.style = style_of(args)
        parse_addresses(args.send or ())
    except ValueError as error:
        args.usage_error(str(error))
    _warn_of_clashes(args)
    if is_corpus(args):
        return run_as_corpus(args)
    sources = expand_sources(args.sources, lambda line: None if args.quiet else _tell(line))
    require_fitting(args, sources)
    _warn_of_strangers(args, sources)
    if is_corpus(args, sources):
        return run_as_corpus(args)
    if len(sources) == 1:
        return _run_one(args, sources[0])
    if args.show is not None:
        args.usage_error("--show works with one source only")
    if args.send:
        args.usage_error("--send works with one source only; for several, start one run for each")
    if args.overlay is not None or args.tracks is not None:
        args.usage_error("--overlay and --tracks name the outputs of a single video; for several, give --out-dir DIR")
    return _run_many(args, sources)


def _names_files(args: argparse.Namespace) -> bool:
    """True if outputs get default names: if none is named, and the run does not only send messages."""
    return args.overlay is None and args.tracks is None and (args.out_dir is not None or not args.send)


def _run_one(args: argparse.Namespace, source: str) -> int:
    from streamparts.runtime.stream import run
    from streamparts.sources import output_stems

    if _names_files(args):
        stem = (args.out_dir or Path()) / output_stems([source])[0]
        args.tracks = Path(f"{stem}.tracks.jsonl")
        args.overlay = None if args.no_overlay else Path(f"{stem}.overlay.mp4")
    elif args.out_dir is not None:
        args.usage_error("--out-dir is for outputs without a name: leave out --overlay and --tracks")
    with stop_on_signals() as (stop, caught), _progress_bars(args) as progress:
        summary = run(
            source,
            args.model,
            overlay=args.overlay,
            tracks=args.tracks,
            resume=args.resume,
            show=args.show,
            show_port=args.show_port,
            send=args.send or (),
            stop=stop,
            progress=progress and (lambda now: progress(now.stats.source, now)),
            **_common(args),
        )
    _say(args, summary)
    return 128 + caught[0] if caught else 0


def _run_many(args: argparse.Namespace, sources: Sequence[str]) -> int:
    from streamparts.runtime.stream import run_many

    with stop_on_signals() as (stop, caught), _progress_bars(args) as progress:
        outcomes = run_many(
            sources,
            args.model,
            out_dir=args.out_dir or Path(),
            overlay=not args.no_overlay,
            stop=stop,
            progress=progress,
            **_common(args),
        )
    for outcome in outcomes:
        if outcome.error is None or outcome.summary.num_frames:
            _say(args, outcome.summary, f"{outcome.source}: ")
        if outcome.error is not None:
            _complain(args, outcome.source, outcome.error)
    if caught:
        return 128 + caught[0]
    return int(any(outcome.error is not None for outcome in outcomes))


def _common(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments shared by a run of one source and of several."""
    from streamparts.sources.reading import open_reading
    from streamparts.tracking.smoothing import Smoothing

    return {
        "masks": args.masks,
        "style": args.style,
        "encoder": args.encoder,
        "audio": not args.no_audio,
        "say": _tell,
        "force": args.force,
        "trust_engine": args.trust_engine,
        "backend": args.backend,
        "threads": args.threads,
        "policy": args.policy,
        "max_fps": None if args.max_fps is None else float(args.max_fps),
        "stats": args.stats,
        "smoothing": Smoothing() if args.smooth else None,
        "skeleton": args.skeleton if isinstance(args.skeleton, Path) else None,
        "roi": args.roi,
        "subjects": args.subjects,
        "opener": partial(open_reading, reading=_reading(args), say=None if args.quiet else _tell),
    }


def _reading(args: argparse.Namespace) -> Reading:
    """Options of `_add_source_flags` for reading a source."""
    from streamparts.sources.base import MAX_PIXELS
    from streamparts.sources.reading import Reading

    return Reading(
        start=args.start,
        end=args.end,
        every=args.every,
        damaged=args.damaged,
        fps=args.fps,
        fps_for_all=args.one_source,
        idle_seconds=None if args.idle is None else float(args.idle),
        max_retries=args.max_retries,
        hwaccel=args.hwaccel,
        insecure=args.insecure,
        max_pixels=args.max_pixels or MAX_PIXELS,
        login=args.login,
    )


def _warn_of_strangers(args: argparse.Namespace, sources: Sequence[str]) -> None:
    from streamparts.sources import redact

    for word in sources if args.insecure else ():
        if "://" in word:
            _tell(f"{redact(word)}: who sends it is not verified (--insecure)")


def _warn_of_clashes(args: argparse.Namespace) -> None:
    """Warn if another program's OpenCV and ours have overwritten each other."""
    from streamparts.doctor.packages import clashes

    for line in () if args.quiet else clashes():
        print(f"streamparts: warning: {line}", file=sys.stderr)


def _tell(line: str) -> None:
    print(f"streamparts: {line}", file=sys.stderr, flush=True)


def _complain(args: argparse.Namespace, source: str, error: BaseException) -> None:
    if args.debug:
        traceback.print_exception(error)
    print(f"streamparts: error: {source}: {one_line(error)}", file=sys.stderr)


def _say(args: argparse.Namespace, summary: Summary, prefix: str = "") -> None:
    if not args.quiet:
        print(prefix + _summary_text(summary), file=sys.stderr if args.tracks == Path("-") else None)
    for warning in summary.warnings:
        print(f"streamparts: warning: {prefix}{warning}", file=sys.stderr)


@contextmanager
def _progress_bars(args: argparse.Namespace) -> Iterator[Callable[[str, Progress], None] | None]:
    """Return a progress callback with one bar per source on stderr, or a line every half minute if that is no terminal;
    None if quiet. A separate thread draws the bars, so that a blocked terminal blocks nothing else."""
    if args.quiet or args.stats == "-":
        yield None
        return
    if not is_watched():
        yield _plain_progress()
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
        draw(final=True)
        for bar in bars.values():
            bar.close()

    thread = threading.Thread(target=draw_now_and_then, name="streamparts-bars", daemon=True)
    thread.start()
    try:
        yield latest.__setitem__
    finally:
        ended.set()
        thread.join(0.5)


def _plain_progress() -> Callable[[str, Progress], None]:
    from streamparts.cli.streams import PlainLines

    lines: dict[str, PlainLines] = {}

    def note(name: str, now: Progress) -> None:
        line = lines.setdefault(name, PlainLines(_tell))
        if line.is_due():
            total = f" of about {now.total}" if now.total else ""
            line.say(f"{name}: {now.num_frames}{total} frames, {_progress_text(now.stats)}")

    return note


def _progress_text(stats: Stats) -> str:
    ages = stats.age_ms
    text = f"latency {ages.p50:.0f}/{ages.p95:.0f}/{ages.p99:.0f} ms" if ages else "no result yet"
    text += f", in {stats.fps_in:.0f} out {stats.fps_out:.0f} fps"
    for number, what in ((stats.dropped, "dropped"), (stats.skipped, "skipped"), (stats.gaps, "gaps")):
        text += f", {number} {what}" if number else ""
    return text


def _summary_text(summary: Summary) -> str:
    lines = [
        f"{summary.num_frames} frames in {summary.seconds:.1f} s: {summary.fps:.1f} fps, latency p50 "
        f"{summary.age_p50_ms:.0f} ms, p95 {summary.age_p95_ms:.0f} ms, p99 {summary.age_p99_ms:.0f} ms",
        "ms per frame: " + ", ".join(f"{stage} {ms:.1f}" for stage, ms in summary.stage_ms.items()),
        f"backend {summary.backend}: {summary.why_backend}",
        "95 % within: " + ", ".join(f"{stage} {ms:.1f}" for stage, ms in summary.stage_p95_ms.items()),
    ]
    if summary.num_dropped:
        lines.append(f"{summary.num_dropped} frames were dropped: newer ones arrived before they could be tracked")
    if summary.num_skipped:
        lines.append(f"{summary.num_skipped} frames were skipped because of --max-fps")
    if summary.num_segments > 1:
        lines.append(f"the stream has {summary.num_segments} segments and {summary.num_gaps} gaps")
    if summary.decode_errors:
        lines.append(f"{summary.decode_errors} corrupt packets of the video were skipped")
    if summary.packets_lost:
        lines.append(f"{summary.packets_lost} packets of the video were lost")
    if summary.num_damaged:
        lines.append(f"{summary.num_damaged} frames are damaged: some of their data was lost")
    if summary.repaired_times:
        lines.append(f"{summary.repaired_times} frames had no usable timestamp; their times were estimated")
    if summary.mismatch:
        lines.append(summary.mismatch)
    lines += summary.notes
    if summary.interrupted:
        lines.append("interrupted: the outputs are complete up to the last tracked frame")
    return "\n".join([*lines, *(f"wrote {path}" for path in summary.outputs if str(path) != "-")])
