"""Live measurements of one source, and the JSON line with them, written every second."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamparts.data import Frame
from streamparts.files import make_new
from streamparts.meter import AgeMeter, Durations, StageClock

SCHEMA = "streamparts.stats/1"
PERIOD_SECONDS = 1.0
_SHARES = (0.5, 0.95, 0.99)


class Ages(msgspec.Struct, frozen=True):
    """Latency of results, in milliseconds."""

    p50: float
    p95: float
    p99: float


class Stage(msgspec.Struct, frozen=True):
    """Time that one stage takes per frame, in milliseconds."""

    mean: float
    p95: float


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """One line of --stats. Rates, ages and stages cover the last five seconds; in the final line, the whole run. Counts
    are totals since the start of the run."""

    schema: str = SCHEMA
    """Version of this line."""
    source: str
    """Short name of the source."""
    seconds: float
    """Wall time since the start of the run."""
    frames: int
    """Results written so far."""
    total: int | None
    """Estimated number of frames of the source; null if unknown, as for live ones."""
    fps_in: float
    """Frames decoded per second."""
    fps_out: float
    """Results written per second."""
    age_ms: Ages | None
    """Latency; null without results."""
    stages_ms: dict[str, Stage]
    """By stage. "decode" includes waiting for the source; stages in different threads overlap."""
    dropped: int
    """Frames replaced by a newer one before they were tracked."""
    skipped: int
    """Frames left out because of max_fps."""
    segments: int
    """Unbroken stretches of the stream so far."""
    gaps: int
    """Number of times the source was lost and came back."""
    gap_seconds: float
    """Total wall time of the gaps."""
    decode_errors: int
    """Packets that could not be decoded."""
    packets_lost: int
    """Packets known to be lost in transit, or missing from a file."""
    damaged: int
    """Damaged frames, marked or left out."""
    repaired_times: int
    """Frames whose time was missing or not increasing, and was repaired."""
    callback_lost: int
    """Results that a slow callback missed."""
    messages_lost: int
    """Results that were not sent or that a slow receiver missed, as far as known; over all addresses."""
    final: bool
    """True in the source's last line, which covers the whole run."""


class RunMeter:
    """Counters and timers of one source. Each is written by one thread and may be read by any."""

    def __init__(self, name: str = "", clock: StageClock | None = None) -> None:
        self.name = name
        self.clock = clock or StageClock()
        self.ages = AgeMeter(num_sinks=0)
        self.total: int | None = None
        self.dropped = 0
        self.skipped = 0
        self.segments = 0
        self.gaps = 0
        self.gap_seconds = 0.0
        self.decode_errors = 0
        self.packets_lost = 0
        self.damaged = 0
        self.damaged_left_out = 0
        self.repaired_times = 0
        self.callback_lost = 0
        self.messages_lost = 0
        self._started = time.perf_counter()
        self._ended: float | None = None
        self._recent: tuple[float, Stats] | None = None

    def saw(self, frame: Frame) -> None:
        """Count `frame` from the source."""
        self.segments = max(self.segments, frame.segment + 1)
        self.damaged += frame.damaged
        if frame.gap:
            self.gaps += 1
            self.gap_seconds += frame.gap.seconds

    def start(self) -> None:
        """Start: the first frame was requested."""
        self._started = time.perf_counter()

    def end(self) -> None:
        """End: the last output was closed. Only the first call counts."""
        self._ended = self._ended or time.perf_counter()

    @property
    def ended(self) -> bool:
        return self._ended is not None

    @property
    def seconds(self) -> float:
        """From `start` to `end`, or to now."""
        return (self._ended or time.perf_counter()) - self._started

    def recent(self, max_age_seconds: float = 0.1) -> Stats:
        """Recent statistics, at most this old."""
        now = time.perf_counter()
        if self._recent is None or now - self._recent[0] > max_age_seconds:
            self._recent = (now, self.stats())
        return self._recent[1]

    def stats(self, final: bool = False) -> Stats:
        """Recent statistics or, if `final`, those of the whole run."""
        decoded, ages, seconds = self.clock.stage("decode"), self.ages.durations, max(self.seconds, 1e-9)
        return Stats(
            source=self.name,
            seconds=round(seconds, 3),
            frames=ages.count,
            total=self.total,
            fps_in=round(decoded.count / seconds if final else decoded.recent_rate(), 2),
            fps_out=round(ages.count / seconds if final else ages.recent_rate(), 2),
            age_ms=_ages(ages, final),
            stages_ms=_stages(self.clock, final),
            dropped=self.dropped,
            skipped=self.skipped,
            segments=self.segments,
            gaps=self.gaps,
            gap_seconds=round(self.gap_seconds, 3),
            decode_errors=self.decode_errors,
            packets_lost=self.packets_lost,
            damaged=self.damaged + self.damaged_left_out,
            repaired_times=self.repaired_times,
            callback_lost=self.callback_lost,
            messages_lost=self.messages_lost,
            final=final,
        )


