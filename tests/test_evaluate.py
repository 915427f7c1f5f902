"""The metrics on hand-computed cases, and the command that reports them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("sklearn")

from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from tests.media import GREEN, GREY, RED
from train.evaluate import main, rounded, table
from train.judging.finding import open_finder
from train.judging.found import FoundParts
from train.judging.landmarks import constant, landmark_errors, regress, score_landmarks, split_frames
from train.judging.metrics import (
    Confusion,
    adjusted_rand_index,
    angle_errors,
    center_errors,
    identity_switches,
    log_scale_errors,
    mask_centers,
    normalised_mutual_information,
    rest_jitter,
    soft_iou,
    without_offset,
)

TRUTH = np.array([[0, 1, 1, 2], [0, 1, 1, 2]], np.uint8)


def test_perfect_labels_under_any_numbering_score_one() -> None:
    swapped = np.array([0, 2, 1], np.uint8)[TRUTH]
    confusion = Confusion.of(TRUTH, swapped, 2, 2)
    assert confusion.foreground_iou() == 1
    assert confusion.match().tolist() == [1, 0]
    assert confusion.part_ious().tolist() == [1, 1]
    assert confusion.nmi() == pytest.approx(1)
    assert confusion.ari() == pytest.approx(1)


def test_iou_counts_what_is_missed_and_what_is_too_much() -> None:
    found = np.array([[1, 1, 1, 0], [0, 1, 0, 2]], np.uint8)
    confusion = Confusion.of(TRUTH, found, 2, 2)
    assert confusion.foreground_iou() == pytest.approx(4 / 7)
    assert confusion.part_ious().tolist() == pytest.approx([3 / 5, 1 / 2])


def test_a_true_part_without_a_found_one_scores_zero() -> None:
    confusion = Confusion.of(TRUTH, (TRUTH == 1).astype(np.uint8), 2, 1)
    assert confusion.match().tolist() == [0, -1]
    assert confusion.part_ious().tolist() == [1, 0]
    assert confusion.merged_ious().tolist() == [1, 0]
    assert confusion.best_found().tolist() == [0, -1]


def test_counts_of_frames_add_up() -> None:
    one = Confusion.of(TRUTH, TRUTH, 2, 2)
    assert (one + one).counts.sum() == 16


def test_two_found_parts_that_share_a_true_one_are_one_when_merged() -> None:
    found = np.array([[0, 1, 2, 3], [0, 1, 2, 3]], np.uint8)
    confusion = Confusion.of(TRUTH, found, 2, 3)
    assert confusion.part_ious().tolist() == pytest.approx([1 / 2, 1])
    assert confusion.merged_ious().tolist() == pytest.approx([1, 1])


def test_merged_parts_pay_for_what_lies_outside() -> None:
    found = np.array([[1, 1, 1, 0], [0, 0, 0, 0]], np.uint8)  # 2 pixels of part 1, 1 of background
    assert Confusion.of(TRUTH, found, 2, 1).merged_ious().tolist() == pytest.approx([2 / 5, 0])


def test_nmi_and_ari_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 500).astype(np.uint8)
    found = np.where(rng.random(500) < 0.6, truth, rng.integers(0, 6, 500)).astype(np.uint8)
    confusion = Confusion.of(truth, found, 3, 5)
    assert confusion.nmi() == pytest.approx(normalized_mutual_info_score(truth, found))
    assert confusion.ari() == pytest.approx(adjusted_rand_score(truth, found))


def test_one_label_everywhere_is_perfect_agreement_with_itself() -> None:
    confusion = Confusion(np.array([[7, 0], [0, 0]]))
    assert (confusion.nmi(), confusion.ari()) == (1, 1)


def test_soft_iou_takes_the_product_as_intersection() -> None:
    truth = np.array([[True, True, False, False]])
    assert soft_iou(truth, np.array([[1, 0.5, 0.5, 0]], np.float32)) == pytest.approx(1.5 / 2.5)
    assert soft_iou(np.zeros((1, 2), np.bool_), np.zeros((1, 2), np.float32)) == 1


def test_hard_centers_are_means_of_pixel_centres_and_a_missing_part_is_at_the_images_centre() -> None:
    centers, present = mask_centers(TRUTH, 3)
    assert present.tolist() == [True, True, False]
    assert centers.tolist() == pytest.approx(np.array([[0, 0], [0.75, 0], [0, 0]]))
    affines = np.zeros((3, 2, 3), np.float32)
    assert FoundParts((20, 80), TRUTH, affines).hard_centers().tolist() == [[40, 10], [70, 10], [40, 10]]


def test_the_rule_of_eight_tenths_adds_what_is_hardly_background() -> None:
    labels, affines = np.array([[0, 1], [0, 0]], np.uint8), np.zeros((1, 2, 3), np.float32)
    background = np.array([[0.7, 0.1], [0.9, 0.8]], np.float32)
    found = FoundParts((2, 2), labels, affines, np.stack([background, 1 - background]))
    assert found.foreground().tolist() == [[0, 1], [0, 0]]
    uncertain = found.uncertain_foreground()
    assert uncertain is not None
    assert uncertain.tolist() == [[1, 1], [0, 1]]
    assert FoundParts((2, 2), labels, affines).uncertain_foreground() is None


def test_center_errors_are_fractions_of_the_image_side_of_the_seen_parts() -> None:
    truth = np.zeros((1, 2, 2), np.float32)
    found = np.array([[[0.2, 0.0], [9.0, 9.0]]], np.float32)
    errors = center_errors(truth, found, np.array([0, 1]), np.array([[True, False]]))
    assert errors.tolist() == pytest.approx([0.1])


def pose(degrees: float, sx: float = 2, sy: float = 1) -> np.ndarray:
    """(2, 3) about the origin."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cos * sx, -sin * sy, 0], [sin * sx, cos * sy, 0]], np.float32)


