"""DeepLabCut, SLEAP, OpenPose and TRC files, read by movement, sleap-io, pandas and json."""

import json
import os
import pickle
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from streamparts.errors import TracksError
from streamparts.formats import convert
from streamparts.formats.literals import literal
from streamparts.formats.shots import shots
from streamparts.tracksfile.reading import read_tracks
from tests.made_tracks import (
    MASKS,
    NAMES,
    SMALL_MASKS,
    awkward_tracks,
    disc,
    even_tracks,
    exact_seconds,
    frames_of,
    header_line,
    lines_of,
    places,
    write_lines,
)
from tests.media import numbered_video, picture, write_video

POSE_FILES = [("t.csv", "dlc"), ("t.h5", "dlc"), ("t.analysis.h5", None), ("t.slp", None)]
PIXEL_CENTER = 0.5
"""DeepLabCut and SLEAP use 0, 0 for the centre of the first pixel."""


@pytest.fixture
def movement() -> ModuleType:
    return pytest.importorskip("movement.io.load_poses", reason="movement is not installed")


@pytest.fixture(params=["puppet", "awkward"])
def tracks(request: pytest.FixtureRequest, tmp_path: Path, puppet_tracks: Path) -> Path:
    return puppet_tracks if request.param == "puppet" else awkward_tracks(tmp_path / "awkward.jsonl", masks=True)


def num_rows(tracks: Path) -> int:
    return frames_of(tracks)[-1]["frame"] + 1


def names(tracks: Path) -> list[str]:
    return lines_of(tracks)[0]["model"]["parts"]


@pytest.mark.parametrize(
    ("file_name", "kind", "loader"),
    [
        ("p.csv", "dlc", "from_dlc_file"),
        ("p.h5", "dlc", "from_dlc_file"),
        ("p.analysis.h5", None, "from_sleap_file"),
        ("p.slp", None, "from_sleap_file"),
    ],
)
def test_movement_finds_positions_and_scores(
    tracks: Path, tmp_path: Path, movement: ModuleType, file_name: str, kind: str | None, loader: str
) -> None:
    convert(tracks, tmp_path / file_name, kind)
    found = getattr(movement, loader)(tmp_path / file_name)
    expected = places(tracks, num_rows(tracks), shift=-PIXEL_CENTER)
    position = found.position.transpose("time", "keypoints", "space", ...).to_numpy()[..., 0]
    assert position.shape == expected[:, :, :2].shape
    assert np.array_equal(np.isnan(position), np.isnan(expected[:, :, :2]))
    assert np.nanmax(np.abs(position - expected[:, :, :2])) < 1e-3
    confidence = found.confidence.transpose("time", "keypoints", ...).to_numpy()[..., 0]
    assert np.nan_to_num(confidence) == pytest.approx(np.nan_to_num(expected[:, :, 2]), abs=1e-6)
    assert found.keypoints.values.tolist() == names(tracks)
    assert found.time.values.tolist() == list(range(num_rows(tracks)))


