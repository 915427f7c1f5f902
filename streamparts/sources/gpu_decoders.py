"""Libraries that decode with an NVIDIA GPU's own decoder (NVDEC) and leave the images in its memory."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from streamparts.data import DeviceImage
from streamparts.errors import VideoError
from streamparts.machine import missing_gpu, missing_package
from streamparts.sources.base import reason_of


class GpuDecoder(Protocol):
    """An opened file."""

    name: str
    """The library."""
    is_upright: bool
    """True if it applies rotation metadata."""

    def __len__(self) -> int:
        """Number of frames."""

    def frame(self, index: int) -> tuple[DeviceImage, float | None]:
        """The frame at this position in display order, and its time in seconds if the library states it; quickest for
        one after the other. Raises any error."""


class TorchcodecDecoder:
    """Decodes with torchcodec, which finds the frames by a scan of the packets, and needs FFmpeg's libraries."""

    name = "torchcodec"

    def __init__(self, path: Path, stream_index: int, device: str = "cuda") -> None:
        from torchcodec.decoders import VideoDecoder

        self._decoder: Any = VideoDecoder(
            str(path), stream_index=stream_index, dimension_order="NHWC", device=device, seek_mode="exact"
        )
        # it applies the rotation since it reports it
        self.is_upright = hasattr(self._decoder.metadata, "rotation")
        self._last: tuple[int, Any] = (0, self._decoder.get_frame_at(0))
        if getattr(self._decoder, "cpu_fallback", False):
            raise VideoError("the GPU cannot decode this file")

    def __len__(self) -> int:
        return len(self._decoder)

    def frame(self, index: int) -> tuple[DeviceImage, float]:
        from streamparts.devices.torch_images import TorchImage

        if index != self._last[0]:  # to return to a frame, it would seek, which misses in some containers
            self._last = index, self._decoder.get_frame_at(index)
        found = self._last[1]
        return TorchImage(found.data), float(found.pts_seconds)


_INDEXED = (".mp4", ".mov", ".m4v", ".mkv", ".webm")
"""Containers that list their frames, by the file's extension."""


class NvidiaDecoder:
    """Decodes with PyNvVideoCodec, which brings its own FFmpeg, and finds frames by the container's index."""

    name = "PyNvVideoCodec"
    is_upright = False

    def __init__(self, path: Path, stream_index: int) -> None:
        """Reads the file's default stream, whatever `stream_index` is."""
        if path.suffix.lower() not in _INDEXED:
            raise VideoError(f"its name does not end in any of {', '.join(_INDEXED)}")
        import PyNvVideoCodec as nvidia

        self._decoder: Any = nvidia.SimpleDecoder(
            str(path), gpu_id=0, use_device_memory=True, output_color_type=nvidia.OutputColorType.RGB
        )

    def __len__(self) -> int:
        return len(self._decoder)

    def frame(self, index: int) -> tuple[DeviceImage, None]:
        from streamparts.devices.torch_images import copy_of

        # a copy, because the decoder writes later frames into the same memory
        return copy_of(self._decoder[index]), None


_DECODERS: dict[str, type[TorchcodecDecoder] | type[NvidiaDecoder]] = {
    "torchcodec": TorchcodecDecoder,
    "PyNvVideoCodec": NvidiaDecoder,
}
"""Libraries by their package, in the order in which they are tried."""


def missing_decoder() -> str | None:
    """Return None if frames may be decoded into a GPU's memory here, else the reason."""
    if reason := missing_gpu() or missing_package("torch", "train"):
        return reason
    if not any(find_spec(package) for package in _DECODERS):
        return f"neither {' nor '.join(_DECODERS)} is installed; pip install 'streamparts[nvdec]'"
    from streamparts.devices.torch_images import missing_cuda

    return missing_cuda()


def open_decoder(path: Path, stream_index: int) -> GpuDecoder:
    """Open a file with the first library that can. Raises VideoError with the reasons of all."""
    if reason := missing_decoder():
        raise VideoError(reason)
    reasons = []
    for package, decoder in _DECODERS.items():
        if find_spec(package):
            try:
                return decoder(path, stream_index)
            except Exception as error:  # these libraries' errors have no common base
                reasons.append(f"{package}: {reason_of(error)[:200]}")
    raise VideoError("; ".join(reasons))