def test_angles_of_axes_know_no_direction() -> None:
    truth = np.stack([pose(10)] * 4)
    found = np.stack([pose(15), pose(190), pose(-5), pose(95)])
    assert angle_errors(truth, found).tolist() == pytest.approx([5, 0, -15, 85], abs=1e-4)


def test_a_constant_turn_is_taken_away_across_the_half_turn_too() -> None:
    assert without_offset(np.array([88.0, -88.0])).tolist() == pytest.approx([-2, 2])
    assert without_offset(np.array([30.0, 30.0, 30.0])).tolist() == pytest.approx([0, 0, 0], abs=1e-9)


def test_scales_are_compared_as_logarithms_axis_by_axis() -> None:
    errors = log_scale_errors(pose(30, 2, 1), pose(70, 4, 0.5))
    assert errors.tolist() == pytest.approx([math.log(2), -math.log(2)], abs=1e-6)


def test_jitter_is_the_spread_about_the_truth_while_that_rests() -> None:
    truth = np.zeros((12, 2), np.float32)
    truth[6:, 0] = 10 * np.arange(6)  # frames 0 to 6 rest, then it runs
    found = truth + np.array([3, 4], np.float32)  # a bias is no jitter
    found[:7, 0] += [1, -1, 1, -1, 1, -1, 0]
    assert rest_jitter(truth, found, threshold_px=0.5) == pytest.approx([math.sqrt(6 / 7)])
    assert rest_jitter(truth, found, threshold_px=0.5, min_frames=8) == []


def test_a_hidden_frame_ends_a_rest() -> None:
    truth = np.zeros((11, 2), np.float32)
    truth[5] = np.nan
    assert rest_jitter(truth, np.zeros_like(truth), threshold_px=0.5) == [0, 0]


def test_switches_count_between_neighbours_of_one_clip_that_both_have_a_part() -> None:
    best = np.array([[0, 1], [0, 2], [0, -1], [3, 2], [1, 1]])
    clips = np.array([0, 0, 0, 0, 1])
    assert identity_switches(best, clips) == (2, 4)  # 1 -> 2 and 0 -> 3; the hidden frame and the new clip are none


def test_a_landmark_that_follows_the_parts_is_regressed_exactly() -> None:
    rng = np.random.default_rng(0)
    centers = rng.uniform(0, 100, (20, 2, 2))
    landmarks = 0.5 * centers[:, :1] + 0.25 * centers[:, 1:] + 7
    fit = np.arange(20) < 10
    score = score_landmarks(centers, landmarks, np.full((20, 2), 100.0), fit)
    assert score.errors.sum_px256 == pytest.approx(0, abs=1e-9)
    assert score.errors.num_coordinates == 2
    np.testing.assert_allclose(score.predicted_px, landmarks)


def test_errors_are_summed_over_coordinates_at_256_and_averaged_in_the_frames_own_pixels() -> None:
    landmarks = np.array([[[10.0, 10.0]], [[20.0, 10.0]], [[15.0, 30.0]], [[19.0, 10.0]]])
    fit = np.array([True, True, False, False])
    errors = score_landmarks(None, landmarks, np.tile([512.0, 128.0], (4, 1)), fit).errors
    # means of the fit are 15 and 10: |0| and |4| in x, |20| and |0| in y
    assert errors.mean_px == pytest.approx((2 + 10) / 2)
    assert errors.sum_px256 == pytest.approx(2 / 2 + 10 * 2)
    assert errors.mean_px256 == pytest.approx(errors.sum_px256 / 2)


