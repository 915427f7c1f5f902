"""Detects 16-bit images that use only the lower bits, and so look black."""

from __future__ import annotations

import numpy as np
from av import VideoFrame

_DEEP = ("gray16", "gray14", "gray12", "gray10", "rgb48", "bgr48", "rgba64", "bgra64", "ya16")


def levels_note(image: VideoFrame) -> str | None:
    """Return a line if no value of a 16-bit image exceeds a quarter of its range, as in 12-bit or 14-bit data stored in
    16 bits; None for all others, and where the lowest bits are not used either, as in a dark image."""
    if not image.format.name.startswith(_DEEP):
        return None
    order = ">u2" if image.format.is_big_endian else "<u2"
    plane = image.planes[0]
    rows = np.frombuffer(plane, order).reshape(-1, plane.line_size // 2)[: image.height]  # type: ignore[call-overload]
    per_row = plane.width * sum(1 for part in image.format.components if part.plane == 0)
    values = rows[:, :per_row]
    used, bits = int(values.max()).bit_length(), image.format.components[0].bits
    if not 0 < used <= bits - 2 or not np.bitwise_or.reduce(values, axis=None) & (1 << bits - used) - 1:
        return None
    shade = "nearly black" if used < bits - 2 else "dark"
    return (
        f"its {bits}-bit pixels use only the lowest {used} bits, so it is {shade}: multiply them by "
        f"{1 << bits - used} first"
    )
