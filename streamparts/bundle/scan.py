"""Scans the bytes of an ONNX file before ONNX Runtime reads it, and edits its metadata.

The file is parsed as protobuf, without the onnx package. Content that no model of this library has is refused with its
name: external data, custom operators, control flow, shapes that do not fit the data, sizes beyond any image.
"""

from __future__ import annotations

import hashlib
import math
import struct
import threading
from collections.abc import Iterator
from typing import NamedTuple

from streamparts.bundle.spec import short
from streamparts.errors import ModelError

MAX_METADATA = 1_000_000
"""Maximum bytes of the whole metadata."""
MAX_NODES = 5_000
"""Maximum number of nodes: twenty times the largest network here; 20,000 small ones already take minutes to prepare."""
MAX_FIELDS = 1_000_000
"""Maximum number of fields read in the whole file."""
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
TEXTS = {"model": (2, 3, 4, 6), "graph": (2, 10), "node": (1, 2, 3, 4, 6, 8), "tensor": (8, 12), "value": (1, 3)}
"""Fields that contain text. ONNX Runtime accepts any bytes as a name, and prints them."""
PLAIN_DOMAINS = (b"", b"ai.onnx")
"""Operator domains of ONNX itself."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_ITEM_SIZE = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""Bytes per element by TensorProto.DataType: no strings, no complex numbers, nothing below a byte."""


class _Damaged(Exception):
    """Raised for bytes that are not protobuf, or not a model."""


class _Field(NamedTuple):
    number: int
    wire: int
    value: int
    """A number, or the length of `data`."""
    data: memoryview


class _Budget(threading.local):
    left: int | None = None
    """Number of fields that may still be read; None for no limit."""


class _Node(NamedTuple):
    operator: bytes
    inputs: list[bytes]
    outputs: list[bytes]
    constant: list[float] | None
    """Values of a Constant, if they are a few numbers."""


_budget = _Budget()
_NOTHING = memoryview(b"")


def scan(data: bytes) -> dict[str, str]:
    """Return the metadata of the ONNX file `data`. Raises ModelError naming the problem."""
    _budget.left = MAX_FIELDS
    try:
        return _model(memoryview(data))
    except _Damaged as error:
        raise ModelError(f"not a usable ONNX model ({error}); copy or export it again") from error
    finally:
        _budget.left = None


def with_metadata(data: bytes, key: str, text: str) -> bytes:
    """Return the ONNX file `data` with `text` as the metadata entry `key`; all other fields keep their bytes. Raises
    ModelError if `data` is no ONNX file."""
    scan(data)
    entry = _packet(1, key.encode()) + _packet(2, text.encode())
    return b"".join([*_without_metadata(data, key), _packet(14, entry)])


def digest_without_metadata(data: bytes, key: str) -> str:
    """SHA-256, in hexadecimal, of the ONNX file `data` without the metadata entry `key`. Raises ModelError if `data` is
    no ONNX file."""
    scan(data)
    digest = hashlib.sha256()
    for piece in _without_metadata(data, key):
        digest.update(piece)
    return digest.hexdigest()


def _without_metadata(data: bytes, key: str) -> Iterator[memoryview]:
    """Yield the file's fields in order, except that one."""
    message, at = memoryview(data), 0
    for field in _fields(message):
        first, at = at, _end(message, at)
        if field.number != 14 or _text(_last(field.data, 1)) != key:
            yield message[first:at]


def _packet(number: int, data: bytes) -> bytes:
    """A field of bytes."""
    return _number(number << 3 | _BYTES) + _number(len(data)) + data


def _number(value: int) -> bytes:
    """Encode a protobuf varint: seven bits per byte, lowest first."""
    groups = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def _end(message: memoryview, at: int) -> int:
    """Return the end of the field that starts at `at`."""
    tag, at = _varint(message, at)
    match tag & 7:
        case 0:
            return _varint(message, at)[1]
        case 2:
            length, at = _varint(message, at)
            return at + length
        case wire:
            return at + (4 if wire == _FIXED32 else 8)


