"""COCO results, MCAP, Rerun and supervision, read by pycocotools, mcap, rerun and supervision."""

import contextlib
import io
import json
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest

import streamparts
from streamparts.errors import TracksError
from streamparts.formats import convert
from streamparts.geometry import Letterbox, displayed
from streamparts.runtime.stream import run
from streamparts.sources import open_source, trimmed
from streamparts.tracksfile.rle import decode_mask, encode_mask
from tests.made_tracks import (
    MASKS,
    SMALL_MASKS,
    awkward_tracks,
    disc,
    even_tracks,
    exact_seconds,
    frames_of,
    lines_of,
    places,
)
from tests.media import numbered_video, read_number
from tests.test_data import make_tracks
from tests.test_jsonl import random_mask, special_masks

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
"""The warning is raised by pycocotools."""


@pytest.fixture(params=["puppet", "awkward", "awkward without masks"])
def tracks(request: pytest.FixtureRequest, tmp_path: Path, puppet_tracks: Path) -> Path:
    if request.param == "puppet":
        return puppet_tracks
    return awkward_tracks(tmp_path / "awkward.jsonl", masks="without" not in request.param)


@pytest.mark.parametrize("mask", [*special_masks(), *map(random_mask, range(30))], ids=lambda m: str(m.shape))
def test_a_mask_is_decoded_as_pycocotools_does(mask: np.ndarray) -> None:
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    theirs = coco.encode(np.asfortranarray(mask, np.uint8))
    assert np.array_equal(decode_mask(mask.shape, theirs["counts"].decode()), mask)
    assert np.array_equal(decode_mask(mask.shape, encode_mask(mask)["counts"]), mask)


@pytest.mark.parametrize("text", ["", "0", "o", "~~", "P1", "oooooooooooooooooooooo0", "\x00", "ü", "9" * 1000])
def test_text_that_is_no_mask_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"run lengths|not COCO's"):
        decode_mask((5, 5), text)


def test_a_mask_lies_on_the_picture_where_the_letterbox_puts_it() -> None:
    """Against the letterbox itself, point by point."""
    rng = np.random.default_rng(0)
    for hw in ((90, 160), (160, 90), (64, 64), (33, 100)):
        box, mask = Letterbox.fit(hw, (64, 64)), rng.random((64, 64)) < 0.5
        scale = (float(box.scale_xy[0]), float(box.scale_xy[1]))
        found = displayed(mask, box.offset_xy, scale, *hw)
        for y, x in rng.integers(0, hw, (200, 2)):
            at = box.frame_to_model(np.array([x + 0.5, y + 0.5]))
            if np.abs(at - np.round(at)).min() > 1e-3:
                assert found[y, x] == mask[int(at[1]), int(at[0])]


def load_coco(tracks: Path, results: Path) -> tuple[object, object]:
    """(ground truth without annotations, results) as pycocotools loads them, the size of every frame as it is."""
    coco_module = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    lines, images, size = lines_of(tracks), [], (0, 0)
    for line in lines:
        if line["type"] == "header":
            size = (line["source"]["height"], line["source"]["width"])
        elif line["type"] == "segment":
            size = (line["height"], line["width"])
        elif line["type"] == "frame":
            images.append({"id": line["frame"], "height": size[0], "width": size[1]})
    parts = lines[0]["model"]["parts"]
    categories = [{"id": 1, "name": "subject", "keypoints": parts, "skeleton": []}]
    categories += [{"id": 2 + number, "name": name} for number, name in enumerate(parts)]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco_module.COCO()
        truth.dataset = {"images": images, "categories": categories, "annotations": [], "info": {}}
        truth.createIndex()
        return truth, truth.loadRes(str(results))


