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
from streamparts.runtime.counts import Counts
from streamparts.threads import DaemonThread

SCHEMA = "streamparts.stats/1"
PERIOD_SECONDS = 1.0
_SHARES = (0.5, 0.95, 0.99)


class Ages(msgspec.Struct, frozen=True):
    """Latency of results, in milliseconds."""

    p50: float
    p95: float
    p99: float


class StageTimes(msgspec.Struct, frozen=True):
    """Time that one stage takes per frame, in milliseconds."""

    mean: float
    p95: float


class Stats(Counts, frozen=True, kw_only=True, tag_field="schema", tag=SCHEMA):  # type: ignore[misc]  # for msgspec it may be frozen
    """One line of --stats, with its schema. Rates, ages and stages cover the last five seconds; in the final line, the
    whole run. Counts are totals since the start of the run."""

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
    stages_ms: dict[str, StageTimes]
    """By stage. "decode" includes waiting for the source; stages in different threads overlap."""
    final: bool
    """True in the source's last line, which covers the whole run."""


class RunMeter:
    """Counts and timers of one source. Each is written by one thread and may be read by any."""

    def __init__(self, name: str = "", clock: StageClock | None = None) -> None:
        self.name = name
        self.clock = clock or StageClock()
        self.ages = AgeMeter(num_sinks=0)
        self.total: int | None = None
        self.counts = Counts()
        self.damaged_left_out = 0
        """Damaged frames that the source left out; `counts` has those that arrived."""
        self._started = time.perf_counter()
        self._ended: float | None = None
        self._recent: tuple[float, Stats] | None = None

    def saw(self, frame: Frame) -> None:
        """Count `frame` from the source."""
        counts = self.counts
        counts.segments = max(counts.segments, frame.segment + 1)
        counts.damaged += frame.damaged
        if frame.gap:
            counts.gaps += 1
            counts.gap_seconds += frame.gap.seconds

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

    def totals(self) -> Counts:
        """Return the counts so far."""
        damaged = self.counts.damaged + self.damaged_left_out
        return msgspec.structs.replace(self.counts, damaged=damaged, gap_seconds=round(self.counts.gap_seconds, 3))

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
            **msgspec.structs.asdict(self.totals()),
            final=final,
        )


def _ages(ages: Durations, final: bool) -> Ages | None:
    recent = ages.recent_ms()
    if final:
        return Ages(*(round(ages.quantile_ms(share), 2) for share in _SHARES)) if ages.count else None
    return Ages(*(round(float(value), 2) for value in np.quantile(recent, _SHARES))) if len(recent) else None


def _stages(clock: StageClock, final: bool) -> dict[str, StageTimes]:
    stages = {name: _stage(durations, durations.recent_ms(), final) for name, durations in clock.stages().items()}
    return {name: stage for name, stage in stages.items() if stage is not None}


def _stage(durations: Durations, recent: NDArray[np.float64], final: bool) -> StageTimes | None:
    if final and durations.count:
        return StageTimes(round(durations.mean_ms(), 3), round(durations.quantile_ms(0.95), 3))
    if len(recent) and not final:
        return StageTimes(round(float(recent.mean()), 3), round(float(np.quantile(recent, 0.95)), 3))
    return None


class StatsLines:
    """Passes every meter's statistics to `take` each second, and the final ones on closing, in a separate thread, so
    that a pipe without reader blocks nothing else."""

    def __init__(self, meters: Sequence[RunMeter], take: Callable[[Stats], None]) -> None:
        self._meters, self._take = meters, take
        self._ended = threading.Event()
        self._thread = DaemonThread("stats", self._work, keeps_error=True)

    def close(self, seconds: float = 0.5) -> str | None:
        """Write the final lines. Returns an error in one line, or None."""
        self._ended.set()
        if not self._thread.ends(seconds):
            return "the statistics could not be written: the reader does not take them"
        error = self._thread.error
        return f"the statistics could not be written: {error}" if error else None

    def _work(self) -> None:
        finished: set[int] = set()
        while not self._ended.wait(PERIOD_SECONDS):
            self._write(finished)
        self._write(finished, last=True)

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
