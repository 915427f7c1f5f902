"""Low-precision forms of a bundle's ONNX file, for tests of what takes such files."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx

from streamparts.arrays import ByteArray


def as_fp16(data: bytes) -> bytes:
    """Floats inside the graph are of 16 bits, those at its outputs of 32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numbers that are too small for it
        model = convert_float_to_float16(
            onnx.load_model_from_string(data), keep_io_types=True, disable_shape_infer=False
        )
    return bytes(model.SerializeToString())


def as_int8(data: bytes, frames: ByteArray) -> bytes:
    """Convolutions with symmetric signed activations and weights and no quantised bias, as TensorRT wants them."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._frames = iter(frames)

        def get_next(self) -> dict[str, np.ndarray] | None:
            frame = next(self._frames, None)
            return None if frame is None else {"image": frame[None]}

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(data)
        quantize_static(
            source,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
        )
        return target.read_bytes()