def test_pycocotools_loads_keypoints_boxes_and_masks(tracks: Path, tmp_path: Path) -> None:
    convert(tracks, tmp_path / "t.json")
    truth, found = load_coco(tracks, tmp_path / "t.json")
    for line, row in zip(frames_of(tracks), places(tracks), strict=True):
        results = found.loadAnns(found.getAnnIds(imgIds=[line["frame"]]))
        by_category = {result["category_id"]: result for result in results}
        seen = [part for part in line["parts"] if part["visible"]]
        assert sorted(by_category) == ([1] if seen else []) + [2 + part["id"] for part in seen]
        if not seen:
            continue
        points = np.array(by_category[1]["keypoints"]).reshape(-1, 3)
        assert points[:, :2] == pytest.approx(np.nan_to_num(row[:, :2]), abs=1e-3)
        assert points[:, 2].tolist() == [2 if part["visible"] else 0 for part in line["parts"]]
        image = truth.loadImgs(line["frame"])[0]
        union = np.zeros((image["height"], image["width"]), bool)
        for part in seen:
            result = by_category[2 + part["id"]]
            assert (result["name"], result["score"], result["pts"]) == (part["name"], part["score"], line["pts"])
            if "mask" in part:
                mask = found.annToMask(result).astype(bool)
                union |= mask
                assert mask.shape == union.shape
                if lines_of(tracks)[0]["model"]["name"] == "puppet-human":
                    assert mask.sum() == pytest.approx(part["area"], rel=0.02)
                x, y, width, height = map(int, result["bbox"])
                assert mask[y : y + height, x : x + width].sum() == mask.sum()
                assert mask[y].any() and mask[y + height - 1].any() and mask[:, x].any()
        if "mask" in seen[0]:
            assert np.array_equal(found.annToMask(by_category[1]).astype(bool), union)
    assert [json.loads(json.dumps(result))["pts_seconds"] for result in found.anns.values()] == [
        seconds
        for line, seconds in zip(frames_of(tracks), exact_seconds(tracks), strict=True)
        for _ in range(sum(part["visible"] for part in line["parts"]) + any(part["visible"] for part in line["parts"]))
    ]


def test_coco_masks_are_scaled_to_the_displayed_picture(tmp_path: Path) -> None:
    tracks = awkward_tracks(tmp_path / "t.jsonl", masks=True)
    convert(tracks, tmp_path / "t.json")
    _, found = load_coco(tracks, tmp_path / "t.json")
    for frame, lie, hw in ((2, MASKS, (48, 64)), (8, SMALL_MASKS, (48, 36))):
        for part in range(3):
            result = found.loadAnns(found.getAnnIds(imgIds=[frame], catIds=[2 + part]))[0]
            expected = np.zeros(hw, bool)
            for y in range(hw[0]):
                for x in range(hw[1]):
                    at_x = (x + 0.5) / lie["scale_xy"][0] + lie["offset_xy"][0]
                    at_y = (y + 0.5) / lie["scale_xy"][1] + lie["offset_xy"][1]
                    expected[y, x] = disc(part, frame)[int(at_y), int(at_x)]
            assert np.array_equal(found.annToMask(result).astype(bool), expected)


def test_without_masks_a_box_is_around_the_ellipse(tmp_path: Path) -> None:
    tracks = awkward_tracks(tmp_path / "t.jsonl")
    convert(tracks, tmp_path / "t.json")
    results = json.loads((tmp_path / "t.json").read_text())
    part = frames_of(tracks)[0]["parts"][1]
    x, y, width, height = next(r["bbox"] for r in results if r["category_id"] == 3 and r["image_id"] == 2)
    turn = np.linspace(0, 2 * np.pi, 10_000)
    affine = np.array(part["affine"])
    on = affine[:, :2] @ [np.cos(turn), np.sin(turn)] + affine[:, 2:]
    assert (x, y) == pytest.approx(on.min(1), abs=1e-3)
    assert (x + width, y + height) == pytest.approx(on.max(1), abs=1e-3)


@pytest.mark.parametrize(("num_frames", "names"), [(0, ("a",)), (1, ()), (1, ("a",))])
def test_few_results_are_valid_json(tmp_path: Path, num_frames: int, names: tuple[str, ...]) -> None:
    convert(even_tracks(tmp_path / "t.jsonl", num_frames, names), tmp_path / "t.json")
    assert len(json.loads((tmp_path / "t.json").read_text())) == 2 * num_frames * len(names)


def test_a_damaged_mask_is_named(tmp_path: Path) -> None:
    tracks = even_tracks(tmp_path / "t.jsonl", 2, masks=True)
    text = tracks.read_text()
    counts = frames_of(tracks)[1]["parts"][0]["mask"]["counts"]
    tracks.write_text(text.replace(json.dumps(counts), '"zzz"'))
    with pytest.raises(TracksError, match=r"frame 1\b.*mask"):
        convert(tracks, tmp_path / "t.json")