def _ages(ages: Durations, final: bool) -> Ages | None:
    recent = ages.recent_ms()
    if final:
        return Ages(*(round(ages.quantile_ms(share), 2) for share in _SHARES)) if ages.count else None
    return Ages(*(round(float(value), 2) for value in np.quantile(recent, _SHARES))) if len(recent) else None


def _stages(clock: StageClock, final: bool) -> dict[str, Stage]:
    stages = {name: _stage(durations, durations.recent_ms(), final) for name, durations in clock.stages().items()}
    return {name: stage for name, stage in stages.items() if stage is not None}


def _stage(durations: Durations, recent: NDArray[np.float64], final: bool) -> Stage | None:
    if final and durations.count:
        return Stage(round(durations.mean_ms(), 3), round(durations.quantile_ms(0.95), 3))
    if len(recent) and not final:
        return Stage(round(float(recent.mean()), 3), round(float(np.quantile(recent, 0.95)), 3))
    return None


class StatsLines:
    """Passes every meter's statistics to `take` each second, and the final ones on closing, in a separate thread, so
    that a pipe without reader blocks nothing else."""

    def __init__(self, meters: Sequence[RunMeter], take: Callable[[Stats], None]) -> None:
        self._meters, self._take = meters, take
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="streamparts-stats", daemon=True)
        self._thread.start()

    def close(self, seconds: float = 0.5) -> str | None:
        """Write the final lines. Returns an error in one line, or None."""
        self._ended.set()
        self._thread.join(seconds)
        if self._thread.is_alive():
            return "the statistics could not be written: the reader does not take them"
        return f"the statistics could not be written: {self._error}" if self._error else None

    def _work(self) -> None:
        try:
            finished: set[int] = set()
            while not self._ended.wait(PERIOD_SECONDS):
                self._write(finished)
            self._write(finished, last=True)
        except Exception as error:
            self._error = error

    def _write(self, finished: set[int], last: bool = False) -> None:
        for number, meter in enumerate(self._meters):
            if number not in finished:
                final = last or meter.ended
                self._take(meter.stats(final))
                finished.update([number] if final else [])


class StatsFile:
    """Writes one JSON line per Stats, to a file or to stderr."""

    def __init__(self, path: str | Path) -> None:
        """`path` "-" is stderr. Raises OSError."""
        self._encode = msgspec.json.Encoder().encode
        self._file: BinaryIO | None = None
        if str(path) != "-":
            make_new(Path(path))
            self._file = Path(path).open("wb", buffering=0)  # noqa: SIM115

    def __call__(self, stats: Stats) -> None:
        line = self._encode(stats) + b"\n"
        if self._file is None:
            if sys.stderr is not None:
                sys.stderr.write(line.decode())
                sys.stderr.flush()
        else:
            self._file.write(line)

    def close(self) -> None:
        if self._file:
            self._file.close()


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a run of one source."""

    num_frames: int
    """Frames so far."""
    total: int | None
    """Estimated number of frames; None if unknown, as for live sources."""
    meter: RunMeter
    """Live measurements of the source."""

    @property
    def stats(self) -> Stats:
        """Statistics of the last five seconds, at most a tenth of a second old."""
        return self.meter.recent()

    @property
    def age_p50_ms(self) -> float:
        """Median latency over the last five seconds; nan without results."""
        ages = self.stats.age_ms
        return ages.p50 if ages else float("nan")