def test_rows_without_a_label_are_left_out_coordinate_by_coordinate() -> None:
    truth = np.array([[1.0, np.nan], [3.0, 5.0], [np.nan, 7.0], [2.0, np.nan], [4.0, np.nan]])
    fit = np.array([True, True, True, False, False])
    predicted = constant(truth, fit)
    assert predicted[0].tolist() == [2, 6]
    errors = landmark_errors(predicted, truth, ~fit, np.ones_like(truth))
    assert (errors.sum_px256, errors.num_coordinates) == (1, 1)  # |2 - 2| and |4 - 2|; y has no row to test


def test_a_coordinate_with_a_single_label_is_not_regressed() -> None:
    truth = np.array([[1.0], [np.nan], [2.0]])
    assert np.isnan(regress(np.zeros((3, 1)), truth, np.array([True, True, False]))).all()


def test_the_split_depends_on_the_seed_only_and_keeps_clips_whole() -> None:
    clips = np.repeat(np.arange(10), 7)
    fit = split_frames(clips, seed=3)
    assert fit.sum() == 35
    assert all(len(set(fit[clips == clip])) == 1 for clip in range(10))
    assert (fit == split_frames(clips, seed=3)).all()
    assert any((fit != split_frames(clips, seed=other)).any() for other in range(5))


def test_a_clip_longer_than_all_others_leaves_something_to_test() -> None:
    clips = np.repeat(np.arange(5), [1, 1, 1, 1, 100])
    assert all(0 < split_frames(clips, seed).sum() < 104 for seed in range(10))


def test_one_clip_is_split_by_blocks_of_neighbours() -> None:
    fit = split_frames(np.zeros(80, np.int64), seed=0)
    assert fit.sum() == 40
    assert np.abs(np.diff(fit.astype(int))).sum() <= 7


def test_nan_becomes_null_in_json() -> None:
    assert rounded({"a": math.nan, "b": {"c": 0.123456789}, "d": None}) == {"a": None, "b": {"c": 0.12346}, "d": None}


def test_the_table_leaves_out_what_no_set_has() -> None:
    lines = table({"one": {"frames": 3, "foreground": {"iou": 0.5}}, "two": {"frames": 4, "foreground": None}})
    assert [line.split() for line in lines.splitlines()] == [
        ["one", "two"],
        ["frames", "3", "4"],
        ["foreground", "IoU", "0.500", "-"],
    ]


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    """A DAVIS clip of three 64x64 frames: a red square with its exact mask, and a green one that is no subject."""
    for name in ("frames", "masks"):
        (tmp_path / "discs" / name).mkdir(parents=True)
    for number in range(3):
        image, mask = np.full((64, 64, 3), GREY, np.uint8), np.zeros((64, 64), np.uint8)
        image[8:40, 8 + number : 40 + number], mask[8:40, 8 + number : 40 + number] = RED, 255
        image[48:56, 48:64] = GREEN
        for folder, picture in (("frames", image[..., ::-1]), ("masks", mask)):
            data = cv2.imencode(".png", picture)[1].tobytes()
            (tmp_path / "discs" / folder / f"{number:05d}.png").write_bytes(data)
    return tmp_path / "discs"


def test_the_command_prints_a_table_and_writes_figures_and_pictures(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model_path: Path, discs: Path
) -> None:
    out = tmp_path / "figures.json"
    args = [str(model_path), f"davis:{discs}", f"davis:{discs}", "--out", str(out), "--pictures", str(tmp_path)]
    assert main(args) == 0
    assert "foreground IoU" in capsys.readouterr().out
    sets = json.loads(out.read_text())["sets"]
    assert len(sets) == 2
    section = next(iter(sets.values()))
    assert (section["truth"], section["frames"], section["clips"]) == ("true", 3, 1)
    foreground = section["foreground"]
    assert foreground["iou"] == foreground["iou_mean"] == 0.88889  # 8 of 9: the green square is too much
    assert foreground["iou_mean_08"] is None
    table_of_pixels = np.array([[2944, 128], [0, 1024]])
    assert foreground["ari"] == pytest.approx(adjusted_rand_index(table_of_pixels), abs=1e-5)
    assert foreground["nmi"] == pytest.approx(normalised_mutual_information(table_of_pixels), abs=1e-5)
    assert [section[name] for name in ("parts", "landmarks", "pose", "time")] == [None] * 4
    sheets = sorted(tmp_path.glob("davis_*.png"))
    assert [cv2.imread(str(sheet)).shape for sheet in sheets] == [(320, 3 * 640, 3)] * 2


