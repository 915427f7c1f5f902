"""Label readers on small generated files, and on real ones if available."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("scipy")

from streamparts.errors import MissingExtraError
from tests.conftest import ROOT
from tests.media import numbered_video, read_number, red_center
from train.drawing.puppet_clips import load_truth, write_clips
from train.frames.spread import spread
from train.labels import LabelledFrame, LabelsError, PuppetOptions, open_set
from train.labels.dlc import read_dlc_csv
from train.labels.values import EvaluationSet

REAL = ROOT.parent / "shared" / "data"


def opened(text: str, max_frames: int = 100, puppets: PuppetOptions | None = None) -> EvaluationSet:
    return open_set(text, max_frames, puppets or PuppetOptions())


def write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image[..., ::-1] if image.ndim == 3 else image)[1].tobytes())


def plain(value: int, height: int = 24, width: int = 32) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_spread_numbers_hold_both_ends() -> None:
    assert spread(10, 4) == [0, 3, 6, 9]
    assert spread(3, 10) == [0, 1, 2]
    assert spread(0, 5) == []


def test_a_frame_whose_mask_has_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="mask has shape"):
        LabelledFrame(plain(0), 0, mask=np.zeros((2, 2), np.bool_))


DLC = """scorer,me,me,me,me
bodyparts,nose,nose,tail,tail
coords,x,y,x,y
labeled-data/a/img1.png,3.5,4,,
labeled-data/a/img2.png,10,11,12,13
"""
DLC_THREE_CELLS = """scorer,,,me,me
bodyparts,,,nose,nose
coords,,,x,y
labeled-data,a,img1.png,3,4
"""


def test_dlc_stills_carry_their_landmarks_half_a_pixel_on(tmp_path: Path) -> None:
    (tmp_path / "CollectedData_me.csv").write_text(DLC)
    for number in (1, 2):
        write_image(tmp_path / f"img{number}.png", plain(number))
    labelled = opened(f"dlc:{tmp_path}")
    assert (labelled.truth, labelled.num_frames, labelled.landmark_names) == ("true", 2, ("nose", "tail"))
    first, second = labelled.read()
    assert (first.image[0, 0, 0], second.image[0, 0, 0]) == (1, 2)
    assert first.clip != second.clip
    assert first.landmarks is not None and second.landmarks is not None
    np.testing.assert_array_equal(first.landmarks, [[4, 4.5], [np.nan, np.nan]])
    np.testing.assert_array_equal(second.landmarks, [[10.5, 11.5], [12.5, 13.5]])


def test_dlc_paths_may_be_spread_over_three_cells(tmp_path: Path) -> None:
    path = tmp_path / "CollectedData.csv"
    path.write_text(DLC_THREE_CELLS)
    table = read_dlc_csv(path)
    assert (table.names, table.images, table.points.tolist()) == (("nose",), ("img1.png",), [[[3.5, 4.5]]])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n", "header rows are a"),
        ("scorer,me\nindividuals,one\nbodyparts,nose\ncoords,x\n", "header rows are scorer, individuals, bodyparts"),
        ("".join(DLC.splitlines(keepends=True)[:3]), "no row of labels"),
        (DLC.replace("coords,x,y,x,y", "coords,x,y,likelihood,x"), "expected x, y for each body part"),
        (DLC.replace("10,11,12,13", "10,11"), "img2.png has 2 coordinates, expected 4"),
        (DLC.replace("10,11,12,13", "ten,11,12,13"), "could not convert"),
    ],
)
def test_another_table_than_dlcs_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "CollectedData.csv"
    path.write_text(text)
    with pytest.raises(LabelsError, match=expected):
        read_dlc_csv(path)


def test_a_folder_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="expected one CollectedData"):
        opened(f"dlc:{tmp_path}")


def test_a_missing_or_damaged_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "CollectedData.csv").write_text(DLC)
    (tmp_path / "img2.png").write_text("no image")
    labelled = opened(f"dlc:{tmp_path}")
    with pytest.raises(LabelsError, match=r"img1\.png"):
        list(labelled.read())
    write_image(tmp_path / "img1.png", plain(1))
    with pytest.raises(LabelsError, match=r"img2\.png"):
        list(labelled.read())


def test_davis_clips_are_thinned_evenly_and_keep_their_masks(tmp_path: Path) -> None:
    for clip in ("a", "b"):
        for number in range(9):
            write_image(tmp_path / clip / "frames" / f"{number:05d}.png", plain(number))
            mask = np.zeros((24, 32), np.uint8)
            mask[:, :number] = 255
            write_image(tmp_path / clip / "masks" / f"{number:05d}.png", mask)
    frames = list(opened(f"davis:{tmp_path}", 6).read())
    assert [(frame.clip, frame.image[0, 0, 0]) for frame in frames] == [(c, n) for c in (0, 1) for n in (0, 4, 8)]
    assert [int(frame.mask.sum()) for frame in frames if frame.mask is not None] == [0, 96, 192] * 2
    assert opened(f"davis:{tmp_path / 'a'}").num_frames == 9


def test_horse_masks_are_scaled_to_their_pictures(tmp_path: Path) -> None:
    write_image(tmp_path / "rgb" / "h.png", plain(9, 40, 60))
    mask = np.zeros((20, 30), np.uint8)
    mask[5:10] = 200
    write_image(tmp_path / "mask" / "h.png", mask)
    (frame,) = opened(f"horses:{tmp_path}").read()
    assert frame.mask is not None
    assert np.flatnonzero(frame.mask.any(1)).tolist() == list(range(10, 20))


def test_horses_are_halved_by_every_second_name(tmp_path: Path) -> None:
    for number in range(5):
        write_image(tmp_path / "rgb" / f"h{number}.png", plain(number, 40, 60))
        write_image(tmp_path / "mask" / f"h{number}.png", np.zeros((20, 30), np.uint8))
    for half, numbers in (("", [0, 1, 2, 3, 4]), (",fit", [0, 2, 4]), (",test", [1, 3])):
        labelled = opened(f"horses:{tmp_path}{half}")
        assert [frame.image[0, 0, 0] for frame in labelled.read()] == numbers
        assert labelled.name.endswith(half)
    with pytest.raises(LabelsError, match=r"half.*set"):
        opened(f"horses:{tmp_path},best")


def write_points(path: Path, num_frames: int, **more: np.ndarray) -> np.ndarray:
    """The disc's centre in every frame of a numbered video, and another point 1 px right of it."""
    path.parent.mkdir(exist_ok=True)
    centers = np.array([red_center(number) for number in range(num_frames)])
    points = np.stack([centers, centers + np.array([1, 0])], axis=1).astype(np.float16)
    np.savez(path, kps=points, score=np.ones(num_frames, np.float16), **more)
    return points


