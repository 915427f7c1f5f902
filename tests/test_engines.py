"""Engine files: permission to load them, and rebuilding. The GPU is fake."""

import logging
import os
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from streamparts.backends.loading import load_model
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.backends.tensorrt.backend import TensorRtBackend
from streamparts.backends.tensorrt.build import build
from streamparts.backends.tensorrt.engines import load_engine
from streamparts.backends.tensorrt.info import Machine, encode_info, mismatch, read_info, sidecar_path, this_machine
from streamparts.bundle.engine import BuildOptions, EngineInfo
from streamparts.errors import ModelError
from streamparts.parity.patterns import pattern_frames
from tests.fake_tensorrt import FakeGpu
from tests.tiny_model import write_tiny_model

posix_only = pytest.mark.skipif(os.name != "posix", reason="modes and links of POSIX")


def forget(fake_gpu: FakeGpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if another user had built the engines."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))


def one_line(error: pytest.ExceptionInfo[ModelError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def edit_info(engine: Path, **changes: object) -> EngineInfo:
    info = msgspec.structs.replace(read_info(engine), **changes)
    sidecar_path(engine).write_bytes(encode_info(info))
    return info


def test_an_engine_that_was_built_here_is_loaded_with_its_description(built: Path, model: Path) -> None:
    engine = load_model(built)
    assert engine.engine == read_info(built)
    assert engine.spec == load_model(model).spec
    assert engine.data == built.read_bytes(), "a plain plan, nothing put before it"
    info = engine.engine
    assert info is not None and info.verified and info.agreement is not None
    assert (info.library, info.library_version, info.gpu) == ("tensorrt", "10.99.0", "Fake GPU")
    assert (info.compute_capability, info.cuda_version, info.precision) == ("9.0", "13.2", "fp32")
    assert info.onnx_sha256 == load_model(model).sha256


def test_an_engine_gives_what_its_model_gives(built: Path, model: Path) -> None:
    images = pattern_frames((64, 64), 11)
    backend = TensorRtBackend(load_engine(built))
    wanted = OnnxRuntimeBackend(load_model(model)).run(images)
    assert all(np.array_equal(a, b) for a, b in zip(backend.run(images)[:3], wanted[:3], strict=True))
    backend.close()


def test_a_foreign_engine_is_refused_until_the_user_vouches_for_it(
    built: Path, fake_gpu: FakeGpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(fake_gpu, tmp_path, monkeypatch)
    with pytest.raises(ModelError, match=r"executable code.*--trust-engine") as caught:
        load_model(built)
    one_line(caught)
    assert load_model(built, trust_engine=True).engine is not None
    with pytest.raises(ModelError, match="--trust-engine"):
        load_model(built)  # trust holds for one run


def test_an_engine_whose_bytes_changed_is_not_loaded_even_when_trusted(built: Path) -> None:
    plan = bytearray(built.read_bytes())
    plan[len(plan) // 2] ^= 1
    for changed in (bytes(plan), bytes(plan[: len(plan) // 2]), b"", plan + b"more"):
        built.write_bytes(changed)
        for trust in (False, True):
            with pytest.raises(ModelError, match=r"truncated.*replaced") as caught:
                load_engine(built, trust)
            one_line(caught)


def test_a_foreign_plan_with_a_fitting_sidecar_is_refused(built: Path) -> None:
    import hashlib

    foreign = built.read_bytes() + b"payload"
    built.write_bytes(foreign)
    edit_info(built, plan_sha256=hashlib.sha256(foreign).hexdigest())
    with pytest.raises(ModelError, match="--trust-engine"):
        load_engine(built)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not the description of an engine"),
        (b"{", "not the description of an engine"),
        (b"[]", "not the description of an engine"),
        (b"[" * 100_000, "not the description of an engine"),
        (b" " * 2_000_000, "far too large"),
        (b"\xff\xfe", "not the description of an engine"),
    ],
)
def test_a_damaged_sidecar_is_refused_in_one_line(built: Path, text: bytes, reason: str) -> None:
    sidecar_path(built).write_bytes(text)
    with pytest.raises(ModelError, match=reason) as caught:
        load_engine(built, trust=True)
    assert len(one_line(caught)) < 600


@pytest.mark.parametrize(
    "change",
    [{"schema": "streamparts.engine/9"}, {"surprise": 1}, {"precision": "fp8"}, {"library": "other"}],
)
def test_a_sidecar_of_another_kind_is_refused(built: Path, change: dict[str, object]) -> None:
    values = msgspec.json.decode(sidecar_path(built).read_bytes())
    sidecar_path(built).write_bytes(msgspec.json.encode({**values, **change}))
    with pytest.raises(ModelError, match=str(next(iter(change)))):
        load_engine(built, trust=True)


def test_random_damage_to_a_sidecar_is_an_error_of_one_line_or_none(built: Path) -> None:
    sound = sidecar_path(built).read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        data = bytearray(sound)
        for place in rng.integers(0, len(data), rng.integers(1, 6)):
            data[place] = rng.integers(0, 256)
        sidecar_path(built).write_bytes(bytes(data[: rng.integers(1, len(data) + 1)]))
        try:
            read_info(built)
        except ModelError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 200


def test_an_engine_without_its_sidecar_is_refused(built: Path) -> None:
    sidecar_path(built).unlink()
    with pytest.raises(ModelError, match=r"tiny\.engine\.json"):
        load_engine(built, trust=True)


def test_a_missing_engine_is_refused(built: Path) -> None:
    built.unlink()
    with pytest.raises(ModelError, match=r"tiny\.engine: "):
        load_engine(built)


def test_an_engine_of_another_version_is_built_again_from_the_model_beside_it(
    built: Path, fake_gpu: FakeGpu, caplog: pytest.LogCaptureFixture
) -> None:
    edit_info(built, library_version="9.0.1")
    for _ in range(2):
        with caplog.at_level(logging.WARNING):
            engine = load_engine(built)
        assert engine.engine is not None and engine.engine.library_version == "10.99.0"
    assert fake_gpu.num_builds == 2, "once for the file, once for the cache"
    assert "built with tensorrt 9.0.1 for Fake GPU (9.0), but this machine has tensorrt 10.99.0" in caplog.text
    assert all("\n" not in record.getMessage() for record in caplog.records)
    assert read_info(built).library_version == "9.0.1", "the file is the user's"


def test_an_engine_of_another_gpu_is_built_again_with_its_own_options(
    model: Path, fake_gpu: FakeGpu, tmp_path: Path
) -> None:
    path = build(model, tmp_path / "tiny.engine", options=BuildOptions(max_batch=3, opt_batch=2)).path
    fake_gpu.cuda.name, fake_gpu.cuda.capability = "Other GPU", (8, 0)
    engine = load_engine(path)
    assert engine.engine is not None and engine.engine.gpu == "Other GPU"
    assert [shape[0] for shape in fake_gpu.profile] == [1, 2, 3]


@pytest.mark.parametrize("beside", ["nothing", "another model"])
def test_a_mismatch_without_the_very_model_says_which_versions_and_what_to_do(
    built: Path, model: Path, fake_gpu: FakeGpu, beside: str
) -> None:
    edit_info(built, library_version="9.0.1")
    model.unlink()
    if beside == "another model":
        write_tiny_model(model, (32, 32))
    with pytest.raises(ModelError, match=r"tensorrt 9\.0\.1 .*10\.99\.0.*tiny\.onnx.*streamparts build") as caught:
        load_engine(built, trust=True)
    one_line(caught)


def test_an_int8_engine_of_another_gpu_asks_for_frames(built: Path, fake_gpu: FakeGpu) -> None:
    edit_info(built, precision="int8", gpu="Other GPU")
    with pytest.raises(ModelError, match=r"--precision int8 --calibrate VIDEO.FOLDER --force"):
        load_engine(built)


def info_of(built: Path, **options: object) -> EngineInfo:
    info = read_info(built)
    fields = {name: value for name, value in options.items() if hasattr(info.options, name)}
    rest = {name: value for name, value in options.items() if name not in fields}
    return msgspec.structs.replace(info, options=replace(info.options, **fields), **rest)


@pytest.mark.parametrize(
    ("changes", "version", "capability", "fits"),
    [
        ({}, "10.99.0", (9, 0), True),
        ({}, "10.99.1", (9, 0), False),
        ({"gpu": "Older GPU"}, "10.99.0", (9, 0), False),
        ({"version_compatible": True, "library_version": "10.13.0"}, "10.99.0", (9, 0), True),
        ({"version_compatible": True, "library_version": "10.99.1"}, "10.99.0", (9, 0), False),
        ({"version_compatible": True}, "11.4.0", (9, 0), False),
        ({"hardware_compatible": True, "gpu": "Older GPU", "compute_capability": "8.0"}, "10.99.0", (9, 0), True),
        ({"hardware_compatible": True}, "10.99.0", (7, 5), False),
        ({"hardware_compatible": True}, "10.99.0", (12, 0), True),
        ({"library": "tensorrt_rtx"}, "10.99.0", (9, 0), False),
        ({"targets": ("sm80", "sm120"), "gpu": "", "compute_capability": ""}, "10.99.0", (12, 0), True),
        ({"targets": ("sm80", "sm120"), "gpu": "", "compute_capability": ""}, "10.99.0", (9, 0), False),
    ],
)
def test_an_engine_fits_its_version_and_gpu_unless_it_was_built_for_more(
    built: Path, fake_gpu: FakeGpu, changes: dict[str, object], version: str, capability: tuple[int, int], fits: bool
) -> None:
    machine = this_machine("tiny")
    module = type("Module", (), {"__version__": version})
    gpu = replace(machine.gpu, compute_capability=f"{capability[0]}.{capability[1]}")
    there = Machine(replace(machine.library, module=module), gpu)
    assert (mismatch(info_of(built, **changes), there) is None) is fits


def test_without_a_gpu_an_engine_is_not_touched(built: Path, fake_gpu: FakeGpu) -> None:
    made = fake_gpu.num_runtimes
    fake_gpu.cuda.num_gpus = 0
    with pytest.raises(ModelError, match=r"CUDA.*--model .*\.onnx"):
        load_engine(built, trust=True)
    assert fake_gpu.num_runtimes == made


def test_an_engine_built_without_a_gpu_is_compared_at_its_first_load(
    built: Path, fake_gpu: FakeGpu, caplog: pytest.LogCaptureFixture
) -> None:
    edit_info(built, verified=False, agreement=None)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            engine = load_engine(built)
            assert engine.engine is not None and engine.engine.verified
    assert caplog.text.count("was built without a GPU; comparing it") == 1


def test_an_engine_built_without_a_gpu_that_is_wrong_is_never_used(built: Path, fake_gpu: FakeGpu) -> None:
    edit_info(built, verified=False)
    fake_gpu.spoil = lambda outputs: outputs.update(affines=outputs["affines"] + 1)
    for _ in range(2):
        with pytest.raises(ModelError, match=r"differs.*model"):
            load_engine(built)


def test_an_engine_built_without_a_gpu_needs_its_model_for_the_comparison(
    built: Path, model: Path, fake_gpu: FakeGpu
) -> None:
    edit_info(built, verified=False)
    model.unlink()
    with pytest.raises(ModelError, match=r"verified.*tiny\.onnx"):
        load_engine(built)
