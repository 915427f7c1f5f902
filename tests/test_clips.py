"""The decoded cache and the pairs drawn from it."""

from __future__ import annotations

import os
import pickle
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("decord")

from streamparts.errors import VideoError
from train.drawing.puppet_clips import render_clip, write_clip
from train.frames.clips import Clip, ClipFolder, cache_key, decode_clip, load_clip
from train.frames.scenery import Scenery
from train.inputs.pairs import PairBatch, PairSampler


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "a.mp4"
    write_clip(render_clip("arm", seed=1, num_frames=20, size_hw=(64, 96)), path)
    return path


def test_a_clip_is_decoded_once_and_then_mapped(video: Path, tmp_path: Path) -> None:
    first = load_clip(video, 64, tmp_path)
    assert first.frames.shape == (20, 64, 64, 3)
    assert isinstance(first.frames, np.memmap)
    (stored,) = tmp_path.glob("*.npy")
    before = stored.stat().st_mtime_ns
    load_clip(video, 64, tmp_path)
    assert stored.stat().st_mtime_ns == before


def test_decoded_frames_are_those_of_the_file_letterboxed(video: Path, tmp_path: Path) -> None:
    truth = render_clip("arm", seed=1, num_frames=20, size_hw=(64, 96)).frames
    clip = load_clip(video, 96, tmp_path)
    assert not clip.frames[:, :16].any() and not clip.frames[:, 80:].any()
    assert np.abs(clip.frames[:, 16:80].astype(int) - truth).mean() < 6


def test_a_changed_file_is_decoded_again(video: Path) -> None:
    before = cache_key(video, 64)
    os.utime(video, ns=(1, 1))
    assert cache_key(video, 64) != before != cache_key(video, 32)


def test_long_clips_are_thinned_evenly(video: Path, tmp_path: Path) -> None:
    whole, thin = tmp_path / "whole.npy", tmp_path / "thin.npy"
    decode_clip(video, 64, whole, max_frames=100)
    decode_clip(video, 64, thin, max_frames=5)
    assert (np.load(thin) == np.load(whole)[[0, 5, 10, 14, 19]]).all()


def test_broken_files_are_reported_and_the_others_used(video: Path, tmp_path: Path) -> None:
    (tmp_path / "good.mp4").write_bytes(video.read_bytes())
    (tmp_path / "bad.mp4").write_text("no video")
    folder = ClipFolder.open(tmp_path, 64)
    assert [clip.name for clip in folder.clips] == ["good.mp4"]
    assert len(folder.failures) == 1 and folder.failures[0].startswith("bad.mp4: cannot be decoded")


def test_a_folder_of_broken_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    with pytest.raises(VideoError, match="no usable clip"):
        ClipFolder.open(tmp_path, 64)


