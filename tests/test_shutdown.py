"""Runs end in spite of hanging or failing components, report what was abandoned, and keep what was written."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streamparts.bundle.load import Bundle
from streamparts.data import Frame, Tracks
from streamparts.runtime import callback
from streamparts.runtime.loop import track
from streamparts.runtime.options import Policy
from streamparts.runtime.stats import Progress
from streamparts.runtime.stream import run
from streamparts.runtime.summary import Summary
from streamparts.tracksfile.writing import JsonlSink
from tests.live import DeafSource, GatedBackend, HandSource, wait_for_threads, wait_until
from tests.media import ArraySource, decode, read_number
from tests.test_stream import Broken, BrokenBackend, num_lines

pytestmark = [pytest.mark.usefixtures("no_threads_left"), pytest.mark.timeout(120)]
POLICIES = pytest.mark.parametrize("policy", ["all", "latest"])


def stopped_after(num_frames: int, work: Callable[[threading.Event, Callable[[Progress], None]], Summary]) -> Summary:
    """Summary of a run that is stopped from another thread after that many frames."""
    stop, reached = threading.Event(), threading.Event()
    if num_frames == 0:
        reached.set()

    def progress(now: Progress) -> None:
        if now.num_frames >= num_frames:
            reached.set()

    def tell() -> None:
        reached.wait()
        time.sleep(0.1)
        stop.set()

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    return work(stop, progress)


def test_a_run_whose_live_source_gives_nothing_ends_when_told_to(tmp_path: Path, bundle: Bundle) -> None:
    source, path = HandSource(), tmp_path / "t.jsonl"
    source.give(1)
    summary = stopped_after(1, lambda stop, now: run(source, bundle, tracks=path, stop=stop, progress=now))
    assert summary.interrupted
    assert (summary.num_frames, num_lines(path)) == (1, 2)
    assert summary.warnings == ()
    assert source.closed, "closing a live source is what wakes the thread that reads it"


def test_a_source_that_never_gives_a_frame_can_be_left(bundle: Bundle) -> None:
    source = HandSource()
    summary = stopped_after(0, lambda stop, now: run(source, bundle, stop=stop, progress=now))
    assert (summary.num_frames, summary.interrupted) == (0, True)


def test_a_source_that_hangs_for_good_is_left_behind_and_named(tmp_path: Path, bundle: Bundle) -> None:
    source, path = DeafSource(3), tmp_path / "t.jsonl"
    summary = stopped_after(3, lambda stop, now: run(source, bundle, tracks=path, stop=stop, progress=now))
    assert (summary.num_frames, num_lines(path)) == (3, 4)
    assert any("source did not stop" in line for line in summary.warnings)
    source.release.set()
    wait_for_threads()


def test_a_network_that_hangs_is_left_behind_and_the_outputs_are_closed(tmp_path: Path, bundle: Bundle) -> None:
    backend, overlay, tracks = GatedBackend(bundle, stuck_at=8), tmp_path / "o.mp4", tmp_path / "t.jsonl"
    summary = stopped_after(
        8,
        lambda stop, now: run(
            ArraySource(100), bundle, backend=backend, overlay=overlay, tracks=tracks, stop=stop, progress=now
        ),
    )
    assert any("the network did not" in line for line in summary.warnings)
    assert num_lines(tracks) == 1 + 8
    assert [read_number(image) for image, _ in decode(overlay)] == list(range(8))
    backend.release.set()
    wait_for_threads()
    assert num_lines(tracks) == 1 + 8, "what comes out too late is not written"


def stuck_tracks(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Blocks the tracks file at frame 2 until the first event is set; the second one reports the block."""
    release, hangs, write = threading.Event(), threading.Event(), JsonlSink.write

    def hang(self: JsonlSink, tracks: Tracks) -> None:
        if tracks.index == 2:
            hangs.set()
            release.wait()
        write(self, tracks)

    monkeypatch.setattr(JsonlSink, "write", hang)
    return release, hangs


