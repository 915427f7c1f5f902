"""The subject of raw clips, found by motion, by a mask network, or in masks from another tool."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("decord")
pytest.importorskip("torch")

from streamparts.errors import ModelError, VideoError
from tests.media import write_video
from train.drawing.puppet_clips import render_clip, write_clip
from train.subject import Effort, SubjectClip, crop_frames, find_subjects
from train.subject.__main__ import main
from train.subject.boxes import Followed
from train.subject.cutting import paste
from train.subject.evidence import BACKGROUND, SUBJECT, gather
from train.subject.find import verdict
from train.subject.footage import open_footage
from train.subject.motion import LOST, MORE_SPANS, SPANS, motion_evidence, spans_of
from train.subject.values import square_around

Pictures = NDArray[np.uint8]
QUICK = Effort(keys=8, steps=30, rounds=2, again=8, batch_size=4, side=96)


def texture(seed: int, height: int, width: int) -> NDArray[np.float32]:
    """Soft noise."""
    noise = np.random.default_rng(seed).uniform(60, 160, (height // 8, width // 8, 3)).astype(np.float32)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def rolling_balls(count: int, num_frames: int = 30, radius: int = 9) -> tuple[Pictures, NDArray[np.bool_]]:
    """(F, 160, 240, 3) red balls that travel over a still ground, and where they are."""
    ground, y, x = texture(3, 160, 240), *np.indices((160, 240))
    frames, masks = np.empty((num_frames, 160, 240, 3), np.uint8), np.zeros((num_frames, 160, 240), bool)
    for i in range(num_frames):
        picture = ground.copy()
        for k in range(count):
            u = i / num_frames
            cx, cy = 30 + 180 * (u if k % 2 == 0 else 1 - u), 45 + 70 * k + 12 * np.sin(6 * u + k)
            ball = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
            stripes = 40 + 60 * ((x + y - i)[ball] // 4 % 2)
            picture[ball] = np.stack([np.full_like(stripes, 220), stripes, stripes], 1)
            masks[i] |= ball
        frames[i] = np.clip(picture, 0, 255)
    return frames, masks


def overlap(subjects: list[SubjectClip], truth: NDArray[np.bool_]) -> float:
    """Mean intersection over union of the subjects of one clip with the truth (F, H, W)."""
    values = []
    for i, row in enumerate(subjects[0].rows):
        pasted = [paste(s.masks[i].astype(np.float32) / 255, s.regions[i].tolist(), truth.shape[1:]) for s in subjects]
        mask = np.max(pasted, axis=0) > 0.5
        values.append((mask & truth[row]).sum() / max(1, (mask | truth[row]).sum()))
    return float(np.mean(values))


class Found:
    """Result for a folder of two puppets, one with a moving camera."""

    def __init__(self, folder: Path) -> None:
        self.clips, self.cache, self.said = folder / "clips", folder / "cache", list[str]()
        self.clips.mkdir()
        self.truth = {}
        for i, moving in enumerate((False, True)):
            clip = render_clip("human", i, 24, (128, 160), moving_camera=moving)
            write_clip(clip, self.clips / f"{i}.mp4")
            self.truth[f"{i}.mp4"] = clip.labels > 0
        self.subjects = find_subjects(self.clips, "motion", self.cache, say=self.said.append, effort=QUICK)


@pytest.fixture(scope="module")
def puppets(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return Found(tmp_path_factory.mktemp("puppets"))


@pytest.mark.slow
def test_the_mask_finds_a_puppet_before_a_still_and_a_moving_camera(puppets: Found) -> None:
    assert [subject.name for subject in puppets.subjects] == ["0.mp4", "1.mp4"]
    for subject in puppets.subjects:
        assert overlap([subject], puppets.truth[subject.name]) > 0.35
        assert subject.source == "motion" and subject.found.mean() > 0.9


@pytest.mark.slow
def test_every_clip_gets_a_line(puppets: Found) -> None:
    assert puppets.said[0] == "subject: motion"
    assert {line.partition(":")[0] for line in puppets.said[1:]} == {"0.mp4", "1.mp4"}


@pytest.mark.slow
def test_regions_are_squares_around_smooth_boxes_that_hold_the_puppet(puppets: Found) -> None:
    for subject in puppets.subjects:
        assert subject.regions == pytest.approx(square_around(subject.boxes), abs=0.01)
        y, x = np.nonzero(puppets.truth[subject.name][12])
        left, top, width, height = subject.regions[12]
        inside = (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
        assert inside.mean() > 0.9
        assert np.abs(np.diff(subject.boxes, axis=0)).max() < 12


@pytest.mark.slow
def test_masks_come_from_the_cache_the_second_time(puppets: Found) -> None:
    again = list[str]()
    kept = find_subjects(puppets.clips, "motion", puppets.cache, say=again.append, effort=QUICK)
    assert again == puppets.said
    assert isinstance(kept[0].masks, np.memmap) and (kept[0].masks == puppets.subjects[0].masks).all()
    assert not list(puppets.cache.glob("*.tmp"))


@pytest.mark.slow
def test_crops_show_what_the_regions_frame(puppets: Found) -> None:
    subject = puppets.subjects[0]
    crops = crop_frames(subject.clip, subject.rows, subject.regions, 128, puppets.cache)
    assert crops.shape == (24, 128, 128, 3) and isinstance(crops, np.memmap)
    mask = subject.masks[5] > 127
    truth = puppets.truth["0.mp4"][5].astype(np.float32)
    colours = render_clip("human", 0, 24, (128, 160)).frames[5][truth > 0].mean(0)
    assert np.abs(crops[5][mask].mean(0) - colours).max() < 30


@pytest.mark.slow
def test_the_command_draws_a_sheet_and_says_a_line_a_clip(
    puppets: Found, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.subject.find.Effort", lambda: QUICK)
    sheet = tmp_path / "sheet.png"
    args = [str(puppets.clips), "--subject", "motion", "--cache", str(puppets.cache), "--out", str(sheet)]
    assert main(args) == 0
    assert "1.mp4: found" in capsys.readouterr().out
    assert cv2.imread(str(sheet)).shape[0] == 2 * 132


@pytest.mark.slow
def test_a_small_subject_in_a_still_arena_is_found_with_detail(tmp_path: Path) -> None:
    frames, truth = rolling_balls(1)
    write_video(tmp_path / "ball.mp4", frames)
    (subject,) = find_subjects(tmp_path, "motion", tmp_path / ".cache", say=lambda _: None, effort=QUICK)
    assert truth[0].mean() < 0.01
    assert overlap([subject], truth) > 0.5
    assert subject.regions[:, 2].max() < 80


@pytest.mark.slow
def test_two_subjects_are_two_entries_and_keep_who_they_are(tmp_path: Path) -> None:
    frames, truth = rolling_balls(2)
    write_video(tmp_path / "balls.mp4", frames)
    said = list[str]()
    found = find_subjects(tmp_path, "motion", tmp_path / ".cache", say=said.append, effort=QUICK)
    assert [subject.name for subject in found] == ["balls.mp4@1", "balls.mp4@2"]
    assert "balls.mp4: 2 subjects" in said
    assert overlap(list(found), truth) > 0.4
    for subject in found:
        assert np.abs(np.diff(subject.boxes[:, 1])).max() < 10


def test_clips_in_which_nothing_moves_are_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    still = texture(0, 64, 96).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 4, (20, 64, 96, 3), np.uint8)
    write_video(tmp_path / "still.mp4", still[None] + noise)
    with pytest.raises(VideoError, match=r"--subject"):
        find_subjects(tmp_path, "motion", tmp_path / ".cache", say=lambda _: None, effort=QUICK)


def test_flickering_lamps_do_not_move(tmp_path: Path) -> None:
    still = texture(0, 64, 96)
    frames = np.stack([np.clip(still * (1 + 0.15 * np.sin(2.1 * i)), 0, 255) for i in range(24)]).astype(np.uint8)
    write_video(tmp_path / "lamp.mp4", frames)
    (shot,) = open_footage(tmp_path, tmp_path / ".cache", lambda _: None)
    assert not gather(shot, 4, None).moves


def test_clips_in_which_everything_moves_are_an_error_that_says_so(tmp_path: Path) -> None:
    write_video(tmp_path / "water.mp4", np.stack([texture(i, 64, 96) for i in range(16)]).astype(np.uint8))
    with pytest.raises(VideoError, match=r"everything.*moves"):
        find_subjects(tmp_path, "motion", tmp_path / ".cache", say=lambda _: None, effort=QUICK)


def disc_mask(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A mask network that sees a disc in the middle of every picture."""
    y, x = np.indices(image.shape[:2])
    return ((y - image.shape[0] / 2) ** 2 + (x - image.shape[1] / 2) ** 2 < 15**2).astype(np.float32)


