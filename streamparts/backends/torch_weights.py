"""The weights of a network, read from the ONNX graph that was exported from it."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor


def read_weights(graph: onnx.GraphProto, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a state_dict, by name, as far as the graph holds them. `wanted` gives names and shapes.

    Most are initialisers of the same name. The exporter leaves out a bias of zeros, and gives the mean and deviation
    of the pictures, which are constants, names of its own.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    readers = {name: node for node in graph.node for name in node.input if name in wanted}
    makers = {name: node for node in graph.node for name in node.output}
    found: dict[str, Tensor] = {}
    for name, like in wanted.items():
        prefix, _, kind = name.rpartition(".")
        if name in constants:
            found[name] = _tensor(constants[name])
        elif kind == "bias" and _has_no_bias(readers.get(weight := f"{prefix}.weight")) and weight in constants:
            found[name] = torch.zeros(constants[weight].dims[0])
        elif kind in ("mean", "std"):
            constant = _normalisation(readers.get(f"{prefix}.conv1.weight"), makers, constants).get(kind)
            if constant is not None:
                found[name] = _tensor(constant).reshape(like.shape)
    return found


def _has_no_bias(node: onnx.NodeProto | None) -> bool:
    return node is not None and node.op_type in ("Conv", "Gemm") and len(node.input) == 2


def _normalisation(
    conv: onnx.NodeProto | None, makers: Mapping[str, onnx.NodeProto], constants: Mapping[str, onnx.TensorProto]
) -> dict[str, onnx.TensorProto]:
    """Constants of (images - mean) / std, the two nodes before a network's first convolution."""
    divide = makers.get(conv.input[0]) if conv is not None else None
    if divide is None or divide.op_type != "Div":
        return {}
    subtract = makers.get(divide.input[0])
    if subtract is None or subtract.op_type != "Sub":
        return {}
    names = {"mean": subtract.input[1], "std": divide.input[1]}
    return {kind: constants[name] for kind, name in names.items() if name in constants}


def _tensor(constant: onnx.TensorProto) -> Tensor:
    return torch.from_numpy(numpy_helper.to_array(constant).copy())
