"""Standard streams that are closed, are no terminal, or receive the tracks."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from streamparts.bundle.load import Bundle
from streamparts.runtime.stats import Progress, RunMeter
from streamparts.runtime.tracker import Tracker
from streamparts.texts import PlainLines
from tests.conftest import ROOT, environment


def shell(command: str, *words: object) -> subprocess.CompletedProcess[str]:
    """A run of the command line with redirections of a shell: $@ are its words."""
    line = [f'exec "{sys.executable}" -m streamparts "$@" {command}', "sh", *map(str, words)]
    return subprocess.run(["sh", "-c", *line], capture_output=True, text=True, timeout=120, cwd=ROOT, env=environment())


@pytest.mark.skipif(os.name == "nt", reason="redirections of a POSIX shell")
@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
def test_a_run_without_standard_streams_does_its_work(
    tmp_path: Path, video: Path, model_path: Path, closed: str
) -> None:
    tracks = tmp_path / "a.jsonl"
    result = shell(closed, "run", video, "--model", model_path, "--tracks", tracks, "--stats", "-", "--end", "0.2")
    assert result.returncode == 0, result.stderr
    lines = tracks.read_bytes().splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["header", *["frame"] * 6]


def test_tracks_go_to_standard_output_and_nothing_else_does(
    tmp_path: Path, video: Path, model_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    result = command("run", video, "--model", model_path, "--tracks", "-", "--end", "0.2", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert [json.loads(line)["type"] for line in result.stdout.splitlines()] == ["header", *["frame"] * 6]
    assert "6 frames" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="redirections of a POSIX shell")
def test_tracks_for_a_closed_standard_output_are_an_error(video: Path, model_path: Path) -> None:
    result = shell(">&-", "run", video, "--model", model_path, "--tracks", "-", "--end", "0.2")
    assert result.returncode == 1
    assert result.stderr.splitlines() == ["streamparts: error: -: standard output is closed; name a file for --tracks"]


def test_what_goes_to_standard_output_cannot_be_resumed(
    video: Path, model_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    result = command("run", video, "--model", model_path, "--tracks", "-", "--resume")
    assert result.returncode == 1
    assert "standard output cannot be resumed" in result.stderr


def test_plain_lines_come_every_so_often() -> None:
    said: list[str] = []
    often, seldom = PlainLines(said.append, seconds=0), PlainLines(said.append, seconds=1e9)
    assert often.is_due()
    assert not seldom.is_due()
    often.say("half of it")
    assert said == ["half of it"]


def test_long_work_says_a_line_where_standard_error_is_no_terminal(
    tmp_path: Path, video: Path, model_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from streamparts.cli import main

    monkeypatch.setattr("streamparts.texts.PlainLines.is_due", lambda lines: True)
    assert (
        main(["run", str(video), "--model", str(model_path), "--tracks", str(tmp_path / "a.jsonl"), "--end", "1"]) == 0
    )
    lines = [line for line in capsys.readouterr().err.splitlines() if " of about 30 frames, " in line]
    assert len(lines) == 30


def test_a_camera_that_sends_nothing_has_lines_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from streamparts.cli import progress

    monkeypatch.setattr("streamparts.texts.PlainLines.is_due", lambda lines: True)
    monkeypatch.setattr(progress, "is_watched", lambda: False)
    monkeypatch.setattr(progress, "_SILENT_SECONDS", 0.01)
    meter, lines = RunMeter("camera"), list[str]()
    with progress.progress_bars(argparse.Namespace(quiet=False, stats=None)) as note:
        assert note is not None
        note("camera", Progress(7, None, meter))
        deadline = time.monotonic() + 60
        while len(lines) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
            lines += capsys.readouterr().err.splitlines()
    assert len(lines) >= 3
    assert all("camera: 7 frames, " in line for line in lines)


@pytest.mark.parametrize(
    ("image", "seconds"),
    [
        (None, 0.0),
        ([[0]], 0.0),
        (np.zeros((0, 64, 3), np.uint8), 0.0),
        (np.zeros((48, 64, 3), np.uint8), math.inf),
        (np.zeros((48, 64, 3), np.uint8), math.nan),
    ],
)
def test_a_tracker_refuses_what_is_no_frame_and_no_time(bundle: Bundle, image: object, seconds: float) -> None:
    tracker = Tracker(bundle, backend="onnxruntime")
    with pytest.raises(ValueError, match=r"image must|pts_seconds must"):
        tracker.update(image, seconds)  # type: ignore[arg-type]
    assert tracker.update(np.zeros((48, 64, 3), np.uint8), 0.0).index == 0
