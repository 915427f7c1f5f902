"""Optional content of formats: joints in metres, a SLEAP project's video and edges, COCO data sets, schemas."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from streamparts.errors import TracksError
from streamparts.formats import convert
from streamparts.sinks.overlay.encoders import SMALL, choose_encoder
from tests.test_formats_poses import even_tracks, read_trc


@pytest.fixture
def jointed(tmp_path: Path) -> Path:
    """Tracks of 48x64 with one joint between the first two parts, that moves to the right."""
    path = even_tracks(tmp_path / "j.jsonl", 6)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        if line["type"] == "frame":
            x = 10.0 + line["frame"]
            line["joints"] = [{"name": "a-b", "parts": [0, 1], "x": x, "y": 8.0, "confidence": 0.9}]
    lines[3]["joints"][0] |= {"x": None, "y": None}
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return path


def test_joints_become_markers_in_metres_with_y_up(jointed: Path, tmp_path: Path) -> None:
    convert(jointed, tmp_path / "t.trc", joints=True, metres_per_pixel=0.01)
    header, markers, rows = read_trc(tmp_path / "t.trc")
    assert (header["Units"], markers) == ("m", ["a-b"])
    height = json.loads(jointed.read_text(encoding="utf-8").splitlines()[0])["source"]["height"]
    expected = [[0.1 + 0.01 * n, 0.01 * (height - 8), 0] for n in range(6)]
    expected[2] = [np.nan] * 3
    assert rows[:, 2:] == pytest.approx(np.array(expected), nan_ok=True)


def test_tracks_without_joints_have_none_to_write(tmp_path: Path) -> None:
    with pytest.raises(TracksError, match=r"joints.*--skeleton"):
        convert(even_tracks(tmp_path / "t.jsonl"), tmp_path / "t.trc", joints=True)


@pytest.mark.parametrize("wish", [{"joints": True}, {"metres_per_pixel": 0.01}])
def test_what_a_format_does_not_take_is_refused(jointed: Path, tmp_path: Path, wish: dict[str, float]) -> None:
    with pytest.raises(TracksError, match="only; leave it out"):
        convert(jointed, tmp_path / "t.csv", **wish)  # type: ignore[arg-type]
    assert not (tmp_path / "t.csv").exists()


def test_a_sleap_project_names_its_video_and_the_skeletons_edges(jointed: Path, tmp_path: Path) -> None:
    sleap_io = pytest.importorskip("sleap_io", reason="sleap-io is not installed (extra formats)")
    convert(jointed, tmp_path / "t.slp", video=tmp_path / "dance.mp4")
    labels = sleap_io.load_slp(str(tmp_path / "t.slp"), open_videos=False)
    assert str(labels.video.filename) == str(tmp_path / "dance.mp4")
    assert labels.skeleton.edge_inds == [(0, 1)]


def test_a_coco_data_set_is_whole(jointed: Path, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed (extra dev)")
    convert(jointed, tmp_path / "t.dataset.json")
    data = coco.COCO(str(tmp_path / "t.dataset.json"))
    assert data.getImgIds() == list(range(6))
    subject = data.loadCats([1])[0]
    assert subject["skeleton"] == [[1, 2]]
    found = data.loadAnns(data.getAnnIds(imgIds=[0], catIds=[1]))[0]
    assert len(found["keypoints"]) == 3 * len(subject["keypoints"])
    assert found["num_keypoints"] > 0
    assert len({annotation["id"] for annotation in data.loadAnns(data.getAnnIds())}) == len(data.getAnnIds())


def test_a_coco_data_set_of_no_frames_is_json_too(tmp_path: Path) -> None:
    convert(even_tracks(tmp_path / "t.jsonl", 0), tmp_path / "t.dataset.json")
    made = json.loads((tmp_path / "t.dataset.json").read_text(encoding="utf-8"))
    assert (made["images"], made["annotations"]) == ([], [])


def test_the_json_of_an_mcap_file_has_its_schema(jointed: Path, tmp_path: Path) -> None:
    reader = pytest.importorskip("mcap.reader", reason="mcap is not installed (extra formats)")
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed (extra dev)")
    convert(jointed, tmp_path / "t.mcap")
    with (tmp_path / "t.mcap").open("rb") as file:
        for schema, channel, message in reader.make_reader(file).iter_messages("/streamparts/tracks"):
            assert (schema.encoding, channel.message_encoding) == ("jsonschema", "json")
            jsonschema.validate(json.loads(message.data), json.loads(schema.data))


def test_the_small_encoder_makes_smaller_files_of_a_still_scene() -> None:
    assert choose_encoder(SMALL).options["preset"] == "veryfast"
    assert choose_encoder(SMALL).name == "libx264"
