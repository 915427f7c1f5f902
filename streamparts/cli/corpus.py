"""`streamparts run` for a corpus: many files on many processes; its flags, progress bar and summary."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from streamparts.cli.output_flags import outputs_of
from streamparts.cli.run_flags import network_of, reading_of, tracking_of
from streamparts.cli.signals import stop_on_signals
from streamparts.cli.streams import is_watched
from streamparts.cli.types import count, share
from streamparts.texts import PlainLines
from streamparts.threads import beside

if TYPE_CHECKING:
    from streamparts.corpus.driver import CorpusProgress
    from streamparts.corpus.options import CorpusOptions, Crew
    from streamparts.corpus.records import CorpusResult

MOST_AT_ONCE = 16
"""Maximum number of files tracked in parallel in one process; more are a corpus."""

_NOT_OF_A_CORPUS = {
    "overlay": "--overlay names the output of a single video; for several, give --out-dir DIR",
    "tracks": "--tracks names the output of a single video; for several, give --out-dir DIR",
    "resume": "--resume is not needed for a corpus, which continues by itself: give the same --out-dir",
    "show": "--show works with one source only",
    "send": "--send works with one source only",
    "stats": "--stats works with up to 16 sources tracked in parallel, not with a corpus",
    "policy": "--policy applies to live sources only: every frame of a file is tracked",
    "idle": "--idle applies to live sources only",
    "login": "--login applies to streamed addresses only",
    "insecure": "--insecure applies to streamed addresses only",
    "max_retries": "--max-retries applies to live sources only; --retries sets how often a video is tried again",
}


def add_corpus_flags(run: argparse.ArgumentParser) -> None:
    """Add the flags of a corpus run."""
    flags = run.add_argument_group(
        "a corpus of files",
        f"--workers, --cluster, a store's address or more than {MOST_AT_ONCE} files make a corpus run",
    )
    flags.add_argument(
        "--workers",
        metavar="N",
        type=count,
        help="number of worker processes (default: as many as this machine has room for)",
    )
    flags.add_argument(
        "--cluster",
        metavar="auto|ADDRESS",
        help="run on a Ray cluster: auto uses a running one or starts one here; ADDRESS is HOST:PORT",
    )
    flags.add_argument("--cpus-per-task", metavar="N", type=share, help="CPUs of the cluster per video (default: 1)")
    flags.add_argument("--gpus-per-task", metavar="N", type=share, help="GPUs of the cluster per video (default: 0)")
    flags.add_argument(
        "--retries", metavar="N", type=int, help="further attempts if a process died or a machine was lost (default: 2)"
    )


def is_corpus(args: argparse.Namespace, sources: Sequence[str] | None = None) -> bool:
    """True if the flags, or the kind or number of the expanded `sources`, make it a corpus run."""
    from streamparts.corpus.plan import is_file_word, is_remote

    if args.workers is not None or args.cluster is not None or isinstance(args.out_dir, str):
        return True
    if any(is_remote(word) for word in [*args.sources, *(sources or ())]):
        return True
    if sources is not None and len(sources) > MOST_AT_ONCE and all(map(is_file_word, sources)):
        _say(
            args, f"{len(sources)} files: run as a corpus, see docs/corpus.md; --workers N sets the number of processes"
        )
        return True
    for flag in ("cpus_per_task", "gpus_per_task", "retries"):
        if sources is not None and getattr(args, flag) is not None:
            args.usage_error(f"--{flag.replace('_', '-')} is for corpus runs: also give --workers or --cluster")
    return False


def run_as_corpus(args: argparse.Namespace) -> int:
    """Run the corpus and return the exit code."""
    from streamparts.corpus.processing import process

    for flag, line in _NOT_OF_A_CORPUS.items():
        if getattr(args, flag) not in (None, False) and not (flag == "policy" and args.policy == "all"):
            args.usage_error(line)
    if args.cluster is None and (args.cpus_per_task is not None or args.gpus_per_task is not None):
        args.usage_error("--cpus-per-task and --gpus-per-task are for clusters: also give --cluster")
    if args.retries is not None and args.retries < 0:
        args.usage_error("--retries must be 0 or more")
    out_dir = args.out_dir or Path()
    began = time.monotonic()
    with stop_on_signals() as (stop, caught), _bar(args) as progress:
        results = process(
            args.sources,
            out_dir,
            network_of(args),
            _options(args),
            _crew(args),
            say=lambda line: _say(args, line),
            stop=stop,
            progress=progress,
        )
    if not args.quiet:
        print(_summary(results, time.monotonic() - began))
        if any(result.status != "interrupted" for result in results):
            print(f"wrote {_shown(out_dir)}/manifest.jsonl")
    for result in results:
        if result.status == "failed":
            print(f"streamparts: error: {result.name}: {result.error}", file=sys.stderr)
    if caught:
        return 128 + caught[0]
    return int(any(result.status == "failed" for result in results))


def _options(args: argparse.Namespace) -> CorpusOptions:
    from streamparts.corpus.options import BOTH, CorpusOptions

    outputs = outputs_of(args, None if args.no_overlay else BOTH.overlay, BOTH.tracks)
    return CorpusOptions(
        outputs=outputs, tracking=replace(tracking_of(args), policy="all"), reading=reading_of(args, one_source=False)
    )


def _crew(args: argparse.Namespace) -> Crew:
    from streamparts.corpus.options import RETRIES, Crew

    return Crew(
        workers=args.workers,
        cluster=args.cluster,
        cpus_per_task=args.cpus_per_task,
        gpus_per_task=args.gpus_per_task or 0,
        retries=RETRIES if args.retries is None else args.retries,
    )


def _say(args: argparse.Namespace, line: str) -> None:
    if not args.quiet:
        print(f"streamparts: {line}", file=sys.stderr, flush=True)


def _shown(out_dir: Path | str) -> str:
    from streamparts.sources.redact import redact

    return redact(str(out_dir)).rstrip("/")


def _summary(results: Sequence[CorpusResult], seconds: float) -> str:
    counts = Counter(result.status for result in results)
    frames = sum(result.frames for result in results if result.status == "done")
    lines = [
        f"{len(results)} videos: {counts['done']} done, {counts['skipped']} done before, {counts['failed']} failed",
        f"{frames} frames in {seconds:.1f} s: {frames / seconds:.1f} fps",
    ]
    if counts["interrupted"]:
        lines.append(f"interrupted: {counts['interrupted']} videos are left; run the same command to continue")
    return "\n".join(lines)


@contextmanager
def _bar(args: argparse.Namespace) -> Iterator[Callable[[CorpusProgress], None] | None]:
    """Return a progress callback with one bar over all videos on stderr, or a line every half minute if that is no
    terminal; None if quiet. A separate thread draws the bar, so that a blocked terminal blocks nothing else."""
    if args.quiet:
        yield None
        return
    if not is_watched():
        yield _plain_progress(args)
        return
    from tqdm import tqdm

    latest: list[CorpusProgress] = []

    def draw(ended: threading.Event) -> None:
        bar: tqdm | None = None
        while not (last := ended.wait(0.2)) or latest:
            if latest:
                now = latest[0]
                bar = bar or tqdm(unit=" videos", dynamic_ncols=True, total=now.total)
                bar.set_postfix_str(_bar_text(now), False)
                bar.update(now.done + now.failed - bar.n)
                bar.refresh()
            if last:
                break
        if bar is not None:
            bar.close()

    def note(progress: CorpusProgress) -> None:
        latest[:] = [progress]

    with beside("bars", draw, 0.5):
        yield note


def _plain_progress(args: argparse.Namespace) -> Callable[[CorpusProgress], None]:
    line = PlainLines(lambda text: _say(args, text))

    def note(now: CorpusProgress) -> None:
        if line.is_due():
            line.say(f"{now.done + now.failed} of {now.total} videos, {_bar_text(now)}")

    return note


def _bar_text(now: CorpusProgress) -> str:
    text = f"{now.failed} failed, " if now.failed else ""
    return f"{text}{now.fps:.0f} frames/s, {now.workers} worker{'s' * (now.workers != 1)}"
