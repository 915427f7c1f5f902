"""Loads and verifies model files: an ONNX network with its description."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from streamparts.bundle.engine import EngineInfo
from streamparts.bundle.metadata import digest_without_metadata
from streamparts.bundle.scan import scan
from streamparts.bundle.shipped import bundled_path, is_bundled, model_names
from streamparts.bundle.sidecar import (
    read_sidecar,
    require_same_description,
    require_same_file,
    sidecar_path,
)
from streamparts.bundle.spec import ModelSpec, error_line, short
from streamparts.bundle.trial import open_session, try_out
from streamparts.errors import ModelError

METADATA_KEY = "streamparts"
"""Key of the ONNX metadata entry with the ModelSpec as JSON."""

DEFAULT_MODEL = "person"

MORE_NAMES = ("arm", "dog", "hand", "rodent-top")
"""Models of the package streamparts-models, for the message where it is not installed."""
MAX_BYTES = 2 * 10**9
"""Maximum size of a model file, the limit of protobuf messages."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified model file."""

    spec: ModelSpec
    """The model's description."""
    path: Path
    """Path of the file."""
    sha256: str
    """SHA-256 of the file's bytes, in hexadecimal."""
    data: bytes = field(repr=False)
    """Bytes of the ONNX file or engine, so that what was verified is what runs."""
    engine: EngineInfo | None = None
    """Description of the engine, if `data` is a TensorRT engine."""

    @property
    def network_sha256(self) -> str:
        """Hash of the ONNX file without its description, so that renaming parts does not change it."""
        return digest_without_metadata(self.data, METADATA_KEY)


def load_onnx(name_or_path: str | Path) -> Bundle:
    """Read and verify an .onnx model, given its path or the name of a bundled model. If its sidecar exists (see
    sidecar.py), the file must match it. A model of the package that matches its sidecar is not tried out: the package's
    tests have done that. Raises ModelError for anything but a valid model file.
    """
    path = find_model(name_or_path)
    data = _read(path)
    try:
        sidecar = read_sidecar(sidecar_path(path))
        if sidecar:
            require_same_file(path, sidecar, data)
        spec = _read_spec(scan(data)) if sidecar and is_bundled(path) else check_model(data)
        if sidecar:
            require_same_description(path, sidecar, spec)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error.__cause__
    return Bundle(spec, path, hashlib.sha256(data).hexdigest(), data)


def find_model(name_or_path: str | Path) -> Path:
    """Return the path of a model file; bundled models are found by their bare names. Raises ModelError if there is
    none."""
    path = Path(name_or_path)
    if bundled := bundled_path(str(name_or_path)):
        return bundled
    if path.exists() or path.suffix or len(path.parts) != 1:
        return path
    names = ", ".join(model_names()) or "none"
    hint = f"; {path} comes with the package streamparts-models" if str(path) in MORE_NAMES else ""
    raise ModelError(f"no model called {str(path)!r}; give the path of an .onnx file, or one of: {names}{hint}")


def check_model(data: bytes) -> ModelSpec:
    """Return the description of a model given as bytes. Raises ModelError unless the graph agrees with it
    and runs, on one black image, within limits of memory and time."""
    spec = _read_spec(scan(data))
    session = open_session(data)
    (height, width), num_parts = spec.input_hw, spec.num_parts
    _check_tensors("input", session.get_inputs(), {"image": ("uint8", (None, height, width, 3))})
    outputs = {
        "labels": ("uint8", (None, height, width)),
        "affines": ("float", (None, num_parts, 2, 3)),
        "scores": ("float", (None, num_parts)),
    }
    given = session.get_outputs()
    if any(tensor.name == "evidence" for tensor in given):
        outputs["evidence"] = ("float", (None, num_parts, 2))
    _check_tensors("output", given, outputs)
    try_out(session, spec.input_hw)
    return spec


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ModelError(f"{path}: is a folder, not an .onnx model file")
        if path.exists() and not path.is_file():
            raise ModelError(f"{path}: is not a file, so not an .onnx model")
        if (size := path.stat().st_size) > MAX_BYTES:
            raise ModelError(f"{path}: has {size} bytes, more than the {MAX_BYTES} of any ONNX model")
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such model file") from error
    except MemoryError as error:
        raise ModelError(f"{path}: not enough memory to read it") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    if not data:
        raise ModelError(f"{path}: the model file is empty; copy or export it again")
    return data


def _read_spec(metadata: dict[str, str]) -> ModelSpec:
    text = metadata.get(METADATA_KEY)
    if text is None:
        raise ModelError("is an ONNX file without a streamparts description; create models with export/")
    try:
        return msgspec.json.decode(text, type=ModelSpec)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ModelError(
            f"its description is not understood ({error_line(error)}); it needs another version of streamparts"
        ) from error


def _check_tensors(kind: str, got: list[object], wanted: dict[str, tuple[str, tuple[int | None, ...]]]) -> None:
    """Check names, types and shapes of a graph's inputs or outputs; None in a shape must be dynamic."""
    found = {tensor.name: (tensor.type, tuple(tensor.shape)) for tensor in got}  # type: ignore[attr-defined]
    if set(found) != set(wanted):
        raise ModelError(f"its {kind}s are {short(sorted(found))}, expected {sorted(wanted)}; export it again")
    for name, (dtype, shape) in wanted.items():
        found_type, found_shape = found[name]
        fits = len(found_shape) == len(shape) and all(
            not isinstance(n, int) if want is None else n == want for n, want in zip(found_shape, shape, strict=True)
        )
        if found_type != f"tensor({dtype})" or not fits:
            sizes = ", ".join("N" if n is None else str(n) for n in shape)
            raise ModelError(
                f"its {kind} {name!r} is {found_type} {short(list(found_shape))}, "
                f"but its description says tensor({dtype}) [{sizes}]; export it again"
            )