def test_with_crf_every_set_has_a_second_column_that_sees_the_picture(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model_path: Path, discs: Path
) -> None:
    out = tmp_path / "figures.json"
    assert main([str(model_path), f"davis:{discs}", "--crf", "--out", str(out), "--pictures", str(tmp_path)]) == 0
    sets = json.loads(out.read_text())["sets"]
    plain, refined = sets
    assert refined == f"{plain} +CRF"
    assert sets[refined]["foreground"]["iou_mean_08"] is not None
    assert refined in capsys.readouterr().out
    assert len(list(tmp_path.glob("davis_*.png"))) == 2


def test_soft_centres_are_centres_of_mass_in_the_frames_pixels() -> None:
    labels, affines = np.zeros((2, 4), np.uint8), np.zeros((2, 2, 3), np.float32)
    masks = np.zeros((3, 2, 4), np.float32)
    masks[1, :, 0], masks[1, :, 1] = 0.75, 0.25
    centers = FoundParts((20, 80), labels, affines, masks).soft_centers()
    assert centers is not None
    assert centers.tolist() == [[15, 10], [40, 10]]  # an empty part is at the frame's centre
    assert FoundParts((20, 80), labels, affines).soft_centers() is None


def test_landmark_distances_are_normalised_where_a_set_has_landmarks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model_path: Path, discs: Path
) -> None:
    rows = [["scorer", "a", "a", "a", "a"], ["bodyparts", "nose", "nose", "tail", "tail"], ["coords", *"xyxy"]]
    rows += [[f"{number:05d}.png", 8 + number**2, 8, 39 + number, 39] for number in range(3)]
    csv = discs / "frames" / "CollectedData_a.csv"
    csv.write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")
    out = tmp_path / "figures.json"
    sets = [f"dlc:{csv}", f"davis:{discs}"]
    assert main([str(model_path), *sets, "--normalise-by", "nose,tail", "--out", str(out)]) == 0
    stills, clip = json.loads(out.read_text())["sets"].values()
    assert stills["landmarks"]["constant"]["normalised_percent"] > 0
    assert clip["landmarks"] is None
    assert "% of --normalise-by" in capsys.readouterr().out
    assert main([str(model_path), f"dlc:{csv}", "--normalise-by", "nose,ear"]) == 1
    assert "nose, tail" in capsys.readouterr().err


def test_rendered_puppets_have_every_figure(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model_path: Path
) -> None:
    out = tmp_path / "figures.json"
    sizes = ["--puppet-num-clips", "2", "--puppet-num-frames", "6", "--puppet-size", "64"]
    assert main([str(model_path), "puppets:arm", "--out", str(out), *sizes]) == 0
    section = json.loads(out.read_text())["sets"]["puppets:arm"]
    assert section["frames"] == 12
    assert None not in [section[name] for name in ("foreground", "parts", "landmarks", "pose", "time")]
    assert set(section["parts"]["iou_each"]) == set(section["parts"]["matched_part"])


@pytest.mark.parametrize(
    ("model", "sets", "expected"),
    [
        ("no-such-model", ["puppets"], "no model called"),
        (None, ["nonsense"], "is not a set"),
        (None, ["davis"], "is not a set"),
        (None, ["puppets:dragon"], "no puppet called 'dragon'"),
        (None, ["davis:missing"], "missing: neither it nor its folders"),
        (None, ["puppets", "--max-frames", "0"], "must be at least 1"),
        (None, ["puppets", "--out", "missing/x.json"], "missing is not a folder"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    capsys: pytest.CaptureFixture[str], model_path: Path, model: str | None, sets: list[str], expected: str
) -> None:
    assert main([model or str(model_path), *sets]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("streamparts: error: ")
    assert expected in err
    assert err.count("\n") == 1


def test_a_run_folder_gives_soft_masks_without_the_letterboxs_borders(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from dataclasses import asdict

    from streamparts.models.checkpoint import save_checkpoint
    from streamparts.models.student import Student, StudentConfig

    torch.manual_seed(0)
    config = StudentConfig(3, 32, (4, 4, 4, 4, 4), 8, 4)
    save_checkpoint(tmp_path / "student.safetensors", Student(config), None, 5, asdict(config))
    (tmp_path / "config.json").write_text('{"student_steps": 20}')
    finder = open_finder(str(tmp_path))
    assert (finder.description["student_step"], finder.description["student_steps"]) == (5, 20)
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    found = finder(image)
    assert found.labels.shape == (24, 32)
    assert found.masks is not None
    assert found.masks.shape == (4, 24, 32)
    np.testing.assert_allclose(found.masks.sum(axis=0), 1, rtol=1e-5)
    uncertain = found.uncertain_foreground()
    assert uncertain is not None
    assert (uncertain >= found.foreground()).all()
