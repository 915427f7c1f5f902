"""Tracks files: reading, validation against the published schema, and resuming."""

import json
from pathlib import Path

import jsonschema
import pytest

import streamparts
from streamparts.backends.loading import load_model
from streamparts.bundle.load import Bundle
from streamparts.cli import main
from streamparts.errors import TracksError
from streamparts.runtime.stream import run
from streamparts.tracksfile.reading import read_tracks
from streamparts.tracksfile.records import FrameRecord, tracks_schema
from streamparts.tracksfile.resume import resume_point
from tests.media import ArraySource, decode, numbered_video, read_number
from tests.sound import sound_packets, sound_video
from tests.test_segments import SOURCE
from tests.tiny_model import tiny_spec, write_tiny_model


@pytest.fixture
def tracks_path(tmp_path: Path, bundle: Bundle, video: Path) -> Path:
    """Lines of the 40 frames of `video`."""
    run(video, bundle, tracks=tmp_path / "t.jsonl")
    return tmp_path / "t.jsonl"


def published(capsys: pytest.CaptureFixture[str]) -> jsonschema.Draft202012Validator:
    assert main(["schema", "tracks"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("masks", [False, True])
def test_every_line_of_real_files_fits_the_published_schema(
    tmp_path: Path, bundle: Bundle, video: Path, capsys: pytest.CaptureFixture[str], masks: bool
) -> None:
    validator = published(capsys)
    for source in (video, SOURCE):
        run(source, bundle, tracks=tmp_path / "t.jsonl", masks=masks, force=True)
        lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
        for line in lines:
            validator.validate(line)
    assert {line["type"] for line in lines} == {"header", "frame", "gap", "segment"}


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("frame", {"frame": -1}),
        ("frame", {"parts": None}),
        ("frame", {"type": "frames"}),
        ("frame", {"pts": 0.5}),
        ("gap", {"reason": 3}),
        ("segment", {"height": 0}),
        ("header", {"schema": "streamparts.tracks/9"}),
    ],
)
def test_wrong_lines_do_not_fit_the_published_schema(
    tmp_path: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str], kind: str, changes: dict[str, object]
) -> None:
    run(SOURCE, bundle, tracks=tmp_path / "t.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    line = next(line for line in lines if line["type"] == kind)
    validator = published(capsys)
    assert validator.is_valid(line)
    assert not validator.is_valid({**line, **changes})


def test_every_field_of_the_schema_is_in_the_documentation() -> None:
    text = (Path(__file__).parent.parent / "docs" / "outputs.md").read_text()
    for record in tracks_schema()["$defs"].values():
        for name in record["properties"]:
            assert f"`{name}`" in text, f"{record['title']}.{name}"


def test_what_was_written_is_read(tracks_path: Path, bundle: Bundle, video: Path) -> None:
    file = streamparts.read_tracks(tracks_path)
    assert file.schema == file.header.schema == "streamparts.tracks/3"
    assert file.header.model.sha256 == bundle.sha256
    assert (file.header.source.name, file.header.source.width) == (video.name, 128)
    assert [record.frame for record in file.frames()] == list(range(40))
    assert list(file) == list(file), "it can be read again"
    tracks = list(streamparts.track(video, bundle))
    for record, true in zip(file.frames(), tracks, strict=True):
        assert record.parts[1].center == pytest.approx(true.centers[1].tolist(), abs=1e-3)


@pytest.mark.parametrize("left", [1, 17, 200])
def test_a_last_line_that_was_cut_off_is_left_out(tracks_path: Path, left: int) -> None:
    lines = tracks_path.read_bytes().splitlines(keepends=True)
    tracks_path.write_bytes(b"".join(lines[:-1]) + lines[-1][:left])
    assert [record.frame for record in read_tracks(tracks_path).frames()] == list(range(39))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (b"nonsense\n", "line 11: JSON is malformed"),
        (b'{"type":"frame","frame":9}\n', "line 11: Object missing required field `pts`"),
        (b'{"type":"song"}\n', "line 11: Invalid value 'song'"),
        (b"\xff\xfe\n", "line 11: "),
        (b"\n", "line 11: "),
    ],
)
def test_a_damaged_line_is_told_by_its_number(tracks_path: Path, damage: bytes, message: str) -> None:
    lines = tracks_path.read_bytes().splitlines(keepends=True)
    lines[10] = damage
    tracks_path.write_bytes(b"".join(lines))
    with pytest.raises(TracksError, match=message):
        list(read_tracks(tracks_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"", "is empty"),
        (b"nonsense\n", "line 1 is not the header"),
        (b"[1]\n", "line 1 is not the header"),
        (b'{"schema":"streamparts.tracks/9"}\n', "schema is 'streamparts.tracks/9', this version reads"),
        (b'{"schema":"streamparts.tracks/3","type":"header"}\n', "missing required field"),
    ],
)
def test_what_is_no_tracks_file_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "t.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TracksError, match=message):
        read_tracks(path)