def mcap_messages(path: Path) -> list[tuple[str, object, object]]:
    """(topic, message record, decoded message), as the mcap library gives them."""
    reader = pytest.importorskip("mcap.reader", reason="mcap is not installed (extra formats)")
    decoder = pytest.importorskip("mcap_protobuf.decoder", reason="mcap-protobuf is not installed (extra formats)")
    with path.open("rb") as file:
        opened = reader.make_reader(file, decoder_factories=[decoder.DecoderFactory()], validate_crcs=True)
        return [
            (channel.topic, message, json.loads(message.data) if schema.encoding == "jsonschema" else None)
            for schema, channel, message in opened.iter_messages("/streamparts/tracks")
        ] + [
            (channel.topic, message, decoded)
            for _, channel, message, decoded in opened.iter_decoded_messages("/streamparts/annotations")
        ]


def test_mcap_holds_foxglove_annotations_at_the_exact_times(tracks: Path, tmp_path: Path) -> None:
    convert(tracks, tmp_path / "t.mcap")
    found = [item for item in mcap_messages(tmp_path / "t.mcap") if item[0].endswith("annotations")]
    frames, nanoseconds = frames_of(tracks), [round(seconds * 1e9) for seconds in exact_seconds(tracks)]
    assert len(found) == len(frames)
    for (_, message, decoded), frame, own in zip(found, frames, nanoseconds, strict=True):
        assert decoded.DESCRIPTOR.full_name == "foxglove.ImageAnnotations"
        assert decoded.timestamp.ToNanoseconds() == own
        assert message.publish_time == own
        seen = [part for part in frame["parts"] if part["visible"]]
        assert [text.text for text in decoded.texts] == [part["name"] for part in seen]
        for circle, loop, part in zip(decoded.circles, decoded.points, seen, strict=True):
            assert (circle.position.x, circle.position.y) == pytest.approx(part["center"], abs=1e-3)
            affine = np.array(part["affine"])
            canonical = np.linalg.solve(affine[:, :2], np.array([[p.x, p.y] for p in loop.points]).T - affine[:, 2:])
            assert np.hypot(*canonical) == pytest.approx(1), "on the ellipse"
    logged = [message.log_time for _, message, _ in found]
    assert logged == sorted(set(logged)), "the log goes forward, whatever the source's clock does"
    first = [frame.get("segment", 0) == 0 for frame in frames]
    assert [time for time, own in zip(logged, first, strict=True) if own] == nanoseconds[: sum(first)]


def test_mcap_holds_every_line_and_gives_it_back(tracks: Path, tmp_path: Path) -> None:
    convert(tracks, tmp_path / "t.mcap")
    lines = [decoded for topic, _, decoded in mcap_messages(tmp_path / "t.mcap") if topic.endswith("tracks")]
    assert lines == lines_of(tracks)[1:]
    convert(tmp_path / "t.mcap", tmp_path / "back.jsonl")
    assert lines_of(tmp_path / "back.jsonl")[1:] == lines_of(tracks)[1:]


def test_times_before_zero_move_the_log_and_nothing_else(tmp_path: Path) -> None:
    lines = lines_of(even_tracks(tmp_path / "t.jsonl", 3))
    for line in lines[1:]:
        line["pts"] -= 512
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = convert(tmp_path / "t.jsonl", tmp_path / "t.mcap")
    found = [item for item in mcap_messages(done.path) if item[0].endswith("annotations")]
    assert [message.log_time for _, message, _ in found] == [0, 40_000_000, 80_000_000]
    assert [decoded.timestamp.ToNanoseconds() for *_, decoded in found] == [-40_000_000, 0, 40_000_000]
    assert done.notes == ("times before 0 become 0 in the log",)


