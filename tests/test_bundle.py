import hashlib
import os
import shutil
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from streamparts.backends.loading import load_model
from streamparts.bundle.load import DEFAULT_MODEL, METADATA_KEY, Bundle, check_model
from streamparts.bundle.shipped import ASSETS, bundled_path, model_names
from streamparts.bundle.spec import SCHEMA, ModelSpec
from streamparts.errors import ModelError
from tests.tiny_model import PARTS, tiny_graph, tiny_spec, write_tiny_model


def test_a_model_file_gives_its_description_and_hash(model_path: Path) -> None:
    bundle = load_model(model_path)
    assert bundle.spec == tiny_spec()
    assert bundle.spec.num_parts == 2
    assert bundle.path == model_path
    assert bundle.sha256 == hashlib.sha256(model_path.read_bytes()).hexdigest()


def test_the_weights_are_not_printed(bundle: Bundle) -> None:
    assert len(repr(bundle)) < 2000


def test_a_description_survives_json() -> None:
    spec = tiny_spec()
    assert msgspec.json.decode(spec.to_json(), type=ModelSpec) == spec
    assert msgspec.json.decode(spec.to_json())["schema"] == SCHEMA


@pytest.mark.parametrize("name", model_names())
def test_the_shipped_models_are_sound(name: str) -> None:
    assert check_model((bundled_path(name) or ASSETS).read_bytes()) == load_model(name).spec
    assert load_model(name).spec.name == name.removesuffix("-int8")


def test_only_models_of_the_package_are_loaded_without_a_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tried(data: bytes) -> None:
        raise ModelError("tried out")

    monkeypatch.setattr("streamparts.bundle.load.check_model", tried)
    load_model()
    for suffix in (".onnx", ".onnx.json"):
        shutil.copyfile(ASSETS / f"{DEFAULT_MODEL}{suffix}", tmp_path / f"{DEFAULT_MODEL}{suffix}")
    with pytest.raises(ModelError, match="tried out"):
        load_model(tmp_path / f"{DEFAULT_MODEL}.onnx")


def test_a_name_that_no_model_has_lists_the_names_there_are() -> None:
    with pytest.raises(ModelError, match="'nonsense'"):
        load_model("nonsense")


def with_spec(path: Path, text: str | None) -> Path:
    model = tiny_graph((64, 64))
    if text is not None:
        helper.set_model_props(model, {METADATA_KEY: text})
    path.write_bytes(model.SerializeToString())
    return path


