"""`streamparts doctor`: its findings on this machine, and its robustness."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from fractions import Fraction
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

import streamparts
from streamparts import doctor
from streamparts.cli import main
from streamparts.cli.types import one_line
from streamparts.doctor import TOPICS, Examined, Topic, examine, machine, packages, probes, self_test
from streamparts.doctor.finding import Finding
from streamparts.doctor.report import block, is_well, verdict
from streamparts.sources.pattern import burn_number
from tests.conftest import ROOT, environment
from tests.media import write_video

ILL = "tests.ill_probes"


def findings_of(topic: Topic) -> dict[str, Finding]:
    (examined,) = examine([topic])
    return {finding.name: finding for finding in examined.findings}


@pytest.fixture(scope="module")
def here() -> dict[str, dict[str, Finding]]:
    """All that is found on this machine, by topic and name."""
    return {one.title: {finding.name: finding for finding in one.findings} for one in examine()}


@pytest.mark.slow
def test_every_topic_is_examined_without_a_fault(here: dict[str, dict[str, Finding]]) -> None:
    assert list(here) == [topic.title for topic in TOPICS]
    for title, findings in here.items():
        assert findings, title
        assert "examination" not in findings, f"{title}: {findings}"
        assert not [finding for finding in findings.values() if finding.state == "failed"], title
        assert all(finding.text for finding in findings.values() if finding.state != "ok"), f"{title}: a reason is due"


@pytest.mark.slow
def test_versions_are_those_installed(here: dict[str, dict[str, Finding]]) -> None:
    versions = here["versions"]
    assert versions["streamparts"].text.startswith(f"{streamparts.__version__} in ")
    assert versions["PyAV"].text.startswith(f"{metadata.version('av')} with FFmpeg ")
    assert versions["ONNX Runtime"].text.startswith(f"{metadata.version('onnxruntime')} with ")
    assert versions["numpy"].text == metadata.version("numpy")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = [Requirement(text).name for text in project["dependencies"]]
    labels = {"av": "PyAV", "onnxruntime": "ONNX Runtime", "opencv-python-headless": "OpenCV"}
    assert {labels.get(name, name) for name in core} <= versions.keys()


@pytest.mark.slow
def test_every_extra_for_users_is_listed_with_what_it_has_or_how_to_get_it(here: dict[str, dict[str, Finding]]) -> None:
    extras = here["optional packages"]
    assert extras.keys() | {*packages.NOT_FOR_USERS} >= {
        *metadata.metadata("streamparts").get_all("Provides-Extra", [])
    }
    assert not extras.keys() & {*packages.NOT_FOR_USERS}
    for name, finding in extras.items():
        if finding.state == "absent" and "for this system" not in finding.text:
            assert f"pip install 'streamparts[{name}]'" in finding.text


@pytest.mark.slow
def test_backends_decoders_and_encoders_are_those_that_flags_take(here: dict[str, dict[str, Finding]]) -> None:
    from streamparts.backends.choice import BACKENDS
    from streamparts.sinks.overlay.encoders import HARDWARE, SOFTWARE
    from streamparts.sources.hwdecode import KINDS

    assert list(here["backends"]) == list(BACKENDS)
    assert here["backends"]["onnxruntime"].state == "ok"
    assert tuple(here["hardware decoders"]) == (*KINDS, "gpu")
    assert tuple(here["overlay encoders"]) == (SOFTWARE, *HARDWARE)
    assert here["overlay encoders"][SOFTWARE].state == "ok"


@pytest.mark.slow
def test_the_self_test_states_its_rate(here: dict[str, dict[str, Finding]]) -> None:
    run = here["self-test"]["run"]
    assert float(run.data["fps"]) > 0
    assert int(run.data["num_frames"]) > 1
    assert re.search(r": \d+ fps$", run.text)
    assert here["self-test"].keys() == {"run", "tracks", "overlay"}


def test_a_probe_that_hangs_keeps_what_it_has_found_and_holds_up_nothing() -> None:
    topics = [Topic("stuck", f"{ILL}:hangs", seconds=4.0), Topic("well", f"{ILL}:well")]
    began = time.monotonic()
    stuck, well = examine(topics)
    assert time.monotonic() - began < 60, "it sleeps ten minutes"
    assert [finding.name for finding in well.findings] == ["one", "two"]
    assert stuck.findings == (Finding("first", "was quick"), Finding("examination", "no answer within 4 s", "warning"))


@pytest.mark.skipif(sys.platform == "win32", reason="processes end by no signal there")
def test_a_probe_that_crashes_is_a_finding() -> None:
    found = findings_of(Topic("bad", f"{ILL}:crashes"))
    assert found["first"].text == "was fine"
    assert found["examination"] == Finding("examination", "the process was ended by SIGSEGV", "warning")


@pytest.mark.parametrize(
    ("probe", "reason"),
    [
        (f"{ILL}:raises", "RuntimeError: the driver is of another kernel"),
        (f"{ILL}:leaves_in_silence", "the process ended with code 3"),
        ("tests.no_such_module:probe", "ModuleNotFoundError: No module named 'tests.no_such_module'"),
    ],
)
def test_a_probe_that_fails_says_with_what(probe: str, reason: str) -> None:
    assert findings_of(Topic("bad", probe))["examination"].text == reason


def test_a_probe_that_only_reads_files_runs_here_and_its_failure_is_a_finding_too() -> None:
    """The process number stands for where it ran."""
    found = findings_of(Topic("bad", f"{ILL}:raises", may_crash=False))
    assert (found["first"].text, found["examination"].state) == ("was fine", "warning")
    assert found["examination"].text == "RuntimeError: the driver is of another kernel"
    pids = [findings_of(Topic("", f"{ILL}:process", may_crash=apart))["process"].text for apart in (False, True)]
    assert pids[0] == str(os.getpid()) != pids[1]


def test_only_what_every_run_needs_makes_a_failure() -> None:
    aside = list(examine([Topic("aside", f"{ILL}:raises")]))
    needed = list(examine([Topic("needed", f"{ILL}:raises", needed=True)]))
    assert is_well(aside)
    assert verdict(aside) == "OK: runs work on this machine (1 warning above)"
    assert not is_well(needed)
    assert verdict(needed).startswith("FAILED: needed, examination: RuntimeError: the driver")


def test_what_a_probe_leaves_is_cleared_up_when_nobody_wants_the_rest() -> None:
    """As if the reader of the output exits, or at Ctrl-C."""
    topics = [Topic("well", f"{ILL}:well"), Topic("stuck", f"{ILL}:leaves_files", seconds=600)]
    before = set(threading.enumerate())
    examination = examine(topics)
    next(examination)
    examination.close()
    deadline = time.monotonic() + 30
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not set(threading.enumerate()) - before


def test_a_killed_probe_leaves_no_files() -> None:
    found = findings_of(Topic("stuck", f"{ILL}:leaves_files", seconds=4.0))
    assert not Path(found["folder"].text).exists()


def test_a_python_that_cannot_be_started_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    found = findings_of(Topic("bad", f"{ILL}:well", needed=True))
    assert found["examination"].text.startswith("no process could be started (")
    assert found["examination"].state == "failed"


def fake_topics(*names: str) -> tuple[Topic, ...]:
    return tuple(Topic(name, f"{ILL}:{name}", needed=name == "raises") for name in names)


def test_the_command_prints_a_block_for_each_topic(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "TOPICS", fake_topics("well"))
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out == "well\n  one  is here\n  two  no: is not\n\nOK: runs work on this machine\n"


def test_the_command_fails_in_one_line_where_no_run_can_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "TOPICS", fake_topics("well", "raises"))
    assert main(["doctor"]) == 1
    *_, last = capsys.readouterr().out.splitlines()
    assert last == "FAILED: raises, examination: RuntimeError: the driver is of another kernel"


def test_json_is_one_object_with_the_same(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "TOPICS", fake_topics("well", "raises"))
    assert main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert report["verdict"].startswith("FAILED: raises")
    assert report["topics"]["well"][0] == {"name": "one", "text": "is here", "state": "ok", "data": {"size": 3}}
    assert [finding["state"] for finding in report["topics"]["raises"]] == ["ok", "failed"]


def test_an_import_that_fails_with_an_older_package_names_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that another project's pins have changed: every command ends in an ImportError there."""
    assert one_line(ImportError("cannot import name 'x'")).startswith("unexpected ImportError: cannot import name 'x'")
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "14.2.0" if name == "av" else real(name))
    bound = next(need.specifier for need in packages.requirements() if need.name == "av")
    assert one_line(ImportError("cannot import name 'x'")) == (
        f"av is 14.2.0, but {bound} is required; pip install 'av{bound}'"
    )


