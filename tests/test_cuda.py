"""Real engines, built, executed and compared with the installed TensorRT: `pytest -m cuda` on a GPU."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from streamparts.backends.loading import load_model
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.backends.tensorrt.backend import TensorRtBackend
from streamparts.backends.tensorrt.build import build
from streamparts.backends.tensorrt.cuda import checked, load_cuda
from streamparts.backends.tensorrt.engines import engine_for, load_engine
from streamparts.backends.tensorrt.library import available, load_library
from streamparts.backends.tolerances import TOLERANCES
from streamparts.bundle.engine import BuildOptions
from streamparts.bundle.load import Bundle
from streamparts.errors import ModelError
from streamparts.parity.agreement import compare, in_each
from streamparts.parity.patterns import pattern_frames, plain_frames
from tests.conftest import ROOT

pytestmark = [pytest.mark.cuda]
MAX_BATCH = 8


@pytest.fixture(scope="module", autouse=True)
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Skips without a GPU; engines go into a cache of these tests' own."""
    load_library.cache_clear()
    if (reason := available()) is not None:
        pytest.skip(f"no GPU: engine not executed ({reason})")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return load_model("puppet-human")


@pytest.fixture(scope="module")
def frames(shipped: Bundle) -> np.ndarray:
    """Frames of the example video, and black and white ones."""
    pytest.importorskip("av", reason="PyAV is not installed")
    from streamparts.parity.sample_frames import sample_frames

    size = shipped.spec.input_hw
    return np.concatenate([sample_frames(ROOT / "examples" / "puppet.mp4", size, 32).images, plain_frames(size)])


@pytest.fixture(scope="module")
def backend(shipped: Bundle) -> Iterator[TensorRtBackend]:
    backend = TensorRtBackend(engine_for(shipped, options=BuildOptions(max_batch=MAX_BATCH)))
    yield backend
    backend.close()


def test_an_engine_says_what_the_model_says_in_every_batch_size(
    backend: TensorRtBackend, shipped: Bundle, frames: np.ndarray
) -> None:
    sizes = (*range(1, MAX_BATCH + 1), MAX_BATCH + 3)
    batches = in_each(len(frames), sizes)
    compared = compare(OnnxRuntimeBackend(shipped).run, backend.run, frames, shipped.spec, batches)
    assert compared.agreement().problem(TOLERANCES["fp32"]) is None


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_engines_of_low_precision_say_nearly_the_same(shipped: Bundle, frames: np.ndarray, precision: str) -> None:
    pytest.importorskip("streamparts.graph.precision", reason="streamparts.graph.precision is not there")
    calibration = frames if precision == "int8" else None
    engine = engine_for(shipped, precision, BuildOptions(max_batch=2), calibration)  # type: ignore[arg-type]
    assert engine.engine is not None and engine.engine.verified and engine.engine.precision == precision


def test_a_graph_replayed_a_thousand_times_gives_the_same_every_time(backend: TensorRtBackend, shipped: Bundle) -> None:
    images = pattern_frames(shipped.spec.input_hw, 2)
    first = [backend.run(image[None]) for image in images]
    for number in range(1000):
        again = backend.run(images[number % 2][None])
        assert all(np.array_equal(a, b) for a, b in zip(again[:3], first[number % 2][:3], strict=True))


def test_batches_under_way_at_once_do_not_mix(backend: TensorRtBackend, shipped: Bundle) -> None:
    images = pattern_frames(shipped.spec.input_hw, 64)
    wanted = [backend.run(image[None]).labels for image in images]
    got = []
    backend.submit(images[:1])
    for image in images[1:]:
        backend.submit(image[None])
        got.append(backend.collect().labels)
    got.append(backend.collect().labels)
    assert all(np.array_equal(a, b) for a, b in zip(got, wanted, strict=True))


def test_an_engine_file_is_written_and_loaded_again(shipped: Bundle, tmp_path: Path) -> None:
    built = build("puppet-human", tmp_path / "x.engine", options=BuildOptions(max_batch=1))
    assert built.bundle.engine is not None and built.bundle.engine.verified
    backend = TensorRtBackend(load_engine(built.path))
    images = pattern_frames(shipped.spec.input_hw, 1)
    difference = backend.run(images).labels != OnnxRuntimeBackend(shipped).run(images).labels
    assert difference.mean() < 1e-3
    backend.close()


def test_a_damaged_plan_is_an_error_of_one_line(shipped: Bundle) -> None:
    from dataclasses import replace

    engine = engine_for(shipped, options=BuildOptions(max_batch=MAX_BATCH))
    for data in (b"", engine.data[: len(engine.data) // 2], b"no engine" * 1000):
        with pytest.raises(ModelError) as caught:
            TensorRtBackend(replace(engine, data=data))
        assert "\n" not in str(caught.value)


def test_backends_opened_and_closed_leave_no_memory_behind(shipped: Bundle) -> None:
    cuda = load_cuda()
    engine = engine_for(shipped, options=BuildOptions(max_batch=MAX_BATCH))
    images = pattern_frames(shipped.spec.input_hw, MAX_BATCH)

    def once() -> int:
        backend = TensorRtBackend(engine)
        backend.run(images)
        backend.close()
        del backend
        gc.collect()
        return int(checked(cuda, cuda.cudaMemGetInfo())[0])

    for _ in range(3):
        once()
    before = once()
    for _ in range(10):
        after = once()
    assert before - after < 8 << 20
