"""Lower precision inside, the same interface, and nearly the same outputs."""

from __future__ import annotations

import builtins
from functools import cache
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")  # the comparison is export's

from export import precision as command  # noqa: E402
from export.parity import TOLERANCES, bundle_of, compare_frames, tolerance_of  # noqa: E402
from streamparts.backends.loading import load_model  # noqa: E402
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend  # noqa: E402
from streamparts.backends.tolerances import comparison_frames  # noqa: E402
from streamparts.backends.torch_network import build_network  # noqa: E402
from streamparts.bundle.agreement import Tolerance  # noqa: E402
from streamparts.bundle.load import check_model  # noqa: E402
from streamparts.errors import MissingExtraError, ModelError  # noqa: E402
from streamparts.graph.precision import Target, convert  # noqa: E402
from streamparts.models.half import halved  # noqa: E402
from streamparts.parity.sample_frames import FrameSet, sample_frames  # noqa: E402
from tests.conftest import ROOT  # noqa: E402
from tests.rtx import TARGETS, build_engine  # noqa: E402
from tests.tiny_model import write_tiny_model  # noqa: E402

CLIP = ROOT / "examples" / "puppet.mp4"


@cache
def frames() -> FrameSet:
    return sample_frames(CLIP, load_model("puppet-human").spec.input_hw, 24)


@cache
def converted(precision: str, target: Target) -> bytes:
    """The shipped model in another precision; made once."""
    return convert(load_model("puppet-human").data, precision, frames().images[:16], target)


@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_the_answers_stay_within_what_may_differ(precision: str, target: Target) -> None:
    source, bundle = load_model("puppet-human"), bundle_of(converted(precision, target), Path("x.onnx"))
    assert bundle.spec.precision == precision and bundle.spec.parts == source.spec.parts
    assert len(bundle.data) < 0.6 * len(source.data)
    compared = compare_frames(OnnxRuntimeBackend(source).run, OnnxRuntimeBackend(bundle).run, frames(), source.spec)
    assert compared.agreement().problem(tolerance_of(bundle.spec.precision)) is None
    assert (compared.score > 0).any(), "nothing was converted"


def kinds(model: object, operator: str) -> set[int]:
    """Types of the weights of an operator's nodes."""
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}  # type: ignore[attr-defined]
    return {types[node.input[1]] for node in model.graph.node if node.op_type == operator and node.input[1] in types}  # type: ignore[attr-defined]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_the_inner_convolutions_alone_are_halved_and_the_graph_is_sound(precision: str) -> None:
    kind = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}[precision]
    model = onnx.load_model_from_string(converted(precision, "tensorrt"))
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, check_type=True)
    types = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    nodes = [node for node in model.graph.node if node.op_type == "Conv"]
    last = [node for node in nodes if types[node.output[0]] == onnx.TensorProto.FLOAT]
    assert {node.input[1] for node in last} == {"student.pose.heat.weight", "student.mask.0.weight"}
    assert {types[node.output[0]] for node in nodes} == {kind, onnx.TensorProto.FLOAT}
    read = {node.op_type for node in model.graph.node if any(types.get(name) == kind for name in node.output)}
    assert read <= {"Cast", "Conv", "Relu", "Add", "Resize", "Concat", "DepthToSpace"}
    assert kinds(model, "MatMul") == kinds(model, "Gemm") == {onnx.TensorProto.FLOAT}


def test_the_first_layers_of_efficientnet_stay_in_fp32_in_the_graph_and_in_torch() -> None:
    bundle = load_model("person")
    data = convert(bundle.data, "fp16")
    graph = onnx.load_model_from_string(data).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    weights = [node.input[1] for node in graph.node if node.op_type == "Conv"]
    exact = {name.removesuffix(".weight") for name in weights if types[name] == onnx.TensorProto.FLOAT}
    network = halved(build_network(bundle))
    assert network is not None
    # stage 3 begins at stride 8 with a convolution, which torch halves with the rest of its stage
    assert exact - {"student.encoder.lite0.stages.3.0.expand.0"} == {
        name.replace(".module", "")
        for name, layer in network.named_modules()
        if isinstance(layer, torch.nn.Conv2d) and layer.weight.dtype == torch.float32
    }
    early = tuple(f"student.encoder.lite0.{name}." for name in ("stem", "stages.0", "stages.1", "stages.2"))
    assert {name for name in exact if not name.startswith(early)} == {
        *("student.encoder.across.0", "student.encoder.across.1", "student.encoder.lite0.stages.3.0.expand.0"),
        *("student.pose.heat", "student.mask.0"),
    }
    assert {name.removesuffix(".weight") for name in weights if name.startswith(early)} <= exact
    patterns, _ = comparison_frames(bundle.spec.input_hw)
    judged = FrameSet(patterns, tuple(map(str, range(len(patterns)))), len(patterns))
    runner = OnnxRuntimeBackend(bundle_of(data, Path("x.onnx"))).run
    found = compare_frames(OnnxRuntimeBackend(bundle).run, runner, judged, bundle.spec).agreement()
    assert found.problem(tolerance_of("fp16")) is None
    assert found.pose_px < 0.15, "16 bits throughout lose 0.6 px"


