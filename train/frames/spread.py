"""Evenly spaced indices, shared by samplers, backgrounds, labels and reports."""

from __future__ import annotations

import numpy as np


def spread(total: int, most: int) -> list[int]:
    """Return at most `most` indices of range(total), evenly spaced, including the first and the last."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(int)).tolist() if total else []
