"""The sidecar x.engine.json: where x.engine came from and where it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from streamparts.backends.tensorrt.cuda import Gpu, checked, cuda_version, describe_gpu, load_cuda
from streamparts.backends.tensorrt.library import Library, load_library, require_available
from streamparts.bundle.engine import EngineInfo
from streamparts.errors import ModelError

MAX_SIDECAR_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that engines run on."""

    library: Library
    gpu: Gpu

    @property
    def words(self) -> str:
        return f"{self.library.name} {self.library.version} and {self.gpu.name} ({self.gpu.compute_capability})"


def this_machine(label: str) -> Machine:
    """Describe this machine. Raises ModelError or MissingExtraError if no engine can run on it."""
    require_available(label)
    return Machine(load_library(), describe_gpu(load_cuda()))


def cuda_runtime_version() -> str:
    cuda = load_cuda()
    return cuda_version(int(checked(cuda, cuda.cudaRuntimeGetVersion())))


def sidecar_path(engine: Path) -> Path:
    return engine.with_name(f"{engine.name}.json")


def read_info(engine: Path) -> EngineInfo:
    """Read the description beside an engine, not the engine itself. Raises ModelError without a valid one."""
    path = sidecar_path(engine)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIDECAR_BYTES + 1)
    except FileNotFoundError as error:
        if not engine.exists():
            raise ModelError(f"{engine}: no such engine; build it: streamparts build MODEL.onnx -o {engine}") from error
        raise ModelError(
            f"{engine}: its description {path.name} is missing; copy it too, or build the engine here: streamparts "
            "build MODEL.onnx -o MODEL.engine"
        ) from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > MAX_SIDECAR_BYTES:
        raise ModelError(f"{path}: far too large for an engine's description")
    return decode_info(data, path)


def decode_info(data: bytes, path: Path) -> EngineInfo:
    """Parse the description of an engine. Raises ModelError, naming `path`, for anything else."""
    try:
        return msgspec.json.decode(data, type=EngineInfo)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(f"{path}: not the description of an engine ({error}); build the engine again") from error


def encode_info(info: EngineInfo) -> bytes:
    return msgspec.json.format(msgspec.json.encode(info), indent=2) + b"\n"


def mismatch(info: EngineInfo, machine: Machine) -> str | None:
    """Return why an engine cannot run here, in one line; None if it can."""
    if _version_fits(info, machine.library) and _gpu_fits(info, machine.gpu):
        return None
    return f"built with {info.built_with}, but this machine has {machine.words}"


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
    """10.13.3.9 -> [10, 13, 3, 9]; stops at the first non-number."""
    numbers: list[int] = []
    for word in text.split("."):
        if not word.isdigit():
            break
        numbers.append(int(word))
    return numbers