def test_int8_for_tensorrt_is_symmetric_and_leaves_biases_alone() -> None:
    for target, activations in (("cpu", onnx.TensorProto.UINT8), ("tensorrt", onnx.TensorProto.INT8)):
        graph = onnx.load_model_from_string(converted("int8", target)).graph
        values = {tensor.name: tensor for tensor in graph.initializer}
        zeros = [values[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
        assert {zero.data_type for zero in zeros} == {activations}
        integers = {
            values[n.input[0]].data_type for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in values
        }
        assert (onnx.TensorProto.INT32 in integers) == (target == "cpu")
        if target == "tensorrt":
            assert not any(onnx.numpy_helper.to_array(zero).any() for zero in zeros)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_tensorrt_for_rtx_builds_an_engine_of_it(precision: str, target: str) -> None:
    assert build_engine(converted(precision, "tensorrt"), target, (128, 128)) > 100_000


def test_wrong_arguments_are_refused() -> None:
    data = load_model("puppet-human").data
    with pytest.raises(ValueError, match="fp16, bf16 or int8, got 'fp8'"):
        convert(data, "fp8")
    with pytest.raises(ValueError, match="cpu or tensorrt"):
        convert(data, "fp16", target="gpu")  # type: ignore[arg-type]
    for wrong in (
        None,
        np.zeros((0, 128, 128, 3), np.uint8),
        np.zeros((2, 64, 64, 3), np.uint8),
        np.zeros((2, 128, 128, 3)),
    ):
        with pytest.raises(ValueError, match="frames"):
            convert(data, "int8", wrong)


def test_a_converted_model_is_not_converted_again() -> None:
    with pytest.raises(ModelError, match=r"puppet-human.*fp16"):
        convert(converted("fp16", "cpu"), "int8", frames().images)


def test_a_model_without_convolutions_has_nothing_to_quantise(tmp_path: Path) -> None:
    data = write_tiny_model(tmp_path / "tiny.onnx").read_bytes()
    with pytest.raises(ModelError, match="convolutions"):
        convert(data, "int8", np.zeros((1, 64, 64, 3), np.uint8))
    assert check_model(convert(data, "fp16")).precision == "fp16"


def test_a_weight_beyond_fp16_is_refused() -> None:
    model = onnx.load_model_from_string(load_model("puppet-human").data)
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == "student.encoder.stem.0.weight")
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.float32(1e9), weight.name))
    with pytest.raises(ModelError, match=r"weights student\.encoder\.stem\.0\.weight "):
        convert(model.SerializeToString(), "fp16")


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: object, **options: object) -> object:
        if name.split(".")[0] == "onnx":
            raise ImportError(name)
        return real(name, *args, **options)  # type: ignore[arg-type]

    data = load_model("puppet-human").data
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r"streamparts\[precision\]"):
        convert(data, "fp16")


def test_the_command_writes_model_sidecar_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["puppet-human", "-o", str(tmp_path / "y.onnx"), "--precision", "int8", "--frames", str(CLIP)]
    assert command.main([*words, "--num-frames", "8", "--report", str(tmp_path / "r.json")]) == 0
    assert load_model(tmp_path / "y.onnx").spec.precision == "int8"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.json", "y.onnx", "y.onnx.json"]
    assert "labels agree on" in capsys.readouterr().out
    assert command.main(words) == 1 and "give --force" in capsys.readouterr().err


def test_a_share_of_the_convolutions_stays_in_fp32() -> None:
    data, frames = load_model("puppet-human").data, sample_frames(CLIP, (128, 128), 2).images
    read_as_int8 = {}
    for share in (0.0, 0.25):
        graph = onnx.load_model_from_string(convert(data, "int8", frames, share_kept=share)).graph
        given = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
        read_as_int8[share] = [node.input[1] in given for node in graph.node if node.op_type == "Conv"]
    num_kept = [flags.index(True) for flags in read_as_int8.values()]
    assert num_kept == [0, round(0.25 * sum(read_as_int8[0.0]))]
    assert sum(read_as_int8[0.25]) == sum(read_as_int8[0.0]) - num_kept[1]


def test_the_command_keeps_the_first_convolutions_if_the_model_differs_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    judge, answers = command.problems, [["too far"]]
    monkeypatch.setattr(command, "problems", lambda *given: answers.pop() if answers else judge(*given))
    words = ["puppet-human", "-o", str(tmp_path / "y.onnx"), "--precision", "int8", "--frames", str(CLIP)]
    assert command.main([*words, "--num-frames", "8"]) == 0
    assert "the first 10 % of the convolutions stay in fp32" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["y.onnx", "y.onnx.json"]


def test_the_command_writes_nothing_beyond_tolerance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TOLERANCES, "fp16", Tolerance(labels=1 - 1e-9, pose_px=1e-9, score=1e-9))
    words = ["puppet-human", "-o", str(tmp_path / "y.onnx"), "--precision", "fp16", "--frames", str(CLIP)]
    assert command.main([*words, "--num-frames", "2"]) == 1
    assert "Nothing was written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["y.worst.png"]


def test_the_command_says_that_bf16_cannot_be_compared_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["puppet-human", "-o", str(tmp_path / "y.onnx"), "--precision", "bf16", "--frames", str(CLIP)]
    assert command.main(words) == 1 and "does not run on a CPU" in capsys.readouterr().err


def test_calibration_and_comparison_share_no_real_frame() -> None:
    images = np.arange(7, dtype=np.uint8)[:, None, None, None].repeat(3, 3)
    calibration, judged = command.halves(FrameSet(images, tuple("abcdefg"), 5))
    assert calibration.ravel()[::3].tolist() == [0, 2, 4]
    assert judged.names == ("b", "d", "f", "g") and judged.num_real == 2
    assert command.halves(FrameSet(images[:1], ("a",), 1))[1].names == ("a",)
