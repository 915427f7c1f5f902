"""Converters that fail: one line, no other output, and no change to files of others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from streamparts.data import Tracks
from streamparts.errors import TracksError
from streamparts.files import whole
from streamparts.formats.csv_text import cell, text_of
from streamparts.geometry import Letterbox
from streamparts.tracksfile.recording import frame_record
from tests.conftest import ROOT, environment
from tests.made_tracks import even_tracks
from tests.media import ArraySource


def tracks_of(affine: float = 1.0, score: float = 0.5) -> Tracks:
    frame = next(iter(ArraySource(1)))
    affines = np.full((1, 2, 3), affine, np.float32)
    one = np.array([score], np.float32)
    letterbox = Letterbox.fit((48, 64), (16, 16))
    labels = np.zeros((12, 16), np.uint8)
    return Tracks(frame, letterbox, ("all",), labels, affines, one, np.ones(1, np.float32), np.ones(1, np.bool_))


@pytest.mark.parametrize("wrong", [{"affine": np.inf}, {"affine": np.nan}, {"score": 1e30}, {"score": -0.1}])
def test_numbers_that_the_schema_refuses_are_never_written(wrong: dict[str, float]) -> None:
    frame_record(tracks_of(), masks=False)
    with pytest.raises(TracksError, match=r"frame 0.*0 to 1"):
        frame_record(tracks_of(**wrong), masks=False)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 60 kB, where this process may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=60k", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(words, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x.rrd", "x.slp", "x.h5", "x.analysis.h5", "x.csv", "x.mcap"])
def test_a_converter_on_a_full_disk_says_so_in_one_line_and_leaves_nothing(
    tmp_path: Path, small_disk: Path, name: str
) -> None:
    tracks = even_tracks(tmp_path / "long.jsonl", 2000)
    out = small_disk / name
    kind = {"x.h5": "dlc", "x.analysis.h5": "sleap-analysis"}.get(name)
    words = [sys.executable, "-m", "streamparts", "convert", str(tracks), "-o", str(out)]
    done = subprocess.run(
        [*words, *(["--format", kind] if kind else [])], cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("streamparts: error: ")
    assert done.stderr.count("\n") == 1
    assert not list(small_disk.iterdir())


def test_what_a_killed_converter_left_hinders_no_later_one_and_goes_with_it(tmp_path: Path) -> None:
    for name in (".x.csv.1.tmp", ".x.csv.0123456789abcdef.tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.csv").write_text("half")
    with whole(tmp_path / "x.csv") as made:
        made.write_text("all")
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_two_converters_at_once_leave_each_other_alone(tmp_path: Path) -> None:
    with whole(tmp_path / "x.csv") as first:
        first.write_text("first")
        with whole(tmp_path / "x.csv") as second:
            second.write_text("second")
        assert first.read_text() == "first"
    assert (tmp_path / "x.csv").read_text() == "first"


@pytest.mark.parametrize("name", ["=1+1", "+x", "-left", "@SUM(A1)", "\tx", "'=x", "plain", "'quoted'"])
def test_a_name_is_no_formula_and_is_read_back_as_it_was(name: str) -> None:
    assert not cell(name).startswith(("=", "+", "-", "@", "\t"))
    assert text_of(cell(name)) == name
