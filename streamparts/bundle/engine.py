"""What is known of a TensorRT engine: how it was built, of what, and where it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from streamparts.bundle.agreement import Agreement
from streamparts.bundle.spec import ModelSpec, Precision


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How an engine is built; all of it is part of the cache's key."""

    max_batch: int = 8
    """Most pictures at once; the engine takes 1 to this many."""
    opt_batch: int = 1
    """Batch that kernels are chosen for: 1 for a camera, max_batch for throughput."""
    workspace_mib: int | None = None
    """Limit of the scratch memory of a layer, in MiB; None leaves it to TensorRT."""
    targets: tuple[str, ...] = ()
    """Compute capabilities as "sm80", TensorRT for RTX only; none is the GPU at hand."""
    version_compatible: bool = False
    """Later versions of TensorRT load it too. `tensorrt` only."""
    hardware_compatible: bool = False
    """GPUs from compute capability 8.0 on run it too, more slowly. `tensorrt` only."""

    def __post_init__(self) -> None:
        if not 1 <= self.opt_batch <= self.max_batch:
            raise ValueError(f"batches must be 1 <= opt <= max, got opt {self.opt_batch}, max {self.max_batch}")
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise ValueError(f"workspace_mib must be at least 1, got {self.workspace_mib}")


SCHEMA = "streamparts.engine/2"


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
