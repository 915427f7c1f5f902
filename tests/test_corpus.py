"""A corpus processed by local processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from streamparts import __version__, load_model, run_corpus
from streamparts.corpus.driver import CorpusProgress
from streamparts.corpus.options import CorpusOptions, Settings
from streamparts.corpus.places import TOKEN, LocalFolder, token_file
from streamparts.corpus.pool import LocalPool
from streamparts.errors import ModelError, StreampartsError, VideoError
from tests.conftest import environment
from tests.corpora import NAMES, files_in, frame_numbers, manifest_lines, write_corpus
from tests.media import decode, numbered_video, read_number

pytestmark = pytest.mark.usefixtures("no_threads_left")

QUICK = {"backend": "onnxruntime", "overlay": False}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_corpus(tmp_path_factory.mktemp("corpus"))
    (folder / "b" / "broken.mp4").write_text("no video")
    return folder


def test_every_video_is_done_by_processes_and_a_broken_one_stops_no_other(
    tmp_path: Path, corpus: Path, model_path: Path
) -> None:
    seen: list[CorpusProgress] = []
    results = run_corpus(
        f"{corpus}/**/*.mp4", model_path, out_dir=tmp_path, workers=2, backend="onnxruntime", progress=seen.append
    )
    assert [(result.name, result.status, result.frames) for result in results] == [
        ("a/x", "done", 8),
        ("a/y", "done", 9),
        ("b/broken", "failed", 0),
        ("b/x", "done", 10),
    ]
    broken = results[2]
    assert broken.error is not None and "not a readable video file" in broken.error
    assert broken.attempts == 1, "another attempt would not help"
    for name, count in zip(NAMES, (8, 9, 10), strict=True):
        assert frame_numbers(tmp_path / f"{name}.tracks.jsonl") == list(range(count))
        assert [read_number(image) for image, _ in decode(tmp_path / f"{name}.overlay.mp4")] == list(range(count))
    wanted = {f"{name}.{kind}" for name in NAMES for kind in ("overlay.mp4", "tracks.jsonl")}
    assert files_in(tmp_path) == {*wanted, "manifest.jsonl"}, "nothing half done is left"
    assert not (tmp_path / ".streamparts").exists()
    assert seen[-1].total == 4 and (seen[-1].done, seen[-1].failed, seen[-1].frames) == (3, 1, 27)


def test_videos_of_too_many_pixels_fail_and_pass_with_a_higher_limit(
    tmp_path: Path, corpus: Path, model_path: Path
) -> None:
    (refused,) = run_corpus(corpus / "a" / "x.mp4", model_path, out_dir=tmp_path, workers=1, max_pixels=10, **QUICK)
    assert refused.status == "failed" and refused.error is not None and "--max-pixels" in refused.error
    assert refused.attempts == 1, "another attempt would not help"
    (done,) = run_corpus(corpus / "a" / "x.mp4", model_path, out_dir=tmp_path, workers=1, **QUICK)
    assert (done.status, done.frames) == ("done", 8)
    with pytest.raises(ValueError, match=r"max_pixels.*0"):
        run_corpus(corpus / "a" / "x.mp4", model_path, out_dir=tmp_path, max_pixels=0, **QUICK)


def test_the_outputs_are_those_of_a_plain_run(tmp_path: Path, corpus: Path, model_path: Path) -> None:
    from streamparts import run

    run(corpus / "a" / "x.mp4", model_path, tracks=tmp_path / "alone.jsonl", masks=True, backend="onnxruntime")
    run_corpus(corpus / "a" / "x.mp4", model_path, out_dir=tmp_path, masks=True, **QUICK)
    assert (tmp_path / "x.tracks.jsonl").read_bytes() == (tmp_path / "alone.jsonl").read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in Linux's /proc")
def test_a_worker_that_is_killed_costs_nothing_but_an_attempt(tmp_path: Path, model_path: Path) -> None:
    """Whoever works on the long video is killed at its first frames, once."""
    write_corpus(tmp_path / "in")
    numbered_video(tmp_path / "in" / "long.mp4", 3000, 48, 64)
    out, killed = tmp_path / "out", threading.Event()

    def kill_once(progress: CorpusProgress) -> None:
        if not killed.is_set() and list(out.glob(".streamparts/work/*/*/tracks.jsonl")):
            killed.set()
            for pid in worker_pids():
                os.kill(pid, signal.SIGKILL)

    results = run_corpus(tmp_path / "in", model_path, out_dir=out, workers=1, progress=kill_once, **QUICK)
    assert killed.is_set()
    assert [result.status for result in results] == ["done"] * 4
    long = next(result for result in results if result.name == "long")
    assert long.attempts == 2
    assert frame_numbers(out / "long.tracks.jsonl") == list(range(3000))
    assert sorted(line["name"] for line in manifest_lines(out)) == [*NAMES, "long"]


def worker_pids() -> list[int]:
    """Workers that this process has started. From Linux's /proc: a bare machine has no `ps`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"streamparts.corpus.worker" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def test_a_video_that_kills_every_worker_fails_and_the_others_do_not(
    tmp_path: Path, corpus: Path, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sitecustomize makes every process of this test die at the sight of one file."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import os, sys\n"
        "sys.addaudithook(lambda event, args: event == 'open' and 'a/y.mp4' in str(args[0]) "
        "and 'worker' in ' '.join(sys.orig_argv) and os._exit(7))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    out = tmp_path / "out"
    results = run_corpus(f"{corpus}/*/?.mp4", model_path, out_dir=out, workers=1, retries=1, **QUICK)
    assert {result.name: (result.status, result.attempts) for result in results} == {
        "a/x": ("done", 1),
        "a/y": ("failed", 2),
        "b/x": ("done", 1),
    }
    assert results[1].error == "its worker process ended with code 7"