def _model(message: memoryview) -> dict[str, str]:
    metadata: dict[str, str] = {}
    graphs, size = 0, 0
    for number, _, _, data in _fields(message, "model"):
        if number == 7:
            graphs += 1
            _graph(data)
        elif number == 8:
            _require_plain_domain(_last(data, 1))
        elif number == 14:
            size += len(data)
            if size > MAX_METADATA:
                raise ModelError(
                    "its metadata is larger than 1 MB, the limit of a model's description; export it again"
                )
            key, value = _text(_last(data, 1)), _text(_last(data, 2))
            if key in metadata:
                raise ModelError(f"has the metadata {short(key)} twice; export it again")
            metadata[key] = value
        elif number in (20, 25):
            raise ModelError("carries functions or training graphs, which no model of streamparts has; export it again")
    if graphs != 1:
        raise _Damaged(f"{graphs} graphs in it")
    return metadata


def _graph(message: memoryview) -> None:
    nodes, known = list[_Node](), dict[bytes, list[float]]()
    for number, _, _, data in _fields(message, "graph"):
        if number == 1:
            if len(nodes) == MAX_NODES:
                raise ModelError(
                    f"has more than {MAX_NODES} nodes, the limit for a model of streamparts; export it again"
                )
            nodes.append(_node(data))
        elif number == 5:
            if (numbers := _tensor(data)) is not None:
                known[bytes(_last(data, 8))] = numbers
        elif number in (11, 12, 13):
            _value(data)
        elif number == 15:
            raise ModelError("has sparse tensors, which no model of streamparts has; export it again")
    known |= {node.outputs[0]: node.constant for node in nodes if node.outputs and node.constant is not None}
    for node in nodes:
        for place, is_multiple in SIZES.get(node.operator, {}).items():
            if place < len(node.inputs):
                most = MOST_SCALE if is_multiple else MOST_MADE
                _require_small(node.operator, known.get(node.inputs[place], []), most)


def _node(message: memoryview) -> _Node:
    found = _Node(bytes(_last(message, 4)), [], [], None)
    for number, _, _, data in _fields(message, "node"):
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
    for number, wire, value, data in _fields(message):
        if number in (5, 10):
            tensor = _tensor(data)
        elif number == 8:
            sizes += [_signed(size) for size in (_packed(data[: 10 * MAX_DIMS]) if wire == _BYTES else [value])]
        elif number in (6, 11):
            raise ModelError("has control flow (a graph inside a node), which no model of streamparts has")
        elif number in (14, 15, 22, 23):
            raise ModelError("has sparse tensors or types as attributes, which no model of streamparts has")
    if bytes(_last(message, 1)) in SIZE_ATTRIBUTES:
        _require_small(operator, sizes, MOST_MADE)
    return tensor


def _tensor(message: memoryview) -> list[float] | None:
    """Require the data in the file, in the size given by the shape. Returns it if it is a few numbers."""
    dims: list[int] = []
    kind = raw = typed = 0
    has_raw, numbers, raw_data = False, list[float](), _NOTHING
    for number, wire, value, data in _fields(message, "tensor"):
        if number == 1:
            dims += _packed(data[: 10 * MAX_DIMS + 10]) if wire == _BYTES else [value]
            _elements(dims)
        elif number == 2:
            kind = value
        elif number == 13 or (number == 14 and value):
            raise ModelError("keeps its weights in another file; export it again as one self-contained .onnx file")
        elif number == 9:
            raw, has_raw, raw_data = value, True, data
        elif number in (4, 5, 7, 10, 11):
            typed += len(data) if wire == _BYTES else 8
            numbers += _typed(number, wire, value, data) if typed <= 10 * MAX_DIMS else []
    if kind not in _ITEM_SIZE:
        raise ModelError(f"has a tensor of type {kind}, which no model of streamparts has; export it again")
    elements = _elements(dims)
    if raw != elements * _ITEM_SIZE[kind] if has_raw else elements > typed:
        raise _Damaged(f"a tensor of shape {short(dims)} with {raw or typed} bytes")
    if elements > MAX_DIMS * 2:
        return None
    return _unpacked(raw_data, kind) if has_raw else numbers


