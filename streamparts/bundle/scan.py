"""Scans the bytes of an ONNX file before ONNX Runtime reads it.

The file is parsed as protobuf, without the onnx package. Content that no model of this library has is refused with its
name: external data, custom operators, control flow, shapes that do not fit the data, sizes beyond any image, and
sizes that depend on the image's values. Those that the graph computes from its own numbers show in trial.py.
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

from streamparts.bundle.flow import depending
from streamparts.bundle.protobuf import BYTES, NOTHING, DamagedError, fields, last, limited_fields, packed, text_of
from streamparts.bundle.spec import short
from streamparts.errors import ModelError

MAX_METADATA = 1_000_000
"""Maximum bytes of the whole metadata."""
MAX_NODES = 5_000
"""Maximum number of nodes: twenty times the largest network here; 20,000 small ones already take minutes to prepare."""
MAX_DIMS = 16
OPERATORS = frozenset(
    (
        b"Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast CastLike Ceil Clip Concat Constant Conv "
        b"ConvInteger ConvTranspose Cos CumSum DepthToSpace DequantizeLinear Div DynamicQuantizeLinear Elu Equal "
        b"Erf Exp Expand Flatten Floor Gather GatherElements Gelu Gemm GlobalAveragePool GlobalMaxPool Greater "
        b"GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization "
        b"LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul MatMulInteger Max MaxPool Mean Min "
        b"Mod Mul Neg Not Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear Reciprocal ReduceL1 ReduceL2 "
        b"ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize "
        b"Round Selu Shape Sigmoid Sign Sin Slice Softmax Softplus SpaceToDepth Split Sqrt Squeeze Sub Sum Tanh "
        b"Transpose Unsqueeze Where "
    ).split()
)
"""Operators that the export writes, and those that other exporters use for the same layers. Excluded are operators that
create tensors of sizes not in the file (Range, Tile, ConstantOfShape), sequences, texts, random numbers and control
flow."""
MAX_ELEMENTS = 2**31
"""Maximum elements of any tensor."""
MOST_MADE = 2**27
"""Maximum elements that Expand, Pad and Resize may create by numbers in the file: half a gigabyte."""
MOST_SCALE = 2**14
"""Maximum factor by which Resize may multiply the number of elements."""
SIZES: dict[bytes, dict[int, bool]] = {b"Expand": {1: False}, b"Pad": {1: False}, b"Resize": {2: True, 3: False}}
"""Inputs of an operator that set the size of its output; True if the input is a multiple."""
SIZE_ATTRIBUTES = (b"pads", b"output_padding", b"output_shape", b"strides", b"dilations", b"kernel_shape")
PLAIN_DOMAINS = (b"", b"ai.onnx")
"""Operator domains of ONNX itself."""

_ITEM_SIZE = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""Bytes per element by TensorProto.DataType: no strings, no complex numbers, nothing below a byte."""


class _Node(NamedTuple):
    operator: bytes
    inputs: list[bytes]
    outputs: list[bytes]
    constant: list[float] | None
    """Values of a Constant, if they are a few numbers."""


def scan(data: bytes) -> dict[str, str]:
    """Return the metadata of the ONNX file `data`. Raises ModelError naming the problem."""
    try:
        with limited_fields():
            return _model(memoryview(data))
    except DamagedError as error:
        raise ModelError(f"not a usable ONNX model ({error}); copy or export it again") from error


def _model(message: memoryview) -> dict[str, str]:
    metadata: dict[str, str] = {}
    graphs, size = 0, 0
    for number, _, _, data in fields(message, "model"):
        if number == 7:
            graphs += 1
            _graph(data)
        elif number == 8:
            _require_plain_domain(last(data, 1))
        elif number == 14:
            size += len(data)
            if size > MAX_METADATA:
                raise ModelError(
                    "its metadata is larger than 1 MB, the limit of a model's description; export it again"
                )
            key, value = text_of(last(data, 1)), text_of(last(data, 2))
            if key in metadata:
                raise ModelError(f"has the metadata {short(key)} twice; export it again")
            metadata[key] = value
        elif number in (20, 25):
            raise ModelError("carries functions or training graphs, which no model of streamparts has; export it again")
    if graphs != 1:
        raise DamagedError(f"{graphs} graphs in it")
    return metadata


def _graph(message: memoryview) -> None:
    nodes, known = list[_Node](), dict[bytes, list[float]]()
    given, stored = set[bytes](), set[bytes]()
    for number, _, _, data in fields(message, "graph"):
        if number == 1:
            if len(nodes) == MAX_NODES:
                raise ModelError(
                    f"has more than {MAX_NODES} nodes, the limit for a model of streamparts; export it again"
                )
            nodes.append(_node(data))
        elif number == 5:
            stored.add(bytes(last(data, 8)))
            if (numbers := _tensor(data)) is not None:
                known[bytes(last(data, 8))] = numbers
        elif number in (11, 12, 13):
            _value(data)
            given |= {bytes(last(data, 1))} if number == 11 else set()
        elif number == 15:
            raise ModelError("has sparse tensors, which no model of streamparts has; export it again")
    known |= {node.outputs[0]: node.constant for node in nodes if node.outputs and node.constant is not None}
    varying = depending(nodes, given - stored)
    for node in nodes:
        for place, is_multiple in SIZES.get(node.operator, {}).items():
            if place < len(node.inputs):
                if node.inputs[place] in varying:
                    raise ModelError(
                        f"lets {node.operator.decode()} make sizes that depend on the image; export it again"
                    )
                most = MOST_SCALE if is_multiple else MOST_MADE
                _require_small(node.operator, known.get(node.inputs[place], []), most)