@pytest.mark.parametrize("content", [b"", b"junk", b"\x89MCAP0\r\n" + bytes(50)])
def test_bytes_that_are_no_mcap_are_refused(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("mcap", reason="mcap is not installed (extra formats)")
    (tmp_path / "bad.mcap").write_bytes(content)
    with pytest.raises(TracksError, match=r"bad\.mcap: "):
        convert(tmp_path / "bad.mcap", tmp_path / "back.jsonl")


@pytest.mark.parametrize(("num_frames", "names"), [(0, ("a",)), (1, ()), (1, ("a",))])
def test_few_frames_make_an_mcap_too(tmp_path: Path, num_frames: int, names: tuple[str, ...]) -> None:
    convert(even_tracks(tmp_path / "t.jsonl", num_frames, names), tmp_path / "t.mcap")
    assert len(mcap_messages(tmp_path / "t.mcap")) == 2 * num_frames


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory, model_path: Path) -> tuple[Path, Path]:
    """A video of an odd size with B-frames, and the tracks of every third of its frames from 4 on."""
    folder = tmp_path_factory.mktemp("filmed")
    video = numbered_video(folder / "film.mp4", 40, 97, 131, options={"bf": "2"}, pix_fmt="yuv444p")
    run(trimmed(open_source(video), start=0.11, every=3), model_path, tracks=folder / "film.jsonl")
    return video, folder / "film.jsonl"


def numbers_in(units: Iterable[bytes]) -> list[int]:
    """Numbers in the images of H.264 access units, each decoded before the next one arrives."""
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    images = [decoder.decode(av.Packet(unit)) for unit in units]  # type: ignore[attr-defined]
    assert all(len(each) == 1 for each in images)
    return [read_number(each[0].to_ndarray(format="rgb24")) for each in images]


def test_mcap_holds_the_pictures_of_the_tracked_frames_on_request(filmed: tuple[Path, Path], tmp_path: Path) -> None:
    reader = pytest.importorskip("mcap.reader", reason="mcap is not installed (extra formats)")
    decoder = pytest.importorskip("mcap_protobuf.decoder", reason="mcap-protobuf is not installed (extra formats)")
    video, tracks = filmed
    convert(tracks, tmp_path / "t.mcap", video=video)
    with (tmp_path / "t.mcap").open("rb") as file:
        opened = reader.make_reader(file, decoder_factories=[decoder.DecoderFactory()])
        found = [decoded for *_, decoded in opened.iter_decoded_messages("/streamparts/video")]
    assert found[0].DESCRIPTOR.full_name == "foxglove.CompressedVideo"
    assert {one.format for one in found} == {"h264"}
    assert [one.timestamp.ToNanoseconds() for one in found] == [round(time * 1e9) for time in exact_seconds(tracks)]
    assert numbers_in(one.data for one in found) == [frame["frame"] for frame in frames_of(tracks)] != []


def test_rerun_holds_the_pictures_of_the_tracked_frames_on_request(filmed: tuple[Path, Path], tmp_path: Path) -> None:
    video, tracks = filmed
    convert(tracks, tmp_path / "t.rrd", video=video)
    numbers, _, samples = rerun_rows(tmp_path / "t.rrd", "video", "VideoStream:sample")
    assert numbers == [frame["frame"] for frame in frames_of(tracks)]
    assert numbers_in(bytes(sample[0]) for sample in samples) == numbers


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"num_frames": 20}, "it has no frame 22"),
        ({"num_frames": 40, "height": 96}, "its frame 4 is 128x96"),
        ({"num_frames": 40, "time_base": Fraction(1, 15)}, r"its frame 4 is at 0.266667 s, that of the tracks at 0.13"),
    ],
)
def test_pictures_of_another_video_are_refused(
    filmed: tuple[Path, Path], tmp_path: Path, other: dict[str, Any], why: str
) -> None:
    pytest.importorskip("mcap", reason="mcap is not installed (extra formats)")
    size = {"height": 97, "width": 131} if "height" not in other else {}
    video = numbered_video(tmp_path / "other.mp4", **(size | other), pix_fmt="yuv444p")
    with pytest.raises(TracksError, match=rf"other\.mp4.*{why}"):
        convert(filmed[1], tmp_path / "t.mcap", video=video)
    assert not (tmp_path / "t.mcap").exists()


def rerun_rows(path: Path, entity: str, column: str) -> tuple[list[int], list[int], list[list]]:
    """(frame, nanoseconds, values) of every row of a component, as Rerun's own reader gives them, by frame."""
    chunk = pytest.importorskip("rerun.chunk", reason="rerun is not installed (extra rerun)")
    rows = []
    for one in chunk.RrdReader(path).stream().to_chunks():
        if str(one.entity_path).lstrip("/") != entity:
            continue
        batch = one.to_record_batch()
        name = next((name for name in batch.schema.names if name.endswith(column)), None)
        if name is not None:
            times = batch.column("time").cast("int64").to_pylist()
            rows += zip(batch.column("frame").to_pylist(), times, batch.column(name).to_pylist(), strict=True)
    rows.sort(key=lambda row: row[0])
    return tuple(list(column) for column in zip(*rows, strict=True))  # type: ignore[return-value]