def _typed(field: int, wire: int, value: int, data: memoryview) -> list[float]:
    """Elements of one of TensorProto's lists: floats are four bytes each, all others varints."""
    if field == 4:
        return _unpacked(data, 1) if wire == _BYTES and len(data) % 4 == 0 else []
    return [_signed(number) for number in (_packed(data) if wire == _BYTES else [value])] if field in (5, 7) else []


def _unpacked(data: memoryview, kind: int) -> list[float]:
    """Numbers in `data`, little-endian: float, int32 or int64; none of other types."""
    letter = {1: "f", 6: "i", 7: "q"}.get(kind)
    return [] if letter is None else list(struct.unpack(f"<{len(data) // _ITEM_SIZE[kind]}{letter}", data))


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _value(message: memoryview) -> None:
    """Check the declared shape of an input, an output or an intermediate value."""
    tensor = _last(_last(message, 2, "value"), 1)
    dims = [
        value
        for number, _, _, dimension in _fields(_last(tensor, 2))
        if number == 1
        for inner, _, value, _ in _fields(dimension)
        if inner == 1
    ]
    _elements(dims)


def _elements(dims: list[int]) -> int:
    if any(dim >= 2**63 for dim in dims):
        raise _Damaged("a tensor with a negative length")
    if len(dims) > MAX_DIMS or any(dim > MAX_ELEMENTS for dim in dims) or math.prod(dims) > MAX_ELEMENTS:
        raise ModelError(f"declares a tensor of shape {short(dims)}, too large for any model of streamparts")
    return math.prod(dims)


def _require_plain_domain(domain: memoryview) -> None:
    if domain not in PLAIN_DOMAINS:
        raise ModelError(
            f"needs operators of the domain {short(bytes(domain[:64]).decode(errors='replace'))}, not ONNX's own; "
            "export it again with python -m export.onnx_model"
        )


def _last(message: memoryview, wanted: int, kind: str = "") -> memoryview:
    """Content of a field; the last occurrence counts, as in protobuf."""
    found = _NOTHING
    for number, wire, _, data in _fields(message, kind):
        if number == wanted and wire == _BYTES:
            found = data
    return found


def _text(data: memoryview) -> str:
    try:
        return bytes(data).decode()
    except UnicodeDecodeError as error:
        raise _Damaged("a text in it is not UTF-8") from error


def _packed(data: memoryview) -> list[int]:
    values, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        values.append(value)
    return values


def _fields(message: memoryview, kind: str = "") -> Iterator[_Field]:
    """Yield the fields of a message; those of TEXTS[kind] are text."""
    at, end, texts = 0, len(message), TEXTS.get(kind, ())
    while at < end:
        if _budget.left is not None:
            _budget.left -= 1
            if _budget.left < 0:
                raise ModelError(
                    f"has more than {MAX_FIELDS} fields, the limit for a model of streamparts; export it again"
                )
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 2**29:
            raise _Damaged(f"no field has the number {number}")
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield _Field(number, wire, value, _NOTHING)
            continue
        if wire == _BYTES:
            length, at = _varint(message, at)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise _Damaged(f"no field has the wire type {wire}")
        if length > end - at:
            raise _Damaged("it is truncated")
        if number in texts:
            _text(message[at : at + length])
        yield _Field(number, wire, length, message[at : at + length])
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number that starts at `at`, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise _Damaged("it is truncated")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
    raise _Damaged("a number of more than ten bytes")
