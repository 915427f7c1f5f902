"""`streamparts run` of a corpus."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streamparts.cli import main
from streamparts.cli.corpus import MOST_AT_ONCE
from tests.conftest import environment
from tests.corpora import NAMES, Pools, files_in, frame_numbers, inline_pools, manifest_lines, write_corpus
from tests.media import numbered_video
from tests.test_cli import one_error_line


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "in")


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> Pools:
    return inline_pools(monkeypatch)


def words(corpus: Path, model: Path, *more: object) -> list[str]:
    glob, out = corpus / "**" / "*.mp4", corpus.parent / "out"
    fixed = ["--model", model, "--out-dir", out, "--workers", 1, "--backend", "onnxruntime", "--no-overlay"]
    return ["run", str(glob), *map(str, fixed), *map(str, more)]


def test_it_says_what_was_done_and_what_failed(
    capsys: pytest.CaptureFixture[str], corpus: Path, model: Path, pools: Pools
) -> None:
    (corpus / "b" / "broken.mp4").write_text("no video")
    assert main(words(corpus, model)) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "4 videos: 3 done, 0 done before, 1 failed"
    assert out.splitlines()[1].startswith("27 frames in ")
    assert out.splitlines()[2] == f"wrote {corpus.parent}/out/manifest.jsonl"
    assert one_error_line(err).startswith(f"b/broken: {corpus}/b/broken.mp4: not a readable video file")
    (corpus / "b" / "broken.mp4").unlink()
    assert main(words(corpus, model)) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "3 videos: 0 done, 3 done before, 0 failed"
    assert err == "streamparts: 3 of 3 videos are done already\n"


def test_quiet_says_nothing_but_errors(
    capsys: pytest.CaptureFixture[str], corpus: Path, model: Path, pools: Pools
) -> None:
    assert main(words(corpus, model, "--quiet")) == 0
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_one_bar_over_all_videos(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, corpus: Path, model: Path, pools: Pools
) -> None:
    (corpus / "b" / "broken.mp4").write_text("no video")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    assert main(words(corpus, model)) == 1
    bar = capsys.readouterr().err
    assert "4/4" in bar and "1 failed, " in bar and "frames/s, 1 worker" in bar


def test_more_files_than_fit_side_by_side_are_a_corpus_and_it_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, pools: Pools
) -> None:
    folder = write_corpus(tmp_path / "in", tuple(f"v{number:02d}" for number in range(MOST_AT_ONCE + 1)), 2)
    fixed = ["--model", str(model), "--backend", "onnxruntime", "--no-overlay"]
    assert main(["run", str(folder), "--out-dir", str(tmp_path / "out"), *fixed]) == 0
    assert "17 files: run as a corpus, see docs/corpus.md; --workers N" in capsys.readouterr().err
    assert len(manifest_lines(tmp_path / "out")) == MOST_AT_ONCE + 1
    (folder / "v16.mp4").unlink()
    (tmp_path / "few").mkdir()
    assert main(["run", str(folder), "--out-dir", str(tmp_path / "few"), *fixed]) == 0
    assert files_in(tmp_path / "few") == {f"v{number:02d}.tracks.jsonl" for number in range(MOST_AT_ONCE)}
    assert len(pools) == 1


@pytest.mark.parametrize("number", [1, 2])
def test_tracks_alone_are_written_of_one_video_and_of_several(
    tmp_path: Path, corpus: Path, model: Path, number: int
) -> None:
    videos = [str(corpus / "a" / name) for name in ("x.mp4", "y.mp4")][:number]
    (tmp_path / "out").mkdir()
    assert main(["run", *videos, "--no-overlay", "--out-dir", str(tmp_path / "out"), "--model", str(model)]) == 0
    assert files_in(tmp_path / "out") == {f"{name}.tracks.jsonl" for name in "xy"[:number]}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--overlay", "o.mp4"], "--overlay and --no-overlay"),
        (["--tracks", "t.jsonl"], "--out-dir"),
        (["--stats"], "--stats"),
        (["--show"], "--show"),
        (["--send", "udp://127.0.0.1:9"], "--send"),
        (["--resume"], "--resume"),
        (["--policy", "latest"], "--policy"),
        (["--idle", "5"], "--idle"),
        (["--max-retries", "5"], "--max-retries"),
        (["--retries", "-1"], "--retries"),
        (["--workers", "0"], "--workers: '0'"),
        (["--cpus-per-task", "2"], "--cluster"),
        (["--gpus-per-task", "some"], "--gpus-per-task: 'some'"),
    ],
)
def test_flags_that_do_not_fit_are_usage_errors(
    capsys: pytest.CaptureFixture[str], corpus: Path, model: Path, more: list[str], reason: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words(corpus, model, *more))
    assert caught.value.code == 2
    assert reason in capsys.readouterr().err.splitlines()[-1]
    assert not (corpus.parent / "out").exists()


@pytest.mark.parametrize("flag", ["--retries", "--cpus-per-task", "--gpus-per-task"])
def test_flags_of_a_corpus_want_one(capsys: pytest.CaptureFixture[str], corpus: Path, flag: str) -> None:
    with pytest.raises(SystemExit):
        main(["run", str(corpus / "a" / "x.mp4"), flag, "1"])
    error = capsys.readouterr().err.splitlines()[-1]
    assert flag in error and "--workers" in error


def test_a_camera_in_a_corpus_is_one_line(capsys: pytest.CaptureFixture[str], corpus: Path, model: Path) -> None:
    assert main(["run", "webcam", *words(corpus, model)[1:]]) == 1
    assert "webcam: " in one_error_line(capsys.readouterr().err)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_and_the_same_command_goes_on(
    tmp_path: Path, model: Path, number: signal.Signals, code: int
) -> None:
    """Sent to the whole group, as a terminal does it: the workers leave it to the driver."""
    corpus = write_corpus(tmp_path / "in", NAMES)
    numbered_video(corpus / "long.mp4", 4000, 48, 64)
    line = [sys.executable, "-m", "streamparts", *words(corpus, model)]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True
    ) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if any(path.stat().st_size > 50_000 for path in tmp_path.glob("out/.streamparts/work/*/*/tracks.jsonl")):
                break
            time.sleep(0.01)
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (code, "")
    assert "interrupted: 4 " in out
    assert main(words(corpus, model)) == 0
    assert frame_numbers(tmp_path / "out" / "long.tracks.jsonl") == list(range(4000))
    lines = {line["name"]: line for line in manifest_lines(tmp_path / "out")}
    assert set(lines) == {*NAMES, "long"} and lines["long"]["resumed_at"] > 0
