"""Forbidden content of model files is refused by name, before ONNX Runtime reads it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.live import resident_mb
from streamparts.bundle.load import METADATA_KEY, check_model
from streamparts.bundle.scan import MAX_NODES, scan
from streamparts.bundle.shipped import ASSETS
from streamparts.bundle.trial import open_session, try_out
from streamparts.errors import ModelError
from tests.tiny_model import tiny_graph, tiny_spec


def sound() -> onnx.ModelProto:
    model = tiny_graph((16, 16))
    helper.set_model_props(model, {METADATA_KEY: tiny_spec((16, 16)).to_json()})
    return model


def custom_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "org.example"


def custom_opset(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("org.example", 1))


def control_flow(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("body", helper.make_graph([], "inner", [], [])))


def function(model: onnx.ModelProto) -> None:
    model.functions.append(helper.make_function("", "Mine", [], [], [], []))


def sparse(model: onnx.ModelProto) -> None:
    values = helper.make_tensor("values", TensorProto.FLOAT, [1], [1.0])
    places = helper.make_tensor("places", TensorProto.INT64, [1], [5])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [10**12]))


def external(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL


def external_attribute(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(np.zeros(2, np.float32))
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    model.graph.node[0].attribute.append(helper.make_attribute("value", tensor))


def huge_weights(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [2**40]


def huge_between(model: onnx.ModelProto) -> None:
    model.graph.value_info.append(helper.make_tensor_value_info("floats", TensorProto.FLOAT, [2**20, 2**20]))


def negative_weights(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [-1]


def missing_weights(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-1]


def strings(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(helper.make_tensor("text", TensorProto.STRING, [1], [b"x"]))


def huge_metadata(model: onnx.ModelProto) -> None:
    model.metadata_props.add(key="other", value="x" * 1_000_001)


def two_descriptions(model: onnx.ModelProto) -> None:
    model.metadata_props.add(key=METADATA_KEY, value=tiny_spec().to_json())


def _numbers(name: str, values: list[int] | list[float]) -> onnx.TensorProto:
    kind = TensorProto.FLOAT if isinstance(values[0], float) else TensorProto.INT64
    return helper.make_tensor(name, kind, [len(values)], values)


def _told(model: onnx.ModelProto, operator: str, sizes: onnx.TensorProto, place: int = 1) -> None:
    inputs = ["floats", *[""] * (place - 1), "sizes"]
    model.graph.initializer.append(sizes)
    model.graph.node.append(helper.make_node(operator, inputs, ["more"]))


def huge_expand(model: onnx.ModelProto) -> None:
    _told(model, "Expand", _numbers("sizes", [1, 2**20, 2**20, 1]))


def huge_expand_of_raw_numbers(model: onnx.ModelProto) -> None:
    _told(model, "Expand", numpy_helper.from_array(np.array([-1, 2**40], np.int64), "sizes"))


def huge_expand_of_a_constant(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Expand", ["floats", "told"], ["more"]))
    value = _numbers("value", [2**14, 2**14])
    model.graph.node.append(helper.make_node("Constant", [], ["told"], value=value))


def huge_pad(model: onnx.ModelProto) -> None:
    _told(model, "Pad", _numbers("sizes", [0, 0, 50_000, 0, 0, 0, 50_000, 0]))


def huge_resize(model: onnx.ModelProto) -> None:
    _told(model, "Resize", _numbers("sizes", [1.0, 500.0, 500.0, 1.0]), place=2)


def endless_resize(model: onnx.ModelProto) -> None:
    _told(model, "Resize", _numbers("sizes", [1.0, float("inf"), 1.0, 1.0]), place=2)


def huge_resize_by_sizes(model: onnx.ModelProto) -> None:
    _told(model, "Resize", _numbers("sizes", [1, 40_000, 40_000, 3]), place=3)


def huge_border(model: onnx.ModelProto) -> None:
    node = helper.make_node("Conv", ["floats", "colors"], ["more"], pads=[30_000, 30_000, 0, 0])
    model.graph.node.append(node)


def size_of_the_image(model: onnx.ModelProto) -> None:
    """As many rows as the image is bright."""
    model.graph.node.append(helper.make_node("Cast", ["floats"], ["counts"], to=TensorProto.INT64))
    model.graph.node.append(helper.make_node("ReduceMax", ["counts"], ["most"], keepdims=0))
    model.graph.initializer.append(_numbers("unit", [1]))
    model.graph.node.append(helper.make_node("Mul", ["most", "unit"], ["sizes"]))
    model.graph.node.append(helper.make_node("Expand", ["floats", "sizes"], ["more"]))


def _computed(model: onnx.ModelProto, operator: str, first: list[int], second: list[int], place: int = 1) -> None:
    """Sizes that the graph multiplies; no single number in the file is suspicious."""
    model.graph.initializer.extend([_numbers("factor0", first), _numbers("factor1", second)])
    model.graph.node.append(helper.make_node("Mul", ["factor0", "factor1"], ["sizes"]))
    model.graph.node.append(helper.make_node(operator, ["floats", *[""] * (place - 1), "sizes"], ["more"]))


def computed_expand(model: onnx.ModelProto) -> None:
    _computed(model, "Expand", [1, 2**10, 1, 1, 1, 1], [2**10, 2**10, 1, 1, 1, 1])


def computed_pad(model: onnx.ModelProto) -> None:
    _computed(model, "Pad", [0, 3000, 3000, 0, 0, 0, 0, 0], [1, 10, 10, 1, 1, 1, 1, 1])


def computed_resize(model: onnx.ModelProto) -> None:
    _computed(model, "Resize", [1, 2000, 2000, 3], [1, 20, 20, 1], place=3)


def expand_by_shapes(model: onnx.ModelProto) -> None:
    """The image's size, squared twice."""
    model.graph.node.append(helper.make_node("Shape", ["floats"], ["size0"]))
    for n in range(2):
        model.graph.node.append(helper.make_node("Mul", [f"size{n}", f"size{n}"], [f"size{n + 1}"]))
    model.graph.initializer.append(_numbers("single", [1.0]))
    model.graph.node.append(helper.make_node("Expand", ["single", "size2"], ["more"]))


