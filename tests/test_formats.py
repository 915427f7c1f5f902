"""`streamparts convert`: choice of the format, overwriting, messages, and leftovers."""

import importlib
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import streamparts
from streamparts.cli import main
from streamparts.errors import MissingExtraError, StreampartsError, TracksError, VideoError
from streamparts.formats import FORMATS, convert
from streamparts.formats.table import format_of, listing
from tests.conftest import ROOT
from tests.made_tracks import awkward_tracks, even_tracks, frames_of, lines_of, write_lines

DOCUMENT = ROOT / "docs" / "formats.md"


@pytest.fixture
def tracks(tmp_path: Path) -> Path:
    return even_tracks(tmp_path / "t.jsonl")


@pytest.mark.parametrize(
    ("name", "format_name"),
    [
        ("a.csv", "csv"),
        ("a.CSV", "csv"),
        ("a.parquet", "parquet"),
        ("a.analysis.h5", "sleap-analysis"),
        ("a.slp", "slp"),
        ("a.json", "coco"),
        ("a.mcap", "mcap"),
        ("a.trc", "trc"),
        ("a.rrd", "rerun"),
    ],
)
def test_the_suffix_says_the_format(name: str, format_name: str) -> None:
    assert format_of(Path(name), None).name == format_name


@pytest.mark.parametrize(
    ("name", "format_name", "reason"),
    [
        ("a.h5", None, r"several formats .* --format .*: dlc, sleap-analysis$"),
        ("a.txt", None, r"no format .* --format .*: csv, parquet, .*openpose"),
        ("folder", None, r"no format .*openpose"),
        ("a.csv", "sleap", r"no format 'sleap'; there are csv, .*sleap-analysis"),
        ("a.json", "csv", r"csv files end in \.csv"),
        ("a.bvh", None, r"three-dimensional skeleton"),
        ("a.xyz", "BVH", r"three-dimensional skeleton"),
    ],
)
def test_an_unclear_format_names_the_choices(
    tracks: Path, tmp_path: Path, name: str, format_name: str | None, reason: str
) -> None:
    with pytest.raises(TracksError, match=reason):
        convert(tracks, tmp_path / name, format_name)


def test_every_row_of_the_table_is_a_module_that_does_what_the_row_says() -> None:
    for one in FORMATS:
        assert callable(one.implementation.write)
        assert hasattr(one.implementation, "read") == one.is_read
    assert len({one.name for one in FORMATS}) == len(FORMATS)


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
def test_every_format_is_written_whole_once_and_not_again_without_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], one: "streamparts.formats.Format"
) -> None:
    if one.extra:
        for needed in {"rerun": ["rerun"]}.get(one.extra, ["pyarrow", "tables", "sleap_io", "mcap"]):
            pytest.importorskip(needed, reason=f"{needed} is not installed (extra {one.extra})")
    tracks = awkward_tracks(tmp_path / "t.jsonl", masks=True)
    output = tmp_path / f"made{one.suffixes[-1] if one.suffixes else ''}"
    words = ["convert", str(tracks), "-o", str(output), "--format", one.name]
    assert main(words) == 0
    assert f"wrote {output} (5 frames, {one.name})" in capsys.readouterr().out
    assert main(words) == 1
    assert "exists already; use --force" in capsys.readouterr().err
    before = tracks.read_bytes()
    assert main([*words, "--force"]) == 0
    assert tracks.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([output.name, "t.jsonl"])


def test_a_file_is_never_its_own_output(tmp_path: Path, tracks: Path) -> None:
    convert(tracks, tmp_path / "t.csv")
    before = (tmp_path / "t.csv").read_bytes()
    with pytest.raises(VideoError, match="also an input"):
        convert(tmp_path / "t.csv", tmp_path / "t.csv", force=True)
    with pytest.raises(TracksError, match=r"format.*suffix"):
        convert(tracks, tracks, force=True)
    assert (tmp_path / "t.csv").read_bytes() == before