def test_pandas_reads_every_row_of_deeplabcut_tables_even_empty_ones(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed (extra formats)")
    tracks = awkward_tracks(tmp_path / "t.jsonl")
    convert(tracks, tmp_path / "t.csv", "dlc")
    convert(tracks, tmp_path / "t.h5", "dlc")
    expected = places(tracks, num_rows(tracks), shift=-PIXEL_CENTER).reshape(num_rows(tracks), -1)
    for table in (
        pandas.read_csv(tmp_path / "t.csv", header=[0, 1, 2], index_col=0),
        pandas.read_hdf(tmp_path / "t.h5", "df_with_missing"),
        pandas.read_hdf(tmp_path / "t.h5"),
    ):
        assert table.index.tolist() == list(range(num_rows(tracks)))
        assert list(table.columns.names) == ["scorer", "bodyparts", "coords"]
        assert table.columns.get_level_values(1).unique().tolist() == names(tracks)
        assert table.columns.get_level_values(2).unique().tolist() == ["x", "y", "likelihood"]
        assert np.array_equal(np.isnan(table.to_numpy()), np.isnan(expected))
        assert np.nanmax(np.abs(table.to_numpy() - expected)) < 1e-3


def test_sleap_io_reads_the_analysis_file(tracks: Path, tmp_path: Path) -> None:
    sio = pytest.importorskip("sleap_io", reason="sleap-io is not installed (extra sleap)")
    convert(tracks, tmp_path / "t.analysis.h5")
    labels = sio.load_analysis_h5(str(tmp_path / "t.analysis.h5"))
    expected = places(tracks, num_rows(tracks), shift=-PIXEL_CENTER)
    seen = np.isfinite(expected[:, :, 0]).any(axis=1)
    assert [frame.frame_idx for frame in labels] == np.flatnonzero(seen).tolist()
    for frame in labels:
        found = frame.instances[0].numpy(scores=True)
        assert found == pytest.approx(expected[frame.frame_idx], abs=1e-3, nan_ok=True)
    assert [track.name for track in labels.tracks] == ["subject"]


def test_sleap_io_reads_poses_masks_and_names_of_the_project_file(tmp_path: Path) -> None:
    sio = pytest.importorskip("sleap_io", reason="sleap-io is not installed (extra sleap)")
    tracks = awkward_tracks(tmp_path / "t.jsonl", masks=True)
    convert(tracks, tmp_path / "t.slp")
    labels = sio.load_slp(str(tmp_path / "t.slp"), open_videos=False)
    by_number = {frame.frame_idx: frame for frame in labels}
    assert labels.skeletons[0].node_names == names(tracks)
    assert labels.video.filename == "clip.mp4"
    for line in frames_of(tracks):
        seen = [part for part in line["parts"] if part["visible"]]
        if not seen:
            continue
        frame = by_number[line["frame"]]
        small = line.get("segment", 0) == 1
        top, left = (0, 4) if small else (4, 0)
        inner = (slice(top, 32 - top), slice(left, 32 - left))
        assert [mask.name for mask in frame.masks] == [part["name"] for part in seen]
        for mask, part in zip(frame.masks, seen, strict=True):
            assert np.array_equal(mask.data, disc(part["id"], line["frame"])[inner])
            assert mask.scale == pytest.approx([1 / s for s in (SMALL_MASKS if small else MASKS)["scale_xy"]])
            extent = (mask.height / mask.scale[1], mask.width / mask.scale[0])
            assert extent == pytest.approx((48, 36 if small else 64))
            assert mask.score == pytest.approx(part["score"])
            y, x = (np.argwhere(mask.data) + 0.5).mean(0) / mask.scale[::-1]
            scale = (SMALL_MASKS if small else MASKS)["scale_xy"][0]
            assert (x, y) == pytest.approx(
                ((9 + 4 * part["id"] - left) * scale, (12 + line["frame"] % 6 - top) * scale), abs=scale / 2
            ), "where the disc is in the displayed picture"


@pytest.mark.parametrize("name", ["t.analysis.h5", "t.slp"])
def test_the_evaluation_reads_the_same_pixels_as_the_tracks_have(
    puppet_tracks: Path, tmp_path: Path, name: str
) -> None:
    pytest.importorskip("sleap_io", reason="sleap-io is not installed (extra sleap)")
    from train.labels.sleap import read_sleap

    convert(puppet_tracks, tmp_path / name)
    labels = read_sleap(tmp_path / name)
    assert labels.names == tuple(names(puppet_tracks))
    assert labels.points == pytest.approx(places(puppet_tracks)[:, :, :2], abs=1e-3)


def test_symmetric_parts_are_symmetric_in_sleap(puppet_tracks: Path, tmp_path: Path) -> None:
    sio = pytest.importorskip("sleap_io", reason="sleap-io is not installed (extra sleap)")
    convert(puppet_tracks, tmp_path / "t.slp")
    skeleton = sio.load_slp(str(tmp_path / "t.slp"), open_videos=False).skeletons[0]
    assert {frozenset(pair) for pair in skeleton.symmetry_names} >= {frozenset(("left_shin", "right_shin"))}


@pytest.mark.parametrize("file_name", ["p.h5", "p.analysis.h5"])
def test_hdf5_files_of_ours_come_back_with_their_times(tracks: Path, tmp_path: Path, file_name: str) -> None:
    pytest.importorskip("tables", reason="tables is not installed (extra formats)")
    convert(tracks, tmp_path / file_name, "dlc" if file_name == "p.h5" else None)
    convert(tmp_path / file_name, tmp_path / "back.jsonl")
    after = tmp_path / "back.jsonl"
    assert places(after) == pytest.approx(places(tracks), abs=1e-3, nan_ok=True)
    for key in ("frame", "pts", "pts_seconds", "segment", "dropped"):
        assert [line.get(key) for line in frames_of(after)] == [line.get(key) for line in frames_of(tracks)]
    assert [line["type"] for line in lines_of(after)] == [line["type"] for line in lines_of(tracks)]
    assert lines_of(after)[0]["model"]["sha256"] == lines_of(tracks)[0]["model"]["sha256"]
    assert sum(1 for _ in read_tracks(after)) == len(lines_of(tracks)) - 1
    part = frames_of(after)[0]["parts"][0]
    assert (part["area"], [row[:2] for row in part["affine"]]) == (0, [[0, 0], [0, 0]]), "nothing is made up"


def test_a_file_without_times_takes_them_from_its_video(tmp_path: Path) -> None:
    ticks = [0, 33, 90, 91, 180, 240]
    video = write_video(tmp_path / "v.mkv", map(picture, range(6)), pts=ticks)
    lines = lines_of(even_tracks(tmp_path / "t.jsonl", 6))
    lines[0]["source"]["time_base"] = [1, 30]
    for line, pts in zip(lines[1:], ticks, strict=True):
        line["pts"] = pts
    tracks = write_lines(tmp_path / "t.jsonl", lines)
    convert(tracks, tmp_path / "t.csv", "dlc")
    convert(tmp_path / "t.csv", tmp_path / "back.jsonl", video=video)
    frames = frames_of(tmp_path / "back.jsonl")
    assert [frame["pts_seconds"] for frame in frames] == pytest.approx([tick / 30 for tick in ticks], abs=1e-3)
    source = lines_of(tmp_path / "back.jsonl")[0]["source"]
    assert (source["name"], source["height"], source["width"]) == ("v.mkv", 96, 128)
    assert places(tmp_path / "back.jsonl") == pytest.approx(places(tracks), abs=1e-3)
    short = numbered_video(tmp_path / "short.mp4", 3)
    with pytest.raises(TracksError, match=r" 6 frames.*short\.mp4.* 3\b"):
        convert(tmp_path / "t.csv", tmp_path / "other.jsonl", video=short)


def test_a_file_without_times_takes_what_the_user_says_and_nothing_else(tmp_path: Path) -> None:
    convert(even_tracks(tmp_path / "t.jsonl"), tmp_path / "t.csv", "dlc")
    for known in ({}, {"rate": 25}, {"size": (48, 64)}):
        with pytest.raises(TracksError, match="give --video VIDEO, or --rate"):
            convert(tmp_path / "t.csv", tmp_path / "back.jsonl", **known)
    convert(tmp_path / "t.csv", tmp_path / "back.jsonl", rate=25, size=(48, 64))
    assert [frame["pts_seconds"] for frame in frames_of(tmp_path / "back.jsonl")] == [n / 25 for n in range(30)]
    assert lines_of(tmp_path / "back.jsonl")[0]["source"]["height"] == 48


def test_files_of_other_programs_are_read(tmp_path: Path) -> None:
    """DeepLabCut's, with an individual, by pandas; SLEAP's analysis file by sleap-io."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed (extra formats)")
    sio = pytest.importorskip("sleap_io", reason="sleap-io is not installed (extra sleap)")
    pytest.importorskip("tables", reason="tables is not installed (extra formats)")
    values = np.array([[1.5, 2.5, 0.9, np.nan, np.nan, 0.2], [3, 4, 1.0000001, 5, 6, 0.3]])
    levels = [["net"], ["a", "b c"], ["x", "y", "likelihood"]]
    table = pandas.DataFrame(
        values, columns=pandas.MultiIndex.from_product(levels, names=["scorer", "bodyparts", "coords"])
    )
    table.to_csv(tmp_path / "one.csv")
    table.to_hdf(tmp_path / "one.h5", key="df_with_missing", format="table")
    levels.insert(1, ["mouse"])
    table.columns = pandas.MultiIndex.from_product(levels, names=["scorer", "individuals", "bodyparts", "coords"])
    table.to_csv(tmp_path / "named.csv")
    table.to_hdf(tmp_path / "named.h5", key="df_with_missing", format="table")
    skeleton = sio.Skeleton(["a", "b c"])
    instances = [
        sio.PredictedInstance.from_numpy(row.reshape(2, 3)[:, :2], skeleton, row.reshape(2, 3)[:, 2]) for row in values
    ]
    video = sio.Video("v.mp4", open_backend=False)
    frames = [sio.LabeledFrame(video, number, [instance]) for number, instance in enumerate(instances)]
    sio.save_analysis_h5(sio.Labels(frames, [video], [skeleton]), str(tmp_path / "sleap.h5"))
    for name in ("one.csv", "one.h5", "named.csv", "named.h5", "sleap.h5"):
        convert(tmp_path / name, tmp_path / "back.jsonl", rate=30, size=(10, 10), force=True)
        parts = [frame["parts"] for frame in frames_of(tmp_path / "back.jsonl")]
        assert [[part["visible"] for part in row] for row in parts] == [[True, False], [True, True]]
        assert [part["name"] for part in parts[0]] == ["a", "b c"]
        assert [part["center"] for part in parts[1]] == [[3.5, 4.5], [5.5, 6.5]]
        assert parts[1][0]["score"] == 1, "no more than the schema allows"


def test_other_columns_than_one_subjects_predictions_are_refused(tmp_path: Path) -> None:
    head = "scorer,net,net,net,net,net,net\n"
    coords = "coords,x,y,likelihood,x,y,likelihood\n"
    two = f"{head}individuals,m,m,m,w,w,w\nbodyparts,a,a,a,a,a,a\n{coords}0,1,1,1,1,1,1\n"
    labels = "scorer,me,me\nbodyparts,a,a\ncoords,x,y\nimg.png,1,1\n"
    words = f"{head}bodyparts,a,a,a,b,b,b\n{coords}0,1,1,1,1,1,one\n"
    back = f"{head}bodyparts,a,a,a,b,b,b\n{coords}1,1,1,1,1,1,1\n0,1,1,1,1,1,1\n"
    below = back.replace("\n1,", "\n-1,")
    for text, reason in (
        (two, "several individuals"),
        (labels, "'a' has no likelihood"),
        (words, "line 4: .*'one'"),
        (back, "row 0 comes after row 1"),
        (below, "row -1 comes after"),
        ("scorer\n", "columns are not DeepLabCut's"),
    ):
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(TracksError, match=reason):
            convert(tmp_path / "bad.csv", tmp_path / "back.jsonl", rate=30, size=(10, 10))
    assert not (tmp_path / "back.jsonl").exists()


@pytest.mark.parametrize("protocol", range(6))
def test_names_are_read_from_pickles_without_unpickling(protocol: int) -> None:
    value = [("ü b", "x"), {"k": [1, 2.5, -3, None, True, 10**20]}, (), (1,), (1, 2, 3, 4)]
    assert literal(pickle.dumps(value, protocol)) == value
    with pytest.raises(ValueError, match=r"pickled.*literal"):
        literal(pickle.dumps([os.getcwd], protocol))


def test_a_pickle_that_would_run_something_is_refused_and_does_not(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra formats)")
    pytest.importorskip("tables", reason="tables is not installed (extra formats)")
    convert(even_tracks(tmp_path / "t.jsonl"), tmp_path / "t.h5", "dlc")
    with h5py.File(tmp_path / "t.h5", "a") as file:
        evil = f"cos\nmkdir\n(V{tmp_path / 'pwned'}\ntR.".encode()
        file["df_with_missing/table"].attrs["values_block_0_kind"] = np.bytes_(evil)
    with pytest.raises(TracksError, match=r"pickled.*literal"):
        convert(tmp_path / "t.h5", tmp_path / "back.jsonl")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n" + bytes(200), b"scorer"])
def test_damaged_hdf5_files_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("h5py", reason="h5py is not installed (extra formats)")
    (tmp_path / "bad.h5").write_bytes(content)
    for kind in ("dlc", "sleap-analysis"):
        with pytest.raises(TracksError, match=r"bad\.h5"):
            convert(tmp_path / "bad.h5", tmp_path / "back.jsonl", kind)


def test_names_that_are_empty_or_used_twice_become_unique_and_that_is_said(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed (extra formats)")
    done = convert(even_tracks(tmp_path / "t.jsonl", 2, ("a", "a", "")), tmp_path / "t.csv", "dlc")
    table = pandas.read_csv(done.path, header=[0, 1, 2], index_col=0)
    assert table.columns.get_level_values(1).unique().tolist() == ["a", "a_1", "part2"]
    assert [note.split(",")[0] for note in done.notes] == ["part 1 is renamed to 'a_1'", "part 2 is renamed to 'part2'"]


def test_openpose_is_a_file_for_every_frame_number(tracks: Path, tmp_path: Path) -> None:
    convert(tracks, tmp_path / "poses", "openpose")
    files = sorted((tmp_path / "poses").glob("*.json"))
    stem = Path(lines_of(tracks)[0]["source"]["name"]).stem
    assert [file.name for file in files] == [f"{stem}_{n:012d}_keypoints.json" for n in range(num_rows(tracks))]
    expected = places(tracks, num_rows(tracks))
    for file, row in zip(files, expected, strict=True):
        people = json.loads(file.read_text())["people"]
        if not np.isfinite(row[:, 0]).any():
            assert people == []
            continue
        found = np.array(people[0]["pose_keypoints_2d"]).reshape(-1, 3)
        assert found == pytest.approx(np.nan_to_num(row), abs=1e-3), "0, 0, 0 where not seen"


def tree_in(folder: Path) -> list[tuple[str, object, str | None]]:
    """(name, id, name of the one above) of each node of the tree for Pose2Sim, those above first."""

    def nodes(node: dict[str, Any], above: str | None) -> Iterator[tuple[str, object, str | None]]:
        yield node["name"], node["id"], above
        for child in node.get("children", []):
            yield from nodes(child, node["name"])

    return list(nodes(tomllib.loads((folder / "pose2sim.toml").read_text(encoding="utf-8"))["pose"]["CUSTOM"], None))


def with_joints(path: Path, joints: list[tuple[int, int]], names: tuple[str, ...] = NAMES) -> Path:
    """Tracks whose joint j is at (5 + j, 6 + j), with a confidence of 0.25; nowhere in frame 1."""
    lines = lines_of(even_tracks(path, 3, names))
    for line in lines[1:]:
        line["joints"] = [
            {"name": f"{names[a]}-{names[b]}", "parts": [a, b], "x": 5 + j, "y": 6 + j, "confidence": 0.25}
            for j, (a, b) in enumerate(joints)
        ]
    for joint in lines[2]["joints"]:
        joint["x"] = joint["y"] = None
    return write_lines(path, lines)


BODY = ("trunk", "head", "upper", "lower")
LONE = ("lower", 3, "subject")


@pytest.mark.parametrize(
    ("joints", "tree"),
    [
        ([], [("subject", "None", None), *((name, k, "subject") for k, name in enumerate(BODY))]),
        (
            [(0, 1), (0, 2), (2, 3)],
            [("trunk", 0, None), ("head", 1, "trunk"), ("upper", 2, "trunk"), ("lower", 3, "upper")],
        ),
        (
            [(2, 3)],
            [
                ("subject", "None", None),
                *((name, k, "subject") for k, name in enumerate(BODY[:3])),
                ("lower", 3, "upper"),
            ],
        ),
        (
            [(0, 1), (1, 2), (2, 0), (3, 3), (1, 0), (0, 2)],
            [("subject", "None", None), ("trunk", 0, "subject"), ("head", 1, "trunk"), ("upper", 2, "head"), LONE],
        ),
    ],
    ids=["no skeleton", "a tree", "two pieces", "rings"],
)
def test_beside_openpose_files_is_the_tree_of_their_keypoints(
    tmp_path: Path, joints: list[tuple[int, int]], tree: list[tuple[str, object, str | None]]
) -> None:
    convert(with_joints(tmp_path / "t.jsonl", joints, BODY), tmp_path / "cam1_json", "openpose")
    assert tree_in(tmp_path / "cam1_json") == tree


def test_names_of_any_letters_are_in_the_tree(tmp_path: Path) -> None:
    convert(even_tracks(tmp_path / "t.jsonl", 1), tmp_path / "cam1_json", "openpose")
    assert [name for name, *_ in tree_in(tmp_path / "cam1_json")[1:]] == list(NAMES)


def test_openpose_can_have_the_joints_and_their_tree(tmp_path: Path) -> None:
    tracks = with_joints(tmp_path / "t.jsonl", [(0, 1), (0, 2), (2, 3)], BODY)
    convert(tracks, tmp_path / "joints", "openpose", joints=True)
    first, second, third = (
        json.loads(file.read_text())["people"] for file in sorted((tmp_path / "joints").glob("*.json"))
    )
    assert first[0]["pose_keypoints_2d"] == [5, 6, 0.25, 6, 7, 0.25, 7, 8, 0.25] == third[0]["pose_keypoints_2d"]
    assert second == []
    assert tree_in(tmp_path / "joints") == [
        ("subject", "None", None),
        ("trunk-head", 0, "subject"),
        ("trunk-upper", 1, "subject"),
        ("upper-lower", 2, "trunk-upper"),
    ]
    with pytest.raises(TracksError, match="has no joints"):
        convert(even_tracks(tmp_path / "none.jsonl", 2), tmp_path / "none", "openpose", joints=True)
    convert(tracks, tmp_path / "joints", "openpose", force=True)
    assert len(tree_in(tmp_path / "joints")) == 4, "what it made it replaces"


def read_trc(path: Path) -> tuple[dict[str, str], list[str], np.ndarray]:
    """(header, markers, rows) by the layout that OpenSim documents: names on line 4, one every three columns, numbered
    axes on line 5, line 6 empty."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed (extra formats)")
    lines = path.read_text().split("\n")
    assert lines[0].split("\t") == ["PathFileType", "4", "(X/Y/Z)", path.name]
    header = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=True))
    labels = lines[3].split("\t")
    markers = labels[2::3]
    axes = [f"{axis}{number + 1}" for number in range(len(markers)) for axis in "XYZ"]
    assert labels[:2] == ["Frame#", "Time"]
    assert lines[4].split("\t") == ["", "", *axes]
    assert lines[5] == ""
    table = pandas.read_csv(path, sep="\t", skiprows=6, header=None, quoting=3)
    return header, markers, table.to_numpy(float)