def test_a_package_too_old_for_a_flags_type_is_one_line_too(tmp_path: Path) -> None:
    """The type of --out-dir imports PyAV while flags are read; an old ONNX Runtime has AttributeErrors with NumPy 2."""
    for name, module, version, error in (
        ("av", "av", "14.2.0", "ImportError"),
        ("onnxruntime", "onnxruntime", "1.16.0", "AttributeError"),
    ):
        (tmp_path / name / f"{name}-{version}.dist-info").mkdir(parents=True)
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (tmp_path / name / f"{name}-{version}.dist-info" / "METADATA").write_text(about, encoding="utf-8")
        (tmp_path / name / f"{module}.py").write_text(f"raise {error}('it is old')\n", encoding="utf-8")
        words = ["-m", "streamparts", "run", "test://?seconds=1", "--out-dir", str(tmp_path), "--no-overlay"]
        env = environment() | {"PYTHONPATH": os.pathsep.join([str(tmp_path / name), str(ROOT)])}
        done = subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True, cwd=tmp_path)
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"streamparts: error: {name} is {version}, but ")


@pytest.mark.skipif(sys.platform == "win32", reason="processes get no such signals there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_nothing_left(number: signal.Signals, tmp_path: Path) -> None:
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job ignores it
        "from streamparts import cli, doctor\n"
        f"doctor.TOPICS = (doctor.Topic('well', '{ILL}:well'), doctor.Topic('stuck', '{ILL}:hangs', seconds=600))\n"
        "sys.exit(cli.main(['doctor']))"
    )
    places = {**environment(), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", code], env=places, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as printed:
        assert printed.readline() == "well\n"
        process.send_signal(number)
        printed.read()
    assert process.wait(60) == 128 + number
    assert list(tmp_path.iterdir()) == []


def test_long_lines_are_wrapped_below_their_text() -> None:
    text = block(Examined("topic", (Finding("name", "word " * 40, "warning"),)), 60)
    title, first, *rest = text.split("\n")
    assert (title, first[:23]) == ("topic", "  name  WARNING: word w")
    assert all(line.startswith(" " * 8 + "word") and len(line) <= 60 for line in rest)


def tracks_of(lines: list[str], path: Path) -> Path:
    path.write_text("".join(lines))
    return path


@pytest.fixture(scope="module")
def run_output(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, int]:
    """Results of a short self-test: overlay, tracks, number of frames."""
    folder = tmp_path_factory.mktemp("self-test")
    overlay, tracks = folder / "overlay.mp4", folder / "tracks.jsonl"
    source = self_test.SOURCE.replace("3600", "0.3")
    summary = streamparts.run(source, self_test.MODEL, overlay=overlay, tracks=tracks)
    return overlay, tracks, summary.num_frames


def test_the_self_test_accepts_what_a_run_writes(run_output: tuple[Path, Path, int]) -> None:
    overlay, tracks, num_frames = run_output
    assert num_frames == 9
    assert self_test.tracks_problem(tracks, num_frames) is None
    assert self_test.overlay_problem(overlay, num_frames) is None


def test_the_self_test_sees_wrong_tracks(run_output: tuple[Path, Path, int], tmp_path: Path) -> None:
    _, tracks, _ = run_output
    header, *frames = tracks.read_text().splitlines(keepends=True)
    shorter = tracks_of([header, *frames[:-1]], tmp_path / "a.jsonl")
    assert self_test.tracks_problem(shorter, 9) == "8 frames, not 9"
    swapped = tracks_of([header, frames[1], frames[0], *frames[2:]], tmp_path / "b.jsonl")
    assert self_test.tracks_problem(swapped, 9) == "frame 0 is numbered 1"
    late = [re.sub(r'"pts_seconds":[\d.]+', f'"pts_seconds":{0.04 * n:.3f}', line) for n, line in enumerate(frames)]
    assert self_test.tracks_problem(tracks_of([header, *late], tmp_path / "c.jsonl"), 9) == (
        "frame 1 is at 0.04 s, not at 0.033 s"
    )
    empty = [line.replace('"visible":true', '"visible":false') for line in frames]
    assert self_test.tracks_problem(tracks_of([header, *empty], tmp_path / "d.jsonl"), 9) == (
        "the puppet was not found in 9 of 9 frames"
    )


@pytest.mark.parametrize(
    ("numbers", "rate", "problem"),
    [
        ([0, 1, 2], 30, None),
        ([0, 1], 30, "2 frames, not 3"),
        ([0, 2, 1], 30, "frame 1 shows frame 2"),
        ([0, 1, 2], 25, "frame 1 is at 0.04 s, not at 0.033 s"),
    ],
)
def test_the_self_test_sees_a_wrong_overlay(numbers: list[int], rate: int, problem: str | None, tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    write_video(path, numbered(numbers), time_base=Fraction(1, rate))
    assert self_test.overlay_problem(path, 3) == problem


def numbered(numbers: list[int]) -> Iterator[np.ndarray]:
    for number in numbers:
        image = np.full((128, 256, 3), 90, np.uint8)
        burn_number(image, number)
        yield image


def cameras_at(tmp_path: Path, **names: str) -> tuple[Path, Path]:
    devices, about = tmp_path / "dev", tmp_path / "names"
    devices.mkdir()
    for node, name in names.items():
        os.mkfifo(devices / node)  # who opened it would hang
        (about / node).mkdir(parents=True)
        (about / node / "name").write_text(f"{name}\n")
        (about / node / "index").write_text("1" if name == "metadata" else "0")
    return devices, about


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="cameras are listed in another way there")
def test_cameras_are_named_without_being_opened(tmp_path: Path) -> None:
    devices, about = cameras_at(tmp_path, video10="Late", video0="Front camera", video1="metadata")
    found = probes.linux_cameras(devices, about)
    assert [(Path(finding.name).name, finding.text) for finding in found] == [
        ("video0", "Front camera"),
        ("video10", "Late"),
    ]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="cameras are listed in another way there")
