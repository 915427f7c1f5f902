"""Every name and call of TensorRT's and CUDA's Python APIs in our source, looked up in their real bindings.

The bindings come as wheels; the libraries beneath them do not, so stubs stand in for those: this checks the API only.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.api_check import problems
from tests.api_uses import Use, uses
from tests.conftest import ROOT
from tests.stub_library import stub_library

VERSIONS = ("10.13.3.9", "10.16.1.11", "11.4.0.106")
"""Versions of tensorrt-cu13-bindings: the oldest supported one, the last 10, the newest."""
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
FUNCTIONS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
"""Functions that the bindings need from those libraries when they are loaded."""

TENSORRT = ROOT / "streamparts" / "backends" / "tensorrt"
SOURCES = [TENSORRT / name for name in ("library.py", "backend.py", "plan.py", "one_pass.py", "cuda.py")]
TENSORRT_NAMES: dict[str, tuple[str, ...]] = {
    "trt": (),
    "builder": ("Builder",),
    "network": ("INetworkDefinition",),
    "config": ("IBuilderConfig",),
    "profile": ("IOptimizationProfile",),
    "parser": ("OnnxParser",),
    "parser_error": ("ParserError",),
    "cache": ("ITimingCache",),
    "runtime": ("Runtime",),
    "runtime_config": ("IRuntimeConfig",),
    "engine": ("ICudaEngine",),
    "context": ("IExecutionContext",),
}
"""Types of the variables in our source."""
MUST_BE_FOUND = {
    ("Builder",),
    ("Builder", "build_serialized_network"),
    ("OnnxParser", "parse"),
    ("ParserError", "desc"),
    ("IBuilderConfig", "set_timing_cache"),
    ("IOptimizationProfile", "set_shape"),
    ("BuilderFlag", "VERSION_COMPATIBLE"),
    ("Runtime", "deserialize_cuda_engine"),
    ("Runtime", "engine_host_code_allowed"),
    ("ICudaEngine", "create_execution_context"),
    ("ICudaEngine", "get_tensor_profile_shape"),
    ("IExecutionContext", "set_tensor_address"),
    ("IExecutionContext", "execute_async_v3"),
}
"""Calls that the collector must find."""


def tensorrt_uses(*, rtx: bool) -> list[Use]:
    found = [use for path in SOURCES for use in uses(path.read_text(encoding="utf-8"), TENSORRT_NAMES)]
    return [use for use in found if rtx or not use.function.lstrip("_").startswith("rtx")]


def cuda_uses() -> list[Use]:
    names: dict[str, tuple[str, ...]] = {"cuda": ()}
    found = [use for path in SOURCES for use in uses(path.read_text(encoding="utf-8"), names)]
    return [use for use in found if use.path[0].startswith("cuda")]


def test_the_source_is_searched_for_what_it_uses() -> None:
    assert {use.path for use in tensorrt_uses(rtx=False)} >= MUST_BE_FOUND
    only_rtx = {use.path[0] for use in tensorrt_uses(rtx=True)} - {use.path[0] for use in tensorrt_uses(rtx=False)}
    assert only_rtx == {
        "ComputeCapability",
        "EngineValidity",
        "DynamicShapesKernelSpecializationStrategy",
        "IRuntimeConfig",
    }
    assert {use.path for use in cuda_uses()} >= {("cudaMalloc",), ("cudaGraphLaunch",), ("cudaError_t", "cudaSuccess")}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_source_fits_tensorrts_bindings(version: str, bindings_folder: Path) -> None:
    answer = look_up(version, bindings_folder, tensorrt_uses(rtx=False))
    assert answer == {"version": version, "problems": []}


WRONG = """
def build(trt, builder, config, profile):
    trt.BuilderFlag.NONSENSE
    trt.Builder()
    builder.build_engine(1)
    builder.build_serialized_network(1)
    config.set_flag(trt.BuilderFlag.TF32, 1)
    config.num_optimization_profiles = 3
    profile.set_shape("image", least=1, opt=2, max=3)
    self._context.execute_async_v2(1)
    builder.build_serialized_network(network, config)