def test_rerun_finds_every_part_at_its_frame_and_time(tracks: Path, tmp_path: Path) -> None:
    convert(tracks, tmp_path / "t.rrd")
    numbers, times, points = rerun_rows(tmp_path / "t.rrd", "parts/centers", "positions")
    frames, seconds = frames_of(tracks), exact_seconds(tracks)
    assert numbers == [frame["frame"] for frame in frames]
    first = [frame.get("segment", 0) == 0 for frame in frames]
    exact = [round(time * 1e9) for time, own in zip(seconds, first, strict=True) if own]
    assert times[: sum(first)] == exact
    assert times == sorted(set(times))
    _, _, labels = rerun_rows(tmp_path / "t.rrd", "parts/centers", "labels")
    for frame, row, names in zip(frames, points, labels, strict=True):
        seen = [part for part in frame["parts"] if part["visible"]]
        assert np.array(row).reshape(-1, 2) == pytest.approx(
            np.array([part["center"] for part in seen]).reshape(-1, 2), abs=1e-3
        )
        assert list(names or []) == [part["name"] for part in seen]


@pytest.fixture
def supervision() -> ModuleType:
    return pytest.importorskip("supervision", reason="supervision is not installed (extra supervision)")


def test_supervision_gets_masks_boxes_and_names_of_what_is_seen(
    supervision: ModuleType, video: Path, model_path: Path
) -> None:
    tracks = next(iter(streamparts.track(video, model_path)))
    found = tracks.to_supervision()
    assert isinstance(found, supervision.Detections)
    seen = np.flatnonzero(tracks.visible)
    assert found.class_id.tolist() == seen.tolist()
    assert found.data["class_name"].tolist() == [tracks.names[part] for part in seen]
    assert found.mask.shape == (len(seen), 96, 128)
    assert found.area == pytest.approx(tracks.areas[seen], rel=0.02)
    boxes = supervision.mask_to_xyxy(found.mask)  # whose last two are the last pixels
    boxes[:, 2:] += 1
    assert found.xyxy == pytest.approx(boxes)
    for mask, part in zip(found.mask, seen, strict=True):
        y, x = (np.argwhere(mask) + 0.5).mean(0)
        assert (x, y) == pytest.approx(tracks.centers[part], abs=1)
    drawn = supervision.MaskAnnotator().annotate(np.zeros((96, 128, 3), np.uint8), found)
    assert drawn.any()


def test_supervision_gets_nothing_where_nothing_is_seen(supervision: ModuleType) -> None:
    found = make_tracks(visible=np.zeros(2, bool)).to_supervision()
    assert (len(found), found.mask.shape) == (0, (0, 48, 64))


def test_supervision_gets_key_points(supervision: ModuleType) -> None:
    from streamparts.formats.supervision import key_points

    affines = np.zeros((2, 2, 3), np.float32)
    affines[:, :, 2] = [[10, 20], [30, 40]]
    found = key_points(make_tracks(affines=affines, visible=np.array([True, False])))
    assert isinstance(found, supervision.KeyPoints)
    assert found.xy.tolist() == [[[10, 20], [30, 40]]]
    assert found.visible.tolist() == [[True, False]]
    assert supervision.VertexAnnotator(radius=3).annotate(np.zeros((48, 64, 3), np.uint8), found).any()


def test_the_pieces_of_a_second_are_kept(tmp_path: Path) -> None:
    """A clock that no float holds exactly: a third of a microsecond."""
    tracks = even_tracks(tmp_path / "t.jsonl", 4)
    text = tracks.read_text().replace("[1, 12800]", "[1, 3000000]")
    tracks.write_text(text)
    convert(tracks, tmp_path / "t.mcap")
    found = [decoded for topic, _, decoded in mcap_messages(tmp_path / "t.mcap") if topic.endswith("annotations")]
    exact = [round(Fraction(512 * number * 10**9, 3_000_000)) for number in range(4)]
    assert [decoded.timestamp.ToNanoseconds() for decoded in found] == exact
