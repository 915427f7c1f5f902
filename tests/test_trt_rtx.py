"""TensorRT for RTX parses and builds every kind of model that is exported, without a GPU: built, never executed.

Every model in every precision, each plan for two targets, SM80 and SM120.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from streamparts.backends.loading import load_model
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.backends.tensorrt.build import build
from streamparts.backends.tensorrt.cache import EngineCache, cache_folder
from streamparts.backends.tensorrt.engines import load_engine
from streamparts.backends.tensorrt.info import read_info
from streamparts.backends.tensorrt.library import Library, load_library, new_builder, rtx_plan_problem
from streamparts.backends.tensorrt.plan import _set_options, build_plan, for_parser, rtx_targets
from streamparts.bundle.engine import BuildOptions
from streamparts.bundle.load import Bundle
from streamparts.errors import ModelError
from streamparts.parity.patterns import pattern_frames
from tests.precisions import as_fp16, as_int8
from tests.tiny_model import tiny_graph, tiny_spec, write_tiny_model

TARGETS = ("sm80", "sm120")
MODELS = ("nano", "small", "base", "teacher", "scops fast", "scops squeezenet", "shipped")
PRECISIONS = ("fp32", "fp16", "int8")


@pytest.fixture(scope="module")
def library() -> Library:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed", exc_type=ImportError)
    load_library.cache_clear()
    found = load_library()
    if not found.is_rtx:
        pytest.skip(f"{found.title} comes first here, and needs a GPU to build")
    return found


@pytest.fixture(scope="module")
def exported() -> Callable[[str], Bundle]:
    """Bundles by their names in MODELS; but for the shipped one, weights are random."""
    made: dict[str, Bundle] = {}

    def get(name: str) -> Bundle:
        if name not in made:
            made[name] = load_model("puppet-human") if name == "shipped" else export(name)
        return made[name]

    return get


def export(name: str) -> Bundle:
    """As tests/test_export.py exported it, if that ran before."""
    from tests.exported import kept
    from tests.test_export import data_of, spec_of

    return Bundle(spec_of(name), Path("x.onnx"), "", kept(f"network-{name}", lambda: data_of(name)))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_exported_model_is_parsed_and_built(
    name: str, precision: str, library: Library, exported: Callable[[str], Bundle]
) -> None:
    bundle = exported(name)
    data = in_precision(bundle, precision)
    plan, timings = build_plan(library, data, bundle.spec, BuildOptions(targets=TARGETS))
    runtime = library.module.Runtime(library.log)
    assert rtx_plan_problem(library, runtime, plan) != "damaged, or not an engine"
    assert len(plan) > 10_000 and timings == b""


def in_precision(bundle: Bundle, precision: str) -> bytes:
    match precision:
        case "fp16":
            return as_fp16(bundle.data)
        case "int8":
            return as_int8(bundle.data, pattern_frames(bundle.spec.input_hw, 2))
    return bundle.data


def test_low_precision_makes_smaller_engines(library: Library, exported: Callable[[str], Bundle]) -> None:
    bundle, options = exported("shipped"), BuildOptions(targets=("sm80",))
    sizes = [len(build_plan(library, in_precision(bundle, p), bundle.spec, options)[0]) for p in ("fp32", "fp16")]
    assert sizes[1] < 0.8 * sizes[0]


def test_an_engine_leaves_its_memory_to_us_and_is_exact(library: Library) -> None:
    """Otherwise the library allocates while it runs, which cannot be captured as a graph; and TF32 is on by default."""
    flag = library.module.BuilderFlag
    config = new_builder(library).create_builder_config()
    assert not config.get_flag(flag.REQUIRE_USER_ALLOCATION)
    _set_options(library, config, BuildOptions(targets=TARGETS))
    assert config.get_flag(flag.REQUIRE_USER_ALLOCATION) and not config.get_flag(flag.TF32)


def test_the_library_says_which_targets_it_knows(library: Library) -> None:
    assert set(TARGETS) <= set(rtx_targets(library))


def test_the_command_builds_without_a_gpu_and_says_that_nothing_was_executed(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = write_tiny_model(tmp_path / "tiny.onnx")
    options = BuildOptions(targets=TARGETS, max_batch=4)
    built = build(model, tmp_path / "x.engine", options=options, frames=video, report=tmp_path / "r.json")
    assert built.outcome.startswith("built, not executed: this machine has no target GPU; its graph on the CPU, ")
    info = read_info(built.path)
    assert not info.verified and info.options.targets == TARGETS and info.gpu == "" and info.library == "tensorrt_rtx"
    assert info.agreement is not None and info.agreement.worst_labels == 1
    assert EngineCache(cache_folder()).is_recorded(info.plan_sha256)
    report = msgspec.json.decode((tmp_path / "r.json").read_bytes())
    assert report["num_bytes"] == built.path.stat().st_size and "not executed" in report["outcome"]
    with pytest.raises(ModelError, match="no CUDA driver or GPU here"):
        load_engine(built.path)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"targets": ("sm90",)}, "does not support sm90; its targets are sm75, sm80"),
        ({"targets": ("nonsense", "sm80")}, "does not support nonsense"),
        ({"targets": ("sm80",), "version_compatible": True}, "version-compatible"),
        ({"targets": ("sm80",), "hardware_compatible": True}, "hardware-compatible"),
        ({}, "there is no GPU here; .*--target sm75 sm80"),
    ],
)
def test_what_cannot_be_built_here_is_told_in_one_line(
    library: Library, tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    model = write_tiny_model(tmp_path / "tiny.onnx")
    with pytest.raises(ModelError, match=reason) as caught:
        build(model, tmp_path / "x.engine", options=BuildOptions(**options))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("x.*"))


def test_a_workspace_that_is_too_small_is_told_in_one_line(library: Library, exported: Callable[[str], Bundle]) -> None:
    bundle = exported("shipped")
    with pytest.raises(ModelError, match=r"build.*engine.*workspace") as caught:
        build_plan(library, bundle.data, bundle.spec, BuildOptions(targets=("sm80",), workspace_mib=1))
    assert "\n" not in str(caught.value)


def test_what_the_parser_does_not_take_is_told_with_its_node(library: Library) -> None:
    import onnx
    from onnx import TensorProto, helper

    model = tiny_graph((64, 64))
    model.graph.node.append(helper.make_node("Unique", ["scores"], ["unique"], name="the_unique"))
    model.graph.node.append(helper.make_node("NonZero", ["unique"], ["places"]))
    model.graph.output.append(helper.make_tensor_value_info("unique", TensorProto.FLOAT, ["M"]))
    onnx.checker.check_model(model)
    with pytest.raises(ModelError, match=r"Unique") as caught:
        build_plan(library, model.SerializeToString(), tiny_spec(), BuildOptions(targets=("sm80",)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("junk", [b"", b"not an engine", bytes(100_000)])
def test_what_is_no_engine_is_known_without_a_gpu(library: Library, junk: bytes) -> None:
    runtime = library.module.Runtime(library.log)
    assert rtx_plan_problem(library, runtime, junk) == "damaged, or not an engine"


def test_the_graph_that_the_parser_gets_says_what_the_model_says(exported: Callable[[str], Bundle]) -> None:
    bundle = exported("shipped")
    images = pattern_frames(bundle.spec.input_hw, 4)
    rewritten = replace(bundle, data=for_parser(bundle.data))
    assert b"ArgMax" in bundle.data and b"ArgMax" not in rewritten.data
    one, other = (OnnxRuntimeBackend(each).run(images) for each in (bundle, rewritten))
    assert all(np.array_equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))