def test_face_clips_carry_the_points_of_the_very_frame(tmp_path: Path) -> None:
    numbered_video(tmp_path / "d7.mp4", 10)
    points = write_points(tmp_path / "pseudo_gt" / "face_d7.npz", 10)
    labelled = opened(f"face:{tmp_path}", 4)
    assert labelled.truth.startswith("pseudo: ")
    frames = list(labelled.read())
    assert [read_number(frame.image) for frame in frames] == [0, 3, 6, 9]
    for frame, number in zip(frames, (0, 3, 6, 9), strict=True):
        np.testing.assert_array_equal(frame.landmarks, points[number])


def test_of_taichi_clips_only_the_top_half_is_seen_and_unsure_points_are_missing(tmp_path: Path) -> None:
    numbered_video(tmp_path / "3.mp4", 4, height=192, width=128)
    masks = np.zeros((4, 96, 128), np.bool_)
    masks[:, :10, :30] = True
    vis = np.array([[1, 0.2]] * 4, np.float16)
    write_points(tmp_path / "pseudo_gt" / "clip_03.npz", 4, vis=vis, mask=np.packbits(masks, axis=2))
    frames = list(opened(f"taichi:{tmp_path}").read())
    assert [frame.image.shape for frame in frames] == [(96, 128, 3)] * 4
    assert frames[0].mask is not None and frames[0].landmarks is not None
    assert (frames[0].mask == masks[0]).all()
    assert np.isfinite(frames[0].landmarks).all(1).tolist() == [True, False]


