import json
from itertools import pairwise
from pathlib import Path

import jsonschema
import msgspec
import numpy as np
import pytest

import streamparts
from streamparts.bundle.load import Bundle
from streamparts.cli import main
from streamparts.errors import SkeletonError
from streamparts.sources.rescale import Rescaler
from streamparts.tracking.skeleton import Joint, Skeleton, place
from streamparts.tracking.skeleton_file import load_skeleton
from streamparts.tracking.skeleton_finding import find_skeleton, fit_pair, spanning_tree
from streamparts.tracksfile.reading import read_tracks
from tests.damage import KINDS, damaged
from train.drawing.puppet_figures import FIGURES
from train.drawing.puppet_motion import animate


def tracked(kind: str, seed: int, noise: float = 0.0, degrees: float = 0.0, num_frames: int = 250) -> tuple:
    """Affines (F, K, 2, 3) of a puppet's bones with noise, and its joints by pair of part numbers (F, 2)."""
    figure, rng = FIGURES[kind], np.random.default_rng(seed)
    frames = animate(figure, rng, np.arange(num_frames) / 25, (256, 256))
    number = {bone.name: k for k, bone in enumerate(figure.bones)}
    affines = frames[:, :, :2].copy()
    for k, bone in enumerate(figure.bones):
        affines[:, k, :, 2] += frames[:, k, :2, 0] * bone.length / 2
        affines[:, k, :, :2] *= [bone.length / 2, bone.width / 2]
    turn = np.deg2rad(rng.normal(0, degrees, affines.shape[:2]))
    rotation = np.stack([np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)], -1).reshape(*turn.shape, 2, 2)
    affines[..., :2] = rotation @ affines[..., :2]
    affines[..., 2] += rng.normal(0, noise, affines[..., 2].shape)
    joints = {
        frozenset((number[bone.name], number[bone.parent])): frames[:, k, :2, 2]
        for k, bone in enumerate(figure.bones)
        if bone.parent
    }
    return affines.astype(np.float32), joints, tuple(number)


def seen(affines: np.ndarray) -> np.ndarray:
    return np.ones(affines.shape[:2], np.float32)


@pytest.mark.parametrize("kind", ["human", "quadruped", "arm"])
@pytest.mark.parametrize("seed", [0, 1])
def test_exact_tracks_give_the_exact_tree_and_joints(kind: str, seed: int) -> None:
    affines, joints, names = tracked(kind, seed)
    skeleton = find_skeleton(affines, seen(affines), names, 256)
    assert {frozenset(edge) for edge in skeleton.edges} == set(joints)
    assert {joint.kind for joint in skeleton.joints} == {"hinge"}
    for frame in (0, 100, 249):
        found = skeleton.joint_positions(affines[frame], np.ones(len(names), bool))
        true = np.stack([joints[frozenset(edge)][frame] for edge in skeleton.edges])
        assert np.abs(found - true).max() < 0.1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_noisy_tracks_with_outliers_give_the_tree_too(seed: int) -> None:
    affines, joints, names = tracked("human", seed, noise=2, degrees=5)
    rng = np.random.default_rng(seed)
    affines[rng.random(affines.shape[:2]) < 0.1] += 25
    skeleton = find_skeleton(affines, seen(affines), names, 256)
    assert {frozenset(edge) for edge in skeleton.edges} == set(joints)


def test_frames_in_which_a_part_is_not_visible_do_not_count() -> None:
    affines, joints, names = tracked("human", 3)
    weights = seen(affines)
    weights[::2, 4] = 0
    affines[::2, 4] = np.nan
    skeleton = find_skeleton(affines, weights, names, 256)
    assert {frozenset(edge) for edge in skeleton.edges} == set(joints)