def with_external_weights(path: Path) -> Path:
    model = tiny_graph((64, 64))
    helper.set_model_props(model, {METADATA_KEY: tiny_spec().to_json()})
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def spoiled(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.onnx"
    sound = write_tiny_model(folder / "sound.onnx").read_bytes()
    spec = msgspec.to_builtins(tiny_spec())
    match kind:
        case "missing":
            pass
        case "folder":
            path.mkdir()
        case "empty":
            path.touch()
        case "text":
            path.write_text("not a model")
        case "random":
            path.write_bytes(np.random.default_rng(0).bytes(4000))
        case "truncated":
            path.write_bytes(sound[: len(sound) // 2])
        case "external":
            with_external_weights(path)
        case "undescribed":
            with_spec(path, None)
        case "no_json":
            with_spec(path, "{")
        case "newer":
            with_spec(path, msgspec.json.encode({**spec, "schema": "streamparts.model/9"}).decode())
        case "unknown_field":
            with_spec(path, msgspec.json.encode({**spec, "surprise": 1}).decode())
        case "other_size":
            write_tiny_model(path, (64, 64), tiny_spec((32, 64)))
        case "other_parts":
            write_tiny_model(path, (64, 64), tiny_spec(parts=("one", "two", "three")))
        case "same_names":
            with_spec(path, msgspec.json.encode({**spec, "parts": ["a", "a"]}).decode())
    return path


REASONS = {
    "missing": "no such model file",
    "folder": "is a folder",
    "empty": "is empty",
    "text": "not a usable ONNX model",
    "random": "not a usable ONNX model",
    "truncated": "not a usable ONNX model",
    "external": "keeps its weights in another file",
    "undescribed": "without a streamparts description",
    "no_json": "description is not understood",
    "newer": "streamparts.model/9",
    "unknown_field": "surprise",
    "other_size": r"input 'image' is tensor\(uint8\) \['N', 64, 64, 3\].*says tensor\(uint8\) \[N, 32, 64, 3\]",
    "other_parts": r"output 'affines' is .*\['N', 2, 2, 3\].*says tensor\(float\) \[N, 3, 2, 3\]",
    "same_names": "different names",
}


@pytest.mark.parametrize(("kind", "reason"), REASONS.items())
def test_a_wrong_model_file_is_refused_in_one_line(kind: str, reason: str, tmp_path: Path) -> None:
    path = spoiled(kind, tmp_path)
    with pytest.raises(ModelError, match=reason) as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read every file")
def test_an_unreadable_model_file_is_refused(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "secret.onnx")
    path.chmod(0)
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(path)


def changed_graph(change: str) -> bytes:
    model = tiny_graph((64, 64))
    graph = model.graph
    match change:
        case "input name":
            graph.input[0].name = "picture"
            graph.node[0].input[0] = "picture"
        case "missing output":
            del graph.output[2]
        case "output type":
            graph.node[6].attribute[0].i = TensorProto.INT32
            graph.output[0].type.tensor_type.elem_type = TensorProto.INT32
        case "fixed batch":
            graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    helper.set_model_props(model, {METADATA_KEY: tiny_spec().to_json()})
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("input name", r"inputs are \['picture'\], expected \['image'\]"),
        ("missing output", "expected .*'scores'"),
        ("output type", r"'labels' is tensor\(int32\)"),
        ("fixed batch", r"\[1, 64, 64, 3\]"),
    ],
)
def test_a_graph_that_breaks_the_contract_is_refused(change: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        check_model(changed_graph(change))


@pytest.mark.parametrize(
    "wrong",
    [
        {"parts": ()},
        {"parts": PARTS * 2},
        {"parts": tuple(str(k) for k in range(255))},
        {"parts": ("a/b",)},
        {"parts": ("a\\b",)},
        {"parts": ("",)},
        {"parts": (" a",)},
        {"parts": ("\x1b[2J",)},
        {"parts": ("\u202egnp.exe",)},
        {"parts": ("x" * 65,)},
        {"name": ".."},
        {"name": "a\nb"},
        {"name": "x" * 65},
        {"input_hw": (0, 64)},
        {"input_hw": (64, 4097)},
        {"schema": "something/1"},
        {"schema": "x" * 1000},
        {"description": "\x1b]0;title\x07"},
        {"training": "x" * 10_001},
        {"metrics": {"iou": float("nan")}},
        {"metrics": {"iou": float("inf")}},
        {"metrics": {"\x00": 1.0}},
        {"metrics": {str(k): 1.0 for k in range(257)}},
        {"versions": {"torch": "\x1b"}},
        {"network": {"widths": [10**9]}},
        {"network": {"widths": [1] * 257}},
        {"network": {"kind": "\x00"}},
    ],
)
def test_a_description_that_makes_no_sense_is_refused_in_one_short_line(wrong: dict[str, object]) -> None:
    values = {"name": "x", "method": "scops", "parts": PARTS, "input_hw": (64, 64)}
    ModelSpec(**values)  # type: ignore[arg-type]
    with pytest.raises(ValueError) as caught:
        ModelSpec(**{**values, **wrong})  # type: ignore[arg-type]
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300


def test_names_in_any_script_are_fine() -> None:
    spec = tiny_spec(parts=("левая рука", "頭", "pied gauche"))
    assert msgspec.json.decode(spec.to_json(), type=ModelSpec) == spec


def test_a_file_too_large_to_be_a_model_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.onnx"
    with path.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(ModelError, match="has 1000000000000 bytes"):
        load_model(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system here")
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ModelError, match="file"):
        load_model(tmp_path / "pipe.onnx")


def test_a_model_of_the_package_goes_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "assets").mkdir()
    write_tiny_model(tmp_path / "assets" / "tiny.onnx")
    monkeypatch.setattr("streamparts.bundle.shipped.ASSETS", tmp_path / "assets")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    assert load_model("tiny").spec.name == "tiny"
    assert load_model(Path("assets/tiny.onnx")).sha256 == load_model("tiny").sha256


def test_models_of_the_second_package_go_by_their_names_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = tmp_path / "streamparts_models"
    more.mkdir()
    (more / "__init__.py").touch()
    write_tiny_model(more / "dog.onnx")
    monkeypatch.syspath_prepend(tmp_path)
    assert load_model("dog").path == more / "dog.onnx"
    assert {"dog", DEFAULT_MODEL} <= set(model_names())


def test_a_model_of_the_second_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamparts.bundle.shipped.CHECKOUT", Path("nowhere"))
    monkeypatch.setattr("streamparts.bundle.shipped.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="streamparts-models"):
        load_model("dog")
