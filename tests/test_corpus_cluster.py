"""A corpus on a real Ray cluster of two nodes, started by the test on this machine."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ray = pytest.importorskip("ray", reason="Ray, of the extra `cluster`, is not installed")

from streamparts import run_corpus  # noqa: E402
from streamparts.corpus import ray_cluster  # noqa: E402
from streamparts.corpus.driver import CorpusProgress  # noqa: E402
from streamparts.corpus.ray_pool import RayPool, _reason  # noqa: E402
from streamparts.errors import MissingExtraError, StreampartsError  # noqa: E402
from tests.corpora import files_in, frame_numbers, manifest_lines  # noqa: E402
from tests.media import numbered_video  # noqa: E402

NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two nodes with a CPU each; all their processes end with the test."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    try:
        cluster.second = cluster.add_node(**NODE)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Ten videos, and how many frames each has, by path."""
    folder = tmp_path_factory.mktemp("corpus")
    counts = {}
    for base, num_frames in (("long", 1200), ("short", 900)):
        numbered_video(folder / f"{base}-0.mp4", num_frames, 48, 64)
        for number in range(5):
            path = folder / f"{base}-{number}.mp4"
            if number:
                shutil.copy(folder / f"{base}-0.mp4", path)
            counts[str(path)] = num_frames
    return counts


@pytest.mark.slow
def test_every_video_is_done_exactly_once_though_a_node_is_killed(
    tmp_path: Path, cluster: Any, corpus: dict[str, int], model_path: Path
) -> None:
    out, killed = tmp_path / "out", []

    def kill_once(progress: CorpusProgress) -> None:
        at_work = list(out.glob(".streamparts/work/*/*/tracks.jsonl"))
        if not killed and progress.done >= 2 and len(at_work) >= 2:
            killed.append(progress.done)
            cluster.remove_node(cluster.second, allow_graceful=False)

    results = run_corpus(
        list(corpus),
        model_path,
        out_dir=out,
        overlay=False,
        backend="onnxruntime",
        cluster=cluster.address,
        progress=kill_once,
    )
    assert killed and killed[0] < 10, "in the middle"
    assert [(result.status, result.frames) for result in results] == [("done", count) for count in corpus.values()]
    assert max(result.attempts for result in results) == 2, "of the video at which the node was killed"
    names = [f"{base}-{number}" for base in ("long", "short") for number in range(5)]
    assert sorted(line["name"] for line in manifest_lines(out)) == names
    assert {line["status"] for line in manifest_lines(out)} == {"done"}
    for name, count in zip(names, corpus.values(), strict=True):
        assert frame_numbers(out / f"{name}.tracks.jsonl") == list(range(count))
    assert files_in(out) == {"manifest.jsonl", *(f"{name}.tracks.jsonl" for name in names)}


@pytest.mark.slow
def test_what_no_machine_has_is_one_line(
    tmp_path: Path, cluster: Any, corpus: dict[str, int], model_path: Path
) -> None:
    """And a worker that cannot begin, on the machine that it was given, is another."""
    arguments = {"out_dir": tmp_path / "out", "overlay": False, "cluster": cluster.address}
    with pytest.raises(StreampartsError, match="7 CPUs and 0 GPUs for a video"):
        run_corpus(list(corpus), model_path, cpus_per_task=7, **arguments)
    ray.init(address=cluster.address, log_to_driver=False)
    with pytest.raises(StreampartsError, match="has 1 CPUs and 2 GPUs"):
        run_corpus(list(corpus), model_path, gpus_per_task=2, **arguments)
    assert ray.is_initialized(), "a connection of the caller's stays"
    with pytest.raises(StreampartsError, match=f"{platform.node()}: .*no CUDA driver or GPU here"):
        run_corpus(list(corpus), model_path, backend="tensorrt", **arguments)
    assert not files_in(tmp_path)


def test_a_machine_without_streamparts_is_named_as_such() -> None:
    """Ray gives a page of text; the line that counts is in the middle."""
    page = "The actor died.\n  File x, line 3\nModuleNotFoundError: No module named 'streamparts'\nmore"
    reason = _reason(RuntimeError(page))
    assert reason.startswith("ModuleNotFoundError: No module named 'streamparts'; install streamparts ")


@pytest.mark.slow
def test_auto_takes_what_is_named_or_was_started_here_and_answers(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not a cluster that some other run has started for itself."""
    said: list[str] = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_cluster, "_latest", lambda: None)
    assert ray_cluster._found(said.append) is None and "starting one for this run" in said[0]
    monkeypatch.setattr(ray_cluster, "_latest", lambda: "127.0.0.1:1")
    assert ray_cluster._found(said.append) is None, "one that is gone"
    monkeypatch.setattr(ray_cluster, "_latest", lambda: cluster.address)
    assert ray_cluster._found(said.append) == cluster.address
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.5:6379")
    assert ray_cluster._found(said.append) == "10.0.0.5:6379"
    assert len(said) == 2


@pytest.mark.slow
def test_auto_uses_the_cluster_that_ray_start_has_started_here(corpus: dict[str, int], model_path: Path) -> None:
    """A cluster that admits only clients with the token stored in the home folder."""
    with tempfile.TemporaryDirectory(prefix="r") as folder:  # a short path: Ray's sockets lie below it
        environment = {**os.environ, "HOME": folder, "RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0"}
        for name in ("RAY_ADDRESS", "RAY_AUTH_MODE"):
            environment.pop(name, None)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        words = ["--head", "--block", "--port", str(port), "--num-cpus", "1", "--include-dashboard", "false"]
        program = [sys.executable, "-m", "ray.scripts.scripts", "start", *words]
        with subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True) as started:
            assert started.stdout is not None
            try:
                assert any("Ray runtime started" in line for line in started.stdout)
                video = next(path for path, count in corpus.items() if count == 900)
                words = ["run", video, "--model", str(model_path), "--out-dir", f"{folder}/out", "--no-overlay"]
                command = [sys.executable, "-m", "streamparts", *words, "--cluster", "auto"]
                ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
                assert ended.returncode == 0, ended.stderr
                assert "starting one for this run" not in ended.stderr
                assert frame_numbers(next(Path(folder, "out").glob("*.tracks.jsonl"))) == list(range(900))
            finally:
                started.terminate()
                started.stdout.read()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:1", r"127\.0\.0\.1:1: no Ray cluster answers there .*Connection refused"),
        ("somewhere", "not the address of a Ray cluster; give auto, or HOST:PORT"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_line(
    tmp_path: Path, corpus: dict[str, int], model_path: Path, address: str, reason: str
) -> None:
    with pytest.raises(StreampartsError, match=reason):
        run_corpus(list(corpus), model_path, out_dir=tmp_path / "out", cluster=address)
    assert not files_in(tmp_path)


@pytest.mark.slow
def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'streamparts\[cluster\]'"):
        RayPool(None, "auto")  # type: ignore[arg-type]
