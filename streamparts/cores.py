"""How many processor threads decoding, drawing and encoding may take, where several processes share a machine."""

from __future__ import annotations

from streamparts.machine import usable_cores

_shared: int | None = None


def share_machine(threads: int) -> None:
    """From here on, decoders, encoders and OpenCV of this process take `threads` each: by themselves they take as many
    as there are cores, and memory for each."""
    global _shared
    import cv2

    _shared = threads
    cv2.setNumThreads(threads)


def decoder_threads() -> int:
    """0: as many as FFmpeg thinks best."""
    return _shared or 0


def encoder_threads() -> int:
    """Half of the cores where nothing was said: the network takes the others."""
    return _shared or max(1, usable_cores() // 2)
