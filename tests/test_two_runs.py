"""Two runs with the same output: one writes it, the other is refused, and nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from streamparts.errors import VideoError
from streamparts.files import check_outputs, claimed
from streamparts.runtime.stream import run
from streamparts.tracksfile.reading import read_tracks
from tests.conftest import ROOT, environment
from tests.media import numbered_video


def command(video: Path, model: Path, out: Path, *flags: str) -> list[str]:
    words = [sys.executable, "-m", "streamparts", "run", str(video), "--model", str(model), "--tracks", str(out)]
    return [*words, "--backend", "onnxruntime", "--quiet", *flags]


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--force",)], ids=["plain", "forced"])
def test_of_two_runs_started_together_one_is_refused_and_the_other_complete(
    tmp_path: Path, model: Path, flags: tuple[str, ...]
) -> None:
    video, out = numbered_video(tmp_path / "film.mp4", 200, 48, 64), tmp_path / "film.jsonl"
    runs = [
        subprocess.Popen(command(video, model, out, *flags), cwd=ROOT, env=environment(), stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    told = [process.communicate(timeout=120)[1].decode() for process in runs]
    assert [frame.frame for frame in read_tracks(out).frames()] == list(range(200))
    codes = sorted(process.returncode for process in runs)
    assert codes == [0, 1] or (flags and codes == [0, 0]), told  # forced, one after the other is in order
    assert codes == [0, 0] or any(
        "another run writes there (process" in text or "exists already" in text for text in told
    )
    assert not list(tmp_path.glob(".*"))


def test_a_file_that_a_run_writes_is_refused_to_others_forced_or_resumed_or_as_one_of_many(
    tmp_path: Path, model: Path
) -> None:
    video, out = numbered_video(tmp_path / "film.mp4", 3, 48, 64), tmp_path / "film.jsonl"
    with claimed([out]):
        for flags in ({}, {"force": True}, {"resume": True}):
            with pytest.raises(VideoError, match=r"film.jsonl.*another.*writes.*\(process \d+ on"):
                run(video, model, tracks=out, **flags)  # type: ignore[arg-type]
    run(video, model, tracks=out)
    assert not list(tmp_path.glob(".*"))


def test_force_leaves_an_older_writer_its_own_file(tmp_path: Path, model: Path) -> None:
    video, out = numbered_video(tmp_path / "film.mp4", 3, 48, 64), tmp_path / "film.jsonl"
    out.write_text("older\n")
    with out.open("a") as older:
        run(video, model, tracks=out, force=True)
        older.write("still writing\n")
    assert len(list(read_tracks(out).frames())) == 3


def test_a_dangling_link_is_something_that_exists_and_is_replaced_not_followed(tmp_path: Path, model: Path) -> None:
    video, out = numbered_video(tmp_path / "film.mp4", 3, 48, 64), tmp_path / "film.jsonl"
    out.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(VideoError, match="exists already"):
        check_outputs([out], [], force=False)
    run(video, model, tracks=out, force=True)
    assert not (tmp_path / "elsewhere").exists()
    assert not out.is_symlink()
