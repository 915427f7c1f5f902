"""The JSON file beside a model file: its description for other tools, and its hash, which detects a damaged copy."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from streamparts.bundle.json_file import read_json
from streamparts.bundle.spec import ModelSpec, short
from streamparts.errors import ModelError
from streamparts.files import write_whole


class Sidecar(ModelSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model's description, and the file it belongs to."""

    sha256: str
    """SHA-256 of the model file, in hexadecimal."""
    bytes: int
    """Size of the model file."""


def sidecar_path(model: Path) -> Path:
    """x.onnx -> x.onnx.json"""
    return model.with_name(f"{model.name}.json")


def sidecar_of(spec: ModelSpec, data: bytes) -> Sidecar:
    """Build the sidecar for a model file with these bytes."""
    fields = {name: getattr(spec, name) for name in ModelSpec.__struct_fields__}
    return Sidecar(**fields, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def write_model(path: Path, spec: ModelSpec, data: bytes) -> None:
    """Write a model file, then its sidecar, each atomically. An older sidecar is removed first, so that it is never
    beside another model."""
    sidecar = sidecar_path(path)
    sidecar.unlink(missing_ok=True)
    write_whole(path, data)
    text = msgspec.json.format(msgspec.json.encode(sidecar_of(spec, data)), indent=2)
    write_whole(sidecar, text + b"\n")


def require_same_file(model: Path, sidecar: Sidecar, data: bytes) -> None:
    """Raise ModelError unless the bytes of `model` match its sidecar."""
    sha256 = hashlib.sha256(data).hexdigest()
    if (sidecar.sha256, sidecar.bytes) != (sha256, len(data)):
        raise ModelError(
            f"does not match its sidecar {sidecar_path(model).name} (sha256 {short(sidecar.sha256[:12])}, "
            f"{sidecar.bytes} bytes there, {sha256[:12]!r}, {len(data)} here): one of them was changed or damaged; "
            "copy both again, or delete the .json if you trust the model"
        )


def require_same_description(model: Path, sidecar: Sidecar, spec: ModelSpec) -> None:
    """Raise ModelError unless the sidecar and the model have the same description."""
    differing = [name for name in ModelSpec.__struct_fields__ if getattr(sidecar, name) != getattr(spec, name)]
    if differing:
        raise ModelError(
            f"has another description than its sidecar {sidecar_path(model).name} ({', '.join(differing)}): the "
            ".json was edited; copy it again or delete it"
        )


def read_sidecar(path: Path) -> Sidecar | None:
    """Read the sidecar at `path`, None if there is none. Raises ModelError for an invalid file."""
    if not path.is_file():
        return None
    try:
        return read_json(path, Sidecar, "the description of a model")
    except ValueError as error:
        raise ModelError(f"its sidecar {path.name} {error}; copy it again or delete it") from error
