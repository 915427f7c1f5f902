"""Probes hardware decoders before a file is opened with one, because opening fails without the hardware, even if PyAV
is asked to fall back to software."""

from __future__ import annotations

from dataclasses import dataclass

import av
from av.codec.hwaccel import HWAccel, hwdevices_available

KINDS = ("cuda", "vaapi", "qsv", "videotoolbox")
"""Interfaces of hardware decoders, in the order in which "auto" tries them."""
CHOICES = ("none", "auto", *KINDS)
"""Valid choices."""


@dataclass(frozen=True, slots=True)
class HardwareDecoder:
    """The selected decoder."""

    kind: str
    """One of KINDS, or "none" for software."""
    reason: str | None
    """Why it is not the requested one, in one line; None if it is."""

    def accelerator(self) -> HWAccel | None:
        """Argument for `av.open(..., hwaccel=...)`: a new one for each file. Decoded frames are copied back to
        memory."""
        return None if self.kind == "none" else HWAccel(self.kind)

    def notes(self) -> list[str]:
        """Words about it for a source's description."""
        named = [] if self.kind == "none" else [f"decoded by {self.kind}"]
        return [*named, self.reason] if self.reason else named


def choose(wanted: str, codec: str = "h264") -> HardwareDecoder:
    """Return the requested decoder if it works for `codec` (FFmpeg's name), else software with the reason.

    `wanted` is one of CHOICES. Raises ValueError otherwise.
    """
    if wanted not in CHOICES:
        raise ValueError(f"hwaccel must be one of {', '.join(CHOICES)}, got {wanted!r}")
    if wanted == "none":
        return HardwareDecoder("none", None)
    reasons = []
    for kind in KINDS if wanted == "auto" else (wanted,):
        reason = probe(kind, codec)
        if reason is None:
            return HardwareDecoder(kind, None)
        reasons.append(reason)
    return HardwareDecoder("none", f"decoding in software: {'; '.join(reasons)}")


def probe(kind: str, codec: str = "h264") -> str | None:
    """Return why hardware decoder `kind` cannot decode `codec` here, in one line; None if it can.

    Opens and closes a device, which may take a second. Raises ValueError if `kind` is not one of KINDS.
    """
    if kind not in KINDS:
        raise ValueError(f"a hardware decoder is one of {', '.join(KINDS)}, got {kind!r}")
    if kind not in hwdevices_available():
        return f"{kind}: not in PyAV's FFmpeg"
    try:
        HWAccel(kind).create(av.Codec(codec, "r"))
    except NotImplementedError:
        return f"{kind}: does not support {codec}"
    except (av.FFmpegError, OSError, RuntimeError, ValueError) as error:
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return f"{kind}: no working device ({' '.join(str(text).split())})"
    return None
