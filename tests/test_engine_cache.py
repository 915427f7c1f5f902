"""The cache of engines: builds, trust, and inputs of the builder. The GPU is fake."""

import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from streamparts.backends.loading import load_model
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.backends.tensorrt.build import build
from streamparts.backends.tensorrt.cache import EngineCache, cache_folder
from streamparts.backends.tensorrt.engines import cache_key, engine_for, load_engine, save_engine
from streamparts.backends.tensorrt.info import sidecar_path, this_machine
from streamparts.backends.tensorrt.make import Request, make_engine
from streamparts.bundle.engine import BuildOptions
from streamparts.bundle.load import Bundle
from streamparts.bundle.metadata import with_metadata
from streamparts.errors import ModelError
from streamparts.graph.byte_casts import cast_bytes_last
from streamparts.naming.names import store_names
from streamparts.parity.patterns import pattern_frames
from tests.conftest import ROOT
from tests.fake_tensorrt import FakeGpu

posix_only = pytest.mark.skipif(os.name != "posix", reason="modes and links of POSIX")


def one_line(error: pytest.ExceptionInfo[ModelError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_model_is_built_once_and_then_comes_from_the_cache(bundle: Bundle, fake_gpu: FakeGpu) -> None:
    first, second = engine_for(bundle), engine_for(bundle)
    assert fake_gpu.num_builds == 1
    assert first == second
    assert first.path == bundle.path and first.engine is not None and first.engine.verified


def test_new_names_need_no_new_engine(bundle: Bundle, fake_gpu: FakeGpu, tmp_path: Path) -> None:
    before = engine_for(bundle)
    path, spec = store_names(bundle.path, {0: "crimson"}, output=tmp_path / "named.onnx")
    named = load_model(path)
    engine = engine_for(named)
    assert fake_gpu.num_builds == 1
    assert (engine.data, engine.sha256) == (before.data, before.sha256)
    assert engine.spec == spec and engine.spec.parts[0] == "crimson"
    assert engine.engine is not None and engine.engine.model == spec and engine.engine.onnx_sha256 == named.sha256


def test_the_cache_knows_models_versions_gpus_precisions_profiles_and_options_apart(
    bundle: Bundle, fake_gpu: FakeGpu
) -> None:
    machine = this_machine("tiny")
    frames = pattern_frames((64, 64), 2)
    requests = [
        Request(bundle, "fp32", BuildOptions()),
        Request(replace(bundle, data=with_metadata(bundle.data, "other", "network")), "fp32", BuildOptions()),
        Request(bundle, "fp16", BuildOptions()),
        Request(bundle, "int8", BuildOptions(), frames),
        Request(bundle, "int8", BuildOptions(), frames[:1]),
        Request(bundle, "fp32", BuildOptions(max_batch=9)),
        Request(bundle, "fp32", BuildOptions(opt_batch=2)),
        Request(bundle, "fp32", BuildOptions(workspace_mib=64)),
        Request(bundle, "fp32", BuildOptions(version_compatible=True)),
        Request(bundle, "fp32", BuildOptions(hardware_compatible=True)),
        Request(bundle, "fp32", BuildOptions(targets=("sm80",))),
    ]
    module = type("Module", (), {"__version__": "10.99.1"})
    machines = [
        replace(machine, library=replace(machine.library, module=module)),
        replace(machine, library=replace(machine.library, name="tensorrt_rtx")),
        replace(machine, gpu=replace(machine.gpu, name="Other GPU")),
        replace(machine, gpu=replace(machine.gpu, compute_capability="8.0")),
    ]
    keys = [cache_key(request, machine) for request in requests] + [cache_key(requests[0], m) for m in machines]
    assert len(set(keys)) == len(keys)
    newer_driver = replace(machine, gpu=replace(machine.gpu, driver_cuda="13.9"))
    assert cache_key(requests[0], newer_driver) == keys[0]


@pytest.mark.parametrize("what", ["engine", "sidecar", "record", "truncated"])
def test_a_damaged_cache_is_built_over(bundle: Bundle, fake_gpu: FakeGpu, what: str) -> None:
    engine_for(bundle)
    (path,) = cache_folder().glob("*.engine")
    match what:
        case "engine":
            path.write_bytes(path.read_bytes() + b"more")
        case "sidecar":
            sidecar_path(path).write_bytes(b"{")
        case "record":
            next(cache_folder().glob("*.built")).unlink()
        case "truncated":
            path.write_bytes(path.read_bytes()[:-10])
    assert engine_for(bundle).engine is not None
    assert fake_gpu.num_builds == 2


def test_an_engine_that_says_something_else_is_neither_cached_nor_written(
    bundle: Bundle, model: Path, fake_gpu: FakeGpu, tmp_path: Path
) -> None:
    fake_gpu.spoil = lambda outputs: outputs.update(labels=np.zeros_like(outputs["labels"]))
    with pytest.raises(ModelError, match=r"on 18.*nothing was written"):
        engine_for(bundle)
    assert not list(cache_folder().glob("*.engine")) and not list(cache_folder().glob("*.built"))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ModelError, match=r"x\.worst\.png .* \d+$") as caught:
        build(model, out / "x.engine")
    one_line(caught)
    assert [path.name for path in out.iterdir()] == ["x.worst.png"]
    picture = cv2.imread(str(out / "x.worst.png"))
    assert picture.shape == (3 * 64, 3 * 3 * 64, 3)
    assert len(np.unique(picture[:, 192:384].reshape(-1, 3), axis=0)) > 1, "the model's labels"
    assert len(np.unique(picture[:, 384:].reshape(-1, 3), axis=0)) == 1, "the engine's, all background"
    with pytest.raises(ModelError):
        build(model, out / "x.engine", report=out / "r.json")
    report = msgspec.json.decode((out / "r.json").read_bytes())
    assert report["engine"] is None and report["agreement"]["worst_labels"] < 0.999
    assert sorted(path.name for path in out.iterdir()) == ["r.json", "x.worst.png"]


@pytest.mark.parametrize("spoiled", ["affines", "scores", "nan"])
def test_poses_and_scores_are_compared_too(bundle: Bundle, fake_gpu: FakeGpu, spoiled: str) -> None:
    def spoil(outputs: dict[str, np.ndarray]) -> None:
        name = "affines" if spoiled == "nan" else spoiled
        outputs[name] = outputs[name] + np.float32("nan" if spoiled == "nan" else 0.01)

    fake_gpu.spoil = spoil
    with pytest.raises(ModelError, match=r"differs.*model"):
        engine_for(bundle)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("parse", r"problem 0 \(node node0, Unique\); problem 1 \(node node1, Unique\)"),
        ("build", "cannot build an engine: no kernel fits"),
    ],
)
def test_what_tensorrt_says_of_a_graph_is_told_in_one_line(
    bundle: Bundle, fake_gpu: FakeGpu, failure: str, reason: str
) -> None:
    fake_gpu.fails.add(failure)
    with pytest.raises(ModelError, match=reason) as caught:
        engine_for(bundle)
    one_line(caught)


