"""Selects the nodes of a graph that may run in 16 bits or fewer, and adds the casts around them. Needs the package
onnx."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamparts.errors import ModelError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

CONVOLUTIONS = ("Conv", "ConvTranspose")
CARRIERS: dict[str, tuple[int, ...] | None] = {
    "Add": (0, 1),
    "AveragePool": (0,),
    "Clip": (0, 1, 2),
    "Concat": None,
    "DepthToSpace": (0,),
    "Elu": (0,),
    "LeakyRelu": (0,),
    "MaxPool": (0,),
    "PRelu": (0, 1),
    "Relu": (0,),
    "Resize": (0,),
    "SpaceToDepth": (0,),
}
"""Operators that pass a convolution's result to the next one, and their inputs of that type; None is all."""
LARGEST_FP16 = 65504.0
EXACT_STRIDE = 8
"""Layers of EfficientNet-lite0 down to this stride stay in fp32: their channels reach past 90 before they are clipped
at 6, their filters have 9 or 25 weights of up to 18, and what they lose, all later layers read."""


def convolutions(model: ModelProto) -> list[NodeProto]:
    return [node for node in model.graph.node if node.op_type in CONVOLUTIONS]


def last_convolutions(model: ModelProto) -> set[str]:
    """Names of the convolutions whose results reach another convolution only through the readout."""
    inner = _inner_nodes(model)
    return {node.name for index, node in enumerate(model.graph.node) if _convolves(node) and index not in inner}


def halve(model: ModelProto, precision: str, exact_stride: int = 0) -> ModelProto:
    """Convert `model` in place: its inner convolutions, and the operators that pass on their results, become "fp16" or
    "bf16". Those that read nothing coarser than `exact_stride`, directly or through others, stay in fp32. Raises
    ModelError for weights that fp16 cannot represent."""
    from onnx import TensorProto, helper

    graph = model.graph
    kind = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.BFLOAT16
    strides = _strides(model)
    inner = {index for index in _inner_nodes(model) if strides[graph.node[index].output[0]] > exact_stride}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    low = {name for index in inner for name in graph.node[index].output}
    outer_reads = {name for index, node in enumerate(graph.node) if index not in inner for name in node.input}
    made: dict[str, str] = {}
    nodes: list[NodeProto] = []

    def cast(name: str, to: int) -> str:
        if name not in made:
            made[name] = f"{name}.{TensorProto.DataType.Name(to).lower()}"
            nodes.append(helper.make_node("Cast", [name], [made[name]], to=to))
        return made[name]

    def halved(name: str) -> str:
        if name not in made:
            made[name] = f"{name}.{precision}" if name in outer_reads else name
            tensor = _rounded(weights[name], made[name], kind)
            if made[name] == name:
                weights[name].CopyFrom(tensor)
            else:
                graph.initializer.append(tensor)
        return made[name]

    for index, node in enumerate(graph.node):
        for slot, name in enumerate(node.input):
            if index in inner and name and slot in _typed_inputs(node) and name not in low:
                node.input[slot] = halved(name) if name in weights else cast(name, kind)
            elif index not in inner and name in low:
                node.input[slot] = cast(name, TensorProto.FLOAT)
        nodes.append(node)
    del graph.value_info[:]  # their types have changed
    kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    return model


def _inner_nodes(model: ModelProto) -> set[int]:
    """Indices of the convolutions that reach another one through passing operators only, and of these operators."""
    nodes = model.graph.node
    carried: set[str] = set()
    for node in nodes:
        if _convolves(node) or (_carries(node) and any(node.input[slot] in carried for slot in _typed_inputs(node))):
            carried.update(node.output)
    inner: set[int] = set()
    wanted: set[str] = set()
    for index in reversed(range(len(nodes))):
        node = nodes[index]
        reaches = any(name in wanted for name in node.output) and node.output[0] in carried
        if reaches:
            inner.add(index)
        if _convolves(node):
            wanted.add(node.input[0])
        elif reaches:
            wanted.update(node.input[slot] for slot in _typed_inputs(node))
    return inner


def _strides(model: ModelProto) -> dict[str, int]:
    """For every tensor the coarsest stride, relative to the image, of what it is computed from; enlarging does not
    lower it."""
    found: dict[str, int] = {}
    for node in model.graph.node:
        steps = [entry.ints[0] for entry in node.attribute if entry.name == "strides" and entry.ints]
        step = steps[0] if steps and node.op_type != "ConvTranspose" else 1
        stride = step * max((found.get(name, 1) for name in node.input), default=1)
        found.update((name, stride) for name in node.output)
    return found


def _convolves(node: NodeProto) -> bool:
    return node.op_type in CONVOLUTIONS


def _carries(node: NodeProto) -> bool:
    """Bilinear resizing computes, and is excluded if it comes last."""
    if node.op_type != "Resize":
        return node.op_type in CARRIERS
    return any(entry.name == "mode" and entry.s == b"nearest" for entry in node.attribute)


def _typed_inputs(node: NodeProto) -> range | tuple[int, ...]:
    """Positions of the inputs that must have the result's type."""
    slots = CARRIERS.get(node.op_type)
    return range(len(node.input)) if slots is None else tuple(slot for slot in slots if slot < len(node.input))


def _rounded(tensor: TensorProto, name: str, kind: int) -> TensorProto:
    from onnx import TensorProto, helper, numpy_helper

    values = numpy_helper.to_array(tensor)
    if kind == TensorProto.FLOAT16:
        if np.abs(values).max(initial=0) > LARGEST_FP16:
            raise ModelError(f"the weights {tensor.name} exceed the range of fp16; use bf16 or int8")
        return numpy_helper.from_array(values.astype(np.float16), name)
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    nearest = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return helper.make_tensor(name, kind, values.shape, nearest.tobytes(), raw=True)
