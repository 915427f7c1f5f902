import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import streamparts
from streamparts.cli import main
from tests.conftest import ROOT
from tests.live import wait_for_threads
from tests.media import decode, read_number
from tests.test_source import bad_inputs

Command = Callable[..., subprocess.CompletedProcess[str]]


def one_error_line(text: str) -> str:
    """The text after `streamparts: error: `, if that line is all there is."""
    match = re.fullmatch(r"streamparts: error: (.+)\n", text)
    assert match, f"expected exactly one error line, got: {text!r}"
    return match[1]


def refused(captured: pytest.CaptureFixture[str], *args: object) -> str:
    """The error line. With `capfd`, what libraries in C write counts too."""
    assert main([str(arg) for arg in args]) == 1
    out, err = captured.readouterr()
    assert out == ""
    return one_error_line(err)


def test_help_says_where_the_documentation_is(command: Command) -> None:
    bare, asked = command(), command("--help")
    assert (bare.returncode, bare.stdout) == (2, "")
    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout == bare.stderr
    pages = re.findall(r"docs/\w+\.md", asked.stdout)
    assert pages == ["docs/index.md", "docs/quickstart.md"]
    assert all((ROOT / page).is_file() for page in pages)


def test_the_main_job_writes_both_files_into_the_current_folder(
    command: Command, tmp_path: Path, video: Path, model_path: Path
) -> None:
    result = command("run", video, "--model", model_path, cwd=tmp_path)
    assert result.returncode == 0
    assert result.stderr == ""
    assert "40 frames in" in result.stdout
    assert "wrote numbered.overlay.mp4" in result.stdout
    numbers = [read_number(image) for image, _ in decode(tmp_path / "numbered.overlay.mp4")]
    assert numbers == list(range(40))
    assert (tmp_path / "numbered.tracks.jsonl").read_bytes().count(b"\n") == 41


def test_the_summary_names_speed_ages_and_stages(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, video: Path, model_path: Path
) -> None:
    assert main(["run", str(video), "--model", str(model_path), "--tracks", str(tmp_path / "t.jsonl")]) == 0
    out = capsys.readouterr().out
    assert re.search(r"40 frames in [\d.]+ s: [\d.]+ fps, .*p50 \d+ ms, p95 \d+ ms, p99 \d+ ms", out)
    assert re.search(r"ms per frame: decode [\d.]+, prepare [\d.]+, infer [\d.]+", out)
    assert re.search(r"backend (onnxruntime|openvino): .*(ms per image|the only|the first)", out)
    assert not (tmp_path / "numbered.overlay.mp4").exists()


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path, video: Path, model_path: Path) -> None:
    args = ["run", str(video), "--model", str(model_path), "--tracks", str(tmp_path / "t.jsonl"), "--quiet"]
    assert main(args) == 0
    assert capsys.readouterr() == ("", "")