def _node(message: memoryview) -> _Node:
    found = _Node(bytes(last(message, 4)), [], [], None)
    for number, _, _, data in fields(message, "node"):
        if number in (1, 2):
            (found.inputs if number == 1 else found.outputs).append(bytes(data))
        elif number == 7:
            _require_plain_domain(data)
        elif number == 4 and data not in OPERATORS:
            raise ModelError(
                f"has the operator {short(bytes(data[:64]).decode(errors='replace'))}, which no model of streamparts"
                " has"
            )
        elif number == 5 and (constant := _attribute(data, found.operator)) is not None:
            found = found._replace(constant=constant)
    return found


def _require_small(operator: bytes, sizes: list[float], most: int) -> None:
    """Refuse sizes above the limit. Negative numbers mean "unchanged" or crop; they create nothing."""
    if not all(map(math.isfinite, sizes)) or math.prod(max(1.0, float(size)) for size in sizes) > most:
        raise ModelError(
            f"lets {operator.decode()} make {short(sizes)}, more than any model of streamparts; export it again"
        )


def _attribute(message: memoryview, operator: bytes) -> list[float] | None:
    """Return its tensor, if that has a few numbers."""
    tensor, sizes = None, list[float]()
    for number, wire, value, data in fields(message):
        if number in (5, 10):
            tensor = _tensor(data)
        elif number == 8:
            sizes += [_signed(size) for size in (packed(data[: 10 * MAX_DIMS]) if wire == BYTES else [value])]
        elif number in (6, 11):
            raise ModelError("has control flow (a graph inside a node), which no model of streamparts has")
        elif number in (14, 15, 22, 23):
            raise ModelError("has sparse tensors or types as attributes, which no model of streamparts has")
    if bytes(last(message, 1)) in SIZE_ATTRIBUTES:
        _require_small(operator, sizes, MOST_MADE)
    return tensor


def _tensor(message: memoryview) -> list[float] | None:
    """Require the data in the file, in the size given by the shape. Returns it if it is a few numbers."""
    dims: list[int] = []
    kind = raw = typed = 0
    has_raw, numbers, raw_data = False, list[float](), NOTHING
    for number, wire, value, data in fields(message, "tensor"):
        if number == 1:
            dims += packed(data[: 10 * MAX_DIMS + 10]) if wire == BYTES else [value]
            _elements(dims)
        elif number == 2:
            kind = value
        elif number == 13 or (number == 14 and value):
            raise ModelError("keeps its weights in another file; export it again as one self-contained .onnx file")
        elif number == 9:
            raw, has_raw, raw_data = value, True, data
        elif number in (4, 5, 7, 10, 11):
            typed += len(data) if wire == BYTES else 8
            numbers += _typed(number, wire, value, data) if typed <= 10 * MAX_DIMS else []
    if kind not in _ITEM_SIZE:
        raise ModelError(f"has a tensor of type {kind}, which no model of streamparts has; export it again")
    elements = _elements(dims)
    if raw != elements * _ITEM_SIZE[kind] if has_raw else elements > typed:
        raise DamagedError(f"a tensor of shape {short(dims)} with {raw or typed} bytes")
    if elements > MAX_DIMS * 2:
        return None
    return _unpacked(raw_data, kind) if has_raw else numbers


def _typed(field: int, wire: int, value: int, data: memoryview) -> list[float]:
    """Elements of one of TensorProto's lists: floats are four bytes each, all others varints."""
    if field == 4:
        return _unpacked(data, 1) if wire == BYTES and len(data) % 4 == 0 else []
    return [_signed(number) for number in (packed(data) if wire == BYTES else [value])] if field in (5, 7) else []


def _unpacked(data: memoryview, kind: int) -> list[float]:
    """Numbers in `data`, little-endian: float, int32 or int64; empty for other types."""
    letter = {1: "f", 6: "i", 7: "q"}.get(kind)
    return [] if letter is None else list(struct.unpack(f"<{len(data) // _ITEM_SIZE[kind]}{letter}", data))


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _value(message: memoryview) -> None:
    """Check the declared shape of an input, an output or an intermediate value."""
    tensor = last(last(message, 2, "value"), 1)
    dims = [
        value
        for number, _, _, dimension in fields(last(tensor, 2))
        if number == 1
        for inner, _, value, _ in fields(dimension)
        if inner == 1
    ]
    _elements(dims)


def _elements(dims: list[int]) -> int:
    if any(dim >= 2**63 for dim in dims):
        raise DamagedError("a tensor with a negative length")
    if len(dims) > MAX_DIMS or any(dim > MAX_ELEMENTS for dim in dims) or math.prod(dims) > MAX_ELEMENTS:
        raise ModelError(f"declares a tensor of shape {short(dims)}, too large for any model of streamparts")
    return math.prod(dims)


def _require_plain_domain(domain: memoryview) -> None:
    if domain not in PLAIN_DOMAINS:
        raise ModelError(
            f"needs operators of the domain {short(bytes(domain[:64]).decode(errors='replace'))}, not ONNX's own; "
            "export it again with streamparts export"
        )