def outer_product(model: onnx.ModelProto) -> None:
    """A megabyte in the file, a hundred gigabytes in memory."""
    model.graph.initializer.append(_numbers("row", [1.0] * 200_000))
    model.graph.initializer.append(_numbers("upright", [-1, 1]))
    model.graph.node.append(helper.make_node("Reshape", ["row", "upright"], ["column"]))
    model.graph.node.append(helper.make_node("Mul", ["row", "column"], ["more"]))


def doubling(model: onnx.ModelProto) -> None:
    last = "floats"
    for n in range(24):
        model.graph.node.append(helper.make_node("Concat", [last, last], [f"twice{n}"], axis=1))
        last = f"twice{n}"


TOO_MUCH: list[Callable[[onnx.ModelProto], None]] = [
    computed_expand,
    computed_pad,
    computed_resize,
    expand_by_shapes,
    outer_product,
    doubling,
]
"""Changes that no number in the file shows: the model is refused when it is tried."""

REFUSED: dict[Callable[[onnx.ModelProto], None], str] = {
    custom_operator: "domain 'org.example'",
    custom_opset: "domain 'org.example'",
    control_flow: "control flow",
    function: "functions",
    sparse: "sparse",
    external: "in another file",
    external_attribute: "in another file",
    huge_weights: r"shape \[1099511627776\], too large",
    huge_between: "too large",
    negative_weights: "negative length",
    missing_weights: r"a tensor of shape \[3, 2\] with 23 bytes",
    strings: "tensor of type 8",
    huge_metadata: "metadata is larger than 1 MB",
    two_descriptions: "'streamparts' twice",
    huge_expand: r"lets Expand make \[1, 1048576, 1048576, 1\], more than any model",
    huge_expand_of_raw_numbers: r"lets Expand make \[-1, 1099511627776\]",
    huge_expand_of_a_constant: r"lets Expand make \[16384, 16384\]",
    huge_pad: "lets Pad make",
    huge_resize: r"lets Resize make \[1.0, 500.0, 500.0, 1.0\]",
    endless_resize: "lets Resize make",
    huge_resize_by_sizes: "lets Resize make",
    huge_border: r"lets Conv make \[30000, 30000, 0, 0\]",
    size_of_the_image: "lets Expand make sizes that depend on the image",
}


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
def test_what_no_model_of_ours_has_is_refused_by_name(change: Callable[[onnx.ModelProto], None]) -> None:
    model = sound()
    change(model)
    for check in (scan, check_model):
        with pytest.raises(ModelError, match=REFUSED[change]) as caught:
            check(model.SerializeToString())
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("change", TOO_MUCH, ids=lambda change: change.__name__)
def test_what_needs_gigabytes_is_refused_when_it_is_tried(change: Callable[[onnx.ModelProto], None]) -> None:
    model = sound()
    change(model)
    data = model.SerializeToString()
    assert scan(data) != {}, "nothing in the file shows it"
    with pytest.raises(ModelError, match="768 MB") as caught:
        check_model(data)
    assert str(caught.value).isprintable()