def test_masks_go_into_the_tracks(tmp_path: Path, video: Path, model_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    assert main(["run", str(video), "--model", str(model_path), "--tracks", str(path), "--masks"]) == 0
    assert b'"mask":{"size":[64,64],"counts":' in path.read_bytes()


@pytest.mark.parametrize("kind", ["missing", "text", "empty", "truncated", "audio", "misspelt"])
def test_a_bad_video_gives_one_line_and_no_outputs(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    video: Path,
    model_path: Path,
    kind: str,
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    path, reason = bad_inputs(tmp_path, video)[kind]
    assert reason in refused(capfd, "run", path, "--model", model_path)
    assert reason in refused(capfd, "run", path, "--model", model_path, "--tracks", tmp_path / "t.jsonl")
    assert list(work.iterdir()) == []


def test_a_folder_without_a_video_gives_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model_path: Path
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    assert "no video in" in refused(capsys, "run", folder, "--model", model_path)


def test_a_bad_video_gives_one_line_in_a_process_of_its_own(
    command: Command, tmp_path: Path, video: Path, model_path: Path
) -> None:
    path, reason = bad_inputs(tmp_path, video)["truncated"]
    result = command("run", path, "--model", model_path, "--tracks", tmp_path / "t.jsonl")
    assert result.returncode == 1
    assert result.stdout == ""
    assert reason in one_error_line(result.stderr)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "no such model file"), (b"", "is empty"), (b"text", "not a usable ONNX model")]
)
def test_a_bad_model_gives_one_line(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, video: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    assert reason in refused(capfd, "run", video, "--model", path, "--tracks", tmp_path / "t.jsonl")
    assert not (tmp_path / "t.jsonl").exists()


def test_a_bad_model_gives_one_line_in_a_process_of_its_own(command: Command, tmp_path: Path, video: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"text")
    result = command("run", video, "--model", path, "--tracks", tmp_path / "t.jsonl")
    assert (result.returncode, result.stdout) == (1, "")
    assert "not a usable ONNX model" in one_error_line(result.stderr)


def test_outputs_that_exist_are_kept_unless_forced(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, video: Path, model_path: Path
) -> None:
    overlay, tracks = tmp_path / "o.mp4", tmp_path / "t.jsonl"
    tracks.write_text("precious")
    args = ["run", video, "--model", model_path, "--overlay", overlay, "--tracks", tracks]
    assert "--force" in refused(capsys, *args)
    assert tracks.read_text() == "precious"
    assert not overlay.exists(), "all outputs are checked before any is written"
    assert main([*map(str, args), "--force"]) == 0
    assert tracks.read_bytes().count(b"\n") == 41


def test_force_does_not_destroy_outputs_when_the_video_is_bad(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model_path: Path
) -> None:
    tracks = tmp_path / "t.jsonl"
    tracks.write_text("precious")
    refused(capsys, "run", tmp_path / "none.mp4", "--model", model_path, "--tracks", tracks, "--force")
    assert tracks.read_text() == "precious"


def test_a_missing_output_folder_gives_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, video: Path, model_path: Path
) -> None:
    tracks = tmp_path / "none" / "t.jsonl"
    assert "does not exist" in refused(capsys, "run", video, "--model", model_path, "--tracks", tracks)


def test_an_output_that_is_a_folder_gives_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, video: Path, model_path: Path
) -> None:
    assert "is a folder" in refused(capsys, "run", video, "--model", model_path, "--tracks", tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_gives_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, video: Path, model_path: Path
) -> None:
    tmp_path.chmod(0o500)
    try:
        text = refused(capsys, "run", video, "--model", model_path, "--tracks", tmp_path / "t.jsonl")
    finally:
        tmp_path.chmod(0o700)
    assert "no permission" in text


def test_an_output_may_not_be_the_input(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, video: Path, model_path: Path
) -> None:
    copy, link = tmp_path / "copy.mp4", tmp_path / "link.mp4"
    copy.write_bytes(video.read_bytes())
    link.hardlink_to(copy)
    for output in (copy, link, tmp_path / "." / ".." / tmp_path.name / "copy.mp4"):
        args = ("run", copy, "--model", model_path, "--overlay", output, "--force")
        assert "also an input" in refused(capsys, *args)
    assert copy.read_bytes() == video.read_bytes()


def test_two_outputs_may_not_be_the_same_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, video: Path, model_path: Path
) -> None:
    path = tmp_path / "o.mp4"
    args = ("run", video, "--model", model_path, "--overlay", path, "--tracks", path)
    assert "another output" in refused(capsys, *args)


