"""Exported models: names of the network, only operators that every engine has, and the evidence of each part."""

from __future__ import annotations

import copy
import warnings
from functools import cache

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from onnx import numpy_helper  # noqa: E402

from export.graph import to_onnx  # noqa: E402
from export.parity import bundle_of, compare_frames, network_runner, tolerance_of  # noqa: E402
from export.trained import network_shape  # noqa: E402
from streamparts.backends.onnx_runtime import OnnxRuntimeBackend  # noqa: E402
from streamparts.bundle.load import Bundle  # noqa: E402
from streamparts.bundle.spec import ModelSpec  # noqa: E402
from streamparts.models.assembly import Assembly, AssemblyConfig  # noqa: E402
from streamparts.models.fuse import fuse_batch_norms  # noqa: E402
from streamparts.models.groups import PartGroups  # noqa: E402
from streamparts.models.readout import Exported, ExportedScops, ExportedStudent, ExportedTeacher, read_out  # noqa: E402
from streamparts.models.scops import Scops  # noqa: E402
from streamparts.models.student import StudentConfig  # noqa: E402
from streamparts.parity.sample_frames import FrameSet  # noqa: E402
from tests.exported import kept  # noqa: E402
from tests.networks import NETWORKS, with_lived_norms  # noqa: E402
from tests.rtx import TARGETS, build_engine  # noqa: E402

SIZE = (64, 64)
UNSUPPORTED = {"ScatterElements", "ScatterND", "NonZero", "Unique", "GlobalAveragePool"}
"""Operators that TensorRT does not support in some form."""
EXPORTED = ["nano", "small", "base", "scops fast", "teacher"]
GROUPS = PartGroups(((1, 0), (3,), (2,)), ((0.1, 0.0),) * 3, (0.3, 0.0, 0.1), ((1.0, 1.2),) * 3)


def network_of(name: str) -> Exported:
    torch.manual_seed(0)
    if name == "teacher":
        shape = AssemblyConfig(5, 64, 6, (8, 12, 16, 24, 24), 24, 12)
        return ExportedTeacher(Assembly(shape), GROUPS, 3.0).eval()
    network = with_lived_norms(NETWORKS[name]())
    return (ExportedScops(network) if isinstance(network, Scops) else ExportedStudent(network)).eval()


def spec_of(name: str) -> ModelSpec:
    network = {} if name == "teacher" else network_shape("student", StudentConfig(3, 64))
    method = "scops" if name.startswith("scops") else "assembly"
    return ModelSpec(name="x", method=method, parts=("a", "b", "c"), input_hw=SIZE, network=network)


@cache
def exported(name: str) -> tuple[Exported, Bundle]:
    """A network and the model made of it; each is exported once in a run, and kept for tests of other files."""
    from pathlib import Path

    network = network_of(name)
    data = kept(f"network-{name}", lambda: data_of(name), anew=True)
    return network, bundle_of(data, Path("x.onnx"))


def data_of(name: str) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return to_onnx(fuse_batch_norms(network_of(name)), spec_of(name))


def noise(count: int) -> FrameSet:
    images = np.random.default_rng(0).integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)
    return FrameSet(images, tuple(map(str, range(count))), count)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTED)
def test_the_file_holds_every_weight_of_the_fused_network_by_its_name(name: str) -> None:
    network, bundle = exported(name)
    held = {t.name: numpy_helper.to_array(t) for t in onnx.load_model_from_string(bundle.data).graph.initializer}
    for key, value in fuse_batch_norms(network).state_dict().items():
        assert np.allclose(held[key], value.numpy(), rtol=1e-6, atol=1e-8), key  # fused anew: a bit may differ


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTED)
def test_the_graph_uses_only_what_every_engine_has(name: str) -> None:
    model = onnx.load_model_from_string(exported(name)[1].data)
    assert not {node.op_type for node in model.graph.node} & UNSUPPORTED
    for node in model.graph.node:
        options = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        assert not options.get("antialias") and "reduction" not in options
        early = node.op_type == "Cast" and options["to"] == onnx.TensorProto.UINT8 and node.output[0] != "labels"
        assert not early, "TensorRT takes uint8 at the very end only"


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTED)
def test_the_graph_says_what_the_network_says_evidence_too(name: str) -> None:
    network, bundle = exported(name)
    graph = OnnxRuntimeBackend(bundle).run
    compared = compare_frames(network_runner(network), graph, noise(15), bundle.spec)
    assert compared.agreement().problem(tolerance_of("fp32")) is None
    evidence = graph(noise(2).images).evidence
    assert evidence is not None and evidence.shape == (2, 3, 2) and evidence.min() >= 0 and evidence.max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", EXPORTED)
def test_tensorrt_for_rtx_builds_an_engine_of_it(name: str, target: str) -> None:
    assert build_engine(exported(name)[1].data, target, SIZE) > 10_000


@pytest.mark.slow
def test_evidence_can_be_left_out() -> None:
    network = copy.deepcopy(network_of("nano"))
    network.evidence = False
    model = onnx.load_model_from_string(to_onnx(fuse_batch_norms(network), spec_of("nano")))
    assert [output.name for output in model.graph.output] == ["labels", "affines", "scores"]


@torch.no_grad()
def test_evidence_is_the_mass_and_the_peak_of_the_owned_pixels() -> None:
    torch.manual_seed(0)
    logits = 3 * torch.randn(2, 4, 8, 8)
    affine = network_of("nano").student(torch.rand(2, 3, 64, 64)).affine
    masks, read = logits.softmax(1), read_out(logits, affine)
    for image in range(2):
        for part in range(3):
            owned = torch.where(read.labels[image] == part + 1, masks[image, part + 1], 0.0)
            assert read.evidence[image, part, 0].item() == pytest.approx(owned.mean().item(), abs=1e-6)
            assert read.evidence[image, part, 1].item() == pytest.approx(owned.max().item(), abs=1e-6)


def test_quarters_are_read_as_the_whole_picture_is() -> None:
    network = network_of("nano")
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        whole, quarters = read_out(*network.student(images)), network.read(images)
    assert torch.equal(whole.labels, quarters.labels)
    assert torch.allclose(whole.evidence, quarters.evidence, atol=1e-6)


def test_groups_survive_json_and_nonsense_is_refused() -> None:
    assert PartGroups.from_json(GROUPS.to_json()) == GROUPS
    for text in ("{}", "[]", "3", '{"groups": [[0]], "offsets": [], "angles": [], "ratios": []}', "x"):
        with pytest.raises(ValueError):
            PartGroups.from_json(text)


def test_a_weight_that_is_written_in_another_form_is_noticed() -> None:
    from export.graph import hold_weights
    from streamparts.errors import ModelError

    model = onnx.load_model_from_string(exported("nano")[1].data)
    weights = dict(fuse_batch_norms(exported("nano")[0]).state_dict())
    weights["student.mask.0.weight"] = weights["student.mask.0.weight"] + 1
    with pytest.raises(ModelError, match=r"student\.mask\.0\.weight"):
        hold_weights(model, weights)