"""


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_what_the_bindings_do_not_have_is_found(version: str, bindings_folder: Path) -> None:
    found = look_up(version, bindings_folder, uses(WRONG, TENSORRT_NAMES))["problems"]
    assert [int(text.split()[1].rstrip(":")) for text in found] == list(range(3, 11))


def test_flags_that_are_gone_from_tensorrt_11_are_found(bindings_folder: Path) -> None:
    gone = uses("trt.BuilderFlag.FP16", TENSORRT_NAMES)
    assert look_up(VERSIONS[0], bindings_folder, gone)["problems"] == []
    assert look_up(VERSIONS[-1], bindings_folder, gone)["problems"] == ["line 1: there is no BuilderFlag.FP16"]


def test_the_source_fits_the_bindings_of_tensorrt_for_rtx() -> None:
    library = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed", exc_type=ImportError)
    assert problems(library, [use.as_json() for use in tensorrt_uses(rtx=True)]) == []


def test_the_source_fits_the_bindings_of_the_cuda_runtime() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    assert problems(runtime, [use.as_json() for use in cuda_uses()]) == []
    wrong = "cuda.cudaMalloc()\ncuda.cudaMallocNonsense(1)\ncuda.cudaMemcpyAsync(1, 2, 3, 4)"
    assert len(problems(runtime, [use.as_json() for use in uses(wrong, {"cuda": ()})])) == 3


def look_up(version: str, folder: Path, wanted: list[Use]) -> dict[str, object]:
    """Problems that a process with these bindings finds."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("the stubs are for Linux on x86-64")
    wheel, stubs = fetch(version, folder), folder / f"stubs-{version}"
    stubs.mkdir(exist_ok=True)
    for name in LIBRARIES:
        soname = f"lib{name}.so.{version.split('.')[0]}"
        (stubs / soname).write_bytes(stub_library(soname, FUNCTIONS))
    result = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "api_check.py"), "tensorrt_bindings"],
        input=json.dumps([use.as_json() for use in wanted]),
        env={**os.environ, "LD_LIBRARY_PATH": str(stubs), "PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    answer: dict[str, object] = json.loads(result.stdout)
    return answer


def fetch(version: str, folder: Path) -> Path:
    """Folder of the unpacked wheel, fetched by pip once. Skips where pip reaches no index."""
    unpacked = folder / f"bindings-{version}"
    if not unpacked.is_dir():
        python = next((path for path in pythons() if has_pip(path)), None)
        if python is None:
            pytest.skip("TensorRT's API not checked: there is no pip to fetch its bindings")
        wanted = ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), f"tensorrt-cu13-bindings=={version}"]
        abi = f"cp{sys.version_info.major}{sys.version_info.minor}"
        target = ["--python-version", f"{sys.version_info.major}.{sys.version_info.minor}", "--implementation", "cp"]
        target += ["--abi", abi, "--abi", "none", "--platform", "manylinux_2_28_x86_64"]
        result = subprocess.run(
            [python, "-m", "pip", "download", "--quiet", *wanted, *target], capture_output=True, text=True, check=False
        )
        wheels = list(folder.glob(f"tensorrt_cu13_bindings-{version}-*.whl"))
        if result.returncode or not wheels:
            reason = (result.stderr.strip().splitlines() or ["no wheel came"])[-1]
            pytest.skip(f"TensorRT's API not checked: pip cannot fetch tensorrt-cu13-bindings {version} ({reason})")
        partial = folder / f"partial-{version}-{os.getpid()}"
        zipfile.ZipFile(wheels[0]).extractall(partial)
        partial.rename(unpacked)
    return unpacked


def pythons() -> list[str]:
    """This interpreter, and the one that its environment was made from: an environment may have no pip."""
    return [sys.executable, str(getattr(sys, "_base_executable", sys.executable))]


def has_pip(python: str) -> bool:
    return subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def bindings_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kept between runs, where pytest keeps anything."""
    cache = getattr(request.config, "cache", None)
    return Path(cache.mkdir("tensorrt-bindings")) if cache else tmp_path_factory.mktemp("tensorrt-bindings")
