"""The sidecar of a model has its description, and its hash to detect changes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from streamparts.backends.loading import load_model
from streamparts.bundle.json_file import MAX_BYTES
from streamparts.bundle.shipped import ASSETS
from streamparts.bundle.sidecar import read_sidecar, sidecar_path, write_model
from streamparts.bundle.spec import SCHEMA
from streamparts.errors import ModelError
from tests.damage import damaged
from tests.tiny_model import tiny_spec, write_tiny_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    data = write_tiny_model(tmp_path / "bare.onnx", (16, 16)).read_bytes()
    write_model(tmp_path / "x.onnx", tiny_spec((16, 16)), data)
    return tmp_path / "x.onnx"


def test_the_sidecar_holds_the_description_the_hash_and_the_size(model: Path) -> None:
    saved = json.loads(sidecar_path(model).read_text())
    data = model.read_bytes()
    assert saved.pop("sha256") == hashlib.sha256(data).hexdigest() == load_model(model).sha256
    assert saved.pop("bytes") == len(data)
    assert saved == json.loads(tiny_spec((16, 16)).to_json())
    assert sorted(path.name for path in model.parent.iterdir()) == ["bare.onnx", "x.onnx", "x.onnx.json"]


def test_a_model_without_a_sidecar_is_fine(model: Path) -> None:
    assert load_model(model.with_name("bare.onnx")).spec == load_model(model).spec


def test_another_file_than_the_sidecar_tells_of_is_refused_with_what_to_do(model: Path) -> None:
    write_tiny_model(model, (32, 32))
    with pytest.raises(ModelError, match=r"sidecar x\.onnx\.json .*copy.*again.*delete.*\.json") as caught:
        load_model(model)
    assert "\n" not in str(caught.value)
    sidecar_path(model).unlink()
    assert load_model(model).spec.input_hw == (32, 32)


def test_no_damaged_model_with_a_sidecar_is_ever_loaded(model: Path) -> None:
    sound = model.read_bytes()
    changed = [data for data in (damaged(sound, seed) for seed in range(400)) if data != sound]
    assert len(changed) > 300
    for data in changed:
        model.write_bytes(data)
        with pytest.raises(ModelError, match=r"sidecar x\.onnx\.json|is empty"):
            load_model(model)


def test_an_edited_sidecar_is_refused_with_the_field(model: Path) -> None:
    path = sidecar_path(model)
    path.write_text(path.read_text().replace("Apache-2.0", "none"))
    with pytest.raises(ModelError, match=r"\(license\)"):
        load_model(model)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "is not the description"),
        (b"{", "is not the description"),
        (b"\xff\xfe", "is not the description"),
        (b"[" * 10_000, "is not the description"),
        (b"{}", "is not the description"),
        (b" " * (MAX_BYTES + 1), "larger than 1 MB"),
    ],
)
def test_a_sidecar_that_is_none_is_refused_in_one_line(model: Path, text: bytes, reason: str) -> None:
    sidecar_path(model).write_bytes(text)
    with pytest.raises(ModelError, match=reason) as caught:
        load_model(model)
    assert str(model) in str(caught.value) and str(caught.value).isprintable()


def test_a_model_is_replaced_with_its_sidecar(model: Path) -> None:
    data = write_tiny_model(model.with_name("other.onnx"), (32, 32)).read_bytes()
    write_model(model, tiny_spec((32, 32)), data)
    assert load_model(model).spec.input_hw == (32, 32)


def test_a_failed_write_leaves_no_sidecar_beside_another_file(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, data: bytes) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("streamparts.bundle.sidecar.write_whole", fail)
    with pytest.raises(OSError, match="disk full"):
        write_model(model, tiny_spec((16, 16)), b"")
    assert not sidecar_path(model).exists() and load_model(model).spec == tiny_spec((16, 16))


def test_the_puppet_model_describes_its_network_and_has_a_sidecar() -> None:
    bundle = load_model("puppet-human")
    saved = read_sidecar(sidecar_path(ASSETS / "puppet-human.onnx"))
    assert bundle.spec.schema == SCHEMA and bundle.spec.network["kind"] == "student"
    assert saved is not None and (saved.sha256, saved.bytes) == (bundle.sha256, len(bundle.data))
