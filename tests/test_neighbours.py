"""Programs compared with streamparts do the same task; unavailable ones are skipped."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import streamparts
from benchmarks import neighbour_codec, neighbour_supervision, neighbours, plain_loop
from benchmarks.inputs import puppet_clip, scaled_clip
from tests.media import decode


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return puppet_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", 6, (144, 256))


def test_the_plain_loop_finds_the_centres_that_streamparts_finds(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain_loop.main(str(clip), str(tmp_path / "centres.jsonl"), str(tmp_path / "drawn.mp4"))
    said = json.loads(capsys.readouterr().out)
    assert (said["frames"], said["found"]) == (6, 6)
    lines = [json.loads(line) for line in (tmp_path / "centres.jsonl").read_text().splitlines()]
    for points, tracks in zip(lines, streamparts.track(clip, model="puppet-human"), strict=True):
        assert len(points) >= 5
        for part, x, y in points:
            assert np.hypot(*(tracks.centers[part] - (x, y))) < 3, "pixels, for scaling differs a little"
    assert len(list(decode(tmp_path / "drawn.mp4"))) == 6


def test_supervisions_sinks_hold_the_parts_that_the_plain_loop_finds(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("supervision")
    plain_loop.main(str(clip), str(tmp_path / "centres.jsonl"))
    neighbour_supervision.main(str(clip), str(tmp_path / "found.json"), str(tmp_path / "drawn.mp4"))
    plain, other = map(json.loads, capsys.readouterr().out.splitlines())
    assert (other["frames"], other["found"]) == (plain["frames"], plain["found"])
    parts = [{point[0] for point in json.loads(line)} for line in (tmp_path / "centres.jsonl").read_text().splitlines()]
    rows = json.loads((tmp_path / "found.json").read_text())
    for number, wanted in enumerate(parts):
        assert {int(row["class_id"]) for row in rows if int(row["frame"]) == number} == wanted
    assert len(list(decode(tmp_path / "drawn.mp4"))) == 6


def test_the_limit_decodes_and_encodes_every_frame(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    neighbour_codec.main(str(clip), "", str(tmp_path / "drawn.mp4"))
    neighbour_codec.main(str(clip), "")
    assert [json.loads(line)["frames"] for line in capsys.readouterr().out.splitlines()] == [6, 6]
    assert len(list(decode(tmp_path / "drawn.mp4"))) == 6


def test_streamparts_is_timed_as_the_others_are(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    neighbours.main([neighbours.SOLO, str(clip), str(tmp_path / "t.jsonl"), str(tmp_path / "o.mp4")])
    said = json.loads(capsys.readouterr().out)
    assert (said["frames"], said["found"]) == (6, 6) and said["seconds"] > 0
    assert len(list(decode(tmp_path / "o.mp4"))) == 6


def test_who_cannot_be_installed_is_named_and_the_others_are_timed(monkeypatch: pytest.MonkeyPatch, clip: Path) -> None:
    pytest.importorskip("supervision")

    def nothing() -> Path:
        raise RuntimeError("no such package")

    monkeypatch.setattr(neighbours, "environment", nothing)
    monkeypatch.setattr(neighbours, "puppet_clip", lambda path, num_frames: clip)
    found = neighbours.measure({}, 6, 1)
    assert found["failed"] == {"mediapipe 0.10.21": "no such package"}
    names = [(row["name"], row["mode"]) for row in found["rows"]]  # type: ignore[attr-defined]
    programs = [name for name in neighbours.DOES if "mediapipe" not in name]
    assert names == [(name, mode) for mode in ("results", "results and drawn video") for name in programs]
    first = found["rows"][0]  # type: ignore[index]
    assert first["fps, ratio"] == first["processor ms per frame, ratio"] == 1


def test_one_that_fails_says_what_it_said_last(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"benchmarks\.neighbours .*: .*VideoError.*no\.mp4"):
        neighbours.one_clip("x", tmp_path / "no.mp4", {"streamparts": neighbours.solo()}, 1, tmp_path)


def test_a_scaled_clip_goes_round_until_it_is_long_enough(clip: Path, tmp_path: Path) -> None:
    frames = list(decode(scaled_clip(clip, tmp_path / "long.mp4", (72, 128), 14)))
    assert len(frames) == 14
    assert frames[0][0].shape[:2] == (72, 128)
    apart = [np.abs(frames[0][0].astype(int) - frames[k][0]).mean() for k in (6, 3)]
    assert apart[0] < apart[1], "the seventh frame is the first again"
    assert len(list(decode(scaled_clip(clip, tmp_path / "once.mp4", (72, 128))))) == 6
