"""CSV, Parquet and pandas: read by other libraries, and converted back."""

import json
from pathlib import Path

import numpy as np
import pytest

import streamparts
from streamparts.errors import TracksError
from streamparts.formats import convert
from tests.made_tracks import awkward_tracks, even_tracks, exact_seconds, frames_of, header_line, lines_of, write_lines

pandas = pytest.importorskip("pandas", reason="pandas is not installed (extra formats)")
parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (extra formats)")


@pytest.fixture(params=["puppet", "awkward", "awkward with masks"])
def tracks(request: pytest.FixtureRequest, tmp_path: Path, puppet_tracks: Path) -> Path:
    if request.param == "puppet":
        return puppet_tracks
    return awkward_tracks(tmp_path / "awkward.jsonl", masks="masks" in request.param)


def table_of(tracks: Path, folder: Path, suffix: str) -> "pandas.DataFrame":
    if suffix == "memory":
        return streamparts.to_pandas(tracks)
    path = convert(tracks, folder / f"table{suffix}").path
    return pandas.read_csv(path) if suffix == ".csv" else parquet.read_table(path).to_pandas()


@pytest.mark.parametrize("suffix", [".csv", ".parquet", "memory"])
def test_a_row_holds_what_the_line_says(tracks: Path, tmp_path: Path, suffix: str) -> None:
    table = table_of(tracks, tmp_path, suffix)
    frames = frames_of(tracks)
    num_parts = len(frames[0]["parts"])
    assert len(table) == len(frames) * num_parts
    assert table.frame.tolist() == np.repeat([frame["frame"] for frame in frames], num_parts).tolist()
    assert table.pts.tolist() == np.repeat([frame["pts"] for frame in frames], num_parts).tolist()
    assert table.pts_seconds.tolist() == np.repeat(exact_seconds(tracks), num_parts).tolist(), "to the last digit"
    assert table.segment.tolist() == np.repeat([frame.get("segment", 0) for frame in frames], num_parts).tolist()
    assert table.dropped.tolist() == np.repeat([frame.get("dropped", 0) for frame in frames], num_parts).tolist()
    parts = [part for frame in frames for part in frame["parts"]]
    assert table.part.tolist() == [part["id"] for part in parts]
    for column in ("name", "area", "score", "visible"):
        assert table[column].tolist() == [part[column] for part in parts]
    seen = np.array([part["visible"] for part in parts])
    affines = np.array([part["affine"] for part in parts])
    assert np.abs(table[["x", "y"]].to_numpy()[seen] - [p["center"] for p in parts if p["visible"]]).max() < 1e-3
    axes = table[["a", "b", "c", "d"]].to_numpy().reshape(-1, 2, 2)
    assert np.array_equal(axes[seen], affines[seen][:, :, :2])
    assert table[["x", "y", "a", "b", "c", "d"]][~seen].isna().all(axis=None)


def test_the_size_and_the_clock_are_those_of_the_segment(tmp_path: Path) -> None:
    table = pandas.read_csv(convert(awkward_tracks(tmp_path / "t.jsonl"), tmp_path / "t.csv").path)
    rows = table.drop_duplicates("frame")
    assert rows.width.tolist() == [64, 64, 64, 36, 36]
    assert rows.time_base.tolist() == ["1/1000"] * 3 + ["1/90000"] * 2


def comparable(line: dict, without: tuple[str, ...] = ()) -> dict:
    """A line without the data that a format loses."""
    if line["type"] == "frame":
        parts = [part for part in line["parts"] if part["visible"]]
        line = {**line, "parts": [{k: v for k, v in part.items() if k not in without} for part in parts]}
    return line


def test_parquet_gives_every_line_back(tracks: Path, tmp_path: Path) -> None:
    convert(tracks, tmp_path / "t.parquet")
    convert(tmp_path / "t.parquet", tmp_path / "back.jsonl")
    before, after = lines_of(tracks), lines_of(tmp_path / "back.jsonl")
    assert [comparable(line) for line in after[1:]] == [comparable(line) for line in before[1:]]
    assert after[0]["model"]["sha256"] == before[0]["model"]["sha256"]
    assert after[0]["source"] == before[0]["source"]
    assert after[0]["masks"] == before[0]["masks"]


def test_csv_gives_the_frames_back_and_invents_nothing(tracks: Path, tmp_path: Path) -> None:
    convert(tracks, tmp_path / "t.csv")
    convert(tmp_path / "t.csv", tmp_path / "back.jsonl")
    before, after = frames_of(tracks), frames_of(tmp_path / "back.jsonl")
    assert [comparable(line) for line in after] == [comparable(line, ("mask",)) for line in before]
    header = lines_of(tmp_path / "back.jsonl")[0]
    assert (header["model"]["sha256"], header["source"]["name"], header["source"]["rate"]) == ("", "", None)
    assert header["source"]["time_base"] == lines_of(tracks)[0]["source"]["time_base"]
    assert [frame.segment for frame in streamparts.read_tracks(tmp_path / "back.jsonl").frames()] == [
        line.get("segment", 0) for line in before
    ]


def test_what_was_not_seen_comes_back_as_not_seen(tmp_path: Path) -> None:
    tracks = awkward_tracks(tmp_path / "t.jsonl")
    for suffix in (".csv", ".parquet"):
        convert(tracks, tmp_path / f"t{suffix}")
        convert(tmp_path / f"t{suffix}", tmp_path / "back.jsonl", force=True)
        for before, after in zip(frames_of(tracks), frames_of(tmp_path / "back.jsonl"), strict=True):
            assert [part["visible"] for part in after["parts"]] == [part["visible"] for part in before["parts"]]