def test_an_output_may_not_be_the_model(capsys: pytest.CaptureFixture[str], video: Path, model_path: Path) -> None:
    args = ("run", video, "--model", model_path, "--tracks", model_path, "--force")
    assert "also an input" in refused(capsys, *args)


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["run"],
        ["fly", "video.mp4"],
        ["run", "video.mp4", "--nonsense"],
        ["run", "video.mp4", "--over", "abbreviated.mp4"],
        ["run", "video.mp4", "--overlay", "video.avi"],
        ["run", "video.mp4", "--overlay", "o.mp4", "--masks"],
    ],
)
def test_wrong_usage_exits_with_two(capsys: pytest.CaptureFixture[str], args: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(args)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("args", [["run", "--help"], ["info", "--help"]])
def test_help_shows_an_example(capsys: pytest.CaptureFixture[str], args: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(args)
    assert caught.value.code == 0
    assert f"examples:\n  streamparts {args[0]} " in capsys.readouterr().out


def test_the_version_is_that_of_the_package(command: Command) -> None:
    assert command("--version").stdout == f"streamparts {streamparts.__version__}\n"


def test_debug_shows_the_traceback(command: Command, tmp_path: Path, model_path: Path) -> None:
    result = command("run", tmp_path / "none.mp4", "--model", model_path, "--debug")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_an_unexpected_error_is_one_line_that_asks_for_a_report(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    video: Path,
    model_path: Path,
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("never seen\nbefore")

    monkeypatch.setattr("streamparts.tracking.tracker.PartTracker.update", fail)
    text = refused(capsys, "run", video, "--model", model_path, "--tracks", tmp_path / "t.jsonl")
    assert text.startswith("unexpected ZeroDivisionError: never seen before; run again with --debug")


def test_info_describes_a_model(capsys: pytest.CaptureFixture[str], model_path: Path) -> None:
    assert main(["info", str(model_path)]) == 0
    out = capsys.readouterr().out
    assert "tiny (assembly)" in out
    assert "2: red, green" in out
    assert "64x64 pixels" in out


def test_info_says_what_a_model_runs_on_here_and_why_not_elsewhere(
    capsys: pytest.CaptureFixture[str], model_path: Path
) -> None:
    assert main(["info", str(model_path)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^runs on   .*onnxruntime", out, re.MULTILINE)
    assert re.search(r"^not on    .*\n( {10}.*\n)*", out, re.MULTILINE)
    assert "torch-cpu: the model file does not describe its network; export it again" in out


def test_a_backend_and_its_threads_can_be_chosen(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, video: Path, model_path: Path
) -> None:
    args = ["run", str(video), "--model", str(model_path), "--tracks", str(tmp_path / "t.jsonl")]
    assert main([*args, "--backend", "onnxruntime", "--threads", "1"]) == 0
    assert "backend onnxruntime: requested" in capsys.readouterr().out
    assert "torch cannot run it" in refused(capsys, *args, "--force", "--backend", "torch-cpu")


@pytest.mark.parametrize("wrong", [["--backend", "tpu"], ["--threads", "0"], ["--threads", "many"]])
def test_a_backend_that_there_is_not_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], video: Path, wrong: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", str(video), *wrong])
    assert caught.value.code == 2
    assert wrong[1] in capsys.readouterr().err


def test_info_describes_a_video(capsys: pytest.CaptureFixture[str], video: Path) -> None:
    assert main(["info", str(video)]) == 0
    assert "128x96 h264, 30 fps, about 40 frames" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["nonsense", "none.onnx", "none.mp4"])
def test_info_on_what_is_not_there_gives_one_line(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert name in refused(capsys, "info", name)


def test_a_terminal_gets_a_progress_bar(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    video: Path,
    model_path: Path,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    args = ["run", str(video), "--model", str(model_path), "--tracks", str(tmp_path / "t.jsonl")]
    assert main(args) == 0
    bar = capsys.readouterr().err
    assert "numbered.mp4: 100%" in bar
    assert "40/40" in bar
    assert re.search(r"latency \d+/\d+/\d+ ms, in \d+ out \d+ fps", bar)


def test_a_terminal_that_is_held_up_holds_up_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, video: Path, model_path: Path
) -> None:
    release = threading.Event()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("tqdm.std.tqdm.refresh", lambda *_, **__: release.wait() and None)
    path = tmp_path / "t.jsonl"
    args = ["run", str(video), "--model", str(model_path), "--tracks", str(path)]
    try:
        assert main(args) == 0
    finally:
        release.set()
    assert path.read_bytes().count(b"\n") == 41
    wait_for_threads()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_a_reader_that_leaves_ends_the_command_quietly() -> None:
    """Output is cut off, as with `streamparts convert --list | head -1`."""
    command = [sys.executable, "-m", "streamparts", "schema", "tracks"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.wait(30) == 128 + signal.SIGPIPE
    assert process.stderr.read() == ""
    process.stderr.close()


def test_the_bundled_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    assert "person" in text and "left_forearm" in text and "person.md" in text
    assert main(["models", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["person"]["default"] and not rows["puppet-human"]["default"]
    assert rows["person"]["megabytes"] < 10 and rows["person"]["metrics"]["part_iou"] > 0
    for name, row in rows.items():
        assert Path(row["card"]).is_file() and Path(row["picture"]).is_file(), name
        assert Path(row["card"]).stem == name.removesuffix("-int8") == Path(row["picture"]).stem
        assert re.search(rf"^{name} +{re.escape(row['description'][:20])}", text, re.MULTILINE), "a column of its own"