def test_trc_holds_the_markers_at_their_times(tracks: Path, tmp_path: Path) -> None:
    convert(tracks, tmp_path / "t.trc")
    header, markers, rows = read_trc(tmp_path / "t.trc")
    frames = frames_of(tracks)
    assert int(header["NumFrames"]) == len(frames) == len(rows)
    assert int(header["NumMarkers"]) == len(markers)
    assert header["Units"] == "m"
    assert markers == [name.replace(" ", "_") for name in names(tracks)]
    assert rows[:, 0].tolist() == [frame["frame"] for frame in frames]
    first = [line.get("segment", 0) == 0 for line in frames]
    seconds = exact_seconds(tracks)
    assert rows[first, 1].tolist() == [time for time, own in zip(seconds, first, strict=True) if own]
    assert (np.diff(rows[:, 1]) > 0).all(), "a new segment goes on where the last one ended"
    found, expected = rows[:, 2:].reshape(len(rows), -1, 3), places(tracks)
    heights = np.array([shot.setting.height for shot in shots(read_tracks(tracks))])[:, None]
    assert 1000 * found[:, :, 0] == pytest.approx(expected[:, :, 0], abs=1e-3, nan_ok=True)
    assert heights - 1000 * found[:, :, 1] == pytest.approx(expected[:, :, 1], abs=1e-3, nan_ok=True), "y is up"
    assert set(found[:, :, 2][np.isfinite(found[:, :, 2])]) == {0.0}