def test_pairs_come_from_one_clip_and_depend_on_seed_and_step_only(video: Path, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(video.read_bytes())
    folder = ClipFolder.open(tmp_path, 32)
    sampler, again = PairSampler(folder, 6, seed=3), PairSampler(folder, 6, seed=3)
    batch = sampler.batch(5)
    assert batch.source.shape == batch.target.shape == batch.target_background.shape == (6, 32, 32, 3)
    assert batch.source_known.shape == (6, 32, 32) and batch.source_known.all() and batch.target_known.all()
    assert (again.batch(5).source == batch.source).all()
    assert (sampler.batch(6).source != batch.source).any()
    assert all((s != t).any() for s, t in zip(batch.source, batch.target, strict=True))


def counting_folder(num_frames: int) -> ClipFolder:
    """One clip whose pixels are the number of their frame."""
    counting = np.arange(num_frames, dtype=np.uint8)[:, None, None, None].repeat(32, 1).repeat(32, 2).repeat(3, 3)
    return ClipFolder((Clip("counting", counting, Scenery(counting[0])),), ())


@pytest.mark.parametrize("neighbours", [0, 3])
def test_processes_share_the_batch_that_one_would_draw_and_no_pair_twice(neighbours: int) -> None:
    """Several processes, on one machine or more; each has a rank and their number."""
    folder = counting_folder(200)
    whole = PairSampler(folder, 12, seed=5, neighbours=neighbours).batch(7)
    for world_size in (2, 3, 4):
        samplers = [
            PairSampler(folder, 12 // world_size, 5, rank, world_size, neighbours) for rank in range(world_size)
        ]
        shares = [sampler.batch(7) for sampler in samplers]
        for field in fields(PairBatch):
            together = getattr(whole, field.name)
            if isinstance(together, bool):
                assert [getattr(share, field.name) for share in shares] == [together] * world_size, field.name
            elif together is not None:
                pieces = [getattr(share, field.name) for share in shares]
                assert np.array_equal(np.concatenate(pieces), together), field.name
        drawn = [tuple(pair) for share in shares for pair in zip(*numbers_of(share), strict=True)]
        assert len(set(drawn)) == 12


def test_single_frames_are_those_of_the_pairs_and_tell_which_they_are() -> None:
    one, other = (counting_folder(n).clips[0] for n in (5, 7))
    folder = ClipFolder((one, replace(other, frames=other.frames[:] + np.uint8(100))), ())
    sampler = PairSampler(folder, 40, seed=2)
    single, pairs = sampler.frames(3), sampler.batch(3)
    assert (single.frames == pairs.source).all() and (single.background == pairs.source_background).all()
    assert (single.known == pairs.source_known).all()
    numbers = np.array([*range(5), *range(100, 107)])
    assert (numbers[single.index] == single.frames[:, 0, 0, 0]).all() and set(single.index) == set(range(12))
    shares = np.concatenate([PairSampler(folder, 20, 2, rank, 2).frames(3).index for rank in range(2)])
    assert (shares == single.index).all()


def numbers_of(batch: PairBatch) -> tuple[list[int], list[int]]:
    """Frame numbers of sources and targets of a counting folder."""
    return batch.source[:, 0, 0, 0].tolist(), batch.target[:, 0, 0, 0].tolist()


def test_a_triplet_has_its_target_in_the_middle() -> None:
    folder = counting_folder(8)
    batch, pairs = (PairSampler(folder, 300, seed=0, neighbours=n).batch(0) for n in (3, 0))
    assert (batch.source == pairs.source).all() and (batch.target == pairs.target).all() and pairs.before is None
    assert batch.before is not None and batch.after is not None
    before, middle, after = (x[:, 0, 0, 0].astype(int) for x in (batch.before, batch.target, batch.after))
    assert (after - middle == middle - before).all()
    assert set(after - middle) == {0, 1, 2, 3}
    assert ((after == middle) == np.isin(middle, (0, 7))).all()


def test_half_of_the_pairs_run_backwards_in_time() -> None:
    batch = PairSampler(counting_folder(8), 400, seed=0).batch(0)
    later = batch.source[:, 0, 0, 0] > batch.target[:, 0, 0, 0]
    assert 160 < later.sum() < 240


def test_the_median_background_forgets_what_moves(tmp_path: Path) -> None:
    clip = render_clip("human", seed=2, num_frames=48, size_hw=(96, 96))
    write_clip(clip, tmp_path / "human.mp4")
    stored = load_clip(tmp_path / "human.mp4", 96, tmp_path)
    still = (clip.labels == 0).mean(0) > 0.6
    empty = np.nanmedian(np.where(clip.labels[..., None] == 0, clip.frames, np.nan)[:, still], axis=0)
    assert still.mean() > 0.5
    assert np.nanmean(np.abs(stored.scenery.picture[still] - empty)) < 8


def test_a_long_clip_says_how_many_of_its_frames_are_used(video: Path, tmp_path: Path) -> None:
    assert load_clip(video, 32, tmp_path, max_frames=5).notes == ("uses 5 of its 20 frames",)


def test_frames_sought_on_the_fly_are_those_of_the_cache(video: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "a.mp4").write_bytes(video.read_bytes())
    sought, cached = (
        ClipFolder.open(clips, 32, tmp_path / name, on_the_fly=name == "sought") for name in ("sought", "cached")
    )
    assert not list((tmp_path / "sought").glob("*.npy"))
    batches = [PairSampler(folder, 5, seed=1).batch(2) for folder in (sought, cached)]
    for field in fields(PairBatch):
        one, other = (getattr(batch, field.name) for batch in batches)
        assert np.array_equal(one, other), field.name


def test_a_pickled_sampler_names_its_files_and_draws_the_same(video: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(video.read_bytes())
    for on_the_fly in (False, True):
        sampler = PairSampler(ClipFolder.open(tmp_path, 64, on_the_fly=on_the_fly), 2, seed=0)
        before = sampler[0]
        text = pickle.dumps(sampler)
        assert len(text) < 64 * 64 * 3 + 4000  # the background, not the frames
        assert (pickle.loads(text)[0].source == before.source).all()