def test_a_camera_that_this_user_may_not_open_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices, about = cameras_at(tmp_path, video0="Front camera")
    monkeypatch.setattr(os, "access", lambda *_: False)
    (finding,) = probes.linux_cameras(devices, about)
    assert (finding.state, "group video" in finding.text) == ("warning", True)


def test_no_camera_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "_DEVICES", tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    assert [finding.state for finding in probes.cameras()] == ["absent"]


def test_a_cache_that_cannot_be_used_is_a_warning_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (finding,) = probes.engine_cache()
    assert (finding.state, finding.data) == ("ok", {"engines": 0})
    assert list(tmp_path.iterdir()) == [], "looking leaves nothing"
    monkeypatch.setattr(os, "access", lambda *_: False)
    (finding,) = probes.engine_cache()
    assert (finding.state, "XDG_CACHE_HOME" in finding.text) == ("warning", True)


@pytest.mark.skipif(os.name != "posix", reason="modes are not kept there")
def test_a_cache_that_others_can_write_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "streamparts" / "engines").mkdir(parents=True)
    (tmp_path / "streamparts").chmod(0o777)
    (finding,) = probes.engine_cache()
    assert (finding.state, "other users can write there" in finding.text) == ("warning", True)


def test_a_package_that_is_missing_or_too_old_comes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"av": "13.1.0", "numpy": "2.1.0"}
    monkeypatch.setattr(packages, "installed", versions.get)
    assert packages.problem(Requirement("av>=14")) == "av is 13.1.0, but >=14 is required"
    assert packages.problem(Requirement("numpy>=2.0")) is None
    assert packages.problem(Requirement("gone")) == "without gone"
    finding = packages._core(Requirement("av>=14"))
    assert (finding.state, finding.text) == ("failed", "av is 13.1.0, but >=14 is required; pip install 'av>=14'")


