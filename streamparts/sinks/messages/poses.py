"""Tracks as a plain table of floats, for protocols without structure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamparts.data import Tracks

COLUMNS = {
    "x": "pixels",
    "y": "pixels",
    "angle": "radians",
    "scale": "pixels",
    "score": "normalized",
    "visible": "boolean",
}
"""Values of each part and their units."""


def poses(tracks: Tracks) -> NDArray[np.float64]:
    """(K, 6) for each part: centre x, y in displayed pixels; angle of the canonical x axis in radians, clockwise on the
    screen from its right; scale, the radius of the circle that has the ellipse's area, in pixels; score in [0, 1];
    visible, 1 or 0."""
    affines = tracks.affines.astype(np.float64)
    angles = np.arctan2(affines[:, 1, 0], affines[:, 0, 0])
    scales = np.sqrt(np.abs(np.linalg.det(affines[:, :, :2])))
    return np.column_stack([affines[:, :, 2], angles, scales, tracks.scores, tracks.visible])
