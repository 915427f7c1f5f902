"""The decoded cache and the pairs that come from it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("decord")

from streamparts.errors import VideoError
from train.clips import ClipFolder, PairSampler, cache_key, decode_clip, load_clip
from train.puppets import render_clip, write_clip


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
    assert batch.source.shape == batch.target.shape == batch.background.shape == (6, 32, 32, 3)
    assert (again.batch(5).source == batch.source).all()
    assert (sampler.batch(6).source != batch.source).any()
    assert all((s != t).any() for s, t in zip(batch.source, batch.target, strict=True))


def test_both_orders_of_time_are_drawn(tmp_path: Path) -> None:
    counting = np.arange(8, dtype=np.uint8)[:, None, None, None].repeat(32, 1).repeat(32, 2).repeat(3, 3)
    from train.clips import Clip

    folder = ClipFolder((Clip("counting", counting, counting[0]),), ())
    batch = PairSampler(folder, 64, seed=0).batch(0)
    later = batch.source[:, 0, 0, 0] > batch.target[:, 0, 0, 0]
    assert 16 < later.sum() < 48


def test_the_median_background_forgets_what_moves(tmp_path: Path) -> None:
    clip = render_clip("human", seed=2, num_frames=48, size_hw=(96, 96))
    write_clip(clip, tmp_path / "human.mp4")
    stored = load_clip(tmp_path / "human.mp4", 96, tmp_path)
    still = (clip.labels == 0).mean(0) > 0.6
    empty = np.nanmedian(np.where(clip.labels[..., None] == 0, clip.frames, np.nan)[:, still], axis=0)
    assert still.mean() > 0.5
    assert np.nanmean(np.abs(stored.background[still] - empty)) < 8
