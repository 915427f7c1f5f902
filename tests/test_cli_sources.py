"""Sources on the command line: flags, names, one-line errors."""

import json
from pathlib import Path

import pytest

from streamparts.cli import main
from tests import servers
from tests.test_live import no_threads_left as no_threads_left

pytestmark = pytest.mark.usefixtures("no_threads_left")


def tracked(folder: Path, model: Path, *words: object) -> list[dict[str, object]]:
    """The lines that a run writes, the header first."""
    path = folder / "t.jsonl"
    assert main(["run", *map(str, words), "--model", str(model), "--tracks", str(path), "--force", "--quiet"]) == 0
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_start_end_and_every_choose_frames_by_their_times(tmp_path: Path, video: Path, model_path: Path) -> None:
    lines = tracked(tmp_path, model_path, video, "--start", "0.5", "--end", "0:01", "--every", "5")
    assert [line["frame"] for line in lines[1:]] == [15, 20, 25]
    assert [line["pts_seconds"] for line in lines[1:]] == [0.5, 0.666667, 0.833333]
    assert lines[0]["source"]["name"] == "numbered.mp4"  # type: ignore[index]


def test_at_most_so_many_frames_a_second_are_taken(tmp_path: Path, video: Path, model_path: Path) -> None:
    lines = tracked(tmp_path, model_path, video, "--max-fps", "10")
    assert [line["frame"] for line in lines[1:]] == list(range(0, 40, 3))


def test_the_test_pattern_needs_no_file(tmp_path: Path, model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "test://?size=128x96&seconds=0.5", "--model", str(model_path), "--quiet"]) == 0
    assert (tmp_path / "test.tracks.jsonl").read_bytes().count(b"\n") == 16
    assert (tmp_path / "test.overlay.mp4").stat().st_size > 0


def test_a_camera_is_followed_over_a_gap_and_its_password_is_in_no_output(
    tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    units = servers.access_units(range(30))
    scripts = [servers.rtsp(units, "s3cret"), servers.rtsp(units, "s3cret")]
    path = tmp_path / "t.jsonl"
    with servers.serving(*scripts) as server:
        word = f"rtsp://eve:s3cret@127.0.0.1:{server.port}/yard?token=t0ken"
        args = ["run", word, "--model", str(model_path), "--tracks", str(path), "--max-retries", "1"]
        assert main(args) == 1
    shown = path.read_text() + "".join(capsys.readouterr())
    assert "lost (the stream ended); failed reconnection attempts: 1" in shown
    assert "s3cret" not in shown
    assert "t0ken" not in shown
    # The runtime may drop frames of a live source; the last one before each end is written.
    records = [json.loads(line) for line in path.read_text().splitlines()]
    numbers = [record["frame"] for record in records if record["type"] == "frame"]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 59


@pytest.mark.parametrize(
    "flags",
    [
        ["--start", "abc"],
        ["--start", "5", "--end", "5"],
        ["--every", "0"],
        ["--max-fps", "0"],
        ["--fps", "x"],
        ["--idle", "-1"],
    ],
)
def test_flags_that_make_no_sense_are_a_usage_error(
    video: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", str(video), *flags])
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--idle", "3"], ["--max-retries", "2"]], ids=lambda flags: flags[0])
def test_what_is_for_live_sources_is_a_usage_error_for_files_alone(
    tmp_path: Path, video: Path, model_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ["--model", str(model_path), "--out-dir", str(tmp_path), "--quiet"]
    for sources in ([str(video)], [str(video), str(video)], ["test://"]):
        with pytest.raises(SystemExit) as caught:
            main(["run", *sources, *wanted, *flags])
        assert caught.value.code == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.endswith(f"error: {flags[0]} applies to live sources only, not to {sources[0]}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("word", "shown"),
    [("test://", "640x360 test pattern, 30 fps, 300 frames"), ("test://?live=1", "endless, live")],
)
def test_info_describes_a_source(word: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", word]) == 0
    assert shown in capsys.readouterr().out


@pytest.mark.parametrize("word", ["webcam:97", "srt://eve:s3cret@h:1", "@none.txt", "nothing*.mp4"])
@pytest.mark.parametrize("command", ["run", "info"])
def test_a_source_that_is_not_there_is_one_line(command: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, word]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("streamparts: error: ")
    assert "s3cret" not in lines[0]