def test_a_table_of_another_origin_is_read(tmp_path: Path) -> None:
    """Columns in another order, one extra column, no rows for an absent part."""
    convert(awkward_tracks(tmp_path / "t.jsonl"), tmp_path / "t.csv")
    table = pandas.read_csv(tmp_path / "t.csv")
    kept = table[(table.part != 1) | (table.frame != 2)].iloc[:, ::-1].assign(mine=1)
    kept.to_csv(tmp_path / "mine.csv", index=False)
    kept.to_parquet(tmp_path / "mine.parquet")
    for suffix in (".csv", ".parquet"):
        convert(tmp_path / f"mine{suffix}", tmp_path / "back.jsonl", force=True)
        frames = frames_of(tmp_path / "back.jsonl")
        assert [part["visible"] for part in frames[0]["parts"]] == [True, False, True]
        assert [frame["pts"] for frame in frames] == [33, 90, 91, 1001, 4004]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("frame,pts", "frames,pts", "no column 'frame'"),
        ("\n0,3,", "\n0,2.5,", "line 5: frame is '2.5', not a whole number"),
        ("\n0,3,90", f"\n0,3,{1 << 70}", "pts is .*out of range"),
        (",1/1000,", ",1/0,", "time_base is '1/0'"),
        (",true", ",maybe", "visible is 'maybe'"),
        ("0.9,true", "1.9,true", "line 2: .*<= 1"),
        ("0.9,true", "nan,true", "score is 'nan', not a number"),
        ("\n0,3,90", "\n0,1,90", "frame 1 comes after frame 2"),
        ("größe", "gr", "part 2 is called"),
    ],
)
def test_a_table_that_is_damaged_says_where(tmp_path: Path, old: str, new: str, reason: str) -> None:
    convert(awkward_tracks(tmp_path / "t.jsonl"), tmp_path / "t.csv")
    text = (tmp_path / "t.csv").read_text()
    assert old in text
    (tmp_path / "bad.csv").write_text(text.replace(old, new, 1))
    with pytest.raises(TracksError, match=reason):
        convert(tmp_path / "bad.csv", tmp_path / "back.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "t.csv", "t.jsonl"]


def test_bytes_that_are_no_table_are_refused(tmp_path: Path) -> None:
    for suffix in (".csv", ".parquet"):
        (tmp_path / f"bad{suffix}").write_bytes(bytes(range(256)))
        with pytest.raises(TracksError, match="is not a "):
            convert(tmp_path / f"bad{suffix}", tmp_path / "back.jsonl")


@pytest.mark.parametrize("num_frames", [0, 1])
def test_few_frames_make_a_table_too(tmp_path: Path, num_frames: int) -> None:
    tracks = even_tracks(tmp_path / "t.jsonl", num_frames)
    for suffix in (".csv", ".parquet", "memory"):
        table = table_of(tracks, tmp_path, suffix)
        assert (len(table), table.columns[0]) == (num_frames * 3, "segment")
    convert(tmp_path / "table.parquet", tmp_path / "back.jsonl")
    assert len(frames_of(tmp_path / "back.jsonl")) == num_frames


def test_tracks_without_parts_make_an_empty_table(tmp_path: Path) -> None:
    tracks = even_tracks(tmp_path / "t.jsonl", 5, names=())
    assert [len(table_of(tracks, tmp_path, suffix)) for suffix in (".csv", ".parquet", "memory")] == [0, 0, 0]


@pytest.mark.slow
def test_many_frames_are_written_in_pieces(tmp_path: Path) -> None:
    """More rows than one chunk has; nothing is lost between chunks."""
    tracks = even_tracks(tmp_path / "t.jsonl", 25_000)
    convert(tracks, tmp_path / "t.parquet")
    assert parquet.ParquetFile(tmp_path / "t.parquet").num_row_groups > 1
    for table in (parquet.read_table(tmp_path / "t.parquet").to_pandas(), streamparts.to_pandas(tracks)):
        assert table.frame.tolist() == np.repeat(np.arange(25_000), 3).tolist()


def test_pandas_takes_tracks_as_they_come(video: Path, model_path: Path, tmp_path: Path) -> None:
    streamparts.run(video, model_path, tracks=tmp_path / "t.jsonl")
    table = streamparts.to_pandas(streamparts.track(video, model_path))
    pandas.testing.assert_frame_equal(table, streamparts.to_pandas(tmp_path / "t.jsonl"))
    assert streamparts.to_pandas([]).empty


def test_files_of_the_older_schema_are_converted(tmp_path: Path) -> None:
    header = header_line(("a",), (1, 25)) | {"schema": "streamparts.tracks/1"}
    del header["type"], header["policy"]
    line = frames_of(even_tracks(tmp_path / "even.jsonl", 1, ("a",)))[0]
    del line["type"]
    convert(write_lines(tmp_path / "old.jsonl", [header, line]), tmp_path / "t.csv")
    assert len(pandas.read_csv(tmp_path / "t.csv")) == 1
    assert json.loads((tmp_path / "old.jsonl").read_text().splitlines()[0])["schema"].endswith("/1")
