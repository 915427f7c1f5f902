"""Description of a TensorRT engine: its model, how it was built, and where it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from streamparts.bundle.agreement import Agreement
from streamparts.bundle.spec import ModelSpec, Precision


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Options of an engine build; all are part of the cache's key."""

    max_batch: int = 8
    """Largest batch; the engine takes 1 to this many images."""
    opt_batch: int = 1
    """Batch size for which kernels are optimised: 1 for a camera, max_batch for throughput."""
    workspace_mib: int | None = None
    """Limit of a layer's scratch memory, in MiB; None leaves it to TensorRT."""
    targets: tuple[str, ...] = ()
    """Compute capabilities such as "sm80", TensorRT for RTX only; empty for this machine's GPU."""
    version_compatible: bool = False
    """True if later versions of TensorRT can load it. `tensorrt` only."""
    hardware_compatible: bool = False
    """True if GPUs from compute capability 8.0 can run it, more slowly. `tensorrt` only."""

    def __post_init__(self) -> None:
        if not 1 <= self.opt_batch <= self.max_batch:
            raise ValueError(f"batches must be 1 <= opt <= max, got opt {self.opt_batch}, max {self.max_batch}")
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise ValueError(f"workspace_mib must be at least 1, got {self.workspace_mib}")


SCHEMA = "streamparts.engine/2"


class EngineInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Description of an engine, which cannot contain one itself."""

    schema: str = SCHEMA
    """Version of this description."""
    library: Literal["tensorrt", "tensorrt_rtx"]
    """Library that built it and can run it."""
    library_version: str
    cuda_version: str
    """Version of the CUDA runtime at the build, such as "13.0"."""
    gpu: str
    """Name of the GPU it was built on; empty without one."""
    compute_capability: str
    """Compute capability of that GPU, such as "9.0"; empty without one."""
    precision: Precision
    """Precision of the computation."""
    onnx_sha256: str
    """SHA-256 of the .onnx file it was built from."""
    network_sha256: str = ""
    """SHA-256 of that file without its description, which contains part names; empty in older engines."""
    plan_sha256: str
    """SHA-256 of the engine's bytes."""
    options: BuildOptions
    """Options for batches, targets and compatibility."""
    verified: bool
    """True if its results were compared with ONNX Runtime's on a GPU."""
    agreement: Agreement | None = None
    """Result of that comparison or, if unverified, of the comparison of its graph on the CPU."""
    created: str
    """Build time, UTC, ISO 8601."""
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