def test_a_clip_without_its_points_is_refused(tmp_path: Path) -> None:
    numbered_video(tmp_path / "d7.mp4", 3)
    with pytest.raises(LabelsError, match=r"expected one \*_d7\.npz"):
        opened(f"face:{tmp_path}")


def test_points_of_more_frames_than_the_video_has_are_refused(tmp_path: Path) -> None:
    numbered_video(tmp_path / "d7.mp4", 3)
    write_points(tmp_path / "pseudo_gt" / "face_d7.npz", 5)
    with pytest.raises(LabelsError, match=r" 3 frames.* frame 4 "):
        list(opened(f"face:{tmp_path}").read())


def test_rendered_puppets_are_the_same_every_time_and_their_poses_are_in_pixels() -> None:
    options = PuppetOptions(num_clips=2, num_frames=3, size=64)
    labelled = opened("puppets:arm", puppets=options)
    assert labelled.consecutive
    frames, again = list(labelled.read()), list(labelled.read())
    assert [frame.clip for frame in frames] == [0, 0, 0, 1, 1, 1]
    assert all((a.image == b.image).all() for a, b in zip(frames, again, strict=True))
    for frame in frames:
        assert frame.labels is not None and frame.affines is not None and frame.visible_fraction is not None
        whole = int(frame.visible_fraction.argmax())
        y, x = np.nonzero(frame.labels == whole + 1)
        np.testing.assert_allclose(frame.affines[whole, :, 2], [x.mean() + 0.5, y.mean() + 0.5], atol=3)


def test_a_folder_of_puppets_gives_the_first_frames_of_every_clip(tmp_path: Path) -> None:
    paths = write_clips(tmp_path, "arm", num_clips=2, num_frames=5, size_hw=(64, 64))
    labelled = opened(f"puppets:{tmp_path}", 6)
    frames = list(labelled.read())
    assert labelled.num_frames == len(frames) == 6
    assert labelled.part_names == load_truth(paths[0]).part_names
    assert (frames[4].labels == load_truth(paths[1]).labels[1]).all()
    paths[1].with_suffix(".npz").write_text("damaged")
    with pytest.raises(LabelsError, match=r"readable.*beside"):
        opened(f"puppets:{tmp_path}")


def test_sleap_without_h5py_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"needs h5py.*\[sleap\]"):
        opened(f"sleap:{tmp_path / 'x.slp'}")


FRAME = [("frame_id", "u8"), ("video", "u4"), ("frame_idx", "u8")]
FRAME += [("instance_id_start", "u8"), ("instance_id_end", "u8")]
INSTANCE = [("instance_type", "u1"), ("track", "i4"), ("score", "f4"), ("point_id_start", "u8"), ("point_id_end", "u8")]
POINT = [("x", "f8"), ("y", "f8"), ("visible", "?")]


