"""Is there hardware that decodes video? Asked before a file is opened with it, because opening fails where there is
none, also when PyAV is told to fall back to software."""

from __future__ import annotations

from dataclasses import dataclass

import av
from av.codec.hwaccel import HWAccel, hwdevices_available

KINDS = ("cuda", "vaapi", "qsv", "videotoolbox")
"""Interfaces of hardware decoders, in the order in which "auto" tries them."""
CHOICES = ("none", "auto", *KINDS)
"""What may be asked for."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """What to decode with."""

    kind: str
    """One of KINDS, or "none" for software."""
    reason: str | None
    """Why it is not what was asked for, in one line; None where it is."""

    def accelerator(self) -> HWAccel | None:
        """For `av.open(..., hwaccel=...)`: one each time a file is opened. Decoded frames come back into memory."""
        return None if self.kind == "none" else HWAccel(self.kind)


def choose(wanted: str, codec: str = "h264") -> Decoder:
    """The decoder asked for where it works for `codec` (FFmpeg's name of it), else software and the reason.

    `wanted` is one of CHOICES. Raises ValueError if it is not.
    """
    if wanted not in CHOICES:
        raise ValueError(f"hwaccel must be one of {', '.join(CHOICES)}, got {wanted!r}")
    if wanted == "none":
        return Decoder("none", None)
    reasons = []
    for kind in KINDS if wanted == "auto" else (wanted,):
        reason = probe(kind, codec)
        if reason is None:
            return Decoder(kind, None)
        reasons.append(reason)
    return Decoder("none", f"decoding in software: {'; '.join(reasons)}")


def probe(kind: str, codec: str = "h264") -> str | None:
    """Why hardware decoder `kind` cannot decode `codec` here, in one line; None where it can.

    A device is opened and closed again, which may take a second. Raises ValueError if `kind` is none of KINDS.
    """
    if kind not in KINDS:
        raise ValueError(f"a hardware decoder is one of {', '.join(KINDS)}, got {kind!r}")
    if kind not in hwdevices_available():
        return f"{kind}: not in the FFmpeg that PyAV brings"
    try:
        HWAccel(kind).create(av.Codec(codec, "r"))
    except NotImplementedError:
        return f"{kind}: not for {codec}"
    except (av.FFmpegError, OSError, RuntimeError, ValueError) as error:
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return f"{kind}: no device that works ({' '.join(str(text).split())})"
    return None
