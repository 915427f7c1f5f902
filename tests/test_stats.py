"""Ages, rates and drops: recent ones, those of the whole run, and as JSON lines."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from streamparts import meter
from streamparts.bundle.load import Bundle
from streamparts.cli import main
from streamparts.data import Frame, Gap
from streamparts.errors import VideoError
from streamparts.meter import AgeMeter, Durations, StageClock
from streamparts.runtime import stats
from streamparts.runtime.counts import Counts
from streamparts.runtime.stats import RunMeter, Stats, StatsLines
from streamparts.runtime.stream import run, run_many
from tests.live import wait_for_threads, wait_until
from tests.media import ArraySource
from tests.test_stream import Broken

pytestmark = [pytest.mark.usefixtures("no_threads_left"), pytest.mark.timeout(120)]


class Time:
    """A clock that the test turns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


def test_figures_of_late_forget_what_is_older_and_those_of_the_run_do_not(clock: Time) -> None:
    durations = Durations()
    for _ in range(100):
        clock.now += 0.1
        durations.add(0.5)
    clock.now += 2 * meter.WINDOW_SECONDS
    assert len(durations.recent_ms()) == 0
    assert durations.recent_rate() == 0
    for _ in range(20):
        clock.now += 0.05
        durations.add(0.02)
    np.testing.assert_allclose(durations.recent_ms(), [20.0] * 20)
    assert durations.recent_rate() == pytest.approx(20)
    assert durations.count == 120
    assert durations.mean_ms() == pytest.approx((100 * 500 + 20 * 20) / 120)
    assert durations.quantile_ms(0.5) == pytest.approx(500, rel=0.02)
    assert durations.quantile_ms(0.1) == pytest.approx(20, rel=0.02)


def test_a_rate_falls_while_nothing_comes(clock: Time) -> None:
    durations = Durations()
    for _ in range(31):
        clock.now += 1 / 30
        durations.add(0.001)
    assert durations.recent_rate() == pytest.approx(30)
    clock.now += 1.0
    assert durations.recent_rate() == pytest.approx(15)


def test_memory_of_durations_does_not_grow(clock: Time) -> None:
    durations = Durations()
    for _ in range(5000):
        clock.now += 1e-4
        durations.add(1e-3)
    assert len(durations._recent) == Durations._KEPT
    assert durations.recent_rate() == pytest.approx(1e4, rel=0.01)


def test_frames_that_an_output_never_writes_do_not_pile_up() -> None:
    ages = AgeMeter(num_sinks=2)
    for index in range(5000):
        ages.written(index, 0.0)
    assert len(ages._waiting) <= AgeMeter._MOST_WAITING
    assert ages.durations.count == 0
    ages.set_num_sinks(1)
    ages.written(5000, 0.0)
    assert ages.durations.count == 1


def test_stages_have_a_mean_and_a_95th_percentile() -> None:
    clock = StageClock()
    for milliseconds in range(1, 101):
        clock.add("infer", milliseconds / 1e3)
    assert clock.mean_ms()["infer"] == pytest.approx(50.5)
    assert clock.p95_ms()["infer"] == pytest.approx(95, rel=0.02)


def frame(index: int) -> Frame:
    return next(f for f in ArraySource(index + 1) if f.index == index)


def test_a_line_says_all_that_was_measured(clock: Time) -> None:
    run_meter = RunMeter("cam")
    run_meter.start()
    for index in range(30):
        clock.now += 0.1
        run_meter.clock.add("decode", 0.09)
        if index % 2:
            run_meter.clock.add("infer", 0.02)
            run_meter.ages.written(index, clock.now - 0.05)
        else:
            run_meter.counts.dropped += 1
    run_meter.saw(replace(frame(3), segment=1, gap=Gap("closed", 2.5)))
    line = run_meter.stats()
    assert msgspec.to_builtins(line)["schema"] == "streamparts.stats/1"
    assert (line.source, line.seconds, line.frames) == ("cam", 3.0, 15)
    assert (line.fps_in, line.fps_out) == (10.0, 5.0)
    assert line.age_ms == stats.Ages(50.0, 50.0, 50.0)
    assert line.stages_ms == {"decode": stats.StageTimes(90.0, 90.0), "infer": stats.StageTimes(20.0, 20.0)}
    assert (line.dropped, line.skipped, line.segments, line.gaps, line.gap_seconds) == (15, 0, 2, 1, 2.5)
    assert (line.total, line.final) == (None, False)
    clock.now += 60
    late = run_meter.stats()
    assert (late.age_ms, late.stages_ms, late.fps_in) == (None, {}, 0.0)
    final = run_meter.stats(final=True)
    assert final.fps_out == pytest.approx(15 / 63, abs=0.01)
    assert final.age_ms is not None
    assert final.age_ms.p50 == pytest.approx(50, rel=0.02)
    assert final.stages_ms["infer"].mean == 20.0


