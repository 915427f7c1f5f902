"""benchmarks.gpu with a fake GPU and without one: the figures are meaningless, but the report must be complete."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks import gpu
from benchmarks.gpu import main
from benchmarks.gpu_timing import GpuInput
from streamparts.arrays import ByteArray
from streamparts.backends.loading import load_model
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend
from streamparts.data import NetworkOutputs
from streamparts.errors import BackendError
from streamparts.parity.patterns import pattern_frames
from tests.conftest import ROOT, environment
from tests.fake_tensorrt import FakeGpu

QUICK = ["--batches", "2", "--seconds", "0.001", "--num-frames", "3"]


def report(model: Path, folder: Path, *flags: str, code: int = 0) -> dict[str, dict[str, dict[str, object]]]:
    out = folder / "gpu.json"
    assert main(["--model", str(model), "--out", str(out), *QUICK, *flags]) == code
    found: dict[str, dict[str, dict[str, object]]] = json.loads(out.read_text())
    return found


def test_a_part_that_fails_says_why_and_the_others_go_on(
    model: Path, fake_gpu: FakeGpu, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_gpu.cuda.num_gpus = fake_gpu.cuda.driver = 0
    found = report(model, tmp_path, code=1)
    for name in ("gpu", "tensorrt fp32", "tensorrt int8"):
        assert "no CUDA driver or GPU here" in str(found["parts"][name]["failed"])
    assert "failed" in found["parts"]["torch eager"]
    assert found["bars"]["b1 latency p50 ms"] is None and found["bars"]["frames per second"] is None
    said = capsys.readouterr()
    assert "could not" in said.out
    assert "error: nothing was timed on a GPU" in said.err
    assert found["parts"]["onnxruntime"]["agreement"]["worst_labels"] == 1  # type: ignore[index]


def test_engines_are_built_compared_and_timed(model: Path, fake_gpu: FakeGpu, tmp_path: Path) -> None:
    found = report(model, tmp_path, "--precisions", "fp32")
    part = found["parts"]["tensorrt fp32"]
    assert set(part["frames_per_second"]) == set(part["frames_per_second_overlapped"]) == {"1", "2"}  # type: ignore[call-overload]
    assert part["agreement"]["worst_labels"] == 1  # type: ignore[index]
    assert found["parts"]["gpu"]["name"] == "Fake GPU"
    assert found["bars"]["frames per second"] is not None
    assert {"commit", "versions", "model_sha256", "command"} <= set(found)
    assert found["parts"]["tensorrt fp32"]["graphs"] == {"1": True, "2": True}
    assert fake_gpu.cuda.live == {}, "every engine gives its memory back"


def test_a_backend_that_is_quick_and_wrong_is_not_timed(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = OnnxRuntimeBackend.run

    class Wrong(OnnxRuntimeBackend):
        name = "wrong"

        def run(self, images: ByteArray) -> NetworkOutputs:
            return right(self, images[:, ::-1])

    monkeypatch.setattr(gpu, "missing", lambda name, bundle: None)
    monkeypatch.setattr(gpu, "open_backend", lambda bundle, name: Wrong(bundle))
    bundle = load_model(model)
    job = GpuInput(bundle, pattern_frames(bundle.spec.input_hw, 3), True, (2,), 0.001)
    with pytest.raises(BackendError, match="differs from"):
        gpu.backend_part(job, "torch-cuda")


BLOCKED = """
import sys
for name in ("av", "decord", "msgspec"):
    sys.modules[name] = None
"""


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "from benchmarks.gpu import main\n"
            "print(main(['--model', {model!r}, '--batches', '2', '--seconds', '0.001', '--num-frames', '3']))",
            "could not: BackendError: no NVIDIA",
        ),
        (
            "import benchmarks.without_msgspec\nfrom streamparts.runtime.bench import bench\n"
            "print(bench({model!r}, backends=['onnxruntime'], batches=[1], seconds=0).to_text())",
            "noise, since PyAV is not installed: the network only",
        ),
        (
            "import benchmarks.without_msgspec\nfrom tests.host_stream import HostStream\n"
            "from streamparts.backends.loading import load_model\n"
            "from streamparts.backends.onnx_runtime import OnnxRuntimeBackend\n"
            "from streamparts.backends.torch_cuda import TorchCudaBackend\n"
            "print(OnnxRuntimeBackend(load_model({model!r})).name, TorchCudaBackend)",
            "TorchCudaBackend",
        ),
    ],
    ids=["benchmarks.gpu", "streamparts bench", "torch on CUDA"],
)
def test_it_runs_without_pyav_decord_and_msgspec(model: Path, code: str, words: str) -> None:
    source = BLOCKED + code.format(model=str(model))
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, cwd=ROOT, env=environment(), check=False
    )
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
    assert "onnxruntime" in done.stdout


def test_the_stand_in_for_msgspec_reads_what_msgspec_reads() -> None:
    """In another process: the classes here are msgspec's."""
    source = (
        BLOCKED
        + "import json\nimport benchmarks.without_msgspec as w\nfrom streamparts.backends.loading import load_model\n"
        "print(json.dumps([w.to_builtins(load_model(name).spec) for name in ('person', 'puppet-human')]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, cwd=ROOT, env=environment(), check=True
    )
    wanted = [msgspec.to_builtins(load_model(name).spec) for name in ("person", "puppet-human")]
    assert json.loads(done.stdout) == json.loads(json.dumps(wanted))


def test_unknown_fields_are_refused_by_the_stand_in_too() -> None:
    from benchmarks.without_msgspec import Struct, ValidationError, decode

    class Point(Struct, frozen=True):
        x: int
        y: int = 2

    assert (decode(b'{"x": 1}', Point).x, decode(b'{"x": 1}', Point).y) == (1, 2)
    for wrong in (b'{"x": 1, "z": 3}', b"{", b"[1]", b"{}"):
        with pytest.raises(ValidationError):
            decode(wrong, Point)


def test_one_precision_that_cannot_be_built_leaves_the_others(
    model: Path, fake_gpu: FakeGpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamparts.backends.tensorrt import make

    sound = make.convert

    def convert(request: make.Request) -> object:
        if request.precision == "fp16":
            raise RuntimeError("no such\nconversion")
        return sound(request)

    monkeypatch.setattr(make, "convert", convert)
    parts = report(model, tmp_path, "--precisions", "fp16", "fp32")["parts"]
    assert parts["tensorrt fp16"]["failed"] == "RuntimeError: no such conversion"
    assert "failed" not in parts["tensorrt fp32"]
