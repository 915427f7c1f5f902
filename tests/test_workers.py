"""Pairs drawn in worker processes, for each start method, without an end."""

from __future__ import annotations

import multiprocessing
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("decord")

from train.drawing.puppet_clips import render_clip, write_clip
from train.frames.clips import ClipFolder
from train.inputs.pairs import PairBatch, PairSampler


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for seed in (0, 1):
        write_clip(render_clip("arm", seed, 24, (64, 64), moving_camera=bool(seed)), folder / f"{seed}.mp4")
    return folder


def draw(sampler: PairSampler, steps: list[int], results: SimpleQueue[np.ndarray]) -> None:
    for step in steps:
        results.put(images(sampler[step]))


def images(batch: PairBatch) -> np.ndarray:
    return np.stack([batch.source, batch.target, batch.target_background])


@pytest.mark.slow
@pytest.mark.parametrize("on_the_fly", [False, True], ids=["cache", "on_the_fly"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_worker_draws_what_its_parent_would(method: str, on_the_fly: bool, clips: Path) -> None:
    sampler = PairSampler(ClipFolder.open(clips, 32, on_the_fly=on_the_fly), 3, seed=0)
    expected = {step: images(sampler[step]) for step in (4, 5)}  # the parent has read, too, before it starts the worker
    context = multiprocessing.get_context(method)
    results = context.SimpleQueue()
    worker = context.Process(target=draw, args=(sampler, [4, 5], results))
    worker.start()
    try:
        drawn = [results.get() for _ in range(2)] if answered(results) else None
    finally:
        worker.join(5)
        if worker.is_alive():
            worker.kill()
    assert drawn is not None, "the worker hangs"
    for step, found in zip((4, 5), drawn, strict=True):
        np.testing.assert_array_equal(found, expected[step])


def answered(results: SimpleQueue[np.ndarray], seconds: float = 30.0) -> bool:
    return results._reader.poll(seconds)  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_torchs_loader_gives_the_batches_in_order(method: str, clips: Path) -> None:
    data = pytest.importorskip("torch.utils.data")
    sampler = PairSampler(ClipFolder.open(clips, 32), 2, seed=3)
    loader = data.DataLoader(
        sampler, batch_size=None, sampler=range(7, 11), num_workers=1, collate_fn=unchanged,
        multiprocessing_context=method,
    )  # fmt: skip
    for step, batch in zip(range(7, 11), loader, strict=True):
        np.testing.assert_array_equal(batch.source, sampler[step].source)


def unchanged(batch: object) -> object:
    return batch


def resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def test_memory_stays_flat_over_many_draws(clips: Path) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc here to read this process's memory from")
    sampler = PairSampler(ClipFolder.open(clips, 32), 4, seed=0)
    for step in range(500):
        sampler.batch(step)
    before = resident_megabytes()
    for step in range(500, 5500):
        sampler.batch(step)  # four pairs each: 20,000 pairs
    assert resident_megabytes() - before < 4


@pytest.mark.slow
def test_memory_stays_flat_when_seeking(clips: Path) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc here to read this process's memory from")
    sampler = PairSampler(ClipFolder.open(clips, 32, on_the_fly=True), 1, seed=0)
    for step in range(100):
        sampler.batch(step)
    before = resident_megabytes()
    for step in range(100, 500):
        sampler.batch(step)
    assert resident_megabytes() - before < 8