def test_with_a_lost_camera_the_mask_network_is_believed(tmp_path: Path) -> None:
    write_video(tmp_path / "water.mp4", np.stack([texture(i, 64, 96) for i in range(16)]).astype(np.uint8))
    (shot,) = open_footage(tmp_path, tmp_path / ".cache", lambda _: None)
    found = gather(shot, 4, disc_mask)
    assert found.agreeing < LOST and found.believed
    followed = [Followed(np.zeros((16, 4), np.float32), np.ones(16, np.bool_))]
    assert verdict(found, followed).startswith("found by the mask network;")
    shown = [(key.trimap == SUBJECT).mean() for key in found.keys]
    assert shown == pytest.approx([disc_mask(found.keys[0].image).mean()] * len(shown), rel=0.2)


def test_ground_that_passes_at_another_speed_is_not_the_subject(tmp_path: Path) -> None:
    hill, ground = texture(0, 40, 400), texture(1, 56, 400)  # a camera that pans over a far hill and the near ground
    frames = [np.concatenate([hill[:, 2 * i : 2 * i + 96], ground[:, 8 * i : 8 * i + 96]]) for i in range(30)]
    write_video(tmp_path / "pan.mp4", np.stack(frames).astype(np.uint8))
    (shot,) = open_footage(tmp_path, tmp_path / ".cache", lambda _: None)
    assert gather(shot, 4, None).moves
    found = gather(shot, 4, disc_mask)
    assert found.believed
    outside = [key.trimap[-4:] for key in found.keys]
    assert all((rows == BACKGROUND).mean() > 0.9 for rows in outside)


