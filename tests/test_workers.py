"""Pairs drawn in worker processes, for each start method, without an end."""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Callable
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


def images(batch: PairBatch) -> np.ndarray:
    return np.stack([batch.source, batch.target, batch.target_background])


def draw(sampler: PairSampler, steps: list[int], results: SimpleQueue[np.ndarray]) -> None:
    for step in steps:
        results.put(images(sampler[step]))


def draw_as_parent_and_worker(method: str, clips: Path, on_the_fly: bool) -> None:
    sampler = PairSampler(ClipFolder.open(clips, 32, on_the_fly=on_the_fly), 3, seed=0)
    expected = {step: images(sampler[step]) for step in (4, 5)}  # the parent has read, too, before it starts the worker
    context = multiprocessing.get_context(method)
    results = context.SimpleQueue()
    worker = context.Process(target=draw, args=(sampler, [4, 5], results), daemon=True)
    worker.start()
    for step in (4, 5):
        np.testing.assert_array_equal(results.get(), expected[step])
    worker.join()


def unchanged(batch: object) -> object:
    return batch


def load_with_torch(method: str, clips: Path) -> None:
    data = importlib.import_module("torch.utils.data")
    sampler = PairSampler(ClipFolder.open(clips, 32), 2, seed=3)
    loader = data.DataLoader(
        sampler, batch_size=None, sampler=range(7, 11), num_workers=1, collate_fn=unchanged,
        multiprocessing_context=method,
    )  # fmt: skip
    for step, batch in zip(range(7, 11), loader, strict=True):
        np.testing.assert_array_equal(batch.source, sampler[step].source)


def in_a_new_process(target: Callable[..., None], *args: object) -> None:
    """Run `target` as a user's script does: forked from a process with the threads of all tests before it, a worker
    can hang for what those threads held."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=args)
    process.start()
    process.join(120)
    hangs = process.is_alive()
    if hangs:
        process.kill()
    assert not hangs, "the worker hangs"
    assert process.exitcode == 0


@pytest.mark.slow
@pytest.mark.parametrize("on_the_fly", [False, True], ids=["cache", "on_the_fly"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_worker_draws_what_its_parent_would(method: str, on_the_fly: bool, clips: Path) -> None:
    in_a_new_process(draw_as_parent_and_worker, method, clips, on_the_fly)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_torchs_loader_gives_the_batches_in_order(method: str, clips: Path) -> None:
    pytest.importorskip("torch.utils.data")
    in_a_new_process(load_with_torch, method, clips)


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
