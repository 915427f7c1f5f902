"""The background of every frame: still cameras are recognised, moving ones tracked, failures reported."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("decord")

from train.drawing.puppet_clips import render_clip, write_clip
from train.frames.camera import follow_camera, grey, motion_between
from train.frames.clips import ClipFolder, load_clip
from train.frames.readers import letterboxed
from train.frames.scenery import Scenery, find_scenery

Frames = np.ndarray


def rendered(kind: str, seed: int, moving: bool, size: int = 64, num_frames: int = 72) -> tuple[Frames, Frames]:
    """(F, S, S, 3) frames and (F, S, S) true foreground."""
    clip = render_clip(kind, seed, num_frames, (256, 256), moving_camera=moving)
    masks = np.repeat((clip.labels[..., None] > 0) * np.uint8(255), 3, axis=-1)
    frames, truth = (np.stack([letterboxed(x, size) for x in images]) for images in (clip.frames, masks))
    return frames, truth[..., 0] > 127


def texture(size: int, seed: int = 0) -> Frames:
    noise = np.random.default_rng(seed).uniform(0, 255, (size // 4, size // 4, 3)).astype(np.float32)
    return np.clip(cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def foreground_iou(scenery: Scenery, frames: Frames, truth: Frames) -> float:
    both, either = 0, 0
    for index, (frame, mask) in enumerate(zip(frames, truth, strict=True)):
        background, known = scenery.behind(index, frame)
        found = cv2.absdiff(frame, background).max(axis=-1) > 18
        both, either = both + (found & mask & known).sum(), either + ((found | mask) & known).sum()
    return both / either


@pytest.mark.parametrize("kind", ["human", "quadruped", "arm"])
def test_the_silhouette_is_as_good_under_a_moving_camera_as_under_a_still_one(kind: str) -> None:
    still, moving = (find_scenery(rendered(kind, 1, moves)[0]) for moves in (False, True))
    assert still.trusted and not still.moves and moving.moves
    frames, truth = rendered(kind, 1, True)
    under_moving = foreground_iou(moving, frames, truth)
    assert under_moving > 0.72
    assert under_moving > foreground_iou(still, *rendered(kind, 1, False)) - 0.05
    median = Scenery(np.median(frames[::2], axis=0).astype(np.uint8))
    assert under_moving > foreground_iou(median, frames, truth) + 0.15
    assert np.mean([moving.behind(i, frame)[1].mean() for i, frame in enumerate(frames)]) > 0.95


def test_under_a_still_camera_every_frame_has_the_median_and_all_of_it_is_known() -> None:
    frames, _ = rendered("human", 2, False)
    scenery = find_scenery(frames)
    spread = np.linspace(0, 71, 49).round().astype(int)
    for index in (0, 50):
        background, known = scenery.behind(index, frames[index])
        np.testing.assert_array_equal(background, np.median(frames[spread], axis=0).astype(np.uint8))
        assert known.all()


def test_the_motion_of_the_camera_is_found_to_a_fraction_of_a_pixel() -> None:
    large = texture(160)
    matrix = np.array([[0.995, -0.05, 3.5], [0.05, 0.995, -2.25], [0, 0, 1]])
    inside = (slice(40, 104), slice(40, 104))
    first, second = large[inside], cv2.warpPerspective(large, shifted(matrix, 40), (160, 160))[inside]
    second = second.copy()
    second[20:44, 24:40] = texture(64, 5)[:24, :16]  # a subject that moves otherwise
    found = motion_between(grey(first), grey(second), np.eye(3))
    assert found is not None
    points = np.array([[8, 56, 32], [8, 8, 50], [1, 1, 1]])
    assert np.abs((found.motion - matrix) @ points).max() < 0.3


def shifted(matrix: np.ndarray, offset: int) -> np.ndarray:
    """The same motion in an image that starts `offset` pixels earlier."""
    move = np.array([[1, 0, offset], [0, 1, offset], [0, 0, 1]])
    return move @ matrix @ np.linalg.inv(move)


def test_letterbox_bars_do_not_hold_the_camera_still() -> None:
    wide = texture(256)[:90]
    frames = np.stack([letterboxed(wide[:, x : x + 160], 64) for x in range(0, 90, 3)])
    scenery = find_scenery(frames)
    assert scenery.moves and (scenery.box.top, scenery.box.bottom) == (14, 50)
    background, known = scenery.behind(3, frames[3])
    assert known[:14].all() and not background[:14].any()
    assert np.abs(background.astype(int) - frames[3])[known].mean() < 3


def test_places_that_only_a_few_frames_show_are_not_known() -> None:
    wide = texture(256)
    frames = np.stack([wide[:64, x : x + 64] for x in range(0, 60, 2)])
    scenery = find_scenery(frames)
    first = scenery.behind(0, frames[0])[1]
    assert scenery.moves and first[8:56, 20:].all() and not first[8:56, :5].any()


def test_a_picture_that_changes_wholly_is_not_known_and_is_reported(tmp_path: Path) -> None:
    frames = np.stack([texture(64, seed) for seed in range(12)])
    folder = tmp_path / "noise"
    folder.mkdir()
    for index, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{index}.png"), frame)
    clips = ClipFolder.open(tmp_path, 64)
    assert not clips.clips[0].scenery.behind(0, frames[0])[1].any()
    assert clips.notes == ("noise: the whole image moves and could not be tracked; the background is unknown",)


def test_frames_after_a_cut_are_not_placed() -> None:
    before, after = texture(128), texture(128, 9)
    frames = np.stack(
        [before[:64, x : x + 64] for x in range(0, 48, 2)] + [after[x : x + 64, :64] for x in range(0, 12, 2)]
    )
    path = follow_camera([grey(frame) for frame in frames])
    assert not np.isnan(path[:24]).any() and np.isnan(path[24:]).all()
    scenery = find_scenery(frames)
    assert scenery.moves and not scenery.behind(26, frames[26])[1].any() and scenery.behind(12, frames[12])[1].any()


def test_the_scenery_is_found_once_and_then_read_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(render_clip("arm", 1, 48, (128, 128), moving_camera=True), tmp_path / "a.mp4")
    first = load_clip(tmp_path / "a.mp4", 64, tmp_path)
    monkeypatch.setattr("train.frames.clips.find_scenery", None)
    again = load_clip(tmp_path / "a.mp4", 64, tmp_path)
    assert first.scenery.moves and again.notes == first.notes == (
        "the camera moves; the background is known for 48 of 48 frames",
    )
    behind = [clip.scenery.behind(5, clip.frames[5]) for clip in (first, again)]
    for one, other in zip(*behind, strict=True):
        np.testing.assert_array_equal(one, other)