def two_parts(turn: np.ndarray, shift: np.ndarray, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A part that wanders and turns, and one that has `turn` (F,) and `shift` (F, 2) in its axes."""
    rng = np.random.default_rng(0)
    num = len(turn)
    first, second = np.zeros((num, 2, 3)), np.zeros((num, 2, 3))
    angle = np.cumsum(rng.normal(0, 0.1, num))
    first[:, :, 2] = np.cumsum(rng.normal(0, 2, (num, 2)), axis=0)
    for part, radians, size in ((first, angle, 20.0), (second, angle + turn, 15.0)):
        part[:, 0, 0] = part[:, 1, 1] = size * np.cos(radians)
        part[:, 1, 0] = size * np.sin(radians)
        part[:, 0, 1] = -part[:, 1, 0]
    second[:, :, 2] = first[:, :, 2] + np.einsum("fab,fb->fa", first[:, :, :2] / 20, shift)
    second[:, :, 2] += rng.normal(0, noise, (num, 2))
    return first, second


def kind_of(turn: np.ndarray, shift: np.ndarray, noise: float) -> str:
    first, second = two_parts(turn, shift, noise)
    return fit_pair(first, second, np.ones(len(turn))).kind


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_weld_hinge_slide_and_free_are_told_apart(noise: float) -> None:
    time = np.linspace(0, 20, 200)
    swing, fixed = 0.8 * np.sin(time), np.tile([30.0, 5.0], (200, 1))
    hinged = np.array([20.0, 0]) + 15 * np.stack([np.cos(swing), np.sin(swing)], -1)
    sliding = fixed + np.stack([25 * np.sin(time), np.zeros(200)], -1)
    free = 40 * np.stack([np.sin(1.3 * time), np.cos(0.7 * time)], -1)
    assert kind_of(np.zeros(200), fixed, noise) == "weld"
    assert kind_of(swing, hinged, noise) == "hinge"
    assert kind_of(np.zeros(200), sliding, noise) == "slide"
    assert kind_of(3 * np.sin(2.1 * time), free, noise) == "free"


def test_what_motion_does_not_tell_stays_near_the_parts() -> None:
    first, second = two_parts(np.zeros(100), np.tile([30.0, 0.0], (100, 1)))
    fit = fit_pair(first, second, np.ones(100))
    assert fit.residual < 0.1
    assert np.abs([*fit.in_first, *fit.in_second]).max() < 1.5


def test_joints_come_from_the_parts_that_are_seen_and_tell_how_sure_they_are() -> None:
    affines, joints, names = tracked("arm", 0)
    skeleton = find_skeleton(affines, seen(affines), names, 256)
    visible, filled = np.ones(len(names), bool), np.zeros(len(names), bool)
    parent, child = skeleton.edges[-1]
    lost = affines[100].copy()
    lost[child, :, 2] += 50
    visible[child], filled[child] = False, True
    scores = np.linspace(0.5, 0.9, len(names)).astype(np.float32)
    found = skeleton.joints_of(lost, scores, visible, filled)
    assert found.parts == skeleton.edges
    true = np.stack([joints[frozenset(edge)][100] for edge in skeleton.edges])
    assert np.abs(found.points - true).max() < 0.2, "the hidden part's idea of it does not count"
    assert found.confidence[-1] == pytest.approx(skeleton.joints[-1].confidence * scores[parent])
    visible[parent], filled[parent] = False, True
    both_filled = skeleton.joints_of(affines[100], scores, visible, filled)
    assert np.abs(both_filled.points[-1] - true[-1]).max() < 0.2 and both_filled.confidence[-1] == 0
    nobody = np.zeros(len(names), bool)
    nothing = skeleton.joints_of(affines[100], scores, nobody, nobody)
    assert np.isnan(nothing.points).all() and not nothing.confidence.any()


def test_a_skeleton_survives_its_file() -> None:
    affines, _, names = tracked("arm", 0)
    skeleton = find_skeleton(affines, seen(affines), names, 256)
    assert msgspec.json.decode(skeleton.to_json(), type=Skeleton) == skeleton


def test_joints_that_are_no_tree_are_refused() -> None:
    joint = {"in_parent": (0.0, 0.0), "in_child": (0.0, 0.0), "kind": "hinge", "residual": 0.0, "confidence": 1.0}
    with pytest.raises(ValueError, match="tree"):
        Skeleton(parts=("a", "b", "c"), root=0, joints=(Joint(parent=1, child=2, **joint),), num_frames=1)


JOINT = {"parent": 0, "child": 1, "in_parent": [1, 0], "in_child": [0, 0.5], "kind": "hinge", "residual": 0.01}
JOINT |= {"confidence": 0.9}
SOUND = {"schema": "streamparts.skeleton/1", "parts": ["red", "green"], "root": 0, "joints": [JOINT], "num_frames": 9}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema": "streamparts.skeleton/9"}, "streamparts.skeleton/9"),
        ({"surprise": 1}, "surprise"),
        ({"parts": ["red", "red"]}, "different names"),
        ({"parts": ["red", "a/b"]}, "must not contain a slash"),
        ({"parts": ["red", "x" * 65]}, "1 to 64"),
        ({"parts": []}, "different names"),
        ({"root": -1}, "tree"),
        ({"root": 7, "joints": []}, "not among"),
        ({"num_frames": -1}, "num_frames"),
        ({"joints": [{**JOINT, "child": 9}]}, "not among"),
        ({"joints": [JOINT, JOINT]}, "tree"),
        ({"joints": [{**JOINT, "kind": "rope"}]}, "rope"),
        ({"joints": [{**JOINT, "in_parent": [1e30, 0]}]}, "radii"),
        ({"joints": [{**JOINT, "in_parent": [1]}]}, "length 2"),
        ({"joints": [{**JOINT, "in_child": ["a", "b"]}]}, "float"),
        ({"joints": [{**JOINT, "residual": -1}]}, "residual"),
        ({"joints": [{**JOINT, "confidence": 2}]}, "confidence"),
        ({"joints": [{**JOINT, "extra": 2}]}, "extra"),
    ],
)
def test_a_file_that_is_no_skeleton_is_refused_in_one_line(tmp_path: Path, changes: dict, reason: str) -> None:
    path = tmp_path / "s.json"
    path.write_bytes(msgspec.json.encode({**SOUND, **changes}))
    with pytest.raises(SkeletonError, match=reason) as caught:
        load_skeleton(path)
    assert str(path) in str(caught.value) and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff\xfe", b"[" * 10_000, b"[]", b'{"root": 1e999}', b" " * 1_000_001, b"null"]
)
def test_a_file_that_is_no_json_of_a_skeleton_is_refused_too(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "s.json").write_bytes(text)
    with pytest.raises(SkeletonError, match=r"s\.json: is (not a skeleton|larger than 1 MB)"):
        load_skeleton(tmp_path / "s.json")
    with pytest.raises(SkeletonError, match="cannot be read"):
        load_skeleton(tmp_path / "none.json")


def test_no_damaged_skeleton_is_more_than_refused(tmp_path: Path) -> None:
    path, num_refused = tmp_path / "s.json", 0
    for seed in (seed for seed in range(400) if seed % len(KINDS) < 6):  # the rest is of models
        path.write_bytes(damaged(msgspec.json.encode(SOUND), seed))
        try:
            load_skeleton(path)
        except SkeletonError as error:
            assert str(error).isprintable()
            num_refused += 1
    assert num_refused > 100


def skeleton_file(folder: Path, **changes: object) -> Path:
    (folder / "s.json").write_bytes(msgspec.json.encode({**SOUND, **changes}))
    return folder / "s.json"


@pytest.mark.parametrize("smooth", [[], ["--smooth"]])
def test_a_run_with_a_skeleton_writes_joints(
    tmp_path: Path, model_path: Path, video: Path, smooth: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    skeleton, out = skeleton_file(tmp_path), tmp_path / "t.jsonl"
    words = ["run", video, "--model", model_path, "--tracks", out, "--skeleton", skeleton, "--quiet", *smooth]
    assert main([*map(str, words)]) == 0
    assert main(["schema", "tracks"]) == 0
    schema = json.loads(capsys.readouterr().out)
    for line in out.read_text().splitlines():
        jsonschema.validate(json.loads(line), schema)
    for frame in read_tracks(out).frames():
        (joint,) = frame.joints
        assert (joint.name, joint.parts) == ("red-green", (0, 1))
        ideas = [
            place(np.array(part.affine), point) for part, point in zip(frame.parts, ([1, 0], [0, 0.5]), strict=True)
        ]
        assert (joint.x, joint.y) == pytest.approx(np.mean(ideas, axis=0).tolist(), abs=0.01)
        assert joint.confidence == pytest.approx(0.9 * max(part.score for part in frame.parts), abs=2e-3)


def test_without_a_skeleton_the_tracks_are_as_they_were(tmp_path: Path, bundle: Bundle, video: Path) -> None:
    streamparts.run(video, bundle, tracks=tmp_path / "t.jsonl")
    assert b"joints" not in (tmp_path / "t.jsonl").read_bytes()
    tracks = next(streamparts.track(video, bundle))
    assert tracks.joints is None and tracks.filled is None


def test_a_skeleton_of_other_parts_is_told_in_one_line_before_anything_is_written(
    tmp_path: Path, model_path: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", str(video), "--model", str(model_path), "--tracks", str(tmp_path / "t.jsonl"), "--skeleton"]
    for parts, reason in (
        (["red", "blue"], "part 1 is 'blue' in the skeleton and 'green' in the model"),
        (["red", "green", "blue"], "the skeleton has 3 parts, but the model has 2"),
    ):
        assert main([*words, str(skeleton_file(tmp_path, parts=parts))]) == 1
        error = capsys.readouterr().err
        assert reason in error and error.count("\n") == 1
    assert not (tmp_path / "t.jsonl").exists()


def test_track_and_tracker_give_the_same_joints(tmp_path: Path, bundle: Bundle, video: Path) -> None:
    path, rescaler = skeleton_file(tmp_path), Rescaler()
    tracker = streamparts.Tracker(bundle, skeleton=load_skeleton(path))
    for tracks in streamparts.track(video, bundle, skeleton=path):
        again = tracker.update(rescaler.rgb(tracks.frame), tracks.pts_seconds)
        assert tracks.joints is not None and again.joints is not None
        assert np.allclose(again.joints.points, tracks.joints.points, atol=1)  # RGB by way of another size
    with pytest.raises(SkeletonError, match="part 1 is 'blue'"):
        streamparts.Tracker(bundle, skeleton=skeleton_file(tmp_path, parts=["red", "blue"]))


def test_too_short_a_track_is_refused() -> None:
    affines, _, names = tracked("arm", 0, num_frames=10)
    with pytest.raises(ValueError, match="longer video"):
        find_skeleton(affines, seen(affines), names, 256)


def test_the_spanning_tree_is_the_cheapest() -> None:
    costs = {(0, 1): 1.0, (0, 2): 4.0, (1, 2): 2.0, (1, 3): 7.0, (2, 3): 3.0}
    assert spanning_tree(costs) == [(0, 1), (1, 2), (2, 3)]
    assert all(costs[a] <= costs[b] for a, b in pairwise(spanning_tree(costs)))


def tracks_file(path: Path, num_frames: int = 250) -> tuple[Path, set[frozenset[int]]]:
    """Tracks of an arm as a run would write them, and the pairs of parts that share a joint."""
    affines, joints, names = tracked("arm", 0, num_frames=num_frames)
    source = {"name": "arm.mp4", "height": 256, "width": 256, "time_base": [1, 25], "rate": None}
    model = {"name": "arm", "method": "assembly", "sha256": "0" * 64, "parts": names}
    lines: list[object] = [
        {"schema": "streamparts.tracks/1", "streamparts": "0", "model": model, "source": source, "coordinates": ""}
    ]
    for number, frame in enumerate(affines):
        parts = [
            {"id": k, "name": name, "center": [float(x) for x in frame[k, :, 2]], "affine": frame[k].tolist()}
            | {"area": 1.0, "score": 1.0, "visible": True}
            for k, name in enumerate(names)
        ]
        lines.append({"frame": number, "pts": number, "pts_seconds": number / 25, "parts": parts})
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return path, set(joints)


def test_the_command_writes_the_skeleton_of_a_tracks_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tracks, joints = tracks_file(tmp_path / "arm.jsonl")
    assert main(["skeleton", str(tracks), "-o", str(tmp_path / "s.json")]) == 0
    skeleton = msgspec.json.decode((tmp_path / "s.json").read_bytes(), type=Skeleton)
    assert {frozenset(edge) for edge in skeleton.edges} == joints
    assert "hinge" in capsys.readouterr().out


def test_the_command_says_in_one_line_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short, _ = tracks_file(tmp_path / "short.jsonl", num_frames=5)
    for tracks, reason in ((short, "track a longer video"), (tmp_path / "none.jsonl", "cannot be read")):
        assert main(["skeleton", str(tracks), "-o", str(tmp_path / "s.json")]) == 1
        assert reason in capsys.readouterr().err
    assert not (tmp_path / "s.json").exists()
