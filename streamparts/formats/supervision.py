"""Tracks of one frame as key points of the package supervision; `Tracks.to_supervision` returns parts with masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamparts.data import Tracks
from streamparts.errors import need


def key_points(tracks: Tracks) -> Any:
    """`supervision.KeyPoints` of the S subjects: the centres (S, K, 2) in displayed pixels, their scores and
    visibility.

    Raises MissingExtraError without supervision.
    """
    sv = need("supervision", "key_points", "supervision")
    return sv.KeyPoints(
        xy=np.stack([one.centers for one in tracks.subjects]).astype(np.float32),
        keypoint_confidence=np.stack([one.scores for one in tracks.subjects]).astype(np.float32),
        visible=np.stack([one.visible for one in tracks.subjects]),
    )
