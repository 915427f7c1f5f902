import itertools
import json
import random
from fractions import Fraction
from pathlib import Path

import msgspec
import numpy as np
import pytest

import streamparts
from streamparts.bundle.load import Bundle
from streamparts.errors import VideoError
from streamparts.geometry import Letterbox
from streamparts.runtime.loop import track
from streamparts.runtime.stream import run
from streamparts.tracksfile.records import FrameRecord
from streamparts.tracksfile.rle import encode_mask, run_lengths
from streamparts.tracksfile.writing import JsonlSink
from tests.media import ArraySource, picture, write_video
from tests.test_data import make_tracks


def decode_rle(size: list[int], text: str) -> np.ndarray:
    """COCO's compressed text to a mask, slowly and by its definition."""
    counts: list[int] = []
    characters = iter(text)
    for first in characters:
        group, shift, value = ord(first) - 48, 0, 0
        while True:
            value |= (group & 31) << shift
            shift += 5
            if not group & 32:
                break
            group = ord(next(characters)) - 48
        if group & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    pixels = list(itertools.chain.from_iterable([i % 2] * count for i, count in enumerate(counts)))
    return np.array(pixels, bool).reshape(size[::-1]).T


def random_mask(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 90, 2)
    return rng.random((height, width)) < rng.choice([0.001, 0.1, 0.5, 0.95])


def special_masks() -> list[np.ndarray]:
    long = np.zeros((300, 400), bool)
    long[:, 7] = long[5, 300] = True
    return [np.zeros((5, 7), bool), np.ones((5, 7), bool), np.ones((1, 1), bool), np.eye(64, dtype=bool), long]


@pytest.mark.parametrize("mask", [*special_masks(), *map(random_mask, range(30))], ids=lambda m: str(m.shape))
def test_a_mask_survives_encoding(mask: np.ndarray) -> None:
    encoded = encode_mask(mask)
    assert np.array_equal(decode_rle(encoded["size"], encoded["counts"]), mask)


def test_the_text_is_that_of_the_coco_tools() -> None:
    """Known by hand: 3 zeros, 2 ones, 4 zeros; then 40 ones, of which 40 - 2 = 38 = 6 + 32 * 1 is written."""
    mask = np.repeat([False, True, False, True], [3, 2, 4, 40])[:, None]
    assert encode_mask(mask) == {"size": [49, 1], "counts": "324V1"}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_reads_it_when_it_is_there() -> None:
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    for seed in range(10):
        mask = random_mask(seed)
        assert np.array_equal(coco.decode(encode_mask(mask)).astype(bool), mask)
        assert coco.encode(np.asfortranarray(mask, np.uint8))["counts"].decode() == encode_mask(mask)["counts"]


def test_runs_begin_with_the_zeros() -> None:
    assert run_lengths(np.array([[True], [False]])).tolist() == [0, 1, 1]


def test_masks_of_several_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="mask"):
        encode_mask(np.zeros((2, 4, 4), bool))


def written(path: Path) -> tuple[dict, list[dict]]:
    header, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    return header, lines


def test_the_header_says_how_to_read_the_file(tmp_path: Path, bundle: Bundle) -> None:
    run(ArraySource(2), bundle, tracks=tmp_path / "t.jsonl")
    header, _ = written(tmp_path / "t.jsonl")
    assert header["schema"] == "streamparts.tracks/3"
    assert header["streamparts"] == streamparts.__version__
    assert header["model"] == {
        "name": "tiny",
        "method": "assembly",
        "sha256": bundle.sha256,
        "parts": ["red", "green"],
        "description": "",
        "symmetric_pairs": [],
    }
    assert header["source"] == {
        "name": "arrays",
        "height": 48,
        "width": 64,
        "time_base": [1, 30],
        "rate": [30, 1],
    }
    assert "pixel centres at +0.5" in header["coordinates"]
    assert header["masks"] is None


def test_each_line_holds_what_the_tracks_hold(tmp_path: Path, bundle: Bundle, video: Path) -> None:
    run(video, bundle, tracks=tmp_path / "t.jsonl")
    _, lines = written(tmp_path / "t.jsonl")
    for line, tracks in zip(lines, track(video, bundle), strict=True):
        assert line["frame"] == tracks.index
        assert line["pts"] == tracks.frame.pts
        assert line["pts_seconds"] == pytest.approx(tracks.pts_seconds, abs=1e-6)
        for part, record in enumerate(line["parts"]):
            assert record["id"] == part
            assert record["name"] == tracks.names[part]
            assert record["center"] == pytest.approx(tracks.centers[part].tolist(), abs=1e-3)
            assert np.allclose(record["affine"], tracks.affines[part], atol=1e-4)
            assert record["area"] == pytest.approx(tracks.areas[part], abs=0.1)
            assert record["score"] == pytest.approx(tracks.scores[part], abs=1e-3)
            assert record["visible"] is bool(tracks.visible[part])
            assert "mask" not in record


