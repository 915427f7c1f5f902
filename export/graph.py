"""Writes a network as ONNX, with its weights under the names of its `state_dict`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from streamparts.bundle.load import METADATA_KEY
from streamparts.bundle.spec import ModelSpec
from streamparts.errors import ModelError
from streamparts.models.readout import Exported, Readout

OPSET = 18


def to_onnx(network: Exported, spec: ModelSpec) -> bytes:
    """Return `network`, with its norms already folded (models/fuse.py), as the bytes of an ONNX file with weights and
    description."""
    batch = torch.export.Dim("batch", min=1, max=1024)
    example = torch.zeros(2, *spec.input_hw, 3, dtype=torch.uint8)
    outputs = [name for name in Readout._fields if name != "evidence" or network.evidence]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecations, which users cannot fix
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # nor about a missing torchvision
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            verbose=False,
            dynamic_shapes={"image": {0: batch}},
            input_names=["image"],
            output_names=outputs,
            opset_version=OPSET,
        )
    if program is None:
        raise ModelError("torch returned no ONNX program")
    model = program.model_proto
    hold_weights(model, network.state_dict())
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, spec.to_json()
    strip_traces(model)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def hold_weights(model: onnx.ModelProto, weights: Mapping[str, Tensor]) -> None:
    """Make the file contain every entry of a state_dict under its name.

    The exporter keeps the names, but merges tensors of equal values and folds small ones away. These are added again,
    though no node reads them. Raises ModelError if a name belongs to another tensor.
    """
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, value in weights.items():
        wanted = value.detach().cpu()
        if name not in held:
            model.graph.initializer.append(numpy_helper.from_array(wanted.numpy(), name))
        elif not torch.equal(torch.from_numpy(numpy_helper.to_array(held[name]).copy()), wanted):
            raise ModelError(f"this version of torch writes {name} in another form; export with torch 2.13")


def strip_traces(model: onnx.ModelProto) -> None:
    """Remove the exporter's stack traces, which contain paths of this machine and make up half of a small model."""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