OLD = (
    b'{"schema":"streamparts.tracks/1","streamparts":"0.1.0","model":{"name":"tiny","method":"assembly","sha256":"ab",'
    b'"parts":["red"]},"source":{"name":"a.mp4","height":48,"width":64,"time_base":[1,30],"rate":null},'
    b'"coordinates":"pixels"}\n'
    b'{"frame":0,"pts":2,"pts_seconds":0.066667,"parts":[{"id":0,"name":"red","center":[1.0,2.0],'
    b'"affine":[[1.0,0.0,1.0],[0.0,1.0,2.0]],"area":3.0,"score":1.0,"visible":true}]}\n'
)


def test_files_of_the_first_schema_are_read(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(OLD)
    file = read_tracks(path)
    assert (file.schema, file.header.model.name, file.header.policy) == ("streamparts.tracks/1", "tiny", None)
    (record,) = file
    assert isinstance(record, FrameRecord)
    assert (record.pts, record.segment, record.parts[0].center) == (2, 0, (1.0, 2.0))


def cut(path: Path, num_lines: int, extra: int = 0) -> None:
    """Keep the first lines, and some bytes of the next."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:num_lines]) + lines[num_lines][:extra])


@pytest.mark.parametrize(("num_lines", "extra"), [(1, 0), (1, 40), (2, 0), (21, 0), (21, 77), (40, 3)])
def test_a_resumed_file_is_the_file_of_a_run_in_one_piece(
    tracks_path: Path, bundle: Bundle, video: Path, num_lines: int, extra: int
) -> None:
    whole = tracks_path.read_bytes()
    cut(tracks_path, num_lines, extra)
    summary = run(video, bundle, tracks=tracks_path, resume=True)
    assert summary.num_frames == 41 - num_lines
    assert summary.notes == (f"{tracks_path}: resumed at frame {num_lines - 1}",)
    assert tracks_path.read_bytes() == whole


def test_a_file_that_is_complete_stays_as_it_is(tracks_path: Path, bundle: Bundle, video: Path) -> None:
    whole = tracks_path.read_bytes()
    assert run(video, bundle, tracks=tracks_path, resume=True).num_frames == 0
    assert tracks_path.read_bytes() == whole


def test_segments_and_gaps_before_the_point_are_not_told_twice(tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "t.jsonl"
    run(SOURCE, bundle, tracks=path, masks=True)
    whole = path.read_bytes()
    for num_lines in range(1, whole.count(b"\n")):
        cut(path, num_lines)
        run(SOURCE, bundle, tracks=path, masks=True, resume=True)
        assert path.read_bytes() == whole, f"after {num_lines} lines"


def test_without_a_file_resuming_is_starting(tmp_path: Path, bundle: Bundle, video: Path) -> None:
    assert resume_point(tmp_path / "t.jsonl", bundle) is None
    (tmp_path / "t.jsonl").touch()
    assert resume_point(tmp_path / "t.jsonl", bundle) is None
    (tmp_path / "t.jsonl").unlink()
    assert run(video, bundle, tracks=tmp_path / "t.jsonl", resume=True).num_frames == 40


def test_the_resume_point_says_what_is_there(tracks_path: Path, bundle: Bundle) -> None:
    cut(tracks_path, 12, 5)
    point = resume_point(tracks_path, bundle)
    assert point is not None
    assert (point.next_index, point.pts_seconds, point.segment) == (11, pytest.approx(1 / 3), 0)
    assert point.size_bytes == len(tracks_path.read_bytes()) - 5


def test_a_line_longer_than_a_block_is_found(
    tracks_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (1, 7, 100, 1000, 10_000):
        monkeypatch.setattr("streamparts.tracksfile.resume._BLOCK", size)
        point = resume_point(tracks_path, bundle)
        assert point is not None
        assert (point.next_index, point.size_bytes) == (40, tracks_path.stat().st_size)


def test_what_does_not_agree_is_refused_in_one_line_and_nothing_is_touched(
    tmp_path: Path, tracks_path: Path, bundle: Bundle, video: Path
) -> None:
    whole = tracks_path.read_bytes()
    other = tmp_path / "other.onnx"
    write_tiny_model(other, spec=tiny_spec(parts=("a", "b")))
    same_name = tmp_path / "there" / video.name
    same_name.parent.mkdir()
    numbered_video(same_name, 3, 48, 64)
    renamed = tmp_path / "renamed.mp4"
    renamed.write_bytes(video.read_bytes())
    for arguments, message in [
        ((video, load_model(other)), "the model was"),
        ((same_name, bundle), "the frame size was 128x96 and is now 64x48"),
        ((renamed, bundle), "the source was numbered.mp4 and is now renamed.mp4"),
    ]:
        with pytest.raises(TracksError, match=message):
            run(*arguments, tracks=tracks_path, resume=True)
    with pytest.raises(TracksError, match=r"whether.*masks"):
        run(video, bundle, tracks=tracks_path, masks=True, resume=True)
    assert tracks_path.read_bytes() == whole


@pytest.mark.parametrize(
    ("content", "message"),
    [(OLD, "older schema streamparts.tracks/1"), (b"precious", "line 1 is not the header of a tracks file")],
)
def test_a_file_that_cannot_be_resumed_stays_as_it_is(
    tmp_path: Path, bundle: Bundle, video: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    with pytest.raises(TracksError, match=message):
        run(video, bundle, tracks=path, resume=True)
    assert path.read_bytes() == content


def test_damage_at_the_end_is_told_by_its_line(tracks_path: Path, bundle: Bundle) -> None:
    with tracks_path.open("ab") as file:
        file.write(b"\0\0\0\n")
    with pytest.raises(TracksError, match=r"line 42\b"):
        resume_point(tracks_path, bundle)


def test_the_overlay_of_a_resumed_run_goes_on_in_the_next_file_with_its_sound(
    tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = sound_video(tmp_path / "a.mp4", 90)
    overlay, tracks = tmp_path / "o.mp4", tmp_path / "t.jsonl"
    words = ["run", video, "--model", model_path, "--overlay", overlay, "--tracks", tracks, "--resume"]
    assert main([*map(str, words)]) == 0
    first = overlay.read_bytes()
    for number, num_lines in ((1, 61), (2, 31)):
        cut(tracks, num_lines)
        capsys.readouterr()
        assert main([*map(str, words)]) == 0
        following = tmp_path / f"o.00{number}.mp4"
        out = capsys.readouterr().out
        assert f"the overlay continues in {following}" in out
        assert f"wrote {following}" in out
        frames = list(decode(following))
        assert [read_number(image) for image, _ in frames] == list(range(num_lines - 1, 90))
        assert frames[0][1] == pytest.approx((num_lines - 1) / 30)
        sound = sound_packets(following)
        assert sound and sound[0][0] == pytest.approx((num_lines - 1) / 30, abs=0.06)
    assert overlay.read_bytes() == first


def test_the_overlay_of_a_resumed_run_counts_on_where_the_size_changes(tmp_path: Path, bundle: Bundle) -> None:
    overlay, tracks = tmp_path / "o.mp4", tmp_path / "t.jsonl"
    run(ArraySource(5, 96, 128), bundle, overlay=overlay)
    run(SOURCE, bundle, tracks=tracks)
    cut(tracks, 6)
    summary = run(SOURCE, bundle, overlay=overlay, tracks=tracks, resume=True)
    names = [tmp_path / f"o.00{number}.mp4" for number in (1, 2, 3)]
    assert summary.outputs == (*names, tracks)
    assert [len(list(decode(name))) for name in (overlay, *names)] == [5, 15, 10, 5]


def test_a_killed_run_is_resumed_to_what_an_undisturbed_one_gives(tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "t.jsonl"
    run(ArraySource(30), bundle, tracks=path)
    whole = path.read_bytes()
    source = ArraySource(30, fail_at=11, error=RuntimeError("killed"))
    with pytest.raises(RuntimeError):
        run(source, bundle, tracks=path, force=True)
    run(ArraySource(30), bundle, tracks=path, resume=True)
    assert path.read_bytes() == whole


def test_the_lines_shown_in_the_documentation_fit_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parent.parent / "docs" / "outputs.md").read_text()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith('{"type"')]
    for line in lines:
        published(capsys).validate(line)
    assert [line["type"] for line in lines] == ["header", "frame", "gap", "segment", "frame"]