def test_a_package_that_cannot_be_loaded_fails_with_its_own_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken_library.py").write_text("raise ImportError('libmagic.so.1: no such\\nfile')")
    monkeypatch.syspath_prepend(tmp_path)
    finding = packages._core(Requirement("broken_library>=1"))
    assert finding.state == "failed"
    assert finding.text == "cannot be loaded (libmagic.so.1: no such file); pip install 'broken_library>=1'"


def test_two_packages_that_overwrite_each_other_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    original = packages.installed
    monkeypatch.setattr(packages, "installed", lambda name: "1.2" if name == "opencv-python" else original(name))
    warned = [finding for finding in packages.versions() if finding.state == "warning"]
    assert [finding.name for finding in warned] == ["opencv-python"]
    assert "opencv-python-headless" in warned[0].text


def test_a_processor_is_read_as_linux_tells_it(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Some  CPU\nflags\t\t: fma avx2 avx_vnni\n")
    assert machine.processor_name(tmp_path) == "Some CPU"
    assert machine.processor_flags(tmp_path) == {"fma", "avx2", "avx_vnni"}
    assert machine._speeds("int8", machine.INT8, {"avx_vnni"}, "slow") == Finding("int8", "fast, with avx_vnni")
    assert machine._speeds("int8", machine.INT8, {"avx2"}, "slow").state == "absent"


def test_the_limits_of_a_container_are_seen(tmp_path: Path) -> None:
    assert machine.core_limit(tmp_path) is None
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "memory.max").write_text("2000000000\n")
    assert machine.core_limit(tmp_path) == 1.5
    assert machine.memory_limit(tmp_path) == 2_000_000_000
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.core_limit(tmp_path) is None
    assert machine.memory_limit(tmp_path) is None


def test_nvidia_cards_are_told_as_their_driver_tells_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\necho "NVIDIA H100 80GB HBM3, 570.86.15, 81559 MiB, 9.0"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert probes._nvidia_cards() == "NVIDIA H100 80GB HBM3, 81559 MiB, compute capability 9.0, driver 570.86.15"