def test_the_rate_of_an_even_clip_is_in_the_trc(tmp_path: Path) -> None:
    done = convert(even_tracks(tmp_path / "t.jsonl"), tmp_path / "t.trc")
    header, _, _ = read_trc(tmp_path / "t.trc")
    assert (float(header["DataRate"]), float(header["CameraRate"])) == (25, 25)
    assert done.notes == ("a pixel is assumed to be 0.001 m; set its size with --metres-per-pixel M",)
    assert convert(tmp_path / "t.jsonl", tmp_path / "u.trc", metres_per_pixel=0.002).notes == ()


@pytest.mark.parametrize(("name", "kind"), POSE_FILES)
@pytest.mark.parametrize("num_frames", [0, 1])
def test_few_frames_make_a_file_too(tmp_path: Path, name: str, kind: str | None, num_frames: int) -> None:
    for needed in ("tables", "sleap_io"):
        pytest.importorskip(needed, reason=f"{needed} is not installed (extra formats)")
    convert(even_tracks(tmp_path / "t.jsonl", num_frames), tmp_path / name, kind)
    if name == "t.slp":
        import sleap_io

        assert len(sleap_io.load_slp(str(tmp_path / name), open_videos=False)) == num_frames
    elif num_frames or name != "t.h5":
        convert(tmp_path / name, tmp_path / "back.jsonl", rate=25, size=(48, 64))
        assert len(frames_of(tmp_path / "back.jsonl")) == num_frames


