"""A minimal hand-written model: part 0 is reddish, part 1 is greenish.

It has the interface of a trained model, built with the onnx package only: uint8 images in; labels, affines and scores
out; moments by matrix products.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from streamparts.bundle.load import METADATA_KEY
from streamparts.bundle.spec import ModelSpec
from streamparts.geometry import CANONICAL_SIGMAS, normalised_grid

PARTS = ("red", "green")
NODES = (
    ("Cast", "image", "floats", {"to": TensorProto.FLOAT}),
    # (N, H, W, 3) @ (3, 2): how much redder, how much greener than the two other colours together
    ("MatMul", "floats colors", "contrast", {}),
    ("Greater", "contrast threshold", "is_part", {}),
    ("Cast", "is_part", "masks", {"to": TensorProto.FLOAT}),
    ("MatMul", "masks numbers", "label_floats", {}),
    ("Squeeze", "label_floats last", "label_planes", {}),
    ("Cast", "label_planes", "labels", {"to": TensorProto.UINT8}),
    ("Reshape", "masks flat_shape", "pixels_first", {}),
    ("Transpose", "pixels_first", "flat", {"perm": [0, 2, 1]}),
    # (N, K, HW) @ (HW, 6): sums of 1, x, y, xx, xy, yy
    ("MatMul", "flat monomials", "sums", {}),
    ("Slice", "sums zero one last", "mass", {}),
    ("Max", "mass one_float", "safe_mass", {}),
    ("Div", "sums safe_mass", "moments", {}),
    ("Slice", "moments one three last", "mean", {}),
    ("Slice", "moments three six last", "second", {}),
    ("MatMul", "mean pick_left", "left", {}),
    ("MatMul", "mean pick_right", "right", {}),
    ("Mul", "left right", "mean_products", {}),
    ("Sub", "second mean_products", "covariance", {}),
    ("Slice", "covariance zero one last", "var_x", {}),
    ("Slice", "covariance one two last", "cov_xy", {}),
    ("Slice", "covariance two three last", "var_y", {}),
    # Cholesky factor of the covariance: a triangular A with A A^T = c^2 Sigma
    ("Max", "var_x tiny", "var_x_safe", {}),
    ("Sqrt", "var_x_safe", "a", {}),
    ("Div", "cov_xy a", "c", {}),
    ("Mul", "c c", "cc", {}),
    ("Sub", "var_y cc", "rest", {}),
    ("Max", "rest tiny", "rest_safe", {}),
    ("Sqrt", "rest_safe", "d", {}),
    ("Mul", "a sigmas", "a_wide", {}),
    ("Mul", "c sigmas", "c_wide", {}),
    ("Mul", "d sigmas", "d_wide", {}),
    ("Sub", "a a", "b", {}),
    ("Slice", "mean zero one last", "tx", {}),
    ("Slice", "mean one two last", "ty", {}),
    ("Concat", "a_wide b tx c_wide d_wide ty", "rows", {"axis": 2}),
    ("Reshape", "rows affine_shape", "affines", {}),
    ("Squeeze", "mass last", "mass_planes", {}),
    ("Greater", "mass_planes few", "is_there", {}),
    ("Cast", "is_there", "scores", {"to": TensorProto.FLOAT}),
)


def tiny_spec(input_hw: tuple[int, int] = (64, 64), parts: tuple[str, ...] = PARTS) -> ModelSpec:
    return ModelSpec(name="tiny", method="assembly", parts=parts, input_hw=input_hw, license="Apache-2.0")


def write_tiny_model(path: Path, input_hw: tuple[int, int] = (64, 64), spec: ModelSpec | None = None) -> Path:
    model = tiny_graph(input_hw)
    helper.set_model_props(model, {METADATA_KEY: (spec or tiny_spec(input_hw)).to_json()})
    path.write_bytes(model.SerializeToString())
    return path


def tiny_graph(input_hw: tuple[int, int]) -> onnx.ModelProto:
    """The network without its description."""
    (height, width), num_parts = input_hw, len(PARTS)
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(kind, ins.split(), [out], **options) for kind, ins, out, options in NODES],
        "tiny",
        [tensor("image", TensorProto.UINT8, ["N", height, width, 3])],
        [
            tensor("labels", TensorProto.UINT8, ["N", height, width]),
            tensor("affines", TensorProto.FLOAT, ["N", num_parts, 2, 3]),
            tensor("scores", TensorProto.FLOAT, ["N", num_parts]),
        ],
        [numpy_helper.from_array(value, name) for name, value in _constants(height, width).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _constants(height: int, width: int) -> dict[str, np.ndarray]:
    x, y = normalised_grid(height, width).reshape(-1, 2).T
    floats = {
        "colors": [[1, -1], [-1, 1], [-1, -1]],
        "threshold": 20,
        "numbers": [[1], [2]],
        "monomials": np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1),
        "one_float": 1,
        "pick_left": [[1, 1, 0], [0, 0, 1]],
        "pick_right": [[1, 0, 0], [0, 1, 1]],
        "tiny": 1e-6,
        "sigmas": CANONICAL_SIGMAS,
        "few": 3,
    }
    integers = {
        "zero": [0], "one": [1], "two": [2], "three": [3], "six": [6], "last": [-1],
        "flat_shape": [0, height * width, len(PARTS)],
        "affine_shape": [0, len(PARTS), 2, 3],
    }  # fmt: skip
    return {
        **{name: np.asarray(value, np.float32) for name, value in floats.items()},
        **{name: np.asarray(value, np.int64) for name, value in integers.items()},
    }