def test_a_subject_that_a_camera_follows_is_seen_over_short_spans(tmp_path: Path) -> None:
    ground, fur = texture(1, 64, 400), texture(2, 64, 96)  # at 6 px a frame, half of a picture is gone after 8
    y, x = np.indices((64, 96))
    disc = (y - 32) ** 2 + (x - 48) ** 2 < 12**2
    frames = np.stack([np.where(disc[..., None], fur, ground[:, 6 * i : 6 * i + 96]) for i in range(40)])
    write_video(tmp_path / "followed.mp4", frames.astype(np.uint8))
    (shot,) = open_footage(tmp_path, tmp_path / ".cache", lambda _: None)
    rows = [5, 15, 25, 35]
    assert spans_of(shot, rows) == MORE_SPANS
    seen, nothing = (
        np.stack([motion_evidence(shot, row, spans).score for row in rows]) for spans in (MORE_SPANS, SPANS)
    )
    truth = cv2.resize(disc.astype(np.uint8), seen.shape[:0:-1]) > 0
    assert seen[:, truth].mean() > 2 * seen[:, ~truth].mean()
    assert not nothing.any()


def test_a_still_camera_needs_no_more_spans(tmp_path: Path) -> None:
    write_video(tmp_path / "ball.mp4", rolling_balls(1)[0])
    (shot,) = open_footage(tmp_path, tmp_path / ".cache", lambda _: None)
    assert spans_of(shot, [3, 12, 20]) == SPANS


def test_a_clip_is_split_at_its_cut(tmp_path: Path) -> None:
    scenes = [np.stack([np.roll(texture(seed, 64, 96), i, 1) for i in range(15)]) for seed in (1, 2)]
    write_video(tmp_path / "cut.mp4", np.concatenate(scenes).astype(np.uint8))
    first, second = open_footage(tmp_path, tmp_path / ".cache", lambda _: None)
    assert (first.name, second.name) == ("cut.mp4#1", "cut.mp4#2")
    assert first.rows.tolist() == list(range(15)) and second.rows.tolist() == list(range(15, 30))
    assert "cut into 2 shots" in second.notes