def test_what_computes_for_hours_is_refused_after_seconds() -> None:
    model = sound()
    model.graph.initializer.extend([_numbers("row", [1.0] * 2000), _numbers("upright", [-1, 1])])
    model.graph.node.append(helper.make_node("Reshape", ["row", "upright"], ["column"]))
    model.graph.node.append(helper.make_node("Mul", ["row", "column"], ["square0"]))
    for n in range(MAX_NODES - 100):
        model.graph.node.append(helper.make_node("MatMul", [f"square{n}", f"square{n}"], [f"square{n + 1}"]))
    session = open_session(model.SerializeToString())
    with pytest.raises(ModelError, match=r"0\.2 s for one"):
        try_out(session, (16, 16), seconds=0.2)


def test_sizes_that_come_from_shapes_pass() -> None:
    """As exporters write upsampling to the image's size."""
    model = sound()
    model.graph.node.append(helper.make_node("Shape", ["floats"], ["size"]))
    model.graph.node.append(helper.make_node("Resize", ["floats", "", "", "size"], ["again"]))
    assert check_model(model.SerializeToString()).num_parts == 2


def test_trials_leave_no_memory_behind() -> None:
    """The hundredth needs no more than the tenth: what a trial used is returned."""
    model = sound()
    model.graph.initializer.append(_numbers("row", [1.0] * 4000))
    model.graph.initializer.append(_numbers("upright", [-1, 1]))
    model.graph.node.append(helper.make_node("Reshape", ["row", "upright"], ["column"]))
    model.graph.node.append(helper.make_node("Mul", ["row", "column"], ["more"]))  # 64 MB
    data, used = model.SerializeToString(), []
    for _ in range(12):
        check_model(data)
        used.append(resident_mb() or 0.0)
    assert used[-1] - used[2] < 64


def test_a_sound_model_passes_and_gives_its_metadata() -> None:
    assert scan(sound().SerializeToString()) == {METADATA_KEY: tiny_spec((16, 16)).to_json()}
    assert set(scan((ASSETS / "puppet-human.onnx").read_bytes())) == {METADATA_KEY}


def test_sizes_that_pictures_have_pass() -> None:
    model = sound()
    for number, (operator, place, sizes) in enumerate(
        (
            ("Expand", 1, [1, -1, 512, 512]),
            ("Pad", 1, [0, 0, 16, 16, 0, 0, -16, 16]),
            ("Resize", 2, [1.0, 1.0, 16.0, 16.0]),
            ("Resize", 3, [8, 64, 256, 256]),
        )
    ):
        tensor = _numbers(f"sizes{number}", sizes)  # type: ignore[arg-type]
        model.graph.initializer.append(tensor)
        inputs = ["floats", *[""] * (place - 1), tensor.name]
        model.graph.node.append(helper.make_node(operator, inputs, [f"more{number}"]))
    assert scan(model.SerializeToString()) != {}


def test_every_truncation_of_a_model_is_refused_or_lacks_its_description() -> None:
    data = sound().SerializeToString()
    refused = 0
    for length in range(len(data)):
        try:
            assert scan(data[:length]) == {}
        except ModelError:
            refused += 1
    assert refused > len(data) - 10


@pytest.mark.parametrize(
    "data", [b"\xff" * 40, b"\x00", b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x3b", b"\x08"]
)
def test_what_is_no_protobuf_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="not a usable ONNX model"):
        scan(data)


def test_a_name_that_is_no_text_is_refused() -> None:
    data = sound().SerializeToString().replace(b"is_there", b"is_\xff\xfe\x80re")
    with pytest.raises(ModelError, match="not UTF-8"):
        scan(data)


@pytest.mark.parametrize("operator", ["Range", "Tile", "ConstantOfShape", "Loop", "RandomNormal", "SequenceEmpty"])
def test_an_operator_that_no_model_has_is_refused_by_its_name(operator: str) -> None:
    model = sound()
    model.graph.node[0].op_type = operator
    with pytest.raises(ModelError, match=f"operator '?{operator}"):
        scan(model.SerializeToString())


def test_a_chain_of_thousands_of_nodes_is_refused() -> None:
    model = sound()
    model.graph.node.extend(helper.make_node("Add", ["a", "a"], ["a"]) for _ in range(MAX_NODES))
    with pytest.raises(ModelError, match="more than 5000 nodes"):
        scan(model.SerializeToString())


def test_more_fields_than_any_model_has_are_refused_in_time_that_grows_with_their_number() -> None:
    model = sound().SerializeToString()
    with pytest.raises(ModelError, match="more than 1000000 fields"):
        scan(model + 1_100_000 * b"\x28\x01")  # model_version, again and again


def test_a_shape_of_endless_length_is_refused() -> None:
    model = sound()
    model.graph.initializer[0].dims.extend([1] * 1000)
    with pytest.raises(ModelError):
        scan(model.SerializeToString())