@pytest.mark.parametrize(("name", "kind"), [("t.trc", None), ("t", "openpose")])
def test_no_frames_make_a_file_without_any(tmp_path: Path, name: str, kind: str | None) -> None:
    convert(even_tracks(tmp_path / "t.jsonl", 0), tmp_path / name, kind)
    assert (tmp_path / name).exists()


@pytest.mark.parametrize(("name", "kind"), POSE_FILES)
def test_tracks_without_parts_are_refused_where_there_is_no_place_for_them(
    tmp_path: Path, name: str, kind: str | None
) -> None:
    for needed in ("tables", "sleap_io"):
        pytest.importorskip(needed, reason=f"{needed} is not installed (extra formats)")
    tracks = even_tracks(tmp_path / "t.jsonl", 3, ())
    with pytest.raises(TracksError, match="has no parts"):
        convert(tracks, tmp_path / name, kind)
    assert [path.name for path in tmp_path.iterdir()] == ["t.jsonl"]


@pytest.mark.parametrize(("name", "kind"), [("t.csv", "dlc"), ("t.analysis.h5", None), ("t", "openpose")])
def test_a_frame_number_out_of_this_world_does_not_fill_the_disk(tmp_path: Path, name: str, kind: str | None) -> None:
    pytest.importorskip("h5py", reason="h5py is not installed (extra formats)")
    lines = lines_of(even_tracks(tmp_path / "t.jsonl", 2))
    lines[2]["frame"] = 1 << 40
    with pytest.raises(TracksError, match=r"would.*mostly.*use csv"):
        convert(write_lines(tmp_path / "t.jsonl", lines), tmp_path / name, kind)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["t.csv", "t.h5", "t.analysis.h5"])
def test_many_frames_are_written_and_read_in_pieces(tmp_path: Path, name: str) -> None:
    pytest.importorskip("tables", reason="tables is not installed (extra formats)")
    tracks = even_tracks(tmp_path / "t.jsonl", 10_000)
    convert(tracks, tmp_path / name, None if "analysis" in name else "dlc")
    convert(tmp_path / name, tmp_path / "back.jsonl", rate=25, size=(48, 64))
    assert np.abs(places(tmp_path / "back.jsonl") - places(tracks)).max() < 1e-3


def test_a_header_of_other_parts_is_refused(tmp_path: Path) -> None:
    line = frames_of(even_tracks(tmp_path / "t.jsonl", 1))[0]
    tracks = write_lines(tmp_path / "t.jsonl", [header_line(("a",), (1, 25)), line])
    with pytest.raises(TracksError, match=r"frame 0 has a part 1.*1 parts"):
        convert(tracks, tmp_path / "t.trc")
