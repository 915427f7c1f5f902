"""Converts a model to lower precision, with the same inputs and outputs.

Convolutions, and operators that only pass their results to further ones, run in fp16, bf16 or int8. The readout stays
in fp32: positions, labels, scores, and the last convolutions before them, whose results are large numbers with
significant small differences. In 16 bits, so do the first layers of EfficientNet-lite0, see EXACT_STRIDE.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec
import numpy as np

from streamparts.arrays import ByteArray, require_shape
from streamparts.bundle.load import METADATA_KEY, check_model
from streamparts.bundle.spec import ModelSpec, Precision
from streamparts.errors import MissingExtraError, ModelError
from streamparts.graph.byte_casts import cast_bytes_last
from streamparts.graph.low_precision import EXACT_STRIDE, convolutions, halve, last_convolutions

if TYPE_CHECKING:
    import onnx

Target = Literal["cpu", "tensorrt"]

CALIBRATION_BATCH = 8
BF16_OPSET = 22
QUANTISER_DOMAIN = "com.microsoft"
"""Operator domain that ONNX Runtime's quantiser declares without using it."""


def convert(
    data: bytes, precision: str, frames: ByteArray | None = None, target: Target = "cpu", share_kept: float = 0.0
) -> bytes:
    """Convert the bytes of an fp32 bundle's ONNX file to "fp16", "bf16" or "int8".

    int8 needs (F, H, W, 3) uint8 `frames` at the model's size, similar to those of the application: they calibrate the
    activations' ranges. The form for "cpu" has unsigned activations and signed weights, that for "tensorrt" symmetric
    signed activations and biases in fp32. `share_kept`, in [0, 1), of the convolutions, the first ones, stay in fp32:
    what they lose, all others read. In any precision, the form for "tensorrt" casts the labels to uint8 only at
    the outputs. bf16 runs only in TensorRT: load_model refuses it on a CPU.

    Raises ModelError for a model that is invalid or not fp32, ValueError for wrong arguments, MissingExtraError without
    the package onnx.
    """
    if precision not in get_args(Precision) or precision == "fp32":
        raise ValueError(f"precision must be fp16, bf16 or int8, got {precision!r}")
    if target not in get_args(Target):
        raise ValueError(f"target must be cpu or tensorrt, got {target!r}")
    onnx = load_onnx()
    spec = check_model(data)
    if spec.precision != "fp32":
        raise ModelError(f"{spec.name} is already {spec.precision}; convert the fp32 model it was made from")
    model = onnx.load_model_from_string(data)
    drop_unread_weights(model)
    if precision == "int8":
        model = quantise(model, calibration_frames(frames, spec), target, share_kept)
    else:
        exact_stride = EXACT_STRIDE if spec.network.get("encoder") == "lite0" else 0
        model = halve(raised(model) if precision == "bf16" else model, precision, exact_stride)
    if target == "tensorrt":
        model = onnx.load_model_from_string(cast_bytes_last(model.SerializeToString()))
    describe(model, msgspec.structs.replace(spec, precision=precision))
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def load_onnx() -> Any:
    """Import the package onnx. Raises MissingExtraError without it."""
    try:
        import onnx
        import onnx.checker
    except ImportError as error:
        raise MissingExtraError("converting the precision needs onnx; pip install 'streamparts[precision]'") from error
    return onnx


def calibration_frames(frames: ByteArray | None, spec: ModelSpec) -> ByteArray:
    """Return the frames if there are any and they fit. Raises ValueError."""
    if frames is None or not len(frames):
        raise ValueError(
            "int8 needs frames similar to those of the application, to calibrate the ranges of its activations"
        )
    require_shape("frames", frames, (None, *spec.input_hw, 3))
    if frames.dtype != np.uint8:
        raise ValueError(f"frames must be uint8, got {frames.dtype}")
    return frames


def quantise(model: onnx.ModelProto, frames: ByteArray, target: Target, share_kept: float = 0.0) -> onnx.ModelProto:
    """Convolutions with 8-bit weights, one scale per output channel, and 8-bit activations; see `convert`."""
    import streamparts.bundle.ort  # noqa: F401, I001 - before anything of onnxruntime
    from onnxruntime import quantization

    name_nodes(model)
    last = last_convolutions(model)
    inner = [node.name for node in convolutions(model) if node.name not in last]
    if not inner:
        raise ModelError("only has convolutions that feed the readout; int8 would change nothing")
    inner = inner[round(share_kept * len(inner)) :]
    for_gpu = target == "tensorrt"
    mark = model.metadata_props.add()  # otherwise the quantiser logs that the model was not preprocessed
    mark.key, mark.value = "onnx.quant.pre_process", "onnxruntime.quant"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            model,
            path,
            _Calibration(frames),
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=inner,
            per_channel=True,
            activation_type=quantization.QuantType.QInt8 if for_gpu else quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            extra_options={"ActivationSymmetric": for_gpu, "QuantizeBias": not for_gpu},
        )
        quantised: onnx.ModelProto = load_onnx().load_model(path)
    drop_unused_domains(quantised)
    return quantised


class _Calibration:
    """Batches of frames in the form that ONNX Runtime's calibrator requires."""

    def __init__(self, frames: ByteArray) -> None:
        self._batches = self._cut(frames)

    @staticmethod
    def _cut(frames: ByteArray) -> Iterator[dict[str, ByteArray]]:
        for start in range(0, len(frames), CALIBRATION_BATCH):
            yield {"image": frames[start : start + CALIBRATION_BATCH]}

    def get_next(self) -> dict[str, ByteArray] | None:
        return next(self._batches, None)


def raised(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert the model to the first opset whose convolutions support bf16. Raises ModelError for warps: TensorRT 10.13
    silently computes wrong results from their newer form."""
    from onnx import version_converter

    if any(node.op_type == "GridSample" for node in model.graph.node):
        raise ModelError("a teacher, whose graph contains warps, cannot be bf16; use fp16")
    newer: onnx.ModelProto = version_converter.convert_version(model, BF16_OPSET)
    return newer


def name_nodes(model: onnx.ModelProto) -> None:
    """Give every node a unique name, which the quantiser needs."""
    for index, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{index}"


def drop_unread_weights(model: onnx.ModelProto) -> None:
    """Remove initialisers that no node reads: the network's own weights, stored for PyTorch, which reads only fp32."""
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def drop_unused_domains(model: onnx.ModelProto) -> None:
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain != QUANTISER_DOMAIN or entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def describe(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Replace all metadata by the description."""
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, spec.to_json()
