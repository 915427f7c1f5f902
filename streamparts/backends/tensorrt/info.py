"""What stands beside an engine: x.engine.json says where x.engine came from and where it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from streamparts.backends.tensorrt.cuda import Gpu, checked, cuda_version, describe_gpu, load_cuda
from streamparts.backends.tensorrt.engine import Library, load_library, require_available
from streamparts.backends.tensorrt.plan import BuildOptions
from streamparts.bundle.load import ModelSpec
from streamparts.bundle.spec import Precision
from streamparts.errors import ModelError
from streamparts.parity.agreement import Agreement

SCHEMA = "streamparts.engine/2"
MAX_SIDECAR_BYTES = 1 << 20


class EngineInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of an engine, which cannot carry a description itself."""

    schema: str = SCHEMA
    """Version of this description."""
    library: Literal["tensorrt", "tensorrt_rtx"]
    """What built it and can run it."""
    library_version: str
    cuda_version: str
    """Of the CUDA runtime at the build, "13.0" and the like."""
    gpu: str
    """Name of the GPU it was built on; empty where there was none."""
    compute_capability: str
    """Of that GPU, "9.0" and the like; empty where there was none."""
    precision: Precision
    """Of the arithmetic inside."""
    onnx_sha256: str
    """Of the .onnx file it was built from ..."""
    network_sha256: str = ""
    """... and of that file without its description, which names parts; empty in older ones."""
    plan_sha256: str
    """Of the engine's own bytes."""
    options: BuildOptions
    """Batches, targets, compatibility."""
    verified: bool
    """Whether its results were compared with ONNX Runtime's on a GPU."""
    agreement: Agreement | None = None
    """That comparison, or, unverified, the one of its graph on the CPU."""
    created: str
    """UTC, ISO 8601."""
    model: ModelSpec
    """Description of the model inside."""

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema is {self.schema!r}, this version reads {SCHEMA}")

    @property
    def version_compatible(self) -> bool:
        return self.options.version_compatible

    @property
    def built_with(self) -> str:
        """Library, version and GPU in a few words."""
        where = ", ".join(self.options.targets) or f"{self.gpu} ({self.compute_capability})"
        return f"{self.library} {self.library_version} for {where}"


@dataclass(frozen=True, slots=True)
class Machine:
    """What engines meet here."""

    library: Library
    gpu: Gpu

    @property
    def words(self) -> str:
        return f"{self.library.name} {self.library.version} and {self.gpu.name} ({self.gpu.compute_capability})"


def this_machine(label: str) -> Machine:
    """Raises ModelError or MissingExtraError where no engine can run."""
    require_available(label)
    return Machine(load_library(), describe_gpu(load_cuda()))


def cuda_runtime_version() -> str:
    cuda = load_cuda()
    return cuda_version(int(checked(cuda, cuda.cudaRuntimeGetVersion())))


def sidecar_path(engine: Path) -> Path:
    return engine.with_name(f"{engine.name}.json")


def read_info(engine: Path) -> EngineInfo:
    """The description beside an engine; the engine itself is not read. Raises ModelError without a sound one."""
    path = sidecar_path(engine)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIDECAR_BYTES + 1)
    except FileNotFoundError as error:
        if not engine.exists():
            raise ModelError(f"{engine}: no such engine; build it: streamparts build MODEL.onnx -o {engine}") from error
        raise ModelError(
            f"{engine}: there is no {path.name} beside it that says what it is; copy that too, "
            "or build the engine here: streamparts build MODEL.onnx -o MODEL.engine"
        ) from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > MAX_SIDECAR_BYTES:
        raise ModelError(f"{path}: far too large for an engine's description")
    return decode_info(data, path)


def decode_info(data: bytes, path: Path) -> EngineInfo:
    """Raises ModelError, naming `path`, unless the bytes describe an engine."""
    try:
        return msgspec.json.decode(data, type=EngineInfo)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(f"{path}: not the description of an engine ({error}); build the engine again") from error


def encode_info(info: EngineInfo) -> bytes:
    return msgspec.json.format(msgspec.json.encode(info), indent=2) + b"\n"


def mismatch(info: EngineInfo, machine: Machine) -> str | None:
    """Why an engine cannot run here, in one line; None if it can."""
    if _version_fits(info, machine.library) and _gpu_fits(info, machine.gpu):
        return None
    return f"built with {info.built_with}, but here are {machine.words}"


def _version_fits(info: EngineInfo, library: Library) -> bool:
    if info.library != library.name:
        return False
    if info.version_compatible:
        built, here = version_numbers(info.library_version), version_numbers(library.version)
        return built[:1] == here[:1] and built <= here
    return info.library_version == library.version


def _gpu_fits(info: EngineInfo, gpu: Gpu) -> bool:
    if info.options.targets:
        return f"sm{gpu.compute_capability.replace('.', '')}" in info.options.targets
    if info.options.hardware_compatible:
        return version_numbers(gpu.compute_capability) >= [8, 0]
    same_name = info.library == "tensorrt_rtx" or info.gpu == gpu.name
    return same_name and info.compute_capability == gpu.compute_capability


def version_numbers(text: str) -> list[int]:
    """10.13.3.9 -> [10, 13, 3, 9]; what is no number ends it."""
    numbers: list[int] = []
    for word in text.split("."):
        if not word.isdigit():
            break
        numbers.append(int(word))
    return numbers
