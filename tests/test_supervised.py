"""Training on images with ground truth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from export.onnx_model import read_skeleton
from export.trained import load_trained
from streamparts.errors import ModelError, StreampartsError
from streamparts.models.checkpoint import read_metadata
from streamparts.models.layers import Affine
from streamparts.models.student import Student, StudentConfig, StudentOutput
from train.bodies.mesh import PARTS
from train.bodies.shards import Shard, read_shards, write_shard
from train.drawing.png import write_png
from train.held_out import from_confusion, judge, size_errors, true_skeleton
from train.inputs import degrading
from train.inputs.negatives import Negatives
from train.inputs.rendered import Lessons, RenderedImage, Truth, mirrored, moved, stack, swapped, swapped_labels
from train.pretrained.exported import read_student
from train.supervised import SupervisedConfig, begin_with, main, rate_share, train
from train.terms.supervised_losses import Predicted, SupervisedLoss, mask_terms, pose_terms, supervised_loss

SWAP = swapped(PARTS)
LABELS = torch.from_numpy(swapped_labels(SWAP).astype(np.int64))
SMALL = StudentConfig(len(PARTS), 32, widths=(8, 8, 8, 8, 8), feature_channels=8, mask_channels=8)


def part(name: str) -> int:
    return PARTS.index(name)


def a_sample(size: int = 64) -> RenderedImage:
    """A left shin as a bright bar in the upper left quarter, a right forearm as a dark one below it."""
    image, labels = np.full((size, size, 3), 90, np.uint8), np.zeros((size, size), np.uint8)
    image[8:16, 8:28], labels[8:16, 8:28] = 230, part("left_shin") + 1
    image[40:44, 8:18], labels[40:44, 8:18] = 20, part("right_forearm") + 1
    affines = np.tile(np.array([[0.1, 0, 0], [0, 0.1, 0]], np.float32), (len(PARTS), 1, 1))
    affines[part("left_shin")] = [[0.3, 0, 18 / 32 - 1], [0, 0.12, 12 / 32 - 1]]
    affines[part("right_forearm")] = [[0, -0.06, 13 / 32 - 1], [0.15, 0, 42 / 32 - 1]]
    seen = (np.bincount(labels.ravel(), minlength=len(PARTS) + 1)[1:] > 0).astype(np.float32)
    canonical = np.where((labels > 0)[::2, ::2, None], np.float32(0.2), np.float32(0))
    canonical = np.broadcast_to(canonical, (size // 2, size // 2, 3)).astype(np.float32)
    return RenderedImage(image, labels, canonical, affines, seen, np.array([0.6, 0, -0.8], np.float32), 1)


def a_shard(count: int = 6) -> Shard:
    one = a_sample()
    return Shard(
        images=np.stack([one.image] * count),
        labels=np.stack([one.labels] * count),
        canonical=np.stack([np.round(one.canonical * 200).astype(np.int8)] * count),
        affines=np.stack([one.affines] * count),
        seen=np.stack([one.seen] * count),
        facing=np.stack([one.facing] * count),
        people=np.ones(count, np.uint8),
    )


def test_a_mirrored_left_is_a_right_on_the_other_side() -> None:
    one = a_sample()
    other = mirrored(one, SWAP)
    assert set(np.unique(other.labels)) == {0, part("right_shin") + 1, part("left_forearm") + 1}
    rows, columns = np.nonzero(other.labels == part("right_shin") + 1)
    assert columns.min() == 36 and columns.max() == 55 and rows.min() == 8
    np.testing.assert_allclose(other.affines[part("right_shin"), :, 2], [-(18 / 32 - 1), 12 / 32 - 1])
    np.testing.assert_allclose(other.facing, [-0.6, 0, -0.8])
    assert other.canonical[other.canonical[..., 2] > 0][:, 0].max() < 0


def test_mirrored_twice_is_as_before() -> None:
    one, twice = a_sample(), mirrored(mirrored(a_sample(), SWAP), SWAP)
    for name in ("image", "labels", "canonical", "affines", "seen", "facing"):
        np.testing.assert_array_equal(getattr(twice, name), getattr(one, name))


def test_a_mirrored_pose_is_still_a_rotation_times_a_scaling() -> None:
    for affine in mirrored(a_sample(), SWAP).affines:
        assert np.linalg.det(affine[:, :2]) > 0


@pytest.mark.parametrize("degrees", [0, 30, 90])
def test_picture_truth_and_poses_move_alike(degrees: float) -> None:
    angle = np.radians(degrees)
    cos, sin = 0.8 * np.cos(angle), 0.8 * np.sin(angle)
    move = np.array([[cos, -sin, 0.1], [sin, cos, -0.05]], np.float32)
    after = moved(a_sample(), move, 64)
    for name in ("left_shin", "right_forearm"):
        rows, columns = np.nonzero(after.labels == part(name) + 1)
        middle = (np.array([columns.mean(), rows.mean()]) + 0.5) / 32 - 1
        np.testing.assert_allclose(after.affines[part(name), :, 2], middle, atol=0.02)
    bright = after.image.min(2) > 200
    assert (after.labels[bright] == part("left_shin") + 1).mean() > 0.95
    assert np.linalg.norm(after.affines[part("left_shin"), :, 0]) == pytest.approx(0.8 * 0.3, rel=1e-4)
    assert np.linalg.norm(after.facing) == pytest.approx(1, abs=1e-5)


def test_equal_steps_give_equal_lessons_and_others_do_not() -> None:
    lessons = Lessons([a_shard()], 32, seed=3)
    torch.testing.assert_close(lessons.batch(5, 4).images, lessons.batch(5, 4).images, rtol=0, atol=0)
    assert not torch.equal(lessons.batch(5, 4).images, lessons.batch(6, 4).images)


def test_spoilt_pictures_are_still_pictures() -> None:
    lessons = Lessons([a_shard()], 32, seed=1)
    truth = lessons.batch(0, 32)
    assert truth.images.shape == (32, 3, 32, 32)
    assert truth.images.min() >= 0 and truth.images.max() <= 1
    assert truth.canonical.shape == (32, 3, 32 // degrading.CELLS, 32 // degrading.CELLS)


def test_poses_of_several_people_are_not_trusted() -> None:
    one = a_sample()
    truth = stack([one, replace(one, people=2)], SWAP)
    assert truth.trust[0].max() > 0.5 and not truth.trust[1].any() and not truth.facing[1].any()


def as_said(truth: Truth, confusion: dict[int, int], sure: float = 20.0) -> Predicted:
    """Outputs of a student that is perfect except for confusing some labels."""
    labels = truth.labels.clone()
    for one, other in confusion.items():
        labels[truth.labels == one] = other
    logits = sure * torch.nn.functional.one_hot(labels, len(PARTS) + 1).permute(0, 3, 1, 2).float()
    scale = truth.shapes.norm(dim=2)
    rotation = truth.shapes[..., 0] / scale[..., :1]
    return Predicted(StudentOutput(logits, Affine(rotation, scale, truth.centres)), truth.canonical, truth.facing)


def test_who_says_the_truth_pays_nothing() -> None:
    truth = stack([a_sample(64)], SWAP)
    truth = replace(truth, canonical=truth.canonical[..., ::2, ::2])
    terms = supervised_loss(as_said(truth, {}), truth, SupervisedLoss())
    assert all(float(value) < 0.06 for value in terms.values()), terms


def test_a_wrong_side_costs_side_and_dice_but_not_the_joined_mask() -> None:
    truth = stack([a_sample(64)], SWAP)
    truth = replace(truth, canonical=truth.canonical[..., ::2, ::2])
    left, right = part("left_shin") + 1, part("right_shin") + 1
    terms = supervised_loss(as_said(truth, {left: right}), truth, SupervisedLoss())
    assert float(terms["joined"]) < 0.01
    assert float(terms["side"]) > 3 and float(terms["dice"]) > 0.5


def test_the_two_mask_terms_add_up_to_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, len(PARTS) + 1, 8, 8), torch.randint(0, len(PARTS) + 1, (2, 8, 8))
    joined, side, _ = mask_terms(logits.log_softmax(1), labels, LABELS, body=1.0)
    limbs = torch.isin(labels, torch.arange(len(LABELS))[torch.arange(len(LABELS)) != LABELS]).float().mean()
    torch.testing.assert_close(joined + side * limbs, torch.nn.functional.cross_entropy(logits, labels))


def test_dice_is_that_of_the_definition() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, len(PARTS) + 1, 8, 8), torch.randint(0, 4, (2, 8, 8))
    dice = mask_terms(logits.log_softmax(1), labels, LABELS, body=1.0)[2]
    masks, costs = logits.softmax(1), []
    for slot in (1, 2, 3):  # the others are in no image
        truth = (labels == slot).float()
        costs.append(1 - 2 * (masks[:, slot] * truth).sum() / (masks[:, slot].sum() + truth.sum() + 1))
    torch.testing.assert_close(dice, torch.stack(costs).mean())


def test_a_network_of_another_shape_takes_over_the_encoder_alone() -> None:
    lessons = Lessons([a_shard()], 64, 0)
    theirs, _ = read_student("person")
    shape = replace(theirs.config, image_size=64, feature_channels=24, up_channels=(32, 32, 24))
    ours = Student(shape)
    begin_with("person", ours, lessons)
    torch.testing.assert_close(ours.encoder.lite0.state_dict(), theirs.encoder.lite0.state_dict(), rtol=0, atol=0)  # type: ignore[union-attr]
    with pytest.raises(ModelError, match="another encoder"):
        begin_with("person", Student(SMALL), lessons)


def test_the_rate_is_held_and_then_falls() -> None:
    shares = [rate_share(step, 1000, 0.3) for step in (0, 99, 500, 699, 850, 999)]
    assert shares[0] == pytest.approx(0.01)
    assert shares[1] == shares[2] == shares[3] == 1
    assert shares[4] == pytest.approx(0.5) and shares[5] < 0.01


def a_run(folder: Path, steps: int, **more: object) -> SupervisedConfig:
    write_shard(a_shard(), folder / "pictures_0000_00000")
    config = SupervisedConfig(folder, folder / "run", steps=steps, batch_size=2, checkpoint_every=2, network=SMALL)
    return replace(config, device="cpu", threads=1, **more)  # type: ignore[arg-type]


def test_a_run_leaves_a_student_with_names_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    config = a_run(tmp_path, steps=2)
    train(config)
    run = tmp_path / "run"
    assert read_metadata(run / "student.safetensors")[0] == 2
    assert (run / "names.txt").read_text().split() == list(PARTS)
    assert (run / "parts.png").exists()
    assert load_trained(run).method == "supervised"
    train(replace(config, steps=4, resume=True))
    assert read_metadata(run / "student.safetensors")[0] == 4
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4]
    assert {"joined", "side", "dice", "canonical", "facing"} <= set(rows[0])


def test_no_pictures_are_an_error_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--out", str(tmp_path / "run")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"streamparts: error: {tmp_path}") and "render-people" in line


def test_parts_and_sides_are_those_of_the_shards(tmp_path: Path) -> None:
    names = ("body", "left_wing", "right_wing")
    shard = a_shard()
    bird = replace(shard, labels=shard.labels % 4, affines=shard.affines[:, :3], seen=shard.seen[:, :3], parts=names)
    write_shard(bird, tmp_path / "pictures_0000_00000")
    (read,) = read_shards(tmp_path)
    assert read.parts == names
    assert Lessons([read], 32, 0).batch(0, 2).swapped.tolist() == [0, 1, 3, 2]
    train(SupervisedConfig(tmp_path, tmp_path / "run", steps=1, batch_size=2, network=SMALL))
    assert (tmp_path / "run" / "names.txt").read_text().split() == list(names)
    assert load_trained(tmp_path / "run").num_parts == 3


def test_shards_without_names_show_people_and_two_kinds_are_not_mixed(tmp_path: Path) -> None:
    write_shard(a_shard(), tmp_path / "pictures_0000_00000")
    (tmp_path / "pictures_0000_00000" / "parts.txt").unlink()  # as they were written before
    assert read_shards(tmp_path)[0].parts == PARTS
    other = replace(a_shard(), parts=tuple(f"part_{k}" for k in range(len(PARTS))))
    write_shard(other, tmp_path / "pictures_0000_00001")
    with pytest.raises(StreampartsError, match="pictures_0000_00001"):
        read_shards(tmp_path)


def test_figures_tell_wrong_parts_from_wrong_sides() -> None:
    left, right = part("left_shin") + 1, part("right_shin") + 1
    confusion = np.diag(np.full(len(PARTS) + 1, 10))
    confusion[left, left], confusion[left, right] = 4, 6
    figures = from_confusion(confusion, PARTS)
    assert figures["foreground_iou"] == 1 and figures["part_iou_sides_joined"] == 1
    assert figures["part_iou"] < 0.95
    assert figures["side_right"] == pytest.approx(1 - 6 / 80)
    confusion[0, right] = 10
    assert from_confusion(confusion, PARTS)["foreground_iou"] == pytest.approx(100 / 110)


def test_a_student_is_judged_on_pictures_with_and_without_people() -> None:
    with_somebody = a_shard(4)
    nobody = replace(with_somebody, labels=0 * with_somebody.labels, people=0 * with_somebody.people)
    torch.manual_seed(0)
    figures, subject = judge(Student(SMALL).eval(), [with_somebody, nobody])
    assert 0 <= figures["false_part_share"] <= 1 and 0 <= figures["presence_right"] <= 1
    assert subject["source"] == "rendered bodies" and subject["margin"] == 0.25
    assert np.isfinite(subject["slope"]).all()


def test_negatives_are_rendered_images_of_other_kinds_and_pieces_of_photos(tmp_path: Path) -> None:
    write_shard(a_shard(), tmp_path / "dogs" / "pictures_0000_00000")
    (tmp_path / "rooms" / "more").mkdir(parents=True)
    write_png(tmp_path / "rooms" / "more" / "red.png", np.full((40, 60, 3), (200, 0, 0), np.uint8))
    both = Negatives.load((tmp_path / "dogs", tmp_path / "rooms"))
    images = [both.draw(np.random.default_rng(i), 32) for i in range(20)]
    assert {tuple(image[0, 0]) for image in images} == {(90, 90, 90), (200, 0, 0)}
    assert all(image.shape == (32, 32, 3) for image in images)
    with pytest.raises(StreampartsError, match="no images"):
        Negatives.load((tmp_path / "rooms" / "none",))


def test_a_share_of_the_images_is_negative(tmp_path: Path) -> None:
    write_png(tmp_path / "red.png", np.full((64, 64, 3), (200, 0, 0), np.uint8))
    negatives = Negatives.load((tmp_path,))
    truth = Lessons([a_shard()], 32, 0, negatives, 0.25).batch(0, 64)
    empty = (truth.labels == 0).all(-1).all(-1)
    assert 8 <= int(empty.sum()) <= 24
    assert float(truth.trust[empty].abs().sum()) == 0 and float(truth.facing[empty].abs().sum()) == 0
    assert float(truth.images[empty][:, 0].mean()) > 2 * float(truth.images[empty][:, 1].mean())
    assert not (Lessons([a_shard()], 32, 0).batch(0, 64).labels == 0).all(-1).all(-1).any()


def test_negatives_count_in_the_figures_and_the_presence() -> None:
    grey = Negatives(photos=((np.full((48, 48, 3), 128, np.uint8),),))
    student = Student(SMALL).eval()
    with torch.no_grad():
        student.mask[-1].bias[:4] -= 20  # everything is a part
    without, _ = judge(student, [a_shard()], grey)
    assert without["false_part_share"] > 0.9


def test_the_size_of_a_part_whose_direction_is_unknown_does_not_shrink() -> None:
    truth = stack([a_sample(64)], SWAP)
    right = as_said(truth, {}).output.affine
    aside = right._replace(rotation=torch.stack([-right.rotation[..., 1], right.rotation[..., 0]], -1))
    small = aside._replace(scale=torch.full_like(aside.scale, 0.03))
    terms, less = (pose_terms(each, truth, SupervisedLoss()) for each in (aside, small))
    for name in ("length", "breadth"):
        assert float(terms[name]) < 1e-6 < float(less[name])


def test_sizes_of_poses_are_judged_on_visible_parts() -> None:
    truth = a_sample()
    twice = truth.affines * np.array([2, 1, 1], np.float32)
    assert np.median(size_errors(truth.affines, truth)) == 0
    np.testing.assert_allclose(size_errors(twice, truth), [np.log(2), 0] * 2, atol=1e-6)
    assert size_errors(twice, replace(truth, people=2)).size == 0


def test_the_skeleton_of_the_truth_goes_with_the_export(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = ("torso", "tail", "left_hind")
    turn = rng.uniform(-1, 1, (60, 3))
    affines = np.zeros((60, 3, 2, 3), np.float32)
    affines[..., 0, 0], affines[..., 1, 0] = 0.2 * np.cos(turn), 0.2 * np.sin(turn)
    affines[..., 0, 1], affines[..., 1, 1] = -0.1 * np.sin(turn), 0.1 * np.cos(turn)
    # one at each end of the first one's axis
    affines[:, 1:, :, 2] = np.array([1, -1])[:, None] * affines[:, :1, :, 0] + affines[:, 1:, :, 0]
    shard = replace(a_shard(60), affines=affines, parts=names)
    found = true_skeleton([shard])
    assert found.edges == ((0, 1), (0, 2)) and {joint.kind for joint in found.joints} == {"hinge"}
    np.testing.assert_allclose([joint.in_parent for joint in found.joints], [[1, 0], [-1, 0]], atol=0.02)
    (tmp_path / "skeleton.json").write_bytes(found.to_json())
    renamed = read_skeleton(tmp_path, ("a", "b", "c"))
    assert renamed is not None and renamed.parts == ("a", "b", "c") and renamed.edges == found.edges
    assert read_skeleton(tmp_path / "none", names) is None
