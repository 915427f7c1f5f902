"""`streamparts run`: each flag is an argument of streamparts.run, and goes into the same values."""

from __future__ import annotations

import argparse
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from streamparts.backends.choice import BACKENDS
from streamparts.cli.corpus import add_corpus_flags, is_corpus, run_as_corpus
from streamparts.cli.fitting import require_fitting
from streamparts.cli.output_flags import add_output_flags, outputs_of, style_of
from streamparts.cli.progress import progress_bars, summary_text, tell
from streamparts.cli.run_flags import (
    RUN_EXAMPLES,
    SOURCE_HELP,
    add_runtime_flags,
    add_source_flags,
    network_of,
    reading_of,
    tracking_of,
)
from streamparts.cli.signals import stop_on_signals
from streamparts.cli.streams import has_output
from streamparts.cli.types import add_backend, count, mp4, one_line, region
from streamparts.errors import VideoError

if TYPE_CHECKING:
    from streamparts.runtime.options import Hooks
    from streamparts.runtime.stats import Progress
    from streamparts.runtime.summary import Summary


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
        "--steady-sides",
        action="store_true",
        help="filter the poses, and let the last frames vote on left and right (docs/names.md)",
    )
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
    add_source_flags(run)
    add_runtime_flags(run)
    add_output_flags(run)
    add_corpus_flags(run)
    run.add_argument("--quiet", action="store_true", help="no progress bar and no summary")
    run.add_argument("--debug", action="store_true", help="show a traceback on errors")
    run.set_defaults(command=_run, usage_error=run.error)


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
    sources = expand_sources(args.sources, lambda line: None if args.quiet else tell(line))
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
    from streamparts.runtime.runs import run_one
    from streamparts.sources import output_stems

    if _names_files(args):
        stem = (args.out_dir or Path()) / output_stems([source])[0]
        args.tracks = Path(f"{stem}.tracks.jsonl")
        args.overlay = None if args.no_overlay else Path(f"{stem}.overlay.mp4")
    elif args.out_dir is not None:
        args.usage_error("--out-dir is for outputs without a name: leave out --overlay and --tracks")
    if args.tracks == Path("-") and not has_output():
        raise VideoError("-: standard output is closed; name a file for --tracks")
    with stop_on_signals() as (stop, caught), progress_bars(args) as progress:
        outputs = outputs_of(args, args.overlay, args.tracks)
        summary = run_one(source, network_of(args), outputs, tracking_of(args), _hooks(args, stop, progress))
    _say(args, summary)
    return 128 + caught[0] if caught else 0


def _run_many(args: argparse.Namespace, sources: Sequence[str]) -> int:
    from streamparts.runtime.runs import run_each

    with stop_on_signals() as (stop, caught), progress_bars(args) as progress:
        outputs = outputs_of(args, None if args.no_overlay else Path("overlay.mp4"), Path("tracks.jsonl"))
        hooks = _hooks(args, stop, progress)
        outcomes = run_each(sources, network_of(args), outputs, args.out_dir or Path(), tracking_of(args), hooks)
    for outcome in outcomes:
        if outcome.error is None or outcome.summary.num_frames:
            _say(args, outcome.summary, f"{outcome.source}: ")
        if outcome.error is not None:
            _print_error(args, outcome.source, outcome.error)
    if caught:
        return 128 + caught[0]
    return int(any(outcome.error is not None for outcome in outcomes))


def _hooks(args: argparse.Namespace, stop: threading.Event, progress: Callable[[str, Progress], None] | None) -> Hooks:
    from streamparts.runtime.options import Hooks
    from streamparts.sources.reading import open_reading

    opener = partial(open_reading, reading=reading_of(args, args.one_source), say=None if args.quiet else tell)
    return Hooks(opener=opener, stats=args.stats, progress=progress, say=tell, stop=stop)


def _warn_of_strangers(args: argparse.Namespace, sources: Sequence[str]) -> None:
    from streamparts.sources import redact

    for word in sources if args.insecure else ():
        if "://" in word:
            tell(f"{redact(word)}: the sender is not verified (--insecure)")


def _warn_of_clashes(args: argparse.Namespace) -> None:
    """Warn if another program's OpenCV and ours have overwritten each other."""
    from streamparts.doctor.packages import clashes

    for line in () if args.quiet else clashes():
        print(f"streamparts: warning: {line}", file=sys.stderr)


def _print_error(args: argparse.Namespace, source: str, error: BaseException) -> None:
    if args.debug:
        traceback.print_exception(error)
    print(f"streamparts: error: {source}: {one_line(error)}", file=sys.stderr)


def _say(args: argparse.Namespace, summary: Summary, prefix: str = "") -> None:
    if not args.quiet:
        print(prefix + summary_text(summary), file=sys.stderr if args.tracks == Path("-") else None)
    for warning in summary.warnings:
        print(f"streamparts: warning: {prefix}{warning}", file=sys.stderr)
