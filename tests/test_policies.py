"""Policies for frames that arrive faster than they are processed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from streamparts.arrays import ByteArray
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.bundle.load import Bundle
from streamparts.data import Frame, Gap, NetworkOutputs, Tracks, standing_for
from streamparts.runtime.loop import track
from streamparts.runtime.options import Policy, Tracking, default_policy
from streamparts.runtime.pipeline import Pipeline
from streamparts.runtime.stats import RunMeter
from streamparts.runtime.stream import run
from streamparts.threads import Channel
from streamparts.tracksfile.writing import JsonlSink
from tests.live import HandSource
from tests.media import ArraySource

pytestmark = [pytest.mark.usefixtures("no_threads_left"), pytest.mark.timeout(120)]


def test_a_full_channel_that_replaces_never_makes_the_putter_wait() -> None:
    channel: Channel[int] = Channel(1, lambda waiting, newer: newer + 100 * waiting)
    assert [channel.put(number) for number in (1, 2, 3)] == [True] * 3
    channel.finish()
    assert list(channel) == [3 + 100 * (2 + 100 * 1)], "the newest is left, made from all that it replaced"


def test_a_channel_without_room_gives_up_in_time() -> None:
    channel: Channel[int] = Channel(1)
    channel.put(1)
    assert channel.put(2, timeout=0.01) is False
    channel.finish()
    assert list(channel) == [1]


def test_a_cancelled_channel_ends_its_taker_and_forgets_the_error() -> None:
    channel: Channel[int] = Channel(1)
    channel.put(1)
    channel.cancel()
    channel.finish(ValueError("too late"))
    assert list(channel) == []


def test_live_sources_default_to_the_latest_frame_and_files_to_all() -> None:
    assert default_policy(HandSource()) == "latest"
    assert default_policy(ArraySource(1)) == "all"


def test_a_live_consumer_always_gets_the_newest_frame_with_the_number_of_those_dropped(bundle: Bundle) -> None:
    source, seen = HandSource(), list[Tracks]()

    def consume() -> None:
        with closing(track(source, bundle)) as results:
            source.give(1)
            seen.append(next(results))
            for burst in (2, 2, 1, 5, 2, 2):
                source.give_and_wait(burst)
                seen.append(next(results))
                assert seen[-1].index == source.num_given - 1, "nothing newer was there to be had"
            source.give_and_wait(3)
            source.finish()
            seen.extend(results)

    consume()
    assert [tracks.index for tracks in seen] == [0, 2, 4, 5, 10, 12, 14, 17]
    assert [tracks.frame.dropped for tracks in seen] == [0, 1, 1, 0, 4, 1, 1, 2]
    assert sum(tracks.frame.dropped for tracks in seen) + len(seen) == source.num_given


class SlowBackend:
    """While the network works, the source gives two frames more."""

    name = "slow"

    def __init__(self, bundle: Bundle, source: HandSource, num_calls: int) -> None:
        self._inner, self._source, self._left = OnnxRuntimeBackend(bundle, threads=1), source, num_calls

    def run(self, images: ByteArray) -> NetworkOutputs:
        self._left -= 1
        if self._left > 0:
            self._source.give_and_wait(2)
        elif self._left == 0:
            self._source.finish()
        return self._inner.run(images)


def test_a_network_that_is_twice_too_slow_costs_frames_and_results_stay_two_frames_old(bundle: Bundle) -> None:
    source, meter = HandSource(), RunMeter()
    pipeline = Pipeline(source, bundle, SlowBackend(bundle, source, 200), meter=meter)
    source.give(1)
    ages, dropped = zip(*[(source.num_given - 1 - t.index, t.frame.dropped) for t in pipeline], strict=True)
    assert pipeline.close()
    assert len(ages) == 200
    assert max(ages) <= 2
    assert sum(dropped) == meter.counts.dropped == source.num_given - len(ages)


def test_an_output_that_is_twice_too_slow_costs_frames_and_what_it_writes_gets_no_older(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, ages, write = HandSource(), list[int](), JsonlSink.write

    def slow_write(self: JsonlSink, tracks: Tracks) -> None:
        if len(ages) < 100:
            source.give_and_wait(2)
        else:
            source.finish()
        ages.append(source.num_given - 1 - tracks.index)
        write(self, tracks)

    monkeypatch.setattr(JsonlSink, "write", slow_write)
    source.give(1)
    summary = run(source, bundle, tracks=tmp_path / "t.jsonl")
    assert summary.num_frames + summary.counts.dropped == source.num_given
    assert len(ages) == summary.num_frames > 100
    assert max(ages) <= 8, "written, waiting to be written, just done: two frames each, and the two that come meanwhile"


def test_what_a_dropped_frame_would_have_told_is_told_by_the_next_one(bundle: Bundle) -> None:
    source, seen = HandSource(), list[Tracks]()

    def consume() -> None:
        with closing(track(source, bundle)) as results:
            source.give(1)
            seen.append(next(results))
            source.give_and_wait(1, segment=1, gap=Gap("closed", 2.0))
            source.give_and_wait(1, segment=1)
            seen.append(next(results))
            source.give_and_wait(1, segment=2, gap=Gap("closed", 1.0))
            source.give_and_wait(1, segment=3, gap=Gap("silent", 3.0))
            seen.append(next(results))

    consume()
    assert [tracks.frame.segment for tracks in seen] == [0, 1, 3]
    assert [tracks.frame.gap for tracks in seen] == [None, Gap("closed", 2.0), Gap("closed; silent", 4.0)]


def test_what_a_source_has_dropped_itself_is_counted_on(bundle: Bundle) -> None:
    first, second = (replace(frame, dropped=2) for frame in ArraySource(2))
    assert standing_for(first, second, num_dropped=1).dropped == 5
    plain = next(iter(ArraySource(1)))
    assert standing_for(plain, second, num_dropped=0) is second


def test_of_a_file_nothing_is_dropped_however_slow_the_consumer(bundle: Bundle) -> None:
    source = ArraySource(60)
    frames = [tracks.frame for tracks in track(source, bundle)]
    assert [frame.index for frame in frames] == list(range(60))
    assert not any(frame.dropped for frame in frames)


def test_a_file_may_be_played_with_the_policy_of_live_sources(bundle: Bundle) -> None:
    seen = list(track(ArraySource(300), bundle, policy="latest"))
    assert seen[-1].index == 299, "the last frame is never dropped"
    assert len(seen) + sum(tracks.frame.dropped for tracks in seen) == 300


def test_a_live_source_may_be_played_with_the_policy_of_files(bundle: Bundle) -> None:
    source = HandSource()
    source.give(50)
    source.finish()
    assert [tracks.index for tracks in track(source, bundle, policy="all")] == list(range(50))


def processed(source: ArraySource, bundle: Bundle, max_fps: float) -> tuple[list[int], RunMeter]:
    meter = RunMeter()
    pipeline = Pipeline(source, bundle, OnnxRuntimeBackend(bundle, threads=1), Tracking(max_fps=max_fps), meter)
    with closing(pipeline):
        return [tracks.index for tracks in pipeline], meter


@pytest.mark.parametrize(
    ("max_fps", "expected"),
    [
        (10, [0, 3, 6, 9]),
        (20, [0, 2, 3, 5, 6, 8, 9, 11]),
        (25, [0, 2, 3, 4, 5, 6, 8, 9, 10, 11]),
        (30, range(12)),
        (99, range(12)),
    ],
)
def test_a_maximal_rate_leaves_out_frames_evenly_and_counts_them(
    bundle: Bundle, max_fps: float, expected: list[int]
) -> None:
    indices, meter = processed(ArraySource(12), bundle, max_fps)
    assert indices == list(expected)
    assert (meter.counts.skipped, meter.counts.dropped) == (12 - len(indices), 0)


class RoundedSource(ArraySource):
    """Times in whole milliseconds; the stream breaks off after six frames and restarts at another time."""

    time_base = Fraction(1, 1000)

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            broken = frame.index >= 6
            pts = round(1000 * frame.index / 30) - (5000 if broken else 0)
            gap = Gap("closed", 1.5) if frame.index in (4, 6) else None
            yield replace(frame, pts=pts, segment=int(broken), gap=gap)


def test_times_that_are_rounded_cost_no_frame_at_the_sources_own_rate(bundle: Bundle) -> None:
    indices, _ = processed(RoundedSource(40), bundle, 30)
    assert indices == list(range(40))


def test_the_first_frame_of_a_segment_is_always_taken_and_no_gap_is_lost(bundle: Bundle) -> None:
    results = list(track(RoundedSource(12), bundle, max_fps=10))
    assert [tracks.index for tracks in results] == [0, 3, 6, 9]
    assert [tracks.frame.gap for tracks in results] == [None, None, Gap("closed", 3.0), None]


@pytest.mark.parametrize("options", [{"max_fps": 0}, {"max_fps": float("inf")}, {"policy": "some"}])
def test_arguments_out_of_range_are_refused(bundle: Bundle, options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"max_fps must be|policy must be"):
        track(ArraySource(3), bundle, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", ["all", "latest"])
def test_frames_before_the_first_index_are_read_and_left_out(bundle: Bundle, policy: Policy) -> None:
    seen: list[int] = []
    summary = run(
        ArraySource(20), bundle, first_index=15, policy=policy, on_tracks=lambda tracks: seen.append(tracks.index)
    )
    assert min(seen) >= 15
    assert summary.num_frames + summary.counts.dropped == 5
    with pytest.raises(ValueError, match="first_index"):
        run(ArraySource(3), bundle, first_index=-1)


def test_the_summary_counts_what_the_frames_say(bundle: Bundle) -> None:
    source = HandSource()
    source.give(1)

    class Slow(SlowBackend):
        def run(self, images: ByteArray) -> NetworkOutputs:
            if self._left == 5:
                source.give_and_wait(1, segment=1, gap=Gap("closed", 2.0))
            return super().run(images)

    backend = Slow(bundle, source, 10)
    summary = run(source, bundle, backend=backend)
    assert summary.num_frames == 10
    assert summary.counts.dropped == source.num_given - 10
    assert (summary.counts.segments, summary.counts.gaps, summary.counts.skipped) == (2, 1, 0)