def test_an_output_that_hangs_is_left_behind_and_the_other_one_is_complete(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    (release, _), overlay = stuck_tracks(monkeypatch), tmp_path / "o.mp4"
    summary = stopped_after(
        4,
        lambda stop, now: run(
            ArraySource(100), bundle, overlay=overlay, tracks=tmp_path / "t.jsonl", stop=stop, progress=now
        ),
    )
    assert any("t.jsonl did not stop" in line for line in summary.warnings)
    numbers = [read_number(image) for image, _ in decode(overlay)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= 4
    release.set()
    wait_for_threads()


def test_an_output_that_hangs_and_a_source_that_is_silent_are_told_apart(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    (release, hangs), source, stop = stuck_tracks(monkeypatch), HandSource(), threading.Event()
    path = tmp_path / "t.jsonl"

    def progress(now: Progress) -> None:
        source.give(1 if now.num_frames < 3 else 0)

    def stop_when_stuck() -> None:
        hangs.wait()
        stop.set()

    source.give(1)
    threading.Thread(target=stop_when_stuck, daemon=True).start()
    summary = run(source, bundle, tracks=path, progress=progress, stop=stop)
    (warning,) = summary.warnings
    assert "t.jsonl did not stop in time" in warning
    assert source.closed
    release.set()
    wait_for_threads()


def test_an_error_ends_the_run_although_an_output_hangs(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, _ = stuck_tracks(monkeypatch)
    source = ArraySource(100, fail_at=4, error=Broken("source"))
    with pytest.raises(Broken, match="source") as caught:
        run(source, bundle, tracks=tmp_path / "t.jsonl")
    assert any("t.jsonl did not stop" in note for note in caught.value.__notes__)
    release.set()
    wait_for_threads()


def test_ctrl_c_in_the_waiting_thread_ends_the_run(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    source, calls = HandSource(), iter(range(10))

    def interrupted(self: object) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("streamparts.runtime.job.Job.watch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(source, bundle)


@POLICIES
def test_leaving_the_loop_ends_a_live_source_that_gives_nothing(bundle: Bundle, policy: Policy) -> None:
    source = HandSource()

    def leave() -> None:
        with closing(track(source, bundle, policy=policy)) as results:
            source.give(1)
            assert next(results).index == 0

    leave()
    assert source.closed


def test_leaving_the_loop_of_a_source_that_hangs_warns_of_the_thread_left_behind(bundle: Bundle) -> None:
    source = DeafSource(1)

    def leave() -> None:
        with closing(track(source, bundle)) as results:
            next(results)

    with pytest.warns(RuntimeWarning, match=r"source.*stop"):
        leave()
    source.release.set()
    wait_for_threads()


@POLICIES
@pytest.mark.parametrize("stage", ["source", "backend", "progress", "on_tracks", "sink"])
def test_an_error_in_any_stage_ends_the_run_with_it(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, stage: str, policy: Policy
) -> None:
    def fail(*_: object) -> None:
        raise Broken(stage)

    if stage == "sink":
        monkeypatch.setattr(JsonlSink, "write", fail)
    source = ArraySource(100_000, fail_at=5 if stage == "source" else None, error=Broken(stage))
    with pytest.raises(Broken, match=stage):
        run(
            source,
            bundle,
            policy=policy,
            backend=BrokenBackend(bundle, 3) if stage == "backend" else "onnxruntime",
            tracks=tmp_path / "t.jsonl",
            on_tracks=fail if stage == "on_tracks" else None,
            progress=fail if stage == "progress" else None,
        )
    assert (tmp_path / "t.jsonl").read_bytes().endswith(b"\n")


def test_an_error_of_the_callback_ends_a_run_whose_source_gives_nothing(bundle: Bundle) -> None:
    source = HandSource()
    source.give(1)

    def fail(tracks: Tracks) -> None:
        raise Broken("callback")

    with pytest.raises(Broken, match="callback"):
        run(source, bundle, on_tracks=fail)


class Stuck:
    """A callback that hangs at its first result."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.seen: list[int] = []

    def __call__(self, tracks: Tracks) -> None:
        self.seen.append(tracks.index)
        self.release.wait()


@POLICIES
def test_a_stuck_callback_costs_its_own_results_only(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, policy: Policy
) -> None:
    monkeypatch.setattr(callback, "STUCK_SECONDS", 0.2)
    stuck, path = Stuck(), tmp_path / "t.jsonl"
    summary = run(ArraySource(40), bundle, tracks=path, on_tracks=stuck, policy=policy)
    assert num_lines(path) == 1 + summary.num_frames == 1 + 40 - summary.counts.dropped
    assert len(stuck.seen) == 1
    assert summary.counts.callback_lost == summary.num_frames - 1
    assert any("callback did not return" in line for line in summary.warnings)
    stuck.release.set()
    wait_for_threads()


@POLICIES
def test_a_callback_that_is_stuck_in_the_last_result_is_left_behind(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, policy: Policy
) -> None:
    """Nothing waits for it any more, but it has not returned either."""
    monkeypatch.setattr(callback, "STUCK_SECONDS", 0.2)
    stuck = Stuck()
    summary = run(ArraySource(1), bundle, on_tracks=stuck, policy=policy)
    assert (summary.num_frames, stuck.seen) == (1, [0])
    assert any("callback did not return" in line for line in summary.warnings)
    stuck.release.set()
    wait_for_threads()


def test_a_slow_callback_gets_the_newest_result_of_a_live_source(bundle: Bundle) -> None:
    source, slow = HandSource(), Stuck()
    done: list[int] = []

    def progress(now: Progress) -> None:
        done.append(now.num_frames)
        if now.num_frames == 1:
            wait_until(lambda: slow.seen == [0], "the callback was busy")
        if now.num_frames == 6:
            slow.release.set()
            source.finish()
        else:
            source.give(1)

    source.give(1)
    summary = run(source, bundle, on_tracks=slow, progress=progress)
    assert slow.seen == [0, 5]
    assert (summary.num_frames, summary.counts.callback_lost) == (6, 4)


def test_a_callback_sees_every_result_of_a_file_in_order(bundle: Bundle) -> None:
    seen: list[int] = []
    summary = run(ArraySource(100), bundle, on_tracks=lambda tracks: seen.append(tracks.index))
    assert seen == list(range(100))
    assert (summary.counts.callback_lost, summary.warnings) == (0, ())


class StubbornSource(HandSource):
    """Gives no frame and hangs or fails in `close`."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.release = threading.Event()
        self._close_error = error

    def close(self) -> None:
        if self._close_error:
            self.finish()
            raise self._close_error
        self.release.wait()
        super().close()


def test_a_source_whose_close_hangs_is_left_behind_and_named(bundle: Bundle) -> None:
    source = StubbornSource()
    summary = stopped_after(0, lambda stop, now: run(source, bundle, stop=stop, progress=now))
    assert summary.interrupted
    assert any("source did not stop in time" in line for line in summary.warnings)
    source.release.set()
    wait_for_threads()


def test_a_source_that_fails_when_it_is_broken_off_is_no_error(bundle: Bundle) -> None:
    source = StubbornSource(Broken("close"))
    summary = stopped_after(0, lambda stop, now: run(source, bundle, stop=stop, progress=now))
    assert (summary.interrupted, summary.warnings) == (True, ())


class ClosingSource(ArraySource):
    """Fails in its own close, as drivers do."""

    path = "closing"

    def close(self) -> None:
        raise Broken("close")

    def __iter__(self) -> Iterator[Frame]:
        return super().__iter__()


def test_an_error_while_the_source_is_closed_is_raised(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamparts.runtime.job.open_source", lambda path: ClosingSource(3))
    with pytest.raises(Broken, match="close"):
        run("any", bundle)
