"""Fixtures that several test files share."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from streamparts.backends.loading import load_model
from streamparts.bundle.load import Bundle
from tests.fake_cuda import FakeCuda
from tests.fake_tensorrt import FakeGpu, fake_tensorrt
from tests.media import numbered_video
from tests.tiny_model import write_tiny_model

ROOT = Path(__file__).parent.parent
REAL_VIDEOS = ROOT.parent / "shared" / "data" / "decoder"


COSTLY = ("test_docs.py", "test_backends.py", "test_examples.py", "test_cli.py", "test_scops_network.py")
"""Files whose quick tests alone take ten processor seconds or more."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Costly files, and those with slow tests, come first, so that none of them is the last to be begun on several
    cores."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.name not in COSTLY, item.path not in slow))


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session")
def bundle(model_path: Path) -> Bundle:
    return load_model(model_path)


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 numbered frames, 128x96, 30 per second."""
    return numbered_video(tmp_path_factory.mktemp("video") / "numbered.mp4", 40)


@pytest.fixture(scope="session")
def puppet_tracks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tracks with masks of the first twelve frames of the example puppet, from its model."""
    from streamparts.runtime.stream import run
    from streamparts.sources import open_source
    from streamparts.sources.trim import trimmed

    path = tmp_path_factory.mktemp("puppet") / "puppet.jsonl"
    run(trimmed(open_source(ROOT / "examples" / "puppet.mp4"), end=0.39), "puppet-human", tracks=path, masks=True)
    return path


@pytest.fixture(scope="session")
def real_videos() -> Path:
    """Folder of awkward videos from the wild, see its README."""
    if not REAL_VIDEOS.is_dir():
        pytest.skip("the real videos are not here: ../shared/data/decoder is missing")
    return REAL_VIDEOS


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is remembered from the user's own runs, or for them."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def no_threads_left() -> Iterator[None]:
    """Fails the test if a thread of the library outlives it."""
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("streamparts")]
    assert left == []


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python -m streamparts ...` in a separate process."""

    def run(*args: object, **options: object) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "streamparts", *map(str, args)]
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            words, capture_output=True, text=True, timeout=60, cwd=options.pop("cwd", ROOT), env=environment()
        )

    return run


def environment() -> dict[str, str]:
    """The environment of a child process that finds this checkout from any folder."""
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def fake_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGpu]:
    """A made-up GPU with a made-up TensorRT, and an engine cache of this test's own."""
    from streamparts.backends.tensorrt.library import load_library

    gpu = FakeGpu(FakeCuda())
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt(gpu))
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(runtime=gpu.cuda))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    load_library.cache_clear()
    yield gpu
    load_library.cache_clear()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """tiny.onnx in a folder of this test's own."""
    return write_tiny_model(tmp_path / "tiny.onnx")


@pytest.fixture
def built(model: Path, fake_gpu: FakeGpu) -> Path:
    """tiny.engine beside tiny.onnx, built here."""
    from streamparts.backends.tensorrt.build import build

    return build(model, model.with_suffix(".engine")).path