def test_options_reach_the_builder(bundle: Bundle, fake_gpu: FakeGpu) -> None:
    options = BuildOptions(max_batch=5, opt_batch=2, workspace_mib=64, version_compatible=True)
    make_engine(Request(bundle, "fp32", options), this_machine("tiny"))
    assert fake_gpu.flags == ["no tf32", ("workspace", 64 << 20), "version compatible"]
    assert fake_gpu.profile == tuple((batch, 64, 64, 3) for batch in (1, 2, 5))


def test_kernel_timings_are_kept_between_builds_unless_of_another_gpu(bundle: Bundle, fake_gpu: FakeGpu) -> None:
    for max_batch in (1, 2):
        engine_for(bundle, options=BuildOptions(max_batch=max_batch))
    assert fake_gpu.timing_caches == [b"", b"timed;"]
    (kept,) = cache_folder().glob("timing-*")
    assert kept.read_bytes() == b"timed;timed;"
    kept.write_bytes(b"other GPU")
    engine_for(bundle, options=BuildOptions(max_batch=3))
    assert fake_gpu.timing_caches[2:] == [b"other GPU", b""]
    assert kept.read_bytes() == b"timed;"


@posix_only
def test_the_cache_is_for_this_user_alone(built: Path, bundle: Bundle) -> None:
    engine_for(bundle)
    folder = cache_folder()
    for path in (folder.parent, folder):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert len(list(folder.iterdir())) >= 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(built.stat().st_mode) & 0o400, "the user's own file has the usual mode"


@posix_only
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
@pytest.mark.parametrize("which", ["engines", "streamparts"])
def test_a_cache_that_others_may_write_to_vouches_for_nothing(
    built: Path, bundle: Bundle, mode: int, which: str
) -> None:
    folder = cache_folder() if which == "engines" else cache_folder().parent
    folder.chmod(mode)
    for use in (lambda: load_engine(built), lambda: engine_for(bundle)):
        with pytest.raises(ModelError, match=r"XDG_CACHE_HOME") as caught:
            use()
        one_line(caught)


@posix_only
def test_a_link_in_place_of_the_cache_is_refused(built: Path, tmp_path: Path) -> None:
    folder = cache_folder()
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match=r"folder.*link"):
        load_engine(built)