def test_black_bars_and_burnt_in_text_are_no_picture(tmp_path: Path) -> None:
    frames = np.stack([np.roll(texture(1, 128, 160), 3 * i, 1) for i in range(24)]).astype(np.uint8)
    frames[:, :20] = frames[:, -20:] = 0
    frames[:, 28:34, 10:42] = np.where(np.arange(32) // 4 % 2, 255, 0)[:, None]
    write_video(tmp_path / "bars.mp4", frames, options={"crf": "10"})  # what x264 makes of text depends on its threads
    (shot,) = open_footage(tmp_path, tmp_path / ".cache", lambda _: None)
    assert (shot.box.top, shot.box.bottom) == pytest.approx((16 + 20, 160 - 16 - 20), abs=4)
    top = 16 + 28 - shot.box.top
    assert shot.text[top : top + 6, 10:42].mean() > 0.5 and shot.text[top + 30 : -6].mean() < 0.02


@pytest.fixture
def ball(tmp_path: Path) -> tuple[Path, NDArray[np.bool_]]:
    frames, truth = rolling_balls(1, num_frames=12, radius=20)
    (tmp_path / "clips").mkdir()
    write_video(tmp_path / "clips" / "ball.mp4", frames)
    return tmp_path, truth


def as_pictures(place: Path, truth: NDArray[np.bool_]) -> None:
    (place / "ball").mkdir()
    for i, mask in enumerate(truth):
        cv2.imwrite(str(place / "ball" / f"{i}.png"), mask.astype(np.uint8) * 255)


def as_array(place: Path, truth: NDArray[np.bool_]) -> None:
    np.save(place / "ball.npy", truth)


@pytest.mark.parametrize("write", [as_pictures, as_array])
def test_masks_of_another_tool_are_cut_out_as_they_are(
    ball: tuple[Path, NDArray[np.bool_]], write: Callable[[Path, NDArray[np.bool_]], None]
) -> None:
    folder, truth = ball
    (folder / "masks").mkdir()
    write(folder / "masks", truth)
    (subject,) = find_subjects(folder / "clips", folder / "masks", folder / "cache", say=lambda _: None)
    assert overlap([subject], truth) > 0.93
    assert subject.source == "masks of masks" and subject.found.all()


def test_frames_without_a_mask_of_the_other_tool_are_not_known(ball: tuple[Path, NDArray[np.bool_]]) -> None:
    folder, truth = ball
    (folder / "masks").mkdir()
    as_pictures(folder / "masks", truth)
    (folder / "masks" / "ball" / "4.png").unlink()
    (subject,) = find_subjects(folder / "clips", folder / "masks", folder / "cache", say=lambda _: None)
    assert not subject.found[4] and not subject.known[4].any() and subject.found[3]


def test_too_many_masks_are_an_error(ball: tuple[Path, NDArray[np.bool_]]) -> None:
    folder, truth = ball
    (folder / "masks").mkdir()
    as_pictures(folder / "masks", np.concatenate([truth, truth]))
    with pytest.raises(VideoError, match=r"ball.mp4: 24 masks in .* for 12 frames"):
        find_subjects(folder / "clips", folder / "masks", folder / "cache", say=lambda _: None)


def write_redness(path: Path, channels: int = 3) -> None:
    """A mask network: whether a pixel is far redder than green."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    weight = np.zeros((1, channels, 1, 1), np.float32)
    weight[0, :2, 0, 0] = 8, -8
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "weight", "bias"], ["raw"]),
            helper.make_node("Sigmoid", ["raw"], ["mask"]),
        ],
        "redness",
        [helper.make_tensor_value_info("image", 1, [1, channels, "h", "w"])],
        [helper.make_tensor_value_info("mask", 1, [1, 1, "h", "w"])],
        [onnx.numpy_helper.from_array(weight, "weight"), onnx.numpy_helper.from_array(np.float32([-14]), "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())


@pytest.mark.slow
def test_a_mask_network_of_ones_own_is_believed(ball: tuple[Path, NDArray[np.bool_]]) -> None:
    folder, truth = ball
    write_redness(folder / "red.onnx")
    (subject,) = find_subjects(
        folder / "clips", folder / "red.onnx", folder / "cache", say=lambda _: None, effort=QUICK
    )
    assert overlap([subject], truth) > 0.6
    assert subject.source == "red.onnx"


def test_a_network_that_takes_no_image_is_refused_in_one_line(ball: tuple[Path, NDArray[np.bool_]]) -> None:
    folder, _ = ball
    write_redness(folder / "five.onnx", channels=5)
    (folder / "text.onnx").write_text("no model")
    for name, reason in (
        ("five.onnx", "one image"),
        ("text.onnx", "not an ONNX model"),
        ("none.onnx", "cannot be read"),
    ):
        with pytest.raises(ModelError, match=reason) as caught:
            find_subjects(folder / "clips", folder / name, folder / "cache", say=lambda _: None)
        assert "\n" not in str(caught.value)


def test_a_source_that_is_nothing_is_an_error(ball: tuple[Path, NDArray[np.bool_]]) -> None:
    folder, _ = ball
    with pytest.raises(VideoError, match=r"neither an \.onnx.*file.*folder"):
        find_subjects(folder / "clips", folder / "nothing", folder / "cache", say=lambda _: None)
