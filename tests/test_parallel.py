"""The network on two frames at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import streamparts
from streamparts.arrays import ByteArray
from streamparts.backends import parallel
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.backends.parallel import ParallelRuns, can_run_in_parallel
from streamparts.bundle.load import Bundle
from streamparts.data import NetworkOutputs
from streamparts.errors import ModelError
from streamparts.meter import StageClock
from streamparts.runtime.stream import run
from tests.media import picture

pytestmark = [pytest.mark.usefixtures("no_threads_left"), pytest.mark.timeout(60)]


class Met(OnnxRuntimeBackend):
    """Notes how many calls run at once, and lets the first two wait for each other."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, threads=1)
        self._barrier, self._lock = threading.Barrier(2, timeout=20), threading.Lock()
        self.num_calls = 0

    def run(self, images: ByteArray) -> NetworkOutputs:
        with self._lock:
            self.num_calls += 1
            number = self.num_calls
        if number <= 2:
            self._barrier.wait()
        return super().run(images)


class Stepping(OnnxRuntimeBackend):
    """Each image waits until the test lets the one of its brightness pass."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, threads=1)
        self.may_pass = {level: threading.Event() for level in range(4)}
        self.has_begun = threading.Event()

    def run(self, images: ByteArray) -> NetworkOutputs:
        level = int(images.max())
        self.has_begun.set()
        self.may_pass[level].wait()
        if level == 3:
            raise ModelError("too bright")
        return super().run(images)


def image(level: int, bundle: Bundle) -> ByteArray:
    return np.full((1, *bundle.spec.input_hw, 3), level, np.uint8)


@pytest.fixture
def stepping(bundle: Bundle) -> Iterator[tuple[Stepping, ParallelRuns]]:
    backend = Stepping(bundle)
    runs = ParallelRuns(backend, bundle.spec.input_hw)
    yield backend, runs
    for event in backend.may_pass.values():
        event.set()
    assert runs.close()


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "usable_cores", lambda: 2)


def lines(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_text().splitlines()][1:]


@pytest.mark.usefixtures("two_cores")
def test_batches_of_several_sources_run_at_once_with_the_results_of_each_alone(
    video: Path, bundle: Bundle, tmp_path: Path
) -> None:
    backend = Met(bundle)
    words = [video, video, video]
    outcomes = streamparts.run_many(words, bundle, backend=backend, out_dir=tmp_path, overlay=False, masks=True)
    assert [outcome.error for outcome in outcomes] == [None] * 3
    run(video, bundle, backend=OnnxRuntimeBackend(bundle, threads=1), tracks=tmp_path / "alone.jsonl", masks=True)
    for outcome in outcomes:
        assert lines(tmp_path / f"{outcome.source}.tracks.jsonl") == lines(tmp_path / "alone.jsonl")


@pytest.mark.usefixtures("two_cores")
def test_a_live_source_is_tracked_one_frame_after_the_other(bundle: Bundle) -> None:
    backend = Met(bundle)
    backend._barrier.abort()  # two at once would now fail
    backend.num_calls = 2
    tracks = list(streamparts.track("test://?seconds=0.2&live=1&size=96x96", bundle, backend=backend))
    assert tracks
    assert not any(thread.name.startswith("streamparts-network") for thread in threading.enumerate())


@pytest.mark.usefixtures("two_cores")
def test_a_backend_that_does_not_state_it_runs_one_after_the_other(bundle: Bundle) -> None:
    class Plain:
        name = "plain"

        def run(self, images: ByteArray) -> NetworkOutputs:
            raise AssertionError

    assert can_run_in_parallel(OnnxRuntimeBackend(bundle))
    assert not can_run_in_parallel(Plain())


def test_results_come_in_order_though_the_second_ends_first(
    stepping: tuple[Stepping, ParallelRuns], bundle: Bundle
) -> None:
    backend, runs = stepping
    for level in (0, 2):
        runs.submit(image(level, bundle))
    with pytest.raises(ValueError, match="2 batches"):
        runs.submit(image(1, bundle))
    second = runs._under_way[1]
    backend.may_pass[2].set()
    assert second.done.wait(20)
    assert not runs._under_way[0].done.is_set()
    backend.may_pass[0].set()
    for level in (0, 2):
        wanted = OnnxRuntimeBackend(bundle, threads=1).run(image(level, bundle))
        np.testing.assert_array_equal(runs.collect().scores, wanted.scores)
    with pytest.raises(ValueError, match="nothing"):
        runs.collect()


def test_an_error_belongs_to_its_batch(stepping: tuple[Stepping, ParallelRuns], bundle: Bundle) -> None:
    backend, runs = stepping
    backend.may_pass[3].set()
    backend.may_pass[1].set()
    for level in (3, 1):
        runs.submit(image(level, bundle))
    with pytest.raises(ModelError, match="too bright"):
        runs.collect()
    assert len(runs.collect().scores) == 1


def test_memory_may_be_written_again_after_submit_but_for_that_of_rows(bundle: Bundle) -> None:
    clock = StageClock()
    runs = ParallelRuns(OnnxRuntimeBackend(bundle, threads=1), bundle.spec.input_hw, clock)
    height, width = bundle.spec.input_hw
    images = picture(3, height, width)[None].copy()
    wanted = runs.run(images)
    runs.submit(images)
    images[:] = 0
    rows = runs.rows(1)
    rows[0] = picture(3, height, width)
    runs.submit(rows)
    for _ in range(2):
        np.testing.assert_array_equal(runs.collect().affines, wanted.affines)
    assert clock.stages()["infer"].count == 3
    assert runs.close()


def test_closing_does_not_wait_for_a_network_that_hangs(bundle: Bundle) -> None:
    backend = Stepping(bundle)
    runs = ParallelRuns(backend, bundle.spec.input_hw)
    runs.submit(image(0, bundle))
    assert backend.has_begun.wait(20)
    assert not runs.close(0.1)
    with pytest.raises(ModelError, match="closed"):
        runs.collect()
    backend.may_pass[0].set()
    assert runs.close()