@posix_only
@pytest.mark.parametrize("trick", ["link", "writable", "folder", "other text"])
def test_a_record_that_is_not_the_users_own_file_vouches_for_nothing(built: Path, tmp_path: Path, trick: str) -> None:
    (record,) = cache_folder().glob("*.built")
    text = record.read_bytes()
    match trick:
        case "link":
            (tmp_path / "bait").write_bytes(text)
            record.unlink()
            record.symlink_to(tmp_path / "bait")
        case "writable":
            record.chmod(0o666)
        case "folder":
            record.unlink()
            record.mkdir()
        case "other text":
            record.write_bytes(text[::-1])
    with pytest.raises(ModelError) as caught:
        load_engine(built)
    one_line(caught)


@posix_only
@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root can give files away")
def test_a_cache_of_another_user_is_refused(built: Path) -> None:
    os.chown(cache_folder(), 12345, -1)
    with pytest.raises(ModelError, match=r"users.*write"):
        load_engine(built)


@posix_only
def test_an_engine_reached_through_a_link_is_judged_by_its_bytes(built: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "other.engine"
    link.symlink_to(built)
    sidecar_path(link).symlink_to(sidecar_path(built))
    assert load_engine(link).data == built.read_bytes()
    link.unlink()
    link.write_bytes(built.read_bytes()[::-1])
    with pytest.raises(ModelError, match=r"truncated.*replaced"):
        load_engine(link)


@posix_only
def test_writing_follows_no_link_that_was_laid_out(bundle: Bundle, fake_gpu: FakeGpu, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    cache = EngineCache(cache_folder())
    cache.record("0" * 64)
    path = cache.engine_path(cache_key(Request(bundle, "fp32", BuildOptions()), this_machine("tiny")))
    cache.write(path, b"old")
    path.unlink()
    path.symlink_to(victim)
    with pytest.raises(ModelError, match=r"plain.*engine"):
        engine_for(bundle)
    cache.write(path, b"new")
    assert victim.read_text() == "precious" and path.read_bytes() == b"new" and not path.is_symlink()


def test_a_relative_cache_home_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path.home() / ".cache" / "streamparts" / "engines"


def test_a_cache_that_cannot_be_made_is_told_in_one_line(
    bundle: Bundle, fake_gpu: FakeGpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"engine.*created"):
        engine_for(bundle)


TWO = """
import sys, time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from tests.fake_cuda import FakeCuda
from tests.fake_tensorrt import Builder, FakeGpu, fake_tensorrt
gpu = FakeGpu(FakeCuda())
sys.modules.update({"tensorrt": fake_tensorrt(gpu), "cuda": ModuleType("cuda")})
sys.modules["cuda.bindings"] = SimpleNamespace(runtime=gpu.cuda)
from streamparts.backends.loading import load_model
from streamparts.backends.tensorrt.engines import engine_for
bundle = load_model(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
engine = engine_for(bundle)
print(gpu.num_builds, engine.sha256)
"""


@posix_only
def test_processes_that_want_the_same_engine_at_once_build_it_once(model: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "shared")}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, str(model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        for _ in range(3)
    ]
    for child in children:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    answers = [child.communicate(timeout=60)[0].split() for child in children]
    assert sum(int(number) for number, _ in answers) == 1
    assert len({sha256 for _, sha256 in answers}) == 1


def test_what_a_crash_leaves_behind_is_never_half_an_engine(bundle: Bundle, fake_gpu: FakeGpu) -> None:
    engine = make_engine(Request(bundle, "fp32", BuildOptions()), this_machine("tiny"))
    path = cache_folder().parent.parent / "x.engine"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_engine(engine, path)
    newer = make_engine(Request(bundle, "fp32", BuildOptions(max_batch=2)), this_machine("tiny"))
    shutil.copy(sidecar_path(path), path.with_suffix(".old"))
    save_engine(newer, path)
    shutil.copy(path.with_suffix(".old"), sidecar_path(path))  # as if the second file had not been written
    with pytest.raises(ModelError, match=r"truncated.*replaced"):
        load_engine(path)
    assert [name for name in path.parent.iterdir() if name.name.startswith(".")] == []


def test_labels_that_are_cast_early_are_cast_last_for_tensorrt(bundle: Bundle) -> None:
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_model_from_string(bundle.data)
    assert cast_bytes_last(bundle.data) == bundle.data, "labels are cast last already"
    cast = next(node for node in model.graph.node if node.output[0] == "labels")
    cast.output[0] = "early"
    model.graph.node.append(helper.make_node("Identity", ["early"], ["labels"]))
    early = model.SerializeToString()
    late = onnx.load_model_from_string(cast_bytes_last(early))
    byte_casts = [
        node.output[0]
        for node in late.graph.node
        for attribute in node.attribute
        if node.op_type == "Cast" and attribute.i == TensorProto.UINT8
    ]
    assert byte_casts == ["labels"]
    images = pattern_frames((64, 64), 3)
    one, other = (
        OnnxRuntimeBackend(replace(bundle, data=data)).run(images) for data in (early, cast_bytes_last(early))
    )
    assert all(np.array_equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))
