"""Puppet clips: the same seed gives the same pixels, and the ground truth is correct."""

from pathlib import Path

import av
import numpy as np
import pytest

from streamparts.geometry import CANONICAL_SIGMAS, mask_moments, pixels_to_normalised
from train import puppets
from train.drawing import puppet_clips
from train.drawing.puppet_clips import PuppetClip, load_truth, render_clip, write_clip, write_clips
from train.drawing.puppet_figures import FIGURES

KINDS = tuple(FIGURES)


@pytest.fixture(scope="module", params=KINDS)
def clip(request: pytest.FixtureRequest) -> PuppetClip:
    return render_clip(request.param, seed=3, num_frames=60, size_hw=(128, 128))


@pytest.fixture
def lone_clip(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> PuppetClip:
    """A large clip in which only the figure's bone `request.param` is painted, at its usual place."""
    kind, name = request.param
    k = [bone.name for bone in FIGURES[kind].bones].index(name)
    monkeypatch.setattr(puppet_clips, "_depth_order", lambda bones, rng: [k])
    return render_clip(kind, seed=1, num_frames=20, size_hw=(512, 512))


def decode(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def in_canonical(affine: np.ndarray, point: np.ndarray) -> np.ndarray:
    """A normalised point in the canonical frame of a part."""
    return np.linalg.solve(affine[:, :2].astype(np.float64), point - affine[:, 2])


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_pixels_and_truth(kind: str) -> None:
    first, second = (render_clip(kind, 5, 4, (64, 64), moving_camera=True) for _ in range(2))
    for name in ("frames", "labels", "affines", "joints", "visible_fraction"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_gives_other_pixels_and_another_pose(kind: str) -> None:
    first, second = (render_clip(kind, seed, 4, (64, 64)) for seed in (5, 6))
    assert np.abs(first.frames.astype(int) - second.frames).mean() > 10
    assert not np.allclose(first.affines, second.affines)


@pytest.mark.parametrize(("kind", "num_parts"), [("human", 10), ("quadruped", 12), ("arm", 6)])
def test_every_figure_has_its_promised_parts(kind: str, num_parts: int) -> None:
    clip = render_clip(kind, 0, 2, (64, 64))
    assert len(clip.part_names) == len(set(clip.part_names)) == num_parts
    assert len(clip.joint_names) == len(set(clip.joint_names))
    assert clip.labels.max() <= num_parts


def test_a_figures_parts_cover_much_of_the_picture_and_stay_mostly_inside(clip: PuppetClip) -> None:
    assert 0.08 < (clip.labels > 0).mean() < 0.5
    inside = ((clip.joints >= 0) & (clip.joints <= 128)).all(-1)
    assert inside.mean() > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_is_visible_most_of_the_time(kind: str) -> None:
    seen = [render_clip(kind, seed, 30, (64, 64), fps=10).visible_fraction for seed in range(4)]
    assert (np.concatenate(seen) > 0.2).mean(0).min() > 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_far_apart_frames_differ_in_pose(kind: str) -> None:
    joints = render_clip(kind, 2, 90, (64, 64)).joints
    assert np.linalg.norm(joints[0] - joints[::10], axis=-1).max() > 15


@pytest.mark.parametrize(
    "lone_clip",
    [
        ("human", "torso"),
        ("human", "head"),
        ("human", "left_forearm"),
        ("quadruped", "body"),
        ("arm", "base"),
    ],
    indirect=True,
    ids=lambda pair: pair[1],
)
def test_the_moments_of_an_unoccluded_part_are_its_affine(lone_clip: PuppetClip) -> None:
    part = int(lone_clip.labels.max())
    for labels, affine in zip(lone_clip.labels, lone_clip.affines[:, part - 1], strict=True):
        mask = labels == part
        if mask[[0, -1]].any() or mask[:, [0, -1]].any():
            continue
        mean, covariance, _ = mask_moments(mask)
        np.testing.assert_allclose(affine[:, 2], mean, atol=0.002)
        wanted = CANONICAL_SIGMAS**2 * covariance
        np.testing.assert_allclose(affine[:, :2] @ affine[:, :2].T, wanted, atol=0.01 * np.trace(wanted))
    assert lone_clip.visible_fraction[:, part - 1].max() > 0.99


def test_a_wide_picture_keeps_the_figures_proportions() -> None:
    height, width = 64, 128
    affines = render_clip("human", 0, 5, (height, width)).affines
    pixels = affines[..., :2] * np.array([width / 2, height / 2])[:, None]
    axes = np.swapaxes(pixels, -1, -2)
    np.testing.assert_allclose((axes[..., 0, :] * axes[..., 1, :]).sum(-1), 0, atol=1e-3)
    assert (np.linalg.det(pixels) > 0).all()


def test_a_joint_stays_put_in_the_frames_of_parent_and_child(clip: PuppetClip) -> None:
    kind = next(kind for kind, figure in FIGURES.items() if figure.bones[0].name == clip.part_names[0])
    joints = pixels_to_normalised(clip.joints, 128, 128)
    for k, bone in enumerate(FIGURES[kind].bones[1:], start=1):
        assert clip.joint_names[k] == bone.joint
        for part in (k, clip.part_names.index(bone.parent)):
            seen = [in_canonical(a, p) for a, p in zip(clip.affines[:, part], joints[:, k], strict=True)]
            np.testing.assert_allclose(seen, np.tile(seen[0], (len(seen), 1)), atol=1e-3)


def test_the_first_axis_of_an_affine_points_along_the_bone(clip: PuppetClip) -> None:
    tips = {name: clip.joints[:, j] for j, name in enumerate(clip.joint_names)}
    kind = next(kind for kind, figure in FIGURES.items() if figure.bones[0].name == clip.part_names[0])
    for k, bone in enumerate(FIGURES[kind].bones):
        if bone.tip:
            along = tips[bone.tip] - clip.joints[:, k]
            axis = clip.affines[:, k, :, 0]
            cosine = (along * axis).sum(-1) / np.linalg.norm(along, axis=-1) / np.linalg.norm(axis, axis=-1)
            np.testing.assert_allclose(cosine, 1, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "greys", "pixels"),
    [
        ("human", (129, 140, 123, 155, 166, 148), (832, 407, 218)),
        ("quadruped", (170, 203, 190, 147, 175, 162), (1090, 586, 227)),
        ("arm", (92, 97, 98, 84, 101, 90), (1116, 470, 519)),
    ],
)
def test_a_seed_keeps_its_clip_from_version_to_version(
    kind: str, greys: tuple[int, ...], pixels: tuple[int, ...]
) -> None:
    """Mean levels of two corners and pixels of three parts, since other processors round otherwise."""
    clip = render_clip(kind, 5, 6, (64, 96))
    means = clip.frames[5].reshape(2, 32, 3, 32, 3).mean((1, 3))
    np.testing.assert_allclose(means[:, 0].ravel(), greys, atol=1)
    np.testing.assert_allclose([(clip.labels == part).sum() for part in (1, 2, 3)], pixels, atol=6)


def test_only_a_moving_camera_moves_the_background() -> None:
    for moving in (False, True):
        clip = render_clip("human", 0, 30, (64, 64), moving_camera=moving)
        background = (clip.labels[[0, -1], :3] == 0).all(0)
        change = np.abs(clip.frames[0, :3].astype(int) - clip.frames[-1, :3])[background]
        assert (np.median(change) > 1) == moving


def test_a_written_clip_decodes_to_the_same_frames(tmp_path: Path) -> None:
    clip = render_clip("human", 0, 7, (64, 96), fps=25)
    write_clip(clip, tmp_path / "a.mp4")
    frames = decode(tmp_path / "a.mp4")
    assert frames.shape == clip.frames.shape
    assert np.abs(frames.astype(int) - clip.frames).mean() < 6
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 25)


def test_the_truth_survives_the_disk_without_pickle(tmp_path: Path) -> None:
    clip = render_clip("arm", 0, 3, (64, 64), fps=24)
    write_clip(clip, tmp_path / "a.mp4")
    for path in (tmp_path / "a.mp4", tmp_path / "a.npz"):
        truth = load_truth(path)
        for name in ("labels", "affines", "joints", "visible_fraction"):
            np.testing.assert_array_equal(getattr(truth, name), getattr(clip, name))
        assert (truth.part_names, truth.joint_names) == (clip.part_names, clip.joint_names)
        assert truth.fps == 24


def test_clip_i_of_a_folder_uses_seed_plus_i(tmp_path: Path) -> None:
    paths = write_clips(tmp_path / "new" / "folder", "human", 2, 7, 3, (64, 64))
    assert [path.name for path in paths] == ["clip_0000.mp4", "clip_0001.mp4"]
    np.testing.assert_array_equal(load_truth(paths[1]).labels, render_clip("human", 8, 3, (64, 64)).labels)


def test_an_unknown_kind_names_the_choices() -> None:
    with pytest.raises(ValueError, match=r"'horse'.*human, quadruped, arm"):
        render_clip("horse", 0)


@pytest.mark.parametrize("size_hw", [(63, 64), (64, 65), (16, 64)])
def test_a_size_that_cannot_be_encoded_is_refused(size_hw: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 32"):
        render_clip("human", 0, 2, size_hw)


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"seed": 0, "num_frames": 0}, {"seed": 0, "fps": 0}])
def test_a_number_out_of_range_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="need seed >= 0"):
        render_clip("human", **wrong)


def test_the_command_line_writes_clips_of_the_asked_size(tmp_path: Path) -> None:
    flags = "--num-clips 1 --num-frames 2 --size 64 --width 96 --seed 4 --camera moving"
    assert puppets.main(["human", "--out", str(tmp_path), *flags.split()]) == 0
    assert decode(tmp_path / "clip_0000.mp4").shape == (2, 64, 96, 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [("horse", "choose from"), ("human --size 33", "even"), ("arm --num-clips 0", "num_clips")],
)
def test_a_wrong_value_ends_the_command_with_one_line_and_code_1(
    words: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert puppets.main([*words.split(), "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_folder_that_cannot_be_made_ends_the_command_with_code_1(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert puppets.main(["human", "--out", str(tmp_path / "file")]) == 1


def test_wrong_usage_ends_the_command_with_code_2(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as exit_info:
        puppets.main(["human", "--out", str(tmp_path), "--no-such-flag"])
    assert exit_info.value.code == 2
