"""Several sources in parallel, with one model."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from streamparts.bundle.load import Bundle
from streamparts.cli import main
from streamparts.data import Tracks
from streamparts.errors import VideoError
from streamparts.runtime.loop import track
from streamparts.runtime.stats import Progress
from streamparts.runtime.stream import run_many
from streamparts.sources import output_stems
from tests.live import GatedBackend, HandSource, wait_for_threads
from tests.media import ArraySource, decode, numbered_video, picture, read_number, write_video
from tests.test_stream import Broken, BrokenBackend, num_lines

pytestmark = [pytest.mark.usefixtures("no_threads_left"), pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three videos of different length and size; two have the same name."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "other").mkdir()
    images = [picture(100 + number, 64, 96)[:, ::-1] for number in range(30)]
    return [
        numbered_video(folder / "a.mp4", 50),
        write_video(folder / "b.mp4", images),
        numbered_video(folder / "other" / "a.mp4", 40, 72, 120),
    ]


def test_several_files_give_the_same_tracks_as_each_alone(tmp_path: Path, bundle: Bundle, videos: list[Path]) -> None:
    seen: dict[str, list[Tracks]] = {"a": [], "b": [], "a-2": []}
    outcomes = run_many(videos, bundle, out_dir=tmp_path, on_tracks=lambda name, tracks: seen[name].append(tracks))
    assert [outcome.source for outcome in outcomes] == list(seen)
    for video, outcome, together in zip(videos, outcomes, seen.values(), strict=True):
        alone = list(track(video, bundle))
        assert outcome.error is None
        assert outcome.summary.num_frames == len(together) == len(alone)
        assert [tracks.frame.pts for tracks in together] == [tracks.frame.pts for tracks in alone]
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_array_equal(one.labels, other.labels)
            np.testing.assert_array_equal(one.visible, other.visible)
            np.testing.assert_allclose(one.affines, other.affines, rtol=1e-6, atol=1e-6)


def test_each_source_has_outputs_of_its_own(tmp_path: Path, bundle: Bundle, videos: list[Path]) -> None:
    outcomes = run_many(videos, bundle, out_dir=tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(f"{stem}.{kind}" for stem in ("a", "a-2", "b") for kind in ("overlay.mp4", "tracks.jsonl"))
    assert num_lines(tmp_path / "a-2.tracks.jsonl") == 1 + 40
    assert [read_number(image) for image, _ in decode(tmp_path / "a-2.overlay.mp4")] == list(range(40))
    assert outcomes[0].summary.outputs == (tmp_path / "a.overlay.mp4", tmp_path / "a.tracks.jsonl")


@pytest.mark.parametrize(
    ("sources", "stems"),
    [
        (["x/a.mp4", "y/a.mkv", "A.mov", "a-2.mp4"], ["a", "a-2", "A-3", "a-2-2"]),
        (["rtsp://me:secret@cam.local:554/stream/1?token=x"], ["cam.local-stream-1"]),
        (["webcam:1", "-", "test://"], ["webcam-1", "stdin", "test"]),
        ([ArraySource(1), "http://host/live.m3u8"], ["arrays", "live"]),
    ],
)
def test_outputs_are_called_after_their_source_without_credentials(sources: list[str], stems: list[str]) -> None:
    assert output_stems(sources) == stems


def test_the_death_of_one_source_ends_no_other(tmp_path: Path, bundle: Bundle, videos: list[Path]) -> None:
    sources = [videos[0], ArraySource(100, fail_at=7, error=Broken("camera")), tmp_path / "none.mp4"]
    outcomes = run_many(sources, bundle, out_dir=tmp_path, overlay=False)
    assert [outcome.source for outcome in outcomes] == ["a", "arrays", "none"]
    assert [type(outcome.error) for outcome in outcomes] == [type(None), Broken, VideoError]
    assert num_lines(tmp_path / "a.tracks.jsonl") == 1 + 50
    assert num_lines(tmp_path / "arrays.tracks.jsonl") == 1 + 7
    assert outcomes[2].summary.outputs == ()


def test_an_error_of_the_network_ends_those_who_were_in_it(tmp_path: Path, bundle: Bundle) -> None:
    sources = [ArraySource(100_000), ArraySource(100_000)]
    backend = BrokenBackend(bundle, 0)
    outcomes = run_many(sources, bundle, out_dir=tmp_path, backend=backend)
    assert [type(outcome.error) for outcome in outcomes] == [Broken, Broken]


def test_a_source_that_gives_nothing_holds_up_no_other(tmp_path: Path, bundle: Bundle) -> None:
    silent, stop = HandSource(), threading.Event()

    def progress(name: str, now: Progress) -> None:
        if name == "arrays" and now.num_frames == 60:
            stop.set()

    outcomes = run_many(
        [silent, ArraySource(60)], bundle, out_dir=tmp_path, overlay=False, stop=stop, progress=progress
    )
    assert [outcome.summary.num_frames for outcome in outcomes] == [0, 60]
    assert all(outcome.summary.interrupted for outcome in outcomes)


def test_a_network_that_hangs_leaves_complete_outputs_of_all(tmp_path: Path, bundle: Bundle) -> None:
    backend, stop = GatedBackend(bundle, stuck_at=20), threading.Event()

    def stop_when_stuck() -> None:
        backend.entered.wait()
        stop.set()

    threading.Thread(target=stop_when_stuck, daemon=True).start()
    sources = [ArraySource(100_000), ArraySource(100_000)]
    outcomes = run_many(sources, bundle, out_dir=tmp_path, backend=backend, stop=stop)
    for outcome in outcomes:
        assert num_lines(tmp_path / f"{outcome.source}.tracks.jsonl") == 1 + outcome.summary.num_frames
    warnings = [line for outcome in outcomes for line in outcome.summary.warnings]
    assert any("the network did not" in line for line in warnings), "of those who were in it, maybe not all"
    backend.release.set()
    wait_for_threads()


def test_nothing_begins_where_an_output_exists(tmp_path: Path, bundle: Bundle, videos: list[Path]) -> None:
    (tmp_path / "b.tracks.jsonl").write_text("precious")
    with pytest.raises(VideoError, match="--force"):
        run_many(videos, bundle, out_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["b.tracks.jsonl"]


def test_the_command_line_tracks_several_videos(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model_path: Path, videos: list[Path]
) -> None:
    words = ["run", *map(str, videos), "--model", str(model_path), "--out-dir", str(tmp_path)]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "a: 50 frames in" in out
    assert "a-2: 40 frames in" in out
    assert f"wrote {tmp_path / 'b.tracks.jsonl'}" in out


def test_the_command_line_names_each_source_that_failed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model_path: Path, videos: list[Path]
) -> None:
    words = [str(videos[0]), str(tmp_path / "none.mp4"), str(tmp_path / "nowhere.mp4")]
    assert main(["run", *words, "--model", str(model_path), "--out-dir", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert "a: 50 frames in" in out
    lines = err.splitlines()
    assert [line.split(": ")[:3] for line in lines] == [
        ["streamparts", "error", "none"],
        ["streamparts", "error", "nowhere"],
    ]
    assert all("no such file" in line for line in lines)


def test_a_terminal_gets_a_bar_for_each_source(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    model_path: Path,
    videos: list[Path],
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    words = ["run", *map(str, videos), "--model", str(model_path), "--out-dir", str(tmp_path)]
    assert main(words) == 0
    bars = capsys.readouterr().err
    assert all(text in bars for text in ("50/50", "40/40", "30/30"))


@pytest.mark.parametrize(
    "words",
    [
        ["a.mp4", "b.mp4", "--overlay", "o.mp4"],
        ["a.mp4", "b.mp4", "--tracks", "t.jsonl"],
        ["a.mp4", "--tracks", "t.jsonl", "--out-dir", "out"],
        ["--stats", "a.mp4"],
        ["a.mp4", "--max-fps", "0"],
        ["a.mp4", "--max-fps", "fast"],
        ["a.mp4", "--policy", "some"],
    ],
)
def test_flags_that_do_not_fit_are_usage_errors(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", *words])
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err