def test_lines_can_be_read_into_the_records_they_came_from(tmp_path: Path, bundle: Bundle) -> None:
    run(ArraySource(3), bundle, tracks=tmp_path / "t.jsonl", masks=True)
    lines = (tmp_path / "t.jsonl").read_bytes().splitlines()[1:]
    records = [msgspec.json.decode(line, type=FrameRecord) for line in lines]
    assert [record.frame for record in records] == [0, 1, 2]


def test_masks_lead_back_to_displayed_pixels(tmp_path: Path, bundle: Bundle) -> None:
    source = ArraySource(1, height=96, width=200)
    run(source, bundle, tracks=tmp_path / "t.jsonl", masks=True)
    header, (line,) = written(tmp_path / "t.jsonl")
    red = line["parts"][0]
    mask = decode_rle(red["mask"]["size"], red["mask"]["counts"])
    assert list(mask.shape) == header["masks"]["mask_hw"] == [64, 64]
    rows, columns = np.nonzero(mask)
    model_center = np.array([columns.mean() + 0.5, rows.mean() + 0.5])
    how = header["masks"]
    displayed = (model_center - how["offset_xy"]) * how["scale_xy"]
    assert displayed == pytest.approx(red["center"], abs=0.05)
    assert mask.sum() * np.prod(how["scale_xy"]) == pytest.approx(red["area"], abs=0.1)


def test_times_of_a_variable_rate_file_are_exact(tmp_path: Path, bundle: Bundle) -> None:
    pts = [0, 17, 90, 91, 400]
    path = write_video(tmp_path / "vfr.mkv", map(picture, range(5)), pts=pts, time_base=Fraction(1, 1000))
    run(path, bundle, tracks=tmp_path / "t.jsonl")
    header, lines = written(tmp_path / "t.jsonl")
    assert header["source"]["time_base"] == [1, 1000]
    assert [line["pts"] for line in lines] == pts
    assert [line["pts_seconds"] for line in lines] == [p / 1000 for p in pts]


def test_the_file_holds_whole_lines_at_every_moment(tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "t.jsonl"
    sink = JsonlSink(path, bundle, ArraySource(3))
    for number in range(5):
        text = path.read_bytes()
        assert text.count(b"\n") == number + 1
        assert text.endswith(b"\n")
        sink.write(make_tracks())
    sink.close()
    sink.close()


def test_a_write_that_fails_half_way_leaves_whole_lines(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = JsonlSink(tmp_path / "t.jsonl", bundle, ArraySource(3))
    sink.write(make_tracks())
    real = sink._file

    class FullDisk:
        """Takes ten bytes, then has no room."""

        room = 10

        def write(self, data: memoryview) -> int:
            if not self.room:
                raise OSError(28, "No space left on device")
            taken, self.room = self.room, 0
            return real.write(data[:taken])

        def truncate(self, size: int) -> None:
            real.truncate(size)

        def close(self) -> None:
            real.close()

    monkeypatch.setattr(sink, "_file", FullDisk())
    with pytest.raises(VideoError, match="No space left"):
        sink.write(make_tracks())
    assert (tmp_path / "t.jsonl").read_bytes().count(b"\n") == 2
    written(tmp_path / "t.jsonl")


def test_a_file_in_a_folder_that_does_not_exist_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    with pytest.raises(VideoError, match="cannot be written"):
        JsonlSink(tmp_path / "none" / "t.jsonl", bundle, ArraySource(1))


def test_names_in_any_script_survive(tmp_path: Path, bundle: Bundle) -> None:
    sink = JsonlSink(tmp_path / "t.jsonl", bundle, ArraySource(1))
    sink.write(make_tracks(names=('尾 "tail"', "\n")))
    sink.close()
    _, (line,) = written(tmp_path / "t.jsonl")
    assert [part["name"] for part in line["parts"]] == ['尾 "tail"', "\n"]


def test_the_letterbox_of_the_header_is_that_of_the_tracks(tmp_path: Path, bundle: Bundle) -> None:
    source = ArraySource(1, height=random.Random(0).randint(20, 90), width=77)
    (tracks,) = track(source, bundle)
    assert tracks.letterbox == Letterbox.fit((source.height, 77), (64, 64))