def write_slp(path: Path, instances: list[tuple[int, int, float]], tracks: list[str], format_id: float = 1.2) -> None:
    """Frames 1 and 4 of `v.mp4`, two instances (type, track, score) each; instance i's nodes are at 10 i and 10 i + 1.
    The skeleton has the nodes in another order than the file's list of names."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra sleap)")
    rows, stored = [], {0: [], 1: []}
    for number, (kind, track, score) in enumerate(instances):
        start = len(stored[kind])
        stored[kind] += [(10 * number + node, 5, True) for node in range(2)]
        rows.append((kind, track, score, start, start + 2))
    names = [{"name": "tail"}, {"name": "nose"}]
    metadata = {"nodes": names, "skeletons": [{"nodes": [{"id": 1}, {"id": 0}]}]}
    with h5py.File(path, "w") as file:
        group = file.create_group("metadata")
        group.attrs["format_id"], group.attrs["json"] = format_id, json.dumps(metadata)
        file["frames"] = np.array([(0, 0, 1, 0, 2), (1, 0, 4, 2, 4)], FRAME)
        file["instances"] = np.array(rows, INSTANCE)
        file["points"], file["pred_points"] = np.array(stored[0], POINT), np.array(stored[1], POINT)
        file["tracks_json"] = np.array([json.dumps([0, name]).encode() for name in tracks] or [b""])[: len(tracks)]
        file["videos_json"] = np.array([json.dumps({"backend": {"filename": "/far/away/v.mp4"}}).encode()])


def test_sleap_labels_follow_tracks_that_are_there_in_half_of_the_frames(tmp_path: Path) -> None:
    write_slp(tmp_path / "v.slp", [(1, 0, 0.9), (1, 1, 0.8), (1, 1, 0.9), (1, 0, 0.8)], ["ann", "bob"])
    numbered_video(tmp_path / "v.mp4", 6)
    labelled = opened(f"sleap:{tmp_path / 'v.slp'}")
    assert labelled.truth.startswith("pseudo: ")
    assert labelled.landmark_names == ("ann.nose", "ann.tail", "bob.nose", "bob.tail")
    frames = list(labelled.read())
    assert [read_number(frame.image) for frame in frames] == [1, 4]
    assert [frame.landmarks[:, 0].tolist() for frame in frames if frame.landmarks is not None] == [
        [0.5, 1.5, 10.5, 11.5],
        [30.5, 31.5, 20.5, 21.5],
    ]


def test_without_tracks_a_persons_instance_counts_before_the_best_prediction(tmp_path: Path) -> None:
    write_slp(tmp_path / "v.slp", [(1, -1, 0.9), (0, -1, np.nan), (1, -1, 0.2), (1, -1, 0.7)], [], format_id=1.0)
    numbered_video(tmp_path / "other.mp4", 6)
    labels = tmp_path / "v.slp"
    with pytest.raises(LabelsError, match=r"its video.*missing.*beside"):
        opened(f"sleap:{labels}")
    labelled = opened(f"sleap:{labels},{tmp_path / 'other.mp4'}")
    assert labelled.landmark_names == ("nose", "tail")
    first, second = (frame.landmarks for frame in labelled.read())
    assert first is not None and second is not None
    assert (first[0, 0], second[0, 0]) == (10, 30)  # before format 1.1 without the half pixel


def test_labels_of_people_alone_are_true(tmp_path: Path) -> None:
    write_slp(tmp_path / "v.slp", [(0, -1, np.nan)] * 4, [])
    numbered_video(tmp_path / "v.mp4", 6)
    assert opened(f"sleap:{tmp_path / 'v.slp'}").truth == "true"


def test_sleap_analysis_files_leave_out_frames_without_any_point(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra sleap)")
    tracks = np.arange(2 * 2 * 3 * 5, dtype=np.float64).reshape(2, 2, 3, 5)  # tracks, x and y, nodes, frames
    tracks[:, :, :, 2] = np.nan
    tracks[1, :, :, 1:] = np.nan  # the second is there in one frame of four
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["tracks"], file["node_names"] = tracks, np.array([b"a", b"b", b"c"])
        file["track_names"] = np.array([b"one", b"two"])
    numbered_video(tmp_path / "v.mp4", 5)
    labelled = opened(f"sleap:{tmp_path / 'a.h5'},{tmp_path / 'v.mp4'}")
    assert labelled.landmark_names == ("a", "b", "c")
    frames = list(labelled.read())
    assert [read_number(frame.image) for frame in frames] == [0, 1, 3, 4]
    np.testing.assert_array_equal(frames[2].landmarks, tracks[0, :, :, 3].T + 0.5)


def test_a_file_that_is_not_sleaps_is_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra sleap)")
    (tmp_path / "x.slp").write_text("no HDF5")
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["something"] = [1]
    for name in ("x.slp", "y.h5", "missing.slp"):
        with pytest.raises(LabelsError, match="SLEAP's"):
            opened(f"sleap:{tmp_path / name}")


REAL_SETS = [
    ("dlc", "mouse/openfield_labeled", 58, 4, "true", False),
    ("dlc", "mouse/mirror_mouse/labeled", 45, 17, "true", False),
    ("davis", "human/davis", None, 0, "true", True),
    ("davis", "quadruped/davis/camel", 90, 0, "true", True),
    ("horses", "images_horse", 228, 0, "true", True),
    ("badja", "quadruped/badja/camel.json,quadruped/davis/camel", 18, 20, "true", True),
    ("badja", "quadruped/badja/bear.json,quadruped/bear.mp4", 17, 20, "true", False),
    ("keypoints", "human/pose_1.json", 120, 17, "pseudo", False),
    ("keypoints", "hand/asl_hand.frames000-229.json", 230, 21, "pseudo", False),
    ("taichi", "human_taichi", None, 33, "pseudo", True),
    ("face", "face", None, 468, "pseudo", False),
    ("sleap", "fly/predictions.analysis.h5,fly/20190128_113421.120s.mp4", 3000, 26, "pseudo", False),
    ("sleap", "fly/centered_pair_predictions.slp,fly/centered_pair_small.mp4", 1100, None, "pseudo", False),
    ("sleap", "human/dance.mp4.labels.slp", 450, 17, "pseudo", False),
]


@pytest.mark.parametrize(("kind", "where", "total", "num_landmarks", "truth", "has_masks"), REAL_SETS)
def test_real_labels_lie_on_their_pictures(
    kind: str, where: str, total: int | None, num_landmarks: int | None, truth: str, has_masks: bool
) -> None:
    paths = [REAL / part for part in where.split(",")]
    if not all(path.exists() for path in paths):
        pytest.skip(f"the real data are not here: ../shared/data/{where}")
    if kind == "sleap":
        pytest.importorskip("h5py", reason="h5py is not installed (extra sleap)")
    text = f"{kind}:{','.join(map(str, paths))}"
    if total is not None:
        assert opened(text, 10**6).num_frames == total
    labelled = opened(text, 1)
    assert labelled.truth.partition(":")[0] == truth
    frame = next(labelled.read())
    if num_landmarks is not None:
        assert len(labelled.landmark_names) == num_landmarks
    if frame.landmarks is not None:
        inside = frame.landmarks[np.isfinite(frame.landmarks).all(1)]
        assert len(inside)
        assert (inside > -30).all()
        assert (inside < np.array(frame.image.shape[1::-1]) + 30).all()
    assert (frame.mask is not None) == has_masks
    if frame.mask is not None:
        assert 0.005 < frame.mask.mean() < 0.8


def test_frames_of_long_and_short_clips_are_thinned_alike(tmp_path: Path) -> None:
    for name, length in (("a", 4), ("b", 12)):
        numbered_video(tmp_path / f"{name}.mp4", length)
        write_points(tmp_path / "pseudo_gt" / f"x_{name}.npz", length)
    frames = list(opened(f"face:{tmp_path}", 4).read())
    assert [(frame.clip, frame.index) for frame in frames] == [(0, 0), (1, 1), (1, 6), (1, 11)]
    assert [read_number(frame.image) for frame in frames] == [0, 1, 6, 11]


def test_thirty_three_points_have_mediapipes_names(tmp_path: Path) -> None:
    numbered_video(tmp_path / "d7.mp4", 2)
    (tmp_path / "pseudo_gt").mkdir()
    points = np.zeros((2, 33, 2), np.float16)
    np.savez(tmp_path / "pseudo_gt" / "x_d7.npz", kps=points, score=np.ones(2, np.float16))
    labelled = opened(f"face:{tmp_path}")
    assert labelled.landmark_names[15] == "left_wrist"
    assert labelled.sources == (tmp_path / "d7.mp4",)


def test_keypoints_as_json_are_lists_or_named(tmp_path: Path) -> None:
    numbered_video(tmp_path / "v.25fps.mp4", 4)
    named = {"nose": {"x": 1.5, "y": 2}, "tail": {"x": 3, "y": 4}}
    for path, entries, names in (
        (tmp_path / "v.named.json", [named, None, {}, named], ("nose", "tail")),
        (tmp_path / "v.list.json", [[[1.5, 2, 9], [3, 4, 9]], [], None, [[1.5, 2], [3, 4]]], ("0", "1")),
    ):
        path.write_text(json.dumps(entries))
        labelled = opened(f"keypoints:{path}")
        assert labelled.truth == "pseudo: a detector's"
        assert (labelled.landmark_names, labelled.num_frames) == (names, 2)
        frames = list(labelled.read())
        assert [frame.index for frame in frames] == [read_number(frame.image) for frame in frames] == [0, 3]
        np.testing.assert_array_equal(frames[1].landmarks, [[1.5, 2], [3, 4]])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no json", "cannot be read as a list of keypoints"),
        ("[null, []]", "contains no keypoint"),
        ("[[[1, 2]], [[1, 2], [3, 4]]]", "a frame has 2 keypoints, but the first one has 1"),
        ('[{"a": {"x": 1, "y": 2}}, {"b": {"x": 1, "y": 2}}]', "cannot be read as a list of keypoints"),
        ('[[[1, 2]]]', "expected one video v.* beside it, found 0"),
    ],
)  # fmt: skip
def test_other_json_than_keypoints_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "v.json").write_text(text)
    with pytest.raises(LabelsError) as caught:
        opened(f"keypoints:{tmp_path / 'v.json'}")
    assert expected in str(caught.value)


def badja(numbers: list[int]) -> list[dict[str, object]]:
    """Joint 8 at row 540, column 960 of 1920x1080, joint 33 at row 0, column 1920; nothing else is seen."""
    joints, seen = [[0, 0] for _ in range(37)], [False] * 37
    joints[8], joints[33], seen[8], seen[33] = [540, 960], [0, 1920], True, True
    return [{"image_path": f"x/{n:05d}.jpg", "joints": joints, "visibility": seen} for n in numbers]


def test_badjas_joints_are_rows_and_columns_at_another_size(tmp_path: Path) -> None:
    path, clip = tmp_path / "cat.json", tmp_path / "cat"
    path.write_text(json.dumps(badja([2, 0])))
    for number in range(3):
        write_image(clip / "frames" / f"{number:05d}.png", plain(number, 54, 96))
    mask = np.zeros((54, 96), np.uint8)
    mask[:10] = 255
    write_image(clip / "masks" / "00002.png", mask)
    labelled = opened(f"badja:{path},{clip}")
    assert (labelled.truth, labelled.num_frames) == ("true", 2)
    first, second = labelled.read()
    assert [(frame.index, frame.image[0, 0, 0]) for frame in (first, second)] == [(0, 0), (2, 2)]
    assert first.mask is None and second.mask is not None and second.mask.sum() == 960
    assert first.landmarks is not None
    seen = {name: point.tolist() for name, point in zip(labelled.landmark_names, first.landmarks, strict=True)}
    assert seen["right_front_elbow"] == [48, 27]
    assert seen["nose"] == [96, 0]
    assert np.isnan(seen["tail_tip"]).all()


def test_badjas_joints_of_a_video_and_what_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "cat.json"
    path.write_text(json.dumps(badja([1, 3])))
    numbered_video(tmp_path / "cat.mp4", 5)
    assert [read_number(frame.image) for frame in opened(f"badja:{path},{tmp_path / 'cat.mp4'}").read()] == [1, 3]
    write_image(tmp_path / "cat" / "frames" / "00000.png", plain(0))
    with pytest.raises(LabelsError, match=r" 1 frames.*cat\.json.* frame 3\b"):
        opened(f"badja:{path},{tmp_path / 'cat'}")
    with pytest.raises(LabelsError, match="has no clip"):
        opened(f"badja:{path}")
    path.write_text("[]")
    with pytest.raises(LabelsError, match="BADJA's joints"):
        opened(f"badja:{path},{tmp_path / 'cat.mp4'}")


def test_two_tracks_are_two_subjects(tmp_path: Path) -> None:
    write_slp(tmp_path / "v.slp", [(1, 0, 0.9), (1, 1, 0.8), (1, 1, 0.9), (1, 0, 0.8)], ["ann", "bob"])
    numbered_video(tmp_path / "v.mp4", 6)
    labelled = opened(f"sleap:{tmp_path / 'v.slp'}")
    assert labelled.subjects == 2
    assert [frame.index for frame in labelled.read()] == [1, 4]
