"""Terminal output of `streamparts run`: a progress bar, and a summary at the end."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from streamparts.cli.streams import is_watched
from streamparts.threads import beside

if TYPE_CHECKING:
    from streamparts.runtime.stats import Progress, Stats
    from streamparts.runtime.summary import Summary

_SILENT_SECONDS = 5.0
"""A source without a frame for so long is silent."""


def tell(line: str) -> None:
    print(f"streamparts: {line}", file=sys.stderr, flush=True)


@contextmanager
def progress_bars(args: argparse.Namespace) -> Iterator[Callable[[str, Progress], None] | None]:
    """Return a progress callback with one bar per source on stderr, or a line every half minute if that is no terminal;
    None if quiet. A separate thread draws the bars, so that a blocked terminal blocks nothing else."""
    if args.quiet or args.stats == "-":
        yield None
        return
    if not is_watched():
        with _plain_progress() as note:
            yield note
        return
    from tqdm import tqdm

    bars: dict[str, tqdm] = {}
    latest: dict[str, Progress] = {}

    def draw(final: bool = False) -> None:
        for name, progress in latest.copy().items():
            if name not in bars:
                bars[name] = tqdm(desc=name, unit=" frames", dynamic_ncols=True, position=len(bars))
            bars[name].total = progress.total
            bars[name].set_postfix_str(_progress_text(progress.meter.stats() if final else progress.stats), False)
            bars[name].update(progress.num_frames - bars[name].n)
            bars[name].refresh()

    def draw_now_and_then(ended: threading.Event) -> None:
        while not ended.wait(0.1):
            draw()
        draw(final=True)
        for bar in bars.values():
            bar.close()

    with beside("bars", draw_now_and_then, 0.5):
        yield latest.__setitem__


@contextmanager
def _plain_progress() -> Iterator[Callable[[str, Progress], None]]:
    """While a source gives no frames, a separate thread prints its lines."""
    from streamparts.texts import PlainLines

    lines: dict[str, PlainLines] = {}
    latest: dict[str, Progress] = {}
    lock = threading.Lock()

    def tell_if_due(name: str, now: Progress) -> None:
        with lock:
            line = lines.setdefault(name, PlainLines(tell))
            if line.is_due():
                total = f" of about {now.total}" if now.total else ""
                line.say(f"{name}: {now.num_frames}{total} frames, {_progress_text(now.stats)}")

    def note(name: str, now: Progress) -> None:
        latest[name] = now
        tell_if_due(name, now)

    def tell_of_silent_ones(ended: threading.Event) -> None:
        seen: dict[str, Progress] = {}
        while not ended.wait(_SILENT_SECONDS):
            for name, now in latest.copy().items():
                if seen.get(name) is now and not now.meter.ended:
                    tell_if_due(name, now)
                seen[name] = now

    with beside("progress", tell_of_silent_ones, 0.5):
        yield note


def _progress_text(stats: Stats) -> str:
    ages = stats.age_ms
    text = f"latency {ages.p50:.0f}/{ages.p95:.0f}/{ages.p99:.0f} ms" if ages else "no result yet"
    text += f", in {stats.fps_in:.0f} out {stats.fps_out:.0f} fps"
    for number, what in ((stats.dropped, "dropped"), (stats.skipped, "skipped"), (stats.gaps, "gaps")):
        text += f", {number} {what}" if number else ""
    return text


def summary_text(summary: Summary) -> str:
    lines = [
        f"{summary.num_frames} frames in {summary.seconds:.1f} s: {summary.fps:.1f} fps, latency p50 "
        f"{summary.age_p50_ms:.0f} ms, p95 {summary.age_p95_ms:.0f} ms, p99 {summary.age_p99_ms:.0f} ms",
        "ms per frame: " + ", ".join(f"{stage} {ms:.1f}" for stage, ms in summary.stage_ms.items()),
        f"backend {summary.backend}: {summary.why_backend}",
        "95 % within: " + ", ".join(f"{stage} {ms:.1f}" for stage, ms in summary.stage_p95_ms.items()),
    ]
    lines += summary.counts.lines()
    if summary.mismatch:
        lines.append(summary.mismatch)
    lines += summary.notes
    if summary.interrupted:
        lines.append("interrupted: the outputs are complete up to the last tracked frame")
    return "\n".join([*lines, *(f"wrote {path}" for path in summary.outputs if str(path) != "-")])
