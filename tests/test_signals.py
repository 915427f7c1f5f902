"""Outputs of a run that is interrupted or killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import environment
from tests.media import decode, numbered_video, read_number

SLOWED = """
import sys, time
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.cli import main

run = OnnxRuntimeBackend.run
OnnxRuntimeBackend.run = lambda self, images: (time.sleep(0.01), run(self, images))[1]
sys.exit(main())
"""


def interrupted(folder: Path, model_path: Path, number: signal.Signals) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a run that gets a signal after 60 frames or so."""
    video = numbered_video(folder / "long.mp4", 1000, 48, 64)
    words = ["run", video, "--model", model_path, "--overlay", folder / "o.mp4", "--tracks", folder / "t.jsonl"]
    with subprocess.Popen(
        [sys.executable, "-c", SLOWED, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        deadline = time.monotonic() + 30
        while num_lines(folder / "t.jsonl") < 60 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    return process.returncode, out, err


def num_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def overlay_numbers(path: Path) -> list[int]:
    return [read_number(image) for image, _ in decode(path)]


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_with_complete_outputs(
    tmp_path: Path, model_path: Path, number: signal.Signals, code: int
) -> None:
    returned, out, err = interrupted(tmp_path, model_path, number)
    assert (returned, err) == (code, "")
    assert "interrupted" in out
    done = num_lines(tmp_path / "t.jsonl") - 1
    assert 59 <= done < 1000
    assert f"{done} frames in" in out
    assert overlay_numbers(tmp_path / "o.mp4") == list(range(done))


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_a_killed_run_leaves_readable_files(tmp_path: Path, model_path: Path) -> None:
    returned, _, _ = interrupted(tmp_path, model_path, signal.SIGKILL)
    assert returned == -signal.SIGKILL
    done = num_lines(tmp_path / "t.jsonl") - 1
    assert (tmp_path / "t.jsonl").read_bytes().endswith(b"\n")
    numbers = overlay_numbers(tmp_path / "o.mp4")
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= done - 30, "at most a second is lost"


SILENT = """
import sys, threading
from streamparts import cli, sources
from streamparts.runtime import job
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from tests.live import HandSource

WHAT = sys.argv.pop(1)

class Silent(HandSource):
    def __iter__(self):
        print("ready", flush=True)
        return super().__iter__()
    def __enter__(self):
        return self
    def __exit__(self, *_):
        self.close()

def hang(self, images):
    print("ready", flush=True)
    threading.Event().wait()

if WHAT == "source":
    sources.open_source = lambda *_, **__: Silent()
else:
    OnnxRuntimeBackend.run = hang
if WHAT == "patient":
    job.LOOP_SECONDS = job._LAST_SECONDS = 1e6
cli.command_line()
"""


def signalled(folder: Path, model_path: Path, what: str, numbers: list[signal.Signals]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a run that gets signals once its source or its network hangs."""
    video = numbered_video(folder / "v.mp4", 30, 48, 64)
    words = [what, "run", video, "--model", model_path, "--tracks", folder / "t.jsonl", "--backend", "onnxruntime"]
    with subprocess.Popen(
        [sys.executable, "-c", SILENT, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for number in numbers:
            process.send_signal(number)
        try:
            out, err = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            pytest.fail("the process should have ended two seconds after the signal, and hangs")
    return process.returncode, out, err


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_whose_source_never_gives_a_frame(
    tmp_path: Path, model_path: Path, number: signal.Signals, code: int
) -> None:
    returned, out, err = signalled(tmp_path, model_path, "source", [number])
    assert (returned, err) == (code, "")
    assert "0 frames in" in out
    assert num_lines(tmp_path / "t.jsonl") == 1


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_a_signal_ends_a_run_whose_network_hangs(tmp_path: Path, model_path: Path) -> None:
    returned, _, err = signalled(tmp_path, model_path, "network", [signal.SIGTERM])
    assert returned == 143
    assert "warning: the network did not" in err
    assert num_lines(tmp_path / "t.jsonl") == 1


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_a_second_signal_ends_the_process_at_once(tmp_path: Path, model_path: Path) -> None:
    returned, out, err = signalled(tmp_path, model_path, "patient", [signal.SIGINT, signal.SIGTERM])
    assert (returned, out, err) == (143, "", "")