def test_counts_that_are_not_zero_are_told_with_their_numbers() -> None:
    assert list(Counts().lines()) == []
    assert list(Counts(segments=1, callback_lost=3, messages_lost=4).lines()) == [], "these have lines elsewhere"
    counts = Counts(
        dropped=11, skipped=12, segments=13, gaps=14, decode_errors=15, packets_lost=16, damaged=17, repaired_times=18
    )
    numbers = [re.findall(r"\d+", line) for line in counts.lines()]
    assert numbers == [["11"], ["12"], ["13", "14"], ["15"], ["16"], ["17"], ["18"]]


def read_lines(text: bytes) -> list[Stats]:
    assert text.endswith(b"\n")
    return [msgspec.json.decode(line, type=Stats) for line in text.splitlines()]


def test_a_run_writes_a_line_now_and_then_and_a_last_one(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "PERIOD_SECONDS", 0.01)
    path = tmp_path / "s.jsonl"
    summary = run(ArraySource(200), bundle, tracks=tmp_path / "t.jsonl", stats=path)
    lines = read_lines(path.read_bytes())
    assert [line.final for line in lines] == [False] * (len(lines) - 1) + [True]
    assert len(lines) > 3
    counts = [line.frames for line in lines]
    assert counts == sorted(counts)
    last = lines[-1]
    assert (last.frames, last.total, last.source) == (200, 200, "arrays")
    assert last.age_ms is not None
    assert last.age_ms.p50 == pytest.approx(summary.age_p50_ms, abs=0.01)
    assert last.age_ms.p99 == pytest.approx(summary.age_p99_ms, abs=0.01)
    assert set(last.stages_ms) == set(summary.stage_ms) == set(summary.stage_p95_ms)
    assert summary.warnings == ()


def test_several_sources_share_the_file_each_with_a_last_line(tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "s.jsonl"
    run_many([ArraySource(5), ArraySource(9)], bundle, out_dir=tmp_path, overlay=False, stats=path)
    lines = read_lines(path.read_bytes())
    assert {line.source: line.frames for line in lines if line.final} == {"arrays": 5, "arrays-2": 9}


def test_a_function_may_take_the_stats(bundle: Bundle) -> None:
    lines: list[Stats] = []
    run(ArraySource(7), bundle, stats=lines.append)
    assert [(line.frames, line.final) for line in lines[-1:]] == [(7, True)]


def test_stats_that_cannot_be_written_are_a_warning_and_no_error(bundle: Bundle) -> None:
    def fail(line: Stats) -> None:
        raise Broken("pipe")

    summary = run(ArraySource(7), bundle, stats=fail)
    assert summary.warnings == ("the statistics could not be written: pipe",)


def test_stats_that_nobody_takes_do_not_hold_up_the_run(bundle: Bundle) -> None:
    release = threading.Event()
    summary = run(ArraySource(7), bundle, stats=lambda line: release.wait() and None)
    assert summary.num_frames == 7
    assert summary.warnings == ("the statistics could not be written: the reader does not take them",)
    release.set()
    wait_for_threads()


def test_lines_come_while_the_source_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "PERIOD_SECONDS", 0.001)
    lines: list[Stats] = []
    writer = StatsLines([RunMeter("silent")], lines.append)
    wait_until(lambda: len(lines) >= 3, "three lines had come")
    assert writer.close() is None
    assert {(line.frames, line.age_ms, line.fps_in) for line in lines} == {(0, None, 0.0)}


def test_a_stats_file_is_an_output_like_others(tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text("precious")
    with pytest.raises(VideoError, match="--force"):
        run(ArraySource(7), bundle, stats=path)
    with pytest.raises(VideoError, match="another output"):
        run(ArraySource(7), bundle, stats=path, tracks=path, force=True)
    assert path.read_text() == "precious"


def test_the_command_line_writes_stats_to_stderr(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, video: Path, model_path: Path
) -> None:
    result = command("run", video, "--model", model_path, "--tracks", tmp_path / "t.jsonl", "--stats")
    assert result.returncode == 0
    lines = read_lines(result.stderr.encode())
    assert (lines[-1].frames, lines[-1].source, lines[-1].final) == (40, "numbered.mp4", True)


def test_the_command_line_writes_stats_to_a_file(tmp_path: Path, video: Path, model_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    words = ["run", str(video), "--model", str(model_path), "--tracks", str(tmp_path / "t.jsonl"), "--quiet"]
    assert main([*words, "--stats", str(path), "--max-fps", "10", "--policy", "all"]) == 0
    last = json.loads(path.read_text().splitlines()[-1])
    assert (last["frames"], last["skipped"], last["dropped"]) == (14, 26, 0)
