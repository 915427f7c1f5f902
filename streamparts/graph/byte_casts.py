"""Moves casts to uint8 to the graph's outputs, where TensorRT requires them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamparts.graph.parsing import parse_onnx

if TYPE_CHECKING:
    from onnx import NodeProto


def cast_bytes_last(onnx: bytes) -> bytes:
    """Move the graph's casts to uint8 to its outputs: TensorRT supports uint8 only there.

    Labels are then reordered as floats, which represent them exactly. MissingExtraError without the `onnx` package.
    """
    model = parse_onnx(onnx)
    from onnx import TensorProto, helper

    graph = model.graph
    outputs = {value.name for value in graph.output if value.type.tensor_type.elem_type == TensorProto.UINT8}
    casts = [node for node in graph.node if _casts_to_bytes(node)]
    early = [node for node in casts if node.output[0] not in outputs]
    if not early:
        return onnx
    late = outputs - {node.output[0] for node in casts}
    for node in early:
        del node.attribute[:]  # `to`, and in later opsets the rounding of eight-bit floats
        node.attribute.append(helper.make_attribute("to", TensorProto.FLOAT))
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name in late:
                    names[index] = f"{name}_floats"
    graph.node.extend(
        helper.make_node("Cast", [f"{name}_floats"], [name], to=TensorProto.UINT8) for name in sorted(late)
    )
    del graph.value_info[:]  # the stated types are no longer true
    return bytes(model.SerializeToString())


def _casts_to_bytes(node: NodeProto) -> bool:
    from onnx import TensorProto

    kinds = [entry.i for entry in node.attribute if entry.name == "to"]
    return node.op_type == "Cast" and kinds == [TensorProto.UINT8]
