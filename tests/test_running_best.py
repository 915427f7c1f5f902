"""ArgMax as a chain of comparisons."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from streamparts.graph.running_best import MOST_SLOTS, compare_slots


def graph(kind: int, axis: int, slots: int, keep: bool) -> bytes:
    """ArgMax and ReduceMax over one axis of (N, slots, 5)."""
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    nodes = [
        helper.make_node("ArgMax", ["x"], ["label"], axis=axis, keepdims=int(keep)),
        helper.make_node("ReduceMax", ["x", "axes"], ["best"], keepdims=int(keep)),
    ]
    shape = ["N", 1, 5] if keep else ["N", 5]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, shape),
        helper.make_tensor_value_info("best", kind, shape),
    ]
    given = helper.make_tensor_value_info("x", kind, ["N", slots, 5])
    made = helper.make_model(
        helper.make_graph(nodes, "g", [given], outputs, [axes]), opset_imports=[helper.make_opsetid("", 18)]
    )
    made.ir_version = 9
    return bytes(made.SerializeToString())


@pytest.mark.parametrize(("kind", "dtype"), [(TensorProto.FLOAT, np.float32), (TensorProto.FLOAT16, np.float16)])
@pytest.mark.parametrize(("axis", "keep"), [(1, True), (1, False), (-2, False)])
def test_the_chain_gives_the_same_bytes(kind: int, dtype: type, axis: int, keep: bool) -> None:
    data = graph(kind, axis, 4, keep)
    changed = compare_slots(data)
    onnx.checker.check_model(onnx.load_model_from_string(changed), full_check=True)
    kinds = {node.op_type for node in onnx.load_model_from_string(changed).graph.node}
    assert "Greater" in kinds and not {"ArgMax", "ReduceMax"} & kinds
    x = np.random.default_rng(0).integers(0, 3, (7, 4, 5)).astype(dtype)  # with many equals
    one, other = (onnxruntime.InferenceSession(each).run(None, {"x": x}) for each in (data, changed))
    for first, second in zip(one, other, strict=True):
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second)


def test_long_chains_and_graphs_without_argmax_stay_as_they_are() -> None:
    many = graph(TensorProto.FLOAT, 1, MOST_SLOTS + 1, True)
    kinds = [node.op_type for node in onnx.load_model_from_string(compare_slots(many)).graph.node]
    assert kinds == ["ArgMax", "ReduceMax"]
    plain = helper.make_graph([], "g", [], [])
    data = helper.make_model(plain).SerializeToString()
    assert compare_slots(data) == data