def test_what_was_there_stays_when_a_conversion_fails(tmp_path: Path, tracks: Path) -> None:
    lines = lines_of(tracks)
    lines[20]["parts"] = "gone"
    bad = write_lines(tmp_path / "bad.jsonl", lines)
    for name in ("t.csv", "t.json", "t.trc"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(TracksError, match="line 21"):
            convert(bad, tmp_path / name, force=True)
        assert (tmp_path / name).read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl", "t.csv", "t.json", "t.jsonl", "t.trc"]


def test_a_folder_is_replaced_only_where_all_of_it_is_openposes(tmp_path: Path, tracks: Path) -> None:
    folder = tmp_path / "poses"
    convert(tracks, folder, "openpose")
    with pytest.raises(VideoError, match="exists already"):
        convert(tracks, folder, "openpose")
    convert(even_tracks(tmp_path / "short.jsonl", 2), folder, "openpose", force=True)
    assert len(list(folder.glob("*.json"))) == 2
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(VideoError, match=r"contains thesis\.txt"):
        convert(tracks, folder, "openpose", force=True)
    assert (folder / "thesis.txt").read_text() == "mine"


def test_a_folder_is_no_place_for_a_file(tmp_path: Path, tracks: Path) -> None:
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(VideoError, match="is a folder"):
        convert(tracks, tmp_path / "d.csv", force=True)


def test_a_cut_off_last_line_is_left_out(tmp_path: Path, tracks: Path) -> None:
    tracks.write_bytes(tracks.read_bytes()[:-40])
    assert convert(tracks, tmp_path / "t.csv").num_frames == 29


def test_a_full_disk_is_one_clear_line(tmp_path: Path, tracks: Path, command: Callable[..., CompletedProcess]) -> None:
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from streamparts.cli import main\n"
        "sys.exit(max(main(['convert', sys.argv[1], '-o', sys.argv[2] + name]) for name in ('.csv', '.json', '.trc')))"
    )
    import subprocess

    from tests.conftest import environment

    done = subprocess.run(
        [sys.executable, "-c", code, str(tracks), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert done.returncode == 1
    assert len(re.findall(r"error: .*out\.(csv|json|trc): cannot be written \(File too large\)", done.stderr)) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["t.jsonl"]


@pytest.mark.parametrize(
    ("name", "format_name", "library", "extra"),
    [
        ("t.parquet", None, "pyarrow", "formats"),
        ("t.h5", "dlc", "tables", "formats"),
        ("t.h5", "sleap-analysis", "h5py", "formats"),
        ("t.slp", None, "sleap_io", "formats"),
        ("t.mcap", None, "mcap", "formats"),
        ("t.rrd", None, "rerun", "rerun"),
    ],
)
def test_a_missing_library_is_one_line_with_the_command(
    tracks: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    format_name: str | None,
    library: str,
    extra: str,
) -> None:
    for loaded in [module for module in sys.modules if module.split(".")[0] == library]:
        monkeypatch.setitem(sys.modules, loaded, None)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=re.escape(f"pip install 'streamparts[{extra}]'")):
        convert(tracks, tmp_path / name, format_name)
    assert [path.name for path in tmp_path.iterdir()] == ["t.jsonl"]


@pytest.mark.parametrize("library", ["pandas", "supervision"])
def test_values_for_a_library_that_is_missing_name_the_extra(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    from tests.test_data import make_tracks

    monkeypatch.setitem(sys.modules, library, None)
    extra = {"pandas": "formats"}.get(library, library)
    with pytest.raises(MissingExtraError, match=re.escape(f"pip install 'streamparts[{extra}]'")):
        streamparts.to_pandas([]) if library == "pandas" else make_tracks().to_supervision()


def test_uneven_times_are_one_warning_where_they_are_lost(
    tmp_path: Path, tracks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uneven = awkward_tracks(tmp_path / "uneven.jsonl")
    for source, words, count in (
        (uneven, ["a.csv", "--format", "dlc"], 1),
        (uneven, ["a.trc"], 1),
        (uneven, ["a", "--format", "openpose"], 1),
        (uneven, ["b.csv"], 0),
        (uneven, ["b.json"], 0),
        (tracks, ["c.csv", "--format", "dlc"], 0),
        (tracks, ["c.trc"], 0),
    ):
        assert main(["convert", str(source), "-o", str(tmp_path / words[0]), *words[1:]]) == 0
        assert capsys.readouterr().err.count("not evenly spaced") == count


def test_times_that_a_clock_of_milliseconds_rounds_are_even(tmp_path: Path) -> None:
    lines = lines_of(even_tracks(tmp_path / "t.jsonl", 90))
    lines[0]["source"]["time_base"] = [1, 1000]
    for number, line in enumerate(lines[1:]):
        line["pts"] = round(number * 1000 / 30)
    tracks = write_lines(tmp_path / "t.jsonl", lines)
    assert convert(tracks, tmp_path / "t.trc", metres_per_pixel=0.001).notes == ()
    lines[40]["pts"] += 5
    tracks = write_lines(tmp_path / "t.jsonl", lines)
    assert len(convert(tracks, tmp_path / "t.trc", force=True, metres_per_pixel=0.001).notes) == 1


def test_frames_that_were_dropped_leave_even_times_even(tmp_path: Path) -> None:
    lines = lines_of(even_tracks(tmp_path / "t.jsonl", 30))
    tracks = write_lines(tmp_path / "t.jsonl", [line for n, line in enumerate(lines) if n % 7 != 3])
    assert convert(tracks, tmp_path / "t.trc", metres_per_pixel=0.001).notes == ()
    assert "\n25.0\t25.0\t" in (tmp_path / "t.trc").read_text()


def test_a_picture_that_changes_its_size_is_told(tmp_path: Path) -> None:
    done = convert(awkward_tracks(tmp_path / "t.jsonl"), tmp_path / "t.csv")
    assert [note.split(";")[0] for note in done.notes] == ["the frame size changes (64x48, 36x48)"]


@pytest.mark.parametrize("name", ["t.csv", "t.dlc.csv", "t.parquet", "t.mcap", "t.h5", "t.analysis.h5"])
def test_a_file_with_wrong_bytes_is_read_or_refused_in_one_line(tmp_path: Path, name: str) -> None:
    for needed in ("pyarrow", "tables", "mcap"):
        pytest.importorskip(needed, reason=f"{needed} is not installed (extra formats)")
    kind = "dlc" if name in ("t.dlc.csv", "t.h5") else None
    convert(awkward_tracks(tmp_path / "t.jsonl", masks=True), tmp_path / name, kind)
    data, rng, outcomes = (tmp_path / name).read_bytes(), random.Random(1), {True: 0, False: 0}
    for _ in range(40):
        damaged = bytearray(data)
        for _ in range(rng.choice([1, 20])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        (tmp_path / name).write_bytes(damaged)
        try:
            convert(tmp_path / name, tmp_path / "back.jsonl", kind, force=True, rate=25, size=(48, 64))
            outcomes[True] += 1
        except StreampartsError:
            outcomes[False] += 1
    assert outcomes[False] > 0


def test_frames_out_of_order_are_refused(tmp_path: Path, tracks: Path) -> None:
    lines = lines_of(tracks)
    swapped = write_lines(tmp_path / "swapped.jsonl", [*lines[:3], lines[4], lines[3], *lines[5:]])
    with pytest.raises(TracksError, match=r"frame 2\b.*frame 3\b"):
        convert(swapped, tmp_path / "t.csv")


def test_only_formats_that_carry_enough_become_tracks(tmp_path: Path, tracks: Path) -> None:
    for name in ("t.json", "t.trc"):
        convert(tracks, tmp_path / name)
        with pytest.raises(TracksError, match=r"contain.*enough.*parquet.*mcap"):
            convert(tmp_path / name, tmp_path / "back.jsonl")
    with pytest.raises(TracksError, match="cannot be read"):
        convert(tmp_path / "none.csv", tmp_path / "back.jsonl")


@pytest.mark.parametrize("known", [{"rate": 0}, {"rate": float("nan")}, {"size": (0, 5)}])
def test_a_rate_and_a_size_are_positive(tmp_path: Path, tracks: Path, known: dict) -> None:
    convert(tracks, tmp_path / "t.csv", "dlc")
    with pytest.raises(ValueError, match="must be positive"):
        convert(tmp_path / "t.csv", tmp_path / "back.jsonl", **known)


def test_tracks_and_open_files_are_taken_alike(tmp_path: Path, tracks: Path) -> None:
    convert(streamparts.read_tracks(tracks), tmp_path / "a.csv")
    convert(str(tracks), str(tmp_path / "b.csv"))
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_tracks_that_came_back_can_be_converted_again(tmp_path: Path) -> None:
    tracks = awkward_tracks(tmp_path / "t.jsonl")
    convert(tracks, tmp_path / "one.csv")
    convert(tmp_path / "one.csv", tmp_path / "back.jsonl")
    convert(tmp_path / "back.jsonl", tmp_path / "two.csv")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert len(frames_of(tmp_path / "back.jsonl")) == 5


def test_the_list_and_the_documentation_name_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "--list"]) == 0
    out = capsys.readouterr().out
    assert out.strip() == listing()
    text = DOCUMENT.read_text()
    for one in FORMATS:
        assert re.search(rf"^{one.name}  \(", out, re.MULTILINE)
        assert f"`{one.name}`" in text
    assert "BVH" in text and "not bvh" in out


@pytest.mark.parametrize("words", [[], ["t.jsonl"], ["t.jsonl", "-o", "t.csv", "--size", "big"]])
def test_usage_errors_are_usage_errors(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["convert", *words])
    assert stop.value.code == 2
    assert "usage: streamparts convert" in capsys.readouterr().err


def test_the_commands_of_the_documentation_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, puppet_tracks: Path
) -> None:
    for needed in ("pyarrow", "tables", "sleap_io", "mcap", "rerun"):
        pytest.importorskip(needed, reason=f"{needed} is not installed (extras formats, rerun)")
    (tmp_path / "dance.jsonl").write_bytes(puppet_tracks.read_bytes())
    (tmp_path / "dance.mp4").write_bytes((ROOT / "examples" / "puppet.mp4").read_bytes())
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^streamparts (convert .*?)(?:  +#.*)?$", DOCUMENT.read_text(), re.MULTILINE)
    assert len(commands) >= len(FORMATS)
    for words in commands:
        assert main(words.split()) == 0, words
    for block in re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL):
        exec(block, {"streamparts": streamparts})


def test_the_package_has_no_module_that_shadows_its_function() -> None:
    assert callable(importlib.import_module("streamparts.formats").convert)