def test_what_no_worker_can_do_ends_the_run_with_one_error(tmp_path: Path, corpus: Path, model_path: Path) -> None:
    with pytest.raises(StreampartsError, match="'h264_nonsense'"):
        run_corpus(corpus / "a", model_path, out_dir=tmp_path, encoder="h264_nonsense")
    with pytest.raises(ModelError, match=r"such.*model"):
        run_corpus(corpus / "a", tmp_path / "none.onnx", out_dir=tmp_path)
    assert files_in(tmp_path) == set()


def test_workers_that_cannot_start_end_the_run(
    tmp_path: Path, corpus: Path, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'worker' in ' '.join(sys.orig_argv): sys.stderr.write('no memory\\n'); os._exit(1)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(StreampartsError, match=r"workers .* code 1: no memory"):
        run_corpus(corpus / "a", model_path, out_dir=tmp_path / "out", **QUICK)


@pytest.mark.slow
def test_setting_stop_ends_it_and_the_next_run_goes_on(tmp_path: Path, model_path: Path) -> None:
    write_corpus(tmp_path / "in", ("first", "second"))
    numbered_video(tmp_path / "in" / "long.mp4", 3000, 48, 64)
    out, stop = tmp_path / "out", threading.Event()

    def stop_on_the_way(progress: CorpusProgress) -> None:
        if any(path.stat().st_size > 50_000 for path in out.glob(".streamparts/work/*/*/tracks.jsonl")):
            stop.set()

    arguments = {"out_dir": out, "workers": 1, **QUICK}
    results = run_corpus(tmp_path / "in", model_path, stop=stop, progress=stop_on_the_way, **arguments)
    assert [result.status for result in results] == ["interrupted"] * 3
    assert [path.name for path in out.iterdir()] == [".streamparts"] or not manifest_lines(out)
    again = {result.name: result for result in run_corpus(tmp_path / "in", model_path, **arguments)}
    assert {result.status for result in again.values()} == {"done"}
    assert again["long"].resumed_at is not None and again["long"].resumed_at > 0
    assert again["first"].resumed_at is None
    assert frame_numbers(out / "long.tracks.jsonl") == list(range(3000))
    assert not (out / ".streamparts").exists()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in Linux's /proc")
def test_stop_while_the_workers_still_load_ends_them(tmp_path: Path, corpus: Path, model_path: Path) -> None:
    stop, seen = threading.Event(), []

    def stop_at_once(progress: CorpusProgress) -> None:
        seen.append(worker_pids())
        stop.set()

    arguments = {"out_dir": tmp_path / "out", "workers": 2, **QUICK}
    results = run_corpus(corpus, model_path, stop=stop, progress=stop_at_once, **arguments)
    assert {result.status for result in results} == {"interrupted"}
    assert len(seen[0]) == 2 and worker_pids() == []
    assert not (tmp_path / "out" / ".streamparts").exists()


def test_workers_take_turns_with_the_gpus(tmp_path: Path, model_path: Path) -> None:
    """A restarted worker replaces the lost one."""
    LocalFolder(tmp_path).write(TOKEN, token_file("token", "this test", 0))
    settings = Settings(load_model(model_path), CorpusOptions(), "onnxruntime", 1, str(tmp_path), "token", __version__)
    pool = LocalPool(settings, 4, ("2", "5"))
    try:
        pool.want(4)
        first = {int(worker.device or 0): worker for worker in pool._workers}
        assert [worker.device for worker in pool._workers] == ["2", "5", "2", "5"]
        first[2].popen.kill()
        while first[2] in pool._workers:
            pool.wait(0.1)
        pool.want(4)
        assert [worker.device for worker in pool._workers].count("2") == 2
    finally:
        pool.close()


DRIVER = """
import sys
from streamparts import __version__, load_model, run_corpus
run_corpus(sys.argv[1], sys.argv[2], out_dir=sys.argv[3], workers=2, backend="onnxruntime", overlay=False)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in Linux's /proc")
def test_a_driver_that_is_killed_takes_its_workers_along_and_the_next_one_goes_on(
    tmp_path: Path, model_path: Path
) -> None:
    """The program has no `if __name__ == "__main__"`."""
    write_corpus(tmp_path / "in", tuple(f"v{number}" for number in range(6)), 40)
    numbered_video(tmp_path / "in" / "long.mp4", 3000, 48, 64)
    out, script = tmp_path / "out", tmp_path / "driver.py"
    script.write_text(DRIVER)
    words = [sys.executable, str(script), str(tmp_path / "in"), str(model_path), str(out)]
    with subprocess.Popen(words, env=environment()) as driver:
        wait_until(lambda: (out / "manifest.jsonl").exists() and len(manifest_lines(out)) >= 2)
        with pytest.raises(VideoError, match=rf"\(process {driver.pid} on"):
            run_corpus(tmp_path / "in", model_path, out_dir=out, **QUICK)
        driver.kill()
    before = {line["name"]: line for line in manifest_lines(out)}
    assert set(before) and all(line["status"] == "done" for line in before.values())
    results = run_corpus(tmp_path / "in", model_path, out_dir=out, workers=2, **QUICK)
    assert {result.name for result in results if result.status == "skipped"} == set(before)
    assert {result.status for result in results} <= {"done", "skipped"}
    assert len(manifest_lines(out)) == 7
    assert frame_numbers(out / "long.tracks.jsonl") == list(range(3000))
    assert [frame_numbers(out / f"v{number}.tracks.jsonl") for number in range(6)] == [
        list(range(40 + number)) for number in range(6)
    ]


def wait_until(condition: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)
