"""Model files: an ONNX network that carries its own description, checked when it is loaded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from streamparts.errors import ModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from streamparts.engine_info import EngineInfo

SCHEMA = "streamparts.model/2"
OLDER_SCHEMAS = ("streamparts.model/1",)
"""Read as well: what they lack has a default."""
METADATA_KEY = "streamparts"
"""Key of the ONNX metadata entry that holds the ModelSpec as JSON."""

DEFAULT_MODEL = "puppet-human"
ASSETS = Path(__file__).parent / "assets"

COORDINATES = (
    "affines map a part's canonical frame to the image in normalised coordinates 2x/W - 1, 2y/H - 1; "
    "origin at the top-left corner, pixel centres at +0.5, x right, y down"
)

_EXTERNAL_DATA = b"\x0a\x08location"
"""How the protobuf of a tensor that is stored in another file spells its first key."""


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model says of itself. Written by the export, read by everything that runs it."""

    schema: str = SCHEMA
    """Version of this description."""
    name: str
    """Short name, as given to --model."""
    method: Literal["assembly", "scops"]
    """Which of the two training methods made it."""
    parts: tuple[str, ...]
    """(K,) one name per part, in the order of the labels; background is not among them."""
    input_hw: tuple[int, int]
    """Height and width of the input picture, in pixels."""
    coordinates: str = COORDINATES
    """The convention of the affines, in words."""
    description: str = ""
    """What it finds, in a sentence."""
    training: str = ""
    """Data, commit and command that made it."""
    license: str = ""
    """Licence of the weights."""
    metrics: dict[str, float] = {}
    """Measured quality."""
    precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp32"
    """Of the arithmetic inside the graph; its inputs and outputs are the same for all."""
    network: dict[str, int | float | str | bool | list[int]] = {}
    """"kind" and the shape of the network, from which the torch backend builds it; empty where it is not known."""
    versions: dict[str, str] = {}
    """Of the packages that made the file."""

    def __post_init__(self) -> None:
        if self.schema not in (SCHEMA, *OLDER_SCHEMAS):
            raise ValueError(f"schema is {self.schema!r}, this version reads {', '.join((SCHEMA, *OLDER_SCHEMAS))}")
        if not 1 <= len(self.parts) <= 254 or len(set(self.parts)) != len(self.parts):
            raise ValueError(f"parts must be 1 to 254 different names, got {list(self.parts)}")
        if min(self.input_hw) < 1:
            raise ValueError(f"input_hw must be positive, got {self.input_hw}")

    @property
    def num_parts(self) -> int:
        return len(self.parts)

    def to_json(self) -> str:
        """The text that goes into the model file's metadata."""
        return msgspec.json.encode(self).decode()


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model file that was read and checked."""

    spec: ModelSpec
    """What it says of itself."""
    path: Path
    """Where it was read from."""
    sha256: str
    """Of the file's bytes, in hexadecimal."""
    data: bytes = field(repr=False)
    """The ONNX file itself, or the engine, so that what was checked is what runs."""
    engine: EngineInfo | None = None
    """Where `data` is a TensorRT engine: what is known of it."""


def load_model(name_or_path: str | Path | None = None, trust_engine: bool = False) -> Bundle:
    """Read and check a model: a path to an .onnx file or an .engine, or the name of a model of the package.

    An engine is machine code: it must have been built here by this user, or `trust_engine`; see engines.load_engine.

    None loads the default model. Raises ModelError, saying what came, for anything but a sound model file.
    """
    path = find_model(name_or_path or DEFAULT_MODEL)
    if path.suffix == ".engine":
        from streamparts.engines import load_engine

        return load_engine(path, trust_engine)
    data = _read(path)
    try:
        spec = check_model(data)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error.__cause__
    return Bundle(spec, path, hashlib.sha256(data).hexdigest(), data)


def find_model(name_or_path: str | Path) -> Path:
    """Path of a model file; the package's own models go by their bare names. Raises ModelError if there is none."""
    path = Path(name_or_path)
    if str(path) in model_names():
        return ASSETS / f"{path}.onnx"
    if path.exists() or path.suffix or len(path.parts) != 1:
        return path
    names = ", ".join(model_names()) or "none"
    raise ModelError(f"no model called {str(path)!r}; give the path of an .onnx file, or one of: {names}")


def model_names() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(path.stem for path in ASSETS.glob("*.onnx"))


def check_model(data: bytes) -> ModelSpec:
    """Description of a model given as the bytes of its file. Raises ModelError unless the graph agrees with it."""
    if _EXTERNAL_DATA in data:
        raise ModelError("keeps its weights in another file; export it again as one self-contained .onnx file")
    session = _open_session(data)
    spec = _read_spec(session)
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
    return spec


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except IsADirectoryError as error:
        raise ModelError(f"{path}: is a folder, not an .onnx model file") from error
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such model file") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    if not data:
        raise ModelError(f"{path}: the model file is empty; copy or export it again")
    return data


def _open_session(data: bytes) -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4  # its complaints come as exceptions too
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base but this
        reason = " ".join(str(error).split())[:160]
        raise ModelError(f"not a usable ONNX model ({reason}); copy or export it again") from error


def _read_spec(session: InferenceSession) -> ModelSpec:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise ModelError("an ONNX file, but not a streamparts model: it carries no description; use export/")
    try:
        return msgspec.json.decode(text, type=ModelSpec)
    except msgspec.DecodeError as error:
        raise ModelError(
            f"its description is not understood ({error}); it needs another version of streamparts"
        ) from error


def _check_tensors(kind: str, got: list[object], wanted: dict[str, tuple[str, tuple[int | None, ...]]]) -> None:
    """Names, types and shapes of a graph's inputs or outputs; None in a shape must be free to vary."""
    found = {tensor.name: (tensor.type, tuple(tensor.shape)) for tensor in got}  # type: ignore[attr-defined]
    if set(found) != set(wanted):
        raise ModelError(f"its {kind}s are {sorted(found)}, expected {sorted(wanted)}; export it again")
    for name, (dtype, shape) in wanted.items():
        found_type, found_shape = found[name]
        fits = len(found_shape) == len(shape) and all(
            not isinstance(n, int) if want is None else n == want for n, want in zip(found_shape, shape, strict=True)
        )
        if found_type != f"tensor({dtype})" or not fits:
            sizes = ", ".join("N" if n is None else str(n) for n in shape)
            raise ModelError(
                f"its {kind} {name!r} is {found_type} {list(found_shape)}, "
                f"but its description says tensor({dtype}) [{sizes}]; export it again"
            )
