"""Replaces ArgMax over few slots by comparisons: TensorRT computes ArgMax as a slow sort of every pixel that nothing is
fused with, and a chain of comparisons as part of one kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamparts.graph.parsing import parse_onnx

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

MOST_SLOTS = 64
"""An ArgMax over more slots stays: its chain would be longer than what it replaces."""


def compare_slots(onnx: bytes) -> bytes:
    """Return the graph with each ArgMax of at most MOST_SLOTS slots, and the ReduceMax of the same tensor, as a running
    best: b_0 = x_0, i_0 = 0; for each further slot k, where x_k > b_(k-1): b_k = x_k, i_k = k. The first of equals
    wins, as in ArgMax. MissingExtraError without the `onnx` package.
    """
    model = parse_onnx(onnx)
    wanted = [
        node for node in model.graph.node if node.op_type == "ArgMax" and not _attribute(node, "select_last_index")
    ]
    if not wanted:
        return onnx
    from onnx import shape_inference

    del model.graph.value_info[:]  # the conversion to fp16 keeps outdated types
    shapes = _shapes(shape_inference.infer_shapes(model).graph)
    for node in wanted:
        shape = shapes.get(node.input[0])
        axis = _attribute(node, "axis")
        if shape is not None and 1 < shape[axis] <= MOST_SLOTS:
            _replace(model, node, axis % len(shape), shape[axis])
    return bytes(model.SerializeToString())


def _replace(model: ModelProto, node: NodeProto, axis: int, slots: int) -> None:
    """Put the chain in the place of `node`, an ArgMax over `slots` slots, and of the maxima over the same."""
    from onnx import TensorProto, helper

    graph, stem = model.graph, f"{node.output[0]}_slot"
    twins = _maxima(graph, node, axis)
    axes = helper.make_tensor(f"{stem}_axis", TensorProto.INT64, [1], [axis])
    graph.initializer.append(axes)
    made, best, label = _chain(graph, node.input[0], stem, axis, slots)
    for each, result in [(node, label), *((twin, best) for twin in twins)]:
        # Split keeps the axis, with size 1
        if not _attribute(each, "keepdims", 1):
            made.append(helper.make_node("Squeeze", [result, axes.name], [f"{each.output[0]}_squeezed"]))
            result = f"{each.output[0]}_squeezed"
        if each is node:
            made.append(helper.make_node("Cast", [result], [each.output[0]], to=TensorProto.INT64))
        else:  # of the slots' own type, which may be fp16
            made.append(helper.make_node("Identity", [result], [each.output[0]]))
    gone = {each.output[0] for each in (node, *twins)}
    before, after, found = list[Any](), list[Any](), False
    for each in graph.node:
        if gone & set(each.output):
            found = True
        else:
            (after if found else before).append(each)
    # protobuf moves no messages between lists; copies stay valid when the list is cleared
    copies = [type(each).FromString(each.SerializeToString()) for each in (*before, *made, *after)]
    del graph.node[:]
    graph.node.extend(copies)


def _chain(graph: GraphProto, source: str, stem: str, axis: int, slots: int) -> tuple[list[NodeProto], str, str]:
    """The nodes of the running best over the slots of `source`, and the names of the best values and of their slots, as
    floats."""
    from onnx import TensorProto, helper

    numbers = [helper.make_tensor(f"{stem}{k}_number", TensorProto.FLOAT, [1], [k]) for k in range(slots)]
    sizes = helper.make_tensor(f"{stem}_sizes", TensorProto.INT64, [slots], [1] * slots)
    graph.initializer.extend([*numbers, sizes])
    nodes = [helper.make_node("Split", [source, sizes.name], [f"{stem}{k}" for k in range(slots)], axis=axis)]
    best, label = f"{stem}0", numbers[0].name
    for k in range(1, slots):
        slot = f"{stem}{k}"
        nodes += [
            # strictly larger, so that the first of equal slots wins
            helper.make_node("Greater", [slot, best], [f"{slot}_larger"]),
            helper.make_node("Where", [f"{slot}_larger", slot, best], [f"{slot}_best"]),
            helper.make_node("Where", [f"{slot}_larger", numbers[k].name, label], [f"{slot}_label"]),
        ]
        best, label = f"{slot}_best", f"{slot}_label"
    return nodes, best, label


def _maxima(graph: GraphProto, argmax: NodeProto, axis: int) -> list[NodeProto]:
    """The ReduceMax nodes over the same slots."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type != "ReduceMax" or node.input[0] != argmax.input[0]:
            continue
        axes = _attribute(node, "axes")
        if len(node.input) > 1 and node.input[1] in constants:
            # from opset 18 on, the axes are an input
            axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
        if axes == [axis]:
            found.append(node)
    return found


def _attribute(node: NodeProto, name: str, default: int = 0) -> Any:
    """The value of an integer, or list of integers, attribute."""
    for entry in node.attribute:
        if entry.name == name:
            return list(entry.ints) if entry.ints else entry.i
    return default


def _shapes(graph: GraphProto) -> dict[str, list[int]]:
    """Sizes of every known tensor; 0 for one that varies."""
    values = (*graph.value_info, *graph.input, *graph.output)
    return {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in values
        if value.type.tensor_type.HasField("shape")
    }
