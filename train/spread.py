"""One small job that samplers, backgrounds, labels and reports share: a few of many, evenly."""

from __future__ import annotations

import numpy as np


def spread(total: int, most: int) -> list[int]:
    """At most `most` numbers out of range(total), evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(int)).tolist() if total else []
